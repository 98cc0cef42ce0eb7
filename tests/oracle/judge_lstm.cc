// The judge of LSTM, UNIDIRECTIONAL_SEQUENCE_LSTM and BIDIRECTIONAL_SEQUENCE_LSTM: float, hybrid,
// int8 with an int16 cell, and the old basic cell.  Gates in the order input, forget, cell, output.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "oracle/judge_recurrent.h"
#include "oracle/op_case.h"
#include "oracle/words.h"

namespace litegap::oracle {
namespace {

struct Places {
  std::size_t x = 0, w = 1, r = 5, peephole = 9, bias = 12, projection = 16, projection_bias = 17,
              h = 18, c = 19, norm = 20;
  std::size_t aux = 0, aux_w = 0;
  bool has_aux = false, normed = false, backward = false;
  // The cell gate has no peephole.
  std::size_t peephole_of(int gate) const {
    return peephole + static_cast<std::size_t>(gate == 3 ? 2 : gate);
  }
};

struct Options {
  Activation activation = Activation::kTanh;
  float cell_clip = 0, proj_clip = 0;
  bool major = true, symmetric = true;
};
Options options_of(const Node& n) {
  if (const auto* a = std::get_if<LstmAttrs>(&n.op.attrs))
    return {a->activation, a->cell_clip, a->proj_clip, true, !a->asymmetric_quantize_inputs};
  if (const auto* a = std::get_if<SequenceLstmAttrs>(&n.op.attrs))
    return {a->activation, a->cell_clip, a->proj_clip, a->time_major,
            !a->asymmetric_quantize_inputs};
  const auto& a = n.attrs<BidirectionalLstmAttrs>();
  return {a.activation, a.cell_clip, a.proj_clip, a.time_major, !a.asymmetric_quantize_inputs};
}

struct Sizes {
  std::size_t batch = 0, time = 1, input = 0, cell = 0, output = 0;
  bool major = true, cifg = false, projection = false, peephole = false;
  std::size_t row(std::size_t b, std::size_t t) const {
    return major ? t * batch + b : b * time + t;
  }
};
Sizes sizes_of(const Node& n, const Places& p, bool major) {
  Sizes s;
  const Shape& x = n.shape(p.x);
  const auto size = [](std::int32_t d) { return static_cast<std::size_t>(d); };
  s.major = major;
  s.batch = size(x.size() == 2 ? x[0] : x[major ? 1 : 0]);
  if (x.size() == 3) s.time = size(x[major ? 0 : 1]);
  s.input = size(x.back());
  s.cell = size(n.shape(p.w + 3)[0]);
  s.output = size(n.shape(p.r + 3)[1]);
  s.cifg = !n.has(p.w);
  s.projection = n.has(p.projection);
  s.peephole = n.has(p.peephole_of(3));
  return s;
}

// ---- float and hybrid
using Row = std::vector<float>;
float sigmoid(float v) { return static_cast<float>(1 / (1 + std::exp(-static_cast<double>(v)))); }
Row clipped(Row v, float limit) {
  for (float& e : v) e = limit > 0 ? std::clamp(e, -limit, limit) : e;
  return v;
}

Row gate(const Node& n, const Places& p, const Options& o, int g, const Row& x, const Row& aux,
         const Row& h, const Row& c) {
  const auto k = static_cast<std::size_t>(g);
  const std::size_t cells = c.size();
  Row v = p.normed ? Row(cells, 0.0f) : row_of(n.array(p.bias + k), 0, cells);
  const auto add = [&](const Row& more) {
    for (std::size_t i = 0; i < cells; ++i) v[i] += more[i];
  };
  add(products(n, p.w + k, x, o.symmetric));
  if (p.has_aux) add(products(n, p.aux_w + k, aux, o.symmetric));
  add(products(n, p.r + k, h, o.symmetric));
  if (n.has(p.peephole_of(3)) && g != 2) {
    const std::size_t at = p.peephole_of(g);
    const float scale = n.type(at) == DType::kInt8 ? n.in[at].quant.scale[0] : 1.0f;
    for (std::size_t i = 0; i < cells; ++i)
      v[i] += static_cast<float>(number(n.array(at), i)) * scale * c[i];
  }
  if (p.normed) {
    const auto count = static_cast<float>(cells);
    float sum = 0, squares = 0;
    for (const float e : v) sum += e;
    const float mean = sum / count;
    for (const float e : v) squares += (e - mean) * (e - mean);
    const float norm = 1.0f / std::sqrt(squares / count + 1e-8f);
    for (std::size_t i = 0; i < cells; ++i)
      v[i] = (v[i] - mean) * norm * static_cast<float>(number(n.array(p.norm + k), i)) +
             static_cast<float>(number(n.array(p.bias + k), i));
  }
  for (float& e : v) e = g == 2 ? active_float(e, o.activation) : sigmoid(e);
  return v;
}

// Rows of the output by row of the sequence.
std::vector<Row> run_float(const Node& n, const Places& p, const Options& o, const Sizes& s,
                           Array* h_after, Array* c_after) {
  std::vector<Row> y(s.batch * s.time);
  for (std::size_t b = 0; b < s.batch; ++b) {
    Row h = row_of(n.array(p.h), b, s.output), c = row_of(n.array(p.c), b, s.cell);
    for (std::size_t k = 0; k < s.time; ++k) {
      const std::size_t at = s.row(b, p.backward ? s.time - 1 - k : k);
      const Row x = row_of(n.array(p.x), at, s.input);
      const Row aux =
          p.has_aux ? row_of(n.array(p.aux), at, static_cast<std::size_t>(n.shape(p.aux).back()))
                    : Row{};
      const Row forget = gate(n, p, o, 1, x, aux, h, c), cell = gate(n, p, o, 2, x, aux, h, c);
      const Row in = s.cifg ? Row{} : gate(n, p, o, 0, x, aux, h, c);
      for (std::size_t i = 0; i < s.cell; ++i) {
        const float kept = c[i] * forget[i];
        c[i] = kept + cell[i] * (s.cifg ? 1.0f - forget[i] : in[i]);
      }
      c = clipped(c, o.cell_clip);
      Row out = gate(n, p, o, 3, x, aux, h, c);
      for (std::size_t i = 0; i < s.cell; ++i) out[i] *= active_float(c[i], o.activation);
      if (s.projection) {
        h = n.has(p.projection_bias) ? row_of(n.array(p.projection_bias), 0, s.output)
                                     : Row(s.output, 0.0f);
        const Row more = products(n, p.projection, out, o.symmetric);
        for (std::size_t i = 0; i < s.output; ++i) h[i] += more[i];
        h = clipped(h, o.proj_clip);
      } else {
        h = out;
      }
      y[at] = h;
    }
    for (std::size_t i = 0; i < s.output; ++i)
      put(*h_after, b * s.output + i, static_cast<double>(h[i]));
    for (std::size_t i = 0; i < s.cell; ++i)
      put(*c_after, b * s.cell + i, static_cast<double>(c[i]));
  }
  return y;
}

// ---- int8 with an int16 cell
std::int64_t cut(std::int64_t v) { return bound(DType::kInt16, v); }

class Codes8 {
 public:
  Codes8(const Node& n, const Places& p, const Options& o, const Sizes& s)
      : n_(n), p_(p), o_(o), s_(s) {
    k_ = std::ilogb(scale(p.c));
  }

