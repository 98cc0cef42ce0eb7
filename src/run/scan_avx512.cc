// The loops of scan.h for AVX-512 with VNNI, with the bits of the others: a register holds two
// neighbouring vectors of eight, so every lane adds what it adds there, in the same order.
//
//   floats   [sum 0 | sum 1], [sum 2 | sum 3]
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

LITEGAP_SCAN inline void halves(__m512 v, F8& low, F8& high) {
  F8 half[2];
  __builtin_memcpy(half, &v, sizeof half);
  low = half[0];
  high = half[1];
}
// (a's low + a's high) + (b's low + b's high), then the lanes.
LITEGAP_SCAN inline double total(__m512 a, __m512 b) {
  F8 v[4];
  halves(a, v[0], v[1]);
  halves(b, v[2], v[3]);
  return total((v[0] + v[1]) + (v[2] + v[3]));
}
LITEGAP_SCAN inline double total(__m512 a) {
  F8 v[2];
  halves(a, v[0], v[1]);
  return total(v[0] + v[1]);
}

struct WideState {
  __m512 low[2], high[2], sum[2], squares[2];
};
// Lanes outside of `m` stay as they are.
LITEGAP_SCAN inline void add_wide(WideState& s, int h, __mmask16 m, __m512 x) {
  s.low[h] = _mm512_mask_min_ps(s.low[h], m, x, s.low[h]);
  s.high[h] = _mm512_mask_max_ps(s.high[h], m, x, s.high[h]);
  s.sum[h] = _mm512_mask_add_ps(s.sum[h], m, s.sum[h], x);
  s.squares[h] = _mm512_mask3_fmadd_ps(x, x, s.squares[h], m);
}

LITEGAP_SCAN void wide_float_sums(const float* v, std::size_t n, FloatSums& out) {
  const __m512 inf = _mm512_set1_ps(std::numeric_limits<float>::infinity());
  const __m512 less = _mm512_sub_ps(_mm512_setzero_ps(), inf), zero = _mm512_setzero_ps();
  WideState s{{inf, inf}, {less, less}, {zero, zero}, {zero, zero}};
  std::size_t i = 0;
  for (; i + kScanLanes <= n; i += kScanLanes) {
    add_wide(s, 0, kAll16, _mm512_loadu_ps(v + i));
    add_wide(s, 1, kAll16, _mm512_loadu_ps(v + i + 16));
  }
  for (int h = 0; i < n; i += 16, ++h) {
    const __mmask16 m = n - i < 16 ? kFirst8 : kAll16;
    add_wide(s, h, m, _mm512_maskz_loadu_ps(m, v + i));
  }
  out.low = _mm512_reduce_min_ps(_mm512_min_ps(s.low[0], s.low[1]));
  out.high = _mm512_reduce_max_ps(_mm512_max_ps(s.high[0], s.high[1]));
  out.sum = total(s.sum[0], s.sum[1]);
  out.squares = total(s.squares[0], s.squares[1]);
}

// Of bytes x and u = x + 128 (or u and x = u - 128) the sum of u x is that of x^2 + 128 x; four of
// them fit into a 32-bit sum over a chunk: 131072 / 16 * 255 * 127.
template <bool kSigned>
LITEGAP_SCAN inline void wide_byte_sums(const void* v, std::size_t n, CodeSums& out) {
  const auto* in = static_cast<const std::byte*>(v);
  const __m512i turn = _mm512_set1_epi8(-128), ones = _mm512_set1_epi8(1);
  // Two of each sum: a product waits five cycles for the one before.
  const __m512i none = _mm512_setzero_si512();
  __m512i low = _mm512_set1_epi8(127), high = turn, sum[2] = {none, none}, mixed[2] = {none, none};
  const auto add = [&](int h, __m512i read, __mmask64 m) LITEGAP_SCAN {
    const __m512i turned = _mm512_xor_si512(read, turn);
    const __m512i x = kSigned ? read : turned, u = kSigned ? turned : read;
    low = _mm512_mask_min_epi8(low, m, low, x);
    high = _mm512_mask_max_epi8(high, m, high, x);
    sum[h] = _mm512_dpbusd_epi32(sum[h], ones, x);
    mixed[h] = _mm512_dpbusd_epi32(mixed[h], u, x);
  };
  constexpr __mmask64 kAll = ~__mmask64{0}, kHalf = 0xFFFFFFFF;
  std::size_t i = 0;
  for (; i + 128 <= n; i += 128) {
    add(0, _mm512_loadu_si512(in + i), kAll);
    add(1, _mm512_loadu_si512(in + i + 64), kAll);
  }
  for (; i < n; i += 64) {  // the last is half a register or all: filled up with codes whose x is 0
    const __mmask64 m = n - i < 64 ? kHalf : kAll;
    add(0, _mm512_mask_loadu_epi8(kSigned ? none : turn, m, in + i), m);
  }
  const auto wide_sum = [](__m512i a) LITEGAP_SCAN {
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
                     sum_x = wide_sum(_mm512_add_epi32(sum[0], sum[1])),
                     squares_x = wide_sum(_mm512_add_epi32(mixed[0], mixed[1])) - 128 * sum_x;
  const int most = -1 - least(_mm512_xor_si512(high, _mm512_set1_epi8(-1)));
  out = {least(low) + static_cast<std::int32_t>(bias), most + static_cast<std::int32_t>(bias),
         sum_x + bias * count, squares_x + 2 * bias * sum_x + bias * bias * count};
}
LITEGAP_SCAN void int8_sums(const std::int8_t* v, std::size_t n, CodeSums& out) {
  wide_byte_sums<true>(v, n, out);
}
LITEGAP_SCAN void uint8_sums(const std::uint8_t* v, std::size_t n, CodeSums& out) {
  wide_byte_sums<false>(v, n, out);
}

struct WideErrors {
  __m512 signal, bias, error, largest;
};
LITEGAP_SCAN inline void add_wide_error(WideErrors& s, __m512 exact, __m512 found) {
  const __m512 d = _mm512_sub_ps(found, exact), square = _mm512_mul_ps(d, d);
  s.signal = _mm512_add_ps(s.signal, _mm512_mul_ps(exact, exact));
  s.bias = _mm512_add_ps(s.bias, d);
  s.error = _mm512_add_ps(s.error, square);
  s.largest = _mm512_max_ps(square, s.largest);  // a NaN leaves the second operand
}
// The rest of eight has zeros in its other lanes, whose sums that leaves as they are: they are not
// -0, as 0 was the first of their terms.
template <class Found>
LITEGAP_SCAN inline void wide_errors(const float* exact, std::size_t n, ErrorSums& out,
                                     const Found& found) {
  const __m512 zero = _mm512_setzero_ps();
  WideErrors s{zero, zero, zero, zero};
  std::size_t i = 0;
  for (; i + kErrorStep <= n; i += kErrorStep)
    add_wide_error(s, _mm512_loadu_ps(exact + i), found.all(i));
  if (i < n) add_wide_error(s, _mm512_maskz_loadu_ps(kFirst8, exact + i), found.half(i));
  out.signal = total(s.signal);
  out.bias = total(s.bias);
  out.error = total(s.error);
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

constexpr ScanLoops kLoops{wide_float_sums,
                           int8_sums,
                           uint8_sums,
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
