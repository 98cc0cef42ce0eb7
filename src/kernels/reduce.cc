// MEAN, SUM, REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN and L2_NORMALIZATION (docs/numerics.md, sections
// 2.10, 2.11, 2.26, 2.30, 3.8).
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/arithmetic_ops.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

struct Reduction {
  std::vector<std::size_t> target;  // by input element: the output element it goes to
  std::size_t outputs = 1, count = 1;
  bool special = false;             // 4-D, axes {1, 2}, keep_dims
  std::size_t channels = 1;
};

Reduction prepare_axes(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const Shape& x = spec.inputs[0].shape;
  std::vector<bool> reduced(x.size(), false);
  for (std::int64_t a : constant_integers(spec, 1)) {
    if (a < 0) a += static_cast<std::int64_t>(x.size());
    if (a < 0 || a >= static_cast<std::int64_t>(x.size())) refuse(spec, "axis {} of an input of shape {}", a, shape_text(x));
    reduced[static_cast<std::size_t>(a)] = true;
  }
  const bool keep = attrs_of<ReducerAttrs>(spec).keep_dims;
  Shape out;
  Reduction r;
  for (std::size_t d = 0; d < x.size(); ++d) {
    if (!reduced[d]) out.push_back(x[d]);
    else {
      r.count *= static_cast<std::size_t>(x[d]);
      if (keep) out.push_back(1);
    }
  }
  spec.outputs[0].shape = out;
  r.outputs = shape_elements(out);
  r.special = x.size() == 4 && keep && reduced == std::vector<bool>{false, true, true, false};
  r.channels = x.empty() ? 1 : static_cast<std::size_t>(x.back());
  const std::size_t n = shape_elements(x);
  r.target.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    std::size_t rest = i, at = 0, stride = 1;
    for (std::size_t d = x.size(); d-- > 0;) {
      const std::size_t c = rest % static_cast<std::size_t>(x[d]);
      rest /= static_cast<std::size_t>(x[d]);
      if (reduced[d]) continue;
      at += c * stride;
      stride *= static_cast<std::size_t>(x[d]);
    }
    r.target[i] = at;
  }
  return r;
}

template <class T, class Acc, class Step, class Finish>
std::unique_ptr<Kernel> reduce_kernel(const Reduction& r, Acc start, Step step, Finish finish) {
  return make_kernel(
      [=](const Io& io) {
        const T* in = static_cast<const T*>(io.inputs[0]);
        Acc* acc = reinterpret_cast<Acc*>(io.scratch);
        for (std::size_t i = 0; i < r.outputs; ++i) acc[i] = start;
        for (std::size_t i = 0; i < r.target.size(); ++i) acc[r.target[i]] = step(acc[r.target[i]], in[i]);
        T* out = static_cast<T*>(io.outputs[0]);
        for (std::size_t i = 0; i < r.outputs; ++i) out[i] = static_cast<T>(finish(acc[i], i));
      },
      r.outputs * sizeof(Acc));
}

