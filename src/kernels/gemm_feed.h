// Rows of an image, converted to what the inner loops read: widened to int16 minus the zero point,
// biased to uint8, copied, or quantized from float, to words minus the zero point or to bytes.
#pragma once
#include <cstring>

#include "kernels/gemm.h"
#include "model/array.h"

namespace litegap {

// The top bit of n bytes turned; the rest of 16 goes back over bytes that are done.
inline void flip_bytes(const std::byte* in, std::size_t n, std::byte* out) {
  typedef std::uint8_t B16 __attribute__((vector_size(16)));
  const auto flip16 = [=](std::size_t at) {
    B16 v;
    std::memcpy(&v, in + at, sizeof v);
    v ^= B16{} + std::uint8_t{0x80};
    std::memcpy(out + at, &v, sizeof v);
  };
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) flip16(i);
  if (i == n) return;
  if (n >= 16) return flip16(n - 16);
  for (; i < n; ++i) out[i] = in[i] ^ std::byte{0x80};
}

struct PanelFeed {
  enum class Kind : std::uint8_t {
    kWidenI8,
    kWidenU8,
    kCopy16,
    kBias8,
    kCopy8,
    kFloat,
    kHybrid,
    kHybrid8
  };
  Kind kind = Kind::kFloat;
  std::int32_t zero_point = 0;
  const GemmKernels* kernels = nullptr;

  std::size_t in_bytes() const {
    switch (kind) {
      case Kind::kFloat:
      case Kind::kHybrid:
      case Kind::kHybrid8:
        return 4;
      case Kind::kCopy16:
        return 2;
      default:
        return 1;
    }
  }
  std::size_t out_bytes() const {
    switch (kind) {
      case Kind::kFloat:
        return 4;
      case Kind::kBias8:
      case Kind::kCopy8:
      case Kind::kHybrid8:
        return 1;
      default:
        return 2;
    }
  }
  // May the inner loops read the input itself?
  bool verbatim() const {
    return kind == Kind::kFloat || kind == Kind::kCopy16 || kind == Kind::kCopy8;
  }

  // What a real zero is fed as, where bytes are.  Flipping the top bit of an int8 adds 128, of a
  // uint8 it takes 128 away.
  std::int32_t zero_quad(const RowCode& code) const {
    if (kind == Kind::kHybrid8) return quad_zero(*kernels, code);
    if (kind != Kind::kBias8) return zero_point;
    return kernels->signed_quads ? zero_point - 128 : zero_point + 128;
  }

  // n cells outside the image: real zeros.
  void pad(std::byte* out, std::size_t n, const RowCode& code) const {
    std::memset(out, out_bytes() == 1 ? zero_quad(code) : 0, n * out_bytes());
  }

  void convert(const std::byte* in, std::size_t n, const RowCode& code, std::byte* out) const {
    switch (kind) {
      case Kind::kWidenI8:
        return kernels->widen_i8(reinterpret_cast<const std::int8_t*>(in), n, zero_point,
                                 reinterpret_cast<std::int16_t*>(out));
      case Kind::kWidenU8:
        return kernels->widen_u8(reinterpret_cast<const std::uint8_t*>(in), n, zero_point,
                                 reinterpret_cast<std::int16_t*>(out));
      case Kind::kBias8:
        return flip_bytes(in, n, out);
      case Kind::kHybrid:
        return hybrid_quantize(*kernels, reinterpret_cast<const float*>(in), n, code,
                               reinterpret_cast<std::int16_t*>(out));
      case Kind::kHybrid8:
        return hybrid_quantize_quads(*kernels, reinterpret_cast<const float*>(in), n, code, out);
      default:
        std::memcpy(out, in, n * out_bytes());
    }
  }

  // One row of a padded image: `left` cells, n pixels' worth of values, `right` cells.
  void row(const std::byte* in, std::size_t left, std::size_t n, std::size_t right,
           const RowCode& code, std::byte* out) const {
    pad(out, left, code);
    convert(in, n, code, out + left * out_bytes());
    pad(out + (left + n) * out_bytes(), right, code);
  }
};

// Rows of a padded image, as a strip of them is laid out for the inner loops.
struct PaddedImage {
  std::int32_t in_h = 1, in_w = 1, in_c = 1, pad_top = 0, pad_left = 0;
  std::size_t width = 1;  // cells of a padded row
  std::int32_t step = 1,
               span = 1;  // output row i reads padded rows i * step to i * step + span - 1
  std::size_t line() const {
    return static_cast<std::size_t>(in_w) * static_cast<std::size_t>(in_c);
  }
  std::size_t cells() const { return width * static_cast<std::size_t>(in_c); }
  std::int32_t rows(std::int32_t outputs) const { return (outputs - 1) * step + span; }
};

// The padded rows that output rows first to first + outputs - 1 read; others are left undefined.
inline void feed_strip(const PanelFeed& feed, const PaddedImage& p, const std::byte* image,
                       std::int32_t first, std::int32_t outputs, const RowCode& code,
                       std::byte* out) {
  const std::size_t left = static_cast<std::size_t>(p.pad_left) * static_cast<std::size_t>(p.in_c);
  const std::int32_t top = first * p.step - p.pad_top;
  if (p.cells() == p.line() && p.step <= p.span && top >= 0 && top + p.rows(outputs) <= p.in_h) {
    // Rows of the image as they lie, all of them: one row.
    feed.convert(image + static_cast<std::size_t>(top) * p.line() * feed.in_bytes(),
                 static_cast<std::size_t>(p.rows(outputs)) * p.line(), code, out);
    return;
  }
  for (std::int32_t r = 0; r < p.rows(outputs); ++r, out += p.cells() * feed.out_bytes()) {
    if (r % p.step >= p.span) continue;
    const std::int32_t y = first * p.step + r - p.pad_top;
    if (y < 0 || y >= p.in_h) {
      feed.pad(out, p.cells(), code);
    } else {
      feed.row(image + static_cast<std::size_t>(y) * p.line() * feed.in_bytes(), left, p.line(),
               p.cells() - left - p.line(), code, out);
    }
  }
}

}  // namespace litegap
