// The judge of convolutions and matrix products: every product of an input value and a weight is
// visited one by one, in the runtime's order, and summed as the formulas say.  Slow and obvious.
//
//   ProductCase c = …;
//   auto sums = judge_sums(c, conv_products);      // bias included
//   auto codes = judge_codes(c, sums);             // or judge_floats, judge_hybrid
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/kernel.h"

namespace litegap::oracle {

struct ProductCase {
  OpCode op = OpCode::kConv2d;
  // x [n, h, w, c]; weights o filters of kh x kw; FULLY_CONNECTED: n rows of c, h = w = kh = kw
  // = 1.
  std::int32_t n = 1, h = 1, w = 1, c = 1, o = 1, kh = 1, kw = 1, groups = 1;
  std::int32_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  std::int32_t out_h = 0, out_w = 0;  // TRANSPOSE_CONV only
  Padding padding = Padding::kValid;
  Activation activation = Activation::kNone;
  Dialect dialect = Dialect::kReference;
  DType type = DType::kInt8;  // of x and y: int8, uint8, int16, or float32
  bool hybrid = false;        // type float32, weights int8
  bool asymmetric = false;    // hybrid FULLY_CONNECTED
  bool bias32 = false;        // int16: a 32-bit bias
  bool constant = true;       // weights and bias are known when preparing
  float x_scale = 1, y_scale = 1;
  std::int32_t x_zero = 0, w_zero = 0, y_zero = 0;
  std::vector<float> w_scale;  // one, or one per filter
  std::vector<std::int32_t> x, weights;
  std::vector<std::int64_t> bias;
  std::vector<float> real_x, real_weights, real_bias;

  Shape output_shape() const;
  std::string text() const;  // for failure messages
};

// A row of floats quantized when the operator runs: codes minus the zero point, and their scale.
// `qd8`: as XNNPACK does; else symmetric or asymmetric.
struct Coded {
  std::vector<std::int32_t> codes;
  float scale = 1;
};
Coded code_row(const float* v, std::size_t n, bool qd8, bool symmetric);

// Calls visit(output element, input element, weight element) for every product.
using Visit = std::function<void(std::size_t, std::size_t, std::size_t)>;
using Products = void (*)(const ProductCase&, const Visit&);

std::vector<std::int64_t> judge_sums(const ProductCase& c, Products products);
std::vector<std::int32_t> judge_codes(const ProductCase& c, const std::vector<std::int64_t>& sums);
std::vector<float> judge_floats(const ProductCase& c, Products products);
std::vector<float> judge_hybrid(const ProductCase& c, Products products);

}  // namespace litegap::oracle
