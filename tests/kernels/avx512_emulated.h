// The AVX-512 table of inner loops in plain C++; see avx512_emulated.cc.
#pragma once
#include "kernels/gemm.h"

namespace litegap {

// null on other processors than x86-64 (the parts that it shares with AVX2 are those).
const GemmKernels* gemm_avx512_emulated();
// The same with the blocks of AMX (amx_emulated.cc).
const GemmKernels* gemm_amx_emulated();

}  // namespace litegap
