// Operators that move data, against judges that ask for every output element where it comes from.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "oracle/op_case.h"

namespace litegap {
namespace {

using oracle::flat;
using oracle::OpCase;
using oracle::unflat;

constexpr Dialect kDialects[] = {Dialect::kReference, Dialect::kBuiltin, Dialect::kXnnpack};

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::int32_t in(std::int32_t low, std::int32_t high) {
    return low + static_cast<std::int32_t>(engine_() % static_cast<unsigned>(high - low + 1));
  }
  Shape shape(std::size_t rank, std::int32_t most = 4) {
    Shape s(rank);
    for (auto& d : s) d = in(1, most);
    return s;
  }

 private:
  std::mt19937 engine_;
};

// Elements of `type` that are all different as far as the type goes.
Array counted(DType type, const Shape& shape) {
  Array a = Array::zeros(type, shape);
  const std::size_t unit = static_cast<std::size_t>(dtype_bits(type) / 8);
  for (std::size_t i = 0; i < a.elements(); ++i) {
    const std::uint64_t v = type == DType::kBool ? i % 2 : i + 1;
    std::memcpy(a.mutable_data() + i * unit, &v, unit);
  }
  return a;
}

using Source = std::function<std::size_t(const Shape& index)>;

void expect_moved(const Array& got, const Array& in, const Shape& shape, const Source& source) {
  ASSERT_EQ(got.shape(), shape);
  ASSERT_EQ(got.dtype(), in.dtype());
  const std::size_t unit = static_cast<std::size_t>(dtype_bits(in.dtype()) / 8);
  for (std::size_t i = 0; i < got.elements(); ++i) {
    const std::size_t from = source(unflat(shape, i));
    ASSERT_EQ(0, std::memcmp(got.data() + i * unit, in.data() + from * unit, unit))
        << "element " << i << " of " << shape_text(shape);
  }
}

Array ints(const std::vector<std::int32_t>& v) {
  return Array::of(Shape{static_cast<std::int32_t>(v.size())}, v);
}

constexpr DType kTypes[] = {DType::kFloat32, DType::kInt8,  DType::kUint8, DType::kInt16,
                            DType::kInt32,   DType::kInt64, DType::kBool};

TEST(Shape, TransposeMovesEveryElement) {
  Random r(1);
  for (int n = 0; n < 300; ++n) {
    const Shape shape = r.shape(static_cast<std::size_t>(r.in(1, 6)), 5);
    std::vector<std::int32_t> perm(shape.size());
    for (std::size_t d = 0; d < perm.size(); ++d) perm[d] = static_cast<std::int32_t>(d);
    for (std::size_t d = perm.size(); d-- > 1;)
      std::swap(perm[d], perm[static_cast<std::size_t>(r.in(0, static_cast<std::int32_t>(d)))]);
    const Array x = counted(kTypes[n % 7], shape);
    Shape out;
    for (const auto p : perm) out.push_back(shape[static_cast<std::size_t>(p)]);
    const Array y =
        OpCase(OpCode::kTranspose, NoAttrs{}).add(x).constant(ints(perm)).run(kDialects[n % 3])[0];
    expect_moved(y, x, out, [&](const Shape& i) {
      Shape from(shape.size());
      for (std::size_t d = 0; d < perm.size(); ++d) from[static_cast<std::size_t>(perm[d])] = i[d];
      return flat(shape, from);
    });
  }
}

TEST(Shape, TileAndBroadcastRepeat) {
  Random r(2);
  for (int n = 0; n < 200; ++n) {
    const Shape shape = r.shape(static_cast<std::size_t>(r.in(1, 4)));
    std::vector<std::int32_t> times;
    Shape out;
    for (const auto d : shape) {
      times.push_back(r.in(1, 3));
      out.push_back(d * times.back());
    }
    const Array x = counted(kTypes[n % 7], shape);
    expect_moved(
        OpCase(OpCode::kTile, NoAttrs{}).add(x).constant(ints(times)).run(kDialects[n % 3])[0], x,
        out, [&](const Shape& i) {
          Shape from;
          for (std::size_t d = 0; d < i.size(); ++d) from.push_back(i[d] % shape[d]);
          return flat(shape, from);
        });
    Shape narrow = out, wide = out;
    for (auto& d : narrow) d = r.in(0, 1) == 0 ? 1 : d;
    wide.insert(wide.begin(), r.in(1, 3));
    const Array s = counted(kTypes[n % 7], narrow);
    expect_moved(OpCase(OpCode::kBroadcastTo, NoAttrs{})
                     .add(s)
                     .constant(ints(wide))
                     .run(kDialects[n % 3])[0],
                 s, wide, [&](const Shape& i) {
                   Shape from;
                   for (std::size_t d = 0; d < narrow.size(); ++d)
                     from.push_back(narrow[d] == 1 ? 0 : i[d + 1]);
                   return flat(narrow, from);
                 });
  }
}

TEST(Shape, SplitThenConcatenationIsTheIdentity) {
  Random r(3);
  for (int n = 0; n < 200; ++n) {
    Shape shape = r.shape(static_cast<std::size_t>(r.in(1, 5)));
    const auto axis =
        static_cast<std::size_t>(r.in(0, static_cast<std::int32_t>(shape.size()) - 1));
    const std::int32_t parts = r.in(1, 4);
    shape[axis] *= parts;
    const DType type = kTypes[n % 6];  // SPLIT has no bool
    const Array x = counted(type, shape);
    OpCase split(OpCode::kSplit, SplitAttrs{parts}, static_cast<std::size_t>(parts));
    split.constant(ints({static_cast<std::int32_t>(axis)})).add(x).output(type);
    const auto pieces = split.run(kDialects[n % 3]);
    OpCase join(OpCode::kConcatenation, ConcatAttrs{static_cast<std::int32_t>(axis) -
                                                        static_cast<std::int32_t>(shape.size()),
                                                    Activation::kNone});
    for (const Array& piece : pieces) join.add(piece);
    expect_moved(join.run(kDialects[n % 3])[0], x, shape,
                 [&](const Shape& i) { return flat(shape, i); });
  }
}

TEST(Shape, UnpackThenPackIsTheIdentity) {
  Random r(4);
  for (int n = 0; n < 200; ++n) {
    const Shape shape = r.shape(static_cast<std::size_t>(r.in(1, 5)));
    const auto axis =
        static_cast<std::size_t>(r.in(0, static_cast<std::int32_t>(shape.size()) - 1));
    const Array x = counted(kTypes[n % 4], shape);
    OpCase unpack(OpCode::kUnpack, UnpackAttrs{shape[axis], static_cast<std::int32_t>(axis)},
                  static_cast<std::size_t>(shape[axis]));
    const auto pieces = unpack.add(x).run(kDialects[n % 3]);
    OpCase pack(OpCode::kPack, PackAttrs{shape[axis], static_cast<std::int32_t>(axis)});
    for (const Array& piece : pieces) pack.add(piece);
    expect_moved(pack.run(kDialects[n % 3])[0], x, shape,
                 [&](const Shape& i) { return flat(shape, i); });
  }
}

TEST(Shape, GatherPicks) {
  Random r(5);
  for (int n = 0; n < 200; ++n) {
    const Shape shape = r.shape(static_cast<std::size_t>(r.in(1, 4)));
    const auto axis =
        static_cast<std::size_t>(r.in(0, static_cast<std::int32_t>(shape.size()) - 1));
    const auto batch = static_cast<std::size_t>(r.in(0, static_cast<std::int32_t>(axis)));
    Shape picks(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(batch));
    picks.push_back(r.in(1, 4));
    Array index = Array::zeros(DType::kInt32, picks);
    for (auto& v : index.mutable_span<std::int32_t>()) v = r.in(0, shape[axis] - 1);
    const Array x = counted(kTypes[n % 7], shape);
    Shape out(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(axis));
    out.push_back(picks.back());
    out.insert(out.end(), shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, shape.end());
    OpCase c(OpCode::kGather,
             GatherAttrs{static_cast<std::int32_t>(axis), static_cast<std::int32_t>(batch)});
    expect_moved(c.add(x).add(index).run(kDialects[n % 3])[0], x, out, [&](const Shape& i) {
      Shape at(i.begin(), i.begin() + static_cast<std::ptrdiff_t>(batch)), from = i;
      at.push_back(i[axis]);
      from[axis] = index.span<std::int32_t>()[flat(picks, at)];
      return flat(shape, from);
    });
  }
}

TEST(Shape, Uint8ConcatenationRescales) {
  const std::vector<std::uint8_t> values = {0, 1, 10, 128, 200, 255};
  const Array x = Array::of<std::uint8_t>({6}, values);
  OpCase c(OpCode::kConcatenation, ConcatAttrs{0, Activation::kNone});
  c.add(x, oracle::quant_of(0.5f, 3))
      .add(x, oracle::quant_of(0.25f, 7))
      .output(DType::kUint8, oracle::quant_of(0.25f, 7));
  const Array y = c.run(Dialect::kReference)[0];
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(y.span<std::uint8_t>()[i], std::clamp((values[i] - 3) * 2 + 7, 0, 255));
    EXPECT_EQ(y.span<std::uint8_t>()[i + 6], values[i]);
  }
}

