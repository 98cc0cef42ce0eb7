#include "tune/tune.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/random.h"
#include "run/latency.h"
#include "run/setup.h"
#include "tflite/tflite.h"
#include "tune/moves.h"

namespace litegap {
namespace {

constexpr std::size_t kMostCalibration = 200;
constexpr double kLatencyNoise = 0.05;  // two latencies this close are equal

struct BudgetOver {};  // thrown by the search's own progress calls, caught by the search

struct Split {
  Dataset measure, calibration;
};

Split split(const Dataset& data, const Dataset* calibration, std::uint64_t seed,
            std::vector<Decision>& decisions) {
  if (calibration != nullptr) return {data, *calibration};
  const std::size_t unit = data.paired_labels() ? 2 : 1;
  const std::size_t units = data.count / unit;
  const std::size_t set_apart = std::min(kMostCalibration / unit, units / 5);
  if (set_apart == 0) {
    fail("{}: {} samples cannot be divided into calibration and measurement; give --calibration",
         data.path, data.count);
  }
  std::vector<std::size_t> order(units);
  std::iota(order.begin(), order.end(), std::size_t{0});
  Random(seed).shuffle(order);
  std::vector<std::size_t> apart, rest;
  for (std::size_t i = 0; i < units; ++i) {
    for (std::size_t k = 0; k < unit; ++k) {
      (i < set_apart ? apart : rest).push_back(order[i] * unit + k);
    }
  }
  std::sort(apart.begin(), apart.end());
  std::sort(rest.begin(), rest.end());
  decisions.push_back({"calibration",
                       fmt::format("{} of {} samples of {}", apart.size(), data.count, data.path),
                       "no --calibration was given; the other samples measure, so that no "
                       "candidate is judged on what it was fitted to",
                       {"--calibration FILE"}});
  return {data.subset(rest), data.subset(apart)};
}

// ---- what was already measured: best/tune-state.json
Json to_state(const Candidate& c) {
  return {{"name", c.name},
          {"edits", c.edits},
          {"path", c.path},
          {"refused", c.refused},
          {"value", json_number(c.measured.value)},
          {"low", json_number(c.measured.interval.low)},
          {"high", json_number(c.measured.interval.high)},
          {"count", c.measured.count},
          {"trusted", c.measured.trusted},
          {"drop", json_number(c.drop.delta)},
          {"drop_low", json_number(c.drop.interval.low)},
          {"drop_high", json_number(c.drop.interval.high)},
          {"p_value", json_number(c.drop.p_value)},
          {"agreement", json_number(c.drop.agreement)},
          {"bytes", c.bytes},
          {"file_hash", c.file_hash},
          {"latency_ms", json_number(c.latency_ms)}};
}

std::uint64_t hash_of(const std::string& path) {
  return hash_bytes(MappedFile::open(path)->bytes());
}

// Empty when its file is no longer the one that was measured.
std::optional<Candidate> from_state(const Json& j) {
  Candidate c;
  c.name = j.at("name");
  c.edits = j.at("edits").get<std::vector<std::string>>();
  c.path = j.at("path");
  c.refused = j.at("refused");
  c.file_hash = j.at("file_hash");
  if (!c.path.empty() && (!file_exists(c.path) || hash_of(c.path) != c.file_hash)) {
    return std::nullopt;
  }
  c.measured.value = json_value(j.at("value"));
  c.measured.interval = {json_value(j.at("low")), json_value(j.at("high"))};
  c.measured.count = j.at("count");
  c.measured.trusted = j.at("trusted");
  c.drop.delta = json_value(j.at("drop"));
  c.drop.interval = {json_value(j.at("drop_low")), json_value(j.at("drop_high"))};
  c.drop.p_value = json_value(j.at("p_value"));
  c.drop.agreement = json_value(j.at("agreement"));
  c.bytes = j.at("bytes");
  c.latency_ms = json_value(j.at("latency_ms"));
  return c;
}

std::uint64_t key_of(const Model& model, const Split& s, const TuneRequest& r) {
  std::uint64_t h = hash_text(r.metric + "|" + r.task + "|" + to_text(r.input_map) + "|" +
                              dialect_name(r.dialect) + fmt::format("|{}", r.seed));
  for (const Tensor& t : model.main().tensors) {
    h = hash_text(t.name, h);
    if (t.constant) h = hash_bytes(t.constant->bytes(), h);
  }
  for (const Dataset* d : {&s.measure, &s.calibration}) {
    for (const Array& a : d->inputs) h = hash_bytes(a.bytes(), h);
    if (d->labels) h = hash_bytes(d->labels->bytes(), h);
  }
  return h;
}

class Search {
 public:
  Search(ModelPtr model, const Dataset& data, const Dataset* calibration, const TuneRequest& r)
      : model_(std::move(model)), r_(r), start_(seconds_now()) {
    split_ = split(data, calibration, r.seed, result_.decisions);
    result_.samples = split_.measure.count;
    result_.calibration_samples = split_.calibration.count;
    result_.metric = choose_metric(r.metric, r.task, *model_, split_.measure, result_.decisions);
    make_directories(r.out);
    state_path_ = r.out + "/tune-state.json";
    key_ = key_of(*model_, split_, r);
    load_state();
  }

