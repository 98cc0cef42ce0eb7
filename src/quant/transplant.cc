#include "quant/transplant.h"

#include <algorithm>

#include "quant/layers.h"
#include "quant/params.h"

namespace litegap {
namespace {

Tensor& tensor(Model& model, int t) { return model.main().tensors[static_cast<std::size_t>(t)]; }

void check_same(const Tensor& a, const Tensor& b, int index) {
  if (a.shape != b.shape) {
    fail("tensor {} ({}) has shape {}, its source {}", index, a.name, shape_text(a.shape),
         shape_text(b.shape));
  }
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
  for (const WeightedLayer& layer : weighted_layers(model)) {
    if (std::find(tensors.begin(), tensors.end(), layer.w) == tensors.end()) continue;
    Tensor& w = tensor(result, layer.w);
    const Tensor& source = from.main().tensors.at(static_cast<std::size_t>(layer.w));
    check_same(w, source, layer.w);
    w.constant = source.constant;
    w.quant = source.quant;
    if (has_integer_bias(model, layer)) set_bias(result, layer, real_bias(model, layer));
  }
  return result;
}

Model with_fitting_biases(const Model& model, const std::vector<int>& ops,
                          const std::map<int, Array>& real) {
  Model result = model;
  for (const int index : ops) {
    const auto layer = weighted_layer(model, index);
    if (!layer || layer->b < 0) fail("operator {} has no weights and bias", index);
    Tensor& w = tensor(result, layer->w);
    const Quant& x = tensor(result, layer->x).quant;
    const Array weights = real.at(layer->w).reshaped(w.shape), bias = real.at(layer->b);
    const int axis = weight_axis(model.main().ops[static_cast<std::size_t>(index)].code);
    Quant q = weight_quant(weights, w.quant.per_channel() ? axis : -1);
    Quant scales = bias_quant(x, q);
    make_room_for_bias(bias, x, q, scales);
    w.constant = quantize_weights(weights, q);
    w.quant.scale = q.scale;
    w.quant.zero_point = q.zero_point;
    const auto values = bias.span<float>();
    set_bias(result, *layer, {values.begin(), values.end()});
  }
  return result;
}

}  // namespace litegap
