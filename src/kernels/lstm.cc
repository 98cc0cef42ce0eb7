// UNIDIRECTIONAL_SEQUENCE_LSTM: shapes, and the float and hybrid kernels (float activations with
// int8 weights, quantized at run time).  The integer kernel is in lstm_integer.cc.
//
//   gate   = W x + R h + peephole * c + bias    (layer normalization: bias after the normalization)
//   c      = sigmoid(forget) * c + sigmoid(input) * act(cell);  coupled: input = 1 - forget
//   output = sigmoid(output gate, which sees the new c) * act(c);  h = projection * output + bias
#include "kernels/lstm.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/hybrid.h"

namespace litegap {
namespace {

using I = LstmInputs;

void expect_shape(const OpSpec& spec, std::size_t i, const Shape& want) {
  if (!spec.has(i)) refuse(spec, "input {} is missing", i);
  if (spec.inputs[i].shape != want) {
    refuse(spec, "input {} ({}) has shape {}, expected {}", i, spec.inputs[i].name,
           shape_text(spec.inputs[i].shape), shape_text(want));
  }
}

void check_gates(const OpSpec& spec, const LstmShape& s) {
  for (const std::size_t g : {0, 1, 2, 3}) {
    if (g == kInputGate && s.cifg) {
      for (const std::size_t i :
           {I::kWeights, I::kRecurrent, I::peephole(0), I::kBias, I::kLayerNorm}) {
        if (spec.has(i)) refuse(spec, "input {} without weights of the input gate", i);
      }
      continue;
    }
    expect_shape(spec, I::kWeights + g, {s.cell, s.input});
    expect_shape(spec, I::kRecurrent + g, {s.cell, s.output});
    expect_shape(spec, I::kBias + g, {s.cell});
    if (s.layer_norm) expect_shape(spec, I::kLayerNorm + g, {s.cell});
    if (s.peephole && g != kCellGate)
      expect_shape(spec, I::peephole(static_cast<int>(g)), {s.cell});
  }
  if (s.projection) expect_shape(spec, I::kProjection, {s.output, s.cell});
  if (spec.has(I::kProjectionBias)) {
    if (!s.projection) refuse(spec, "a projection bias without a projection");
    expect_shape(spec, I::kProjectionBias, {s.output});
  }
}

std::int32_t elements_of(const OpSpec& spec, std::size_t i) {
  return checked_dim(spec, static_cast<std::int64_t>(shape_elements(spec.inputs[i].shape)));
}

}  // namespace

LstmShape lstm_shape(OpSpec& spec) {
  if (spec.inputs.size() != 20 && spec.inputs.size() != 24)
    refuse(spec, "has {} inputs, expected 20 or 24", spec.inputs.size());
  expect_outputs(spec, 1);
  LstmShape s;
  s.time_major = attrs_of<SequenceLstmAttrs>(spec).time_major;
  if (attrs_of<SequenceLstmAttrs>(spec).diagonal_recurrent_tensors)
    refuse(spec, "diagonal recurrent weights: not supported yet");
  if (!spec.has(I::kInput) || spec.inputs[I::kInput].shape.size() != 3)
    refuse(spec, "its input needs 3 dimensions");
  const Shape& x = spec.inputs[I::kInput].shape;
  s.time = x[s.time_major ? 0 : 1];
  s.batch = x[s.time_major ? 1 : 0];
  s.input = x[2];
  if (!spec.has(I::kWeights + kOutputGate) ||
      spec.inputs[I::kWeights + kOutputGate].shape.size() != 2 ||
      !spec.has(I::kRecurrent + kOutputGate) ||
      spec.inputs[I::kRecurrent + kOutputGate].shape.size() != 2) {
    refuse(spec, "its weights need 2 dimensions");
  }
  s.cell = spec.inputs[I::kWeights + kOutputGate].shape[0];
  s.output = spec.inputs[I::kRecurrent + kOutputGate].shape[1];
  s.cifg = !spec.has(I::kWeights);
  s.peephole = spec.has(I::peephole(kOutputGate));
  s.projection = spec.has(I::kProjection);
  s.layer_norm = spec.has(I::kLayerNorm + kForgetGate);
  if (!s.projection && s.cell != s.output)
    refuse(spec, "a cell of {} and an output of {} without a projection", s.cell, s.output);
  if (s.cell < 1 || s.output < 1 || s.input < 1) refuse(spec, "an empty dimension");
  check_gates(spec, s);
  for (const std::size_t i : {I::kOutputState, I::kCellState}) {
    if (!spec.has(i)) refuse(spec, "its state (input {}) is missing", i);
    (i == I::kOutputState ? s.copies_output : s.copies_cell) = !spec.inputs[i].is_variable;
    const std::int64_t n = std::int64_t{s.batch} * (i == I::kOutputState ? s.output : s.cell);
    if (elements_of(spec, i) != n)
      refuse(spec, "state {} has shape {}, expected {} elements", i,
             shape_text(spec.inputs[i].shape), n);
  }
  spec.outputs[0].shape = x;
  spec.outputs[0].shape[2] = s.output;
  return s;
}

namespace {

// A matrix of float or int8 weights.
struct Matrix {
  std::size_t input = 0;
  std::int32_t rows = 0, columns = 0;
  bool codes = false;
  float scale = 1;
};

// Rows of activations, and their codes for matrices of codes.
struct Rows {
  const float* values = nullptr;
  const std::int16_t* codes = nullptr;  // minus zero point
  const float* scales = nullptr;        // one per row
};

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

void activate(Activation a, float* v, std::int32_t n) noexcept {
  for (std::int32_t i = 0; i < n; ++i) {
    switch (a) {
      case Activation::kRelu:
        v[i] = std::max(v[i], 0.0f);
        break;
      case Activation::kReluN1To1:
        v[i] = std::min(std::max(v[i], -1.0f), 1.0f);
        break;
      case Activation::kRelu6:
        v[i] = std::min(std::max(v[i], 0.0f), 6.0f);
        break;
      case Activation::kTanh:
        v[i] = std::tanh(v[i]);
        break;
      default:
        break;
    }
  }
}

void clip(float* v, std::int32_t n, float limit) noexcept {
  if (!(limit > 0)) return;
  for (std::int32_t i = 0; i < n; ++i) v[i] = std::min(std::max(v[i], -limit), limit);
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
  std::array<Matrix, 4> input, recurrent;
  Matrix projection;
  std::array<std::vector<float>, 4>
      peephole_values;  // of int8 peepholes; empty: floats at run time
  Activation activation = Activation::kTanh;
  float cell_clip = 0, output_clip = 0;
  bool codes = false;  // any matrix of int8 weights
  HybridCode how = HybridCode::kSymmetric;
  const GemmKernels* kernels = nullptr;

  std::size_t scratch_bytes() const override {
    const auto rows = static_cast<std::size_t>(s.rows());
    const auto longest = static_cast<std::size_t>(std::max({s.input, s.output, s.cell}));
    const std::size_t used = rows * (static_cast<std::size_t>(s.cell) * 16 + 8) +
                             2 * rows * longest * sizeof(std::int16_t);
    return (used + 63) / 64 * 64 + s.state_bytes(4, 4);
  }

  void run(const Io& io) const noexcept override {
    const auto* x = static_cast<const float*>(io.inputs[I::kInput]);
    std::byte* spare = io.scratch + scratch_bytes() - s.state_bytes(4, 4);
    auto* h = static_cast<float*>(s.state(io, I::kOutputState, 4, &spare));
    auto* c = static_cast<float*>(s.state(io, I::kCellState, 4, &spare));
    auto* out = static_cast<float*>(io.outputs[0]);
    lstm_steps(s, [&](std::int32_t row, std::int64_t at) {
      float* state = h + std::int64_t{row} * s.output;
      step(io, x + at * s.input, state, c + std::int64_t{row} * s.cell);
      std::memcpy(
          out + at * s.output, state,
          sizeof(float) * static_cast<std::size_t>(s.rows()) * static_cast<std::size_t>(s.output));
    });
  }

 private:
  struct Work {
    float *gates, *scales_a, *scales_b;
    std::int16_t *codes_a, *codes_b;
  };
  Work work(const Io& io) const noexcept {
    const std::int32_t rows = s.rows(), longest = std::max({s.input, s.output, s.cell});
    auto* gates = reinterpret_cast<float*>(io.scratch);
    float* scales = gates + std::int64_t{4} * rows * s.cell;
    auto* codes_a = reinterpret_cast<std::int16_t*>(scales + 2 * rows);
    return {gates, scales, scales + rows, codes_a, codes_a + std::int64_t{rows} * longest};
  }

  Rows quantize(const float* values, std::int32_t width, std::int16_t* to,
                float* scales) const noexcept {
    if (!codes) return {values, nullptr, nullptr};
    for (std::int32_t b = 0; b < s.rows(); ++b) {
      const float* row = values + std::int64_t{b} * width;
      const RowCode code = hybrid_code(how, *kernels, row, static_cast<std::size_t>(width));
      kernels->quantize(row, static_cast<std::size_t>(width), code, to + std::int64_t{b} * width);
      scales[b] = code.scale;
    }
    return {values, to, scales};
  }

  // out += matrix * row, for every row.
  void add_product(const Io& io, const Matrix& m, const Rows& rows, float* out) const noexcept {
    for (std::int32_t b = 0; b < s.rows(); ++b, out += m.rows) {
      const std::int64_t at = std::int64_t{b} * m.columns;
      if (m.codes) {
        const auto* w = static_cast<const std::int8_t*>(io.inputs[m.input]);
        const float scale = m.scale * rows.scales[b];
        for (std::int32_t r = 0; r < m.rows; ++r, w += m.columns) {
          std::int32_t sum = 0;
          for (std::int32_t k = 0; k < m.columns; ++k)
            sum += std::int32_t{w[k]} * rows.codes[at + k];
          out[r] += static_cast<float>(sum) * scale;
        }
        continue;
      }
      const auto* w = static_cast<const float*>(io.inputs[m.input]);
      for (std::int32_t r = 0; r < m.rows; ++r, w += m.columns)
        out[r] += dot(w, rows.values + at, m.columns);
    }
  }

  // Four partial sums, as the runtime's vector code.
  static float dot(const float* a, const float* b, std::int32_t n) noexcept {
    float part[4] = {0, 0, 0, 0};
    std::int32_t k = 0;
    for (; k + 4 <= n; k += 4) {
      for (int j = 0; j < 4; ++j) part[j] += a[k + j] * b[k + j];
    }
    float sum = (part[0] + part[1]) + (part[2] + part[3]);
    for (; k < n; ++k) sum += a[k] * b[k];
    return sum;
  }

  void gate(const Io& io, int g, const Rows& x, const Rows& h, const float* c,
            float* out) const noexcept {
    const auto index = static_cast<std::size_t>(g);
    const std::int32_t rows = s.rows(), n = s.cell;
    const auto* bias = static_cast<const float*>(io.inputs[I::kBias + index]);
    for (std::int32_t b = 0; b < rows; ++b) {
      for (std::int32_t i = 0; i < n; ++i) out[b * n + i] = s.layer_norm ? 0.0f : bias[i];
    }
    add_product(io, input[index], x, out);
    add_product(io, recurrent[index], h, out);
    if (s.peephole && g != kCellGate) {
      const auto& fixed = peephole_values[index];
      const float* p =
          fixed.empty() ? static_cast<const float*>(io.inputs[I::peephole(g)]) : fixed.data();
      for (std::int32_t k = 0; k < rows * n; ++k) out[k] += p[k % n] * c[k];
    }
    if (s.layer_norm) {
      const auto* weights = static_cast<const float*>(io.inputs[I::kLayerNorm + index]);
      for (std::int32_t b = 0; b < rows; ++b) {
        normalize(out + b * n, n);
        for (std::int32_t i = 0; i < n; ++i) out[b * n + i] = out[b * n + i] * weights[i] + bias[i];
      }
    }
    if (g == kCellGate) return activate(activation, out, rows * n);
    for (std::int32_t i = 0; i < rows * n; ++i) out[i] = sigmoid(out[i]);
  }

  void step(const Io& io, const float* x, float* h, float* c) const noexcept {
    const Work w = work(io);
    const std::int32_t n = s.rows() * s.cell;
    float *in = w.gates, *forget = in + n, *cell = forget + n, *out = cell + n;
    const Rows xs = quantize(x, s.input, w.codes_a, w.scales_a),
               hs = quantize(h, s.output, w.codes_b, w.scales_b);
    if (!s.cifg) gate(io, kInputGate, xs, hs, c, in);
    gate(io, kForgetGate, xs, hs, c, forget);
    gate(io, kCellGate, xs, hs, c, cell);
    for (std::int32_t i = 0; i < n; ++i) {
      const float kept = c[i] * forget[i];
      c[i] = kept + cell[i] * (s.cifg ? 1.0f - forget[i] : in[i]);
    }
    clip(c, n, cell_clip);
    gate(io, kOutputGate, xs, hs, c, out);
    std::memcpy(cell, c, sizeof(float) * static_cast<std::size_t>(n));
    activate(activation, cell, n);
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
    const auto* bias = static_cast<const float*>(io.inputs[I::kProjectionBias]);
    for (std::int32_t k = 0; k < rows * s.output; ++k)
      h[k] = bias == nullptr ? 0.0f : bias[k % s.output];
    add_product(io, projection, quantize(out, s.cell, w.codes_a, w.scales_a), h);
    clip(h, rows * s.output, output_clip);
  }
};

Matrix make_matrix(const OpSpec& spec, std::size_t i, bool* codes) {
  const Operand& o = spec.inputs[i];
  Matrix m{i, o.shape[0], o.shape[1], o.dtype == DType::kInt8, 1.0f};
  if (o.dtype != DType::kFloat32 && !m.codes)
    refuse(spec, "weights {} of type {}", o.name, dtype_name(o.dtype));
  if (m.codes) {
    if (o.quant->scale.size() != 1)
      refuse(spec, "weights {} have {} scales, expected 1", o.name, o.quant->scale.size());
    m.scale = o.quant->scale[0];
    *codes = true;
  }
  return m;
}

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

void expect_float(const OpSpec& spec, std::size_t i) {
  if (spec.has(i) && spec.inputs[i].dtype != DType::kFloat32) {
    refuse(spec, "input {} ({}) is {}, expected float32", i, spec.inputs[i].name,
           dtype_name(spec.inputs[i].dtype));
  }
}

std::unique_ptr<Kernel> prepare_float_lstm(OpSpec& spec, const LstmShape& s) {
  const auto& attrs = attrs_of<SequenceLstmAttrs>(spec);
  if (spec.outputs[0].dtype != DType::kFloat32)
    refuse(spec, "an output of type {}", dtype_name(spec.outputs[0].dtype));
  for (const std::size_t i : {12, 13, 14, 15, 17, 18, 19, 20, 21, 22, 23}) expect_float(spec, i);
  auto kernel = std::make_unique<FloatLstm>();
  kernel->s = s;
  for (const std::size_t g : {0, 1, 2, 3}) {
    if (g == kInputGate && s.cifg) continue;
    kernel->input[g] = make_matrix(spec, I::kWeights + g, &kernel->codes);
    kernel->recurrent[g] = make_matrix(spec, I::kRecurrent + g, &kernel->codes);
    if (s.peephole && g != kCellGate)
      kernel->peephole_values[g] = peephole_of(spec, I::peephole(static_cast<int>(g)));
  }
  if (s.projection) kernel->projection = make_matrix(spec, I::kProjection, &kernel->codes);
  kernel->activation = attrs.activation;
  kernel->cell_clip = attrs.cell_clip;
  kernel->output_clip = attrs.proj_clip;
  kernel->how = attrs.asymmetric_quantize_inputs ? HybridCode::kAsymmetric : HybridCode::kSymmetric;
  kernel->kernels = &gemm_best();
  return kernel;
}

std::unique_ptr<Kernel> prepare_lstm(OpSpec& spec) {
  const LstmShape s = lstm_shape(spec);
  switch (spec.inputs[I::kInput].dtype) {
    case DType::kFloat32:
      return prepare_float_lstm(spec, s);
    case DType::kInt8:
      return prepare_integer_lstm(spec, s);
    default:
      refuse(spec, "an input of type {}: not supported yet",
             dtype_name(spec.inputs[I::kInput].dtype));
  }
}

constexpr KernelRow kRows[] = {{OpCode::kUnidirectionalSequenceLstm, prepare_lstm}};

}  // namespace

std::span<const KernelRow> lstm_kernel_rows() { return kRows; }

}  // namespace litegap
