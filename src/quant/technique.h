// One door to every way of quantizing: a request, a float model and samples go in, a model comes
// out.
//
// A request says what the user wants; whatever it leaves open (`kAuto`, Choice::kAuto) is decided
// here by measurement on samples that were held back from calibration, and recorded as a Decision.
//
//   Quantized q = quantize_model(model, &samples, {.technique = Technique::kStatic});
//   Quantized q = quantize_model(model, nullptr, {.technique = Technique::kFloat16});
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "data/dataset.h"
#include "quant/quantize.h"
#include "quant/recipe.h"

namespace litegap {

enum class Technique : std::uint8_t {
  kStatic,
  kDynamicRange,
  kFloat16,
  kInt16x8,
  kWeightOnlyInt8,
  kWeightOnlyInt4,
  kMixed,
};
// Its word; all words are in quant/words.h.
const char* technique_name(Technique technique);
bool needs_calibration(Technique technique);

// On, off, or whichever measures better.
enum class Choice : std::uint8_t { kOff, kOn, kAuto };

struct QuantizeRequest {
  Technique technique = Technique::kStatic;
  CalibrationMethod calibration_method = CalibrationMethod::kAuto;
  Granularity granularity = Granularity::kPerChannel;
  InputOutput io = InputOutput::kInteger;
  std::optional<Recipe> recipe;  // kMixed needs one
  WeightScale weight_scale = WeightScale::kMinmax;
  Choice equalize = Choice::kOff;
  Choice bias_correction = Choice::kOff;
  WeightRounding rounding = WeightRounding::kNearest;
  std::size_t least_elements = 1024;  // dynamic range: the size rule of the converter
  InputMap input_map;                 // from the samples as stored to the model's input
  std::uint64_t seed = 1;
  int threads = 0;  // 0 = all cores
  Progress progress;
};

// One variant that was built and measured.
struct Trial {
  std::string name;  // "mse", "minmax + equalized", …
  double error =
      0;  // noise over signal at the outputs, on held-back samples; 0 = as the float model
};

struct Quantized {
  Model model;
  std::vector<Decision> decisions;
  std::vector<std::string> warnings;  // one sentence each
  Technique technique = Technique::kStatic;
  CalibrationMethod calibration_method = CalibrationMethod::kMinmax;  // the one that was used
  std::size_t calibration_samples = 0, held_back = 0;                 // 0: data were not used
  std::vector<Trial> trials;          // what was measured for kAuto, in order
  std::vector<std::string> in_float;  // operators that run in float in an integer file
};

// `calibration` is bound to the model (bind_dataset), or null.  Throws Error: a technique that
// needs data without data, samples that are not finite (by index), an operator without the form
// asked for (by name), a recipe that does not fit.
Quantized quantize_model(const ModelPtr& float_model, const Dataset* calibration,
                         const QuantizeRequest& request);

// How far `model` is from the float model on the given rows: noise power over signal power
// (variance about the mean), summed over outputs.  What kAuto compares.
double output_error(const ModelPtr& float_model, const ModelPtr& model, const Dataset& data,
                    const InputMap& map, const std::vector<std::size_t>& rows, int threads = 0);

}  // namespace litegap
