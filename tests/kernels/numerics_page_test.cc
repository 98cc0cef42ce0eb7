// The tables of docs/numerics.md between "<!-- table NAME -->" and "<!-- end -->" are printed here,
// from what the kernels compute.  The test fails when the page says something else;
// LITEGAP_WRITE_DOCS=1 writes the tables anew.  Every number comes out of a kernel or of the
// functions that kernels use, and is checked against the judge before it is printed.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>

#include "base/file.h"
#include "kernels/arith.h"
#include "kernels/geometry.h"
#include "oracle/conv.h"
#include "oracle/op_case.h"
#include "oracle/words.h"
#include "value_run.h"

namespace litegap::oracle {
namespace {

const std::string kPage = std::string(LITEGAP_SOURCE_DIR) + "/docs/numerics.md";

// Compares a table with the page's, or replaces it.
void expect_table(const std::string& name, const std::string& table) {
  std::string page = read_text(kPage);
  const std::string open = "<!-- table " + name + " -->\n", close = "<!-- end -->";
  const std::size_t at = page.find(open);
  ASSERT_NE(at, std::string::npos) << "docs/numerics.md has no " << open;
  const std::size_t begin = at + open.size(), end = page.find(close, begin);
  ASSERT_NE(end, std::string::npos);
  if (std::getenv("LITEGAP_WRITE_DOCS") != nullptr) {
    page.replace(begin, end - begin, table);
    std::ofstream(kPage) << page;
    return;
  }
  EXPECT_EQ(page.substr(begin, end - begin), table)
      << "the table " << name << " of docs/numerics.md is not what the code computes";
}

// ---- the roundings
struct Rounding {
  const char* name;
  const char* formula;
  std::int64_t (*code)(std::int64_t x, double real);   // with the functions of the kernels
  std::int64_t (*judge)(std::int64_t x, double real);  // the judge's, of another kind
};

Factor f_of(double real) { return factor(real); }
std::int32_t word(std::int64_t x) { return static_cast<std::int32_t>(x); }

const Rounding kRoundings[] = {
    {"double", "`away_shift(hp(x << max(e,0), m), max(−e,0))`",
     [](std::int64_t x, double r) -> std::int64_t {
       return scale_double(word(x), make_multiplier(r));
     },
     [](std::int64_t x, double r) { return times_away(x, f_of(r)); }},
    {"up", "`up_shift(hp(x << max(e,0), m), max(−e,0))`",
     [](std::int64_t x, double r) -> std::int64_t { return scale_up(word(x), make_multiplier(r)); },
     [](std::int64_t x, double r) { return times_up(x, f_of(r)); }},
    {"16x8", "`(x·m' + 2^(14−e)) >> (15−e)`, m' = m reduced to 15 bits",
     [](std::int64_t x, double r) -> std::int64_t { return scale_16x8(x, make_multiplier(r)); },
     [](std::int64_t x, double r) { return times_narrow(x, f_of(r)); }},
    {"f64", "`away(double(x) × M)`",
     [](std::int64_t x, double r) -> std::int64_t {
       return round_away(static_cast<double>(x) * r);
     },
     [](std::int64_t x, double r) {
       const double v = static_cast<double>(x) * r;
       return static_cast<std::int64_t>(v < 0 ? -std::floor(0.5 - v) : std::floor(v + 0.5));
     }},
    {"xnn", "`even(min(f32(float(x) × M), hi − z)) + z`, then at least lo",
     [](std::int64_t x, double r) -> std::int64_t {
       return requantize_xnn(word(x), static_cast<float>(r), 0, -32768, 32767);
     },
     [](std::int64_t x, double r) {
       return static_cast<std::int64_t>(
           std::nearbyint(static_cast<float>(x) * static_cast<float>(r)));
     }},
    {"q8", "`(x·even(256·M) + 128) >> 8`",
     [](std::int64_t x, double r) -> std::int64_t {
       return (x * round_even(256.0f * static_cast<float>(r)) + 128) >> 8;
     },
     [](std::int64_t x, double r) {
       return divide_up(x * static_cast<std::int64_t>(std::nearbyint(256 * r)), 8);
     }},
};

TEST(NumericsPage, RoundingsByNumbers) {
  std::string s = "| name | formula |\n|---|---|\n";
  for (const Rounding& r : kRoundings) s += fmt::format("| *{}* | {} |\n", r.name, r.formula);
  s += "\n| M | e | m | x | x·M | hp(x·2^max(e,0), m) |";
  for (const Rounding& r : kRoundings) s += fmt::format(" *{}* |", r.name);
  s += "\n|---|---|---|---|---|---|";
  for (std::size_t i = 0; i < std::size(kRoundings); ++i) s += "---|";
  s += "\n";
  const std::pair<double, std::vector<std::int64_t>> rows[] = {{0.5, {5, -5}},
                                                               {0.25, {6, -6, -7}},
                                                               {1.5, {3, -3}},
                                                               {0.0078125, {192, -192}},
                                                               {0.3, {25, -1005}}};
  for (const auto& [real, xs] : rows) {
    for (const std::int64_t x : xs) {
      const Multiplier m = make_multiplier(real);
      EXPECT_EQ(m.mantissa, f_of(real).m);
      EXPECT_EQ(m.exponent, f_of(real).e);
      s +=
          fmt::format("| {} | {} | {} | {} | {} | {} |", real, m.exponent, m.mantissa, x,
                      static_cast<double>(x) * real,
                      high_multiply(wrap_shift_left(word(x), std::max(m.exponent, 0)), m.mantissa));
      for (const Rounding& r : kRoundings) {
        EXPECT_EQ(r.code(x, real), r.judge(x, real)) << r.name << " of " << x << " times " << real;
        s += fmt::format(" {} |", r.code(x, real));
      }
      s += "\n";
    }
  }
  expect_table("roundings", s);
}

// ---- geometry
TEST(NumericsPage, Geometry) {
  std::string s =
      "| in | k | stride | dilation | padding | out | before | after |\n"
      "|---|---|---|---|---|---|---|---|\n";
  const struct {
    std::int32_t in, k, stride, dilation;
    Padding padding;
  } rows[] = {{5, 3, 1, 1, Padding::kSame},  {5, 3, 2, 1, Padding::kSame},
              {6, 3, 2, 1, Padding::kSame},  {6, 2, 3, 1, Padding::kSame},
              {7, 3, 1, 2, Padding::kSame},  {5, 3, 1, 1, Padding::kValid},
              {6, 3, 2, 1, Padding::kValid}, {7, 3, 1, 2, Padding::kValid}};
  for (const auto& r : rows) {
    const Extent e = window_extent(r.in, r.k, r.stride, r.dilation, r.padding);
    ProductCase c;
    c.h = r.in, c.kh = r.k, c.stride_h = r.stride, c.dilation_h = r.dilation, c.padding = r.padding;
    EXPECT_EQ(window_shape(c)[1], e.out);
    const std::int64_t total =
        r.padding == Padding::kSame
            ? std::max<std::int64_t>((e.out - 1) * r.stride + (r.k - 1) * r.dilation + 1 - r.in, 0)
            : 0;
    EXPECT_EQ(e.pad_before, total / 2);
    // The kernel of a convolution has the same idea of the output.
    OpCase conv(OpCode::kConv2d, ConvAttrs{r.padding, 1, r.stride, Activation::kNone, 1, r.dilation,
                                           DType::kFloat32});
    conv.add(Array::zeros(DType::kFloat32, {1, r.in, 1, 1}))
        .constant(Array::zeros(DType::kFloat32, {1, r.k, 1, 1}));
    conv.constant(Array::zeros(DType::kFloat32, {1}));
    EXPECT_EQ(conv.run(Dialect::kReference)[0].shape()[1], e.out);
    s += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} |\n", r.in, r.k, r.stride, r.dilation,
                     r.padding == Padding::kSame ? "SAME" : "VALID", e.out, e.pad_before,
                     total - e.pad_before);
  }
  expect_table("geometry", s);
}

