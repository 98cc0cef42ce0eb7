// STABLEHLO_GATHER, STABLEHLO_SCATTER and STABLEHLO_REDUCE_WINDOW.
//
// Gather and scatter share one picture.  An array of indices holds vectors, along its dimension
// `index_vector_dim`; each vector names a corner of the operand, and to each belongs a window.  An
// index of the result (of the updates) splits in two: some of its dimensions say which vector, the
// others where in the window.  Corner plus place in the window is an element of the operand.
//
//   GATHER   [10 20 30 40] with windows of 2 at [[1] [9]]  ->  [[20 30] [30 40]]: corners are moved
//                                                              until the window fits
//   SCATTER  [10 20 30] with [1 2] added at [[0] [2]]      ->  [11 20 32]; what falls outside is
//                                                              left out
//
// How an update meets what is there, and how two elements of a window become one, is a graph of a
// single operator; its code is all that is read of it.
#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/arithmetic_ops.h"
#include "kernels/move.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

using Dims = std::vector<std::int64_t>;
constexpr std::size_t kMostDims = 32;  // of a tensor, as the reader has it
using Index = std::array<std::int64_t, kMostDims>;

bool contains(const Dims& dims, std::size_t d) {
  return std::ranges::find(dims, static_cast<std::int64_t>(d)) != dims.end();
}

// Dimension numbers within [0, rank), each at most once.
void check_dims(const OpSpec& spec, const Dims& dims, std::size_t rank, const char* what) {
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] < 0 || static_cast<std::size_t>(dims[i]) >= rank)
      refuse(spec, "{}: dimension {}, expected 0 to {}", what, dims[i], rank - 1);
    if (std::count(dims.begin(), dims.end(), dims[i]) != 1)
      refuse(spec, "{}: dimension {} twice", what, dims[i]);
  }
}

// Counts through all indices of a shape, the last dimension fastest; false behind the last one.
bool next_index(const Shape& shape, Index& index) noexcept {
  for (std::size_t d = shape.size(); d-- > 0;) {
    if (++index[d] < shape[d]) return true;
    index[d] = 0;
  }
  return false;
}

// From an index of the result (GATHER) or of the updates (SCATTER) to an element of the operand.
struct WindowMap {
  Shape outer;  // of the result, or of the updates
  Shape operand;
  DType index_type = DType::kInt32;
  Dims vector_steps;             // elements of the indices a step of outer[d] skips
  std::int64_t vector_step = 1;  // from a component of a vector to the next
  Dims corner_dims;              // component k of a vector is a place along this
  Dims window_dims;              // of the operand, by dimension of outer; -1 = none
  Dims fit;  // GATHER: the last corner at which the window lies inside, along each dimension

  // The place in the operand of an index; false when it is outside.
  bool place(const void* indices, const Index& index, std::int64_t& flat) const noexcept;
};

bool WindowMap::place(const void* indices, const Index& index, std::int64_t& flat) const noexcept {
  std::int64_t first = 0;
  for (std::size_t d = 0; d < outer.size(); ++d) first += index[d] * vector_steps[d];
  Index at{};
  for (std::size_t k = 0; k < corner_dims.size(); ++k) {
    const std::int64_t i = first + static_cast<std::int64_t>(k) * vector_step;
    at[static_cast<std::size_t>(corner_dims[k])] =
        index_type == DType::kInt32 ? static_cast<const std::int32_t*>(indices)[i]
                                    : static_cast<const std::int64_t*>(indices)[i];
  }
  for (std::size_t d = 0; d < fit.size(); ++d)
    at[d] = std::max<std::int64_t>(0, std::min(at[d], fit[d]));
  flat = 0;
  for (std::size_t d = 0; d < outer.size(); ++d) {
    if (window_dims[d] < 0) continue;
    auto& a = at[static_cast<std::size_t>(window_dims[d])];
    // A corner near the end of its type stays outside, wherever the sum would wrap to.
    if (a > (std::int64_t{1} << 40)) return false;
    a += index[d];
  }
  for (std::size_t d = 0; d < operand.size(); ++d) {
    if (at[d] < 0 || at[d] >= operand[d]) return false;
    flat = flat * operand[d] + at[d];
  }
  return true;
}

