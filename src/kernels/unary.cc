// RELU and its relatives, LEAKY_RELU, PRELU, HARD_SWISH (docs/numerics.md, sections 2.15 to 2.18).
//
// Functions of one 8-bit code become tables; RELU and LEAKY_RELU of int16 are computed.
#include <cmath>
#include <optional>

#include "kernels/arithmetic_ops.h"
#include "kernels/broadcast.h"
#include "kernels/code_rows.h"
#include "kernels/fixed_point.h"
#include "kernels/half.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

// ---- RELU, RELU6, RELU_N1_TO_1, RELU_0_TO_1
// ------------------------------------------------------
struct Ends {
  float low = 0;
  std::optional<float> high;
};

Ends ends_of(OpCode code) {
  switch (code) {
    case OpCode::kRelu6:
      return {0.0f, 6.0f};
    case OpCode::kReluN1To1:
      return {-1.0f, 1.0f};
    case OpCode::kRelu0To1:
      return {0.0f, 1.0f};
    default:
      return {0.0f, std::nullopt};
  }
}

std::unique_ptr<Kernel> relu_float(std::size_t n, Ends ends) {
  const float low = ends.low;
  if (!ends.high) return map_values<float>(n, [low](float x) { return x < low ? low : x; });
  return map_values<float>(n, [low, high = *ends.high](float x) {
    const float v = x < low ? low : x;
    return v > high ? high : v;
  });
}

std::unique_ptr<Kernel> prepare_relu(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  const OpCode code = spec.op->code;
  const Ends ends = ends_of(code);
  if (t == DType::kFloat32) return relu_float(n, ends);
  const bool wide = code == OpCode::kRelu || code == OpCode::kRelu6;
  if (!is_8bit(t) && !(t == DType::kInt16 && wide)) refuse_type(spec);
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  if (t == DType::kInt16 && (x.zero != 0 || y.zero != 0)) {
    refuse(spec, "zero points {} and {}, expected 0 for int16", x.zero, y.zero);
  }
  const Range32 range = code_range(t);
  const auto at = [y](float v) { return wrap_add(round_away(v / y.scale), y.zero); };
  const std::int32_t low = std::max(range.low, at(ends.low));
  const std::int32_t high = ends.high ? std::min(range.high, at(*ends.high)) : range.high;
  const Multiplier m = make_multiplier(x.scale / y.scale);
  return map_codes(t, n, [=](std::int32_t q) {
    return std::min(high, std::max(low, scale_and_shift(q - x.zero, m, y.zero)));
  });
}

// ---- LEAKY_RELU
// ---------------------------------------------------------------------------------- XNNPACK:
// multipliers with 8 fraction bits.  Empty where it does not take the node.
std::unique_ptr<Kernel> leaky_xnn(const OpSpec& spec, ScaleZero x, ScaleZero y, float alpha) {
  const DType t = spec.inputs[0].dtype;
  const float ratio = x.scale / y.scale, negative = ratio * alpha;
  const bool taken = is_8bit(t) && ratio >= 0x1p-8f && ratio <= 128.0f &&
                     negative >= -127.99609375f && negative <= 128.0f &&
                     std::fabs(negative) >= 0x1p-8f;
  if (spec.dialect != Dialect::kXnnpack || !taken) return nullptr;
  const auto code = [](float r) { return static_cast<std::int32_t>(std::nearbyint(256.0f * r)); };
  const std::int32_t p = code(ratio), q = code(negative);
  const Range32 range = code_range(t);
  const Table8 table = tabulate(t, [=](std::int32_t c) {
    const std::int32_t v = c - x.zero;
    const std::int32_t sum = std::clamp((v * (v > 0 ? p : q) + 128) >> 8, -32768, 32767);
    return std::clamp(sum + y.zero, range.low, range.high);
  });
  const std::size_t n = shape_elements(spec.inputs[0].shape);
  const auto with = [&](auto zero) {
    using T = decltype(zero);
    return make_kernel([n, table, f = ScaleRow{x.zero, p, q, y.zero}](const Io& io) {
      scale_codes(f, table, n, static_cast<const T*>(io.inputs[0]), static_cast<T*>(io.outputs[0]));
    });
  };
  if (t == DType::kInt8) return with(std::int8_t{});
  return with(std::uint8_t{});
}

