// The judge of convolutions and matrix products inside of graphs: a node becomes a ProductCase.
#include <algorithm>
#include <cmath>

#include "oracle/conv.h"
#include "oracle/depthwise.h"
#include "oracle/fully_connected.h"
#include "oracle/judge_numbers.h"
#include "oracle/op_case.h"
#include "oracle/product.h"
#include "oracle/transpose_conv.h"
#include "oracle/words.h"

namespace litegap::oracle {
namespace {

constexpr double kSums = 2e-6;  // float32 sums in any order, against the sum of magnitudes

bool coded(DType t) { return t == DType::kInt8 || t == DType::kUint8 || t == DType::kInt16; }

// ---- CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV
struct Places {
  std::size_t x = 0, w = 1, bias = 2;
};
Places places_of(const Node& n) {
  return n.op.code == OpCode::kTransposeConv ? Places{2, 1, 3} : Places{};
}

void set_geometry(ProductCase& c, const Node& n) {
  const Places p = places_of(n);
  const Shape &x = n.shape(p.x), &w = n.shape(p.w);
  c.op = n.op.code;
  c.activation = fused_activation(n.op.attrs);
  if (c.op == OpCode::kFullyConnected) {
    c.c = w[1], c.o = w[0];
    c.n = static_cast<std::int32_t>(shape_elements(x)) / c.c;
    c.asymmetric = n.attrs<FullyConnectedAttrs>().asymmetric_quantize_inputs;
    return;
  }
  c.n = x[0], c.h = x[1], c.w = x[2], c.c = x[3];
  c.kh = w[1], c.kw = w[2];
  c.o = c.op == OpCode::kDepthwiseConv2d ? w[3] : w[0];
  if (c.op == OpCode::kConv2d) {
    const auto& a = n.attrs<ConvAttrs>();
    c.padding = a.padding;
    c.stride_h = a.stride_h, c.stride_w = a.stride_w;
    c.dilation_h = a.dilation_h, c.dilation_w = a.dilation_w;
    c.groups = c.c / w[3];
  } else if (c.op == OpCode::kDepthwiseConv2d) {
    const auto& a = n.attrs<DepthwiseAttrs>();
    c.padding = a.padding;
    c.stride_h = a.stride_h, c.stride_w = a.stride_w;
    c.dilation_h = a.dilation_h, c.dilation_w = a.dilation_w;
  } else {
    const auto& a = n.attrs<TransposeConvAttrs>();
    c.padding = a.padding;
    c.stride_h = a.stride_h, c.stride_w = a.stride_w;
    const auto out = integers_of(n.array(0));
    c.out_h = static_cast<std::int32_t>(out[1]), c.out_w = static_cast<std::int32_t>(out[2]);
  }
}

std::vector<std::int32_t> narrow(const Array& a) {
  const auto v = integers_of(a);
  return {v.begin(), v.end()};
}

ProductCase case_of(const Node& n) {
  ProductCase c;
  set_geometry(c, n);
  const Places p = places_of(n);
  c.dialect = n.dialect;
  c.type = n.type(p.x);
  c.constant = n.in[p.w].constant && (!n.has(p.bias) || n.in[p.bias].constant);
  c.hybrid = c.type == DType::kFloat32 && n.type(p.w) != DType::kFloat32;
  if (coded(n.type(p.w))) {
    c.weights = narrow(n.array(p.w));
    c.w_scale = n.in[p.w].quant.scale;
    c.w_zero = static_cast<std::int32_t>(n.in[p.w].quant.zero_point[0]);
  } else {
    c.real_weights = floats_of(n.array(p.w));
  }
  if (c.type == DType::kFloat32) {
    c.real_x = floats_of(n.array(p.x));
    if (n.has(p.bias)) c.real_bias = floats_of(n.array(p.bias));
    return c;
  }
  c.x = narrow(n.array(p.x));
  c.x_scale = n.in[p.x].quant.scale[0];
  c.x_zero = static_cast<std::int32_t>(n.in[p.x].quant.zero_point[0]);
  c.y_scale = n.out_quants[0].scale[0];
  c.y_zero = static_cast<std::int32_t>(n.out_quants[0].zero_point[0]);
  if (n.has(p.bias)) {
    c.bias = integers_of(n.array(p.bias));
    c.bias32 = c.type == DType::kInt16 && n.type(p.bias) == DType::kInt32;
  }
  return c;
}

Products products_of(OpCode op) {
  return op == OpCode::kConv2d            ? conv_products
         : op == OpCode::kDepthwiseConv2d ? depthwise_products
         : op == OpCode::kFullyConnected  ? fully_connected_products
                                          : transpose_conv_products;
}

Verdict product(const Node& n) {
  const ProductCase c = case_of(n);
  Shape out = c.output_shape();
  if (c.op == OpCode::kFullyConnected && n.attrs<FullyConnectedAttrs>().keep_num_dims) {
    out = n.shape(0);
    out.back() = c.o;
  }
  const Products products = products_of(c.op);
  if (c.hybrid) return {{Array::of(out, judge_hybrid(c, products))}};
  if (c.type != DType::kFloat32) {
    Codes y = n.result(out);
    y.at = judge_codes(c, judge_sums(c, products));
    return {{y.array()}};
  }
  std::vector<double> sums(shape_elements(out), 0.0), sizes(sums);
  products(c, [&](std::size_t y, std::size_t x, std::size_t w) {
    const double p = static_cast<double>(c.real_x[x]) * static_cast<double>(c.real_weights[w]);
    sums[y] += p;
    sizes[y] += std::abs(p);
  });
  Verdict v{{}, kSums};
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (!c.real_bias.empty())
      sums[i] += static_cast<double>(c.real_bias[i % static_cast<std::size_t>(c.o)]);
    sums[i] = clamped(sums[i], c.activation);
    v.scale = std::max(v.scale, sizes[i]);
  }
  v.outputs = {array_like(DType::kFloat32, out, sums)};
  return v;
}

// Weights and bias of `outputs` channels; the output's quantization.
struct Weights {
  int w = -1, bias = -1;
  Quant out;
  DType bias_type = DType::kFloat32;
};
Weights weights(Sketch& s, const Ask& ask, int x, const Shape& shape, int axis,
                std::int32_t outputs, std::int32_t depth, bool scale_each) {
  Weights r;
  const DType t = ask.type == DType::kUint8                   ? DType::kUint8
                  : ask.type != DType::kFloat32 || ask.hybrid ? DType::kInt8
                                                              : DType::kFloat32;
  Quant q;
  Array w = s.random(t, shape);
  if (t != DType::kFloat32) {
    const bool channels = t == DType::kInt8 && (scale_each || s.draw.one_in(2));
    q.scale.resize(channels ? static_cast<std::size_t>(outputs) : 1);
    const float base = s.draw.scale() / 32;
    for (float& v : q.scale) v = base * s.draw.real(0.5f, 1.5f);
    q.zero_point.assign(q.scale.size(), t == DType::kUint8 ? s.draw.in(0, 255) : 0);
    q.axis = channels ? axis : 0;
    for (std::size_t i = 0; i < w.elements() && t == DType::kInt8; ++i)
      put_integer(w, i, std::max<std::int64_t>(integer(w, i), -127));
  }
  r.w = s.draw.one_in(8) && !ask.hybrid ? s.input(w, q) : s.constant(w, q);
  const bool real = ask.type == DType::kFloat32;
  const bool words = ask.type == DType::kInt16;
  r.bias_type = words && s.draw.one_in(3) ? DType::kInt32 : DType::kFloat32;
  const DType bias = real                                    ? DType::kFloat32
                     : words && r.bias_type != DType::kInt32 ? DType::kInt64
                                                             : DType::kInt32;
  Array b = Array::zeros(bias, {outputs});
  for (std::size_t i = 0; i < b.elements(); ++i)
    real ? put(b, i, static_cast<double>(s.draw.real(-2, 2)))
         : put_integer(b, i, s.draw.in(-4000, 4000));
  r.bias = s.constant(b);
  if (real) return r;
  const float typical = s.at(x).quant.scale[0] * q.scale[0] * std::sqrt(static_cast<float>(depth)) *
                        (words ? 32.0f : 40.0f);
  r.out = s.quant(ask.type);
  r.out.scale[0] =
      s.draw.one_in(2) ? std::exp2(std::round(std::log2(typical))) : typical * s.draw.real(0.5f, 2);
  return r;
}

void make_window(Sketch& s, OpCode op, const Ask& ask) {
  const bool depthwise = op == OpCode::kDepthwiseConv2d;
  const int x = s.value(ask.type, 4, 4, 8);
  const Shape in = s.shape(x);
  ConvAttrs a;
  a.padding = static_cast<Padding>(s.draw.in(0, 1));
  a.stride_h = s.draw.in(1, 2), a.stride_w = s.draw.in(1, 2);
  const std::int32_t kh = s.draw.in(1, std::min(3, in[1])), kw = s.draw.in(1, std::min(3, in[2]));
  if (2 * kh - 1 <= in[1] && s.draw.one_in(4)) a.dilation_h = 2;
  if (2 * kw - 1 <= in[2] && s.draw.one_in(4)) a.dilation_w = 2;
  a.activation = s.draw.activation();
  const std::int32_t multiplier = s.draw.one_in(3) ? 2 : 1;
  std::int32_t groups = 1, out = s.draw.in(1, 19);
  if (!depthwise && in[3] % 2 == 0 && s.draw.one_in(4)) groups = 2, out = 2 * ((out + 1) / 2);
  if (depthwise) out = in[3] * multiplier;
  const Shape shape = depthwise ? Shape{1, kh, kw, out} : Shape{out, kh, kw, in[3] / groups};
  const Weights w = weights(s, ask, x, shape, depthwise ? 3 : 0, out,
                            kh * kw * (depthwise ? 1 : in[3]), depthwise || groups > 1);
  a.quantized_bias_type = w.bias_type;
  if (depthwise)
    s.add(op,
          DepthwiseAttrs{a.padding, a.stride_w, a.stride_h, multiplier, a.activation, a.dilation_w,
                         a.dilation_h},
          {x, w.w, w.bias}, {{ask.type, w.out}});
  else
    s.add(op, a, {x, w.w, w.bias}, {{ask.type, w.out}});
}
void make_fully_connected(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 2, 3, 20);
  const std::int32_t depth = s.shape(x).back(), out = s.draw.in(1, 19);
  const Weights w = weights(s, ask, x, {out, depth}, 0, out, depth, false);
  FullyConnectedAttrs a;
  a.activation = s.draw.activation();
  a.keep_num_dims = s.draw.one_in(2);
  a.asymmetric_quantize_inputs = s.draw.one_in(2);
  a.quantized_bias_type = w.bias_type;
  std::vector<int> in = {x, w.w};
  if (w.bias_type == DType::kInt32 || !s.draw.one_in(4)) in.push_back(w.bias);
  s.add(op, a, in, {{ask.type, w.out}});
}
void make_transpose_conv(Sketch& s, OpCode op, const Ask& ask) {
  const int x = s.value(ask.type, 4, 4, 5);
  const Shape in = s.shape(x);
  TransposeConvAttrs a;
  a.padding = static_cast<Padding>(s.draw.in(0, 1));
  a.activation = s.draw.activation();
  const std::int32_t kh = s.draw.in(1, 3), kw = s.draw.in(1, 3), out = s.draw.in(1, 11);
  a.stride_h = s.draw.in(1, kh), a.stride_w = s.draw.in(1, kw);
  const bool same = a.padding == Padding::kSame;
  const std::int32_t h = same ? in[1] * a.stride_h : (in[1] - 1) * a.stride_h + kh;
  const std::int32_t wide = same ? in[2] * a.stride_w : (in[2] - 1) * a.stride_w + kw;
  const Weights w = weights(s, ask, x, {out, kh, kw, in[3]}, 0, out, in[3] * 2, false);
  a.quantized_bias_type = w.bias_type;
  s.add(op, a, {s.numbers({in[0], h, wide, out}), w.w, x, w.bias}, {{ask.type, w.out}});
}

