// The judge of operators that read, write, sort and count at indices.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "oracle/op_case.h"
#include "oracle/sketch.h"

namespace litegap::oracle {
namespace {

constexpr double kSums = 1e-6;  // float32 sums of a few dozen terms, in any order

std::vector<std::int64_t> constants(const Node& n, std::size_t i) {
  return integers_of(n.array(i));
}
Shape to_shape(const std::vector<std::int64_t>& v) { return {v.begin(), v.end()}; }
Verdict numbers(const Node& n, const Grid& y, double tolerance = 0) {
  return {{array_of(y, n.out_types[0])}, n.out_types[0] == DType::kFloat32 ? tolerance : 0};
}
// Integers that the judge's doubles hold, products included.
bool large(const Node& n) {
  for (const Value& v : n.in) {
    if (!v.present || is_float(v.array.dtype())) continue;
    for (const std::int64_t k : integers_of(v.array)) {
      if (k > 1 << 20 || k < -(1 << 20)) return true;
    }
  }
  return false;
}
const Verdict kTooLarge{{}, 0, "integers beyond those of the judge", {}};

int index_input(Sketch& s, const Shape& shape, std::int32_t low, std::int32_t high,
                DType type = DType::kInt32) {
  Array a = Array::zeros(type, shape);
  for (std::size_t i = 0; i < a.elements(); ++i) put_integer(a, i, s.draw.in(low, high));
  return s.draw.one_in(2) ? s.input(a) : s.constant(a);
}

// ---- rows by index
Verdict gather(const Node& n) {
  const auto& a = n.attrs<GatherAttrs>();
  const Shape &in = n.shape(0), &index = n.shape(1);
  const std::size_t axis = axis_of(a.axis, in.size()), batch = axis_of(a.batch_dims, index.size());
  Shape out(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(axis));
  out.insert(out.end(), index.begin() + static_cast<std::ptrdiff_t>(batch), index.end());
  out.insert(out.end(), in.begin() + static_cast<std::ptrdiff_t>(axis) + 1, in.end());
  const std::size_t picked = index.size() - batch;
  return {{pick(n.array(0), out, [&](const Shape& at) {
    Shape which(at.begin(), at.begin() + static_cast<std::ptrdiff_t>(batch));
    which.insert(which.end(), at.begin() + static_cast<std::ptrdiff_t>(axis),
                 at.begin() + static_cast<std::ptrdiff_t>(axis + picked));
    const std::int64_t k = integer(n.array(1), flat(index, which));
    if (k < 0 || k >= in[axis]) return std::int64_t{-1};
    Shape from(at.begin(), at.begin() + static_cast<std::ptrdiff_t>(axis));
    from.push_back(static_cast<std::int32_t>(k));
    from.insert(from.end(), at.begin() + static_cast<std::ptrdiff_t>(axis + picked), at.end());
    return static_cast<std::int64_t>(flat(in, from));
  })}};
}
void make_gather(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4);
  const Shape in = s.shape(x);
  GatherAttrs a;
  a.axis = s.draw.in(0, static_cast<int>(in.size()) - 1);
  if (a.axis > 0 && s.draw.one_in(2)) a.batch_dims = s.draw.in(1, a.axis);
  Shape index(in.begin(), in.begin() + a.batch_dims);
  for (int k = s.draw.in(0, 2); k > 0; --k) index.push_back(s.draw.in(1, 4));
  const int i = index_input(s, index, 0, in[static_cast<std::size_t>(a.axis)] - 1,
                            s.draw.one_in(3) ? DType::kInt64 : DType::kInt32);
  s.add(op, a, {x, i}, {{ask.type, s.at(x).quant}});
}

Verdict gather_nd(const Node& n) {
  const Shape &in = n.shape(0), &index = n.shape(1);
  const auto depth = static_cast<std::size_t>(index.back());
  Shape out(index.begin(), index.end() - 1);
  const std::size_t lead = out.size();
  out.insert(out.end(), in.begin() + static_cast<std::ptrdiff_t>(depth), in.end());
  return {{pick(n.array(0), out, [&](const Shape& at) {
    Shape which(at.begin(), at.begin() + static_cast<std::ptrdiff_t>(lead)), from;
    which.push_back(0);
    for (std::size_t k = 0; k < depth; ++k) {
      which.back() = static_cast<std::int32_t>(k);
      const std::int64_t v = integer(n.array(1), flat(index, which));
      if (v < 0 || v >= in[k]) return std::int64_t{-1};
      from.push_back(static_cast<std::int32_t>(v));
    }
    from.insert(from.end(), at.begin() + static_cast<std::ptrdiff_t>(lead), at.end());
    return static_cast<std::int64_t>(flat(in, from));
  })}};
}
void make_gather_nd(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4);
  Shape index = s.draw.shape(static_cast<std::size_t>(s.draw.in(0, 2)), 4);
  index.push_back(s.draw.in(1, static_cast<int>(s.shape(x).size())));
  s.add(op, NoAttrs{}, {x, index_input(s, index, -1, 4)}, {{ask.type, s.at(x).quant}});
}

