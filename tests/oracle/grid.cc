#include "oracle/grid.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>

#include "oracle/op_case.h"

namespace litegap::oracle {
namespace {

Shape part(const Shape& s, std::size_t from, std::size_t to) {
  return {s.begin() + static_cast<std::ptrdiff_t>(from),
          s.begin() + static_cast<std::ptrdiff_t>(to)};
}
Shape joined(Shape a, const Shape& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
bool inside(const Shape& shape, const Shape& at) {
  for (std::size_t d = 0; d < at.size(); ++d) {
    if (at[d] < 0 || at[d] >= shape[d]) return false;
  }
  return true;
}
// Every index of a shape.
std::vector<Shape> indices(const Shape& shape) {
  std::vector<Shape> all;
  for (std::size_t i = 0; i < shape_elements(shape); ++i) all.push_back(unflat(shape, i));
  return all;
}
Shape components(const Grid& index, const Shape& at) {
  Shape to;
  for (std::int32_t k = 0; k < index.shape.back(); ++k)
    to.push_back(static_cast<std::int32_t>(index(joined(at, {k}))));
  return to;
}

}  // namespace

double Grid::operator()(const Shape& index) const { return at.at(flat(shape, index)); }

Grid make_grid(Shape shape, const std::function<double(const Shape&)>& value) {
  Grid g{shape, {}};
  for (const Shape& at : indices(shape)) g.at.push_back(value(at));
  return g;
}

double held(double v, DType type) {
  if (type == DType::kFloat32) return static_cast<double>(static_cast<float>(v));
  const int bits = dtype_bits(type);
  if (bits >= 64 || type == DType::kBool || type == DType::kFloat64) return v;
  const bool is_unsigned =
      type == DType::kUint8 || type == DType::kUint16 || type == DType::kUint32;
  const double span = std::ldexp(1.0, bits);
  double r = v - std::floor(v / span) * span;
  if (!is_unsigned && r >= span / 2) r -= span;
  return r;
}

namespace {

// f(a value of the element type).
template <class F>
void with_type(DType type, F f) {
  switch (type) {
    case DType::kFloat32:
      return f(float{});
    case DType::kFloat64:
      return f(double{});
    case DType::kInt8:
      return f(std::int8_t{});
    case DType::kUint8:
      return f(std::uint8_t{});
    case DType::kInt16:
      return f(std::int16_t{});
    case DType::kInt32:
      return f(std::int32_t{});
    case DType::kInt64:
      return f(std::int64_t{});
    default:
      return f(bool{});
  }
}

}  // namespace

Grid grid_of(const Array& a) {
  Grid g{a.shape(), {}};
  with_type(a.dtype(), [&](auto zero) {
    for (const auto v : a.span<decltype(zero)>()) g.at.push_back(static_cast<double>(v));
  });
  return g;
}

Array array_of(const Grid& g, DType type) {
  Array a = Array::zeros(type, g.shape);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    for (std::size_t i = 0; i < g.at.size(); ++i) a.mutable_span<T>()[i] = static_cast<T>(g.at[i]);
  });
  return a;
}

// ---- picking and placing
Grid gather_nd(const Grid& from, const Grid& index) {
  const std::size_t depth = static_cast<std::size_t>(index.shape.back()),
                    lead = index.shape.size() - 1;
  const Shape rest = part(from.shape, depth, from.shape.size());
  return make_grid(joined(part(index.shape, 0, lead), rest), [&](const Shape& at) {
    const Shape place = joined(components(index, part(at, 0, lead)), part(at, lead, at.size()));
    return inside(from.shape, place) ? from(place) : 0.0;
  });
}

Grid scatter_nd(const Grid& index, const Grid& updates, const Shape& shape, DType type) {
  const std::size_t depth = static_cast<std::size_t>(index.shape.back()),
                    lead = index.shape.size() - 1;
  return make_grid(shape, [&](const Shape& at) {
    double sum = 0;
    for (const Shape& row : indices(part(index.shape, 0, lead))) {
      if (components(index, row) == part(at, 0, depth))
        sum = held(sum + updates(joined(row, part(at, depth, at.size()))), type);
    }
    return sum;
  });
}

