// Operators that read and write at indices, against the judge.
#include "grid_run.h"

namespace litegap::oracle {
namespace {

constexpr DType kTypes[] = {DType::kFloat32, DType::kInt8, DType::kUint8, DType::kInt32,
                            DType::kInt64};
DType some_type(Draw& draw) { return kTypes[draw.in(0, 4)]; }

TEST(Index, GatherNd) {
  for (int seed = 0; seed < rounds(400); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = draw.one_in(6) ? DType::kBool : some_type(draw);
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 4)), 5);
    const std::int32_t depth = draw.in(1, static_cast<std::int32_t>(shape.size()));
    Shape lead = draw.shape(static_cast<std::size_t>(draw.in(0, 2)), 4);
    lead.push_back(depth);
    // One past the end now and then: reads as zero.
    const Grid x = random_grid(draw, shape, t),
               index = make_grid(lead, [&](const Shape&at) {
                 const std::int32_t n = shape[static_cast<std::size_t>(at.back())];
                 return static_cast<double>(draw.one_in(20) ? n : draw.in(0, n - 1));
               });
    const DType type = draw.one_in(2) ? DType::kInt32 : DType::kInt64;
    OpCase c(OpCode::kGatherNd, NoAttrs{});
    c.add(array_of(x, t)).add(array_of(index, type));
    ASSERT_NO_FATAL_FAILURE(expect_grid(c.run(draw.dialect())[0], gather_nd(x, index))) << seed;
  }
}

TEST(Index, ScatterNdAddsUp) {
  for (int seed = 0; seed < rounds(400); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = some_type(draw);
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 3)), 4);
    const std::int32_t depth = draw.in(1, static_cast<std::int32_t>(shape.size()));
    const Shape lead{draw.in(1, 6), depth};
    const Grid index = make_grid(lead, [&](const Shape& at) {
      return static_cast<double>(draw.in(0, shape[static_cast<std::size_t>(at.back())] - 1));
    });
    Shape to{lead[0]};
    to.insert(to.end(), shape.begin() + depth, shape.end());
    const Grid updates = random_grid(draw, to, t);
    OpCase c(OpCode::kScatterNd, NoAttrs{});
    c.add(array_of(index, DType::kInt32)).add(array_of(updates, t));
    c.constant(integers({shape.begin(), shape.end()})).output(t);
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(c.run(draw.dialect())[0], scatter_nd(index, updates, shape, t)))
        << seed;
  }
}

TEST(Index, OneHot) {
  for (int seed = 0; seed < rounds(300); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = some_type(draw);
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(0, 3)), 4);
    const std::int32_t depth = draw.in(1, 5),
                       axis = draw.in(-1, static_cast<std::int32_t>(shape.size()));
    const Grid index = random_indices(draw, shape, -1, depth);
    const Grid on = random_grid(draw, {}, t), off = random_grid(draw, {}, t);
    OpCase c(OpCode::kOneHot, OneHotAttrs{axis});
    c.add(array_of(index, DType::kInt32)).constant(Array::of<std::int32_t>({}, {depth}));
    c.add(array_of(on, t)).add(array_of(off, t)).output(t);
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(c.run(draw.dialect())[0], one_hot(index, depth, on.at[0], off.at[0], axis)))
        << seed;
  }
}

TEST(Index, SparseToDense) {
  for (int seed = 0; seed < rounds(300); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = some_type(draw);
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 4)), 4);
    const std::int32_t n = draw.in(1, 5);
    const Grid index =
        make_grid({n, static_cast<std::int32_t>(shape.size())}, [&](const Shape& at) {
          return static_cast<double>(draw.in(0, shape[static_cast<std::size_t>(at[1])] - 1));
        });
    const Grid values = random_grid(draw, draw.one_in(3) ? Shape{} : Shape{n}, t),
               other = random_grid(draw, {}, t);
    OpCase c(OpCode::kSparseToDense, SparseToDenseAttrs{});
    c.add(array_of(index, DType::kInt32)).constant(integers({shape.begin(), shape.end()}));
    c.add(array_of(values, t)).add(array_of(other, t)).output(t);
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(c.run(draw.dialect())[0], sparse_to_dense(index, shape, values, other.at[0])))
        << seed;
  }
}

TEST(Index, UnsortedSegments) {
  for (int seed = 0; seed < rounds(400); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = draw.one_in(2) ? DType::kFloat32 : DType::kInt32;
    const OpCode ops[] = {OpCode::kUnsortedSegmentSum, OpCode::kUnsortedSegmentProd,
                          OpCode::kUnsortedSegmentMax, OpCode::kUnsortedSegmentMin};
    const OpCode op = ops[draw.in(0, 3)];
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 3)), 5);
    const auto lead = draw.in(1, static_cast<std::int32_t>(shape.size()));
    const std::int32_t count = draw.in(1, 4);
    const Grid data = random_grid(draw, shape, t),
               ids =
                   random_indices(draw, Shape(shape.begin(), shape.begin() + lead), -1, count - 1);
    OpCase c(op, NoAttrs{});
    c.add(array_of(data, t)).add(array_of(ids, DType::kInt32));
    c.constant(Array::of<std::int32_t>({}, {count}));
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(c.run(draw.dialect())[0], segments(op, data, ids, count, t)))
        << seed;
  }
}

