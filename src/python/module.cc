// The functions behind the Python package, which gives them their friendly form
// (litegap/__init__.py).  Reports cross as JSON text, arrays as copies; the interpreter lock is
// free while models run.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "python/arrays.h"
#include "report/inspect.h"
#include "run/plan.h"
#include "verbs/evaluate.h"
#include "verbs/inputs.h"
#include "verbs/load.h"
#include "verbs/quantize.h"
#include "verbs/train.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace litegap::python {
namespace {

// Samples from a file, or from arrays: one for each input of the model, in its order.
Dataset dataset_of(const std::optional<std::string>& path, const std::vector<Given>& x,
                   const std::optional<Given>& y) {
  if (path) return read_dataset(*path);
  if (x.empty()) fail("no samples: expected arrays x, or the path of a data file");
  std::vector<Array> inputs;
  for (std::size_t i = 0; i < x.size(); ++i) inputs.push_back(from_numpy(x[i], "x"));
  return make_dataset(inputs, y ? std::optional<Array>(from_numpy(*y, "y")) : std::nullopt);
}

// Ctrl-C while the interpreter waits for us: true once, then every door unwinds.
bool interrupted() {
  nb::gil_scoped_acquire held;
  if (PyErr_CheckSignals() == 0) return false;
  PyErr_Clear();
  return true;
}

void stop_when_interrupted(std::string_view, double) {
  if (interrupted()) throw Stopped();
}

// A request crosses as one JSON object, whose keys are the fields that the caller set.
class Fields {
 public:
  explicit Fields(const std::string& text) : json_(parse_json(text)) {}
  template <class T>
  void read(const char* key, T& value) const {
    const auto at = json_.find(key);
    if (at == json_.end() || at->is_null()) return;
    try {
      value = at->get<T>();
    } catch (const Json::exception&) {
      fail("{}: {} is no value of the type expected", key, at->dump());
    }
  }

