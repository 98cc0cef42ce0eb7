// Faults of weights and biases.
#include <algorithm>
#include <cmath>
#include <limits>

#include "diagnose/fault_checks.h"

namespace litegap {
namespace {

// ---- biases: D04, D05, D06
// -------------------------------------------------------------------------

struct Saturated {
  int count = 0;
  std::size_t channel = 0;
  std::int64_t code = 0;
};

Saturated saturated_biases(const Tensor& bias) {
  Saturated s;
  if (bias.constant->dtype() != DType::kInt32) return s;
  const auto values = bias.constant->span<std::int32_t>();
  for (std::size_t c = 0; c < values.size(); ++c) {
    const std::int64_t v = values[c];
    if (std::abs(v) < std::numeric_limits<std::int32_t>::max()) continue;
    if (s.count++ == 0) s.channel = c, s.code = v;
  }
  return s;
}

void check_bias_codes(FaultScan& scan, int o, const Product& p, const Tensor& bias) {
  const Saturated s = saturated_biases(bias);
  if (s.count == 0) return;
  const Tensor& weight = *scan.tensor(p.weight);
  const std::size_t channel = weight.quant.per_channel() ? s.channel : 0;
  const float step = bias.quant.scale.size() > channel ? bias.quant.scale[channel] : 0.0f;
  scan.faults.push_back(
      {"D05",
       "bias-saturated",
       fmt::format("{} of {} biases of {} are saturated at {} (channel {}; one step is {:.4g}): "
                   "the true bias is lost",
                   s.count, bias.constant->elements(), scan.label(o), s.code, s.channel, step),
       {p.bias},
       {o},
       1.0});
}

void check_bias_scale(FaultScan& scan, int o, const Product& p, const Tensor& bias) {
  const Tensor& in = *scan.tensor(p.input);
  const Tensor& weight = *scan.tensor(p.weight);
  if (bias.quant.empty() || in.quant.scale.size() != 1 || weight.quant.empty()) return;
  if (bias.quant.scale.size() != 1 && bias.quant.scale.size() != weight.quant.scale.size()) return;
  double worst = 0;
  std::size_t at = 0;
  const std::size_t n = std::max(bias.quant.scale.size(), weight.quant.scale.size());
  for (std::size_t c = 0; c < n; ++c) {
    const float sw = weight.quant.scale[weight.quant.per_channel() ? c : 0],
                sb = bias.quant.scale[bias.quant.per_channel() ? c : 0];
    const double product = static_cast<double>(in.quant.scale[0]) * static_cast<double>(sw);
    // A product below the smallest normal number cannot be stored exactly.
    if (!usable_scale(sw) || !usable_scale(sb) || product < 1e-37) continue;
    const double off = std::abs(static_cast<double>(sb) - product) / product;
    if (off > worst) worst = off, at = c;
  }
  if (worst > 1e-6) {
    scan.faults.push_back({"D06",
                           "bias-scale",
                           fmt::format("bias of {}: scale of channel {} is off the product of "
                                       "input and weight scale by {:.3g} %",
                                       scan.label(o), at, 100 * worst),
                           {p.bias},
                           {o},
                           std::min(1.0, 0.3 + worst)});
  }
  const bool shifted = std::any_of(bias.quant.zero_point.begin(), bias.quant.zero_point.end(),
                                   [](std::int64_t z) { return z != 0; });
  if (shifted) {
    scan.faults.push_back(
        {"D06",
         "bias-zero-point",
         fmt::format("bias of {} has a zero point other than 0, which no kernel reads",
                     scan.label(o)),
         {p.bias},
         {o},
         0.9});
  }
}

void check_bias_type(FaultScan& scan, int o, const Tensor& in, const Product& p,
                     const Tensor& bias) {
  const bool wide = in.dtype == DType::kInt16;
  const bool right = bias.dtype == DType::kInt32 || (wide && bias.dtype == DType::kInt64);
  if (right) return;
  scan.faults.push_back(
      {"D06",
       "bias-type",
       fmt::format("bias of {} is {}, expected {} beside {} activations", scan.label(o),
                   dtype_name(bias.dtype), wide ? "int64 or int32" : "int32", dtype_name(in.dtype)),
       {p.bias},
       {o},
       1.0});
}

// ---- weights: D01, D02, D04, F10
// -------------------------------------------------------------------

int median_of(std::vector<int> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double bits(int peak) { return peak == 0 ? 0.0 : std::log2(2.0 * peak); }

void check_starved(FaultScan& scan, int o, const Product& p) {
  const Tensor& weight = *scan.tensor(p.weight);
  const Tensor& in = *scan.tensor(p.input);
  if (weight.quant.scale.size() != 1 || !usable_scale(weight.quant.scale[0])) return;
  std::vector<int> peaks = channel_peaks(weight, p.axis);
  const std::size_t channels = peaks.size();
  std::erase(peaks, 0);  // dead channels lose nothing
  if (peaks.size() < 4) return;
  const auto below = [&](int peak) {
    return static_cast<std::size_t>(
        std::count_if(peaks.begin(), peaks.end(), [&](int v) { return v < peak; }));
  };
  const int median = median_of(peaks);
  // Most channels below 3 bits: no training recovers from that.  A static int8 file with per-tensor
  // convolutions was forced into it after training, so a tenth of the channels below 4 bits counts.
  const bool most = 2 * below(4) > peaks.size();
  const bool convolution = scan.op(o).code != OpCode::kFullyConnected;
  const bool forced = convolution && weight.dtype == DType::kInt8 && is_activation_code(in.dtype) &&
                      10 * below(8) >= peaks.size();
  if (!most && !forced) return;
  scan.faults.push_back(
      {"D01",
       "per-tensor-weights",
       fmt::format("weights of {} have one scale for {} channels: {} of them have fewer than {} "
                   "bits (median {:.1f} bits)",
                   scan.label(o), channels, most ? below(4) : below(8), most ? 3 : 4, bits(median)),
       {p.weight},
       {o},
       most ? 0.9 : 0.6});
}

// A channel whose scale is a millionth of its neighbours' although it has codes.
void check_tiny_scales(FaultScan& scan, int o, const Product& p) {
  const Tensor& weight = *scan.tensor(p.weight);
  if (!weight.quant.per_channel() || weight.quant.axis != p.axis) return;
  std::vector<float> scales = weight.quant.scale;
  const auto middle = scales.begin() + static_cast<std::ptrdiff_t>(scales.size() / 2);
  std::nth_element(scales.begin(), middle, scales.end());
  const double median = *middle;
  const Tensor* bias = scan.tensor(p.bias);
  if (bias == nullptr || !bias->constant || bias->constant->dtype() != DType::kInt32) return;
  const auto biases = bias->constant->span<std::int32_t>();
  for (std::size_t c = 0; c < weight.quant.scale.size() && c < biases.size(); ++c) {
    // A small scale alone is harmless; the bias must have run out of codes because of it.
    if (weight.quant.scale[c] > 1e-6 * median ||
        std::abs(static_cast<std::int64_t>(biases[c])) < std::numeric_limits<std::int32_t>::max())
      continue;
    scan.faults.push_back(
        {"D04",
         "tiny-weight-scale",
         fmt::format("{}: the scale of channel {} is {:.3g}, a fraction {:.1g} of the median; its "
                     "bias has no code left",
                     scan.label(o), c, weight.quant.scale[c], weight.quant.scale[c] / median),
         {p.weight, p.bias},
         {o},
         1.0});
    return;
  }
}

// The input of the graph that an operator reads, directly or through QUANTIZE; -1 if it reads
// another.
int graph_input_of(const FaultScan& scan, int t) {
  const int maker = t < 0 ? -1 : scan.producer[static_cast<std::size_t>(t)];
  if (maker >= 0 && scan.op(maker).code == OpCode::kQuantize) t = scan.op(maker).input(0);
  const auto& inputs = scan.graph.inputs;
  return std::find(inputs.begin(), inputs.end(), t) == inputs.end() ? -1 : t;
}

// Features of different units: a dense first layer must weigh the small ones up, and one input
// scale leaves them few codes.  Seen from the weights alone: the columns of the features differ in
// size.
void check_features(FaultScan& scan, int o, const Product& p) {
  const Tensor& weight = *scan.tensor(p.weight);
  const int input = graph_input_of(scan, p.input);
  if (scan.op(o).code != OpCode::kFullyConnected || input < 0 || weight.quant.empty() ||
      weight.shape.size() != 2)
    return;
  if (scan.tensor(input)->shape.size() > 2) return;  // pixels have one unit
  const auto rows = static_cast<std::size_t>(weight.shape[0]),
             columns = static_cast<std::size_t>(weight.shape[1]);
  const auto w = codes(weight);
  if (w.empty() || columns < 3 || rows < 4) return;
  std::vector<double> size(columns, 0.0);
  std::vector<int> peak(columns, 0);
  for (std::size_t i = 0; i < w.size(); ++i) {
    const double v = w[i] * static_cast<double>(
                                weight.quant.scale[weight.quant.per_channel() ? i / columns : 0]);
    size[i % columns] += v * v;
    peak[i % columns] = std::max(peak[i % columns], std::abs(static_cast<int>(w[i])));
  }
  std::vector<double> sorted = size;
  std::sort(sorted.begin(), sorted.end());
  const double median = std::sqrt((sorted[columns / 2] + sorted[(columns - 1) / 2]) / 2),
               largest = std::sqrt(sorted.back());
  if (!(largest > 10 * median)) return;
  const int typical = median_of(peak);
  if (typical < 2) {
    const auto lost = std::count_if(peak.begin(), peak.end(), [](int v) { return v < 2; });
    scan.faults.push_back({"D02",
                           "outlier-weights",
                           fmt::format("{}: a few large weights own the scale; {} of {} input "
                                       "columns are left with codes of 0 or 1",
                                       scan.label(o), lost, columns),
                           {p.weight},
                           {o},
                           0.8});
    return;
  }
  const Tensor& in = *scan.tensor(p.input);
  const std::string step =
      in.quant.scale.size() == 1 ? fmt::format(" (step {:.4g})", in.quant.scale[0]) : std::string();
  scan.faults.push_back({"F10",
                         "features-share-one-scale",
                         fmt::format("{}: the weights of the {} features differ {:.0f} times in "
                                     "size: features of different units share one input scale{}",
                                     scan.label(o), columns, largest / median, step),
                         {p.input, p.weight},
                         {o},
                         0.6});
}

}  // namespace

void check_biases(FaultScan& scan) {
  for (std::size_t i = 0; i < scan.graph.ops.size(); ++i) {
    const int o = static_cast<int>(i);
    Product p;
    if (!as_product(scan.graph, scan.op(o), p)) continue;
    const Tensor& in = *scan.tensor(p.input);
    const Tensor* bias = scan.tensor(p.bias);
    if (bias == nullptr || !is_activation_code(in.dtype) || in.quant.empty()) continue;
    check_bias_type(scan, o, in, p, *bias);
    if (!bias->constant || bias->dtype == DType::kFloat32) continue;
    check_bias_codes(scan, o, p, *bias);
    check_bias_scale(scan, o, p, *bias);
  }
}

void check_weights(FaultScan& scan) {
  for (std::size_t i = 0; i < scan.graph.ops.size(); ++i) {
    const int o = static_cast<int>(i);
    Product p;
    if (!as_product(scan.graph, scan.op(o), p) || !scan.tensor(p.weight)->constant) continue;
    check_starved(scan, o, p);
    check_tiny_scales(scan, o, p);
    check_features(scan, o, p);
  }
}

// Files that are valid and that kernels misread without a word.
void check_unsupported(FaultScan& scan) {
  for (const Weight& w : scan.weights) {
    const Op& op = scan.op(w.op);
    const Tensor& weight = *scan.tensor(w.tensor);
    const Tensor* in = scan.tensor(op.code == OpCode::kTransposeConv ? op.input(2) : op.input(0));
    if (w.through >= 0 || in == nullptr || in->dtype != DType::kFloat32 || !weight.constant)
      continue;
    const auto label = [&] { return scan.label(w.op); };
    if (op.code == OpCode::kDepthwiseConv2d && weight.dtype == DType::kInt8 &&
        weight.quant.scale.size() == 1 && weight.shape.back() > 1) {
      scan.faults.push_back({"B12",
                             "hybrid-depthwise-per-tensor",
                             fmt::format("{}: float input and int8 weights with one scale for {} "
                                         "channels; the runtime reads scales that are not there",
                                         label(), weight.shape.back()),
                             {w.tensor},
                             {w.op},
                             1.0});
    }
    if (op.code == OpCode::kConv2d && weight.dtype == DType::kInt2) {
      scan.faults.push_back(
          {"B12",
           "int2-convolution",
           fmt::format(
               "{}: int2 weights, which no kernel of the runtime unpacks: the answers are garbage",
               label()),
           {w.tensor},
           {w.op},
           1.0});
    }
    if (op.code == OpCode::kFullyConnected && weight.dtype == DType::kInt4) {
      const auto all = codes(weight);
      const auto lowest = std::count_if(all.begin(), all.end(), [](int v) { return v == -8; });
      if (lowest > 0) {
        scan.faults.push_back(
            {"B12",
             "int4-minus-eight",
             fmt::format(
                 "{}: {} int4 codes of -8, which the built-in kernel cannot hold{}: write -7",
                 label(), lowest,
                 weight.quant.per_channel() ? "; only XNNPACK reads them right" : ""),
             {w.tensor},
             {w.op},
             weight.quant.per_channel() ? 0.6 : 1.0});
      }
    }
  }
}

}  // namespace litegap
