#include "train/borrow.h"

#include <algorithm>
#include <optional>

namespace litegap {
namespace {

std::vector<std::int32_t> integers(const Array& a) {
  std::vector<std::int32_t> v;
  if (a.dtype() == DType::kInt64) {
    for (const std::int64_t i : a.span<std::int64_t>()) v.push_back(static_cast<std::int32_t>(i));
  } else {
    v.assign(a.span<std::int32_t>().begin(), a.span<std::int32_t>().end());
  }
  return v;
}

Array like(const Array& a, const std::vector<std::int32_t>& v) {
  if (a.dtype() == DType::kInt64)
    return Array::of<std::int64_t>(a.shape(), std::vector<std::int64_t>(v.begin(), v.end()));
  return Array::of<std::int32_t>(a.shape(), v);
}

bool is_integer(const Array& a) { return a.dtype() == DType::kInt32 || a.dtype() == DType::kInt64; }

// The dimension that holds the batch grows or shrinks until the elements fit.
void fit_reshape(std::vector<std::int32_t>& dims, std::size_t elements, int file_batch, int batch) {
  std::size_t product = 1;
  for (const std::int32_t d : dims) {
    if (d < 0) return;
    product *= static_cast<std::size_t>(d);
  }
  if (product == elements) return;
  for (std::int32_t& d : dims) {
    if (d % file_batch != 0) continue;
    const std::int32_t scaled = d / file_batch * batch;
    if (product / static_cast<std::size_t>(d) * static_cast<std::size_t>(scaled) == elements) {
      d = scaled;
      return;
    }
  }
}

// The value of a shape-like operand at another batch size, or nothing.
std::optional<Array> rescaled(const Graph& graph, const Op& op, std::size_t input,
                              const std::vector<Shape>& shapes, int file_batch, int batch) {
  const Tensor& t = graph.tensors[static_cast<std::size_t>(op.inputs[input])];
  if (!t.constant || !is_integer(*t.constant) || t.constant->empty()) return std::nullopt;
  std::vector<std::int32_t> v = integers(*t.constant);
  const int x = op.inputs[0];
  const Shape& old = graph.tensors[static_cast<std::size_t>(x)].shape;
  const Shape& now = shapes[static_cast<std::size_t>(x)];
  if (op.code == OpCode::kReshape && input == 1) {
    const bool open = std::count(v.begin(), v.end(), -1) > 0;
    if (open && !v.empty() && v[0] > 0 && !old.empty() && v[0] % file_batch == 0 &&
        old[0] != now[0]) {
      v[0] = v[0] / file_batch * batch;
    } else if (!open) {
      fit_reshape(v, shape_elements(now), file_batch, batch);
    }
  } else if (op.code == OpCode::kSlice && input == 2) {
    const Tensor& begin = graph.tensors[static_cast<std::size_t>(op.inputs[1])];
    if (!begin.constant) return std::nullopt;
    const auto from = integers(*begin.constant);
    for (std::size_t d = 0; d < v.size() && d < old.size(); ++d)
      if (from[d] == 0 && v[d] == old[d]) v[d] = now[d];
  } else if (op.code == OpCode::kStridedSlice && input == 2) {
    for (std::size_t d = 0; d < v.size() && d < old.size(); ++d)
      if (old[d] != now[d] && v[d] == old[d]) v[d] = now[d];
  } else if ((op.code == OpCode::kBroadcastTo && input == 1) ||
             (op.code == OpCode::kFill && input == 0)) {
    if (v[0] == file_batch) v[0] = batch;
  } else {
    return std::nullopt;
  }
  return like(*t.constant, v);
}

}  // namespace

Borrowed borrow(const Graph& graph, int index, const std::vector<Shape>& shapes, int file_batch,
                int batch, bool codes) {
  const Op& op = graph.ops[static_cast<std::size_t>(index)];
  OpSpec spec;
  Op changed = op;
  spec.op = &changed;
  spec.dialect = Dialect::kBuiltin;
  spec.label = op_label(graph, static_cast<std::size_t>(index));
  const KernelRow* row = kernel_row(op.code);
  if (row == nullptr) fail("{}: cannot be trained through", spec.label);
  std::vector<Array> constants(op.inputs.size());
  const auto operand = [&](int tensor) {
    Operand o;
    if (tensor < 0) return o;
    const Tensor& t = graph.tensors[static_cast<std::size_t>(tensor)];
    o.present = true;
    o.dtype = codes && t.dtype == DType::kFloat32 ? DType::kInt32 : t.dtype;
    o.shape = shapes[static_cast<std::size_t>(tensor)];
    o.quant = &t.quant;
    o.name = t.name;
    if (t.constant && o.dtype == t.dtype) o.constant = &*t.constant;
    return o;
  };
  for (std::size_t i = 0; i < op.inputs.size(); ++i) {
    spec.inputs.push_back(operand(op.inputs[i]));
    if (op.inputs[i] < 0) continue;
    if (auto value = rescaled(graph, op, i, shapes, file_batch, batch)) {
      constants[i] = *value;
      spec.inputs.back().constant = &constants[i];
    }
  }
  if (op.code == OpCode::kReshape) {
    if (auto* a = std::get_if<ReshapeAttrs>(&changed.attrs)) {
      if (std::count(a->new_shape.begin(), a->new_shape.end(), -1) == 0)
        fit_reshape(a->new_shape, shape_elements(spec.inputs[0].shape), file_batch, batch);
    }
  }
  for (const int t : op.outputs) {
    spec.outputs.push_back(operand(t));
    spec.outputs.back().shape = {};
  }
  Borrowed b;
  b.kernel = row->prepare(spec);
  for (const Operand& o : spec.outputs) b.outputs.push_back(o.shape);
  return b;
}

}  // namespace litegap
