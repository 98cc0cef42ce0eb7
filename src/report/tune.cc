#include "report/tune.h"

#include "base/json.h"
#include "report/table.h"

namespace litegap {
namespace {

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json interval(const Interval& i) { return Json::array({json_number(i.low), json_number(i.high)}); }

Json candidate_json(const Candidate& c) {
  Json j{{"name", c.name}, {"edits", c.edits}};
  if (!c.refused.empty()) {
    j["refused"] = c.refused;
    return j;
  }
  j["value"] = json_number(c.measured.value);
  j["interval"] = interval(c.measured.interval);
  j["drop"] = json_number(c.drop.delta);
  j["drop_interval"] = interval(c.drop.interval);
  j["p_value"] = json_number(c.drop.p_value);
  j["bytes"] = c.bytes;
  j["latency_ms"] = json_number(c.latency_ms);
  j["on_front"] = c.on_front;
  j["allowed"] = c.allowed;
  j["path"] = c.path;
  if (!c.same_as.empty()) j["same_as"] = c.same_as;
  return j;
}

std::string limits_text(const Json& limits, bool fraction) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (!limits["max_drop"].is_null()) {
    add(fmt::format("drop at most {:g}{}", limits["max_drop"].get<double>(),
                    fraction ? " points" : ""));
  }
  if (!limits["max_bytes"].is_null()) add("at most " + bytes_text(limits["max_bytes"]));
  if (!limits["max_latency_ms"].is_null()) {
    add(fmt::format("at most {:g} ms", limits["max_latency_ms"].get<double>()));
  }
  return text.empty() ? "no limits" : text;
}

}  // namespace

Json tune_json(const TuneResult& r, const TuneRequest& request, const std::string& version,
               const Json& dialect) {
  Json candidates = Json::array();
  for (const Candidate& c : r.candidates) candidates.push_back(candidate_json(c));
  return {{"schema", "litegap.tune/1"},
          {"litegap", version},
          {"dialect", dialect},
          {"metric",
           {{"name", r.metric.name},
            {"higher_is_better", r.metric.higher_is_better},
            {"unit", r.metric.unit()}}},
          {"samples", r.samples},
          {"calibration_samples", r.calibration_samples},
          {"limits",
           {{"max_drop", or_null(request.max_drop)},
            {"max_bytes", or_null(request.max_bytes)},
            {"max_latency_ms", or_null(request.max_latency_ms)}}},
          {"candidates", candidates},
          {"planned", r.planned},
          {"resumed", r.resumed},
          {"chosen", r.chosen < 0 ? Json(nullptr)
                                  : Json(r.candidates[static_cast<std::size_t>(r.chosen)].name)},
          {"because", r.because},
          {"best", r.chosen < 0 ? Json(nullptr) : Json(request.out + "/best.tflite")},
          {"budget", request.budget > 0 ? Json(request.budget) : Json(nullptr)},
          {"stopped_by", r.stopped_by},
          {"seconds", r.seconds},
          {"decisions", to_json(r.decisions)}};
}

namespace {

std::string latency_text(double ms) {
  return ms < 10 ? fmt::format("{:.4f} ms", ms) : fmt::format("{:.1f} ms", ms);
}

// Both ends in the unit of the drop beside them.
std::string interval_text(const Json& ends, bool fraction) {
  const auto end = [&](const Json& value) {
    const std::string text = delta_text(value, fraction);
    return text.substr(0, text.find(' '));
  };
  return end(ends[0]) + " to " + end(ends[1]);
}

void add_row(TextTable& table, const Json& c, bool chosen, bool reference, bool fraction) {
  std::string mark = chosen ? "->" : "";
  if (c["on_front"].get<bool>()) mark += chosen ? " *" : "*";
  table.row({mark, c["name"], value_text(c["value"], fraction),
             reference ? "" : delta_text(c["drop"], fraction),
             reference ? "" : interval_text(c["drop_interval"], fraction), bytes_text(c["bytes"]),
             latency_text(c["latency_ms"].get<double>())});
}

std::string candidates_text(const Json& j, bool fraction, bool color) {
  TextTable table(
      {"", "candidate", j["metric"]["name"], "drop", "95 % interval", "size", "latency"},
      "llrrrrr");
  std::string refused, same;
  bool reference = true;  // the float model: its drop is none
  for (const Json& c : j["candidates"]) {
    const auto name = c["name"].get<std::string>();
    if (c.contains("refused")) {
      refused += fmt::format("  {}: {}\n", name, c["refused"].get<std::string>());
    } else if (c.contains("same_as") && c["name"] != j["chosen"]) {
      same += fmt::format("{}{} (as {})", same.empty() ? "same files: " : ", ", name,
                          c["same_as"].get<std::string>());
    } else {
      add_row(table, c, c["name"] == j["chosen"], reference, fraction);
    }
    reference = false;
  }
  return table.text(color) + "* on the front: nothing else is as accurate, as small and as fast\n" +
         (same.empty() ? "" : same + "\n") +
         (refused.empty() ? "" : "not possible for this model:\n" + refused);
}

}  // namespace

std::string tune_text(const Json& j, bool color) {
  const bool fraction = j["metric"]["unit"] == "fraction";
  std::string text =
      fmt::format("{} on {} samples, calibrated on {} others; {}\n\n",
                  j["metric"]["name"].get<std::string>(), j["samples"].get<std::size_t>(),
                  j["calibration_samples"].get<std::size_t>(), limits_text(j["limits"], fraction));
  text += candidates_text(j, fraction, color);
  if (!j["chosen"].is_null()) {
    text += fmt::format("-> chosen: {} ({}); in {}\n", j["chosen"].get<std::string>(),
                        j["because"].get<std::string>(), j["best"].get<std::string>());
  }
  text += fmt::format("{} candidates in {:.1f} s\n", j["candidates"].size(),
                      j["seconds"].get<double>());
  if (j["resumed"].get<std::size_t>() > 0) {
    text += fmt::format("{} of the candidates were measured by an earlier search in this folder\n",
                        j["resumed"].get<std::size_t>());
  }
  if (j["stopped_by"] != "complete") {
    text +=
        fmt::format("stopped by {} after {} of {} candidates; the same command goes on from here\n",
                    j["stopped_by"].get<std::string>(), j["candidates"].size(),
                    j["planned"].get<std::size_t>());
  }
  return text + decisions_text(j["decisions"]);
}

}  // namespace litegap
