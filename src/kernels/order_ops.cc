// Operators that order, repeat or place elements: CUMSUM, TOPK_V2, RANGE, RANK, BROADCAST_ARGS,
// REVERSE_V2, REVERSE_SEQUENCE, MATRIX_DIAG, MATRIX_SET_DIAG, DYNAMIC_UPDATE_SLICE
// (docs/numerics.md, section 4).
//
//   TOPK_V2   2 of [5 9 9 1] -> values [9 9], indices [1 2]: of equals the first comes first
//   CUMSUM    [1 2 3] -> [1 3 6]; exclusive [0 1 3]; reverse [6 5 3]
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "kernels/move.h"
#include "kernels/needs_values.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

// An axis between those before and behind it.
struct Line {
  std::int64_t outer = 1, size = 1, inner = 1;
};
Line line_of(const Shape& shape, std::size_t axis) {
  return {product(shape, 0, axis), shape[axis], product(shape, axis + 1, shape.size())};
}

std::int64_t plan_number(const OpSpec& spec, std::size_t input, const char* what) {
  const auto v = plan_integers(spec, input, what);
  if (v.size() != 1) refuse(spec, "its {} has {} values, expected 1", what, v.size());
  return v[0];
}

// ---- CUMSUM: integers wrap
// The running sums of `chains` lines, those from number `first` on: additions of one line wait for
// each other, not for those of another.
template <int chains, class T>
void running_sums(Line line, CumsumAttrs attrs, std::int64_t first, const T* in, T* out) noexcept {
  using Sum = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;
  std::int64_t at[chains];
  Sum sum[chains] = {};
  for (int c = 0; c < chains; ++c) {
    const std::int64_t o = (first + c) / line.inner, i = (first + c) % line.inner;
    at[c] = (o * line.size + (attrs.reverse ? line.size - 1 : 0)) * line.inner + i;
  }
  const std::int64_t step = attrs.reverse ? -line.inner : line.inner;
  for (std::int64_t k = 0; k < line.size; ++k) {
    for (int c = 0; c < chains; ++c) {
      const Sum next = sum[c] + static_cast<Sum>(in[at[c]]);
      out[at[c]] = static_cast<T>(attrs.exclusive ? sum[c] : next);
      sum[c] = next;
      at[c] += step;
    }
  }
}

template <class T>
std::unique_ptr<Kernel> cumsum_kernel(Line line, CumsumAttrs attrs) {
  return make_kernel([=](const Io& io) {
    constexpr int kChains = 4;
    const T* in = static_cast<const T*>(io.inputs[0]);
    T* out = static_cast<T*>(io.outputs[0]);
    const std::int64_t lines = line.outer * line.inner;
    std::int64_t i = 0;
    for (; i + kChains <= lines; i += kChains) running_sums<kChains>(line, attrs, i, in, out);
    for (; i < lines; ++i) running_sums<1>(line, attrs, i, in, out);
  });
}

std::unique_ptr<Kernel> prepare_cumsum(OpSpec& spec) {
  const auto& attrs = attrs_of<CumsumAttrs>(spec);
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  expect_same_type(spec, 0);
  const Shape& shape = spec.inputs[0].shape;
  const std::size_t axis = checked_axis(spec, plan_number(spec, 1, "axis"), shape.size());
  spec.outputs[0].shape = shape;
  const Line line = line_of(shape, axis);
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return cumsum_kernel<float>(line, attrs);
    case DType::kInt32:
      return cumsum_kernel<std::int32_t>(line, attrs);
    case DType::kInt64:
      return cumsum_kernel<std::int64_t>(line, attrs);
    default:
      refuse_type(spec);
  }
}

