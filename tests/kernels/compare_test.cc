// Comparisons, logical operators and choices, against judges that look at one element at a time.
#include <gtest/gtest.h>

#include <cmath>

#include "oracle/op_case.h"
#include "oracle/values.h"

namespace litegap {
namespace {

using oracle::Codes;
using oracle::Draw;
using oracle::OpCase;
using oracle::source;

constexpr Dialect kDialects[] = {Dialect::kReference, Dialect::kBuiltin, Dialect::kXnnpack};
constexpr OpCode kComparisons[] = {OpCode::kEqual,        OpCode::kNotEqual, OpCode::kGreater,
                                   OpCode::kGreaterEqual, OpCode::kLess,     OpCode::kLessEqual};

template <class T>
bool holds(OpCode code, T a, T b) {
  switch (code) {
    case OpCode::kEqual:
      return a == b;
    case OpCode::kNotEqual:
      return a != b;
    case OpCode::kGreater:
      return a > b;
    case OpCode::kGreaterEqual:
      return a >= b;
    case OpCode::kLess:
      return a < b;
    default:
      return a <= b;
  }
}

struct Pair {
  Shape a, b, out;
};
// Shapes that broadcast: some axes of either are 1, leading ones may be missing.
Pair shapes(Draw& draw) {
  Pair p;
  p.out = draw.shape(static_cast<std::size_t>(draw.in(0, 5)), 4);
  for (Shape* s : {&p.a, &p.b}) {
    *s = p.out;
    for (auto& d : *s) d = draw.one_in(3) ? 1 : d;
    while (!s->empty() && draw.one_in(4)) s->erase(s->begin());
  }
  for (std::size_t k = 0; k < p.out.size(); ++k) {
    const auto dim = [k](const Shape& s) { return k < s.size() ? s[s.size() - 1 - k] : 1; };
    p.out[p.out.size() - 1 - k] = std::max(dim(p.a), dim(p.b));
  }
  while (p.out.size() > std::max(p.a.size(), p.b.size())) p.out.erase(p.out.begin());
  return p;
}

template <class T>
Array numbers(Draw& draw, const Shape& shape) {
  Array a = Array::zeros(dtype_of<T>, shape);
  for (T& v : a.mutable_span<T>()) v = static_cast<T>(draw.in(-2, 2));
  return a;
}

template <class T>
void check_numbers(unsigned seed) {
  Draw draw(seed);
  for (int n = 0; n < 60; ++n) {
    const Pair p = shapes(draw);
    const Array a = numbers<T>(draw, p.a), b = numbers<T>(draw, p.b);
    const OpCode code = kComparisons[n % 6];
    const Array y =
        OpCase(code, NoAttrs{}).add(a).add(b).output(DType::kBool).run(kDialects[n % 3])[0];
    ASSERT_EQ(y.shape(), p.out);
    for (std::size_t i = 0; i < y.elements(); ++i) {
      const T x = a.span<T>()[source(p.out, i, p.a)], z = b.span<T>()[source(p.out, i, p.b)];
      ASSERT_EQ(y.span<bool>()[i], holds(code, x, z)) << op_name(code) << " " << x << " " << z;
    }
  }
}

TEST(Compare, NumbersAreComparedAsTheyAre) {
  check_numbers<float>(1);
  check_numbers<std::int16_t>(2);
  check_numbers<std::int32_t>(3);
  check_numbers<std::int64_t>(4);
}

TEST(Compare, NothingIsEqualToNan) {
  const float nan = std::nanf("");
  const Array a = Array::of<float>({2}, {nan, 1.0f}), b = Array::of<float>({2}, {nan, nan});
  for (const OpCode code : kComparisons) {
    const Array y = OpCase(code, NoAttrs{}).add(a).add(b).output(DType::kBool).run(kDialects[0])[0];
    for (const bool v : y.span<bool>()) EXPECT_EQ(v, code == OpCode::kNotEqual) << op_name(code);
  }
}

Codes codes(Draw& draw, DType type, const Shape& shape) {
  Codes c;
  c.type = type;
  c.shape = shape;
  c.scale = draw.real(0.0001f, 0.9f);
  c.zero = type == DType::kInt16 ? 0 : draw.in(oracle::least(type), oracle::most(type));
  for (std::size_t i = 0; i < shape_elements(shape); ++i) {
    c.at.push_back(draw.in(oracle::least(type), oracle::most(type)));
  }
  return c;
}

// 1/256 of a unit is what two values must differ by to be told apart.
TEST(Compare, CodesAreComparedByValue) {
  Draw draw(5);
  for (int n = 0; n < 200; ++n) {
    const DType type = n % 3 == 0 ? DType::kInt8 : n % 3 == 1 ? DType::kUint8 : DType::kInt16;
    const OpCode code = kComparisons[type == DType::kInt16 ? n / 3 % 2 : n / 3 % 6];
    const Pair p = shapes(draw);
    const Codes a = codes(draw, type, p.a), b = codes(draw, type, p.b);
    const Array y = OpCase(code, NoAttrs{})
                        .add(a.array(), a.quant())
                        .add(b.array(), b.quant())
                        .output(DType::kBool)
                        .run(kDialects[n % 3])[0];
    for (std::size_t i = 0; i < y.elements(); ++i) {
      const auto rank = [](const Codes& c, std::size_t at) {
        return oracle::times_away(std::int64_t{c.at[at] - c.zero} * 256,
                                  oracle::factor(static_cast<double>(c.scale)));
      };
      const std::size_t ia = source(p.out, i, p.a), ib = source(p.out, i, p.b);
      ASSERT_EQ(y.span<bool>()[i], holds(code, rank(a, ia), rank(b, ib)));
      const double real = static_cast<double>(a.scale) * (a.at[ia] - a.zero) -
                          static_cast<double>(b.scale) * (b.at[ib] - b.zero);
      if (std::abs(real) > 1.5 / 256) {
        ASSERT_EQ(y.span<bool>()[i], holds(code, real, 0.0)) << op_name(code) << " by " << real;
      }
    }
  }
}

Array bools(Draw& draw, const Shape& shape) {
  Array a = Array::zeros(DType::kBool, shape);
  for (bool& v : a.mutable_span<bool>()) v = draw.one_in(2);
  return a;
}

TEST(Logical, TruthTables) {
  Draw draw(6);
  for (int n = 0; n < 60; ++n) {
    const Pair p = shapes(draw);
    const Array a = bools(draw, p.a), b = bools(draw, p.b);
    const Array both =
        OpCase(OpCode::kLogicalAnd, NoAttrs{}).add(a).add(b).run(kDialects[n % 3])[0];
    const Array any = OpCase(OpCode::kLogicalOr, NoAttrs{}).add(a).add(b).run(kDialects[n % 3])[0];
    for (std::size_t i = 0; i < both.elements(); ++i) {
      const bool x = a.span<bool>()[source(p.out, i, p.a)],
                 z = b.span<bool>()[source(p.out, i, p.b)];
      ASSERT_EQ(both.span<bool>()[i], x && z);
      ASSERT_EQ(any.span<bool>()[i], x || z);
    }
    const Array none = OpCase(OpCode::kLogicalNot, NoAttrs{}).add(a).run(kDialects[n % 3])[0];
    for (std::size_t i = 0; i < none.elements(); ++i)
      ASSERT_NE(none.span<bool>()[i], a.span<bool>()[i]);
  }
}

TEST(Choose, TakesTheElementTheConditionSays) {
  Draw draw(7);
  for (int n = 0; n < 120; ++n) {
    const Pair p = shapes(draw), q = shapes(draw);
    const Shape condition = n % 2 == 0 ? p.out : Shape{};
    const Array c = bools(draw, condition);
    const Array x = numbers<std::int32_t>(draw, p.a), y = numbers<std::int32_t>(draw, p.b);
    const Array out = OpCase(OpCode::kSelectV2, NoAttrs{})
                          .add(c)
                          .add(x)
                          .add(y)
                          .output(DType::kInt32)
                          .run(kDialects[n % 3])[0];
    ASSERT_EQ(out.shape(), p.out);
    for (std::size_t i = 0; i < out.elements(); ++i) {
      const bool first = c.span<bool>()[source(p.out, i, condition)];
      ASSERT_EQ(out.span<std::int32_t>()[i], first ? x.span<std::int32_t>()[source(p.out, i, p.a)]
                                                   : y.span<std::int32_t>()[source(p.out, i, p.b)]);
    }
  }
}

TEST(Choose, SelectTakesRows) {
  const Array condition = Array::of<bool>({2}, {true, false});
  const Array x = Array::of<float>({2, 2}, {1, 2, 3, 4}),
              y = Array::of<float>({2, 2}, {5, 6, 7, 8});
  const Array out = OpCase(OpCode::kSelect, NoAttrs{})
                        .add(condition)
                        .add(x)
                        .add(y)
                        .output(DType::kFloat32)
                        .run(Dialect::kBuiltin)[0];
  EXPECT_EQ(out.shape(), (Shape{2, 2}));
  EXPECT_EQ(std::vector<float>(out.span<float>().begin(), out.span<float>().end()),
            (std::vector<float>{1, 2, 7, 8}));
}

TEST(Compare, RefusesWhatItCannotCompare) {
  const Array f = Array::of<float>({2}, {1, 2}), i = Array::of<std::int32_t>({2}, {1, 2});
  const Array three = Array::of<float>({3}, {1, 2, 3});
  const auto run = [](const Array& a, const Array& b, DType out) {
    return OpCase(OpCode::kEqual, NoAttrs{}).add(a).add(b).output(out).run(Dialect::kBuiltin);
  };
  EXPECT_THROW(run(f, i, DType::kBool), Error);
  EXPECT_THROW(run(f, three, DType::kBool), Error);
  EXPECT_THROW(run(f, f, DType::kInt32), Error);
}

}  // namespace
}  // namespace litegap
