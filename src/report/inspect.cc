#include "report/inspect.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <set>

#include "base/json.h"
#include "diagnose/faults.h"
#include "diagnose/technique.h"
#include "diagnose/weights.h"
#include "report/not_finite.h"
#include "report/table.h"

namespace litegap {
namespace {

// ---- inputs and outputs
// ----------------------------------------------------------------------------

struct Codes {
  std::int64_t low, high;
};

bool code_range(DType t, Codes& c) {
  switch (t) {
    case DType::kInt8:
      c = {-128, 127};
      return true;
    case DType::kUint8:
      c = {0, 255};
      return true;
    case DType::kInt16:
      c = {-32768, 32767};
      return true;
    case DType::kInt32:
      c = {-2147483648LL, 2147483647LL};
      return true;
    case DType::kInt4:
      c = {-8, 7};
      return true;
    default:
      return false;
  }
}

std::string signed_term(std::int64_t z) {
  if (z == 0) return "";
  return z > 0 ? fmt::format(" + {}", z) : fmt::format(" - {}", -z);
}

Json io_json(const Model& model, int t, const std::string& name, bool input) {
  const Tensor& tensor = model.main().tensors[static_cast<std::size_t>(t)];
  Json io{{"name", name}, {"tensor", t}, {"shape", tensor.shape}};
  if (!tensor.shape_signature.empty() && tensor.shape_signature != tensor.shape)
    io["shape_signature"] = tensor.shape_signature;
  io["dtype"] = dtype_name(tensor.dtype);
  const bool quantized = tensor.quant.scale.size() == 1;
  io["scale"] = quantized ? json_number(tensor.quant.scale[0]) : Json();
  io["zero_point"] = quantized ? Json(tensor.quant.zero_point[0]) : Json();
  const std::string codes = to_codes_formula(tensor), reals = to_reals_formula(tensor);
  io["formula"] = codes.empty() ? Json() : Json(input ? codes : reals);
  io["inverse"] = codes.empty() ? Json() : Json(input ? reals : codes);
  Codes c{};
  if (!codes.empty() && code_range(tensor.dtype, c)) {
    io["range"] = {json_number(tensor.quant.real(c.low)), json_number(tensor.quant.real(c.high))};
  }
  return io;
}

// ---- size
// ------------------------------------------------------------------------------------------

enum Part { kWeights, kBiases, kOther, kParts };

void mark_parts(const Graph& g, std::vector<Part>& part) {
  for (const Weight& w : weights_of(g, producers(g)))
    part[static_cast<std::size_t>(w.tensor)] = kWeights;
  for (const Op& op : g.ops) {
    const bool products = op.code == OpCode::kConv2d || op.code == OpCode::kDepthwiseConv2d ||
                          op.code == OpCode::kFullyConnected;
    if (products && op.input(2) >= 0) part[static_cast<std::size_t>(op.input(2))] = kBiases;
    if (op.code == OpCode::kTransposeConv && op.input(3) >= 0)
      part[static_cast<std::size_t>(op.input(3))] = kBiases;
    if (op.code == OpCode::kUnidirectionalSequenceLstm) {
      for (std::size_t i = 12; i <= 15; ++i) {
        if (op.input(i) >= 0) part[static_cast<std::size_t>(op.input(i))] = kBiases;
      }
    }
  }
  // float16 files keep biases behind DEQUANTIZE, like all constants.
  for (const Op& op : g.ops) {
    if (op.code != OpCode::kDequantize || op.input(0) < 0 || op.outputs.empty() ||
        op.outputs[0] < 0)
      continue;
    if (part[static_cast<std::size_t>(op.outputs[0])] == kBiases)
      part[static_cast<std::size_t>(op.input(0))] = kBiases;
  }
}

// Parts add up to the file: what is left over is tables, names and padding.
Json size_json(const Model& model) {
  std::array<std::uint64_t, kParts> bytes{};
  std::set<const std::byte*> seen;
  for (const Graph& g : model.graphs) {
    std::vector<Part> part(g.tensors.size(), kOther);
    mark_parts(g, part);
    for (std::size_t t = 0; t < g.tensors.size(); ++t) {
      const auto& constant = g.tensors[t].constant;
      if (constant && !constant->empty() && seen.insert(constant->data()).second)
        bytes[part[t]] += constant->byte_size();
    }
  }
  std::uint64_t metadata = 0;
  for (const MetadataEntry& m : model.metadata) metadata += m.bytes.byte_size();
  const std::uint64_t known =
      bytes[kWeights] + bytes[kBiases] + bytes[kOther] + metadata + model.appended.byte_size();
  return {{"weights", bytes[kWeights]},
          {"biases", bytes[kBiases]},
          {"other_constants", bytes[kOther]},
          {"metadata", metadata},
          {"archive", model.appended.byte_size()},
          {"structure", model.file_bytes > known ? model.file_bytes - known : 0}};
}

// ---- operators
// -------------------------------------------------------------------------------------

Json operators_json(const Model& model) {
  std::map<std::string, int> count;
  std::vector<std::string> order;
  for (const Graph& g : model.graphs) {
    for (const Op& op : g.ops) {
      if (count[op.name()]++ == 0) order.push_back(op.name());
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](const auto& a, const auto& b) { return count[a] > count[b]; });
  Json out = Json::array();
  for (const std::string& kind : order) out.push_back({{"kind", kind}, {"count", count[kind]}});
  return out;
}

Json place_json(const Graph& g, int op, int tensor) {
  Json place{{"graph", 0}};
  if (op >= 0) {
    const Op& o = g.ops[static_cast<std::size_t>(op)];
    place["op"] = op;
    place["kind"] = o.name();
    if (!o.outputs.empty() && o.outputs[0] >= 0)
      place["name"] = g.tensors[static_cast<std::size_t>(o.outputs[0])].name;
  } else {
    place["tensor"] = tensor;
    place["name"] = g.tensors[static_cast<std::size_t>(tensor)].name;
  }
  return place;
}

Json faults_json(const Model& model) {
  Json out = Json::array();
  for (const Fault& f : static_faults(model)) {
    Json where = Json::array();
    for (const int o : f.ops) where.push_back(place_json(model.main(), o, -1));
    for (const int t : f.tensors) where.push_back(place_json(model.main(), -1, t));
    out.push_back({{"cause", f.cause},
                   {"slug", f.slug},
                   {"where", where},
                   {"says", f.says},
                   {"severity", f.severity}});
  }
  return out;
}

Json tensors_json(const Model& model) {
  std::map<std::string, int> constants, activations;
  for (const Graph& g : model.graphs) {
    for (const Tensor& t : g.tensors)
      ++(t.constant || t.sparse ? constants : activations)[dtype_name(t.dtype)];
  }
  return {{"constants", constants}, {"activations", activations}};
}

// Names come from strangers and from any tool: bytes that are not UTF-8 become "?".
std::string clean(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const std::size_t n = c < 0x80                ? 1
                          : c >= 0xC2 && c < 0xE0 ? 2
                          : c >= 0xE0 && c < 0xF0 ? 3
                          : c >= 0xF0 && c < 0xF5 ? 4
                                                  : 0;
    bool good = n > 0 && i + n <= text.size() && (c >= 0x20 || c == '\t');
    for (std::size_t k = 1; good && k < n; ++k)
      good = (static_cast<unsigned char>(text[i + k]) & 0xC0) == 0x80;
    out += good ? text.substr(i, n) : "?";
    i += good ? n : 1;
  }
  return out;
}

void clean_strings(Json& value) {
  if (value.is_string()) {
    value = clean(value.get<std::string>());
  } else if (value.is_structured()) {
    for (auto& child : value) clean_strings(child);
  }
}

}  // namespace

