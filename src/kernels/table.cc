#include <algorithm>
#include <vector>

#include "kernels/arithmetic_ops.h"
#include "kernels/gemm_ops.h"
#include "kernels/shape_kernels.h"

namespace litegap {
namespace {

std::vector<KernelRow> build_table() {
  std::vector<KernelRow> rows = {
      {OpCode::kConv2d, prepare_conv_2d},
      {OpCode::kDepthwiseConv2d, prepare_depthwise_conv_2d},
      {OpCode::kFullyConnected, prepare_fully_connected},
      {OpCode::kTransposeConv, prepare_transpose_conv},
      {OpCode::kAdd, prepare_add_sub},
      {OpCode::kSub, prepare_add_sub},
      {OpCode::kMul, prepare_mul},
      {OpCode::kDiv, prepare_div},
      {OpCode::kMaximum, prepare_max_min},
      {OpCode::kMinimum, prepare_max_min},
      {OpCode::kSquaredDifference, prepare_squared_difference},
      {OpCode::kAveragePool2d, prepare_average_pool},
      {OpCode::kMaxPool2d, prepare_max_pool},
      {OpCode::kMean, prepare_reduce},
      {OpCode::kSum, prepare_reduce},
      {OpCode::kReduceMax, prepare_reduce},
      {OpCode::kReduceMin, prepare_reduce},
      {OpCode::kSoftmax, prepare_softmax},
      {OpCode::kLogistic, prepare_table_op},
      {OpCode::kTanh, prepare_table_op},
      {OpCode::kRelu, prepare_relu},
      {OpCode::kRelu6, prepare_relu},
      {OpCode::kReluN1To1, prepare_relu},
      {OpCode::kRelu0To1, prepare_relu},
      {OpCode::kLeakyRelu, prepare_leaky_relu},
      {OpCode::kPrelu, prepare_prelu},
      {OpCode::kHardSwish, prepare_hard_swish},
      {OpCode::kAbs, prepare_float_unary},
      {OpCode::kNeg, prepare_float_unary},
      {OpCode::kSqrt, prepare_float_unary},
      {OpCode::kRsqrt, prepare_float_unary},
      {OpCode::kSquare, prepare_float_unary},
      {OpCode::kExp, prepare_float_unary},
      {OpCode::kLog, prepare_float_unary},
      {OpCode::kFloor, prepare_float_unary},
      {OpCode::kSin, prepare_float_unary},
      {OpCode::kCos, prepare_float_unary},
      {OpCode::kQuantize, prepare_quantize},
      {OpCode::kDequantize, prepare_dequantize},
      {OpCode::kL2Normalization, prepare_l2_normalization},
      {OpCode::kArgMax, prepare_arg},
      {OpCode::kArgMin, prepare_arg},
  };
  for (const KernelRow& row : shape_kernel_rows()) rows.push_back(row);
  std::stable_sort(rows.begin(), rows.end(), [](const KernelRow& a, const KernelRow& b) { return a.code < b.code; });
  return rows;
}

}  // namespace

std::span<const KernelRow> kernel_table() {
  static const std::vector<KernelRow> rows = build_table();
  return rows;
}

const KernelRow* kernel_row(OpCode code) {
  const auto rows = kernel_table();
  const auto found = std::lower_bound(rows.begin(), rows.end(), code, [](const KernelRow& row, OpCode c) { return row.code < c; });
  return found == rows.end() || found->code != code ? nullptr : &*found;
}

}  // namespace litegap
