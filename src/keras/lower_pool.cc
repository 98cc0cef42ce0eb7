// Pooling.  One axis is an image of height 1; three axes are pooled as images and then along depth:
// the largest of the largest is the largest, and a mean of means over equal counts is the mean (the
// counts that SAME leaves out at the border are a product of one per axis).
#include "keras/conv.h"

namespace litegap {

int pool_2d(GraphBuilder& b, OpCode code, int x, const LayerWindow& w) {
  const Shape s = b.shape(x);
  const Shape out = {s[0], window_output(s[1], w.kernel[0], w.stride[0], 1, w.padding),
                     window_output(s[2], w.kernel[1], w.stride[1], 1, w.padding), s[3]};
  PoolAttrs a;
  a.padding = w.padding == "same" ? Padding::kSame : Padding::kValid;
  a.filter_h = w.kernel[0];
  a.filter_w = w.kernel[1];
  a.stride_h = w.stride[0];
  a.stride_w = w.stride[1];
  return b.emit(code, {x}, out, a);
}

namespace {

template <bool kMax, int kAxes>
std::vector<LayerValue> lower_pool(LayerCall& c) {
  GraphBuilder& b = c.b;
  const OpCode code = kMax ? OpCode::kMaxPool2d : OpCode::kAveragePool2d;
  const bool first = channels_first(c);
  const int x = to_channels_last(b, c.x(), first);
  if (b.rank(x) != kAxes + 2) {
    refuse(c.layer, "its input has shape {}, expected {} dimensions", shape_text(b.shape(x)),
           kAxes + 2);
  }
  const LayerWindow w = pool_window(c, kAxes);
  int y = x;
  if constexpr (kAxes == 1) {
    y = drop(b,
             pool_2d(b, code, lift(b, x), {{1, w.kernel[0]}, {1, w.stride[0]}, {1, 1}, w.padding}));
  } else if constexpr (kAxes == 2) {
    y = pool_2d(b, code, x, w);
  } else {
    const Shape s = b.shape(x);
    y = b.reshape(x, {s[0] * s[1], s[2], s[3], s[4]});
    y = pool_2d(b, code, y,
                {{w.kernel[1], w.kernel[2]}, {w.stride[1], w.stride[2]}, {1, 1}, w.padding});
    const Shape p = b.shape(y);
    y = b.reshape(y, {s[0], s[1], p[1] * p[2], p[3]});
    y = pool_2d(b, code, y, {{w.kernel[0], 1}, {w.stride[0], 1}, {1, 1}, w.padding});
    y = b.reshape(y, {s[0], b.shape(y)[1], p[1], p[2], p[3]});
  }
  return c.one(from_channels_last(b, y, first));
}

// A mean over the time steps that the mask leaves, as GlobalAveragePooling1D does.
int masked_mean(LayerCall& c, int x, int mask, bool keep) {
  GraphBuilder& b = c.b;
  const Shape m = b.shape(mask);
  const int weights = b.reshape(b.cast(mask, DType::kFloat32), {m[0], m[1], 1});
  const int sum = b.reduce(OpCode::kSum, b.mul(x, weights), {1}, keep);
  return b.div(sum, b.reduce(OpCode::kSum, weights, {1}, keep));
}

template <bool kMax, int kAxes>
std::vector<LayerValue> lower_global(LayerCall& c) {
  GraphBuilder& b = c.b;
  const int x = c.x();
  if (b.rank(x) != kAxes + 2) {
    refuse(c.layer, "its input has shape {}, expected {} dimensions", shape_text(b.shape(x)),
           kAxes + 2);
  }
  const bool keep = config_bool(c.layer, "keepdims", false), first = channels_first(c);
  if (!kMax && kAxes == 1 && c.mask() >= 0 && !first)
    return c.one(masked_mean(c, x, c.mask(), keep));
  std::vector<int> axes;
  for (int d = 0; d < kAxes; ++d) axes.push_back(d + (first ? 2 : 1));
  return c.one(b.reduce(kMax ? OpCode::kReduceMax : OpCode::kMean, x, axes, keep));
}

}  // namespace

std::span<const LayerRow> pool_layers() {
  static constexpr LayerRow rows[] = {{"MaxPooling1D", lower_pool<true, 1>},
                                      {"MaxPool1D", lower_pool<true, 1>},
                                      {"MaxPooling2D", lower_pool<true, 2>},
                                      {"MaxPool2D", lower_pool<true, 2>},
                                      {"MaxPooling3D", lower_pool<true, 3>},
                                      {"MaxPool3D", lower_pool<true, 3>},
                                      {"AveragePooling1D", lower_pool<false, 1>},
                                      {"AvgPool1D", lower_pool<false, 1>},
                                      {"AveragePooling2D", lower_pool<false, 2>},
                                      {"AvgPool2D", lower_pool<false, 2>},
                                      {"AveragePooling3D", lower_pool<false, 3>},
                                      {"AvgPool3D", lower_pool<false, 3>},
                                      {"GlobalMaxPooling1D", lower_global<true, 1>},
                                      {"GlobalMaxPool1D", lower_global<true, 1>},
                                      {"GlobalMaxPooling2D", lower_global<true, 2>},
                                      {"GlobalMaxPool2D", lower_global<true, 2>},
                                      {"GlobalMaxPooling3D", lower_global<true, 3>},
                                      {"GlobalMaxPool3D", lower_global<true, 3>},
                                      {"GlobalAveragePooling1D", lower_global<false, 1>},
                                      {"GlobalAvgPool1D", lower_global<false, 1>},
                                      {"GlobalAveragePooling2D", lower_global<false, 2>},
                                      {"GlobalAvgPool2D", lower_global<false, 2>},
                                      {"GlobalAveragePooling3D", lower_global<false, 3>},
                                      {"GlobalAvgPool3D", lower_global<false, 3>}};
  return rows;
}

}  // namespace litegap
