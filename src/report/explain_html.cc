#include <cmath>

#include "base/json.h"
#include "report/explain.h"

namespace litegap {
namespace {

std::string escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

double number(const Json& j) { return j.is_number() ? j.get<double>() : std::nan(""); }

std::string shown(const Json& j, bool fraction, bool sign) {
  const double v = number(j);
  if (!std::isfinite(v)) return j.is_string() ? escape(j.get<std::string>()) : "?";
  if (sign) return fraction ? fmt::format("{:+.2f} points", 100 * v) : fmt::format("{:+.4g}", v);
  return fraction ? fmt::format("{:.2f} %", 100 * v) : fmt::format("{:.5g}", v);
}

constexpr const char* kStyle =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 "
    "1rem;color:#222;background:#fff}"
    "h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;width:"
    "100%}"
    "th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid "
    "#ddd;font-variant-numeric:tabular-nums}"
    "td.n,th.n{text-align:right}.finding{border-left:4px solid #b3261e;padding:.2rem "
    "1rem;margin:1rem 0;background:#faf5f4}"
    ".fix{color:#14532d}.quiet{color:#666}.bar{display:inline-block;height:.7rem;background:#"
    "3b6ea5;vertical-align:middle}"
    "@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}.finding{background:#"
    "241a19}th,td{border-color:#333}.fix{color:#86d9a4}.quiet{color:#999}}";

void findings(std::string& out, const Json& r, bool fraction) {
  out += "<h2>Why</h2>";
  if (r["findings"].empty()) out += "<p>Nothing to explain, or no known cause was convicted.</p>";
  for (const Json& f : r["findings"]) {
    out +=
        fmt::format("<div class=finding><h3>{} <span class=quiet>{} {}</span></h3><p>{}</p>",
                    escape(f["title"]), escape(f["cause"]), escape(f["slug"]), escape(f["says"]));
    out +=
        fmt::format("<p>Recovers <b>{}</b>, by itself {}; injected into the healed twin {}. {}</p>",
                    shown(f["recovers"], fraction, true), shown(f["alone"], fraction, true),
                    f["injects"].is_null() ? "not applicable (proved by equality or interval)"
                                           : "it costs " + shown(f["injects"], fraction, true),
                    f["proved"].get<bool>() ? "Proved." : "Not fully proved.");
    out += fmt::format("<p class=fix><b>Fix</b> {}</p></div>", escape(f["fix"]["text"]));
  }
}

void tables(std::string& out, const Json& r, bool fraction) {
  out +=
      "<h2>Ladder</h2><table><tr><th>rung<th>what is computed<th class=n>value<th "
      "class=n>step</tr>";
  for (const Json& s : r["ladder"])
    out += fmt::format("<tr><td>{}<td>{}<td class=n>{}<td class=n>{}</tr>", escape(s["rung"]),
                       escape(s["what"]), shown(s["value"], fraction, false),
                       shown(s["step"], fraction, true));
  out +=
      "</table><h2>Operators</h2><table><tr><th class=n>#<th>kind<th>name<th class=n>own error<th "
      "class=n>accumulated<th class=n>amplifies<th class=n>alone<th class=n>without<th>share</tr>";
  for (const Json& l : r["layers"]) {
    const double share = number(l["share"]);
    out += fmt::format(
        "<tr><td class=n>{}<td>{}<td>{}<td class=n>{:.3g}<td class=n>{:.3g}<td class=n>{:.2f}<td "
        "class=n>{}<td class=n>{}<td><span class=bar style=\"width:{:.1f}rem\"></span> {:.0f} "
        "%</tr>",
        l["op"].get<int>(), escape(l["kind"]), escape(l["name"].get<std::string>().substr(0, 60)),
        number(l["local_error"]), number(l["accumulated_error"]), number(l["amplification"]),
        shown(l["alone"], fraction, true), shown(l["without"], fraction, true),
        5 * (std::isfinite(share) ? share : 0), 100 * share);
  }
  out += "</table>";
}

}  // namespace

std::string explain_html(const Json& r) {
  const bool fraction = r["metric"]["unit"] == "fraction";
  const Json& g = r["gap"];
  std::string out =
      "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
      "content=\"width=device-width,initial-scale=1\"><title>litegap: why two models "
      "differ</title><style>";
  out += kStyle;
  out += "</style><h1>Why the models differ</h1>";
  out +=
      fmt::format("<p>{} ({}) against {} ({}), {} samples of {}.</p>",
                  escape(r["models"]["quant"]["path"]), escape(r["models"]["quant"]["technique"]),
                  escape(r["models"]["float"]["path"]), escape(r["models"]["float"]["technique"]),
                  r["data"]["samples"].get<std::size_t>(), escape(r["data"]["path"]));
  out += fmt::format(
      "<p><b>{}</b>: float {}, quantized {}, gap <b>{}</b> (95 % interval {} to {}), verdict "
      "<b>{}</b>.</p>",
      escape(r["metric"]["name"]), shown(g["float"], fraction, false),
      shown(g["quant"], fraction, false), shown(g["total"], fraction, true),
      shown(g["interval"][0], fraction, true), shown(g["interval"][1], fraction, true),
      escape(g["verdict"]));
  findings(out, r, fraction);
  out +=
      fmt::format("<p>Interaction {}, unexplained {}.</p>", shown(r["interaction"], fraction, true),
                  shown(r["unexplained"], fraction, true));
  if (!r["fixed"].is_null())
    out += fmt::format(
        "<p class=fix><b>Healed file</b>: {} ({} against the reference), {} bytes.</p>",
        shown(r["fixed"]["value"], fraction, false), shown(r["fixed"]["delta"], fraction, true),
        r["fixed"]["bytes"].get<std::uint64_t>());
  tables(out, r, fraction);
  out += fmt::format(
      "<p class=quiet>Computed in {:.1f} s with {:.1f} passes over the data.</p></html>\n",
      number(r["cost"]["seconds"]), number(r["cost"]["passes"]));
  return out;
}

}  // namespace litegap