Verdict embedding_lookup(const Node& n) {
  const Shape& table = n.shape(1);
  Shape out = table;
  out[0] = n.shape(0)[0];
  Array codes = pick(n.array(1), out, [&](Shape at) {
    const std::int64_t id = integer(n.array(0), static_cast<std::size_t>(at[0]));
    if (id < 0 || id >= table[0]) return std::int64_t{-1};
    at[0] = static_cast<std::int32_t>(id);
    return static_cast<std::int64_t>(flat(table, at));
  });
  if (n.type(1) == n.out_types[0]) return {{codes}};
  Array y = Array::zeros(DType::kFloat32, out);
  const auto& scales = n.in[1].quant.scale;
  each(out, [&](const Shape& at, std::size_t i) {
    const std::int64_t id = integer(n.array(0), static_cast<std::size_t>(at[0]));
    const bool inside = id >= 0 && id < table[0];
    const float s = scales[scales.size() > 1 && inside ? static_cast<std::size_t>(id) : 0];
    put(y, i, static_cast<double>(static_cast<float>(integer(codes, i)) * s));
  });
  return {{y}};
}
void make_embedding_lookup(Sketch& s, OpCode op, const Ask& ask) {
  const Shape table = s.draw.shape(static_cast<std::size_t>(s.draw.in(2, 3)), 5);
  const int ids = index_input(s, {s.draw.in(1, 5)}, -1, table[0]);
  if (!ask.hybrid) {
    const int t = s.shaped(ask.type, table);
    s.add(op, NoAttrs{}, {ids, t}, {{ask.type, s.at(t).quant}});
    return;
  }
  Quant q;
  q.scale.resize(s.draw.one_in(2) ? 1 : static_cast<std::size_t>(table[0]));
  for (float& v : q.scale) v = s.draw.scale();
  q.zero_point.assign(q.scale.size(), 0);
  const int t = s.constant(s.random(DType::kInt8, table), q);
  s.add(op, NoAttrs{}, {ids, t}, {{DType::kFloat32}});
}

Verdict hashtable_lookup(const Node& n) {
  const Shape& table = n.shape(2);
  const auto keys = constants(n, 1), wanted = constants(n, 0);
  Shape out = table;
  out[0] = n.shape(0)[0];
  Array hits = Array::zeros(DType::kUint8, {out[0]});
  std::vector<std::int64_t> row;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto at = std::find(keys.begin(), keys.end(), wanted[i]);
    row.push_back(at == keys.end() ? -1 : at - keys.begin());
    put_integer(hits, i, row.back() >= 0 ? 1 : 0);
  }
  Array y = pick(n.array(2), out, [&](Shape at) {
    const std::int64_t r = row[static_cast<std::size_t>(at[0])];
    if (r < 0) return std::int64_t{-1};
    at[0] = static_cast<std::int32_t>(r);
    return static_cast<std::int64_t>(flat(table, at));
  });
  return {{y, hits}};
}
void make_hashtable_lookup(Sketch& s, OpCode op, const Ask& ask) {
  const int table = s.value(ask.type, 1, 3);
  std::vector<std::int64_t> keys;
  for (std::int32_t k = 0; k < s.shape(table)[0]; ++k)
    keys.push_back((keys.empty() ? 0 : keys.back()) + s.draw.in(1, 3));
  const int wanted = index_input(s, {s.draw.in(1, 5)}, 0, 9);
  s.add(op, NoAttrs{}, {wanted, s.numbers(keys), table},
        {{ask.type, s.at(table).quant}, {DType::kUint8}});
}

