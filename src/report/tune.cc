#include "report/tune.h"

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

std::string tune_text(const Json& j, bool color) {
  const bool fraction = j["metric"]["unit"] == "fraction";
  std::string text =
      fmt::format("{} on {} samples, calibrated on {} others; {}\n\n",
                  j["metric"]["name"].get<std::string>(), j["samples"].get<std::size_t>(),
                  j["calibration_samples"].get<std::size_t>(), limits_text(j["limits"], fraction));
  TextTable table(
      {"", "candidate", j["metric"]["name"], "drop", "95 % interval", "size", "latency"},
      "llrrrrr");
  std::string refused;
  for (const Json& c : j["candidates"]) {
    if (c.contains("refused")) {
      refused +=
          fmt::format("  {}: {}\n", c["name"].get<std::string>(), c["refused"].get<std::string>());
      continue;
    }
    const bool chosen = c["name"] == j["chosen"];
    table.row({chosen                      ? "->"
               : c["on_front"].get<bool>() ? "*"
                                           : "",
               c["name"], value_text(c["value"], fraction), delta_text(c["drop"], fraction),
               fmt::format("{} to {}", delta_text(c["drop_interval"][0], fraction),
                           delta_text(c["drop_interval"][1], fraction)),
               bytes_text(c["bytes"]), fmt::format("{:.3g} ms", c["latency_ms"].get<double>())});
  }
  text += table.text(color);
  text += "* on the front: nothing else is as accurate, as small and as fast\n";
  if (!j["chosen"].is_null()) {
    text += fmt::format("-> chosen: {} ({}); in {}\n", j["chosen"].get<std::string>(),
                        j["because"].get<std::string>(), j["best"].get<std::string>());
  }
  if (!refused.empty()) text += "\nNot possible for this model\n" + refused;
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
