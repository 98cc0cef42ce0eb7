#include "quant/params.h"

#include <algorithm>
#include <cmath>

namespace litegap {
namespace {

constexpr double kBiasRoom =
    1073741823.0;  // floor((2^31 - 1) / 2): the other half is left to the sum

struct Channels {
  std::size_t inner = 1, count = 1;
  std::size_t of(std::size_t i) const { return (i / inner) % count; }
};

Channels channels(const Shape& shape, int axis) {
  Channels c;
  if (axis < 0) return c;
  if (static_cast<std::size_t>(axis) >= shape.size())
    fail("weights of shape {} have no axis {}", shape_text(shape), axis);
  c.count = static_cast<std::size_t>(shape[static_cast<std::size_t>(axis)]);
  for (std::size_t d = static_cast<std::size_t>(axis) + 1; d < shape.size(); ++d)
    c.inner *= static_cast<std::size_t>(shape[d]);
  return c;
}

Quant single(float scale, std::int64_t zero_point) {
  Quant q;
  q.scale = {scale};
  q.zero_point = {zero_point};
  return q;
}

}  // namespace

Quant activation_quant(float min, float max, DType dtype) {
  if (!std::isfinite(min) || !std::isfinite(max) || min > max)
    fail("range {} to {} is not a range", min, max);
  if (dtype == DType::kInt16) {
    const float peak = std::max(std::fabs(min), std::fabs(max));
    return single(peak > 0 ? peak / 32767.0f : 1.0f / 32767.0f, 0);
  }
  const int low_code = dtype == DType::kUint8 ? 0 : -128, high_code = low_code + 255;
  double low = std::min(min, 0.0f), high = std::max(max, 0.0f);
  if (high - low < 1e-6) {
    low -= 1e-6;
    high += 1e-6;
  }
  const float scale = (static_cast<float>(high) - static_cast<float>(low)) / 255.0f;
  const float zero = static_cast<float>(low_code) - static_cast<float>(low) / scale;
  return single(scale,
                static_cast<std::int64_t>(std::clamp(std::round(zero), static_cast<float>(low_code),
                                                     static_cast<float>(high_code))));
}

Array quantize_activation(const Array& real, const Quant& quant, DType dtype) {
  Array codes = Array::zeros(dtype, real.shape());
  const float inverse = 1.0f / quant.scale[0];
  const auto zero = static_cast<float>(quant.zero_point[0]);
  const auto v = real.span<float>();
  const auto code = [&](std::size_t i, float low, float high) {
    return std::clamp(std::round(v[i] * inverse) + zero, low, high);
  };
  for (std::size_t i = 0; i < v.size(); ++i) {
    if (dtype == DType::kUint8) {
      codes.mutable_span<std::uint8_t>()[i] = static_cast<std::uint8_t>(code(i, 0, 255));
    } else if (dtype == DType::kInt16) {
      codes.mutable_span<std::int16_t>()[i] = static_cast<std::int16_t>(code(i, -32767, 32767));
    } else {
      codes.mutable_span<std::int8_t>()[i] = static_cast<std::int8_t>(code(i, -128, 127));
    }
  }
  return codes;
}

Quant weight_quant(const Array& weights, int axis, int bits) {
  const Channels c = channels(weights.shape(), axis);
  std::vector<float> peak(c.count, 0);
  const auto w = weights.span<float>();
  for (std::size_t i = 0; i < w.size(); ++i) {
    float& p = peak[axis < 0 ? 0 : c.of(i)];
    p = std::max(p, std::fabs(w[i]));
  }
  Quant q;
  q.axis = std::max(axis, 0);
  for (const float p : peak) {
    // The converter widens narrower ranges; tools that write 4-bit weights do not.
    q.scale.push_back(bits == 4 ? std::max(p, 1e-9f) / 7.0f : std::max(p, 5e-7f) / 127.0f);
    q.zero_point.push_back(0);
  }
  return q;
}

Array quantize_weights(const Array& weights, const Quant& quant, int bits) {
  const float top = bits == 4 ? 7.0f : 127.0f;
  Array codes = Array::zeros(DType::kInt8, weights.shape());
  const Channels c = channels(weights.shape(), quant.per_channel() ? quant.axis : -1);
  std::vector<float> inverse;
  for (const float s : quant.scale) inverse.push_back(1.0f / s);
  const auto w = weights.span<float>();
  const auto out = codes.mutable_span<std::int8_t>();
  for (std::size_t i = 0; i < w.size(); ++i) {
    const float product = w[i] * inverse[quant.per_channel() ? c.of(i) : 0];
    out[i] = static_cast<std::int8_t>(std::clamp(std::round(product), -top, top));
  }
  return codes;
}

Quant bias_quant(const Quant& input, const Quant& weights) {
  Quant q;
  for (const float s : weights.scale) {
    q.scale.push_back(input.scale[0] * s);
    q.zero_point.push_back(0);
  }
  return q;
}

Array quantize_bias(const Array& bias, const Quant& quant, DType dtype) {
  Array codes = Array::zeros(dtype, bias.shape());
  const auto b = bias.span<float>();
  for (std::size_t i = 0; i < b.size(); ++i) {
    const float inverse = 1.0f / quant.scale[quant.per_channel() ? i : 0];
    const double code = std::round(static_cast<double>(b[i] * inverse));
    if (dtype == DType::kInt64) {
      codes.mutable_span<std::int64_t>()[i] =
          static_cast<std::int64_t>(std::clamp(code, -9.2e18, 9.2e18));
    } else {
      codes.mutable_span<std::int32_t>()[i] =
          static_cast<std::int32_t>(std::clamp(code, -2147483647.0, 2147483647.0));
    }
  }
  return codes;
}

bool make_room_for_bias(const Array& bias, const Quant& input, Quant& weights, Quant& bias_scales) {
  bool changed = false;
  const auto b = bias.span<float>();
  for (std::size_t i = 0; i < b.size(); ++i) {
    const std::size_t c = weights.per_channel() ? i : 0;
    const double magnitude = std::fabs(static_cast<double>(b[i]));
    if (magnitude / static_cast<double>(bias_scales.scale[c]) <= kBiasRoom) continue;
    const double scale = magnitude / kBiasRoom;
    bias_scales.scale[c] = static_cast<float>(scale);
    weights.scale[c] = static_cast<float>(scale / static_cast<double>(input.scale[0]));
    changed = true;
  }
  return changed;
}

int weight_axis(OpCode code) {
  switch (code) {
    case OpCode::kConv2d:
    case OpCode::kFullyConnected:
    case OpCode::kTransposeConv:
      return 0;
    case OpCode::kDepthwiseConv2d:
      return 3;
    default:
      return -1;
  }
}

int weight_input(OpCode code) { return weight_axis(code) < 0 ? -1 : 1; }
int bias_input(OpCode code) {
  return weight_axis(code) < 0 ? -1 : code == OpCode::kTransposeConv ? 3 : 2;
}
int data_input(OpCode code) { return code == OpCode::kTransposeConv ? 2 : 0; }

bool fixed_output(OpCode code, DType dtype, Quant* quant) {
  const bool wide = dtype == DType::kInt16;
  const std::int64_t low = dtype == DType::kUint8 ? 0 : -128;
  switch (code) {
    case OpCode::kSoftmax:
    case OpCode::kLogistic:
      *quant = wide ? single(1.0f / 32768, 0) : single(1.0f / 256, low);
      return true;
    case OpCode::kTanh:
      *quant = wide ? single(1.0f / 32768, 0) : single(1.0f / 128, low + 128);
      return true;
    case OpCode::kL2Normalization:
      *quant = single(1.0f / 128, low + 128);
      return !wide;
    case OpCode::kLogSoftmax:
      *quant = single(16.0f / 256, low + 255);
      return !wide;
    default:
      return false;
  }
}

bool same_scale(OpCode code) {
  switch (code) {
    case OpCode::kAveragePool2d:
    case OpCode::kMaxPool2d:
    case OpCode::kConcatenation:
    case OpCode::kGather:
    case OpCode::kGatherNd:
    case OpCode::kExpandDims:
    case OpCode::kSqueeze:
    case OpCode::kFill:
    case OpCode::kMaximum:
    case OpCode::kMinimum:
    case OpCode::kSlice:
    case OpCode::kStridedSlice:
    case OpCode::kSum:
    case OpCode::kReduceMin:
    case OpCode::kReduceMax:
    case OpCode::kPack:
    case OpCode::kUnpack:
    case OpCode::kPad:
    case OpCode::kPadV2:
    case OpCode::kMirrorPad:
    case OpCode::kReshape:
    case OpCode::kSelect:
    case OpCode::kSelectV2:
    case OpCode::kTile:
    case OpCode::kTranspose:
    case OpCode::kBatchToSpaceNd:
    case OpCode::kSpaceToBatchNd:
    case OpCode::kSpaceToDepth:
    case OpCode::kDepthToSpace:
    case OpCode::kSplit:
    case OpCode::kSplitV:
    case OpCode::kResizeBilinear:
    case OpCode::kResizeNearestNeighbor:
    case OpCode::kBroadcastTo:
      return true;
    default:
      return false;
  }
}

}  // namespace litegap
