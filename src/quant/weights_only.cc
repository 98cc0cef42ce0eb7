// Techniques that need no data: only constants change.
#include <algorithm>
#include <map>

#include "quant/params.h"
#include "quant/quantize.h"

namespace litegap {
namespace {

// The operator version from which the runtime accepts float data with int8 weights per channel.
int hybrid_version(OpCode code) {
  switch (code) {
    case OpCode::kFullyConnected: return 12;
    case OpCode::kConv2d: return 5;
    case OpCode::kDepthwiseConv2d: return 6;
    default: return 2;
  }
}

}  // namespace

WeightResult quantize_dynamic_range(const Model& float_model, std::size_t least_elements) {
  WeightResult r;
  r.model = float_model;
  Graph& graph = r.model.main();
  std::map<int, OpCode> done;  // weight tensor -> operator whose axis it was cut along
  for (Op& op : graph.ops) {
    const int w = weight_axis(op.code) < 0 ? -1 : op.input(static_cast<std::size_t>(weight_input(op.code)));
    if (w < 0) continue;
    Tensor& t = graph.tensors[static_cast<std::size_t>(w)];
    const auto before = done.find(w);
    if (before == done.end()) {
      if (!t.constant || t.dtype != DType::kFloat32) continue;
      if (t.constant->elements() < least_elements) {
        ++r.kept;
        r.largest_kept = std::max(r.largest_kept, t.constant->elements());
        continue;
      }
      t.quant = weight_quant(*t.constant, weight_axis(op.code));
      t.constant = quantize_weights(*t.constant, t.quant);
      t.dtype = DType::kInt8;
      done[w] = op.code;
      ++r.quantized;
    } else if (weight_axis(before->second) != weight_axis(op.code)) {
      fail("{}: {} and {} share weights along different axes", float_model.path,
           op_name(before->second), op.name());
    }
    op.version = std::max(op.version, hybrid_version(op.code));
    if (auto* fc = std::get_if<FullyConnectedAttrs>(&op.attrs)) fc->asymmetric_quantize_inputs = true;
  }
  if (r.quantized > 0) r.model.description = "quantized by litegap: dynamic range";
  return r;
}

WeightResult quantize_float16(const Model& float_model) {
  WeightResult r;
  r.model = float_model;
  for (Graph& graph : r.model.graphs) {
    std::map<int, int> expanded;  // constant -> its float32 twin behind a DEQUANTIZE
    std::vector<Op> ops;
    for (Op op : graph.ops) {
      for (int& t : op.inputs) {
        if (t < 0 || expanded.contains(t)) continue;
        Tensor& half = graph.tensors[static_cast<std::size_t>(t)];
        if (!half.constant || half.dtype != DType::kFloat32) continue;
        Tensor twin = half;
        twin.constant.reset();
        twin.name += "_dequantized";
        Array codes = Array::zeros(DType::kFloat16, half.constant->shape());
        auto* out = reinterpret_cast<std::uint16_t*>(codes.mutable_data());
        for (const float v : half.constant->span<float>()) {
          *out++ = half_from_float(std::clamp(v, -65504.0f, 65504.0f));
        }
        half.constant = std::move(codes);
        half.dtype = DType::kFloat16;
        ++r.quantized;
        expanded[t] = static_cast<int>(graph.tensors.size());
        Op widen;
        widen.code = OpCode::kDequantize;
        widen.version = 3;
        widen.inputs = {t};
        widen.outputs = {expanded[t]};
        graph.tensors.push_back(std::move(twin));
        ops.push_back(std::move(widen));
      }
      for (int& t : op.inputs) {
        if (const auto found = expanded.find(t); found != expanded.end()) t = found->second;
      }
      ops.push_back(std::move(op));
    }
    graph.ops = std::move(ops);
  }
  r.model.description = "quantized by litegap: float16 weights";
  return r;
}

}  // namespace litegap
