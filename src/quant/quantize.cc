#include "quant/quantize.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "quant/params.h"
#include "quant/scales.h"

namespace litegap {
namespace {

// Operators with int8 arithmetic in the runtime; others run in float between conversions.
bool has_int8_form(OpCode code) {
  switch (code) {
    case OpCode::kAbs:
    case OpCode::kAdd:
    case OpCode::kArgMax:
    case OpCode::kArgMin:
    case OpCode::kBatchMatmul:
    case OpCode::kDiv:
    case OpCode::kEqual:
    case OpCode::kExp:
    case OpCode::kGelu:
    case OpCode::kGreater:
    case OpCode::kGreaterEqual:
    case OpCode::kHardSwish:
    case OpCode::kL2Normalization:
    case OpCode::kLeakyRelu:
    case OpCode::kLess:
    case OpCode::kLessEqual:
    case OpCode::kLog:
    case OpCode::kLogistic:
    case OpCode::kLogSoftmax:
    case OpCode::kMean:
    case OpCode::kMul:
    case OpCode::kNotEqual:
    case OpCode::kPrelu:
    case OpCode::kRelu:
    case OpCode::kRelu6:
    case OpCode::kReluN1To1:
    case OpCode::kRsqrt:
    case OpCode::kShape:
    case OpCode::kSoftmax:
    case OpCode::kSqrt:
    case OpCode::kSquaredDifference:
    case OpCode::kSub:
    case OpCode::kTanh:
      return true;
    default:
      return weight_axis(code) >= 0 || same_scale(code);
  }
}

// Operators that hold a state or another graph: no rule of this file covers them.
bool is_refused(OpCode code) {
  switch (code) {
    case OpCode::kBidirectionalSequenceLstm:
    case OpCode::kCallOnce:
    case OpCode::kIf:
    case OpCode::kLstm:
    case OpCode::kRnn:
    case OpCode::kSvdf:
    case OpCode::kUnidirectionalSequenceLstm:
    case OpCode::kWhile:
      return true;
    default:
      return false;
  }
}

// The operator version from which the runtime accepts int8 data.
int int8_version(const Op& op, const Graph& graph) {
  const auto scale = [&](int t) {
    return graph.tensors[static_cast<std::size_t>(t)].quant.scale[0];
  };
  switch (op.code) {
    case OpCode::kMul:  // products that grow
      return scale(op.inputs[0]) * scale(op.inputs[1]) / scale(op.outputs[0]) < 1.0f ? 2 : 3;
    case OpCode::kFullyConnected:
      return 4;
    case OpCode::kConv2d:
    case OpCode::kDepthwiseConv2d:
    case OpCode::kTransposeConv:
      return 3;
    case OpCode::kDiv:
    case OpCode::kHardSwish:
    case OpCode::kLeakyRelu:
    case OpCode::kPrelu:
    case OpCode::kReshape:
    case OpCode::kShape:
      return 1;
    case OpCode::kTile:
      return 3;
    default:
      return 2;
  }
}

Op conversion(OpCode code, int version, int from, int to) {
  Op op;
  op.code = code;
  op.version = version;
  op.inputs = {from};
  op.outputs = {to};
  return op;
}

class StaticQuantizer {
 public:
  StaticQuantizer(const Model& source, const Ranges& ranges, const StaticOptions& options)
      : source_(source), options_(options) {
    refuse();
    scales_ = choose_scales(source, ranges);
    result_.model = source;
  }

  StaticResult make() {
    for (std::size_t t = 0; t < source_.main().tensors.size(); ++t) {
      if (!original(t).constant && !scales_.tensor[t].empty()) {
        set(static_cast<int>(t), scales_.tensor[t]);
      }
    }
    for (const int t : source_.main().inputs) {
      add_rescales(t);
      add_output_border(t);
    }
    for (std::size_t k = 0; k < source_.main().ops.size(); ++k) {
      add(static_cast<int>(k));
      for (const int t : source_.main().ops[k].outputs) {
        add_rescales(t);
        add_output_border(t);
      }
    }
    graph().ops = std::move(ops_);
    finish_borders();
    result_.model.description = "quantized by litegap: static int8";
    return std::move(result_);
  }

