// The judge of operators that move elements: where each element of the output comes from.
#include "oracle/judge_move.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace litegap::oracle {
namespace {

// ---- the same elements under another shape
Verdict reshape(const Node& n) {
  Axes wanted = n.has(1) ? constants_of(n, 1) : Axes{};
  if (!n.has(1)) {
    const auto& s = n.attrs<ReshapeAttrs>().new_shape;
    wanted.assign(s.begin(), s.end());
  }
  std::int64_t known = 1;
  for (const std::int64_t d : wanted) known *= d == -1 ? 1 : d;
  for (std::int64_t& d : wanted) {
    if (d == -1) d = static_cast<std::int64_t>(n.array(0).elements()) / known;
  }
  return {{n.array(0).reshaped(shape_from(wanted))}};
}
void make_reshape(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 0, 5);
  const auto all = static_cast<std::int64_t>(shape_elements(s.shape(x)));
  const std::int64_t rows = all % 2 == 0 ? 2 : 1;
  if (s.draw.one_in(3)) {
    s.add(op, ReshapeAttrs{{static_cast<std::int32_t>(rows), -1}}, {x},
          {{ask.type, s.at(x).quant}});
    return;
  }
  const int to = s.numbers({rows, s.draw.one_in(2) ? -1 : all / rows, 1});
  s.add(op, ReshapeAttrs{}, {x, to}, {{ask.type, s.at(x).quant}});
}

Verdict squeeze(const Node& n) {
  const auto& dims = n.attrs<SqueezeAttrs>().squeeze_dims;
  const Shape& in = n.shape(0);
  Shape out;
  for (std::size_t d = 0; d < in.size(); ++d) {
    bool drop = dims.empty() && in[d] == 1;
    for (const std::int32_t a : dims) drop = drop || axis_of(a, in.size()) == d;
    if (!drop) out.push_back(in[d]);
  }
  return {{n.array(0).reshaped(out)}};
}
void make_squeeze(Sketch& s, OpCode op, const Ask& ask) {
  Shape shape = s.draw.shape(3, 4);
  shape[1] = 1;
  const int x = s.shaped(ask.type, shape);
  SqueezeAttrs a;
  if (s.draw.one_in(2)) a.squeeze_dims = {s.draw.one_in(2) ? 1 : -2};
  s.add(op, a, {x}, {{ask.type, s.at(x).quant}});
}

Verdict expand_dims(const Node& n) {
  Shape out = n.shape(0);
  const std::size_t d = axis_of(constants_of(n, 1)[0], out.size() + 1);
  out.insert(out.begin() + static_cast<std::ptrdiff_t>(d), 1);
  return {{n.array(0).reshaped(out)}};
}
void make_expand_dims(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 0, 4);
  const auto rank = static_cast<std::int32_t>(s.shape(x).size());
  s.add(op, NoAttrs{}, {x, s.numbers({s.draw.in(-rank - 1, rank)})}, {{ask.type, s.at(x).quant}});
}

Verdict densify(const Node& n) { return {{n.array(0)}}; }
void make_densify(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.constant(s.random(ask.type, s.draw.shape(2, 4)), s.quant(ask.type));
  s.mark_sparse(x);
  s.add(op, NoAttrs{}, {x}, {{ask.type, s.at(x).quant}});
}

Verdict bitcast(const Node& n) {
  const std::size_t from = width_of(n.type(0)), to = width_of(n.out_types[0]);
  Shape shape = n.shape(0);
  if (from > to) shape.push_back(static_cast<std::int32_t>(from / to));
  if (from < to) shape.pop_back();
  Array y = Array::zeros(n.out_types[0], shape);
  std::memcpy(y.mutable_data(), n.array(0).data(), y.byte_size());
  return {{y}};
}
void make_bitcast(Sketch& s, OpCode op, const Ask& ask) {
  const std::size_t w = width_of(ask.type);
  const DType to = s.draw.one_in(2)             ? (w == 4 ? DType::kInt16 : DType::kInt8)
                   : w == 1 || s.draw.one_in(2) ? DType::kInt32
                                                : DType::kInt64;
  Shape shape = s.draw.shape(2, 4);
  if (width_of(to) > w) shape.push_back(static_cast<std::int32_t>(width_of(to) / w));
  s.add(op, NoAttrs{}, {s.shaped(ask.type, shape)}, {{to}});
}

