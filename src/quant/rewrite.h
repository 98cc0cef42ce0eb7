// Edits of a quantized file.  Each returns a new Model; tensor and operator numbers stay, constants that
// do not change are shared.  What depends on a changed scale follows: operators that share a scale, and
// the integer biases of CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED and TRANSPOSE_CONV.
#pragma once
#include <map>

#include "model/model.h"
#include "quant/ranges.h"

namespace litegap {

// Sets scales of activations.  Tensors that share one scale in the file through operators that move
// codes (RESHAPE, pools, CONCATENATION …) go on sharing: the first given value of a group, in tensor
// order of the operators, counts for all.  Fixed output scales are left alone.
Model with_activation_quant(const Model& model, const std::map<int, Quant>& quant);

// New activation ranges by tensor; a group takes the union of its tensors' ranges.  NaN = left alone.
Model recalibrated(const Model& model, const Ranges& ranges);

// Weights quantized again per channel from float values (tensor -> float32 in the tensor's shape).
Model with_per_channel_weights(const Model& model, const std::map<int, Array>& weights);

// Integer biases from real values (tensor -> float32).
Model with_biases(const Model& model, const std::map<int, Array>& biases);

}  // namespace litegap
