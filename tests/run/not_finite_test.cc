// Counting what is no number.
#include "run/not_finite.h"

#include <gtest/gtest.h>

#include <limits>

namespace litegap {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

void expect_counts(const Array& a, std::size_t nan, std::size_t infinite) {
  const NotFinite n = not_finite(a);
  EXPECT_EQ(n.elements, a.elements());
  EXPECT_EQ(n.nan, nan);
  EXPECT_EQ(n.infinite, infinite);
}

TEST(NotFinite, OfEveryFloatType) {
  expect_counts(Array::of<float>({5}, {1, kNan, -kInf, kNan, 0}), 2, 1);
  expect_counts(Array::of<double>({2}, {std::numeric_limits<double>::infinity(), 1e300}), 0, 1);
  expect_counts(Array::of<std::int32_t>({2}, {-1, 0x7FC00000}), 0, 0);
  Array half = Array::zeros(DType::kFloat16, {3});
  auto* h = reinterpret_cast<std::uint16_t*>(half.mutable_data());
  h[0] = 0x7C00;  // infinity
  h[1] = 0x7E00;  // NaN
  h[2] = 0x7BFF;  // 65504
  expect_counts(half, 1, 1);
  Array complex = Array::zeros(DType::kComplex64, {2});
  reinterpret_cast<float*>(complex.mutable_data())[3] = -kInf;
  expect_counts(complex, 0, 1);
}

// y = a / b, z = y + y: 0 / 0 is NaN, 1 / 0 infinite, and both stay so.
TEST(NotFinite, IsSeenWhereItArises) {
  auto model = std::make_shared<Model>();
  model->path = "divide";
  Graph g;
  for (const char* name : {"a", "b", "y", "z"}) {
    Tensor t;
    t.name = name;
    t.shape = {3};
    g.tensors.push_back(t);
  }
  Op divide, add;
  divide.code = OpCode::kDiv;
  divide.attrs = ActivationAttrs{};
  divide.inputs = {0, 1};
  divide.outputs = {2};
  add.code = OpCode::kAdd;
  add.attrs = AddAttrs{};
  add.inputs = {2, 2};
  add.outputs = {3};
  g.ops = {divide, add};
  g.inputs = {0, 1};
  g.outputs = {3};
  model->graphs = {g};
  const Plan plan = make_plan(model, {});  // XNNPACK lets infinities pass
  Workspace w(plan);
  NotFiniteObserver seen;
  run(plan, w, std::vector{Array::of<float>({3}, {0, 1, 6}), Array::of<float>({3}, {0, 0, 2})},
      &seen);
  ASSERT_EQ(seen.found.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(seen.found[i].op, static_cast<int>(i));
    EXPECT_EQ(seen.found[i].tensor, static_cast<int>(i) + 2);
  }
  EXPECT_EQ(seen.found[0].nan, 1u);
  EXPECT_EQ(seen.found[0].infinite, 1u);
}

TEST(NotFinite, Constants) {
  Graph g;
  g.tensors.resize(3);
  g.tensors[1].constant = Array::of<float>({2}, {kInf, 1});
  g.tensors[2].constant = Array::of<float>({1}, {1});
  const auto found = not_finite_constants(g);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].tensor, 1);
  EXPECT_EQ(found[0].infinite, 1u);
}

}  // namespace
}  // namespace litegap
