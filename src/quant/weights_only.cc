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
    case OpCode::kFullyConnected:
      return 12;
    case OpCode::kConv2d:
      return 5;
    case OpCode::kDepthwiseConv2d:
      return 6;
    default:
      return 2;
  }
}

}  // namespace

namespace {

class DynamicRange {
 public:
  DynamicRange(const Model& source, std::size_t least) : least_(least) { r_.model = source; }

  WeightResult make() {
    for (Op& op : r_.model.main().ops) {
      if (op.code == OpCode::kUnidirectionalSequenceLstm) {
        add_lstm(op);
      } else if (weight_axis(op.code) >= 0) {
        add(op);
      }
    }
    // The file has one version an operator kind, as the converter writes it.
    for (Op& op : r_.model.main().ops) {
      if (const auto v = version_.find(op.code); v != version_.end()) {
        op.version = std::max(op.version, v->second);
      }
    }
    if (r_.quantized > 0) r_.model.description = "quantized by litegap: dynamic range";
    return std::move(r_);
  }

 private:
  Tensor& at(int t) { return r_.model.main().tensors[static_cast<std::size_t>(t)]; }
  bool is_float_constant(int t) {
    return t >= 0 && at(t).constant && at(t).dtype == DType::kFloat32;
  }
  void keep(int t) {
    ++r_.kept;
    r_.largest_kept = std::max(r_.largest_kept, at(t).constant->elements());
  }
  void store(int t, int axis) {
    at(t).quant = weight_quant(*at(t).constant, axis);
    at(t).constant = quantize_weights(*at(t).constant, at(t).quant);
    at(t).dtype = DType::kInt8;
    done_[t] = axis;
    ++r_.quantized;
  }

  void add(Op& op) {
    const int w = op.input(static_cast<std::size_t>(weight_input(op.code)));
    const auto before = done_.find(w);
    if (before != done_.end()) {
      if (before->second != weight_axis(op.code)) {
        fail("{}: {} reads weights that another operator cut along axis {}", r_.model.path,
             op.name(), before->second);
      }
    } else if (!is_float_constant(w)) {
      return;
    } else if (at(w).constant->elements() < least_) {
      keep(w);
      return;
    } else {
      store(w, weight_axis(op.code));
    }
    version_[op.code] = hybrid_version(op.code);
    if (auto* fc = std::get_if<FullyConnectedAttrs>(&op.attrs))
      fc->asymmetric_quantize_inputs = true;
  }

  // All eight matrices or none; per tensor.
  void add_lstm(Op& op) {
    std::vector<int> matrices;
    for (std::size_t i = 1; i <= 8; ++i) {
      if (op.input(i) >= 0) matrices.push_back(op.input(i));
    }
    const bool all = std::all_of(matrices.begin(), matrices.end(), [&](int t) {
      return done_.contains(t) || (is_float_constant(t) && at(t).constant->elements() >= least_);
    });
    for (const int t : matrices) {
      if (all && !done_.contains(t)) store(t, -1);
      if (!all && is_float_constant(t)) keep(t);
    }
    if (!all) return;
    version_[op.code] = 3;
    std::get<SequenceLstmAttrs>(op.attrs).asymmetric_quantize_inputs = true;
  }

  std::size_t least_;
  WeightResult r_;
  std::map<int, int> done_;  // weight tensor -> axis of its scales
  std::map<OpCode, int> version_;
};

}  // namespace

WeightResult quantize_dynamic_range(const Model& float_model, std::size_t least_elements) {
  return DynamicRange(float_model, least_elements).make();
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
