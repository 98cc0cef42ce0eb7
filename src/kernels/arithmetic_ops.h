// Prepare functions of the operators that compute on values, element by element or over windows.
#pragma once
#include "kernels/kernel.h"

namespace litegap {

std::unique_ptr<Kernel> prepare_add_sub(OpSpec& spec);
std::unique_ptr<Kernel> prepare_mul(OpSpec& spec);
std::unique_ptr<Kernel> prepare_div(OpSpec& spec);
std::unique_ptr<Kernel> prepare_max_min(OpSpec& spec);
std::unique_ptr<Kernel> prepare_squared_difference(OpSpec& spec);
std::unique_ptr<Kernel> prepare_average_pool(OpSpec& spec);
std::unique_ptr<Kernel> prepare_max_pool(OpSpec& spec);
std::unique_ptr<Kernel> prepare_reduce(OpSpec& spec);       // MEAN, SUM, REDUCE_MAX, REDUCE_MIN
std::unique_ptr<Kernel> prepare_softmax(OpSpec& spec);
std::unique_ptr<Kernel> prepare_table_op(OpSpec& spec);     // LOGISTIC, TANH
std::unique_ptr<Kernel> prepare_relu(OpSpec& spec);         // RELU, RELU6, RELU_N1_TO_1, RELU_0_TO_1
std::unique_ptr<Kernel> prepare_leaky_relu(OpSpec& spec);
std::unique_ptr<Kernel> prepare_prelu(OpSpec& spec);
std::unique_ptr<Kernel> prepare_hard_swish(OpSpec& spec);
std::unique_ptr<Kernel> prepare_float_unary(OpSpec& spec);  // ABS, NEG, SQRT, RSQRT, SQUARE, EXP, LOG, FLOOR, CEIL, SIN, COS
std::unique_ptr<Kernel> prepare_quantize(OpSpec& spec);
std::unique_ptr<Kernel> prepare_dequantize(OpSpec& spec);
std::unique_ptr<Kernel> prepare_l2_normalization(OpSpec& spec);
std::unique_ptr<Kernel> prepare_arg(OpSpec& spec);          // ARG_MAX, ARG_MIN

}  // namespace litegap
