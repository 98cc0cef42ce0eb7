// The judge of operators that join, part and rearrange whole tensors.
#include <algorithm>
#include <cmath>

#include "oracle/judge_move.h"

namespace litegap::oracle {
namespace {

// ---- joining and parting
Verdict concatenation(const Node& n) {
  const std::size_t axis = axis_of(n.attrs<ConcatAttrs>().axis, n.shape(0).size());
  Shape out = n.shape(0);
  out[axis] = 0;
  for (std::size_t i = 0; i < n.in.size(); ++i) out[axis] += n.shape(i)[axis];
  Array y = Array::zeros(n.type(0), out);
  std::int32_t start = 0;
  for (std::size_t i = 0; i < n.in.size(); ++i) {
    Array part = n.array(i);
    const Quant &from = n.in[i].quant, &to = n.out_quants[0];
    const bool other = n.type(0) == DType::kUint8 && !from.empty() &&
                       (from.scale[0] != to.scale[0] || from.zero_point[0] != to.zero_point[0]);
    if (other) {
      part = part.clone();
      const float k = from.scale[0] * (1.0f / to.scale[0]);
      const float b = static_cast<float>(-from.zero_point[0]) * k;
      for (std::size_t e = 0; e < part.elements(); ++e) {
        const float v = static_cast<float>(integer(part, e)) * k + b;
        put_integer(part, e, bound(DType::kUint8, std::lround(v) + to.zero_point[0]));
      }
    }
    y = overlaid(y, part, [&](Shape at) {
      at[axis] -= start;
      return at[axis] < 0 || at[axis] >= part.shape()[axis] ? -1 : place(part.shape(), at);
    });
    start += part.shape()[axis];
  }
  return {{y}};
}
void make_concatenation(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4);
  const auto rank = static_cast<std::int32_t>(s.shape(x).size());
  const std::int32_t axis = s.draw.in(-rank, rank - 1);
  std::vector<int> in = {x};
  for (int k = s.draw.in(0, 2); k > 0; --k) {
    Shape shape = s.shape(x);
    shape[axis_of(axis, shape.size())] = s.draw.in(1, 4);
    const bool other = ask.type == DType::kUint8 && s.draw.one_in(2);
    in.push_back(s.input(s.random(ask.type, shape), other ? s.quant(ask.type) : s.at(x).quant));
  }
  s.add(op, ConcatAttrs{axis, Activation::kNone}, in, {{ask.type, s.at(x).quant}});
}

Verdict pack(const Node& n) {
  const std::size_t axis = axis_of(n.attrs<PackAttrs>().axis, n.shape(0).size() + 1);
  Shape out = n.shape(0);
  out.insert(out.begin() + static_cast<std::ptrdiff_t>(axis),
             static_cast<std::int32_t>(n.in.size()));
  Array y = Array::zeros(n.type(0), out);
  for (std::size_t i = 0; i < n.in.size(); ++i) {
    y = overlaid(y, n.array(i), [&](Shape at) {
      if (at[axis] != static_cast<std::int32_t>(i)) return std::int64_t{-1};
      at.erase(at.begin() + static_cast<std::ptrdiff_t>(axis));
      return place(n.shape(i), at);
    });
  }
  return {{y}};
}
void make_pack(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 0, 3);
  const auto rank = static_cast<std::int32_t>(s.shape(x).size());
  std::vector<int> in = {x};
  for (int k = s.draw.in(0, 2); k > 0; --k) in.push_back(s.shaped(ask.type, s.shape(x)));
  s.add(op, PackAttrs{static_cast<std::int32_t>(in.size()), s.draw.in(-rank - 1, rank)}, in,
        {{ask.type, s.at(x).quant}});
}

