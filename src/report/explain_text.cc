#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "report/explain.h"

namespace litegap {
namespace {

double number(const Json& j) { return j.is_number() ? j.get<double>() : std::nan(""); }

struct Printer {
  bool color;
  bool fraction;
  std::string out;

  std::string value(const Json& j) const {
    const double v = number(j);
    if (!std::isfinite(v)) return j.is_string() ? j.get<std::string>() : "?";
    return fraction ? fmt::format("{:.2f} %", 100 * v) : fmt::format("{:.5g}", v);
  }
  std::string points(const Json& j) const {
    const double v = number(j);
    if (!std::isfinite(v)) return j.is_string() ? j.get<std::string>() : "?";
    return fraction ? fmt::format("{:+.2f} points", 100 * v) : fmt::format("{:+.4g}", v);
  }
  std::string paint(const char* code, const std::string& text) const {
    return color ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
  }
  template <class... A>
  void line(fmt::format_string<A...> f, A&&... a) {
    out += fmt::format(f, std::forward<A>(a)...) + "\n";
  }
};

std::string verdict_text(const std::string& v) {
  if (v == "none") return "no evidence of loss";
  if (v == "normal") return "a normal loss for this technique";
  if (v == "loss") return "a real loss";
  return "undecided: more samples are needed";
}

void print_head(Printer& p, const Json& r) {
  const Json& g = r["gap"];
  p.line("{}  {} ({})", p.paint("1", "float    "), r["models"]["float"]["path"].get<std::string>(),
         r["models"]["float"]["technique"].get<std::string>());
  p.line("{}  {} ({}, {} weights)", p.paint("1", "quantized"),
         r["models"]["quant"]["path"].get<std::string>(),
         r["models"]["quant"]["technique"].get<std::string>(),
         r["models"]["quant"]["weights"].get<std::string>());
  p.line("{}  {}, {} samples", p.paint("1", "data     "), r["data"]["path"].get<std::string>(),
         r["data"]["samples"].get<std::size_t>());
  p.line("");
  p.line("{}: float {}, quantized {}", r["metric"]["name"].get<std::string>(), p.value(g["float"]),
         p.value(g["quant"]));
  p.line("Gap {} (95 % interval {} to {}, p = {:.2g}): {}", p.paint("1", p.points(g["total"])),
         p.points(g["interval"][0]), p.points(g["interval"][1]), number(g["p_value"]),
         verdict_text(g["verdict"].get<std::string>()));
  if (!g["claimed"].is_null()) p.line("Claimed by the user: {}", p.value(g["claimed"]));
}

void print_findings(Printer& p, const Json& r) {
  p.line("");
  if (r["findings"].empty()) {
    const std::string verdict = r["gap"]["verdict"];
    p.line("{}", verdict == "loss"
                     ? "No cause known to this version was convicted; the whole gap is unexplained."
                     : "Nothing to explain.");
  }
  int i = 0;
  for (const Json& f : r["findings"]) {
    p.line("{}. {} [{} {}]", ++i, p.paint("1;31", f["title"].get<std::string>()),
           f["cause"].get<std::string>(), f["slug"].get<std::string>());
    p.line("   {}", f["says"].get<std::string>());
    if (f["injects"].is_null()) {
      p.line("   proved by equality or interval; accounts for {}", p.points(f["recovers"]));
    } else {
      p.line(
          "   recovers {} ({:.0f} % of the gap), {} by itself; put back into the healed twin it "
          "costs {}: {}",
          p.points(f["recovers"]), 100 * number(f["share_of_gap"]), p.points(f["alone"]),
          p.points(f["injects"]),
          f["proved"].get<bool>() ? "proved both ways" : "healing proved, injection not");
    }
    p.line("   {} {}", p.paint("1;32", "fix:"), f["fix"]["text"].get<std::string>());
    std::string where;
    std::size_t shown = 0;
    for (const Json& w : f["where"]) {
      if (shown++ < 3) where += (where.empty() ? "" : "; ") + w["name"].get<std::string>();
    }
    if (!where.empty())
      p.line("   where: {}{}", where, shown > 3 ? fmt::format(" and {} more", shown - 3) : "");
  }
}

void print_ladder(Printer& p, const Json& r) {
  p.line("");
  p.line("{}", p.paint("1", "Ladder"));
  for (const Json& s : r["ladder"])
    p.line("  {:<3} {:<58} {:>10}   {}", s["rung"].get<std::string>(), s["what"].get<std::string>(),
           p.value(s["value"]), p.points(s["step"]));
}

void print_layers(Printer& p, const Json& r) {
  std::vector<const Json*> layers;
  for (const Json& l : r["layers"]) layers.push_back(&l);
  std::stable_sort(layers.begin(), layers.end(), [](const Json* a, const Json* b) {
    return number((*a)["share"]) > number((*b)["share"]);
  });
  p.line("");
  const auto priced = std::count_if(layers.begin(), layers.end(),
                                    [](const Json* l) { return (*l)["priced"].get<bool>(); });
  p.line("{}{}", p.paint("1", "Operators by their price (first 8)"),
         static_cast<std::size_t>(priced) == layers.size()
             ? ""
             : fmt::format("; of {} the {} with the largest error of their own are priced",
                           layers.size(), priced));
  p.line("  {:<4} {:<26} {:>10} {:>11} {:>9} {:>14} {:>14} {:>6}", "#", "kind", "own error",
         "accumulated", "amplifies", "alone costs", "without gains", "share");
  for (std::size_t i = 0; i < std::min<std::size_t>(8, layers.size()); ++i) {
    const Json& l = *layers[i];
    p.line("  {:<4} {:<26} {:>10.3g} {:>11.3g} {:>9.2f} {:>14} {:>14} {:>4.0f} %",
           l["op"].get<int>(), l["kind"].get<std::string>(), number(l["local_error"]),
           number(l["accumulated_error"]), number(l["amplification"]), p.points(l["alone"]),
           p.points(l["without"]), 100 * number(l["share"]));
  }
}

void print_tail(Printer& p, const Json& r) {
  p.line("");
  p.line("Interaction of the causes {}, unexplained {}", p.points(r["interaction"]),
         p.points(r["unexplained"]));
  if (!r["fixed"].is_null()) {
    const Json& f = r["fixed"];
    p.line("{} {}: {} ({} against the reference), {} bytes", p.paint("1;32", "healed file"),
           f["path"].is_null() ? "(not written; use --fix PATH)" : f["path"].get<std::string>(),
           p.value(f["value"]), p.points(f["delta"]), f["bytes"].get<std::uint64_t>());
  }
  const Json& c = r["coverage"];
  p.line("{} of {} tensors aligned with the float model{}", c["aligned"].get<std::size_t>(),
         c["tensors"].get<std::size_t>(),
         c["unaligned"].empty() ? "" : "; the rest is listed in the JSON");
  p.line("Cost: {:.1f} s, {:.1f} passes over the data, peak memory {:.0f} MB",
         number(r["cost"]["seconds"]), number(r["cost"]["passes"]),
         r["cost"]["peak_bytes"].get<double>() / 1e6);
}

}  // namespace

std::string explain_text(const Json& report, bool color) {
  Printer p{color, report["metric"]["unit"] == "fraction", {}};
  print_head(p, report);
  print_findings(p, report);
  print_ladder(p, report);
  print_layers(p, report);
  print_tail(p, report);
  return p.out;
}

}  // namespace litegap
