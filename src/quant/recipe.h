// A recipe: which operator gets which algorithm, as an ordered list of rules.
//
// A float model has operators of many kinds, and one technique seldom suits them all: a head that
// must stay float, a first layer that wants 16 bits, a big embedding that needs only small weights.
// A rule names operators by a regular expression over their output's name and by their kind; later
// rules win over earlier ones, field by field, and a rule that matches nothing is an error, because
// it is a typing mistake.
//
//   {"rules": [{"scope": ".*", "operator": "*", "algorithm": "static"},
//              {"scope": "head/.*", "operator": "FULLY_CONNECTED", "algorithm": "float"}]}
//   {"rules": [{"algorithm": "weight-only", "bits": 4, "weights": "gptq"}]}
//
// docs/formats.md, "Recipes", has every key.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "quant/quantize.h"

namespace litegap {

// What becomes of one operator.
enum class Algorithm : std::uint8_t {
  kFloat,         // left as it is
  kStatic,        // int8 activations and weights
  kInt16x8,       // int16 activations, int8 weights
  kDynamicRange,  // int8 weights, activations quantized by the kernel at run time
  kWeightOnly,    // integer weights behind a DEQUANTIZE, float arithmetic
  kFloat16,       // half-precision constants behind a DEQUANTIZE
};
// How activation ranges are taken from calibration values.
enum class CalibrationMethod : std::uint8_t {
  kAuto,
  kMinmax,
  kMovingAverage,
  kPercentile,
  kMse,
  kKl,
  kOctav,
};
// How scales of weights are chosen, and how weights are rounded to codes.
enum class WeightScale : std::uint8_t { kMinmax, kMse, kOctav };
enum class WeightRounding : std::uint8_t { kAuto, kNearest, kGptq, kCoordinate };

struct Rule {
  std::string scope = ".*";  // regular expression over the name of the operator's first output
  std::string op = "*";      // kind ("CONV_2D"), or * for every kind
  std::optional<Algorithm> algorithm;
  std::optional<int> bits;  // of the weights: 8, or 4 with weight-only
  std::optional<Granularity> granularity;
  std::optional<CalibrationMethod> activations;
  std::optional<WeightScale> weight_scale;
  std::optional<WeightRounding> rounding;
};

struct Recipe {
  std::string path;  // for messages
  std::vector<Rule> rules;
  std::optional<bool> equalize, bias_correction;
};

// Throws Error naming the rule and the key.
Recipe parse_recipe(const std::string& text, const std::string& path);
Recipe read_recipe(const std::string& path);

// What the rules say about one operator, after all of them were applied.
struct Treatment {
  Algorithm algorithm = Algorithm::kFloat;
  int bits = 8;
  Granularity granularity = Granularity::kPerChannel;
  CalibrationMethod activations = CalibrationMethod::kMinmax;
  WeightScale weight_scale = WeightScale::kMinmax;
  WeightRounding rounding = WeightRounding::kNearest;
  std::size_t least_elements = 1024;  // dynamic range: smaller weight tensors stay float
  bool operator==(const Treatment&) const = default;
};

// One treatment an operator of graph 0, starting from `base`.  Throws Error on a rule that matches
// no operator, and on an algorithm that a matched kind cannot have if the rule names the kind.
std::vector<Treatment> resolve(const Recipe& recipe, const Model& model, const Treatment& base);

const char* algorithm_name(Algorithm algorithm);  // "weight-only", …
const char* calibration_name(CalibrationMethod method);
const char* rounding_name(WeightRounding rounding);
const char* weight_scale_name(WeightScale scale);

}  // namespace litegap
