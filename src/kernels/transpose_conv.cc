// TRANSPOSE_CONV: float, hybrid and integer (docs/numerics.md, sections 2.5, 4, 4.5).
//
// Inputs: output shape [4] (constant), weights [O, kh, kw, I], x [N, H, W, I], bias [O] (optional).
// y [N, OH, OW, O]; the batch is x's.  Output pixels of equal remainder by the strides see the same
// taps, so each such phase is a convolution of stride 1 over x: one Grid each.
#include "kernels/gemm_feed.h"
#include "kernels/gemm_ops.h"
#include "kernels/gemm_spec.h"
#include "kernels/hybrid.h"

namespace litegap {
namespace {

struct Geometry {
  std::int32_t batch = 0, in_h = 0, in_w = 0, in_c = 0, out_h = 0, out_w = 0, out_c = 0, kh = 0,
               kw = 0;
  std::int32_t stride_h = 1, stride_w = 1, pad_top = 0, pad_left = 0;
};

// Cells cut off before the first output: half of what the full result has too much.
std::int32_t crop(std::int32_t in, std::int32_t stride, std::int32_t kernel, std::int32_t out,
                  Padding padding) {
  if (padding == Padding::kValid) return 0;
  const std::int64_t total = std::int64_t{in - 1} * stride + kernel - out;
  return static_cast<std::int32_t>(std::max<std::int64_t>(total, 0) / 2);
}

Geometry check(const OpSpec& spec, const TransposeConvAttrs& a) {
  expect_rank(spec, spec.inputs[1], 4, "weights");
  expect_rank(spec, spec.inputs[2], 4, "input");
  const std::vector<std::int64_t> out = constant_integers(spec, 0);
  const Shape& w = spec.inputs[1].shape;
  const Shape& x = spec.inputs[2].shape;
  if (out.size() != 4) refuse(spec, "output shape of {} values, expected 4", out.size());
  for (std::size_t i = 1; i < 4; ++i) {
    if (out[i] < 1 || out[i] > 1 << 24) refuse(spec, "output shape with a dimension of {}", out[i]);
    if (x[i] < 1 || w[i] < 1) refuse(spec, "input {} and weights {}", shape_text(x), shape_text(w));
  }
  if (w[0] < 1 || w[3] != x[3])
    refuse(spec, "weights {} do not fit the input {}", shape_text(w), shape_text(x));
  if (out[3] != w[0])
    refuse(spec, "output shape asks for {} channels, the weights have {}", out[3], w[0]);
  if (a.stride_h < 1 || a.stride_w < 1) refuse(spec, "strides must be positive");
  Geometry g{x[0],
             x[1],
             x[2],
             x[3],
             static_cast<std::int32_t>(out[1]),
             static_cast<std::int32_t>(out[2]),
             w[0],
             w[1],
             w[2],
             a.stride_h,
             a.stride_w,
             0,
             0};
  g.pad_top = crop(g.in_h, g.stride_h, g.kh, g.out_h, a.padding);
  g.pad_left = crop(g.in_w, g.stride_w, g.kw, g.out_w, a.padding);
  return g;
}

// Taps of one axis and phase: output phase + stride * q reads input q + shift at tap k.
struct AxisTap {
  std::int32_t shift = 0, k = 0;
};

std::vector<AxisTap> axis_taps(std::int32_t phase, std::int32_t stride, std::int32_t pad,
                               std::int32_t kernel) {
  std::vector<AxisTap> taps;
  for (std::int32_t k = kernel - 1; k >= 0;
       --k) {  // shifts ascend: the reference kernel's order of summation
    const std::int32_t at = phase + pad - k;
    if (((at % stride) + stride) % stride == 0)
      taps.push_back({at >= 0 ? at / stride : -((-at) / stride), k});
  }
  return taps;
}

Window phases(const Geometry& g) {
  Window v;
  v.batch = g.batch;
  v.in_h = g.in_h;
  v.in_w = g.in_w;
  v.in_c = g.in_c;
  v.out_h = g.out_h;
  v.out_w = g.out_w;
  v.out_c = g.out_c;
  v.source_taps = static_cast<std::size_t>(g.kh) * static_cast<std::size_t>(g.kw);
  v.pad_top = std::max(0, (g.kh - 1 - g.pad_top + g.stride_h - 1) / g.stride_h);
  v.pad_left = std::max(0, (g.kw - 1 - g.pad_left + g.stride_w - 1) / g.stride_w);
  for (std::int32_t py = 0; py < std::min(g.stride_h, g.out_h); ++py) {
    for (std::int32_t px = 0; px < std::min(g.stride_w, g.out_w); ++px) {
      Grid grid{(g.out_h - py + g.stride_h - 1) / g.stride_h,
                (g.out_w - px + g.stride_w - 1) / g.stride_w,
                py,
                px,
                g.stride_h,
                g.stride_w,
                {}};
      for (const AxisTap& y : axis_taps(py, g.stride_h, g.pad_top, g.kh)) {
        for (const AxisTap& x : axis_taps(px, g.stride_w, g.pad_left, g.kw)) {
          grid.taps.push_back({y.shift + v.pad_top, x.shift + v.pad_left,
                               static_cast<std::size_t>(y.k) * static_cast<std::size_t>(g.kw) +
                                   static_cast<std::size_t>(x.k)});
        }
      }
      v.grids.push_back(std::move(grid));
    }
  }
  return v;
}

// The reference and built-in hybrid kernel adds every scaled product to a float, input pixel by
// input pixel: no integer sum gives the same bits.
class HybridTransposeKernel final : public Kernel {
 public:
  HybridTransposeKernel(const Geometry& g, const WindowSpec& s)
      : g_(g), range_(*s.finish), scale_(s.weight_scale), bias_(s.float_bias), kernels_(s.kernels) {
    const auto out_c = static_cast<std::size_t>(g.out_c), in_c = static_cast<std::size_t>(g.in_c);
    weights_.resize(s.window.source_taps * in_c * out_c);
    const Array plain = unpacked_codes(*s.weights);
    const auto codes = plain.span<std::int8_t>();
    for (std::size_t o = 0; o < out_c; ++o) {
      for (std::size_t t = 0; t < s.window.source_taps; ++t) {
        for (std::size_t i = 0; i < in_c; ++i) {
          weights_[(t * in_c + i) * out_c + o] = codes[(o * s.window.source_taps + t) * in_c + i];
        }
      }
    }
    bias_.resize(out_c);
  }