  TuneResult go() {
    QuantizeRequest base;
    base.input_map = r_.input_map;
    base.seed = r_.seed;
    base.threads = r_.threads;
    base.progress = [this](std::string_view, double) { say(0); };
    std::vector<CandidateMove> moves{{"float", {}, [this] { return *model_; }}};
    for (CandidateMove& m : quantization_moves(model_, &split_.calibration, base)) {
      moves.push_back(std::move(m));
    }
    result_.planned = moves.size();
    result_.stopped_by = "complete";
    try {
      for (const CandidateMove& m : moves) {
        if (take(m)) save();
      }
    } catch (const BudgetOver&) {
      result_.stopped_by = "budget";
    } catch (const Stopped&) {
      if (result_.candidates.empty()) throw;
      result_.stopped_by = "interrupt";
    }
    save();
    result_.seconds = spent();
    return std::move(result_);
  }

 private:
  double spent() const { return seconds_now() - start_; }
  // Ends the search when its time is over; a float model and one candidate are measured in any
  // case.
  void say(double within) const {
    if (r_.budget > 0 && result_.candidates.size() > 1 && spent() > r_.budget) throw BudgetOver{};
    const double all = static_cast<double>(std::max<std::size_t>(1, result_.planned));
    report_progress(r_.progress, "measuring candidates",
                    (static_cast<double>(result_.candidates.size()) + within) / all);
  }

  void load_state() {
    if (!file_exists(state_path_)) return;
    try {
      const Json j = Json::parse(read_text(state_path_));
      if (j.at("key").get<std::uint64_t>() != key_) return;  // another question
      for (const Json& c : j.at("candidates")) {
        if (auto known = from_state(c)) known_.push_back(std::move(*known));
      }
    } catch (const Json::exception&) {
      known_.clear();  // damaged: measured again
    }
  }

  void save() {
    Json list = Json::array();
    for (const Candidate& c : result_.candidates) list.push_back(to_state(c));
    // Those of an earlier search that this one has not reached yet stay known.
    for (const Candidate& c : known_) {
      if (std::none_of(result_.candidates.begin(), result_.candidates.end(),
                       [&](const Candidate& d) { return d.name == c.name; })) {
        list.push_back(to_state(c));
      }
    }
    write_text(state_path_, Json{{"key", key_}, {"candidates", list}}.dump(1));
    choose(result_, r_);
    if (result_.chosen >= 0 && result_.chosen != on_disk_) {
      on_disk_ = result_.chosen;
      const Candidate& best = result_.candidates[static_cast<std::size_t>(result_.chosen)];
      write_file(r_.out + "/best.tflite", MappedFile::open(best.path)->bytes());
    }
  }

  // False when an earlier search had measured it.
  bool take(const CandidateMove& move) {
    for (const Candidate& c : known_) {
      if (c.name != move.name) continue;
      result_.candidates.push_back(c);
      ++result_.resumed;
      return false;
    }
    Candidate c;
    c.name = move.name;
    c.edits = move.edits;
    say(0);
    try {
      const Model built = move.build();
      const std::string path = r_.out + "/" + move.name + ".tflite";
      write_model(built, path);
      c.path = path;
      c.bytes = file_size(path);
      c.file_hash = hash_of(path);
      measure(c, read_model(path));
    } catch (const Error& e) {
      if (move.name == "float") throw;
      c.refused = e.what();
      c.path.clear();
    }
    result_.candidates.push_back(std::move(c));
    return true;
  }

  Predictions predictions(const ModelPtr& model) const {
    Setup setup;
    setup.model = model;
    setup.numerics.dialect = r_.dialect;
    setup.input_map = r_.input_map;
    PredictOptions options;
    options.threads = r_.threads;
    options.progress = [this](std::string_view, double done) { say(done); };
    return predict(setup, split_.measure, options);
  }

