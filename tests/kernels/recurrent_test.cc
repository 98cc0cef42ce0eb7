// RNN and its sequences, SVDF, LSTM in its other forms: against the textbook in double, and against
// each other.
#include <cmath>
#include <cstring>

#include "grid_run.h"

namespace litegap::oracle {
namespace {

struct RnnNet {
  Grid w, r, b;
};
RnnNet random_net(Draw& draw, std::int32_t units, std::int32_t inputs) {
  const auto small = [&](Shape s) {
    return make_grid(std::move(s), [&](const Shape&) {
      return held(static_cast<double>(draw.real(-0.5f, 0.5f)), DType::kFloat32);
    });
  };
  return {small({units, inputs}), small({units, units}), small({units})};
}

double active(double v, Activation a) {
  if (a == Activation::kRelu) return std::max(v, 0.0);
  if (a == Activation::kReluN1To1) return std::clamp(v, -1.0, 1.0);
  if (a == Activation::kRelu6) return std::clamp(v, 0.0, 6.0);
  return a == Activation::kTanh ? std::tanh(v) : v;
}

// The states after each step, [batch, time, units]; `x` is [batch, time, input].
Grid rnn(const RnnNet& n, const Grid& x, Activation a, bool backward) {
  const std::int32_t batch = x.shape[0], time = x.shape[1], units = n.w.shape[0];
  Grid y{{batch, time, units}, std::vector<double>(shape_elements({batch, time, units}))};
  for (std::int32_t b = 0; b < batch; ++b) {
    std::vector<double> h(static_cast<std::size_t>(units), 0.0);
    for (std::int32_t k = 0; k < time; ++k) {
      const std::int32_t t = backward ? time - 1 - k : k;
      std::vector<double> next;
      for (std::int32_t u = 0; u < units; ++u) {
        double sum = n.b({u});
        for (std::int32_t i = 0; i < x.shape[2]; ++i) sum += n.w({u, i}) * x({b, t, i});
        for (std::int32_t i = 0; i < units; ++i)
          sum += n.r({u, i}) * h[static_cast<std::size_t>(i)];
        next.push_back(active(sum, a));
      }
      h = next;
      for (std::int32_t u = 0; u < units; ++u)
        y.at[flat(y.shape, {b, t, u})] = h[static_cast<std::size_t>(u)];
    }
  }
  return y;
}

Grid swapped(const Grid& x) {  // the first two axes
  return make_grid({x.shape[1], x.shape[0], x.shape[2]}, [&](const Shape& at) {
    return x({at[1], at[0], at[2]});
  });
}
Array floats(const Grid& g) { return array_of(g, DType::kFloat32); }
Array zeros(std::int32_t rows, std::int32_t width) {
  return Array::zeros(DType::kFloat32, {rows, width});
}

TEST(Recurrent, RnnIsTheTextbook) {
  for (int seed = 0; seed < rounds(80); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const std::int32_t batch = draw.in(1, 3), time = draw.in(1, 4), inputs = draw.in(1, 9),
                       units = draw.in(1, 7);
    const RnnNet n = random_net(draw, units, inputs);
    const Activation a = static_cast<Activation>(draw.in(0, 4));
    const Grid x = random_grid(draw, {batch, time, inputs}, DType::kFloat32),
               want = rnn(n, x, a, false);
    const bool major = draw.one_in(2);
    OpCase c(OpCode::kUnidirectionalSequenceRnn, SequenceRnnAttrs{major, a, false, false});
    c.add(floats(major ? swapped(x) : x)).constant(floats(n.w)).constant(floats(n.r));
    c.constant(floats(n.b)).variable(zeros(batch, units));
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(c.run(draw.dialect())[0], major ? swapped(want) : want, 1e-5))
        << seed;
  }
}

TEST(Recurrent, StepsOfRnnAreTheSequence) {
  for (int seed = 0; seed < rounds(40); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const std::int32_t batch = draw.in(1, 3), time = 3, inputs = 5, units = 4;
    const RnnNet n = random_net(draw, units, inputs);
    const Grid x = random_grid(draw, {batch, time, inputs}, DType::kFloat32),
               want = rnn(n, x, Activation::kTanh, false);
    Array state = zeros(batch, units);
    for (std::int32_t t = 0; t < time; ++t) {
      const Grid row = make_grid({batch, inputs}, [&](const Shape& at) {
        return x({at[0], t, at[1]});
      });
      OpCase c(OpCode::kRnn, RnnAttrs{Activation::kTanh, false});
      c.add(floats(row)).constant(floats(n.w)).constant(floats(n.r)).constant(floats(n.b));
      c.variable(state);
      const Grid y = make_grid({batch, units}, [&](const Shape& at) {
        return want({at[0], t, at[1]});
      });
      ASSERT_NO_FATAL_FAILURE(expect_grid(c.run(Dialect::kBuiltin)[0], y, 1e-5)) << seed;
      state = c.value(4);
    }
  }
}

// int8 weights: within the error of one code of every operand.
TEST(Recurrent, HybridRnnIsNearTheTextbook) {
  for (int seed = 0; seed < rounds(60); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const std::int32_t batch = draw.in(1, 3), inputs = draw.in(4, 9), units = draw.in(2, 7);
    RnnNet n = random_net(draw, units, inputs);
    const double scale = 0.5 / 127;
    const auto codes = [&](Grid& g) {
      Grid q = g;
      for (std::size_t i = 0; i < g.at.size(); ++i) {
        q.at[i] = std::round(g.at[i] / scale);
        g.at[i] = q.at[i] * scale;
      }
      return array_of(q, DType::kInt8);
    };
    const Array w = codes(n.w), r = codes(n.r);
    const Quant q = quant_of(static_cast<float>(scale), 0);
    const Grid x = random_grid(draw, {batch, 3, inputs}, DType::kFloat32),
               want = rnn(n, x, Activation::kTanh, false);
    for (const bool asymmetric : {false, true}) {
      OpCase c(OpCode::kUnidirectionalSequenceRnn,
               SequenceRnnAttrs{false, Activation::kTanh, false, asymmetric});
      c.add(floats(x)).constant(w, q).constant(r, q).constant(floats(n.b));
      c.variable(zeros(batch, units));
      ASSERT_NO_FATAL_FAILURE(expect_grid(c.run(draw.dialect())[0], want, 0.05)) << seed;
    }
  }
}

TEST(Recurrent, BidirectionalRnnIsTwo) {
  for (int seed = 0; seed < rounds(60); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const std::int32_t batch = draw.in(1, 2), time = draw.in(1, 4), inputs = draw.in(1, 5);
    const RnnNet f = random_net(draw, draw.in(1, 5), inputs),
                 b = random_net(draw, draw.in(1, 5), inputs);
    const Grid x = random_grid(draw, {batch, time, inputs}, DType::kFloat32);
    const Grid front = rnn(f, x, Activation::kRelu, false),
               back = rnn(b, x, Activation::kRelu, true);
    const bool merge = draw.one_in(2);
    OpCase c(OpCode::kBidirectionalSequenceRnn,
             SequenceRnnAttrs{false, Activation::kRelu, merge, false}, merge ? 1 : 2);
    c.add(floats(x));
    for (const RnnNet* n : {&f, &b}) {
      c.constant(floats(n->w)).constant(floats(n->r)).constant(floats(n->b));
      c.variable(zeros(batch, n->w.shape[0]));
    }
    c.absent().absent().absent();
    const auto y = c.run(draw.dialect());
    const std::int32_t units = f.w.shape[0];
    if (merge) {
      const Grid both = make_grid({batch, time, units + b.w.shape[0]}, [&](const Shape& at) {
        return at[2] < units ? front(at) : back({at[0], at[1], at[2] - units});
      });
      ASSERT_NO_FATAL_FAILURE(expect_grid(y[0], both, 1e-5)) << seed;
    } else {
      ASSERT_NO_FATAL_FAILURE(expect_grid(y[0], front, 1e-5)) << seed;
      ASSERT_NO_FATAL_FAILURE(expect_grid(y[1], back, 1e-5)) << seed;
    }
  }
}

// y = act(bias + sum over filters and age of weight * (feature . x at that age)).
TEST(Recurrent, SvdfIsASumOverTheMemory) {
  for (int seed = 0; seed < rounds(60); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const std::int32_t batch = draw.in(1, 3), inputs = draw.in(1, 6), rank = draw.in(1, 3),
                       units = draw.in(1, 4), memory = draw.in(1, 5), filters = rank * units;
    const Grid feature = random_grid(draw, {filters, inputs}, DType::kFloat32),
               weights = random_grid(draw, {filters, memory}, DType::kFloat32),
               bias = random_grid(draw, {units}, DType::kFloat32);
    const Grid x = random_grid(draw, {7, batch, inputs}, DType::kFloat32);
    Array state = zeros(batch, memory * filters);
    for (std::int32_t t = 0; t < 7; ++t) {
      OpCase c(OpCode::kSvdf, SvdfAttrs{rank, Activation::kRelu, false});
      c.add(floats(make_grid({batch, inputs}, [&](const Shape& at) {
        return x({t, at[0], at[1]});
      })));
      c.constant(floats(feature)).constant(floats(weights)).constant(floats(bias)).variable(state);
      const Grid want = make_grid({batch, units}, [&](const Shape& at) {
        double sum = bias({at[1]});
        for (std::int32_t f = at[1] * rank; f < (at[1] + 1) * rank; ++f) {
          for (std::int32_t age = 0; age < memory && age <= t; ++age) {
            double product = 0;
            for (std::int32_t i = 0; i < inputs; ++i)
              product += feature({f, i}) * x({t - age, at[0], i});
            sum += weights({f, memory - 1 - age}) * product;
          }
        }
        return std::max(sum, 0.0);
      });
      ASSERT_NO_FATAL_FAILURE(expect_grid(c.run(Dialect::kReference)[0], want, 1e-5)) << seed;
      state = c.value(4);
    }
  }
}

// A merged product of codes against numbers of 128 bits that are scaled by rational arithmetic is
// beyond a judge; that it is near the real product is not.
TEST(Recurrent, SvdfOfCodesIsNearTheReal) {
  for (int seed = 0; seed < rounds(60); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const std::int32_t batch = draw.in(1, 2), inputs = draw.in(1, 5), memory = draw.in(1, 4),
                       filters = 3;
    const Grid x = random_indices(draw, {batch, inputs}, -100, 100),
               feature = random_indices(draw, {filters, inputs}, -100, 100),
               weights = random_indices(draw, {filters, memory}, -9000, 9000);
    OpCase c(OpCode::kSvdf, SvdfAttrs{1, Activation::kRelu, false});
    c.add(array_of(x, DType::kInt8), quant_of(0.02f, 3));
    c.constant(array_of(feature, DType::kInt8), quant_of(0.01f, 0));
    c.constant(array_of(weights, DType::kInt16), quant_of(1e-4f, 0));
    c.constant(array_of(Grid{{filters}, {0, 0, 0}}, DType::kInt32));
    c.variable(Array::zeros(DType::kInt16, {batch, memory * filters}), quant_of(1e-3f, 0));
    c.output(DType::kInt8, quant_of(0.1f, -5));
    const Grid y = grid_of(c.run(Dialect::kBuiltin)[0]);
    for (std::int32_t b = 0; b < batch; ++b) {
      for (std::int32_t f = 0; f < filters; ++f) {
        double sum = 0;
        for (std::int32_t i = 0; i < inputs; ++i)
          sum += 0.02 * (x({b, i}) - 3) * 0.01 * feature({f, i});
        sum = std::clamp(sum / 1e-3, -32768.0, 32767.0) * 1e-3 * 1e-4 * weights({f, memory - 1});
        ASSERT_NEAR(y({b, f}), std::clamp(sum / 0.1 - 5, -128.0, 127.0), 0.51 + 0.02) << seed;
      }
    }
  }
}

// The basic cell is the full one with its matrices joined.
TEST(Recurrent, BasicLstmIsTheTextbook) {
  for (int seed = 0; seed < rounds(40); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const std::int32_t batch = draw.in(1, 3), inputs = draw.in(1, 5), cell = draw.in(1, 5);
    const Grid x = random_grid(draw, {batch, inputs}, DType::kFloat32),
               a = random_grid(draw, {batch, cell}, DType::kFloat32),
               w = random_grid(draw, {4 * cell, inputs + cell}, DType::kFloat32),
               bias = random_grid(draw, {4 * cell}, DType::kFloat32),
               state = random_grid(draw, {batch, cell}, DType::kFloat32);
    OpCase c(OpCode::kLstm, LstmAttrs{Activation::kTanh, 0, 0, 1, false}, 4);
    c.add(floats(x)).add(floats(a)).constant(floats(w)).constant(floats(bias)).add(floats(state));
    const auto y = c.run(draw.dialect());
    const auto sum = [&](std::int32_t b, std::int32_t g) {
      double s = bias({g});
      for (std::int32_t i = 0; i < inputs; ++i) s += w({g, i}) * x({b, i});
      for (std::int32_t i = 0; i < cell; ++i) s += w({g, inputs + i}) * a({b, i});
      return s;
    };
    const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
    const Grid next = make_grid({batch, cell}, [&](const Shape& at) {
      return sigmoid(sum(at[0], at[1])) * std::tanh(sum(at[0], cell + at[1])) +
             sigmoid(sum(at[0], 2 * cell + at[1])) * state(at);
    });
    ASSERT_NO_FATAL_FAILURE(expect_grid(y[1], next, 1e-5)) << seed;
    ASSERT_NO_FATAL_FAILURE(expect_grid(y[0],
                                        make_grid({batch, cell},
                                                  [&](const Shape& at) {
                                                    return sigmoid(sum(at[0], 3 * cell + at[1])) *
                                                           std::tanh(next(at));
                                                  }),
                                        1e-5))
        << seed;
  }
}

struct LstmNet {
  std::int32_t inputs, cell;
  std::vector<Grid> w, r, b;
};
LstmNet random_lstm(Draw& draw, std::int32_t inputs, std::int32_t cell) {
  LstmNet n{inputs, cell, {}, {}, {}};
  for (int g = 0; g < 4; ++g) {
    n.w.push_back(random_grid(draw, {cell, inputs}, DType::kFloat32));
    n.r.push_back(random_grid(draw, {cell, cell}, DType::kFloat32));
    n.b.push_back(random_grid(draw, {cell}, DType::kFloat32));
  }
  return n;
}
void add_direction(OpCase& c, const LstmNet& n, bool projection_places) {
  for (const Grid& g : n.w) c.constant(floats(g));
  for (const Grid& g : n.r) c.constant(floats(g));
  c.absent().absent().absent();
  for (const Grid& g : n.b) c.constant(floats(g));
  if (projection_places) c.absent().absent();
}
Array run_sequence(const LstmNet& n, const Grid& x) {
  OpCase c(OpCode::kUnidirectionalSequenceLstm,
           SequenceLstmAttrs{Activation::kTanh, 0, 0, false, false, false});
  c.add(floats(x));
  add_direction(c, n, true);
  c.variable(zeros(x.shape[0], n.cell)).variable(zeros(x.shape[0], n.cell));
  return c.run(Dialect::kBuiltin)[0];
}
Grid backwards(const Grid& x) {
  return make_grid(x.shape, [&](const Shape& at) {
    return x({at[0], x.shape[1] - 1 - at[1], at[2]});
  });
}

// Each direction is the sequence operator, the backward one on the input turned round.
TEST(Recurrent, BidirectionalLstmIsTwo) {
  for (int seed = 0; seed < rounds(40); ++seed) {
    Draw draw(static_cast<unsigned>(seed));
    const std::int32_t batch = draw.in(1, 3), inputs = draw.in(1, 5);
    const LstmNet f = random_lstm(draw, inputs, draw.in(1, 5)),
                  b = random_lstm(draw, inputs, draw.in(1, 5));
    const Grid x = random_grid(draw, {batch, draw.in(1, 4), inputs}, DType::kFloat32);
    OpCase c(OpCode::kBidirectionalSequenceLstm,
             BidirectionalLstmAttrs{Activation::kTanh, 0, 0, false, false, false}, 2);
    c.add(floats(x));
    add_direction(c, f, true);
    add_direction(c, b, true);
    for (const LstmNet* n : {&f, &b})
      c.variable(zeros(batch, n->cell)).variable(zeros(batch, n->cell));
    for (int i = 0; i < 9; ++i) c.absent();
    const auto y = c.run(draw.dialect());
    ASSERT_NO_FATAL_FAILURE(expect_grid(y[0], grid_of(run_sequence(f, x)), 1e-6)) << seed;
    ASSERT_NO_FATAL_FAILURE(
        expect_grid(y[1], backwards(grid_of(run_sequence(b, backwards(x)))), 1e-6))
        << seed;
  }
}

TEST(Recurrent, Refusals) {
  OpCase c(OpCode::kRnn, RnnAttrs{});
  c.add(zeros(1, 3)).constant(zeros(2, 4)).constant(zeros(2, 2));
  c.constant(Array::zeros(DType::kFloat32, {2})).variable(zeros(1, 2));
  EXPECT_NE(refusal(c, Dialect::kBuiltin).find("for an input of shape"), std::string::npos);
  OpCase s(OpCode::kSvdf, SvdfAttrs{2, Activation::kNone, false});
  s.add(zeros(1, 3)).constant(zeros(3, 3)).constant(zeros(3, 2)).absent().variable(zeros(1, 6));
  EXPECT_NE(refusal(s, Dialect::kBuiltin).find("of rank 2"), std::string::npos);
}

}  // namespace
}  // namespace litegap::oracle
