// The command line: what every verb shares.
//
// A verb lives in its own file and registers itself:
//
//   void add_eval(CLI::App& app, Context& context) {
//     auto options = std::make_shared<EvalOptions>();
//     Verb verb = add_verb(app, "eval", "the metric of one or more models on the same data",
//                               "litegap eval float.tflite int8.tflite --data test.npz");
//     verb.add_option("models", options->models, "…").required();
//     add_common_flags(verb, options->common, kDataFlags | kMetricFlags | kOutputFlags);
//     on_run(verb, context, [options](Context& c) { return run_eval(*options, c); });
//   }
//
// The body runs after the whole command line was parsed.  It returns an ExitCode; a wrong input is
// thrown as Error.  Results go to stdout, everything else to stderr.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/json_fwd.h"
#include "base/progress.h"
#include "cli/verb.h"
#include "data/dataset.h"
#include "kernels/kernel.h"
#include "model/model.h"
#include "verbs/load.h"

namespace litegap {

enum ExitCode : int {
  kDone = 0,
  kWrong = 1,    // the input or the command
  kBroken = 2,   // a stated limit, with evidence
  kStopped = 3,  // before the result was complete; partial results are written
  kDefect = 4,   // of litegap itself
};

// Flags that several verbs share; add_common_flags() registers the groups a verb asks for.
struct CommonOptions {
  std::string data, labels, target;
  std::string task, metric;
  std::optional<double> claimed;
  std::size_t limit = 0;  // samples; 0 = no limit
  std::string input_map;  // "" = as stored
  std::string calibration;
  Dialect dialect = Dialect::kXnnpack;
  int threads = 0;  // 0 = all cores
  std::uint64_t seed = 1;
  double budget = 0;         // seconds; 0 = none stated
  std::uint64_t memory = 0;  // bytes; 0 = none stated
  std::string json, report;
  bool quiet = false;
  std::string color = "auto";
  std::optional<double> fail_above;  // points for fraction metrics, else the metric's own unit
  bool fail_undecided = false;
};

enum FlagGroup : unsigned {
  kDataFlags = 1,                                    // --data --labels --target --limit --input-map
  kMetricFlags = 2,                                  // --task --metric --claimed
  kCalibrationFlags = 4,                             // --calibration
  kDialectFlags = 512,                               // --dialect
  kThreadFlags = 1024,                               // --threads
  kRuntimeFlags = 8 | kDialectFlags | kThreadFlags,  // and --seed
  kBudgetFlags = 16,                                 // --budget
  kOutputFlags = 32,                                 // --json --quiet --color
  kReportFlags = 64,                                 // --report
  kLimitFlags = 128,                                 // --fail-above --fail-undecided
  kMemoryFlags = 256,                                // --memory
};

// What a verb's body gets: how to speak to the user.
class Context {
 public:
  // Takes over --quiet, --color and --json of the verb that runs; on_run() sees to it.
  void apply(const Verb& verb);

  bool quiet() const { return quiet_; }
  bool color() const;  // stdout may carry colours
  // A line on stderr, unless --quiet.
  void note(const std::string& line) const;
  // Draws on stderr only when that is a terminal; throws Stopped after Ctrl-C if stop_gently().
  Progress progress();
  void clear_progress();
  // Ctrl-C and SIGTERM end the process with kStopped; a limit on file sizes becomes an error of the
  // write that meets it.
  static void catch_signals();
  // From here on Ctrl-C does not end the process: progress() throws and stop_requested() is true,
  // so that the verb can write what it has and return kStopped.  A second Ctrl-C ends at once.
  void stop_gently();
  bool stop_requested() const;
  // The result: `value` to --json (a path, or "-" for stdout), and `text` to stdout unless stdout
  // carries the value.
  void result(const Json& value, const std::string& text) const;

  std::function<int(Context&)> action;  // of the verb on the command line; set by on_run()

 private:
  bool quiet_ = false;
  std::string color_ = "auto", json_;
  struct Meter;
  std::shared_ptr<Meter> meter_;
};

void add_common_flags(Verb& verb, CommonOptions& options, unsigned groups);
void on_run(Verb& verb, Context& context, std::function<int(Context&)> body);

// "30s", "10m", "2h", "90" (seconds); Error otherwise.
double parse_seconds(const std::string& text);
// "4G", "512M", "64k", "1000" (bytes); Error otherwise.
std::uint64_t parse_bytes(const std::string& text);
// --data with --labels, --target; Error when --data is absent.  --limit is not applied.
// `in_file`: see DataOptions.
Dataset load_data(const CommonOptions& options, bool in_file = false);
// The same, and of it the first --limit samples.
Dataset limited_data(const CommonOptions& options);
// The verbs, in the order of the user's journey.
void add_demo(CLI::App& app, Context& context);
void add_inspect(CLI::App& app, Context& context);
void add_eval(CLI::App& app, Context& context);
void add_explain(CLI::App& app, Context& context);
void add_train(CLI::App& app, Context& context);
void add_convert(CLI::App& app, Context& context);
void add_quantize(CLI::App& app, Context& context);
void add_tune(CLI::App& app, Context& context);
void add_run(CLI::App& app, Context& context);
void add_bench(CLI::App& app, Context& context);
void add_merge(CLI::App& app, Context& context);
void add_ops(CLI::App& app, Context& context);

}  // namespace litegap
