#include "run/not_finite.h"

#include <bit>
#include <cmath>

namespace litegap {
namespace {

void count(double v, NotFinite& to) {
  if (std::isnan(v)) ++to.nan;
  if (std::isinf(v)) ++to.infinite;
}

// The usual answer, without a branch a value: no exponent is all ones.
bool all_finite(std::span<const float> values) {
  constexpr std::uint32_t kExponent = 0x7F800000;
  std::uint32_t odd = 0;
  for (const float v : values)
    odd |= (std::bit_cast<std::uint32_t>(v) & kExponent) == kExponent ? 1u : 0u;
  return odd == 0;
}

// One number of `parts` parts an element.
template <class T, class F>
void count_all(const Array& a, std::size_t parts, F real, NotFinite& to) {
  const T* v = reinterpret_cast<const T*>(a.data());
  for (std::size_t i = 0; i < a.elements(); ++i) {
    NotFinite one;
    for (std::size_t p = 0; p < parts; ++p) count(real(v[i * parts + p]), one);
    to.nan += one.nan > 0 ? 1 : 0;
    to.infinite += one.nan == 0 && one.infinite > 0 ? 1 : 0;
  }
}

}  // namespace

NotFinite not_finite(const Array& values) {
  NotFinite n;
  n.elements = values.elements();
  const auto as_it_is = [](auto v) { return static_cast<double>(v); };
  switch (values.dtype()) {
    case DType::kFloat32:
      if (all_finite(values.span<float>())) break;
      count_all<float>(values, 1, as_it_is, n);
      break;
    case DType::kFloat64:
      count_all<double>(values, 1, as_it_is, n);
      break;
    case DType::kFloat16:
      count_all<std::uint16_t>(
          values, 1, [](std::uint16_t v) { return static_cast<double>(float_from_half(v)); }, n);
      break;
    case DType::kBfloat16:
      count_all<std::uint16_t>(
          values, 1,
          [](std::uint16_t v) {
            return static_cast<double>(std::bit_cast<float>(std::uint32_t{v} << 16));
          },
          n);
      break;
    case DType::kComplex64:
      count_all<float>(values, 2, as_it_is, n);
      break;
    case DType::kComplex128:
      count_all<double>(values, 2, as_it_is, n);
      break;
    default:
      break;
  }
  return n;
}

std::vector<NotFinite> not_finite_constants(const Graph& graph) {
  std::vector<NotFinite> found;
  for (std::size_t t = 0; t < graph.tensors.size(); ++t) {
    if (!graph.tensors[t].constant) continue;
    NotFinite n = not_finite(*graph.tensors[t].constant);
    n.tensor = static_cast<int>(t);
    if (n.any()) found.push_back(n);
  }
  return found;
}

void NotFiniteObserver::on_value(int op, int tensor, const Array& value) {
  NotFinite n = not_finite(value);
  n.op = op;
  n.tensor = tensor;
  if (n.any()) found.push_back(n);
}

void NotFiniteObserver::on_state(int op, int tensor, const Array& value) {
  on_value(op, tensor, value);
}

}  // namespace litegap
