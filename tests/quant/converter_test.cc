// Against files of the TensorFlow converter: from its own calibrated ranges ours must choose the
// same structure, scales, zero points and codes, to the last bit.
#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "base/json.h"
#include "quant/quantize.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

std::string folder() { return std::string(LITEGAP_SOURCE_DIR) + "/../shared/quantized/"; }

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& entry : parse_json(read_text(folder() + "index.json"))) {
    all.push_back(entry.at("name").get<std::string>());
  }
  return all;
}

Ranges calibrated(const std::string& name, std::size_t tensors) {
  Ranges r;
  r.min.assign(tensors, std::nanf(""));
  r.max = r.min;
  const Json params = parse_json(read_text(folder() + name + "/params.json"));
  for (const auto& t : params.at("float").at("tensors")) {
    if (!t.contains("calibrator_min") || !t.at("calibrator_min").is_number()) continue;
    const auto i = t.at("i").get<std::size_t>();
    r.min.at(i) = t.at("calibrator_min").get<float>();
    r.max.at(i) = t.at("calibrator_max").get<float>();
  }
  return r;
}

std::vector<const Op*> real_ops(const Model& model) {
  std::vector<const Op*> ops;
  for (const Op& op : model.main().ops) {
    if (op.code != OpCode::kQuantize && op.code != OpCode::kDequantize) ops.push_back(&op);
  }
  return ops;
}

std::string sequence(const Model& model) {
  std::string text;
  for (const Op& op : model.main().ops) text += fmt::format("{}:{} ", op.name(), op.version);
  return text;
}

// Differences of one tensor, "" when there are none.
std::string difference(const Tensor& ours, const Tensor& theirs) {
  if (ours.dtype != theirs.dtype) {
    return fmt::format("type {} for {}", dtype_name(ours.dtype), dtype_name(theirs.dtype));
  }
  if (ours.quant.scale.size() != theirs.quant.scale.size()) {
    return fmt::format("{} scales for {}", ours.quant.scale.size(), theirs.quant.scale.size());
  }
  for (std::size_t c = 0; c < ours.quant.scale.size(); ++c) {
    if (ours.quant.scale[c] != theirs.quant.scale[c] ||
        ours.quant.zero_point[c] != theirs.quant.zero_point[c]) {
      return fmt::format("[{}] {:.9g}, {} for {:.9g}, {}", c, ours.quant.scale[c],
                         ours.quant.zero_point[c], theirs.quant.scale[c],
                         theirs.quant.zero_point[c]);
    }
  }
  if (ours.constant && theirs.constant &&
      !std::ranges::equal(ours.constant->bytes(), theirs.constant->bytes())) {
    return "other codes";
  }
  return "";
}

std::vector<std::string> compare(const Model& ours, const Model& theirs) {
  std::vector<std::string> found;
  const auto a = real_ops(ours), b = real_ops(theirs);
  if (sequence(ours) != sequence(theirs)) {
    found.push_back("operators " + sequence(ours) + "\n   for " + sequence(theirs));
  }
  for (std::size_t k = 0; k < std::min(a.size(), b.size()); ++k) {
    for (const auto list : {&Op::inputs, &Op::outputs}) {
      const auto &x = (*a[k]).*list, &y = (*b[k]).*list;
      for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
        if (x[i] < 0 || y[i] < 0) continue;
        const std::string d = difference(ours.main().tensors[static_cast<std::size_t>(x[i])],
                                         theirs.main().tensors[static_cast<std::size_t>(y[i])]);
        if (!d.empty()) {
          found.push_back(fmt::format("#{} {} {} {}: {}", k, a[k]->name(),
                                      list == &Op::inputs ? "in" : "out", i, d));
        }
      }
    }
  }
  return found;
}

class Converter : public ::testing::TestWithParam<std::string> {};

TEST_P(Converter, StaticInt8) {
  const ModelPtr model = read_model(folder() + GetParam() + "/float.tflite");
  const Ranges ranges = calibrated(GetParam(), model->main().tensors.size());
  for (const auto& [file, options] :
       {std::pair<std::string, StaticOptions>{"static_int8", {}},
        {"static_per_tensor", {Granularity::kPerTensor, InputOutput::kInteger}},
        {"static_floatio", {Granularity::kPerChannel, InputOutput::kFloat}}}) {
    const StaticResult ours = quantize_static(*model, ranges, options);
    const ModelPtr theirs = read_model(folder() + GetParam() + "/" + file + ".tflite");
    for (const std::string& d : compare(ours.model, *theirs)) ADD_FAILURE() << file << ": " << d;
  }
}

TEST_P(Converter, DynamicRange) {
  const ModelPtr model = read_model(folder() + GetParam() + "/float.tflite");
  const ModelPtr theirs = read_model(folder() + GetParam() + "/dynamic_range.tflite");
  for (const std::string& d : compare(quantize_dynamic_range(*model).model, *theirs)) {
    ADD_FAILURE() << d;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Converter,
                         ::testing::ValuesIn(file_exists(folder() + "index.json")
                                                 ? names()
                                                 : std::vector<std::string>{}),
                         [](const auto& info) { return info.param; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Converter);

}  // namespace
}  // namespace litegap