Grid one_hot(const Grid& index, std::int32_t depth, double on, double off, std::int32_t axis) {
  const std::size_t a = axis < 0 ? index.shape.size() : static_cast<std::size_t>(axis);
  Shape out = index.shape;
  out.insert(out.begin() + static_cast<std::ptrdiff_t>(a), depth);
  return make_grid(out, [&](const Shape& at) {
    return index(joined(part(at, 0, a), part(at, a + 1, at.size()))) == at[a] ? on : off;
  });
}

Grid sparse_to_dense(const Grid& index, const Shape& shape, const Grid& values, double other) {
  return make_grid(shape, [&](const Shape& at) {
    double v = other;
    for (std::int32_t i = 0; i < index.shape[0]; ++i) {
      if (components(index, {i}) == at) v = values.shape.empty() ? values.at[0] : values({i});
    }
    return v;
  });
}

Grid segments(OpCode op, const Grid& data, const Grid& ids, std::int32_t count, DType type) {
  const std::size_t lead = ids.shape.size();
  const Shape rest = part(data.shape, lead, data.shape.size());
  return make_grid(joined({count}, rest), [&](const Shape& at) {
    const bool real = type == DType::kFloat32;
    const double most = real ? static_cast<double>(std::numeric_limits<float>::max())
                             : static_cast<double>(std::numeric_limits<std::int32_t>::max());
    double v = op == OpCode::kUnsortedSegmentProd  ? 1
               : op == OpCode::kUnsortedSegmentMax ? (real ? -most : -most - 1)
               : op == OpCode::kUnsortedSegmentMin ? most
                                                   : 0;
    for (const Shape& row : indices(ids.shape)) {
      if (ids(row) != at[0]) continue;
      const double x = data(joined(row, part(at, 1, at.size())));
      v = op == OpCode::kUnsortedSegmentProd  ? held(v * x, type)
          : op == OpCode::kUnsortedSegmentMax ? std::max(v, x)
          : op == OpCode::kUnsortedSegmentMin ? std::min(v, x)
                                              : held(v + x, type);
    }
    return v;
  });
}

Grid embedding_sparse(const Grid& ids, const Grid& places, const Shape& shape, const Grid& weights,
                      const Grid& table, int combiner) {
  const std::size_t lead = shape.size() - 1;
  const Shape rest = part(table.shape, 1, table.shape.size());
  return make_grid(joined(part(shape, 0, lead), rest), [&](const Shape& at) {
    double sum = 0, w = 0, squares = 0;
    for (std::int32_t i = 0; i < ids.shape[0]; ++i) {
      if (part(components(places, {i}), 0, lead) != part(at, 0, lead)) continue;
      const double weight = weights({i});
      w += weight;
      squares += weight * weight;
      sum +=
          weight * table(joined({static_cast<std::int32_t>(ids({i}))}, part(at, lead, at.size())));
    }
    const double by = combiner == 0 ? 1 : combiner == 1 ? w : std::sqrt(squares);
    return by == 0 ? sum : sum / by;
  });
}

Grid update_slice(const Grid& whole, const Grid& piece, const std::vector<std::int32_t>& start) {
  return make_grid(whole.shape, [&](const Shape& at) {
    Shape in = at;
    for (std::size_t d = 0; d < at.size(); ++d)
      in[d] -= std::clamp(start[d], 0, whole.shape[d] - piece.shape[d]);
    return inside(piece.shape, in) ? piece(in) : whole(at);
  });
}

Grid matrix_diag(const Grid& x) {
  return make_grid(joined(x.shape, {x.shape.back()}), [&](const Shape& at) {
    const std::size_t n = at.size();
    return at[n - 1] == at[n - 2] ? x(part(at, 0, n - 1)) : 0.0;
  });
}

Grid matrix_set_diag(const Grid& x, const Grid& diagonal) {
  return make_grid(x.shape, [&](const Shape& at) {
    const std::size_t n = at.size();
    return at[n - 1] == at[n - 2] ? diagonal(part(at, 0, n - 1)) : x(at);
  });
}

