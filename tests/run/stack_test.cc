// Stacked plans: the bits of a sample do not depend on its neighbours.
#include "run/stack.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/parallel.h"
#include "base/random.h"
#include "oracle/stacked.h"
#include "run/setup.h"

namespace litegap {
namespace {

// A chain of operators chosen by the seed, of one element type.
class Chain {
 public:
  explicit Chain(std::uint64_t seed) : random_(seed) {
    static constexpr DType kTypes[] = {DType::kFloat32, DType::kInt8, DType::kUint8, DType::kInt16};
    type_ = kTypes[random_.below(4)];
    model_.path = "chain " + std::to_string(seed);
    model_.graphs.emplace_back();
    const auto side = [&] { return static_cast<std::int32_t>(1 + random_.below(8)); };
    const std::int32_t batch = random_.below(4) == 0 ? 2 : 1;
    last_ = activation({batch, side(), side(), side()});
    graph().inputs = {last_};
    const std::size_t ops = 1 + random_.below(5);
    for (std::size_t i = 0; i < ops; ++i) add();
    graph().outputs = {last_};
  }
  std::shared_ptr<Model> model() const { return std::make_shared<Model>(model_); }

  Array sample() {
    Array a = Array::zeros(type_, graph().tensors[0].shape);
    if (type_ == DType::kFloat32) {
      for (float& v : a.mutable_span<float>()) v = static_cast<float>(random_.uniform(-3, 3));
    } else {
      for (std::size_t i = 0; i < a.byte_size(); ++i)
        a.mutable_data()[i] = static_cast<std::byte>(random_.below(256));
    }
    return a;
  }

 private:
  Graph& graph() { return model_.main(); }
  Shape shape() { return graph().tensors[static_cast<std::size_t>(last_)].shape; }
  Quant quant(DType type) {
    Quant q;
    if (type == DType::kFloat32) return q;
    q.scale = {static_cast<float>(random_.uniform(0.01, 0.2))};
    q.zero_point = {type == DType::kUint8  ? 100 + static_cast<std::int64_t>(random_.below(50))
                    : type == DType::kInt8 ? static_cast<std::int64_t>(random_.below(40)) - 20
                                           : 0};
    return q;
  }
  int add_tensor(Tensor t) {
    graph().tensors.push_back(std::move(t));
    return static_cast<int>(graph().tensors.size()) - 1;
  }
  int activation(Shape s, DType type) {
    Tensor t;
    t.name = "t" + std::to_string(graph().tensors.size());
    t.dtype = type;
    t.shape = std::move(s);
    t.quant = quant(type);
    return add_tensor(std::move(t));
  }
  int activation(Shape s) { return activation(std::move(s), type_); }
  int integers(const std::vector<std::int32_t>& values, Shape s) {
    Tensor t;
    t.name = "constant";
    t.dtype = DType::kInt32;
    t.shape = s;
    t.constant = Array::of<std::int32_t>(std::move(s), values);
    return add_tensor(std::move(t));
  }
  // A constant like an activation, or int8 weights of an int16 one.
  int constant(Shape s, bool weights) {
    Tensor t;
    t.name = "weights";
    t.dtype = weights && type_ == DType::kInt16 ? DType::kInt8 : type_;
    t.shape = s;
    t.quant = quant(t.dtype);
    if (weights && t.dtype == DType::kInt8) t.quant.zero_point = {0};
    Array a = Array::zeros(t.dtype, s);
    if (t.dtype == DType::kFloat32) {
      for (float& v : a.mutable_span<float>()) v = static_cast<float>(random_.uniform(-1, 1));
    } else {
      for (std::size_t i = 0; i < a.byte_size(); ++i)
        a.mutable_data()[i] = static_cast<std::byte>(random_.below(255) + 129);
    }
    t.constant = std::move(a);
    return add_tensor(std::move(t));
  }
  void push(OpCode code, std::vector<int> inputs, int output, Attrs attrs = {}) {
    Op op;
    op.code = code;
    op.inputs = std::move(inputs);
    op.outputs = {output};
    op.attrs = std::move(attrs);
    graph().ops.push_back(std::move(op));
    last_ = output;
  }

