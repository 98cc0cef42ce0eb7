// Inside of lowering: what a layer function sees.
//
// A layer function turns one call of one layer into operators.  The families fill one table:
//
//   {"Flatten", lower_flatten},          class name -> function
//
//   std::vector<LayerValue> lower_flatten(LayerCall& c) {
//     const Shape s = c.b.shape(c.x());
//     return c.one(c.b.reshape(c.x(), {s[0], elements / s[0]}));
//   }
//
// The same functions serve three uses: inference, training, and the declaration of variables, in
// which the variables asked for are noted and every value is zero.
#pragma once
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "keras/builder.h"
#include "keras/keras.h"
#include "keras/layers.h"

namespace litegap {

// A tensor, and the mask that travels with it: bool [batch, time], or -1.
struct LayerValue {
  int tensor = -1, mask = -1;
};

// A variable as a layer asks for it.
struct LayerWeight {
  std::string name;       // "kernel"
  Shape shape;            // in Keras's layout
  std::vector<int> perm;  // tensor = reshape(transpose(variable, perm), as)
  Shape as;               // empty = as transposed
  std::string role;       // prefix of the keys in the configuration: "kernel" -> kernel_initializer
  std::string sub;        // group inside the layer in weight files
  std::string initializer = "zeros";  // where the configuration names none
  bool trainable = true;
};

struct LayerCall;
using LowerLayer = std::vector<LayerValue> (*)(LayerCall&);

class Lowerer {
 public:
  Lowerer(const KerasLayers& layers, const KerasModel* model, const LowerOptions& options,
          const std::string& path);

  GraphBuilder b;
  bool training = false, declaring = false, keras3 = true;
  bool keep_norms = false;                              // LowerOptions::keep_norms
  bool fits() const { return training || keep_norms; }  // the graph will be trained
  std::vector<Declared> declared;
  std::vector<Parameter> parameters;

  void run();  // the whole model
  std::vector<LayerValue> call_layer(const KerasLayer& layer, const KerasCall& call,
                                     std::vector<LayerValue> values);
  // A layer with plain inputs: the inner layer of a wrapper.
  std::vector<LayerValue> call_inner(const KerasLayer& layer,
                                     const std::vector<LayerValue>& inputs);

  int weight(const KerasLayer& layer, const LayerWeight& w);  // the constant
  // The value in Keras's layout; only in inference.
  const Array& value(const KerasLayer& layer, const std::string& name) const;

 private:
  std::vector<LayerValue> run_graph(const KerasLayer& owner, const std::vector<LayerValue>& inputs);
  std::vector<LayerValue> inputs_of(const KerasGraph& graph);
  int find_variable(const KerasLayer& layer, const std::string& name) const;
  float regularizer(const KerasLayer& layer, const std::string& role, const char* which) const;

  const KerasLayers& layers_;
  const KerasModel* model_;
  LowerOptions options_;
  std::string path_;
  std::map<std::string, int> variables_;  // full name -> index
  std::map<std::string, int> constants_;  // full name -> tensor
  std::size_t declared_elements_ = 0, calls_ = 0;
};

struct LayerCall {
  Lowerer& lower;
  GraphBuilder& b;
  const KerasLayer& layer;
  std::vector<LayerValue> values;  // all tensors among the arguments, in their order
  Json args, kwargs;               // as in the file; a tensor is {"$": index into values}

  int raw(std::size_t i = 0) const;  // tensor of values[i]; Error when there are fewer
  int x(std::size_t i = 0) { return b.cast(raw(i), DType::kFloat32); }
  int mask() const;  // keyword "mask", else what came with the input
  std::optional<LayerValue> tensor(const char* key) const;  // a keyword argument that is a tensor
  bool flag(const char* key, bool absent) const;  // a keyword argument that is true or false
  // Positional argument i, or keyword `key`: a tensor, or a number made a constant.
  int operand(std::size_t i, const char* key);
  const Json* argument(std::size_t i, const char* key) const;
  std::vector<LayerValue> one(int tensor, int mask = -1) const {
    return {LayerValue{tensor, mask}};
  }
  bool training() const { return lower.training; }
  bool fits() const { return lower.fits(); }
  int weight(const LayerWeight& w) { return lower.weight(layer, w); }
};

struct LayerRow {
  const char* class_name;
  LowerLayer lower;
  bool keeps_mask = false;
};
std::span<const LayerRow> product_layers();  // Dense, Conv ...
std::span<const LayerRow> normalize_layers();
std::span<const LayerRow> pool_layers();
std::span<const LayerRow> activation_layers();
std::span<const LayerRow> shape_layers();
std::span<const LayerRow> image_layers();  // padding, cropping, resizing, rescaling
std::span<const LayerRow> merge_layers();
std::span<const LayerRow> recurrent_layers();
std::span<const LayerRow> attention_layers();
std::span<const LayerRow> function_layers();  // keras.ops and tf functions in a Functional model

// An activation by name or object, as a layer's configuration has it; null is linear.
int lower_activation(LayerCall& c, int x, const Json* activation);
int lower_activation_named(LayerCall& c, int x, const std::string& name, const Json& config = {});
// Positive parts that many formulas share.
int softplus(GraphBuilder& b, int x);
// A part of a constant: a constant in inference, an operator on it in training.
int constant_part(LayerCall& c, int tensor, int axis, int begin, int end);

// After all operators: folds batch normalization, fuses activations (training: neither; kKeepNorms:
// the latter), drops what nobody uses.  map[old tensor] = new tensor or -1.
enum class Finish : std::uint8_t { kFile, kTraining, kKeepNorms };
std::vector<int> finish_graph(Graph& graph, Finish finish);

Array transposed(const Array& a, const std::vector<int>& perm);

}  // namespace litegap
