#include "train/demo_data.h"

#include <cmath>

#include "base/random.h"

namespace litegap {
namespace {

constexpr int kSize = 16;

// Light of one disk at distance r from its centre (radius 1), x to the right: flat, with a bright
// rim, with a bright core, lit from the left.  Which disk it is shows in shades only, not in the
// outline.
double disk_light(int kind, double r, double x) {
  if (r > 1) return 0;
  switch (kind) {
    case 0:
      return 0.7;
    case 1:
      return r > 0.65 ? 1.0 : 0.45;
    case 2:
      return r < 0.55 ? 1.0 : 0.45;
    default:
      return x < 0 ? 1.0 : 0.45;
  }
}

}  // namespace

Dataset line_data(std::size_t n, std::uint64_t seed) {
  Random random(seed);
  Array x = Array::zeros(DType::kFloat32, {static_cast<std::int32_t>(n), 1}),
        y = Array::zeros(DType::kFloat32, {static_cast<std::int32_t>(n), 1});
  for (std::size_t i = 0; i < n; ++i) {
    const double v = random.uniform();
    x.mutable_span<float>()[i] = static_cast<float>(v);
    y.mutable_span<float>()[i] = static_cast<float>(2 * v + 1 + 0.1 * random.normal());
  }
  return make_dataset({x}, y, "y = 2x + 1 + noise");
}

Dataset picture_data(std::size_t n, std::uint64_t seed) {
  Random random(seed);
  Array x = Array::zeros(DType::kFloat32, {static_cast<std::int32_t>(n), kSize, kSize, 1});
  Array y = Array::zeros(DType::kInt64, {static_cast<std::int32_t>(n)});
  const auto pixels = x.mutable_span<float>();
  for (std::size_t i = 0; i < n; ++i) {
    const int kind = static_cast<int>(random.below(kPictureClasses));
    y.mutable_span<std::int64_t>()[i] = kind;
    const double radius = random.uniform(4.0, 6.0), light = 0.08 * std::pow(12.0, random.uniform());
    const double cx = random.uniform(6.5, 8.5), cy = random.uniform(6.5, 8.5);
    for (int r = 0; r < kSize; ++r) {
      for (int c = 0; c < kSize; ++c) {
        const double x = (c - cx) / radius, y = (r - cy) / radius;
        const double v =
            light * (disk_light(kind, std::sqrt(x * x + y * y), x) + 0.12 * random.normal());
        pixels[(i * kSize + static_cast<std::size_t>(r)) * kSize + static_cast<std::size_t>(c)] =
            static_cast<float>(std::min(1.0, std::max(0.0, v)));
      }
    }
  }
  return make_dataset({x}, y, "procedural pictures");
}

}  // namespace litegap
