// Work over blocks: every element once, the same blocks for any number of threads; and a team.
#include "base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/team.h"

namespace litegap {
namespace {

using Block = std::tuple<std::size_t, std::size_t, std::size_t>;

std::set<Block> blocks_of(std::size_t n, std::size_t block, int threads) {
  std::set<Block> seen;
  std::mutex guard;
  for_each_block(n, block, threads, [&](std::size_t b, std::size_t begin, std::size_t end, int w) {
    EXPECT_GE(w, 0);
    EXPECT_LT(w, std::max(1, threads));
    const std::lock_guard<std::mutex> lock(guard);
    EXPECT_TRUE(seen.emplace(b, begin, end).second) << "block " << b << " came twice";
  });
  return seen;
}

TEST(ParallelTest, CoversEveryElementOnce) {
  for (const std::size_t n : {0u, 1u, 63u, 64u, 65u, 1000u}) {
    std::size_t covered = 0;
    for (const auto& [b, begin, end] : blocks_of(n, kBlock, 3)) {
      EXPECT_EQ(begin, b * kBlock);
      EXPECT_LE(end - begin, kBlock);
      covered += end - begin;
    }
    EXPECT_EQ(covered, n);
  }
}

TEST(ParallelTest, BlocksDoNotDependOnThreads) {
  const auto one = blocks_of(777, 10, 1);
  for (const int threads : {0, 2, 5, 100}) EXPECT_EQ(blocks_of(777, 10, threads), one);
}

TEST(ParallelTest, OneThreadKeepsTheOrder) {
  std::vector<std::size_t> order;
  for_each_block(50, 8, 1,
                 [&](std::size_t b, std::size_t, std::size_t, int) { order.push_back(b); });
  EXPECT_EQ(order, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5, 6}));
}

TEST(ParallelTest, RethrowsAndStops) {
  for (const int threads : {1, 4}) {
    std::atomic<int> done{0};
    EXPECT_THROW(for_each_block(100000, 1, threads,
                                [&](std::size_t b, std::size_t, std::size_t, int) {
                                  if (b == 5) fail("broken");
                                  ++done;
                                }),
                 Error);
    EXPECT_LT(done, 100000);
  }
}

// Without any synchronization but the team's own: a piece that came late or twice would be seen.
TEST(ParallelTest, TeamDoesEveryPieceOnceAndWaitsForAll) {
  for (const int threads : {1, 2, 5}) {
    Team team(threads);
    EXPECT_EQ(team.threads(), threads);
    std::vector<int> done(7, 0), by(static_cast<std::size_t>(threads), 0);
    for (int turn = 1; turn <= 300; ++turn) {
      team.share(done.size(), [&](std::size_t piece, int worker) {
        ++done[piece];
        ++by[static_cast<std::size_t>(worker)];
      });
      for (const int d : done) ASSERT_EQ(d, turn);
      ASSERT_EQ(std::accumulate(by.begin(), by.end(), 0), 7 * turn);
      if (turn % 100 == 0)  // long enough for the others to fall asleep
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
    team.share(0, [&](std::size_t, int) { FAIL(); });
  }
}

// Two pieces that wait for one another end only where two threads take them.
TEST(ParallelTest, TeamWorksAtTheSameTimeInThreads) {
  Team team(2);
  std::atomic<int> here{0};
  team.share(2, [&](std::size_t, int) {
    ++here;
    while (here < 2) std::this_thread::yield();
  });
  EXPECT_EQ(here, 2);
}

}  // namespace
}  // namespace litegap
