// From predictions to a number with an interval.
//
//   top1       arg max of output 0 is the label (one-hot labels count by their arg max)
//   top5       the label is among the five largest scores (ties: the lower class first)
//   binary     output 0 above 0.5 is the label, 0 or 1
//   auc        area under the ROC curve, ties half; of the only column, or of column 1 of two
//   mse, rmse, mae, r2  output 0 against the targets, over all elements (r2: mean over columns)
//   map50      rows cx, cy, w, h, a score a class against label rows class, cx, cy, w, h (-1 =
//   none) recon_auc  auc of the mean squared difference of output 0 and input 0 pair_auc   auc of
//   the cosine of output 0 of samples 2i and 2i + 1 heads      mean over outputs k of top1 of
//   output k against column k of the labels agreement  same arg max as the float model (one column:
//   same side of 0.5) kl         mean Kullback-Leibler divergence from the float model's
//   distribution (rows that are no
//              distributions go through a softmax)
//   cosine     mean cosine of output 0 with the float model's
//
// Non-finite outputs: a sample whose scores hold one is wrong in every right/wrong metric and
// differs from everything in agreement; means, areas and errors over them are NaN.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
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
  std::string name;
  bool higher_is_better = true;
  bool fraction = true;  // unit "fraction": points are 0.01
  // False: compares with the float model instead (agreement, kl, cosine; mse, rmse and mae too
  // where choose_metric() found no labels).
  bool needs_labels = true;
  std::string unit() const { return fraction ? "fraction" : "metric"; }
};

std::optional<Metric> find_metric(const std::string& name);
// The names, for messages: "top1, top5, …".
std::string metric_names();
// Guesses from output shape, labels and task ("" = guess); the choice is recorded in `decisions`.
// Throws Error when the metric is unknown, needs labels that are not there, or the labels do not
// fit the outputs.
Metric choose_metric(const std::string& asked_metric, const std::string& task, const Model& model,
                     const Dataset& data, std::vector<Decision>& decisions);

// What every metric is computed from: predictions, the dataset (labels, inputs for recon_auc), and
// the predictions of the float model where the metric compares with them.
struct ScoreInput {
  const Predictions* predictions = nullptr;
  const Dataset* data = nullptr;
  const Predictions* reference = nullptr;
  const InputMap* input_map =
      nullptr;  // recon_auc compares with the mapped input; null = as stored
};
// Value over the given rows (empty = all; a row may occur twice).  NaN when it is undefined. Throws
// Error when predictions, labels and metric do not fit one another.
double score(const Metric& metric, const ScoreInput& input,
             const std::vector<std::size_t>& rows = {});
// One value per sample whose mean is the metric (for rmse: the squared error); empty when the
// metric does not decompose (auc, r2, recon_auc, pair_auc).
std::vector<double> sample_scores(const Metric& metric, const ScoreInput& input);

struct Interval {
  double low = 0, high = 0;
};
struct Measurement {
  double value = 0;
  Interval interval;
  std::size_t count = 0;
  bool trusted = true;  // false: proves nothing (under 20 samples, not finite)
};
// 95 %: Wilson for right/wrong metrics, for other means the limit of the bootstrap
// (mean_interval), else bootstrap of 1000 resamples.
Measurement measure_score(const Metric& metric, const ScoreInput& input, std::uint64_t seed = 1);

// b against a on the same samples.  delta = value(a) - value(b), signed so that positive = b is
// worse.
struct Paired {
  double delta = 0;
  Interval interval;   // 95 %: Agresti and Min for right/wrong metrics, else paired bootstrap
  double p_value = 1;  // two-sided; exact McNemar for right/wrong metrics, else bootstrap
  std::size_t only_a_right = 0, only_b_right = 0;
  double agreement = 1;  // share of equal arg max (classification), else correlation
};
Paired compare(const Metric& metric, const ScoreInput& a, const ScoreInput& b,
               std::uint64_t seed = 1);

// ---- per sample
// ---------------------------------------------------------------------------------- True for
// metrics that are a share of right samples: top1, top5, binary, agreement.
bool is_hit_metric(const Metric& metric);
// The class of the first `rows` samples: arg max of output 0, or its side of 0.5; -1 where it is
// not finite.
std::vector<int> predicted_classes(const Predictions& predictions, std::size_t rows = SIZE_MAX);
// The label of every sample as a class; empty without labels, or where they are no classes.
std::vector<int> label_classes(const Dataset& data, std::size_t width);

struct ClassChange {
  int label = 0;
  std::size_t count = 0;                         // samples of this class
  double a = 0, b = 0;                           // share of them that a and b get right
  std::size_t predicted_a = 0, predicted_b = 0;  // samples that a and b give this class
};
// From the classes of labels and of the outputs of a and b; none where there are not as many
// labels.
std::vector<ClassChange> class_changes(std::span<const int> labels, std::span<const int> a,
                                       std::span<const int> b);

struct Flip {  // a sample to which a and b give different classes
  std::size_t row = 0;
  int label = -1;  // -1: no labels
  int a = 0, b = 0;
};
std::vector<Flip> flips(std::span<const int> labels, std::span<const int> a,
                        std::span<const int> b);

double loss_between(const Metric& metric, double reference,
                    double value);  // positive = value is worse
Interval wilson(std::size_t hits, std::size_t n, double z = 1.959964);
double mcnemar_exact(std::size_t only_a, std::size_t only_b);  // two-sided

}  // namespace litegap
