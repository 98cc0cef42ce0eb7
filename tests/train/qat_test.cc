// Quantization-aware training: the grid, the frozen single weight, and that the file does what was
// trained.
#include "train/qat.h"

#include <gtest/gtest.h>

#include <cmath>

#include "keras/keras.h"
#include "net.h"
#include "run/metrics.h"
#include "train/demo_data.h"
#include "train/range_observer.h"

namespace litegap {
namespace {

TEST(Fake, RangeIsNudgedSoThatZeroIsACode) {
  const FakeRange r = nudge(-1, 3, 8, false);  // zero point round(63.75) = 64
  EXPECT_FLOAT_EQ(r.scale, 4.0f / 255);
  EXPECT_FLOAT_EQ(r.low, -64 * r.scale);
  EXPECT_FLOAT_EQ(r.high, 191 * r.scale);
  EXPECT_EQ(fake(r, 0), 0);
  EXPECT_EQ(fake(r, 10), r.high);
  EXPECT_TRUE(passes(r, r.high));
  EXPECT_FALSE(passes(r, 3.1f));
  EXPECT_EQ(fake(nudge(0, 0, 8, false), 5), 0);
}

// Through one kTrainFake of this slot: values, and which gradients pass.
struct Through {
  std::vector<float> values, gradients;
};
Through through(FakeSlot slot, const std::vector<float>& x, bool training) {
  Net n;
  const auto count = static_cast<std::int32_t>(x.size());
  n.op(OpCode::kTrainFake, TrainFakeAttrs{0}, {n.input({1, count})}, {1, count});
  TrainGraph g;
  g.model = n.model;
  std::vector<FakeSlot> slots{slot};
  TapeMode mode;
  mode.training = training;
  mode.fakes = &slots;
  Weights<float> w;
  Tape<float> tape(g, w, 1, {&mode, 1, true});
  std::copy(x.begin(), x.end(), tape.value(0));
  tape.forward();
  std::fill(tape.grad(1), tape.grad(1) + count, 1.0f);
  tape.backward();
  return {{tape.value(1), tape.value(1) + count}, {tape.grad(0), tape.grad(0) + count}};
}

TEST(Fake, CutsWhenTheRangeHasSettledAndLearnedStepsCutGradients) {
  FakeSlot s;
  s.quant.scale = {0.5f};  // codes -128 to 127, zero at -128: real 0 to 127.5
  s.quant.zero_point = {-128};
  const std::vector<float> x{-3, 0.3f, 100.1f, 200};
  const std::vector<float> cut{0, 0.5f, 100, 127.5f}, all{1, 1, 1, 1};
  EXPECT_EQ(through(s, x, true).values, (std::vector<float>{-3, 0.5f, 100, 200}));
  EXPECT_EQ(through(s, x, false).values, cut);
  s.cuts = true;
  EXPECT_EQ(through(s, x, true).values, cut);
  EXPECT_EQ(through(s, x, true).gradients, all);
  s.learn = true;
  EXPECT_EQ(through(s, x, true).gradients, (std::vector<float>{0, 1, 1, 0}));
}

KerasModel fitted(const KerasModel& m, const Dataset& data, const FitOptions& o) {
  const Lowered lowered = lower(m, {.training = true, .batch = static_cast<int>(o.batch_size)});
  const TrainGraph g = train_graph(lowered);
  return with_trained(m, lowered, with_parameters(g, fit(g, data, o).parameters));
}

double file_score(const Model& model, const Dataset& data, const char* metric) {
  Setup setup;
  setup.model = std::make_shared<const Model>(model);
  const Predictions p = predict(setup, data);
  return score(*find_metric(metric), {&p, &data, &p});
}

// The kernel of Dense(1) is the edge of its own range: where rounding puts the edge below it, a
// gradient that ends at the edge would stop it for good.  Thirty starts, none may stand still: a
// frozen weight costs many times the loss.  What rounding itself costs is small: a step of the
// output is about 0.012, its variance 1.2e-5, the noise of the data 0.01.
TEST(Qat, ASingleWeightNeverFreezes) {
  double in_float = 0, in_file = 0;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    const Dataset data = line_data(100, seed);
    QatOptions o;
    o.fit.epochs = 100;
    o.fit.optimizer.learning_rate = 0.01;
    o.fit.seed = seed;
    const KerasModel m = read_keras_json(sequential_json({1}, {dense_json(1)}), "line", {seed});
    const TrainGraph g = train_graph(lower(m).model);
    const Model plain = with_parameters(g, fit(g, data, o.fit).parameters);
    const double trained = file_score(plain, data, "mse");
    const QatResult r = qat(m, data, o);
    const double file = file_score(r.model, data, "mse");
    EXPECT_LT(file, 1.03 * trained) << "seed " << seed;
    EXPECT_NEAR(file, r.fake_loss, 0.01 * r.fake_loss) << "seed " << seed;
    in_float += trained;
    in_file += file;
  }
  EXPECT_LT(in_file, 1.005 * in_float);
}

// The quantizer gives x the scale of the concatenation, which it reaches through the pool.  By that
// range alone, -1 to 9, everything of x below -1 would be cut.
TEST(RangeObserver, TensorsOfOneScaleShareTheirRanges) {
  Net n;
  const int x = n.input({1, 2, 2, 1}), y = n.input({1, 2, 2, 1});
  const int pool =
      n.op(OpCode::kMaxPool2d, PoolAttrs{Padding::kSame, 1, 1, 2, 2}, {x}, {1, 2, 2, 1});
  const int joined = n.op(OpCode::kConcatenation, ConcatAttrs{3}, {pool, y}, {1, 2, 2, 2});
  const int other = n.op(OpCode::kTanh, NoAttrs{}, {x}, {1, 2, 2, 1});
  std::vector<FakeSlot> slots;
  const std::map<int, std::pair<float, float>> seen{
      {x, {-4, 3}}, {y, {0, 9}}, {pool, {-1, 3}}, {joined, {-1, 9}}, {other, {-1, 1}}};
  for (const auto& [t, range] : seen) {
    FakeSlot s;
    s.tensor = t;
    s.batch_min = range.first;
    s.batch_max = range.second;
    s.batch_values = 4;
    s.seen = true;
    slots.push_back(s);
  }
  RangeObserver observer(n.model, slots, {});
  observer.follow();
  for (const FakeSlot& s : slots) {
    if (s.tensor == other) continue;
    EXPECT_FLOAT_EQ(s.quant.scale[0], 13.0f / 255) << s.tensor;
    EXPECT_EQ(observer.shared_ranges().min[static_cast<std::size_t>(s.tensor)], -4) << s.tensor;
    EXPECT_EQ(observer.shared_ranges().max[static_cast<std::size_t>(s.tensor)], 9) << s.tensor;
  }
}

// Three batches with extremes 1, 2 and 1: an input holds 2, an output forgets it by a hundredth,
// another value takes the average, whose weights are 1/10 old at first, then 2/11 old.
TEST(RangeObserver, EndsOfTheModelAreNotCut) {
  Net n;
  const int x = n.input({1, 1}), inner = n.op(OpCode::kExp, NoAttrs{}, {x}, {1, 1});
  const int y = n.op(OpCode::kAbs, NoAttrs{}, {inner}, {1, 1});
  std::vector<FakeSlot> slots(3);
  for (int i = 0; i < 3; ++i)
    slots[static_cast<std::size_t>(i)].tensor =
        std::vector{x, inner, y}[static_cast<std::size_t>(i)];
  RangeObserver observer(n.model, slots, {.momentum = 0.99});
  for (const float high : {1.0f, 2.0f, 1.0f}) {
    for (FakeSlot& s : slots) {
      s.batch_min = 0;
      s.batch_max = high;
      s.batch_values = 1;
      s.seen = true;
    }
    observer.follow();
  }
  const auto max = [&](int t) { return observer.ranges().max[static_cast<std::size_t>(t)]; };
  const float second = 2.0f / 11 * 1 + 9.0f / 11 * 2;
  EXPECT_EQ(max(x), 2);
  EXPECT_FLOAT_EQ(max(y), 0.99f * 2 + 0.01f * 1);
  EXPECT_FLOAT_EQ(max(inner), 3.0f / 12 * second + 9.0f / 12 * 1);
}

TEST(Qat, TheFileDoesWhatWasTrained) {
  const Dataset train = picture_data(400, 11), test = picture_data(400, 12);
  const KerasModel start = read_keras_json(
      sequential_json({16, 16, 1},
                      {conv2d_json(8, 3, "relu"), max_pool_json(2), conv2d_json(12, 3, "relu"),
                       max_pool_json(2), global_average_json(), dense_json(4, "softmax")}),
      "pictures", {3});
  FitOptions f;
  f.loss.kind = LossKind::kSparseCrossEntropy;
  f.epochs = 12;
  f.optimizer.kind = OptimizerKind::kAdam;
  f.optimizer.learning_rate = 0.01;
  const Model plain = lower(fitted(start, train, f)).model;
  for (const bool learned : {false, true}) {
    QatOptions o;
    o.fit = f;
    o.fit.epochs = 3;
    o.fit.optimizer.learning_rate = 0.001;
    o.learned_steps = learned;
    const QatResult r = qat(plain, train, o);
    // On the data it was trained on the fake-quantized graph and the integer file agree.
    EXPECT_NEAR(file_score(r.model, train, "top1"), r.fake_accuracy, 0.00251) << learned;
    EXPECT_GT(file_score(r.model, test, "top1"), file_score(plain, test, "top1") - 0.02) << learned;
    const QatResult again = qat(plain, train, o);
    EXPECT_EQ(again.fake_loss, r.fake_loss);
  }
}

TEST(Qat, SaysWhichRangesNeverSettled) {
  const Dataset data = line_data(100, 1);
  QatOptions o;
  o.fit.epochs = 1;
  o.fit.optimizer.learning_rate = 0.3;  // far from done after one epoch
  o.range_momentum = 0.5;
  const KerasModel m = read_keras_json(sequential_json({1}, {dense_json(1)}), "line", {1});
  const QatResult r = qat(lower(m).model, data, o);
  EXPECT_FALSE(r.unsettled.empty());
  o.fit.epochs = 60;
  o.fit.optimizer.learning_rate = 0.1;
  o.range_momentum = 0.99;
  EXPECT_TRUE(qat(lower(m).model, data, o).unsettled.empty());
}

}  // namespace
}  // namespace litegap
