// MEAN, SUM, REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN against the judge.
#include "value_run.h"

namespace litegap::oracle {
namespace {

struct ReduceCase {
  Codes x, y;
  std::vector<bool> axes;
  std::vector<std::int32_t> list;
  bool keep = false;
};

ReduceCase random_reduce(Draw& draw, DType t) {
  ReduceCase r;
  const auto rank = static_cast<std::size_t>(draw.in(1, 5));
  Shape shape = draw.shape(rank, 5);
  r.keep = draw.one_in(2);
  r.axes.assign(rank, false);
  if (rank == 4 && draw.one_in(2)) {  // the image form: blocks of 16 channels
    shape[3] = draw.in(1, 40);
    r.axes = {false, true, true, false};
    r.keep = !draw.one_in(4);
    r.list = {1, 2};
  } else {
    for (std::size_t d = 0; d < rank; ++d) {
      if (!draw.one_in(2)) continue;
      r.axes[d] = true;
      r.list.push_back(static_cast<std::int32_t>(d) -
                       (draw.one_in(3) ? static_cast<std::int32_t>(rank) : 0));
    }
  }
  r.x = draw.codes(t, shape);
  r.y = draw.codes(t, {});
  for (std::size_t d = 0; d < rank; ++d) {
    if (!r.axes[d])
      r.y.shape.push_back(shape[d]);
    else if (r.keep)
      r.y.shape.push_back(1);
  }
  return r;
}

OpCase case_of(OpCode op, const ReduceCase& r) {
  OpCase c(op, ReducerAttrs{r.keep});
  c.add(r.x.array(), r.x.quant());
  c.constant(Array::of(Shape{static_cast<std::int32_t>(r.list.size())}, r.list));
  return c;
}

TEST(Reduce, MeanEqualsTheJudge) {
  for (int seed = 0; seed < rounds(4000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const ReduceCase r = random_reduce(draw, kCodeTypes[draw.in(0, 2)]);
    const Dialect d = draw.dialect();
    OpCase c = case_of(OpCode::kMean, r);
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, r.y, d, mean(r.x, r.y, r.axes, r.keep, d))) << seed;
  }
}

TEST(Reduce, SumEqualsTheJudge) {
  for (int seed = 0; seed < rounds(3000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = kCodeTypes[draw.in(0, 2)];
    const ReduceCase r = random_reduce(draw, t);
    const Dialect d = t == DType::kUint8 ? draw.dialect()
                      : draw.one_in(2)   ? Dialect::kBuiltin
                                         : Dialect::kXnnpack;
    OpCase c = case_of(OpCode::kSum, r);
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, r.y, d, sum(r.x, r.y, r.axes, d))) << seed;
  }
}

TEST(Reduce, ProductEqualsTheJudge) {
  for (int seed = 0; seed < rounds(2000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const ReduceCase r = random_reduce(draw, draw.one_in(2) ? DType::kInt8 : DType::kInt16);
    OpCase c = case_of(OpCode::kReduceProd, r);
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, r.y, draw.dialect(), product(r.x, r.y, r.axes)))
        << seed;
  }
}

TEST(Reduce, AnyAndAll) {
  const Array x = Array::of<bool>({2, 3}, {false, true, false, true, true, true});
  OpCase any(OpCode::kReduceAny, ReducerAttrs{false}), all(OpCode::kReduceAll, ReducerAttrs{false});
  any.add(x).constant(Array::of<std::int32_t>({1}, {1}));
  all.add(x).constant(Array::of<std::int32_t>({1}, {1}));
  const Array a = any.run(Dialect::kBuiltin)[0], b = all.run(Dialect::kBuiltin)[0];
  EXPECT_TRUE(a.span<bool>()[0] && a.span<bool>()[1]);
  EXPECT_TRUE(!b.span<bool>()[0] && b.span<bool>()[1]);
}

TEST(Reduce, ReferenceSumOfInt16IsRefused) {
  Draw draw(3);
  const ReduceCase r = random_reduce(draw, DType::kInt16);
  OpCase c = case_of(OpCode::kSum, r);
  EXPECT_NE(refusal(c.output(r.y.type, r.y.quant()), Dialect::kReference).find("reference"),
            std::string::npos);
}

TEST(Reduce, ExtremesTakeRawCodes) {
  for (int seed = 0; seed < rounds(1000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const ReduceCase r = random_reduce(draw, kCodeTypes[draw.in(0, 2)]);
    const bool largest = draw.one_in(2);
    Shape kept = r.x.shape;
    for (std::size_t d = 0; d < kept.size(); ++d) kept[d] = r.axes[d] ? 1 : kept[d];
    Result want(shape_elements(kept), largest ? -40000 : 40000);
    for (std::size_t i = 0; i < r.x.at.size(); ++i) {
      Shape index = unflat(r.x.shape, i);
      for (std::size_t d = 0; d < kept.size(); ++d) index[d] = r.axes[d] ? 0 : index[d];
      auto& w = want[flat(kept, index)];
      w = largest ? std::max(w, r.x.at[i]) : std::min(w, r.x.at[i]);
    }
    OpCase c = case_of(largest ? OpCode::kReduceMax : OpCode::kReduceMin, r);
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, r.y, draw.dialect(), want)) << seed;
  }
}

TEST(Reduce, FloatSumsAreInMemoryOrder) {
  OpCase c(OpCode::kSum, ReducerAttrs{false});
  c.add(Array::of<float>({2, 3}, {1e8f, 1, 2, -1e8f, 3, 4}));
  c.constant(Array::of<std::int32_t>({2}, {0, 1}));
  const Array y = c.run(Dialect::kReference)[0];
  EXPECT_TRUE(y.shape().empty());
  EXPECT_EQ(y.span<float>()[0], ((((1e8f + 1) + 2) + -1e8f) + 3) + 4);
}

TEST(Reduce, ArgIsTheFirstExtreme) {
  for (int seed = 0; seed < rounds(500); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    Codes x = draw.codes(DType::kInt8, draw.shape(static_cast<std::size_t>(draw.in(1, 4)), 5));
    for (auto& v : x.at) v /= 40;  // ties
    const auto axis = static_cast<std::size_t>(draw.in(0, static_cast<int>(x.shape.size()) - 1));
    const bool largest = draw.one_in(2), wide = draw.one_in(2);
    OpCase c(largest ? OpCode::kArgMax : OpCode::kArgMin, OutputTypeAttrs{});
    c.add(x.array(), x.quant())
        .constant(Array::of<std::int32_t>({1}, {static_cast<std::int32_t>(axis)}));
    const Array y = c.output(wide ? DType::kInt64 : DType::kInt32).run(draw.dialect())[0];
    for (std::size_t i = 0; i < y.elements(); ++i) {
      Shape index = unflat(y.shape(), i);
      index.insert(index.begin() + static_cast<std::ptrdiff_t>(axis), 0);
      std::int32_t best = 0;
      const auto at = [&](std::int32_t k) {
        index[axis] = k;
        return x.at[flat(x.shape, index)];
      };
      for (std::int32_t k = 1; k < x.shape[axis]; ++k) {
        if (largest ? at(k) > at(best) : at(k) < at(best)) best = k;
      }
      ASSERT_EQ(wide ? y.span<std::int64_t>()[i] : y.span<std::int32_t>()[i], best) << seed;
    }
  }
}

}  // namespace
}  // namespace litegap::oracle
