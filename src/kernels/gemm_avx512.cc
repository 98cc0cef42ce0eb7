// The inner loops for AVX-512 with VNNI: one 512-bit register holds a row's sums of a panel, twelve
// rows hide the latency of the dot products.  vpdpbusd and vpdpwssd without saturation: exact
// modulo 2^32.
//
// A processor loads two registers while it multiplies two.  Twelve rows of one panel need 13 loads
// for 12 products, so loads would be what it waits for; of two panels at once it is 14 for 24.
#include "kernels/gemm.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push  // its header of intrinsics starts from undefined registers
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <cstring>

#ifndef LITEGAP_AVX512  // tests/kernels/avx512_emulated.cc builds this file for any machine
#define LITEGAP_AVX512_REAL
#define LITEGAP_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define LITEGAP_AVX512_INLINE \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"), always_inline)) inline
#endif
#define LITEGAP_LOOP LITEGAP_AVX512_INLINE

#include "kernels/depthwise_loops.h"
#include "kernels/narrow_conv.h"

namespace litegap {
namespace {

constexpr int kNr = 16;

// What differs between the integer forms: the weights of a group, and the product.
struct Pairs8 {
  static constexpr bool kZeros = false;
  static constexpr std::size_t kBytes = 32;
  LITEGAP_AVX512_INLINE static __m512i load(const std::byte* w) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
  }
  LITEGAP_AVX512_INLINE static __m512i dot(__m512i sum, __m512i x, __m512i w) {
    return _mm512_dpwssd_epi32(sum, x, w);
  }
};
struct Pairs16 {
  static constexpr bool kZeros = false;
  static constexpr std::size_t kBytes = 64;
  LITEGAP_AVX512_INLINE static __m512i load(const std::byte* w) { return _mm512_loadu_si512(w); }
  LITEGAP_AVX512_INLINE static __m512i dot(__m512i sum, __m512i x, __m512i w) {
    return _mm512_dpwssd_epi32(sum, x, w);
  }
};
struct Quads {
  static constexpr bool kZeros = true;  // rows may have zero points of their own
  static constexpr std::size_t kBytes = 64;
  LITEGAP_AVX512_INLINE static __m512i load(const std::byte* w) { return _mm512_loadu_si512(w); }
  LITEGAP_AVX512_INLINE static __m512i dot(__m512i sum, __m512i x, __m512i w) {
    return _mm512_dpbusd_epi32(sum, x, w);
  }
};

LITEGAP_AVX512_INLINE __m512i broadcast_group(const std::byte* p) {
  std::int32_t v;
  std::memcpy(&v, p, sizeof v);
  return _mm512_set1_epi32(v);
}

// sums[r][u][p] += the group at x[r] + g by that of panel p.
template <class Form, int R, int U, int P>
LITEGAP_AVX512_INLINE void add_group(__m512i (&sums)[R][U][P], int u, const std::byte* w,
                                     std::size_t panel, const std::byte* const (&x)[R],
                                     std::ptrdiff_t g) {
  __m512i weights[P];
#pragma GCC unroll 12
  for (int p = 0; p < P; ++p) weights[p] = Form::load(w + static_cast<std::size_t>(p) * panel);
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    const __m512i v = broadcast_group(x[r] + g);
#pragma GCC unroll 12
    for (int p = 0; p < P; ++p) sums[r][u][p] = Form::dot(sums[r][u][p], v, weights[p]);
  }
}

template <class Form, int R, int U, int P>
LITEGAP_AVX512_INLINE void begin_sums(const GemmTask& task, const std::int32_t* zeros,
                                      __m512i (&sums)[R][U][P]) {
#pragma GCC unroll 12
  for (int p = 0; p < P; ++p) {
    const __m512i start =
        _mm512_loadu_si512(static_cast<const std::int32_t*>(task.start) + p * kNr);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      sums[r][0][p] = start;
#pragma GCC unroll 12
      for (int u = 1; u < U; ++u) sums[r][u][p] = _mm512_setzero_si512();
    }
    if (!Form::kZeros || zeros == nullptr) continue;
    const __m512i weight_sums = _mm512_loadu_si512(task.weight_sums + p * kNr);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const __m512i more = _mm512_mullo_epi32(_mm512_set1_epi32(zeros[r]), weight_sums);
      sums[r][0][p] = _mm512_sub_epi32(start, more);
    }
  }
}

