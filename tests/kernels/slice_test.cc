// SLICE, STRIDED_SLICE, the paddings and the block operators, against judges by index.
#include <gtest/gtest.h>

#include <random>

#include "oracle/op_case.h"

namespace litegap {
namespace {

using oracle::flat;
using oracle::OpCase;
using oracle::unflat;

constexpr Dialect kDialects[] = {Dialect::kReference, Dialect::kBuiltin, Dialect::kXnnpack};

std::int32_t random_in(std::mt19937& r, std::int32_t low, std::int32_t high) {
  return low + static_cast<std::int32_t>(r() % static_cast<unsigned>(high - low + 1));
}
Array ints(const std::vector<std::int32_t>& v) {
  return Array::of(Shape{static_cast<std::int32_t>(v.size())}, v);
}
Array counted(const Shape& shape) {
  Array a = Array::zeros(DType::kInt32, shape);
  std::int32_t n = 1000;
  for (auto& v : a.mutable_span<std::int32_t>()) v = ++n;
  return a;
}

TEST(Slice, TakesARange) {
  std::mt19937 r(1);
  for (int n = 0; n < 200; ++n) {
    Shape shape, out;
    std::vector<std::int32_t> begin, size;
    for (int d = random_in(r, 1, 5); d > 0; --d) {
      shape.push_back(random_in(r, 1, 5));
      begin.push_back(random_in(r, 0, shape.back()));
      size.push_back(random_in(r, 0, shape.back() - begin.back()));
      out.push_back(size.back());
      if (size.back() == shape.back() - begin.back() && random_in(r, 0, 1) == 0) size.back() = -1;
    }
    const Array x = counted(shape);
    const Array y = OpCase(OpCode::kSlice, NoAttrs{})
                        .add(x)
                        .constant(ints(begin))
                        .constant(ints(size))
                        .run(kDialects[n % 3])[0];
    ASSERT_EQ(y.shape(), out);
    for (std::size_t i = 0; i < y.elements(); ++i) {
      Shape at = unflat(out, i);
      for (std::size_t d = 0; d < at.size(); ++d) at[d] += begin[d];
      ASSERT_EQ(y.span<std::int32_t>()[i], x.span<std::int32_t>()[flat(shape, at)]);
    }
  }
}

// The indices that Python's range(dim)[begin:end:step] has.
std::vector<std::int32_t> python_slice(std::int32_t dim, std::int32_t begin, std::int32_t end,
                                       std::int32_t step, bool open_begin, bool open_end) {
  std::vector<std::int32_t> at;
  const auto clip = [&](std::int32_t v) {
    return std::clamp(v < 0 ? v + dim : v, step > 0 ? 0 : -1, step > 0 ? dim : dim - 1);
  };
  const std::int32_t b = open_begin ? (step > 0 ? 0 : dim - 1) : clip(begin),
                     e = open_end ? (step > 0 ? dim : -1) : clip(end);
  for (std::int32_t i = b; step > 0 ? i < e : i > e; i += step) at.push_back(i);
  return at;
}

TEST(Slice, StridedIsPythons) {
  std::mt19937 r(2);
  for (int n = 0; n < 500; ++n) {
    Shape shape, out;
    std::vector<std::int32_t> begin, end, step;
    std::vector<std::vector<std::int32_t>> at;
    StridedSliceAttrs attrs;
    for (int d = 0, rank = random_in(r, 1, 4); d < rank; ++d) {
      shape.push_back(random_in(r, 1, 6));
      begin.push_back(random_in(r, -8, 8));
      end.push_back(random_in(r, -8, 8));
      step.push_back(random_in(r, 1, 3) * (random_in(r, 0, 2) == 0 ? -1 : 1));
      if (random_in(r, 0, 3) == 0) attrs.begin_mask |= 1 << d;
      if (random_in(r, 0, 3) == 0) attrs.end_mask |= 1 << d;
      if (random_in(r, 0, 4) == 0) {
        attrs.shrink_axis_mask |= 1 << d;
        attrs.begin_mask &= ~(1 << d);
        begin.back() = random_in(r, -shape.back(), shape.back() - 1);
        step.back() = 1;
        at.push_back({begin.back() < 0 ? begin.back() + shape.back() : begin.back()});
        continue;
      }
      at.push_back(python_slice(shape.back(), begin.back(), end.back(), step.back(),
                                (attrs.begin_mask >> d & 1) != 0, (attrs.end_mask >> d & 1) != 0));
      out.push_back(static_cast<std::int32_t>(at.back().size()));
    }
    const Array x = counted(shape);
    const Array y = OpCase(OpCode::kStridedSlice, attrs)
                        .add(x)
                        .constant(ints(begin))
                        .constant(ints(end))
                        .constant(ints(step))
                        .run(kDialects[n % 3])[0];
    ASSERT_EQ(y.shape(), out);
    Shape full;
    for (const auto& a : at) full.push_back(static_cast<std::int32_t>(a.size()));
    for (std::size_t i = 0; i < y.elements(); ++i) {
      Shape index = unflat(full, i);
      for (std::size_t d = 0; d < index.size(); ++d)
        index[d] = at[d][static_cast<std::size_t>(index[d])];
      ASSERT_EQ(y.span<std::int32_t>()[i], x.span<std::int32_t>()[flat(shape, index)]);
    }
  }
}

TEST(Slice, NewAxesAndEllipsis) {
  const Array x = counted({2, 3, 4});
  StridedSliceAttrs attrs;
  attrs.new_axis_mask = 1;
  attrs.ellipsis_mask = 2;
  attrs.shrink_axis_mask = 4;
  OpCase c(OpCode::kStridedSlice, attrs);
  const Array y = c.add(x)
                      .constant(ints({0, 0, 1}))
                      .constant(ints({0, 0, 2}))
                      .constant(ints({1, 1, 1}))
                      .run(Dialect::kBuiltin)[0];
  ASSERT_EQ(y.shape(), (Shape{1, 2, 3}));
  for (std::size_t i = 0; i < 6; ++i)
    EXPECT_EQ(y.span<std::int32_t>()[i], x.span<std::int32_t>()[i * 4 + 1]);
}

TEST(Pad, FillsAndMirrors) {
  std::mt19937 r(3);
  for (int n = 0; n < 300; ++n) {
    Shape shape, out;
    std::vector<std::int32_t> pads;
    const int mode = n % 4;  // PAD, PADV2, REFLECT, SYMMETRIC
    for (int d = random_in(r, 1, 4); d > 0; --d) {
      shape.push_back(random_in(r, 1, 5));
      const std::int32_t most = mode < 2 ? 3 : shape.back() - (mode == 2 ? 1 : 0);
      pads.push_back(random_in(r, 0, most));
      pads.push_back(random_in(r, 0, most));
      out.push_back(shape.back() + pads[pads.size() - 2] + pads.back());
    }
    const Array x = counted(shape),
                p = Array::of(Shape{static_cast<std::int32_t>(shape.size()), 2}, pads);
    const std::int32_t fill = mode == 1 ? 77 : 0;
    OpCase c(
        mode == 0   ? OpCode::kPad
        : mode == 1 ? OpCode::kPadV2
                    : OpCode::kMirrorPad,
        mode < 2 ? Attrs(NoAttrs{}) : Attrs(MirrorPadAttrs{static_cast<std::int8_t>(mode - 2)}));
    c.add(x).constant(p);
    if (mode == 1) c.add(ints({77}));
    const Array y = c.run(kDialects[n % 3])[0];
    ASSERT_EQ(y.shape(), out);
    for (std::size_t i = 0; i < y.elements(); ++i) {
      Shape at = unflat(out, i);
      bool outside = false;
      for (std::size_t d = 0; d < at.size(); ++d) {
        std::int32_t v = at[d] - pads[2 * d];
        outside = outside || v < 0 || v >= shape[d];
        if (mode == 2) v = v < 0 ? -v : v >= shape[d] ? 2 * shape[d] - 2 - v : v;
        if (mode == 3) v = v < 0 ? -v - 1 : v >= shape[d] ? 2 * shape[d] - 1 - v : v;
        at[d] = v;
      }
      const std::int32_t want =
          mode < 2 && outside ? fill : x.span<std::int32_t>()[flat(shape, at)];
      ASSERT_EQ(y.span<std::int32_t>()[i], want);
    }
  }
}

TEST(Pad, QuantizedFillsTheZeroPoint) {
  const Array x = Array::of<std::int8_t>({2}, {5, 6}), p = Array::of<std::int32_t>({1, 2}, {1, 1});
  const Array y = OpCase(OpCode::kPad, NoAttrs{})
                      .add(x, oracle::quant_of(0.1f, -3))
                      .constant(p)
                      .run(Dialect::kXnnpack)[0];
  const std::vector<std::int8_t> got(y.span<std::int8_t>().begin(), y.span<std::int8_t>().end());
  EXPECT_EQ(got, (std::vector<std::int8_t>{-3, 5, 6, -3}));
}

TEST(Blocks, DepthToSpaceAndBack) {
  std::mt19937 r(4);
  for (int n = 0; n < 100; ++n) {
    const std::int32_t b = random_in(r, 1, 3), c = random_in(r, 1, 3);
    const Shape shape = {random_in(r, 1, 2), random_in(r, 1, 3), random_in(r, 1, 3), b * b * c};
    const Array x = counted(shape);
    const Array y =
        OpCase(OpCode::kDepthToSpace, BlockSizeAttrs{b}).add(x).run(kDialects[n % 3])[0];
    ASSERT_EQ(y.shape(), (Shape{shape[0], shape[1] * b, shape[2] * b, c}));
    for (std::size_t i = 0; i < y.elements(); ++i) {
      const Shape at = unflat(y.shape(), i);
      const Shape from = {at[0], at[1] / b, at[2] / b, (at[1] % b * b + at[2] % b) * c + at[3]};
      ASSERT_EQ(y.span<std::int32_t>()[i], x.span<std::int32_t>()[flat(shape, from)]);
    }
    const Array z =
        OpCase(OpCode::kSpaceToDepth, BlockSizeAttrs{b}).add(y).run(kDialects[n % 3])[0];
    ASSERT_EQ(z.shape(), shape);
    EXPECT_EQ(0, std::memcmp(z.data(), x.data(), x.byte_size()));
  }
}

TEST(Blocks, SpaceToBatchAndBack) {
  std::mt19937 r(5);
  for (int n = 0; n < 200; ++n) {
    const std::int32_t by = random_in(r, 1, 4), bx = random_in(r, 1, 4);
    const std::int32_t top = random_in(r, 0, 3), left = random_in(r, 0, 3);
    const Shape shape = {random_in(r, 1, 2), random_in(r, 1, 5), random_in(r, 1, 5),
                         random_in(r, 1, 3)};
    const std::int32_t bottom = (by - (shape[1] + top) % by) % by,
                       right = (bx - (shape[2] + left) % bx) % bx;
    const Array x = counted(shape), block = ints({by, bx}),
                pads = Array::of<std::int32_t>({2, 2}, {top, bottom, left, right});
    const Array y = OpCase(OpCode::kSpaceToBatchNd, NoAttrs{})
                        .add(x)
                        .constant(block)
                        .constant(pads)
                        .run(kDialects[n % 3])[0];
    ASSERT_EQ(y.shape(), (Shape{shape[0] * by * bx, (shape[1] + top + bottom) / by,
                                (shape[2] + left + right) / bx, shape[3]}));
    for (std::size_t i = 0; i < y.elements(); ++i) {
      const Shape at = unflat(y.shape(), i);
      const std::int32_t place = at[0] / shape[0];
      const Shape from = {at[0] % shape[0], at[1] * by + place / bx - top,
                          at[2] * bx + place % bx - left, at[3]};
      const bool outside = from[1] < 0 || from[1] >= shape[1] || from[2] < 0 || from[2] >= shape[2];
      ASSERT_EQ(y.span<std::int32_t>()[i], outside ? 0 : x.span<std::int32_t>()[flat(shape, from)]);
    }
    const Array z = OpCase(OpCode::kBatchToSpaceNd, NoAttrs{})
                        .add(y)
                        .constant(block)
                        .constant(pads)
                        .run(kDialects[n % 3])[0];
    ASSERT_EQ(z.shape(), shape);
    EXPECT_EQ(0, std::memcmp(z.data(), x.data(), x.byte_size()));
  }
}

TEST(Slice, RefusesWhatDoesNotFit) {
  const Array x = counted({2, 3});
  EXPECT_THROW(OpCase(OpCode::kSlice, NoAttrs{})
                   .add(x)
                   .constant(ints({0, 2}))
                   .constant(ints({1, 2}))
                   .run(Dialect::kBuiltin),
               Error);
  EXPECT_THROW(OpCase(OpCode::kSlice, NoAttrs{})
                   .add(x)
                   .add(ints({0, 0}))
                   .constant(ints({1, 2}))
                   .run(Dialect::kBuiltin),
               Error);
  OpCase zero(OpCode::kStridedSlice, StridedSliceAttrs{});
  zero.add(x).constant(ints({0})).constant(ints({1})).constant(ints({0}));
  EXPECT_THROW(zero.run(Dialect::kBuiltin), Error);
  EXPECT_THROW(OpCase(OpCode::kPad, NoAttrs{})
                   .add(x)
                   .constant(Array::of<std::int32_t>({2, 2}, {0, -1, 0, 0}))
                   .run(Dialect::kBuiltin),
               Error);
}

}  // namespace
}  // namespace litegap
