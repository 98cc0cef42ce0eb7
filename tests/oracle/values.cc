#include "oracle/values.h"

#include <algorithm>
#include <cmath>
#include <regex>
#include <string>

#include "oracle/op_case.h"

namespace litegap::oracle {

// ---- fixed point
// ---------------------------------------------------------------------------------
namespace {

// The integer below or at x / y, y > 0.
std::int64_t floor_divide(std::int64_t x, std::int64_t y) {
  const std::int64_t q = x / y;
  return q * y > x ? q - 1 : q;
}
std::int64_t high_product(std::int64_t a, std::int64_t b) {
  if (a == b && a == -2147483648) return 2147483647;
  return floor_divide(a * b + 1073741824, 2147483648);
}
std::int64_t power(int n) { return std::int64_t{1} << n; }
float f32(std::int64_t v) { return static_cast<float>(v); }
std::int64_t away(double v) { return static_cast<std::int64_t>(std::round(v)); }
std::int64_t even(double v) { return static_cast<std::int64_t>(std::nearbyint(v)); }

}  // namespace

Factor factor(double real) {
  if (real == 0) return {};
  Factor f;
  f.m = static_cast<std::int64_t>(std::round(std::frexp(real, &f.e) * 2147483648.0));
  if (f.m == 2147483648) f = {1073741824, f.e + 1};
  return f.e < -31 ? Factor{} : f;
}
std::int64_t wrap(std::int64_t x) {
  const std::int64_t word = x - floor_divide(x, power(32)) * power(32);
  return word >= power(31) ? word - power(32) : word;
}
std::int64_t divide_away(std::int64_t x, int bits) {
  const std::int64_t size =
      floor_divide(std::abs(x) + (bits > 0 ? power(bits - 1) : 0), power(bits));
  return x < 0 ? -size : size;
}
std::int64_t divide_up(std::int64_t x, int bits) {
  return floor_divide(x + (bits > 0 ? power(bits - 1) : 0), power(bits));
}
std::int64_t times_away(std::int64_t x, Factor f) {
  const std::int64_t shifted = wrap(x * power(std::max(f.e, 0)));
  return divide_away(high_product(shifted, f.m), std::max(-f.e, 0));
}
std::int64_t times_up(std::int64_t x, Factor f) {
  const std::int64_t shifted = wrap(x * power(std::max(f.e, 0)));
  return divide_up(high_product(shifted, f.m), std::max(-f.e, 0));
}

// ---- codes
// ---------------------------------------------------------------------------------------
std::int32_t least(DType t) { return t == DType::kInt8 ? -128 : t == DType::kUint8 ? 0 : -32768; }
std::int32_t most(DType t) { return t == DType::kInt8 ? 127 : t == DType::kUint8 ? 255 : 32767; }
std::int32_t bound(DType t, std::int64_t code) {
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(code, least(t), most(t)));
}

Array Codes::array() const {
  Array a = Array::zeros(type, shape);
  for (std::size_t i = 0; i < at.size(); ++i) {
    if (type == DType::kInt8)
      a.mutable_span<std::int8_t>()[i] = static_cast<std::int8_t>(at[i]);
    else if (type == DType::kUint8)
      a.mutable_span<std::uint8_t>()[i] = static_cast<std::uint8_t>(at[i]);
    else
      a.mutable_span<std::int16_t>()[i] = static_cast<std::int16_t>(at[i]);
  }
  return a;
}
Quant Codes::quant() const { return quant_of(scale, zero); }

std::vector<std::int32_t> codes_of(const Array& a) {
  std::vector<std::int32_t> v;
  for (std::size_t i = 0; i < a.elements(); ++i) {
    if (a.dtype() == DType::kInt8)
      v.push_back(a.span<std::int8_t>()[i]);
    else if (a.dtype() == DType::kUint8)
      v.push_back(a.span<std::uint8_t>()[i]);
    else
      v.push_back(a.span<std::int16_t>()[i]);
  }
  return v;
}

