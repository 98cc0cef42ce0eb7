// The inner loops for AVX2 with FMA.  All instructions are wrapping ones: vpmaddwd of values within
// +-32768 x +-255 is exact, the saturating byte product (vpmaddubsw) is never used.
#include "kernels/convert_avx2.h"
#include "kernels/depthwise_float.h"
#include "kernels/gemm.h"
#include "kernels/narrow_conv.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>

#include <cstring>

#define LITEGAP_AVX2 __attribute__((target("avx2,fma")))
#define LITEGAP_AVX2_INLINE __attribute__((target("avx2,fma"), always_inline)) inline

namespace litegap {
namespace {

constexpr int kMr = 6, kNr = 16;

LITEGAP_AVX2_INLINE __m256i load_pairs(const std::int16_t* w) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
}
LITEGAP_AVX2_INLINE __m256i load_pairs(const std::int8_t* w) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
}
LITEGAP_AVX2_INLINE __m256i broadcast_group(const std::byte* p) {
  std::int32_t v;
  std::memcpy(&v, p, sizeof v);
  return _mm256_set1_epi32(v);
}

// C = 1: only the first eight columns of the panel.  U groups at a time, each with sums of its own:
// with few rows one group does not fill the machine.
template <int R, class W, int C, int U>
LITEGAP_AVX2 void pairs(const GemmTask& task) {
  const auto* start = static_cast<const __m256i*>(task.start);
  const __m256i start0 = _mm256_loadu_si256(start), start1 = _mm256_loadu_si256(start + 1);
  auto* tile = static_cast<__m256i*>(task.tile);
  const std::byte* const* rows = task.rows;
  for (std::size_t t = 0; t < task.tiles; ++t, rows += R, tile += 2 * R) {
    __m256i sums[R][U][2];
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      sums[r][0][0] = start0;
      sums[r][0][1] = start1;
#pragma GCC unroll 12
      for (int u = 1; u < U; ++u) sums[r][u][0] = sums[r][u][1] = _mm256_setzero_si256();
    }
    const W* w = static_cast<const W*>(task.weights);
    for (std::size_t s = 0; s < task.segment_count; ++s) {
      const std::byte* x[R];
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) x[r] = rows[r] + task.segments[s].offset;
      const std::ptrdiff_t bytes = 4 * task.segments[s].groups;
      std::ptrdiff_t g = 0;
      for (; g + 4 * U <= bytes; g += 4 * U, w += 2 * kNr * U) {
#pragma GCC unroll 12
        for (int u = 0; u < U; ++u) {
          const __m256i w0 = load_pairs(w + 2 * kNr * u),
                        w1 = C == 2 ? load_pairs(w + 2 * kNr * u + kNr) : w0;
#pragma GCC unroll 12
          for (int r = 0; r < R; ++r) {
            const __m256i v = broadcast_group(x[r] + g + 4 * u);
            sums[r][u][0] = _mm256_add_epi32(sums[r][u][0], _mm256_madd_epi16(v, w0));
            if constexpr (C == 2)
              sums[r][u][1] = _mm256_add_epi32(sums[r][u][1], _mm256_madd_epi16(v, w1));
          }
        }
      }
      if constexpr (U > 1) {
        for (; g < bytes; g += 4, w += 2 * kNr) {
          const __m256i w0 = load_pairs(w), w1 = C == 2 ? load_pairs(w + kNr) : w0;
#pragma GCC unroll 12
          for (int r = 0; r < R; ++r) {
            const __m256i v = broadcast_group(x[r] + g);
            sums[r][0][0] = _mm256_add_epi32(sums[r][0][0], _mm256_madd_epi16(v, w0));
            if constexpr (C == 2)
              sums[r][0][1] = _mm256_add_epi32(sums[r][0][1], _mm256_madd_epi16(v, w1));
          }
        }
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 12
      for (int u = 1; u < U; ++u) {
        sums[r][0][0] = _mm256_add_epi32(sums[r][0][0], sums[r][u][0]);
        if constexpr (C == 2) sums[r][0][1] = _mm256_add_epi32(sums[r][0][1], sums[r][u][1]);
      }
      _mm256_store_si256(tile + 2 * r, sums[r][0][0]);
      if constexpr (C == 2) _mm256_store_si256(tile + 2 * r + 1, sums[r][0][1]);
    }
  }
}

