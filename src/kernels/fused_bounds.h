// The fused activation of an operator as bounds: of real values, or of output codes
// (docs/numerics.md, sections 1.4 and 1.5).
#pragma once
#include <cmath>
#include <limits>

#include "kernels/value_quant.h"

namespace litegap {

template <class T>
struct RealBounds {
  T low = std::numeric_limits<T>::lowest(), high = std::numeric_limits<T>::max();
  bool set = false;  // false: no activation, the bounds are those of the type
};

// TANH and SIGN_BIT are accepted and not applied, as in the runtime.
template <class T>
RealBounds<T> real_bounds(Activation activation) {
  constexpr T kMost = std::numeric_limits<T>::max();
  switch (activation) {
    case Activation::kRelu:
      return {T(0), kMost, true};
    case Activation::kRelu6:
      return {T(0), T(6), true};
    case Activation::kReluN1To1:
      return {T(-1), T(1), true};
    default:
      return {};
  }
}

namespace detail {
template <class Code>
Range32 bounds_by(const OpSpec& spec, Code code) {
  const Range32 all = code_range(spec.outputs[0].dtype);
  switch (fused_activation(spec.op->attrs)) {
    case Activation::kRelu:
      return {std::max(all.low, code(0.0f)), all.high};
    case Activation::kRelu6:
      return {std::max(all.low, code(0.0f)), std::min(all.high, code(6.0f))};
    case Activation::kReluN1To1:
      return {std::max(all.low, code(-1.0f)), std::min(all.high, code(1.0f))};
    default:
      return all;
  }
}
}  // namespace detail

// Section 1.4: the reference and built-in kernels.
inline Range32 code_bounds(const OpSpec& spec, ScaleZero y) {
  return detail::bounds_by(spec, [y](float v) {
    const std::int64_t code = std::int64_t{y.zero} + round_away(v / y.scale);
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(code, -(1 << 30), 1 << 30));
  });
}

// Section 1.5: XNNPACK adds the zero point before it rounds, ties to even.
inline Range32 xnn_code_bounds(const OpSpec& spec, ScaleZero y) {
  const Range32 all = code_range(spec.outputs[0].dtype);
  return detail::bounds_by(spec, [y, all](float v) {
    const float code = v / y.scale + static_cast<float>(y.zero);
    const float low = static_cast<float>(all.low), high = static_cast<float>(all.high);
    return static_cast<std::int32_t>(std::nearbyint(std::min(std::max(code, low), high)));
  });
}

}  // namespace litegap