// `in_window`: the dimensions of `outer` that say where in the window, in the order in which they
// meet the dimensions of the operand that are not in `left_out`.
WindowMap window_map(const OpSpec& spec, const Shape& outer, const Dims& in_window,
                     const Dims& left_out, const Dims& corner_dims, std::int64_t vector_dim) {
  const Operand& indices = spec.inputs[1];
  const Shape& operand = spec.inputs[0].shape;
  if (indices.dtype != DType::kInt32 && indices.dtype != DType::kInt64)
    refuse(spec, "indices of {}, expected int32 or int64", dtype_name(indices.dtype));
  if (vector_dim < 0 || static_cast<std::size_t>(vector_dim) >= indices.shape.size())
    refuse(spec, "index_vector_dim {} of indices {}", vector_dim, shape_text(indices.shape));
  check_dims(spec, in_window, outer.size(), "dimensions of the window");
  check_dims(spec, left_out, operand.size(), "dimensions that the window lacks");
  check_dims(spec, corner_dims, operand.size(), "dimensions that the indices name");
  const auto v = static_cast<std::size_t>(vector_dim);
  if (static_cast<std::int64_t>(corner_dims.size()) > indices.shape[v])
    refuse(spec, "indices {} name {} dimensions", shape_text(indices.shape), corner_dims.size());
  if (in_window.size() + left_out.size() != operand.size())
    refuse(spec, "a window of {} dimensions, {} left out, of an operand {}", in_window.size(),
           left_out.size(), shape_text(operand));
  if (outer.size() - in_window.size() != indices.shape.size() - 1)
    refuse(spec, "shape {} with {} dimensions of the window does not go with indices {}",
           shape_text(outer), in_window.size(), shape_text(indices.shape));
  if (outer.size() > kMostDims) refuse(spec, "{} dimensions", outer.size());
  WindowMap m;
  m.outer = outer;
  m.operand = operand;
  m.index_type = indices.dtype;
  m.corner_dims = corner_dims;
  const auto steps = dense_steps(indices.shape, 1);
  m.vector_step = steps[v];
  m.vector_steps.assign(outer.size(), 0);
  m.window_dims.assign(outer.size(), -1);
  for (std::size_t d = 0, of_indices = 0; d < outer.size(); ++d) {
    if (contains(in_window, d)) continue;
    if (of_indices == v) ++of_indices;
    if (outer[d] != indices.shape[of_indices])
      refuse(spec, "dimension {} of {} does not go with indices {}", d, shape_text(outer),
             shape_text(indices.shape));
    m.vector_steps[d] = steps[of_indices++];
  }
  std::size_t next = 0;
  for (const std::int64_t d : in_window) {
    while (contains(left_out, next)) ++next;
    m.window_dims[static_cast<std::size_t>(d)] = static_cast<std::int64_t>(next++);
  }
  return m;
}

// ---- STABLEHLO_GATHER
Shape gathered_shape(const OpSpec& spec, const StablehloGatherAttrs& a) {
  const Shape& operand = spec.inputs[0].shape;
  const Shape& indices = spec.inputs[1].shape;
  if (a.slice_sizes.size() != operand.size())
    refuse(spec, "{} slice sizes of an operand {}", a.slice_sizes.size(), shape_text(operand));
  Dims window;
  for (std::size_t d = 0; d < operand.size(); ++d) {
    if (a.slice_sizes[d] < 0 || a.slice_sizes[d] > operand[d])
      refuse(spec, "slices of {} along dimension {} of {}", a.slice_sizes[d], d,
             shape_text(operand));
    if (!contains(a.collapsed_slice_dims, d))
      window.push_back(a.slice_sizes[d]);
    else if (a.slice_sizes[d] != 1)
      refuse(spec, "slices of {} along dimension {}, which has none", a.slice_sizes[d], d);
  }
  if (indices.empty() || window.size() != a.offset_dims.size())
    refuse(spec, "{} offset dimensions for windows of {}", a.offset_dims.size(), window.size());
  Shape out;
  std::size_t w = 0, i = 0;
  for (std::size_t d = 0; d < window.size() + indices.size() - 1; ++d) {
    if (contains(a.offset_dims, d) && w < window.size()) {
      out.push_back(checked_dim(spec, window[w++]));
    } else {
      if (static_cast<std::int64_t>(i) == a.index_vector_dim) ++i;
      if (i >= indices.size()) refuse(spec, "offset dimensions beyond the result");
      out.push_back(indices[i++]);
    }
  }
  return out;
}

