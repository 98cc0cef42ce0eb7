// Convolutions.
//
//   Conv1D            [N, T, C] as an image of height 1: RESHAPE, CONV_2D, RESHAPE
//   Conv1D causal     PAD at the front, then valid
//   Conv3D            one CONV_2D for each depth of the kernel, added: every runtime has CONV_2D
//   Conv2DTranspose   TRANSPOSE_CONV; a dilated kernel is spread out with zeros
//
// Kernels: HWIO -> OHWI; depthwise [h, w, in, multiplier] -> [1, h, w, in * multiplier];
// transposed [h, w, out, in] -> [out, h, w, in].
#include <algorithm>

#include "keras/conv.h"

namespace litegap {

bool channels_first(LayerCall& c) {
  const std::string f = config_text(c.layer, "data_format", "channels_last");
  if (f != "channels_first" && f != "channels_last") refuse(c.layer, "data_format {}", f);
  return f == "channels_first";
}

int to_channels_last(GraphBuilder& b, int x, bool first) {
  if (!first) return x;
  std::vector<int> perm = {0};
  for (int d = 2; d < b.rank(x); ++d) perm.push_back(d);
  perm.push_back(1);
  return b.transpose(x, perm);
}

int from_channels_last(GraphBuilder& b, int x, bool first) {
  if (!first) return x;
  std::vector<int> perm = {0, b.rank(x) - 1};
  for (int d = 1; d < b.rank(x) - 1; ++d) perm.push_back(d);
  return b.transpose(x, perm);
}

LayerWindow conv_window(LayerCall& c, std::size_t axes) {
  LayerWindow w;
  if (config_value(c.layer, "kernel_size") == nullptr) refuse(c.layer, "kernel_size is missing");
  w.kernel = config_ints(c.layer, "kernel_size", axes, 1);
  w.stride = config_ints(c.layer, "strides", axes, 1);
  w.dilation = config_ints(c.layer, "dilation_rate", axes, 1);
  w.padding = config_text(c.layer, "padding", "valid");
  for (std::size_t d = 0; d < axes; ++d) {
    if (w.kernel[d] < 1 || w.stride[d] < 1 || w.dilation[d] < 1 ||
        std::int64_t{w.kernel[d]} * w.dilation[d] > (1 << 24)) {
      refuse(c.layer, "kernel {}, stride {}, dilation {}", w.kernel[d], w.stride[d], w.dilation[d]);
    }
  }
  return w;
}

LayerWindow pool_window(LayerCall& c, std::size_t axes) {
  LayerWindow w;
  const char* key = config_value(c.layer, "pool_size") == nullptr ? "pool_length" : "pool_size";
  w.kernel = config_ints(c.layer, key, axes, 2);
  w.stride = config_value(c.layer, "strides") == nullptr ? w.kernel
                                                         : config_ints(c.layer, "strides", axes, 1);
  w.dilation.assign(axes, 1);
  w.padding = config_text(c.layer, "padding", "valid");
  return w;
}

int window_output(int in, int kernel, int stride, int dilation, const std::string& padding) {
  if (kernel < 1 || stride < 1 || dilation < 1) {
    fail("kernel {}, stride {}, dilation {}: expected positive numbers", kernel, stride, dilation);
  }
  if (padding == "same") return (in + stride - 1) / stride;
  if (padding != "valid" && padding != "causal") fail("padding {} is not known", padding);
  const std::int64_t reach = std::int64_t{kernel - 1} * dilation + 1;
  const std::int64_t length = padding == "causal" ? in + reach - 1 : in;
  if (length < reach) fail("a window of {} on an axis of {}", reach, in);
  return static_cast<int>((length - reach) / stride + 1);
}

std::pair<int, int> same_pads(int in, int kernel, int stride, int dilation) {
  const int out = (in + stride - 1) / stride;
  const int total = std::max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - in);
  return {total / 2, total - total / 2};
}

int lift(GraphBuilder& b, int x) {
  const Shape s = b.shape(x);
  return b.reshape(x, {s[0], 1, s[1], s[2]});
}