// ---- facts about a shape
Verdict shape_of(const Node& n) {
  const auto rank = static_cast<std::int32_t>(n.shape(0).size());
  Array y = Array::zeros(n.out_types[0], {rank});
  for (std::int32_t d = 0; d < rank; ++d)
    put_integer(y, static_cast<std::size_t>(d), n.shape(0)[static_cast<std::size_t>(d)]);
  return {{y}};
}
void make_shape(Sketch& s, OpCode op, const Ask& ask) {
  const DType to = s.draw.one_in(2) ? DType::kInt32 : DType::kInt64;
  s.add(op, OutputTypeAttrs{to}, {s.value(ask.type, 0, 5)}, {{to}});
}
Verdict rank_of(const Node& n) {
  return {{filled(DType::kInt32, {}, static_cast<std::int64_t>(n.shape(0).size()))}};
}
void make_rank(Sketch& s, OpCode op, const Ask& ask) {
  s.add(op, NoAttrs{}, {s.value(ask.type, 0, 5)}, {{DType::kInt32}});
}
Verdict zeros_like(const Node& n) { return {{Array::zeros(n.type(0), n.shape(0))}}; }
void make_like(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 0, 5);
  s.add(op, NoAttrs{}, {x}, {{ask.type, s.at(x).quant}});
}
Verdict broadcast_args(const Node& n) {
  const Shape out = broadcast_shape(shape_from(constants_of(n, 0)), shape_from(constants_of(n, 1)));
  Array y = Array::zeros(n.type(0), {static_cast<std::int32_t>(out.size())});
  for (std::size_t d = 0; d < out.size(); ++d) put_integer(y, d, out[d]);
  return {{y}};
}
void make_broadcast_args(Sketch& s, OpCode op, const Ask& ask) {
  Axes a, b;
  for (int d = s.draw.in(1, 4); d > 0; --d) {
    const std::int64_t n = s.draw.in(2, 5);
    a.push_back(s.draw.one_in(3) ? 1 : n);
    b.push_back(s.draw.one_in(3) ? 1 : n);
  }
  if (s.draw.one_in(3)) a.erase(a.begin());
  s.add(op, NoAttrs{}, {s.numbers(a, ask.type), s.numbers(b, ask.type)}, {{ask.type}});
}

// ---- axes
Verdict transpose(const Node& n) {
  const Axes perm = constants_of(n, 1);
  const Shape& in = n.shape(0);
  Shape out;
  for (const std::int64_t p : perm) out.push_back(in[axis_of(p, in.size())]);
  return {{pick(n.array(0), out, [&](const Shape& at) {
    Shape from(in.size());
    for (std::size_t d = 0; d < at.size(); ++d) from[axis_of(perm[d], in.size())] = at[d];
    return place(in, from);
  })}};
}
void make_transpose(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 0, 5);
  Axes perm;
  for (std::size_t d = 0; d < s.shape(x).size(); ++d) perm.push_back(static_cast<std::int64_t>(d));
  for (std::size_t d = perm.size(); d > 1; --d)
    std::swap(perm[d - 1], perm[static_cast<std::size_t>(s.draw.in(0, static_cast<int>(d) - 1))]);
  s.add(op, NoAttrs{}, {x, s.numbers(perm)}, {{ask.type, s.at(x).quant}});
}

Verdict tile(const Node& n) {
  const Axes times = constants_of(n, 1);
  const Shape& in = n.shape(0);
  Shape out = in;
  for (std::size_t d = 0; d < out.size(); ++d) out[d] *= static_cast<std::int32_t>(times[d]);
  return {{pick(n.array(0), out, [&](Shape at) {
    for (std::size_t d = 0; d < at.size(); ++d) at[d] %= in[d];
    return place(in, at);
  })}};
}
void make_tile(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4, 3);
  Axes times;
  for (std::size_t d = 0; d < s.shape(x).size(); ++d) times.push_back(s.draw.in(1, 3));
  s.add(op, NoAttrs{}, {x, s.numbers(times)}, {{ask.type, s.at(x).quant}});
}