// ---- choosing
Verdict select(const Node& n) {
  const bool old = n.op.code == OpCode::kSelect;
  const Shape &c = n.shape(0), &x = n.shape(1);
  const Shape out = old ? x : broadcast_shape(broadcast_shape(c, x), n.shape(2));
  Array y = Array::zeros(n.type(1), out);
  const std::size_t w = width_of(n.type(1));
  each(out, [&](const Shape& at, std::size_t i) {
    std::size_t from = source(out, i, c);
    if (old && c.size() == 1) from = c[0] == 1 ? 0 : static_cast<std::size_t>(at[0]);
    if (old && c == x) from = i;
    const std::size_t k = integer(n.array(0), from) != 0 ? 1 : 2;
    std::memcpy(y.mutable_data() + i * w, n.array(k).data() + source(out, i, n.shape(k)) * w, w);
  });
  return {{y}};
}
void make_select(Sketch& s, OpCode op, const Ask& ask) {
  const Shape shape = s.draw.shape(static_cast<std::size_t>(s.draw.in(1, 4)), 4);
  const bool old = op == OpCode::kSelect;
  const int x = old ? s.shaped(ask.type, shape) : s.broadcastable(ask.type, shape);
  const int y = old ? s.shaped(ask.type, shape) : s.broadcastable(ask.type, shape);
  const Shape condition = s.draw.one_in(3) ? Shape{} : s.draw.one_in(2) ? Shape{shape[0]} : shape;
  const int c = old ? s.shaped(DType::kBool, condition) : s.broadcastable(DType::kBool, shape);
  s.add(op, NoAttrs{}, {c, x, y}, {{ask.type, s.at(x).quant}});
}

Verdict where(const Node& n) {
  std::vector<std::int64_t> found;
  const Array& x = n.array(0);
  each(n.shape(0), [&](const Shape& at, std::size_t i) {
    if (number(x, i) != 0) found.insert(found.end(), at.begin(), at.end());
  });
  const auto rank = static_cast<std::int32_t>(n.shape(0).size());
  Array y = Array::zeros(DType::kInt64, {static_cast<std::int32_t>(found.size()) / rank, rank});
  for (std::size_t i = 0; i < found.size(); ++i) put_integer(y, i, found[i]);
  return {{y}};
}
void make_where(Sketch& s, OpCode op, const Ask& ask) {
  Array x = s.random(ask.type, s.draw.shape(static_cast<std::size_t>(s.draw.in(1, 3)), 4));
  for (std::size_t i = 0; i < x.elements(); ++i) {
    if (s.draw.one_in(3)) put_integer(x, i, 0);
  }
  s.add(op, NoAttrs{}, {s.constant(x, s.quant(ask.type))}, {{DType::kInt64}});
}

Verdict unique(const Node& n) {
  const Array& x = n.array(0);
  std::vector<std::size_t> first;
  Array index = Array::zeros(n.out_types[1], n.shape(0));
  for (std::size_t i = 0; i < x.elements(); ++i) {
    std::size_t k = 0;
    while (k < first.size() && number(x, first[k]) != number(x, i)) ++k;
    if (k == first.size()) first.push_back(i);
    put_integer(index, i, static_cast<std::int64_t>(k));
  }
  Array values = pick(x, {static_cast<std::int32_t>(first.size())}, [&](const Shape& at) {
    return static_cast<std::int64_t>(first[static_cast<std::size_t>(at[0])]);
  });
  return {{values, index}};
}
void make_unique(Sketch& s, OpCode op, const Ask& ask) {
  Array x = s.random(ask.type, {s.draw.in(1, 9)});
  for (std::size_t i = 1; i < x.elements(); ++i) {
    if (s.draw.one_in(2)) put(x, i, number(x, 0));
  }
  const DType to = s.draw.one_in(2) ? DType::kInt32 : DType::kInt64;
  const Quant q = s.quant(ask.type);
  s.add(op, OutputTypeAttrs{to}, {s.constant(x, q)}, {{ask.type, q}, {to}});
}

