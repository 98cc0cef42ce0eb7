// Rows with NaN and infinities, quantized at run time: every expected value is worked out by hand
// from the rules of docs/numerics.md, section 6.
#include "kernels/hybrid.h"

#include "product_run.h"
#include "value_run.h"

namespace litegap::oracle {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// A row's scale, and its codes without the zero point.
struct Want {
  float scale;
  std::vector<int> codes;
};

void expect_row(HybridCode how, const std::vector<float>& row, const Want& want) {
  for (const GemmKernels* kernels : all_tables()) {
    const RowCode code = hybrid_code(how, *kernels, row.data(), row.size());
    std::vector<std::int16_t> codes(row.size());
    hybrid_quantize(*kernels, row.data(), row.size(), code, codes.data());
    EXPECT_EQ(std::vector<int>(codes.begin(), codes.end()), want.codes) << kernels->name;
    std::vector<std::byte> quads(row.size());
    hybrid_quantize_quads(*kernels, row.data(), row.size(), code, quads.data());
    for (std::size_t i = 0; i < row.size(); ++i) {  // the code itself, or 128 more
      const auto byte = std::to_integer<std::uint8_t>(quads[i]);
      const int q = kernels->signed_quads ? static_cast<std::int8_t>(byte) : byte - 128;
      EXPECT_EQ(q - code.zero_point, want.codes[i]) << kernels->name << ", quad " << i;
    }
    if (std::isnan(want.scale))
      EXPECT_TRUE(std::isnan(code.scale)) << kernels->name;
    else
      EXPECT_EQ(code.scale, want.scale) << kernels->name;
  }
}

TEST(HybridRows, EveryTableSeesWhatIsNotFinite) {
  for (const GemmKernels* kernels : all_tables()) {
    for (std::size_t n = 0; n < 70; ++n) {
      std::vector<float> row(n, -3.0f);
      float low = 1, high = 1;
      ASSERT_TRUE(kernels->range(row.data(), n, &low, &high)) << kernels->name << " " << n;
      ASSERT_EQ(low, n == 0 ? 0.0f : -3.0f);
      ASSERT_EQ(high, 0.0f);
      for (std::size_t i = 0; i < n; ++i) {
        for (const float v : {kNan, kInf, -kInf}) {
          row[i] = v;
          ASSERT_FALSE(kernels->range(row.data(), n, &low, &high)) << kernels->name << " " << i;
        }
        row[i] = std::numeric_limits<float>::max();
        ASSERT_TRUE(kernels->range(row.data(), n, &low, &high)) << kernels->name << " " << i;
        row[i] = -3.0f;
      }
    }
  }
}

// Pairs (v[i], v[i + 1]) from the third value on: the smaller one against the smallest, the other
// replaces the largest unless it is less, which a NaN is not, nor is anything less than a NaN.
TEST(HybridRows, Symmetric) {
  const auto how = HybridCode::kSymmetric;
  // Ends 4 and NaN, then 0.5 alone is the new smallest: 4 is forgotten.
  expect_row(how, {4, kNan, 0.5f}, {0.5f / 127, {127, -127, 127}});
  // The pair (NaN, 0.5) does not fall, so 0.5 is held against the largest.
  expect_row(how, {4, -1, kNan, 0.5f}, {4.0f / 127, {127, -32, -127, 16}});
  // A NaN as the smallest is never replaced: the scale is NaN.
  expect_row(how, {kNan, 1, 2}, {kNan, {-127, -127, -127}});
  // The larger of 0 and NaN is the first; a range of 0 gives codes of 0 and the scale 1.
  expect_row(how, {0, 0, kNan}, {1, {0, 0, 0}});
  // 1 / infinity = 0, and infinity * 0 is NaN.
  expect_row(how, {1, -kInf}, {kInf, {0, -127}});
  // What the range forgot may be beyond 32 bits: in a block of 8 that is the nearest code, behind
  // it, where the conversion gives -2^31, the lowest.
  expect_row(how, {1e30f, kNan, 1, 1, 1, 1, 1, 1},
             {1.0f / 127, {127, -127, 127, 127, 127, 127, 127, 127}});
  expect_row(how, {1e30f, kNan, 1}, {1.0f / 127, {-127, -127, 127}});
}

TEST(HybridRows, ARowOfZerosAndNan) {  // where whole blocks of 4 hold the NaN
  const auto how = HybridCode::kSymmetricRow;
  expect_row(how, {kNan, kNan, 0, kNan}, {1, {0, 0, 0, 0}});
  expect_row(how, {kNan, kNan, 0, kNan, kNan}, {kNan, {-127, -127, -127, -127, -127}});
  expect_row(how, {4, kNan, 0.5f}, {0.5f / 127, {127, -127, 127}});
}

TEST(HybridRows, FourBit) {  // the largest without NaN is 4
  expect_row(HybridCode::kFourBit, {4, kNan, -1}, {4.0f / 127, {127, 0, -32}});
  expect_row(HybridCode::kFourBit, {kNan}, {1, {0}});
  expect_row(HybridCode::kFourBit, {1, kInf}, {kInf, {0, 0}});
}

TEST(HybridRows, Asymmetric) {
  const auto how = HybridCode::kAsymmetric;
  // Fewer than 4 values, by pairs, a NaN not less than 0: from 0 to 1, zero point -128, code 0.
  expect_row(how, {kNan, 1}, {1.0f / 255, {128, 255}});
  // Four lanes; lane 0 is -2, then NaN: from 0 to 6, zero point -128.  In a block a NaN is
  // -2^31 - 128, which wraps to a large positive number, and with a zero point of 127 it does not.
  expect_row(how, {-2, 0, 0, 0, kNan, 0, 0, 6}, {6.0f / 255, {0, 0, 0, 0, 255, 0, 0, 255}});
  expect_row(how, {2, 0, 0, -6, kNan, 0, 0, 0}, {6.0f / 255, {0, 0, 0, -255, -255, 0, 0, 0}});
  // Lanes 1 and 3 are joined, then 0 and 2, then these in the other order: of NaN in lane 2 all is
  // forgotten, of NaN in lane 3 only lane 1.
  expect_row(how, {3, 3, kNan, 3}, {1, {0, 0, 0, 0}});
  expect_row(how, {0, 9, 1, kNan}, {1.0f / 255, {0, 255, 255, 128}});
  // An infinite end: step infinite, zero point 0, every code 0.
  expect_row(how, {1, kInf, -1}, {kInf, {0, 0, 0}});
}

TEST(HybridRows, Qd8) {
  const auto how = HybridCode::kQd8;
  // Without 8 values one by one: only 1 and -1 are left.  127.5 a step of 1, zero point
  // even(127 - 127.5) = 0, a NaN is the highest code, -127.5 goes to -128.
  expect_row(how, {4, kNan, 1, -1}, {1.0f / 127.5f, {127, 127, 127, -128}});
  // NaN at the end: no range, zero point -128.
  expect_row(how, {1, kNan}, {kNan, {255, 255}});
  expect_row(how, {1, 0, 0, 0, 0, 0, 0, kNan}, {kNan, {255, 255, 255, 255, 255, 255, 255, 255}});
  // With a ninth value the lane of NaN is left out.  255 / 6 = 42.5 a step of 1, zero point
  // even(-128 + 42.5) = -86.
  expect_row(how, {5, 0, 0, 0, 0, 0, 0, kNan, -1},
             {1.0f / 42.5f, {212, 0, 0, 0, 0, 0, 0, 213, -42}});
  // Factor 0 for an infinite range, scale infinite.
  expect_row(how, {1, kInf}, {kInf, {0, 255}});
}

Array hybrid_layer(OpCode code, Attrs attrs, Dialect dialect, const Shape& x_shape,
                   const Shape& w_shape, const std::vector<float>& x) {
  OpCase c(code, std::move(attrs));
  c.add(Array::of<float>(x_shape, x));
  Quant q;
  q.scale = {1.0f};
  q.zero_point = {0};
  c.constant(Array::of<std::int8_t>(w_shape, std::vector<std::int8_t>(x.size(), 1)), q);
  c.constant(Array::of<float>({1}, {0.0f}));
  c.output(DType::kFloat32);
  return c.run(dialect)[0];
}

float fully_connected(Dialect dialect, Activation activation, const std::vector<float>& x) {
  FullyConnectedAttrs a;
  a.activation = activation;
  const auto n = static_cast<std::int32_t>(x.size());
  return hybrid_layer(OpCode::kFullyConnected, a, dialect, {1, n}, {1, n}, x).span<float>()[0];
}

float convolution(Dialect dialect, Activation activation, const std::vector<float>& x) {
  ConvAttrs a;
  a.activation = activation;
  const auto n = static_cast<std::int32_t>(x.size());
  return hybrid_layer(OpCode::kConv2d, a, dialect, {1, 1, 1, n}, {1, 1, 1, n}, x).span<float>()[0];
}

TEST(HybridRows, ClampOfWhatIsNotFinite) {
  for (const Dialect d : {Dialect::kReference, Dialect::kBuiltin}) {
    EXPECT_EQ(fully_connected(d, Activation::kNone, {1, -kInf}), -kInf);  // code -127
    EXPECT_TRUE(std::isnan(fully_connected(d, Activation::kNone, {kNan, 1})));
    EXPECT_EQ(fully_connected(d, Activation::kRelu, {kNan, 1}), 0.0f);
    EXPECT_EQ(fully_connected(d, Activation::kReluN1To1, {kNan, 1}), -1.0f);
    EXPECT_EQ(convolution(d, Activation::kNone, {1, -kInf}), std::numeric_limits<float>::lowest());
    EXPECT_TRUE(std::isnan(convolution(d, Activation::kRelu, {kNan, 1})));
  }
  EXPECT_EQ(fully_connected(Dialect::kXnnpack, Activation::kNone, {1, kInf}), kInf);
  EXPECT_EQ(fully_connected(Dialect::kXnnpack, Activation::kNone, {1, kNan}), -kInf);
  EXPECT_EQ(convolution(Dialect::kXnnpack, Activation::kRelu6, {1, kNan}), 0.0f);
}

// Scales that are all the same count as one, and with one the codes are symmetric.
//
//   3.3 / 127 a step: 1, -2 and 3.3 have the codes 38, -77 and 127, which sum to 88.
//   From -2 to 3.3 in 255 steps: 48, -96 and 159, which sum to 111.
TEST(HybridRows, EqualScalesOfAConvolution) {
  for (const Dialect d : {Dialect::kReference, Dialect::kBuiltin}) {
    for (const float second : {1.0f, 2.0f}) {
      OpCase c(OpCode::kConv2d, ConvAttrs{});
      c.add(Array::of<float>({1, 1, 1, 3}, {1.0f, -2.0f, 3.3f}));
      Quant q;
      q.scale = {1.0f, second};
      q.zero_point = {0, 0};
      c.constant(Array::of<std::int8_t>({2, 1, 1, 3}, {1, 1, 1, 1, 1, 1}), q);
      c.constant(Array::of<float>({2}, {0.0f, 0.0f}));
      c.output(DType::kFloat32);
      const float expected = second == 1.0f ? 88 * 3.3f / 127 : 111 * 5.3f / 255;
      EXPECT_NEAR(c.run(d)[0].span<float>()[0], expected, 1e-5f) << dialect_name(d);
    }
  }
}

}  // namespace
}  // namespace litegap::oracle
