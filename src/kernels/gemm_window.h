// Windows of taps over images as tiled matrix products: the common engine of CONV_2D,
// FULLY_CONNECTED, TRANSPOSE_CONV and of DEPTHWISE_CONV_2D with a depth multiplier.
//
// The input is taken strip by strip: some rows of the padded image are converted to what the inner
// loops read (gemm.h) into L2-sized scratch, or read where they lie when no conversion is needed.
// Then panel by panel of weights, tile by tile of pixels: sums into an L1 tile, and the tile into
// output values.
//
//   WindowSpec s;                       // shapes, taps, weights, bias, how to finish
//   auto kernel = make_window_kernel(std::move(s));
#pragma once
#include <memory>
#include <optional>

#include "kernels/gemm.h"
#include "kernels/kernel.h"

namespace litegap {

// A tap reads the padded image at (y, x) from a pixel's origin; `source` is its place ky * kw + kx
// in the weights.
struct Tap {
  std::int32_t y = 0, x = 0;
  std::size_t source = 0;
};

// Output pixels (out_y + i * out_step_y, out_x + j * out_step_x) that see the same taps, in order
// of summation.  A convolution has one grid, a transposed convolution one per phase of its strides.
struct Grid {
  std::int32_t height = 0, width = 0;
  std::int32_t out_y = 0, out_x = 0, out_step_y = 1, out_step_x = 1;
  std::vector<Tap> taps;
};

struct Window {
  std::int32_t batch = 1, in_h = 1, in_w = 1, in_c = 1, out_h = 1, out_w = 1, out_c = 1, groups = 1;
  std::int32_t pad_top = 0, pad_left = 0;  // of the padded image
  std::int32_t step_y = 1, step_x = 1;     // padded image cells from pixel to pixel of a grid
  std::vector<Grid> grids;
  std::size_t source_taps = 1;        // kh * kw
  bool channel_last_weights = false;  // [kh, kw, out_c] instead of [out_c, kh, kw, in_c / groups]
};

// docs/numerics.md, section 6.  Two more are symmetric: kFourBit leaves out NaN, and to
// kSymmetricRow a row of zeros and NaN is one of zeros.
enum class HybridCode : std::uint8_t { kSymmetric, kFourBit, kAsymmetric, kQd8, kSymmetricRow };
inline bool symmetric(HybridCode how) {  // zero point 0
  return how != HybridCode::kAsymmetric && how != HybridCode::kQd8;
}

struct WindowSpec {
  Window window;
  const GemmKernels* kernels = nullptr;
  DType input = DType::kInt8;  // int8, uint8, int16 or float32
  std::int32_t input_zero = 0;
  // Constant weights as the file holds them: float32, or codes from which weight_zero is still to
  // be taken (int8, uint8, int4, int2).  A kernel keeps them packed and lets go of these.  Absent:
  // they are input 1 at run time.
  std::optional<Array> weights;
  DType weight_type = DType::kInt8;
  std::int32_t weight_zero = 0;
  // Bias, one per output channel; empty and bias_input >= 0: an input at run time.
  std::vector<std::int64_t> bias;
  std::vector<float> float_bias;
  int bias_input = -1;
  DType bias_type = DType::kInt32;  // kInt64: 64-bit sums
  int data_input = 0;
  bool wide = false;  // 64-bit sums of int16 activations
  // The end: exactly one.
  std::optional<Requant> requant;
  std::optional<FloatFinish> finish;  // its pointers are set by the kernel
  std::vector<float> weight_scale;    // hybrid: one per output channel
  // Float products are summed in the order of the taps and channels, so that the bits are the
  // runtime's: fused with the addition or rounded before it; from the bias, or from 0 with the bias
  // added last.
  bool fused_multiply_add = false, bias_first = false;
  bool sum_by_tap = false;  // float: the sum of each run of taps from 0, then the sum of these
  // Hybrid: float input, integer weights.
  std::optional<HybridCode> hybrid;
  bool hybrid_per_row = false;  // one code per pixel (of a 1 x 1 window) instead of per image
  // TRANSPOSE_CONV of uint8: the last elements of the whole output, as many as do not fill a block
  // of this size, round ties away from zero.  0: no such rule.
  std::size_t flat_block = 0;
};

std::unique_ptr<Kernel> make_window_kernel(WindowSpec spec);

// A grid of one tap over `rows` rows of `depth` values.
Window flat_window(std::int32_t batch, std::int32_t rows, std::int32_t depth, std::int32_t out_c);

}  // namespace litegap