Verdict parts_of(const Node& n, std::size_t input, std::size_t axis, const Axes& sizes, bool drop) {
  Verdict v;
  std::int32_t start = 0;
  for (const std::int64_t size : sizes) {
    Shape out = n.shape(input);
    out[axis] = static_cast<std::int32_t>(size);
    Array part = pick(n.array(input), out, [&](Shape at) {
      at[axis] += start;
      return place(n.shape(input), at);
    });
    start += out[axis];
    if (drop) out.erase(out.begin() + static_cast<std::ptrdiff_t>(axis));
    v.outputs.push_back(part.reshaped(out));
  }
  return v;
}
Verdict unpack(const Node& n) {
  const auto& a = n.attrs<UnpackAttrs>();
  return parts_of(n, 0, axis_of(a.axis, n.shape(0).size()),
                  Axes(static_cast<std::size_t>(a.num), 1), true);
}
void make_unpack(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4, 4);
  const auto rank = static_cast<std::int32_t>(s.shape(x).size());
  const std::int32_t axis = s.draw.in(-rank, rank - 1);
  const std::int32_t n = s.shape(x)[axis_of(axis, s.shape(x).size())];
  if (n > 8) return;
  s.add(op, UnpackAttrs{n, axis}, {x},
        std::vector<Out>(static_cast<std::size_t>(n), {ask.type, s.at(x).quant}));
}
Verdict split(const Node& n) {
  const std::size_t axis = axis_of(constants_of(n, 0)[0], n.shape(1).size());
  const std::int32_t k = n.attrs<SplitAttrs>().num_splits;
  return parts_of(n, 1, axis, Axes(static_cast<std::size_t>(k), n.shape(1)[axis] / k), false);
}
void make_split(Sketch& s, OpCode op, const Ask& ask) {
  Shape shape = s.draw.shape(static_cast<std::size_t>(s.draw.in(1, 4)), 4);
  const auto rank = static_cast<std::int32_t>(shape.size());
  const std::int32_t axis = s.draw.in(-rank, rank - 1), parts = s.draw.in(1, 3);
  shape[axis_of(axis, shape.size())] = parts * s.draw.in(1, 3);
  const int x = s.shaped(ask.type, shape);
  s.add(op, SplitAttrs{parts}, {s.scalar(axis), x},
        std::vector<Out>(static_cast<std::size_t>(parts), {ask.type, s.at(x).quant}));
}
Verdict split_v(const Node& n) {
  const std::size_t axis = axis_of(constants_of(n, 2)[0], n.shape(0).size());
  Axes sizes = constants_of(n, 1);
  std::int64_t rest = n.shape(0)[axis];
  for (const std::int64_t k : sizes) rest -= std::max<std::int64_t>(k, 0);
  for (std::int64_t& k : sizes) k = k == -1 ? rest : k;
  return parts_of(n, 0, axis, sizes, false);
}
void make_split_v(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4);
  const auto rank = static_cast<std::int32_t>(s.shape(x).size());
  const std::int32_t axis = s.draw.in(-rank, rank - 1);
  const std::int32_t n = s.shape(x)[axis_of(axis, s.shape(x).size())], cut = s.draw.in(0, n);
  const Axes sizes = {cut, s.draw.one_in(2) ? -1 : n - cut};
  s.add(op, SplitAttrs{2}, {x, s.numbers(sizes), s.scalar(axis)},
        {{ask.type, s.at(x).quant}, {ask.type, s.at(x).quant}});
}

// ---- blocks
// [b, h, w, c] of the small image against [b, h * k, w * k, c / k^2] of the large one.
std::int64_t small_place(const Shape& small, const Shape& at, std::int32_t k) {
  const std::int32_t depth = small[3] / (k * k);
  return place(small, {at[0], at[1] / k, at[2] / k, ((at[1] % k) * k + at[2] % k) * depth + at[3]});
}
Verdict depth_to_space(const Node& n) {
  const std::int32_t k = n.attrs<BlockSizeAttrs>().block_size;
  const Shape& in = n.shape(0);
  return {{pick(n.array(0), {in[0], in[1] * k, in[2] * k, in[3] / (k * k)},
                [&](const Shape& at) { return small_place(in, at, k); })}};
}
Verdict space_to_depth(const Node& n) {
  const std::int32_t k = n.attrs<BlockSizeAttrs>().block_size;
  const Shape& in = n.shape(0);
  return {{pick(n.array(0), {in[0], in[1] / k, in[2] / k, in[3] * k * k}, [&](const Shape& at) {
    const std::int32_t cell = at[3] / in[3];
    return place(in, {at[0], at[1] * k + cell / k, at[2] * k + cell % k, at[3] % in[3]});
  })}};
}
void make_blocks(Sketch& s, OpCode op, const Ask& ask) {
  const std::int32_t k = s.draw.in(1, 3);
  Shape shape = s.draw.shape(4, 3);
  if (op == OpCode::kDepthToSpace) shape[3] *= k * k;
  if (op == OpCode::kSpaceToDepth) shape[1] *= k, shape[2] *= k;
  const int x = s.shaped(ask.type, shape);
  s.add(op, BlockSizeAttrs{k}, {x}, {{ask.type, s.at(x).quant}});
}

