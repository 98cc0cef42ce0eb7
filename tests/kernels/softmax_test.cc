// SOFTMAX, LOG_SOFTMAX and L2_NORMALIZATION: against the judge where a formula is short, against
// real arithmetic where it is not.
#include <cmath>

#include "value_run.h"

namespace litegap::oracle {
namespace {

Codes random_rows(Draw& draw, DType t) {
  Codes x = draw.codes(t, {draw.in(1, 4), draw.in(1, draw.one_in(4) ? 300 : 20)});
  if (t == DType::kInt16) x.scale /= 256;
  return x;
}

struct Row {
  std::vector<double> x;
  double peak = -1e300, sum = 0;
};
Row row_of(const Codes& x, std::size_t row, double beta) {
  Row r;
  const auto depth = static_cast<std::size_t>(x.shape.back());
  for (std::size_t i = 0; i < depth; ++i) {
    r.x.push_back(beta * static_cast<double>(x.scale) * (x.at[row * depth + i] - x.zero));
    r.peak = std::max(r.peak, r.x.back());
  }
  for (const double v : r.x) r.sum += std::exp(v - r.peak);
  return r;
}

TEST(Softmax, BuiltinEqualsTheJudge) {
  for (int seed = 0; seed < rounds(1000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const Codes x = random_rows(draw, kCodeTypes[draw.in(0, 1)]);
    const float beta = draw.real(0.3f, 2.0f);
    const Codes y{x.type, x.shape, {}, 1.0f / 256, least(x.type)};
    OpCase c(OpCode::kSoftmax, SoftmaxAttrs{beta});
    c.add(x.array(), x.quant());
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, y, Dialect::kBuiltin, softmax_table(x, y, beta)))
        << seed;
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, y, Dialect::kXnnpack, softmax_table(x, y, beta)))
        << seed;
  }
}

TEST(Softmax, EveryFormIsNearTheRealOne) {
  for (int seed = 0; seed < rounds(600); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = kCodeTypes[draw.in(0, 2)];
    const Codes x = random_rows(draw, t);
    const float beta = draw.real(0.3f, 2.0f);
    const bool words = t == DType::kInt16;
    OpCase c(OpCode::kSoftmax, SoftmaxAttrs{beta});
    c.add(x.array(), x.quant())
        .output(t, quant_of(words ? 1.0f / 32768 : 1.0f / 256, words ? 0 : least(t)));
    const auto got = codes_of(c.run(draw.one_in(2) ? Dialect::kReference : Dialect::kBuiltin)[0]);
    const auto depth = static_cast<std::size_t>(x.shape.back());
    for (std::size_t i = 0; i < got.size(); ++i) {
      const Row r = row_of(x, i / depth, static_cast<double>(beta));
      const double p = std::exp(r.x[i % depth] - r.peak) / r.sum;
      const double code =
          words ? std::min(p * 32768, 32767.0) : std::min(p * 256, 255.0) + least(t);
      ASSERT_NEAR(got[i], code, words ? 330 : 1.01) << seed;
    }
  }
}

TEST(Softmax, LogarithmsAreNearTheRealOnes) {
  for (int seed = 0; seed < rounds(600); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = kCodeTypes[draw.in(0, 1)];
    const Codes x = random_rows(draw, t);
    OpCase c(OpCode::kLogSoftmax, NoAttrs{});
    c.add(x.array(), x.quant()).output(t, quant_of(1.0f / 16, most(t)));
    const auto got = codes_of(c.run(draw.dialect())[0]);
    const auto depth = static_cast<std::size_t>(x.shape.back());
    for (std::size_t i = 0; i < got.size(); ++i) {
      const Row r = row_of(x, i / depth, 1);
      const double code = (r.x[i % depth] - r.peak - std::log(r.sum)) * 16 + most(t);
      ASSERT_NEAR(got[i], std::max(code, static_cast<double>(least(t))), 2.01) << seed;
    }
  }
}

TEST(Softmax, FloatRowsAddUpToOne) {
  OpCase c(OpCode::kSoftmax, SoftmaxAttrs{1.0f});
  c.add(Array::of<float>({2, 3}, {1, 2, 3, -1000, 0, 1000}));
  for (const Dialect d : kAllDialects) {
    const Array y = c.run(d)[0];
    EXPECT_NEAR(y.span<float>()[0] + y.span<float>()[1] + y.span<float>()[2], 1.0f, 1e-6f);
    EXPECT_EQ(y.span<float>()[5], 1.0f);
    EXPECT_EQ(y.span<float>()[3], 0.0f);
  }
}

TEST(Softmax, RefusesOtherOutputScales) {
  OpCase c(OpCode::kSoftmax, SoftmaxAttrs{1.0f});
  c.add(Array::zeros(DType::kInt8, {1, 4}), quant_of(0.1f, 0))
      .output(DType::kInt8, quant_of(1.0f / 256, 0));
  EXPECT_NE(refusal(c, Dialect::kBuiltin).find("expected"), std::string::npos);
}

TEST(L2Normalization, CodesAreNearTheRealOnes) {
  for (int seed = 0; seed < rounds(600); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType t = kCodeTypes[draw.in(0, 1)];
    const Codes x = random_rows(draw, t);
    const std::int32_t zero = t == DType::kInt8 ? 0 : 128;
    OpCase c(OpCode::kL2Normalization, ActivationAttrs{});
    c.add(x.array(), x.quant()).output(t, quant_of(1.0f / 128, zero));
    const auto got = codes_of(c.run(draw.dialect())[0]);
    const auto depth = static_cast<std::size_t>(x.shape.back());
    for (std::size_t i = 0; i < got.size(); ++i) {
      double squares = 0;
      for (std::size_t k = 0; k < depth; ++k)
        squares += std::pow(x.at[i / depth * depth + k] - x.zero, 2);
      const double code =
          squares == 0 ? zero : 128 * (x.at[i] - x.zero) / std::sqrt(squares) + zero;
      ASSERT_NEAR(got[i], std::min<double>(std::max<double>(code, least(t)), most(t)), 0.75)
          << seed;
    }
  }
}

}  // namespace
}  // namespace litegap::oracle
