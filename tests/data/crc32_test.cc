#include "data/crc32.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/random.h"

namespace litegap {
namespace {

// The definition: one bit at a time.
std::uint32_t by_bits(std::uint32_t before, std::span<const std::byte> bytes) {
  std::uint32_t r = ~before;
  for (const std::byte b : bytes) {
    r ^= static_cast<std::uint32_t>(b);
    for (int k = 0; k < 8; ++k) r = r >> 1 ^ ((r & 1) != 0 ? 0xEDB88320u : 0u);
  }
  return ~r;
}

TEST(Crc32Test, TheCheckValueOfTheStandard) {
  const std::string digits = "123456789";
  EXPECT_EQ(crc32_of(0, std::as_bytes(std::span(digits))), 0xCBF43926u);
  EXPECT_EQ(crc32_of(0, {}), 0u);
}

TEST(Crc32Test, EveryLengthAtEveryAddressGoesOnFromAnyBefore) {
  Random random(1);
  std::vector<std::byte> bytes(700);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.below(256));
  for (std::size_t n = 0; n < 600; ++n) {
    const auto part = std::span(bytes).subspan(random.below(16), n);
    const auto before = static_cast<std::uint32_t>(random.bits());
    ASSERT_EQ(crc32_of(before, part), by_bits(before, part)) << n;
  }
}

}  // namespace
}  // namespace litegap