// R rows by P neighbouring panels.  With few rows, U independent sums per row hide the latency.
template <class Form, int R, int U, int P>
LITEGAP_AVX512 void integers(const GemmTask& task) {
  const std::size_t panel = task.panel_bytes;
  auto* tile = static_cast<std::int32_t*>(task.tile);
  const std::byte* const* rows = task.rows;
  const std::int32_t* zeros = task.zeros;
  for (std::size_t t = 0; t < task.tiles; ++t, rows += R, tile += R * P * kNr) {
    __m512i sums[R][U][P];
    begin_sums<Form, R, U, P>(task, zeros, sums);
    if (zeros != nullptr) zeros += R;
    const auto* w = static_cast<const std::byte*>(task.weights);
    for (std::size_t s = 0; s < task.segment_count; ++s) {
      const std::byte* x[R];
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) x[r] = rows[r] + task.segments[s].offset;
      const std::ptrdiff_t bytes = 4 * task.segments[s].groups;
      std::ptrdiff_t g = 0;
      for (; g + 4 * U <= bytes; g += 4 * U, w += U * Form::kBytes) {
#pragma GCC unroll 12
        for (int u = 0; u < U; ++u)
          add_group<Form, R, U, P>(sums, u, w + static_cast<std::size_t>(u) * Form::kBytes, panel,
                                   x, g + 4 * u);
      }
      if constexpr (U > 1) {
        for (; g < bytes; g += 4, w += Form::kBytes)
          add_group<Form, R, U, P>(sums, 0, w, panel, x, g);
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 12
      for (int p = 0; p < P; ++p) {
#pragma GCC unroll 12
        for (int u = 1; u < U; ++u) sums[r][0][p] = _mm512_add_epi32(sums[r][0][p], sums[r][u][p]);
        _mm512_store_si512(tile + (r * P + p) * kNr, sums[r][0][p]);
      }
    }
  }
}

template <bool kFma>
LITEGAP_AVX512_INLINE __m512 multiply_add(__m512 a, __m512 b, __m512 c) {
  if constexpr (kFma) return _mm512_fmadd_ps(a, b, c);
  return _mm512_add_ps(c, _mm512_mul_ps(a, b));
}
LITEGAP_AVX512_INLINE __m512 broadcast_float(const std::byte* p) {
  float v;
  std::memcpy(&v, p, sizeof v);
  return _mm512_set1_ps(v);
}

// R rows by P neighbouring panels.
template <int R, bool kFma, int P>
LITEGAP_AVX512 void floats(const GemmTask& task) {
  __m512 start[P];
#pragma GCC unroll 12
  for (int p = 0; p < P; ++p)
    start[p] = _mm512_loadu_ps(static_cast<const float*>(task.start) + p * kNr);
  const std::size_t panel = task.panel_bytes / sizeof(float);
  auto* tile = static_cast<float*>(task.tile);
  const std::byte* const* rows = task.rows;
  std::byte* const* out = task.out;
  for (std::size_t t = 0; t < task.tiles; ++t, rows += R, tile += R * P * kNr) {
    __m512 sums[R][P];
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 12
      for (int p = 0; p < P; ++p) sums[r][p] = start[p];
    }
    const float* w = static_cast<const float*>(task.weights);
    for (std::size_t s = 0; s < task.segment_count; ++s) {
      const std::byte* x[R];
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) x[r] = rows[r] + task.segments[s].offset;
      const std::ptrdiff_t bytes = 4 * task.segments[s].groups;
      for (std::ptrdiff_t g = 0; g < bytes; g += 4, w += kNr) {
        __m512 weights[P];
#pragma GCC unroll 12
        for (int p = 0; p < P; ++p)
          weights[p] = _mm512_loadu_ps(w + static_cast<std::size_t>(p) * panel);
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
          const __m512 v = broadcast_float(x[r] + g);
#pragma GCC unroll 12
          for (int p = 0; p < P; ++p) sums[r][p] = multiply_add<kFma>(v, weights[p], sums[r][p]);
        }
      }
    }
    if (out == nullptr) {
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 12
        for (int p = 0; p < P; ++p) _mm512_store_ps(tile + (r * P + p) * kNr, sums[r][p]);
      }
      continue;
    }
    const __m512 low = _mm512_set1_ps(task.low), high = _mm512_set1_ps(task.high);
    const std::uint64_t real = (std::uint64_t{1} << task.count) - 1;
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {  // of a NaN and a bound the second operand wins: the NaN
      float* to = reinterpret_cast<float*>(out[r]) + task.channel;
#pragma GCC unroll 12
      for (int p = 0; p < P; ++p)
        _mm512_mask_storeu_ps(to + p * kNr, static_cast<__mmask16>(real >> (p * kNr)),
                              _mm512_min_ps(high, _mm512_max_ps(low, sums[r][p])));
    }
    out += R;
  }
}

