// The name of the JSON type, for headers that only hand such values on.  The type itself, in
// base/json.h, costs every file that reads it a second or two.
#pragma once
#include <nlohmann/json_fwd.hpp>

namespace litegap {

using Json = nlohmann::ordered_json;

}  // namespace litegap
