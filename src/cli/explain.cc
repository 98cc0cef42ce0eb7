#include "diagnose/explain.h"

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"
#include "report/explain.h"

namespace litegap {
namespace {

struct ExplainArguments {
  CommonOptions common;
  std::string float_path, quant_path, fix, user_outputs, device_dump;
};

// The limit of --fail-above: points for fractions, the metric's own unit otherwise.
bool breaks_limit(const Explanation& e, const CommonOptions& o) {
  if (!o.fail_above) return false;
  if (e.gap.verdict == "undecided") return o.fail_undecided;
  const double limit = e.metric.fraction ? *o.fail_above / 100 : *o.fail_above;
  const bool evidence = e.gap.p_value < 0.05 || e.gap.verdict == "loss";
  return evidence && e.gap.total > limit;
}

int run_explain(const ExplainArguments& a, Context& c) {
  const ModelPtr fl = load_model(a.float_path), qt = load_model(a.quant_path);
  Dataset data = load_data(a.common);
  if (a.common.limit > 0 && a.common.limit < data.count) {
    std::vector<std::size_t> rows;
    for (std::size_t k = 0; k < a.common.limit; ++k)
      rows.push_back(k * data.count / a.common.limit);
    const std::size_t all = data.count;
    data = data.subset(rows);
    data.decisions.push_back(
        {"samples", fmt::format("{} of {}", a.common.limit, all), "--limit", {}});
  }
  ExplainOptions options;
  options.task = a.common.task;
  options.metric = a.common.metric;
  options.claimed = a.common.claimed;
  if (!a.common.input_map.empty()) options.input_map = parse_input_map(a.common.input_map);
  options.dialect = a.common.dialect;
  options.threads = a.common.threads;
  options.seed = a.common.seed;
  options.fix_path = a.fix;
  options.user_outputs_path = a.user_outputs;
  options.dump_path = a.device_dump;
  options.calibration_path = a.common.calibration;
  options.progress = c.progress();
  const Explanation e = explain(fl, qt, data, options);
  c.clear_progress();
  const Json report = explain_json(e, kVersion, dialect_json(options.dialect));
  if (!a.common.report.empty()) write_text(a.common.report, explain_html(report));
  c.result(report, explain_text(report, c.color()));
  return breaks_limit(e, a.common) ? kBroken : kDone;
}

}  // namespace

void add_explain(CLI::App& app, Context& context) {
  auto a = std::make_shared<ExplainArguments>();
  Verb verb =
      add_verb(app, "explain", "why two models differ; optionally writes the healed file",
               "litegap explain float.tflite int8.tflite --data test.npz --fix fixed.tflite "
               "--report report.html");
  verb.add_option("float", a->float_path, "the float model (.tflite)").required();
  verb.add_option("quantized", a->quant_path, "its quantized twin (.tflite or C array)").required();
  verb.add_option("--fix", a->fix, "write the healed file here and measure it again");
  verb.add_option("--user-outputs", a->user_outputs,
                  ".npz with `outputs`: the answers as your own program used them");
  verb.add_option("--device-dump", a->device_dump,
                  ".npz with `outputs`: raw output codes recorded on a device");
  add_common_flags(verb, a->common,
                   kDataFlags | kMetricFlags | kCalibrationFlags | kRuntimeFlags | kOutputFlags |
                       kReportFlags | kLimitFlags);
  on_run(verb, context, [a](Context& c) { return run_explain(*a, c); });
}

}  // namespace litegap
