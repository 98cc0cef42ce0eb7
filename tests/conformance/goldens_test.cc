// Every recorded operator case under every dialect.
//
//   GOLDENS=conv_2d,add test_conformance --gtest_filter='*Goldens*'   // only these folders
//   GOLDENS_ALL=1                                                     // details of unpromised ones
//   too
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "base/json.h"
#include "compare.h"
#include "data/npy.h"
#include "oracle/own_judges.h"
#include "page.h"
#include "run/plan.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

struct Resolver {
  const char* key;
  Dialect dialect;
};
constexpr Resolver kResolvers[] = {
    {"ref", Dialect::kReference}, {"builtin", Dialect::kBuiltin}, {"xnn", Dialect::kXnnpack}};

Tally& tally() {
  static Tally t;
  return t;
}

// Folders that were run to their end.
std::set<std::string>& finished() {
  static std::set<std::string> names;
  return names;
}

void check_page();

class PrintTally : public testing::Environment {
 public:
  void TearDown() override {
    if (tally().empty()) return;
    std::cout << "\nrecorded operator cases\n" << tally().text() << std::flush;
    check_page();
  }
};
const testing::Environment* const kPrinted = testing::AddGlobalTestEnvironment(new PrintTally);

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, at);) parts.push_back(part);
  return parts;
}

std::string goldens() {
  const std::string shared = shared_directory();
  return !shared.empty() && is_directory(shared + "/goldens") ? shared + "/goldens" : "";
}

std::vector<std::string> folders() {
  std::vector<std::string> all;
  if (goldens().empty()) return all;
  const char* only = std::getenv("GOLDENS");
  if (only != nullptr) return split(only, ',');
  for (const auto& entry : std::filesystem::directory_iterator(goldens())) {
    if (entry.is_directory()) all.push_back(entry.path().filename().string());
  }
  std::sort(all.begin(), all.end());
  return all;
}

// The page says what all cases gave, or is written anew.
void check_page() {
  const std::vector<std::string> all = folders();
  for (const std::string& name : all) {
    if (!finished().contains(name + " runs") || !finished().contains(name + " refuses")) return;
  }
  if (all.empty() || std::getenv("GOLDENS") != nullptr) return;
  const std::string path = std::string(LITEGAP_SOURCE_DIR) + "/docs/conformance.md",
                    now = page_text(tally());
  if (std::getenv("LITEGAP_WRITE_DOCS") != nullptr) {
    std::ofstream(path) << now;
    return;
  }
  EXPECT_EQ(page_difference(now, file_exists(path) ? read_text(path) : ""), "")
      << "docs/conformance.md is not what the cases give: LITEGAP_WRITE_DOCS=1 writes it anew";
}

std::string trim(const std::string& s) {
  const auto a = s.find_first_not_of(' '), b = s.find_last_not_of(' ');
  return a == std::string::npos ? "" : s.substr(a, b - a + 1);
}

// Tolerances by folder and type: what the recorded resolvers differ by (the table of the goldens'
// README), where that is rounding; other algorithms get 1e-6, operators outside of the table 4e-7.
double tolerance(const std::string& folder, const std::string& type, double otherwise = 4e-7) {
  static const std::map<std::pair<std::string, std::string>, double> table = [] {
    std::map<std::pair<std::string, std::string>, double> t;
    for (const std::string& line : split(read_text(goldens() + "/README.md"), '\n')) {
      const auto cells = split(line, '|');
      if (cells.size() < 7 || cells[3].find(" / ") == std::string::npos) continue;
      const std::string rel = trim(cells[6]);
      if (rel.empty() || rel.find_first_not_of("0123456789.e+-") != std::string::npos) continue;
      double v = std::stod(rel);
      if (v >= 1e-5) v = 1e-6;
      double& kept = t[{trim(cells[1]), trim(cells[2])}];
      kept = std::max(kept, v);
    }
    return t;
  }();
  const auto found = table.find({folder, type});
  if (found == table.end()) return otherwise;
  // The table's figures are rounded to two digits; nothing is asked below about an ulp of the peak.
  return std::max(found->second * 1.05, 1.5e-7);
}

