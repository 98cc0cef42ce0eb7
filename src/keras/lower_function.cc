// Functions that a Functional model may hold between its layers: keras.ops and tf functions.
//
//   NotEqual(x, 0.0), Any(axis=-1)           what Keras 3 writes for the mask of Masking
//   TFOpLambda {"function": "math.multiply"} what tf_keras writes for x * 2
#include <algorithm>

#include "keras/lower.h"

namespace litegap {
namespace {

template <OpCode kCode>
std::vector<LayerValue> lower_unary(LayerCall& c) {
  return c.one(c.b.unary(kCode, c.x()));
}

template <OpCode kCode>
std::vector<LayerValue> lower_two(LayerCall& c) {
  int u = c.operand(0, "x1"), v = c.operand(1, "x2");
  if (c.b.dtype(u) != c.b.dtype(v)) {
    u = c.b.cast(u, DType::kFloat32);
    v = c.b.cast(v, DType::kFloat32);
  }
  return c.one(c.b.binary(kCode, u, v));
}

std::vector<int> axes_argument(LayerCall& c, int rank) {
  const Json* v = config_value(c.layer, "axis");
  if (v == nullptr) v = c.argument(1, "axis");
  std::vector<int> axes;
  if (v == nullptr || v->is_null()) {
    for (int d = 1; d < rank; ++d) axes.push_back(d);
    refuse(c.layer, "reduces over the batch");
  }
  const auto take = [&](const Json& n) {
    if (!n.is_number_integer()) refuse(c.layer, "axis is {}", json_text(n));
    const auto a = n.get<std::int64_t>();
    if (a < -rank || a >= rank) refuse(c.layer, "axis {} of {} dimensions", a, rank);
    axes.push_back(positive_axis(static_cast<int>(a), rank));
  };
  if (v->is_array()) {
    for (const Json& n : *v) take(n);
  } else {
    take(*v);
  }
  if (std::find(axes.begin(), axes.end(), 0) != axes.end())
    refuse(c.layer, "reduces over the batch");
  return axes;
}

template <OpCode kCode>
std::vector<LayerValue> lower_reduction(LayerCall& c) {
  const int x = c.x();
  const bool keep = config_bool(c.layer, "keepdims", c.flag("keepdims", false));
  return c.one(c.b.reduce(kCode, x, axes_argument(c, c.b.rank(x)), keep));
}

// bool -> bool: the largest (any) or smallest (all) of 0 and 1.
template <OpCode kCode>
std::vector<LayerValue> lower_truth(LayerCall& c) {
  const auto y = lower_reduction<kCode>(c);
  return c.one(c.b.binary(OpCode::kNotEqual, y[0].tensor, c.b.scalar(0)));
}

template <int kIndex>
std::vector<LayerValue> lower_named(LayerCall& c) {
  static constexpr const char* kNames[] = {
      "sigmoid",   "silu",        "softplus", "gelu",  "selu", "softsign",   "hard_sigmoid",
      "hard_silu", "log_sigmoid", "relu",     "relu6", "tanh", "exponential"};
  return c.one(lower_activation_named(c, c.x(), kNames[kIndex]));
}

std::vector<LayerValue> lower_expand(LayerCall& c) {
  const int x = c.raw();
  const int axis = positive_axis(config_int(c.layer, "axis", -1), c.b.rank(x) + 1);
  if (axis == 0) refuse(c.layer, "adds an axis before the batch");
  Shape s = c.b.shape(x);
  s.insert(s.begin() + axis, 1);
  return c.one(c.b.reshape(x, s));
}

std::vector<LayerValue> lower_matmul(LayerCall& c) {
  return c.one(c.b.matmul(c.x(0), c.x(1), false, false));
}

// tf_keras: the function by its name in the configuration.
std::vector<LayerValue> lower_tf_function(LayerCall& c) {
  const std::string name = config_text(c.layer, "function", "");
  const auto two = [&](OpCode code) {
    return c.one(c.b.binary(code, c.operand(0, "x"), c.operand(1, "y")));
  };
  if (name == "math.add" || name == "__operators__.add") return two(OpCode::kAdd);
  if (name == "math.subtract") return two(OpCode::kSub);
  if (name == "math.multiply") return two(OpCode::kMul);
  if (name == "math.truediv" || name == "math.divide") return two(OpCode::kDiv);
  if (name == "math.maximum") return two(OpCode::kMaximum);
  if (name == "math.minimum") return two(OpCode::kMinimum);
  if (name == "nn.relu") return c.one(c.b.unary(OpCode::kRelu, c.x()));
  if (name == "nn.relu6") return c.one(c.b.unary(OpCode::kRelu6, c.x()));
  if (name == "math.sigmoid" || name == "nn.sigmoid")
    return c.one(c.b.unary(OpCode::kLogistic, c.x()));
  if (name == "math.tanh" || name == "nn.tanh") return c.one(c.b.unary(OpCode::kTanh, c.x()));
  if (name == "nn.silu" || name == "nn.swish")
    return c.one(lower_activation_named(c, c.x(), "silu"));
  if (name == "nn.softmax") return c.one(c.b.softmax(c.x(), -1));
  if (name == "math.reduce_mean") return lower_reduction<OpCode::kMean>(c);
  if (name == "math.reduce_sum") return lower_reduction<OpCode::kSum>(c);
  if (name == "math.reduce_max") return lower_reduction<OpCode::kReduceMax>(c);
  if (name == "cast") return c.one(c.x());
  refuse(c.layer, "the function {} is not supported", name);
}

}  // namespace

std::span<const LayerRow> function_layers() {
  static constexpr LayerRow rows[] = {{"NotEqual", lower_two<OpCode::kNotEqual>},
                                      {"Equal", lower_two<OpCode::kEqual>},
                                      {"Greater", lower_two<OpCode::kGreater>},
                                      {"GreaterEqual", lower_two<OpCode::kGreaterEqual>},
                                      {"Less", lower_two<OpCode::kLess>},
                                      {"LessEqual", lower_two<OpCode::kLessEqual>},
                                      {"LogicalAnd", lower_two<OpCode::kLogicalAnd>},
                                      {"LogicalOr", lower_two<OpCode::kLogicalOr>},
                                      {"Divide", lower_two<OpCode::kDiv>},
                                      {"TrueDivide", lower_two<OpCode::kDiv>},
                                      {"Power", lower_two<OpCode::kPow>},
                                      {"Any", lower_truth<OpCode::kReduceMax>},
                                      {"All", lower_truth<OpCode::kReduceMin>},
                                      {"Mean", lower_reduction<OpCode::kMean>},
                                      {"Sum", lower_reduction<OpCode::kSum>},
                                      {"Max", lower_reduction<OpCode::kReduceMax>},
                                      {"Min", lower_reduction<OpCode::kReduceMin>},
                                      {"Exp", lower_unary<OpCode::kExp>},
                                      {"Log", lower_unary<OpCode::kLog>},
                                      {"Sqrt", lower_unary<OpCode::kSqrt>},
                                      {"Rsqrt", lower_unary<OpCode::kRsqrt>},
                                      {"Square", lower_unary<OpCode::kSquare>},
                                      {"Absolute", lower_unary<OpCode::kAbs>},
                                      {"Abs", lower_unary<OpCode::kAbs>},
                                      {"Negative", lower_unary<OpCode::kNeg>},
                                      {"Sin", lower_unary<OpCode::kSin>},
                                      {"Cos", lower_unary<OpCode::kCos>},
                                      {"Sigmoid", lower_named<0>},
                                      {"Silu", lower_named<1>},
                                      {"Softplus", lower_named<2>},
                                      {"Selu", lower_named<4>},
                                      {"Softsign", lower_named<5>},
                                      {"HardSigmoid", lower_named<6>},
                                      {"HardSilu", lower_named<7>},
                                      {"LogSigmoid", lower_named<8>},
                                      {"Relu", lower_named<9>},
                                      {"Relu6", lower_named<10>},
                                      {"Tanh", lower_named<11>},
                                      {"ExpandDims", lower_expand},
                                      {"Matmul", lower_matmul},
                                      {"TFOpLambda", lower_tf_function}};
  return rows;
}

}  // namespace litegap
