#include "quant/quantize.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "quant/params.h"

namespace litegap {
namespace {

bool float_activation(const Tensor& t) { return !t.constant && t.dtype == DType::kFloat32; }

// Operators whose int8 form this quantizer writes.
bool has_int8_form(OpCode code) {
  switch (code) {
    case OpCode::kAdd: case OpCode::kSub: case OpCode::kMul: case OpCode::kMean: case OpCode::kRelu: case OpCode::kRelu6:
    case OpCode::kLeakyRelu: case OpCode::kHardSwish: case OpCode::kSoftmax: case OpCode::kLogistic: case OpCode::kTanh:
    case OpCode::kL2Normalization: case OpCode::kArgMax: case OpCode::kShape: return true;
    default: return weight_axis(code) >= 0 || same_scale(code);
  }
}

// Inputs that are values (not shapes, axes or paddings).
bool is_value_input(const Op& op, std::size_t i) {
  switch (op.code) {
    case OpCode::kConcatenation: case OpCode::kPack: case OpCode::kAdd: case OpCode::kSub: case OpCode::kMul: case OpCode::kMaximum: case OpCode::kMinimum: return true;
    case OpCode::kTransposeConv: return i == 2;
    case OpCode::kSplit: return i == 1;
    case OpCode::kPadV2: return i == 0 || i == 2;
    default: return i == 0;
  }
}

bool joins(OpCode code) { return code == OpCode::kConcatenation || code == OpCode::kPack || code == OpCode::kMaximum || code == OpCode::kMinimum; }

class StaticQuantizer {
 public:
  StaticQuantizer(const Model& source, const Ranges& ranges, const StaticOptions& options) : source_(source), ranges_(ranges), options_(options), model_(source) {
    if (ranges.min.size() != source.main().tensors.size()) fail("{}: ranges of {} tensors, the model has {}", source.path, ranges.min.size(), source.main().tensors.size());
  }

  Model make() {
    Graph& graph = model_.main();
    ops_.clear();
    for (const int t : graph.inputs) {
      if (float_activation(at(t))) set(t, own_range(t));
    }
    for (const Op& op : source_.main().ops) add(op);
    graph.ops = std::move(ops_);
    borders();
    model_.description = "quantized by litegap: static int8";
    return std::move(model_);
  }

 private:
  Tensor& at(int t) { return model_.main().tensors[static_cast<std::size_t>(t)]; }

  Quant own_range(int t) const {
    const auto i = static_cast<std::size_t>(t);
    if (!std::isfinite(ranges_.min[i])) fail("{}: calibration never saw tensor {} ({})", source_.path, t, source_.main().tensors[i].name);
    return activation_quant(ranges_.min[i], ranges_.max[i], DType::kInt8);
  }

  void set(int t, const Quant& q) {
    at(t).dtype = DType::kInt8;
    at(t).quant = q;
  }

  static bool equal(const Quant& a, const Quant& b) { return a.scale == b.scale && a.zero_point == b.zero_point; }

  int consumers(int t) const {
    int n = 0;
    for (const Op& op : source_.main().ops) n += static_cast<int>(std::count(op.inputs.begin(), op.inputs.end(), t));
    n += static_cast<int>(std::count(source_.main().outputs.begin(), source_.main().outputs.end(), t));
    return n;
  }

  // The operator that made `t` may be given another output scale.
  bool may_change(int t) const {
    for (const Op& op : source_.main().ops) {
      if (op.outputs.empty() || op.outputs[0] != t) continue;
      Quant q;
      return !same_scale(op.code) && !fixed_output(op.code, DType::kInt8, &q) && consumers(t) == 1;
    }
    return false;
  }

