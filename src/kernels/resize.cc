// RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR (docs/numerics.md, sections 2.24 and 2.25).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/arith.h"
#include "kernels/fixed_copy.h"
#include "kernels/move.h"
#include "kernels/resize_codes.h"
#include "kernels/vectors.h"

namespace litegap {
namespace {

struct Geometry {
  std::int32_t batch = 0, in_h = 0, in_w = 0, out_h = 0, out_w = 0, depth = 0;
  bool align = false, half = false;
};

// Along one axis: the two neighbours of every output position and the weight of the upper one, as a
// float or in the fixed point of the kernel.
struct Tap {
  std::int32_t lower = 0, upper = 0;
  float fraction = 0;
  std::int32_t weight = 0;
};
using Taps = std::vector<Tap>;

float axis_scale(std::int32_t in, std::int32_t out, bool align) {
  return align && out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1)
                          : static_cast<float>(in) / static_cast<float>(out);
}

// uint8 and float32 of the reference and built-in kernels.
Taps float_taps(std::int32_t in, std::int32_t out, const Geometry& g) {
  const float scale = axis_scale(in, out, g.align);
  Taps taps(static_cast<std::size_t>(out));
  for (std::int32_t v = 0; v < out; ++v) {
    const float p =
        g.half ? (static_cast<float>(v) + 0.5f) * scale - 0.5f : static_cast<float>(v) * scale;
    Tap& t = taps[static_cast<std::size_t>(v)];
    t.lower = std::max(static_cast<std::int32_t>(std::floor(p)), 0);
    t.upper = std::min(static_cast<std::int32_t>(std::ceil(p)), in - 1);
    t.fraction = p - static_cast<float>(t.lower);
  }
  return taps;
}

// int8 and int16 of the reference and built-in kernels: 10 fractional bits.
Taps fixed_taps(std::int64_t in, std::int64_t out, const Geometry& g) {
  const std::int64_t scale = g.align && out > 1 ? (1024 * (in - 1) + (out - 1) / 2) / (out - 1)
                                                : (1024 * in + out / 2) / out;
  Taps taps(static_cast<std::size_t>(out));
  for (std::int64_t v = 0; v < out; ++v) {
    const std::int64_t p = v * scale + (g.half ? scale / 2 - 512 : 0);
    Tap& t = taps[static_cast<std::size_t>(v)];
    t.lower = static_cast<std::int32_t>(std::max<std::int64_t>(p / 1024, 0));
    t.upper = static_cast<std::int32_t>(std::min((p + 1023) / 1024, in - 1));
    t.lower = std::min(t.lower, static_cast<std::int32_t>(in - 1));
    t.upper = std::max(t.upper, 0);
    t.weight = static_cast<std::int32_t>(p - 1024 * t.lower);
  }
  return taps;
}

// XNNPACK: positions clamped to the image, 11 fractional bits for codes.
Taps xnn_taps(std::int32_t in, std::int32_t out, const Geometry& g) {
  const float scale = axis_scale(in, out, g.align);
  const float offset = g.half ? 0.5f * scale - 0.5f : 0.0f;
  Taps taps(static_cast<std::size_t>(out));
  for (std::int32_t v = 0; v < out; ++v) {
    const float raw = static_cast<float>(v) * scale + offset;
    const float p = std::min(std::max(raw, 0.0f), static_cast<float>(in - 1));
    Tap& t = taps[static_cast<std::size_t>(v)];
    t.lower = static_cast<std::int32_t>(p);
    t.upper = std::min(t.lower + 1, in - 1);
    t.fraction = p - static_cast<float>(t.lower);
    t.weight = round_even(t.fraction * 2048.0f);
  }
  return taps;
}

// How one value, or all those of a pixel, are made of their four neighbours.
template <class T>
struct ReferenceFloat {  // x00, x10, x01, x11; products left to right
  float fy, fx;
  ReferenceFloat(const Tap& y, const Tap& x) : fy(y.fraction), fx(x.fraction) {}
  T operator()(T tl, T tr, T bl, T br) const {
    float v = static_cast<float>(tl) * (1.0f - fy) * (1.0f - fx) +
              static_cast<float>(bl) * fy * (1.0f - fx);
    v = v + static_cast<float>(tr) * (1.0f - fy) * fx;
    v = v + static_cast<float>(br) * fy * fx;
    return static_cast<T>(std::is_integral_v<T> ? v + 0.5f : v);
  }
};
template <class T>
struct BuiltinFloat {  // the weights first
  float w00, w01, w10, w11;
  BuiltinFloat(const Tap& y, const Tap& x)
      : w00((1.0f - y.fraction) * (1.0f - x.fraction)),
        w01((1.0f - y.fraction) * x.fraction),
        w10(y.fraction * (1.0f - x.fraction)),
        w11(y.fraction * x.fraction) {}
  T operator()(T tl, T tr, T bl, T br) const {
    float v = static_cast<float>(tl) * w00 + static_cast<float>(tr) * w01;
    v = v + static_cast<float>(bl) * w10;
    v = v + static_cast<float>(br) * w11;
    return static_cast<T>(std::is_integral_v<T> ? v + 0.5f : v);
  }
};
template <class T>
struct Fixed10 {
  std::int64_t w00, w01, w10, w11;
  Fixed10(const Tap& y, const Tap& x)
      : w00(std::int64_t{1024 - y.weight} * (1024 - x.weight)),
        w01(std::int64_t{1024 - y.weight} * x.weight),
        w10(std::int64_t{y.weight} * (1024 - x.weight)),
        w11(std::int64_t{y.weight} * x.weight) {}
  T operator()(T tl, T tr, T bl, T br) const {
    const std::int64_t v = tl * w00 + bl * w10 + tr * w01 + br * w11;
    return static_cast<T>((v + (v > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
  }
};
template <class T>
struct XnnFixed {
  MixWeights w;
  XnnFixed(const Tap& y, const Tap& x) : w{x.weight, y.weight} {}
  void mix(std::size_t n, const T* tl, const T* tr, const T* bl, const T* br, T* out) const {
    mix_codes(w, n, tl, tr, bl, br, out);
  }
};
template <class T>
struct XnnFloat {
  float ay, ax;
  XnnFloat(const Tap& y, const Tap& x) : ay(y.fraction), ax(x.fraction) {}
  T operator()(T tl, T tr, T bl, T br) const {
    const T t = tl + (tr - tl) * ax, b = bl + (br - bl) * ax;
    return t + (b - t) * ay;
  }
};

template <class T, template <class> class Mix>
class BilinearKernel final : public Kernel {
 public:
  BilinearKernel(const Geometry& g, Taps y, Taps x) : g_(g), y_(std::move(y)), x_(std::move(x)) {}
  void run(const Io& io) const noexcept override {
    with_vectors(
        [&] { mix_all(static_cast<const T*>(io.inputs[0]), static_cast<T*>(io.outputs[0])); });
  }

 private:
  void mix_all(const T* in, T* out) const noexcept {
    const std::int64_t pixel = g_.depth, row = pixel * g_.in_w;
    for (std::int32_t b = 0; b < g_.batch; ++b, in += row * g_.in_h) {
      for (const Tap& y : y_) {
        const T *top = in + y.lower * row, *bottom = in + y.upper * row;
        for (const Tap& x : x_) {
          const Mix<T> mix(y, x);
          const T *tl = top + x.lower * pixel, *tr = top + x.upper * pixel;
          const T *bl = bottom + x.lower * pixel, *br = bottom + x.upper * pixel;
          if constexpr (requires { mix.mix(0, tl, tr, bl, br, out); }) {
            mix.mix(static_cast<std::size_t>(pixel), tl, tr, bl, br, out);
          } else {
            for (std::int64_t c = 0; c < pixel; ++c) out[c] = mix(tl[c], tr[c], bl[c], br[c]);
          }
          out += pixel;
        }
      }
    }
  }

  Geometry g_;
  Taps y_, x_;
};

// Built-in float32 where both axes double: averages instead of weights (section 2.24).
class DoubleKernel final : public Kernel {
 public:
  explicit DoubleKernel(const Geometry& g) : g_(g) {}
  void run(const Io& io) const noexcept override {
    const auto* in = static_cast<const float*>(io.inputs[0]);
    auto* out = static_cast<float*>(io.outputs[0]);
    const std::int64_t d = g_.depth, row = d * g_.in_w, out_row = 2 * row;
    for (std::int32_t b = 0; b < g_.batch; ++b) {
      for (std::int32_t y = 0; y < g_.in_h; ++y, out += 2 * out_row) {
        const float *top = in + y * row, *bottom = y + 1 < g_.in_h ? top + row : top;
        for (std::int32_t x = 0; x < g_.in_w; ++x) {
          const std::int64_t at = x * d, right = x + 1 < g_.in_w ? at + d : at;
          for (std::int64_t c = 0; c < d; ++c) {
            const float v = top[at + c], r = top[right + c], below = bottom[at + c],
                        diagonal = bottom[right + c];
            float* o = out + 2 * at + c;
            o[0] = v;
            o[d] = (v + r) * 0.5f;
            const float left = (v + below) * 0.5f;
            o[out_row] = left;
            o[out_row + d] = (left + (r + diagonal) * 0.5f) * 0.5f;
          }
        }
      }
      in += row * g_.in_h;
    }
  }

 private:
  Geometry g_;
};

Geometry read_geometry(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const auto& attrs = attrs_of<ResizeAttrs>(spec);
  expect_same_type(spec, 0);
  const Shape& in = spec.inputs[0].shape;
  if (in.size() != 4) refuse(spec, "its input has shape {}, expected 4 dimensions", shape_text(in));
  const auto size = plan_integers(spec, 1, "size");
  if (size.size() != 2) refuse(spec, "its size has {} values, expected 2", size.size());
  if (attrs.align_corners && attrs.half_pixel_centers) {
    refuse(spec, "align_corners and half_pixel_centers exclude each other");
  }
  Geometry g{in[0],
             in[1],
             in[2],
             checked_dim(spec, size[0]),
             checked_dim(spec, size[1]),
             in[3],
             attrs.align_corners,
             attrs.half_pixel_centers};
  if (g.in_h < 1 || g.in_w < 1 || g.out_h < 1 || g.out_w < 1) {
    refuse(spec, "cannot resize {} to {} by {}", shape_text(in), size[0], size[1]);
  }
  // Rows of the fixed-point kernels count in 1/1024 pixels.
  if (std::max({g.in_h, g.in_w, g.out_h, g.out_w}) > (1 << 20))
    refuse(spec, "an image of more than 2^20 pixels a side");
  spec.outputs[0].shape = {in[0], g.out_h, g.out_w, in[3]};
  shape_elements(spec.outputs[0].shape);
  return g;
}

template <class T, template <class> class Mix, class MakeTaps>
std::unique_ptr<Kernel> bilinear(const Geometry& g, MakeTaps taps) {
  return std::make_unique<BilinearKernel<T, Mix>>(g, taps(g.in_h, g.out_h, g),
                                                  taps(g.in_w, g.out_w, g));
}

std::unique_ptr<Kernel> prepare_bilinear(OpSpec& spec) {
  const Geometry g = read_geometry(spec);
  const Quant *from = spec.inputs[0].quant, *to = spec.outputs[0].quant;
  const DType type = spec.inputs[0].dtype;
  const bool same_codes = type == DType::kFloat32 ||
                          (!from->empty() && !to->empty() && from->scale[0] == to->scale[0] &&
                           from->zero_point[0] == to->zero_point[0]);
  const bool xnn = spec.dialect == Dialect::kXnnpack && same_codes;
  const bool builtin = spec.dialect != Dialect::kReference;
  switch (type) {
    case DType::kFloat32:
      if (xnn) return bilinear<float, XnnFloat>(g, xnn_taps);
      if (builtin && !g.align && !g.half && g.out_h == 2 * g.in_h && g.out_w == 2 * g.in_w)
        return std::make_unique<DoubleKernel>(g);
      if (builtin) return bilinear<float, BuiltinFloat>(g, float_taps);
      return bilinear<float, ReferenceFloat>(g, float_taps);
    case DType::kUint8:
      if (xnn) return bilinear<std::uint8_t, XnnFixed>(g, xnn_taps);
      if (builtin) return bilinear<std::uint8_t, BuiltinFloat>(g, float_taps);
      return bilinear<std::uint8_t, ReferenceFloat>(g, float_taps);
    case DType::kInt8:
      if (xnn) return bilinear<std::int8_t, XnnFixed>(g, xnn_taps);
      return bilinear<std::int8_t, Fixed10>(g, fixed_taps);
    case DType::kInt16:
      return bilinear<std::int16_t, Fixed10>(g, fixed_taps);
    default:
      refuse(spec, "cannot resize a tensor of type {}", dtype_name(type));
  }
}

std::vector<std::int32_t> nearest(std::int32_t in, std::int32_t out, const Geometry& g) {
  const float scale = axis_scale(in, out, g.align);
  std::vector<std::int32_t> index(static_cast<std::size_t>(out));
  for (std::int32_t v = 0; v < out; ++v) {
    const float q = (static_cast<float>(v) + (g.half ? 0.5f : 0.0f)) * scale;
    const std::int32_t at = static_cast<std::int32_t>(g.align ? std::round(q) : std::floor(q));
    index[static_cast<std::size_t>(v)] = std::max(std::min(at, in - 1), 0);
  }
  return index;
}

std::unique_ptr<Kernel> prepare_nearest(OpSpec& spec) {
  const Geometry g = read_geometry(spec);
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
    case DType::kUint8:
    case DType::kInt8:
    case DType::kInt16:
      break;
    default:
      refuse(spec, "cannot resize a tensor of type {}", dtype_name(spec.inputs[0].dtype));
  }
  const std::size_t pixel = static_cast<std::size_t>(g.depth) * element_bytes(spec, spec.inputs[0]);
  return make_kernel([g, pixel, ys = nearest(g.in_h, g.out_h, g),
                      xs = nearest(g.in_w, g.out_w, g)](const Io& io) noexcept {
    const auto* in = static_cast<const std::byte*>(io.inputs[0]);
    auto* out = static_cast<std::byte*>(io.outputs[0]);
    const std::size_t row = pixel * static_cast<std::size_t>(g.in_w);
    if (pixel == 0) return;
    with_copy(pixel, [&](auto copy) {
      for (std::int32_t b = 0; b < g.batch; ++b, in += row * static_cast<std::size_t>(g.in_h)) {
        for (const std::int32_t y : ys) {
          const std::byte* line = in + static_cast<std::size_t>(y) * row;
          for (const std::int32_t x : xs) {
            copy(out, line + static_cast<std::size_t>(x) * pixel);
            out += pixel;
          }
        }
      }
    });
  });
}

constexpr KernelRow kRows[] = {
    {OpCode::kResizeBilinear, prepare_bilinear, "float32 int8 uint8 int16"},
    {OpCode::kResizeNearestNeighbor, prepare_nearest, "float32 int8 uint8 int16"}};

}  // namespace

std::span<const KernelRow> resize_kernel_rows() { return kRows; }

}  // namespace litegap
