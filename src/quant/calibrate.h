// What calibration samples say about every activation, and six ways to make a range of it.
//
// One pass keeps, by tensor: the exact smallest and largest value, their moving averages over the
// samples, and a histogram of up to 2048 values a sample.  Nothing grows with the number of
// samples, and the result is the same for any number of threads.
//
//   minmax           the extremes: nothing is cut off; what the TensorFlow converter does
//   moving-average   r = 0.95 r + 0.05 new over the samples' extremes: forgets early samples
//   percentile       0.01 and 99.99 percent points
//   mse              the range with the least expected squared error: values cut off against steps
//                    of width^2/12 inside
//   kl               the range whose 8-bit histogram diverges least from the values' (entropy)
//   octav            Newton's fixed point of the same error for one clipping magnitude: Sakr and
//                    others, "Optimal clipping and magnitude-aware differentiation", 2022
//
//   999 values around 1 and one of 1000: minmax 0 to 1000, percentile 0 to about 1
//   values uniform in [-1, 1]: all six about -1 to 1
#pragma once
#include <vector>

#include "model/model.h"
#include "quant/histogram.h"
#include "quant/ranges.h"
#include "quant/recipe.h"

namespace litegap {

struct Statistics {
  float min = 0, max = 0;                  // NaN where no finite value was seen
  float average_min = 0, average_max = 0;  // moving averages
  LogHistogram histogram;
};

struct Calibration {
  std::vector<Statistics> tensor;  // of graph 0
  std::size_t samples = 0;
};

// Runs the float model over the rows.
Calibration calibrate(const Setup& setup, const Dataset& data, const PredictOptions& options = {});

struct Range {
  double low = 0, high = 0;
};
// The range of one tensor for codes of 2^bits levels; always inside of [min, max].  16 bits: only
// minmax and moving-average differ from it in anything that matters, so the others are minmax.
Range range_by(CalibrationMethod method, const Statistics& s, int bits = 8);

// By tensor; `methods` by tensor.
Ranges ranges_by(const Calibration& calibration, const std::vector<CalibrationMethod>& methods,
                 int bits = 8);

}  // namespace litegap
