// Codes of real values and back.
#include "model/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "model/byte_codes.h"

namespace litegap {
namespace {

// Index of the channel of flat element i: (i / inner) % channels.
struct ChannelWalk {
  std::size_t inner = 1, channels = 1;
  std::size_t of(std::size_t i) const { return (i / inner) % channels; }
};

ChannelWalk channel_walk(const Shape& shape, const Quant& quant) {
  ChannelWalk walk;
  if (!quant.per_channel()) return walk;
  const std::size_t axis = static_cast<std::size_t>(quant.axis);
  if (axis >= shape.size() || static_cast<std::size_t>(shape[axis]) != quant.scale.size()) {
    fail("{} scales on axis {} of shape {}", quant.scale.size(), quant.axis, shape_text(shape));
  }
  walk.channels = quant.scale.size();
  for (std::size_t d = axis + 1; d < shape.size(); ++d)
    walk.inner *= static_cast<std::size_t>(shape[d]);
  return walk;
}

std::int64_t packed_code(const std::byte* data, std::size_t i, int bits) {
  const int per_byte = 8 / bits;
  const int shift = static_cast<int>(i % static_cast<std::size_t>(per_byte)) * bits;
  const int raw = (std::to_integer<int>(data[i / static_cast<std::size_t>(per_byte)]) >> shift) &
                  ((1 << bits) - 1);
  return raw >= (1 << (bits - 1)) ? raw - (1 << bits) : raw;
}

// Zero points with which sums of codes and of rounded quotients stay exact in the short types.
constexpr std::int64_t kUsualZero = std::int64_t{1} << 30;
bool usual_zero(const Quant& q) {
  return q.zero_point[0] > -kUsualZero && q.zero_point[0] < kUsualZero;
}

template <class T>
void dequantize_into(std::span<const T> codes, const Quant& q, const ChannelWalk& walk,
                     std::span<float> out) {
  if (!q.per_channel()) {
    const float scale = q.scale[0];
    const std::int64_t zero = q.zero_point[0];
    if (sizeof(T) <= 2 && usual_zero(q)) {  // the same numbers, in vector instructions
      const auto small = static_cast<std::int32_t>(zero);
      for (std::size_t i = 0; i < codes.size(); ++i)
        out[i] = scale * static_cast<float>(static_cast<std::int32_t>(codes[i]) - small);
      return;
    }
    for (std::size_t i = 0; i < codes.size(); ++i)
      out[i] = scale * static_cast<float>(static_cast<std::int64_t>(codes[i]) - zero);
    return;
  }
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const std::size_t c = walk.of(i);
    out[i] = q.scale[c] * static_cast<float>(static_cast<std::int64_t>(codes[i]) - q.zero_point[c]);
  }
}

namespace portable {
#define LITEGAP_LOOP
#include "model/quantize_body.h"
#undef LITEGAP_LOOP
}  // namespace portable

#if defined(__x86_64__)
namespace avx2 {
#define LITEGAP_LOOP __attribute__((target("avx2")))
#include "model/quantize_body.h"
#undef LITEGAP_LOOP
}  // namespace avx2

template <class T>
void by_quotients(const std::byte* real, const OneScale& q, std::span<T> out) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) return avx2::by_quotients(real, q, out);
  portable::by_quotients(real, q, out);
}
#else
using portable::by_quotients;
#endif

// Codes of out.size() floats at any address.
template <class T>
void quantize_short(const std::byte* real, const OneScale& q, std::span<T> out) {
  std::size_t i = 0;
  if constexpr (sizeof(T) == 1) {
    if (const auto products = byte_products(q)) {
      for (; i + kBytePiece <= out.size(); i += kBytePiece) {
        const std::byte* at = real + i * sizeof(float);
        if (!byte_codes(*products, at, out.data() + i))
          by_quotients(at, q, out.subspan(i, kBytePiece));
      }
    }
  }
  by_quotients(real + i * sizeof(float), q, out.subspan(i));
}

template <class T>
OneScale one_scale(const Quant& q, bool narrow) {
  return {static_cast<double>(q.scale[0]), static_cast<double>(q.zero_point[0]),
          static_cast<double>(std::numeric_limits<T>::min()) + (narrow ? 1 : 0),
          static_cast<double>(std::numeric_limits<T>::max())};
}

template <class T>
void short_codes_as(const std::byte* real, const Quant& q, std::span<std::byte> codes) {
  quantize_short(real, one_scale<T>(q, false),
                 std::span(reinterpret_cast<T*>(codes.data()), codes.size() / sizeof(T)));
}

template <class T>
void quantize_into(std::span<const float> real, const Quant& q, const ChannelWalk& walk,
                   bool narrow, std::span<T> out) {
  const OneScale one = one_scale<T>(q, narrow);
  if constexpr (sizeof(T) <= 2) {
    if (!q.per_channel() && usual_zero(q)) {
      return quantize_short(reinterpret_cast<const std::byte*>(real.data()), one, out);
    }
  }
  for (std::size_t i = 0; i < real.size(); ++i) {
    const std::size_t c = q.per_channel() ? walk.of(i) : 0;
    const double v =
        std::nearbyint(static_cast<double>(real[i]) / static_cast<double>(q.scale[c])) +
        static_cast<double>(q.zero_point[c]);
    const double clamped =
        std::isnan(v) ? static_cast<double>(q.zero_point[c]) : std::clamp(v, one.low, one.high);
    out[i] =
        clamped >= 9.2233720368547758e18 ? std::numeric_limits<T>::max() : static_cast<T>(clamped);
  }
}

}  // namespace

