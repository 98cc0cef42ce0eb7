// DEPTH_TO_SPACE, SPACE_TO_DEPTH, BATCH_TO_SPACE_ND, SPACE_TO_BATCH_ND: blocks of pixels become
// channels or batches and back (docs/numerics.md, section 2.29).
#include <algorithm>
#include <cstring>

#include "kernels/move.h"

namespace litegap {
namespace {

void expect_block_type(const OpSpec& spec) {
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
    case DType::kUint8:
    case DType::kInt8:
    case DType::kInt32:
    case DType::kInt64:
      return;
    default:
      refuse(spec, "cannot move blocks of type {}", dtype_name(spec.inputs[0].dtype));
  }
}

// In the view [batch, height, block, width, block, depth] of the large image, the small one is
// [batch, height, width, block, block, depth].
std::vector<MoveLoop> block_loops(const Shape& small, std::int64_t block, std::int64_t unit,
                                  bool to_space) {
  const std::int64_t h = small[1], w = small[2], c = small[3] / (block * block);
  const std::int64_t row = w * block * c * unit, pixel = c * unit;
  const std::int64_t cell = small[3] * unit;
  const std::vector<MoveLoop> loops = {{small[0], h * w * cell, h * block * row},
                                       {h, w * cell, block * row},
                                       {block, block * pixel, row},
                                       {w, cell, block * pixel},
                                       {block * c, unit, unit}};
  if (to_space) return loops;
  std::vector<MoveLoop> back;
  for (const MoveLoop& l : loops) back.push_back({l.count, l.to, l.from});
  return back;
}

std::unique_ptr<Kernel> prepare_depth_to_space(OpSpec& spec) {
  const std::int64_t block = attrs_of<BlockSizeAttrs>(spec).block_size;
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  expect_block_type(spec);
  const Shape& in = spec.inputs[0].shape;
  if (in.size() != 4) refuse(spec, "its input has shape {}, expected 4 dimensions", shape_text(in));
  if (block < 1 || block > (1 << 15) || in[3] % (block * block) != 0) {
    refuse(spec, "cannot turn {} channels into blocks of {} by {}", in[3], block, block);
  }
  spec.outputs[0].shape = {in[0], checked_dim(spec, in[1] * block),
                           checked_dim(spec, in[2] * block),
                           checked_dim(spec, in[3] / (block * block))};
  return move_kernel(0, Move(unit, block_loops(in, block, static_cast<std::int64_t>(unit), true)));
}

std::unique_ptr<Kernel> prepare_space_to_depth(OpSpec& spec) {
  const std::int64_t block = attrs_of<BlockSizeAttrs>(spec).block_size;
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  expect_block_type(spec);
  const Shape& in = spec.inputs[0].shape;
  if (in.size() != 4) refuse(spec, "its input has shape {}, expected 4 dimensions", shape_text(in));
  if (block < 1 || block > (1 << 15) || in[1] % block != 0 || in[2] % block != 0) {
    refuse(spec, "cannot cut {} into blocks of {} by {}", shape_text(in), block, block);
  }
  const Shape out = {in[0], checked_dim(spec, in[1] / block), checked_dim(spec, in[2] / block),
                     checked_dim(spec, in[3] * block * block)};
  spec.outputs[0].shape = out;
  return move_kernel(0,
                     Move(unit, block_loops(out, block, static_cast<std::int64_t>(unit), false)));
}

// The operands shared by the two batch operators, for two spatial axes (a rank-3 tensor is seen as
// one with a width of 1).
struct BatchBlocks {
  std::size_t unit = 1;
  Shape in;  // 4 dimensions
  std::int64_t block[2] = {1, 1};
  std::int64_t before[2] = {0, 0}, after[2] = {0, 0};
  bool flat = false;  // the file has 3 dimensions
};

BatchBlocks read_blocks(const OpSpec& spec, const char* edges) {
  expect_inputs(spec, 3, 3);
  expect_outputs(spec, 1);
  BatchBlocks b;
  b.unit = expect_same_type(spec, 0);
  b.in = spec.inputs[0].shape;
  if (b.in.size() != 3 && b.in.size() != 4) {
    refuse(spec, "its input has shape {}, expected 3 or 4 dimensions", shape_text(b.in));
  }
  b.flat = b.in.size() == 3;
  const std::size_t axes = b.in.size() - 2;
  const auto block = plan_integers(spec, 1, "block shape"), edge = plan_integers(spec, 2, edges);
  if (block.size() != axes || edge.size() != 2 * axes) {
    refuse(spec, "has {} block sizes and {} {} for {} spatial dimensions", block.size(),
           edge.size(), edges, axes);
  }
  if (b.flat) b.in.insert(b.in.begin() + 2, 1);
  for (std::size_t d = 0; d < axes; ++d) {
    b.block[d] = checked_dim(spec, block[d]);
    b.before[d] = checked_dim(spec, edge[2 * d]);
    b.after[d] = checked_dim(spec, edge[2 * d + 1]);
    if (b.block[d] < 1) refuse(spec, "a block of {}", block[d]);
  }
  return b;
}

void set_output(OpSpec& spec, const BatchBlocks& b, Shape out) {
  shape_elements(out);
  if (b.flat) out.erase(out.begin() + 2);
  spec.outputs[0].shape = std::move(out);
}

// One move for every place in the block and every image.
class BlocksKernel final : public Kernel {
 public:
  BlocksKernel(std::vector<Move> moves, std::size_t bytes, std::vector<std::byte> fill)
      : moves_(std::move(moves)), bytes_(bytes), fill_(std::move(fill)) {}
  void run(const Io& io) const noexcept override {
    if (!fill_.empty()) {
      auto* out = static_cast<std::byte*>(io.outputs[0]);
      for (std::size_t i = 0; i < bytes_; i += fill_.size())
        std::memcpy(out + i, fill_.data(), fill_.size());
    }
    for (const Move& m : moves_) m.run(io.inputs[0], io.outputs[0]);
  }

