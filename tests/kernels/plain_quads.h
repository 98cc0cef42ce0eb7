// The generic table with quads of either sign in plain C++, so that what feeds them is tested on
// every machine.
#pragma once
#include <cstring>
#include <type_traits>

#include "kernels/gemm.h"

namespace litegap::oracle {

// X: what a quad is made of, int8 or uint8.  Sums wrap modulo 2^32.
template <int R, class X>
void plain_quads_tile(const GemmTask& task) {
  constexpr int kNr = 16;
  auto* tile = static_cast<std::uint32_t*>(task.tile);
  for (std::size_t row = 0; row < R * task.tiles; ++row, tile += kNr) {
    std::memcpy(tile, task.start, kNr * sizeof *tile);
    for (int n = 0; n < kNr && task.zeros != nullptr; ++n)
      tile[n] -= static_cast<std::uint32_t>(task.zeros[row] * std::int64_t{task.weight_sums[n]});
    const auto* w = static_cast<const std::int8_t*>(task.weights);
    for (std::size_t s = 0; s < task.segment_count; ++s) {
      const Segment segment = task.segments[s];
      const auto* x = reinterpret_cast<const X*>(task.rows[row] + segment.offset);
      for (std::ptrdiff_t g = 0; g < segment.groups; ++g, w += 4 * kNr) {
        for (int n = 0; n < kNr; ++n) {
          for (int k = 0; k < 4; ++k)
            tile[n] += static_cast<std::uint32_t>(x[4 * g + k] * w[4 * n + k]);
        }
      }
    }
  }
}

template <class X>
const GemmKernels& plain_quads() {
  static const GemmKernels kernels = [] {
    GemmKernels k = gemm_generic();
    k.name = std::is_signed_v<X> ? "generic, signed quads" : "generic, unsigned quads";
    k.quads = {plain_quads_tile<1, X>, plain_quads_tile<2, X>, plain_quads_tile<3, X>,
               plain_quads_tile<4, X>};
    k.signed_quads = std::is_signed_v<X>;
    return k;
  }();
  return kernels;
}

}  // namespace litegap::oracle
