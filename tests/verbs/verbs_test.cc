// What every door calls: training, quantizing and evaluating by names and files.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "data/npy.h"
#include "keras/keras.h"
#include "tflite/tflite.h"
#include "train/demo_data.h"
#include "verbs/cover.h"
#include "verbs/evaluate.h"
#include "verbs/inputs.h"
#include "verbs/quantize.h"
#include "verbs/shard.h"
#include "verbs/train.h"

namespace litegap {
namespace {

class Verbs : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "litegap_verbs_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    make_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string at(const std::string& name) const { return folder_ + "/" + name; }
  TrainRequest line(const std::string& out) const {
    return {.architecture = sequential_json({1}, {dense_json(1)}), .out = at(out), .epochs = 20};
  }
  // float.tflite and int8.tflite, a classifier of pictures.
  void make_picture_models(const Dataset& data) const {
    train_file(data, {.architecture = sequential_json(
                          {16, 16, 1}, {conv2d_json(6, 3, "relu"), global_average_json(),
                                        dense_json(kPictureClasses, "softmax")}),
                      .out = at("float.tflite"),
                      .loss = "crossentropy"});
    quantize_file(&data,
                  {.model = at("float.tflite"), .technique = "static", .out = at("int8.tflite")});
  }
  std::string folder_;
};

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST_F(Verbs, TrainsQuantizesAndEvaluatesWithoutAProgress) {
  const Dataset data = line_data(100, 1);
  const TrainResult t = train_file(data, line("float.tflite"));
  EXPECT_EQ(t.fit.epochs.size(), 20u);
  EXPECT_LT(t.fit.epochs.back().loss, t.fit.epochs.front().loss);
  const QuantizeResult q = quantize_file(
      &data, {.model = at("float.tflite"), .technique = "static", .out = at("int8.tflite")});
  EXPECT_EQ(q.checked_samples, 64u);
  EXPECT_LT(q.largest_difference, 0.02);
  const EvalResult e =
      evaluate(data, {.models = {at("float.tflite"), at("int8.tflite")}, .metric = "mse"});
  ASSERT_EQ(e.models.size(), 2u);
  EXPECT_EQ(e.models[1].technique, "static-int8");
  // The loss that training reports after its last step is near that of the written file.
  EXPECT_NEAR(e.models[0].measured.value, t.fit.epochs.back().loss, 0.2 * t.fit.epochs[0].loss);
}

TEST_F(Verbs, TheSizeRuleLeavesSmallWeightsInFloat) {
  train_file(line_data(50, 1), line("float.tflite"));
  QuantizeFileRequest r{
      .model = at("float.tflite"), .technique = "dynamic-range", .out = at("usual.tflite")};
  const QuantizeResult usual = quantize_file(nullptr, r);
  ASSERT_FALSE(usual.decisions.empty());
  EXPECT_EQ(usual.decisions[0].chosen, "all left float32");
  r.out = at("forced.tflite");
  r.least_elements = 1;
  quantize_file(nullptr, r);
  const auto stored = [&](const std::string& name) {
    std::size_t int8 = 0;
    const ModelPtr model = read_model(at(name));
    for (const Tensor& t : model->main().tensors) int8 += t.dtype == DType::kInt8;
    return int8;
  };
  EXPECT_EQ(stored("usual.tflite"), 0u);
  EXPECT_EQ(stored("forced.tflite"), 1u);
}

// What is counted is what two plain predictions say.
TEST_F(Verbs, DialectsAreComparedBitForBit) {
  const Dataset data = picture_data(60, 5);
  make_picture_models(data);
  for (const std::string name : {"float.tflite", "int8.tflite"}) {
    const EvalResult e =
        evaluate(data, {.models = {at(name)},
                        .metric = "top1",
                        .dialects = {Dialect::kReference, Dialect::kBuiltin, Dialect::kXnnpack},
                        .latency = false});
    ASSERT_EQ(e.models.size(), 3u);
    ASSERT_EQ(e.dialects.size(), 2u);
    EXPECT_EQ(e.pairs.size(), 2u);
    for (const DialectDifference& d : e.dialects) {
      EXPECT_EQ(d.samples, 60u);
      std::vector<Predictions> p;
      for (const Dialect dialect : {d.a, d.b}) {
        litegap::Setup setup;
        setup.model = read_model(at(name));
        setup.numerics.dialect = dialect;
        p.push_back(predict(setup, data));
      }
      std::size_t differ = 0;
      const auto x = p[0].outputs[0].span<float>(), y = p[1].outputs[0].span<float>();
      for (std::size_t i = 0; i < x.size(); ++i) differ += x[i] != y[i];
      EXPECT_EQ(d.outputs_differ, differ) << name << " " << dialect_name(d.b);
      EXPECT_EQ(d.output_elements, x.size());
      EXPECT_LE(differ > 0, !d.rows.empty());
    }
  }
}

TEST_F(Verbs, UnknownWordsAreNamedWithTheKnownOnes) {
  const Dataset data = line_data(20, 1);
  TrainRequest t = line("x.tflite");
  t.loss = "mean";
  EXPECT_NE(error_of([&] { train_file(data, t); }).find("expected one of mse, mae"),
            std::string::npos);
  t = line("x.tflite");
  t.optimizer = "lion";
  EXPECT_NE(error_of([&] { train_file(data, t); }).find("lion"), std::string::npos);
  train_file(data, line("float.tflite"));
  QuantizeFileRequest q{.model = at("float.tflite"), .technique = "int7", .out = at("x.tflite")};
  EXPECT_NE(error_of([&] { quantize_file(&data, q); }).find("\"int7\", expected one of: static"),
            std::string::npos);
  EXPECT_FALSE(file_exists(at("x.tflite")));
}

TEST_F(Verbs, TheModelItselfIsNotOverwritten) {
  const Dataset data = line_data(20, 1);
  train_file(data, line("float.tflite"));
  const std::string before = read_text(at("float.tflite"));
  const QuantizeFileRequest q{
      .model = at("float.tflite"), .technique = "float16", .out = at("float.tflite")};
  EXPECT_NE(error_of([&] { quantize_file(nullptr, q); }).find("the float model itself"),
            std::string::npos);
  EXPECT_EQ(read_text(at("float.tflite")), before);
}

TEST_F(Verbs, InputsAreCodesOrRealNumbers) {
  const Dataset data = line_data(50, 1);
  train_file(data, line("float.tflite"));
  quantize_file(&data,
                {.model = at("float.tflite"), .technique = "static", .out = at("int8.tflite")});
  const ModelPtr model = read_model(at("int8.tflite"));
  const Quant& quant =
      model->main().tensors[static_cast<std::size_t>(model->main().inputs[0])].quant;
  const Array real = Array::of<float>({1, 1}, {0.5f});
  std::vector<Array> inputs{real};
  adapt_inputs(*model, "x", GivenAs::kEither, inputs);
  // real = scale * (code - zero point), to half a step
  EXPECT_NEAR(
      quant.scale[0] * static_cast<float>(inputs[0].span<std::int8_t>()[0] - quant.zero_point[0]),
      0.5, 0.5 * quant.scale[0] + 1e-6);
  inputs = {real};
  EXPECT_NE(error_of([&] {
              adapt_inputs(*model, "x", GivenAs::kCodes, inputs);
            }).find("is float32, the model takes int8"),
            std::string::npos);
  inputs = {real, real};
  EXPECT_NE(error_of([&] { adapt_inputs(*model, "x", GivenAs::kEither, inputs); }).find("2 arrays"),
            std::string::npos);
}

// The whole value but for what it cost.
Json without_cost(const EvalResult& r) {
  Json value = eval_json(r, "", {});
  value.erase("cost");
  return value;
}

TEST_F(Verbs, ShardsGiveTheResultOfOneRunBitForBit) {
  const Dataset data = line_data(1000, 1);
  train_file(data, line("float.tflite"));
  quantize_file(&data,
                {.model = at("float.tflite"), .technique = "static", .out = at("int8.tflite")});
  write_npz(at("d.npz"), {{"x", data.inputs[0]}, {"y", *data.labels}});
  const EvalRequest request{.models = {at("float.tflite"), at("int8.tflite")},
                            .metric = "mse",
                            .limit = 700,
                            .latency = false};
  const Json whole = without_cost(evaluate(read_dataset(at("d.npz")), request));
  std::vector<std::string> states;
  for (std::size_t i = 3; i >= 1; --i) {
    states.push_back(at(fmt::format("{}.state", i)));
    write_shard(states.back(), {at("d.npz"), "", ""}, request, {i, 3});
  }
  states.push_back(states[1]);  // twice counts once
  EXPECT_EQ(json_text(without_cost(merge_shards(states).result)), json_text(whole));
  EXPECT_NE(error_of([&] {
              merge_shards({states[0], states[1]});
            }).find("shard 1/3 is missing"),
            std::string::npos);
  Array other = data.inputs[0].clone();  // in a row that one shard alone has
  other.mutable_span<float>()[130] += 1;
  write_npz(at("d.npz"), {{"x", other}, {"y", *data.labels}});
  EXPECT_NE(error_of([&] { merge_shards(states); }).find("have changed"), std::string::npos);
  write_npz(at("d.npz"), {{"x", data.inputs[0]}, {"y", data.inputs[0]}});
  EXPECT_NE(error_of([&] { merge_shards(states); }).find("have changed"), std::string::npos);
}

// However few outputs are held at once, and however many threads hold them.
TEST_F(Verbs, BlocksAndThreadsLeaveNoTrace) {
  const Dataset data = picture_data(600, 5);
  make_picture_models(data);
  for (const std::string metric : {"top1", "top5", "agreement", "kl", "cosine"}) {
    EvalRequest r{.models = {at("float.tflite"), at("int8.tflite")},
                  .metric = metric,
                  .threads = 1,
                  .latency = false};
    const Json whole = without_cost(evaluate(data, r));
    EXPECT_EQ(whole["samples"], 600u);
    for (const int threads : {1, 3}) {
      r.threads = threads;
      for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}}) {
        r.output_bytes = bytes;
        EXPECT_EQ(json_text(without_cost(evaluate(data, r))), json_text(whole)) << metric;
      }
    }
  }
}

