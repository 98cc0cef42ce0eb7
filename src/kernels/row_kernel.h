// Kernels whose work threads can share.
//
// One sample waits for one thread unless an operator is cut: rows() pieces, each of which writes
// its own part of the output and reads nothing that another writes.
//
//   const auto* shared = dynamic_cast<const RowKernel*>(kernel);      // once, when planning
//   shared->run_rows(io_of_thread_0, 0, shared->rows() / 2);          // at the same time,
//   shared->run_rows(io_of_thread_1, shared->rows() / 2, shared->rows());  // own scratch
#pragma once
#include <algorithm>

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

// The rows [begin, end) of images of `height` rows, image by image: body(image, first row, behind
// the last one).
template <class Body>
void each_image(std::size_t begin, std::size_t end, std::size_t height, const Body& body) {
  for (std::size_t row = begin; row < end;) {
    const std::size_t image = row / height, next = std::min(end, (image + 1) * height);
    body(image, static_cast<std::int32_t>(row - image * height),
         static_cast<std::int32_t>(next - image * height));
    row = next;
  }
}

}  // namespace litegap
