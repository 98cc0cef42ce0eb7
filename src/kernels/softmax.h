// What SOFTMAX and LOG_SOFTMAX share: rows, their largest value, and the two forms of e^(x - peak)
// of 8-bit codes (docs/numerics.md, sections 2.12 and 2.13).
#pragma once
#include <array>

#include "kernels/fixed_point.h"
#include "kernels/value_quant.h"

namespace litegap {

struct Rows {
  std::size_t count = 0, depth = 0;
};

// One input, one output of its shape, worked on by rows of the last axis.
inline Rows prepare_rows(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  const Shape& shape = spec.inputs[0].shape;
  if (shape.empty()) refuse(spec, "a scalar has no last axis");
  spec.outputs[0].shape = shape;
  const auto depth = static_cast<std::size_t>(shape.back());
  return {depth == 0 ? 0 : shape_elements(shape) / depth, depth};
}

template <class T>
T row_peak(const T* in, std::size_t n) {
  T peak = in[0];
  for (std::size_t i = 1; i < n; ++i) peak = in[i] > peak ? in[i] : peak;
  return peak;
}

// Eight floats at any address.
typedef float Lanes __attribute__((vector_size(32), aligned(4), may_alias));

// row_peak() in lanes.
inline float peak_of(const float* in, std::size_t n) {
  Lanes most = Lanes{} + in[0];
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const Lanes next = *reinterpret_cast<const Lanes*>(in + i);
    most = next > most ? next : most;
  }
  float peak = most[0];
  for (int k = 1; k < 8; ++k) peak = most[k] > peak ? most[k] : peak;
  for (; i < n; ++i) peak = in[i] > peak ? in[i] : peak;
  return peak;
}

// Fixed point: differences to the peak become numbers in Q5.26; those below `least` count as 0.
struct ExpCodes {
  Multiplier m;
  std::int32_t least = 0;

  std::int32_t argument(std::int32_t d) const {
    return high_multiply(wrap_shift_left(d, m.exponent), m.mantissa);
  }
  std::int32_t value(std::int32_t d) const { return fixed::exp_q31(argument(d), 5); }
  template <class T>
  std::int32_t sum(const T* in, std::size_t n, std::int32_t peak) const {  // Q12.19
    std::int32_t s = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const std::int32_t d = in[i] - peak;
      if (d >= least) s = wrap_add(s, shift_right_away(value(d), 12));
    }
    return s;
  }
};

inline ExpCodes make_exp_codes(const OpSpec& spec, float scale, float beta) {
  const double real = static_cast<double>(beta) * static_cast<double>(scale) * (1 << 26);
  if (!(real > 1.0)) refuse(spec, "input scale {} with beta {} is too small", scale, beta);
  const Multiplier m = make_multiplier(std::min(real, 2147483647.0));
  const double radius = std::floor(31.0 * (1 << 26) / std::ldexp(1.0, m.exponent));
  return {m, -static_cast<std::int32_t>(std::min(radius, 2147483647.0))};
}

// Float: e^(-scale * beta * k) at 255 - k.
inline std::array<float, 256> exp_table(float scale, float beta) {
  std::array<float, 256> table{};
  const float step = -scale * beta;
  for (int k = 0; k < 256; ++k) {
    table[static_cast<std::size_t>(255 - k)] = std::exp(step * static_cast<float>(k));
  }
  return table;
}

}  // namespace litegap