 private:
  Json json_;
};

std::string inspect(const std::string& path) { return json_text(inspect_json(*load_model(path))); }

std::string train(const std::string& request, const std::optional<std::string>& data,
                  const std::vector<Given>& x, const std::optional<Given>& y) {
  const Fields f(request);
  TrainRequest r;
  f.read("model", r.model);
  f.read("architecture", r.architecture);
  f.read("out", r.out);
  f.read("loss", r.loss);
  f.read("optimizer", r.optimizer);
  f.read("teacher", r.teacher);
  f.read("input_map", r.input_map);
  f.read("learning_rate", r.learning_rate);
  f.read("weight_decay", r.weight_decay);
  f.read("validation_split", r.validation_split);
  f.read("temperature", r.temperature);
  f.read("clip_norm", r.clip_norm);
  f.read("epochs", r.epochs);
  f.read("patience", r.patience);
  f.read("batch_size", r.batch_size);
  f.read("shuffle", r.shuffle);
  f.read("keep_best", r.keep_best);
  f.read("resume", r.resume);
  f.read("qat", r.qat);
  f.read("learned_steps", r.learned_steps);
  f.read("seed", r.seed);
  bool stopped = false;
  r.stop = [&stopped] { return stopped = stopped || interrupted(); };
  const Dataset samples = dataset_of(data, x, y);
  nb::gil_scoped_release free;
  const TrainResult result = train_file(samples, r);
  if (stopped) throw Stopped();  // what was reached is written
  return json_text(train_json(result, kVersion));
}

std::string quantize(const std::string& request, const std::optional<std::string>& data,
                     const std::vector<Given>& x) {
  const Fields f(request);
  QuantizeFileRequest r;
  f.read("model", r.model);
  f.read("technique", r.technique);
  f.read("out", r.out);
  f.read("method", r.method);
  f.read("granularity", r.granularity);
  f.read("io", r.io);
  f.read("equalize", r.equalize);
  f.read("bias_correction", r.bias_correction);
  f.read("rounding", r.rounding);
  f.read("weights", r.weights);
  f.read("recipe", r.recipe);
  f.read("input_map", r.input_map);
  f.read("least_elements", r.least_elements);
  f.read("seed", r.seed);
  f.read("threads", r.threads);
  r.progress = stop_when_interrupted;
  std::optional<Dataset> samples;
  if (data || !x.empty()) samples = dataset_of(data, x, std::nullopt);
  nb::gil_scoped_release free;
  return json_text(quantize_json(quantize_file(samples ? &*samples : nullptr, r), kVersion));
}

std::string evaluate_files(const std::vector<std::string>& models,
                           const std::optional<std::string>& data, const std::vector<Given>& x,
                           const std::optional<Given>& y, const std::string& metric,
                           const std::string& input_map, const std::string& dialect, int threads,
                           bool latency, std::uint64_t seed) {
  const Dataset samples = dataset_of(data, x, y);
  EvalRequest r;
  r.models = models;
  r.metric = metric;
  r.input_map = input_map;
  r.dialect = dialect_of(dialect);
  r.threads = threads;
  r.latency = latency;
  r.seed = seed;
  r.progress = stop_when_interrupted;
  nb::gil_scoped_release free;
  const EvalResult result = evaluate(samples, r);
  if (result.stopped_by == "interrupt") throw Stopped();
  return json_text(eval_json(result, kVersion, dialect_json(r.dialect)));
}

// One run; inputs in the model's order.  Real values for quantized inputs become codes.
nb::list run_once(const std::string& path, const std::vector<Given>& given,
                  const std::string& dialect, bool float_io) {
  const ModelPtr model = load_model(path);
  const Graph& g = model->main();
  std::vector<Array> inputs;
  for (std::size_t i = 0; i < given.size(); ++i) {
    inputs.push_back(from_numpy(given[i], fmt::format("input {}", i)));
  }
  adapt_inputs(*model, "inputs", GivenAs::kEither, inputs);
  PlanOptions options;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].shape() == g.tensors[static_cast<std::size_t>(g.inputs[i])].shape) continue;
    for (const Array& a : inputs) options.input_shapes.push_back(a.shape());
    break;
  }
  std::vector<Array> outputs;
  {
    nb::gil_scoped_release free;
    const Plan plan = make_plan(model, {.dialect = dialect_of(dialect)}, options);
    Workspace workspace(plan);
    run(plan, workspace, inputs);
    for (std::size_t i = 0; i < plan.output_count(); ++i) {
      const bool codes = float_io && !plan.output_quant(i).empty();
      outputs.push_back(codes ? dequantize(workspace.output(i), plan.output_quant(i))
                              : workspace.output(i).clone());
    }
  }
  nb::list result;
  for (const Array& out : outputs) result.append(to_numpy(out));
  return result;
}

}  // namespace
}  // namespace litegap::python

NB_MODULE(_litegap, m) {
  using namespace litegap::python;
  nb::exception<litegap::Error>(m, "Error", PyExc_ValueError);
  nb::register_exception_translator([](const std::exception_ptr& p, void*) {
    try {
      std::rethrow_exception(p);
    } catch (const litegap::Stopped&) {
      PyErr_SetNone(PyExc_KeyboardInterrupt);
    }
  });
  m.attr("version") = litegap::kVersion;
  m.attr("runtime") = litegap::kRuntimeVersion;
  m.def("inspect", &inspect, "path"_a);
  m.def("evaluate", &evaluate_files, "models"_a, "data"_a.none(), "x"_a, "y"_a.none(), "metric"_a,
        "input_map"_a, "dialect"_a, "threads"_a, "latency"_a, "seed"_a);
  m.def("train", &train, "request"_a, "data"_a.none(), "x"_a, "y"_a.none());
  m.def("quantize", &quantize, "request"_a, "data"_a.none(), "x"_a);
  m.def("run", &run_once, "path"_a, "inputs"_a, "dialect"_a, "float_io"_a);
}
