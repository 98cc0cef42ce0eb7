// JSON with the project's number rule: non-finite numbers are the strings "NaN", "Infinity",
// "-Infinity" (JSON has no spelling for them), and keys keep the order they were written in.
#pragma once
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

namespace litegap {

using Json = nlohmann::ordered_json;

inline Json json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

// The number that json_number() wrote.  Throws Json::exception for anything else.
inline double json_value(const Json& value) {
  if (value.is_number()) return value.get<double>();
  const std::string text = value.get<std::string>();
  for (const double v : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    if (json_number(v) == text) return v;
  }
  throw Json::type_error::create(302, "expected a number, found " + text, &value);
}

}  // namespace litegap
