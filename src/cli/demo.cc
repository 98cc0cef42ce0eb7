#include "base/error.h"
#include "cli/cli.h"

namespace litegap {

void add_demo(CLI::App& app, Context& context) {
  CLI::App* verb = add_verb(app, "demo", "the whole story on data and models that the program makes itself",
                            "litegap demo");
  verb->allow_extras();
  on_run(*verb, context, [](Context&) -> int { fail("demo: not built yet"); });
}

}  // namespace litegap