// Why a refusal of an operator that has a kernel is no failure; "" when it is one.
std::string excuse(const Json& c, const Model& model, const std::string& error) {
  const std::string type = c["dtype"];
  if (error.find("past its end") != std::string::npos) return "the runtime reads past the bias";
  if (error.find("depends on data") != std::string::npos) return "shape depends on data";
  if (type.find("int4") != std::string::npos || type.find("int2") != std::string::npos)
    return type + " weights";
  if (type == "complex64") return "type " + type;
  for (const auto& list : {c["in"], c["out"]}) {
    for (const std::string text : list) {
      if (text.starts_with("float16[")) return "float16 tensors";
    }
  }
  for (const Tensor& t : model.main().tensors) {
    if (t.sparse) return "sparse weights";
  }
  return "";
}

// Whether a float result may depend on the instruction set: some operator computes.
bool computes(const Model& model) {
  static const std::set<std::string> kMoves = {"PAD",
                                               "PADV2",
                                               "CONCATENATION",
                                               "RESHAPE",
                                               "TRANSPOSE",
                                               "SQUEEZE",
                                               "EXPAND_DIMS",
                                               "SLICE",
                                               "STRIDED_SLICE",
                                               "SPLIT",
                                               "PACK",
                                               "UNPACK",
                                               "GATHER",
                                               "RESIZE_BILINEAR",
                                               "RESIZE_NEAREST_NEIGHBOR",
                                               "SHAPE",
                                               "CAST",
                                               "DEPTH_TO_SPACE",
                                               "SPACE_TO_DEPTH",
                                               "SPACE_TO_BATCH_ND",
                                               "BATCH_TO_SPACE_ND",
                                               "TILE",
                                               "FILL",
                                               "BROADCAST_TO",
                                               "MIRROR_PAD",
                                               "SPLIT_V",
                                               "UNIDIRECTIONAL_SEQUENCE_LSTM"};
  for (const Op& op : model.main().ops) {
    if (!kMoves.contains(op.name())) return true;
  }
  return false;
}

struct Case {
  const Json& json;
  std::string folder, id, type, op;
  ModelPtr model;
  bool promised = false;
};

bool float_output(const Json& c) {
  for (const std::string text : c["out"]) {
    if (text.starts_with("float")) return true;
  }
  return false;
}

// A case may hold several operators (an unrolled cell under its last one): the widest of theirs.
double tolerance(const Case& c) {
  double widest = tolerance(c.folder, c.type);
  for (const Op& op : c.model->main().ops) {
    std::string folder = op.name();
    for (char& letter : folder) letter = static_cast<char>(std::tolower(letter));
    if (folder != c.folder) widest = std::max(widest, tolerance(folder, c.type, 0));
  }
  return widest;
}

// Runs all draws; returns what differs, or "".
std::string run_draws(const Case& c, const NamedArrays& io, const Resolver& r) {
  const std::string source = c.json["outputs"][r.key];
  const std::size_t inputs = c.json["in"].size(), outputs = c.json["out"].size();
  const auto named = [&](int draw, const std::string& what) -> const Array& {
    const std::string name = fmt::format("{}.d{}.{}", c.id, draw, what);
    const Array* a = find_array(io, name);
    if (a == nullptr) throw std::runtime_error("no array " + name);
    return *a;
  };
  PlanOptions options;
  bool resized = false;
  for (std::size_t i = 0; i < inputs; ++i) {
    options.input_shapes.push_back(named(0, fmt::format("in_{}", i)).shape());
    resized =
        resized ||
        options.input_shapes.back() !=
            c.model->main().tensors[static_cast<std::size_t>(c.model->main().inputs[i])].shape;
  }
  if (!resized) options.input_shapes.clear();
  Numerics numerics;
  numerics.dialect = r.dialect;
  const Plan plan = make_plan(c.model, numerics, options);
  Workspace workspace(plan);
  const double rel = tolerance(c);
  for (int d = 0; d < c.json["draws"].get<int>(); ++d) {
    if (d == 0 || !c.json.value("stateful", false)) workspace.reset();
    std::vector<Array> values;
    for (std::size_t i = 0; i < inputs; ++i) values.push_back(named(d, fmt::format("in_{}", i)));
    run(plan, workspace, values);
    for (std::size_t j = 0; j < outputs; ++j) {
      const std::string diff =
          difference(workspace.output(j), named(d, fmt::format("out_{}_{}", source, j)), rel);
      if (!diff.empty()) return fmt::format("draw {}, output {}: {}", d, j, diff);
    }
  }
  return "";
}

