#include "quant/calibrate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "run/scan.h"

namespace litegap {
namespace {

constexpr std::size_t kSampled = 2048;  // histogram values a tensor and sample
constexpr float kKeep = 0.95f;          // of the moving average

struct Extremes {
  float low = 0, high = 0;
};

class Watcher : public BlockObserver {
 public:
  explicit Watcher(std::size_t tensors) : histogram(tensors), samples(tensors) {}
  void begin_sample(std::size_t row) override { row_ = row; }
  void on_value(int, int tensor, const Array& value) override { see(tensor, value); }
  void on_state(int, int tensor, const Array& value) override { see(tensor, value); }

  std::vector<LogHistogram> histogram;
  std::vector<std::vector<Extremes>> samples;  // by tensor, of this block, in order

 private:
  void see(int tensor, const Array& value) {
    if (value.dtype() != DType::kFloat32 || value.empty()) return;
    const auto t = static_cast<std::size_t>(tensor);
    const auto v = value.span<float>();
    Scan s;
    scan(v, s);
    if (!s.any()) return;
    samples[t].push_back({static_cast<float>(s.low), static_cast<float>(s.high)});
    // An odd step visits every channel of layouts with an even number of them; the start moves.
    const std::size_t step = v.size() <= kSampled ? 1 : (v.size() / kSampled) | 1;
    for (std::size_t i = (row_ * 7919) % step; i < v.size(); i += step) {
      if (std::isfinite(v[i])) histogram[t].add(v[i]);
    }
  }
  std::size_t row_ = 0;
};

// Prefix sums over the bins: errors of a clipping range without walking all of them.
class Sums {
 public:
  explicit Sums(const Statistics& s) : bins_(s.histogram.bins()) {
    std::array<double, 3> sum{};
    sums_.push_back(sum);
    for (auto& b : bins_) {
      b.low = std::clamp<double>(b.low, s.min, s.max);
      b.high = std::clamp<double>(b.high, s.min, s.max);
      const double m = b.middle();
      sum[0] += b.count;
      sum[1] += b.count * m;
      sum[2] += b.count * m * m;
      if (m == 0) zeros_ += b.count;
      sums_.push_back(sum);
    }
  }
  double total() const { return sums_.back()[0]; }
  // Expected squared error of 2^bits levels from low to high: what is cut off, and width^2 / 12 for
  // the rest; zero has a code of its own.
  double error(double low, double high, double levels) const {
    const std::size_t a = below(low), b = below(high);
    const double step = (high - low) / (levels - 1);
    const double inside = std::max(0.0, sums_[b][0] - sums_[a][0] - zeros_);
    return clipped(0, a, low) + clipped(b, bins_.size(), high) + inside * step * step / 12;
  }
  // Sum and count of |x| beyond -s and s; count inside without zeros.
  std::array<double, 3> beyond(double s) const {
    const std::size_t a = below(-s), b = below(s);
    const double sum = (sums_.back()[1] - sums_[b][1]) - sums_[a][1];
    const double count = sums_.back()[0] - sums_[b][0] + sums_[a][0];
    return {sum, count, std::max(0.0, total() - count - zeros_)};
  }
  const std::vector<LogHistogram::Bin>& bins() const { return bins_; }

