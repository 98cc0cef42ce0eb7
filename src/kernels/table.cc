#include <algorithm>
#include <vector>

#include "kernels/arithmetic_ops.h"
#include "kernels/gemm_ops.h"
#include "kernels/lsh.h"
#include "kernels/shape_kernels.h"

namespace litegap {
namespace {

std::vector<KernelRow> build_table() {
  std::vector<KernelRow> rows = {
      {OpCode::kConv2d, prepare_conv_2d, "float32 int8 uint8 int16 hybrid"},
      {OpCode::kDepthwiseConv2d, prepare_depthwise_conv_2d, "float32 int8 uint8 int16 hybrid"},
      {OpCode::kFullyConnected, prepare_fully_connected, "float32 int8 uint8 int16 hybrid"},
      {OpCode::kTransposeConv, prepare_transpose_conv, "float32 int8 uint8 int16 hybrid"},
  };
  for (const std::span<const KernelRow> family :
       {elementwise_kernel_rows(),  divide_kernel_rows(),   unary_kernel_rows(),
        curve_kernel_rows(),        math_kernel_rows(),     softmax_kernel_rows(),
        log_softmax_kernel_rows(),  pool_kernel_rows(),     reduce_kernel_rows(),
        quantize_kernel_rows(),     l2norm_kernel_rows(),   arg_kernel_rows(),
        batch_matmul_kernel_rows(), plain_kernel_rows(),    index_kernel_rows(),
        order_kernel_rows(),        spread_kernel_rows(),   conv3d_kernel_rows(),
        detection_kernel_rows(),    spectrum_kernel_rows(), data_kernel_rows(),
        stablehlo_kernel_rows(),    random_kernel_rows(),   lsh_kernel_rows(),
        shape_kernel_rows()}) {
    rows.insert(rows.end(), family.begin(), family.end());
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const KernelRow& a, const KernelRow& b) { return a.code < b.code; });
  return rows;
}

}  // namespace

std::span<const KernelRow> kernel_table() {
  static const std::vector<KernelRow> rows = build_table();
  return rows;
}

const KernelRow* kernel_row(OpCode code) {
  if (code == OpCode::kCustom) return nullptr;  // has a row for each name
  const auto rows = kernel_table();
  const auto found = std::lower_bound(rows.begin(), rows.end(), code,
                                      [](const KernelRow& row, OpCode c) { return row.code < c; });
  return found == rows.end() || found->code != code ? nullptr : &*found;
}

const KernelRow* kernel_row(const Op& op) {
  if (op.code != OpCode::kCustom) return kernel_row(op.code);
  for (const KernelRow& row : kernel_table()) {
    if (row.code == OpCode::kCustom && op.custom_code == row.custom) return &row;
  }
  return nullptr;
}

}  // namespace litegap
