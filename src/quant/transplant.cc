#include "quant/transplant.h"

#include <algorithm>
#include <cmath>

namespace litegap {
namespace {

constexpr double kBiasRoom = 1073741823.0;  // 2^30 - 1: half of the 32-bit range, room for the sum

struct Roles {
  int x = -1, w = -1, b = -1, axis = 0;
};

Roles roles_of(const Op& op) {
  switch (op.code) {
    case OpCode::kConv2d: case OpCode::kFullyConnected: return {op.input(0), op.input(1), op.input(2), 0};
    case OpCode::kDepthwiseConv2d: return {op.input(0), op.input(1), op.input(2), 3};
    case OpCode::kTransposeConv: return {op.input(2), op.input(1), op.input(3), 0};
    default: return {};
  }
}

Tensor& tensor(Model& model, int t) { return model.main().tensors[static_cast<std::size_t>(t)]; }

void check_same(const Tensor& a, const Tensor& b, int index) {
  if (a.shape != b.shape) fail("tensor {} ({}) has shape {}, its source {}", index, a.name, shape_text(a.shape), shape_text(b.shape));
}

// Stores real biases as int32 codes with scale s_input * s_weights.
void set_bias(Tensor& bias, const std::vector<double>& real, const Quant& qx, const Quant& qw) {
  Quant q = bias.quant;
  q.scale.clear();
  q.zero_point.clear();
  for (const float s : qw.scale) {
    q.scale.push_back(qx.scale[0] * s);
    q.zero_point.push_back(0);
  }
  q.axis = 0;
  const bool wide = bias.dtype == DType::kInt64;
  Array codes = Array::zeros(bias.dtype, bias.shape);
  for (std::size_t c = 0; c < real.size(); ++c) {
    const double scale = q.scale[q.scale.size() > 1 ? c : 0];
    const double code = std::round(real[c] / scale);
    if (wide) codes.mutable_span<std::int64_t>()[c] = static_cast<std::int64_t>(std::clamp(code, -9.0e18, 9.0e18));
    else codes.mutable_span<std::int32_t>()[c] = static_cast<std::int32_t>(std::clamp(code, -2147483647.0, 2147483647.0));
  }
  bias.constant = codes;
  bias.quant = q;
}

std::vector<double> real_bias(const Tensor& bias, const Quant& qx, const Quant& qw) {
  std::vector<double> real;
  for (std::size_t c = 0; c < bias.constant->elements(); ++c) {
    const double scale = static_cast<double>(qx.scale[0]) * qw.scale[qw.scale.size() > 1 ? c : 0];
    const double code = bias.dtype == DType::kInt64 ? static_cast<double>(bias.constant->span<std::int64_t>()[c])
                                                    : static_cast<double>(bias.constant->span<std::int32_t>()[c]);
    real.push_back(scale * code);
  }
  return real;
}

bool integer_bias(const Tensor& bias) {
  return bias.constant && (bias.dtype == DType::kInt32 || bias.dtype == DType::kInt64);
}

}  // namespace

Model with_tensors_of(const Model& model, const Model& from, const std::vector<int>& tensors) {
  Model result = model;
  for (const int t : tensors) {
    const Tensor& source = from.main().tensors.at(static_cast<std::size_t>(t));
    check_same(tensor(result, t), source, t);
    tensor(result, t).constant = source.constant;
    tensor(result, t).quant = source.quant;
    tensor(result, t).dtype = source.dtype;
  }
  return result;
}

Model with_stored_weights(const Model& model, const Model& from, const std::vector<int>& tensors) {
  Model result = model;
  for (Op& op : result.main().ops) {
    const Roles r = roles_of(op);
    if (r.w < 0 || std::find(tensors.begin(), tensors.end(), r.w) == tensors.end()) continue;
    Tensor& w = tensor(result, r.w);
    const Quant before = w.quant;
    const Tensor& source = from.main().tensors.at(static_cast<std::size_t>(r.w));
    check_same(w, source, r.w);
    std::vector<double> bias;
    const bool has_bias = r.b >= 0 && integer_bias(tensor(result, r.b)) && !tensor(result, r.x).quant.empty();
    if (has_bias) bias = real_bias(tensor(result, r.b), tensor(result, r.x).quant, before);
    w.constant = source.constant;
    w.quant = source.quant;
    if (has_bias) set_bias(tensor(result, r.b), bias, tensor(result, r.x).quant, w.quant);
  }
  return result;
}

Model with_fitting_biases(const Model& model, const std::vector<int>& ops, const std::map<int, Array>& real) {
  Model result = model;
  for (const int index : ops) {
    const Roles r = roles_of(result.main().ops.at(static_cast<std::size_t>(index)));
    if (r.w < 0 || r.b < 0) fail("operator {} has no weights and bias", index);
    Tensor& w = tensor(result, r.w);
    const Quant& qx = tensor(result, r.x).quant;
    const auto weights = real.at(r.w).span<float>(), bias = real.at(r.b).span<float>();
    std::size_t inner = 1;
    for (std::size_t d = static_cast<std::size_t>(r.axis) + 1; d < w.shape.size(); ++d) inner *= static_cast<std::size_t>(w.shape[d]);
    const std::size_t scales = w.quant.scale.size();
    const auto channel = [&](std::size_t i) { return scales > 1 ? (i / inner) % scales : 0; };
    std::vector<double> peak(scales, 0);
    for (std::size_t i = 0; i < weights.size(); ++i) peak[channel(i)] = std::max(peak[channel(i)], std::fabs(static_cast<double>(weights[i])));
    for (std::size_t c = 0; c < scales; ++c) {
      double scale = peak[c] / 127;
      for (std::size_t k = scales > 1 ? c : 0; k < (scales > 1 ? c + 1 : bias.size()); ++k) {
        scale = std::max(scale, std::fabs(static_cast<double>(bias[k])) / (static_cast<double>(qx.scale[0]) * kBiasRoom));
      }
      w.quant.scale[c] = static_cast<float>(std::max(scale, 1e-30));
    }
    w.constant = quantize(real.at(r.w).reshaped(w.shape), w.quant, DType::kInt8, true);
    set_bias(tensor(result, r.b), std::vector<double>(bias.begin(), bias.end()), qx, w.quant);
  }
  return result;
}

}  // namespace litegap