 private:
  std::size_t below(double x) const {  // bins whose middle is below x
    return static_cast<std::size_t>(
        std::lower_bound(bins_.begin(), bins_.end(), x,
                         [](const LogHistogram::Bin& b, double v) { return b.middle() < v; }) -
        bins_.begin());
  }
  double clipped(std::size_t from, std::size_t to, double at) const {
    const double n = sums_[to][0] - sums_[from][0], s1 = sums_[to][1] - sums_[from][1],
                 s2 = sums_[to][2] - sums_[from][2];
    return std::max(0.0, s2 - 2 * at * s1 + at * at * n);
  }
  std::vector<LogHistogram::Bin> bins_;
  std::vector<std::array<double, 3>> sums_;
  double zeros_ = 0;
};

Range with_zero(const Statistics& s) {
  return {std::min<double>(s.min, 0), std::max<double>(s.max, 0)};
}

// Both ends in steps of 1/100 of what they are, in turns until neither moves.
Range by_mse(const Statistics& s, double levels) {
  const Sums sums(s);
  const Range whole = with_zero(s);
  Range best = whole;
  double least = sums.error(best.low, best.high, levels);
  for (int round = 0; round < 4; ++round) {
    const double before = least;
    for (int i = 1; i <= 100; ++i) {
      const double low = whole.low * i / 100, high = whole.high * i / 100;
      if (const double e = sums.error(low, best.high, levels); whole.low < 0 && e < least) {
        least = e;
        best.low = low;
      }
      if (const double e = sums.error(best.low, high, levels); whole.high > 0 && e < least) {
        least = e;
        best.high = high;
      }
      if (const double e = sums.error(low, high, levels); e < least) {
        least = e;
        best = {low, high};
      }
    }
    if (least == before) break;
  }
  return best;
}

// s = E[|x|; |x| > s] / (c P(inside) + P(beyond)); c = squared step over 12, in units of s.
Range by_octav(const Statistics& s, double levels) {
  const Sums sums(s);
  const Range whole = with_zero(s);
  const double peak = std::max(-whole.low, whole.high);
  double magnitude = peak;
  {  // starts at the mean magnitude, from where Newton's steps rise to the fixed point
    const auto all = sums.beyond(0);
    if (all[1] <= 0) return whole;
    magnitude = all[0] / all[1];
  }
  for (int i = 0; i < 50; ++i) {
    const double width =
        (std::min(magnitude, whole.high) - std::max(-magnitude, whole.low)) / magnitude;
    const double c = width * width / ((levels - 1) * (levels - 1)) / 12;
    const auto [sum, beyond, inside] = sums.beyond(magnitude);
    const double next = sum / (c * inside + beyond);
    if (!std::isfinite(next) || next <= 0) break;
    const bool still = std::fabs(next - magnitude) < 1e-6 * magnitude;
    magnitude = std::min(next, peak);
    if (still) break;
  }
  return {std::max(whole.low, -magnitude), std::min(whole.high, magnitude)};
}

// Divergence of the clipped values, outliers at the edges, from their histogram in 2^bits levels.
double divergence(const std::vector<double>& fine, std::size_t from, std::size_t to, int levels) {
  std::vector<double> p(fine.begin() + static_cast<std::ptrdiff_t>(from),
                        fine.begin() + static_cast<std::ptrdiff_t>(to));
  std::vector<double> q(p.size(), 0);
  const auto n = p.size();
  for (int level = 0; level < levels; ++level) {
    const std::size_t a = n * static_cast<std::size_t>(level) / static_cast<std::size_t>(levels),
                      b = n * static_cast<std::size_t>(level + 1) /
                          static_cast<std::size_t>(levels);
    double sum = 0;
    std::size_t filled = 0;
    for (std::size_t i = a; i < b; ++i) {
      sum += p[i];
      filled += p[i] > 0 ? 1 : 0;
    }
    for (std::size_t i = a; i < b; ++i) q[i] = p[i] > 0 ? sum / static_cast<double>(filled) : 0;
  }
  for (std::size_t i = 0; i < from; ++i) p.front() += fine[i];
  for (std::size_t i = to; i < fine.size(); ++i) p.back() += fine[i];
  double sum_p = 0, sum_q = 0;
  for (std::size_t i = 0; i < n; ++i) {
    sum_p += p[i];
    sum_q += q[i];
  }
  if (sum_p <= 0 || sum_q <= 0) return std::numeric_limits<double>::infinity();
  double kl = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (p[i] <= 0) continue;
    kl += p[i] / sum_p * std::log((p[i] / sum_p) / (std::max(q[i], 1e-4) / sum_q));
  }
  return kl;
}

Range by_kl(const Statistics& s, int levels) {
  constexpr std::size_t kFine = 2048;
  const Range whole = with_zero(s);
  if (!(whole.high > whole.low)) return whole;
  std::vector<double> fine(kFine, 0);
  const double width = (whole.high - whole.low) / kFine;
  const Sums sums(s);
  for (const auto& b : sums.bins()) {  // a wide bin spreads over the fine ones that it covers
    const auto place = [&](double v) {
      return std::min<std::size_t>(
          kFine - 1, static_cast<std::size_t>(std::max(0.0, (v - whole.low) / width)));
    };
    const std::size_t from = place(b.low), to = place(b.high);
    for (std::size_t i = from; i <= to; ++i)
      fine[i] += b.count / static_cast<double>(to - from + 1);
  }
  // Zeros say nothing about the width of the range: their bin gets its neighbours' count.
  const auto zero = std::min<std::size_t>(kFine - 1, static_cast<std::size_t>(-whole.low / width));
  fine[zero] = zero + 1 < kFine ? fine[zero + 1] : fine[zero - 1];
  const auto distance = [&](const Range& r) {
    const auto from = static_cast<std::size_t>(std::floor((r.low - whole.low) / width));
    const auto to = std::clamp<std::size_t>(
        static_cast<std::size_t>(std::ceil((r.high - whole.low) / width)), from + 1, kFine);
    return divergence(fine, from, to, levels);
  };
  Range best = whole;  // one end after the other, the longer one first
  double least = distance(best);
  const bool high_first = whole.high >= -whole.low;
  for (const bool high : {high_first, !high_first}) {
    Range r = best;
    for (int i = 98; i >= 4; i -= 2) {
      (high ? r.high : r.low) = (high ? whole.high : whole.low) * i / 100;
      if (r.high - r.low < 2 * width) break;
      if (const double d = distance(r); d < least) {
        least = d;
        best = r;
      }
    }
  }
  return best;
}

}  // namespace

