#include "kernels/hybrid.h"

namespace litegap {
namespace {

RowCode symmetric(float low, float high) {
  RowCode code;
  code.low = -127;
  const float r = std::max(-low, high);
  if (r == 0.0f) return code;
  code.inverse = 127.0f / r;
  code.scale = r / 127.0f;
  return code;
}

RowCode asymmetric(float low, float high) {
  RowCode code;
  if (low == high) return code;
  const double step = static_cast<double>(high - low) / 255.0;
  const double lo = low, hi = high;
  // The zero point comes from the end whose own rounding error is smaller.
  const bool from_low = 128.0 + std::abs(lo / step) < 127.0 + std::abs(hi / step);
  const double zero = from_low ? -128.0 - lo / step : 127.0 - hi / step;
  // With an infinite end it is no number; the runtime's conversion to a code then gives 0.
  code.zero_point = zero <= -128.0     ? -128
                    : zero >= 127.0    ? 127
                    : std::isnan(zero) ? 0
                                       : static_cast<std::int32_t>(std::round(zero));
  code.scale = static_cast<float>(step);
  code.inverse = static_cast<float>(1.0 / static_cast<double>(code.scale));
  return code;
}

RowCode qd8(float low, float high) {
  RowCode code;
  code.ties_even = true;
  code.inverse = low == high ? 1.0f : 255.0f / (high - low);
  const float a = low * code.inverse, b = high * code.inverse;
  const float zero = (-128.0f + a) + (127.0f + b) > 0.0f ? -128.0f - a : 127.0f - b;
  code.zero_point = round_even(std::min(std::max(zero, -128.0f), 127.0f));
  code.scale = 1.0f / code.inverse;
  return code;
}

}  // namespace

RowCode hybrid_code(HybridCode how, const GemmKernels& kernels, const float* values,
                    std::size_t n) {
  float low = 0, high = 0;
  kernels.range(values, n, &low, &high);
  switch (how) {
    case HybridCode::kSymmetric:
      return symmetric(low, high);
    case HybridCode::kAsymmetric:
      return asymmetric(low, high);
    case HybridCode::kQd8:
      return qd8(low, high);
  }
  return {};
}

}  // namespace litegap
