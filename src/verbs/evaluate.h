// The metric of one or more models on the same samples, with what is needed to compare them.
//
//   EvalRequest r{.models = {"float.tflite", "int8.tflite"}};
//   EvalResult e = evaluate(read_dataset("test.npz"), r);       // e.pairs[0].paired.delta
//
// Samples are taken in chunks of growing size, in an order drawn by the seed, and every chunk goes
// through all models: whenever the work stops (time, budget, Ctrl-C) all models have seen the same
// samples.  When all samples were covered the order leaves no trace.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "data/dataset.h"
#include "kernels/kernel.h"
#include "report/eval.h"

namespace litegap {

struct EvalRequest {
  std::vector<std::string> models;  // files, or .npz of recorded outputs; compared with the first
  std::string metric, task;         // "" = guessed, which is recorded as a decision
  std::string input_map;            // "" = as stored
  std::size_t limit = 0;            // samples; 0 = no limit
  double budget = 0;                // seconds; 0 = a minute when there is no limit
  std::uint64_t memory = 0;         // bytes of activations; 0 = no limit
  std::size_t output_bytes = std::size_t{32} << 20;  // of outputs held at once, where possible
  Dialect dialect = Dialect::kXnnpack;
  // Two or more: the one model is evaluated in each, and compared bit for bit with the first.
  std::vector<Dialect> dialects;
  int threads = 0;  // 0 = all cores
  std::uint64_t seed = 1;
  std::optional<double> claimed;
  std::optional<double> fail_above;  // points for fraction metrics, else the metric's own unit
  bool latency = true;               // measure it
  bool reset_state = false;          // variable tensors back to zero before every sample
  Progress progress;                 // may throw Stopped: what was covered until then is reported
};

// Throws Error for data, models or a request that do not fit; Stopped before the first chunk.
EvalResult evaluate(const Dataset& data, const EvalRequest& request);

// A part of the samples: every count-th block of 64, from block index - 1 on.
struct Shard {
  std::size_t index = 1, count = 1;  // index from 1
};
// The rows of a shard among `samples`, rising.
std::vector<std::size_t> shard_rows(const Shard& shard, std::size_t samples);
// What every model says to the rows of a shard, in their order.  Throws Error as evaluate() does,
// and where state is carried over from sample to sample.
std::vector<Predictions> predict_shard(const Dataset& data, const EvalRequest& request,
                                       const Shard& shard);
// The evaluation of all samples, from what every model said to each of them.
EvalResult evaluate_predicted(const Dataset& data, const EvalRequest& request,
                              std::vector<Predictions> predictions);

}  // namespace litegap
