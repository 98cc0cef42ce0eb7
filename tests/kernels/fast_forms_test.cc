// Fast forms against the plain ones they stand for: tables by shuffles, rounding in lanes, matrices
// turned in registers, XNNPACK's curves against the functions they approximate.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "kernels/byte_table.h"
#include "kernels/code_rows.h"
#include "kernels/fixed_point.h"
#include "kernels/float_curves.h"
#include "kernels/lanes.h"
#include "kernels/move.h"
#include "kernels/packed_rows.h"

namespace litegap {
namespace {

TEST(FastForms, TablesOfBytes) {
  std::mt19937 random(1);
  Table8 table{};
  for (auto& v : table) v = static_cast<std::uint8_t>(random());
  std::vector<std::uint8_t> all(256);
  std::iota(all.begin(), all.end(), std::uint8_t{0});
  for (std::size_t n : {0u, 1u, 127u, 128u, 129u, 255u, 256u, 1000u}) {
    std::vector<std::uint8_t> x(n), y(n + 1, 77);
    for (std::size_t i = 0; i < n; ++i)
      x[i] = n == 256 ? all[i] : static_cast<std::uint8_t>(random());
    map_bytes(table, x.data(), y.data(), n);
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(y[i], table[x[i]]) << i << " of " << n;
    EXPECT_EQ(y[n], 77);
    map_bytes(table, x.data(), x.data(), n);  // in place
    EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin()));
  }
}

template <class T>
void check_scaled(std::mt19937& random) {
  constexpr std::int32_t low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
  const auto draw = [&](std::int32_t from, std::int32_t to) {
    return from + static_cast<std::int32_t>(random() % static_cast<unsigned>(to - from + 1));
  };
  const ScaleRow f{draw(low, high), draw(1, 32768), draw(-32767, 32768), draw(low, high)};
  Table8 table{};
  std::vector<T> x(256 + 5), y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i);
  for (std::int32_t q = low; q <= high; ++q) {
    const std::int32_t v = q - f.zero_x;
    const double real = std::floor(v * (v > 0 ? f.positive : f.negative) / 256.0 + 0.5);
    table[static_cast<std::uint8_t>(q)] = static_cast<std::uint8_t>(static_cast<std::int32_t>(
        std::clamp(real + f.zero, static_cast<double>(low), static_cast<double>(high))));
  }
  scale_codes(f, table, x.size(), x.data(), y.data());
  for (std::size_t i = 0; i < x.size(); ++i)
    ASSERT_EQ(static_cast<std::uint8_t>(y[i]), table[static_cast<std::uint8_t>(x[i])])
        << int{x[i]} << " less " << f.zero_x << " by " << f.positive << " or " << f.negative;
}
TEST(FastForms, ScaledCodes) {
  std::mt19937 random(4);
  for (int i = 0; i < 300; ++i) {
    check_scaled<std::int8_t>(random);
    check_scaled<std::uint8_t>(random);
  }
}

// One formula for each code, in double.
template <class T>
void check_pairs(std::mt19937& random) {
  constexpr std::int32_t low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
  const auto real = [](auto v) { return static_cast<double>(v); };
  std::vector<T> x(999), y(x.size()), sum(x.size()), product(x.size());
  for (auto& v : x) v = static_cast<T>(random());
  for (auto& v : y) v = static_cast<T>(random());
  const AddRow f{1 << 19,
                 static_cast<std::int32_t>(random() % (1u << 21)),
                 -static_cast<std::int32_t>(random() % (1u << 21)),
                 20,
                 low + 100,
                 low,
                 high - 9};
  add_codes(f, x.size(), x.data(), y.data(), sum.data());
  const MultiplyRow g{
      low + 7, high - 70, 5, low + 2, high, 1.0f / 128, static_cast<float>(high - 5)};
  multiply_codes(g, x.size(), x.data(), y.data(), product.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double raw =
        std::floor((real(f.start) + real(x[i]) * f.a + real(y[i]) * f.b) / (1 << f.shift));
    ASSERT_EQ(int{sum[i]}, static_cast<int>(std::clamp(raw + f.zero, real(low), real(high - 9))));
    const double limited =
        std::min((real(x[i]) - g.zero_x) * (real(y[i]) - g.zero_y) / 128, real(high - 5));
    ASSERT_EQ(int{product[i]},
              static_cast<int>(std::clamp(std::nearbyint(limited) + 5, real(low + 2), real(high))));
  }
}
TEST(FastForms, PairsOfCodes) {
  std::mt19937 random(5);
  for (int i = 0; i < 50; ++i) {
    check_pairs<std::int8_t>(random);
    check_pairs<std::uint8_t>(random);
  }
}

