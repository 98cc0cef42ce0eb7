#include "run/stats.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/random.h"
#include "kernels/vectors.h"

namespace litegap {
namespace {
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
}  // namespace

Auc::Auc(const std::vector<double>& scores, const std::vector<bool>& positive)
    : order_(scores.size()), scores_(scores), positive_(positive) {
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  for (const double s : scores_) {
    if (std::isnan(s)) order_.clear();  // undefined: value() says so
  }
  std::stable_sort(order_.begin(), order_.end(),
                   [this](std::size_t a, std::size_t b) { return scores_[a] < scores_[b]; });
}

double Auc::value(std::span<const double> weights) const {
  double below = 0, right = 0, positives = 0, negatives = 0;
  for (std::size_t i = 0; i < order_.size();) {
    double up = 0, down = 0;  // of one group of ties
    std::size_t j = i;
    for (; j < order_.size() && scores_[order_[j]] == scores_[order_[i]]; ++j) {
      (positive_[order_[j]] ? up : down) += weights[order_[j]];
    }
    right += up * (below + down / 2);
    below += down;
    positives += up;
    negatives += down;
    i = j;
  }
  return positives > 0 && negatives > 0 ? right / (positives * negatives) : kNan;
}

void resample(std::size_t n, std::uint64_t seed, int times,
              const std::function<void(std::span<const double>)>& body) {
  Random random(seed);
  std::vector<double> weights(n);
  for (int t = 0; t < times; ++t) {
    std::fill(weights.begin(), weights.end(), 0.0);
    for (std::size_t i = 0; i < n; ++i) weights[random.below(n)] += 1;
    body(weights);
  }
}

std::vector<double> resampled_means(std::span<const double> values, std::uint64_t seed, int times) {
  Random random(seed);
  const std::size_t n = values.size();
  std::vector<double> means;
  for (int t = 0; t < times; ++t) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += values[random.below(n)];
    means.push_back(n > 0 ? sum / static_cast<double>(n) : kNan);
  }
  return means;
}

namespace {

struct Ends {
  double low = 0, high = 0;
};
// Least and largest, in lanes.
Ends ends_of(std::span<const double> v) {
  constexpr std::size_t kLanes = 8;
  double low[kLanes], high[kLanes];
  for (std::size_t k = 0; k < kLanes; ++k) low[k] = high[k] = v[0];
  std::size_t i = 0;
  for (; i + kLanes <= v.size(); i += kLanes) {
    for (std::size_t k = 0; k < kLanes; ++k) {
      low[k] = v[i + k] < low[k] ? v[i + k] : low[k];
      high[k] = v[i + k] > high[k] ? v[i + k] : high[k];
    }
  }
  for (; i < v.size(); ++i) {
    low[0] = std::min(low[0], v[i]);
    high[0] = std::max(high[0], v[i]);
  }
  return {*std::min_element(low, low + kLanes), *std::max_element(high, high + kLanes)};
}

// The sum of f(value), in lanes.
template <class F>
double sum_of(std::span<const double> v, const F& f) {
  constexpr std::size_t kLanes = 8;
  double sum[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= v.size(); i += kLanes) {
    for (std::size_t k = 0; k < kLanes; ++k) sum[k] += f(v[i + k]);
  }
  for (; i < v.size(); ++i) sum[0] += f(v[i]);
  return std::accumulate(sum, sum + kLanes, 0.0);
}

// Standardized values with their cumulants: K(t) = log of the mean of exp(t y).
//
// Of many values t is small, about 2 / sqrt(n): while |t y| <= 1 the mean of exp(t y) and its
// derivatives are series in t, whose coefficients are the means of powers of y, taken once.
class Tilt {
 public:
  explicit Tilt(std::span<const double> values) : y_(values.begin(), values.end()) {
    const double n = static_cast<double>(y_.size());
    with_vectors([&] {
      // Of values that are equal, or nearly so, rounding puts it beside them.
      const auto [least, most] = ends_of(y_);
      mean_ = std::clamp(sum_of(y_, [](double v) { return v; }) / n, least, most);
      spread_ = std::sqrt(sum_of(y_, [m = mean_](double v) { return (v - m) * (v - m); }) / n);
      if (!(spread_ > 0) || !std::isfinite(spread_)) return;
      for (double& v : y_) v = (v - mean_) / spread_;
      low_ = (least - mean_) / spread_;
      high_ = (most - mean_) / spread_;
    });
  }
  double spread() const { return spread_; }
  double real(double standard) const { return mean_ + spread_ * standard; }

