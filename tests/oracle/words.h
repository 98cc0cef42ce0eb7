// Transcendental functions of the runtime's fixed-point kernels, a second time: words of 16 or 32
// bits held in 64, divisions instead of shifts, one formula for both sizes.
//
//   Word{32}.exp(a, 5)      e^a for a <= 0 with 5 integer bits, in Q0.31
//   Word{16}.logistic(x)    of a number in Q3.12, in Q0.15
#pragma once
#include <cstdint>

#include "oracle/values.h"

namespace litegap::oracle {

struct Word {
  int bits = 32;

  std::int64_t most() const { return (std::int64_t{1} << (bits - 1)) - 1; }
  std::int64_t held(std::int64_t x) const;                     // saturated
  std::int64_t product(std::int64_t a, std::int64_t b) const;  // of two fractions, ties up
  std::int64_t constant(std::int64_t q31) const;               // a Q0.31 constant in this word
  std::int64_t times_power(std::int64_t x, int n) const;       // x 2^n: saturating, ties away
  std::int64_t exp(std::int64_t a, int integer_bits) const;    // a <= 0
  std::int64_t twice_inverse(std::int64_t x) const;  // 2 / (1 + x) with 3 bits less, x in [0, 1)
  std::int64_t inverse(std::int64_t x) const;        // 1 / (1 + x)
  // Of 16 bits:
  std::int64_t logistic(std::int64_t x) const;  // x in Q3.12
  std::int64_t tanh(std::int64_t x, int integer_bits) const;
};

// The natural logarithm of x >= 1 with so many integer bits, in 32 bits with `out_bits`.
std::int64_t log_word(std::int64_t x, int integer_bits, int out_bits);

struct Root {
  std::int64_t m = 0;
  int right = 0;
};
Root inverse_root(std::int64_t v);  // 1 / sqrt(v) = m * 2^-31 * 2^-right

// x f with 15 bits of the factor and one rounding, ties up, in 32 bits: the profile "16x8".
std::int64_t times_narrow(__int128_t x, Factor f);
std::int64_t floor_div(std::int64_t x, std::int64_t y);  // y > 0
int zeros_before(std::int64_t word);                     // leading zeros of 32 bits

}  // namespace litegap::oracle
