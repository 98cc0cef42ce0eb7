// Runs a Plan: steps in order over one arena.
#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "base/team.h"
#include "kernels/row_kernel.h"
#include "model/cleared.h"
#include "run/plan.h"
#include "run/plan_state.h"
#include "run/steps.h"
#include "run/walk.h"

namespace litegap {

using Slot = Plan::State::Slot;

struct Workspace::Buffers {
  std::shared_ptr<const Plan::State> plan;
  Array arena, scratch;
  std::vector<void*> slot;                          // where each slot's value is
  std::vector<std::vector<void*>> inputs, outputs;  // per step, ready for Io
  std::vector<Array> results;
  std::vector<Array> looks;      // what observers see: [slot][sample], made when first observed
  std::optional<Walker> walker;  // for walked plans, which use none of the others but results
  // Where several threads share an operator: those, and the kernel of each step that can be shared.
  std::unique_ptr<Team> team;
  std::vector<const RowKernel*> shared;
  std::size_t scratch_bytes = 0;  // of one thread

  // The value of a slot: of one sample, or of all of them with the samples as first axis.
  Array look(int s) const {
    const Slot& info = plan->slot(s);
    if (info.constant || plan->samples == 1) return look(s, 0);
    Shape shape = info.shape;
    shape.insert(shape.begin(), static_cast<std::int32_t>(plan->samples));
    const std::size_t bytes = dtype_bytes(info.dtype, shape_elements(shape));
    return Array::view(info.dtype, shape, {place(s), bytes}, nullptr);
  }
  Array look(int s, std::size_t sample) const {
    const Slot& info = plan->slot(s);
    const std::size_t at = info.constant ? 0 : sample * info.bytes;
    return Array::view(info.dtype, info.shape, {place(s) + at, info.bytes}, nullptr);
  }
  void make_looks() {
    for (std::size_t s = looks.size() / plan->samples; s < plan->slots.size(); ++s) {
      for (std::size_t k = 0; k < plan->samples; ++k) looks.push_back(look(static_cast<int>(s), k));
    }
  }
  const std::byte* place(int s) const {
    return static_cast<const std::byte*>(slot[static_cast<std::size_t>(s)]);
  }
};

namespace {

void fill_code(const Slot& slot, std::size_t samples, void* at) {
  const bool bytes = slot.dtype == DType::kInt8 || slot.dtype == DType::kUint8;
  std::memset(at, bytes ? static_cast<int>(slot.initial_code) : 0, samples * slot.bytes);
}

// Round to the scale and range of a quantized tensor, staying float32.
void fake_quantize(const Quant& quant, DType dtype, Shape shape, std::size_t samples,
                   void* values) {
  if (samples > 1) shape = {static_cast<std::int32_t>(samples * shape_elements(shape))};
  const std::size_t bytes = 4 * shape_elements(shape);
  const Array real =
      Array::view(DType::kFloat32, shape, {static_cast<const std::byte*>(values), bytes}, nullptr);
  const Array rounded = dequantize(quantize(real, quant, dtype), quant);
  std::memcpy(values, rounded.data(), bytes);
}

// What the caller gives, checked: codes, and the real values where they are given in their place.
struct GivenValue {
  Array file;
  std::optional<Array> real;
};

GivenValue given_value(const Plan::State& plan, std::size_t i, const Array& given,
                       std::size_t samples) {
  const auto& port = plan.inputs[i];
  const Slot& slot = plan.slot(port.slot);
  const bool real =
      given.dtype() == DType::kFloat32 && slot.dtype != DType::kFloat32 && !port.quant->empty();
  if ((given.dtype() != slot.dtype && !real) ||
      given.elements() != samples * shape_elements(slot.shape)) {
    fail("{}: input {} ({}) is {} {}, expected {} {}", plan.model->path, i,
         input_name(*plan.model, i), dtype_name(given.dtype()), shape_text(given.shape()),
         dtype_name(slot.dtype), shape_text(slot.shape));
  }
  if (!real) return {given, std::nullopt};
  const Array codes = quantize(given, *port.quant, slot.dtype);
  return {codes, port.fake ? dequantize(codes, *port.quant) : given};
}

void expect_count(const Plan::State& plan, std::size_t given) {
  if (given != plan.inputs.size()) {
    fail("{}: {} inputs given, expected {}", plan.model->path, given, plan.inputs.size());
  }
}

// How many samples the caller gives.
std::size_t given_samples(const Plan::State& plan, std::span<const Array> inputs) {
  if (plan.samples == 1 || inputs.empty()) return plan.samples;
  const std::size_t one = shape_elements(plan.slot(plan.inputs[0].slot).shape);
  return one == 0 ? plan.samples
                  : std::clamp<std::size_t>(inputs[0].elements() / one, 1, plan.samples);
}

void place_inputs(const Plan::State& plan, Workspace::Buffers& b, std::span<const Array> inputs,
                  std::size_t samples) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto& port = plan.inputs[i];
    const GivenValue given = given_value(plan, i, inputs[i], samples);
    std::memcpy(b.slot[static_cast<std::size_t>(port.slot)], given.file.data(),
                given.file.byte_size());
    if (port.real_slot < 0) continue;
    const Array value = given.real ? *given.real : dequantize(given.file, *port.quant);
    std::memcpy(b.slot[static_cast<std::size_t>(port.real_slot)], value.data(), value.byte_size());
  }
}

