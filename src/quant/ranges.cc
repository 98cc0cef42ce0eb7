#include "quant/ranges.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/histogram.h"
#include "run/scan.h"

namespace litegap {
namespace {

struct Seen {
  Scan scan;
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
    scan(v, s.scan);
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
          all[t].scan.merge(seen[t].scan);
          all[t].histogram.merge(seen[t].histogram);
        }
      });
  Ranges r;
  r.samples = options.rows.empty() ? data.count : options.rows.size();
  for (const Seen& s : all) {
    const bool any = s.scan.any();
    const double low = s.scan.low, high = s.scan.high;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    r.min.push_back(any ? static_cast<float>(low) : nan);
    r.max.push_back(any ? static_cast<float>(high) : nan);
    r.p_low.push_back(any ? std::clamp(s.histogram.quantile(0.0001), low, high) : nan);
    r.p_high.push_back(any ? std::clamp(s.histogram.quantile(0.9999), low, high) : nan);
  }
  return r;
}

}  // namespace litegap
