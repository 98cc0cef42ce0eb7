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

// Of all values of both outputs, from what each sample's have in common and where their means are.
double correlation_of(const Judged& a, const Judged& b, const JudgedPair& pair) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  if (pair.products.empty()) return kNan;
  if (std::all_of(pair.equal.begin(), pair.equal.end(), [](auto e) { return e != 0; })) return 1;
  const std::size_t count = pair.products.size();
  const double n = static_cast<double>(count), width = static_cast<double>(a.sizes.widths[0]);
  double mean_a = 0, mean_b = 0;
  for (std::size_t i = 0; i < count; ++i) {
    mean_a += a.moments[i].mean / n;
    mean_b += b.moments[i].mean / n;
  }
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double p = a.moments[i].mean - mean_a, q = b.moments[i].mean - mean_b;
    ab += pair.products[i] + width * (p * q);
    aa += a.moments[i].squares + width * (p * p);
    bb += b.moments[i].squares + width * (q * q);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : kNan;
}

double output_agreement(const Metric& metric, const Judged& a, const Judged& b,
                        const JudgedPair& pair) {
  if (!compares_classes(metric)) return correlation_of(a, b, pair);
  const std::size_t n = a.classes.size();
  std::size_t same = 0;
  for (std::size_t i = 0; i < n && i < b.classes.size(); ++i)
    same += a.classes[i] >= 0 && a.classes[i] == b.classes[i];
  return n == 0 ? 1 : static_cast<double>(same) / static_cast<double>(n);
}

void compare_hits(std::span<const double> a, std::span<const double> b, Paired& paired) {
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

AlsoKeep kept_to_compare(const Metric& metric) {
  const bool classes = compares_classes(metric);
  return {classes, !classes};
}

Measurement measure_judged(const Metric& metric, const Judged& judged, const Dataset* data,
                           std::uint64_t seed) {
  const Prepared p = prepare(metric, judged, data);
  Measurement m;
  m.count = p.units;
  m.value = p.whole();
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

Paired compare_judged(const Metric& metric, const Judged& a, const Dataset* a_data, const Judged& b,
                      const Dataset* b_data, const JudgedPair& pair, std::uint64_t seed) {
  const Prepared pa = prepare(metric, a, a_data), pb = prepare(metric, b, b_data);
  Paired paired;
  paired.delta = loss_between(metric, pa.whole(), pb.whole());
  paired.agreement = output_agreement(metric, a, b, pair);
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

Measurement measure_score(const Metric& metric, const ScoreInput& input, std::uint64_t seed) {
  return measure_judged(metric, judge_all(metric, input), input.data, seed);
}

Paired compare(const Metric& metric, const ScoreInput& a, const ScoreInput& b, std::uint64_t seed) {
  const AlsoKeep keep = kept_to_compare(metric);
  const Judged first = judge_all(metric, a, keep), second = judge_all(metric, b, keep);
  const std::size_t n = first.sizes.count;
  if (second.sizes.count != n) {
    fail("cannot compare {} samples with {}: they must be the same ones", n, second.sizes.count);
  }
  JudgedPair pair = room_for_pair(first.sizes, second.sizes, false, keep);
  judge_pair({b.predictions, a.predictions, n, {}}, first, second, pair);
  return compare_judged(metric, first, a.data, second, b.data, pair, seed);
}

namespace {

struct Tally {
  std::size_t count = 0, right = 0, predicted = 0;
};

// By class.  Labels may be any numbers, classes of outputs are below their width.  Pairs of few
// classes are counted in tables of their own, two of them in turns: a count waits for the one
// before.
std::map<int, Tally> tallies_of(std::span<const int> labels, std::span<const int> classes) {
  constexpr int kFew = 64;
  int most = 1;
  for (const int c : classes) most = std::max(most, c);
  const std::size_t width = static_cast<std::size_t>(most) + 1;
  std::map<int, Tally> others;
  std::vector<Tally> tallies(width);
  std::vector<std::size_t> pairs[2];
  if (most < kFew) pairs[0].resize(width * width), pairs[1].resize(width * width);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const int label = labels[i], found = classes[i];
    const bool usual = label >= 0 && label <= most && found >= 0;
    if (usual && most < kFew) {
      ++pairs[i % 2][static_cast<std::size_t>(label) * width + static_cast<std::size_t>(found)];
      continue;
    }
    Tally& tally =
        label >= 0 && label <= most ? tallies[static_cast<std::size_t>(label)] : others[label];
    ++tally.count;
    tally.right += found == label;
    if (found >= 0) ++tallies[static_cast<std::size_t>(found)].predicted;
  }
  for (std::size_t at = 0; at < pairs[0].size(); ++at) {
    const std::size_t n = pairs[0][at] + pairs[1][at], label = at / width, found = at % width;
    tallies[label].count += n;
    tallies[label].right += label == found ? n : 0;
    tallies[found].predicted += n;
  }
  for (std::size_t c = 0; c < width; ++c) {
    if (tallies[c].count + tallies[c].predicted > 0) others[static_cast<int>(c)] = tallies[c];
  }
  return others;
}

}  // namespace

std::vector<ClassChange> class_changes(std::span<const int> labels, std::span<const int> a,
                                       std::span<const int> b) {
  if (labels.size() != a.size() || labels.size() != b.size()) return {};
  std::map<int, Tally> of_a = tallies_of(labels, a);
  const bool one = a.data() == b.data();
  std::map<int, Tally> of_b = one ? of_a : tallies_of(labels, b);
  for (const auto& [label, t] : of_a) of_b.try_emplace(label);
  std::vector<ClassChange> changes;
  for (const auto& [label, t] : of_b) {  // every class of either
    const Tally& first = of_a[label];
    const double count = static_cast<double>(std::max<std::size_t>(1, t.count));
    changes.push_back({label, t.count, static_cast<double>(first.right) / count,
                       static_cast<double>(t.right) / count, first.predicted, t.predicted});
  }
  return changes;
}

std::vector<Flip> flips(std::span<const int> labels, std::span<const int> a,
                        std::span<const int> b) {
  std::vector<Flip> out;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (a[i] == b[i]) continue;
    out.push_back({i, labels.size() == a.size() ? labels[i] : -1, a[i], b[i]});
  }
  return out;
}

}  // namespace litegap
