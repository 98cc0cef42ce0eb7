// FULLY_CONNECTED by weights in blocks, and by sparse weights: against the judge and by hand.
#include "grid_run.h"
#include "oracle/stablehlo.h"

namespace litegap::oracle {
namespace {

Array packed4(const Shape& shape, const std::vector<std::int32_t>& codes) {
  Array a = Array::zeros(DType::kInt4, shape);
  for (std::size_t i = 0; i < codes.size(); ++i)
    a.mutable_data()[i / 2] |= static_cast<std::byte>((codes[i] & 15) << (4 * (i % 2)));
  return a;
}

Array halves(const Shape& shape, const std::vector<float>& values) {
  Array a = Array::zeros(DType::kFloat16, shape);
  for (std::size_t i = 0; i < std::min(a.elements(), values.size()); ++i)
    reinterpret_cast<std::uint16_t*>(a.mutable_data())[i] = half_from_float(values[i]);
  return a;
}

Quant blocks_of(std::int32_t block) {
  Quant q;
  q.block_size = block;
  q.block_scales = 0;
  return q;
}

OpCase block_case(const BlockCase& b, Activation activation = Activation::kNone) {
  FullyConnectedAttrs a;
  a.activation = activation;
  OpCase c(OpCode::kFullyConnected, a);
  c.add(Array::of<float>({b.rows, b.depth}, b.x));
  c.constant(packed4({b.channels, b.depth}, b.weights), blocks_of(b.block));
  c.block_scales(halves({b.channels, b.depth / b.block}, b.scale));
  if (!b.bias.empty()) c.constant(Array::of<float>({b.channels}, b.bias));
  return c;
}

BlockCase random_blocks(Draw& draw) {
  BlockCase b;
  b.block = 1 << draw.in(2, 7);
  b.depth = b.block * draw.in(1, b.block < 16 ? 12 : 4);
  b.rows = draw.in(1, 4);
  b.channels = draw.in(1, 20);
  for (std::int32_t i = 0; i < b.rows * b.depth; ++i) b.x.push_back(draw.real(-3, 5));
  if (draw.one_in(4)) std::fill(b.x.begin(), b.x.begin() + b.depth, 0.0f);
  for (std::int32_t i = 0; i < b.channels * b.depth; ++i) b.weights.push_back(draw.in(-8, 7));
  for (std::int32_t i = 0; i < b.channels * b.depth / b.block; ++i)
    b.scale.push_back(float_from_half(half_from_float(draw.real(0.01f, 0.2f))));
  if (!draw.one_in(3)) {
    for (std::int32_t i = 0; i < b.channels; ++i) b.bias.push_back(draw.real(-2, 2));
  }
  return b;
}

void expect_bits(const Array& got, const std::vector<float>& want) {
  ASSERT_EQ(got.elements(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) ASSERT_EQ(got.span<float>()[i], want[i]) << i;
}

TEST(Blockwise, EveryDialectEqualsTheJudge) {
  for (int seed = 0; seed < rounds(400); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const BlockCase b = random_blocks(draw);
    for (const Dialect d : kAllDialects) {
      OpCase c = block_case(b);
      ASSERT_NO_FATAL_FAILURE(expect_bits(c.run(d)[0], blockwise_product(b, d)))
          << seed << " " << dialect_name(d);
    }
  }
}

// Two blocks of 16 ones times 3 and -2, scales 0.5 and 0.25, four equal channels; x is 1 in the
// first block and 0 in the second.  Codes 127 and -128 of scale 1/255, exactly: 16 * 3 * 0.5 +
// bias.
BlockCase by_hand() {
  BlockCase b;
  b.rows = 1;
  b.depth = 32;
  b.channels = 4;
  b.block = 16;
  b.x.assign(32, 0.0f);
  std::fill(b.x.begin(), b.x.begin() + 16, 1.0f);
  for (int c = 0; c < 4; ++c) {
    b.weights.insert(b.weights.end(), 16, 3);
    b.weights.insert(b.weights.end(), 16, -2);
    b.scale.insert(b.scale.end(), {0.5f, 0.25f});
  }
  b.bias.assign(4, -100.0f);
  return b;
}

TEST(Blockwise, ByHand) {
  OpCase c = block_case(by_hand());
  EXPECT_NEAR(c.run(Dialect::kBuiltin)[0].span<float>()[3], 24.0f - 100.0f, 1e-4f);
  // The reference kernel has no scale: the bias is all that is left.
  EXPECT_EQ(c.run(Dialect::kReference)[0].span<float>()[3], -100.0f);
}

TEST(Blockwise, TheBuiltInFormLeavesTheActivationOut) {
  OpCase c = block_case(by_hand(), Activation::kRelu);
  EXPECT_LT(c.run(Dialect::kBuiltin)[0].span<float>()[0], 0.0f);
  EXPECT_EQ(c.run(Dialect::kReference)[0].span<float>()[0], 0.0f);
  BlockCase wide = by_hand();  // one block of 32: XNNPACK's
  wide.block = 32;
  wide.scale.assign(4, 0.5f);
  OpCase x = block_case(wide, Activation::kRelu);
  EXPECT_EQ(x.run(Dialect::kXnnpack)[0].span<float>()[0], 0.0f);
}

TEST(Blockwise, WhatDoesNotFitIsRefused) {
  BlockCase b = by_hand();
  b.block = 12;
  b.scale.resize(8);
  OpCase odd = block_case(b);
  EXPECT_NE(refusal(odd, Dialect::kBuiltin).find("are not blocks of 12"), std::string::npos);
  b = by_hand();
  b.bias.clear();
  OpCase many = block_case(b);
  many.block_scales(halves({4, 3}, std::vector<float>(12, 1.0f)));
  EXPECT_NE(refusal(many, Dialect::kBuiltin).find("expected 8 scales"), std::string::npos);
}

TEST(Blockwise, XnnpackRefusesScalesThatAreNotPositive) {
  BlockCase b = by_hand();
  b.block = 32;
  b.scale = {0.5f, 0.5f, 0.0f, 0.5f};
  OpCase c = block_case(b);
  EXPECT_NE(refusal(c, Dialect::kXnnpack).find("XNNPACK cannot run it"), std::string::npos);
  EXPECT_EQ(refusal(c, Dialect::kBuiltin), "");
}

TEST(Blockwise, EmbeddingLookup) {  // [[1 2 3 -8] [4 5 6 7]], blocks of 2
  OpCase c(OpCode::kEmbeddingLookup, NoAttrs{});
  c.add(Array::of<std::int32_t>({3}, {1, 0, 1}));
  c.constant(packed4({2, 4}, {1, 2, 3, -8, 4, 5, 6, 7}), blocks_of(2));
  c.block_scales(halves({2, 2}, {0.5f, 1, 2, 0.25f})).output(DType::kFloat32);
  expect_grid(c.run(Dialect::kReference)[0],
              Grid{{3, 4}, {8, 10, 1.5, 1.75, 0.5, 1, 3, -8, 8, 10, 1.5, 1.75}});
}

// Small 4-bit layers have no built-in form of their own: the option decides, -8 is allowed.
TEST(FourBits, SmallLayersAreComputedAsEightBits) {
  for (const bool asymmetric : {false, true}) {
    FullyConnectedAttrs a;
    a.asymmetric_quantize_inputs = asymmetric;
    OpCase c(OpCode::kFullyConnected, a);
    c.add(Array::of<float>({1, 2}, {1, 0.25f}));
    c.constant(packed4({1, 2}, {-8, 4}), quant_of(0.5f, 0));
    // Codes 127 and 32 of 1/127, or 255 and 64 above the zero point of 1/255: -8 + 4/4, nearly.
    const double want =
        asymmetric ? 0.5 * (-8 * 255 + 4 * 64) / 255 : 0.5 * (-8 * 127 + 4 * 32) / 127;
    EXPECT_NEAR(static_cast<double>(c.run(Dialect::kBuiltin)[0].span<float>()[0]), want, 1e-6);
  }
}

// ---- sparse weights
BlockCase random_sparse(Draw& draw) {
  BlockCase b;
  b.block = 16;
  b.depth = 16 * draw.in(1, 6);
  b.rows = draw.in(1, 4);
  b.channels = draw.in(1, 12);
  for (std::int32_t i = 0; i < b.rows * b.depth; ++i) b.x.push_back(draw.real(-3, 5));
  for (std::int32_t i = 0; i < b.channels * b.depth / 16; ++i) {
    const bool left_out = draw.one_in(2);
    for (int k = 0; k < 16; ++k) b.weights.push_back(left_out ? 0 : draw.in(-128, 127));
  }
  b.scale.assign(draw.one_in(2) ? 1 : static_cast<std::size_t>(b.channels), 0);
  for (float& s : b.scale) s = draw.real(0.001f, 0.02f);
  if (!draw.one_in(3)) {
    for (std::int32_t i = 0; i < b.channels; ++i) b.bias.push_back(draw.real(-2, 2));
  }
  return b;
}

Array bytes8(const Shape& shape, const std::vector<std::int32_t>& codes) {
  return Array::of<std::int8_t>(shape, {codes.begin(), codes.end()});
}

Quant scales_of(const std::vector<float>& scale) {
  Quant q;
  q.scale = scale;
  q.zero_point.assign(scale.size(), 0);
  return q;
}

TEST(Sparse, FloatInputEqualsTheJudge) {
  for (int seed = 0; seed < rounds(300); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const BlockCase b = random_sparse(draw);
    FullyConnectedAttrs a;
    a.asymmetric_quantize_inputs = draw.one_in(2);
    OpCase c(OpCode::kFullyConnected, a);
    c.add(Array::of<float>({b.rows, b.depth}, b.x));
    c.constant(bytes8({b.channels, b.depth}, b.weights), scales_of(b.scale)).sparse(16);
    if (!b.bias.empty()) c.constant(Array::of<float>({b.channels}, b.bias));
    ASSERT_NO_FATAL_FAILURE(
        expect_bits(c.run(draw.dialect())[0], sparse_product(b, a.asymmetric_quantize_inputs)))
        << seed;
  }
}

TEST(Sparse, Int8InputRoundsDouble) {
  for (int seed = 0; seed < rounds(300); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const BlockCase b = random_sparse(draw);
    std::vector<std::int32_t> x;
    for (std::int32_t i = 0; i < b.rows * b.depth; ++i) x.push_back(draw.in(-128, 127));
    const std::int32_t zx = draw.in(-128, 127), zy = draw.in(-128, 127);
    const float sx = 0.05f, sy = draw.real(0.05f, 0.5f);
    OpCase c(OpCode::kFullyConnected, FullyConnectedAttrs{});
    c.add(bytes8({b.rows, b.depth}, x), quant_of(sx, zx));
    c.constant(bytes8({b.channels, b.depth}, b.weights), scales_of(b.scale)).sparse(16);
    c.output(DType::kInt8, quant_of(sy, zy));
    const Array y = c.run(draw.dialect())[0];
    for (std::int32_t r = 0; r < b.rows; ++r) {
      for (std::int32_t o = 0; o < b.channels; ++o) {
        std::int64_t sum = 0;
        for (std::int32_t k = 0; k < b.depth; ++k)
          sum += (x[static_cast<std::size_t>(r * b.depth + k)] - zx) *
                 b.weights[static_cast<std::size_t>(o * b.depth + k)];
        const float ws = b.scale[b.scale.size() == 1 ? 0 : static_cast<std::size_t>(o)];
        const Factor f =
            factor(static_cast<double>(sx) * static_cast<double>(ws) / static_cast<double>(sy));
        const std::int64_t want = std::clamp<std::int64_t>(times_away(sum, f) + zy, -128, 127);
        ASSERT_EQ(y.span<std::int8_t>()[static_cast<std::size_t>(r * b.channels + o)], want)
            << seed;
      }
    }
  }
}

TEST(Sparse, ByHand) {  // 16 ones, 16 zeros that are not stored: 16 / 2 + 1
  OpCase c(OpCode::kFullyConnected, FullyConnectedAttrs{});
  std::vector<std::int32_t> w(32, 0);
  std::fill(w.begin(), w.begin() + 16, 1);
  c.add(Array::of<float>({1, 32}, std::vector<float>(32, 1.0f)));
  c.constant(bytes8({1, 32}, w), quant_of(0.5f, 0)).sparse(16);
  c.constant(Array::of<float>({1}, {1}));
  for (const Dialect d : kAllDialects) EXPECT_NEAR(c.run(d)[0].span<float>()[0], 9.0f, 1e-5f);
}

TEST(Sparse, OtherLayoutsAreRefused) {
  OpCase c(OpCode::kFullyConnected, FullyConnectedAttrs{});
  c.add(Array::of<float>({1, 16}, std::vector<float>(16, 1.0f)));
  c.constant(bytes8({1, 16}, std::vector<std::int32_t>(16, 1)), quant_of(0.5f, 0)).sparse(4);
  EXPECT_NE(refusal(c, Dialect::kBuiltin).find("expected blocks of 1 x 16"), std::string::npos);
  OpCase f(OpCode::kFullyConnected, FullyConnectedAttrs{});
  f.add(Array::of<float>({1, 16}, std::vector<float>(16, 1.0f)));
  f.constant(Array::of<float>({1, 16}, std::vector<float>(16, 0.25f))).sparse(16);
  EXPECT_EQ(refusal(f, Dialect::kReference), "");
  EXPECT_NE(refusal(f, Dialect::kXnnpack).find("1 x 4"), std::string::npos);
}

}  // namespace
}  // namespace litegap::oracle
