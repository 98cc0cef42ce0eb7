#include "oracle/product.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/arith.h"
#include "oracle/conv.h"

namespace litegap::oracle {
namespace {

enum class Profile { kDouble, kUp, kXnn, kF64, k16x8 };

bool builtin(const ProductCase& c) { return c.dialect != Dialect::kReference; }
bool xnn(const ProductCase& c) {
  return c.dialect == Dialect::kXnnpack && c.type != DType::kInt16 && c.constant;
}
bool wide(const ProductCase& c) {
  return c.type == DType::kInt16 &&
         (c.op == OpCode::kFullyConnected ? !c.bias32 && !c.bias.empty() : !c.bias32);
}
std::size_t channel_of(const ProductCase& c, std::size_t out) {
  return out % static_cast<std::size_t>(c.o);
}
float scale_of(const ProductCase& c, std::size_t channel) {
  return c.w_scale[c.w_scale.size() > 1 ? channel : 0];
}

// docs/numerics.md, table 1.6.
Profile profile_of(const ProductCase& c, std::size_t out, std::size_t outputs) {
  if (xnn(c)) return Profile::kXnn;
  if (c.op == OpCode::kFullyConnected) return !builtin(c) || wide(c) ? Profile::kF64 : Profile::kUp;
  if (wide(c)) return Profile::k16x8;
  if (!builtin(c)) return Profile::kDouble;
  const std::size_t blocks = static_cast<std::size_t>(c.o) / 8 * 8;
  if (c.op == OpCode::kConv2d) return c.groups > 1 ? Profile::kDouble : Profile::kUp;
  if (c.op == OpCode::kDepthwiseConv2d)
    return c.type == DType::kInt8 && channel_of(c, out) < blocks ? Profile::kUp : Profile::kDouble;
  if (c.type == DType::kUint8) return out < outputs / 16 * 16 ? Profile::kUp : Profile::kDouble;
  return channel_of(c, out) < blocks ? Profile::kUp : Profile::kDouble;
}

std::int32_t lowest(DType type) {
  return type == DType::kInt8 ? -128 : type == DType::kUint8 ? 0 : -32768;
}
std::int32_t highest(DType type) {
  return type == DType::kInt8 ? 127 : type == DType::kUint8 ? 255 : 32767;
}

// Sections 1.4 and 1.5.
Range32 clamp_of(const ProductCase& c) {
  const auto q = [&c](float v) {
    if (!xnn(c)) return c.y_zero + static_cast<std::int32_t>(std::round(v / c.y_scale));
    const float code = v / c.y_scale + static_cast<float>(c.y_zero);
    return static_cast<std::int32_t>(std::nearbyint(
        std::clamp(code, static_cast<float>(lowest(c.type)), static_cast<float>(highest(c.type)))));
  };
  Range32 r{lowest(c.type), highest(c.type)};
  if (c.activation == Activation::kRelu || c.activation == Activation::kRelu6)
    r.low = std::max(r.low, q(0));
  if (c.activation == Activation::kRelu6) r.high = std::min(r.high, q(6));
  if (c.activation == Activation::kReluN1To1) r = {std::max(r.low, q(-1)), std::min(r.high, q(1))};
  return r;
}

double real_multiplier(const ProductCase& c, std::size_t channel) {
  const float sw = scale_of(c, channel);
  const bool fc = c.op == OpCode::kFullyConnected;
  const bool rounded =
      fc ? builtin(c) && c.w_scale.size() == 1 && !wide(c) : c.type == DType::kUint8;
  const double product = rounded ? static_cast<double>(c.x_scale * sw)
                                 : static_cast<double>(c.x_scale) * static_cast<double>(sw);
  return product / static_cast<double>(c.y_scale);
}

float clamp_float(const ProductCase& c, float v) {
  const float none = std::numeric_limits<float>::infinity();
  float low = -none, high = none;
  if (c.activation == Activation::kRelu || c.activation == Activation::kRelu6) low = 0;
  if (c.activation == Activation::kRelu6) high = 6;
  if (c.activation == Activation::kReluN1To1) low = -1, high = 1;
  return std::min(std::max(v, low), high);
}

float away(float v) { return std::round(v); }

std::size_t elements(const Shape& shape) { return shape_elements(shape); }

// Equal scales count as one, unless there are groups.
bool scaled_by_channel(const ProductCase& c) {
  return c.w_scale.size() > 1 &&
         (c.groups > 1 || std::count(c.w_scale.begin(), c.w_scale.end(), c.w_scale[0]) !=
                              static_cast<std::ptrdiff_t>(c.w_scale.size()));
}

}  // namespace

Coded code_row(const float* v, std::size_t n, bool qd8, bool symmetric) {
  Coded r;
  r.codes.assign(n, 0);
  float low = 0, high = 0;
  for (std::size_t i = 0; i < n; ++i) low = std::min(low, v[i]), high = std::max(high, v[i]);
  if (symmetric) {
    const float m = std::max(-low, high);
    if (m == 0) return r;
    const float inverse = 127.0f / m;
    r.scale = m / 127.0f;
    for (std::size_t i = 0; i < n; ++i)
      r.codes[i] = static_cast<std::int32_t>(std::clamp(away(v[i] * inverse), -127.0f, 127.0f));
  } else if (qd8) {
    const float m = low == high ? 1.0f : 255.0f / (high - low);
    const float a = low * m, b = high * m;
    const float zero = (-128.0f + a) + (127.0f + b) > 0 ? -128.0f - a : 127.0f - b;
    const float z = std::nearbyint(std::clamp(zero, -128.0f, 127.0f));
    r.scale = 1.0f / m;
    for (std::size_t i = 0; i < n; ++i)
      r.codes[i] =
          static_cast<std::int32_t>(std::clamp(std::nearbyint(v[i] * m) + z, -128.0f, 127.0f) - z);
  } else {
    if (low == high) return r;
    const double d = static_cast<double>(high - low) / 255.0;
    const double zero =
        128 + std::abs(low / d) < 127 + std::abs(high / d) ? -128 - low / d : 127 - high / d;
    const float z = static_cast<float>(std::clamp(std::round(zero), -128.0, 127.0));
    r.scale = static_cast<float>(d);
    const float inverse = static_cast<float>(1.0 / static_cast<double>(r.scale));
    for (std::size_t i = 0; i < n; ++i)
      r.codes[i] =
          static_cast<std::int32_t>(std::clamp(away(v[i] * inverse) + z, -128.0f, 127.0f) - z);
  }
  return r;
}

Shape ProductCase::output_shape() const {
  if (op == OpCode::kFullyConnected) return {n, o};
  if (op == OpCode::kTransposeConv) return {n, out_h, out_w, o};
  return window_shape(*this);
}

std::string ProductCase::text() const {
  return fmt::format(
      "{} {} x [{}, {}, {}, {}] weights [{}, {}, {}] groups {} strides {} {} dilations {} {} {} "
      "out {} {} act {} {}{}{}",
      op_name(op), dialect_name(dialect), n, h, w, c, o, kh, kw, groups, stride_h, stride_w,
      dilation_h, dilation_w, padding == Padding::kSame ? "SAME" : "VALID", out_h, out_w,
      static_cast<int>(activation), dtype_name(type), hybrid ? " hybrid" : "",
      constant ? "" : " dynamic");
}

std::vector<std::int64_t> judge_sums(const ProductCase& c, Products products) {
  std::vector<std::int64_t> sums(elements(c.output_shape()), 0);
  for (std::size_t i = 0; i < sums.size() && !c.bias.empty(); ++i)
    sums[i] = c.bias[channel_of(c, i)];
  products(c, [&](std::size_t y, std::size_t x, std::size_t w) {
    sums[y] += static_cast<std::int64_t>(c.x[x] - c.x_zero) * (c.weights[w] - c.w_zero);
  });
  return sums;
}

std::vector<std::int32_t> judge_codes(const ProductCase& c, const std::vector<std::int64_t>& sums) {
  const Range32 range = clamp_of(c);
  std::vector<std::int32_t> codes(sums.size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const std::size_t channel = channel_of(c, i);
    const double real = real_multiplier(c, channel);
    const Multiplier m = make_multiplier(real);
    const auto narrow = static_cast<std::int32_t>(sums[i]);
    std::int64_t y = 0;
    switch (profile_of(c, i, sums.size())) {
      case Profile::kXnn:
        codes[i] = requantize_xnn(narrow, c.x_scale * scale_of(c, channel) / c.y_scale, c.y_zero,
                                  range.low, range.high);
        continue;
      case Profile::kDouble:
        y = scale_double(narrow, m);
        break;
      case Profile::kUp:
        y = scale_up(narrow, m);
        break;
      case Profile::k16x8:
        y = scale_16x8(sums[i], m);
        break;
      case Profile::kF64:
        y = round_away(static_cast<double>(wide(c) ? sums[i] : narrow) * real);
        break;
    }
    codes[i] = static_cast<std::int32_t>(
        std::clamp<std::int64_t>(static_cast<std::int32_t>(y + c.y_zero), range.low, range.high));
  }
  return codes;
}

std::vector<float> judge_floats(const ProductCase& c, Products products) {
  const bool fused = xnn(c);
  std::vector<float> sums(elements(c.output_shape()), 0.0f);
  for (std::size_t i = 0; fused && i < sums.size() && !c.real_bias.empty(); ++i)
    sums[i] = c.real_bias[channel_of(c, i)];
  products(c, [&](std::size_t y, std::size_t x, std::size_t w) {
    sums[y] = fused ? std::fma(c.real_x[x], c.real_weights[w], sums[y])
                    : sums[y] + c.real_x[x] * c.real_weights[w];
  });
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const float bias = fused || c.real_bias.empty() ? 0.0f : c.real_bias[channel_of(c, i)];
    sums[i] = clamp_float(c, sums[i] + bias);
  }
  return sums;
}

