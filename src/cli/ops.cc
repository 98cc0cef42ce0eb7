// ops: which operators litegap computes, and which of the runtime's it lacks.
#include "report/ops.h"

#include "base/json.h"
#include "cli/cli.h"

namespace litegap {

void add_ops(CLI::App& app, Context& context) {
  auto common = std::make_shared<CommonOptions>();
  Verb verb =
      add_verb(app, "ops", "the operators that are computed, and those of the runtime that are not",
               "litegap ops");
  add_common_flags(verb, *common, kOutputFlags);
  on_run(verb, context, [common](Context& c) {
    const Json value = ops_json(kVersion, kRuntimeVersion);
    c.result(value, ops_text(value, c.color()));
    return static_cast<int>(kDone);
  });
}

}  // namespace litegap
