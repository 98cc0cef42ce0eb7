// The judge of operators that move elements: where each element of the output comes from.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "oracle/op_case.h"
#include "oracle/sketch.h"

namespace litegap::oracle {
namespace {

using Axes = std::vector<std::int64_t>;

std::int64_t place(const Shape& shape, const Shape& at) {
  return static_cast<std::int64_t>(flat(shape, at));
}
Axes constants(const Node& n, std::size_t i) { return integers_of(n.array(i)); }
Shape to_shape(const Axes& v) { return {v.begin(), v.end()}; }

// The bytes of one element, every element of `shape`.
Array filled(DType type, const Shape& shape, std::int64_t code) {
  Array a = Array::zeros(type, shape);
  for (std::size_t i = 0; i < a.elements(); ++i) put_integer(a, i, code);
  return a;
}
// `over` where it has an element, else the element of `under`.
Array overlaid(Array under, const Array& over,
               const std::function<std::int64_t(const Shape&)>& at) {
  const std::size_t w = width_of(under.dtype());
  each(under.shape(), [&](const Shape& index, std::size_t i) {
    const std::int64_t p = at(index);
    if (p >= 0)
      std::memcpy(under.mutable_data() + i * w, over.data() + static_cast<std::size_t>(p) * w, w);
  });
  return under;
}

// ---- the same elements under another shape
Verdict reshape(const Node& n) {
  Axes wanted = n.has(1) ? constants(n, 1) : Axes{};
  if (!n.has(1)) {
    const auto& s = n.attrs<ReshapeAttrs>().new_shape;
    wanted.assign(s.begin(), s.end());
  }
  std::int64_t known = 1;
  for (const std::int64_t d : wanted) known *= d == -1 ? 1 : d;
  for (std::int64_t& d : wanted) {
    if (d == -1) d = static_cast<std::int64_t>(n.array(0).elements()) / known;
  }
  return {{n.array(0).reshaped(to_shape(wanted))}};
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
  const std::size_t d = axis_of(constants(n, 1)[0], out.size() + 1);
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
  const Shape out = broadcast_shape(to_shape(constants(n, 0)), to_shape(constants(n, 1)));
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
  const Axes perm = constants(n, 1);
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
  const Axes times = constants(n, 1);
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
  const Shape out = to_shape(constants(n, 1));
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
  const Axes begin = constants(n, 1), size = constants(n, 2);
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
  const Axes begin = constants(n, 1), end = constants(n, 2), step = constants(n, 3);
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
  const Axes pads = constants(n, 1);
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
  const Axes pads = constants(n, 1);
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
  Axes interior = constants(n, 1);
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
  const std::size_t axis = axis_of(constants(n, 0)[0], n.shape(1).size());
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
  const std::size_t axis = axis_of(constants(n, 2)[0], n.shape(0).size());
  Axes sizes = constants(n, 1);
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
  Axes block = constants(n, 1), edge = constants(n, 2);
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

std::span<const Judge> move_judges() { return kJudges; }

}  // namespace litegap::oracle
