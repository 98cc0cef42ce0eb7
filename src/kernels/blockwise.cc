// FULLY_CONNECTED with blockwise weights: float input, 4-bit codes, one float16 scale for each
// `block` neighbours of a row of weights.  A row of input is quantized when the operator runs, to
// codes q with scale s and zero point z; every block gives an integer sum, and the sums meet in
// float32, where the order of the operations is all that tells the kernels apart:
//
//   built-in   y = ((sum_b f(a_b) w_b) - z k) s + bias      a_b = sum q c,  k = sum_b w_b sum c
//   XNNPACK    y = fma(f(a_b), w_b, ...) from -(z + 128) k, times s, plus bias;  a_b = sum (q +
//   128) c neither    y = bias
//
// "Neither" is not a slip of ours: a kernel that does not know of blocks finds no scale with the
// weights, and computes with a scale of 0.  So does the reference kernel for every such file, and
// the built-in one where its 4-bit form does not apply (odd or short rows, fewer than 4 outputs,
// codes of 8 or 2 bits).
//
//   x = [1, 0], weights [[3, -2]], one block with scale 0.5, bias 1:  built-in 2.5, reference 1
//
// XNNPACK rounds the scales to bfloat16 and takes blocks that are multiples of 32.  Where the
// machine has no AVX-512 VNNI it fuses the last product with the addition of the bias, and sums
// over more lanes: one unit in the last place.
#include "kernels/blockwise.h"

#include <bit>
#include <cmath>

#include "kernels/gemm_spec.h"
#include "kernels/hybrid.h"

