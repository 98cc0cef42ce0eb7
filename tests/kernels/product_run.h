// Random products for the tests of the matrix operators: makes an OpSpec of a ProductCase, runs it
// with every table of inner loops this machine has, and compares bit for bit with the judge.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <random>

#include "avx512_emulated.h"
#include "kernels/gemm_ops.h"
#include "kernels/row_kernel.h"
#include "oracle/product.h"
#include "plain_quads.h"

namespace litegap::oracle {

using PrepareWith = std::unique_ptr<Kernel> (*)(OpSpec&, const GemmKernels&);

inline std::vector<const GemmKernels*> all_tables() {
  std::vector<const GemmKernels*> tables{&gemm_generic()};
  if (gemm_avx2() != nullptr) tables.push_back(gemm_avx2());
  // Where the machine lacks AVX-512, its loops run with the instructions written out.
  const GemmKernels* avx512 = gemm_avx512() != nullptr ? gemm_avx512() : gemm_avx512_emulated();
  if (gemm_avx2() != nullptr && avx512 != nullptr) tables.push_back(avx512);
  if (gemm_amx() != nullptr) tables.push_back(gemm_amx());
  if (gemm_amx_emulated() != nullptr) tables.push_back(gemm_amx_emulated());
  if (gemm_neon() != nullptr) tables.push_back(gemm_neon());
  if (gemm_neon_dot() != nullptr) tables.push_back(gemm_neon_dot());
  tables.push_back(&plain_quads<std::int8_t>());
  tables.push_back(&plain_quads<std::uint8_t>());
  return tables;
}

// Repetitions of a random test; fewer under sanitizers.
inline int repetitions(int full) {
  return std::getenv("LITEGAP_TEST_LIGHT") != nullptr ? full / 8 : full;
}

class Dice {
 public:
  explicit Dice(unsigned seed) : engine_(seed) {}
  std::int32_t range(std::int32_t low, std::int32_t high) {
    const std::uint64_t many = static_cast<std::uint64_t>(std::int64_t{high} - low + 1);
    return static_cast<std::int32_t>(low + static_cast<std::int64_t>(engine_() % many));
  }
  bool one_in(std::int32_t n) { return range(1, n) == 1; }
  float real(float low, float high) {
    return low + (high - low) * static_cast<float>(engine_() >> 40) / 16777216.0f;
  }
  float normal() { return normal_(engine_); }

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<float> normal_;
};

inline std::int32_t type_low(DType t) {
  return t == DType::kInt8 ? -128 : t == DType::kUint8 ? 0 : -32768;
}
inline std::int32_t type_high(DType t) {
  return t == DType::kInt8 ? 127 : t == DType::kUint8 ? 255 : 32767;
}

// Uniform codes, or only the two ends of the range.
inline std::vector<std::int32_t> random_codes(Dice& dice, std::size_t n, std::int32_t low,
                                              std::int32_t high) {
  const bool ends = dice.one_in(4);
  std::vector<std::int32_t> v(n);
  for (auto& x : v) x = !ends ? dice.range(low, high) : dice.one_in(8) ? high : low;
  return v;
}

// Scales: powers of two make ties frequent; now and then the multiplier leaves its usual range.
inline float random_scale(Dice& dice) {
  const float power = std::ldexp(1.0f, dice.range(-9, -3));
  return dice.one_in(2) ? power : power * dice.real(0.6f, 1.4f);
}

inline void fill_integer(ProductCase& c, Dice& dice, std::size_t inputs, std::size_t weights,
                         std::size_t depth) {
  const bool uint8 = c.type == DType::kUint8;
  c.x = random_codes(dice, inputs, type_low(c.type), type_high(c.type));
  c.weights = random_codes(dice, weights,
                           uint8            ? 0
                           : dice.one_in(2) ? -128
                                            : -127,
                           uint8 ? 255 : 127);
  if (c.type != DType::kInt16) {
    c.x_zero = dice.range(type_low(c.type), type_high(c.type));
    c.y_zero = dice.range(type_low(c.type), type_high(c.type));
  }
  if (uint8) c.w_zero = dice.one_in(4) ? 128 : dice.range(0, 255);
  c.x_scale = random_scale(dice);
  c.w_scale.assign(uint8 || dice.one_in(3) ? 1 : static_cast<std::size_t>(c.o), 0);
  for (float& s : c.w_scale) s = random_scale(dice);
  const float typical = c.x_scale * c.w_scale[0] * std::sqrt(static_cast<float>(depth)) *
                        (c.type == DType::kInt16 ? 32.0f : 40.0f);
  c.y_scale = dice.one_in(8)   ? random_scale(dice)
              : dice.one_in(2) ? std::exp2(std::round(std::log2(typical)))
                               : typical;
  const std::int64_t bias = dice.one_in(6) ? 2000000000 : 4000;
  for (std::int32_t i = 0; i < c.o; ++i)
    c.bias.push_back(static_cast<std::int64_t>(dice.real(-1, 1) * static_cast<float>(bias)));
}

inline void fill_real(ProductCase& c, Dice& dice, std::size_t inputs, std::size_t weights,
                      bool per_channel) {
  c.type = DType::kFloat32;
  for (std::size_t i = 0; i < inputs; ++i)
    c.real_x.push_back(dice.one_in(16) ? 0.0f : dice.normal());
  for (std::int32_t i = 0; i < c.o; ++i) c.real_bias.push_back(dice.normal());
  if (!c.hybrid) {
    for (std::size_t i = 0; i < weights; ++i) c.real_weights.push_back(dice.normal());
    return;
  }
  c.weights = random_codes(dice, weights, -127, 127);
  c.w_scale.assign(per_channel ? static_cast<std::size_t>(c.o) : 1, 0);
  for (float& s : c.w_scale) s = random_scale(dice);
}

// Values of one sign: run-time codes then have the lowest or the highest zero point.
inline void use_one_sign(ProductCase& c, Dice& dice) {
  const float sign = dice.one_in(2) ? 1.0f : -1.0f;
  for (float& v : c.real_x) v = std::copysign(v, sign);
}

inline Array code_array(DType type, const Shape& shape, const std::vector<std::int32_t>& codes) {
  Array a = Array::zeros(type, shape);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    if (type == DType::kInt8)
      a.mutable_span<std::int8_t>()[i] = static_cast<std::int8_t>(codes[i]);
    else if (type == DType::kUint8)
      a.mutable_span<std::uint8_t>()[i] = static_cast<std::uint8_t>(codes[i]);
    else
      a.mutable_span<std::int16_t>()[i] = static_cast<std::int16_t>(codes[i]);
  }
  return a;
}