// ---- order
Grid cumsum(const Grid& x, std::size_t axis, bool exclusive, bool reversed, DType type) {
  return make_grid(x.shape, [&](const Shape& at) {
    double sum = 0;
    const std::int32_t n = x.shape[axis];
    for (std::int32_t k = 0; k < n; ++k) {
      Shape from = at;
      from[axis] = reversed ? n - 1 - k : k;
      const std::int32_t here = reversed ? n - 1 - at[axis] : at[axis];
      if (k < here || (k == here && !exclusive)) sum = held(sum + x(from), type);
    }
    return sum;
  });
}

std::vector<Grid> top_k(const Grid& x, std::int32_t k) {
  const std::int32_t n = x.shape.back();
  Shape out = x.shape;
  out.back() = k;
  // The element that exactly as many others come before as its place says.
  const Grid index = make_grid(out, [&](const Shape& at) {
    for (std::int32_t i = 0; i < n; ++i) {
      Shape a = at, b = at;
      a.back() = i;
      std::int32_t before = 0;
      for (std::int32_t j = 0; j < n; ++j) {
        b.back() = j;
        if (x(b) > x(a) || (x(b) == x(a) && j < i)) ++before;
      }
      if (before == at.back()) return static_cast<double>(i);
    }
    return -1.0;
  });
  const Grid value = make_grid(out, [&](const Shape& at) {
    Shape from = at;
    from.back() = static_cast<std::int32_t>(index(at));
    return x(from);
  });
  return {value, index};
}

Grid reverse(const Grid& x, const std::vector<bool>& axes) {
  return make_grid(x.shape, [&](const Shape& at) {
    Shape from = at;
    for (std::size_t d = 0; d < at.size(); ++d) {
      if (axes[d]) from[d] = x.shape[d] - 1 - at[d];
    }
    return x(from);
  });
}

Grid reverse_sequence(const Grid& x, const Grid& lengths, std::size_t seq, std::size_t batch) {
  return make_grid(x.shape, [&](const Shape& at) {
    const auto n = static_cast<std::int32_t>(lengths({at[batch]}));
    Shape from = at;
    if (at[seq] < n) from[seq] = n - 1 - at[seq];
    return x(from);
  });
}

Grid spread(const Grid& x, double value, const std::vector<std::int64_t>& low,
            const std::vector<std::int64_t>& high, const std::vector<std::int64_t>& interior) {
  Shape out;
  for (std::size_t d = 0; d < x.shape.size(); ++d)
    out.push_back(static_cast<std::int32_t>(
        std::max<std::int64_t>(0, low[d] + high[d] + x.shape[d] + (x.shape[d] - 1) * interior[d])));
  return make_grid(out, [&](const Shape& at) {
    Shape from;
    for (std::size_t d = 0; d < at.size(); ++d) {
      const std::int64_t p = at[d] - low[d], step = interior[d] + 1;
      if (p < 0 || p % step != 0) return value;
      from.push_back(static_cast<std::int32_t>(p / step));
    }
    return inside(x.shape, from) ? x(from) : value;
  });
}

Grid reduce_window(const Grid& x, double start, int function,
                   const std::vector<std::int64_t>& window, const std::vector<std::int64_t>& stride,
                   const std::vector<std::int64_t>& dilation, DType type) {
  Shape out, size;
  for (std::size_t d = 0; d < x.shape.size(); ++d) {
    const std::int64_t span = (window[d] - 1) * dilation[d] + 1;
    out.push_back(
        static_cast<std::int32_t>(x.shape[d] < span ? 0 : (x.shape[d] - span) / stride[d] + 1));
    size.push_back(static_cast<std::int32_t>(window[d]));
  }
  return make_grid(out, [&](const Shape& at) {
    double v = start;
    for (const Shape& cell : indices(size)) {
      Shape from = at;
      for (std::size_t d = 0; d < at.size(); ++d)
        from[d] = static_cast<std::int32_t>(at[d] * stride[d] + cell[d] * dilation[d]);
      const double e = x(from);
      v = function == 1   ? held(v + e, type)
          : function == 2 ? held(v * e, type)
          : function == 3 ? std::min(v, e)
                          : std::max(v, e);
    }
    return v;
  });
}