std::unique_ptr<Kernel> prepare_gather(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const std::size_t bytes = expect_same_type(spec, 0);
  const auto& a = attrs_of<StablehloGatherAttrs>(spec);
  const Shape out = spec.outputs[0].shape = gathered_shape(spec, a);
  shape_elements(out);
  Dims sorted = a.offset_dims;
  std::ranges::sort(sorted);
  WindowMap m =
      window_map(spec, out, sorted, a.collapsed_slice_dims, a.start_index_map, a.index_vector_dim);
  for (std::size_t d = 0; d < m.operand.size(); ++d)
    m.fit.push_back(m.operand[d] - a.slice_sizes[d]);
  const bool empty = shape_elements(out) == 0 || shape_elements(m.operand) == 0;
  return make_kernel([m = std::move(m), bytes, empty](const Io& io) {
    if (empty) return;
    const auto* from = static_cast<const std::byte*>(io.inputs[0]);
    auto* to = static_cast<std::byte*>(io.outputs[0]);
    Index index{};
    do {
      std::int64_t flat = 0;
      if (m.place(io.inputs[1], index, flat))
        std::memcpy(to, from + static_cast<std::size_t>(flat) * bytes, bytes);
      to += bytes;
    } while (next_index(m.outer, index));
  });
}

// ---- STABLEHLO_SCATTER
template <class T>
using Combine = T (*)(T, T);

template <class T>
T word_sum(T a, T b) {
  if constexpr (std::is_same_v<T, bool>)
    return a || b;
  else if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
  else
    return a + b;
}
template <class T>
T word_product(T a, T b) {
  if constexpr (std::is_same_v<T, bool>)
    return a && b;
  else if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
  else
    return a * b;
}

template <class T>
Combine<T> scatter_body(const OpSpec& spec) {
  if (spec.body.empty()) return [](T, T update) { return update; };
  switch (spec.body.size() == 1 ? spec.body[0] : OpCode::kCustom) {
    case OpCode::kStablehloAdd:
      return word_sum<T>;
    case OpCode::kStablehloMultiply:
      return word_product<T>;
    case OpCode::kStablehloMaximum:
      return [](T a, T b) { return a < b ? b : a; };
    case OpCode::kStablehloMinimum:
      return [](T a, T b) { return b < a ? b : a; };
    default:
      refuse(spec,
             "its graph is not one STABLEHLO_ADD, _MULTIPLY, _MAXIMUM or _MINIMUM, nor empty");
  }
}

template <class T>
std::unique_ptr<Kernel> scatter_kernel(const OpSpec& spec, WindowMap m) {
  const std::size_t bytes = shape_elements(m.operand) * sizeof(T);
  const bool empty = bytes == 0 || shape_elements(m.outer) == 0;
  return make_kernel([m = std::move(m), f = scatter_body<T>(spec), bytes, empty](const Io& io) {
    std::memcpy(io.outputs[0], io.inputs[0], bytes);
    if (empty) return;
    auto* to = static_cast<T*>(io.outputs[0]);
    const auto* update = static_cast<const T*>(io.inputs[2]);
    Index index{};
    do {
      std::int64_t flat = 0;
      if (m.place(io.inputs[1], index, flat)) to[flat] = f(to[flat], *update);
      ++update;
    } while (next_index(m.outer, index));
  });
}

