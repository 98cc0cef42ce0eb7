// The loop of narrow convolutions for AVX-512: one or two vectors of sixteen pixels by four or
// eight channels, so a line of 24 pixels takes 16 products a tap for eight channels, not 24.
#include "kernels/narrow_conv.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push  // its header of intrinsics starts from undefined registers
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <cstring>

#define LITEGAP_NARROW __attribute__((target("avx512f,avx512dq,fma")))
#define LITEGAP_NARROW_INLINE __attribute__((target("avx512f,avx512dq,fma"), always_inline)) inline

namespace litegap {
namespace {

// Sixteen pixels of four channels, turned: of the first n pixels the first `count` channels.
LITEGAP_NARROW_INLINE void store_pixels(const __m512 (&v)[4], std::size_t n, std::size_t count,
                                        std::size_t step, float* out) {
  const __m512 low0 = _mm512_unpacklo_ps(v[0], v[1]), high0 = _mm512_unpackhi_ps(v[0], v[1]),
               low1 = _mm512_unpacklo_ps(v[2], v[3]), high1 = _mm512_unpackhi_ps(v[2], v[3]);
  // Of four pixels each the first, second …
  const __m512 each[4] = {_mm512_shuffle_ps(low0, low1, 0x44), _mm512_shuffle_ps(low0, low1, 0xEE),
                          _mm512_shuffle_ps(high0, high1, 0x44),
                          _mm512_shuffle_ps(high0, high1, 0xEE)};
  if (n >= 16 && count == 4) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) {
      _mm_storeu_ps(out + i * step, _mm512_castps512_ps128(each[i]));
      _mm_storeu_ps(out + (i + 4) * step, _mm512_extractf32x4_ps(each[i], 1));
      _mm_storeu_ps(out + (i + 8) * step, _mm512_extractf32x4_ps(each[i], 2));
      _mm_storeu_ps(out + (i + 12) * step, _mm512_extractf32x4_ps(each[i], 3));
    }
    return;
  }
  alignas(64) float turned[4][16];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) _mm512_store_ps(turned[i], each[i]);
  if (n > 16) n = 16;
  for (std::size_t i = 0; i < n; ++i, out += step) {
    const float* pixel = turned[i % 4] + i / 4 * 4;
    if (count == 4)
      _mm_storeu_ps(out, _mm_load_ps(pixel));
    else
      std::memcpy(out, pixel, count * sizeof(float));
  }
}

// P vectors of pixels from `pixel` on by Q times four channels.
template <int P, int Q>
LITEGAP_NARROW_INLINE void block(const NarrowTask& task, std::size_t pixel, std::size_t quad) {
  __m512 sums[Q][P][4];
  const std::size_t weights = 4 * task.taps;  // of a quad
#pragma GCC unroll 2
  for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      sums[q][0][c] = _mm512_set1_ps(
          task.start[4 * (quad + static_cast<std::size_t>(q)) + static_cast<std::size_t>(c)]);
      if constexpr (P == 2) sums[q][1][c] = sums[q][0][c];
    }
  }
  // Whole eights of pixels can be read.
  const std::size_t last = task.pixels - pixel - 16 * (P - 1);
  const __mmask16 real = last > 8 ? 0xFFFF : 0xFF;
  const float* w = task.weights + quad * weights;
  const float* in = task.input + pixel;
  for (std::size_t t = 0; t < task.taps; ++t, w += 4) {
    __m512 x[P];
    if constexpr (P == 2) x[0] = _mm512_loadu_ps(in + task.offsets[t]);
    x[P - 1] = _mm512_maskz_loadu_ps(real, in + task.offsets[t] + 16 * (P - 1));
#pragma GCC unroll 2
    for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) {
        const __m512 weight =
            _mm512_set1_ps(w[static_cast<std::size_t>(q) * weights + static_cast<std::size_t>(c)]);
#pragma GCC unroll 2
        for (int p = 0; p < P; ++p) sums[q][p][c] = _mm512_fmadd_ps(x[p], weight, sums[q][p][c]);
      }
    }
  }
  const __m512 low = _mm512_set1_ps(task.low), high = _mm512_set1_ps(task.high);
#pragma GCC unroll 2
  for (int q = 0; q < Q; ++q) {
    const std::size_t channel = 4 * (quad + static_cast<std::size_t>(q));
    const std::size_t count = task.channels - channel < 4 ? task.channels - channel : 4;
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) {
      const std::size_t at = pixel + static_cast<std::size_t>(16 * p);
      // Of a NaN and a bound the second operand wins: the NaN.
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c)
        sums[q][p][c] = _mm512_min_ps(high, _mm512_max_ps(low, sums[q][p][c]));
      store_pixels(sums[q][p], task.pixels - at, count, task.channels,
                   task.out + at * task.channels + channel);
    }
  }
}

template <int P>
LITEGAP_NARROW void channels(const NarrowTask& task, std::size_t pixel) {
  const std::size_t quads = (task.channels + 3) / 4;
  std::size_t quad = 0;
  for (; quad + 2 <= quads; quad += 2) block<P, 2>(task, pixel, quad);
  if (quad < quads) block<P, 1>(task, pixel, quad);
}

LITEGAP_NARROW void narrow(const NarrowTask& task) {
  for (std::size_t pixel = 0; pixel < task.pixels; pixel += 32) {
    if (task.pixels - pixel > 16)
      channels<2>(task, pixel);
    else
      channels<1>(task, pixel);
  }
}

}  // namespace

void set_narrow_avx512(GemmKernels& kernels) {
  static const NarrowLoops loops{narrow, kernels.narrow->every_second};
  kernels.narrow = &loops;
}

}  // namespace litegap
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif
