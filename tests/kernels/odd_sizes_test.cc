// Operators with loops for whole vectors against the judge, in rows that such vectors do not fill:
// shorter by one, longer by one, with a value per row or per column against them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "node_run.h"
#include "value_run.h"

namespace litegap::oracle {
namespace {

constexpr std::int32_t kSizes[] = {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 100, 129, 257};
constexpr DType kTypes[] = {DType::kFloat32, DType::kInt8, DType::kUint8, DType::kInt16};

// The operator of the sketch in every dialect that takes it, its operands off the borders of
// vectors too.  How many results were judged.
int expect_judged(Sketch& s) {
  const ModelPtr model = s.model();
  const auto values = values_of(*model, s.inputs(), s.draw);
  const Judge& judge = *judge_of(model->main().ops[0]);
  int judged = 0;
  for (const Dialect d : kAllDialects) {
    for (const std::size_t offset : {0u, 1u}) {
      NodeRun run;
      try {
        run = run_node(*model, 0, d, values, {0xA5, 0x5A, offset, 1});
      } catch (const Error&) {
        continue;
      }
      const Verdict v = judge_node(judge, node_of(*model, 0, d, values));
      if (!v.silent.empty()) continue;
      ++judged;
      EXPECT_EQ(disagreement(v, run.outputs), "") << dialect_name(d) << ", offset " << offset;
    }
  }
  return judged;
}

Quant codes_or_none(DType t, float scale, std::int64_t zero) {
  if (t == DType::kFloat32) return {};
  return t == DType::kInt16 ? quant_of(scale / 256, 0) : quant_of(scale, zero);
}

Attrs pair_attrs(OpCode op) {
  if (op == OpCode::kAdd || op == OpCode::kSub) return AddAttrs{Activation::kNone, false};
  if (op == OpCode::kMul) return ActivationAttrs{};
  return NoAttrs{};
}

TEST(OddSizes, Pairs) {
  constexpr OpCode kOps[] = {OpCode::kAdd, OpCode::kSub, OpCode::kMul, OpCode::kMaximum,
                             OpCode::kSquaredDifference};
  for (const std::int32_t n : {1, 7, 8, 9, 15, 16, 17, 31, 33, 100}) {
    const Shape others[] = {{n}, {4, 1}, {}, {3, 1, 1}, {3, 4, 1}, {3, 1, n}, {3, 4, n}};
    for (const OpCode op : kOps) {
      for (const DType t : kTypes) {
        if (op == OpCode::kSquaredDifference && t != DType::kFloat32 && t != DType::kInt8) continue;
        for (const Shape& other : others) {
          for (const bool exchanged : {false, true}) {
            Draw draw(static_cast<unsigned>(n));
            Sketch s(draw);
            const int a = s.input(s.random(t, {3, 4, n}), codes_or_none(t, 0.05f, 3));
            const int b = s.input(s.random(t, other), codes_or_none(t, 0.03f, 2));
            const std::vector<int> sides = exchanged ? std::vector{b, a} : std::vector{a, b};
            const float scale = op == OpCode::kSquaredDifference ? 0.4f : 0.07f;
            ASSERT_TRUE(s.add(op, pair_attrs(op), sides, {{t, codes_or_none(t, scale, 5)}}))
                << s.why();
            EXPECT_GT(expect_judged(s), 0);
            ASSERT_FALSE(HasFailure()) << op_name(op) << " " << dtype_name(t) << " of " << n
                                       << " and " << shape_text(other) << ", " << exchanged;
          }
        }
      }
    }
  }
}

// XNNPACK takes subnormal operands for zero, and the thread is as it was afterwards.
TEST(OddSizes, SubnormalOperands) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const volatile float small = 1e-40f;
  for (const std::int32_t n : kSizes) {
    for (const Shape& other : {Shape{n}, Shape{3, n}, Shape{3, 1}, Shape{}}) {
      const auto count = static_cast<std::size_t>(shape_elements(other));
      const Array ones =
          Array::of<float>({3, n}, std::vector<float>(3 * static_cast<std::size_t>(n), -small));
      for (const Dialect d : kAllDialects) {
        const bool zero = d == Dialect::kXnnpack;
        OpCase sum(OpCode::kAdd, AddAttrs{}), product(OpCode::kMul, ActivationAttrs{});
        sum.add(ones).add(Array::of<float>(other, std::vector<float>(count, -small)));
        product.add(ones).add(Array::of<float>(other, std::vector<float>(count, kInfinity)));
        const Array sums = sum.run(d)[0], products = product.run(d)[0];
        for (const float v : sums.span<float>()) {
          ASSERT_EQ(v, zero ? 0.0f : -2 * small);
          ASSERT_TRUE(std::signbit(v));
        }
        for (const float v : products.span<float>())
          ASSERT_EQ(std::isnan(v), zero) << dialect_name(d);
        ASSERT_NE(small * 2.0f, 0.0f);
      }
    }
  }
}

TEST(OddSizes, Reductions) {
  for (const std::int32_t n : kSizes) {
    for (const OpCode op : {OpCode::kReduceMax, OpCode::kReduceMin, OpCode::kSum, OpCode::kMean}) {
      for (const DType t : kTypes) {
        if (op == OpCode::kSum && t == DType::kInt16) continue;
        for (const std::vector<std::int64_t>& axes :
             {std::vector<std::int64_t>{0}, {1}, {2}, {0, 2}, {1, 2}}) {
          Draw draw(static_cast<unsigned>(n));
          Sketch s(draw);
          const Quant q = codes_or_none(t, 0.05f, 3);
          const int x = s.input(s.random(t, {3, 5, n}), q);
          ASSERT_TRUE(s.add(op, ReducerAttrs{}, {x, s.numbers(axes)}, {{t, q}})) << s.why();
          EXPECT_GT(expect_judged(s), 0);
          ASSERT_FALSE(HasFailure())
              << op_name(op) << " " << dtype_name(t) << " of " << n << " over axis " << axes[0];
        }
      }
    }
  }
}

// Bytes add up in words of 16 bits, which hold 128 of them: codes at their ends, in more rows.
TEST(OddSizes, SumsOfManyBytes) {
  for (const std::int32_t n : {31, 32, 64, 65, 97}) {
    for (const std::int32_t rows : {127, 128, 129, 300}) {
      for (const DType t : {DType::kInt8, DType::kUint8}) {
        for (const int fill : {0, 127, 128, 255, -1}) {  // of bytes; -1: random ones
          Draw draw(static_cast<unsigned>(n));
          Sketch s(draw);
          Array value = s.random(t, {rows, n});
          if (fill >= 0) std::memset(value.mutable_data(), fill, value.byte_size());
          const int x = s.input(value, quant_of(0.05f, 3));
          ASSERT_TRUE(
              s.add(OpCode::kSum, ReducerAttrs{}, {x, s.numbers({0})}, {{t, quant_of(20.0f, 3)}}))
              << s.why();
          EXPECT_GT(expect_judged(s), 0);
          ASSERT_FALSE(HasFailure()) << dtype_name(t) << " " << fill << ", " << rows << " x " << n;
        }
      }
    }
  }
}

// Lines of bytes, in words of 128 times 32 of them.
TEST(OddSizes, SumsOfLongLines) {
  for (const std::int32_t n : {31, 32, 33, 100, 4095, 4096, 4128, 10000}) {
    for (const DType t : {DType::kInt8, DType::kUint8}) {
      for (const int fill : {0, 127, 128, 255, -1}) {  // of bytes; -1: random ones
        Draw draw(static_cast<unsigned>(n));
        Sketch s(draw);
        Array value = s.random(t, {3, n});
        if (fill >= 0) std::memset(value.mutable_data(), fill, value.byte_size());
        const int x = s.input(value, quant_of(0.05f, 3));
        const Quant q = quant_of(static_cast<float>(n) / 20.0f, 3);
        ASSERT_TRUE(s.add(OpCode::kSum, ReducerAttrs{}, {x, s.numbers({1})}, {{t, q}})) << s.why();
        EXPECT_GT(expect_judged(s), 0);
        ASSERT_FALSE(HasFailure()) << dtype_name(t) << " " << fill << ", " << n;
      }
    }
  }
}

// XNNPACK's sums of floats against the sum of each lane in its own order; means are the sum times
// the inverse of the count.
TEST(OddSizes, SumsOfLines) {
  for (const std::int32_t n : {1, 7, 8, 9, 16, 24, 31, 32, 33, 40, 48, 63, 64, 100, 257}) {
    Draw draw(static_cast<unsigned>(n));
    std::vector<float> x;
    for (std::int32_t i = 0; i < n; ++i) x.push_back(draw.real(-9, 9));
    // Vector v of eight goes to sum v mod 4, what is left behind them to the joined one.
    std::vector<std::vector<float>> sums(4, std::vector<float>(8, 0.0f));
    const std::int32_t whole = n / 8 * 8;
    for (std::int32_t i = 0; i < whole; ++i)
      sums[static_cast<std::size_t>(i / 8 % 4)][static_cast<std::size_t>(i % 8)] +=
          x[static_cast<std::size_t>(i)];
    std::vector<float> lanes(8);
    for (std::size_t k = 0; k < 8; ++k)
      lanes[k] = (sums[0][k] + sums[2][k]) + (sums[1][k] + sums[3][k]);
    for (std::int32_t i = whole; i < n; ++i)
      lanes[static_cast<std::size_t>(i - whole)] += x[static_cast<std::size_t>(i)];
    for (std::size_t half = 4; half > 0; half /= 2)
      for (std::size_t k = 0; k < half; ++k) lanes[k] += lanes[k + half];
    const Array axis = Array::of<std::int32_t>({1}, {1});
    OpCase sum(OpCode::kSum, ReducerAttrs{}), mean(OpCode::kMean, ReducerAttrs{});
    sum.add(Array::of<float>({1, n}, x)).constant(axis);
    mean.add(Array::of<float>({1, n}, x)).constant(axis);
    const Array a = sum.run(Dialect::kXnnpack)[0], b = mean.run(Dialect::kXnnpack)[0];
    ASSERT_EQ(a.span<float>()[0], lanes[0]) << n;
    ASSERT_EQ(b.span<float>()[0], lanes[0] * (1.0f / static_cast<float>(n))) << n;
  }
}

// Rows of a single column are no line.
TEST(OddSizes, SumOfAColumn) {
  std::vector<float> x;
  Draw draw(3);
  float want = 0;
  for (int i = 0; i < 50; ++i) {
    x.push_back(draw.real(-9, 9));
    want += x.back();
  }
  for (const auto& [shape, equal] : {std::pair{Shape{50, 1}, true}, {Shape{1, 50}, false}}) {
    OpCase c(OpCode::kSum, ReducerAttrs{});
    c.add(Array::of<float>(shape, x)).constant(Array::of<std::int32_t>({1}, {equal ? 0 : 1}));
    EXPECT_EQ(c.run(Dialect::kXnnpack)[0].span<float>()[0] == want, equal);
    EXPECT_EQ(c.run(Dialect::kBuiltin)[0].span<float>()[0], want);
  }
}

// Of zeros of both signs the first is the extreme one, and a NaN is none.
TEST(OddSizes, ExtremesOfZerosAndNan) {
  const float none = std::numeric_limits<float>::quiet_NaN();
  for (const std::int32_t n : kSizes) {
    for (const bool largest : {false, true}) {
      for (std::int32_t first = 0; first < n; ++first) {
        const float other = largest ? -2.0f : 2.0f;
        std::vector<float> x(static_cast<std::size_t>(n), other);
        if (first > 0) x[0] = none;
        for (std::int32_t i = first; i < n; i += 3)
          x[static_cast<std::size_t>(i)] = i == first ? -0.0f : 0.0f;
        OpCase c(largest ? OpCode::kReduceMax : OpCode::kReduceMin, ReducerAttrs{});
        c.add(Array::of<float>({1, n}, x)).constant(Array::of<std::int32_t>({1}, {1}));
        const Array y = c.run(Dialect::kBuiltin)[0];
        ASSERT_EQ(y.span<float>()[0], 0.0f);
        ASSERT_TRUE(std::signbit(y.span<float>()[0])) << first << " of " << n;
      }
    }
  }
}

TEST(OddSizes, RowsOfLogSoftmax) {
  for (const std::int32_t n : kSizes) {
    for (const DType t : {DType::kFloat32, DType::kInt8, DType::kUint8}) {
      for (const std::int32_t rows : {1, 8, 11}) {
        Draw draw(static_cast<unsigned>(n));
        Sketch s(draw);
        const int x = s.input(s.random(t, {rows, n}), codes_or_none(t, 0.07f, 3));
        const Quant q = t == DType::kFloat32 ? Quant{} : quant_of(1.0f / 16, most(t));
        ASSERT_TRUE(s.add(OpCode::kLogSoftmax, NoAttrs{}, {x}, {{t, q}})) << s.why();
        EXPECT_EQ(expect_judged(s), 6);
        ASSERT_FALSE(HasFailure()) << dtype_name(t) << ", " << rows << " x " << n;
      }
    }
  }
}

// What is far below the peak adds nothing; what is no number spoils its row and no other.
TEST(OddSizes, LogSoftmaxAtItsEnds) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const std::int32_t n : kSizes) {
    const auto size = static_cast<std::size_t>(n);
    std::vector<float> x(3 * size, -1e30f);
    x[size - 1] = 5.0f;
    for (std::size_t i = 0; i + 1 < size; ++i) x[i] = i % 2 == 0 ? -kInfinity : -120.0f;
    x[size] = std::numeric_limits<float>::quiet_NaN();
    OpCase c(OpCode::kLogSoftmax, NoAttrs{});
    c.add(Array::of<float>({3, n}, x));
    for (const Dialect d : kAllDialects) {
      const Array y = c.run(d)[0];
      const auto v = y.span<float>();
      EXPECT_EQ(v[size - 1], 0.0f);
      if (n > 1) {
        EXPECT_EQ(v[0], -kInfinity);
      }
      EXPECT_TRUE(std::isnan(v[size]) && std::isnan(v[2 * size - 1]));
      EXPECT_NEAR(v[2 * size], -std::log(static_cast<double>(n)), 1e-6);
    }
  }
}