  void step(const std::vector<std::int64_t>& x, std::vector<std::int64_t>* h,
            std::vector<std::int64_t>* c) const {
    const Word w{16};
    const auto forget = gate(1, x, *h, *c), z = gate(2, x, *h, *c);
    const auto in = s_.cifg ? forget : gate(0, x, *h, *c);
    std::vector<std::int64_t> input;
    for (std::size_t i = 0; i < s_.cell; ++i) {
      const std::int64_t f = w.logistic(forget[i]);
      input.push_back(s_.cifg ? 32767 - f : w.logistic(in[i]));
      const auto kept = static_cast<std::int16_t>(divide_away(f * (*c)[i], 15));
      const auto added =
          static_cast<std::int16_t>(divide_away(input[i] * w.tanh(z[i], 3), 30 + k_));
      (*c)[i] = cut(std::int64_t{kept} + added);
      if (o_.cell_clip > 0) {
        const auto limit =
            static_cast<std::int64_t>(std::min(o_.cell_clip / scale(p_.c), 32767.0f));
        (*c)[i] = std::clamp((*c)[i], -limit, limit);
      }
    }
    const auto out = gate(3, x, *h, *c);
    const float hidden = n_.intermediates[4].scale[0];
    const std::int64_t zero = n_.intermediates[4].zero_point[0];
    const double unit = std::ldexp(1.0, -15);
    const Factor to_hidden =
        factor(static_cast<double>(static_cast<float>(unit / static_cast<double>(hidden) * unit)));
    std::vector<std::int64_t> y;
    for (std::size_t i = 0; i < s_.cell; ++i) {
      const std::int64_t squashed = k_ >= -15 && k_ <= -9 ? w.tanh((*c)[i], 15 + k_) : input[i];
      const std::int64_t v = times_away(w.logistic(out[i]) * squashed, to_hidden);
      y.push_back(bound(DType::kInt8, s_.projection ? v - zero : v + zero));
    }
    *h = s_.projection ? projected(y, hidden, zero) : y;
  }