  std::size_t scratch_bytes() const override { return image() * sizeof(std::int16_t); }

  void run(const Io& io) const noexcept override {
    const std::size_t out_image = static_cast<std::size_t>(g_.out_h) *
                                  static_cast<std::size_t>(g_.out_w) *
                                  static_cast<std::size_t>(g_.out_c);
    auto* codes = reinterpret_cast<std::int16_t*>(io.scratch);
    for (std::size_t n = 0; n < static_cast<std::size_t>(g_.batch); ++n) {
      const float* in = static_cast<const float*>(io.inputs[2]) + n * image();
      float* out = static_cast<float*>(io.outputs[0]) + n * out_image;
      const RowCode code = hybrid_code(HybridCode::kAsymmetric, *kernels_, in, image());
      hybrid_quantize(*kernels_, in, image(), code, codes);
      std::fill(out, out + out_image, 0.0f);
      for (std::int32_t y = 0; y < g_.in_h; ++y) {
        for (std::int32_t x = 0; x < g_.in_w; ++x) {
          scatter(
              codes + static_cast<std::size_t>(y * g_.in_w + x) * static_cast<std::size_t>(g_.in_c),
              y, x, code.scale, out);
        }
      }
      end(out, out_image);
    }
  }

 private:
  std::size_t image() const {
    return static_cast<std::size_t>(g_.in_h) * static_cast<std::size_t>(g_.in_w) *
           static_cast<std::size_t>(g_.in_c);
  }

  void scatter(const std::int16_t* codes, std::int32_t y, std::int32_t x, float scale,
               float* out) const {
    const auto out_c = static_cast<std::size_t>(g_.out_c), in_c = static_cast<std::size_t>(g_.in_c);
    for (std::int32_t ky = 0; ky < g_.kh; ++ky) {
      const std::int32_t oy = y * g_.stride_h - g_.pad_top + ky;
      if (oy < 0 || oy >= g_.out_h) continue;
      for (std::int32_t kx = 0; kx < g_.kw; ++kx) {
        const std::int32_t ox = x * g_.stride_w - g_.pad_left + kx;
        if (ox < 0 || ox >= g_.out_w) continue;
        float* to = out + static_cast<std::size_t>(oy * g_.out_w + ox) * out_c;
        const float* w = weights_.data() + static_cast<std::size_t>(ky * g_.kw + kx) * in_c * out_c;
        for (std::size_t i = 0; i < in_c; ++i, w += out_c) {
          const float q = codes[i];
          for (std::size_t o = 0; o < out_c; ++o) to[o] += q * w[o] * scale_[o] * scale;
        }
      }
    }
  }

  void end(float* out, std::size_t n) const {
    for (std::size_t i = 0; i < n; i += bias_.size()) {
      for (std::size_t o = 0; o < bias_.size(); ++o) {
        float v = out[i + o] + bias_[o];
        v = v < range_.low ? range_.low : v;
        out[i + o] = range_.high < v ? range_.high : v;
      }
    }
  }

