#include "quant/rewrite.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "quant/params.h"

namespace litegap {
namespace {

Tensor& tensor(Model& m, int t) { return m.main().tensors[static_cast<std::size_t>(t)]; }
const Tensor& tensor(const Model& m, int t) { return m.main().tensors[static_cast<std::size_t>(t)]; }

bool is_activation(const Tensor& t) {
  return !t.constant && !t.is_variable && t.quant.scale.size() == 1 && (t.dtype == DType::kInt8 || t.dtype == DType::kUint8 || t.dtype == DType::kInt16);
}

bool equal_quant(const Quant& a, const Quant& b) { return a.scale == b.scale && a.zero_point == b.zero_point; }

// Union-find over tensors that must keep one scale because an operator moves codes between them.
class Groups {
 public:
  explicit Groups(const Model& model) : parent_(model.main().tensors.size()) {
    std::iota(parent_.begin(), parent_.end(), 0);
    for (const Op& op : model.main().ops) {
      if (!same_scale(op.code)) continue;
      int first = -1;
      for (const auto* list : {&op.inputs, &op.outputs}) {
        for (const int t : *list) {
          if (t < 0 || !is_activation(tensor(model, t))) continue;
          // A runtime that rescales (uint8 CONCATENATION) may have different scales here: keep them apart.
          if (first >= 0 && !equal_quant(tensor(model, first).quant, tensor(model, t).quant)) continue;
          if (first < 0) first = t;
          else parent_[static_cast<std::size_t>(find(t))] = find(first);
        }
      }
    }
  }
  int find(int t) const {
    while (parent_[static_cast<std::size_t>(t)] != t) t = parent_[static_cast<std::size_t>(t)];
    return t;
  }

