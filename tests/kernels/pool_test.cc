// AVERAGE_POOL_2D and MAX_POOL_2D against the judge, which asks for every cell of every window.
#include "value_run.h"

namespace litegap::oracle {
namespace {

struct PoolCase {
  PoolAttrs attrs;
  Codes x, y;
};

PoolCase random_pool(Draw& draw) {
  PoolCase p;
  p.attrs.padding = draw.one_in(2) ? Padding::kSame : Padding::kValid;
  p.attrs.stride_h = draw.in(1, 3);
  p.attrs.stride_w = draw.in(1, 3);
  p.attrs.filter_h = draw.in(1, 4);
  p.attrs.filter_w = draw.in(1, 4);
  p.attrs.activation = draw.activation();
  const Shape shape{draw.in(1, 2), draw.in(4, 9), draw.in(4, 9), draw.in(1, 20)};
  p.x = draw.codes(kCodeTypes[draw.in(0, 2)], shape);
  p.y = p.x;
  const auto size = [&](std::int32_t in, std::int32_t k, std::int32_t s) {
    return p.attrs.padding == Padding::kSame ? (in + s - 1) / s : (in - k) / s + 1;
  };
  p.y.shape[1] = size(shape[1], p.attrs.filter_h, p.attrs.stride_h);
  p.y.shape[2] = size(shape[2], p.attrs.filter_w, p.attrs.stride_w);
  return p;
}

TEST(Pool, CodesEqualTheJudge) {
  for (int seed = 0; seed < rounds(2000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const PoolCase p = random_pool(draw);
    const bool average = draw.one_in(2);
    OpCase c(average ? OpCode::kAveragePool2d : OpCode::kMaxPool2d, p.attrs);
    c.add(p.x.array(), p.x.quant());
    const Dialect d = draw.dialect();
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, p.y, d, pool(p.x, p.y, p.attrs, average, d))) << seed;
  }
}

TEST(Pool, FloatAveragesDivideByTheCellsInside) {
  OpCase c(OpCode::kAveragePool2d, PoolAttrs{Padding::kSame, 1, 1, 2, 2, Activation::kNone});
  c.add(Array::of<float>({1, 2, 2, 1}, {1, 2, 3, 6}));
  for (const Dialect d : kAllDialects) {
    const Array y = c.run(d)[0];
    ASSERT_EQ(y.shape(), (Shape{1, 2, 2, 1}));
    const float want[] = {3, 4, 4.5f, 6};
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(y.span<float>()[i], want[i]);
  }
}

TEST(Pool, RefusesScalesThatDifferAndWindowsThatDoNotFit) {
  Draw draw(1);
  PoolCase p = random_pool(draw);
  p.x.type = p.y.type = DType::kInt8;
  p.x = draw.codes(DType::kInt8, {1, 4, 4, 1});
  OpCase scales(OpCode::kMaxPool2d, PoolAttrs{});
  scales.add(p.x.array(), p.x.quant()).output(DType::kInt8, quant_of(p.x.scale * 2, p.x.zero));
  EXPECT_NE(refusal(scales, Dialect::kBuiltin).find("differ"), std::string::npos);
  OpCase large(OpCode::kMaxPool2d, PoolAttrs{Padding::kValid, 1, 1, 5, 5, Activation::kNone});
  large.add(Array::zeros(DType::kFloat32, {1, 4, 4, 1}));
  EXPECT_NE(refusal(large, Dialect::kBuiltin).find("does not fit"), std::string::npos);
  OpCase stride(OpCode::kMaxPool2d, PoolAttrs{Padding::kValid, 0, 1, 1, 1, Activation::kNone});
  stride.add(Array::zeros(DType::kFloat32, {1, 4, 4, 1}));
  EXPECT_NE(refusal(stride, Dialect::kBuiltin), "");
}

}  // namespace
}  // namespace litegap::oracle
