// The judge of functions of codes, value by value: tables, fixed point, conversions.  Where an
// operator also works on plain numbers, those go to judge_numbers.cc.
#include <algorithm>
#include <cmath>

#include "oracle/judge_numbers.h"
#include "oracle/op_case.h"
#include "oracle/words.h"

namespace litegap::oracle {
namespace {

bool xnn(const Node& n) { return n.dialect == Dialect::kXnnpack; }
bool reference(const Node& n) { return n.dialect == Dialect::kReference; }
Verdict codes(Codes y, Result at) {
  y.at = std::move(at);
  return {{y.array()}};
}
Codes output_of(const Node& n) { return n.result(n.shape(0)); }

// ---- tables of 256 and of 513 entries
float table_function(const Node& n, const Codes& y, float v) {
  switch (n.op.code) {
    case OpCode::kLogistic:
      if (!xnn(n)) return 1.0f / (1.0f + std::exp(-v));
      if (std::abs(v) > 100) return v > 0 ? 1.0f : 0.0f;
      return static_cast<float>(std::exp(static_cast<double>(v)) /
                                (1 + std::exp(static_cast<double>(v))));
    case OpCode::kTanh:
      return std::tanh(v);
    case OpCode::kElu:
      return v < 0 ? std::expm1(v) : v;
    case OpCode::kExp:
      return std::exp(v);
    case OpCode::kLog:
      return v <= 0 ? static_cast<float>(least(y.type) - y.zero) * y.scale : std::log(v);
    case OpCode::kRsqrt:
      return v <= 0 ? 32767.0f * y.scale : 1.0f / std::sqrt(v);
    default:
      break;
  }
  if (!n.attrs<GeluAttrs>().approximate) return 0.5f * v * std::erfc(v * -0.70710678118654752440f);
  return 0.5f * v * (1.0f + std::tanh(0.7978845608028654f * (v + 0.044715f * v * v * v)));
}

Result table_of_bytes(const Node& n, const Codes& x, const Codes& y) {
  const bool inside = xnn(n) && n.op.code != OpCode::kGelu && n.op.code != OpCode::kExp &&
                      n.op.code != OpCode::kLog;
  const float low = static_cast<float>(least(y.type)), high = static_cast<float>(most(y.type));
  Result r;
  for (const std::int32_t q : x.at) {
    const float scaled =
        table_function(n, y, x.scale * static_cast<float>(q - x.zero)) * (1.0f / y.scale);
    const float zero = static_cast<float>(y.zero);
    float code = inside ? std::nearbyint(scaled + zero) : std::round(scaled) + zero;
    if (std::isnan(code)) code = 0;
    r.push_back(static_cast<std::int32_t>(std::clamp(code, low, high)));
  }
  return r;
}

// Samples at every 128th code, corrected by half of the error in the middle of each segment, and
// straight lines between them.
Result table_of_words(const Node& n, const Codes& x, const Codes& y) {
  const float first = x.scale * static_cast<float>(-32768 - x.zero),
              last = x.scale * static_cast<float>(32767 - x.zero), step = (last - first) / 512;
  const float inverse = 65536.0f / (y.scale * static_cast<float>(32767 - y.zero) -
                                    y.scale * static_cast<float>(-32768 - y.zero));
  const auto f = [&](float v) { return table_function(n, y, v) * inverse; };
  std::int32_t table[513];
  for (int i = 0; i <= 512; ++i) {
    const float k = static_cast<float>(i), a = std::round(i < 512 ? f(first + k * step) : f(last));
    float entry = a;
    if (i < 512) {
      const float next = f(first + (k + 1) * step), middle = f(first + k * step + step / 2);
      entry = a - std::round((std::round((next + a) / 2) - std::round(middle)) / 2);
    }
    table[i] =
        std::isnan(entry) ? 0 : static_cast<std::int32_t>(std::clamp(entry, -32768.0f, 32767.0f));
  }
  Result r;
  for (const std::int32_t q : x.at) {
    const auto k = static_cast<std::size_t>(floor_div(q, 128) + 256);
    const auto slope = static_cast<std::int16_t>(table[k + 1] - table[k]);
    const std::int64_t part = q - floor_div(q, 128) * 128;
    r.push_back(static_cast<std::int16_t>(table[k] + divide_up(slope * part, 7)));
  }
  return r;
}

Verdict curve(const Node& n) {
  if (!is_codes(n, 0)) return unary_numbers(n);
  const Codes x = n.codes(0), y = output_of(n);
  return codes(y, x.type == DType::kInt16 ? table_of_words(n, x, y) : table_of_bytes(n, x, y));
}

// ---- LOGISTIC and TANH of int16
// 65536 sigmoid(k / 24), some entries one above the nearest.
std::int64_t sigmoid_sample(std::int64_t k) {
  constexpr int kAbove[] = {4,  8,  12, 14, 15, 16, 17, 19, 20,  21,  22,  25,  27,  28, 29,
                            30, 31, 33, 34, 35, 37, 39, 40, 41,  43,  44,  45,  46,  49, 50,
                            54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255};
  const double v = std::floor(65536 / (1 + std::exp(-static_cast<double>(k) / 24)) + 0.5);
  return std::min<std::int64_t>(static_cast<std::int64_t>(v), 65535) +
         (std::find(std::begin(kAbove), std::end(kAbove), k) != std::end(kAbove) ? 1 : 0);
}

Result sigmoid_words(const Node& n, const Codes& x) {
  const bool tanh = n.op.code == OpCode::kTanh;
  const float rounded = std::round(std::log(x.scale) * (1.0f / std::log(2.0f)));
  const int left = 12 + static_cast<int>(rounded);
  const bool power =
      std::abs(std::log2(static_cast<double>(x.scale)) - static_cast<double>(rounded)) < 1e-3 &&
      (left == 0 || (tanh && left == 1));
  double multiplier = static_cast<double>(x.scale) * 12288;
  int right = 0;
  for (; !power && multiplier <= 16383.5 && right <= 30; ++right) multiplier *= 2;
  const auto m = power ? std::int64_t{3} << left
                       : static_cast<std::int64_t>(std::min(multiplier, 2147483647.0));
  const int bits = tanh ? 8 : 9;
  const std::int64_t unit = std::int64_t{1} << bits;
  Result r;
  for (const std::int32_t q : x.at) {
    const Word w{16};
    if (power && !reference(n)) {
      r.push_back(
          static_cast<std::int32_t>(tanh ? w.tanh(w.times_power(q, left), 3) : w.logistic(q)));
      continue;
    }
    const std::int64_t v = floor_div(wrap(q * m + (right > 0 ? std::int64_t{1} << (right - 1) : 0)),
                                     std::int64_t{1} << right);
    const std::int64_t size = std::abs(v), k = size / unit, part = size % unit;
    std::int64_t s =
        k >= 255 ? (tanh ? 65535 * 256 : 32767 * 1024)
                 : sigmoid_sample(k) * unit + part * (sigmoid_sample(k + 1) - sigmoid_sample(k));
    if (tanh) {
      s = v >= 0 ? s - 8388608 + 128 : -s + 8388608 + 127;
      r.push_back(static_cast<std::int16_t>(floor_div(s, 256)));
    } else {
      s = v >= 0 ? s + 512 : 33554432 - s + 511;
      r.push_back(static_cast<std::int16_t>(floor_div(s, 1024)));
    }
  }
  return r;
}

Verdict sigmoid(const Node& n) {
  if (!is_codes(n, 0)) return unary_numbers(n);
  if (n.type(0) != DType::kInt16) return curve(n);
  return codes(output_of(n), sigmoid_words(n, n.codes(0)));
}

// ---- the rest of the functions of one value
Verdict one_value(const Node& n) {
  if (!is_codes(n, 0)) return unary_numbers(n);
  const Codes x = n.codes(0), y = output_of(n);
  switch (n.op.code) {
    case OpCode::kLeakyRelu:
      return codes(y, leaky_relu(x, y, n.attrs<LeakyReluAttrs>().alpha, n.dialect));
    case OpCode::kHardSwish:
      return codes(y, hard_swish(x, y));
    case OpCode::kNeg: {
      Array a = Array::zeros(x.type, x.shape);
      for (std::size_t i = 0; i < x.at.size(); ++i) put_integer(a, i, -x.at[i]);
      return {{a}};
    }
    case OpCode::kAbs: {
      Result r;
      for (const std::int32_t q : x.at) {
        const std::int64_t v = std::abs(q - x.zero);
        r.push_back(bound(
            y.type, (x.scale == y.scale ? v : times_away(v, factor(x.scale / y.scale))) + y.zero));
      }
      return codes(y, r);
    }
    default:
      return codes(y, relu(x, y, n.op.code));
  }
}

Verdict root(const Node& n) {
  if (!is_codes(n, 0)) return unary_numbers(n);
  const Codes x = n.codes(0), y = output_of(n);
  const bool inverse = n.op.code == OpCode::kRsqrt;
  if (inverse && x.type == DType::kInt16) return curve(n);
  const Factor out = factor(1 / static_cast<double>(std::sqrt(x.scale) * y.scale));
  Result r;
  for (const std::int32_t q : x.at) {
    const std::int64_t v = q - x.zero;
    if (v < 0) return {{}, 0, "a root of a negative number", {}};
    if (!inverse) {
      const float s = std::sqrt(x.scale * static_cast<float>(v)) / y.scale;
      r.push_back(bound(y.type, static_cast<std::int64_t>(std::min(s, 1e6f)) + y.zero));
    } else if (v == 0) {
      r.push_back(127);
    } else {  // a number with 20 fraction bits, then the scales
      const Root i = inverse_root(v);
      const std::int64_t fixed = times_away(1, {i.m, 20 - i.right});
      r.push_back(bound(y.type, wrap(times_away(fixed, {out.m, out.e - 20}) + y.zero)));
    }
  }
  return codes(y, r);
}

Verdict prelu_of(const Node& n) {
  if (!is_codes(n, 0)) return binary_numbers(n);
  return codes(output_of(n), prelu(n.codes(0), n.codes(1), output_of(n)));
}

// ---- two values
// One operand shifted to the scale of the other, which is the output's; the sum saturates.
Result add_powers(const Codes& a, const Codes& b, const Codes& y, Activation f, int sign) {
  const auto steps = [&](const Codes& c) {
    return static_cast<int>(std::lround(std::log2(y.scale / c.scale)));
  };
  const Limits range = limits(f, y, false);
  Result r;
  for (std::size_t i = 0; i < shape_elements(y.shape); ++i) {
    const std::int64_t sum = divide_away(a.at[source(y.shape, i, a.shape)], steps(a)) +
                             sign * divide_away(b.at[source(y.shape, i, b.shape)], steps(b));
    r.push_back(static_cast<std::int32_t>(
        std::clamp<std::int64_t>(bound(y.type, sum), range.low, range.high)));
  }
  return r;
}

Result quotients(const Codes& a, const Codes& b, const Codes& y, Activation f, bool* silent) {
  const Word w{32};
  const Factor out = factor(a.scale / (b.scale * y.scale));
  const Limits range = limits(f, y, false);
  Result r;
  for (std::size_t i = 0; i < shape_elements(y.shape); ++i) {
    std::int64_t x = a.at[source(y.shape, i, a.shape)] - a.zero,
                 d = b.at[source(y.shape, i, b.shape)] - b.zero;
    if (d < 0) x = -x, d = -d;
    *silent = *silent || d == 0;
    if (d == 0) return {};
    // d = (1 + fraction) 2^bits, in Q0.31; x fills the word.
    const int zeros = zeros_before(d), bits = 31 - zeros;
    const std::int64_t fraction = wrap(d * (std::int64_t{1} << zeros) - 2147483648);
    const int room = zeros_before(x < 0 ? -x - 1 : x) - 1;
    const std::int64_t quotient =
        w.product(wrap(x * (std::int64_t{1} << room)), w.inverse(fraction));
    const int right = bits + room - out.e;
    *silent = *silent || right > 31;  // the runtime's shift leaves the word there
    const std::int64_t scaled = w.product(quotient, out.m);
    const std::int64_t v = right >= 0 ? divide_away(scaled, std::min(right, 62))
                                      : wrap(scaled * (std::int64_t{1} << -right));
    r.push_back(static_cast<std::int32_t>(std::clamp(v + y.zero, range.low, range.high)));
  }
  return r;
}

Verdict two_values(const Node& n) {
  if (!is_codes(n, 0)) return binary_numbers(n);
  const Codes a = n.codes(0), b = n.codes(1);
  Codes y = n.result(broadcast_shape(a.shape, b.shape));
  const Activation f = fused_activation(n.op.attrs);
  switch (n.op.code) {
    case OpCode::kAdd:
    case OpCode::kSub: {
      const int sign = n.op.code == OpCode::kAdd ? 1 : -1;
      int e[3];
      const bool powers = std::frexp(a.scale, e) == 0.5f && std::frexp(b.scale, e + 1) == 0.5f &&
                          std::frexp(y.scale, e + 2) == 0.5f;
      if (a.type == DType::kInt16 && powers && n.attrs<AddAttrs>().pot_scale_int16)
        return codes(y, add_powers(a, b, y, f, sign));
      return codes(y, add(a, b, y, f, n.dialect, sign));
    }
    case OpCode::kMul:
      return codes(y, mul(a, b, y, f, n.dialect));
    case OpCode::kSquaredDifference:
      return codes(y, squared_difference(a, b, y));
    case OpCode::kDiv: {
      bool silent = false;
      Result r = quotients(a, b, y, f, &silent);
      if (silent) return {{}, 0, "a quotient beyond the word, or none", {}};
      return codes(y, r);
    }
    default: {
      Result r;
      for (std::size_t i = 0; i < shape_elements(y.shape); ++i) {
        const auto p = a.at[source(y.shape, i, a.shape)], q = b.at[source(y.shape, i, b.shape)];
        r.push_back(n.op.code == OpCode::kMaximum ? std::max(p, q) : std::min(p, q));
      }
      return codes(y, r);
    }
  }
}

// 8 bits, and equality of words: real numbers with 8 fraction bits.
Verdict compare(const Node& n) {
  const bool equality = n.op.code == OpCode::kEqual || n.op.code == OpCode::kNotEqual;
  if (!is_codes(n, 0) || (n.type(0) == DType::kInt16 && !equality)) return binary_numbers(n);
  const Codes a = n.codes(0), b = n.codes(1);
  if (a.scale >= 1 || b.scale >= 1) return {{}, 0, "scales from 1 on", {}};
  Node wide = n;
  for (const std::size_t i : {0, 1}) {
    const Codes c = i == 0 ? a : b;
    Array v = Array::zeros(DType::kInt64, c.shape);
    for (std::size_t k = 0; k < c.at.size(); ++k)
      put_integer(v, k, times_away((c.at[k] - c.zero) * 256, factor(c.scale)));
    wide.in[i].array = v;
    wide.in[i].quant = {};
  }
  return binary_numbers(wide);
}

// ---- conversions
Verdict quantize_of(const Node& n) {
  const Codes y = n.out_types[0] == DType::kInt32 ? Codes{} : output_of(n);
  if (n.type(0) == DType::kFloat32) return codes(y, quantize(floats_of(n.array(0)), y, n.dialect));
  if (n.type(0) != DType::kInt32 && n.out_types[0] != DType::kInt32)
    return codes(y, requantize(n.codes(0), y, n.dialect));
  const Quant &from = n.in[0].quant, &to = n.out_quants[0];
  const Factor f = factor(static_cast<double>(from.scale[0]) / static_cast<double>(to.scale[0]));
  Array a = Array::zeros(n.out_types[0], n.shape(0));
  for (std::size_t i = 0; i < a.elements(); ++i) {
    const std::int64_t v =
        times_away(wrap(integer(n.array(0), i) - from.zero_point[0]), f) + to.zero_point[0];
    const bool wide = n.out_types[0] == DType::kInt32;
    put_integer(
        a, i,
        wide ? std::clamp<std::int64_t>(v, -2147483648LL, 2147483647) : bound(n.out_types[0], v));
  }
  return {{a}};
}

Verdict dequantize_of(const Node& n) {
  if (n.type(0) == DType::kFloat16) {
    Array y = Array::zeros(DType::kFloat32, n.shape(0));
    for (std::size_t i = 0; i < y.elements(); ++i) put(y, i, number(n.array(0), i));
    return {{y}};
  }
  const Quant& q = n.in[0].quant;
  if (!q.per_channel()) return {{Array::of(n.shape(0), dequantize(n.codes(0), n.dialect))}};
  Array y = Array::zeros(DType::kFloat32, n.shape(0));
  each(n.shape(0), [&](const Shape& at, std::size_t i) {
    const auto c = static_cast<std::size_t>(at[static_cast<std::size_t>(q.axis)]);
    put(y, i,
        static_cast<double>(q.scale[c]) *
            static_cast<double>(integer(n.array(0), i) - q.zero_point[c]));
  });
  return {{y}};
}

Verdict numeric_verify(const Node& n) {
  std::vector<float> y =
      dequantize(n.codes(0), reference(n) ? Dialect::kReference : Dialect::kBuiltin);
  const auto other = n.array(1).span<float>();
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = y[i] - other[i];
  return {{Array::of(n.shape(0), y)}};
}

// ---- cases
Quant near(Sketch& s, DType type, float scale) {  // scales within a factor of the given one
  Quant q = s.quant(type);
  if (!q.empty()) q.scale[0] = scale * (s.draw.one_in(3) ? 1.0f : s.draw.real(0.6f, 2.5f));
  return q;
}
float scale_at(Sketch& s, int t) { return s.at(t).quant.empty() ? 1.0f : s.at(t).quant.scale[0]; }
// The scale that the operator wants of its output.
Quant wanted(Sketch& s, OpCode op, DType t, int x) {
  const bool words = t == DType::kInt16;
  if (t == DType::kFloat32 || t == DType::kFloat16 || s.at(x).quant.empty()) return {};
  if (op == OpCode::kLogistic)
    return quant_of(words ? 1.0f / 32768 : 1.0f / 256, words ? 0 : least(t));
  if (op == OpCode::kTanh && words) return quant_of(1.0f / 32768, 0);
  return near(s, t, scale_at(s, x));
}

void make_curve(Sketch& s, OpCode op, const Ask& ask) {
  int x = s.value(ask.type, 0, 4);
  if (ask.type == DType::kInt16 && s.draw.one_in(2)) {  // a power of two, or a small scale
    const float scale =
        s.draw.one_in(2) ? std::ldexp(1.0f, -s.draw.in(11, 13)) : s.draw.real(1e-5f, 1e-3f);
    x = s.input(s.random(ask.type, s.draw.shape(2, 8)), quant_of(scale, 0));
  }
  const bool roots = op == OpCode::kSqrt || op == OpCode::kRsqrt || op == OpCode::kLog;
  if (roots && is_float(ask.type)) {
    Array a = s.random(ask.type, s.draw.shape(2, 5));
    for (std::size_t i = 0; i < a.elements(); ++i) put(a, i, std::abs(number(a, i)) + 0.01);
    x = s.input(a);
  }
  if (roots && ask.type == DType::kInt8)
    x = s.input(s.random(ask.type, s.draw.shape(2, 8)), quant_of(s.draw.scale(), -128));
  Attrs a = NoAttrs{};
  if (op == OpCode::kGelu) a = GeluAttrs{s.draw.one_in(2)};
  if (op == OpCode::kLeakyRelu) a = LeakyReluAttrs{s.draw.one_in(8) ? 0.0f : s.draw.real(-0.5f, 2)};
  s.add(op, a, {x}, {{ask.type, wanted(s, op, ask.type, x)}});
}
void make_prelu(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4);
  const DType t = ask.type == DType::kInt16 ? DType::kInt8 : ask.type;
  Shape slope = s.shape(x);
  for (std::size_t d = 0; d + 1 < slope.size(); ++d) slope[d] = s.draw.one_in(2) ? 1 : slope[d];
  const Array a = s.random(t, slope);
  const Quant q = s.quant(t);
  s.add(op, NoAttrs{}, {x, s.draw.one_in(2) ? s.constant(a, q) : s.input(a, q)},
        {{ask.type, near(s, ask.type, scale_at(s, x))}});
}

Attrs pair_attrs(Sketch& s, OpCode op, bool plain) {
  const Activation f = plain || !s.draw.one_in(2) ? Activation::kNone : s.draw.activation();
  if (op == OpCode::kAdd || op == OpCode::kSub) return AddAttrs{f, s.draw.one_in(2)};
  if (op == OpCode::kMul || op == OpCode::kDiv) return ActivationAttrs{f};
  return NoAttrs{};
}
void make_two(Sketch& s, OpCode op, const Ask& ask) {
  int x = s.value(ask.type, 0, 4), y = s.broadcastable(ask.type, s.shape(x));
  if (op == OpCode::kDiv) {
    Array d = s.random(ask.type, s.draw.one_in(2) ? s.shape(x) : Shape{});
    Quant q = s.quant(ask.type);
    for (std::size_t i = 0; i < d.elements(); ++i) {
      const double zero = q.empty() ? 0 : static_cast<double>(q.zero_point[0]);
      if (std::abs(number(d, i) - zero) < 0.1) put(d, i, zero > 0 ? zero - 1 : zero + 1);
    }
    y = s.input(d, q);
  }
  // int32 may carry a scale (QUANTIZE), which these operators do not use.
  const bool words = ask.type == DType::kInt16,
             coded = ask.type != DType::kInt32 && !s.at(x).quant.empty();
  if (words && (op == OpCode::kAdd || op == OpCode::kSub) && s.draw.one_in(2)) {
    const int e = s.draw.in(0, 4), up = s.draw.in(0, 3);
    x = s.input(s.random(ask.type, s.shape(x)), quant_of(std::ldexp(1.0f, -e), 0));
    y = s.input(s.random(ask.type, s.shape(x)), quant_of(std::ldexp(1.0f, -e - up), 0));
    s.add(op, AddAttrs{s.draw.activation(), true}, {x, y},
          {{ask.type, quant_of(std::ldexp(1.0f, -e), 0)}});
    return;
  }
  Quant out;
  if (coded) {
    const float a = scale_at(s, x), b = scale_at(s, y);
    const float most = std::max(a, b);
    out = s.quant(ask.type);
    out.scale[0] = most * s.draw.real(1.0f, 4.0f);
    if (op == OpCode::kMul) out.scale[0] = a * b * s.draw.real(4.0f, 60.0f) * (words ? 100 : 1);
    if (op == OpCode::kDiv) out.scale[0] = a / b * s.draw.real(0.02f, 0.5f);
    if (op == OpCode::kSquaredDifference) out.scale[0] = most * most * s.draw.real(10, 200);
  }
  Attrs attrs = pair_attrs(s, op, !coded && !is_float(ask.type));
  if (words && coded && std::holds_alternative<AddAttrs>(attrs))
    std::get<AddAttrs>(attrs).pot_scale_int16 = false;
  s.add(op, attrs, {x, y}, {{ask.type, out}});
}
void make_compare(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 0, 4);
  s.add(op, NoAttrs{}, {x, s.broadcastable(ask.type, s.shape(x))}, {{DType::kBool}});
}

