// Broken and malicious files end in one line, quickly, in bounded memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "program.h"

namespace litegap {
namespace {

constexpr double kSeconds = 2;
constexpr std::uint64_t kBytes = std::uint64_t{1} << 30;

TEST(Hostile, EveryFileEndsCleanly) {
  const std::string index = shared_path("corpus/hostile/index.csv");
  if (!file_exists(index)) GTEST_SKIP() << "no shared folder";
  std::istringstream in(read_text(index));
  std::string line;
  std::getline(in, line);  // header
  while (std::getline(in, line)) {
    const std::string file = line.substr(0, line.find(','));
    const std::string did = line.substr(line.rfind(',') + 1);
    SCOPED_TRACE(line);
    const Ran ran = run_litegap({"run", shared_path("corpus/" + file)}, 10);
    if (did != "rejected" && did != "invoke-error") {  // odd, but the runtime ran it
      EXPECT_TRUE(ran.exit == 0 || ran.exit == 1) << ran.exit << " " << ran.err;
      continue;
    }
    EXPECT_LE(ran.cpu_seconds, kSeconds);
    EXPECT_LE(ran.peak_bytes, kBytes);
    EXPECT_EQ(ran.exit, 1) << ran.err;
    EXPECT_EQ(ran.out, "");
    EXPECT_TRUE(ran.err.starts_with("litegap: error: ")) << ran.err;
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  }
}

}  // namespace
}  // namespace litegap
