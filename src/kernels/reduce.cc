// MEAN, SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD, REDUCE_ANY, REDUCE_ALL (docs/numerics.md,
// sections 2.10, 2.11, 2.30).
#include "kernels/reduce.h"

#include <bit>
#include <cmath>
#include <limits>

#include "kernels/arithmetic_ops.h"
#include "kernels/half.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

std::vector<bool> reduced_axes(const OpSpec& spec) {
  const Shape& x = spec.inputs[0].shape;
  const auto rank = static_cast<std::int64_t>(x.size());
  std::vector<bool> reduced(x.size(), false);
  for (const std::int64_t a : constant_integers(spec, 1)) {
    if (rank == 0 && (a == 0 || a == -1)) continue;
    if (a < -rank || a >= rank) refuse(spec, "axis {} of an input of shape {}", a, shape_text(x));
    reduced[static_cast<std::size_t>(a < 0 ? a + rank : a)] = true;
  }
  return reduced;
}

void set_axes(Reduction& r, const OpSpec& spec, const std::vector<bool>& reduced) {
  const Shape& x = spec.inputs[0].shape;
  std::vector<Reduction::Axis> axes;  // fastest first, merged
  std::size_t stride = 1;
  for (std::size_t d = x.size(); d-- > 0;) {
    const auto size = static_cast<std::size_t>(x[d]);
    if (size == 1) continue;
    const Reduction::Axis axis{size, reduced[d] ? 0 : stride};
    if (!reduced[d]) stride *= size;
    if (!axes.empty() && (axes.back().stride == 0) == reduced[d])
      axes.back().size *= size;
    else
      axes.push_back(axis);
  }
  if (axes.empty()) return;
  if (axes.size() > Reduction::kMaxRank) refuse(spec, "input of shape {}", shape_text(x));
  r.inner = axes.front();
  r.outer_rank = axes.size() - 1;
  for (std::size_t d = 0; d < r.outer_rank; ++d) r.outer[d] = axes[axes.size() - 1 - d];
}

}  // namespace

Reduction prepare_reduction(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const Shape& x = spec.inputs[0].shape;
  const bool keep = attrs_of<ReducerAttrs>(spec).keep_dims;
  const std::vector<bool> reduced = reduced_axes(spec);
  Reduction r;
  Shape out;
  for (std::size_t d = 0; d < x.size(); ++d) {
    if (reduced[d]) r.count *= static_cast<std::size_t>(x[d]);
    if (!reduced[d])
      out.push_back(x[d]);
    else if (keep)
      out.push_back(1);
  }
  spec.outputs[0].shape = out;
  r.inputs = shape_elements(x);
  r.outputs = shape_elements(out);
  r.image_mean = keep && reduced == std::vector<bool>{false, true, true, false};
  r.last = !reduced.empty() && reduced.back();
  r.channels = x.empty() ? 1 : static_cast<std::size_t>(x.back());
  set_axes(r, spec, reduced);
  return r;
}

namespace {

struct CodeScales {
  ScaleZero x, y;
  Range32 range;
  std::int32_t count = 1;  // inputs of one output
  // Sum of the zero points of the inputs; wraps as the runtime's 32-bit word does.
  std::int32_t zeros() const {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(count) *
                                     static_cast<std::uint32_t>(x.zero));
  }
};

CodeScales scales_of(const OpSpec& spec, const Reduction& r) {
  return {scale_zero(spec, spec.inputs[0]), scale_zero(spec, spec.outputs[0]),
          code_range(spec.inputs[0].dtype), static_cast<std::int32_t>(r.count)};
}

// The sum of raw codes, then f(sum, output index).
template <class T, class F>
std::unique_ptr<Kernel> sum_kernel(const Reduction& r, F f) {
  return reduce_kernel<T>(r, std::int32_t{0}, AddUp{}, f);
}

