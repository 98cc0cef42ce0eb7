// Edits of quantized files: what must not change does not, what depends on a scale follows it.
#include "quant/rewrite.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "quant/layers.h"
#include "quant/params.h"
#include "quant/quantize.h"
#include "quant/transplant.h"

namespace litegap {
namespace {

// x [1,4,4,2] -> CONV_2D 3x3 (3 channels) -> MAX_POOL_2D -> RESHAPE -> FULLY_CONNECTED -> SOFTMAX
Model float_model() {
  Model m;
  m.path = "test";
  m.graphs.emplace_back();
  const auto add = [&](const char* name, Shape shape, std::optional<Array> constant = {}) {
    Tensor t;
    t.name = name;
    t.dtype = constant ? constant->dtype() : DType::kFloat32;
    t.shape = std::move(shape);
    t.constant = std::move(constant);
    m.main().tensors.push_back(std::move(t));
    return static_cast<int>(m.main().tensors.size()) - 1;
  };
  const auto op = [&](OpCode code, std::vector<int> in, int out, Attrs attrs) {
    Op o;
    o.code = code;
    o.inputs = std::move(in);
    o.outputs = {out};
    o.attrs = std::move(attrs);
    m.main().ops.push_back(std::move(o));
    return out;
  };
  std::vector<float> kernel(54), dense(24);
  for (std::size_t i = 0; i < kernel.size(); ++i)
    kernel[i] = std::sin(static_cast<float>(i)) * (i < 18 ? 0.1f : 1.0f);
  for (std::size_t i = 0; i < dense.size(); ++i) dense[i] = std::cos(static_cast<float>(3 * i));
  const int x = add("x", {1, 4, 4, 2});
  const int w = add("w", {3, 3, 3, 2}, Array::of<float>({3, 3, 3, 2}, kernel));
  const int b = add("b", {3}, Array::of<float>({3}, {0.5f, -0.25f, 1}));
  const int c = op(OpCode::kConv2d, {x, w, b}, add("conv", {1, 4, 4, 3}), ConvAttrs{});
  const int p = op(OpCode::kMaxPool2d, {c}, add("pool", {1, 2, 2, 3}),
                   PoolAttrs{Padding::kValid, 2, 2, 2, 2});
  const int s = add("shape", {2}, Array::of<std::int32_t>({2}, {1, 12}));
  const int r = op(OpCode::kReshape, {p, s}, add("flat", {1, 12}), ReshapeAttrs{{1, 12}});
  const int w2 = add("w2", {2, 12}, Array::of<float>({2, 12}, dense));
  const int b2 = add("b2", {2}, Array::of<float>({2}, {0.1f, -0.1f}));
  const int f =
      op(OpCode::kFullyConnected, {r, w2, b2}, add("logits", {1, 2}), FullyConnectedAttrs{});
  const int y = op(OpCode::kSoftmax, {f}, add("y", {1, 2}), SoftmaxAttrs{1});
  m.main().inputs = {x};
  m.main().outputs = {y};
  return m;
}

Ranges ranges_of(const Model& m, float factor = 1) {
  Ranges r;
  for (std::size_t t = 0; t < m.main().tensors.size(); ++t) {
    r.min.push_back(-1.5f * factor);
    r.max.push_back(2 * factor);
  }
  return r;
}

int tensor_named(const Model& m, const std::string& name) {
  for (std::size_t t = 0; t < m.main().tensors.size(); ++t) {
    if (m.main().tensors[t].name == name) return static_cast<int>(t);
  }
  return -1;
}
const Tensor& named(const Model& m, const std::string& name) {
  return m.main().tensors[static_cast<std::size_t>(tensor_named(m, name))];
}

TEST(Rewrite, OwnScalesChangeNothing) {
  const Model q = quantize_static(float_model(), ranges_of(float_model())).model;
  const Model same = recalibrated(q, ranges_of(q));
  for (std::size_t t = 0; t < q.main().tensors.size(); ++t) {
    const Tensor &a = q.main().tensors[t], &b = same.main().tensors[t];
    EXPECT_EQ(a.quant.scale, b.quant.scale) << a.name;
    if (a.constant) {
      EXPECT_EQ(a.constant->data(), b.constant->data()) << a.name;
    }
  }
}

TEST(Rewrite, SharedScalesMoveTogetherAndBiasesFollow) {
  const Model q = quantize_static(float_model(), ranges_of(float_model())).model;
  const int conv = tensor_named(q, "conv"), x = tensor_named(q, "x");
  const Quant wide = activation_quant(-20, 30, DType::kInt8);
  const Model r = with_activation_quant(
      q, {{conv, wide}, {x, activation_quant(-4, 5, DType::kInt8)}, {tensor_named(q, "y"), wide}});
  for (const char* name : {"conv", "pool", "flat"})
    EXPECT_EQ(named(r, name).quant.scale, wide.scale) << name;
  EXPECT_EQ(named(r, "y").quant.scale[0], 1.0f / 256);  // SOFTMAX fixes it
  const auto layers = weighted_layers(r);
  ASSERT_EQ(layers.size(), 2u);
  for (const WeightedLayer& layer : layers) {
    const std::vector<double> before = real_bias(q, layer), after = real_bias(r, layer);
    const Quant scales = bias_quant(r.main().tensors[static_cast<std::size_t>(layer.x)].quant,
                                    r.main().tensors[static_cast<std::size_t>(layer.w)].quant);
    for (std::size_t c = 0; c < before.size(); ++c) {
      EXPECT_NEAR(before[c], after[c], 0.51 * scales.scale[c]);
      EXPECT_EQ(r.main().tensors[static_cast<std::size_t>(layer.b)].quant.scale[c],
                scales.scale[c]);
    }
  }
}

TEST(Rewrite, PerChannelFromPerTensorIsWhatTheQuantizerWrites) {
  const Model real = float_model();
  const Model coarse = quantize_static(real, ranges_of(real), {Granularity::kPerTensor}).model;
  const Model fine = quantize_static(real, ranges_of(real)).model;
  std::map<int, Array> weights, biases;
  for (const char* name : {"w", "w2"})
    weights[tensor_named(coarse, name)] = *named(real, name).constant;
  for (const char* name : {"b", "b2"})
    biases[tensor_named(coarse, name)] = *named(real, name).constant;
  const Model healed = with_biases(with_per_channel_weights(coarse, weights), biases);
  for (const char* name : {"w", "w2", "b", "b2"}) {
    EXPECT_EQ(named(healed, name).quant.scale, named(fine, name).quant.scale) << name;
    EXPECT_TRUE(std::ranges::equal(named(healed, name).constant->bytes(),
                                   named(fine, name).constant->bytes()))
        << name;
  }
  const Model back =
      with_biases(with_stored_weights(healed, coarse, {tensor_named(coarse, "w")}), biases);
  EXPECT_EQ(named(back, "w").quant.scale, named(coarse, "w").quant.scale);
  EXPECT_TRUE(
      std::ranges::equal(named(back, "b").constant->bytes(), named(coarse, "b").constant->bytes()));
  const Model as_stored = with_weights(coarse, weights);
  EXPECT_EQ(named(as_stored, "w").quant.scale, named(coarse, "w").quant.scale);
}

TEST(Rewrite, ABiasThatNoLongerFitsRaisesItsWeightScale) {
  Model real = float_model();
  std::vector<float> kernel(54, 1e-7f);
  real.main().tensors[static_cast<std::size_t>(tensor_named(real, "w"))].constant =
      Array::of<float>({3, 3, 3, 2}, kernel);
  real.main().tensors[static_cast<std::size_t>(tensor_named(real, "b"))].constant =
      Array::of<float>({3}, {1000, 1, 0});
  const Model q = quantize_static(real, ranges_of(real)).model;
  const Model r = with_activation_quant(
      q, {{tensor_named(q, "x"), activation_quant(-0.01f, 0.01f, DType::kInt8)}});
  const std::vector<double> bias = real_bias(r, weighted_layers(r)[0]);
  EXPECT_NEAR(bias[0], 1000, 1e-3);
  EXPECT_NEAR(bias[1], 1, 1e-5);
}

TEST(Static, RefusesWhatCalibrationNeverSaw) {
  const Model real = float_model();
  Ranges r = ranges_of(real);
  r.min[static_cast<std::size_t>(tensor_named(real, "logits"))] = std::nanf("");
  try {
    quantize_static(real, r);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("logits"), std::string::npos) << e.what();
  }
}

TEST(Static, Uint8BorderShiftsTheZeroPoint) {
  const Model real = float_model();
  const Model q =
      quantize_static(real, ranges_of(real), {Granularity::kPerChannel, InputOutput::kUint8}).model;
  const Tensor& in = q.main().tensors[static_cast<std::size_t>(q.main().inputs[0])];
  EXPECT_EQ(in.dtype, DType::kUint8);
  EXPECT_EQ(in.quant.zero_point[0], named(q, "x").quant.zero_point[0] + 128);
}

TEST(DynamicRange, SizeRule) {
  const Model real = float_model();
  const WeightResult all = quantize_dynamic_range(real, 50);
  EXPECT_EQ(all.quantized, 1u);
  EXPECT_EQ(all.kept, 1u);
  EXPECT_EQ(all.largest_kept, 24u);
  const WeightResult none = quantize_dynamic_range(real);
  EXPECT_EQ(none.quantized, 0u);
  EXPECT_EQ(none.largest_kept, 54u);
}

TEST(Float16, EveryConstantBehindADequantize) {
  const WeightResult half = quantize_float16(float_model());
  EXPECT_EQ(half.quantized, 4u);
  EXPECT_EQ(half.model.main().ops.size(), 9u);
}

}  // namespace
}  // namespace litegap
