// From predictions to a number with an interval.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace litegap {

// Dequantized outputs of one model over a dataset: outputs[j] is float32 [count, ...].
struct Predictions {
  std::size_t count = 0;
  std::vector<Array> outputs;
};

struct Metric {
  std::string name;                 // top1, top5, binary, auc, mse, rmse, mae, r2, recon_auc, pair_auc, heads, agreement, kl, cosine
  bool higher_is_better = true;
  bool fraction = true;             // unit "fraction": points are 0.01
  bool needs_labels = true;         // agreement, kl and cosine compare with the float model instead
  std::string unit() const { return fraction ? "fraction" : "metric"; }
};

std::optional<Metric> find_metric(const std::string& name);
// Guesses from output shape, labels and task ("" = guess); the choice is recorded in `decisions`.
Metric choose_metric(const std::string& asked_metric, const std::string& task, const Model& model,
                     const Dataset& data, std::vector<Decision>& decisions);

// What every metric is computed from: predictions, the dataset (labels, inputs for recon_auc), and the
// predictions of the float model where the metric compares with them.
struct ScoreInput {
  const Predictions* predictions = nullptr;
  const Dataset* data = nullptr;
  const Predictions* reference = nullptr;
};
// Value over the given rows (empty = all).  NaN when it is undefined.
double score(const Metric& metric, const ScoreInput& input, const std::vector<std::size_t>& rows = {});
// One value per sample whose mean is the metric (for rmse: the squared error); empty when the metric
// does not decompose (auc, r2, recon_auc, pair_auc).
std::vector<double> sample_scores(const Metric& metric, const ScoreInput& input);

struct Interval { double low = 0, high = 0; };
struct Measurement {
  double value = 0;
  Interval interval;
  std::size_t count = 0;
  bool trusted = true;              // false: proves nothing (too few samples, not finite)
};
Measurement measure_score(const Metric& metric, const ScoreInput& input, std::uint64_t seed = 1);  // Wilson, or bootstrap

// b against a on the same samples.  delta = value(a) - value(b), signed so that positive = b is worse.
struct Paired {
  double delta = 0;
  Interval interval;
  double p_value = 1;               // exact McNemar for right/wrong metrics, else paired bootstrap
  std::size_t only_a_right = 0, only_b_right = 0;
  double agreement = 1;             // share of equal arg max (classification), else correlation
};
Paired compare(const Metric& metric, const ScoreInput& a, const ScoreInput& b, std::uint64_t seed = 1);

double loss_between(const Metric& metric, double reference, double value);  // positive = value is worse
Interval wilson(std::size_t hits, std::size_t n, double z = 1.959964);
double mcnemar_exact(std::size_t only_a, std::size_t only_b);  // two-sided

}  // namespace litegap
