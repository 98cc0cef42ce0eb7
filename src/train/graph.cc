#include "train/graph.h"

#include <algorithm>
#include <set>

#include "train/tape.h"

namespace litegap {
namespace {

void check_operators(const Model& model) {
  if (model.graphs.empty()) fail("{}: holds no graph", model.path);
  const Graph& g = model.main();
  for (std::size_t i = 0; i < g.ops.size(); ++i) {
    if (step_row(g.ops[i].code) == nullptr)
      fail("{}: {} cannot be trained through", model.path, op_label(g, i));
  }
  for (const Tensor& t : g.tensors) {
    if (!t.quant.empty())
      fail("{}: tensor {} is quantized; only float models can be trained", model.path, t.name);
  }
}

int batch_of(const Model& model) {
  const Graph& g = model.main();
  if (g.inputs.empty()) fail("{}: has no input", model.path);
  int batch = 0;
  for (const int t : g.inputs) {
    const Tensor& tensor = g.tensors[static_cast<std::size_t>(t)];
    if (tensor.shape.empty())
      fail("{}: input {} has no axis for the batch", model.path, tensor.name);
    if (batch != 0 && tensor.shape[0] != batch)
      fail("{}: input {} has first axis {}, expected {} as the others", model.path, tensor.name,
           tensor.shape[0], batch);
    batch = tensor.shape[0];
  }
  return batch;
}

// Float operands that are no weights: what a padding or a clipping needs.
bool is_setting(OpCode code, std::size_t input) { return code == OpCode::kPadV2 && input == 2; }

}  // namespace

TrainGraph train_graph(const Lowered& lowered) {
  check_operators(lowered.model);
  TrainGraph g;
  g.model = lowered.model;
  g.batch = batch_of(lowered.model);
  for (const Parameter& p : lowered.parameters)
    g.parameters.push_back({p.tensor, p.trainable, p.l1, p.l2});
  return g;
}

TrainGraph train_graph(const Model& float_model) {
  check_operators(float_model);
  TrainGraph g;
  g.model = float_model;
  g.batch = batch_of(float_model);
  const Graph& m = float_model.main();
  std::set<int> seen;
  for (const Op& op : m.ops) {
    for (std::size_t i = 0; i < op.inputs.size(); ++i) {
      const int t = op.inputs[i];
      if (t < 0 || is_setting(op.code, i)) continue;
      const Tensor& tensor = m.tensors[static_cast<std::size_t>(t)];
      // A single number is a constant of the formula (an epsilon, a divisor), not a weight, unless
      // it is a layer's.
      const bool layer = op.code == OpCode::kFullyConnected || op.code == OpCode::kConv2d ||
                         op.code == OpCode::kDepthwiseConv2d || op.code == OpCode::kTransposeConv;
      if (!tensor.constant || tensor.dtype != DType::kFloat32 ||
          (tensor.constant->shape().empty() && !layer) ||
          (tensor.constant->elements() == 1 && !layer)) {
        continue;
      }
      if (seen.insert(t).second) g.parameters.push_back({t});
    }
  }
  if (g.parameters.empty()) fail("{}: no weights to train", float_model.path);
  return g;
}

Model with_parameters(const TrainGraph& graph, const std::vector<Array>& values) {
  Model m = graph.model;
  for (std::size_t i = 0; i < graph.parameters.size(); ++i)
    m.main().tensors[static_cast<std::size_t>(graph.parameters[i].tensor)].constant = values[i];
  return m;
}

}  // namespace litegap
