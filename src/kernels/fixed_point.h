// Transcendental functions of the runtime's fixed-point kernels (docs/numerics.md, sections 3.1 to
// 3.3, 3.7 and 3.8).  Raw words with a chosen number of integer bits; no state, no tables.
//
//   exp_q31(a, 5)        e^a for a <= 0 with 5 integer bits, result in Q0.31
//   logistic16(x)        of a Q3.12 word, in Q0.15
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

#include "kernels/lanes.h"

namespace litegap::fixed {

// Coefficients of e^x around -1/8 and the factors e^-(2^j), j = -2 ... 4, in Q0.31.
inline constexpr std::int32_t kExpEighth = 1895147668, kThird = 715827883;
inline constexpr std::int32_t kExpFactors[] = {1672461947, 1302514674, 790015084, 290630308,
                                               39332535,   720401,     242};
// 48/17 and -32/17 in Q2.29: the first guess of Newton's division.
inline constexpr std::int32_t kGuess = 1515870810, kGuessSlope = -1010580540;

inline std::int32_t saturate32(std::int64_t x) {
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(
      x, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()));
}
inline std::int32_t shift_left_saturating(std::int64_t x, int n) {
  return saturate32(x * (std::int64_t{1} << n));
}
// x * 2^n: saturating to the left, nearest with ties away to the right.
inline std::int32_t scale_by_power(std::int32_t x, int n) {
  return n >= 0 ? shift_left_saturating(x, n) : shift_right_away(x, -n);
}
inline std::int32_t rounding_half_sum(std::int32_t a, std::int32_t b) {
  const std::int64_t sum = std::int64_t{a} + b;
  return static_cast<std::int32_t>((sum + (sum >= 0 ? 1 : -1)) / 2);
}
inline int leading_zeros(std::int32_t x) { return std::countl_zero(static_cast<std::uint32_t>(x)); }

// Section 3.1.
inline std::int32_t exp_q31(std::int32_t a, int integer_bits) {
  if (a == 0) return std::numeric_limits<std::int32_t>::max();
  const int fraction = 31 - integer_bits;
  const std::int32_t quarter = 1 << (fraction - 2);
  const std::int32_t reduced = (a & (quarter - 1)) - quarter;
  const std::int32_t s = reduced * (1 << integer_bits) + (1 << 28);
  const std::int32_t s2 = high_multiply(s, s), s3 = high_multiply(s2, s);
  const std::int32_t s4 = high_multiply(s2, s2);
  const std::int32_t w =
      shift_right_away(high_multiply(shift_right_away(s4, 2) + s3, kThird) + s2, 1);
  std::int32_t r = kExpEighth + high_multiply(kExpEighth, s + w);
  const std::int32_t rest = reduced - a;
  for (int j = -2; j <= 4; ++j) {
    if (integer_bits > j && ((rest >> (fraction + j)) & 1) != 0) {
      r = high_multiply(r, kExpFactors[j + 2]);
    }
  }
  return r;
}

// Section 3.2: 1/(1+x) for x in [0, 1), both Q0.31.
inline std::int32_t reciprocal_q31(std::int32_t x) {
  const std::int32_t half = rounding_half_sum(x, std::numeric_limits<std::int32_t>::max());
  std::int32_t y = kGuess + high_multiply(half, kGuessSlope);
  for (int i = 0; i < 3; ++i) {
    const std::int32_t error = (1 << 29) - high_multiply(half, y);
    y = y + shift_left_saturating(high_multiply(y, error), 2);
  }
  return shift_left_saturating(y, 1);
}

// Section 3.3: the natural logarithm of x >= 1.  Normalized twice, with and without a factor of
// sqrt(1/2); the smaller remainder takes the rational correction.
inline std::int32_t log_raw(std::int32_t x, int integer_bits, int out_bits) {
  constexpr std::int32_t kLog2 = 1488522236, kRootRoot = 1805811301, kRoot = 1518500250;
  constexpr std::int32_t kNum = 117049297, kDen = 127690142, kInt = 1057819769, kTail = 638450708;
  const int bits = out_bits + 1;
  const std::int32_t quarter = shift_right_away(536870912, bits);
  const auto power = [&](int p, std::int32_t shift) {
    return saturate32(std::int64_t{scale_by_power(p, 31 - bits)} + shift);
  };
  const int ha = leading_zeros(x);
  const std::int32_t ra =
      shift_left_saturating(high_multiply(shift_left_saturating(x, ha - 1), kRoot), 1);
  const std::int32_t pa = power(integer_bits - ha, quarter);
  const std::int32_t root = high_multiply(x, kRoot);
  const int hb = leading_zeros(root) - 1;
  const std::int32_t rb = shift_left_saturating(x, hb);
  const std::int32_t pb = power(integer_bits - hb, -quarter);
  const std::int32_t r = std::min(ra, rb), exponent = std::max(pa, pb);
  const std::int32_t p = rounding_half_sum(r, kRootRoot);
  const std::int32_t q = wrap_shift_left(r - kRootRoot, 1), c = high_multiply(q, q);
  const std::int32_t num = high_multiply(q, r) + high_multiply(high_multiply(q, c), kNum);
  const std::int32_t den =
      high_multiply(p, kInt + q + high_multiply(kDen, c)) + high_multiply(kTail, q);
  const std::int32_t quotient = high_multiply(shift_right_away(num, bits), reciprocal_q31(den));
  return scale_by_power(high_multiply(exponent, kLog2) + quotient, bits - out_bits);
}

