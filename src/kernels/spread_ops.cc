// DILATE, STABLEHLO_PAD: elements spread out in a field of one value; REDUCE_WINDOW: windows over
// any number of axes (docs/numerics.md, section 4).
//
//   STABLEHLO_PAD   [1 2 3], value 0, low 1, high -1, interior 1 -> [0 1 0 2 0]
//   REDUCE_WINDOW   add over [1 2 3 4], window 2, dilation 2 -> [4 6]
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/arithmetic_ops.h"
#include "kernels/move.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

std::unique_ptr<Kernel> spread_kernel(OpSpec& spec, std::size_t unit, std::size_t value,
                                      const std::vector<std::int64_t>& low,
                                      const std::vector<std::int64_t>& high,
                                      const std::vector<std::int64_t>& interior) {
  const Shape& in = spec.inputs[0].shape;
  if (shape_elements(spec.inputs[value].shape) != 1) refuse(spec, "its value is not a scalar");
  Shape out;
  for (std::size_t d = 0; d < in.size(); ++d) {
    const bool far = std::abs(low[d]) > 1 << 30 || std::abs(high[d]) > 1 << 30;
    if (interior[d] < 0 || interior[d] > 1 << 30 || far)
      refuse(spec, "pads axis {} by {}, {} and {}", d, low[d], interior[d], high[d]);
    const std::int64_t wide = in[d] == 0 ? 0 : (in[d] - 1) * (interior[d] + 1) + 1;
    out.push_back(checked_dim(spec, std::max<std::int64_t>(0, wide + low[d] + high[d])));
  }
  const std::size_t n = shape_elements(out);
  const auto from = dense_steps(in, unit), to = dense_steps(out, unit);
  std::vector<MoveLoop> loops;
  std::int64_t at_from = 0, at_to = 0;
  for (std::size_t d = 0; d < in.size(); ++d) {
    const std::int64_t step = interior[d] + 1;  // elements that fall inside of the output
    const std::int64_t first = low[d] >= 0 ? 0 : (-low[d] + step - 1) / step;
    const std::int64_t room = out[d] - 1 - low[d];
    const std::int64_t last = std::min<std::int64_t>(in[d] - 1, room < 0 ? -1 : room / step);
    loops.push_back({last - first + 1, from[d], step * to[d]});
    at_from += first * from[d];
    at_to += (low[d] + first * step) * to[d];
  }
  const Move move(unit, std::move(loops), at_from, at_to);
  spec.outputs[0].shape = out;
  return make_kernel([=](const Io& io) {
    auto* field = static_cast<std::byte*>(io.outputs[0]);
    for (std::size_t i = 0; i < n; ++i) std::memcpy(field + i * unit, io.inputs[value], unit);
    move.run(io.inputs[0], io.outputs[0]);
  });
}

std::unique_ptr<Kernel> prepare_dilate(OpSpec& spec) {
  expect_inputs(spec, 3, 3);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  expect_same_type(spec, 2);
  const std::size_t rank = spec.inputs[0].shape.size();
  std::vector<std::int64_t> interior;
  for (const std::int64_t d : plan_integers(spec, 1, "dilations")) {
    if (d < 1) refuse(spec, "a dilation of {}", d);
    interior.push_back(d - 1);
  }
  if (interior.size() != rank || rank > 6)
    refuse(spec, "{} dilations for {} dimensions", interior.size(), rank);
  const std::vector<std::int64_t> none(rank, 0);
  return spread_kernel(spec, unit, 2, none, none, interior);
}

std::unique_ptr<Kernel> prepare_stablehlo_pad(OpSpec& spec) {
  const auto& a = attrs_of<StablehloPadAttrs>(spec);
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  expect_same_type(spec, 1);
  const std::size_t rank = spec.inputs[0].shape.size();
  if (a.low.size() != rank || a.high.size() != rank || a.interior.size() != rank || rank > 6)
    refuse(spec, "its padding has not {} dimensions", rank);
  return spread_kernel(spec, unit, 1, a.low, a.high, a.interior);
}

// ---- REDUCE_WINDOW
struct WindowAxis {
  std::int64_t out, window, stride, dilation, step;  // step: of the input, in elements
};

template <class T, class F>
class WindowKernel final : public Kernel {
 public:
  WindowKernel(std::vector<WindowAxis> axes, F f) : axes_(std::move(axes)), f_(f) {}
  void run(const Io& io) const noexcept override {
    T* out = static_cast<T*>(io.outputs[0]);
    outputs(0, static_cast<const T*>(io.inputs[0]), *static_cast<const T*>(io.inputs[1]), out);
  }

