// Layers of several inputs.  Inputs of fewer dimensions get ones behind the batch, as Keras does.
//
//   Average([a, b, c])   ADD, ADD, MUL by 1/3
//   Dot(axes=1)          rank 2: MUL, SUM; else BATCH_MATMUL of flattened rests
#include <algorithm>

#include "keras/lower.h"

namespace litegap {
namespace {

// The tensors of a list argument, all of one rank.
std::vector<int> merged_inputs(LayerCall& c) {
  GraphBuilder& b = c.b;
  std::vector<int> all;
  int rank = 0;
  for (std::size_t i = 0; i < c.values.size(); ++i) {
    all.push_back(b.dtype(c.raw(i)) == DType::kInt32 ? c.raw(i) : c.x(i));
    rank = std::max(rank, b.rank(all.back()));
  }
  for (int& t : all) {
    Shape s = b.shape(t);
    while (static_cast<int>(s.size()) < rank) s.insert(s.begin() + 1, 1);
    t = b.reshape(t, s);
  }
  return all;
}

// The masks of those inputs that have one, all true together; -1 without any.
int all_masks(LayerCall& c) {
  int mask = -1;
  for (const LayerValue& v : c.values) {
    if (v.mask < 0 || v.mask == mask) continue;
    mask = mask < 0 ? v.mask : c.b.binary(OpCode::kLogicalAnd, mask, v.mask);
  }
  return mask;
}

template <OpCode kCode>
std::vector<LayerValue> lower_binary(LayerCall& c) {
  // keras.ops has functions of the same names whose second operand may be a number.
  if (c.values.size() == 1 && c.args.size() + (c.kwargs.is_object() ? c.kwargs.size() : 0) >= 2) {
    return c.one(c.b.binary(kCode, c.operand(0, "x1"), c.operand(1, "x2")));
  }
  const auto all = merged_inputs(c);
  if (all.size() < 2) refuse(c.layer, "has {} inputs, expected two or more", all.size());
  int y = all[0];
  for (std::size_t i = 1; i < all.size(); ++i) y = c.b.binary(kCode, y, all[i]);
  return c.one(y, all_masks(c));
}

std::vector<LayerValue> lower_average(LayerCall& c) {
  const auto sum = lower_binary<OpCode::kAdd>(c);
  const float share = 1.0f / static_cast<float>(c.values.size());
  return c.one(c.b.mul(sum[0].tensor, c.b.scalar(share)), sum[0].mask);
}

std::vector<LayerValue> lower_concatenate(LayerCall& c) {
  std::vector<int> all;
  for (std::size_t i = 0; i < c.values.size(); ++i) {
    all.push_back(c.b.dtype(c.raw(i)) == DType::kInt32 ? c.raw(i) : c.x(i));
  }
  if (all.empty()) refuse(c.layer, "has no inputs");
  const int axis = positive_axis(config_int(c.layer, "axis", -1), c.b.rank(all[0]));
  if (axis == 0) refuse(c.layer, "joins along the batch");
  int mask = all_masks(c);
  if (mask >= 0 && axis == 1) {
    std::vector<int> masks;
    for (const LayerValue& v : c.values) {
      if (v.mask < 0) refuse(c.layer, "joins masked and other inputs along time");
      masks.push_back(c.b.cast(v.mask, DType::kFloat32));
    }
    mask = c.b.binary(OpCode::kNotEqual, c.b.concat(masks, 1), c.b.scalar(0));
  }
  return c.one(c.b.concat(all, axis), mask);
}

int unit_length(GraphBuilder& b, int x, int axis) {
  const int sum = b.reduce(OpCode::kSum, b.unary(OpCode::kSquare, x), {axis}, true);
  return b.mul(x, b.unary(OpCode::kRsqrt, b.binary(OpCode::kMaximum, sum, b.scalar(1e-12f))));
}

std::vector<LayerValue> lower_dot(LayerCall& c) {
  GraphBuilder& b = c.b;
  if (c.values.size() != 2) refuse(c.layer, "has {} inputs, expected 2", c.values.size());
  int x = c.x(0), y = c.x(1);
  auto axes = config_ints(c.layer, "axes", 2, -1);
  axes[0] = positive_axis(axes[0], b.rank(x));
  axes[1] = positive_axis(axes[1], b.rank(y));
  if (axes[0] == 0 || axes[1] == 0) refuse(c.layer, "axes name the batch");
  if (config_bool(c.layer, "normalize", false)) {
    x = unit_length(b, x, axes[0]);
    y = unit_length(b, y, axes[1]);
  }
  if (b.rank(x) == 2 && b.rank(y) == 2)
    return c.one(b.reduce(OpCode::kSum, b.mul(x, y), {1}, true));
  // [batch, rest, axis] of each.
  Shape out = {b.shape(x)[0]};
  const auto turned = [&](int t, int axis) {
    const Shape s = b.shape(t);
    std::vector<int> perm;
    int rest = 1;
    for (int d = 0; d < b.rank(t); ++d) {
      if (d == axis) continue;
      perm.push_back(d);
      if (d == 0) continue;
      out.push_back(s[static_cast<std::size_t>(d)]);
      rest *= s[static_cast<std::size_t>(d)];
    }
    perm.push_back(axis);
    return b.reshape(b.transpose(t, perm), {s[0], rest, s[static_cast<std::size_t>(axis)]});
  };
  const int u = turned(x, axes[0]), v = turned(y, axes[1]);
  return c.one(b.reshape(b.matmul(u, v, false, true), out));
}

}  // namespace

std::span<const LayerRow> merge_layers() {
  static constexpr LayerRow rows[] = {
      {"Add", lower_binary<OpCode::kAdd>},         {"Subtract", lower_binary<OpCode::kSub>},
      {"Multiply", lower_binary<OpCode::kMul>},    {"Maximum", lower_binary<OpCode::kMaximum>},
      {"Minimum", lower_binary<OpCode::kMinimum>}, {"Average", lower_average},
      {"Concatenate", lower_concatenate},          {"Dot", lower_dot}};
  return rows;
}

}  // namespace litegap