  void add() {
    const Shape s = shape();
    if (s.size() == 4 && random_.below(2) == 0) return add_image_op(s);
    switch (random_.below(10)) {
      case 0:
        return push(OpCode::kRelu, {last_}, activation(s));
      case 1:
        return push(OpCode::kAdd, {last_, last_}, activation(s), AddAttrs{});
      case 2:
        return push(OpCode::kMul, {last_, constant({s.back()}, false)}, activation(s),
                    ActivationAttrs{});
      case 3:
        return push(OpCode::kSub, {constant(s, false), last_}, activation(s), AddAttrs{});
      case 4: {
        const auto n = static_cast<std::int32_t>(shape_elements(s));
        return push(OpCode::kReshape, {last_, integers({s[0], n / s[0]}, {2})},
                    activation({s[0], n / s[0]}), ReshapeAttrs{});
      }
      case 5: {  // over any one axis, the first too
        const auto axis = static_cast<std::int32_t>(random_.below(s.size()));
        Shape out = s;
        out[static_cast<std::size_t>(axis)] = 1;
        return push(OpCode::kMean, {last_, integers({axis}, {1})}, activation(out),
                    ReducerAttrs{.keep_dims = true});
      }
      case 6: {
        const auto axis = static_cast<std::int32_t>(random_.below(s.size()));
        Shape out = s;
        out[static_cast<std::size_t>(axis)] *= 2;
        return push(OpCode::kConcatenation, {last_, last_}, activation(out),
                    ConcatAttrs{.axis = axis});
      }
      case 7: {
        const std::int32_t k = s.back(), o = static_cast<std::int32_t>(1 + random_.below(20));
        Shape out = s;
        out.back() = o;
        return push(OpCode::kFullyConnected, {last_, constant({o, k}, true), -1}, activation(out),
                    FullyConnectedAttrs{.keep_num_dims = true});
      }
      case 8:
        return push(OpCode::kQuantize, {last_},
                    activation(s, type_ == DType::kFloat32 ? DType::kInt8 : type_)),
               settle();
      default:
        return push(OpCode::kLogistic, {last_}, activation(s));
    }
  }
  // What follows works on floats again.
  void settle() {
    if (type_ == DType::kFloat32) push(OpCode::kDequantize, {last_}, activation(shape()));
  }
  void add_image_op(const Shape& s) {
    const auto k = static_cast<std::int32_t>(1 + random_.below(3));
    switch (random_.below(4)) {
      case 0: {
        const std::int32_t o = static_cast<std::int32_t>(1 + random_.below(20));
        return push(OpCode::kConv2d, {last_, constant({o, k, k, s[3]}, true), -1},
                    activation({s[0], s[1], s[2], o}), ConvAttrs{.padding = Padding::kSame});
      }
      case 1:
        return push(OpCode::kDepthwiseConv2d, {last_, constant({1, k, k, s[3]}, true), -1},
                    activation(s), DepthwiseAttrs{.padding = Padding::kSame});
      case 2: {
        const int out = activation(s);
        graph().tensors[static_cast<std::size_t>(out)].quant =
            graph().tensors[static_cast<std::size_t>(last_)].quant;
        return push(OpCode::kAveragePool2d, {last_}, out, PoolAttrs{.filter_w = k, .filter_h = k});
      }
      default: {
        const bool rows = random_.below(4) == 0;
        Shape out = s;
        out[rows ? 0 : 1] += k;
        const int padding = integers({rows ? k : 0, 0, rows ? 0 : k, 0, 0, 0, 0, 0}, {4, 2});
        return push(OpCode::kPad, {last_, padding}, activation(out));
      }
    }
  }