// ---- writing at indices
Verdict scatter(const Node& n) {
  if (large(n)) return kTooLarge;
  return numbers(
      n, scatter_nd(grid_of(n.array(0)), grid_of(n.array(1)), to_shape(constants(n, 2)), n.type(1)),
      kSums);
}
void make_scatter(Sketch& s, OpCode op, const Ask& ask) {
  const Shape shape = s.draw.shape(static_cast<std::size_t>(s.draw.in(1, 3)), 4);
  const std::int32_t depth = s.draw.in(1, static_cast<int>(shape.size()));
  const std::int32_t rows = s.draw.in(1, 5);
  Array index = Array::zeros(DType::kInt32, {rows, depth});
  for (std::int32_t i = 0; i < rows * depth; ++i)
    put_integer(index, static_cast<std::size_t>(i),
                s.draw.in(0, shape[static_cast<std::size_t>(i % depth)] - 1));
  Shape updates{rows};
  updates.insert(updates.end(), shape.begin() + depth, shape.end());
  const int u = s.shaped(ask.type, updates);
  s.add(op, NoAttrs{}, {s.constant(index), u, s.numbers({shape.begin(), shape.end()})},
        {{ask.type, s.at(u).quant}});
}

Verdict to_dense(const Node& n) {
  Grid index = grid_of(n.array(0));
  const Shape shape = to_shape(constants(n, 1));
  if (index.shape.empty()) index.shape = {1};
  if (index.shape.size() == 1) index.shape.push_back(1);
  return numbers(n, sparse_to_dense(index, shape, grid_of(n.array(2)), number(n.array(3), 0)));
}
void make_to_dense(Sketch& s, OpCode op, const Ask& ask) {
  const Shape shape = s.draw.shape(static_cast<std::size_t>(s.draw.in(1, 3)), 4);
  const std::int32_t rows = s.draw.in(1, 4);
  Array index = Array::zeros(DType::kInt32, {rows, static_cast<std::int32_t>(shape.size())});
  for (std::size_t i = 0; i < index.elements(); ++i)
    put_integer(index, i, s.draw.in(0, shape[i % shape.size()] - 1));
  const Quant q = s.quant(ask.type);
  const int values = s.input(s.random(ask.type, s.draw.one_in(2) ? Shape{} : Shape{rows}), q);
  s.add(op, SparseToDenseAttrs{},
        {s.constant(index), s.numbers({shape.begin(), shape.end()}), values,
         s.input(s.random(ask.type, {}), q)},
        {{ask.type, q}});
}

Verdict hot(const Node& n) {
  return numbers(
      n, one_hot(grid_of(n.array(0)), static_cast<std::int32_t>(constants(n, 1)[0]),
                 number(n.array(2), 0), number(n.array(3), 0), n.attrs<OneHotAttrs>().axis));
}
void make_hot(Sketch& s, OpCode op, const Ask& ask) {
  const Shape shape = s.draw.shape(static_cast<std::size_t>(s.draw.in(0, 3)), 4);
  const int index = index_input(s, shape, -1, 4);
  const Quant q = s.quant(ask.type);
  const int on = s.input(s.random(ask.type, {}), q), off = s.input(s.random(ask.type, {}), q);
  s.add(op, OneHotAttrs{s.draw.in(-1, static_cast<int>(shape.size()))},
        {index, s.scalar(s.draw.in(1, 4)), on, off}, {{ask.type, q}});
}

