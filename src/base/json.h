// JSON with the project's number rule: non-finite numbers are the strings "NaN", "Infinity",
// "-Infinity" (JSON has no spelling for them), and keys keep the order they were written in.
// Reading and writing text is compiled once, in json.cc: each costs a file that does it seconds.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "base/json_fwd.h"

namespace litegap {

Json json_number(double value);

// The number that json_number() wrote.  Throws Json::exception for anything else.
double json_value(const Json& value);

// Throws Json::parse_error.
Json parse_json(const std::string& text);

// On one line, or with `indent` spaces a level.  Bytes that are not UTF-8 become U+FFFD: names in
// a file may be any bytes, and JSON may not.
std::string json_text(const Json& value, int indent = -1);

}  // namespace litegap
