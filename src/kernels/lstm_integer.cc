// LSTM and UNIDIRECTIONAL_SEQUENCE_LSTM with int8 inputs, int8 weights and an int16 cell
// (docs/numerics.md, sections 2.31, 3.7 and 3.8).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/arith.h"
#include "kernels/lstm.h"
#include "kernels/needs_values.h"

namespace litegap {
namespace {

// ---- int16 fixed point (section 3.7)
// -------------------------------------------------------------
std::int32_t clamp16(std::int64_t x) {
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(x, -32768, 32767));
}
std::int32_t high16(std::int32_t a, std::int32_t b) {
  return a == -32768 && b == -32768 ? 32767 : (a * b + (1 << 14)) >> 15;
}
std::int32_t shift_left16(std::int32_t x, int n) { return clamp16(std::int64_t{x} * (1 << n)); }
// A 32-bit constant on 16-bit words.
constexpr std::int32_t word(std::int32_t c) {
  return c >= 0 ? (c + 32768) >> 16 : -((-static_cast<std::int64_t>(c) + 32768) >> 16);
}

std::int32_t exp16(std::int32_t a, int integer_bits) {  // a <= 0
  if (a == 0) return 32767;
  const int fraction = 15 - integer_bits;
  const std::int32_t quarter = fraction >= 2 ? 1 << (fraction - 2) : 1;
  const std::int32_t reduced = (a & (quarter - 1)) - quarter;
  const std::int32_t x = clamp16(reduced * (1 << integer_bits) + (1 << 12));
  const std::int32_t x2 = high16(x, x), x3 = high16(x2, x), x4 = high16(x2, x2);
  const std::int32_t inner =
      clamp16(high16(clamp16(shift_right_away(x4, 2) + x3), word(715827883)) + x2);
  const std::int32_t tail = shift_right_away(inner, 1);
  std::int32_t r = clamp16(word(1895147668) + high16(word(1895147668), clamp16(x + tail)));
  const std::int32_t rest = reduced - a;
  constexpr std::int32_t kFactors[] = {1672461947, 1302514674, 790015084, 290630308,
                                       39332535,   720401,     242};
  for (int e = -2; e <= 4; ++e) {
    if (integer_bits > e && ((rest >> (fraction + e)) & 1) != 0)
      r = high16(r, word(kFactors[e + 2]));
  }
  return r;
}

// Newton's iteration for 2 / (1 + x) in Q2.13, x in Q0.15.
std::int32_t reciprocal16(std::int32_t x) {
  const std::int32_t sum = x + 32767, half = (sum + (sum >= 0 ? 1 : -1)) / 2;
  std::int32_t y = clamp16(word(1515870810) + high16(half, word(-1010580540)));
  for (int i = 0; i < 3; ++i) {
    const std::int32_t error = clamp16((1 << 13) - high16(half, y));
    y = clamp16(y + shift_left16(high16(y, error), 2));
  }
  return y;
}

std::int32_t logistic16(std::int32_t x) {
  if (x == 0) return 1 << 14;
  const std::int32_t r = shift_left16(reciprocal16(exp16(x > 0 ? -x : x, 3)), 1);
  return x > 0 ? r : clamp16(32767 - r);
}

std::int32_t tanh16(std::int32_t x, int integer_bits) {
  if (x == 0) return 0;
  const std::int32_t t =
      shift_left16(clamp16(reciprocal16(exp16(x > 0 ? -x : x, integer_bits + 1)) - (1 << 13)), 2);
  return x < 0 ? clamp16(-t) : t;
}

// ---- 1/sqrt (section 3.8)
// ------------------------------------------------------------------------
std::int32_t shift_left32(std::int64_t x, int n) {
  return static_cast<std::int32_t>(
      std::clamp<std::int64_t>(x * (std::int64_t{1} << n), INT32_MIN, INT32_MAX));
}

struct InverseRoot {
  std::int32_t mantissa = 0;
  int shift = 0;  // to the right
};
InverseRoot inverse_root(std::int32_t v) {
  if (v <= 1) return {INT32_MAX, 0};
  int shift = 11;
  while (v >= 1 << 29) {
    v /= 4;
    ++shift;
  }
  const int pairs = (__builtin_clz(static_cast<unsigned>(v)) - 1) / 2 - 1;
  shift -= pairs;
  const std::int32_t f = (v << (2 * pairs)) >> 1, half = shift_right_away(f, 1);
  std::int32_t x = 1 << 28;
  for (int i = 0; i < 5; ++i) {
    const std::int32_t x3 = shift_left32(high_multiply(high_multiply(x, x), x), 6);
    x = shift_left32(std::int64_t{high_multiply(402653184, x)} - high_multiply(half, x3), 3);
  }
  x = high_multiply(x, 1518500250);
  if (shift < 0) {
    x = wrap_shift_left(x, -shift);
    shift = 0;
  }
  return {x, shift};
}

// ---- the kernel
// ----------------------------------------------------------------------------------
struct Product {  // a matrix of int8 weights, its multiplier and folded bias
  const std::int8_t* weights = nullptr;
  std::vector<std::int32_t> start;  // bias - zero point * row sum
  Multiplier scale;
};

struct Gate {
  bool present = false;
  Product input, recurrent;
  const std::int16_t* peephole = nullptr;
  Multiplier peephole_scale;
  const std::int16_t* norm = nullptr;  // layer normalization: weights and bias
  const std::int32_t* norm_bias = nullptr;
  Multiplier norm_scale;
  std::int32_t least_variance = 1;
};

void normalize(const Gate& g, std::int16_t* row, std::int32_t n) noexcept {
  std::int64_t sum = 0, squares = 0;
  for (std::int32_t i = 0; i < n; ++i) {
    sum += row[i];
    squares += std::int32_t{row[i]} * row[i];
  }
  const auto mean = static_cast<std::int32_t>(sum * 1024 / n);
  const std::int64_t wide = squares * ((1 << 20) / n) - std::int64_t{mean} * mean;
  auto variance = static_cast<std::int32_t>(wide / (1 << 20));
  if (variance < 1) variance = g.least_variance;
  const InverseRoot root = inverse_root(variance);
  for (std::int32_t i = 0; i < n; ++i) {
    const std::int32_t centred = 1024 * row[i] - mean;
    const std::int32_t u = scale_double(centred, {root.mantissa, -root.shift});
    const auto weighted = static_cast<std::int32_t>(
        static_cast<std::uint32_t>(u) * static_cast<std::uint32_t>(std::int32_t{g.norm[i]}));
    const std::int64_t v = std::int64_t{weighted} + g.norm_bias[i];
    const auto rounded = static_cast<std::int32_t>((v > 0 ? v + 512 : v - 512) / 1024);
    row[i] = static_cast<std::int16_t>(
        clamp16(scale_double(rounded, {g.norm_scale.mantissa, g.norm_scale.exponent + 12})));
  }
}

std::int32_t dot(const std::int8_t* a, const std::int8_t* b, std::int32_t n) noexcept {
  std::int32_t sum = 0;
  for (std::int32_t i = 0; i < n; ++i) sum += std::int32_t{a[i]} * b[i];
  return sum;
}

class IntegerLstm final : public Kernel {
 public:
  LstmShape s;
  std::array<Gate, 4> gates;
  Product projection;
  int cell_log2 = 0;  // the cell's scale is 2^cell_log2
  std::int32_t cell_clip = 0, output_clip = 0;
  std::int32_t hidden_zero = 0, output_zero = 0;
  Multiplier hidden_scale;
  std::vector<Array> kept;  // the constants that the products point into

