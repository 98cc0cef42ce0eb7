#include "verbs/evaluate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "data/drawn_rows.h"
#include "run/latency.h"
#include "run/setup.h"
#include "verbs/contestant.h"
#include "verbs/cover.h"

namespace litegap {
namespace {

constexpr double kPatience = 60;  // seconds, without --limit and --budget
constexpr std::size_t kFirstChunk = 256;
constexpr std::size_t kManySamples = 20000;  // from here on an interval narrow enough ends the work
constexpr double kNarrow = 0.002;            // half a width of it
constexpr double kSoon = 1;                  // seconds
constexpr double kUsualLimit = 0.005;        // the loss that samples_needed speaks of

// Activations of as many workspaces as there are threads must fit in --memory.
int threads_within(const EvalRequest& o, const std::vector<Contestant>& contestants) {
  int threads = o.threads > 0 ? o.threads : hardware_threads();
  if (o.memory == 0) return threads;
  for (const Contestant& c : contestants) {
    if (c.known) continue;
    const Plan plan = make_plan(c.setup.model, c.setup.numerics);
    const std::uint64_t one = std::max<std::uint64_t>(1, plan.activation_bytes());
    if (one > o.memory) {
      fail("{}: needs {} bytes of activations, --memory allows {}", c.path, one, o.memory);
    }
    threads = static_cast<int>(
        std::min<std::uint64_t>(static_cast<std::uint64_t>(threads), o.memory / one));
  }
  return threads;
}

// ---- covering samples
// ----------------------------------------------------------------------------

// Whether all intervals are so narrow that more samples would not change the picture.
bool narrow_enough(const Cover& cover, const Metric& metric) {
  if (!is_hit_metric(metric) || cover.count < kFirstChunk) return false;
  for (std::size_t k = 0; k < cover.judged.size(); ++k) {
    const Interval i = cover.hit_interval(k);
    if (i.high - i.low > 2 * kNarrow) return false;
  }
  return true;
}

// Runs pieces of growing size, the first of them given, until all samples are covered; else says
// what ended it.
std::string cover_samples(Cover& cover, std::vector<std::size_t> rows, DrawnRows& draw,
                          const Metric& metric, const EvalRequest& o) {
  const double start = seconds_now();
  const double budget = o.budget > 0 ? o.budget : o.limit > 0 ? INFINITY : kPatience;
  const std::size_t n = rows.size() + draw.left();
  for (std::size_t done = 0; !rows.empty();) {
    const double before = static_cast<double>(done) / static_cast<double>(n);
    const double share = static_cast<double>(rows.size()) / static_cast<double>(n);
    try {
      cover.run(rows, [&](std::string_view, double part) {
        report_progress(o.progress, "evaluating", before + share * part);
      });
    } catch (const Stopped&) {
      if (done == 0) throw;
      return "interrupt";
    }
    done += rows.size();
    if (draw.left() == 0) break;
    const double spent = seconds_now() - start;
    const double left = (budget - spent) * static_cast<double>(done) / spent;  // samples
    if (left < static_cast<double>(kFirstChunk) / 4) return o.budget > 0 ? "budget" : "time";
    // Of many samples enough may be known before all are run; those that are soon run are all run.
    const double rest = static_cast<double>(draw.left()) * spent / static_cast<double>(done);
    const bool soon = rest < std::min(kSoon, (budget - spent) / 10);
    if (!soon && n > kManySamples && narrow_enough(cover, metric)) return "certain";
    const std::size_t growth = n > kManySamples ? 2 : 4;
    const std::size_t next = soon ? draw.left() : growth * rows.size();
    rows = draw.next(std::min(next, static_cast<std::size_t>(std::min(left, 1e9)) / 2 * 2));
  }
  return "";
}

// ---- results
// -------------------------------------------------------------------------------------

std::optional<double> latency_of(const Contestant& c) {
  if (c.recorded) return std::nullopt;
  const Plan plan = make_plan(c.setup.model, c.setup.numerics);
  std::vector<Array> inputs;
  for (std::size_t i = 0; i < plan.input_count(); ++i) {
    inputs.push_back(feed_input(c.setup, plan, c.data, i, 0));
  }
  return measure_latency(plan, inputs).median;
}

// Where half the width of the interval is the limit: z^2 * discordant / n = limit^2.
std::size_t samples_needed(const Paired& p, std::size_t n, double limit) {
  const double discordant =
      (static_cast<double>(p.only_a_right + p.only_b_right) + 1) / (static_cast<double>(n) + 2);
  return static_cast<std::size_t>(std::ceil(1.96 * 1.96 * discordant / (limit * limit)));
}

std::optional<double> mean(const std::vector<double>& values) {
  if (values.empty()) return std::nullopt;  // of one number neither says anything
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return sum / static_cast<double>(values.size());
}

// What was covered, with the labels of these samples.
struct Seen {
  Cover& cover;
  Dataset data;
  std::vector<int> classes;  // of the labels
};

EvalPair make_pair(const EvalResult& result, std::size_t b, const Seen& seen, const EvalRequest& o,
                   double limit) {
  const Judged &first = seen.cover.judged[0], &second = seen.cover.judged[b];
  const JudgedPair& judged = seen.cover.pairs[b - 1];
  EvalPair pair;
  pair.b = b;
  pair.paired =
      compare_judged(result.metric, first, &seen.data, second, &seen.data, judged, o.seed);
  pair.kl = mean(judged.kl);
  pair.cosine = mean(judged.cosine);
  if (is_hit_metric(result.metric)) {
    pair.samples_needed =
        samples_needed(pair.paired, result.samples, limit > 0 ? limit : kUsualLimit);
    if (pair.samples_needed <= result.samples) pair.samples_needed.reset();
    pair.flips = flips(seen.classes, first.classes, second.classes);
  }
  return pair;
}

void add_classes(EvalResult& result, const Seen& seen) {
  if (!is_hit_metric(result.metric) || !result.labels) return;
  std::map<int, EvalResult::ClassRow> rows;
  const std::vector<Judged>& judged = seen.cover.judged;
  const std::size_t n = judged.size();
  for (std::size_t k = 0; k < n; ++k) {
    for (const ClassChange& c : class_changes(seen.classes, judged[0].classes, judged[k].classes)) {
      EvalResult::ClassRow& row = rows[c.label];
      row.label = c.label;
      row.count = c.count;
      row.right.resize(n, 0);
      row.predicted.resize(n, 0);
      row.right[0] = c.a;
      row.predicted[0] = c.predicted_a;
      row.right[k] = c.b;
      row.predicted[k] = c.predicted_b;
    }
  }
  for (auto& [label, row] : rows) result.classes.push_back(std::move(row));
}

// The worst state of all pairs.
void judge(EvalResult& result, const EvalRequest& o, double limit) {
  result.fail_above = o.fail_above;
  if (!o.fail_above) return;
  result.limit = LimitState::kKept;
  for (const EvalPair& p : result.pairs) {
    result.limit = std::max(result.limit, judge_limit(result, p, limit));
  }
}

void fill_result(EvalResult& result, const std::vector<Contestant>& all, const Seen& seen,
                 const EvalRequest& a) {
  for (std::size_t k = 0; k < all.size(); ++k) {
    const Contestant& c = all[k];
    EvalModel m;
    m.path = c.path;
    m.technique = c.technique;
    m.dialect = c.dialect;
    m.bytes = c.bytes;
    m.measured = measure_judged(result.metric, seen.cover.judged[k], &seen.data, a.seed);
    if (a.latency) m.latency_ms = latency_of(c);
    result.models.push_back(std::move(m));
  }
  const double limit = a.fail_above.value_or(0) * (result.metric.fraction ? 0.01 : 1);
  for (std::size_t k = 1; k < all.size(); ++k) {
    result.pairs.push_back(make_pair(result, k, seen, a, limit));
  }
  add_classes(result, seen);
  judge(result, a, limit);
}

constexpr std::size_t kBitSamples = 100;

void compare_bits(EvalResult& result, const std::vector<Contestant>& all, const EvalRequest& a) {
  if (a.dialects.size() < 2) return;
  std::vector<std::size_t> rows(std::min(kBitSamples, all[0].data.count));
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  for (std::size_t k = 1; k < a.dialects.size(); ++k) {
    result.dialects.push_back(compare_dialects(all[0].setup, all[0].data, rows, a.dialects[0],
                                               a.dialects[k], a.progress));
  }
}

Dataset limited(const Dataset& data, const EvalRequest& o) {
  if (o.limit == 0 || o.limit >= data.count) return data;
  return data.subset(drawn_rows(data, o.seed).next(o.limit));
}

// An evaluation before its samples have been through the models.
struct Evaluation {
  EvalResult result;
  Dataset data;
  std::vector<Contestant> all;
  double start = 0;
};

Evaluation prepare_evaluation(const Dataset& given, const EvalRequest& a) {
  if (a.fail_above && a.models.size() < 2 && a.dialects.size() < 2) {
    fail("--fail-above compares with the first model: give at least two models");
  }
  Evaluation e;
  e.start = seconds_now();
  e.result.of = given.count;
  e.data = limited(given, a);
  e.result.decisions = e.data.decisions;
  e.all = make_contestants(a, e.data, e.result.decisions);
  e.result.metric =
      choose_metric(a.metric, a.task, *e.all[0].setup.model, e.all[0].data, e.result.decisions);
  if (!e.result.metric.needs_labels && e.all.size() < 2) {
    fail("metric {} compares with another model: give two models, or labels", e.result.metric.name);
  }
  return e;
}

EvalResult finish_evaluation(Evaluation& e, Cover& cover, const std::string& stopped_by,
                             const EvalRequest& a) {
  EvalResult& result = e.result;
  cover.settle();
  Seen seen{cover, cover.labels(), {}};
  if (!cover.judged[0].classes.empty()) seen.classes = cover.label_classes();
  result.data_path = e.data.path;
  result.samples = cover.count;
  result.labels = seen.data.labels.has_value();
  result.claimed = a.claimed;
  result.stopped_by = stopped_by.empty() && result.samples < result.of ? "limit" : stopped_by;
  fill_result(result, e.all, seen, a);
  compare_bits(result, e.all, a);
  result.seconds = seconds_now() - e.start;
  return std::move(result);
}

}  // namespace

EvalResult evaluate(const Dataset& given, const EvalRequest& a) {
  Evaluation e = prepare_evaluation(given, a);
  const bool in_order = std::any_of(e.all.begin(), e.all.end(), carries_state);
  DrawnRows draw = drawn_rows(e.data, a.seed, in_order);
  std::vector<std::size_t> first = draw.next(kFirstChunk);
  Cover cover(e.all, e.data, e.result.metric,
              {threads_within(a, e.all), a.output_bytes, first.empty() ? 0 : first[0]});
  const std::string stopped_by = cover_samples(cover, std::move(first), draw, e.result.metric, a);
  return finish_evaluation(e, cover, stopped_by, a);
}

std::vector<std::size_t> shard_rows(const Shard& shard, std::size_t samples) {
  std::vector<std::size_t> rows;
  for (std::size_t begin = (shard.index - 1) * kBlock; begin < samples;
       begin += shard.count * kBlock) {
    for (std::size_t r = begin; r < std::min(samples, begin + kBlock); ++r) rows.push_back(r);
  }
  return rows;
}

std::vector<Predictions> predict_shard(const Dataset& given, const EvalRequest& a,
                                       const Shard& shard) {
  Evaluation e = prepare_evaluation(given, a);
  PredictOptions options;
  options.threads = threads_within(a, e.all);
  options.rows = shard_rows(shard, e.data.count);
  options.progress = a.progress;
  std::vector<Predictions> parts;
  for (Contestant& c : e.all) {
    if (c.plan) fail("{}: state is carried over from sample to sample: --reset-state", c.path);
    parts.push_back(options.rows.empty() ? Predictions{}
                    : c.known            ? rows_of(*c.known, options.rows)
                                         : predict(c.setup, c.data, options));
  }
  return parts;
}

EvalResult evaluate_predicted(const Dataset& given, const EvalRequest& a,
                              std::vector<Predictions> predictions) {
  Evaluation e = prepare_evaluation(given, a);
  if (predictions.size() != e.all.size())
    fail("predictions of {} models, expected {}", predictions.size(), e.all.size());
  for (std::size_t k = 0; k < e.all.size(); ++k) {
    if (predictions[k].count != e.data.count) {
      fail("{}: predictions of {} samples, expected {}", e.all[k].path, predictions[k].count,
           e.data.count);
    }
    e.all[k].known = std::move(predictions[k]);
  }
  Cover cover(e.all, e.data, e.result.metric, {threads_within(a, e.all), a.output_bytes, 0});
  std::vector<std::size_t> rows(e.data.count);
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  cover.run(rows);
  return finish_evaluation(e, cover, "", a);
}

}  // namespace litegap
