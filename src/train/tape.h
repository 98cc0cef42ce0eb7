// A graph laid out for one batch size: every value and every gradient has its place, every operator
// is bound to its places.
//
//   Weights<float> w = initial_weights<float>(graph);
//   TapeMode mode;
//   Tape<float> tape(graph, w, 32, {.mode = &mode, .seed = logits});
//   fill(tape.value(tape.input(0)));  tape.forward();
//   fill(tape.grad(logits));          tape.backward();    // w.grad now holds the gradients
//
// A forward and a backward pass allocate nothing.  Gradients are computed only for tensors between
// a trainable parameter and the seed tensor.  Buffers of gradients are shared by tensors whose
// gradients are never alive at once.
#pragma once
#include <memory>
#include <vector>

#include "train/graph.h"
#include "train/step.h"

namespace litegap {

// Parameters and their gradients, shared by the tapes of several batch sizes.
template <class T>
struct Weights {
  std::vector<std::vector<T>> value, grad;  // by position in TrainGraph::parameters
  // Of embedding tables, else empty: the sum over all readings of a row of the squared gradient.
  // Keras squares the gradients of a table before it adds those of equal rows, and Adam and RMSprop
  // see that.
  std::vector<std::vector<T>> square;
};
template <class T>
Weights<T> initial_weights(const TrainGraph& graph);
std::vector<Array> weight_arrays(const TrainGraph& graph, const Weights<float>& weights);

struct TapeOptions {
  const TapeMode* mode = nullptr;
  int seed = -1;             // backward starts from the gradient of this tensor; -1 = forward only
  bool input_grads = false;  // gradients of the graph's inputs as well (gradient checks)
};

template <class T>
class Tape {
 public:
  // Throws Error naming the operator that has no step, no gradient where one is needed, or shapes
  // that do not fit this batch size.
  Tape(const TrainGraph& graph, Weights<T>& weights, int batch, const TapeOptions& options);

  void forward();
  void backward();  // adds to Weights::grad; grad(seed) has been filled

  T* value(int tensor) const { return values_[static_cast<std::size_t>(tensor)]; }
  T* grad(int tensor) const { return grads_[static_cast<std::size_t>(tensor)]; }  // null: unwanted
  const Shape& shape(int tensor) const { return shapes_[static_cast<std::size_t>(tensor)]; }
  std::size_t count(int tensor) const { return shape_elements(shape(tensor)); }
  int batch() const { return batch_; }

 private:
  struct Clear {
    T* data;
    std::size_t count;
  };
  int batch_ = 0;
  std::vector<Shape> shapes_;
  std::vector<T*> values_, grads_;
  std::vector<std::vector<T>> own_;  // constants that are no parameters
  std::vector<T> value_arena_, grad_arena_;
  std::vector<Step<T>> forward_;
  struct Back {
    std::function<void()> run;
    std::vector<Clear> clear;  // gradients that come alive before it
  };
  std::vector<Back> backward_;
};

const StepRow* step_row(OpCode code);  // null: cannot be trained through
std::vector<OpCode> step_codes();

// Shapes of all tensors of graph 0 at this batch size.  Constants that say a shape are read with
// their leading batch replaced.
std::vector<Shape> shapes_at_batch(const TrainGraph& graph, int batch);

}  // namespace litegap
