// ARG_MAX and ARG_MIN: the first index of the extreme value (docs/numerics.md, section 2.30).
#include "kernels/arithmetic_ops.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

struct Line {  // the axis searched, between the axes before and behind it
  std::size_t outer = 1, size = 1, inner = 1;
};

// Short lines of neighbours, eight at a time: each is a chain of choices that wait for each other.
template <class T, class I, class Better>
std::size_t search_lines(const T* in, std::size_t lines, std::size_t size, Better better, I* out) {
  constexpr std::size_t kLines = 8;
  std::size_t o = 0;
  for (; o + kLines <= lines; o += kLines, in += kLines * size) {
    T value[kLines];
    std::int32_t best[kLines] = {};
    for (std::size_t j = 0; j < kLines; ++j) value[j] = in[j * size];
    for (std::size_t k = 1; k < size; ++k) {
      for (std::size_t j = 0; j < kLines; ++j) {
        const T v = in[j * size + k];
        const bool take = better(v, value[j]);
        value[j] = take ? v : value[j];
        best[j] = take ? static_cast<std::int32_t>(k) : best[j];
      }
    }
    for (std::size_t j = 0; j < kLines; ++j) out[o + j] = static_cast<I>(best[j]);
  }
  return o;
}

template <class T, class I, class Better>
std::unique_ptr<Kernel> arg_kernel(Line line, Better better) {
  return make_kernel([=](const Io& io) {
    const T* in = static_cast<const T*>(io.inputs[0]);
    I* out = static_cast<I*>(io.outputs[0]);
    std::size_t o = 0;
    if (line.inner == 1) {
      with_vectors([&] { o = search_lines(in, line.outer, line.size, better, out); });
      in += o * line.size;
      out += o;
    }
    for (; o < line.outer; ++o, in += line.size * line.inner) {
      for (std::size_t i = 0; i < line.inner; ++i) {
        std::size_t best = 0;
        T value = in[i];
        for (std::size_t k = 1; k < line.size; ++k) {
          const T v = in[k * line.inner + i];
          if (!better(v, value)) continue;
          value = v;
          best = k;
        }
        *out++ = static_cast<I>(best);
      }
    }
  });
}

template <class T>
std::unique_ptr<Kernel> arg_of(const OpSpec& spec, Line line) {
  const bool largest = spec.op->code == OpCode::kArgMax;
  const auto with = [&](auto better) -> std::unique_ptr<Kernel> {
    if (spec.outputs[0].dtype == DType::kInt64) return arg_kernel<T, std::int64_t>(line, better);
    return arg_kernel<T, std::int32_t>(line, better);
  };
  if (largest) return with([](T v, T best) { return v > best; });
  return with([](T v, T best) { return v < best; });
}

Line prepare_line(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const Shape& x = spec.inputs[0].shape;
  const auto rank = static_cast<std::int64_t>(x.size());
  const auto axes = constant_integers(spec, 1);
  if (axes.size() != 1) refuse(spec, "{} axes, expected 1", axes.size());
  if (axes[0] < -rank || axes[0] >= rank) {
    refuse(spec, "axis {} of an input of shape {}", axes[0], shape_text(x));
  }
  const auto axis = static_cast<std::size_t>(axes[0] < 0 ? axes[0] + rank : axes[0]);
  Line line;
  Shape out;
  for (std::size_t d = 0; d < x.size(); ++d) {
    const auto size = static_cast<std::size_t>(x[d]);
    if (d < axis) line.outer *= size;
    if (d > axis) line.inner *= size;
    if (d == axis)
      line.size = size;
    else
      out.push_back(x[d]);
  }
  if (line.size == 0)
    refuse(spec, "axis {} of an input of shape {} is empty", axes[0], shape_text(x));
  spec.outputs[0].shape = out;
  return line;
}

std::unique_ptr<Kernel> prepare_arg(OpSpec& spec) {
  const Line line = prepare_line(spec);
  const DType to = spec.outputs[0].dtype;
  if (to != DType::kInt32 && to != DType::kInt64) {
    refuse(spec, "output type {}, expected int32 or int64", dtype_name(to));
  }
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return arg_of<float>(spec, line);
    case DType::kInt8:
      return arg_of<std::int8_t>(spec, line);
    case DType::kUint8:
    case DType::kBool:
      return arg_of<std::uint8_t>(spec, line);
    case DType::kInt32:
      return arg_of<std::int32_t>(spec, line);
    default:
      refuse_type(spec);
  }
}

constexpr KernelRow kRows[] = {{OpCode::kArgMax, prepare_arg, "float32 int8 uint8 int32 bool"},
                               {OpCode::kArgMin, prepare_arg, "float32 int8 uint8 int32 bool"}};

}  // namespace

std::span<const KernelRow> arg_kernel_rows() { return kRows; }

}  // namespace litegap
