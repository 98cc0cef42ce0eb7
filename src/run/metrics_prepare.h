// A metric prepared on what was kept of the outputs: what is common to score(), measure_judged()
// and compare_judged().  Inside of run/ only; include run/metrics.h or run/judged.h instead.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "run/judged.h"

namespace litegap {

// A *unit* is what is drawn when samples are drawn anew: a sample, or a pair of samples.  Looks at
// what it was prepared from.
struct Prepared {
  std::size_t units = 0, rows_per_unit = 1;
  // Its mean (with `root`, for rmse: the root of its mean) is the value; may be empty.
  std::span<const double> per_unit;
  bool root = false;
  std::function<double(std::span<const double> weights)> value;  // a weight for each unit
  double whole() const;                                          // each once
};
Prepared prepare(const Metric& metric, const Judged& judged, const Dataset* data);
Prepared prepare_map50(const Judged& judged, const Targets& labels);

// Rows of output `output` as [count, width] floats.
struct ScoreRows {
  std::span<const float> values;
  std::size_t count = 0, width = 0;
  std::span<const float> row(std::size_t i) const { return values.subspan(i * width, width); }
};
ScoreRows output_rows(const Predictions& predictions, std::size_t output = 0);

int arg_max(std::span<const float> row);  // the first largest; -1 when a value is not finite

// The candidates cx, cy, w, h, a score a class of one sample that survive suppression, by class and
// the best first; right are those that match one of the sample's true boxes class, cx, cy, w, h.
std::vector<FoundBox> found_boxes(std::span<const float> candidates, std::size_t width,
                                  const Targets& truths, std::size_t sample);

}  // namespace litegap