 private:
  float scale(std::size_t i) const { return n_.in[i].quant.scale[0]; }
  std::int64_t zero_of(std::size_t i) const { return n_.in[i].quant.zero_point[0]; }

  // Sum over a row of weights and values minus their zero point.
  std::int64_t dot(std::size_t weights, std::size_t row, const std::vector<std::int64_t>& v,
                   std::int64_t zero) const {
    std::int64_t sum = 0;
    for (std::size_t k = 0; k < v.size(); ++k)
      sum += integer(n_.array(weights), row * v.size() + k) * (v[k] - zero);
    return sum;
  }

  std::vector<std::int64_t> gate(int g, const std::vector<std::int64_t>& x,
                                 const std::vector<std::int64_t>& h,
                                 const std::vector<std::int64_t>& c) const {
    const auto k = static_cast<std::size_t>(g);
    const float unit = p_.normed ? n_.intermediates[k].scale[0] : std::ldexp(1.0f, -12);
    const Factor from_x = factor(static_cast<double>(scale(p_.w + k) * scale(p_.x) / unit)),
                 from_h = factor(static_cast<double>(scale(p_.r + k) * scale(p_.h) / unit));
    std::vector<std::int64_t> v;
    for (std::size_t i = 0; i < s_.cell; ++i) {
      const std::int64_t bias = p_.normed ? 0 : integer(n_.array(p_.bias + k), i);
      const std::int64_t first =
          cut(times_away(wrap(dot(p_.w + k, i, x, zero_of(p_.x)) + bias), from_x));
      v.push_back(cut(times_away(wrap(dot(p_.r + k, i, h, zero_of(p_.h))), from_h) + first));
    }
    if (s_.peephole && g != 2) {
      const std::size_t at = p_.peephole_of(g);
      const Factor f = factor(static_cast<double>(static_cast<float>(
          std::ldexp(1.0, k_) * static_cast<double>(scale(at)) / static_cast<double>(unit))));
      for (std::size_t i = 0; i < s_.cell; ++i)
        v[i] = cut(times_away(integer(n_.array(at), i) * c[i], f) + v[i]);
    }
    return p_.normed ? normalized(k, v) : v;
  }

