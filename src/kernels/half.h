// Operators on float16: the float32 kernel between two conversions.
//
// The runtime computes a float16 element in float32 and rounds once, or in XNNPACK's own float16
// arithmetic; both agree with this to the last bits of a float16.
//
//   {OpCode::kAdd, with_half<prepare_add_sub>, …}      // in every dialect
//   {OpCode::kSub, with_half_xnn<prepare_add_sub>, …}  // only XNNPACK takes it
#pragma once
#include "kernels/kernel.h"

namespace litegap {

bool any_half(const OpSpec& spec);
std::unique_ptr<Kernel> prepare_half(OpSpec& spec, Prepare prepare);

template <Prepare prepare>
std::unique_ptr<Kernel> with_half(OpSpec& spec) {
  return any_half(spec) ? prepare_half(spec, prepare) : prepare(spec);
}
template <Prepare prepare>
std::unique_ptr<Kernel> with_half_xnn(OpSpec& spec) {
  const bool xnn = spec.dialect == Dialect::kXnnpack;
  return xnn && any_half(spec) ? prepare_half(spec, prepare) : prepare(spec);
}

}  // namespace litegap