int drop(GraphBuilder& b, int x) {
  const Shape s = b.shape(x);
  return b.reshape(x, {s[0], s[2], s[3]});
}

namespace {

Padding tflite_padding(const std::string& padding) {
  return padding == "same" ? Padding::kSame : Padding::kValid;
}

LayerWindow flat(const LayerWindow& w) {  // one axis -> two
  return {{1, w.kernel[0]},
          {1, w.stride[0]},
          {1, w.dilation[0]},
          w.padding == "causal" ? "valid" : w.padding};
}

void expect_rank(LayerCall& c, int x, int rank) {
  if (c.b.rank(x) != rank) {
    refuse(c.layer, "its input has shape {}, expected {} dimensions", shape_text(c.b.shape(x)),
           rank);
  }
}

int activate(LayerCall& c, int y) {
  return lower_activation(c, y, config_value(c.layer, "activation"));
}

int causal_pad(LayerCall& c, int x, const LayerWindow& w) {
  if (w.padding != "causal") return x;
  return c.b.pad(x, {{0, 0}, {(w.kernel[0] - 1) * w.dilation[0], 0}, {0, 0}});
}

}  // namespace

int bias_of(LayerCall& c, int units, const std::string& name, const std::string& sub) {
  if (!config_bool(c.layer, "use_bias", true)) return -1;
  return c.weight({.name = name, .shape = {units}, .role = "bias", .sub = sub});
}

int conv_2d(GraphBuilder& b, int x, int weights, int bias, const LayerWindow& w) {
  const Shape s = b.shape(x);
  const Shape out = {s[0], window_output(s[1], w.kernel[0], w.stride[0], w.dilation[0], w.padding),
                     window_output(s[2], w.kernel[1], w.stride[1], w.dilation[1], w.padding),
                     b.shape(weights)[0]};
  ConvAttrs a;
  a.padding = tflite_padding(w.padding);
  a.stride_h = w.stride[0];
  a.stride_w = w.stride[1];
  a.dilation_h = w.dilation[0];
  a.dilation_w = w.dilation[1];
  if (bias < 0) {
    bias = b.constant(Array::zeros(DType::kFloat32, {out[3]}), b.scope + "/no_bias");
  }
  return b.emit(OpCode::kConv2d, {x, weights, bias}, out, a);
}

int depthwise_2d(GraphBuilder& b, int x, int weights, int bias, const LayerWindow& w,
                 int multiplier) {
  const Shape s = b.shape(x);
  const Shape out = {s[0], window_output(s[1], w.kernel[0], w.stride[0], w.dilation[0], w.padding),
                     window_output(s[2], w.kernel[1], w.stride[1], w.dilation[1], w.padding),
                     product(s[3], multiplier)};
  DepthwiseAttrs a;
  a.padding = tflite_padding(w.padding);
  a.stride_h = w.stride[0];
  a.stride_w = w.stride[1];
  a.dilation_h = w.dilation[0];
  a.dilation_w = w.dilation[1];
  a.depth_multiplier = multiplier;
  if (bias < 0) {
    bias = b.constant(Array::zeros(DType::kFloat32, {out[3]}), b.scope + "/no_bias");
  }
  return b.emit(OpCode::kDepthwiseConv2d, {x, weights, bias}, out, a);
}

