#include "train/qat.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "quant/params.h"
#include "quant/scales.h"

namespace litegap {
namespace {

std::size_t z(int i) { return static_cast<std::size_t>(i); }

// Adds kTrainFake operators and hands out the tensors behind them.
class Rewriter {
 public:
  Rewriter(TrainGraph& graph, std::vector<FakeSlot>& slots)
      : graph_(graph.model.main()), slots_(slots) {}

  // The rounded twin of a tensor; made on first use.
  int twin(int tensor, FakeSlot slot) {
    for (std::size_t i = 0; i < slots_.size(); ++i)
      if (slots_[i].tensor == tensor && slots_[i].data_slot == slot.data_slot &&
          slots_[i].weight_slot == slot.weight_slot)
        return twins_[i];
    slot.tensor = tensor;
    Tensor t = graph_.tensors[z(tensor)];
    t.name += "/fake";
    t.constant.reset();
    graph_.tensors.push_back(t);
    Op op;
    op.code = OpCode::kTrainFake;
    op.attrs = TrainFakeAttrs{static_cast<std::int32_t>(slots_.size())};
    op.inputs = {tensor};
    op.outputs = {static_cast<int>(graph_.tensors.size()) - 1};
    slots_.push_back(slot);
    twins_.push_back(op.outputs[0]);
    ops.push_back(std::move(op));
    return twins_.back();
  }
  int slot_of(int twin) const {
    return static_cast<int>(std::find(twins_.begin(), twins_.end(), twin) - twins_.begin());
  }

  std::vector<Op> ops;

 private:
  Graph& graph_;
  std::vector<FakeSlot>& slots_;
  std::vector<int> twins_;
};

// Follows ranges and gives every slot the scale that the quantizer would choose now.
class Observers {
 public:
  Observers(const Model& model, std::vector<FakeSlot>& slots, const QatOptions& options)
      : model_(model), slots_(slots), options_(options) {
    const std::size_t n = model.main().tensors.size();
    const float none = std::numeric_limits<float>::quiet_NaN();
    ranges_.min.assign(n, none);
    ranges_.max.assign(n, none);
    ranges_.p_low.assign(n, 0);
    ranges_.p_high.assign(n, 0);
    ranges_.samples = 1;
    for (std::size_t t = 0; t < n; ++t) {
      const auto& c = model.main().tensors[t].constant;
      if (!c || c->dtype() != DType::kFloat32 || c->empty()) continue;
      const auto [low, high] =
          std::minmax_element(c->span<float>().begin(), c->span<float>().end());
      ranges_.min[t] = *low;
      ranges_.max[t] = *high;
    }
  }

  void follow() {
    // An average over all batches so far, until it is as long as it may be.
    const double start = (1 + steps_) / (10 + steps_);
    const double momentum = std::min(options_.range_momentum, start);
    steps_ += 1;
    full_.resize(slots_.size(), 0);
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      FakeSlot& s = slots_[i];
      if (s.kind != FakeKind::kActivation || !s.seen) continue;
      // The short batch at the end of an epoch has narrower extremes; it counts by its share.
      full_[i] = std::max(full_[i], s.batch_values);
      const double share = static_cast<double>(s.batch_values) / static_cast<double>(full_[i]);
      const auto m = static_cast<float>(1 - (1 - momentum) * share);
      float &low = ranges_.min[z(s.tensor)], &high = ranges_.max[z(s.tensor)];
      const bool first = std::isnan(low);
      if (model_.main().tensors[z(s.tensor)].constant) {  // as it is now, not as it was
        low = s.batch_min;
        high = s.batch_max;
      } else if (s.learn && !s.quant.empty()) {
        learn(s, low, high);
      } else {
        low = first ? s.batch_min : m * low + (1 - m) * s.batch_min;
        high = first ? s.batch_max : m * high + (1 - m) * s.batch_max;
      }
      s.seen = false;
    }
    place();
  }

  void learn_from_now_on() {
    for (FakeSlot& s : slots_) s.learn = s.kind == FakeKind::kActivation;
  }

  const Ranges& ranges() const { return ranges_; }

 private:
  // The step size goes down its gradient, by at most a tenth of itself; the range goes with it.
  void learn(FakeSlot& s, float& low, float& high) const {
    const double scale = s.quant.scale[0];
    const double change = std::clamp(options_.step_rate * s.step_grad, -0.1 * scale, 0.1 * scale);
    const auto factor = static_cast<float>((scale - change) / scale);
    low *= factor;
    high *= factor;
    s.step_grad = 0;
  }

  void place() {
    const Scales scales = choose_scales(model_, ranges_);
    for (FakeSlot& s : slots_) {
      if (s.kind != FakeKind::kActivation) continue;
      const std::size_t t = z(s.tensor);
      s.quant = scales.tensor[t];
      if (s.quant.empty() && model_.main().tensors[t].constant)
        s.quant = activation_quant(ranges_.min[t], ranges_.max[t], DType::kInt8);
    }
  }

