// The loops of scan.h for AVX-512 with VNNI, with the bits of the others: a register holds two
// neighbouring vectors of eight, so every lane adds what it adds there, in the same order.
//
//   floats   [sum 0 | sum 1], [sum 2 | sum 3] of the first half, the same of the second
//   errors   [state 0 | state 1]
#include "run/scan.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push  // its header of intrinsics starts from undefined registers
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "kernels/gemm.h"

#define LITEGAP_SCAN \
  __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

namespace litegap {
namespace {

LITEGAP_SCAN inline void widen(const std::int16_t* p, I8& out) {
  const __m256i v = _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  __builtin_memcpy(&out, &v, sizeof out);
}
LITEGAP_SCAN inline __m512i widen16(const std::int8_t* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
LITEGAP_SCAN inline __m512i widen16(const std::uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
LITEGAP_SCAN inline __m128i first8(const void* p) {
  return _mm_loadl_epi64(static_cast<const __m128i*>(p));
}
LITEGAP_SCAN inline __m512i widen8(const std::int8_t* p) { return _mm512_cvtepi8_epi32(first8(p)); }
LITEGAP_SCAN inline __m512i widen8(const std::uint8_t* p) {
  return _mm512_cvtepu8_epi32(first8(p));
}

}  // namespace
}  // namespace litegap

#define LITEGAP_SCAN_CODES_ONLY  // the loops over floats are below
#include "run/scan_body.h"

namespace litegap {
namespace {

constexpr __mmask16 kFirst8 = 0xFF, kAll16 = 0xFFFF;

// Lanes of a register as eight, then in the order of total(): two at once.
LITEGAP_SCAN inline __m512d eight(__m512 v) {
  const __m256 low = _mm512_castps512_ps256(v), high = _mm512_extractf32x8_ps(v, 1);
  return _mm512_cvtps_pd(_mm256_add_ps(low, high));
}
LITEGAP_SCAN inline __m256d pairs(__m512d v) {
  return _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
}
LITEGAP_SCAN inline void totals(__m512d a, __m512d b, double& sum_a, double& sum_b) {
  const __m256d both = _mm256_hadd_pd(pairs(a), pairs(b));
  const __m128d sums = _mm_add_pd(_mm256_castpd256_pd128(both), _mm256_extractf128_pd(both, 1));
  sum_a = _mm_cvtsd_f64(sums);
  sum_b = _mm_cvtsd_f64(_mm_unpackhi_pd(sums, sums));
}
// (a's low + a's high) + (b's low + b's high)
LITEGAP_SCAN inline __m512d eight(__m512 a, __m512 b) {
  const __m256 first = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m256 second = _mm256_add_ps(_mm512_castps512_ps256(b), _mm512_extractf32x8_ps(b, 1));
  return _mm512_cvtps_pd(_mm256_add_ps(first, second));
}

struct WideState {
  __m512 low[4], high[4], sum[4], squares[4];
  __m512i most[4];  // bit patterns
};
// Lanes outside of `m` stay as they are.
template <bool kPositive>
LITEGAP_SCAN inline void add_wide(WideState& s, int h, __mmask16 m, __m512 x) {
  if constexpr (kPositive) {
    s.most[h] = _mm512_mask_max_epu32(s.most[h], m, _mm512_castps_si512(x), s.most[h]);
  } else {
    s.low[h] = _mm512_mask_min_ps(s.low[h], m, x, s.low[h]);
    s.high[h] = _mm512_mask_max_ps(s.high[h], m, x, s.high[h]);
  }
  s.sum[h] = _mm512_mask_add_ps(s.sum[h], m, s.sum[h], x);
  s.squares[h] = _mm512_mask3_fmadd_ps(x, x, s.squares[h], m);
}

template <bool kPositive>
LITEGAP_SCAN inline bool wide_float_sums(const float* v, std::size_t n, FloatSums& out) {
  const __m512 inf = _mm512_set1_ps(std::numeric_limits<float>::infinity());
  const __m512 less = _mm512_sub_ps(_mm512_setzero_ps(), inf), zero = _mm512_setzero_ps();
  WideState s;
#pragma GCC unroll 4  // or the compiler keeps them in memory
  for (int h = 0; h < 4; ++h) {
    s.low[h] = inf;
    s.high[h] = less;
    s.sum[h] = s.squares[h] = zero;
    s.most[h] = _mm512_setzero_si512();
  }
  const std::size_t half = scan_half(n);
  for (std::size_t i = 0; i < half; i += kScanLanes) {
    add_wide<kPositive>(s, 0, kAll16, _mm512_loadu_ps(v + i));
    add_wide<kPositive>(s, 1, kAll16, _mm512_loadu_ps(v + i + 16));
    add_wide<kPositive>(s, 2, kAll16, _mm512_loadu_ps(v + half + i));
    add_wide<kPositive>(s, 3, kAll16, _mm512_loadu_ps(v + half + i + 16));
  }
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    s.low[h] = _mm512_min_ps(s.low[h], s.low[h + 2]);
    s.high[h] = _mm512_max_ps(s.high[h], s.high[h + 2]);
    s.most[h] = _mm512_max_epu32(s.most[h], s.most[h + 2]);
    s.sum[h] = _mm512_add_ps(s.sum[h + 2], s.sum[h]);
    s.squares[h] = _mm512_add_ps(s.squares[h + 2], s.squares[h]);
  }
#pragma GCC unroll 4
  for (int h = 0; h < 4; ++h) {
    const std::size_t i = 2 * half + 16 * static_cast<std::size_t>(h);
    if (i >= n) break;
    const __mmask16 m = n - i < 16 ? kFirst8 : kAll16;
    add_wide<kPositive>(s, h & 1, m, _mm512_maskz_loadu_ps(m, v + i));
  }
  if constexpr (kPositive) {
    const std::uint32_t bits = _mm512_reduce_max_epu32(_mm512_max_epu32(s.most[0], s.most[1]));
    if (bits > kGreatestBits) return false;
    out.low = 0;
    __builtin_memcpy(&out.high, &bits, sizeof bits);
  } else {
    out.low = _mm512_reduce_min_ps(_mm512_min_ps(s.low[0], s.low[1]));
    out.high = _mm512_reduce_max_ps(_mm512_max_ps(s.high[0], s.high[1]));
  }
  totals(eight(s.sum[0], s.sum[1]), eight(s.squares[0], s.squares[1]), out.sum, out.squares);
  return true;
}
LITEGAP_SCAN void wide_floats(const float* v, std::size_t n, FloatSums& out) {
  wide_float_sums<false>(v, n, out);
}
LITEGAP_SCAN bool wide_positive(const float* v, std::size_t n, FloatSums& out) {
  return wide_float_sums<true>(v, n, out);
}

// Of bytes x and u = x + 128 (or u and x = u - 128) the sum of u x is that of x^2 + 128 x; four of
// them fit into a 32-bit sum over a chunk: 131072 / 16 * 255 * 127.
template <bool kSigned, bool kLow, bool kHigh>
LITEGAP_SCAN void wide_byte_sums(const void* v, std::size_t n, CodeSums& out) {
  const auto* in = static_cast<const std::byte*>(v);
  const __m512i turn = _mm512_set1_epi8(-128), ones = _mm512_set1_epi8(1);
  // Four of each sum: a product waits five cycles for the one before.
  const __m512i none = _mm512_setzero_si512();
  __m512i low = _mm512_set1_epi8(kLow ? 127 : -128), high = _mm512_set1_epi8(kHigh ? -128 : 127),
          sum[4] = {none, none, none, none}, mixed[4] = {none, none, none, none};
  const auto add = [&](int h, __m512i read, __mmask64 m) LITEGAP_SCAN {
    __asm__("" : "+v"(read));  // or every use of it is a load
    const __m512i turned = _mm512_xor_si512(read, turn);
    const __m512i x = kSigned ? read : turned, u = kSigned ? turned : read;
    if constexpr (kLow) low = _mm512_mask_min_epi8(low, m, low, x);
    if constexpr (kHigh) high = _mm512_mask_max_epi8(high, m, high, x);
    sum[h] = _mm512_dpbusd_epi32(sum[h], ones, x);
    mixed[h] = _mm512_dpbusd_epi32(mixed[h], u, x);
  };
  constexpr __mmask64 kAll = ~__mmask64{0}, kHalf = 0xFFFFFFFF;
  std::size_t i = 0;
  for (; i + 256 <= n; i += 256) {
#pragma GCC unroll 4
    for (int h = 0; h < 4; ++h) add(h, _mm512_loadu_si512(in + i + 64 * h), kAll);
  }
  for (; i < n; i += 64) {  // the last is half a register or all: filled up with codes whose x is 0
    const __mmask64 m = n - i < 64 ? kHalf : kAll;
    add(0, _mm512_mask_loadu_epi8(kSigned ? none : turn, m, in + i), m);
  }
  const auto wide_sum = [](const __m512i* of) LITEGAP_SCAN {
    const __m512i a =
        _mm512_add_epi32(_mm512_add_epi32(of[0], of[1]), _mm512_add_epi32(of[2], of[3]));
    return _mm512_reduce_add_epi64(
        _mm512_add_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(a)),
                         _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(a, 1))));
  };
  const auto least = [](__m512i a) LITEGAP_SCAN {
    __m256i b = _mm256_min_epi8(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    __m128i c = _mm_min_epi8(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
    c = _mm_xor_si128(c, _mm_set1_epi8(-128));
    c = _mm_minpos_epu16(
        _mm_min_epu8(_mm_and_si128(c, _mm_set1_epi16(0xFF)), _mm_srli_epi16(c, 8)));
    return _mm_extract_epi16(c, 0) - 128;
  };
  // x and what is added to it for the code; the largest x is -1 - the least of -1 - x.
  const std::int64_t bias = kSigned ? 0 : 128, count = static_cast<std::int64_t>(n),
                     sum_x = wide_sum(sum), squares_x = wide_sum(mixed) - 128 * sum_x;
  const int most = !kHigh ? 127 : -1 - least(_mm512_xor_si512(high, _mm512_set1_epi8(-1)));
  const int fewest = kLow ? least(low) : -128;
  out = {fewest + static_cast<std::int32_t>(bias), most + static_cast<std::int32_t>(bias),
         sum_x + bias * count, squares_x + 2 * bias * sum_x + bias * bias * count};
}
template <class T>
void byte_sums(const T* v, std::size_t n, KnownCodes known, CodeSums& out) {
  by_known(known, [&](auto low, auto high) {
    wide_byte_sums<std::is_signed_v<T>, low(), high()>(v, n, out);
  });
}

constexpr int kLargestSize = 0b1011;  // of vrangeps: the larger of two absolute values
struct WideErrors {
  __m512 signal, bias, error, largest;
};
LITEGAP_SCAN inline void add_wide_error(WideErrors& s, __m512 exact, __m512 found) {
  __asm__("" : "+v"(exact));  // or every use of it is a load
  const __m512 d = _mm512_sub_ps(found, exact);
  s.signal = _mm512_fmadd_ps(exact, exact, s.signal);
  s.bias = _mm512_add_ps(s.bias, d);
  s.error = _mm512_fmadd_ps(d, d, s.error);
  s.largest = _mm512_range_ps(d, s.largest, kLargestSize);
}
// The rest of eight has zeros in its other lanes, whose sums that leaves as they are: they are not
// -0, as 0 was the first of their terms.
template <class Found>
LITEGAP_SCAN inline void wide_errors(const float* exact, std::size_t n, ErrorSums& out,
                                     const Found& found) {
  const __m512 zero = _mm512_setzero_ps();
  WideErrors s{zero, zero, zero, zero}, t = s;
  const std::size_t half = error_half(n);
  for (std::size_t i = 0; i < half; i += 16) {
    add_wide_error(s, _mm512_loadu_ps(exact + i), found.all(i));
    add_wide_error(t, _mm512_loadu_ps(exact + half + i), found.all(half + i));
  }
  s.signal = _mm512_add_ps(t.signal, s.signal);
  s.bias = _mm512_add_ps(t.bias, s.bias);
  s.error = _mm512_add_ps(t.error, s.error);
  s.largest = _mm512_max_ps(t.largest, s.largest);
  std::size_t i = 2 * half;
  if (i + 16 <= n) {
    add_wide_error(s, _mm512_loadu_ps(exact + i), found.all(i));
    i += 16;
  }
  if (i < n) add_wide_error(s, _mm512_maskz_loadu_ps(kFirst8, exact + i), found.half(i));
  const __m512d error = eight(s.error);
  totals(eight(s.signal), eight(s.bias), out.signal, out.bias);
  totals(error, error, out.error, out.error);
  out.largest = _mm512_reduce_max_ps(s.largest);
}

struct FoundFloats {
  const float* v;
  LITEGAP_SCAN __m512 all(std::size_t i) const { return _mm512_loadu_ps(v + i); }
  LITEGAP_SCAN __m512 half(std::size_t i) const { return _mm512_maskz_loadu_ps(kFirst8, v + i); }
};
template <class T>
struct FoundCodes {
  const T* v;
  __m512 scale;
  __m512i zero;
  LITEGAP_SCAN __m512 all(std::size_t i) const { return real(widen16(v + i), kAll16); }
  LITEGAP_SCAN __m512 half(std::size_t i) const { return real(widen8(v + i), kFirst8); }
  LITEGAP_SCAN __m512 real(__m512i code, __mmask16 m) const {
    return _mm512_maskz_mul_ps(m, _mm512_cvtepi32_ps(_mm512_sub_epi32(code, zero)), scale);
  }
};
LITEGAP_SCAN void wide_float_errors(const float* exact, const float* found, std::size_t n,
                                    ErrorSums& out) {
  wide_errors(exact, n, out, FoundFloats{found});
}
template <class T>
LITEGAP_SCAN void wide_code_errors(const float* exact, const T* found, std::size_t n, float scale,
                                   std::int32_t zero, ErrorSums& out) {
  wide_errors(exact, n, out, FoundCodes<T>{found, _mm512_set1_ps(scale), _mm512_set1_epi32(zero)});
}

constexpr ScanLoops kLoops{wide_floats,
                           wide_positive,
                           byte_sums<std::int8_t>,
                           byte_sums<std::uint8_t>,
                           code_sums<std::int16_t>,
                           wide_float_errors,
                           wide_code_errors<std::int8_t>,
                           wide_code_errors<std::uint8_t>};

}  // namespace

// The products ask for the same instructions.
const ScanLoops* avx512_scan_loops() { return gemm_avx512() != nullptr ? &kLoops : nullptr; }

}  // namespace litegap
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#else

namespace litegap {

const ScanLoops* avx512_scan_loops() { return nullptr; }

}  // namespace litegap
#endif
