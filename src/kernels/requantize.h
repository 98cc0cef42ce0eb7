// From 32- or 64-bit sums to output codes (docs/numerics.md, sections 1.3 to 1.5), per channel.
//
//   Requant q = ...;                       // arrays padded with zeros to whole blocks of channels
//   int32_t y = requantize(q, sum, c);     // one value; the kernels' vector forms give the same
//
// The two fixed-point profiles share one form: after the rounding high multiply,
//   y = (x >> right) + ((x & mask) > (mask >> 1) + (away && x < 0))
// which rounds ties away from zero where `away` is 1 ("double") and up where it is 0 ("up").
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/arith.h"
#include "model/array.h"

namespace litegap {

enum class Rounding : std::uint8_t {
  kFixed,   // sections 1.2, 1.3: profiles "double" and "up", chosen per channel by `away`
  kXnn,     // section 1.5
  kDouble,  // "f64": the real product in double, ties away from zero
  k16x8,    // 64-bit sums of 16-bit activations
};

struct Requant {
  Rounding rounding = Rounding::kFixed;
  DType type = DType::kInt8;  // of the output: int8, uint8 or int16
  std::vector<std::int32_t> mantissa, left, right, away;
  std::vector<float> scale;  // kXnn
  std::vector<double> real;  // kDouble
  std::int32_t zero_point = 0, low = -128, high = 127;
  // TRANSPOSE_CONV of uint8 chooses by position, not channel: see finish_tail in transpose_conv.cc.
};

inline std::int32_t wrap_add(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}

inline std::int32_t requantize_fixed(const Requant& q, std::int32_t sum, std::size_t c) {
  const std::int32_t x = high_multiply(wrap_shift_left(sum, q.left[c]), q.mantissa[c]);
  const std::int32_t y =
      q.away[c] != 0 ? shift_right_away(x, q.right[c]) : shift_right_up(x, q.right[c]);
  return std::clamp(wrap_add(y, q.zero_point), q.low, q.high);
}

inline std::int32_t requantize(const Requant& q, std::int64_t sum, std::size_t c) {
  const auto narrow = static_cast<std::int32_t>(sum);
  switch (q.rounding) {
    case Rounding::kFixed:
      return requantize_fixed(q, narrow, c);
    case Rounding::kXnn:
      return requantize_xnn(narrow, q.scale[c], q.zero_point, q.low, q.high);
    case Rounding::kDouble:
      return std::clamp(wrap_add(round_away(static_cast<double>(sum) * q.real[c]), q.zero_point),
                        q.low, q.high);
    case Rounding::k16x8:
      return std::clamp(
          wrap_add(scale_16x8(sum, {q.mantissa[c], q.left[c] - q.right[c]}), q.zero_point), q.low,
          q.high);
  }
  return 0;
}

}  // namespace litegap
