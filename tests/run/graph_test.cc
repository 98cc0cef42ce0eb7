// Random graphs of all operators against the judge: a few seconds of what tests/fuzz/graph_fuzz.cc
// does without end.
#include <gtest/gtest.h>

#include <cstdlib>

#include "oracle/graph_check.h"

namespace litegap::oracle {
namespace {

TEST(Graphs, EveryTensorIsWhatTheJudgeSays) {
  const int graphs = std::getenv("LITEGAP_TEST_LIGHT") != nullptr ? 150 : 1200;
  int ops = 0, judged = 0;
  for (int seed = 0; seed < graphs; ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const GraphCheck check = check_graph(draw, 3 + seed % 18);
    ASSERT_EQ(check.wrong, "") << "seed " << seed;
    ops += check.ops;
    judged += check.judged;
  }
  // A test that judges little says little.
  EXPECT_GT(ops, 5 * graphs);
  EXPECT_GT(judged, ops * 3 / 4);
  RecordProperty("operators", ops);
  RecordProperty("judged", judged);
}

}  // namespace
}  // namespace litegap::oracle
