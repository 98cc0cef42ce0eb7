// quantize: a float .tflite to a quantized one, checked as the file that was written.
#include "quant/quantize.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "cli/cli.h"
#include "report/table.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

constexpr std::size_t kCheckedSamples = 64;  // enough to see a file that computes something else
constexpr std::size_t kFewSamples = 20;

struct QuantizeArguments {
  CommonOptions common;
  std::string model, out;
  std::string technique, method = "auto", granularity = "per-channel", io = "integer";
};

struct Quantized {
  Model model;
  std::vector<Decision> decisions;
  std::optional<Dataset> calibration;
  InputMap map;
};

Quantized start(const QuantizeArguments& a, const Model& model) {
  Quantized q;
  if (!a.common.input_map.empty()) q.map = parse_input_map(a.common.input_map);
  if (a.common.calibration.empty()) return q;
  const Dataset data = read_dataset(a.common.calibration);
  q.calibration = bind_dataset(data, model, q.map);
  q.decisions = q.calibration->decisions;
  return q;
}

void judge_calibration(Quantized& q) {
  const std::size_t distinct = q.calibration->distinct_rows();
  if (distinct >= kFewSamples) return;
  q.decisions.push_back({"calibration",
                         fmt::format("{} distinct samples", distinct),
                         "that is what the file holds; ranges of so few samples are usually too "
                         "narrow, a hundred or more samples of real use are expected",
                         {}});
}

Ranges ranges_for(const QuantizeArguments& a, const ModelPtr& model, Quantized& q,
                  Context& context) {
  Setup setup;
  setup.model = model;
  setup.input_map = q.map;
  PredictOptions options;
  options.threads = a.common.threads;
  options.progress = context.progress();
  Ranges r = observe_ranges(setup, *q.calibration, options);
  if (a.method == "percentile") {
    for (std::size_t t = 0; t < r.min.size(); ++t) {
      r.min[t] = static_cast<float>(r.p_low[t]);
      r.max[t] = static_cast<float>(r.p_high[t]);
    }
  }
  q.decisions.push_back({"calibration method",
                         a.method == "percentile" ? "percentile" : "minmax",
                         a.method == "percentile"
                             ? "asked for; values outside 0.01 to 99.99 percent are cut off"
                             : "smallest and largest value of every tensor, as the TensorFlow "
                               "converter does",
                         {"minmax", "percentile"}});
  return r;
}

void make_static(const QuantizeArguments& a, const ModelPtr& model, Quantized& q,
                 Context& context) {
  if (!q.calibration) {
    fail(
        "--technique static needs --calibration FILE: the scale of every activation is fixed in "
        "advance from samples of real use; without data only --technique dynamic-range is "
        "possible, which stores int8 weights and quantizes activations anew at every run");
  }
  judge_calibration(q);
  StaticOptions options;
  options.granularity =
      a.granularity == "per-tensor" ? Granularity::kPerTensor : Granularity::kPerChannel;
  options.io = a.io == "float"   ? InputOutput::kFloat
               : a.io == "uint8" ? InputOutput::kUint8
                                 : InputOutput::kInteger;
  StaticResult r = quantize_static(*model, ranges_for(a, model, q, context), options);
  for (const std::string& op : r.in_float) {
    q.decisions.push_back({op,
                           "float32",
                           "the operator has no int8 arithmetic; it runs between "
                           "DEQUANTIZE and QUANTIZE",
                           {}});
  }
  if (r.rescales > 0) {
    q.decisions.push_back({"scales",
                           fmt::format("{} rescaled", r.rescales),
                           "operators that need equal scales meet tensors that have others",
                           {}});
  }
  q.model = std::move(r.model);
}

