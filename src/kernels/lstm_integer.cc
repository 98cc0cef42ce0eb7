// LSTM and UNIDIRECTIONAL_SEQUENCE_LSTM with int8 inputs, int8 weights and an int16 cell
// (docs/numerics.md, sections 2.31, 3.7 and 3.8).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/fixed_point.h"
#include "kernels/lanes.h"
#include "kernels/lstm.h"
#include "kernels/needs_values.h"
#include "kernels/packed_rows.h"
#include "kernels/vectors.h"

namespace litegap {
namespace {

// ---- the kernel
// ----------------------------------------------------------------------------------
using fixed::clamp16;

// A matrix of weights of the file: its multiplier and folded bias.
struct Product {
  const std::int8_t* weights = nullptr;
  std::int32_t rows = 0, columns = 0;
  std::vector<std::int32_t> start;  // bias - zero point * row sum
  Multiplier scale;
};

std::int32_t saturated(std::int64_t v) {
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(v, -32768, 32767));
}

struct Gate {
  std::size_t first = 0;  // row of its sums
  Multiplier input_scale, recurrent_scale;
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
  const fixed::InverseRoot root = fixed::inverse_root(variance);
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

class IntegerLstm final : public Kernel {
 public:
  LstmShape s;
  std::array<Gate, 4> gates;
  PackedRows input, recurrent, projection;
  Multiplier projection_scale;
  int cell_log2 = 0;  // the cell's scale is 2^cell_log2
  std::int32_t cell_clip = 0, output_clip = 0;
  std::int32_t hidden_zero = 0, output_zero = 0;
  Multiplier hidden_scale;
  std::vector<Array> kept;  // the constants that gates point into

  // The runtime has no hyperbolic tangent for words of less than 0 or more than 6 integer bits:
  // there it multiplies by what its buffer holds, the input gate.
  bool has_tanh() const { return cell_log2 >= -15 && cell_log2 <= -9; }
  std::size_t scratch_bytes() const override {
    const auto all = static_cast<std::size_t>(s.rows()) * static_cast<std::size_t>(s.cell);
    return room(sum_bytes()) + room(word_bytes()) + room(9 * all) + s.state_bytes();
  }

  void run(const Io& io) const noexcept override {
    const auto* x = static_cast<const std::int8_t*>(io.inputs[LstmInputs::kInput]);
    std::byte* spare = io.scratch + scratch_bytes() - s.state_bytes();
    auto* c = static_cast<std::int16_t*>(s.cell_state.at(io, &spare));
    auto* h = static_cast<std::int8_t*>(s.output_state.at(io, &spare));
    auto* out = static_cast<std::int8_t*>(io.outputs[0]);
    lstm_steps(s, false, [&](std::int32_t row, std::int64_t at) {
      std::int8_t* state = h + static_cast<std::int64_t>(row) * s.output;
      step(x + at * s.input, state, c + static_cast<std::int64_t>(row) * s.cell, io.scratch);
      std::memcpy(out + at * s.output, state,
                  static_cast<std::size_t>(s.rows()) * static_cast<std::size_t>(s.output));
    });
  }

 private:
  static std::size_t room(std::size_t bytes) { return (bytes + 63) / 64 * 64; }
  std::size_t sum_bytes() const {
    const std::size_t sums = std::max(input.sums() + recurrent.sums(), projection.sums());
    return 4 * sums * static_cast<std::size_t>(s.rows());
  }
  std::size_t word_bytes() const {
    return 2 * std::max({input.words(), recurrent.words(), projection.words()});
  }

  // The words of a row and its sums.
  static void multiply(const PackedRows& p, const std::int8_t* x, std::int32_t n,
                       std::int16_t* words, std::int32_t* sums) noexcept {
    gemm_best().widen_i8(x, static_cast<std::size_t>(n), 0, words);
    p.run(words, sums);
  }

