#include "kernels/resize_codes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace litegap {
namespace {

// Both lines lie between the four codes: 255 * 2^22 fits.
template <class T>
T one(MixWeights w, std::int32_t tl, std::int32_t tr, std::int32_t bl, std::int32_t br) {
  const std::int32_t t = tl * 2048 + (tr - tl) * w.x, b = bl * 2048 + (br - bl) * w.x;
  return static_cast<T>((t * 2048 + (b - t) * w.y + (1 << 21)) >> 22);
}

#if defined(__x86_64__)
#define LITEGAP_AVX2 __attribute__((target("avx2"), always_inline)) inline

// Eight codes of two neighbours as pairs of words.
template <class T>
LITEGAP_AVX2 __m256i pairs(__m128i bytes) {
  return T(-1) < T(0) ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes);
}
struct Vectors {
  __m256i x, lower, upper, half;
};
// (t (2048 - y) + b y + 2^21) >> 22, t and b each a sum of two products of words.
LITEGAP_AVX2 __m256i mixed(const Vectors& v, __m256i top, __m256i bottom) {
  const __m256i t = _mm256_madd_epi16(top, v.x), b = _mm256_madd_epi16(bottom, v.x);
  const __m256i sum =
      _mm256_add_epi32(_mm256_mullo_epi32(t, v.upper), _mm256_mullo_epi32(b, v.lower));
  return _mm256_srai_epi32(_mm256_add_epi32(sum, v.half), 22);
}

// Sixteen codes or more: the last block overlaps the one before.
template <class T>
__attribute__((target("avx2"))) void blocks(MixWeights w, std::size_t n, const T* tl, const T* tr,
                                            const T* bl, const T* br, T* out) noexcept {
  const Vectors v{_mm256_set1_epi32((2048 - w.x) | w.x << 16), _mm256_set1_epi32(w.y),
                  _mm256_set1_epi32(2048 - w.y), _mm256_set1_epi32(1 << 21)};
  const auto load = [](const T* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); };
  for (std::size_t at = 0; at < n; at += 16) {
    const std::size_t i = at + 16 <= n ? at : n - 16;
    const __m128i a = load(tl + i), b = load(tr + i), c = load(bl + i), d = load(br + i);
    const __m256i low =
        mixed(v, pairs<T>(_mm_unpacklo_epi8(a, b)), pairs<T>(_mm_unpacklo_epi8(c, d)));
    const __m256i high =
        mixed(v, pairs<T>(_mm_unpackhi_epi8(a, b)), pairs<T>(_mm_unpackhi_epi8(c, d)));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
    const __m128i first = _mm256_castsi256_si128(words),
                  second = _mm256_extracti128_si256(words, 1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), T(-1) < T(0)
                                                              ? _mm_packs_epi16(first, second)
                                                              : _mm_packus_epi16(first, second));
  }
}
#undef LITEGAP_AVX2
#endif

}  // namespace

template <class T>
void mix_codes(MixWeights w, std::size_t n, const T* tl, const T* tr, const T* bl, const T* br,
               T* out) noexcept {
#if defined(__x86_64__)
  if (n >= 16 && __builtin_cpu_supports("avx2")) return blocks(w, n, tl, tr, bl, br, out);
#endif
  for (std::size_t i = 0; i < n; ++i) out[i] = one<T>(w, tl[i], tr[i], bl[i], br[i]);
}

template void mix_codes(MixWeights, std::size_t, const std::int8_t*, const std::int8_t*,
                        const std::int8_t*, const std::int8_t*, std::int8_t*) noexcept;
template void mix_codes(MixWeights, std::size_t, const std::uint8_t*, const std::uint8_t*,
                        const std::uint8_t*, const std::uint8_t*, std::uint8_t*) noexcept;

}  // namespace litegap
