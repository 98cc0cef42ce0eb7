#include "kernels/code_rows.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/arith.h"

namespace litegap {
namespace {

std::int32_t one(const AddRow& f, std::int32_t x, std::int32_t y) {
  const auto sum = static_cast<std::int32_t>(static_cast<std::uint32_t>(f.start) +
                                             static_cast<std::uint32_t>(x * f.a) +
                                             static_cast<std::uint32_t>(y * f.b));
  const std::int32_t v = std::min(std::max(sum >> f.shift, -32768), 32767) + f.zero;
  return std::min(std::max(v, f.low), f.high);
}
// No product of codes reaches 2^24 and the scale is below 2^8: the conversion cannot overflow.
std::int32_t one(const MultiplyRow& f, std::int32_t x, std::int32_t y) {
  const float v = std::min(static_cast<float>((x - f.zero_x) * (y - f.zero_y)) * f.scale, f.most);
  const std::int32_t code = small_round_even(std::max(v, -65536.0f)) + f.zero;
  return std::min(std::max(code, f.low), f.high);
}

template <class T, class Row>
void finish(const Row& f, std::size_t i, std::size_t n, const T* x, const T* y, T* out) noexcept {
  for (; i < n; ++i) out[i] = static_cast<T>(one(f, x[i], y[i]));
}

#if defined(__x86_64__)
#define LITEGAP_AVX2 __attribute__((target("avx2"), always_inline)) inline

template <class T>
LITEGAP_AVX2 __m256i eight(const T* x) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
  return sizeof(T) == 1 && T(-1) < T(0) ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
}
struct Vectors {
  __m256i start, a, b, zero_x, zero_y;
  __m256 scale, most, least;
  __m128i shift;
};
LITEGAP_AVX2 Vectors vectors(const AddRow& f) {
  Vectors v{};
  v.start = _mm256_set1_epi32(f.start);
  v.a = _mm256_set1_epi32(f.a);
  v.b = _mm256_set1_epi32(f.b);
  v.shift = _mm_cvtsi32_si128(f.shift);
  return v;
}
LITEGAP_AVX2 Vectors vectors(const MultiplyRow& f) {
  Vectors v{};
  v.zero_x = _mm256_set1_epi32(f.zero_x);
  v.zero_y = _mm256_set1_epi32(f.zero_y);
  v.scale = _mm256_set1_ps(f.scale);
  v.most = _mm256_set1_ps(f.most);
  v.least = _mm256_set1_ps(-65536.0f);
  return v;
}
LITEGAP_AVX2 __m256i rounded(const Vectors& v, __m256i product) {
  const __m256 real = _mm256_mul_ps(_mm256_cvtepi32_ps(product), v.scale);
  return _mm256_cvtps_epi32(_mm256_max_ps(_mm256_min_ps(real, v.most), v.least));
}
// Of eight codes, before the zero point.
LITEGAP_AVX2 __m256i values(const AddRow&, const Vectors& v, __m256i x, __m256i y) {
  const __m256i sum = _mm256_add_epi32(
      v.start, _mm256_add_epi32(_mm256_mullo_epi32(x, v.a), _mm256_mullo_epi32(y, v.b)));
  return _mm256_sra_epi32(sum, v.shift);
}
LITEGAP_AVX2 __m256i values(const MultiplyRow&, const Vectors& v, __m256i x, __m256i y) {
  const __m256i product =
      _mm256_mullo_epi32(_mm256_sub_epi32(x, v.zero_x), _mm256_sub_epi32(y, v.zero_y));
  return rounded(v, product);
}

// Sixteen codes of their values.  Words of 16 bits saturate where the plain form goes on, but only
// beyond the limits.
struct Limits {
  __m256i zero;
  __m128i low, high;
};
template <class Row>
LITEGAP_AVX2 Limits limits(const Row& f) {
  return {_mm256_set1_epi16(static_cast<std::int16_t>(f.zero)),
          _mm_set1_epi8(static_cast<char>(f.low)), _mm_set1_epi8(static_cast<char>(f.high))};
}
template <class T>
LITEGAP_AVX2 void store_codes(const Limits& l, __m256i first, __m256i second, T* out) {
  constexpr bool kSigned = T(-1) < T(0);
  // Words of the low halves, then of the high halves, of both.
  const __m256i words = _mm256_adds_epi16(_mm256_packs_epi32(first, second), l.zero);
  const __m256i sorted = _mm256_permute4x64_epi64(words, 0xD8);
  const __m128i a = _mm256_castsi256_si128(sorted), b = _mm256_extracti128_si256(sorted, 1);
  __m128i codes = kSigned ? _mm_packs_epi16(a, b) : _mm_packus_epi16(a, b);
  codes = kSigned ? _mm_min_epi8(_mm_max_epi8(codes, l.low), l.high)
                  : _mm_min_epu8(_mm_max_epu8(codes, l.low), l.high);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), codes);
}

