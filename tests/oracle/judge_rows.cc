// The judge of operators over rows, windows and images: reductions, SOFTMAX and its kin, pools,
// resizing.
#include <algorithm>
#include <cmath>
#include <limits>

#include "oracle/judge_numbers.h"
#include "oracle/op_case.h"
#include "oracle/words.h"

namespace litegap::oracle {
namespace {

constexpr double kSums = 2e-6;  // float32 sums, in any order

bool reference(const Node& n) { return n.dialect == Dialect::kReference; }
bool xnn(const Node& n) { return n.dialect == Dialect::kXnnpack; }
Verdict codes(Codes y, Result at) {
  y.at = std::move(at);
  return {{y.array()}};
}

// ---- reductions
std::vector<bool> axes_of(const Node& n) {
  std::vector<bool> axes(n.shape(0).size(), false);
  for (const std::int64_t a : integers_of(n.array(1))) axes[axis_of(a, axes.size())] = true;
  return axes;
}
Shape reduced_shape(const Shape& in, const std::vector<bool>& axes, bool keep) {
  Shape out;
  for (std::size_t d = 0; d < in.size(); ++d) {
    if (!axes[d] || keep) out.push_back(axes[d] ? 1 : in[d]);
  }
  return out;
}

// The elements of each output, in their order.
std::vector<std::vector<std::size_t>> members(const Shape& in, const std::vector<bool>& axes) {
  const Shape kept = reduced_shape(in, axes, true);
  std::vector<std::vector<std::size_t>> all(shape_elements(kept));
  each(in, [&](Shape at, std::size_t i) {
    for (std::size_t d = 0; d < at.size(); ++d) at[d] = axes[d] ? 0 : at[d];
    all[flat(kept, at)].push_back(i);
  });
  return all;
}

Verdict reduce_numbers(const Node& n) {
  const std::vector<bool> axes = axes_of(n);
  const OpCode op = n.op.code;
  Array y =
      Array::zeros(n.type(0), reduced_shape(n.shape(0), axes, n.attrs<ReducerAttrs>().keep_dims));
  const bool real = is_float(n.type(0));
  const auto all = members(n.shape(0), axes);
  double peak = 0;
  for (std::size_t o = 0; o < all.size(); ++o) {
    double sum = op == OpCode::kReduceProd ? 1 : 0, size = 0;
    std::uint64_t word = op == OpCode::kReduceProd ? 1 : 0;
    std::int64_t extreme = 0;
    for (std::size_t k = 0; k < all[o].size(); ++k) {
      const double v = real ? number(n.array(0), all[o][k]) : 0;
      const std::int64_t w = real ? 0 : integer(n.array(0), all[o][k]);
      const bool better =
          op == OpCode::kReduceMax || op == OpCode::kReduceAny ? w > extreme : w < extreme;
      const bool more = op == OpCode::kReduceMax ? v > sum : v < sum;
      if (op == OpCode::kReduceProd)
        sum *= v, word *= static_cast<std::uint64_t>(w);
      else if (op == OpCode::kSum || op == OpCode::kMean)
        sum += v, word += static_cast<std::uint64_t>(w);
      else {
        if (k == 0 || better) extreme = w;
        if (k == 0 || more) sum = v;
      }
      size += std::abs(v);
    }
    const auto count = static_cast<std::int64_t>(all[o].size());
    auto whole = static_cast<std::int64_t>(word);
    if (op == OpCode::kMean)
      sum /= static_cast<double>(count), whole /= count, size /= static_cast<double>(count);
    if (op != OpCode::kMean && op != OpCode::kSum && op != OpCode::kReduceProd) whole = extreme;
    real ? put(y, o, sum) : put_integer(y, o, whole);
    peak = std::max(peak, size);
  }
  const bool adds = op == OpCode::kMean || op == OpCode::kSum;
  // Equal terms are rounded the same way each time: half a unit of the sum for each of them.
  const double terms = all.empty() ? 0 : static_cast<double>(all[0].size());
  const double sums = std::max(kSums, std::ldexp(terms, -24));
  Verdict v{{y}, real && (adds || op == OpCode::kReduceProd) ? sums : 0};
  v.scale = adds ? peak : 0;
  return v;
}

// The reference kernel of SUM takes the bytes of int8 for uint8.
Codes as_bytes(Codes c) {
  for (std::int32_t& q : c.at) q = static_cast<std::uint8_t>(q);
  c.type = DType::kUint8;
  return c;
}

Verdict reduce(const Node& n) {
  const OpCode op = n.op.code;
  if (!is_codes(n, 0) || op == OpCode::kReduceMax || op == OpCode::kReduceMin)
    return reduce_numbers(n);
  const std::vector<bool> axes = axes_of(n);
  const bool keep = n.attrs<ReducerAttrs>().keep_dims;
  const Codes x = n.codes(0);
  Codes y = n.result(reduced_shape(x.shape, axes, keep));
  if (op == OpCode::kMean) return codes(y, mean(x, y, axes, keep, n.dialect));
  if (op == OpCode::kReduceProd) return codes(y, product(x, y, axes));
  if (!reference(n) || x.type == DType::kUint8) return codes(y, sum(x, y, axes, n.dialect));
  Result r = sum(as_bytes(x), as_bytes(y), axes, n.dialect);
  for (std::int32_t& q : r) q = static_cast<std::int8_t>(q);
  return codes(y, r);
}

void make_reduce(Sketch& s, OpCode op, const Ask& ask) {
  int x = s.value(ask.type, 1, 4);
  if (op == OpCode::kReduceProd) {  // factors near 1
    Array a = s.random(ask.type, s.draw.shape(3, 3));
    for (std::size_t i = 0; i < a.elements() && is_float(ask.type); ++i)
      put(a, i, number(a, i) / 2);
    x = s.input(a, s.quant(ask.type));
  }
  if (op == OpCode::kMean && s.draw.one_in(3) && ask.type != DType::kInt16)
    x = s.input(s.random(ask.type, {1, s.draw.in(1, 3), s.draw.in(1, 3), s.draw.in(1, 35)}),
                s.quant(ask.type));
  const auto rank = static_cast<std::int32_t>(s.shape(x).size());
  std::vector<std::int64_t> axes;
  if (rank == 4 && s.draw.one_in(2)) {
    axes = {1, 2};
  } else {
    for (std::int32_t d = 0; d < rank; ++d) {
      if (s.draw.one_in(2)) axes.push_back(s.draw.one_in(2) ? d : d - rank);
    }
    if (axes.empty()) axes.push_back(rank - 1);
  }
  const bool raw = op == OpCode::kReduceMax || op == OpCode::kReduceMin;
  s.add(op, ReducerAttrs{s.draw.one_in(2)}, {x, s.numbers(axes)},
        {{ask.type, raw ? s.at(x).quant : s.quant(ask.type)}});
}

Verdict arg(const Node& n) {
  const std::size_t axis = axis_of(integer(n.array(1), 0), n.shape(0).size());
  std::vector<bool> axes(n.shape(0).size(), false);
  axes[axis] = true;
  Array y = Array::zeros(n.out_types[0], reduced_shape(n.shape(0), axes, false));
  const auto all = members(n.shape(0), axes);
  for (std::size_t o = 0; o < all.size(); ++o) {
    std::size_t best = 0;
    for (std::size_t k = 1; k < all[o].size(); ++k) {
      const double v = number(n.array(0), all[o][k]), b = number(n.array(0), all[o][best]);
      if (n.op.code == OpCode::kArgMax ? v > b : v < b) best = k;
    }
    put_integer(y, o, static_cast<std::int64_t>(best));
  }
  return {{y}};
}
void make_arg(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4);
  const auto rank = static_cast<std::int32_t>(s.shape(x).size());
  const DType to = s.draw.one_in(2) ? DType::kInt32 : DType::kInt64;
  s.add(op, OutputTypeAttrs{to}, {x, s.scalar(s.draw.in(-rank, rank - 1))}, {{to}});
}

// ---- rows of the last axis
std::size_t depth_of(const Node& n) { return static_cast<std::size_t>(n.shape(0).back()); }

// e^(beta s d) of differences of codes in fixed point: Q5.26 in, Q0.31 out.
struct Exponentials {
  Factor f;
  std::int64_t least = 0;
  Exponentials(float scale, float beta) {
    const double real = static_cast<double>(beta) * static_cast<double>(scale) * 67108864;
    f = factor(std::min(real, 2147483647.0));
    least = -static_cast<std::int64_t>(
        std::min(std::floor(31 * 67108864.0 / std::ldexp(1.0, f.e)), 2147483647.0));
  }
  std::int64_t argument(std::int64_t d) const {
    return Word{32}.product(wrap(d * (std::int64_t{1} << f.e)), f.m);
  }
  std::int64_t of(std::int64_t d) const { return Word{32}.exp(argument(d), 5); }
};

Result softmax_fixed(const Codes& x, const Codes& y, float beta) {
  const Exponentials e(x.scale, beta);
  const auto depth = static_cast<std::size_t>(x.shape.back());
  const int bits = y.type == DType::kInt16 ? 16 : 8;
  Result r;
  for (std::size_t row = 0; row < x.at.size(); row += depth) {
    const auto begin = x.at.begin() + static_cast<std::ptrdiff_t>(row);
    const std::int32_t peak = *std::max_element(begin, begin + static_cast<std::ptrdiff_t>(depth));
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < depth; ++i) {
      const std::int64_t d = x.at[row + i] - peak;
      if (d >= e.least) sum = wrap(sum + divide_away(e.of(d), 12));
    }
    const int zeros = zeros_before(sum);
    const std::int64_t inverse =
        Word{32}.inverse(wrap(sum * (std::int64_t{1} << zeros) - 2147483648));
    for (std::size_t i = 0; i < depth; ++i) {
      const std::int64_t d = x.at[row + i] - peak;
      r.push_back(d < e.least ? least(y.type)
                              : bound(y.type, divide_away(Word{32}.product(inverse, e.of(d)),
                                                          12 - zeros + 31 - bits) +
                                                  least(y.type)));
    }
  }
  return r;
}

