// LSTM with the kernel type BASIC: one matrix for all gates over the input joined with the last
// activation, and four outputs, the last two of which are the joined row and the gates.
//
//   gates = W [x, a] + bias, in the order input, new input, forget, output
//   state = sigmoid(input) * tanh(new) + sigmoid(forget) * state;  a = sigmoid(output) *
//   tanh(state)
//
// uint8: activations have scale 1/128 and zero point 128, gates are Q3.12, the state is Q4.11.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/fixed_point.h"
#include "kernels/lstm.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

struct Basic {
  std::int32_t batch = 0, input = 0, cell = 0;

  template <class T>
  void join(const Io& io) const noexcept {
    const auto* x = static_cast<const T*>(io.inputs[0]);
    const auto* a = static_cast<const T*>(io.inputs[1]);
    auto* to = static_cast<T*>(io.outputs[2]);
    for (std::int32_t b = 0; b < batch; ++b, x += input, a += cell)
      to = std::copy_n(a, cell, std::copy_n(x, input, to));
  }
};

float sigmoid(float x) {
  return static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(x))));
}

void run_float(const Basic& s, const Io& io) noexcept {
  s.join<float>(io);
  const std::int32_t wide = s.input + s.cell;
  const auto* bias = static_cast<const float*>(io.inputs[3]);
  const auto* old = static_cast<const float*>(io.inputs[4]);
  auto *activation = static_cast<float*>(io.outputs[0]),
       *state = static_cast<float*>(io.outputs[1]);
  const auto* row = static_cast<const float*>(io.outputs[2]);
  auto* gates = static_cast<float*>(io.outputs[3]);
  for (std::int32_t b = 0; b < s.batch; ++b, row += wide, gates += 4 * s.cell) {
    const auto* w = static_cast<const float*>(io.inputs[2]);
    for (std::int32_t g = 0; g < 4 * s.cell; ++g, w += wide) {
      float sum = 0;
      for (std::int32_t k = 0; k < wide; ++k) sum = std::fma(w[k], row[k], sum);
      gates[g] = sum + bias[g];
    }
    for (std::int32_t i = 0; i < s.cell; ++i) {
      const float in = sigmoid(gates[i]), fresh = std::tanh(gates[s.cell + i]),
                  forget = sigmoid(gates[2 * s.cell + i]), out = sigmoid(gates[3 * s.cell + i]);
      const std::int64_t at = std::int64_t{b} * s.cell + i;
      state[at] = in * fresh + forget * old[at];
      activation[at] = out * std::tanh(state[at]);
    }
  }
}

struct BasicCodes {
  Basic s;
  std::int32_t weight_zero = 0;
  Multiplier scale;

  void gates_of(const Io& io, const std::uint8_t* row, std::int16_t* gates) const noexcept {
    const auto* w = static_cast<const std::uint8_t*>(io.inputs[2]);
    const auto* bias = static_cast<const std::int32_t*>(io.inputs[3]);
    const std::int32_t wide = s.input + s.cell;
    for (std::int32_t g = 0; g < 4 * s.cell; ++g, w += wide) {
      std::int32_t sum = bias[g];
      for (std::int32_t k = 0; k < wide; ++k) sum += (row[k] - 128) * (w[k] - weight_zero);
      gates[g] = static_cast<std::int16_t>(fixed::clamp16(scale_up(sum, scale)));
    }
  }

