// Moving constants between variants of one quantized file, and making biases fit.
//
// All functions copy the model's tables and share its constants; tensor and operator numbers stay
// as they are.  They are the small edits with which a diagnosis puts one cause in or takes it out.
#pragma once
#include <map>
#include <vector>

#include "model/model.h"

namespace litegap {

// Constant data and quantization of `tensors` as in `from` (same file family, same numbering).
// Throws Error when a tensor's name or shape differs.
Model with_tensors_of(const Model& model, const Model& from, const std::vector<int>& tensors);

// Weights of `tensors` as in `from`, biases of the operators that use them derived again from their
// own real values for the scale s_input * s_weights.
Model with_stored_weights(const Model& model, const Model& from, const std::vector<int>& tensors);

// For each operator of `ops`: weights and bias quantized again from the float values in `real`
// (tensor -> float32), with the scale of a channel raised to |bias| / (s_input * 2^30) where the
// bias would not fit (conversion rule of the bias adjustment).  Granularity as in the file.
Model with_fitting_biases(const Model& model, const std::vector<int>& ops,
                          const std::map<int, Array>& real);

}  // namespace litegap
