// The LSTM cell in float32, and hybrid: float activations with int8 weights, quantized at run time.
//
//   gate   = W x + A aux + R h + peephole * c + bias  (layer normalization: bias after it)
//   c      = sigmoid(forget) * c + sigmoid(input) * act(cell);  coupled: input = 1 - forget
//   output = sigmoid(output gate, which sees the new c) * act(c);  h = projection * output + bias
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/lstm.h"
#include "kernels/smooth.h"
#include "kernels/vectors.h"

namespace litegap {
namespace {

// NaN becomes the upper end.
void clip(float* v, std::int32_t n, float limit) noexcept {
  if (!(limit > 0)) return;
  for (std::int32_t i = 0; i < n; ++i) v[i] = std::max(std::min(limit, v[i]), -limit);
}

void normalize(float* v, std::int32_t n) noexcept {
  float sum = 0, squares = 0;
  for (std::int32_t i = 0; i < n; ++i) sum += v[i];
  const float mean = sum / static_cast<float>(n);
  for (std::int32_t i = 0; i < n; ++i) squares += (v[i] - mean) * (v[i] - mean);
  const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(n) + 1e-8f);
  for (std::int32_t i = 0; i < n; ++i) v[i] = (v[i] - mean) * inverse;
}

class FloatLstm final : public Kernel {
 public:
  LstmShape s;
  LstmPlaces p;
  LstmTarget target;
  std::array<WeightMatrix, 4> input, recurrent, aux;
  WeightMatrix projection;
  std::array<std::vector<float>, 4>
      peephole_values;  // of int8 peepholes; empty: floats at run time
  Activation activation = Activation::kTanh;
  float cell_clip = 0, output_clip = 0;
  std::size_t inputs = 0;
  bool codes = false;  // any matrix of int8 weights
  HybridCode how = HybridCode::kSymmetricRow;

  std::int32_t longest() const { return std::max({s.input, s.output, s.cell, s.aux}); }
  std::size_t scratch_bytes() const override {
    const auto rows = static_cast<std::size_t>(s.rows());
    const std::size_t used = rows * (static_cast<std::size_t>(s.cell) * 16 + 12) +
                             3 * rows * static_cast<std::size_t>(longest()) * sizeof(std::int16_t) +
                             sizeof(std::int16_t);  // one may be read behind the last
    return (used + 63) / 64 * 64 + s.state_bytes();
  }

  void run(const Io& io) const noexcept override {
    const auto* x = static_cast<const float*>(io.inputs[p.x]);
    const auto* extra = p.has_aux ? static_cast<const float*>(io.inputs[p.aux]) : nullptr;
    std::byte* spare = io.scratch + scratch_bytes() - s.state_bytes();
    auto* h = static_cast<float*>(s.output_state.at(io, &spare));
    auto* c = static_cast<float*>(s.cell_state.at(io, &spare));
    float* out = static_cast<float*>(io.outputs[target.output]) + target.offset;
    lstm_steps(s, target.backward, [&](std::int32_t row, std::int64_t at) {
      float* state = h + std::int64_t{row} * s.output;
      step(io, x + at * s.input, extra == nullptr ? nullptr : extra + at * s.aux, state,
           c + std::int64_t{row} * s.cell);
      for (std::int32_t b = 0; b < s.rows(); ++b)
        std::copy_n(state + std::int64_t{b} * s.output, s.output, out + (at + b) * target.row);
    });
  }

 private:
  struct Work {
    float *gates, *scales_a, *scales_b, *scales_c;
    std::int16_t *codes_a, *codes_b, *codes_c;
  };
  Work work(const Io& io) const noexcept {
    const std::int64_t rows = s.rows(), each = rows * longest();
    auto* gates = reinterpret_cast<float*>(io.scratch);
    float* scales = gates + 4 * rows * s.cell;
    auto* words = reinterpret_cast<std::int16_t*>(scales + 3 * rows);
    return {gates, scales, scales + rows, scales + 2 * rows, words, words + each, words + 2 * each};
  }

  ActivationRows quantize(const float* values, std::int32_t width, std::int16_t* to,
                          float* scales) const noexcept {
    if (!codes || values == nullptr) return {values, nullptr, nullptr};
    return quantized_rows(how, values, s.rows(), width, to, scales);
  }

  struct Sources {
    ActivationRows x, aux, h;
  };
  void gate(const Io& io, int g, const Sources& from, const float* c, float* out) const noexcept {
    const auto index = static_cast<std::size_t>(g);
    const std::int32_t rows = s.rows(), n = s.cell;
    const auto* bias = static_cast<const float*>(io.inputs[p.bias[index]]);
    for (std::int32_t b = 0; b < rows; ++b) {
      for (std::int32_t i = 0; i < n; ++i) out[b * n + i] = s.layer_norm ? 0.0f : bias[i];
    }
    add_product(io, input[index], from.x, rows, out);
    if (p.has_aux) add_product(io, aux[index], from.aux, rows, out);
    add_product(io, recurrent[index], from.h, rows, out);
    if (s.peephole && g != kCellGate) {
      const auto& fixed = peephole_values[index];
      const float* diagonal =
          fixed.empty() ? static_cast<const float*>(io.inputs[p.peephole[index]]) : fixed.data();
      for (std::int32_t k = 0; k < rows * n; ++k) out[k] += diagonal[k % n] * c[k];
    }
    if (s.layer_norm) {
      const auto* weights = static_cast<const float*>(io.inputs[p.layer_norm[index]]);
      for (std::int32_t b = 0; b < rows; ++b) {
        normalize(out + b * n, n);
        for (std::int32_t i = 0; i < n; ++i) out[b * n + i] = out[b * n + i] * weights[i] + bias[i];
      }
    }
    if (g == kCellGate) return activate_row(activation, out, rows * n);
    with_vectors([&] {
      for (std::int32_t i = 0; i < rows * n; ++i) out[i] = smooth_sigmoid(out[i]);
    });
  }

