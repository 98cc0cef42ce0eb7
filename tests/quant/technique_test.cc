// quantize_model on small models: what it promises about data, choices, function and files.
#include "quant/technique.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "quant/equalize.h"
#include "quant/rounding.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

// x [1,6,6,2] -> CONV_2D relu (4) -> DEPTHWISE relu -> CONV_2D 1x1 (3) -> MEAN -> FULLY_CONNECTED
// (2), channels of very different size.
ModelPtr small_model() {
  auto m = std::make_shared<Model>();
  m->path = "small";
  m->graphs.emplace_back();
  Random random(4);
  const auto add = [&](const char* name, Shape shape, std::optional<Array> constant = {}) {
    Tensor t;
    t.name = name;
    t.dtype = constant ? constant->dtype() : DType::kFloat32;
    t.shape = std::move(shape);
    t.constant = std::move(constant);
    m->main().tensors.push_back(std::move(t));
    return static_cast<int>(m->main().tensors.size()) - 1;
  };
  const auto weights = [&](const char* name, const Shape& shape, bool uneven) {
    Array w = Array::zeros(DType::kFloat32, shape);
    const auto v = w.mutable_span<float>();
    const std::size_t each = v.size() / static_cast<std::size_t>(shape[0]);
    for (std::size_t i = 0; i < v.size(); ++i) {
      const double size = uneven ? std::pow(4.0, static_cast<double>(i / each)) / 16 : 0.5;
      v[i] = static_cast<float>(size * random.normal());
    }
    return add(name, shape, w);
  };
  const auto op = [&](OpCode code, std::vector<int> in, int out, Attrs attrs) {
    Op o;
    o.code = code;
    o.inputs = std::move(in);
    o.outputs = {out};
    o.attrs = std::move(attrs);
    m->main().ops.push_back(std::move(o));
    return out;
  };
  ConvAttrs relu;
  relu.activation = Activation::kRelu;
  DepthwiseAttrs depthwise;
  depthwise.activation = Activation::kRelu;
  const int x = add("x", {1, 6, 6, 2});
  const int a = op(OpCode::kConv2d,
                   {x, weights("w1", {4, 3, 3, 2}, true),
                    add("b1", {4}, Array::of<float>({4}, {0.1f, 0.2f, -0.5f, 1}))},
                   add("body/conv", {1, 6, 6, 4}), relu);
  const int b = op(OpCode::kDepthwiseConv2d,
                   {a, weights("w2", {1, 3, 3, 4}, false),
                    add("b2", {4}, Array::of<float>({4}, {0.3f, 0.1f, 0, 0.2f}))},
                   add("body/depthwise", {1, 6, 6, 4}), depthwise);
  const int c = op(
      OpCode::kConv2d,
      {b, weights("w3", {3, 1, 1, 4}, false), add("b3", {3}, Array::of<float>({3}, {0, 0.1f, 0}))},
      add("body/point", {1, 6, 6, 3}), ConvAttrs{});
  const int d = op(OpCode::kMean, {c, add("axes", {2}, Array::of<std::int32_t>({2}, {1, 2}))},
                   add("body/mean", {1, 3}), ReducerAttrs{});
  const int y = op(OpCode::kFullyConnected,
                   {d, weights("w4", {2, 3}, false), add("b4", {2}, Array::of<float>({2}, {0, 1}))},
                   add("head/logits", {1, 2}), FullyConnectedAttrs{});
  m->main().inputs = {x};
  m->main().outputs = {y};
  return m;
}

Dataset samples(std::size_t n, std::uint64_t seed = 1) {
  Dataset data;
  data.path = "samples";
  data.count = n;
  data.names = {"x"};
  Array x = Array::zeros(DType::kFloat32, {static_cast<std::int32_t>(n), 6, 6, 2});
  Random random(seed);
  for (float& v : x.mutable_span<float>()) v = static_cast<float>(random.normal());
  data.inputs = {x};
  return data;
}

std::vector<std::size_t> all_rows(const Dataset& data) {
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < data.count; ++i) rows.push_back(i);
  return rows;
}

double noise(const ModelPtr& model, const Model& other, const Dataset& data) {
  return output_error(model, std::make_shared<const Model>(other), data, {}, all_rows(data));
}

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

const Decision* decision(const Quantized& q, const std::string& item) {
  for (const Decision& d : q.decisions) {
    if (d.item == item) return &d;
  }
  return nullptr;
}

TEST(Quantize, EveryTechniqueRunsAndIsNearTheFloatModel) {
  const ModelPtr model = small_model();
  const Dataset data = samples(64);
  const std::pair<Technique, double> limits[] = {
      {Technique::kStatic, 0.05},         {Technique::kDynamicRange, 1e-9},
      {Technique::kFloat16, 1e-5},        {Technique::kInt16x8, 0.02},
      {Technique::kWeightOnlyInt8, 0.01}, {Technique::kWeightOnlyInt4, 0.3}};
  for (const auto& [technique, limit] : limits) {
    QuantizeRequest request;
    request.technique = technique;
    const Quantized q = quantize_model(model, &data, request);
    EXPECT_LE(noise(model, q.model, data), limit) << technique_name(technique);
    EXPECT_EQ(q.technique, technique);
  }
}

