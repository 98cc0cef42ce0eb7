// Element by element, without scales: SIGN, ATAN2, BITCAST, BITWISE_XOR, RIGHT_SHIFT, ADD_N,
// BUCKETIZE, FAKE_QUANT, ZEROS_LIKE, complex parts, NumericVerify, and the operators named after
// StableHLO (docs/numerics.md, section 4).
//
//   RIGHT_SHIFT   -7 >> 1 = -4, x >> 99 = x >> 31: the count is brought into the word
//   BUCKETIZE     boundaries 0 10 100: 5 -> 1, 10 -> 2, 150 -> 3
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>
#include <limits>

#include "kernels/arithmetic_ops.h"
#include "kernels/broadcast.h"
#include "kernels/move.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

DType prepare_equal_pair(OpSpec& spec) {
  const DType t = prepare_pair(spec);
  if (spec.inputs[0].shape != spec.inputs[1].shape) {
    refuse(spec, "shapes {} and {}: expected the same", shape_text(spec.inputs[0].shape),
           shape_text(spec.inputs[1].shape));
  }
  spec.outputs[0].shape = spec.inputs[0].shape;
  return t;
}

// ---- SIGN, ATAN2
template <class T>
std::unique_ptr<Kernel> sign_kernel(std::size_t n) {
  return map_values<T>(n, [](T x) {
    return x > T(0) ? T(1) : x < T(0) ? T(-1) : x == T(0) ? T(0) : x;
  });
}

std::unique_ptr<Kernel> prepare_sign(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const std::size_t n = shape_elements(spec.outputs[0].shape);
  switch (t) {
    case DType::kFloat32:
      return sign_kernel<float>(n);
    case DType::kFloat64:
      return sign_kernel<double>(n);
    case DType::kInt32:
      return sign_kernel<std::int32_t>(n);
    default:
      refuse_type(spec);
  }
}

std::unique_ptr<Kernel> prepare_atan2(OpSpec& spec) {
  switch (prepare_equal_pair(spec)) {
    case DType::kFloat32:
      return pair_kernel<float>(spec, [](float y, float x) { return std::atan2(y, x); });
    case DType::kFloat64:
      return pair_kernel<double>(spec, [](double y, double x) { return std::atan2(y, x); });
    default:
      refuse_type(spec);
  }
}

// ---- words of bits
template <class F>
std::unique_ptr<Kernel> words_kernel(OpSpec& spec, F f) {
  switch (prepare_pair(spec)) {
    case DType::kInt8:
      return pair_kernel<std::int8_t>(spec, f);
    case DType::kUint8:
      return pair_kernel<std::uint8_t>(spec, f);
    case DType::kInt16:
      return pair_kernel<std::int16_t>(spec, f);
    case DType::kUint16:
      return pair_kernel<std::uint16_t>(spec, f);
    case DType::kInt32:
      return pair_kernel<std::int32_t>(spec, f);
    case DType::kUint32:
      return pair_kernel<std::uint32_t>(spec, f);
    default:
      refuse_type(spec);
  }
}

struct Xor {
  template <class T>
  T operator()(T x, T y) const {
    return static_cast<T>(x ^ y);
  }
};
struct ShiftRight {
  template <class T>
  T operator()(T x, T y) const {
    constexpr std::int64_t kMost = static_cast<std::int64_t>(sizeof(T)) * 8 - 1;
    return static_cast<T>(x >> std::clamp<std::int64_t>(y, 0, kMost));
  }
};
// The processor's shift of a 32-bit word: the count modulo 32.
struct ShiftLeft {
  template <class T>
  T operator()(T x, T y) const {
    return static_cast<T>(static_cast<std::uint32_t>(x) << (static_cast<std::uint32_t>(y) & 31u));
  }
};

std::unique_ptr<Kernel> prepare_xor(OpSpec& spec) { return words_kernel(spec, Xor{}); }
std::unique_ptr<Kernel> prepare_right_shift(OpSpec& spec) {
  return words_kernel(spec, ShiftRight{});
}

