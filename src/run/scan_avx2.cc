#include "run/scan.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define LITEGAP_SCAN __attribute__((target("avx2,fma")))

namespace litegap {
namespace {

LITEGAP_SCAN inline void widen(const std::int8_t* p, I8& out) {
  const __m256i v = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  __builtin_memcpy(&out, &v, sizeof out);
}
LITEGAP_SCAN inline void widen(const std::uint8_t* p, I8& out) {
  const __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  __builtin_memcpy(&out, &v, sizeof out);
}
LITEGAP_SCAN inline void widen(const std::int16_t* p, I8& out) {
  const __m256i v = _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  __builtin_memcpy(&out, &v, sizeof out);
}
// v * 1 + sum has the bits of the sum, and leaves to the extremes the units that add: 1.5 times as
// fast on Zen 3.  The compiler must not see that it is 1.
struct Adder {
  LITEGAP_SCAN Adder() : one(_mm256_set1_ps(1)) { __asm__("" : "+x"(one)); }
  LITEGAP_SCAN void add(F8& sum, const F8& v) const { sum = _mm256_fmadd_ps(v, one, sum); }
  LITEGAP_SCAN void add_square(F8& sum, const F8& v) const { sum = _mm256_fmadd_ps(v, v, sum); }
  __m256 one;
};

}  // namespace
}  // namespace litegap

#include "run/scan_body.h"

namespace litegap {
namespace {

LITEGAP_SCAN inline std::int64_t total64(__m256i v) {
  const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  return _mm_cvtsi128_si64(_mm_add_epi64(half, _mm_unpackhi_epi64(half, half)));
}
// The eight sums of 32 bits as four of 64.
LITEGAP_SCAN inline __m256i widened(__m256i v) {
  const __m256i zero = _mm256_setzero_si256();
  return _mm256_add_epi64(_mm256_unpacklo_epi32(v, zero), _mm256_unpackhi_epi32(v, zero));
}
LITEGAP_SCAN inline int least_byte(__m256i v) {
  const __m128i half = _mm_min_epu8(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  // Of two bytes the smaller, in words.
  return _mm_extract_epi16(_mm_minpos_epu16(_mm_min_epu8(half, _mm_srli_epi16(half, 8))), 0);
}

// Integer sums are exact, so any order will do.  All is done with unsigned codes u (of int8 the
// sign bit is turned, u = x + 128): bytes are summed by vpsadbw, squares by vpmaddwd.
template <bool kSigned, bool kLow, bool kHigh>
LITEGAP_SCAN void bytes_sums(const void* v, std::size_t n, CodeSums& out) {
  const auto* in = static_cast<const std::byte*>(v);
  const __m256i turn = _mm256_set1_epi8(kSigned ? -128 : 0), low_byte = _mm256_set1_epi16(0xFF);
  const __m256i zero = _mm256_setzero_si256(), ones = _mm256_set1_epi8(-1);
  __m256i low = kLow ? ones : zero, high = kHigh ? zero : ones, sum = zero, even_squares = zero,
          odd_squares = zero;
  for (std::size_t i = 0; i < n; i += 32) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + i));
    const __m256i u = _mm256_xor_si256(x, turn);
    if constexpr (kLow) low = _mm256_min_epu8(low, u);
    if constexpr (kHigh) high = _mm256_max_epu8(high, u);
    sum = _mm256_add_epi64(sum, _mm256_sad_epu8(u, zero));
    const __m256i even = _mm256_and_si256(u, low_byte), odd = _mm256_srli_epi16(u, 8);
    even_squares = _mm256_add_epi32(even_squares, _mm256_madd_epi16(even, even));
    odd_squares = _mm256_add_epi32(odd_squares, _mm256_madd_epi16(odd, odd));
  }
  const std::int64_t bias = kSigned ? 128 : 0, count = static_cast<std::int64_t>(n),
                     sum_u = total64(sum),
                     squares_u =
                         total64(_mm256_add_epi64(widened(even_squares), widened(odd_squares)));
  out = {least_byte(low) - static_cast<std::int32_t>(bias),
         255 - least_byte(_mm256_xor_si256(high, ones)) - static_cast<std::int32_t>(bias),
         sum_u - bias * count, squares_u - 2 * bias * sum_u + bias * bias * count};
}

template <class T>
void byte_sums(const T* v, std::size_t n, KnownCodes known, CodeSums& out) {
  by_known(known,
           [&](auto low, auto high) { bytes_sums<std::is_signed_v<T>, low(), high()>(v, n, out); });
}

constexpr ScanLoops kLoops{all_floats,
                           positive_floats,
                           byte_sums<std::int8_t>,
                           byte_sums<std::uint8_t>,
                           code_sums<std::int16_t>,
                           float_errors,
                           code_errors<std::int8_t>,
                           code_errors<std::uint8_t>};

}  // namespace

const ScanLoops* avx2_scan_loops() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kLoops : nullptr;
}

}  // namespace litegap
#else

namespace litegap {

const ScanLoops* avx2_scan_loops() { return nullptr; }

}  // namespace litegap
#endif