void check_case(const Case& c, const NamedArrays& io, const Resolver& r, bool details) {
  Tally::Count& count = tally().at(c.op, c.type, r.key);
  // Whatever comes out: a case whose last bits may depend on the processor is counted as such.
  const bool by_machine = r.dialect == Dialect::kXnnpack && float_output(c.json) &&
                          c.json.value("xnn_delegated", false) && computes(*c.model);
  const std::string label =
      fmt::format("{}/{} {} [{}]", c.folder, c.id, c.json["name"].get<std::string>(), r.key);
  std::string wrong;
  try {
    wrong = run_draws(c, io, r);
  } catch (const Error& e) {
    const std::string foreign = foreign_operator(*c.model);
    std::string reason = !foreign.empty() ? "needs " + foreign : excuse(c.json, *c.model, e.what());
    if (!reason.empty()) {
      ++count.skipped[reason];
      return;
    }
    wrong = fmt::format("refused: {}", e.what());
  }
  if (by_machine && !wrong.starts_with("refused")) ++count.by_machine;
  if (wrong.empty()) {
    ++count.passed;
    if (by_machine) ++count.by_machine_passed;
    return;
  }
  const bool mistrusted =
      by_machine && instruction_set() != "avx512vnni" && !wrong.starts_with("refused");
  ++(mistrusted ? count.mistrusted : count.failed);
  if (mistrusted) {
    if (details) std::cout << "mistrusted " << label << ": " << wrong << "\n";
    return;
  }
  if (c.promised)
    ADD_FAILURE() << label << ": " << wrong;
  else if (details)
    std::cout << label << ": " << wrong << "\n";
}

class Goldens : public testing::TestWithParam<std::string> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Goldens);

TEST_P(Goldens, ResultsAreThoseOfTheRuntime) {
  const std::string folder = GetParam(), path = goldens() + "/" + folder;
  const bool details = std::getenv("GOLDENS_ALL") != nullptr;
  const Json json = parse_json(read_text(path + "/cases.json"));
  const NamedArrays io = file_exists(path + "/io.npz") ? read_npz(path + "/io.npz") : NamedArrays{};
  for (const Json& j : json["cases"]) {
    Case c{j, folder, j["id"], j["dtype"], j["op"], nullptr, false};
    try {
      c.model = read_model(path + "/" + c.id + ".tflite");
    } catch (const Error& e) {
      ADD_FAILURE() << folder << "/" << c.id << ": " << e.what();
      continue;
    }
    if (folder == "chain") c.op = "chain";
    c.promised = foreign_operator(*c.model).empty();
    for (const Resolver& r : kResolvers) {
      if (!j["outputs"].contains(r.key) || j["outputs"][r.key].is_null()) continue;
      check_case(c, io, r, details);
    }
  }
  finished().insert(folder + " runs");
}

std::string upper(std::string s) {
  for (char& ch : s) ch = static_cast<char>(std::toupper(static_cast<unsigned char>(ch)));
  return s;
}

// True when the model runs (on zeros) under the dialect.
bool runs(const ModelPtr& model, Dialect dialect) {
  Numerics numerics;
  numerics.dialect = dialect;
  try {
    const Plan plan = make_plan(model, numerics);
    Workspace workspace(plan);
    std::vector<Array> values;
    for (std::size_t i = 0; i < plan.input_count(); ++i)
      values.push_back(Array::zeros(plan.input_type(i), plan.input_shape(i)));
    run(plan, workspace, values);
  } catch (const Error&) {
    return false;
  }
  return true;
}