// The bytes as they lie.  A wider type gives several of a narrower one along a new last axis; the
// other way round the last axis goes.
std::unique_ptr<Kernel> prepare_bitcast(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  const std::size_t from = element_bytes(spec, spec.inputs[0]),
                    to = element_bytes(spec, spec.outputs[0]);
  Shape shape = spec.inputs[0].shape;
  if (from > to) shape.push_back(static_cast<std::int32_t>(from / to));
  if (from < to) {
    if (shape.empty() || static_cast<std::size_t>(shape.back()) != to / from) {
      refuse(spec, "{} of shape {} does not fill whole {}", dtype_name(spec.inputs[0].dtype),
             shape_text(shape), dtype_name(spec.outputs[0].dtype));
    }
    shape.pop_back();
  }
  spec.outputs[0].shape = shape;
  return copy_kernel(0, shape_elements(shape) * to);
}

// ---- sums
template <class T>
std::unique_ptr<Kernel> sum_of_inputs(std::size_t inputs, std::size_t n) {
  return make_kernel([inputs, n](const Io& io) {
    T* out = static_cast<T*>(io.outputs[0]);
    for (std::size_t i = 0; i < n; ++i) {
      T sum = static_cast<const T*>(io.inputs[0])[i];
      for (std::size_t k = 1; k < inputs; ++k) {
        const T v = static_cast<const T*>(io.inputs[k])[i];
        if constexpr (std::is_integral_v<T>)
          sum = wrap_add(sum, v);
        else
          sum += v;
      }
      out[i] = sum;
    }
  });
}

std::unique_ptr<Kernel> prepare_add_n(OpSpec& spec) {
  expect_inputs(spec, 2, 1 << 20);
  expect_outputs(spec, 1);
  const Operand& first = spec.inputs[0];
  for (const Operand& in : spec.inputs) {
    if (!in.present || in.dtype != first.dtype || in.shape != first.shape)
      refuse(spec, "its inputs are not of one type and shape");
  }
  spec.outputs[0].shape = first.shape;
  expect_same_type(spec, 0);
  const std::size_t n = shape_elements(first.shape);
  if (first.dtype == DType::kFloat32) return sum_of_inputs<float>(spec.inputs.size(), n);
  if (first.dtype == DType::kInt32) return sum_of_inputs<std::int32_t>(spec.inputs.size(), n);
  refuse_type(spec);
}

// ---- BUCKETIZE: how many boundaries are at most the value
template <class T>
std::unique_ptr<Kernel> bucket_kernel(std::size_t n, std::vector<float> boundaries) {
  return make_kernel([n, boundaries = std::move(boundaries)](const Io& io) {
    const T* x = static_cast<const T*>(io.inputs[0]);
    auto* out = static_cast<std::int32_t*>(io.outputs[0]);
    for (std::size_t i = 0; i < n; ++i) {
      const auto above =
          std::upper_bound(boundaries.begin(), boundaries.end(), x[i], [](T v, float b) {
            using Wide = std::common_type_t<T, float>;
            return static_cast<Wide>(v) < static_cast<Wide>(b);
          });
      out[i] = static_cast<std::int32_t>(above - boundaries.begin());
    }
  });
}

std::unique_ptr<Kernel> prepare_bucketize(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  const auto& boundaries = attrs_of<BucketizeAttrs>(spec).boundaries;
  if (!std::is_sorted(boundaries.begin(), boundaries.end()))
    refuse(spec, "its boundaries are not in order");
  if (spec.outputs[0].dtype != DType::kInt32)
    refuse(spec, "its output is {}, expected int32", dtype_name(spec.outputs[0].dtype));
  spec.outputs[0].shape = spec.inputs[0].shape;
  const std::size_t n = shape_elements(spec.inputs[0].shape);
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return bucket_kernel<float>(n, boundaries);
    case DType::kFloat64:
      return bucket_kernel<double>(n, boundaries);
    case DType::kInt32:
      return bucket_kernel<std::int32_t>(n, boundaries);
    case DType::kInt64:
      return bucket_kernel<std::int64_t>(n, boundaries);
    default:
      refuse_type(spec);
  }
}

