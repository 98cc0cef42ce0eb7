// The candidates that a search tries, in the order of what usually wins.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "quant/technique.h"

namespace litegap {

struct CandidateMove {
  std::string name;
  std::vector<std::string> edits;  // flags of `litegap quantize` that make the same file
  std::function<Model()> build;    // throws Error when the technique cannot hold the model
};

// `calibration` may not be null.
std::vector<CandidateMove> quantization_moves(const ModelPtr& float_model,
                                              const Dataset* calibration,
                                              const QuantizeRequest& base);

}  // namespace litegap
