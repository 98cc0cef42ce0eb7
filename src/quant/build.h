// One variant of a quantized model, from a float model and one treatment an operator.
// Inside of quant/ only; technique.h is the door.
//
// What is observed (statistics, moments, the equalized model) is kept between variants, so that
// trying the next one costs no further pass over the data.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "quant/calibrate.h"
#include "quant/equalize.h"
#include "quant/moments.h"
#include "quant/recipe.h"

namespace litegap {

// The choices that hold for the whole model; they fill what treatments leave open.
struct Variant {
  CalibrationMethod method = CalibrationMethod::kMinmax;
  WeightRounding rounding = WeightRounding::kNearest;
  bool equalize = false, bias_correction = false;
};

struct Built {
  Model model;
  std::vector<std::string> in_float, raised;
  std::size_t rescales = 0;
  std::size_t quantized = 0, kept = 0, largest_kept = 0;  // weight tensors of float operators
  std::size_t corrected = 0;                              // layers whose bias was corrected
};

class FileBuilder {
 public:
  // `data` may be null where nothing needs it.
  FileBuilder(ModelPtr float_model, const Dataset* data, const InputMap& map, InputOutput io,
              std::vector<Treatment> treatments, PredictOptions options);

  // Calibrates on these rows (empty = all); forgets what was observed on others.
  void use_rows(std::vector<std::size_t> rows);
  Built build(const Variant& variant);
  const Equalized& equalized();
  std::size_t absorbed() const { return absorbed_; }

 private:
  struct Observed {
    ModelPtr model;
    std::optional<Calibration> calibration;
    std::optional<std::map<int, Moments>> moments;
  };
  Observed& observed(bool equalize);
  Setup setup(const ModelPtr& model) const;
  const Calibration& calibration(Observed& o);
  const std::map<int, Moments>& moments(Observed& o);
  std::vector<CalibrationMethod> tensor_methods(const Variant& variant) const;
  std::map<int, CodedWeights> coded(Observed& o, const Variant& variant);
  bool integer(std::size_t k) const;
  void weight_passes(Built& built, const std::map<int, int>& outputs,
                     const std::map<int, CodedWeights>& coded) const;

  ModelPtr model_;
  const Dataset* data_;
  InputMap map_;
  InputOutput io_;
  std::vector<Treatment> treatments_;
  PredictOptions options_;
  Observed plain_, even_;
  std::optional<Equalized> equalized_;
  std::size_t absorbed_ = 0;
};

}  // namespace litegap