// Words: e^x and 1 / (1 + x) from tables of 513 entries that are made in double.
class Samples {
 public:
  Samples(double x_scale, double x_zero, double (*f)(double)) {
    const double first = x_scale * (-32768 - x_zero), last = x_scale * (32767 - x_zero),
                 step = (last - first) / 512;
    const double y_scale = 2.0 / 65535.0, inverse = 65536 / (y_scale * 32767 - y_scale * -32768);
    for (int i = 0; i <= 512; ++i) {
      const double a = std::round((i < 512 ? f(first + i * step) : f(last)) * inverse);
      double entry = a;
      if (i < 512) {
        const double next = f(first + (i + 1) * step) * inverse,
                     middle = f(first + i * step + step / 2) * inverse;
        entry = a - std::round((std::round((next + a) / 2) - std::round(middle)) / 2);
      }
      at_[i] = static_cast<std::int64_t>(std::clamp(entry, -32768.0, 32767.0));
    }
  }
  std::int64_t of(std::int64_t x) const {
    const auto k = static_cast<std::size_t>(floor_div(x, 128) + 256);
    return at_[k] + divide_up((at_[k + 1] - at_[k]) * (x - floor_div(x, 128) * 128), 7);
  }

 private:
  std::int64_t at_[513];
};

Result softmax_words(const Codes& x, float beta) {
  const double range = 65535.0;
  const Samples exps(10 / range, 32767, [](double v) { return std::exp(v); }),
      inverses(1 / range, -32768, [](double v) { return 1 / (1 + v); });
  const Factor f = factor(static_cast<double>(x.scale * beta) / (10 / range));
  const auto depth = static_cast<std::size_t>(x.shape.back());
  Result r;
  for (std::size_t row = 0; row < x.at.size(); row += depth) {
    const auto begin = x.at.begin() + static_cast<std::ptrdiff_t>(row);
    const std::int32_t peak = *std::max_element(begin, begin + static_cast<std::ptrdiff_t>(depth));
    const auto e = [&](std::size_t i) {
      return exps.of(bound(DType::kInt16, times_away(x.at[row + i] - peak, f) + 32767));
    };
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < depth; ++i) sum += e(i);
    const int zeros = zeros_before(sum);
    const std::int64_t u = divide_up(sum * (std::int64_t{1} << (zeros - 1)), 14) - 98304;
    const std::int64_t inverse = inverses.of(bound(DType::kInt16, u));
    for (std::size_t i = 0; i < depth; ++i)
      r.push_back(static_cast<std::int32_t>(
          std::clamp<std::int64_t>(divide_up(e(i) * inverse, 31 - zeros), 0, 32767)));
  }
  return r;
}

