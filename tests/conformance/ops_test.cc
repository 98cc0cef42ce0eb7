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
    if (file_exists(entry.path().string() + "/model.tflite")) all.push_back(entry.path().string());
  }
  std::sort(all.begin(), all.end());
  return all;
}

// What case.json says, or the same from the names of the files where there is none.
Json describe(const std::string& path) {
  if (file_exists(path + "/case.json")) return parse_json(read_text(path + "/case.json"));
  Json json = {{"scheme", "int16x8"}, {"inputs", Json::array()}, {"outputs", Json::array()}};
  for (const std::string kind : {"in", "out"}) {
    for (int i = 0; file_exists(fmt::format("{}/{}{}.npy", path, kind, i)); ++i) {
      json[kind + "puts"].push_back({{"file", fmt::format("{}{}.npy", kind, i)}});
    }
  }
  return json;
}

// The operators of a model, joined: "ABS+ADD".
std::string operators_of(const Model& model) {
  std::set<std::string> names;
  for (const Op& op : model.main().ops) names.insert(op.name());
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : "+") + name;
  return text.size() > 30 ? text.substr(0, 27) + "..." : text;
}

// Files that the recording build ran and that are refused here, with the reason.
std::string known_refusal(const std::string& name, const std::string& error) {
  static const std::map<std::string, std::string> names = {
      {"malicious_gather", "index out of bounds"},
      {"add_shared_tensors", "a tensor is input and output at once"},
      {"add_quantized", "codes in, real numbers out"},
      {"add_quantized_int8", "codes in, real numbers out"},
      {"keyword_scrambled_8bit", "a state of int8, at which the runtime aborts"},
      {"segment_sum_invalid_buffer", "an operand without data"},
      {"single_conv_no_bias", "no bias"},
      {"simple_squeeze", "drops an axis of a scalar"}};
  const auto found = names.find(name);
  if (found != names.end()) return found->second;
  // Their inputs were drawn at random, sizes too.
  return error.find("output shape with a dimension of 0") != std::string::npos ? "a random shape"
                                                                               : "";
}

// The recording builds flatten some shapes and give truth values as bytes.
Array like(const Array& want, const Array& got) {
  Array a = want;
  if (got.dtype() == DType::kBool && want.dtype() == DType::kUint8) {
    a = Array::view(DType::kBool, want.shape(), want.bytes(), std::make_shared<Array>(want));
  }
  return a.shape() != got.shape() && a.elements() == got.elements() ? a.reshaped(got.shape()) : a;
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
  for (std::size_t i = 0; i < json["inputs"].size(); ++i) {
    Array value = read_npy(path + "/" + json["inputs"][i]["file"].get<std::string>());
    const auto t = static_cast<std::size_t>(model->main().inputs.at(i));
    const Shape& shape = model->main().tensors[t].shape;
    if (value.elements() == shape_elements(shape)) value = value.reshaped(shape);
    options.input_shapes.push_back(value.shape());
    values.push_back(std::move(value));
  }
  Numerics numerics;
  numerics.dialect = dialect;
  const Plan plan = make_plan(model, numerics, options);
  Workspace workspace(plan);
  run(plan, workspace, values);
  for (std::size_t j = 0; j < json["outputs"].size(); ++j) {
    const Array want = like(read_npy(path + "/" + json["outputs"][j]["file"].get<std::string>()),
                            workspace.output(j));
    const std::string diff = difference(workspace.output(j), want, 1e-5);
    if (!diff.empty())
      return {fmt::format("output {}: {}", j, diff), code_distance(workspace.output(j), want) == 1};
  }
  return {};
}

void check_folder(const std::string& folder, Dialect dialect, bool exact) {
  const auto paths = cases_of(folder);
  if (paths.empty()) GTEST_SKIP() << "no recorded cases on this machine";
  Tally tally;
  const bool details = std::getenv("GOLDENS_ALL") != nullptr;
  for (const std::string& path : paths) {
    const Json json = describe(path);
    const std::string scheme = json["scheme"],
                      name = std::filesystem::path(path).filename().string();
    ModelPtr model;
    Outcome outcome;
    std::string ops = "unreadable";
    bool promised = true;
    std::string reason;
    try {
      model = read_model(path + "/model.tflite");
      ops = operators_of(*model);
      promised = foreign_operator(*model).empty();
      outcome = run_case(path, json, model, dialect);
      if (name == "simple_floor_mod") reason = "divides by 0, at which the runtime stops";
    } catch (const Error& e) {
      outcome.wrong = fmt::format("refused: {}", e.what());
      reason = promised ? known_refusal(name, e.what()) : "refused";
    }
    Tally::Count& count = tally.at(ops, scheme.substr(0, 17), dialect_name(dialect));
    if (!reason.empty()) {
      ++count.skipped[reason];
      continue;
    }
    if (outcome.wrong.empty()) {
      ++count.passed;
      continue;
    }
    const bool mistrusted = !exact && outcome.close;
    ++(mistrusted ? count.mistrusted : count.failed);
    if (details) std::cout << name << ": " << outcome.wrong << "\n";
    if (!mistrusted && promised) ADD_FAILURE() << name << ": " << outcome.wrong;
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