TEST(Index, SegmentSumNeedsKnownSegments) {
  const Array data = Array::of<float>({4}, {1, 2, 3, 4});
  OpCase known(OpCode::kSegmentSum, NoAttrs{});
  known.add(data).constant(integers({0, 0, 1, 2}));
  expect_grid(known.run(Dialect::kBuiltin)[0], Grid{{3}, {3, 3, 4}});
  EXPECT_NE(refusal(known, Dialect::kReference).find("reference"), std::string::npos);
  OpCase gap(OpCode::kSegmentSum, NoAttrs{});
  gap.add(data).constant(integers({0, 0, 2, 3}));
  EXPECT_NE(refusal(gap, Dialect::kBuiltin).find("gap"), std::string::npos);
  OpCase open(OpCode::kSegmentSum, NoAttrs{});
  open.add(data).add(integers({0, 0, 1, 2}));
  EXPECT_NE(refusal(open, Dialect::kBuiltin).find("depends on data"), std::string::npos);
}

TEST(Index, EmbeddingLookups) {
  for (int seed = 0; seed < rounds(200); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const std::int32_t rows = draw.in(1, 5), width = draw.in(1, 6), n = draw.in(1, 7);
    const Grid table = random_grid(draw, {rows, width}, DType::kInt8),
               ids = random_indices(draw, {n}, 0, rows - 1);
    Quant q;
    for (std::int32_t r = 0; r < rows; ++r) q.scale.push_back(draw.scale());
    q.zero_point.assign(q.scale.size(), 0);
    OpCase c(OpCode::kEmbeddingLookup, NoAttrs{});
    c.add(array_of(ids, DType::kInt32)).constant(array_of(table, DType::kInt8), q);
    c.output(DType::kFloat32);
    const Grid want = make_grid({n, width}, [&](const Shape& at) {
      const auto r = static_cast<std::int32_t>(ids({at[0]}));
      return held(table({r, at[1]}) * static_cast<double>(q.scale[static_cast<std::size_t>(r)]),
                  DType::kFloat32);
    });
    ASSERT_NO_FATAL_FAILURE(expect_grid(c.run(draw.dialect())[0], want)) << seed;
  }
}

TEST(Index, EmbeddingLookupSparse) {
  for (int seed = 0; seed < rounds(200); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const Shape bags = draw.shape(static_cast<std::size_t>(draw.in(1, 2)), 3);
    Shape shape = bags;
    shape.push_back(4);
    const std::int32_t n = draw.in(1, 6), rows = draw.in(1, 4);
    const Grid ids = random_indices(draw, {n}, 0, rows - 1);
    const Grid places =
        make_grid({n, static_cast<std::int32_t>(shape.size())}, [&](const Shape& at) {
          return static_cast<double>(draw.in(0, shape[static_cast<std::size_t>(at[1])] - 1));
        });
    const Grid weights =
        make_grid({n}, [&](const Shape&) { return static_cast<double>(draw.real(0.5f, 2)); });
    const Grid table = random_grid(draw, {rows, 3}, DType::kFloat32);
    const int combiner = draw.in(0, 2);
    OpCase c(OpCode::kEmbeddingLookupSparse, CombinerAttrs{static_cast<std::int8_t>(combiner)});
    c.add(array_of(ids, DType::kInt32)).add(array_of(places, DType::kInt32));
    c.constant(integers({shape.begin(), shape.end()}));
    c.add(array_of(weights, DType::kFloat32)).add(array_of(table, DType::kFloat32));
    c.output(DType::kFloat32);
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(c.run(draw.dialect())[0],
                    embedding_sparse(ids, places, shape, weights, table, combiner), 1e-6))
        << seed;
  }
}

TEST(Index, HashtableLookup) {
  OpCase c(OpCode::kHashtableLookup, NoAttrs{}, 2);
  c.add(integers({7, -3, 5, 7})).add(integers({-3, 2, 7}));
  c.add(Array::of<float>({3, 2}, {1, 2, 3, 4, 5, 6})).types({DType::kFloat32, DType::kUint8});
  const auto y = c.run(Dialect::kReference);
  expect_grid(y[0], Grid{{4, 2}, {5, 6, 1, 2, 0, 0, 5, 6}});
  expect_grid(y[1], Grid{{4}, {1, 1, 0, 1}});
}

TEST(Index, Refusals) {
  OpCase types(OpCode::kScatterNd, NoAttrs{});
  types.add(Array::of<std::int32_t>({1, 1}, {0})).add(Array::of<std::int16_t>({1}, {1}));
  types.constant(integers({3})).output(DType::kInt16);
  EXPECT_NE(refusal(types, Dialect::kBuiltin).find("int16"), std::string::npos);
  OpCase deep(OpCode::kGatherNd, NoAttrs{});
  deep.add(Array::of<float>({2}, {1, 2})).add(Array::of<std::int32_t>({1, 2}, {0, 0}));
  EXPECT_NE(refusal(deep, Dialect::kBuiltin).find("components"), std::string::npos);
  OpCase narrow(OpCode::kOneHot, OneHotAttrs{-1});
  narrow.add(integers({0})).constant(Array::of<std::int32_t>({}, {2}));
  narrow.add(Array::of<std::int16_t>({}, {1})).add(Array::of<std::int16_t>({}, {0}));
  narrow.output(DType::kInt16);
  EXPECT_NE(refusal(narrow, Dialect::kBuiltin).find("int16"), std::string::npos);
}

}  // namespace
}  // namespace litegap::oracle