// The operands of a case; an OpSpec points into it.
class ProductOperands {
 public:
  explicit ProductOperands(const ProductCase& c) : c_(c) {
    const bool real = c.type == DType::kFloat32;
    const DType code = c.type == DType::kUint8 ? DType::kUint8 : DType::kInt8;
    x_ = real ? Array::of(x_shape(), c.real_x) : code_array(c.type, x_shape(), c.x);
    w_ = real && !c.hybrid ? Array::of(w_shape(), c.real_weights)
                           : code_array(code, w_shape(), c.weights);
    if (real)
      bias_ = Array::of({c.o}, c.real_bias);
    else if (c.type == DType::kInt16 && !c.bias32)
      bias_ = Array::of({c.o}, c.bias);
    else
      bias_ = Array::of({c.o}, std::vector<std::int32_t>(c.bias.begin(), c.bias.end()));
    x_quant_ = {.scale = {c.x_scale}, .zero_point = {c.x_zero}};
    y_quant_ = {.scale = {c.y_scale}, .zero_point = {c.y_zero}};
    w_quant_ = {.scale = c.w_scale,
                .zero_point = std::vector<std::int64_t>(c.w_scale.size(), c.w_zero)};
    w_quant_.axis = c.op == OpCode::kDepthwiseConv2d && c.w_scale.size() > 1 ? 3 : 0;
    out_shape_ = Array::of({4}, std::vector<std::int32_t>{c.n, c.out_h, c.out_w, c.o});
    set_op();
  }