// Thirty-two of them.
template <class T>
LITEGAP_AVX2 void store_codes(const Limits& l, __m256i first, __m256i second, __m256i third,
                              __m256i fourth, T* out) {
  constexpr bool kSigned = T(-1) < T(0);
  const __m256i a = _mm256_adds_epi16(_mm256_packs_epi32(first, second), l.zero),
                b = _mm256_adds_epi16(_mm256_packs_epi32(third, fourth), l.zero);
  const __m256i low = _mm256_broadcastsi128_si256(l.low),
                high = _mm256_broadcastsi128_si256(l.high);
  __m256i codes = kSigned ? _mm256_packs_epi16(a, b) : _mm256_packus_epi16(a, b);
  codes = kSigned ? _mm256_min_epi8(_mm256_max_epi8(codes, low), high)
                  : _mm256_min_epu8(_mm256_max_epu8(codes, low), high);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packing goes by halves
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permutevar8x32_epi32(codes, order));
}

// Whole blocks of thirty-two, then of sixteen; how many codes they are.
template <class T, class Row>
__attribute__((target("avx2"))) std::size_t blocks(const Row& f, std::size_t n, const T* x,
                                                   const T* y, T* out) noexcept {
  const Vectors v = vectors(f);
  const Limits l = limits(f);
  std::size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    __m256i part[4];
#pragma GCC unroll 4
    for (std::size_t k = 0; k < 4; ++k)
      part[k] = values(f, v, eight(x + i + 8 * k), eight(y + i + 8 * k));
    store_codes(l, part[0], part[1], part[2], part[3], out + i);
  }
  for (; i + 16 <= n; i += 16) {
    store_codes(l, values(f, v, eight(x + i), eight(y + i)),
                values(f, v, eight(x + i + 8), eight(y + i + 8)), out + i);
  }
  return i;
}

// With a single y a value is start + x a, finished as before.
LITEGAP_AVX2 void take_single(const AddRow& f, std::int32_t y, Vectors& v) {
  v.start = _mm256_set1_epi32(static_cast<std::int32_t>(static_cast<std::uint32_t>(f.start) +
                                                        static_cast<std::uint32_t>(y * f.b)));
}
LITEGAP_AVX2 void take_single(const MultiplyRow& f, std::int32_t y, Vectors& v) {
  v.a = _mm256_set1_epi32(y - f.zero_y);
  v.start = _mm256_mullo_epi32(_mm256_sub_epi32(_mm256_setzero_si256(), v.zero_x), v.a);
}
LITEGAP_AVX2 __m256i values(const AddRow&, const Vectors& v, __m256i x) {
  return _mm256_sra_epi32(_mm256_add_epi32(v.start, _mm256_mullo_epi32(x, v.a)), v.shift);
}
LITEGAP_AVX2 __m256i values(const MultiplyRow&, const Vectors& v, __m256i x) {
  return rounded(v, _mm256_add_epi32(v.start, _mm256_mullo_epi32(x, v.a)));
}
// The whole blocks of every row, of thirty-two codes or sixteen; how many codes of a row they are.
template <class T, class Row>
__attribute__((target("avx2"))) std::size_t row_blocks(const Row& f, std::size_t rows,
                                                       std::size_t n, const T* x, const T* y,
                                                       std::size_t step, T* out) noexcept {
  Vectors v = vectors(f);
  const Limits l = limits(f);
  const std::size_t whole = n / 16 * 16;
  for (std::size_t r = 0; r < rows; ++r, x += n, out += n) {
    take_single(f, y[r * step], v);
    std::size_t i = 0;
    for (; i + 32 <= n; i += 32) {
      __m256i part[4];
#pragma GCC unroll 4
      for (std::size_t k = 0; k < 4; ++k) part[k] = values(f, v, eight(x + i + 8 * k));
      store_codes(l, part[0], part[1], part[2], part[3], out + i);
    }
    for (; i < whole; i += 16)
      store_codes(l, values(f, v, eight(x + i)), values(f, v, eight(x + i + 8)), out + i);
  }
  return whole;
}

// (v m + 2^7) >> 8 is (2^7 v m + 2^14) >> 15, the rounded high product of words.
struct Scales {
  __m256i zero_x, zero, positive, negative;
};
template <class T, bool kOneFactor>
LITEGAP_AVX2 __m256i scaled(const Scales& s, const T* x) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
  const __m256i wide = T(-1) < T(0) ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes);
  const __m256i v = _mm256_sub_epi16(wide, s.zero_x);
  __m256i m = s.positive;
  if constexpr (!kOneFactor)
    m = _mm256_blendv_epi8(s.negative, m, _mm256_cmpgt_epi16(v, _mm256_setzero_si256()));
  return _mm256_adds_epi16(_mm256_mulhrs_epi16(_mm256_slli_epi16(v, 7), m), s.zero);
}
template <class T, bool kOneFactor>
__attribute__((target("avx2"))) std::size_t scale_blocks(const ScaleRow& f, std::size_t n,
                                                         const T* x, T* out) noexcept {
  const auto words = [](std::int32_t v) { return static_cast<std::int16_t>(v); };
  const Scales s{_mm256_set1_epi16(words(f.zero_x)), _mm256_set1_epi16(words(f.zero)),
                 _mm256_set1_epi16(words(f.positive)), _mm256_set1_epi16(words(f.negative))};
  std::size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const __m256i a = scaled<T, kOneFactor>(s, x + i), b = scaled<T, kOneFactor>(s, x + i + 16);
    const __m256i codes = T(-1) < T(0) ? _mm256_packs_epi16(a, b) : _mm256_packus_epi16(a, b);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i),
                        _mm256_permute4x64_epi64(codes, 0xD8));  // packing goes by halves
  }
  return i;
}
#undef LITEGAP_AVX2
#endif