TEST(Quantize, StaticWithoutDataSaysTheDifference) {
  const std::string said = error_of([] { quantize_model(small_model(), nullptr, {}); });
  EXPECT_NE(said.find("dynamic-range"), std::string::npos);
  EXPECT_NE(said.find("representative dataset"), std::string::npos);
  EXPECT_EQ(said.find('\n'), std::string::npos);
}

TEST(Quantize, SaysThatCalibrationCannotHaveMattered) {
  const Dataset data = samples(20);
  const Quantized q = quantize_model(small_model(), &data, {.technique = Technique::kDynamicRange});
  ASSERT_NE(decision(q, "calibration"), nullptr);
  EXPECT_EQ(decision(q, "calibration")->chosen, "not used");
  EXPECT_EQ(q.calibration_samples, 0u);
}

TEST(Quantize, NamesTheSampleThatIsNotFinite) {
  for (const float bad : {std::nanf(""), INFINITY}) {
    Dataset data = samples(20);
    data.inputs[0].mutable_span<float>()[7 * 72 + 5] = bad;
    const std::string said = error_of([&] { quantize_model(small_model(), &data, {}); });
    EXPECT_NE(said.find("sample 7"), std::string::npos) << said;
  }
}

TEST(Quantize, WarnsOfOneSampleAndRefusesNone) {
  Dataset one = samples(1);
  const Quantized q = quantize_model(small_model(), &one, {});
  ASSERT_EQ(q.warnings.size(), 1u);
  EXPECT_NE(q.warnings[0].find("one distinct sample"), std::string::npos);
  Dataset none = samples(1);
  none.count = 0;
  none.inputs = {Array::zeros(DType::kFloat32, {0, 6, 6, 2})};
  EXPECT_NE(error_of([&] { quantize_model(small_model(), &none, {}); }), "");
}

TEST(Quantize, ThreadsDoNotChangeTheFile) {
  const Dataset data = samples(200);
  QuantizeRequest request;
  request.calibration_method = CalibrationMethod::kMse;
  request.rounding = WeightRounding::kGptq;
  request.bias_correction = Choice::kOn;
  request.threads = 1;
  const auto one = serialize_model(quantize_model(small_model(), &data, request).model);
  request.threads = 3;
  const auto three = serialize_model(quantize_model(small_model(), &data, request).model);
  EXPECT_TRUE(std::ranges::equal(one, three));
}

TEST(Quantize, AutoMeasuresAndRecords) {
  const Dataset data = samples(60);
  QuantizeRequest request;
  request.granularity = Granularity::kPerTensor;
  request.equalize = request.bias_correction = Choice::kAuto;
  request.rounding = WeightRounding::kAuto;
  const Quantized q = quantize_model(small_model(), &data, request);
  EXPECT_GE(q.trials.size(), 6u);
  EXPECT_EQ(q.held_back, 60u);
  for (const char* item : {"calibration method", "equalization", "rounding", "bias correction"}) {
    EXPECT_NE(decision(q, item), nullptr) << item;
  }
  QuantizeRequest plain;
  plain.granularity = Granularity::kPerTensor;
  plain.calibration_method = CalibrationMethod::kMinmax;
  const Dataset fresh = samples(200, 9);
  EXPECT_LE(noise(small_model(), q.model, fresh),
            1.05 * noise(small_model(), quantize_model(small_model(), &data, plain).model, fresh));
}

TEST(Equalize, LeavesTheFunctionAndEvensTheChannels) {
  const ModelPtr model = small_model();
  const Equalized e = equalize(*model);
  EXPECT_EQ(e.pairs.size(), 2u);
  EXPECT_GT(e.largest, 2);
  EXPECT_LT(noise(model, e.model, samples(50)), 1e-10);
  const Dataset data = samples(100);
  QuantizeRequest request;
  request.granularity = Granularity::kPerTensor;
  request.calibration_method = CalibrationMethod::kMinmax;
  const double before = noise(model, quantize_model(model, &data, request).model, data);
  request.equalize = Choice::kOn;
  EXPECT_LT(noise(model, quantize_model(model, &data, request).model, data), before);
}

TEST(Equalize, LeavesRelu6Alone) {
  Model m = *small_model();
  std::get<ConvAttrs>(m.main().ops[0].attrs).activation = Activation::kRelu6;
  std::get<DepthwiseAttrs>(m.main().ops[1].attrs).activation = Activation::kRelu6;
  EXPECT_TRUE(equalize(m).pairs.empty());
}

double mean_shift(const ModelPtr& a, const Model& b, const Dataset& data) {
  litegap::Setup x, y;
  x.model = a;
  y.model = std::make_shared<const Model>(b);
  const Predictions p = predict(x, data), q = predict(y, data);
  double sum[2] = {0, 0};
  for (std::size_t i = 0; i < p.outputs[0].elements(); ++i) {
    sum[i % 2] += p.outputs[0].span<float>()[i] - q.outputs[0].span<float>()[i];
  }
  return (std::fabs(sum[0]) + std::fabs(sum[1])) / static_cast<double>(data.count);
}