void make_without_data(const QuantizeArguments& a, const ModelPtr& model, Quantized& q) {
  const bool half = a.technique == "float16";
  WeightResult r = half ? quantize_float16(*model) : quantize_dynamic_range(*model);
  if (q.calibration) {
    q.decisions.push_back({"calibration",
                           "not used",
                           "this technique stores no scales of activations",
                           {"--technique static"}});
  }
  if (!half && r.quantized == 0) {
    q.decisions.push_back(
        {"weights",
         "all left float32",
         r.kept == 0 ? std::string("no operator with weights that this technique covers")
                     : fmt::format("the largest weight tensor has {} elements; from 1024 on int8 "
                                   "saves space, so the file computes what the float file does",
                                   r.largest_kept),
         {"--technique static"}});
  } else if (!half && r.kept > 0) {
    q.decisions.push_back({"weights",
                           fmt::format("{} int8, {} float32", r.quantized, r.kept),
                           "tensors of less than 1024 elements gain nothing",
                           {}});
  }
  q.model = std::move(r.model);
}

// What the written file does to real samples, or only that it can run.
Json check(const QuantizeArguments& a, const ModelPtr& model, const Quantized& q) {
  Setup fl, qt;
  fl.model = model;
  qt.model = read_model(a.out);
  fl.input_map = qt.input_map = q.map;
  if (!q.calibration) {
    make_plan(qt.model, {});
    return Json{{"loads", true}, {"samples", 0}};
  }
  PredictOptions options;
  options.threads = a.common.threads;
  for (std::size_t i = 0; i < std::min(kCheckedSamples, q.calibration->count); ++i) {
    options.rows.push_back(i);
  }
  const Predictions x = predict(fl, *q.calibration, options);
  const Predictions y = predict(qt, *q.calibration, options);
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

int run_quantize(const QuantizeArguments& a, Context& context) {
  const ModelPtr model = load_model(a.model);
  if (file_exists(a.out) && std::filesystem::equivalent(a.model, a.out)) {
    fail("{}: is the float model itself; give another name with -o", a.out);
  }
  Quantized q = start(a, *model);
  if (a.technique == "static") {
    make_static(a, model, q, context);
  } else {
    make_without_data(a, model, q);
  }
  context.clear_progress();
  write_model(q.model, a.out);
  Json calibration = nullptr;
  if (a.technique == "static") {
    calibration = Json{{"path", a.common.calibration},
                       {"samples", q.calibration->count},
                       {"method", a.method == "percentile" ? "percentile" : "minmax"}};
  }
  const Json value{{"schema", "litegap.quantize/1"},
                   {"litegap", kVersion},
                   {"out", a.out},
                   {"technique", a.technique},
                   {"calibration", calibration},
                   {"bytes", file_size(a.out)},
                   {"decisions", to_json(q.decisions)},
                   {"verified", check(a, model, q)}};
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
                   "weights, no data; float16: half-precision weights")
      ->required()
      ->type_name("NAME")
      ->check(CLI::IsMember({"static", "dynamic-range", "float16"}));
  verb->add_option("--calibration-method", a->method, "how static takes ranges (auto is minmax)")
      ->type_name("NAME")
      ->check(CLI::IsMember({"auto", "minmax", "percentile"}));
  verb->add_option("--granularity", a->granularity, "scales of weights, for static")
      ->type_name("NAME")
      ->check(CLI::IsMember({"per-channel", "per-tensor"}));
  verb->add_option("--io", a->io, "type of inputs and outputs, for static")
      ->type_name("NAME")
      ->check(CLI::IsMember({"integer", "uint8", "float"}));
  verb->add_option("--input-map", a->common.input_map,
                   "how stored calibration values become model input: x/255, x/127.5-1")
      ->type_name("EXPR");
  verb->add_option("-o,--out", a->out, "the quantized file")->required()->type_name("PATH");
  add_common_flags(*verb, a->common, kCalibrationFlags | kThreadFlags | kOutputFlags);
  on_run(*verb, context, [a](Context& c) { return run_quantize(*a, c); });
}

}  // namespace litegap
