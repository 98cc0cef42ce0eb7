// Weights with a scale per block of neighbours in a row (blockwise.cc).
#pragma once
#include <memory>
#include <vector>

#include "kernels/kernel.h"

namespace litegap {

// Whether the built-in kernels have a form of their own for the 4-bit weights of a FULLY_CONNECTED:
// rows of an even length from 32 on, and 4 of them.  Others are computed as 8-bit weights.
bool four_bit_form(const Operand& weights);

// The scales of a constant [channels, depth] whose scales are a tensor of float16,
// [channels, depth / block] in any shape.  Refuses blocks that do not fill a row, and other scales.
std::vector<float> block_scales(const OpSpec& spec, const Operand& weights);

// FULLY_CONNECTED of `rows` float32 rows by blockwise weights.  `xnn`: XNNPACK takes the operator
// if the blocks suit it.
std::unique_ptr<Kernel> prepare_blockwise(const OpSpec& spec, std::size_t rows, bool xnn);

}  // namespace litegap