  void step(const Io& io, const float* x, const float* extra, float* h, float* c) const noexcept {
    const Work w = work(io);
    const std::int32_t n = s.rows() * s.cell;
    float *in = w.gates, *forget = in + n, *cell = forget + n, *out = cell + n;
    const Sources from{quantize(x, s.input, w.codes_a, w.scales_a),
                       quantize(extra, s.aux, w.codes_c, w.scales_c),
                       quantize(h, s.output, w.codes_b, w.scales_b)};
    if (!s.cifg) gate(io, kInputGate, from, c, in);
    gate(io, kForgetGate, from, c, forget);
    gate(io, kCellGate, from, c, cell);
    for (std::int32_t i = 0; i < n; ++i) {
      const float kept = c[i] * forget[i];
      c[i] = kept + cell[i] * (s.cifg ? 1.0f - forget[i] : in[i]);
    }
    clip(c, n, cell_clip);
    gate(io, kOutputGate, from, c, out);
    std::memcpy(cell, c, sizeof(float) * static_cast<std::size_t>(n));
    activate_row(activation, cell, n);
    for (std::int32_t i = 0; i < n; ++i) out[i] *= cell[i];
    emit(io, w, out, h);
  }

  void emit(const Io& io, const Work& w, const float* out, float* h) const noexcept {
    const std::int32_t rows = s.rows();
    if (!s.projection) {
      std::memcpy(
          h, out,
          sizeof(float) * static_cast<std::size_t>(rows) * static_cast<std::size_t>(s.cell));
      return;
    }
    const auto* bias = p.projection_bias < inputs
                           ? static_cast<const float*>(io.inputs[p.projection_bias])
                           : nullptr;
    for (std::int32_t k = 0; k < rows * s.output; ++k)
      h[k] = bias == nullptr ? 0.0f : bias[k % s.output];
    add_product(io, projection, quantize(out, s.cell, w.codes_a, w.scales_a), rows, h);
    clip(h, rows * s.output, output_clip);
  }
};

// Peepholes of a hybrid file are int8: their real values are known here.
std::vector<float> peephole_of(const OpSpec& spec, std::size_t i) {
  const Operand& o = spec.inputs[i];
  if (o.dtype == DType::kFloat32) return {};
  if (o.dtype != DType::kInt8 || o.constant == nullptr || o.quant->scale.size() != 1) {
    refuse(spec, "peephole {} of type {}: not supported", o.name, dtype_name(o.dtype));
  }
  std::vector<float> values;
  for (const std::int8_t q : o.constant->span<std::int8_t>())
    values.push_back(static_cast<float>(q) * o.quant->scale[0]);
  return values;
}

}  // namespace

std::unique_ptr<Kernel> prepare_float_lstm(OpSpec& spec, const LstmShape& s, const LstmPlaces& p,
                                           const LstmTarget& target) {
  if (spec.outputs[target.output].dtype != DType::kFloat32)
    refuse(spec, "an output of type {}", dtype_name(spec.outputs[target.output].dtype));
  for (const std::size_t i : {p.x, p.projection_bias, p.output_state, p.cell_state})
    expect_float(spec, i);
  if (p.has_aux) expect_float(spec, p.aux);
  const LstmOptions options = lstm_options(spec);
  auto kernel = std::make_unique<FloatLstm>();
  kernel->s = s;
  kernel->p = p;
  kernel->target = target;
  kernel->inputs = spec.inputs.size();
  for (const std::size_t g : {0, 1, 2, 3}) {
    if (g == kInputGate && s.cifg) continue;
    expect_float(spec, p.bias[g]);
    if (s.layer_norm) expect_float(spec, p.layer_norm[g]);
    kernel->input[g] = weight_matrix(spec, p.weights[g], &kernel->codes);
    kernel->recurrent[g] = weight_matrix(spec, p.recurrent[g], &kernel->codes);
    if (p.has_aux) kernel->aux[g] = weight_matrix(spec, p.aux_weights[g], &kernel->codes);
    if (s.peephole && g != kCellGate) kernel->peephole_values[g] = peephole_of(spec, p.peephole[g]);
  }
  if (s.projection) kernel->projection = weight_matrix(spec, p.projection, &kernel->codes);
  kernel->activation = options.activation;
  kernel->cell_clip = options.cell_clip;
  kernel->output_clip = options.proj_clip;
  kernel->how = options.asymmetric ? HybridCode::kAsymmetric : HybridCode::kSymmetricRow;
  return kernel;
}

}  // namespace litegap
