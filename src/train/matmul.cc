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

constexpr std::size_t kDepth = 192;    // of k at a time: a panel of B stays in the nearest cache
constexpr std::size_t kSmall = 2048;   // multiplications; below, plain loops cost less
constexpr std::size_t kMaxWidth = 48;  // floats of one panel of B
constexpr std::size_t kMaxRows = 8;    // of a tile
constexpr std::size_t kMaxVectors = 3;

// A tile of C. Row r of A has element k of segment s at a[a_rows[r] + a_at[s] + k * step], row k of
// B is at b[b_at[s] + k * b_step], row r of C at c[c_rows[r]].
struct Tile {
  const float* a = nullptr;
  const std::ptrdiff_t* a_rows = nullptr;
  std::ptrdiff_t step = 0;
  const float* b = nullptr;
  std::ptrdiff_t b_step = 0;
  float* c = nullptr;
  const std::ptrdiff_t* c_rows = nullptr;
  std::size_t segments = 1, depth = 0;
  const std::ptrdiff_t *a_at = nullptr, *b_at = nullptr;
  bool fresh = false;  // C is not read
};
using TileFn = void (*)(const Tile&);

// Tiles of up to `rows` rows and `vectors` vectors of `lanes` floats: all sums stay in registers,
// and so do the pointers to the rows (8 by 3, not 12 by 2, where there are 32 vector registers).
struct Kernels {
  std::size_t rows = 0, vectors = 0, lanes = 0;
  std::array<std::array<TileFn, kMaxRows>, kMaxVectors> tile{};  // [vectors - 1][rows - 1]
};

#if defined(__x86_64__)
template <int kRows, int kVectors>
__attribute__((target("avx2,fma"))) void tile_avx2(const Tile& t) {
  const float* a[kRows];
  __m256 sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    a[r] = t.a + t.a_rows[r];
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v)
      sum[r][v] = t.fresh ? _mm256_setzero_ps() : _mm256_loadu_ps(t.c + t.c_rows[r] + v * 8);
  }
  const std::ptrdiff_t step = t.step, b_step = t.b_step;
  for (std::size_t s = 0; s < t.segments; ++s) {
    const float* b = t.b + t.b_at[s];
    std::ptrdiff_t at = t.a_at[s];
    for (std::size_t k = t.depth; k > 0; --k, at += step, b += b_step) {
      __m256 w[kVectors];
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) w[v] = _mm256_loadu_ps(b + v * 8);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const __m256 x = _mm256_broadcast_ss(a[r] + at);
#pragma GCC unroll 3
        for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm256_fmadd_ps(x, w[v], sum[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) _mm256_storeu_ps(t.c + t.c_rows[r] + v * 8, sum[r][v]);
  }
}

