// The planner and the engine on models built by hand.
#include "run/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/random.h"
#include "run/prepare.h"
#include "run/setup.h"

namespace litegap {
namespace {

Quant per_tensor(float scale, std::int64_t zero) {
  Quant q;
  q.scale = {scale};
  q.zero_point = {zero};
  return q;
}

Tensor activation(std::string name, DType dtype, Shape shape, Quant quant = {}) {
  Tensor t;
  t.name = std::move(name);
  t.dtype = dtype;
  t.shape = std::move(shape);
  t.quant = std::move(quant);
  return t;
}

Tensor constant(std::string name, Array value, Quant quant = {}) {
  Tensor t = activation(std::move(name), value.dtype(), value.shape(), std::move(quant));
  t.constant = std::move(value);
  return t;
}

Op op(OpCode code, std::vector<int> in, std::vector<int> out, Attrs attrs = {}) {
  Op o;
  o.code = code;
  o.inputs = std::move(in);
  o.outputs = std::move(out);
  o.attrs = std::move(attrs);
  return o;
}

// int8: y = FULLY_CONNECTED(x[1,4], w[3,4], b[3]); z = RELU(y).
std::shared_ptr<Model> dense_int8() {
  auto m = std::make_shared<Model>();
  m->path = "dense";
  Random random(7);
  Array w = Array::zeros(DType::kInt8, {3, 4});
  for (auto& v : w.mutable_span<std::int8_t>())
    v = static_cast<std::int8_t>(static_cast<int>(random.below(255)) - 127);
  Graph g;
  g.tensors = {
      activation("x", DType::kInt8, {1, 4}, per_tensor(0.05f, -3)),
      constant("w", w, per_tensor(0.01f, 0)),
      constant("b", Array::of<std::int32_t>({3}, {100, -200, 300}), per_tensor(0.05f * 0.01f, 0)),
      activation("y", DType::kInt8, {1, 3}, per_tensor(0.08f, 4)),
      activation("z", DType::kInt8, {1, 3}, per_tensor(0.08f, 4))};
  g.inputs = {0};
  g.outputs = {4};
  g.ops = {op(OpCode::kFullyConnected, {0, 1, 2}, {3}, FullyConnectedAttrs{}),
           op(OpCode::kRelu, {3}, {4})};
  m->graphs = {g};
  return m;
}

std::vector<float> run_real(const ModelPtr& m, const Numerics& n, const std::vector<float>& x) {
  const Plan plan = make_plan(m, n);
  Workspace space(plan);
  Array in = Array::of<float>({1, 4}, x);
  if (plan.input_type(0) != DType::kFloat32 && n.arith == Arith::kInteger)
    in = quantize(in, plan.input_quant(0), plan.input_type(0));
  run(plan, space, std::vector<Array>{in});
  const Array out = dequantize(space.output(0), plan.output_quant(0));
  const auto v = out.span<float>();
  return {v.begin(), v.end()};
}

// The file says the shape of the result, or leaves it to whoever runs it.
TEST(PrepareTest, XnnpackChoosesByTheShapesOfTheFile) {
  for (const OpCode code : {OpCode::kConv2d, OpCode::kDepthwiseConv2d, OpCode::kResizeBilinear,
                            OpCode::kTransposeConv, OpCode::kAveragePool2d}) {
    Graph g;
    g.tensors = {activation("x", DType::kInt8, {1, 4, 4, 2}),
                 activation("y", DType::kInt8, {1, 4, 4, 2}), activation("open", DType::kInt8, {})};
    const std::vector<int> in =
        code == OpCode::kTransposeConv ? std::vector<int>{-1, -1, 0} : std::vector<int>{0};
    EXPECT_TRUE(xnn_takes_shapes(g, op(code, in, {1}))) << op_name(code);
    EXPECT_EQ(xnn_takes_shapes(g, op(code, in, {2})), code == OpCode::kAveragePool2d)
        << op_name(code);
  }
}

TEST(Plan, RealArithmeticIsTheFormula) {
  const auto m = dense_int8();
  const std::vector<float> x = {0.3f, -0.7f, 1.1f, 0.05f};
  const auto y = run_real(m, {.arith = Arith::kReal}, x);
  const auto w = m->main().tensors[1].constant->span<std::int8_t>();
  const std::vector<double> bias = {100, -200, 300};
  for (std::size_t o = 0; o < 3; ++o) {
    double sum = bias[o] * 0.05 * 0.01;
    for (std::size_t i = 0; i < 4; ++i) sum += static_cast<double>(x[i]) * 0.01 * w[o * 4 + i];
    EXPECT_NEAR(y[o], std::max(0.0, sum), 1e-5);
  }
}

TEST(Plan, FakeAndIntegerAgreeWithinOneStep) {
  const auto m = dense_int8();
  Random random(3);
  for (int k = 0; k < 50; ++k) {
    std::vector<float> x;
    for (int i = 0; i < 4; ++i) x.push_back(static_cast<float>(random.uniform(-6, 6)));
    const auto fake = run_real(m, {.arith = Arith::kFake}, x);
    for (const Dialect d : {Dialect::kReference, Dialect::kBuiltin, Dialect::kXnnpack}) {
      const auto integer = run_real(m, {.arith = Arith::kInteger, .dialect = d}, x);
      for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(fake[i], integer[i], 0.0801);
    }
  }
}

TEST(Plan, AnyMixOfArithmeticsRuns) {
  const auto m = dense_int8();
  const std::vector<float> x = {0.3f, -0.7f, 1.1f, 0.05f};
  const auto real = run_real(m, {.arith = Arith::kReal}, x);
  for (const Arith base : {Arith::kReal, Arith::kFake, Arith::kInteger}) {
    for (const Arith first : {Arith::kReal, Arith::kFake, Arith::kInteger}) {
      for (const Arith second : {Arith::kReal, Arith::kFake, Arith::kInteger}) {
        Numerics n{.arith = base};
        n.overrides = {{0, first}, {1, second}};
        const auto y = run_real(m, n, x);
        for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(y[i], real[i], 0.25);
      }
    }
  }
}

TEST(Plan, UnquantizedTensorIsNotRounded) {
  const auto m = dense_int8();
  const std::vector<float> x = {0.3f, -0.7f, 1.1f, 0.05f};
  const auto real = run_real(m, {.arith = Arith::kReal}, x);
  const auto free = run_real(m, {.arith = Arith::kFake, .unquantized = {0, 3, 4}}, x);
  EXPECT_EQ(free, real);
}

TEST(Plan, LookingDoesNotChangeTheResult) {
  const auto m = dense_int8();
  class Look : public Observer {
   public:
    void on_value(int, int, const Array&) override { ++values; }
    void on_accumulators(int, const Array& sums) override {
      accumulators += static_cast<int>(sums.elements());
    }
    bool wants_accumulators() const override { return true; }
    int values = 0, accumulators = 0;
  } look;
  const Plan plan = make_plan(m, {});
  Workspace a(plan), b(plan);
  const std::vector<Array> in = {Array::of<std::int8_t>({1, 4}, {5, -100, 127, 0})};
  run(plan, a, in);
  run(plan, b, in, &look);
  EXPECT_EQ(std::memcmp(a.output(0).data(), b.output(0).data(), 3), 0);
  EXPECT_EQ(look.values, 3);
  EXPECT_EQ(look.accumulators, 3);
}

std::string refusal(const ModelPtr& m, const Numerics& n = {}, const PlanOptions& o = {}) {
  try {
    make_plan(m, n, o);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Plan, RefusesByName) {
  auto unknown = dense_int8();
  unknown->main().ops[1].code = OpCode::kCustom;
  unknown->main().ops[1].custom_code = "MyOp";
  EXPECT_NE(refusal(unknown).find("MyOp is not supported yet"), std::string::npos)
      << refusal(unknown);
  auto cyclic = dense_int8();
  std::swap(cyclic->main().ops[0], cyclic->main().ops[1]);
  EXPECT_NE(refusal(cyclic).find("nothing has computed before it"), std::string::npos);
  EXPECT_NE(refusal(dense_int8(), {}, {.memory_limit = 1}).find("more than the limit"),
            std::string::npos);
  Numerics wrong;
  wrong.overrides = {{9, Arith::kReal}};
  EXPECT_NE(refusal(dense_int8(), wrong).find("no operator 9"), std::string::npos);
}

TEST(Plan, RefusesInputsOfAnotherTypeOrShape) {
  const Plan plan = make_plan(dense_int8(), {});
  Workspace w(plan);
  EXPECT_THROW(run(plan, w, std::vector<Array>{Array::zeros(DType::kUint8, {1, 4})}), Error);
  EXPECT_THROW(run(plan, w, std::vector<Array>{Array::zeros(DType::kInt8, {1, 5})}), Error);
  EXPECT_THROW(run(plan, w, std::vector<Array>{}), Error);
}

// Float, int8 and int8 weights: [1,40,40,4] -> 24 channels 3x3 -> depthwise 3x3 -> 7 classes.
std::shared_ptr<Model> image_model(DType type, DType weights) {
  auto m = std::make_shared<Model>();
  m->path = "image";
  Random random(11);
  const auto quant = [&](DType t, float scale) {
    return t == DType::kFloat32 ? Quant{} : per_tensor(scale, 0);
  };
  const auto bias = [&](std::int32_t channels, float scale) {
    const DType t = type == DType::kInt8 ? DType::kInt32 : DType::kFloat32;
    return constant("b", Array::zeros(t, {channels}), quant(type, scale / 127));
  };
  const auto values = [&](const Shape& shape) {
    Array a = Array::zeros(DType::kFloat32, shape);
    for (float& v : a.mutable_span<float>()) v = static_cast<float>(random.uniform() * 2 - 1);
    Quant q = quant(weights, 1.0f / 127);
    if (!q.empty() && shape.size() == 4 && shape[0] == 1) {  // depthwise: a scale per channel
      q.axis = 3;
      q.scale.resize(static_cast<std::size_t>(shape[3]), q.scale[0]);
      q.zero_point.resize(q.scale.size(), 0);
    }
    return constant("w", q.empty() ? a : quantize(a, q, weights), q);
  };
  Graph g;
  g.tensors = {activation("x", type, {1, 40, 40, 4}, quant(type, 0.02f)),
               values({24, 3, 3, 4}),
               activation("conv", type, {1, 40, 40, 24}, quant(type, 0.05f)),
               values({1, 3, 3, 24}),
               activation("depthwise", type, {1, 20, 20, 24}, quant(type, 0.05f)),
               values({70, 20 * 20 * 24}),
               activation("classes", type, {1, 70}, quant(type, 0.5f)),
               bias(24, 0.02f),
               bias(24, 0.05f),
               bias(70, 0.05f)};
  g.inputs = {0};
  g.outputs = {2, 4, 6};
  DepthwiseAttrs depthwise;
  depthwise.stride_w = depthwise.stride_h = 2;
  g.ops = {op(OpCode::kConv2d, {0, 1, 7}, {2}, ConvAttrs{}),
           op(OpCode::kDepthwiseConv2d, {2, 3, 8}, {4}, depthwise),
           op(OpCode::kFullyConnected, {4, 5, 9}, {6}, FullyConnectedAttrs{})};
  m->graphs = {g};
  return m;
}

TEST(Plan, ThreadsThatShareASampleGiveTheSame) {
  for (const auto& [type, weights] :
       {std::pair{DType::kFloat32, DType::kFloat32}, std::pair{DType::kInt8, DType::kInt8},
        std::pair{DType::kFloat32, DType::kInt8}}) {
    const Plan plan = make_plan(image_model(type, weights), {});
    Random random(3);
    Array x = Array::zeros(DType::kFloat32, {1, 40, 40, 4});
    for (float& v : x.mutable_span<float>()) v = static_cast<float>(random.uniform() * 2 - 1);
    Workspace alone(plan), shared(plan, 3);
    run(plan, alone, std::vector<Array>{x});
    for (int again = 0; again < 20; ++again) {
      run(plan, shared, std::vector<Array>{x});
      for (std::size_t i = 0; i < plan.output_count(); ++i) {
        ASSERT_TRUE(std::ranges::equal(alone.output(i).bytes(), shared.output(i).bytes()))
            << dtype_name(type) << " by " << dtype_name(weights) << ", output " << i;
      }
    }
  }
}

TEST(Predict, SameForAnyNumberOfThreads) {
  litegap::Setup setup;
  setup.model = dense_int8();
  Dataset data;
  data.count = 333;
  Array x = Array::zeros(DType::kFloat32, {333, 4});
  Random random(5);
  for (float& v : x.mutable_span<float>()) v = static_cast<float>(random.uniform(-6, 6));
  data.inputs = {x};
  data.names = {"x"};
  const Predictions one = predict(setup, data, {.threads = 1}),
                    four = predict(setup, data, {.threads = 4});
  EXPECT_EQ(std::memcmp(one.outputs[0].data(), four.outputs[0].data(), one.outputs[0].byte_size()),
            0);
  class Sum : public BlockObserver {
   public:
    void on_value(int, int, const Array& v) override {
      for (const auto c : v.span<std::int8_t>()) sum += 0.1 * c;
    }
    double sum = 0;
  };
  const auto total = [&](int threads) {
    double sum = 0;
    observe(
        setup, data, {.threads = threads}, [](std::size_t) { return std::make_unique<Sum>(); },
        [&](BlockObserver& b) { sum += static_cast<Sum&>(b).sum; });
    return sum;
  };
  EXPECT_EQ(total(1), total(3));
}

}  // namespace
}  // namespace litegap
