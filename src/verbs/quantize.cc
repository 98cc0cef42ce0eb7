#include "verbs/quantize.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "quant/words.h"
#include "run/setup.h"
#include "tflite/tflite.h"
#include "verbs/load.h"

namespace litegap {
namespace {

constexpr std::size_t kCheckedSamples = 64;  // enough to see a file that computes something else

QuantizeRequest request_of(const QuantizeFileRequest& a) {
  QuantizeRequest r;
  r.technique = value_of(technique_words(), a.technique, "technique");
  r.calibration_method = value_of(calibration_words(), a.method, "calibration method");
  r.granularity = value_of(granularity_words(), a.granularity, "granularity");
  r.io = value_of(io_words(), a.io, "io");
  r.equalize = value_of(choice_words(), a.equalize, "equalize");
  r.bias_correction = value_of(choice_words(), a.bias_correction, "bias correction");
  r.rounding = value_of(rounding_words(), a.rounding, "rounding");
  r.weight_scale = value_of(weight_scale_words(), a.weights, "weights");
  if (!a.recipe.empty()) r.recipe = read_recipe(a.recipe);
  if (!a.input_map.empty()) r.input_map = parse_input_map(a.input_map);
  r.least_elements = a.least_elements;
  r.seed = a.seed;
  r.threads = a.threads;
  r.progress = a.progress;
  return r;
}

// Largest difference of one output as a share of its range.
double range_share(std::span<const float> u, std::span<const float> v) {
  double low = 0, high = 0, worst = 0;
  for (std::size_t i = 0; i < u.size(); ++i) {
    low = std::min<double>(low, u[i]);
    high = std::max<double>(high, u[i]);
    worst = std::max(worst, std::fabs(static_cast<double>(u[i]) - static_cast<double>(v[i])));
  }
  return high > low ? worst / (high - low) : 0;
}

// What the file does to real samples, or only that it can run.
void check(const ModelPtr& model, const ModelPtr& file, const Dataset* data,
           const QuantizeRequest& request, QuantizeResult& result) {
  Setup fl, qt;
  fl.model = model;
  qt.model = file;
  fl.input_map = qt.input_map = request.input_map;
  if (data == nullptr || data->count == 0) {
    make_plan(qt.model, {});
    return;
  }
  PredictOptions options;
  options.threads = request.threads;
  for (std::size_t i = 0; i < std::min(kCheckedSamples, data->count); ++i) {
    options.rows.push_back(i);
  }
  const Predictions x = predict(fl, *data, options);
  const Predictions y = predict(qt, *data, options);
  for (std::size_t j = 0; j < x.outputs.size(); ++j) {
    result.largest_difference =
        std::max(result.largest_difference,
                 range_share(x.outputs[j].span<float>(), y.outputs[j].span<float>()));
  }
  result.checked_samples = options.rows.size();
}

void expect_own_file(const std::string& model, const std::string& out) {
  if (file_exists(out) && std::filesystem::equivalent(model, out)) {
    fail("{}: is the float model itself; give another name with -o", out);
  }
  if (std::filesystem::exists(out) && !std::filesystem::is_regular_file(out)) {
    fail("{}: is no regular file; give the path of a file with -o", out);
  }
}

}  // namespace

QuantizeResult quantize_file(const Dataset* calibration, const QuantizeFileRequest& a) {
  const ModelPtr model = load_model(a.model);
  expect_own_file(a.model, a.out);
  const QuantizeRequest request = request_of(a);
  std::optional<Dataset> data;
  if (calibration != nullptr) data = bind_dataset(*calibration, *model, request.input_map);
  QuantizeResult r{.out = a.out, .technique = a.technique};
  if (data) r.calibration_path = data->path;
  r.quantized = quantize_model(model, data ? &*data : nullptr, request);
  // The very bytes of the file are read back and run before they take the place of anything.
  const auto bytes =
      std::make_shared<const std::vector<std::byte>>(serialize_model(r.quantized.model));
  check(model, parse_model(*bytes, bytes, a.out), data ? &*data : nullptr, request, r);
  write_file(a.out, *bytes);
  if (data) r.decisions = data->decisions;
  const Quantized& q = r.quantized;
  r.decisions.insert(r.decisions.end(), q.decisions.begin(), q.decisions.end());
  for (const std::string& w : q.warnings) {
    r.decisions.push_back({"calibration", "used as given", w, {}});
  }
  r.bytes = file_size(a.out);
  r.float_bytes = file_size(a.model);
  return r;
}

}  // namespace litegap
