// Edits of a quantized file.  Each returns a new Model; tensor and operator numbers stay, constants
// that do not change are shared.  What depends on a changed scale follows: operators that share a
// scale, and the integer biases of CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED and TRANSPOSE_CONV.
// The runtime loads every result.
#pragma once
#include <map>

#include "model/model.h"
#include "quant/ranges.h"

namespace litegap {

// Sets scales of activations (tensors of graph 0).  Tensors that share one scale in the file
// through operators that move codes (RESHAPE, pools, CONCATENATION ...) go on sharing: of several
// given values the one of the lowest tensor number counts for the whole group.  Fixed output scales
// (SOFTMAX ...), states, and tensors that another graph sees too are left alone.
Model with_activation_quant(const Model& model, const std::map<int, Quant>& quant);

// New activation ranges by tensor; a group takes the union of its tensors' ranges.  NaN = left
// alone.
Model recalibrated(const Model& model, const Ranges& ranges);

// Weights quantized again per channel from float values (tensor -> float32, as many elements as the
// tensor).  Tensors that are no int8 weights are left alone; operator versions rise where needed.
Model with_per_channel_weights(const Model& model, const std::map<int, Array>& weights);

// The same at the granularity that each tensor has in the file.
Model with_weights(const Model& model, const std::map<int, Array>& weights);

// Integer biases from real values (tensor -> float32).
Model with_biases(const Model& model, const std::map<int, Array>& biases);

}  // namespace litegap
