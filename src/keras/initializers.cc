// Initial values: the distributions of Keras's initializers (not its random numbers).
//
// With fan_in = product of all but the last axis, fan_out = receptive field * last axis:
//   glorot_uniform   uniform(-l, l), l = sqrt(6 / (fan_in + fan_out))
//   he_normal        normal cut at two deviations, deviation sqrt(2 / fan_in) / 0.87962566103423978
#include <algorithm>
#include <cmath>
#include <map>

#include "base/random.h"
#include "keras/layers.h"

namespace litegap {
namespace {

// Deviation of a unit normal that was cut at -2 and 2.
constexpr double kCutDeviation = 0.87962566103423978;

struct Fans {
  double in = 1, out = 1;
};

Fans fans_of(const Shape& s) {
  if (s.empty()) return {1, 1};
  if (s.size() == 1) return {static_cast<double>(s[0]), static_cast<double>(s[0])};
  double field = 1;
  for (std::size_t d = 0; d + 2 < s.size(); ++d) field *= s[d];
  return {field * s[s.size() - 2], field * s[s.size() - 1]};
}

double cut_normal(Random& random) {
  for (;;) {
    const double v = random.normal();
    if (std::abs(v) <= 2) return v;
  }
}

struct Initializer {
  std::string name;
  Json config;
  double number(const char* key, double absent) const {
    if (!config.is_object() || !config.contains(key) || !config[key].is_number()) return absent;
    return config[key].get<double>();
  }
  std::string text(const char* key, const char* absent) const {
    if (!config.is_object() || !config.contains(key) || !config[key].is_string()) return absent;
    return config[key].get<std::string>();
  }
};

// "GlorotUniform", "glorot_uniform" -> "glorotuniform".
std::string plain(const std::string& name) {
  std::string out;
  for (char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return out;
}

void fill_scaled(std::span<float> out, const Fans& fans, double scale, const std::string& mode,
                 const std::string& distribution, Random& random) {
  const double n = mode == "fan_in"    ? fans.in
                   : mode == "fan_out" ? fans.out
                                       : (fans.in + fans.out) / 2;
  scale /= std::max(1.0, n);
  if (distribution == "uniform") {
    const double l = std::sqrt(3 * scale);
    for (float& v : out) v = static_cast<float>(random.uniform(-l, l));
  } else if (distribution == "untruncated_normal") {
    for (float& v : out) v = static_cast<float>(std::sqrt(scale) * random.normal());
  } else {
    const double s = std::sqrt(scale) / kCutDeviation;
    for (float& v : out) v = static_cast<float>(s * cut_normal(random));
  }
}

// Rows (or columns, whichever are fewer) of unit length at right angles, by Gram and Schmidt twice.
void fill_orthogonal(std::span<float> out, const Shape& shape, double gain, Random& random) {
  const std::size_t columns = shape.empty() ? 1 : static_cast<std::size_t>(shape.back());
  const std::size_t rows = columns == 0 ? 0 : out.size() / columns;
  const std::size_t few = std::min(rows, columns), many = std::max(rows, columns);
  std::vector<std::vector<double>> q(few, std::vector<double>(many));
  for (std::size_t i = 0; i < few; ++i) {
    double length = 0;
    while (length < 1e-6) {
      for (double& v : q[i]) v = random.normal();
      for (int pass = 0; pass < 2; ++pass) {
        for (std::size_t j = 0; j < i; ++j) {
          double dot = 0;
          for (std::size_t k = 0; k < many; ++k) dot += q[i][k] * q[j][k];
          for (std::size_t k = 0; k < many; ++k) q[i][k] -= dot * q[j][k];
        }
      }
      length = 0;
      for (const double v : q[i]) length += v * v;
      length = std::sqrt(length);
    }
    for (double& v : q[i]) v /= length;
  }
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      out[r * columns + c] = static_cast<float>(gain * (rows <= columns ? q[r][c] : q[c][r]));
    }
  }
}

}  // namespace

Array initial_value(const Declared& variable, Random& random) {
  Array a = Array::zeros(DType::kFloat32, variable.shape);
  const auto out = a.mutable_span<float>();
  Initializer init;
  const Json& json = variable.initializer;
  if (json.is_string()) {
    init.name = json.get<std::string>();
  } else if (json.is_object() && json.contains("class_name") && json["class_name"].is_string()) {
    init.name = json["class_name"].get<std::string>();
    if (json.contains("config")) init.config = json["config"];
  } else if (!json.is_null()) {
    refuse(*variable.layer, "the initializer of {} is {}", variable.name, json_text(json));
  }
  const std::string name = plain(init.name);
  struct Scaled {
    double scale;
    const char* mode;
    const char* distribution;
  };
  static const std::map<std::string, Scaled> scaled = {
      {"glorotuniform", {1, "fan_avg", "uniform"}}, {"xavieruniform", {1, "fan_avg", "uniform"}},
      {"glorotnormal", {1, "fan_avg", "normal"}},   {"xaviernormal", {1, "fan_avg", "normal"}},
      {"heuniform", {2, "fan_in", "uniform"}},      {"henormal", {2, "fan_in", "normal"}},
      {"lecununiform", {1, "fan_in", "uniform"}},   {"lecunnormal", {1, "fan_in", "normal"}}};
  const auto found = scaled.find(name);
  if (found != scaled.end()) {
    fill_scaled(out, fans_of(variable.shape), found->second.scale, found->second.mode,
                found->second.distribution, random);
  } else if (name == "variancescaling") {
    fill_scaled(out, fans_of(variable.shape), init.number("scale", 1), init.text("mode", "fan_in"),
                init.text("distribution", "truncated_normal"), random);
  } else if (name.empty() || name == "zeros" || name == "zero") {
  } else if (name == "ones" || name == "one") {
    std::fill(out.begin(), out.end(), 1.0f);
  } else if (name == "constant") {
    std::fill(out.begin(), out.end(), static_cast<float>(init.number("value", 0)));
  } else if (name == "randomuniform" || name == "uniform") {
    const double low = init.number("minval", -0.05), high = init.number("maxval", 0.05);
    for (float& v : out) v = static_cast<float>(random.uniform(low, high));
  } else if (name == "randomnormal" || name == "normal") {
    const double mean = init.number("mean", 0), s = init.number("stddev", 0.05);
    for (float& v : out) v = static_cast<float>(mean + s * random.normal());
  } else if (name == "truncatednormal") {
    const double mean = init.number("mean", 0), s = init.number("stddev", 0.05);
    for (float& v : out) v = static_cast<float>(mean + s * cut_normal(random));
  } else if (name == "orthogonal" || name == "orthogonalinitializer") {
    fill_orthogonal(out, variable.shape, init.number("gain", 1), random);
  } else if (name == "identity" || name == "identityinitializer") {
    const std::size_t columns =
        variable.shape.empty() ? 1 : static_cast<std::size_t>(variable.shape.back());
    const float gain = static_cast<float>(init.number("gain", 1));
    for (std::size_t i = 0; columns > 0 && i < out.size(); ++i) {
      out[i] = i / columns == i % columns ? gain : 0;
    }
  } else if (name == "unitforgetbias") {  // ours: gates i, f, c, o with ones for f
    for (std::size_t i = out.size() / 4; i < out.size() / 2; ++i) out[i] = 1;
  } else {
    refuse(*variable.layer, "the initializer {} of {} is not supported", init.name, variable.name);
  }
  return a;
}

}  // namespace litegap