Limits limits(Activation activation, const Codes& y, bool xnn) {
  const std::int64_t low = least(y.type), high = most(y.type);
  const auto code = [&](float v) {
    if (!xnn) return y.zero + away(v / y.scale);
    return even(std::clamp(v / y.scale + f32(y.zero), f32(low), f32(high)));
  };
  switch (activation) {
    case Activation::kRelu:
      return {std::max(low, code(0)), high};
    case Activation::kRelu6:
      return {std::max(low, code(0)), std::min(high, code(6))};
    case Activation::kReluN1To1:
      return {std::max(low, code(-1)), std::min(high, code(1))};
    default:
      return {low, high};
  }
}

namespace {
std::int32_t within(std::int64_t v, Limits r) {
  return static_cast<std::int32_t>(std::min(r.high, std::max(r.low, v)));
}
}  // namespace

std::size_t source(const Shape& out, std::size_t position, const Shape& in) {
  const Shape index = unflat(out, position);
  Shape from(in.size());
  for (std::size_t d = 0; d < in.size(); ++d) {
    from[d] = in[d] == 1 ? 0 : index[out.size() - in.size() + d];
  }
  return flat(in, from);
}

// ---- two operands
// --------------------------------------------------------------------------------
namespace {

template <class F>
Result each_pair(const Codes& a, const Codes& b, const Codes& y, F f) {
  Result r;
  for (std::size_t i = 0; i < shape_elements(y.shape); ++i) {
    r.push_back(f(std::int64_t{a.at[source(y.shape, i, a.shape)]},
                  std::int64_t{b.at[source(y.shape, i, b.shape)]}));
  }
  return r;
}
template <class F>
Result each_code(const Codes& x, F f) {
  Result r;
  for (const std::int32_t q : x.at) r.push_back(f(std::int64_t{q}));
  return r;
}

}  // namespace

namespace {

// How the built-in ADD goes over its operands (docs/numerics.md): in runs of so many elements,
// which are dense in both or in one only.
struct Runs {
  std::size_t length = 1;
  bool single = false, any = true;  // any: not element by element
};
Runs runs_of(Shape a, Shape b) {
  while (a.size() < b.size()) a.insert(a.begin(), 1);
  while (b.size() < a.size()) b.insert(b.begin(), 1);
  // A letter for every dimension, the last first: both have it, or a or b repeats.
  std::string kinds;
  std::vector<std::size_t> sizes;
  for (std::size_t d = a.size(); d-- > 0;) {
    if (a[d] == b[d] && a[d] == 1) continue;
    kinds += a[d] == b[d] ? '=' : a[d] == 1 ? 'a' : 'b';
    sizes.push_back(static_cast<std::size_t>(std::max(a[d], b[d])));
  }
  const std::regex runs("=*(a*=*b*=*|b*=*a*=*)");
  Runs r;
  r.any = std::regex_match(kinds, runs);
  for (std::size_t k = 0; k < kinds.size() && kinds[k] == kinds[0]; ++k) r.length *= sizes[k];
  r.single = !kinds.empty() && kinds[0] != '=';
  return r;
}

// Vector code for whole blocks of a run.
Result add_in_runs(const Codes& a, const Codes& b, const Codes& y, const Runs& runs, Factor fa,
                   Factor fb, Factor fy, Limits r) {
  const bool wide = y.type == DType::kInt16,
             first = wide || (y.type == DType::kInt8 && !runs.single);
  const std::int64_t left = power(wide ? 15 : 20);
  const std::size_t block = first ? 16 : 8, whole = runs.length / block * block;
  const auto scaled = [&](const Codes& c, std::size_t i, Factor f, bool in_block) {
    const std::int64_t x = c.at[source(y.shape, i, c.shape)] - c.zero;
    if (!in_block) return times_away(x * left, f);
    return first ? times_away(floor_divide(x * left, power(-f.e)), {f.m, 0})
                 : floor_divide(times_away(x * left, {f.m, 0}), power(-f.e));
  };
  Result result;
  for (std::size_t i = 0; i < shape_elements(y.shape); ++i) {
    const bool in_block = i % runs.length < whole;
    const std::int64_t v = times_away(scaled(a, i, fa, in_block) + scaled(b, i, fb, in_block), fy);
    const auto word = [](std::int64_t w) { return static_cast<std::int16_t>(w); };
    result.push_back(within(in_block && !wide ? word(word(v) + y.zero) : v + y.zero, r));
  }
  return result;
}

}  // namespace