std::unique_ptr<Kernel> prepare_scatter(OpSpec& spec) {
  expect_inputs(spec, 3, 3);
  expect_outputs(spec, 1);
  expect_same_type(spec, 0);
  expect_same_type(spec, 2);
  const auto& a = attrs_of<StablehloScatterAttrs>(spec);
  spec.outputs[0].shape = spec.inputs[0].shape;
  WindowMap m = window_map(spec, spec.inputs[2].shape, a.update_window_dims, a.inserted_window_dims,
                           a.scatter_dims_to_operand_dims, a.index_vector_dim);
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return scatter_kernel<float>(spec, std::move(m));
    case DType::kFloat64:
      return scatter_kernel<double>(spec, std::move(m));
    case DType::kInt8:
      return scatter_kernel<std::int8_t>(spec, std::move(m));
    case DType::kUint8:
      return scatter_kernel<std::uint8_t>(spec, std::move(m));
    case DType::kInt16:
      return scatter_kernel<std::int16_t>(spec, std::move(m));
    case DType::kUint16:
      return scatter_kernel<std::uint16_t>(spec, std::move(m));
    case DType::kInt32:
      return scatter_kernel<std::int32_t>(spec, std::move(m));
    case DType::kUint32:
      return scatter_kernel<std::uint32_t>(spec, std::move(m));
    case DType::kInt64:
      return scatter_kernel<std::int64_t>(spec, std::move(m));
    case DType::kUint64:
      return scatter_kernel<std::uint64_t>(spec, std::move(m));
    case DType::kBool:
      return scatter_kernel<bool>(spec, std::move(m));
    default:
      refuse_type(spec);
  }
}

// ---- STABLEHLO_REDUCE_WINDOW: the start value lies between dilated elements and in the padding,
// and is an operand like any other there
struct WindowAxis {
  std::int64_t in = 0, step = 0, base = 1, low = 0;  // of the input
  std::int64_t out = 0, window = 1, stride = 1, dilation = 1;
};

template <class T>
Combine<T> window_body(const OpSpec& spec) {
  constexpr bool truth = std::is_same_v<T, bool>;
  if (spec.dialect == Dialect::kReference && spec.body == std::vector{OpCode::kStablehloAnd})
    refuse(spec, "the reference kernels have no STABLEHLO_AND");
  switch (spec.body.size() == 1 ? spec.body[0] : OpCode::kCustom) {
    case OpCode::kAdd:
    case OpCode::kStablehloAdd:
      if constexpr (!truth) return word_sum<T>;
      break;
    case OpCode::kMul:
    case OpCode::kStablehloMultiply:
      if constexpr (!truth) return word_product<T>;
      break;
    case OpCode::kMaximum:
    case OpCode::kStablehloMaximum:
      return [](T a, T b) { return a >= b ? a : b; };
    case OpCode::kMinimum:
    case OpCode::kStablehloMinimum:
      return [](T a, T b) { return a <= b ? a : b; };
    case OpCode::kLogicalAnd:
    case OpCode::kStablehloAnd:
      return [](T a, T b) { return static_cast<T>(a != T(0) && b != T(0)); };
    case OpCode::kLogicalOr:
      return [](T a, T b) { return static_cast<T>(a != T(0) || b != T(0)); };
    default:
      break;
  }
  refuse(spec, "its graph is not one sum, product, maximum, minimum, and, or of {}",
         dtype_name(spec.inputs[0].dtype));
}

template <class T>
class ReduceWindow {
 public:
  ReduceWindow(std::vector<WindowAxis> axes, Combine<T> f) : axes_(std::move(axes)), f_(f) {}
  void operator()(const Io& io) const noexcept {
    T* out = static_cast<T*>(io.outputs[0]);
    std::array<std::int64_t, 8> corner{};
    outputs(0, static_cast<const T*>(io.inputs[0]), *static_cast<const T*>(io.inputs[1]), corner,
            out);
  }

 private:
  void outputs(std::size_t d, const T* in, T start, std::array<std::int64_t, 8>& corner,
               T*& out) const noexcept {
    if (d == axes_.size()) {
      T sum = start;
      cells(0, in, start, corner, sum);
      *out++ = sum;
      return;
    }
    for (std::int64_t i = 0; i < axes_[d].out; ++i) {
      corner[d] = i * axes_[d].stride - axes_[d].low;
      outputs(d + 1, in, start, corner, out);
    }
  }
  // `in` is null where a dimension has already left the input.
  void cells(std::size_t d, const T* in, T start, const std::array<std::int64_t, 8>& corner,
             T& sum) const noexcept {
    if (d == axes_.size()) {
      sum = f_(sum, in == nullptr ? start : *in);
      return;
    }
    const WindowAxis& a = axes_[d];
    for (std::int64_t i = 0; i < a.window; ++i) {
      const std::int64_t at = corner[d] + i * a.dilation;
      const bool inside = in != nullptr && at >= 0 && at % a.base == 0 && at / a.base < a.in;
      cells(d + 1, inside ? in + at / a.base * a.step : nullptr, start, corner, sum);
    }
  }
  std::vector<WindowAxis> axes_;
  Combine<T> f_;
};

