#include "tune/moves.h"

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

}  // namespace litegap
