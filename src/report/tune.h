// What `tune` found, as JSON (`litegap.tune/1`, the value every door shows) and as text made from
// it.
#pragma once
#include <string>

#include "base/json_fwd.h"
#include "tune/tune.h"

namespace litegap {

Json tune_json(const TuneResult& result, const TuneRequest& request, const std::string& version,
               const Json& dialect);
std::string tune_text(const Json& report, bool color);

}  // namespace litegap
