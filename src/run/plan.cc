#include "run/plan.h"

#include <algorithm>
#include <cstring>

#include "kernels/needs_values.h"
#include "run/plan_state.h"
#include "run/prepare.h"
#include "run/stack.h"
#include "run/walk.h"

namespace litegap {

const char* arith_name(Arith arith) {
  switch (arith) {
    case Arith::kReal:
      return "real";
    case Arith::kFake:
      return "fake";
    case Arith::kInteger:
      return "integer";
  }
  return "?";
}

namespace {

using Form = Plan::State::Form;
using Slot = Plan::State::Slot;
using Step = Plan::State::Step;

constexpr std::size_t kFoldLimit = std::size_t{1} << 26;  // bytes of a constant made while planning

// Between two arithmetics: codes to real values or back.
class ConvertKernel final : public Kernel {
 public:
  ConvertKernel(DType from, DType to, Shape shape, const Quant& quant)
      : from_(from), to_(to), shape_(std::move(shape)), quant_(quant) {}
  void run(const Io& io) const noexcept override {
    const std::size_t n = shape_elements(shape_);
    const auto* in = static_cast<const std::byte*>(io.inputs[0]);
    const Array source = Array::view(from_, shape_, {in, dtype_bytes(from_, n)}, nullptr);
    const Array result =
        to_ == DType::kFloat32 ? dequantize(source, quant_) : quantize(source, quant_, to_);
    std::memcpy(io.outputs[0], result.data(), result.byte_size());
  }

 private:
  DType from_, to_;
  Shape shape_;
  Quant quant_;
};

// Turns a model and a numerics into steps.  One walk over the operators in file order.
class Planner {
 public:
  Planner(ModelPtr model, const Numerics& numerics, const PlanOptions& options)
      : state_(std::make_shared<Plan::State>()), options_(options) {
    state_->model = std::move(model);
    state_->numerics = numerics;
  }

  std::shared_ptr<const Plan::State> make() {
    const Model& model = *state_->model;
    if (model.graphs.empty()) fail("{}: the model has no graph", model.path);
    const Graph& graph = model.main();
    file_slot_.assign(graph.tensors.size(), -1);
    real_slot_.assign(graph.tensors.size(), -1);
    check_ids(graph);
    if (needs_walking(model)) throw NeedsValues(model.path + ": has operators that are graphs");
    add_inputs(graph);
    for (std::size_t i = 0; i < graph.ops.size(); ++i) add_op(graph, i);
    for (std::size_t i = 0; i < graph.outputs.size(); ++i) add_output(graph, i);
    lay_out(*state_);
    if (options_.samples > 1) {
      const auto most = options_.memory_limit > 0
                            ? std::min(options_.stack_bytes, options_.memory_limit)
                            : options_.stack_bytes;
      stack_samples(*state_, options_.samples, most);
      if (state_->samples > 1) lay_out(*state_);
    }
    if (options_.memory_limit > 0 && state_->arena_bytes > options_.memory_limit) {
      fail("{}: activations need {} bytes, more than the limit of {}", state_->model->path,
           state_->arena_bytes, options_.memory_limit);
    }
    return state_;
  }

 private:
  const Tensor& tensor(int index) const {
    return state_->model->main().tensors[static_cast<std::size_t>(index)];
  }
  std::string label(std::size_t op) const {
    return state_->model->path + ": " + op_label(state_->model->main(), op);
  }

  void check_ids(const Graph& graph) const {
    const auto bad = [](int id, std::size_t n) {
      return id < 0 || static_cast<std::size_t>(id) >= n;
    };
    const Numerics& n = state_->numerics;
    for (const auto& [op, arith] : n.overrides) {
      if (bad(op, graph.ops.size()))
        fail("numerics: no operator {} in {}", op, state_->model->path);
    }
    for (const auto& [op, dialect] : n.kernels) {
      if (bad(op, graph.ops.size()))
        fail("numerics: no operator {} in {}", op, state_->model->path);
    }
    for (const int t : n.unquantized) {
      if (bad(t, graph.tensors.size()))
        fail("numerics: no tensor {} in {}", t, state_->model->path);
    }
    for (const auto& [t, value] : n.constants) {
      if (bad(t, graph.tensors.size()))
        fail("numerics: no tensor {} in {}", t, state_->model->path);
      if (value.elements() != shape_elements(tensor(t).shape)) {
        fail("numerics: tensor {} ({}) has shape {}, its replacement {}", t, tensor(t).name,
             shape_text(tensor(t).shape), shape_text(value.shape()));
      }
    }
  }

