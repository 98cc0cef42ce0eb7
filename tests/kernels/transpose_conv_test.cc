#include "oracle/transpose_conv.h"

#include "product_run.h"

namespace litegap::oracle {
namespace {

ProductCase random_transpose(Dice& dice) {
  ProductCase c;
  c.op = OpCode::kTransposeConv;
  c.dialect = random_dialect(dice);
  c.activation = random_activation(dice);
  c.n = dice.range(1, 2);
  c.padding = dice.one_in(2) ? Padding::kSame : Padding::kValid;
  c.kh = dice.range(1, 5);
  c.kw = dice.range(1, 5);
  c.stride_h = dice.range(1, std::min(3, c.kh));
  c.stride_w = dice.range(1, std::min(3, c.kw));
  c.h = dice.range(1, 7);
  c.w = dice.range(1, 7);
  c.c = dice.range(1, 20);
  c.o = dice.range(1, 20);
  const bool same = c.padding == Padding::kSame;
  c.out_h = same ? c.h * c.stride_h - dice.range(0, c.stride_h - 1) : (c.h - 1) * c.stride_h + c.kh;
  c.out_w = same ? c.w * c.stride_w - dice.range(0, c.stride_w - 1) : (c.w - 1) * c.stride_w + c.kw;
  return c;
}

std::size_t inputs_of(const ProductCase& c) {
  return static_cast<std::size_t>(c.n * c.h * c.w * c.c);
}
std::size_t weights_of(const ProductCase& c) {
  return static_cast<std::size_t>(c.kh * c.kw * c.c * c.o);
}

TEST(TransposeConv, IntegersEqualTheJudge) {
  for (int seed = 0; seed < repetitions(800); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_transpose(dice);
    c.type = random_type(dice);
    fill_integer(c, dice, inputs_of(c), weights_of(c), static_cast<std::size_t>(c.kh * c.kw * c.c));
    if (c.x_scale * *std::max_element(c.w_scale.begin(), c.w_scale.end()) / c.y_scale >= 256.0f)
      continue;
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, prepare_transpose_conv, transpose_conv_products))
        << "seed " << seed;
  }
}

TEST(TransposeConv, FloatsEqualTheJudge) {
  for (int seed = 0; seed < repetitions(400); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_transpose(dice);
    if (c.dialect == Dialect::kBuiltin)
      c.dialect = Dialect::kReference;  // the recorded cases judge it
    fill_real(c, dice, inputs_of(c), weights_of(c), true);
    const bool by_tap = c.dialect == Dialect::kXnnpack;
    ASSERT_NO_FATAL_FAILURE(
        expect_floats(c, prepare_transpose_conv,
                      by_tap ? transpose_conv_products_by_tap : transpose_conv_products))
        << "seed " << seed;
  }
}

TEST(TransposeConv, HybridEqualsTheJudge) {
  for (int seed = 0; seed < repetitions(300); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_transpose(dice);
    c.hybrid = true;
    fill_real(c, dice, inputs_of(c), weights_of(c), dice.one_in(2));
    ASSERT_NO_FATAL_FAILURE(expect_floats(c, prepare_transpose_conv, transpose_conv_products))
        << "seed " << seed;
  }
}

}  // namespace
}  // namespace litegap::oracle
