// SOFTMAX over the last axis (docs/numerics.md, sections 2.12, 3.1, 3.2).
#include <bit>
#include <cmath>

#include "kernels/arithmetic_ops.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

std::int32_t saturate(std::int64_t v) {
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(v, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()));
}

// exp of a value <= 0 in Q5.26, as Q0.31 (section 3.1).
std::int32_t exp_q5(std::int32_t a) {
  if (a == 0) return std::numeric_limits<std::int32_t>::max();
  constexpr int kFraction = 26;
  constexpr std::int32_t kQuarter = 1 << (kFraction - 2);
  const std::int32_t am = (a & (kQuarter - 1)) - kQuarter;
  const std::int32_t s = static_cast<std::int32_t>(static_cast<std::uint32_t>(am) << 5) + (1 << 28);
  const std::int32_t s2 = high_multiply(s, s), s3 = high_multiply(s2, s), s4 = high_multiply(s2, s2);
  const std::int32_t w = shift_right_away(high_multiply(shift_right_away(s4, 2) + s3, 715827883) + s2, 1);
  std::int32_t r = 1895147668 + high_multiply(1895147668, s + w);
  const std::int32_t rest = am - a;
  constexpr std::int32_t kFactors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
  for (int j = -2; j <= 4; ++j) {
    if ((rest & (1 << (kFraction + j))) != 0) r = high_multiply(r, kFactors[j + 2]);
  }
  return r;
}

// 1 / (1 + x) for x in [0, 1) as Q0.31 (section 3.2).
std::int32_t reciprocal(std::int32_t x) {
  const std::int64_t sum = static_cast<std::int64_t>(x) + std::numeric_limits<std::int32_t>::max();
  const auto half = static_cast<std::int32_t>((sum + (sum >= 0 ? 1 : -1)) / 2);
  std::int32_t y = 1515870810 + high_multiply(half, -1010580540);
  for (int i = 0; i < 3; ++i) y = y + saturate(static_cast<std::int64_t>(high_multiply(y, (1 << 29) - high_multiply(half, y))) * 4);
  return saturate(static_cast<std::int64_t>(y) * 2);
}

template <class T>
std::unique_ptr<Kernel> fixed_point(ScaleZero x, float beta, std::size_t rows, std::size_t depth) {
  const double real = std::min(static_cast<double>(beta) * static_cast<double>(x.scale) * (1 << 26), 2147483647.0);
  const Multiplier m = make_multiplier(real);
  const auto least = -static_cast<std::int64_t>(std::floor(31.0 * (1 << 26) / std::ldexp(1.0, m.exponent)));
  return make_kernel([=](const Io& io) {
    const T* in = static_cast<const T*>(io.inputs[0]);
    T* out = static_cast<T*>(io.outputs[0]);
    constexpr std::int32_t low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
    for (std::size_t r = 0; r < rows; ++r, in += depth, out += depth) {
      std::int32_t peak = low;
      for (std::size_t i = 0; i < depth; ++i) peak = std::max<std::int32_t>(peak, in[i]);
      const auto value = [&](std::size_t i) { return exp_q5(high_multiply(wrap_shift_left(in[i] - peak, m.exponent), m.mantissa)); };
      std::int32_t sum = 0;
      for (std::size_t i = 0; i < depth; ++i) {
        if (in[i] - peak >= least) sum += shift_right_away(value(i), 12);
      }
      const int zeros = std::countl_zero(static_cast<std::uint32_t>(sum));
      const auto shifted = static_cast<std::int32_t>((static_cast<std::uint32_t>(sum) << zeros) - 0x80000000u);
      const std::int32_t scale = reciprocal(shifted);
      for (std::size_t i = 0; i < depth; ++i) {
        if (in[i] - peak < least) {
          out[i] = static_cast<T>(low);
          continue;
        }
        const std::int32_t v = shift_right_away(high_multiply(scale, value(i)), 12 - zeros + 31 - 8) + low;
        out[i] = static_cast<T>(std::clamp(v, low, high));
      }
    }
  });
}

template <class T>
std::unique_ptr<Kernel> float_table(ScaleZero x, ScaleZero y, float beta, std::size_t rows, std::size_t depth) {
  std::vector<float> table(256);
  for (int k = 0; k < 256; ++k) table[static_cast<std::size_t>(255 - k)] = std::exp(-x.scale * beta * static_cast<float>(k));
  return make_kernel([=](const Io& io) {
    const T* in = static_cast<const T*>(io.inputs[0]);
    T* out = static_cast<T*>(io.outputs[0]);
    constexpr std::int32_t low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
    for (std::size_t r = 0; r < rows; ++r, in += depth, out += depth) {
      std::int32_t peak = low;
      for (std::size_t i = 0; i < depth; ++i) peak = std::max<std::int32_t>(peak, in[i]);
      const float* from_peak = table.data() + 255 - peak;
      float sum = 0;
      for (std::size_t i = 0; i < depth; ++i) sum += from_peak[in[i]];
      const float inverse = 1.0f / (sum * y.scale);
      for (std::size_t i = 0; i < depth; ++i) {
        const float p = from_peak[in[i]] * inverse;
        const std::int32_t v = std::is_signed_v<T> ? round_away(p) + y.zero : static_cast<std::int32_t>(p + 0.5f);
        out[i] = static_cast<T>(std::clamp(v, low, high));
      }
    }
  });
}

}  // namespace

std::unique_ptr<Kernel> prepare_softmax(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const Shape& shape = spec.inputs[0].shape;
  if (shape.empty()) refuse(spec, "a scalar has no last axis");
  const auto depth = static_cast<std::size_t>(shape.back());
  const std::size_t rows = depth == 0 ? 0 : shape_elements(shape) / depth;
  const float beta = attrs_of<SoftmaxAttrs>(spec).beta;
  if (t == DType::kFloat32) {
    return make_kernel([=](const Io& io) {
      const float* in = static_cast<const float*>(io.inputs[0]);
      float* out = static_cast<float*>(io.outputs[0]);
      for (std::size_t r = 0; r < rows; ++r, in += depth, out += depth) {
        float peak = in[0];
        for (std::size_t i = 1; i < depth; ++i) peak = std::max(peak, in[i]);
        float sum = 0;
        for (std::size_t i = 0; i < depth; ++i) {
          out[i] = std::exp((in[i] - peak) * beta);
          sum += out[i];
        }
        for (std::size_t i = 0; i < depth; ++i) out[i] = out[i] / sum;
      }
    });
  }
  if (t != DType::kInt8 && t != DType::kUint8) refuse(spec, "type {} is not supported yet", dtype_name(t));
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  if (std::fabs(y.scale - 1.0f / 256) > 1e-3f / 256 || y.zero != code_range(t).low) refuse(spec, "output scale {} and zero point {}, expected 1/256 and {}", y.scale, y.zero, code_range(t).low);
  if (spec.dialect == Dialect::kReference) {
    if (static_cast<double>(beta) * static_cast<double>(x.scale) * (1 << 26) <= 1) refuse(spec, "input scale {} with beta {} is too small", x.scale, beta);
    return t == DType::kInt8 ? fixed_point<std::int8_t>(x, beta, rows, depth) : fixed_point<std::uint8_t>(x, beta, rows, depth);
  }
  return t == DType::kInt8 ? float_table<std::int8_t>(x, y, beta, rows, depth) : float_table<std::uint8_t>(x, y, beta, rows, depth);
}

}  // namespace litegap
