// Optimizers against steps worked out by hand; fits that repeat, resume and stop.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <numeric>

#include "net.h"

namespace litegap {
namespace {

// y = w x, one weight.
TrainGraph one_weight(float w) {
  Net n;
  const int x = n.input({1, 1});
  n.op(OpCode::kFullyConnected, FullyConnectedAttrs{}, {x, n.given({1, 1}, {w}), -1}, {1, 1});
  return train_graph(n.model);
}

// Values of w after each step with these gradients.
std::vector<double> walk(const OptimizerOptions& o, const std::vector<float>& gradients) {
  const TrainGraph g = one_weight(1);
  Weights<float> w = initial_weights<float>(g);
  Optimizer optimizer(o, g);
  std::vector<double> values;
  for (const float gradient : gradients) {
    w.grad[0][0] = gradient;
    optimizer.step(w);
    values.push_back(w.value[0][0]);
  }
  return values;
}

TEST(Optimizer, StepsByHand) {
  OptimizerOptions o;
  o.learning_rate = 0.1;
  EXPECT_NEAR(walk(o, {2})[0], 1 - 0.1 * 2, 1e-6);
  o.momentum = 0.5;  // m = -0.2, then 0.5 (-0.2) - 0.2 = -0.3
  EXPECT_NEAR(walk(o, {2, 2})[1], 1 - 0.2 - 0.3, 1e-6);
  o.nesterov = true;  // w += 0.5 (-0.2) - 0.2
  EXPECT_NEAR(walk(o, {2})[0], 1 - 0.3, 1e-6);

  OptimizerOptions adam;
  adam.kind = OptimizerKind::kAdam;
  adam.learning_rate = 0.1;
  adam.epsilon = 1;  // m = 0.2, v = 0.004: alpha = 0.1 sqrt(0.001) / 0.1
  EXPECT_NEAR(walk(adam, {2})[0], 1 - 0.2 * (0.1 * std::sqrt(0.001) / 0.1) / (std::sqrt(0.004) + 1),
              1e-6);
  adam.kind = OptimizerKind::kAdamW;
  adam.weight_decay = 0.5;  // w is 0.95 first
  EXPECT_NEAR(walk(adam, {2})[0],
              0.95 - 0.2 * (0.1 * std::sqrt(0.001) / 0.1) / (std::sqrt(0.004) + 1), 1e-6);

  OptimizerOptions rms;
  rms.kind = OptimizerKind::kRmsprop;
  rms.learning_rate = 0.1;
  rms.epsilon = 0.6;  // v = 0.4: 0.2 / sqrt(1)
  EXPECT_NEAR(walk(rms, {2})[0], 1 - 0.2, 1e-6);
  rms.centered = true;  // mean 0.2: 0.4 + 0.6 - 0.04
  EXPECT_NEAR(walk(rms, {2})[0], 1 - 0.2 / std::sqrt(0.96), 1e-6);
}

TEST(Optimizer, ClipsByValueNormAndGlobalNorm) {
  OptimizerOptions o;
  o.learning_rate = 1;
  o.clip_value = 0.5;
  EXPECT_NEAR(walk(o, {-3})[0], 1.5, 1e-6);
  o.clip_value = 0;
  o.clip_norm = 0.25;
  EXPECT_NEAR(walk(o, {3})[0], 0.75, 1e-6);
  o.clip_norm = 0;
  o.global_clip_norm = 0.25;
  EXPECT_NEAR(walk(o, {3})[0], 0.75, 1e-6);
  EXPECT_NEAR(walk(o, {0.125f})[0], 0.875, 1e-6);
}

TEST(Optimizer, Schedules) {
  OptimizerOptions o;
  o.learning_rate = 0.8;
  o.schedule = {ScheduleKind::kExponential, 4, 0.5};
  EXPECT_NEAR(learning_rate_at(o, 6), 0.8 * std::pow(0.5, 1.5), 1e-12);
  o.schedule.staircase = true;
  EXPECT_NEAR(learning_rate_at(o, 6), 0.4, 1e-12);
  o.schedule = {};
  o.schedule.kind = ScheduleKind::kPiecewise;
  o.schedule.boundaries = {2, 5};
  o.schedule.values = {3, 2, 1};
  EXPECT_EQ(learning_rate_at(o, 2), 3);
  EXPECT_EQ(learning_rate_at(o, 3), 2);
  EXPECT_EQ(learning_rate_at(o, 6), 1);
  o.schedule = {};
  o.schedule.kind = ScheduleKind::kCosine;
  o.schedule.decay_steps = 10;
  o.schedule.warmup_target = 1.0;
  o.schedule.warmup_steps = 4;
  o.learning_rate = 0;
  EXPECT_NEAR(learning_rate_at(o, 1), 0.25, 1e-12);
  EXPECT_NEAR(learning_rate_at(o, 9), 0.5, 1e-12);
  EXPECT_NEAR(learning_rate_at(o, 99), 0, 1e-12);
}

TrainGraph small_net() {
  Net n;
  const int x = n.input({4, 3});
  const int h = n.op(OpCode::kFullyConnected, FullyConnectedAttrs{Activation::kRelu},
                     {x, n.constant({8, 3}), n.constant({8})}, {4, 8});
  const int d = n.op(OpCode::kTrainDropout, DropoutAttrs{0.1f}, {h}, {4, 8});
  const int l = n.op(OpCode::kFullyConnected, FullyConnectedAttrs{},
                     {d, n.constant({2, 8}), n.constant({2})}, {4, 2});
  n.op(OpCode::kSoftmax, SoftmaxAttrs{1}, {l}, {4, 2});
  return train_graph(n.model);
}

Dataset small_data(std::size_t count = 50) {
  Random random(3);
  Dataset d;
  d.path = "small";
  d.count = count;
  Array x = Array::zeros(DType::kFloat32, {static_cast<std::int32_t>(count), 3});
  Array y = Array::zeros(DType::kInt64, {static_cast<std::int32_t>(count)});
  for (std::size_t i = 0; i < count; ++i) {
    double sum = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      const double v = random.uniform(-1, 1);
      x.mutable_span<float>()[3 * i + k] = static_cast<float>(v);
      sum += v;
    }
    y.mutable_span<std::int64_t>()[i] = sum > 0 ? 1 : 0;
  }
  d.names = {"x"};
  d.inputs = {x};
  d.labels = y;
  return d;
}

FitOptions small_options(int epochs) {
  FitOptions o;
  o.loss.kind = LossKind::kSparseCrossEntropy;
  o.optimizer.kind = OptimizerKind::kAdam;
  o.optimizer.learning_rate = 0.02;
  o.batch_size = 8;
  o.epochs = epochs;
  return o;
}

std::vector<float> flat(const FitResult& r) {
  std::vector<float> all;
  for (const Array& a : r.parameters)
    all.insert(all.end(), a.span<float>().begin(), a.span<float>().end());
  return all;
}

TEST(Fit, LearnsAndRepeats) {
  const FitResult a = fit(small_net(), small_data(), small_options(30));
  const FitResult b = fit(small_net(), small_data(), small_options(30));
  EXPECT_EQ(flat(a), flat(b));
  EXPECT_LT(a.epochs.back().loss, 0.5 * a.epochs.front().loss);
  EXPECT_GT(a.epochs.back().accuracy, 0.9);
}

TEST(Fit, ResumesBitForBit) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "litegap_fit_test.ckpt").string();
  std::remove(path.c_str());
  FitOptions o = small_options(3);
  o.checkpoint = path;
  o.resume = true;
  o.validation_split = 0.2;
  o.keep_best = true;
  fit(small_net(), small_data(), o);
  o.epochs = 7;
  const FitResult resumed = fit(small_net(), small_data(), o);
  std::remove(path.c_str());
  o.resume = false;
  o.checkpoint = "";
  const FitResult whole = fit(small_net(), small_data(), o);
  EXPECT_EQ(flat(resumed), flat(whole));
  ASSERT_EQ(resumed.epochs.size(), 7u);
  EXPECT_EQ(resumed.epochs.back().validation_loss, whole.epochs.back().validation_loss);
}

