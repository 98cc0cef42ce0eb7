// Operators that order, repeat and place elements, against the judge.
#include "grid_run.h"

namespace litegap::oracle {
namespace {

constexpr DType kTypes[] = {DType::kFloat32, DType::kInt8,  DType::kUint8,
                            DType::kInt16,   DType::kInt32, DType::kInt64};
DType some_type(Draw& draw) { return kTypes[draw.in(0, 5)]; }
std::size_t below(Draw& draw, std::size_t n) {
  return static_cast<std::size_t>(draw.in(0, static_cast<std::int32_t>(n) - 1));
}

TEST(Order, Cumsum) {
  for (int seed = 0; seed < rounds(400); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    constexpr DType kSums[] = {DType::kFloat32, DType::kInt32, DType::kInt64};
    const DType t = kSums[draw.in(0, 2)];
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 4)), 5);
    const std::size_t axis = below(draw, shape.size());
    const CumsumAttrs attrs{draw.one_in(2), draw.one_in(2)};
    const Grid x = random_grid(draw, shape, t);
    OpCase c(OpCode::kCumsum, attrs);
    c.add(array_of(x, t)).constant(Array::of<std::int32_t>({}, {static_cast<std::int32_t>(axis)}));
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(c.run(draw.dialect())[0], cumsum(x, axis, attrs.exclusive, attrs.reverse, t)))
        << seed;
  }
}

TEST(Order, TopKOfEqualsTheFirst) {
  for (int seed = 0; seed < rounds(400); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = some_type(draw);
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 3)), 9);
    const std::int32_t k = draw.in(0, shape.back());
    const Grid x = make_grid(shape, [&](const Shape&) { return double(draw.in(0, 5)); });
    OpCase c(OpCode::kTopkV2, NoAttrs{}, 2);
    c.add(array_of(x, t)).constant(Array::of<std::int32_t>({}, {k})).types({t, DType::kInt32});
    const auto y = c.run(draw.dialect());
    const auto want = top_k(x, k);
    ASSERT_NO_FATAL_FAILURE(expect_grid(y[0], want[0])) << seed;
    ASSERT_NO_FATAL_FAILURE(expect_grid(y[1], want[1])) << seed;
  }
}

TEST(Order, Reverse) {
  for (int seed = 0; seed < rounds(300); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = some_type(draw);
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 5)), 4);
    std::vector<bool> axes(shape.size(), false);
    std::vector<std::int64_t> list;
    for (std::size_t d = 0; d < shape.size(); ++d) {
      if (!draw.one_in(2)) continue;
      axes[d] = true;
      list.push_back(static_cast<std::int64_t>(d) -
                     (draw.one_in(2) ? static_cast<std::int64_t>(shape.size()) : 0));
    }
    if (list.empty()) continue;
    const Grid x = random_grid(draw, shape, t);
    OpCase c(OpCode::kReverseV2, NoAttrs{});
    c.add(array_of(x, t)).constant(integers(list));
    ASSERT_NO_FATAL_FAILURE(expect_grid(c.run(draw.dialect())[0], reverse(x, axes))) << seed;
  }
}

TEST(Order, ReverseSequence) {
  for (int seed = 0; seed < rounds(300); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    constexpr DType kHas[] = {DType::kFloat32, DType::kUint8, DType::kInt16, DType::kInt64};
    const DType t = kHas[draw.in(0, 3)];
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(2, 4)), 5);
    const std::size_t seq = below(draw, shape.size());
    std::size_t batch = below(draw, shape.size() - 1);
    if (batch >= seq) ++batch;
    const Grid x = random_grid(draw, shape, t),
               lengths = random_indices(draw, {shape[batch]}, 0, shape[seq]);
    OpCase c(OpCode::kReverseSequence, ReverseSequenceAttrs{static_cast<std::int32_t>(seq),
                                                            static_cast<std::int32_t>(batch)});
    c.add(array_of(x, t));
    c.add(array_of(lengths, draw.one_in(2) ? DType::kInt32 : DType::kInt64));
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(c.run(draw.dialect())[0], reverse_sequence(x, lengths, seq, batch)))
        << seed;
  }
}