// XNNPACK: float scale, zero point inside of the rounding.
template <class T>
std::unique_ptr<Kernel> sum_xnn(const Reduction& r, const CodeScales& c, float scale) {
  const float zeros = static_cast<float>(std::int64_t{c.count} * c.x.zero);
  const float zero = static_cast<float>(c.y.zero) - zeros * scale;
  const auto low = static_cast<float>(c.range.low), high = static_cast<float>(c.range.high);
  return sum_kernel<T>(r, [=](std::int32_t sum, std::size_t) {
    const float v = static_cast<float>(sum) * scale + zero, above = v > low ? v : low;
    return small_round_even(above < high ? above : high);
  });
}

// The built-in kernel of means over an image: complete blocks of 16 channels round ties up, and the
// correction for the zero point is rounded by itself.
template <class T>
std::unique_ptr<Kernel> mean_image(const Reduction& r, const CodeScales& c) {
  float t = static_cast<float>(c.x.zero) * c.x.scale / c.y.scale;
  t = t > 0 ? t + 0.5f : t - 0.5f;
  const std::int32_t bias = c.y.zero - static_cast<std::int32_t>(std::clamp(t, -1e9f, 1e9f));
  const Multiplier m = make_multiplier(c.x.scale / (static_cast<float>(c.count) * c.y.scale));
  const std::size_t channels = r.channels, blocks = channels / 16 * 16;
  return sum_kernel<T>(r, [=, range = c.range](std::int32_t sum, std::size_t i) {
    const std::int32_t v = i % channels < blocks ? scale_up(sum, m) : scale_double(sum, m);
    return std::clamp(wrap_add(v, bias), range.low, range.high);
  });
}

template <class T>
std::unique_ptr<Kernel> sum_fixed(const Reduction& r, const CodeScales& c, Multiplier m) {
  const std::int32_t zeros = c.zeros();
  return sum_kernel<T>(r, [=, zero = c.y.zero, range = c.range](std::int32_t sum, std::size_t) {
    const std::int32_t v =
        wrap_add(sum, static_cast<std::int32_t>(0u - static_cast<std::uint32_t>(zeros)));
    return std::clamp(scale_and_shift(v, m, zero), range.low, range.high);
  });
}

Multiplier ratio_of(const CodeScales& c) {
  return make_multiplier(static_cast<double>(c.x.scale) / static_cast<double>(c.y.scale));
}

template <class T>
std::unique_ptr<Kernel> mean_codes(const OpSpec& spec, const Reduction& r) {
  CodeScales c = scales_of(spec, r);
  c.count = std::max(c.count, 1);
  if (spec.dialect == Dialect::kXnnpack && sizeof(T) == 1) {
    return sum_xnn<T>(r, c, (c.x.scale / c.y.scale) * (1.0f / static_cast<float>(c.count)));
  }
  if (spec.dialect != Dialect::kReference && r.image_mean && sizeof(T) == 1) {
    return mean_image<T>(r, c);
  }
  Multiplier m = ratio_of(c);
  const int log2 = 31 - std::countl_zero(static_cast<std::uint32_t>(c.count));
  const int k = std::min(log2, 31 + m.exponent);
  m.mantissa = static_cast<std::int32_t>((std::int64_t{m.mantissa} << k) / c.count);
  m.exponent -= k;
  return sum_fixed<T>(r, c, m);
}

template <class T>
std::unique_ptr<Kernel> sum_codes(const OpSpec& spec, const Reduction& r) {
  CodeScales c = scales_of(spec, r);
  if (spec.dialect == Dialect::kReference) {
    // The reference kernel takes the bytes of int8 for uint8 codes: the results mean little, but
    // are what it gives.  Of int16 it reads beyond the data.
    if (sizeof(T) != 1) {
      refuse(spec, "the reference kernel of SUM does not know {}",
             dtype_name(spec.inputs[0].dtype));
    }
    c.range = {0, 255};
    return sum_fixed<std::uint8_t>(r, c, ratio_of(c));
  }
  const float scale = c.x.scale / c.y.scale;
  if (spec.dialect == Dialect::kXnnpack && sizeof(T) == 1) return sum_xnn<T>(r, c, scale);
  const float bias = static_cast<float>(-c.x.zero) * scale * static_cast<float>(c.count);
  return sum_kernel<T>(r, [=, zero = c.y.zero, range = c.range](std::int32_t sum, std::size_t) {
    const std::int32_t v = round_away(static_cast<float>(sum) * scale + bias);
    return std::clamp(wrap_add(v, zero), range.low, range.high);
  });
}

