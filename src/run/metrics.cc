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

Prepared from_samples(std::vector<double> per_unit, bool root = false) {
  Prepared p;
  p.units = per_unit.size();
  p.per_unit = std::move(per_unit);
  p.root = root;
  p.value = [values = p.per_unit, root](std::span<const double> weights) {
    const double mean = weighted_mean(values, weights);
    return root ? std::sqrt(mean) : mean;
  };
  return p;
}

Prepared from_auc(const std::vector<double>& scores, const std::vector<bool>& positive) {
  Prepared p;
  p.units = scores.size();
  p.value = [auc = Auc(scores, positive)](std::span<const double> w) { return auc.value(w); };
  return p;
}

const Dataset& labelled(const Metric& metric, const ScoreInput& in) {
  if (in.data == nullptr || !in.data->labels) fail("metric {} needs labels", metric.name);
  return *in.data;
}

Targets targets_for(const Metric& metric, const ScoreInput& in, std::size_t columns) {
  Targets t = targets_of(labelled(metric, in));
  const std::size_t n = in.predictions->count;
  if (t.rows != n || (columns > 0 && t.columns != columns)) {
    fail("metric {}: labels are {} rows of {}, expected {} rows of {}", metric.name, t.rows,
         t.columns, n, columns);
  }
  return t;
}

std::vector<bool> positives(const Metric& metric, const Targets& t) {
  if (t.columns != 1) fail("metric {}: labels have {} columns, expected 1", metric.name, t.columns);
  std::vector<bool> out;
  for (const double v : t.values) out.push_back(v != 0);
  return out;
}

const Predictions& reference_of(const Metric& metric, const ScoreInput& in) {
  if (in.reference == nullptr) fail("metric {} needs the float model's outputs", metric.name);
  const auto size = [](const Predictions& p) { return p.outputs.at(0).elements(); };
  if (in.reference->count != in.predictions->count ||
      size(*in.reference) != size(*in.predictions)) {
    fail("metric {}: outputs of {} values, the float model's have {}", metric.name,
         size(*in.predictions), size(*in.reference));
  }
  return *in.reference;
}

// ---- right or wrong
// ------------------------------------------------------------------------------

std::vector<double> top_hits(const Metric& metric, const ScoreInput& in, std::size_t k) {
  const ScoreRows rows = output_rows(*in.predictions);
  const std::vector<int> labels = label_classes(labelled(metric, in), rows.width);
  if (labels.size() != rows.count) {
    fail("metric {}: the labels are no class numbers for {} samples of {} scores", metric.name,
         rows.count, rows.width);
  }
  std::vector<double> hits(rows.count, 0.0);
  if (k == 1 && rows.width > 1) {
    const std::vector<int> best = predicted_classes(*in.predictions);
    for (std::size_t i = 0; i < rows.count; ++i) hits[i] = best[i] >= 0 && best[i] == labels[i];
    return hits;
  }
  for (std::size_t i = 0; i < rows.count; ++i) {
    const auto row = rows.row(i);
    if (arg_max(row) < 0 || labels[i] < 0 || static_cast<std::size_t>(labels[i]) >= rows.width)
      continue;
    const auto label = static_cast<std::size_t>(labels[i]);
    const float own = row[label];
    std::uint32_t better = 0;
    for (std::size_t c = 0; c < label; ++c) better += row[c] >= own;
    for (std::size_t c = label + 1; c < rows.width; ++c) better += row[c] > own;
    hits[i] = better < k;
  }
  return hits;
}

std::vector<double> binary_hits(const Metric& metric, const ScoreInput& in) {
  const ScoreRows rows = output_rows(*in.predictions);
  if (rows.width != 1) fail("metric binary: {} output columns, expected 1", rows.width);
  const Targets t = targets_for(metric, in, 1);
  std::vector<double> hits(rows.count);
  for (std::size_t i = 0; i < rows.count; ++i) {
    const float v = rows.values[i];
    hits[i] = std::isfinite(v) && (v > 0.5f ? 1.0 : 0.0) == t.values[i];
  }
  return hits;
}

std::vector<double> head_hits(const Metric& metric, const ScoreInput& in) {
  const Targets t = targets_for(metric, in, 0);
  if (in.predictions->outputs.size() < t.columns) {
    fail("metric heads: labels have {} columns, the model {} outputs", t.columns,
         in.predictions->outputs.size());
  }
  std::vector<double> hits(t.rows, 0.0);
  for (std::size_t k = 0; k < t.columns; ++k) {
    const ScoreRows rows = output_rows(*in.predictions, k);
    for (std::size_t i = 0; i < t.rows; ++i) {
      const bool right = arg_max(rows.row(i)) == t.row(i)[k];
      hits[i] += right ? 1.0 / static_cast<double>(t.columns) : 0.0;
    }
  }
  return hits;
}