template <bool kFma>
LITEGAP_AVX512 void float_row(const GemmTask& task) {
  __m512 sums[kRowPanels];
  const float* w[kRowPanels];
#pragma GCC unroll 12
  for (int p = 0; p < kRowPanels; ++p) {
    sums[p] = _mm512_loadu_ps(static_cast<const float*>(task.start) + p * kNr);
    w[p] = reinterpret_cast<const float*>(static_cast<const std::byte*>(task.weights) +
                                          p * task.panel_bytes);
  }
  std::ptrdiff_t k = 0;
  for (std::size_t s = 0; s < task.segment_count; ++s) {
    const std::byte* x = task.rows[0] + task.segments[s].offset;
    for (std::ptrdiff_t g = 0; g < task.segments[s].groups; ++g, k += kNr) {
      const __m512 v = broadcast_float(x + 4 * g);
#pragma GCC unroll 12
      for (int p = 0; p < kRowPanels; ++p)
        sums[p] = multiply_add<kFma>(v, _mm512_loadu_ps(w[p] + k), sums[p]);
    }
  }
#pragma GCC unroll 12
  for (int p = 0; p < kRowPanels; ++p)
    _mm512_store_ps(static_cast<float*>(task.tile) + p * kNr, sums[p]);
}

// Sixteen words at `p` and sixteen `step` bytes further, those of a block in neighbouring pixels.
LITEGAP_AVX512_INLINE __m512i two_pixels(const std::byte* p, std::ptrdiff_t step) {
  return _mm512_inserti64x4(
      _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))),
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + step)), 1);
}
LITEGAP_AVX512_INLINE __m512i twice(const std::int16_t* w) {
  return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
}

// P pairs of pixels `step` bytes apart that share the loads of weights.
template <int P>
LITEGAP_AVX512_INLINE void depthwise_pixels(const DepthwiseTask& task, const std::byte* in,
                                            std::ptrdiff_t step, __m512i (&out)[2 * P]) {
  __m512i low[P], high[P];  // slots 0 to 7 and 8 to 15 of each pixel
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) low[p] = high[p] = _mm512_setzero_si512();
  const std::int16_t* w = task.weights;
  for (std::size_t t = 0; t < task.tap_count; t += 2, w += 2 * kDepthwiseBlock) {
    const __m512i w0 = twice(w), w1 = twice(w + kDepthwiseBlock);
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const std::byte* at = in + 2 * p * step;
      const __m512i a = two_pixels(at + task.taps[t], step);
      const __m512i b = two_pixels(at + task.taps[t + 1], step);
      low[p] = _mm512_dpwssd_epi32(low[p], _mm512_unpacklo_epi16(a, b), w0);
      high[p] = _mm512_dpwssd_epi32(high[p], _mm512_unpackhi_epi16(a, b), w1);
    }
  }
  const __m512i start = _mm512_loadu_si512(task.start);
  const auto first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11),
             second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
    out[2 * p] = _mm512_add_epi32(start, _mm512_permutex2var_epi64(low[p], first, high[p]));
    out[2 * p + 1] = _mm512_add_epi32(start, _mm512_permutex2var_epi64(low[p], second, high[p]));
  }
}

