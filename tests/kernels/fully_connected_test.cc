#include "oracle/fully_connected.h"

#include "product_run.h"

namespace litegap::oracle {
namespace {

ProductCase random_rows(Dice& dice) {
  ProductCase c;
  c.op = OpCode::kFullyConnected;
  c.dialect = random_dialect(dice);
  c.activation = random_activation(dice);
  c.n = dice.one_in(2) ? 1 : dice.range(1, 30);
  c.c = dice.range(1, dice.one_in(3) ? 600 : 40);
  c.o = dice.range(1, dice.one_in(3) ? 150 : 20);
  c.constant = !dice.one_in(6);
  return c;
}

std::size_t inputs_of(const ProductCase& c) { return static_cast<std::size_t>(c.n * c.c); }
std::size_t weights_of(const ProductCase& c) { return static_cast<std::size_t>(c.o * c.c); }

TEST(FullyConnected, IntegersEqualTheJudge) {
  for (int seed = 0; seed < repetitions(1000); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_rows(dice);
    c.type = random_type(dice);
    c.bias32 = c.type == DType::kInt16 && dice.one_in(3);
    fill_integer(c, dice, inputs_of(c), weights_of(c), static_cast<std::size_t>(c.c));
    if (c.x_scale * *std::max_element(c.w_scale.begin(), c.w_scale.end()) / c.y_scale >= 256.0f)
      continue;
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, prepare_fully_connected, fully_connected_products))
        << "seed " << seed;
  }
}

TEST(FullyConnected, FloatsEqualTheJudge) {
  for (int seed = 0; seed < repetitions(500); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_rows(dice);
    fill_real(c, dice, inputs_of(c), weights_of(c), true);
    ASSERT_NO_FATAL_FAILURE(expect_floats(c, prepare_fully_connected, fully_connected_products))
        << "seed " << seed;
  }
}

TEST(FullyConnected, HybridEqualsTheJudge) {
  for (int seed = 0; seed < repetitions(500); ++seed) {
    Dice dice(static_cast<unsigned>(seed));
    ProductCase c = random_rows(dice);
    c.hybrid = true;
    c.asymmetric = dice.one_in(2);
    fill_real(c, dice, inputs_of(c), weights_of(c), dice.one_in(2));
    if (dice.one_in(4)) use_one_sign(c, dice);
    ASSERT_NO_FATAL_FAILURE(expect_floats(c, prepare_fully_connected, fully_connected_products))
        << "seed " << seed;
  }
}

}  // namespace
}  // namespace litegap::oracle
