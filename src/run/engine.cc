// Runs a Plan: steps in order over one arena.
#include <cstring>
#include <optional>

#include "run/plan.h"
#include "run/plan_state.h"
#include "run/walk.h"

namespace litegap {

using Slot = Plan::State::Slot;

struct Workspace::Buffers {
  std::shared_ptr<const Plan::State> plan;
  Array arena, scratch;
  std::vector<void*> slot;                          // where each slot's value is
  std::vector<std::vector<void*>> inputs, outputs;  // per step, ready for Io
  std::vector<Array> results;
  std::optional<Walker> walker;  // for walked plans, which use none of the others but results

  Array look(int s) const {
    const Slot& info = plan->slot(s);
    return Array::view(
        info.dtype, info.shape,
        {static_cast<const std::byte*>(slot[static_cast<std::size_t>(s)]), info.bytes}, nullptr);
  }
};

namespace {

void fill_code(const Slot& slot, void* at) {
  if (slot.dtype == DType::kInt8)
    std::memset(at, static_cast<int>(slot.initial_code), slot.bytes);
  else if (slot.dtype == DType::kUint8)
    std::memset(at, static_cast<int>(slot.initial_code), slot.bytes);
  else
    std::memset(at, 0, slot.bytes);
}

// Round to the scale and range of a quantized tensor, staying float32.
void fake_quantize(const Quant& quant, DType dtype, const Shape& shape, void* values) {
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

GivenValue given_value(const Plan::State& plan, std::size_t i, const Array& given) {
  const auto& port = plan.inputs[i];
  const Slot& slot = plan.slot(port.slot);
  const bool real =
      given.dtype() == DType::kFloat32 && slot.dtype != DType::kFloat32 && !port.quant->empty();
  if ((given.dtype() != slot.dtype && !real) || given.elements() != shape_elements(slot.shape)) {
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

void place_inputs(const Plan::State& plan, Workspace::Buffers& b, std::span<const Array> inputs) {
  expect_count(plan, inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto& port = plan.inputs[i];
    const GivenValue given = given_value(plan, i, inputs[i]);
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
    GivenValue v = given_value(plan, i, inputs[i]);
    given.push_back({v.file.reshaped(plan.slot(plan.inputs[i].slot).shape), std::move(v.real)});
    if (given[i].real) given[i].real = given[i].real->reshaped(given[i].file.shape());
  }
  for (Array& last : b.results) last = {};  // room for those to come
  b.results = b.walker->run(given, observer);
}

}  // namespace

Workspace::Workspace(const Plan& plan) : buffers(std::make_shared<Buffers>()) {
  Buffers& b = *buffers;
  b.plan = plan.state;
  const Plan::State& state = *plan.state;
  if (state.walked) {
    b.walker.emplace(state, *state.walked);
    b.results.resize(state.outputs.size());
    return;
  }
  b.arena = Array::zeros(DType::kInt64, {static_cast<std::int32_t>((state.arena_bytes + 7) / 8)});
  b.scratch =
      Array::zeros(DType::kInt64, {static_cast<std::int32_t>((state.scratch_bytes + 7) / 8)});
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
    if (state.slots[s].variable) fill_code(state.slots[s], buffers->slot[s]);
  }
}

const Array& Workspace::output(std::size_t i) const { return buffers->results.at(i); }

Array Workspace::tensor(int index) const {
  if (buffers->walker) return buffers->walker->tensor(index);
  const Plan::State& state = *buffers->plan;
  for (std::size_t s = 0; s < state.slots.size(); ++s) {
    if (state.slots[s].tensor == index) return buffers->look(static_cast<int>(s));
  }
  return {};
}

void run(const Plan& plan, Workspace& workspace, std::span<const Array> inputs,
         Observer* observer) {
  const Plan::State& state = *plan.state;
  Workspace::Buffers& b = *workspace.buffers;
  if (b.walker) return walk(state, b, inputs, observer);
  place_inputs(state, b, inputs);
  if (observer != nullptr) {
    for (const auto& port : state.inputs)
      observer->on_value(-1, port.tensor, b.look(port.real_slot >= 0 ? port.real_slot : port.slot));
  }
  const bool sums_wanted = observer != nullptr && observer->wants_accumulators();
  for (std::size_t i = 0; i < state.steps.size(); ++i) {
    const auto& step = state.steps[i];
    Array sums;
    if (sums_wanted && step.op >= 0 && step.kernel->accumulator_type() != DType::kFloat32) {
      sums = Array::zeros(step.kernel->accumulator_type(), state.slot(step.outputs[0]).shape);
    }
    step.kernel->run({b.inputs[i].data(), b.outputs[i].data(), b.scratch.mutable_data(),
                      sums.empty() ? nullptr : sums.mutable_data()});
    for (const int s : step.outputs) {
      const Slot& slot = state.slot(s);
      if (slot.fake != nullptr) {
        fake_quantize(*slot.fake,
                      state.model->main().tensors[static_cast<std::size_t>(slot.tensor)].dtype,
                      slot.shape, b.slot[static_cast<std::size_t>(s)]);
      }
      if (observer != nullptr && step.op >= 0) observer->on_value(step.op, slot.tensor, b.look(s));
    }
    if (observer != nullptr && step.op >= 0) {
      for (const int s : step.inputs) {
        if (s >= 0 && state.slot(s).variable)
          observer->on_state(step.op, state.slot(s).tensor, b.look(s));
      }
    }
    if (!sums.empty()) observer->on_accumulators(step.op, sums);
  }
}

}  // namespace litegap
