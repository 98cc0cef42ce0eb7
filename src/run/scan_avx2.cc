#include "run/scan.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define LITEGAP_SCAN __attribute__((target("avx2")))

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

}  // namespace
}  // namespace litegap

#include "run/scan_body.h"

namespace litegap {
namespace {

LITEGAP_SCAN std::int64_t total64(__m256i v) {
  alignas(32) std::int64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), v);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}
LITEGAP_SCAN std::int64_t total32(__m256i v) {
  alignas(32) std::int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), v);
  std::int64_t sum = 0;
  for (const std::int32_t x : lanes) sum += x;
  return sum;
}

// Integer sums are exact, so any order will do: bytes are summed by vpsadbw, squares by vpmaddwd.
// Of int8, bytes are taken with their sign bit turned, which adds 128 to each.
template <bool kSigned>
LITEGAP_SCAN void bytes_sums(const void* v, std::size_t n, CodeSums& out) {
  const auto* in = static_cast<const std::byte*>(v);
  const __m256i turn = _mm256_set1_epi8(kSigned ? -128 : 0), low_byte = _mm256_set1_epi16(0xFF);
  __m256i low = _mm256_set1_epi8(-1), high = _mm256_setzero_si256(), sum = high, squares = high;
  for (std::size_t i = 0; i < n; i += 32) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + i));
    const __m256i u = _mm256_xor_si256(x, turn);
    low = _mm256_min_epu8(low, u);
    high = _mm256_max_epu8(high, u);
    sum = _mm256_add_epi64(sum, _mm256_sad_epu8(u, _mm256_setzero_si256()));
    const __m256i even =
        kSigned ? _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8) : _mm256_and_si256(x, low_byte);
    const __m256i odd = kSigned ? _mm256_srai_epi16(x, 8) : _mm256_srli_epi16(x, 8);
    squares = _mm256_add_epi32(
        squares, _mm256_add_epi32(_mm256_madd_epi16(even, even), _mm256_madd_epi16(odd, odd)));
  }
  alignas(32) std::uint8_t lows[32], highs[32];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lows), low);
  _mm256_store_si256(reinterpret_cast<__m256i*>(highs), high);
  const int bias = kSigned ? 128 : 0;
  out = {*std::min_element(lows, lows + 32) - bias, *std::max_element(highs, highs + 32) - bias,
         total64(sum) - bias * static_cast<std::int64_t>(n), total32(squares)};
}

LITEGAP_SCAN void int8_sums(const std::int8_t* v, std::size_t n, CodeSums& out) {
  bytes_sums<true>(v, n, out);
}
LITEGAP_SCAN void uint8_sums(const std::uint8_t* v, std::size_t n, CodeSums& out) {
  bytes_sums<false>(v, n, out);
}

constexpr ScanLoops kLoops{float_lanes,
                           int8_sums,
                           uint8_sums,
                           code_sums<std::int16_t>,
                           error_lanes,
                           code_errors<std::int8_t>,
                           code_errors<std::uint8_t>};

}  // namespace

const ScanLoops* avx2_scan_loops() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") ? &kLoops : nullptr;
}

}  // namespace litegap
#else

namespace litegap {

const ScanLoops* avx2_scan_loops() { return nullptr; }

}  // namespace litegap
#endif
