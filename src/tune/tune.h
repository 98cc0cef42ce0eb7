// Which way of quantizing gives the best trade of accuracy, size and speed for this model.
//
// Every technique, with its calibration methods and granularities, is a candidate: it is built,
// written, measured on samples that calibration never saw, and compared with the float model sample
// by sample, because the difference of two models is known far better than either of their values.
// A candidate is on the front when no other is at least as accurate, as small and as fast.
//
//   TuneResult r = tune(float_model, data, nullptr, {.out = "best"});   // best/best.tflite
//
// The search can be stopped at any time: candidates are in the order of what usually wins, each
// finished one is on disk, `best.tflite` is the best so far, and a second call with the same
// request goes on where the first one ended.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "data/dataset.h"
#include "kernels/kernel.h"
#include "run/metrics.h"

namespace litegap {

struct TuneRequest {
  std::string out;                 // folder; made when absent
  std::optional<double> max_drop;  // points for fraction metrics, else the metric's own unit
  std::optional<std::uint64_t> max_bytes;
  std::optional<double> max_latency_ms;  // per sample, one thread, this machine
  std::string metric, task;              // "" = guessed
  InputMap input_map;
  const Dataset* train = nullptr;  // bound samples with labels: quantization-aware training too
  int train_epochs = 3;
  Dialect dialect = Dialect::kXnnpack;
  int threads = 0;
  std::uint64_t seed = 1;
  double budget = 0;  // seconds; 0 = until all candidates are measured
  Progress progress;  // may throw Stopped: the search ends with what it has
};

struct Candidate {
  std::string name;                // "static-auto"; also the name of its file
  std::vector<std::string> edits;  // flags of `quantize` or `train` that make it
  std::string path;                // "" when it could not be built
  std::string refused;             // why it could not
  std::string same_as;             // an earlier candidate whose file has the same bytes
  Measurement measured;
  Paired drop;                             // float model minus this one, paired; positive = worse
  std::uint64_t bytes = 0, file_hash = 0;  // hash: tells a later search that the file is this one
  double latency_ms = 0;
  bool on_front = false, allowed = false;  // allowed: within all limits
};

struct TuneResult {
  Metric metric;
  std::size_t samples = 0, calibration_samples = 0;
  std::vector<Candidate> candidates;  // the float model first
  int chosen = -1;
  std::string because;     // of the choice
  std::string stopped_by;  // "complete", "budget" or "interrupt"
  std::size_t resumed = 0, planned = 0;
  double seconds = 0;
  std::vector<Decision> decisions;
};

// `data`: samples to measure on.  `calibration`: null = a fifth of `data` (at most 200 samples,
// drawn by the seed) is set apart for it.  Throws Error for a model, data or limits that make no
// sense.
TuneResult tune(const ModelPtr& float_model, const Dataset& data, const Dataset* calibration,
                const TuneRequest& request);

// Marks the front and the choice; `result.candidates[0]` is the float model.  The choice: of the
// candidates within all limits the one with the least bytes/float bytes + time/float time, or, of
// those that only the noise of latency separates from it, the most accurate; none within them: the
// most accurate one of all.  A file that is the same as an earlier one stands behind it in both.
void choose(TuneResult& result, const TuneRequest& request);

}  // namespace litegap