Verdict update(const Node& n) {
  const Shape &whole = n.shape(0), &part = n.shape(1);
  Array y = n.array(0).clone();
  const std::size_t w = width_of(n.type(0));
  each(part, [&](Shape at, std::size_t i) {
    for (std::size_t d = 0; d < at.size(); ++d)
      at[d] += static_cast<std::int32_t>(
          std::clamp<std::int64_t>(integer(n.array(2), d), 0, whole[d] - part[d]));
    std::memcpy(y.mutable_data() + flat(whole, at) * w, n.array(1).data() + i * w, w);
  });
  return {{y}};
}
void make_update(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4);
  Shape part = s.shape(x);
  for (auto& d : part) d = s.draw.in(1, d);
  const int u = s.input(s.random(ask.type, part), s.at(x).quant);
  const int at = index_input(s, {static_cast<std::int32_t>(part.size())}, -2, 5);
  s.add(op, NoAttrs{}, {x, u, at}, {{ask.type, s.at(x).quant}});
}

// ---- segments and bags
Verdict segment(const Node& n) {
  if (large(n)) return kTooLarge;
  const auto ids = constants(n, 1);
  const std::int64_t count = n.op.code == OpCode::kSegmentSum ? ids.back() + 1 : constants(n, 2)[0];
  return numbers(n,
                 segments(n.op.code, grid_of(n.array(0)), grid_of(n.array(1)),
                          static_cast<std::int32_t>(count), n.type(0)),
                 kSums);
}
void make_segment(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 3);
  const Shape in = s.shape(x);
  if (op == OpCode::kSegmentSum) {
    std::vector<std::int64_t> ids;
    for (std::int32_t i = 0; i < in[0]; ++i)
      ids.push_back(ids.empty() ? 0 : ids.back() + s.draw.in(0, 1));
    s.add(op, NoAttrs{}, {x, s.numbers(ids)}, {{ask.type}});
    return;
  }
  const Shape ids(in.begin(), in.begin() + s.draw.in(1, static_cast<int>(in.size())));
  s.add(op, NoAttrs{}, {x, index_input(s, ids, -1, 3), s.scalar(4)}, {{ask.type}});
}

Verdict bags(const Node& n) {
  Verdict v = numbers(
      n,
      embedding_sparse(grid_of(n.array(0)), grid_of(n.array(1)), to_shape(constants(n, 2)),
                       grid_of(n.array(3)), grid_of(n.array(4)), n.attrs<CombinerAttrs>().combiner),
      1e-5);
  // Rows that cancel leave errors of the size of the table.
  v.scale = magnitude(n.array(4)) * std::max(1.0, magnitude(n.array(3)));
  return v;
}
void make_bags(Sketch& s, OpCode op, const Ask&) {
  const std::int32_t ids = s.draw.in(1, 5), bags = s.draw.in(1, 3);
  const Shape table = s.draw.shape(static_cast<std::size_t>(s.draw.in(2, 3)), 4);
  Array places = Array::zeros(DType::kInt32, {ids, 2}),
        weights = Array::zeros(DType::kFloat32, {ids});
  for (std::int32_t i = 0; i < ids; ++i) {
    const auto k = static_cast<std::size_t>(i);
    put_integer(places, 2 * k, s.draw.in(0, bags - 1));
    put_integer(places, 2 * k + 1, i);
    put(weights, k, static_cast<double>(s.draw.real(0.5f, 2)));  // no sum near 0 to divide by
  }
  s.add(op, CombinerAttrs{static_cast<std::int8_t>(s.draw.in(0, 2))},
        {index_input(s, {ids}, 0, table[0] - 1), s.input(places), s.numbers({bags, ids}),
         s.input(weights), s.shaped(DType::kFloat32, table)},
        {{DType::kFloat32}});
}