  // A tensor whose codes stand for real numbers.
  bool has_real_form(int t) const {
    const Tensor& info = tensor(t);
    return info.dtype != DType::kFloat32 && is_quantizable(info.dtype) &&
           (!info.quant.empty() || (info.quant.blockwise() && info.constant) ||
            bias_quant_.contains(t));
  }

  int new_slot(int tensor_index, Form form, DType dtype, Shape shape) {
    Slot slot;
    slot.tensor = tensor_index;
    slot.form = form;
    slot.dtype = dtype;
    slot.shape = std::move(shape);
    slot.bytes = dtype_bytes(dtype, shape_elements(slot.shape));
    if (options_.memory_limit > 0 && slot.bytes > options_.memory_limit) {
      fail("{}: tensor {} ({}) needs {} bytes, more than the limit of {}", state_->model->path,
           tensor_index, tensor(tensor_index).name, slot.bytes, options_.memory_limit);
    }
    state_->slots.push_back(std::move(slot));
    return static_cast<int>(state_->slots.size()) - 1;
  }

  int constant_slot(int tensor_index, Form form, Array value) {
    const int s = new_slot(tensor_index, form, value.dtype(), value.shape());
    state_->slots[static_cast<std::size_t>(s)].constant = std::move(value);
    return s;
  }

  void add_inputs(const Graph& graph) {
    if (!options_.input_shapes.empty() && options_.input_shapes.size() != graph.inputs.size()) {
      fail("{}: {} input shapes given, the model has {} inputs", state_->model->path,
           options_.input_shapes.size(), graph.inputs.size());
    }
    for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
      const int t = graph.inputs[i];
      const Tensor& info = tensor(t);
      if (dtype_bits(info.dtype) == 0) {
        fail("{}: input {} ({}) is of type {}: not supported", state_->model->path, i, info.name,
             dtype_name(info.dtype));
      }
      const Shape shape = options_.input_shapes.empty() ? info.shape : options_.input_shapes[i];
      if (file_slot_[static_cast<std::size_t>(t)] < 0) {
        const int s = new_slot(t, Form::kFile, info.dtype, shape);
        state_->slots[static_cast<std::size_t>(s)].persistent = true;
        file_slot_[static_cast<std::size_t>(t)] = s;
      }
      Plan::State::Port port{t, file_slot_[static_cast<std::size_t>(t)], -1, &info.quant};
      state_->inputs.push_back(port);
    }
  }

  // The slot that holds `t` in the asked form, made if needed; `op` only for messages.
  int slot_of(int t, Form form, std::size_t op) {
    const Tensor& info = tensor(t);
    if (form == Form::kReal && !has_real_form(t)) form = Form::kFile;
    auto& here = form == Form::kFile ? file_slot_[static_cast<std::size_t>(t)]
                                     : real_slot_[static_cast<std::size_t>(t)];
    if (here >= 0) return here;
    auto& other = form == Form::kFile ? real_slot_[static_cast<std::size_t>(t)]
                                      : file_slot_[static_cast<std::size_t>(t)];
    if (info.is_variable && other < 0) return here = variable_slot(t, form);
    // A graph input may have data of its own in the file, for which the caller's stand.
    if (info.constant && (other < 0 || state_->slots[static_cast<std::size_t>(other)].constant)) {
      return here = form == Form::kReal ? constant_slot(t, form, real_constant(t))
                                        : file_constant(t, op);
    }
    if (other < 0 && shape_elements(info.shape) == 0)
      return here = constant_slot(t, Form::kFile, Array::zeros(info.dtype, info.shape));
    if (other < 0)
      fail("{}: reads tensor {} ({}), which nothing has computed before it", label(op), t,
           info.name);
    return here = convert(t, form, other);
  }

  int file_constant(int t, std::size_t op) {
    const Tensor& info = tensor(t);
    if (info.sparse && !info.constant)
      fail("{}: tensor {} ({}) is stored sparse: not supported yet", label(op), t, info.name);
    return constant_slot(t, Form::kFile, *info.constant);
  }

