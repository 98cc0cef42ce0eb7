// CONV_3D and CONV_3D_TRANSPOSE over float32, [batch, depth, height, width, channels]
// (docs/numerics.md, section 4).  Each output is a sum in the order of the taps, then of the input
// channels.
//
//   CONV_3D            filter [depth, height, width, in, out];  y(o) = sum x(o * stride + k *
//   dilation) CONV_3D_TRANSPOSE  filter [depth, height, width, out, in];  y(i * stride + k *
//   dilation) += x(i)
#include <array>
#include <cmath>

#include "kernels/arithmetic_ops.h"
#include "kernels/fused_bounds.h"
#include "kernels/gemm.h"
#include "kernels/geometry.h"
#include "kernels/move.h"
#include "kernels/vectors.h"

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

// CONV_3D by the inner loops of gemm.h: the image gets a border of zeros, so that all pixels of it
// have the same taps, and the filter is packed in panels of output channels.  A filter of fewer
// input channels than the input works in groups.
class Convolution3d final : public Kernel {
 public:
  explicit Convolution3d(const Volume& v) : v_(v), k_(gemm_best()) {
    for (std::size_t d = 0; d < 3; ++d) wide_[d] = wide(v.axes[d]);
    const std::int64_t cell = v.in_channels * 4, line = wide_[2] * cell, plane = wide_[1] * line;
    const auto& [d, h, w] = v.axes;
    const bool joined = w.dilation == 1 && v.filter_channels == v.in_channels;
    for (std::int64_t z = 0; z < d.taps; ++z) {
      for (std::int64_t y = 0; y < h.taps; ++y) {
        const std::int64_t at = z * d.dilation * plane + y * h.dilation * line;
        if (joined) segments_.push_back({at, w.taps * v.filter_channels});
        for (std::int64_t x = 0; x < w.taps && !joined; ++x)
          segments_.push_back({at + x * w.dilation * cell, v.filter_channels});
      }
    }
    groups_ = v.in_channels / v.filter_channels;
    of_group_ = v.out_channels / groups_;
    panels_ = (of_group_ + k_.nr_float - 1) / k_.nr_float;
    depth_ = d.taps * h.taps * w.taps * v.filter_channels;
  }
  std::size_t scratch_bytes() const override { return image_bytes() + packed_bytes(); }
  // Cells of an axis with those before and behind it, as far as the last window reaches.
  static std::int64_t wide(const Axis3& a) {
    return std::max((a.out - 1) * a.stride + (a.taps - 1) * a.dilation + 1, a.pad + a.in);
  }

  void run(const Io& io) const noexcept override {
    auto* image = reinterpret_cast<float*>(io.scratch);
    auto* packed = reinterpret_cast<float*>(io.scratch + image_bytes());
    pack(static_cast<const float*>(io.inputs[v_.filter]), packed);
    const auto* in = static_cast<const float*>(io.inputs[v_.input]);
    auto* out = static_cast<float*>(io.outputs[0]);
    const std::int64_t from = places(v_.axes, false) * v_.in_channels;
    const std::int64_t places_out = places(v_.axes, true), to = places_out * v_.out_channels;
    for (std::int64_t b = 0; b < v_.batch; ++b, in += from, out += to) {
      surround(in, image);
      const auto& [d, h, w] = v_.axes;
      for (std::int64_t z = 0; z < d.out; ++z) {
        for (std::int64_t y = 0; y < h.out; ++y) {
          const float* line =
              image + ((z * d.stride * wide_[1] + y * h.stride) * wide_[2]) * v_.in_channels;
          float* pixels = out + (z * h.out + y) * w.out * v_.out_channels;
          for (std::int64_t g = 0; g < groups_; ++g) run_line(line, packed, g, pixels);
        }
      }
      finish(io, v_, out, places_out);
    }
  }

 private:
  static std::size_t room(std::int64_t floats) {
    return (static_cast<std::size_t>(floats) * 4 + 63) / 64 * 64;
  }
  std::size_t image_bytes() const { return room(wide_[0] * wide_[1] * wide_[2] * v_.in_channels); }
  std::size_t packed_bytes() const { return room(groups_ * panels_ * depth_ * k_.nr_float); }