// The same bytes at an odd address.
Array moved(const Array& a) {
  const auto bytes = std::make_shared<std::vector<std::byte>>(a.byte_size() + 1);
  std::ranges::copy(a.bytes(), bytes->begin() + 1);
  return Array::view(a.dtype(), a.shape(), {bytes->data() + 1, a.byte_size()}, bytes);
}

TEST_F(Verbs, SamplesMayLieAtOddAddresses) {
  const Dataset data = picture_data(300, 5);
  make_picture_models(data);
  Dataset odd = data;
  for (Array& x : odd.inputs) x = moved(x);
  for (const std::size_t limit : {0u, 100u}) {
    EvalRequest r{.models = {at("float.tflite"), at("int8.tflite")},
                  .metric = "top1",
                  .limit = limit,
                  .threads = 2,
                  .latency = false};
    EXPECT_EQ(json_text(without_cost(evaluate(odd, r))),
              json_text(without_cost(evaluate(data, r))));
  }
  const EvalRequest dialects{.models = {at("int8.tflite")},
                             .metric = "top1",
                             .dialects = {Dialect::kReference, Dialect::kXnnpack},
                             .latency = false};
  EXPECT_EQ(json_text(without_cost(evaluate(odd, dialects))),
            json_text(without_cost(evaluate(data, dialects))));
}