TEST(OddSizes, Curves) {
  for (const std::int32_t n : {1, 7, 8, 9, 31, 33, 511, 512, 513, 1030}) {
    for (const OpCode op :
         {OpCode::kExp, OpCode::kSin, OpCode::kCos, OpCode::kTanh, OpCode::kGelu}) {
      Draw draw(static_cast<unsigned>(n));
      Sketch s(draw);
      const int x = s.input(s.random(DType::kFloat32, {n}));
      const Attrs a = op == OpCode::kGelu ? Attrs(GeluAttrs{}) : Attrs(NoAttrs{});
      ASSERT_TRUE(s.add(op, a, {x}, {{DType::kFloat32}})) << s.why();
      EXPECT_EQ(expect_judged(s), 6);
      ASSERT_FALSE(HasFailure()) << op_name(op) << " of " << n;
    }
  }
}

TEST(OddSizes, RescaledJoins) {
  for (const std::int32_t n : {1, 7, 8, 9, 31, 33, 64, 127, 128, 129, 1023, 1024, 1025, 5000}) {
    for (const std::int32_t rows : {1, 3, 40}) {
      Draw draw(static_cast<unsigned>(n));
      Sketch s(draw);
      const DType t = DType::kUint8;
      const int a = s.input(s.random(t, {rows, n}), quant_of(0.05f, 100));
      const int b = s.input(s.random(t, {rows, n + 2}), quant_of(0.063f, 103));
      const int c = s.input(s.random(t, {rows, 1}), quant_of(0.04f, 90));
      ASSERT_TRUE(
          s.add(OpCode::kConcatenation, ConcatAttrs{1}, {a, b, c}, {{t, quant_of(0.05f, 100)}}))
          << s.why();
      EXPECT_EQ(expect_judged(s), 6);
      ASSERT_FALSE(HasFailure()) << rows << " x " << n;
    }
  }
}

