// Which operators have weights, and where they come from.
#pragma once
#include <vector>

#include "model/model.h"

namespace litegap {

// For each tensor of a graph, the operator that makes it, or -1.
std::vector<int> producers(const Graph& graph);

// A constant that an operator multiplies with, perhaps through a DEQUANTIZE.
struct Weight {
  int op = -1;
  int input = -1;    // which input of the operator
  int tensor = -1;   // the constant
  int through = -1;  // the DEQUANTIZE in between, or -1
  int axis = -1;     // output channels, -1 where the operator has none
};

// Of convolutions, matrix products, embeddings and recurrent layers; biases are not weights.
std::vector<Weight> weights_of(const Graph& graph, const std::vector<int>& producer);

}  // namespace litegap