void make_quantize(Sketch& s, OpCode op, const Ask& ask) {
  constexpr DType kTo[] = {DType::kInt8, DType::kUint8, DType::kInt16, DType::kInt32};
  const DType to = kTo[s.draw.in(0, ask.type == DType::kInt16 ? 3 : 2)];
  int x = s.value(ask.type, 1, 4);
  if (ask.type == DType::kInt32)
    x = s.input(s.random(ask.type, s.draw.shape(2, 9)), quant_of(s.draw.scale(), s.draw.in(-5, 5)));
  Quant q = s.quant(to == DType::kInt32 ? DType::kInt16 : to);
  s.add(op, NoAttrs{}, {x}, {{to, q}});
}
void make_dequantize(Sketch& s, OpCode op, const Ask& ask) {
  int x = s.value(ask.type, 1, 4);
  if (s.draw.one_in(3) && ask.type != DType::kFloat16) {
    const Shape shape = s.draw.shape(3, 4);
    Quant q = s.quant(ask.type);
    q.axis = s.draw.in(0, 2);
    for (std::int32_t c = 1; c < shape[static_cast<std::size_t>(q.axis)]; ++c) {
      q.scale.push_back(s.draw.scale());
      q.zero_point.push_back(q.zero_point[0]);
    }
    const Array a = s.random(ask.type, shape);
    x = s.draw.one_in(2) ? s.constant(a, q) : s.input(a, q);
  }
  s.add(op, NoAttrs{}, {x}, {{DType::kFloat32}});
}
void make_verify(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 1, 4);
  s.add(op, CustomAttrs{}, {x, s.shaped(DType::kFloat32, s.shape(x))}, {{DType::kFloat32}}, {},
        "NumericVerify");
}