Verdict softmax(const Node& n) {
  const float beta = n.attrs<SoftmaxAttrs>().beta;
  if (is_codes(n, 0)) {
    const Codes x = n.codes(0), y = n.result(x.shape);
    if (x.type == DType::kInt16) return codes(y, softmax_words(x, beta));
    return codes(y, reference(n) ? softmax_fixed(x, y, beta) : softmax_table(x, y, beta));
  }
  Array y = Array::zeros(DType::kFloat32, n.shape(0));
  const std::size_t depth = depth_of(n);
  for (std::size_t row = 0; row < y.elements(); row += depth) {
    double peak = -1e300, sum = 0;
    for (std::size_t i = row; i < row + depth; ++i) peak = std::max(peak, number(n.array(0), i));
    const auto e = [&](std::size_t i) {
      return std::exp((number(n.array(0), i) - peak) * static_cast<double>(beta));
    };
    for (std::size_t i = row; i < row + depth; ++i) sum += e(i);
    for (std::size_t i = row; i < row + depth; ++i) put(y, i, e(i) / sum);
  }
  return {{y}, kSums};
}

Result log_softmax_fixed(const Codes& x, const Codes& y) {
  const Exponentials e(x.scale, 1);
  const Factor back = factor(std::ldexp(1.0, 31 - e.f.e) / static_cast<double>(e.f.m));
  const auto depth = static_cast<std::size_t>(x.shape.back());
  Result r;
  for (std::size_t row = 0; row < x.at.size(); row += depth) {
    const auto begin = x.at.begin() + static_cast<std::ptrdiff_t>(row);
    const std::int32_t peak = *std::max_element(begin, begin + static_cast<std::ptrdiff_t>(depth));
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < depth; ++i) {
      const std::int64_t d = x.at[row + i] - peak;
      if (d >= e.least) sum = wrap(sum + divide_away(e.of(d), 12));
    }
    const std::int64_t log_sum = log_word(sum, 12, 5);
    const std::int64_t last = std::max(e.least - 1, times_away(wrap(log_sum - 2147483648), back));
    for (std::size_t i = 0; i < depth; ++i) {
      const std::int64_t d = x.at[row + i] - peak;
      r.push_back(d > last
                      ? bound(y.type, divide_away(wrap(e.argument(d) - log_sum), 22) + most(y.type))
                      : least(y.type));
    }
  }
  return r;
}
Result log_softmax_table(const Codes& x, const Codes& y) {
  const auto depth = static_cast<std::size_t>(x.shape.back());
  Result r;
  for (std::size_t row = 0; row < x.at.size(); row += depth) {
    const auto begin = x.at.begin() + static_cast<std::ptrdiff_t>(row);
    const std::int32_t peak = *std::max_element(begin, begin + static_cast<std::ptrdiff_t>(depth));
    float sum = 0;
    for (std::size_t i = 0; i < depth; ++i)
      sum += std::exp(-x.scale * static_cast<float>(peak - x.at[row + i]));
    const float offset = (x.scale * static_cast<float>(peak) + std::log(sum)) / y.scale;
    for (std::size_t i = 0; i < depth; ++i) {
      const float v = x.scale / y.scale * static_cast<float>(x.at[row + i]) - offset;
      r.push_back(bound(y.type, static_cast<std::int64_t>(std::nearbyint(v)) + y.zero));
    }
  }
  return r;
}
Verdict log_softmax(const Node& n) {
  if (is_codes(n, 0)) {
    const Codes x = n.codes(0), y = n.result(x.shape);
    return codes(y, reference(n) ? log_softmax_fixed(x, y) : log_softmax_table(x, y));
  }
  Array y = Array::zeros(DType::kFloat32, n.shape(0));
  const std::size_t depth = depth_of(n);
  Verdict v{{}, kSums};
  for (std::size_t row = 0; row < y.elements(); row += depth) {
    double peak = -1e300, sum = 0;
    for (std::size_t i = row; i < row + depth; ++i) {
      peak = std::max(peak, number(n.array(0), i));
      v.scale = std::max(v.scale, std::abs(number(n.array(0), i)));
    }
    for (std::size_t i = row; i < row + depth; ++i) sum += std::exp(number(n.array(0), i) - peak);
    for (std::size_t i = row; i < row + depth; ++i)
      put(y, i, number(n.array(0), i) - peak - std::log(sum));
  }
  v.outputs = {y};
  return v;
}

