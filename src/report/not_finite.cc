#include "report/not_finite.h"

#include "base/json.h"

namespace litegap {

Json not_finite_json(const Graph& graph, const std::vector<NotFinite>& found) {
  Json list = Json::array();
  for (const NotFinite& n : found) {
    const auto t = static_cast<std::size_t>(n.tensor);
    Json one{
        {"op", n.op < 0 ? Json(nullptr) : Json(n.op)},
        {"kind", n.op < 0 ? Json(nullptr) : Json(graph.ops[static_cast<std::size_t>(n.op)].name())},
        {"tensor", n.tensor},
        {"name", graph.tensors[t].name},
        {"elements", n.elements},
        {"nan", n.nan},
        {"infinite", n.infinite}};
    list.push_back(std::move(one));
  }
  return list;
}

std::string not_finite_text(const Json& list) {
  constexpr std::size_t kShown = 6;
  std::string out;
  for (std::size_t i = 0; i < list.size() && i < kShown; ++i) {
    const Json& n = list[i];
    const std::string at = n["op"].is_null() ? ""
                                             : fmt::format("#{} {}, ", n["op"].get<int>(),
                                                           n["kind"].get<std::string>());
    out += fmt::format("not finite: {}tensor {} ({}): {} NaN, {} infinite of {}\n", at,
                       n["tensor"].get<int>(), n["name"].get<std::string>(),
                       n["nan"].get<std::size_t>(), n["infinite"].get<std::size_t>(),
                       n["elements"].get<std::size_t>());
  }
  if (list.size() > kShown)
    out += fmt::format("not finite: {} more tensors\n", list.size() - kShown);
  return out;
}

}  // namespace litegap