Verdict broadcast_to(const Node& n) {
  const Shape out = shape_from(constants_of(n, 1));
  return {{pick(n.array(0), out, [&](const Shape& at) {
    return static_cast<std::int64_t>(source(out, flat(out, at), n.shape(0)));
  })}};
}
void make_broadcast_to(Sketch& s, OpCode op, const Ask& ask) {
  const Shape out = s.draw.shape(static_cast<std::size_t>(s.draw.in(1, 4)), 4);
  const int x = s.broadcastable(ask.type, out);
  s.add(op, NoAttrs{}, {x, s.numbers({out.begin(), out.end()})}, {{ask.type, s.at(x).quant}});
}

Verdict slice(const Node& n) {
  const Axes begin = constants_of(n, 1), size = constants_of(n, 2);
  const Shape& in = n.shape(0);
  Shape out;
  for (std::size_t d = 0; d < in.size(); ++d)
    out.push_back(static_cast<std::int32_t>(size[d] == -1 ? in[d] - begin[d] : size[d]));
  return {{pick(n.array(0), out, [&](Shape at) {
    for (std::size_t d = 0; d < at.size(); ++d) at[d] += static_cast<std::int32_t>(begin[d]);
    return place(in, at);
  })}};
}
void make_slice(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4);
  Axes begin, size;
  for (const std::int32_t d : s.shape(x)) {
    begin.push_back(s.draw.in(0, d - 1));
    size.push_back(s.draw.one_in(3) ? -1 : s.draw.in(1, d - static_cast<int>(begin.back())));
  }
  s.add(op, NoAttrs{}, {x, s.numbers(begin), s.numbers(size)}, {{ask.type, s.at(x).quant}});
}

// One axis at a time: the indices it takes, in order.  Masks of axes by bit.
Verdict strided_slice(const Node& n) {
  const auto& a = n.attrs<StridedSliceAttrs>();
  const Axes begin = constants_of(n, 1), end = constants_of(n, 2), step = constants_of(n, 3);
  const Shape& in = n.shape(0);
  struct Taken {
    std::vector<std::int32_t> index;  // empty and `fresh`: a new axis
    bool fresh = false, drop = false;
  };
  std::vector<Taken> taken;
  const auto bit = [](std::int32_t mask, std::size_t i) { return (mask >> i & 1) != 0; };
  std::size_t named = 0;
  for (std::size_t i = 0; i < begin.size(); ++i)
    named += !bit(a.ellipsis_mask, i) && !bit(a.new_axis_mask, i) ? 1 : 0;
  std::size_t axis = 0;
  const auto whole = [&] {
    Taken t;
    for (std::int32_t k = 0; k < in[axis]; ++k) t.index.push_back(k);
    taken.push_back(t);
    ++axis;
  };
  for (std::size_t i = 0; i < begin.size(); ++i) {
    if (bit(a.ellipsis_mask, i)) {
      for (std::size_t rest = in.size() - named; rest > 0; --rest) whole();
      continue;
    }
    if (bit(a.new_axis_mask, i)) {
      taken.push_back({{0}, true, false});
      continue;
    }
    const std::int64_t size = in[axis];
    const std::int64_t from = begin[i] < 0 ? begin[i] + size : begin[i];
    const std::int64_t to = end[i] < 0 ? end[i] + size : end[i];
    Taken t;
    t.drop = bit(a.shrink_axis_mask, i);
    if (t.drop) {
      t.index = {static_cast<std::int32_t>(from)};
    } else {
      for (std::int64_t k = 0; k < size; ++k) {
        const std::int64_t at = step[i] > 0 ? k : size - 1 - k;
        // The first element taken: the one asked for, or the end of the axis it lies beyond.
        const std::int64_t first = bit(a.begin_mask, i)
                                       ? (step[i] > 0 ? 0 : size - 1)
                                       : std::clamp<std::int64_t>(from, step[i] > 0 ? 0 : -1,
                                                                  step[i] > 0 ? size : size - 1);
        const bool past = step[i] > 0 ? at < first : at > first;
        const bool inside = bit(a.end_mask, i) || (step[i] > 0 ? at < to : at > to);
        if (!past && inside && (at - first) % step[i] == 0)
          t.index.push_back(static_cast<std::int32_t>(at));
      }
    }
    taken.push_back(t);
    ++axis;
  }
  while (axis < in.size()) whole();
  Shape out, kept;
  for (const Taken& t : taken) {
    kept.push_back(static_cast<std::int32_t>(t.index.size()));
    if (!t.drop) out.push_back(kept.back());
  }
  Array y = pick(n.array(0), kept, [&](const Shape& at) {
    Shape from;
    for (std::size_t d = 0; d < at.size(); ++d) {
      if (!taken[d].fresh) from.push_back(taken[d].index[static_cast<std::size_t>(at[d])]);
    }
    return place(in, from);
  });
  return {{y.reshaped(out)}};
}
void make_strided_slice(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4);
  const Shape in = s.shape(x);
  StridedSliceAttrs a;
  Axes begin, end, step;
  const bool ellipsis = s.draw.one_in(4);
  const auto names = static_cast<std::size_t>(s.draw.in(1, static_cast<int>(in.size())));
  for (std::size_t k = 0; k < names; ++k) {
    const int bit = 1 << begin.size();
    const std::int32_t d = in[k];
    const std::int32_t st = s.draw.one_in(3) ? -s.draw.in(1, 2) : s.draw.in(1, 2);
    if (s.draw.one_in(5)) {
      a.shrink_axis_mask |= bit;
      begin.push_back(s.draw.in(0, d - 1));
      end.push_back(begin.back() + 1);
      step.push_back(1);
      continue;
    }
    const std::int32_t low = s.draw.in(0, d - 1), high = s.draw.in(low, d - 1);
    begin.push_back(st > 0 ? low : high - (s.draw.one_in(4) ? d : 0));
    end.push_back(st > 0 ? high + 1 : low - 1 - (low == 0 ? d : 0));
    step.push_back(st);
    if (s.draw.one_in(4)) a.begin_mask |= bit;
    if (s.draw.one_in(4)) a.end_mask |= bit;
  }
  if (ellipsis) {  // in front of nothing, or a new axis
    (s.draw.one_in(2) && names == in.size() ? a.ellipsis_mask : a.new_axis_mask) |= 1
                                                                                    << begin.size();
    begin.push_back(0);
    end.push_back(0);
    step.push_back(1);
  }
  s.add(op, a, {x, s.numbers(begin), s.numbers(end), s.numbers(step)}, {{ask.type, s.at(x).quant}});
}

