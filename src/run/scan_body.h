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

typedef float F4 __attribute__((vector_size(16)));
typedef double D4 __attribute__((vector_size(32)));
constexpr std::uint32_t kGreatestBits = 0x7FFFFFFF;  // of a float without a sign

// In pairs, as additions that wait for each other take longest.
LITEGAP_SCAN inline double total(const F8& v) {
  F4 half[2];
  std::memcpy(half, &v, sizeof half);
  const D4 pairs = __builtin_convertvector(half[0], D4) + __builtin_convertvector(half[1], D4);
  return (pairs[0] + pairs[1]) + (pairs[2] + pairs[3]);
}
template <class Better>
LITEGAP_SCAN inline float best(const F8& v, Better better) {
  F4 half[2];
  std::memcpy(half, &v, sizeof half);
  const F4 four = better(half[0], half[1]) ? half[0] : half[1];
  const auto pick = [&](float a, float b) { return better(a, b) ? a : b; };
  return pick(pick(four[0], four[1]), pick(four[2], four[3]));
}

#ifndef LITEGAP_SCAN_CODES_ONLY  // AVX-512 has its own
typedef std::uint32_t U8 __attribute__((vector_size(32)));
struct FloatState {
  F8 low[2], high[2], sum[4], squares[4];
  U8 most[2];  // bit patterns
};
template <bool kPositive>
LITEGAP_SCAN inline void add_floats(FloatState& s, int h, const Adder& to, const float* v) {
  F8 x;
  LITEGAP_LOAD(x, v);
  if constexpr (kPositive) {
    U8 bits;
    LITEGAP_LOAD(bits, v);
    s.most[h & 1] = bits > s.most[h & 1] ? bits : s.most[h & 1];
  } else {
    s.low[h & 1] = x < s.low[h & 1] ? x : s.low[h & 1];
    s.high[h & 1] = x > s.high[h & 1] ? x : s.high[h & 1];
  }
  to.add(s.sum[h], x);
  to.add_square(s.squares[h], x);
}

template <bool kPositive>
LITEGAP_SCAN inline void add_half(FloatState& s, const Adder& to, const float* v, std::size_t n) {
  for (std::size_t i = 0; i < n; i += kScanLanes) {
#pragma GCC unroll 4
    for (int h = 0; h < 4; ++h) add_floats<kPositive>(s, h, to, v + i + 8 * h);
  }
}

template <bool kPositive>
LITEGAP_SCAN inline bool float_sums(const float* v, std::size_t n, FloatSums& out) {
  const float inf = std::numeric_limits<float>::infinity();
  FloatState s{{F8{} + inf, F8{} + inf}, {F8{} - inf, F8{} - inf}, {}, {}, {}};
  const Adder to;
  const std::size_t half = scan_half(n);
  add_half<kPositive>(s, to, v, half);
  const FloatState first = s;
  for (int h = 0; h < 4; ++h) s.sum[h] = s.squares[h] = F8{};
  add_half<kPositive>(s, to, v + half, half);
  for (int h = 0; h < 4; ++h) {
    s.sum[h] += first.sum[h];
    s.squares[h] += first.squares[h];
  }
#pragma GCC unroll 7
  for (int h = 0; h < 7; ++h) {
    const std::size_t i = 2 * half + 8 * static_cast<std::size_t>(h);
    if (i < n) add_floats<kPositive>(s, h & 3, to, v + i);
  }
  if constexpr (kPositive) {
    const U8 most = s.most[1] > s.most[0] ? s.most[1] : s.most[0];
    std::uint32_t bits = 0;
    for (int j = 0; j < 8; ++j) bits = std::max<std::uint32_t>(bits, most[j]);
    if (bits > kGreatestBits) return false;
    out.low = 0;
    std::memcpy(&out.high, &bits, sizeof bits);
  } else {
    out.low = best(s.low[1] < s.low[0] ? s.low[1] : s.low[0],
                   [](const auto& a, const auto& b) { return a < b; });
    out.high = best(s.high[1] > s.high[0] ? s.high[1] : s.high[0],
                    [](const auto& a, const auto& b) { return a > b; });
  }
  out.sum = total((s.sum[0] + s.sum[1]) + (s.sum[2] + s.sum[3]));
  out.squares = total((s.squares[0] + s.squares[1]) + (s.squares[2] + s.squares[3]));
  return true;
}
LITEGAP_SCAN void all_floats(const float* v, std::size_t n, FloatSums& out) {
  float_sums<false>(v, n, out);
}
LITEGAP_SCAN bool positive_floats(const float* v, std::size_t n, FloatSums& out) {
  return float_sums<true>(v, n, out);
}

