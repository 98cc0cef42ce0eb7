#include "base/error.h"
#include "cli/cli.h"

namespace litegap {

void add_eval(CLI::App& app, Context& context) {
  CLI::App* verb = add_verb(app, "eval", "the metric of one or more models on the same data",
                            "litegap eval float.tflite int8.tflite --data test.npz");
  verb->allow_extras();
  on_run(*verb, context, [](Context&) -> int { fail("eval: not built yet"); });
}

}  // namespace litegap