 private:
  std::vector<Move> moves_;
  std::size_t bytes_;
  std::vector<std::byte> fill_;  // empty: the moves write everything
};

// Along one axis: the first small position whose large position (small * block + place - before)
// lies inside [0, large), and how many there are.
struct Span1 {
  std::int64_t first = 0, count = 0;
};
Span1 inside(std::int64_t small, std::int64_t large, std::int64_t block, std::int64_t place,
             std::int64_t before) {
  const std::int64_t shift = place - before;
  const std::int64_t first = shift >= 0 ? 0 : (-shift + block - 1) / block;
  const std::int64_t last =
      large - 1 - shift < 0 ? -1 : std::min(small - 1, (large - 1 - shift) / block);
  return {first, last >= first ? last - first + 1 : 0};
}

// The moves between the large image [batch, H, W, C] and the small ones [by * bx * batch, h, w, C].
std::vector<Move> block_moves(const OpSpec& spec, const BatchBlocks& b, const Shape& large,
                              const Shape& small, bool to_large) {
  const auto ls = dense_steps(large, b.unit), ss = dense_steps(small, b.unit);
  if (b.block[0] * b.block[1] * large[0] > (1 << 22)) refuse(spec, "has too many blocks");
  std::vector<Move> moves;
  for (std::int64_t y = 0; y < b.block[0]; ++y) {
    for (std::int64_t x = 0; x < b.block[1]; ++x) {
      const Span1 v = inside(small[1], large[1], b.block[0], y, b.before[0]);
      const Span1 h = inside(small[2], large[2], b.block[1], x, b.before[1]);
      if (v.count == 0 || h.count == 0) continue;
      const std::int64_t row = v.first * b.block[0] + y - b.before[0],
                         column = h.first * b.block[1] + x - b.before[1];
      const std::int64_t at_large = row * ls[1] + column * ls[2];
      const std::int64_t at_small =
          (y * b.block[1] + x) * large[0] * ss[0] + v.first * ss[1] + h.first * ss[2];
      std::vector<MoveLoop> loops = {{large[0], ss[0], ls[0]},
                                     {v.count, ss[1], ls[1] * b.block[0]},
                                     {h.count, ss[2], ls[2] * b.block[1]},
                                     {large[3], ss[3], ls[3]}};
      if (!to_large) {
        for (MoveLoop& l : loops) std::swap(l.from, l.to);
      }
      moves.emplace_back(b.unit, loops, to_large ? at_small : at_large,
                         to_large ? at_large : at_small);
    }
  }
  return moves;
}

std::unique_ptr<Kernel> prepare_batch_to_space(OpSpec& spec) {
  const BatchBlocks b = read_blocks(spec, "crops");
  const std::int64_t blocks = b.block[0] * b.block[1];
  if (b.in[0] % blocks != 0)
    refuse(spec, "cannot part a batch of {} into blocks of {}", b.in[0], blocks);
  const std::int64_t height = b.in[1] * b.block[0] - b.before[0] - b.after[0];
  const std::int64_t width = b.in[2] * b.block[1] - b.before[1] - b.after[1];
  const Shape out = {checked_dim(spec, b.in[0] / blocks), checked_dim(spec, height),
                     checked_dim(spec, width), b.in[3]};
  set_output(spec, b, out);
  return std::make_unique<BlocksKernel>(block_moves(spec, b, out, b.in, true), 0,
                                        std::vector<std::byte>{});
}

std::unique_ptr<Kernel> prepare_space_to_batch(OpSpec& spec) {
  const BatchBlocks b = read_blocks(spec, "paddings");
  const std::int64_t height = b.in[1] + b.before[0] + b.after[0],
                     width = b.in[2] + b.before[1] + b.after[1];
  if (height % b.block[0] != 0 || width % b.block[1] != 0) {
    refuse(spec, "cannot cut {} by {} into blocks of {} by {}", height, width, b.block[0],
           b.block[1]);
  }
  const Shape out = {checked_dim(spec, b.in[0] * b.block[0] * b.block[1]),
                     checked_dim(spec, height / b.block[0]), checked_dim(spec, width / b.block[1]),
                     b.in[3]};
  set_output(spec, b, out);
  const bool padded = b.before[0] + b.after[0] + b.before[1] + b.after[1] > 0;
  std::vector<std::byte> fill;
  if (padded) {
    fill.assign(b.unit, std::byte{0});
    const Quant* q = spec.outputs[0].quant;
    const bool codes = spec.outputs[0].dtype == DType::kInt8 ||
                       spec.outputs[0].dtype == DType::kUint8 ||
                       spec.outputs[0].dtype == DType::kInt16;
    if (codes && q != nullptr && !q->empty()) {
      const std::int64_t zero = q->zero_point[0];
      std::memcpy(fill.data(), &zero, b.unit);  // little endian, as the file
    }
  }
  const std::size_t bytes = shape_elements(out) * b.unit;
  return std::make_unique<BlocksKernel>(block_moves(spec, b, b.in, out, false), bytes,
                                        std::move(fill));
}

constexpr KernelRow kRows[] = {
    {OpCode::kDepthToSpace, prepare_depth_to_space, "any"},
    {OpCode::kSpaceToDepth, prepare_space_to_depth, "any"},
    {OpCode::kBatchToSpaceNd, prepare_batch_to_space, "any"},
    {OpCode::kSpaceToBatchNd, prepare_space_to_batch, "any"},
};

}  // namespace

std::span<const KernelRow> space_kernel_rows() { return kRows; }

}  // namespace litegap