// ---- order
Verdict cumulated(const Node& n) {
  const auto& a = n.attrs<CumsumAttrs>();
  const Shape& in = n.shape(0);
  const std::size_t axis = axis_of(constants(n, 1)[0], in.size());
  if (is_float(n.type(0)))
    return numbers(n, cumsum(grid_of(n.array(0)), axis, a.exclusive, a.reverse, n.type(0)), kSums);
  Array y = Array::zeros(n.type(0), in);
  each(in, [&](const Shape& at, std::size_t i) {
    std::uint64_t sum = 0;
    Shape from = at;
    for (std::int32_t k = 0; k < in[axis]; ++k) {
      const bool before = a.reverse ? k > at[axis] : k < at[axis];
      from[axis] = k;
      if (before || (k == at[axis] && !a.exclusive))
        sum += static_cast<std::uint64_t>(integer(n.array(0), flat(in, from)));
    }
    put_integer(y, i, static_cast<std::int64_t>(sum));
  });
  return {{y}};
}
void make_cumsum(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4);
  const auto rank = static_cast<std::int32_t>(s.shape(x).size());
  s.add(op, CumsumAttrs{s.draw.one_in(2), s.draw.one_in(2)},
        {x, s.scalar(s.draw.in(-rank, rank - 1))}, {{ask.type}});
}
// Integers are compared as they are: a double does not hold the digits of int64.
bool above(const Array& x, std::size_t a, std::size_t b) {
  return is_float(x.dtype()) ? number(x, a) > number(x, b) : integer(x, a) > integer(x, b);
}
// The element that exactly as many others of its row come before as its place says.
Verdict largest(const Node& n) {
  const Array& x = n.array(0);
  const auto depth = static_cast<std::size_t>(x.shape().back());
  Shape out = x.shape();
  out.back() = static_cast<std::int32_t>(constants(n, 1)[0]);
  Array index = Array::zeros(n.out_types[1], out);
  const auto source = [&](const Shape& at) {
    Shape first = at;
    first.back() = 0;
    const std::size_t row = flat(x.shape(), first);
    for (std::size_t i = 0; i < depth; ++i) {
      std::int32_t before = 0;
      for (std::size_t j = 0; j < depth; ++j) {
        if (above(x, row + j, row + i) || (j < i && !above(x, row + i, row + j))) ++before;
      }
      if (before == at.back()) return row + i;
    }
    fail("no element is number {} of its row", at.back());
  };
  each(out, [&](const Shape& at, std::size_t i) {
    put_integer(index, i, static_cast<std::int64_t>(source(at) % depth));
  });
  const Array value =
      pick(x, out, [&](const Shape& at) { return static_cast<std::int64_t>(source(at)); });
  return {{value, index}};
}
void make_topk(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 3);
  const DType index = s.draw.one_in(2) ? DType::kInt32 : DType::kInt16;
  s.add(op, NoAttrs{}, {x, s.scalar(s.draw.in(0, s.shape(x).back()))},
        {{ask.type, s.at(x).quant}, {index}});
}
Verdict range(const Node& n) {
  const bool real = n.type(0) == DType::kFloat32;
  const double start = number(n.array(0), 0), limit = number(n.array(1), 0),
               delta = number(n.array(2), 0);
  const double steps = real ? static_cast<double>(std::ceil(
                                  std::abs((static_cast<float>(limit) - static_cast<float>(start)) /
                                           static_cast<float>(delta))))
                            : std::ceil(std::abs((limit - start) / delta));
  Array y = Array::zeros(n.type(0), {static_cast<std::int32_t>(steps)});
  double v = start;
  for (std::size_t i = 0; i < y.elements(); ++i) {
    put(y, i, v);
    v = held(v + delta, n.type(0));
  }
  return {{y}};
}
void make_range(Sketch& s, OpCode op, const Ask& ask) {
  Array v[3] = {Array::zeros(ask.type, {}), Array::zeros(ask.type, {}), Array::zeros(ask.type, {})};
  const double way = s.draw.one_in(2) ? 1 : -1;
  put(v[0], 0, s.draw.in(-5, 5));
  put(v[2], 0,
      way * (ask.type == DType::kFloat32 ? static_cast<double>(s.draw.real(0.3f, 3))
                                         : s.draw.in(1, 3)));
  put(v[1], 0, number(v[0], 0) + way * s.draw.in(0, 12));
  s.add(op, NoAttrs{}, {s.constant(v[0]), s.constant(v[1]), s.constant(v[2])}, {{ask.type}});
}

