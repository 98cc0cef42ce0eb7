// EQUAL, NOT_EQUAL, GREATER, GREATER_EQUAL, LESS, LESS_EQUAL, LOGICAL_AND, LOGICAL_OR, LOGICAL_NOT,
// SELECT, SELECT_V2.
//
// 8-bit codes of two scales are compared as fixed-point numbers: RS_away(HM((q - z) << 8, m), -e),
// (m, e) from the tensor's own scale (docs/numerics.md, sections 1.1 and 1.2).  Other types are
// compared as they are.
#include <array>
#include <functional>
#include <limits>

#include "kernels/broadcast.h"
#include "kernels/half.h"
#include "kernels/move.h"
#include "kernels/value_quant.h"
#include "kernels/vectors.h"

namespace litegap {
namespace {

[[noreturn]] void refuse_type(const OpSpec& spec, std::size_t input) {
  refuse(spec, "type {} is not supported", dtype_name(spec.inputs[input].dtype));
}

void expect_bool_output(const OpSpec& spec) {
  if (spec.outputs[0].dtype != DType::kBool) {
    refuse(spec, "its output is {}, expected bool", dtype_name(spec.outputs[0].dtype));
  }
}

// What a code is compared by.
struct Rank {
  std::int32_t zero = 0;
  Multiplier scale;
  std::int32_t operator()(std::int32_t q) const {
    const std::int32_t x = high_multiply((q - zero) * 256, scale.mantissa);
    const int right = -scale.exponent;
    if (right >= 0) return shift_right_away(x, right);
    // A scale of 1 or more: the runtime shifts to the right by a negative number.  The mask of the
    // lost bits is then -1 and the processor shifts by the number modulo 32, so that little more
    // than the sign is left.
    return (x >> (right & 31)) + (x >= 0 ? 1 : 0);
  }
};
Rank rank_of(const OpSpec& spec, const Operand& o) {
  const ScaleZero s = scale_zero(spec, o);
  return {s.zero, make_multiplier(s.scale)};
}

using Ranks = std::array<std::int32_t, 256>;
Ranks ranks_of(const OpSpec& spec, const Operand& o) {
  const Rank rank = rank_of(spec, o);
  const Range32 range = code_range(o.dtype);
  Ranks ranks{};
  for (std::int32_t q = range.low; q <= range.high; ++q) {
    ranks[static_cast<std::uint8_t>(q)] = rank(q);
  }
  return ranks;
}

template <class Compare>
std::unique_ptr<Kernel> compare_codes(OpSpec& spec, Compare compare) {
  const Ranks a = ranks_of(spec, spec.inputs[0]), b = ranks_of(spec, spec.inputs[1]);
  return broadcast_kernel<std::uint8_t, std::uint8_t, bool>(
      broadcast(spec),
      [a, b, compare](std::uint8_t x, std::uint8_t y) { return compare(a[x], b[y]); });
}

// EQUAL and NOT_EQUAL of int16 go the same way, so that neighbouring codes of a small scale are
// equal.
template <class Compare>
std::unique_ptr<Kernel> compare_words(OpSpec& spec, Compare compare) {
  const Rank a = rank_of(spec, spec.inputs[0]), b = rank_of(spec, spec.inputs[1]);
  return broadcast_kernel<std::int16_t, std::int16_t, bool>(
      broadcast(spec),
      [a, b, compare](std::int16_t x, std::int16_t y) { return compare(a(x), b(y)); });
}

template <class T, class Compare>
std::unique_ptr<Kernel> compare_values(OpSpec& spec, Compare compare) {
  return broadcast_kernel<T, T, bool>(broadcast(spec), compare);
}

template <class Compare, bool kEquality>
std::unique_ptr<Kernel> prepare_compare(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  expect_bool_output(spec);
  if (spec.inputs[0].dtype != spec.inputs[1].dtype) {
    refuse(spec, "types {} and {}: expected one type", dtype_name(spec.inputs[0].dtype),
           dtype_name(spec.inputs[1].dtype));
  }
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return compare_values<float>(spec, Compare{});
    case DType::kInt16:
      if (kEquality && !spec.inputs[0].quant->empty()) return compare_words(spec, Compare{});
      return compare_values<std::int16_t>(spec, Compare{});
    case DType::kInt32:
      return compare_values<std::int32_t>(spec, Compare{});
    case DType::kInt64:
      return compare_values<std::int64_t>(spec, Compare{});
    case DType::kInt8:
    case DType::kUint8:
      return compare_codes(spec, Compare{});
    case DType::kBool:
      if (kEquality) return compare_values<bool>(spec, Compare{});
      break;
    default:
      break;
  }
  refuse_type(spec, 0);
}

// ---- bool
// ----------------------------------------------------------------------------------------
template <class F>
std::unique_ptr<Kernel> prepare_logical(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  expect_bool_output(spec);
  for (std::size_t i = 0; i < 2; ++i) {
    if (spec.inputs[i].dtype != DType::kBool) refuse_type(spec, i);
  }
  return broadcast_kernel<bool, bool, bool>(broadcast(spec), F{});
}

std::unique_ptr<Kernel> prepare_logical_not(OpSpec& spec) {
  if (prepare_same(spec) != DType::kBool) refuse_type(spec, 0);
  return map_values<bool>(shape_elements(spec.outputs[0].shape), [](bool v) { return !v; });
}

// ---- choosing
// ------------------------------------------------------------------------------------
constexpr std::size_t kMaxAxes = 8;
using Steps = std::array<std::size_t, 3>;  // of the condition, the first and the second choice

// out = condition ? x : y along axes with a step per operand; a step of 0 repeats.
template <class T>
class ChooseKernel final : public Kernel {
 public:
  ChooseKernel(const Shape& shape, std::vector<Steps> steps) : steps_(std::move(steps)) {
    for (const std::int32_t d : shape) counts_.push_back(static_cast<std::size_t>(d));
    if (counts_.empty()) {
      counts_.push_back(1);
      steps_.push_back({});
    }
    empty_ = shape_elements(shape) == 0;
  }