TEST_F(Verbs, OutputsHeldAtOnceKeepWithinTheirMemory) {
  const Dataset data = line_data(100, 1);
  const Array wide = Array::zeros(DType::kFloat32, {100, 10000});
  write_npz(at("a.npz"), {{"out_0", wide}});
  const EvalRequest request{.models = {at("a.npz"), at("a.npz")}};
  std::vector<Decision> decisions;
  std::vector<Contestant> all = make_contestants(request, data, decisions);
  const auto block = [&](std::size_t bytes) {
    return Cover(all, data, find_metric("agreement").value(), {2, bytes, 0}).block();
  };
  const std::size_t row = 2 * 2 * 40000;  // of two models in two threads
  EXPECT_EQ(block(std::size_t{1} << 30), kMostStacked);
  EXPECT_EQ(block(32 << 20), 208u);
  EXPECT_EQ(block(40 * row), 40u);
  EXPECT_EQ(block(7 * row), 6u);  // pairs of samples stay together
  EXPECT_EQ(block(row), 2u);
}

// y = x + the y before: with samples of 1 a count, if state is carried from row to row of the file.
Model counting_model() {
  Model m;
  m.graphs.emplace_back();
  Graph& g = m.main();
  const auto add = [&](const std::string& name, Shape shape, std::optional<float> value = {}) {
    Tensor t;
    t.name = name;
    t.shape = shape;
    t.has_rank = true;
    if (value) t.constant = Array::of<float>(shape, {*value});
    g.tensors.push_back(std::move(t));
  };
  add("x", {1, 1});
  add("weight", {1, 1}, 1.0f);
  add("recurrent", {1, 1}, 1.0f);
  add("bias", {1}, 0.0f);
  add("state", {1, 1});
  add("y", {1, 1});
  g.tensors[4].is_variable = true;
  Op op;
  op.code = OpCode::kRnn;
  op.inputs = {0, 1, 2, 3, 4};
  op.outputs = {5};
  op.attrs = RnnAttrs{};
  g.ops.push_back(op);
  g.inputs = {0};
  g.outputs = {5};
  return m;
}