Result add(const Codes& a, const Codes& b, const Codes& y, Activation f, Dialect d, int sign) {
  const float ra = a.scale / y.scale, rb = b.scale / y.scale;
  const auto fits = [](float r) { return r >= 0x1p-10f && r < 256; };
  if (d == Dialect::kXnnpack && y.type != DType::kInt16 && fits(ra) && fits(rb)) {
    const int shift = 20 - std::ilogb(std::max(ra, rb));
    const std::int64_t ma = even(std::ldexp(ra, shift)), mb = sign * even(std::ldexp(rb, shift));
    const Limits r = limits(f, y, true);
    return each_pair(a, b, y, [=](std::int64_t p, std::int64_t q) {
      const std::int64_t s = divide_up(wrap(p * ma + q * mb - ma * a.zero - mb * b.zero), shift);
      return within(std::clamp<std::int64_t>(s, -32768, 32767) + y.zero, r);
    });
  }
  const int left = y.type == DType::kInt16 ? 15 : 20;
  const double t = 2.0f * std::max(a.scale, b.scale);
  const Factor fa = factor(a.scale / t), fb = factor(b.scale / t);
  const Factor fy = factor(t / static_cast<double>(f32(power(left)) * y.scale));
  const Limits r = limits(f, y, false);
  const Runs runs = runs_of(a.shape, b.shape);
  const std::size_t y_elements = shape_elements(y.shape);
  // Of int16 only operands of one shape.
  const bool one = y.type != DType::kInt16 || (!runs.single && runs.length == y_elements);
  if (d != Dialect::kReference && sign > 0 && runs.any && one)
    return add_in_runs(a, b, y, runs, fa, fb, fy, r);
  return each_pair(a, b, y, [=](std::int64_t p, std::int64_t q) {
    const std::int64_t va = times_away((p - a.zero) * power(left), fa);
    const std::int64_t vb = times_away((q - b.zero) * power(left), fb);
    return within(times_away(va + sign * vb, fy) + y.zero, r);
  });
}

Result mul(const Codes& a, const Codes& b, const Codes& y, Activation f, Dialect d) {
  const float s = a.scale * b.scale / y.scale;
  if (d == Dialect::kXnnpack && y.type != DType::kInt16 && s >= 0x1p-16f && s < 256) {
    const Limits r = limits(f, y, true);
    return each_pair(a, b, y, [=](std::int64_t p, std::int64_t q) {
      const float v = std::min(f32((p - a.zero) * (q - b.zero)) * s, f32(most(y.type) - y.zero));
      const std::int64_t code = std::clamp<std::int64_t>(even(v), -32768, 32767) + y.zero;
      return within(bound(y.type, code), r);
    });
  }
  const Limits r = limits(f, y, false);
  return each_pair(a, b, y, [=, m = factor(s)](std::int64_t p, std::int64_t q) {
    return within(times_away((p - a.zero) * (q - b.zero), m) + y.zero, r);
  });
}

Result squared_difference(const Codes& a, const Codes& b, const Codes& y) {
  const double t = 2.0f * std::max(a.scale, b.scale);
  const Factor fa = factor(a.scale / t), fb = factor(b.scale / t);
  const Factor fy = factor(t * t / static_cast<double>(f32(power(14)) * y.scale));
  return each_pair(a, b, y, [=](std::int64_t p, std::int64_t q) {
    const std::int64_t d = times_away((p - a.zero) * 128, fa) - times_away((q - b.zero) * 128, fb);
    return bound(y.type, times_away(d * d, fy) + y.zero);
  });
}

