#include "quant/ranges.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/histogram.h"

namespace litegap {
namespace {

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
