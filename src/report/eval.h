// What `eval` found, as JSON (the value every door shows) and as text made from that JSON.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "run/dialects.h"
#include "run/metrics.h"

namespace litegap {

struct EvalModel {
  std::string path, technique;
  std::string dialect;  // "" = that of the whole evaluation
  Measurement measured;
  std::uint64_t bytes = 0;
  std::optional<double> latency_ms;  // per sample, one thread, median; none for recorded outputs
};

struct EvalPair {  // model 0 against model b, on the same samples
  std::size_t b = 0;
  Paired paired;
  std::optional<double> kl, cosine;  // of the outputs of b from those of model 0
  // Samples at which an interval of the loss would be as narrow as the limit (0.5 points unless the
  // user stated one), at the rate of discordant samples seen; only for right/wrong metrics.
  std::optional<std::size_t> samples_needed;
  std::vector<Flip> flips;  // all samples with another class
};

enum class LimitState : std::uint8_t { kNone, kKept, kUndecided, kBroken };

struct EvalResult {
  Metric metric;
  std::string data_path;
  std::size_t samples = 0, of = 0;  // covered, in the data
  bool labels = false;
  std::vector<EvalModel> models;
  std::vector<EvalPair> pairs;
  // By class: right[k] and predicted[k] of model k; empty where the metric is not about classes.
  struct ClassRow {
    int label = 0;
    std::size_t count = 0;
    std::vector<double> right;
    std::vector<std::size_t> predicted;
  };
  std::vector<ClassRow> classes;
  std::vector<DialectDifference> dialects;  // of the first dialect and each other one
  std::optional<double> claimed, fail_above;
  LimitState limit = LimitState::kNone;
  std::string stopped_by;  // "" = complete, "limit", "time", "budget", "certain", "interrupt"
  std::vector<Decision> decisions;
  double seconds = 0;
};

// Whether the loss of b against model 0 is larger than `limit` (in the metric's own unit): kBroken
// when the whole interval is, or b's value is not finite while model 0's is; kUndecided when only a
// part is.
LimitState judge_limit(const EvalResult& result, const EvalPair& pair, double limit);

// `litegap.eval/1`; keys in docs/formats.md.
Json eval_json(const EvalResult& result, const std::string& version, const Json& dialect);
std::string eval_text(const Json& value, bool color);

}  // namespace litegap
