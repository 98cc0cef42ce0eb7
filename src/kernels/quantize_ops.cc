// QUANTIZE and DEQUANTIZE (docs/numerics.md, sections 2.27 and 2.28).
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/arithmetic_ops.h"
#include "kernels/code_rows.h"
#include "kernels/float_codes.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

// Ties to even; outside of int32 the x86 conversion's -2^31.
std::int32_t even(float v) {
  constexpr float kEnd = 2147483648.0f;
  const float whole = std::nearbyint(v);
  return static_cast<std::int32_t>(v >= -kEnd && v < kEnd ? whole : -kEnd);
}

template <class T>
T narrow(std::int32_t code, std::int32_t zero) {
  return static_cast<T>(std::clamp<std::int32_t>(
      wrap_add(code, zero), std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}

// ---- float32 to codes
// ----------------------------------------------------------------------------
template <class T>
std::unique_ptr<Kernel> from_float_xnn(ScaleZero y, std::size_t n) {
  const RoundRow f{1.0f / y.scale, static_cast<float>(std::numeric_limits<T>::min() - y.zero),
                   static_cast<float>(std::numeric_limits<T>::max() - y.zero), y.zero};
  return make_kernel([f, n](const Io& io) {
    round_to_codes(f, n, static_cast<const float*>(io.inputs[0]), static_cast<T*>(io.outputs[0]));
  });
}

template <class T>
std::unique_ptr<Kernel> from_float(Dialect dialect, ScaleZero y, std::size_t n) {
  if constexpr (sizeof(T) == 1) {
    if (dialect == Dialect::kXnnpack) return from_float_xnn<T>(y, n);
  }
  if (dialect == Dialect::kReference) {
    return map_into<float, T>(n,
                              [y](float x) { return narrow<T>(round_away(x / y.scale), y.zero); });
  }
  // Blocks of eight multiply, the rest divides in double.
  const double scale = static_cast<double>(y.scale);
  const auto inverse = static_cast<float>(1.0 / scale);
  const std::size_t whole = n / 8 * 8;
  return make_kernel([=](const Io& io) {
    const float* x = static_cast<const float*>(io.inputs[0]);
    T* out = static_cast<T*>(io.outputs[0]);
    with_vectors([&] {
      const float factor = inverse;
      const std::int32_t zero = y.zero;
      for (std::size_t i = 0; i < whole; ++i) out[i] = narrow<T>(even(x[i] * factor), zero);
    });
    for (std::size_t i = whole; i < n; ++i) {
      out[i] = narrow<T>(round_away(static_cast<double>(x[i]) / scale), y.zero);
    }
  });
}

std::unique_ptr<Kernel> quantize_float(OpSpec& spec, std::size_t n) {
  const ScaleZero y = scale_zero(spec, spec.outputs[0]);
  switch (spec.outputs[0].dtype) {
    case DType::kInt8:
      return from_float<std::int8_t>(spec.dialect, y, n);
    case DType::kUint8:
      return from_float<std::uint8_t>(spec.dialect, y, n);
    case DType::kInt16:
      return from_float<std::int16_t>(spec.dialect, y, n);
    default:
      refuse(spec, "float32 to {} is not supported", dtype_name(spec.outputs[0].dtype));
  }
}

// ---- codes to codes
// ------------------------------------------------------------------------------ XNNPACK: one type,
// a multiplier with 8 fraction bits.  Empty where it does not take the node.
template <class T>
std::unique_ptr<Kernel> between_xnn(const OpSpec& spec, ScaleZero x, ScaleZero y, std::size_t n) {
  const float ratio = x.scale / y.scale;
  if (spec.dialect != Dialect::kXnnpack || ratio < 0x1p-8f || ratio > 128.0f) return nullptr;
  const auto m = static_cast<std::int32_t>(std::nearbyint(256.0f * ratio));
  const Table8 table = tabulate(dtype_of<T>, [=](std::int32_t q) {
    return narrow<T>(std::clamp(((q - x.zero) * m + 128) >> 8, -32768, 32767), y.zero);
  });
  return make_kernel([n, table, f = ScaleRow{x.zero, m, m, y.zero}](const Io& io) {
    scale_codes(f, table, n, static_cast<const T*>(io.inputs[0]), static_cast<T*>(io.outputs[0]));
  });
}

template <class From, class To>
std::unique_ptr<Kernel> between_bytes(OpSpec& spec, ScaleZero x, ScaleZero y, Multiplier m,
                                      std::size_t n) {
  if constexpr (std::is_same_v<From, To>) {
    if (auto kernel = between_xnn<From>(spec, x, y, n)) return kernel;
  }
  // The built-in kernel rounds ties up in blocks of 16.
  const Table8 up = tabulate(
      dtype_of<From>, [=](std::int32_t q) { return narrow<To>(scale_up(q - x.zero, m), y.zero); });
  const Table8 away = tabulate(dtype_of<From>, [=](std::int32_t q) {
    return narrow<To>(scale_double(q - x.zero, m), y.zero);
  });
  const std::size_t whole = spec.dialect == Dialect::kReference ? 0 : n / 16 * 16;
  return make_kernel([=](const Io& io) {
    const auto* in = static_cast<const std::uint8_t*>(io.inputs[0]);
    auto* out = static_cast<std::uint8_t*>(io.outputs[0]);
    map_bytes(up, in, out, whole);
    map_bytes(away, in + whole, out + whole, n - whole);
  });
}

template <class From, class To>
std::unique_ptr<Kernel> between(OpSpec& spec, std::size_t n) {
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  const Multiplier m = make_multiplier(static_cast<double>(x.scale) / static_cast<double>(y.scale));
  if constexpr (sizeof(From) == 1 && sizeof(To) == 1) {
    return between_bytes<From, To>(spec, x, y, m, n);
  } else {
    if (sizeof(From) == 2 && sizeof(To) == 2 && (x.zero != 0 || y.zero != 0)) {
      refuse(spec, "zero points {} and {}, expected 0 for int16", x.zero, y.zero);
    }
    return map_into<From, To>(n, [=](From code) {
      constexpr std::int64_t low = std::numeric_limits<To>::min(),
                             high = std::numeric_limits<To>::max();
      const auto d = static_cast<std::int32_t>(static_cast<std::uint32_t>(code) -
                                               static_cast<std::uint32_t>(x.zero));
      return std::clamp(std::int64_t{scale_double(d, m)} + y.zero, low, high);
    });
  }
}

[[noreturn]] void refuse_pair(const OpSpec& spec) {
  refuse(spec, "{} to {} is not supported", dtype_name(spec.inputs[0].dtype),
         dtype_name(spec.outputs[0].dtype));
}

// The pairs of types that the runtime has.
std::unique_ptr<Kernel> quantize_codes(OpSpec& spec, std::size_t n) {
  const DType from = spec.inputs[0].dtype, to = spec.outputs[0].dtype;
  using i8 = std::int8_t;
  using u8 = std::uint8_t;
  using i16 = std::int16_t;
  using i32 = std::int32_t;
  if (from == DType::kInt8 && to == DType::kInt8) return between<i8, i8>(spec, n);
  if (from == DType::kInt8 && to == DType::kUint8) return between<i8, u8>(spec, n);
  if (from == DType::kInt8 && to == DType::kInt16) return between<i8, i16>(spec, n);
  if (from == DType::kUint8 && to == DType::kInt8) return between<u8, i8>(spec, n);
  if (from == DType::kUint8 && to == DType::kUint8) return between<u8, u8>(spec, n);
  if (from == DType::kUint8 && to == DType::kInt16) return between<u8, i16>(spec, n);
  if (from == DType::kInt16 && to == DType::kInt8) return between<i16, i8>(spec, n);
  if (from == DType::kInt16 && to == DType::kInt16) return between<i16, i16>(spec, n);
  if (from == DType::kInt16 && to == DType::kInt32) return between<i16, i32>(spec, n);
  if (from == DType::kInt32 && to == DType::kInt8) return between<i32, i8>(spec, n);
  if (from == DType::kInt32 && to == DType::kInt16) return between<i32, i16>(spec, n);
  refuse_pair(spec);
}

std::unique_ptr<Kernel> prepare_quantize(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  spec.outputs[0].shape = spec.inputs[0].shape;
  const std::size_t n = shape_elements(spec.inputs[0].shape);
  if (spec.inputs[0].dtype == DType::kFloat32) return quantize_float(spec, n);
  return quantize_codes(spec, n);
}

// ---- codes to float32
// ---------------------------------------------------------------------------- The product of a
// difference of codes and a scale has fewer than 53 bits, so that one float32 product is the double
// product, rounded.
template <class T>
std::unique_ptr<Kernel> to_float(Dialect dialect, ScaleZero x, std::size_t n) {
  const std::size_t whole = dialect == Dialect::kBuiltin && sizeof(T) == 1 ? n / 8 * 8 : 0;
  const auto folded = static_cast<float>(-x.zero * static_cast<double>(x.scale));
  return make_kernel([=](const Io& io) {
    const T* in = static_cast<const T*>(io.inputs[0]);
    float* out = static_cast<float*>(io.outputs[0]);
    if constexpr (sizeof(T) == 1) {
      if (whole == 0) return codes_to_floats(x.scale, x.zero, n, in, out);
    }
    with_vectors([&] {
      const ScaleZero s = x;
      for (std::size_t i = 0; i < whole; ++i) out[i] = static_cast<float>(in[i]) * s.scale + folded;
      for (std::size_t i = whole; i < n; ++i) out[i] = static_cast<float>(in[i] - s.zero) * s.scale;
    });
  });
}

std::unique_ptr<Kernel> from_half(std::size_t n) {
  return make_kernel([n](const Io& io) {
    const auto* in = static_cast<const std::uint16_t*>(io.inputs[0]);
    float* out = static_cast<float*>(io.outputs[0]);
    for (std::size_t i = 0; i < n; ++i) out[i] = float_from_half(in[i]);
  });
}

// A constant with a scale per channel: its values are known now.
std::unique_ptr<Kernel> known_values(const Operand& in) {
  return make_kernel([values = dequantize(*in.constant, *in.quant)](const Io& io) {
    const auto all = values.span<float>();
    std::copy(all.begin(), all.end(), static_cast<float*>(io.outputs[0]));
  });
}

// A scale and a zero point for each index of an axis.
template <class T>
std::unique_ptr<Kernel> channels_to_float(const OpSpec& spec, const Operand& in) {
  const Quant& q = *in.quant;
  const auto axis = static_cast<std::size_t>(q.axis);
  if (q.axis < 0 || axis >= in.shape.size() || q.zero_point.size() != q.scale.size() ||
      static_cast<std::size_t>(in.shape[axis]) != q.scale.size()) {
    refuse(spec, "tensor {} of shape {} has {} scales along axis {}", in.name, shape_text(in.shape),
           q.scale.size(), q.axis);
  }
  std::size_t outer = 1, inner = 1;
  for (std::size_t d = 0; d < in.shape.size(); ++d) {
    if (d < axis) outer *= static_cast<std::size_t>(in.shape[d]);
    if (d > axis) inner *= static_cast<std::size_t>(in.shape[d]);
  }
  std::vector<std::int32_t> zeros;
  for (const std::int64_t zero : q.zero_point) zeros.push_back(static_cast<std::int32_t>(zero));
  return make_kernel([outer, inner, scales = q.scale, zeros](const Io& io) noexcept {
    const T* x = static_cast<const T*>(io.inputs[0]);
    float* out = static_cast<float*>(io.outputs[0]);
    for (std::size_t o = 0; o < outer; ++o) {
      for (std::size_t c = 0; c < scales.size(); ++c, x += inner, out += inner) {
        for (std::size_t i = 0; i < inner; ++i)
          out[i] = static_cast<float>(x[i] - zeros[c]) * scales[c];
      }
    }
  });
}

std::unique_ptr<Kernel> prepare_dequantize(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  const Operand& in = spec.inputs[0];
  spec.outputs[0].shape = in.shape;
  if (spec.outputs[0].dtype != DType::kFloat32) {
    refuse(spec, "output type {}, expected float32", dtype_name(spec.outputs[0].dtype));
  }
  const std::size_t n = shape_elements(in.shape);
  if (in.dtype == DType::kFloat16) return from_half(n);
  const bool known = in.constant != nullptr && in.quant != nullptr && !in.quant->empty();
  if (known && (in.quant->per_channel() || in.dtype == DType::kInt4)) return known_values(in);
  if (!is_code_type(in.dtype)) refuse_type(spec);
  if (in.quant != nullptr && in.quant->per_channel()) {
    if (in.dtype == DType::kInt8) return channels_to_float<std::int8_t>(spec, in);
    if (in.dtype == DType::kUint8) return channels_to_float<std::uint8_t>(spec, in);
    return channels_to_float<std::int16_t>(spec, in);
  }
  const ScaleZero x = scale_zero(spec, in);
  if (in.dtype == DType::kInt8) return to_float<std::int8_t>(spec.dialect, x, n);
  if (in.dtype == DType::kUint8) return to_float<std::uint8_t>(spec.dialect, x, n);
  return to_float<std::int16_t>(spec.dialect, x, n);
}

constexpr KernelRow kRows[] = {
    {OpCode::kQuantize, prepare_quantize, "float32 int8 uint8 int16 int32"},
    {OpCode::kDequantize, prepare_dequantize, "float16 int8 uint8 int16"}};

}  // namespace

std::span<const KernelRow> quantize_kernel_rows() { return kRows; }

}  // namespace litegap
