// What planner and walker share about preparing one operator.
#pragma once
#include <memory>
#include <optional>
#include <utility>

#include "kernels/kernel.h"
#include "model/model.h"

namespace litegap {

// The bias tensor of a layer with quantized data and weights, and the scale that the kernels use
// for it: s_input * s_weights, whatever its own tensor says.  None for other operators.
std::optional<std::pair<int, Quant>> bias_scale(const Graph& graph, const Op& op);

// row.prepare(), but QUANTIZE and DEQUANTIZE between float values copy.
std::unique_ptr<Kernel> prepare_kernel(const KernelRow& row, OpSpec& spec);

}  // namespace litegap