Verdict l2_normalization(const Node& n) {
  const std::size_t depth = depth_of(n);
  if (is_codes(n, 0)) {
    const Codes x = n.codes(0), y = n.result(x.shape);
    Result r;
    for (std::size_t row = 0; row < x.at.size(); row += depth) {
      std::int64_t squares = 0;
      for (std::size_t i = row; i < row + depth; ++i)
        squares += std::int64_t{x.at[i] - x.zero} * (x.at[i] - x.zero);
      const Root root = inverse_root(squares);
      for (std::size_t i = row; i < row + depth; ++i) {
        const std::int64_t d = x.at[i] - x.zero;
        r.push_back(
            x.type == DType::kInt8
                ? bound(x.type, times_away(d, {root.m, 7 - root.right}))
                : bound(x.type, 128 + divide_away(Word{32}.product(128 * d, root.m), root.right)));
      }
    }
    return codes(y, r);
  }
  Array y = Array::zeros(DType::kFloat32, n.shape(0));
  for (std::size_t row = 0; row < y.elements(); row += depth) {
    double squares = 0;
    for (std::size_t i = row; i < row + depth; ++i) squares += std::pow(number(n.array(0), i), 2);
    const double norm = std::max(std::sqrt(squares), static_cast<double>(1e-6f));
    for (std::size_t i = row; i < row + depth; ++i) put(y, i, number(n.array(0), i) / norm);
  }
  return {{y}, kSums};
}