Result prelu(const Codes& x, const Codes& slope, const Codes& y) {
  const Factor one = factor(x.scale / y.scale), two = factor(x.scale * slope.scale / y.scale);
  return each_pair(x, slope, y, [=](std::int64_t q, std::int64_t s) {
    const std::int64_t v = q - x.zero;
    return bound(y.type,
                 (v >= 0 ? times_away(v, one) : times_away(v * (s - slope.zero), two)) + y.zero);
  });
}

// ---- one operand
// ---------------------------------------------------------------------------------
Result relu(const Codes& x, const Codes& y, OpCode op) {
  const float low = op == OpCode::kReluN1To1 ? -1.0f : 0.0f,
              high = op == OpCode::kRelu6 ? 6.0f : 1.0f;
  const std::int64_t from = std::max<std::int64_t>(least(y.type), y.zero + away(low / y.scale));
  const std::int64_t to = op == OpCode::kRelu
                              ? most(y.type)
                              : std::min<std::int64_t>(most(y.type), y.zero + away(high / y.scale));
  return each_code(x, [=, m = factor(x.scale / y.scale)](std::int64_t q) {
    return static_cast<std::int32_t>(
        std::min(to, std::max(from, times_away(q - x.zero, m) + y.zero)));
  });
}

Result leaky_relu(const Codes& x, const Codes& y, float alpha, Dialect d) {
  const float ratio = x.scale / y.scale, negative = ratio * alpha;
  const bool taken = ratio >= 1.0f / 256 && ratio <= 128 && std::fabs(negative) >= 1.0f / 256 &&
                     negative <= 128 && negative > -128;
  if (d == Dialect::kXnnpack && x.type != DType::kInt16 && taken) {
    return each_code(x, [=](std::int64_t q) {
      const std::int64_t v = q - x.zero, m = even(256.0f * (v > 0 ? ratio : negative));
      return bound(y.type, std::clamp<std::int64_t>(divide_up(v * m, 8), -32768, 32767) + y.zero);
    });
  }
  const float slope = x.scale * alpha / y.scale;
  return each_code(x, [=](std::int64_t q) {
    const std::int64_t v = q - x.zero;
    if (v >= 0) return bound(y.type, times_away(v, factor(ratio)) + y.zero);
    const std::int64_t size = times_away(v, factor(std::fabs(slope)));
    return bound(y.type, (alpha < 0 ? -size : size) + y.zero);
  });
}

Result hard_swish(const Codes& x, const Codes& y) {
  const float h = x.scale / 128.0f;
  const Factor fo = factor(h / y.scale), fr = factor(h / (3.0f / 32768.0f));
  const auto narrow = [](std::int64_t m) {
    return m < 0x7FFF0000 ? floor_divide(m + 32768, 65536) : 0x7FFF;
  };
  const auto word = [](std::int64_t v) { return std::clamp<std::int64_t>(v, -32768, 32767); };
  const auto product = [&](std::int64_t a, std::int64_t b) {
    return word(floor_divide(a * b + 16384, 32768));
  };
  return each_code(x, [&](std::int64_t q) {
    const std::int64_t v = static_cast<std::int16_t>((q - x.zero) * 128),
                       p = product(v, narrow(fo.m));
    std::int64_t r = v;
    if (fr.e > 0) r = word(r * power(fr.e - 1));
    r = product(r, narrow(fr.m));
    if (fr.e > 0) r = word(2 * r);
    if (fr.e < 0) r = divide_away(r, -fr.e);
    r = floor_divide(r + 32768, 2);
    return bound(y.type, divide_away(r * p / 32768, -fo.e) + y.zero);
  });
}

