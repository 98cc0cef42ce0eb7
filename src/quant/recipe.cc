#include "quant/recipe.h"

#include <array>
#include <regex>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "quant/forms.h"
#include "quant/params.h"
#include "quant/words.h"

namespace litegap {
namespace {

std::string text_at(const Json& object, const std::string& key, const std::string& where) {
  if (!object.at(key).is_string()) fail("{}: \"{}\" is no text", where, key);
  return object.at(key).get<std::string>();
}

// `weights` says how scales are chosen or how codes are rounded: one word for what users choose
// between.
void read_weights(Rule& rule, const std::string& name, const std::string& where) {
  if (name == "gptq" || name == "coordinate" || name == "nearest") {
    rule.rounding = value_of(rounding_words(), name, where);
  } else if (name == "minmax" || name == "mse" || name == "octav") {
    rule.weight_scale = value_of(weight_scale_words(), name, where);
  } else {
    fail("{}: weights \"{}\", expected one of: minmax, octav, mse, gptq, coordinate, nearest",
         where, name);
  }
}

Rule read_rule(const Json& value, const std::string& where) {
  if (!value.is_object()) fail("{}: is no object", where);
  static const std::set<std::string> known = {"scope",   "operator",    "algorithm",
                                              "bits",    "granularity", "activations",
                                              "weights", "rounding"};
  for (const auto& [key, unused] : value.items()) {
    if (!known.contains(key)) {
      fail(
          "{}: unknown key \"{}\", expected scope, operator, algorithm, bits, granularity, "
          "activations, weights or rounding",
          where, key);
    }
  }
  Rule rule;
  if (value.contains("scope")) rule.scope = text_at(value, "scope", where);
  if (value.contains("operator")) rule.op = text_at(value, "operator", where);
  if (value.contains("algorithm")) {
    rule.algorithm = value_of(algorithm_words(), text_at(value, "algorithm", where), where);
  }
  if (value.contains("bits")) {
    if (value.at("bits") != 4 && value.at("bits") != 8) {
      fail("{}: bits {}, expected 4 or 8", where, json_text(value.at("bits")));
    }
    rule.bits = value.at("bits").get<int>();
  }
  if (value.contains("granularity")) {
    rule.granularity = value_of(granularity_words(), text_at(value, "granularity", where), where);
  }
  if (value.contains("activations")) {
    rule.activations = value_of(calibration_words(), text_at(value, "activations", where), where);
  }
  if (value.contains("weights")) read_weights(rule, text_at(value, "weights", where), where);
  if (value.contains("rounding")) {
    rule.rounding = value_of(rounding_words(), text_at(value, "rounding", where), where);
  }
  return rule;
}

// The library's matcher goes a call deeper for every character of the name.
constexpr std::size_t kLongestName = 4096;

std::regex regex_of(const std::string& text, const std::string& where) {
  try {
    return std::regex(text, std::regex::ECMAScript);
  } catch (const std::regex_error& e) {
    fail("{}: scope \"{}\" is no regular expression", where, text);
  }
}

bool has_form(const Op& op, const Treatment& t) {
  switch (t.algorithm) {
    case Algorithm::kStatic:
      return has_int8_form(op);
    case Algorithm::kInt16x8:
      return has_int16_form(op.code);
    case Algorithm::kDynamicRange:
      return weight_axis(op.code) >= 0 || op.code == OpCode::kUnidirectionalSequenceLstm;
    case Algorithm::kWeightOnly:
      return weight_axis(op.code) >= 0;
    default:
      return true;
  }
}

}  // namespace

Recipe parse_recipe(const std::string& text, const std::string& path) {
  Json value;
  try {
    value = parse_json(text);
  } catch (const Json::parse_error& e) {
    fail("{}: is no JSON: byte {}", path, e.byte);
  }
  if (!value.is_object() || !value.contains("rules") || !value.at("rules").is_array()) {
    fail("{}: expected an object with a list \"rules\"", path);
  }
  Recipe recipe;
  recipe.path = path;
  for (const auto& [key, part] : value.items()) {
    if (key == "rules") {
      for (std::size_t i = 0; i < part.size(); ++i) {
        recipe.rules.push_back(read_rule(part[i], fmt::format("{}: rule {}", path, i)));
      }
    } else if (key == "equalize" || key == "bias_correction") {
      if (!part.is_boolean())
        fail("{}: \"{}\" is {}, expected true or false", path, key, json_text(part));
      (key == "equalize" ? recipe.equalize : recipe.bias_correction) = part.get<bool>();
    } else {
      fail("{}: unknown key \"{}\", expected rules, equalize or bias_correction", path, key);
    }
  }
  if (recipe.rules.empty()) fail("{}: has no rules", path);
  return recipe;
}

Recipe read_recipe(const std::string& path) { return parse_recipe(read_text(path), path); }

std::vector<Treatment> resolve(const Recipe& recipe, const Model& model, const Treatment& base) {
  const Graph& graph = model.main();
  std::vector<Treatment> all(graph.ops.size(), base);
  for (std::size_t r = 0; r < recipe.rules.size(); ++r) {
    const Rule& rule = recipe.rules[r];
    const std::string where = fmt::format("{}: rule {}", recipe.path, r);
    const std::regex scope = regex_of(rule.scope, where);
    std::size_t matched = 0;
    for (std::size_t k = 0; k < graph.ops.size(); ++k) {
      const Op& op = graph.ops[k];
      const std::string name = op.outputs.empty() || op.outputs[0] < 0
                                   ? ""
                                   : graph.tensors[static_cast<std::size_t>(op.outputs[0])].name;
      if (rule.op != "*" && rule.op != op.name()) continue;
      if (name.size() > kLongestName) {
        fail("{}: operator {}: the name of its output has {} bytes, expected at most {} to match",
             where, k, name.size(), kLongestName);
      }
      if (!std::regex_search(name, scope)) continue;
      ++matched;
      Treatment& t = all[k];
      if (rule.algorithm) t.algorithm = *rule.algorithm;
      if (rule.bits) t.bits = *rule.bits;
      if (rule.granularity) t.granularity = *rule.granularity;
      if (rule.activations) t.activations = *rule.activations;
      if (rule.weight_scale) t.weight_scale = *rule.weight_scale;
      if (rule.rounding) t.rounding = *rule.rounding;
      // A rule for all kinds means those that have the form; one that names a kind means it.
      if (rule.algorithm && !has_form(op, t)) {
        if (rule.op != "*") {
          fail("{}: {} has no form \"{}\"", where, op_label(graph, k), algorithm_name(t.algorithm));
        }
        if (t.algorithm != Algorithm::kStatic) t.algorithm = Algorithm::kFloat;
      }
    }
    if (matched == 0) {
      fail("{}: scope \"{}\", operator {} matches none of the {} operators of {}", where,
           rule.scope, rule.op, graph.ops.size(), model.path);
    }
  }
  for (std::size_t k = 0; k < all.size(); ++k) {
    if (all[k].bits == 4 && all[k].algorithm != Algorithm::kWeightOnly) {
      if (weight_axis(graph.ops[k].code) >= 0) {
        fail("{}: {} gets 4-bit weights and algorithm {}, which is possible with weight-only only",
             recipe.path, op_label(graph, k), algorithm_name(all[k].algorithm));
      }
      all[k].bits = 8;
    }
  }
  return all;
}

const char* algorithm_name(Algorithm algorithm) { return name_of(algorithm_words(), algorithm); }
const char* calibration_name(CalibrationMethod method) {
  return name_of(calibration_words(), method);
}
const char* rounding_name(WeightRounding rounding) { return name_of(rounding_words(), rounding); }
const char* weight_scale_name(WeightScale scale) { return name_of(weight_scale_words(), scale); }

}  // namespace litegap
