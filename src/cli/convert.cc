// convert: a Keras model to a float .tflite, read back as the file that was written.
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"
#include "keras/keras.h"
#include "report/table.h"
#include "run/plan.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

struct ConvertArguments {
  CommonOptions common;
  std::string model, out;
};

int run_convert(const ConvertArguments& a, Context& context) {
  if (!file_exists(a.model)) fail("{}: no such file", a.model);
  if (!is_keras_file(a.model)) {
    fail("{}: expected a .keras archive, an .h5 file or a model's architecture in JSON", a.model);
  }
  if (file_exists(a.out) && std::filesystem::equivalent(a.model, a.out)) {
    fail("{}: is the Keras file itself; give another name with -o", a.out);
  }
  KerasReadOptions options;
  options.seed = a.common.seed;
  const KerasModel keras = read_keras(a.model, options);
  std::size_t parameters = 0;
  for (const KerasVariable& v : keras.variables) parameters += v.value.elements();
  write_model(lower(keras).model, a.out);
  const ModelPtr written = read_model(a.out);
  make_plan(written, {});
  if (!keras.has_weights) {
    context.note("the file holds no weights: they were drawn from the initializers");
  }
  Json inputs = Json::array(), outputs = Json::array();
  const Graph& g = written->main();
  const auto end = [&](const std::string& name, int t) {
    const Tensor& tensor = g.tensors[static_cast<std::size_t>(t)];
    return Json{{"name", name}, {"shape", tensor.shape}, {"dtype", dtype_name(tensor.dtype)}};
  };
  for (std::size_t i = 0; i < g.inputs.size(); ++i) {
    inputs.push_back(end(input_name(*written, i), g.inputs[i]));
  }
  for (std::size_t i = 0; i < g.outputs.size(); ++i) {
    outputs.push_back(end(output_name(*written, i), g.outputs[i]));
  }
  const Json value{{"schema", "litegap.convert/1"},
                   {"litegap", kVersion},
                   {"model", a.model},
                   {"out", a.out},
                   {"bytes", file_size(a.out)},
                   {"parameters", parameters},
                   {"has_weights", keras.has_weights},
                   {"operators", g.ops.size()},
                   {"inputs", inputs},
                   {"outputs", outputs}};
  const std::string text = fmt::format(
      "{}: float .tflite, {}, {} operators, {} parameters\n  read back: the file is sound\n", a.out,
      bytes_text(static_cast<double>(file_size(a.out))), g.ops.size(), parameters);
  context.result(value, text);
  return kDone;
}

}  // namespace

void add_convert(CLI::App& app, Context& context) {
  auto a = std::make_shared<ConvertArguments>();
  Verb verb = add_verb(app, "convert", "Keras model to float .tflite",
                       "litegap convert model.keras -o float.tflite");
  verb.add_option("model", a->model, "the Keras model (.keras, .h5 or architecture .json)")
      .required()
      .type_name("MODEL");
  verb.add_option("-o,--out", a->out, "the file to write").required().type_name("PATH");
  verb.add_option("--seed", a->common.seed,
                  "of initial values, for a model without weights (default 1)")
      .type_name("N");
  add_common_flags(verb, a->common, kOutputFlags);
  on_run(verb, context, [a](Context& c) { return run_convert(*a, c); });
}

}  // namespace litegap
