// Activations, as layers and as the "activation" of other layers.
//
//   relu, relu6, sigmoid, tanh, elu, gelu ...   one operator
//   softplus                                    relu(x) + log(1 + exp(-|x|)): no overflow
//   hard_sigmoid                                Keras 3: relu6(x + 3) / 6; tf_keras: clip(x / 5 +
//   1/2)
//
// ReLU with slope, threshold or ceiling is written out as its definition.
#include <cmath>

#include "keras/lower.h"

namespace litegap {

int softplus(GraphBuilder& b, int x) {
  const int tail = b.unary(OpCode::kExp, b.unary(OpCode::kNeg, b.unary(OpCode::kAbs, x)));
  return b.add(b.unary(OpCode::kRelu, x), b.unary(OpCode::kLog, b.add(tail, b.scalar(1))));
}

namespace {

using Formula = int (*)(LayerCall&, int);

int plain_relu(LayerCall& c, int x) { return c.b.unary(OpCode::kRelu, x); }
int plain_relu6(LayerCall& c, int x) { return c.b.unary(OpCode::kRelu6, x); }
int sigmoid(LayerCall& c, int x) { return c.b.unary(OpCode::kLogistic, x); }
int hyperbolic(LayerCall& c, int x) { return c.b.unary(OpCode::kTanh, x); }
int exponential(LayerCall& c, int x) { return c.b.unary(OpCode::kExp, x); }
int linear(LayerCall&, int x) { return x; }
int silu(LayerCall& c, int x) { return c.b.mul(x, sigmoid(c, x)); }
int plus(LayerCall& c, int x) { return softplus(c.b, x); }
int minus(GraphBuilder& b, int x) { return b.unary(OpCode::kNeg, x); }

int gelu(LayerCall& c, int x, bool approximate) {
  return c.b.emit(OpCode::kGelu, {x}, c.b.shape(x), GeluAttrs{approximate});
}
int gelu_exact(LayerCall& c, int x) { return gelu(c, x, false); }

int elu(GraphBuilder& b, int x, double alpha) {
  if (alpha == 1) return b.unary(OpCode::kElu, x);
  // ELU is x for x > 0 and exp(x) - 1 below: the lower half alone takes alpha.
  const int low = b.unary(OpCode::kElu, b.binary(OpCode::kMinimum, x, b.scalar(0)));
  return b.add(b.unary(OpCode::kRelu, x), b.mul(low, b.scalar(static_cast<float>(alpha))));
}
int elu_plain(LayerCall& c, int x) { return elu(c.b, x, 1); }

int selu(LayerCall& c, int x) {
  constexpr double kAlpha = 1.6732632423543772, kScale = 1.0507009873554805;
  return c.b.mul(elu(c.b, x, kAlpha), c.b.scalar(static_cast<float>(kScale)));
}

int softsign(LayerCall& c, int x) {
  return c.b.div(x, c.b.add(c.b.unary(OpCode::kAbs, x), c.b.scalar(1)));
}

int hard_sigmoid(LayerCall& c, int x) {
  GraphBuilder& b = c.b;
  if (c.lower.keras3) {
    return b.mul(b.unary(OpCode::kRelu6, b.add(x, b.scalar(3))), b.scalar(1.0f / 6));
  }
  const int line = b.add(b.mul(x, b.scalar(0.2f)), b.scalar(0.5f));
  return b.binary(OpCode::kMinimum, b.unary(OpCode::kRelu, line), b.scalar(1));
}

int hard_swish(LayerCall& c, int x) { return c.b.unary(OpCode::kHardSwish, x); }

int mish(LayerCall& c, int x) { return c.b.mul(x, c.b.unary(OpCode::kTanh, softplus(c.b, x))); }
int log_sigmoid(LayerCall& c, int x) { return minus(c.b, softplus(c.b, minus(c.b, x))); }
int last_softmax(LayerCall& c, int x) { return c.b.softmax(x, -1); }
int log_softmax(LayerCall& c, int x) { return c.b.unary(OpCode::kLogSoftmax, x); }
int leaky(GraphBuilder& b, int x, double slope) {
  return b.emit(OpCode::kLeakyRelu, {x}, b.shape(x), LeakyReluAttrs{static_cast<float>(slope)});
}
int leaky_plain(LayerCall& c, int x) { return leaky(c.b, x, 0.2); }

int hard_tanh(LayerCall& c, int x) { return c.b.unary(OpCode::kReluN1To1, x); }
int tanh_shrink(LayerCall& c, int x) { return c.b.sub(x, hyperbolic(c, x)); }
int soft_shrink(LayerCall& c, int x) {
  GraphBuilder& b = c.b;
  const int high = b.unary(OpCode::kRelu, b.sub(x, b.scalar(0.5f)));
  return b.sub(high, b.unary(OpCode::kRelu, b.sub(minus(b, x), b.scalar(0.5f))));
}
int hard_shrink(LayerCall& c, int x) {
  GraphBuilder& b = c.b;
  const int far = b.binary(OpCode::kGreater, b.unary(OpCode::kAbs, x), b.scalar(0.5f));
  return b.mul(x, b.cast(far, DType::kFloat32));
}
int squareplus(LayerCall& c, int x) {
  GraphBuilder& b = c.b;
  const int root = b.unary(OpCode::kSqrt, b.add(b.unary(OpCode::kSquare, x), b.scalar(4)));
  return b.mul(b.add(x, root), b.scalar(0.5f));
}
int sparse_plus(LayerCall& c, int x) {  // 0, (x + 1)^2 / 4 between -1 and 1, x
  GraphBuilder& b = c.b;
  const int inside = b.unary(OpCode::kReluN1To1, x);
  const int bow = b.mul(b.unary(OpCode::kSquare, b.add(inside, b.scalar(1))), b.scalar(0.25f));
  return b.add(bow, b.unary(OpCode::kRelu, b.sub(x, b.scalar(1))));
}
int sparse_sigmoid(LayerCall& c, int x) {
  GraphBuilder& b = c.b;
  return b.mul(b.add(b.unary(OpCode::kReluN1To1, x), b.scalar(1)), b.scalar(0.5f));
}
int glu(LayerCall& c, int x) {
  const auto halves = c.b.split(x, c.b.rank(x) - 1, 2);
  return c.b.mul(halves[0], sigmoid(c, halves[1]));
}

// relu(z - tau), tau = (sum over the support of the cumulative sums - 1) / size of the support, as
// Keras computes it (the published formula takes the last cumulative sum alone; a model was trained
// with what Keras computes).  Instead of a sort, a comparison of all pairs: i stands before j when
// z_i > z_j, or when they are equal and i <= j.
int sparsemax(LayerCall& c, int x) {
  GraphBuilder& b = c.b;
  const Shape s = b.shape(x);
  const int n = s.back();
  int rows = 1;
  for (std::size_t d = 0; d + 1 < s.size(); ++d) rows *= s[d];
  if (n > 1024) refuse(c.layer, "sparsemax over {} elements", n);
  const int z = b.reshape(x, {rows, 1, n}), column = b.reshape(x, {rows, n, 1});
  std::vector<float> order;
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i < n; ++i) order.push_back(i <= j ? 1 : 0);
  }
  const auto real = [&](int t) { return b.cast(t, DType::kFloat32); };
  const int equal = b.mul(real(b.binary(OpCode::kEqual, z, column)), b.floats(order, {1, n, n}));
  const int before = b.add(real(b.binary(OpCode::kGreater, z, column)), equal);
  const int count = b.reduce(OpCode::kSum, before, {2}, true);
  const int sum = b.reduce(OpCode::kSum, b.mul(before, z), {2}, true);
  const int inside =
      real(b.binary(OpCode::kGreater, b.add(b.mul(column, count), b.scalar(1)), sum));
  const int support = b.reduce(OpCode::kSum, inside, {1}, true);
  const int total = b.reduce(OpCode::kSum, b.mul(inside, sum), {1}, true);
  const int tau = b.div(b.sub(total, b.scalar(1)), support);
  return b.reshape(b.unary(OpCode::kRelu, b.sub(z, tau)), s);
}

