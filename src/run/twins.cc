#include "run/twins.h"

#include <numeric>

#include "run/plan_state.h"
#include "run/steps.h"

namespace litegap {

// Keeps where the values of `exact` are.
class Twins::Exact final : public Observer {
 public:
  explicit Exact(Twins& twins) : twins_(twins), told_(twins.values_.size(), false) {}
  void on_value(int, int tensor, const Array& value) override {
    const auto t = static_cast<std::size_t>(tensor);
    told_[t] = true;
    if (twins_.copied_[t])
      twins_.values_[t] = value.clone();
    else if (twins_.values_[t].data() != value.data())
      twins_.values_[t] = value;
  }
  bool told(int tensor) const { return told_[static_cast<std::size_t>(tensor)]; }

 private:
  Twins& twins_;
  std::vector<bool> told_;
};

// Compares the values of `plan`; `ahead` are the steps of `exact`, null where it is through.
class Twins::Against final : public Observer {
 public:
  Against(Twins& twins, const Exact& exact, RunSteps* ahead)
      : twins_(twins), exact_(exact), ahead_(ahead), graph_(twins.plan_.model().main()) {}
  void on_value(int, int tensor, const Array& value) override {
    const auto t = static_cast<std::size_t>(tensor);
    const int twin = twins_.twin_[t];
    if (twin < 0) return;
    while (!exact_.told(twin) && ahead_ != nullptr && ahead_->next()) {
    }
    if (!exact_.told(twin)) return;
    compare_twin(twins_.values_[static_cast<std::size_t>(twin)], value, graph_.tensors[t].quant,
                 twins_.errors[t]);
  }

 private:
  Twins& twins_;
  const Exact& exact_;
  RunSteps* ahead_;
  const Graph& graph_;
};

Twins::Twins(Plan exact, Plan plan, std::vector<int> twin)
    : errors(plan.model().main().tensors.size()),
      exact_(std::move(exact)),
      plan_(std::move(plan)),
      exact_space_(exact_),
      space_(plan_),
      twin_(std::move(twin)),
      values_(exact_.model().main().tensors.size()),
      copied_(values_.size(), true) {
  if (twin_.empty()) {
    twin_.resize(errors.size());
    std::iota(twin_.begin(), twin_.end(), 0);
  }
  if (!exact_.walked() && !plan_.walked()) find_copied();
}

// Walks through the steps of both as run() does; a value that `exact` has gone past is there only
// in a place of its own.  A tensor that `exact` has folded into a constant is nobody's twin.
void Twins::find_copied() {
  constexpr int kNever = -2, kInput = -1;
  const auto tensors = [](const Plan::State& state, auto tell) {
    for (const auto& port : state.inputs) tell(kInput, port.seen());
    for (std::size_t i = 0; i < state.steps.size(); ++i) {
      if (state.steps[i].op < 0) continue;
      for (const int s : state.steps[i].outputs) tell(static_cast<int>(i), s);
    }
  };
  const Plan::State &exact = *exact_.state, &plan = *plan_.state;
  std::vector<int> made(values_.size(), kNever);  // by which step
  std::vector<bool> own(values_.size(), false);
  tensors(exact, [&](int step, int slot) {
    const auto t = static_cast<std::size_t>(exact.slot(slot).tensor);
    made[t] = step;
    own[t] = exact.slot(slot).persistent;
  });
  copied_.assign(values_.size(), false);
  int at = kInput;
  tensors(plan, [&](int, int slot) {
    int& twin = twin_[static_cast<std::size_t>(plan.slot(slot).tensor)];
    if (twin < 0) return;
    const auto t = static_cast<std::size_t>(twin);
    if (made[t] == kNever) {
      twin = -1;
      return;
    }
    at = std::max(at, made[t]);
    if (made[t] < at && !own[t]) copied_[t] = true;
  });
}

void Twins::run(std::span<const Array> exact_inputs, std::span<const Array> inputs) {
  Exact exact(*this);
  if (exact_.walked() || plan_.walked()) {
    litegap::run(exact_, exact_space_, exact_inputs, &exact);
    Against against(*this, exact, nullptr);
    return litegap::run(plan_, space_, inputs, &against);
  }
  RunSteps ahead(exact_, exact_space_, exact_inputs, &exact);
  Against against(*this, exact, &ahead);
  litegap::run(plan_, space_, inputs, &against);
  while (ahead.next()) {
  }
}

void Twins::reset() {
  exact_space_.reset();
  space_.reset();
}

}  // namespace litegap
