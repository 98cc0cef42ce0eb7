// inspect: what a file really is, and what is wrong with it as far as the file alone tells.
#include "report/inspect.h"

#include "base/json.h"
#include "cli/cli.h"

namespace litegap {
namespace {

struct InspectArguments {
  CommonOptions common;
  std::string model;
};

int run_inspect(const InspectArguments& a, Context& context) {
  const Json report = inspect_json(*load_model(a.model));
  context.result(report, inspect_text(report, context.color()));
  return kDone;
}

}  // namespace

void add_inspect(CLI::App& app, Context& context) {
  auto a = std::make_shared<InspectArguments>();
  Verb verb =
      add_verb(app, "inspect", "what a file really is, and every fault that shows without data",
               "litegap inspect model.tflite");
  verb.add_option("model", a->model, "the model (.tflite or C array)")
      .required()
      .type_name("MODEL");
  add_common_flags(verb, a->common, kOutputFlags);
  on_run(verb, context, [a](Context& c) { return run_inspect(*a, c); });
}

}  // namespace litegap
