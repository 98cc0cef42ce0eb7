// run: one run of a model on given inputs, and its outputs (or every tensor) to disk.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"
#include "data/npy.h"
#include "report/not_finite.h"
#include "report/table.h"
#include "run/plan.h"
#include "verbs/inputs.h"

namespace litegap {
namespace {

// A hostile or mistaken file must not take the machine's memory; --memory raises it.
constexpr std::uint64_t kUsualMemory = std::uint64_t{1} << 30;
constexpr std::size_t kValuesShown = 8;

struct RunArguments {
  CommonOptions common;
  std::string model, input, out, dump;
  bool float_io = false;
};

const Tensor& input_tensor(const Model& model, std::size_t i) {
  return model.main().tensors[static_cast<std::size_t>(model.main().inputs[i])];
}

std::string input_list(const Model& model) {
  std::string text;
  for (std::size_t i = 0; i < model.main().inputs.size(); ++i) {
    const Tensor& t = input_tensor(model, i);
    text += fmt::format("{}in_{} = {} {} {}", i > 0 ? ", " : "", i, input_name(model, i),
                        dtype_name(t.dtype), shape_text(t.shape));
  }
  return text;
}

std::vector<Array> arrays_by_name(const Model& model, const std::string& path) {
  const NamedArrays named = read_npz(path);
  std::vector<Array> inputs;
  std::set<std::string> used;
  for (std::size_t i = 0; i < model.main().inputs.size(); ++i) {
    const Array* found = nullptr;
    for (const std::string& name :
         {fmt::format("in_{}", i), input_name(model, i), input_tensor(model, i).name}) {
      if (found != nullptr) break;
      found = find_array(named, name);
      if (found != nullptr) used.insert(name);
    }
    if (found == nullptr)
      fail("{}: no array for input {}, expected {}", path, i, input_list(model));
    inputs.push_back(*found);
  }
  for (const auto& [name, array] : named) {
    if (!used.contains(name))
      fail("{}: array {} fits no input, expected {}", path, name, input_list(model));
  }
  return inputs;
}

std::vector<Array> read_inputs(const Model& model, const std::string& path) {
  const std::size_t n = model.main().inputs.size();
  std::vector<Array> inputs;
  if (path.empty()) {
    for (std::size_t i = 0; i < n; ++i) {
      const Tensor& t = input_tensor(model, i);
      if (dtype_bits(t.dtype) == 0) {
        fail("{}: input {} holds {} values, which cannot be fed", model.path, i,
             dtype_name(t.dtype));
      }
      const std::uint64_t bytes = dtype_bytes(t.dtype, shape_elements(t.shape));
      if (bytes > kUsualMemory)
        fail("{}: input {} of {} needs {} bytes", model.path, i, shape_text(t.shape), bytes);
      inputs.push_back(Array::zeros(t.dtype, t.shape));
    }
    return inputs;
  }
  if (path.ends_with(".npz")) return arrays_by_name(model, path);
  if (!path.ends_with(".npy")) fail("{}: inputs are read from .npy or .npz", path);
  if (n != 1)
    fail("{}: one array, {} expects {}: give a .npz with {}", path, model.path, n,
         input_list(model));
  return {read_npy(path)};
}

// Types that NumPy does not have become wider ones with the same values.
Array for_numpy(const Array& a) {
  static const Quant kUnit{{1.0f}, {0}, 0, {}, {}, -1, -1, 0, nullptr};
  if (a.dtype() != DType::kInt4 && a.dtype() != DType::kInt2) return a;
  const Array real = dequantize(a, kUnit);
  return quantize(real, kUnit, DType::kInt8);
}

bool storable(const Array& a) {
  return a.dtype() != DType::kBfloat16 && a.dtype() != DType::kUint4 &&
         dtype_bits(a.dtype()) >= 2 && dtype_bits(a.dtype()) <= 64 &&
         a.dtype() != DType::kComplex64 && a.dtype() != DType::kFloat8E4M3 &&
         a.dtype() != DType::kFloat8E5M2;
}

NamedArrays collect(const Model& model, const Plan& plan, const Workspace& workspace,
                    const RunArguments& a, const Context& context) {
  NamedArrays arrays;
  for (std::size_t i = 0; i < plan.output_count(); ++i) {
    Array out = workspace.output(i);
    if (a.float_io && !plan.output_quant(i).empty()) out = dequantize(out, plan.output_quant(i));
    arrays.emplace_back(fmt::format("out_{}", i), for_numpy(out));
  }
  if (a.dump.empty()) return arrays;
  const auto& tensors = model.main().tensors;
  std::size_t left_out = 0;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const Array value = tensors[t].constant && !tensors[t].sparse
                            ? *tensors[t].constant
                            : workspace.tensor(static_cast<int>(t));
    if (value.empty() || !storable(value)) {
      ++left_out;
      continue;
    }
    arrays.emplace_back(fmt::format("tensor_0_{}", t), for_numpy(value));
  }
  if (left_out > 0) {
    context.note(
        fmt::format("{} of {} tensors are not in the dump: the run computes no value of "
                    "theirs, or NumPy has no type for it",
                    left_out, tensors.size()));
  }
  return arrays;
}

// ---- what is printed
// -----------------------------------------------------------------------------

Array real_values(const Array& a, const Quant& quant) {
  if (a.dtype() == DType::kFloat32) return a;
  if (!quant.empty() && is_quantizable(a.dtype())) return dequantize(a, quant);
  return apply_input_map(InputMap{}, a, a.shape());
}

Json output_json(const Model& model, const Plan& plan, const Workspace& workspace, std::size_t i) {
  const Array& out = workspace.output(i);
  const Array real = real_values(out, plan.output_quant(i));
  double low = INFINITY, high = -INFINITY, sum = 0;
  Json first = Json::array();
  for (const float v : real.span<float>()) {
    if (first.size() < kValuesShown) first.push_back(json_number(v));
    low = std::min(low, static_cast<double>(v));
    high = std::max(high, static_cast<double>(v));
    sum += v;
  }
  const double n = static_cast<double>(real.elements());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const NotFinite strange = not_finite(out);
  return {{"name", output_name(model, i)},
          {"dtype", dtype_name(out.dtype())},
          {"shape", out.shape()},
          {"min", json_number(n > 0 ? low : nan)},
          {"max", json_number(n > 0 ? high : nan)},
          {"mean", json_number(n > 0 ? sum / n : nan)},
          {"not_finite", strange.nan + strange.infinite},
          {"nan", strange.nan},
          {"infinite", strange.infinite},
          {"first", first}};
}

std::string text_of(const Json& value) {
  TextTable table({"", "output", "type", "shape", "min", "max", "mean", "first values"},
                  "lllrrrrl");
  const auto cell = [](const Json& v) { return value_text(v, false); };
  std::size_t i = 0;
  for (const Json& o : value["outputs"]) {
    std::string first;
    for (const Json& v : o["first"]) {
      if (!first.empty()) first += ' ';
      first += cell(v);
    }
    table.row({fmt::format("out_{}", i++), o["name"], o["dtype"],
               shape_text(o["shape"].get<Shape>()), cell(o["min"]), cell(o["max"]), cell(o["mean"]),
               first});
  }
  return table.text() + not_finite_text(value["not_finite"]);
}

int run_run(const RunArguments& a, Context& context) {
  if (!a.dump.empty() && a.out.empty()) fail("--dump writes to a file: give -o OUT.npz");
  if (!a.out.empty() && !a.out.ends_with(".npz"))
    fail("-o {}: expected a name ending in .npz", a.out);
  const ModelPtr model = load_model(a.model);
  std::vector<Array> inputs = read_inputs(*model, a.input);
  adapt_inputs(*model, a.input, a.float_io && !a.input.empty() ? GivenAs::kReal : GivenAs::kCodes,
               inputs);
  PlanOptions options;
  options.keep_values = !a.dump.empty();
  options.memory_limit = a.common.memory > 0 ? a.common.memory : kUsualMemory;
  bool resized = false;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    options.input_shapes.push_back(inputs[i].shape());
    resized = resized || inputs[i].shape() != input_tensor(*model, i).shape;
  }
  if (!resized) options.input_shapes.clear();
  Numerics numerics;
  numerics.dialect = a.common.dialect;
  const Plan plan = make_plan(model, numerics, options);
  Workspace workspace(plan);
  NotFiniteObserver strange;
  run(plan, workspace, inputs, &strange);
  if (!a.out.empty()) write_npz(a.out, collect(*model, plan, workspace, a, context));
  Json outputs = Json::array();
  for (std::size_t i = 0; i < plan.output_count(); ++i) {
    outputs.push_back(output_json(*model, plan, workspace, i));
  }
  const Json value{{"schema", "litegap.run/1"},
                   {"litegap", kVersion},
                   {"dialect", dialect_json(a.common.dialect)},
                   {"model", a.model},
                   {"input", a.input.empty() ? Json(nullptr) : Json(a.input)},
                   {"resized", resized},
                   {"out", a.out.empty() ? Json(nullptr) : Json(a.out)},
                   {"outputs", outputs},
                   {"not_finite", not_finite_json(model->main(), strange.found)}};
  context.result(value, text_of(value));
  return kDone;
}

}  // namespace

void add_run(CLI::App& app, Context& context) {
  auto a = std::make_shared<RunArguments>();
  Verb verb =
      add_verb(app, "run", "runs a model on given inputs, any dialect, any tensor to disk",
               "litegap run m.tflite --input x.npy --dialect xnnpack --dump all -o out.npz");
  verb.add_option("model", a->model, "the model (.tflite or C array)")
      .required()
      .type_name("MODEL");
  verb.add_option("--input", a->input,
                  ".npy for one input, .npz for several (named in_0, in_1 ... or by the model's "
                  "names), in the model's own types; without it every input is zeros (codes of 0)")
      .type_name("FILE");
  verb.add_flag("--float-io", a->float_io,
                "real values in and out: quantizes inputs, dequantizes outputs");
  verb.add_option("--dump", a->dump, "all: also every tensor, as tensor_<graph>_<index>")
      .type_name("all")
      .one_of({"all"});
  verb.add_option("-o,--out", a->out, "writes out_0, out_1 ...").type_name("OUT.npz");
  add_common_flags(verb, a->common, kDialectFlags | kMemoryFlags | kOutputFlags);
  on_run(verb, context, [a](Context& c) { return run_run(*a, c); });
}

}  // namespace litegap
