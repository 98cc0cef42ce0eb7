// Rows of the operators that compute on values, one list a file; the table of kernels joins them.
#pragma once
#include <span>

#include "kernels/kernel.h"

namespace litegap {

std::span<const KernelRow> elementwise_kernel_rows();   // ADD, SUB, MUL, MAXIMUM, MINIMUM, …
std::span<const KernelRow> divide_kernel_rows();        // DIV, FLOOR_DIV, FLOOR_MOD, POW
std::span<const KernelRow> unary_kernel_rows();         // RELU and relatives, PRELU, HARD_SWISH
std::span<const KernelRow> curve_kernel_rows();         // LOGISTIC, TANH, ELU, GELU, EXP, LOG
std::span<const KernelRow> math_kernel_rows();          // ABS, NEG, SQRT, RSQRT, FLOOR, SIN, …
std::span<const KernelRow> softmax_kernel_rows();       // SOFTMAX
std::span<const KernelRow> log_softmax_kernel_rows();   // LOG_SOFTMAX
std::span<const KernelRow> pool_kernel_rows();          // AVERAGE_POOL_2D, MAX_POOL_2D
std::span<const KernelRow> reduce_kernel_rows();        // MEAN, SUM, REDUCE_MAX, REDUCE_MIN
std::span<const KernelRow> quantize_kernel_rows();      // QUANTIZE, DEQUANTIZE
std::span<const KernelRow> l2norm_kernel_rows();        // L2_NORMALIZATION
std::span<const KernelRow> arg_kernel_rows();           // ARG_MAX, ARG_MIN
std::span<const KernelRow> batch_matmul_kernel_rows();  // BATCH_MATMUL

std::span<const KernelRow> plain_kernel_rows();      // SIGN, BITWISE_XOR, STABLEHLO_ADD, …
std::span<const KernelRow> index_kernel_rows();      // GATHER_ND, SCATTER_ND, ONE_HOT, …
std::span<const KernelRow> order_kernel_rows();      // CUMSUM, TOPK_V2, REVERSE_V2, …
std::span<const KernelRow> spread_kernel_rows();     // DILATE, STABLEHLO_PAD, REDUCE_WINDOW
std::span<const KernelRow> stablehlo_kernel_rows();  // STABLEHLO_GATHER, _SCATTER, _REDUCE_WINDOW
std::span<const KernelRow> random_kernel_rows();     // RANDOM_UNIFORM, MULTINOMIAL, …
std::span<const KernelRow> conv3d_kernel_rows();     // CONV_3D, CONV_3D_TRANSPOSE
std::span<const KernelRow> detection_kernel_rows();  // NON_MAX_SUPPRESSION, postprocessing
std::span<const KernelRow> data_kernel_rows();       // WHERE, UNIQUE
std::span<const KernelRow> spectrum_kernel_rows();   // RFFT2D, spectrogram, MFCC

}  // namespace litegap
