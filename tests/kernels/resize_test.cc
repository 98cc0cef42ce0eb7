// RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR against judges that follow docs/numerics.md, sections
// 2.24 and 2.25, one output value at a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "oracle/op_case.h"

namespace litegap {
namespace {

using oracle::flat;
using oracle::OpCase;

constexpr Dialect kDialects[] = {Dialect::kReference, Dialect::kBuiltin, Dialect::kXnnpack};

struct Resizing {
  Shape in;
  std::int32_t h = 0, w = 0;
  bool align = false, half = false;
};

Resizing random_resizing(std::mt19937& r) {
  const auto in = [&](int low, int high) {
    return low + static_cast<std::int32_t>(r() % static_cast<unsigned>(high - low + 1));
  };
  Resizing s{{in(1, 2), in(1, 6), in(1, 6), in(1, 3)}, in(1, 9), in(1, 9), false, false};
  const int mode = in(0, 2);
  s.align = mode == 1;
  s.half = mode == 2;
  return s;
}

Array run_resize(OpCode code, const Resizing& s, const Array& x, Dialect dialect) {
  OpCase c(code, ResizeAttrs{s.align, s.half});
  return c.add(x, oracle::quant_of(0.1f, 0))
      .constant(Array::of<std::int32_t>({2}, {s.h, s.w}))
      .run(dialect)[0];
}

float scale_of(std::int32_t in, std::int32_t out, bool align) {
  return align && out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1)
                          : static_cast<float>(in) / static_cast<float>(out);
}

// Position of output v in the input, in real numbers.
double exact_position(std::int32_t v, std::int32_t in, std::int32_t out, const Resizing& s) {
  const double scale =
      s.align && out > 1 ? double(in - 1) / double(out - 1) : double(in) / double(out);
  return std::clamp(s.half ? (v + 0.5) * scale - 0.5 : v * scale, 0.0, double(in - 1));
}

double exact_value(const Resizing& s,
                   const std::function<double(std::int32_t, std::int32_t)>& pixel, std::int32_t y,
                   std::int32_t x) {
  const double py = exact_position(y, s.in[1], s.h, s), px = exact_position(x, s.in[2], s.w, s);
  const auto y0 = static_cast<std::int32_t>(py), x0 = static_cast<std::int32_t>(px);
  const std::int32_t y1 = std::min(y0 + 1, s.in[1] - 1), x1 = std::min(x0 + 1, s.in[2] - 1);
  const double fy = py - y0, fx = px - x0;
  return (pixel(y0, x0) * (1 - fx) + pixel(y0, x1) * fx) * (1 - fy) +
         (pixel(y1, x0) * (1 - fx) + pixel(y1, x1) * fx) * fy;
}

template <class T>
void expect_near_exact(double tolerance, int low, int high) {
  std::mt19937 r(7);
  for (int n = 0; n < 300; ++n) {
    const Resizing s = random_resizing(r);
    Array x = Array::zeros(dtype_of<T>, s.in);
    for (auto& v : x.mutable_span<T>())
      v = static_cast<T>(low + static_cast<int>(r() % static_cast<unsigned>(high - low + 1)));
    const Array y = run_resize(OpCode::kResizeBilinear, s, x, kDialects[n % 3]);
    ASSERT_EQ(y.shape(), (Shape{s.in[0], s.h, s.w, s.in[3]}));
    for (std::size_t i = 0; i < y.elements(); ++i) {
      const Shape at = oracle::unflat(y.shape(), i);
      const double want = exact_value(
          s,
          [&](std::int32_t row, std::int32_t column) {
            return static_cast<double>(x.span<T>()[flat(s.in, {at[0], row, column, at[3]})]);
          },
          at[1], at[2]);
      ASSERT_NEAR(static_cast<double>(y.span<T>()[i]), want, tolerance)
          << dialect_name(kDialects[n % 3]) << " case " << n;
    }
  }
}

// The dialects round differently, but none is far from the real value.
TEST(ResizeBilinear, FloatIsExact) { expect_near_exact<float>(2e-4, -100, 100); }
// Ten bits of position: a steep edge moves by some codes.
TEST(ResizeBilinear, Int8IsNear) { expect_near_exact<std::int8_t>(2.5, -128, 127); }
TEST(ResizeBilinear, Uint8IsNear) { expect_near_exact<std::uint8_t>(1.01, 0, 255); }
TEST(ResizeBilinear, Int16IsNear) { expect_near_exact<std::int16_t>(600, -32768, 32767); }

TEST(ResizeBilinear, ConstantImagesStay) {
  std::mt19937 r(8);
  for (int n = 0; n < 200; ++n) {
    const Resizing s = random_resizing(r);
    Array x = Array::zeros(DType::kInt8, s.in);
    const auto code = static_cast<std::int8_t>(r());
    for (auto& v : x.mutable_span<std::int8_t>()) v = code;
    for (const Dialect d : kDialects) {
      const Array y = run_resize(OpCode::kResizeBilinear, s, x, d);
      for (const std::int8_t v : y.span<std::int8_t>()) ASSERT_EQ(v, code);
    }
  }
}

TEST(ResizeNearest, CopiesTheNearest) {
  std::mt19937 r(9);
  for (int n = 0; n < 300; ++n) {
    const Resizing s = random_resizing(r);
    Array x = Array::zeros(DType::kInt16, s.in);
    std::int16_t next = 0;
    for (auto& v : x.mutable_span<std::int16_t>()) v = ++next;
    const Array y = run_resize(OpCode::kResizeNearestNeighbor, s, x, kDialects[n % 3]);
    const auto index = [&](std::int32_t v, std::int32_t in, std::int32_t out) {
      const float q = (static_cast<float>(v) + (s.half ? 0.5f : 0.0f)) * scale_of(in, out, s.align);
      return std::clamp(static_cast<std::int32_t>(s.align ? std::round(q) : std::floor(q)), 0,
                        in - 1);
    };
    for (std::size_t i = 0; i < y.elements(); ++i) {
      const Shape at = oracle::unflat(y.shape(), i);
      const Shape from = {at[0], index(at[1], s.in[1], s.h), index(at[2], s.in[2], s.w), at[3]};
      ASSERT_EQ(y.span<std::int16_t>()[i], x.span<std::int16_t>()[flat(s.in, from)]);
    }
  }
}

TEST(Resize, RefusesWhatDoesNotFit) {
  const Array x = Array::zeros(DType::kFloat32, {1, 2, 2, 1});
  EXPECT_THROW(
      run_resize(OpCode::kResizeBilinear, {x.shape(), 0, 2, false, false}, x, Dialect::kBuiltin),
      Error);
  EXPECT_THROW(
      run_resize(OpCode::kResizeBilinear, {x.shape(), 2, 2, true, true}, x, Dialect::kBuiltin),
      Error);
  EXPECT_THROW(run_resize(OpCode::kResizeNearestNeighbor, {x.shape(), 2, -1, false, false}, x,
                          Dialect::kBuiltin),
               Error);
}

}  // namespace
}  // namespace litegap
