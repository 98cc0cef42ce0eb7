#include "kernels/gemm_spec.h"

#include <cmath>
#include <limits>

namespace litegap {
namespace {

bool is_code(DType type) {
  return type == DType::kInt8 || type == DType::kUint8 || type == DType::kInt16;
}

template <class T>
Range32 range_of(std::span<const T> values) {
  if (values.empty()) return {0, 0};
  T low = values[0], high = values[0];
  for (const T v : values) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  return {low, high};
}

std::int32_t type_low(DType type) {
  return type == DType::kInt8 ? -128 : type == DType::kUint8 ? 0 : -32768;
}
std::int32_t type_high(DType type) {
  return type == DType::kInt8 ? 127 : type == DType::kUint8 ? 255 : 32767;
}

std::int32_t add_clamped(std::int32_t zero_point, std::int32_t q) {
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(
      std::int64_t{zero_point} + q, std::numeric_limits<std::int32_t>::min(),
      std::numeric_limits<std::int32_t>::max()));
}

}  // namespace

Arithmetic arithmetic_of(const OpSpec& spec, std::size_t x, std::size_t weights) {
  const DType a = spec.inputs[x].dtype, w = spec.inputs[weights].dtype, y = spec.outputs[0].dtype;
  const bool small = w == DType::kInt8 || w == DType::kInt4 || w == DType::kInt2;
  if (a == DType::kFloat32 && w == DType::kFloat32 && y == DType::kFloat32)
    return Arithmetic::kFloat;
  if (a == DType::kFloat32 && small && y == DType::kFloat32) return Arithmetic::kHybrid;
  const bool widened =
      a == DType::kUint8 && y == DType::kInt16 && spec.op->code == OpCode::kFullyConnected;
  if (is_code(a) && (a == y || widened) && (a == DType::kUint8 ? w == DType::kUint8 : small))
    return Arithmetic::kInteger;
  refuse(spec, "{} input, {} weights and {} output are not a combination of this operator",
         dtype_name(a), dtype_name(w), dtype_name(y));
}

FloatRange float_activation(Activation activation, bool xnn) {
  const float top =
      xnn ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::max();
  switch (activation) {
    case Activation::kRelu:
      return {0, top};
    case Activation::kReluN1To1:
      return {-1, 1};
    case Activation::kRelu6:
      return {0, 6};
    default:
      return {-top, top};  // TANH and SIGN_BIT are accepted and not applied
  }
}

FloatRange hybrid_activation(Activation activation, bool xnn, bool by_rows) {
  FloatRange range = float_activation(activation, xnn || by_rows);
  range.nan_is_low = xnn || (by_rows && !std::isinf(range.low));
  return range;
}

bool xnn_activation(Activation activation) {
  return activation != Activation::kTanh && activation != Activation::kSignBit;
}

bool xnn_weights(const Operand& weights) {
  return weights.constant != nullptr &&
         (weights.dtype != DType::kUint8 || weights.quant == nullptr || weights.quant->axis == 0);
}

Range32 activation_codes(Activation activation, float scale, std::int32_t zero_point, DType type,
                         bool xnn) {
  const std::int32_t low = type_low(type), high = type_high(type);
  const auto code = [&](float v) {
    if (!xnn) return add_clamped(zero_point, round_away(v / scale));
    return round_even(
        std::min(std::max(v / scale + static_cast<float>(zero_point), static_cast<float>(low)),
                 static_cast<float>(high)));
  };
  switch (activation) {
    case Activation::kRelu:
      return {std::max(low, code(0)), high};
    case Activation::kRelu6:
      return {std::max(low, code(0)), std::min(high, code(6))};
    case Activation::kReluN1To1:
      return {std::max(low, code(-1)), std::min(high, code(1))};
    default:
      return {low, high};
  }
}

float tensor_scale(const OpSpec& spec, const Operand& operand) {
  if (operand.quant == nullptr || operand.quant->scale.size() != 1) {
    refuse(spec, "tensor {} ({}): expected one scale, found {}", operand.name,
           dtype_name(operand.dtype), operand.quant == nullptr ? 0 : operand.quant->scale.size());
  }
  const float scale = operand.quant->scale[0];
  if (!(scale > 0) || !std::isfinite(scale))
    refuse(spec, "tensor {}: its scale {} is not a positive number", operand.name, scale);
  return scale;
}

