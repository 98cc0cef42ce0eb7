// The judge of STABLEHLO_GATHER, STABLEHLO_SCATTER and STABLEHLO_REDUCE_WINDOW, element by element
// from the definitions of StableHLO, and of FULLY_CONNECTED by weights in blocks.
#pragma once
#include <optional>

#include "kernels/kernel.h"
#include "oracle/grid.h"

namespace litegap::oracle {

Grid stablehlo_gather(const Grid& operand, const Grid& indices, const StablehloGatherAttrs& a);
// No body: an update replaces what is there.
Grid stablehlo_scatter(const Grid& operand, const Grid& indices, const Grid& updates,
                       const StablehloScatterAttrs& a, std::optional<OpCode> body, DType type);
Grid stablehlo_window(const Grid& x, double start, const StablehloReduceWindowAttrs& a, OpCode body,
                      DType type);

// A row of input, its codes q = code + zero point away, and scale.
struct CodedRow {
  std::vector<std::int32_t> code;
  float scale = 1;
  std::int32_t zero = 0;
};
enum class RowRule { kSymmetric, kAsymmetric, kQd8 };  // docs/numerics.md, section 6
CodedRow coded_row(const std::vector<float>& row, RowRule rule);

struct BlockCase {
  std::int32_t rows = 1, depth = 1, channels = 1, block = 1;
  std::vector<float> x, bias, scale;  // scale: [channels][depth / block]
  std::vector<std::int32_t> weights;  // codes, [channels][depth]
};
std::vector<float> blockwise_product(const BlockCase& c, Dialect dialect);

// scale: one, or one a channel.
std::vector<float> sparse_product(const BlockCase& c, bool asymmetric);

}  // namespace litegap::oracle
