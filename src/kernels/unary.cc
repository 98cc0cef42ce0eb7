// One operand, element by element (docs/numerics.md, sections 2.14 to 2.20 and 3.4).
#include <array>

#include <array>

#include "kernels/arithmetic_ops.h"
#include "kernels/value_quant.h"

namespace litegap {
std::unique_ptr<Kernel> prepare_relu(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  const OpCode code = spec.op->code;
  const float low = code == OpCode::kReluN1To1 ? -1.0f : 0.0f;
  const bool bounded = code != OpCode::kRelu;
  const float high = code == OpCode::kRelu6 ? 6.0f : 1.0f;
  if (t == DType::kFloat32) {
    return map_values<float>(n, [=](float x) {
      const float v = x < low ? low : x;
      return bounded && v > high ? high : v;
    });
  }
  if (!is_code_type(t) || (t == DType::kInt16 && code != OpCode::kRelu && code != OpCode::kRelu6)) refuse(spec, "type {} is not supported", dtype_name(t));
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  const Range32 r = code_range(t);
  const Multiplier m = make_multiplier(x.scale / y.scale);
  const std::int32_t least = std::max(r.low, y.zero + round_away(low / y.scale));
  const std::int32_t most = bounded ? std::min(r.high, y.zero + round_away(high / y.scale)) : r.high;
  return map_codes(t, n, [=](std::int32_t q) { return std::min(most, std::max(least, y.zero + scale_double(q - x.zero, m))); });
}

std::unique_ptr<Kernel> prepare_leaky_relu(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  const float alpha = attrs_of<LeakyReluAttrs>(spec).alpha;
  if (t == DType::kFloat32) return map_values<float>(n, [alpha](float x) { return x > 0 ? x : x * alpha; });
  if (!is_code_type(t)) refuse(spec, "type {} is not supported", dtype_name(t));
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  const Range32 r = code_range(t);
  const float ratio = x.scale / y.scale, negative = ratio * alpha;
  if (spec.dialect == Dialect::kXnnpack && t != DType::kInt16 && ratio >= 1.0f / 256 && ratio <= 128 && std::fabs(negative) >= 1.0f / 256 && negative <= 128 && negative >= -128) {
    const auto p = static_cast<std::int32_t>(std::nearbyint(256.0f * ratio)), q = static_cast<std::int32_t>(std::nearbyint(256.0f * negative));
    return map_codes(t, n, [=](std::int32_t code) {
      const std::int32_t v = code - x.zero;
      const std::int32_t acc = std::clamp((v * (v > 0 ? p : q) + 128) >> 8, -32768, 32767);
      return std::clamp(acc + y.zero, r.low, r.high);
    });
  }
  const Multiplier identity = make_multiplier(ratio), slope = make_multiplier(std::fabs(x.scale * alpha / y.scale));
  const bool flip = alpha < 0;
  return map_codes(t, n, [=](std::int32_t code) {
    const std::int32_t v = code - x.zero;
    const std::int32_t s = v >= 0 ? scale_double(v, identity) : (flip ? -scale_double(v, slope) : scale_double(v, slope));
    return std::clamp(s + y.zero, r.low, r.high);
  });
}

std::unique_ptr<Kernel> prepare_prelu(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  spec.outputs[0].shape = spec.inputs[0].shape;
  const std::size_t n = shape_elements(spec.inputs[0].shape), m = shape_elements(spec.inputs[1].shape);
  const Shape &x = spec.inputs[0].shape, &a = spec.inputs[1].shape;
  bool tail = m > 0 && n % m == 0 && a.size() <= x.size();
  for (std::size_t k = 0; tail && k < a.size(); ++k) {
    // The slope is the trailing axes of the input; leading ones are 1.
    if (a[a.size() - 1 - k] != x[x.size() - 1 - k] && a[a.size() - 1 - k] != 1) tail = false;
  }
  std::vector<std::size_t> index(n);
  if (!tail) refuse(spec, "slope of shape {} does not fit an input of shape {}", shape_text(a), shape_text(x));
  for (std::size_t i = 0; i < n; ++i) {
    std::size_t rest = i, at = 0, stride = 1;
    for (std::size_t k = 0; k < x.size(); ++k) {
      const auto d = static_cast<std::size_t>(x[x.size() - 1 - k]);
      const std::size_t c = rest % d;
      rest /= d;
      const std::size_t da = k < a.size() ? static_cast<std::size_t>(a[a.size() - 1 - k]) : 1;
      if (da > 1) at += c * stride;
      stride *= da;
    }
    index[i] = at;
  }
  const DType t = spec.inputs[0].dtype;
  if (t == DType::kFloat32 && spec.inputs[1].dtype == DType::kFloat32) {
    return make_kernel([n, index](const Io& io) {
      const float *in = static_cast<const float*>(io.inputs[0]), *slope = static_cast<const float*>(io.inputs[1]);
      float* out = static_cast<float*>(io.outputs[0]);
      for (std::size_t i = 0; i < n; ++i) out[i] = in[i] >= 0 ? in[i] : in[i] * slope[index[i]];
    });
  }
  if ((t != DType::kInt8 && t != DType::kUint8) || spec.inputs[1].dtype != t) refuse(spec, "types {} and {} are not supported yet", dtype_name(t), dtype_name(spec.inputs[1].dtype));
  const ScaleZero sx = scale_zero(spec, spec.inputs[0]), sa = scale_zero(spec, spec.inputs[1]), sy = scale_zero(spec, spec.outputs[0]);
  const Multiplier m1 = make_multiplier(sx.scale / sy.scale), m2 = make_multiplier(sx.scale * sa.scale / sy.scale);
  const Range32 r = code_range(t);
  const bool is_signed = t == DType::kInt8;
  return make_kernel([=](const Io& io) {
    const auto code = [is_signed](const void* p, std::size_t i) { return is_signed ? static_cast<std::int32_t>(static_cast<const std::int8_t*>(p)[i]) : static_cast<std::int32_t>(static_cast<const std::uint8_t*>(p)[i]); };
    for (std::size_t i = 0; i < n; ++i) {
      const std::int32_t v = code(io.inputs[0], i) - sx.zero;
      const std::int32_t s = v >= 0 ? scale_double(v, m1) : scale_double(v * (code(io.inputs[1], index[i]) - sa.zero), m2);
      static_cast<std::uint8_t*>(io.outputs[0])[i] = static_cast<std::uint8_t>(std::clamp(s + sy.zero, r.low, r.high));
    }
  });
}

std::unique_ptr<Kernel> prepare_hard_swish(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  if (t == DType::kFloat32) {
    if (spec.dialect == Dialect::kReference) return map_values<float>(n, [](float x) { return x * std::min(6.0f, std::max(0.0f, x + 3.0f)) / 6.0f; });
    const std::size_t whole = n / 4 * 4;
    return make_kernel([n, whole](const Io& io) {
      const float* x = static_cast<const float*>(io.inputs[0]);
      float* y = static_cast<float*>(io.outputs[0]);
      constexpr float sixth = 1.0f / 6.0f;
      for (std::size_t i = 0; i < n; ++i) {
        const float r = std::min(6.0f, std::max(0.0f, x[i] + 3.0f));
        y[i] = i < whole ? (x[i] * sixth) * r : (x[i] * r) * sixth;
      }
    });
  }
  if (t != DType::kInt8 && t != DType::kUint8) refuse(spec, "type {} is not supported", dtype_name(t));
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  const float hires = x.scale / 128.0f;
  const Multiplier mo = make_multiplier(hires / y.scale), mr = make_multiplier(hires / (3.0f / 32768.0f));
  if (mo.exponent > 0) refuse(spec, "output scale {} is too small for the input's scale {}", y.scale, x.scale);
  const auto reduce = [](std::int32_t m) { return m < 0x7FFF0000 ? (m + (1 << 15)) >> 16 : 0x7FFF; };
  const std::int32_t out16 = reduce(mo.mantissa), relu16 = reduce(mr.mantissa);
  const auto sat = [](std::int32_t v) { return std::clamp(v, -32768, 32767); };
  const auto hm = [sat](std::int32_t a, std::int32_t b) { return sat((a * b + (1 << 14)) >> 15); };
  const Range32 range = code_range(t);
  return map_codes(t, n, [=](std::int32_t q) {
    const std::int32_t v = static_cast<std::int16_t>((q - x.zero) * 128);
    const std::int32_t p = hm(v, out16);
    std::int32_t r = v;
    if (mr.exponent > 0) r = sat(r << (mr.exponent - 1));
    r = hm(r, relu16);
    if (mr.exponent > 0) r = sat(2 * r);
    if (mr.exponent < 0) r = shift_right_away(r, -mr.exponent);
    r = (r + 32768) >> 1;
    return std::clamp(shift_right_away(r * p / 32768, -mo.exponent) + y.zero, range.low, range.high);
  });
}

std::unique_ptr<Kernel> prepare_float_unary(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  if (t != DType::kFloat32) refuse(spec, "type {} is not supported yet", dtype_name(t));
  switch (spec.op->code) {
    case OpCode::kAbs: return map_values<float>(n, [](float x) { return std::fabs(x); });
    case OpCode::kNeg: return map_values<float>(n, [](float x) { return -x; });
    case OpCode::kSqrt: return map_values<float>(n, [](float x) { return std::sqrt(x); });
    case OpCode::kRsqrt: return map_values<float>(n, [](float x) { return 1.0f / std::sqrt(x); });
    case OpCode::kSquare: return map_values<float>(n, [](float x) { return x * x; });
    case OpCode::kFloor: return map_values<float>(n, [](float x) { return std::floor(x); });
    case OpCode::kSin: return map_values<float>(n, [](float x) { return std::sin(x); });
    case OpCode::kCos: return map_values<float>(n, [](float x) { return std::cos(x); });
    default: refuse(spec, "is not supported yet");
  }
}

}  // namespace litegap
