#include "base/json.h"
#include "report/explain.h"

namespace litegap {
namespace {

Json interval_json(const Interval& i) {
  return Json::array({json_number(i.low), json_number(i.high)});
}

Json model_json(const Model& model, const FileTechnique& t) {
  return {{"path", model.path},
          {"technique", t.name},
          {"weights", t.weights},
          {"bytes", model.file_bytes}};
}

Json finding_json(const Finding& f) {
  Json where = Json::array();
  for (const Place& p : f.where) {
    Json place = {{"graph", p.graph}};
    if (p.op >= 0) place["op"] = p.op;
    if (p.tensor >= 0) place["tensor"] = p.tensor;
    place["name"] = p.name;
    where.push_back(place);
  }
  Json edits = Json::array();
  for (const Edit& e : f.edits) edits.push_back(to_json(e));
  return {{"cause", f.cause},
          {"slug", f.slug},
          {"title", f.title},
          {"says", f.says},
          {"where", where},
          {"recovers", json_number(f.recovers)},
          {"alone", json_number(f.alone)},
          {"interval", interval_json(f.interval)},
          {"share_of_gap", json_number(f.share_of_gap)},
          {"injects", f.injects ? json_number(*f.injects) : Json(nullptr)},
          {"proved", f.proved},
          {"fix", {{"kind", f.fix.kind}, {"text", f.fix.text}, {"edits", edits}}}};
}

Json layers_json(const std::vector<Layer>& layers) {
  Json out = Json::array();
  for (const Layer& l : layers) {
    out.push_back({{"op", l.op},
                   {"name", l.name},
                   {"kind", l.kind},
                   {"local_error", json_number(l.local_error)},
                   {"accumulated_error", json_number(l.accumulated_error)},
                   {"amplification", json_number(l.amplification)},
                   {"alone", json_number(l.alone)},
                   {"without", json_number(l.without)},
                   {"share", json_number(l.share)},
                   {"priced", l.priced},
                   {"aligned", l.aligned}});
  }
  return out;
}

}  // namespace

Json explain_json(const Explanation& e, const std::string& version, const Json& dialect) {
  Json ladder = Json::array(), findings = Json::array();
  for (const Rung& r : e.ladder)
    ladder.push_back({{"rung", r.rung},
                      {"what", r.what},
                      {"value", json_number(r.value)},
                      {"step", json_number(r.step)}});
  for (const Finding& f : e.findings) findings.push_back(finding_json(f));
  Json j = {
      {"schema", "litegap.explain/1"},
      {"litegap", version},
      {"dialect", dialect},
      {"models",
       {{"float", model_json(*e.fl, e.float_technique)},
        {"quant", model_json(*e.qt, e.quant_technique)}}},
      {"data",
       {{"path", e.data_path}, {"samples", e.samples}, {"inputs", e.inputs}, {"labels", e.labels}}},
      {"metric",
       {{"name", e.metric.name},
        {"higher_is_better", e.metric.higher_is_better},
        {"unit", e.metric.unit()}}},
      {"gap",
       {{"float", json_number(e.gap.fl)},
        {"quant", json_number(e.gap.qt)},
        {"claimed", e.claimed ? json_number(*e.claimed) : Json(nullptr)},
        {"reference", json_number(e.gap.reference)},
        {"total", json_number(e.gap.total)},
        {"interval", interval_json(e.gap.interval)},
        {"p_value", json_number(e.gap.p_value)},
        {"verdict", e.gap.verdict}}},
      {"ladder", ladder},
      {"layers", layers_json(e.layers)},
      {"findings", findings},
      {"interaction", json_number(e.interaction)},
      {"unexplained", json_number(e.unexplained)},
      {"fixed", nullptr},
      {"coverage", {{"tensors", e.tensors}, {"aligned", e.aligned}, {"unaligned", e.unaligned}}},
      {"decisions", to_json(e.decisions)},
      {"mistrusted", e.mistrusted},
      {"cost",
       {{"seconds", json_number(e.cost.seconds)},
        {"passes", json_number(e.cost.passes)},
        {"peak_bytes", e.peak_bytes}}}};
  if (e.fixed) {
    j["fixed"] = {{"path", e.fixed->written ? Json(e.fixed->path) : Json(nullptr)},
                  {"value", json_number(e.fixed->value)},
                  {"delta", json_number(e.fixed->delta)},
                  {"bytes", e.fixed->bytes}};
  }
  return j;
}

}  // namespace litegap
