// BATCH_MATMUL against a judge that computes one output element at a time.
#include <gtest/gtest.h>

#include <cmath>

#include "oracle/op_case.h"
#include "oracle/values.h"

namespace litegap {
namespace {

using oracle::Codes;
using oracle::Draw;
using oracle::OpCase;

constexpr Dialect kDialects[] = {Dialect::kReference, Dialect::kBuiltin, Dialect::kXnnpack};

struct Problem {
  Shape a, b, out;
  std::int32_t rows = 1, depth = 1, columns = 1;
  BatchMatmulAttrs attrs;

  explicit Problem(Draw& draw, bool large = false) {
    rows = draw.in(1, large ? 70 : 5);
    depth = draw.in(1, large ? 150 : 40);
    columns = draw.in(1, large ? 70 : 9);
    attrs.adj_x = draw.one_in(2);
    attrs.adj_y = draw.one_in(2);
    attrs.asymmetric_quantize_inputs = draw.one_in(2);
    const Shape batches = draw.shape(static_cast<std::size_t>(draw.in(0, 3)), 3);
    for (const std::int32_t d : batches) {
      const std::int32_t side = draw.in(0, 2);  // which operand has the axis
      a.push_back(side == 1 ? 1 : d);
      b.push_back(side == 2 ? 1 : d);
      out.push_back(d);
    }
    a.insert(a.end(), {attrs.adj_x ? depth : rows, attrs.adj_x ? rows : depth});
    b.insert(b.end(), {attrs.adj_y ? columns : depth, attrs.adj_y ? depth : columns});
    out.insert(out.end(), {rows, columns});
  }

  // Positions of the k-th factors of output element `position`.
  std::size_t of_a(std::size_t position, std::int32_t k) const {
    Shape at = place(a, position);
    at[at.size() - 2] = attrs.adj_x ? k : row(position);
    at.back() = attrs.adj_x ? row(position) : k;
    return oracle::flat(a, at);
  }
  std::size_t of_b(std::size_t position, std::int32_t k) const {
    Shape at = place(b, position);
    at[at.size() - 2] = attrs.adj_y ? column(position) : k;
    at.back() = attrs.adj_y ? k : column(position);
    return oracle::flat(b, at);
  }