template <bool kFma>
LITEGAP_AVX2_INLINE __m256 multiply_add(__m256 a, __m256 b, __m256 c) {
  if constexpr (kFma) return _mm256_fmadd_ps(a, b, c);
  return _mm256_add_ps(c, _mm256_mul_ps(a, b));
}
LITEGAP_AVX2_INLINE __m256 broadcast_float(const std::byte* p) {
  return _mm256_broadcast_ss(reinterpret_cast<const float*>(p));
}

// Of a NaN and a bound the second operand wins: the NaN.
LITEGAP_AVX2_INLINE __m256 clamped(__m256 v, __m256 low, __m256 high) {
  return _mm256_min_ps(high, _mm256_max_ps(low, v));
}

// The first n of eight lanes; all of them where n is more.
LITEGAP_AVX2_INLINE void store_count(float* out, __m256 v, int n) {
  if (n >= 8) return _mm256_storeu_ps(out, v);
  __m128 half = _mm256_castps256_ps128(v);
  if (n & 4) {
    _mm_storeu_ps(out, half);
    half = _mm256_extractf128_ps(v, 1);
    out += 4;
  }
  if (n & 2) {
    _mm_storel_pi(reinterpret_cast<__m64*>(out), half);
    half = _mm_movehl_ps(half, half);
    out += 2;
  }
  if (n & 1) _mm_store_ss(out, half);
}

// Sums in the order of the segments, one product after the other: each product rounded before it is
// added (the reference and built-in kernels' way), or fused (XNNPACK's).
template <int R, bool kFma, int C>
LITEGAP_AVX2 void floats(const GemmTask& task) {
  const auto* start = static_cast<const float*>(task.start);
  auto* tile = static_cast<float*>(task.tile);
  const std::byte* const* rows = task.rows;
  std::byte* const* out = task.out;
  for (std::size_t t = 0; t < task.tiles; ++t, rows += R, tile += R * kNr) {
    __m256 sums[R][2];
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      sums[r][0] = _mm256_loadu_ps(start);
      sums[r][1] = _mm256_loadu_ps(start + 8);
    }
    const float* w = static_cast<const float*>(task.weights);
    for (std::size_t s = 0; s < task.segment_count; ++s) {
      const std::byte* x[R];
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) x[r] = rows[r] + task.segments[s].offset;
      const std::ptrdiff_t bytes = 4 * task.segments[s].groups;
      for (std::ptrdiff_t g = 0; g < bytes; g += 4, w += kNr) {
        const __m256 w0 = _mm256_loadu_ps(w), w1 = C == 2 ? _mm256_loadu_ps(w + 8) : w0;
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
          const __m256 v = broadcast_float(x[r] + g);
          sums[r][0] = multiply_add<kFma>(v, w0, sums[r][0]);
          if constexpr (C == 2) sums[r][1] = multiply_add<kFma>(v, w1, sums[r][1]);
        }
      }
    }
    if (out == nullptr) {
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        _mm256_store_ps(tile + r * kNr, sums[r][0]);
        if constexpr (C == 2) _mm256_store_ps(tile + r * kNr + 8, sums[r][1]);
      }
      continue;
    }
    const __m256 low = _mm256_set1_ps(task.low), high = _mm256_set1_ps(task.high);
    const int count = task.count;
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      float* to = reinterpret_cast<float*>(out[r]) + task.channel;
      store_count(to, clamped(sums[r][0], low, high), count);
      if constexpr (C == 2) {
        if (count > 8) store_count(to + 8, clamped(sums[r][1], low, high), count - 8);
      }
    }
    out += R;
  }
}