// ---- windows and axes
// ----------------------------------------------------------------------------
Result pool(const Codes& x, const Codes& y, const PoolAttrs& a, bool average, Dialect d) {
  // XNNPACK takes maxima of bytes whose windows leave no gap.
  const bool xnn = d == Dialect::kXnnpack && !average && y.type != DType::kInt16 &&
                   a.stride_h <= a.filter_h && a.stride_w <= a.filter_w;
  const Limits r = limits(a.activation, y, xnn);
  const auto before = [&](std::int32_t in, std::int32_t out, std::int32_t k, std::int32_t s) {
    return a.padding == Padding::kSame ? std::max((out - 1) * s + k - in, 0) / 2 : 0;
  };
  const std::int32_t top = before(x.shape[1], y.shape[1], a.filter_h, a.stride_h);
  const std::int32_t left = before(x.shape[2], y.shape[2], a.filter_w, a.stride_w);
  Result result;
  for (std::size_t i = 0; i < shape_elements(y.shape); ++i) {
    const Shape o = unflat(y.shape, i);
    std::int64_t total = 0, n = 0, peak = least(x.type);
    for (std::int32_t ky = 0; ky < a.filter_h; ++ky) {
      for (std::int32_t kx = 0; kx < a.filter_w; ++kx) {
        const std::int32_t row = o[1] * a.stride_h - top + ky,
                           column = o[2] * a.stride_w - left + kx;
        if (row < 0 || row >= x.shape[1] || column < 0 || column >= x.shape[2]) continue;
        const std::int64_t v = x.at[flat(x.shape, {o[0], row, column, o[3]})];
        total += v;
        peak = std::max(peak, v);
        ++n;
      }
    }
    if (!average)
      result.push_back(within(peak, r));
    else
      result.push_back(within((total > 0 ? total + n / 2 : total - n / 2) / n, r));
  }
  return result;
}

namespace {

struct Sums {
  std::vector<std::int64_t> of;  // by output element, in the order of the axes kept
  std::int64_t count = 1;
};
Sums sums_of(const Codes& x, const std::vector<bool>& axes) {
  Shape kept;
  Sums s;
  for (std::size_t d = 0; d < axes.size(); ++d) {
    kept.push_back(axes[d] ? 1 : x.shape[d]);
    if (axes[d]) s.count *= x.shape[d];
  }
  s.of.resize(shape_elements(kept));
  for (std::size_t i = 0; i < x.at.size(); ++i) {
    Shape index = unflat(x.shape, i);
    for (std::size_t d = 0; d < axes.size(); ++d) index[d] = axes[d] ? 0 : index[d];
    s.of[flat(kept, index)] += x.at[i];
  }
  return s;
}

std::int32_t reduced_xnn(std::int64_t s, std::int64_t n, const Codes& x, const Codes& y,
                         float scale) {
  const float zero = f32(y.zero) - f32(n * x.zero) * scale;
  return bound(y.type, even(f32(s) * scale + zero));
}

}  // namespace

Result mean(const Codes& x, const Codes& y, const std::vector<bool>& axes, bool keep, Dialect d) {
  const Sums s = sums_of(x, axes);
  const bool byte = x.type != DType::kInt16;
  const bool image = axes == std::vector<bool>{false, true, true, false} && keep;
  Factor f = factor(static_cast<double>(x.scale) / static_cast<double>(y.scale));
  const int k = std::min(std::ilogb(static_cast<double>(s.count)), 31 + f.e);
  f = {floor_divide(f.m * power(k), s.count), f.e - k};
  float t = f32(x.zero) * x.scale / y.scale;
  t = t > 0 ? t + 0.5f : t - 0.5f;
  const Factor own = factor(x.scale / (f32(s.count) * y.scale));
  Result r;
  for (std::size_t i = 0; i < s.of.size(); ++i) {
    if (d == Dialect::kXnnpack && byte) {
      r.push_back(reduced_xnn(s.of[i], s.count, x, y, x.scale / y.scale * (1.0f / f32(s.count))));
    } else if (d != Dialect::kReference && byte && image) {
      const auto c = static_cast<std::size_t>(x.shape.back());
      const std::int64_t v =
          i % c < c / 16 * 16 ? times_up(s.of[i], own) : times_away(s.of[i], own);
      r.push_back(bound(y.type, v + y.zero - static_cast<std::int64_t>(t)));
    } else {
      r.push_back(bound(y.type, times_away(s.of[i] - s.count * x.zero, f) + y.zero));
    }
  }
  return r;
}

