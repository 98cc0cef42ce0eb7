#include "kernels/broadcast.h"

#include <algorithm>

namespace litegap {

DType prepare_pair(const OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const DType t = spec.inputs[0].dtype;
  if (spec.inputs[1].dtype != t || spec.outputs[0].dtype != t) {
    refuse(spec, "types {}, {} and {}: expected one type", dtype_name(t),
           dtype_name(spec.inputs[1].dtype), dtype_name(spec.outputs[0].dtype));
  }
  return t;
}

Broadcast make_broadcast(const OpSpec& spec, const Shape& a, const Shape& b, Shape* out) {
  const std::size_t rank = std::max(a.size(), b.size());
  if (rank > Broadcast::kMaxRank) {
    refuse(spec, "shapes {} and {} have more than {} axes", shape_text(a), shape_text(b),
           Broadcast::kMaxRank);
  }
  out->assign(rank, 1);
  std::vector<Broadcast::Axis> axes;  // fastest first, merged
  std::size_t stride_a = 1, stride_b = 1;
  for (std::size_t k = 0; k < rank; ++k) {
    const std::int32_t da = k < a.size() ? a[a.size() - 1 - k] : 1;
    const std::int32_t db = k < b.size() ? b[b.size() - 1 - k] : 1;
    if (da != db && da != 1 && db != 1) {
      refuse(spec, "shapes {} and {} do not broadcast", shape_text(a), shape_text(b));
    }
    const std::int32_t size = da == 1 ? db : da;
    (*out)[rank - 1 - k] = size;
    const Broadcast::Axis axis{static_cast<std::size_t>(size), da == 1 ? 0 : stride_a,
                               db == 1 ? 0 : stride_b};
    stride_a *= static_cast<std::size_t>(da);
    stride_b *= static_cast<std::size_t>(db);
    if (size == 1) continue;
    if (!axes.empty() && axis.a == axes.back().a * axes.back().size &&
        axis.b == axes.back().b * axes.back().size) {
      axes.back().size *= axis.size;
    } else {
      axes.push_back(axis);
    }
  }
  Broadcast r;
  r.elements = shape_elements(*out);
  r.equal = a == b;
  if (axes.empty()) return r;
  r.inner = axes.front();
  r.outer_rank = axes.size() - 1;
  for (std::size_t d = 0; d < r.outer_rank; ++d) r.outer[d] = axes[axes.size() - 1 - d];
  return r;
}

Broadcast broadcast(OpSpec& spec) {
  return make_broadcast(spec, spec.inputs[0].shape, spec.inputs[1].shape, &spec.outputs[0].shape);
}

}  // namespace litegap
