// A09: the integer output is read as it stands.
//
// If what the user's program used is an affine function of the real outputs with slope 1/scale, it
// used codes.  Real values are (code - zero_point) * scale.
#include <cmath>

#include "diagnose/cause.h"

namespace litegap {

std::vector<Suspect> nominate_answers(Bench& bench) {
  if (bench.now.answers != Answers::kUserOutputs) return {};
  const Graph& graph = bench.now.qt.model->main();
  const Tensor& output = graph.tensors[static_cast<std::size_t>(graph.outputs[0])];
  if (output.quant.empty() || bench.now.recorded.outputs.empty()) return {};
  World model = apply(bench.now, EditAnswers{Answers::kModel});
  const Predictions ours = bench.lab.predict_quant(model);
  const auto a = bench.now.recorded.outputs[0].span<float>(), b = ours.outputs[0].span<float>();
  if (a.size() != b.size()) return {};
  const double scale = output.quant.scale[0];
  const double zero = static_cast<double>(output.quant.zero_point[0]);
  std::size_t codes = 0, shifted = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double code = b[i] / scale + zero;
    codes += std::fabs(a[i] - code) <= 1.01;
    shifted += std::fabs(std::fabs(a[i] - code) - 128) <= 1.01;
  }
  const double share =
      static_cast<double>(std::max(codes, shifted)) / static_cast<double>(a.size());
  if (share < 0.95) return {};
  Suspect s;
  s.harness = true;
  s.cause = "A09";
  s.slug = "output-not-dequantised";
  s.title = "Output is read without dequantizing";
  s.where = {{0, -1, graph.outputs[0], output.name}};
  s.heal = EditAnswers{Answers::kModel};
  s.inject = [](const World& healed) { return apply(healed, EditAnswers{Answers::kUserOutputs}); };
  const std::string formula = fmt::format("value = (code {} {:.0f}) * {:.8g}", zero < 0 ? "+" : "-",
                                          std::fabs(zero), scale);
  const Metric metric = bench.lab.metric();
  s.says = [=](double before, double after) {
    return fmt::format(
        "Predictions are nonsense because the {} codes of output {} are used as they stand: {:.1f} "
        "% of the recorded answers equal our codes. Use {}: {} goes from {} to {}.",
        dtype_name(output.dtype), output.name, 100 * share, formula, metric.name,
        metric_text(metric, before), metric_text(metric, after));
  };
  s.fix = {"output-map", formula};
  return {s};
}

}  // namespace litegap