// Section 3.8: 1/sqrt(v) = mantissa * 2^-31 * 2^-shift.
struct InverseRoot {
  std::int32_t mantissa = 0;
  int shift = 0;
};
inline InverseRoot inverse_root(std::int32_t v) {
  if (v <= 1) return {std::numeric_limits<std::int32_t>::max(), 0};
  int shift = 11;
  while (v >= 1 << 29) {
    v /= 4;
    ++shift;
  }
  const int pairs = (leading_zeros(v) - 1) / 2 - 1;
  shift -= pairs;
  const std::int32_t f = (v << (2 * pairs)) >> 1, half = shift_right_away(f, 1);
  std::int32_t x = 1 << 28;
  for (int i = 0; i < 5; ++i) {
    const std::int32_t x3 = shift_left_saturating(high_multiply(high_multiply(x, x), x), 6);
    const std::int64_t next = std::int64_t{high_multiply(402653184, x)} - high_multiply(half, x3);
    x = shift_left_saturating(next, 3);
  }
  x = high_multiply(x, 1518500250);
  return shift < 0 ? InverseRoot{wrap_shift_left(x, -shift), 0} : InverseRoot{x, shift};
}

// ---- 16-bit words (section 3.7), in 32-bit arithmetic without branches, so that loops over these
// become vector code
inline std::int32_t clamp16(std::int32_t x) { return std::min(std::max(x, -32768), 32767); }
inline std::int32_t high_multiply16(std::int32_t a, std::int32_t b) {
  const std::int32_t p = (a * b + (1 << 14)) >> 15;
  return p > 32767 ? 32767 : p;  // of -32768 and -32768
}
// n up to 16.
inline std::int32_t shift_left16(std::int32_t x, int n) { return clamp16(x * (1 << n)); }
// A Q0.31 constant as Q0.15, nearest with ties away.
constexpr std::int32_t word16(std::int32_t c) {
  return c >= 0 ? static_cast<std::int32_t>((std::int64_t{c} + 32768) >> 16)
                : -static_cast<std::int32_t>((-std::int64_t{c} + 32768) >> 16);
}

inline std::int32_t exp16(std::int32_t a, int integer_bits) {  // a <= 0, result in Q0.15
  const int fraction = 15 - integer_bits;
  const std::int32_t quarter = fraction >= 2 ? 1 << (fraction - 2) : 1;
  const std::int32_t reduced = (a & (quarter - 1)) - quarter;
  const std::int32_t x = clamp16(reduced * (1 << integer_bits) + (1 << 12));
  const std::int32_t x2 = high_multiply16(x, x), x3 = high_multiply16(x2, x);
  const std::int32_t x4 = high_multiply16(x2, x2);
  const std::int32_t third = high_multiply16(clamp16(shift_away(x4, 2) + x3), word16(kThird));
  const std::int32_t tail = shift_away(clamp16(third + x2), 1);
  constexpr std::int32_t eighth = word16(kExpEighth);
  std::int32_t r = clamp16(eighth + high_multiply16(eighth, clamp16(x + tail)));
  const std::int32_t rest = reduced - a;
#pragma GCC unroll 7
  for (int j = -2; j <= 4; ++j) {
    const std::int32_t less = high_multiply16(r, word16(kExpFactors[j + 2]));
    // Bits from the integer bits on are none of `rest`, which is below 2^15.
    r = ((rest >> (fraction + j)) & 1) != 0 ? less : r;
  }
  // The factors reach to e^-31; what is less is nothing.  Words of fewer integer bits are not less.
  r = a < -(1 << (fraction + 5)) ? 0 : r;
  return a == 0 ? 32767 : r;
}

// Newton's iteration for 2/(1+x) in Q2.13, x in Q0.15 and not negative.
inline std::int32_t newton16(std::int32_t x) {
  const std::int32_t half = (x + 32768) >> 1;
  std::int32_t y = clamp16(word16(kGuess) + high_multiply16(half, word16(kGuessSlope)));
#pragma GCC unroll 3
  for (int i = 0; i < 3; ++i) {
    const std::int32_t error = clamp16((1 << 13) - high_multiply16(half, y));
    y = clamp16(y + shift_left16(high_multiply16(y, error), 2));
  }
  return y;
}

inline std::int32_t logistic16(std::int32_t x) {
  const std::int32_t r = shift_left16(newton16(exp16(x > 0 ? -x : x, 3)), 1);
  const std::int32_t v = x > 0 ? r : clamp16(32767 - r);
  return x == 0 ? 1 << 14 : v;
}

inline std::int32_t tanh16(std::int32_t x, int integer_bits) {
  const std::int32_t e = exp16(x > 0 ? -x : x, integer_bits + 1);
  const std::int32_t t = shift_left16(clamp16(newton16(e) - (1 << 13)), 2);
  const std::int32_t v = clamp16(x < 0 ? -t : t);
  return x == 0 ? 0 : v;
}

}  // namespace litegap::fixed
