// Values of a layer's configuration, each checked for its type before it is used.
//
//   config_int(dense, "units")                  Error when it is absent, a text, or 1e30
//   config_ints(conv, "strides", 2, 1)          {2, 2} for 2, for [2, 2] and for [2]
#include <cmath>

#include "keras/layers.h"

namespace litegap {
namespace {

constexpr std::int64_t kLargest = 1 << 24;  // of any size in an architecture

int checked_int(const KerasLayer& layer, const char* key, const Json& v) {
  if (v.is_number_float()) {
    const double d = v.get<double>();
    if (std::abs(d) <= kLargest && d == std::trunc(d)) return static_cast<int>(d);
  }
  if (!v.is_number_integer()) refuse(layer, "{} is {}, expected an integer", key, json_text(v));
  const auto n = v.get<std::int64_t>();
  if (n < -kLargest || n > kLargest) refuse(layer, "{} is {}, expected less", key, n);
  return static_cast<int>(n);
}

}  // namespace

const Json* config_value(const KerasLayer& layer, const char* key) {
  if (!layer.config.is_object()) return nullptr;
  const auto found = layer.config.find(key);
  return found == layer.config.end() || found->is_null() ? nullptr : &*found;
}

int config_int(const KerasLayer& layer, const char* key, std::optional<int> absent) {
  const Json* v = config_value(layer, key);
  if (v == nullptr) {
    if (!absent) refuse(layer, "{} is missing from its configuration", key);
    return *absent;
  }
  return checked_int(layer, key, *v);
}

bool config_bool(const KerasLayer& layer, const char* key, bool absent) {
  const Json* v = config_value(layer, key);
  if (v == nullptr) return absent;
  if (v->is_number_integer()) return v->get<std::int64_t>() != 0;
  if (!v->is_boolean()) refuse(layer, "{} is {}, expected true or false", key, v->dump());
  return v->get<bool>();
}

double config_number(const KerasLayer& layer, const char* key, std::optional<double> absent) {
  const Json* v = config_value(layer, key);
  if (v == nullptr) {
    if (!absent) refuse(layer, "{} is missing from its configuration", key);
    return *absent;
  }
  // Keras 2 wrote NumPy scalars as {"class_name": "__numpy__", "config": {"value": 0.3}}.
  if (v->is_object() && v->contains("config") && (*v)["config"].is_object() &&
      (*v)["config"].contains("value") && (*v)["config"]["value"].is_number()) {
    return (*v)["config"]["value"].get<double>();
  }
  if (v->is_object() && v->contains("value") && (*v)["value"].is_number()) {
    return (*v)["value"].get<double>();
  }
  if (!v->is_number()) refuse(layer, "{} is {}, expected a number", key, v->dump());
  return v->get<double>();
}

std::string config_text(const KerasLayer& layer, const char* key, const std::string& absent) {
  const Json* v = config_value(layer, key);
  if (v == nullptr) return absent;
  if (!v->is_string()) refuse(layer, "{} is {}, expected a text", key, v->dump());
  return v->get<std::string>();
}

std::vector<int> config_ints(const KerasLayer& layer, const char* key, std::size_t n, int absent) {
  const Json* v = config_value(layer, key);
  if (v == nullptr) return std::vector<int>(n, absent);
  if (!v->is_array()) return std::vector<int>(n, checked_int(layer, key, *v));
  std::vector<int> all;
  for (const Json& item : *v) all.push_back(checked_int(layer, key, item));
  if (all.size() == 1 && n > 1) all.assign(n, all[0]);
  if (all.size() != n) refuse(layer, "{} has {} values, expected {}", key, all.size(), n);
  return all;
}

std::vector<int> config_list(const KerasLayer& layer, const char* key) {
  const Json* v = config_value(layer, key);
  if (v == nullptr) return {};
  std::vector<int> all;
  if (!v->is_array()) return {checked_int(layer, key, *v)};
  for (const Json& item : *v) all.push_back(checked_int(layer, key, item));
  return all;
}

}  // namespace litegap
