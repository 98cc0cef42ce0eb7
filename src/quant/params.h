// Scales and zero points, chosen the way the TensorFlow converter chooses them, so that our files
// and its files compare (docs/numerics.md, "How scales are chosen").
//
//   activation_quant(-1.0f, 3.0f, DType::kInt8)  ->  scale 4/255, zero point -64
//   weight_quant(w, 0)                           ->  one scale max|w_c| / 127 per index of axis 0
#pragma once
#include <vector>

#include "model/model.h"

namespace litegap {

// int8, uint8: asymmetric, zero always representable, float32 arithmetic; a range narrower than
// 1e-6 is widened by 1e-6 on both sides.  int16: symmetric, zero point 0.  Throws Error on a range
// that is none.
Quant activation_quant(float min, float max, DType dtype);
// code = clamp(round_half_away(x * (1 / scale)) + zero_point), float32 product: how constant
// operands are stored (inputs of a running model round half to even instead: model.h, quantize()).
Array quantize_activation(const Array& real, const Quant& quant, DType dtype);

// Symmetric int8, zero point 0, scale = max|w| / 127 over the channel; axis -1 = per tensor.
// 4 bits: max|w| / 7.
Quant weight_quant(const Array& weights, int axis, int bits = 8);
// code = clamp(round_half_away(w * (1 / scale)), -127, 127), float32 product.
// (4 bits: -7 to 7, since the runtime's 4-bit kernel computes garbage from -8.)
Array quantize_weights(const Array& weights, const Quant& quant, int bits = 8);

// Scales of a bias: s_input * s_weights per channel, zero points 0.
Quant bias_quant(const Quant& input, const Quant& weights);
// int32 (or int64) codes, round half away from zero; saturates at the type's limits.
Array quantize_bias(const Array& bias, const Quant& quant, DType dtype);
// Where |bias| / bias_scale would pass B = 2^30 - 1 (half of int32: the other half is left to the
// sum), the bias scale becomes |bias| / B and the weight scale bias_scale / s_input.  With one
// scale for the whole tensor its largest bias counts.  True when a scale changed: the weights have
// to be quantized with it.
bool make_room_for_bias(const Array& bias, const Quant& input, Quant& weights, Quant& bias_scales);

int weight_axis(OpCode code);   // channel axis of the weights; -1 = the operator has none
int weight_input(OpCode code);  // input index of the weights; -1 = none
int bias_input(OpCode code);    // input index of the bias; -1 = none
int data_input(OpCode code);    // input index of the activations that the weights meet

// Output scale that the operator fixes (SOFTMAX, LOGISTIC, TANH, L2_NORMALIZATION, LOG_SOFTMAX).
bool fixed_output(OpCode code, DType dtype, Quant* quant);
// Operators whose real-valued inputs and outputs share one scale in converted int8 files.
bool same_scale(OpCode code);

}  // namespace litegap
