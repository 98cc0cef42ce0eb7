// The prepare functions of the operators built on a matrix product.
#pragma once
#include <memory>

#include "kernels/kernel.h"

namespace litegap {

std::unique_ptr<Kernel> prepare_conv_2d(OpSpec& spec);
std::unique_ptr<Kernel> prepare_depthwise_conv_2d(OpSpec& spec);
std::unique_ptr<Kernel> prepare_fully_connected(OpSpec& spec);
std::unique_ptr<Kernel> prepare_transpose_conv(OpSpec& spec);

}  // namespace litegap