  // `t` with scale `q`: the tensor itself where its producer allows, else behind a QUANTIZE.
  int rescaled(int t, const Quant& q) {
    if (equal(at(t).quant, q)) return t;
    if (may_change(t)) {
      const Quant was = at(t).quant;
      set(t, q);
      return t;
    }
    Tensor copy = at(t);
    copy.name += "_requantized";
    copy.quant = q;
    model_.main().tensors.push_back(copy);
    Op op;
    op.code = OpCode::kQuantize;
    op.version = 2;
    op.inputs = {t};
    op.outputs = {static_cast<int>(model_.main().tensors.size()) - 1};
    ops_.push_back(op);
    return op.outputs[0];
  }

  void quantize_constant(int t, const Quant& q) {
    at(t).constant = quantize(*source_.main().tensors[static_cast<std::size_t>(t)].constant, q, DType::kInt8);
    set(t, q);
  }

  // A constant that is not a weight counts as an activation: its own range, all codes.
  void quantize_value(int t) {
    if (!at(t).constant || at(t).dtype != DType::kFloat32) return;
    const auto v = at(t).constant->span<float>();
    float low = 0, high = 0;
    for (const float x : v) {
      low = std::min(low, x);
      high = std::max(high, x);
    }
    quantize_constant(t, activation_quant(low, high, DType::kInt8));
  }

  void quantize_layer(Op& op) {
    const int x = op.input(static_cast<std::size_t>(data_input(op.code))), w = op.input(1), b = op.input(static_cast<std::size_t>(bias_input(op.code)));
    if (w < 0 || !at(w).constant) fail("{}: {} has weights that are not constant", source_.path, op.name());
    if (at(w).dtype == DType::kFloat32) {
      const Array real = *at(w).constant;
      Quant q = weight_quant(real, options_.granularity == Granularity::kPerChannel ? weight_axis(op.code) : -1);
      if (b >= 0 && at(b).constant && at(b).dtype == DType::kFloat32) make_room_for_bias(*at(b).constant, at(x).quant, q);
      at(w).constant = quantize_weights(real, q);
      at(w).dtype = DType::kInt8;
      at(w).quant = q;
    }
    if (b >= 0 && at(b).constant && at(b).dtype == DType::kFloat32) {
      const Quant q = bias_quant(at(x).quant, at(w).quant);
      at(b).constant = quantize_bias(*at(b).constant, q, DType::kInt32);
      at(b).dtype = DType::kInt32;
      at(b).quant = q;
    } else if (b < 0 && (op.code == OpCode::kConv2d || op.code == OpCode::kDepthwiseConv2d)) {
      add_zero_bias(op, x, w);
    }
    op.version = op.code == OpCode::kFullyConnected ? (at(w).quant.per_channel() ? 12 : 4) : op.code == OpCode::kTransposeConv ? 3 : 3;
  }

  // The runtime wants a bias in every quantized convolution.
  void add_zero_bias(Op& op, int x, int w) {
    const auto channels = at(w).shape[static_cast<std::size_t>(weight_axis(op.code))];
    Tensor bias;
    bias.name = at(w).name + "_bias";
    bias.dtype = DType::kInt32;
    bias.shape = {channels};
    bias.quant = bias_quant(at(x).quant, at(w).quant);
    bias.constant = Array::zeros(DType::kInt32, {channels});
    model_.main().tensors.push_back(bias);
    op.inputs.resize(3, -1);
    op.inputs[2] = static_cast<int>(model_.main().tensors.size()) - 1;
  }

