// FULLY_CONNECTED by int8 weights that are stored sparse: rows of blocks of 1 x 16, blocks of zeros
// left out.  The sums are those of the dense weights, but the runtime has kernels of their own for
// them, the same in all dialects (XNNPACK takes no sparse weights), and these round in another way:
//
//   int8 input    y = double(sum (q - z) w + bias, sx sw / sy) + zy      the dense kernels: not
//   double float input   y = (bias - (s z) sw sum(w)) + sum(q w) (s sw)         the dense kernels:
//   bias last
//
//   one row of weights, 16 ones and 16 zeros (not stored), scale 1; x = 1 everywhere, symmetric:
//   codes 127 of scale 1/127, sum 2032, y = bias + 2032 / 127 = bias + 16
#include "kernels/sparse.h"

#include "kernels/gemm_spec.h"
#include "kernels/hybrid.h"

namespace litegap {
namespace {

constexpr std::size_t kBlock = 16;
// The runtime lists the blocks of a row in bytes when the input is float.
constexpr std::size_t kMostBlocks = 255;

// The stored blocks, row after row.
struct SparseRows {
  std::size_t depth = 0, channels = 0;
  std::vector<std::size_t> first;      // of each row's blocks, and behind the last
  std::vector<std::size_t> column;     // where a block lies in its row
  std::vector<std::int8_t> values;     // kBlock of each
  std::vector<std::int32_t> row_sums;  // of the weights

  // Sum of (x[k] - offset) * w[channel][k].
  template <class T>
  std::int32_t dot(const T* x, std::int32_t offset, std::size_t channel) const noexcept {
    std::int32_t sum = 0;
    for (std::size_t b = first[channel]; b < first[channel + 1]; ++b) {
      const std::int8_t* w = values.data() + b * kBlock;
      const T* at = x + column[b];
      for (std::size_t k = 0; k < kBlock; ++k) sum += (std::int32_t{at[k]} - offset) * w[k];
    }
    return sum;
  }
};

SparseRows sparse_rows(const OpSpec& spec, const Operand& w) {
  SparseRows rows;
  rows.channels = static_cast<std::size_t>(w.shape[0]);
  rows.depth = static_cast<std::size_t>(w.shape[1]);
  if (w.sparse_block != static_cast<int>(kBlock) || rows.depth % kBlock != 0)
    refuse(spec, "tensor {}: sparse int8 weights, expected blocks of 1 x {}", w.name, kBlock);
  const auto dense = w.constant->span<std::int8_t>();
  for (std::size_t c = 0; c < rows.channels; ++c) {
    rows.first.push_back(rows.column.size());
    std::int32_t sum = 0;
    for (std::size_t k = 0; k < rows.depth; k += kBlock) {
      const auto block = dense.subspan(c * rows.depth + k, kBlock);
      if (std::ranges::all_of(block, [](std::int8_t v) { return v == 0; })) continue;
      rows.column.push_back(k);
      rows.values.insert(rows.values.end(), block.begin(), block.end());
      for (const std::int8_t v : block) sum += v;
    }
    rows.row_sums.push_back(sum);
  }
  rows.first.push_back(rows.column.size());
  return rows;
}

// ---- int8 input
struct IntegerSparse {
  SparseRows weights;
  std::size_t rows = 0;
  std::int32_t input_zero = 0, output_zero = 0;
  std::vector<Multiplier> multipliers;
  Range32 range;
  bool has_bias = false;

  void operator()(const Io& io) const noexcept {
    const auto* x = static_cast<const std::int8_t*>(io.inputs[0]);
    const auto* bias = has_bias ? static_cast<const std::int32_t*>(io.inputs[2]) : nullptr;
    auto* y = static_cast<std::int8_t*>(io.outputs[0]);
    for (std::size_t r = 0; r < rows; ++r, x += weights.depth, y += weights.channels) {
      for (std::size_t c = 0; c < weights.channels; ++c) {
        const std::int32_t sum =
            wrap_add(weights.dot(x, input_zero, c), bias == nullptr ? 0 : bias[c]);
        const std::int32_t v = wrap_add(scale_double(sum, multipliers[c]), output_zero);
        y[c] = static_cast<std::int8_t>(std::clamp(v, range.low, range.high));
      }
    }
  }
};

std::unique_ptr<Kernel> integer_sparse(const OpSpec& spec, std::size_t rows, SparseRows weights,
                                       const std::vector<float>& scales, Activation activation) {
  const Operand &x = spec.inputs[0], &y = spec.outputs[0];
  if (spec.has(2) && spec.inputs[2].dtype != DType::kInt32)
    refuse(spec, "bias {}: expected int32, found {}", spec.inputs[2].name,
           dtype_name(spec.inputs[2].dtype));
  IntegerSparse k;
  k.rows = rows;
  const float sx = tensor_scale(spec, x), sy = tensor_scale(spec, y);
  k.input_zero = tensor_zero(spec, x);
  k.output_zero = tensor_zero(spec, y);
  for (const float s : scales) {
    k.multipliers.push_back(make_multiplier(static_cast<double>(sx) * static_cast<double>(s) /
                                            static_cast<double>(sy)));
  }
  k.range = activation_codes(activation, sy, k.output_zero, DType::kInt8, false);
  k.has_bias = spec.has(2);
  k.weights = std::move(weights);
  return make_kernel(std::move(k));
}

// ---- float input, quantized row by row
struct HybridSparse {
  SparseRows weights;
  std::size_t rows = 0;
  std::vector<float> scales;
  bool asymmetric = false, per_tensor = false, has_bias = false;
  FloatRange range;