// XNNPACK: a mean is the sum times the inverse of the count.
std::unique_ptr<Kernel> reduce_lanes(const OpSpec& spec, Reduction r) {
  // A last axis of one element, which is no axis elsewhere, decides what are lines and what are
  // rows.
  if ((r.inner.stride == 0) != r.last) {
    r.outer[r.outer_rank++] = r.inner;
    r.inner = {1, r.last ? std::size_t{0} : std::size_t{1}};
  }
  const bool mean = spec.op->code == OpCode::kMean;
  return reduce_kernel<float>(r, 0.0f, LaneSum{mean ? 1.0f / static_cast<float>(r.count) : 1.0f},
                              [](float sum, std::size_t) { return sum; });
}

// Numbers without scales; integers add up modulo 2^64.
template <class T>
std::unique_ptr<Kernel> reduce_plain(const OpSpec& spec, const Reduction& r) {
  const bool mean = spec.op->code == OpCode::kMean;
  if constexpr (std::is_floating_point_v<T>) {
    const auto n = static_cast<T>(r.count);
    return reduce_kernel<T>(
        r, T(0), [](T a, T v) { return a + v; },
        [=](T sum, std::size_t) { return mean ? sum / n : sum; });
  } else {
    const auto n = static_cast<std::int64_t>(std::max<std::size_t>(r.count, 1));
    return reduce_kernel<T>(
        r, std::uint64_t{0}, [](std::uint64_t a, T v) { return a + static_cast<std::uint64_t>(v); },
        [=](std::uint64_t sum, std::size_t) {
          return mean ? static_cast<std::int64_t>(sum) / n : static_cast<std::int64_t>(sum);
        });
  }
}

void expect_output_of_input_type(const OpSpec& spec) {
  if (spec.outputs[0].dtype == spec.inputs[0].dtype) return;
  refuse(spec, "types {} and {}: expected one type", dtype_name(spec.inputs[0].dtype),
         dtype_name(spec.outputs[0].dtype));
}

std::unique_ptr<Kernel> prepare_mean_sum(OpSpec& spec) {
  const Reduction r = prepare_reduction(spec);
  const bool mean = spec.op->code == OpCode::kMean;
  const DType t = spec.inputs[0].dtype;
  expect_output_of_input_type(spec);
  if (r.count > 1u << 30) refuse(spec, "{} elements to one output", r.count);
  switch (t) {
    case DType::kFloat32:
      if (spec.dialect == Dialect::kXnnpack) return reduce_lanes(spec, r);
      return reduce_plain<float>(spec, r);
    case DType::kInt32:
      return reduce_plain<std::int32_t>(spec, r);
    case DType::kInt64:
      return reduce_plain<std::int64_t>(spec, r);
    case DType::kInt8:
      return mean ? mean_codes<std::int8_t>(spec, r) : sum_codes<std::int8_t>(spec, r);
    case DType::kUint8:
      return mean ? mean_codes<std::uint8_t>(spec, r) : sum_codes<std::uint8_t>(spec, r);
    case DType::kInt16:
      return mean ? mean_codes<std::int16_t>(spec, r) : sum_codes<std::int16_t>(spec, r);
    default:
      refuse_type(spec);
  }
}

// NaN loses every comparison with what was found so far, as in the runtime.
template <class T>
std::unique_ptr<Kernel> extreme(const Reduction& r, bool largest) {
  using Limits = std::numeric_limits<T>;
  const auto same = [](T m, std::size_t) { return m; };
  if (largest) return reduce_kernel<T>(r, Limits::lowest(), Extreme<true>{}, same);
  return reduce_kernel<T>(r, Limits::max(), Extreme<false>{}, same);
}

