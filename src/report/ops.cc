#include "report/ops.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/json.h"
#include "kernels/kernel.h"
#include "report/table.h"
#include "run/walk.h"

namespace litegap {
namespace {

constexpr int kNewest = 209;  // the last code of the file format (STABLEHLO_CASE)

// Names of the file format for which ai-edge-litert 2.3.0 has no kernel: a file with one of them is
// refused with "Didn't find op for builtin opcode".
const std::set<std::string>& without_kernel() {
  static const std::set<std::string> names = {"CONCAT_EMBEDDINGS",
                                              "CALL",
                                              "DELEGATE",
                                              "PLACEHOLDER_FOR_GREATER_OP_CODES",
                                              "STABLEHLO_LOGISTIC",
                                              "STABLEHLO_DIVIDE",
                                              "STABLEHLO_RESHAPE",
                                              "STABLEHLO_CLAMP",
                                              "STABLEHLO_CONCATENATE",
                                              "STABLEHLO_BROADCAST_IN_DIM",
                                              "STABLEHLO_CONVOLUTION",
                                              "STABLEHLO_SLICE",
                                              "STABLEHLO_CUSTOM_CALL",
                                              "STABLEHLO_REDUCE",
                                              "STABLEHLO_ABS",
                                              "STABLEHLO_COSINE",
                                              "STABLEHLO_EXPONENTIAL",
                                              "STABLEHLO_FLOOR",
                                              "STABLEHLO_LOG",
                                              "STABLEHLO_NEGATE",
                                              "STABLEHLO_OR",
                                              "STABLEHLO_POWER",
                                              "STABLEHLO_REMAINDER",
                                              "STABLEHLO_RSQRT",
                                              "STABLEHLO_SELECT",
                                              "STABLEHLO_SUBTRACT",
                                              "STABLEHLO_TANH",
                                              "STABLEHLO_COMPARE",
                                              "STABLEHLO_CONVERT",
                                              "STABLEHLO_DYNAMIC_SLICE",
                                              "STABLEHLO_DYNAMIC_UPDATE_SLICE",
                                              "STABLEHLO_IOTA",
                                              "STABLEHLO_DOT_GENERAL",
                                              "STABLEHLO_SORT",
                                              "STABLEHLO_WHILE",
                                              "STABLEHLO_TRANSPOSE",
                                              "STABLEHLO_CBRT"};
  return names;
}

}  // namespace

Json ops_json(const std::string& version, const std::string& runtime) {
  std::map<std::string, std::string> types;  // by name
  Json custom = Json::array();
  for (const KernelRow& row : kernel_table()) {
    if (row.code == OpCode::kCustom) {
      custom.push_back(row.custom);
    } else {
      types[op_name(row.code)] = row.types;
    }
  }
  Json has = Json::array(), lacks = Json::array();
  for (int code = 0; code <= kNewest; ++code) {
    const std::string name = op_name(static_cast<OpCode>(code));
    if (name.starts_with("operator ") || without_kernel().contains(name)) continue;
    if (static_cast<OpCode>(code) == OpCode::kCustom) continue;
    const bool control = is_control(static_cast<OpCode>(code));
    const auto known = types.find(name);
    if (known == types.end() && !control) {
      lacks.push_back(name);
    } else {
      has.push_back({{"name", name}, {"types", control ? "control flow" : known->second}});
    }
  }
  return Json{{"schema", "litegap.ops/1"}, {"litegap", version}, {"runtime", runtime},
              {"computed", has},           {"custom", custom},   {"missing", lacks}};
}

std::string ops_text(const Json& value, bool color) {
  TextTable table({"operator", "types of its first operand"}, "ll");
  for (const Json& op : value["computed"]) table.row({op["name"], op["types"]});
  for (const Json& name : value["custom"]) table.row({"CUSTOM " + name.get<std::string>(), ""});
  std::string text = table.text(color);
  text += fmt::format("{} operators", value["computed"].size() + value["custom"].size());
  if (value["missing"].empty()) {
    return text + fmt::format("; {} has no other\n", value["runtime"].get<std::string>());
  }
  std::string names;
  for (const Json& name : value["missing"]) {
    names += (names.empty() ? "" : ", ") + name.get<std::string>();
  }
  return text + fmt::format("; {} has also: {}\n", value["runtime"].get<std::string>(), names);
}

}  // namespace litegap
