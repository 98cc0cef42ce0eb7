// Second-order rounding: never worse than nearest on its own objective, exact where it enumerates.
#include "quant/rounding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "quant/params.h"

namespace litegap {
namespace {

struct Case {
  Array weights;
  Moments moments;
};

// Patches with a strong common part, as images have.
Case random_case(const Shape& shape, OpCode code, std::size_t groups, std::uint64_t seed) {
  Random random(seed);
  Case c;
  c.weights = Array::zeros(DType::kFloat32, shape);
  for (float& w : c.weights.mutable_span<float>()) w = static_cast<float>(random.normal());
  Moments& m = c.moments;
  m.groups = groups;
  m.k = c.weights.elements() / weight_row_count(shape, code);
  m.rows = 4 * m.k;
  m.mean.assign(groups * m.k, 0);
  m.gram.assign(groups * m.k * m.k, 0);
  for (std::size_t g = 0; g < groups; ++g) {
    for (std::size_t r = 0; r < m.rows; ++r) {
      const double common = random.normal() + 0.5;
      std::vector<double> x;
      for (std::size_t i = 0; i < m.k; ++i) x.push_back(common + 0.4 * random.normal());
      for (std::size_t i = 0; i < m.k; ++i) {
        m.mean[g * m.k + i] += x[i] / static_cast<double>(m.rows);
        for (std::size_t j = 0; j < m.k; ++j) {
          m.gram[(g * m.k + i) * m.k + j] += x[i] * x[j] / static_cast<double>(m.rows);
        }
      }
    }
  }
  return c;
}

double error(const Case& c, OpCode code, Rounding rounding, int bits) {
  CodingOptions o;
  o.bits = bits;
  o.rounding = rounding;
  return layer_error(c.weights, code, code_weights(c.weights, code, &c.moments, o), c.moments);
}

TEST(Rounding, NeverWorseThanNearest) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const Case c = random_case({6, 40}, OpCode::kFullyConnected, 1, seed);
    for (const int bits : {4, 8}) {
      const double plain = error(c, OpCode::kFullyConnected, Rounding::kNearest, bits);
      const double gptq = error(c, OpCode::kFullyConnected, Rounding::kGptq, bits);
      const double coordinate = error(c, OpCode::kFullyConnected, Rounding::kCoordinate, bits);
      EXPECT_LE(gptq, plain * (1 + 1e-9));
      EXPECT_LE(coordinate, gptq * (1 + 1e-9));
      // Inputs with a common part: errors can cancel, and must.
      EXPECT_LT(gptq, 0.7 * plain);
    }
  }
}

TEST(Rounding, DepthwiseIsTheLeastOfAllChoices) {
  const Case c = random_case({1, 2, 2, 3}, OpCode::kDepthwiseConv2d, 3, 5);
  CodingOptions o;
  o.bits = 4;
  o.rounding = Rounding::kGptq;
  const CodedWeights got = code_weights(c.weights, OpCode::kDepthwiseConv2d, &c.moments, o);
  const auto w = c.weights.span<float>();
  double least = 0;  // mean over channels of the best of 16
  for (std::size_t channel = 0; channel < 3; ++channel) {
    const double s = static_cast<double>(got.quant.scale[channel]);
    double best = 1e30;
    for (int mask = 0; mask < 16; ++mask) {
      double e[4], sum = 0;
      bool inside = true;
      for (std::size_t i = 0; i < 4; ++i) {
        const double v = w[i * 3 + channel];
        const double code = std::floor(v / s) + ((mask >> i) & 1);
        inside = inside && std::fabs(code) <= 7;
        e[i] = v - s * code;
      }
      for (std::size_t i = 0; i < 4; ++i) {
        for (std::size_t j = 0; j < 4; ++j) sum += e[i] * c.moments.h(channel)[i * 4 + j] * e[j];
      }
      if (inside) best = std::min(best, sum);
    }
    least += best / 3;
  }
  EXPECT_NEAR(layer_error(c.weights, OpCode::kDepthwiseConv2d, got, c.moments), least,
              1e-6 * least + 1e-12);
}

TEST(Rounding, TwoEqualInputsShareTheError) {
  Moments m;
  m.groups = 1;
  m.k = 2;
  m.rows = 10;
  m.mean = {1, 1};
  m.gram = {1, 1, 1, 1};
  // A third row with weight 127 makes the scale of a per-tensor layer exactly 1.
  const Array w = Array::of<float>({2, 2}, {0.4f, 0.4f, 127, 0});
  CodingOptions o;
  o.granularity = Granularity::kPerTensor;
  o.rounding = Rounding::kGptq;
  const CodedWeights got = code_weights(w, OpCode::kFullyConnected, &m, o);
  const auto q = got.codes.span<std::int8_t>();
  EXPECT_EQ(q[0] + q[1], 1);
  EXPECT_EQ(q[2], 127);
}

TEST(WeightScales, ClippingLowersTheErrorOfFourBits) {
  Random random(2);
  Array w = Array::zeros(DType::kFloat32, {8, 200});
  for (float& v : w.mutable_span<float>()) v = static_cast<float>(random.normal());
  const auto squared = [&](WeightScale scale) {
    CodingOptions o;
    o.bits = 4;
    o.scale = scale;
    const CodedWeights c = code_weights(w, OpCode::kFullyConnected, nullptr, o);
    const Array back = dequantize(c.codes, c.quant);
    double sum = 0;
    for (std::size_t i = 0; i < w.elements(); ++i) {
      sum += std::pow(w.span<float>()[i] - back.span<float>()[i], 2);
    }
    return sum;
  };
  EXPECT_LT(squared(WeightScale::kMse), 0.9 * squared(WeightScale::kMinmax));
  EXPECT_LT(squared(WeightScale::kOctav), 0.9 * squared(WeightScale::kMinmax));
  EXPECT_LE(squared(WeightScale::kMse), 1.02 * squared(WeightScale::kOctav));
}

TEST(WeightScales, FourBitCodesNeverReachMinusEight) {
  const Array w = Array::of<float>({1, 4}, {-1, 1, -0.99f, 0.1f});
  const CodedWeights c = code_weights(w, OpCode::kFullyConnected, nullptr, {.bits = 4});
  for (const std::int8_t q : c.codes.span<std::int8_t>()) EXPECT_GE(q, -7);
}

}  // namespace
}  // namespace litegap
