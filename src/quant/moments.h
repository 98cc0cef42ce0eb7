// First and second moments of what the weights of a layer meet: all that second-order rounding and
// bias correction need to know about data.
//
// A layer is seen as O rows of K weights times patches x of K inputs (the taps under a kernel).  A
// change D of the weights changes the outputs by D x: on average by D m with m = E[x], and in the
// mean square by D H D^T with H = E[x x^T].  Grouped layers have one m and H a group; a depthwise
// convolution has a group a channel, of K = taps.
//
//   FULLY_CONNECTED [O, K]         1 group,  patches are its rows
//   CONV_2D [O, h, w, C]           C_in / C groups of K = h w C
//   DEPTHWISE_CONV_2D [1, h, w, O] C_in groups of K = h w
#pragma once
#include <map>
#include <vector>

#include "quant/layers.h"
#include "run/setup.h"

namespace litegap {

struct Moments {
  std::size_t groups = 0, k = 0, rows = 0;  // rows: patches seen
  std::vector<double> mean;                 // [groups, k]
  std::vector<double> gram;                 // [groups, k, k]
  const double* h(std::size_t group) const { return gram.data() + group * k * k; }
  const double* m(std::size_t group) const { return mean.data() + group * k; }
};

// By operator, for the layers that can be seen so (constant weights; no TRANSPOSE_CONV).  Layers
// whose matrices would not fit into `memory` bytes together are done in several passes; one whose
// own do not is left out.  Of large images a fixed pattern of patches is taken.
std::map<int, Moments> observe_moments(const Setup& setup, const Dataset& data,
                                       const PredictOptions& options,
                                       std::uint64_t memory = 256u << 20);

// Weights as rows [O][K] and back, in the order of the patches.
std::vector<float> weight_rows(const Array& weights, OpCode code);
Array weights_from_rows(const std::vector<float>& rows, const Shape& shape, OpCode code);
std::size_t weight_row_count(const Shape& shape, OpCode code);

}  // namespace litegap
