// Why two models differ: the sequence of a diagnosis.
//
//   read both · harness (inputs, outputs, labels) · is there a gap? · match · ladder · blame ·
//   causes in the file, strongest first, what remains measured again after each · the fix, measured
//   · report
//
// All numbers of an Explanation add up:
//   sum of recovers + unexplained = total,   sum of alone + interaction = sum of recovers
// which explain() checks before it returns.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "diagnose/cause.h"
#include "diagnose/ladder.h"

namespace litegap {

struct ExplainOptions {
  std::string task, metric;
  std::optional<double> claimed;
  InputMap input_map;
  Dialect dialect = Dialect::kXnnpack;
  int threads = 0;
  std::uint64_t seed = 1;
  std::string fix_path;  // --fix: where the healed file goes; empty = not written
  std::string user_outputs_path, dump_path, calibration_path;
  Progress progress;
};

struct Gap {
  double fl = 0, qt = 0, reference = 0, total = 0, p_value = 1;
  Interval interval;
  std::string verdict;  // none, normal, loss, undecided
};

struct Fixed {
  std::string path;
  double value = 0, delta = 0;  // delta: against the reference, positive = still worse
  std::uint64_t bytes = 0;
  bool written = false;
};

struct Explanation {
  ModelPtr fl, qt;
  FileTechnique float_technique, quant_technique;
  std::string data_path;
  std::size_t samples = 0;
  std::vector<std::string> inputs;
  bool labels = false;
  Metric metric;
  std::optional<double> claimed;
  Gap gap;
  std::vector<Rung> ladder;
  std::vector<Layer> layers;
  std::vector<Finding> findings;
  double interaction = 0, unexplained = 0;
  std::optional<Fixed> fixed;
  std::size_t tensors = 0, aligned = 0;
  std::vector<std::string> unaligned;
  std::vector<Decision> decisions;
  std::vector<std::string> mistrusted;
  RunStats cost;
  std::uint64_t peak_bytes = 0;
  std::string dialect;
};

// Throws Error on files or data that do not fit.  `data` is as read, not yet bound to a model.
Explanation explain(ModelPtr float_model, ModelPtr quant_model, const Dataset& data,
                    const ExplainOptions& options);

}  // namespace litegap