void walk(const Plan::State& plan, Workspace::Buffers& b, std::span<const Array> inputs,
          Observer* observer) {
  expect_count(plan, inputs.size());
  std::vector<WalkInput> given;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    GivenValue v = given_value(plan, i, inputs[i], 1);
    given.push_back({v.file.reshaped(plan.slot(plan.inputs[i].slot).shape), std::move(v.real)});
    if (given[i].real) given[i].real = given[i].real->reshaped(given[i].file.shape());
  }
  for (Array& last : b.results) last = {};  // room for those to come
  b.results = b.walker->run(given, observer);
}

}  // namespace

Workspace::Workspace(const Plan& plan, int threads) : buffers(std::make_shared<Buffers>()) {
  Buffers& b = *buffers;
  b.plan = plan.state;
  const Plan::State& state = *plan.state;
  if (state.walked) {
    b.walker.emplace(state, *state.walked);
    b.results.resize(state.outputs.size());
    return;
  }
  b.arena = cleared_array(DType::kInt64, {static_cast<std::int32_t>((state.arena_bytes + 7) / 8)});
  threads = std::max(1, threads);
  b.scratch_bytes = (state.scratch_bytes + 63) / 64 * 64;
  b.scratch =
      Array::zeros(DType::kInt64, {threads, static_cast<std::int32_t>(b.scratch_bytes / 8)});
  if (threads > 1) {
    b.team = std::make_unique<Team>(threads);
    for (const auto& step : state.steps) {
      const auto* kernel = dynamic_cast<const RowKernel*>(step.kernel.get());
      const bool worth =
          kernel != nullptr && kernel->rows() > 1 && kernel->products() >= kLeastShared;
      b.shared.push_back(worth ? kernel : nullptr);
    }
  }
  for (const Slot& slot : state.slots) {
    b.slot.push_back(slot.constant ? const_cast<std::byte*>(slot.constant->data())
                                   : b.arena.mutable_data() + slot.offset);
  }
  for (const auto& step : state.steps) {
    const auto gather = [&](const std::vector<int>& slots) {
      std::vector<void*> at;
      for (const int s : slots) at.push_back(s < 0 ? nullptr : b.slot[static_cast<std::size_t>(s)]);
      return at;
    };
    b.inputs.push_back(gather(step.inputs));
    b.outputs.push_back(gather(step.outputs));
  }
  for (const auto& port : state.outputs) b.results.push_back(b.look(port.slot));
  reset();
}

void Workspace::reset() {
  if (buffers->walker) return buffers->walker->reset();
  const Plan::State& state = *buffers->plan;
  for (std::size_t s = 0; s < state.slots.size(); ++s) {
    if (state.slots[s].variable) fill_code(state.slots[s], state.samples, buffers->slot[s]);
  }
}

const Array& Workspace::output(std::size_t i) const { return buffers->results.at(i); }

std::span<std::byte> Workspace::input_room(std::size_t i) {
  const Plan::State& state = *buffers->plan;
  const auto& port = state.inputs.at(i);
  if (buffers->walker || port.real_slot >= 0) return {};
  return {static_cast<std::byte*>(buffers->slot[static_cast<std::size_t>(port.slot)]),
          state.samples * state.slot(port.slot).bytes};
}

Array Workspace::tensor(int index) const {
  if (buffers->walker) return buffers->walker->tensor(index);
  const Plan::State& state = *buffers->plan;
  for (std::size_t s = 0; s < state.slots.size(); ++s) {
    if (state.slots[s].tensor == index) return buffers->look(static_cast<int>(s));
  }
  return {};
}

namespace {

// Tells one observer what a run of some samples computes.
class Teller {
 public:
  Teller(const Plan::State& plan, Workspace::Buffers& b, std::size_t samples, Observer& observer)
      : plan_(plan), b_(b), samples_(samples), observer_(observer) {
    b.make_looks();
    if (samples == 1) observer.on_sample(0);
  }
  bool wants_sums(const Plan::State::Step& step) const {
    return step.op >= 0 && observer_.wants_accumulators() &&
           step.kernel->accumulator_type() != DType::kFloat32;
  }
  void inputs() const {
    for (const auto& port : plan_.inputs) {
      each(port.seen(), [&](const Array& value) { observer_.on_value(-1, port.tensor, value); });
    }
  }
  void values(const Plan::State::Step& step) const {
    for (const int s : step.outputs) {
      each(s, [&](const Array& v) { observer_.on_value(step.op, plan_.slot(s).tensor, v); });
    }
    for (const int s : step.inputs) {
      if (s < 0 || !plan_.slot(s).variable) continue;
      each(s, [&](const Array& v) { observer_.on_state(step.op, plan_.slot(s).tensor, v); });
    }
  }
  void sums(const Plan::State::Step& step, const Array& all) const {
    for (std::size_t k = 0; k < samples_; ++k) {
      if (samples_ > 1) observer_.on_sample(k);
      observer_.on_accumulators(step.op,
                                all.slice0(k, k + 1).reshaped(plan_.slot(step.outputs[0]).shape));
    }
  }