template <bool kFma>
LITEGAP_AVX2 void float_row(const GemmTask& task) {
  __m256 sums[kRowPanels][2];
  const float* w[kRowPanels];
#pragma GCC unroll 12
  for (int p = 0; p < kRowPanels; ++p) {
    const float* start = static_cast<const float*>(task.start) + p * kNr;
    sums[p][0] = _mm256_loadu_ps(start);
    sums[p][1] = _mm256_loadu_ps(start + 8);
    w[p] = reinterpret_cast<const float*>(static_cast<const std::byte*>(task.weights) +
                                          static_cast<std::size_t>(p) * task.panel_bytes);
  }
  std::ptrdiff_t k = 0;
  for (std::size_t s = 0; s < task.segment_count; ++s) {
    const std::byte* x = task.rows[0] + task.segments[s].offset;
    for (std::ptrdiff_t g = 0; g < task.segments[s].groups; ++g, k += kNr) {
      const __m256 v = broadcast_float(x + 4 * g);
#pragma GCC unroll 12
      for (int p = 0; p < kRowPanels; ++p) {
        sums[p][0] = multiply_add<kFma>(v, _mm256_loadu_ps(w[p] + k), sums[p][0]);
        sums[p][1] = multiply_add<kFma>(v, _mm256_loadu_ps(w[p] + k + 8), sums[p][1]);
      }
    }
  }
#pragma GCC unroll 12
  for (int p = 0; p < kRowPanels; ++p) {
    _mm256_store_ps(static_cast<float*>(task.tile) + p * kNr, sums[p][0]);
    _mm256_store_ps(static_cast<float*>(task.tile) + p * kNr + 8, sums[p][1]);
  }
}

// One pixel, or two that share the loads of weights.
template <int P>
LITEGAP_AVX2_INLINE void depthwise_pixels(const DepthwiseTask& task, const std::byte* in,
                                          __m256i* out) {
  __m256i sums[P][2];
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) sums[p][0] = sums[p][1] = _mm256_setzero_si256();
  const auto* w = reinterpret_cast<const __m256i*>(task.weights);
  for (std::size_t t = 0; t < task.tap_count; t += 2, w += 2) {
    const __m256i w0 = _mm256_loadu_si256(w), w1 = _mm256_loadu_si256(w + 1);
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const std::byte* at = in + p * task.pixel_step;
      const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + task.taps[t]));
      const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + task.taps[t + 1]));
      sums[p][0] = _mm256_add_epi32(sums[p][0], _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), w0));
      sums[p][1] = _mm256_add_epi32(sums[p][1], _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), w1));
    }
  }
  const auto* start = reinterpret_cast<const __m256i*>(task.start);
  const __m256i s0 = _mm256_loadu_si256(start), s1 = _mm256_loadu_si256(start + 1);
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p, out += 2) {
    const __m256i low = sums[p][0], high = sums[p][1];
    _mm256_store_si256(out, _mm256_add_epi32(s0, _mm256_permute2x128_si256(low, high, 0x20)));
    _mm256_store_si256(out + 1, _mm256_add_epi32(s1, _mm256_permute2x128_si256(low, high, 0x31)));
  }
}

LITEGAP_AVX2 void depthwise(const DepthwiseTask& task) {
  auto* out = reinterpret_cast<__m256i*>(task.tile);
  const std::byte* in = task.input;
  std::size_t p = 0;
  for (; p + 2 <= task.pixels; p += 2, in += 2 * task.pixel_step, out += 4)
    depthwise_pixels<2>(task, in, out);
  if (p < task.pixels) depthwise_pixels<1>(task, in, out);
}

