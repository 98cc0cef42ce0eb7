#include "keras/builder.h"

#include <algorithm>
#include <bit>

namespace litegap {
namespace {

constexpr std::size_t kMostElements = 0x7fffffff;  // of one tensor: products of sizes stay int
constexpr std::size_t kMostOps = 400000;

bool is_comparison(OpCode code) {
  switch (code) {
    case OpCode::kLess:
    case OpCode::kLessEqual:
    case OpCode::kGreater:
    case OpCode::kGreaterEqual:
    case OpCode::kEqual:
    case OpCode::kNotEqual:
    case OpCode::kLogicalAnd:
    case OpCode::kLogicalOr:
    case OpCode::kLogicalNot:
      return true;
    default:
      return false;
  }
}

Attrs binary_attrs(OpCode code) {
  if (code == OpCode::kAdd || code == OpCode::kSub) return AddAttrs{};
  if (code == OpCode::kMul || code == OpCode::kDiv) return ActivationAttrs{};
  return NoAttrs{};
}

}  // namespace

Shape broadcast_shape(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()), 1);
  for (std::size_t d = 0; d < out.size(); ++d) {
    const std::int32_t u = d < a.size() ? a[a.size() - 1 - d] : 1;
    const std::int32_t v = d < b.size() ? b[b.size() - 1 - d] : 1;
    if (u != v && u != 1 && v != 1) {
      fail("shapes {} and {} do not broadcast", shape_text(a), shape_text(b));
    }
    out[out.size() - 1 - d] = u == 1 ? v : u;
  }
  return out;
}

int product(std::int64_t a, std::int64_t b) {
  if (a * b > 0x7fffffff) fail("{} times {} is too large", a, b);
  return static_cast<int>(a * b);
}

int positive_axis(int axis, int rank) {
  if (axis < -rank || axis >= rank) fail("axis {} of a tensor with {} dimensions", axis, rank);
  return axis < 0 ? axis + rank : axis;
}

std::string GraphBuilder::fresh(const std::string& stem) {
  const int n = names_[stem]++;
  return n == 0 ? stem : fmt::format("{}_{}", stem, n);
}

int GraphBuilder::input(const std::string& name, Shape shape, DType dtype) {
  Tensor t;
  t.name = fresh(name);
  t.dtype = dtype;
  t.shape = std::move(shape);
  t.shape_signature = t.shape;
  if (!t.shape.empty()) t.shape_signature[0] = -1;
  t.has_rank = true;
  graph.tensors.push_back(std::move(t));
  graph.inputs.push_back(static_cast<int>(graph.tensors.size()) - 1);
  return graph.inputs.back();
}

int GraphBuilder::constant(Array value, const std::string& name) {
  Tensor t;
  t.name = fresh(name.empty() ? scope + "/Const" : name);
  t.dtype = value.dtype();
  t.shape = value.shape();
  t.has_rank = true;
  t.constant = std::move(value);
  graph.tensors.push_back(std::move(t));
  return static_cast<int>(graph.tensors.size()) - 1;
}

int GraphBuilder::scalar(float value) { return constant(Array::of<float>({}, {value})); }

int GraphBuilder::floats(const std::vector<float>& values, Shape shape) {
  if (shape.empty()) shape = {static_cast<std::int32_t>(values.size())};
  return constant(Array::of<float>(std::move(shape), values));
}

int GraphBuilder::ints(const std::vector<std::int32_t>& values) {
  const auto found = ints_.find(values);
  if (found != ints_.end()) return found->second;
  return ints_[values] =
             constant(Array::of<std::int32_t>({static_cast<std::int32_t>(values.size())}, values));
}

int GraphBuilder::int_scalar(std::int32_t value) {
  const auto found = int_scalars_.find({value});
  if (found != int_scalars_.end()) return found->second;
  return int_scalars_[{value}] = constant(Array::of<std::int32_t>({}, {value}));
}

std::vector<int> GraphBuilder::emit_many(OpCode code, std::vector<int> inputs,
                                         const std::vector<Shape>& out, Attrs attrs, DType dtype) {
  if (graph.ops.size() >= kMostOps) fail("{}: more than {} operators", scope, kMostOps);
  Op op;
  op.code = code;
  op.inputs = std::move(inputs);
  op.attrs = std::move(attrs);
  for (const Shape& s : out) {
    for (const std::int32_t d : s) {
      if (d <= 0) fail("{}: {} would give shape {}", scope, op_name(code), shape_text(s));
    }
    if (shape_elements(s) > kMostElements) {
      fail("{}: {} would give shape {}, too large", scope, op_name(code), shape_text(s));
    }
    Tensor t;
    t.name = fresh(scope + "/" + op_name(code));
    t.dtype = dtype;
    t.shape = s;
    t.shape_signature = s;
    if (!s.empty()) t.shape_signature[0] = -1;
    t.has_rank = true;
    graph.tensors.push_back(std::move(t));
    op.outputs.push_back(static_cast<int>(graph.tensors.size()) - 1);
  }
  auto result = op.outputs;
  graph.ops.push_back(std::move(op));
  return result;
}