std::string to_codes_formula(const Tensor& tensor) {
  Codes c{};
  if (tensor.quant.scale.size() != 1 || !code_range(tensor.dtype, c)) return "";
  return fmt::format("code = round(x / {}){}, clamped to {}..{}", tensor.quant.scale[0],
                     signed_term(tensor.quant.zero_point[0]), c.low, c.high);
}

std::string to_reals_formula(const Tensor& tensor) {
  Codes c{};
  if (tensor.quant.scale.size() != 1 || !code_range(tensor.dtype, c)) return "";
  const std::int64_t z = tensor.quant.zero_point[0];
  if (z == 0) return fmt::format("x = {} * code", tensor.quant.scale[0]);
  return fmt::format(
      "x = {} * (code{})", tensor.quant.scale[0],
      z == std::numeric_limits<std::int64_t>::min() ? " - " + std::to_string(z) : signed_term(-z));
}

Json inspect_json(const Model& model) {
  const FileTechnique technique = identify(model);
  const Graph& g = model.main();
  Json inputs = Json::array(), outputs = Json::array(), fallback = Json::array(),
       signatures = Json::array(), metadata = Json::array();
  for (std::size_t i = 0; i < g.inputs.size(); ++i)
    inputs.push_back(io_json(model, g.inputs[i], input_name(model, i), true));
  for (std::size_t i = 0; i < g.outputs.size(); ++i)
    outputs.push_back(io_json(model, g.outputs[i], output_name(model, i), false));
  for (const int o : technique.float_fallback) fallback.push_back(place_json(g, o, -1));
  for (const Signature& s : model.signatures) signatures.push_back(s.key);
  for (const MetadataEntry& m : model.metadata)
    metadata.push_back({{"name", m.name}, {"bytes", m.bytes.byte_size()}});
  Json report{{"schema", "litegap.inspect/1"},
              {"path", model.path},
              {"technique", technique.name},
              {"weights", technique.weights},
              {"float_fallback", fallback},
              {"inputs", inputs},
              {"outputs", outputs},
              {"bytes", model.file_bytes},
              {"size", size_json(model)},
              {"operators", operators_json(model)},
              {"tensors", tensors_json(model)},
              {"graphs", model.graphs.size()},
              {"signatures", signatures},
              {"metadata", metadata},
              {"description", model.description},
              {"notes", technique.notes},
              {"not_finite", not_finite_json(g, not_finite_constants(g))},
              {"faults", faults_json(model)}};
  clean_strings(report);
  return report;
}