 private:
  Graph& graph() { return result_.model.main(); }
  Tensor& at(int t) { return graph().tensors[static_cast<std::size_t>(t)]; }
  const Tensor& original(std::size_t t) const { return source_.main().tensors[t]; }

  void refuse() const {
    if (source_.graphs.size() > 1) {
      fail("{}: has {} graphs (control flow), which static quantization does not cover",
           source_.path, source_.graphs.size());
    }
    for (std::size_t k = 0; k < source_.main().ops.size(); ++k) {
      const Op& op = source_.main().ops[k];
      if (is_refused(op.code)) {
        fail("{}: operator {} has no int8 form in this version", source_.path,
             op_label(source_.main(), k));
      }
      for (const int t : op.inputs) {
        if (t >= 0 && !original(static_cast<std::size_t>(t)).quant.empty()) {
          fail("{}: is quantized already (tensor {}, {}); expected a float model", source_.path, t,
               original(static_cast<std::size_t>(t)).name);
        }
      }
    }
  }

  static bool same(const Quant& a, const Quant& b) {
    return a.scale == b.scale && a.zero_point == b.zero_point;
  }
  void set(int t, const Quant& q, DType dtype = DType::kInt8) {
    at(t).dtype = dtype;
    at(t).quant = q;
  }
  int copy_of(int t, const std::string& suffix) {
    Tensor copy = at(t);
    copy.name += suffix;
    graph().tensors.push_back(std::move(copy));
    return static_cast<int>(graph().tensors.size()) - 1;
  }

  // A constant stored as codes of `q`.  One that several operators read with different scales gets
  // a copy for each scale.
  int constant(int t, const Array& codes, const Quant& q) {
    auto& made = constants_[t];
    for (const int m : made) {
      if (same(at(m).quant, q) && at(m).dtype == codes.dtype()) return m;
    }
    const int to = made.empty() ? t : copy_of(t, fmt::format("_{}", made.size()));
    at(to).constant = codes;
    set(to, q, codes.dtype());
    made.push_back(to);
    return to;
  }

  // An operand that is constant counts as an activation: its own range (or the scale that it has to
  // follow), all codes.
  int constant_value(int t, Quant q) {
    const Array& real = *original(static_cast<std::size_t>(t)).constant;
    if (q.empty()) {
      float low = 0, high = 0;
      for (const float v : real.span<float>()) {
        low = std::min(low, v);
        high = std::max(high, v);
      }
      q = activation_quant(low, high, DType::kInt8);
    }
    return constant(t, quantize_activation(real, q, DType::kInt8), q);
  }

  // A weight without channels (slopes of PRELU, a constant right side of BATCH_MATMUL).
  int constant_weight(int t) {
    const Array& real = *original(static_cast<std::size_t>(t)).constant;
    const Quant q = weight_quant(real, -1);
    return constant(t, quantize_weights(real, q), q);
  }

  int rescaled(int t, const Quant& q) {
    for (const int m : rescaled_[t]) {
      if (same(at(m).quant, q)) return m;
    }
    const int to = copy_of(t, "_requantized");
    set(to, q);
    ops_.push_back(conversion(OpCode::kQuantize, 1, t, to));
    rescaled_[t].push_back(to);
    ++result_.rescales;
    return to;
  }

  // Right behind the producer, as the converter places them.
  void add_rescales(int t) {
    for (const auto& [place, q] : scales_.input) {
      const Op& reader = source_.main().ops[static_cast<std::size_t>(place.first)];
      if (reader.inputs[place.second] == t && at(t).dtype == DType::kInt8) rescaled(t, q);
    }
  }

  bool is_float(int t) const {
    return t >= 0 && static_cast<std::size_t>(t) < source_.main().tensors.size() &&
           original(static_cast<std::size_t>(t)).dtype == DType::kFloat32;
  }

