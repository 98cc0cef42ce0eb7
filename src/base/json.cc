#include "base/json.h"

#include <cmath>

namespace litegap {

Json json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

double json_value(const Json& value) {
  if (value.is_number()) return value.get<double>();
  const std::string text = value.get<std::string>();
  for (const double v : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    if (json_number(v) == text) return v;
  }
  throw Json::type_error::create(302, "expected a number, found " + text, &value);
}

Json parse_json(const std::string& text) { return Json::parse(text); }

std::string json_text(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace litegap
