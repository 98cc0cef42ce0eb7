// Reductions over axes: which input element goes to which output element.
//
// Neighbouring axes of one kind are one axis, so that the last one is a run of elements that all go
// to one output, or a row that goes to a row of outputs.  Elements are visited in memory order: a
// float sum is that of the runtime.
#pragma once
#include <array>

#include "kernels/kernel.h"
#include "kernels/vectors.h"

namespace litegap {

struct Reduction {
  static constexpr std::size_t kMaxRank = 8;
  struct Axis {
    std::size_t size = 1, stride = 0;  // of the output; 0 where the axis is reduced
  };
  std::array<Axis, kMaxRank> outer{};  // slowest first
  std::size_t outer_rank = 0;
  Axis inner;
  std::size_t inputs = 1, outputs = 1, count = 1;  // count: inputs of one output
  bool image_mean = false;                         // 4-D, axes {1, 2}, keep_dims
  std::size_t channels = 1;                        // size of the last axis
};

// Reads the axes and sets the output's shape.
Reduction prepare_reduction(OpSpec& spec);

// acc[output] = step(acc[output], input) for each input.
template <class T, class Acc, class Step>
void accumulate(const Reduction& r, const T* in, Acc* acc, Step step) {
  if (r.inputs == 0) return;
  std::array<std::size_t, Reduction::kMaxRank> at{};
  const std::size_t n = r.inner.size;
  std::size_t to = 0;
  for (;; in += n) {
    if (r.inner.stride == 0) {
      Acc a = acc[to];
      for (std::size_t k = 0; k < n; ++k) a = step(a, in[k]);
      acc[to] = a;
    } else {
      for (std::size_t k = 0; k < n; ++k) acc[to + k] = step(acc[to + k], in[k]);
    }
    std::size_t d = r.outer_rank;
    for (; d > 0; --d) {
      const Reduction::Axis& axis = r.outer[d - 1];
      to += axis.stride;
      if (++at[d - 1] < axis.size) break;
      at[d - 1] = 0;
      to -= axis.stride * axis.size;
    }
    if (d == 0) return;
  }
}

// finish(accumulator, output index) makes the output.
template <class T, class Acc, class Step, class Finish>
std::unique_ptr<Kernel> reduce_kernel(const Reduction& r, Acc start, Step step, Finish finish) {
  return make_kernel(
      [=](const Io& io) {
        Acc* acc = reinterpret_cast<Acc*>(io.scratch);
        T* out = static_cast<T*>(io.outputs[0]);
        with_vectors([&] {
          std::fill_n(acc, r.outputs, start);
          accumulate(r, static_cast<const T*>(io.inputs[0]), acc, step);
          for (std::size_t i = 0; i < r.outputs; ++i) out[i] = static_cast<T>(finish(acc[i], i));
        });
      },
      r.outputs * sizeof(Acc));
}

}  // namespace litegap