template <class T>
std::unique_ptr<Kernel> mean_codes(OpSpec& spec, const Reduction& r) {
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  const Range32 range = code_range(spec.inputs[0].dtype);
  const auto add = [](std::int64_t a, T v) { return a + v; };
  const auto n = static_cast<std::int64_t>(std::max<std::size_t>(1, r.count));
  const bool wide = spec.inputs[0].dtype == DType::kInt16;
  if (spec.dialect == Dialect::kXnnpack && !wide) {
    const float s = (x.scale / y.scale) * (1.0f / static_cast<float>(n));
    const float z = static_cast<float>(y.zero) - static_cast<float>(n * x.zero) * s;
    return reduce_kernel<T>(r, std::int64_t{0}, add, [=](std::int64_t sum, std::size_t) { return std::clamp(round_even(static_cast<float>(sum) * s + z), range.low, range.high); });
  }
  if (spec.dialect != Dialect::kReference && r.special && !wide) {
    float t = static_cast<float>(x.zero) * x.scale / y.scale;
    t = t > 0 ? t + 0.5f : t - 0.5f;
    const std::int32_t bias = y.zero - static_cast<std::int32_t>(t);
    const Multiplier m = make_multiplier(x.scale / (static_cast<float>(n) * y.scale));
    const std::size_t channels = r.channels, blocks = channels / 16 * 16;
    return reduce_kernel<T>(r, std::int64_t{0}, add, [=](std::int64_t sum, std::size_t i) {
      const auto v = static_cast<std::int32_t>(sum);
      return std::clamp((i % channels < blocks ? scale_up(v, m) : scale_double(v, m)) + bias, range.low, range.high);
    });
  }
  Multiplier m = make_multiplier(static_cast<double>(x.scale) / static_cast<double>(y.scale));
  const int k = std::min({63 - std::countl_zero(static_cast<std::uint64_t>(n)), 32, 31 + m.exponent});
  m.mantissa = static_cast<std::int32_t>((static_cast<std::int64_t>(m.mantissa) << k) / n);
  m.exponent -= k;
  return reduce_kernel<T>(r, std::int64_t{0}, add, [=](std::int64_t sum, std::size_t) {
    return std::clamp(scale_double(static_cast<std::int32_t>(sum - n * x.zero), m) + y.zero, range.low, range.high);
  });
}

template <class T>
std::unique_ptr<Kernel> sum_codes(OpSpec& spec, const Reduction& r) {
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  const Range32 range = code_range(spec.inputs[0].dtype);
  const auto add = [](std::int64_t a, T v) { return a + v; };
  const auto n = static_cast<std::int64_t>(r.count);
  const float s = x.scale / y.scale;
  if (spec.dialect == Dialect::kReference) {
    if (spec.inputs[0].dtype != DType::kUint8) refuse(spec, "the reference kernel of {} SUM does not widen: its result means nothing", dtype_name(spec.inputs[0].dtype));
    const Multiplier m = make_multiplier(static_cast<double>(x.scale) / static_cast<double>(y.scale));
    return reduce_kernel<T>(r, std::int64_t{0}, add, [=](std::int64_t sum, std::size_t) { return std::clamp(scale_double(static_cast<std::int32_t>(sum - n * x.zero), m) + y.zero, range.low, range.high); });
  }
  if (spec.dialect == Dialect::kXnnpack && spec.inputs[0].dtype != DType::kInt16) {
    const float z = static_cast<float>(y.zero) - static_cast<float>(n * x.zero) * s;
    return reduce_kernel<T>(r, std::int64_t{0}, add, [=](std::int64_t sum, std::size_t) { return std::clamp(round_even(static_cast<float>(sum) * s + z), range.low, range.high); });
  }
  const float b = static_cast<float>(-x.zero) * s * static_cast<float>(n);
  return reduce_kernel<T>(r, std::int64_t{0}, add, [=](std::int64_t sum, std::size_t) { return std::clamp(round_away(static_cast<float>(sum) * s + b) + y.zero, range.low, range.high); });
}

template <class T>
std::unique_ptr<Kernel> extreme(const Reduction& r, bool largest) {
  if (largest) return reduce_kernel<T>(r, std::numeric_limits<T>::lowest(), [](T a, T v) { return std::max(a, v); }, [](T m, std::size_t) { return m; });
  return reduce_kernel<T>(r, std::numeric_limits<T>::max(), [](T a, T v) { return std::min(a, v); }, [](T m, std::size_t) { return m; });
}

template <class T>
std::unique_ptr<Kernel> reduce_plain(OpSpec& spec, const Reduction& r) {
  const auto n = static_cast<T>(r.count);
  const bool mean = spec.op->code == OpCode::kMean;
  using Acc = std::conditional_t<std::is_integral_v<T>, std::int64_t, T>;
  return reduce_kernel<T>(r, Acc(0), [](Acc a, T v) { return a + v; }, [=](Acc s, std::size_t) { return mean && n != 0 ? s / static_cast<Acc>(n) : s; });
}

