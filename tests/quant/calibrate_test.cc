// Ranges from statistics: against data whose answer is known by hand or by brute force.
#include "quant/calibrate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"

namespace litegap {
namespace {

Statistics statistics_of(const std::vector<float>& values) {
  Statistics s;
  s.min = s.max = values.at(0);
  for (const float v : values) {
    s.min = std::min(s.min, v);
    s.max = std::max(s.max, v);
    s.histogram.add(v);
  }
  s.average_min = s.min;
  s.average_max = s.max;
  return s;
}

// Squared error of clipping to [low, high] and rounding to 2^bits levels, from the values
// themselves.
double true_error(const std::vector<float>& values, double low, double high, int bits) {
  const double step = (high - low) / ((1 << bits) - 1);
  double sum = 0;
  for (const float v : values) {
    const double c = std::clamp<double>(v, low, high);
    const double q = low + std::round((c - low) / step) * step;
    sum += (v - q) * (v - q);
  }
  return sum / static_cast<double>(values.size());
}

std::vector<float> normal(std::size_t n, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> v;
  for (std::size_t i = 0; i < n; ++i) v.push_back(static_cast<float>(random.normal()));
  return v;
}

TEST(Histogram, PercentPointsOfKnownData) {
  LogHistogram h;
  for (int i = 1; i <= 1000; ++i) h.add(static_cast<float>(i));
  EXPECT_NEAR(h.quantile(0.5), 500, 500.0 / 64);
  EXPECT_NEAR(h.quantile(0.999), 999, 999.0 / 64);
  EXPECT_NEAR(h.quantile(0.001), 1, 1.0 / 64);
  LogHistogram other;
  for (int i = 1; i <= 1000; ++i) other.add(static_cast<float>(-i));
  h.merge(other);
  EXPECT_NEAR(h.quantile(0.25), -500, 500.0 / 64);
}

TEST(RangeBy, MinmaxIsTheExtremes) {
  const Statistics s = statistics_of({-3, 0.5f, 7});
  const Range r = range_by(CalibrationMethod::kMinmax, s);
  EXPECT_EQ(r.low, -3);
  EXPECT_EQ(r.high, 7);
}

TEST(RangeBy, PercentileCutsOneOutlierInManyValues) {
  std::vector<float> v(100000, 1.0f);
  v.push_back(1000);
  const Range r = range_by(CalibrationMethod::kPercentile, statistics_of(v));
  EXPECT_LT(r.high, 1.02);
  EXPECT_GT(r.high, 0.98);
}

TEST(RangeBy, EveryMethodKeepsUniformValues) {
  Random random(3);
  std::vector<float> v;
  for (int i = 0; i < 100000; ++i) v.push_back(static_cast<float>(random.uniform(-1, 1)));
  const Statistics s = statistics_of(v);
  for (const CalibrationMethod m :
       {CalibrationMethod::kMinmax, CalibrationMethod::kPercentile, CalibrationMethod::kMse,
        CalibrationMethod::kKl, CalibrationMethod::kOctav, CalibrationMethod::kMovingAverage}) {
    const Range r = range_by(m, s);
    EXPECT_NEAR(r.low, -1, 0.05) << calibration_name(m);
    EXPECT_NEAR(r.high, 1, 0.05) << calibration_name(m);
  }
}

// With few levels clipping pays; the best symmetric clip of normal values is known to brute force.
TEST(RangeBy, MseAndOctavFindWhatBruteForceFinds) {
  const std::vector<float> v = normal(50000, 7);
  const Statistics s = statistics_of(v);
  for (const int bits : {4, 6}) {
    double least = 1e30, best = 0;
    for (int i = 1; i <= 200; ++i) {
      const double clip = 0.03 * i;
      if (const double e = true_error(v, -clip, clip, bits); e < least) {
        least = e;
        best = clip;
      }
    }
    for (const CalibrationMethod m : {CalibrationMethod::kMse, CalibrationMethod::kOctav}) {
      const Range r = range_by(m, s, bits);
      EXPECT_LT(true_error(v, r.low, r.high, bits), 1.05 * least)
          << calibration_name(m) << " " << bits << " bits: " << r.low << " to " << r.high
          << ", brute force " << best;
    }
  }
}

// 99.9 % of the values are normal, a few lie far away: entropy leaves the few out.
TEST(RangeBy, KlLeavesOutliersOut) {
  std::vector<float> v = normal(50000, 11);
  for (int i = 0; i < 5; ++i) v.push_back(40.0f + static_cast<float>(i));
  const Range r = range_by(CalibrationMethod::kKl, statistics_of(v));
  EXPECT_LT(r.high, 20);
  EXPECT_GT(r.high, 2);
}

TEST(RangeBy, NeverLeavesTheExtremes) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    std::vector<float> v;
    const double scale = std::exp(random.uniform(-10, 10)), shift = random.uniform(-2, 2);
    for (int i = 0; i < 500; ++i)
      v.push_back(static_cast<float>(scale * (random.normal() + shift)));
    const Statistics s = statistics_of(v);
    for (const CalibrationMethod m : {CalibrationMethod::kPercentile, CalibrationMethod::kMse,
                                      CalibrationMethod::kKl, CalibrationMethod::kOctav}) {
      const Range r = range_by(m, s);
      EXPECT_GE(r.low, std::min(0.0f, s.min));
      EXPECT_LE(r.high, std::max(0.0f, s.max));
      EXPECT_LE(r.low, r.high);
    }
  }
}

}  // namespace
}  // namespace litegap
