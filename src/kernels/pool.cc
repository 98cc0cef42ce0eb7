// AVERAGE_POOL_2D and MAX_POOL_2D over NHWC (docs/numerics.md, sections 2.1 and 2.9).
#include <limits>

#include "kernels/arithmetic_ops.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

struct Window {
  int batch, in_h, in_w, channels, out_h, out_w, stride_h, stride_w, k_h, k_w, pad_h, pad_w;
};

int out_size(int in, int k, int stride, Padding p) { return p == Padding::kSame ? (in + stride - 1) / stride : (in - k + stride) / stride; }
int pad_before(int in, int out, int k, int stride) { return std::max((out - 1) * stride + k - in, 0) / 2; }

Window prepare_window(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  const PoolAttrs& a = attrs_of<PoolAttrs>(spec);
  const Shape& x = spec.inputs[0].shape;
  if (x.size() != 4) refuse(spec, "input of shape {}, expected 4 axes", shape_text(x));
  if (a.stride_h < 1 || a.stride_w < 1 || a.filter_h < 1 || a.filter_w < 1 || a.stride_h > 65536 || a.stride_w > 65536 || a.filter_h > 65536 || a.filter_w > 65536) {
    refuse(spec, "window {}x{} with stride {}x{}", a.filter_h, a.filter_w, a.stride_h, a.stride_w);
  }
  if (spec.inputs[0].dtype != spec.outputs[0].dtype) refuse(spec, "types {} and {}", dtype_name(spec.inputs[0].dtype), dtype_name(spec.outputs[0].dtype));
  Window w{x[0], x[1], x[2], x[3], out_size(x[1], a.filter_h, a.stride_h, a.padding), out_size(x[2], a.filter_w, a.stride_w, a.padding), a.stride_h, a.stride_w, a.filter_h, a.filter_w, 0, 0};
  if (w.out_h < 1 || w.out_w < 1) refuse(spec, "window {}x{} does not fit an input of shape {}", a.filter_h, a.filter_w, shape_text(x));
  if (a.padding == Padding::kSame) {
    w.pad_h = pad_before(w.in_h, w.out_h, w.k_h, w.stride_h);
    w.pad_w = pad_before(w.in_w, w.out_w, w.k_w, w.stride_w);
  }
  spec.outputs[0].shape = {x[0], w.out_h, w.out_w, x[3]};
  return w;
}

// Calls f(output offset, first input row, end row, first column, end column, batch offset).
template <class F>
void each_window(const Window& w, F f) {
  for (int b = 0; b < w.batch; ++b) {
    const std::size_t base = static_cast<std::size_t>(b) * w.in_h * w.in_w * w.channels;
    for (int y = 0; y < w.out_h; ++y) {
      const int y0 = std::max(y * w.stride_h - w.pad_h, 0), y1 = std::min(y * w.stride_h - w.pad_h + w.k_h, w.in_h);
      for (int x = 0; x < w.out_w; ++x) {
        const int x0 = std::max(x * w.stride_w - w.pad_w, 0), x1 = std::min(x * w.stride_w - w.pad_w + w.k_w, w.in_w);
        f((static_cast<std::size_t>(b * w.out_h + y) * w.out_w + x) * w.channels, y0, y1, x0, x1, base);
      }
    }
  }
}

template <class T, class Acc, class Step, class Finish>
std::unique_ptr<Kernel> pool_kernel(const Window& w, Acc start, Step step, Finish finish) {
  const std::size_t scratch = static_cast<std::size_t>(w.channels) * sizeof(Acc);
  return make_kernel(
      [=](const Io& io) {
        const T* in = static_cast<const T*>(io.inputs[0]);
        T* out = static_cast<T*>(io.outputs[0]);
        Acc* acc = reinterpret_cast<Acc*>(io.scratch);
        each_window(w, [&](std::size_t o, int y0, int y1, int x0, int x1, std::size_t base) {
          for (int c = 0; c < w.channels; ++c) acc[c] = start;
          for (int y = y0; y < y1; ++y) {
            for (int x = x0; x < x1; ++x) {
              const T* p = in + base + (static_cast<std::size_t>(y) * w.in_w + x) * w.channels;
              for (int c = 0; c < w.channels; ++c) acc[c] = step(acc[c], p[c]);
            }
          }
          const int n = std::max(1, (y1 - y0) * (x1 - x0));
          for (int c = 0; c < w.channels; ++c) out[o + static_cast<std::size_t>(c)] = static_cast<T>(finish(acc[c], n));
        });
      },
      scratch);
}