Result sum(const Codes& x, const Codes& y, const std::vector<bool>& axes, Dialect d) {
  const Sums s = sums_of(x, axes);
  const float scale = x.scale / y.scale;
  const Factor f = factor(static_cast<double>(x.scale) / static_cast<double>(y.scale));
  Result r;
  for (const std::int64_t v : s.of) {
    if (d == Dialect::kReference)
      r.push_back(bound(y.type, times_away(v - s.count * x.zero, f) + y.zero));
    else if (d == Dialect::kXnnpack && x.type != DType::kInt16)
      r.push_back(reduced_xnn(v, s.count, x, y, scale));
    else {
      // A float beyond the word becomes the least one.
      const float real = f32(v) * scale + f32(-x.zero) * scale * f32(s.count);
      const bool fits = real >= -0x1p31f && real < 0x1p31f;
      r.push_back(bound(y.type, (fits ? away(real) : -2147483648LL) + y.zero));
    }
  }
  return r;
}

using Wide = __int128_t;

// Each factor after the first, and the product at the end, is multiplied by sx / sy^(1/n).
Result product(const Codes& x, const Codes& y, const std::vector<bool>& axes) {
  const Sums shape = sums_of(x, axes);
  const Factor f =
      factor(static_cast<double>(x.scale) /
             std::pow(static_cast<double>(y.scale), 1.0 / static_cast<double>(shape.count)));
  const Wide m = f.m < 0x7FFF0000 ? (f.m + 32768) / 65536 : 0x7FFF;
  const auto scaled = [&](Wide v) -> std::int64_t {  // one rounding, ties up
    const int right = 15 - f.e;
    if (right <= 0) return wrap(static_cast<std::int64_t>(v * m * (Wide{1} << -right)));
    const Wide unit = Wide{1} << right, sum = v * m + unit / 2;
    return wrap(static_cast<std::int64_t>(sum / unit - (sum % unit < 0 ? 1 : 0)));
  };
  Result r;
  for (std::size_t o = 0; o < shape.of.size(); ++o) {
    std::int64_t p = 0;
    bool first = true;
    for (std::size_t i = 0; i < x.at.size(); ++i) {
      Shape kept, index = unflat(x.shape, i);
      for (std::size_t d = 0; d < axes.size(); ++d) {
        kept.push_back(axes[d] ? 1 : x.shape[d]);
        if (axes[d]) index[d] = 0;
      }
      if (flat(kept, index) != o) continue;
      const std::int64_t v = x.at[i] - x.zero;
      p = first ? v : scaled(static_cast<Wide>(p) * v);
      first = false;
    }
    r.push_back(bound(y.type, wrap(scaled(p) + y.zero)));
  }
  return r;
}

Result softmax_table(const Codes& x, const Codes& y, float beta) {
  const auto depth = static_cast<std::size_t>(x.shape.back());
  Result r;
  for (std::size_t row = 0; row < x.at.size(); row += depth) {
    const std::int32_t peak =
        *std::max_element(x.at.begin() + static_cast<std::ptrdiff_t>(row),
                          x.at.begin() + static_cast<std::ptrdiff_t>(row + depth));
    const auto value = [&](std::size_t i) {
      return std::exp(-x.scale * beta * f32(peak - x.at[row + i]));
    };
    float total = 0;
    for (std::size_t i = 0; i < depth; ++i) total += value(i);
    const float inverse = 1.0f / (total * y.scale);
    for (std::size_t i = 0; i < depth; ++i) {
      const float p = value(i) * inverse;
      r.push_back(y.type == DType::kUint8 ? bound(y.type, static_cast<std::int64_t>(p + 0.5f))
                                          : bound(y.type, away(p) + y.zero));
    }
  }
  return r;
}

