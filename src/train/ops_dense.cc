// FULLY_CONNECTED and BATCH_MATMUL.
//
//   y[rows, out] = x[rows, in] W[out, in]^T + b;   dW += dy^T x;   dx += dy W
#include <algorithm>

#include "train/matmul.h"
#include "train/step.h"

namespace litegap {
namespace {

template <class T>
Step<T> make_fully_connected(const Node<T>& n) {
  const auto& a = n.template attrs<FullyConnectedAttrs>();
  const Port<T>&x = n.in[0], &w = n.in[1], &y = n.out[0];
  if (a.weights_format != 0) fail("{}: shuffled weights cannot be trained", n.label());
  const std::size_t out = w.dim(0), in = w.dim(1), rows = x.count / in;
  const T* bias = n.has(2) ? n.in[2].value : nullptr;
  T* dbias = n.has(2) ? n.in[2].grad : nullptr;
  Step<T> s;
  s.forward = [=] {
    for (std::size_t r = 0; r < rows; ++r) {
      T* const to = y.value + r * out;
      for (std::size_t j = 0; j < out; ++j) to[j] = bias != nullptr ? bias[j] : T(0);
    }
    matmul<T>({x.value, in}, {w.value, in, true}, y.value, out, rows, out, in);
    activate(a.activation, y.value, y.count);
  };
  s.backward = [=] {
    activate_back(a.activation, y.value, y.grad, y.count);
    if (dbias != nullptr) {
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t j = 0; j < out; ++j) dbias[j] += y.grad[r * out + j];
    }
    if (w.grad != nullptr) matmul<T>({y.grad, out, true}, {x.value, in}, w.grad, in, out, in, rows);
    if (x.grad != nullptr) matmul<T>({y.grad, out}, {w.value, in}, x.grad, in, rows, in, out);
  };
  return s;
}

// Offsets of the matrices of an operand whose leading axes are broadcast to those of `out`.
std::vector<std::size_t> matrix_offsets(const Shape& shape, const Shape& out) {
  const std::size_t lead = out.size() - 2;
  std::vector<std::size_t> steps(lead, 0), offsets;
  std::size_t step = static_cast<std::size_t>(shape[shape.size() - 1]) *
                     static_cast<std::size_t>(shape[shape.size() - 2]);
  for (std::size_t d = lead; d-- > 0;) {
    const std::size_t missing = out.size() - shape.size();
    if (d < missing) continue;
    const auto n = static_cast<std::size_t>(shape[d - missing]);
    steps[d] = n == 1 ? 0 : step;
    step *= n;
  }
  std::size_t total = 1;
  for (std::size_t d = 0; d < lead; ++d) total *= static_cast<std::size_t>(out[d]);
  for (std::size_t i = 0; i < total; ++i) {
    std::size_t rest = i, at = 0;
    for (std::size_t d = lead; d-- > 0;) {
      at += rest % static_cast<std::size_t>(out[d]) * steps[d];
      rest /= static_cast<std::size_t>(out[d]);
    }
    offsets.push_back(at);
  }
  return offsets;
}

template <class T>
Step<T> make_batch_matmul(const Node<T>& n) {
  const auto& a = n.template attrs<BatchMatmulAttrs>();
  const Port<T>&x = n.in[0], &w = n.in[1], &y = n.out[0];
  const std::size_t xs = x.dim(x.shape.size() - 1), ws = w.dim(w.shape.size() - 1);
  const std::size_t rows = y.dim(y.shape.size() - 2), cols = y.dim(y.shape.size() - 1);
  const std::size_t depth = a.adj_x ? x.dim(x.shape.size() - 2) : xs;
  const auto xo = matrix_offsets(x.shape, y.shape), wo = matrix_offsets(w.shape, y.shape);
  Step<T> s;
  s.forward = [=] {
    std::fill(y.value, y.value + y.count, T(0));
    for (std::size_t i = 0; i < xo.size(); ++i) {
      matmul<T>({x.value + xo[i], xs, a.adj_x}, {w.value + wo[i], ws, a.adj_y},
                y.value + i * rows * cols, cols, rows, cols, depth);
    }
  };
  // With X = op(x), W = op(w):  dX = dy W^T, dW = X^T dy, each transposed where its operand is.
  s.backward = [=] {
    for (std::size_t i = 0; i < xo.size(); ++i) {
      const T* up = y.grad + i * rows * cols;
      if (x.grad != nullptr && !a.adj_x)
        matmul<T>({up, cols}, {w.value + wo[i], ws, !a.adj_y}, x.grad + xo[i], xs, rows, depth,
                  cols);
      if (x.grad != nullptr && a.adj_x)
        matmul<T>({w.value + wo[i], ws, a.adj_y}, {up, cols, true}, x.grad + xo[i], xs, depth, rows,
                  cols);
      if (w.grad != nullptr && !a.adj_y)
        matmul<T>({x.value + xo[i], xs, !a.adj_x}, {up, cols}, w.grad + wo[i], ws, depth, cols,
                  rows);
      if (w.grad != nullptr && a.adj_y)
        matmul<T>({up, cols, true}, {x.value + xo[i], xs, a.adj_x}, w.grad + wo[i], ws, cols, depth,
                  rows);
    }
  };
  return s;
}

}  // namespace

std::vector<StepRow> dense_steps() {
  return {LITEGAP_STEP(kFullyConnected, make_fully_connected),
          LITEGAP_STEP(kBatchMatmul, make_batch_matmul)};
}

}  // namespace litegap