struct Named {
  const char* name;
  Formula formula;
};
constexpr Named kNamed[] = {{"linear", linear},
                            {"relu", plain_relu},
                            {"relu6", plain_relu6},
                            {"sigmoid", sigmoid},
                            {"tanh", hyperbolic},
                            {"softmax", last_softmax},
                            {"log_softmax", log_softmax},
                            {"softplus", plus},
                            {"softsign", softsign},
                            {"swish", silu},
                            {"silu", silu},
                            {"gelu", gelu_exact},
                            {"elu", elu_plain},
                            {"celu", elu_plain},
                            {"selu", selu},
                            {"exponential", exponential},
                            {"hard_sigmoid", hard_sigmoid},
                            {"hard_silu", hard_swish},
                            {"hard_swish", hard_swish},
                            {"mish", mish},
                            {"log_sigmoid", log_sigmoid},
                            {"leaky_relu", leaky_plain},
                            {"hard_tanh", hard_tanh},
                            {"tanh_shrink", tanh_shrink},
                            {"soft_shrink", soft_shrink},
                            {"hard_shrink", hard_shrink},
                            {"squareplus", squareplus},
                            {"sparse_plus", sparse_plus},
                            {"sparse_sigmoid", sparse_sigmoid},
                            {"sparsemax", sparsemax},
                            {"glu", glu}};

