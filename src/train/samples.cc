// Data as training reads it: checked once, then plain floats.
#include <cmath>

#include "train/fit.h"

namespace litegap {
namespace {

std::vector<float> floats(const Array& a, const std::string& name) {
  const auto copy = [](auto span) {
    std::vector<float> v;
    v.reserve(span.size());
    for (const auto x : span) v.push_back(static_cast<float>(x));
    return v;
  };
  switch (a.dtype()) {
    case DType::kFloat32:
      return copy(a.span<float>());
    case DType::kFloat64:
      return copy(a.span<double>());
    case DType::kInt64:
      return copy(a.span<std::int64_t>());
    case DType::kInt32:
      return copy(a.span<std::int32_t>());
    case DType::kInt16:
      return copy(a.span<std::int16_t>());
    case DType::kUint16:
      return copy(a.span<std::uint16_t>());
    case DType::kInt8:
      return copy(a.span<std::int8_t>());
    case DType::kUint8:
      return copy(a.span<std::uint8_t>());
    case DType::kBool:
      return copy(a.span<bool>());
    default:
      fail("{}: values of type {} cannot be trained on", name, dtype_name(a.dtype()));
  }
}

void check_finite(const std::vector<float>& v, std::size_t row, const std::string& path,
                  const std::string& what) {
  for (std::size_t i = 0; i < v.size(); ++i) {
    if (!std::isfinite(v[i]))
      fail("{}: {} of sample {} holds {}, expected finite numbers", path, what, i / row, v[i]);
  }
}

std::size_t per_sample(const Array& a, std::size_t count) {
  return count == 0 ? 0 : a.elements() / count;
}

}  // namespace

Samples read_samples(const TrainGraph& graph, const LossOptions& loss, const Dataset& data) {
  const Graph& g = graph.model.main();
  Samples s;
  s.path = data.path;
  s.count = data.count;
  if (data.count == 0) fail("{}: no samples to train on", data.path);
  if (data.inputs.size() != g.inputs.size())
    fail("{}: {} inputs, the model has {}", data.path, data.inputs.size(), g.inputs.size());
  for (std::size_t i = 0; i < g.inputs.size(); ++i) {
    const Tensor& t = g.tensors[static_cast<std::size_t>(g.inputs[i])];
    const std::size_t wanted =
        shape_elements(t.shape) / static_cast<std::size_t>(std::max(1, graph.batch));
    if (per_sample(data.inputs[i], data.count) != wanted) {
      fail("{}: samples of input {} have shape {}, the model expects {}", data.path, i,
           shape_text(data.inputs[i].shape()), shape_text(t.shape));
    }
    s.inputs.push_back(floats(data.inputs[i], data.path));
    s.sizes.push_back(wanted);
    check_finite(s.inputs.back(), wanted, data.path, "the input");
  }
  if (!data.labels) fail("{}: no targets (y) to train on", data.path);
  const Shape& out = g.tensors[static_cast<std::size_t>(g.outputs[0])].shape;
  s.target_size = targets_per_sample(loss, out);
  s.targets = floats(*data.labels, data.path);
  if (s.targets.size() != s.count * s.target_size) {
    fail("{}: targets have shape {}, the model's output {} and loss {} expect {} per sample",
         data.path, shape_text(data.labels->shape()), shape_text(out), loss_name(loss.kind),
         s.target_size);
  }
  check_finite(s.targets, s.target_size, data.path, "the target");
  if (loss.kind == LossKind::kSparseCrossEntropy) {
    const auto classes = static_cast<float>(out.back());
    for (std::size_t i = 0; i < s.targets.size(); ++i) {
      const float t = s.targets[i];
      if (!(t >= 0 && t < classes) || t != std::floor(t)) {
        fail("{}: label of sample {} is {}, expected 0 to {}", data.path, i / s.target_size, t,
             out.back() - 1);
      }
    }
  }
  return s;
}

}  // namespace litegap
