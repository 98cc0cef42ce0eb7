// The judge of RNN, SVDF and their sequences (judge_lstm.cc has the LSTM): step by step, unit by
// unit.  Float weights are multiplied in double; a row that meets weights of codes is quantized by
// itself and its sums are scaled in float32, in the documented order, so that no code can tip over.
#include "oracle/judge_recurrent.h"

#include <algorithm>
#include <cmath>

#include "oracle/judge_numbers.h"
#include "oracle/op_case.h"

namespace litegap::oracle {

float active_float(float v, Activation a) {
  if (a == Activation::kTanh) return static_cast<float>(std::tanh(static_cast<double>(v)));
  if (a == Activation::kSignBit) return std::signbit(v) ? 1.0f : 0.0f;
  return static_cast<float>(clamped(static_cast<double>(v), a));
}

std::vector<float> products(const Node& n, std::size_t weights, const std::vector<float>& row,
                            bool symmetric) {
  const Array& w = n.array(weights);
  const auto units = static_cast<std::size_t>(w.shape()[0]), width = row.size();
  std::vector<float> sums;
  const bool codes = w.dtype() == DType::kInt8;
  const Coded c = codes ? code_row(row.data(), width, false, symmetric) : Coded{};
  for (std::size_t u = 0; u < units; ++u) {
    double real = 0;
    std::int64_t sum = 0;
    for (std::size_t k = 0; k < width; ++k) {
      if (codes)
        sum += integer(w, u * width + k) * c.codes[k];
      else
        real += number(w, u * width + k) * static_cast<double>(row[k]);
    }
    const float scale = codes ? n.in[weights].quant.scale[0] * c.scale : 1.0f;
    sums.push_back(codes ? static_cast<float>(sum) * scale : static_cast<float>(real));
  }
  return sums;
}

std::vector<float> row_of(const Array& a, std::size_t row, std::size_t width) {
  const auto all = a.span<float>();
  return {all.begin() + static_cast<std::ptrdiff_t>(row * width),
          all.begin() + static_cast<std::ptrdiff_t>((row + 1) * width)};
}

namespace {

struct Direction {
  std::size_t x = 0, w = 1, r = 2, bias = 3, state = 4, aux = 0, aux_w = 0;
  bool has_aux = false, backward = false;
};

struct Sequence {
  std::size_t batch = 0, time = 1;
  bool major = true;
  Sequence(const Shape& x, bool time_major) : major(time_major) {
    batch = static_cast<std::size_t>(x.size() == 2 ? x[0] : x[time_major ? 1 : 0]);
    if (x.size() == 3) time = static_cast<std::size_t>(x[time_major ? 0 : 1]);
  }
  std::size_t row(std::size_t b, std::size_t t) const {
    return major ? t * batch + b : b * time + t;
  }
};

// The states after each step, by row of the sequence; `last` are those that stay.
std::vector<std::vector<float>> run_rnn(const Node& n, const Direction& d, Activation f,
                                        bool symmetric, const Sequence& s, std::size_t passes,
                                        Array* last) {
  const auto units = static_cast<std::size_t>(n.shape(d.w)[0]),
             width = static_cast<std::size_t>(n.shape(d.w)[1]);
  std::vector<std::vector<float>> y(s.batch * s.time);
  for (std::size_t b = 0; b < s.batch; ++b) {
    std::vector<float> h = row_of(n.array(d.state), b, units);
    for (std::size_t pass = 0; pass < passes; ++pass) {
      for (std::size_t k = 0; k < s.time; ++k) {
        const std::size_t at = s.row(b, d.backward ? s.time - 1 - k : k);
        std::vector<float> next = row_of(n.array(d.bias), 0, units);
        const auto add = [&](const std::vector<float>& p) {
          for (std::size_t u = 0; u < units; ++u) next[u] += p[u];
        };
        add(products(n, d.w, row_of(n.array(d.x), at, width), symmetric));
        if (d.has_aux)
          add(products(n, d.aux_w,
                       row_of(n.array(d.aux), at, static_cast<std::size_t>(n.shape(d.aux_w)[1])),
                       symmetric));
        add(products(n, d.r, h, symmetric));
        for (float& v : next) v = active_float(v, f);
        h = next;
        y[at] = h;
      }
    }
    for (std::size_t u = 0; u < units; ++u) put(*last, b * units + u, static_cast<double>(h[u]));
  }
  return y;
}

bool hybrid(const Node& n) { return n.type(1) == DType::kInt8; }

Verdict rnn(const Node& n) {
  bool major = true, asymmetric = false;
  Activation f = Activation::kNone;
  if (n.op.code == OpCode::kRnn) {
    f = n.attrs<RnnAttrs>().activation;
    asymmetric = n.attrs<RnnAttrs>().asymmetric_quantize_inputs;
  } else {
    const auto& a = n.attrs<SequenceRnnAttrs>();
    f = a.activation, major = a.time_major, asymmetric = a.asymmetric_quantize_inputs;
  }
  const Sequence s(n.shape(0), major);
  Array state = n.array(4).clone();
  const auto rows = run_rnn(n, {}, f, !asymmetric, s, 1, &state);
  Shape out = n.shape(0);
  out.back() = n.shape(1)[0];
  Array y = Array::zeros(DType::kFloat32, out);
  std::size_t i = 0;
  for (const auto& row : rows) {
    for (const float v : row) put(y, i++, static_cast<double>(v));
  }
  return {{y}, kRecurrent, "", {{4, state}}, 1};
}

Verdict both_rnn(const Node& n) {
  const auto& a = n.attrs<SequenceRnnAttrs>();
  const Sequence s(n.shape(0), a.time_major);
  Direction front, back{0, 5, 6, 7, 8};
  back.backward = true;
  const bool weighted = n.has(10);
  if (n.has(9) && !weighted) back.x = 9;
  front.has_aux = back.has_aux = weighted;
  front.aux = back.aux = 9;
  front.aux_w = 10, back.aux_w = 11;
  const std::size_t passes = hybrid(n) && a.time_major ? s.time : 1;
  Array front_state = n.array(4).clone(), back_state = n.array(8).clone();
  const bool symmetric = !a.asymmetric_quantize_inputs;
  const auto f = run_rnn(n, front, a.activation, symmetric, s, passes, &front_state);
  const auto b = run_rnn(n, back, a.activation, symmetric, s, passes, &back_state);
  Verdict v{{}, kRecurrent, "", {{4, front_state}, {8, back_state}}, 1};
  Shape out = n.shape(0);
  const auto emit = [&](const std::vector<std::vector<float>>& first,
                        const std::vector<std::vector<float>>* second) {
    out.back() =
        static_cast<std::int32_t>(first[0].size() + (second != nullptr ? (*second)[0].size() : 0));
    std::vector<double> all;
    for (std::size_t i = 0; i < first.size(); ++i) {
      all.insert(all.end(), first[i].begin(), first[i].end());
      if (second != nullptr) all.insert(all.end(), (*second)[i].begin(), (*second)[i].end());
    }
    v.outputs.push_back(array_like(DType::kFloat32, out, all));
  };
  if (a.merge_outputs) {
    emit(f, &b);
  } else {
    emit(f, nullptr);
    emit(b, nullptr);
  }
  return v;
}

// ---- SVDF: every filter remembers its last products with the input
Verdict svdf_codes(const Node& n) {
  const Codes x = n.codes(0);
  const auto filters = static_cast<std::size_t>(n.shape(1)[0]),
             width = static_cast<std::size_t>(n.shape(1)[1]),
             memory = static_cast<std::size_t>(n.shape(2)[1]),
             batch = static_cast<std::size_t>(x.shape[0]);
  const auto rank = static_cast<std::size_t>(n.attrs<SvdfAttrs>().rank), units = filters / rank;
  const auto scale = [&](std::size_t i) { return n.in[i].quant.scale[0]; };
  Codes y = n.result({x.shape[0], static_cast<std::int32_t>(units)});
  const Factor first = factor(static_cast<double>(x.scale * scale(1) / scale(4))),
               second = factor(static_cast<double>(scale(4) * scale(2) / y.scale));
  Array state = n.array(4).clone();
  for (std::size_t b = 0; b < batch; ++b) {
    std::vector<std::int64_t> part(units, 0);
    for (std::size_t f = 0; f < filters; ++f) {
      std::int64_t newest = 0;
      for (std::size_t k = 0; k < width; ++k)
        newest += (x.at[b * width + k] - x.zero) * integer(n.array(1), f * width + k);
      std::vector<std::int64_t> kept;  // oldest first
      for (std::size_t t = 1; t < memory; ++t)
        kept.push_back(integer(n.array(4), (b * filters + f) * memory + t));
      kept.push_back(bound(DType::kInt16, times_away(newest, first)));
      for (std::size_t t = 0; t < memory; ++t) {
        put_integer(state, (b * filters + f) * memory + t, kept[t]);
        part[f / rank] += kept[t] * integer(n.array(2), f * memory + t);
      }
    }
    for (std::size_t u = 0; u < units; ++u) {
      const std::int64_t sum = wrap(part[u] + (n.has(3) ? integer(n.array(3), u) : 0));
      y.at.push_back(bound(DType::kInt8, wrap(times_away(sum, second) + y.zero)));
    }
  }
  return {{y.array()}, 0, "", {{4, state}}};
}

Verdict svdf(const Node& n) {
  if (n.type(0) == DType::kInt8) return svdf_codes(n);
  const auto& a = n.attrs<SvdfAttrs>();
  const auto filters = static_cast<std::size_t>(n.shape(1)[0]),
             width = static_cast<std::size_t>(n.shape(1)[1]),
             memory = static_cast<std::size_t>(n.shape(2)[1]),
             batch = static_cast<std::size_t>(n.shape(0)[0]);
  const auto rank = static_cast<std::size_t>(a.rank), units = filters / rank;
  const double scale = hybrid(n) ? static_cast<double>(n.in[2].quant.scale[0]) : 1;
  Array state = n.array(4).clone(),
        y = Array::zeros(DType::kFloat32, {n.shape(0)[0], static_cast<std::int32_t>(units)});
  double peak = 1;
  for (std::size_t b = 0; b < batch; ++b) {
    const auto newest = products(n, 1, row_of(n.array(0), b, width), !a.asymmetric_quantize_inputs);
    for (std::size_t u = 0; u < units; ++u) {
      double sum = n.has(3) ? number(n.array(3), u) : 0;
      for (std::size_t f = u * rank; f < (u + 1) * rank; ++f) {
        for (std::size_t t = 0; t < memory; ++t) {
          const std::size_t at = (b * filters + f) * memory + t;
          const double v =
              t + 1 < memory ? number(n.array(4), at + 1) : static_cast<double>(newest[f]);
          put(state, at, v);
          sum += v * number(n.array(2), f * memory + t) * scale;
          peak = std::max(peak, std::abs(sum));
        }
      }
      put(y, b * units + u,
          static_cast<double>(active_float(static_cast<float>(sum), a.activation)));
    }
  }
  return {{y}, kRecurrent, "", {{4, state}}, peak};
}

// ---- cases
void make_rnn(Sketch& s, OpCode op, const Ask& ask) {
  const bool both = op == OpCode::kBidirectionalSequenceRnn, one = op == OpCode::kRnn;
  const std::int32_t batch = s.draw.in(1, 3), time = s.draw.in(1, 3), inputs = s.draw.in(1, 9);
  SequenceRnnAttrs a;
  a.time_major = s.draw.one_in(2);
  a.activation = static_cast<Activation>(s.draw.in(0, 4));
  a.asymmetric_quantize_inputs = s.draw.one_in(2);
  a.merge_outputs = both && s.draw.one_in(2);
  const auto x_of = [&](std::int32_t width) {
    return s.shaped(DType::kFloat32, one            ? Shape{batch, width}
                                     : a.time_major ? Shape{time, batch, width}
                                                    : Shape{batch, time, width});
  };
  std::vector<int> in = {x_of(inputs)};
  std::int32_t first_units = 0;
  for (int d = 0; d < (both ? 2 : 1); ++d) {
    const std::int32_t units = s.draw.in(1, 7);
    if (d == 0) first_units = units;
    in.push_back(small_weights(s, ask.hybrid, {units, inputs}));
    in.push_back(small_weights(s, ask.hybrid, {units, units}));
    in.push_back(s.constant(s.random(DType::kFloat32, {units})));
    in.push_back(s.variable(DType::kFloat32, {batch, units}));
  }
  if (both) {
    const bool aux = s.draw.one_in(2), weighted = aux && s.draw.one_in(2);
    const std::int32_t second_units = s.shape(in[5])[0], wide = weighted ? s.draw.in(1, 5) : inputs;
    in.push_back(aux ? x_of(wide) : -1);
    in.push_back(weighted ? small_weights(s, ask.hybrid, {first_units, wide}) : -1);
    in.push_back(weighted ? small_weights(s, ask.hybrid, {second_units, wide}) : -1);
  }
  std::vector<Out> out(both && !a.merge_outputs ? 2 : 1, Out{DType::kFloat32});
  s.add(op, one ? Attrs{RnnAttrs{a.activation, a.asymmetric_quantize_inputs}} : Attrs{a}, in, out);
}

void make_svdf(Sketch& s, OpCode op, const Ask& ask) {
  const std::int32_t batch = s.draw.in(1, 3), inputs = s.draw.in(1, 6), rank = s.draw.in(1, 3),
                     units = s.draw.in(1, 4), memory = s.draw.in(1, 5), filters = rank * units;
  const bool codes = ask.type == DType::kInt8;
  SvdfAttrs a{rank, codes ? Activation::kRelu : static_cast<Activation>(s.draw.in(0, 3)),
              s.draw.one_in(2)};
  const int x = s.shaped(ask.type, {batch, inputs});
  const bool biased = s.draw.one_in(2);
  if (!codes) {
    const int bias = biased ? s.constant(s.random(DType::kFloat32, {units})) : -1;
    s.add(op, a,
          {x, small_weights(s, ask.hybrid, {filters, inputs}),
           small_weights(s, ask.hybrid, {filters, memory}), bias,
           s.variable(DType::kFloat32, {batch, memory * filters})},
          {{DType::kFloat32}});
    return;
  }
  const float sx = s.at(x).quant.scale[0];
  Array bias = Array::zeros(DType::kInt32, {units}),
        time = s.random(DType::kInt16, {filters, memory});
  for (std::size_t i = 0; i < bias.elements(); ++i)
    put_integer(bias, i, s.draw.in(-100000, 100000));
  for (std::size_t i = 0; i < time.elements(); ++i) put_integer(time, i, integer(time, i) / 4);
  const float state = sx * 0.01f * s.draw.real(0.5f, 20),
              y = state * 1e-4f * s.draw.real(5e4f, 1e7f);
  s.add(op, a,
        {x, s.constant(s.random(DType::kInt8, {filters, inputs}), quant_of(0.01f, 0)),
         s.constant(time, quant_of(1e-4f, 0)), biased ? s.constant(bias) : -1,
         s.variable(DType::kInt16, {batch, memory * filters}, quant_of(state, 0))},
        {{DType::kInt8, quant_of(y, s.draw.in(-20, 20))}});
}

}  // namespace

int small_weights(Sketch& s, bool hybrid, const Shape& shape) {
  if (hybrid) {
    Array w = s.random(DType::kInt8, shape);
    for (std::size_t i = 0; i < w.elements(); ++i)
      put_integer(w, i, std::max<std::int64_t>(integer(w, i), -127));
    return s.constant(w, quant_of(0.5f / 127 * s.draw.real(0.5f, 1.5f), 0));
  }
  Array w = s.random(DType::kFloat32, shape);
  for (std::size_t i = 0; i < w.elements(); ++i) put(w, i, number(w, i) / 8);
  return s.constant(w);
}

std::span<const Judge> recurrent_judges() {
  static const std::vector<Judge> all = [] {
    std::vector<Judge> list = {{OpCode::kRnn, rnn, make_rnn, true},
                               {OpCode::kUnidirectionalSequenceRnn, rnn, make_rnn},
                               {OpCode::kBidirectionalSequenceRnn, both_rnn, make_rnn},
                               {OpCode::kSvdf, svdf, make_svdf, true}};
    const auto more = lstm_judges();
    list.insert(list.end(), more.begin(), more.end());
    return list;
  }();
  return all;
}

}  // namespace litegap::oracle
