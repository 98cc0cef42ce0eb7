// Operator cases recorded with other builds of the runtime (WebAssembly, microcontrollers): the
// same models must run here.  Those builds round in other places, so an 8-bit or 16-bit result may
// be one code away, and counts as mistrusted then; the microcontroller cases must agree bit for
// bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "base/json.h"
#include "compare.h"
#include "data/npy.h"
#include "run/plan.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

std::vector<std::string> cases_of(const std::string& folder) {
  std::vector<std::string> all;
  if (!is_directory(folder)) return all;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (file_exists(entry.path().string() + "/case.json")) all.push_back(entry.path().string());
  }
  std::sort(all.begin(), all.end());
  return all;
}

// The operators of a case, joined: "ABS+ADD".
std::string operators_of(const Json& json) {
  std::string text;
  for (const auto& [name, count] : json["ops"].items()) text += (text.empty() ? "" : "+") + name;
  return text.size() > 30 ? text.substr(0, 27) + "..." : text;
}

// The largest difference of two arrays of codes, or -1 when types or shapes differ or are real.
std::int64_t code_distance(const Array& got, const Array& want) {
  const DType t = want.dtype();
  const bool codes = t == DType::kInt8 || t == DType::kUint8 || t == DType::kInt16;
  if (!codes || got.dtype() != t || got.shape() != want.shape()) return -1;
  std::int64_t largest = 0;
  for (std::size_t i = 0; i < want.elements(); ++i) {
    const double d = detail::as_double(got, i) - detail::as_double(want, i);
    largest = std::max(largest, static_cast<std::int64_t>(std::abs(d)));
  }
  return largest;
}

struct Outcome {
  std::string wrong;
  bool close = false;  // wrong by one code
};

Outcome run_case(const std::string& path, const Json& json, const ModelPtr& model,
                 Dialect dialect) {
  std::vector<Array> values;
  PlanOptions options;
  for (const Json& in : json["inputs"]) {
    values.push_back(read_npy(path + "/" + in["file"].get<std::string>()));
    options.input_shapes.push_back(values.back().shape());
  }
  Numerics numerics;
  numerics.dialect = dialect;
  const Plan plan = make_plan(model, numerics, options);
  Workspace workspace(plan);
  run(plan, workspace, values);
  for (std::size_t j = 0; j < json["outputs"].size(); ++j) {
    const Array want = read_npy(path + "/" + json["outputs"][j]["file"].get<std::string>());
    const std::string diff = difference(workspace.output(j), want, 1e-5);
    if (!diff.empty())
      return {fmt::format("output {}: {}", j, diff), code_distance(workspace.output(j), want) == 1};
  }
  return {};
}

bool promised(const Json& json) {
  for (const auto& [name, count] : json["ops"].items()) {
    if (!promised_operators().contains(name)) return false;
  }
  return true;
}

void check_folder(const std::string& folder, Dialect dialect, bool exact) {
  const auto paths = cases_of(folder);
  if (paths.empty()) GTEST_SKIP() << "no recorded cases on this machine";
  Tally tally;
  const bool details = std::getenv("GOLDENS_ALL") != nullptr;
  for (const std::string& path : paths) {
    const Json json = Json::parse(read_text(path + "/case.json"));
    const std::string scheme = json["scheme"],
                      name = std::filesystem::path(path).filename().string();
    Tally::Count& count = tally.at(operators_of(json), scheme.substr(0, 17), dialect_name(dialect));
    ModelPtr model;
    Outcome outcome;
    try {
      model = read_model(path + "/" + json["model"].get<std::string>());
      outcome = run_case(path, json, model, dialect);
    } catch (const Error& e) {
      if (!promised(json)) {
        ++count.skipped["refused"];
        continue;
      }
      outcome.wrong = fmt::format("refused: {}", e.what());
    }
    if (outcome.wrong.empty()) {
      ++count.passed;
      continue;
    }
    const bool mistrusted = !exact && outcome.close;
    ++(mistrusted ? count.mistrusted : count.failed);
    if (details) std::cout << name << ": " << outcome.wrong << "\n";
    if (!mistrusted && promised(json)) ADD_FAILURE() << name << ": " << outcome.wrong;
  }
  std::cout << tally.text();
}

TEST(RecordedOps, OfTheBrowserRuntime) {
  check_folder(shared_directory() + "/corpus/ops", Dialect::kXnnpack, false);
}
TEST(RecordedOps, OfTheMicrocontrollerRuntime) {
  check_folder(shared_directory() + "/corpus/ops_tflm_seanet", Dialect::kReference, true);
}

}  // namespace
}  // namespace litegap
