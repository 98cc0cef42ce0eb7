// ADD, SUB, MUL, SQUARED_DIFFERENCE, MAXIMUM, MINIMUM, DIV with broadcasting, against the judge.
#include "value_run.h"

namespace litegap::oracle {
namespace {

struct Pair {
  Codes a, b, y;
};

// Shapes that broadcast: axes of either operand may be 1, and leading axes may be missing.
Pair random_pair(Draw& draw, DType t) {
  const Shape out = draw.shape(static_cast<std::size_t>(draw.in(0, 5)), 5);
  const auto part = [&] {
    Shape s = out;
    for (auto& d : s) d = draw.one_in(4) ? 1 : d;
    s.erase(s.begin(), s.begin() + (draw.one_in(3) ? draw.in(0, static_cast<int>(s.size())) : 0));
    return s;
  };
  Pair p{draw.codes(t, draw.one_in(3) ? out : part()), draw.codes(t, part()), draw.codes(t, {})};
  if (draw.one_in(4)) std::swap(p.a, p.b);
  const std::size_t rank = std::max(p.a.shape.size(), p.b.shape.size());
  const auto at = [&](const Shape& s, std::size_t d) {
    return d < s.size() ? s[s.size() - 1 - d] : 1;
  };
  p.y.shape.resize(rank);
  for (std::size_t d = 0; d < rank; ++d) {
    p.y.shape[rank - 1 - d] = std::max(at(p.a.shape, d), at(p.b.shape, d));
  }
  p.y.at.clear();
  return p;
}

OpCase case_of(OpCode op, Attrs attrs, const Pair& p) {
  OpCase c(op, std::move(attrs));
  c.add(p.a.array(), p.a.quant()).add(p.b.array(), p.b.quant());
  return c;
}

TEST(Elementwise, AddAndSubEqualTheJudge) {
  for (int seed = 0; seed < rounds(4000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    Pair p = random_pair(draw, kCodeTypes[draw.in(0, 2)]);
    // Output scales that the kernel takes, and sums within the 16-bit words of the built-in blocks.
    if (p.y.scale < std::max(p.a.scale, p.b.scale) / 16) p.y.scale = p.a.scale;
    if (p.y.scale < std::max(p.a.scale, p.b.scale) / 16) p.y.scale = p.b.scale;
    const Activation f = draw.activation();
    const Dialect d = draw.dialect();
    const int sign = draw.one_in(2) ? 1 : -1;
    OpCase c = case_of(sign > 0 ? OpCode::kAdd : OpCode::kSub, AddAttrs{f, false}, p);
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, p.y, d, add(p.a, p.b, p.y, f, d, sign))) << seed;
  }
}

// The ends of int16 with multipliers near both ends of their mantissa, and far below 1.
TEST(Elementwise, AddAndSubOfTheLargestWords) {
  constexpr std::int32_t kEnds[] = {-32768, -32767, -21846, -3,    -2,    -1,   0,
                                    1,      2,      3,      21845, 32766, 32767};
  for (const float ratio :
       {1.0f, 0.99999994f, 0.50000006f, 0.5f, 0.3333333f, 0.01f, 3e-5f, 1e-9f}) {
    for (const float out : {0.7f, 1.0f, 1.9f, 2.0f, 300.0f}) {
      Codes a{DType::kInt16, {13, 1}, {}, 0.01f, 0},
          b{DType::kInt16, {1, 13}, {}, 0.01f * ratio, 0};
      a.at.assign(std::begin(kEnds), std::end(kEnds));
      b.at = a.at;
      if (ratio < 0.4f) std::swap(a.scale, b.scale);
      Codes y{DType::kInt16, {13, 13}, {}, 0.01f * out, 0};
      for (const int sign : {1, -1}) {
        OpCase c = case_of(sign > 0 ? OpCode::kAdd : OpCode::kSub,
                           AddAttrs{Activation::kNone, false}, {a, b, y});
        const Result want = add(a, b, y, Activation::kNone, Dialect::kBuiltin, sign);
        ASSERT_NO_FATAL_FAILURE(expect_codes(c, y, Dialect::kBuiltin, want)) << ratio << " " << out;
      }
    }
  }
}

TEST(Elementwise, MulEqualsTheJudge) {
  for (int seed = 0; seed < rounds(4000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    Pair p = random_pair(draw, kCodeTypes[draw.in(0, 2)]);
    const Activation f = draw.activation();
    const Dialect d = draw.dialect();
    // Products within the 16-bit words of the built-in blocks.
    if (d != Dialect::kReference) p.y.scale = std::max(p.y.scale, 4 * p.a.scale * p.b.scale);
    OpCase c = case_of(OpCode::kMul, ActivationAttrs{f}, p);
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, p.y, d, mul(p.a, p.b, p.y, f, d))) << seed;
  }
}

