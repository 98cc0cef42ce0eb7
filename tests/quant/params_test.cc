// Scales, zero points and codes of single tensors, by the measured rules of the converter.
#include "quant/params.h"

#include <gtest/gtest.h>

#include <cmath>

namespace litegap {
namespace {

TEST(ActivationQuant, ZeroIsAlwaysRepresentable) {
  const Quant q = activation_quant(-1, 3, DType::kInt8);
  EXPECT_FLOAT_EQ(q.scale[0], 4.0f / 255);
  EXPECT_EQ(q.zero_point[0], -64);
  EXPECT_EQ(activation_quant(5, 9, DType::kInt8).zero_point[0], -128);
  EXPECT_FLOAT_EQ(activation_quant(5, 9, DType::kInt8).scale[0], 9.0f / 255);
  EXPECT_EQ(activation_quant(-2, -2, DType::kInt8).zero_point[0], 127);
  EXPECT_EQ(activation_quant(-1, 3, DType::kUint8).zero_point[0], 64);
}

TEST(ActivationQuant, DegenerateRangesAreWidened) {
  EXPECT_FLOAT_EQ(activation_quant(0, 0, DType::kInt8).scale[0], 2e-6f / 255);
  EXPECT_EQ(activation_quant(0, 0, DType::kInt8).zero_point[0], 0);
  EXPECT_EQ(activation_quant(1e-9f, 1e-9f, DType::kInt8).zero_point[0], -1);
}

TEST(ActivationQuant, Int16IsSymmetric) {
  const Quant q = activation_quant(-1, 3, DType::kInt16);
  EXPECT_FLOAT_EQ(q.scale[0], 3.0f / 32767);
  EXPECT_EQ(q.zero_point[0], 0);
}

TEST(ActivationQuant, RefusesWhatIsNoRange) {
  EXPECT_THROW(activation_quant(std::nanf(""), 1, DType::kInt8), Error);
  EXPECT_THROW(activation_quant(0, INFINITY, DType::kInt8), Error);
  EXPECT_THROW(activation_quant(2, 1, DType::kInt8), Error);
}

TEST(WeightQuant, OneScaleAChannelAndNeverMinus128) {
  const Array w = Array::of<float>({2, 3}, {-1, 0.5f, 0.25f, 10, -20, 5});
  const Quant q = weight_quant(w, 0);
  ASSERT_EQ(q.scale.size(), 2u);
  EXPECT_FLOAT_EQ(q.scale[0], 1.0f / 127);
  EXPECT_FLOAT_EQ(q.scale[1], 20.0f / 127);
  const Array codes = quantize_weights(w, q);
  EXPECT_EQ(codes.span<std::int8_t>()[0], -127);
  EXPECT_EQ(codes.span<std::int8_t>()[1], 64);  // 63.5: half away from zero
  EXPECT_EQ(codes.span<std::int8_t>()[4], -127);
  EXPECT_EQ(weight_quant(w, -1).scale.size(), 1u);
  EXPECT_FLOAT_EQ(weight_quant(w, -1).scale[0], 20.0f / 127);
}

TEST(WeightQuant, InnerAxis) {
  const Array w = Array::of<float>({1, 1, 2, 2}, {1, 8, -2, 4});
  const Quant q = weight_quant(w, 3);
  EXPECT_FLOAT_EQ(q.scale[0], 2.0f / 127);
  EXPECT_FLOAT_EQ(q.scale[1], 8.0f / 127);
  const auto codes = quantize_weights(w, q);
  EXPECT_EQ(codes.span<std::int8_t>()[2], -127);
  EXPECT_EQ(codes.span<std::int8_t>()[1], 127);
}

TEST(Bias, CodesAreRealOverProductOfScales) {
  const Quant x = activation_quant(-1, 1, DType::kInt8);
  const Quant w = weight_quant(Array::of<float>({2, 1}, {1, 2}), 0);
  const Quant q = bias_quant(x, w);
  const Array codes = quantize_bias(Array::of<float>({2}, {0.5f, -0.5f}), q, DType::kInt32);
  for (std::size_t c = 0; c < 2; ++c) {
    EXPECT_NEAR(static_cast<double>(q.scale[c]) * codes.span<std::int32_t>()[c],
                c == 0 ? 0.5 : -0.5, q.scale[c]);
  }
}

TEST(Bias, AWeightScaleIsRaisedWhereABiasWouldNotFit) {
  const Quant x = activation_quant(0, 1, DType::kInt8);
  Quant w = weight_quant(Array::of<float>({2, 1}, {1, 1e-9f}), 0);
  const float kept = w.scale[0];
  Quant q = bias_quant(x, w);
  const Array bias = Array::of<float>({2}, {0.1f, 100});
  ASSERT_TRUE(make_room_for_bias(bias, x, w, q));
  EXPECT_EQ(w.scale[0], kept);
  const Array codes = quantize_bias(bias, q, DType::kInt32);
  EXPECT_NEAR(codes.span<std::int32_t>()[1], 1073741823, 200);
  EXPECT_NEAR(static_cast<double>(x.scale[0]) * w.scale[1] / q.scale[1], 1, 1e-6);
}

}  // namespace
}  // namespace litegap
