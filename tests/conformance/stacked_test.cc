// Every recorded operator case and every model of the corpus: stacked samples have the bits of
// single ones, in every dialect.
//
//   STACKED=conv_2d,add test_conformance --gtest_filter='*Stacked*'   // only these folders
#include "oracle/stacked.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "base/json.h"
#include "base/random.h"
#include "compare.h"
#include "data/npy.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

constexpr Dialect kDialects[] = {Dialect::kReference, Dialect::kBuiltin, Dialect::kXnnpack};
constexpr std::size_t kSamples = 5;

// Another sample made of the elements of one: valid where the elements are.
Array turned(const Array& a, std::size_t by) {
  Array b = a.clone();
  const std::size_t n = a.elements();
  if (n == 0 || by == 0 || dtype_bits(a.dtype()) < 8) return b;
  const std::size_t size = a.byte_size() / n;
  for (std::size_t i = 0; i < n; ++i)
    std::memcpy(b.mutable_data() + i * size, a.data() + (i * 7 + by * 13) % n * size, size);
  return b;
}

std::vector<std::vector<Array>> samples_of(const std::vector<Array>& first) {
  std::vector<std::vector<Array>> samples(kSamples);
  for (std::size_t s = 0; s < kSamples; ++s) {
    for (const Array& a : first) samples[s].push_back(turned(a, s));
  }
  return samples;
}

struct Seen {
  int runs = 0, stacked = 0;
};

void check(const ModelPtr& model, const std::vector<Array>& first, const std::string& label,
           Seen& seen) {
  PlanOptions options;
  bool resized = false;
  for (std::size_t i = 0; i < first.size(); ++i) {
    options.input_shapes.push_back(first[i].shape());
    const int t = model->main().inputs[i];
    resized =
        resized || model->main().tensors[static_cast<std::size_t>(t)].shape != first[i].shape();
  }
  if (!resized) options.input_shapes.clear();
  const auto samples = samples_of(first);
  for (const Dialect dialect : kDialects) {
    try {
      std::size_t taken = 0;
      EXPECT_EQ(stacking_difference(model, {.dialect = dialect}, options, samples, &taken), "")
          << label << " " << dialect_name(dialect);
      ++seen.runs;
      seen.stacked += taken > 1 ? 1 : 0;
    } catch (const Error&) {  // refused either way
    }
  }
}

std::vector<std::string> folders_of(const std::string& path) {
  std::vector<std::string> names;
  if (!is_directory(path)) return names;
  if (const char* only = std::getenv("STACKED")) {
    std::istringstream in(only);
    for (std::string name; std::getline(in, name, ',');) names.push_back(name);
    return names;
  }
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST(Stacked, RecordedOperatorsHaveTheBitsOfSingleRuns) {
  const std::string goldens = shared_directory() + "/goldens";
  Seen seen;
  for (const std::string& folder : folders_of(goldens)) {
    const std::string path = goldens + "/" + folder;
    if (!file_exists(path + "/io.npz")) continue;
    const Json json = parse_json(read_text(path + "/cases.json"));
    const NamedArrays io = read_npz(path + "/io.npz");
    for (const Json& c : json["cases"]) {
      const std::string id = c["id"];
      try {
        const ModelPtr model = read_model(path + "/" + id + ".tflite");
        std::vector<Array> first;
        for (std::size_t i = 0; i < c["in"].size(); ++i) {
          const Array* a = find_array(io, fmt::format("{}.d0.in_{}", id, i));
          if (a != nullptr) first.push_back(*a);
        }
        if (first.size() == c["in"].size()) check(model, first, folder + "/" + id, seen);
      } catch (const Error&) {
      }
    }
  }
  if (seen.runs == 0) GTEST_SKIP() << "no recorded cases here";
  std::cout << seen.runs << " runs, " << seen.stacked << " of them stacked\n";
}

Array random_input(const Tensor& t, Random& random) {
  Array a = Array::zeros(t.dtype, t.shape);
  if (t.dtype == DType::kFloat32) {
    for (float& v : a.mutable_span<float>()) v = static_cast<float>(random.uniform() * 2 - 1);
  } else if (dtype_bits(t.dtype) == 8 && t.dtype != DType::kBool) {
    for (std::size_t i = 0; i < a.byte_size(); ++i)
      a.mutable_data()[i] = static_cast<std::byte>(random.below(256));
  } else if (t.dtype == DType::kInt16) {
    for (auto& v : a.mutable_span<std::int16_t>())
      v = static_cast<std::int16_t>(static_cast<int>(random.below(65536)) - 32768);
  } else if (t.dtype == DType::kInt32) {
    for (auto& v : a.mutable_span<std::int32_t>()) v = static_cast<std::int32_t>(random.below(100));
  }
  return a;
}

TEST(Stacked, ModelsOfTheCorpusHaveTheBitsOfSingleRuns) {
  const std::string models = shared_directory() + "/corpus/models";
  Random random(3);
  Seen seen;
  for (const std::string& name : folders_of(models)) {
    for (const auto& file : std::filesystem::directory_iterator(models + "/" + name)) {
      if (file.path().extension() != ".tflite" || file_size(file.path()) > (1u << 20)) continue;
      try {
        const ModelPtr model = read_model(file.path());
        std::vector<Array> first;
        for (const int t : model->main().inputs)
          first.push_back(random_input(model->main().tensors[static_cast<std::size_t>(t)], random));
        if (make_plan(model, {}).activation_bytes() > (1u << 20)) continue;
        check(model, first, file.path().filename(), seen);
      } catch (const Error&) {
      }
    }
  }
  if (seen.runs == 0) GTEST_SKIP() << "no corpus here";
  std::cout << seen.runs << " runs, " << seen.stacked << " of them stacked\n";
}

}  // namespace
}  // namespace litegap
