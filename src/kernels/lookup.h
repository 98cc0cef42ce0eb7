// Functions of one code as tables: 256 entries for 8-bit types, 513 with interpolation for int16
// (docs/numerics.md, sections 3.4 and 3.5).
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

#include "kernels/value_quant.h"

namespace litegap {

// `f` maps the real value to the real result, in float32.  XNNPACK adds the zero point before it
// rounds, and rounds ties to even.
template <class F>
Table8 make_table8(DType type, ScaleZero x, ScaleZero y, bool xnn, F f) {
  const Range32 range = code_range(type);
  const auto low = static_cast<float>(range.low), high = static_cast<float>(range.high);
  const float inverse = 1.0f / y.scale, zero = static_cast<float>(y.zero);
  Table8 table{};
  for (std::int32_t q = range.low; q <= range.high; ++q) {
    const float v = xnn ? (static_cast<float>(q) - static_cast<float>(x.zero)) * x.scale
                        : x.scale * static_cast<float>(q - x.zero);
    const float scaled = f(v) * inverse;
    float code = xnn ? std::nearbyint(scaled + zero) : std::round(scaled) + zero;
    if (std::isnan(code)) code = 0;
    table[static_cast<std::uint8_t>(q)] =
        static_cast<std::uint8_t>(static_cast<std::int32_t>(std::clamp(code, low, high)));
  }
  return table;
}

using Table16 = std::array<std::int16_t, 513>;

// Real is float for the operators and double for SOFTMAX.
template <class Real, class F>
Table16 make_table16(Real x_scale, std::int32_t x_zero, Real y_scale, std::int32_t y_zero, F f) {
  const Real first = x_scale * static_cast<Real>(-32768 - x_zero);
  const Real last = x_scale * static_cast<Real>(32767 - x_zero);
  const Real step = (last - first) / 512, half = step / 2;
  const Real inverse = Real(65536) / (y_scale * static_cast<Real>(32767 - y_zero) -
                                      y_scale * static_cast<Real>(-32768 - y_zero));
  const auto entry = [](Real v) {
    if (std::isnan(v)) return std::int16_t{0};  // as the processor's conversion gives
    return static_cast<std::int16_t>(std::min(std::max(v, Real(-32768)), Real(32767)));
  };
  Table16 table{};
  for (int i = 0; i < 512; ++i) {
    const auto at = static_cast<Real>(i);
    const Real a = f(first + at * step) * inverse, next = f(first + (at + 1) * step) * inverse;
    const Real middle = f(first + at * step + half) * inverse;
    const Real sample = std::round(a);
    // Half of the error in the middle of the segment goes to its start.
    const Real error = std::round((next + sample) / 2) - std::round(middle);
    table[static_cast<std::size_t>(i)] = entry(sample - std::round(error / 2));
  }
  table[512] = entry(std::round(f(last) * inverse));
  return table;
}

inline std::int16_t lookup16(const Table16& table, std::int32_t x) {
  const auto k = static_cast<std::size_t>(256 + (x >> 7));
  const std::int32_t base = table[k], slope = static_cast<std::int16_t>(table[k + 1] - base);
  return static_cast<std::int16_t>(base + ((slope * (x & 127) + 64) >> 7));
}

}  // namespace litegap