namespace {

// ---- Conv1D, Conv2D -----------------------------------------------------------------------------
int groups_of(LayerCall& c, int channels, int filters) {
  const int groups = config_int(c.layer, "groups", 1);
  if (groups < 1 || channels % groups != 0 || filters % groups != 0) {
    refuse(c.layer, "{} groups of {} channels to {} filters", groups, channels, filters);
  }
  return groups;
}

std::vector<LayerValue> lower_conv1d(LayerCall& c) {
  const bool first = channels_first(c);
  int x = to_channels_last(c.b, c.x(), first);
  expect_rank(c, x, 3);
  const LayerWindow w = conv_window(c, 1);
  const int filters = config_int(c.layer, "filters"), in = c.b.shape(x)[2];
  const int part = in / groups_of(c, in, filters);
  const int kernel = c.weight({.name = "kernel",
                               .shape = {w.kernel[0], part, filters},
                               .perm = {2, 0, 1},
                               .as = {filters, 1, w.kernel[0], part},
                               .role = "kernel",
                               .initializer = "glorot_uniform"});
  x = lift(c.b, causal_pad(c, x, w));
  const int y = drop(c.b, conv_2d(c.b, x, kernel, bias_of(c, filters), flat(w)));
  return c.one(activate(c, from_channels_last(c.b, y, first)));
}

std::vector<LayerValue> lower_conv2d(LayerCall& c) {
  const bool first = channels_first(c);
  const int x = to_channels_last(c.b, c.x(), first);
  expect_rank(c, x, 4);
  const LayerWindow w = conv_window(c, 2);
  const int filters = config_int(c.layer, "filters"), in = c.b.shape(x)[3];
  const int kernel =
      c.weight({.name = "kernel",
                .shape = {w.kernel[0], w.kernel[1], in / groups_of(c, in, filters), filters},
                .perm = {3, 0, 1, 2},
                .role = "kernel",
                .initializer = "glorot_uniform"});
  const int y = conv_2d(c.b, x, kernel, bias_of(c, filters), w);
  return c.one(activate(c, from_channels_last(c.b, y, first)));
}

// ---- Conv3D -------------------------------------------------------------------------------------
int depth_slice(GraphBuilder& b, int merged, int begin, int count, int stride, const Shape& image) {
  const int part = b.slice(merged, 1, begin, begin + (count - 1) * stride + 1, stride);
  return b.reshape(part, {b.shape(merged)[0] * count, image[2], image[3], image[4]});
}

std::vector<LayerValue> lower_conv3d(LayerCall& c) {
  const bool first = channels_first(c);
  const int x = to_channels_last(c.b, c.x(), first);
  expect_rank(c, x, 5);
  const Shape s = c.b.shape(x);
  const LayerWindow w = conv_window(c, 3);
  const int filters = config_int(c.layer, "filters");
  const int part = s[4] / groups_of(c, s[4], filters);
  const int kernel = c.weight({.name = "kernel",
                               .shape = {w.kernel[0], w.kernel[1], w.kernel[2], part, filters},
                               .perm = {0, 4, 1, 2, 3},
                               .role = "kernel",
                               .initializer = "glorot_uniform"});
  const int bias = bias_of(c, filters);
  const int depth = window_output(s[1], w.kernel[0], w.stride[0], w.dilation[0], w.padding);
  int merged = c.b.reshape(x, {s[0], s[1], s[2] * s[3] * s[4]});
  if (w.padding == "same") {
    merged =
        c.b.pad(merged, {{0, 0}, same_pads(s[1], w.kernel[0], w.stride[0], w.dilation[0]), {0, 0}});
  }
  const LayerWindow plane{{w.kernel[1], w.kernel[2]},
                          {w.stride[1], w.stride[2]},
                          {w.dilation[1], w.dilation[2]},
                          w.padding};
  int sum = -1;
  for (int k = 0; k < w.kernel[0]; ++k) {
    const int image = depth_slice(c.b, merged, k * w.dilation[0], depth, w.stride[0], s);
    const int taps = c.b.reshape(constant_part(c, kernel, 0, k, k + 1),
                                 {filters, w.kernel[1], w.kernel[2], part});
    const int y = conv_2d(c.b, image, taps, k == 0 ? bias : -1, plane);
    sum = sum < 0 ? y : c.b.add(sum, y);
  }
  const Shape o = c.b.shape(sum);
  const int y = c.b.reshape(sum, {s[0], depth, o[1], o[2], o[3]});
  return c.one(activate(c, from_channels_last(c.b, y, first)));
}

// ---- depthwise and separable --------------------------------------------------------------------
int depthwise(LayerCall& c, int x, const LayerWindow& w, const std::string& name, int bias) {
  const int in = c.b.shape(x)[3], multiplier = config_int(c.layer, "depth_multiplier", 1);
  if (multiplier < 1) refuse(c.layer, "depth_multiplier is {}", multiplier);
  product(in, multiplier);
  const bool one = w.kernel.size() == 1;
  const Shape shape =
      one ? Shape{w.kernel[0], in, multiplier} : Shape{w.kernel[0], w.kernel[1], in, multiplier};
  const LayerWindow plane = one ? flat(w) : w;
  const int kernel = c.weight({.name = name,
                               .shape = shape,
                               .as = {1, plane.kernel[0], plane.kernel[1], in * multiplier},
                               .role = "depthwise",
                               .initializer = "glorot_uniform"});
  return depthwise_2d(c.b, x, kernel, bias, plane, multiplier);
}

template <int kAxes>
std::vector<LayerValue> lower_depthwise(LayerCall& c) {
  const bool first = channels_first(c);
  int x = to_channels_last(c.b, c.x(), first);
  expect_rank(c, x, kAxes + 2);
  const LayerWindow w = conv_window(c, kAxes);
  const int multiplier = config_int(c.layer, "depth_multiplier", 1);
  const int channels = product(c.b.shape(x)[kAxes + 1], multiplier);
  if (kAxes == 1) x = lift(c.b, causal_pad(c, x, w));
  // Keras asks for the kernel first: the order of the variables.
  const auto with_bias = [&]() {
    const int plain = depthwise(c, x, w, "kernel", -1);
    const int bias = bias_of(c, channels);
    if (bias >= 0) c.b.graph.ops.back().inputs[2] = bias;
    return plain;
  };
  int y = with_bias();
  if (kAxes == 1) y = drop(c.b, y);
  return c.one(activate(c, from_channels_last(c.b, y, first)));
}

template <int kAxes>
std::vector<LayerValue> lower_separable(LayerCall& c) {
  const bool first = channels_first(c);
  int x = to_channels_last(c.b, c.x(), first);
  expect_rank(c, x, kAxes + 2);
  const LayerWindow w = conv_window(c, kAxes);
  const int filters = config_int(c.layer, "filters");
  const int middle = product(c.b.shape(x)[kAxes + 1], config_int(c.layer, "depth_multiplier", 1));
  if (kAxes == 1) x = lift(c.b, causal_pad(c, x, w));
  const int d = depthwise(c, x, w, "depthwise_kernel", -1);
  const Shape shape = kAxes == 1 ? Shape{1, middle, filters} : Shape{1, 1, middle, filters};
  const std::vector<int> perm =
      kAxes == 1 ? std::vector<int>{2, 0, 1} : std::vector<int>{3, 0, 1, 2};
  const int point = c.weight({.name = "pointwise_kernel",
                              .shape = shape,
                              .perm = perm,
                              .as = {filters, 1, 1, middle},
                              .role = "pointwise",
                              .initializer = "glorot_uniform"});
  int y = conv_2d(c.b, d, point, bias_of(c, filters), {{1, 1}, {1, 1}, {1, 1}, "valid"});
  if (kAxes == 1) y = drop(c.b, y);
  return c.one(activate(c, from_channels_last(c.b, y, first)));
}

// ---- transposed ---------------------------------------------------------------------------------
int transposed_output(LayerCall& c, int in, int kernel, int stride, int dilation,
                      const std::string& padding, std::optional<int> extra) {
  if (kernel < 1 || stride < 1 || dilation < 1)
    refuse(c.layer, "kernel {}, stride {}", kernel, stride);
  const int reach = (kernel - 1) * dilation + 1;
  if (product(in, stride) > (1 << 28)) refuse(c.layer, "an output of {} times {}", in, stride);
  if (padding != "same" && padding != "valid") refuse(c.layer, "padding {}", padding);
  if (!extra) {
    return padding == "same" ? in * stride : in * stride + std::max(reach - stride, 0);
  }
  const int cut = padding == "same" ? reach / 2 : 0;
  return (in - 1) * stride + reach - 2 * cut + *extra;
}

std::vector<std::optional<int>> output_padding(LayerCall& c, std::size_t axes) {
  if (config_value(c.layer, "output_padding") == nullptr) {
    return std::vector<std::optional<int>>(axes);
  }
  const auto all = config_ints(c.layer, "output_padding", axes, 0);
  return {all.begin(), all.end()};
}

// Zeros between the taps of [.., h, w, ..] at axes 1 and 2.
int spread(LayerCall& c, int weights, int dh, int dw) {
  if (dh == 1 && dw == 1) return weights;
  if (c.training() && !c.lower.declaring) {
    refuse(c.layer, "a dilated transposed convolution is not supported in training");
  }
  const Array w = *c.b.graph.tensors[static_cast<std::size_t>(weights)].constant;
  const Shape s = w.shape();
  Array out = Array::zeros(DType::kFloat32, {s[0], (s[1] - 1) * dh + 1, (s[2] - 1) * dw + 1, s[3]});
  const auto from = w.span<float>();
  const auto to = out.mutable_span<float>();
  const std::size_t row = static_cast<std::size_t>(out.shape()[2]) * static_cast<std::size_t>(s[3]);
  std::size_t i = 0;
  for (std::int32_t o = 0; o < s[0]; ++o) {
    for (std::int32_t y = 0; y < s[1]; ++y) {
      for (std::int32_t x = 0; x < s[2]; ++x) {
        const std::size_t at =
            (static_cast<std::size_t>(o) * static_cast<std::size_t>(out.shape()[1]) +
             static_cast<std::size_t>(y * dh)) *
                row +
            static_cast<std::size_t>(x * dw) * static_cast<std::size_t>(s[3]);
        for (std::int32_t k = 0; k < s[3]; ++k) to[at + static_cast<std::size_t>(k)] = from[i++];
      }
    }
  }
  return c.b.constant(std::move(out), c.layer.path + "/kernel_spread");
}

int transpose_conv(GraphBuilder& b, int x, int weights, int bias, int height, int width,
                   const std::vector<int>& stride, const std::string& padding) {
  const Shape out = {b.shape(x)[0], height, width, b.shape(weights)[0]};
  TransposeConvAttrs a;
  a.padding = tflite_padding(padding);
  a.stride_h = stride[0];
  a.stride_w = stride[1];
  std::vector<int> inputs = {b.ints(out), weights, x};
  if (bias >= 0) inputs.push_back(bias);
  return b.emit(OpCode::kTransposeConv, inputs, out, a);
}

std::vector<LayerValue> lower_conv1d_transpose(LayerCall& c) {
  const bool first = channels_first(c);
  const int x = to_channels_last(c.b, c.x(), first);
  expect_rank(c, x, 3);
  const LayerWindow w = conv_window(c, 1);
  const int filters = config_int(c.layer, "filters"), in = c.b.shape(x)[2];
  int kernel = c.weight({.name = "kernel",
                         .shape = {w.kernel[0], filters, in},
                         .perm = {1, 0, 2},
                         .as = {filters, 1, w.kernel[0], in},
                         .role = "kernel",
                         .initializer = "glorot_uniform"});
  kernel = spread(c, kernel, 1, w.dilation[0]);
  const int length = transposed_output(c, c.b.shape(x)[1], w.kernel[0], w.stride[0], w.dilation[0],
                                       w.padding, output_padding(c, 1)[0]);
  const int y = transpose_conv(c.b, lift(c.b, x), kernel, bias_of(c, filters), 1, length,
                               {1, w.stride[0]}, w.padding);
  return c.one(activate(c, from_channels_last(c.b, drop(c.b, y), first)));
}

std::vector<LayerValue> lower_conv2d_transpose(LayerCall& c) {
  const bool first = channels_first(c);
  const int x = to_channels_last(c.b, c.x(), first);
  expect_rank(c, x, 4);
  const Shape s = c.b.shape(x);
  const LayerWindow w = conv_window(c, 2);
  const int filters = config_int(c.layer, "filters");
  int kernel = c.weight({.name = "kernel",
                         .shape = {w.kernel[0], w.kernel[1], filters, s[3]},
                         .perm = {2, 0, 1, 3},
                         .role = "kernel",
                         .initializer = "glorot_uniform"});
  kernel = spread(c, kernel, w.dilation[0], w.dilation[1]);
  const auto extra = output_padding(c, 2);
  const int height =
      transposed_output(c, s[1], w.kernel[0], w.stride[0], w.dilation[0], w.padding, extra[0]);
  const int width =
      transposed_output(c, s[2], w.kernel[1], w.stride[1], w.dilation[1], w.padding, extra[1]);
  const int y =
      transpose_conv(c.b, x, kernel, bias_of(c, filters), height, width, w.stride, w.padding);
  return c.one(activate(c, from_channels_last(c.b, y, first)));
}

// One TRANSPOSE_CONV a depth of the kernel; each result is spread along depth with zeros and added.
std::vector<LayerValue> lower_conv3d_transpose(LayerCall& c) {
  GraphBuilder& b = c.b;
  const bool first = channels_first(c);
  const int x = to_channels_last(b, c.x(), first);
  expect_rank(c, x, 5);
  const Shape s = b.shape(x);
  const LayerWindow w = conv_window(c, 3);
  if (w.dilation != std::vector<int>{1, 1, 1}) refuse(c.layer, "dilation_rate other than 1");
  const int filters = config_int(c.layer, "filters");
  const int kernel = c.weight({.name = "kernel",
                               .shape = {w.kernel[0], w.kernel[1], w.kernel[2], filters, s[4]},
                               .perm = {0, 3, 1, 2, 4},
                               .role = "kernel",
                               .initializer = "glorot_uniform"});
  const int bias = bias_of(c, filters);
  const auto extra = output_padding(c, 3);
  int out[3];
  for (std::size_t d = 0; d < 3; ++d) {
    out[d] = transposed_output(c, s[d + 1], w.kernel[d], w.stride[d], 1, w.padding, extra[d]);
  }
  const int full = std::max((s[1] - 1) * w.stride[0] + w.kernel[0], out[0]);
  const int cut =
      w.padding == "same" ? std::max((s[1] - 1) * w.stride[0] + w.kernel[0] - out[0], 0) / 2 : 0;
  const int images = b.reshape(x, {s[0] * s[1], s[2], s[3], s[4]});
  const int plane = out[1] * out[2] * filters;
  int sum = -1;
  for (int k = 0; k < w.kernel[0]; ++k) {
    const int taps =
        b.reshape(constant_part(c, kernel, 0, k, k + 1), {filters, w.kernel[1], w.kernel[2], s[4]});
    int y =
        transpose_conv(b, images, taps, -1, out[1], out[2], {w.stride[1], w.stride[2]}, w.padding);
    y = b.reshape(y, {s[0], s[1], 1, plane});
    y = b.pad(y, {{0, 0}, {0, 0}, {0, w.stride[0] - 1}, {0, 0}});
    y = b.reshape(y, {s[0], s[1] * w.stride[0], plane});
    const int used = (s[1] - 1) * w.stride[0] + 1;
    y = b.slice(y, 1, 0, used);
    y = b.pad(y, {{0, 0}, {k, full - used - k}, {0, 0}});
    sum = sum < 0 ? y : b.add(sum, y);
  }
  int y = b.slice(sum, 1, cut, cut + out[0]);
  y = b.reshape(y, {s[0] * out[0], out[1], out[2], filters});
  if (bias >= 0) y = b.add(y, bias);
  y = b.reshape(y, {s[0], out[0], out[1], out[2], filters});
  return c.one(activate(c, from_channels_last(b, y, first)));
}

std::vector<LayerValue> lower_dense(LayerCall& c) {
  const int x = c.x(), units = config_int(c.layer, "units"), in = c.b.shape(x).back();
  if (c.b.rank(x) < 2) refuse(c.layer, "its input has shape {}", shape_text(c.b.shape(x)));
  if (config_value(c.layer, "lora_rank") != nullptr) refuse(c.layer, "lora_rank is not supported");
  const int kernel = c.weight({.name = "kernel",
                               .shape = {in, units},
                               .perm = {1, 0},
                               .role = "kernel",
                               .initializer = "glorot_uniform"});
  return c.one(activate(c, c.b.fully_connected(x, kernel, bias_of(c, units))));
}

std::vector<LayerValue> lower_embedding(LayerCall& c) {
  const int x = c.raw(), n = config_int(c.layer, "input_dim"),
            dim = config_int(c.layer, "output_dim");
  const int table = c.weight({.name = "embeddings",
                              .shape = {n, dim},
                              .role = "embeddings",
                              .initializer = "random_uniform"});
  int mask = -1;
  if (config_bool(c.layer, "mask_zero", false)) {
    const int f = c.b.cast(x, DType::kFloat32);
    mask = c.b.binary(OpCode::kNotEqual, f, c.b.scalar(0));
  }
  return c.one(c.b.gather(table, c.b.cast(x, DType::kInt32), 0), mask);
}

}  // namespace