  // The runtime has no hyperbolic tangent for words of less than 0 or more than 6 integer bits:
  // there it multiplies by what its buffer holds, the input gate.
  bool has_tanh() const { return cell_log2 >= -15 && cell_log2 <= -9; }
  std::size_t scratch_bytes() const override {
    const std::size_t used =
        static_cast<std::size_t>(s.rows()) * static_cast<std::size_t>(s.cell) * 9;
    return (used + 63) / 64 * 64 + s.state_bytes();
  }

  void run(const Io& io) const noexcept override {
    const auto* x = static_cast<const std::int8_t*>(io.inputs[LstmInputs::kInput]);
    std::byte* spare = io.scratch + scratch_bytes() - s.state_bytes();
    auto* c = static_cast<std::int16_t*>(s.cell_state.at(io, &spare));
    auto* h = static_cast<std::int8_t*>(s.output_state.at(io, &spare));
    auto* out = static_cast<std::int8_t*>(io.outputs[0]);
    lstm_steps(s, false, [&](std::int32_t row, std::int64_t at) {
      std::int8_t* state = h + static_cast<std::int64_t>(row) * s.output;
      step(x + at * s.input, state, c + static_cast<std::int64_t>(row) * s.cell,
           reinterpret_cast<std::int16_t*>(io.scratch));
      std::memcpy(out + at * s.output, state,
                  static_cast<std::size_t>(s.rows()) * static_cast<std::size_t>(s.output));
    });
  }

