#include "data/crc32.h"

#include <zlib.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace litegap {
namespace {

std::uint32_t by_table(std::uint32_t before, std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(
      ::crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

#if defined(__x86_64__)

constexpr std::uint32_t kPolynomial = 0xEDB88320;  // bit 31 is x^0

// x^n mod P with reflected bits.
constexpr std::uint32_t power(int n) {
  std::uint32_t r = 0x80000000;
  for (int i = 0; i < n; ++i) r = r >> 1 ^ ((r & 1) != 0 ? kPolynomial : 0);
  return r;
}

// The factors that carry the two halves of 16 bytes over `bits` bits.  A product of reflected
// operands of 64 bits comes out one bit too low, and a factor stands in the upper half of 33 bits:
// both are made up for by 32 and by the shift.
constexpr std::int64_t carry_low(int bits) { return std::int64_t{power(bits + 32)} << 1; }
constexpr std::int64_t carry_high(int bits) { return std::int64_t{power(bits - 32)} << 1; }

__attribute__((target("pclmul,sse4.1"))) __m128i folded(__m128i ahead, __m128i factors,
                                                        __m128i onto) {
  const __m128i low = _mm_clmulepi64_si128(ahead, factors, 0x00);
  const __m128i high = _mm_clmulepi64_si128(ahead, factors, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}

__attribute__((target("pclmul,sse4.1"))) std::uint32_t by_products(
    std::uint32_t before, std::span<const std::byte> bytes) {
  const auto load = [&](std::size_t at) __attribute__((target("pclmul,sse4.1"))) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes.data() + at));
  };
  const __m128i by64 = _mm_set_epi64x(carry_high(512), carry_low(512));
  const __m128i by16 = _mm_set_epi64x(carry_high(128), carry_low(128));
  __m128i part[4];
  for (std::size_t i = 0; i < 4; ++i) part[i] = load(16 * i);
  part[0] = _mm_xor_si128(part[0], _mm_cvtsi32_si128(static_cast<int>(~before)));
  std::size_t at = 64;
  for (; at + 64 <= bytes.size(); at += 64) {
    for (std::size_t i = 0; i < 4; ++i) part[i] = folded(part[i], by64, load(at + 16 * i));
  }
  __m128i all = part[0];
  for (std::size_t i = 1; i < 4; ++i) all = folded(all, by16, part[i]);
  std::byte rest[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(rest), all);
  // `rest` has the remainder of everything so far.  The table starts from the complement of 0, and
  // so leaves it as it is with `before` all ones.
  return by_table(by_table(0xFFFFFFFF, rest), bytes.subspan(at));
}

bool multiplies_polynomials() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

#endif

}  // namespace

std::uint32_t crc32_of(std::uint32_t before, std::span<const std::byte> bytes) {
#if defined(__x86_64__)
  if (bytes.size() >= 64 && multiplies_polynomials()) return by_products(before, bytes);
#endif
  return bytes.empty() ? before : by_table(before, bytes);
}

}  // namespace litegap
