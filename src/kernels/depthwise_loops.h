// The inner loops of float depthwise convolutions for vectors of any width.  Inside of one source
// file an instruction set only, which says before including this
//
//   LITEGAP_LOOP    the attributes of a function that is inlined into one for the instruction set
//
// and passes the vectors as L: kLanes floats of type L::V, the lanes that are touched as L::Mask.
#pragma once
#include "kernels/gemm.h"

namespace litegap {
namespace {

template <bool kFma, class L>
LITEGAP_LOOP typename L::V depthwise_add(typename L::V x, typename L::V w, typename L::V sum) {
  if constexpr (kFma) return L::fused(x, w, sum);
  return L::add(sum, L::multiply(x, w));
}

// P neighbouring pixels of one block of channels share each load of weights.  V: vectors of a
// block; kWhole: all their lanes are real, else only those of the masks are touched.
template <class L, int P, bool kFma, int V, bool kWhole>
LITEGAP_LOOP void depthwise_block(const DepthwiseFloatTask& task, std::size_t pixel,
                                  std::size_t channel) {
  typename L::V sums[P][V];
  typename L::Mask mask[V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
    const typename L::V start = L::load(task.start + channel + L::kLanes * v);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) sums[p][v] = start;
    if constexpr (!kWhole) {
      const std::size_t left = task.channels - channel,
                        skip = L::kLanes * static_cast<std::size_t>(v);
      mask[v] = L::first(left > skip ? left - skip : 0);
    }
  }
  const float* w = task.weights + channel * task.tap_count;
  for (std::size_t t = 0; t < task.tap_count; ++t, w += kDepthwiseBlock) {
    typename L::V weights[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) weights[v] = L::load(w + L::kLanes * v);
    const std::ptrdiff_t step = task.steps[t];
    const std::byte* at = task.places[t] + static_cast<std::ptrdiff_t>(pixel) * step + 4 * channel;
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      const auto* x = reinterpret_cast<const float*>(at + p * step);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        const typename L::V values =
            kWhole ? L::load(x + L::kLanes * v) : L::load_some(x + L::kLanes * v, mask[v]);
        sums[p][v] = depthwise_add<kFma, L>(values, weights[v], sums[p][v]);
      }
    }
  }
  const typename L::V low = L::all(task.low), high = L::all(task.high);
  const float* bias = task.bias;
  const std::size_t out_step = task.out_step;
  float* out = task.out + pixel * out_step + channel;
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p, out += out_step) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      typename L::V sum = sums[p][v];
      if (bias != nullptr) sum = L::add(sum, L::load(bias + channel + L::kLanes * v));
      sum = L::clamp(sum, low, high);
      if constexpr (kWhole)
        L::store(out + L::kLanes * v, sum);
      else
        L::store_some(out + L::kLanes * v, sum, mask[v]);
    }
  }
}

template <class L, int P, bool kFma>
LITEGAP_LOOP void depthwise_pixels(const DepthwiseFloatTask& task, std::size_t pixel) {
  constexpr int kVectors = kDepthwiseBlock / L::kLanes;
  std::size_t c = 0;
  for (; c + kDepthwiseBlock <= task.channels; c += kDepthwiseBlock)
    depthwise_block<L, P, kFma, kVectors, true>(task, pixel, c);
  const std::size_t left = task.channels - c;
  if (left > L::kLanes)
    depthwise_block<L, P, kFma, kVectors, false>(task, pixel, c);
  else if (left == L::kLanes)
    depthwise_block<L, P, kFma, 1, true>(task, pixel, c);
  else if (left > 0)
    depthwise_block<L, P, kFma, 1, false>(task, pixel, c);
}

// Eight sums at a time hide the latency of an addition.
template <class L, bool kFma>
LITEGAP_LOOP void depthwise_line(const DepthwiseFloatTask& task) {
  constexpr std::size_t kPixels = 8 * L::kLanes / kDepthwiseBlock;
  std::size_t p = 0;
  for (; p + kPixels <= task.pixels; p += kPixels) depthwise_pixels<L, kPixels, kFma>(task, p);
  if (p == task.pixels) return;
  if (p > 0)  // some of them once more
    return depthwise_pixels<L, kPixels, kFma>(task, task.pixels - kPixels);
  for (; p < task.pixels; ++p) depthwise_pixels<L, 1, kFma>(task, p);
}

