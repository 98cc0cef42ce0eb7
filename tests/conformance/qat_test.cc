// Recorded quantization-aware trainings of the model optimization toolkit (12 steps of SGD from
// float.h5), done again our way.
//
// The numbers differ by intent: the toolkit starts every range at -6 to 6 and forgets it by a
// thousandth a step, and quantizes Dense per tensor.  What has to hold: the graph that was trained
// and the file agree, and the file is no farther from the same training in float than the toolkit's
// file is.
#include "train/qat.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "data/npy.h"

namespace litegap {
namespace {

std::string folder_of(const std::string& name) {
  const char* shared = std::getenv("LITEGAP_SHARED");
  const std::string base =
      shared != nullptr ? shared : std::string(LITEGAP_SOURCE_DIR) + "/../shared";
  return base + "/keras/qat/" + name;
}

Dataset rows(const NamedArrays& io, const char* x, const char* y) {
  Dataset d;
  d.path = "io.npz";
  d.names = {"x"};
  d.inputs = {*find_array(io, x)};
  if (y != nullptr) d.labels = *find_array(io, y);
  d.count = static_cast<std::size_t>(d.inputs[0].shape()[0]);
  return d;
}

std::vector<float> outputs(const Model& model, const Dataset& data) {
  Setup setup;
  setup.model = std::make_shared<const Model>(model);
  const Predictions p = predict(setup, data);
  const auto s = p.outputs[0].span<float>();
  return {s.begin(), s.end()};
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b.at(i));
    sum += d * d;
  }
  return std::sqrt(sum / static_cast<double>(a.size()));
}

void again(const std::string& name) {
  const std::string folder = folder_of(name);
  const KerasModel model = read_keras(folder + "/float.h5");
  const NamedArrays io = read_npz(folder + "/io.npz");
  const Dataset train = rows(io, "train_x", "train_y"), test = rows(io, "x", nullptr);
  QatOptions o;
  o.fit.loss.kind = LossKind::kMeanSquared;
  o.fit.optimizer.learning_rate = 0.005;
  o.fit.batch_size = 8;
  o.fit.epochs = 3;
  o.fit.shuffle = false;
  o.keep_outputs = true;
  ASSERT_EQ(train.count, 32u) << name;

  const Lowered lowered = lower(model, {.training = true, .batch = 8});
  const TrainGraph graph = train_graph(lowered);
  const FitResult plain = fit(graph, train, o.fit);
  const Model in_float =
      lower(with_trained(model, lowered, with_parameters(graph, plain.parameters))).model;
  const auto wanted = outputs(in_float, test);

  const QatResult r = qat(model, train, o);
  const auto file = outputs(r.model, train);
  const auto trained = r.fake_outputs.span<float>();
  ASSERT_EQ(file.size(), trained.size()) << name;
  const Graph& g = r.model.main();
  const float step = g.tensors[static_cast<std::size_t>(g.outputs[0])].quant.scale[0];
  std::size_t off = 0;
  for (std::size_t i = 0; i < file.size(); ++i)
    off += std::fabs(file[i] - trained[i]) > 1.01f * step ? 1 : 0;
  EXPECT_LE(static_cast<double>(off), 0.02 * static_cast<double>(file.size())) << name;

  const auto theirs = find_array(io, "y_tflite")->span<float>();
  const double their_distance = distance({theirs.begin(), theirs.end()}, wanted);
  const double our_distance = distance(outputs(r.model, test), wanted);
  EXPECT_LE(our_distance, their_distance) << name;
}

TEST(QatReferences, OurFilesAreNoFartherFromFloat) {
  if (!is_directory(folder_of(""))) GTEST_SKIP() << "no recorded trainings";
  std::size_t done = 0;
  for (const Json& entry : parse_json(read_text(folder_of("index.json")))) {
    const std::string name = entry.get<std::string>();
    if (!name.starts_with("q_")) continue;
    try {
      again(name);
      ++done;
    } catch (const Error& e) {
      ADD_FAILURE() << name << ": " << e.what();
    }
  }
  EXPECT_EQ(done, 5u);
}

}  // namespace
}  // namespace litegap