namespace litegap {
namespace {

enum class BlockForm : std::uint8_t { kBiasOnly, kBuiltin, kXnnpack };

constexpr std::size_t kScaleRun = 16;  // weights whose sum XNNPACK scales at once, for k

float bfloat16(float v) {  // to nearest, ties to even
  const auto bits = std::bit_cast<std::uint32_t>(v);
  return std::bit_cast<float>((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000u);
}

BlockForm form_of(const OpSpec& spec, bool xnn) {
  const Operand& w = spec.inputs[1];
  if (xnn && w.quant->block_size % 32 == 0) return BlockForm::kXnnpack;
  return spec.dialect != Dialect::kReference && four_bit_form(w) ? BlockForm::kBuiltin
                                                                 : BlockForm::kBiasOnly;
}

class BlockKernel final : public Kernel {
 public:
  BlockKernel(const OpSpec& spec, std::size_t rows, BlockForm form);
  void run(const Io& io) const noexcept override;
  std::size_t scratch_bytes() const override { return depth_ * sizeof(std::int16_t); }

 private:
  std::size_t blocks() const { return depth_ / block_; }
  float sum(const std::int16_t* codes, const RowCode& code, std::size_t channel) const noexcept;

  std::size_t rows_, depth_, channels_, block_;
  BlockForm form_;
  HybridCode how_;
  FloatRange range_;
  bool has_bias_;
  std::vector<std::int8_t> weights_;         // [channels][depth]
  std::vector<float> scales_, corrections_;  // [channels][blocks]; k of each channel
  std::vector<std::int32_t> block_sums_;     // [channels][blocks], of the weights
};

BlockKernel::BlockKernel(const OpSpec& spec, std::size_t rows, BlockForm form)
    : rows_(rows),
      depth_(static_cast<std::size_t>(spec.inputs[1].shape[1])),
      channels_(static_cast<std::size_t>(spec.inputs[1].shape[0])),
      block_(static_cast<std::size_t>(spec.inputs[1].quant->block_size)),
      form_(form),
      how_(form == BlockForm::kXnnpack ? HybridCode::kQd8
           : form == BlockForm::kBuiltin ||
                   attrs_of<FullyConnectedAttrs>(spec).asymmetric_quantize_inputs
               ? HybridCode::kAsymmetric
               : HybridCode::kSymmetric),
      range_(hybrid_activation(attrs_of<FullyConnectedAttrs>(spec).activation,
                               form == BlockForm::kXnnpack, true)),
      has_bias_(spec.has(2)) {
  // The built-in 4-bit form of blocks leaves the fused activation out.
  if (form_ == BlockForm::kBuiltin) range_ = hybrid_activation(Activation::kNone, false, true);
  if (form_ == BlockForm::kBiasOnly) return;
  const Array codes = unpacked_codes(*spec.inputs[1].constant);
  weights_.assign(codes.span<std::int8_t>().begin(), codes.span<std::int8_t>().end());
  scales_ = block_scales(spec, spec.inputs[1]);
  if (form_ == BlockForm::kXnnpack) {
    for (float& s : scales_) s = bfloat16(s);
  }
  const std::size_t run = form_ == BlockForm::kXnnpack ? kScaleRun : block_;
  for (std::size_t c = 0; c < channels_; ++c) {
    float correction = 0;
    for (std::size_t b = 0; b < blocks(); ++b) {
      const std::int8_t* w = weights_.data() + c * depth_ + b * block_;
      std::int32_t all = 0;
      for (std::size_t i = 0; i < block_; i += run) {
        std::int32_t part = 0;
        for (std::size_t k = i; k < i + run; ++k) part += w[k];
        const float scaled = static_cast<float>(part) * scales_[c * blocks() + b];
        correction += scaled;
        all += part;
      }
      block_sums_.push_back(all);
    }
    corrections_.push_back(correction);
  }
}

// The float32 sum over the blocks of one channel, the zero point taken out.
float BlockKernel::sum(const std::int16_t* codes, const RowCode& code,
                       std::size_t channel) const noexcept {
  const bool xnn = form_ == BlockForm::kXnnpack;
  const std::int8_t* w = weights_.data() + channel * depth_;
  const float* scale = scales_.data() + channel * blocks();
  const std::int32_t* block_sum = block_sums_.data() + channel * blocks();
  // `codes` are q - z; the kernels sum q, or q + 128.
  const std::int32_t shift = code.zero_point + (xnn ? 128 : 0);
  const float away = static_cast<float>(shift) * corrections_[channel];
  float total = xnn ? -away : 0.0f;
  for (std::size_t b = 0; b < blocks(); ++b, w += block_, codes += block_) {
    std::int32_t a = 0;
    for (std::size_t k = 0; k < block_; ++k) a += std::int32_t{codes[k]} * w[k];
    const auto sum = static_cast<float>(a + shift * block_sum[b]);
    if (xnn) {
      total = std::fma(sum, scale[b], total);
    } else {
      const float scaled = sum * scale[b];
      total += scaled;
    }
  }
  return xnn ? total : total - away;
}

void BlockKernel::run(const Io& io) const noexcept {
  const auto* x = static_cast<const float*>(io.inputs[0]);
  const auto* bias = has_bias_ ? static_cast<const float*>(io.inputs[2]) : nullptr;
  auto* y = static_cast<float*>(io.outputs[0]);
  auto* codes = reinterpret_cast<std::int16_t*>(io.scratch);
  const GemmKernels& kernels = gemm_best();
  for (std::size_t r = 0; r < rows_; ++r, x += depth_, y += channels_) {
    const RowCode code = hybrid_code(how_, kernels, x, depth_);
    if (form_ != BlockForm::kBiasOnly) hybrid_quantize(kernels, x, depth_, code, codes);
    for (std::size_t c = 0; c < channels_; ++c) {
      // The form without scales computes with 0, and a row's own scale may make NaN of it.
      float v = form_ == BlockForm::kBiasOnly ? 0.0f : sum(codes, code, c);
      v *= code.scale;
      if (bias != nullptr) v += bias[c];
      y[c] = clamped(v, range_);
    }
  }
}

}  // namespace

bool four_bit_form(const Operand& weights) {
  return weights.dtype == DType::kInt4 && weights.constant != nullptr &&
         weights.shape[1] % 2 == 0 && weights.shape[1] >= 32 && weights.shape[0] >= 4;
}

std::vector<float> block_scales(const OpSpec& spec, const Operand& weights) {
  const std::int32_t block = weights.quant->block_size, depth = weights.shape.back();
  if (depth < 1 || depth % block != 0)
    refuse(spec, "tensor {}: rows of {} are not blocks of {}", weights.name, depth, block);
  if (weights.block_scales == nullptr || weights.block_scales->dtype() != DType::kFloat16)
    refuse(spec, "tensor {}: the scales of its blocks are not a constant of float16", weights.name);
  const std::size_t blocks = shape_elements(weights.shape) / static_cast<std::size_t>(block);
  if (weights.block_scales->elements() != blocks)
    refuse(spec, "tensor {}: expected {} scales of its blocks, found {}", weights.name, blocks,
           weights.block_scales->elements());
  const auto real = dequantize(*weights.block_scales, {});
  const auto values = real.span<float>();
  return {values.begin(), values.end()};
}

std::unique_ptr<Kernel> prepare_blockwise(const OpSpec& spec, std::size_t rows, bool xnn) {
  const Operand& w = spec.inputs[1];
  if (w.constant == nullptr)
    refuse(spec, "tensor {}: blockwise weights that are not constant", w.name);
  const std::vector<float> scales = block_scales(spec, w);
  if (spec.has(2) && (spec.inputs[2].dtype != DType::kFloat32 ||
                      shape_elements(spec.inputs[2].shape) != static_cast<std::size_t>(w.shape[0])))
    refuse(spec, "bias {}: expected {} values of float32", spec.inputs[2].name, w.shape[0]);
  const BlockForm form = form_of(spec, xnn);
  if (form == BlockForm::kXnnpack) {
    if (w.dtype != DType::kInt4)
      refuse(spec, "XNNPACK cannot run it: blockwise weights of {}", dtype_name(w.dtype));
    for (const float s : scales) {
      if (!std::isnormal(s) || s < 0)
        refuse(spec, "XNNPACK cannot run it: the scale {} of a block is not a normal number > 0",
               s);
    }
  }
  return std::make_unique<BlockKernel>(spec, rows, form);
}

}  // namespace litegap