  OpSpec spec() const {
    OpSpec s;
    s.op = &op_;
    s.dialect = c_.dialect;
    s.label = "#0 " + op_name(op_.code);
    const Operand x = operand(x_, &x_quant_, false), w = operand(w_, &w_quant_, c_.constant),
                  b = operand(bias_, &none_, c_.constant);
    if (c_.op == OpCode::kTransposeConv)
      s.inputs = {operand(out_shape_, &none_, true), w, x, b};
    else
      s.inputs = {x, w, b};
    Operand y = operand(x_, &y_quant_, false);
    y.shape.clear();
    s.outputs = {y};
    return s;
  }
  std::vector<void*> pointers() {
    const auto at = [](Array& a) { return static_cast<void*>(a.mutable_data()); };
    if (c_.op == OpCode::kTransposeConv) return {at(out_shape_), at(w_), at(x_), at(bias_)};
    return {at(x_), at(w_), at(bias_)};
  }

 private:
  Shape x_shape() const {
    return c_.op == OpCode::kFullyConnected ? Shape{c_.n, c_.c} : Shape{c_.n, c_.h, c_.w, c_.c};
  }
  Shape w_shape() const {
    if (c_.op == OpCode::kFullyConnected) return {c_.o, c_.c};
    if (c_.op == OpCode::kDepthwiseConv2d) return {1, c_.kh, c_.kw, c_.o};
    return {c_.o, c_.kh, c_.kw, c_.c / c_.groups};
  }
  static Operand operand(const Array& a, const Quant* quant, bool constant) {
    Operand o;
    o.present = true;
    o.dtype = a.dtype();
    o.shape = a.shape();
    o.quant = quant;
    o.constant = constant ? &a : nullptr;
    return o;
  }
  void set_op() {
    op_.code = c_.op;
    const DType bias = c_.bias32 ? DType::kInt32 : DType::kFloat32;
    if (c_.op == OpCode::kConv2d)
      op_.attrs = ConvAttrs{c_.padding,    c_.stride_w,   c_.stride_h, c_.activation,
                            c_.dilation_w, c_.dilation_h, bias};
    else if (c_.op == OpCode::kDepthwiseConv2d)
      op_.attrs = DepthwiseAttrs{c_.padding,    c_.stride_w,   c_.stride_h,  c_.o / c_.c,
                                 c_.activation, c_.dilation_w, c_.dilation_h};
    else if (c_.op == OpCode::kFullyConnected)
      op_.attrs = FullyConnectedAttrs{c_.activation, 0, false, c_.asymmetric, bias};
    else
      op_.attrs = TransposeConvAttrs{c_.padding, c_.stride_w, c_.stride_h, c_.activation, bias};
  }

  const ProductCase& c_;
  Array x_, w_, bias_, out_shape_;
  Quant x_quant_, w_quant_, y_quant_, none_;
  Op op_;
};

struct ProductResult {
  Array y, sums;
};

// A kernel that threads can share gives the same in pieces, the last of them first.
inline void expect_same_in_pieces(const ProductCase& c, const Kernel& kernel, const Io& io,
                                  const ProductResult& whole) {
  const auto* shared = dynamic_cast<const RowKernel*>(&kernel);
  const std::size_t rows = shared == nullptr ? 1 : shared->rows();
  if (rows < 2) return;
  Array y = Array::zeros(whole.y.dtype(), whole.y.shape());
  Array sums = whole.sums.empty() ? Array{} : Array::zeros(whole.sums.dtype(), whole.sums.shape());
  void* output = y.mutable_data();
  const Io own{io.inputs, &output, io.scratch, sums.empty() ? nullptr : sums.mutable_data()};
  const std::size_t cut = 1 + rows / 3;
  shared->run_rows(own, cut, rows);
  shared->run_rows(own, 1, cut);
  shared->run_rows(own, 0, 1);
  EXPECT_TRUE(std::ranges::equal(y.bytes(), whole.y.bytes())) << rows << " rows of " << c.text();
  EXPECT_TRUE(std::ranges::equal(sums.bytes(), whole.sums.bytes())) << "sums of " << c.text();
}