std::vector<double> agreement_hits(const Metric& metric, const ScoreInput& in) {
  const std::vector<int> a = predicted_classes(reference_of(metric, in));
  const std::vector<int> b = predicted_classes(*in.predictions);
  std::vector<double> hits(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) hits[i] = a[i] >= 0 && a[i] == b[i];
  return hits;
}

// ---- errors
// --------------------------------------------------------------------------------------

Targets error_targets(const Metric& metric, const ScoreInput& in, const ScoreRows& rows) {
  if (metric.needs_labels) return targets_for(metric, in, rows.width);
  const ScoreRows reference = output_rows(reference_of(metric, in));
  Targets t{{reference.values.begin(), reference.values.end()}, reference.count, reference.width};
  return t;
}

std::vector<double> errors(const Metric& metric, const ScoreInput& in, bool squared) {
  const ScoreRows rows = output_rows(*in.predictions);
  const Targets t = error_targets(metric, in, rows);
  std::vector<double> out(rows.count);
  for (std::size_t i = 0; i < rows.count; ++i) {
    double sum = 0;
    for (std::size_t c = 0; c < rows.width; ++c) {
      const double d = static_cast<double>(rows.row(i)[c]) - t.row(i)[c];
      sum += squared ? d * d : std::fabs(d);
    }
    out[i] = sum / static_cast<double>(rows.width);
  }
  return out;
}

Prepared r2_score(const Metric& metric, const ScoreInput& in) {
  const ScoreRows rows = output_rows(*in.predictions);
  const Targets t = targets_for(metric, in, rows.width);
  Prepared p;
  p.units = rows.count;
  p.value = [rows, t](std::span<const double> weights) {
    double mean_r2 = 0;
    for (std::size_t c = 0; c < rows.width; ++c) {
      double total = 0, mean = 0, left = 0, spread = 0;
      for (std::size_t i = 0; i < rows.count; ++i) {
        total += weights[i];
        mean += weights[i] * t.row(i)[c];
      }
      mean /= total;
      for (std::size_t i = 0; i < rows.count; ++i) {
        if (weights[i] == 0) continue;
        const double d = t.row(i)[c] - static_cast<double>(rows.row(i)[c]);
        const double m = t.row(i)[c] - mean;
        left += weights[i] * d * d;
        spread += weights[i] * m * m;
      }
      mean_r2 += (spread > 0 ? 1 - left / spread : kNan) / static_cast<double>(rows.width);
    }
    return mean_r2;
  };
  return p;
}

// ---- areas
// ---------------------------------------------------------------------------------------

Prepared auc_score(const Metric& metric, const ScoreInput& in) {
  const ScoreRows rows = output_rows(*in.predictions);
  if (rows.width > 2) fail("metric auc: {} output columns, expected 1 or 2", rows.width);
  const Targets t = targets_for(metric, in, 1);
  std::vector<double> scores;
  for (std::size_t i = 0; i < rows.count; ++i) scores.push_back(rows.row(i).back());
  return from_auc(scores, positives(metric, t));
}

Prepared reconstruction_score(const Metric& metric, const ScoreInput& in) {
  const ScoreRows rows = output_rows(*in.predictions);
  const Targets t = targets_for(metric, in, 1);
  const Array& x = in.data->inputs.at(0);
  if (x.elements() != rows.values.size()) {
    fail("metric recon_auc: inputs of {} values, outputs of {}, expected the same", x.elements(),
         rows.values.size());
  }
  const InputMap map = in.input_map != nullptr ? *in.input_map : InputMap{};
  Shape shape = x.shape();
  shape[0] = 1;
  std::vector<double> scores;
  for (std::size_t i = 0; i < rows.count; ++i) {
    const Array real = apply_input_map(map, x.slice0(i, i + 1), shape);
    double sum = 0;
    for (std::size_t c = 0; c < rows.width; ++c) {
      const double d = static_cast<double>(rows.row(i)[c]) - real.span<float>()[c];
      sum += d * d;
    }
    scores.push_back(sum / static_cast<double>(rows.width));
  }
  return from_auc(scores, positives(metric, t));
}