  // The standard normal deviate r* that a mean of K'(t) corresponds to, and that mean.
  struct Point {
    double deviate = 0, mean = 0;
  };
  Point at(double t) {
    const double n = static_cast<double>(y_.size());
    const Cumulants c = std::max(t * high_, t * low_) <= 1 && std::min(t * high_, t * low_) >= -1
                            ? by_series(t)
                            : by_exponentials(t);
    const double w = std::copysign(std::sqrt(std::max(0.0, 2 * n * (t * c.mean - c.k))), t);
    const double u = t * std::sqrt(n * std::max(0.0, c.variance));
    return {w == 0 || u == 0 ? w : w + std::log(u / w) / w, c.mean};
  }

  // The mean below which the share of `deviate` lies.
  double quantile(double deviate) {
    const double edge = deviate < 0 ? low_ : high_;
    double t = deviate / std::sqrt(static_cast<double>(y_.size())), near = 0, near_deviate = 0;
    Point p = at(t);
    while (std::fabs(p.deviate) < std::fabs(deviate)) {  // until the deviate is passed
      near = t;
      near_deviate = p.deviate;
      t *= 1.25;
      if (std::fabs(t * (high_ - low_)) > 500) return edge;
      p = at(t);
    }
    double far = t, far_deviate = p.deviate;
    for (int i = 0; i < 30 && std::fabs(p.deviate - deviate) > 1e-6; ++i) {
      const double share = (deviate - near_deviate) / (far_deviate - near_deviate);
      t = near + (far - near) * std::clamp(share, 0.02, 0.98);
      p = at(t);
      const bool passed = std::fabs(p.deviate) >= std::fabs(deviate);
      (passed ? far : near) = t;
      (passed ? far_deviate : near_deviate) = p.deviate;
    }
    return p.mean;
  }

 private:
  struct Cumulants {
    double k = 0, mean = 0, variance = 0;  // K(t) and its two derivatives
  };
  Cumulants by_exponentials(double t) const {
    const double most = t > 0 ? t * high_ : t * low_;  // keeps the sums finite
    double sum = 0, first = 0, second = 0;
    for (const double v : y_) {
      const double e = std::exp(t * v - most);
      sum += e;
      first += e * v;
      second += e * v * v;
    }
    const double mean = first / sum;
    return {most + std::log(sum / static_cast<double>(y_.size())), mean,
            second / sum - mean * mean};
  }
  Cumulants by_series(double t) {
    if (powers_[0] == 0) take_powers();
    double above = 0, first = powers_[1], second = powers_[2], term = 1;
    for (std::size_t k = 1; k + 2 <= kPowers; ++k) {
      term *= t / static_cast<double>(k);
      above += term * powers_[k];
      first += term * powers_[k + 1];
      second += term * powers_[k + 2];
    }
    const double sum = 1 + above, mean = first / sum;
    return {std::log1p(above), mean, second / sum - mean * mean};
  }
  // Means of y^k.
  void take_powers() {
    constexpr std::size_t kLanes = 4;
    typedef double Four __attribute__((vector_size(kLanes * sizeof(double))));
    Four sums[kPowers + 1] = {};
    with_vectors([&] {
      const std::size_t whole = y_.size() / kLanes * kLanes;
      for (std::size_t i = 0; i < whole; i += kLanes) {
        Four y, power = Four{} + 1.0;
        std::memcpy(&y, y_.data() + i, sizeof y);
        for (std::size_t k = 0; k <= kPowers; ++k, power *= y) sums[k] += power;
      }
      for (std::size_t i = whole; i < y_.size(); ++i) {
        double power = 1;
        for (std::size_t k = 0; k <= kPowers; ++k, power *= y_[i]) sums[k][0] += power;
      }
    });
    for (std::size_t k = 0; k <= kPowers; ++k)
      powers_[k] =
          ((sums[k][0] + sums[k][1]) + (sums[k][2] + sums[k][3])) / static_cast<double>(y_.size());
  }