int GraphBuilder::emit(OpCode code, std::vector<int> inputs, Shape out, Attrs attrs, DType dtype) {
  return emit_many(code, std::move(inputs), {std::move(out)}, std::move(attrs), dtype)[0];
}

int GraphBuilder::unary(OpCode code, int x) {
  return emit(code, {x}, shape(x), NoAttrs{}, dtype(x));
}

int GraphBuilder::binary(OpCode code, int a, int b) {
  const DType type = is_comparison(code) ? DType::kBool : dtype(a);
  return emit(code, {a, b}, broadcast_shape(shape(a), shape(b)), binary_attrs(code), type);
}

int GraphBuilder::select(int condition, int a, int b) {
  return emit(OpCode::kSelectV2, {condition, a, b},
              broadcast_shape(shape(condition), broadcast_shape(shape(a), shape(b))), NoAttrs{},
              dtype(a));
}

int GraphBuilder::reshape(int x, Shape to) {
  if (to == shape(x)) return x;
  if (shape_elements(to) != shape_elements(shape(x))) {
    fail("{}: shape {} cannot become {}", scope, shape_text(shape(x)), shape_text(to));
  }
  if (fold_constants && is_constant(x)) {
    return constant(graph.tensors[static_cast<std::size_t>(x)].constant->reshaped(to));
  }
  Shape open = to;
  if (!is_constant(x) && !open.empty()) open[0] = -1;
  const int operand = ints(open);
  return emit(OpCode::kReshape, {x, operand}, std::move(to), ReshapeAttrs{open}, dtype(x));
}

int GraphBuilder::transpose(int x, const std::vector<int>& perm) {
  Shape out;
  bool same = true;
  for (std::size_t d = 0; d < perm.size(); ++d) {
    out.push_back(shape(x)[static_cast<std::size_t>(perm[d])]);
    same = same && perm[d] == static_cast<int>(d);
  }
  if (same) return x;
  return emit(OpCode::kTranspose, {x, ints({perm.begin(), perm.end()})}, out, NoAttrs{}, dtype(x));
}

int GraphBuilder::reduce(OpCode code, int x, std::vector<int> axes, bool keep) {
  Shape out;
  for (int& a : axes) a = positive_axis(a, rank(x));
  std::sort(axes.begin(), axes.end());
  for (int d = 0; d < rank(x); ++d) {
    const bool gone = std::find(axes.begin(), axes.end(), d) != axes.end();
    if (!gone) out.push_back(shape(x)[static_cast<std::size_t>(d)]);
    if (gone && keep) out.push_back(1);
  }
  return emit(code, {x, ints({axes.begin(), axes.end()})}, out, ReducerAttrs{keep}, dtype(x));
}

int GraphBuilder::concat(const std::vector<int>& parts, int axis) {
  if (parts.size() == 1) return parts[0];
  axis = positive_axis(axis, rank(parts[0]));
  Shape out = shape(parts[0]);
  out[static_cast<std::size_t>(axis)] = 0;
  for (const int p : parts) {
    if (rank(p) != static_cast<int>(out.size())) {
      fail("{}: shapes {} and {} cannot be joined", scope, shape_text(shape(parts[0])),
           shape_text(shape(p)));
    }
    for (int d = 0; d < rank(p); ++d) {
      const auto i = static_cast<std::size_t>(d);
      if (d == axis) {
        out[i] += shape(p)[i];
      } else if (shape(p)[i] != out[i]) {
        fail("{}: shapes {} and {} cannot be joined along axis {}", scope,
             shape_text(shape(parts[0])), shape_text(shape(p)), axis);
      }
    }
  }
  return emit(OpCode::kConcatenation, parts, out, ConcatAttrs{axis}, dtype(parts[0]));
}

int GraphBuilder::slice(int x, int axis, int begin, int end, int step) {
  const auto r = static_cast<std::size_t>(rank(x)), a = static_cast<std::size_t>(axis);
  const int n = shape(x)[a];
  if (begin < 0 || end > n || begin >= end) {
    fail("{}: elements {} to {} of an axis of {}", scope, begin, end, n);
  }
  if (begin == 0 && end == n && step == 1) return x;
  std::vector<std::int32_t> b(r, 0), e(r, 0), s(r, 1);
  std::int32_t whole = 0;
  for (std::size_t d = 0; d < r; ++d) {
    if (d != a) whole |= 1 << d;
  }
  b[a] = begin;
  e[a] = end;
  s[a] = step;
  Shape out = shape(x);
  out[a] = (end - begin + step - 1) / step;
  return emit(OpCode::kStridedSlice, {x, ints(b), ints(e), ints(s)}, out,
              StridedSliceAttrs{.begin_mask = whole, .end_mask = whole}, dtype(x));
}

std::vector<int> GraphBuilder::split(int x, int axis, int parts) {
  if (parts == 1) return {x};
  Shape out = shape(x);
  auto& n = out[static_cast<std::size_t>(axis)];
  if (n % parts != 0) fail("{}: an axis of {} cannot be split into {}", scope, n, parts);
  n /= parts;
  return emit_many(OpCode::kSplit, {int_scalar(axis), x},
                   std::vector<Shape>(static_cast<std::size_t>(parts), out), SplitAttrs{parts},
                   dtype(x));
}