// ---- floats
namespace {

struct Axis {
  std::int64_t stride, dilation, pad;
};
Axis axis_of(std::int64_t in, std::int64_t out, std::int64_t taps, std::int64_t stride,
             std::int64_t dilation, Padding padding) {
  const std::int64_t total = (out - 1) * stride + (taps - 1) * dilation + 1 - in;
  return {stride, dilation, padding == Padding::kSame ? std::max<std::int64_t>(0, total) / 2 : 0};
}
std::int64_t windows(std::int64_t in, std::int64_t taps, std::int64_t stride, std::int64_t dilation,
                     Padding padding) {
  if (padding == Padding::kSame) return (in + stride - 1) / stride;
  return (in - ((taps - 1) * dilation + 1)) / stride + 1;
}
double active(double v, Activation a) {
  if (a == Activation::kRelu) return std::max(v, 0.0);
  if (a == Activation::kRelu6) return std::clamp(v, 0.0, 6.0);
  if (a == Activation::kReluN1To1) return std::clamp(v, -1.0, 1.0);
  return v;
}

}  // namespace

Grid conv_3d(const Grid& x, const Grid& filter, const std::vector<double>& bias,
             const Conv3dAttrs& a) {
  const std::int32_t stride[] = {a.stride_d, a.stride_h, a.stride_w},
                     dilation[] = {a.dilation_d, a.dilation_h, a.dilation_w};
  Shape out{x.shape[0]};
  std::vector<Axis> axes;
  for (std::size_t d = 0; d < 3; ++d) {
    out.push_back(static_cast<std::int32_t>(
        windows(x.shape[d + 1], filter.shape[d], stride[d], dilation[d], a.padding)));
    axes.push_back(
        axis_of(x.shape[d + 1], out.back(), filter.shape[d], stride[d], dilation[d], a.padding));
  }
  out.push_back(filter.shape[4]);
  return make_grid(out, [&](const Shape& at) {
    double sum = bias.empty() ? 0 : bias[static_cast<std::size_t>(at[4])];
    for (const Shape& tap : indices(part(filter.shape, 0, 4))) {
      Shape from = at;
      for (std::size_t d = 0; d < 3; ++d)
        from[d + 1] = static_cast<std::int32_t>(at[d + 1] * axes[d].stride +
                                                tap[d] * axes[d].dilation - axes[d].pad);
      from[4] = tap[3];
      if (inside(x.shape, from)) sum += x(from) * filter(joined(tap, {at[4]}));
    }
    return active(sum, a.activation);
  });
}

Grid conv_3d_transpose(const Grid& x, const Grid& filter, const std::vector<double>& bias,
                       const Conv3dAttrs& a, const Shape& out) {
  const std::int32_t stride[] = {a.stride_d, a.stride_h, a.stride_w},
                     dilation[] = {a.dilation_d, a.dilation_h, a.dilation_w};
  std::vector<Axis> axes;
  for (std::size_t d = 0; d < 3; ++d)
    axes.push_back(
        axis_of(out[d + 1], x.shape[d + 1], filter.shape[d], stride[d], dilation[d], a.padding));
  return make_grid(out, [&](const Shape& at) {
    double sum = bias.empty() ? 0 : bias[static_cast<std::size_t>(at[4])];
    for (const Shape& from : indices(x.shape)) {
      if (from[0] != at[0]) continue;
      Shape tap;
      for (std::size_t d = 0; d < 3; ++d) {
        const std::int64_t p = at[d + 1] + axes[d].pad - from[d + 1] * axes[d].stride;
        if (p < 0 || p % axes[d].dilation != 0) break;
        tap.push_back(static_cast<std::int32_t>(p / axes[d].dilation));
      }
      if (tap.size() < 3 || !inside(filter.shape, tap)) continue;
      sum += x(from) * filter(joined(tap, {at[4], from[4]}));
    }
    return active(sum, a.activation);
  });
}