// ---- the layers ---------------------------------------------------------------------------------
double slope_of(const KerasLayer& layer, double absent) {
  return config_number(
      layer, config_value(layer, "negative_slope") != nullptr ? "negative_slope" : "alpha", absent);
}

// max_value for x >= max_value; x between threshold and it; slope * (x - threshold) below.
int relu_layer(LayerCall& c, const KerasLayer& layer, int x) {
  GraphBuilder& b = c.b;
  const double slope = slope_of(layer, 0), threshold = config_number(layer, "threshold", 0);
  const bool capped = config_value(layer, "max_value") != nullptr;
  const double most = capped ? config_number(layer, "max_value") : 0;
  if (slope == 0 && threshold == 0) {
    if (!capped) return b.unary(OpCode::kRelu, x);
    if (most == 6) return b.unary(OpCode::kRelu6, x);
    return b.binary(OpCode::kMinimum, b.unary(OpCode::kRelu, x),
                    b.scalar(static_cast<float>(most)));
  }
  if (threshold == 0 && !capped) return leaky(b, x, slope);
  const int edge = b.scalar(static_cast<float>(threshold));
  const int passes =
      b.cast(b.binary(threshold == 0 ? OpCode::kGreater : OpCode::kGreaterEqual, x, edge),
             DType::kFloat32);
  int high = b.mul(x, passes);
  if (capped) high = b.binary(OpCode::kMinimum, high, b.scalar(static_cast<float>(most)));
  if (slope == 0) return high;
  const int low = b.binary(OpCode::kMinimum, b.sub(x, edge), b.scalar(0));
  return b.add(high, b.mul(low, b.scalar(static_cast<float>(slope))));
}

std::vector<LayerValue> lower_relu(LayerCall& c) { return c.one(relu_layer(c, c.layer, c.x())); }
std::vector<LayerValue> lower_leaky(LayerCall& c) {
  return c.one(leaky(c.b, c.x(), slope_of(c.layer, 0.3)));
}
std::vector<LayerValue> lower_elu(LayerCall& c) {
  return c.one(elu(c.b, c.x(), config_number(c.layer, "alpha", 1)));
}
std::vector<LayerValue> lower_threshold(LayerCall& c) {  // ThresholdedReLU of Keras 2
  const int x = c.x();
  const int theta = c.b.scalar(static_cast<float>(config_number(c.layer, "theta", 1)));
  return c.one(c.b.mul(x, c.b.cast(c.b.binary(OpCode::kGreater, x, theta), DType::kFloat32)));
}

std::vector<LayerValue> lower_prelu(LayerCall& c) {
  GraphBuilder& b = c.b;
  const int x = c.x();
  Shape shape(b.shape(x).begin() + 1, b.shape(x).end());
  for (const int a : config_list(c.layer, "shared_axes")) {
    const int at = positive_axis(a, b.rank(x));
    if (at == 0) refuse(c.layer, "shared_axes names the batch");
    shape[static_cast<std::size_t>(at - 1)] = 1;
  }
  const int alpha = c.weight({.name = "alpha", .shape = shape, .role = "alpha"});
  return c.one(b.emit(OpCode::kPrelu, {x, alpha}, b.shape(x)));
}

std::vector<LayerValue> lower_softmax(LayerCall& c) {
  GraphBuilder& b = c.b;
  int x = c.x();
  const auto mask = c.tensor("mask");
  int given = mask ? mask->tensor : c.values.size() > 1 ? c.values[1].tensor : -1;
  if (given >= 0) {  // Keras adds a large negative number where the mask is false
    const int off = b.sub(b.scalar(1), b.cast(given, DType::kFloat32));
    x = b.add(x, b.mul(off, b.scalar(-1e9f)));
  }
  std::vector<int> axes = config_list(c.layer, "axis");
  if (axes.empty()) axes = {-1};
  if (axes.size() == 1) return c.one(b.softmax(x, axes[0]));
  const int largest = b.reduce(OpCode::kReduceMax, x, axes, true);
  const int e = b.unary(OpCode::kExp, b.sub(x, largest));
  return c.one(b.div(e, b.reduce(OpCode::kSum, e, axes, true)));
}

std::vector<LayerValue> lower_activation_layer(LayerCall& c) {
  return c.one(lower_activation(c, c.x(), config_value(c.layer, "activation")));
}

