// Quantizing as every door offers it: names in, a written and verified file out.
//
//   quantize_file(&samples, {.model = "float.tflite", .technique = "static", .out =
//   "int8.tflite"}); quantize_file(nullptr, {.model = "net.keras", .technique = "float16", .out =
//   "f16.tflite"});
#pragma once
#include <string>
#include <vector>

#include "base/progress.h"
#include "data/dataset.h"
#include "report/quantize.h"

namespace litegap {

// Words as on the command line (quant/words.h).
struct QuantizeFileRequest {
  std::string model;  // .tflite, or a Keras file
  std::string technique;
  std::string out;
  std::string method = "auto";                            // calibration_words()
  std::string granularity = "per-channel";                // or "per-tensor"
  std::string io = "integer";                             // "uint8", "float"
  std::string equalize = "off", bias_correction = "off";  // "on", "auto"
  std::string rounding = "nearest";                       // "gptq", "coordinate", "auto"
  std::string weights = "minmax";                         // "mse", "octav"
  std::string recipe;                                     // path of a recipe
  std::string input_map;                                  // "" = as stored
  std::size_t least_elements = 1024;  // dynamic range: smaller weight tensors stay float
  std::uint64_t seed = 1;
  int threads = 0;  // 0 = all cores
  Progress progress;
};

// `calibration`: not yet bound; null = none.  The file is read back and, where there are samples,
// run; one that does not run is not left behind.  Throws Error for a request, model or data that do
// not fit.
QuantizeResult quantize_file(const Dataset* calibration, const QuantizeFileRequest& request);

}  // namespace litegap
