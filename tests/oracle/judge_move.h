// What the judges of moving operators share.
#pragma once
#include <cstring>
#include <functional>

#include "oracle/op_case.h"
#include "oracle/sketch.h"

namespace litegap::oracle {

using Axes = std::vector<std::int64_t>;

inline std::int64_t place(const Shape& shape, const Shape& at) {
  return static_cast<std::int64_t>(flat(shape, at));
}
inline Axes constants_of(const Node& n, std::size_t i) { return integers_of(n.array(i)); }
inline Shape shape_from(const Axes& v) { return {v.begin(), v.end()}; }

// The bytes of one element, every element of `shape`.
inline Array filled(DType type, const Shape& shape, std::int64_t code) {
  Array a = Array::zeros(type, shape);
  for (std::size_t i = 0; i < a.elements(); ++i) put_integer(a, i, code);
  return a;
}
// `over` where it has an element, else the element of `under`.
inline Array overlaid(Array under, const Array& over,
                      const std::function<std::int64_t(const Shape&)>& at) {
  const std::size_t w = width_of(under.dtype());
  each(under.shape(), [&](const Shape& index, std::size_t i) {
    const std::int64_t p = at(index);
    if (p >= 0)
      std::memcpy(under.mutable_data() + i * w, over.data() + static_cast<std::size_t>(p) * w, w);
  });
  return under;
}

}  // namespace litegap::oracle
