#include "model/byte_codes.h"

#include <cmath>
#include <limits>

#if defined(__x86_64__)
#include <immintrin.h>
#define LITEGAP_AVX2 __attribute__((target("avx2")))
#endif

namespace litegap {

std::optional<ByteProducts> byte_products(const OneScale& q) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2")) return std::nullopt;
  // Subnormal scales are left to the quotient, as are zero points that no sum of words can hold.
  if (!(q.scale >= 1e-30 && q.scale <= 1e30) || std::abs(q.zero) > 1000) return std::nullopt;
  // Products of up to 10^6 are within 10^-9 of the quotient; of a power of two they are the
  // quotient.
  constexpr double kFar = 1e6;
  int exponent = 0;
  const bool exact = std::frexp(q.scale, &exponent) == 0.5;
  ByteProducts p{1 / q.scale, exact ? std::numeric_limits<double>::infinity() : 0.5 - 1e-9,
                 static_cast<float>(kFar * q.scale), static_cast<int>(q.zero),
                 static_cast<int>(q.low)};
  if (std::abs(q.zero) <= 255) {  // beyond 512 the codes are those at the ends
    p.brief_inverse = static_cast<float>(p.inverse);
    p.brief_sure = exact ? std::numeric_limits<float>::infinity() : 0.4999f;
    p.brief_far = static_cast<float>(512 * q.scale);
  }
  return p;
#else
  return std::nullopt;
#endif
}

#if defined(__x86_64__)
namespace {

// Four registers of integers become codes: zero point and clamp.  Each half holds four of
// a, of b, of c and of d.
template <class T>
struct CodeEnds {
  __m256i zero, low;
  LITEGAP_AVX2 explicit CodeEnds(const ByteProducts& q)
      : zero(_mm256_set1_epi16(static_cast<short>(q.zero))),
        low(_mm256_set1_epi8(static_cast<char>(q.low))) {}
  LITEGAP_AVX2 __m256i codes(__m256i a, __m256i b, __m256i c, __m256i d) const {
    constexpr bool kSigned = std::is_signed_v<T>;
    const __m256i first = _mm256_adds_epi16(_mm256_packs_epi32(a, b), zero);
    const __m256i second = _mm256_adds_epi16(_mm256_packs_epi32(c, d), zero);
    const __m256i v =
        kSigned ? _mm256_packs_epi16(first, second) : _mm256_packus_epi16(first, second);
    return kSigned ? _mm256_max_epi8(v, low) : _mm256_max_epu8(v, low);
  }
};

struct Constants {
  __m256d inverse, round, sure;
  __m256 far;
};

// Rounded products of eight floats, in the order 0 1 4 5 2 3 6 7, as the low halves of doubles that
// kToInteger was added to.
LITEGAP_AVX2 inline __attribute__((always_inline)) __m256i rounded8(const Constants& k,
                                                                    const std::byte* real,
                                                                    __m256d& doubt) {
  __m256 x = _mm256_loadu_ps(reinterpret_cast<const float*>(real));
  // In this order of operands NaN stays NaN.
  x = _mm256_max_ps(_mm256_sub_ps(_mm256_setzero_ps(), k.far), _mm256_min_ps(k.far, x));
  const __m256d sign = _mm256_set1_pd(-0.0);
  const auto product = [&](__m128 half, __m256d& moved) LITEGAP_AVX2 {
    const __m256d v = _mm256_mul_pd(_mm256_cvtps_pd(half), k.inverse);
    moved = _mm256_add_pd(v, k.round);
    const __m256d off = _mm256_andnot_pd(sign, _mm256_sub_pd(v, _mm256_sub_pd(moved, k.round)));
    doubt = _mm256_or_pd(doubt, _mm256_cmp_pd(off, k.sure, _CMP_NLT_UQ));
  };
  __m256d a, b;
  product(_mm256_castps256_ps128(x), a);
  product(_mm256_extractf128_ps(x, 1), b);
  return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castpd_ps(a), _mm256_castpd_ps(b), 0x88));
}

template <class T>
LITEGAP_AVX2 bool codes_of(const ByteProducts& q, const std::byte* real, T* codes) {
  const CodeEnds<T> ends(q);
  const Constants k{_mm256_set1_pd(q.inverse), _mm256_set1_pd(kToInteger), _mm256_set1_pd(q.sure),
                    _mm256_set1_ps(q.far)};
  // Words of two registers, joined, lie 0 1 4 5 of each, then 2 3 6 7 of each.
  const __m256i order = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
  __m256d doubt = _mm256_setzero_pd();
  for (std::size_t i = 0; i < kBytePiece; i += 32) {
    const auto rounded = [&](std::size_t at)
                             LITEGAP_AVX2 { return rounded8(k, real + at * sizeof(float), doubt); };
    __m256i v = ends.codes(rounded(i), rounded(i + 8), rounded(i + 16), rounded(i + 24));
    v = _mm256_shuffle_epi8(_mm256_permute4x64_epi64(v, 0xd8), order);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + i), v);
  }
  return _mm256_movemask_pd(doubt) == 0;
}

template <class T>
LITEGAP_AVX2 bool brief_codes_of(const ByteProducts& q, const std::byte* real, T* codes) {
  const CodeEnds<T> ends(q);
  const __m256 inverse = _mm256_set1_ps(q.brief_inverse), sure = _mm256_set1_ps(q.brief_sure);
  const __m256 far = _mm256_set1_ps(q.brief_far), sign = _mm256_set1_ps(-0.0f);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // of joined quarters
  __m256 doubt = _mm256_setzero_ps();
  const auto rounded = [&](std::size_t at) LITEGAP_AVX2 {
    __m256 x = _mm256_loadu_ps(reinterpret_cast<const float*>(real + at * sizeof(float)));
    x = _mm256_max_ps(_mm256_xor_ps(sign, far), _mm256_min_ps(far, x));  // NaN stays NaN
    const __m256 v = _mm256_mul_ps(x, inverse);
    const __m256i whole = _mm256_cvtps_epi32(v);
    const __m256 off = _mm256_andnot_ps(sign, _mm256_sub_ps(v, _mm256_cvtepi32_ps(whole)));
    doubt = _mm256_or_ps(doubt, _mm256_cmp_ps(off, sure, _CMP_NLT_UQ));
    return whole;
  };
  for (std::size_t i = 0; i < kBytePiece; i += 32) {
    const __m256i v = ends.codes(rounded(i), rounded(i + 8), rounded(i + 16), rounded(i + 24));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + i),
                        _mm256_permutevar8x32_epi32(v, order));
  }
  return _mm256_movemask_ps(doubt) == 0;
}

template <class T>
bool either_codes_of(const ByteProducts& q, const std::byte* real, T* codes) {
  return (q.brief_far > 0 && brief_codes_of(q, real, codes)) || codes_of(q, real, codes);
}

}  // namespace

bool byte_codes(const ByteProducts& q, const std::byte* real, std::int8_t* codes) {
  return either_codes_of(q, real, codes);
}
bool byte_codes(const ByteProducts& q, const std::byte* real, std::uint8_t* codes) {
  return either_codes_of(q, real, codes);
}
#else
bool byte_codes(const ByteProducts&, const std::byte*, std::int8_t*) { return false; }
bool byte_codes(const ByteProducts&, const std::byte*, std::uint8_t*) { return false; }
#endif

}  // namespace litegap