LITEGAP_AVX2_INLINE __m256i load8(const std::int32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// requantize_fixed for eight channels, whose constants stay in registers from row to row (stores of
// results could alias the arrays, so a compiler would load them again); no step can overflow.
struct Fixed8 {
  __m256i m, m_odd, left, right, mask, threshold, away;
};
// The constants of eight channels, or of four twice.
enum class Channels : std::uint8_t { kEight, kFourTwice };
template <Channels kChannels>
LITEGAP_AVX2_INLINE __m256i load_channels(const std::int32_t* at) {
  if constexpr (kChannels == Channels::kEight) return load8(at);
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
}
template <Channels kChannels = Channels::kEight>
LITEGAP_AVX2_INLINE Fixed8 fixed_constants(const Requant& q, std::size_t c) {
  Fixed8 k;
  k.m = load_channels<kChannels>(&q.mantissa[c]);
  k.m_odd = _mm256_srli_epi64(k.m, 32);
  k.left = load_channels<kChannels>(&q.left[c]);
  k.right = load_channels<kChannels>(&q.right[c]);
  k.mask = _mm256_sub_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), k.right), _mm256_set1_epi32(1));
  k.threshold = _mm256_srli_epi32(k.mask, 1);
  k.away = load_channels<kChannels>(&q.away[c]);
  return k;
}
LITEGAP_AVX2_INLINE __m256i fixed8(const Fixed8& k, __m256i x) {
  const __m256i half = _mm256_set1_epi64x(std::int64_t{1} << 30);
  x = _mm256_sllv_epi32(x, k.left);
  __m256i even = _mm256_mul_epi32(x, k.m);
  __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(x, 32), k.m_odd);
  even = _mm256_srli_epi64(_mm256_add_epi64(even, half), 31);
  odd = _mm256_slli_epi64(_mm256_add_epi64(odd, half), 1);
  const __m256i h = _mm256_blend_epi32(even, odd, 0xAA);
  const __m256i negative = _mm256_and_si256(_mm256_srli_epi32(h, 31), k.away);
  const __m256i threshold = _mm256_add_epi32(k.threshold, negative);
  const __m256i more = _mm256_cmpgt_epi32(_mm256_and_si256(h, k.mask), threshold);
  return _mm256_sub_epi32(_mm256_srav_epi32(h, k.right), more);
}

LITEGAP_AVX2_INLINE __m256i xnn8(__m256i x, __m256 scale, __m256 high) {
  const __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(x), scale);
  const __m256i i = _mm256_cvtps_epi32(_mm256_min_ps(v, high));
  return _mm256_max_epi32(_mm256_min_epi32(i, _mm256_set1_epi32(32767)), _mm256_set1_epi32(-32768));
}

// Eight values within the range of int16.
LITEGAP_AVX2_INLINE void store_words(__m256i y, int count, std::byte* out) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
  if (count == 8) return _mm_storeu_si128(reinterpret_cast<__m128i*>(out), words);
  std::memcpy(out, &words, static_cast<std::size_t>(count) * 2);
}

// The lowest `count` bytes, 1 to 8; a memcpy() of an unknown length is a call.
LITEGAP_AVX2_INLINE void store_bytes(std::uint64_t bytes, int count, std::byte* out) {
  if (count == 8) {
    std::memcpy(out, &bytes, 8);
  } else if (count >= 4) {  // two stores that overlap
    const std::uint64_t last = bytes >> (8 * (count - 4));
    std::memcpy(out, &bytes, 4);
    std::memcpy(out + count - 4, &last, 4);
  } else {
    for (int i = 0; i < count; ++i) out[i] = static_cast<std::byte>(bytes >> (8 * i));
  }
}

// The rounded values of eight channels: of XNNPACK without the zero point, which is added once they
// are 16 bits wide; else with it, in sums of 32 bits that wrap.
template <Rounding kRounding>
struct Rounded8 {
  Fixed8 fixed;
  __m256i zero;
  __m256 scale, top;
};
template <Rounding kRounding, Channels kChannels = Channels::kEight>
LITEGAP_AVX2_INLINE Rounded8<kRounding> rounded_constants(const Requant& q, std::size_t c) {
  Rounded8<kRounding> k;
  if constexpr (kRounding == Rounding::kXnn) {
    k.scale = kChannels == Channels::kEight
                  ? _mm256_loadu_ps(&q.scale[c])
                  : _mm256_broadcast_ps(reinterpret_cast<const __m128*>(&q.scale[c]));
    k.top = _mm256_set1_ps(static_cast<float>(q.high - q.zero_point));
  } else {
    k.fixed = fixed_constants<kChannels>(q, c);
    k.zero = _mm256_set1_epi32(q.zero_point);
  }
  return k;
}
template <Rounding kRounding>
LITEGAP_AVX2_INLINE __m256i rounded8(const Rounded8<kRounding>& k, __m256i sums) {
  if constexpr (kRounding == Rounding::kXnn)
    return _mm256_cvtps_epi32(
        _mm256_min_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), k.scale), k.top));
  else
    return _mm256_add_epi32(fixed8(k.fixed, sums), k.zero);
}

