// Inputs of a single run, as the user has them, to what the model's tensors hold.
#pragma once
#include <string>
#include <vector>

#include "model/model.h"

namespace litegap {

// What values for a quantized input are: its codes, real numbers that become codes by
// round(x / scale) + zero point, or whichever their type says.
enum class GivenAs : std::uint8_t { kCodes, kReal, kEither };

// inputs[i] belongs to input i of graph 0; float64 becomes float32 for float inputs and real
// values.  Throws Error naming the input with the types found and expected; `where` stands first.
void adapt_inputs(const Model& model, const std::string& where, GivenAs given,
                  std::vector<Array>& inputs);

}  // namespace litegap