// ---- TOPK_V2
template <class T, class I>
std::unique_ptr<Kernel> topk_kernel(std::int64_t rows, std::int64_t width, std::int64_t k) {
  return make_kernel(
      [=](const Io& io) {
        const T* in = static_cast<const T*>(io.inputs[0]);
        T* values = static_cast<T*>(io.outputs[0]);
        I* indices = static_cast<I*>(io.outputs[1]);
        auto* order = reinterpret_cast<std::int32_t*>(io.scratch);
        for (std::int64_t r = 0; r < rows; ++r, in += width) {
          std::iota(order, order + width, 0);
          const auto before = [in](std::int32_t a, std::int32_t b) {
            if (in[b] < in[a]) return true;
            if (in[b] > in[a]) return false;
            return a < b;
          };
          std::partial_sort(order, order + k, order + width, before);
          for (std::int64_t i = 0; i < k; ++i) {
            *values++ = in[order[i]];
            *indices++ = static_cast<I>(order[i]);
          }
        }
      },
      sizeof(std::int32_t) * static_cast<std::size_t>(width));
}

template <class T>
std::unique_ptr<Kernel> topk_of(const OpSpec& spec, std::int64_t rows, std::int64_t width,
                                std::int64_t k) {
  if (spec.outputs[1].dtype == DType::kInt32) return topk_kernel<T, std::int32_t>(rows, width, k);
  if (spec.outputs[1].dtype == DType::kInt16) return topk_kernel<T, std::int16_t>(rows, width, k);
  refuse(spec, "indices of type {}", dtype_name(spec.outputs[1].dtype));
}

std::unique_ptr<Kernel> prepare_topk(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 2);
  expect_same_type(spec, 0);
  const Shape& in = spec.inputs[0].shape;
  if (in.empty()) refuse(spec, "its input is a scalar");
  const std::int64_t k = plan_number(spec, 1, "k"), width = in.back();
  if (k < 0 || k > width) refuse(spec, "{} of a row of {}", k, width);
  Shape out = in;
  out.back() = static_cast<std::int32_t>(k);
  spec.outputs[0].shape = spec.outputs[1].shape = out;
  const std::int64_t rows = product(in, 0, in.size() - 1);
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return topk_of<float>(spec, rows, width, k);
    case DType::kInt8:
      return topk_of<std::int8_t>(spec, rows, width, k);
    case DType::kUint8:
      return topk_of<std::uint8_t>(spec, rows, width, k);
    case DType::kInt16:
      return topk_of<std::int16_t>(spec, rows, width, k);
    case DType::kInt32:
      return topk_of<std::int32_t>(spec, rows, width, k);
    case DType::kInt64:
      return topk_of<std::int64_t>(spec, rows, width, k);
    default:
      refuse_type(spec);
  }
}

// ---- RANGE: its length must be known when the plan is made
template <class T>
std::unique_ptr<Kernel> range_kernel(OpSpec& spec) {
  T v[3];
  for (std::size_t i = 0; i < 3; ++i) {
    const Array* c = spec.inputs[i].constant;
    if (c == nullptr) needs_values(spec, i);
    v[i] = c->span<T>()[0];
  }
  const T start = v[0], limit = v[1], delta = v[2];
  if (delta == T(0) || (start < limit && delta < T(0)) || (start > limit && delta > T(0)))
    refuse(spec, "from {} to {} in steps of {}", start, limit, delta);
  const double steps = std::ceil(std::abs(
      (static_cast<double>(limit) - static_cast<double>(start)) / static_cast<double>(delta)));
  double n = steps;
  if constexpr (std::is_same_v<T, float>) n = std::ceil(std::abs((limit - start) / delta));
  if (!(n <= static_cast<double>(1 << 30))) refuse(spec, "a range of {} elements", n);
  const auto count = static_cast<std::int32_t>(n);
  spec.outputs[0].shape = {count};
  return make_kernel([=](const Io& io) {
    T* out = static_cast<T*>(io.outputs[0]);
    T value = start;
    for (std::int32_t i = 0; i < count; ++i) {
      out[i] = value;
      if (i + 1 < count) value = static_cast<T>(value + delta);
    }
  });
}