Grid l2_pool(const Grid& x, const PoolAttrs& a) {
  const std::int64_t taps[] = {a.filter_h, a.filter_w}, stride[] = {a.stride_h, a.stride_w};
  Shape out = x.shape;
  std::vector<Axis> axes;
  for (std::size_t d = 0; d < 2; ++d) {
    out[d + 1] =
        static_cast<std::int32_t>(windows(x.shape[d + 1], taps[d], stride[d], 1, a.padding));
    axes.push_back(axis_of(x.shape[d + 1], out[d + 1], taps[d], stride[d], 1, a.padding));
  }
  return make_grid(out, [&](const Shape& at) {
    double sum = 0, count = 0;
    for (const Shape& tap : indices({a.filter_h, a.filter_w})) {
      Shape from = at;
      for (std::size_t d = 0; d < 2; ++d)
        from[d + 1] = static_cast<std::int32_t>(at[d + 1] * stride[d] + tap[d] - axes[d].pad);
      if (!inside(x.shape, from)) continue;
      sum += x(from) * x(from);
      ++count;
    }
    return active(std::sqrt(sum / count), a.activation);
  });
}

Grid local_response(const Grid& x, const LocalResponseNormAttrs& a, bool last) {
  return make_grid(x.shape, [&](const Shape& at) {
    double sum = 0;
    Shape from = at;
    for (std::int32_t c = 0; c < x.shape.back(); ++c) {
      from.back() = c;
      const std::int32_t far = c - at.back();
      if (far >= -a.radius && (far < a.radius || (last && far == a.radius)))
        sum += x(from) * x(from);
    }
    return x(at) * std::pow(static_cast<double>(a.bias) + static_cast<double>(a.alpha) * sum,
                            -static_cast<double>(a.beta));
  });
}

Grid rfft2d(const Grid& x, std::int32_t height, std::int32_t width) {
  const std::size_t lead = x.shape.size() - 2;
  const Shape out = joined(part(x.shape, 0, lead), {height, width / 2 + 1, 2});
  return make_grid(out, [&](const Shape& at) {
    std::complex<double> sum = 0;
    for (const Shape& cell : indices({height, width})) {
      const Shape from = joined(part(at, 0, lead), cell);
      if (!inside(x.shape, from)) continue;
      const double turns = static_cast<double>(cell[0]) * at[lead] / height +
                           static_cast<double>(cell[1]) * at[lead + 1] / width;
      sum += x(from) * std::polar(1.0, -2 * std::numbers::pi * turns);
    }
    return at.back() == 0 ? sum.real() : sum.imag();
  });
}

// The best of those left, again and again; then all that overlap it go.
std::vector<std::int32_t> suppression(const Grid& boxes, const Grid& scores, std::int32_t most,
                                      double iou, double least) {
  const auto side = [&](std::int32_t b, std::int32_t k, bool high) {
    const double p = boxes({b, k}), q = boxes({b, k + 2});
    return high ? std::max(p, q) : std::min(p, q);
  };
  const auto area = [&](std::int32_t b) {
    return (side(b, 0, true) - side(b, 0, false)) * (side(b, 1, true) - side(b, 1, false));
  };
  const auto overlap = [&](std::int32_t a, std::int32_t b) {
    double both = 1;
    for (const std::int32_t k : {0, 1})
      both *= std::max(0.0, std::min(side(a, k, true), side(b, k, true)) -
                                std::max(side(a, k, false), side(b, k, false)));
    return both / (area(a) + area(b) - both);
  };
  std::vector<bool> gone(static_cast<std::size_t>(boxes.shape[0]), false);
  std::vector<std::int32_t> chosen;
  while (static_cast<std::int32_t>(chosen.size()) < most) {
    std::int32_t best = -1;
    for (std::int32_t b = 0; b < boxes.shape[0]; ++b) {
      if (!gone[static_cast<std::size_t>(b)] && scores({b}) > least &&
          (best < 0 || scores({b}) > scores({best})))
        best = b;
    }
    if (best < 0) break;
    chosen.push_back(best);
    for (std::int32_t b = 0; b < boxes.shape[0]; ++b) {
      if (b == best || overlap(best, b) >= iou) gone[static_cast<std::size_t>(b)] = true;
    }
  }
  return chosen;
}

}  // namespace litegap::oracle
