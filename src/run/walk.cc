#include "run/walk.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "kernels/needs_values.h"
#include "run/prepare.h"

namespace litegap {
namespace {

constexpr int kDeepest = 64;                 // graphs that call graphs
constexpr std::size_t kMostRounds = 200000;  // of one WHILE
const Quant kNoQuant{};

std::size_t z(int i) { return static_cast<std::size_t>(i); }

std::vector<int> called_graphs(const Op& op) {
  if (const auto* a = std::get_if<IfAttrs>(&op.attrs)) return {a->then_graph, a->else_graph};
  if (const auto* a = std::get_if<WhileAttrs>(&op.attrs)) return {a->cond_graph, a->body_graph};
  if (const auto* a = std::get_if<CallOnceAttrs>(&op.attrs)) return {a->init_graph};
  if (const auto* a = std::get_if<CompositeAttrs>(&op.attrs)) return {a->graph};
  if (const auto* a = std::get_if<CaseAttrs>(&op.attrs)) return {a->graphs};
  return {};
}

std::string label_of(const Model& model, int g, std::size_t op) {
  const Graph& graph = model.graphs[z(g)];
  const std::string where = g == 0 ? "" : fmt::format("graph {}: ", g);
  return fmt::format("{}: {}{}", model.path, where, op_label(graph, op));
}

bool draws_random(OpCode code) {
  return code == OpCode::kRandomUniform || code == OpCode::kRandomStandardNormal ||
         code == OpCode::kMultinomial;
}

// One graph of check_walk(); `looped`: a WHILE runs it.
void check_graph(const Model& model, int g, bool looped) {
  const Graph& graph = model.graphs[z(g)];
  std::vector<bool> known(graph.tensors.size(), false);
  for (std::size_t t = 0; t < graph.tensors.size(); ++t) {
    const Tensor& info = graph.tensors[t];
    known[t] = info.constant.has_value() || info.is_variable || shape_elements(info.shape) == 0;
  }
  for (const int t : graph.inputs) known[z(t)] = true;
  for (std::size_t i = 0; i < graph.ops.size(); ++i) {
    const Op& op = graph.ops[i];
    const std::string label = label_of(model, g, i);
    for (const int called : called_graphs(op)) {
      if (called < 0 || z(called) >= model.graphs.size()) {
        fail("{}: calls graph {}, the file has {}", label, called, model.graphs.size());
      }
    }
    if (!is_control(op.code) && kernel_row(op) == nullptr) {
      fail("{}: {}", label, why_refused(op));
    }
    if (looped && draws_random(op.code)) {
      fail("{}: random numbers that go on from round to round are not supported", label);
    }
    for (const int t : op.inputs) {
      if (t >= 0 && !known[z(t)]) {
        fail("{}: reads tensor {} ({}), which nothing has computed before it", label, t,
             graph.tensors[z(t)].name);
      }
    }
    for (const int t : op.outputs) {
      if (t < 0) fail("{}: has an output without a tensor", label);
      const Tensor& info = graph.tensors[z(t)];
      if (info.constant) fail("{}: writes tensor {} ({}), a constant", label, t, info.name);
      if (dtype_bits(info.dtype) == 0 && info.dtype != DType::kResource) {
        fail("{}: tensor {} ({}) of type {} is not supported", label, t, info.name,
             dtype_name(info.dtype));
      }
      known[z(t)] = true;
    }
  }
  for (const int t : graph.outputs) {
    if (!known[z(t)]) {
      fail("{}: graph {}: output {} ({}) is never computed", model.path, g, t,
           graph.tensors[z(t)].name);
    }
  }
}

}  // namespace

bool is_control(OpCode code) {
  switch (code) {
    case OpCode::kIf:
    case OpCode::kWhile:
    case OpCode::kCallOnce:
    case OpCode::kStablehloComposite:
    case OpCode::kStablehloCase:
    case OpCode::kVarHandle:
    case OpCode::kReadVariable:
    case OpCode::kAssignVariable:
      return true;
    default:
      return false;
  }
}

bool needs_walking(const Model& model) {
  return std::ranges::any_of(model.main().ops, [](const Op& op) { return is_control(op.code); });
}

void check_walk(const Model& model) {
  using Visit = std::pair<int, bool>;  // a graph, and whether a WHILE runs it
  std::vector<Visit> todo{{0, false}};
  std::set<Visit> seen{{0, false}};
  while (!todo.empty()) {
    const auto [g, looped] = todo.back();
    todo.pop_back();
    check_graph(model, g, looped);
    for (const Op& op : model.graphs[z(g)].ops) {
      for (const int called : called_graphs(op)) {
        const Visit next{called, looped || op.code == OpCode::kWhile};
        if (seen.insert(next).second) todo.push_back(next);
      }
    }
  }
}

Walker::Walker(const Plan::State& plan, const PlanOptions& options)
    : plan_(plan), options_(options) {
  note_biases();
}

void Walker::reset() { variables_.clear(); }

std::string Walker::label(int g, std::size_t op) const { return label_of(*plan_.model, g, op); }

void Walker::note_biases() {
  for (std::size_t g = 0; g < plan_.model->graphs.size(); ++g) {
    const Graph& graph = plan_.model->graphs[g];
    for (const Op& op : graph.ops) {
      if (auto bias = bias_scale(graph, op)) {
        biases_[{static_cast<int>(g), bias->first}] = std::move(bias->second);
      }
    }
  }
}

bool Walker::has_real_form(int g, int t) const {
  const Tensor& i = info(g, t);
  return i.dtype != DType::kFloat32 && is_quantizable(i.dtype) &&
         (!i.quant.empty() || (i.quant.blockwise() && i.constant) || biases_.contains({g, t}));
}

Arith Walker::arith_of(int g, std::size_t op) const {
  const Numerics& n = plan_.numerics;
  const auto found = n.overrides.find(static_cast<int>(op));
  return g == 0 && found != n.overrides.end() ? found->second : n.arith;
}

// XNNPACK chooses its operators before anything runs, and keeps those whose shapes turn out to be
// others, also in the graphs of a WHILE.  What it does not take is an operator whose parameters (a
// size, an axis) are computed.
Dialect Walker::dialect_of(int g, std::size_t op, bool by_value) const {
  const Numerics& n = plan_.numerics;
  const auto found = n.kernels.find(static_cast<int>(op));
  const Dialect d = g == 0 && found != n.kernels.end()
                        ? found->second
                        : dialect_by_shapes(graph(g), graph(g).ops[op], n.dialect);
  return by_value && d == Dialect::kXnnpack ? Dialect::kBuiltin : d;
}

// The limit is on everything that is alive at one time: values on their way to a reader, variables,
// and what an operator works in.
void Walker::expect_room(std::uint64_t bytes, int g, int t, std::ptrdiff_t op) const {
  const std::uint64_t live = *live_;
  if (options_.memory_limit == 0 || live + bytes <= options_.memory_limit) return;
  fail("{}: {} needs {} bytes beside {} in use, more than the limit of {}",
       op < 0 ? plan_.model->path : label(g, static_cast<std::size_t>(op)),
       t < 0 ? "its scratch" : fmt::format("tensor {} ({})", t, info(g, t).name), bytes, live,
       options_.memory_limit);
}

Array Walker::fresh(int g, int t, DType type, const Shape& shape, std::ptrdiff_t op) const {
  expect_room(dtype_bytes(type, shape_elements(shape)), g, t, op);
  return counted(Array::zeros(type, shape), g, t, op);
}

// The same bytes, in the books until the last of those who share them is gone.
Array Walker::counted(const Array& a, int g, int t, std::ptrdiff_t op) const {
  if (options_.memory_limit == 0) return a;
  const std::uint64_t bytes = a.byte_size();
  expect_room(bytes, g, t, op);
  *live_ += bytes;
  const auto owner =
      std::shared_ptr<const Array>(new Array(a), [live = live_, bytes](const Array* held) {
        *live -= bytes;
        delete held;
      });
  return Array::view(a.dtype(), a.shape(), owner->bytes(), owner);
}

int Walker::input_of(const Frame& f, const Op& op, std::size_t index, std::size_t input) const {
  if (op.input(input) < 0) fail("{}: input {} is absent", label(f.graph, index), input);
  return op.input(input);
}

std::vector<Array> Walker::run(const std::vector<WalkInput>& inputs, Observer* observer) {
  observer_ = observer;
  const Graph& main = graph(0);
  main_.clear();
  std::vector<Value> given;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    Value v;
    const int t = main.inputs[i];
    v.file = counted(inputs[i].file, 0, t, -1);
    if (inputs[i].real) v.real = counted(*inputs[i].real, 0, t, -1);
    const Array& shown = v.real && plan_.numerics.arith != Arith::kInteger ? *v.real : *v.file;
    if (observer_ != nullptr) observer_->on_value(-1, main.inputs[i], shown);
    given.push_back(std::move(v));
  }
  std::vector<Array> out;
  for (Value& v : run_graph(0, std::move(given), 0)) out.push_back(v.file ? *v.file : *v.real);
  return out;
}

