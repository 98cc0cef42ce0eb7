// Layers that move values: Flatten, Reshape, Permute, RepeatVector, padding, cropping, resizing,
// and the two pre-processing layers that are arithmetic (Rescaling here, Normalization with the
// normalizations).  Values stay what they are, so everything here is exact but the resizing.
#include <algorithm>
#include <cmath>

#include "keras/conv.h"

namespace litegap {
namespace {

std::vector<LayerValue> lower_flatten(LayerCall& c) {
  GraphBuilder& b = c.b;
  const int x = b.rank(c.raw()) > 2 ? to_channels_last(b, c.raw(), channels_first(c)) : c.raw();
  std::int64_t n = 1;
  for (int d = 1; d < b.rank(x); ++d) n *= b.shape(x)[static_cast<std::size_t>(d)];
  return c.one(b.reshape(x, {b.shape(x)[0], static_cast<std::int32_t>(n)}));
}

std::vector<LayerValue> lower_reshape(LayerCall& c) {
  GraphBuilder& b = c.b;
  const Shape s = b.shape(c.raw());
  const std::int64_t all = static_cast<std::int64_t>(shape_elements(s)) / s[0];
  Shape to = {s[0]};
  std::int64_t known = 1;
  std::size_t open = 0;
  for (const int d : config_list(c.layer, "target_shape")) {
    to.push_back(d);
    if (d == -1) {
      if (open != 0) refuse(c.layer, "target_shape leaves two dimensions open");
      open = to.size() - 1;
    } else if (d < 1) {
      refuse(c.layer, "target_shape holds {}", d);
    } else if ((known *= d) > all) {
      break;
    }
  }
  if (open != 0 && all % known == 0) {
    to[open] = static_cast<std::int32_t>(all / known);
    known = all;
  }
  if (known != all) {
    refuse(c.layer, "target_shape {} for an input of shape {}",
           config_value(c.layer, "target_shape")->dump(), shape_text(s));
  }
  return c.one(b.reshape(c.raw(), to));
}

std::vector<LayerValue> lower_permute(LayerCall& c) {
  std::vector<int> perm = {0};
  for (const int d : config_list(c.layer, "dims")) perm.push_back(d);
  std::vector<int> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  for (int d = 0; d < static_cast<int>(sorted.size()); ++d) {
    if (sorted[static_cast<std::size_t>(d)] != d) refuse(c.layer, "dims are not a permutation");
  }
  if (static_cast<int>(perm.size()) != c.b.rank(c.raw())) {
    refuse(c.layer, "dims for an input of shape {}", shape_text(c.b.shape(c.raw())));
  }
  return c.one(c.b.transpose(c.raw(), perm));
}

// Copies along an axis: TILE, or for training a CONCATENATION, which every gradient knows.
int copies(LayerCall& c, int x, int axis, int n) {
  if (n < 1) refuse(c.layer, "{} copies", n);
  if (c.training() && n <= 256)
    return c.b.concat(std::vector<int>(static_cast<std::size_t>(n), x), axis);
  std::vector<int> times(static_cast<std::size_t>(c.b.rank(x)), 1);
  times[static_cast<std::size_t>(axis)] = n;
  return c.b.tile(x, times);
}

std::vector<LayerValue> lower_repeat(LayerCall& c) {
  const Shape s = c.b.shape(c.x());
  if (s.size() != 2)
    refuse(c.layer, "its input has shape {}, expected 2 dimensions", shape_text(s));
  return c.one(copies(c, c.b.reshape(c.x(), {s[0], 1, s[1]}), 1, config_int(c.layer, "n")));
}

// ---- padding, cropping --------------------------------------------------------------------------
// 1, [1, 2] (per axis, both sides) or [[1, 2], [3, 4]]; for one axis [1, 2] is before and after.
std::vector<std::pair<int, int>> sides(LayerCall& c, const char* key, std::size_t axes) {
  const Json* v = config_value(c.layer, key);
  std::vector<std::pair<int, int>> all;
  const auto number = [&](const Json& n) {
    if (!n.is_number_integer() || n.get<std::int64_t>() < 0 || n.get<std::int64_t>() > (1 << 20)) {
      refuse(c.layer, "{} is {}", key, v->dump().substr(0, 80));
    }
    return n.get<int>();
  };
  if (v == nullptr) return std::vector<std::pair<int, int>>(axes, {1, 1});
  if (v->is_number()) return std::vector<std::pair<int, int>>(axes, {number(*v), number(*v)});
  if (axes == 1 && v->is_array() && v->size() == 2 && (*v)[0].is_number()) {
    return {{number((*v)[0]), number((*v)[1])}};
  }
  if (v->is_array() && v->size() == axes) {
    for (const Json& item : *v) {
      if (item.is_array() && item.size() == 2) {
        all.emplace_back(number(item[0]), number(item[1]));
      } else {
        all.emplace_back(number(item), number(item));
      }
    }
    return all;
  }
  refuse(c.layer, "{} is {}", key, v->dump().substr(0, 80));
}

template <int kAxes>
std::vector<LayerValue> lower_padding(LayerCall& c) {
  const int x = c.raw(), first = kAxes > 1 && channels_first(c) ? 2 : 1;
  if (c.b.rank(x) != kAxes + 2) refuse(c.layer, "its input has shape {}", shape_text(c.b.shape(x)));
  std::vector<std::pair<int, int>> pads(kAxes + 2, {0, 0});
  const auto given = sides(c, "padding", kAxes);
  for (std::size_t d = 0; d < kAxes; ++d) pads[static_cast<std::size_t>(first) + d] = given[d];
  return c.one(c.b.pad(x, pads));
}

template <int kAxes>
std::vector<LayerValue> lower_cropping(LayerCall& c) {
  int x = c.raw();
  const int first = kAxes > 1 && channels_first(c) ? 2 : 1;
  if (c.b.rank(x) != kAxes + 2) refuse(c.layer, "its input has shape {}", shape_text(c.b.shape(x)));
  const auto given = sides(c, "cropping", kAxes);
  for (int d = 0; d < kAxes; ++d) {
    const auto [before, after] = given[static_cast<std::size_t>(d)];
    const int n = c.b.shape(x)[static_cast<std::size_t>(first + d)];
    if (before + after >= n) refuse(c.layer, "crops {} and {} of {}", before, after, n);
    x = c.b.slice(x, first + d, before, n - after);
  }
  return c.one(x);
}

// ---- resizing -----------------------------------------------------------------------------------
// Every element n times along an axis of a tensor of any rank.
int stretch(LayerCall& c, int x, int axis, int n) {
  if (n == 1) return x;
  const Shape s = c.b.shape(x);
  std::int32_t before = 1, after = 1;
  for (int d = 1; d <= axis; ++d) before *= s[static_cast<std::size_t>(d)];
  for (std::size_t d = static_cast<std::size_t>(axis) + 1; d < s.size(); ++d) after *= s[d];
  Shape out = s;
  out[static_cast<std::size_t>(axis)] = product(out[static_cast<std::size_t>(axis)], n);
  return c.b.reshape(copies(c, c.b.reshape(x, {s[0], before, 1, after}), 2, n), out);
}

template <int kAxes>
std::vector<LayerValue> lower_upsampling(LayerCall& c) {
  const bool first = kAxes > 1 && channels_first(c);
  int x = to_channels_last(c.b, c.x(), first);
  if (c.b.rank(x) != kAxes + 2) refuse(c.layer, "its input has shape {}", shape_text(c.b.shape(x)));
  const auto size = config_ints(c.layer, "size", kAxes, 2);
  const std::string how = config_text(c.layer, "interpolation", "nearest");
  if (how == "bilinear" && kAxes == 2) {
    const Shape s = c.b.shape(x);
    x = c.b.resize(OpCode::kResizeBilinear, x, product(s[1], size[0]), product(s[2], size[1]),
                   false, true);
  } else if (how != "nearest") {
    refuse(c.layer, "interpolation {} is not supported", how);
  } else {
    for (int d = 0; d < kAxes; ++d) x = stretch(c, x, d + 1, size[static_cast<std::size_t>(d)]);
  }
  return c.one(from_channels_last(c.b, x, first));
}

// The middle part with the proportions of the target, as Keras cuts it.
int crop_to_ratio(LayerCall& c, int x, int height, int width) {
  const int h = c.b.shape(x)[1], w = c.b.shape(x)[2];
  const int ch = std::min(h, static_cast<int>(static_cast<double>(w) * height / width));
  const int cw = std::min(w, static_cast<int>(static_cast<double>(h) * width / height));
  const int top = (h - ch) / 2, left = (w - cw) / 2;
  return c.b.slice(c.b.slice(x, 1, top, top + ch), 2, left, left + cw);
}

std::vector<LayerValue> lower_resizing(LayerCall& c) {
  const bool first = channels_first(c);
  int x = to_channels_last(c.b, c.x(), first);
  if (c.b.rank(x) != 4) refuse(c.layer, "its input has shape {}", shape_text(c.b.shape(x)));
  const int height = config_int(c.layer, "height"), width = config_int(c.layer, "width");
  if (height < 1 || width < 1) refuse(c.layer, "resizes to {} by {}", height, width);
  if (config_bool(c.layer, "pad_to_aspect_ratio", false)) {
    refuse(c.layer, "pad_to_aspect_ratio is not supported");
  }
  if (config_bool(c.layer, "crop_to_aspect_ratio", false)) x = crop_to_ratio(c, x, height, width);
  const bool smaller = height < c.b.shape(x)[1] || width < c.b.shape(x)[2];
  if (config_bool(c.layer, "antialias", false) && smaller) {
    refuse(c.layer, "antialias is not supported");
  }
  const std::string how = config_text(c.layer, "interpolation", "bilinear");
  if (how != "bilinear" && how != "nearest")
    refuse(c.layer, "interpolation {} is not supported", how);
  x = c.b.resize(how == "bilinear" ? OpCode::kResizeBilinear : OpCode::kResizeNearestNeighbor, x,
                 height, width, false, true);
  return c.one(from_channels_last(c.b, x, first));
}

std::vector<LayerValue> lower_center_crop(LayerCall& c) {
  const bool first = channels_first(c);
  int x = to_channels_last(c.b, c.x(), first);
  const int height = config_int(c.layer, "height"), width = config_int(c.layer, "width");
  const int h = c.b.shape(x)[1], w = c.b.shape(x)[2];
  if (c.b.rank(x) != 4 || height < 1 || width < 1)
    refuse(c.layer, "its input has shape {}", shape_text(c.b.shape(x)));
  if (h < height || w < width) refuse(c.layer, "the input is smaller than {} by {}", height, width);
  x = c.b.slice(x, 1, (h - height) / 2, (h - height) / 2 + height);
  x = c.b.slice(x, 2, (w - width) / 2, (w - width) / 2 + width);
  return c.one(from_channels_last(c.b, x, first));
}

// A number, or one number a channel.
int numbers(LayerCall& c, const char* key, float absent) {
  const Json* v = config_value(c.layer, key);
  if (v == nullptr || !v->is_array()) {
    return c.b.scalar(static_cast<float>(config_number(c.layer, key, absent)));
  }
  std::vector<float> all;
  for (const Json& n : *v) {
    if (!n.is_number()) refuse(c.layer, "{} is {}", key, v->dump().substr(0, 80));
    all.push_back(n.get<float>());
  }
  if (all.empty()) refuse(c.layer, "{} is empty", key);
  return c.b.floats(all);
}

std::vector<LayerValue> lower_rescaling(LayerCall& c) {
  const int x = c.x();
  const int scaled = c.b.mul(x, numbers(c, "scale", 1));
  const Json* offset = config_value(c.layer, "offset");
  if (offset == nullptr || (offset->is_number() && offset->get<double>() == 0))
    return c.one(scaled);
  return c.one(c.b.add(scaled, numbers(c, "offset", 0)));
}

std::vector<LayerValue> lower_random(LayerCall& c) {
  if (c.training() && !c.lower.declaring) {
    refuse(c.layer, "random augmentation is not supported in training");
  }
  return c.one(c.raw());
}

}  // namespace

std::span<const LayerRow> shape_layers() {
  static constexpr LayerRow rows[] = {{"Flatten", lower_flatten},
                                      {"Reshape", lower_reshape},
                                      {"Permute", lower_permute},
                                      {"RepeatVector", lower_repeat}};
  return rows;
}

std::span<const LayerRow> image_layers() {
  static constexpr LayerRow rows[] = {
      {"ZeroPadding1D", lower_padding<1>},   {"ZeroPadding2D", lower_padding<2>},
      {"ZeroPadding3D", lower_padding<3>},   {"Cropping1D", lower_cropping<1>},
      {"Cropping2D", lower_cropping<2>},     {"Cropping3D", lower_cropping<3>},
      {"UpSampling1D", lower_upsampling<1>}, {"UpSampling2D", lower_upsampling<2>},
      {"UpSampling3D", lower_upsampling<3>}, {"Resizing", lower_resizing},
      {"CenterCrop", lower_center_crop},     {"Rescaling", lower_rescaling},
      {"RandomFlip", lower_random},          {"RandomRotation", lower_random},
      {"RandomZoom", lower_random},          {"RandomTranslation", lower_random},
      {"RandomContrast", lower_random},      {"RandomBrightness", lower_random},
      {"RandomShear", lower_random},         {"RandomColorJitter", lower_random}};
  return rows;
}

}  // namespace litegap
