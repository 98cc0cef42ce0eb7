#include "quant/samples.h"

#include <algorithm>
#include <cmath>

namespace litegap {
namespace {

constexpr std::size_t kFewSamples = 20;

template <class T>
void check_input(const Dataset& data, std::size_t input, const std::string& why) {
  const Array& all = data.inputs[input];
  const auto v = all.span<T>();
  const std::size_t each = data.count == 0 ? 0 : v.size() / data.count;
  for (std::size_t i = 0; i < v.size(); ++i) {
    if (std::isfinite(v[i])) continue;
    fail("{}: sample {}, input {}: {} at element {}, expected finite values: {}", data.path,
         i / each, input, v[i], i % each, why);
  }
}

// Columns of a table that hold one value.
std::vector<std::size_t> constant_columns(const Array& table) {
  const auto v = table.span<float>();
  const auto rows = static_cast<std::size_t>(table.shape()[0]);
  const std::size_t columns = v.size() / rows;
  std::vector<std::size_t> found;
  for (std::size_t c = 0; c < columns; ++c) {
    bool same = true;
    for (std::size_t r = 1; r < rows && same; ++r) same = v[r * columns + c] == v[c];
    if (same) found.push_back(c);
  }
  return found;
}

}  // namespace

void check_finite(const Dataset& data, const std::string& why) {
  for (std::size_t i = 0; i < data.inputs.size(); ++i) {
    if (data.inputs[i].dtype() == DType::kFloat32) check_input<float>(data, i, why);
    if (data.inputs[i].dtype() == DType::kFloat64) check_input<double>(data, i, why);
  }
}

void check_samples(const Dataset& data) {
  if (data.count == 0) {
    fail(
        "{}: holds no samples; without samples no range can be known, and --technique "
        "dynamic-range is what can be made",
        data.path);
  }
  check_finite(data, "one such value would decide a whole range");
}

std::vector<std::string> sample_warnings(const Dataset& data) {
  std::vector<std::string> all;
  const std::size_t distinct = data.distinct_rows();
  if (distinct == 1) {
    all.push_back(
        fmt::format("{}: one distinct sample: every range is what this one sample reached, and "
                    "larger values of real use will be cut off",
                    data.path));
  } else if (distinct < kFewSamples) {
    all.push_back(
        fmt::format("{}: {} distinct samples: ranges of so few samples are usually too narrow; a "
                    "hundred or more samples of real use are expected",
                    data.path, distinct));
  }
  if (distinct < 2) return all;
  for (std::size_t i = 0; i < data.inputs.size(); ++i) {
    const Array& x = data.inputs[i];
    if (x.dtype() != DType::kFloat32 || x.empty()) continue;
    const auto v = x.span<float>();
    const auto [low, high] = std::minmax_element(v.begin(), v.end());
    if (*low == *high) {
      all.push_back(
          fmt::format("{}: input {} is {} in every sample: its range will hold nothing "
                      "else",
                      data.path, i, *low));
    } else if (x.shape().size() == 2 && x.shape()[1] <= 32) {
      const auto columns = constant_columns(x);
      if (columns.empty()) continue;
      all.push_back(fmt::format(
          "{}: feature {} of input {} never changes{}: other values of it were not calibrated",
          data.path, columns[0], i,
          columns.size() > 1 ? fmt::format(" (nor do {} others)", columns.size() - 1) : ""));
    }
  }
  return all;
}

}  // namespace litegap
