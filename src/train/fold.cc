#include "train/fold.h"

#include <algorithm>

#include "keras/fold.h"
#include "quant/params.h"

namespace litegap {
namespace {

std::size_t z(int i) { return static_cast<std::size_t>(i); }

void set_activation(Op& op, Activation a) {
  std::visit(
      [a](auto& attrs) {
        if constexpr (requires { attrs.activation; }) attrs.activation = a;
      },
      op.attrs);
}

std::vector<float> values_or(const Graph& g, int t, std::size_t n, float absent) {
  if (t < 0) return std::vector<float>(n, absent);
  const auto s = g.tensors[z(t)].constant->span<float>();
  return {s.begin(), s.end()};
}

// W' and b' from the constants of g.
void fold_constants(const Graph& g, const FoldedNorm& f, Array* weights, Array* bias) {
  const std::size_t n = g.tensors[z(f.mean)].constant->elements();
  const auto b = values_or(g, f.b, n, 0), gamma = values_or(g, f.gamma, n, 1),
             beta = values_or(g, f.beta, n, 0), mean = values_or(g, f.mean, n, 0),
             variance = values_or(g, f.variance, n, 1);
  std::vector<float> k(n), shift(n);
  for (std::size_t i = 0; i < n; ++i) {
    k[i] = fold_factor(gamma[i], variance[i], f.attrs.epsilon);
    shift[i] = fold_bias(b[i], k[i], beta[i], mean[i]);
  }
  *bias = Array::of<float>({static_cast<std::int32_t>(n)}, shift);
  if (f.w < 0) {
    *weights = Array::of<float>({static_cast<std::int32_t>(n)}, k);
    return;
  }
  Array w = g.tensors[z(f.w)].constant->clone();
  const auto v = w.mutable_span<float>();
  const bool first = z(w.shape()[0]) == n;
  const std::size_t block = v.size() / n;
  for (std::size_t i = 0; i < v.size(); ++i) v[i] *= k[first ? i / block : i % n];
  *weights = w;
}

// Takes the operators of training out of a graph; tensor numbers are those of the graph until
// compact().
class Folder {
 public:
  explicit Folder(const TrainGraph& graph) : source_(graph) {
    out_.file = graph.model;
    base_.resize(graph.model.main().tensors.size());
    for (std::size_t t = 0; t < base_.size(); ++t) base_[t] = static_cast<int>(t);
    drop_.assign(base_.size(), -1);
    readers_.assign(base_.size(), 0);
    for (const Op& op : graph.model.main().ops)
      for (const int t : op.inputs)
        if (t >= 0) ++readers_[z(t)];
    for (const int t : graph.model.main().outputs) ++readers_[z(t)];
  }

  FoldedModel fold() {
    for (const Op& op : source_.model.main().ops) add(op);
    for (int& t : file().outputs) t = base_[z(t)];
    for (Signature& s : out_.file.signatures)
      for (auto& [name, t] : s.outputs) t = base_[z(t)];
    file().ops = std::move(ops_);
    compact();
    return std::move(out_);
  }

 private:
  Graph& file() { return out_.file.main(); }

  void add(const Op& given) {
    Op op = given;
    if (op.code == OpCode::kTrainDropout) {
      const int from = op.inputs[0], to = op.outputs[0];
      base_[z(to)] = base_[z(from)];
      drop_[z(to)] = static_cast<int>(out_.drops.size());
      out_.drops.push_back({base_[z(from)], drop_[z(from)], std::get<DropoutAttrs>(op.attrs)});
      return;
    }
    for (std::size_t i = 0; i < op.inputs.size(); ++i) {
      if (op.inputs[i] < 0) continue;
      if (const int d = drop_[z(op.inputs[i])]; d >= 0)
        out_.dropped[{static_cast<int>(ops_.size()), i}] = d;
      op.inputs[i] = base_[z(op.inputs[i])];
    }
    if (op.code != OpCode::kTrainBatchNorm) {
      ops_.push_back(std::move(op));
    } else if (folds(op)) {
      fold_into_layer(op);
    } else {
      stand_alone(op);
    }
  }

  // The operator before makes nothing but what is normalized here.
  bool folds(const Op& norm) const {
    if (ops_.empty() || drop_[z(norm.inputs[0])] >= 0) return false;
    const Op& layer = ops_.back();
    const auto& tensors = out_.file.graphs.front().tensors;
    return weight_input(layer.code) >= 0 && layer.outputs[0] == norm.inputs[0] &&
           readers_[z(norm.inputs[0])] == 1 && fused_activation(layer.attrs) == Activation::kNone &&
           tensors[z(layer.inputs[1])].constant.has_value() &&
           tensors[z(norm.inputs[0])].shape.back() == tensors[z(norm.inputs[3])].shape[0];
  }

  int constant(const std::string& name) {
    Tensor t;
    t.name = name;
    t.has_rank = true;
    file().tensors.push_back(std::move(t));
    return static_cast<int>(file().tensors.size()) - 1;
  }

  FoldedNorm record(const Op& norm) {
    FoldedNorm f;
    f.gamma = norm.inputs[1];
    f.beta = norm.inputs[2];
    f.mean = norm.inputs[3];
    f.variance = norm.inputs[4];
    f.attrs = std::get<BatchNormAttrs>(norm.attrs);
    return f;
  }

  void finish(FoldedNorm f) {
    f.op = static_cast<int>(ops_.size()) - 1;
    Array w, b;
    fold_constants(file(), f, &w, &b);
    for (const auto& [t, value] : {std::pair{f.folded_w, w}, {f.folded_b, b}}) {
      file().tensors[z(t)].shape = value.shape();
      file().tensors[z(t)].constant = value;
    }
    out_.norms.push_back(f);
  }