LITEGAP_AVX512 void depthwise(const DepthwiseTask& task) {
  const std::byte* in = task.input;
  std::int32_t* out = task.tile;
  std::size_t p = 0;
  for (; p + 4 <= task.pixels; p += 4, in += 4 * task.pixel_step, out += 4 * kDepthwiseBlock) {
    __m512i sums[4];
    depthwise_pixels<2>(task, in, task.pixel_step, sums);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) _mm512_storeu_si512(out + i * kDepthwiseBlock, sums[i]);
  }
  for (; p < task.pixels; p += 2, in += 2 * task.pixel_step, out += 2 * kDepthwiseBlock) {
    const bool both = p + 1 < task.pixels;  // else the last one twice
    __m512i sums[2];
    depthwise_pixels<1>(task, in, both ? task.pixel_step : 0, sums);
    _mm512_storeu_si512(out, sums[0]);
    if (both) _mm512_storeu_si512(out + kDepthwiseBlock, sums[1]);
  }
}

LITEGAP_AVX512_INLINE __m512i xnn16(const std::int32_t* sums, __m512 scale, __m512 top) {
  const __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums)), scale);
  return _mm512_cvtps_epi32(_mm512_min_ps(v, top));
}

// Sums to 8-bit codes as XNNPACK rounds them: whole sixteens of channels, four rows at a time.
// Packing saturates: a value beyond 16 bits becomes an end of the codes' range either way.
template <DType kType>
LITEGAP_AVX512 void finish_xnn(const Requant& q, const FinishTask& task) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i zero = _mm512_set1_epi16(static_cast<std::int16_t>(q.zero_point));
  const __m512i low = _mm512_set1_epi8(static_cast<char>(q.low)),
                high = _mm512_set1_epi8(static_cast<char>(q.high));
  const __m512 top = _mm512_set1_ps(static_cast<float>(q.high - q.zero_point));
  const std::size_t stride = task.tile_stride;
  for (int i = 0; i + kNr <= task.count; i += kNr) {
    const std::size_t c = task.channel + static_cast<std::size_t>(i);
    const __m512 scale = _mm512_loadu_ps(&q.scale[c]);
    const auto* sums = static_cast<const std::int32_t*>(task.tile) + i;
    std::byte* const* out = task.out;
    for (int r = 0; r + 4 <= task.rows; r += 4, sums += 4 * stride, out += 4) {
      __m512i a = _mm512_packs_epi32(xnn16(sums, scale, top), xnn16(sums + stride, scale, top));
      __m512i b = _mm512_packs_epi32(xnn16(sums + 2 * stride, scale, top),
                                     xnn16(sums + 3 * stride, scale, top));
      a = _mm512_adds_epi16(a, zero);
      b = _mm512_adds_epi16(b, zero);
      if constexpr (kType == DType::kInt8)
        a = _mm512_max_epi8(_mm512_min_epi8(_mm512_packs_epi16(a, b), high), low);
      else
        a = _mm512_max_epu8(_mm512_min_epu8(_mm512_packus_epi16(a, b), high), low);
      a = _mm512_permutexvar_epi32(order, a);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out[0] + c), _mm512_castsi512_si128(a));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out[1] + c), _mm512_extracti32x4_epi32(a, 1));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out[2] + c), _mm512_extracti32x4_epi32(a, 2));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out[3] + c), _mm512_extracti32x4_epi32(a, 3));
    }
  }
}

// What finish_xnn() leaves, other roundings and words are finished as on AVX2.
void finish(const Requant& q, const FinishTask& task) {
  const FinishFn finish_avx2 = gemm_avx2()->finish;
  if (q.rounding != Rounding::kXnn || q.type == DType::kInt16) return finish_avx2(q, task);
  (q.type == DType::kInt8 ? finish_xnn<DType::kInt8> : finish_xnn<DType::kUint8>)(q, task);
  const int rows = task.rows / 4 * 4, channels = task.count / kNr * kNr;
  const auto* tile = static_cast<const std::int32_t*>(task.tile);
  if (channels < task.count) {
    FinishTask rest = task;
    rest.tile = tile + channels;
    rest.channel += static_cast<std::size_t>(channels);
    rest.count -= channels;
    finish_avx2(q, rest);
  }
  if (rows < task.rows && channels > 0) {
    FinishTask rest = task;
    rest.tile = tile + static_cast<std::size_t>(rows) * task.tile_stride;
    rest.rows -= rows;
    rest.count = channels;
    rest.out += rows;
    finish_avx2(q, rest);
  }
}