std::unique_ptr<Kernel> prepare_range(OpSpec& spec) {
  expect_inputs(spec, 3, 3);
  expect_outputs(spec, 1);
  for (std::size_t i = 0; i < 3; ++i) {
    expect_same_type(spec, i);
    if (shape_elements(spec.inputs[i].shape) != 1) refuse(spec, "input {} is not a scalar", i);
  }
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return range_kernel<float>(spec);
    case DType::kInt32:
      return range_kernel<std::int32_t>(spec);
    case DType::kInt64:
      return range_kernel<std::int64_t>(spec);
    default:
      refuse_type(spec);
  }
}

std::unique_ptr<Kernel> prepare_rank(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  if (spec.outputs[0].dtype != DType::kInt32)
    refuse(spec, "its output is {}, expected int32", dtype_name(spec.outputs[0].dtype));
  spec.outputs[0].shape = {};
  const auto rank = static_cast<std::int32_t>(spec.inputs[0].shape.size());
  return make_kernel([rank](const Io& io) { *static_cast<std::int32_t*>(io.outputs[0]) = rank; });
}

// ---- BROADCAST_ARGS: the shape that two shapes broadcast to
template <class T>
std::unique_ptr<Kernel> broadcast_args(std::int32_t a, std::int32_t b) {
  return make_kernel([a, b, n = std::max(a, b)](const Io& io) {
    T* out = static_cast<T*>(io.outputs[0]);
    for (std::int32_t k = 1; k <= n; ++k) {
      const T x = k <= a ? static_cast<const T*>(io.inputs[0])[a - k] : T(1);
      const T y = k <= b ? static_cast<const T*>(io.inputs[1])[b - k] : T(1);
      out[n - k] = x == 1 ? y : x;
    }
  });
}

std::unique_ptr<Kernel> prepare_broadcast_args(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  for (std::size_t i = 0; i < 2; ++i) {
    expect_same_type(spec, i);
    if (spec.inputs[i].shape.size() != 1)
      refuse(spec, "input {} has shape {}", i, shape_text(spec.inputs[i].shape));
  }
  const std::int32_t a = spec.inputs[0].shape[0], b = spec.inputs[1].shape[0];
  spec.outputs[0].shape = {std::max(a, b)};
  if (spec.inputs[0].dtype == DType::kInt32) return broadcast_args<std::int32_t>(a, b);
  if (spec.inputs[0].dtype == DType::kInt64) return broadcast_args<std::int64_t>(a, b);
  refuse_type(spec);
}

// ---- reversed axes
std::unique_ptr<Kernel> prepare_reverse(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  const Shape& shape = spec.inputs[0].shape;
  if (shape.size() > 8) refuse(spec, "its input has {} dimensions, at most 8", shape.size());
  std::vector<bool> reversed(shape.size(), false);
  for (const std::int64_t a : plan_integers(spec, 1, "axes")) {
    const std::size_t axis = checked_axis(spec, a, shape.size());
    if (reversed[axis]) refuse(spec, "axis {} twice", a);
    reversed[axis] = true;
  }
  const auto steps = dense_steps(shape, unit);
  std::vector<MoveLoop> loops;
  std::int64_t from = 0;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    loops.push_back({shape[d], reversed[d] ? -steps[d] : steps[d], steps[d]});
    if (reversed[d]) from += (shape[d] - 1) * steps[d];
  }
  spec.outputs[0].shape = shape;
  return move_kernel(0, Move(unit, std::move(loops), from));
}

// The first `length` elements along one axis are reversed, a length for each index of another.
template <class I>
struct ReverseSequence {
  std::int64_t outer, first, middle, second, bytes;
  bool batch_first;  // the batch axis comes before the reversed one
  void operator()(const Io& io) const noexcept {
    const auto* in = static_cast<const std::byte*>(io.inputs[0]);
    const auto* length = static_cast<const I*>(io.inputs[1]);
    auto* out = static_cast<std::byte*>(io.outputs[0]);
    const std::int64_t size = batch_first ? second : first;
    for (std::int64_t o = 0; o < outer; ++o) {
      for (std::int64_t a = 0; a < first; ++a) {
        for (std::int64_t m = 0; m < middle; ++m) {
          for (std::int64_t b = 0; b < second; ++b, out += bytes) {
            const std::int64_t n = length[batch_first ? a : b], t = batch_first ? b : a;
            const std::int64_t from = t < n && n <= size ? n - 1 - t : t;
            const std::int64_t x = batch_first ? a : from, y = batch_first ? from : b;
            std::memcpy(out, in + (((o * first + x) * middle + m) * second + y) * bytes,
                        static_cast<std::size_t>(bytes));
          }
        }
      }
    }
  }
};