// ---- FAKE_QUANT: the range is moved so that zero has a code
std::unique_ptr<Kernel> prepare_fake_quant(OpSpec& spec) {
  const auto& a = attrs_of<FakeQuantAttrs>(spec);
  if (prepare_same(spec) != DType::kFloat32) refuse_type(spec);
  if (a.narrow_range) refuse(spec, "a narrow range is not supported by the runtime");
  if (a.num_bits < 2 || a.num_bits > 16) refuse(spec, "{} bits, expected 2 to 16", a.num_bits);
  if (!(a.max > a.min)) refuse(spec, "a range from {} to {}", a.min, a.max);
  const auto most = static_cast<float>((1 << a.num_bits) - 1);
  const float scale = (a.max - a.min) / most, from_min = 0.0f - a.min / scale;
  const float zero = from_min < 0.0f ? 0.0f : from_min > most ? most : std::round(from_min);
  const float low = (0.0f - zero) * scale, high = (most - zero) * scale, inverse = 1.0f / scale;
  return map_values<float>(shape_elements(spec.outputs[0].shape), [=](float x) {
    const float bounded = std::min(high, std::max(low, x));
    return std::round((bounded - low) * inverse) * scale + low;
  });
}

std::unique_ptr<Kernel> prepare_zeros_like(OpSpec& spec) {
  const DType t = prepare_same(spec);
  if (t != DType::kFloat32 && t != DType::kInt32 && t != DType::kInt64) refuse_type(spec);
  const std::size_t bytes = dtype_bytes(t, shape_elements(spec.outputs[0].shape));
  return make_kernel([bytes](const Io& io) {
    if (bytes > 0) std::memset(io.outputs[0], 0, bytes);
  });
}

// ---- complex numbers
template <class T, class F>
std::unique_ptr<Kernel> complex_kernel(std::size_t n, F f) {
  return make_kernel([n, f](const Io& io) {
    const auto* x = static_cast<const std::complex<T>*>(io.inputs[0]);
    T* out = static_cast<T*>(io.outputs[0]);
    for (std::size_t i = 0; i < n; ++i) out[i] = f(x[i]);
  });
}

template <class F>
std::unique_ptr<Kernel> complex_part(OpSpec& spec, F f) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  spec.outputs[0].shape = spec.inputs[0].shape;
  const std::size_t n = shape_elements(spec.inputs[0].shape);
  const DType from = spec.inputs[0].dtype, to = spec.outputs[0].dtype;
  if (from == DType::kComplex64 && to == DType::kFloat32) return complex_kernel<float>(n, f);
  if (from == DType::kComplex128 && to == DType::kFloat64) return complex_kernel<double>(n, f);
  refuse(spec, "types {} and {} are not supported", dtype_name(from), dtype_name(to));
}

std::unique_ptr<Kernel> prepare_real(OpSpec& spec) {
  return complex_part(spec, [](auto z) { return z.real(); });
}
std::unique_ptr<Kernel> prepare_imag(OpSpec& spec) {
  return complex_part(spec, [](auto z) { return z.imag(); });
}
std::unique_ptr<Kernel> prepare_complex_abs(OpSpec& spec) {
  return complex_part(spec, [](auto z) { return std::abs(z); });
}

