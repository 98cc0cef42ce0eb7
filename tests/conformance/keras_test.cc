// Every recorded Keras layer and model: read, lowered, run, compared with Keras's own output; and
// the trainings' starting models lowered for training and back.  Skipped where the records are not.
//
//   KERAS=gru_state,bn_conv test_conformance --gtest_filter='Keras*'      // only these cases
#include "keras/keras.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <iostream>

#include "compare.h"
#include "data/npy.h"
#include "run/plan.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

namespace fs = std::filesystem;

constexpr double kTolerance = 1e-5;  // of the output's peak

std::string keras_folder(const std::string& section) {
  const std::string shared = shared_directory();
  const std::string path = shared + "/keras/" + section;
  return !shared.empty() && is_directory(path) ? path : "";
}

std::vector<fs::path> files_of(const std::string& section) {
  std::vector<fs::path> all;
  const char* only = std::getenv("KERAS");
  for (const auto& entry : fs::directory_iterator(keras_folder(section))) {
    const std::string name = entry.path().filename().string();
    if (only != nullptr &&
        ("," + std::string(only) + ",").find("," + name + ",") == std::string::npos) {
      continue;
    }
    for (const char* file : {"model.keras", "model.h5"}) {
      if (fs::exists(entry.path() / file)) all.push_back(entry.path() / file);
    }
  }
  std::sort(all.begin(), all.end());
  return all;
}

std::vector<Array> recorded(const NamedArrays& io, const std::string& stem,
                            const std::string& tail) {
  if (const Array* one = find_array(io, stem + tail)) return {*one};
  std::vector<Array> all;
  while (const Array* next = find_array(io, stem + std::to_string(all.size()) + tail))
    all.push_back(*next);
  return all;
}

Array as_type(const Array& x, DType type) {
  if (x.dtype() == type) return x;
  Array out = Array::zeros(type, x.shape());
  for (std::size_t i = 0; i < x.elements(); ++i) {
    const double v = detail::as_double(x, i);
    if (type == DType::kFloat32) out.mutable_span<float>()[i] = static_cast<float>(v);
    if (type == DType::kInt32) out.mutable_span<std::int32_t>()[i] = static_cast<std::int32_t>(v);
    if (type == DType::kInt64) out.mutable_span<std::int64_t>()[i] = static_cast<std::int64_t>(v);
  }
  return out;
}

// Empty when the case agrees.
std::string judge(const Model& model, const std::vector<Array>& x, const std::vector<Array>& y) {
  const Plan plan = make_plan(std::make_shared<Model>(model), {.dialect = Dialect::kBuiltin});
  Workspace w(plan);
  if (plan.input_count() != x.size())
    return fmt::format("{} inputs, {} recorded", plan.input_count(), x.size());
  if (plan.output_count() != y.size())
    return fmt::format("{} outputs, {} recorded", plan.output_count(), y.size());
  std::vector<Array> inputs;
  for (std::size_t i = 0; i < x.size(); ++i) inputs.push_back(as_type(x[i], plan.input_type(i)));
  run(plan, w, inputs);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::string d = difference(w.output(i), y[i], kTolerance);
    if (!d.empty()) return fmt::format("output {}: {}", i, d);
  }
  return "";
}

struct Counts {
  int passed = 0, failed = 0, refused = 0;
  void print(const std::string& what) const {
    std::cout << fmt::format("{}: {} passed, {} failed, {} refused\n", what, passed, failed,
                             refused);
  }
};

Counts run_section(const std::string& section) {
  Counts n;
  for (const fs::path& file : files_of(section)) {
    const NamedArrays io = read_npz((file.parent_path() / "io.npz").string());
    const auto x = recorded(io, "x", "");
    auto y = file.extension() == ".h5" ? recorded(io, "y", "_h5") : std::vector<Array>();
    if (y.empty()) y = recorded(io, "y", "");
    const std::string name =
        file.parent_path().filename().string() + "/" + file.filename().string();
    Model model;
    try {
      model = lower(read_keras(file.string()), {.batch = x.at(0).shape()[0]}).model;
    } catch (const Error& e) {
      ++n.refused;
      std::cout << "refused " << name << ": " << e.what() << "\n";
      continue;
    }
    std::string why;
    try {
      why = judge(model, x, y);
    } catch (const Error& e) {
      why = e.what();
    }
    why.empty() ? ++n.passed : ++n.failed;
    EXPECT_EQ(why, "") << name;
  }
  n.print("Keras " + section);
  return n;
}

