// FULLY_CONNECTED: float, hybrid and integer (docs/numerics.md, sections 2.4, 4, 4.5).
//
// x [..., K], weights [O, K], bias [O] (optional), y [rows, O], or [..., O] with keep_num_dims.
#include "kernels/blockwise.h"
#include "kernels/gemm_ops.h"
#include "kernels/gemm_spec.h"
#include "kernels/sparse.h"

namespace litegap {
namespace {

struct Size {
  std::int32_t rows = 0, depth = 0, out = 0;
};

Size check(OpSpec& spec, const FullyConnectedAttrs& a) {
  expect_rank(spec, spec.inputs[1], 2, "weights");
  const Shape& x = spec.inputs[0].shape;
  const Shape& w = spec.inputs[1].shape;
  if (a.activation == Activation::kTanh || a.activation == Activation::kSignBit)
    refuse(spec, "a fused activation other than RELU, RELU6 and RELU_N1_TO_1");
  const Operand& weights = spec.inputs[1];
  if (weights.sparse && weights.dtype == DType::kFloat32 && spec.dialect != Dialect::kReference &&
      weights.sparse_block != 1 && weights.sparse_block != 4)
    refuse(spec,
           "tensor {}: the built-in kernel takes sparse weights only as single values or in "
           "blocks of 1 x 4",
           weights.name);
  if (a.weights_format != 0) refuse(spec, "shuffled weights are not supported");
  if (x.empty()) refuse(spec, "input {}: a scalar", spec.inputs[0].name);
  const std::size_t elements = shape_elements(x);
  const std::int32_t depth = w[1];
  if (depth < 0 || w[0] < 1) refuse(spec, "weights of shape {}", shape_text(w));
  if (depth == 0 ? elements != 0 : elements % static_cast<std::size_t>(depth) != 0) {
    refuse(spec, "input {} does not divide into rows of {}", shape_text(x), depth);
  }
  std::size_t rows = depth == 0 ? 0 : elements / static_cast<std::size_t>(depth);
  Shape& y = spec.outputs[0].shape;
  if (a.keep_num_dims) {
    if (x.back() != depth) refuse(spec, "input {} does not end in {}", shape_text(x), depth);
    y = x;
    y.back() = w[0];
    if (depth == 0) rows = shape_elements(y) / static_cast<std::size_t>(w[0]);
  } else {
    if (depth == 0) rows = static_cast<std::size_t>(x[0]);
    y = {static_cast<std::int32_t>(rows), w[0]};
  }
  if (rows > std::size_t{1} << 30) refuse(spec, "input {} has too many rows", shape_text(x));
  return {static_cast<std::int32_t>(rows), depth, w[0]};
}

bool xnn_takes(const OpSpec& spec) {
  const Operand& w = spec.inputs[1];
  if (!xnn_weights(w) || spec.inputs[0].dtype == DType::kInt16 ||
      spec.inputs[0].dtype != spec.outputs[0].dtype)
    return false;
  if (spec.has(2) && spec.inputs[2].constant == nullptr) return false;
  if (w.dtype == DType::kInt4 && w.shape[1] % 2 != 0) return false;
  return w.dtype != DType::kInt2 || w.shape[1] % 4 == 0;
}

// XNNPACK knows sparse weights by the version of the operator, which converters set to 8 for them;
// under another version it takes the stored values for all values.
bool leaves_sparse(const OpSpec& spec) {
  const Operand& w = spec.inputs[1];
  if (!w.sparse) return false;
  if (spec.op->version != 8 && xnn_takes(spec))
    refuse(spec,
           "tensor {}: XNNPACK takes sparse weights for dense ones in version {} of the "
           "operator, expected version 8",
           w.name, spec.op->version);
  return true;
}

void set_hybrid(const OpSpec& spec, const FullyConnectedAttrs& a, bool xnn, WindowSpec& s) {
  const Operand& w = spec.inputs[1];
  if (s.weight_zero != 0) refuse(spec, "weights with zero point {}, expected 0", s.weight_zero);
  s.weight_scale = weight_scales(spec, w, static_cast<std::size_t>(s.window.out_c));
  s.hybrid = xnn                            ? HybridCode::kQd8
             : a.asymmetric_quantize_inputs ? HybridCode::kAsymmetric
                                            : HybridCode::kSymmetricRow;
  s.hybrid_per_row = true;
  FloatScale scale = xnn ? FloatScale::kFused : FloatScale::kProduct;
  if (spec.dialect != Dialect::kReference && !xnn && four_bit_form(w)) {
    // The optimized 4-bit kernel: symmetric whatever the flag, codes stored plus seven.
    if (s.weights && code_range(*s.weights).low == -8)
      refuse(spec, "int4 weights of -8: the built-in kernel's result is undefined");
    s.hybrid = HybridCode::kFourBit;
    scale = FloatScale::kPlusSeven;
  }
  const FloatRange range = hybrid_activation(a.activation, xnn, true);
  s.finish =
      FloatFinish{scale, 0, scale, nullptr, nullptr, range.low, range.high, low_for_nan(range)};
}

void set_integer_product(const OpSpec& spec, const FullyConnectedAttrs& a, bool xnn,
                         WindowSpec& s) {
  const Operand& x = spec.inputs[0];
  const bool int16 = x.dtype == DType::kInt16;
  s.input_zero = (tensor_scale(spec, x), tensor_zero(spec, x));
  if (int16 && (s.input_zero != 0 ||
                (tensor_scale(spec, spec.outputs[0]), tensor_zero(spec, spec.outputs[0])) != 0)) {
    refuse(spec, "int16 activations with a zero point, expected 0");
  }
  if (spec.has(2) && !int16 && spec.inputs[2].dtype != DType::kInt32)
    refuse(spec, "bias {}: expected int32, found {}", spec.inputs[2].name,
           dtype_name(spec.inputs[2].dtype));
  s.wide = int16 && spec.has(2) && spec.inputs[2].dtype == DType::kInt64;
  if (int16 && spec.has(2) && !s.wide && a.quantized_bias_type != DType::kInt32)
    refuse(spec, "bias {}: int32, but the option quantized_bias_type does not say so",
           spec.inputs[2].name);
  const auto channels = static_cast<std::size_t>(s.window.out_c);
  const bool reference = spec.dialect == Dialect::kReference;
  RequantPlan plan;
  plan.rounding = xnn ? Rounding::kXnn : reference || s.wide ? Rounding::kDouble : Rounding::kFixed;
  plan.float_product = !reference && !spec.inputs[1].quant->per_channel() && !s.wide;
  plan.away_from = channels;
  s.requant =
      make_requant(spec, tensor_scale(spec, x), weight_scales(spec, spec.inputs[1], channels),
                   spec.outputs[0], a.activation, plan);
}

}  // namespace

std::unique_ptr<Kernel> prepare_fully_connected(OpSpec& spec, const GemmKernels& kernels) {
  expect_inputs(spec, 2, 3);
  expect_outputs(spec, 1);
  const auto& a = attrs_of<FullyConnectedAttrs>(spec);
  const Size size = check(spec, a);
  const Arithmetic arithmetic = arithmetic_of(spec, 0, 1);
  const bool xnn = spec.dialect == Dialect::kXnnpack && !leaves_sparse(spec) && xnn_takes(spec);
  if (arithmetic == Arithmetic::kHybrid && spec.inputs[1].quant->blockwise())
    return prepare_blockwise(spec, static_cast<std::size_t>(size.rows), xnn);
  if (spec.inputs[1].sparse && arithmetic != Arithmetic::kFloat)
    return prepare_sparse(spec, static_cast<std::size_t>(size.rows));
  WindowSpec s;
  s.window = flat_window(1, size.rows, size.depth, size.out);
  s.kernels = &kernels;
  s.input = spec.inputs[0].dtype;
  set_weights(spec, 1, s);
  if (arithmetic == Arithmetic::kHybrid) {
    set_hybrid(spec, a, xnn, s);
  } else if (arithmetic == Arithmetic::kInteger) {
    set_integer_product(spec, a, xnn, s);
  } else {
    const FloatRange range = float_activation(a.activation, xnn);
    s.finish = FloatFinish{FloatScale::kNone, 0,         FloatScale::kNone, nullptr,
                           nullptr,           range.low, range.high};
    s.fused_multiply_add = s.bias_first = xnn;
  }
  set_bias(spec, 2, s);
  return make_window_kernel(std::move(s));
}

std::unique_ptr<Kernel> prepare_fully_connected(OpSpec& spec) {
  return prepare_fully_connected(spec, gemm_best());
}

}  // namespace litegap
