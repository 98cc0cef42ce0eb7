#include "verbs/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/random.h"
#include "data/npy.h"
#include "diagnose/technique.h"
#include "model/unset.h"
#include "run/latency.h"
#include "run/setup.h"
#include "verbs/load.h"

namespace litegap {
namespace {

constexpr double kPatience = 60;  // seconds, without --limit and --budget
constexpr std::size_t kFirstChunk = 256;
constexpr std::size_t kManySamples = 20000;  // from here on an interval narrow enough ends the work
constexpr double kNarrow = 0.002;            // half a width of it
constexpr double kUsualLimit = 0.005;        // the loss that samples_needed speaks of

// One of the compared models: a file to run, or outputs recorded elsewhere.
struct Contestant {
  std::string path, technique, dialect;
  std::uint64_t bytes = 0;
  Setup setup;  // model set for recorded outputs too (shapes only)
  std::optional<Predictions> recorded;
  Dataset data;  // bound to this model
  // With state that is carried over: the one workspace that all samples go through.
  std::optional<Plan> plan;
  std::optional<Workspace> workspace;
  std::optional<Predictor> predictor;
  Predictions all;  // by row of the data; defined where the row is covered
};

// A model with nothing but outputs, so that recorded ones can be described like a model's.
ModelPtr outputs_only(const std::string& path, const Predictions& p) {
  auto model = std::make_shared<Model>();
  model->path = path;
  model->graphs.emplace_back();
  for (const Array& out : p.outputs) {
    Tensor t;
    t.shape = out.shape();
    t.shape[0] = 1;
    model->main().outputs.push_back(static_cast<int>(model->main().tensors.size()));
    model->main().tensors.push_back(std::move(t));
  }
  return model;
}

Array as_float(const Array& a) { return apply_input_map(InputMap{}, a, a.shape()); }

Predictions read_outputs(const std::string& path, std::size_t count) {
  const NamedArrays arrays = read_npz(path);
  Predictions p;
  p.count = count;
  while (const Array* out = find_array(arrays, fmt::format("out_{}", p.outputs.size()))) {
    if (out->shape().empty() || static_cast<std::size_t>(out->shape()[0]) != count) {
      fail("{}: out_{} has shape {}, expected {} rows", path, p.outputs.size(),
           shape_text(out->shape()), count);
    }
    p.outputs.push_back(as_float(*out));
  }
  if (p.outputs.empty()) fail("{}: recorded outputs are named out_0, out_1 ...; none found", path);
  return p;
}

bool takes_codes(const Model& model) {
  const Graph& g = model.main();
  return std::any_of(g.inputs.begin(), g.inputs.end(), [&](int i) {
    const Tensor& t = g.tensors[static_cast<std::size_t>(i)];
    return t.dtype != DType::kFloat32 && !t.quant.empty();
  });
}

bool has_state(const Model& model) {
  const auto& tensors = model.main().tensors;
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.is_variable; });
}

// A loop over the stock runtime keeps variable tensors from one invoke() to the next, unless it
// calls reset_all_variables(): what such a loop measures is what is reported, and said.
void choose_state(Contestant& c, const EvalRequest& a, std::vector<Decision>& decisions) {
  if (!has_state(*c.setup.model)) return;
  if (a.reset_state) {
    decisions.push_back({c.path + ": state", "reset before every sample", "--reset-state", {}});
    return;
  }
  c.plan = make_plan(c.setup.model, c.setup.numerics);
  c.workspace.emplace(*c.plan);
  decisions.push_back({c.path + ": state",
                       "carried over from sample to sample",
                       "the runtime does so unless the program calls reset_all_variables(); "
                       "--reset-state evaluates every sample from the start",
                       {"--reset-state"}});
}