void make_rows(Sketch& s, OpCode op, const Ask& ask) {
  int x = s.value(ask.type, 1, 4, 9);
  const bool words = ask.type == DType::kInt16, coded = !is_float(ask.type);
  if (words) x = s.input(s.random(ask.type, s.draw.shape(2, 9)), quant_of(s.draw.scale() / 512, 0));
  Quant q;
  if (coded && op == OpCode::kSoftmax)
    q = words ? quant_of(1.0f / 32768, 0) : quant_of(1.0f / 256, least(ask.type));
  if (coded && op == OpCode::kLogSoftmax) q = quant_of(1.0f / 16, most(ask.type));
  if (coded && op == OpCode::kL2Normalization)
    q = quant_of(1.0f / 128, ask.type == DType::kUint8 ? 128 : 0);
  Attrs a = NoAttrs{};
  if (op == OpCode::kSoftmax) a = SoftmaxAttrs{s.draw.one_in(2) ? 1.0f : s.draw.real(0.3f, 2)};
  if (op == OpCode::kL2Normalization) a = ActivationAttrs{};
  s.add(op, a, {x}, {{ask.type, q}});
}

// ---- windows over an image
Shape pooled(const Shape& in, const PoolAttrs& a) {
  const auto size = [&](std::int32_t n, std::int32_t k, std::int32_t stride) {
    return a.padding == Padding::kSame ? (n + stride - 1) / stride : (n - k) / stride + 1;
  };
  return {in[0], size(in[1], a.filter_h, a.stride_h), size(in[2], a.filter_w, a.stride_w), in[3]};
}
Verdict pool_of(const Node& n) {
  const auto& a = n.attrs<PoolAttrs>();
  const Shape out = pooled(n.shape(0), a);
  const bool average = n.op.code == OpCode::kAveragePool2d;
  if (is_codes(n, 0))
    return codes(n.result(out), pool(n.codes(0), n.result(out), a, average, n.dialect));
  if (n.op.code == OpCode::kL2Pool2d) {
    Verdict v{{array_of(l2_pool(grid_of(n.array(0)), a), DType::kFloat32)}, kSums};
    return v;
  }
  const Grid x = grid_of(n.array(0));
  Grid y{out, {}};
  double peak = 0;
  for (const double v : x.at) peak = std::max(peak, std::abs(v));
  const auto before = [&](std::int32_t in, std::int32_t o, std::int32_t k, std::int32_t stride) {
    return a.padding == Padding::kSame ? std::max((o - 1) * stride + k - in, 0) / 2 : 0;
  };
  each(out, [&](const Shape& at, std::size_t) {
    double sum = 0, count = 0, largest = -1e300;
    for (std::int32_t ky = 0; ky < a.filter_h; ++ky) {
      for (std::int32_t kx = 0; kx < a.filter_w; ++kx) {
        const std::int32_t row =
            at[1] * a.stride_h - before(x.shape[1], out[1], a.filter_h, a.stride_h) + ky;
        const std::int32_t column =
            at[2] * a.stride_w - before(x.shape[2], out[2], a.filter_w, a.stride_w) + kx;
        if (row < 0 || row >= x.shape[1] || column < 0 || column >= x.shape[2]) continue;
        const double v = x({at[0], row, column, at[3]});
        sum += v;
        ++count;
        largest = std::max(largest, v);
      }
    }
    y.at.push_back(clamped(average ? sum / count : largest, a.activation));
  });
  Verdict v{{array_of(y, DType::kFloat32)}, average ? kSums : 0};
  v.scale = peak;
  return v;
}
void make_pool(Sketch& s, OpCode op, const Ask& ask) {
  PoolAttrs a;
  const int x = s.value(ask.type, 4, 4, 7);
  a.padding = static_cast<Padding>(s.draw.in(0, 1));
  a.stride_h = s.draw.in(1, 3), a.stride_w = s.draw.in(1, 3);
  a.filter_h = s.draw.in(1, std::min(3, s.shape(x)[1])),
  a.filter_w = s.draw.in(1, std::min(3, s.shape(x)[2]));
  a.activation = s.draw.activation();
  s.add(op, a, {x}, {{ask.type, s.at(x).quant}});
}
Verdict local(const Node& n) {
  const Grid y =
      local_response(grid_of(n.array(0)), n.attrs<LocalResponseNormAttrs>(), !reference(n));
  return {{array_of(y, DType::kFloat32)}, kSums};
}
void make_local(Sketch& s, OpCode op, const Ask& ask) {
  const LocalResponseNormAttrs a{s.draw.in(0, 3), s.draw.real(1, 2), s.draw.real(0.1f, 1),
                                 s.draw.real(0.3f, 1)};
  s.add(op, a, {s.value(ask.type, 4, 4)}, {{ask.type}});
}

