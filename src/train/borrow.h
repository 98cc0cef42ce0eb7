// The kernels of the runtime, borrowed for what training shares with it: output shapes, where
// elements go, and values that have no gradient.
//
//   Borrowed b = borrow(graph.main(), 3, shapes, 1, 32);   // operator 3 at batch 32 instead of 1
//   b.outputs[0]                                           // its output shape
//
// Constants that say a shape are read with their leading batch replaced: the shape of RESHAPE,
// sizes of SLICE, ends of STRIDED_SLICE, shapes of BROADCAST_TO.
#pragma once
#include <memory>
#include <vector>

#include "kernels/kernel.h"
#include "model/model.h"
#include "train/step.h"

namespace litegap {

struct Borrowed {
  std::unique_ptr<Kernel> kernel;
  std::vector<Shape> outputs;
};

// `shapes` by tensor.  With `codes`, float32 operands are declared int32 and have no constant value
// (the kernel then moves any 32-bit values).
Borrowed borrow(const Graph& graph, int op, const std::vector<Shape>& shapes, int file_batch,
                int batch, bool codes = false);

// The same for a node, whose shapes say the batch size.
template <class T>
Borrowed borrow(const Node<T>& n, bool codes) {
  std::vector<Shape> shapes;
  for (const Tensor& t : n.model->main().tensors) shapes.push_back(t.shape);
  int file_batch = 1, batch = 1;
  for (std::size_t i = 0; i < n.in.size(); ++i) {
    if (!n.in[i].present) continue;
    const auto t = static_cast<std::size_t>(n.op->inputs[i]);
    if (!shapes[t].empty() && shapes[t][0] != n.in[i].shape[0]) {
      file_batch = shapes[t][0];
      batch = n.in[i].shape[0];
    }
    shapes[t] = n.in[i].shape;
  }
  return borrow(n.model->main(), n.index, shapes, file_batch, batch, codes);
}

}  // namespace litegap
