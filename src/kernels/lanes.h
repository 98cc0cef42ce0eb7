// The "double" rounding of arith.h in a form that compilers turn into vector code: no branch, and
// no arithmetic shift of 64 bits, which AVX2 does not have.
//
//   scale_lane(x, m) == scale_double(x, m),  shift_away(x, n) == shift_right_away(x, n), n < 32
#pragma once
#include "kernels/arith.h"

namespace litegap {

inline std::int32_t shift_away(std::int32_t x, int n) {
  const auto mask = static_cast<std::int32_t>((std::uint32_t{1} << n) - 1);
  const std::int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  return (x >> n) + ((x & mask) > threshold ? 1 : 0);
}

// b is not -2^31.  2^62 makes the sum positive, so that a logical shift serves.
inline std::int32_t high_multiply_lane(std::int32_t a, std::int32_t b) {
  const auto p = static_cast<std::uint64_t>(std::int64_t{a} * b) + (std::uint64_t{1} << 62) +
                 (std::uint64_t{1} << 30);
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(p >> 31) - 0x80000000u);
}

inline std::int32_t scale_lane(std::int32_t x, Multiplier m) {
  const int left = m.exponent > 0 ? m.exponent : 0, right = m.exponent > 0 ? 0 : -m.exponent;
  const auto word = static_cast<std::int32_t>(static_cast<std::uint32_t>(x) << (left & 31));
  return shift_away(high_multiply_lane(left < 32 ? word : 0, m.mantissa), right);
}

}  // namespace litegap
