// What planner and walker share about preparing one operator.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/kernel.h"
#include "model/model.h"

namespace litegap {

// The bias tensor of a layer with quantized data and weights, and the scale that the kernels use
// for it: s_input * s_weights, whatever its own tensor says.  None for other operators.
std::optional<std::pair<int, Quant>> bias_scale(const Graph& graph, const Op& op);

// The scales of a blockwise quantized tensor, where they are a constant of the graph; else null.
const Array* block_scales(const Graph& graph, const Quant& quant);

// The operators of the graph that an operator's options name as the combination of two values.
std::vector<OpCode> body_of(const Model& model, const Op& op);

// Whether XNNPACK takes an operator as far as shapes go.  It decides by those that the file states,
// before any is computed or an input is resized: convolutions and RESIZE_BILINEAR want data and
// result of four dimensions, and stay with the built-in kernels where the file leaves them open.
bool xnn_takes_shapes(const Graph& graph, const Op& op);
// `dialect`, but built-in where that is XNNPACK and it does not take the operator's shapes.
Dialect dialect_by_shapes(const Graph& graph, const Op& op, Dialect dialect);

// Why an operator without a kernel is refused.
std::string why_refused(const Op& op);

// row.prepare(), but QUANTIZE and DEQUANTIZE between float values copy.
std::unique_ptr<Kernel> prepare_kernel(const KernelRow& row, OpSpec& spec);

}  // namespace litegap