std::vector<WindowAxis> window_axes(OpSpec& spec) {
  const auto& a = attrs_of<StablehloReduceWindowAttrs>(spec);
  const Shape& in = spec.inputs[0].shape;
  const std::size_t n = in.size();
  if (n < 1 || n > 6) refuse(spec, "an operand of {} dimensions, expected 1 to 6", n);
  for (const auto* list :
       {&a.window_dimensions, &a.window_strides, &a.base_dilations, &a.window_dilations}) {
    if (list->size() != n) refuse(spec, "its window has not {} dimensions", n);
    for (const std::int64_t v : *list) {
      if (v < 1 || v > 1 << 24) refuse(spec, "a window, stride or dilation of {}", v);
    }
  }
  if (a.padding.size() != 2 * n)
    refuse(spec, "{} numbers of padding, expected {}", a.padding.size(), 2 * n);
  const auto steps = dense_steps(in, 1);
  std::vector<WindowAxis> axes;
  Shape out;
  double cells = 1;  // of the padded operand, which the runtime holds
  for (std::size_t d = 0; d < n; ++d) {
    const std::int64_t low = a.padding[2 * d], high = a.padding[2 * d + 1];
    if (std::max(std::abs(low), std::abs(high)) > 1 << 24)
      refuse(spec, "a padding of {}", std::abs(low) > std::abs(high) ? low : high);
    const std::int64_t padded = (in[d] - 1) * a.base_dilations[d] + 1 + low + high;
    if (padded < 1 || in[d] < 1)
      refuse(spec, "its padding leaves nothing of dimension {} of {}", d, shape_text(in));
    cells *= static_cast<double>(padded);
    if (cells > 2147483647.0) refuse(spec, "its padded operand is too large");
    const std::int64_t room = padded - ((a.window_dimensions[d] - 1) * a.window_dilations[d] + 1);
    const std::int64_t count = room < 0 ? 0 : room / a.window_strides[d] + 1;
    out.push_back(checked_dim(spec, count));
    axes.push_back({in[d], steps[d], a.base_dilations[d], low, count, a.window_dimensions[d],
                    a.window_strides[d], a.window_dilations[d]});
  }
  shape_elements(out);
  spec.outputs[0].shape = out;
  return axes;
}

std::unique_ptr<Kernel> prepare_reduce_window(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  expect_same_type(spec, 0);
  expect_same_type(spec, 1);
  if (shape_elements(spec.inputs[1].shape) < 1) refuse(spec, "its start is empty");
  const auto of = [&]<class T>(T) {
    std::vector<WindowAxis> axes = window_axes(spec);
    return make_kernel(ReduceWindow<T>(std::move(axes), window_body<T>(spec)));
  };
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return of(float{});
    case DType::kFloat64:
      return of(double{});
    case DType::kInt8:
      return of(std::int8_t{});
    case DType::kUint8:
      return of(std::uint8_t{});
    case DType::kInt16:
      return of(std::int16_t{});
    case DType::kInt32:
      return of(std::int32_t{});
    case DType::kInt64:
      return of(std::int64_t{});
    case DType::kBool:
      return of(bool{});
    default:
      refuse_type(spec);
  }
}

constexpr KernelRow kRows[] = {
    {OpCode::kStablehloGather, prepare_gather, "any"},
    {OpCode::kStablehloScatter, prepare_scatter,
     "float32 float64 int8 uint8 int16 uint16 int32 uint32 int64 uint64 bool"},
    {OpCode::kStablehloReduceWindow, prepare_reduce_window,
     "float32 float64 int8 uint8 int16 int32 int64 bool"},
};

}  // namespace

std::span<const KernelRow> stablehlo_kernel_rows() { return kRows; }

}  // namespace litegap