// From rounded values to 8-bit codes.  Packing saturates: a value beyond 16 bits becomes an end of
// the codes' range either way.
template <Rounding kRounding, DType kType>
struct ByteEnds {
  __m256i zero, low, high;
};
template <Rounding kRounding, DType kType>
LITEGAP_AVX2_INLINE ByteEnds<kRounding, kType> byte_ends(const Requant& q) {
  const int zero = kRounding == Rounding::kXnn ? q.zero_point : 0;
  return {_mm256_set1_epi16(static_cast<std::int16_t>(zero)),
          _mm256_set1_epi8(static_cast<char>(q.low)), _mm256_set1_epi8(static_cast<char>(q.high))};
}
template <Rounding kRounding, DType kType>
LITEGAP_AVX2_INLINE __m256i words(const ByteEnds<kRounding, kType>& e, __m256i a, __m256i b) {
  return _mm256_adds_epi16(_mm256_packs_epi32(a, b), e.zero);
}
template <Rounding kRounding, DType kType>
LITEGAP_AVX2_INLINE __m256i bytes(const ByteEnds<kRounding, kType>& e, __m256i a, __m256i b) {
  if constexpr (kType == DType::kInt8)
    return _mm256_max_epi8(_mm256_min_epi8(_mm256_packs_epi16(a, b), e.high), e.low);
  else
    return _mm256_max_epu8(_mm256_min_epu8(_mm256_packus_epi16(a, b), e.high), e.low);
}

// Sixteen channels of 8-bit codes, two rows at a time.
template <Rounding kRounding, DType kType>
LITEGAP_AVX2 void finish_bytes(const Requant& q, const FinishTask& task, int first) {
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const auto ends = byte_ends<kRounding, kType>(q);
  const std::size_t c = task.channel + static_cast<std::size_t>(first);
  const auto k0 = rounded_constants<kRounding>(q, c), k1 = rounded_constants<kRounding>(q, c + 8);
  const auto* sums = static_cast<const std::int32_t*>(task.tile) + first;
  for (int r = 0; r < task.rows; r += 2, sums += 2 * task.tile_stride) {
    const bool both = r + 1 < task.rows;
    const std::int32_t* other = both ? sums + task.tile_stride : sums;
    const __m256i a =
        words(ends, rounded8<kRounding>(k0, load8(sums)), rounded8<kRounding>(k1, load8(sums + 8)));
    const __m256i b = words(ends, rounded8<kRounding>(k0, load8(other)),
                            rounded8<kRounding>(k1, load8(other + 8)));
    __m256i codes = bytes(ends, a, b);
    codes = _mm256_permutevar8x32_epi32(codes, order);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(task.out[r] + c), _mm256_castsi256_si128(codes));
    if (both)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(task.out[r + 1] + c),
                       _mm256_extracti128_si256(codes, 1));
  }
}

// The last `count` channels of 8-bit codes where they are eight or fewer: two rows at a time.
template <Rounding kRounding, DType kType>
LITEGAP_AVX2 void finish_eight_bytes(const Requant& q, const FinishTask& task, int first,
                                     int count) {
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const auto ends = byte_ends<kRounding, kType>(q);
  const std::size_t c = task.channel + static_cast<std::size_t>(first);
  const auto k = rounded_constants<kRounding>(q, c);
  const auto* sums = static_cast<const std::int32_t*>(task.tile) + first;
  for (int r = 0; r < task.rows; r += 2, sums += 2 * task.tile_stride) {
    const bool both = r + 1 < task.rows;
    const __m256i w = words(ends, rounded8<kRounding>(k, load8(sums)),
                            rounded8<kRounding>(k, load8(both ? sums + task.tile_stride : sums)));
    const __m128i codes =
        _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes(ends, w, w), order));
    store_bytes(static_cast<std::uint64_t>(_mm_cvtsi128_si64(codes)), count, task.out[r] + c);
    if (both) {
      store_bytes(static_cast<std::uint64_t>(_mm_extract_epi64(codes, 1)), count,
                  task.out[r + 1] + c);
    }
  }
}