Calibration calibrate(const Setup& setup, const Dataset& data, const PredictOptions& options) {
  const std::size_t tensors = setup.model->main().tensors.size();
  Calibration all;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  all.tensor.resize(tensors);
  for (Statistics& s : all.tensor) s.min = s.max = s.average_min = s.average_max = nan;
  observe(
      setup, data, options, [&](std::size_t) { return std::make_unique<Watcher>(tensors); },
      [&](BlockObserver& block) {
        auto& seen = static_cast<Watcher&>(block);
        for (std::size_t t = 0; t < tensors; ++t) {
          Statistics& s = all.tensor[t];
          s.histogram.merge(seen.histogram[t]);
          for (const Extremes& e : seen.samples[t]) {
            const bool first = std::isnan(s.min);
            s.min = first ? e.low : std::min(s.min, e.low);
            s.max = first ? e.high : std::max(s.max, e.high);
            s.average_min = first ? e.low : kKeep * s.average_min + (1 - kKeep) * e.low;
            s.average_max = first ? e.high : kKeep * s.average_max + (1 - kKeep) * e.high;
          }
        }
      });
  all.samples = options.rows.empty() ? data.count : options.rows.size();
  return all;
}

Range range_by(CalibrationMethod method, const Statistics& s, int bits) {
  const Range whole{s.min, s.max};
  if (std::isnan(s.min) || !(s.min < s.max)) return whole;
  const int levels = 1 << bits;
  Range r = whole;
  switch (method) {
    case CalibrationMethod::kAuto:
    case CalibrationMethod::kMinmax:
      return whole;
    case CalibrationMethod::kMovingAverage:
      return {s.average_min, s.average_max};
    case CalibrationMethod::kPercentile:
      if (bits <= 8) r = {s.histogram.quantile(0.0001), s.histogram.quantile(0.9999)};
      break;
    case CalibrationMethod::kMse:
      if (bits <= 8) r = by_mse(s, levels);
      break;
    case CalibrationMethod::kKl:
      if (bits <= 8) r = by_kl(s, levels);
      break;
    case CalibrationMethod::kOctav:
      if (bits <= 8) r = by_octav(s, levels);
      break;
  }
  const Range limit = with_zero(s);
  return {std::clamp(r.low, limit.low, limit.high), std::clamp(r.high, limit.low, limit.high)};
}

Ranges ranges_by(const Calibration& calibration, const std::vector<CalibrationMethod>& methods,
                 int bits) {
  Ranges r;
  r.samples = calibration.samples;
  for (std::size_t t = 0; t < calibration.tensor.size(); ++t) {
    const Range range = range_by(methods.at(t), calibration.tensor[t], bits);
    r.min.push_back(static_cast<float>(range.low));
    r.max.push_back(static_cast<float>(range.high));
  }
  r.p_low.assign(r.min.begin(), r.min.end());
  r.p_high.assign(r.max.begin(), r.max.end());
  return r;
}

}  // namespace litegap
