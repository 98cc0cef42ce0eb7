// The statistics under metrics.h, on plain numbers.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "run/metrics.h"

namespace litegap {

inline constexpr int kResamples = 1000;

// The share of positive/negative pairs in the right order, ties half, with a weight a sample.
// Prepared once, then evaluated for many weights.
class Auc {
 public:
  Auc(const std::vector<double>& scores, const std::vector<bool>& positive);
  double value(std::span<const double> weights) const;  // NaN without both kinds, or a NaN score

 private:
  std::vector<std::size_t> order_;
  std::vector<double> scores_;
  std::vector<bool> positive_;
};

// The means of `times` resamples of the values, the draws of resample(); same seed, same draws.
std::vector<double> resampled_means(std::span<const double> values, std::uint64_t seed, int times);
// Draws weights (how often each of n units is in the resample) and calls body; same seed, same
// draws.
void resample(std::size_t n, std::uint64_t seed, int times,
              const std::function<void(std::span<const double> weights)>& body);
// The given share of the sorted values by linear interpolation; NaN when any value is NaN.
double percentile(std::vector<double> values, double share);
Interval central_interval(const std::vector<double>& values);  // 2.5 % to 97.5 %
// The 2.5 % and 97.5 % points of the mean of values.size() values drawn with replacement: what
// central_interval() of ever more resamples tends to, for a few passes over the values.
//
//   {0, 0, 0, 1} x 100   0.208 to 0.293; 20000 resamples of the 400 say 0.2075 to 0.2925
//   {3, 3, 3}            3 to 3
//
// By the saddlepoint approximation of the distribution of a mean (Davison and Hinkley 1988:
// Saddlepoint approximations in resampling methods; the r* form of Barndorff-Nielsen 1986).  Its
// relative error falls with 1 / n; a point that many equal smallest or largest values make
// unreachable is that value.  NaN where a value is not finite.
Interval mean_interval(std::span<const double> values);
// Difference of two paired proportions, b against a (Agresti and Min 2005: half an observation is
// added to each cell, so that no discordant pair at all still leaves an interval).
Interval paired_proportion_interval(std::size_t only_a, std::size_t only_b, std::size_t n,
                                    double z = 1.959964);
double correlation(std::span<const float> a,
                   std::span<const float> b);  // 1 when equal, NaN if undefined

}  // namespace litegap
