// The checksum of ZIP members (CRC-32, polynomial 0x04C11DB7, bits reflected), at the speed of
// memory where the processor multiplies polynomials.
//
//   crc32_of(0, "123456789") == 0xCBF43926
//   crc32_of(crc32_of(0, a), b) == crc32_of(0, a followed by b)
//
// Bits are the coefficients of a polynomial over the field of two elements, the checksum is its
// remainder modulo P.  Sixteen bytes x 2^d bits ahead of others are replaced by their product with
// (x^d mod P), so that four registers fold 64 bytes a step onto the 64 that follow; what is left in
// the end is short and goes through a table (Gopal, Ozturk, Guilford and others 2009: Fast CRC
// Computation for Generic Polynomials Using PCLMULQDQ).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace litegap {

std::uint32_t crc32_of(std::uint32_t before, std::span<const std::byte> bytes);

}  // namespace litegap
