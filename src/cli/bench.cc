#include "base/error.h"
#include "cli/cli.h"

namespace litegap {

void add_bench(CLI::App& app, Context& context) {
  CLI::App* verb = add_verb(app, "bench", "latency and per-operator profile, one thread and several",
                            "litegap bench m.tflite");
  verb->allow_extras();
  on_run(*verb, context, [](Context&) -> int { fail("bench: not built yet"); });
}

}  // namespace litegap