// The same where they are four or fewer: four rows at a time.
template <Rounding kRounding, DType kType>
LITEGAP_AVX2 void finish_four_bytes(const Requant& q, const FinishTask& task, int first,
                                    int count) {
  const auto ends = byte_ends<kRounding, kType>(q);
  const std::size_t c = task.channel + static_cast<std::size_t>(first);
  const auto k = rounded_constants<kRounding, Channels::kFourTwice>(q, c);
  const auto* sums = static_cast<const std::int32_t*>(task.tile) + first;
  // Four rows, those behind the last being the last once more.
  const auto four = [&](int r, std::size_t one, std::size_t two, std::size_t three) LITEGAP_AVX2 {
    const auto load = [](const std::int32_t* at) LITEGAP_AVX2 {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    };
    const std::int32_t* at = sums + static_cast<std::size_t>(r) * task.tile_stride;
    const __m256i a = rounded8<kRounding>(k, _mm256_set_m128i(load(at + one), load(at)));
    const __m256i b = rounded8<kRounding>(k, _mm256_set_m128i(load(at + three), load(at + two)));
    const __m256i w = words(ends, a, b);  // rows 0 and 2, then 1 and 3
    return bytes(ends, w, w);
  };
  const auto store = [&](std::int32_t codes, int r) LITEGAP_AVX2 {
    store_bytes(static_cast<std::uint32_t>(codes), count, task.out[r] + c);
  };
  int r = 0;
  const std::size_t step = task.tile_stride;
  for (; r + 4 <= task.rows; r += 4) {
    const __m256i codes = four(r, step, 2 * step, 3 * step);
    store(_mm256_extract_epi32(codes, 0), r);
    store(_mm256_extract_epi32(codes, 4), r + 1);
    store(_mm256_extract_epi32(codes, 1), r + 2);
    store(_mm256_extract_epi32(codes, 5), r + 3);
  }
  if (r == task.rows) return;
  const int more = task.rows - r;
  const std::size_t one = more > 1 ? step : 0, two = more > 2 ? 2 * step : one;
  const __m256i codes = four(r, one, two, two);
  store(_mm256_extract_epi32(codes, 0), r);
  if (more > 1) store(_mm256_extract_epi32(codes, 4), r + 1);
  if (more > 2) store(_mm256_extract_epi32(codes, 1), r + 2);
}

template <Rounding kRounding, DType kType>
LITEGAP_AVX2 void finish_rest_bytes(const Requant& q, const FinishTask& task, int first) {
  for (int i = first; i < task.count; i += 8) {
    const int count = task.count - i < 8 ? task.count - i : 8;
    if (count <= 4)
      finish_four_bytes<kRounding, kType>(q, task, i, count);
    else
      finish_eight_bytes<kRounding, kType>(q, task, i, count);
  }
}

template <Rounding kRounding>
LITEGAP_AVX2 void finish_words(const Requant& q, const FinishTask& task) {
  const __m256i zero = _mm256_set1_epi32(q.zero_point), low = _mm256_set1_epi32(q.low),
                high = _mm256_set1_epi32(q.high);
  const __m256 top = _mm256_set1_ps(static_cast<float>(q.high - q.zero_point));
  for (int i = 0; i < task.count; i += 8) {
    const std::size_t c = task.channel + static_cast<std::size_t>(i);
    const int count = task.count - i < 8 ? task.count - i : 8;
    const Fixed8 fixed = fixed_constants(q, c);
    const __m256 scale = _mm256_loadu_ps(&q.scale[c]);
    const auto* sums = static_cast<const std::int32_t*>(task.tile) + i;
    for (int r = 0; r < task.rows; ++r, sums += task.tile_stride) {
      __m256i y = load8(sums);
      if constexpr (kRounding == Rounding::kXnn)
        y = xnn8(y, scale, top);
      else
        y = fixed8(fixed, y);
      y = _mm256_max_epi32(_mm256_min_epi32(_mm256_add_epi32(y, zero), high), low);
      store_words(y, count, task.out[r] + 2 * c);
    }
  }
}

