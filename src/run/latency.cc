#include "run/latency.h"

#include "base/file.h"
#include "run/stats.h"

namespace litegap {

Latency measure_latency(const Plan& plan, std::span<const Array> inputs,
                        const LatencyOptions& options) {
  Workspace workspace(plan, options.threads);
  const auto once = [&] {
    workspace.reset();
    const double start = seconds_now();
    run(plan, workspace, inputs);
    return 1000 * (seconds_now() - start);
  };
  const double start = seconds_now();
  for (int i = 0; i < options.warmup; ++i) once();
  std::vector<double> times;
  while (
      static_cast<int>(times.size()) < options.most &&
      (static_cast<int>(times.size()) < options.least || seconds_now() - start < options.seconds)) {
    times.push_back(once());
  }
  return {percentile(times, 0), percentile(times, 0.5), percentile(times, 0.9),
          static_cast<int>(times.size())};
}

std::vector<Array> zero_inputs(const Plan& plan) {
  std::vector<Array> inputs;
  for (std::size_t i = 0; i < plan.input_count(); ++i) {
    const Quant& quant = plan.input_quant(i);
    if (quant.empty() || plan.input_type(i) == DType::kFloat32) {
      inputs.push_back(Array::zeros(plan.input_type(i), plan.input_shape(i)));
    } else {
      inputs.push_back(
          quantize(Array::zeros(DType::kFloat32, plan.input_shape(i)), quant, plan.input_type(i)));
    }
  }
  return inputs;
}

}  // namespace litegap
