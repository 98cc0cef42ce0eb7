#include "tune/tune.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "quant/samples.h"
#include "run/latency.h"
#include "run/setup.h"
#include "tflite/tflite.h"
#include "tune/moves.h"
#include "tune/state.h"

namespace litegap {
namespace {

constexpr std::size_t kMostCalibration = 200;
constexpr std::ptrdiff_t kBeforeTraining = 5;  // float and four quantized ones
constexpr double kLatencyNoise = 0.05;         // two latencies this close are equal

struct BudgetOver {};  // thrown by the search's own progress calls, caught by the search

void check_request(const TuneRequest& r) {
  if (r.out.empty()) fail("tune: no folder for the candidates was named");
  if (r.max_drop && !std::isfinite(*r.max_drop)) {
    fail("largest drop {}: expected a finite number", *r.max_drop);
  }
  if (r.max_bytes && *r.max_bytes == 0) fail("largest size 0: expected at least one byte");
  if (r.max_latency_ms && !(*r.max_latency_ms > 0 && std::isfinite(*r.max_latency_ms))) {
    fail("largest latency {} ms: expected a positive number", *r.max_latency_ms);
  }
}

void check_model(const Model& model) {
  for (const Tensor& t : model.main().tensors) {
    if (!t.quant.empty()) {
      fail("{}: is quantized already (tensor {}); expected the float model", model.path, t.name);
    }
  }
}

void check_data(const Dataset& data) {
  if (data.count == 0) fail("{}: holds no samples to measure candidates on", data.path);
  check_finite(data, "no candidate could answer it");
}

// A label that no output stands for is a mistake of the data that every candidate would pay for;
// -1 is allowed for "none of the classes".
void check_labels(const Model& model, const Dataset& data) {
  const Graph& g = model.main();
  const Shape& out = g.tensors[static_cast<std::size_t>(g.outputs.at(0))].shape;
  const int classes = out.empty() ? 1 : std::max(2, out.back());
  const std::vector<int> labels = label_classes(data, static_cast<std::size_t>(classes));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < -1 || labels[i] >= classes) {
      fail("{}: label of sample {} is {}, expected 0 to {}: {} has {} outputs", data.path, i,
           labels[i], classes - 1, model.path, out.empty() ? 1 : out.back());
    }
  }
}

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