Contestant make_contestant(const std::string& path, const EvalRequest& a, const Dataset& data,
                           std::vector<Decision>& decisions) {
  Contestant c;
  c.path = path;
  c.bytes = file_size(path);
  if (path.ends_with(".npz")) {
    c.technique = "recorded";
    c.recorded = read_outputs(path, data.count);
    c.setup.model = outputs_only(path, *c.recorded);
    c.data = data;
    return c;
  }
  c.setup.model = load_model(path);
  c.technique = identify(*c.setup.model).name;
  c.setup.numerics.dialect = a.dialect;
  if (!a.input_map.empty()) c.setup.input_map = parse_input_map(a.input_map);
  Dataset bare = data;
  bare.decisions.clear();
  c.data = bind_dataset(bare, *c.setup.model, c.setup.input_map);
  for (const Decision& d : c.data.decisions)
    decisions.push_back({path + ": " + d.item, d.chosen, d.because, d.alternatives});
  if (!data.quant_inputs.empty() && takes_codes(*c.setup.model)) {
    c.setup.feed = Feed::kAsGiven;
    decisions.push_back({path + ": input",
                         "x_quant",
                         "the data hold the codes that the user's own "
                         "code hands to a quantized model",
                         {}});
  }
  choose_state(c, a, decisions);
  return c;
}

// Activations of as many workspaces as there are threads must fit in --memory.
int threads_within(const EvalRequest& o, const std::vector<Contestant>& contestants) {
  int threads = o.threads > 0 ? o.threads : hardware_threads();
  if (o.memory == 0) return threads;
  for (const Contestant& c : contestants) {
    if (c.recorded) continue;
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

std::vector<std::size_t> drawn_order(const Dataset& data, std::uint64_t seed,
                                     bool in_order = false) {
  const std::size_t unit = data.paired_labels() ? 2 : 1;
  std::vector<std::size_t> units(data.count / unit);
  std::iota(units.begin(), units.end(), std::size_t{0});
  if (data.count > kFirstChunk && !in_order) Random(seed).shuffle(units);
  std::vector<std::size_t> rows;
  for (const std::size_t u : units) {
    for (std::size_t k = 0; k < unit; ++k) rows.push_back(u * unit + k);
  }
  return rows;
}

std::size_t row_floats(const Array& a) {
  return a.shape().empty() || a.shape()[0] == 0
             ? 0
             : a.elements() / static_cast<std::size_t>(a.shape()[0]);
}

Predictions take(const Predictions& p, const std::vector<std::size_t>& rows) {
  Predictions out;
  out.count = rows.size();
  for (const Array& a : p.outputs) {
    Shape shape = a.shape();
    shape[0] = static_cast<std::int32_t>(rows.size());
    Array to = Array::zeros(DType::kFloat32, shape);
    const std::size_t n = row_floats(a);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::memcpy(to.mutable_data() + i * n * 4, a.data() + rows[i] * n * 4, n * 4);
    }
    out.outputs.push_back(std::move(to));
  }
  return out;
}

Predictions room_for(const Plan& plan, std::size_t count) {
  Predictions p;
  p.count = count;
  for (std::size_t j = 0; j < plan.output_count(); ++j) {
    Shape shape = plan.output_shape(j);
    const auto n = static_cast<std::int32_t>(count);
    if (!shape.empty() && shape[0] == 1) {
      shape[0] = n;
    } else {
      shape.insert(shape.begin(), n);
    }
    p.outputs.push_back(unset_array(DType::kFloat32, shape));
  }
  return p;
}

// The rows one after another in one thread, with the state that the rows before them left.
void predict_carrying(Contestant& c, const std::vector<std::size_t>& rows,
                      const Progress& progress) {
  const Plan& plan = *c.plan;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (r % kFirstChunk == 0) {
      report_progress(progress, "evaluating",
                      static_cast<double>(r) / static_cast<double>(rows.size()));
    }
    std::vector<Array> inputs;
    for (std::size_t i = 0; i < plan.input_count(); ++i) {
      inputs.push_back(feed_input(c.setup, plan, c.data, i, rows[r]));
    }
    run(plan, *c.workspace, inputs);
    for (std::size_t j = 0; j < plan.output_count(); ++j) {
      const Array& out = c.workspace->output(j);
      if (out.elements() * c.all.count != c.all.outputs[j].elements()) {
        fail("{}: output {} of sample {} has shape {}, expected {}", plan.model().path, j, rows[r],
             shape_text(out.shape()), shape_text(plan.output_shape(j)));
      }
      const bool codes = out.dtype() != DType::kFloat32 && !plan.output_quant(j).empty();
      const Array real = codes ? dequantize(out, plan.output_quant(j)) : as_float(out);
      std::memcpy(c.all.outputs[j].mutable_data() + rows[r] * real.byte_size(), real.data(),
                  real.byte_size());
    }
  }
}

