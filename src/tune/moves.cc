#include "tune/moves.h"

#include "base/hash.h"
#include "train/qat.h"
#include "train/usual_loss.h"

namespace litegap {
namespace {

struct Variant {
  const char* name;
  Technique technique;
  CalibrationMethod method = CalibrationMethod::kMinmax;
  Granularity granularity = Granularity::kPerChannel;
  Choice equalize = Choice::kOff, bias_correction = Choice::kOff;
  WeightRounding rounding = WeightRounding::kNearest;
};

constexpr Variant kVariants[] = {
    {"static-auto", Technique::kStatic, CalibrationMethod::kAuto},
    {"dynamic-range", Technique::kDynamicRange},
    {"static-minmax", Technique::kStatic},
    {"float16", Technique::kFloat16},
    {"static-auto-corrected", Technique::kStatic, CalibrationMethod::kAuto,
     Granularity::kPerChannel, Choice::kAuto, Choice::kAuto, WeightRounding::kAuto},
    {"int16x8", Technique::kInt16x8},
    {"weight-only-int8", Technique::kWeightOnlyInt8},
    {"weight-only-int4", Technique::kWeightOnlyInt4, CalibrationMethod::kMinmax,
     Granularity::kPerChannel, Choice::kOff, Choice::kOff, WeightRounding::kAuto},
    {"static-percentile", Technique::kStatic, CalibrationMethod::kPercentile},
    {"static-mse", Technique::kStatic, CalibrationMethod::kMse},
    {"static-kl", Technique::kStatic, CalibrationMethod::kKl},
    {"static-octav", Technique::kStatic, CalibrationMethod::kOctav},
    {"static-moving-average", Technique::kStatic, CalibrationMethod::kMovingAverage},
    {"static-per-tensor", Technique::kStatic, CalibrationMethod::kAuto, Granularity::kPerTensor},
};

std::vector<std::string> flags(const Variant& v) {
  std::vector<std::string> f{std::string("--technique ") + technique_name(v.technique)};
  if (needs_calibration(v.technique)) {
    f.push_back(std::string("--calibration-method ") + calibration_name(v.method));
  }
  if (v.granularity == Granularity::kPerTensor) f.push_back("--granularity per-tensor");
  if (v.equalize == Choice::kAuto) f.push_back("--equalize auto");
  if (v.bias_correction == Choice::kAuto) f.push_back("--bias-correction auto");
  if (v.rounding != WeightRounding::kNearest) {
    f.push_back(std::string("--rounding ") + rounding_name(v.rounding));
  }
  return f;
}

}  // namespace

std::vector<CandidateMove> quantization_moves(const ModelPtr& float_model,
                                              const Dataset* calibration,
                                              const QuantizeRequest& base) {
  std::vector<CandidateMove> moves;
  for (const Variant& v : kVariants) {
    QuantizeRequest r = base;
    r.technique = v.technique;
    r.calibration_method = v.method;
    r.granularity = v.granularity;
    r.equalize = v.equalize;
    r.bias_correction = v.bias_correction;
    r.rounding = v.rounding;
    moves.push_back({v.name, flags(v), [float_model, calibration, r] {
                       return quantize_model(float_model, calibration, r).model;
                     }});
  }
  return moves;
}

CandidateMove training_move(const ModelPtr& float_model, const Dataset& train, const InputMap& map,
                            int epochs, std::uint64_t seed, const Progress& progress) {
  constexpr double kRate = 1e-4;
  QatOptions o;
  o.fit.loss = usual_loss(*float_model, train);
  o.fit.optimizer.kind = OptimizerKind::kAdam;
  o.fit.optimizer.learning_rate = kRate;
  o.fit.epochs = epochs;
  o.fit.seed = seed;
  o.fit.progress = progress;
  // The samples' own number: a search that goes on knows whether these are the ones it used.
  std::uint64_t hash = kHashSeed;
  for (const Array& a : train.inputs) hash = hash_bytes(a.bytes(), hash);
  hash = hash_bytes(train.labels->bytes(), hash);
  return {"qat",
          {"train --qat", fmt::format("--data {}", train.path), fmt::format("--epochs {}", epochs),
           "--optimizer adam", fmt::format("--learning-rate {}", kRate),
           fmt::format("--seed {}", seed), fmt::format("samples {:016x}", hash)},
          [float_model, &train, map, o] {
            return qat(*float_model, map_dataset(train, *float_model, map), o).model;
          }};
}

}  // namespace litegap
