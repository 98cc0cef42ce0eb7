#include "train/matmul.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace litegap {
namespace {

constexpr std::size_t kDepth = 256;    // of k at a time: a panel of B stays in the nearest cache
constexpr std::size_t kSmall = 2048;   // multiplications; below, plain loops cost less
constexpr std::size_t kMaxWidth = 32;  // floats of one panel of B

// A tile of C: rows of A reach their element k at a[row * row_step + k * step].
struct Tile {
  const float* a = nullptr;
  std::ptrdiff_t row_step = 0, step = 0;
  const float* b = nullptr;
  std::ptrdiff_t b_step = 0;
  float* c = nullptr;
  std::ptrdiff_t c_step = 0;
  std::size_t depth = 0;
  bool fresh = false;  // C is not read
};
using TileFn = void (*)(const Tile&);

struct Kernels {
  std::size_t rows = 0, width = 0;        // of the largest tile
  std::array<TileFn, 12> full{}, half{};  // [rows - 1]: width, width / 2
};

#if defined(__x86_64__)
template <int kRows, int kVectors>
__attribute__((target("avx2,fma"))) void tile_avx2(const Tile& t) {
  __m256 sum[kRows][kVectors];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v)
      sum[r][v] = t.fresh ? _mm256_setzero_ps() : _mm256_loadu_ps(t.c + r * t.c_step + v * 8);
  }
  const float *a = t.a, *b = t.b;
  const std::ptrdiff_t row = t.row_step, step = t.step, b_step = t.b_step;
  for (std::size_t k = t.depth; k > 0; --k, a += step, b += b_step) {
    __m256 w[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) w[v] = _mm256_loadu_ps(b + v * 8);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const __m256 x = _mm256_broadcast_ss(a + r * row);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm256_fmadd_ps(x, w[v], sum[r][v]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) _mm256_storeu_ps(t.c + r * t.c_step + v * 8, sum[r][v]);
  }
}

template <int kRows, int kVectors>
__attribute__((target("avx512f"))) void tile_avx512(const Tile& t) {
  __m512 sum[kRows][kVectors];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v)
      sum[r][v] = t.fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(t.c + r * t.c_step + v * 16);
  }
  const float *a = t.a, *b = t.b;
  const std::ptrdiff_t row = t.row_step, step = t.step, b_step = t.b_step;
  for (std::size_t k = t.depth; k > 0; --k, a += step, b += b_step) {
    __m512 w[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) w[v] = _mm512_loadu_ps(b + v * 16);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const __m512 x = _mm512_set1_ps(a[r * row]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_fmadd_ps(x, w[v], sum[r][v]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(t.c + r * t.c_step + v * 16, sum[r][v]);
  }
}

template <std::size_t... kRow>
Kernels avx2_kernels(std::index_sequence<kRow...>) {
  Kernels k;
  k.rows = sizeof...(kRow);
  k.width = 16;
  ((k.full[kRow] = tile_avx2<static_cast<int>(kRow) + 1, 2>,
    k.half[kRow] = tile_avx2<static_cast<int>(kRow) + 1, 1>),
   ...);
  return k;
}
template <std::size_t... kRow>
Kernels avx512_kernels(std::index_sequence<kRow...>) {
  Kernels k;
  k.rows = sizeof...(kRow);
  k.width = 32;
  ((k.full[kRow] = tile_avx512<static_cast<int>(kRow) + 1, 2>,
    k.half[kRow] = tile_avx512<static_cast<int>(kRow) + 1, 1>),
   ...);
  return k;
}
#endif

const Kernels& best() {
  static const Kernels kernels = [] {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) return avx512_kernels(std::make_index_sequence<12>());
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      return avx2_kernels(std::make_index_sequence<6>());
    }
#endif
    return Kernels{};
  }();
  return kernels;
}

template <class T>
void plain(const Mat<T>& a, const Mat<T>& b, T* c, std::size_t c_stride, std::size_t m,
           std::size_t n, std::size_t k, Into into) {
  const std::size_t ar = a.transposed ? 1 : a.stride, ak = a.transposed ? a.stride : 1;
  for (std::size_t i = 0; i < m; ++i) {
    T* out = c + i * c_stride;
    if (into == Into::kReplace) std::fill(out, out + n, T(0));
    if (b.transposed) {
      for (std::size_t j = 0; j < n; ++j) {
        T sum = out[j];
        for (std::size_t p = 0; p < k; ++p)
          sum += a.data[i * ar + p * ak] * b.data[j * b.stride + p];
        out[j] = sum;
      }
    } else {
      for (std::size_t p = 0; p < k; ++p) {
        const T x = a.data[i * ar + p * ak];
        const T* row = b.data + p * b.stride;
        for (std::size_t j = 0; j < n; ++j) out[j] += x * row[j];
      }
    }
  }
}