// Room for the outputs of every row, before the first is run.
void make_room(Contestant& c, std::size_t first) {
  if (c.recorded) {
    c.all = *c.recorded;
  } else if (c.plan) {
    c.all = room_for(*c.plan, c.data.count);
  } else {
    c.predictor.emplace(c.setup, c.data, c.data.count, first);
    c.all = c.predictor->room(c.data.count);
  }
}

void predict_rows(Contestant& c, const PredictOptions& options) {
  if (c.recorded) return;
  if (c.plan) return predict_carrying(c, options.rows, options.progress);
  c.predictor->run(options, c.all);
}

// Distinct rows below `count` in their order in the file, which is how memory likes to be read.
std::vector<std::size_t> ascending(std::vector<std::size_t> rows, std::size_t count) {
  if (rows.size() < count / 64) {
    std::sort(rows.begin(), rows.end());
    return rows;
  }
  std::vector<std::uint8_t> chosen(count, 0);
  for (const std::size_t r : rows) chosen[r] = 1;
  const std::size_t n = rows.size();
  rows.resize(n + 1);  // without a branch that half of the time goes the other way
  std::size_t at = 0;
  for (std::size_t r = 0; r < count; ++r) {
    rows[at] = r;
    at += chosen[r];
  }
  rows.resize(n);
  return rows;
}

struct Cover {
  std::vector<std::size_t> order;
  std::size_t done = 0;
  std::string stopped_by;
};

// One chunk through every model; false when it is interrupted: its rows do not count then.
bool run_chunk(std::vector<Contestant>& all, const std::vector<std::size_t>& rows, int threads,
               const Progress& progress, double before, double share) {
  try {
    for (std::size_t k = 0; k < all.size(); ++k) {
      PredictOptions options;
      options.threads = threads;
      options.rows = rows;
      options.progress = [&](std::string_view, double done) {
        const double part = (static_cast<double>(k) + done) / static_cast<double>(all.size());
        report_progress(progress, "evaluating", before + share * part);
      };
      predict_rows(all[k], options);
    }
  } catch (const Stopped&) {
    return false;
  }
  return true;
}

bool narrow_enough(const std::vector<Contestant>& all, const Dataset& data, const Cover& cover,
                   const Metric& metric) {
  if (!is_hit_metric(metric) || cover.done < kFirstChunk) return false;
  const std::vector<std::size_t> rows(
      cover.order.begin(), cover.order.begin() + static_cast<std::ptrdiff_t>(cover.done));
  Dataset labels = data;  // all that such a metric asks for
  labels.inputs.clear();
  labels.quant_inputs.clear();
  labels.original.reset();
  const Dataset seen = labels.subset(rows);
  const Predictions reference = take(all[0].all, rows);
  for (const Contestant& c : all) {
    const Predictions p = take(c.all, rows);
    const Measurement m = measure_score(metric, {&p, &seen, &reference, nullptr});
    if (m.interval.high - m.interval.low > 2 * kNarrow) return false;
  }
  return true;
}

