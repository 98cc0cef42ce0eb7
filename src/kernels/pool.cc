// AVERAGE_POOL_2D, MAX_POOL_2D, L2_POOL_2D, LOCAL_RESPONSE_NORMALIZATION over NHWC
// (docs/numerics.md, sections 2.1 and 2.9).
//
// Cells outside of the image do not take part: an average divides by the number of cells inside.
#include <limits>

#include "kernels/arithmetic_ops.h"
#include "kernels/fused_bounds.h"
#include "kernels/geometry.h"
#include "kernels/vectors.h"

namespace litegap {
namespace {

struct Window {
  std::int64_t batch = 0, in_h = 0, in_w = 0, channels = 0, out_h = 0, out_w = 0;
  std::int64_t stride_h = 1, stride_w = 1, height = 1, width = 1, pad_h = 0, pad_w = 0;
};

void expect_window(const OpSpec& spec, const PoolAttrs& a) {
  constexpr std::int32_t kMost = 65536;
  for (const std::int32_t v : {a.stride_h, a.stride_w, a.filter_h, a.filter_w}) {
    if (v >= 1 && v <= kMost) continue;
    refuse(spec, "window {}x{} with stride {}x{}", a.filter_h, a.filter_w, a.stride_h, a.stride_w);
  }
}

Window prepare_window(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const PoolAttrs& a = attrs_of<PoolAttrs>(spec);
  const Shape& x = spec.inputs[0].shape;
  if (x.size() != 4) refuse(spec, "input of shape {}, expected 4 axes", shape_text(x));
  expect_window(spec, a);
  const Extent h = window_extent(x[1], a.filter_h, a.stride_h, 1, a.padding);
  const Extent w = window_extent(x[2], a.filter_w, a.stride_w, 1, a.padding);
  if (h.out < 1 || w.out < 1) {
    refuse(spec, "window {}x{} does not fit an input of shape {}", a.filter_h, a.filter_w,
           shape_text(x));
  }
  if (is_code_type(t)) {
    const ScaleZero in = scale_zero(spec, spec.inputs[0]), out = scale_zero(spec, spec.outputs[0]);
    if (std::fabs(in.scale - out.scale) > 1e-6f || in.zero != out.zero) {
      refuse(spec, "input scale {} and zero point {} differ from the output's {} and {}", in.scale,
             in.zero, out.scale, out.zero);
    }
  }
  spec.outputs[0].shape = {x[0], static_cast<std::int32_t>(h.out), static_cast<std::int32_t>(w.out),
                           x[3]};
  return {x[0],       x[1],       x[2],       x[3],       h.out,        w.out,
          a.stride_h, a.stride_w, a.filter_h, a.filter_w, h.pad_before, w.pad_before};
}

// The part of the windows along one axis that is inside of the image.
struct Span {
  std::int64_t begin, end;
};
Span inside(std::int64_t at, std::int64_t stride, std::int64_t pad, std::int64_t window,
            std::int64_t in) {
  const std::int64_t first = at * stride - pad;
  return {std::max<std::int64_t>(first, 0), std::min(first + window, in)};
}

// step(accumulator, value) over the cells of each window, then finish(accumulator, cells).
template <class T, class Acc, class Step, class Finish>
void pool(const Window& w, const T* in, T* out, Acc* acc, Acc start, Step step, Finish finish) {
  const std::int64_t c = w.channels;
  for (std::int64_t b = 0; b < w.batch; ++b, in += w.in_h * w.in_w * c) {
    for (std::int64_t y = 0; y < w.out_h; ++y) {
      const Span rows = inside(y, w.stride_h, w.pad_h, w.height, w.in_h);
      for (std::int64_t x = 0; x < w.out_w; ++x, out += c) {
        const Span cells = inside(x, w.stride_w, w.pad_w, w.width, w.in_w);
        std::fill_n(acc, c, start);
        for (std::int64_t r = rows.begin; r < rows.end; ++r) {
          const T* p = in + (r * w.in_w + cells.begin) * c;
          for (std::int64_t k = cells.begin; k < cells.end; ++k, p += c) {
            for (std::int64_t i = 0; i < c; ++i) acc[i] = step(acc[i], p[i]);
          }
        }
        const std::int64_t n =
            std::max<std::int64_t>(1, (rows.end - rows.begin) * (cells.end - cells.begin));
        for (std::int64_t i = 0; i < c; ++i) out[i] = static_cast<T>(finish(acc[i], n));
      }
    }
  }
}

template <class T, class Acc, class Step, class Finish>
std::unique_ptr<Kernel> pool_kernel(const Window& w, Acc start, Step step, Finish finish) {
  return make_kernel(
      [=](const Io& io) {
        with_vectors([&] {
          pool(w, static_cast<const T*>(io.inputs[0]), static_cast<T*>(io.outputs[0]),
               reinterpret_cast<Acc*>(io.scratch), start, step, finish);
        });
      },
      static_cast<std::size_t>(w.channels) * sizeof(Acc));
}

// XNNPACK takes float nodes and 8-bit maxima, with the activations it knows.
bool xnn_takes(const OpSpec& spec) {
  const PoolAttrs& a = attrs_of<PoolAttrs>(spec);
  return spec.dialect == Dialect::kXnnpack && a.activation <= Activation::kRelu6 &&
         spec.inputs[0].dtype != DType::kInt16 && a.stride_h <= a.filter_h &&
         a.stride_w <= a.filter_w;
}

// Without an activation the reference and built-in kernels clamp to the finite numbers.
RealBounds<float> bounds_of(const OpSpec& spec) {
  const Activation activation = fused_activation(spec.op->attrs);
  RealBounds<float> r = real_bounds<float>(activation);
  if (!xnn_takes(spec)) return r;
  if (!r.set) r.low = -std::numeric_limits<float>::infinity();
  if (!r.set || activation == Activation::kRelu) r.high = std::numeric_limits<float>::infinity();
  return r;
}

float bounded(float v, RealBounds<float> r) {
  v = v < r.low ? r.low : v;
  return v > r.high ? r.high : v;
}

template <class T>
std::unique_ptr<Kernel> average_codes(const Window& w, Range32 r) {
  return pool_kernel<T>(
      w, std::int32_t{0}, [](std::int32_t a, T v) { return a + v; },
      [r](std::int32_t s, std::int64_t cells) {
        const auto n = static_cast<std::int32_t>(cells);
        return std::clamp((s > 0 ? s + n / 2 : s - n / 2) / n, r.low, r.high);
      });
}

std::unique_ptr<Kernel> prepare_average_pool(OpSpec& spec) {
  const Window w = prepare_window(spec);
  const DType t = spec.inputs[0].dtype;
  if (t == DType::kFloat32) {
    return pool_kernel<float>(
        w, 0.0f, [](float a, float v) { return a + v; },
        [r = bounds_of(spec)](float s, std::int64_t n) {
          return bounded(s / static_cast<float>(n), r);
        });
  }
  if (!is_code_type(t)) refuse_type(spec);
  if (w.height * w.width > 1 << 16) {
    refuse(spec, "window {}x{} is too large for 32-bit sums", w.height, w.width);
  }
  const Range32 r = code_bounds(spec, scale_zero(spec, spec.outputs[0]));
  if (t == DType::kInt8) return average_codes<std::int8_t>(w, r);
  if (t == DType::kUint8) return average_codes<std::uint8_t>(w, r);
  return average_codes<std::int16_t>(w, r);
}

template <class T>
std::unique_ptr<Kernel> max_codes(const Window& w, Range32 r) {
  return pool_kernel<T>(
      w, std::numeric_limits<T>::lowest(), [](T a, T v) { return a < v ? v : a; },
      [r](T m, std::int64_t) { return std::clamp<std::int32_t>(m, r.low, r.high); });
}

std::unique_ptr<Kernel> prepare_max_pool(OpSpec& spec) {
  const Window w = prepare_window(spec);
  const DType t = spec.inputs[0].dtype;
  if (t == DType::kFloat32) {
    const float least = xnn_takes(spec) ? -std::numeric_limits<float>::infinity()
                                        : std::numeric_limits<float>::lowest();
    return pool_kernel<float>(
        w, least, [](float a, float v) { return a < v ? v : a; },
        [r = bounds_of(spec)](float m, std::int64_t) { return bounded(m, r); });
  }
  if (!is_code_type(t)) refuse_type(spec);
  const ScaleZero y = scale_zero(spec, spec.outputs[0]);
  const Range32 r = xnn_takes(spec) ? xnn_code_bounds(spec, y) : code_bounds(spec, y);
  if (t == DType::kInt8) return max_codes<std::int8_t>(w, r);
  if (t == DType::kUint8) return max_codes<std::uint8_t>(w, r);
  return max_codes<std::int16_t>(w, r);
}

// The root of the mean of squares.
std::unique_ptr<Kernel> prepare_l2_pool(OpSpec& spec) {
  const Window w = prepare_window(spec);
  if (spec.inputs[0].dtype != DType::kFloat32) refuse_type(spec);
  const RealBounds<float> r = real_bounds<float>(fused_activation(spec.op->attrs));
  return pool_kernel<float>(
      w, 0.0f, [](float a, float v) { return a + v * v; },
      [r](float s, std::int64_t n) { return bounded(std::sqrt(s / static_cast<float>(n)), r); });
}

// ---- LOCAL_RESPONSE_NORMALIZATION: x (bias + alpha * sum of the neighbours' squares)^-beta along
// the channels.  The reference kernel leaves the last neighbour out.
std::unique_ptr<Kernel> prepare_local_response(OpSpec& spec) {
  const auto& a = attrs_of<LocalResponseNormAttrs>(spec);
  if (prepare_same(spec) != DType::kFloat32) refuse_type(spec);
  const Shape& x = spec.inputs[0].shape;
  if (x.size() != 4) refuse(spec, "input of shape {}, expected 4 axes", shape_text(x));
  if (a.radius < 0) refuse(spec, "a radius of {}", a.radius);
  const std::int64_t channels = x[3], rows = std::int64_t{x[0]} * x[1] * x[2];
  const std::int64_t after = spec.dialect == Dialect::kReference ? 0 : 1;
  return make_kernel([=](const Io& io) {
    const auto* in = static_cast<const float*>(io.inputs[0]);
    auto* out = static_cast<float*>(io.outputs[0]);
    for (std::int64_t row = 0; row < rows; ++row, in += channels, out += channels) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const std::int64_t begin = std::max<std::int64_t>(0, c - a.radius),
                           end = std::min(channels, c + a.radius + after);
        float squares = 0;
        for (std::int64_t k = begin; k < end; ++k) squares += in[k] * in[k];
        out[c] = in[c] * std::pow(a.bias + a.alpha * squares, -a.beta);
      }
    }
  });
}

constexpr KernelRow kRows[] = {
    {OpCode::kAveragePool2d, prepare_average_pool, "float32 int8 uint8 int16"},
    {OpCode::kMaxPool2d, prepare_max_pool, "float32 int8 uint8 int16"},
    {OpCode::kL2Pool2d, prepare_l2_pool, "float32"},
    {OpCode::kLocalResponseNormalization, prepare_local_response, "float32"}};

}  // namespace

std::span<const KernelRow> pool_kernel_rows() { return kRows; }

}  // namespace litegap