// Rows with a single code each are rows with that code everywhere.
template <class T>
void check_single(std::mt19937& random, std::size_t n, std::size_t step) {
  constexpr std::int32_t low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
  constexpr std::size_t kRows = 3;
  const auto code = [&] { return static_cast<std::int32_t>(static_cast<T>(random())); };
  const auto factor = [&] { return static_cast<std::int32_t>(random() % (1u << 21)); };
  const AddRow f{1 << 19, factor(), -factor(), 20, code(), low + 3, high};
  const MultiplyRow g{code(), code(), code(), low, high - 4, 1.0f / 90, 70.0f};
  std::vector<T> x(kRows * n), y(kRows * step + 1), all(n), sum(x.size() + 1, 77),
      product(x.size() + 1, 77), want(n);
  for (auto& v : x) v = static_cast<T>(random());
  for (auto& v : y) v = static_cast<T>(random());
  add_to_rows(f, kRows, n, x.data(), y.data(), step, sum.data());
  multiply_rows(g, kRows, n, x.data(), y.data(), step, product.data());
  for (std::size_t r = 0; r < kRows; ++r) {
    const auto at = static_cast<std::ptrdiff_t>(r * n);
    std::fill(all.begin(), all.end(), y[r * step]);
    add_codes(f, n, x.data() + at, all.data(), want.data());
    ASSERT_TRUE(std::equal(want.begin(), want.end(), sum.begin() + at)) << n << ", row " << r;
    multiply_codes(g, n, x.data() + at, all.data(), want.data());
    ASSERT_TRUE(std::equal(want.begin(), want.end(), product.begin() + at)) << n << ", row " << r;
  }
  EXPECT_EQ(sum.back(), T(77));
  EXPECT_EQ(product.back(), T(77));
}
TEST(FastForms, RowsOfASingleCode) {
  std::mt19937 random(6);
  for (const std::size_t n : {0u, 1u, 7u, 8u, 9u, 15u, 16u, 17u, 31u, 33u, 100u}) {
    for (const std::size_t step : {0u, 1u, 5u}) {
      for (int i = 0; i < 20; ++i) {
        check_single<std::int8_t>(random, n, step);
        check_single<std::uint8_t>(random, n, step);
      }
    }
  }
}

TEST(FastForms, RoundingInLanes) {
  std::mt19937 random(2);
  const auto word = [&] {
    const auto w = static_cast<std::int32_t>(random());
    return random() % 3 == 0 ? w >> (random() % 32) : w;
  };
  std::vector<std::int32_t> values{0, 1, -1, INT32_MAX, INT32_MIN, INT32_MIN + 1};
  for (int i = 0; i < 200000; ++i) values.push_back(word());
  for (const std::int32_t x : values) {
    const int n = static_cast<int>(random() % 32);
    ASSERT_EQ(shift_away(x, n), shift_right_away(x, n)) << x << " by " << n;
    const Multiplier m{static_cast<std::int32_t>(1u << 30 | random() % (1u << 30)),
                       static_cast<int>(random() % 72) - 31};
    ASSERT_EQ(scale_lane(x, m), scale_double(x, m))
        << x << " by " << m.mantissa << " 2^" << m.exponent;
  }
}

// Fixed point, the coarser the more integer bits the argument has, against the real functions.
TEST(FastForms, WordsOfCurves) {
  for (int x = -32768; x <= 32767; ++x) {
    const double v = x / 4096.0;
    ASSERT_NEAR(fixed::logistic16(x), std::min(32767.0, 32768.0 / (1 + std::exp(-v))), 12) << x;
    for (const int bits : {0, 3, 6}) {
      const double wide = std::tanh(std::ldexp(x, bits - 15));
      ASSERT_NEAR(fixed::tanh16(x, bits), 32768.0 * wide, 20) << x << ", " << bits;
    }
  }
}

TEST(FastForms, TurnedMatrices) {
  const auto check = [](auto zero, std::int64_t rows, std::int64_t columns) {
    using T = decltype(zero);
    constexpr auto unit = static_cast<std::int64_t>(sizeof(T));
    const auto n = static_cast<std::size_t>(rows * columns);
    std::vector<T> from(n), to(n), back(n);
    for (std::size_t i = 0; i < n; ++i) from[i] = static_cast<T>(i * 2654435761u >> 7);
    Move(sizeof(T), {{rows, columns * unit, unit}, {columns, unit, rows * unit}})
        .run(from.data(), to.data());
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j)
        ASSERT_EQ(to[static_cast<std::size_t>(j * rows + i)],
                  from[static_cast<std::size_t>(i * columns + j)])
            << rows << " by " << columns << ", " << sizeof(T) << " bytes";
    }
    Move(sizeof(T), {{rows, unit, columns * unit}, {columns, rows * unit, unit}})
        .run(to.data(), back.data());
    EXPECT_EQ(back, from);
  };
  for (const std::int64_t rows : {1, 3, 4, 15, 16, 17, 33}) {
    for (const std::int64_t columns : {2, 4, 7, 8, 16, 31, 48}) {
      check(std::uint8_t{}, rows, columns);
      check(std::uint16_t{}, rows, columns);
      check(std::uint32_t{}, rows, columns);
      check(std::uint64_t{}, rows, columns);
    }
  }
}

