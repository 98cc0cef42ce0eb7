#include "oracle/depthwise.h"

#include "product_run.h"

namespace litegap::oracle {
namespace {

ProductCase random_window(Dice& dice, bool hybrid) {
  ProductCase c;
  c.op = OpCode::kDepthwiseConv2d;
  c.dialect = random_dialect(dice);
  c.activation = random_activation(dice);
  c.n = dice.range(1, 2);
  c.padding = dice.one_in(2) ? Padding::kSame : Padding::kValid;
  c.kh = dice.range(1, 5);
  c.kw = dice.range(1, 5);
  c.stride_h = dice.range(1, dice.one_in(2) ? 1 : 3);
  c.stride_w = dice.range(1, dice.one_in(2) ? 1 : 3);
  c.dilation_h = dice.one_in(4) ? 2 : 1;
  c.dilation_w = dice.one_in(4) ? 2 : 1;
  c.h = dice.range((c.kh - 1) * c.dilation_h + 1, 14);
  c.w = dice.range((c.kw - 1) * c.dilation_w + 1, dice.one_in(4) ? 80 : 14);
  c.c = dice.range(dice.one_in(4) || hybrid ? 1 : 2, dice.one_in(2) ? 70 : 9);
  c.o = c.c * (dice.one_in(3) ? dice.range(2, 8) : 1);
  c.constant = !dice.one_in(6);
  return c;
}

std::size_t inputs_of(const ProductCase& c) {
  return static_cast<std::size_t>(c.n * c.h * c.w * c.c);
}
std::size_t weights_of(const ProductCase& c) { return static_cast<std::size_t>(c.kh * c.kw * c.o); }

TEST(DepthwiseConv2d, IntegersEqualTheJudge) {
  for (int seed = 0; seed < repetitions(1000); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_window(dice, false);
    c.type = random_type(dice);
    fill_integer(c, dice, inputs_of(c), weights_of(c), static_cast<std::size_t>(c.kh * c.kw));
    if (c.x_scale * *std::max_element(c.w_scale.begin(), c.w_scale.end()) / c.y_scale >= 256.0f)
      continue;
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, prepare_depthwise_conv_2d, depthwise_products))
        << "seed " << seed;
  }
}

TEST(DepthwiseConv2d, FloatsEqualTheJudge) {
  for (int seed = 0; seed < repetitions(500); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_window(dice, false);
    // The built-in kernel starts from the bias: the recorded cases judge it.
    if (c.dialect == Dialect::kBuiltin || (c.dialect == Dialect::kXnnpack && !c.constant))
      c.dialect = Dialect::kReference;
    fill_real(c, dice, inputs_of(c), weights_of(c), true);
    const bool columns = c.dialect == Dialect::kXnnpack && c.o == c.c && c.c > 1;
    ASSERT_NO_FATAL_FAILURE(expect_floats(
        c, prepare_depthwise_conv_2d, columns ? depthwise_products_by_column : depthwise_products))
        << "seed " << seed;
  }
}

// XNNPACK's 3 x 3 windows that move one cell to the right: narrow images, every rest of channels.
TEST(DepthwiseConv2d, NeighboursEqualTheJudge) {
  for (int seed = 0; seed < repetitions(400); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_window(dice, false);
    c.dialect = Dialect::kXnnpack;
    c.constant = true;
    c.kh = c.kw = 3;
    c.stride_h = dice.one_in(3) ? 2 : 1;
    c.dilation_h = dice.one_in(3) ? 2 : 1;
    c.stride_w = 1;
    c.dilation_w = dice.one_in(3) ? dice.range(2, 3) : 1;
    const bool same = c.padding == Padding::kSame;
    c.h = dice.range(same ? 1 : 5, 9);
    c.w = dice.range(same ? 1 : 2 * c.dilation_w + 1, 12);
    c.c = c.o = dice.range(2, 50);
    fill_real(c, dice, inputs_of(c), weights_of(c), true);
    ASSERT_NO_FATAL_FAILURE(
        expect_floats(c, prepare_depthwise_conv_2d, depthwise_products_by_column))
        << "seed " << seed;
  }
}

TEST(DepthwiseConv2d, HybridEqualsTheJudge) {
  for (int seed = 0; seed < repetitions(400); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_window(dice, true);
    c.hybrid = true;
    fill_real(c, dice, inputs_of(c), weights_of(c), true);
    ASSERT_NO_FATAL_FAILURE(expect_floats(c, prepare_depthwise_conv_2d, depthwise_products))
        << "seed " << seed;
  }
}

TEST(DepthwiseConv2d, RefusesOneHybridScaleForManyChannels) {
  Dice dice(1);
  ProductCase c = random_window(dice, true);
  c.c = c.o = 4;
  c.hybrid = true;
  fill_real(c, dice, inputs_of(c), weights_of(c), false);
  ProductOperands operands(c);
  OpSpec spec = operands.spec();
  EXPECT_THROW(prepare_depthwise_conv_2d(spec), Error);
}

}  // namespace
}  // namespace litegap::oracle
