#include "base/error.h"
#include "cli/cli.h"

namespace litegap {

void add_inspect(CLI::App& app, Context& context) {
  CLI::App* verb = add_verb(app, "inspect", "what a file really is, and every fault that shows without data",
                            "litegap inspect model.tflite");
  verb->allow_extras();
  on_run(*verb, context, [](Context&) -> int { fail("inspect: not built yet"); });
}

}  // namespace litegap
