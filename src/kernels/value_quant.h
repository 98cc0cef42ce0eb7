// Checked access to the one scale and zero point of an operand, and kernels that map one value at a
// time.
#pragma once
#include <array>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "kernels/byte_table.h"
#include "kernels/kernel.h"
#include "kernels/requantize.h"
#include "kernels/vectors.h"

namespace litegap {

inline bool is_8bit(DType t) { return t == DType::kInt8 || t == DType::kUint8; }
inline bool is_code_type(DType t) { return is_8bit(t) || t == DType::kInt16; }
inline Range32 code_range(DType t) {
  if (t == DType::kInt8) return {-128, 127};
  return t == DType::kUint8 ? Range32{0, 255} : Range32{-32768, 32767};
}

[[noreturn]] inline void refuse_type(const OpSpec& spec) {
  refuse(spec, "type {} is not supported", dtype_name(spec.inputs[0].dtype));
}

struct ScaleZero {
  float scale = 1;
  std::int32_t zero = 0;
};

inline ScaleZero scale_zero(const OpSpec& spec, const Operand& o) {
  const std::size_t scales = o.quant == nullptr ? 0 : o.quant->scale.size();
  if (scales != 1) {
    refuse(spec, "tensor {} of type {} has {} scales, expected 1", o.name, dtype_name(o.dtype),
           scales);
  }
  const float s = o.quant->scale[0];
  if (!(s > 0) || !std::isfinite(s)) {
    refuse(spec, "tensor {} has scale {}, expected a positive number", o.name, s);
  }
  const std::int64_t zero = o.quant->zero_point.empty() ? 0 : o.quant->zero_point[0];
  const std::int64_t limit =
      is_code_type(o.dtype) ? 65535 : std::numeric_limits<std::int32_t>::max();
  if (zero < -limit || zero > limit) {
    refuse(spec, "tensor {} of type {} has zero point {}", o.name, dtype_name(o.dtype), zero);
  }
  return {s, static_cast<std::int32_t>(zero)};
}

// x * m + zero as the runtime's 32-bit words have it: the sum wraps.
inline std::int32_t scale_and_shift(std::int32_t x, Multiplier m, std::int32_t zero) {
  return wrap_add(scale_double(x, m), zero);
}

// What XNNPACK computes with: subnormal numbers are zero.
inline float flush_subnormal(float v) {
  return std::fabs(v) < std::numeric_limits<float>::min() ? std::copysign(0.0f, v) : v;
}

// One input, one output of the same shape and type.
inline DType prepare_same(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  spec.outputs[0].shape = spec.inputs[0].shape;
  const DType t = spec.inputs[0].dtype;
  if (t != spec.outputs[0].dtype) {
    refuse(spec, "types {} and {}: expected one type", dtype_name(t),
           dtype_name(spec.outputs[0].dtype));
  }
  return t;
}

// Every element of the input by f, to an output of another type.
template <class From, class To, class F>
std::unique_ptr<Kernel> map_into(std::size_t n, F f) {
  return make_kernel([n, f](const Io& io) {
    with_vectors([&] {
      // Copies: for all the compiler knows, the stores could change what is behind a reference.
      std::conditional_t<(sizeof(F) <= 128), const F, const F&> g = f;
      const From* x = static_cast<const From*>(io.inputs[0]);
      To* y = static_cast<To*>(io.outputs[0]);
      const std::size_t count = n;
#pragma GCC unroll 2  // vectors: see docs/speed.md
      for (std::size_t i = 0; i < count; ++i) y[i] = static_cast<To>(g(x[i]));
    });
  });
}
template <class T, class F>
std::unique_ptr<Kernel> map_values(std::size_t n, F f) {
  return map_into<T, T>(n, f);
}

// Of float32, with std::fma() in f.
template <class F>
std::unique_ptr<Kernel> map_fused(std::size_t n, F f) {
  return make_kernel([n, f](const Io& io) {
    with_fused([&] {
      const F g = f;
      const float* x = static_cast<const float*>(io.inputs[0]);
      float* y = static_cast<float*>(io.outputs[0]);
      const std::size_t count = n;
#pragma GCC unroll 2
      for (std::size_t i = 0; i < count; ++i) y[i] = g(x[i]);
    });
  });
}

// In two steps, with a block of the output in between.
template <class F, class G>
std::unique_ptr<Kernel> map_fused(std::size_t n, F f, G g) {
  constexpr std::size_t kBlock = 512;
  return make_kernel([n, f, g](const Io& io) {
    with_fused([&] {
      const float* x = static_cast<const float*>(io.inputs[0]);
      float* y = static_cast<float*>(io.outputs[0]);
      for (std::size_t i = 0; i < n; i += kBlock, x += kBlock, y += kBlock) {
        const std::size_t count = n - i < kBlock ? n - i : kBlock;
        for (std::size_t k = 0; k < count; ++k) y[k] = f(x[k]);
        for (std::size_t k = 0; k < count; ++k) y[k] = g(y[k]);
      }
    });
  });
}

inline std::unique_ptr<Kernel> table8_kernel(std::size_t n, const Table8& table) {
  return make_kernel([n, table](const Io& io) {
    map_bytes(table, static_cast<const std::uint8_t*>(io.inputs[0]),
              static_cast<std::uint8_t*>(io.outputs[0]), n);
  });
}

template <class F>
Table8 tabulate(DType t, F f) {
  const Range32 range = code_range(t);
  Table8 table{};
  for (std::int32_t q = range.low; q <= range.high; ++q) {
    table[static_cast<std::uint8_t>(q)] = static_cast<std::uint8_t>(f(q));
  }
  return table;
}

// f takes and gives a code as int32; 8-bit types become a table.
template <class F>
std::unique_ptr<Kernel> map_codes(DType t, std::size_t n, F f) {
  if (is_8bit(t)) return table8_kernel(n, tabulate(t, f));
  return map_values<std::int16_t>(n, [f](std::int16_t x) { return f(std::int32_t{x}); });
}

}  // namespace litegap