// ---- BATCH_MATMUL
Verdict batch_matmul(const Node& n) {
  const auto& attrs = n.attrs<BatchMatmulAttrs>();
  const Shape &a = n.shape(0), &b = n.shape(1);
  Shape out = broadcast_shape({a.begin(), a.end() - 2}, {b.begin(), b.end() - 2});
  const std::size_t lead = out.size();
  const std::int32_t rows = attrs.adj_x ? a.back() : a[a.size() - 2],
                     depth = attrs.adj_x ? a[a.size() - 2] : a.back();
  const std::int32_t columns = attrs.adj_y ? b[b.size() - 2] : b.back();
  out.push_back(rows);
  out.push_back(columns);
  // The place of a factor: the batch index broadcast, then row and column of the matrix.
  const auto place = [&](const Shape& m, const Shape& at, std::int32_t r, std::int32_t c) {
    Shape index(m.size());
    const std::size_t skip = lead - (m.size() - 2);
    for (std::size_t d = 0; d + 2 < m.size(); ++d) index[d] = m[d] == 1 ? 0 : at[d + skip];
    index[m.size() - 2] = r, index.back() = c;
    return flat(m, index);
  };
  const auto of_a = [&](const Shape& at, std::int32_t k) {
    const std::int32_t r = at[lead];
    return attrs.adj_x ? place(a, at, k, r) : place(a, at, r, k);
  };
  const auto of_b = [&](const Shape& at, std::int32_t k) {
    const std::int32_t c = at[lead + 1];
    return attrs.adj_y ? place(b, at, c, k) : place(b, at, k, c);
  };
  Verdict v;
  Array y = Array::zeros(n.out_types[0], out);
  const DType t = n.type(0);
  const bool hybrid = t == DType::kFloat32 && n.type(1) == DType::kInt8;
  if (hybrid) {
    const bool qd8 = n.dialect == Dialect::kXnnpack && n.in[1].constant;
    const auto& scales = n.in[1].quant.scale;
    each(out, [&](const Shape& at, std::size_t i) {
      std::vector<float> row;
      for (std::int32_t k = 0; k < depth; ++k)
        row.push_back(static_cast<float>(number(n.array(0), of_a(at, k))));
      const Coded c =
          code_row(row.data(), row.size(), qd8, !qd8 && !attrs.asymmetric_quantize_inputs);
      std::int64_t sum = 0;
      for (std::int32_t k = 0; k < depth; ++k)
        sum += c.codes[static_cast<std::size_t>(k)] * integer(n.array(1), of_b(at, k));
      const float w = scales[scales.size() > 1 ? static_cast<std::size_t>(at[lead + 1]) : 0];
      const float s = static_cast<float>(sum);
      put(y, i, static_cast<double>(qd8 ? s * c.scale * w : s * (c.scale * w)));
    });
    return {{y}};
  }
  if (t == DType::kFloat32) {
    v.tolerance = kSums;
    each(out, [&](const Shape& at, std::size_t i) {
      double sum = 0, size = 0;
      for (std::int32_t k = 0; k < depth; ++k) {
        const double p = number(n.array(0), of_a(at, k)) * number(n.array(1), of_b(at, k));
        sum += p, size += std::abs(p);
      }
      put(y, i, sum);
      v.scale = std::max(v.scale, size);
    });
    v.outputs = {y};
    return v;
  }
  const Codes ca = n.codes(0), cb = n.codes(1), cy = n.result(out);
  const float f = ca.scale * cb.scale;
  const Factor m = factor(static_cast<double>(f) / static_cast<double>(cy.scale));
  each(out, [&](const Shape& at, std::size_t i) {
    std::int64_t sum = 0;
    for (std::int32_t k = 0; k < depth; ++k)
      sum += std::int64_t{ca.at[of_a(at, k)] - ca.zero} * (cb.at[of_b(at, k)] - cb.zero);
    if (t == DType::kInt16) return put_integer(y, i, bound(t, times_narrow(sum, m)));
    if (n.dialect == Dialect::kXnnpack && cb.zero == 0 && f / cy.scale < 256) {
      const float scaled =
          std::min(static_cast<float>(sum) * (f / cy.scale), static_cast<float>(127 - cy.zero));
      return put_integer(
          y, i,
          bound(t, static_cast<std::int64_t>(std::nearbyint(std::max(scaled, -1e6f))) + cy.zero));
    }
    put_integer(y, i, bound(t, times_away(sum, m) + cy.zero));
  });
  v.outputs = {y};
  return v;
}
void make_batch_matmul(Sketch& s, OpCode op, const Ask& ask) {
  BatchMatmulAttrs a{s.draw.one_in(2), s.draw.one_in(2), s.draw.one_in(2)};
  const std::int32_t rows = s.draw.in(1, 4), depth = s.draw.in(1, 20), columns = s.draw.in(1, 6);
  Shape x = s.draw.shape(static_cast<std::size_t>(s.draw.in(0, 2)), 3), y = x;
  for (auto& d : y) d = s.draw.one_in(3) ? 1 : d;
  x.insert(x.end(), {a.adj_x ? depth : rows, a.adj_x ? rows : depth});
  y.insert(y.end(), {a.adj_y ? columns : depth, a.adj_y ? depth : columns});
  const DType t = ask.hybrid ? DType::kInt8 : ask.type;
  Quant qy = s.quant(t);
  if (!qy.empty() && (ask.hybrid || s.draw.one_in(2))) qy.zero_point = {0};
  const int left = s.shaped(ask.type, x);
  const Array b = s.random(t, y);
  const int right = ask.hybrid || s.draw.one_in(2) ? s.constant(b, qy) : s.input(b, qy);
  Quant q = s.quant(ask.type);
  if (!q.empty())
    q.scale[0] = s.at(left).quant.scale[0] * qy.scale[0] * s.draw.real(20, 400) *
                 (t == DType::kInt16 ? 200.0f : 1.0f);
  s.add(op, a, {left, right}, {{ask.type, q}});
}

