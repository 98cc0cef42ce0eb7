// What `quantize` did, as JSON (`litegap.quantize/1`, the value every door shows) and as text.
#pragma once
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "quant/technique.h"

namespace litegap {

struct QuantizeResult {
  std::string out, technique;
  std::string calibration_path;  // "" = no data were given
  std::uint64_t bytes = 0, float_bytes = 0;
  Quantized quantized;              // its model is the one that was written
  std::vector<Decision> decisions;  // of the data, of the techniques, and the warnings
  // The written file, read back and run on this many calibration samples; 0: it was only planned.
  std::size_t checked_samples = 0;
  double largest_difference = 0;  // from the float model, as a share of the output's range
};

Json quantize_json(const QuantizeResult& result, const std::string& version);
std::string quantize_text(const QuantizeResult& result);

}  // namespace litegap
