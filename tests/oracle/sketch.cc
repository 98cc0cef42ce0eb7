#include "oracle/sketch.h"

#include <cmath>
#include <cstring>
#include <sstream>

#include "oracle/op_case.h"

namespace litegap::oracle {

// ---- the registry
std::span<const Judge> judges() {
  static const std::vector<Judge> all = [] {
    std::vector<Judge> list;
    for (const auto family :
         {move_judges(), join_judges(), index_judges(), number_judges(), code_judges(),
          row_judges(), product_judges(), sound_judges(), recurrent_judges()})
      list.insert(list.end(), family.begin(), family.end());
    return list;
  }();
  return all;
}

const Judge* judge_of(const Op& op) {
  for (const Judge& j : judges()) {
    if (j.code == op.code && (j.custom == nullptr || op.custom_code == j.custom)) return &j;
  }
  return nullptr;
}

namespace {

// What the double arithmetic of a judge and the words of a kernel hold alike.
bool tame(const Array& a) {
  if (!is_float(a.dtype())) return true;
  for (std::size_t i = 0; i < a.elements(); ++i) {
    const double v = std::abs(number(a, i));
    if (!(v < 1e15) || (v > 0 && v < 1e-30)) return false;
  }
  return true;
}

Array converted(const Array& a, DType from, DType to) {
  if (a.dtype() != from) return a;
  Array b = Array::zeros(to, a.shape());
  for (std::size_t i = 0; i < a.elements(); ++i) put(b, i, number(a, i));
  return b;
}

// Codes without a scale, or with one that many operators have brought far from 1, are no operands.
bool usable(const Tensor& t) {
  if (t.dtype != DType::kInt8 && t.dtype != DType::kUint8 && t.dtype != DType::kInt16) return true;
  return t.quant.scale.size() == 1 && t.quant.scale[0] > 1e-5f && t.quant.scale[0] < 1e3f;
}

bool moves_halves(OpCode code) {
  return code == OpCode::kDequantize || code == OpCode::kDensify || code == OpCode::kCast;
}

}  // namespace

Verdict judge_node(const Judge& judge, const Node& node) {
  for (const Value& v : node.in) {
    if (v.present && !tame(v.array)) return {{}, 0, "values beyond those of the judge", {}};
  }
  const KernelRow* row = kernel_row(node.op);
  bool half = false;
  for (const Value& v : node.in) half = half || (v.present && v.array.dtype() == DType::kFloat16);
  if (!half || moves_halves(node.op.code) || std::string(row->types) == "any")
    return judge.judge(node);
  Node wide = node;
  for (Value& v : wide.in) v.array = converted(v.array, DType::kFloat16, DType::kFloat32);
  for (DType& t : wide.out_types) t = t == DType::kFloat16 ? DType::kFloat32 : t;
  Verdict verdict = judge.judge(wide);
  for (std::size_t i = 0; i < verdict.outputs.size(); ++i) {
    if (node.out_types[i] == DType::kFloat16)
      verdict.outputs[i] = converted(verdict.outputs[i], DType::kFloat32, DType::kFloat16);
  }
  verdict.tolerance = std::max(verdict.tolerance, 1e-3);
  return verdict;
}

// ---- Sketch
int Sketch::tensor(DType type, Shape shape, Quant quant) {
  Tensor t;
  auto& tensors = model_.main().tensors;
  t.name = "t" + std::to_string(tensors.size());
  t.dtype = type;
  t.shape = std::move(shape);
  t.has_rank = true;
  t.quant = std::move(quant);
  tensors.push_back(std::move(t));
  return static_cast<int>(tensors.size()) - 1;
}

int Sketch::input(Array value, Quant quant) {
  const int t = tensor(value.dtype(), value.shape(), std::move(quant));
  model_.main().inputs.push_back(t);
  inputs_.push_back(std::move(value));
  return t;
}
int Sketch::constant(Array value, Quant quant) {
  const int t = tensor(value.dtype(), value.shape(), std::move(quant));
  model_.main().tensors.back().constant = std::move(value);
  return t;
}
int Sketch::variable(DType type, Shape shape, Quant quant) {
  const int t = tensor(type, std::move(shape), std::move(quant));
  model_.main().tensors.back().is_variable = true;
  return t;
}

Array Sketch::random(DType type, const Shape& shape) {
  Array a = Array::zeros(type, shape);
  for (std::size_t i = 0; i < a.elements(); ++i) {
    switch (type) {
      case DType::kFloat32:
      case DType::kFloat64:
      case DType::kFloat16:
        put(a, i, static_cast<double>(draw.real(-4, 4)));
        break;
      case DType::kComplex64: {
        const float z[] = {draw.real(-4, 4), draw.real(-4, 4)};
        std::memcpy(a.mutable_data() + 8 * i, z, 8);
        break;
      }
      case DType::kComplex128: {
        const double z[] = {draw.real(-4, 4), draw.real(-4, 4)};
        std::memcpy(a.mutable_data() + 16 * i, z, 16);
        break;
      }
      case DType::kBool:
        put_integer(a, i, draw.in(0, 1));
        break;
      case DType::kInt8:
      case DType::kUint8:
      case DType::kInt16:
        put_integer(a, i, draw.in(least(type), most(type)));
        break;
      case DType::kUint16:
      case DType::kUint32:
      case DType::kUint64:
        put_integer(a, i, draw.in(0, 200));
        break;
      default:
        put_integer(a, i, draw.in(-100, 100));
    }
  }
  return a;
}

Quant Sketch::quant(DType type) {
  if (type != DType::kInt8 && type != DType::kUint8 && type != DType::kInt16) return {};
  return quant_of(draw.scale(), type == DType::kInt16 ? 0 : draw.in(least(type), most(type)));
}

int Sketch::value(DType type, std::size_t least, std::size_t most, std::int32_t longest) {
  if (chained_ && !draw.one_in(3)) {
    std::vector<int> fitting;
    for (const int t : results_) {
      const std::size_t rank = shape(t).size();
      if (at(t).dtype == type && usable(at(t)) && rank >= least && rank <= most &&
          shape_elements(shape(t)) <= 4096 && shape_elements(shape(t)) > 0)
        fitting.push_back(t);
    }
    if (!fitting.empty())
      return fitting[static_cast<std::size_t>(draw.in(0, static_cast<int>(fitting.size()) - 1))];
  }
  const auto rank =
      static_cast<std::size_t>(draw.in(static_cast<int>(least), static_cast<int>(most)));
  Array a = random(type, draw.shape(rank, longest));
  return input(std::move(a), quant(type));
}

int Sketch::shaped(DType type, const Shape& wanted) {
  if (chained_ && draw.one_in(2)) {
    for (std::size_t i = results_.size(); i-- > 0;) {
      const int t = results_[i];
      if (at(t).dtype == type && usable(at(t)) && shape(t) == wanted) return t;
    }
  }
  Array a = random(type, wanted);
  return draw.one_in(3) ? constant(std::move(a), quant(type)) : input(std::move(a), quant(type));
}

int Sketch::broadcastable(DType type, const Shape& wanted) {
  Shape s = wanted;
  if (draw.one_in(2)) {
    for (auto& d : s) d = draw.one_in(3) ? 1 : d;
    if (draw.one_in(3) && !s.empty())
      s.erase(s.begin(), s.begin() + draw.in(0, static_cast<int>(s.size())));
  }
  return shaped(type, s);
}

int Sketch::numbers(const std::vector<std::int64_t>& values, DType type) {
  Array a = Array::zeros(type, {static_cast<std::int32_t>(values.size())});
  for (std::size_t i = 0; i < values.size(); ++i) put_integer(a, i, values[i]);
  return constant(std::move(a));
}
int Sketch::scalar(std::int64_t value, DType type) {
  Array a = Array::zeros(type, {});
  put_integer(a, 0, value);
  return constant(std::move(a));
}

bool Sketch::add(OpCode code, Attrs attrs, std::vector<int> inputs, std::vector<Out> outputs,
                 std::vector<Quant> intermediates, const std::string& custom) {
  Graph& g = model_.main();
  const std::size_t tensors = g.tensors.size();
  Op op;
  op.code = code;
  op.custom_code = custom;
  op.attrs = std::move(attrs);
  op.inputs = std::move(inputs);
  for (Out& o : outputs) op.outputs.push_back(tensor(o.type, {}, std::move(o.quant)));
  for (Quant& q : intermediates)
    op.intermediates.push_back(tensor(DType::kInt16, {}, std::move(q)));
  g.ops.push_back(std::move(op));
  for (const Dialect d : {Dialect::kBuiltin, Dialect::kXnnpack, Dialect::kReference}) {
    if (only_ && d != *only_) continue;
    try {
      OpSpec spec = spec_of(model_, g.ops.size() - 1, d);
      kernel_row(g.ops.back())->prepare(spec);
      for (std::size_t i = 0; i < spec.outputs.size(); ++i) {
        const int t = g.ops.back().outputs[i];
        g.tensors[static_cast<std::size_t>(t)].shape = spec.outputs[i].shape;
        results_.push_back(t);
      }
      return true;
    } catch (const Error& e) {
      why_ = e.what();
    }
  }
  g.ops.pop_back();
  g.tensors.resize(tensors);
  return false;
}

bool Sketch::grow(const Judge& judge, const Ask& ask) {
  const std::size_t before = ops();
  judge.make(*this, judge.code, ask);
  return ops() > before;
}

ModelPtr Sketch::model(bool all_outputs) {
  Model m = model_;
  Graph& g = m.main();
  for (const Op& op : g.ops) {
    for (const int t : op.outputs) {
      if (all_outputs || &op == &g.ops.back() || draw.one_in(6)) g.outputs.push_back(t);
    }
  }
  return std::make_shared<Model>(std::move(m));
}

// ---- nodes
Node node_of(const Model& model, std::size_t op, Dialect dialect,
             const std::vector<Array>& values) {
  const Graph& g = model.main();
  Node n;
  n.op = g.ops[op];
  n.dialect = dialect;
  for (const int t : n.op.inputs) {
    Value v;
    if (t >= 0) {
      const Tensor& tensor = g.tensors[static_cast<std::size_t>(t)];
      v = {true,          tensor.constant.has_value(),         tensor.is_variable,
           tensor.sparse, values[static_cast<std::size_t>(t)], tensor.quant};
    }
    n.in.push_back(std::move(v));
  }
  for (const int t : n.op.intermediates)
    n.intermediates.push_back(g.tensors[static_cast<std::size_t>(t)].quant);
  for (const int t : n.op.outputs) {
    n.out_types.push_back(g.tensors[static_cast<std::size_t>(t)].dtype);
    n.out_quants.push_back(g.tensors[static_cast<std::size_t>(t)].quant);
  }
  return n;
}

OpSpec spec_of(const Model& model, std::size_t op, Dialect dialect) {
  const Graph& g = model.main();
  OpSpec spec;
  spec.op = &g.ops[op];
  spec.dialect = dialect;
  spec.label = fmt::format("#{} {}", op, spec.op->name());
  const auto operand = [&](int t) {
    Operand o;
    if (t < 0) return o;
    const Tensor& tensor = g.tensors[static_cast<std::size_t>(t)];
    o.present = true;
    o.dtype = tensor.dtype;
    o.shape = tensor.shape;
    o.quant = &tensor.quant;
    o.constant = tensor.constant ? &*tensor.constant : nullptr;
    o.is_variable = tensor.is_variable;
    o.sparse = tensor.sparse;
    o.name = tensor.name;
    return o;
  };
  for (const int t : spec.op->inputs) spec.inputs.push_back(operand(t));
  for (const int t : spec.op->outputs) spec.outputs.push_back(operand(t));
  for (const int t : spec.op->intermediates) spec.intermediates.push_back(operand(t));
  return spec;
}

std::vector<Ask> asks_of(const KernelRow& row) {
  std::vector<Ask> all;
  std::istringstream words(row.types);
  for (std::string word; words >> word;) {
    if (word == "hybrid") {
      all.push_back({DType::kFloat32, true});
    } else if (word == "any") {
      for (const DType t : {DType::kFloat32, DType::kInt8, DType::kUint8, DType::kInt32})
        all.push_back({t, false});
    } else {
      for (int t = 0; t <= 22; ++t) {
        if (word == dtype_name(static_cast<DType>(t)))
          all.push_back({static_cast<DType>(t), false});
      }
    }
  }
  return all;
}
std::string ask_name(const Ask& ask) { return ask.hybrid ? "hybrid" : dtype_name(ask.type); }

}  // namespace litegap::oracle
