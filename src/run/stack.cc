#include "run/stack.h"

#include <algorithm>
#include <cstring>

#include "run/prepare.h"

namespace litegap {
namespace {

// The widest block in which a kernel treats neighbouring elements together: where the elements of a
// sample fill whole blocks, their places in the blocks are the same for every sample.
constexpr std::size_t kElementBlock = 64;

bool varies(const Operand& o) { return o.present && o.constant == nullptr; }

std::size_t bytes_of(const Operand& o) { return dtype_bytes(o.dtype, shape_elements(o.shape)); }

Shape rows_times(Shape shape, std::size_t samples) {
  shape[0] *= static_cast<std::int32_t>(samples);
  return shape;
}

// ---- each sample --------------------------------------------------------------------------------

// The kernel of one sample along the buffers of many.
class EachSample final : public Kernel {
 public:
  EachSample(std::unique_ptr<Kernel> one, const OpSpec& spec, std::size_t samples)
      : one_(std::move(one)), samples_(samples) {
    for (const Operand& o : spec.inputs) steps_.push_back(varies(o) ? bytes_of(o) : 0);
    inputs_ = steps_.size();
    for (const Operand& o : spec.outputs) steps_.push_back(bytes_of(o));
    if (const DType sums = one_->accumulator_type(); sums != DType::kFloat32)
      sum_bytes_ = dtype_bytes(sums, shape_elements(spec.outputs[0].shape));
    own_scratch_ = (one_->scratch_bytes() + 63) / 64 * 64;
  }
  std::size_t scratch_bytes() const override {
    return own_scratch_ + steps_.size() * sizeof(void*);
  }
  DType accumulator_type() const override { return one_->accumulator_type(); }
  void run(const Io& io) const noexcept override {
    auto** at = reinterpret_cast<void**>(io.scratch + own_scratch_);
    std::copy(io.inputs, io.inputs + inputs_, at);
    std::copy(io.outputs, io.outputs + (steps_.size() - inputs_), at + inputs_);
    auto* sums = static_cast<std::byte*>(io.accumulators);
    for (std::size_t s = 0; s < samples_; ++s) {
      one_->run({at, at + inputs_, io.scratch, sums});
      for (std::size_t i = 0; i < steps_.size(); ++i) {
        if (steps_[i] > 0) at[i] = static_cast<std::byte*>(at[i]) + steps_[i];
      }
      if (sums != nullptr) sums += sum_bytes_;
    }
  }