  void step(const std::int8_t* x, std::int8_t* h, std::int16_t* c,
            std::byte* scratch) const noexcept {
    const std::int32_t n = s.rows() * s.cell;
    auto* sums = reinterpret_cast<std::int32_t*>(scratch);
    auto* words = reinterpret_cast<std::int16_t*>(scratch + room(sum_bytes()));
    auto* in = reinterpret_cast<std::int16_t*>(scratch + room(sum_bytes()) + room(word_bytes()));
    std::int16_t *forget = in + n, *out = forget + n, *cell = out + n;
    for (std::int32_t b = 0; b < s.rows(); ++b) {
      std::int32_t* at = row_sums(sums, b);
      multiply(input, x + std::int64_t{b} * s.input, s.input, words, at);
      multiply(recurrent, h + std::int64_t{b} * s.output, s.output, words, at + input.sums());
    }
    gate(gates[kForgetGate], sums, c, forget);
    if (!s.cifg) gate(gates[kInputGate], sums, c, in);
    gate(gates[kCellGate], sums, c, cell);
    // The output gate sees the new cell only through its peephole.
    if (!s.peephole) gate(gates[kOutputGate], sums, c, out);
    logistic(s.cifg ? forget : in, (s.cifg ? 1 : 2) * n + (s.peephole ? 0 : n));
    if (s.cifg) {
      for (std::int32_t i = 0; i < n; ++i) in[i] = static_cast<std::int16_t>(32767 - forget[i]);
    }
    with_vectors([&] { renew(in, forget, cell, n, c); });
    if (s.peephole) {
      gate(gates[kOutputGate], sums, c, out);
      logistic(out, n);
    }
    emit(out, c, in, h, reinterpret_cast<std::int8_t*>(cell + n), words, sums);
  }
  std::int32_t* row_sums(std::int32_t* sums, std::int32_t row) const noexcept {
    return sums + static_cast<std::size_t>(row) * (input.sums() + recurrent.sums());
  }

  static void logistic(std::int16_t* g, std::int32_t n) noexcept {
    with_vectors([&] {
      std::int16_t* v = g;
      for (std::int32_t i = 0; i < n; ++i)
        v[i] = static_cast<std::int16_t>(fixed::logistic16(v[i]));
    });
  }

  // The cell: forget * c + in * tanh(cell).
  void renew(const std::int16_t* in, const std::int16_t* forget, const std::int16_t* cell,
             std::int32_t n, std::int16_t* c) const noexcept {
    const int shift = 30 + cell_log2;
    const std::int32_t limit = cell_clip > 0 ? cell_clip : 32768;
    for (std::int32_t i = 0; i < n; ++i) {
      const std::int32_t z = fixed::tanh16(cell[i], 3);
      const auto kept_part =
          static_cast<std::int16_t>(shift_away(std::int32_t{forget[i]} * c[i], 15));
      const auto added = static_cast<std::int16_t>(shift_away(std::int32_t{in[i]} * z, shift));
      const std::int32_t v = clamp16(std::int32_t{kept_part} + added);
      c[i] = static_cast<std::int16_t>(std::min(std::max(v, -limit), limit));
    }
  }

  void gate(const Gate& g, const std::int32_t* sums, const std::int16_t* c,
            std::int16_t* out) const noexcept {
    for (std::int32_t b = 0; b < s.rows(); ++b) {
      const std::int32_t* at =
          sums + static_cast<std::size_t>(b) * (input.sums() + recurrent.sums());
      join(g, at + g.first, at + input.sums() + g.first, s.cell, out + b * s.cell);
    }
    if (g.peephole != nullptr) {
      // As the runtime does: rows of the output's width, not the cell's.
      for (std::int32_t b = 0, k = 0; b < s.rows(); ++b) {
        for (std::int32_t i = 0; i < s.output; ++i, ++k) {
          const std::int32_t p = scale_double(std::int32_t{g.peephole[i]} * c[k], g.peephole_scale);
          out[k] = static_cast<std::int16_t>(saturated(std::int64_t{p} + out[k]));
        }
      }
    }
    if (g.norm == nullptr) return;
    for (std::int32_t b = 0; b < s.rows(); ++b) normalize(g, out + b * s.cell, s.cell);
  }

  // Both products at the gate's scale; the sum saturates.
  static void join(const Gate& g, const std::int32_t* a, const std::int32_t* r, std::int32_t n,
                   std::int16_t* out) noexcept {
    with_vectors([&] {
      const Multiplier from_x = g.input_scale, from_h = g.recurrent_scale;
      const std::int32_t *x = a, *h = r;
      std::int16_t* to = out;
      for (std::int32_t i = 0; i < n; ++i) {
        // Below 2^17 the sum is what it is; from there on it saturates either way.
        const std::int32_t first = clamp16(scale_lane(x[i], from_x));
        const std::int32_t second = scale_lane(h[i], from_h);
        to[i] =
            static_cast<std::int16_t>(clamp16(std::min(std::max(second, -131072), 131072) + first));
      }
    });
  }