 private:
  std::vector<int> parent_;
};

// Tensors whose scale an operator fixes, or whose group holds one.
std::set<int> fixed_groups(const Model& model, const Groups& groups) {
  std::set<int> fixed;
  for (const Op& op : model.main().ops) {
    Quant q;
    for (const int t : op.outputs) {
      if (t >= 0 && is_activation(tensor(model, t)) && fixed_output(op.code, tensor(model, t).dtype, &q)) fixed.insert(groups.find(t));
    }
    // LSTM states and intermediates follow rules of their own.
    if (op.code == OpCode::kUnidirectionalSequenceLstm) {
      for (const int t : op.outputs) fixed.insert(groups.find(t));
    }
  }
  return fixed;
}

// The codes of constants that take part in code-moving or elementwise operators keep their own scales;
// only those that must equal an activation's scale are rewritten.
void follow_constants(Model& model, const Model& before) {
  for (const Op& op : model.main().ops) {
    if (!same_scale(op.code) || op.outputs.empty()) continue;
    const Quant& now = tensor(model, op.outputs[0]).quant;
    for (const int t : op.inputs) {
      if (t < 0) continue;
      Tensor& c = tensor(model, t);
      if (!c.constant || c.quant.empty() || c.dtype == DType::kInt32 || !equal_quant(c.quant, tensor(before, op.outputs[0]).quant) || equal_quant(c.quant, now)) continue;
      c.constant = quantize(dequantize(*c.constant, c.quant), now, c.dtype);
      c.quant.scale = now.scale;
      c.quant.zero_point = now.zero_point;
    }
  }
}

struct WeightedOp {
  int x = -1, w = -1, b = -1;
};

std::vector<WeightedOp> weighted_ops(const Model& model) {
  std::vector<WeightedOp> ops;
  for (const Op& op : model.main().ops) {
    if (weight_axis(op.code) < 0) continue;
    WeightedOp o{op.input(static_cast<std::size_t>(data_input(op.code))), op.input(static_cast<std::size_t>(weight_input(op.code))), op.input(static_cast<std::size_t>(bias_input(op.code)))};
    if (o.x < 0 || o.w < 0 || tensor(model, o.x).quant.empty() || tensor(model, o.w).quant.empty()) continue;
    ops.push_back(o);
  }
  return ops;
}

bool integer_bias(const Model& model, const WeightedOp& o) {
  return o.b >= 0 && tensor(model, o.b).constant && (tensor(model, o.b).dtype == DType::kInt32 || tensor(model, o.b).dtype == DType::kInt64);
}

// Biases keep their real values under changed input and weight scales.
void follow_biases(Model& model, const Model& before, const std::map<int, Array>* given = nullptr) {
  std::set<int> done;
  for (const WeightedOp& o : weighted_ops(model)) {
    if (!integer_bias(model, o) || !done.insert(o.b).second) continue;
    Tensor& bias = tensor(model, o.b);
    const Quant was = bias_quant(tensor(before, o.x).quant, tensor(before, o.w).quant);
    const Quant now = bias_quant(tensor(model, o.x).quant, tensor(model, o.w).quant);
    const auto replaced = given == nullptr ? std::map<int, Array>::const_iterator{} : given->find(o.b);
    const bool has_given = given != nullptr && replaced != given->end();
    if (!has_given && was.scale == now.scale) continue;
    Array codes = Array::zeros(bias.dtype, bias.shape);
    for (std::size_t c = 0; c < codes.elements(); ++c) {
      const double old_code = bias.dtype == DType::kInt64 ? static_cast<double>(bias.constant->span<std::int64_t>()[c]) : static_cast<double>(bias.constant->span<std::int32_t>()[c]);
      const double real = has_given ? static_cast<double>(replaced->second.span<float>()[c]) : old_code * static_cast<double>(was.scale[was.per_channel() ? c : 0]);
      const double code = std::round(real / static_cast<double>(now.scale[now.per_channel() ? c : 0]));
      if (bias.dtype == DType::kInt64) codes.mutable_span<std::int64_t>()[c] = static_cast<std::int64_t>(std::clamp(code, -9.2e18, 9.2e18));
      else codes.mutable_span<std::int32_t>()[c] = static_cast<std::int32_t>(std::clamp(code, -2147483647.0, 2147483647.0));
    }
    bias.constant = codes;
    bias.quant.scale = now.scale;
    bias.quant.zero_point = now.zero_point;
    bias.quant.axis = 0;
  }
}

void set_quant(Tensor& t, const Quant& q) {
  t.quant.scale = q.scale;
  t.quant.zero_point = q.zero_point;
  t.quant.min.clear();
  t.quant.max.clear();
}

}  // namespace

Model with_activation_quant(const Model& model, const std::map<int, Quant>& quant) {
  Model result = model;
  const Groups groups(model);
  const std::set<int> fixed = fixed_groups(model, groups);
  std::map<int, Quant> by_group;
  for (const auto& [t, q] : quant) {
    if (t < 0 || static_cast<std::size_t>(t) >= model.main().tensors.size()) fail("{}: no tensor {}", model.path, t);
    if (is_activation(tensor(model, t)) && !fixed.contains(groups.find(t))) by_group.try_emplace(groups.find(t), q);
  }
  for (std::size_t t = 0; t < result.main().tensors.size(); ++t) {
    Tensor& info = result.main().tensors[t];
    if (!is_activation(info)) continue;
    const auto found = by_group.find(groups.find(static_cast<int>(t)));
    if (found != by_group.end()) set_quant(info, found->second);
  }
  follow_constants(result, model);
  follow_biases(result, model);
  return result;
}

Model recalibrated(const Model& model, const Ranges& ranges) {
  if (ranges.min.size() != model.main().tensors.size()) fail("{}: ranges of {} tensors, the model has {}", model.path, ranges.min.size(), model.main().tensors.size());
  const Groups groups(model);
  struct Span { float min, max; };
  std::map<int, Span> by_group;
  for (std::size_t t = 0; t < ranges.min.size(); ++t) {
    if (!is_activation(model.main().tensors[t]) || !std::isfinite(ranges.min[t]) || !std::isfinite(ranges.max[t])) continue;
    auto [it, fresh] = by_group.try_emplace(groups.find(static_cast<int>(t)), Span{ranges.min[t], ranges.max[t]});
    if (!fresh) it->second = {std::min(it->second.min, ranges.min[t]), std::max(it->second.max, ranges.max[t])};
  }
  std::map<int, Quant> quant;
  for (std::size_t t = 0; t < ranges.min.size(); ++t) {
    if (!is_activation(model.main().tensors[t])) continue;
    const auto found = by_group.find(groups.find(static_cast<int>(t)));
    if (found != by_group.end()) quant[static_cast<int>(t)] = activation_quant(found->second.min, found->second.max, model.main().tensors[t].dtype);
  }
  return with_activation_quant(model, quant);
}

Model with_per_channel_weights(const Model& model, const std::map<int, Array>& weights) {
  Model result = model;
  for (Op& op : result.main().ops) {
    if (weight_axis(op.code) < 0) continue;
    const int t = op.input(static_cast<std::size_t>(weight_input(op.code)));
    const auto found = weights.find(t);
    if (found == weights.end()) continue;
    Tensor& w = tensor(result, t);
    const Array real = found->second.reshaped(w.shape);
    Quant q = weight_quant(real, weight_axis(op.code));
    const int b = op.input(static_cast<std::size_t>(bias_input(op.code)));
    const Tensor& x = tensor(result, op.input(static_cast<std::size_t>(data_input(op.code))));
    if (b >= 0 && !x.quant.empty() && tensor(result, b).constant && tensor(result, b).dtype == DType::kInt32) {
      const Tensor& bias = tensor(model, b);
      Quant scales = bias_quant(x.quant, q);
      make_room_for_bias(dequantize(*bias.constant, bias_quant(tensor(model, op.input(static_cast<std::size_t>(data_input(op.code)))).quant, tensor(model, t).quant)), x.quant, q, scales);
    }
    w.constant = quantize_weights(real, q);
    w.quant.scale = q.scale;
    w.quant.zero_point = q.zero_point;
    w.quant.axis = q.axis;
    // The versions from which the runtime accepts per-channel weights.
    if (op.code == OpCode::kFullyConnected) op.version = std::max(op.version, 12);
    if (op.code == OpCode::kConv2d || op.code == OpCode::kDepthwiseConv2d) op.version = std::max(op.version, 3);
    if (op.code == OpCode::kTransposeConv) op.version = std::max(op.version, 2);
  }
  follow_biases(result, model);
  return result;
}

Model with_biases(const Model& model, const std::map<int, Array>& biases) {
  Model result = model;
  follow_biases(result, model, &biases);
  return result;
}

}  // namespace litegap