  Random random_;
  DType type_;
  Model model_;
  int last_ = 0;
};

TEST(StackTest, RandomGraphsHaveTheBitsOfSingleRuns) {
  const bool light = std::getenv("LITEGAP_TEST_LIGHT") != nullptr;
  int ran = 0, stacked = 0;
  for (std::uint64_t seed = 0; seed < (light ? 40u : 400u); ++seed) {
    Chain chain(seed);
    const ModelPtr model = chain.model();
    std::vector<std::vector<Array>> samples;
    for (int s = 0; s < 8; ++s) samples.push_back({chain.sample()});
    for (const Dialect dialect : {Dialect::kReference, Dialect::kBuiltin, Dialect::kXnnpack}) {
      for (const Arith arith : {Arith::kInteger, Arith::kReal, Arith::kFake}) {
        try {
          std::size_t taken = 0;
          ASSERT_EQ(
              stacking_difference(model, {.arith = arith, .dialect = dialect}, {}, samples, &taken),
              "")
              << model->path << ", " << dialect_name(dialect) << ", " << arith_name(arith);
          ++ran;
          stacked += taken > 1 ? 1 : 0;
        } catch (const Error&) {  // a graph that is refused
        }
      }
    }
  }
  EXPECT_GT(ran, light ? 100 : 1000);
  EXPECT_EQ(stacked, ran);
}

Model relu_of(Shape shape) {
  Model m;
  m.path = "relu";
  Graph g;
  g.tensors.resize(2);
  g.tensors[0].shape = g.tensors[1].shape = std::move(shape);
  g.inputs = {0};
  g.outputs = {1};
  g.ops.resize(1);
  g.ops[0].code = OpCode::kRelu;
  g.ops[0].inputs = {0};
  g.ops[0].outputs = {1};
  m.graphs = {std::move(g)};
  return m;
}

TEST(StackTest, ActivationsThatWouldNotFitAreTakenInFewerSamples) {
  PlanOptions options;
  options.samples = 64;
  const auto model = std::make_shared<Model>(relu_of({1, 1000}));
  EXPECT_EQ(make_plan(model, {}, options).samples(), 32u);  // 2 values of 4 KiB, 256 KiB in all
  options.stack_bytes = 1;
  EXPECT_EQ(make_plan(model, {}, options).samples(), 1u);
}

TEST(StackTest, ARunTakesFewerSamplesThanThePlan) {
  PlanOptions options;
  options.samples = 4;
  const Plan plan = make_plan(std::make_shared<Model>(relu_of({1, 2})), {}, options);
  Workspace space(plan);
  run(plan, space, std::vector<Array>{Array::of<float>({3, 1, 2}, {-1, 1, 2, -2, 3, 4})});
  const auto out = space.output(0).span<float>();
  EXPECT_EQ(space.output(0).shape(), (Shape{4, 1, 2}));
  EXPECT_EQ(std::vector<float>(out.begin(), out.begin() + 6),
            (std::vector<float>{0, 1, 2, 0, 3, 4}));
}

TEST(StackTest, RowsInAnyOrderGetTheirOwnAnswersFromAllThreads) {
  struct Setup setup;
  setup.model = std::make_shared<Model>(relu_of({1, 1}));
  std::vector<float> x(100);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) - 10;
  const Dataset data = make_dataset({Array::of<float>({100, 1}, x)});
  PredictOptions options;
  for (std::size_t i = 0; i < 70; ++i) options.rows.push_back((i * 37) % 100);
  const Predictions p = predict(setup, data, options);
  ASSERT_EQ(p.count, 70u);
  for (std::size_t i = 0; i < 70; ++i)
    EXPECT_EQ(p.outputs[0].span<float>()[i], std::max(0.0f, x[options.rows[i]]));
}

TEST(StackTest, ThreadsOfAPredictorWriteTheRowsTheyAreAskedFor) {
  struct Setup setup;
  setup.model = std::make_shared<Model>(relu_of({1, 2}));
  setup.output_map = {{}, 2, 1};
  std::vector<float> x(200);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) - 50;
  const Dataset data = make_dataset({Array::of<float>({100, 2}, x)});
  Predictor predictor(setup, data, 100);
  predictor.workers(3);
  for (const int threads : {1, 3}) {
    Predictions all = predictor.room(100);
    std::fill_n(all.outputs[0].mutable_span<float>().begin(), 200, -1.0f);
    for_each_block(90, 7, threads, [&](std::size_t, std::size_t begin, std::size_t end, int w) {
      std::vector<std::size_t> rows;
      for (std::size_t i = begin; i < end; ++i) rows.push_back(99 - i);
      predictor.run_part(w, rows, all, begin);
    });
    const auto out = all.outputs[0].span<float>();
    for (std::size_t i = 0; i < 90; ++i) {
      for (std::size_t c = 0; c < 2; ++c)
        ASSERT_EQ(out[2 * i + c], 2 * std::max(0.0f, x[2 * (99 - i) + c]) + 1) << i;
    }
    for (std::size_t i = 180; i < 200; ++i) ASSERT_EQ(out[i], -1.0f);  // nobody asked for them
  }
}

TEST(StackTest, InputsFilledInPlaceAreThoseGiven) {
  PlanOptions options;
  options.samples = 4;
  const auto model = std::make_shared<Model>(relu_of({1, 2}));
  const Plan plan = make_plan(model, {}, options);
  Workspace space(plan);
  const std::vector<float> x = {-1, 1, 2, -2, 3, 4};
  ASSERT_EQ(space.input_room(0).size(), 4 * 2 * sizeof(float));
  std::memcpy(space.input_room(0).data(), x.data(), x.size() * sizeof(float));
  run_filled(plan, space, 3);
  const auto out = space.output(0).span<float>();
  EXPECT_EQ(std::vector<float>(out.begin(), out.begin() + 6),
            (std::vector<float>{0, 1, 2, 0, 3, 4}));
}

}  // namespace
}  // namespace litegap
