// Checked access to the one scale and zero point of an 8-bit or 16-bit operand.
#pragma once
#include <cmath>

#include "kernels/arith.h"
#include "kernels/kernel.h"

namespace litegap {

inline bool is_code_type(DType t) { return t == DType::kInt8 || t == DType::kUint8 || t == DType::kInt16; }
inline Range32 code_range(DType t) { return t == DType::kInt8 ? Range32{-128, 127} : t == DType::kUint8 ? Range32{0, 255} : Range32{-32768, 32767}; }

struct ScaleZero {
  float scale = 1;
  std::int32_t zero = 0;
};

inline ScaleZero scale_zero(const OpSpec& spec, const Operand& o) {
  if (o.quant == nullptr || o.quant->scale.size() != 1) refuse(spec, "tensor {} of type {} has {} scales, expected 1", o.name, dtype_name(o.dtype), o.quant == nullptr ? 0 : o.quant->scale.size());
  const float s = o.quant->scale[0];
  if (!(s > 0) || !std::isfinite(s)) refuse(spec, "tensor {} has scale {}, expected a positive number", o.name, s);
  return {s, static_cast<std::int32_t>(o.quant->zero_point[0])};
}

// One input, one output of the same shape and type.
inline DType prepare_same(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  spec.outputs[0].shape = spec.inputs[0].shape;
  if (spec.inputs[0].dtype != spec.outputs[0].dtype) refuse(spec, "types {} and {}: expected one type", dtype_name(spec.inputs[0].dtype), dtype_name(spec.outputs[0].dtype));
  return spec.inputs[0].dtype;
}

template <class T, class F>
std::unique_ptr<Kernel> map_values(std::size_t n, F f) {
  return make_kernel([n, f](const Io& io) {
    const T* x = static_cast<const T*>(io.inputs[0]);
    T* y = static_cast<T*>(io.outputs[0]);
    for (std::size_t i = 0; i < n; ++i) y[i] = static_cast<T>(f(x[i]));
  });
}

// f takes and gives a code as int32.
template <class F>
std::unique_ptr<Kernel> map_codes(DType t, std::size_t n, F f) {
  const auto wide = [f](auto x) { return f(static_cast<std::int32_t>(x)); };
  if (t == DType::kInt8) return map_values<std::int8_t>(n, wide);
  if (t == DType::kUint8) return map_values<std::uint8_t>(n, wide);
  return map_values<std::int16_t>(n, wide);
}

}  // namespace litegap