  int variable_slot(int t, Form form) {
    const Tensor& info = tensor(t);
    const int s = new_slot(t, form, form == Form::kReal ? DType::kFloat32 : info.dtype, info.shape);
    Slot& slot = state_->slots[static_cast<std::size_t>(s)];
    slot.persistent = slot.variable = true;
    if (form == Form::kFile && !info.quant.empty()) slot.initial_code = info.quant.zero_point[0];
    return s;
  }

  int convert(int t, Form form, int from) {
    const Tensor& info = tensor(t);
    const Slot source = state_->slots[static_cast<std::size_t>(from)];
    const DType to = form == Form::kReal ? DType::kFloat32 : info.dtype;
    if (source.constant) {
      return constant_slot(t, form,
                           form == Form::kReal ? dequantize(*source.constant, info.quant)
                                               : quantize(*source.constant, info.quant, to));
    }
    const int s = new_slot(t, form, to, source.shape);
    for (auto& port : state_->inputs) {
      if (port.tensor == t && form == Form::kReal) {  // filled by run() from what the caller gives
        port.real_slot = s;
        port.fake =
            state_->numerics.arith == Arith::kFake && !state_->numerics.unquantized.contains(t);
        state_->slots[static_cast<std::size_t>(s)].persistent = true;
        return s;
      }
    }
    Step step;
    step.kernel = std::make_unique<ConvertKernel>(source.dtype, to, source.shape, info.quant);
    step.inputs = {from};
    step.outputs = {s};
    state_->steps.push_back(std::move(step));
    return s;
  }

  // Real values of a constant.  A bias has the scale that the kernels use, s_input * s_weights,
  // whatever the file says.
  Array real_constant(int t) const {
    const auto replaced = state_->numerics.constants.find(t);
    if (replaced != state_->numerics.constants.end())
      return replaced->second.reshaped(tensor(t).shape);
    const auto bias = bias_quant_.find(t);
    const Tensor& info = tensor(t);
    return bias == bias_quant_.end() ? dequantize_constant(state_->model->main(), info)
                                     : dequantize(*info.constant, bias->second);
  }

  // Lets a bias without scales of its own take part in real arithmetic.
  void note_bias(const Op& op) {
    if (auto bias = bias_scale(state_->model->main(), op)) {
      bias_quant_[bias->first] = std::move(bias->second);
    }
  }

  Arith arith_of(std::size_t op) const {
    const auto found = state_->numerics.overrides.find(static_cast<int>(op));
    return found == state_->numerics.overrides.end() ? state_->numerics.arith : found->second;
  }
  Dialect dialect_of(std::size_t op) const {
    const auto found = state_->numerics.kernels.find(static_cast<int>(op));
    if (found != state_->numerics.kernels.end()) return found->second;
    const Graph& graph = state_->model->main();
    return dialect_by_shapes(graph, graph.ops[op], state_->numerics.dialect);
  }

  Operand operand(int slot_index, const Quant* quant) const {
    const Slot& slot = state_->slots[static_cast<std::size_t>(slot_index)];
    Operand o;
    o.present = true;
    o.dtype = slot.dtype;
    o.shape = slot.shape;
    o.quant = slot.form == Form::kReal ? &kNoQuant : quant;
    o.constant = slot.constant ? &*slot.constant : nullptr;
    o.is_variable = slot.variable;
    o.sparse = slot.form == Form::kFile && tensor(slot.tensor).sparse;
    o.sparse_block = tensor(slot.tensor).sparse_block;
    o.name = tensor(slot.tensor).name;
    o.block_scales =
        slot.form == Form::kReal ? nullptr : block_scales(state_->model->main(), *quant);
    return o;
  }

  const KernelRow& row_for(const Op& op, std::size_t index) const {
    const KernelRow* row = kernel_row(op);
    if (row == nullptr) fail("{}: {}", label(index), why_refused(op));
    return *row;
  }

