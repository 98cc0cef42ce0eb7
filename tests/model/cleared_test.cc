#include "model/cleared.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace litegap {
namespace {

TEST(Cleared, IsZeroOfAnySize) {
  for (const std::int32_t n : {0, 1, 5000, (1 << 20) - 1, 1 << 20, (2 << 20) - 64, (2 << 20) - 63,
                               (3 << 20) + 7, 9 << 20}) {
    for (int again = 0; again < 2; ++again) {  // also in the place of one that was written
      Array a = cleared_array(DType::kUint8, {n});
      ASSERT_EQ(a.byte_size(), static_cast<std::size_t>(n));
      auto v = a.mutable_span<std::uint8_t>();
      EXPECT_EQ(std::count(v.begin(), v.end(), 0), n);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.data()) % 64, 0u);
      std::fill(v.begin(), v.end(), std::uint8_t{7});
    }
  }
}

TEST(Cleared, HasItsTypeAndShape) {
  const Array a = cleared_array(DType::kInt64, {3, 70000});
  EXPECT_EQ(a.dtype(), DType::kInt64);
  EXPECT_EQ(a.shape(), (Shape{3, 70000}));
  EXPECT_EQ(a.byte_size(), 8u * 3 * 70000);
}

}  // namespace
}  // namespace litegap
