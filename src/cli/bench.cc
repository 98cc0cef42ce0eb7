// bench: how long a model takes, alone and on several threads, and which operators take it.
#include <algorithm>
#include <map>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"
#include "report/table.h"
#include "run/latency.h"

namespace litegap {
namespace {

struct BenchArguments {
  CommonOptions common;
  std::string model;
  int runs = 200;
};

// Time between the values of successive operators; conversions count for the operator behind them.
class Stopwatch : public Observer {
 public:
  void start() { last_ = seconds_now(); }
  void on_value(int op, int, const Array&) override {
    const double now = seconds_now();
    if (op >= 0) spent_[op] += now - last_;
    last_ = now;
  }
  const std::map<int, double>& spent() const { return spent_; }

 private:
  double last_ = 0;
  std::map<int, double> spent_;
};

Json operators_json(const Model& model, const Plan& plan, const std::vector<Array>& inputs,
                    int runs) {
  Workspace workspace(plan);
  Stopwatch watch;
  for (int i = 0; i < runs; ++i) {
    workspace.reset();
    watch.start();
    run(plan, workspace, inputs, &watch);
  }
  double total = 0;
  for (const auto& [op, seconds] : watch.spent()) total += seconds;
  Json list = Json::array();
  const Graph& graph = model.main();
  for (const auto& [index, seconds] : watch.spent()) {
    const Op& op = graph.ops[static_cast<std::size_t>(index)];
    const int out = op.outputs.empty() ? -1 : op.outputs[0];
    list.push_back({{"index", index},
                    {"kind", op.name()},
                    {"name", out < 0 ? "" : graph.tensors[static_cast<std::size_t>(out)].name},
                    {"ms", 1000 * seconds / runs},
                    {"share", total > 0 ? seconds / total : 0}});
  }
  return list;
}

// Samples a second when every thread runs its own samples.
double throughput(const Plan& plan, const std::vector<Array>& inputs, int threads, double one_ms) {
  const int each = std::clamp(static_cast<int>(300 / std::max(one_ms, 0.01)), 1, 2000);
  std::vector<std::thread> pool;
  const double start = seconds_now();
  for (int t = 0; t < threads; ++t) {
    pool.emplace_back([&] {
      Workspace workspace(plan);
      for (int i = 0; i < each; ++i) {
        workspace.reset();
        run(plan, workspace, inputs);
      }
    });
  }
  for (std::thread& t : pool) t.join();
  return each * threads / (seconds_now() - start);
}

Json milliseconds(const Latency& l) {
  return {{"min", l.min}, {"median", l.median}, {"p90", l.p90}};
}

std::string text_of(const Json& v) {
  const Json& l = v["latency_ms"];
  std::string out = fmt::format(
      "{}: {:.3g} ms a sample in one thread (median of {}; min {:.3g}, p90 {:.3g}), {} dialect\n",
      v["model"].get<std::string>(), l["median"].get<double>(), v["runs"].get<int>(),
      l["min"].get<double>(), l["p90"].get<double>(), v["dialect"]["name"].get<std::string>());
  for (const Json& t : v["shared"]) {
    out += fmt::format("  {} threads that share each sample: {:.3g} ms\n", t["threads"].get<int>(),
                       t["latency_ms"]["median"].get<double>());
  }
  for (const Json& t : v["throughput"]) {
    out += fmt::format("  {} thread{}: {:.4g} samples a second\n", t["threads"].get<int>(),
                       t["threads"] == 1 ? "" : "s", t["samples_per_second"].get<double>());
  }
  std::vector<Json> rows(v["operators"].begin(), v["operators"].end());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Json& a, const Json& b) { return a["ms"] > b["ms"]; });
  TextTable table({"op", "kind", "ms", "share", "output"}, "rlrrl");
  for (std::size_t i = 0; i < std::min<std::size_t>(15, rows.size()); ++i) {
    table.row({json_text(rows[i]["index"]), rows[i]["kind"],
               fmt::format("{:.4f}", rows[i]["ms"].get<double>()),
               fmt::format("{:.1f} %", 100 * rows[i]["share"].get<double>()), rows[i]["name"]});
  }
  return out + "\n" + table.text();
}

int run_bench(const BenchArguments& a, Context& context) {
  const ModelPtr model = load_model(a.model);
  Numerics numerics;
  numerics.dialect = a.common.dialect;
  const Plan plan = make_plan(model, numerics);
  const std::vector<Array> inputs = zero_inputs(plan);
  LatencyOptions options;
  options.most = a.runs;
  options.seconds = 2;
  const Latency latency = measure_latency(plan, inputs, options);
  const int threads = a.common.threads > 0 ? a.common.threads : hardware_threads();
  Json shared = Json::array();
  if (threads > 1) {
    options.threads = threads;
    shared.push_back({{"threads", threads},
                      {"latency_ms", milliseconds(measure_latency(plan, inputs, options))}});
  }
  Json rates = Json::array();
  for (const int t : threads > 1 ? std::vector<int>{1, threads} : std::vector<int>{1}) {
    rates.push_back(
        {{"threads", t}, {"samples_per_second", throughput(plan, inputs, t, latency.median)}});
  }
  const Json value{{"schema", "litegap.bench/1"},
                   {"litegap", kVersion},
                   {"model", a.model},
                   {"latency_ms", milliseconds(latency)},
                   {"runs", latency.runs},
                   {"threads", 1},
                   {"shared", shared},
                   {"throughput", rates},
                   {"dialect", dialect_json(a.common.dialect)},
                   {"operators", operators_json(*model, plan, inputs, std::min(latency.runs, 50))}};
  context.result(value, text_of(value));
  return kDone;
}

}  // namespace

void add_bench(CLI::App& app, Context& context) {
  auto a = std::make_shared<BenchArguments>();
  Verb verb = add_verb(app, "bench", "latency and per-operator profile, one thread and several",
                       "litegap bench m.tflite");
  verb.add_option("model", a->model, "the model (.tflite or C array), fed with zeros")
      .required()
      .type_name("MODEL");
  verb.add_option("--runs", a->runs, "at most so many runs (default 200, or two seconds)")
      .type_name("N")
      .range(1, 1000000);
  add_common_flags(verb, a->common, kDialectFlags | kThreadFlags | kOutputFlags);
  on_run(verb, context, [a](Context& c) { return run_bench(*a, c); });
}

}  // namespace litegap
