// UNIDIRECTIONAL_SEQUENCE_LSTM: the float kernel against the textbook in double, the integer kernel
// against the textbook on dequantized values, and what must hold for all: layout and carried state.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "oracle/op_case.h"

namespace litegap {
namespace {

using oracle::OpCase;
using oracle::quant_of;
using Values = std::vector<double>;

struct Net {
  std::int32_t batch = 2, time = 3, input = 4, cell = 5;
  bool time_major = false, cifg = false;
  Array x, w[4], r[4], b[4];     // float, or codes
  float sx = 1, sw = 1, sh = 1;  // scales of codes
  std::int64_t zx = 0, zh = 0;
};

double sigmoid(double v) { return 1 / (1 + std::exp(-v)); }
float uniform(std::mt19937& r, float size) {
  return size * (2 * static_cast<float>(r() >> 8) / 16777216.0f - 1);
}

Array random_floats(std::mt19937& r, const Shape& shape, float size) {
  Array a = Array::zeros(DType::kFloat32, shape);
  for (auto& v : a.mutable_span<float>()) v = uniform(r, size);
  return a;
}
Array random_codes(std::mt19937& r, const Shape& shape) {
  Array a = Array::zeros(DType::kInt8, shape);
  for (auto& v : a.mutable_span<std::int8_t>())
    v = static_cast<std::int8_t>(static_cast<int>(r() % 255) - 127);
  return a;
}

Shape x_shape(const Net& n) {
  return n.time_major ? Shape{n.time, n.batch, n.input} : Shape{n.batch, n.time, n.input};
}

Net float_net(std::mt19937& r, bool cifg, bool time_major) {
  Net n;
  n.cifg = cifg;
  n.time_major = time_major;
  n.x = random_floats(r, x_shape(n), 1);
  for (int g = 0; g < 4; ++g) {
    n.w[g] = random_floats(r, {n.cell, n.input}, 1);
    n.r[g] = random_floats(r, {n.cell, n.cell}, 1);
    n.b[g] = random_floats(r, {n.cell}, 1);
  }
  return n;
}

Net integer_net(std::mt19937& r, bool cifg, bool time_major) {
  Net n;
  n.cifg = cifg;
  n.time_major = time_major;
  n.sx = 1.0f / 128;
  n.sw = 1.0f / 127;
  n.sh = 1.0f / 128;
  n.zx = 3;
  n.zh = -2;
  n.x = random_codes(r, x_shape(n));
  for (int g = 0; g < 4; ++g) {
    n.w[g] = random_codes(r, {n.cell, n.input});
    n.r[g] = random_codes(r, {n.cell, n.cell});
    n.b[g] = Array::zeros(DType::kInt32, {n.cell});
    for (auto& v : n.b[g].mutable_span<std::int32_t>())
      v = static_cast<std::int32_t>(uniform(r, 1) / (n.sx * n.sw));
  }
  return n;
}

// Real values of an operand.
Values reals(const Array& a, double scale, std::int64_t zero) {
  Values v;
  for (std::size_t i = 0; i < a.elements(); ++i) {
    if (a.dtype() == DType::kFloat32) v.push_back(a.span<float>()[i]);
    if (a.dtype() == DType::kInt8)
      v.push_back(scale * static_cast<double>(a.span<std::int8_t>()[i] - zero));
    if (a.dtype() == DType::kInt32) v.push_back(scale * a.span<std::int32_t>()[i]);
  }
  return v;
}

// The textbook.
Values judge(const Net& n) {
  const Values x = reals(n.x, n.sx, n.zx);
  Values w[4], r[4], b[4], out(static_cast<std::size_t>(n.batch * n.time * n.cell));
  for (int g = 0; g < 4; ++g) {
    w[g] = reals(n.w[g], n.sw, 0);
    r[g] = reals(n.r[g], n.sw, 0);
    b[g] = reals(n.b[g], double(n.sx) * n.sw, 0);
  }
  const auto at = [&](int batch, int time) {
    return n.time_major ? time * n.batch + batch : batch * n.time + time;
  };
  for (int k = 0; k < n.batch; ++k) {
    Values h(static_cast<std::size_t>(n.cell)), c(h);
    for (int t = 0; t < n.time; ++t) {
      Values gate[4];
      for (int g = 0; g < 4; ++g) {
        for (int i = 0; i < n.cell; ++i) {
          double v = b[g][static_cast<std::size_t>(i)];
          for (int j = 0; j < n.input; ++j)
            v += w[g][static_cast<std::size_t>(i * n.input + j)] *
                 x[static_cast<std::size_t>(at(k, t) * n.input + j)];
          for (int j = 0; j < n.cell; ++j)
            v += r[g][static_cast<std::size_t>(i * n.cell + j)] * h[static_cast<std::size_t>(j)];
          gate[g].push_back(g == 2 ? std::tanh(v) : sigmoid(v));
        }
      }
      for (std::size_t i = 0; i < h.size(); ++i) {
        c[i] = gate[1][i] * c[i] + (n.cifg ? 1 - gate[1][i] : gate[0][i]) * gate[2][i];
        h[i] = gate[3][i] * std::tanh(c[i]);
        out[static_cast<std::size_t>(at(k, t) * n.cell) + i] = h[i];
      }
    }
  }
  return out;
}

OpCase make_case(const Net& n, const Array& x, const Array& h, const Array& c) {
  const bool integer = n.x.dtype() == DType::kInt8;
  SequenceLstmAttrs attrs;
  attrs.activation = Activation::kTanh;
  attrs.time_major = n.time_major;
  OpCase op(OpCode::kUnidirectionalSequenceLstm, attrs);
  const Quant qw = integer ? quant_of(n.sw, 0) : Quant{},
              qh = integer ? quant_of(n.sh, n.zh) : Quant{};
  op.add(x, integer ? quant_of(n.sx, n.zx) : Quant{});
  for (const Array* list : {n.w, n.r}) {
    for (int g = 0; g < 4; ++g) {
      if (g == 0 && n.cifg)
        op.absent();
      else
        op.constant(list[g], qw);
    }
  }
  for (int i = 0; i < 3; ++i) op.absent();  // peepholes
  for (int g = 0; g < 4; ++g) {
    if (g == 0 && n.cifg)
      op.absent();
    else
      op.constant(n.b[g]);
  }
  op.absent().absent();  // projection
  op.variable(h, qh).variable(c, integer ? quant_of(std::ldexp(1.0f, -11), 0) : Quant{});
  for (int i = 0; i < 4; ++i) op.intermediate(quant_of(1, 0));
  op.intermediate(quant_of(n.sh, n.zh));
  op.output(n.x.dtype(), qh);
  return op;
}

Array zero_state(const Net& n, bool cell) {
  const Shape shape = {n.batch, n.cell};
  if (n.x.dtype() == DType::kFloat32) return Array::zeros(DType::kFloat32, shape);
  if (cell) return Array::zeros(DType::kInt16, shape);
  Array h = Array::zeros(DType::kInt8, shape);
  for (auto& v : h.mutable_span<std::int8_t>()) v = static_cast<std::int8_t>(n.zh);
  return h;
}

Array run_net(const Net& n, Dialect d = Dialect::kBuiltin) {
  return make_case(n, n.x, zero_state(n, false), zero_state(n, true)).run(d)[0];
}

TEST(Lstm, FloatIsTheTextbook) {
  std::mt19937 r(1);
  for (int k = 0; k < 40; ++k) {
    const Net n = float_net(r, k % 2 == 1, k % 4 > 1);
    const Array y = run_net(n, k % 3 == 0 ? Dialect::kReference : Dialect::kXnnpack);
    const Values want = judge(n);
    for (std::size_t i = 0; i < want.size(); ++i)
      ASSERT_NEAR(y.span<float>()[i], want[i], 1e-5) << "net " << k;
  }
}

TEST(Lstm, IntegerIsNearTheTextbook) {
  std::mt19937 r(2);
  for (int k = 0; k < 40; ++k) {
    const Net n = integer_net(r, k % 2 == 1, k % 4 > 1);
    const Array y = run_net(n);
    const Values want = judge(n), got = reals(y, n.sh, n.zh);
    for (std::size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 0.04) << "net " << k;
  }
}

// Rows do not see each other, whatever the order of the axes.
TEST(Lstm, TimeMajorIsBatchMajorTransposed) {
  std::mt19937 r(3);
  for (int k = 0; k < 20; ++k) {
    Net n = k % 2 == 0 ? float_net(r, false, false) : integer_net(r, false, false);
    const Array rows = run_net(n);
    const Array x = n.x, perm = Array::of<std::int32_t>({3}, {1, 0, 2});
    n.time_major = true;
    n.x = OpCase(OpCode::kTranspose, NoAttrs{}).add(x).constant(perm).run(Dialect::kBuiltin)[0];
    const Array columns = OpCase(OpCode::kTranspose, NoAttrs{})
                              .add(run_net(n))
                              .constant(perm)
                              .run(Dialect::kBuiltin)[0];
    ASSERT_EQ(rows.shape(), columns.shape());
    EXPECT_EQ(0, std::memcmp(rows.data(), columns.data(), rows.byte_size()));
  }
}

// Two runs that carry the state are one long run.
TEST(Lstm, StateCarriesOver) {
  std::mt19937 r(4);
  for (int k = 0; k < 20; ++k) {
    Net n = k % 2 == 0 ? float_net(r, false, true) : integer_net(r, true, true);
    const Array whole = run_net(n);
    OpCase first = make_case(n, n.x.slice0(0, 1), zero_state(n, false), zero_state(n, true));
    const Array a = first.run(Dialect::kBuiltin)[0];
    OpCase second = make_case(n, n.x.slice0(1, 3), first.value(18), first.value(19));
    const Array b = second.run(Dialect::kBuiltin)[0];
    EXPECT_EQ(0, std::memcmp(whole.data(), a.data(), a.byte_size()));
    EXPECT_EQ(0, std::memcmp(whole.data() + a.byte_size(), b.data(), b.byte_size()));
  }
}

TEST(Lstm, RefusesWhatDoesNotFit) {
  std::mt19937 r(5);
  Net n = float_net(r, false, false);
  n.r[2] = random_floats(r, {n.cell, n.cell + 1}, 1);
  EXPECT_THROW(run_net(n), Error);
  n = float_net(r, false, false);
  n.b[1] = random_floats(r, {n.cell - 1}, 1);
  EXPECT_THROW(run_net(n), Error);
}

}  // namespace
}  // namespace litegap