std::span<const LayerRow> product_layers() {
  static constexpr LayerRow rows[] = {{"Dense", lower_dense, true},
                                      {"Embedding", lower_embedding},
                                      {"Conv1D", lower_conv1d},
                                      {"Convolution1D", lower_conv1d},
                                      {"Conv2D", lower_conv2d},
                                      {"Convolution2D", lower_conv2d},
                                      {"Conv3D", lower_conv3d},
                                      {"Convolution3D", lower_conv3d},
                                      {"DepthwiseConv1D", lower_depthwise<1>},
                                      {"DepthwiseConv2D", lower_depthwise<2>},
                                      {"SeparableConv1D", lower_separable<1>},
                                      {"SeparableConvolution1D", lower_separable<1>},
                                      {"SeparableConv2D", lower_separable<2>},
                                      {"SeparableConvolution2D", lower_separable<2>},
                                      {"Conv1DTranspose", lower_conv1d_transpose},
                                      {"Convolution1DTranspose", lower_conv1d_transpose},
                                      {"Conv2DTranspose", lower_conv2d_transpose},
                                      {"Convolution2DTranspose", lower_conv2d_transpose},
                                      {"Conv3DTranspose", lower_conv3d_transpose},
                                      {"Convolution3DTranspose", lower_conv3d_transpose}};
  return rows;
}

