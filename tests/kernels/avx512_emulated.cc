// The AVX-512 inner loops on any machine: their source once more, with the few instructions that it
// uses written out lane by lane.  Its tables are then tested like the others, and a machine that
// has the instructions is not needed to know that the loops are right.
#include "avx512_emulated.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

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
template <class V>
V load_some(unsigned mask, const void* at) {
  const auto* from = static_cast<const typename decltype(V::lane)::value_type*>(at);
  V v;
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
// vinserti64x4, vbroadcasti64x4: two halves.
inline Integers join(Bytes32 low, Bytes32 high) {
  return std::bit_cast<Integers>(std::array<Bytes32, 2>{low, high});
}
// vpunpcklwd, vpunpckhwd: the words of a half of each 16 bytes of a and b in turns.
template <std::size_t kHalf>
Integers interleave(Integers a, Integers b) {
  using Words = std::array<std::int16_t, 32>;
  const auto x = std::bit_cast<Words>(a), y = std::bit_cast<Words>(b);
  Words words{};
  for (std::size_t i = 0; i < 32; ++i) {
    const std::size_t from = i / 8 * 8 + 4 * kHalf + i % 8 / 2;
    words[i] = i % 2 == 0 ? x[from] : y[from];
  }
  return std::bit_cast<Integers>(words);
}
// vpermt2q: of the sixteen 64-bit numbers of a and b those that `index` names.
using Wide8 = std::array<std::int64_t, 8>;
inline Integers choose(Integers a, Wide8 index, Integers b) {
  const auto x = std::bit_cast<Wide8>(a), y = std::bit_cast<Wide8>(b);
  Wide8 out{};
  for (std::size_t i = 0; i < 8; ++i) {
    const auto at = static_cast<std::size_t>(index[i]);
    out[i] = at < 8 ? x[at] : y[at - 8];
  }
  return std::bit_cast<Integers>(out);
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
// vcvtps2dq: ties to even, INT32_MIN beyond 32 bits.
inline Integers round_even(Floats a) {
  return lanes<Integers>([&](auto i) {
    const float v = std::nearbyint(a.lane[i]);
    return v >= -0x1p31f && v < 0x1p31f ? static_cast<std::int32_t>(v)
                                        : std::numeric_limits<std::int32_t>::min();
  });
}
// vcvttps2dq: towards zero, the same beyond 32 bits.
inline Integers truncated(Floats a) {
  return round_even(lanes<Floats>([&](auto i) { return std::trunc(a.lane[i]); }));
}
template <class F>
Floats each_float(Floats a, Floats b, F f) {
  return lanes<Floats>([&](auto i) { return f(a.lane[i], b.lane[i]); });
}
// Lanes of `on` where the mask says so, of `off` elsewhere.
template <class V>
V blend(unsigned mask, V off, V on) {
  return lanes<V>([&](auto i) { return (mask >> i & 1U) != 0 ? on.lane[i] : off.lane[i]; });
}
template <class F>
__mmask16 mask_of(F f) {
  unsigned mask = 0;
  for (std::size_t i = 0; i < 16; ++i) mask |= (f(i) ? 1U : 0U) << i;
  return static_cast<__mmask16>(mask);
}
template <class T>
using Elements = std::array<T, 64 / sizeof(T)>;
template <class T>
T saturated(std::int32_t v) {
  using Limits = std::numeric_limits<T>;
  return static_cast<T>(std::clamp<std::int32_t>(v, Limits::min(), Limits::max()));
}
// vpackssdw, vpacksswb, vpackuswb: of every 16 bytes, those of a and then those of b.
template <class From, class To>
Integers pack(Integers a, Integers b) {
  const auto x = std::bit_cast<Elements<From>>(a), y = std::bit_cast<Elements<From>>(b);
  constexpr std::size_t kLane = 16 / sizeof(From);
  Elements<To> to{};
  for (std::size_t i = 0; i < to.size(); ++i) {
    const std::size_t from = i / (2 * kLane) * kLane + i % kLane;
    to[i] = saturated<To>(i / kLane % 2 == 0 ? x[from] : y[from]);
  }
  return std::bit_cast<Integers>(to);
}
template <class T, class F>
Integers each(Integers a, Integers b, F f) {
  const auto x = std::bit_cast<Elements<T>>(a), y = std::bit_cast<Elements<T>>(b);
  Elements<T> to{};
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = f(x[i], y[i]);
  return std::bit_cast<Integers>(to);
}
// vpaddsw
inline Integers add_saturated(Integers a, Integers b) {
  return each<std::int16_t>(a, b, [](int x, int y) { return saturated<std::int16_t>(x + y); });
}
template <class T>
Integers lesser(Integers a, Integers b) {
  return each<T>(a, b, [](T x, T y) { return std::min(x, y); });
}
template <class T>
Integers greater(Integers a, Integers b) {
  return each<T>(a, b, [](T x, T y) { return std::max(x, y); });
}
template <class T>
Integers all(T v) {
  Elements<T> to{};
  to.fill(v);
  return std::bit_cast<Integers>(to);
}
// vextracti32x4
inline __m128i part(Integers a, std::size_t i) { return load<__m128i>(a.lane.data() + 4 * i); }
// vpmovdb: the lowest byte of every lane.
inline __m128i low_bytes(Integers a) {
  std::array<std::int8_t, 16> bytes{};
  for (std::size_t i = 0; i < 16; ++i) bytes[i] = static_cast<std::int8_t>(a.lane[i]);
  return load<__m128i>(bytes.data());
}
// vpermd
inline Integers reorder(Integers index, Integers a) {
  return lanes<Integers>([&](auto i) { return a.lane[static_cast<std::size_t>(index.lane[i])]; });
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
// What is a macro in a compiler's header.
#undef _mm512_setr_epi32
#undef _mm512_setr_epi64
#undef _mm512_inserti64x4
#undef _mm512_extracti32x4_epi32
#undef _mm512_roundscale_ps
#undef _mm512_cmp_ps_mask
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
#define _mm512_maskz_loadu_ps emulated::load_some<emulated::Floats>
#define _mm512_maskz_loadu_epi32 emulated::load_some<emulated::Integers>
#define _mm512_setzero_si512() \
  emulated::Integers {}
#define _mm512_set1_epi32(V) emulated::lanes<emulated::Integers>([&](auto) { return V; })
#define _mm512_set1_ps(V) emulated::lanes<emulated::Floats>([&](auto) { return V; })
#define _mm512_add_epi32 emulated::add
#define _mm512_sub_epi32 emulated::subtract
#define _mm512_mullo_epi32 emulated::multiply
#define _mm512_castsi256_si512(V) (V)
#define _mm512_inserti64x4(LOW, HIGH, HALF) emulated::join(LOW, HIGH)
#define _mm512_broadcast_i64x4(V) [](emulated::Bytes32 v) { return emulated::join(v, v); }(V)
#define _mm512_unpacklo_epi16 emulated::interleave<0>
#define _mm512_unpackhi_epi16 emulated::interleave<1>
#define _mm512_setr_epi64(...) \
  emulated::Wide8 { __VA_ARGS__ }
#define _mm512_permutex2var_epi64 emulated::choose
#define _mm512_storeu_si512 emulated::store<emulated::Integers>
#define _mm512_cvtepi8_epi16 emulated::widen
#define _mm512_dpwssd_epi32 emulated::dot_words
#define _mm512_dpbusd_epi32 emulated::dot_bytes
#define _mm512_cvtps_epi32 emulated::round_even
#define _mm512_cvtepi32_ps(V) \
  emulated::lanes<emulated::Floats>([v = (V)](auto i) { return static_cast<float>(v.lane[i]); })
#define _mm512_packs_epi32 emulated::pack<std::int32_t, std::int16_t>
#define _mm512_packs_epi16 emulated::pack<std::int16_t, std::int8_t>
#define _mm512_packus_epi16 emulated::pack<std::int16_t, std::uint8_t>
#define _mm512_adds_epi16 emulated::add_saturated
#define _mm512_min_epi8 emulated::lesser<std::int8_t>
#define _mm512_min_epu8 emulated::lesser<std::uint8_t>
#define _mm512_max_epi8 emulated::greater<std::int8_t>
#define _mm512_max_epu8 emulated::greater<std::uint8_t>
#define _mm512_set1_epi16 emulated::all<std::int16_t>
#define _mm512_set1_epi8 emulated::all<char>
#define _mm512_setr_epi32(...) \
  emulated::Integers {         \
    { __VA_ARGS__ }            \
  }
#define _mm512_extracti32x4_epi32 emulated::part
#define _mm512_castsi512_si128(V) emulated::part(V, 0)
#define _mm512_permutexvar_epi32 emulated::reorder
#define _mm512_cvttps_epi32 emulated::truncated
#define _mm512_cvtepi32_epi8 emulated::low_bytes
#define _mm512_min_epi32 emulated::lesser<std::int32_t>
#define _mm512_max_epi32 emulated::greater<std::int32_t>
#define _mm512_or_si512(A, B) emulated::each<std::int32_t>(A, B, std::bit_or<std::int32_t>())
#define _mm512_castps_si512 std::bit_cast<emulated::Integers>
#define _mm512_test_epi32_mask(A, B) \
  emulated::mask_of([&](auto i) { return ((A).lane[i] & (B).lane[i]) != 0; })
#define _mm512_sub_ps(A, B) emulated::each_float(A, B, std::minus<float>())
#define _mm512_or_ps(A, B) \
  std::bit_cast<emulated::Floats>(_mm512_or_si512(_mm512_castps_si512(A), _mm512_castps_si512(B)))
#define _mm512_and_ps(A, B)                                     \
  std::bit_cast<emulated::Floats>(emulated::each<std::int32_t>( \
      _mm512_castps_si512(A), _mm512_castps_si512(B), std::bit_and<std::int32_t>()))
#define _mm512_abs_ps(V) \
  emulated::lanes<emulated::Floats>([v = (V)](auto i) { return std::fabs(v.lane[i]); })
#define _mm512_roundscale_ps(V, TO_ZERO) \
  emulated::lanes<emulated::Floats>([v = (V)](auto i) { return std::trunc(v.lane[i]); })
#define _mm512_cmp_ps_mask(A, B, AT_LEAST) \
  emulated::mask_of([x = (A), y = (B)](auto i) { return x.lane[i] >= y.lane[i]; })
#define _mm512_mask_add_ps(OFF, MASK, A, B) emulated::blend(MASK, OFF, _mm512_add_ps(A, B))
#define _mm512_mask_max_ps(OFF, MASK, A, B) emulated::blend(MASK, OFF, emulated::most(A, B))
#define _mm512_reduce_min_ps(V) std::ranges::min((V).lane)
#define _mm512_reduce_max_ps(V) std::ranges::max((V).lane)
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