Array Walker::tensor(int index) const {
  if (z(index) >= main_.size()) return {};
  const Value& v = main_[z(index)];
  return v.file ? *v.file : v.real ? *v.real : Array{};
}

std::vector<Walker::Value> Walker::run_graph(int g, std::vector<Value> inputs, int depth) {
  const Graph& called = graph(g);
  if (depth > kDeepest) {
    fail("{}: graphs call each other more than {} deep", plan_.model->path, kDeepest);
  }
  if (inputs.size() != called.inputs.size()) {
    fail("{}: graph {} takes {} inputs, is given {}", plan_.model->path, g, called.inputs.size(),
         inputs.size());
  }
  Frame f;
  f.graph = g;
  f.values.resize(called.tensors.size());
  f.readers.assign(called.tensors.size(), 0);
  for (const Op& op : called.ops) {
    for (const int t : op.inputs) f.readers[z(t < 0 ? 0 : t)] += t >= 0 ? 1 : 0;
  }
  for (const int t : called.outputs) ++f.readers[z(t)];
  for (std::size_t i = 0; i < inputs.size(); ++i)
    f.values[z(called.inputs[i])] = std::move(inputs[i]);
  for (std::size_t i = 0; i < called.ops.size(); ++i) {
    run_op(f, i, depth);
    if (g != 0 || !options_.keep_values) release(f, called.ops[i]);
  }
  std::vector<Value> out;
  for (const int t : called.outputs) {
    Value v = f.values[z(t)];
    if (!v.file && !v.real) v.file = value(f, t, false, 0);  // a constant or a variable
    out.push_back(std::move(v));
  }
  if (g == 0 && options_.keep_values) main_ = std::move(f.values);
  return out;
}

