#include "diagnose/faults.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "diagnose/fault_checks.h"

namespace litegap {

bool is_activation_code(DType t) {
  return t == DType::kInt8 || t == DType::kUint8 || t == DType::kInt16;
}

bool usable_scale(float scale) { return std::isnormal(scale) && scale > 0; }

double code_low(DType t) {
  switch (t) {
    case DType::kInt8:
      return -128;
    case DType::kInt16:
      return -32768;
    default:
      return 0;
  }
}

double code_high(DType t) {
  switch (t) {
    case DType::kInt8:
      return 127;
    case DType::kUint8:
      return 255;
    case DType::kInt16:
      return 32767;
    default:
      return 0;
  }
}

bool as_product(const Graph& graph, const Op& op, Product& p) {
  switch (op.code) {
    case OpCode::kConv2d:
    case OpCode::kFullyConnected:
      p = {op.input(0), op.input(1), op.input(2), -1, 0};
      break;
    case OpCode::kDepthwiseConv2d:
      p = {op.input(0), op.input(1), op.input(2), -1, 3};
      break;
    case OpCode::kTransposeConv:
      p = {op.input(2), op.input(1), op.input(3), -1, 0};
      break;
    default:
      return false;
  }
  if (op.outputs.empty() || p.input < 0 || p.weight < 0) return false;
  p.output = op.outputs[0];
  const Tensor& weight = graph.tensors[static_cast<std::size_t>(p.weight)];
  return static_cast<std::size_t>(p.axis) < weight.shape.size();
}

std::vector<std::int16_t> codes(const Tensor& tensor) {
  std::vector<std::int16_t> out;
  if (!tensor.constant) return out;
  const Array& a = *tensor.constant;
  if (a.dtype() != DType::kInt8 && a.dtype() != DType::kUint8 && a.dtype() != DType::kInt4)
    return out;
  // Zero points far outside the type's range are read from damaged files.
  std::vector<int> zero{0};
  if (!tensor.quant.empty()) zero.clear();
  for (const std::int64_t z : tensor.quant.zero_point)
    zero.push_back(static_cast<int>(std::clamp<std::int64_t>(z, -16384, 16384)));
  std::size_t inner = 1;
  for (auto d = static_cast<std::size_t>(tensor.quant.axis) + 1;
       zero.size() > 1 && d < tensor.shape.size(); ++d) {
    inner *= static_cast<std::size_t>(tensor.shape[d]);
  }
  out.resize(a.elements());
  for (std::size_t i = 0; i < out.size(); ++i) {
    int code = 0;
    if (a.dtype() == DType::kInt8) {
      code = std::to_integer<std::int8_t>(a.data()[i]);
    } else if (a.dtype() == DType::kUint8) {
      code = std::to_integer<std::uint8_t>(a.data()[i]);
    } else {
      const int nibble = (std::to_integer<int>(a.data()[i / 2]) >> (i % 2 * 4)) & 15;
      code = nibble >= 8 ? nibble - 16 : nibble;
    }
    out[i] =
        static_cast<std::int16_t>(code - zero[zero.size() > 1 ? (i / inner) % zero.size() : 0]);
  }
  return out;
}

std::vector<int> channel_peaks(const Tensor& weight, int axis) {
  const auto all = codes(weight);
  if (all.empty() || axis < 0 || static_cast<std::size_t>(axis) >= weight.shape.size()) return {};
  const auto channels = static_cast<std::size_t>(weight.shape[static_cast<std::size_t>(axis)]);
  std::size_t inner = 1;
  for (auto d = static_cast<std::size_t>(axis) + 1; d < weight.shape.size(); ++d)
    inner *= static_cast<std::size_t>(weight.shape[d]);
  std::vector<int> peaks(channels, 0);
  for (std::size_t i = 0; i < all.size(); ++i) {
    int& peak = peaks[(i / inner) % channels];
    peak = std::max(peak, std::abs(static_cast<int>(all[i])));
  }
  return peaks;
}

std::vector<Fault> static_faults(const Model& model) {
  const Graph& graph = model.main();
  const auto producer = producers(graph);
  FaultScan scan{model, graph, producer, weights_of(graph, producer), {}};
  check_scales(scan);
  check_constants(scan);
  check_biases(scan);
  check_weights(scan);
  check_unsupported(scan);
  std::stable_sort(scan.faults.begin(), scan.faults.end(),
                   [](const Fault& a, const Fault& b) { return a.severity > b.severity; });
  return std::move(scan.faults);
}

}  // namespace litegap
