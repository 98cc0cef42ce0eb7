// A metric prepared on its inputs: what is common to score(), measure_score() and compare().
// Inside of run/ only; include run/metrics.h instead.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "run/metrics.h"

namespace litegap {

// A *unit* is what is drawn when samples are drawn anew: a sample, or a pair of samples.
struct Prepared {
  std::size_t units = 0, rows_per_unit = 1;
  // Its mean (with `root`, for rmse: the root of its mean) is the value; may be empty.
  std::vector<double> per_unit;
  bool root = false;
  std::function<double(std::span<const double> weights)> value;  // a weight for each unit
};
Prepared prepare_score(const Metric& metric, const ScoreInput& input);
Prepared prepare_map50(const ScoreInput& input);

// Rows of output `output` as [count, width] floats.
struct ScoreRows {
  std::span<const float> values;
  std::size_t count = 0, width = 0;
  std::span<const float> row(std::size_t i) const { return values.subspan(i * width, width); }
};
ScoreRows output_rows(const Predictions& predictions, std::size_t output = 0);

// Labels as doubles, [rows, columns].
struct Targets {
  std::vector<double> values;
  std::size_t rows = 0, columns = 0;
  std::span<const double> row(std::size_t i) const {
    return std::span(values).subspan(i * columns, columns);
  }
  // One column that is whole and not negative, or a one-hot row of `width`.
  bool classes(std::size_t width) const;
  bool one_hot(std::size_t width) const;
  bool zero_or_one() const;
};
Targets targets_of(const Dataset& data);

int arg_max(std::span<const float> row);  // the first largest; -1 when a value is not finite

}  // namespace litegap
