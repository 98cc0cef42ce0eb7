// Intervals, paired comparison, classes and flips.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "run/metrics_prepare.h"
#include "run/stats.h"

namespace litegap {
namespace {

constexpr std::size_t kFewSamples = 20;

bool compares_classes(const Metric& metric) {
  return is_hit_metric(metric) || metric.name == "kl" || metric.name == "heads";
}

double output_agreement(const Metric& metric, const ScoreInput& a, const ScoreInput& b) {
  if (compares_classes(metric)) {
    const auto p = predicted_classes(*a.predictions), q = predicted_classes(*b.predictions);
    std::size_t same = 0;
    for (std::size_t i = 0; i < p.size() && i < q.size(); ++i) same += p[i] >= 0 && p[i] == q[i];
    return p.empty() ? 1 : static_cast<double>(same) / static_cast<double>(p.size());
  }
  return correlation(output_rows(*a.predictions).values, output_rows(*b.predictions).values);
}

void compare_hits(const std::vector<double>& a, const std::vector<double>& b, Paired& paired) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    paired.only_a_right += a[i] > b[i];
    paired.only_b_right += b[i] > a[i];
  }
}

// The loss from a to b in each resample.
std::vector<double> resampled_losses(const Metric& metric, const Prepared& a, const Prepared& b,
                                     std::uint64_t seed) {
  std::vector<double> losses;
  if (a.per_unit.empty() || b.per_unit.empty()) {
    resample(a.units, seed, kResamples, [&](std::span<const double> weights) {
      losses.push_back(loss_between(metric, a.value(weights), b.value(weights)));
    });
    return losses;
  }
  const auto mean_a = resampled_means(a.per_unit, seed, kResamples),
             mean_b = resampled_means(b.per_unit, seed, kResamples);
  const auto value = [&](double mean) { return a.root ? std::sqrt(mean) : mean; };
  for (int i = 0; i < kResamples; ++i) {
    const auto at = static_cast<std::size_t>(i);
    losses.push_back(loss_between(metric, value(mean_a[at]), value(mean_b[at])));
  }
  return losses;
}

void compare_resampled(const Metric& metric, const Prepared& a, const Prepared& b,
                       std::uint64_t seed, Paired& paired) {
  const std::vector<double> deltas = resampled_losses(metric, a, b, seed);
  std::size_t not_worse = 0, not_better = 0;
  bool same = true;
  for (const double d : deltas) {
    not_worse += d <= 0;
    not_better += d >= 0;
    same = same && d == 0;
  }
  paired.interval = central_interval(deltas);
  if (std::isnan(paired.delta) || std::isnan(paired.interval.low)) {
    paired.p_value = std::numeric_limits<double>::quiet_NaN();
    return;
  }
  // A resample cannot show less than 1 in kResamples + 1.
  const double side = static_cast<double>(std::min(not_worse, not_better)) + 1;
  paired.p_value = same ? 1 : std::min(1.0, 2 * side / (kResamples + 1));
}

}  // namespace

bool is_hit_metric(const Metric& metric) {
  return metric.name == "top1" || metric.name == "top5" || metric.name == "binary" ||
         metric.name == "agreement";
}

double loss_between(const Metric& metric, double reference, double value) {
  return metric.higher_is_better ? reference - value : value - reference;
}

Measurement measure_score(const Metric& metric, const ScoreInput& input, std::uint64_t seed) {
  const Prepared p = prepare_score(metric, input);
  Measurement m;
  m.count = p.units;
  m.value = p.value(std::vector<double>(p.units, 1.0));
  m.trusted = std::isfinite(m.value) && m.count >= kFewSamples;
  if (is_hit_metric(metric)) {
    const auto hits = static_cast<std::size_t>(
        std::count_if(p.per_unit.begin(), p.per_unit.end(), [](double h) { return h > 0.5; }));
    m.interval = wilson(hits, p.units);
    return m;
  }
  if (!p.per_unit.empty()) {
    m.interval = mean_interval(p.per_unit);
    if (p.root) m.interval = {std::sqrt(m.interval.low), std::sqrt(m.interval.high)};
    return m;
  }
  std::vector<double> values;
  resample(p.units, seed, kResamples,
           [&](std::span<const double> weights) { values.push_back(p.value(weights)); });
  m.interval = central_interval(values);
  return m;
}

Paired compare(const Metric& metric, const ScoreInput& a, const ScoreInput& b, std::uint64_t seed) {
  const Prepared pa = prepare_score(metric, a), pb = prepare_score(metric, b);
  if (pa.units != pb.units) {
    fail("cannot compare {} samples with {}: they must be the same ones", pa.units, pb.units);
  }
  const std::vector<double> ones(pa.units, 1.0);
  Paired paired;
  paired.delta = loss_between(metric, pa.value(ones), pb.value(ones));
  paired.agreement = output_agreement(metric, a, b);
  if (is_hit_metric(metric)) {
    compare_hits(pa.per_unit, pb.per_unit, paired);
    paired.interval =
        paired_proportion_interval(paired.only_a_right, paired.only_b_right, pa.units);
    paired.p_value = mcnemar_exact(paired.only_a_right, paired.only_b_right);
    return paired;
  }
  if (metric.name == "heads") compare_hits(pa.per_unit, pb.per_unit, paired);
  compare_resampled(metric, pa, pb, seed, paired);
  return paired;
}

std::vector<ClassChange> class_changes(const ScoreInput& a, const ScoreInput& b) {
  const std::size_t width = output_rows(*a.predictions).width;
  const std::vector<int> labels = label_classes(*a.data, width);
  const auto p = predicted_classes(*a.predictions);
  const auto q = a.predictions == b.predictions ? p : predicted_classes(*b.predictions);
  if (labels.size() != p.size() || labels.size() != q.size()) return {};
  std::map<int, ClassChange> table;
  std::vector<ClassChange*> known(std::max<std::size_t>(2, width));  // the table's rows by class
  const auto row_of = [&](int c) -> ClassChange& {
    if (c < 0 || static_cast<std::size_t>(c) >= known.size()) return table[c];
    ClassChange*& row = known[static_cast<std::size_t>(c)];
    if (row == nullptr) row = &table[c];
    return *row;
  };
  for (std::size_t i = 0; i < labels.size(); ++i) {
    ClassChange& row = row_of(labels[i]);
    ++row.count;
    row.a += p[i] == labels[i];
    row.b += q[i] == labels[i];
    if (p[i] >= 0) ++row_of(p[i]).predicted_a;
    if (q[i] >= 0) ++row_of(q[i]).predicted_b;
  }
  std::vector<ClassChange> changes;
  for (auto& [label, row] : table) {
    row.label = label;
    if (row.count > 0) {
      row.a /= static_cast<double>(row.count);
      row.b /= static_cast<double>(row.count);
    }
    changes.push_back(row);
  }
  return changes;
}

std::vector<Flip> flips(const ScoreInput& a, const ScoreInput& b) {
  const auto p = predicted_classes(*a.predictions), q = predicted_classes(*b.predictions);
  std::vector<int> labels;
  if (a.data != nullptr) labels = label_classes(*a.data, output_rows(*a.predictions).width);
  std::vector<Flip> out;
  for (std::size_t i = 0; i < p.size() && i < q.size(); ++i) {
    if (p[i] == q[i]) continue;
    out.push_back({i, labels.size() == p.size() ? labels[i] : -1, p[i], q[i]});
  }
  return out;
}

}  // namespace litegap