 private:
  template <class F>
  void each(int slot, F tell) const {
    const Array* looks = &b_.looks[static_cast<std::size_t>(slot) * plan_.samples];
    for (std::size_t k = 0; k < samples_; ++k) {
      if (samples_ > 1) observer_.on_sample(k);
      tell(looks[k]);
    }
  }
  const Plan::State& plan_;
  Workspace::Buffers& b_;
  std::size_t samples_;
  Observer& observer_;
};

// An operator in pieces, two for each thread, as one may be kept from its processor.
void run_shared(const RowKernel& kernel, Workspace::Buffers& b, const Io& io) {
  const std::size_t rows = kernel.rows();
  const std::size_t pieces = std::min(rows, 2 * static_cast<std::size_t>(b.team->threads()));
  b.team->share(pieces, [&](std::size_t p, int worker) {
    Io own = io;
    own.scratch += static_cast<std::size_t>(worker) * b.scratch_bytes;
    kernel.run_rows(own, p * rows / pieces, (p + 1) * rows / pieces);
  });
}

Array room_for_sums(const Plan::State& plan, const Plan::State::Step& step) {
  Shape shape = plan.slot(step.outputs[0]).shape;
  shape.insert(shape.begin(), static_cast<std::int32_t>(plan.samples));
  return Array::zeros(step.kernel->accumulator_type(), shape);
}

}  // namespace

struct RunSteps::Inside {
  const Plan::State& state;
  Workspace::Buffers& b;
  std::optional<Teller> teller;
  std::size_t i = 0;

  Inside(const Plan& plan, Workspace& workspace, std::size_t samples, Observer* observer)
      : state(*plan.state), b(*workspace.buffers) {
    if (observer != nullptr) teller.emplace(state, b, samples, *observer).inputs();
  }
  bool next() {
    if (i == state.steps.size()) return false;
    const auto& step = state.steps[i];
    Array sums;
    if (teller && teller->wants_sums(step)) sums = room_for_sums(state, step);
    const Io io{b.inputs[i].data(), b.outputs[i].data(), b.scratch.mutable_data(),
                sums.empty() ? nullptr : sums.mutable_data()};
    if (b.team && b.shared[i] != nullptr)
      run_shared(*b.shared[i], b, io);
    else
      step.kernel->run(io);
    for (const int s : step.outputs) {
      const Slot& slot = state.slot(s);
      if (slot.fake == nullptr) continue;
      fake_quantize(*slot.fake,
                    state.model->main().tensors[static_cast<std::size_t>(slot.tensor)].dtype,
                    slot.shape, state.samples, b.slot[static_cast<std::size_t>(s)]);
    }
    if (teller && step.op >= 0) teller->values(step);
    if (!sums.empty()) teller->sums(step, sums);
    ++i;
    return true;
  }
};

namespace {

// Puts the inputs where the steps read them; returns how many samples they are.
std::size_t placed(const Plan& plan, Workspace& workspace, std::span<const Array> inputs) {
  expect_count(*plan.state, inputs.size());
  const std::size_t samples = given_samples(*plan.state, inputs);
  place_inputs(*plan.state, *workspace.buffers, inputs, samples);
  return samples;
}

}  // namespace

RunSteps::RunSteps(const Plan& plan, Workspace& workspace, std::span<const Array> inputs,
                   Observer* observer)
    : inside_(
          std::make_unique<Inside>(plan, workspace, placed(plan, workspace, inputs), observer)) {}
RunSteps::~RunSteps() = default;
bool RunSteps::next() { return inside_->next(); }

void run(const Plan& plan, Workspace& workspace, std::span<const Array> inputs,
         Observer* observer) {
  if (workspace.buffers->walker) {
    if (observer != nullptr) observer->on_sample(0);
    return walk(*plan.state, *workspace.buffers, inputs, observer);
  }
  run_filled(plan, workspace, placed(plan, workspace, inputs), observer);
}

void run_filled(const Plan& plan, Workspace& workspace, std::size_t samples, Observer* observer) {
  RunSteps::Inside inside(plan, workspace, samples, observer);
  while (inside.next()) {
  }
}

}  // namespace litegap