 private:
  std::unique_ptr<Kernel> one_;
  std::size_t samples_, inputs_ = 0, own_scratch_ = 0, sum_bytes_ = 0;
  std::vector<std::size_t> steps_;  // bytes from sample to sample, of inputs and outputs
};

// ---- which operators stack ----------------------------------------------------------------------

std::int64_t at_axis(std::int64_t axis, const Shape& shape) {
  return axis < 0 ? axis + static_cast<std::int64_t>(shape.size()) : axis;
}

template <class A>
const A* attrs(const OpSpec& spec) {
  return std::get_if<A>(&spec.op->attrs);
}

bool constants_from(const OpSpec& spec, std::size_t first) {
  for (std::size_t i = first; i < spec.inputs.size(); ++i) {
    if (varies(spec.inputs[i])) return false;
  }
  return true;
}

bool fills_blocks(const Operand& o) { return shape_elements(o.shape) % kElementBlock == 0; }

// Two operands: equal in shape, or one of them a constant that is the same for every row.
bool pair_stacks(const OpSpec& spec) {
  const Shape& y = spec.outputs[0].shape;
  if (spec.inputs.size() != 2 || !fills_blocks(spec.outputs[0])) return false;
  for (const Operand& o : spec.inputs) {
    if (!o.present) return false;
    const bool row = o.shape.size() < y.size() || shape_elements(o.shape) == 1 ||
                     (o.shape.size() == y.size() && o.shape[0] == 1 &&
                      shape_elements(o.shape) < shape_elements(y));
    if (varies(o) ? o.shape != y : !row) return false;
  }
  return true;
}

bool axes_stack(const OpSpec& spec) {
  const Shape& x = spec.inputs[0].shape;
  if (x.size() < 2 || !constants_from(spec, 1)) return false;
  for (const std::int64_t axis : constant_integers(spec, 1)) {
    if (at_axis(axis, x) == 0) return false;
  }
  return true;
}

bool join_stacks(const OpSpec& spec) {
  const auto* a = attrs<ConcatAttrs>(spec);
  if (a == nullptr) return false;
  for (const Operand& o : spec.inputs) {
    if (!varies(o) || at_axis(a->axis, o.shape) == 0) return false;
  }
  return true;
}

bool pad_stacks(const OpSpec& spec) {
  if (!constants_from(spec, 1)) return false;
  const auto padding = constant_integers(spec, 1);
  return padding.size() >= 4 && padding[0] == 0 && padding[1] == 0;
}

bool copies(OpCode code) {
  return code == OpCode::kReshape || code == OpCode::kSqueeze || code == OpCode::kExpandDims;
}

// Whether rows of the operands' first axis are computed one like the other, whatever their number.
bool rows_alike(const OpSpec& spec) {
  const Shape& x = spec.inputs[0].shape;
  switch (spec.op->code) {
    case OpCode::kConv2d:
    case OpCode::kDepthwiseConv2d:
    case OpCode::kFullyConnected:
      return x.size() >= 2 && !spec.inputs[1].sparse && constants_from(spec, 1);
    case OpCode::kAveragePool2d:
    case OpCode::kMaxPool2d:
    case OpCode::kSpaceToDepth:
    case OpCode::kDepthToSpace:
    case OpCode::kResizeBilinear:
    case OpCode::kResizeNearestNeighbor:
      return x.size() == 4 && constants_from(spec, 1);
    case OpCode::kSoftmax:
    case OpCode::kLogSoftmax:
      return x.size() >= 2;
    case OpCode::kRelu:
    case OpCode::kRelu6:
    case OpCode::kReluN1To1:
    case OpCode::kLogistic:
    case OpCode::kTanh:
    case OpCode::kHardSwish:
    case OpCode::kLeakyRelu:
    case OpCode::kElu:
    case OpCode::kGelu:
    case OpCode::kAbs:
    case OpCode::kNeg:
    case OpCode::kExp:
    case OpCode::kSqrt:
    case OpCode::kRsqrt:
    case OpCode::kSquare:
    case OpCode::kQuantize:
    case OpCode::kDequantize:
    case OpCode::kCast:
      return spec.inputs.size() == 1 && fills_blocks(spec.inputs[0]);
    case OpCode::kAdd:
    case OpCode::kSub:
    case OpCode::kMul:
    case OpCode::kMaximum:
    case OpCode::kMinimum:
    case OpCode::kSquaredDifference:
    case OpCode::kPrelu:
      return pair_stacks(spec);
    case OpCode::kMean:
    case OpCode::kSum:
    case OpCode::kReduceMax:
    case OpCode::kReduceMin:
      return axes_stack(spec);
    case OpCode::kConcatenation:
      return join_stacks(spec);
    case OpCode::kPad:
    case OpCode::kPadV2:
      return pad_stacks(spec);
    case OpCode::kTranspose:
      return constants_from(spec, 1) && constant_integers(spec, 1).at(0) == 0;
    case OpCode::kGather: {
      const auto* a = attrs<GatherAttrs>(spec);
      return a != nullptr && a->batch_dims == 0 && at_axis(a->axis, x) == 0 &&
             !varies(spec.inputs[0]) && varies(spec.inputs[1]);
    }
    default:
      return false;
  }
}

bool has_rows(const Operand& o) {
  return !varies(o) || (!o.is_variable && dtype_bits(o.dtype) >= 8 && !o.shape.empty() &&
                        o.shape[0] > 0 && bytes_of(o) > 0);
}

bool stacks(const OpSpec& spec) {
  return !spec.inputs.empty() && spec.outputs.size() == 1 && spec.inputs[0].present &&
         std::all_of(spec.inputs.begin(), spec.inputs.end(), has_rows) &&
         has_rows(spec.outputs[0]) && rows_alike(spec);
}

// The kernel for N times the rows; null when preparing for them gives another shape.
std::unique_ptr<Kernel> prepare_rows(const KernelRow& row, const OpSpec& one, std::size_t samples) {
  OpSpec many = one;
  for (Operand& o : many.inputs) {
    if (varies(o)) o.shape = rows_times(o.shape, samples);
  }
  const Shape expected = rows_times(one.outputs[0].shape, samples);
  many.outputs[0].shape = expected;
  try {
    auto kernel = prepare_kernel(row, many);
    return many.outputs[0].shape == expected ? std::move(kernel) : nullptr;
  } catch (const Error&) {  // a limit that one sample keeps
    return nullptr;
  }
}

std::unique_ptr<Kernel> stacked(const KernelRow& row, const OpSpec& one,
                                std::unique_ptr<Kernel> kernel, std::size_t samples) {
  if (copies(one.op->code) && varies(one.inputs[0]) &&
      bytes_of(one.inputs[0]) == bytes_of(one.outputs[0])) {
    const std::size_t bytes = samples * bytes_of(one.outputs[0]);
    return make_kernel([bytes](const Io& io) { std::memcpy(io.outputs[0], io.inputs[0], bytes); });
  }
  if (stacks(one)) {
    if (auto many = prepare_rows(row, one, samples)) return many;
  }
  return std::make_unique<EachSample>(std::move(kernel), one, samples);
}

// ---- the plan -----------------------------------------------------------------------------------

const Quant kNoQuant{};

Operand operand_of(const Plan::State& state, int slot_index) {
  if (slot_index < 0) return {};
  const auto& slot = state.slot(slot_index);
  const Tensor& info = state.model->main().tensors[static_cast<std::size_t>(slot.tensor)];
  Operand o;
  o.present = true;
  o.dtype = slot.dtype;
  o.shape = slot.shape;
  o.quant = slot.form == Plan::State::Form::kReal ? &kNoQuant : &info.quant;
  o.constant = slot.constant ? &*slot.constant : nullptr;
  o.is_variable = slot.variable;
  o.sparse = info.sparse;
  o.name = info.name;
  return o;
}

OpSpec spec_of(const Plan::State& state, const Plan::State::Step& step) {
  OpSpec spec;
  const Graph& graph = state.model->main();
  spec.dialect = step.dialect;
  if (step.op >= 0) {
    spec.op = &graph.ops[static_cast<std::size_t>(step.op)];
    spec.label = state.model->path + ": " + op_label(graph, static_cast<std::size_t>(step.op));
  }
  for (const int s : step.inputs) spec.inputs.push_back(operand_of(state, s));
  for (const int s : step.outputs) spec.outputs.push_back(operand_of(state, s));
  return spec;
}

// Scales along an axis of an activation: stacking would move the axis.
bool scales_along_axis(const Plan::State& state) {
  return std::any_of(state.slots.begin(), state.slots.end(), [&](const auto& slot) {
    return !slot.constant &&
           state.model->main().tensors[static_cast<std::size_t>(slot.tensor)].quant.per_channel();
  });
}

}  // namespace

void stack_samples(Plan::State& state, std::size_t samples, std::uint64_t most_bytes) {
  while (samples > 1 && state.arena_bytes * samples > most_bytes) samples /= 2;
  if (samples <= 1 || scales_along_axis(state)) return;
  state.samples = samples;
  for (auto& step : state.steps) {
    const OpSpec spec = spec_of(state, step);
    const KernelRow* row = spec.op == nullptr ? nullptr : kernel_row(*spec.op);
    step.kernel = row == nullptr
                      ? std::make_unique<EachSample>(std::move(step.kernel), spec, samples)
                      : stacked(*row, spec, std::move(step.kernel), samples);
  }
}

}  // namespace litegap