// 1/sqrt(v) ~ I * 2^-31 * 2^-k (section 3.8).
std::pair<std::int32_t, int> inverse_square_root(std::int32_t v) {
  if (v <= 1) return {std::numeric_limits<std::int32_t>::max(), 0};
  int k = 11;
  while (v >= (1 << 29)) {
    v /= 4;
    ++k;
  }
  const int p = (std::countl_zero(static_cast<std::uint32_t>(v)) - 1) / 2 - 1;
  k -= p;
  v <<= 2 * p;
  const auto saturate = [](std::int64_t a) { return static_cast<std::int32_t>(std::clamp<std::int64_t>(a, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max())); };
  const std::int32_t half = shift_right_away(v >> 1, 1);
  std::int32_t x = 1 << 28;
  for (int i = 0; i < 5; ++i) {
    const std::int32_t x3 = saturate(static_cast<std::int64_t>(high_multiply(high_multiply(x, x), x)) * 64);
    x = saturate(static_cast<std::int64_t>(high_multiply(402653184, x) - high_multiply(half, x3)) * 8);
  }
  std::int32_t result = high_multiply(x, 1518500250);
  if (k < 0) {
    result = static_cast<std::int32_t>(static_cast<std::uint32_t>(result) << -k);
    k = 0;
  }
  return {result, k};
}