std::unique_ptr<Kernel> prepare_extreme(OpSpec& spec) {
  const Reduction r = prepare_reduction(spec);
  const bool largest = spec.op->code == OpCode::kReduceMax;
  const DType t = spec.inputs[0].dtype;
  expect_output_of_input_type(spec);
  switch (t) {
    case DType::kFloat32:
      return extreme<float>(r, largest);
    case DType::kInt8:
      return extreme<std::int8_t>(r, largest);
    case DType::kUint8:
      return extreme<std::uint8_t>(r, largest);
    case DType::kInt16:
      return extreme<std::int16_t>(r, largest);
    case DType::kInt32:
      return extreme<std::int32_t>(r, largest);
    case DType::kInt64:
      return extreme<std::int64_t>(r, largest);
    default:
      refuse_type(spec);
  }
}

// ---- products
// Codes: every factor but the first is brought down by sx / sy^(1/n), n the number of factors, so
// that the product stays in a word; the last step brings the missing one.
template <class T>
std::unique_ptr<Kernel> product_codes(const OpSpec& spec, const Reduction& r) {
  const CodeScales c = scales_of(spec, r);
  if (r.outputs == 0 || r.inputs == 0) refuse(spec, "an empty input");
  const double n = static_cast<double>(r.inputs / r.outputs);
  const Multiplier m = make_multiplier(static_cast<double>(c.x.scale) /
                                       std::pow(static_cast<double>(c.y.scale), 1.0 / n));
  struct Partial {
    std::int32_t value = 0;
    bool started = false;
  };
  const std::int32_t zero = c.x.zero;
  return reduce_kernel<T>(
      r, Partial{},
      [=](Partial p, T v) -> Partial {
        if (!p.started) return {v - zero, true};
        return {scale_16x8(std::int64_t{p.value} * (v - zero), m), true};
      },
      [=, y = c.y.zero, range = c.range](Partial p, std::size_t) {
        return std::clamp(wrap_add(scale_16x8(p.value, m), y), range.low, range.high);
      });
}

template <class T>
std::unique_ptr<Kernel> product_plain(const Reduction& r) {
  using Word = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;
  return reduce_kernel<T>(
      r, Word(1), [](Word a, T v) { return a * static_cast<Word>(v); },
      [](Word p, std::size_t) { return p; });
}

std::unique_ptr<Kernel> prepare_product(OpSpec& spec) {
  const Reduction r = prepare_reduction(spec);
  expect_output_of_input_type(spec);
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return product_plain<float>(r);
    case DType::kInt32:
      return product_plain<std::int32_t>(r);
    case DType::kInt64:
      return product_plain<std::int64_t>(r);
    case DType::kInt8:
      return product_codes<std::int8_t>(spec, r);
    case DType::kInt16:
      return product_codes<std::int16_t>(spec, r);
    default:
      refuse_type(spec);
  }
}

std::unique_ptr<Kernel> prepare_any_all(OpSpec& spec) {
  const Reduction r = prepare_reduction(spec);
  expect_output_of_input_type(spec);
  if (spec.inputs[0].dtype != DType::kBool) refuse_type(spec);
  const auto same = [](bool b, std::size_t) { return b; };
  if (spec.op->code == OpCode::kReduceAny)
    return reduce_kernel<bool>(
        r, false, [](bool a, bool v) { return a || v; }, same);
  return reduce_kernel<bool>(
      r, true, [](bool a, bool v) { return a && v; }, same);
}

constexpr const char* kMeans = "float16 float32 int8 uint8 int16 int32 int64";
constexpr const char* kNumbers = "float32 int8 uint8 int16 int32 int64";
constexpr KernelRow kRows[] = {
    {OpCode::kMean, with_half_xnn<prepare_mean_sum>, kMeans},
    {OpCode::kSum, with_half_xnn<prepare_mean_sum>, kMeans},
    {OpCode::kReduceMax, prepare_extreme, kNumbers},
    {OpCode::kReduceMin, prepare_extreme, kNumbers},
    {OpCode::kReduceProd, prepare_product, "float32 int8 int16 int32 int64"},
    {OpCode::kReduceAny, prepare_any_all, "bool"},
    {OpCode::kReduceAll, prepare_any_all, "bool"}};

}  // namespace

std::span<const KernelRow> reduce_kernel_rows() { return kRows; }

}  // namespace litegap