TEST(FastForms, ProductsOfPackedRows) {
  std::mt19937 random(3);
  for (const int rows : {1, 5, 16, 33, 300}) {
    for (const int columns : {1, 2, 7, 40}) {
      std::vector<std::int8_t> w(static_cast<std::size_t>(rows * columns));
      std::vector<std::int16_t> x(static_cast<std::size_t>(columns) + 1);
      std::vector<std::int32_t> start(static_cast<std::size_t>(rows));
      for (auto& v : w) v = static_cast<std::int8_t>(random());
      for (auto& v : x) v = static_cast<std::int16_t>(random() % 511 - 255);
      for (auto& v : start) v = static_cast<std::int32_t>(random() % 1000);
      PackedRows packed;
      packed.add(w.data(), rows, columns, start);
      packed.add(w.data(), rows, columns, {});
      const std::size_t all = packed.rows();
      ASSERT_EQ(all, 2 * static_cast<std::size_t>(rows));
      alignas(64) std::int32_t sums[1024];
      ASSERT_LE(packed.sums(), std::size(sums));
      packed.run(x.data(), sums);
      for (std::size_t r = 0; r < all; ++r) {
        const std::size_t at = r % static_cast<std::size_t>(rows);
        std::int32_t want = r < start.size() ? start[at] : 0;
        for (std::size_t k = 0; k < static_cast<std::size_t>(columns); ++k)
          want += w[at * static_cast<std::size_t>(columns) + k] * x[k];
        ASSERT_EQ(sums[r], want) << "row " << r << " of " << rows << "x" << columns;
      }
    }
  }
}

// XNNPACK's forms are a few units in the last place from the function.
template <class Ours, class Exact>
void near(Ours ours, Exact exact, float from, float to, double units) {
  for (int i = 0; i <= 40000; ++i) {
    const float v = from + (to - from) * static_cast<float>(i) / 40000.0f;
    const double want = exact(static_cast<double>(v));
    const double unit = std::max(std::fabs(want), 1e-6) * 0x1p-23;
    ASSERT_NEAR(static_cast<double>(ours(v)), want, units * unit) << "at " << v;
  }
}

TEST(FastForms, CurvesOfFloats) {
  const auto gelu = [](double v) { return 0.5 * v * std::erfc(-v * std::sqrt(0.5)); };
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  near([](float v) { return curves::tanh_curve(v); }, [](double v) { return std::tanh(v); }, -12,
       12, 4);
  near(curves::sigmoid_curve, sigmoid, -80, 80, 8);
  near([](float v) { return curves::gelu_curve(v); }, gelu, -1, 12, 16);
  near(
      curves::log_curve, [](double v) { return std::log(v); }, 1.5f, 1e6f, 4);
  near(
      curves::elu_curve, [](double v) { return v < 0 ? std::expm1(v) : v; }, -20, 5, 8);
  const auto exp = [](double v) { return std::exp(v); };
  near(curves::exp_below_curve, exp, -80, 0, 4);
  near([](float v) { return curves::exp_curve(v); }, exp, -1, 1, 2);
  near([](float v) { return curves::exp_curve(v); }, exp, -12, 88, 80);  // v log2 e is a float32
  for (float v = -30; v <= 30; v += 0.01f) {
    EXPECT_NEAR(curves::sin_curve(v), std::sin(static_cast<double>(v)), 5e-7) << v;
    EXPECT_NEAR(curves::cos_curve(v), std::cos(static_cast<double>(v)), 5e-7) << v;
  }
}

TEST(FastForms, CurvesAtTheirEnds) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float none = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(curves::tanh_curve(kInfinity), 1.0f);
  EXPECT_EQ(curves::tanh_curve(-kInfinity), -1.0f);
  EXPECT_TRUE(std::isnan(curves::tanh_curve(none)));
  EXPECT_EQ(curves::sigmoid_curve(-kInfinity), 0.0f);
  EXPECT_EQ(curves::sigmoid_curve(kInfinity), 1.0f);
  EXPECT_EQ(curves::log_curve(0.0f), -kInfinity);
  EXPECT_EQ(curves::log_curve(1e-40f), -kInfinity);  // subnormal: taken for zero
  EXPECT_TRUE(std::isnan(curves::log_curve(-1.0f)));
  EXPECT_EQ(curves::exp_below_curve(-100.0f), 0.0f);
  EXPECT_EQ(curves::exp_below_curve(0.0f), 1.0f);
  EXPECT_EQ(curves::elu_curve(3.0f), 3.0f);
  EXPECT_EQ(curves::exp_curve(0.0f), 1.0f);
  EXPECT_EQ(curves::exp_curve(1e-40f), 1.0f);
  EXPECT_EQ(curves::exp_curve(kInfinity), kInfinity);
  EXPECT_EQ(curves::exp_curve(88.4f), kInfinity);  // though e^88.4 is a number
  EXPECT_EQ(curves::exp_curve(-kInfinity), 0.0f);
  EXPECT_EQ(curves::exp_curve(-87.5f), 0.0f);  // subnormal
  EXPECT_EQ(curves::exp_curve(none), 0.0f);
}

}  // namespace
}  // namespace litegap