template <class T>
std::unique_ptr<Kernel> l2_codes(OpSpec& spec, std::size_t rows, std::size_t depth) {
  const ScaleZero x = scale_zero(spec, spec.inputs[0]);
  constexpr bool is_signed = std::is_signed_v<T>;
  return make_kernel([=](const Io& io) {
    const T* in = static_cast<const T*>(io.inputs[0]);
    T* out = static_cast<T*>(io.outputs[0]);
    for (std::size_t r = 0; r < rows; ++r, in += depth, out += depth) {
      std::int32_t sum = 0;
      for (std::size_t i = 0; i < depth; ++i) sum += (in[i] - x.zero) * (in[i] - x.zero);
      const auto [inverse, shift] = inverse_square_root(sum);
      for (std::size_t i = 0; i < depth; ++i) {
        const std::int32_t d = in[i] - x.zero;
        const std::int32_t v = is_signed ? scale_double(d, {inverse, 7 - shift}) : 128 + shift_right_away(high_multiply(128 * d, inverse), shift);
        out[i] = static_cast<T>(std::clamp<std::int32_t>(v, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
      }
    }
  });
}

template <class T>
std::unique_ptr<Kernel> arg_kernel(std::size_t outer, std::size_t axis, std::size_t inner, bool largest, bool wide) {
  return make_kernel([=](const Io& io) {
    const T* in = static_cast<const T*>(io.inputs[0]);
    for (std::size_t o = 0; o < outer; ++o) {
      for (std::size_t i = 0; i < inner; ++i) {
        std::size_t best = 0;
        for (std::size_t k = 1; k < axis; ++k) {
          const T v = in[(o * axis + k) * inner + i], b = in[(o * axis + best) * inner + i];
          if (largest ? v > b : v < b) best = k;
        }
        if (wide) static_cast<std::int64_t*>(io.outputs[0])[o * inner + i] = static_cast<std::int64_t>(best);
        else static_cast<std::int32_t*>(io.outputs[0])[o * inner + i] = static_cast<std::int32_t>(best);
      }
    }
  });
}

}  // namespace

std::unique_ptr<Kernel> prepare_reduce(OpSpec& spec) {
  const Reduction r = prepare_axes(spec);
  const OpCode code = spec.op->code;
  const DType t = spec.inputs[0].dtype;
  if (spec.outputs[0].dtype != t) refuse(spec, "types {} and {}", dtype_name(t), dtype_name(spec.outputs[0].dtype));
  if (code == OpCode::kReduceMax || code == OpCode::kReduceMin) {
    const bool largest = code == OpCode::kReduceMax;
    switch (t) {
      case DType::kFloat32: return extreme<float>(r, largest);
      case DType::kInt8: return extreme<std::int8_t>(r, largest);
      case DType::kUint8: return extreme<std::uint8_t>(r, largest);
      case DType::kInt16: return extreme<std::int16_t>(r, largest);
      case DType::kInt32: return extreme<std::int32_t>(r, largest);
      case DType::kInt64: return extreme<std::int64_t>(r, largest);
      default: refuse(spec, "type {} is not supported", dtype_name(t));
    }
  }
  const bool mean = code == OpCode::kMean;
  switch (t) {
    case DType::kFloat32: return reduce_plain<float>(spec, r);
    case DType::kInt32: return reduce_plain<std::int32_t>(spec, r);
    case DType::kInt64: return reduce_plain<std::int64_t>(spec, r);
    case DType::kInt8: return mean ? mean_codes<std::int8_t>(spec, r) : sum_codes<std::int8_t>(spec, r);
    case DType::kUint8: return mean ? mean_codes<std::uint8_t>(spec, r) : sum_codes<std::uint8_t>(spec, r);
    case DType::kInt16: return mean ? mean_codes<std::int16_t>(spec, r) : sum_codes<std::int16_t>(spec, r);
    default: refuse(spec, "type {} is not supported", dtype_name(t));
  }
}

std::unique_ptr<Kernel> prepare_l2_normalization(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const Shape& x = spec.inputs[0].shape;
  if (x.empty()) refuse(spec, "a scalar has no last axis");
  const auto depth = static_cast<std::size_t>(x.back());
  const std::size_t rows = depth == 0 ? 0 : shape_elements(x) / depth;
  if (t == DType::kInt8) return l2_codes<std::int8_t>(spec, rows, depth);
  if (t == DType::kUint8) return l2_codes<std::uint8_t>(spec, rows, depth);
  if (t != DType::kFloat32) refuse(spec, "type {} is not supported", dtype_name(t));
  return make_kernel([=](const Io& io) {
    const float* in = static_cast<const float*>(io.inputs[0]);
    float* out = static_cast<float*>(io.outputs[0]);
    for (std::size_t r = 0; r < rows; ++r, in += depth, out += depth) {
      float sum = 0;
      for (std::size_t i = 0; i < depth; ++i) sum += in[i] * in[i];
      const float norm = std::max(std::sqrt(sum), 1e-6f);
      for (std::size_t i = 0; i < depth; ++i) out[i] = in[i] / norm;
    }
  });
}

std::unique_ptr<Kernel> prepare_arg(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const Shape& x = spec.inputs[0].shape;
  const auto axes = constant_integers(spec, 1);
  if (axes.size() != 1) refuse(spec, "{} axes, expected 1", axes.size());
  const std::int64_t a = axes[0] < 0 ? axes[0] + static_cast<std::int64_t>(x.size()) : axes[0];
  if (a < 0 || a >= static_cast<std::int64_t>(x.size())) refuse(spec, "axis {} of an input of shape {}", axes[0], shape_text(x));
  std::size_t outer = 1, inner = 1;
  Shape out;
  for (std::size_t d = 0; d < x.size(); ++d) {
    if (static_cast<std::int64_t>(d) < a) outer *= static_cast<std::size_t>(x[d]);
    if (static_cast<std::int64_t>(d) > a) inner *= static_cast<std::size_t>(x[d]);
    if (static_cast<std::int64_t>(d) != a) out.push_back(x[d]);
  }
  spec.outputs[0].shape = out;
  const DType to = spec.outputs[0].dtype;
  if (to != DType::kInt32 && to != DType::kInt64) refuse(spec, "output type {}", dtype_name(to));
  const bool largest = spec.op->code == OpCode::kArgMax, wide = to == DType::kInt64;
  const auto n = static_cast<std::size_t>(x[static_cast<std::size_t>(a)]);
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32: return arg_kernel<float>(outer, n, inner, largest, wide);
    case DType::kInt8: return arg_kernel<std::int8_t>(outer, n, inner, largest, wide);
    case DType::kUint8: return arg_kernel<std::uint8_t>(outer, n, inner, largest, wide);
    case DType::kInt32: return arg_kernel<std::int32_t>(outer, n, inner, largest, wide);
    default: refuse(spec, "type {} is not supported", dtype_name(spec.inputs[0].dtype));
  }
}

}  // namespace litegap
