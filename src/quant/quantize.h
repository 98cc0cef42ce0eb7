// Float .tflite to quantized .tflite, in the two commonest techniques.
//
// Static: activations and weights int8, ranges from calibration data, integer arithmetic throughout.
// Dynamic range: weights int8, activations float and quantized inside the kernel at run time; needs no
// data, and cannot use any.
#pragma once
#include "model/model.h"
#include "quant/ranges.h"

namespace litegap {

enum class Granularity : std::uint8_t { kPerChannel, kPerTensor };
enum class InputOutput : std::uint8_t { kInteger, kFloat };

struct StaticOptions {
  Granularity granularity = Granularity::kPerChannel;
  InputOutput io = InputOutput::kInteger;
};

// `ranges`: observe_ranges() of the float model.  Throws Error naming an operator that has no int8 form
// here, or a tensor that calibration never saw.
Model quantize_static(const Model& float_model, const Ranges& ranges, const StaticOptions& options = {});

struct DynamicRangeResult {
  Model model;
  std::size_t quantized = 0, kept = 0;   // weight tensors made int8, and left float as too small
};

// Weight tensors of at least `least_elements` become int8 per channel (the converter's size rule).
DynamicRangeResult quantize_dynamic_range(const Model& float_model, std::size_t least_elements = 1024);

}  // namespace litegap
