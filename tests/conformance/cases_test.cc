// Pairs of models with a known cause, or none: explain() must name the cause first, prove it both
// ways and heal it, and must stay silent on the healthy ones.  Skipped where the cases are absent.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/json.h"
#include "diagnose/explain.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

namespace fs = std::filesystem;

std::string shared_folder() {
  const char* given = std::getenv("LITEGAP_SHARED");
  return given != nullptr ? given : std::string(LITEGAP_SOURCE_DIR) + "/../shared";
}

// The causes that this version knows.
const std::set<std::string> kKnown = {"A00", "A01", "A02", "A03", "A08", "A09", "A10", "A11", "B01",
                                      "B03", "B04", "B11", "C01", "D01", "D05", "D04", "G01"};

struct Case {
  std::string folder;
  Json task, answer;
  std::set<std::string> right;  // ids that count as right for the first cause
  bool healthy = false;
};

std::string id_of(const std::string& text) { return text.substr(0, 3); }

std::vector<Case> cases() {
  std::vector<Case> all;
  const fs::path root = fs::path(shared_folder()) / "cases";
  if (!fs::exists(root)) return all;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (!entry.is_directory()) continue;
    Case c;
    c.folder = entry.path().string();
    c.task = parse_json(read_text(c.folder + "/task.json"));
    c.answer = parse_json(read_text(c.folder + "/answer.json"));
    const std::string first = c.answer["cause"][0];
    c.healthy = first == "healthy";
    if (!c.healthy && !kKnown.contains(first)) continue;
    c.right.insert(first);
    for (const Json& alternative : c.answer["acceptable_alternatives"]) {
      if (alternative.is_string()) c.right.insert(id_of(alternative));
    }
    all.push_back(c);
  }
  std::sort(all.begin(), all.end(),
            [](const Case& a, const Case& b) { return a.folder < b.folder; });
  return all;
}

Explanation run_case(const Case& c) {
  ExplainOptions o;
  o.metric = c.task["metric"];
  if (c.task.contains("claimed_float") && c.task["claimed_float"].is_number())
    o.claimed = c.task["claimed_float"].get<double>();
  if (fs::exists(c.folder + "/calib.npz")) o.calibration_path = c.folder + "/calib.npz";
  if (fs::exists(c.folder + "/dump.npz")) o.dump_path = c.folder + "/dump.npz";
  if (fs::exists(c.folder + "/printed.npz")) o.user_outputs_path = c.folder + "/printed.npz";
  return explain(read_model(c.folder + "/float.tflite"), read_model(c.folder + "/quant.tflite"),
                 read_dataset(c.folder + "/data.npz"), o);
}

std::string summary(const Explanation& e) {
  std::string text =
      fmt::format("verdict {} total {:.4f} unexplained {:.4f} passes {:.1f} seconds {:.1f};",
                  e.gap.verdict, e.gap.total, e.unexplained, e.cost.passes, e.cost.seconds);
  for (const Finding& f : e.findings)
    text += fmt::format(" {} {} recovers {:.4f} injects {:.4f} {};", f.cause, f.slug, f.recovers,
                        f.injects.value_or(0), f.proved ? "proved" : "not proved");
  return text;
}

class KnownCases : public testing::TestWithParam<Case> {};

TEST_P(KnownCases, NamesProvesAndHeals) {
  const Case& c = GetParam();
  const Explanation e = run_case(c);
  std::printf("%s %s: %s\n", fs::path(c.folder).filename().c_str(),
              json_text(c.answer["cause"]).c_str(), summary(e).c_str());
  if (c.healthy) {
    EXPECT_TRUE(e.gap.verdict == "none" || e.gap.verdict == "normal") << summary(e);
    for (const Finding& f : e.findings) EXPECT_TRUE(c.right.contains(f.cause)) << summary(e);
    return;
  }
  ASSERT_FALSE(e.findings.empty()) << summary(e);
  EXPECT_TRUE(c.right.contains(e.findings[0].cause)) << summary(e);
  EXPECT_TRUE(e.findings[0].proved) << summary(e);
  if (c.answer.contains("gap") && c.answer["gap"].is_number() && e.findings[0].injects) {
    EXPECT_LT(e.unexplained, 0.35 * c.answer["gap"].get<double>() + 0.01) << summary(e);
  }
}

INSTANTIATE_TEST_SUITE_P(Shared, KnownCases, testing::ValuesIn(cases()), [](const auto& info) {
  return fs::path(info.param.folder).filename().string();
});
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KnownCases);

}  // namespace
}  // namespace litegap