// ---- padding
Shape padded(const Shape& in, const Axes& pads) {
  Shape out;
  for (std::size_t d = 0; d < in.size(); ++d)
    out.push_back(static_cast<std::int32_t>(in[d] + pads[2 * d] + pads[2 * d + 1]));
  return out;
}
Verdict pad(const Node& n) {
  const Axes pads = constants_of(n, 1);
  const Shape &in = n.shape(0), out = padded(in, pads);
  const Quant& q = n.out_quants[0];
  Array field = filled(n.type(0), out, q.empty() ? 0 : q.zero_point[0]);
  if (n.has(2)) field = pick(n.array(2), out, [](const Shape&) { return std::int64_t{0}; });
  return {{overlaid(field, n.array(0), [&](Shape at) {
    for (std::size_t d = 0; d < at.size(); ++d) {
      at[d] -= static_cast<std::int32_t>(pads[2 * d]);
      if (at[d] < 0 || at[d] >= in[d]) return std::int64_t{-1};
    }
    return place(in, at);
  })}};
}
Verdict mirror_pad(const Node& n) {
  const Axes pads = constants_of(n, 1);
  const Shape& in = n.shape(0);
  const bool reflect = n.attrs<MirrorPadAttrs>().mode == 0;
  return {{pick(n.array(0), padded(in, pads), [&](Shape at) {
    for (std::size_t d = 0; d < at.size(); ++d) {
      at[d] -= static_cast<std::int32_t>(pads[2 * d]);
      if (at[d] < 0) at[d] = reflect ? -at[d] : -at[d] - 1;
      if (at[d] >= in[d]) at[d] = 2 * in[d] - 1 - at[d] - (reflect ? 1 : 0);
    }
    return place(in, at);
  })}};
}
void make_pad(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4);
  const bool mirror = op == OpCode::kMirrorPad;
  MirrorPadAttrs a{static_cast<std::int8_t>(s.draw.in(0, 1))};
  Axes pads;
  for (const std::int32_t d : s.shape(x)) {
    const std::int32_t longest = mirror ? d - (a.mode == 0 ? 1 : 0) : 3;
    pads.push_back(s.draw.in(0, std::min(3, longest)));
    pads.push_back(s.draw.in(0, std::min(3, longest)));
  }
  Array p = Array::zeros(DType::kInt32, {static_cast<std::int32_t>(pads.size()) / 2, 2});
  for (std::size_t i = 0; i < pads.size(); ++i) put_integer(p, i, pads[i]);
  std::vector<int> in = {x, s.constant(p)};
  const Quant q = s.at(x).quant;
  if (op == OpCode::kPadV2) in.push_back(s.input(s.random(ask.type, {}), q));
  s.add(op, mirror ? Attrs{a} : Attrs{NoAttrs{}}, in, {{ask.type, q}});
}