int constant_part(LayerCall& c, int tensor, int axis, int begin, int end) {
  GraphBuilder& b = c.b;
  const auto& held = b.graph.tensors[static_cast<std::size_t>(tensor)].constant;
  if (c.training() || !held) return b.slice(tensor, axis, begin, end);
  const Array whole = *held;
  const Shape s = whole.shape();
  std::size_t outer = 1, inner = 1;
  for (std::size_t d = 0; d < s.size(); ++d) {
    const auto n = static_cast<std::size_t>(s[d]);
    if (static_cast<int>(d) < axis) outer *= n;
    if (static_cast<int>(d) > axis) inner *= n;
  }
  Shape shape = s;
  shape[static_cast<std::size_t>(axis)] = end - begin;
  Array out = Array::zeros(DType::kFloat32, shape);
  const auto n = static_cast<std::size_t>(s[static_cast<std::size_t>(axis)]);
  const auto from = whole.span<float>();
  auto to = out.mutable_span<float>().begin();
  for (std::size_t o = 0; o < outer; ++o) {
    const auto first = from.begin() + static_cast<std::ptrdiff_t>(
                                          (o * n + static_cast<std::size_t>(begin)) * inner);
    to = std::copy(
        first, first + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(end - begin) * inner),
        to);
  }
  return b.constant(std::move(out),
                    b.graph.tensors[static_cast<std::size_t>(tensor)].name + "/part");
}

}  // namespace litegap