// ---- three axes of space
Verdict conv3d(const Node& n) {
  const auto& a = n.attrs<Conv3dAttrs>();
  const bool transposed = n.op.code == OpCode::kConv3dTranspose;
  const std::size_t first = transposed ? 2 : 0, bias_at = transposed ? 3 : 2;
  std::vector<double> bias;
  if (n.has(bias_at)) bias = grid_of(n.array(bias_at)).at;
  const Grid x = grid_of(n.array(first)), w = grid_of(n.array(1));
  Grid y;
  if (transposed) {
    const auto out = integers_of(n.array(0));
    y = conv_3d_transpose(x, w, bias, a, {out.begin(), out.end()});
  } else {
    y = conv_3d(x, w, bias, a);
  }
  Verdict v{{array_of(y, DType::kFloat32)}, kSums};
  v.scale = 16 * static_cast<double>(w.at.size());
  for (const double e : x.at)
    v.scale = std::max(v.scale, 4 * std::abs(e) * static_cast<double>(w.at.size()));
  return v;
}
void make_conv3d(Sketch& s, OpCode op, const Ask& ask) {
  const bool transposed = op == OpCode::kConv3dTranspose;
  Conv3dAttrs a;
  a.padding = static_cast<Padding>(s.draw.in(0, 1));
  a.stride_d = s.draw.in(1, 2), a.stride_h = s.draw.in(1, 2), a.stride_w = s.draw.in(1, 2);
  a.activation = s.draw.activation();
  const Shape in = {s.draw.in(1, 2), s.draw.in(2, 4), s.draw.in(2, 4), s.draw.in(2, 4),
                    s.draw.in(1, 3)};
  const std::int32_t k = s.draw.in(1, 2), out = s.draw.in(1, 4);
  const int x = s.shaped(ask.type, in);
  const int w = s.constant(
      s.random(ask.type, transposed ? Shape{k, k, k, out, in[4]} : Shape{k, k, k, in[4], out}));
  const int bias = s.constant(s.random(ask.type, {out}));
  if (!transposed) {
    s.add(op, a, {x, w, bias}, {{ask.type}});
    return;
  }
  const auto size = [&](std::int32_t n, std::int32_t stride) {
    return a.padding == Padding::kSame ? n * stride : (n - 1) * stride + k;
  };
  s.add(op, a,
        {s.numbers({in[0], size(in[1], a.stride_d), size(in[2], a.stride_h),
                    size(in[3], a.stride_w), out}),
         w, x, bias},
        {{ask.type}});
}

constexpr Judge kJudges[] = {
    {OpCode::kConv2d, product, make_window, true},
    {OpCode::kDepthwiseConv2d, product, make_window, true},
    {OpCode::kFullyConnected, product, make_fully_connected},
    {OpCode::kTransposeConv, product, make_transpose_conv},
    {OpCode::kBatchMatmul, batch_matmul, make_batch_matmul},
    {OpCode::kConv3d, conv3d, make_conv3d},
    {OpCode::kConv3dTranspose, conv3d, make_conv3d},
};

}  // namespace

std::span<const Judge> product_judges() { return kJudges; }

}  // namespace litegap::oracle