TEST(Shape, RefusesWhatDoesNotFit) {
  const Array x = counted(DType::kFloat32, {2, 3});
  EXPECT_THROW(OpCase(OpCode::kReshape, ReshapeAttrs{{4, 2}}).add(x).run(Dialect::kBuiltin), Error);
  EXPECT_THROW(OpCase(OpCode::kReshape, ReshapeAttrs{{-1, -1}}).add(x).run(Dialect::kBuiltin),
               Error);
  EXPECT_THROW(OpCase(OpCode::kReshape, ReshapeAttrs{{2147483647, 2147483647}})
                   .add(x)
                   .run(Dialect::kBuiltin),
               Error);
  EXPECT_THROW(
      OpCase(OpCode::kTranspose, NoAttrs{}).add(x).constant(ints({0, 0})).run(Dialect::kBuiltin),
      Error);
  EXPECT_THROW(
      OpCase(OpCode::kTranspose, NoAttrs{}).add(x).add(ints({1, 0})).run(Dialect::kBuiltin), Error);
  EXPECT_THROW(
      OpCase(OpCode::kGather, GatherAttrs{0, 0}).add(x).constant(ints({2})).run(Dialect::kBuiltin),
      Error);
  EXPECT_THROW(OpCase(OpCode::kSplit, SplitAttrs{2}, 2)
                   .constant(ints({1}))
                   .add(x)
                   .output(DType::kFloat32)
                   .run(Dialect::kBuiltin),
               Error);
  EXPECT_THROW(OpCase(OpCode::kSqueeze, SqueezeAttrs{{0}}).add(x).run(Dialect::kBuiltin), Error);
}

}  // namespace
}  // namespace litegap