 private:
  std::int32_t row(std::size_t p) const { return oracle::unflat(out, p)[out.size() - 2]; }
  std::int32_t column(std::size_t p) const { return oracle::unflat(out, p).back(); }
  Shape place(const Shape& shape, std::size_t position) const {
    Shape at = oracle::unflat(out, position);
    for (std::size_t d = 0; d < at.size(); ++d) at[d] = std::min(at[d], shape[d] - 1);
    return at;
  }
};

Array floats(Draw& draw, const Shape& shape) {
  Array a = Array::zeros(DType::kFloat32, shape);
  for (float& v : a.mutable_span<float>()) v = draw.real(-2.0f, 2.0f);
  return a;
}

TEST(BatchMatmul, FloatSumsRunInTheOrderOfTheDepth) {
  Draw draw(1);
  for (int n = 0; n < 120; ++n) {
    const Problem p(draw);
    const Array a = floats(draw, p.a), b = floats(draw, p.b);
    const Dialect dialect = kDialects[n % 3];
    const Array y = OpCase(OpCode::kBatchMatmul, p.attrs).add(a).add(b).run(dialect)[0];
    ASSERT_EQ(y.shape(), p.out);
    for (std::size_t i = 0; i < y.elements(); ++i) {
      float sum = 0;
      for (std::int32_t k = 0; k < p.depth; ++k) {
        const float x = a.span<float>()[p.of_a(i, k)], z = b.span<float>()[p.of_b(i, k)];
        sum = dialect == Dialect::kXnnpack ? std::fma(x, z, sum) : sum + x * z;
      }
      ASSERT_FLOAT_EQ(y.span<float>()[i], sum);
      if (dialect != Dialect::kXnnpack) {
        ASSERT_EQ(y.span<float>()[i], sum);
      }
    }
  }
}

Codes codes(Draw& draw, DType type, const Shape& shape, bool symmetric) {
  Codes c;
  c.type = type;
  c.shape = shape;
  c.scale = draw.scale();
  c.zero = symmetric ? 0 : draw.in(oracle::least(type), oracle::most(type));
  for (std::size_t i = 0; i < shape_elements(shape); ++i) {
    c.at.push_back(draw.in(oracle::least(type), oracle::most(type)));
  }
  return c;
}

std::int64_t sum_of(const Problem& p, const Codes& a, const Codes& b, std::size_t i) {
  std::int64_t sum = 0;
  for (std::int32_t k = 0; k < p.depth; ++k) {
    sum += std::int64_t{a.at[p.of_a(i, k)] - a.zero} * (b.at[p.of_b(i, k)] - b.zero);
  }
  return sum;
}

TEST(BatchMatmul, CodesOf8Bits) {
  Draw draw(2);
  for (int n = 0; n < 180; ++n) {
    const Problem p(draw, n >= 150);
    const Codes a = codes(draw, DType::kInt8, p.a, false);
    const Codes b = codes(draw, DType::kInt8, p.b, draw.one_in(2));
    const float scale = draw.real(5.0f, 400.0f) * a.scale * b.scale;
    const std::int32_t zero = draw.in(-128, 127);
    const Dialect dialect = kDialects[n % 3];
    OpCase op(OpCode::kBatchMatmul, p.attrs);
    op.add(a.array(), a.quant());
    if (draw.one_in(3))
      op.constant(b.array(), b.quant());
    else
      op.add(b.array(), b.quant());
    const Array y = op.output(DType::kInt8, oracle::quant_of(scale, zero)).run(dialect)[0];
    const float product = a.scale * b.scale;
    for (std::size_t i = 0; i < y.elements(); ++i) {
      const std::int64_t sum = sum_of(p, a, b, i);
      std::int64_t code = 0;
      if (dialect == Dialect::kXnnpack && b.zero == 0) {
        const float v = static_cast<float>(sum) * (product / scale);
        code = std::llrint(std::min(v, static_cast<float>(127 - zero))) + zero;
      } else {
        const double real = static_cast<double>(product) / static_cast<double>(scale);
        code = oracle::times_away(sum, oracle::factor(real)) + zero;
      }
      ASSERT_EQ(y.span<std::int8_t>()[i], oracle::bound(DType::kInt8, code));
    }
  }
}

TEST(BatchMatmul, CodesOf16Bits) {
  Draw draw(3);
  for (int n = 0; n < 60; ++n) {
    const Problem p(draw);
    const Codes a = codes(draw, DType::kInt16, p.a, true),
                b = codes(draw, DType::kInt16, p.b, true);
    const float scale = draw.real(3000.0f, 90000.0f) * a.scale * b.scale;
    const Array y = OpCase(OpCode::kBatchMatmul, p.attrs)
                        .add(a.array(), a.quant())
                        .add(b.array(), b.quant())
                        .output(DType::kInt16, oracle::quant_of(scale, 0))
                        .run(kDialects[n % 3])[0];
    const auto f =
        oracle::factor(static_cast<double>(a.scale * b.scale) / static_cast<double>(scale));
    const std::int64_t m = f.m < 0x7FFF0000 ? (f.m + 32768) / 65536 : 32767;
    for (std::size_t i = 0; i < y.elements(); ++i) {
      const std::int64_t code = oracle::wrap(oracle::divide_up(sum_of(p, a, b, i) * m, 15 - f.e));
      ASSERT_EQ(y.span<std::int16_t>()[i], oracle::bound(DType::kInt16, code));
    }
  }
}

// Every float row becomes at most 255 steps of its range: that bounds the error.
TEST(BatchMatmul, HybridStaysNearTheRealProduct) {
  Draw draw(4);
  for (int n = 0; n < 90; ++n) {
    const Problem p(draw);
    const Array a = floats(draw, p.a);
    const Codes b = codes(draw, DType::kInt8, p.b, true);
    const Array y = OpCase(OpCode::kBatchMatmul, p.attrs)
                        .add(a)
                        .constant(b.array(), b.quant())
                        .output(DType::kFloat32)
                        .run(kDialects[n % 3])[0];
    for (std::size_t i = 0; i < y.elements(); ++i) {
      double real = 0, weights = 0;
      for (std::int32_t k = 0; k < p.depth; ++k) {
        const double w = static_cast<double>(b.scale) * b.at[p.of_b(i, k)];
        real += static_cast<double>(a.span<float>()[p.of_a(i, k)]) * w;
        weights += std::abs(w);
      }
      // Values lie in [-2, 2]: half a step of a symmetric code is 1/127, of an asymmetric one
      // 2/255.
      ASSERT_NEAR(y.span<float>()[i], real, weights * 0.0085 + 1e-5);
    }
  }
}

TEST(BatchMatmul, RefusesWhatDoesNotFit) {
  const Array a = Array::zeros(DType::kFloat32, {2, 3}), b = Array::zeros(DType::kFloat32, {4, 5});
  const Array row = Array::zeros(DType::kFloat32, {3});
  const Array i = Array::zeros(DType::kInt32, {3, 4});
  const Array two = Array::zeros(DType::kFloat32, {2, 2, 3}),
              three = Array::zeros(DType::kFloat32, {3, 3, 4});
  for (const auto& [x, y] : {std::pair{a, b}, {a, row}, {a, i}, {i, i}, {two, three}}) {
    EXPECT_THROW(
        OpCase(OpCode::kBatchMatmul, BatchMatmulAttrs{}).add(x).add(y).run(Dialect::kBuiltin),
        Error);
  }
}

}  // namespace
}  // namespace litegap