std::unique_ptr<Kernel> prepare_leaky_relu(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  const float alpha = attrs_of<LeakyReluAttrs>(spec).alpha;
  if (t == DType::kFloat32) {
    return map_values<float>(n, [alpha](float x) {
      const float below = x * alpha;  // always: a choice of two values becomes vector code
      return x > 0 ? x : below;
    });
  }
  if (!is_code_type(t)) refuse_type(spec);
  if (!std::isfinite(alpha)) refuse(spec, "alpha is {}", alpha);
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  if (auto kernel = leaky_xnn(spec, x, y, alpha)) return kernel;
  const Multiplier identity = make_multiplier(x.scale / y.scale);
  const float slope = x.scale * alpha / y.scale;
  const Multiplier size = make_multiplier(std::fabs(slope));
  const bool negate = slope < 0;
  const Range32 range = code_range(t);
  return map_codes(t, n, [=](std::int32_t c) {
    const std::int32_t v = c - x.zero;
    std::int64_t r = scale_double(v, v >= 0 ? identity : size);
    if (v < 0 && negate) r = -r;
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(r + y.zero, range.low, range.high));
  });
}

// ---- PRELU
// ---------------------------------------------------------------------------------------
template <class X, class A>
std::unique_ptr<Kernel> prelu_codes(OpSpec& spec, const Broadcast& b) {
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  const ScaleZero a = scale_zero(spec, spec.inputs[1]);
  const Multiplier identity = make_multiplier(x.scale / y.scale);
  const Multiplier slope = make_multiplier(x.scale * a.scale / y.scale);
  const Range32 range = code_range(spec.inputs[0].dtype);
  return broadcast_kernel<X, A, X>(b, [=](X q, A s) {
    const std::int32_t v = q - x.zero;
    const std::int32_t r = v >= 0 ? scale_and_shift(v, identity, y.zero)
                                  : scale_and_shift(v * (s - a.zero), slope, y.zero);
    return std::clamp(r, range.low, range.high);
  });
}

std::unique_ptr<Kernel> prepare_prelu(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const DType t = spec.inputs[0].dtype, slope = spec.inputs[1].dtype;
  if (spec.outputs[0].dtype != t) {
    refuse(spec, "types {} and {}: expected one type", dtype_name(t),
           dtype_name(spec.outputs[0].dtype));
  }
  const Broadcast b = broadcast(spec);
  if (spec.outputs[0].shape != spec.inputs[0].shape) {
    refuse(spec, "slope of shape {} is larger than the input of shape {}",
           shape_text(spec.inputs[1].shape), shape_text(spec.inputs[0].shape));
  }
  if (t == DType::kFloat32 && slope == t) {
    return broadcast_kernel<float, float, float>(b, [](float x, float a) {
      const float below = x * a;  // always: a choice of two values becomes vector code
      return x >= 0.0f ? x : below;
    });
  }
  if (t == DType::kInt8 && slope == t) return prelu_codes<std::int8_t, std::int8_t>(spec, b);
  if (t == DType::kUint8 && slope == t) return prelu_codes<std::uint8_t, std::uint8_t>(spec, b);
  if (t == DType::kInt16 && slope == DType::kInt8)
    return prelu_codes<std::int16_t, std::int8_t>(spec, b);
  refuse(spec, "types {} and {} are not supported", dtype_name(t), dtype_name(slope));
}