  // The series' first term left out is below 1/13! of the sum.
  static constexpr std::size_t kPowers = 14;
  std::vector<double> y_;
  double mean_ = 0, spread_ = 0, low_ = 0, high_ = 0;
  std::array<double, kPowers + 1> powers_{};
};

}  // namespace

Interval mean_interval(std::span<const double> values) {
  if (values.empty() ||
      !std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); })) {
    return {kNan, kNan};
  }
  Tilt tilt(values);
  if (!std::isfinite(tilt.spread())) return {kNan, kNan};
  if (!(tilt.spread() > 0)) return {tilt.real(0), tilt.real(0)};
  return {tilt.real(tilt.quantile(-1.959964)), tilt.real(tilt.quantile(1.959964))};
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return kNan;
  for (const double v : values) {
    if (std::isnan(v)) return kNan;
  }
  std::sort(values.begin(), values.end());
  const double at = share * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (values[high] - values[low]) * (at - static_cast<double>(low));
}

Interval central_interval(const std::vector<double>& values) {
  return {percentile(values, 0.025), percentile(values, 0.975)};
}

Interval wilson(std::size_t hits, std::size_t n, double z) {
  if (n == 0) return {0, 1};
  const double count = static_cast<double>(n), p = static_cast<double>(hits) / count;
  const double scale = 1 + z * z / count;
  const double centre = (p + z * z / (2 * count)) / scale;
  const double half = z / scale * std::sqrt(p * (1 - p) / count + z * z / (4 * count * count));
  return {hits == 0 ? 0 : std::max(0.0, centre - half),
          hits == n ? 1 : std::min(1.0, centre + half)};
}

double mcnemar_exact(std::size_t only_a, std::size_t only_b) {
  const std::size_t n = only_a + only_b;
  if (n == 0) return 1;
  const double count = static_cast<double>(n);
  const auto log_term = [&](std::size_t k) {
    const double m = static_cast<double>(k);
    return std::lgamma(count + 1) - std::lgamma(m + 1) - std::lgamma(count - m + 1) -
           count * std::log(2.0);
  };
  const std::size_t tail = std::min(only_a, only_b);
  const double largest = log_term(tail);  // the terms fall towards 0, so this one scales the sum
  double sum = 0;
  for (std::size_t k = 0; k <= tail; ++k) sum += std::exp(log_term(k) - largest);
  return std::min(1.0, 2 * std::exp(largest + std::log(sum)));
}

Interval paired_proportion_interval(std::size_t only_a, std::size_t only_b, std::size_t n,
                                    double z) {
  const double a = static_cast<double>(only_a) + 0.5, b = static_cast<double>(only_b) + 0.5;
  const double count = static_cast<double>(n) + 2;
  const double middle = (a - b) / count;
  const double half = z * std::sqrt(a + b - (a - b) * (a - b) / count) / count;
  const double seen = (static_cast<double>(only_a) - static_cast<double>(only_b)) /
                      static_cast<double>(std::max<std::size_t>(1, n));
  return {std::max(-1.0, std::min(seen, middle - half)),
          std::min(1.0, std::max(seen, middle + half))};
}

double correlation(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size() || a.empty()) return kNan;
  if (std::equal(a.begin(), a.end(), b.begin())) return 1;
  const double n = static_cast<double>(a.size());
  double mean_a = 0, mean_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    mean_a += a[i] / n;
    mean_b += b[i] / n;
  }
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double p = a[i] - mean_a, q = b[i] - mean_b;
    ab += p * q;
    aa += p * p;
    bb += q * q;
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : kNan;
}

}  // namespace litegap
