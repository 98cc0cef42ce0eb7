// A table of 256 bytes by shuffles: AVX2 looks up 32 bytes at once in 16 entries, and an index with
// its highest bit set gives zero.  Sixteen such look-ups make a table of 256, joined by exclusive
// or.
//
// Step k looks up x - 16 k.  The differences of a byte in row r = x / 16 have their highest bit
// clear in the steps
//   r < 8:   0 to r            (then x - 16 k is negative; from step 8 on it saturates there)
//   r >= 8:  r - 7 to r        (before that x - 16 k is 128 or more)
// so that the rows of step k have to be, with t(k) for the entries 16 k to 16 k + 15,
//   s(0) = t(0),  s(k) = t(k) ^ t(k - 1),  s(8) = t(8) ^ t(7) ^ t(0),  s(k) = t(k) ^ t(k - 1) ^ s(k
//   - 8)
//
//   x = 5:    row 0: t(0)[5]
//   x = 130:  row 8: s(1) ^ … ^ s(8) = t(7) ^ t(0) ^ t(8) ^ t(7) ^ t(0) = t(8), at 2
//
// AVX-512 VBMI looks up 64 bytes at once in 128 entries: two such look-ups, and the highest bit
// says which counts.
#include "kernels/byte_table.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace litegap {
namespace {

void map_plainly(const Table8& table, const std::uint8_t* x, std::uint8_t* y,
                 std::size_t n) noexcept {
  for (std::size_t i = 0; i < n; ++i) y[i] = table[x[i]];
}

#if defined(__x86_64__)
constexpr int kVectors = 4;
constexpr std::size_t kBlock = 32 * kVectors;

// Whole blocks; how many bytes they are.
__attribute__((target("avx2"))) std::size_t map_blocks(const Table8& table, const std::uint8_t* x,
                                                       std::uint8_t* y, std::size_t n) noexcept {
  __m256i t[16], s[16];
  for (int k = 0; k < 16; ++k) {
    t[k] = _mm256_broadcastsi128_si256(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(table.data() + 16 * k)));
  }
  s[0] = t[0];
  for (int k = 1; k < 16; ++k) {
    s[k] = _mm256_xor_si256(t[k], t[k - 1]);
    if (k >= 8) s[k] = _mm256_xor_si256(s[k], s[k - 8]);
  }
  const __m256i row = _mm256_set1_epi8(16);
  std::size_t i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    __m256i at[kVectors], found[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      at[v] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i) + v);
      found[v] = _mm256_shuffle_epi8(s[0], at[v]);
    }
#pragma GCC unroll 15
    for (int k = 1; k < 16; ++k) {
      for (int v = 0; v < kVectors; ++v) {
        at[v] = k <= 8 ? _mm256_sub_epi8(at[v], row) : _mm256_subs_epi8(at[v], row);
        found[v] = _mm256_xor_si256(found[v], _mm256_shuffle_epi8(s[k], at[v]));
        // Compilers would put all the exclusive ors last, and what was looked up into memory.
        asm("" : "+x"(found[v]));
      }
    }
    for (int v = 0; v < kVectors; ++v)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i) + v, found[v]);
  }
  return i;
}

__attribute__((target("avx512f,avx512bw,avx512vbmi"))) void map_all(const Table8& table,
                                                                    const std::uint8_t* x,
                                                                    std::uint8_t* y,
                                                                    std::size_t n) noexcept {
  __m512i t[4];
  for (int k = 0; k < 4; ++k) t[k] = _mm512_loadu_si512(table.data() + 64 * k);
  for (std::size_t i = 0; i < n; i += 64) {
    const __mmask64 real = n - i < 64 ? (std::uint64_t{1} << (n - i)) - 1 : ~std::uint64_t{0};
    const __m512i at = _mm512_maskz_loadu_epi8(real, x + i);
    const __m512i low = _mm512_permutex2var_epi8(t[0], at, t[1]);
    const __m512i high = _mm512_permutex2var_epi8(t[2], at, t[3]);
    _mm512_mask_storeu_epi8(y + i, real, _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(at), high));
  }
}
#endif

}  // namespace

void map_bytes(const Table8& table, const std::uint8_t* x, std::uint8_t* y,
               std::size_t n) noexcept {
  std::size_t done = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw"))
    return map_all(table, x, y, n);
  if (n >= kBlock && __builtin_cpu_supports("avx2")) done = map_blocks(table, x, y, n);
#endif
  map_plainly(table, x + done, y + done, n - done);
}

}  // namespace litegap