struct Lanes16 {
  using V = __m512;
  using Mask = __mmask16;
  static constexpr int kLanes = 16;
  LITEGAP_LOOP static V all(float v) { return _mm512_set1_ps(v); }
  LITEGAP_LOOP static V load(const float* p) { return _mm512_loadu_ps(p); }
  LITEGAP_LOOP static V load_some(const float* p, Mask m) { return _mm512_maskz_loadu_ps(m, p); }
  LITEGAP_LOOP static void store(float* p, V v) { _mm512_storeu_ps(p, v); }
  LITEGAP_LOOP static void store_some(float* p, V v, Mask m) { _mm512_mask_storeu_ps(p, m, v); }
  LITEGAP_LOOP static V add(V a, V b) { return _mm512_add_ps(a, b); }
  LITEGAP_LOOP static V multiply(V a, V b) { return _mm512_mul_ps(a, b); }
  LITEGAP_LOOP static V fused(V a, V b, V sum) { return _mm512_fmadd_ps(a, b, sum); }
  // Of a NaN and a bound the second operand wins: the NaN.
  LITEGAP_LOOP static V clamp(V v, V low, V high) {
    return _mm512_min_ps(high, _mm512_max_ps(low, v));
  }
  LITEGAP_LOOP static Mask first(std::size_t n) {
    return static_cast<Mask>((1U << (n < 16 ? n : 16)) - 1);
  }
};

LITEGAP_AVX512_INLINE void widen_range(__m512 v, __m512& low, __m512& high, __m512i& odd) {
  low = _mm512_min_ps(v, low);  // a NaN leaves the second operand
  high = _mm512_max_ps(v, high);
  // 0, and NaN for NaN and infinities
  odd = _mm512_or_si512(odd, _mm512_castps_si512(_mm512_sub_ps(v, v)));
}

LITEGAP_AVX512 bool range(const float* in, std::size_t n, float* low, float* high) {
  const __m512 zero = _mm512_set1_ps(0.0f);
  __m512 lo[2] = {zero, zero}, hi[2] = {zero, zero};
  __m512i odd = _mm512_setzero_si512();
  std::size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    widen_range(_mm512_loadu_ps(in + i), lo[0], hi[0], odd);
    widen_range(_mm512_loadu_ps(in + i + 16), lo[1], hi[1], odd);
  }
  for (; i < n; i += 16)
    widen_range(_mm512_maskz_loadu_ps(Lanes16::first(n - i), in + i), lo[0], hi[0], odd);
  *low = _mm512_reduce_min_ps(_mm512_min_ps(lo[0], lo[1]));
  *high = _mm512_reduce_max_ps(_mm512_max_ps(hi[0], hi[1]));
  return _mm512_test_epi32_mask(odd, odd) == 0;
}

