// Operators of one operand, against the judge; all codes of 8-bit types.
#include <cmath>

#include "value_run.h"

namespace litegap::oracle {
namespace {

// Every 8-bit code, or random 16-bit ones.
Codes all_codes(Draw& draw, DType t) {
  Codes x = draw.codes(t, {t == DType::kInt16 ? 300 : 256});
  for (std::int32_t i = 0; i < 256 && t != DType::kInt16; ++i)
    x.at[static_cast<std::size_t>(i)] = least(t) + i;
  return x;
}
Codes output_like(Draw& draw, const Codes& x) {
  Codes y = draw.codes(x.type, {});
  y.shape = x.shape;
  return y;
}
OpCase case_of(OpCode op, Attrs attrs, const Codes& x) {
  OpCase c(op, std::move(attrs));
  c.add(x.array(), x.quant());
  return c;
}

TEST(Unary, ReluFamilyEqualsTheJudge) {
  constexpr OpCode kOps[] = {OpCode::kRelu, OpCode::kRelu6, OpCode::kReluN1To1, OpCode::kRelu0To1};
  for (int seed = 0; seed < rounds(800); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = kCodeTypes[draw.in(0, 2)];
    const OpCode op = kOps[draw.in(0, t == DType::kInt16 ? 1 : 3)];
    const Codes x = all_codes(draw, t), y = output_like(draw, x);
    OpCase c = case_of(op, NoAttrs{}, x);
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, y, draw.dialect(), relu(x, y, op))) << seed;
  }
}

TEST(Unary, LeakyReluEqualsTheJudge) {
  for (int seed = 0; seed < rounds(800); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const Codes x = all_codes(draw, kCodeTypes[draw.in(0, 2)]), y = output_like(draw, x);
    const float alpha = draw.one_in(8) ? 0.0f : draw.real(-0.5f, 2.0f);
    const Dialect d = draw.dialect();
    OpCase c = case_of(OpCode::kLeakyRelu, LeakyReluAttrs{alpha}, x);
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, y, d, leaky_relu(x, y, alpha, d))) << seed;
  }
}

TEST(Unary, PreluEqualsTheJudge) {
  for (int seed = 0; seed < rounds(800); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = kCodeTypes[draw.in(0, 2)];
    const Codes x = draw.codes(t, draw.shape(4, 4));
    Shape s = x.shape;
    for (std::size_t d = 0; d < 3; ++d) s[d] = draw.one_in(2) ? 1 : s[d];
    if (draw.one_in(2)) s.erase(s.begin());
    if (s.size() == 3 && x.shape[0] > 1 && draw.one_in(2)) s = {1, 1, s[2]};
    const Codes slope = draw.codes(t == DType::kUint8 ? t : DType::kInt8, s),
                y = output_like(draw, x);
    OpCase c = case_of(OpCode::kPrelu, NoAttrs{}, x);
    c.constant(slope.array(), slope.quant());
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, y, draw.dialect(), prelu(x, slope, y))) << seed;
  }
}

TEST(Unary, HardSwishEqualsTheJudge) {
  for (int seed = 0; seed < rounds(800); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const Codes x = all_codes(draw, kCodeTypes[draw.in(0, 1)]), y = output_like(draw, x);
    OpCase c = case_of(OpCode::kHardSwish, NoAttrs{}, x);
    if (x.scale / 128.0f / y.scale >= 1.0f) continue;
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, y, draw.dialect(), hard_swish(x, y))) << seed;
  }
}

// Tables: the nearest code of the function's value, or its neighbour where float32 decides a tie.
TEST(Unary, TablesAreTheFunctions) {
  struct Case {
    OpCode op;
    double (*f)(double);
    float scale;  // of the output; 0: any
  };
  const Case cases[] = {
      {OpCode::kTanh, [](double v) { return std::tanh(v); }, 1.0f / 128},
      {OpCode::kLogistic, [](double v) { return 1 / (1 + std::exp(-v)); }, 1.0f / 256},
      {OpCode::kElu, [](double v) { return v < 0 ? std::expm1(v) : v; }, 0},
      {OpCode::kExp, [](double v) { return std::exp(v); }, 0}};
  for (int seed = 0; seed < rounds(200); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    for (const Case& k : cases) {
      const Codes x = all_codes(draw, DType::kInt8);
      Codes y = output_like(draw, x);
      if (k.scale > 0) y.scale = k.scale;
      if (k.scale > 0) y.zero = k.op == OpCode::kLogistic ? -128 : 0;
      const Dialect d = k.op == OpCode::kElu ? Dialect::kXnnpack : draw.dialect();
      OpCase c = case_of(k.op, NoAttrs{}, x);
      const auto got = codes_of(c.output(y.type, y.quant()).run(d)[0]);
      for (std::size_t i = 0; i < got.size(); ++i) {
        const double v = k.f(static_cast<double>(x.scale) * (x.at[i] - x.zero)) / y.scale + y.zero;
        ASSERT_NEAR(got[i], std::min(std::max(v, -128.0), 127.0), 0.501)
            << seed << " " << op_name(k.op);
      }
    }
  }
}

