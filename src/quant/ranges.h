// Ranges of all tensors on data: what a calibration records.
#pragma once
#include <vector>

#include "run/setup.h"

namespace litegap {

struct Ranges {
  std::vector<float> min, max;        // by tensor of graph 0; NaN where no finite value was seen
  std::vector<double> p_low, p_high;  // 0.01 and 99.99 percent points (relative precision 1/64)
  std::size_t samples = 0;
};

// Runs `setup` (a float model, or a quantized one in kReal) over the rows and records every float32
// value; values that are not finite are left out.  The same for any number of threads.
Ranges observe_ranges(const Setup& setup, const Dataset& data, const PredictOptions& options = {});

}  // namespace litegap
