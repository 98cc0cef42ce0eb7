#include "oracle/words.h"

#include <algorithm>
#include <cstdlib>

namespace litegap::oracle {
namespace {

std::int64_t power(int n) { return std::int64_t{1} << n; }
bool odd(std::int64_t x) { return x % 2 != 0; }

}  // namespace

std::int64_t floor_div(std::int64_t x, std::int64_t y) {
  const std::int64_t q = x / y;
  return q * y > x ? q - 1 : q;
}
int zeros_before(std::int64_t word) {
  int n = 0;
  while (n < 32 && word < power(31 - n)) ++n;
  return n;
}

std::int64_t Word::held(std::int64_t x) const { return std::clamp(x, -most() - 1, most()); }
std::int64_t Word::product(std::int64_t a, std::int64_t b) const {
  return held(floor_div(a * b + power(bits - 2), power(bits - 1)));
}
std::int64_t Word::constant(std::int64_t q31) const {
  return bits == 32 ? q31 : divide_away(q31, 16);
}
std::int64_t Word::times_power(std::int64_t x, int n) const {
  return n < 0              ? divide_away(x, -n)
         : n > 31 && x != 0 ? held(x > 0 ? power(62) : -power(62))
                            : held(x * power(std::min(n, 31)));
}

// e^a = e^(a' + 1/8) e^(-1/8) e^(-rest): a' in [-1/4, 0) by a polynomial around -1/8, the rest a
// sum of powers of two with a factor each.
std::int64_t Word::exp(std::int64_t a, int integer_bits) const {
  if (a == 0) return most();
  constexpr std::int64_t kFactors[] = {1672461947, 1302514674, 790015084, 290630308,
                                       39332535,   720401,     242};
  const int fraction = bits - 1 - integer_bits;
  if (integer_bits > 5 && a < -power(fraction + 5)) return 0;  // less than e^-32
  const std::int64_t quarter = power(std::max(fraction - 2, 0));
  const std::int64_t near = a - floor_div(a, quarter) * quarter - quarter;
  const std::int64_t x = held(near * power(integer_bits) + power(bits - 4));
  const std::int64_t x2 = product(x, x), x3 = product(x2, x), x4 = product(x2, x2);
  const std::int64_t cubic = product(held(divide_away(x4, 2) + x3), constant(715827883));
  const std::int64_t tail = divide_away(held(cubic + x2), 1);
  const std::int64_t eighth = constant(1895147668);
  std::int64_t r = held(eighth + product(eighth, held(x + tail)));
  const std::int64_t rest = near - a;
  for (int e = -2; e <= 4 && e < integer_bits; ++e) {
    if (odd(floor_div(rest, power(fraction + e)))) r = product(r, constant(kFactors[e + 2]));
  }
  return r;
}

std::int64_t Word::twice_inverse(std::int64_t x) const {
  const std::int64_t half = divide_away(x + most(), 1);
  std::int64_t y = held(constant(1515870810) + product(half, constant(-1010580540)));
  for (int i = 0; i < 3; ++i) {
    const std::int64_t error = held(power(bits - 3) - product(half, y));
    y = held(y + times_power(product(y, error), 2));
  }
  return y;
}
std::int64_t Word::inverse(std::int64_t x) const { return times_power(twice_inverse(x), 1); }

std::int64_t Word::logistic(std::int64_t x) const {
  if (x == 0) return power(bits - 2);
  const std::int64_t r = inverse(exp(-std::abs(x), 3));
  return x > 0 ? r : held(most() - r);
}
std::int64_t Word::tanh(std::int64_t x, int integer_bits) const {
  if (x == 0) return 0;
  const std::int64_t e = exp(-std::abs(x), integer_bits + 1);
  const std::int64_t t = times_power(held(twice_inverse(e) - power(bits - 3)), 2);
  return x < 0 ? -t : t;
}

// Normalized to [1/2, 1) twice, with a factor of sqrt(1/2) and without; the smaller of both is near
// enough to 2^(-1/4) for a rational correction.
std::int64_t log_word(std::int64_t x, int integer_bits, int out_bits) {
  const Word w{32};
  constexpr std::int64_t kRootRoot = 1805811301, kRoot = 1518500250;
  const int bits = out_bits + 1;
  const std::int64_t quarter = divide_away(536870912, bits);
  const auto exponent = [&](int p, std::int64_t shift) {
    return w.held(w.times_power(p, 31 - bits) + shift);
  };
  const int za = zeros_before(x);
  const std::int64_t a = w.times_power(w.product(w.times_power(x, za - 1), kRoot), 1);
  const std::int64_t root = w.product(x, kRoot);
  const int zb = zeros_before(root) - 1;
  const std::int64_t b = w.times_power(x, zb);
  const std::int64_t r = std::min(a, b);
  const std::int64_t e =
      std::max(exponent(integer_bits - za, quarter), exponent(integer_bits - zb, -quarter));
  const std::int64_t p = divide_away(r + kRootRoot, 1), q = wrap(2 * (r - kRootRoot)),
                     c = w.product(q, q);
  const std::int64_t num = w.product(q, r) + w.product(w.product(q, c), 117049297);
  const std::int64_t den =
      w.product(p, 1057819769 + q + w.product(127690142, c)) + w.product(638450708, q);
  const std::int64_t quotient = w.product(divide_away(num, bits), w.inverse(den));
  return w.times_power(w.product(e, 1488522236) + quotient, bits - out_bits);
}

Root inverse_root(std::int64_t v) {
  const Word w{32};
  if (v <= 1) return {w.most(), 0};
  int right = 11;
  for (; v >= power(29); v /= 4) ++right;
  for (; v < power(27); v *= 4) --right;
  const std::int64_t half = divide_away(floor_div(v, 2), 1);
  std::int64_t x = power(28);
  for (int i = 0; i < 5; ++i) {
    const std::int64_t cube = w.times_power(w.product(w.product(x, x), x), 6);
    x = w.times_power(w.product(402653184, x) - w.product(half, cube), 3);
  }
  x = w.product(x, 1518500250);
  return right < 0 ? Root{wrap(x * power(-right)), 0} : Root{x, right};
}

std::int64_t times_narrow(__int128_t x, Factor f) {
  const __int128_t m = f.m < 0x7FFF0000 ? floor_div(f.m + 32768, 65536) : 0x7FFF;
  const int right = 15 - f.e;
  if (right <= 0) return wrap(static_cast<std::int64_t>(x * m * (__int128_t{1} << -right)));
  const __int128_t unit = __int128_t{1} << right, sum = x * m + unit / 2;
  return wrap(static_cast<std::int64_t>(sum / unit - (sum % unit < 0 ? 1 : 0)));
}

}  // namespace litegap::oracle
