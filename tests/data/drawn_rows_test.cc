#include "data/drawn_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace litegap {
namespace {

using Rows = std::vector<std::size_t>;

TEST(DrawnRows, PiecesRiseAndTogetherAreAllRows) {
  Random random(1);
  for (int round = 0; round < 300; ++round) {
    const std::size_t unit = 1 + random.below(2), count = random.below(round % 3 == 0 ? 2000 : 40);
    DrawnRows draw(count, unit, random.bits());
    std::set<std::size_t> seen;
    while (draw.left() > 0) {
      const std::size_t left = draw.left(), asked = 1 + random.below(1 + left);
      const Rows rows = draw.next(asked);
      ASSERT_EQ(rows.size(), std::min(left, std::max(unit, asked / unit * unit)));
      ASSERT_EQ(draw.left(), left - rows.size());
      ASSERT_TRUE(std::is_sorted(rows.begin(), rows.end()));
      for (std::size_t i = 0; i < rows.size(); ++i) {
        ASSERT_LT(rows[i], count);
        ASSERT_TRUE(seen.insert(rows[i]).second) << "row " << rows[i] << " twice";
        ASSERT_EQ(rows[i] % unit, i % unit);
        if (i % unit > 0) {
          ASSERT_EQ(rows[i], rows[i - 1] + 1);
        }
      }
    }
    EXPECT_EQ(seen.size(), count / unit * unit);
    EXPECT_TRUE(draw.next(5).empty());
  }
}

TEST(DrawnRows, InOrderTheyFollowOneAnother) {
  DrawnRows draw(7, 1, 3, true);
  EXPECT_EQ(draw.next(3), (Rows{0, 1, 2}));
  EXPECT_EQ(draw.next(1), (Rows{3}));
  EXPECT_EQ(draw.next(9), (Rows{4, 5, 6}));
}

// Of a piece of any size, after pieces of any size, each row is as often part as any other, and so
// is each pair of rows.
TEST(DrawnRows, EverySetIsAsLikelyAsAnyOther) {
  constexpr std::size_t kRows = 12;
  constexpr int kTimes = 6000;
  for (const Rows& sizes :
       {Rows{1}, Rows{2}, Rows{8}, Rows{3, 4}, Rows{1, 10}, Rows{9, 1}, Rows{10, 1}}) {
    std::size_t single[kRows] = {}, pair[kRows][kRows] = {};
    for (int seed = 0; seed < kTimes; ++seed) {
      DrawnRows draw(kRows, 1, static_cast<std::uint64_t>(seed));
      Rows last;
      for (const std::size_t size : sizes) last = draw.next(size);
      for (const std::size_t a : last) {
        ++single[a];
        for (const std::size_t b : last) ++pair[a][b];
      }
    }
    const double part = static_cast<double>(sizes.back()) / kRows;
    const double both = part * static_cast<double>(sizes.back() - 1) / (kRows - 1);
    const auto expect_share = [&](std::size_t found, double share) {
      const double spread = std::sqrt(kTimes * share * (1 - share));
      EXPECT_NEAR(static_cast<double>(found), kTimes * share, 5 * spread + 1e-9) << sizes.size();
    };
    for (std::size_t a = 0; a < kRows; ++a) {
      expect_share(single[a], part);
      for (std::size_t b = 0; b < a; ++b) expect_share(pair[a][b], both);
    }
  }
}

}  // namespace
}  // namespace litegap
