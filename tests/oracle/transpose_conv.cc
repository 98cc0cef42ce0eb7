#include "oracle/transpose_conv.h"

#include <algorithm>

namespace litegap::oracle {
namespace {

std::int32_t crop(std::int32_t in, std::int32_t stride, std::int32_t k, std::int32_t out,
                  Padding padding) {
  return padding == Padding::kValid ? 0 : std::max((in - 1) * stride + k - out, 0) / 2;
}

// One input pixel and tap: all channels.
void scatter(const ProductCase& c, std::int32_t n, std::int32_t y, std::int32_t x, std::int32_t ky,
             std::int32_t kx, std::size_t i, const Visit& visit) {
  const std::int32_t oy = y * c.stride_h - crop(c.h, c.stride_h, c.kh, c.out_h, c.padding) + ky;
  const std::int32_t ox = x * c.stride_w - crop(c.w, c.stride_w, c.kw, c.out_w, c.padding) + kx;
  if (oy < 0 || oy >= c.out_h || ox < 0 || ox >= c.out_w) return;
  const auto outputs = static_cast<std::size_t>(c.o), inputs = static_cast<std::size_t>(c.c);
  const auto to = static_cast<std::size_t>((n * c.out_h + oy) * c.out_w + ox);
  const auto from = static_cast<std::size_t>((n * c.h + y) * c.w + x);
  for (std::size_t o = 0; o < outputs; ++o) {
    visit(to * outputs + o, from * inputs + i,
          ((o * static_cast<std::size_t>(c.kh) + static_cast<std::size_t>(ky)) *
               static_cast<std::size_t>(c.kw) +
           static_cast<std::size_t>(kx)) *
                  inputs +
              i);
  }
}

}  // namespace

void transpose_conv_products(const ProductCase& c, const Visit& visit) {
  for (std::int32_t n = 0; n < c.n; ++n) {
    for (std::int32_t y = 0; y < c.h; ++y) {
      for (std::int32_t x = 0; x < c.w; ++x) {
        for (std::int32_t i = 0; i < c.c; ++i) {
          for (std::int32_t k = 0; k < c.kh * c.kw; ++k)
            scatter(c, n, y, x, k / c.kw, k % c.kw, static_cast<std::size_t>(i), visit);
        }
      }
    }
  }
}

void transpose_conv_products_by_tap(const ProductCase& c, const Visit& visit) {
  for (std::int32_t k = 0; k < c.kh * c.kw; ++k) {
    for (std::int32_t n = 0; n < c.n; ++n) {
      for (std::int32_t y = 0; y < c.h; ++y) {
        for (std::int32_t x = 0; x < c.w; ++x) {
          for (std::int32_t i = 0; i < c.c; ++i)
            scatter(c, n, y, x, k / c.kw, k % c.kw, static_cast<std::size_t>(i), visit);
        }
      }
    }
  }
}

}  // namespace litegap::oracle