TEST(Order, Diagonals) {
  for (int seed = 0; seed < rounds(300); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = some_type(draw);
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 3)), 4);
    const Grid x = random_grid(draw, shape, t);
    OpCase diag(OpCode::kMatrixDiag, NoAttrs{});
    diag.add(array_of(x, t));
    ASSERT_NO_FATAL_FAILURE(expect_grid(diag.run(draw.dialect())[0], matrix_diag(x))) << seed;
    if (shape.size() < 2) continue;
    Shape line(shape.begin(), shape.end() - 2);
    line.push_back(std::min(shape.back(), shape[shape.size() - 2]));
    const Grid d = random_grid(draw, line, t);
    OpCase set(OpCode::kMatrixSetDiag, NoAttrs{});
    set.add(array_of(x, t)).add(array_of(d, t));
    ASSERT_NO_FATAL_FAILURE(expect_grid(set.run(draw.dialect())[0], matrix_set_diag(x, d))) << seed;
  }
}

TEST(Order, DynamicUpdateSlice) {
  for (int seed = 0; seed < rounds(300); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = some_type(draw);
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 4)), 5);
    Shape piece;
    std::vector<std::int32_t> start;
    for (const std::int32_t d : shape) {
      piece.push_back(draw.in(1, d));
      start.push_back(draw.in(-3, d + 3));
    }
    const Grid whole = random_grid(draw, shape, t), part = random_grid(draw, piece, t);
    OpCase c(OpCode::kDynamicUpdateSlice, NoAttrs{});
    c.add(array_of(whole, t)).add(array_of(part, t)).add(integers({start.begin(), start.end()}));
    ASSERT_NO_FATAL_FAILURE(expect_grid(c.run(draw.dialect())[0], update_slice(whole, part, start)))
        << seed;
  }
}

TEST(Order, DilateAndPad) {
  for (int seed = 0; seed < rounds(400); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = some_type(draw);
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 3)), 5);
    std::vector<std::int64_t> low, high, interior, none(shape.size(), 0), dilation;
    for (std::size_t d = 0; d < shape.size(); ++d) {
      low.push_back(draw.in(-3, 3));
      high.push_back(draw.in(-3, 3));
      interior.push_back(draw.in(0, 2));
      dilation.push_back(interior.back() + 1);
    }
    const Grid x = random_grid(draw, shape, t), value = random_grid(draw, {}, t);
    OpCase pad(OpCode::kStablehloPad, StablehloPadAttrs{low, high, interior});
    pad.add(array_of(x, t)).add(array_of(value, t));
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(pad.run(draw.dialect())[0], spread(x, value.at[0], low, high, interior)))
        << seed;
    OpCase dilate(OpCode::kDilate, NoAttrs{});
    dilate.add(array_of(x, t)).constant(integers(dilation)).add(array_of(value, t));
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(dilate.run(draw.dialect())[0], spread(x, value.at[0], none, none, interior)))
        << seed;
  }
}

TEST(Order, ReduceWindow) {
  for (int seed = 0; seed < rounds(300); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = some_type(draw);
    const int function = draw.in(1, 4);
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 3)), 6);
    std::vector<std::int64_t> window, stride, dilation;
    for (std::size_t d = 0; d < shape.size(); ++d) {
      window.push_back(draw.in(1, 3));
      stride.push_back(draw.in(1, 3));
      dilation.push_back(draw.in(1, 2));
    }
    const Grid x = make_grid(shape, [&](const Shape&) { return double(draw.in(0, 4)); });
    const Grid start = random_grid(draw, {}, t == DType::kFloat32 ? DType::kInt8 : t);
    OpCase c(OpCode::kReduceWindow, ReduceWindowAttrs{function});
    c.add(array_of(x, t)).add(array_of(start, t)).constant(integers(window, DType::kInt64));
    c.constant(integers(stride, DType::kInt64)).constant(integers(dilation, DType::kInt64));
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(c.run(draw.dialect())[0],
                    reduce_window(x, start.at[0], function, window, stride, dilation, t)))
        << seed;
  }
}