  void add(int k) {
    const Op& source = source_.main().ops[static_cast<std::size_t>(k)];
    Op op = source;
    const bool real =
        std::any_of(op.inputs.begin(), op.inputs.end(), [&](int t) { return is_float(t); }) ||
        std::any_of(op.outputs.begin(), op.outputs.end(), [&](int t) { return is_float(t); });
    if (!real) {
      ops_.push_back(std::move(op));
    } else if (!has_int8_form(op.code)) {
      add_in_float(k, std::move(op));
    } else {
      add_in_int8(k, std::move(op));
    }
  }

  void add_in_int8(int k, Op op) {
    for (std::size_t i = 0; i < op.inputs.size(); ++i) {
      int& t = op.inputs[i];
      if (!is_float(t)) continue;
      if (is_value_input(op, i)) {
        t = value_input(k, op, i);
      } else if (op.code == OpCode::kPrelu && original(static_cast<std::size_t>(t)).constant) {
        t = constant_weight(t);
      }
    }
    if (weight_axis(op.code) >= 0) quantize_layer(op);
    op.version = std::max(op.version, int8_version(op, graph()));
    const std::vector<int> outputs = op.outputs;
    std::vector<Op> after;
    for (std::size_t j = 0; j < outputs.size(); ++j) {
      const auto own = scales_.output.find({k, j});
      if (own == scales_.output.end()) continue;
      op.outputs[j] = copy_of(outputs[j], "_own");
      set(op.outputs[j], own->second);
      after.push_back(conversion(OpCode::kQuantize, 1, op.outputs[j], outputs[j]));
      ++result_.rescales;
    }
    ops_.push_back(std::move(op));
    for (Op& o : after) ops_.push_back(std::move(o));
  }

  int value_input(int k, const Op& op, std::size_t i) {
    const int t = op.inputs[i];
    const auto wanted = scales_.input.find({k, i});
    if (original(static_cast<std::size_t>(t)).constant) {
      if (op.code == OpCode::kBatchMatmul) return constant_weight(t);
      Quant q = wanted != scales_.input.end() ? wanted->second : Quant{};
      if (q.empty() && same_scale(op.code)) q = scales_.tensor[static_cast<std::size_t>(t)];
      return constant_value(t, q);
    }
    return wanted == scales_.input.end() ? t : rescaled(t, wanted->second);
  }

  void quantize_layer(Op& op) {
    const int x = op.input(static_cast<std::size_t>(data_input(op.code)));
    const int w = op.input(static_cast<std::size_t>(weight_input(op.code)));
    const auto bias_at = static_cast<std::size_t>(bias_input(op.code));
    const int b = op.input(bias_at);
    if (!is_float(w) || !original(static_cast<std::size_t>(w)).constant ||
        (b >= 0 && !original(static_cast<std::size_t>(b)).constant)) {
      fail("{}: {} computes its weights at run time, which has no int8 form in this version",
           source_.path, op.name());
    }
    const Array& real = *original(static_cast<std::size_t>(w)).constant;
    Quant q = weight_quant(
        real, options_.granularity == Granularity::kPerChannel ? weight_axis(op.code) : -1);
    const Array* bias = b >= 0 ? &*original(static_cast<std::size_t>(b)).constant : nullptr;
    Quant q_bias = bias_quant(at(x).quant, q);
    if (bias != nullptr) make_room_for_bias(*bias, at(x).quant, q, q_bias);
    op.inputs[static_cast<std::size_t>(weight_input(op.code))] =
        constant(w, quantize_weights(real, q), q);
    if (bias != nullptr) {
      op.inputs[bias_at] = constant(b, quantize_bias(*bias, q_bias, DType::kInt32), q_bias);
    } else if (op.code == OpCode::kConv2d || op.code == OpCode::kDepthwiseConv2d) {
      add_zero_bias(op, w, q_bias);
    }
  }

  // The runtime wants a bias in every quantized convolution.
  void add_zero_bias(Op& op, int w, const Quant& q) {
    const Shape& shape = at(w).shape;
    Tensor bias;
    bias.name = at(w).name + "_bias";
    bias.dtype = DType::kInt32;
    bias.shape = {shape[static_cast<std::size_t>(weight_axis(op.code))]};
    bias.quant = q;
    bias.constant = Array::zeros(DType::kInt32, bias.shape);
    graph().tensors.push_back(std::move(bias));
    op.inputs.resize(3, -1);
    op.inputs[2] = static_cast<int>(graph().tensors.size()) - 1;
  }

