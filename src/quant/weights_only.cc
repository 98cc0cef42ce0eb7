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

bool chosen(const WeightOptions& o, std::size_t k) { return o.only.empty() || o.only.at(k); }
Granularity granularity_of(const WeightOptions& o, std::size_t k) {
  return o.granularities.empty() ? o.granularity : o.granularities.at(k);
}
int axis_for(const WeightOptions& o, std::size_t k, OpCode code) {
  // A hybrid depthwise kernel reads one scale a channel, whatever the file has.
  const bool per_channel =
      granularity_of(o, k) == Granularity::kPerChannel || code == OpCode::kDepthwiseConv2d;
  return per_channel ? weight_axis(code) : -1;
}
const CodedWeights* ready_for(const WeightOptions& o, std::size_t k) {
  const auto found = o.weights.find(static_cast<int>(k));
  return found == o.weights.end() ? nullptr : &found->second;
}
bool float_constant(const Graph& g, int t) {
  return t >= 0 && g.tensors[static_cast<std::size_t>(t)].constant &&
         g.tensors[static_cast<std::size_t>(t)].dtype == DType::kFloat32;
}

// int8 values from -7 to 7, two a byte, the first in the low half.
Array packed(const Array& codes) {
  Array four = Array::zeros(DType::kInt4, codes.shape());
  auto* out = reinterpret_cast<std::uint8_t*>(four.mutable_data());
  const auto v = codes.span<std::int8_t>();
  for (std::size_t i = 0; i < v.size(); ++i) {
    out[i / 2] = static_cast<std::uint8_t>(out[i / 2] | ((v[i] & 15) << (i % 2 == 0 ? 0 : 4)));
  }
  return four;
}

Op dequantize_op(int from, int to, int version) {
  Op op;
  op.code = OpCode::kDequantize;
  op.version = version;
  op.inputs = {from};
  op.outputs = {to};
  return op;
}

class DynamicRange {
 public:
  DynamicRange(const Model& source, const WeightOptions& options)
      : options_(options), least_(options.least_elements) {
    r_.model = source;
  }

  WeightResult make() {
    std::vector<Op>& ops = r_.model.main().ops;
    for (std::size_t k = 0; k < ops.size(); ++k) {
      if (!chosen(options_, k)) continue;
      if (ops[k].code == OpCode::kUnidirectionalSequenceLstm) {
        add_lstm(ops[k]);
      } else if (weight_axis(ops[k].code) >= 0) {
        add(k, ops[k]);
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
  void store(int t, int axis, const CodedWeights* ready = nullptr) {
    at(t).quant = ready != nullptr ? ready->quant : weight_quant(*at(t).constant, axis);
    at(t).constant =
        ready != nullptr ? ready->codes : quantize_weights(*at(t).constant, at(t).quant);
    at(t).dtype = DType::kInt8;
    done_[t] = axis;
    ++r_.quantized;
  }

  void add(std::size_t k, Op& op) {
    const int w = op.input(static_cast<std::size_t>(weight_input(op.code)));
    const auto before = done_.find(w);
    if (before != done_.end()) {
      if (before->second != axis_for(options_, k, op.code)) {
        fail("{}: {} reads weights that another operator cut along axis {}", r_.model.path,
             op.name(), before->second);
      }
    } else if (!is_float_constant(w)) {
      return;
    } else if (at(w).constant->elements() < least_) {
      keep(w);
      return;
    } else {
      store(w, axis_for(options_, k, op.code), ready_for(options_, k));
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

  const WeightOptions& options_;
  std::size_t least_;
  WeightResult r_;
  std::map<int, int> done_;  // weight tensor -> axis of its scales
  std::map<OpCode, int> version_;
};

}  // namespace

WeightResult quantize_dynamic_range(const Model& float_model, std::size_t least_elements) {
  WeightOptions options;
  options.least_elements = least_elements;
  return quantize_dynamic_range(float_model, options);
}

WeightResult quantize_dynamic_range(const Model& float_model, const WeightOptions& options) {
  return DynamicRange(float_model, options).make();
}

WeightResult quantize_weight_only(const Model& float_model, const WeightOptions& options) {
  WeightResult r;
  r.model = float_model;
  Graph& graph = r.model.main();
  std::map<int, int> expanded;  // weights -> their float32 twin behind a DEQUANTIZE
  std::vector<Op> ops;
  for (std::size_t k = 0; k < float_model.main().ops.size(); ++k) {
    Op op = float_model.main().ops[k];
    const int bits = options.op_bits.empty() ? options.bits : options.op_bits.at(k);
    const bool covered = chosen(options, k) && weight_axis(op.code) >= 0 &&
                         !(bits == 4 && op.code == OpCode::kDepthwiseConv2d);
    const auto at = static_cast<std::size_t>(std::max(0, weight_input(op.code)));
    const int w = covered ? op.input(at) : -1;
    if (covered && !expanded.contains(w) && float_constant(graph, w)) {
      Tensor twin = graph.tensors[static_cast<std::size_t>(w)];
      twin.constant.reset();
      twin.name += "_dequantized";
      Tensor& t = graph.tensors[static_cast<std::size_t>(w)];
      const CodedWeights* ready = ready_for(options, k);
      const int axis =
          granularity_of(options, k) == Granularity::kPerChannel ? weight_axis(op.code) : -1;
      t.quant = ready != nullptr ? ready->quant : weight_quant(*t.constant, axis, bits);
      const Array codes =
          ready != nullptr ? ready->codes : quantize_weights(*t.constant, t.quant, bits);
      t.dtype = bits == 4 ? DType::kInt4 : DType::kInt8;
      t.constant = bits == 4 ? packed(codes) : codes;
      ++r.quantized;
      expanded[w] = static_cast<int>(graph.tensors.size());
      graph.tensors.push_back(std::move(twin));
      // Per-channel scales and 4-bit codes came to DEQUANTIZE in these versions.
      ops.push_back(dequantize_op(w, expanded[w], bits == 4 ? 6 : 5));
    }
    if (covered && expanded.contains(w)) op.inputs[at] = expanded[w];
    ops.push_back(std::move(op));
  }
  // An operator that was not chosen but shares the weights reads the same twin.
  for (Op& op : ops) {
    if (op.code == OpCode::kDequantize) continue;
    for (int& t : op.inputs) {
      if (const auto found = expanded.find(t); found != expanded.end()) t = found->second;
    }
  }
  graph.ops = std::move(ops);
  r.model.description = "quantized by litegap: weight only";
  return r;
}

WeightResult quantize_float16(const Model& float_model, const std::vector<bool>& only) {
  WeightResult r;
  r.model = float_model;
  for (Graph& graph : r.model.graphs) {
    std::map<int, int> expanded;  // constant -> its float32 twin behind a DEQUANTIZE
    std::vector<Op> ops;
    const bool main = &graph == &r.model.graphs.front();
    for (std::size_t k = 0; k < graph.ops.size(); ++k) {
      Op op = graph.ops[k];
      const bool asked = only.empty() || (main && only.at(k));
      for (int& t : op.inputs) {
        if (!asked || t < 0 || expanded.contains(t)) continue;
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
        graph.tensors.push_back(std::move(twin));
        ops.push_back(dequantize_op(t, expanded[t], 3));
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
