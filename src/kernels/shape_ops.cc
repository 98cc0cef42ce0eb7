// Operators that change the shape or order of elements: RESHAPE, SQUEEZE, EXPAND_DIMS, SHAPE,
// TRANSPOSE, TILE, BROADCAST_TO (docs/numerics.md, section 2.29), and the list of all rows of this
// family.
#include <cstring>

#include "kernels/move.h"
#include "kernels/shape_kernels.h"

namespace litegap {
namespace {

// The elements as they lie under another shape.
std::unique_ptr<Kernel> as_it_lies(OpSpec& spec, Shape shape) {
  const std::size_t unit = expect_same_type(spec, 0);
  const std::size_t n = shape_elements(spec.inputs[0].shape);
  if (shape_elements(shape) != n) {
    refuse(spec, "cannot give {} elements of shape {} the shape {}", n,
           shape_text(spec.inputs[0].shape), shape_text(shape));
  }
  spec.outputs[0].shape = std::move(shape);
  return copy_kernel(0, n * unit);
}

std::vector<std::int64_t> wanted_shape(const OpSpec& spec) {
  if (spec.has(1) && spec.inputs[1].dtype == DType::kInt32 && spec.inputs[1].shape.size() == 1) {
    return plan_integers(spec, 1, "new shape");
  }
  const auto* attrs = std::get_if<ReshapeAttrs>(&spec.op->attrs);
  if (attrs == nullptr) refuse(spec, "has neither a shape operand nor a shape in its options");
  std::vector<std::int64_t> shape(attrs->new_shape.begin(), attrs->new_shape.end());
  if (shape.size() == 1 && shape[0] == 0) shape.clear();  // how old files write a scalar
  return shape;
}

std::unique_ptr<Kernel> prepare_reshape(OpSpec& spec) {
  expect_inputs(spec, 1, 2);
  expect_outputs(spec, 1);
  const std::vector<std::int64_t> wanted = wanted_shape(spec);
  const auto n = static_cast<std::int64_t>(shape_elements(spec.inputs[0].shape));
  std::int64_t rest = 1;
  int open = -1;
  Shape shape;
  for (std::size_t d = 0; d < wanted.size(); ++d) {
    if (wanted[d] == -1) {
      if (open >= 0) refuse(spec, "its new shape leaves two dimensions open");
      open = static_cast<int>(d);
      shape.push_back(1);
      continue;
    }
    shape.push_back(checked_dim(spec, wanted[d]));
    if (shape.back() != 0 && rest > (std::int64_t{1} << 40) / shape.back()) {
      refuse(spec, "its new shape has too many elements");
    }
    rest *= shape.back();
  }
  if (open >= 0)
    shape[static_cast<std::size_t>(open)] = checked_dim(spec, rest == 0 ? 0 : n / rest);
  return as_it_lies(spec, std::move(shape));
}

std::unique_ptr<Kernel> prepare_squeeze(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  const Shape& in = spec.inputs[0].shape;
  std::vector<bool> drop(in.size(), false);
  const auto* attrs = std::get_if<SqueezeAttrs>(&spec.op->attrs);
  if (attrs == nullptr || attrs->squeeze_dims.empty()) {
    for (std::size_t d = 0; d < in.size(); ++d) drop[d] = in[d] == 1;
  } else {
    for (const std::int32_t axis : attrs->squeeze_dims) {
      const std::size_t d = checked_axis(spec, axis, in.size());
      if (in[d] != 1) refuse(spec, "cannot drop axis {} of shape {}", axis, shape_text(in));
      drop[d] = true;
    }
  }
  Shape shape;
  for (std::size_t d = 0; d < in.size(); ++d) {
    if (!drop[d]) shape.push_back(in[d]);
  }
  return as_it_lies(spec, std::move(shape));
}

std::unique_ptr<Kernel> prepare_expand_dims(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const auto axis = plan_integers(spec, 1, "axis");
  if (axis.size() != 1) refuse(spec, "its axis has {} values, expected 1", axis.size());
  Shape shape = spec.inputs[0].shape;
  const std::size_t d = checked_axis(spec, axis[0], shape.size() + 1);
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(d), 1);
  return as_it_lies(spec, std::move(shape));
}

// The reader has made the values dense.
std::unique_ptr<Kernel> prepare_densify(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  if (!spec.inputs[0].sparse || spec.inputs[0].constant == nullptr)
    refuse(spec, "its input is not a sparse constant");
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
    case DType::kFloat16:
    case DType::kInt8:
      return as_it_lies(spec, spec.inputs[0].shape);
    default:
      refuse(spec, "type {} is not supported", dtype_name(spec.inputs[0].dtype));
  }
}

template <class T>
std::unique_ptr<Kernel> constant_output(std::vector<T> values) {
  return make_kernel([values = std::move(values)](const Io& io) noexcept {
    if (!values.empty()) std::memcpy(io.outputs[0], values.data(), values.size() * sizeof(T));
  });
}

