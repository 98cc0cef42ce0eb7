// ABS, NEG, SQRT, RSQRT, SQUARE, FLOOR, CEIL, ROUND, SIN, COS (docs/numerics.md, section 2.20).
#include <cmath>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/arithmetic_ops.h"
#include "kernels/fixed_point.h"
#include "kernels/float_curves.h"
#include "kernels/half.h"
#include "kernels/lookup.h"

namespace litegap {
namespace {

// The types of an operator that exists for float32 only.
std::size_t prepare_float(OpSpec& spec) {
  if (prepare_same(spec) != DType::kFloat32) refuse_type(spec);
  return shape_elements(spec.outputs[0].shape);
}

void expect_registered(const OpSpec& spec) {
  if (spec.dialect != Dialect::kReference) return;
  refuse(spec, "the reference kernels have no {}", op_name(spec.op->code));
}

std::unique_ptr<Kernel> prepare_abs(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  if (t == DType::kFloat32) return map_values<float>(n, [](float x) { return std::fabs(x); });
  if (t == DType::kInt32) {
    return map_values<std::int32_t>(n, [](std::int32_t x) {
      return x < 0 ? 0u - static_cast<std::uint32_t>(x) : static_cast<std::uint32_t>(x);
    });
  }
  if (t != DType::kInt8 && t != DType::kInt16) refuse_type(spec);
  if (t == DType::kInt16 && spec.inputs[0].quant->empty()) {
    return map_values<std::int16_t>(n, [](std::int16_t x) { return x < 0 ? -x : x; });
  }
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  const bool rescaled = x.scale != y.scale;
  const Multiplier m = make_multiplier(x.scale / y.scale);
  const Range32 range = code_range(t);
  return map_codes(t, n, [=](std::int32_t q) {
    const std::int32_t v = std::abs(q - x.zero);
    const std::int32_t r = rescaled ? scale_and_shift(v, m, y.zero) : v + y.zero;
    return std::clamp(r, range.low, range.high);
  });
}

// The sign of the raw code changes and wraps; scales and zero points do not matter.
std::unique_ptr<Kernel> prepare_neg(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  switch (t) {
    case DType::kFloat32:
      return map_values<float>(n, [](float x) { return -x; });
    case DType::kInt8:
      return map_values<std::uint8_t>(n, [](std::uint8_t x) { return 0u - x; });
    case DType::kInt16:
      return map_values<std::uint16_t>(n, [](std::uint16_t x) { return 0u - x; });
    case DType::kInt32:
      return map_values<std::uint32_t>(n, [](std::uint32_t x) { return 0u - x; });
    case DType::kInt64:
      return map_values<std::uint64_t>(n, [](std::uint64_t x) { return std::uint64_t{0} - x; });
    default:
      refuse_type(spec);
  }
}

// XNNPACK refines an estimate by Newton's method: at zero that is 0 * infinity.
float inverse_root_xnn(float v) {
  const float x = flush_subnormal(v);
  return x == 0.0f ? std::numeric_limits<float>::quiet_NaN() : 1.0f / std::sqrt(x);
}

// Newton's method refines the processor's estimate e of 1/sqrt(v) by e * (3 - v * e * e) / 2. Where
// e * e is subnormal, from 2^126 on, it becomes 0 and e is left, half as large again.
#if defined(__x86_64__)
__attribute__((target("avx512f"))) float estimate_avx512(float v) {
  return _mm_cvtss_f32(_mm_maskz_rsqrt14_ss(1, _mm_setzero_ps(), _mm_set_ss(v)));
}
float inverse_root_estimate(float v) {
  static const bool has = __builtin_cpu_supports("avx512f") != 0;
  return has ? estimate_avx512(v) : 1.0f / std::sqrt(v);
}
#else
float inverse_root_estimate(float v) { return 1.0f / std::sqrt(v); }
#endif
constexpr float kLargeRoot = 0x1p126f;
float root_xnn(float v) {
  if (v >= kLargeRoot && v <= std::numeric_limits<float>::max()) {
    const float e = inverse_root_estimate(v);
    if (e * e < std::numeric_limits<float>::min()) return 1.5f * e * v;
  }
  return std::sqrt(flush_subnormal(v));
}
// In blocks, so that those without a large value become vector code.
std::unique_ptr<Kernel> roots_xnn(std::size_t n) {
  constexpr std::size_t kBlock = 256;
  return make_kernel([n](const Io& io) {
    const float* x = static_cast<const float*>(io.inputs[0]);
    float* y = static_cast<float*>(io.outputs[0]);
    for (std::size_t i = 0; i < n; i += kBlock) {
      const std::size_t end = std::min(i + kBlock, n);
      int large = 0;
      with_vectors([&] {
        for (std::size_t k = i; k < end; ++k) large |= x[k] >= kLargeRoot;
        if (large != 0) return;
        for (std::size_t k = i; k < end; ++k) y[k] = std::sqrt(flush_subnormal(x[k]));
      });
      if (large == 0) continue;
      for (std::size_t k = i; k < end; ++k) y[k] = root_xnn(x[k]);
    }
  });
}

bool is_xnn(const OpSpec& spec) { return spec.dialect == Dialect::kXnnpack; }

// Truncates, does not round.  A negative value, at which the runtime stops, gives the zero point.
std::unique_ptr<Kernel> prepare_sqrt(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  if (t == DType::kFloat32 && is_xnn(spec)) return roots_xnn(n);
  if (t == DType::kFloat32) return map_values<float>(n, [](float x) { return std::sqrt(x); });
  if (t != DType::kInt8) refuse_type(spec);
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  return map_codes(t, n, [=](std::int32_t q) {
    const float root =
        std::sqrt(std::max(0.0f, x.scale * static_cast<float>(q - x.zero))) / y.scale;
    const auto code = static_cast<std::int32_t>(std::min(root, 65536.0f)) + y.zero;
    return std::clamp(code, -128, 127);
  });
}

// Values that are not positive, at which the runtime stops, give the largest code (as zero does).
std::unique_ptr<Kernel> prepare_rsqrt(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  if (t == DType::kFloat32 && is_xnn(spec))
    return map_values<float>(n, [](float x) { return inverse_root_xnn(x); });
  if (t == DType::kFloat32)
    return map_values<float>(n, [](float x) { return 1.0f / std::sqrt(x); });
  if (t != DType::kInt8 && t != DType::kInt16) refuse_type(spec);
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  if (t == DType::kInt16) {
    const auto f = [y](float v) { return v <= 0.0f ? 32767.0f * y.scale : 1.0f / std::sqrt(v); };
    return map_values<std::int16_t>(n, [table = make_table16(x.scale, x.zero, y.scale, y.zero, f)](
                                           std::int16_t v) { return lookup16(table, v); });
  }
  const float scale = std::sqrt(x.scale) * y.scale;
  Multiplier m = make_multiplier(1.0 / static_cast<double>(scale));
  m.exponent -= 20;  // the root is a number with 20 fraction bits
  return map_codes(t, n, [=](std::int32_t q) {
    if (q <= x.zero) return 127;
    const fixed::InverseRoot root = fixed::inverse_root(q - x.zero);
    const std::int32_t r = scale_double(1, {root.mantissa, 20 - root.shift});
    return std::clamp(scale_and_shift(r, m, y.zero), -128, 127);
  });
}

std::unique_ptr<Kernel> prepare_square(OpSpec& spec) {
  return map_values<float>(prepare_float(spec), [](float x) { return x * x; });
}
std::unique_ptr<Kernel> prepare_floor(OpSpec& spec) {
  return map_values<float>(prepare_float(spec), [](float x) { return std::floor(x); });
}
std::unique_ptr<Kernel> prepare_ceil(OpSpec& spec) {
  const std::size_t n = prepare_float(spec);
  expect_registered(spec);
  if (is_xnn(spec))
    return map_values<float>(n, [](float x) { return std::ceil(flush_subnormal(x)); });
  return map_values<float>(n, [](float x) { return std::ceil(x); });
}
std::unique_ptr<Kernel> prepare_round(OpSpec& spec) {  // ties to even
  const std::size_t n = prepare_float(spec);
  expect_registered(spec);
  return map_values<float>(n, [](float x) { return std::nearbyint(x); });
}
std::unique_ptr<Kernel> prepare_sin(OpSpec& spec) {
  const std::size_t n = prepare_float(spec);
  if (is_xnn(spec)) {
    return map_fused(
        n, [](float x) { return curves::folded_for_sin(x); },
        [](float x) { return curves::sine_of_folded(x); });
  }
  return map_values<float>(n, [](float x) { return std::sin(x); });
}
std::unique_ptr<Kernel> prepare_cos(OpSpec& spec) {
  const std::size_t n = prepare_float(spec);
  if (is_xnn(spec)) {
    return map_fused(
        n, [](float x) { return curves::folded_for_cos(x); },
        [](float x) { return curves::sine_of_folded(x); });
  }
  return map_values<float>(n, [](float x) { return std::cos(x); });
}

constexpr KernelRow kRows[] = {
    {OpCode::kAbs, with_half_xnn<prepare_abs>, "float16 float32 int8 int16 int32"},
    {OpCode::kNeg, with_half<prepare_neg>, "float16 float32 int8 int16 int32 int64"},
    {OpCode::kSqrt, with_half_xnn<prepare_sqrt>, "float16 float32 int8"},
    {OpCode::kRsqrt, prepare_rsqrt, "float32 int8 int16"},
    {OpCode::kSquare, with_half_xnn<prepare_square>, "float16 float32"},
    {OpCode::kFloor, prepare_floor, "float32"},
    {OpCode::kCeil, with_half_xnn<prepare_ceil>, "float16 float32"},
    {OpCode::kRound, prepare_round, "float32"},
    {OpCode::kSin, with_half<prepare_sin>, "float16 float32"},
    {OpCode::kCos, with_half<prepare_cos>, "float16 float32"},
};

}  // namespace

std::span<const KernelRow> math_kernel_rows() { return kRows; }

}  // namespace litegap