TEST(OddSizes, RunningSums) {
  for (const std::int32_t n : {1, 3, 4, 5, 9}) {
    for (const DType t : {DType::kFloat32, DType::kInt32, DType::kInt64}) {
      for (const int axis : {0, 1, 2}) {
        for (const int mode : {0, 1, 2, 3}) {
          Draw draw(static_cast<unsigned>(n));
          Sketch s(draw);
          const int x = s.input(s.random(t, {5, n, 3}));
          ASSERT_TRUE(s.add(OpCode::kCumsum, CumsumAttrs{mode % 2 == 1, mode / 2 == 1},
                            {x, s.scalar(axis)}, {{t, {}}}))
              << s.why();
          EXPECT_GT(expect_judged(s), 0);
          ASSERT_FALSE(HasFailure()) << dtype_name(t) << " of " << n << ", axis " << axis;
        }
      }
    }
  }
}

// Channels of windows and of mixed pixels, rows of a softmax, values that become codes and back.
TEST(OddSizes, Windows) {
  for (const std::int32_t n : kSizes) {
    for (const OpCode op : {OpCode::kAveragePool2d, OpCode::kMaxPool2d}) {
      for (const DType t : kTypes) {
        Draw draw(static_cast<unsigned>(n));
        Sketch s(draw);
        const Quant q = codes_or_none(t, 0.05f, 3);
        const int x = s.input(s.random(t, {1, 4, 5, n}), q);
        const Attrs a = PoolAttrs{Padding::kSame, 1, 2, 3, 2, Activation::kRelu6};
        ASSERT_TRUE(s.add(op, a, {x}, {{t, q}})) << s.why();
        EXPECT_EQ(expect_judged(s), 6);
        ASSERT_FALSE(HasFailure()) << op_name(op) << " of " << dtype_name(t) << ", " << n;
      }
    }
  }
}