TEST(BiasCorrection, LowersTheMeanError) {
  const ModelPtr model = small_model();
  const Dataset data = samples(200);
  QuantizeRequest request;
  request.technique = Technique::kWeightOnlyInt4;
  const double before = mean_shift(model, quantize_model(model, &data, request).model, data);
  request.bias_correction = Choice::kOn;
  const double after = mean_shift(model, quantize_model(model, &data, request).model, data);
  EXPECT_LT(after, 0.8 * before) << before;  // the ReLU behind a layer bends what is left
}

TEST(Recipe, LaterRulesWin) {
  const ModelPtr model = small_model();
  QuantizeRequest request;
  request.technique = Technique::kMixed;
  request.recipe = parse_recipe(
      R"({"rules": [{"scope": ".*", "operator": "*", "algorithm": "static"},
                    {"scope": "head/.*", "operator": "FULLY_CONNECTED", "algorithm": "float"},
                    {"scope": "body/conv", "algorithm": "int16x8"},
                    {"scope": "body/point", "algorithm": "weight-only", "bits": 4, "weights": "gptq"}]})",
      "recipe.json");
  const Dataset data = samples(50);
  const Quantized q = quantize_model(model, &data, request);
  std::map<std::string, DType> weights;
  for (const Op& op : q.model.main().ops) {
    if (op.code == OpCode::kQuantize || op.code == OpCode::kDequantize ||
        op.code == OpCode::kMean) {
      continue;
    }
    const auto& out = q.model.main().tensors[static_cast<std::size_t>(op.outputs[0])];
    weights[out.name.substr(0, 9)] = out.dtype;
  }
  EXPECT_EQ(weights.at("body/conv"), DType::kInt16);
  EXPECT_EQ(weights.at("body/dept"), DType::kInt8);
  EXPECT_EQ(weights.at("body/poin"), DType::kFloat32);
  EXPECT_EQ(weights.at("head/logi"), DType::kFloat32);
  bool four = false;
  for (const Tensor& t : q.model.main().tensors) four = four || t.dtype == DType::kInt4;
  EXPECT_TRUE(four);
  EXPECT_LT(noise(model, q.model, data), 0.3);
}

TEST(Recipe, ARuleThatMatchesNothingIsAnError) {
  QuantizeRequest request;
  request.technique = Technique::kMixed;
  const Dataset data = samples(20);
  const auto said = [&](const char* text) {
    return error_of([&] {
      request.recipe = parse_recipe(text, "r.json");
      quantize_model(small_model(), &data, request);
    });
  };
  EXPECT_NE(said(R"({"rules": [{"scope": "tail/.*", "algorithm": "static"}]})").find("rule 0"),
            std::string::npos);
  EXPECT_NE(said(R"({"rules": [{"algoritm": "static"}]})").find("algoritm"), std::string::npos);
  EXPECT_NE(said(R"({"rules": [{"algorithm": "statik"}]})").find("statik"), std::string::npos);
  EXPECT_NE(said(R"({"rules": [{"scope": "(", "algorithm": "static"}]})").find("expression"),
            std::string::npos);
  EXPECT_NE(said(R"({"rules": [{"operator": "MEAN", "algorithm": "weight-only"}]})").find("MEAN"),
            std::string::npos);
  EXPECT_NE(said("{").find("JSON"), std::string::npos);
}

// The matcher of the library is recursive: so long a name would end the process.
TEST(Recipe, ANameTooLongToMatchIsAnError) {
  Model m = *small_model();
  m.main().tensors[static_cast<std::size_t>(m.main().ops[0].outputs[0])].name.assign(300000, 'a');
  const Dataset data = samples(20);
  QuantizeRequest request;
  request.technique = Technique::kMixed;
  request.recipe = parse_recipe(R"({"rules": [{"scope": "a*b", "algorithm": "static"}]})", "r");
  const std::string said =
      error_of([&] { quantize_model(std::make_shared<const Model>(m), &data, request); });
  EXPECT_NE(said.find("300000 bytes"), std::string::npos) << said;
}

TEST(Quantize, Int16RefusesByName) {
  Model m = *small_model();
  Op op;
  op.code = OpCode::kPrelu;
  op.inputs = {m.main().outputs[0], m.main().outputs[0]};
  Tensor t = m.main().tensors[static_cast<std::size_t>(m.main().outputs[0])];
  t.name = "slopes/out";
  m.main().tensors.push_back(t);
  op.outputs = {static_cast<int>(m.main().tensors.size()) - 1};
  m.main().ops.push_back(op);
  m.main().outputs = op.outputs;
  const Dataset data = samples(20);
  const std::string said = error_of([&] {
    quantize_model(std::make_shared<const Model>(m), &data, {.technique = Technique::kInt16x8});
  });
  EXPECT_NE(said.find("PRELU"), std::string::npos) << said;
}

}  // namespace
}  // namespace litegap
