#include "quant/rewrite.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "quant/layers.h"
#include "quant/params.h"

namespace litegap {
namespace {

Tensor& tensor(Model& m, int t) { return m.main().tensors[static_cast<std::size_t>(t)]; }
const Tensor& tensor(const Model& m, int t) {
  return m.main().tensors[static_cast<std::size_t>(t)];
}

bool is_activation(const Tensor& t) {
  return !t.constant && !t.is_variable && t.quant.scale.size() == 1 &&
         (t.dtype == DType::kInt8 || t.dtype == DType::kUint8 || t.dtype == DType::kInt16);
}

bool equal_quant(const Quant& a, const Quant& b) {
  return a.scale == b.scale && a.zero_point == b.zero_point;
}

// Kernels that copy codes from input to output: beyond the converter's list, what other tools
// write.
bool moves_codes(OpCode code) {
  switch (code) {
    case OpCode::kReverseV2:
    case OpCode::kScatterNd:
    case OpCode::kTopkV2:
    case OpCode::kAddN:
      return true;
    default:
      return same_scale(code);
  }
}

// Operators that see the scales of their tensors from elsewhere too (another graph, a state), or
// derive more from them than this file rewrites.
bool pins_scales(OpCode code) {
  switch (code) {
    case OpCode::kAssignVariable:
    case OpCode::kBidirectionalSequenceLstm:
    case OpCode::kCallOnce:
    case OpCode::kCustom:
    case OpCode::kIf:
    case OpCode::kLstm:
    case OpCode::kReadVariable:
    case OpCode::kRnn:
    case OpCode::kSvdf:
    case OpCode::kUnidirectionalSequenceLstm:
    case OpCode::kWhile:
      return true;
    default:
      return false;
  }
}

// Union-find over tensors that must keep one scale because an operator moves codes between them.
class Groups {
 public:
  explicit Groups(const Model& model) : parent_(model.main().tensors.size()) {
    std::iota(parent_.begin(), parent_.end(), 0);
    for (const Op& op : model.main().ops) {
      if (moves_codes(op.code)) join(model, op);
    }
  }
  int find(int t) const {
    while (parent_[static_cast<std::size_t>(t)] != t) t = parent_[static_cast<std::size_t>(t)];
    return t;
  }