 private:
  void step(const std::int8_t* x, std::int8_t* h, std::int16_t* c,
            std::int16_t* scratch) const noexcept {
    const std::int32_t n = s.rows() * s.cell;
    std::int16_t *in = scratch, *forget = in + n, *cell = forget + n, *out = cell + n;
    gate(gates[kForgetGate], x, h, c, forget);
    logistic(forget, n);
    if (s.cifg) {
      for (std::int32_t i = 0; i < n; ++i) in[i] = static_cast<std::int16_t>(32767 - forget[i]);
    } else {
      gate(gates[kInputGate], x, h, c, in);
      logistic(in, n);
    }
    gate(gates[kCellGate], x, h, c, cell);
    for (std::int32_t i = 0; i < n; ++i) {
      const std::int32_t z = tanh16(cell[i], 3);
      const auto kept =
          static_cast<std::int16_t>(shift_right_away(std::int32_t{forget[i]} * c[i], 15));
      const auto added =
          static_cast<std::int16_t>(shift_right_away(std::int32_t{in[i]} * z, 30 + cell_log2));
      std::int32_t v = clamp16(std::int32_t{kept} + added);
      if (cell_clip > 0) v = std::clamp(v, -cell_clip, cell_clip);
      c[i] = static_cast<std::int16_t>(v);
    }
    gate(gates[kOutputGate], x, h, c, out);
    logistic(out, n);
    emit(out, c, in, h, reinterpret_cast<std::int8_t*>(out + n));
  }

  static void logistic(std::int16_t* g, std::int32_t n) noexcept {
    for (std::int32_t i = 0; i < n; ++i) g[i] = static_cast<std::int16_t>(logistic16(g[i]));
  }

  void gate(const Gate& g, const std::int8_t* x, const std::int8_t* h, const std::int16_t* c,
            std::int16_t* out) const noexcept {
    for (std::int32_t b = 0; b < s.rows(); ++b) {
      for (std::int32_t i = 0; i < s.cell; ++i) {
        const auto k = static_cast<std::size_t>(i);
        const std::int32_t a = g.input.start[k] + dot(g.input.weights + std::int64_t{i} * s.input,
                                                      x + std::int64_t{b} * s.input, s.input);
        const std::int32_t r =
            g.recurrent.start[k] + dot(g.recurrent.weights + std::int64_t{i} * s.output,
                                       h + std::int64_t{b} * s.output, s.output);
        const std::int32_t first = clamp16(scale_double(a, g.input.scale));
        out[b * s.cell + i] = static_cast<std::int16_t>(
            clamp16(std::int64_t{scale_double(r, g.recurrent.scale)} + first));
      }
    }
    if (g.peephole != nullptr) {
      // As the runtime does: rows of the output's width, not the cell's.
      for (std::int32_t b = 0, k = 0; b < s.rows(); ++b) {
        for (std::int32_t i = 0; i < s.output; ++i, ++k) {
          const std::int32_t p = scale_double(std::int32_t{g.peephole[i]} * c[k], g.peephole_scale);
          out[k] = static_cast<std::int16_t>(clamp16(std::int64_t{p} + out[k]));
        }
      }
    }
    if (g.norm == nullptr) return;
    for (std::int32_t b = 0; b < s.rows(); ++b) normalize(g, out + b * s.cell, s.cell);
  }