  void add_in_float(int k, Op op) {
    result_.in_float.push_back(op_label(source_.main(), static_cast<std::size_t>(k)));
    for (int& t : op.inputs) {
      if (!is_float(t) || at(t).dtype != DType::kInt8) continue;
      if (original(static_cast<std::size_t>(t)).constant) {
        t = float_twin(t, "_float");
        at(t).constant = original(static_cast<std::size_t>(source_of_twin_[t])).constant;
        continue;
      }
      auto [it, fresh] = dequantized_.try_emplace(t, -1);
      if (fresh) {
        it->second = float_twin(t, "_dequantized");
        ops_.push_back(conversion(OpCode::kDequantize, 2, t, it->second));
      }
      t = it->second;
    }
    const std::vector<int> outputs = op.outputs;
    for (int& t : op.outputs) {
      if (is_float(t)) t = float_twin(t, "_float");
    }
    const std::vector<int> made = op.outputs;
    ops_.push_back(std::move(op));
    for (std::size_t j = 0; j < outputs.size(); ++j) {
      if (made[j] != outputs[j])
        ops_.push_back(conversion(OpCode::kQuantize, 1, made[j], outputs[j]));
    }
  }

  int float_twin(int t, const std::string& suffix) {
    const int to = copy_of(t, suffix);
    at(to).dtype = DType::kFloat32;
    at(to).quant = {};
    source_of_twin_[to] = t;
    return to;
  }

  // Float or uint8 callers get conversions: outputs right behind their producers, as the converter
  // places them, inputs in front of everything.
  void add_output_border(int t) {
    const auto& outputs = graph().outputs;
    if (options_.io == InputOutput::kInteger || at(t).dtype != DType::kInt8 || outer_.contains(t) ||
        std::find(outputs.begin(), outputs.end(), t) == outputs.end()) {
      return;
    }
    outer_[t] = border(t);
    const bool real = options_.io == InputOutput::kFloat;
    ops_.push_back(
        conversion(real ? OpCode::kDequantize : OpCode::kQuantize, real ? 2 : 1, t, outer_[t]));
    if (real) dequantized_[t] = outer_[t];
  }

  void finish_borders() {
    if (options_.io == InputOutput::kInteger) return;
    for (int& t : graph().outputs) replace(t, outer_);
    for (Signature& s : result_.model.signatures) {
      for (auto& [name, t] : s.outputs) replace(t, outer_);
    }
    std::map<int, int> outer_input;
    std::vector<Op> first;
    for (int& t : graph().inputs) {
      if (at(t).dtype != DType::kInt8) continue;
      outer_input[t] = border(t);
      first.push_back(conversion(OpCode::kQuantize, 1, outer_input[t], t));
      t = outer_input[t];
    }
    graph().ops.insert(graph().ops.begin(), first.begin(), first.end());
    for (Signature& s : result_.model.signatures) {
      for (auto& [name, t] : s.inputs) replace(t, outer_input);
    }
  }

  static void replace(int& t, const std::map<int, int>& to) {
    if (const auto found = to.find(t); found != to.end()) t = found->second;
  }

  int border(int t) {
    const bool real = options_.io == InputOutput::kFloat;
    const int outer = copy_of(t, real ? "_float" : "_uint8");
    if (real) {
      at(outer).dtype = DType::kFloat32;
      at(outer).quant = {};
    } else {
      at(outer).dtype = DType::kUint8;
      at(outer).quant.zero_point[0] += 128;
    }
    return outer;
  }

  const Model& source_;
  StaticOptions options_;
  Scales scales_;
  StaticResult result_;
  std::vector<Op> ops_;
  std::map<int, std::vector<int>> constants_, rescaled_;
  std::map<int, int> dequantized_, source_of_twin_, outer_;
};

}  // namespace

StaticResult quantize_static(const Model& float_model, const Ranges& ranges,
                             const StaticOptions& options) {
  return StaticQuantizer(float_model, ranges, options).make();
}

}  // namespace litegap
