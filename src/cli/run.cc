#include "base/error.h"
#include "cli/cli.h"

namespace litegap {

void add_run(CLI::App& app, Context& context) {
  CLI::App* verb = add_verb(app, "run", "runs a model on given inputs, any dialect, any tensor to disk",
                            "litegap run m.tflite --input x.npy --dump all -o out.npz");
  verb->allow_extras();
  on_run(*verb, context, [](Context&) -> int { fail("run: not built yet"); });
}

}  // namespace litegap