  // The output state from the output gate and the cell.
  void emit(const std::int16_t* gate, const std::int16_t* c, const std::int16_t* input_gate,
            std::int8_t* h, std::int8_t* hidden) const noexcept {
    const std::int32_t n = s.rows() * s.cell;
    std::int8_t* target = s.projection ? hidden : h;
    const std::int32_t zero = s.projection ? -hidden_zero : hidden_zero;
    for (std::int32_t i = 0; i < n; ++i) {
      const std::int32_t squashed =
          has_tanh() ? tanh16(c[i], 15 + cell_log2) : std::int32_t{input_gate[i]};
      const std::int32_t v = scale_double(gate[i] * squashed, hidden_scale);
      target[i] =
          static_cast<std::int8_t>(std::clamp<std::int64_t>(std::int64_t{v} + zero, -128, 127));
    }
    if (!s.projection) return;
    for (std::int32_t b = 0; b < s.rows(); ++b) {
      for (std::int32_t i = 0; i < s.output; ++i) {
        const std::int32_t a = projection.start[static_cast<std::size_t>(i)] +
                               dot(projection.weights + std::int64_t{i} * s.cell,
                                   hidden + std::int64_t{b} * s.cell, s.cell);
        std::int64_t v = std::clamp<std::int64_t>(
            std::int64_t{scale_double(a, projection.scale)} + output_zero, -128, 127);
        if (output_clip > 0) v = std::clamp<std::int64_t>(v, -output_clip, output_clip);
        h[b * s.output + i] = static_cast<std::int8_t>(v);
      }
    }
  }
};

// ---- prepare
// -------------------------------------------------------------------------------------
template <class T>
const T* constant_data(const OpSpec& spec, std::size_t i) {
  const Operand& o = spec.inputs[i];
  if (o.constant == nullptr) needs_values(spec, i);
  if (o.dtype != dtype_of<T>)
    refuse(spec, "input {} ({}) is {}, expected {}", i, o.name, dtype_name(o.dtype),
           dtype_name(dtype_of<T>));
  return o.constant->span<T>().data();
}

float one_scale(const OpSpec& spec, const Operand& o) {
  if (o.quant == nullptr || o.quant->scale.size() != 1)
    refuse(spec, "tensor {} has {} scales, expected 1", o.name,
           o.quant == nullptr ? 0 : o.quant->scale.size());
  return o.quant->scale[0];
}
std::int32_t zero_of(const Operand& o) { return static_cast<std::int32_t>(o.quant->zero_point[0]); }

Product make_product(const OpSpec& spec, std::size_t weights, std::size_t bias, std::int32_t zero,
                     float scale) {
  Product p;
  p.weights = constant_data<std::int8_t>(spec, weights);
  const Shape& shape = spec.inputs[weights].shape;
  const std::int32_t* b =
      bias != 0 && spec.has(bias) ? constant_data<std::int32_t>(spec, bias) : nullptr;
  for (std::int32_t r = 0; r < shape[0]; ++r) {
    std::int32_t sum = 0;
    for (std::int32_t k = 0; k < shape[1]; ++k) sum += p.weights[std::int64_t{r} * shape[1] + k];
    const std::uint32_t folded = (b == nullptr ? 0u : static_cast<std::uint32_t>(b[r])) -
                                 static_cast<std::uint32_t>(zero) * static_cast<std::uint32_t>(sum);
    p.start.push_back(static_cast<std::int32_t>(folded));
  }
  p.scale = make_multiplier(static_cast<double>(scale));
  return p;
}

Gate make_gate(const OpSpec& spec, const LstmShape& s, int index, int cell_log2) {
  using I = LstmInputs;
  const auto g = static_cast<std::size_t>(index);
  Gate gate;
  gate.present = true;
  const Operand &x = spec.inputs[I::kInput], &h = spec.inputs[I::kOutputState];
  float unit = std::ldexp(1.0f, -12);
  if (s.layer_norm) {
    if (g >= spec.intermediates.size() || !spec.intermediates[g].present)
      refuse(spec, "intermediate tensor {} is missing", g);
    unit = one_scale(spec, spec.intermediates[g]);
  }
  const float from_x = one_scale(spec, spec.inputs[I::kWeights + g]) * one_scale(spec, x) / unit;
  const float from_h = one_scale(spec, spec.inputs[I::kRecurrent + g]) * one_scale(spec, h) / unit;
  gate.input =
      make_product(spec, I::kWeights + g, s.layer_norm ? 0 : I::kBias + g, zero_of(x), from_x);
  gate.recurrent = make_product(spec, I::kRecurrent + g, 0, zero_of(h), from_h);
  if (s.peephole && index != kCellGate) {
    const std::size_t p = I::peephole(index);
    gate.peephole = constant_data<std::int16_t>(spec, p);
    const auto scale = static_cast<float>(std::ldexp(1.0, cell_log2) *
                                          static_cast<double>(one_scale(spec, spec.inputs[p])) /
                                          static_cast<double>(unit));
    gate.peephole_scale = make_multiplier(static_cast<double>(scale));
  }
  if (s.layer_norm) {
    const float scale = one_scale(spec, spec.inputs[I::kLayerNorm + g]);
    gate.norm = constant_data<std::int16_t>(spec, I::kLayerNorm + g);
    gate.norm_bias = constant_data<std::int32_t>(spec, I::kBias + g);
    gate.norm_scale = make_multiplier(static_cast<double>(scale));
    gate.least_variance = std::max(1, static_cast<std::int32_t>(10000.0f * scale));
  }
  return gate;
}

// Refuses scales that are not a power of two.
int exact_log2(const OpSpec& spec, float scale) {
  int e = 0;
  if (!(scale > 0) || std::frexp(scale, &e) != 0.5f)
    refuse(spec, "the cell's scale {} is not a power of two", scale);
  if (e - 1 < -24 || e - 1 > -6) refuse(spec, "the cell's scale 2^{} is out of range", e - 1);
  return e - 1;
}

}  // namespace