  float value(const std::int16_t* codes, const RowCode& code, float bias,
              std::size_t c) const noexcept {
    const float scale = code.scale * scales[c];
    float y = bias;
    if (asymmetric) {
      const auto zero = static_cast<float>(code.zero_point);
      const float shift = per_tensor ? scale * zero : code.scale * zero * scales[c];
      y -= shift * static_cast<float>(weights.row_sums[c]);
    }
    // `codes` are q - z; the sum is over q.
    const float product = static_cast<float>(weights.dot(codes, -code.zero_point, c)) * scale;
    y += product;
    return clamped(y, range);
  }

  void operator()(const Io& io) const noexcept {
    const auto* x = static_cast<const float*>(io.inputs[0]);
    const auto* bias = has_bias ? static_cast<const float*>(io.inputs[2]) : nullptr;
    auto* y = static_cast<float*>(io.outputs[0]);
    auto* codes = reinterpret_cast<std::int16_t*>(io.scratch);
    const GemmKernels& kernels = gemm_best();
    const HybridCode how = asymmetric ? HybridCode::kAsymmetric : HybridCode::kSymmetricRow;
    for (std::size_t r = 0; r < rows; ++r, x += weights.depth, y += weights.channels) {
      const RowCode code = hybrid_code(how, kernels, x, weights.depth);
      hybrid_quantize(kernels, x, weights.depth, code, codes);
      for (std::size_t c = 0; c < weights.channels; ++c)
        y[c] = value(codes, code, bias == nullptr ? 0.0f : bias[c], c);
    }
  }
};

std::unique_ptr<Kernel> hybrid_sparse(const OpSpec& spec, std::size_t rows, SparseRows weights,
                                      std::vector<float> scales, const FullyConnectedAttrs& a) {
  if (spec.has(2) && spec.inputs[2].dtype != DType::kFloat32)
    refuse(spec, "bias {}: expected float32, found {}", spec.inputs[2].name,
           dtype_name(spec.inputs[2].dtype));
  if (weights.depth / kBlock > kMostBlocks)
    refuse(spec, "tensor {}: rows of {} sparse weights, at most {} work", spec.inputs[1].name,
           weights.depth, kMostBlocks * kBlock);
  HybridSparse k;
  k.rows = rows;
  k.scales = std::move(scales);
  k.asymmetric = a.asymmetric_quantize_inputs;
  k.per_tensor = !spec.inputs[1].quant->per_channel();
  k.has_bias = spec.has(2);
  k.range = hybrid_activation(a.activation, false, true);
  const std::size_t scratch = weights.depth * sizeof(std::int16_t);
  k.weights = std::move(weights);
  return make_kernel(std::move(k), scratch);
}

}  // namespace

std::unique_ptr<Kernel> prepare_sparse(const OpSpec& spec, std::size_t rows) {
  const Operand& w = spec.inputs[1];
  const DType x = spec.inputs[0].dtype;
  if (w.constant == nullptr || w.dtype != DType::kInt8 ||
      (x != DType::kInt8 && x != DType::kFloat32))
    refuse(spec, "tensor {}: sparse weights of {} with an input of {} are not supported", w.name,
           dtype_name(w.dtype), dtype_name(x));
  if (w.quant->empty()) refuse(spec, "tensor {}: quantized weights without a scale", w.name);
  for (const std::int64_t z : w.quant->zero_point) {
    if (z != 0) refuse(spec, "tensor {}: sparse weights with zero point {}, expected 0", w.name, z);
  }
  const auto& a = attrs_of<FullyConnectedAttrs>(spec);
  SparseRows weights = sparse_rows(spec, w);
  std::vector<float> scales = weight_scales(spec, w, weights.channels);
  if (spec.has(2) && shape_elements(spec.inputs[2].shape) != weights.channels)
    refuse(spec, "bias {}: expected {} values, found shape {}", spec.inputs[2].name,
           weights.channels, shape_text(spec.inputs[2].shape));
  if (x == DType::kInt8)
    return integer_sparse(spec, rows, std::move(weights), scales, a.activation);
  return hybrid_sparse(spec, rows, std::move(weights), std::move(scales), a);
}

}  // namespace litegap