// One block of channels of a line of 3 x 3 taps.  The image passes by column after column, loaded
// once; each column ends the sum of one pixel, continues its neighbour's and begins the next one's:
//
//   sums[2] += column . taps[2]    sums[1] += column . taps[1]    sums[0] += column . taps[0]
template <class L, int N, bool kWhole>
struct Columns3x3 {
  using R = typename L::V;
  R taps[9][N], start[N], sums[3][N];
  typename L::Mask mask;
  const std::byte* cells[3];

  LITEGAP_LOOP void begin(const Depthwise3x3Task& task, std::size_t channel) {
    const float* w =
        task.weights + channel / kDepthwiseBlock * kDepthwiseBlock * 9 + channel % kDepthwiseBlock;
    if constexpr (!kWhole) mask = L::first(task.channels - channel);
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      sums[0][n] = start[n] = L::load(task.start + channel + L::kLanes * n);
#pragma GCC unroll 16
      for (int t = 0; t < 9; ++t) taps[t][n] = L::load(w + kDepthwiseBlock * t + L::kLanes * n);
    }
    for (int r = 0; r < 3; ++r) cells[r] = task.places[r] + 4 * channel;
  }

  // The next column of cells, or one of zeros, by the columns kFirst to kLast of the taps.
  template <int kFirst, int kLast, bool kZeros = false>
  LITEGAP_LOOP void add(const Depthwise3x3Task& task) {
#pragma GCC unroll 8
    for (int r = 0; r < 3; ++r) {
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) {
        const auto* x = reinterpret_cast<const float*>(cells[r]) + L::kLanes * n;
        const R values = kZeros ? L::all(0) : kWhole ? L::load(x) : L::load_some(x, mask);
#pragma GCC unroll 8
        for (int k = kLast; k >= kFirst; --k)
          sums[k][n] = L::fused(values, taps[3 * k + r][n], sums[k][n]);
      }
      if constexpr (!kZeros) cells[r] += task.steps[r];
    }
  }

  LITEGAP_LOOP void pass() {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      sums[2][n] = sums[1][n];
      sums[1][n] = sums[0][n];
      sums[0][n] = start[n];
    }
  }

  LITEGAP_LOOP void store(float* out, R low, R high) const {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const R sum = L::clamp(sums[2][n], low, high);
      if constexpr (kWhole)
        L::store(out + L::kLanes * n, sum);
      else
        L::store_some(out + L::kLanes * n, sum, mask);
    }
  }
};

template <class L, int N, bool kWhole>
LITEGAP_LOOP void depthwise_3x3_block(const Depthwise3x3Task& task, std::size_t channel) {
  const typename L::V low = L::all(task.low), high = L::all(task.high);
  Columns3x3<L, N, kWhole> columns;
  columns.begin(task, channel);
  if (task.left)
    columns.template add<0, 0, true>(task);
  else
    columns.template add<0, 0>(task);
  columns.pass();
  columns.template add<0, 1>(task);
  float* out = task.out + channel;
  for (std::size_t p = task.right ? 1 : 0; p < task.pixels; ++p, out += task.out_step) {
    columns.pass();
    columns.template add<0, 2>(task);
    columns.store(out, low, high);
  }
  if (!task.right) return;
  columns.pass();
  columns.template add<2, 2, true>(task);
  columns.store(out, low, high);
}

template <class L>
LITEGAP_LOOP void depthwise_3x3_line(const Depthwise3x3Task& task) {
  constexpr int kVectors = kDepthwiseBlock / L::kLanes;
  std::size_t c = 0;
  for (; c + kDepthwiseBlock <= task.channels; c += kDepthwiseBlock)
    depthwise_3x3_block<L, kVectors, true>(task, c);
  for (; c + L::kLanes <= task.channels; c += L::kLanes) depthwise_3x3_block<L, 1, true>(task, c);
  if (c < task.channels) depthwise_3x3_block<L, 1, false>(task, c);
}

}  // namespace
}  // namespace litegap
