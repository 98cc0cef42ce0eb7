// Faults of scales and of constants among the activations.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>

#include "diagnose/fault_checks.h"
#include "diagnose/technique.h"

namespace litegap {
namespace {

std::string scale_kind(float s) {
  if (std::isnan(s)) return "not a number";
  if (std::isinf(s)) return "infinite";
  if (s == 0) return "zero";
  if (s < 0) return "negative";
  return "subnormal";
}

// ---- C08
// -------------------------------------------------------------------------------------------

void check_degenerate(FaultScan& scan) {
  for (std::size_t t = 0; t < scan.graph.tensors.size(); ++t) {
    const Tensor& tensor = scan.graph.tensors[t];
    if (!is_quantizable(tensor.dtype)) continue;
    const auto bad =
        std::find_if_not(tensor.quant.scale.begin(), tensor.quant.scale.end(), usable_scale);
    if (bad != tensor.quant.scale.end()) {
      scan.faults.push_back({"C08",
                             "degenerate-scale",
                             fmt::format("tensor {} ({}) has a scale that is {} ({})", t,
                                         tensor.name, scale_kind(*bad), *bad),
                             {static_cast<int>(t)},
                             {},
                             1.0});
      continue;
    }
    // A range of (nearly) zero in calibration; 2e-6/255 is the converter's floor.
    const bool activation =
        !tensor.constant && !tensor.is_variable && is_activation_code(tensor.dtype);
    if (activation && tensor.quant.scale.size() == 1 && tensor.quant.scale[0] < 1e-8f) {
      scan.faults.push_back({"C08",
                             "constant-tensor",
                             fmt::format("tensor {} ({}) has scale {:.4g}: it was constant or dead "
                                         "while calibrating, and any other value saturates",
                                         t, tensor.name, tensor.quant.scale[0]),
                             {static_cast<int>(t)},
                             {},
                             0.8});
    }
  }
}

// ---- C05
// -------------------------------------------------------------------------------------------

struct Fixed {
  double scale;
  std::int64_t zero;
};

std::optional<Fixed> fixed_output(OpCode code, DType in, DType t) {
  const bool i8 = t == DType::kInt8, u8 = t == DType::kUint8, i16 = t == DType::kInt16;
  switch (code) {
    case OpCode::kSoftmax:
    case OpCode::kLogistic:
      if (i16 && in != DType::kInt16) return Fixed{1.0 / 65536, -32768};
      if (i16) return Fixed{1.0 / 32768, 0};
      if (i8 || u8) return Fixed{1.0 / 256, i8 ? -128 : 0};
      break;
    case OpCode::kTanh:
      if (i16) return Fixed{1.0 / 32768, 0};
      if (i8 || u8) return Fixed{1.0 / 128, i8 ? 0 : 128};
      break;
    case OpCode::kL2Normalization:
      if (i8 || u8) return Fixed{1.0 / 128, i8 ? 0 : 128};
      break;
    default:
      break;
  }
  return std::nullopt;
}

void check_fixed(FaultScan& scan) {
  for (std::size_t o = 0; o < scan.graph.ops.size(); ++o) {
    const Op& op = scan.graph.ops[o];
    const Tensor* out = op.outputs.empty() ? nullptr : scan.tensor(op.outputs[0]);
    if (out == nullptr || out->quant.scale.size() != 1 || !usable_scale(out->quant.scale[0]))
      continue;
    const Tensor* in = scan.tensor(op.input(0));
    const auto fixed = in == nullptr ? std::nullopt : fixed_output(op.code, in->dtype, out->dtype);
    if (!fixed) continue;
    const double scale = out->quant.scale[0];
    // The runtime's own tolerance is a thousandth.
    if (std::abs(scale - fixed->scale) <= 1e-3 * fixed->scale &&
        out->quant.zero_point[0] == fixed->zero)
      continue;
    scan.faults.push_back(
        {"C05",
         "fixed-scale-violated",
         fmt::format(
             "{} must answer with scale {:.8g} and zero point {}, the file says {:.8g} and {}",
             scan.label(static_cast<int>(o)), fixed->scale, fixed->zero, scale,
             out->quant.zero_point[0]),
         {op.outputs[0]},
         {static_cast<int>(o)},
         0.9});
  }
}

// ---- B13
// -------------------------------------------------------------------------------------------

bool keeps_scale(OpCode code) {
  switch (code) {
    case OpCode::kConcatenation:
    case OpCode::kReshape:
    case OpCode::kMaxPool2d:
    case OpCode::kAveragePool2d:
    case OpCode::kPad:
    case OpCode::kPadV2:
    case OpCode::kMirrorPad:
    case OpCode::kSqueeze:
    case OpCode::kExpandDims:
    case OpCode::kTranspose:
    case OpCode::kSlice:
    case OpCode::kStridedSlice:
    case OpCode::kSplit:
    case OpCode::kSplitV:
    case OpCode::kPack:
    case OpCode::kUnpack:
    case OpCode::kGather:
    case OpCode::kMaximum:
    case OpCode::kMinimum:
    case OpCode::kResizeBilinear:
    case OpCode::kResizeNearestNeighbor:
    case OpCode::kDepthToSpace:
    case OpCode::kSpaceToDepth:
    case OpCode::kBatchToSpaceNd:
    case OpCode::kSpaceToBatchNd:
    case OpCode::kTile:
    case OpCode::kReverseV2:
    case OpCode::kReduceMax:
    case OpCode::kReduceMin:
    case OpCode::kSelect:
    case OpCode::kSelectV2:
      return true;
    default:
      return false;
  }
}

// Tensors that some operator forces to one scale count as one.
std::vector<int> scale_groups(const Graph& graph) {
  std::vector<int> parent(graph.tensors.size());
  std::iota(parent.begin(), parent.end(), 0);
  const auto root = [&](int t) {
    while (parent[static_cast<std::size_t>(t)] != t) t = parent[static_cast<std::size_t>(t)];
    return t;
  };
  for (const Op& op : graph.ops) {
    if (!keeps_scale(op.code) || op.outputs.empty()) continue;
    std::vector<int> all = op.outputs;
    all.insert(all.end(), op.inputs.begin(), op.inputs.end());
    for (const int t : all) {
      if (t >= 0) parent[static_cast<std::size_t>(root(t))] = root(op.outputs[0]);
    }
  }
  for (std::size_t t = 0; t < parent.size(); ++t) parent[t] = root(static_cast<int>(t));
  return parent;
}

// Whether an operator's result has a range of its own that only calibration can know.
bool chooses_scale(const Op& op) {
  switch (op.code) {
    case OpCode::kConv2d:
    case OpCode::kDepthwiseConv2d:
    case OpCode::kFullyConnected:
    case OpCode::kTransposeConv:
    case OpCode::kAdd:
    case OpCode::kSub:
    case OpCode::kMul:
    case OpCode::kBatchMatmul: {
      const Activation a = fused_activation(op.attrs);
      return a == Activation::kNone || a == Activation::kRelu;  // ReLU6 has a natural range
    }
    default:
      return false;
  }
}

void check_default_ranges(FaultScan& scan) {
  const std::vector<int> group = scale_groups(scan.graph);
  std::map<std::pair<float, std::int64_t>, std::map<int, int>>
      alike;  // parameters -> group -> tensor
  std::map<int, int> counted;
  for (const Op& op : scan.graph.ops) {
    if (!chooses_scale(op) || op.outputs.empty()) continue;
    const Tensor& out = *scan.tensor(op.outputs[0]);
    if ((out.dtype != DType::kInt8 && out.dtype != DType::kUint8) || out.quant.scale.size() != 1)
      continue;
    const int g = group[static_cast<std::size_t>(op.outputs[0])];
    counted[g] = op.outputs[0];
    alike[{out.quant.scale[0], out.quant.zero_point[0]}][g] = op.outputs[0];
  }
  for (const auto& [parameters, members] : alike) {
    // All of them: networks trained with ranges cut to [0, 6] share one everywhere but in the last
    // layer.
    if (members.size() < 3 || members.size() < counted.size()) continue;
    std::vector<int> tensors;
    for (const auto& [g, t] : members) tensors.push_back(t);
    const auto [scale, zero] = parameters;
    const DType type = scan.tensor(tensors[0])->dtype;
    const double low = scale * (code_low(type) - static_cast<double>(zero)),
                 high = scale * (code_high(type) - static_cast<double>(zero));
    scan.faults.push_back(
        {"B13",
         "default-ranges",
         fmt::format("all {} activations with a range of their own share exactly scale {:.7g} and "
                     "zero point {} (range {:.4g} to {:.4g}): default ranges, not calibrated ones",
                     members.size(), scale, zero, low, high),
         tensors,
         {},
         0.8});
  }
}

// ---- C03, A20
// --------------------------------------------------------------------------------------

// How large the result of a convolution or matrix product can be at all, or infinity.
double largest_result(const FaultScan& scan, int t) {
  const double unknown = std::numeric_limits<double>::infinity();
  if (t < 0 || scan.producer[static_cast<std::size_t>(t)] < 0) return unknown;
  const Op& op = scan.op(scan.producer[static_cast<std::size_t>(t)]);
  Product p;
  if (!as_product(scan.graph, op, p)) return unknown;
  const Tensor& in = *scan.tensor(p.input);
  const Tensor& weight = *scan.tensor(p.weight);
  if (!is_activation_code(in.dtype) || in.quant.scale.size() != 1 || weight.quant.empty())
    return unknown;
  const double low = in.quant.real(static_cast<std::int64_t>(code_low(in.dtype))),
               high = in.quant.real(static_cast<std::int64_t>(code_high(in.dtype)));
  const double reach = std::max(std::abs(low), std::abs(high));
  const auto w = codes(weight);
  if (w.empty()) return unknown;
  const auto channels = static_cast<std::size_t>(weight.shape[static_cast<std::size_t>(p.axis)]);
  std::size_t inner = 1;
  for (auto d = static_cast<std::size_t>(p.axis) + 1; d < weight.shape.size(); ++d)
    inner *= static_cast<std::size_t>(weight.shape[d]);
  std::vector<double> sum(channels, 0.0);
  for (std::size_t i = 0; i < w.size(); ++i) {
    const std::size_t c = (i / inner) % channels;
    const std::size_t s = weight.quant.per_channel() && weight.quant.axis == p.axis ? c : 0;
    sum[c] += std::abs(w[i]) * static_cast<double>(weight.quant.scale[s]) * reach;
  }
  const Tensor* bias = scan.tensor(p.bias);
  if (bias != nullptr) {
    if (!bias->constant || bias->constant->dtype() != DType::kInt32 || bias->quant.empty() ||
        bias->constant->elements() != channels)
      return unknown;
    for (std::size_t c = 0; c < channels; ++c)
      sum[c] += std::abs(bias->quant.real(bias->constant->span<std::int32_t>()[c], c));
  }
  return *std::max_element(sum.begin(), sum.end());
}

double largest_constant(const Tensor& t) {
  double peak = 0;
  if (t.constant->dtype() == DType::kFloat32) {
    for (const float v : t.constant->span<float>())
      peak = std::max(peak, std::isnan(v) ? 0.0 : std::abs(static_cast<double>(v)));
  } else if (t.quant.scale.size() == 1 && usable_scale(t.quant.scale[0])) {
    if (t.constant->dtype() == DType::kInt16) {
      for (const auto v : t.constant->span<std::int16_t>())
        peak = std::max(peak, std::abs(t.quant.real(v)));
    } else {
      for (const int v : codes(t))
        peak = std::max(peak, std::abs(v * static_cast<double>(t.quant.scale[0])));
    }
  }
  return peak;
}

// A stand-in for infinity beside real values: they share a scale, and the real ones vanish.
void check_sentinels(FaultScan& scan) {
  for (std::size_t o = 0; o < scan.graph.ops.size(); ++o) {
    const Op& op = scan.graph.ops[o];
    const bool mixes = op.code == OpCode::kPadV2 || op.code == OpCode::kMaximum ||
                       op.code == OpCode::kMinimum || op.code == OpCode::kSelect ||
                       op.code == OpCode::kSelectV2 || op.code == OpCode::kAdd ||
                       op.code == OpCode::kSub;
    const Tensor* out = op.outputs.empty() ? nullptr : scan.tensor(op.outputs[0]);
    if (!mixes || out == nullptr || !is_activation_code(out->dtype)) continue;
    for (const int t : op.inputs) {
      const Tensor* tensor = scan.tensor(t);
      if (tensor == nullptr || !tensor->constant || tensor->constant->empty() ||
          !is_activation_code(tensor->dtype))
        continue;
      const double peak = largest_constant(*tensor);
      if (!(peak > 1000)) continue;
      double real = std::numeric_limits<double>::infinity();
      for (const int other : op.inputs) real = std::min(real, largest_result(scan, other));
      const bool absurd = peak >= 1e30;
      if (!absurd && !(peak > 50 * real)) continue;
      const std::string beside =
          std::isinf(real) ? ""
                           : fmt::format(", while the values beside it cannot exceed {:.4g}", real);
      scan.faults.push_back(
          {"C03",
           "sentinel-constant",
           fmt::format("constant {} ({}) of {} reaches {:.4g}{}: one step of its result is {:.4g}",
                       t, tensor->name, scan.label(static_cast<int>(o)), peak, beside,
                       out->quant.empty() ? 0.0f : out->quant.scale[0]),
           {t, op.outputs[0]},
           {static_cast<int>(o)},
           0.95});
    }
  }
}

// Numbers beyond half precision in a file whose constants are halves.
void check_halves(FaultScan& scan) {
  constexpr double kLargestHalf = 65504;
  if (identify(scan.model).name != "float16") return;
  std::vector<int> users(scan.graph.tensors.size(), -1);
  for (std::size_t o = 0; o < scan.graph.ops.size(); ++o) {
    for (const int t : scan.graph.ops[o].inputs) {
      if (t >= 0) users[static_cast<std::size_t>(t)] = static_cast<int>(o);
    }
  }
  for (std::size_t t = 0; t < scan.graph.tensors.size(); ++t) {
    const Tensor& tensor = scan.graph.tensors[t];
    if (!tensor.constant) continue;
    double peak = 0;
    if (tensor.dtype == DType::kFloat16) {
      const Array values = dequantize(*tensor.constant, tensor.quant);
      for (const float v : values.span<float>())
        peak = std::max(peak, std::isnan(v) ? HUGE_VAL : std::abs(static_cast<double>(v)));
      if (peak < kLargestHalf) continue;  // the largest half itself is what clamping leaves
    } else if (tensor.dtype == DType::kFloat32) {
      peak = largest_constant(tensor);
      if (peak <= kLargestHalf) continue;
    } else {
      continue;
    }
    std::vector<int> ops;
    if (users[t] >= 0) ops.push_back(users[t]);
    scan.faults.push_back({"A20",
                           "half-precision-overflow",
                           fmt::format("constant {} ({}) reaches {:.5g}, beyond half precision "
                                       "(65504): infinity times zero is not a number",
                                       t, tensor.name, peak),
                           {static_cast<int>(t)},
                           ops,
                           std::isinf(peak) ? 1.0 : 0.7});
  }
}

}  // namespace

void check_scales(FaultScan& scan) {
  check_degenerate(scan);
  check_fixed(scan);
  check_default_ranges(scan);
}

void check_constants(FaultScan& scan) {
  check_sentinels(scan);
  check_halves(scan);
}

}  // namespace litegap
