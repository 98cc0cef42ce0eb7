// FILL and CAST (docs/numerics.md, section 2.29).
#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/move.h"
#include "kernels/vectors.h"

namespace litegap {
namespace {

std::unique_ptr<Kernel> prepare_fill(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 1);
  if (shape_elements(spec.inputs[1].shape) != 1 || spec.inputs[1].shape.size() > 1) {
    refuse(spec, "its value has shape {}, expected a scalar", shape_text(spec.inputs[1].shape));
  }
  Shape out;
  for (const std::int64_t d : plan_integers(spec, 0, "shape")) out.push_back(checked_dim(spec, d));
  const auto n = static_cast<std::int64_t>(shape_elements(out));
  spec.outputs[0].shape = std::move(out);
  return move_kernel(1, Move(unit, {{n, 0, static_cast<std::int64_t>(unit)}}));
}

struct Half {
  std::uint16_t bits;
};
using Complex = std::complex<float>;

// As a C cast on x86-64: values outside of the target wrap through the 32-bit (64-bit for int64)
// conversion, which gives the smallest integer when it cannot represent the value.  The unsigned
// types of 16 bits and more saturate instead, NaN to the largest.
template <class To, class From>
To number(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    if constexpr (std::is_unsigned_v<To> && sizeof(To) > 1) {
      const double v = std::trunc(static_cast<double>(x)), end = std::ldexp(1.0, sizeof(To) * 8);
      return v <= 0 ? To(0) : v < end ? static_cast<To>(v) : std::numeric_limits<To>::max();
    }
    using Wide = std::conditional_t<(sizeof(To) < 4) || std::is_same_v<To, std::int32_t>,
                                    std::int32_t, std::int64_t>;
    const double v = std::trunc(static_cast<double>(x));
    const double limit = std::ldexp(1.0, sizeof(Wide) * 8 - 1);
    const Wide w =
        v >= -limit && v < limit ? static_cast<Wide>(v) : std::numeric_limits<Wide>::min();
    return static_cast<To>(w);
  } else {
    return static_cast<To>(x);
  }
}

template <class To, class From>
To convert(From x) {
  if constexpr (std::is_same_v<From, Half>) {
    return convert<To>(float_from_half(x.bits));
  } else if constexpr (std::is_same_v<From, Complex>) {
    if constexpr (std::is_same_v<To, Complex>)
      return x;
    else
      return convert<To>(x.real());
  } else if constexpr (std::is_same_v<To, Half>) {
    return Half{half_from_float(number<float>(x))};
  } else if constexpr (std::is_same_v<To, Complex>) {
    return Complex(number<float>(x), 0.0f);
  } else {
    return number<To>(x);
  }
}

template <class From, class To>
std::unique_ptr<Kernel> cast_kernel(std::size_t n) {
  return make_kernel([n](const Io& io) noexcept {
    const auto* in = static_cast<const From*>(io.inputs[0]);
    auto* out = static_cast<To*>(io.outputs[0]);
    with_vectors([in, out, count = n] {
      for (std::size_t i = 0; i < count; ++i) out[i] = convert<To>(in[i]);
    });
  });
}

template <class From>
std::unique_ptr<Kernel> cast_from(const OpSpec& spec, std::size_t n) {
  switch (spec.outputs[0].dtype) {
    case DType::kFloat32:
      return cast_kernel<From, float>(n);
    case DType::kFloat64:
      return cast_kernel<From, double>(n);
    case DType::kFloat16:
      return cast_kernel<From, Half>(n);
    case DType::kInt8:
      return cast_kernel<From, std::int8_t>(n);
    case DType::kUint8:
      return cast_kernel<From, std::uint8_t>(n);
    case DType::kInt16:
      return cast_kernel<From, std::int16_t>(n);
    case DType::kUint16:
      return cast_kernel<From, std::uint16_t>(n);
    case DType::kInt32:
      return cast_kernel<From, std::int32_t>(n);
    case DType::kUint32:
      return cast_kernel<From, std::uint32_t>(n);
    case DType::kInt64:
      return cast_kernel<From, std::int64_t>(n);
    case DType::kBool:
      return cast_kernel<From, bool>(n);
    case DType::kComplex64:
      return cast_kernel<From, Complex>(n);
    default:
      refuse(spec, "to {}: not supported", dtype_name(spec.outputs[0].dtype));
  }
}

std::unique_ptr<Kernel> prepare_cast(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  if (!spec.has(0)) refuse(spec, "input 0 is missing");
  spec.outputs[0].shape = spec.inputs[0].shape;
  const std::size_t n = shape_elements(spec.inputs[0].shape);
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return cast_from<float>(spec, n);
    case DType::kFloat64:
      return cast_from<double>(spec, n);
    case DType::kFloat16:
      return cast_from<Half>(spec, n);
    case DType::kInt8:
      return cast_from<std::int8_t>(spec, n);
    case DType::kUint8:
      return cast_from<std::uint8_t>(spec, n);
    case DType::kInt16:
      return cast_from<std::int16_t>(spec, n);
    case DType::kUint16:
      return cast_from<std::uint16_t>(spec, n);
    case DType::kInt32:
      return cast_from<std::int32_t>(spec, n);
    case DType::kUint32:
      return cast_from<std::uint32_t>(spec, n);
    case DType::kInt64:
      return cast_from<std::int64_t>(spec, n);
    case DType::kBool:
      return cast_from<bool>(spec, n);
    case DType::kComplex64:
      return cast_from<Complex>(spec, n);
    default:
      refuse(spec, "from {}: not supported", dtype_name(spec.inputs[0].dtype));
  }
}

constexpr KernelRow kRows[] = {{OpCode::kFill, prepare_fill, "any"},
                               {OpCode::kCast, prepare_cast, "any"}};

}  // namespace

std::span<const KernelRow> value_kernel_rows() { return kRows; }

}  // namespace litegap
