#include "train/usual_loss.h"

#include <algorithm>

#include "base/error.h"

namespace litegap {
namespace {

const Shape& output_shape(const Model& model) {
  const Graph& g = model.main();
  return g.tensors[static_cast<std::size_t>(g.outputs.at(0))].shape;
}

}  // namespace

bool ends_in(const Model& model, OpCode code) {
  const Graph& g = model.main();
  return std::ranges::any_of(g.ops, [&](const Op& op) {
    return op.code == code && !op.outputs.empty() && op.outputs[0] == g.outputs.at(0);
  });
}

LossOptions class_loss(const Model& model, const Dataset& data) {
  LossOptions o;
  o.kind = LossKind::kSparseCrossEntropy;
  o.from_logits = !ends_in(model, OpCode::kSoftmax);
  const bool numbers = data.labels && data.labels->elements() ==
                                          data.count * targets_per_sample(o, output_shape(model));
  if (!numbers) o.kind = LossKind::kCrossEntropy;
  return o;
}

LossOptions usual_loss(const Model& model, const Dataset& data) {
  if (!data.labels) fail("{}: has no labels to train with", data.path);
  const Shape& out = output_shape(model);
  const bool whole = data.labels->dtype() == DType::kInt64;
  const bool one = out.empty() || out.back() == 1;
  if (whole && !one) return class_loss(model, data);
  LossOptions o;
  if (whole && one) {
    o.kind = LossKind::kBinaryCrossEntropy;
    o.from_logits = !ends_in(model, OpCode::kLogistic);
  }
  return o;
}

}  // namespace litegap