inline ProductResult run_product(const ProductCase& c, PrepareWith prepare,
                                 const GemmKernels& kernels, bool want_sums) {
  ProductOperands operands(c);
  OpSpec spec = operands.spec();
  const auto kernel = prepare(spec, kernels);
  EXPECT_EQ(spec.outputs[0].shape, c.output_shape()) << c.text();
  ProductResult r;
  r.y = Array::zeros(c.type, spec.outputs[0].shape);
  want_sums = want_sums && kernel->accumulator_type() != DType::kFloat32;
  if (want_sums) r.sums = Array::zeros(kernel->accumulator_type(), r.y.shape());
  Array scratch =
      Array::zeros(DType::kUint8, {static_cast<std::int32_t>(kernel->scratch_bytes() + 1)});
  std::fill(scratch.mutable_span<std::uint8_t>().begin(),
            scratch.mutable_span<std::uint8_t>().end(), std::uint8_t{0xA5});
  std::vector<void*> inputs = operands.pointers();
  void* output = r.y.mutable_data();
  const Io io{inputs.data(), &output, scratch.mutable_data(),
              want_sums ? r.sums.mutable_data() : nullptr};
  kernel->run(io);
  expect_same_in_pieces(c, *kernel, io, r);
  return r;
}

inline void expect_codes(const ProductCase& c, PrepareWith prepare, Products products) {
  const std::vector<std::int64_t> sums = judge_sums(c, products);
  const Array want = code_array(c.type, c.output_shape(), judge_codes(c, sums));
  for (const GemmKernels* kernels : all_tables()) {
    for (const bool want_sums : {false, true}) {
      const ProductResult got = run_product(c, prepare, *kernels, want_sums);
      ASSERT_TRUE(std::equal(want.bytes().begin(), want.bytes().end(), got.y.bytes().begin()))
          << kernels->name << ": " << c.text();
      for (std::size_t i = 0; i < got.sums.elements(); ++i) {
        const std::int64_t sum = got.sums.dtype() == DType::kInt64
                                     ? got.sums.span<std::int64_t>()[i]
                                     : got.sums.span<std::int32_t>()[i];
        const std::int64_t judge =
            got.sums.dtype() == DType::kInt64 ? sums[i] : static_cast<std::int32_t>(sums[i]);
        ASSERT_EQ(sum, judge) << kernels->name << ": sum " << i << " of " << c.text();
      }
    }
  }
}

inline void expect_floats(const ProductCase& c, PrepareWith prepare, Products products) {
  const std::vector<float> want = c.hybrid ? judge_hybrid(c, products) : judge_floats(c, products);
  for (const GemmKernels* kernels : all_tables()) {
    const ProductResult got = run_product(c, prepare, *kernels, false);
    for (std::size_t i = 0; i < want.size(); ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(want[i]),
                std::bit_cast<std::uint32_t>(got.y.span<float>()[i]))
          << kernels->name << ": element " << i << ": " << want[i] << " and "
          << got.y.span<float>()[i] << " of " << c.text();
    }
  }
}

inline Dialect random_dialect(Dice& dice) { return static_cast<Dialect>(dice.range(0, 2)); }
inline Activation random_activation(Dice& dice) {
  return static_cast<Activation>(dice.range(0, 3));
}
inline DType random_type(Dice& dice) {
  const DType types[] = {DType::kInt8, DType::kInt8, DType::kUint8, DType::kInt16};
  return types[dice.range(0, 3)];
}

}  // namespace litegap::oracle