std::unique_ptr<Kernel> prepare_reverse_sequence(OpSpec& spec) {
  const auto& attrs = attrs_of<ReverseSequenceAttrs>(spec);
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
    case DType::kUint8:
    case DType::kInt16:
    case DType::kInt32:
    case DType::kInt64:
      break;
    default:
      refuse_type(spec);
  }
  const Shape& shape = spec.inputs[0].shape;
  const std::size_t seq = checked_axis(spec, attrs.seq_dim, shape.size()),
                    batch = checked_axis(spec, attrs.batch_dim, shape.size());
  if (seq == batch) refuse(spec, "one axis {} for sequence and batch", seq);
  if (spec.inputs[1].shape != Shape{shape[batch]})
    refuse(spec, "lengths of shape {} for {} sequences", shape_text(spec.inputs[1].shape),
           shape[batch]);
  if (const Array* c = spec.inputs[1].constant; c != nullptr) {
    for (const std::int64_t n : plan_integers(spec, 1, "lengths")) {
      if (n < 0 || n > shape[seq]) refuse(spec, "a length of {} along {}", n, shape[seq]);
    }
  }
  spec.outputs[0].shape = shape;
  const std::size_t a = std::min(seq, batch), b = std::max(seq, batch);
  const auto with = [&](auto zero) {
    using I = decltype(zero);
    return make_kernel(ReverseSequence<I>{
        product(shape, 0, a), shape[a], product(shape, a + 1, b), shape[b],
        product(shape, b + 1, shape.size()) * static_cast<std::int64_t>(unit), batch < seq});
  };
  if (spec.inputs[1].dtype == DType::kInt32) return with(std::int32_t{});
  if (spec.inputs[1].dtype == DType::kInt64) return with(std::int64_t{});
  refuse(spec, "lengths of type {}", dtype_name(spec.inputs[1].dtype));
}

// ---- diagonals
void expect_diagonal_type(const OpSpec& spec) {
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
    case DType::kInt8:
    case DType::kUint8:
    case DType::kInt16:
    case DType::kInt32:
    case DType::kInt64:
      return;
    default:
      refuse_type(spec);
  }
}

std::unique_ptr<Kernel> prepare_matrix_diag(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  expect_diagonal_type(spec);
  const Shape& in = spec.inputs[0].shape;
  if (in.empty()) refuse(spec, "its input is a scalar");
  Shape out = in;
  out.push_back(in.back());
  const std::size_t bytes = shape_elements(out) * unit;
  const auto n = static_cast<std::int64_t>(in.back()), u = static_cast<std::int64_t>(unit);
  const Move move(unit, {{product(in, 0, in.size() - 1), n * u, n * n * u}, {n, u, (n + 1) * u}});
  spec.outputs[0].shape = out;
  return make_kernel([bytes, move](const Io& io) {
    if (bytes > 0) std::memset(io.outputs[0], 0, bytes);
    move.run(io.inputs[0], io.outputs[0]);
  });
}

