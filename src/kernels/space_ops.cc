#include "kernels/move.h"

namespace litegap {

std::span<const KernelRow> space_kernel_rows() { return {}; }

}  // namespace litegap
