#include "quant/scales.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "quant/params.h"

namespace litegap {

bool is_value_input(const Op& op, std::size_t i) {
  switch (op.code) {
    case OpCode::kConv2d:
    case OpCode::kDepthwiseConv2d:
    case OpCode::kFullyConnected:
    case OpCode::kTransposeConv:
      return static_cast<int>(i) == data_input(op.code);
    case OpCode::kPrelu:                       // the slopes count as a weight
    case OpCode::kUnidirectionalSequenceLstm:  // the rest is weights and states
      return i == 0;
    default:
      return true;  // the type decides: shapes and axes are integers
  }
}

namespace {

bool same(const Quant& a, const Quant& b) {
  return a.scale == b.scale && a.zero_point == b.zero_point;
}

class Chooser {
 public:
  Chooser(const Model& model, const Ranges& ranges, const std::vector<Form>& forms)
      : graph_(model.main()), ranges_(ranges), forms_(forms), path_(model.path) {
    if (ranges.min.size() != graph_.tensors.size()) {
      fail("{}: ranges of {} tensors, the model has {}", path_, ranges.min.size(),
           graph_.tensors.size());
    }
    producer_.assign(graph_.tensors.size(), -1);
    users_.resize(graph_.tensors.size());
    for (std::size_t k = 0; k < graph_.ops.size(); ++k) {
      for (const int t : graph_.ops[k].outputs) {
        if (t >= 0) producer_[at(t)] = static_cast<int>(k);
      }
      for (const int t : graph_.ops[k].inputs) {
        if (t >= 0) users_[at(t)].push_back(static_cast<int>(k));
      }
    }
  }

  Scales choose() {
    start_ranges();
    pass_forwards();
    pass_backwards();
    scales_.tensor.resize(graph_.tensors.size());
    for (std::size_t t = 0; t < graph_.tensors.size(); ++t) {
      if (own_[t] && !dropped_[t]) scales_.tensor[t] = own_range(static_cast<int>(t));
    }
    settle();
    fill_rest();
    return std::move(scales_);
  }

 private:
  bool integer(int k) const { return forms_.empty() || forms_[at(k)] == Form::kInt8; }
  bool moves(int k) const { return integer(k) && same_scale(op(k).code); }
  static std::size_t at(int t) { return static_cast<std::size_t>(t); }
  const Op& op(int k) const { return graph_.ops[at(k)]; }
  bool real(int t) const { return t >= 0 && graph_.tensors[at(t)].dtype == DType::kFloat32; }
  bool activation(int t) const { return real(t) && !graph_.tensors[at(t)].constant; }
  bool value(const Op& o, std::size_t i) const { return real(o.inputs[i]) && is_value_input(o, i); }
  std::size_t value_inputs(const Op& o) const {
    std::size_t n = 0;
    for (std::size_t i = 0; i < o.inputs.size(); ++i) n += value(o, i) ? 1 : 0;
    return n;
  }

  Quant own_range(int t) const {
    if (const auto& constant = graph_.tensors[at(t)].constant) {
      float low = 0, high = 0;
      for (const float v : constant->span<float>()) {
        low = std::min(low, v);
        high = std::max(high, v);
      }
      return activation_quant(low, high, DType::kInt8);
    }
    if (!std::isfinite(ranges_.min[at(t)]) || !std::isfinite(ranges_.max[at(t)])) {
      fail("{}: calibration saw no finite value of tensor {} ({})", path_, t,
           graph_.tensors[at(t)].name);
    }
    return activation_quant(ranges_.min[at(t)], ranges_.max[at(t)], DType::kInt8);
  }

  // Rule 1.
  void start_ranges() {
    own_.assign(graph_.tensors.size(), false);
    dropped_.assign(graph_.tensors.size(), false);
    for (const int t : graph_.inputs) own_[at(t)] = activation(t);
    for (std::size_t k = 0; k < graph_.ops.size(); ++k) {
      Quant fixed;
      for (const int t : graph_.ops[k].outputs) {
        if (!activation(t)) continue;
        own_[at(t)] = true;
        dropped_[at(t)] =
            integer(static_cast<int>(k)) && fixed_output(graph_.ops[k].code, DType::kInt8, &fixed);
      }
    }
  }

