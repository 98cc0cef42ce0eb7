// CONV_3D and CONV_3D_TRANSPOSE over float32, [batch, depth, height, width, channels]
// (docs/numerics.md, section 4).  Rare operators: plain loops over the taps, the innermost over
// output channels, so that each output is a sum in the order of the taps.
//
//   CONV_3D            filter [depth, height, width, in, out];  y(o) = sum x(o * stride + k *
//   dilation) CONV_3D_TRANSPOSE  filter [depth, height, width, out, in];  y(i * stride + k *
//   dilation) += x(i)
#include <array>
#include <cmath>

#include "kernels/arithmetic_ops.h"
#include "kernels/fused_bounds.h"
#include "kernels/geometry.h"
#include "kernels/move.h"

namespace litegap {
namespace {

struct Axis3 {
  std::int64_t in = 0, out = 0, taps = 0, stride = 1, dilation = 1, pad = 0;
};

struct Volume {
  std::int64_t batch = 0, in_channels = 0, out_channels = 0, filter_channels = 0;
  std::array<Axis3, 3> axes;  // depth, height, width
  RealBounds<float> bounds;
  std::size_t input = 0, filter = 1, bias = 2;
  bool has_bias = false;
  bool fused = false;  // multiply and add in one rounding, as the built-in matrix product
};

float bounded(float v, RealBounds<float> r) { return std::min(std::max(v, r.low), r.high); }

void finish(const Io& io, const Volume& v, float* out, std::int64_t places) noexcept {
  const auto* bias = v.has_bias ? static_cast<const float*>(io.inputs[v.bias]) : nullptr;
  for (std::int64_t p = 0; p < places; ++p, out += v.out_channels) {
    for (std::int64_t c = 0; c < v.out_channels; ++c)
      out[c] = bounded(out[c] + (bias == nullptr ? 0.0f : bias[c]), v.bounds);
  }
}

// step(input place, output place, tap) for all that meet; places count pixels.
template <class Step>
void meetings(const std::array<Axis3, 3>& axes, bool transpose, Step step) {
  const auto& [d, h, w] = axes;
  const auto other = [transpose](const Axis3& a, std::int64_t at, std::int64_t tap) {
    const std::int64_t place = at * a.stride + tap * a.dilation - a.pad;
    return place >= 0 && place < (transpose ? a.out : a.in) ? place : -1;
  };
  const auto count = [transpose](const Axis3& a) { return transpose ? a.in : a.out; };
  const auto far = [transpose](const Axis3& a) { return transpose ? a.out : a.in; };
  for (std::int64_t z = 0; z < count(d); ++z) {
    for (std::int64_t y = 0; y < count(h); ++y) {
      for (std::int64_t x = 0; x < count(w); ++x) {
        const std::int64_t near = (z * count(h) + y) * count(w) + x;
        for (std::int64_t kz = 0; kz < d.taps; ++kz) {
          const std::int64_t oz = other(d, z, kz);
          for (std::int64_t ky = 0; ky < h.taps && oz >= 0; ++ky) {
            const std::int64_t oy = other(h, y, ky);
            for (std::int64_t kx = 0; kx < w.taps && oy >= 0; ++kx) {
              const std::int64_t ox = other(w, x, kx);
              if (ox < 0) continue;
              const std::int64_t there = (oz * far(h) + oy) * far(w) + ox;
              const std::int64_t tap = (kz * h.taps + ky) * w.taps + kx;
              step(transpose ? near : there, transpose ? there : near, tap);
            }
          }
        }
      }
    }
  }
}

std::int64_t places(const std::array<Axis3, 3>& axes, bool out) {
  std::int64_t n = 1;
  for (const Axis3& a : axes) n *= out ? a.out : a.in;
  return n;
}

// A filter of fewer input channels than the input works in groups.
void convolve(const Io& io, const Volume& v) noexcept {
  const auto* in = static_cast<const float*>(io.inputs[v.input]);
  const auto* filter = static_cast<const float*>(io.inputs[v.filter]);
  auto* out = static_cast<float*>(io.outputs[0]);
  const std::int64_t ci = v.filter_channels, co = v.out_channels;
  const std::int64_t groups = v.in_channels / ci, of_group = co / groups;
  const std::int64_t from = places(v.axes, false) * v.in_channels, to = places(v.axes, true) * co;
  for (std::int64_t b = 0; b < v.batch; ++b, in += from, out += to) {
    std::fill_n(out, to, 0.0f);
    meetings(v.axes, false, [&](std::int64_t at, std::int64_t place, std::int64_t tap) {
      float* y = out + place * co;
      for (std::int64_t g = 0; g < groups; ++g) {
        for (std::int64_t c = 0; c < ci; ++c) {
          const float x = in[at * v.in_channels + g * ci + c];
          const float* w = filter + (tap * ci + c) * co;
          for (std::int64_t o = g * of_group; o < (g + 1) * of_group; ++o)
            y[o] = v.fused ? std::fma(x, w[o], y[o]) : y[o] + x * w[o];
        }
      }
    });
    finish(io, v, out, places(v.axes, true));
  }
}

void scatter(const Io& io, const Volume& v) noexcept {
  const auto* in = static_cast<const float*>(io.inputs[v.input]);
  const auto* filter = static_cast<const float*>(io.inputs[v.filter]);
  auto* out = static_cast<float*>(io.outputs[0]);
  const std::int64_t ci = v.in_channels, co = v.out_channels;
  const std::int64_t from = places(v.axes, false) * ci, to = places(v.axes, true) * co;
  for (std::int64_t b = 0; b < v.batch; ++b, in += from, out += to) {
    std::fill_n(out, to, 0.0f);
    meetings(v.axes, true, [&](std::int64_t at, std::int64_t place, std::int64_t tap) {
      const float* x = in + at * ci;
      for (std::int64_t o = 0; o < co; ++o) {
        const float* w = filter + (tap * co + o) * ci;
        float sum = 0;
        for (std::int64_t c = 0; c < ci; ++c) sum += x[c] * w[c];
        out[place * co + o] += sum;
      }
    });
    finish(io, v, out, places(v.axes, true));
  }
}

Volume read_volume(const OpSpec& spec, std::size_t input, std::size_t bias) {
  const auto& a = attrs_of<Conv3dAttrs>(spec);
  for (const std::size_t i : {input, std::size_t{1}, bias}) {
    if (spec.has(i) && spec.inputs[i].dtype != DType::kFloat32)
      refuse(spec, "input {} is {}, expected float32", i, dtype_name(spec.inputs[i].dtype));
  }
  if (spec.outputs[0].dtype != DType::kFloat32)
    refuse(spec, "its output is {}, expected float32", dtype_name(spec.outputs[0].dtype));
  const Shape &x = spec.inputs[input].shape, &w = spec.inputs[1].shape;
  if (x.size() != 5 || w.size() != 5)
    refuse(spec, "input {} and filter {}: expected 5 axes", shape_text(x), shape_text(w));
  Volume v;
  v.batch = x[0];
  v.in_channels = x[4];
  v.input = input;
  v.bias = bias;
  v.has_bias = spec.has(bias);
  v.fused = spec.dialect != Dialect::kReference;
  const std::int32_t stride[] = {a.stride_d, a.stride_h, a.stride_w},
                     dilation[] = {a.dilation_d, a.dilation_h, a.dilation_w};
  for (std::size_t d = 0; d < 3; ++d) {
    if (stride[d] < 1 || dilation[d] < 1 || stride[d] > 65536 || dilation[d] > 65536)
      refuse(spec, "stride {} and dilation {}", stride[d], dilation[d]);
    v.axes[d] = {x[d + 1], 0, w[d], stride[d], dilation[d], 0};
  }
  v.bounds = real_bounds<float>(a.activation);
  return v;
}

void expect_bias(const OpSpec& spec, const Volume& v) {
  if (!v.has_bias) return;
  if (static_cast<std::int64_t>(shape_elements(spec.inputs[v.bias].shape)) != v.out_channels)
    refuse(spec, "a bias of shape {} for {} channels", shape_text(spec.inputs[v.bias].shape),
           v.out_channels);
}

std::unique_ptr<Kernel> prepare_conv_3d(OpSpec& spec) {
  expect_inputs(spec, 2, 3);
  expect_outputs(spec, 1);
  Volume v = read_volume(spec, 0, 2);
  const Shape& w = spec.inputs[1].shape;
  v.filter_channels = w[3];
  v.out_channels = w[4];
  if (w[3] < 1 || v.in_channels % w[3] != 0 || v.out_channels % (v.in_channels / w[3]) != 0) {
    refuse(spec, "a filter of shape {} for {} input channels", shape_text(w), v.in_channels);
  }
  expect_bias(spec, v);
  Shape out{static_cast<std::int32_t>(v.batch)};
  for (Axis3& a : v.axes) {
    const Extent e =
        window_extent(a.in, a.taps, a.stride, a.dilation, attrs_of<Conv3dAttrs>(spec).padding);
    if (e.out < 1) refuse(spec, "a filter of {} does not fit {} elements", a.taps, a.in);
    a.out = e.out;
    a.pad = e.pad_before;
    out.push_back(checked_dim(spec, e.out));
  }
  out.push_back(checked_dim(spec, v.out_channels));
  shape_elements(out);
  spec.outputs[0].shape = out;
  return make_kernel([v](const Io& io) { convolve(io, v); });
}

std::unique_ptr<Kernel> prepare_conv_3d_transpose(OpSpec& spec) {
  expect_inputs(spec, 3, 4);
  expect_outputs(spec, 1);
  Volume v = read_volume(spec, 2, 3);
  const Shape& w = spec.inputs[1].shape;
  v.out_channels = w[3];
  if (w[4] != v.in_channels)
    refuse(spec, "a filter of shape {} for {} input channels", shape_text(w), v.in_channels);
  expect_bias(spec, v);
  const auto shape = plan_integers(spec, 0, "output shape");
  if (shape.size() != 5 || shape[0] != v.batch || shape[4] != v.out_channels)
    refuse(spec, "an output shape of {} numbers that does not fit its filter", shape.size());
  Shape out;
  for (const std::int64_t d : shape) out.push_back(checked_dim(spec, d));
  shape_elements(out);
  const Padding padding = attrs_of<Conv3dAttrs>(spec).padding;
  for (std::size_t d = 0; d < 3; ++d) {
    Axis3& a = v.axes[d];
    a.out = out[d + 1];
    const Extent e = window_extent(a.out, a.taps, a.stride, a.dilation, padding);
    if (e.out != a.in) refuse(spec, "an output of {} elements is not made of {}", a.out, a.in);
    a.pad = e.pad_before;
  }
  spec.outputs[0].shape = out;
  return make_kernel([v](const Io& io) { scatter(io, v); });
}

constexpr KernelRow kRows[] = {
    {OpCode::kConv3d, prepare_conv_3d, "float32"},
    {OpCode::kConv3dTranspose, prepare_conv_3d_transpose, "float32"},
};

}  // namespace

std::span<const KernelRow> conv3d_kernel_rows() { return kRows; }

}  // namespace litegap
