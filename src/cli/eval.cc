// eval: the metric of one or more models on the same data (verbs/evaluate.h).
#include "report/eval.h"

#include "base/error.h"
#include "cli/cli.h"
#include "verbs/evaluate.h"

namespace litegap {
namespace {

struct EvalArguments {
  CommonOptions common;
  std::vector<std::string> models;
  bool no_latency = false;
  bool reset_state = false;
  std::vector<std::string> dialects;
};

EvalRequest request_of(const EvalArguments& a, Context& context) {
  const CommonOptions& o = a.common;
  EvalRequest r;
  r.models = a.models;
  r.metric = o.metric;
  r.task = o.task;
  r.input_map = o.input_map;
  r.limit = o.limit;
  r.budget = o.budget;
  r.memory = o.memory;
  r.dialect = o.dialect;
  r.threads = o.threads;
  r.seed = o.seed;
  r.claimed = o.claimed;
  r.fail_above = o.fail_above;
  r.latency = !a.no_latency;
  r.reset_state = a.reset_state;
  for (const std::string& name : a.dialects) r.dialects.push_back(dialect_of(name));
  r.progress = context.progress();
  return r;
}

int run_eval(const EvalArguments& a, Context& context) {
  if (a.common.fail_undecided && !a.common.fail_above) {
    fail("--fail-undecided goes with --fail-above LOSS");
  }
  context.stop_gently();
  const EvalResult result = evaluate(load_data(a.common), request_of(a, context));
  context.clear_progress();
  const Json value = eval_json(result, kVersion, dialect_json(a.common.dialect));
  context.result(value, eval_text(value, context.color()));
  if (result.stopped_by == "interrupt") return kStopped;
  const bool broken = result.limit == LimitState::kBroken ||
                      (result.limit == LimitState::kUndecided && a.common.fail_undecided);
  if (broken) {
    context.note(
        fmt::format("the loss is {} --fail-above {}",
                    result.limit == LimitState::kBroken ? "larger than" : "undecided against",
                    *a.common.fail_above));
  }
  return broken ? kBroken : kDone;
}

}  // namespace

void add_eval(CLI::App& app, Context& context) {
  auto a = std::make_shared<EvalArguments>();
  CLI::App* verb = add_verb(app, "eval", "the metric of one or more models on the same data",
                            "litegap eval float.tflite int8.tflite --data test.npz");
  verb->add_option("models", a->models,
                   "models (.tflite, C array) or recorded outputs (.npz with out_0 ...); all are "
                   "compared with the first")
      ->required()
      ->type_name("MODEL...");
  add_common_flags(*verb, a->common,
                   kDataFlags | kMetricFlags | kRuntimeFlags | kBudgetFlags | kMemoryFlags |
                       kOutputFlags | kLimitFlags);
  verb->add_flag("--no-latency", a->no_latency, "do not measure the latency");
  verb->add_option("--dialects", a->dialects,
                   "one model in several dialects, compared bit for bit and by the metric with the "
                   "first: reference,xnnpack")
      ->type_name("NAME,NAME...")
      ->delimiter(',')
      ->check(CLI::IsMember({"reference", "builtin", "xnnpack"}));
  verb->add_flag("--reset-state", a->reset_state,
                 "recurrent models: state back to zero before every sample");
  on_run(*verb, context, [a](Context& c) { return run_eval(*a, c); });
}

}  // namespace litegap