// ---- which operator rounds how: found by asking the kernels
// Gives the codes of an operator whose sums are all `sum`, for the ratio of scales 1 / y_scale.
using Probe = std::function<std::vector<std::int32_t>(Dialect, std::int32_t sum, float y_scale)>;

constexpr std::int32_t kChannels = 11;

Array filled(DType t, const Shape& shape, std::int64_t code) {
  Array a = Array::zeros(t, shape);
  for (std::size_t i = 0; i < a.elements(); ++i) {
    if (t == DType::kInt64) a.mutable_span<std::int64_t>()[i] = code;
    if (t == DType::kInt32) a.mutable_span<std::int32_t>()[i] = static_cast<std::int32_t>(code);
    if (t == DType::kInt16) a.mutable_span<std::int16_t>()[i] = static_cast<std::int16_t>(code);
    if (t == DType::kInt8) a.mutable_span<std::int8_t>()[i] = static_cast<std::int8_t>(code);
    if (t == DType::kUint8) a.mutable_span<std::uint8_t>()[i] = static_cast<std::uint8_t>(code);
  }
  return a;
}
std::int64_t zero_code(DType t) { return t == DType::kUint8 ? 128 : 0; }

// A product of an input of zeros: the sum is the bias.
Probe product_probe(OpCode op, DType t, bool narrow_bias = false, std::int32_t groups = 1) {
  return [=](Dialect d, std::int32_t sum, float y_scale) {
    const DType bias = t == DType::kInt16 && !narrow_bias ? DType::kInt64 : DType::kInt32;
    const DType attr = narrow_bias ? DType::kInt32 : DType::kFloat32;
    const DType weights = t == DType::kUint8 ? t : DType::kInt8;
    const bool depthwise = op == OpCode::kDepthwiseConv2d, dense = op == OpCode::kFullyConnected;
    const std::int32_t depth = depthwise || groups > 1 ? kChannels : 1;
    const Array x = filled(t, dense ? Shape{3, 1} : Shape{1, 1, 3, depth}, zero_code(t));
    const Array w = filled(weights,
                           dense       ? Shape{kChannels, 1}
                           : depthwise ? Shape{1, 1, 1, kChannels}
                                       : Shape{kChannels, 1, 1, depth / groups},
                           zero_code(t) + 1);
    const Array b = filled(bias, {kChannels}, sum);
    const Quant one = quant_of(1, zero_code(t));
    Quant one_w = one;
    if (depthwise) one_w.axis = 3;
    Attrs a = ConvAttrs{Padding::kValid, 1, 1, Activation::kNone, 1, 1, attr};
    if (depthwise) a = DepthwiseAttrs{Padding::kValid, 1, 1, 1, Activation::kNone, 1, 1};
    if (dense) a = FullyConnectedAttrs{Activation::kNone, 0, false, false, attr};
    if (op == OpCode::kTransposeConv)
      a = TransposeConvAttrs{Padding::kValid, 1, 1, Activation::kNone, attr};
    OpCase c(op, a);
    if (op == OpCode::kTransposeConv)
      c.constant(Array::of<std::int32_t>({4}, {1, 1, 3, kChannels})).constant(w, one_w).add(x, one);
    else
      c.add(x, one).constant(w, one_w);
    c.constant(b).output(t, quant_of(y_scale, zero_code(t)));
    auto codes = codes_of(c.run(d)[0]);
    for (auto& q : codes) q -= static_cast<std::int32_t>(zero_code(t));
    return codes;
  };
}
// A function of one operand: the sum is its code.
Probe value_probe(OpCode op, DType t, Attrs attrs, Shape shape, std::vector<std::int32_t> axes = {},
                  bool by_one = false) {
  return [=](Dialect d, std::int32_t sum, float y_scale) {
    OpCase c(op, attrs);
    c.add(filled(t, shape, sum), quant_of(1, 0));
    if (by_one)
      c.add(filled(t, op == OpCode::kBatchMatmul ? Shape{1, kChannels} : Shape{1}, 1),
            quant_of(1, 0));
    if (!axes.empty()) c.constant(Array::of({static_cast<std::int32_t>(axes.size())}, axes));
    c.output(t, quant_of(y_scale, 0));
    return codes_of(c.run(d)[0]);
  };
}

