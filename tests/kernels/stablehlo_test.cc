// STABLEHLO_GATHER, _SCATTER, _REDUCE_WINDOW and _AND against the judge, and by hand.
#include "oracle/stablehlo.h"

#include <algorithm>

#include "grid_run.h"

namespace litegap::oracle {
namespace {

using Numbers = std::vector<std::int64_t>;
constexpr DType kTypes[] = {DType::kFloat32, DType::kInt8, DType::kUint8, DType::kInt32,
                            DType::kInt64};

// Some of 0 … rank - 1 in order; each with one chance in two.
Numbers some_dims(Draw& draw, std::size_t rank) {
  Numbers dims;
  for (std::size_t d = 0; d < rank; ++d) {
    if (draw.one_in(2)) dims.push_back(static_cast<std::int64_t>(d));
  }
  return dims;
}

void mix(Draw& draw, Numbers& dims) {
  for (std::size_t i = dims.size(); i > 1; --i)
    std::swap(dims[i - 1], dims[static_cast<std::size_t>(draw.in(0, static_cast<int>(i) - 1))]);
}

// Indices [n, k] or [k, n] with values around the operand's shape, some outside.
Grid random_vectors(Draw& draw, std::int32_t n, const Numbers& map, const Shape& operand,
                    std::int64_t vector_dim) {
  const auto k = static_cast<std::int32_t>(map.size());
  const Shape shape = vector_dim == 0 ? Shape{k, n} : Shape{n, k};
  return make_grid(shape, [&](const Shape& at) {
    const auto d = static_cast<std::size_t>(
        map[static_cast<std::size_t>(at[static_cast<std::size_t>(vector_dim)])]);
    return static_cast<double>(draw.in(-1, operand[d]));
  });
}

TEST(Stablehlo, Gather) {
  for (int seed = 0; seed < rounds(500); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = kTypes[draw.in(0, 4)];
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 4)), 5);
    StablehloGatherAttrs a;
    a.collapsed_slice_dims = some_dims(draw, shape.size());
    a.start_index_map = some_dims(draw, shape.size());
    mix(draw, a.start_index_map);
    a.index_vector_dim = draw.in(0, 1);
    for (std::size_t d = 0; d < shape.size(); ++d) {
      const bool collapsed = std::ranges::count(a.collapsed_slice_dims, static_cast<int>(d)) > 0;
      a.slice_sizes.push_back(collapsed ? 1 : draw.in(1, shape[d]));
    }
    // Which dimensions of the result are the window's: all but one.
    const std::size_t window = shape.size() - a.collapsed_slice_dims.size();
    const auto batch = static_cast<std::size_t>(draw.in(0, static_cast<int>(window)));
    for (std::size_t d = 0; d <= window; ++d) {
      if (d != batch) a.offset_dims.push_back(static_cast<std::int64_t>(d));
    }
    const Grid x = random_grid(draw, shape, t),
               index = random_vectors(draw, draw.in(1, 4), a.start_index_map, shape,
                                      a.index_vector_dim);
    OpCase c(OpCode::kStablehloGather, a);
    c.add(array_of(x, t)).add(array_of(index, draw.one_in(2) ? DType::kInt32 : DType::kInt64));
    ASSERT_NO_FATAL_FAILURE(expect_grid(c.run(draw.dialect())[0], stablehlo_gather(x, index, a)))
        << seed;
  }
}

TEST(Stablehlo, GatherByHand) {  // windows of 2 that are moved until they fit
  OpCase c(OpCode::kStablehloGather, StablehloGatherAttrs{{1}, {}, {0}, 1, {2}, false});
  c.add(Array::of<float>({4}, {10, 20, 30, 40})).add(Array::of<std::int32_t>({2, 1}, {1, 9}));
  expect_grid(c.run(Dialect::kReference)[0], Grid{{2, 2}, {20, 30, 30, 40}});
}

