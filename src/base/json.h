// JSON with the project's number rule: non-finite numbers are the strings "NaN", "Infinity",
// "-Infinity" (JSON has no spelling for them), and keys keep the order they were written in.
#pragma once
#include <cmath>
#include <nlohmann/json.hpp>

namespace litegap {

using Json = nlohmann::ordered_json;

inline Json json_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

}  // namespace litegap
