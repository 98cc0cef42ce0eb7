// Random arrays of numbers, and their comparison with the judge's.
#pragma once
#include <gtest/gtest.h>

#include <cmath>

#include "oracle/grid.h"
#include "oracle/op_case.h"
#include "oracle/values.h"
#include "value_run.h"

namespace litegap::oracle {

// Small whole numbers for integer types and bool; fractions for float32.
inline Grid random_grid(Draw& draw, const Shape& shape, DType type) {
  return make_grid(shape, [&](const Shape&) -> double {
    if (type == DType::kBool) return draw.in(0, 1);
    if (type == DType::kFloat32) return static_cast<double>(draw.real(-4, 4));
    return draw.in(type == DType::kUint8 ? 0 : -100, 100);
  });
}
inline Grid random_indices(Draw& draw, const Shape& shape, std::int32_t low, std::int32_t high) {
  return make_grid(shape, [&](const Shape&) { return static_cast<double>(draw.in(low, high)); });
}
inline Array integers(const std::vector<std::int64_t>& values, DType type = DType::kInt32) {
  Grid g{{static_cast<std::int32_t>(values.size())}, {}};
  for (const std::int64_t v : values) g.at.push_back(static_cast<double>(v));
  return array_of(g, type);
}

// Whole numbers are equal; floats within `tolerance` of the largest of the judge's values.
inline void expect_grid(const Array& got, const Grid& want, double tolerance = 0) {
  ASSERT_EQ(got.shape(), want.shape);
  const Grid g = grid_of(got);
  double peak = 0;
  for (const double v : want.at) peak = std::max(peak, std::isfinite(v) ? std::abs(v) : 0.0);
  for (std::size_t i = 0; i < want.at.size(); ++i)
    ASSERT_NEAR(g.at[i], want.at[i], tolerance * peak) << "element " << i;
}

}  // namespace litegap::oracle
