// The exponential, the sigmoid and the hyperbolic tangent in double, free of branches, so that
// loops over them become vector code.  Far more exact than float32 needs (relative error below
// 1e-13): rounded to float32 they are the C library's double functions, rounded, but for ties that
// no runtime's float32 approximation gets right either.
//
//   exp(x) = 2^n e^r,  n = round(x / ln 2),  |r| <= ln 2 / 2
//   e^r    by its Taylor series to r^11: the rest is below 0.35^12 / 12! = 7e-15
//
//   x = 1:  n = 1, r = 0.3069, e^r = 1.3591, exp(1) = 2.7183
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace litegap {

inline double smooth_exp(double x) {
  constexpr double kLog2E = 1.4426950408889634, kLn2High = 6.93147180369123816490e-01,
                   kLn2Low = 1.90821492927058770002e-10;
  constexpr double kRounder = 0x1.8p52;  // added, it leaves an integer in the low bits
  x = x < -700.0 ? -700.0 : x;           // comparisons that let a NaN through
  x = x > 700.0 ? 700.0 : x;
  const double shifted = x * kLog2E + kRounder, n = shifted - kRounder;
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double p = 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const std::uint64_t power = (std::bit_cast<std::uint64_t>(shifted) + 1023) << 52;
  return p * std::bit_cast<double>(power);
}

inline float smooth_sigmoid(float x) {
  return static_cast<float>(1.0 / (1.0 + smooth_exp(-static_cast<double>(x))));
}

// Near 0 the quotient would cancel: there the series x - x^3/3 + 2x^5/15 - 17x^7/315.
inline float smooth_tanh(float x) {
  const double v = x, square = v * v;
  const double near = v * (1.0 + square * (-1.0 / 3 + square * (2.0 / 15 - square * (17.0 / 315))));
  const double far = 1.0 - 2.0 / (smooth_exp(2.0 * v) + 1.0);
  return static_cast<float>(std::fabs(v) < 0.02 ? near : far);
}

}  // namespace litegap
