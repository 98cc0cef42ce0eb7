// Moving elements without arithmetic: the one engine below the shape, slice and space operators.
//
// A Move walks up to eight nested loops; each loop has a count and a step (in bytes) on both sides.
// Transposing, slicing, joining, tiling, broadcasting and the block rearrangements are all one Move
// with other steps (docs/numerics.md, section 2.29: codes are moved, scales are never looked at).
//
//   Move m(4, {{rows, row_bytes, 4}, {columns, 4, rows * 4}});   // transposes a float matrix
//   m.run(source, target);
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernel.h"

namespace litegap {

struct MoveLoop {
  std::int64_t count = 1;
  std::int64_t from = 0, to = 0;  // steps in bytes; a step of 0 repeats, a negative one walks back
};

class Move {
 public:
  static constexpr std::size_t kMaxLoops = 16;
  Move() = default;
  // Outermost loop first.  `at_from`, `at_to` are where the first element lies, in bytes.
  Move(std::size_t element_bytes, std::vector<MoveLoop> loops, std::int64_t at_from = 0,
       std::int64_t at_to = 0);
  void run(const void* from, void* to) const noexcept;

 private:
  void row(const std::byte* from, std::byte* to) const noexcept;
  std::size_t bytes_ = 1;  // of one element, after joining contiguous loops
  std::vector<MoveLoop> outer_;
  MoveLoop inner_;
  std::int64_t at_from_ = 0, at_to_ = 0;
  bool empty_ = true;
};

// Bytes of one step along every axis of a dense array.
std::vector<std::int64_t> dense_steps(const Shape& shape, std::size_t element_bytes);

// ---- help for prepare()
// -------------------------------------------------------------------------- Bytes of one element;
// refuses packed types and types without a fixed width.
std::size_t element_bytes(const OpSpec& spec, const Operand& operand);
// Input `i` and output 0 have one type; returns the bytes of an element.
std::size_t expect_same_type(const OpSpec& spec, std::size_t input);
// As constant_integers(), with the project's words for shapes that depend on data.
std::vector<std::int64_t> plan_integers(const OpSpec& spec, std::size_t input, const char* what);
// Brings an axis into [0, rank); refuses others.
std::size_t checked_axis(const OpSpec& spec, std::int64_t axis, std::size_t rank);
// A dimension that fits the shape type; refuses negative and huge ones.
std::int32_t checked_dim(const OpSpec& spec, std::int64_t dim);
// Copies input `i` to output 0 as it lies.
std::unique_ptr<Kernel> copy_kernel(std::size_t input, std::size_t bytes);
std::unique_ptr<Kernel> move_kernel(std::size_t input, Move move);
// Products of the dimensions before and behind an axis.
std::int64_t product(const Shape& shape, std::size_t begin, std::size_t end);

// Rows of the files of this family.
std::span<const KernelRow> join_kernel_rows();
std::span<const KernelRow> value_kernel_rows();
std::span<const KernelRow> slice_kernel_rows();
std::span<const KernelRow> space_kernel_rows();
std::span<const KernelRow> resize_kernel_rows();
std::span<const KernelRow> lstm_kernel_rows();
std::span<const KernelRow> rnn_kernel_rows();
std::span<const KernelRow> compare_kernel_rows();

}  // namespace litegap
