#include "quant/ranges.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace litegap {
namespace {

// Counts by sign, exponent and the six leading bits of the mantissa: fixed relative width, needs no
// range in advance, merges by addition.  Exponents outside [-40, 40) share the outermost bins.
class LogHistogram {
 public:
  static constexpr int kBins = 80 * 64;
  void add(float v) {
    if (counts_.empty()) counts_.assign(2 * kBins + 1, 0);
    ++counts_[static_cast<std::size_t>(index(v))];
  }
  void merge(const LogHistogram& other) {
    if (other.counts_.empty()) return;
    if (counts_.empty()) counts_.assign(2 * kBins + 1, 0);
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  }
  // The value below which a share q of the counts lies (middle of its bin).
  double quantile(double q) const {
    std::uint64_t total = 0;
    for (const std::uint64_t c : counts_) total += c;
    const double want = q * static_cast<double>(total);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      sum += counts_[i];
      if (static_cast<double>(sum) >= want && counts_[i] > 0) return value(static_cast<int>(i));
    }
    return 0;
  }

 private:
  static int index(float v) {
    std::uint32_t bits;
    std::memcpy(&bits, &v, sizeof bits);
    const int exponent = static_cast<int>((bits >> 23) & 0xFF) - 127;
    if (exponent < -40) return kBins;
    const int bin = std::min(kBins - 1, (exponent + 40) * 64 + static_cast<int>((bits >> 17) & 63));
    return (bits >> 31) != 0 ? kBins - 1 - bin : kBins + 1 + bin;
  }
  static double value(int i) {
    if (i == kBins) return 0;
    const int bin = i > kBins ? i - kBins - 1 : kBins - 1 - i;
    const double magnitude = std::ldexp(1.0 + (bin % 64 + 0.5) / 64, bin / 64 - 40);
    return i > kBins ? magnitude : -magnitude;
  }
  std::vector<std::uint64_t> counts_;
};

struct Seen {
  float min = std::numeric_limits<float>::infinity(), max = -std::numeric_limits<float>::infinity();
  LogHistogram histogram;
};

class RangeObserver : public BlockObserver {
 public:
  explicit RangeObserver(std::size_t tensors) : seen(tensors) {}
  void on_value(int, int tensor, const Array& value) override {
    if (value.dtype() != DType::kFloat32) return;
    Seen& s = seen[static_cast<std::size_t>(tensor)];
    // Large tensors: the histogram takes every k-th value; min and max take all.
    const auto v = value.span<float>();
    const std::size_t step = 1 + v.size() / 2048;
    for (const float x : v) {
      if (!std::isfinite(x)) continue;
      s.min = std::min(s.min, x);
      s.max = std::max(s.max, x);
    }
    for (std::size_t i = 0; i < v.size(); i += step) {
      if (std::isfinite(v[i])) s.histogram.add(v[i]);
    }
  }
  std::vector<Seen> seen;
};

}  // namespace

Ranges observe_ranges(const Setup& setup, const Dataset& data, const PredictOptions& options) {
  const std::size_t tensors = setup.model->main().tensors.size();
  std::vector<Seen> all(tensors);
  observe(
      setup, data, options, [&](std::size_t) { return std::make_unique<RangeObserver>(tensors); },
      [&](BlockObserver& block) {
        const auto& seen = static_cast<RangeObserver&>(block).seen;
        for (std::size_t t = 0; t < tensors; ++t) {
          all[t].min = std::min(all[t].min, seen[t].min);
          all[t].max = std::max(all[t].max, seen[t].max);
          all[t].histogram.merge(seen[t].histogram);
        }
      });
  Ranges r;
  r.samples = options.rows.empty() ? data.count : options.rows.size();
  for (const Seen& s : all) {
    const bool any = s.min <= s.max;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    r.min.push_back(any ? s.min : nan);
    r.max.push_back(any ? s.max : nan);
    r.p_low.push_back(any ? std::clamp<double>(s.histogram.quantile(0.0001), s.min, s.max) : nan);
    r.p_high.push_back(any ? std::clamp<double>(s.histogram.quantile(0.9999), s.min, s.max) : nan);
  }
  return r;
}

}  // namespace litegap
