// DEPTHWISE_CONV_2D of floats with a multiplier of 1; see depthwise_float.cc.
#pragma once
#include "kernels/gemm_window.h"

namespace litegap {

// `spec.window` has one grid; its taps are summed in their order.  Weights and bias may be inputs 1
// and `bias_input` at run time.
std::unique_ptr<Kernel> make_depthwise_float(WindowSpec spec);

// The loops of an instruction set into its table; only where there is such a table.
void set_depthwise_avx2(GemmKernels& kernels);

}  // namespace litegap
