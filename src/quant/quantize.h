// Float .tflite to quantized .tflite, in the commonest techniques.
//
// Static: activations and weights int8, ranges from calibration data, integer arithmetic
// throughout. Dynamic range: weights int8, activations float and quantized inside the kernel at run
// time; needs no data, and cannot use any. Float16: weights rounded to half precision, float
// arithmetic.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "model/model.h"
#include "quant/ranges.h"
#include "quant/scales.h"

namespace litegap {

enum class Granularity : std::uint8_t { kPerChannel, kPerTensor };
enum class InputOutput : std::uint8_t { kInteger, kUint8, kFloat };

// Weights of one layer whose scales or codes were chosen by another way than max|w| / 127 and
// rounding to nearest.
struct CodedWeights {
  Quant quant;
  Array codes;  // int8; int4 codes are int8 values from -7 to 7
};

struct StaticOptions {
  Granularity granularity = Granularity::kPerChannel;
  InputOutput io = InputOutput::kInteger;  // kInteger: int8 (or int16)
  std::vector<Form> forms;                 // by operator; empty = int8 wherever there is a form
  std::vector<Granularity> granularities;  // by operator; empty = `granularity`
  std::map<int, CodedWeights> weights;     // by operator
};

struct StaticResult {
  Model model;
  std::vector<std::string>
      in_float;              // operators without int8 arithmetic, between DEQUANTIZE and QUANTIZE
  std::size_t rescales = 0;  // QUANTIZE from codes to codes where scales that must be equal met
  std::map<int, int> float_output;  // float operator of the source -> its output in the result
  std::vector<std::string> raised;  // layers whose weight scales grew because a bias was too large
};

// `ranges`: observe_ranges() of the float model, by tensor of its graph 0.  Structure, scales and
// zero points are those of the TensorFlow converter (quant/scales.h).  Throws Error naming an
// operator that has no form of the kind asked for (control flow, recurrent layers; with int16 every
// operator that the converter refuses too), or a tensor that calibration never saw.
StaticResult quantize_static(const Model& float_model, const Ranges& ranges,
                             const StaticOptions& options = {});

struct WeightOptions {
  std::size_t least_elements = 1024;  // smaller tensors gain nothing in size
  Granularity granularity = Granularity::kPerChannel;
  int bits = 8;                            // 4: weight-only
  std::vector<bool> only;                  // by operator of graph 0; empty = all
  std::vector<int> op_bits;                // by operator; empty = `bits`
  std::vector<Granularity> granularities;  // by operator; empty = `granularity`
  std::map<int, CodedWeights> weights;     // by operator
};

struct WeightResult {
  Model model;
  std::size_t quantized = 0;     // weight tensors stored in fewer bits
  std::size_t kept = 0;          // left float because they are too small
  std::size_t largest_kept = 0;  // its elements, of the largest one
};

// Weight tensors of at least `least_elements` become int8 per channel (the converter's size rule is
// 1024; smaller ones gain nothing in size).
WeightResult quantize_dynamic_range(const Model& float_model, std::size_t least_elements = 1024);
WeightResult quantize_dynamic_range(const Model& float_model, const WeightOptions& options);

// Weights of CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED and TRANSPOSE_CONV stored as int8 or int4
// behind a DEQUANTIZE: float arithmetic, smaller file.  With 4 bits depthwise weights stay float:
// nine taps a channel save nothing and lose most.
WeightResult quantize_weight_only(const Model& float_model, const WeightOptions& options);

// Every float32 constant that an operator reads as a value becomes float16 behind a DEQUANTIZE.
// `only`: by operator of graph 0; empty = all operators of all graphs.
WeightResult quantize_float16(const Model& float_model, const std::vector<bool>& only = {});

}  // namespace litegap
