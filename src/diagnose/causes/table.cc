#include "diagnose/cause.h"

namespace litegap {

const std::vector<CauseRow>& harness_causes() {
  static const std::vector<CauseRow> rows = {
      {"A08 A10", nominate_input_codes},
      {"A09", nominate_answers},
      {"A11", nominate_labels},
      {"A01 A02 A03", nominate_input_map},
  };
  return rows;
}

const std::vector<CauseRow>& file_causes() {
  static const std::vector<CauseRow> rows = {
      {"D05 D04", nominate_bias},
      {"B03 B04 C01", nominate_ranges},
      {"D01 B11", nominate_weights},
  };
  return rows;
}

std::string metric_text(const Metric& metric, double value) {
  return metric.fraction ? fmt::format("{:.1f} %", 100 * value) : fmt::format("{:.4g}", value);
}

}  // namespace litegap