  void operator()(const Io& io) const noexcept {
    s.join<std::uint8_t>(io);
    const auto* row = static_cast<const std::uint8_t*>(io.outputs[2]);
    auto* gates = static_cast<std::int16_t*>(io.outputs[3]);
    const auto* old = static_cast<const std::int16_t*>(io.inputs[4]);
    auto* state = static_cast<std::int16_t*>(io.outputs[1]);
    auto* activation = static_cast<std::uint8_t*>(io.outputs[0]);
    for (std::int32_t b = 0; b < s.batch; ++b, row += s.input + s.cell, gates += 4 * s.cell) {
      gates_of(io, row, gates);
      for (std::int32_t i = 0; i < s.cell; ++i, ++old) {
        const std::int32_t in = fixed::logistic16(gates[i]),
                           fresh = fixed::tanh16(gates[s.cell + i], 3),
                           forget = fixed::logistic16(gates[2 * s.cell + i]),
                           out = fixed::logistic16(gates[3 * s.cell + i]);
        const std::int32_t added = shift_right_away(fixed::high_multiply16(in, fresh), 4);
        const std::int32_t c = fixed::clamp16(added + fixed::high_multiply16(forget, *old));
        const std::int32_t a = fixed::high_multiply16(out, fixed::tanh16(c, 4));
        *state++ = static_cast<std::int16_t>(c);
        *activation++ =
            static_cast<std::uint8_t>(128 + std::clamp(shift_right_away(a, 8), -128, 127));
      }
    }
  }
};

Basic read_basic(OpSpec& spec) {
  expect_inputs(spec, 5, 5);
  expect_outputs(spec, 4);
  for (const std::size_t i : {0, 1, 2}) {
    if (spec.inputs[i].shape.size() != 2) refuse(spec, "input {} needs 2 dimensions", i);
  }
  Basic s;
  s.batch = spec.inputs[0].shape[0];
  s.input = spec.inputs[0].shape[1];
  s.cell = spec.inputs[1].shape[1];
  if (s.cell > 1 << 24 || s.input > 1 << 24) refuse(spec, "rows of {} and {}", s.input, s.cell);
  expect_operand(spec, 1, {s.batch, s.cell});
  expect_operand(spec, 2, {4 * s.cell, s.input + s.cell});
  expect_operand(spec, 3, {4 * s.cell});
  expect_operand(spec, 4, {s.batch, s.cell});
  spec.outputs[0].shape = spec.outputs[1].shape = {s.batch, s.cell};
  spec.outputs[2].shape = {s.batch, s.input + s.cell};
  spec.outputs[3].shape = {s.batch, 4 * s.cell};
  return s;
}

void expect_types(const OpSpec& spec, const std::array<DType, 5>& in,
                  const std::array<DType, 4>& out) {
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (spec.inputs[i].dtype != in[i])
      refuse(spec, "input {} is {}, expected {}", i, dtype_name(spec.inputs[i].dtype),
             dtype_name(in[i]));
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (spec.outputs[i].dtype != out[i])
      refuse(spec, "output {} is {}, expected {}", i, dtype_name(spec.outputs[i].dtype),
             dtype_name(out[i]));
  }
}

}  // namespace

std::unique_ptr<Kernel> prepare_basic_lstm(OpSpec& spec) {
  const Basic s = read_basic(spec);
  constexpr DType f = DType::kFloat32, u8 = DType::kUint8, i16 = DType::kInt16;
  if (spec.inputs[0].dtype == DType::kFloat32) {
    expect_types(spec, {f, f, f, f, f}, {f, f, f, f});
    return make_kernel([s](const Io& io) { run_float(s, io); });
  }
  expect_types(spec, {u8, u8, u8, DType::kInt32, i16}, {u8, i16, u8, i16});
  for (const std::size_t i : {0, 1}) {
    const ScaleZero q = scale_zero(spec, spec.inputs[i]);
    if (q.scale != 1.0f / 128 || q.zero != 128)
      refuse(spec, "input {} has scale {} and zero point {}, expected 1/128 and 128", i, q.scale,
             q.zero);
  }
  BasicCodes c;
  c.s = s;
  c.weight_zero = scale_zero(spec, spec.inputs[2]).zero;
  c.scale = make_multiplier(4096.0 * static_cast<double>(scale_zero(spec, spec.inputs[3]).scale));
  return make_kernel(c);
}

}  // namespace litegap