  std::vector<std::int64_t> normalized(std::size_t k, std::vector<std::int64_t> v) const {
    const auto n = static_cast<std::int64_t>(v.size());
    std::int64_t sum = 0, squares = 0;
    for (const std::int64_t e : v) sum += e, squares += e * e;
    const std::int64_t mean = sum * 1024 / n;
    std::int64_t variance = wrap((squares * (1048576 / n) - mean * mean) / 1048576);
    const float s = scale(p_.norm + k);
    if (variance < 1) variance = std::max<std::int64_t>(1, static_cast<std::int64_t>(10000.0f * s));
    const Root root = inverse_root(variance);
    const Factor f = factor(static_cast<double>(s));
    for (std::size_t i = 0; i < v.size(); ++i) {
      const std::int64_t u = times_away(1024 * v[i] - mean, {root.m, -root.right});
      const std::int64_t w =
          wrap(u * integer(n_.array(p_.norm + k), i)) + integer(n_.array(p_.bias + k), i);
      const std::int64_t rounded = wrap((w > 0 ? w + 512 : w - 512) / 1024);
      v[i] = cut(times_away(rounded, {f.m, f.e + 12}));
    }
    return v;
  }

  std::vector<std::int64_t> projected(const std::vector<std::int64_t>& y, float hidden,
                                      std::int64_t zero) const {
    const Factor f = factor(static_cast<double>(scale(p_.projection) * hidden / scale(p_.h)));
    std::vector<std::int64_t> h;
    for (std::size_t i = 0; i < s_.output; ++i) {
      const std::int64_t bias =
          n_.has(p_.projection_bias) ? integer(n_.array(p_.projection_bias), i) : 0;
      std::int64_t v =
          bound(DType::kInt8,
                times_away(wrap(dot(p_.projection, i, y, -zero) + bias), f) + zero_of(p_.h));
      if (o_.proj_clip > 0) {
        const auto limit = static_cast<std::int64_t>(std::min(o_.proj_clip / scale(p_.h), 127.0f));
        v = std::clamp(v, -limit, limit);
      }
      h.push_back(v);
    }
    return h;
  }

