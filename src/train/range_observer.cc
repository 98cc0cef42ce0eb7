#include "train/range_observer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/params.h"
#include "quant/scales.h"

namespace litegap {
namespace {

std::size_t z(int i) { return static_cast<std::size_t>(i); }

template <class T>
Array row(const std::vector<T>& v) {
  return Array::of<T>({static_cast<std::int32_t>(v.size())}, v);
}

template <class T>
std::vector<T> values(const NamedArrays& all, const std::string& name, DType type,
                      std::size_t count) {
  const Array* a = find_array(all, name);
  if (a == nullptr || a->dtype() != type || a->elements() != count) {
    fail("checkpoint: {} has {} values, expected {}: it is not of this quantization-aware training",
         name, a == nullptr ? 0 : a->elements(), count);
  }
  return {a->span<T>().begin(), a->span<T>().end()};
}

// Who shares a scale with whom: each tensor points to another one of its group, or to itself.
class Groups {
 public:
  explicit Groups(std::size_t n) : to_(n) {
    for (std::size_t i = 0; i < n; ++i) to_[i] = i;
  }
  std::size_t of(std::size_t i) const {
    while (to_[i] != i) i = to_[i];
    return i;
  }
  void join(std::size_t a, std::size_t b) { to_[of(a)] = of(b); }

 private:
  std::vector<std::size_t> to_;
};

// The group of each tensor.  A table that is looked up keeps its own range (quant/scales.cc).
std::vector<std::size_t> groups_of(const Model& file, const Scales& scales) {
  const Graph& g = file.main();
  Groups groups(g.tensors.size());
  for (std::size_t k = 0; k < g.ops.size(); ++k) {
    const Op& op = g.ops[k];
    if (!same_scale(op.code)) continue;
    std::vector<std::size_t> members;
    for (std::size_t i = 0; i < op.inputs.size(); ++i) {
      const int t = op.inputs[i];
      if (t >= 0 && g.tensors[z(t)].dtype == DType::kFloat32 && is_value_input(op, i) &&
          !scales.input.contains({static_cast<int>(k), i}))
        members.push_back(z(t));
    }
    const bool table = members.size() == 1 && g.tensors[members[0]].constant;
    for (std::size_t j = 0; j < op.outputs.size(); ++j) {
      const int t = op.outputs[j];
      if (g.tensors[z(t)].dtype == DType::kFloat32 &&
          !scales.output.contains({static_cast<int>(k), j}))
        members.push_back(z(t));
    }
    for (std::size_t i = 1; i < members.size() && !table; ++i) groups.join(members[i], members[0]);
  }
  std::vector<std::size_t> all;
  for (std::size_t t = 0; t < g.tensors.size(); ++t) all.push_back(groups.of(t));
  return all;
}

}  // namespace

RangeObserver::RangeObserver(Model file, std::vector<FakeSlot>& slots, const RangeOptions& options)
    : file_(std::move(file)), slots_(slots), options_(options) {
  const std::size_t n = file_.main().tensors.size();
  const float none = std::numeric_limits<float>::quiet_NaN();
  ranges_.min.assign(n, none);
  ranges_.max.assign(n, none);
  ranges_.p_low.assign(n, 0);
  ranges_.p_high.assign(n, 0);
  ranges_.samples = 1;
  full_.assign(slots.size(), 0);
  find_ends();
  for (std::size_t t = 0; t < n; ++t) {
    const auto& c = file_.main().tensors[t].constant;
    if (!c || c->dtype() != DType::kFloat32 || c->empty()) continue;
    const auto [low, high] = std::minmax_element(c->span<float>().begin(), c->span<float>().end());
    ranges_.min[t] = *low;
    ranges_.max[t] = *high;
  }
}

void RangeObserver::find_ends() {
  const Graph& g = file_.main();
  ends_.assign(g.tensors.size(), End::kNone);
  for (const int t : g.outputs) ends_[z(t)] = End::kOutput;
  for (std::size_t k = g.ops.size(); k-- > 0;) {
    const Op& op = g.ops[k];
    const bool curve = op.code == OpCode::kLogistic || op.code == OpCode::kTanh;
    if (!same_scale(op.code) && !curve) continue;
    const bool passes = std::any_of(op.outputs.begin(), op.outputs.end(),
                                    [&](int t) { return t >= 0 && ends_[z(t)] != End::kNone; });
    for (const int t : op.inputs)
      if (t >= 0 && passes) ends_[z(t)] = End::kOutput;
  }
  for (const int t : g.inputs) ends_[z(t)] = End::kInput;
}

void RangeObserver::follow() {
  const double momentum = std::min(options_.momentum, 1 - haste_ / (1 + haste_ + steps_));
  steps_ += 1;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    FakeSlot& s = slots_[i];
    if (s.kind != FakeKind::kActivation || !s.seen) continue;
    // The short batch at the end of an epoch has narrower extremes; it counts by its share.
    full_[i] = std::max(full_[i], s.batch_values);
    const double share = static_cast<double>(s.batch_values) / static_cast<double>(full_[i]);
    // An output's range needs no start: it widens at once, and forgets at its own pace.
    const double own =
        ends_[z(s.tensor)] == End::kNone ? momentum : std::max(momentum, options_.momentum);
    const auto m = static_cast<float>(1 - (1 - own) * share);
    float &low = ranges_.min[z(s.tensor)], &high = ranges_.max[z(s.tensor)];
    const bool first = std::isnan(low);
    if (file_.main().tensors[z(s.tensor)].constant) {  // as it is now, not as it was
      see_constant(z(s.tensor), s.batch_min, s.batch_max);
    } else if (s.learn && !s.quant.empty()) {
      learn(s, low, high);
    } else {
      average(s, first, m, low, high);
    }
    s.seen = false;
  }
  place();
}