// ---- resizing
struct Tap {
  std::int32_t low = 0, high = 0;
  double part = 0;         // of the upper neighbour
  std::int64_t units = 0;  // the same in fixed point
};
std::vector<Tap> taps(std::int32_t in, std::int32_t out, const ResizeAttrs& a, bool words,
                      bool clamps) {
  std::vector<Tap> all;
  const bool align = a.align_corners && out > 1;
  const float scale = align ? static_cast<float>(in - 1) / static_cast<float>(out - 1)
                            : static_cast<float>(in) / static_cast<float>(out);
  for (std::int32_t v = 0; v < out; ++v) {
    Tap t;
    if (words) {  // 10 fraction bits
      const std::int64_t step = align ? (std::int64_t{1024} * (in - 1) + (out - 1) / 2) / (out - 1)
                                      : (std::int64_t{1024} * in + out / 2) / out;
      const std::int64_t p = v * step + (a.half_pixel_centers ? step / 2 - 512 : 0);
      t.low = static_cast<std::int32_t>(std::clamp<std::int64_t>(p / 1024, 0, in - 1));
      t.high = static_cast<std::int32_t>(std::clamp<std::int64_t>((p + 1023) / 1024, 0, in - 1));
      t.units = p - 1024 * t.low;
    } else {
      const float f = static_cast<float>(v);
      float p = a.half_pixel_centers ? (f + 0.5f) * scale - 0.5f : f * scale;
      if (clamps)
        p = std::clamp(a.half_pixel_centers ? f * scale + (0.5f * scale - 0.5f) : f * scale, 0.0f,
                       static_cast<float>(in - 1));
      t.low = std::max(static_cast<std::int32_t>(std::floor(p)), 0);
      t.high = clamps ? std::min(t.low + 1, in - 1)
                      : std::min(static_cast<std::int32_t>(std::ceil(p)), in - 1);
      t.part = static_cast<double>(p - static_cast<float>(t.low));
      t.units = static_cast<std::int64_t>(std::nearbyint(t.part * 2048));
    }
    all.push_back(t);
  }
  return all;
}

