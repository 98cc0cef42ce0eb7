// The conversions of inputs for AVX2 with FMA: codes widened to words, floats to run-time codes.
#pragma once
#include "kernels/gemm.h"

namespace litegap {

// Into the table of AVX2 loops; only where there is one.
void set_conversions_avx2(GemmKernels& kernels);

}  // namespace litegap