void RangeObserver::average(const FakeSlot& s, bool first, float m, float& low, float& high) const {
  const float old_low = first ? s.batch_min : low, old_high = first ? s.batch_max : high;
  low = m * old_low + (1 - m) * s.batch_min;
  high = m * old_high + (1 - m) * s.batch_max;
  if (ends_[z(s.tensor)] == End::kNone) return;
  const bool input = ends_[z(s.tensor)] == End::kInput;
  low = std::min(input ? old_low : low, s.batch_min);
  high = std::max(input ? old_high : high, s.batch_max);
}

void RangeObserver::learn_from_now_on() {
  for (FakeSlot& s : slots_) s.learn = s.kind == FakeKind::kActivation;
}

// The step size goes down its gradient, by at most a tenth of itself; the range goes with it.
void RangeObserver::learn(FakeSlot& s, float& low, float& high) const {
  const double scale = s.quant.scale[0];
  const double change = std::clamp(options_.step_rate * s.step_grad, -0.1 * scale, 0.1 * scale);
  const auto factor = static_cast<float>((scale - change) / scale);
  low *= factor;
  high *= factor;
  s.step_grad = 0;
}

void RangeObserver::mark() { before_ = ranges_; }

void RangeObserver::restart() {
  steps_ = 0;
  haste_ = kRestart;
  for (FakeSlot& s : slots_) {
    const std::size_t t = z(s.tensor);
    if (s.kind != FakeKind::kActivation || file_.main().tensors[t].constant ||
        ends_[t] == End::kInput)
      continue;
    ranges_.min[t] = ranges_.max[t] = std::numeric_limits<float>::quiet_NaN();
    s.quant = {};
    s.cuts = s.seen = false;
    s.step_grad = 0;
  }
}

void RangeObserver::place() {
  if (groups_.empty()) groups_ = groups_of(file_, choose_scales(file_, ranges_));
  shared_ = ranges_;
  for (std::size_t t = 0; t < groups_.size(); ++t) {  // fmin and fmax pass over what was not seen
    shared_.min[groups_[t]] = std::fmin(shared_.min[groups_[t]], ranges_.min[t]);
    shared_.max[groups_[t]] = std::fmax(shared_.max[groups_[t]], ranges_.max[t]);
  }
  for (std::size_t t = 0; t < groups_.size(); ++t) {
    shared_.min[t] = shared_.min[groups_[t]];
    shared_.max[t] = shared_.max[groups_[t]];
  }
  const Scales scales = choose_scales(file_, shared_);
  for (FakeSlot& s : slots_) {
    if (s.kind != FakeKind::kActivation) continue;
    const std::size_t t = z(s.tensor);
    s.quant = scales.tensor[t];
    if (s.quant.empty() && file_.main().tensors[t].constant)
      s.quant = activation_quant(ranges_.min[t], ranges_.max[t], DType::kInt8);
  }
}

void RangeObserver::see_constant(std::size_t tensor, float low, float high) {
  ranges_.min[tensor] = low;
  ranges_.max[tensor] = high;
  file_.main().tensors[tensor].constant = Array::of<float>({2}, {low, high});
}

void RangeObserver::set_ranges(const Ranges& ranges, const Model& file) {
  ranges_ = ranges;
  for (const FakeSlot& s : slots_) {
    const auto& c = file.main().tensors[z(s.tensor)].constant;
    if (s.kind != FakeKind::kActivation || !c) continue;
    const auto [low, high] = std::minmax_element(c->span<float>().begin(), c->span<float>().end());
    see_constant(z(s.tensor), *low, *high);
  }
  place();
}

std::vector<std::string> RangeObserver::settle() {
  for (FakeSlot& s : slots_) {
    if (s.kind != FakeKind::kActivation || s.quant.empty()) continue;
    const std::size_t t = z(s.tensor);
    const float width = ranges_.max[t] - ranges_.min[t];
    const float change = std::max(std::fabs(ranges_.min[t] - before_.min[t]),
                                  std::fabs(ranges_.max[t] - before_.max[t]));
    s.cuts = change <= 0.02f * width;
  }
  mark();
  return unsettled();
}

std::vector<std::string> RangeObserver::unsettled() const {
  std::vector<std::string> names;
  for (const FakeSlot& s : slots_) {
    if (s.kind == FakeKind::kActivation && !s.quant.empty() && !s.cuts)
      names.push_back(file_.main().tensors[z(s.tensor)].name);
  }
  return names;
}

NamedArrays RangeObserver::save() const {
  std::vector<double> state{steps_, haste_};
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    state.push_back(static_cast<double>(full_[i]));
    state.push_back(slots_[i].cuts ? 1 : 0);
    state.push_back(slots_[i].learn ? 1 : 0);
  }
  return {{"range_min", row(ranges_.min)},
          {"range_max", row(ranges_.max)},
          {"range_state", row(state)}};
}

void RangeObserver::load(const NamedArrays& saved) {
  const std::size_t n = ranges_.min.size();
  ranges_.min = values<float>(saved, "range_min", DType::kFloat32, n);
  ranges_.max = values<float>(saved, "range_max", DType::kFloat32, n);
  const auto state = values<double>(saved, "range_state", DType::kFloat64, 2 + 3 * slots_.size());
  steps_ = state[0];
  haste_ = state[1];
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    full_[i] = static_cast<std::size_t>(state[2 + 3 * i]);
    slots_[i].cuts = state[3 + 3 * i] != 0;
    slots_[i].learn = state[4 + 3 * i] != 0;
    slots_[i].seen = false;
    slots_[i].step_grad = 0;
  }
  before_ = ranges_;
  place();
}

}  // namespace litegap