Array dequantize(const Array& codes, const Quant& quant) {
  if (codes.dtype() == DType::kFloat32) return codes;
  Array out = Array::zeros(DType::kFloat32, codes.shape());
  const auto values = out.mutable_span<float>();
  if (codes.dtype() == DType::kFloat16) {
    const auto* half = reinterpret_cast<const std::uint16_t*>(codes.data());
    for (std::size_t i = 0; i < codes.elements(); ++i) values[i] = float_from_half(half[i]);
    return out;
  }
  if (quant.empty()) fail("dequantize: {} array without scales", dtype_name(codes.dtype()));
  const ChannelWalk walk = channel_walk(codes.shape(), quant);
  switch (codes.dtype()) {
    case DType::kInt8:
      dequantize_into(codes.span<std::int8_t>(), quant, walk, values);
      break;
    case DType::kUint8:
      dequantize_into(codes.span<std::uint8_t>(), quant, walk, values);
      break;
    case DType::kInt16:
      dequantize_into(codes.span<std::int16_t>(), quant, walk, values);
      break;
    case DType::kInt32:
      dequantize_into(codes.span<std::int32_t>(), quant, walk, values);
      break;
    case DType::kInt64:
      dequantize_into(codes.span<std::int64_t>(), quant, walk, values);
      break;
    case DType::kInt4:
    case DType::kInt2:
      for (std::size_t i = 0; i < codes.elements(); ++i) {
        values[i] = static_cast<float>(
            quant.real(packed_code(codes.data(), i, dtype_bits(codes.dtype())), walk.of(i)));
      }
      break;
    default:
      fail("dequantize: {} is not a quantized type", dtype_name(codes.dtype()));
  }
  return out;
}

Array dequantize_constant(const Graph& graph, const Tensor& tensor) {
  const Quant& q = tensor.quant;
  if (!q.blockwise()) return dequantize(*tensor.constant, q);
  const Tensor& scales = graph.tensors.at(static_cast<std::size_t>(q.block_scales));
  const std::size_t block = static_cast<std::size_t>(q.block_size);
  const std::size_t depth =
      tensor.shape.empty() ? 0 : static_cast<std::size_t>(tensor.shape.back());
  if (!scales.constant || depth == 0 || depth % block != 0 ||
      scales.constant->elements() != tensor.constant->elements() / block) {
    fail("tensor {}: blocks of {} in shape {} do not fit the scales of tensor {}", tensor.name,
         block, shape_text(tensor.shape), scales.name);
  }
  const Array real_scales = dequantize(*scales.constant, scales.quant);
  Array out = dequantize(*tensor.constant, Quant{.scale = {1.0f}, .zero_point = {0}});
  const auto values = out.mutable_span<float>();
  const auto s = real_scales.span<float>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] *= s[i / block];
  return out;
}

Array quantize(const Array& real, const Quant& quant, DType dtype, bool narrow) {
  if (quant.empty()) fail("quantize: no scales");
  Array out = Array::zeros(dtype, real.shape());
  const auto values = real.span<float>();
  const ChannelWalk walk = channel_walk(real.shape(), quant);
  switch (dtype) {
    case DType::kInt8:
      quantize_into(values, quant, walk, narrow, out.mutable_span<std::int8_t>());
      break;
    case DType::kUint8:
      quantize_into(values, quant, walk, narrow, out.mutable_span<std::uint8_t>());
      break;
    case DType::kInt16:
      quantize_into(values, quant, walk, narrow, out.mutable_span<std::int16_t>());
      break;
    case DType::kInt32:
      quantize_into(values, quant, walk, narrow, out.mutable_span<std::int32_t>());
      break;
    case DType::kInt64:
      quantize_into(values, quant, walk, narrow, out.mutable_span<std::int64_t>());
      break;
    default:
      fail("quantize: {} is not a type that is quantized to", dtype_name(dtype));
  }
  return out;
}

bool has_short_codes(const Quant& quant, DType dtype) {
  const bool is_short = dtype == DType::kInt8 || dtype == DType::kUint8 || dtype == DType::kInt16;
  return is_short && !quant.empty() && !quant.per_channel() && usual_zero(quant);
}

void short_codes(const std::byte* real, const Quant& quant, DType dtype,
                 std::span<std::byte> codes) {
  if (dtype == DType::kInt8) return short_codes_as<std::int8_t>(real, quant, codes);
  if (dtype == DType::kUint8) return short_codes_as<std::uint8_t>(real, quant, codes);
  short_codes_as<std::int16_t>(real, quant, codes);
}

}  // namespace litegap
