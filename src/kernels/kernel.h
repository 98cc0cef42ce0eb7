// What a kernel is, and the table of all kernels.
//
// A kernel is made in two steps.  prepare() sees an OpSpec: types, shapes, quantization and
// constants of the operands.  It checks everything that can be wrong (throws Error naming operator,
// tensor, expected and found), sets the output shapes, packs weights and computes multipliers.
// run() sees bare pointers and cannot fail.
//
//   OpSpec spec = …;                                 // one CONV_2D with its operands
//   auto kernel = kernel_row(spec.op->code)->prepare(spec);   // shapes of spec.outputs are now set
//   kernel->run({inputs, outputs, scratch, nullptr});
//
// Dialect says whose arithmetic: the reference kernels, the optimized built-in ones, or the default
// (XNNPACK takes the nodes it supports, the rest run as built-in).  A kernel prepared for kXnnpack
// decides itself, from the spec, whether XNNPACK would take the node.
//
// Float operands mean float arithmetic (a float file, or an operator of a quantized file computed
// in real arithmetic: run/ passes dequantized operands); integer operands mean integer arithmetic;
// float activations with int8 weights mean the dynamic-range (hybrid) kernel.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/model.h"

namespace litegap {

enum class Dialect : std::uint8_t { kReference, kBuiltin, kXnnpack };
const char* dialect_name(Dialect dialect);    // "reference", "builtin", "xnnpack"
Dialect dialect_of(const std::string& name);  // throws Error

struct Operand {
  bool present = false;  // false: index -1 in the file
  DType dtype = DType::kFloat32;
  Shape shape;
  const Quant* quant = nullptr;     // never null when present; may be empty()
  const Array* constant = nullptr;  // the value, when it is known at plan time
  bool is_variable = false;         // state: the kernel may write through inputs[i]
  bool sparse = false;
  int sparse_block = 0;  // as in Tensor
  std::string_view name;
  const Array* block_scales = nullptr;  // blockwise weights: [channels, blocks], where constant
};

struct OpSpec {
  const Op* op = nullptr;
  std::vector<Operand> inputs, outputs, intermediates;  // prepare() sets outputs[i].shape
  Dialect dialect = Dialect::kXnnpack;
  std::string label;  // for messages: "#3 CONV_2D (name)"
  // The operators of the graph that says how two values become one; of STABLEHLO_SCATTER and
  // STABLEHLO_REDUCE_WINDOW, whose options name it.
  std::vector<OpCode> body;

  bool has(std::size_t i) const { return i < inputs.size() && inputs[i].present; }
};

struct Io {
  void* const* inputs;  // null where absent
  void* const* outputs;
  std::byte* scratch;  // scratch_bytes() bytes, 64-byte aligned, content undefined
  void* accumulators;  // null, or room for one accumulator per element of output 0
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual void run(const Io& io) const noexcept = 0;
  virtual std::size_t scratch_bytes() const { return 0; }
  // The type of the sums (bias included, before requantization) that run() stores to
  // io.accumulators when it is not null: kInt32 or kInt64; kFloat32 = this kernel has none.
  virtual DType accumulator_type() const { return DType::kFloat32; }
};

using Prepare = std::unique_ptr<Kernel> (*)(OpSpec& spec);

struct KernelRow {
  OpCode code;
  Prepare prepare;
  // Types of the values it works on, with spaces between; "hybrid" is float32 with weights of
  // 4 or 8 bits.  What `litegap ops` prints.
  const char* types = "";
  const char* custom = nullptr;  // the name of a CUSTOM operator
};

// null when the operator has no kernel at all.
const KernelRow* kernel_row(OpCode code);
const KernelRow* kernel_row(const Op& op);  // also finds CUSTOM operators, by their name
std::span<const KernelRow> kernel_table();

// ---- help for prepare()

// Throws Error "LABEL: WHAT".
[[noreturn]] void refuse_with(const OpSpec& spec, fmt::string_view format, fmt::format_args args);
template <class... Args>
[[noreturn]] void refuse(const OpSpec& spec, fmt::format_string<Args...> format, Args&&... args) {
  refuse_with(spec, format, fmt::make_format_args(args...));
}
void expect_inputs(const OpSpec& spec, std::size_t least, std::size_t most);
void expect_outputs(const OpSpec& spec, std::size_t count);
// The attrs of the expected kind; refuses otherwise.
template <class A>
const A& attrs_of(const OpSpec& spec) {
  const A* a = std::get_if<A>(&spec.op->attrs);
  if (a == nullptr) refuse(spec, "its options are missing or of another operator");
  return *a;
}
// Values of a constant int32/int64 operand; refuses when it is not constant.
std::vector<std::int64_t> constant_integers(const OpSpec& spec, std::size_t input);
// A kernel that runs a callable: for operators whose work is a loop over prepared values.
template <class F>
std::unique_ptr<Kernel> make_kernel(F body, std::size_t scratch = 0) {
  class Closure final : public Kernel {
   public:
    Closure(F f, std::size_t s) : body_(std::move(f)), scratch_(s) {}
    void run(const Io& io) const noexcept override { body_(io); }
    std::size_t scratch_bytes() const override { return scratch_; }

   private:
    F body_;
    std::size_t scratch_;
  };
  return std::make_unique<Closure>(std::move(body), scratch);
}

}  // namespace litegap
