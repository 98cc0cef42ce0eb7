// ADD and MUL of two rows of 8-bit codes as XNNPACK computes them, and its rescaling of one row (of
// QUANTIZE and LEAKY_RELU), in vector code of the processor.
//
//   add_codes(x, y):  clamp(sat16((start + x * a + y * b) >> shift) + zero, low, high), sums wrap
//   multiply_codes:   clamp(even(min((x - zero_x)(y - zero_y) * scale, most)) + zero, low, high)
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/byte_table.h"

namespace litegap {

struct AddRow {
  std::int32_t start = 0, a = 0, b = 0, shift = 0, zero = 0, low = 0, high = 0;
};
struct MultiplyRow {
  std::int32_t zero_x = 0, zero_y = 0, zero = 0, low = 0, high = 0;
  float scale = 0, most = 0;
};
//   scale_codes:      sat8((((x - zero_x) * m + 128) >> 8) + zero), m one of two by the sign
struct ScaleRow {
  std::int32_t zero_x = 0, positive = 0, negative = 0, zero = 0;
};
// T is std::int8_t or std::uint8_t; `out` may be x or y.
template <class T>
void add_codes(const AddRow& f, std::size_t n, const T* x, const T* y, T* out) noexcept;
template <class T>
void multiply_codes(const MultiplyRow& f, std::size_t n, const T* x, const T* y, T* out) noexcept;
// Rows of n codes x, each with a single code y, `step` after that of the row before.
template <class T>
void add_to_rows(const AddRow& f, std::size_t rows, std::size_t n, const T* x, const T* y,
                 std::size_t step, T* out) noexcept;
template <class T>
void multiply_rows(const MultiplyRow& f, std::size_t rows, std::size_t n, const T* x, const T* y,
                   std::size_t step, T* out) noexcept;
// `table` has the results, for what the vector code does not do.
template <class T>
void scale_codes(const ScaleRow& f, const Table8& table, std::size_t n, const T* x,
                 T* out) noexcept;

}  // namespace litegap