  void fold_into_layer(const Op& norm) {
    Op& layer = ops_.back();
    const auto at = z(bias_input(layer.code));
    layer.inputs.resize(std::max(layer.inputs.size(), at + 1), -1);
    FoldedNorm f = record(norm);
    f.w = layer.inputs[1];
    f.b = layer.inputs[at];
    const std::string name = file().tensors[z(f.w)].name;
    layer.inputs[1] = f.folded_w = constant(name + "/folded");
    layer.inputs[at] = f.folded_b = constant(name + "/folded_bias");
    layer.outputs = norm.outputs;
    set_activation(layer, f.attrs.activation);
    finish(f);
  }

  void stand_alone(const Op& norm) {
    FoldedNorm f = record(norm);
    f.alone = true;
    std::string name = file().tensors[z(norm.outputs[0])].name;
    const std::string internal = op_name(OpCode::kTrainBatchNorm);
    if (const auto at = name.find(internal); at != std::string::npos)
      name.replace(at, internal.size(), "BatchNorm");
    file().tensors[z(norm.outputs[0])].name = name;
    f.folded_w = constant(name + "/scale");
    f.folded_b = constant(name + "/shift");
    Tensor middle = file().tensors[z(norm.outputs[0])];
    middle.name += "/mul";
    file().tensors.push_back(middle);
    Op mul, add;
    mul.code = OpCode::kMul;
    mul.attrs = ActivationAttrs{};
    mul.inputs = {norm.inputs[0], f.folded_w};
    mul.outputs = {static_cast<int>(file().tensors.size()) - 1};
    add.code = OpCode::kAdd;
    AddAttrs attrs;
    attrs.activation = f.attrs.activation;
    add.attrs = attrs;
    add.inputs = {mul.outputs[0], f.folded_b};
    add.outputs = norm.outputs;
    ops_.push_back(std::move(mul));
    ops_.push_back(std::move(add));
    finish(f);
  }

  // Drops what the file does not need from it, and puts it behind in the graph of values.
  void compact() {
    Graph& g = file();
    std::vector<bool> needed(g.tensors.size(), false);
    for (const Op& op : g.ops) {
      for (const auto* list : {&op.inputs, &op.outputs})
        for (const int t : *list)
          if (t >= 0) needed[z(t)] = true;
    }
    for (const auto* list : {&g.inputs, &g.outputs})
      for (const int t : *list) needed[z(t)] = true;
    std::vector<int> map(g.tensors.size(), -1);
    std::vector<Tensor> kept, behind;
    for (std::size_t t = 0; t < g.tensors.size(); ++t) {
      if (!needed[t]) continue;
      map[t] = static_cast<int>(kept.size());
      kept.push_back(g.tensors[t]);
    }
    const std::size_t first_behind = kept.size();
    const auto moved = [&](int& t) {
      if (t < 0) return;
      if (map[z(t)] < 0) {
        map[z(t)] = static_cast<int>(first_behind + behind.size());
        behind.push_back(g.tensors[z(t)]);
      }
      t = map[z(t)];
    };
    for (Op& op : g.ops) {
      for (int& t : op.inputs) moved(t);
      for (int& t : op.outputs) moved(t);
    }
    for (int& t : g.inputs) moved(t);
    for (int& t : g.outputs) moved(t);
    for (Signature& s : out_.file.signatures) {
      for (auto& [name, t] : s.inputs) moved(t);
      for (auto& [name, t] : s.outputs) moved(t);
    }
    for (FoldedDrop& d : out_.drops) moved(d.tensor);
    for (FoldedNorm& f : out_.norms)
      for (int* t : {&f.w, &f.b, &f.gamma, &f.beta, &f.mean, &f.variance, &f.folded_w, &f.folded_b})
        moved(*t);
    out_.values.parameters = source_.parameters;
    for (TrainParameter& p : out_.values.parameters) moved(p.tensor);
    g.tensors = std::move(kept);
    out_.values.model = out_.file;
    auto& all = out_.values.model.main().tensors;
    all.insert(all.end(), behind.begin(), behind.end());
    out_.values.batch = source_.batch;
  }

  const TrainGraph& source_;
  FoldedModel out_;
  std::vector<int> base_, drop_, readers_;  // by tensor: itself without dropout; that dropout
  std::vector<Op> ops_;
};

}  // namespace

FoldedModel fold_norms(const TrainGraph& graph) {
  const auto& ops = graph.model.main().ops;
  const bool any = std::any_of(ops.begin(), ops.end(), [](const Op& op) {
    return op.code == OpCode::kTrainBatchNorm || op.code == OpCode::kTrainDropout;
  });
  if (any) return Folder(graph).fold();
  FoldedModel same;  // tensor numbers stay
  same.file = graph.model;
  same.values = graph;
  return same;
}

Model folded_file(const FoldedModel& folded, const std::vector<Array>& parameters) {
  const Model all = with_parameters(folded.values, parameters);
  Model file = folded.file;
  auto& tensors = file.main().tensors;
  for (std::size_t t = 0; t < tensors.size(); ++t)
    tensors[t].constant = all.main().tensors[t].constant;
  for (const FoldedNorm& f : folded.norms) {
    Array w, b;
    fold_constants(all.main(), f, &w, &b);
    tensors[z(f.folded_w)].constant = w;
    tensors[z(f.folded_b)].constant = b;
  }
  return file;
}

}  // namespace litegap
