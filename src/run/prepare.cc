#include "run/prepare.h"

#include <cstring>

namespace litegap {

std::optional<std::pair<int, Quant>> bias_scale(const Graph& graph, const Op& op) {
  const bool transpose = op.code == OpCode::kTransposeConv;
  if (op.code != OpCode::kConv2d && op.code != OpCode::kDepthwiseConv2d &&
      op.code != OpCode::kFullyConnected && !transpose) {
    return std::nullopt;
  }
  const int x = op.input(transpose ? 2 : 0), w = op.input(1), b = op.input(transpose ? 3 : 2);
  if (x < 0 || w < 0 || b < 0) return std::nullopt;
  const auto tensor = [&](int t) -> const Tensor& {
    return graph.tensors[static_cast<std::size_t>(t)];
  };
  const Tensor& bias = tensor(b);
  if (!bias.constant || (bias.dtype != DType::kInt32 && bias.dtype != DType::kInt64)) {
    return std::nullopt;
  }
  const Quant &qx = tensor(x).quant, &qw = tensor(w).quant;
  if (qx.empty() || qw.empty()) return std::nullopt;
  Quant q;
  for (const float s : qw.scale) {
    q.scale.push_back(qx.scale[0] * s);
    q.zero_point.push_back(0);
  }
  if (q.per_channel() &&
      (bias.shape.size() != 1 || static_cast<std::size_t>(bias.shape[0]) != q.scale.size())) {
    return std::nullopt;
  }
  return std::pair{b, std::move(q)};
}

const Array* block_scales(const Graph& graph, const Quant& quant) {
  if (!quant.blockwise() || static_cast<std::size_t>(quant.block_scales) >= graph.tensors.size())
    return nullptr;
  const auto& scales = graph.tensors[static_cast<std::size_t>(quant.block_scales)].constant;
  return scales ? &*scales : nullptr;
}

std::vector<OpCode> body_of(const Model& model, const Op& op) {
  std::int32_t g = -1;
  if (const auto* a = std::get_if<StablehloScatterAttrs>(&op.attrs)) g = a->graph;
  if (const auto* a = std::get_if<StablehloReduceWindowAttrs>(&op.attrs)) g = a->graph;
  if (g < 0 || static_cast<std::size_t>(g) >= model.graphs.size()) return {};
  std::vector<OpCode> codes;
  for (const Op& o : model.graphs[static_cast<std::size_t>(g)].ops) codes.push_back(o.code);
  return codes;
}

bool xnn_takes_shapes(const Graph& graph, const Op& op) {
  std::size_t data = 0;
  switch (op.code) {
    case OpCode::kTransposeConv:
      data = 2;
      break;
    case OpCode::kConv2d:
    case OpCode::kDepthwiseConv2d:
    case OpCode::kResizeBilinear:
      break;
    default:
      return true;
  }
  const auto flat = [&](int t) {
    return t < 0 || graph.tensors[static_cast<std::size_t>(t)].shape.size() != 4;
  };
  return !flat(op.input(data)) && !op.outputs.empty() && !flat(op.outputs[0]);
}

Dialect dialect_by_shapes(const Graph& graph, const Op& op, Dialect dialect) {
  return dialect == Dialect::kXnnpack && !xnn_takes_shapes(graph, op) ? Dialect::kBuiltin : dialect;
}

std::string why_refused(const Op& op) {
  if (op.custom_code == "edgetpu-custom-op")
    return "compiled for the Edge TPU; give the .tflite that the compiler was given";
  if (op.custom_code == "ethos-u")
    return "compiled by Vela for Ethos-U; give the .tflite that Vela was given";
  switch (op.code) {
    case OpCode::kSkipGram:
    case OpCode::kHashtable:
    case OpCode::kHashtableFind:
    case OpCode::kHashtableImport:
    case OpCode::kHashtableSize:
      return fmt::format("operator {} works on strings, which are not supported", op.name());
    default:
      return fmt::format("operator {} is not supported yet", op.name());
  }
}

std::unique_ptr<Kernel> prepare_kernel(const KernelRow& row, OpSpec& spec) {
  const bool conversion =
      spec.op->code == OpCode::kQuantize || spec.op->code == OpCode::kDequantize;
  if (conversion && spec.inputs.size() == 1 && spec.outputs.size() == 1 && spec.inputs[0].present &&
      spec.inputs[0].dtype == DType::kFloat32 && spec.outputs[0].dtype == DType::kFloat32) {
    spec.outputs[0].shape = spec.inputs[0].shape;
    const std::size_t bytes = 4 * shape_elements(spec.inputs[0].shape);
    return make_kernel([bytes](const Io& io) { std::memcpy(io.outputs[0], io.inputs[0], bytes); });
  }
  return row.prepare(spec);
}

}  // namespace litegap
