// DIV, FLOOR_DIV, FLOOR_MOD, POW.
//
// DIV of codes (8 and 16 bits): the divisor's reciprocal is a Q0.31 number from Newton's iteration,
// the dividend is shifted up to use the whole word, the product is shifted down to the output's
// scale.  A divisor of zero, which the runtime refuses while it runs, gives 0 here.
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/arithmetic_ops.h"
#include "kernels/broadcast.h"
#include "kernels/fixed_point.h"
#include "kernels/fused_bounds.h"
#include "kernels/half.h"

namespace litegap {
namespace {

// ---- DIV
// ----------------------------------------------------------------------------------------- x / 2^n
// as the runtime's 32-bit words have it: from n = 32 on the mask of the lost bits wraps to -1 and
// the processor shifts by n modulo 32.
std::int32_t shift_right_wrapped(std::int32_t x, int n) {
  if (n < 32) return shift_right_away(x, n);
  return (x >> (n & 31)) + (x > (x < 0 ? 0 : -1) ? 1 : 0);
}

struct DivideCodes {
  std::int32_t za = 0, zb = 0, zy = 0;
  Multiplier out;
  Range32 range;

  std::int32_t operator()(std::int32_t x, std::int32_t y) const {
    std::int32_t a = x - za, b = y - zb;
    if (b == 0) return std::clamp(zy, range.low, range.high);
    if (b < 0) {
      a = -a;
      b = -b;
    }
    const int zeros = fixed::leading_zeros(b);
    const auto fraction =
        static_cast<std::int32_t>((static_cast<std::uint32_t>(b) << zeros) - 0x80000000u);
    const std::int32_t inverse = fixed::reciprocal_q31(fraction);
    const int over_unit = 31 - zeros;
    const int headroom = fixed::leading_zeros(a < 0 ? ~a : a) - 1;  // bits equal to the sign
    const std::int32_t quotient = high_multiply(wrap_shift_left(a, headroom), inverse);
    const int right = -(out.exponent - over_unit - headroom);
    const std::int32_t scaled = high_multiply(quotient, out.mantissa);
    const std::int32_t v =
        right >= 0 ? shift_right_wrapped(scaled, right) : wrap_shift_left(scaled, -right);
    return static_cast<std::int32_t>(
        std::clamp<std::int64_t>(std::int64_t{v} + zy, range.low, range.high));
  }
};

std::unique_ptr<Kernel> divide_codes(OpSpec& spec) {
  const ScaleZero a = scale_zero(spec, spec.inputs[0]), b = scale_zero(spec, spec.inputs[1]);
  const ScaleZero y = scale_zero(spec, spec.outputs[0]);
  DivideCodes divide{a.zero, b.zero, y.zero, make_multiplier(a.scale / (b.scale * y.scale)),
                     code_bounds(spec, y)};
  switch (spec.inputs[0].dtype) {
    case DType::kInt8:
      return pair_kernel<std::int8_t>(spec, divide);
    case DType::kUint8:
      return pair_kernel<std::uint8_t>(spec, divide);
    default:
      return pair_kernel<std::int16_t>(spec, divide);
  }
}

// Refuses constant divisors with a zero in them, as the runtime does when it meets one.
template <class T>
void expect_no_zero(const OpSpec& spec) {
  const Array* c = spec.inputs[1].constant;
  if (c == nullptr) return;
  for (const T v : c->span<T>()) {
    if (v == 0) refuse(spec, "a divisor of 0");
  }
}

std::unique_ptr<Kernel> prepare_div(OpSpec& spec) {
  const DType t = prepare_pair(spec);
  if (is_code_type(t)) return divide_codes(spec);
  const Activation activation = fused_activation(spec.op->attrs);
  if (t == DType::kInt32) {
    expect_no_zero<std::int32_t>(spec);
    const auto r = real_bounds<std::int32_t>(activation);
    return pair_kernel<std::int32_t>(spec, [r](std::int32_t x, std::int32_t y) {
      const std::int64_t q = y == 0 ? 0 : std::int64_t{x} / y;
      return static_cast<std::int32_t>(std::clamp<std::int64_t>(q, r.low, r.high));
    });
  }
  if (t != DType::kFloat32) refuse_type(spec);
  auto r = real_bounds<float>(activation);
  const bool xnn = spec.dialect == Dialect::kXnnpack && activation <= Activation::kRelu6;
  if (xnn && !r.set)
    return pair_kernel<float>(
        spec, [](float x, float y) { return flush_subnormal(x) / flush_subnormal(y); });
  if (xnn && activation == Activation::kRelu) r.high = std::numeric_limits<float>::infinity();
  if (xnn) {
    return pair_kernel<float>(spec, [r](float x, float y) {
      const float q = flush_subnormal(x) / flush_subnormal(y), least = q < r.low ? r.low : q;
      return r.high < least ? r.high : least;
    });
  }
  return pair_kernel<float>(spec, [r](float x, float y) {
    const float q = x / y, least = q < r.low ? r.low : q;
    return r.high < least ? r.high : least;
  });
}

// ---- division that rounds to minus infinity
// ------------------------------------------------------
template <class T>
struct FloorDivide {
  T operator()(T x, T y) const {
    if constexpr (std::is_floating_point_v<T>) {
      return std::floor(x / y);
    } else {
      if (y == 0) return T(0);
      const std::int64_t q = std::int64_t{x} / y;
      return static_cast<T>(q * y != x && (x < 0) != (y < 0) ? q - 1 : q);
    }
  }
};

template <class T>
struct FloorModulo {
  T operator()(T x, T y) const {
    if constexpr (std::is_floating_point_v<T>) {
      const T m = std::fmod(x, y);
      return m != T(0) && (y < T(0)) != (m < T(0)) ? m + y : m;
    } else {
      if (y == 0 || y == T(-1)) return T(0);  // the least number modulo -1 must not trap
      const T m = static_cast<T>(x % y);
      return m != 0 && (y < 0) != (m < 0) ? static_cast<T>(m + y) : m;
    }
  }
};

std::unique_ptr<Kernel> prepare_floor_div(OpSpec& spec) {
  switch (prepare_pair(spec)) {
    case DType::kFloat32:
      expect_no_zero<float>(spec);
      return pair_kernel<float>(spec, FloorDivide<float>{});
    case DType::kInt32:
      expect_no_zero<std::int32_t>(spec);
      return pair_kernel<std::int32_t>(spec, FloorDivide<std::int32_t>{});
    case DType::kInt16:
      expect_no_zero<std::int16_t>(spec);
      return pair_kernel<std::int16_t>(spec, FloorDivide<std::int16_t>{});
    case DType::kInt8:
      expect_no_zero<std::int8_t>(spec);
      return pair_kernel<std::int8_t>(spec, FloorDivide<std::int8_t>{});
    default:
      refuse_type(spec);
  }
}

std::unique_ptr<Kernel> prepare_floor_mod(OpSpec& spec) {
  switch (prepare_pair(spec)) {
    case DType::kFloat32:
      return pair_kernel<float>(spec, FloorModulo<float>{});
    case DType::kInt64:
      return pair_kernel<std::int64_t>(spec, FloorModulo<std::int64_t>{});
    case DType::kInt32:
      return pair_kernel<std::int32_t>(spec, FloorModulo<std::int32_t>{});
    case DType::kInt16:
      return pair_kernel<std::int16_t>(spec, FloorModulo<std::int16_t>{});
    case DType::kInt8:
      return pair_kernel<std::int8_t>(spec, FloorModulo<std::int8_t>{});
    default:
      refuse_type(spec);
  }
}

std::unique_ptr<Kernel> prepare_pow(OpSpec& spec) {
  switch (prepare_pair(spec)) {
    case DType::kFloat32:
      return pair_kernel<float>(spec, [](float x, float y) { return std::pow(x, y); });
    case DType::kInt32:
      // By squaring, modulo 2^32; a negative exponent leaves the integers.
      return pair_kernel<std::int32_t>(spec, [](std::int32_t x, std::int32_t y) {
        std::uint32_t result = 1, base = static_cast<std::uint32_t>(x);
        for (std::int32_t e = y; e > 0; e >>= 1, base *= base) {
          if ((e & 1) != 0) result *= base;
        }
        return static_cast<std::int32_t>(y < 0 ? 0 : result);
      });
    default:
      refuse_type(spec);
  }
}

constexpr KernelRow kRows[] = {
    {OpCode::kDiv, with_half_xnn<prepare_div>, "float16 float32 int8 uint8 int16 int32"},
    {OpCode::kFloorDiv, prepare_floor_div, "float32 int8 int16 int32"},
    {OpCode::kFloorMod, prepare_floor_mod, "float32 int8 int16 int32 int64"},
    {OpCode::kPow, prepare_pow, "float32 int32"},
};

}  // namespace

std::span<const KernelRow> divide_kernel_rows() { return kRows; }

}  // namespace litegap