void Walker::release(Frame& f, const Op& op) {
  for (const int t : op.inputs) {
    if (t >= 0 && --f.readers[z(t)] == 0) f.values[z(t)] = {};
  }
}

void Walker::run_op(Frame& f, std::size_t index, int depth) {
  const Op& op = graph(f.graph).ops[index];
  if (run_control(f, op, index, depth) || run_resource(f, op, index)) return;
  run_kernel(f, op, index);
}

bool Walker::truth(Frame& f, int t, std::size_t op) {
  const Array& v = value(f, t, false, op);
  if (v.dtype() != DType::kBool || v.elements() != 1) {
    fail("{}: its condition is {} {}, expected one bool", label(f.graph, op), dtype_name(v.dtype()),
         shape_text(v.shape()));
  }
  return v.span<bool>()[0];
}

// What a called graph gave becomes the outputs of the operator.
void Walker::give(Frame& f, const std::vector<int>& outputs, std::vector<Value> values,
                  std::size_t index) {
  if (values.size() < outputs.size()) {
    fail("{}: has {} outputs, the graph that it calls {}", label(f.graph, index), outputs.size(),
         values.size());
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) store(f, outputs[i], std::move(values[i]));
  if (f.graph != 0 || observer_ == nullptr) return;
  for (const int t : outputs) {
    const Value& v = f.values[z(t)];
    observer_->on_value(static_cast<int>(index), t, v.file ? *v.file : *v.real);
  }
}