std::int32_t tensor_zero(const OpSpec& spec, const Operand& operand) {
  const std::int64_t zero = operand.quant->zero_point.empty() ? 0 : operand.quant->zero_point[0];
  if (zero < type_low(operand.dtype) || zero > type_high(operand.dtype)) {
    refuse(spec, "tensor {}: zero point {} is outside {}", operand.name, zero,
           dtype_name(operand.dtype));
  }
  return static_cast<std::int32_t>(zero);
}

std::vector<float> weight_scales(const OpSpec& spec, const Operand& weights, std::size_t channels) {
  const Quant& quant = *weights.quant;
  if (quant.block_size != 0)
    refuse(spec, "tensor {}: blockwise weights are not supported here", weights.name);
  if (quant.scale.size() != 1 && quant.scale.size() != channels) {
    refuse(spec, "tensor {}: expected 1 or {} scales, found {}", weights.name, channels,
           quant.scale.size());
  }
  for (const float s : quant.scale) {
    if (!std::isfinite(s) || s < 0)
      refuse(spec, "tensor {}: scale {} is not a number >= 0", weights.name, s);
  }
  if (quant.scale.size() == channels) return quant.scale;
  return std::vector<float>(channels, quant.scale[0]);
}

// `bits`-wide two's complement values, the first in the lowest bits of each byte.
Array unpacked_codes(const Array& constant) {
  if (constant.dtype() != DType::kInt4 && constant.dtype() != DType::kInt2) return constant;
  const int bits = dtype_bits(constant.dtype());
  Array codes = Array::zeros(DType::kInt8, constant.shape());
  const auto out = codes.mutable_span<std::int8_t>();
  const auto bytes = constant.bytes();
  const std::size_t per = static_cast<std::size_t>(8 / bits);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int raw = std::to_integer<int>(bytes[i / per]) >> (bits * static_cast<int>(i % per)) &
                    ((1 << bits) - 1);
    out[i] = static_cast<std::int8_t>(raw >= 1 << (bits - 1) ? raw - (1 << bits) : raw);
  }
  return codes;
}

Range32 code_range(const Array& constant) {
  if (constant.dtype() == DType::kUint8) return range_of(constant.span<std::uint8_t>());
  return range_of(unpacked_codes(constant).span<std::int8_t>());
}

void set_weights(const OpSpec& spec, std::size_t index, WindowSpec& out) {
  const Operand& w = spec.inputs[index];
  if (w.sparse && (w.dtype != DType::kFloat32 || spec.op->code != OpCode::kFullyConnected))
    refuse(spec, "tensor {}: sparse weights of {} are not supported", w.name, dtype_name(w.dtype));
  out.weight_type = w.dtype;
  if (w.dtype != DType::kFloat32) {
    if (w.quant == nullptr || w.quant->empty())
      refuse(spec, "tensor {}: quantized weights without a scale", w.name);
    for (const std::int64_t z : w.quant->zero_point) {
      if (z != w.quant->zero_point[0]) refuse(spec, "tensor {}: several zero points", w.name);
    }
    const std::int64_t zero = w.quant->zero_point.empty() ? 0 : w.quant->zero_point[0];
    if (zero < -128 || zero > 255)
      refuse(spec, "tensor {}: zero point {} is outside {}", w.name, zero, dtype_name(w.dtype));
    out.weight_zero = static_cast<std::int32_t>(zero);
  }
  if (w.constant == nullptr) {
    if (w.dtype == DType::kInt4 || w.dtype == DType::kInt2)
      refuse(spec, "tensor {}: {} weights that are not constant are not supported", w.name,
             dtype_name(w.dtype));
    return;
  }
  if (w.constant->elements() != shape_elements(w.shape))
    refuse(spec, "tensor {}: {} values for shape {}", w.name, w.constant->elements(),
           shape_text(w.shape));
  out.weights = *w.constant;
}

