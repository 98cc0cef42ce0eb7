#include "kernels/hybrid.h"

#include <algorithm>
#include <array>
#include <limits>

namespace litegap {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

RowCode symmetric(float largest) {
  RowCode code;
  code.low = -127;
  if (largest == 0.0f) return code;
  code.inverse = 127.0f / largest;
  code.scale = largest / 127.0f;
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
  code.inverse =
      code.scale == 0.0f ? 0.0f : static_cast<float>(1.0 / static_cast<double>(code.scale));
  return code;
}

RowCode qd8(float low, float high) {
  RowCode code;
  code.ties_even = true;
  code.inverse = low == high ? 1.0f : 255.0f / (high - low);
  const float a = low * code.inverse, b = high * code.inverse;
  const float zero = (-128.0f + a) + (127.0f + b) > 0.0f ? -128.0f - a : 127.0f - b;
  const float above = zero > -128.0f ? zero : -128.0f;  // of NaN too
  code.zero_point = round_even(std::min(above, 127.0f));
  code.scale = 1.0f / code.inverse;
  return code;
}

// ---- odd rows

// The second where no order decides, as the vector instructions of x86 do: a NaN hides what was
// seen before it, and the next value hides the NaN.
float least(float a, float b) { return a < b ? a : b; }
float most(float a, float b) { return a > b ? a : b; }

struct Ends {
  float low = kInfinity, high = -kInfinity;
};

// Of at least one value: two at a time, the smaller of a pair against the smallest so far, the
// other against the largest, as std::minmax_element is made.
Ends ends_by_pairs(const float* v, std::size_t n) {
  Ends e{v[0], v[0]};
  if (n > 1) e = v[1] < v[0] ? Ends{v[1], v[0]} : Ends{v[0], v[1]};
  for (std::size_t i = 2; i < n; i += 2) {
    if (i + 1 == n) {
      if (v[i] < e.low)
        e.low = v[i];
      else if (!(v[i] < e.high))
        e.high = v[i];
      break;
    }
    const bool falls = v[i + 1] < v[i];
    const float a = falls ? v[i + 1] : v[i], b = falls ? v[i] : v[i + 1];
    if (a < e.low) e.low = a;
    if (!(b < e.high)) e.high = b;
  }
  return e;
}

template <std::size_t kLanes>
struct Lanes {
  std::array<float, kLanes> low, high;
  Lanes() { low.fill(kInfinity), high.fill(-kInfinity); }
  void take(const float* lows, const float* highs, std::size_t n = kLanes) {
    for (std::size_t j = 0; j < n; ++j) {
      low[j] = least(low[j], lows[j]);
      high[j] = most(high[j], highs[j]);
    }
  }
  void take(const float* v) { take(v, v); }
  void take(const Lanes& o) { take(o.low.data(), o.high.data()); }
};

// The built-in kernels' range for asymmetric codes: four lanes, then the last up to three by pairs.
Ends ends_by_four(const float* v, std::size_t n) {
  Lanes<4> lanes;
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) lanes.take(v + i);
  Ends e{0, 0};
  if (i > 0) {
    const auto& [l, h] = lanes;
    e.low = least(least(least(l[1], l[3]), least(l[0], l[2])), 0.0f);
    e.high = most(most(most(h[1], h[3]), most(h[0], h[2])), 0.0f);
  }
  if (i == n) return e;
  const Ends rest = ends_by_pairs(v + i, n - i);
  return {least(rest.low, e.low), most(rest.high, e.high)};
}

// XNNPACK's on a processor with 8 lanes: four times 8 while there are as many, then 8, then one by
// one.  The lanes are joined in halves, or, before single values, so that a lane of NaN is left
// out.
Ends ends_by_eight(const float* v, std::size_t n) {
  std::array<Lanes<8>, 4> sets;
  Lanes<8>& all = sets[0];
  std::size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    for (std::size_t s = 0; s < 4; ++s) sets[s].take(v + i + 8 * s);
  }
  all.take(sets[1]);
  sets[2].take(sets[3]);
  all.take(sets[2]);
  for (; i + 8 <= n; i += 8) all.take(v + i);
  Ends e;
  if (i == n) {
    for (std::size_t half = 4; half > 0; half /= 2)
      all.take(all.low.data() + half, all.high.data() + half, half);
    e = {all.low[0], all.high[0]};
  }
  for (std::size_t j = 0; i < n && j < 8; ++j)
    e = {least(all.low[j], e.low), most(all.high[j], e.high)};
  for (; i < n; ++i) e = {least(e.low, v[i]), most(e.high, v[i])};
  return {least(0.0f, e.low), most(0.0f, e.high)};
}

