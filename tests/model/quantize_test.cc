// Codes against their definition: the quotient in doubles, nearest, ties to even, zero point,
// clamp; NaN is zero.
#include "model/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/random.h"

namespace litegap {
namespace {

template <class T>
double defined_code(float x, const Quant& q, bool narrow = false) {
  const auto zero = static_cast<double>(q.zero_point[0]);
  const double v = std::nearbyint(static_cast<double>(x) / static_cast<double>(q.scale[0])) + zero;
  return std::clamp(std::isnan(v) ? zero : v,
                    static_cast<double>(std::numeric_limits<T>::min()) + (narrow ? 1 : 0),
                    static_cast<double>(std::numeric_limits<T>::max()));
}

// Values about every place where a code may change: half-way, its neighbours, and all over the
// range.
std::vector<float> values_for(float scale, Random& random) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> x{0.0f, -0.0f, 1e-45f, -1e-45f, 1e38f, -1e38f, inf, -inf};
  for (int half = -600; half <= 600; ++half) {
    const float at = static_cast<float>(half) * 0.5f * scale;
    for (const float v : {at, std::nextafter(at, inf), std::nextafter(at, -inf)}) x.push_back(v);
  }
  for (int i = 0; i < 500; ++i) x.push_back(static_cast<float>(random.uniform(-400, 400)) * scale);
  return x;
}

// Quotients that lie as far from half-way as products in float are taken to be sure of, and some
// nearer, each alone among 63 zeros: others could send for the quotients in its place.
std::vector<float> near_half(float scale, Random& random) {
  std::vector<float> x;
  const auto add = [&](double whole, double away) {
    x.push_back(static_cast<float>((whole + 0.5 + away) * static_cast<double>(scale)));
  };
  for (int whole = -600; whole <= 600; ++whole)
    add(whole, random.uniform(1.1e-4, 1.6e-4) * (whole % 2 == 0 ? 1 : -1));
  x.resize((x.size() + 63) / 64 * 64);
  for (int i = 0; i < 50; ++i) {
    add(static_cast<double>(random.below(700)) - 350, random.uniform(-3e-5, 3e-5));
    x.resize(x.size() + 63);
  }
  return x;
}

template <class T>
void expect_defined(DType dtype, const Quant& q, const std::vector<float>& x) {
  const auto n = static_cast<std::int32_t>(x.size());
  for (const bool narrow : {false, true}) {
    const Array codes = quantize(Array::of<float>({n}, x), q, dtype, narrow);
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(codes.span<T>()[i], defined_code<T>(x[i], q, narrow))
          << x[i] << " scale " << q.scale[0] << " zero point " << q.zero_point[0];
    }
  }
  // At an odd address.
  ASSERT_TRUE(has_short_codes(q, dtype));
  std::vector<std::byte> moved(1 + x.size() * sizeof(float)), codes(x.size() * sizeof(T));
  std::memcpy(moved.data() + 1, x.data(), x.size() * sizeof(float));
  short_codes(moved.data() + 1, q, dtype, codes);
  for (std::size_t i = 0; i < x.size(); ++i) {
    T code;
    std::memcpy(&code, codes.data() + i * sizeof(T), sizeof(T));
    ASSERT_EQ(code, defined_code<T>(x[i], q)) << x[i];
  }
}

TEST(Quantize, ShortCodesFollowTheDefinition) {
  Random random(7);
  std::vector<float> scales{1.0f / 255, 2.0f / 255, 0.25f,  1.0f / 128, 1.0f / 127, 0.1f,
                            1.0f,       3e38f,      1e-30f, 1e-36f,     1e-44f,     65536.0f};
  for (int i = 0; i < 20; ++i)
    scales.push_back(static_cast<float>(std::exp(random.uniform(-12, 6))));
  for (const float scale : scales) {
    for (const std::int64_t zero : {0, -128, 127, 255, 3, -1001, 70000}) {
      const Quant q{.scale = {scale}, .zero_point = {zero}};
      std::vector<float> x = values_for(scale, random);
      expect_defined<std::int8_t>(DType::kInt8, q, x);
      expect_defined<std::uint8_t>(DType::kUint8, q, x);
      expect_defined<std::int16_t>(DType::kInt16, q, x);
      const std::vector<float> sure = near_half(scale, random);
      expect_defined<std::int8_t>(DType::kInt8, q, sure);
      expect_defined<std::uint8_t>(DType::kUint8, q, sure);
      if (zero < 1 || zero > 127) continue;  // no code of every type and range
      for (std::size_t i = 5; i < x.size(); i += 97) x[i] = std::numeric_limits<float>::quiet_NaN();
      expect_defined<std::int8_t>(DType::kInt8, q, x);
      expect_defined<std::uint8_t>(DType::kUint8, q, x);
    }
  }
}

TEST(Quantize, NoShortCodesOfOtherQuantizations) {
  const Quant one{.scale = {0.5f}, .zero_point = {0}};
  EXPECT_FALSE(has_short_codes(one, DType::kInt32));
  EXPECT_FALSE(has_short_codes({}, DType::kInt8));
  EXPECT_FALSE(
      has_short_codes({.scale = {0.5f}, .zero_point = {std::int64_t{1} << 40}}, DType::kInt8));
  EXPECT_FALSE(
      has_short_codes({.scale = {0.5f, 1.0f}, .zero_point = {0, 0}, .axis = 1}, DType::kInt8));
}

TEST(Quantize, AndBack) {
  const Quant q{.scale = {0.25f}, .zero_point = {-5}};
  const Array real = dequantize(Array::of<std::int8_t>({3}, {-128, 0, 127}), q);
  EXPECT_EQ(std::vector<float>(real.span<float>().begin(), real.span<float>().end()),
            (std::vector<float>{-30.75f, 1.25f, 33.0f}));
}

}  // namespace
}  // namespace litegap