// Elements spread out in a field of one value.
Verdict spread_out(const Node& n, std::size_t value, const Axes& low, const Axes& high,
                   const Axes& interior) {
  const Shape& in = n.shape(0);
  Shape out;
  for (std::size_t d = 0; d < in.size(); ++d)
    out.push_back(static_cast<std::int32_t>(
        std::max<std::int64_t>(0, in[d] + (in[d] - 1) * interior[d] + low[d] + high[d])));
  Array field = pick(n.array(value), out, [](const Shape&) { return std::int64_t{0}; });
  return {{overlaid(field, n.array(0), [&](const Shape& at) {
    Shape from;
    for (std::size_t d = 0; d < at.size(); ++d) {
      const std::int64_t p = at[d] - low[d], step = interior[d] + 1;
      if (p < 0 || p % step != 0 || p / step >= in[d]) return std::int64_t{-1};
      from.push_back(static_cast<std::int32_t>(p / step));
    }
    return place(in, from);
  })}};
}
Verdict dilate(const Node& n) {
  Axes interior = constants_of(n, 1);
  for (std::int64_t& d : interior) --d;
  const Axes none(interior.size(), 0);
  return spread_out(n, 2, none, none, interior);
}
Verdict stablehlo_pad(const Node& n) {
  const auto& a = n.attrs<StablehloPadAttrs>();
  return spread_out(n, 1, a.low, a.high, a.interior);
}
void make_spread(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 3, 4);
  StablehloPadAttrs a;
  Axes dilations;
  for (std::size_t d = 0; d < s.shape(x).size(); ++d) {
    a.low.push_back(s.draw.in(-1, 2));
    a.high.push_back(s.draw.in(-1, 2));
    a.interior.push_back(s.draw.in(0, 2));
    dilations.push_back(s.draw.in(1, 3));
  }
  const Quant q = s.at(x).quant;
  const int value = s.input(s.random(ask.type, {}), q);
  if (op == OpCode::kDilate)
    s.add(op, NoAttrs{}, {x, s.numbers(dilations), value}, {{ask.type, q}});
  else
    s.add(op, a, {x, value}, {{ask.type, q}});
}

constexpr Judge kJudges[] = {
    {OpCode::kReshape, reshape, make_reshape},
    {OpCode::kSqueeze, squeeze, make_squeeze},
    {OpCode::kExpandDims, expand_dims, make_expand_dims},
    {OpCode::kDensify, densify, make_densify},
    {OpCode::kBitcast, bitcast, make_bitcast},
    {OpCode::kShape, shape_of, make_shape},
    {OpCode::kRank, rank_of, make_rank},
    {OpCode::kZerosLike, zeros_like, make_like},
    {OpCode::kBroadcastArgs, broadcast_args, make_broadcast_args},
    {OpCode::kTranspose, transpose, make_transpose},
    {OpCode::kTile, tile, make_tile},
    {OpCode::kBroadcastTo, broadcast_to, make_broadcast_to},
    {OpCode::kSlice, slice, make_slice},
    {OpCode::kStridedSlice, strided_slice, make_strided_slice},
    {OpCode::kPad, pad, make_pad},
    {OpCode::kPadV2, pad, make_pad},
    {OpCode::kMirrorPad, mirror_pad, make_pad},
    {OpCode::kDilate, dilate, make_spread},
    {OpCode::kStablehloPad, stablehlo_pad, make_spread},
};

}  // namespace

std::span<const Judge> move_judges() { return kJudges; }

}  // namespace litegap::oracle
