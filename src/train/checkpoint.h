// A training as it stands after an epoch: parameters, the optimizer's memory, what was reached.
//
//   write_checkpoint("run.ckpt", trainer, {…});   // an .npz, temporary name, renamed
//   Checkpoint c = read_checkpoint("run.ckpt", trainer);   // the trainer goes on from there
#pragma once
#include <limits>
#include <string>
#include <vector>

#include "train/fit.h"

namespace litegap {

struct Checkpoint {
  std::vector<EpochReport> epochs;
  double best = std::numeric_limits<double>::infinity();
  int best_epoch = -1, waited = 0;
  std::vector<std::vector<float>> best_weights;  // empty: not kept
  NamedArrays own;  // FitOptions::save; on reading, all arrays of the file
};

void write_checkpoint(const std::string& path, Trainer& trainer, const Checkpoint& checkpoint);
// Empty when the file is not there.  Throws Error when it belongs to another model or optimizer.
Checkpoint read_checkpoint(const std::string& path, Trainer& trainer);

}  // namespace litegap