// Rounds like round_away and round_even of arith.h, out-of-range values and NaN included.
template <bool kTiesEven>
LITEGAP_AVX512_INLINE __m512i round16(__m512 v) {
  if constexpr (kTiesEven) return _mm512_cvtps_epi32(v);
  const __m512 whole = _mm512_roundscale_ps(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_abs_ps(_mm512_sub_ps(v, whole));
  const __mmask16 more = _mm512_cmp_ps_mask(rest, _mm512_set1_ps(0.5f), _CMP_GE_OQ);
  const __m512 one = _mm512_or_ps(_mm512_set1_ps(1.0f), _mm512_and_ps(v, _mm512_set1_ps(-0.0f)));
  return _mm512_cvttps_epi32(_mm512_mask_add_ps(whole, more, whole, one));
}

template <bool kTiesEven>
LITEGAP_AVX512_INLINE __m128i quads16(__m512 v, const RowCode& code, std::int32_t bias) {
  const __m512i q =
      _mm512_add_epi32(round16<kTiesEven>(_mm512_mul_ps(v, _mm512_set1_ps(code.inverse))),
                       _mm512_set1_epi32(code.zero_point));
  const __m512i clamped =
      _mm512_max_epi32(_mm512_min_epi32(q, _mm512_set1_epi32(127)), _mm512_set1_epi32(code.low));
  return _mm512_cvtepi32_epi8(_mm512_add_epi32(clamped, _mm512_set1_epi32(bias)));
}
template <bool kTiesEven>
LITEGAP_AVX512 void quantize_quads_as(const float* in, std::size_t n, RowCode code,
                                      std::int32_t bias, std::byte* out) {
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m128i bytes = quads16<kTiesEven>(_mm512_loadu_ps(in + i), code, bias);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), bytes);
  }
  if (i == n) return;
  const __m512 rest = _mm512_maskz_loadu_ps(Lanes16::first(n - i), in + i);
  const __m128i bytes = quads16<kTiesEven>(rest, code, bias);
  std::memcpy(out + i, &bytes, n - i);
}
void quantize_quads(const float* in, std::size_t n, const RowCode& code, std::int32_t bias,
                    std::byte* out) {
  (code.ties_even ? quantize_quads_as<true> : quantize_quads_as<false>)(in, n, code, bias, out);
}

template <FloatScale kScale>
LITEGAP_AVX512_INLINE __m512 scaled16(__m512 sum, __m512 s, __m512 w, __m512 bias) {
  if constexpr (kScale == FloatScale::kFused)
    return _mm512_fmadd_ps(_mm512_mul_ps(sum, s), w, bias);
  if constexpr (kScale == FloatScale::kProduct)
    return _mm512_add_ps(_mm512_mul_ps(sum, _mm512_mul_ps(s, w)), bias);
  if constexpr (kScale == FloatScale::kWeightFirst)
    return _mm512_add_ps(_mm512_mul_ps(_mm512_mul_ps(sum, w), s), bias);
  return _mm512_add_ps(_mm512_mul_ps(_mm512_mul_ps(sum, s), w), bias);
}

template <FloatScale kScale>
LITEGAP_AVX512 void finish_scaled(const FloatFinish& f, const FinishTask& task) {
  const __m512 low = _mm512_set1_ps(f.low), high = _mm512_set1_ps(f.high);
  for (int i = 0; i < task.count; i += kNr) {
    const std::size_t c = task.channel + static_cast<std::size_t>(i);
    const __mmask16 real = Lanes16::first(static_cast<std::size_t>(task.count - i));
    const __mmask16 nan_is_low = c < f.low_for_nan ? Lanes16::first(f.low_for_nan - c) : 0;
    const __m512 bias = _mm512_loadu_ps(f.bias + c), w = _mm512_loadu_ps(f.weight_scale + c);
    const auto* sums = static_cast<const std::int32_t*>(task.tile) + i;
    for (int r = 0; r < task.rows; ++r, sums += task.tile_stride) {
      const __m512 sum = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(real, sums));
      __m512 v = scaled16<kScale>(sum, _mm512_set1_ps(task.row_scale[r]), w, bias);
      v = _mm512_mask_max_ps(v, nan_is_low, v, low);
      auto* out = reinterpret_cast<float*>(task.out[r]) + c;
      _mm512_mask_storeu_ps(out, real, Lanes16::clamp(v, low, high));
    }
  }
}

// Hybrid sums; others, and channels of two kinds, as on AVX2.
void finish_float(const FloatFinish& f, const FinishTask& task) {
  const bool both =
      task.channel < f.split && task.channel + static_cast<std::size_t>(task.count) > f.split;
  const FloatScale scale = task.channel < f.split ? f.scale : f.tail;
  if (both || scale == FloatScale::kNone || scale == FloatScale::kClamp ||
      scale == FloatScale::kPlusSeven)
    return gemm_avx2()->finish_float(f, task);
  if (scale == FloatScale::kFused) return finish_scaled<FloatScale::kFused>(f, task);
  if (scale == FloatScale::kProduct) return finish_scaled<FloatScale::kProduct>(f, task);
  if (scale == FloatScale::kWeightFirst) return finish_scaled<FloatScale::kWeightFirst>(f, task);
  finish_scaled<FloatScale::kInputFirst>(f, task);
}

