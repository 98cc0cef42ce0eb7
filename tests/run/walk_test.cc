// Graphs whose shapes or control flow depend on the data.  Expected values are what the operators
// mean, computed by hand.
#include <gtest/gtest.h>

#include "base/error.h"
#include "run/plan.h"

namespace litegap {
namespace {

Tensor tensor(const std::string& name, DType type, Shape shape) {
  Tensor t;
  t.name = name;
  t.dtype = type;
  t.shape = std::move(shape);
  return t;
}

Op op(OpCode code, Attrs attrs, std::vector<int> inputs, std::vector<int> outputs) {
  Op o;
  o.code = code;
  o.attrs = std::move(attrs);
  o.inputs = std::move(inputs);
  o.outputs = std::move(outputs);
  return o;
}

Tensor number(const std::string& name, float value) {
  Tensor t = tensor(name, DType::kFloat32, {1});
  t.constant = Array::of<float>({1}, {value});
  return t;
}

// y = a + constant, one value.
Graph plus(float value) {
  Graph g;
  g.tensors = {tensor("a", DType::kFloat32, {1}), number("b", value),
               tensor("y", DType::kFloat32, {1})};
  g.inputs = {0};
  g.outputs = {2};
  g.ops = {op(OpCode::kAdd, AddAttrs{}, {0, 1}, {2})};
  return g;
}

float run_one(const Model& model, const std::vector<Array>& inputs) {
  const Plan plan = make_plan(std::make_shared<Model>(model), {});
  EXPECT_TRUE(plan.walked());
  Workspace w(plan);
  run(plan, w, inputs);
  return w.output(0).span<float>()[0];
}

TEST(Walk, IfTakesOneBranch) {
  Model m;
  m.path = "if";
  Graph g;
  g.tensors = {tensor("c", DType::kBool, {1}), tensor("a", DType::kFloat32, {1}),
               tensor("y", DType::kFloat32, {1})};
  g.inputs = {0, 1};
  g.outputs = {2};
  g.ops = {op(OpCode::kIf, IfAttrs{1, 2}, {0, 1}, {2})};
  m.graphs = {g, plus(10), plus(-10)};
  EXPECT_EQ(run_one(m, {Array::of<bool>({1}, {true}), Array::of<float>({1}, {3})}), 13);
  EXPECT_EQ(run_one(m, {Array::of<bool>({1}, {false}), Array::of<float>({1}, {3})}), -7);
}

// while (a < 100) a += 7
Model counting(float step) {
  Model m;
  m.path = "while";
  Graph g;
  g.tensors = {tensor("a", DType::kFloat32, {1}), tensor("y", DType::kFloat32, {1})};
  g.inputs = {0};
  g.outputs = {1};
  g.ops = {op(OpCode::kWhile, WhileAttrs{1, 2}, {0}, {1})};
  Graph condition;
  condition.tensors = {tensor("a", DType::kFloat32, {1}), number("limit", 100),
                       tensor("less", DType::kBool, {1})};
  condition.inputs = {0};
  condition.outputs = {2};
  condition.ops = {op(OpCode::kLess, NoAttrs{}, {0, 1}, {2})};
  m.graphs = {g, condition, plus(step)};
  return m;
}

TEST(Walk, WhileCounts) {
  EXPECT_EQ(run_one(counting(7), {Array::of<float>({1}, {1})}), 106);
  EXPECT_EQ(run_one(counting(7), {Array::of<float>({1}, {200})}), 200);
}

TEST(Walk, AnEndlessWhileIsAnError) {
  EXPECT_THROW(run_one(counting(0), {Array::of<float>({1}, {1})}), Error);
}

TEST(Walk, AGraphThatCallsItselfIsAnError) {
  Model m = counting(1);
  m.graphs[2] = m.graphs[0];  // the body is the loop itself
  m.graphs[2].ops[0].attrs = WhileAttrs{1, 2};
  EXPECT_THROW(run_one(m, {Array::of<float>({1}, {1})}), Error);
}

TEST(Walk, AShapeThatIsComputed) {
  Model m;
  m.path = "reshape";
  Graph g;
  g.tensors = {tensor("a", DType::kFloat32, {6}), tensor("shape", DType::kInt32, {2}),
               tensor("y", DType::kFloat32, {1})};
  g.inputs = {0, 1};
  g.outputs = {2};
  g.ops = {op(OpCode::kReshape, NoAttrs{}, {0, 1}, {2})};
  m.graphs = {g};
  const Plan plan = make_plan(std::make_shared<Model>(m), {});
  Workspace w(plan);
  const Array a = Array::of<float>({6}, {1, 2, 3, 4, 5, 6});
  for (const auto& shape : {std::vector<std::int32_t>{2, 3}, {3, 2}, {2, 3}}) {
    run(plan, w, std::vector<Array>{a, Array::of<std::int32_t>({2}, shape)});
    EXPECT_EQ(w.output(0).shape(), Shape(shape));
    EXPECT_EQ(w.output(0).span<float>()[5], 6);
  }
  EXPECT_THROW(run(plan, w, std::vector<Array>{a, Array::of<std::int32_t>({2}, {4, 2})}), Error);
  // A run that was refused leaves nothing behind.
  run(plan, w, std::vector<Array>{a, Array::of<std::int32_t>({2}, {2, 3})});
  EXPECT_EQ(w.output(0).shape(), (Shape{2, 3}));
  EXPECT_EQ(w.output(0).span<float>()[5], 6);
}

TEST(Walk, ResourcesLiveFromRunToRunAndAreNotReset) {
  Model m;
  m.path = "resource";
  Graph g;  // CALL_ONCE; y = read + a; assign y
  g.tensors = {tensor("a", DType::kFloat32, {1}), tensor("handle", DType::kResource, {}),
               tensor("old", DType::kFloat32, {1}), tensor("y", DType::kFloat32, {1})};
  g.inputs = {0};
  g.outputs = {3};
  g.ops = {op(OpCode::kCallOnce, CallOnceAttrs{1}, {}, {}),
           op(OpCode::kVarHandle, VarHandleAttrs{"", "sum"}, {}, {1}),
           op(OpCode::kReadVariable, NoAttrs{}, {1}, {2}),
           op(OpCode::kAdd, AddAttrs{}, {2, 0}, {3}),
           op(OpCode::kAssignVariable, NoAttrs{}, {1, 3}, {})};
  Graph first;
  first.tensors = {tensor("handle", DType::kResource, {}), number("start", 100)};
  first.ops = {op(OpCode::kVarHandle, VarHandleAttrs{"", "sum"}, {}, {0}),
               op(OpCode::kAssignVariable, NoAttrs{}, {0, 1}, {})};
  m.graphs = {g, first};
  const Plan plan = make_plan(std::make_shared<Model>(m), {});
  Workspace w(plan);
  run(plan, w, std::vector<Array>{Array::of<float>({1}, {1})});
  EXPECT_EQ(w.output(0).span<float>()[0], 101);
  w.reset();
  run(plan, w, std::vector<Array>{Array::of<float>({1}, {5})});
  EXPECT_EQ(w.output(0).span<float>()[0], 106);
}

TEST(Walk, GraphNumbersOutOfRangeAreRefusedWhenPlanning) {
  Model m = counting(1);
  m.graphs[0].ops[0].attrs = WhileAttrs{1, 9};
  EXPECT_THROW(make_plan(std::make_shared<Model>(m), {}), Error);
}

}  // namespace
}  // namespace litegap
