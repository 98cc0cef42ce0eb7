// Run-time quantization of float activations for int8 weights (docs/numerics.md, section 4.5).
#pragma once
#include <cmath>

#include "kernels/gemm_window.h"

namespace litegap {

// The code of n values, from their range.  Rounding is float32 but for the asymmetric form, which
// divides in double.
RowCode hybrid_code(HybridCode how, const GemmKernels& kernels, const float* values, std::size_t n);

}  // namespace litegap