TEST(Stablehlo, Scatter) {
  const std::optional<OpCode> bodies[] = {std::nullopt, OpCode::kStablehloAdd,
                                          OpCode::kStablehloMultiply, OpCode::kStablehloMaximum,
                                          OpCode::kStablehloMinimum};
  for (int seed = 0; seed < rounds(500); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = kTypes[draw.in(0, 4)];
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 4)), 4);
    StablehloScatterAttrs a;
    a.inserted_window_dims = some_dims(draw, shape.size());
    a.scatter_dims_to_operand_dims = some_dims(draw, shape.size());
    mix(draw, a.scatter_dims_to_operand_dims);
    a.index_vector_dim = draw.in(0, 1);
    const std::int32_t n = draw.in(1, 4);
    const std::size_t window = shape.size() - a.inserted_window_dims.size();
    const auto batch = static_cast<std::size_t>(draw.in(0, static_cast<int>(window)));
    Shape updates;
    for (std::size_t d = 0; d <= window; ++d) {
      updates.push_back(d == batch ? n : draw.in(1, 3));
      if (d != batch) a.update_window_dims.push_back(static_cast<std::int64_t>(d));
    }
    mix(draw, a.update_window_dims);
    const std::optional<OpCode> body = bodies[draw.in(0, 4)];
    const Grid x = random_grid(draw, shape, t), u = random_grid(draw, updates, t),
               index = random_vectors(draw, n, a.scatter_dims_to_operand_dims, shape,
                                      a.index_vector_dim);
    OpCase c(OpCode::kStablehloScatter, a);
    c.add(array_of(x, t)).add(array_of(index, draw.one_in(2) ? DType::kInt32 : DType::kInt64));
    c.add(array_of(u, t)).body(body ? std::vector{*body} : std::vector<OpCode>{});
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(c.run(draw.dialect())[0], stablehlo_scatter(x, index, u, a, body, t)))
        << seed;
  }
}

TEST(Stablehlo, ScatterByHand) {  // one index outside: left out
  OpCase c(OpCode::kStablehloScatter, StablehloScatterAttrs{false, false, {}, {0}, {0}, 1});
  c.add(Array::of<std::int32_t>({3}, {10, 20, 30}));
  c.add(Array::of<std::int64_t>({4, 1}, {0, 2, 3, 0}));
  c.add(Array::of<std::int32_t>({4}, {1, 2, 4, 8})).body({OpCode::kStablehloAdd});
  expect_grid(c.run(Dialect::kXnnpack)[0], Grid{{3}, {19, 20, 32}});
}

TEST(Stablehlo, ABodyThatTheRuntimeRefuses) {
  OpCase c(OpCode::kStablehloScatter, StablehloScatterAttrs{false, false, {}, {0}, {0}, 1});
  c.add(Array::of<float>({3}, {1, 2, 3})).add(Array::of<std::int32_t>({1, 1}, {0}));
  c.add(Array::of<float>({1}, {1})).body({OpCode::kAdd});
  EXPECT_NE(refusal(c, Dialect::kBuiltin).find("its graph"), std::string::npos);
}

TEST(Stablehlo, OptionsThatDoNotFitAreRefused) {
  const StablehloGatherAttrs good{{1}, {}, {0}, 1, {2}, false};
  const auto refused = [](StablehloGatherAttrs a) {
    OpCase c(OpCode::kStablehloGather, std::move(a));
    c.add(Array::of<float>({4}, {1, 2, 3, 4})).add(Array::of<std::int32_t>({2, 1}, {0, 1}));
    return !refusal(c, Dialect::kBuiltin).empty();
  };
  EXPECT_FALSE(refused(good));
  for (const int what : {0, 1, 2, 3, 4, 5, 6}) {
    StablehloGatherAttrs a = good;
    if (what == 0) a.index_vector_dim = 2;  // the runtime reads outside its shape
    if (what == 1) a.index_vector_dim = -1;
    if (what == 2) a.slice_sizes = {5};
    if (what == 3) a.slice_sizes = {2, 2};
    if (what == 4) a.start_index_map = {1};
    if (what == 5) a.offset_dims = {7};
    if (what == 6) a.collapsed_slice_dims = {0};
    EXPECT_TRUE(refused(a)) << what;
  }
}

