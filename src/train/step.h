// One operator of a graph that is trained, bound to its buffers.
//
// A factory sees a Node: shapes, pointers to values and to gradients (null where nobody wants
// them). It works out everything that depends on shapes and returns two closures.  forward() fills
// the outputs' values; backward() adds to the inputs' gradients what the outputs' gradients ask
// for.  Both run without allocating.  Every tensor is an array of T, integers and truth values
// included: T is float for training and double for checking gradients by finite differences.
//
//   Step<float> s = make_step(node);      // by the table in tape.cc
//   s.forward();  …;  s.backward();       // backward is empty for operators without a gradient
//
// A gradient may be changed in place by the operator that made the value (fused activations do):
// by then all readers of the value have added their part.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/model.h"

namespace litegap {

struct FakeSlot;  // train/fake.h

// What a running step may look at; the owner of a tape changes it between runs.
struct TapeMode {
  bool training = true;                    // batch statistics and dropout
  bool update_statistics = true;           // moving mean and variance follow
  bool frozen_statistics = false;          // they count even while training
  double statistics_momentum = -1;         // their momentum; negative: the operator's own
  std::uint64_t seed = 1, step = 0;        // of dropout
  std::vector<FakeSlot>* fakes = nullptr;  // of quantization-aware training
};

template <class T>
struct Port {
  bool present = false;
  T* value = nullptr;
  T* grad = nullptr;
  T* square = nullptr;  // of a table: the sum of squares of its readers' gradients
  Shape shape;
  std::size_t count = 0;
  std::size_t dim(std::size_t d) const { return static_cast<std::size_t>(shape[d]); }
};

template <class T>
struct Node {
  const Model* model = nullptr;
  const Op* op = nullptr;
  int index = 0;
  std::vector<Port<T>> in, out;
  const TapeMode* mode = nullptr;
  bool aliased = false;  // the output lies on the input already

  bool has(std::size_t i) const { return i < in.size() && in[i].present; }
  std::string label() const { return op_label(model->main(), static_cast<std::size_t>(index)); }
  const Tensor& tensor_in(std::size_t i) const {
    return model->main().tensors[static_cast<std::size_t>(op->inputs[i])];
  }
  template <class A>
  const A& attrs() const {
    const A* a = std::get_if<A>(&op->attrs);
    if (a == nullptr) fail("{}: its options are missing or of another operator", label());
    return *a;
  }
};

template <class T>
struct Step {
  std::function<void()> forward, backward;
};

template <class T>
using StepFactory = Step<T> (*)(const Node<T>&);

struct StepRow {
  OpCode code;
  StepFactory<float> make_float;
  StepFactory<double> make_double;
  bool differentiable = true;
};

// The families; tape.cc joins them.
std::vector<StepRow> conv_steps();    // convolutions
std::vector<StepRow> dense_steps();   // FULLY_CONNECTED, BATCH_MATMUL
std::vector<StepRow> pool_steps();    // and RESIZE_BILINEAR
std::vector<StepRow> unary_steps();   // curves
std::vector<StepRow> binary_steps();  // two operands, broadcast; SELECT
std::vector<StepRow> reduce_steps();
std::vector<StepRow> norm_steps();   // softmax, batch normalization, dropout …
std::vector<StepRow> move_steps();   // elements go elsewhere unchanged
std::vector<StepRow> fake_steps();   // rounding to an integer file's grid
std::vector<StepRow> fold_steps();   // batch normalization folded into a layer's weights
std::vector<StepRow> still_steps();  // comparisons, casts …: values without gradients

#define LITEGAP_STEP(CODE, MAKE) \
  StepRow { OpCode::CODE, MAKE<float>, MAKE<double>, true }

// ---- fused activations ----------------------------------------------------------------------
template <class T>
void activate(Activation activation, T* y, std::size_t n);
// dy becomes the gradient before the activation; y is the value behind it.
template <class T>
void activate_back(Activation activation, const T* y, T* dy, std::size_t n);

// Integers of a constant operand (shapes, axes).
std::vector<std::int64_t> constant_integers(const Tensor& tensor, const std::string& label);

}  // namespace litegap