TEST_F(Verbs, StateIsCarriedOverWhateverIsHeldAtOnce) {
  write_model(counting_model(), at("count.tflite"));
  const std::size_t n = 700;
  const Array x = Array::of<float>({700, 1}, std::vector<float>(n, 1));
  std::vector<float> count(n);
  for (std::size_t i = 0; i < n; ++i) count[i] = static_cast<float>(i + 1);
  const Dataset data = make_dataset({x}, Array::of<float>({700, 1}, count));
  EvalRequest r{.models = {at("count.tflite"), at("count.tflite")},
                .metric = "mae",
                .threads = 3,
                .latency = false};
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{32} << 20}) {
    r.output_bytes = bytes;
    const EvalResult e = evaluate(data, r);
    EXPECT_EQ(e.samples, n);
    EXPECT_EQ(e.models[0].measured.value, 0);
    EXPECT_EQ(e.models[1].measured.value, 0);
  }
  r.reset_state = true;  // every sample says 1: off by 0, 1, 2 …
  EXPECT_EQ(evaluate(data, r).models[1].measured.value, 699 / 2.0);
}

// What a chunk has covered when it is stopped does not count.
TEST_F(Verbs, AnInterruptLeavesWholeChunks) {
  const Dataset data = line_data(1000, 1);
  train_file(data, line("float.tflite"));
  EvalRequest r{.models = {at("float.tflite")}, .metric = "mse", .threads = 1, .latency = false};
  r.progress = [](std::string_view, double done) {
    if (done > 0.3) throw Stopped();
  };
  const EvalResult e = evaluate(data, r);
  EXPECT_EQ(e.stopped_by, "interrupt");
  EXPECT_EQ(e.samples, 256u);
  r.progress = [](std::string_view, double) { throw Stopped(); };
  EXPECT_THROW(evaluate(data, r), Stopped);
}

TEST(Shard, BlocksGoToShardsInTurn) {
  EXPECT_EQ(shard_rows({1, 2}, 130).size(), 66u);  // 0 to 63 and 128, 129
  EXPECT_EQ(shard_rows({2, 2}, 130).front(), 64u);
  EXPECT_TRUE(shard_rows({3, 3}, 130).size() == 2u);
  EXPECT_TRUE(shard_rows({4, 4}, 130).empty());
}

}  // namespace
}  // namespace litegap