 private:
  // Kernels that can rescale (CONCATENATION of old uint8 files) may have different scales: these
  // stay apart, but each set of equal ones stays together.
  void join(const Model& model, const Op& op) {
    std::vector<int> firsts;
    for (const auto* list : {&op.outputs, &op.inputs}) {
      for (const int t : *list) {
        if (t < 0 || !is_activation(tensor(model, t))) continue;
        const auto twin = std::find_if(firsts.begin(), firsts.end(), [&](int f) {
          return equal_quant(tensor(model, f).quant, tensor(model, t).quant);
        });
        if (twin == firsts.end()) {
          firsts.push_back(t);
        } else {
          parent_[static_cast<std::size_t>(find(t))] = find(*twin);
        }
      }
    }
  }
  std::vector<int> parent_;
};

// Groups with a tensor whose scale is not ours to choose.
std::set<int> fixed_groups(const Model& model, const Groups& groups) {
  std::set<int> fixed;
  for (const Op& op : model.main().ops) {
    Quant q;
    for (const int t : op.outputs) {
      if (t >= 0 && (pins_scales(op.code) || fixed_output(op.code, tensor(model, t).dtype, &q))) {
        fixed.insert(groups.find(t));
      }
    }
    for (const int t : op.inputs) {
      if (t >= 0 && pins_scales(op.code)) fixed.insert(groups.find(t));
    }
  }
  return fixed;
}

// A constant that code-moving operators mix with activations (MAXIMUM, CONCATENATION, a padding
// value) has their scale and is coded anew; constants of other operators keep their own.
void follow_constants(Model& model, const Model& before) {
  for (const Op& op : model.main().ops) {
    if (!moves_codes(op.code) || op.outputs.empty()) continue;
    const Quant& was = tensor(before, op.outputs[0]).quant;
    const Quant now = tensor(model, op.outputs[0]).quant;
    for (const int t : op.inputs) {
      if (t < 0) continue;
      Tensor& c = tensor(model, t);
      if (!c.constant || c.quant.empty() || c.dtype == DType::kInt32) continue;
      if (!equal_quant(c.quant, was) || equal_quant(c.quant, now)) continue;
      c.constant = quantize_activation(dequantize(*c.constant, c.quant), now, c.dtype);
      c.quant.scale = now.scale;
      c.quant.zero_point = now.zero_point;
    }
  }
}

// Biases keep their real values under changed input and weight scales.
void follow_biases(Model& model, const Model& before, const std::map<int, Array>& given = {}) {
  std::set<int> done;
  for (const WeightedLayer& layer : weighted_layers(model)) {
    if (!has_integer_bias(model, layer) || !has_integer_bias(before, layer)) continue;
    if (!done.insert(layer.b).second) continue;
    const auto replaced = given.find(layer.b);
    const bool changed =
        tensor(before, layer.x).quant.scale != tensor(model, layer.x).quant.scale ||
        tensor(before, layer.w).quant.scale != tensor(model, layer.w).quant.scale;
    if (replaced != given.end()) {
      const auto v = replaced->second.span<float>();
      if (v.size() != tensor(model, layer.b).constant->elements()) {
        fail("{}: {} values for the bias {}", model.path, v.size(), tensor(model, layer.b).name);
      }
      set_bias(model, layer, {v.begin(), v.end()});
    } else if (changed) {
      set_bias(model, layer, real_bias(before, layer));
    }
  }
}

void set_scales(Tensor& t, const Quant& q) {
  t.quant.scale = q.scale;
  t.quant.zero_point = q.zero_point;
  t.quant.min.clear();
  t.quant.max.clear();
}

// The versions from which the runtime accepts int8 weights with a scale a channel.
int per_channel_version(OpCode code, bool float_data) {
  switch (code) {
    case OpCode::kFullyConnected:
      return float_data ? 12 : 4;
    case OpCode::kConv2d:
      return float_data ? 5 : 3;
    case OpCode::kDepthwiseConv2d:
      return float_data ? 6 : 3;
    default:
      return 2;
  }
}

enum class Channels { kAll, kAsStored };

Model requantized(const Model& model, const std::map<int, Array>& weights, Channels channels) {
  Model result = model;
  std::map<int, Quant> done;  // shared weights keep the room that any of their biases needs
  for (const WeightedLayer& layer : weighted_layers(model)) {
    const auto found = weights.find(layer.w);
    Tensor& w = tensor(result, layer.w);
    if (found == weights.end() || w.dtype != DType::kInt8 || !w.constant) continue;
    Op& op = result.main().ops[static_cast<std::size_t>(layer.op)];
    const bool split = channels == Channels::kAll ||
                       model.main().tensors[static_cast<std::size_t>(layer.w)].quant.per_channel();
    const Array real = found->second.reshaped(w.shape);
    auto [it, fresh] = done.try_emplace(layer.w);
    if (fresh) it->second = weight_quant(real, split ? weight_axis(op.code) : -1);
    Quant& q = it->second;
    if (has_integer_bias(model, layer) && tensor(model, layer.b).dtype == DType::kInt32) {
      Quant scales = bias_quant(tensor(model, layer.x).quant, q);
      const std::vector<double> bias = real_bias(model, layer);
      make_room_for_bias(
          Array::of<float>({static_cast<std::int32_t>(bias.size())}, {bias.begin(), bias.end()}),
          tensor(model, layer.x).quant, q, scales);
    }
    w.constant = quantize_weights(real, q);
    set_scales(w, q);
    w.quant.axis = q.axis;
    if (split) {
      const bool float_data = tensor(model, layer.x).dtype == DType::kFloat32;
      op.version = std::max(op.version, per_channel_version(op.code, float_data));
    }
  }
  follow_biases(result, model);
  return result;
}

}  // namespace

Model with_activation_quant(const Model& model, const std::map<int, Quant>& quant) {
  Model result = model;
  const Groups groups(model);
  const std::set<int> fixed = fixed_groups(model, groups);
  std::map<int, Quant> by_group;
  for (const auto& [t, q] : quant) {
    if (t < 0 || static_cast<std::size_t>(t) >= model.main().tensors.size()) {
      fail("{}: no tensor {}", model.path, t);
    }
    if (is_activation(tensor(model, t)) && !fixed.contains(groups.find(t))) {
      by_group.try_emplace(groups.find(t), q);
    }
  }
  for (std::size_t t = 0; t < result.main().tensors.size(); ++t) {
    Tensor& info = result.main().tensors[t];
    if (!is_activation(info)) continue;
    const auto found = by_group.find(groups.find(static_cast<int>(t)));
    if (found != by_group.end()) set_scales(info, found->second);
  }
  follow_constants(result, model);
  follow_biases(result, model);
  return result;
}

Model recalibrated(const Model& model, const Ranges& ranges) {
  if (ranges.min.size() != model.main().tensors.size()) {
    fail("{}: ranges of {} tensors, the model has {}", model.path, ranges.min.size(),
         model.main().tensors.size());
  }
  const Groups groups(model);
  struct Span {
    float min, max;
  };
  std::map<int, Span> by_group;
  for (std::size_t t = 0; t < ranges.min.size(); ++t) {
    const float low = ranges.min[t], high = ranges.max[t];
    if (!is_activation(model.main().tensors[t])) continue;
    if (!std::isfinite(low) || !std::isfinite(high)) continue;
    auto [it, fresh] = by_group.try_emplace(groups.find(static_cast<int>(t)), Span{low, high});
    if (!fresh) it->second = {std::min(it->second.min, low), std::max(it->second.max, high)};
  }
  std::map<int, Quant> quant;
  for (std::size_t t = 0; t < ranges.min.size(); ++t) {
    if (!is_activation(model.main().tensors[t])) continue;
    const auto found = by_group.find(groups.find(static_cast<int>(t)));
    if (found == by_group.end()) continue;
    const DType dtype = model.main().tensors[t].dtype;
    quant[static_cast<int>(t)] = activation_quant(found->second.min, found->second.max, dtype);
  }
  return with_activation_quant(model, quant);
}

Model with_per_channel_weights(const Model& model, const std::map<int, Array>& weights) {
  return requantized(model, weights, Channels::kAll);
}

Model with_weights(const Model& model, const std::map<int, Array>& weights) {
  return requantized(model, weights, Channels::kAsStored);
}

Model with_biases(const Model& model, const std::map<int, Array>& biases) {
  Model result = model;
  follow_biases(result, model, biases);
  return result;
}

}  // namespace litegap