// ---- NumericVerify: the dequantized first operand minus the second
std::unique_ptr<Kernel> prepare_numeric_verify(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const DType t = spec.inputs[0].dtype;
  if (!is_code_type(t)) refuse_type(spec);
  if (spec.inputs[1].dtype != DType::kFloat32 || spec.outputs[0].dtype != DType::kFloat32)
    refuse(spec, "its second operand and output are not float32");
  if (spec.inputs[0].shape != spec.inputs[1].shape) {
    refuse(spec, "shapes {} and {}: expected the same", shape_text(spec.inputs[0].shape),
           shape_text(spec.inputs[1].shape));
  }
  spec.outputs[0].shape = spec.inputs[0].shape;
  const std::size_t n = shape_elements(spec.inputs[0].shape);
  const ScaleZero x = scale_zero(spec, spec.inputs[0]);
  const auto real = [x](std::int32_t q) {
    return static_cast<float>(static_cast<double>(x.scale) * (q - x.zero));
  };
  const auto folded = [x, offset = static_cast<float>(-x.zero * static_cast<double>(x.scale))](
                          std::int32_t q) { return static_cast<float>(q) * x.scale + offset; };
  // As DEQUANTIZE: the built-in kernel adds the folded zero point in blocks of 8.
  const std::size_t whole = spec.dialect == Dialect::kReference || !is_8bit(t) ? 0 : n / 8 * 8;
  const auto with = [&](auto zero) -> std::unique_ptr<Kernel> {
    using T = decltype(zero);
    return make_kernel([=](const Io& io) {
      const T* q = static_cast<const T*>(io.inputs[0]);
      const auto* reference = static_cast<const float*>(io.inputs[1]);
      auto* out = static_cast<float*>(io.outputs[0]);
      for (std::size_t i = 0; i < n; ++i)
        out[i] = (i < whole ? folded(q[i]) : real(q[i])) - reference[i];
    });
  };
  if (t == DType::kInt8) return with(std::int8_t{});
  if (t == DType::kUint8) return with(std::uint8_t{});
  return with(std::int16_t{});
}

// ---- the operators named after StableHLO: equal shapes, no scales
struct Half {
  std::uint16_t bits;
};

template <class F>
std::unique_ptr<Kernel> stablehlo_pair(OpSpec& spec, F f) {
  const DType t = prepare_equal_pair(spec);
  const auto integer = [&](auto zero) {
    using T = decltype(zero);
    return pair_kernel<T>(spec, [f](T x, T y) { return static_cast<T>(f(x, y)); });
  };
  switch (t) {
    case DType::kFloat32:
      return pair_kernel<float>(spec, [f](float x, float y) { return f(x, y); });
    case DType::kFloat64:
      return pair_kernel<double>(spec, [f](double x, double y) { return f(x, y); });
    case DType::kFloat16:
      return pair_kernel<Half>(spec, [f](Half x, Half y) {
        return Half{half_from_float(f(float_from_half(x.bits), float_from_half(y.bits)))};
      });
    case DType::kInt8:
      return integer(std::int8_t{});
    case DType::kUint8:
      return integer(std::uint8_t{});
    case DType::kInt16:
      return integer(std::int16_t{});
    case DType::kInt32:
      return integer(std::int32_t{});
    case DType::kUint32:
      return integer(std::uint32_t{});
    case DType::kInt64:
      return integer(std::int64_t{});
    case DType::kUint64:
      return integer(std::uint64_t{});
    default:
      refuse_type(spec);
  }
}

// Integers wrap.
struct StableAdd {
  template <class T>
  T operator()(T x, T y) const {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(static_cast<std::uint64_t>(x) + static_cast<std::uint64_t>(y));
    else
      return x + y;
  }
};
struct StableMultiply {
  template <class T>
  T operator()(T x, T y) const {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(static_cast<std::uint64_t>(x) * static_cast<std::uint64_t>(y));
    else
      return x * y;
  }
};
struct StableMaximum {  // the first of two that no order decides, NaN for one
  template <class T>
  T operator()(T x, T y) const {
    return x < y ? y : x;
  }
};
struct StableMinimum {
  template <class T>
  T operator()(T x, T y) const {
    return y < x ? y : x;
  }
};