  void run(const Io& io) const noexcept override {
    if (empty_) return;
    const auto* condition = static_cast<const std::uint8_t*>(io.inputs[0]);
    const auto *x = static_cast<const T*>(io.inputs[1]), *y = static_cast<const T*>(io.inputs[2]);
    auto* out = static_cast<T*>(io.outputs[0]);
    const std::size_t n = counts_.back();
    const Steps row = steps_.back();
    std::array<std::size_t, kMaxAxes> index{};
    Steps at{};
    do {
      if (row == Steps{1, 1, 1})
        dense(condition + at[0], x + at[1], y + at[2], n, out);
      else
        strided(condition + at[0], x + at[1], y + at[2], n, row, out);
      out += n;
    } while (next(index, at));
  }

 private:
  static void dense(const std::uint8_t* condition, const T* x, const T* y, std::size_t n,
                    T* out) noexcept {
    with_vectors([&] {
      const std::uint8_t* c = condition;
      const T *p = x, *q = y;
      T* to = out;
      for (std::size_t i = 0, count = n; i < count; ++i) {
        const T first = p[i], second = q[i];  // always both: a choice becomes vector code
        to[i] = c[i] != 0 ? first : second;
      }
    });
  }
  static void strided(const std::uint8_t* condition, const T* x, const T* y, std::size_t n,
                      const Steps& row, T* out) noexcept {
    for (std::size_t i = 0; i < n; ++i)
      out[i] = condition[i * row[0]] != 0 ? x[i * row[1]] : y[i * row[2]];
  }

  bool next(std::array<std::size_t, kMaxAxes>& index, Steps& at) const noexcept {
    for (std::size_t d = counts_.size() - 1; d-- > 0;) {
      ++index[d];
      for (std::size_t k = 0; k < 3; ++k) at[k] += steps_[d][k];
      if (index[d] < counts_[d]) return true;
      for (std::size_t k = 0; k < 3; ++k) at[k] -= steps_[d][k] * counts_[d];
      index[d] = 0;
    }
    return false;
  }

