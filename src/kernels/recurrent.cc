#include "kernels/recurrent.h"

#include <algorithm>
#include <cmath>

#include "kernels/smooth.h"
#include "kernels/vectors.h"

namespace litegap {

namespace {

constexpr std::int32_t kPanel = 8;

std::vector<float> panels_of(std::span<const float> weights, std::int32_t rows,
                             std::int32_t columns) {
  const std::int32_t panels = (rows + kPanel - 1) / kPanel;
  std::vector<float> out(static_cast<std::size_t>(panels) * static_cast<std::size_t>(columns) *
                         kPanel);
  for (std::int32_t r = 0; r < rows; ++r) {
    for (std::int32_t k = 0; k < columns; ++k) {
      const std::int64_t at = (std::int64_t{r / kPanel} * columns + k) * kPanel + r % kPanel;
      out[static_cast<std::size_t>(at)] =
          weights[static_cast<std::size_t>(r) * static_cast<std::size_t>(columns) +
                  static_cast<std::size_t>(k)];
    }
  }
  return out;
}

}  // namespace

WeightMatrix weight_matrix(const OpSpec& spec, std::size_t i, bool* codes) {
  if (!spec.has(i) || spec.inputs[i].shape.size() != 2)
    refuse(spec, "its weights (input {}) need 2 dimensions", i);
  const Operand& o = spec.inputs[i];
  WeightMatrix m{i, o.shape[0], o.shape[1], o.dtype == DType::kInt8, 1.0f, {}, {}};
  if (o.dtype != DType::kFloat32 && !m.codes)
    refuse(spec, "weights {} of type {}", o.name, dtype_name(o.dtype));
  if (m.codes) {
    if (o.quant->scale.size() != 1)
      refuse(spec, "weights {} have {} scales, expected 1", o.name, o.quant->scale.size());
    m.scale = o.quant->scale[0];
    *codes = true;
    if (o.constant != nullptr)
      m.packed.add(o.constant->span<std::int8_t>().data(), m.rows, m.columns, {});
  } else if (o.constant != nullptr) {
    m.panels = panels_of(o.constant->span<float>(), m.rows, m.columns);
  }
  return m;
}

ActivationRows quantized_rows(HybridCode how, const float* values, std::int32_t rows,
                              std::int32_t width, std::int16_t* to, float* scales) noexcept {
  const GemmKernels& kernels = gemm_best();
  if (how == HybridCode::kSymmetricRow) {  // here of all rows together
    const std::size_t n = static_cast<std::size_t>(rows) * static_cast<std::size_t>(width);
    if (counts_as_zero(values, n)) {
      std::fill(to, to + n, std::int16_t{0});
      std::fill(scales, scales + rows, 1.0f);
      return {values, to, scales};
    }
    how = HybridCode::kSymmetric;
  }
  for (std::int32_t b = 0; b < rows; ++b) {
    const float* row = values + std::int64_t{b} * width;
    const RowCode code = hybrid_code(how, kernels, row, static_cast<std::size_t>(width));
    hybrid_quantize(kernels, row, static_cast<std::size_t>(width), code,
                    to + std::int64_t{b} * width);
    scales[b] = code.scale;
  }
  return {values, to, scales};
}

namespace {

// Four partial sums, as the runtime's vector code.
float dot(const float* a, const float* b, std::int32_t n) noexcept {
  float part[4] = {0, 0, 0, 0};
  std::int32_t k = 0;
  for (; k + 4 <= n; k += 4) {
    for (int j = 0; j < 4; ++j) part[j] += a[k + j] * b[k + j];
  }
  float sum = (part[0] + part[1]) + (part[2] + part[3]);
  for (; k < n; ++k) sum += a[k] * b[k];
  return sum;
}

// Eight floats at any address.
typedef float Lanes __attribute__((vector_size(32), aligned(4), may_alias));

// out += the dot products of kCount panels of rows with x, each as dot() sums it.
template <int kCount>
inline void add_panels(const float* panels, std::int64_t panel_floats, const float* x,
                       std::int32_t n, float* out, std::int32_t rows) noexcept {
  Lanes part[4][kCount] = {};
  std::int32_t k = 0;
  for (; k + 4 <= n; k += 4) {
    for (int j = 0; j < 4; ++j) {
      for (int c = 0; c < kCount; ++c) {
        const auto& w = *reinterpret_cast<const Lanes*>(panels + c * panel_floats +
                                                        std::int64_t{k + j} * kPanel);
        part[j][c] += w * x[k + j];
      }
    }
  }
  for (int c = 0; c < kCount; ++c) {
    Lanes sum = (part[0][c] + part[1][c]) + (part[2][c] + part[3][c]);
    for (std::int32_t t = k; t < n; ++t) {
      sum += *reinterpret_cast<const Lanes*>(panels + c * panel_floats + std::int64_t{t} * kPanel) *
             x[t];
    }
    const std::int32_t left = rows - c * kPanel;
    if (left >= kPanel) {
      *reinterpret_cast<Lanes*>(out + c * kPanel) += sum;
      continue;
    }
    for (std::int32_t i = 0; i < left; ++i) out[c * kPanel + i] += sum[i];
  }
}

// Sums of some panels at a time.
void add_codes(const WeightMatrix& m, const std::int16_t* x, float scale, float* out) noexcept {
  alignas(64) std::int32_t sums[PackedRows::kMostSums];
  const auto rows = static_cast<std::size_t>(m.rows);
  for (std::size_t first = 0; first < rows; first += PackedRows::kMostSums) {
    const std::size_t n = std::min(PackedRows::kMostSums, rows - first);
    m.packed.run(x, sums, first, n);
    float* to = out + first;
    for (std::size_t r = 0; r < n; ++r) to[r] += static_cast<float>(sums[r]) * scale;
  }
}

void add_packed(const WeightMatrix& m, const float* x, float* out) noexcept {
  const std::int64_t panel = std::int64_t{m.columns} * kPanel;
  const float* w = m.panels.data();
  std::int32_t r = 0;
  for (; r + kPanel < m.rows; r += 2 * kPanel, w += 2 * panel)
    add_panels<2>(w, panel, x, m.columns, out + r, m.rows - r);
  if (r < m.rows) add_panels<1>(w, panel, x, m.columns, out + r, m.rows - r);
}

}  // namespace

void add_product(const Io& io, const WeightMatrix& m, const ActivationRows& rows,
                 std::int32_t count, float* out) noexcept {
  for (std::int32_t b = 0; b < count; ++b, out += m.rows) {
    const std::int64_t at = std::int64_t{b} * m.columns;
    if (!m.packed.empty()) {
      add_codes(m, rows.codes + at, m.scale * rows.scales[b], out);
      continue;
    }
    if (m.codes) {
      const auto* w = static_cast<const std::int8_t*>(io.inputs[m.input]);
      const float scale = m.scale * rows.scales[b];
      for (std::int32_t r = 0; r < m.rows; ++r, w += m.columns) {
        std::int32_t sum = 0;
        for (std::int32_t k = 0; k < m.columns; ++k) sum += std::int32_t{w[k]} * rows.codes[at + k];
        out[r] += static_cast<float>(sum) * scale;
      }
      continue;
    }
    if (!m.panels.empty()) {
      with_vectors([&] { add_packed(m, rows.values + at, out); });
      continue;
    }
    const auto* w = static_cast<const float*>(io.inputs[m.input]);
    for (std::int32_t r = 0; r < m.rows; ++r, w += m.columns)
      out[r] += dot(w, rows.values + at, m.columns);
  }
}

// TANH in double: the runtime's approximations are off by a few of the last bits, ours adds nothing
// to that.
void activate_row(Activation a, float* v, std::int64_t n) noexcept {
  if (a == Activation::kTanh) {
    with_vectors([&] {
      for (std::int64_t i = 0; i < n; ++i) v[i] = smooth_tanh(v[i]);
    });
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) {  // NaN becomes the lower end
    switch (a) {
      case Activation::kRelu:
        v[i] = std::max(0.0f, v[i]);
        break;
      case Activation::kReluN1To1:
        v[i] = std::min(std::max(-1.0f, v[i]), 1.0f);
        break;
      case Activation::kRelu6:
        v[i] = std::min(std::max(0.0f, v[i]), 6.0f);
        break;
      case Activation::kTanh:
        break;  // above
      case Activation::kSignBit:
        v[i] = std::signbit(v[i]) ? 1.0f : 0.0f;
        break;
      case Activation::kNone:
        break;
    }
  }
}

State state_of(const OpSpec& spec, std::size_t i, std::int64_t elements) {
  if (!spec.has(i)) refuse(spec, "its state (input {}) is missing", i);
  const Operand& o = spec.inputs[i];
  if (static_cast<std::int64_t>(shape_elements(o.shape)) != elements)
    refuse(spec, "state {} has shape {}, expected {} elements", i, shape_text(o.shape), elements);
  return {i, dtype_bytes(o.dtype, shape_elements(o.shape)), !o.is_variable};
}

void expect_operand(const OpSpec& spec, std::size_t i, const Shape& want) {
  if (!spec.has(i)) refuse(spec, "input {} is missing", i);
  if (spec.inputs[i].shape != want) {
    refuse(spec, "input {} ({}) has shape {}, expected {}", i, spec.inputs[i].name,
           shape_text(spec.inputs[i].shape), shape_text(want));
  }
}

void expect_float(const OpSpec& spec, std::size_t i) {
  if (spec.has(i) && spec.inputs[i].dtype != DType::kFloat32) {
    refuse(spec, "input {} ({}) is {}, expected float32", i, spec.inputs[i].name,
           dtype_name(spec.inputs[i].dtype));
  }
}

}  // namespace litegap