template <class F>
std::unique_ptr<Kernel> prepare_stablehlo(OpSpec& spec) {
  return stablehlo_pair(spec, F{});
}

std::unique_ptr<Kernel> prepare_stablehlo_and(OpSpec& spec) {
  if (spec.dialect == Dialect::kReference)
    refuse(spec, "the reference kernels have no STABLEHLO_AND");
  const auto kernel = [&](auto zero) {
    using T = decltype(zero);
    return pair_kernel<T>(spec, [](T x, T y) { return static_cast<T>(x & y); });
  };
  switch (prepare_equal_pair(spec)) {
    case DType::kBool:
      return pair_kernel<bool>(spec, [](bool x, bool y) { return x && y; });
    case DType::kInt8:
      return kernel(std::int8_t{});
    case DType::kUint8:
      return kernel(std::uint8_t{});
    case DType::kInt16:
      return kernel(std::int16_t{});
    case DType::kUint16:
      return kernel(std::uint16_t{});
    case DType::kInt32:
      return kernel(std::int32_t{});
    case DType::kUint32:
      return kernel(std::uint32_t{});
    case DType::kInt64:
      return kernel(std::int64_t{});
    case DType::kUint64:
      return kernel(std::uint64_t{});
    default:
      refuse_type(spec);
  }
}

std::unique_ptr<Kernel> prepare_shift_left(OpSpec& spec) {
  if (spec.dialect == Dialect::kReference)
    refuse(spec, "the reference kernels have no {}", op_name(spec.op->code));
  switch (prepare_equal_pair(spec)) {
    case DType::kInt8:
      return pair_kernel<std::int8_t>(spec, ShiftLeft{});
    case DType::kInt16:
      return pair_kernel<std::int16_t>(spec, ShiftLeft{});
    case DType::kInt32:
      return pair_kernel<std::int32_t>(spec, ShiftLeft{});
    default:
      refuse_type(spec);
  }
}

constexpr const char* kWords = "int8 uint8 int16 uint16 int32 uint32";
constexpr const char* kStable =
    "float16 float32 float64 int8 uint8 int16 int32 uint32 int64 uint64";
constexpr KernelRow kRows[] = {
    {OpCode::kSign, prepare_sign, "float32 float64 int32"},
    {OpCode::kAtan2, prepare_atan2, "float32 float64"},
    {OpCode::kBitwiseXor, prepare_xor, kWords},
    {OpCode::kRightShift, prepare_right_shift, kWords},
    {OpCode::kBitcast, prepare_bitcast, "any"},
    {OpCode::kAddN, prepare_add_n, "float32 int32"},
    {OpCode::kBucketize, prepare_bucketize, "float32 float64 int32 int64"},
    {OpCode::kFakeQuant, prepare_fake_quant, "float32"},
    {OpCode::kZerosLike, prepare_zeros_like, "float32 int32 int64"},
    {OpCode::kReal, prepare_real, "complex64 complex128"},
    {OpCode::kImag, prepare_imag, "complex64 complex128"},
    {OpCode::kComplexAbs, prepare_complex_abs, "complex64 complex128"},
    {OpCode::kStablehloAdd, prepare_stablehlo<StableAdd>, kStable},
    {OpCode::kStablehloMultiply, prepare_stablehlo<StableMultiply>, kStable},
    {OpCode::kStablehloMaximum, prepare_stablehlo<StableMaximum>, kStable},
    {OpCode::kStablehloMinimum, prepare_stablehlo<StableMinimum>, kStable},
    {OpCode::kStablehloAnd, prepare_stablehlo_and,
     "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64"},
    {OpCode::kStablehloShiftLeft, prepare_shift_left, "int8 int16 int32"},
    {OpCode::kCustom, prepare_numeric_verify, "int8 uint8 int16", "NumericVerify"},
};

}  // namespace

std::span<const KernelRow> plain_kernel_rows() { return kRows; }

}  // namespace litegap