// ---- HARD_SWISH
// ----------------------------------------------------------------------------------
std::unique_ptr<Kernel> hard_swish_float(Dialect dialect, std::size_t n) {
  const auto ramp = [](float x) { return std::min(6.0f, std::max(0.0f, x + 3.0f)); };
  if (dialect == Dialect::kReference) {
    return map_values<float>(n, [ramp](float x) { return x * ramp(x) / 6.0f; });
  }
  if (dialect == Dialect::kXnnpack) {
    // Values, as with ends that the compiler knows it makes three products and chooses one.
    return map_fused(n, [least = 0.0f, most = 1.0f](float x) {
      const float ramp = std::fma(x, 1.0f / 6.0f, 0.5f), low = ramp < least ? least : ramp;
      return x * (low > most ? most : low);
    });
  }
  // Whole blocks of four multiply in another order than the rest.
  const std::size_t whole = n / 4 * 4;
  return make_kernel([=](const Io& io) {
    const float* x = static_cast<const float*>(io.inputs[0]);
    float* y = static_cast<float*>(io.outputs[0]);
    constexpr float kSixth = 1.0f / 6.0f;
    for (std::size_t i = 0; i < whole; ++i) y[i] = (x[i] * kSixth) * ramp(x[i]);
    for (std::size_t i = whole; i < n; ++i) y[i] = (x[i] * ramp(x[i])) * kSixth;
  });
}

// Section 2.18: 16-bit words; `ramp` is the factor that goes from 0 to 1 in Q0.15.
struct HardSwishCodes {
  ScaleZero x, y;
  std::int32_t out_mantissa = 0, ramp_mantissa = 0;
  int out_exponent = 0, ramp_exponent = 0;
  Range32 range;

  std::int32_t operator()(std::int32_t code) const {
    const std::int32_t v = static_cast<std::int16_t>((code - x.zero) * 128);
    const std::int32_t scaled = fixed::high_multiply16(v, out_mantissa);
    std::int32_t ramp = v;
    if (ramp_exponent > 0) ramp = fixed::shift_left16(ramp, std::min(ramp_exponent - 1, 16));
    ramp = fixed::high_multiply16(ramp, ramp_mantissa);
    if (ramp_exponent > 0) ramp = fixed::clamp16(2 * ramp);
    if (ramp_exponent < 0) ramp = shift_right_away(ramp, -ramp_exponent);
    ramp = (ramp + 32768) >> 1;
    const std::int32_t product = ramp * scaled / 32768;
    const auto r = static_cast<std::int16_t>(shift_right_away(product, -out_exponent) + y.zero);
    return std::clamp<std::int32_t>(r, range.low, range.high);
  }
};

std::int32_t narrow_mantissa(std::int32_t m) {
  return m < 0x7FFF0000 ? (m + (1 << 15)) >> 16 : 0x7FFF;
}

std::unique_ptr<Kernel> prepare_hard_swish(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  if (t == DType::kFloat32) return hard_swish_float(spec.dialect, n);
  if (!is_8bit(t)) refuse_type(spec);
  HardSwishCodes f;
  f.x = scale_zero(spec, spec.inputs[0]);
  f.y = scale_zero(spec, spec.outputs[0]);
  f.range = code_range(t);
  const float fine = (1.0f / 128.0f) * f.x.scale;
  const Multiplier out = make_multiplier(fine / f.y.scale);
  const Multiplier ramp = make_multiplier(fine / (3.0f / 32768.0f));
  if (out.exponent > 0) {
    refuse(spec, "output scale {} is too small for the input's scale {}", f.y.scale, f.x.scale);
  }
  f.out_mantissa = narrow_mantissa(out.mantissa);
  f.ramp_mantissa = narrow_mantissa(ramp.mantissa);
  f.out_exponent = out.exponent;
  f.ramp_exponent = ramp.exponent;
  return map_codes(t, n, f);
}

constexpr KernelRow kRows[] = {
    {OpCode::kRelu, prepare_relu, "float32 int8 uint8 int16"},
    {OpCode::kRelu6, with_half_xnn<prepare_relu>, "float16 float32 int8 uint8 int16"},
    {OpCode::kReluN1To1, prepare_relu, "float32 int8 uint8"},
    {OpCode::kRelu0To1, prepare_relu, "float32 int8 uint8"},
    {OpCode::kLeakyRelu, prepare_leaky_relu, "float32 int8 uint8 int16"},
    {OpCode::kPrelu, prepare_prelu, "float32 int8 uint8 int16"},
    {OpCode::kHardSwish, with_half_xnn<prepare_hard_swish>, "float16 float32 int8 uint8"},
};

}  // namespace

std::span<const KernelRow> unary_kernel_rows() { return kRows; }

}  // namespace litegap