  void add(const Op& source) {
    Op op = source;
    const bool touches_float = std::any_of(op.outputs.begin(), op.outputs.end(), [&](int t) { return float_activation(at(t)); }) ||
                               std::any_of(op.inputs.begin(), op.inputs.end(), [&](int t) { return t >= 0 && at(t).dtype == DType::kInt8; });
    if (!touches_float) {
      ops_.push_back(op);
      return;
    }
    if (!has_int8_form(op.code)) fail("{}: {} has no int8 form in this version", source_.path, op_label(source_.main(), static_cast<std::size_t>(&source - source_.main().ops.data())));
    for (std::size_t i = 0; i < op.inputs.size(); ++i) {
      if (op.inputs[i] >= 0 && is_value_input(op, i)) quantize_value(op.inputs[i]);
    }
    if (weight_axis(op.code) >= 0) quantize_layer(op);
    else op.version = std::max(op.version, 2);
    Quant fixed;
    for (const int t : op.outputs) {
      if (!float_activation(at(t))) continue;
      if (fixed_output(op.code, DType::kInt8, &fixed)) set(t, fixed);
      else if (same_scale(op.code) && !joins(op.code)) set(t, at(op.inputs[op.code == OpCode::kSplit ? 1 : 0]).quant);
      else set(t, own_range(t));
    }
    if (joins(op.code)) {
      const Quant q = at(op.outputs[0]).quant;
      for (int& t : op.inputs) {
        if (at(t).constant) quantize_constant(t, q);
        else t = rescaled(t, q);
      }
    }
    ops_.push_back(op);
  }

  int border_tensor(const Tensor& inside, const std::string& suffix) {
    Tensor t = inside;
    t.name += suffix;
    t.dtype = DType::kFloat32;
    t.quant = {};
    model_.main().tensors.push_back(t);
    return static_cast<int>(model_.main().tensors.size()) - 1;
  }

  void borders() {
    if (options_.io == InputOutput::kInteger) return;
    Graph& graph = model_.main();
    std::map<int, int> outer;
    for (int& t : graph.inputs) {
      if (at(t).dtype != DType::kInt8) continue;
      const int f = border_tensor(at(t), "_float");
      Op op;
      op.code = OpCode::kQuantize;
      op.inputs = {f};
      op.outputs = {t};
      graph.ops.insert(graph.ops.begin(), op);
      outer[t] = f;
      t = f;
    }
    for (int& t : graph.outputs) {
      if (at(t).dtype != DType::kInt8) continue;
      const int f = border_tensor(at(t), "_float");
      Op op;
      op.code = OpCode::kDequantize;
      op.version = 2;
      op.inputs = {t};
      op.outputs = {f};
      graph.ops.push_back(op);
      outer[t] = f;
      t = f;
    }
    for (Signature& s : model_.signatures) {
      for (auto* list : {&s.inputs, &s.outputs}) {
        for (auto& [name, t] : *list) {
          const auto found = outer.find(t);
          if (found != outer.end()) t = found->second;
        }
      }
    }
  }

  const Model& source_;
  const Ranges& ranges_;
  StaticOptions options_;
  Model model_;
  std::vector<Op> ops_;
};

}  // namespace

Model quantize_static(const Model& float_model, const Ranges& ranges, const StaticOptions& options) {
  return StaticQuantizer(float_model, ranges, options).make();
}

DynamicRangeResult quantize_dynamic_range(const Model& float_model, std::size_t least_elements) {
  DynamicRangeResult r;
  r.model = float_model;
  Graph& graph = r.model.main();
  std::set<int> done;
  for (Op& op : graph.ops) {
    if (weight_axis(op.code) < 0) continue;
    const int w = op.input(1);
    if (w < 0) continue;
    Tensor& t = graph.tensors[static_cast<std::size_t>(w)];
    if (done.contains(w)) {
    } else if (!t.constant || t.dtype != DType::kFloat32) {
      continue;
    } else if (t.constant->elements() < least_elements) {
      ++r.kept;
      continue;
    } else {
      t.quant = weight_quant(*t.constant, weight_axis(op.code));
      t.constant = quantize_weights(*t.constant, t.quant);
      t.dtype = DType::kInt8;
      done.insert(w);
      ++r.quantized;
    }
    op.version = op.code == OpCode::kFullyConnected ? 12 : op.code == OpCode::kConv2d ? 5 : op.code == OpCode::kDepthwiseConv2d ? 6 : 2;
    if (auto* fc = std::get_if<FullyConnectedAttrs>(&op.attrs)) fc->asymmetric_quantize_inputs = true;
  }
  r.model.description = "quantized by litegap: dynamic range";
  return r;
}

}  // namespace litegap
