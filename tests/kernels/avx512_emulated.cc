// The AVX-512 inner loops on any machine: their source once more, with the few instructions that it
// uses written out lane by lane.  Its tables are then tested like the others, and a machine that
// has the instructions is not needed to know that the loops are right.
#include "avx512_emulated.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>

namespace litegap::emulated {

struct Floats {
  std::array<float, 16> lane{};
};
struct Integers {
  std::array<std::int32_t, 16> lane{};
};
struct Bytes32 {
  std::array<std::int8_t, 32> lane{};
};

template <class V>
V load(const void* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
template <class V>
void store(void* to, const V& v) {
  std::memcpy(to, &v, sizeof v);
}
inline void store_some(float* to, unsigned mask, const Floats& v) {
  for (std::size_t i = 0; i < 16; ++i) {
    if ((mask >> i & 1U) != 0) to[i] = v.lane[i];
  }
}
inline Floats load_some(unsigned mask, const float* from) {
  Floats v;
  for (std::size_t i = 0; i < 16; ++i) {
    if ((mask >> i & 1U) != 0) v.lane[i] = from[i];
  }
  return v;
}
template <class V, class F>
V lanes(F f) {
  V v;
  for (std::size_t i = 0; i < v.lane.size(); ++i) v.lane[i] = f(i);
  return v;
}
inline std::int32_t wrap(std::int64_t v) { return static_cast<std::int32_t>(v); }

inline Integers add(Integers a, Integers b) {
  return lanes<Integers>([&](auto i) { return wrap(std::int64_t{a.lane[i]} + b.lane[i]); });
}
inline Integers subtract(Integers a, Integers b) {
  return lanes<Integers>([&](auto i) { return wrap(std::int64_t{a.lane[i]} - b.lane[i]); });
}
inline Integers multiply(Integers a, Integers b) {
  return lanes<Integers>([&](auto i) { return wrap(std::int64_t{a.lane[i]} * b.lane[i]); });
}
// vpmovsxbw: 32 bytes to 32 words.
inline Integers widen(Bytes32 a) {
  std::array<std::int16_t, 32> words{};
  for (std::size_t i = 0; i < 32; ++i) words[i] = a.lane[i];
  return load<Integers>(words.data());
}
// vpdpwssd: pairs of signed words, summed without saturation.
inline Integers dot_words(Integers sum, Integers a, Integers b) {
  const auto x = std::bit_cast<std::array<std::int16_t, 32>>(a);
  const auto y = std::bit_cast<std::array<std::int16_t, 32>>(b);
  return lanes<Integers>([&](auto i) {
    return wrap(std::int64_t{sum.lane[i]} + std::int64_t{x[2 * i]} * y[2 * i] +
                std::int64_t{x[2 * i + 1]} * y[2 * i + 1]);
  });
}
// vpdpbusd: four unsigned bytes of a by four signed ones of b, summed without saturation.
inline Integers dot_bytes(Integers sum, Integers a, Integers b) {
  const auto x = std::bit_cast<std::array<std::uint8_t, 64>>(a);
  const auto y = std::bit_cast<std::array<std::int8_t, 64>>(b);
  return lanes<Integers>([&](auto i) {
    std::int64_t s = sum.lane[i];
    for (std::size_t k = 4 * i; k < 4 * i + 4; ++k) s += std::int64_t{x[k]} * y[k];
    return wrap(s);
  });
}
// vmaxps, vminps: the second operand where one is a NaN or both are zeros.
inline Floats most(Floats a, Floats b) {
  return lanes<Floats>([&](auto i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
inline Floats least(Floats a, Floats b) {
  return lanes<Floats>([&](auto i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
}

}  // namespace litegap::emulated

#define LITEGAP_AVX512
#define LITEGAP_AVX512_INLINE inline
#define gemm_avx512 gemm_avx512_emulated
#undef __builtin_cpu_supports
#define __builtin_cpu_supports(NAME) 1
#define __m512 emulated::Floats
#define __m512i emulated::Integers
#define __m256i emulated::Bytes32
#define _mm256_loadu_si256 emulated::load<emulated::Bytes32>
#define _mm512_loadu_si512 emulated::load<emulated::Integers>
#define _mm512_loadu_ps emulated::load<emulated::Floats>
#define _mm512_store_si512 emulated::store<emulated::Integers>
#define _mm512_store_ps emulated::store<emulated::Floats>
#define _mm512_storeu_ps emulated::store<emulated::Floats>
#define _mm512_mask_storeu_ps emulated::store_some
#define _mm512_maskz_loadu_ps emulated::load_some
#define _mm512_setzero_si512() \
  emulated::Integers {}
#define _mm512_set1_epi32(V) emulated::lanes<emulated::Integers>([&](auto) { return V; })
#define _mm512_set1_ps(V) emulated::lanes<emulated::Floats>([&](auto) { return V; })
#define _mm512_add_epi32 emulated::add
#define _mm512_sub_epi32 emulated::subtract
#define _mm512_mullo_epi32 emulated::multiply
#define _mm512_cvtepi8_epi16 emulated::widen
#define _mm512_dpwssd_epi32 emulated::dot_words
#define _mm512_dpbusd_epi32 emulated::dot_bytes
#define _mm512_max_ps emulated::most
#define _mm512_min_ps emulated::least
#define _mm512_mul_ps(A, B) \
  emulated::lanes<emulated::Floats>([&](auto i) { return (A).lane[i] * (B).lane[i]; })
#define _mm512_add_ps(A, B) \
  emulated::lanes<emulated::Floats>([&, x = (A), y = (B)](auto i) { return x.lane[i] + y.lane[i]; })
#define _mm512_fmadd_ps(A, B, C)     \
  emulated::lanes<emulated::Floats>( \
      [&](auto i) { return std::fma((A).lane[i], (B).lane[i], (C).lane[i]); })

#include "kernels/gemm_avx512.cc"

#else
namespace litegap {
const GemmKernels* gemm_avx512_emulated() { return nullptr; }
}  // namespace litegap
#endif