// ---- conversions
// ---------------------------------------------------------------------------------
Result quantize(const std::vector<float>& x, const Codes& y, Dialect d) {
  const auto word = [](double v) {
    return v >= 2147483648.0 || v < -2147483648.0 ? -2147483648.0 : v;
  };
  Result r;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double real = static_cast<double>(x[i]), scale = static_cast<double>(y.scale);
    if (d == Dialect::kXnnpack && y.type != DType::kInt16) {
      const float v = std::clamp(x[i] * (1.0f / y.scale), f32(least(y.type) - y.zero),
                                 f32(most(y.type) - y.zero));
      r.push_back(static_cast<std::int32_t>(even(v)) + y.zero);
      continue;
    }
    double v = std::round(real / scale);
    if (d == Dialect::kReference)
      v = std::round(x[i] / y.scale);
    else if (i < x.size() / 8 * 8)
      v = std::nearbyint(x[i] * static_cast<float>(1.0 / scale));
    r.push_back(bound(y.type, wrap(static_cast<std::int64_t>(word(v)) + y.zero)));
  }
  return r;
}

Result requantize(const Codes& x, const Codes& y, Dialect d) {
  const bool bytes = x.type != DType::kInt16 && y.type != DType::kInt16;
  const float ratio = x.scale / y.scale;
  const Factor f = factor(static_cast<double>(x.scale) / static_cast<double>(y.scale));
  Result r;
  for (std::size_t i = 0; i < x.at.size(); ++i) {
    const std::int64_t v = x.at[i] - x.zero;
    if (d == Dialect::kXnnpack && bytes && x.type == y.type && ratio >= 1.0f / 256 &&
        ratio <= 128) {
      const std::int64_t s = divide_up(v * even(256.0f * ratio), 8);
      r.push_back(bound(y.type, std::clamp<std::int64_t>(s, -32768, 32767) + y.zero));
      continue;
    }
    const bool up = d != Dialect::kReference && bytes && i < x.at.size() / 16 * 16;
    r.push_back(bound(y.type, (up ? times_up(v, f) : times_away(v, f)) + y.zero));
  }
  return r;
}

std::vector<float> dequantize(const Codes& x, Dialect d) {
  std::vector<float> r;
  const double scale = static_cast<double>(x.scale);
  for (std::size_t i = 0; i < x.at.size(); ++i) {
    const bool folded =
        d == Dialect::kBuiltin && x.type != DType::kInt16 && i < x.at.size() / 8 * 8;
    if (folded)
      r.push_back(f32(x.at[i]) * x.scale + static_cast<float>(-x.zero * scale));
    else
      r.push_back(static_cast<float>(scale * (x.at[i] - x.zero)));
  }
  return r;
}

// ---- random cases
// --------------------------------------------------------------------------------
Draw::Draw(std::span<const std::uint8_t> bytes) : bytes_(bytes.begin(), bytes.end()) {
  std::seed_seq seed(bytes.begin(), bytes.end());
  engine_.seed(seed);
}
std::int32_t Draw::in(std::int32_t low, std::int32_t high) {
  if (next_ < bytes_.size() && high - low < 256) return low + bytes_[next_++] % (high - low + 1);
  return low + static_cast<std::int32_t>(engine_() % static_cast<std::uint64_t>(high - low + 1));
}
float Draw::real(float low, float high) {
  return low + (high - low) * static_cast<float>(engine_() >> 40) / 16777216.0f;
}
float Draw::scale() {
  const float power = std::ldexp(1.0f, in(-8, 0));
  return one_in(2) ? power : power * real(0.6f, 1.4f);
}
Shape Draw::shape(std::size_t rank, std::int32_t most) {
  Shape s(rank);
  for (auto& d : s) d = in(1, most);
  return s;
}
Codes Draw::codes(DType type, Shape shape) {
  Codes c{type, std::move(shape), {}, scale(), 0};
  if (type != DType::kInt16) c.zero = in(least(type), most(type));
  for (std::size_t i = 0; i < shape_elements(c.shape); ++i)
    c.at.push_back(in(least(type), most(type)));
  return c;
}

}  // namespace litegap::oracle