// One value from its four neighbours.
double blended(const Node& n, double tl, double tr, double bl, double br, const Tap& y,
               const Tap& x) {
  const auto f = [](double v) { return static_cast<float>(v); };
  const float fy = f(y.part), fx = f(x.part);
  float v = 0;
  if (reference(n)) {
    v = f(tl) * (1.0f - fy) * (1.0f - fx) + f(bl) * fy * (1.0f - fx);
    v = v + f(tr) * (1.0f - fy) * fx;
    v = v + f(br) * fy * fx;
  } else {
    v = f(tl) * ((1.0f - fy) * (1.0f - fx)) + f(tr) * ((1.0f - fy) * fx);
    v = v + f(bl) * (fy * (1.0f - fx));
    v = v + f(br) * (fy * fx);
  }
  return static_cast<double>(v);
}
Verdict bilinear(const Node& n) {
  const auto& a = n.attrs<ResizeAttrs>();
  const Shape& in = n.shape(0);
  const auto size = integers_of(n.array(1));
  const Shape out = {in[0], static_cast<std::int32_t>(size[0]), static_cast<std::int32_t>(size[1]),
                     in[3]};
  const DType t = n.type(0);
  const bool real = t == DType::kFloat32, eleven = xnn(n) && t != DType::kInt16;
  const bool words = !real && !eleven && t != DType::kUint8;
  const auto ys = taps(in[1], out[1], a, words, eleven), xs = taps(in[2], out[2], a, words, eleven);
  Array y = Array::zeros(t, out);
  each(out, [&](const Shape& at, std::size_t i) {
    const Tap &ty = ys[static_cast<std::size_t>(at[1])], &tx = xs[static_cast<std::size_t>(at[2])];
    const auto pixel = [&](std::int32_t row, std::int32_t column) {
      return number(n.array(0), flat(in, {at[0], row, column, at[3]}));
    };
    const double tl = pixel(ty.low, tx.low), tr = pixel(ty.low, tx.high),
                 bl = pixel(ty.high, tx.low), br = pixel(ty.high, tx.high);
    if (real) return put(y, i, blended(n, tl, tr, bl, br, ty, tx));
    if (t == DType::kUint8 && !eleven)
      return put_integer(
          y, i,
          static_cast<std::int64_t>(static_cast<float>(blended(n, tl, tr, bl, br, ty, tx)) + 0.5f));
    const std::int64_t unit = words ? 1024 : 2048, p = ty.units, q = tx.units;
    const auto whole = [](double v) { return static_cast<std::int64_t>(v); };
    const std::int64_t sum = whole(tl) * (unit - p) * (unit - q) + whole(tr) * (unit - p) * q +
                             whole(bl) * p * (unit - q) + whole(br) * p * q;
    if (words)
      put_integer(y, i, divide_away(sum, 20));
    else
      put_integer(y, i, divide_up(sum, 22));
  });
  return {{y}, real ? kSums : 0};
}
Verdict nearest(const Node& n) {
  const auto& a = n.attrs<ResizeAttrs>();
  const Shape& in = n.shape(0);
  const auto size = integers_of(n.array(1));
  const auto index = [&](std::int32_t v, std::int32_t from, std::int32_t to) {
    const float scale = a.align_corners && to > 1
                            ? static_cast<float>(from - 1) / static_cast<float>(to - 1)
                            : static_cast<float>(from) / static_cast<float>(to);
    const float p = (static_cast<float>(v) + (a.half_pixel_centers ? 0.5f : 0.0f)) * scale;
    return std::clamp(static_cast<std::int32_t>(a.align_corners ? std::round(p) : std::floor(p)), 0,
                      from - 1);
  };
  const Shape out = {in[0], static_cast<std::int32_t>(size[0]), static_cast<std::int32_t>(size[1]),
                     in[3]};
  return {{pick(n.array(0), out, [&](const Shape& at) {
    return static_cast<std::int64_t>(
        flat(in, {at[0], index(at[1], in[1], out[1]), index(at[2], in[2], out[2]), at[3]}));
  })}};
}
void make_resize(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 4, 4, 6);
  const int mode = s.draw.in(0, 2);
  const bool twice = s.draw.one_in(4);
  const std::int64_t h = twice ? 2 * s.shape(x)[1] : s.draw.in(1, 9),
                     w = twice ? 2 * s.shape(x)[2] : s.draw.in(1, 9);
  s.add(op, ResizeAttrs{mode == 1, mode == 2}, {x, s.numbers({h, w})}, {{ask.type, s.at(x).quant}});
}

