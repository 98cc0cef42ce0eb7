// What the judges of recurrent operators share.
#pragma once
#include "oracle/product.h"
#include "oracle/sketch.h"

namespace litegap::oracle {

constexpr double kRecurrent = 2e-6;  // float32 steps, against 1

float active_float(float v, Activation a);
// The products of a row with every row of weights; codes: the row is quantized by itself.
std::vector<float> products(const Node& n, std::size_t weights, const std::vector<float>& row,
                            bool symmetric);
std::vector<float> row_of(const Array& a, std::size_t row, std::size_t width);
// Constant weights of a fraction of 1; hybrid: int8 codes.
int small_weights(Sketch& s, bool hybrid, const Shape& shape);
std::span<const Judge> lstm_judges();

}  // namespace litegap::oracle