TEST(Elementwise, SquaredDifferenceEqualsTheJudge) {
  for (int seed = 0; seed < rounds(2000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const Pair p = random_pair(draw, DType::kInt8);
    OpCase c = case_of(OpCode::kSquaredDifference, NoAttrs{}, p);
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, p.y, draw.dialect(), squared_difference(p.a, p.b, p.y)))
        << seed;
  }
}

TEST(Elementwise, MaximumAndMinimumTakeRawCodes) {
  for (int seed = 0; seed < rounds(1000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const Pair p = random_pair(draw, kCodeTypes[draw.in(0, 2)]);
    const bool largest = draw.one_in(2);
    Result want;
    for (std::size_t i = 0; i < shape_elements(p.y.shape); ++i) {
      const auto a = p.a.at[source(p.y.shape, i, p.a.shape)],
                 b = p.b.at[source(p.y.shape, i, p.b.shape)];
      want.push_back(largest ? std::max(a, b) : std::min(a, b));
    }
    OpCase c = case_of(largest ? OpCode::kMaximum : OpCode::kMinimum, NoAttrs{}, p);
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, p.y, draw.dialect(), want)) << seed;
  }
}

TEST(Elementwise, QuotientsOfCodesAreTheRealOnes) {
  for (int seed = 0; seed < rounds(1000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    Pair p = random_pair(draw, DType::kInt8);
    for (auto& v : p.b.at) v = v == p.b.zero ? (v < 127 ? v + 1 : v - 1) : v;
    OpCase c = case_of(OpCode::kDiv, ActivationAttrs{}, p);
    const auto got = codes_of(c.output(p.y.type, p.y.quant()).run(draw.dialect())[0]);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const auto a = p.a.at[source(p.y.shape, i, p.a.shape)],
                 b = p.b.at[source(p.y.shape, i, p.b.shape)];
      const double q = static_cast<double>(p.a.scale) * (a - p.a.zero) /
                       (static_cast<double>(p.b.scale) * (b - p.b.zero) * p.y.scale);
      // Below half a code the runtime's shift leaves the word: its results are an accident.
      if (std::abs(q) < 1) continue;
      // So are quotients below half a step: their shifts exceed a word.
      if (std::abs(q) < 0.51) continue;
      const double code = std::min(std::max(q + p.y.zero, -128.0), 127.0);
      ASSERT_NEAR(got[i], code, 0.51) << seed << ": " << a << " / " << b;
    }
  }
}

TEST(Elementwise, Integers32Wrap) {
  OpCase c(OpCode::kAdd, AddAttrs{});
  c.add(Array::of<std::int32_t>({2}, {2147483647, -5})).add(Array::of<std::int32_t>({1}, {1}));
  const Array y = c.run(Dialect::kBuiltin)[0];
  EXPECT_EQ(y.span<std::int32_t>()[0], -2147483647 - 1);
  EXPECT_EQ(y.span<std::int32_t>()[1], -4);
}

TEST(Elementwise, FloatActivationsClampAndKeepNaN) {
  for (const Dialect d : {Dialect::kReference, Dialect::kBuiltin}) {
    OpCase c(OpCode::kAdd, AddAttrs{Activation::kRelu6, true});
    c.add(Array::of<float>({4}, {-3, 1, 9, std::nanf("")})).add(Array::of<float>({1}, {0.5f}));
    const Array y = c.run(d)[0];
    EXPECT_EQ(y.span<float>()[0], 0.0f);
    EXPECT_EQ(y.span<float>()[1], 1.5f);
    EXPECT_EQ(y.span<float>()[2], 6.0f);
    EXPECT_TRUE(std::isnan(y.span<float>()[3]));
  }
}

TEST(Elementwise, RefusesWhatDoesNotFit) {
  OpCase shapes(OpCode::kAdd, AddAttrs{});
  shapes.add(Array::zeros(DType::kFloat32, {2, 3})).add(Array::zeros(DType::kFloat32, {2, 4}));
  EXPECT_NE(refusal(shapes, Dialect::kBuiltin).find("#0 ADD: shapes [2, 3] and [2, 4]"),
            std::string::npos);
  OpCase types(OpCode::kMul, ActivationAttrs{});
  types.add(Array::zeros(DType::kFloat32, {2})).add(Array::zeros(DType::kInt8, {2}));
  EXPECT_NE(refusal(types, Dialect::kBuiltin), "");
  OpCase scales(OpCode::kMul, ActivationAttrs{});
  scales.add(Array::zeros(DType::kInt8, {2})).add(Array::zeros(DType::kInt8, {2}));
  EXPECT_NE(refusal(scales, Dialect::kBuiltin).find("scales"), std::string::npos);
  OpCase negative(OpCode::kMul, ActivationAttrs{});
  const Quant bad = quant_of(-1.0f, 0);
  negative.add(Array::zeros(DType::kInt8, {2}), bad).add(Array::zeros(DType::kInt8, {2}), bad);
  EXPECT_NE(refusal(negative, Dialect::kBuiltin).find("positive"), std::string::npos);
}

}  // namespace
}  // namespace litegap::oracle
