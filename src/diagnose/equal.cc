#include "diagnose/equal.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace litegap {
namespace {

Finding harmless(std::string cause, std::string slug, std::string title, std::string says,
                 std::string fix) {
  Finding f;
  f.cause = std::move(cause);
  f.slug = std::move(slug);
  f.title = std::move(title);
  f.says = std::move(says);
  f.fix = {"advice", std::move(fix)};
  f.proved = true;
  return f;
}

std::vector<long> rounded_codes(const Predictions& p, const Quant& q) {
  std::vector<long> codes;
  for (const float v : p.outputs[0].span<float>())
    codes.push_back(
        std::lround(v / static_cast<double>(q.scale[0]) + static_cast<double>(q.zero_point[0])));
  return codes;
}

}  // namespace

std::optional<Finding> find_other_baseline(Bench& bench, double claimed) {
  const Metric& metric = bench.lab.metric();
  const double missing = bench.lab.loss(claimed, bench.measured.fl);
  const Measurement m = measure_score(
      metric, {&bench.measured.fl_predictions, &bench.now.data, &bench.measured.fl_predictions},
      bench.lab.seed());
  const bool outside =
      metric.higher_is_better ? claimed > m.interval.high : claimed < m.interval.low;
  if (!(missing > 0) ||
      (!outside && missing < (metric.fraction ? 0.005 : 0.05 * std::fabs(claimed))))
    return std::nullopt;
  Finding f = harmless(
      "A00", "baseline-from-another-harness", "The claimed value comes from another harness",
      fmt::format(
          "The float file itself reaches {} on these {} samples, not the claimed {}: {} of the gap "
          "is there before quantization. {}",
          metric_text(metric, bench.measured.fl), bench.now.data.count,
          metric_text(metric, claimed), metric_text(metric, missing),
          outside
              ? "The claim lies outside the interval of the measurement."
              : "The claim lies inside the interval of the measurement: more samples would tell."),
      "measure the training model on the same samples with the same pre-processing and compare "
      "again");
  f.recovers = f.alone = missing;
  f.interval = {
      bench.lab.loss(claimed, metric.higher_is_better ? m.interval.high : m.interval.low),
      bench.lab.loss(claimed, metric.higher_is_better ? m.interval.low : m.interval.high)};
  return f;
}

std::optional<Finding> find_not_quantized(Bench& bench) {
  const std::string& technique = bench.quant_technique.name;
  const auto& a = bench.measured.fl_predictions.outputs;
  const auto& b = bench.measured.qt_predictions.outputs;
  bool equal = a.size() == b.size();
  for (std::size_t j = 0; equal && j < a.size(); ++j) {
    equal = a[j].byte_size() == b[j].byte_size() &&
            std::memcmp(a[j].data(), b[j].data(), a[j].byte_size()) == 0;
  }
  if (technique == "float32" && bench.float_technique.name == "float32" && equal) {
    return harmless(
        "B01", "nothing-was-quantised", "Nothing was quantized: the file is the float file",
        fmt::format(
            "The loss did not change because nothing was quantized: all operators and weights are "
            "float32 and all {} outputs are bit for bit those of the float file.",
            bench.now.data.count),
        "converter.optimizations = [tf.lite.Optimize.DEFAULT]; converter.representative_dataset = "
        "generator; weights of fewer than 1024 elements stay float in dynamic-range mode");
  }
  if (technique == "dynamic-range" && bench.calibration != nullptr) {
    return harmless("B01", "only-dynamic-range", "Only the weights were quantized (dynamic range)",
                    "The file is dynamic range: weights are int8, activations float. The "
                    "calibration data cannot have mattered.",
                    "set converter.representative_dataset and converter.target_spec.supported_ops "
                    "= [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]");
  }
  return std::nullopt;
}

std::optional<Finding> find_rounding_only(Bench& bench, const Array& dump) {
  const Graph& graph = bench.now.qt.model->main();
  const Quant& q = graph.tensors[static_cast<std::size_t>(graph.outputs[0])].quant;
  if (q.empty()) return std::nullopt;
  World w = apply(bench.now, EditAnswers{Answers::kModel});
  const Array recorded = dump.dtype() == DType::kFloat32
                             ? dump
                             : dequantize(dump, Quant{{1.0f}, {0}, 0, {}, {}, -1, -1, 0, nullptr});
  std::string exact;
  double share = 1;
  long largest = 0;
  for (const Dialect d :
       {bench.now.qt.numerics.dialect, Dialect::kReference, Dialect::kBuiltin, Dialect::kXnnpack}) {
    w.qt.numerics.dialect = d;
    Predictions p;
    try {
      p = bench.lab.predict_quant(w);
    } catch (const Error&) {
      continue;  // an operator this dialect does not have
    }
    const auto codes = rounded_codes(p, q);
    const auto found = recorded.span<float>();
    if (codes.size() != found.size()) return std::nullopt;
    std::size_t differing = 0;
    long most = 0;
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const long off = std::labs(codes[i] - std::lround(found[i]));
      differing += off != 0;
      most = std::max(most, off);
    }
    const double s = static_cast<double>(differing) /
                     static_cast<double>(std::max<std::size_t>(1, codes.size()));
    if (s < share || exact.empty()) {
      share = s;
      largest = most;
      exact = dialect_name(d);
    }
    if (differing == 0) break;
  }
  if (largest > 2 && share > 0.02) return std::nullopt;
  const Metric& metric = bench.lab.metric();
  w.qt.numerics = bench.now.qt.numerics;
  const Predictions ours = bench.lab.predict_quant(w);
  const double delta = bench.lab.loss(bench.lab.value(ours, w.data, &bench.measured.fl_predictions),
                                      bench.measured.qt);
  const Paired paired =
      bench.lab.paired(ours, w.data, bench.now.recorded, w.data, bench.measured.fl_predictions);
  if (paired.p_value < 0.05 &&
      std::fabs(delta) > (metric.fraction ? 0.01 : 0.05 * std::fabs(bench.measured.fl)))
    return std::nullopt;
  return harmless("G01", "rounding-only", "The device rounds differently, and it does no harm",
                  fmt::format("The numbers on the device differ because its kernels round "
                              "differently: {} of its output codes {} our {} kernels (largest "
                              "difference {} codes); {} moves by {:.4g}, p = {:.2g}.",
                              share == 0 ? "all" : fmt::format("{:.2f} %", 100 * (1 - share)),
                              "equal", exact, largest, metric.name, delta, paired.p_value),
                  "none needed");
}

}  // namespace litegap
