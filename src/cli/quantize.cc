// quantize: a float .tflite to a quantized one, checked as the file that was written.
#include "verbs/quantize.h"

#include <optional>

#include "base/json.h"
#include "cli/cli.h"
#include "quant/words.h"

namespace litegap {
namespace {

struct QuantizeArguments {
  CommonOptions common;
  QuantizeFileRequest request;
};

int run_quantize(const QuantizeArguments& a, Context& context) {
  QuantizeFileRequest r = a.request;
  r.input_map = a.common.input_map;
  r.seed = a.common.seed;
  r.threads = a.common.threads;
  r.progress = context.progress();
  std::optional<Dataset> data;
  if (!a.common.calibration.empty()) data = read_dataset(a.common.calibration);
  const QuantizeResult result = quantize_file(data ? &*data : nullptr, r);
  context.clear_progress();
  for (const std::string& w : result.quantized.warnings) context.note("warning: " + w);
  context.result(quantize_json(result, kVersion), quantize_text(result));
  return kDone;
}

}  // namespace

void add_quantize(CLI::App& app, Context& context) {
  auto a = std::make_shared<QuantizeArguments>();
  Verb verb = add_verb(app, "quantize", "float .tflite to quantized .tflite",
                       "litegap quantize float.tflite --technique static --calibration "
                       "calib.npz -o int8.tflite");
  verb.add_option("model", a->request.model, "the float model (.tflite)")
      .required()
      .type_name("MODEL");
  verb.add_option("--technique", a->request.technique,
                  "static: int8 throughout, ranges from --calibration; dynamic-range: int8 "
                  "weights, no data; float16: half-precision weights; int16x8: int16 activations; "
                  "weight-only-int8, weight-only-int4: small weights, float arithmetic; mixed: by "
                  "--recipe")
      .required()
      .type_name("NAME")
      .one_of(all_of(technique_words()));
  verb.add_option("--calibration-method", a->request.method,
                  "how ranges are taken; auto measures on samples held back")
      .type_name("NAME")
      .one_of(all_of(calibration_words()));
  verb.add_option("--granularity", a->request.granularity, "scales of weights")
      .type_name("NAME")
      .one_of(all_of(granularity_words()));
  verb.add_option("--io", a->request.io, "type of inputs and outputs, for static and int16x8")
      .type_name("NAME")
      .one_of(all_of(io_words()));
  verb.add_option("--recipe", a->request.recipe, "rules by operator (docs/formats.md, Recipes)")
      .type_name("FILE.json");
  verb.add_option("--equalize", a->request.equalize, "even out channels across layers")
      .type_name("WHEN")
      .one_of(all_of(choice_words()));
  verb.add_option("--bias-correction", a->request.bias_correction,
                  "give back in the bias what rounded weights lose on average")
      .type_name("WHEN")
      .one_of(all_of(choice_words()));
  verb.add_option("--rounding", a->request.rounding, "of weights")
      .type_name("NAME")
      .one_of(all_of(rounding_words()));
  verb.add_option("--weights", a->request.weights, "how scales of weights are chosen")
      .type_name("NAME")
      .one_of(all_of(weight_scale_words()));
  verb.add_option("--least-elements", a->request.least_elements,
                  "with dynamic-range: weight tensors with fewer elements stay float, as the "
                  "converter leaves them")
      .type_name("N")
      .show_default();
  verb.add_option("--input-map", a->common.input_map,
                  "how stored calibration values become model input: x/255, x/127.5-1")
      .type_name("EXPR");
  verb.add_option("-o,--out", a->request.out, "the quantized file").required().type_name("PATH");
  add_common_flags(verb, a->common, kCalibrationFlags | kThreadFlags | kOutputFlags);
  on_run(verb, context, [a](Context& c) { return run_quantize(*a, c); });
}

}  // namespace litegap
