// Building a graph operator by operator: shapes, constants and names in one place.
//
//   GraphBuilder b(1);
//   int x = b.input("x", {1, 4}, DType::kFloat32);
//   int y = b.add(x, b.scalar(1.0f));        // RELU(x + 1):
//   int z = b.unary(OpCode::kRelu, y);       // fused by finish() where the format can
//
// Axis 0 of every tensor that is not constant is the batch, or batch times something: the file says
// -1 there, and shapes in operands (RESHAPE, BROADCAST_TO ...) leave it open.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "model/model.h"

namespace litegap {

class GraphBuilder {
 public:
  Graph graph;
  bool fold_constants = false;  // RESHAPE of a constant is a constant
  std::string scope;  // path of the layer being lowered: names of new tensors start with it

  const Shape& shape(int t) const { return graph.tensors[static_cast<std::size_t>(t)].shape; }
  int rank(int t) const { return static_cast<int>(shape(t).size()); }
  DType dtype(int t) const { return graph.tensors[static_cast<std::size_t>(t)].dtype; }
  bool is_constant(int t) const {
    return graph.tensors[static_cast<std::size_t>(t)].constant.has_value();
  }

  int input(const std::string& name, Shape shape, DType dtype);
  int constant(Array value, const std::string& name = "");
  int scalar(float value);  // float32 []
  int floats(const std::vector<float>& values, Shape shape = {});
  int ints(const std::vector<std::int32_t>& values);
  int int_scalar(std::int32_t value);

  int emit(OpCode code, std::vector<int> inputs, Shape out, Attrs attrs = NoAttrs{},
           DType dtype = DType::kFloat32);
  std::vector<int> emit_many(OpCode code, std::vector<int> inputs, const std::vector<Shape>& out,
                             Attrs attrs, DType dtype);

  int unary(OpCode code, int x);
  int binary(OpCode code, int a, int b);  // broadcasts; comparisons give bool
  int add(int a, int b) { return binary(OpCode::kAdd, a, b); }
  int sub(int a, int b) { return binary(OpCode::kSub, a, b); }
  int mul(int a, int b) { return binary(OpCode::kMul, a, b); }
  int div(int a, int b) { return binary(OpCode::kDiv, a, b); }
  int select(int condition, int a, int b);
  int reshape(int x, Shape to);  // to[0] stays open in the file unless the input is constant
  int transpose(int x, const std::vector<int>& perm);
  int reduce(OpCode code, int x, std::vector<int> axes, bool keep);
  int concat(const std::vector<int>& parts, int axis);
  int slice(int x, int axis, int begin, int end, int step = 1);  // keeps the axis
  std::vector<int> split(int x, int axis, int parts);
  int pad(int x, const std::vector<std::pair<int, int>>& pads);
  int pad_value(int x, const std::vector<std::pair<int, int>>& pads, float value);
  int tile(int x, const std::vector<int>& times);
  int cast(int x, DType to);  // x itself when it has the type
  int softmax(int x, int axis);
  int matmul(int a, int b, bool adj_x, bool adj_y);
  int gather(int table, int indices, int axis);
  // weights [out, in]; bias -1 = none; keeps all axes but the last.
  int fully_connected(int x, int weights, int bias);
  int resize(OpCode code, int x, int height, int width, bool align, bool half);

 private:
  std::string fresh(const std::string& stem);
  std::map<std::string, int> names_;
  std::map<std::vector<std::int32_t>, int> ints_, int_scalars_;
};

Shape broadcast_shape(const Shape& a, const Shape& b);
int product(std::int64_t a, std::int64_t b);  // Error above int; of values of at most 2^31
int positive_axis(int axis, int rank);        // Error outside of -rank .. rank-1

}  // namespace litegap