namespace {
std::vector<std::int32_t> pad_pairs(const std::vector<std::pair<int, int>>& pads, Shape& out) {
  std::vector<std::int32_t> flat;
  for (std::size_t d = 0; d < pads.size(); ++d) {
    flat.push_back(pads[d].first);
    flat.push_back(pads[d].second);
    out[d] += pads[d].first + pads[d].second;
  }
  return flat;
}
}  // namespace

int GraphBuilder::pad(int x, const std::vector<std::pair<int, int>>& pads) {
  Shape out = shape(x);
  const auto flat = pad_pairs(pads, out);
  if (out == shape(x)) return x;
  const int operand =
      constant(Array::of<std::int32_t>({static_cast<std::int32_t>(pads.size()), 2}, flat));
  return emit(OpCode::kPad, {x, operand}, out, NoAttrs{}, dtype(x));
}

int GraphBuilder::pad_value(int x, const std::vector<std::pair<int, int>>& pads, float value) {
  Shape out = shape(x);
  const auto flat = pad_pairs(pads, out);
  if (out == shape(x)) return x;
  const int operand =
      constant(Array::of<std::int32_t>({static_cast<std::int32_t>(pads.size()), 2}, flat));
  return emit(OpCode::kPadV2, {x, operand, scalar(value)}, out, NoAttrs{}, dtype(x));
}

int GraphBuilder::tile(int x, const std::vector<int>& times) {
  Shape out = shape(x);
  bool same = true;
  for (std::size_t d = 0; d < out.size(); ++d) {
    out[d] = product(out[d], times[d]);
    same = same && times[d] == 1;
  }
  if (same) return x;
  return emit(OpCode::kTile, {x, ints({times.begin(), times.end()})}, out, NoAttrs{}, dtype(x));
}

int GraphBuilder::cast(int x, DType to) {
  if (dtype(x) == to) return x;
  return emit(OpCode::kCast, {x}, shape(x), CastAttrs{dtype(x), to}, to);
}

int GraphBuilder::softmax(int x, int axis) {
  const int r = rank(x);
  axis = positive_axis(axis, r);
  if (axis == r - 1) return emit(OpCode::kSoftmax, {x}, shape(x), SoftmaxAttrs{1.0f});
  std::vector<int> perm(static_cast<std::size_t>(r));
  for (int d = 0; d < r; ++d) perm[static_cast<std::size_t>(d)] = d;
  std::swap(perm[static_cast<std::size_t>(axis)], perm[static_cast<std::size_t>(r - 1)]);
  const int turned = transpose(x, perm);
  return transpose(emit(OpCode::kSoftmax, {turned}, shape(turned), SoftmaxAttrs{1.0f}), perm);
}

int GraphBuilder::matmul(int a, int b, bool adj_x, bool adj_y) {
  Shape sa = shape(a), sb = shape(b);
  if (sa.size() < 2 || sb.size() < 2)
    fail("{}: operands of {} and {}", scope, shape_text(sa), shape_text(sb));
  const std::int32_t rows = sa[sa.size() - (adj_x ? 1 : 2)], ka = sa[sa.size() - (adj_x ? 2 : 1)];
  const std::int32_t columns = sb[sb.size() - (adj_y ? 2 : 1)],
                     kb = sb[sb.size() - (adj_y ? 1 : 2)];
  if (ka != kb) fail("{}: {} and {} do not multiply", scope, shape_text(sa), shape_text(sb));
  sa.resize(sa.size() - 2);
  sb.resize(sb.size() - 2);
  Shape out = broadcast_shape(sa, sb);
  out.push_back(rows);
  out.push_back(columns);
  return emit(OpCode::kBatchMatmul, {a, b}, out, BatchMatmulAttrs{adj_x, adj_y});
}

int GraphBuilder::gather(int table, int indices, int axis) {
  Shape out(shape(table).begin(), shape(table).begin() + axis);
  out.insert(out.end(), shape(indices).begin(), shape(indices).end());
  out.insert(out.end(), shape(table).begin() + axis + 1, shape(table).end());
  return emit(OpCode::kGather, {table, indices}, out, GatherAttrs{axis, 0}, dtype(table));
}

int GraphBuilder::fully_connected(int x, int weights, int bias) {
  Shape out = shape(x);
  if (out.empty() || out.back() != shape(weights)[1]) {
    fail("{}: input {} and weights {}", scope, shape_text(out), shape_text(shape(weights)));
  }
  out.back() = shape(weights)[0];
  std::vector<int> inputs = {x, weights};
  inputs.push_back(bias);
  FullyConnectedAttrs attrs;
  attrs.keep_num_dims = out.size() > 2;
  return emit(OpCode::kFullyConnected, inputs, out, attrs);
}

int GraphBuilder::resize(OpCode code, int x, int height, int width, bool align, bool half) {
  const Shape out = {shape(x)[0], height, width, shape(x)[3]};
  return emit(code, {x, ints({height, width})}, out, ResizeAttrs{align, half});
}

}  // namespace litegap
