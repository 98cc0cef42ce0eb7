// Products of an int8 matrix and one row of 16-bit words, for the recurrent operators.
//
// The matrix is packed for the inner loops of gemm.h: panels of nr rows, in a panel pairs of
// columns.  Matrices of one width can lie below each other, so that the gates of a cell are one.
//
//   PackedRows m;
//   m.add(weights, 80, 28, start);    // 80 rows of 28
//   m.run(words, sums);               // sums[r] = start[r] + weights[r] * words, r < m.rows()
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/gemm.h"

namespace litegap {

class PackedRows {
 public:
  // `start` has a value a row; where it is empty sums start from 0.
  void add(const std::int8_t* weights, std::int32_t rows, std::int32_t columns,
           std::span<const std::int32_t> start) {
    nr_ = static_cast<std::size_t>(gemm_best().nr);
    pairs_ = (static_cast<std::size_t>(columns) + 1) / 2;
    for (std::int32_t r = 0; r < rows; ++r, ++rows_) {
      const std::size_t panel = rows_ / nr_ * nr_ * 2 * pairs_;
      packed_.resize(panel + nr_ * 2 * pairs_);
      start_.resize((rows_ / nr_ + 1) * nr_);
      if (!start.empty()) start_[rows_] = start[static_cast<std::size_t>(r)];
      for (std::int32_t k = 0; k < columns; ++k) {
        const auto c = static_cast<std::size_t>(k);
        packed_[panel + (c / 2 * nr_ + rows_ % nr_) * 2 + c % 2] =
            weights[std::int64_t{r} * columns + k];
      }
    }
  }
  bool empty() const { return rows_ == 0; }
  std::size_t rows() const { return rows_; }
  std::size_t words() const { return 2 * pairs_; }    // that run() reads
  std::size_t sums() const { return start_.size(); }  // that it writes: whole panels

  // `x` has words() words, of an odd number of columns any last one; `sums` is 64-byte aligned.
  void run(const std::int16_t* x, std::int32_t* sums) const noexcept { run(x, sums, 0, rows_); }
  // Only `count` rows from row `begin` on, a multiple of kMostSums; sums[0] is of `begin`.
  static constexpr std::size_t kMostSums = 256;
  void run(const std::int16_t* x, std::int32_t* sums, std::size_t begin,
           std::size_t count) const noexcept {
    const GemmKernels& k = gemm_best();
    const auto* row = reinterpret_cast<const std::byte*>(x);
    const Segment all{0, static_cast<std::ptrdiff_t>(pairs_)};
    for (std::size_t r = begin; r < begin + count; r += nr_) {
      GemmTask task;
      task.rows = &row;
      task.segments = &all;
      task.segment_count = 1;
      task.weights = packed_.data() + r * 2 * pairs_;
      task.start = start_.data() + r;
      task.tile = sums + (r - begin);
      k.pairs8[0](task);
    }
  }

 private:
  std::size_t nr_ = 0, pairs_ = 0, rows_ = 0;
  std::vector<std::int8_t> packed_;
  std::vector<std::int32_t> start_;
};

}  // namespace litegap
