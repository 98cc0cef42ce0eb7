// Floats to 8-bit codes as XNNPACK rounds them, and codes to floats, in vector code of the
// processor.
//
//   round_to_codes:  even(least(most(x * inverse, low), high)) + zero; the ends are codes less zero
//   codes_to_floats: (x - zero) * scale
//
//   round_to_codes({20, -131, 124, 3}, …):  0.125 gives 5, as 2.5 is rounded to 2
//   codes_to_floats<std::int8_t>(0.5f, 3, …):  5 gives 1
#pragma once
#include <cstddef>
#include <cstdint>

namespace litegap {

struct RoundRow {
  float inverse = 1, low = 0, high = 0;
  std::int32_t zero = 0;
};
// T is std::int8_t or std::uint8_t.
template <class T>
void round_to_codes(const RoundRow& f, std::size_t n, const float* x, T* out) noexcept;
template <class T>
void codes_to_floats(float scale, std::int32_t zero, std::size_t n, const T* x,
                     float* out) noexcept;

}  // namespace litegap
