#include "base/error.h"
#include "cli/cli.h"

namespace litegap {

void add_explain(CLI::App& app, Context& context) {
  CLI::App* verb = add_verb(app, "explain", "why two models differ; optionally writes the healed file",
                            "litegap explain float.tflite int8.tflite --data test.npz");
  verb->allow_extras();
  on_run(*verb, context, [](Context&) -> int { fail("explain: not built yet"); });
}

}  // namespace litegap