template <Rounding kRounding, DType kType>
void finish_all_bytes(const Requant& q, const FinishTask& task) {
  int i = 0;
  for (; i + 16 <= task.count; i += 16) finish_bytes<kRounding, kType>(q, task, i);
  finish_rest_bytes<kRounding, kType>(q, task, i);
}

template <Rounding kRounding>
void finish_type(const Requant& q, const FinishTask& task) {
  if (q.type == DType::kInt8) return finish_all_bytes<kRounding, DType::kInt8>(q, task);
  if (q.type == DType::kUint8) return finish_all_bytes<kRounding, DType::kUint8>(q, task);
  finish_words<kRounding>(q, task);
}

void finish(const Requant& q, const FinishTask& task) {
  if (q.rounding == Rounding::kXnn) return finish_type<Rounding::kXnn>(q, task);
  if (q.rounding == Rounding::kFixed) return finish_type<Rounding::kFixed>(q, task);
  finish_plain(q, task);
}

template <FloatScale kScale>
LITEGAP_AVX2_INLINE __m256 scaled8(const void* tile, std::size_t at, __m256 s, __m256 w,
                                   __m256 bias) {
  if constexpr (kScale == FloatScale::kClamp) {
    return _mm256_loadu_ps(static_cast<const float*>(tile) + at);
  } else if constexpr (kScale == FloatScale::kNone) {
    return _mm256_add_ps(_mm256_loadu_ps(static_cast<const float*>(tile) + at), bias);
  } else {
    const __m256 sum = _mm256_cvtepi32_ps(load8(static_cast<const std::int32_t*>(tile) + at));
    if constexpr (kScale == FloatScale::kFused)
      return _mm256_fmadd_ps(_mm256_mul_ps(sum, s), w, bias);
    if constexpr (kScale == FloatScale::kProduct)
      return _mm256_add_ps(_mm256_mul_ps(sum, _mm256_mul_ps(s, w)), bias);
    if constexpr (kScale == FloatScale::kWeightFirst)
      return _mm256_add_ps(_mm256_mul_ps(_mm256_mul_ps(sum, w), s), bias);
    return _mm256_add_ps(_mm256_mul_ps(_mm256_mul_ps(sum, s), w), bias);
  }
}

template <FloatScale kScale>
LITEGAP_AVX2 void finish_float_as(const FloatFinish& f, const FinishTask& task) {
  constexpr bool kReal = kScale == FloatScale::kNone || kScale == FloatScale::kClamp;
  const __m256 low = _mm256_set1_ps(f.low), high = _mm256_set1_ps(f.high);
  for (int i = 0; i < task.count; i += 8) {
    const std::size_t c = task.channel + static_cast<std::size_t>(i);
    const __m256 bias = _mm256_loadu_ps(f.bias + c),
                 w = kReal ? bias : _mm256_loadu_ps(f.weight_scale + c);
    std::size_t at = static_cast<std::size_t>(i);
    for (int r = 0; r < task.rows; ++r, at += task.tile_stride) {
      const __m256 s = kReal ? bias : _mm256_broadcast_ss(task.row_scale + r);
      __m256 v = scaled8<kScale>(task.tile, at, s, w, bias);
      if (c < f.low_for_nan) v = _mm256_max_ps(v, low);
      v = clamped(v, low, high);
      auto* out = reinterpret_cast<float*>(task.out[r]) + c;
      store_count(out, v, task.count - i);
    }
  }
}

