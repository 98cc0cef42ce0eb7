// The graph that quantization-aware training runs, made from the file's graph:
//
//   x -> CONV_2D(x, w, b) -> y      x -> fake -> CONV_2D(., fake w, fake b) -> y
//
//   with batch normalization        W', b' = fold(w, b, gamma ...)
//                                   x -> fake -> CONV_2D(., fake W') -> z
//                                   norm(z, fake b', b, gamma ...) -> y
//
// A tensor has one rounded twin, whoever reads it.  Tensors of the file keep their numbers.
#include <algorithm>

#include "quant/params.h"
#include "train/qat.h"

namespace litegap {
namespace {

std::size_t z(int i) { return static_cast<std::size_t>(i); }

void drop_activation(Op& op) {
  std::visit(
      [](auto& attrs) {
        if constexpr (requires { attrs.activation; }) attrs.activation = Activation::kNone;
      },
      op.attrs);
}

class Rewriter {
 public:
  Rewriter(const FoldedModel& folded, const StaticOptions& quantization,
           std::vector<FakeSlot>& slots)
      : folded_(folded), file_(folded.file.main()), quantization_(quantization), slots_(slots) {
    out_ = folded.values;
    for (const FoldedNorm& f : folded.norms) {
      graph().tensors[z(f.folded_w)].constant.reset();
      graph().tensors[z(f.folded_b)].constant.reset();
    }
  }

  TrainGraph rewrite() {
    for (std::size_t k = 0; k < file_.ops.size(); ++k) add(static_cast<int>(k));
    // Outputs too; behind an activation of fixed range the loss is taken from the logits anyway.
    for (int& t : graph().outputs) {
      const bool fixed = std::any_of(file_.ops.begin(), file_.ops.end(), [&](const Op& op) {
        return !op.outputs.empty() && op.outputs[0] == t &&
               (op.code == OpCode::kSoftmax || op.code == OpCode::kLogistic);
      });
      const int rounded = twin(t, {});
      if (!fixed) t = rounded;
    }
    graph().ops = std::move(ops_);
    return std::move(out_);
  }

 private:
  Graph& graph() { return out_.model.main(); }
  bool constant(int t) const { return file_.tensors[z(t)].constant.has_value(); }

  const FoldedNorm* norm_at(int op, bool of_its_own) const {
    for (const FoldedNorm& f : folded_.norms)
      if (f.alone == of_its_own && f.op == op) return &f;
    return nullptr;
  }

  int like(int tensor, const std::string& suffix) {
    Tensor t = graph().tensors[z(tensor)];
    t.name += suffix;
    t.constant.reset();
    graph().tensors.push_back(t);
    return static_cast<int>(graph().tensors.size()) - 1;
  }

  void emit(OpCode code, Attrs attrs, std::vector<int> inputs, std::vector<int> outputs) {
    Op op;
    op.code = code;
    op.attrs = std::move(attrs);
    op.inputs = std::move(inputs);
    op.outputs = std::move(outputs);
    ops_.push_back(std::move(op));
  }

  // The rounded twin of a tensor; made on first use.
  int twin(int tensor, FakeSlot slot) {
    for (std::size_t i = 0; i < twins_.size(); ++i)
      if (slots_[i].tensor == tensor && slots_[i].data_slot == slot.data_slot &&
          slots_[i].weight_slot == slot.weight_slot)
        return twins_[i];
    slot.tensor = tensor;
    twins_.push_back(like(tensor, "/fake"));
    emit(OpCode::kTrainFake, TrainFakeAttrs{static_cast<std::int32_t>(slots_.size())}, {tensor},
         {twins_.back()});
    slots_.push_back(slot);
    return twins_.back();
  }
  int slot_of(int twin) const {
    return static_cast<int>(std::find(twins_.begin(), twins_.end(), twin) - twins_.begin());
  }