Cover cover_samples(std::vector<Contestant>& all, const Dataset& data, const Metric& metric,
                    const EvalRequest& o, int threads, const Progress& progress) {
  const bool in_order =
      std::any_of(all.begin(), all.end(), [](const Contestant& c) { return c.plan.has_value(); });
  Cover cover{drawn_order(data, o.seed, in_order), 0, ""};
  for (Contestant& c : all) make_room(c, cover.order.empty() ? 0 : cover.order[0]);
  const double start = seconds_now();
  const double budget = o.budget > 0 ? o.budget : o.limit > 0 ? INFINITY : kPatience;
  const std::size_t n = cover.order.size();
  std::size_t chunk = kFirstChunk;
  while (cover.done < n) {
    const std::size_t end = std::min(n, cover.done + chunk);
    const std::vector<std::size_t> rows =
        ascending({cover.order.begin() + static_cast<std::ptrdiff_t>(cover.done),
                   cover.order.begin() + static_cast<std::ptrdiff_t>(end)},
                  data.count);
    const double before = static_cast<double>(cover.done) / static_cast<double>(n);
    const double share = static_cast<double>(rows.size()) / static_cast<double>(n);
    if (!run_chunk(all, rows, threads, progress, before, share)) {
      if (cover.done == 0) throw Stopped();
      cover.stopped_by = "interrupt";
      break;
    }
    cover.done = end;
    const double spent = seconds_now() - start;
    const double left = (budget - spent) * static_cast<double>(cover.done) / spent;  // samples
    if (cover.done < n && left < static_cast<double>(kFirstChunk) / 4) {
      cover.stopped_by = o.budget > 0 ? "budget" : "time";
      break;
    }
    if (cover.done < n && n > kManySamples && narrow_enough(all, data, cover, metric)) {
      cover.stopped_by = "certain";
      break;
    }
    chunk = std::min(2 * chunk, static_cast<std::size_t>(std::min(left, 1e9)) / 2 * 2);
  }
  return cover;
}

