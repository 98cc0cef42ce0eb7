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

TEST(Walk, CaseTakesTheLastBranchForWhatItDoesNotKnow) {
  Model m;
  m.path = "case";
  Graph g;
  g.tensors = {tensor("i", DType::kInt32, {1}), tensor("a", DType::kFloat32, {1}),
               tensor("y", DType::kFloat32, {1})};
  g.inputs = {0, 1};
  g.outputs = {2};
  g.ops = {op(OpCode::kStablehloCase, CaseAttrs{{1, 2, 3}}, {0, 1}, {2})};
  m.graphs = {g, plus(10), plus(20), plus(30)};
  const std::pair<int, float> expected[] = {{0, 11}, {1, 21}, {2, 31}, {3, 31}, {-1, 31}};
  for (const auto& [choice, y] : expected) {
    EXPECT_EQ(run_one(m, {Array::of<std::int32_t>({1}, {choice}), Array::of<float>({1}, {1})}), y);
  }
}

// n values, negated eight times on the way to an IF that hands them on.
Model chain(std::int32_t n) {
  Model m;
  m.path = "chain";
  Graph g;
  g.tensors = {tensor("c", DType::kBool, {1}), tensor("a", DType::kFloat32, {n})};
  for (int i = 0; i < 8; ++i) {
    g.tensors.push_back(tensor("n", DType::kFloat32, {n}));
    g.ops.push_back(op(OpCode::kNeg, NoAttrs{}, {i + 1}, {i + 2}));
  }
  g.tensors.push_back(tensor("y", DType::kFloat32, {n}));
  g.ops.push_back(op(OpCode::kIf, IfAttrs{1, 1}, {0, 9}, {10}));
  g.inputs = {0, 1};
  g.outputs = {10};
  Graph same;
  same.tensors = {tensor("a", DType::kFloat32, {n})};
  same.inputs = same.outputs = {0};
  m.graphs = {g, same};
  return m;
}

// 4000 bytes each: never more than two at a time, ten altogether.
TEST(Walk, TheMemoryLimitIsOnWhatLivesAtOneTime) {
  const auto model = std::make_shared<Model>(chain(1000));
  const std::vector<Array> inputs{Array::of<bool>({1}, {true}),
                                  Array::of<float>({1000}, std::vector<float>(1000, 3.0f))};
  const Plan wide = make_plan(model, {}, {.memory_limit = 8001});
  Workspace w(wide);
  for (int i = 0; i < 3; ++i) {  // a run gives back all that it took
    run(wide, w, inputs);
    EXPECT_EQ(w.output(0).span<float>()[999], 3.0f);
  }
  const Plan narrow = make_plan(model, {}, {.memory_limit = 8000});
  Workspace n(narrow);
  try {
    run(narrow, n, inputs);
    FAIL() << "8001 bytes in 8000";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("needs 4000 bytes beside 4001 in use"), std::string::npos)
        << e.what();
  }
}

// Float input, int8 weights: the dialects code the input in other ways.
Graph layer() {
  Graph g;
  Tensor w = tensor("w", DType::kInt8, {3, 3});
  w.constant = Array::of<std::int8_t>({3, 3}, {100, -50, 3, 7, 90, -20, 33, 11, -77});
  w.quant.scale = {0.01f, 0.02f, 0.015f};
  w.quant.zero_point = {0, 0, 0};
  g.tensors = {tensor("a", DType::kFloat32, {1, 3}), w, tensor("y", DType::kFloat32, {1, 3})};
  g.inputs = {0};
  g.outputs = {2};
  g.ops = {op(OpCode::kFullyConnected, FullyConnectedAttrs{}, {0, 1, -1}, {2})};
  return g;
}

std::vector<float> outputs_of(const Model& model, Dialect dialect, const std::vector<Array>& in,
                              std::size_t i) {
  Numerics numerics;
  numerics.dialect = dialect;
  const Plan plan = make_plan(std::make_shared<Model>(model), numerics);
  Workspace w(plan);
  run(plan, w, in);
  const auto y = w.output(i).span<float>();
  return {y.begin(), y.end()};
}

// A layer in a loop is the layer, round after round, in every dialect.
TEST(Walk, TheRoundsOfAWhileHaveOneDialect) {
  Model once, loop;
  once.path = "once";
  once.graphs = {layer()};
  loop.path = "loop";
  Graph g;
  g.tensors = {tensor("i", DType::kFloat32, {1}), tensor("a", DType::kFloat32, {1, 3}),
               tensor("j", DType::kFloat32, {1}), tensor("y", DType::kFloat32, {1, 3})};
  g.inputs = {0, 1};
  g.outputs = {2, 3};
  g.ops = {op(OpCode::kWhile, WhileAttrs{1, 2}, {0, 1}, {2, 3})};
  Graph condition;
  condition.tensors = {tensor("i", DType::kFloat32, {1}), tensor("a", DType::kFloat32, {1, 3}),
                       number("limit", 2.5f), tensor("less", DType::kBool, {1})};
  condition.inputs = {0, 1};
  condition.outputs = {3};
  condition.ops = {op(OpCode::kLess, NoAttrs{}, {0, 2}, {3})};
  Graph body = layer();
  body.tensors.push_back(tensor("i", DType::kFloat32, {1}));
  body.tensors.push_back(number("one", 1));
  body.tensors.push_back(tensor("j", DType::kFloat32, {1}));
  body.inputs = {3, 0};
  body.outputs = {5, 2};
  body.ops.push_back(op(OpCode::kAdd, AddAttrs{}, {3, 4}, {5}));
  loop.graphs = {g, condition, body};
  std::vector<std::vector<float>> found;
  for (const Dialect d : {Dialect::kReference, Dialect::kXnnpack}) {
    std::vector<float> x{0.3f, -1.7f, 0.9f};
    const Array start = Array::of<float>({1, 3}, x);
    for (int i = 0; i < 3; ++i) x = outputs_of(once, d, {Array::of<float>({1, 3}, x)}, 0);
    EXPECT_EQ(outputs_of(loop, d, {Array::of<float>({1}, {0}), start}, 1), x) << dialect_name(d);
    found.push_back(x);
  }
  EXPECT_NE(found[0], found[1]);
}

TEST(Walk, RandomNumbersInALoopAreRefused) {
  Model m = counting(7);
  Tensor shape = tensor("shape", DType::kInt32, {1});
  shape.constant = Array::of<std::int32_t>({1}, {1});
  m.graphs[2].tensors.push_back(shape);
  m.graphs[2].tensors.push_back(tensor("r", DType::kFloat32, {1}));
  m.graphs[2].ops.push_back(op(OpCode::kRandomUniform, RandomAttrs{1, 2}, {3}, {4}));
  EXPECT_THROW(run_one(m, {Array::of<float>({1}, {1})}), Error);
}

TEST(Walk, AnAbsentConditionIsAnError) {
  Model m = chain(1);
  m.graphs[0].ops.back().inputs = {-1, 9};
  EXPECT_THROW(run_one(m, {Array::of<bool>({1}, {true}), Array::of<float>({1}, {1})}), Error);
}

}  // namespace
}  // namespace litegap
