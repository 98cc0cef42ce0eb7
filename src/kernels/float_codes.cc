#include "kernels/float_codes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/arith.h"

namespace litegap {
namespace {

template <class T>
T one(const RoundRow& f, float x) {
  const float v = x * f.inverse, above = v > f.low ? v : f.low;
  return static_cast<T>(small_round_even(f.high < above ? f.high : above) + f.zero);
}

#if defined(__x86_64__)
#define LITEGAP_AVX2 __attribute__((target("avx2"), always_inline)) inline
constexpr std::size_t kBlock = 32;

struct Vectors {
  __m256 inverse, low, high;
};
LITEGAP_AVX2 __m256i rounded(const Vectors& v, const float* x) {
  const __m256 real = _mm256_mul_ps(_mm256_loadu_ps(x), v.inverse);
  return _mm256_cvtps_epi32(_mm256_min_ps(v.high, _mm256_max_ps(real, v.low)));
}

// Whole blocks; how many values they are.
template <class T>
__attribute__((target("avx2"))) std::size_t round_blocks(const RoundRow& f, std::size_t n,
                                                         const float* x, T* out) noexcept {
  const Vectors v{_mm256_set1_ps(f.inverse), _mm256_set1_ps(f.low), _mm256_set1_ps(f.high)};
  const __m256i zero = _mm256_set1_epi16(static_cast<std::int16_t>(f.zero));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packing goes by halves
  std::size_t i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    const __m256i a = _mm256_packs_epi32(rounded(v, x + i), rounded(v, x + i + 8));
    const __m256i b = _mm256_packs_epi32(rounded(v, x + i + 16), rounded(v, x + i + 24));
    const __m256i first = _mm256_add_epi16(a, zero), second = _mm256_add_epi16(b, zero);
    const __m256i codes =
        T(-1) < T(0) ? _mm256_packs_epi16(first, second) : _mm256_packus_epi16(first, second);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i),
                        _mm256_permutevar8x32_epi32(codes, order));
  }
  return i;
}

template <class T>
LITEGAP_AVX2 __m256i eight(const T* x) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
  return T(-1) < T(0) ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
}
template <class T>
__attribute__((target("avx2"))) std::size_t float_blocks(float scale, std::int32_t zero,
                                                         std::size_t n, const T* x,
                                                         float* out) noexcept {
  const __m256 factor = _mm256_set1_ps(scale);
  const __m256i zeros = _mm256_set1_epi32(zero);
  std::size_t i = 0;
  for (; i + kBlock <= n; i += kBlock) {
#pragma GCC unroll 4
    for (std::size_t k = i; k < i + kBlock; k += 8) {
      const __m256i difference = _mm256_sub_epi32(eight(x + k), zeros);
      _mm256_storeu_ps(out + k, _mm256_mul_ps(_mm256_cvtepi32_ps(difference), factor));
    }
  }
  return i;
}
#undef LITEGAP_AVX2
#endif

}  // namespace

template <class T>
void round_to_codes(const RoundRow& f, std::size_t n, const float* x, T* out) noexcept {
  std::size_t i = 0;
#if defined(__x86_64__)
  const bool words = f.low >= -32768.0f && f.high <= 32767.0f;  // not with a far zero point
  if (words && __builtin_cpu_supports("avx2")) i = round_blocks(f, n, x, out);
#endif
  for (; i < n; ++i) out[i] = one<T>(f, x[i]);
}

template <class T>
void codes_to_floats(float scale, std::int32_t zero, std::size_t n, const T* x,
                     float* out) noexcept {
  std::size_t i = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) i = float_blocks(scale, zero, n, x, out);
#endif
  for (; i < n; ++i) out[i] = static_cast<float>(x[i] - zero) * scale;
}

template void round_to_codes(const RoundRow&, std::size_t, const float*, std::int8_t*) noexcept;
template void round_to_codes(const RoundRow&, std::size_t, const float*, std::uint8_t*) noexcept;
template void codes_to_floats(float, std::int32_t, std::size_t, const std::int8_t*,
                              float*) noexcept;
template void codes_to_floats(float, std::int32_t, std::size_t, const std::uint8_t*,
                              float*) noexcept;

}  // namespace litegap
