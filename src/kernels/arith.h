// Fixed-point arithmetic of the runtime's integer kernels (numerics note, section 1), as inline
// functions on values.
//
//   Multiplier m = make_multiplier(0.0123);             // mantissa in Q0.31 and an exponent
//   int32_t y = scale_double(acc, m) + zero_point;      // reference rounding
//
// Rounding by name: away = ties away from zero, up = ties toward +infinity, even = ties to even.
// Left shifts wrap modulo 2^32, as the runtime's do.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace litegap {

struct Multiplier {
  std::int32_t mantissa = 0;  // 0, or in [2^30, 2^31)
  int exponent = 0;           // value = mantissa * 2^(exponent - 31)
};

// Section 1.1.
inline Multiplier make_multiplier(double real) {
  if (real == 0.0 || !std::isfinite(real)) return {};
  int e = 0;
  const double f = std::frexp(real, &e);
  std::int64_t m = static_cast<std::int64_t>(std::round(f * 2147483648.0));
  if (m == (std::int64_t{1} << 31)) {
    m /= 2;
    ++e;
  }
  if (e < -31) return {};
  return {static_cast<std::int32_t>(m), e};
}

inline std::int32_t wrap_shift_left(std::int32_t x, int n) {
  return n >= 32 ? 0 : static_cast<std::int32_t>(static_cast<std::uint32_t>(x) << n);
}

// HM: rounding doubling high multiply.
inline std::int32_t high_multiply(std::int32_t a, std::int32_t b) {
  if (a == std::numeric_limits<std::int32_t>::min() && a == b)
    return std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>((static_cast<std::int64_t>(a) * b + (std::int64_t{1} << 30)) >>
                                   31);
}
inline std::int32_t shift_right_away(std::int32_t x, int n) {
  if (n == 0) return x;
  if (n >= 32) return 0;
  const std::int64_t mask = (std::int64_t{1} << n) - 1;
  const std::int64_t rest = static_cast<std::int64_t>(x) & mask;
  const std::int64_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  return static_cast<std::int32_t>((static_cast<std::int64_t>(x) >> n) +
                                   (rest > threshold ? 1 : 0));
}
inline std::int32_t shift_right_up(std::int32_t x, int n) {
  if (n == 0) return x;
  if (n >= 32) return 0;
  return static_cast<std::int32_t>((static_cast<std::int64_t>(x) + (std::int64_t{1} << (n - 1))) >>
                                   n);
}

// The "double" profile: reference kernels and scalar tails.
inline std::int32_t scale_double(std::int32_t x, Multiplier m) {
  const int left = m.exponent > 0 ? m.exponent : 0, right = m.exponent > 0 ? 0 : -m.exponent;
  return shift_right_away(high_multiply(wrap_shift_left(x, left), m.mantissa), right);
}
// The "up" profile: built-in GEMM and vector blocks.
inline std::int32_t scale_up(std::int32_t x, Multiplier m) {
  const int left = m.exponent > 0 ? m.exponent : 0, right = m.exponent > 0 ? 0 : -m.exponent;
  return shift_right_up(high_multiply(wrap_shift_left(x, left), m.mantissa), right);
}
// The "16x8" profile for 64-bit sums.
inline std::int32_t scale_16x8(std::int64_t x, Multiplier m) {
  const std::int32_t reduced = m.mantissa < 0x7FFF0000 ? (m.mantissa + (1 << 15)) >> 16 : 0x7FFF;
  const int shift = 15 - m.exponent;
  if (shift <= 0)
    return static_cast<std::int32_t>(static_cast<std::uint64_t>(x * reduced) << -shift);
  if (shift > 62) return 0;
  return static_cast<std::int32_t>((x * reduced + (std::int64_t{1} << (shift - 1))) >> shift);
}

inline std::int32_t round_away(float x) {  // rha to int32; out of range gives INT32_MIN like x86
  const float r = std::round(x);
  return r >= 2147483648.0f || r < -2147483648.0f || std::isnan(r)
             ? std::numeric_limits<std::int32_t>::min()
             : static_cast<std::int32_t>(r);
}
inline std::int32_t round_away(double x) {
  const double r = std::round(x);
  return r >= 2147483648.0 || r < -2147483648.0 || std::isnan(r)
             ? std::numeric_limits<std::int32_t>::min()
             : static_cast<std::int32_t>(r);
}
inline std::int32_t round_even(float x) {
  const float r = std::nearbyint(x);
  return r >= 2147483648.0f || r < -2147483648.0f || std::isnan(r)
             ? std::numeric_limits<std::int32_t>::min()
             : static_cast<std::int32_t>(r);
}

// Section 1.5: XNNPACK's float32 requantization of a 32-bit sum.
inline std::int32_t requantize_xnn(std::int32_t sum, float scale, std::int32_t zero_point,
                                   std::int32_t low, std::int32_t high) {
  float v = static_cast<float>(sum) * scale;
  v = std::min(v, static_cast<float>(high - zero_point));
  const std::int32_t i = std::clamp(round_even(v), -65536, 65536);
  const std::int32_t shifted = std::clamp(i + zero_point, -32768, 32767);
  return std::max(std::min(shifted, high), low);
}

struct Range32 {
  std::int32_t low = 0, high = 0;
};

// Ties to even, for |v| below 2^22: the bits below the point fall off when a large number is added.
// Unlike the library's functions this becomes vector code.
inline std::int32_t small_round_even(float v) {
  return std::bit_cast<std::int32_t>(v + 12582912.0f) - 0x4B400000;
}

}  // namespace litegap