// The runtime took the model and stopped at a value of the recorded input (a divisor of zero, a
// root of a negative number).  Which values will come is not known when a plan is made, and running
// cannot fail: the plan is made and such elements get a defined result.
bool depends_on_values(const std::string& error) {
  return error.find("failed to invoke") != std::string::npos &&
         (error.find("only defined for") != std::string::npos ||
          error.find("Division by 0") != std::string::npos ||
          error.find("delta == 0 || delta == 1") != std::string::npos ||
          error.find("zero_point was not true") != std::string::npos);
}

TEST_P(Goldens, RefusesWhatTheRuntimeRefuses) {
  const std::string folder = GetParam(), path = goldens() + "/" + folder;
  finished().insert(folder + " refuses");
  if (!file_exists(path + "/refused.npz")) GTEST_SKIP();
  const Json json = parse_json(read_text(path + "/cases.json"));
  const NamedArrays models = read_npz(path + "/refused.npz");
  for (const Json& j : json["refused"]) {
    const std::string id = j["id"], type = j["dtype"];
    const Array* bytes = nullptr;
    for (const auto& [name, a] : models) {
      if (name.starts_with(id)) bytes = &a;
    }
    ASSERT_NE(bytes, nullptr) << id;
    ModelPtr model;
    try {
      model = parse_model(bytes->bytes(), std::make_shared<Array>(*bytes), id);
    } catch (const Error&) {
    }
    for (const Resolver& r : kResolvers) {
      const Json& errors = j["errors"];
      if (!errors.contains(r.key) || !errors[r.key].is_string()) continue;
      const std::string text = errors[r.key];
      const bool clear = text.find("crash") == std::string::npos &&
                         text.find("not deterministic") == std::string::npos &&
                         !depends_on_values(text);
      const bool ran = model != nullptr && runs(model, r.dialect);
      Tally::Count& count = tally().at(upper(folder) + " refused", type, r.key);
      if (!ran || !clear) {
        ++count.passed;
        continue;
      }
      ++count.failed;
      ADD_FAILURE() << folder << "/" << id << " " << j["name"] << " [" << r.key
                    << "] runs; the runtime says: " << text.substr(0, 200);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Goldens, testing::ValuesIn(folders()),
                         [](const auto& info) { return info.param; });

// Every row of the table of kernels has a recorded case: a model of the corpus or of the operator
// cases has the operator, with outputs of the runtime next to it.
TEST(GoldensPresent, EveryRowHasACase) {
  if (goldens().empty()) GTEST_SKIP() << "no recorded operator cases on this machine";
  std::set<std::string> seen;
  const auto look = [&](const std::string& path) {
    try {
      const ModelPtr model = read_model(path);
      for (const Graph& g : model->graphs) {
        for (const Op& op : g.ops)
          seen.insert(op.code == OpCode::kCustom ? op.custom_code : op_name(op.code));
      }
    } catch (const Error&) {
    }
  };
  for (const auto& entry : std::filesystem::recursive_directory_iterator(goldens())) {
    if (entry.path().extension() == ".tflite") look(entry.path().string());
  }
  const std::string corpus = shared_directory() + "/corpus";
  for (const char* folder : {"/models", "/ops", "/ops_tflm_seanet"}) {
    if (!is_directory(corpus + folder)) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(corpus + folder)) {
      if (entry.path().extension() == ".tflite") look(entry.path().string());
    }
  }
  for (const KernelRow& row : kernel_table()) {
    const std::string name = row.custom != nullptr ? row.custom : op_name(row.code);
    if (oracle::has_own_judge(row.code)) continue;  // tests/kernels/ops_check.py
    EXPECT_TRUE(seen.contains(name)) << name << " has no recorded case";
  }
}

}  // namespace
}  // namespace litegap
