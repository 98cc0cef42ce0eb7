// Which operators of the runtime there are, and which of them litegap computes.
#pragma once
#include <string>

#include "base/json_fwd.h"

namespace litegap {

// `litegap.ops/1`; keys in docs/formats.md.
Json ops_json(const std::string& version, const std::string& runtime);
std::string ops_text(const Json& value, bool color);

}  // namespace litegap