// ---- text
// ------------------------------------------------------------------------------------------

namespace {

std::string shape_of(const Json& io) {
  return shape_text(
      (io.contains("shape_signature") ? io["shape_signature"] : io["shape"]).get<Shape>());
}

void io_text(std::string& out, const Json& ios, const char* title, bool color) {
  for (const Json& io : ios) {
    out += fmt::format("{}  {} {} {}\n", paint(color, "1", fmt::format("{:<9}", title)),
                       io["name"].get<std::string>(), io["dtype"].get<std::string>(), shape_of(io));
    if (!io["formula"].is_null())
      out += fmt::format("           {}\n           {}\n", io["formula"].get<std::string>(),
                         io["inverse"].get<std::string>());
  }
}

std::string size_text(const Json& size) {
  const std::array<std::pair<const char*, const char*>, 6> parts = {
      {{"weights", "weights"},
       {"biases", "biases"},
       {"other_constants", "other constants"},
       {"metadata", "metadata"},
       {"archive", "archive of files"},
       {"structure", "structure"}}};
  std::string out;
  for (const auto& [key, name] : parts) {
    const double bytes = size[key].get<double>();
    if (bytes > 0) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name, bytes_text(bytes));
  }
  return out;
}

std::string operators_text(const Json& operators) {
  std::string out;
  for (const Json& o : operators) {
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", o["count"].get<int>(),
                       o["kind"].get<std::string>());
  }
  return out.empty() ? "none" : out;
}

// "#3 ADD, #4 MUL (…)": the first few.
std::string places_text(const Json& places) {
  constexpr std::size_t kShown = 6;
  std::string out;
  for (std::size_t i = 0; i < places.size() && i < kShown; ++i) {
    out += fmt::format("{}#{} {}", i == 0 ? "" : ", ", places[i]["op"].get<int>(),
                       places[i]["kind"].get<std::string>());
  }
  return places.size() > kShown ? out + fmt::format(" and {} more", places.size() - kShown) : out;
}

}  // namespace

std::string inspect_text(const Json& r, bool color) {
  std::string out;
  const auto line = [&](const char* title, const std::string& text) {
    out += fmt::format("{}  {}\n", paint(color, "1", fmt::format("{:<9}", title)), text);
  };
  line("file",
       fmt::format("{} ({})", r["path"].get<std::string>(), bytes_text(r["bytes"].get<double>())));
  line("technique", fmt::format("{}, {} weights", r["technique"].get<std::string>(),
                                r["weights"].get<std::string>()));
  io_text(out, r["inputs"], "input", color);
  io_text(out, r["outputs"], "output", color);
  line("size", size_text(r["size"]));
  line("operators",
       operators_text(r["operators"]) + (r["graphs"].get<int>() > 1
                                             ? fmt::format(", in {} graphs", r["graphs"].get<int>())
                                             : ""));
  if (!r["float_fallback"].empty()) line("in float", places_text(r["float_fallback"]));
  for (const Json& note : r["notes"]) line("note", note.get<std::string>());
  out += not_finite_text(r["not_finite"]);
  if (r["faults"].empty()) line("faults", "none that show without data");
  for (const Json& f : r["faults"]) {
    const bool grave = f["severity"].get<double>() >= 0.8;
    out += fmt::format("{}  {} [{} {}]\n", paint(color, grave ? "1;31" : "1;33", "fault    "),
                       f["says"].get<std::string>(), f["cause"].get<std::string>(),
                       f["slug"].get<std::string>());
  }
  return out;
}

}  // namespace litegap
