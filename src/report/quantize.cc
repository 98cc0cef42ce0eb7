#include "report/quantize.h"

#include <fmt/format.h>

#include <cmath>

#include "base/json.h"
#include "report/table.h"

namespace litegap {

Json quantize_json(const QuantizeResult& r, const std::string& version) {
  const Quantized& q = r.quantized;
  Json calibration = nullptr;
  if (q.calibration_samples > 0) {
    calibration = Json{{"path", r.calibration_path},
                       {"samples", q.calibration_samples},
                       {"held_back", q.held_back},
                       {"method", calibration_name(q.calibration_method)}};
  }
  Json trials = Json::array();
  for (const Trial& t : q.trials) {
    trials.push_back({{"name", t.name}, {"error", json_number(t.error)}});
  }
  Json verified{{"loads", true}, {"samples", r.checked_samples}};
  if (r.checked_samples > 0) verified["largest_difference"] = json_number(r.largest_difference);
  return Json{{"schema", "litegap.quantize/1"},
              {"litegap", version},
              {"out", r.out},
              {"technique", r.technique},
              {"calibration", calibration},
              {"bytes", r.bytes},
              {"float_bytes", r.float_bytes},
              {"decisions", to_json(r.decisions)},
              {"warnings", q.warnings},
              {"trials", trials},
              {"in_float", q.in_float},
              {"verified", verified}};
}

std::string quantize_text(const QuantizeResult& r) {
  std::string text = fmt::format("{}: {}, {} (the float file has {})\n", r.out, r.technique,
                                 bytes_text(static_cast<double>(r.bytes)),
                                 bytes_text(static_cast<double>(r.float_bytes)));
  for (const Decision& d : r.decisions) {
    text += fmt::format("  {}: {} ({})\n", d.item, d.chosen, d.because);
  }
  if (r.checked_samples == 0) return text + "  read back: the file is sound\n";
  return text + fmt::format(
                    "  read back and run on {} calibration samples: outputs differ from the float "
                    "model's by at most {} of their range\n",
                    r.checked_samples,
                    std::isfinite(r.largest_difference)
                        ? fmt::format("{:.2g} %", 100 * r.largest_difference)
                        : fmt::format("{}", r.largest_difference));
}

}  // namespace litegap
