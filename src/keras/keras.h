// Keras models as their files say: layers, how they are connected, and their variables.
//
//   KerasModel m = read_keras("model.keras");          // or .h5, or an architecture in JSON
//   Model file   = lower(m).model;                     // the float .tflite of it
//   Lowered t    = lower(m, {.training = true, .batch = 32});   // to be trained; see lower()
//
// Sources: conversion note section 8 (files, variable order, layer by layer operators).
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/model.h"

namespace litegap {

// One weight of the model, in Keras's own layout ([in, out] for Dense, HWIO for Conv2D ...).
struct KerasVariable {
  std::string name;   // "block/conv/kernel", the layer's path in the model first
  std::string layer;  // that path
  int index = 0;      // position among the variables of the layer
  Array value;        // float32
  bool trainable = true;
};

struct KerasLayers;  // layers and connections, keras/layers.h

struct KerasModel {
  std::string path;  // for messages
  std::shared_ptr<const KerasLayers> layers;
  std::vector<KerasVariable> variables;
  bool has_weights = false;  // false: an architecture; its variables hold initial values
};

struct KerasReadOptions {
  std::uint64_t seed = 1;  // of initial values, for an architecture without weights
};

// .keras, .h5 or architecture JSON, decided by content.  An architecture without weights gets the
// initial values of its initializers (Keras's distributions; seeded).  Throws Error naming the
// layer by its path when it is not supported, or the place in the file that is broken.
KerasModel read_keras(const std::string& path, const KerasReadOptions& options = {});
// The same from memory; `name` stands in messages.
KerasModel read_keras_json(const std::string& json, const std::string& name,
                           const KerasReadOptions& options = {});
// Whether the file looks like one of these (by its first bytes, JSON: an object with "class_name").
bool is_keras_file(const std::string& path);

struct LowerOptions {
  bool training = false;
  int batch = 1;
  bool keep_norms = false;  // not with training
};

// How a constant of the lowered model and a Keras variable are one thing.
struct Parameter {
  int tensor = -1;    // of graph 0
  int variable = -1;  // index into KerasModel::variables
  std::vector<int>
      transpose;  // tensor = reshape(transpose(variable, transpose)); empty = reshape only
  bool trainable = true;
  float l1 = 0, l2 = 0;  // regularizer: loss += l1 sum|w| + l2 sum w^2
};

struct Lowered {
  Model model;
  std::vector<Parameter> parameters;  // training and keep_norms only
};

// training = false: a float .tflite, structured as the converter's: batch normalization folded,
// activations fused where the format has them, dropout and noise gone.
//
// training = true: every variable is one constant (shared layers share it), batch normalization and
// dropout stay as kTrainBatchNorm and kTrainDropout, recurrent layers are unrolled, nothing is
// folded into weights.  Shapes carry options.batch as first axis; shape signatures have -1 there.
//
// keep_norms = true: the graph of the file for quantization-aware training (train/fold.h): its
// operators and fused activations, but batch normalization and dropout stay.  A normalization that
// the file folds is a kTrainBatchNorm directly behind its operator and carries the activation.
// Parameters are the variables that stand in the graph as they are.
//
// Throws Error naming the layer by its path when it has no counterpart among the operators.
Lowered lower(const KerasModel& model, const LowerOptions& options = {});

// The Keras model with the values that the constants of a trained model have now.
KerasModel with_trained(const KerasModel& model, const Lowered& lowered, const Model& trained);

// Architectures in C++:   KerasModel m = read_keras_json(sequential_json({1}, {dense_json(1)}),
// "line"); Each function gives the JSON that Keras's own to_json would.  `input`: shape without the
// batch.
std::string sequential_json(const std::vector<int>& input, const std::vector<std::string>& layers);
std::string dense_json(int units, const std::string& activation = "linear");
std::string conv2d_json(int filters, int kernel, const std::string& activation = "linear",
                        int stride = 1, const std::string& padding = "same");
std::string max_pool_json(int size);
std::string batch_norm_json();
std::string activation_json(const std::string& activation);
std::string global_average_json();
std::string flatten_json();

}  // namespace litegap
