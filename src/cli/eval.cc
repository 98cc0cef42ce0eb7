// eval: the metric of one or more models on the same data (verbs/evaluate.h); merge: of its shards.
#include "report/eval.h"

#include "base/error.h"
#include "base/json.h"
#include "cli/cli.h"
#include "verbs/shard.h"

namespace litegap {
namespace {

struct EvalArguments {
  CommonOptions common;
  std::vector<std::string> models;
  bool no_latency = false;
  bool reset_state = false;
  std::vector<std::string> dialects;
  std::string shard, out;
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

int run_shard(const EvalArguments& a, Context& context) {
  if (a.out.empty()) fail("--shard leaves a state: give -o FILE");
  if (a.common.data.empty()) fail("--data is missing: expected a .npz, .npy or .csv file");
  write_shard(a.out, {a.common.data, a.common.labels, a.common.target}, request_of(a, context),
              parse_shard(a.shard));
  context.clear_progress();
  context.note(fmt::format("{}: shard {} (litegap merge joins them)", a.out, a.shard));
  return kDone;
}

int finish_eval(const EvalResult& result, Dialect dialect, bool fail_undecided,
                const Context& context) {
  const Json value = eval_json(result, kVersion, dialect_json(dialect));
  context.result(value, eval_text(value, context.color()));
  if (result.stopped_by == "interrupt") return kStopped;
  const bool broken = result.limit == LimitState::kBroken ||
                      (result.limit == LimitState::kUndecided && fail_undecided);
  if (broken) {
    context.note(
        fmt::format("the loss is {} --fail-above {}",
                    result.limit == LimitState::kBroken ? "larger than" : "undecided against",
                    result.fail_above.value_or(0)));
  }
  return broken ? kBroken : kDone;
}

int run_eval(const EvalArguments& a, Context& context) {
  if (!a.shard.empty()) return run_shard(a, context);
  if (!a.out.empty()) fail("-o goes with --shard i/n");
  if (a.common.fail_undecided && !a.common.fail_above) {
    fail("--fail-undecided goes with --fail-above LOSS");
  }
  context.stop_gently();
  const EvalResult result = evaluate(load_data(a.common, true), request_of(a, context));
  context.clear_progress();
  return finish_eval(result, a.common.dialect, a.common.fail_undecided, context);
}

struct MergeArguments {
  CommonOptions common;
  std::vector<std::string> states;
};

int run_merge(const MergeArguments& a, Context& context) {
  const Merged merged = merge_shards(a.states, context.progress());
  context.clear_progress();
  return finish_eval(merged.result, merged.request.dialect, false, context);
}

}  // namespace

void add_eval(CLI::App& app, Context& context) {
  auto a = std::make_shared<EvalArguments>();
  Verb verb = add_verb(app, "eval", "the metric of one or more models on the same data",
                       "litegap eval float.tflite int8.tflite --data test.npz");
  verb.add_option("models", a->models,
                  "models (.tflite, C array) or recorded outputs (.npz with out_0 ...); all are "
                  "compared with the first")
      .required()
      .type_name("MODEL...");
  add_common_flags(verb, a->common,
                   kDataFlags | kMetricFlags | kRuntimeFlags | kBudgetFlags | kMemoryFlags |
                       kOutputFlags | kLimitFlags);
  verb.add_flag("--no-latency", a->no_latency, "do not measure the latency");
  verb.add_option("--dialects", a->dialects,
                  "one model in several dialects, compared bit for bit and by the metric with the "
                  "first: reference,xnnpack")
      .type_name("NAME,NAME...")
      .split_at(',')
      .one_of({"reference", "builtin", "xnnpack"});
  verb.add_flag("--reset-state", a->reset_state,
                "recurrent models: state back to zero before every sample");
  verb.add_option("--shard", a->shard,
                  "only every n-th block of 64 samples, from the i-th on; leaves a state for merge")
      .type_name("i/n");
  verb.add_option("-o,--out", a->out, "the state of the shard").type_name("FILE");
  on_run(verb, context, [a](Context& c) { return run_eval(*a, c); });
}

void add_merge(CLI::App& app, Context& context) {
  auto a = std::make_shared<MergeArguments>();
  Verb verb = add_verb(app, "merge", "joins the states of eval --shard i/n into one result",
                       "litegap merge part-1.state part-2.state --json all.json");
  verb.add_option("states", a->states, "states that eval --shard has left, of every shard")
      .required()
      .type_name("STATE...");
  add_common_flags(verb, a->common, kOutputFlags);
  on_run(verb, context, [a](Context& c) { return run_merge(*a, c); });
}

}  // namespace litegap
