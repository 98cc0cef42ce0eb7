// How long one run of a model takes, on this machine.
#pragma once
#include <span>
#include <vector>

#include "run/plan.h"

namespace litegap {

struct LatencyOptions {
  int warmup = 2;
  int least = 5, most = 200;  // runs
  double seconds = 0.3;       // enough after that time, when `least` runs are done
  int threads = 1;            // that share the large operators of a run
};

struct Latency {
  double min = 0, median = 0, p90 = 0;  // milliseconds
  int runs = 0;
};
Latency measure_latency(const Plan& plan, std::span<const Array> inputs,
                        const LatencyOptions& options = {});
// Inputs of zeros (the code of zero for quantized ones) in the plan's types and shapes.
std::vector<Array> zero_inputs(const Plan& plan);

}  // namespace litegap
