#include "quant/layers.h"

#include <algorithm>
#include <cmath>

#include "quant/params.h"

namespace litegap {
namespace {

constexpr double kBiasRoom = 1073741823.0;

Tensor& tensor(Model& m, int t) { return m.main().tensors[static_cast<std::size_t>(t)]; }
const Tensor& tensor(const Model& m, int t) {
  return m.main().tensors[static_cast<std::size_t>(t)];
}

double bias_code(const Array& codes, std::size_t c) {
  return codes.dtype() == DType::kInt64 ? static_cast<double>(codes.span<std::int64_t>()[c])
                                        : static_cast<double>(codes.span<std::int32_t>()[c]);
}

double bias_scale(const Model& model, const WeightedLayer& layer, std::size_t c) {
  const Quant& w = tensor(model, layer.w).quant;
  return static_cast<double>(tensor(model, layer.x).quant.scale[0]) *
         static_cast<double>(w.scale[w.per_channel() ? c : 0]);
}

// Raises the weight scale of a channel (of all, with one scale) and rewrites its codes.
void raise_weight_scale(Tensor& w, int axis, std::size_t channel, float scale) {
  const bool all = !w.quant.per_channel();
  const double factor = static_cast<double>(w.quant.scale[channel]) / static_cast<double>(scale);
  std::size_t inner = 1;
  for (auto d = static_cast<std::size_t>(axis) + 1; d < w.shape.size(); ++d) {
    inner *= static_cast<std::size_t>(w.shape[d]);
  }
  const auto count = static_cast<std::size_t>(w.shape[static_cast<std::size_t>(axis)]);
  Array codes = w.constant->clone();
  const auto v = codes.mutable_span<std::int8_t>();
  for (std::size_t i = 0; i < v.size(); ++i) {
    if (all || (i / inner) % count == channel) {
      v[i] = static_cast<std::int8_t>(std::round(v[i] * factor));
    }
  }
  w.constant = std::move(codes);
  w.quant.scale[channel] = scale;
}

void make_room(Model& model, const WeightedLayer& layer, const std::vector<double>& real) {
  Tensor& w = tensor(model, layer.w);
  if (!w.constant || w.dtype != DType::kInt8) return;
  const int axis = weight_axis(model.main().ops[static_cast<std::size_t>(layer.op)].code);
  for (std::size_t c = 0; c < real.size(); ++c) {
    if (std::fabs(real[c]) / bias_scale(model, layer, c) <= kBiasRoom + 256) continue;  // as stored
    const double needed = std::fabs(real[c]) /
                          (kBiasRoom * static_cast<double>(tensor(model, layer.x).quant.scale[0]));
    raise_weight_scale(w, axis, w.quant.per_channel() ? c : 0, static_cast<float>(needed));
  }
}

}  // namespace

std::optional<WeightedLayer> weighted_layer(const Model& model, int index) {
  const Op& op = model.main().ops.at(static_cast<std::size_t>(index));
  if (weight_axis(op.code) < 0) return std::nullopt;
  const WeightedLayer layer{index, op.input(static_cast<std::size_t>(data_input(op.code))),
                            op.input(static_cast<std::size_t>(weight_input(op.code))),
                            op.input(static_cast<std::size_t>(bias_input(op.code)))};
  if (layer.x < 0 || layer.w < 0) return std::nullopt;
  return layer;
}

std::vector<WeightedLayer> weighted_layers(const Model& model) {
  std::vector<WeightedLayer> layers;
  for (std::size_t k = 0; k < model.main().ops.size(); ++k) {
    if (const auto layer = weighted_layer(model, static_cast<int>(k))) layers.push_back(*layer);
  }
  return layers;
}

bool has_integer_bias(const Model& model, const WeightedLayer& layer) {
  if (layer.b < 0 || tensor(model, layer.x).quant.empty() || tensor(model, layer.w).quant.empty()) {
    return false;
  }
  const Tensor& b = tensor(model, layer.b);
  const Quant& w = tensor(model, layer.w).quant;
  return b.constant && (b.dtype == DType::kInt32 || b.dtype == DType::kInt64) &&
         (!w.per_channel() || w.scale.size() == b.constant->elements());
}

std::vector<double> real_bias(const Model& model, const WeightedLayer& layer) {
  const Array& codes = *tensor(model, layer.b).constant;
  std::vector<double> real;
  for (std::size_t c = 0; c < codes.elements(); ++c) {
    real.push_back(bias_code(codes, c) * bias_scale(model, layer, c));
  }
  return real;
}

void set_bias(Model& model, const WeightedLayer& layer, const std::vector<double>& real) {
  Tensor& bias = tensor(model, layer.b);
  const bool wide = bias.dtype == DType::kInt64;
  if (!wide) make_room(model, layer, real);
  const Quant q = bias_quant(tensor(model, layer.x).quant, tensor(model, layer.w).quant);
  Array codes = Array::zeros(bias.dtype, bias.shape);
  for (std::size_t c = 0; c < real.size(); ++c) {
    const double code = std::round(real[c] / bias_scale(model, layer, c));
    if (wide) {
      codes.mutable_span<std::int64_t>()[c] =
          static_cast<std::int64_t>(std::clamp(code, -9.2e18, 9.2e18));
    } else {
      codes.mutable_span<std::int32_t>()[c] =
          static_cast<std::int32_t>(std::clamp(code, -2147483647.0, 2147483647.0));
    }
  }
  bias.constant = std::move(codes);
  bias.quant.scale = q.scale;
  bias.quant.zero_point = q.zero_point;
  bias.quant.axis = 0;
}

}  // namespace litegap
