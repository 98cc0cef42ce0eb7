// Operators with quantized weights and integer biases, seen as one thing.  Inside of quant/ only.
#pragma once
#include <optional>
#include <vector>

#include "model/model.h"

namespace litegap {

// CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED or TRANSPOSE_CONV of graph 0: tensors of its data,
// weights and bias (-1 = absent).
struct WeightedLayer {
  int op = -1, x = -1, w = -1, b = -1;
};

// The roles of one operator; nothing for other kinds or a missing input.
std::optional<WeightedLayer> weighted_layer(const Model& model, int op);
std::vector<WeightedLayer> weighted_layers(const Model& model);

// The layer has constant int32 or int64 bias codes, and scales to read them by.
bool has_integer_bias(const Model& model, const WeightedLayer& layer);

// Bias values: code * s_input * s_weights (what the runtime computes; the scale stored with the
// bias is only a copy of that product).
std::vector<double> real_bias(const Model& model, const WeightedLayer& layer);

// Stores real biases as codes of s_input * s_weights.  Where a code would pass 2^30 - 1 in an int32
// bias, the weight scale of its channel is raised and the channel's weight codes follow.
void set_bias(Model& model, const WeightedLayer& layer, const std::vector<double>& real);

}  // namespace litegap
