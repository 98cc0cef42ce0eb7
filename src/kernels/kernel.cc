#include "kernels/kernel.h"

#include "kernels/needs_values.h"

namespace litegap {

const char* dialect_name(Dialect dialect) {
  switch (dialect) {
    case Dialect::kReference:
      return "reference";
    case Dialect::kBuiltin:
      return "builtin";
    case Dialect::kXnnpack:
      return "xnnpack";
  }
  return "?";
}

Dialect dialect_of(const std::string& name) {
  for (const Dialect d : {Dialect::kReference, Dialect::kBuiltin, Dialect::kXnnpack}) {
    if (name == dialect_name(d)) return d;
  }
  fail("dialect '{}': expected reference, builtin or xnnpack", name);
}

void needs_values(const OpSpec& spec, std::size_t input) {
  throw NeedsValues(fmt::format("{}: input {} depends on data", spec.label, input));
}

void refuse_with(const OpSpec& spec, fmt::string_view format, fmt::format_args args) {
  fail("{}: {}", spec.label, fmt::vformat(format, args));
}

void expect_inputs(const OpSpec& spec, std::size_t least, std::size_t most) {
  if (spec.inputs.size() < least || spec.inputs.size() > most) {
    refuse(spec, "has {} inputs, expected {}", spec.inputs.size(),
           least == most ? fmt::format("{}", least) : fmt::format("{} to {}", least, most));
  }
  for (std::size_t i = 0; i < least; ++i) {
    if (!spec.inputs[i].present) refuse(spec, "input {} is absent", i);
  }
}

void expect_outputs(const OpSpec& spec, std::size_t count) {
  if (spec.outputs.size() != count)
    refuse(spec, "has {} outputs, expected {}", spec.outputs.size(), count);
}

std::vector<std::int64_t> constant_integers(const OpSpec& spec, std::size_t input) {
  if (!spec.has(input)) refuse(spec, "input {} is absent", input);
  const Array* c = spec.inputs[input].constant;
  if (c == nullptr) needs_values(spec, input);
  std::vector<std::int64_t> out;
  if (c->dtype() == DType::kInt32) {
    for (const auto v : c->span<std::int32_t>()) out.push_back(v);
  } else if (c->dtype() == DType::kInt64) {
    for (const auto v : c->span<std::int64_t>()) out.push_back(v);
  } else {
    refuse(spec, "input {} is {}, expected int32 or int64", input, dtype_name(c->dtype()));
  }
  return out;
}

}  // namespace litegap
