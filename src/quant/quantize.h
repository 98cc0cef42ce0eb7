// Float .tflite to quantized .tflite, in the commonest techniques.
//
// Static: activations and weights int8, ranges from calibration data, integer arithmetic
// throughout. Dynamic range: weights int8, activations float and quantized inside the kernel at run
// time; needs no data, and cannot use any. Float16: weights rounded to half precision, float
// arithmetic.
#pragma once
#include <string>
#include <vector>

#include "model/model.h"
#include "quant/ranges.h"

namespace litegap {

enum class Granularity : std::uint8_t { kPerChannel, kPerTensor };
enum class InputOutput : std::uint8_t { kInteger, kUint8, kFloat };

struct StaticOptions {
  Granularity granularity = Granularity::kPerChannel;
  InputOutput io = InputOutput::kInteger;  // kInteger: int8
};

struct StaticResult {
  Model model;
  std::vector<std::string>
      in_float;              // operators without int8 arithmetic, between DEQUANTIZE and QUANTIZE
  std::size_t rescales = 0;  // QUANTIZE int8 -> int8 where scales that must be equal met
};

// `ranges`: observe_ranges() of the float model, by tensor of its graph 0.  Structure, scales and
// zero points are those of the TensorFlow converter (quant/scales.h).  Throws Error naming an
// operator that this version cannot put into an integer graph (control flow, recurrent layers), or
// a tensor that calibration never saw.
StaticResult quantize_static(const Model& float_model, const Ranges& ranges,
                             const StaticOptions& options = {});

struct WeightResult {
  Model model;
  std::size_t quantized = 0;     // weight tensors stored in fewer bits
  std::size_t kept = 0;          // left float because they are too small
  std::size_t largest_kept = 0;  // its elements, of the largest one
};

// Weight tensors of at least `least_elements` become int8 per channel (the converter's size rule is
// 1024; smaller ones gain nothing in size).
WeightResult quantize_dynamic_range(const Model& float_model, std::size_t least_elements = 1024);

// Every float32 constant that an operator reads as a value becomes float16 behind a DEQUANTIZE.
WeightResult quantize_float16(const Model& float_model);

}  // namespace litegap