// Per output element the roundings that explain every answer.
std::string roundings_of(const Probe& probe, Dialect d, std::int32_t largest) {
  std::vector<std::vector<bool>> fits;
  for (const float y_scale : {2.0f, 4.0f, 3.7f}) {
    for (std::int32_t sum = -largest; sum <= largest; ++sum) {
      const auto got = probe(d, sum, y_scale);
      fits.resize(got.size(), std::vector<bool>(std::size(kRoundings), true));
      for (std::size_t i = 0; i < got.size(); ++i) {
        for (std::size_t r = 0; r < std::size(kRoundings); ++r)
          fits[i][r] =
              fits[i][r] && kRoundings[r].judge(sum, 1.0 / static_cast<double>(y_scale)) == got[i];
      }
    }
  }
  std::vector<std::string> names;
  for (const auto& f : fits) {
    std::string name;
    for (std::size_t r = 0; r < f.size(); ++r) {
      if (f[r]) name += (name.empty() ? "" : " = ") + std::string(kRoundings[r].name);
    }
    names.push_back(name.empty() ? "?" : name);
  }
  std::size_t first = 0;
  while (first < names.size() && names[first] == names[0]) ++first;
  if (first == names.size()) return names[0];
  // The end of a row, or of the tensor, rounds otherwise than its whole blocks.
  bool by_channel = true;
  const std::size_t width = first < kChannels ? kChannels : names.size();
  for (std::size_t i = 0; i < names.size(); ++i)
    by_channel = by_channel && names[i] == (i % width < first ? names[0] : names[first]);
  return fmt::format("{} in the first {} of {} {}, then {}", names[0], first, width,
                     width == names.size() ? "elements" : "channels",
                     by_channel ? names[first] : "?");
}

