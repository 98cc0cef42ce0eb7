// What the examples share: the line's samples, and the table that they end with.
#pragma once
#include <fmt/format.h>

#include <string>
#include <vector>

#include "base/random.h"
#include "data/dataset.h"
#include "verbs/evaluate.h"

// y = 2x + 1 + N(0, 0.1), x uniform in [0, 1).
inline litegap::Dataset line_samples(int count, std::uint64_t seed) {
  litegap::Random random(seed);
  litegap::Array x = litegap::Array::zeros(litegap::DType::kFloat32, {count, 1}), y = x.clone();
  for (int i = 0; i < count; ++i) {
    const double v = random.uniform();
    x.mutable_span<float>()[static_cast<std::size_t>(i)] = static_cast<float>(v);
    y.mutable_span<float>()[static_cast<std::size_t>(i)] =
        static_cast<float>(2 * v + 1 + 0.1 * random.normal());
  }
  return litegap::make_dataset({x}, y);
}

// The files, loaded again and run in the integers they hold, on the same samples.
inline void print_comparison(const litegap::Dataset& data, const std::vector<std::string>& files,
                             const std::string& metric) {
  const litegap::EvalResult e =
      litegap::evaluate(data, {.models = files, .metric = metric, .latency = false});
  for (const litegap::EvalModel& m : e.models) {
    fmt::print("{:28} {:16} {:6} bytes   {} {:.6f}\n", m.path, m.technique, m.bytes, e.metric.name,
               m.measured.value);
  }
}
