// Smooth functions of one float32 as the default dialect has them: XNNPACK's quotients of
// polynomials and its exponentials, on processors that multiply and add in one rounding.
//
// Every step is a float32 operation, std::fma says where two have one rounding, and subnormal
// numbers are zero: the result is XNNPACK's, bit for bit (LOGISTIC, EXP: of AVX2; ELU: of AVX-512),
// on any machine.  Free of branches: a loop over them inside with_fused() becomes vector code.
//
//   TANH, SIN, COS, the quotient in GELU     x p(x²) / q(x²)
//   LOG                                      n ln 2 + x p(x) / q(x), x from -0.3 to 0.4
//   EXP                                      2^n (1 + x p(x) / q(x)), x from -0.5 to 0.5
//   LOGISTIC, SOFTMAX                        e^x = 2^n p(t), n = round(x log2 e), t = x - n ln 2
//
//   tanh_curve(0.5f) = 0.46211717, sigmoid_curve(0.0f) = 0.5
#pragma once
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace litegap::curves {

// The processor's minimum and maximum: of a NaN and a number the second operand.
inline float least(float a, float b) { return a < b ? a : b; }
inline float most(float a, float b) { return a > b ? a : b; }
inline float flushed(float v) {
  return std::fabs(v) < std::numeric_limits<float>::min() ? std::copysign(0.0f, v) : v;
}
// c[0] + x (c[1] + x (c[2] + …)).
template <std::size_t k = 0, std::size_t n>
inline float polynomial(float x, const float (&c)[n]) {
  if constexpr (k + 1 == n)
    return c[k];
  else
    return std::fma(x, polynomial<k + 1>(x, c), c[k]);
}
// x p(x²) / q(x²).
template <std::size_t n, std::size_t m>
inline float odd_quotient(float x, const float (&p)[n], const float (&q)[m]) {
  const float square = x * x;
  return x * polynomial(square, p) / polynomial(square, q);
}

inline constexpr float kTanhEnd = 7.9807181358f;  // the quotient is 1 there
inline float tanh_curve(float v, float end = kTanhEnd) {
  constexpr float kAbove[] = {1.0f, 1.3412411511e-01f, 3.5330520477e-03f, 2.1235626264e-05f,
                              1.4248920266e-08f};
  constexpr float kBelow[] = {1.0f, 4.6745735407e-01f, 2.6018999517e-02f, 3.3472978976e-04f,
                              8.1365948290e-07f};
  return odd_quotient(most(-end, least(end, flushed(v))), kAbove, kBelow);
}

// v / 2 (1 + quotient); the half of a subnormal number is one too.
inline float half_of(float v, float quotient) { return flushed(v * 0.5f) * (quotient + 1.0f); }
inline constexpr float kGeluEnd = 5.1638283730f, kGeluTanhEnd = 4.84974098f;
inline float gelu_curve(float v, float end = kGeluEnd) {
  constexpr float kAbove[] = {7.9788452387e-01f, 6.6972173750e-02f, 9.3065137044e-03f,
                              3.2973114867e-04f, 1.2609783880e-05f, 4.5835321316e-08f};
  constexpr float kBelow[] = {1.0f,
                              2.5060352683e-01f,
                              2.8431978077e-02f,
                              1.8622842617e-03f,
                              7.2267655923e-05f,
                              1.1988805682e-06f};
  return half_of(v, odd_quotient(most(-end, least(end, v)), kAbove, kBelow));
}
inline float gelu_tanh_curve(float v, float end = kGeluTanhEnd) {
  constexpr float kAbove[] = {7.9788458347e-01f, 6.0803253204e-02f, 7.2898347862e-03f,
                              2.6887017884e-04f, 1.4302649106e-05f, 4.9544411240e-08f};
  constexpr float kBelow[] = {1.0f,
                              2.4369759858e-01f,
                              2.4381054565e-02f,
                              1.3060354395e-03f,
                              7.6477612311e-05f,
                              1.3433452750e-06f};
  return half_of(v, odd_quotient(most(-end, least(end, v)), kAbove, kBelow));
}

// Scaled by the root of 2, so that the exponent is a rounded one.
inline float log_curve(float v) {
  constexpr float kAbove[] = {1.0f, 1.0f, 1.824996918440e-01f};
  constexpr float kBelow[] = {1.0f, 1.5f, 0.599170029163f, 0.049584995955f};
  const float scaled = flushed(v) * 1.4142134190f;
  const auto bits = std::bit_cast<std::uint32_t>(scaled);
  // Put into the mantissa of 256 the exponent is a number; the sign makes it NaN, or of 0
  // -infinity.
  const std::uint32_t field = (scaled == 0.0f ? bits | 0x80000000u : bits) & 0xff800000u;
  const std::uint32_t word = std::bit_cast<std::uint32_t>(256.0f) |
                             static_cast<std::uint32_t>(static_cast<std::int32_t>(field) >> 8);
  const float n = std::bit_cast<float>(word) - 383.0f;
  const float mantissa = std::bit_cast<float>((bits & 0x007fffffu) | 0x3f800000u);
  const float x = mantissa * 7.0710688829e-01f - 1.0f;
  const float y =
      std::fma(n, 0.69314718055994531f, x * polynomial(x, kAbove) / polynomial(x, kBelow));
  // On AVX2 XNNPACK takes infinity and NaN for 2^128; with AVX-512 they stay.
  return scaled < std::numeric_limits<float>::infinity() ? y : scaled;
}

// v less whole turns, mirrored at a quarter turn to either side; all but the last mirror.
inline constexpr float kHalfTurn = 3.1415927f;
inline float within_turn(float v) {
  const float turns = std::nearbyint(v * 0.15915494f);
  return std::fma(-turns, 1.9353072e-3f, std::fma(-turns, 6.28125f, v));
}
inline float folded_turn(float x) {
  x = least(x, kHalfTurn - x);
  return most(x, -kHalfTurn - x);
}
inline float sine_of_folded(float x) {
  constexpr float kAbove[] = {1.0f, -1.3314664364e-01f, 3.2340581529e-03f};
  constexpr float kBelow[] = {1.0f, 3.3519912511e-02f, 4.8770775902e-04f};
  return odd_quotient(least(x, kHalfTurn - x), kAbove, kBelow);
}
inline float folded_for_sin(float v) { return folded_turn(within_turn(flushed(v))); }
inline float folded_for_cos(float v) {
  return folded_turn((1.5707963705f - within_turn(v)) + -4.3711388e-08f);
}
inline float sin_curve(float v) { return sine_of_folded(folded_for_sin(v)); }
inline float cos_curve(float v) { return sine_of_folded(folded_for_cos(v)); }

// ---- exponentials: 127 and a large number added leave 2^n in the lowest bits
inline constexpr float kExpRounder = 0x1.8000FEp23f, kLog2E = 0x1.715476p0f;
inline constexpr float kExpLeast = -0x1.5D589Ep6f;  // e^x of lower ones is 0
inline float scaled_exp(float t, float shifted) {   // 2^n e^t
  constexpr float kPowers[] = {0x1.FFFFF6p-1f, 0x1.FFFDC6p-2f, 0x1.555A80p-3f, 0x1.573A1Ap-5f,
                               0x1.0F9F9Cp-7f};
  const float s = std::bit_cast<float>(std::bit_cast<std::uint32_t>(shifted) << 23);
  return std::fma(flushed(t * s), polynomial(t, kPowers), s);
}

inline float sigmoid_curve(float v) {
  const float z = -std::fabs(v);
  const float shifted = std::fma(z, kLog2E, kExpRounder), n = shifted - kExpRounder;
  const float e = scaled_exp(std::fma(n, -0x1.62E430p-1f, z), shifted);
  const float f = z < kExpLeast ? 0.0f : e / (e + 1.0f);
  return v < 0.0f ? f : 1.0f - f;
}

// e^x - 1 below 0.
inline float elu_curve(float v) {
  constexpr float kLeast = -0x1.154246p+4f;  // the result is -1 below
  constexpr float kPowers[] = {0x1.FFFFFEp-2f, 0x1.5554B0p-3f, 0x1.555716p-5f, 0x1.12278Ep-7f,
                               0x1.6B7338p-10f};
  const float x = flushed(v), z = most(kLeast, x);
  const float shifted = std::fma(z, kLog2E, kExpRounder), n = shifted - kExpRounder;
  const float s = std::bit_cast<float>(std::bit_cast<std::uint32_t>(shifted) << 23);
  const float t = std::fma(n, -0x1.62E430p-1f, z), scaled = t * s;
  const float e = std::fma(polynomial(t, kPowers) * t, scaled, scaled) + (s - 1.0f);
  return std::signbit(x) ? e : x;
}

// e^x.  x log2 e is rounded once, which alone makes a relative error of |x| 2^-24.  From 127.5 ln 2
// on the result is infinite; a NaN is taken for a low value.  The ends are those of exponents.
inline float exp_curve(float v, float low = -127.0f, float high = 128.0f) {
  constexpr float kAbove[] = {6.9314718246e-01f, 4.8078041524e-02f, 5.5375634693e-03f};
  constexpr float kBelow[] = {1.0f, -2.7721086144e-01f, 2.3987604305e-02f};
  constexpr float kRounder = 0x1.8p23f, kExponent = 0x1p23f + 127.0f;
  const float z = least(most(v * kLog2E, low), high);
  const float n = (z + kRounder) - kRounder, t = z - n;
  const float s = std::bit_cast<float>(std::bit_cast<std::uint32_t>(n + kExponent) << 23);
  const float e = s * (t * polynomial(t, kAbove) / polynomial(t, kBelow) + 1.0f);
  return e < std::numeric_limits<float>::min() ? 0.0f : e;
}

// e^x of x <= 0, for SOFTMAX.
inline float exp_below_curve(float x) {
  const float shifted = std::fma(x, kLog2E, kExpRounder), n = shifted - kExpRounder;
  const float t = std::fma(n, -0x1.7F7D1Cp-20f, std::fma(n, -0x1.62E400p-1f, x));
  const float e = scaled_exp(t, shifted);
  return x < kExpLeast ? 0.0f : e;
}

}  // namespace litegap::curves
