#include "quant/words.h"

namespace litegap {

const Words<Technique>& technique_words() {
  static const Words<Technique> words = {{"static", Technique::kStatic},
                                         {"dynamic-range", Technique::kDynamicRange},
                                         {"float16", Technique::kFloat16},
                                         {"int16x8", Technique::kInt16x8},
                                         {"weight-only-int8", Technique::kWeightOnlyInt8},
                                         {"weight-only-int4", Technique::kWeightOnlyInt4},
                                         {"mixed", Technique::kMixed}};
  return words;
}

const Words<Algorithm>& algorithm_words() {
  static const Words<Algorithm> words = {
      {"float", Algorithm::kFloat},     {"static", Algorithm::kStatic},
      {"int16x8", Algorithm::kInt16x8}, {"dynamic-range", Algorithm::kDynamicRange},
      {"float16", Algorithm::kFloat16}, {"weight-only", Algorithm::kWeightOnly}};
  return words;
}

const Words<CalibrationMethod>& calibration_words() {
  static const Words<CalibrationMethod> words = {
      {"auto", CalibrationMethod::kAuto},
      {"minmax", CalibrationMethod::kMinmax},
      {"moving-average", CalibrationMethod::kMovingAverage},
      {"percentile", CalibrationMethod::kPercentile},
      {"mse", CalibrationMethod::kMse},
      {"kl", CalibrationMethod::kKl},
      {"octav", CalibrationMethod::kOctav}};
  return words;
}

const Words<WeightRounding>& rounding_words() {
  static const Words<WeightRounding> words = {{"nearest", WeightRounding::kNearest},
                                              {"gptq", WeightRounding::kGptq},
                                              {"coordinate", WeightRounding::kCoordinate},
                                              {"auto", WeightRounding::kAuto}};
  return words;
}

const Words<WeightScale>& weight_scale_words() {
  static const Words<WeightScale> words = {
      {"minmax", WeightScale::kMinmax}, {"mse", WeightScale::kMse}, {"octav", WeightScale::kOctav}};
  return words;
}

const Words<Granularity>& granularity_words() {
  static const Words<Granularity> words = {{"per-channel", Granularity::kPerChannel},
                                           {"per-tensor", Granularity::kPerTensor}};
  return words;
}

const Words<InputOutput>& io_words() {
  static const Words<InputOutput> words = {{"integer", InputOutput::kInteger},
                                           {"uint8", InputOutput::kUint8},
                                           {"float", InputOutput::kFloat}};
  return words;
}

const Words<Choice>& choice_words() {
  static const Words<Choice> words = {
      {"off", Choice::kOff}, {"on", Choice::kOn}, {"auto", Choice::kAuto}};
  return words;
}

}  // namespace litegap