  // The twin as this operator sees it: through its dropouts.
  int seen(int op, std::size_t input, int twin) {
    const auto found = folded_.dropped.find({op, input});
    return found == folded_.dropped.end() ? twin : dropped(found->second, twin);
  }
  int dropped(int drop, int twin) {
    const FoldedDrop& d = folded_.drops[z(drop)];
    if (drops_.contains(drop)) return drops_[drop];
    const int from = d.before < 0 ? twin : dropped(d.before, twin);
    const int to = like(twin, "/dropped");
    emit(OpCode::kTrainDropout, d.attrs, {from}, {to});
    return drops_[drop] = to;
  }

  void fold(const FoldedNorm& f) {
    emit(OpCode::kTrainFold, f.attrs, {f.w, f.b, f.gamma, f.beta, f.mean, f.variance},
         {f.folded_w, f.folded_b});
  }

  void add(int k) {
    const Op& op = file_.ops[z(k)];
    const FoldedNorm *own = norm_at(k, false), *ends = norm_at(k, true);
    if (own != nullptr) fold(*own);
    if (const FoldedNorm* begins = norm_at(k + 1, true)) fold(*begins);
    if (ends != nullptr) return add_norm(*ends, twin(op.inputs[0], {}), twin(ends->folded_b, {}));
    Op now = op;
    const int w = weight_input(op.code), b = bias_input(op.code);
    for (std::size_t i = 0; i < op.inputs.size(); ++i) {
      const int t = op.inputs[i];
      if (t < 0 || file_.tensors[z(t)].dtype != DType::kFloat32) continue;
      const auto at = static_cast<int>(i);
      if (at == b && constant(t)) continue;  // when both scales have a slot
      FakeSlot s;
      if (at == w && constant(t)) {
        s.kind = FakeKind::kWeights;
        s.axis = quantization_.granularity == Granularity::kPerChannel ? weight_axis(op.code) : -1;
      } else if (!is_value_input(op, i)) {
        continue;
      }
      now.inputs[i] = seen(k, i, twin(t, s));
    }
    const int bias = rounded_bias(op, now);
    if (own == nullptr) {
      if (bias >= 0) now.inputs[z(b)] = bias;
      ops_.push_back(std::move(now));
      return;
    }
    now.inputs[z(b)] = -1;
    now.outputs[0] = like(op.outputs[0], "/unnormalized");
    drop_activation(now);
    const int before = now.outputs[0];
    ops_.push_back(std::move(now));
    add_norm(*own, before, bias);
  }

  // The twin of a constant bias, on the grid of its operator's data and weights; -1 = none.
  int rounded_bias(const Op& op, const Op& now) {
    const int w = weight_input(op.code), b = bias_input(op.code), x = data_input(op.code);
    if (b < 0 || op.input(z(b)) < 0 || !constant(op.inputs[z(b)]) || !constant(op.inputs[z(w)]))
      return -1;
    FakeSlot s;
    s.kind = FakeKind::kBias;
    s.data_slot = slot_of(twin(op.inputs[z(x)], {}));
    s.weight_slot = slot_of(now.inputs[z(w)]);
    return twin(op.inputs[z(b)], s);
  }

  void add_norm(const FoldedNorm& f, int before, int bias) {
    emit(OpCode::kTrainFoldedNorm, f.attrs,
         {before, bias, f.b, f.gamma, f.beta, f.mean, f.variance}, {file_.ops[z(f.op)].outputs[0]});
  }

  const FoldedModel& folded_;
  const Graph& file_;
  const StaticOptions& quantization_;
  std::vector<FakeSlot>& slots_;
  TrainGraph out_;
  std::vector<Op> ops_;
  std::vector<int> twins_;    // by slot
  std::map<int, int> drops_;  // by drop
};

}  // namespace

TrainGraph fake_graph(const FoldedModel& folded, const StaticOptions& quantization,
                      std::vector<FakeSlot>& slots) {
  return Rewriter(folded, quantization, slots).rewrite();
}

}  // namespace litegap
