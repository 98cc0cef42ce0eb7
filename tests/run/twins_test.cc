// Two plans in turns give the errors of two runs one after the other.
#include "run/twins.h"

#include <gtest/gtest.h>

#include <tuple>

#include "oracle/graph_check.h"

namespace litegap::oracle {
namespace {

class Clones final : public Observer {
 public:
  explicit Clones(std::size_t tensors) : at(tensors) {}
  void on_value(int, int tensor, const Array& value) override {
    at[static_cast<std::size_t>(tensor)] = value.clone();
  }
  std::vector<Array> at;
};

std::vector<Array> values_of(const Plan& plan, const std::vector<Array>& inputs) {
  Workspace space(plan);
  Clones clones(plan.model().main().tensors.size());
  run(plan, space, inputs, &clones);
  return clones.at;
}

// Nobody, or any tensor of as many values: before it, behind it, itself.
std::vector<int> any_twins(Draw& draw, const Graph& g) {
  std::vector<int> twins;
  const int n = static_cast<int>(g.tensors.size());
  for (int t = 0; t < n; ++t) {
    int twin = -1;
    for (int tries = 0; tries < 8 && twin < 0; ++tries) {
      const int other = draw.in(0, n - 1);
      if (shape_elements(g.tensors[static_cast<std::size_t>(other)].shape) ==
          shape_elements(g.tensors[static_cast<std::size_t>(t)].shape))
        twin = other;
    }
    twins.push_back(twin);
  }
  return twins;
}

// How many tensors were compared; -1 where they do not agree.
int agreeing(const ModelPtr& model, const std::vector<Array>& inputs, std::vector<int> twins) {
  const Graph& g = model->main();
  const Plan exact = make_plan(model, {.arith = Arith::kReal}), plan = make_plan(model, {});
  const auto a = values_of(exact, inputs), b = values_of(plan, inputs);
  Twins both(exact, plan, twins);
  both.run(inputs, inputs);
  int compared = 0;
  for (std::size_t t = 0; t < g.tensors.size(); ++t) {
    const int twin = twins.empty() ? static_cast<int>(t) : twins[t];
    TwinErrors want;
    if (twin >= 0 && !a[static_cast<std::size_t>(twin)].empty() && !b[t].empty())
      compare_twin(a[static_cast<std::size_t>(twin)], b[t], g.tensors[t].quant, want);
    const TwinErrors& found = both.errors[t];
    const auto all = [](const TwinErrors& e) {
      return std::tie(e.signal, e.bias, e.error, e.largest, e.count);
    };
    const bool numbers = want.error == want.error && want.signal == want.signal;
    if (numbers ? all(found) != all(want) : found.count != want.count) return -1;
    compared += want.count > 0 ? 1 : 0;
  }
  return compared;
}

TEST(TwinsTest, ErrorsAreThoseOfRunsOneAfterTheOther) {
  int compared = 0;
  for (int seed = 0; seed < 300; ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    Sketch s = sketch_graph(draw, 3 + seed % 12, Dialect::kXnnpack);
    if (s.ops() == 0) continue;
    const ModelPtr model = s.model();
    for (const bool same : {true, false}) {
      const auto twins = same ? std::vector<int>{} : any_twins(draw, model->main());
      try {
        const int n = agreeing(model, s.inputs(), twins);
        ASSERT_GE(n, 0) << "seed " << seed << (same ? "" : ", any twins");
        compared += n;
      } catch (const Error&) {  // not in real numbers
      }
    }
  }
  EXPECT_GT(compared, 500);
}

// in -> NEG -> doubled, three times -> out; the twin of the last is the first.
TEST(TwinsTest, AValueThatWasGonePastIsCopied) {
  Model m;
  m.path = "chain";
  Graph g;
  g.tensors.resize(5);
  for (Tensor& t : g.tensors) t.shape = {1, 2};
  g.inputs = {0};
  g.outputs = {4};
  g.ops.resize(4);
  for (int i = 0; i < 4; ++i) {
    auto& op = g.ops[static_cast<std::size_t>(i)];
    op.code = i == 0 ? OpCode::kNeg : OpCode::kAdd;
    op.inputs = {i};
    if (i > 0) {
      op.inputs.push_back(i);
      op.attrs = AddAttrs{};
    }
    op.outputs = {i + 1};
  }
  m.graphs = {std::move(g)};
  const auto model = std::make_shared<Model>(std::move(m));
  const Plan plan = make_plan(model, {});
  Twins both(plan, plan, {-1, 4, -1, -1, 1});
  const std::vector<Array> in{Array::of<float>({1, 2}, {1, -2})};
  both.run(in, in);
  EXPECT_EQ(both.errors[1].signal, 64 + 256);        // -8, 16
  EXPECT_EQ(both.errors[1].error, 7 * 7 + 14 * 14);  // found -1, 2
  EXPECT_EQ(both.errors[4].signal, 1 + 4);
  EXPECT_EQ(both.errors[4].error, 7 * 7 + 14 * 14);
  EXPECT_EQ(both.errors[2].count, 0u);
}

// A graph that is walked has no steps to take in turns: all of one, then all of the other.
TEST(TwinsTest, OfAGraphThatIsWalked) {
  Model m;
  m.path = "if";
  const auto tensor = [](DType type) {
    Tensor t;
    t.dtype = type;
    t.shape = {1};
    return t;
  };
  Graph g, twice;
  g.tensors = {tensor(DType::kBool), tensor(DType::kFloat32), tensor(DType::kFloat32)};
  g.inputs = {0, 1};
  g.outputs = {2};
  g.ops.resize(1);
  g.ops[0].code = OpCode::kIf;
  g.ops[0].attrs = IfAttrs{1, 2};
  g.ops[0].inputs = {0, 1};
  g.ops[0].outputs = {2};
  twice.tensors = {tensor(DType::kFloat32), tensor(DType::kFloat32)};
  twice.inputs = {0};
  twice.outputs = {1};
  twice.ops.resize(1);
  twice.ops[0].code = OpCode::kAdd;
  twice.ops[0].attrs = AddAttrs{};
  twice.ops[0].inputs = {0, 0};
  twice.ops[0].outputs = {1};
  m.graphs = {g, twice, twice};
  const Plan plan = make_plan(std::make_shared<Model>(std::move(m)), {});
  ASSERT_TRUE(plan.walked());
  Twins both(plan, plan);
  const auto given = [](float a) {
    return std::vector<Array>{Array::of<bool>({1}, {true}), Array::of<float>({1}, {a})};
  };
  both.run(given(3), given(4));
  EXPECT_EQ(both.errors[1].error, 1);
  EXPECT_EQ(both.errors[2].signal, 36);
  EXPECT_EQ(both.errors[2].error, 4);
  EXPECT_EQ(both.exact_values()[2].span<float>()[0], 6);
}

}  // namespace
}  // namespace litegap::oracle
