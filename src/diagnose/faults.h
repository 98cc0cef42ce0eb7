// What is wrong with a file, as far as the file alone tells: no data, no run.
//
// A fault here is a reason to look, with the numbers that gave it away; whether it costs accuracy
// is decided by experiment (explain.h).  Thresholds are set so that sound files show none: what
// sound converters write (bias codes of exactly 2^30 over negligible weights, starved channels of
// quantization-aware per-tensor MobileNets, dead channels) is not reported.
#pragma once
#include <string>
#include <vector>

#include "model/model.h"

namespace litegap {

struct Fault {
  std::string cause, slug;        // "D05", "bias-saturated"
  std::string says;               // one sentence with this file's numbers
  std::vector<int> tensors, ops;  // of the main graph
  double severity = 0;            // 0 … 1: how sure and how bad
};

// Worst first.
std::vector<Fault> static_faults(const Model& model);

}  // namespace litegap
