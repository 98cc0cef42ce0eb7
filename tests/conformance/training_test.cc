// Recorded Keras trainings, followed step by step: same start, same batches, same order.
//
// Loss of every step within 1e-4 relative, learning rates exact to rounding, all weights and moving
// statistics after the last step within 1e-3 of their peak.  A bias directly before a batch
// normalization has no gradient but rounding: it is compared loosely.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <numeric>

#include "base/file.h"
#include "base/json.h"
#include "data/npy.h"
#include "train/fake.h"
#include "train/fit.h"

namespace litegap {
namespace {

std::string trainings() {
  const char* shared = std::getenv("LITEGAP_SHARED");
  const std::string base =
      shared != nullptr ? shared : std::string(LITEGAP_SOURCE_DIR) + "/../shared";
  return base + "/keras/training";
}

LossOptions loss_from(const Json& j) {
  LossOptions o;
  const std::string name = j.at("class_name");
  const Json& config = j.at("config");
  if (name == "MeanSquaredError")
    o.kind = LossKind::kMeanSquared;
  else if (name == "Huber")
    o.kind = LossKind::kHuber;
  else if (name == "SparseCategoricalCrossentropy")
    o.kind = LossKind::kSparseCrossEntropy;
  else if (name == "CategoricalCrossentropy")
    o.kind = LossKind::kCrossEntropy;
  else if (name == "KLDivergence")
    o.kind = LossKind::kKlDivergence;
  else
    fail("loss {}", name);
  o.from_logits = config.value("from_logits", false);
  o.delta = config.value("delta", 1.0);
  return o;
}

OptimizerOptions optimizer_from(const Json& j) {
  OptimizerOptions o;
  const std::string name = j.at("class_name");
  const Json& c = j.at("set_options");
  o.kind = name == "SGD"     ? OptimizerKind::kSgd
           : name == "Adam"  ? OptimizerKind::kAdam
           : name == "AdamW" ? OptimizerKind::kAdamW
                             : OptimizerKind::kRmsprop;
  o.momentum = c.value("momentum", 0.0);
  o.nesterov = c.value("nesterov", false);
  o.centered = c.value("centered", false);
  o.rho = c.value("rho", 0.9);
  o.beta1 = c.value("beta_1", 0.9);
  o.beta2 = c.value("beta_2", 0.999);
  o.epsilon = c.value("epsilon", 1e-7);
  o.clip_value = c.value("clipvalue", 0.0);
  o.clip_norm = c.value("clipnorm", 0.0);
  o.global_clip_norm = c.value("global_clipnorm", 0.0);
  const Json& rate = c.at("learning_rate");
  if (rate.is_number()) {
    o.learning_rate = rate.get<double>();
    return o;
  }
  o.learning_rate = rate.value("initial_learning_rate", 0.0);
  const std::string schedule = rate.at("schedule");
  Schedule& s = o.schedule;
  s.decay_steps = rate.value("decay_steps", 1.0);
  if (schedule == "ExponentialDecay") {
    s.kind = ScheduleKind::kExponential;
    s.decay_rate = rate.at("decay_rate").get<double>();
    s.staircase = rate.value("staircase", false);
  } else if (schedule == "PiecewiseConstantDecay") {
    s.kind = ScheduleKind::kPiecewise;
    s.boundaries = rate.at("boundaries").get<std::vector<double>>();
    s.values = rate.at("values").get<std::vector<double>>();
  } else {
    s.kind = ScheduleKind::kCosine;
    s.warmup_target = rate.at("warmup_target").get<double>();
    s.warmup_steps = rate.at("warmup_steps").get<double>();
  }
  return o;
}

Dataset data_of(const std::string& path) {
  Dataset d;
  d.path = path;
  const NamedArrays all = read_npz(path);
  for (const auto& [name, value] : all) {
    if (name == "y") continue;
    d.names.push_back(name);
    d.inputs.push_back(value);
  }
  d.labels = *find_array(all, "y");
  d.count = static_cast<std::size_t>(d.inputs[0].shape()[0]);
  return d;
}

void expect_weights(const std::string& name, const Json& train, const KerasModel& model,
                    const NamedArrays& expected) {
  std::size_t at = 0;
  for (const Json& w : train.at("weights")) {
    const std::string key = w.at("key");
    const Array* wanted = find_array(expected, key);
    ASSERT_NE(wanted, nullptr) << name << " " << key;
    // By layer and position; layers of one name in nested models by their order.
    const KerasVariable* found = nullptr;
    for (const KerasVariable& v : model.variables) {
      const std::string layer = w.at("layer");
      const bool same =
          v.layer == layer || (v.layer.size() > layer.size() && v.layer.ends_with("/" + layer));
      if (same && v.index == w.at("index_in_layer").get<int>()) found = &v;
    }
    if (found == nullptr && at < model.variables.size()) found = &model.variables[at];
    ++at;
    ASSERT_NE(found, nullptr) << name << " " << key;
    ASSERT_EQ(found->value.elements(), wanted->elements()) << name << " " << key;
    double peak = 0, worst = 0;
    for (std::size_t i = 0; i < wanted->elements(); ++i) {
      peak = std::max<double>(peak, std::fabs(wanted->span<float>()[i]));
      worst = std::max<double>(worst,
                               std::fabs(wanted->span<float>()[i] - found->value.span<float>()[i]));
    }
    EXPECT_LE(worst, 1e-3 * peak + 1e-7) << name << " " << key << " peak " << peak;
  }
}

void follow(const std::string& name) {
  const std::string folder = trainings() + "/" + name + "/";
  const Json train = parse_json(read_text(folder + "train.json"));
  const KerasModel model = read_keras(folder + train.at("model").get<std::string>());
  const auto batch = train.at("batch_size").get<std::size_t>();
  const Lowered lowered = lower(model, {.training = true, .batch = static_cast<int>(batch)});
  FitOptions o;
  o.loss = loss_from(train.at("loss"));
  o.optimizer = optimizer_from(train.at("optimizer"));
  Trainer trainer(train_graph(lowered), o);
  const Samples samples = read_samples(trainer.graph(), o.loss, data_of(folder + "data.npz"));
  const NamedArrays result = read_npz(folder + "result.npz");
  const auto loss = find_array(result, "loss")->span<float>();
  const auto per_epoch = train.at("steps_per_epoch").get<std::size_t>();
  for (std::size_t s = 0; s < train.at("steps").get<std::size_t>(); ++s) {
    const std::size_t begin = batch * (s % per_epoch);
    std::vector<std::size_t> rows(std::min(batch, samples.count - begin));
    std::iota(rows.begin(), rows.end(), begin);
    const double rate = trainer.optimizer().learning_rate();
    EXPECT_NEAR(rate, find_array(result, "learning_rate")->span<float>()[s], 1e-6 * rate + 1e-9)
        << name << " step " << s;
    const double found = trainer.step(samples, rows.data(), rows.size());
    EXPECT_NEAR(found, loss[s], 1e-4 * std::fabs(static_cast<double>(loss[s])))
        << name << " step " << s;
  }
  const Model trained =
      with_parameters(trainer.graph(), weight_arrays(trainer.graph(), trainer.weights()));
  expect_weights(name, train, with_trained(model, lowered, trained),
                 read_npz(folder + "final.npz"));
}

// Values and gradients of TensorFlow's two fake-quantization operators, on grids rich in ties.
void expect_grid(const NamedArrays& all, const std::string& prefix, const std::string& label,
                 int bits, bool narrow, bool per_channel) {
  const auto get = [&](const char* name) {
    const Array* a = find_array(all, prefix + name);
    if (a == nullptr) fail("{}: no {}{}", label, prefix, name);
    return a->span<float>();
  };
  const auto x = get("x"), lo = get("min"), hi = get("max"), y = get("y"), g = get("g"),
             dx = get("dx"), dmin = get("dmin"), dmax = get("dmax");
  const std::size_t channels = per_channel ? lo.size() : 1;
  std::vector<double> below(channels, 0), above(channels, 0);
  std::size_t wrong = 0, wrong_gradients = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % channels;
    const FakeRange r = nudge(lo[c], hi[c], bits, narrow);
    wrong += (per_channel ? fake_per_channel(r, x[i]) : fake(r, x[i])) != y[i];
    wrong_gradients += (passes(r, x[i]) ? g[i] : 0.0f) != dx[i];
    if (!passes(r, x[i]) && x[i] < r.low) below[c] += static_cast<double>(g[i]);
    if (!passes(r, x[i]) && x[i] > r.high) above[c] += static_cast<double>(g[i]);
  }
  EXPECT_EQ(wrong, 0u) << label << " " << prefix << " of " << x.size();
  EXPECT_EQ(wrong_gradients, 0u) << label << " " << prefix << " of " << x.size();
  for (std::size_t c = 0; c < channels; ++c) {
    EXPECT_NEAR(below[c], dmin[c], 2e-6 * std::max(1.0, std::fabs(below[c]))) << label << prefix;
    EXPECT_NEAR(above[c], dmax[c], 2e-6 * std::max(1.0, std::fabs(above[c]))) << label << prefix;
  }
}

TEST(FakeQuant, GridsOfTensorFlow) {
  const std::string folder = trainings() + "/../qat/";
  if (!is_directory(folder)) GTEST_SKIP() << "no recorded grids";
  std::size_t grids = 0;
  for (const Json& entry : parse_json(read_text(folder + "index.json"))) {
    const std::string name = entry.get<std::string>();
    if (!name.starts_with("fq")) continue;
    const Json c = parse_json(read_text(folder + name + "/case.json"));
    const NamedArrays all = read_npz(folder + name + "/grid.npz");
    const int bits = c.at("num_bits");
    const bool narrow = c.at("narrow_range");
    if (name.starts_with("fqpc")) {
      expect_grid(all, "", name, bits, narrow, true);
    } else {
      for (const auto& [range, ends] : c.at("ranges").items())
        expect_grid(all, range + ".", name, bits, narrow, false);
    }
    ++grids;
  }
  EXPECT_EQ(grids, 15u);
}

TEST(Training, StepsOfKerasAreFollowed) {
  if (!is_directory(trainings())) GTEST_SKIP() << "no recorded trainings";
  std::size_t followed = 0;
  for (const Json& name : parse_json(read_text(trainings() + "/index.json"))) {
    try {
      follow(name.get<std::string>());
      ++followed;
    } catch (const Error& e) {
      ADD_FAILURE() << name << ": " << e.what();
    }
  }
  EXPECT_GE(followed, 26u);
}

}  // namespace
}  // namespace litegap
