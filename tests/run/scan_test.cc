// Observing loops: every instruction set gives the same bits, and those are the moments.
#include "run/scan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/random.h"

namespace litegap {
namespace {

std::vector<const ScanLoops*> tables() {
  std::vector<const ScanLoops*> all{&portable_scan_loops()};
  if (const ScanLoops* avx2 = avx2_scan_loops()) all.push_back(avx2);
  if (const ScanLoops* avx512 = avx512_scan_loops()) all.push_back(avx512);
  return all;
}

Array floats(std::size_t n, std::uint64_t seed, double size = 3) {
  Random random(seed);
  std::vector<float> v(n);
  for (float& x : v) x = static_cast<float>(random.uniform(-size, size));
  return Array::of<float>({static_cast<std::int32_t>(n)}, v);
}

template <class T>
Array codes(std::size_t n, std::uint64_t seed) {
  Random random(seed);
  Array a = Array::zeros(dtype_of<T>, {static_cast<std::int32_t>(n)});
  for (T& x : a.mutable_span<T>()) x = static_cast<T>(random.bits());
  return a;
}

const Quant kQuant{.scale = {0.05f}, .zero_point = {7}};

// By the definition, in double.
Scan judged(const Array& value) {
  Scan s;
  const Array real = dequantize(value, kQuant);
  for (const float f : real.span<float>()) {
    if (!std::isfinite(f)) continue;
    const double x = static_cast<double>(f);
    s.low = std::min(s.low, x);
    s.high = std::max(s.high, x);
    s.sum += x;
    s.squares += x * x;
    ++s.count;
  }
  return s;
}

void expect_moments(const Array& value) {
  const Scan want = judged(value);
  for (const ScanLoops* loops : tables()) {
    Scan got;
    scan(*loops, value, kQuant, got);
    EXPECT_EQ(got.count, want.count);
    EXPECT_FLOAT_EQ(static_cast<float>(got.low), static_cast<float>(want.low));
    EXPECT_FLOAT_EQ(static_cast<float>(got.high), static_cast<float>(want.high));
    EXPECT_NEAR(got.sum, want.sum,
                1e-5 * std::sqrt(want.squares * static_cast<double>(want.count)));
    EXPECT_NEAR(got.squares, want.squares, 1e-5 * want.squares);
  }
}

void expect_same_bits(const Array& a, const Array& b) {
  const auto all = tables();
  Scan first;
  TwinErrors twin;
  scan(*all[0], b, kQuant, first);
  compare_twin(*all[0], a, b, kQuant, twin);
  for (const ScanLoops* loops : all) {
    Scan s;
    scan(*loops, b, kQuant, s);
    EXPECT_EQ(std::tie(s.low, s.high, s.sum, s.squares, s.count),
              std::tie(first.low, first.high, first.sum, first.squares, first.count));
    TwinErrors e;
    compare_twin(*loops, a, b, kQuant, e);
    EXPECT_EQ(std::tie(e.signal, e.bias, e.error, e.largest, e.count),
              std::tie(twin.signal, twin.bias, twin.error, twin.largest, twin.count));
  }
}

TEST(ScanTest, MomentsOfFloatsAndCodes) {
  for (const std::size_t n : {1u, 15u, 16u, 17u, 2048u, 5001u}) {
    expect_moments(floats(n, n));
    expect_moments(codes<std::int8_t>(n, n));
    expect_moments(codes<std::uint8_t>(n, n));
    expect_moments(codes<std::int16_t>(n, n));
  }
}

TEST(ScanTest, ValuesThatAreNotFiniteAreLeftOut) {
  Array a = floats(100, 1);
  auto v = a.mutable_span<float>();
  v[3] = NAN;
  v[40] = INFINITY;
  v[99] = -INFINITY;
  expect_moments(a);
  Scan none;
  scan(Array::of<float>({2}, {NAN, INFINITY}).span<float>(), none);
  EXPECT_FALSE(none.any());
}

TEST(ScanTest, SquaresBeyondFloatAreSummedAllTheSame) {
  expect_moments(floats(64, 1, 1e30));
  TwinErrors e;
  compare_twin(floats(64, 1, 1e30), floats(64, 2, 1e30), kQuant, e);
  EXPECT_TRUE(std::isfinite(e.error));
  EXPECT_GT(e.error, 1e55);
}

TEST(ScanTest, EveryInstructionSetGivesTheSameBits) {
  for (const std::size_t n :
       {1u, 8u, 16u, 24u, 33u, 40u, 56u, 63u, 72u, 88u, 120u, 2049u, 7000u, 16392u, 140000u}) {
    const Array exact = floats(n, n);
    expect_same_bits(exact, floats(n, n + 1));
    expect_same_bits(exact, codes<std::int8_t>(n, n));
    expect_same_bits(exact, codes<std::uint8_t>(n, n));
    expect_same_bits(exact, codes<std::int16_t>(n, n));
  }
}

// Where 0 is the least so far only the largest is looked for.
TEST(ScanTest, ValuesBehindAReluAndThenOneBelow) {
  for (const ScanLoops* loops : tables()) {
    for (const std::size_t n : {8u, 40u, 63u, 64u, 200u, 16384u, 40000u}) {
      Scan got, want;
      for (int turn = 0; turn < 6; ++turn) {
        Array a = floats(n, static_cast<std::size_t>(turn) + n);
        auto v = a.mutable_span<float>();
        if (turn < 4) {
          for (float& x : v) x = std::max(x, 0.0f) * static_cast<float>(1 + turn % 3);
        }
        v[n / 2] = 0;
        if (turn == 2) v[n / 3] = -0.0f;
        if (turn == 3) v[n / 3] = NAN;
        scan(*loops, a, {}, got);
        want.merge(judged(a));
        EXPECT_EQ(got.low, want.low) << n << ", " << turn;
        EXPECT_EQ(got.high, want.high) << n << ", " << turn;
        EXPECT_EQ(got.count, want.count);
        EXPECT_NEAR(got.squares, want.squares, 1e-5 * want.squares);
      }
    }
  }
}

// A Scan that has seen an end of the codes does not look for it again.
template <class T>
void expect_codes_of_turns() {
  for (const ScanLoops* loops : tables()) {
    Scan got, want;
    for (int turn = 0; turn < 5; ++turn) {
      Array a = codes<T>(300, static_cast<std::uint64_t>(turn));
      auto v = a.template mutable_span<T>();
      for (T& c : v) c = static_cast<T>(c / 2);
      if (turn == 1) v[250] = std::numeric_limits<T>::min();
      if (turn == 2) v[7] = std::numeric_limits<T>::max();
      scan(*loops, a, kQuant, got);
      want.merge(judged(a));
      EXPECT_NEAR(got.low, want.low, 1e-5);
      EXPECT_NEAR(got.high, want.high, 1e-5);
      EXPECT_NEAR(got.sum, want.sum, 1e-2);
      EXPECT_NEAR(got.squares, want.squares, 1e-5 * want.squares);
    }
  }
}
TEST(ScanTest, EndsOfTheCodesThatWereSeen) {
  expect_codes_of_turns<std::int8_t>();
  expect_codes_of_turns<std::uint8_t>();
}

TEST(ScanTest, SumsOfExtremeCodesFit) {
  constexpr std::size_t kCount = kCodeChunk + 96;
  for (const int code : {0, 0x7F, 0x80, 0xFF}) {
    for (const DType type : {DType::kInt8, DType::kUint8}) {
      Array a = Array::zeros(type, {static_cast<std::int32_t>(kCount)});
      std::memset(a.mutable_data(), code, kCount);
      expect_moments(a);
      expect_same_bits(floats(kCount, 1), a);
    }
  }
}

TEST(ScanTest, ErrorsOfATwin) {
  const Array exact = Array::of<float>({3}, {1, -2, 3}),
              found = Array::of<float>({3}, {1.5f, -2, 2});
  TwinErrors e;
  compare_twin(exact, found, {}, e);
  EXPECT_EQ(e.signal, 14);
  EXPECT_EQ(e.error, 1.25);
  EXPECT_EQ(e.bias, -0.5);
  EXPECT_EQ(e.largest, 1);
  const Array c = Array::of<std::int8_t>({3}, {27, -33, 67});  // 1, -2, 3 at 0.05 and 7
  TwinErrors none;
  compare_twin(exact, c, kQuant, none);
  EXPECT_NEAR(none.error, 0, 1e-12);
  compare_twin(exact, Array::of<float>({1}, {0}), {}, none);  // another size: left out
  EXPECT_EQ(none.count, 3u);
}

}  // namespace
}  // namespace litegap
