// NaN and infinities of the tensors of a graph, as JSON and as text.
#pragma once
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "run/not_finite.h"

namespace litegap {

// A list of {op, tensor, name, elements, nan, infinite}; op is null for inputs and constants.
Json not_finite_json(const Graph& graph, const std::vector<NotFinite>& found);

// One line for each of the first few and a count of the others; nothing when there are none.
std::string not_finite_text(const Json& list);

}  // namespace litegap