std::unique_ptr<Kernel> prepare_shape(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  const Shape& in = spec.inputs[0].shape;
  spec.outputs[0].shape = {static_cast<std::int32_t>(in.size())};
  if (spec.outputs[0].dtype == DType::kInt32)
    return constant_output(std::vector<std::int32_t>(in.begin(), in.end()));
  if (spec.outputs[0].dtype == DType::kInt64)
    return constant_output(std::vector<std::int64_t>(in.begin(), in.end()));
  refuse(spec, "its output is of type {}, expected int32 or int64",
         dtype_name(spec.outputs[0].dtype));
}

std::unique_ptr<Kernel> prepare_transpose(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  const Shape& in = spec.inputs[0].shape;
  const auto perm = plan_integers(spec, 1, "permutation");
  if (perm.size() != in.size()) {
    refuse(spec, "its permutation has {} values, the input {} dimensions", perm.size(), in.size());
  }
  if (in.size() > 6) refuse(spec, "its input has {} dimensions, expected at most 6", in.size());
  Shape out;
  std::vector<bool> used(in.size(), false);
  for (const std::int64_t p : perm) {
    const std::size_t d = checked_axis(spec, p, in.size());
    if (used[d]) refuse(spec, "its permutation names axis {} twice", p);
    used[d] = true;
    out.push_back(in[d]);
  }
  const auto from = dense_steps(in, unit), to = dense_steps(out, unit);
  std::vector<MoveLoop> loops;
  for (std::size_t d = 0; d < out.size(); ++d) {
    loops.push_back({out[d], from[checked_axis(spec, perm[d], in.size())], to[d]});
  }
  spec.outputs[0].shape = out;
  return move_kernel(0, Move(unit, loops));
}

std::unique_ptr<Kernel> prepare_tile(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  const Shape& in = spec.inputs[0].shape;
  const auto times = plan_integers(spec, 1, "multiples");
  if (times.size() != in.size()) {
    refuse(spec, "has {} multiples for {} dimensions", times.size(), in.size());
  }
  if (in.size() > 8) refuse(spec, "its input has {} dimensions, expected at most 8", in.size());
  Shape out;
  for (std::size_t d = 0; d < in.size(); ++d) {
    const std::int32_t n = checked_dim(spec, times[d]);
    out.push_back(checked_dim(spec, std::int64_t{n} * in[d]));
  }
  shape_elements(out);
  const auto from = dense_steps(in, unit), to = dense_steps(out, unit);
  std::vector<MoveLoop> loops;
  for (std::size_t d = 0; d < in.size(); ++d) {
    loops.push_back({times[d], 0, to[d] * in[d]});
    loops.push_back({in[d], from[d], to[d]});
  }
  spec.outputs[0].shape = out;
  return move_kernel(0, Move(unit, loops));
}

std::unique_ptr<Kernel> prepare_broadcast_to(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  const Shape& in = spec.inputs[0].shape;
  Shape out;
  for (const std::int64_t d : plan_integers(spec, 1, "shape")) out.push_back(checked_dim(spec, d));
  if (out.size() < in.size())
    refuse(spec, "cannot broadcast {} to {}", shape_text(in), shape_text(out));
  if (out.size() > 8) refuse(spec, "its shape has {} dimensions, expected at most 8", out.size());
  shape_elements(out);
  const auto from = dense_steps(in, unit), to = dense_steps(out, unit);
  const std::size_t lead = out.size() - in.size();
  std::vector<MoveLoop> loops;
  for (std::size_t d = 0; d < out.size(); ++d) {
    const bool repeats = d < lead || in[d - lead] == 1;
    if (!repeats && in[d - lead] != out[d]) {
      refuse(spec, "cannot broadcast {} to {}", shape_text(in), shape_text(out));
    }
    loops.push_back({out[d], repeats ? 0 : from[d - lead], to[d]});
  }
  spec.outputs[0].shape = out;
  return move_kernel(0, Move(unit, loops));
}

constexpr KernelRow kRows[] = {
    {OpCode::kReshape, prepare_reshape, "any"},
    {OpCode::kSqueeze, prepare_squeeze, "any"},
    {OpCode::kExpandDims, prepare_expand_dims, "any"},
    {OpCode::kShape, prepare_shape, "any"},
    {OpCode::kTranspose, prepare_transpose, "any"},
    {OpCode::kTile, prepare_tile, "any"},
    {OpCode::kBroadcastTo, prepare_broadcast_to, "any"},
    {OpCode::kDensify, prepare_densify, "float16 float32 int8"},
};

}  // namespace

std::span<const KernelRow> shape_kernel_rows() {
  static const std::vector<KernelRow> rows = [] {
    std::vector<KernelRow> all(std::begin(kRows), std::end(kRows));
    for (const auto& family :
         {join_kernel_rows(), value_kernel_rows(), slice_kernel_rows(), space_kernel_rows(),
          resize_kernel_rows(), lstm_kernel_rows(), rnn_kernel_rows(), compare_kernel_rows()}) {
      all.insert(all.end(), family.begin(), family.end());
    }
    return all;
  }();
  return rows;
}

}  // namespace litegap