TEST(Unary, AbsAndNegOfCodes) {
  for (int seed = 0; seed < rounds(200); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const Codes x = all_codes(draw, DType::kInt8), y = output_like(draw, x);
    Result size, negative;
    const Factor f = factor(x.scale / y.scale);
    for (const std::int32_t q : x.at) {
      const std::int64_t v = std::abs(q - x.zero);
      size.push_back(bound(y.type, (x.scale == y.scale ? v : times_away(v, f)) + y.zero));
      negative.push_back(q == -128 ? -128 : -q);
    }
    OpCase a = case_of(OpCode::kAbs, NoAttrs{}, x), n = case_of(OpCode::kNeg, NoAttrs{}, x);
    ASSERT_NO_FATAL_FAILURE(expect_codes(a, y, draw.dialect(), size)) << seed;
    ASSERT_NO_FATAL_FAILURE(expect_codes(n, y, draw.dialect(), negative)) << seed;
  }
}

TEST(Unary, RootsOfCodes) {
  for (int seed = 0; seed < rounds(200); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    Codes x = all_codes(draw, DType::kInt8);
    x.zero = -128;
    const Codes y = output_like(draw, x);
    OpCase s = case_of(OpCode::kSqrt, NoAttrs{}, x), r = case_of(OpCode::kRsqrt, NoAttrs{}, x);
    const auto roots = codes_of(s.output(y.type, y.quant()).run(Dialect::kBuiltin)[0]);
    const auto inverse = codes_of(r.output(y.type, y.quant()).run(Dialect::kReference)[0]);
    for (std::size_t i = 1; i < roots.size(); ++i) {
      const double v = static_cast<double>(x.scale) * (x.at[i] + 128);
      const double root = std::sqrt(v) / y.scale, one = 1 / std::sqrt(v) / y.scale + y.zero;
      ASSERT_NEAR(roots[i], std::min(std::floor(root + 1e-5) + y.zero, 127.0),
                  root < 300 ? 1e-9 + (std::abs(root - std::round(root)) < 1e-4) : 0);
      ASSERT_NEAR(inverse[i], std::min(one, 127.0), 0.51);
    }
  }
}

TEST(Unary, FloatFunctions) {
  const std::vector<float> v = {-2.5f, -1.5f, -0.5f, 0.5f, 1.5f, 2.5f, 7.25f};
  const auto expect = [&](OpCode op, float (*f)(float), Dialect d) {
    OpCase c(op, NoAttrs{});
    c.add(Array::of<float>({7}, v));
    const Array y = c.run(d)[0];
    for (std::size_t i = 0; i < v.size(); ++i)
      EXPECT_EQ(y.span<float>()[i], f(v[i])) << op_name(op);
  };
  for (const Dialect d : kAllDialects) {
    expect(
        OpCode::kRelu, [](float x) { return std::max(x, 0.0f); }, d);
    expect(
        OpCode::kRelu6, [](float x) { return std::min(std::max(x, 0.0f), 6.0f); }, d);
    expect(
        OpCode::kReluN1To1, [](float x) { return std::min(std::max(x, -1.0f), 1.0f); }, d);
    expect(
        OpCode::kRelu0To1, [](float x) { return std::min(std::max(x, 0.0f), 1.0f); }, d);
    expect(
        OpCode::kAbs, [](float x) { return std::fabs(x); }, d);
    expect(
        OpCode::kNeg, [](float x) { return -x; }, d);
    expect(
        OpCode::kSquare, [](float x) { return x * x; }, d);
    expect(
        OpCode::kFloor, [](float x) { return std::floor(x); }, d);
  }
  expect(
      OpCode::kRound, [](float x) { return std::nearbyint(x); }, Dialect::kBuiltin);
  expect(
      OpCode::kCeil, [](float x) { return std::ceil(x); }, Dialect::kBuiltin);
}

TEST(Unary, ReferenceRefusesWhatItDoesNotHave) {
  for (const OpCode op : {OpCode::kElu, OpCode::kCeil, OpCode::kRound}) {
    OpCase c(op, NoAttrs{});
    c.add(Array::zeros(DType::kFloat32, {2}));
    const std::string text = refusal(c, Dialect::kReference);
    EXPECT_NE(text.find("reference"), std::string::npos) << text;
    EXPECT_NE(text.find(op_name(op)), std::string::npos) << text;
    EXPECT_EQ(refusal(c, Dialect::kBuiltin), "");
  }
}

}  // namespace
}  // namespace litegap::oracle
