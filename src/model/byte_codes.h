// Codes of 8 bits by products.  A code is the quotient x / scale in doubles, rounded to the nearest
// integer; divisions are what takes the time.  The product x * (1 / scale) differs from the
// quotient in its last two bits, which moves a code only where the quotient is half-way between two
// integers:
//
//   scale 0.1   x 0.234  product 2.3400000000000003 -> 2, and so is the quotient's integer
//               x 0.25   product 2.5 to 10^-15 -> in doubt, the quotient decides
//
// So a piece of floats is done by products, and again by quotients where one was in doubt.  Before
// that it is tried with products in float, twice as many at once: up to 512 they are within 10^-4
// of the quotient, and of a hundred pieces one or two are in doubt.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>

namespace litegap {

// code = round(x / scale) + zero, clamped to low..high; all integers but the scale.
struct OneScale {
  double scale = 1, zero = 0, low = 0, high = 0;
};

// 1.5 * 2^52: up to 2^51 a double that it is added to and subtracted from is rounded to an integer,
// ties to even, and in between the integer is the low half of the sum.
constexpr double kToInteger = 6755399441055744.0;

constexpr std::size_t kBytePiece = 64;  // floats

struct ByteProducts {
  double inverse = 1;  // of the scale
  double sure = 0;     // products less far from an integer have the quotient's
  float far = 0;       // floats beyond have the codes at the ends
  int zero = 0, low = 0;
  // The same in float; no `brief_far`: not so.
  float brief_inverse = 1, brief_sure = 0, brief_far = 0;
};

// None where codes are not made so: on other processors than those with AVX2, and for scales and
// zero points of no sound file.
std::optional<ByteProducts> byte_products(const OneScale& q);

// Codes of kBytePiece floats at any address.  False, with nothing of use done, where one is in
// doubt or no number.
bool byte_codes(const ByteProducts& q, const std::byte* real, std::int8_t* codes);
bool byte_codes(const ByteProducts& q, const std::byte* real, std::uint8_t* codes);

}  // namespace litegap
