// The prepare functions of the operators built on a matrix product.
#pragma once
#include <memory>

#include "kernels/gemm.h"
#include "kernels/kernel.h"

namespace litegap {

std::unique_ptr<Kernel> prepare_conv_2d(OpSpec& spec);
std::unique_ptr<Kernel> prepare_depthwise_conv_2d(OpSpec& spec);
std::unique_ptr<Kernel> prepare_fully_connected(OpSpec& spec);
std::unique_ptr<Kernel> prepare_transpose_conv(OpSpec& spec);

// The same with chosen inner loops: tests run every table the machine has.
std::unique_ptr<Kernel> prepare_conv_2d(OpSpec& spec, const GemmKernels& kernels);
std::unique_ptr<Kernel> prepare_depthwise_conv_2d(OpSpec& spec, const GemmKernels& kernels);
std::unique_ptr<Kernel> prepare_fully_connected(OpSpec& spec, const GemmKernels& kernels);
std::unique_ptr<Kernel> prepare_transpose_conv(OpSpec& spec, const GemmKernels& kernels);

}  // namespace litegap