#endif

// loop(low, high): whether to look for them.
template <class Loop>
void by_known(KnownCodes known, Loop loop) {
  if (known.low)
    known.high ? loop(std::false_type{}, std::false_type{})
               : loop(std::false_type{}, std::true_type{});
  else
    known.high ? loop(std::true_type{}, std::false_type{})
               : loop(std::true_type{}, std::true_type{});
}

// Squares of a chunk stay in 32 bits: 131072 / 8 * 255^2 of a lane; those of int16 are added at
// once.
template <class T>
LITEGAP_SCAN void code_sums(const T* v, std::size_t n, KnownCodes, CodeSums& out) {
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

#ifndef LITEGAP_SCAN_CODES_ONLY
struct ErrorState {
  F8 signal[2], bias[2], error[2], largest[2];
};

LITEGAP_SCAN inline void add_error(ErrorState& s, int h, const Adder& to, const float* exact,
                                   const F8& found) {
  F8 a;
  LITEGAP_LOAD(a, exact);
  const F8 d = found - a, size = d < 0 ? -d : d;
  to.add_square(s.signal[h], a);
  to.add(s.bias[h], d);
  to.add_square(s.error[h], d);
  s.largest[h] = size > s.largest[h] ? size : s.largest[h];
}

LITEGAP_SCAN inline void load_found(const float* found, float, std::int32_t, F8& to) {
  LITEGAP_LOAD(to, found);
}
template <class T>
LITEGAP_SCAN inline void load_found(const T* found, float scale, std::int32_t zero, F8& to) {
  I8 code;
  widen(found, code);
  to = __builtin_convertvector(code - zero, F8) * scale;
}

template <class T>
LITEGAP_SCAN void errors(const float* exact, const T* found, std::size_t n, float scale,
                         std::int32_t zero, ErrorSums& out) {
  ErrorState s{};
  const Adder to;
  const auto add = [&](int h, std::size_t i) LITEGAP_SCAN {
    F8 b;
    load_found(found + i, scale, zero, b);
    add_error(s, h, to, exact + i, b);
  };
  const auto add_all = [&](std::size_t begin, std::size_t end) LITEGAP_SCAN {
    for (std::size_t i = begin; i < end; i += 16) {
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) add(h, i + 8 * static_cast<std::size_t>(h));
    }
  };
  const std::size_t half = error_half(n);
  add_all(0, half);
  const ErrorState first = s;
  for (int h = 0; h < 2; ++h) s.signal[h] = s.bias[h] = s.error[h] = F8{};
  add_all(half, 2 * half);
  for (int h = 0; h < 2; ++h) {
    s.signal[h] += first.signal[h];
    s.bias[h] += first.bias[h];
    s.error[h] += first.error[h];
  }
#pragma GCC unroll 3
  for (int h = 0; h < 3; ++h) {
    const std::size_t i = 2 * half + 8 * static_cast<std::size_t>(h);
    if (i < n) add(h & 1, i);
  }
  out.signal = total(s.signal[0] + s.signal[1]);
  out.bias = total(s.bias[0] + s.bias[1]);
  out.error = total(s.error[0] + s.error[1]);
  out.largest = best(s.largest[1] > s.largest[0] ? s.largest[1] : s.largest[0],
                     [](const auto& a, const auto& b) { return a > b; });
}
LITEGAP_SCAN void float_errors(const float* exact, const float* found, std::size_t n,
                               ErrorSums& out) {
  errors(exact, found, n, 1, 0, out);
}
template <class T>
LITEGAP_SCAN void code_errors(const float* exact, const T* found, std::size_t n, float scale,
                              std::int32_t zero, ErrorSums& out) {
  errors(exact, found, n, scale, zero, out);
}
#endif

}  // namespace
}  // namespace litegap
