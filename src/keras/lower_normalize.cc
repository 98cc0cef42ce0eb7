// Normalizations.
//
// BatchNormalization over the last axis is one kTrainBatchNorm; what becomes of it is decided when
// the graph is complete (keras/finish.cc): folded into the operator before, or MUL and ADD, or kept
// for training.  The others are written out:
//
//   LayerNormalization   MEAN, SQUARED_DIFFERENCE, MEAN, ADD, RSQRT, then x * k + (beta - mean * k)
//   UnitNormalization    SQUARE, SUM, MAXIMUM, RSQRT, MUL
#include <algorithm>
#include <cmath>

#include "keras/conv.h"

namespace litegap {
namespace {

std::vector<int> axes_of(LayerCall& c, int rank) {
  std::vector<int> axes = config_list(c.layer, "axis");
  if (axes.empty()) axes = {-1};
  for (int& a : axes) a = positive_axis(a, rank);
  std::sort(axes.begin(), axes.end());
  return axes;
}

// ---- BatchNormalization -------------------------------------------------------------------------
// tf_keras hands inputs of 4 and 5 axes to a fused kernel where the layer does not forbid it.
bool is_fused(LayerCall& c, int rank, int axis) {
  return !c.lower.keras3 && (rank == 4 || rank == 5) && (axis == 1 || axis == rank - 1) &&
         config_bool(c.layer, "fused", true) && !config_bool(c.layer, "renorm", false) &&
         config_value(c.layer, "virtual_batch_size") == nullptr &&
         c.layer.class_name != "SyncBatchNormalization";
}

std::vector<LayerValue> lower_batch_norm(LayerCall& c) {
  GraphBuilder& b = c.b;
  int x = c.x();
  const auto axes = axes_of(c, b.rank(x));
  if (axes.size() != 1 || axes[0] == 0) refuse(c.layer, "axis must be one axis, not the batch");
  const int axis = axes[0], last = b.rank(x) - 1, n = b.shape(x)[static_cast<std::size_t>(axis)];
  if (config_bool(c.layer, "renorm", false) && c.fits() && !c.lower.declaring) {
    refuse(c.layer, "renorm is not supported in training");
  }
  BatchNormAttrs a;
  a.epsilon = static_cast<float>(config_number(c.layer, "epsilon", 1e-3));
  a.momentum = static_cast<float>(config_number(c.layer, "momentum", 0.99));
  a.frozen = !c.layer.trainable;
  a.unbiased = is_fused(c, b.rank(x), axis);
  const int gamma =
      config_bool(c.layer, "scale", true)
          ? c.weight({.name = "gamma", .shape = {n}, .role = "gamma", .initializer = "ones"})
          : -1;
  const int beta = config_bool(c.layer, "center", true)
                       ? c.weight({.name = "beta", .shape = {n}, .role = "beta"})
                       : -1;
  const int mean =
      c.weight({.name = "moving_mean", .shape = {n}, .role = "moving_mean", .trainable = false});
  const int variance = c.weight({.name = "moving_variance",
                                 .shape = {n},
                                 .role = "moving_variance",
                                 .initializer = "ones",
                                 .trainable = false});
  std::vector<int> perm;
  for (int d = 0; d <= last; ++d) perm.push_back(d);
  std::swap(perm[static_cast<std::size_t>(axis)], perm[static_cast<std::size_t>(last)]);
  x = b.transpose(x, perm);
  const int y = b.emit(OpCode::kTrainBatchNorm, {x, gamma, beta, mean, variance}, b.shape(x), a);
  return c.one(b.transpose(y, perm));
}

// gamma or beta of the normalized axes, laid out to broadcast.
int affine(LayerCall& c, const char* name, const char* role, const Shape& shape, const Shape& as,
           const char* initializer) {
  return c.weight(
      {.name = name, .shape = shape, .as = as, .role = role, .initializer = initializer});
}

// (x - mean) / sqrt(variance + epsilon) over `axes`, with gamma and beta where they are >= 0.
int normalized(GraphBuilder& b, int x, const std::vector<int>& axes, double epsilon, int gamma,
               int beta) {
  const int mean = b.reduce(OpCode::kMean, x, axes, true);
  const int centered = b.sub(x, mean);
  const int variance = b.reduce(OpCode::kMean, b.unary(OpCode::kSquare, centered), axes, true);
  int k = b.unary(OpCode::kRsqrt, b.add(variance, b.scalar(static_cast<float>(epsilon))));
  int y = b.mul(centered, k);
  if (gamma >= 0) y = b.mul(y, gamma);
  if (beta >= 0) y = b.add(y, beta);
  return y;
}

std::vector<LayerValue> lower_layer_norm(LayerCall& c) {
  GraphBuilder& b = c.b;
  const int x = c.x();
  const auto axes = axes_of(c, b.rank(x));
  Shape shape, as(static_cast<std::size_t>(b.rank(x)), 1);
  for (const int a : axes) {
    if (a == 0) refuse(c.layer, "normalizes over the batch");
    shape.push_back(b.shape(x)[static_cast<std::size_t>(a)]);
    as[static_cast<std::size_t>(a)] = shape.back();
  }
  if (axes.size() == 1 && axes[0] == b.rank(x) - 1) as = shape;
  const double epsilon = config_number(c.layer, "epsilon", 1e-3);
  const bool rms = config_bool(c.layer, "rms_scaling", false);
  const int gamma = config_bool(c.layer, "scale", true) || rms
                        ? affine(c, "gamma", "gamma", shape, as, "ones")
                        : -1;
  if (rms) {  // Keras takes the variance, not the mean square
    const int mean = b.reduce(OpCode::kMean, x, axes, true);
    const int variance =
        b.reduce(OpCode::kMean, b.unary(OpCode::kSquare, b.sub(x, mean)), axes, true);
    const int k = b.unary(OpCode::kRsqrt, b.add(variance, b.scalar(static_cast<float>(epsilon))));
    return c.one(b.mul(b.mul(x, k), gamma));
  }
  const int beta =
      config_bool(c.layer, "center", true) ? affine(c, "beta", "beta", shape, as, "zeros") : -1;
  return c.one(normalized(b, x, axes, epsilon, gamma, beta));
}

std::vector<LayerValue> lower_rms_norm(LayerCall& c) {
  GraphBuilder& b = c.b;
  const int x = c.x();
  const auto axes = axes_of(c, b.rank(x));
  Shape shape, as(static_cast<std::size_t>(b.rank(x)), 1);
  for (const int a : axes) {
    shape.push_back(b.shape(x)[static_cast<std::size_t>(a)]);
    as[static_cast<std::size_t>(a)] = shape.back();
  }
  const int scale = affine(c, "scale", "scale", shape, as, "ones");
  const int square = b.reduce(OpCode::kMean, b.unary(OpCode::kSquare, x), axes, true);
  const double epsilon = config_number(c.layer, "epsilon", 1e-6);
  const int k = b.unary(OpCode::kRsqrt, b.add(square, b.scalar(static_cast<float>(epsilon))));
  return c.one(b.mul(b.mul(x, k), scale));
}

// The channels in groups: [N, space, groups, channels / groups], normalized over space and
// channels.
std::vector<LayerValue> lower_group_norm(LayerCall& c) {
  GraphBuilder& b = c.b;
  int x = c.x();
  const int rank = b.rank(x), axis = axes_of(c, rank)[0];
  if (axis == 0) refuse(c.layer, "normalizes over the batch");
  std::vector<int> perm;
  for (int d = 0; d < rank; ++d) perm.push_back(d);
  std::swap(perm[static_cast<std::size_t>(axis)], perm[static_cast<std::size_t>(rank - 1)]);
  x = b.transpose(x, perm);
  const Shape s = b.shape(x);
  const int channels = s.back();
  int groups = config_int(c.layer, "groups", 32);
  if (groups == -1) groups = channels;
  if (groups < 1 || channels % groups != 0)
    refuse(c.layer, "{} groups of {} channels", groups, channels);
  int space = 1;
  for (std::size_t d = 1; d + 1 < s.size(); ++d) space *= s[d];
  const int gamma = config_bool(c.layer, "scale", true)
                        ? affine(c, "gamma", "gamma", {channels}, {}, "ones")
                        : -1;
  const int beta = config_bool(c.layer, "center", true)
                       ? affine(c, "beta", "beta", {channels}, {}, "zeros")
                       : -1;
  const int parts = b.reshape(x, {s[0], space, groups, channels / groups});
  int y = normalized(b, parts, {1, 3}, config_number(c.layer, "epsilon", 1e-3), -1, -1);
  y = b.reshape(y, s);
  if (gamma >= 0) y = b.mul(y, gamma);
  if (beta >= 0) y = b.add(y, beta);
  return c.one(b.transpose(y, perm));
}

std::vector<LayerValue> lower_unit_norm(LayerCall& c) {
  GraphBuilder& b = c.b;
  const int x = c.x();
  const int sum = b.reduce(OpCode::kSum, b.unary(OpCode::kSquare, x), axes_of(c, b.rank(x)), true);
  const int k = b.unary(OpCode::kRsqrt, b.binary(OpCode::kMaximum, sum, b.scalar(1e-12f)));
  return c.one(b.mul(x, k));
}

// ---- Normalization: mean and variance from the configuration or as variables
// ------------------------
std::vector<float> numbers(LayerCall& c, const Json& v) {
  std::vector<float> all;
  if (v.is_number()) return {v.get<float>()};
  if (!v.is_array()) refuse(c.layer, "mean or variance is {}", json_text(v).substr(0, 60));
  for (const Json& item : v) {
    for (const float f : numbers(c, item)) all.push_back(f);
  }
  return all;
}

std::vector<LayerValue> lower_normalization(LayerCall& c) {
  GraphBuilder& b = c.b;
  const int x = c.x(), rank = b.rank(x);
  Shape kept, as(static_cast<std::size_t>(rank), 1);
  const bool has_axis = c.layer.config.is_object() &&
                        !(c.layer.config.contains("axis") && c.layer.config["axis"].is_null());
  if (has_axis) {
    for (const int a : axes_of(c, rank)) {
      if (a == 0) refuse(c.layer, "normalizes along the batch");
      kept.push_back(b.shape(x)[static_cast<std::size_t>(a)]);
      as[static_cast<std::size_t>(a)] = kept.back();
    }
  }
  std::vector<float> mean, variance;
  if (const Json* given = config_value(c.layer, "mean")) {
    mean = numbers(c, *given);
    const Json* v = config_value(c.layer, "variance");
    if (v == nullptr) refuse(c.layer, "has a mean and no variance");
    variance = numbers(c, *v);
  } else {
    const int m = c.weight({.name = "mean", .shape = kept, .trainable = false});
    const int v =
        c.weight({.name = "variance", .shape = kept, .initializer = "ones", .trainable = false});
    c.weight({.name = "count", .shape = {}, .trainable = false});
    const auto values = [&](int t) {
      const auto s = b.graph.tensors[static_cast<std::size_t>(t)].constant->span<float>();
      return std::vector<float>(s.begin(), s.end());
    };
    mean = values(m);
    variance = values(v);
  }
  const std::size_t n = shape_elements(as);
  if (mean.size() == 1) mean.assign(n, mean[0]);
  if (variance.size() == 1) variance.assign(n, variance[0]);
  if (mean.size() != n || variance.size() != n) {
    refuse(c.layer, "{} means and {} variances, expected {}", mean.size(), variance.size(), n);
  }
  const bool invert = config_bool(c.layer, "invert", false);
  for (float& v : variance) {  // Keras: maximum(sqrt(variance), 1e-7)
    const float deviation = std::max(std::sqrt(v), 1e-7f);
    v = invert ? deviation : 1 / deviation;
  }
  const int shift = b.floats(mean, as), scale = b.floats(variance, as);
  if (invert) return c.one(b.add(b.mul(x, scale), shift));
  return c.one(b.mul(b.sub(x, shift), scale));
}

}  // namespace

std::span<const LayerRow> normalize_layers() {
  static constexpr LayerRow rows[] = {{"BatchNormalization", lower_batch_norm, true},
                                      {"BatchNormalizationV1", lower_batch_norm, true},
                                      {"BatchNormalizationV2", lower_batch_norm, true},
                                      {"SyncBatchNormalization", lower_batch_norm, true},
                                      {"LayerNormalization", lower_layer_norm, true},
                                      {"RMSNormalization", lower_rms_norm, true},
                                      {"GroupNormalization", lower_group_norm, true},
                                      {"UnitNormalization", lower_unit_norm, true},
                                      {"Normalization", lower_normalization}};
  return rows;
}

}  // namespace litegap