Verdict reversed(const Node& n) {
  const Shape& in = n.shape(0);
  std::vector<bool> axes(in.size(), false);
  for (const std::int64_t a : constants(n, 1)) axes[axis_of(a, in.size())] = true;
  return {{pick(n.array(0), in, [&](Shape at) {
    for (std::size_t d = 0; d < at.size(); ++d) at[d] = axes[d] ? in[d] - 1 - at[d] : at[d];
    return static_cast<std::int64_t>(flat(in, at));
  })}};
}
void make_reverse(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4);
  std::vector<std::int64_t> axes;
  for (std::size_t d = 0; d < s.shape(x).size(); ++d) {
    if (s.draw.one_in(2)) axes.push_back(static_cast<std::int64_t>(d));
  }
  if (axes.empty()) axes.push_back(-1);
  s.add(op, NoAttrs{}, {x, s.numbers(axes)}, {{ask.type, s.at(x).quant}});
}
Verdict reversed_sequence(const Node& n) {
  const auto& a = n.attrs<ReverseSequenceAttrs>();
  const Shape& in = n.shape(0);
  const std::size_t seq = axis_of(a.seq_dim, in.size()), batch = axis_of(a.batch_dim, in.size());
  return {{pick(n.array(0), in, [&](Shape at) {
    const auto length =
        static_cast<std::int32_t>(integer(n.array(1), static_cast<std::size_t>(at[batch])));
    if (at[seq] < length) at[seq] = length - 1 - at[seq];
    return static_cast<std::int64_t>(flat(in, at));
  })}};
}
void make_reverse_sequence(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 2, 4);
  const Shape in = s.shape(x);
  const auto last = static_cast<std::int32_t>(in.size()) - 1;
  const bool first = s.draw.one_in(2);
  const ReverseSequenceAttrs a{first ? 0 : last, first ? last : 0};
  const std::int32_t batches = in[static_cast<std::size_t>(a.batch_dim)];
  s.add(op, a, {x, index_input(s, {batches}, 0, in[static_cast<std::size_t>(a.seq_dim)])},
        {{ask.type, s.at(x).quant}});
}

Verdict diagonal(const Node& n) {
  const Shape& in = n.shape(0);
  if (n.op.code == OpCode::kMatrixDiag) {
    Shape out = in;
    out.push_back(in.back());
    return {{pick(n.array(0), out, [&](Shape at) {
      if (at.back() != at[at.size() - 2]) return std::int64_t{-1};
      at.pop_back();
      return static_cast<std::int64_t>(flat(in, at));
    })}};
  }
  Array y = n.array(0).clone();
  const std::size_t w = width_of(n.type(0));
  each(n.shape(1), [&](Shape at, std::size_t i) {
    at.push_back(at.back());
    std::memcpy(y.mutable_data() + flat(in, at) * w, n.array(1).data() + i * w, w);
  });
  return {{y}};
}
void make_diagonal(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, op == OpCode::kMatrixDiag ? 1 : 2, 4);
  std::vector<int> in = {x};
  if (op == OpCode::kMatrixSetDiag) {
    Shape d = s.shape(x);
    const std::int32_t columns = d.back();
    d.pop_back();
    d.back() = std::min(d.back(), columns);
    in.push_back(s.shaped(ask.type, d));
  }
  s.add(op, NoAttrs{}, in, {{ask.type, s.at(x).quant}});
}

