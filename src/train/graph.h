// What is trained: a float model and which of its constants are parameters.
//
//   TrainGraph g = train_graph(lower(keras, {.training = true, .batch = 32}));
//   TrainGraph g = train_graph(*read_model("float.tflite"));   // fine-tuning
//
// The operators of graph 0 are run forwards and backwards by train/tape.h at any batch size: the
// first axis of the graph's inputs is the batch, and shapes are worked out again for each size.
#pragma once
#include <string>
#include <vector>

#include "keras/keras.h"
#include "model/model.h"

namespace litegap {

struct TrainParameter {
  int tensor = -1;  // constant of graph 0
  bool trainable = true;
  float l1 = 0, l2 = 0;  // loss += l1 sum|w| + l2 sum w^2
};

struct TrainGraph {
  Model model;
  std::vector<TrainParameter> parameters;
  int batch = 1;  // first axis of the graph's inputs, as the shapes in the file have it
};

// Parameters are those that the lowering names.
TrainGraph train_graph(const Lowered& lowered);

// Every float constant that an operator reads as weights, bias, factor or table is a parameter.
// Throws Error naming the tensor or the operator: quantized models, operators without a gradient
// between a parameter and the output, models without an axis for the batch.
TrainGraph train_graph(const Model& float_model);

// The graph with these values in its parameters (in the order of `parameters`), float32.
Model with_parameters(const TrainGraph& graph, const std::vector<Array>& values);

}  // namespace litegap