  const Model& model_;
  std::vector<FakeSlot>& slots_;
  const QatOptions& options_;
  Ranges ranges_;
  double steps_ = 0;
  std::vector<std::size_t> full_;  // values of a whole batch, by slot
};

// Ranges that moved over 2 % of their width; the others cut from now on.
std::vector<std::string> moved(const Model& model, std::vector<FakeSlot>& slots,
                               const Ranges& before, const Ranges& after) {
  std::vector<std::string> names;
  for (FakeSlot& s : slots) {
    if (s.kind != FakeKind::kActivation || s.quant.empty()) continue;
    const std::size_t t = z(s.tensor);
    const float width = after.max[t] - after.min[t];
    const float change =
        std::max(std::fabs(after.min[t] - before.min[t]), std::fabs(after.max[t] - before.max[t]));
    s.cuts = change <= 0.02f * width;
    if (!s.cuts) names.push_back(model.main().tensors[t].name);
  }
  return names;
}

}  // namespace

TrainGraph fake_graph(const Model& float_model, const StaticOptions& quantization,
                      std::vector<FakeSlot>& slots) {
  TrainGraph graph = train_graph(float_model);
  const Graph& old = float_model.main();
  Rewriter r(graph, slots);
  for (const Op& op : old.ops) {
    Op now = op;
    const int w = weight_input(op.code), b = bias_input(op.code), x = data_input(op.code);
    for (std::size_t i = 0; i < op.inputs.size(); ++i) {
      const int t = op.inputs[i];
      if (t < 0 || old.tensors[z(t)].dtype != DType::kFloat32) continue;
      const auto at = static_cast<int>(i);
      if (at == b && old.tensors[z(t)].constant) continue;  // when both scales have a slot
      FakeSlot s;
      if (at == w && old.tensors[z(t)].constant) {
        s.kind = FakeKind::kWeights;
        s.axis = quantization.granularity == Granularity::kPerChannel ? weight_axis(op.code) : -1;
      } else if (!is_value_input(op, i)) {
        continue;
      }
      now.inputs[i] = r.twin(t, s);
    }
    if (b >= 0 && op.input(z(b)) >= 0 && old.tensors[z(op.inputs[z(b)])].constant && w >= 0 &&
        old.tensors[z(op.inputs[z(w)])].constant) {
      FakeSlot s;
      s.kind = FakeKind::kBias;
      s.data_slot = r.slot_of(now.inputs[z(x)]);
      s.weight_slot = r.slot_of(now.inputs[z(w)]);
      now.inputs[z(b)] = r.twin(op.inputs[z(b)], s);
    }
    r.ops.push_back(std::move(now));
  }
  // Outputs too; behind an activation of fixed range the loss is taken from the logits anyway.
  for (int& t : graph.model.main().outputs) {
    bool fixed = false;
    for (const Op& op : old.ops)
      fixed = fixed || (!op.outputs.empty() && op.outputs[0] == t &&
                        (op.code == OpCode::kSoftmax || op.code == OpCode::kLogistic));
    const int twin = r.twin(t, {});
    if (!fixed) t = twin;
  }
  graph.model.main().ops = std::move(r.ops);
  return graph;
}

QatResult qat(const Model& float_model, const Dataset& data, const QatOptions& options) {
  std::vector<FakeSlot> slots;
  const TrainGraph plain = train_graph(float_model);
  const TrainGraph graph = fake_graph(float_model, options.quantization, slots);
  const Samples samples = read_samples(graph, options.fit.loss, data);
  Trainer trainer(graph, options.fit);
  trainer.mode().fakes = &slots;
  Observers observers(float_model, slots, options);
  // The first batch only shows the ranges to start from.
  std::vector<std::size_t> rows(std::min(options.fit.batch_size, samples.count));
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  trainer.look(samples, rows.data(), rows.size());
  observers.follow();

  QatResult r;
  Ranges before = observers.ranges();
  FitOptions o = options.fit;
  o.after_step = [&] { observers.follow(); };
  o.after_epoch = [&](int epoch) {
    r.unsettled = moved(float_model, slots, before, observers.ranges());
    before = observers.ranges();
    if (options.learned_steps && epoch == 0) observers.learn_from_now_on();
    if (options.fit.after_epoch) options.fit.after_epoch(epoch);
  };
  r.fit = fit(trainer, samples, o);
  r.float_model = with_parameters(plain, r.fit.parameters);
  r.ranges = observers.ranges();
  for (std::size_t i = 0; i < r.fit.parameters.size(); ++i)
    trainer.weights().value[i].assign(r.fit.parameters[i].span<float>().begin(),
                                      r.fit.parameters[i].span<float>().end());
  r.fake_loss = trainer.evaluate(samples, 0, samples.count, &r.fake_accuracy);
  r.model = quantize_static(r.float_model, r.ranges, options.quantization).model;
  if (!r.unsettled.empty()) {
    r.fit.decisions.push_back(
        {"ranges",
         fmt::format("{} still moving", r.unsettled.size()),
         fmt::format("the range of {} changed by more than 2 % in the last epoch; more epochs or a "
                     "smaller learning rate let it settle",
                     r.unsettled.front()),
         {}});
  }
  return r;
}

}  // namespace litegap