  // The output state from the output gate and the cell.
  void emit(const std::int16_t* gate, const std::int16_t* c, const std::int16_t* input_gate,
            std::int8_t* h, std::int8_t* hidden, std::int16_t* words,
            std::int32_t* sums) const noexcept {
    const std::int32_t n = s.rows() * s.cell;
    std::int8_t* target = s.projection ? hidden : h;
    with_vectors([&] { squash(gate, c, input_gate, n, target); });
    if (!s.projection) return;
    for (std::int32_t b = 0; b < s.rows(); ++b) {
      multiply(projection, hidden + std::int64_t{b} * s.cell, s.cell, words, sums);
      for (std::int32_t i = 0; i < s.output; ++i) {
        std::int64_t v = std::clamp<std::int64_t>(
            std::int64_t{scale_double(sums[i], projection_scale)} + output_zero, -128, 127);
        if (output_clip > 0) v = std::clamp<std::int64_t>(v, -output_clip, output_clip);
        h[b * s.output + i] = static_cast<std::int8_t>(v);
      }
    }
  }
  void squash(const std::int16_t* gate, const std::int16_t* c, const std::int16_t* input_gate,
              std::int32_t n, std::int8_t* target) const noexcept {
    const Multiplier scale = hidden_scale;
    static constexpr std::int32_t kFar = 1 << 25;
    const std::int32_t zero = s.projection ? -hidden_zero : hidden_zero;
    const auto code = [scale, zero](std::int32_t product) {
      const std::int32_t v = std::min(std::max(scale_lane(product, scale), -kFar), kFar) + zero;
      return static_cast<std::int8_t>(std::min(std::max(v, -128), 127));
    };
    if (!has_tanh()) {
      for (std::int32_t i = 0; i < n; ++i) target[i] = code(gate[i] * input_gate[i]);
      return;
    }
    const int bits = 15 + cell_log2;
    for (std::int32_t i = 0; i < n; ++i) target[i] = code(gate[i] * fixed::tanh16(c[i], bits));
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
  p.rows = shape[0];
  p.columns = shape[1];
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

Gate make_gate(const OpSpec& spec, const LstmShape& s, int index, int cell_log2, PackedRows* input,
               PackedRows* recurrent) {
  using I = LstmInputs;
  const auto g = static_cast<std::size_t>(index);
  Gate gate;
  gate.first = input->rows();
  const Operand &x = spec.inputs[I::kInput], &h = spec.inputs[I::kOutputState];
  float unit = std::ldexp(1.0f, -12);
  if (s.layer_norm) {
    if (g >= spec.intermediates.size() || !spec.intermediates[g].present)
      refuse(spec, "intermediate tensor {} is missing", g);
    unit = one_scale(spec, spec.intermediates[g]);
  }
  const float from_x = one_scale(spec, spec.inputs[I::kWeights + g]) * one_scale(spec, x) / unit;
  const float from_h = one_scale(spec, spec.inputs[I::kRecurrent + g]) * one_scale(spec, h) / unit;
  const auto append = [](PackedRows* to, const Product& p) {
    to->add(p.weights, p.rows, p.columns, p.start);
    return p.scale;
  };
  gate.input_scale = append(
      input,
      make_product(spec, I::kWeights + g, s.layer_norm ? 0 : I::kBias + g, zero_of(x), from_x));
  gate.recurrent_scale =
      append(recurrent, make_product(spec, I::kRecurrent + g, 0, zero_of(h), from_h));
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
    kernel->gates[static_cast<std::size_t>(g)] =
        make_gate(spec, s, g, kernel->cell_log2, &kernel->input, &kernel->recurrent);
  }
  const Operand& hidden = spec.intermediates[4];
  const float hidden_scale = one_scale(spec, hidden), unit = std::ldexp(1.0f, -15);
  kernel->hidden_zero = std::clamp(zero_of(hidden), -(1 << 24), 1 << 24);  // far from any code
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
    const Product p =
        make_product(spec, I::kProjection, I::kProjectionBias, -zero_of(hidden), scale);
    kernel->projection.add(p.weights, p.rows, p.columns, p.start);
    kernel->projection_scale = p.scale;
    if (attrs.proj_clip > 0)
      kernel->output_clip =
          static_cast<std::int32_t>(std::min(attrs.proj_clip / h.quant->scale[0], 127.0f));
  }
  return kernel;
}

}  // namespace litegap