  void add_op(const Graph& graph, std::size_t index) {
    const Op& op = graph.ops[index];
    const Arith arith = arith_of(index);
    const Form form = arith == Arith::kInteger ? Form::kFile : Form::kReal;
    const KernelRow& row = row_for(op, index);
    note_bias(op);

    Step step;
    step.op = static_cast<int>(index);
    OpSpec spec;
    spec.op = &op;
    spec.dialect = step.dialect = dialect_of(index);
    spec.label = label(index);
    spec.body = body_of(*state_->model, op);
    for (const int t : op.inputs) step.inputs.push_back(t < 0 ? -1 : slot_of(t, form, index));
    // Only now: an operand points into the slots, which slot_of() may move.
    for (std::size_t i = 0; i < op.inputs.size(); ++i) {
      spec.inputs.push_back(
          step.inputs[i] < 0 ? Operand{} : operand(step.inputs[i], &tensor(op.inputs[i]).quant));
    }
    for (const int t : op.outputs) spec.outputs.push_back(output_operand(t, form, index));
    for (const int t : op.intermediates) {
      spec.intermediates.push_back(t < 0 ? Operand{} : without_value(t, form));
    }
    step.kernel = prepare_kernel(row, spec);
    finish_op(op, spec, form, arith, std::move(step));
  }

  Operand output_operand(int t, Form form, std::size_t index) const {
    if (t < 0) fail("{}: has an output without a tensor", label(index));
    const Tensor& info = tensor(t);
    if (info.constant)
      fail("{}: writes tensor {} ({}), which is a constant", label(index), t, info.name);
    if (file_slot_[static_cast<std::size_t>(t)] >= 0 ||
        real_slot_[static_cast<std::size_t>(t)] >= 0) {
      fail("{}: writes tensor {} ({}), which already has a value", label(index), t, info.name);
    }
    if (dtype_bits(info.dtype) == 0)
      fail("{}: tensor {} ({}) of type {} is not supported", label(index), t, info.name,
           dtype_name(info.dtype));
    return without_value(t, form);
  }

  Operand without_value(int t, Form form) const {
    const Tensor& info = tensor(t);
    const bool real = form == Form::kReal && has_real_form(t);
    Operand o;
    o.present = true;
    o.dtype = real ? DType::kFloat32 : info.dtype;
    o.shape = info.shape;
    o.quant = real ? &kNoQuant : &info.quant;
    o.name = info.name;
    return o;
  }

  void finish_op(const Op& op, const OpSpec& spec, Form form, Arith arith, Step step) {
    bool known = op.code == OpCode::kShape || op.code == OpCode::kRank;
    if (!known) {
      known = true;
      for (const int s : step.inputs) {
        if (s >= 0 && !state_->slots[static_cast<std::size_t>(s)].constant) known = false;
      }
    }
    for (std::size_t i = 0; i < op.outputs.size(); ++i) {
      const int t = op.outputs[i];
      const bool real = form == Form::kReal && has_real_form(t);
      const int s = new_slot(t, real ? Form::kReal : Form::kFile, spec.outputs[i].dtype,
                             spec.outputs[i].shape);
      Slot& slot = state_->slots[static_cast<std::size_t>(s)];
      slot.persistent = options_.keep_values;
      if (real && arith == Arith::kFake && !state_->numerics.unquantized.contains(t))
        slot.fake = &tensor(t).quant;
      (real ? real_slot_ : file_slot_)[static_cast<std::size_t>(t)] = s;
      step.outputs.push_back(s);
      known = known && slot.bytes <= kFoldLimit;
    }
    if (known)
      fold(step);
    else
      state_->steps.push_back(std::move(step));
  }

  // All inputs are known: run the operator now and keep its outputs as constants.
  void fold(const Step& step) {
    std::vector<void*> in, out;
    std::vector<Array> results;
    for (const int s : step.inputs) {
      const Slot* slot = s < 0 ? nullptr : &state_->slots[static_cast<std::size_t>(s)];
      in.push_back(slot == nullptr || !slot->constant
                       ? nullptr
                       : const_cast<std::byte*>(slot->constant->data()));
    }
    for (const int s : step.outputs) {
      const Slot& slot = state_->slots[static_cast<std::size_t>(s)];
      results.push_back(Array::zeros(slot.dtype, slot.shape));
      out.push_back(results.back().mutable_data());
    }
    const Array scratch =
        Array::zeros(DType::kUint8, {static_cast<std::int32_t>(step.kernel->scratch_bytes())});
    step.kernel->run({in.data(), out.data(), const_cast<std::byte*>(scratch.data()), nullptr});
    for (std::size_t i = 0; i < results.size(); ++i) {
      Slot& slot = state_->slots[static_cast<std::size_t>(step.outputs[i])];
      if (slot.fake != nullptr)
        results[i] =
            dequantize(quantize(results[i], *slot.fake, tensor(slot.tensor).dtype), *slot.fake);
      slot.constant = results[i];
    }
  }