bool Walker::run_control(Frame& f, const Op& op, std::size_t index, int depth) {
  const auto arguments = [&](std::size_t from) {
    std::vector<Value> in;
    for (std::size_t i = from; i < op.inputs.size(); ++i) {
      const int t = op.inputs[i];
      if (t < 0) fail("{}: input {} is absent", label(f.graph, index), i);
      Value v = f.values[z(t)];
      if (!v.file && !v.real) v.file = value(f, t, false, index);
      in.push_back(std::move(v));
    }
    return in;
  };
  switch (op.code) {
    case OpCode::kIf: {
      const auto& a = std::get<IfAttrs>(op.attrs);
      const int g = truth(f, input_of(f, op, index, 0), index) ? a.then_graph : a.else_graph;
      give(f, op.outputs, run_graph(g, arguments(1), depth + 1), index);
      return true;
    }
    case OpCode::kStablehloCase: {
      const auto& graphs = std::get<CaseAttrs>(op.attrs).graphs;
      if (dialect_of(f.graph, index, false) == Dialect::kReference) {
        fail("{}: the reference kernels have no STABLEHLO_CASE", label(f.graph, index));
      }
      if (graphs.empty()) fail("{}: has no graph to choose from", label(f.graph, index));
      const Array& which = value(f, input_of(f, op, index, 0), false, index);
      if (which.dtype() != DType::kInt32 || which.elements() != 1) {
        fail("{}: its choice is {} {}, expected one int32", label(f.graph, index),
             dtype_name(which.dtype()), shape_text(which.shape()));
      }
      const std::int32_t i = which.span<std::int32_t>()[0];
      const bool known = i >= 0 && z(i) < graphs.size();
      give(f, op.outputs, run_graph(known ? graphs[z(i)] : graphs.back(), arguments(1), depth + 1),
           index);
      return true;
    }
    case OpCode::kWhile: {
      const auto& a = std::get<WhileAttrs>(op.attrs);
      std::vector<Value> state = arguments(0);
      for (std::size_t round = 0;; ++round) {
        const auto go_on = run_graph(a.cond_graph, state, depth + 1);
        if (go_on.empty() || !go_on[0].file || go_on[0].file->dtype() != DType::kBool ||
            go_on[0].file->elements() != 1) {
          fail("{}: graph {} gives no single bool", label(f.graph, index), a.cond_graph);
        }
        if (!go_on[0].file->span<bool>()[0]) break;
        if (round >= kMostRounds)
          fail("{}: does not end in {} rounds", label(f.graph, index), round);
        state = run_graph(a.body_graph, std::move(state), depth + 1);
      }
      give(f, op.outputs, std::move(state), index);
      return true;
    }
    case OpCode::kCallOnce: {
      const int g = std::get<CallOnceAttrs>(op.attrs).init_graph;
      if (called_.insert(g).second) run_graph(g, {}, depth + 1);
      return true;
    }
    case OpCode::kStablehloComposite:
      give(f, op.outputs,
           run_graph(std::get<CompositeAttrs>(op.attrs).graph, arguments(0), depth + 1), index);
      return true;
    default:
      return false;
  }
}

bool Walker::run_resource(Frame& f, const Op& op, std::size_t index) {
  const auto handle = [&]() -> const std::string& {
    const Array& v = value(f, input_of(f, op, index, 0), false, index);
    const auto found = v.elements() == 1 && v.dtype() == DType::kInt32
                           ? handles_.find(v.span<std::int32_t>()[0])
                           : handles_.end();
    if (found == handles_.end()) fail("{}: input 0 is no variable", label(f.graph, index));
    return found->second;
  };
  switch (op.code) {
    case OpCode::kVarHandle: {
      const auto& a = std::get<VarHandleAttrs>(op.attrs);
      const std::string name = a.container + "/" + a.shared_name;
      std::int32_t number = 0;
      for (const auto& [n, known] : handles_) {
        if (known == name) number = n;
      }
      if (number == 0) handles_[number = static_cast<std::int32_t>(handles_.size()) + 1] = name;
      Value v;
      v.file = Array::of<std::int32_t>({1}, {number});
      store(f, op.outputs.at(0), std::move(v));
      return true;
    }
    case OpCode::kReadVariable: {
      const auto found = resources_.find(handle());
      if (found == resources_.end()) {
        fail("{}: reads a variable that nothing has assigned", label(f.graph, index));
      }
      Value v;
      v.file = found->second;
      give(f, op.outputs, {std::move(v)}, index);
      return true;
    }
    case OpCode::kAssignVariable: {
      const std::string name = handle();
      const int t = input_of(f, op, index, 1);
      resources_[name] = counted(value(f, t, false, index).clone(), f.graph, t, index);
      return true;
    }
    default:
      return false;
  }
}

