// Values that are needed on the way but carry no gradient: comparisons, logic, casts, rounding,
// positions of extremes.  The runtime's own kernels compute them, in the file's types.
#include <memory>

#include "train/borrow.h"
#include "train/step.h"

namespace litegap {
namespace {

template <class To, class From>
void convert(const From* from, std::size_t n, void* to) {
  To* const out = static_cast<To*>(to);
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<To>(from[i]);
}

// Calls body with a value of the C++ type that holds `dtype`.
template <class Body>
void with_type(DType dtype, const std::string& label, Body body) {
  switch (dtype) {
    case DType::kFloat32:
      return body(float{});
    case DType::kInt32:
      return body(std::int32_t{});
    case DType::kInt64:
      return body(std::int64_t{});
    case DType::kBool:
      return body(bool{});
    case DType::kInt8:
      return body(std::int8_t{});
    case DType::kUint8:
      return body(std::uint8_t{});
    default:
      fail("{}: {} cannot be trained through", label, dtype_name(dtype));
  }
}

struct Still {
  Borrowed borrowed;
  std::vector<Array> in, out;
  std::vector<void*> ins, outs;
  Array scratch;
};

template <class T>
Step<T> make_still(const Node<T>& n) {
  auto s = std::make_shared<Still>();
  s->borrowed = borrow(n, false);
  const auto& tensors = n.model->main().tensors;
  for (std::size_t i = 0; i < n.in.size(); ++i) {
    s->in.push_back(n.in[i].present ? Array::zeros(n.tensor_in(i).dtype, n.in[i].shape) : Array());
    s->ins.push_back(n.in[i].present ? s->in[i].mutable_data() : nullptr);
  }
  for (std::size_t i = 0; i < n.out.size(); ++i) {
    const DType dtype = tensors[static_cast<std::size_t>(n.op->outputs[i])].dtype;
    s->out.push_back(Array::zeros(dtype, n.out[i].shape));
    s->outs.push_back(s->out[i].mutable_data());
  }
  s->scratch = Array::zeros(DType::kUint8,
                            {static_cast<std::int32_t>(s->borrowed.kernel->scratch_bytes()) + 1});
  const auto in = n.in, out = n.out;
  const std::string label = n.label();
  Step<T> step;
  step.forward = [=] {
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (!in[i].present) continue;
      with_type(s->in[i].dtype(), label,
                [&](auto type) { convert<decltype(type)>(in[i].value, in[i].count, s->ins[i]); });
    }
    s->borrowed.kernel->run({s->ins.data(), s->outs.data(), s->scratch.mutable_data(), nullptr});
    for (std::size_t i = 0; i < out.size(); ++i) {
      with_type(s->out[i].dtype(), label, [&](auto type) {
        convert<T>(static_cast<const decltype(type)*>(s->outs[i]), out[i].count, out[i].value);
      });
    }
  };
  return step;
}

}  // namespace

std::vector<StepRow> still_steps() {
  std::vector<StepRow> rows;
  for (const OpCode code :
       {OpCode::kEqual,      OpCode::kNotEqual,     OpCode::kLess,       OpCode::kLessEqual,
        OpCode::kGreater,    OpCode::kGreaterEqual, OpCode::kLogicalAnd, OpCode::kLogicalOr,
        OpCode::kLogicalNot, OpCode::kCast,         OpCode::kFloor,      OpCode::kCeil,
        OpCode::kRound,      OpCode::kFloorDiv,     OpCode::kFloorMod,   OpCode::kArgMax,
        OpCode::kArgMin,     OpCode::kOneHot,       OpCode::kFill,       OpCode::kRange,
        OpCode::kShape,      OpCode::kReduceAny,    OpCode::kCumsum}) {
    if (kernel_row(code) != nullptr)
      rows.push_back({code, make_still<float>, make_still<double>, false});
  }
  return rows;
}

}  // namespace litegap
