// The table of kernels says which types an operator takes: asked with every type, the operators
// whose operands are easily made take those and refuse all others.
#include <sstream>

#include "grid_run.h"

namespace litegap::oracle {
namespace {

constexpr DType kAll[] = {DType::kFloat32,  DType::kFloat16, DType::kFloat64, DType::kInt8,
                          DType::kUint8,    DType::kInt16,   DType::kUint16,  DType::kInt32,
                          DType::kUint32,   DType::kInt64,   DType::kUint64,  DType::kBool,
                          DType::kComplex64};

bool listed(const char* types, DType t) {
  std::istringstream in(types);
  for (std::string word; in >> word;) {
    if (word == dtype_name(t)) return true;
  }
  return false;
}

// The scale that an operator wants of its output.
Quant output_quant(OpCode op, DType t) {
  const bool is_unsigned = t == DType::kUint8, wide = t == DType::kInt16;
  switch (op) {
    case OpCode::kSoftmax:
    case OpCode::kLogistic:
      return wide ? quant_of(1.0f / 32768, 0) : quant_of(1.0f / 256, is_unsigned ? 0 : -128);
    case OpCode::kTanh:
    case OpCode::kL2Normalization:
      return wide ? quant_of(1.0f / 32768, 0) : quant_of(1.0f / 128, is_unsigned ? 128 : 0);
    case OpCode::kLogSoftmax:
      return quant_of(16.0f / 256, is_unsigned ? 255 : 127);
    default:
      return quant_of(0.1f, 0);
  }
}

std::string refused_with(OpCode op, Attrs attrs, DType t, std::size_t operands, bool axes) {
  const bool codes = t == DType::kInt8 || t == DType::kUint8 || t == DType::kInt16;
  OpCase c(op, std::move(attrs));
  for (std::size_t i = 0; i < operands; ++i) {
    // One everywhere: no operator divides by zero or takes a root of less.
    Array a = Array::zeros(t, {1, 2, 2, 4});
    for (std::size_t k = 0; k < a.byte_size(); ++k) a.mutable_data()[k] = std::byte{1};
    c.add(a, codes ? quant_of(0.1f, 0) : Quant{});
  }
  if (axes) c.constant(integers({1}));
  const bool compares = op == OpCode::kEqual || op == OpCode::kNotEqual || op == OpCode::kLess ||
                        op == OpCode::kLessEqual || op == OpCode::kGreater ||
                        op == OpCode::kGreaterEqual;
  if (compares)
    c.output(DType::kBool);
  else
    c.output(t, codes ? output_quant(op, t) : Quant{});
  // Some exist only in the other kernels: one dialect is enough.
  std::string first;
  for (const Dialect d : {Dialect::kBuiltin, Dialect::kXnnpack}) {
    const std::string why = refusal(c, d);
    if (why.empty()) return "";
    if (first.empty()) first = why;
  }
  return first;
}

struct Asked {
  OpCode op;
  Attrs attrs;
  std::size_t operands;
  bool axes = false;
};

TEST(Table, TypesAreThoseOfTheKernels) {
  const std::vector<Asked> asked = {
      {OpCode::kAbs, NoAttrs{}, 1},
      {OpCode::kNeg, NoAttrs{}, 1},
      {OpCode::kSqrt, NoAttrs{}, 1},
      {OpCode::kRsqrt, NoAttrs{}, 1},
      {OpCode::kSquare, NoAttrs{}, 1},
      {OpCode::kFloor, NoAttrs{}, 1},
      {OpCode::kCeil, NoAttrs{}, 1},
      {OpCode::kRound, NoAttrs{}, 1},
      {OpCode::kSin, NoAttrs{}, 1},
      {OpCode::kCos, NoAttrs{}, 1},
      {OpCode::kSign, NoAttrs{}, 1},
      {OpCode::kLogistic, NoAttrs{}, 1},
      {OpCode::kTanh, NoAttrs{}, 1},
      {OpCode::kElu, NoAttrs{}, 1},
      {OpCode::kGelu, GeluAttrs{}, 1},
      {OpCode::kExp, NoAttrs{}, 1},
      {OpCode::kLog, NoAttrs{}, 1},
      {OpCode::kRelu, NoAttrs{}, 1},
      {OpCode::kRelu6, NoAttrs{}, 1},
      {OpCode::kHardSwish, NoAttrs{}, 1},
      {OpCode::kLeakyRelu, LeakyReluAttrs{0.5f}, 1},
      {OpCode::kSoftmax, SoftmaxAttrs{1}, 1},
      {OpCode::kLogSoftmax, NoAttrs{}, 1},
      {OpCode::kZerosLike, NoAttrs{}, 1},
      {OpCode::kLogicalNot, NoAttrs{}, 1},
      {OpCode::kFakeQuant, FakeQuantAttrs{-1, 1, 8, false}, 1},
      {OpCode::kAdd, AddAttrs{}, 2},
      {OpCode::kSub, AddAttrs{}, 2},
      {OpCode::kMul, ActivationAttrs{}, 2},
      {OpCode::kDiv, ActivationAttrs{}, 2},
      {OpCode::kFloorDiv, NoAttrs{}, 2},
      {OpCode::kFloorMod, NoAttrs{}, 2},
      {OpCode::kPow, NoAttrs{}, 2},
      {OpCode::kMaximum, NoAttrs{}, 2},
      {OpCode::kMinimum, NoAttrs{}, 2},
      {OpCode::kSquaredDifference, NoAttrs{}, 2},
      {OpCode::kAtan2, NoAttrs{}, 2},
      {OpCode::kBitwiseXor, NoAttrs{}, 2},
      {OpCode::kRightShift, NoAttrs{}, 2},
      {OpCode::kStablehloAdd, NoAttrs{}, 2},
      {OpCode::kStablehloMultiply, NoAttrs{}, 2},
      {OpCode::kStablehloShiftLeft, NoAttrs{}, 2},
      {OpCode::kAddN, NoAttrs{}, 2},
      {OpCode::kEqual, NoAttrs{}, 2},
      {OpCode::kNotEqual, NoAttrs{}, 2},
      {OpCode::kLess, NoAttrs{}, 2},
      {OpCode::kGreaterEqual, NoAttrs{}, 2},
      {OpCode::kLogicalAnd, NoAttrs{}, 2},
      {OpCode::kMean, ReducerAttrs{}, 1, true},
      {OpCode::kSum, ReducerAttrs{}, 1, true},
      {OpCode::kReduceMax, ReducerAttrs{}, 1, true},
      {OpCode::kReduceProd, ReducerAttrs{}, 1, true},
      {OpCode::kReduceAny, ReducerAttrs{}, 1, true},
      {OpCode::kReduceAll, ReducerAttrs{}, 1, true},
  };
  for (const Asked& a : asked) {
    const KernelRow* row = kernel_row(a.op);
    ASSERT_NE(row, nullptr) << op_name(a.op);
    for (const DType t : kAll) {
      const std::string why = refused_with(a.op, a.attrs, t, a.operands, a.axes);
      EXPECT_EQ(why.empty(), listed(row->types, t))
          << op_name(a.op) << " of " << dtype_name(t) << ": " << why;
    }
  }
}

TEST(Table, EveryRowNamesTypes) {
  for (const KernelRow& row : kernel_table())
    EXPECT_FALSE(std::string(row.types).empty()) << op_name(row.code);
}

TEST(Table, CustomOperatorsAreFoundByName) {
  Op op;
  op.code = OpCode::kCustom;
  op.custom_code = "TFLite_Detection_PostProcess";
  EXPECT_NE(kernel_row(op), nullptr);
  op.custom_code = "Unheard";
  EXPECT_EQ(kernel_row(op), nullptr);
  EXPECT_EQ(kernel_row(OpCode::kCustom), nullptr);
}

}  // namespace
}  // namespace litegap::oracle