  // Rule 2.  A table that is looked up keeps its own range, so that rows which calibration did not
  // touch are not clipped.
  void pass_forwards() {
    for (std::size_t k = 0; k < graph_.ops.size(); ++k) {
      const Op& o = graph_.ops[k];
      if (!moves(static_cast<int>(k)) || value_inputs(o) != 1) continue;
      for (const int t : o.outputs) {
        if (activation(t)) dropped_[at(t)] = true;
      }
    }
  }

  // Rule 3: starts from the outputs that still have a range.
  void pass_backwards() {
    std::vector<int> todo;
    for (std::size_t t = 0; t < own_.size(); ++t) {
      if (own_[t] && !dropped_[t]) todo.push_back(static_cast<int>(t));
    }
    std::set<int> seen(todo.begin(), todo.end());
    while (!todo.empty()) {
      const int t = todo.back();
      todo.pop_back();
      const int k = producer_[at(t)];
      if (k < 0 || !moves(k)) continue;
      for (std::size_t i = 0; i < op(k).inputs.size(); ++i) {
        const int x = op(k).inputs[i];
        if (!value(op(k), i) || !activation(x)) continue;
        dropped_[at(x)] = true;
        if (seen.insert(x).second) todo.push_back(x);
      }
    }
  }

  // Rule 4: a work list, last operator first; what an operator decides wakes its neighbours.
  void settle() {
    for (std::size_t k = 0; k < graph_.ops.size(); ++k) todo_.push_back(static_cast<int>(k));
    std::vector<bool> done(graph_.ops.size(), false);
    while (!todo_.empty()) {
      const int k = todo_.back();
      todo_.pop_back();
      if (!done[at(k)]) done[at(k)] = decide(k);
    }
  }

  bool decide(int k) {
    const Op& o = op(k);
    Quant fixed;
    if (!integer(k)) return true;
    if (fixed_output(o.code, DType::kInt8, &fixed)) {
      if (!o.outputs.empty() && activation(o.outputs[0])) demand_output(k, 0, fixed);
      return true;
    }
    if (!same_scale(o.code)) return true;
    const Quant q = demanded(o);
    if (q.empty()) return false;
    for (std::size_t i = 0; i < o.inputs.size(); ++i) {
      if (value(o, i)) demand_input(k, i, q);
    }
    for (std::size_t j = 0; j < o.outputs.size(); ++j) {
      if (activation(o.outputs[j])) demand_output(k, j, q);
    }
    return true;
  }

  // The scale that all values of an operator which moves codes will have.
  Quant demanded(const Op& o) const {
    Quant first_input, first_output;
    bool constant = true;
    std::size_t outputs = 0;
    for (std::size_t i = 0; i < o.inputs.size(); ++i) {
      if (!value(o, i)) continue;
      constant = constant && !activation(o.inputs[i]);
      if (first_input.empty()) first_input = scales_.tensor[at(o.inputs[i])];
    }
    for (const int t : o.outputs) {
      if (!activation(t)) continue;
      ++outputs;
      if (first_output.empty()) first_output = scales_.tensor[at(t)];
    }
    if (value_inputs(o) == 1 && constant) {
      for (std::size_t i = 0; i < o.inputs.size(); ++i) {
        if (value(o, i)) return own_range(o.inputs[i]);
      }
    }
    if (value_inputs(o) == 1 && !first_input.empty()) return first_input;
    if (outputs == 1 && !first_output.empty()) return first_output;
    return !first_input.empty() ? first_input : first_output;
  }

  void demand_input(int k, std::size_t i, const Quant& q) {
    const int t = op(k).inputs[i];
    Quant& has = scales_.tensor[at(t)];
    if (has.empty()) {
      has = q;
      wake(t, k);
    } else if (!same(has, q)) {
      scales_.input[{k, i}] = q;
    }
  }

  void demand_output(int k, std::size_t j, const Quant& q) {
    const int t = op(k).outputs[j];
    Quant& has = scales_.tensor[at(t)];
    if (has.empty()) {
      has = q;
      wake(t, k);
    } else if (!same(has, q)) {
      scales_.output[{k, j}] = q;
    }
  }

  void wake(int t, int except) {
    if (producer_[at(t)] >= 0 && producer_[at(t)] != except) todo_.push_back(producer_[at(t)]);
    for (const int k : users_[at(t)]) {
      if (k != except) todo_.push_back(k);
    }
  }

