// The loops of scan.h, once for every instruction set: a file includes this with LITEGAP_SCAN set
// to the attributes of its functions, after widen(), which reads eight codes, and Adder: sums, and
// sums of squares with one rounding. Vectors are those of the compiler, so one text becomes the
// instructions of each set, with the same rounding and order.
#pragma once
#include <algorithm>
#include <cstring>

#include "run/scan.h"

namespace litegap {
namespace {

#define LITEGAP_LOAD(to, from) std::memcpy(&(to), (from), sizeof(to))

LITEGAP_SCAN void float_lanes(const float* v, std::size_t n, FloatLanes& out) {
  const float inf = std::numeric_limits<float>::infinity();
  F8 low[2] = {F8{} + inf, F8{} + inf}, high[2] = {F8{} - inf, F8{} - inf}, sum[4] = {},
     squares[4] = {};
  const Adder to;
  for (std::size_t i = 0; i < n; i += kScanLanes) {
#pragma GCC unroll 4
    for (int h = 0; h < 4; ++h) {
      F8 x;
      LITEGAP_LOAD(x, v + i + 8 * h);
      low[h & 1] = x < low[h & 1] ? x : low[h & 1];
      high[h & 1] = x > high[h & 1] ? x : high[h & 1];
      to.add(sum[h], x);
      to.add_square(squares[h], x);
    }
  }
  low[0] = low[1] < low[0] ? low[1] : low[0];
  high[0] = high[1] > high[0] ? high[1] : high[0];
  sum[0] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  squares[0] = (squares[0] + squares[1]) + (squares[2] + squares[3]);
  std::memcpy(out.low, low, sizeof out.low);
  std::memcpy(out.high, high, sizeof out.high);
  std::memcpy(out.sum, sum, sizeof out.sum);
  std::memcpy(out.squares, squares, sizeof out.squares);
}

// Squares of a chunk stay in 32 bits: 131072 / 8 * 255^2 of a lane; those of int16 are added at
// once.
template <class T>
LITEGAP_SCAN void code_sums(const T* v, std::size_t n, CodeSums& out) {
  I8 low = I8{} + std::numeric_limits<T>::max(), high = I8{} + std::numeric_limits<T>::min(),
     sum = I8{}, squares = I8{};
  std::int64_t far = 0;
  for (std::size_t i = 0; i < n; i += 8) {
    I8 x;
    widen(v + i, x);
    low = x < low ? x : low;
    high = x > high ? x : high;
    sum += x;
    if constexpr (sizeof(T) == 1) {
      squares += x * x;
    } else {
      for (int j = 0; j < 8; ++j) far += std::int64_t{x[j]} * x[j];
    }
  }
  out = {low[0], high[0], 0, far};
  for (int j = 0; j < 8; ++j) {
    out.low = std::min<std::int32_t>(out.low, low[j]);
    out.high = std::max<std::int32_t>(out.high, high[j]);
    out.sum += sum[j];
    out.squares += squares[j];
  }
}

struct ErrorState {
  F8 signal[2], bias[2], error[2], largest[2];
};
constexpr std::size_t kErrorStep = 16;

LITEGAP_SCAN inline void add_error(ErrorState& s, int h, const F8& exact, const F8& found) {
  const F8 d = found - exact, square = d * d;
  s.signal[h] += exact * exact;
  s.bias[h] += d;
  s.error[h] += square;
  s.largest[h] = square > s.largest[h] ? square : s.largest[h];
}

LITEGAP_SCAN inline void keep_errors(ErrorState& s, ErrorLanes& out) {
  s.signal[0] += s.signal[1];
  s.bias[0] += s.bias[1];
  s.error[0] += s.error[1];
  s.largest[0] = s.largest[1] > s.largest[0] ? s.largest[1] : s.largest[0];
  std::memcpy(out.signal, s.signal, sizeof out.signal);
  std::memcpy(out.bias, s.bias, sizeof out.bias);
  std::memcpy(out.error, s.error, sizeof out.error);
  std::memcpy(out.largest, s.largest, sizeof out.largest);
}

LITEGAP_SCAN void error_lanes(const float* exact, const float* found, std::size_t n,
                              ErrorLanes& out) {
  ErrorState s{};
  for (std::size_t i = 0; i < n; i += kErrorStep) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      F8 a, b;
      LITEGAP_LOAD(a, exact + i + 8 * h);
      LITEGAP_LOAD(b, found + i + 8 * h);
      add_error(s, h, a, b);
    }
  }
  keep_errors(s, out);
}

template <class T>
LITEGAP_SCAN void code_errors(const float* exact, const T* found, std::size_t n, float scale,
                              std::int32_t zero, ErrorLanes& out) {
  ErrorState s{};
  for (std::size_t i = 0; i < n; i += kErrorStep) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      F8 a;
      LITEGAP_LOAD(a, exact + i + 8 * h);
      I8 code;
      widen(found + i + 8 * h, code);
      add_error(s, h, a, __builtin_convertvector(code - zero, F8) * scale);
    }
  }
  keep_errors(s, out);
}

}  // namespace
}  // namespace litegap