  void add_output(const Graph& graph, std::size_t i) {
    const int t = graph.outputs[i];
    const int real = real_slot_[static_cast<std::size_t>(t)],
              file = file_slot_[static_cast<std::size_t>(t)];
    const Tensor& info = tensor(t);
    int s = file;
    // The producer's form; for a graph input handed through, the file's.
    if (file < 0 || (real >= 0 && real < file)) s = real >= 0 ? real : file;
    if (s < 0 && info.constant)
      s = file_slot_[static_cast<std::size_t>(t)] = constant_slot(t, Form::kFile, *info.constant);
    if (s < 0)
      fail("{}: output {} (tensor {}, {}) is never computed", state_->model->path, i, t, info.name);
    state_->slots[static_cast<std::size_t>(s)].persistent = true;
    state_->outputs.push_back({t, s, -1, &info.quant});
  }

  inline static const Quant kNoQuant{};
  std::shared_ptr<Plan::State> state_;
  PlanOptions options_;
  std::vector<int> file_slot_, real_slot_;
  std::map<int, Quant> bias_quant_;
};

}  // namespace

namespace {

// Only the ports: everything else is decided while it runs (run/walk.h).
std::shared_ptr<const Plan::State> walked_state(ModelPtr model, const Numerics& numerics,
                                                const PlanOptions& options) {
  auto state = std::make_shared<Plan::State>();
  state->model = std::move(model);
  state->numerics = numerics;
  state->walked = options;
  check_walk(*state->model);
  const Graph& graph = state->model->main();
  const auto port = [&](int t, const Shape& shape) {
    const Tensor& info = graph.tensors[static_cast<std::size_t>(t)];
    Slot slot;
    slot.tensor = t;
    slot.dtype = info.dtype;
    slot.shape = shape;
    state->slots.push_back(std::move(slot));
    Plan::State::Port p;
    p.tensor = t;
    p.slot = static_cast<int>(state->slots.size()) - 1;
    p.quant = &info.quant;
    p.fake = numerics.arith == Arith::kFake && !numerics.unquantized.contains(t);
    return p;
  };
  const auto& shapes = options.input_shapes;
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    const int t = graph.inputs[i];
    const Tensor& info = graph.tensors[static_cast<std::size_t>(t)];
    if (dtype_bits(info.dtype) == 0) {
      fail("{}: input {} ({}) is of type {}: not supported", state->model->path, i, info.name,
           dtype_name(info.dtype));
    }
    state->inputs.push_back(port(t, shapes.empty() ? info.shape : shapes[i]));
  }
  for (const int t : graph.outputs) {
    state->outputs.push_back(port(t, graph.tensors[static_cast<std::size_t>(t)].shape));
  }
  return state;
}

}  // namespace

Plan make_plan(ModelPtr model, const Numerics& numerics, const PlanOptions& options) {
  Plan plan;
  try {
    plan.state = Planner(model, numerics, options).make();
  } catch (const NeedsValues&) {
    plan.state = walked_state(std::move(model), numerics, options);
  }
  return plan;
}

std::size_t Plan::samples() const { return state->samples; }
bool Plan::walked() const { return state->walked.has_value(); }
const Model& Plan::model() const { return *state->model; }
const Numerics& Plan::numerics() const { return state->numerics; }
std::size_t Plan::input_count() const { return state->inputs.size(); }
std::size_t Plan::output_count() const { return state->outputs.size(); }
DType Plan::input_type(std::size_t i) const { return state->slot(state->inputs.at(i).slot).dtype; }
const Shape& Plan::input_shape(std::size_t i) const {
  return state->slot(state->inputs.at(i).slot).shape;
}
DType Plan::output_type(std::size_t i) const {
  return state->slot(state->outputs.at(i).slot).dtype;
}
const Shape& Plan::output_shape(std::size_t i) const {
  return state->slot(state->outputs.at(i).slot).shape;
}
const Quant& Plan::input_quant(std::size_t i) const { return *state->inputs.at(i).quant; }
const Quant& Plan::output_quant(std::size_t i) const { return *state->outputs.at(i).quant; }
std::uint64_t Plan::activation_bytes() const { return state->arena_bytes; }

}  // namespace litegap
