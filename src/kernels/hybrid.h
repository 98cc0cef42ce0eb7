// Run-time quantization of float activations for int8 weights (docs/numerics.md, section 6).
//
// A row without NaN and infinities is coded by its range, value by value.  One with them is coded
// as the runtime's vector code happens to do it: which values a NaN hides from the range depends on
// the lanes they are in, and a NaN's own code on whether it is in a whole block of 8.
//
//   symmetric [1, -2, 0.5]     largest 2, scale 2/127:  codes 64, -127, 32
//   symmetric [4, NaN, 0.5]    the pair (4, NaN) hides the 4: largest 0.5, codes 127, -127, 127
#pragma once
#include <cmath>

#include "kernels/gemm_window.h"

namespace litegap {

// The code of n values, from their range.  Rounding is float32 but for the asymmetric form, which
// divides in double.
RowCode hybrid_code(HybridCode how, const GemmKernels& kernels, const float* values, std::size_t n);

// Does the runtime take n values for zeros?  Its vector code sees no NaN in whole blocks of 4.
bool counts_as_zero(const float* values, std::size_t n);

}  // namespace litegap
