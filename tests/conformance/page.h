// docs/conformance.md, written by the test that runs the recorded operator cases.
//
// A page in the tree must say the same on every machine.  What does not: a float result of XNNPACK
// whose last bits depend on the instruction set of the machine that recorded it.  Such cases are
// told by what they are (`by_machine`), not by how they end here, and counted apart.
//
//   page_text(tally)                            // the whole page
//   page_difference(page_text(tally), file)     // "" or the first line that differs
#pragma once
#include <sstream>
#include <string>
#include <vector>

#include "compare.h"

namespace litegap {

inline std::string page_cell(const Tally::Count& c) {
  std::string text;
  const auto add = [&](int n, const char* mark) {
    if (n > 0) text += fmt::format("{}{}{}", text.empty() ? "" : " ", n, mark);
  };
  add(c.passed - c.by_machine_passed, "");
  add(c.by_machine, "~");
  add(c.failed, " **failed**");
  return text.empty() ? "–" : text;
}

inline std::string page_text(const Tally& tally) {
  constexpr const char* kDialects[] = {"ref", "builtin", "xnn"};
  std::map<std::pair<std::string, std::string>, std::map<std::string, Tally::Count>> rows;
  std::map<std::string, Tally::Count> sums, refused;
  for (const auto& [key, c] : tally.counts()) {
    const auto& [op, type, dialect] = key;
    if (op.ends_with(" refused")) {
      refused[op.substr(0, op.size() - 8)].passed += c.passed;
      refused[op.substr(0, op.size() - 8)].failed += c.failed;
      continue;
    }
    rows[{op, type}][dialect] = c;
    Tally::Count& sum = sums[dialect];
    sum.passed += c.passed;
    sum.failed += c.failed;
    sum.by_machine += c.by_machine;
    sum.by_machine_passed += c.by_machine_passed;
    for (const auto& [reason, n] : c.skipped) sum.skipped[reason] += n;
  }
  std::string s =
      "# Conformance\n\n"
      "Every recorded case of an operator, its type and its dialect: the model is run here and "
      "compared with what\n"
      "`ai-edge-litert` 2.3.0 gave. Integers, codes and bool agree bit for bit; floats within the "
      "tolerance of the\n"
      "operator (`tests/conformance/goldens_test.cc`). This page is written by that test\n"
      "(`LITEGAP_WRITE_DOCS=1 build/release/tests/test_conformance --gtest_filter='*Goldens*'`), "
      "which fails when the page\n"
      "says something else than what it finds.\n\n"
      "A number is a number of cases that pass. `7~`: 7 float cases of XNNPACK whose last bits "
      "depend on the instruction set\n"
      "of the machine that recorded them; where they differ on another one they are called "
      "mistrusted, not failed, and the\n"
      "test prints them. `–`: that dialect has none. Skipped cases have their reason and number, "
      "over the three dialects.\n\n"
      "| operator | type | reference | builtin | xnnpack | skipped |\n|---|---|---|---|---|---|\n";
  const auto line = [&](const std::string& op, const std::string& type,
                        std::map<std::string, Tally::Count>& cells) {
    s += fmt::format("| {} | {} |", op, type);
    std::map<std::string, int> skipped;
    for (const char* d : kDialects) {
      s += fmt::format(" {} |", page_cell(cells[d]));
      for (const auto& [reason, n] : cells[d].skipped) skipped[reason] += n;
    }
    std::string reasons;
    for (const auto& [reason, n] : skipped)
      reasons += fmt::format("{}{} ({})", reasons.empty() ? "" : ", ", reason, n);
    s += fmt::format("{}{} |\n", reasons.empty() ? "" : " ", reasons);
  };
  for (auto& [key, cells] : rows) line(key.first, key.second, cells);
  line("**all**", "", sums);
  s += "\n## Refused models\n\nModels that the runtime refuses, with values at which it stops left "
       "out: refused here "
       "too, in every dialect.\n\n| operator | refused | run all the same |\n|---|---|---|\n";
  for (const auto& [op, c] : refused)
    s += fmt::format("| {} | {} | {} |\n", op, c.passed, c.failed);
  return s;
}

inline std::string page_difference(const std::string& now, const std::string& before) {
  std::istringstream a(now), b(before);
  for (int n = 1;; ++n) {
    std::string x, y;
    const bool more = static_cast<bool>(std::getline(a, x)),
               old = static_cast<bool>(std::getline(b, y));
    if (!more && !old) return "";
    if (x != y || more != old)
      return fmt::format("line {}: found '{}', the page says '{}'", n, x, y);
  }
}

}  // namespace litegap
