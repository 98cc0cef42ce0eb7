// The last pass over a lowered graph: what is one operator in the format becomes one.
//
//   CONV_2D, batch normalization, RELU   ->   CONV_2D with other weights, fused RELU
//   batch normalization alone            ->   MUL, ADD
//
// The formulas of folding: keras/fold.h.  RESHAPEs between the two that keep the last axis are
// looked through: Conv1D is such a case.  For quantization-aware training the normalization stays
// an operator, moved to where it would have been folded, directly behind its CONV_2D.
#include <algorithm>
#include <cmath>

#include "keras/fold.h"
#include "keras/lower.h"

namespace litegap {
namespace {

struct Uses {
  std::vector<int> producer,
      count;  // operator that makes a tensor; operators and outputs that read it
  explicit Uses(const Graph& g) : producer(g.tensors.size(), -1), count(g.tensors.size(), 0) {
    for (std::size_t o = 0; o < g.ops.size(); ++o) {
      for (const int t : g.ops[o].outputs)
        producer[static_cast<std::size_t>(t)] = static_cast<int>(o);
      for (const int t : g.ops[o].inputs) {
        if (t >= 0) ++count[static_cast<std::size_t>(t)];
      }
    }
    for (const int t : g.outputs) ++count[static_cast<std::size_t>(t)];
  }
};

Tensor& tensor(Graph& g, int t) { return g.tensors[static_cast<std::size_t>(t)]; }

std::vector<float> constant_or(const Graph& g, int t, std::size_t n, float absent) {
  if (t < 0) return std::vector<float>(n, absent);
  const auto s = g.tensors[static_cast<std::size_t>(t)].constant->span<float>();
  return {s.begin(), s.end()};
}

int add_constant(Graph& g, Array value, const std::string& name) {
  Tensor t;
  t.name = name;
  t.shape = value.shape();
  t.has_rank = true;
  t.constant = std::move(value);
  g.tensors.push_back(std::move(t));
  return static_cast<int>(g.tensors.size()) - 1;
}

struct Affine {  // x * k + shift per channel, from mean * k and beta
  std::vector<float> k, mean, beta;
};

Affine affine_of(const Graph& g, const Op& op) {
  const auto n =
      static_cast<std::size_t>(g.tensors[static_cast<std::size_t>(op.inputs[3])].shape[0]);
  Affine a;
  const auto gamma = constant_or(g, op.inputs[1], n, 1);
  const auto variance = constant_or(g, op.inputs[4], n, 1);
  a.beta = constant_or(g, op.inputs[2], n, 0);
  a.mean = constant_or(g, op.inputs[3], n, 0);
  const float epsilon = std::get<BatchNormAttrs>(op.attrs).epsilon;
  for (std::size_t i = 0; i < n; ++i) a.k.push_back(fold_factor(gamma[i], variance[i], epsilon));
  return a;
}

int weights_operand(OpCode code) {
  return code == OpCode::kConv2d || code == OpCode::kDepthwiseConv2d ||
                 code == OpCode::kFullyConnected || code == OpCode::kTransposeConv
             ? 1
             : -1;
}

// The operator whose weights can take the factor of the normalization of tensor t; -1 = none.
int foldable(const Graph& g, const Uses& uses, int t, std::size_t channels) {
  for (int hops = 0; hops < 4; ++hops) {
    const auto i = static_cast<std::size_t>(t);
    if (uses.count[i] != 1 || uses.producer[i] < 0) return -1;
    const Op& op = g.ops[static_cast<std::size_t>(uses.producer[i])];
    if (op.code == OpCode::kReshape) {
      if (g.tensors[static_cast<std::size_t>(op.inputs[0])].shape.back() !=
          g.tensors[i].shape.back()) {
        return -1;
      }
      t = op.inputs[0];
      continue;
    }
    if (weights_operand(op.code) < 0 || fused_activation(op.attrs) != Activation::kNone) return -1;
    const Tensor& w = g.tensors[static_cast<std::size_t>(op.inputs[1])];
    const bool fits =
        w.constant && g.tensors[i].shape.back() == static_cast<std::int32_t>(channels);
    return fits ? uses.producer[i] : -1;
  }
  return -1;
}

void fold_into(Graph& g, Op& op, const Affine& a) {
  const std::size_t n = a.k.size();
  const bool last = op.code == OpCode::kDepthwiseConv2d;  // channel axis: last, else first
  Array w = tensor(g, op.inputs[1]).constant->clone();
  const auto values = w.mutable_span<float>();
  const std::size_t block = values.size() / n;
  for (std::size_t i = 0; i < values.size(); ++i) values[i] *= a.k[last ? i % n : i / block];
  const std::size_t at = op.code == OpCode::kTransposeConv ? 3 : 2;
  op.inputs.resize(std::max(op.inputs.size(), at + 1), -1);
  const auto bias = constant_or(g, op.inputs[at], n, 0);
  std::vector<float> shifted(n);
  for (std::size_t i = 0; i < n; ++i) shifted[i] = fold_bias(bias[i], a.k[i], a.beta[i], a.mean[i]);
  const std::string name = tensor(g, op.inputs[1]).name;
  op.inputs[1] = add_constant(g, std::move(w), name + "/folded");
  op.inputs[at] = add_constant(g, Array::of<float>({static_cast<std::int32_t>(n)}, shifted),
                               name + "/folded_bias");
}

// Readers of `from` read `to`.
void redirect(Graph& g, int from, int to) {
  for (Op& op : g.ops) std::replace(op.inputs.begin(), op.inputs.end(), from, to);
  std::replace(g.outputs.begin(), g.outputs.end(), from, to);
}

void resolve_batch_norms(Graph& g) {
  std::vector<int> replaced(g.tensors.size());
  for (std::size_t t = 0; t < replaced.size(); ++t) replaced[t] = static_cast<int>(t);
  std::vector<Op> ops;
  // Folding one changes what others see only through `replaced`; producers are found anew.
  for (bool again = true; again;) {
    again = false;
    const Uses uses(g);
    for (std::size_t o = 0; o < g.ops.size(); ++o) {
      if (g.ops[o].code != OpCode::kTrainBatchNorm) continue;
      const Op norm = g.ops[o];
      const Affine a = affine_of(g, norm);
      const int into = foldable(g, uses, norm.inputs[0], a.k.size());
      const auto n = static_cast<std::int32_t>(a.k.size());
      if (into >= 0) {
        fold_into(g, g.ops[static_cast<std::size_t>(into)], a);
        redirect(g, norm.outputs[0], norm.inputs[0]);
        g.ops.erase(g.ops.begin() + static_cast<std::ptrdiff_t>(o));
      } else {
        std::vector<float> shift;
        for (std::size_t i = 0; i < a.k.size(); ++i)
          shift.push_back(fold_bias(0.0f, a.k[i], a.beta[i], a.mean[i]));
        std::string name = tensor(g, norm.outputs[0]).name;
        const std::string internal = op_name(OpCode::kTrainBatchNorm);
        if (const auto at = name.find(internal); at != std::string::npos) {
          name.replace(at, internal.size(), "BatchNorm");
          tensor(g, norm.outputs[0]).name = name;
        }
        const int k = add_constant(g, Array::of<float>({n}, a.k), name + "/scale");
        const int s = add_constant(g, Array::of<float>({n}, shift), name + "/shift");
        Tensor middle = tensor(g, norm.outputs[0]);
        middle.name += "/mul";
        g.tensors.push_back(middle);
        const int m = static_cast<int>(g.tensors.size()) - 1;
        Op mul, add;
        mul.code = OpCode::kMul;
        mul.attrs = ActivationAttrs{};
        mul.inputs = {norm.inputs[0], k};
        mul.outputs = {m};
        add.code = OpCode::kAdd;
        add.attrs = AddAttrs{};
        add.inputs = {m, s};
        add.outputs = norm.outputs;
        g.ops[o] = mul;
        g.ops.insert(g.ops.begin() + static_cast<std::ptrdiff_t>(o) + 1, add);
      }
      again = true;
      break;
    }
  }
}

// Every normalization that could be folded stands directly behind the operator that would take it,
// which keeps its weights as they are.
void place_batch_norms(Graph& g) {
  for (std::size_t o = 0; o < g.ops.size(); ++o) {
    if (g.ops[o].code != OpCode::kTrainBatchNorm) continue;
    const Uses uses(g);
    Op norm = g.ops[o];
    const auto channels =
        static_cast<std::size_t>(g.tensors[static_cast<std::size_t>(norm.inputs[3])].shape[0]);
    const int into = foldable(g, uses, norm.inputs[0], channels);
    if (into < 0) continue;
    redirect(g, norm.outputs[0], norm.inputs[0]);
    Op& layer = g.ops[static_cast<std::size_t>(into)];
    Tensor before = tensor(g, layer.outputs[0]);
    before.name += "/unnormalized";
    g.tensors.push_back(before);
    norm.inputs[0] = static_cast<int>(g.tensors.size()) - 1;
    norm.outputs[0] = layer.outputs[0];
    layer.outputs[0] = norm.inputs[0];
    g.ops.erase(g.ops.begin() + static_cast<std::ptrdiff_t>(o));
    g.ops.insert(g.ops.begin() + into + 1, std::move(norm));
  }
}

// ---- activations --------------------------------------------------------------------------------
Activation* fused_place(Op& op) {
  switch (op.code) {
    case OpCode::kConv2d:
      return &std::get<ConvAttrs>(op.attrs).activation;
    case OpCode::kDepthwiseConv2d:
      return &std::get<DepthwiseAttrs>(op.attrs).activation;
    case OpCode::kFullyConnected:
      return &std::get<FullyConnectedAttrs>(op.attrs).activation;
    case OpCode::kAdd:
    case OpCode::kSub:
      return &std::get<AddAttrs>(op.attrs).activation;
    case OpCode::kMul:
    case OpCode::kDiv:
      return &std::get<ActivationAttrs>(op.attrs).activation;
    case OpCode::kMaxPool2d:
    case OpCode::kAveragePool2d:
      return &std::get<PoolAttrs>(op.attrs).activation;
    case OpCode::kTrainBatchNorm:
      return &std::get<BatchNormAttrs>(op.attrs).activation;
    default:
      return nullptr;
  }
}

void fuse_activations(Graph& g) {
  const Uses uses(g);
  std::vector<char> gone(g.ops.size(), 0);
  for (std::size_t o = 0; o < g.ops.size(); ++o) {
    Op& op = g.ops[o];
    const Activation a = op.code == OpCode::kRelu        ? Activation::kRelu
                         : op.code == OpCode::kRelu6     ? Activation::kRelu6
                         : op.code == OpCode::kReluN1To1 ? Activation::kReluN1To1
                                                         : Activation::kNone;
    if (a == Activation::kNone) continue;
    // Through RESHAPEs: an activation may move across them.
    int t = op.inputs[0], before = -1;
    for (int hops = 0; hops < 4; ++hops) {
      const auto i = static_cast<std::size_t>(t);
      if (uses.count[i] != 1 || uses.producer[i] < 0) break;
      Op& from = g.ops[static_cast<std::size_t>(uses.producer[i])];
      if (from.code == OpCode::kReshape && !tensor(g, from.inputs[0]).constant) {
        t = from.inputs[0];
        continue;
      }
      Activation* place = fused_place(from);
      if (place != nullptr && *place == Activation::kNone &&
          tensor(g, t).dtype == DType::kFloat32) {
        before = uses.producer[i];
        *place = a;
      }
      break;
    }
    if (before < 0) continue;
    const int last = op.inputs[0];
    if (uses.producer[static_cast<std::size_t>(last)] >= 0) {
      // The tensor before takes the activation's name and place.
      Op& writer = g.ops[static_cast<std::size_t>(uses.producer[static_cast<std::size_t>(last)])];
      writer.outputs[0] = op.outputs[0];
      gone[o] = 1;
    }
  }
  std::vector<Op> kept;
  for (std::size_t o = 0; o < g.ops.size(); ++o) {
    if (!gone[o]) kept.push_back(std::move(g.ops[o]));
  }
  g.ops = std::move(kept);
}

// ---- what nobody uses ---------------------------------------------------------------------------
std::vector<int> compact(Graph& g) {
  std::vector<char> needed(g.tensors.size(), 0);
  for (const int t : g.outputs) needed[static_cast<std::size_t>(t)] = 1;
  std::vector<char> keep(g.ops.size(), 0);
  for (std::size_t o = g.ops.size(); o-- > 0;) {
    const Op& op = g.ops[o];
    keep[o] = std::any_of(op.outputs.begin(), op.outputs.end(),
                          [&](int t) { return needed[static_cast<std::size_t>(t)] != 0; });
    if (!keep[o]) continue;
    for (const int t : op.outputs) needed[static_cast<std::size_t>(t)] = 1;
    for (const int t : op.inputs) {
      if (t >= 0) needed[static_cast<std::size_t>(t)] = 1;
    }
  }
  for (const int t : g.inputs) needed[static_cast<std::size_t>(t)] = 1;
  std::vector<int> map(g.tensors.size(), -1);
  std::vector<Tensor> tensors;
  for (std::size_t t = 0; t < g.tensors.size(); ++t) {
    if (!needed[t]) continue;
    map[t] = static_cast<int>(tensors.size());
    tensors.push_back(std::move(g.tensors[t]));
  }
  g.tensors = std::move(tensors);
  const auto remap = [&](std::vector<int>& list) {
    for (int& t : list) t = t < 0 ? -1 : map[static_cast<std::size_t>(t)];
  };
  std::vector<Op> ops;
  for (std::size_t o = 0; o < g.ops.size(); ++o) {
    if (!keep[o]) continue;
    remap(g.ops[o].inputs);
    remap(g.ops[o].outputs);
    ops.push_back(std::move(g.ops[o]));
  }
  g.ops = std::move(ops);
  remap(g.inputs);
  remap(g.outputs);
  return map;
}

}  // namespace

std::vector<int> finish_graph(Graph& graph, Finish finish) {
  if (finish == Finish::kFile) resolve_batch_norms(graph);
  if (finish == Finish::kKeepNorms) place_batch_norms(graph);
  if (finish != Finish::kTraining) fuse_activations(graph);
  return compact(graph);
}

}  // namespace litegap