void set_bias(const OpSpec& spec, std::size_t index, WindowSpec& out) {
  const auto channels = static_cast<std::size_t>(out.window.out_c);
  if (!spec.has(index)) return;
  const Operand& b = spec.inputs[index];
  const bool real = out.finish.has_value();
  if (real ? b.dtype != DType::kFloat32 : b.dtype != DType::kInt32 && b.dtype != DType::kInt64) {
    refuse(spec, "bias {}: type {} does not go with these operands", b.name, dtype_name(b.dtype));
  }
  if (shape_elements(b.shape) != channels)
    refuse(spec, "bias {}: expected {} values, found shape {}", b.name, channels,
           shape_text(b.shape));
  out.bias_type = b.dtype;
  if (b.constant == nullptr) {
    out.bias_input = static_cast<int>(index);
    return;
  }
  if (b.constant->elements() != channels)
    refuse(spec, "bias {}: expected {} values, found {}", b.name, channels, b.constant->elements());
  if (real) {
    const auto v = b.constant->span<float>();
    out.float_bias.assign(v.begin(), v.end());
  } else if (b.dtype == DType::kInt64) {
    const auto v = b.constant->span<std::int64_t>();
    out.bias.assign(v.begin(), v.end());
  } else {
    const auto v = b.constant->span<std::int32_t>();
    out.bias.assign(v.begin(), v.end());
  }
}

Requant make_requant(const OpSpec& spec, float input_scale, const std::vector<float>& scales,
                     const Operand& output, Activation activation, const RequantPlan& plan) {
  const float output_scale = tensor_scale(spec, output);
  Requant q;
  q.rounding = plan.rounding;
  q.type = output.dtype;
  q.zero_point = tensor_zero(spec, output);
  const Range32 range = activation_codes(activation, output_scale, q.zero_point, output.dtype,
                                         plan.rounding == Rounding::kXnn);
  q.low = range.low;
  q.high = range.high;
  const std::size_t padded = scales.size() + kPanelPad;
  q.mantissa.resize(padded);
  q.left.resize(padded);
  q.right.resize(padded);
  q.away.resize(padded);
  q.scale.resize(padded);
  q.real.resize(padded);
  for (std::size_t c = 0; c < scales.size(); ++c) {
    const float product = input_scale * scales[c];
    const double exact = static_cast<double>(input_scale) * static_cast<double>(scales[c]);
    q.real[c] = (plan.float_product ? static_cast<double>(product) : exact) /
                static_cast<double>(output_scale);
    q.scale[c] = product / output_scale;
    const Multiplier m = make_multiplier(q.real[c]);
    q.mantissa[c] = m.mantissa;
    q.left[c] = std::max(m.exponent, 0);
    q.right[c] = std::max(-m.exponent, 0);
    q.away[c] = c >= plan.away_from ? 1 : 0;
    if (plan.rounding == Rounding::kXnn && q.scale[c] >= 256.0f) {
      refuse(spec, "XNNPACK cannot run it: the ratio of scales {} is not below 256", q.scale[c]);
    }
  }
  return q;
}

void set_integer(const OpSpec& spec, std::size_t x, std::size_t bias, DType bias_type,
                 WindowSpec& out) {
  const Operand& input = spec.inputs[x];
  tensor_scale(spec, input);
  out.input_zero = tensor_zero(spec, input);
  if (input.dtype != DType::kUint8 && out.weight_zero != 0)
    refuse(spec, "int8 weights with zero point {}, expected 0", out.weight_zero);
  if (input.dtype != DType::kInt16) {
    if (spec.has(bias) && spec.inputs[bias].dtype != DType::kInt32)
      refuse(spec, "bias {}: expected int32, found {}", spec.inputs[bias].name,
             dtype_name(spec.inputs[bias].dtype));
    return;
  }
  tensor_scale(spec, spec.outputs[0]);
  if (out.input_zero != 0 || tensor_zero(spec, spec.outputs[0]) != 0)
    refuse(spec, "int16 activations with a zero point, expected 0");
  out.wide = bias_type != DType::kInt32;
  if (out.wide && spec.has(bias) && spec.inputs[bias].dtype == DType::kInt32) {
    refuse(spec,
           "bias {} is int32 but quantized_bias_type does not say so: the runtime reads 64-bit "
           "numbers past its end",
           spec.inputs[bias].name);
  }
  if (spec.has(bias) && spec.inputs[bias].dtype != (out.wide ? DType::kInt64 : DType::kInt32)) {
    refuse(spec, "bias {}: expected {}, found {}", spec.inputs[bias].name,
           out.wide ? "int64" : "int32", dtype_name(spec.inputs[bias].dtype));
  }
}

void expect_rank(const OpSpec& spec, const Operand& operand, std::size_t rank, const char* what) {
  if (operand.shape.size() != rank)
    refuse(spec, "{} {}: expected {} dimensions, found shape {}", what, operand.name, rank,
           shape_text(operand.shape));
}

}  // namespace litegap
