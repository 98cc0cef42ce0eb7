// Generators of random numbers.  The words of Philox and Threefry are those that their authors
// publish as known answers (Random123, kat_vectors); the rest follows from them by hand.
#include <set>

#include "grid_run.h"

namespace litegap::oracle {
namespace {

std::vector<std::uint32_t> bits(std::int8_t algorithm, const std::vector<std::uint64_t>& state,
                                std::int32_t words, std::vector<std::uint64_t>* after = nullptr) {
  OpCase c(OpCode::kStablehloRngBitGenerator, RngBitGeneratorAttrs{algorithm}, 2);
  c.add(Array::of<std::uint64_t>({static_cast<std::int32_t>(state.size())}, state));
  c.types({DType::kUint64, DType::kUint32}).shape({words});
  const auto out = c.run(Dialect::kBuiltin);
  if (after != nullptr) {
    const auto s = out[0].span<std::uint64_t>();
    after->assign(s.begin(), s.end());
  }
  const auto v = out[1].span<std::uint32_t>();
  return {v.begin(), v.end()};
}

TEST(Random, PhiloxHasTheKnownAnswers) {
  using Words = std::vector<std::uint32_t>;
  EXPECT_EQ(bits(1, {0, 0, 0}, 4), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint64_t all = ~std::uint64_t{0};
  EXPECT_EQ(bits(1, {all, all, all}, 4), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  // Key a4093822 299f31d0, counter 243f6a88 85a308d3 13198a2e 03707344, low words first.
  EXPECT_EQ(bits(0, {0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e}, 4),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, ThreefryHasTheKnownAnswers) {
  using Words = std::vector<std::uint32_t>;
  EXPECT_EQ(bits(2, {0, 0}, 2), (Words{0x6b200159, 0x99ba4efe}));
  const std::uint64_t all = ~std::uint64_t{0};
  EXPECT_EQ(bits(2, {all, all}, 2), (Words{0x1cb996fc, 0xbb002be7}));
  EXPECT_EQ(bits(2, {0x0370734413198a2e, 0x85a308d3243f6a88}, 2), (Words{0xc4923a9c, 0x483df7a0}));
}

TEST(Random, TheCounterGoesOn) {
  std::vector<std::uint64_t> after;
  const auto six = bits(1, {7, 0xfffffffe, 1}, 10, &after);  // three blocks of four words
  EXPECT_EQ(after, (std::vector<std::uint64_t>{7, 0x100000001, 1}));
  const auto next = bits(1, {7, 0xffffffff, 1}, 4);
  EXPECT_TRUE(std::equal(next.begin(), next.end(), six.begin() + 4));
  EXPECT_EQ(bits(1, {5, 9}, 4), bits(1, {5, 9, 5}, 4));  // a short state repeats its key
}

Array drawn(OpCode op, const std::vector<std::int64_t>& shape, RandomAttrs seeds) {
  OpCase c(op, seeds);
  c.constant(integers(shape)).output(DType::kFloat32);
  return c.run(Dialect::kXnnpack)[0];
}

TEST(Random, UniformIsTheFractionOfTheWords) {
  // Seeds: the key, and the upper half of the counter, in 32 bits each.
  const auto words = bits(1, {0x23456789, 0, ~std::uint64_t{2}}, 6);
  const Array y = drawn(OpCode::kRandomUniform, {2, 3}, {0x123456789, -3});
  ASSERT_EQ(y.shape(), (Shape{2, 3}));
  for (std::size_t i = 0; i < 6; ++i)
    EXPECT_EQ(static_cast<double>(y.span<float>()[i]),
              static_cast<double>(words[i] & 0x7FFFFF) / 8388608.0);
}

TEST(Random, NormalHasTheRadiusAndTheAngleOfTheWords) {
  const auto words = bits(1, {1, 0, 2}, 8);
  const Array y = drawn(OpCode::kRandomStandardNormal, {7}, {1, 2});
  for (std::size_t i = 0; i < 7; ++i) {
    const double u = std::max(1e-7, static_cast<double>(words[i & ~1u] & 0x7FFFFF) / 8388608.0);
    const double angle =
        6.283185307179586 * static_cast<double>(words[i | 1u] & 0x7FFFFF) / 8388608.0;
    const double want =
        std::sqrt(-2 * std::log(u)) * (i % 2 == 0 ? std::sin(angle) : std::cos(angle));
    EXPECT_NEAR(static_cast<double>(y.span<float>()[i]), want, 3e-6) << i;
  }
}

TEST(Random, MomentsAreThoseOfTheDistributions) {
  const Array u = drawn(OpCode::kRandomUniform, {40000}, {3, 4});
  const Array n = drawn(OpCode::kRandomStandardNormal, {40000}, {3, 4});
  double mean = 0, square = 0;
  for (const float v : u.span<float>()) {
    ASSERT_TRUE(v >= 0 && v < 1);
    mean += static_cast<double>(v) / 40000;
  }
  EXPECT_NEAR(mean, 0.5, 0.01);
  mean = 0;
  for (const float v : n.span<float>()) {
    mean += static_cast<double>(v) / 40000;
    square += static_cast<double>(v) * static_cast<double>(v) / 40000;
  }
  EXPECT_NEAR(mean, 0, 0.03);
  EXPECT_NEAR(square, 1, 0.03);
}

TEST(Random, MultinomialDrawsInProportion) {
  OpCase c(OpCode::kMultinomial, RandomAttrs{1, 2});
  const float two = std::log(2.0f), none = -std::numeric_limits<float>::infinity();
  c.add(Array::of<float>({2, 3}, {0, none, two, 1, 1, 1}));
  c.constant(Array::of<std::int32_t>({}, {6000})).output(DType::kInt64);
  const Array y = c.run(Dialect::kReference)[0];
  ASSERT_EQ(y.shape(), (Shape{2, 6000}));
  double count[2][3] = {};
  for (std::size_t i = 0; i < 12000; ++i) ++count[i / 6000][y.span<std::int64_t>()[i]];
  EXPECT_NEAR(count[0][0], 2000, 150);
  EXPECT_EQ(count[0][1], 0);  // a logit that is not finite
  EXPECT_NEAR(count[0][2], 4000, 150);
  for (const double n : count[1]) EXPECT_NEAR(n, 2000, 150);
}

TEST(Random, WithoutSeedsThereIsNothingToReproduce) {
  for (const OpCode op : {OpCode::kRandomUniform, OpCode::kRandomStandardNormal}) {
    OpCase c(op, RandomAttrs{});
    c.constant(integers({3})).output(DType::kFloat32);
    EXPECT_NE(refusal(c, Dialect::kBuiltin).find("both seeds are 0"), std::string::npos);
  }
  OpCase c(OpCode::kMultinomial, RandomAttrs{});
  c.add(Array::of<float>({1, 2}, {0, 0})).constant(Array::of<std::int32_t>({}, {1}));
  c.output(DType::kInt64);
  EXPECT_NE(refusal(c, Dialect::kBuiltin).find("both seeds are 0"), std::string::npos);
}

TEST(Random, SeedsMatter) {
  std::set<float> first;
  for (const RandomAttrs& seeds :
       {RandomAttrs{1, 0}, RandomAttrs{0, 1}, RandomAttrs{1, 1}, RandomAttrs{-1, 0}})
    first.insert(drawn(OpCode::kRandomUniform, {1}, seeds).span<float>()[0]);
  EXPECT_EQ(first.size(), 4u);
}

}  // namespace
}  // namespace litegap::oracle