TEST(Fit, StopsEarlyAndKeepsTheBest) {
  FitOptions o = small_options(200);
  o.optimizer.learning_rate = 0.5;  // leaps about
  o.validation_split = 0.3;
  o.patience = 3;
  o.keep_best = true;
  const FitResult r = fit(small_net(), small_data(), o);
  EXPECT_TRUE(r.stopped_early);
  EXPECT_EQ(static_cast<int>(r.epochs.size()), r.best_epoch + 1 + 3);
  for (const EpochReport& e : r.epochs)
    EXPECT_GE(e.validation_loss, r.epochs[static_cast<std::size_t>(r.best_epoch)].validation_loss);
  // The weights are those of the best epoch.
  const TrainGraph graph = small_net();
  Trainer trainer(graph, o);
  for (std::size_t i = 0; i < r.parameters.size(); ++i)
    trainer.weights().value[i].assign(r.parameters[i].span<float>().begin(),
                                      r.parameters[i].span<float>().end());
  const Samples s = read_samples(graph, o.loss, small_data());
  EXPECT_EQ(trainer.evaluate(s, 35, 50, nullptr),
            r.epochs[static_cast<std::size_t>(r.best_epoch)].validation_loss);
}

std::string refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Fit, NamesBadSamples) {
  Dataset d = small_data();
  d.inputs[0] = d.inputs[0].clone();
  d.inputs[0].mutable_span<float>()[3 * 17 + 1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(refusal([&] { fit(small_net(), d, small_options(1)); }).find("sample 17"),
            std::string::npos);
  d = small_data();
  d.labels = d.labels->clone();
  d.labels->mutable_span<std::int64_t>()[9] = 2;
  EXPECT_EQ(refusal([&] { fit(small_net(), d, small_options(1)); }),
            "small: label of sample 9 is 2, expected 0 to 1");
  FitOptions o = small_options(50);
  o.optimizer = {};
  o.optimizer.learning_rate = 1e30;
  EXPECT_NE(refusal([&] { fit(small_net(), small_data(), o); }).find("the loss is"),
            std::string::npos);
}

TEST(Graph, RefusesWhatCannotBeTrained) {
  Net n;
  const int x = n.input({1, 3});
  n.op(OpCode::kTopkV2, NoAttrs{}, {x, n.scalar(1)}, {1, 1});
  EXPECT_NE(refusal([&] { train_graph(n.model); }).find("TOPK_V2"), std::string::npos);
  Net q;
  q.input({1, 3});
  q.g().tensors[0].quant.scale = {1};
  q.g().tensors[0].quant.zero_point = {0};
  EXPECT_NE(refusal([&] { train_graph(q.model); }).find("quantized"), std::string::npos);
}

}  // namespace
}  // namespace litegap
