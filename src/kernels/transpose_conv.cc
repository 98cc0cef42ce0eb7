#include "kernels/gemm_ops.h"

namespace litegap {

std::unique_ptr<Kernel> prepare_transpose_conv(OpSpec& spec) { refuse(spec, "not supported yet"); }

}  // namespace litegap
