// The functions behind the Python package, which gives them their friendly form
// (litegap/__init__.py).  Reports cross as JSON text, arrays as copies; the interpreter lock is
// free while models run.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "base/error.h"
#include "python/arrays.h"
#include "report/eval.h"
#include "report/inspect.h"
#include "run/plan.h"
#include "verbs/evaluate.h"
#include "verbs/load.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace litegap::python {
namespace {

// Samples from a file, or from arrays: one for each input of the model, in its order.
Dataset dataset_of(const std::optional<std::string>& path, const std::vector<Given>& x,
                   const std::optional<Given>& y) {
  if (path) return read_dataset(*path);
  if (x.empty()) fail("no samples: expected arrays x, or the path of a data file");
  Dataset d;
  d.path = "arrays";
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::string name = x.size() == 1 ? "x" : fmt::format("x{}", i);
    Array a = sample_array(from_numpy(x[i], name));
    if (a.shape().empty()) fail("{}: a single number, expected one row a sample", name);
    const auto rows = static_cast<std::size_t>(a.shape()[0]);
    if (i > 0 && rows != d.count) fail("{}: {} samples, but x0 has {}", name, rows, d.count);
    d.count = rows;
    d.names.push_back(name);
    d.inputs.push_back(std::move(a));
  }
  if (y) {
    d.labels = label_array(from_numpy(*y, "y"));
    const Shape& shape = d.labels->shape();
    const std::size_t rows = shape.empty() ? 0 : static_cast<std::size_t>(shape[0]);
    if (rows != d.count && 2 * rows != d.count) {
      fail("y: shape {}, expected {} rows", shape_text(shape), d.count);
    }
  }
  return d;
}

std::string inspect(const std::string& path) { return inspect_json(*load_model(path)).dump(); }

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
  nb::gil_scoped_release free;
  return eval_json(evaluate(samples, r), kVersion, dialect_json(r.dialect)).dump();
}

// One run; inputs in the model's order.  Real values for quantized inputs become codes.
nb::list run_once(const std::string& path, const std::vector<Given>& given,
                  const std::string& dialect, bool float_io) {
  const ModelPtr model = load_model(path);
  const Graph& g = model->main();
  if (given.size() != g.inputs.size()) {
    fail("{}: takes {} inputs, {} given", path, g.inputs.size(), given.size());
  }
  std::vector<Array> inputs;
  PlanOptions options;
  bool resized = false;
  for (std::size_t i = 0; i < given.size(); ++i) {
    inputs.push_back(from_numpy(given[i], fmt::format("input {}", i)));
    const Tensor& t = g.tensors[static_cast<std::size_t>(g.inputs[i])];
    if (inputs[i].dtype() == DType::kFloat64 && t.dtype != DType::kFloat64) {
      inputs[i] = apply_input_map(InputMap{}, inputs[i], inputs[i].shape());
    }
    options.input_shapes.push_back(inputs[i].shape());
    resized = resized || inputs[i].shape() != t.shape;
  }
  if (!resized) options.input_shapes.clear();
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
  m.attr("version") = litegap::kVersion;
  m.attr("runtime") = litegap::kRuntimeVersion;
  m.def("inspect", &inspect, "path"_a);
  m.def("evaluate", &evaluate_files, "models"_a, "data"_a.none(), "x"_a, "y"_a.none(), "metric"_a,
        "input_map"_a, "dialect"_a, "threads"_a, "latency"_a, "seed"_a);
  m.def("run", &run_once, "path"_a, "inputs"_a, "dialect"_a, "float_io"_a);
}