// Brings predictions and data to the covered rows, in their order in the file.
Dataset settle(std::vector<Contestant>& all, const Dataset& data, const Cover& cover) {
  if (cover.done == data.count) return data;
  const std::vector<std::size_t> rows = ascending(
      {cover.order.begin(), cover.order.begin() + static_cast<std::ptrdiff_t>(cover.done)},
      data.count);
  for (Contestant& c : all) c.all = take(c.all, rows);
  return data.subset(rows);
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

std::optional<double> distance(const char* name, const ScoreInput& a, ScoreInput b) {
  const Array& p = a.predictions->outputs[0];
  if (p.elements() != b.predictions->outputs[0].elements()) return std::nullopt;
  const bool scalar = row_floats(p) < 2;
  if (scalar) return std::nullopt;  // of one number neither says anything
  b.reference = a.predictions;
  return score(find_metric(name).value(), b);
}

EvalPair make_pair(const EvalResult& result, std::size_t b, const ScoreInput& first,
                   const ScoreInput& second, const EvalRequest& o, double limit) {
  EvalPair pair;
  pair.b = b;
  pair.paired = compare(result.metric, first, second, o.seed);
  pair.kl = distance("kl", first, second);
  pair.cosine = distance("cosine", first, second);
  if (is_hit_metric(result.metric)) {
    pair.samples_needed =
        samples_needed(pair.paired, result.samples, limit > 0 ? limit : kUsualLimit);
    if (pair.samples_needed <= result.samples) pair.samples_needed.reset();
    pair.flips = flips(first, second);
  }
  return pair;
}

void add_classes(EvalResult& result, const std::vector<ScoreInput>& inputs) {
  if (!is_hit_metric(result.metric) || !result.labels) return;
  std::map<int, EvalResult::ClassRow> rows;
  const std::size_t n = inputs.size();
  for (std::size_t k = 0; k < n; ++k) {
    for (const ClassChange& c : class_changes(inputs[0], inputs[k])) {
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

void fill_result(EvalResult& result, const std::vector<Contestant>& all, const Dataset& data,
                 const EvalRequest& a) {
  std::vector<ScoreInput> inputs;
  for (const Contestant& c : all) {
    inputs.push_back({&c.all, &data, &all[0].all, &c.setup.input_map});
    EvalModel m;
    m.path = c.path;
    m.technique = c.technique;
    m.dialect = c.dialect;
    m.bytes = c.bytes;
    m.measured = measure_score(result.metric, inputs.back(), a.seed);
    if (a.latency) m.latency_ms = latency_of(c);
    result.models.push_back(std::move(m));
  }
  const double limit = a.fail_above.value_or(0) * (result.metric.fraction ? 0.01 : 1);
  for (std::size_t k = 1; k < all.size(); ++k) {
    result.pairs.push_back(make_pair(result, k, inputs[0], inputs[k], a, limit));
  }
  add_classes(result, inputs);
  judge(result, a, limit);
}

constexpr std::size_t kBitSamples = 100;

std::vector<Contestant> contestants(const EvalRequest& a, const Dataset& data,
                                    std::vector<Decision>& decisions) {
  std::vector<Contestant> all;
  if (a.dialects.size() < 2) {
    for (const std::string& path : a.models) {
      all.push_back(make_contestant(path, a, data, decisions));
    }
    return all;
  }
  if (a.models.size() != 1) {
    fail("comparing dialects takes one model, found {}", a.models.size());
  }
  EvalRequest one = a;
  for (const Dialect d : a.dialects) {
    one.dialect = d;
    std::vector<Decision> again;
    all.push_back(make_contestant(a.models[0], one, data, all.empty() ? decisions : again));
    if (all.back().recorded) fail("{}: recorded outputs have no dialects", a.models[0]);
    all.back().dialect = dialect_name(d);
  }
  return all;
}

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
  std::vector<std::size_t> rows = drawn_order(data, o.seed);
  rows.resize(data.paired_labels() ? std::max<std::size_t>(2, o.limit / 2 * 2) : o.limit);
  std::sort(rows.begin(), rows.end());
  return data.subset(rows);
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
  e.all = contestants(a, e.data, e.result.decisions);
  e.result.metric =
      choose_metric(a.metric, a.task, *e.all[0].setup.model, e.all[0].data, e.result.decisions);
  if (!e.result.metric.needs_labels && e.all.size() < 2) {
    fail("metric {} compares with another model: give two models, or labels", e.result.metric.name);
  }
  return e;
}

EvalResult finish_evaluation(Evaluation e, const Dataset& seen, const std::string& stopped_by,
                             const EvalRequest& a) {
  EvalResult result = std::move(e.result);
  result.data_path = e.data.path;
  result.samples = seen.count;
  result.labels = seen.labels.has_value();
  result.claimed = a.claimed;
  result.stopped_by = stopped_by.empty() && seen.count < result.of ? "limit" : stopped_by;
  fill_result(result, e.all, seen, a);
  compare_bits(result, e.all, a);
  result.seconds = seconds_now() - e.start;
  return result;
}

}  // namespace

EvalResult evaluate(const Dataset& given, const EvalRequest& a) {
  Evaluation e = prepare_evaluation(given, a);
  const int threads = threads_within(a, e.all);
  const Cover cover = cover_samples(e.all, e.data, e.result.metric, a, threads, a.progress);
  const Dataset seen = settle(e.all, e.data, cover);
  return finish_evaluation(std::move(e), seen, cover.stopped_by, a);
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
                    : c.recorded         ? take(*c.recorded, options.rows)
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
    e.all[k].all = std::move(predictions[k]);
  }
  const Dataset seen = e.data;
  return finish_evaluation(std::move(e), seen, "", a);
}

}  // namespace litegap