TEST(KerasConformance, Layers) {
  if (keras_folder("layers").empty()) GTEST_SKIP() << "no recorded layers";
  const Counts n = run_section("layers");
  EXPECT_GE(n.passed * 10, (n.passed + n.failed + n.refused) * 9);
}

TEST(KerasConformance, Models) {
  if (keras_folder("models").empty()) GTEST_SKIP() << "no recorded models";
  const Counts n = run_section("models");
  EXPECT_EQ(n.refused, 0);
}

// ---- folded constants ---------------------------------------------------------------------------
// Largest distance of two elements in units of the last place: of each element of weights; of the
// largest element of a bias, which is a difference and may be near zero while its terms are not.
double ulps(const Array& a, const Array& b) {
  double worst = 0, peak = 0;
  for (const float v : b.span<float>()) peak = std::max<double>(peak, std::abs(v));
  for (std::size_t i = 0; i < a.elements(); ++i) {
    const float u = a.span<float>()[i], v = b.span<float>()[i];
    const float size = b.shape().size() == 1 ? static_cast<float>(peak) : std::abs(v);
    const double unit = static_cast<double>(std::nextafter(size, INFINITY)) - size;
    worst = std::max(worst, std::abs(static_cast<double>(u) - v) / unit);
  }
  return worst;
}

TEST(KerasConformance, FoldedWeightsAreTheConverters) {
  if (keras_folder("models").empty()) GTEST_SKIP() << "no recorded models";
  int compared = 0;
  for (const fs::path& file : files_of("models")) {
    const fs::path theirs = file.parent_path() / "float.tflite";
    if (file.extension() != ".keras" || !fs::exists(theirs)) continue;
    const Model ours = lower(read_keras(file.string())).model;
    const ModelPtr reference = read_model(theirs.string());
    std::vector<const Array*> known;
    for (const Tensor& t : reference->main().tensors) {
      if (t.constant && t.dtype == DType::kFloat32) known.push_back(&*t.constant);
    }
    for (const Tensor& t : ours.main().tensors) {
      if (!t.constant || t.dtype != DType::kFloat32 || t.name.find("/folded") == std::string::npos)
        continue;
      double nearest = INFINITY;
      for (const Array* k : known) {
        if (k->elements() == t.constant->elements())
          nearest = std::min(nearest, ulps(*t.constant, *k));
      }
      EXPECT_LE(nearest, 4) << file << " " << t.name;
      ++compared;
    }
  }
  std::cout << "folded constants compared: " << compared << "\n";
  EXPECT_GT(compared, 0);
}

// ---- training -----------------------------------------------------------------------------------
TEST(KerasConformance, TrainingsAreLoweredAndComeBack) {
  if (keras_folder("training").empty()) GTEST_SKIP() << "no recorded trainings";
  Counts n;
  for (const fs::path& file : files_of("training")) {
    const std::string name = file.parent_path().filename().string();
    try {
      const KerasModel keras = read_keras(file.string());
      const Lowered l = lower(keras, {.training = true, .batch = 4});
      EXPECT_EQ(l.parameters.size(), keras.variables.size()) << name;
      const KerasModel back = with_trained(keras, l, l.model);
      for (std::size_t i = 0; i < keras.variables.size(); ++i) {
        EXPECT_EQ(difference(back.variables[i].value, keras.variables[i].value, 0), "") << name;
      }
      ++n.passed;
    } catch (const Error& e) {
      ++n.refused;
      ADD_FAILURE() << name << ": " << e.what();
    }
  }
  n.print("Keras training");
}

TEST(KerasConformance, CorpusFilesAreRead) {
  const std::string corpus = shared_directory() + "/corpus/models";
  if (shared_directory().empty() || !is_directory(corpus)) GTEST_SKIP() << "no corpus";
  int read = 0;
  for (const auto& entry : fs::directory_iterator(corpus)) {
    const fs::path file = entry.path() / "keras.h5";
    if (!fs::exists(file)) continue;
    const KerasModel keras = read_keras(file.string());
    EXPECT_TRUE(keras.has_weights);
    make_plan(std::make_shared<Model>(lower(keras).model), {});
    ++read;
  }
  std::cout << "corpus .h5 files read: " << read << "\n";
}

}  // namespace
}  // namespace litegap