TEST(NumericsPage, WhichOperatorRoundsHow) {
  constexpr DType i8 = DType::kInt8, u8 = DType::kUint8, i16 = DType::kInt16;
  const struct {
    const char* name;
    const char* sum;
    Probe probe;
    std::int32_t largest;
  } rows[] = {
      {"CONV_2D int8", "Σ (x−zx)(w−zw) + bias", product_probe(OpCode::kConv2d, i8), 127},
      {"CONV_2D uint8", "same", product_probe(OpCode::kConv2d, u8), 127},
      {"CONV_2D int8, grouped", "same", product_probe(OpCode::kConv2d, i8, false, kChannels), 127},
      {"CONV_2D int16, int64 bias", "same", product_probe(OpCode::kConv2d, i16), 200},
      {"CONV_2D int16, int32 bias", "same", product_probe(OpCode::kConv2d, i16, true), 200},
      {"DEPTHWISE_CONV_2D int8", "same, per channel", product_probe(OpCode::kDepthwiseConv2d, i8),
       127},
      {"DEPTHWISE_CONV_2D uint8", "same, per channel", product_probe(OpCode::kDepthwiseConv2d, u8),
       127},
      {"DEPTHWISE_CONV_2D int16", "same, per channel", product_probe(OpCode::kDepthwiseConv2d, i16),
       200},
      {"FULLY_CONNECTED int8", "Σ (x−zx)(w−zw) + bias", product_probe(OpCode::kFullyConnected, i8),
       127},
      {"FULLY_CONNECTED uint8", "same", product_probe(OpCode::kFullyConnected, u8), 127},
      {"FULLY_CONNECTED int16, int64 bias", "same", product_probe(OpCode::kFullyConnected, i16),
       200},
      {"FULLY_CONNECTED int16, int32 bias", "same",
       product_probe(OpCode::kFullyConnected, i16, true), 200},
      {"TRANSPOSE_CONV int8", "scatter form", product_probe(OpCode::kTransposeConv, i8), 127},
      {"TRANSPOSE_CONV uint8", "scatter form", product_probe(OpCode::kTransposeConv, u8), 127},
      {"TRANSPOSE_CONV int16, int64 bias", "scatter form",
       product_probe(OpCode::kTransposeConv, i16), 200},
      {"BATCH_MATMUL int8", "Σ (a−za)(b−zb)",
       value_probe(OpCode::kBatchMatmul, i8, BatchMatmulAttrs{}, {3, 1}, {}, true), 127},
      {"BATCH_MATMUL int16", "same",
       value_probe(OpCode::kBatchMatmul, i16, BatchMatmulAttrs{}, {3, 1}, {}, true), 200},
      {"MUL int8", "(a−za)(b−zb)", value_probe(OpCode::kMul, i8, ActivationAttrs{}, {35}, {}, true),
       127},
      {"LEAKY_RELU int8, not negative", "x−zx",
       value_probe(OpCode::kLeakyRelu, i8, LeakyReluAttrs{1}, {35}), 127},
      {"QUANTIZE int8 to int8", "x−zx", value_probe(OpCode::kQuantize, i8, NoAttrs{}, {35}), 127},
      {"MEAN int8, axes 1 and 2, kept", "Σ x",
       value_probe(OpCode::kMean, i8, ReducerAttrs{true}, {1, 1, 1, 35}, {1, 2}), 127},
      {"MEAN int8, other axes", "Σ x − n·zx",
       value_probe(OpCode::kMean, i8, ReducerAttrs{false}, {1, 1, 1, 35}, {1, 2}), 127},
  };
  std::string s = "| operator | sum | reference | built-in | xnnpack |\n|---|---|---|---|---|\n";
  for (const auto& r : rows) {
    s += fmt::format("| {} | {} |", r.name, r.sum);
    for (const Dialect d : kAllDialects) {
      const std::string name = roundings_of(r.probe, d, r.largest);
      EXPECT_EQ(name.find('?'), std::string::npos)
          << r.name << ", " << dialect_name(d) << ": " << name;
      s += fmt::format(" {} |", name);
    }
    s += "\n";
  }
  expect_table("operators", s);
}