  const Node& n_;
  const Places& p_;
  const Options& o_;
  const Sizes& s_;
  int k_ = 0;
};

std::vector<std::int64_t> integer_row(const Array& a, std::size_t row, std::size_t width) {
  std::vector<std::int64_t> v;
  for (std::size_t i = 0; i < width; ++i) v.push_back(integer(a, row * width + i));
  return v;
}

Verdict run_codes(const Node& n, const Places& p, const Options& o, const Sizes& s,
                  const Shape& out) {
  const Codes8 cell(n, p, o, s);
  Array y = Array::zeros(DType::kInt8, out), h_after = n.array(p.h).clone(),
        c_after = n.array(p.c).clone();
  for (std::size_t b = 0; b < s.batch; ++b) {
    auto h = integer_row(n.array(p.h), b, s.output), c = integer_row(n.array(p.c), b, s.cell);
    for (std::size_t t = 0; t < s.time; ++t) {
      cell.step(integer_row(n.array(p.x), s.row(b, t), s.input), &h, &c);
      for (std::size_t i = 0; i < s.output; ++i) put_integer(y, s.row(b, t) * s.output + i, h[i]);
    }
    for (std::size_t i = 0; i < s.output; ++i) put_integer(h_after, b * s.output + i, h[i]);
    for (std::size_t i = 0; i < s.cell; ++i) put_integer(c_after, b * s.cell + i, c[i]);
  }
  return {{y}, 0, "", {{p.h, h_after}, {p.c, c_after}}};
}

// ---- the basic cell: one matrix over [x, a], gates in the order input, new, forget, output
Verdict basic(const Node& n) {
  const auto batch = static_cast<std::size_t>(n.shape(0)[0]),
             inputs = static_cast<std::size_t>(n.shape(0)[1]),
             cell = static_cast<std::size_t>(n.shape(1)[1]);
  const bool real = n.type(0) == DType::kFloat32;
  const auto s32 = [](std::size_t v) { return static_cast<std::int32_t>(v); };
  Array a = Array::zeros(n.out_types[0], {s32(batch), s32(cell)}),
        state = Array::zeros(n.out_types[1], {s32(batch), s32(cell)});
  Array joined = Array::zeros(n.out_types[2], {s32(batch), s32(inputs + cell)}),
        gates = Array::zeros(n.out_types[3], {s32(batch), s32(4 * cell)});
  const Word w{16};
  for (std::size_t b = 0; b < batch; ++b) {
    const std::size_t wide = inputs + cell;
    for (std::size_t k = 0; k < wide; ++k) {
      const Array& from = n.array(k < inputs ? 0 : 1);
      const std::size_t at = k < inputs ? b * inputs + k : b * cell + k - inputs;
      real ? put(joined, b * wide + k, number(from, at))
           : put_integer(joined, b * wide + k, integer(from, at));
    }
    for (std::size_t g = 0; g < 4 * cell; ++g) {
      double sum = real ? number(n.array(3), g) : 0;
      std::int64_t whole = real ? 0 : integer(n.array(3), g);
      for (std::size_t k = 0; k < wide; ++k) {
        if (real)
          sum += number(n.array(2), g * wide + k) * number(joined, b * wide + k);
        else
          whole += (integer(joined, b * wide + k) - 128) *
                   (integer(n.array(2), g * wide + k) - n.in[2].quant.zero_point[0]);
      }
      if (real)
        put(gates, b * 4 * cell + g, sum);
      else
        put_integer(
            gates, b * 4 * cell + g,
            cut(times_up(wrap(whole), factor(4096 * static_cast<double>(n.in[3].quant.scale[0])))));
    }
    for (std::size_t i = 0; i < cell; ++i) {
      const std::size_t at = b * cell + i, g = b * 4 * cell + i;
      if (real) {
        const auto s = [](double v) { return 1 / (1 + std::exp(-v)); };
        const double c = s(number(gates, g)) * std::tanh(number(gates, g + cell)) +
                         s(number(gates, g + 2 * cell)) * number(n.array(4), at);
        put(state, at, c);
        put(a, at, s(number(gates, g + 3 * cell)) * std::tanh(c));
        continue;
      }
      const std::int64_t fresh =
          w.product(w.logistic(integer(gates, g)), w.tanh(integer(gates, g + cell), 3));
      const std::int64_t kept =
          w.product(w.logistic(integer(gates, g + 2 * cell)), integer(n.array(4), at));
      const std::int64_t c = cut(divide_away(fresh, 4) + kept);
      put_integer(state, at, c);
      put_integer(
          a, at,
          128 + bound(DType::kInt8,
                      divide_away(w.product(w.logistic(integer(gates, g + 3 * cell)), w.tanh(c, 4)),
                                  8)));
    }
  }
  Verdict v{{a, state, joined, gates}, real ? 4e-6 : 0};
  v.scale = real ? 4 : 0;
  return v;
}

Array joined_rows(const std::vector<Row>& rows, const std::vector<Row>* second, Shape shape) {
  std::vector<double> all;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    all.insert(all.end(), rows[i].begin(), rows[i].end());
    if (second != nullptr) all.insert(all.end(), (*second)[i].begin(), (*second)[i].end());
  }
  shape.back() =
      static_cast<std::int32_t>(rows[0].size() + (second != nullptr ? (*second)[0].size() : 0));
  return array_like(DType::kFloat32, shape, all);
}

Verdict lstm(const Node& n) {
  if (n.op.code == OpCode::kLstm && n.attrs<LstmAttrs>().kernel_type == 1) return basic(n);
  Places p;
  p.normed = n.has(21);
  const Options o = options_of(n);
  const Sizes s = sizes_of(n, p, o.major);
  Shape out = n.shape(0);
  out.back() = static_cast<std::int32_t>(s.output);
  if (n.type(0) == DType::kInt8) return run_codes(n, p, o, s, out);
  Array h = n.array(p.h).clone(), c = n.array(p.c).clone();
  const auto rows = run_float(n, p, o, s, &h, &c);
  // Cells that are nearly alike are normalized to numbers of size 1: so are their last bits.
  return {{joined_rows(rows, nullptr, out)},
          p.normed ? 50 * kRecurrent : kRecurrent,
          "",
          {{p.h, h}, {p.c, c}},
          1};
}

Places direction(std::size_t first, std::size_t h, std::size_t aux_w) {
  Places p;
  p.w = first, p.r = first + 4, p.peephole = first + 8, p.bias = first + 11;
  p.projection = first + 15, p.projection_bias = first + 16;
  p.h = h, p.c = h + 1;
  p.aux = 39, p.aux_w = aux_w;
  return p;
}
Verdict both(const Node& n) {
  Places front = direction(1, 35, 40), back = direction(18, 37, 44);
  back.backward = true;
  front.has_aux = back.has_aux = n.has(41);
  if (n.has(39) && !n.has(41)) back.x = 39;
  const Options o = options_of(n);
  const Sizes f = sizes_of(n, front, o.major), b = sizes_of(n, back, o.major);
  Array fh = n.array(35).clone(), fc = n.array(36).clone(), bh = n.array(37).clone(),
        bc = n.array(38).clone();
  const auto first = run_float(n, front, o, f, &fh, &fc),
             second = run_float(n, back, o, b, &bh, &bc);
  Verdict v{{}, kRecurrent, "", {{35, fh}, {36, fc}, {37, bh}, {38, bc}}, 1};
  if (n.attrs<BidirectionalLstmAttrs>().merge_outputs)
    v.outputs = {joined_rows(first, &second, n.shape(0))};
  else
    v.outputs = {joined_rows(first, nullptr, n.shape(0)), joined_rows(second, nullptr, n.shape(0))};
  return v;
}

// ---- cases
void make_basic(Sketch& s, OpCode op, const Ask& ask) {
  const std::int32_t batch = s.draw.in(1, 3), inputs = s.draw.in(1, 5), cell = s.draw.in(1, 5);
  const bool codes = ask.type == DType::kUint8;
  const DType t = ask.type, wide = codes ? DType::kInt16 : t;
  const Quant q = codes ? quant_of(1.0f / 128, 128) : Quant{};
  Array bias = s.random(codes ? DType::kInt32 : t, {4 * cell}),
        state = s.random(wide, {batch, cell});
  const float sw = 1.0f / 64;
  const int w = s.constant(s.random(t, {4 * cell, inputs + cell}),
                           codes ? quant_of(sw, s.draw.in(100, 150)) : Quant{});
  const LstmAttrs a{Activation::kTanh, 0, 0, 1, false};
  s.add(op, a,
        {s.input(s.random(t, {batch, inputs}), q), s.input(s.random(t, {batch, cell}), q), w,
         s.constant(bias, codes ? quant_of(sw / 128, 0) : Quant{}),
         s.input(state, codes ? quant_of(1.0f / 2048, 0) : Quant{})},
        {{t, q},
         {wide, codes ? quant_of(1.0f / 2048, 0) : Quant{}},
         {t, q},
         {wide, codes ? quant_of(1.0f / 4096, 0) : Quant{}}});
}

struct Shapes {
  std::int32_t batch, time, input, cell, output;
};

void add_float_direction(Sketch& s, bool hybrid, const Shapes& z, bool cifg, bool peephole,
                         bool projection, std::vector<int>* in) {
  const auto small = [&](Shape shape) { return small_weights(s, hybrid, shape); };
  for (int g = 0; g < 4; ++g) in->push_back(g == 0 && cifg ? -1 : small({z.cell, z.input}));
  for (int g = 0; g < 4; ++g) in->push_back(g == 0 && cifg ? -1 : small({z.cell, z.output}));
  for (int g = 0; g < 3; ++g)
    in->push_back(!peephole || (g == 0 && cifg)
                      ? -1
                      : small_weights(s, hybrid && s.draw.one_in(2), {z.cell}));
  for (int g = 0; g < 4; ++g)
    in->push_back(g == 0 && cifg ? -1 : s.constant(s.random(DType::kFloat32, {z.cell})));
  in->push_back(projection ? small({z.output, z.cell}) : -1);
  in->push_back(projection && s.draw.one_in(2) ? s.constant(s.random(DType::kFloat32, {z.output}))
                                               : -1);
}

int codes_constant(Sketch& s, DType t, const Shape& shape, float scale, int divisor) {
  Array a = s.random(t == DType::kInt32 ? DType::kInt16 : t, shape), b = Array::zeros(t, shape);
  for (std::size_t i = 0; i < a.elements(); ++i) put_integer(b, i, integer(a, i) / divisor);
  return s.constant(b, quant_of(scale, 0));
}

void add_code_operands(Sketch& s, const Shapes& z, bool cifg, bool peephole, bool projection,
                       bool normed, float sx, float sh, std::int64_t zh, std::vector<int>* in) {
  const auto skip = [&](int g) { return g == 0 && cifg; };
  for (int g = 0; g < 4; ++g)
    in->push_back(skip(g) ? -1
                          : codes_constant(s, DType::kInt8, {z.cell, z.input},
                                           s.draw.real(0.5f, 1.5f) / 127, 1));
  for (int g = 0; g < 4; ++g)
    in->push_back(skip(g) ? -1
                          : codes_constant(s, DType::kInt8, {z.cell, z.output},
                                           s.draw.real(0.5f, 1.5f) / 127, 1));
  for (int g = 0; g < 3; ++g)
    in->push_back(
        !peephole || skip(g) ? -1 : codes_constant(s, DType::kInt16, {z.cell}, 1.0f / 32768, 1));
  for (int g = 0; g < 4; ++g)
    in->push_back(skip(g) ? -1 : codes_constant(s, DType::kInt32, {z.cell}, sx / 127, 1));
  in->push_back(projection ? codes_constant(s, DType::kInt8, {z.output, z.cell}, 1.0f / 127, 1)
                           : -1);
  in->push_back(projection && s.draw.one_in(2)
                    ? codes_constant(s, DType::kInt32, {z.output}, sh / 127, 8)
                    : -1);
  in->push_back(s.variable(DType::kInt8, {z.batch, z.output}, quant_of(sh, zh)));
  in->push_back(s.variable(DType::kInt16, {z.batch, z.cell},
                           quant_of(std::ldexp(1.0f, -s.draw.in(9, 13)), 0)));
  for (int g = 0; g < 4 && normed; ++g)
    in->push_back(
        skip(g) ? -1 : codes_constant(s, DType::kInt16, {z.cell}, s.draw.real(0.5f, 2) / 32768, 1));
}

void make_lstm(Sketch& s, OpCode op, const Ask& ask) {
  if (op == OpCode::kLstm && (ask.type == DType::kUint8 ||
                              (ask.type == DType::kFloat32 && !ask.hybrid && s.draw.one_in(3))))
    return make_basic(s, op, ask);
  Shapes z{s.draw.in(1, 3), op == OpCode::kLstm ? 1 : s.draw.in(1, 3), s.draw.in(1, 6),
           s.draw.in(2, 6), 0};
  const bool cifg = s.draw.one_in(3), peephole = s.draw.one_in(3), projection = s.draw.one_in(3),
             normed = s.draw.one_in(3), major = s.draw.one_in(2);
  z.output = projection ? s.draw.in(1, z.cell) : z.cell;
  if (peephole && ask.type == DType::kInt8)
    z.output = z.cell;  // the runtime walks the output's width
  const Shape shape = op == OpCode::kLstm ? Shape{z.batch, z.input}
                      : major             ? Shape{z.time, z.batch, z.input}
                                          : Shape{z.batch, z.time, z.input};
  const float cell_clip = s.draw.one_in(3) ? s.draw.real(0.3f, 2) : 0.0f,
              proj_clip = projection && s.draw.one_in(3) ? s.draw.real(0.1f, 0.8f) : 0.0f;
  const bool asymmetric = s.draw.one_in(2);
  const Attrs attrs = op == OpCode::kLstm
                          ? Attrs{LstmAttrs{Activation::kTanh, cell_clip, proj_clip, 0, asymmetric}}
                          : Attrs{SequenceLstmAttrs{Activation::kTanh, cell_clip, proj_clip, major,
                                                    asymmetric, false}};
  std::vector<int> in;
  if (ask.type == DType::kInt8) {
    const float sx = s.draw.real(0.5f, 2) / 128, sh = s.draw.real(0.5f, 1.2f) / 128,
                hidden = projection ? s.draw.real(0.5f, 1.2f) / 128 : sh;
    const std::int64_t zh = s.draw.in(-20, 20), zero = projection ? s.draw.in(-20, 20) : zh;
    in.push_back(s.input(s.random(DType::kInt8, shape), quant_of(sx, s.draw.in(-20, 20))));
    add_code_operands(s, z, cifg, peephole, projection, normed, sx, sh, zh, &in);
    std::vector<Quant> between;
    for (int g = 0; g < 4; ++g)
      between.push_back(quant_of(normed ? s.draw.real(0.5f, 2) / 4096 : 1.0f, 0));
    between.push_back(quant_of(hidden, zero));
    s.add(op, attrs, in, {{DType::kInt8, quant_of(sh, zh)}}, between);
    return;
  }
  in.push_back(s.shaped(DType::kFloat32, shape));
  add_float_direction(s, ask.hybrid, z, cifg, peephole, projection, &in);
  in.push_back(s.variable(DType::kFloat32, {z.batch, z.output}));
  in.push_back(s.variable(DType::kFloat32, {z.batch, z.cell}));
  for (int g = 0; g < 4 && normed; ++g)
    in.push_back(g == 0 && cifg ? -1 : s.constant(s.random(DType::kFloat32, {z.cell})));
  s.add(op, attrs, in, {{DType::kFloat32}});
}

void make_both(Sketch& s, OpCode op, const Ask& ask) {
  Shapes z{s.draw.in(1, 2), s.draw.in(1, 3), s.draw.in(1, 5), 0, 0};
  const bool major = s.draw.one_in(2), merge = s.draw.one_in(2), aux = s.draw.one_in(2),
             weighted = aux && s.draw.one_in(2);
  const auto x_of = [&](std::int32_t width) {
    return s.shaped(DType::kFloat32,
                    major ? Shape{z.time, z.batch, width} : Shape{z.batch, z.time, width});
  };
  const std::int32_t wide = weighted ? s.draw.in(1, 4) : z.input;
  std::vector<int> in = {x_of(z.input)}, states, aux_weights;
  for (int d = 0; d < 2; ++d) {
    z.cell = s.draw.in(1, 5);
    const bool projection = s.draw.one_in(3), cifg = !weighted && s.draw.one_in(3);
    z.output = projection ? s.draw.in(1, z.cell) : z.cell;
    add_float_direction(s, ask.hybrid, z, cifg, s.draw.one_in(3), projection, &in);
    states.push_back(s.variable(DType::kFloat32, {z.batch, z.output}));
    states.push_back(s.variable(DType::kFloat32, {z.batch, z.cell}));
    for (int g = 0; g < 4; ++g)
      aux_weights.push_back(weighted ? small_weights(s, ask.hybrid, {z.cell, wide}) : -1);
  }
  in.insert(in.end(), states.begin(), states.end());
  in.push_back(aux ? x_of(wide) : -1);
  in.insert(in.end(), aux_weights.begin(), aux_weights.end());
  const BidirectionalLstmAttrs a{Activation::kTanh, 0, 0, merge, major, s.draw.one_in(2)};
  s.add(op, a, in, std::vector<Out>(merge ? 1 : 2, Out{DType::kFloat32}));
}

constexpr Judge kJudges[] = {
    {OpCode::kUnidirectionalSequenceLstm, lstm, make_lstm},
    {OpCode::kLstm, lstm, make_lstm, true},
    {OpCode::kBidirectionalSequenceLstm, both, make_both},
};

}  // namespace

std::span<const Judge> lstm_judges() { return kJudges; }

}  // namespace litegap::oracle
