#include "oracle/conv.h"

#include "oracle/depthwise.h"

namespace litegap::oracle {
namespace {

std::int32_t size_of(std::int32_t in, std::int32_t k, std::int32_t stride, std::int32_t dilation,
                     Padding padding) {
  const std::int32_t span = (k - 1) * dilation + 1;
  return padding == Padding::kSame ? (in + stride - 1) / stride : (in - span + stride) / stride;
}

std::int32_t pad_of(std::int32_t in, std::int32_t out, std::int32_t k, std::int32_t stride,
                    std::int32_t dilation, Padding padding) {
  if (padding == Padding::kValid) return 0;
  return std::max((out - 1) * stride + (k - 1) * dilation + 1 - in, 0) / 2;
}

}  // namespace

Shape window_shape(const ProductCase& c) {
  return {c.n, size_of(c.h, c.kh, c.stride_h, c.dilation_h, c.padding),
          size_of(c.w, c.kw, c.stride_w, c.dilation_w, c.padding), c.o};
}

void each_window_cell(const ProductCase& c, const WindowVisit& visit) {
  const Shape y = window_shape(c);
  const std::int32_t top = pad_of(c.h, y[1], c.kh, c.stride_h, c.dilation_h, c.padding);
  const std::int32_t left = pad_of(c.w, y[2], c.kw, c.stride_w, c.dilation_w, c.padding);
  for (std::int32_t n = 0; n < c.n; ++n) {
    for (std::int32_t oy = 0; oy < y[1]; ++oy) {
      for (std::int32_t ox = 0; ox < y[2]; ++ox) {
        for (std::int32_t ky = 0; ky < c.kh; ++ky) {
          for (std::int32_t kx = 0; kx < c.kw; ++kx) {
            const std::int32_t iy = oy * c.stride_h - top + ky * c.dilation_h;
            const std::int32_t ix = ox * c.stride_w - left + kx * c.dilation_w;
            if (iy < 0 || iy >= c.h || ix < 0 || ix >= c.w) continue;
            visit(static_cast<std::size_t>((n * y[1] + oy) * y[2] + ox),
                  static_cast<std::size_t>((n * c.h + iy) * c.w + ix),
                  static_cast<std::size_t>(ky * c.kw + kx));
          }
        }
      }
    }
  }
}

void conv_products(const ProductCase& c, const Visit& visit) {
  const auto outputs = static_cast<std::size_t>(c.o), inputs = static_cast<std::size_t>(c.c),
             groups = static_cast<std::size_t>(c.groups);
  const std::size_t taps = static_cast<std::size_t>(c.kh * c.kw), per = inputs / groups;
  each_window_cell(c, [&](std::size_t y, std::size_t x, std::size_t tap) {
    for (std::size_t o = 0; o < outputs; ++o) {
      const std::size_t group = o / (outputs / groups);
      for (std::size_t i = 0; i < per; ++i)
        visit(y * outputs + o, x * inputs + group * per + i, (o * taps + tap) * per + i);
    }
  });
}

}  // namespace litegap::oracle