constexpr Judge kJudges[] = {
    {OpCode::kMean, reduce, make_reduce},
    {OpCode::kSum, reduce, make_reduce},
    {OpCode::kReduceMax, reduce, make_reduce},
    {OpCode::kReduceMin, reduce, make_reduce},
    {OpCode::kReduceProd, reduce, make_reduce},
    {OpCode::kReduceAny, reduce, make_reduce},
    {OpCode::kReduceAll, reduce, make_reduce},
    {OpCode::kArgMax, arg, make_arg},
    {OpCode::kArgMin, arg, make_arg},
    {OpCode::kSoftmax, softmax, make_rows},
    {OpCode::kLogSoftmax, log_softmax, make_rows},
    {OpCode::kL2Normalization, l2_normalization, make_rows},
    {OpCode::kAveragePool2d, pool_of, make_pool, true},
    {OpCode::kMaxPool2d, pool_of, make_pool, true},
    {OpCode::kL2Pool2d, pool_of, make_pool, true},
    {OpCode::kLocalResponseNormalization, local, make_local, true},
    {OpCode::kResizeBilinear, bilinear, make_resize, true},
    {OpCode::kResizeNearestNeighbor, nearest, make_resize, true},
};

}  // namespace

std::span<const Judge> row_judges() { return kJudges; }

}  // namespace litegap::oracle
