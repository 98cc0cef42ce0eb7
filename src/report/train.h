// What `train` did, as JSON (`litegap.train/1`, the value every door shows) and as text.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "train/fit.h"

namespace litegap {

struct TrainResult {
  std::string out, loss, optimizer;
  std::size_t samples = 0;
  std::uint64_t bytes = 0;  // of the written file
  int epochs = 0;           // asked for
  FitResult fit;
  struct Rounded {  // with quantization-aware training: the fake-quantized graph on all samples
    double loss = 0, accuracy = -1;
    std::vector<std::string> unsettled;  // tensors whose range still moved
  };
  std::optional<Rounded> quantized;
  std::vector<Decision> decisions;
  double seconds = 0;
};

Json train_json(const TrainResult& result, const std::string& version);
std::string train_text(const TrainResult& result);

}  // namespace litegap
