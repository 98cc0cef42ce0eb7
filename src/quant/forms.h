// Which operators the runtime computes in which integer arithmetic, and from which version on.
// Inside of quant/ only.
//
//   has_int8_form(SQRT) is true, has_int16_form(SQRT.code) is false: the converter refuses it too
#pragma once
#include "model/model.h"

namespace litegap {

bool has_int8_form(const Op& op);
bool has_int16_form(OpCode code);
bool holds_graph(OpCode code);  // control flow: other graphs of the file belong to it
// The version from which the runtime accepts the operator with such data.
int int8_version(const Op& op, const Graph& graph);
int int16_version(const Op& op);

}  // namespace litegap