void finish_float(const FloatFinish& f, const FinishTask& task) {
  const std::size_t end = task.channel + static_cast<std::size_t>(task.count);
  if (task.channel < f.split && end > f.split) {
    FinishTask head = task, tail = task;
    head.count = static_cast<int>(f.split - task.channel);
    tail.count = static_cast<int>(end - f.split);
    tail.channel = f.split;
    tail.tile = static_cast<const float*>(task.tile) + head.count;  // sums of either type
    finish_float(f, head);
    return finish_float(f, tail);
  }
  switch (task.channel < f.split ? f.scale : f.tail) {
    case FloatScale::kNone:
      return finish_float_as<FloatScale::kNone>(f, task);
    case FloatScale::kClamp:
      return finish_float_as<FloatScale::kClamp>(f, task);
    case FloatScale::kProduct:
      return finish_float_as<FloatScale::kProduct>(f, task);
    case FloatScale::kWeightFirst:
      return finish_float_as<FloatScale::kWeightFirst>(f, task);
    case FloatScale::kInputFirst:
      return finish_float_as<FloatScale::kInputFirst>(f, task);
    case FloatScale::kFused:
      return finish_float_as<FloatScale::kFused>(f, task);
    case FloatScale::kPlusSeven:
      return finish_float_plain(f, task);
  }
}

template <class W>
constexpr std::array<GemmFn, kMaxTileRows> pair_forms() {
  return {pairs<1, W, 2, 4>, pairs<2, W, 2, 2>, pairs<3, W, 2, 1>,
          pairs<4, W, 2, 1>, pairs<5, W, 2, 1>, pairs<6, W, 2, 1>};
}
template <class W>
constexpr std::array<GemmFn, kMaxTileRows> half_pair_forms() {
  return {pairs<1, W, 1, 4>, pairs<2, W, 1, 4>, pairs<3, W, 1, 2>, pairs<4, W, 1, 2>,
          pairs<5, W, 1, 2>, pairs<6, W, 1, 1>, pairs<7, W, 1, 1>, pairs<8, W, 1, 1>,
          pairs<9, W, 1, 1>, pairs<10, W, 1, 1>};
}
template <bool kFma>
constexpr std::array<GemmFn, kMaxTileRows> float_forms() {
  return {floats<1, kFma, 2>, floats<2, kFma, 2>, floats<3, kFma, 2>,
          floats<4, kFma, 2>, floats<5, kFma, 2>, floats<6, kFma, 2>};
}
template <bool kFma>
constexpr std::array<GemmFn, kMaxTileRows> half_float_forms() {
  return {floats<1, kFma, 1>, floats<2, kFma, 1>, floats<3, kFma, 1>, floats<4, kFma, 1>,
          floats<5, kFma, 1>, floats<6, kFma, 1>, floats<7, kFma, 1>, floats<8, kFma, 1>,
          floats<9, kFma, 1>, floats<10, kFma, 1>};
}

GemmKernels make_avx2() {
  GemmKernels k;
  k.name = "avx2";
  k.mr = k.mr_float = kMr;
  k.nr = k.nr_float = kNr;
  k.pairs8 = pair_forms<std::int8_t>();
  k.pairs16 = pair_forms<std::int16_t>();
  k.mr_half = 10;
  k.any_count = true;
  k.half_pairs8 = half_pair_forms<std::int8_t>();
  k.half_pairs16 = half_pair_forms<std::int16_t>();
  k.half_fused = half_float_forms<true>();
  k.half_plain = half_float_forms<false>();
  k.fused = float_forms<true>();
  k.plain = float_forms<false>();
  k.fused_row = float_row<true>;
  k.plain_row = float_row<false>;
  k.depthwise = depthwise;
  set_depthwise_avx2(k);
  set_narrow_avx2(k);
  k.finish = finish;
  k.finish_float = finish_float;
  set_conversions_avx2(k);
  return k;
}

}  // namespace

const GemmKernels* gemm_avx2() {
  static const GemmKernels kernels = make_avx2();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kernels : nullptr;
}

}  // namespace litegap

#else
namespace litegap {
const GemmKernels* gemm_avx2() { return nullptr; }
}  // namespace litegap
#endif
