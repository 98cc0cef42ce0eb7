#include "report/eval.h"

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/json.h"
#include "report/table.h"

namespace litegap {
namespace {

constexpr std::size_t kFlipsShown = 10, kClassesShown = 10, kTensorsShown = 10;

Json interval_json(const Interval& i) {
  return Json::array({json_number(i.low), json_number(i.high)});
}

Json optional_json(const std::optional<double>& value) {
  return value ? json_number(*value) : Json(nullptr);
}

Json model_json(const EvalModel& m) {
  return {{"path", m.path},
          {"technique", m.technique},
          {"dialect", m.dialect.empty() ? Json(nullptr) : Json(m.dialect)},
          {"value", json_number(m.measured.value)},
          {"interval", interval_json(m.measured.interval)},
          {"trusted", m.measured.trusted},
          {"bytes", m.bytes},
          {"latency_ms", optional_json(m.latency_ms)}};
}

Json pair_json(const EvalPair& p) {
  Json flips = Json::array();
  for (std::size_t i = 0; i < std::min(kFlipsShown, p.flips.size()); ++i) {
    const Flip& f = p.flips[i];
    flips.push_back({{"row", f.row},
                     {"label", f.label < 0 ? Json(nullptr) : Json(f.label)},
                     {"a", f.a},
                     {"b", f.b}});
  }
  return {{"a", 0},
          {"b", p.b},
          {"delta", json_number(p.paired.delta)},
          {"interval", interval_json(p.paired.interval)},
          {"p_value", json_number(p.paired.p_value)},
          {"only_a_right", p.paired.only_a_right},
          {"only_b_right", p.paired.only_b_right},
          {"agreement", json_number(p.paired.agreement)},
          {"kl", optional_json(p.kl)},
          {"cosine", optional_json(p.cosine)},
          {"samples_needed", p.samples_needed ? Json(*p.samples_needed) : Json(nullptr)},
          {"flip_count", p.flips.size()},
          {"flips", flips}};
}

Json difference_json(const DialectDifference& d) {
  Json rows = Json::array();
  for (const DifferingTensor& t : d.rows) {
    rows.push_back({{"op", t.op},
                    {"tensor", t.tensor},
                    {"label", t.label},
                    {"elements", t.elements},
                    {"differ", t.differ},
                    {"largest", json_number(t.largest)}});
  }
  return {{"a", dialect_name(d.a)},
          {"b", dialect_name(d.b)},
          {"samples", d.samples},
          {"tensors", d.tensors},
          {"output_elements", d.output_elements},
          {"outputs_differ", d.outputs_differ},
          {"differing", rows}};
}

std::string dialect_text(const Json& d, bool color) {
  const std::size_t differ = d["differing"].size();
  std::string out = fmt::format(
      "\nBits of {} against {}, {} samples: {} of {} tensors differ, {} of {} output values\n",
      d["b"].get<std::string>(), d["a"].get<std::string>(), d["samples"].get<std::size_t>(), differ,
      d["tensors"].get<std::size_t>(), d["outputs_differ"].get<std::size_t>(),
      d["output_elements"].get<std::size_t>());
  if (differ == 0) return out;
  TextTable table({"operator", "values", "differ", "by up to"}, "lrrr");
  for (std::size_t i = 0; i < std::min(kTensorsShown, differ); ++i) {
    const Json& t = d["differing"][i];
    table.row({t["label"], json_text(t["elements"]), json_text(t["differ"]),
               t["largest"].is_number() ? fmt::format("{:.3g}", t["largest"].get<double>())
                                        : t["largest"].get<std::string>()});
  }
  out += table.text(color, 2);
  if (differ > kTensorsShown) out += fmt::format("  and {} more\n", differ - kTensorsShown);
  return out +
         "  (codes; of floats a share of the tensor's peak; the first row is where it begins)\n";
}

const char* limit_name(LimitState state) {
  switch (state) {
    case LimitState::kNone:
      return "none";
    case LimitState::kKept:
      return "kept";
    case LimitState::kUndecided:
      return "undecided";
    case LimitState::kBroken:
      return "broken";
  }
  return "none";
}

double number(const Json& j) { return j.is_number() ? j.get<double>() : std::nan(""); }

std::string range_text(const Json& interval, bool fraction) {
  if (!interval[0].is_number() || !interval[1].is_number()) return "-";
  const double low = number(interval[0]), high = number(interval[1]);
  return fraction ? fmt::format("{:.2f} to {:.2f} %", 100 * low, 100 * high)
                  : fmt::format("{:.4g} to {:.4g}", low, high);
}

std::string verdict(const Json& pair) {
  const double low = number(pair["interval"][0]), high = number(pair["interval"][1]);
  if (std::isnan(low) || std::isnan(high)) return "not comparable, a value is not finite";
  if (low > 0) return "a loss, with evidence";
  if (high < 0) return "a gain, with evidence";
  std::string text = "no evidence of a difference";
  if (pair["samples_needed"].is_number()) {
    text += fmt::format("; n >= {} samples would be needed to see it",
                        pair["samples_needed"].get<std::size_t>());
  }
  return text;
}

std::string name_of(const Json& model) {
  const std::string path = model["path"].get<std::string>();
  return model["dialect"].is_null()
             ? path
             : fmt::format("{} [{}]", path, model["dialect"].get<std::string>());
}

std::string models_text(const Json& r, bool fraction, bool color) {
  TextTable table(
      {"", "model", "technique", r["metric"]["name"], "95 % interval", "size", "latency"},
      "rllrrrr");
  std::size_t i = 0;
  for (const Json& m : r["models"]) {
    table.row(
        {std::to_string(i++), name_of(m), m["technique"], value_text(m["value"], fraction),
         range_text(m["interval"], fraction), bytes_text(number(m["bytes"])),
         m["latency_ms"].is_number() ? fmt::format("{:.3g} ms", number(m["latency_ms"])) : "-"});
  }
  return table.text(color);
}

std::string pair_text(const Json& r, const Json& p, bool fraction, bool color) {
  const bool hits = p["only_a_right"].get<std::size_t>() + p["only_b_right"].get<std::size_t>() > 0;
  const std::size_t b = p["b"].get<std::size_t>();
  std::string out =
      fmt::format("\n{} against 0: loss {} (95 % interval {} to {}, p = {:.2g}): {}\n",
                  paint(color, "1", fmt::format("{} {}", b, name_of(r["models"][b]))),
                  delta_text(p["delta"], fraction), delta_text(p["interval"][0], fraction),
                  delta_text(p["interval"][1], fraction), number(p["p_value"]), verdict(p));
  if (hits) {
    out +=
        fmt::format("  only 0 right: {}, only {} right: {}\n", p["only_a_right"].get<std::size_t>(),
                    b, p["only_b_right"].get<std::size_t>());
  }
  out += fmt::format("  agreement {:.4g}", number(p["agreement"]));
  if (p["kl"].is_number()) out += fmt::format(", KL {:.3g}", number(p["kl"]));
  if (p["cosine"].is_number()) out += fmt::format(", cosine {:.5f}", number(p["cosine"]));
  out += "\n";
  if (p["flips"].empty()) return out;
  out +=
      fmt::format("  other class at {} samples, the first:\n", p["flip_count"].get<std::size_t>());
  TextTable table({"row", "label", "0", std::to_string(b)}, "rrrr");
  for (const Json& f : p["flips"]) {
    const auto name = [](const Json& c) {
      return c.is_number() && c.get<int>() >= 0 ? json_text(c) : std::string("-");
    };
    table.row({json_text(f["row"]), name(f["label"]), name(f["a"]), name(f["b"])});
  }
  return out + table.text(color, 4);
}

// The largest change of any model against model 0.
double change_of(const Json& row) {
  double change = 0;
  for (const Json& v : row["right"]) {
    change = std::max(change, std::fabs(number(v) - number(row["right"][0])));
  }
  return change;
}

std::string classes_text(const Json& r, bool color) {
  std::vector<Json> rows(r["classes"].begin(), r["classes"].end());
  if (rows.empty()) return "";
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Json& a, const Json& b) { return change_of(a) > change_of(b); });
  std::vector<std::string> header{"class", "samples"};
  for (std::size_t k = 0; k < r["models"].size(); ++k) header.push_back(fmt::format("right {}", k));
  for (std::size_t k = 0; k < r["models"].size(); ++k)
    header.push_back(fmt::format("answers {}", k));
  TextTable table(header, std::string(header.size(), 'r'));
  for (std::size_t i = 0; i < std::min(kClassesShown, rows.size()); ++i) {
    std::vector<std::string> cells{json_text(rows[i]["label"]), json_text(rows[i]["count"])};
    for (const Json& v : rows[i]["right"]) cells.push_back(value_text(v, true));
    for (const Json& v : rows[i]["predicted"]) cells.push_back(json_text(v));
    table.row(cells);
  }
  const std::string more =
      rows.size() > kClassesShown ? fmt::format(" (the {} that change most)", kClassesShown) : "";
  return "\n" + paint(color, "1", "By class") + more + "\n" + table.text(color, 2);
}