template <bool kFma>
LITEGAP_AVX512 void depthwise_float(const DepthwiseFloatTask& task) {
  depthwise_line<Lanes16, kFma>(task);
}
LITEGAP_AVX512 void depthwise_3x3(const Depthwise3x3Task& task) {
  depthwise_3x3_line<Lanes16>(task);
}

template <class Form>
constexpr std::array<GemmFn, kMaxTileRows> integer_forms() {
  return {integers<Form, 1, 4, 1>,  integers<Form, 2, 4, 1>,  integers<Form, 3, 2, 1>,
          integers<Form, 4, 2, 1>,  integers<Form, 5, 2, 1>,  integers<Form, 6, 1, 1>,
          integers<Form, 7, 1, 1>,  integers<Form, 8, 1, 1>,  integers<Form, 9, 1, 1>,
          integers<Form, 10, 1, 1>, integers<Form, 11, 1, 1>, integers<Form, 12, 1, 1>};
}
template <class Form>
constexpr std::array<GemmFn, kMaxTileRows> two_integer_forms() {
  return {integers<Form, 1, 4, 2>,  integers<Form, 2, 2, 2>,  integers<Form, 3, 2, 2>,
          integers<Form, 4, 2, 2>,  integers<Form, 5, 1, 2>,  integers<Form, 6, 1, 2>,
          integers<Form, 7, 1, 2>,  integers<Form, 8, 1, 2>,  integers<Form, 9, 1, 2>,
          integers<Form, 10, 1, 2>, integers<Form, 11, 1, 2>, integers<Form, 12, 1, 2>};
}
template <bool kFma, int P>
constexpr std::array<GemmFn, kMaxTileRows> float_forms() {
  return {floats<1, kFma, P>, floats<2, kFma, P>,  floats<3, kFma, P>,  floats<4, kFma, P>,
          floats<5, kFma, P>, floats<6, kFma, P>,  floats<7, kFma, P>,  floats<8, kFma, P>,
          floats<9, kFma, P>, floats<10, kFma, P>, floats<11, kFma, P>, floats<12, kFma, P>};
}

// Widening of codes and the other ends of tiles are those of AVX2: they are bound by memory, or
// rare.
GemmKernels make_avx512(const GemmKernels& avx2) {
  GemmKernels k = avx2;
  k.name = "avx512vnni";
  k.mr = k.mr_float = 12;
  k.mr_half = 0;
  k.any_count = true;
  k.nr = k.nr_float = kNr;
  k.pairs8 = integer_forms<Pairs8>();
  k.pairs16 = integer_forms<Pairs16>();
  k.quads = integer_forms<Quads>();
  k.two_quads = two_integer_forms<Quads>();
  k.fused = float_forms<true, 1>();
  k.plain = float_forms<false, 1>();
  k.two_fused = float_forms<true, 2>();
  k.two_plain = float_forms<false, 2>();
  k.fused_row = float_row<true>;
  k.plain_row = float_row<false>;
  k.finish = finish;
  k.finish_float = finish_float;
  k.range = range;
  k.quantize_quads = quantize_quads;
  k.depthwise = depthwise;
  k.depthwise_fused = depthwise_float<true>;
  k.depthwise_plain = depthwise_float<false>;
  k.depthwise_3x3 = depthwise_3x3;
#ifdef LITEGAP_AVX512_REAL
  set_narrow_avx512(k);
#endif
  return k;
}

bool machine_has_vnni() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}

}  // namespace

const GemmKernels* gemm_avx512() {
  if (!machine_has_vnni() || gemm_avx2() == nullptr) return nullptr;
  static const GemmKernels kernels = make_avx512(*gemm_avx2());
  return &kernels;
}

}  // namespace litegap
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#else
namespace litegap {
const GemmKernels* gemm_avx512() { return nullptr; }
}  // namespace litegap
#endif
