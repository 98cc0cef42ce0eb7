// The loop of narrow convolutions for AVX2 with FMA: up to three vectors of eight pixels by four
// channels, or one by eight channels, so that enough sums run side by side.
#include "kernels/narrow_conv.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>

#include <cstring>

#define LITEGAP_AVX2 __attribute__((target("avx2,fma")))
#define LITEGAP_AVX2_INLINE __attribute__((target("avx2,fma"), always_inline)) inline

namespace litegap {
namespace {

// Eight pixels of four channels, turned: of the first n pixels the first `count` channels.
LITEGAP_AVX2_INLINE void store_pixels(const __m256 (&v)[4], std::size_t n, std::size_t count,
                                      std::size_t step, float* out) {
  const __m256 low0 = _mm256_unpacklo_ps(v[0], v[1]), high0 = _mm256_unpackhi_ps(v[0], v[1]),
               low1 = _mm256_unpacklo_ps(v[2], v[3]), high1 = _mm256_unpackhi_ps(v[2], v[3]);
  const __m256 pairs[4] = {_mm256_shuffle_ps(low0, low1, 0x44), _mm256_shuffle_ps(low0, low1, 0xEE),
                           _mm256_shuffle_ps(high0, high1, 0x44),
                           _mm256_shuffle_ps(high0, high1, 0xEE)};
  if (n >= 8 && count == 4) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) {
      _mm_storeu_ps(out + i * step, _mm256_castps256_ps128(pairs[i]));
      _mm_storeu_ps(out + (i + 4) * step, _mm256_extractf128_ps(pairs[i], 1));
    }
    return;
  }
  alignas(16) float pixels[8][4];
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    _mm_store_ps(pixels[i], _mm256_castps256_ps128(pairs[i]));
    _mm_store_ps(pixels[i + 4], _mm256_extractf128_ps(pairs[i], 1));
  }
  if (n > 8) n = 8;
  for (std::size_t i = 0; i < n; ++i, out += step) {
    if (count == 4)
      _mm_storeu_ps(out, _mm_load_ps(pixels[i]));
    else
      std::memcpy(out, pixels[i], count * sizeof(float));
  }
}

// P vectors of pixels from `pixel` on by Q times four channels.
template <int P, int Q>
LITEGAP_AVX2_INLINE void block(const NarrowTask& task, std::size_t pixel, std::size_t quad) {
  __m256 sums[Q][P][4];
  const std::size_t weights = 4 * task.taps;  // of a quad
#pragma GCC unroll 4
  for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      sums[q][0][c] =
          _mm256_broadcast_ss(task.start + 4 * (quad + static_cast<std::size_t>(q)) + c);
#pragma GCC unroll 4
      for (int p = 1; p < P; ++p) sums[q][p][c] = sums[q][0][c];
    }
  }
  const float* w = task.weights + quad * weights;
  const float* in = task.input + pixel;
  for (std::size_t t = 0; t < task.taps; ++t, w += 4) {
    __m256 x[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) x[p] = _mm256_loadu_ps(in + task.offsets[t] + 8 * p);
#pragma GCC unroll 4
    for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) {
        const __m256 weight = _mm256_broadcast_ss(w + static_cast<std::size_t>(q) * weights + c);
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) sums[q][p][c] = _mm256_fmadd_ps(x[p], weight, sums[q][p][c]);
      }
    }
  }
  const __m256 low = _mm256_set1_ps(task.low), high = _mm256_set1_ps(task.high);
#pragma GCC unroll 4
  for (int q = 0; q < Q; ++q) {
    const std::size_t channel = 4 * (quad + static_cast<std::size_t>(q));
    const std::size_t count = task.channels - channel < 4 ? task.channels - channel : 4;
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const std::size_t at = pixel + static_cast<std::size_t>(8 * p);
      // Of a NaN and a bound the second operand wins: the NaN.
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c)
        sums[q][p][c] = _mm256_min_ps(high, _mm256_max_ps(low, sums[q][p][c]));
      store_pixels(sums[q][p], task.pixels - at, count, task.channels,
                   task.out + at * task.channels + channel);
    }
  }
}

template <int P>
LITEGAP_AVX2 void channels(const NarrowTask& task, std::size_t pixel) {
  const std::size_t quads = (task.channels + 3) / 4;
  std::size_t quad = 0;
  if constexpr (P == 1) {
    for (; quad + 2 <= quads; quad += 2) block<1, 2>(task, pixel, quad);
  }
  for (; quad < quads; ++quad) block<P, 1>(task, pixel, quad);
}

LITEGAP_AVX2 void narrow(const NarrowTask& task) {
  std::size_t left = (task.pixels + 7) / 8, pixel = 0;
  while (left > 0) {
    const std::size_t now = left == 4 ? 2 : left < 3 ? left : 3;
    if (now == 3)
      channels<3>(task, pixel);
    else if (now == 2)
      channels<2>(task, pixel);
    else
      channels<1>(task, pixel);
    left -= now;
    pixel += 8 * now;
  }
}

// Eight at a time, the last of them together with some of those before.
LITEGAP_AVX2 void every_second(const float* from, std::size_t n, float* to) {
  for (std::size_t i = 0; i < n; i += 8) {
    const std::size_t at = i < n - 8 ? i : n - 8;
    const __m256 a = _mm256_loadu_ps(from + 2 * at),     // 0 to 7
        b = _mm256_loadu_ps(from + 2 * at + 7);          // 7 to 14
    const __m256 pairs = _mm256_shuffle_ps(a, b, 0xD8);  // 0 2 8 10, 4 6 12 14
    _mm256_storeu_ps(to + at,
                     _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(pairs), 0xD8)));
  }
}

constexpr NarrowLoops kLoops{narrow, every_second};

}  // namespace

void set_narrow_avx2(GemmKernels& kernels) { kernels.narrow = &kLoops; }

}  // namespace litegap
#endif