TEST(Order, RangeRankBroadcast) {
  const auto number = [](std::int32_t v) { return Array::of<std::int32_t>({}, {v}); };
  OpCase range(OpCode::kRange, NoAttrs{});
  range.constant(number(7)).constant(number(0)).constant(number(-3));
  expect_grid(range.run(Dialect::kBuiltin)[0], Grid{{3}, {7, 4, 1}});
  OpCase open(OpCode::kRange, NoAttrs{});
  open.constant(number(0)).add(number(5)).constant(number(1));
  EXPECT_NE(refusal(open, Dialect::kBuiltin).find("depends on data"), std::string::npos);
  OpCase away(OpCode::kRange, NoAttrs{});
  away.constant(number(0)).constant(number(5)).constant(number(-1));
  EXPECT_NE(refusal(away, Dialect::kBuiltin).find("steps"), std::string::npos);
  OpCase rank(OpCode::kRank, NoAttrs{});
  rank.add(Array::zeros(DType::kInt8, {2, 3, 4})).output(DType::kInt32);
  expect_grid(rank.run(Dialect::kReference)[0], Grid{{}, {3}});
  OpCase shapes(OpCode::kBroadcastArgs, NoAttrs{});
  shapes.add(integers({5, 1, 3})).add(integers({4, 1}));
  expect_grid(shapes.run(Dialect::kReference)[0], Grid{{3}, {5, 4, 3}});
}

TEST(Order, BitsAndSigns) {
  OpCase shift(OpCode::kRightShift, NoAttrs{});
  shift.add(Array::of<std::int32_t>({4}, {-7, -7, 9, -8}));
  shift.add(Array::of<std::int32_t>({4}, {1, 99, -1, 3}));
  expect_grid(shift.run(Dialect::kBuiltin)[0], Grid{{4}, {-4, -1, 9, -1}});
  OpCase exclusive(OpCode::kBitwiseXor, NoAttrs{});
  exclusive.add(Array::of<std::uint8_t>({2}, {0xF0, 1})).add(Array::of<std::uint8_t>({1}, {0x3C}));
  expect_grid(exclusive.run(Dialect::kBuiltin)[0], Grid{{2}, {0xCC, 0x3D}});
  OpCase cast(OpCode::kBitcast, NoAttrs{});
  cast.add(Array::of<std::int32_t>({1}, {0x01020304})).output(DType::kInt8);
  expect_grid(cast.run(Dialect::kBuiltin)[0], Grid{{1, 4}, {4, 3, 2, 1}});
  OpCase sign(OpCode::kSign, NoAttrs{});
  sign.add(Array::of<float>({3}, {-2, 0, 1e-30f}));
  expect_grid(sign.run(Dialect::kBuiltin)[0], Grid{{3}, {-1, 0, 1}});
  OpCase bucket(OpCode::kBucketize, BucketizeAttrs{{0, 10, 100}});
  bucket.add(Array::of<float>({5}, {-5, 0, 9.5f, 10, 1000})).output(DType::kInt32);
  expect_grid(bucket.run(Dialect::kBuiltin)[0], Grid{{5}, {0, 1, 1, 2, 3}});
}

// The grid of codes holds zero, and every result is on it, the nearest to the bounded input.
TEST(Order, FakeQuantIsOnItsGrid) {
  for (int seed = 0; seed < rounds(200); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const float low = draw.real(-5, -0.1f), high = draw.real(0.1f, 5);
    const std::int32_t bits = draw.in(2, 8), n = 50;
    const Grid x = random_grid(draw, {n}, DType::kFloat32);
    OpCase c(OpCode::kFakeQuant, FakeQuantAttrs{low, high, bits, false});
    const Grid y = grid_of(c.add(array_of(x, DType::kFloat32)).run(draw.dialect())[0]);
    const double step = (static_cast<double>(high) - low) / ((1 << bits) - 1);
    const double first = std::round(low / step) * step, last = first + step * ((1 << bits) - 1);
    for (std::size_t i = 0; i < x.at.size(); ++i) {
      ASSERT_NEAR(y.at[i] / step, std::round(y.at[i] / step), 1e-3) << seed;
      const double bounded = std::clamp(x.at[i], first, last);
      ASSERT_LE(std::abs(y.at[i] - bounded), step / 2 + 1e-5) << seed;
    }
  }
}

}  // namespace
}  // namespace litegap::oracle