std::unique_ptr<Kernel> prepare_integer_lstm(OpSpec& spec, const LstmShape& s) {
  using I = LstmInputs;
  const LstmOptions attrs = lstm_options(spec);
  const Operand &h = spec.inputs[I::kOutputState], &c = spec.inputs[I::kCellState];
  if (h.dtype != DType::kInt8 || c.dtype != DType::kInt16 ||
      spec.outputs[0].dtype != DType::kInt8) {
    refuse(spec, "states of {} and {}: only int8 with an int16 cell is supported",
           dtype_name(h.dtype), dtype_name(c.dtype));
  }
  if (s.peephole && s.output > s.cell) refuse(spec, "peepholes with an output wider than the cell");
  if (spec.intermediates.size() < 5 || !spec.intermediates[4].present)
    refuse(spec, "its intermediate tensors are missing");
  auto kernel = std::make_unique<IntegerLstm>();
  kernel->s = s;
  for (const Operand& o : spec.inputs) {
    if (o.constant != nullptr) kernel->kept.push_back(*o.constant);
  }
  one_scale(spec, h);
  one_scale(spec, spec.inputs[I::kInput]);
  kernel->cell_log2 = exact_log2(spec, one_scale(spec, c));
  if (!kernel->has_tanh() && s.cifg)
    refuse(spec, "the cell's scale 2^{} and no input gate: the runtime's result is not defined",
           kernel->cell_log2);
  for (const int g : {kInputGate, kForgetGate, kCellGate, kOutputGate}) {
    if (g == kInputGate && s.cifg) continue;
    kernel->gates[static_cast<std::size_t>(g)] = make_gate(spec, s, g, kernel->cell_log2);
  }
  const Operand& hidden = spec.intermediates[4];
  const float hidden_scale = one_scale(spec, hidden), unit = std::ldexp(1.0f, -15);
  kernel->hidden_zero = zero_of(hidden);
  kernel->output_zero = zero_of(h);
  const auto to_hidden = static_cast<float>(
      static_cast<double>(unit) / static_cast<double>(hidden_scale) * static_cast<double>(unit));
  kernel->hidden_scale = make_multiplier(static_cast<double>(to_hidden));
  if (attrs.cell_clip > 0)
    kernel->cell_clip =
        static_cast<std::int32_t>(std::min(attrs.cell_clip / c.quant->scale[0], 32767.0f));
  if (s.projection) {
    const float scale =
        one_scale(spec, spec.inputs[I::kProjection]) * hidden_scale / h.quant->scale[0];
    kernel->projection =
        make_product(spec, I::kProjection, I::kProjectionBias, -zero_of(hidden), scale);
    if (attrs.proj_clip > 0)
      kernel->output_clip =
          static_cast<std::int32_t>(std::min(attrs.proj_clip / h.quant->scale[0], 127.0f));
  }
  return kernel;
}

}  // namespace litegap