class Search {
 public:
  Search(ModelPtr model, const Dataset& data, const Dataset* calibration, const TuneRequest& r)
      : model_(std::move(model)), r_(r), start_(seconds_now()) {
    check_request(r);
    check_model(*model_);
    check_data(data);
    if (calibration != nullptr) check_samples(*calibration);
    if (r.train != nullptr) check_samples(*r.train);
    split_ = split(data, calibration, r.seed, result_.decisions);
    result_.samples = split_.measure.count;
    result_.calibration_samples = split_.calibration.count;
    result_.metric = choose_metric(r.metric, r.task, *model_, split_.measure, result_.decisions);
    if (is_hit_metric(result_.metric)) check_labels(*model_, data);
    make_directories(r.out);
    state_path_ = r.out + "/tune-state.json";
    key_ = search_key(*model_, split_.measure, split_.calibration, r);
    known_ = read_search(state_path_, key_);
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
    if (r_.train != nullptr) {  // behind the cheap ones: it takes longest
      moves.insert(moves.begin() + kBeforeTraining,
                   training_move(model_, *r_.train, r_.input_map, r_.train_epochs, r_.seed,
                                 [this](std::string_view, double done) { say(done); }));
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

  void save() {
    std::vector<Candidate> all = result_.candidates;
    // Those of an earlier search that this one has not reached yet stay known.
    for (const Candidate& c : known_) {
      if (std::none_of(all.begin(), all.end(),
                       [&](const Candidate& d) { return d.name == c.name; })) {
        all.push_back(c);
      }
    }
    write_search(state_path_, key_, all);
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
      if (c.name != move.name || c.edits != move.edits) continue;
      result_.candidates.push_back(c);
      ++result_.resumed;
      return false;
    }
    Candidate c;
    c.name = move.name;
    c.edits = move.edits;
    say(0);
    // What cannot be built or run is a result; a file that cannot be written ends the search.
    const auto unless_refused = [&](const auto& work) {
      try {
        work();
      } catch (const Error& e) {
        if (move.name == "float") throw;
        c.refused = e.what();
      }
    };
    Model built;
    unless_refused([&] { built = move.build(); });
    if (c.refused.empty()) {
      c.path = r_.out + "/" + move.name + ".tflite";
      write_model(built, c.path);
      unless_refused([&] { measure(c, read_model(c.path)); });
      if (!c.refused.empty()) {
        std::error_code ignored;
        std::filesystem::remove(c.path, ignored);
        c.path.clear();
      }
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
    c.bytes = file_size(c.path);
    c.file_hash = file_hash(c.path);
    if (take_from_twin(c)) return;
    const Predictions p = predictions(model);
    if (c.name == "float") reference_ = p;
    const Predictions& exact = reference();
    const ScoreInput mine{&p, &split_.measure, &exact, &r_.input_map};
    const ScoreInput theirs{&exact, &split_.measure, &exact, &r_.input_map};
    c.measured = measure_score(result_.metric, mine, r_.seed);
    c.drop = compare(result_.metric, theirs, mine, r_.seed);
    const Plan plan = make_plan(model, {.dialect = r_.dialect});
    // The least of many runs: what else the machine does can only add to it, and candidates that
    // compute the same must not differ by the moment at which they were measured.
    c.latency_ms = measure_latency(plan, zero_inputs(plan), {.most = 5000, .seconds = 0.15}).min;
  }

  // Two ways that came to the same file have the same answers; only noise would tell them apart.
  bool take_from_twin(Candidate& c) const {
    for (const Candidate& other : result_.candidates) {
      if (!other.refused.empty() || other.file_hash != c.file_hash || other.bytes != c.bytes) {
        continue;
      }
      c.same_as = other.same_as.empty() ? other.name : other.same_as;
      c.measured = other.measured;
      c.drop = other.drop;
      c.latency_ms = other.latency_ms;
      return true;
    }
    return false;
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

bool more_accurate(const TuneResult& result, const Candidate& a, const Candidate& b) {
  return loss_between(result.metric, b.measured.value, a.measured.value) < 0;
}

// Who is on the front and within the limits.
void mark(TuneResult& result, const TuneRequest& r) {
  auto& all = result.candidates;
  const auto takes_part = [](const Candidate& c) { return c.refused.empty() && c.same_as.empty(); };
  for (Candidate& c : all) {
    c.allowed = c.refused.empty() && within_limits(result, c, r);
    c.on_front = takes_part(c) && std::isfinite(c.measured.value) &&
                 std::none_of(all.begin(), all.end(), [&](const Candidate& other) {
                   return &other != &c && takes_part(other) && dominates(result.metric, other, c);
                 });
  }
}

// The least size and time together, both as shares of the float model's; -1: nothing is allowed.
// Where only the noise of latency separates candidates the more accurate one wins, and else the
// earlier one, so that a second search says the same.
int cheapest_allowed(const TuneResult& result) {
  const auto& all = result.candidates;
  const double bytes = static_cast<double>(std::max<std::uint64_t>(1, all[0].bytes));
  const double latency = std::max(1e-9, all[0].latency_ms);
  const auto cost = [&](const Candidate& c, double noise) {
    return static_cast<double>(c.bytes) / bytes + (1 - noise) * c.latency_ms / latency;
  };
  double least = INFINITY;
  for (const Candidate& c : all) {
    if (c.allowed && cost(c, 0) < least) least = cost(c, 0);
  }
  int best = -1;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].allowed || !(cost(all[i], kLatencyNoise) <= least)) continue;
    if (best < 0 || more_accurate(result, all[i], all[static_cast<std::size_t>(best)])) {
      best = static_cast<int>(i);
    }
  }
  return best;
}

}  // namespace

void choose(TuneResult& result, const TuneRequest& r) {
  result.chosen = -1;
  if (result.candidates.empty()) return;
  mark(result, r);
  result.chosen = cheapest_allowed(result);
  if (result.chosen >= 0) {
    result.because = "within the limits, and the least size and time together";
    const Candidate& c = result.candidates[static_cast<std::size_t>(result.chosen)];
    if (c.drop.interval.high > largest_drop(result, r)) {
      result.because +=
          "; the interval of its drop reaches past --max-drop, more samples would tell";
    }
    return;
  }
  const auto& all = result.candidates;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].refused.empty() || !std::isfinite(all[i].measured.value)) continue;
    if (result.chosen < 0 ||
        more_accurate(result, all[i], all[static_cast<std::size_t>(result.chosen)])) {
      result.chosen = static_cast<int>(i);
    }
  }
  result.because = result.chosen < 0
                       ? "no candidate has a finite value"
                       : "no candidate is within all limits; this one is the most accurate";
}

TuneResult tune(const ModelPtr& float_model, const Dataset& data, const Dataset* calibration,
                const TuneRequest& request) {
  return Search(float_model, data, calibration, request).go();
}

}  // namespace litegap