#if defined(__x86_64__)
bool in_vectors(std::int32_t zero) {
  return zero == static_cast<std::int16_t>(zero) && __builtin_cpu_supports("avx2");
}
#endif
template <class T, class Row>
void all(const Row& f, std::size_t n, const T* x, const T* y, T* out) noexcept {
  std::size_t done = 0;
#if defined(__x86_64__)
  if (in_vectors(f.zero)) done = blocks(f, n, x, y, out);
#endif
  finish(f, done, n, x, y, out);
}
template <class T, class Row>
void all_rows(const Row& f, std::size_t rows, std::size_t n, const T* x, const T* y,
              std::size_t step, T* out) noexcept {
  std::size_t done = 0;
#if defined(__x86_64__)
  if (in_vectors(f.zero)) done = row_blocks(f, rows, n, x, y, step, out);
#endif
  for (std::size_t r = 0; r < rows && done < n; ++r) {
    for (std::size_t i = r * n + done; i < (r + 1) * n; ++i)
      out[i] = static_cast<T>(one(f, x[i], y[r * step]));
  }
}

}  // namespace

template <class T>
void add_codes(const AddRow& f, std::size_t n, const T* x, const T* y, T* out) noexcept {
  all(f, n, x, y, out);
}
template <class T>
void multiply_codes(const MultiplyRow& f, std::size_t n, const T* x, const T* y, T* out) noexcept {
  all(f, n, x, y, out);
}

template <class T>
void add_to_rows(const AddRow& f, std::size_t rows, std::size_t n, const T* x, const T* y,
                 std::size_t step, T* out) noexcept {
  all_rows(f, rows, n, x, y, step, out);
}
template <class T>
void multiply_rows(const MultiplyRow& f, std::size_t rows, std::size_t n, const T* x, const T* y,
                   std::size_t step, T* out) noexcept {
  all_rows(f, rows, n, x, y, step, out);
}

template <class T>
void scale_codes(const ScaleRow& f, const Table8& table, std::size_t n, const T* x,
                 T* out) noexcept {
  std::size_t done = 0;
#if defined(__x86_64__)
  const auto word = [](std::int32_t v) { return v > -32768 && v < 32768; };
  const bool near = f.zero_x >= (T(-1) < T(0) ? -128 : 0) && f.zero_x <= (T(-1) < T(0) ? 127 : 255);
  if (near && word(f.positive) && word(f.negative) && word(f.zero) &&
      __builtin_cpu_supports("avx2"))
    done = f.positive == f.negative ? scale_blocks<T, true>(f, n, x, out)
                                    : scale_blocks<T, false>(f, n, x, out);
#endif
  map_bytes(table, reinterpret_cast<const std::uint8_t*>(x) + done,
            reinterpret_cast<std::uint8_t*>(out) + done, n - done);
}

using i8 = std::int8_t;
using u8 = std::uint8_t;
using Size = std::size_t;
template void add_to_rows(const AddRow&, Size, Size, const i8*, const i8*, Size, i8*) noexcept;
template void add_to_rows(const AddRow&, Size, Size, const u8*, const u8*, Size, u8*) noexcept;
template void multiply_rows(const MultiplyRow&, Size, Size, const i8*, const i8*, Size,
                            i8*) noexcept;
template void multiply_rows(const MultiplyRow&, Size, Size, const u8*, const u8*, Size,
                            u8*) noexcept;
template void add_codes(const AddRow&, std::size_t, const i8*, const i8*, i8*) noexcept;
template void add_codes(const AddRow&, std::size_t, const u8*, const u8*, u8*) noexcept;
template void multiply_codes(const MultiplyRow&, std::size_t, const i8*, const i8*, i8*) noexcept;
template void multiply_codes(const MultiplyRow&, std::size_t, const u8*, const u8*, u8*) noexcept;
template void scale_codes(const ScaleRow&, const Table8&, std::size_t, const i8*, i8*) noexcept;
template void scale_codes(const ScaleRow&, const Table8&, std::size_t, const u8*, u8*) noexcept;

}  // namespace litegap