// Functions 1 add, 2 multiply, 3 and 5 least, 4 and 6 largest; integers modulo their word.
std::int64_t folded(int function, std::int64_t a, std::int64_t b) {
  const auto x = static_cast<std::uint64_t>(a), y = static_cast<std::uint64_t>(b);
  return function == 1       ? static_cast<std::int64_t>(x + y)
         : function == 2     ? static_cast<std::int64_t>(x * y)
         : function % 2 == 1 ? std::min(a, b)
                             : std::max(a, b);
}
Verdict windowed(const Node& n) {
  const int f = n.attrs<ReduceWindowAttrs>().function;
  const auto size = constants(n, 2), stride = constants(n, 3), dilation = constants(n, 4);
  if (is_float(n.type(0)))
    return numbers(n,
                   reduce_window(grid_of(n.array(0)), number(n.array(1), 0), f, size, stride,
                                 dilation, n.type(0)),
                   kSums);
  const Shape& in = n.shape(0);
  Shape out;
  for (std::size_t d = 0; d < in.size(); ++d) {
    const std::int64_t room = in[d] - ((size[d] - 1) * dilation[d] + 1);
    out.push_back(static_cast<std::int32_t>(room < 0 ? 0 : room / stride[d] + 1));
  }
  Array y = Array::zeros(n.type(0), out), one = Array::zeros(n.type(0), {1});
  each(out, [&](const Shape& at, std::size_t i) {
    put_integer(one, 0, integer(n.array(1), 0));
    each(to_shape(size), [&](const Shape& cell, std::size_t) {
      Shape from = at;
      for (std::size_t d = 0; d < at.size(); ++d)
        from[d] = static_cast<std::int32_t>(at[d] * stride[d] + cell[d] * dilation[d]);
      put_integer(one, 0, folded(f, integer(one, 0), integer(n.array(0), flat(in, from))));
    });
    put_integer(y, i, integer(one, 0));
  });
  return {{y}};
}
void make_window(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 3);
  std::vector<std::int64_t> size, stride, dilation;
  for (const std::int32_t d : s.shape(x)) {
    size.push_back(s.draw.in(1, d));
    stride.push_back(s.draw.in(1, 2));
    dilation.push_back((size.back() - 1) * 2 + 1 <= d && s.draw.one_in(2) ? 2 : 1);
  }
  const std::int32_t f = ask.type == DType::kBool ? s.draw.in(5, 6) : s.draw.in(1, 4);
  s.add(op, ReduceWindowAttrs{f},
        {x, s.input(s.random(ask.type, {}), s.at(x).quant), s.numbers(size, DType::kInt64),
         s.numbers(stride, DType::kInt64), s.numbers(dilation, DType::kInt64)},
        {{ask.type, s.at(x).quant}});
}

constexpr Judge kJudges[] = {
    {OpCode::kGather, gather, make_gather},
    {OpCode::kGatherNd, gather_nd, make_gather_nd},
    {OpCode::kEmbeddingLookup, embedding_lookup, make_embedding_lookup},
    {OpCode::kHashtableLookup, hashtable_lookup, make_hashtable_lookup},
    {OpCode::kSelect, select, make_select},
    {OpCode::kSelectV2, select, make_select},
    {OpCode::kWhere, where, make_where},
    {OpCode::kUnique, unique, make_unique},
    {OpCode::kScatterNd, scatter, make_scatter},
    {OpCode::kSparseToDense, to_dense, make_to_dense},
    {OpCode::kOneHot, hot, make_hot},
    {OpCode::kDynamicUpdateSlice, update, make_update},
    {OpCode::kSegmentSum, segment, make_segment},
    {OpCode::kUnsortedSegmentSum, segment, make_segment},
    {OpCode::kUnsortedSegmentProd, segment, make_segment},
    {OpCode::kUnsortedSegmentMax, segment, make_segment},
    {OpCode::kUnsortedSegmentMin, segment, make_segment},
    {OpCode::kEmbeddingLookupSparse, bags, make_bags},
    {OpCode::kCumsum, cumulated, make_cumsum},
    {OpCode::kTopkV2, largest, make_topk},
    {OpCode::kRange, range, make_range},
    {OpCode::kReverseV2, reversed, make_reverse},
    {OpCode::kReverseSequence, reversed_sequence, make_reverse_sequence},
    {OpCode::kMatrixDiag, diagonal, make_diagonal},
    {OpCode::kMatrixSetDiag, diagonal, make_diagonal},
    {OpCode::kReduceWindow, windowed, make_window},
};

}  // namespace

std::span<const Judge> index_judges() { return kJudges; }

}  // namespace litegap::oracle
