// quantize: a float .tflite to a quantized one, checked as the file that was written.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "cli/cli.h"
#include "quant/technique.h"
#include "report/table.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

constexpr std::size_t kCheckedSamples = 64;  // enough to see a file that computes something else

struct QuantizeArguments {
  CommonOptions common;
  std::string model, out, recipe;
  std::string technique, method = "auto", granularity = "per-channel", io = "integer";
  std::string equalize = "off", bias_correction = "off", rounding = "nearest", weights = "minmax";
};

Choice choice_of(const std::string& word) {
  return word == "on" ? Choice::kOn : word == "auto" ? Choice::kAuto : Choice::kOff;
}

QuantizeRequest request_of(const QuantizeArguments& a, Context& context) {
  QuantizeRequest r;
  r.technique = technique_of(a.technique);
  r.calibration_method = calibration_method(a.method);
  r.granularity =
      a.granularity == "per-tensor" ? Granularity::kPerTensor : Granularity::kPerChannel;
  r.io = a.io == "float"   ? InputOutput::kFloat
         : a.io == "uint8" ? InputOutput::kUint8
                           : InputOutput::kInteger;
  if (!a.recipe.empty()) r.recipe = read_recipe(a.recipe);
  r.weight_scale = a.weights == "mse"     ? WeightScale::kMse
                   : a.weights == "octav" ? WeightScale::kOctav
                                          : WeightScale::kMinmax;
  r.equalize = choice_of(a.equalize);
  r.bias_correction = choice_of(a.bias_correction);
  r.rounding = rounding_method(a.rounding);
  if (!a.common.input_map.empty()) r.input_map = parse_input_map(a.common.input_map);
  r.seed = a.common.seed;
  r.threads = a.common.threads;
  r.progress = context.progress();
  return r;
}

// What the written file does to real samples, or only that it can run.
Json check(const QuantizeArguments& a, const ModelPtr& model, const Dataset* data,
           const InputMap& map) {
  Setup fl, qt;
  fl.model = model;
  qt.model = read_model(a.out);
  fl.input_map = qt.input_map = map;
  if (data == nullptr) {
    make_plan(qt.model, {});
    return Json{{"loads", true}, {"samples", 0}};
  }
  PredictOptions options;
  options.threads = a.common.threads;
  for (std::size_t i = 0; i < std::min(kCheckedSamples, data->count); ++i) {
    options.rows.push_back(i);
  }
  const Predictions x = predict(fl, *data, options);
  const Predictions y = predict(qt, *data, options);
  double error = 0;
  for (std::size_t j = 0; j < x.outputs.size(); ++j) {
    const auto u = x.outputs[j].span<float>(), v = y.outputs[j].span<float>();
    double low = 0, high = 0, worst = 0;
    for (std::size_t i = 0; i < u.size(); ++i) {
      low = std::min<double>(low, u[i]);
      high = std::max<double>(high, u[i]);
      worst = std::max(worst, std::fabs(static_cast<double>(u[i]) - static_cast<double>(v[i])));
    }
    if (high > low) error = std::max(error, worst / (high - low));
  }
  return Json{{"loads", true},
              {"samples", options.rows.size()},
              {"largest_difference", json_number(error)}};
}

std::string text_of(const Json& value, double float_bytes) {
  const double bytes = value.at("bytes").get<double>();
  std::string text = fmt::format(
      "{}: {}, {} (the float file has {})\n", value.at("out").get<std::string>(),
      value.at("technique").get<std::string>(), bytes_text(bytes), bytes_text(float_bytes));
  for (const auto& d : value.at("decisions")) {
    text += fmt::format("  {}: {} ({})\n", d.at("item").get<std::string>(),
                        d.at("chosen").get<std::string>(), d.at("because").get<std::string>());
  }
  const Json& v = value.at("verified");
  if (v.at("samples").get<std::size_t>() == 0) {
    return text + "  read back: the file is sound\n";
  }
  const Json& difference = v.at("largest_difference");
  return text +
         fmt::format(
             "  read back and run on {} calibration samples: outputs differ from the float model's "
             "by at most {} of their range\n",
             v.at("samples").get<std::size_t>(),
             difference.is_number() ? fmt::format("{:.2g} %", 100 * difference.get<double>())
                                    : difference.get<std::string>());
}

Json trials_json(const std::vector<Trial>& trials) {
  Json list = Json::array();
  for (const Trial& t : trials) list.push_back({{"name", t.name}, {"error", json_number(t.error)}});
  return list;
}

