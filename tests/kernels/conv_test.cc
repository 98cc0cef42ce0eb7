#include "oracle/conv.h"

#include "product_run.h"

namespace litegap::oracle {
namespace {

ProductCase random_window(Dice& dice) {
  ProductCase c;
  c.dialect = random_dialect(dice);
  c.activation = random_activation(dice);
  c.n = dice.range(1, 3);
  c.padding = dice.one_in(2) ? Padding::kSame : Padding::kValid;
  const bool pointwise = dice.one_in(3);
  c.kh = pointwise ? 1 : dice.range(1, 4);
  c.kw = pointwise ? 1 : dice.range(1, 4);
  c.stride_h = dice.range(1, dice.one_in(2) ? 1 : 3);
  c.stride_w = dice.range(1, dice.one_in(2) ? 1 : 3);
  c.dilation_h = dice.one_in(4) ? 2 : 1;
  c.dilation_w = dice.one_in(4) ? 3 : 1;
  c.h = dice.range((c.kh - 1) * c.dilation_h + 1, 12);
  c.w = dice.range((c.kw - 1) * c.dilation_w + 1, 12);
  c.groups = dice.one_in(4) ? dice.range(2, 3) : 1;
  c.c = c.groups * dice.range(1, dice.one_in(3) ? 40 : 9);
  c.o = c.groups * dice.range(1, dice.one_in(3) ? 70 : 20);
  c.constant = !dice.one_in(6);
  return c;
}

std::size_t inputs_of(const ProductCase& c) {
  return static_cast<std::size_t>(c.n * c.h * c.w * c.c);
}
std::size_t depth_of(const ProductCase& c) {
  return static_cast<std::size_t>(c.kh * c.kw * (c.c / c.groups));
}

TEST(Conv2d, IntegersEqualTheJudge) {
  for (int seed = 0; seed < repetitions(1200); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_window(dice);
    c.type = random_type(dice);
    c.bias32 = c.type == DType::kInt16 && dice.one_in(3);
    fill_integer(c, dice, inputs_of(c), depth_of(c) * static_cast<std::size_t>(c.o), depth_of(c));
    if (c.x_scale * *std::max_element(c.w_scale.begin(), c.w_scale.end()) / c.y_scale >= 256.0f)
      continue;
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, prepare_conv_2d, conv_products)) << "seed " << seed;
  }
}

TEST(Conv2d, DeepSumsOfSixteenBits) {  // more products than a 32-bit sum holds
  for (int seed = 0; seed < repetitions(24); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c;
    c.type = DType::kInt16;
    c.h = c.w = 3;
    c.kh = c.kw = dice.range(1, 3);
    c.c = dice.range(500, 1100);
    c.o = dice.range(1, 20);
    fill_integer(c, dice, inputs_of(c), depth_of(c) * static_cast<std::size_t>(c.o), depth_of(c));
    if (dice.one_in(2))
      std::fill(c.x.begin(), c.x.end(), -32768),
          std::fill(c.weights.begin(), c.weights.end(), -128);
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, prepare_conv_2d, conv_products)) << "seed " << seed;
  }
}

TEST(Conv2d, StripsOfLargeImages) {
  for (int seed = 0; seed < repetitions(16); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_window(dice);
    c.h = dice.range(30, 70);
    c.w = dice.range(60, 140);
    c.c = c.groups * dice.range(1, 16);
    c.o = c.groups * dice.range(1, 8);
    c.type = random_type(dice);
    fill_integer(c, dice, inputs_of(c), depth_of(c) * static_cast<std::size_t>(c.o), depth_of(c));
    if (c.x_scale * *std::max_element(c.w_scale.begin(), c.w_scale.end()) / c.y_scale >= 256.0f)
      continue;
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, prepare_conv_2d, conv_products)) << "seed " << seed;
  }
}

TEST(Conv2d, FloatsEqualTheJudge) {
  for (int seed = 0; seed < repetitions(500); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_window(dice);
    fill_real(c, dice, inputs_of(c), depth_of(c) * static_cast<std::size_t>(c.o), true);
    ASSERT_NO_FATAL_FAILURE(expect_floats(c, prepare_conv_2d, conv_products)) << "seed " << seed;
  }
}

TEST(Conv2d, FromOneChannelToFewEqualsTheJudge) {
  for (int seed = 0; seed < repetitions(400); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_window(dice);
    c.groups = c.c = 1;
    c.o = dice.range(1, 17);
    c.stride_w = dice.range(1, 4);
    c.h = dice.range((c.kh - 1) * c.dilation_h + 1, dice.one_in(8) ? 200 : 20);
    c.w = (c.kw - 1) * c.dilation_w + dice.range(1, 40) * c.stride_w;
    fill_real(c, dice, inputs_of(c), depth_of(c) * static_cast<std::size_t>(c.o), true);
    ASSERT_NO_FATAL_FAILURE(expect_floats(c, prepare_conv_2d, conv_products)) << "seed " << seed;
  }
}

TEST(Conv2d, HybridEqualsTheJudge) {
  for (int seed = 0; seed < repetitions(500); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_window(dice);
    c.hybrid = true;
    const bool per_channel = c.groups > 1 || dice.one_in(2);
    fill_real(c, dice, inputs_of(c), depth_of(c) * static_cast<std::size_t>(c.o), per_channel);
    if (dice.one_in(4)) use_one_sign(c, dice);
    ASSERT_NO_FATAL_FAILURE(expect_floats(c, prepare_conv_2d, conv_products)) << "seed " << seed;
  }
}

std::string refusal(const ProductCase& c, const std::function<void(OpSpec&)>& spoil) {
  ProductOperands operands(c);
  OpSpec spec = operands.spec();
  spoil(spec);
  try {
    prepare_conv_2d(spec);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Conv2d, RefusesByName) {
  Dice dice(1);
  ProductCase c;
  c.h = c.w = 4;
  c.c = 2;
  c.o = 3;
  c.kh = c.kw = 3;
  fill_integer(c, dice, inputs_of(c), depth_of(c) * 3, depth_of(c));
  EXPECT_EQ(refusal(c, [](OpSpec&) {}), "");
  EXPECT_NE(refusal(c, [](OpSpec& s) { s.inputs[2].present = false; }).find("bias"),
            std::string::npos);
  EXPECT_NE(refusal(c,
                    [](OpSpec& s) {
                      s.inputs[0].shape = {1, 4, 4, 3};
                    })
                .find("multiple"),
            std::string::npos);
  EXPECT_NE(refusal(c,
                    [](OpSpec& s) {
                      s.inputs[0].shape = {1, 2, 2, 2};
                    })
                .find("smaller"),
            std::string::npos);
  EXPECT_NE(refusal(c,
                    [](OpSpec& s) {
                      s.inputs[0].shape = {4, 2};
                    })
                .find("dimensions"),
            std::string::npos);
  EXPECT_NE(refusal(c, [](OpSpec& s) { s.inputs[0].dtype = DType::kInt32; }).find("combination"),
            std::string::npos);
  const Quant none;
  EXPECT_NE(refusal(c, [&](OpSpec& s) { s.inputs[0].quant = &none; }).find("scale"),
            std::string::npos);
  EXPECT_NE(refusal(c, [&](OpSpec& s) { s.inputs[1].quant = &none; }).find("scale"),
            std::string::npos);
  EXPECT_NE(refusal(c, [&](OpSpec& s) { s.outputs[0].quant = &none; }).find("scale"),
            std::string::npos);
}

}  // namespace
}  // namespace litegap::oracle