  Geometry g_;
  FloatFinish range_;
  std::vector<float> scale_, bias_, weights_;
  const GemmKernels* kernels_;
};

bool xnn_axis(std::int32_t in, std::int32_t stride, std::int32_t kernel, std::int32_t out,
              Padding padding) {
  const std::int64_t full = std::int64_t{in - 1} * stride + kernel;
  if (padding == Padding::kValid) return out >= full && out - full < stride;
  return full >= out;  // more cells than the full result are not representable
}

bool xnn_takes(const OpSpec& spec, const TransposeConvAttrs& a, const Geometry& g) {
  const Operand& w = spec.inputs[1];
  const bool types =
      w.dtype == DType::kFloat32 || w.dtype == DType::kInt8 || w.dtype == DType::kUint8;
  if (!types || spec.inputs[2].dtype == DType::kInt16 || !xnn_weights(w)) return false;
  if (spec.has(3) && spec.inputs[3].constant == nullptr) return false;
  return xnn_activation(a.activation) && xnn_axis(g.in_h, g.stride_h, g.kh, g.out_h, a.padding) &&
         xnn_axis(g.in_w, g.stride_w, g.kw, g.out_w, a.padding);
}

void set_integer_product(const OpSpec& spec, const TransposeConvAttrs& a, bool xnn, WindowSpec& s) {
  const auto channels = static_cast<std::size_t>(s.window.out_c);
  if (spec.inputs[1].dtype != DType::kInt8 && spec.inputs[1].dtype != DType::kUint8)
    refuse(spec, "{} weights are not supported", dtype_name(spec.inputs[1].dtype));
  set_integer(spec, 2, 3, a.quantized_bias_type, s);
  const bool uint8 = spec.inputs[2].dtype == DType::kUint8;
  RequantPlan plan;
  plan.rounding = xnn ? Rounding::kXnn : s.wide ? Rounding::k16x8 : Rounding::kFixed;
  plan.float_product = uint8;
  plan.away_from = spec.dialect == Dialect::kReference ? 0 : uint8 ? channels : channels / 8 * 8;
  if (uint8 && spec.dialect != Dialect::kReference && !xnn) s.flat_block = 16;
  s.requant = make_requant(spec, tensor_scale(spec, spec.inputs[2]),
                           weight_scales(spec, spec.inputs[1], channels), spec.outputs[0],
                           a.activation, plan);
}

void set_real(const OpSpec& spec, const TransposeConvAttrs& a, Arithmetic arithmetic, bool xnn,
              WindowSpec& s) {
  const bool hybrid = arithmetic == Arithmetic::kHybrid;
  const FloatRange range =
      hybrid ? hybrid_activation(a.activation, xnn, false) : float_activation(a.activation, xnn);
  FloatScale scale = FloatScale::kNone;
  if (hybrid) {
    if (spec.inputs[1].dtype != DType::kInt8 || s.weight_zero != 0)
      refuse(spec, "hybrid weights of {} with zero point {}", dtype_name(spec.inputs[1].dtype),
             s.weight_zero);
    s.weight_scale = weight_scales(spec, spec.inputs[1], static_cast<std::size_t>(s.window.out_c));
    s.hybrid = xnn ? HybridCode::kQd8 : HybridCode::kAsymmetric;
    scale = FloatScale::kFused;
  } else {
    s.fused_multiply_add = s.bias_first = xnn;
    s.sum_by_tap = spec.dialect != Dialect::kReference && !xnn;
  }
  s.finish =
      FloatFinish{scale, 0, scale, nullptr, nullptr, range.low, range.high, low_for_nan(range)};
}

}  // namespace

std::unique_ptr<Kernel> prepare_transpose_conv(OpSpec& spec, const GemmKernels& kernels) {
  expect_inputs(spec, 3, 4);
  expect_outputs(spec, 1);
  const auto& a = attrs_of<TransposeConvAttrs>(spec);
  const Geometry g = check(spec, a);
  const Arithmetic arithmetic = arithmetic_of(spec, 2, 1);
  const bool xnn = spec.dialect == Dialect::kXnnpack && xnn_takes(spec, a, g);
  WindowSpec s;
  s.window = phases(g);
  if (xnn) {  // XNNPACK sums in the order of the weights
    for (Grid& grid : s.window.grids) std::reverse(grid.taps.begin(), grid.taps.end());
  }
  s.kernels = &kernels;
  s.input = spec.inputs[2].dtype;
  s.data_input = 2;
  set_weights(spec, 1, s);
  if (arithmetic == Arithmetic::kInteger)
    set_integer_product(spec, a, xnn, s);
  else
    set_real(spec, a, arithmetic, xnn, s);
  set_bias(spec, 3, s);
  spec.outputs[0].shape = {g.batch, g.out_h, g.out_w, g.out_c};
  if (arithmetic == Arithmetic::kHybrid && !xnn) {
    if (!s.weights || s.bias_input >= 0)
      refuse(spec, "float input with int8 weights that are not constant");
    return std::make_unique<HybridTransposeKernel>(g, s);
  }
  return make_window_kernel(std::move(s));
}

std::unique_ptr<Kernel> prepare_transpose_conv(OpSpec& spec) {
  return prepare_transpose_conv(spec, gemm_best());
}

}  // namespace litegap
