#include "model/op.h"

#include <gtest/gtest.h>

#include <set>

#include "model/model.h"

namespace litegap {
namespace {

TEST(Op, Names) {
  EXPECT_EQ(op_name(OpCode::kAdd), "ADD");
  EXPECT_EQ(op_name(OpCode::kCustom), "CUSTOM");
  EXPECT_EQ(op_name(OpCode::kHardSwish), "HARD_SWISH");
  EXPECT_EQ(op_name(OpCode::kBatchMatmul), "BATCH_MATMUL");
  EXPECT_EQ(op_name(OpCode::kRelu0To1), "RELU_0_TO_1");
  EXPECT_EQ(op_name(OpCode{206}), "STABLEHLO_COMPOSITE");
  EXPECT_EQ(op_name(OpCode{208}), "STABLEHLO_CBRT");
  EXPECT_EQ(op_name(OpCode{999}), "operator 999");
  EXPECT_EQ(op_name(OpCode{-1}), "operator -1");
  std::set<std::string> names;
  for (int c = 0; c <= 208; ++c) names.insert(op_name(OpCode{c}));
  EXPECT_EQ(names.size(), 209u);
}

TEST(Op, FusedActivation) {
  EXPECT_EQ(fused_activation(ConvAttrs{.activation = Activation::kRelu6}), Activation::kRelu6);
  EXPECT_EQ(fused_activation(ConcatAttrs{1, Activation::kRelu}), Activation::kRelu);
  EXPECT_EQ(fused_activation(SoftmaxAttrs{1.0f}), Activation::kNone);
  EXPECT_EQ(fused_activation(NoAttrs{}), Activation::kNone);
}

TEST(Model, QuantizeAndBack) {
  const Quant q{.scale = {0.5f, 0.25f}, .zero_point = {-1, 3}, .axis = 1};
  const Array codes =
      quantize(Array::of<float>({2, 2}, {1.0f, 1.0f, 1000.0f, -1000.0f}), q, DType::kInt8);
  EXPECT_EQ(std::vector<int>(codes.span<std::int8_t>().begin(), codes.span<std::int8_t>().end()),
            (std::vector<int>{1, 7, 127, -128}));
  const Array real = dequantize(codes, q);
  EXPECT_EQ(std::vector<float>(real.span<float>().begin(), real.span<float>().end()),
            (std::vector<float>{1.0f, 1.0f, 64.0f, -32.75f}));
}

TEST(Model, PackedCodes) {
  Array codes = Array::zeros(DType::kInt4, {3});
  codes.mutable_data()[0] = std::byte{0x81};  // 1, -8
  codes.mutable_data()[1] = std::byte{0x07};
  const Array real = dequantize(codes, Quant{.scale = {2.0f}, .zero_point = {0}});
  EXPECT_EQ(std::vector<float>(real.span<float>().begin(), real.span<float>().end()),
            (std::vector<float>{2.0f, -16.0f, 14.0f}));
}

TEST(Array, Halves) {
  for (int h = 0; h < 0x10000; ++h) {
    const float v = float_from_half(static_cast<std::uint16_t>(h));
    if (v == v) {
      EXPECT_EQ(half_from_float(v), h);
    }
  }
  EXPECT_EQ(half_from_float(65519.0f), 0x7BFF);
  EXPECT_EQ(half_from_float(65520.0f), 0x7C00);
}

}  // namespace
}  // namespace litegap
