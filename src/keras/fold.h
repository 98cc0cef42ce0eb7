// Batch normalization with its moving statistics is a factor and a shift per channel, which the
// operator before it takes into its weights and bias:
//
//   k = gamma / sqrt(variance + epsilon),   W' = W k,   b' = b k + (beta - mean k)
//
//   gamma 2, variance 3.999, epsilon 0.001:  k = 1
//   b 1, beta 0.25, mean 0.5:                b' = 1 + (0.25 - 0.5) = 0.75
//
// The order of the operations is the converter's: (b - mean) k + beta is up to 20 ulp from its
// biases.  The file is made by these two functions, and so is the training that has to know it.
#pragma once
#include <cmath>

namespace litegap {

template <class T>
T fold_factor(T gamma, T variance, T epsilon) {
  return gamma * (1 / std::sqrt(variance + epsilon));
}

template <class T>
T fold_bias(T bias, T factor, T beta, T mean) {
  return bias * factor + (beta - mean * factor);
}

}  // namespace litegap