  // Of the float model; a search that finds everything measured never needs them.
  const Predictions& reference() {
    if (!reference_) reference_ = predictions(model_);
    return *reference_;
  }

  void measure(Candidate& c, const ModelPtr& model) {
    const Predictions p = predictions(model);
    if (c.name == "float") reference_ = p;
    const Predictions& exact = reference();
    const ScoreInput mine{&p, &split_.measure, &exact, &r_.input_map};
    const ScoreInput theirs{&exact, &split_.measure, &exact, &r_.input_map};
    c.measured = measure_score(result_.metric, mine, r_.seed);
    c.drop = compare(result_.metric, theirs, mine, r_.seed);
    const Plan plan = make_plan(model, {.dialect = r_.dialect});
    c.latency_ms = measure_latency(plan, zero_inputs(plan)).median;
  }

  ModelPtr model_;
  const TuneRequest& r_;
  double start_ = 0;
  Split split_;
  TuneResult result_;
  std::string state_path_;
  std::uint64_t key_ = 0;
  std::vector<Candidate> known_;
  std::optional<Predictions> reference_;
  int on_disk_ = -1;  // the candidate that best.tflite holds
};

// a is at least as good in everything and better in something.
bool dominates(const Metric& metric, const Candidate& a, const Candidate& b) {
  const double worse = loss_between(metric, b.measured.value, a.measured.value);  // > 0: a is worse
  const bool faster = a.latency_ms < b.latency_ms * (1 - kLatencyNoise);
  const bool slower = a.latency_ms > b.latency_ms * (1 + kLatencyNoise);
  if (!(worse <= 0) || a.bytes > b.bytes || slower) return false;
  return worse < 0 || a.bytes < b.bytes || faster;
}

// --max-drop in the metric's own unit; infinite when none was stated.
double largest_drop(const TuneResult& result, const TuneRequest& r) {
  return r.max_drop ? *r.max_drop * (result.metric.fraction ? 0.01 : 1) : INFINITY;
}

bool within_limits(const TuneResult& result, const Candidate& c, const TuneRequest& r) {
  if (!std::isfinite(c.measured.value)) return false;
  if (r.max_drop && !(c.drop.delta <= largest_drop(result, r))) return false;
  if (r.max_bytes && c.bytes > *r.max_bytes) return false;
  return !r.max_latency_ms || c.latency_ms <= *r.max_latency_ms;
}

}  // namespace

void choose(TuneResult& result, const TuneRequest& r) {
  result.chosen = -1;
  if (result.candidates.empty()) return;
  auto& all = result.candidates;
  for (Candidate& c : all) {
    c.allowed = c.refused.empty() && within_limits(result, c, r);
    c.on_front =
        c.refused.empty() && std::isfinite(c.measured.value) &&
        std::none_of(all.begin(), all.end(), [&](const Candidate& other) {
          return &other != &c && other.refused.empty() && dominates(result.metric, other, c);
        });
  }
  const double bytes = static_cast<double>(std::max<std::uint64_t>(1, all[0].bytes));
  const double latency = std::max(1e-9, all[0].latency_ms);
  double best = INFINITY;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].allowed) continue;
    const double cost = static_cast<double>(all[i].bytes) / bytes + all[i].latency_ms / latency;
    if (cost < best) {
      best = cost;
      result.chosen = static_cast<int>(i);
    }
  }
  if (result.chosen >= 0) {
    result.because = "within the limits, and the least size and time together";
    const Candidate& c = all[static_cast<std::size_t>(result.chosen)];
    if (c.drop.interval.high > largest_drop(result, r)) {
      result.because +=
          "; the interval of its drop reaches past --max-drop, more samples would tell";
    }
    return;
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].refused.empty() || !std::isfinite(all[i].measured.value)) continue;
    if (result.chosen < 0 ||
        loss_between(result.metric, all[static_cast<std::size_t>(result.chosen)].measured.value,
                     all[i].measured.value) < 0) {
      result.chosen = static_cast<int>(i);
    }
  }
  result.because = "no candidate is within all limits; this one is the most accurate";
}

TuneResult tune(const ModelPtr& float_model, const Dataset& data, const Dataset* calibration,
                const TuneRequest& request) {
  return Search(float_model, data, calibration, request).go();
}

}  // namespace litegap
