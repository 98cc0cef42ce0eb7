// Kernels that move data: shape, slice, space, resize, comparison and sequence operators.
#pragma once
#include <span>

#include "kernels/kernel.h"

namespace litegap {

// All rows of this family; the table of kernels joins them with the others.
std::span<const KernelRow> shape_kernel_rows();

}  // namespace litegap