TEST(Stablehlo, ReduceWindow) {
  const OpCode bodies[] = {OpCode::kAdd,
                           OpCode::kMul,
                           OpCode::kMaximum,
                           OpCode::kMinimum,
                           OpCode::kLogicalAnd,
                           OpCode::kLogicalOr,
                           OpCode::kStablehloAdd,
                           OpCode::kStablehloMultiply,
                           OpCode::kStablehloMaximum,
                           OpCode::kStablehloMinimum,
                           OpCode::kStablehloAnd,
                           OpCode::kLogicalOr};
  for (int seed = 0; seed < rounds(600); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    DType t = kTypes[draw.in(0, 4)];
    const auto which = static_cast<std::size_t>(draw.in(0, 11));
    const bool logical = which % 6 > 3;
    if (which % 6 > 1 && draw.one_in(6)) t = DType::kBool;
    const Shape shape = draw.shape(static_cast<std::size_t>(draw.in(1, 3)), 6);
    StablehloReduceWindowAttrs a;
    for (const std::int32_t n : shape) {
      a.base_dilations.push_back(draw.in(1, 3));
      a.window_dimensions.push_back(draw.in(1, 3));
      a.window_strides.push_back(draw.in(1, 3));
      a.window_dilations.push_back(draw.in(1, 2));
      const std::int64_t dilated = (n - 1) * a.base_dilations.back() + 1;
      const std::int64_t low = std::max<std::int64_t>(draw.in(-1, 3), 1 - dilated);
      a.padding.push_back(low);
      a.padding.push_back(std::max<std::int64_t>(draw.in(-1, 3), 1 - dilated - low));
    }
    const Grid x = random_grid(draw, shape, t), start = random_grid(draw, {}, t);
    OpCase c(OpCode::kStablehloReduceWindow, a);
    c.add(array_of(x, t)).add(array_of(start, t)).body({bodies[which]});
    Dialect dialect = draw.dialect();
    if (bodies[which] == OpCode::kStablehloAnd) dialect = Dialect::kBuiltin;
    // Products of integers pass the 53 bits of the judge, and sums of floats its order.
    if ((which % 6 == 1 && t != DType::kFloat32) || (logical && t == DType::kFloat32)) continue;
    ASSERT_NO_FATAL_FAILURE(expect_grid(c.run(dialect)[0],
                                        stablehlo_window(x, start.at[0], a, bodies[which], t),
                                        t == DType::kFloat32 ? 1e-6 : 0))
        << seed;
  }
}

TEST(Stablehlo, ReduceWindowByHand) {
  // 1 _ 2 (dilated), padded by one on the left, windows of 2: start 10 stands in all gaps.
  OpCase c(OpCode::kStablehloReduceWindow,
           StablehloReduceWindowAttrs{{2}, {1}, {2}, {1}, {1, 0}, 0});
  c.add(Array::of<std::int32_t>({2}, {1, 2})).add(Array::of<std::int32_t>({}, {10}));
  c.body({OpCode::kAdd});
  expect_grid(c.run(Dialect::kBuiltin)[0], Grid{{3}, {21, 21, 22}});
}

TEST(Stablehlo, And) {
  OpCase c(OpCode::kStablehloAnd, NoAttrs{});
  c.add(Array::of<std::int8_t>({3}, {12, -1, 5})).add(Array::of<std::int8_t>({3}, {10, 7, -8}));
  expect_grid(c.run(Dialect::kXnnpack)[0], Grid{{3}, {8, 7, 0}});
  EXPECT_NE(refusal(c, Dialect::kReference).find("reference"), std::string::npos);
  OpCase b(OpCode::kStablehloAnd, NoAttrs{});
  b.add(Array::of<bool>({4}, {true, true, false, false}));
  b.add(Array::of<bool>({4}, {true, false, true, false}));
  expect_grid(b.run(Dialect::kBuiltin)[0], Grid{{4}, {1, 0, 0, 0}});
  OpCase f(OpCode::kStablehloAnd, NoAttrs{});
  f.add(Array::of<float>({1}, {1})).add(Array::of<float>({1}, {1}));
  EXPECT_FALSE(refusal(f, Dialect::kBuiltin).empty());
}

}  // namespace
}  // namespace litegap::oracle
