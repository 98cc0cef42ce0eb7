// Every row of the table of kernels has a judge and cases, for every type that it names, and keeps
// what every kernel promises.  A row without a judge, or a type without a judged case, fails.
//
//   ROWS=CONV_2D,ADD test_kernels --gtest_filter='*Rows*'    only these, with what was counted
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>

#include "node_run.h"
#include "oracle/own_judges.h"
#include "value_run.h"

namespace litegap::oracle {
namespace {

std::string row_name(const KernelRow& row) {
  return row.custom != nullptr ? row.custom : op_name(row.code);
}
const Judge* judge_for(const KernelRow& row) {
  Op op;
  op.code = row.code;
  op.custom_code = row.custom != nullptr ? row.custom : "";
  return judge_of(op);
}
std::vector<const KernelRow*> rows() {
  std::vector<const KernelRow*> all;
  const char* only = std::getenv("ROWS");
  for (const KernelRow& row : kernel_table()) {
    const std::string padded = only == nullptr ? "" : "," + std::string(only) + ",";
    const bool asked =
        only == nullptr || padded.find("," + row_name(row) + ",") != std::string::npos;
    if (asked && !has_own_judge(row.code)) all.push_back(&row);
  }
  return all;
}

// The list of rows that are judged elsewhere: each is in the table, not in the registry, and in the
// file that the list names.
TEST(Coverage, OwnJudgesAreWhereTheListSays) {
  for (const OwnJudge& o : kOwnJudges) {
    Op op;
    op.code = o.code;
    EXPECT_NE(kernel_row(op), nullptr) << o.name;
    EXPECT_EQ(judge_of(op), nullptr) << o.name << " has a judge in the registry";
    std::ifstream in(std::string(LITEGAP_SOURCE_DIR) + "/" + o.file);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    EXPECT_NE(text.find(o.name), std::string::npos) << o.name << " is not in " << o.file;
  }
}

class Rows : public testing::TestWithParam<const KernelRow*> {};

TEST(Coverage, NoJudgeIsOfNoRow) {
  for (const Judge& j : judges()) {
    Op op;
    op.code = j.code;
    op.custom_code = j.custom != nullptr ? j.custom : "";
    EXPECT_NE(kernel_row(op), nullptr) << op.name();
  }
}

// A judge that cannot find a fault proves nothing: every bit of a code, and an error beyond the
// tolerance of a float, must show.
TEST(Coverage, DifferencesShow) {
  const Array codes = Array::of<std::int8_t>({3}, {1, 2, 3}),
              floats = Array::of<float>({2}, {1, 100});
  for (int bit = 0; bit < 24; ++bit) {
    Array other = codes.clone();
    other.mutable_data()[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_NE(difference_of(other, codes, 1), "") << bit;
  }
  EXPECT_EQ(difference_of(Array::of<float>({2}, {1, 100.00001f}), floats, 1e-6), "");
  EXPECT_NE(difference_of(Array::of<float>({2}, {1, 100.001f}), floats, 1e-6), "");
  EXPECT_NE(difference_of(Array::of<float>({2}, {std::nanf(""), 100}), floats, 1e-6), "");
  EXPECT_NE(difference_of(floats, floats.reshaped({2, 1}), 1), "");
  EXPECT_NE(disagreement({{codes, codes}}, {codes}), "");
}

struct Counted {
  int judged = 0, silent = 0;
  std::map<Dialect, int> taken, judged_of;
  std::string refused;
};

// One random case in every dialect; what differs, or "".
std::string check_case(const Model& model, const std::vector<Array>& values, const Judge& judge,
                       Counted* counted) {
  for (const Dialect d : kAllDialects) {
    NodeRun run;
    try {
      run = run_node(model, 0, d, values, {0xA5, 0x5A, 0, 1});
    } catch (const Error& e) {
      counted->refused = e.what();
      continue;
    }
    ++counted->taken[d];
    const Verdict v = judge_node(judge, node_of(model, 0, d, values));
    if (!v.silent.empty()) {
      ++counted->silent;
      continue;
    }
    ++counted->judged;
    ++counted->judged_of[d];
    std::string wrong = disagreement(v, run.outputs);
    for (std::size_t i = 0; i < v.states.size() && i < run.states.size() && wrong.empty(); ++i) {
      wrong = difference_of(run.states[i], v.states[i].second, v.tolerance, v.scale);
      if (!wrong.empty()) wrong = fmt::format("state {}: {}", i, wrong);
    }
    if (!wrong.empty()) return fmt::format("{}: {}", dialect_name(d), wrong);
  }
  return "";
}

TEST_P(Rows, AgreeWithTheirJudge) {
  const KernelRow& row = *GetParam();
  const Judge* judge = judge_for(row);
  ASSERT_NE(judge, nullptr) << row_name(row) << " has no judge in tests/oracle";
  for (const Ask& ask : asks_of(row)) {
    Counted counted;
    std::string why;
    const int cases = std::max(2, rounds(48));
    for (int seed = 0; seed < cases; ++seed) {
      Draw draw(static_cast<unsigned>(seed * 7919 + static_cast<int>(row.code)));
      Sketch s(draw);
      if (!s.grow(*judge, ask)) {
        why = s.why();
        continue;
      }
      const ModelPtr model = s.model();
      const auto values = values_of(*model, s.inputs(), draw);
      ASSERT_EQ(check_case(*model, values, *judge, &counted), "")
          << row_name(row) << " " << ask_name(ask) << ", seed " << seed;
    }
    if (std::getenv("ROWS") != nullptr)
      std::cout << row_name(row) << " " << ask_name(ask) << ": " << counted.judged << " judged, "
                << counted.silent << " silent; refused: " << counted.refused << why << "\n";
    EXPECT_GT(counted.judged, 0) << row_name(row) << " of " << ask_name(ask)
                                 << " is listed but has no judged case: " << counted.refused << why;
    for (const auto& [d, n] : counted.taken)
      EXPECT_GT(counted.judged_of[d], 0) << row_name(row) << " of " << ask_name(ask) << ": "
                                         << dialect_name(d) << " takes it, the judge is silent";
  }
}

// Changes every row of the first operand but the first.
Array with_other_rows(const Array& x, Draw& draw) {
  Array y = x.clone();
  const std::size_t row = x.elements() / static_cast<std::size_t>(x.shape()[0]);
  for (std::size_t i = row; i < x.elements(); ++i) {
    if (is_float(x.dtype()))
      put(y, i, static_cast<double>(draw.real(-3, 3)));
    else
      put_integer(y, i, draw.in(0, 100));
  }
  return y;
}

void expect_rows_apart(const Model& model, std::vector<Array> values, Dialect d, Draw& draw) {
  const auto t = static_cast<std::size_t>(model.main().ops[0].inputs[0]);
  const Shape& shape = model.main().tensors[t].shape;
  if (shape.empty() || shape[0] < 2) return;
  const NodeRun before = run_node(model, 0, d, values);
  values[t] = with_other_rows(values[t], draw);
  const NodeRun after = run_node(model, 0, d, values);
  for (std::size_t i = 0; i < before.outputs.size(); ++i) {
    const Array &a = before.outputs[i], &b = after.outputs[i];
    const std::size_t bytes = a.byte_size() / static_cast<std::size_t>(a.shape()[0]);
    EXPECT_EQ(std::memcmp(a.data(), b.data(), bytes), 0) << "a row depends on its neighbours";
  }
}

TEST_P(Rows, DependOnTheirOperandsOnly) {
  const KernelRow& row = *GetParam();
  const Judge* judge = judge_for(row);
  ASSERT_NE(judge, nullptr) << row_name(row);
  for (const Ask& ask : asks_of(row)) {
    for (int seed = 0; seed < std::max(2, rounds(16)); ++seed) {
      Draw draw(static_cast<unsigned>(seed + 1000));
      Sketch s(draw);
      if (!s.grow(*judge, ask)) continue;
      const ModelPtr model = s.model();
      const auto values = values_of(*model, s.inputs(), draw);
      const auto& operands = model->main().ops[0].inputs;
      const bool states = std::any_of(operands.begin(), operands.end(), [&](int t) {
        return t >= 0 && model->main().tensors[static_cast<std::size_t>(t)].is_variable;
      });
      for (const Dialect d : kAllDialects) {
        NodeRun first;
        try {
          first = run_node(*model, 0, d, values);
        } catch (const Error&) {
          continue;
        }
        const std::string label =
            fmt::format("{} {}, {}, seed {}", row_name(row), ask_name(ask), dialect_name(d), seed);
        const auto same = [&](const NodeRun& other) {
          return same_bytes(first.outputs, other.outputs) && same_bytes(first.states, other.states);
        };
        EXPECT_TRUE(same(run_node(*model, 0, d, values, {0xFF, 0xFF, 0, 1})))
            << label << ": bytes that lay in scratch or output";
        EXPECT_TRUE(same(run_node(*model, 0, d, values, {0, 0, 1, 1})))
            << label << ": the address of the operands";
        if (!states) {
          EXPECT_TRUE(same(run_node(*model, 0, d, values, {0, 0, 0, 2})))
              << label << ": a second run";
        }
        if (judge->rows_apart) expect_rows_apart(*model, values, d, draw);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

std::string refusal_of(const Model& model, const std::function<void(OpSpec&)>& spoil) {
  OpSpec spec = spec_of(model, 0, Dialect::kXnnpack);
  Op op = *spec.op;
  spec.op = &op;
  spoil(spec);
  try {
    kernel_row(op)->prepare(spec);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST_P(Rows, RefuseByName) {
  const KernelRow& row = *GetParam();
  const Judge* judge = judge_for(row);
  ASSERT_NE(judge, nullptr) << row_name(row);
  for (const Ask& ask : asks_of(row)) {
    Draw draw(77);
    Sketch s(draw);
    for (int k = 0; k < 20 && s.ops() == 0; ++k) s.grow(*judge, ask);
    if (s.ops() == 0) continue;
    const ModelPtr model = s.model();
    const struct {
      const char* what;
      std::function<void(OpSpec&)> spoil;
    } spoils[] = {
        {"no inputs", [](OpSpec& o) { o.inputs.clear(); }},
        {"its first input absent", [](OpSpec& o) { o.inputs[0].present = false; }},
        {"no outputs", [](OpSpec& o) { o.outputs.clear(); }},
        {"a string for its first input",
         [](OpSpec& o) {
           o.inputs[0].dtype = DType::kString;
           o.inputs[0].constant = nullptr;
         }},
        {"a resource for its output", [](OpSpec& o) { o.outputs[0].dtype = DType::kResource; }},
        {"too many inputs", [](OpSpec& o) { o.inputs.resize(o.inputs.size() + 60); }},
    };
    for (const auto& sp : spoils) {
      // They ask for the shape only.
      const bool shape_only = row.code == OpCode::kShape || row.code == OpCode::kRank;
      if (shape_only && std::string(sp.what).starts_with("a string")) continue;
      const std::string text = refusal_of(*model, sp.spoil);
      const std::string label =
          fmt::format("{} {}, {}: '{}'", row_name(row), ask_name(ask), sp.what, text);
      EXPECT_NE(text, "") << label;
      EXPECT_NE(text.find(row_name(row)), std::string::npos) << label;
      EXPECT_EQ(text.find('\n'), std::string::npos) << label;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Rows, testing::ValuesIn(rows()),
                         [](const auto& info) { return row_name(*info.param); });

}  // namespace
}  // namespace litegap::oracle