  std::vector<std::size_t> counts_;
  std::vector<Steps> steps_;
  bool empty_ = false;
};

std::unique_ptr<Kernel> choose(OpSpec& spec, const Shape& shape, std::vector<Steps> steps) {
  spec.outputs[0].shape = shape;
  switch (element_bytes(spec, spec.inputs[1])) {
    case 1:
      return std::make_unique<ChooseKernel<std::uint8_t>>(shape, std::move(steps));
    case 2:
      return std::make_unique<ChooseKernel<std::uint16_t>>(shape, std::move(steps));
    case 4:
      return std::make_unique<ChooseKernel<std::uint32_t>>(shape, std::move(steps));
    case 8:
      return std::make_unique<ChooseKernel<std::uint64_t>>(shape, std::move(steps));
    default:
      refuse_type(spec, 1);
  }
}

void check_choices(const OpSpec& spec) {
  expect_inputs(spec, 3, 3);
  expect_outputs(spec, 1);
  if (spec.inputs[0].dtype != DType::kBool) refuse_type(spec, 0);
  expect_same_type(spec, 1);
  expect_same_type(spec, 2);
  switch (spec.inputs[1].dtype) {
    case DType::kBool:
    case DType::kFloat32:
    case DType::kUint8:
    case DType::kInt8:
    case DType::kInt16:
    case DType::kInt32:
    case DType::kInt64:
    case DType::kUint32:
      return;
    default:
      refuse_type(spec, 1);
  }
}

std::unique_ptr<Kernel> prepare_select_v2(OpSpec& spec) {
  check_choices(spec);
  std::size_t rank = 0;
  for (const Operand& o : spec.inputs) rank = std::max(rank, o.shape.size());
  if (rank > kMaxAxes)
    refuse(spec, "operands with {} dimensions, expected at most {}", rank, kMaxAxes);
  Shape shape(rank, 1);
  for (const Operand& o : spec.inputs) {
    for (std::size_t k = 0; k < o.shape.size(); ++k) {
      std::int32_t& d = shape[rank - 1 - k];
      const std::int32_t mine = o.shape[o.shape.size() - 1 - k];
      if (mine == 1) continue;
      if (d != 1 && d != mine) {
        refuse(spec, "shapes {}, {} and {} do not broadcast", shape_text(spec.inputs[0].shape),
               shape_text(spec.inputs[1].shape), shape_text(spec.inputs[2].shape));
      }
      d = mine;
    }
  }
  std::vector<Steps> steps(rank);
  for (std::size_t i = 0; i < 3; ++i) {
    const Shape& in = spec.inputs[i].shape;
    std::size_t step = 1;
    for (std::size_t k = 0; k < in.size(); ++k) {
      const auto d = static_cast<std::size_t>(in[in.size() - 1 - k]);
      steps[rank - 1 - k][i] = d == 1 ? 0 : step;
      step *= d;
    }
  }
  return choose(spec, shape, std::move(steps));
}

// The condition is a scalar, one value per row of axis 0, or has the shape of the choices.
std::unique_ptr<Kernel> prepare_select(OpSpec& spec) {
  check_choices(spec);
  const Shape &condition = spec.inputs[0].shape, &x = spec.inputs[1].shape;
  if (x != spec.inputs[2].shape) {
    refuse(spec, "choices of shape {} and {}, expected the same", shape_text(x),
           shape_text(spec.inputs[2].shape));
  }
  const std::size_t n = shape_elements(x);
  const auto count = static_cast<std::int32_t>(n);
  const bool scalar = condition.empty() || (condition.size() == 1 && condition[0] == 1);
  const bool rows = condition.size() == 1 && !x.empty() && condition[0] == x[0];
  const Shape shape = x;
  std::unique_ptr<Kernel> kernel;
  if (condition == x) {
    kernel = choose(spec, {count}, {{1, 1, 1}});
  } else if (scalar) {
    kernel = choose(spec, {count}, {{0, 1, 1}});
  } else if (rows) {
    const std::size_t inner = n == 0 ? 0 : n / static_cast<std::size_t>(x[0]);
    kernel = choose(spec, {x[0], static_cast<std::int32_t>(inner)}, {{1, inner, inner}, {0, 1, 1}});
  } else {
    refuse(spec, "a condition of shape {} for choices of shape {}", shape_text(condition),
           shape_text(x));
  }
  spec.outputs[0].shape = shape;
  return kernel;
}

constexpr const char* kChoices = "float32 int8 uint8 int16 int32 uint32 int64 bool";
constexpr KernelRow kRows[] = {
    {OpCode::kEqual, with_half<prepare_compare<std::equal_to<>, true>>,
     "float16 float32 int8 uint8 int16 int32 int64 bool"},
    {OpCode::kNotEqual, prepare_compare<std::not_equal_to<>, true>,
     "float32 int8 uint8 int16 int32 int64 bool"},
    {OpCode::kGreater, prepare_compare<std::greater<>, false>,
     "float32 int8 uint8 int16 int32 int64"},
    {OpCode::kGreaterEqual, prepare_compare<std::greater_equal<>, false>,
     "float32 int8 uint8 int16 int32 int64"},
    {OpCode::kLess, with_half<prepare_compare<std::less<>, false>>,
     "float16 float32 int8 uint8 int16 int32 int64"},
    {OpCode::kLessEqual, prepare_compare<std::less_equal<>, false>,
     "float32 int8 uint8 int16 int32 int64"},
    {OpCode::kLogicalAnd, prepare_logical<std::logical_and<>>, "bool"},
    {OpCode::kLogicalOr, prepare_logical<std::logical_or<>>, "bool"},
    {OpCode::kLogicalNot, prepare_logical_not, "bool"},
    {OpCode::kSelect, prepare_select, kChoices},
    {OpCode::kSelectV2, prepare_select_v2, kChoices},
};

}  // namespace

std::span<const KernelRow> compare_kernel_rows() { return kRows; }

}  // namespace litegap