std::pair<float, float> float_bounds(const OpSpec& spec) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  switch (fused_activation(spec.op->attrs)) {
    case Activation::kRelu: return {0, inf};
    case Activation::kRelu6: return {0, 6};
    case Activation::kReluN1To1: return {-1, 1};
    default: return {-inf, inf};
  }
}

Range32 bounds(const OpSpec& spec) {
  const Range32 all = code_range(spec.outputs[0].dtype);
  const Activation act = fused_activation(spec.op->attrs);
  if (act != Activation::kRelu && act != Activation::kRelu6 && act != Activation::kReluN1To1) return all;
  const ScaleZero y = scale_zero(spec, spec.outputs[0]);
  const std::int32_t low = act == Activation::kReluN1To1 ? y.zero + round_away(-1.0f / y.scale) : y.zero;
  const std::int32_t high = act == Activation::kRelu ? all.high : y.zero + round_away((act == Activation::kRelu6 ? 6.0f : 1.0f) / y.scale);
  return {std::max(all.low, low), std::min(all.high, high)};
}

template <class T>
std::unique_ptr<Kernel> average_codes(const Window& w, Range32 r) {
  return pool_kernel<T>(w, std::int32_t{0}, [](std::int32_t a, T v) { return a + v; },
                        [r](std::int32_t s, int n) { return std::clamp((s > 0 ? s + n / 2 : s - n / 2) / n, r.low, r.high); });
}
template <class T>
std::unique_ptr<Kernel> max_codes(const Window& w, Range32 r) {
  return pool_kernel<T>(w, std::numeric_limits<T>::lowest(), [](T a, T v) { return std::max(a, v); },
                        [r](T m, int) { return std::clamp(static_cast<std::int32_t>(m), r.low, r.high); });
}

void check_same_quant(const OpSpec& spec) {
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  if (std::fabs(x.scale - y.scale) > 1e-6f || x.zero != y.zero) refuse(spec, "input scale {} and zero point {} differ from the output's {} and {}", x.scale, x.zero, y.scale, y.zero);
}

}  // namespace

std::unique_ptr<Kernel> prepare_average_pool(OpSpec& spec) {
  const Window w = prepare_window(spec);
  const auto b = float_bounds(spec);
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return pool_kernel<float>(w, 0.0f, [](float a, float v) { return a + v; }, [b](float s, int n) { return std::min(std::max(s / static_cast<float>(n), b.first), b.second); });
    case DType::kInt8: check_same_quant(spec); return average_codes<std::int8_t>(w, bounds(spec));
    case DType::kUint8: check_same_quant(spec); return average_codes<std::uint8_t>(w, bounds(spec));
    case DType::kInt16: check_same_quant(spec); return average_codes<std::int16_t>(w, bounds(spec));
    default: refuse(spec, "type {} is not supported", dtype_name(spec.inputs[0].dtype));
  }
}

std::unique_ptr<Kernel> prepare_max_pool(OpSpec& spec) {
  const Window w = prepare_window(spec);
  const auto b = float_bounds(spec);
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return pool_kernel<float>(w, std::numeric_limits<float>::lowest(), [](float a, float v) { return std::max(a, v); }, [b](float m, int) { return std::min(std::max(m, b.first), b.second); });
    case DType::kInt8: check_same_quant(spec); return max_codes<std::int8_t>(w, bounds(spec));
    case DType::kUint8: check_same_quant(spec); return max_codes<std::uint8_t>(w, bounds(spec));
    case DType::kInt16: check_same_quant(spec); return max_codes<std::int16_t>(w, bounds(spec));
    default: refuse(spec, "type {} is not supported", dtype_name(spec.inputs[0].dtype));
  }
}

}  // namespace litegap
