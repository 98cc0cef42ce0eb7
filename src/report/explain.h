// An Explanation as JSON (the value every door shows), as text, and as a self-contained page.
#pragma once
#include <string>

#include "base/json_fwd.h"
#include "diagnose/explain.h"

namespace litegap {

// `litegap.explain/1`; keys in docs/formats.md.
Json explain_json(const Explanation& e, const std::string& version, const Json& dialect);
std::string explain_text(const Json& report, bool color);
std::string explain_html(const Json& report);

}  // namespace litegap
