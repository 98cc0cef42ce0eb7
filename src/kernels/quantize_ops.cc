// QUANTIZE and DEQUANTIZE (docs/numerics.md, sections 2.27 and 2.28).
#include "kernels/arithmetic_ops.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

template <class T>
std::unique_ptr<Kernel> from_float(Dialect dialect, ScaleZero y, std::size_t n) {
  constexpr std::int32_t low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
  const bool xnn = dialect == Dialect::kXnnpack && sizeof(T) == 1;
  const float inverse = xnn ? 1.0f / y.scale : static_cast<float>(1.0 / static_cast<double>(y.scale));
  if (xnn) {
    return make_kernel([=](const Io& io) {
      const float* x = static_cast<const float*>(io.inputs[0]);
      T* out = static_cast<T*>(io.outputs[0]);
      const float least = static_cast<float>(low - y.zero), most = static_cast<float>(high - y.zero);
      for (std::size_t i = 0; i < n; ++i) {
        const float v = std::min(std::max(x[i] * inverse, least), most);
        out[i] = static_cast<T>(static_cast<std::int32_t>(std::nearbyint(v)) + y.zero);
      }
    });
  }
  const auto clamped = [=](std::int32_t code) {
    return static_cast<T>(std::clamp<std::int64_t>(static_cast<std::int64_t>(code) + y.zero, low, high));
  };
  const std::size_t whole = dialect == Dialect::kReference ? 0 : n / 8 * 8;
  const bool reference = dialect == Dialect::kReference;
  return make_kernel([=](const Io& io) {
    const float* x = static_cast<const float*>(io.inputs[0]);
    T* out = static_cast<T*>(io.outputs[0]);
    for (std::size_t i = 0; i < whole; ++i) out[i] = clamped(round_even(x[i] * inverse));
    for (std::size_t i = whole; i < n; ++i) out[i] = clamped(reference ? round_away(x[i] / y.scale) : round_away(static_cast<double>(x[i]) / static_cast<double>(y.scale)));
  });
}

template <class From, class To>
std::unique_ptr<Kernel> between(Dialect dialect, ScaleZero x, ScaleZero y, std::size_t n) {
  constexpr std::int32_t low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
  const float ratio = x.scale / y.scale;
  if (dialect == Dialect::kXnnpack && std::is_same_v<From, To> && sizeof(To) == 1 && ratio >= 1.0f / 256 && ratio <= 128) {
    const auto m = static_cast<std::int32_t>(std::nearbyint(256.0f * ratio));
    return make_kernel([=](const Io& io) {
      const From* in = static_cast<const From*>(io.inputs[0]);
      To* out = static_cast<To*>(io.outputs[0]);
      for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<To>(std::clamp(std::clamp(((in[i] - x.zero) * m + 128) >> 8, -32768, 32767) + y.zero, low, high));
    });
  }
  const Multiplier m = make_multiplier(static_cast<double>(x.scale) / static_cast<double>(y.scale));
  const std::size_t whole = dialect != Dialect::kReference && sizeof(From) == 1 && sizeof(To) == 1 ? n / 16 * 16 : 0;
  return make_kernel([=](const Io& io) {
    const From* in = static_cast<const From*>(io.inputs[0]);
    To* out = static_cast<To*>(io.outputs[0]);
    for (std::size_t i = 0; i < n; ++i) {
      const auto v = static_cast<std::int32_t>(in[i] - x.zero);
      out[i] = static_cast<To>(std::clamp<std::int64_t>(static_cast<std::int64_t>(i < whole ? scale_up(v, m) : scale_double(v, m)) + y.zero, low, high));
    }
  });
}

template <class From>
std::unique_ptr<Kernel> from_codes(OpSpec& spec, ScaleZero x, ScaleZero y, std::size_t n) {
  switch (spec.outputs[0].dtype) {
    case DType::kInt8: return between<From, std::int8_t>(spec.dialect, x, y, n);
    case DType::kUint8: return between<From, std::uint8_t>(spec.dialect, x, y, n);
    case DType::kInt16: return between<From, std::int16_t>(spec.dialect, x, y, n);
    default: refuse(spec, "{} to {} is not supported", dtype_name(spec.inputs[0].dtype), dtype_name(spec.outputs[0].dtype));
  }
}