template <int kRows, int kVectors>
__attribute__((target("avx512f"))) void tile_avx512(const Tile& t) {
  const float* a[kRows];
  __m512 sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    a[r] = t.a + t.a_rows[r];
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v)
      sum[r][v] = t.fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(t.c + t.c_rows[r] + v * 16);
  }
  const std::ptrdiff_t step = t.step, b_step = t.b_step;
  for (std::size_t s = 0; s < t.segments; ++s) {
    const float* b = t.b + t.b_at[s];
    std::ptrdiff_t at = t.a_at[s];
    for (std::size_t k = t.depth; k > 0; --k, at += step, b += b_step) {
      __m512 w[kVectors];
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) w[v] = _mm512_loadu_ps(b + v * 16);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const __m512 x = _mm512_set1_ps(a[r][at]);
#pragma GCC unroll 3
        for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_fmadd_ps(x, w[v], sum[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(t.c + t.c_rows[r] + v * 16, sum[r][v]);
  }
}

template <std::size_t... kRow>
Kernels avx2_kernels(std::index_sequence<kRow...>) {
  Kernels k{sizeof...(kRow), 2, 8, {}};
  ((k.tile[0][kRow] = tile_avx2<static_cast<int>(kRow) + 1, 1>,
    k.tile[1][kRow] = tile_avx2<static_cast<int>(kRow) + 1, 2>),
   ...);
  return k;
}
template <std::size_t... kRow>
Kernels avx512_kernels(std::index_sequence<kRow...>) {
  Kernels k{sizeof...(kRow), 3, 16, {}};
  ((k.tile[0][kRow] = tile_avx512<static_cast<int>(kRow) + 1, 1>,
    k.tile[1][kRow] = tile_avx512<static_cast<int>(kRow) + 1, 2>,
    k.tile[2][kRow] = tile_avx512<static_cast<int>(kRow) + 1, 3>),
   ...);
  return k;
}
#endif

const Kernels& best() {
  static const Kernels kernels = [] {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) return avx512_kernels(std::make_index_sequence<8>());
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

template <class T>
void plain(const Segmented<T>& p) {
  for (std::size_t i = 0; i < p.a_rows.size(); ++i) {
    T* out = p.c + p.c_rows[i];
    for (std::size_t s = 0; s < p.a_at.size(); ++s) {
      const T* a = p.a + p.a_rows[i] + p.a_at[s];
      const T* row = p.b + p.b_at[s];
      for (std::size_t k = 0; k < p.depth; ++k, a += p.a_step, row += p.b_step) {
        for (std::size_t j = 0; j < p.n; ++j) out[j] += *a * row[j];
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

// Rows of a tile whose right end is no tile's, by way of a whole one.
void run_edge(TileFn kernel, Tile t, std::size_t rows, std::size_t width, std::size_t count) {
  alignas(64) float edge[kMaxRows * kMaxWidth];
  std::ptrdiff_t edge_rows[kMaxRows];
  float* const out = t.c;
  const std::ptrdiff_t* const out_rows = t.c_rows;
  for (std::size_t r = 0; r < rows; ++r) {
    edge_rows[r] = static_cast<std::ptrdiff_t>(r * width);
    if (t.fresh) continue;
    std::memcpy(edge + r * width, out + out_rows[r], count * sizeof(float));
    std::fill(edge + r * width + count, edge + (r + 1) * width, 0.0f);
  }
  t.c = edge;
  t.c_rows = edge_rows;
  kernel(t);
  for (std::size_t r = 0; r < rows; ++r)
    std::memcpy(out + out_rows[r], edge + r * width, count * sizeof(float));
}

// All tiles of n columns; panel(tile, j, count, width) points the tile at columns [j, j + count) of
// B, rows(tile, i, count) at rows [i, i + count) of A and C.
template <class Panel, class Rows>
void each_tile(const Kernels& kernels, const Tile& first, std::size_t m, std::size_t n, Panel panel,
               Rows rows) {
  for (std::size_t j = 0; j < n;) {
    const std::size_t left = (n - j + kernels.lanes - 1) / kernels.lanes;
    const std::size_t vectors =
        left == kernels.vectors + 1 ? (left + 1) / 2 : std::min(left, kernels.vectors);
    const std::size_t width = vectors * kernels.lanes, count = std::min(width, n - j);
    const auto& row_kernels = kernels.tile[vectors - 1];
    Tile t = first;
    t.c += j;
    panel(t, j, count, width);
    for (std::size_t i = 0; i < m; i += kernels.rows) {
      const std::size_t few = std::min(kernels.rows, m - i);
      rows(t, i, few);
      if (count == width)
        row_kernels[few - 1](t);
      else
        run_edge(row_kernels[few - 1], t, few, width, count);
    }
    j += count;
  }
}

void blocked(const Kernels& kernels, const Mat<float>& a, const Mat<float>& b, float* c,
             std::size_t c_stride, std::size_t m, std::size_t n, std::size_t k, Into into) {
  alignas(64) float panel[kDepth * kMaxWidth];
  std::ptrdiff_t a_rows[kMaxRows], c_rows[kMaxRows];
  const std::ptrdiff_t none = 0;
  const std::size_t a_row = a.transposed ? 1 : a.stride, a_step = a.transposed ? a.stride : 1;
  Tile t;
  t.a_rows = a_rows;
  t.step = static_cast<std::ptrdiff_t>(a_step);
  t.c_rows = c_rows;
  t.a_at = t.b_at = &none;
  for (std::size_t p = 0; p < k; p += kDepth) {
    const std::size_t depth = std::min(kDepth, k - p);
    t.a = a.data + p * a_step;
    t.c = c;
    t.depth = depth;
    t.fresh = into == Into::kReplace && p == 0;
    each_tile(
        kernels, t, m, n,
        [&](Tile& to, std::size_t j, std::size_t count, std::size_t width) {
          if (b.transposed || count < width) {
            pack(b, p, depth, j, count, width, panel);
            to.b = panel;
            to.b_step = static_cast<std::ptrdiff_t>(width);
          } else {
            to.b = b.data + p * b.stride + j;
            to.b_step = static_cast<std::ptrdiff_t>(b.stride);
          }
        },
        [&](Tile&, std::size_t i, std::size_t count) {
          for (std::size_t r = 0; r < count; ++r) {
            a_rows[r] = static_cast<std::ptrdiff_t>((i + r) * a_row);
            c_rows[r] = static_cast<std::ptrdiff_t>((i + r) * c_stride);
          }
        });
  }
}

// Segments [first, last), rows [from, from + depth) of them.
void some_segments(const Kernels& kernels, const Segmented<float>& p, std::size_t first,
                   std::size_t last, std::size_t from, std::size_t depth) {
  alignas(64) float panel[kDepth * kMaxWidth];
  std::array<std::ptrdiff_t, kDepth> packed_at{};
  Tile t;
  t.a = p.a + static_cast<std::ptrdiff_t>(from) * p.a_step;
  t.step = p.a_step;
  t.c = p.c;
  t.segments = last - first;
  t.depth = depth;
  t.a_at = p.a_at.data() + first;
  each_tile(
      kernels, t, p.a_rows.size(), p.n,
      [&](Tile& to, std::size_t j, std::size_t count, std::size_t width) {
        const float* const b = p.b + static_cast<std::ptrdiff_t>(from) * p.b_step + j;
        if (count == width || p.beyond) {
          to.b = b;
          to.b_step = p.b_step;
          to.b_at = p.b_at.data() + first;
          return;
        }
        for (std::size_t s = first; s < last; ++s) {
          const std::size_t at = (s - first) * depth * width;
          packed_at[s - first] = static_cast<std::ptrdiff_t>(at);
          pack({b + p.b_at[s], static_cast<std::size_t>(p.b_step)}, 0, depth, 0, count, width,
               panel + at);
        }
        to.b = panel;
        to.b_step = static_cast<std::ptrdiff_t>(width);
        to.b_at = packed_at.data();
      },
      [&](Tile& to, std::size_t i, std::size_t) {
        to.a_rows = p.a_rows.data() + i;
        to.c_rows = p.c_rows.data() + i;
      });
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

template <>
void matmul(const Segmented<double>& p) {
  plain(p);
}

template <>
void matmul(const Segmented<float>& p) {
  const Kernels& kernels = best();
  if (kernels.rows == 0) return plain(p);
  const std::size_t together = std::max<std::size_t>(1, kDepth / p.depth);
  for (std::size_t s = 0; s < p.a_at.size(); s += together) {
    const std::size_t last = std::min(s + together, p.a_at.size());
    for (std::size_t k = 0; k < p.depth; k += kDepth)
      some_segments(kernels, p, s, last, k, std::min(kDepth, p.depth - k));
  }
}

}  // namespace litegap