constexpr Judge kJudges[] = {
    {OpCode::kElu, curve, make_curve},
    {OpCode::kGelu, curve, make_curve},
    {OpCode::kExp, curve, make_curve},
    {OpCode::kLog, curve, make_curve},
    {OpCode::kLogistic, sigmoid, make_curve},
    {OpCode::kTanh, sigmoid, make_curve},
    {OpCode::kRelu, one_value, make_curve},
    {OpCode::kRelu6, one_value, make_curve},
    {OpCode::kReluN1To1, one_value, make_curve},
    {OpCode::kRelu0To1, one_value, make_curve},
    {OpCode::kLeakyRelu, one_value, make_curve},
    {OpCode::kHardSwish, one_value, make_curve},
    {OpCode::kAbs, one_value, make_curve},
    {OpCode::kNeg, one_value, make_curve},
    {OpCode::kSqrt, root, make_curve},
    {OpCode::kRsqrt, root, make_curve},
    {OpCode::kPrelu, prelu_of, make_prelu},
    {OpCode::kAdd, two_values, make_two},
    {OpCode::kSub, two_values, make_two},
    {OpCode::kMul, two_values, make_two},
    {OpCode::kDiv, two_values, make_two},
    {OpCode::kMaximum, two_values, make_two},
    {OpCode::kMinimum, two_values, make_two},
    {OpCode::kSquaredDifference, two_values, make_two},
    {OpCode::kEqual, compare, make_compare},
    {OpCode::kNotEqual, compare, make_compare},
    {OpCode::kLess, compare, make_compare},
    {OpCode::kLessEqual, compare, make_compare},
    {OpCode::kGreater, compare, make_compare},
    {OpCode::kGreaterEqual, compare, make_compare},
    {OpCode::kQuantize, quantize_of, make_quantize},
    {OpCode::kDequantize, dequantize_of, make_dequantize},
    {OpCode::kCustom, numeric_verify, make_verify, false, "NumericVerify"},
};

}  // namespace

std::span<const Judge> code_judges() { return kJudges; }

}  // namespace litegap::oracle