// ---- values -------------------------------------------------------------------------------------

Array Walker::real_constant(int g, int t) const {
  const Tensor& i = info(g, t);
  const auto& replaced = plan_.numerics.constants;
  if (const auto found = replaced.find(t); g == 0 && found != replaced.end()) {
    return found->second.reshaped(i.shape);
  }
  const auto bias = biases_.find({g, t});
  return bias == biases_.end() ? dequantize_constant(graph(g), i)
                               : dequantize(*i.constant, bias->second);
}

void Walker::store(Frame& f, int t, Value value) { f.values[z(t)] = std::move(value); }

const Array& Walker::value(Frame& f, int t, bool real, std::size_t op) {
  const Tensor& i = info(f.graph, t);
  real = real && has_real_form(f.graph, t);
  if (i.is_variable && !i.constant) {
    Value& kept = variables_[{f.graph, t}];
    auto& form = real ? kept.real : kept.file;
    if (!form) {
      form = fresh(f.graph, t, real ? DType::kFloat32 : i.dtype, i.shape, op);
      if (!real && !i.quant.empty() && dtype_bits(i.dtype) == 8) {
        std::memset(form->mutable_data(), static_cast<int>(i.quant.zero_point[0]),
                    form->byte_size());
      }
    }
    return *form;
  }
  Value& v = f.values[z(t)];
  auto& form = real ? v.real : v.file;
  if (form) return *form;
  const auto& other = real ? v.file : v.real;
  const auto& inputs = graph(f.graph).inputs;
  const bool given = other && std::ranges::find(inputs, t) != inputs.end();
  if (i.constant && !given) {
    form = real ? real_constant(f.graph, t) : *i.constant;
  } else if (other) {
    form = counted(real ? dequantize(*other, i.quant) : quantize(*other, i.quant, i.dtype), f.graph,
                   t, op);
  } else if (shape_elements(i.shape) == 0) {
    form = Array::zeros(i.dtype, i.shape);
  } else {
    fail("{}: tensor {} ({}) has no value", label(f.graph, op), t, i.name);
  }
  return *form;
}

// ---- kernels ------------------------------------------------------------------------------------

void Walker::prepare_now(Prepared& p, const Frame& f, const Op& op, std::size_t index,
                         const std::vector<Array>& inputs, bool real) {
  p.kernel.reset();  // it may point to what is held until now, and prepare() may throw
  p.held = inputs;
  OpSpec spec;
  spec.op = &op;
  spec.dialect = dialect_of(f.graph, index, p.by_value);
  spec.label = label(f.graph, index);
  spec.body = body_of(*plan_.model, op);
  const auto operand = [&](int t, bool is_real) {
    const Tensor& i = info(f.graph, t);
    Operand o;
    o.present = true;
    o.dtype = is_real ? DType::kFloat32 : i.dtype;
    o.shape = i.shape;
    o.quant = is_real ? &kNoQuant : &i.quant;
    o.is_variable = i.is_variable;
    o.sparse = !is_real && i.sparse;
    o.sparse_block = i.sparse_block;
    o.name = i.name;
    o.block_scales = is_real ? nullptr : block_scales(graph(f.graph), i.quant);
    return o;
  };
  for (std::size_t k = 0; k < op.inputs.size(); ++k) {
    const int t = op.inputs[k];
    if (t < 0) {
      spec.inputs.emplace_back();
      continue;
    }
    Operand o = operand(t, real && has_real_form(f.graph, t));
    o.dtype = p.held[k].dtype();
    o.shape = p.held[k].shape();
    if (info(f.graph, t).constant || p.by_value) o.constant = &p.held[k];
    spec.inputs.push_back(o);
  }
  for (const int t : op.outputs)
    spec.outputs.push_back(operand(t, real && has_real_form(f.graph, t)));
  for (const int t : op.intermediates) {
    spec.intermediates.push_back(t < 0 ? Operand{} : operand(t, real && has_real_form(f.graph, t)));
  }
  p.kernel = prepare_kernel(*kernel_row(op), spec);
  p.outputs.clear();
  p.types.clear();
  for (const Operand& o : spec.outputs) {
    p.outputs.push_back(o.shape);
    p.types.push_back(o.dtype);
  }
  for (std::size_t k = 0; k < p.held.size(); ++k) {
    if (spec.inputs[k].constant == nullptr) p.held[k] = {};
  }
}