 private:
  void outputs(std::size_t d, const T* in, T start, T*& out) const noexcept {
    if (d == axes_.size()) {
      T sum = start;
      cells(0, in, sum);
      *out++ = sum;
      return;
    }
    for (std::int64_t i = 0; i < axes_[d].out; ++i)
      outputs(d + 1, in + i * axes_[d].stride * axes_[d].step, start, out);
  }
  void cells(std::size_t d, const T* in, T& sum) const noexcept {
    if (d == axes_.size()) {
      sum = f_(sum, *in);
      return;
    }
    for (std::int64_t i = 0; i < axes_[d].window; ++i)
      cells(d + 1, in + i * axes_[d].dilation * axes_[d].step, sum);
  }
  std::vector<WindowAxis> axes_;
  F f_;
};

template <class T, class F>
std::unique_ptr<Kernel> window_kernel(const std::vector<WindowAxis>& axes, F f) {
  return std::make_unique<WindowKernel<T, F>>(axes, f);
}

template <class T>
std::unique_ptr<Kernel> window_of(const OpSpec& spec, const std::vector<WindowAxis>& axes) {
  using Word = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;
  switch (attrs_of<ReduceWindowAttrs>(spec).function) {
    case 1:
      return window_kernel<T>(axes, [](T a, T b) {
        return static_cast<T>(static_cast<Word>(a) + static_cast<Word>(b));
      });
    case 2:
      return window_kernel<T>(axes, [](T a, T b) {
        return static_cast<T>(static_cast<Word>(a) * static_cast<Word>(b));
      });
    case 3:
      return window_kernel<T>(axes, [](T a, T b) { return a <= b ? a : b; });
    case 4:
      return window_kernel<T>(axes, [](T a, T b) { return a >= b ? a : b; });
    default:
      refuse(spec, "function {} of {} is not supported", attrs_of<ReduceWindowAttrs>(spec).function,
             dtype_name(spec.inputs[0].dtype));
  }
}

std::unique_ptr<Kernel> window_of_bools(const OpSpec& spec, const std::vector<WindowAxis>& axes) {
  switch (attrs_of<ReduceWindowAttrs>(spec).function) {
    case 5:
      return window_kernel<bool>(axes, [](bool a, bool b) { return a && b; });
    case 6:
      return window_kernel<bool>(axes, [](bool a, bool b) { return a || b; });
    default:
      refuse_type(spec);
  }
}

std::vector<WindowAxis> window_axes(OpSpec& spec) {
  const Shape& in = spec.inputs[0].shape;
  const auto size = plan_integers(spec, 2, "window"), stride = plan_integers(spec, 3, "strides"),
             dilation = plan_integers(spec, 4, "dilations");
  if (size.size() != in.size() || stride.size() != in.size() || dilation.size() != in.size() ||
      in.size() > 6) {
    refuse(spec, "its window has not {} dimensions", in.size());
  }
  const auto steps = dense_steps(in, 1);
  std::vector<WindowAxis> axes;
  Shape out;
  for (std::size_t d = 0; d < in.size(); ++d) {
    constexpr std::int64_t kMost = 1 << 24;
    for (const std::int64_t v : {size[d], stride[d], dilation[d]}) {
      if (v < 1 || v > kMost) refuse(spec, "a window, stride or dilation of {}", v);
    }
    const std::int64_t room = in[d] - ((size[d] - 1) * dilation[d] + 1);
    const std::int64_t n = room < 0 ? 0 : room / stride[d] + 1;
    out.push_back(static_cast<std::int32_t>(n));
    axes.push_back({n, size[d], stride[d], dilation[d], steps[d]});
  }
  spec.outputs[0].shape = out;
  return axes;
}

std::unique_ptr<Kernel> prepare_reduce_window(OpSpec& spec) {
  expect_inputs(spec, 5, 5);
  expect_outputs(spec, 1);
  expect_same_type(spec, 0);
  expect_same_type(spec, 1);
  if (shape_elements(spec.inputs[1].shape) != 1) refuse(spec, "its start is not a scalar");
  const std::vector<WindowAxis> axes = window_axes(spec);
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return window_of<float>(spec, axes);
    case DType::kFloat64:
      return window_of<double>(spec, axes);
    case DType::kInt8:
      return window_of<std::int8_t>(spec, axes);
    case DType::kUint8:
      return window_of<std::uint8_t>(spec, axes);
    case DType::kInt16:
      return window_of<std::int16_t>(spec, axes);
    case DType::kInt32:
      return window_of<std::int32_t>(spec, axes);
    case DType::kInt64:
      return window_of<std::int64_t>(spec, axes);
    case DType::kBool:
      return window_of_bools(spec, axes);
    default:
      refuse_type(spec);
  }
}

constexpr KernelRow kRows[] = {
    {OpCode::kDilate, prepare_dilate, "any"},
    {OpCode::kStablehloPad, prepare_stablehlo_pad, "any"},
    {OpCode::kReduceWindow, prepare_reduce_window,
     "float32 float64 int8 uint8 int16 int32 int64 bool"},
};

}  // namespace

std::span<const KernelRow> spread_kernel_rows() { return kRows; }

}  // namespace litegap