// ---- results to follow by hand
struct Example {
  const char* op;
  std::string operands;
  double exact;  // of the code, before rounding
  OpCase c;
  std::function<Result(Dialect)> judge;
};
Codes one_code(DType t, std::int32_t q, float scale, std::int32_t zero) {
  return {t, {1}, {q}, scale, zero};
}
std::string text(const Codes& c) {
  std::string at;
  for (const std::int32_t q : c.at) at += (at.empty() ? "" : ", ") + std::to_string(q);
  if (c.at.size() > 1) at = "(" + at + ")";
  return fmt::format("{} · ({} {} {})", c.scale, at, c.zero < 0 ? "+" : "−", std::abs(c.zero));
}
Example pair_example(OpCode op, Attrs a, const Codes& x, const Codes& z, const Codes& y,
                     double real, std::function<Result(Dialect)> judge) {
  OpCase c(op, std::move(a));
  c.add(x.array(), x.quant()).add(z.array(), z.quant()).output(y.type, y.quant());
  return {op == OpCode::kAdd   ? "ADD"
          : op == OpCode::kSub ? "SUB"
                               : "MUL",
          text(x) + " and " + text(z) + ", to " + fmt::format("{}, zero point {}", y.scale, y.zero),
          real / static_cast<double>(y.scale) + y.zero, std::move(c), std::move(judge)};
}
Example value_example(const char* name, OpCode op, Attrs a, const Codes& x, const Codes& y,
                      double real, std::function<Result(Dialect)> judge,
                      std::vector<std::int32_t> axes = {}) {
  OpCase c(op, std::move(a));
  c.add(x.array(), x.quant());
  if (!axes.empty()) c.constant(Array::of({static_cast<std::int32_t>(axes.size())}, axes));
  c.output(y.type, y.quant());
  return {name, text(x) + ", to " + fmt::format("{}, zero point {}", y.scale, y.zero),
          real / static_cast<double>(y.scale) + y.zero, std::move(c), std::move(judge)};
}

