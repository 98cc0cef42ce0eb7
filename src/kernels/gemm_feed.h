// Rows of an image, converted to what the inner loops read: widened to int16 minus the zero point,
// biased to uint8, copied, or quantized from float.
#pragma once
#include <cstring>

#include "kernels/gemm.h"
#include "model/array.h"

namespace litegap {

struct Feed {
  enum class Kind : std::uint8_t { kWidenI8, kWidenU8, kCopy16, kBias8, kCopy8, kFloat, kHybrid };
  Kind kind = Kind::kFloat;
  std::int32_t zero_point = 0;
  const GemmKernels* kernels = nullptr;

  std::size_t in_bytes() const {
    switch (kind) {
      case Kind::kFloat: case Kind::kHybrid: return 4;
      case Kind::kCopy16: return 2;
      default: return 1;
    }
  }
  std::size_t out_bytes() const {
    switch (kind) {
      case Kind::kFloat: return 4;
      case Kind::kBias8: case Kind::kCopy8: return 1;
      default: return 2;
    }
  }
  // May the inner loops read the input itself?
  bool verbatim() const { return kind == Kind::kFloat || kind == Kind::kCopy16 || kind == Kind::kCopy8; }

  // n cells outside the image: real zeros.
  void pad(std::byte* out, std::size_t n) const {
    int value = 0;
    if (kind == Kind::kBias8) value = zero_point + 128;
    if (kind == Kind::kCopy8) value = zero_point;
    std::memset(out, value, n * out_bytes());
  }

  void convert(const std::byte* in, std::size_t n, const RowCode& code, std::byte* out) const {
    switch (kind) {
      case Kind::kWidenI8:
        return kernels->widen_i8(reinterpret_cast<const std::int8_t*>(in), n, zero_point, reinterpret_cast<std::int16_t*>(out));
      case Kind::kWidenU8:
        return kernels->widen_u8(reinterpret_cast<const std::uint8_t*>(in), n, zero_point, reinterpret_cast<std::int16_t*>(out));
      case Kind::kBias8:
        for (std::size_t i = 0; i < n; ++i) out[i] = in[i] ^ std::byte{0x80};
        return;
      case Kind::kHybrid:
        return kernels->quantize(reinterpret_cast<const float*>(in), n, code, reinterpret_cast<std::int16_t*>(out));
      default: std::memcpy(out, in, n * out_bytes());
    }
  }

  // One row of a padded image: `left` cells, n pixels' worth of values, `right` cells.
  void row(const std::byte* in, std::size_t left, std::size_t n, std::size_t right, const RowCode& code,
           std::byte* out) const {
    pad(out, left);
    convert(in, n, code, out + left * out_bytes());
    pad(out + (left + n) * out_bytes(), right);
  }
};

}  // namespace litegap
