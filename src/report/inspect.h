// What a file really is, as JSON (`litegap.inspect/1`, the value every door shows) and as text made
// from that JSON.
#pragma once
#include <string>

#include "base/json_fwd.h"
#include "model/model.h"

namespace litegap {

Json inspect_json(const Model& model);
std::string inspect_text(const Json& report, bool color = false);

// "code = round(x / 0.003921569) - 128, clamped to -128..127" and "x = 0.003921569 * (code + 128)",
// with the numbers of a per-tensor quantized tensor; empty for all others.
std::string to_codes_formula(const Tensor& tensor);
std::string to_reals_formula(const Tensor& tensor);

}  // namespace litegap