  // Activations that nothing decided (a chain of code-moving operators on a constant, or dropped by
  // both passes): their own range after all.
  void fill_rest() {
    for (std::size_t t = 0; t < own_.size(); ++t) {
      if (own_[t] && scales_.tensor[t].empty()) scales_.tensor[t] = own_range(static_cast<int>(t));
    }
  }

  const Graph& graph_;
  const Ranges& ranges_;
  const std::vector<Form>& forms_;
  const std::string& path_;
  std::vector<int> producer_;            // operator that writes a tensor, -1 = none
  std::vector<std::vector<int>> users_;  // operators that read a tensor
  std::vector<bool> own_, dropped_;      // has a calibrated range; which does not count
  std::vector<int> todo_;
  Scales scales_;
};

// Operator by operator, in their order.
class WideChooser {
 public:
  WideChooser(const Model& model, const Ranges& ranges, const std::vector<Form>& forms)
      : model_(model), graph_(model.main()), ranges_(ranges), forms_(forms) {
    scales_.tensor.resize(graph_.tensors.size());
  }

  Scales choose() {
    for (std::size_t k = 0; k < graph_.ops.size(); ++k) {
      if (forms_[k] == Form::kInt16) decide(k);
    }
    return std::move(scales_);
  }

 private:
  bool real(int t) const {
    return t >= 0 && graph_.tensors[static_cast<std::size_t>(t)].dtype == DType::kFloat32;
  }
  // The scale of a tensor: what its producer gave it, else its own range.
  const Quant& of(int t) {
    Quant& q = scales_.tensor[static_cast<std::size_t>(t)];
    if (q.empty()) q = own_range(t);
    return q;
  }
  Quant own_range(int t) const {
    const auto i = static_cast<std::size_t>(t);
    if (const auto& constant = graph_.tensors[i].constant) {
      const auto v = constant->span<float>();
      const auto [low, high] = std::minmax_element(v.begin(), v.end());
      return v.empty() ? activation_quant(0, 0, DType::kInt16)
                       : activation_quant(*low, *high, DType::kInt16);
    }
    if (!std::isfinite(ranges_.min[i]) || !std::isfinite(ranges_.max[i])) {
      fail("{}: calibration saw no finite value of tensor {} ({})", model_.path, t,
           graph_.tensors[i].name);
    }
    return activation_quant(ranges_.min[i], ranges_.max[i], DType::kInt16);
  }

  void decide(std::size_t k) {
    const Op& op = graph_.ops[k];
    std::vector<std::size_t> values;
    for (std::size_t i = 0; i < op.inputs.size(); ++i) {
      if (!real(op.inputs[i]) || !is_value_input(op, i)) continue;
      if (!graph_.tensors[static_cast<std::size_t>(op.inputs[i])].constant) of(op.inputs[i]);
      values.push_back(i);
    }
    Quant fixed;
    const bool has_fixed = fixed_output(op.code, DType::kInt16, &fixed);
    const bool moves = same_scale(op.code) || op.code == OpCode::kReverseV2;
    for (const int t : op.outputs) {
      if (!real(t)) continue;
      Quant& q = scales_.tensor[static_cast<std::size_t>(t)];
      q = has_fixed ? fixed : moves && values.size() == 1 ? of(op.inputs[values[0]]) : own_range(t);
    }
    if (!moves || values.size() < 2 || op.outputs.empty()) return;
    const Quant out = scales_.tensor[static_cast<std::size_t>(op.outputs[0])];
    for (const std::size_t i : values) {
      if (graph_.tensors[static_cast<std::size_t>(op.inputs[i])].constant ||
          !same(of(op.inputs[i]), out)) {
        scales_.input[{static_cast<int>(k), i}] = out;
      }
    }
  }

  const Model& model_;
  const Graph& graph_;
  const Ranges& ranges_;
  const std::vector<Form>& forms_;
  Scales scales_;
};

}  // namespace

Scales choose_scales(const Model& float_model, const Ranges& ranges,
                     const std::vector<Form>& forms) {
  return Chooser(float_model, ranges, forms).choose();
}

Scales choose_scales_int16(const Model& float_model, const Ranges& ranges,
                           const std::vector<Form>& forms) {
  return WideChooser(float_model, ranges, forms).choose();
}

}  // namespace litegap