  // [group][panel][tap][input channel][nr]
  void pack(const float* filter, float* to) const noexcept {
    for (std::int64_t g = 0; g < groups_; ++g) {
      for (std::int64_t p = 0; p < panels_; ++p) {
        const std::int64_t first = g * of_group_ + p * k_.nr_float;
        const std::int64_t count = std::min<std::int64_t>(k_.nr_float, of_group_ - p * k_.nr_float);
        for (std::int64_t k = 0; k < depth_; ++k, to += k_.nr_float) {
          std::copy_n(filter + k * v_.out_channels + first, count, to);
          std::fill(to + count, to + k_.nr_float, 0.0f);
        }
      }
    }
  }
  void surround(const float* in, float* image) const noexcept {
    const auto& [d, h, w] = v_.axes;
    std::fill_n(image, wide_[0] * wide_[1] * wide_[2] * v_.in_channels, 0.0f);
    for (std::int64_t z = 0; z < d.in; ++z) {
      for (std::int64_t y = 0; y < h.in; ++y, in += w.in * v_.in_channels) {
        const std::int64_t at = ((z + d.pad) * wide_[1] + y + h.pad) * wide_[2] + w.pad;
        std::copy_n(in, w.in * v_.in_channels, image + at * v_.in_channels);
      }
    }
  }
  // The sums of one line of pixels, for one group of channels.
  void run_line(const float* line, const float* packed, std::int64_t group,
                float* pixels) const noexcept {
    alignas(64) static constexpr float kStart[kMaxTileColumns] = {};
    alignas(64) float tile[kMaxTileRows * kMaxTileColumns];
    const Axis3& w = v_.axes[2];
    const auto& forms = v_.fused ? k_.fused : k_.plain;
    const std::int64_t nr = k_.nr_float;
    for (std::int64_t x = 0; x < w.out; x += k_.mr_float) {
      const std::int64_t rows = std::min<std::int64_t>(k_.mr_float, w.out - x);
      std::array<const std::byte*, kMaxTileRows> from{};
      for (std::int64_t r = 0; r < rows; ++r) {
        from[static_cast<std::size_t>(r)] = reinterpret_cast<const std::byte*>(
            line + (x + r) * w.stride * v_.in_channels + group * v_.filter_channels);
      }
      for (std::int64_t p = 0; p < panels_; ++p) {
        const float* weights = packed + (group * panels_ + p) * depth_ * nr;
        forms[static_cast<std::size_t>(rows - 1)](
            {from.data(), segments_.data(), segments_.size(), weights, kStart, tile});
        const std::int64_t first = group * of_group_ + p * nr;
        const std::int64_t count = std::min(nr, of_group_ - p * nr);
        for (std::int64_t r = 0; r < rows; ++r)
          std::copy_n(tile + r * nr, count, pixels + (x + r) * v_.out_channels + first);
      }
    }
  }

  Volume v_;
  const GemmKernels& k_;
  std::array<std::int64_t, 3> wide_{};  // of the image with its border
  std::vector<Segment> segments_;
  std::int64_t groups_ = 1, of_group_ = 0, panels_ = 0, depth_ = 0;
};

void scatter(const Io& io, const Volume& v) noexcept {
  const auto* in = static_cast<const float*>(io.inputs[v.input]);
  const auto* filter = static_cast<const float*>(io.inputs[v.filter]);
  auto* out = static_cast<float*>(io.outputs[0]);
  const std::int64_t ci = v.in_channels, co = v.out_channels;
  const std::int64_t from = places(v.axes, false) * ci, to = places(v.axes, true) * co;
  auto* sums = reinterpret_cast<float*>(io.scratch);
  float* turned = sums + co;  // [tap][input channel][output channel]
  for (std::int64_t tap = 0; tap < v.axes[0].taps * v.axes[1].taps * v.axes[2].taps; ++tap) {
    for (std::int64_t o = 0; o < co; ++o) {
      for (std::int64_t c = 0; c < ci; ++c)
        turned[(tap * ci + c) * co + o] = filter[(tap * co + o) * ci + c];
    }
  }
  for (std::int64_t b = 0; b < v.batch; ++b, in += from, out += to) {
    std::fill_n(out, to, 0.0f);
    meetings(v.axes, true, [&](std::int64_t at, std::int64_t place, std::int64_t tap) {
      // All output channels side by side, each in the order of its input channels.
      const float* x = in + at * ci;
      const float* w = turned + tap * co * ci;
      std::fill_n(sums, co, 0.0f);
      for (std::int64_t c = 0; c < ci; ++c, w += co) {
        for (std::int64_t o = 0; o < co; ++o) sums[o] += x[c] * w[o];
      }
      float* y = out + place * co;
      for (std::int64_t o = 0; o < co; ++o) y[o] += sums[o];
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
  double cells = static_cast<double>(v.in_channels);
  for (const Axis3& a : v.axes) cells *= static_cast<double>(Convolution3d::wide(a));
  if (cells > 0x1p31) refuse(spec, "a filter of shape {} reaches too far", shape_text(w));
  return std::make_unique<Convolution3d>(v);
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
  const std::size_t filter = shape_elements(w);
  return make_kernel([v](const Io& io) { with_vectors([&] { scatter(io, v); }); },
                     (filter + static_cast<std::size_t>(v.out_channels)) * sizeof(float));
}

constexpr KernelRow kRows[] = {
    {OpCode::kConv3d, prepare_conv_3d, "float32"},
    {OpCode::kConv3dTranspose, prepare_conv_3d_transpose, "float32"},
};

}  // namespace

std::span<const KernelRow> conv3d_kernel_rows() { return kRows; }

}  // namespace litegap