std::string notes_text(const Json& r, bool fraction) {
  std::string out;
  if (r["claimed"].is_number()) {
    const double gap = number(r["claimed"]) - number(r["models"][0]["value"]);
    out += fmt::format("\nclaimed {}: model 0 differs by {}\n", value_text(r["claimed"], fraction),
                       delta_text(json_number(-gap), fraction));
  }
  if (!r["decisions"].empty()) out += "\n";
  out += decisions_text(r["decisions"]);
  const std::string limit = r["limit"]["state"];
  if (limit != "none") {
    out += fmt::format("limit --fail-above {}: {}\n", number(r["limit"]["fail_above"]), limit);
  }
  return out;
}

}  // namespace

LimitState judge_limit(const EvalResult& result, const EvalPair& pair, double limit) {
  const double a = result.models[0].measured.value, b = result.models[pair.b].measured.value;
  if (std::isfinite(a) && !std::isfinite(b)) return LimitState::kBroken;
  const Interval& i = pair.paired.interval;
  if (i.low > limit) return LimitState::kBroken;
  return i.high <= limit ? LimitState::kKept : LimitState::kUndecided;
}

Json eval_json(const EvalResult& r, const std::string& version, const Json& dialect) {
  Json models = Json::array(), pairs = Json::array(), classes = Json::array();
  for (const EvalModel& m : r.models) models.push_back(model_json(m));
  for (const EvalPair& p : r.pairs) pairs.push_back(pair_json(p));
  Json dialects = Json::array();
  for (const DialectDifference& d : r.dialects) dialects.push_back(difference_json(d));
  for (const auto& c : r.classes) {
    classes.push_back(
        {{"label", c.label}, {"count", c.count}, {"right", c.right}, {"predicted", c.predicted}});
  }
  return {
      {"schema", "litegap.eval/1"},
      {"litegap", version},
      {"dialect", dialect},
      {"data", {{"path", r.data_path}, {"samples", r.samples}, {"of", r.of}, {"labels", r.labels}}},
      {"metric",
       {{"name", r.metric.name},
        {"higher_is_better", r.metric.higher_is_better},
        {"unit", r.metric.unit()}}},
      {"samples", r.samples},
      {"claimed", optional_json(r.claimed)},
      {"models", models},
      {"pairs", pairs},
      {"dialects", dialects},
      {"classes", classes},
      {"limit", {{"fail_above", optional_json(r.fail_above)}, {"state", limit_name(r.limit)}}},
      {"stopped_by", r.stopped_by.empty() ? Json(nullptr) : Json(r.stopped_by)},
      {"decisions", to_json(r.decisions)},
      {"cost", {{"seconds", r.seconds}, {"peak_bytes", peak_memory_bytes()}}}};
}

std::string eval_text(const Json& r, bool color) {
  const bool fraction = r["metric"]["unit"] == "fraction";
  const auto samples = r["data"]["samples"].get<std::size_t>(),
             of = r["data"]["of"].get<std::size_t>();
  std::string out = fmt::format("{}: {} samples", r["data"]["path"].get<std::string>(), samples);
  if (samples < of) {
    out += fmt::format(" of {} ({})", of,
                       r["stopped_by"].is_string() ? r["stopped_by"].get<std::string>() : "limit");
  }
  out += r["data"]["labels"].get<bool>() ? "\n\n" : ", no labels\n\n";
  out += models_text(r, fraction, color);
  for (const Json& p : r["pairs"]) out += pair_text(r, p, fraction, color);
  for (const Json& d : r["dialects"]) out += dialect_text(d, color);
  out += classes_text(r, color);
  return out + notes_text(r, fraction);
}

}  // namespace litegap