// The images of a batch are the cells of blocks: image (y * kx + x) * n + b holds the pixels at
// (y, x) of every block of image b.
Verdict batch_blocks(const Node& n, bool to_space) {
  Shape in = n.shape(0);
  Axes block = constants_of(n, 1), edge = constants_of(n, 2);
  const bool flat_image = in.size() == 3;
  if (flat_image) {
    in.insert(in.begin() + 2, 1);
    block.push_back(1);
    edge.insert(edge.end(), {0, 0});
  }
  const auto ky = static_cast<std::int32_t>(block[0]), kx = static_cast<std::int32_t>(block[1]);
  const auto top = static_cast<std::int32_t>(edge[0]), left = static_cast<std::int32_t>(edge[2]);
  const auto tall = static_cast<std::int32_t>(edge[0] + edge[1]),
             wide = static_cast<std::int32_t>(edge[2] + edge[3]);
  const Array x = n.array(0).reshaped(in);
  Shape out;
  Array y;
  if (to_space) {
    const std::int32_t images = in[0] / (ky * kx);
    out = {images, in[1] * ky - tall, in[2] * kx - wide, in[3]};
    y = pick(x, out, [&](const Shape& at) {
      const std::int32_t row = at[1] + top, column = at[2] + left;
      return place(in,
                   {(row % ky * kx + column % kx) * images + at[0], row / ky, column / kx, at[3]});
    });
  } else {
    out = {in[0] * ky * kx, (in[1] + tall) / ky, (in[2] + wide) / kx, in[3]};
    const Quant& q = n.out_quants[0];
    y = overlaid(filled(n.type(0), out, q.empty() ? 0 : q.zero_point[0]), x, [&](const Shape& at) {
      const std::int32_t cell = at[0] / in[0], row = at[1] * ky + cell / kx - top,
                         column = at[2] * kx + cell % kx - left;
      if (row < 0 || row >= in[1] || column < 0 || column >= in[2]) return std::int64_t{-1};
      return place(in, {at[0] % in[0], row, column, at[3]});
    });
  }
  if (flat_image) out.erase(out.begin() + 2);
  return {{y.reshaped(out)}};
}
Verdict batch_to_space(const Node& n) { return batch_blocks(n, true); }
Verdict space_to_batch(const Node& n) { return batch_blocks(n, false); }
void make_batch_blocks(Sketch& s, OpCode op, const Ask& ask) {
  const std::int32_t ky = s.draw.in(1, 3), kx = s.draw.in(1, 2);
  Shape shape = s.draw.shape(4, 3);
  Axes edge = {s.draw.in(0, 1), s.draw.in(0, 1), s.draw.in(0, 1), s.draw.in(0, 1)};
  if (op == OpCode::kBatchToSpaceNd) {
    shape[0] *= ky * kx;
    shape[1] += 2, shape[2] += 2;
  } else {
    shape[1] = ky * (shape[1] + 1) - static_cast<std::int32_t>(edge[0] + edge[1]);
    shape[2] = kx * (shape[2] + 1) - static_cast<std::int32_t>(edge[2] + edge[3]);
    if (shape[1] < 1 || shape[2] < 1) return;
  }
  Axes block = {ky, kx};
  if (kx == 1 && s.draw.one_in(2)) {
    shape.erase(shape.begin() + 2);
    block.pop_back();
    edge.resize(2);
  }
  const int x = s.shaped(ask.type, shape);
  Array e = Array::zeros(DType::kInt32, {static_cast<std::int32_t>(block.size()), 2});
  for (std::size_t i = 0; i < edge.size(); ++i) put_integer(e, i, edge[i]);
  s.add(op, NoAttrs{}, {x, s.numbers(block), s.constant(e)}, {{ask.type, s.at(x).quant}});
}

constexpr Judge kJudges[] = {
    {OpCode::kConcatenation, concatenation, make_concatenation},
    {OpCode::kPack, pack, make_pack},
    {OpCode::kUnpack, unpack, make_unpack},
    {OpCode::kSplit, split, make_split},
    {OpCode::kSplitV, split_v, make_split_v},
    {OpCode::kDepthToSpace, depth_to_space, make_blocks, true},
    {OpCode::kSpaceToDepth, space_to_depth, make_blocks, true},
    {OpCode::kBatchToSpaceNd, batch_to_space, make_batch_blocks},
    {OpCode::kSpaceToBatchNd, space_to_batch, make_batch_blocks},
};

}  // namespace

std::span<const Judge> join_judges() { return kJudges; }

}  // namespace litegap::oracle
