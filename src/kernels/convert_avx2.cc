#include "kernels/convert_avx2.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>

#include <cstring>

#define LITEGAP_AVX2 __attribute__((target("avx2,fma")))
#define LITEGAP_AVX2_INLINE __attribute__((target("avx2,fma"), always_inline)) inline

namespace litegap {
namespace {

template <class T>
LITEGAP_AVX2 void widen(const T* in, std::size_t n, std::int32_t zero_point, std::int16_t* out) {
  const __m256i z = _mm256_set1_epi16(static_cast<std::int16_t>(zero_point));
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i));
    const __m256i v = T(-1) < T(0) ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm256_sub_epi16(v, z));
  }
  for (; i < n; ++i) out[i] = static_cast<std::int16_t>(in[i] - zero_point);
}

// Of lanes without NaN.
LITEGAP_AVX2_INLINE float least_lane(__m256 v) {
  __m128 h = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  h = _mm_min_ps(h, _mm_movehl_ps(h, h));
  return _mm_cvtss_f32(_mm_min_ss(h, _mm_movehdup_ps(h)));
}
LITEGAP_AVX2_INLINE float most_lane(__m256 v) {
  __m128 h = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  h = _mm_max_ps(h, _mm_movehl_ps(h, h));
  return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
}

LITEGAP_AVX2_INLINE void widen_range(const float* in, __m256& low, __m256& high, __m256& odd) {
  const __m256 v = _mm256_loadu_ps(in);
  low = _mm256_min_ps(v, low);  // a NaN leaves the second operand
  high = _mm256_max_ps(v, high);
  odd = _mm256_or_ps(odd, _mm256_sub_ps(v, v));  // 0, and NaN for NaN and infinities
}

// Two vectors at a time: a minimum waits for the one before it.
LITEGAP_AVX2 bool range(const float* in, std::size_t n, float* low, float* high) {
  const __m256 zero = _mm256_setzero_ps();
  __m256 lo[2] = {zero, zero}, hi[2] = {zero, zero}, odd = zero;
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    widen_range(in + i, lo[0], hi[0], odd);
    widen_range(in + i + 8, lo[1], hi[1], odd);
  }
  if (i + 8 <= n) {
    widen_range(in + i, lo[0], hi[0], odd);
    i += 8;
  }
  float l = least_lane(_mm256_min_ps(lo[0], lo[1])), h = most_lane(_mm256_max_ps(hi[0], hi[1]));
  float rest = 0;
  for (; i < n; ++i) {
    l = in[i] < l ? in[i] : l;
    h = in[i] > h ? in[i] : h;
    rest += in[i] - in[i];
  }
  *low = l;
  *high = h;
  const __m256i bits = _mm256_castps_si256(odd);
  return _mm256_testz_si256(bits, bits) != 0 && rest == 0.0f;
}

// Rounds like round_away and round_even of arith.h, out-of-range values and NaN included: the
// conversion to int32 gives INT32_MIN for them, as those do.
LITEGAP_AVX2_INLINE __m256i round8(__m256 v, bool ties_even) {
  if (ties_even) return _mm256_cvtps_epi32(v);
  const __m256 whole = _mm256_round_ps(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
  const __m256 sign = _mm256_and_ps(v, _mm256_set1_ps(-0.0f));
  const __m256 rest = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_sub_ps(v, whole));
  const __m256 more = _mm256_cmp_ps(rest, _mm256_set1_ps(0.5f), _CMP_GE_OQ);
  const __m256 one = _mm256_or_ps(_mm256_set1_ps(1.0f), sign);
  return _mm256_cvttps_epi32(_mm256_add_ps(whole, _mm256_and_ps(more, one)));
}

// Sixteen values within 16 bits, in order.
LITEGAP_AVX2_INLINE __m256i pack16(__m256i a, __m256i b) {
  return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
}

// Sixteen codes, as words.
LITEGAP_AVX2_INLINE __m256i codes16(const float* x, const RowCode& code) {
  const __m256 inverse = _mm256_set1_ps(code.inverse);
  const __m256i z = _mm256_set1_epi32(code.zero_point), low = _mm256_set1_epi32(code.low),
                high = _mm256_set1_epi32(127);
  __m256i q[2];
#pragma GCC unroll 12
  for (int h = 0; h < 2; ++h) {
    q[h] = round8(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * h), inverse), code.ties_even);
    q[h] = _mm256_max_epi32(_mm256_min_epi32(_mm256_add_epi32(q[h], z), high), low);
  }
  return pack16(q[0], q[1]);
}

// To words less `less`, or to bytes; modulo their size.
LITEGAP_AVX2_INLINE void store_codes(__m256i codes, std::int32_t less, std::int16_t* out) {
  const __m256i z = _mm256_set1_epi16(static_cast<std::int16_t>(less));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_sub_epi16(codes, z));
}
LITEGAP_AVX2_INLINE void store_codes(__m256i codes, std::int32_t less, std::byte* out) {
  const __m128i bytes =
      _mm_packs_epi16(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
  const __m128i z = _mm_set1_epi8(static_cast<char>(less));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_sub_epi8(bytes, z));
}

template <class T>
LITEGAP_AVX2_INLINE void quantize_as(const float* in, std::size_t n, RowCode code,
                                     std::int32_t less, T* out) {
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) store_codes(codes16(in + i, code), less, out + i);
  if (i == n) return;
  float rest[16] = {};
  T codes[16];
  std::memcpy(rest, in + i, (n - i) * sizeof(float));
  store_codes(codes16(rest, code), less, codes);
  std::memcpy(out + i, codes, (n - i) * sizeof(T));
}
LITEGAP_AVX2 void quantize_row(const float* in, std::size_t n, const RowCode& code,
                               std::int16_t* out) {
  quantize_as(in, n, code, code.zero_point, out);
}
LITEGAP_AVX2 void quantize_quads(const float* in, std::size_t n, const RowCode& code,
                                 std::int32_t bias, std::byte* out) {
  quantize_as(in, n, code, -bias, out);
}

}  // namespace

void set_conversions_avx2(GemmKernels& kernels) {
  kernels.range = range;
  kernels.quantize = quantize_row;
  kernels.quantize_quads = quantize_quads;
  kernels.widen_i8 = widen<std::int8_t>;
  kernels.widen_u8 = widen<std::uint8_t>;
}

}  // namespace litegap
#endif
