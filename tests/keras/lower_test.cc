// Small architectures whose outputs can be computed by hand, or by a slow loop written here.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/json.h"
#include "keras/keras.h"
#include "run/plan.h"

namespace litegap {
namespace {

Json layer(const std::string& class_name, Json config) {
  return {{"class_name", class_name}, {"config", std::move(config)}};
}

std::string sequential(const Json& shape, const std::vector<Json>& layers) {
  Json list = Json::array({layer("InputLayer", {{"batch_shape", shape}, {"name", "x"}})});
  for (const Json& l : layers) list.push_back(l);
  return json_text(
      Json{{"class_name", "Sequential"}, {"config", {{"name", "m"}, {"layers", list}}}});
}

// tf_keras's [layer, node, tensor, arguments].
Json ref(const char* name, int node) { return Json::array({name, node, 0, Json::object()}); }
// One call of one argument.
Json node(const char* name) { return Json::array({Json::array({ref(name, 0)})}); }
// input_layers and output_layers
Json ends(const std::vector<const char*>& names) {
  Json all = Json::array();
  for (const char* n : names) all.push_back(Json::array({n, 0, 0}));
  return all;
}

Json constant(double v) { return {{"class_name", "Constant"}, {"config", {{"value", v}}}}; }

std::vector<float> output(const Model& model, const std::vector<Array>& x, std::size_t o = 0) {
  const Plan plan = make_plan(std::make_shared<Model>(model), {.dialect = Dialect::kBuiltin});
  Workspace w(plan);
  run(plan, w, x);
  const auto s = w.output(o).span<float>();
  return {s.begin(), s.end()};
}

std::string message(const std::string& json) {
  try {
    lower(read_keras_json(json, "m.json"));
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

void set(KerasModel& m, const std::string& name, const std::vector<float>& values) {
  for (KerasVariable& v : m.variables) {
    if (v.name == name) {
      v.value = Array::of<float>(v.value.shape(), values);
      return;
    }
  }
  FAIL() << "no variable " << name;
}

// Values without a pattern that a mistake could share.
std::vector<float> noise(std::size_t n, unsigned seed) {
  std::vector<float> v(n);
  for (std::size_t i = 0; i < n; ++i)
    v[i] = std::sin(static_cast<float>(i * 7 + seed * 13 + 1)) * 0.7f;
  return v;
}

TEST(KerasLower, DenseByHand) {
  const auto m = read_keras_json(
      sequential(Json::array({nullptr, 2}), {layer("Dense", {{"name", "d"},
                                                             {"units", 2},
                                                             {"activation", "relu"},
                                                             {"kernel_initializer", constant(0.5)},
                                                             {"bias_initializer", constant(-2)}})}),
      "m");
  EXPECT_FALSE(m.has_weights);
  ASSERT_EQ(m.variables.size(), 2u);
  EXPECT_EQ(m.variables[0].name, "d/kernel");
  const Model f = lower(m).model;
  ASSERT_EQ(f.main().ops.size(), 1u);  // the activation is fused
  EXPECT_EQ(output(f, {Array::of<float>({1, 2}, {1, 5})}), (std::vector<float>{1, 1}));
  EXPECT_EQ(output(f, {Array::of<float>({1, 2}, {1, 1})}), (std::vector<float>{0, 0}));
}

// k = 2 / sqrt(3.999 + 0.001) = 1, so y = relu((3 x + 1 - 0.5) * 1 + 0.25).
TEST(KerasLower, BatchNormalizationFoldsUnderAnActivation) {
  const auto m = read_keras_json(
      sequential(Json::array({nullptr, 1}),
                 {layer("Dense", {{"name", "d"},
                                  {"units", 1},
                                  {"kernel_initializer", constant(3)},
                                  {"bias_initializer", "ones"}}),
                  layer("BatchNormalization", {{"name", "bn"},
                                               {"gamma_initializer", constant(2)},
                                               {"beta_initializer", constant(0.25)},
                                               {"moving_mean_initializer", constant(0.5)},
                                               {"moving_variance_initializer", constant(3.999)}}),
                  layer("ReLU", {{"name", "r"}})}),
      "m");
  const Model f = lower(m).model;
  EXPECT_EQ(f.main().ops.size(), 1u);
  EXPECT_NEAR(output(f, {Array::of<float>({1, 1}, {2})})[0], 6.75f, 1e-5);
  EXPECT_EQ(output(f, {Array::of<float>({1, 1}, {-2})})[0], 0.0f);
}

TEST(KerasLower, TrainingKeepsOneConstantForEachVariable) {
  const auto m = read_keras_json(
      sequential_json({8, 8, 3}, {conv2d_json(4, 3), batch_norm_json(), activation_json("relu"),
                                  flatten_json(), dense_json(2, "softmax")}),
      "m");
  const Lowered l = lower(m, {.training = true, .batch = 5});
  ASSERT_EQ(l.parameters.size(), 8u);
  ASSERT_EQ(m.variables.size(), 8u);
  bool norm = false;
  for (const Op& op : l.model.main().ops) norm = norm || op.code == OpCode::kTrainBatchNorm;
  EXPECT_TRUE(norm);
  EXPECT_EQ(l.model.main().ops.back().code, OpCode::kSoftmax);
  EXPECT_EQ(l.model.main().tensors[static_cast<std::size_t>(l.model.main().inputs[0])].shape,
            (Shape{5, 8, 8, 3}));
  for (const Parameter& p : l.parameters) {
    const KerasVariable& v = m.variables[static_cast<std::size_t>(p.variable)];
    EXPECT_EQ(p.trainable, v.name.find("moving") == std::string::npos) << v.name;
  }
  const KerasModel back = with_trained(m, l, l.model);
  for (std::size_t i = 0; i < m.variables.size(); ++i) {
    const auto a = m.variables[i].value.span<float>(), b = back.variables[i].value.span<float>();
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << m.variables[i].name;
  }
}

// The graph of the file, with batch normalization directly behind the layer that would fold it, the
// activation on the normalization, and dropout.
TEST(KerasLower, NormsAreKeptForQuantizationAwareTraining) {
  const auto m = read_keras_json(
      sequential(Json::array({nullptr, 9, 3}),
                 {layer("Conv1D", {{"name", "c"}, {"filters", 4}, {"kernel_size", 3}}),
                  layer("BatchNormalization", {{"name", "bn"}}), layer("ReLU", {{"name", "r"}}),
                  layer("Dropout", {{"name", "d"}, {"rate", 0.5}}),
                  layer("BatchNormalization", {{"name", "alone"}})}),
      "m");
  const Lowered l = lower(m, {.keep_norms = true});
  std::vector<OpCode> codes;
  for (const Op& op : l.model.main().ops) codes.push_back(op.code);
  EXPECT_EQ(codes, (std::vector<OpCode>{OpCode::kReshape, OpCode::kConv2d, OpCode::kTrainBatchNorm,
                                        OpCode::kReshape, OpCode::kTrainDropout,
                                        OpCode::kTrainBatchNorm}));
  EXPECT_EQ(fused_activation(l.model.main().ops[1].attrs), Activation::kNone);
  EXPECT_EQ(fused_activation(l.model.main().ops[2].attrs), Activation::kRelu);
  ASSERT_EQ(l.parameters.size(), m.variables.size());
  for (const Parameter& p : l.parameters) {
    const KerasVariable& v = m.variables[static_cast<std::size_t>(p.variable)];
    EXPECT_EQ(p.trainable, v.name.find("moving") == std::string::npos) << v.name;
  }
}

// tf_keras's fused kernel divides the variance of inputs with 4 or 5 axes by n - 1; Keras 3 and
// layers that ask for the plain one divide by n.
TEST(KerasLower, VarianceIsUnbiasedWhereTfKerasFuses) {
  const auto unbiased = [](const char* input, Json shape, Json config) {
    config["name"] = "bn";
    Json list = Json::array({layer("InputLayer", {{input, shape}, {"name", "x"}})});
    list.push_back(layer("BatchNormalization", config));
    const Json j{{"class_name", "Sequential"}, {"config", {{"name", "m"}, {"layers", list}}}};
    const Lowered l = lower(read_keras_json(json_text(j), "m"), {.training = true});
    return std::get<BatchNormAttrs>(l.model.main().ops[0].attrs).unbiased;
  };
  const Json picture = Json::array({nullptr, 4, 4, 2}), row = Json::array({nullptr, 4});
  EXPECT_TRUE(unbiased("batch_input_shape", picture, Json::object()));
  EXPECT_FALSE(unbiased("batch_input_shape", row, Json::object()));
  EXPECT_FALSE(unbiased("batch_input_shape", picture, {{"fused", false}}));
  EXPECT_FALSE(unbiased("batch_shape", picture, Json::object()));
}

// tf_keras's way of writing connections; layer "d" is called twice.
TEST(KerasLower, SharedLayersHaveOneSetOfVariables) {
  const Json dense = {
      {"class_name", "Dense"},
      {"name", "d"},
      {"config", {{"name", "d"}, {"units", 1}, {"kernel_initializer", constant(2)}}},
      {"inbound_nodes", Json::array({Json::array({ref("a", 0)}), Json::array({ref("b", 0)})})}};
  const auto input = [](const char* name) {
    return Json{{"class_name", "InputLayer"},
                {"name", name},
                {"config", {{"name", name}, {"batch_input_shape", Json::array({nullptr, 1})}}},
                {"inbound_nodes", Json::array()}};
  };
  const Json sub = {{"class_name", "Subtract"},
                    {"name", "s"},
                    {"config", {{"name", "s"}}},
                    {"inbound_nodes", Json::array({Json::array({ref("d", 0), ref("d", 1)})})}};
  const Json model = {
      {"class_name", "Functional"},
      {"config",
       {{"name", "m"},
        {"layers", Json::array({input("a"), input("b"), sub, dense})},  // out of order
        {"input_layers", ends({"a", "b"})},
        {"output_layers", ends({"s"})}}}};
  const auto m = read_keras_json(json_text(model), "m");
  EXPECT_EQ(m.variables.size(), 2u);
  EXPECT_EQ(lower(m, {.training = true}).parameters.size(), 2u);
  const auto y =
      output(lower(m).model, {Array::of<float>({1, 1}, {5}), Array::of<float>({1, 1}, {2})});
  EXPECT_EQ(y[0], 6.0f);
}

// The formulas of LSTM, one number at a time.
TEST(KerasLower, LstmBySlowLoop) {
  constexpr int kTime = 3, kIn = 2, kUnits = 2;
  auto m = read_keras_json(sequential(Json::array({nullptr, kTime, kIn}),
                                      {layer("LSTM", {{"name", "l"}, {"units", kUnits}})}),
                           "m");
  const auto bias0 = m.variables.at(2).value.span<float>();
  EXPECT_EQ(bias0[0], 0.0f);  // unit_forget_bias
  EXPECT_EQ(bias0[kUnits], 1.0f);
  const auto w = noise(kIn * 4 * kUnits, 1), u = noise(kUnits * 4 * kUnits, 2),
             b = noise(4 * kUnits, 3);
  set(m, "l/kernel", w);
  set(m, "l/recurrent_kernel", u);
  set(m, "l/bias", b);
  const auto x = noise(kTime * kIn, 4);
  std::vector<double> h(kUnits, 0), c(kUnits, 0);
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  for (int t = 0; t < kTime; ++t) {
    std::vector<double> z(4 * kUnits);
    for (int g = 0; g < 4 * kUnits; ++g) {
      z[g] = b[g];
      for (int k = 0; k < kIn; ++k)
        z[g] += static_cast<double>(x[t * kIn + k]) * w[k * 4 * kUnits + g];
      for (int k = 0; k < kUnits; ++k) z[g] += h[k] * u[k * 4 * kUnits + g];
    }
    for (int k = 0; k < kUnits; ++k) {
      c[k] = sigmoid(z[kUnits + k]) * c[k] + sigmoid(z[k]) * std::tanh(z[2 * kUnits + k]);
      h[k] = sigmoid(z[3 * kUnits + k]) * std::tanh(c[k]);
    }
  }
  const auto y = output(lower(m).model, {Array::of<float>({1, kTime, kIn}, x)});
  for (int k = 0; k < kUnits; ++k) EXPECT_NEAR(y[k], h[k], 1e-6);
}

TEST(KerasLower, InitializersHaveTheirDistribution) {
  const auto kernel = [](const Json& init, int in, int out) {
    const auto m = read_keras_json(
        sequential(Json::array({nullptr, in}),
                   {layer("Dense", {{"name", "d"}, {"units", out}, {"kernel_initializer", init}})}),
        "m");
    const auto s = m.variables.at(0).value.span<float>();
    return std::vector<double>(s.begin(), s.end());
  };
  const auto deviation = [](const std::vector<double>& v) {
    double sum = 0;
    for (const double x : v) sum += x * x;
    return std::sqrt(sum / static_cast<double>(v.size()));
  };
  const auto glorot = kernel("glorot_uniform", 100, 200);
  EXPECT_LE(*std::max_element(glorot.begin(), glorot.end()), std::sqrt(6.0 / 300));
  EXPECT_NEAR(deviation(glorot), std::sqrt(2.0 / 300), 0.002);
  EXPECT_NEAR(deviation(kernel("he_normal", 100, 200)), std::sqrt(2.0 / 100), 0.004);
  EXPECT_NEAR(deviation(kernel("lecun_normal", 100, 200)), std::sqrt(1.0 / 100), 0.003);
  EXPECT_NEAR(deviation(kernel("random_normal", 100, 200)), 0.05, 0.002);
  const auto q = kernel("orthogonal", 4, 4);
  for (int r = 0; r < 4; ++r) {
    for (int s = 0; s < 4; ++s) {
      double dot = 0;
      for (int k = 0; k < 4; ++k) dot += q[r * 4 + k] * q[s * 4 + k];
      EXPECT_NEAR(dot, r == s ? 1 : 0, 1e-6);
    }
  }
  EXPECT_EQ(kernel("glorot_uniform", 3, 3), kernel("glorot_uniform", 3, 3));  // seeded
}

// ---- what is refused ----------------------------------------------------------------------------
TEST(KerasRead, AnUnknownLayerIsNamedWithItsPath) {
  const Json inner =
      parse_json(sequential(Json::array({nullptr, 2}), {layer("Fancy", {{"name", "f"}})}));
  const std::string text = message(sequential(Json::array({nullptr, 2}), {inner}));
  EXPECT_NE(text.find("m/f (Fancy)"), std::string::npos) << text;
  EXPECT_EQ(text.find('\n'), std::string::npos);
}

TEST(KerasRead, DamagedArchitecturesAreErrors) {
  EXPECT_NE(message(""), "");
  EXPECT_NE(message("[]"), "");
  EXPECT_NE(message("{\"class_name\": 3, \"config\": {}}"), "");
  EXPECT_NE(message(std::string(100000, '[')), "");
  EXPECT_NE(message(sequential(Json::array({nullptr, 2}), {layer("Dense", {{"units", "many"}})})),
            "");
  EXPECT_NE(message(sequential(Json::array({nullptr, 2}), {layer("Dense", {{"units", -3}})})), "");
  EXPECT_NE(message(sequential(Json::array({nullptr, 2}), {layer("Dense", {{"units", 1e30}})})),
            "");
  EXPECT_NE(message(sequential(Json::array({nullptr, nullptr}), {layer("Dense", {{"units", 2}})})),
            "");
  EXPECT_NE(message(sequential(Json::array({nullptr, 2}),
                               {layer("Conv2D", {{"filters", 2}, {"kernel_size", 3}})})),
            "");
  EXPECT_NE(message(sequential(Json::array({nullptr, 4, 4, 1}),
                               {layer("Conv2D", {{"filters", 2}, {"kernel_size", 9}})})),
            "");
}

TEST(KerasRead, ACycleIsAnError) {
  const auto add = [](const char* name, const char* from) {
    return Json{{"class_name", "ReLU"},
                {"name", name},
                {"config", {{"name", name}}},
                {"inbound_nodes", node(from)}};
  };
  const Json input = {{"class_name", "InputLayer"},
                      {"name", "x"},
                      {"config", {{"name", "x"}, {"batch_input_shape", Json::array({nullptr, 1})}}},
                      {"inbound_nodes", Json::array()}};
  const Json model = {{"class_name", "Functional"},
                      {"config",
                       {{"name", "m"},
                        {"layers", Json::array({input, add("a", "b"), add("b", "a")})},
                        {"input_layers", ends({"x"})},
                        {"output_layers", ends({"b"})}}}};
  EXPECT_NE(message(json_text(model)).find("cycle"), std::string::npos);
}

}  // namespace
}  // namespace litegap
