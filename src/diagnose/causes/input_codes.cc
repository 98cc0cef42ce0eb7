// A08 and A10: what the user's own code hands to an integer input.
//
// The right codes are round(x / scale) + zero_point.  Two classical mistakes leave a fingerprint in
// the codes themselves:
//   A08  floats or raw pixels cast to the integer type: pixels 0..255 in int8 wrap at 128, floats
//   in
//        [0, 1] become only 0 and 1
//   A10  uint8 where int8 is meant, or the other way round: every code is off by 128
#include <algorithm>
#include <cmath>
#include <set>

#include "diagnose/cause.h"

namespace litegap {
namespace {

struct CodeEvidence {
  double equal = 0, offset128 = 0;  // share of codes equal to the right ones, and equal after +-128
  std::int64_t low = 0, high = 0;
  std::size_t distinct = 0;
};

template <class T>
void collect(const Array& a, std::vector<std::int64_t>& out) {
  for (const T v : a.span<T>()) out.push_back(static_cast<std::int64_t>(v));
}

std::vector<std::int64_t> codes_of(const Array& a) {
  std::vector<std::int64_t> out;
  switch (a.dtype()) {
    case DType::kInt8:
      collect<std::int8_t>(a, out);
      break;
    case DType::kUint8:
      collect<std::uint8_t>(a, out);
      break;
    case DType::kInt16:
      collect<std::int16_t>(a, out);
      break;
    case DType::kInt32:
      collect<std::int32_t>(a, out);
      break;
    case DType::kInt64:
      collect<std::int64_t>(a, out);
      break;
    case DType::kFloat32:
      collect<float>(a, out);
      break;
    default:
      break;
  }
  return out;
}

// 128 away from the right code, exactly or as far as the type's range lets it.
bool is_offset(std::int64_t given, std::int64_t right, std::int64_t low, std::int64_t high) {
  for (const std::int64_t shifted : {right + 128, right - 128}) {
    if (std::abs(given - shifted) <= 1 ||
        (shifted != std::clamp(shifted, low, high) && given == std::clamp(shifted, low, high)))
      return true;
  }
  return false;
}

CodeEvidence look_at_codes(const Bench& bench) {
  Setup given = bench.now.qt, right = bench.now.qt;
  given.feed = Feed::kAsGiven;
  right.feed = Feed::kQuantize;
  const Plan plan = make_plan(right.model, right.numerics);
  CodeEvidence e;
  std::size_t n = 0, equal = 0, off = 0;
  std::set<std::int64_t> seen;
  const bool is_signed = plan.input_type(0) != DType::kUint8;
  const std::int64_t low = is_signed ? -128 : 0, high = is_signed ? 127 : 255;
  const std::size_t samples = std::min<std::size_t>(64, bench.now.data.count);
  for (std::size_t k = 0; k < samples; ++k) {
    const std::size_t row = k * bench.now.data.count / samples;
    const auto a = codes_of(feed_input(given, plan, bench.now.data, 0, row));
    const auto b = codes_of(feed_input(right, plan, bench.now.data, 0, row));
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      ++n;
      equal += std::abs(a[i] - b[i]) <= 1;
      off += is_offset(a[i], b[i], low, high);
      if (seen.size() < 300) seen.insert(a[i]);
      e.low = n == 1 ? a[i] : std::min(e.low, a[i]);
      e.high = n == 1 ? a[i] : std::max(e.high, a[i]);
    }
  }
  e.distinct = seen.size();
  e.equal = n == 0 ? 1 : static_cast<double>(equal) / static_cast<double>(n);
  e.offset128 = n == 0 ? 0 : static_cast<double>(off) / static_cast<double>(n);
  return e;
}

}  // namespace

std::vector<Suspect> nominate_input_codes(Bench& bench) {
  if (bench.now.qt.feed != Feed::kAsGiven || bench.now.answers != Answers::kModel) return {};
  const CodeEvidence e = look_at_codes(bench);
  if (e.equal > 0.98) return {};
  const Graph& graph = bench.now.qt.model->main();
  const Tensor& input = graph.tensors[static_cast<std::size_t>(graph.inputs[0])];
  Suspect s;
  s.harness = true;
  const bool offset = e.offset128 > 0.9;
  s.cause = offset ? "A10" : "A08";
  s.slug = offset ? "offset-128" : "float-cast-to-int8";
  s.title = offset ? "Input codes are off by 128 (uint8 and int8 confused)"
                   : "Integer input is fed values that were not quantized";
  s.where = {{0, -1, graph.inputs[0], input.name}};
  s.heal = EditFeed{Feed::kQuantize};
  s.inject = [](const World& healed) { return apply(healed, EditFeed{Feed::kAsGiven}); };
  const double scale = input.quant.empty() ? 1 : input.quant.scale[0];
  const std::int64_t zero = input.quant.empty() ? 0 : input.quant.zero_point[0];
  const std::string formula =
      fmt::format("code = round(x / {:.8g}) {} {}, clamped to the range of {}", scale,
                  zero < 0 ? "-" : "+", std::abs(zero), dtype_name(input.dtype));
  const Metric metric = bench.lab.metric();
  s.says = [=](double before, double after) {
    const std::string what =
        offset ? fmt::format("{:.0f} % of its input codes are 128 away from the right ones",
                             100 * e.offset128)
               : fmt::format(
                     "its input receives {} distinct codes from {} to {}, and only {:.0f} % of "
                     "them are right",
                     e.distinct, e.low, e.high, 100 * e.equal);
    return fmt::format(
        "The quantized model gives wrong answers because {}. Quantize with {}: {} goes from {} to "
        "{}.",
        what, formula, metric.name, metric_text(metric, before), metric_text(metric, after));
  };
  s.fix = {"input-map", formula};
  return {s};
}

}  // namespace litegap
