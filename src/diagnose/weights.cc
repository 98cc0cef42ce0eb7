#include "diagnose/weights.h"

namespace litegap {
namespace {

// Inputs that are weights, and the axis of their output channels.
struct Slots {
  int first = 0, last = -1, axis = -1;
};

Slots weight_slots(OpCode code) {
  switch (code) {
    case OpCode::kConv2d:
    case OpCode::kFullyConnected:
    case OpCode::kTransposeConv:
      return {1, 1, 0};
    case OpCode::kDepthwiseConv2d:
      return {1, 1, 3};
    case OpCode::kConv3d:
      return {1, 1, 4};
    case OpCode::kBatchMatmul:
      return {1, 1, -1};
    case OpCode::kEmbeddingLookup:
      return {1, 1, 0};
    case OpCode::kGather:
      return {0, 0, -1};
    case OpCode::kSvdf:
      return {1, 2, -1};
    case OpCode::kRnn:
      return {1, 2, -1};
    case OpCode::kLstm:
    case OpCode::kUnidirectionalSequenceLstm:
      return {1, 11, -1};
    case OpCode::kBidirectionalSequenceLstm:
      return {1, 34, -1};
    default:
      return {};
  }
}

}  // namespace

std::vector<int> producers(const Graph& graph) {
  std::vector<int> producer(graph.tensors.size(), -1);
  for (std::size_t o = 0; o < graph.ops.size(); ++o) {
    for (const int t : graph.ops[o].outputs) {
      if (t >= 0) producer[static_cast<std::size_t>(t)] = static_cast<int>(o);
    }
  }
  return producer;
}

std::vector<Weight> weights_of(const Graph& graph, const std::vector<int>& producer) {
  std::vector<Weight> out;
  for (std::size_t o = 0; o < graph.ops.size(); ++o) {
    const Op& op = graph.ops[o];
    const Slots slots = weight_slots(op.code);
    for (int i = slots.first; i <= slots.last; ++i) {
      const int t = op.input(static_cast<std::size_t>(i));
      if (t < 0) continue;
      const Tensor& tensor = graph.tensors[static_cast<std::size_t>(t)];
      if (tensor.constant || tensor.sparse) {
        if (tensor.shape.size() < 2) continue;
        out.push_back({static_cast<int>(o), i, t, -1, slots.axis});
        continue;
      }
      const int maker = producer[static_cast<std::size_t>(t)];
      if (maker < 0 || graph.ops[static_cast<std::size_t>(maker)].code != OpCode::kDequantize)
        continue;
      const int source = graph.ops[static_cast<std::size_t>(maker)].input(0);
      if (source < 0 || !graph.tensors[static_cast<std::size_t>(source)].constant) continue;
      if (graph.tensors[static_cast<std::size_t>(source)].shape.size() < 2) continue;
      out.push_back({static_cast<int>(o), i, source, maker, slots.axis});
    }
  }
  return out;
}

}  // namespace litegap
