// LSH_PROJECTION (lsh.cc).
#pragma once
#include <span>

#include "kernels/kernel.h"

namespace litegap {

std::span<const KernelRow> lsh_kernel_rows();

}  // namespace litegap