TEST(NumericsPage, ResultsByHand) {
  constexpr DType i8 = DType::kInt8;
  const Codes a = one_code(i8, 10, 0.5f, 0), b = one_code(i8, 8, 0.25f, 1),
              half = one_code(i8, 0, 0.5f, -1), coarse = one_code(i8, 0, 4, 3);
  const Codes minus = one_code(i8, -10, 0.5f, 0);
  Codes four{i8, {1, 2, 2, 1}, {-3, -2, -1, -4}, 1, 0};
  Codes pooled{i8, {1, 1, 1, 1}, {}, 1, 0};
  const Codes leak = one_code(i8, -27, 0.5f, 0), leaked = one_code(i8, 0, 0.25f, 0);
  const Codes wide = one_code(i8, 76, 0.3f, 5), narrow = one_code(i8, 0, 0.7f, -2);
  const std::vector<bool> image = {false, true, true, false};
  Example rows[] = {
      pair_example(OpCode::kAdd, AddAttrs{}, a, b, half, 5 + 1.75,
                   [&](Dialect d) { return add(a, b, half, Activation::kNone, d, 1); }),
      pair_example(OpCode::kSub, AddAttrs{}, minus, b, half, -5 - 1.75,
                   [&](Dialect d) { return add(minus, b, half, Activation::kNone, d, -1); }),
      pair_example(OpCode::kMul, ActivationAttrs{}, minus, b, coarse, -5 * 1.75,
                   [&](Dialect d) { return mul(minus, b, coarse, Activation::kNone, d); }),
      value_example("QUANTIZE", OpCode::kQuantize, NoAttrs{}, wide, narrow,
                    static_cast<double>(0.3f) * 71,
                    [&](Dialect d) { return requantize(wide, narrow, d); }),
      value_example("LEAKY_RELU, α = 0.1", OpCode::kLeakyRelu, LeakyReluAttrs{0.1f}, leak, leaked,
                    static_cast<double>(0.1f) * -13.5,
                    [&](Dialect d) { return leaky_relu(leak, leaked, 0.1f, d); }),
      value_example("AVERAGE_POOL_2D 2×2", OpCode::kAveragePool2d,
                    PoolAttrs{Padding::kValid, 1, 1, 2, 2, Activation::kNone}, four, pooled, -2.5,
                    [&](Dialect d) {
                      return pool(four, pooled,
                                  PoolAttrs{Padding::kValid, 1, 1, 2, 2, Activation::kNone}, true,
                                  d);
                    }),
      value_example("MEAN, axes 1 and 2, kept", OpCode::kMean, ReducerAttrs{true}, four, pooled,
                    -2.5, [&](Dialect d) { return mean(four, pooled, image, true, d); }, {1, 2}),
  };
  std::string s =
      "| operator, int8 | operands: scale · (codes − zero point) | exact code | reference | "
      "built-in | xnnpack |\n|---|---|---|---|---|---|\n";
  for (Example& e : rows) {
    s += fmt::format("| {} | {} | {:.6g} |", e.op, e.operands, e.exact);
    for (const Dialect d : kAllDialects) {
      const auto got = codes_of(e.c.run(d)[0]);
      EXPECT_EQ(got, e.judge(d)) << e.op << ", " << dialect_name(d);
      s += fmt::format(" {} |", got[0]);
    }
    s += "\n";
  }
  // Floats to codes: the built-in kernel rounds whole blocks of 8 otherwise than the rest.
  s += "\n| QUANTIZE from float32 by 1 | reference | built-in, first 8 of 9 | built-in, last of 9 "
       "| xnnpack |\n|---|---|---|---|---|\n";
  for (const float v : {0.5f, 1.5f, 2.5f, -2.5f}) {
    Codes y{i8, {9}, {}, 1, 0};
    s += fmt::format("| {} |", v);
    for (const Dialect d : kAllDialects) {
      const std::vector<float> x(9, v);
      OpCase c(OpCode::kQuantize, NoAttrs{});
      c.add(Array::of<float>({9}, x)).output(i8, y.quant());
      const auto got = codes_of(c.run(d)[0]);
      EXPECT_EQ(got, quantize(x, y, d)) << v;
      s += fmt::format(" {} |", got[0]);
      if (d == Dialect::kBuiltin) s += fmt::format(" {} |", got[8]);
    }
    s += "\n";
  }
  expect_table("examples", s);
}

}  // namespace
}  // namespace litegap::oracle
