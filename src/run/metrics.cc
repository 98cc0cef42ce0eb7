#include "run/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "run/metrics_prepare.h"
#include "run/stats.h"

namespace litegap {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

//                          name        higher fraction labels
const Metric kMetrics[] = {{"top1", true, true, true},       {"top5", true, true, true},
                           {"binary", true, true, true},     {"auc", true, true, true},
                           {"mse", false, false, true},      {"rmse", false, false, true},
                           {"mae", false, false, true},      {"r2", true, false, true},
                           {"map50", true, true, true},      {"recon_auc", true, true, true},
                           {"pair_auc", true, true, true},   {"heads", true, true, true},
                           {"agreement", true, true, false}, {"kl", false, false, false},
                           {"cosine", true, false, false}};

double weighted_mean(std::span<const double> values, std::span<const double> weights) {
  double sum = 0, total = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (weights[i] == 0) continue;
    sum += weights[i] * values[i];
    total += weights[i];
  }
  return total > 0 ? sum / total : kNan;
}

double r2_of(const ScoreRows& rows, const Targets& t, std::span<const double> weights) {
  double mean_r2 = 0;
  for (std::size_t c = 0; c < rows.width; ++c) {
    double total = 0, mean = 0, left = 0, spread = 0;
    for (std::size_t i = 0; i < rows.count; ++i) {
      total += weights[i];
      mean += weights[i] * t.at(i, c);
    }
    mean /= total;
    for (std::size_t i = 0; i < rows.count; ++i) {
      if (weights[i] == 0) continue;
      const double d = t.at(i, c) - static_cast<double>(rows.row(i)[c]);
      const double m = t.at(i, c) - mean;
      left += weights[i] * d * d;
      spread += weights[i] * m * m;
    }
    mean_r2 += (spread > 0 ? 1 - left / spread : kNan) / static_cast<double>(rows.width);
  }
  return mean_r2;
}

Prepared prepare_r2(const Judged& judged, const Targets& labels) {
  Prepared p;
  p.units = judged.sizes.count;
  const ScoreRows rows{judged.outputs.span<float>(), p.units, judged.sizes.widths[0]};
  p.value = [rows, labels](std::span<const double> weights) {
    return r2_of(rows, labels, weights);
  };
  return p;
}

Prepared prepare_area(const Metric& metric, const Judged& judged, const Targets& labels) {
  if (labels.columns != 1) {
    fail("metric {}: labels have {} columns, expected 1", metric.name, labels.columns);
  }
  std::vector<bool> positive;
  for (std::size_t i = 0; i < labels.rows; ++i) positive.push_back(labels.at(i, 0) != 0);
  Prepared p;
  p.units = judged.scores.size();
  p.rows_per_unit = metric.name == "pair_auc" ? 2 : 1;
  p.value = [auc = Auc(judged.scores, positive)](std::span<const double> w) {
    return auc.value(w);
  };
  return p;
}

Prepared prepare_mean(const Metric& metric, const Judged& judged) {
  Prepared p;
  p.units = judged.scores.size();
  p.per_unit = judged.scores;
  p.root = metric.name == "rmse";
  p.value = [values = p.per_unit, root = p.root](std::span<const double> weights) {
    const double mean = weighted_mean(values, weights);
    return root ? std::sqrt(mean) : mean;
  };
  return p;
}

}  // namespace

std::optional<Metric> find_metric(const std::string& name) {
  for (const Metric& m : kMetrics) {
    if (m.name == name) return m;
  }
  return std::nullopt;
}

std::string metric_names() {
  std::string text;
  for (const Metric& m : kMetrics) text += (text.empty() ? "" : ", ") + m.name;
  return text;
}

Prepared prepare(const Metric& metric, const Judged& judged, const Dataset* data) {
  const bool area = metric.name == "auc" || metric.name == "recon_auc" || metric.name == "pair_auc";
  const bool whole = metric.name == "r2" || metric.name == "map50";
  if (!area && !whole) return prepare_mean(metric, judged);
  if (data == nullptr || !data->labels) fail("metric {} needs labels", metric.name);
  const Targets labels = targets_of(*data);
  if (area) return prepare_area(metric, judged, labels);
  return metric.name == "r2" ? prepare_r2(judged, labels) : prepare_map50(judged, labels);
}

double Prepared::whole() const {
  if (per_unit.empty()) return value(std::vector<double>(units, 1.0));
  double sum = 0;
  for (const double v : per_unit) sum += v;
  const double mean = sum / static_cast<double>(units);
  return root ? std::sqrt(mean) : mean;
}

double score(const Metric& metric, const ScoreInput& input, const std::vector<std::size_t>& rows) {
  const Judged judged = judge_all(metric, input);
  const Prepared p = prepare(metric, judged, input.data);
  if (rows.empty()) return p.whole();
  std::vector<double> weights(p.units, 0.0);
  for (const std::size_t r : rows) {
    const std::size_t unit = r / p.rows_per_unit;
    if (unit >= p.units) fail("row {} of {} samples", r, input.predictions->count);
    weights[unit] += 1;
  }
  return p.value(weights);
}

std::vector<double> sample_scores(const Metric& metric, const ScoreInput& input) {
  const Judged judged = judge_all(metric, input);
  const Prepared p = prepare(metric, judged, input.data);
  return {p.per_unit.begin(), p.per_unit.end()};
}

}  // namespace litegap
