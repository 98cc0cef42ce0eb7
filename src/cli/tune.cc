// tune: the best trade of accuracy, size and speed among all ways of quantizing (tune/tune.h).
#include "tune/tune.h"

#include "base/error.h"
#include "base/json.h"
#include "cli/cli.h"
#include "report/tune.h"

namespace litegap {
namespace {

struct TuneArguments {
  CommonOptions common;
  std::string model, out;
  std::optional<double> max_drop, max_latency;
  std::string max_bytes, train;
  int train_epochs = 3;
};

int run_tune(const TuneArguments& a, Context& context) {
  context.stop_gently();
  const CommonOptions& o = a.common;
  const ModelPtr model = load_model(a.model);
  TuneRequest r;
  r.out = a.out;
  r.max_drop = a.max_drop;
  if (!a.max_bytes.empty()) r.max_bytes = parse_bytes(a.max_bytes);
  r.max_latency_ms = a.max_latency;
  r.metric = o.metric;
  r.task = o.task;
  if (!o.input_map.empty()) r.input_map = parse_input_map(o.input_map);
  r.dialect = o.dialect;
  r.threads = o.threads;
  r.seed = o.seed;
  r.budget = o.budget;
  r.progress = context.progress();
  const Dataset data = bind_dataset(limited_data(o), *model, r.input_map);
  std::optional<Dataset> calibration;
  if (!o.calibration.empty()) {
    calibration = bind_dataset(read_dataset(o.calibration), *model, r.input_map);
  }
  std::optional<Dataset> train;
  if (!a.train.empty()) {
    train = bind_dataset(read_dataset(a.train), *model, r.input_map);
    r.train = &*train;
    r.train_epochs = a.train_epochs;
  }
  TuneResult result = tune(model, data, calibration ? &*calibration : nullptr, r);
  context.clear_progress();
  if (!o.calibration.empty() && o.calibration == o.data) {
    result.decisions.push_back({"calibration",
                                o.calibration,
                                "asked for; it is also what measures, so candidates look better "
                                "than they are on other samples",
                                {"another file"}});
  }
  const Json report = tune_json(result, r, kVersion, dialect_json(o.dialect));
  context.result(report, tune_text(report, context.color()));
  return result.stopped_by == "interrupt" ? kStopped : kDone;
}

}  // namespace

void add_tune(CLI::App& app, Context& context) {
  auto a = std::make_shared<TuneArguments>();
  Verb verb = add_verb(app, "tune", "searches for the best trade of accuracy, size and latency",
                       "litegap tune float.tflite --data val.npz --calibration calib.npz "
                       "--max-drop 0.5 --budget 10m -o best/");
  verb.add_option("model", a->model, "the float model (.tflite, .keras, .h5)")
      .required()
      .type_name("MODEL");
  verb.add_option("--max-drop", a->max_drop,
                  "largest accepted loss: points (0.01) for fractions, else the metric's own unit")
      .type_name("LOSS");
  verb.add_option("--max-bytes", a->max_bytes, "largest accepted file, for example 250k")
      .type_name("BYTES");
  verb.add_option("--max-latency", a->max_latency,
                  "largest accepted milliseconds a sample, one thread, on this machine")
      .type_name("MS");
  verb.add_option("--train", a->train,
                  "samples with labels, other ones than --data: quantization-aware training is "
                  "tried too")
      .type_name("PATH");
  verb.add_option("--train-epochs", a->train_epochs, "of that training")
      .type_name("N")
      .show_default()
      .positive();
  verb.add_option("-o,--out", a->out,
                  "folder for all candidates and best.tflite; a second search "
                  "with the same data goes on from what it finds there")
      .required()
      .type_name("FOLDER");
  add_common_flags(
      verb, a->common,
      kDataFlags | kMetricFlags | kCalibrationFlags | kRuntimeFlags | kBudgetFlags | kOutputFlags);
  on_run(verb, context, [a](Context& c) { return run_tune(*a, c); });
}

}  // namespace litegap
