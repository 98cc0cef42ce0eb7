// CONV_2D of floats from one channel to few; see narrow_conv.cc.
#pragma once
#include "kernels/gemm_window.h"

namespace litegap {

// Whether make_narrow_conv() takes a window, and is the faster one.
bool is_narrow_conv(const WindowSpec& spec);

// Products are fused and start from the bias; weights and bias are constants.
std::unique_ptr<Kernel> make_narrow_conv(WindowSpec spec);

// The loop of an instruction set into its table; only where there is such a table.
void set_narrow_avx2(GemmKernels& kernels);
void set_narrow_avx512(GemmKernels& kernels);  // after the former

}  // namespace litegap