std::vector<float> judge_hybrid(const ProductCase& c, Products products) {
  const bool fc = c.op == OpCode::kFullyConnected;
  const bool qd8 = xnn(c) && c.op != OpCode::kDepthwiseConv2d;
  const bool conv_pixel = qd8 && c.op == OpCode::kConv2d && c.groups == 1 && c.kh * c.kw == 1 &&
                          c.stride_h * c.stride_w == 1;
  const bool symmetric =
      !qd8 && (fc ? !c.asymmetric : c.op == OpCode::kConv2d && !scaled_by_channel(c));
  const std::size_t row = fc || conv_pixel ? static_cast<std::size_t>(c.c)
                                           : c.real_x.size() / static_cast<std::size_t>(c.n);
  std::vector<std::int32_t> codes;
  std::vector<float> scales;
  for (std::size_t at = 0; at < c.real_x.size(); at += row) {
    const Coded r = code_row(c.real_x.data() + at, row, qd8, symmetric);
    codes.insert(codes.end(), r.codes.begin(), r.codes.end());
    scales.push_back(r.scale);
  }
  const std::size_t outputs = elements(c.output_shape());
  std::vector<std::int64_t> sums(outputs, 0);
  std::vector<float> floats(outputs, 0.0f);
  const bool by_tap = c.op == OpCode::kTransposeConv && !qd8;
  const std::size_t per_row = outputs / scales.size();
  products(c, [&](std::size_t y, std::size_t x, std::size_t w) {
    const std::int32_t product = codes[x] * c.weights[w];
    sums[y] += product;
    if (by_tap)
      floats[y] +=
          static_cast<float>(product) * scale_of(c, channel_of(c, y)) * scales[y / per_row];
  });
  for (std::size_t i = 0; i < outputs; ++i) {
    const float s = scales[i / per_row], w = scale_of(c, channel_of(c, i)),
                b = c.real_bias.empty() ? 0.0f : c.real_bias[channel_of(c, i)];
    const float sum = static_cast<float>(sums[i]);
    const bool depthwise = c.op == OpCode::kDepthwiseConv2d;
    const bool weight_first = c.op == OpCode::kConv2d && scaled_by_channel(c) &&
                              (c.dialect == Dialect::kReference || c.groups > 1);
    float v = sum * (s * w) + b;
    if (weight_first || (depthwise && builtin(c))) v = sum * w * s + b;
    if (depthwise && builtin(c) && channel_of(c, i) >= static_cast<std::size_t>(c.o) / 4 * 4)
      v = sum * s * w + b;
    if (qd8) v = std::fma(sum * s, w, b);
    if (by_tap) v = floats[i] + b;
    floats[i] = clamp_float(c, v);
  }
  return floats;
}

}  // namespace litegap::oracle
