// The branch-free curves against the C library's double functions, rounded to float32.
#include "kernels/smooth.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>

namespace litegap {
namespace {

std::int64_t place(float v) {  // neighbours on the line of floats have neighbouring places
  std::int32_t bits = 0;
  std::memcpy(&bits, &v, sizeof bits);
  return bits < 0 ? -std::int64_t{bits & 0x7fffffff} : bits;
}

// All floats of a coarse grid, and random ones of every magnitude.
template <class F>
void each_float(F f) {
  for (float v = -120; v <= 120; v += 0.0078125f) f(v);
  std::mt19937 random(7);
  for (int i = 0; i < 400000; ++i) {
    const std::uint32_t bits = random();
    float v = 0;
    std::memcpy(&v, &bits, sizeof v);
    if (!std::isnan(v)) f(v);
  }
}

template <class Ours, class Exact>
void compare(Ours ours, Exact exact) {
  std::int64_t differ = 0, all = 0;
  each_float([&](float v) {
    const float a = ours(v), b = static_cast<float>(exact(static_cast<double>(v)));
    ++all;
    if (a == b) return;
    ++differ;
    ASSERT_LE(std::llabs(place(a) - place(b)), 1) << "at " << v << ": " << a << " and " << b;
  });
  EXPECT_LT(differ * 10000, all);  // ties of the rounding to float32
}

TEST(Smooth, SigmoidIsTheLibrarys) {
  compare(smooth_sigmoid, [](double v) { return 1.0 / (1.0 + std::exp(-v)); });
}
TEST(Smooth, TanhIsTheLibrarys) {
  compare(smooth_tanh, [](double v) { return std::tanh(v); });
}
TEST(Smooth, EndsAndNumbersThatAreNone) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(smooth_sigmoid(kInfinity), 1.0f);
  EXPECT_EQ(smooth_sigmoid(-kInfinity), 0.0f);
  EXPECT_EQ(smooth_tanh(kInfinity), 1.0f);
  EXPECT_EQ(smooth_tanh(-kInfinity), -1.0f);
  EXPECT_TRUE(std::signbit(smooth_tanh(-0.0f)));
  const float none = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(smooth_sigmoid(none)));
  EXPECT_TRUE(std::isnan(smooth_tanh(none)));
}

}  // namespace
}  // namespace litegap