template <class T>
std::unique_ptr<Kernel> to_float(Dialect dialect, ScaleZero x, std::size_t n) {
  const std::size_t whole = dialect == Dialect::kBuiltin && sizeof(T) == 1 ? n / 8 * 8 : 0;
  const auto folded = static_cast<float>(-x.zero * static_cast<double>(x.scale));
  return make_kernel([=](const Io& io) {
    const T* in = static_cast<const T*>(io.inputs[0]);
    float* out = static_cast<float*>(io.outputs[0]);
    for (std::size_t i = 0; i < whole; ++i) out[i] = static_cast<float>(in[i]) * x.scale + folded;
    for (std::size_t i = whole; i < n; ++i) out[i] = static_cast<float>(static_cast<double>(x.scale) * (in[i] - x.zero));
  });
}

}  // namespace

std::unique_ptr<Kernel> prepare_quantize(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  spec.outputs[0].shape = spec.inputs[0].shape;
  const std::size_t n = shape_elements(spec.inputs[0].shape);
  const ScaleZero y = scale_zero(spec, spec.outputs[0]);
  if (spec.inputs[0].dtype == DType::kFloat32) {
    switch (spec.outputs[0].dtype) {
      case DType::kInt8: return from_float<std::int8_t>(spec.dialect, y, n);
      case DType::kUint8: return from_float<std::uint8_t>(spec.dialect, y, n);
      case DType::kInt16: return from_float<std::int16_t>(spec.dialect, y, n);
      default: refuse(spec, "float32 to {} is not supported", dtype_name(spec.outputs[0].dtype));
    }
  }
  const ScaleZero x = scale_zero(spec, spec.inputs[0]);
  switch (spec.inputs[0].dtype) {
    case DType::kInt8: return from_codes<std::int8_t>(spec, x, y, n);
    case DType::kUint8: return from_codes<std::uint8_t>(spec, x, y, n);
    case DType::kInt16: return from_codes<std::int16_t>(spec, x, y, n);
    case DType::kInt32: return from_codes<std::int32_t>(spec, x, y, n);
    default: refuse(spec, "type {} is not supported", dtype_name(spec.inputs[0].dtype));
  }
}

std::unique_ptr<Kernel> prepare_dequantize(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  spec.outputs[0].shape = spec.inputs[0].shape;
  if (spec.outputs[0].dtype != DType::kFloat32) refuse(spec, "output type {}, expected float32", dtype_name(spec.outputs[0].dtype));
  const std::size_t n = shape_elements(spec.inputs[0].shape);
  if (spec.inputs[0].dtype == DType::kFloat16) {
    return make_kernel([n](const Io& io) {
      const auto* in = static_cast<const std::uint16_t*>(io.inputs[0]);
      for (std::size_t i = 0; i < n; ++i) static_cast<float*>(io.outputs[0])[i] = float_from_half(in[i]);
    });
  }
  const Operand& in = spec.inputs[0];
  if (in.constant != nullptr && in.quant->scale.size() > 1) {
    const Array values = dequantize(*in.constant, *in.quant);
    return make_kernel([values, n](const Io& io) { std::copy_n(values.span<float>().data(), n, static_cast<float*>(io.outputs[0])); });
  }
  const ScaleZero x = scale_zero(spec, in);
  switch (in.dtype) {
    case DType::kInt8: return to_float<std::int8_t>(spec.dialect, x, n);
    case DType::kUint8: return to_float<std::uint8_t>(spec.dialect, x, n);
    case DType::kInt16: return to_float<std::int16_t>(spec.dialect, x, n);
    default: refuse(spec, "type {} is not supported", dtype_name(in.dtype));
  }
}

}  // namespace litegap
