// CONV_2D: float, hybrid and integer, with groups and dilation (docs/numerics.md, sections 2.2,
// 4, 4.5).
//
// x [N, H, W, I], weights [O, kh, kw, I / groups], bias [O] (required), y [N, OH, OW, O].
#include <algorithm>
#include <functional>

#include "kernels/gemm_ops.h"
#include "kernels/gemm_spec.h"
#include "kernels/geometry.h"
#include "kernels/narrow_conv.h"

namespace litegap {
namespace {

bool is_1x1(const OpSpec& spec, const ConvAttrs& a) {
  const Shape& w = spec.inputs[1].shape;
  return w[1] == 1 && w[2] == 1 && a.stride_h == 1 && a.stride_w == 1;
}

Window image_window(const OpSpec& spec, const ConvAttrs& a) {
  const Shape& x = spec.inputs[0].shape;
  const Shape& w = spec.inputs[1].shape;
  const Extent y_axis = window_extent(x[1], w[1], a.stride_h, a.dilation_h, a.padding);
  const Extent x_axis = window_extent(x[2], w[2], a.stride_w, a.dilation_w, a.padding);
  if (y_axis.out <= 0 || x_axis.out <= 0)
    refuse(spec, "input {} is smaller than the filter {}", shape_text(x), shape_text(w));
  Window v;
  v.batch = x[0];
  v.in_h = x[1];
  v.in_w = x[2];
  v.in_c = x[3];
  v.out_h = static_cast<std::int32_t>(y_axis.out);
  v.out_w = static_cast<std::int32_t>(x_axis.out);
  v.out_c = w[0];
  v.groups = x[3] / w[3];
  v.pad_top = static_cast<std::int32_t>(y_axis.pad_before);
  v.pad_left = static_cast<std::int32_t>(x_axis.pad_before);
  v.step_y = a.stride_h;
  v.step_x = a.stride_w;
  v.source_taps = static_cast<std::size_t>(w[1]) * static_cast<std::size_t>(w[2]);
  Grid grid{v.out_h, v.out_w, 0, 0, 1, 1, {}};
  for (std::int32_t ky = 0; ky < w[1]; ++ky) {
    for (std::int32_t kx = 0; kx < w[2]; ++kx) {
      grid.taps.push_back({ky * a.dilation_h, kx * a.dilation_w, grid.taps.size()});
    }
  }
  v.grids.push_back(std::move(grid));
  return v;
}

void check(const OpSpec& spec, const ConvAttrs& a) {
  expect_rank(spec, spec.inputs[0], 4, "input");
  expect_rank(spec, spec.inputs[1], 4, "weights");
  if (!spec.has(2)) refuse(spec, "it has no bias; the runtime demands one");
  const Shape& x = spec.inputs[0].shape;
  const Shape& w = spec.inputs[1].shape;
  if (a.stride_h < 1 || a.stride_w < 1 || a.dilation_h < 1 || a.dilation_w < 1)
    refuse(spec, "strides and dilations must be positive");
  for (const std::int32_t n : w) {
    if (n < 1) refuse(spec, "weights of shape {}", shape_text(w));
  }
  if (x[1] < 1 || x[2] < 1 || x[3] < 1) refuse(spec, "input of shape {}", shape_text(x));
  if (x[3] % w[3] != 0)
    refuse(spec, "input {} has {} channels, not a multiple of the filter's {}", shape_text(x), x[3],
           w[3]);
  if (w[0] % (x[3] / w[3]) != 0)
    refuse(spec, "{} filters are not a multiple of {} groups", w[0], x[3] / w[3]);
}

bool xnn_takes(const OpSpec& spec, const ConvAttrs& a) {
  const Operand& w = spec.inputs[1];
  const bool types =
      w.dtype == DType::kFloat32 || w.dtype == DType::kInt8 || w.dtype == DType::kUint8;
  return types && spec.inputs[0].dtype != DType::kInt16 && xnn_weights(w) &&
         spec.inputs[2].constant != nullptr && xnn_activation(a.activation);
}

void set_hybrid(const OpSpec& spec, const ConvAttrs& a, bool xnn, WindowSpec& s) {
  const Operand& w = spec.inputs[1];
  const bool grouped = s.window.groups > 1;
  // Several scales that are all the same count as one in the runtime's own kernels.
  const bool per_channel =
      w.quant->per_channel() &&
      (grouped || std::ranges::adjacent_find(w.quant->scale, std::ranges::not_equal_to{}) !=
                      w.quant->scale.end());
  if (w.dtype == DType::kInt2) refuse(spec, "int2 weights are not supported");
  if (s.weight_zero != 0)
    refuse(spec, "int8 weights with zero point {}, expected 0", s.weight_zero);
  if (grouped && !per_channel && s.window.out_c > 1)
    refuse(spec, "grouped, with one weight scale for {} channels", s.window.out_c);
  s.weight_scale = weight_scales(spec, w, static_cast<std::size_t>(s.window.out_c));
  s.hybrid = xnn           ? HybridCode::kQd8
             : per_channel ? HybridCode::kAsymmetric
                           : HybridCode::kSymmetric;
  FloatScale scale = FloatScale::kProduct;
  if (per_channel && (spec.dialect == Dialect::kReference || grouped))
    scale = FloatScale::kWeightFirst;
  if (xnn) scale = FloatScale::kFused;
  const FloatRange range = hybrid_activation(a.activation, xnn, false);
  s.finish =
      FloatFinish{scale, 0, scale, nullptr, nullptr, range.low, range.high, low_for_nan(range)};
  // XNNPACK runs 1 x 1 convolutions as a matrix product and quantizes each pixel by itself.
  s.hybrid_per_row = xnn && !grouped && is_1x1(spec, a);
}

void set_arithmetic(const OpSpec& spec, const ConvAttrs& a, Arithmetic arithmetic, bool xnn,
                    WindowSpec& s) {
  const bool reference = spec.dialect == Dialect::kReference || (s.window.groups > 1 && !xnn);
  if (arithmetic == Arithmetic::kHybrid) return set_hybrid(spec, a, xnn, s);
  if (arithmetic == Arithmetic::kFloat) {
    const FloatRange range = float_activation(a.activation, xnn);
    s.finish = FloatFinish{FloatScale::kNone, 0,         FloatScale::kNone, nullptr,
                           nullptr,           range.low, range.high};
    s.fused_multiply_add = s.bias_first = xnn;
    return;
  }
  if (spec.inputs[1].dtype == DType::kInt2) refuse(spec, "int2 weights are not supported");
  set_integer(spec, 0, 2, a.quantized_bias_type, s);
  const auto channels = static_cast<std::size_t>(s.window.out_c);
  RequantPlan plan;
  plan.rounding = xnn ? Rounding::kXnn : s.wide ? Rounding::k16x8 : Rounding::kFixed;
  plan.float_product = spec.inputs[0].dtype == DType::kUint8;
  plan.away_from = reference ? 0 : channels;
  s.requant = make_requant(spec, tensor_scale(spec, spec.inputs[0]),
                           weight_scales(spec, spec.inputs[1], channels), spec.outputs[0],
                           a.activation, plan);
}

// A 1 x 1 window of stride 1 does not care where a pixel is.
void flatten(const OpSpec& spec, const ConvAttrs& a, WindowSpec& s) {
  if (!is_1x1(spec, a) || s.window.groups != 1) return;
  const bool per_image = s.hybrid && !s.hybrid_per_row;
  const std::int64_t image = std::int64_t{s.window.in_h} * s.window.in_w;
  const std::int64_t rows = per_image ? image : image * s.window.batch;
  if (rows > (std::int64_t{1} << 30)) return;
  s.window = flat_window(per_image ? s.window.batch : 1, static_cast<std::int32_t>(rows),
                         s.window.in_c, s.window.out_c);
}

}  // namespace

std::unique_ptr<Kernel> prepare_conv_2d(OpSpec& spec, const GemmKernels& kernels) {
  expect_inputs(spec, 2, 3);
  expect_outputs(spec, 1);
  const auto& a = attrs_of<ConvAttrs>(spec);
  check(spec, a);
  const Arithmetic arithmetic = arithmetic_of(spec, 0, 1);
  const bool xnn = spec.dialect == Dialect::kXnnpack && xnn_takes(spec, a);
  WindowSpec s;
  s.window = image_window(spec, a);
  s.kernels = &kernels;
  s.input = spec.inputs[0].dtype;
  set_weights(spec, 1, s);
  set_arithmetic(spec, a, arithmetic, xnn, s);
  set_bias(spec, 2, s);
  spec.outputs[0].shape = {s.window.batch, s.window.out_h, s.window.out_w, s.window.out_c};
  flatten(spec, a, s);
  if (is_narrow_conv(s)) return make_narrow_conv(std::move(s));
  return make_window_kernel(std::move(s));
}

std::unique_ptr<Kernel> prepare_conv_2d(OpSpec& spec) { return prepare_conv_2d(spec, gemm_best()); }

}  // namespace litegap