// `range`: without NaN.
RowCode odd_row_code(HybridCode how, Ends range, const float* values, std::size_t n) {
  RowCode code;
  switch (how) {
    case HybridCode::kFourBit:
      code = symmetric(std::max(-range.low, range.high));
      code.odd = OddRow::kFourBit;
      break;
    case HybridCode::kSymmetricRow:
      if (counts_as_zero(values, n)) {
        code.odd = OddRow::kZeros;
        break;
      }
      [[fallthrough]];
    case HybridCode::kSymmetric: {
      const Ends e = ends_by_pairs(values, n);
      const float a = std::abs(e.low), b = std::abs(e.high), largest = a < b ? b : a;
      code = symmetric(largest);
      code.odd = largest == 0.0f ? OddRow::kZeros : OddRow::kSymmetric;
      break;
    }
    case HybridCode::kAsymmetric: {
      const Ends e = ends_by_four(values, n);
      code = asymmetric(e.low, e.high);
      code.odd = e.low == e.high ? OddRow::kZeros : OddRow::kAsymmetric;
      break;
    }
    case HybridCode::kQd8: {
      const Ends e = ends_by_eight(values, n);
      code = qd8(e.low, e.high);
      code.odd = OddRow::kQd8;
      break;
    }
  }
  code.rest = values + n / 8 * 8;
  return code;
}

// Half away from zero, by an addition; INT32_MIN for NaN, the nearest end elsewhere.
std::int32_t round_in_block(float v) {
  const float r = v + (v < 0.0f ? -0.5f : 0.5f);
  if (r >= 2147483648.0f) return std::numeric_limits<std::int32_t>::max();
  if (!(r >= -2147483648.0f)) return std::numeric_limits<std::int32_t>::min();
  return static_cast<std::int32_t>(r);
}

std::int32_t odd_code(const RowCode& code, float v, bool rest) {
  switch (code.odd) {
    case OddRow::kSymmetric:
      return std::clamp(rest ? round_away(v) : round_in_block(v), -127, 127);
    case OddRow::kFourBit:
      return std::isnan(v) ? 0 : std::clamp(round_away(v), -127, 127);
    case OddRow::kAsymmetric: {
      if (!rest) return std::clamp(wrap_add(round_in_block(v), code.zero_point), -128, 127);
      const float sum = static_cast<float>(code.zero_point) + std::round(v);
      return std::isnan(sum) ? 0 : static_cast<std::int32_t>(std::clamp(sum, -128.0f, 127.0f));
    }
    case OddRow::kQd8: {
      const std::int32_t q = round_even(least(v, static_cast<float>(127 - code.zero_point)));
      return std::clamp(std::max(q, -32768) + code.zero_point, -128, 127);
    }
    default:
      return 0;
  }
}

}  // namespace

bool counts_as_zero(const float* values, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    if (values[i] != 0.0f && !(std::isnan(values[i]) && i < n / 4 * 4)) return false;
  }
  return true;
}

RowCode hybrid_code(HybridCode how, const GemmKernels& kernels, const float* values,
                    std::size_t n) {
  float low = 0, high = 0;
  if (!kernels.range(values, n, &low, &high)) return odd_row_code(how, {low, high}, values, n);
  switch (how) {
    case HybridCode::kSymmetric:
    case HybridCode::kSymmetricRow:
    case HybridCode::kFourBit:
      return symmetric(std::max(-low, high));
    case HybridCode::kAsymmetric:
      return asymmetric(low, high);
    case HybridCode::kQd8:
      return qd8(low, high);
  }
  return {};
}

void hybrid_quantize(const GemmKernels& kernels, const float* in, std::size_t n,
                     const RowCode& code, std::int16_t* out) {
  if (code.odd == OddRow::kNone) return kernels.quantize(in, n, code, out);
  for (std::size_t i = 0; i < n; ++i) {
    const std::int32_t q = odd_code(code, in[i] * code.inverse, in + i >= code.rest);
    out[i] = static_cast<std::int16_t>(q - code.zero_point);
  }
}

void hybrid_quantize_quads(const GemmKernels& kernels, const float* in, std::size_t n,
                           const RowCode& code, std::byte* out) {
  const std::int32_t bias = quad_zero(kernels, {});  // of code 0
  if (code.odd == OddRow::kNone) return kernels.quantize_quads(in, n, code, bias, out);
  for (std::size_t i = 0; i < n; ++i) {
    const std::int32_t q = odd_code(code, in[i] * code.inverse, in + i >= code.rest);
    out[i] = static_cast<std::byte>(q + bias);
  }
}

}  // namespace litegap
