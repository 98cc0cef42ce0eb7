// Edits of a float model that leave its function alone and make it easier to quantize.
//
// Equalization (Nagel and others, "Data-free quantization", 2019): where layer A feeds layer B
// through nothing but a ReLU or operators that treat channels alike, channel i of A can be divided
// by s and the weights of B that read it multiplied by s: relu(x / s) s = relu(x).  With s_i =
// sqrt(r_A r_B) / r_B both weights get the range sqrt(r_A r_B), r the largest weight of the
// channel.  A ReLU6 cuts at a number and would cut elsewhere: such pairs are left alone.
//
// Absorption: where a channel behind a ReLU never falls below c > 0 on the samples, c is moved from
// A's bias into B's: B(relu(x)) = B(relu(x) - c) + W_B c, and the range of the tensor shrinks.
//
//   A = 100, B = 0.01   ->   A = 1, B = 1, the same product
//
// Bias correction: weights that lost E[error] m on average (m the mean input, moments.h) get it
// back in the bias.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "quant/moments.h"
#include "quant/quantize.h"

namespace litegap {

struct Equalized {
  Model model;
  std::vector<std::string> pairs;  // "#0 CONV_2D (…) -> #1 CONV_2D (…)"
  double largest = 1;              // factor
};
// Repeated until the factors are within 1 %, at most 20 times.
Equalized equalize(const Model& float_model);

struct Absorbed {
  Model model;
  std::size_t channels = 0;
};
// Runs the model over the rows to find the channels.
Absorbed absorb_biases(const ModelPtr& float_model, const Setup& setup, const Dataset& data,
                       const PredictOptions& options);

struct Corrected {
  Model model;  // float, with other biases
  std::size_t layers = 0;
  double largest = 0;  // correction, in units of the layer's root mean square output
};
// `coded`: the weights as they will be stored, by operator.
Corrected correct_biases(const Model& float_model, const std::map<int, CodedWeights>& coded,
                         const std::map<int, Moments>& moments);

}  // namespace litegap
