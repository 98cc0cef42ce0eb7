#include "run/dialects.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

namespace litegap {
namespace {

// Keeps every value of one run.
class Recorder final : public Observer {
 public:
  void on_value(int op, int tensor, const Array& value) override {
    if (op >= 0) values[{op, tensor}] = value.clone();
  }
  std::map<std::pair<int, int>, Array> values;
};

double code_of(const Array& a, std::size_t i) {
  switch (a.dtype()) {
    case DType::kInt8:
      return a.span<std::int8_t>()[i];
    case DType::kUint8:
      return a.span<std::uint8_t>()[i];
    case DType::kInt16:
      return a.span<std::int16_t>()[i];
    case DType::kInt32:
      return a.span<std::int32_t>()[i];
    case DType::kInt64:
      return static_cast<double>(a.span<std::int64_t>()[i]);
    case DType::kBool:
      return a.span<bool>()[i] ? 1 : 0;
    case DType::kFloat32:
      return static_cast<double>(a.span<float>()[i]);
    default:
      return 0;
  }
}

// Bits are compared; how far apart they are is only measured where they differ.
void count(const Array& x, const Array& y, DifferingTensor& to) {
  to.elements += x.elements();
  if (x.byte_size() == y.byte_size() && std::memcmp(x.data(), y.data(), x.byte_size()) == 0) return;
  if (x.elements() != y.elements() || x.elements() == 0) {
    to.differ += x.elements();
    to.largest = INFINITY;
    return;
  }
  const std::size_t size = x.byte_size() / x.elements();
  const bool real = x.dtype() == DType::kFloat32;
  double peak = 0, largest = 0;
  for (std::size_t i = 0; i < x.elements(); ++i) {
    const double a = code_of(x, i), b = code_of(y, i);
    if (std::isfinite(a)) peak = std::max(peak, std::fabs(a));
    if (size > 0 && std::memcmp(x.data() + i * size, y.data() + i * size, size) == 0) continue;
    ++to.differ;
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;  // signs of zero, kinds of NaN
    largest = std::max(largest, std::isfinite(a - b) ? std::fabs(a - b) : INFINITY);
  }
  to.largest = std::max(to.largest, real && peak > 0 ? largest / peak : largest);
}

}  // namespace

DialectDifference compare_dialects(const Setup& setup, const Dataset& data,
                                   const std::vector<std::size_t>& rows, Dialect a, Dialect b,
                                   const Progress& progress) {
  DialectDifference d{.a = a, .b = b, .samples = rows.size()};
  Setup one = setup, two = setup;
  one.numerics.dialect = a;
  two.numerics.dialect = b;
  const Plan plan_a = make_plan(setup.model, one.numerics),
             plan_b = make_plan(setup.model, two.numerics);
  Workspace space_a(plan_a), space_b(plan_b);
  std::map<std::pair<int, int>, DifferingTensor> found;
  DifferingTensor outputs;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    report_progress(progress, "comparing dialects",
                    static_cast<double>(r) / static_cast<double>(rows.size()));
    std::vector<Array> inputs;
    for (std::size_t i = 0; i < plan_a.input_count(); ++i) {
      inputs.push_back(feed_input(one, plan_a, data, i, rows[r]));
    }
    Recorder seen_a, seen_b;
    space_a.reset();
    space_b.reset();
    run(plan_a, space_a, inputs, &seen_a);
    run(plan_b, space_b, inputs, &seen_b);
    for (const auto& [at, x] : seen_a.values) {
      const auto y = seen_b.values.find(at);
      if (y != seen_b.values.end()) count(x, y->second, found[at]);
    }
    for (std::size_t j = 0; j < plan_a.output_count(); ++j) {
      count(space_a.output(j), space_b.output(j), outputs);
    }
  }
  d.tensors = found.size();
  d.output_elements = outputs.elements;
  d.outputs_differ = outputs.differ;
  for (auto& [at, row] : found) {
    if (row.differ == 0) continue;
    row.op = at.first;
    row.tensor = at.second;
    row.label = op_label(setup.model->main(), static_cast<std::size_t>(at.first));
    d.rows.push_back(std::move(row));
  }
  return d;
}

}  // namespace litegap