std::vector<LayerValue> lower_identity(LayerCall& c) { return c.one(c.raw()); }

std::vector<LayerValue> lower_activity(LayerCall& c) {
  const bool counts = config_number(c.layer, "l1", 0) != 0 || config_number(c.layer, "l2", 0) != 0;
  if (counts && c.training() && !c.lower.declaring) {
    refuse(c.layer, "an activity regularizer is not supported in training");
  }
  return c.one(c.raw());
}

// ---- dropout ------------------------------------------------------------------------------------
std::vector<LayerValue> dropout(LayerCall& c, std::vector<std::int32_t> shared) {
  const double rate =
      config_number(c.layer, config_value(c.layer, "rate") != nullptr ? "rate" : "p", 0);
  if (!c.fits() || rate == 0) return c.one(c.raw());
  if (!(rate >= 0 && rate < 1)) refuse(c.layer, "a rate of {}", rate);
  const int x = c.x();
  return c.one(c.b.emit(OpCode::kTrainDropout, {x}, c.b.shape(x),
                        DropoutAttrs{static_cast<float>(rate), std::move(shared)}));
}

std::vector<LayerValue> lower_dropout(LayerCall& c) {
  std::vector<std::int32_t> shared;
  if (const Json* noise = config_value(c.layer, "noise_shape");
      noise != nullptr && noise->is_array()) {
    for (std::size_t d = 0; d < noise->size(); ++d) {
      if ((*noise)[d] == 1) shared.push_back(static_cast<std::int32_t>(d));
    }
  }
  return dropout(c, shared);
}

template <int kAxes>
std::vector<LayerValue> lower_spatial_dropout(LayerCall& c) {
  const bool first = config_text(c.layer, "data_format", "channels_last") == "channels_first";
  std::vector<std::int32_t> shared;
  for (int d = 0; d < kAxes; ++d) shared.push_back(d + (first ? 2 : 1));
  return dropout(c, shared);
}

}  // namespace

int lower_activation_named(LayerCall& c, int x, const std::string& name, const Json& config) {
  KerasLayer as = c.layer;  // an activation layer inside of another: its values, our path
  if (config.is_object() && !config.empty()) as.config = config;
  if (name == "ReLU") return relu_layer(c, as, x);
  if (name == "LeakyReLU") return leaky(c.b, x, slope_of(as, 0.3));
  if (name == "ELU") return elu(c.b, x, config_number(as, "alpha", 1));
  if (name == "Softmax") return c.b.softmax(x, config_int(as, "axis", -1));
  for (const Named& n : kNamed) {
    if (name == n.name) return n.formula(c, x);
  }
  refuse(c.layer, "the activation {} is not supported", name);
}

int lower_activation(LayerCall& c, int x, const Json* activation) {
  if (activation == nullptr || activation->is_null()) return x;
  if (activation->is_string()) return lower_activation_named(c, x, activation->get<std::string>());
  if (activation->is_object() && activation->contains("class_name")) {
    const Json& name = (*activation)["class_name"];
    const Json config = activation->contains("config") ? (*activation)["config"] : Json();
    if (name == "function" && config.is_string()) {
      return lower_activation_named(c, x, config.get<std::string>());
    }
    if (name == "Activation" && config.is_object() && config.contains("activation")) {
      return lower_activation(c, x, &config["activation"]);
    }
    if (name.is_string()) return lower_activation_named(c, x, name.get<std::string>(), config);
  }
  refuse(c.layer, "the activation {} is not supported", activation->dump().substr(0, 80));
}

std::span<const LayerRow> activation_layers() {
  static constexpr LayerRow rows[] = {{"Activation", lower_activation_layer, true},
                                      {"ReLU", lower_relu, true},
                                      {"LeakyReLU", lower_leaky, true},
                                      {"PReLU", lower_prelu, true},
                                      {"ELU", lower_elu, true},
                                      {"ThresholdedReLU", lower_threshold, true},
                                      {"Softmax", lower_softmax, true},
                                      {"Dropout", lower_dropout, true},
                                      {"SpatialDropout1D", lower_spatial_dropout<1>, true},
                                      {"SpatialDropout2D", lower_spatial_dropout<2>, true},
                                      {"SpatialDropout3D", lower_spatial_dropout<3>, true},
                                      {"AlphaDropout", lower_identity, true},
                                      {"GaussianDropout", lower_identity, true},
                                      {"GaussianNoise", lower_identity, true},
                                      {"ActivityRegularization", lower_activity, true},
                                      {"Identity", lower_identity, true},
                                      {"InputLayer", lower_identity, true}};
  return rows;
}

}  // namespace litegap