Walker::Prepared& Walker::prepared(Frame& f, const Op& op, std::size_t index,
                                   const std::vector<Array>& inputs, bool real) {
  Prepared& p = prepared_[{f.graph, index}];
  std::vector<Shape> shapes;
  for (const Array& a : inputs) shapes.push_back(a.shape());
  const auto hash = [&] {
    std::uint64_t h = kHashSeed;
    for (const Array& a : inputs) h = hash_bytes(a.bytes(), h);
    return h;
  };
  if (p.kernel && p.shapes == shapes && (!p.by_value || p.values == hash())) return p;
  try {
    prepare_now(p, f, op, index, inputs, real);
  } catch (const NeedsValues&) {
    if (p.by_value) throw;
    p.by_value = true;
    prepare_now(p, f, op, index, inputs, real);
  }
  p.shapes = std::move(shapes);
  if (p.by_value) p.values = hash();
  return p;
}

void Walker::run_kernel(Frame& f, const Op& op, std::size_t index) {
  const Arith arith = arith_of(f.graph, index);
  const bool real = arith != Arith::kInteger;
  std::vector<Array> inputs;
  std::vector<void*> in, out;
  for (const int t : op.inputs) {
    inputs.push_back(t < 0 ? Array{} : value(f, t, real, index));
    in.push_back(t < 0 ? nullptr : const_cast<std::byte*>(inputs.back().data()));
  }
  const Prepared& p = prepared(f, op, index, inputs, real);
  std::vector<Array> results;
  for (std::size_t k = 0; k < op.outputs.size(); ++k) {
    results.push_back(fresh(f.graph, op.outputs[k], p.types[k], p.outputs[k], index));
    out.push_back(results.back().mutable_data());
  }
  if (p.kernel->scratch_bytes() > 0)
    expect_room(p.kernel->scratch_bytes(), f.graph, -1, static_cast<std::ptrdiff_t>(index));
  if (scratch_.empty() || scratch_.byte_size() < p.kernel->scratch_bytes() + 64) {
    const auto words = static_cast<std::int32_t>((p.kernel->scratch_bytes() + 64 + 7) / 8);
    scratch_ = Array::zeros(DType::kInt64, {words});
  }
  Array sums;
  if (f.graph == 0 && observer_ != nullptr && observer_->wants_accumulators() &&
      p.kernel->accumulator_type() != DType::kFloat32) {
    sums = Array::zeros(p.kernel->accumulator_type(), p.outputs[0]);
  }
  p.kernel->run({in.data(), out.data(), scratch_.mutable_data(),
                 sums.empty() ? nullptr : sums.mutable_data()});
  for (std::size_t k = 0; k < op.outputs.size(); ++k) {
    const int t = op.outputs[k];
    const Tensor& i = info(f.graph, t);
    const bool real_form = real && has_real_form(f.graph, t);
    if (real_form && arith == Arith::kFake &&
        !(f.graph == 0 && plan_.numerics.unquantized.contains(t))) {
      results[k] =
          counted(dequantize(quantize(results[k], i.quant, i.dtype), i.quant), f.graph, t, index);
    }
    Value v;
    (real_form ? v.real : v.file) = results[k];
    store(f, t, std::move(v));
    if (f.graph == 0 && observer_ != nullptr) {
      observer_->on_value(static_cast<int>(index), t, results[k]);
    }
  }
  if (f.graph != 0 || observer_ == nullptr) return;
  for (std::size_t k = 0; k < op.inputs.size(); ++k) {
    if (op.inputs[k] >= 0 && info(0, op.inputs[k]).is_variable) {
      observer_->on_state(static_cast<int>(index), op.inputs[k], inputs[k]);
    }
  }
  if (!sums.empty()) observer_->on_accumulators(static_cast<int>(index), sums);
}

}  // namespace litegap
