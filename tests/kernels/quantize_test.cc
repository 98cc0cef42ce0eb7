// QUANTIZE and DEQUANTIZE against the judge.
#include <bit>
#include <cmath>

#include "value_run.h"

namespace litegap::oracle {
namespace {

TEST(Quantize, FloatsEqualTheJudge) {
  for (int seed = 0; seed < rounds(2000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    Codes y = draw.codes(kCodeTypes[draw.in(0, 2)], {draw.in(1, 70)});
    std::vector<float> x;
    for (std::size_t i = 0; i < y.at.size(); ++i) {
      const float half = y.scale * (static_cast<float>(draw.in(-300, 300)) + 0.5f);
      x.push_back(draw.one_in(3)    ? half
                  : draw.one_in(12) ? draw.real(-3e38f, 3e38f)
                                    : draw.real(-200, 200));
    }
    const Dialect d = draw.dialect();
    OpCase c(OpCode::kQuantize, NoAttrs{});
    c.add(Array::of(y.shape, x));
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, y, d, quantize(x, y, d))) << seed;
  }
}

TEST(Quantize, CodesEqualTheJudge) {
  for (int seed = 0; seed < rounds(2000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const DType from = kCodeTypes[draw.in(0, 2)], to = kCodeTypes[draw.in(0, 2)];
    if (from == DType::kInt16 && to == DType::kUint8) continue;
    const Codes x = draw.codes(from, {draw.in(1, 100)});
    Codes y = draw.codes(to, {});
    y.shape = x.shape;
    const Dialect d = draw.dialect();
    OpCase c(OpCode::kQuantize, NoAttrs{});
    c.add(x.array(), x.quant());
    ASSERT_NO_FATAL_FAILURE(expect_codes(c, y, d, requantize(x, y, d))) << seed;
  }
}

TEST(Quantize, HugeFloatsAreTheLeastCodeExceptInXnnpack) {
  OpCase c(OpCode::kQuantize, NoAttrs{});
  c.add(Array::of<float>({8}, std::vector<float>(8, 1e30f)))
      .output(DType::kInt8, quant_of(0.5f, 3));
  EXPECT_EQ(c.run(Dialect::kReference)[0].span<std::int8_t>()[0], -128);
  EXPECT_EQ(c.run(Dialect::kBuiltin)[0].span<std::int8_t>()[0], -128);
  EXPECT_EQ(c.run(Dialect::kXnnpack)[0].span<std::int8_t>()[0], 127);
}

TEST(Quantize, RefusesPairsThatTheRuntimeDoesNotHave) {
  OpCase word(OpCode::kQuantize, NoAttrs{});
  word.add(Array::zeros(DType::kInt16, {2}), quant_of(1, 0)).output(DType::kUint8, quant_of(1, 0));
  EXPECT_NE(refusal(word, Dialect::kBuiltin).find("int16 to uint8"), std::string::npos);
  OpCase real(OpCode::kQuantize, NoAttrs{});
  real.add(Array::zeros(DType::kFloat32, {2})).output(DType::kInt32, quant_of(1, 0));
  EXPECT_NE(refusal(real, Dialect::kBuiltin).find("float32 to int32"), std::string::npos);
  OpCase none(OpCode::kQuantize, NoAttrs{});
  none.add(Array::zeros(DType::kFloat32, {2})).output(DType::kInt8, Quant{});
  EXPECT_NE(refusal(none, Dialect::kBuiltin).find("0 scales"), std::string::npos);
}

TEST(Dequantize, CodesEqualTheJudge) {
  for (int seed = 0; seed < rounds(2000); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const Codes x = draw.codes(kCodeTypes[draw.in(0, 2)], {draw.in(1, 70)});
    const Dialect d = draw.dialect();
    OpCase c(OpCode::kDequantize, NoAttrs{});
    c.add(x.array(), x.quant());
    const Array got = c.output(DType::kFloat32).run(d)[0];
    const std::vector<float> want = dequantize(x, d);
    for (std::size_t i = 0; i < want.size(); ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got.span<float>()[i]),
                std::bit_cast<std::uint32_t>(want[i]))
          << seed;
    }
  }
}

TEST(Dequantize, EachChannelHasItsScale) {
  Quant q;
  q.scale = {0.5f, 2.0f};
  q.zero_point = {1, -1};
  q.axis = 1;
  for (const bool known : {false, true}) {
    OpCase c(OpCode::kDequantize, NoAttrs{});
    const Array x = Array::of<std::int8_t>({2, 2}, {3, 3, -4, -4});
    known ? c.constant(x, q) : c.add(x, q);
    const Array y = c.output(DType::kFloat32).run(Dialect::kBuiltin)[0];
    const float want[] = {1, 8, -2.5f, -6};
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(y.span<float>()[i], want[i]) << known;
  }
}

TEST(Dequantize, HalfFloatsExpand) {
  Array x = Array::zeros(DType::kFloat16, {3});
  const std::uint16_t bits[] = {0x3C00, 0xC100, 0x7C00};
  std::copy(bits, bits + 3, reinterpret_cast<std::uint16_t*>(x.mutable_data()));
  OpCase c(OpCode::kDequantize, NoAttrs{});
  c.add(x);
  const Array y = c.output(DType::kFloat32).run(Dialect::kXnnpack)[0];
  EXPECT_EQ(y.span<float>()[0], 1.0f);
  EXPECT_EQ(y.span<float>()[1], -2.5f);
  EXPECT_TRUE(std::isinf(y.span<float>()[2]));
}

}  // namespace
}  // namespace litegap::oracle
