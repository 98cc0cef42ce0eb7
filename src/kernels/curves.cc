// Smooth functions of one value: LOGISTIC, TANH, ELU, GELU, EXP, LOG
// (docs/numerics.md, sections 2.14, 2.19, 3.4 to 3.7).
//
// 8-bit types are tables of 256 entries.  EXP, GELU and LOG of int16 interpolate in 513 entries;
// LOGISTIC and TANH of int16 have a table of their own, and where the input scale is a power of two
// the built-in kernels compute in fixed point instead.
#include <array>
#include <cmath>
#include <utility>

#include "kernels/arithmetic_ops.h"
#include "kernels/fixed_point.h"
#include "kernels/float_curves.h"
#include "kernels/half.h"
#include "kernels/lookup.h"
#include "kernels/smooth.h"

namespace litegap {
namespace {

// ---- the functions, in float32
// -------------------------------------------------------------------
float logistic(float v) { return 1.0f / (1.0f + std::exp(-v)); }

// The float kernel goes to its limits earlier than the formula does.
float logistic_float(float v) {
  if (v > 16.619047164916992188f) return 1.0f;
  return v < -9.0f ? std::exp(v) : logistic(v);
}

float logistic_xnn(float v) {
  if (v < -100.0f) return 0.0f;
  if (v > 100.0f) return 1.0f;
  const double e = std::exp(static_cast<double>(v));
  return static_cast<float>(e / (1.0 + e));
}

float hyperbolic_tangent(float v) { return std::tanh(v); }
float exponential(float v) { return std::exp(v); }
float logarithm(float v) { return std::log(v); }
float elu(float v) { return v < 0.0f ? std::expm1(v) : v; }
float gelu_exact(float v) { return 0.5f * v * std::erfc(v * -0.70710678118654752440f); }
float gelu_approximate(float v) {
  constexpr float kRoot = 0.7978845608028654f;  // sqrt(2 / pi)
  return 0.5f * v * (1.0f + std::tanh(kRoot * (v + 0.044715f * v * v * v)));
}

// ---- float32 under XNNPACK
struct LogisticXnn {
  float operator()(float v) const { return curves::sigmoid_curve(v); }
};
struct TanhXnn {
  float end = curves::kTanhEnd;
  float operator()(float v) const { return curves::tanh_curve(v, end); }
};
struct EluXnn {
  float operator()(float v) const { return curves::elu_curve(v); }
};
struct GeluXnn {
  float end = curves::kGeluEnd;
  float operator()(float v) const { return curves::gelu_curve(v, end); }
};
struct GeluTanhXnn {
  float end = curves::kGeluTanhEnd;
  float operator()(float v) const { return curves::gelu_tanh_curve(v, end); }
};
struct LogXnn {
  float operator()(float v) const { return curves::log_curve(v); }
};
struct ExpXnn {
  float low = -127.0f, high = 128.0f;
  float operator()(float v) const { return curves::exp_curve(v, low, high); }
};

// ---- LOGISTIC and TANH of int16
// ------------------------------------------------------------------ 65536 * sigmoid(k / 24),
// section 3.6: the listed entries are one above the rounded value.
std::array<std::int32_t, 256> make_sigmoid_table() {
  constexpr std::uint8_t kAbove[] = {
      4,  8,  12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31,  33,  34,  35,  37,  39,
      40, 41, 43, 44, 45, 46, 49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255};
  std::array<std::int32_t, 256> table{};
  for (std::size_t k = 0; k < table.size(); ++k) {
    const double v = 65536.0 / (1.0 + std::exp(-static_cast<double>(k) / 24.0));
    table[k] = std::min(static_cast<std::int32_t>(std::floor(v + 0.5)), 65535);
  }
  for (const std::uint8_t k : kAbove) ++table[k];
  return table;
}
const std::array<std::int32_t, 256>& sigmoid_table() {
  static const std::array<std::int32_t, 256> table = make_sigmoid_table();
  return table;
}

// How the codes become arguments of the table: (x * multiplier) >> shift, rounded.
struct Argument16 {
  std::int32_t multiplier = 0;
  int shift = 0;
  bool power_of_two = false;  // then the built-in kernels take the fixed-point form
  int left = 0;               // of the fixed-point form
};

Argument16 argument16(float scale, bool tanh) {
  const float log2 = std::log(scale) * (1.0f / std::log(2.0f));
  const auto rounded = static_cast<int>(std::round(log2));
  Argument16 a;
  a.left = 12 + rounded;
  a.power_of_two = std::abs(std::log2(static_cast<double>(scale)) - rounded) < 1e-3 &&
                   (a.left == 0 || (tanh && a.left == 1));
  if (a.power_of_two) {
    a.multiplier = 3 << a.left;
    return a;
  }
  double m = static_cast<double>(scale) * 4096.0 * 3.0;
  while (m <= 32767.0 / 2.0 && a.shift <= 30) {
    ++a.shift;
    m *= 2.0;
  }
  a.multiplier = m < 2147483647.0 ? static_cast<std::int32_t>(m) : 2147483647;
  return a;
}

std::int32_t table_argument(const Argument16& a, std::int32_t x) {
  const std::uint32_t half = a.shift > 0 ? 1u << (a.shift - 1) : 0;
  const auto v = static_cast<std::int32_t>(
      static_cast<std::uint32_t>(x) * static_cast<std::uint32_t>(a.multiplier) + half);
  return v >> a.shift;
}

std::int16_t logistic_table16(const Argument16& a, std::int32_t x) {
  const auto& table = sigmoid_table();
  const std::int32_t v = table_argument(a, x);
  const std::uint32_t size = static_cast<std::uint32_t>(v < 0 ? -std::int64_t{v} : v);
  const std::uint32_t k = size >> 9;
  std::int32_t r = 0x7FFF << 10;
  if (k < 255)
    r = (table[k] << 9) + static_cast<std::int32_t>(size & 511) * (table[k + 1] - table[k]);
  r = v >= 0 ? r + (1 << 9) : (1 << 25) - r + (1 << 9) - 1;
  return static_cast<std::int16_t>(r >> 10);
}

std::int16_t tanh_table16(const Argument16& a, std::int32_t x) {
  const auto& table = sigmoid_table();
  const std::int32_t v = table_argument(a, x);
  const std::uint32_t size = static_cast<std::uint32_t>(v < 0 ? -std::int64_t{v} : v);
  const std::uint32_t k = size >> 8;
  std::int32_t r = 0xFFFF << 8;
  if (k < 255)
    r = (table[k] << 8) + static_cast<std::int32_t>(size & 255) * (table[k + 1] - table[k]);
  r = v >= 0 ? r - (1 << 23) + (1 << 7) : -r + (1 << 23) + (1 << 7) - 1;
  return static_cast<std::int16_t>(r >> 8);
}

std::unique_ptr<Kernel> sigmoid16(OpSpec& spec, std::size_t n, bool tanh) {
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  if (x.zero != 0 || y.zero != 0) {
    refuse(spec, "zero points {} and {}, expected 0 for int16", x.zero, y.zero);
  }
  if (std::round(std::log2(y.scale)) != -15.0f) {
    refuse(spec, "output scale {}, expected 1/32768", y.scale);
  }
  const Argument16 a = argument16(x.scale, tanh);
  if (a.power_of_two && spec.dialect != Dialect::kReference) {
    if (!tanh) {
      return map_values<std::int16_t>(n, [](std::int16_t v) { return fixed::logistic16(v); });
    }
    return map_values<std::int16_t>(n, [left = a.left](std::int16_t v) {
      return fixed::tanh16(fixed::shift_left16(v, left), 3);
    });
  }
  sigmoid_table();
  if (!tanh)
    return map_values<std::int16_t>(n, [a](std::int16_t v) { return logistic_table16(a, v); });
  return map_values<std::int16_t>(n, [a](std::int16_t v) { return tanh_table16(a, v); });
}

// `plain` in the other dialects.
template <class F, class X>
std::unique_ptr<Kernel> float_map(const OpSpec& spec, std::size_t n, F plain, X xnn) {
  if (spec.dialect == Dialect::kXnnpack) return map_fused(n, xnn);
  return map_values<float>(n, plain);
}

// ---- 8-bit and interpolated tables
// ---------------------------------------------------------------
template <class F>
std::unique_ptr<Kernel> table8(OpSpec& spec, std::size_t n, bool xnn, F f) {
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  return table8_kernel(n, make_table8(spec.inputs[0].dtype, x, y, xnn, f));
}

template <class F>
std::unique_ptr<Kernel> table16(OpSpec& spec, std::size_t n, F f) {
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  return map_values<std::int16_t>(n, [table = make_table16(x.scale, x.zero, y.scale, y.zero, f)](
                                         std::int16_t v) { return lookup16(table, v); });
}

std::unique_ptr<Kernel> prepare_logistic(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  if (t == DType::kFloat32) return float_map(spec, n, logistic_float, LogisticXnn{});
  if (t == DType::kInt16) return sigmoid16(spec, n, false);
  if (!is_8bit(t)) refuse_type(spec);
  const ScaleZero y = scale_zero(spec, spec.outputs[0]);
  if (y.scale != 1.0f / 256.0f || y.zero != code_range(t).low) {
    refuse(spec, "output scale {} and zero point {}, expected 1/256 and {}", y.scale, y.zero,
           code_range(t).low);
  }
  if (spec.dialect == Dialect::kXnnpack) return table8(spec, n, true, logistic_xnn);
  return table8(spec, n, false, logistic);
}

std::unique_ptr<Kernel> prepare_tanh(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  if (t == DType::kFloat32) return float_map(spec, n, hyperbolic_tangent, TanhXnn{});
  if (t == DType::kInt16) return sigmoid16(spec, n, true);
  if (!is_8bit(t)) refuse_type(spec);
  return table8(spec, n, spec.dialect == Dialect::kXnnpack, hyperbolic_tangent);
}

std::unique_ptr<Kernel> prepare_elu(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  if (spec.dialect == Dialect::kReference) refuse(spec, "the reference kernels have no ELU");
  if (t == DType::kFloat32) return float_map(spec, n, elu, EluXnn{});
  if (t != DType::kInt8) refuse_type(spec);
  return table8(spec, n, spec.dialect == Dialect::kXnnpack, elu);
}

std::unique_ptr<Kernel> prepare_gelu(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  const auto* attrs = std::get_if<GeluAttrs>(&spec.op->attrs);
  const bool approximate = attrs != nullptr && attrs->approximate;
  const auto with = [&](auto f, auto xnn) -> std::unique_ptr<Kernel> {
    if (t == DType::kFloat32) return float_map(spec, n, f, xnn);
    if (t == DType::kInt16) return table16(spec, n, f);
    if (!is_8bit(t)) refuse_type(spec);
    return table8(spec, n, false, f);
  };
  return approximate ? with(gelu_approximate, GeluTanhXnn{}) : with(gelu_exact, GeluXnn{});
}

std::unique_ptr<Kernel> prepare_exp(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  if (t == DType::kFloat32) return float_map(spec, n, exponential, ExpXnn{});
  if (t == DType::kInt16) return table16(spec, n, exponential);
  if (t != DType::kInt8) refuse_type(spec);
  return table8(spec, n, false, exponential);
}

std::unique_ptr<Kernel> prepare_log(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  if (t == DType::kFloat32) return float_map(spec, n, logarithm, LogXnn{});
  if (t != DType::kInt8 && t != DType::kInt16) refuse_type(spec);
  // Where there is no logarithm the result is the least value the output can express.
  const ScaleZero y = scale_zero(spec, spec.outputs[0]);
  const float least = static_cast<float>(code_range(t).low - y.zero) * y.scale;
  const auto guarded = [least](float v) { return v <= 0.0f ? least : std::log(v); };
  return t == DType::kInt8 ? table8(spec, n, false, guarded) : table16(spec, n, guarded);
}

constexpr KernelRow kRows[] = {
    {OpCode::kLogistic, prepare_logistic, "float32 int8 uint8 int16"},
    {OpCode::kTanh, with_half<prepare_tanh>, "float16 float32 int8 uint8 int16"},
    {OpCode::kElu, prepare_elu, "float32 int8"},
    {OpCode::kGelu, with_half<prepare_gelu>, "float16 float32 int8 uint8 int16"},
    {OpCode::kExp, with_half_xnn<prepare_exp>, "float16 float32 int8 int16"},
    {OpCode::kLog, with_half_xnn<prepare_log>, "float16 float32 int8 int16"},
};

}  // namespace

std::span<const KernelRow> curve_kernel_rows() { return kRows; }

}  // namespace litegap
