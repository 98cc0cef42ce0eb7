// The candidates that a search tries, in the order of what usually wins.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "quant/technique.h"

namespace litegap {

struct CandidateMove {
  std::string name;
  std::vector<std::string> edits;  // flags that make the same file
  std::function<Model()> build;    // throws Error when the technique cannot hold the model
};

// `calibration` may not be null.
std::vector<CandidateMove> quantization_moves(const ModelPtr& float_model,
                                              const Dataset* calibration,
                                              const QuantizeRequest& base);

// Quantization-aware training on from the float model.  `train` is bound, with labels; `map` gives
// what the model reads.  Few epochs at a small rate: the weights are good already.
CandidateMove training_move(const ModelPtr& float_model, const Dataset& train, const InputMap& map,
                            int epochs, std::uint64_t seed, const Progress& progress);

}  // namespace litegap