int run_quantize(const QuantizeArguments& a, Context& context) {
  const ModelPtr model = load_model(a.model);
  if (file_exists(a.out) && std::filesystem::equivalent(a.model, a.out)) {
    fail("{}: is the float model itself; give another name with -o", a.out);
  }
  if (std::filesystem::exists(a.out) && !std::filesystem::is_regular_file(a.out)) {
    fail("{}: is no regular file; give the path of a file with -o", a.out);
  }
  const QuantizeRequest request = request_of(a, context);
  std::optional<Dataset> data;
  if (!a.common.calibration.empty()) {
    data = bind_dataset(read_dataset(a.common.calibration), *model, request.input_map);
  }
  Quantized q = quantize_model(model, data ? &*data : nullptr, request);
  context.clear_progress();
  context.stop_gently();  // what is written is also checked
  write_model(q.model, a.out);
  std::vector<Decision> decisions = data ? data->decisions : std::vector<Decision>{};
  decisions.insert(decisions.end(), q.decisions.begin(), q.decisions.end());
  for (const std::string& w : q.warnings) {
    context.note("warning: " + w);
    decisions.push_back({"calibration", "used as given", w, {}});
  }
  Json calibration = nullptr;
  if (q.calibration_samples > 0) {
    calibration = Json{{"path", a.common.calibration},
                       {"samples", q.calibration_samples},
                       {"held_back", q.held_back},
                       {"method", calibration_name(q.calibration_method)}};
  }
  Json verified;
  try {
    verified = check(a, model, data && data->count > 0 ? &*data : nullptr, request.input_map);
  } catch (...) {  // a file that does not run is not left behind
    std::filesystem::remove(a.out);
    throw;
  }
  const Json value{{"schema", "litegap.quantize/1"},
                   {"litegap", kVersion},
                   {"out", a.out},
                   {"technique", a.technique},
                   {"calibration", calibration},
                   {"bytes", file_size(a.out)},
                   {"float_bytes", file_size(a.model)},
                   {"decisions", to_json(decisions)},
                   {"warnings", q.warnings},
                   {"trials", trials_json(q.trials)},
                   {"in_float", q.in_float},
                   {"verified", verified}};
  context.result(value, text_of(value, static_cast<double>(file_size(a.model))));
  return kDone;
}

}  // namespace

void add_quantize(CLI::App& app, Context& context) {
  auto a = std::make_shared<QuantizeArguments>();
  CLI::App* verb = add_verb(app, "quantize", "float .tflite to quantized .tflite",
                            "litegap quantize float.tflite --technique static --calibration "
                            "calib.npz -o int8.tflite");
  verb->add_option("model", a->model, "the float model (.tflite)")->required()->type_name("MODEL");
  verb->add_option("--technique", a->technique,
                   "static: int8 throughout, ranges from --calibration; dynamic-range: int8 "
                   "weights, no data; float16: half-precision weights; int16x8: int16 activations; "
                   "weight-only-int8, weight-only-int4: small weights, float arithmetic; mixed: by "
                   "--recipe")
      ->required()
      ->type_name("NAME")
      ->check(CLI::IsMember({"static", "dynamic-range", "float16", "int16x8", "weight-only-int8",
                             "weight-only-int4", "mixed"}));
  verb->add_option("--calibration-method", a->method,
                   "how ranges are taken; auto measures on samples held back")
      ->type_name("NAME")
      ->check(
          CLI::IsMember({"auto", "minmax", "moving-average", "percentile", "mse", "kl", "octav"}));
  verb->add_option("--granularity", a->granularity, "scales of weights")
      ->type_name("NAME")
      ->check(CLI::IsMember({"per-channel", "per-tensor"}));
  verb->add_option("--io", a->io, "type of inputs and outputs, for static and int16x8")
      ->type_name("NAME")
      ->check(CLI::IsMember({"integer", "uint8", "float"}));
  verb->add_option("--recipe", a->recipe, "rules by operator (docs/formats.md, Recipes)")
      ->type_name("FILE.json");
  verb->add_option("--equalize", a->equalize, "even out channels across layers")
      ->type_name("WHEN")
      ->check(CLI::IsMember({"off", "on", "auto"}));
  verb->add_option("--bias-correction", a->bias_correction,
                   "give back in the bias what rounded weights lose on average")
      ->type_name("WHEN")
      ->check(CLI::IsMember({"off", "on", "auto"}));
  verb->add_option("--rounding", a->rounding, "of weights")
      ->type_name("NAME")
      ->check(CLI::IsMember({"nearest", "gptq", "coordinate", "auto"}));
  verb->add_option("--weights", a->weights, "how scales of weights are chosen")
      ->type_name("NAME")
      ->check(CLI::IsMember({"minmax", "mse", "octav"}));
  verb->add_option("--input-map", a->common.input_map,
                   "how stored calibration values become model input: x/255, x/127.5-1")
      ->type_name("EXPR");
  verb->add_option("-o,--out", a->out, "the quantized file")->required()->type_name("PATH");
  add_common_flags(*verb, a->common, kCalibrationFlags | kThreadFlags | kOutputFlags);
  on_run(*verb, context, [a](Context& c) { return run_quantize(*a, c); });
}

}  // namespace litegap