double cosine_of(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double p = a[i], q = b[i];
    ab += p * q;
    aa += p * p;
    bb += q * q;
  }
  return ab / std::max(std::sqrt(aa) * std::sqrt(bb), 1e-9);
}

Prepared pair_score(const Metric& metric, const ScoreInput& in) {
  const ScoreRows rows = output_rows(*in.predictions);
  const Targets t = targets_of(labelled(metric, in));
  if (t.rows * 2 != rows.count) {
    fail("metric pair_auc: {} labels for {} samples, expected one a pair", t.rows, rows.count);
  }
  std::vector<double> scores;
  for (std::size_t i = 0; i < t.rows; ++i) {
    scores.push_back(cosine_of(rows.row(2 * i), rows.row(2 * i + 1)));
  }
  Prepared p = from_auc(scores, positives(metric, t));
  p.rows_per_unit = 2;
  return p;
}

// ---- against the float model
// ---------------------------------------------------------------------

// A row as a distribution: as it is when it is one (to a per cent, for coarse output scales).
std::vector<double> distribution(std::span<const float> row) {
  std::vector<double> p(row.begin(), row.end());
  double sum = 0, low = 0, high = p[0];
  for (const double v : p) {
    sum += v;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  if (low < 0 || std::fabs(sum - 1) > 0.1) {
    sum = 0;
    for (double& v : p) sum += v = std::exp(v - high);
  }
  for (double& v : p) v /= sum;
  return p;
}

std::vector<double> divergences(const Metric& metric, const ScoreInput& in) {
  const ScoreRows a = output_rows(reference_of(metric, in)), b = output_rows(*in.predictions);
  std::vector<double> out(a.count, 0.0);
  for (std::size_t i = 0; i < a.count; ++i) {
    const auto p = distribution(a.row(i)), q = distribution(b.row(i));
    for (std::size_t c = 0; c < p.size(); ++c) {
      // A code of 0 says "less than half a step", not "impossible": keeps the sum finite.
      const double pc = std::isnan(p[c]) ? p[c] : std::max(p[c], 1e-7);
      const double qc = std::isnan(q[c]) ? q[c] : std::max(q[c], 1e-7);
      out[i] += pc * std::log(pc / qc);
    }
  }
  return out;
}

std::vector<double> cosines(const Metric& metric, const ScoreInput& in) {
  const ScoreRows a = output_rows(reference_of(metric, in)), b = output_rows(*in.predictions);
  std::vector<double> out;
  for (std::size_t i = 0; i < a.count; ++i) out.push_back(cosine_of(a.row(i), b.row(i)));
  return out;
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

Prepared prepare_score(const Metric& metric, const ScoreInput& in) {
  if (in.predictions == nullptr || in.predictions->outputs.empty()) fail("no predictions to score");
  const std::string& name = metric.name;
  if (name == "top1") return from_samples(top_hits(metric, in, 1));
  if (name == "top5") return from_samples(top_hits(metric, in, 5));
  if (name == "binary") return from_samples(binary_hits(metric, in));
  if (name == "heads") return from_samples(head_hits(metric, in));
  if (name == "mse") return from_samples(errors(metric, in, true));
  if (name == "rmse") return from_samples(errors(metric, in, true), true);
  if (name == "mae") return from_samples(errors(metric, in, false));
  if (name == "r2") return r2_score(metric, in);
  if (name == "auc") return auc_score(metric, in);
  if (name == "recon_auc") return reconstruction_score(metric, in);
  if (name == "pair_auc") return pair_score(metric, in);
  if (name == "map50") return prepare_map50(in);
  if (name == "agreement") return from_samples(agreement_hits(metric, in));
  if (name == "kl") return from_samples(divergences(metric, in));
  if (name == "cosine") return from_samples(cosines(metric, in));
  fail("unknown metric '{}', expected one of {}", name, metric_names());
}

double score(const Metric& metric, const ScoreInput& input, const std::vector<std::size_t>& rows) {
  const Prepared p = prepare_score(metric, input);
  std::vector<double> weights(p.units, rows.empty() ? 1.0 : 0.0);
  for (const std::size_t r : rows) {
    const std::size_t unit = r / p.rows_per_unit;
    if (unit >= p.units) fail("row {} of {} samples", r, input.predictions->count);
    weights[unit] += 1;
  }
  return p.value(weights);
}

std::vector<double> sample_scores(const Metric& metric, const ScoreInput& input) {
  return prepare_score(metric, input).per_unit;
}

}  // namespace litegap