std::unique_ptr<Kernel> prepare_matrix_set_diag(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  expect_same_type(spec, 1);
  expect_diagonal_type(spec);
  const Shape &in = spec.inputs[0].shape, &diagonal = spec.inputs[1].shape;
  if (in.size() < 2) refuse(spec, "its input has shape {}", shape_text(in));
  const std::int64_t rows = in[in.size() - 2], columns = in.back(), n = std::min(rows, columns);
  const std::int64_t count = product(in, 0, in.size() - 2);
  if (diagonal.empty() || diagonal.back() != n ||
      static_cast<std::int64_t>(shape_elements(diagonal)) != count * n) {
    refuse(spec, "a diagonal of shape {} for matrices {}", shape_text(diagonal), shape_text(in));
  }
  const auto u = static_cast<std::int64_t>(unit);
  const Move move(unit, {{count, n * u, rows * columns * u}, {n, u, (columns + 1) * u}});
  spec.outputs[0].shape = in;
  return make_kernel([bytes = shape_elements(in) * unit, move](const Io& io) {
    if (bytes > 0) std::memcpy(io.outputs[0], io.inputs[0], bytes);
    move.run(io.inputs[1], io.outputs[0]);
  });
}

// ---- DYNAMIC_UPDATE_SLICE: the place is moved inside of the array
template <class I>
std::unique_ptr<Kernel> update_slice(const Shape& whole, const Shape& part, std::size_t unit) {
  const auto to = dense_steps(whole, unit), from = dense_steps(part, unit);
  std::vector<MoveLoop> loops;
  std::vector<std::int64_t> room;
  for (std::size_t d = 0; d < part.size(); ++d) {
    loops.push_back({part[d], from[d], to[d]});
    room.push_back(whole[d] - part[d]);
  }
  return make_kernel([move = Move(unit, std::move(loops)), room, to,
                      bytes = shape_elements(whole) * unit](const Io& io) {
    if (bytes > 0) std::memcpy(io.outputs[0], io.inputs[0], bytes);
    std::int64_t at = 0;
    for (std::size_t d = 0; d < room.size(); ++d) {
      const std::int64_t start = static_cast<const I*>(io.inputs[2])[d];
      at += std::clamp<std::int64_t>(start, 0, room[d]) * to[d];
    }
    move.run(io.inputs[1], static_cast<std::byte*>(io.outputs[0]) + at);
  });
}

std::unique_ptr<Kernel> prepare_dynamic_update_slice(OpSpec& spec) {
  expect_inputs(spec, 3, 3);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  expect_same_type(spec, 1);
  const Shape &whole = spec.inputs[0].shape, &part = spec.inputs[1].shape;
  bool fits = whole.size() == part.size() &&
              spec.inputs[2].shape == Shape{static_cast<std::int32_t>(whole.size())};
  for (std::size_t d = 0; fits && d < whole.size(); ++d) fits = part[d] <= whole[d];
  if (!fits) {
    refuse(spec, "an update of shape {} at a place of shape {} in {}", shape_text(part),
           shape_text(spec.inputs[2].shape), shape_text(whole));
  }
  spec.outputs[0].shape = whole;
  if (spec.inputs[2].dtype == DType::kInt32) return update_slice<std::int32_t>(whole, part, unit);
  if (spec.inputs[2].dtype == DType::kInt64) return update_slice<std::int64_t>(whole, part, unit);
  refuse(spec, "a place of type {}", dtype_name(spec.inputs[2].dtype));
}

constexpr KernelRow kRows[] = {
    {OpCode::kCumsum, prepare_cumsum, "float32 int32 int64"},
    {OpCode::kTopkV2, prepare_topk, "float32 int8 uint8 int16 int32 int64"},
    {OpCode::kRange, prepare_range, "float32 int32 int64"},
    {OpCode::kRank, prepare_rank, "any"},
    {OpCode::kBroadcastArgs, prepare_broadcast_args, "int32 int64"},
    {OpCode::kReverseV2, prepare_reverse, "any"},
    {OpCode::kReverseSequence, prepare_reverse_sequence, "float32 uint8 int16 int32 int64"},
    {OpCode::kMatrixDiag, prepare_matrix_diag, "float32 int8 uint8 int16 int32 int64"},
    {OpCode::kMatrixSetDiag, prepare_matrix_set_diag, "float32 int8 uint8 int16 int32 int64"},
    {OpCode::kDynamicUpdateSlice, prepare_dynamic_update_slice, "any"},
};

}  // namespace

std::span<const KernelRow> order_kernel_rows() { return kRows; }

}  // namespace litegap
