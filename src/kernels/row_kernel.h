// Kernels whose work threads can share.
//
// One sample waits for one thread unless an operator is cut: rows() pieces, each of which writes
// its own part of the output and reads nothing that another writes.
//
//   const auto* shared = dynamic_cast<const RowKernel*>(kernel);      // once, when planning
//   shared->run_rows(io_of_thread_0, 0, shared->rows() / 2);          // at the same time,
//   shared->run_rows(io_of_thread_1, shared->rows() / 2, shared->rows());  // own scratch
#pragma once
#include "kernels/kernel.h"

namespace litegap {

// Below so many products two threads take longer than one: the second is told to begin, and waited
// for.
inline constexpr std::size_t kLeastShared = 200'000;

class RowKernel : public Kernel {
 public:
  // Into how many pieces run() can be cut.
  virtual std::size_t rows() const = 0;
  // How many products of two values run() computes.
  virtual std::size_t products() const = 0;
  // The pieces [begin, end); all of them are what run() does.  Needs scratch_bytes() of its own.
  virtual void run_rows(const Io& io, std::size_t begin, std::size_t end) const noexcept = 0;
};

}  // namespace litegap