TEST(OddSizes, MixedPixels) {
  for (const std::int32_t n : kSizes) {
    for (const DType t : kTypes) {
      for (const bool align : {false, true}) {
        Draw draw(static_cast<unsigned>(n));
        Sketch s(draw);
        const Quant q = codes_or_none(t, 0.05f, 3);
        const int x = s.input(s.random(t, {1, 3, 4, n}), q);
        const int size = s.constant(Array::of<std::int32_t>({2}, {5, 7}));
        ASSERT_TRUE(s.add(OpCode::kResizeBilinear, ResizeAttrs{align, !align}, {x, size}, {{t, q}}))
            << s.why();
        EXPECT_EQ(expect_judged(s), 6);
        ASSERT_FALSE(HasFailure()) << dtype_name(t) << ", " << n;
      }
    }
  }
}

TEST(OddSizes, RowsOfSoftmax) {
  for (const std::int32_t n : kSizes) {
    for (const DType t : {DType::kInt8, DType::kUint8}) {
      for (const std::int32_t rows : {1, 3, 4, 11}) {
        Draw draw(static_cast<unsigned>(n));
        Sketch s(draw);
        const int x = s.input(s.random(t, {rows, n}), quant_of(0.07f, 3));
        const Quant q = quant_of(1.0f / 256, t == DType::kInt8 ? -128 : 0);
        ASSERT_TRUE(s.add(OpCode::kSoftmax, SoftmaxAttrs{1.0f}, {x}, {{t, q}})) << s.why();
        EXPECT_EQ(expect_judged(s), 6);
        ASSERT_FALSE(HasFailure()) << dtype_name(t) << ", " << rows << " x " << n;
      }
    }
  }
}

TEST(OddSizes, FloatsAndCodes) {
  for (const std::int32_t n : kSizes) {
    for (const DType t : {DType::kInt8, DType::kUint8, DType::kInt16}) {
      for (const std::int64_t zero : {0, 3, 100}) {
        Draw draw(static_cast<unsigned>(n));
        const Quant q = codes_or_none(t, 0.013f, zero);
        Sketch codes(draw), floats(draw);
        const int a = codes.input(codes.random(DType::kFloat32, {n}));
        ASSERT_TRUE(codes.add(OpCode::kQuantize, NoAttrs{}, {a}, {{t, q}})) << codes.why();
        EXPECT_GE(expect_judged(codes), 4);
        const int b = floats.input(floats.random(t, {n}), q);
        ASSERT_TRUE(floats.add(OpCode::kDequantize, NoAttrs{}, {b}, {{DType::kFloat32}}))
            << floats.why();
        EXPECT_EQ(expect_judged(floats), 6);
        ASSERT_FALSE(HasFailure()) << dtype_name(t) << ", " << n;
      }
    }
  }
}

}  // namespace
}  // namespace litegap::oracle
