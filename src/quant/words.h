// The words that stand for choices on the command line, in recipes, in JSON and in Python: one list
// for each, used by all of them.
//
//   value_of(rounding_words(), "gptq", "--rounding");   // WeightRounding::kGptq, or Error
//   name_of(calibration_words(), CalibrationMethod::kKl);   // "kl"
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "quant/technique.h"

namespace litegap {

template <class E>
using Words = std::vector<std::pair<const char*, E>>;

const Words<Technique>& technique_words();
const Words<Algorithm>& algorithm_words();
const Words<CalibrationMethod>& calibration_words();
const Words<WeightRounding>& rounding_words();
const Words<WeightScale>& weight_scale_words();
const Words<Granularity>& granularity_words();
const Words<InputOutput>& io_words();
const Words<Choice>& choice_words();

template <class E>
std::vector<std::string> all_of(const Words<E>& words) {
  std::vector<std::string> names;
  for (const auto& [name, value] : words) names.emplace_back(name);
  return names;
}

// Throws Error naming `where` and what was expected.
template <class E>
E value_of(const Words<E>& words, const std::string& word, const std::string& where) {
  for (const auto& [known, value] : words) {
    if (word == known) return value;
  }
  fail("{}: found \"{}\", expected one of: {}", where, word, fmt::join(all_of(words), ", "));
}

template <class E>
const char* name_of(const Words<E>& words, E value) {
  for (const auto& [known, v] : words) {
    if (v == value) return known;
  }
  return "?";
}

}  // namespace litegap