// Columns [j, j + n) of op(B), rows [p, p + depth), as rows of `width` floats, zero-filled.
void pack(const Mat<float>& b, std::size_t p, std::size_t depth, std::size_t j, std::size_t n,
          std::size_t width, float* to) {
  if (!b.transposed) {
    for (std::size_t k = 0; k < depth; ++k) {
      std::memcpy(to + k * width, b.data + (p + k) * b.stride + j, n * sizeof(float));
      std::fill(to + k * width + n, to + (k + 1) * width, 0.0f);
    }
    return;
  }
  if (n < width) std::fill(to, to + depth * width, 0.0f);
  for (std::size_t i = 0; i < n; ++i) {
    const float* from = b.data + (j + i) * b.stride + p;
    for (std::size_t k = 0; k < depth; ++k) to[k * width + i] = from[k];
  }
}

void blocked(const Kernels& kernels, const Mat<float>& a, const Mat<float>& b, float* c,
             std::size_t c_stride, std::size_t m, std::size_t n, std::size_t k, Into into) {
  alignas(64) float panel[kDepth * kMaxWidth];
  alignas(64) float edge[12 * kMaxWidth];
  for (std::size_t p = 0; p < k; p += kDepth) {
    const std::size_t depth = std::min(kDepth, k - p);
    for (std::size_t j = 0; j < n;) {
      const bool narrow = n - j <= kernels.width / 2;
      const std::size_t width = narrow ? kernels.width / 2 : kernels.width;
      const std::size_t count = std::min(width, n - j);
      Tile t;
      t.depth = depth;
      t.fresh = into == Into::kReplace && p == 0;
      t.b = b.data + p * b.stride + j;
      t.b_step = static_cast<std::ptrdiff_t>(b.stride);
      if (b.transposed || count < width) {
        pack(b, p, depth, j, count, width, panel);
        t.b = panel;
        t.b_step = static_cast<std::ptrdiff_t>(width);
      }
      t.row_step = a.transposed ? 1 : static_cast<std::ptrdiff_t>(a.stride);
      t.step = a.transposed ? static_cast<std::ptrdiff_t>(a.stride) : 1;
      const auto& row_kernels = narrow ? kernels.half : kernels.full;
      for (std::size_t i = 0; i < m; i += kernels.rows) {
        const std::size_t rows = std::min(kernels.rows, m - i);
        t.a = a.transposed ? a.data + p * a.stride + i : a.data + i * a.stride + p;
        float* const out = c + i * c_stride + j;
        if (count == width) {
          t.c = out;
          t.c_step = static_cast<std::ptrdiff_t>(c_stride);
          row_kernels[rows - 1](t);
          continue;
        }
        t.c = edge;
        t.c_step = static_cast<std::ptrdiff_t>(width);
        for (std::size_t r = 0; r < rows && !t.fresh; ++r) {
          std::memcpy(edge + r * width, out + r * c_stride, count * sizeof(float));
          std::fill(edge + r * width + count, edge + (r + 1) * width, 0.0f);
        }
        row_kernels[rows - 1](t);
        for (std::size_t r = 0; r < rows; ++r)
          std::memcpy(out + r * c_stride, edge + r * width, count * sizeof(float));
      }
      j += count;
    }
  }
}

}  // namespace

template <>
void matmul(Mat<double> a, Mat<double> b, double* c, std::size_t c_stride, std::size_t m,
            std::size_t n, std::size_t k, Into into) {
  plain(a, b, c, c_stride, m, n, k, into);
}

template <>
void matmul(Mat<float> a, Mat<float> b, float* c, std::size_t c_stride, std::size_t m,
            std::size_t n, std::size_t k, Into into) {
  const Kernels& kernels = best();
  if (kernels.rows == 0 || m * n * k < kSmall) {
    plain(a, b, c, c_stride, m, n, k, into);
  } else {
    blocked(kernels, a, b, c, c_stride, m, n, k, into);
  }
}

}  // namespace litegap
