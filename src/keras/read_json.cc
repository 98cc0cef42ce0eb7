// An architecture in JSON -> layers and calls.
//
// Three ways to say that layer "d" takes output 0 of the first call of "x":
//   Keras 3    "inbound_nodes": [{"args": [{"class_name": "__keras_tensor__",
//                                 "config": {"keras_history": ["x", 0, 0]}}], "kwargs": {}}]
//   tf_keras   "inbound_nodes": [[["x", 0, 0, {}]]]
//   Sequential by its place in the list
//
// Everything here is text from a stranger: every type is looked at before it is used.
#include <algorithm>
#include <map>
#include <set>

#include "keras/layers.h"

namespace litegap {
namespace {

constexpr int kDeepestText = 512;  // brackets
constexpr int kDeepestModel = 32;  // models in models
constexpr std::size_t kMostLayers = 100000;

struct Around {  // what a layer inherits
  std::string path, file;
  bool trainable = true;
  int depth = 0;
};

const Json& member(const Json& json, const char* key, const std::string& where) {
  if (!json.is_object() || !json.contains(key)) fail("{}: \"{}\" is missing", where, key);
  return json[key];
}

std::string text(const Json& json, const char* key, const std::string& absent = "") {
  if (!json.is_object()) return absent;
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : absent;
}

bool is_model(const std::string& class_name, const Json& config) {
  return class_name == "Sequential" || class_name == "Functional" || class_name == "Model" ||
         (config.is_object() && config.contains("layers") && config["layers"].is_array() &&
          config.contains("output_layers"));
}

KerasLayer parse_layer(const Json& json, const Around& around);

// ---- calls --------------------------------------------------------------------------------------
class GraphReader {
 public:
  GraphReader(const Json& config, const Around& around) : config_(config), around_(around) {}

  std::shared_ptr<const KerasGraph> read(bool sequential) {
    auto graph = std::make_shared<KerasGraph>();
    graph->sequential = sequential;
    graph_ = graph.get();
    // Keras 1 wrote a Sequential's layers without the object around them.
    const Json& layers = config_.is_array() ? config_ : member(config_, "layers", around_.path);
    if (!layers.is_array()) fail("{}: {}: \"layers\" is not a list", around_.file, around_.path);
    if (layers.size() > kMostLayers) fail("{}: {} layers", around_.file, layers.size());
    for (const Json& l : layers) {
      graph->layers.push_back(parse_layer(l, around_));
      const int index = static_cast<int>(graph->layers.size()) - 1;
      if (!by_name_.emplace(graph->layers.back().name, index).second) {
        fail("{}: two layers named {}", around_.file, graph->layers.back().path);
      }
    }
    if (sequential) {
      chain();
    } else {
      connect(layers);
    }
    return graph;
  }

 private:
  // ---- Sequential
  void chain() {
    auto& layers = graph_->layers;
    if (layers.empty()) fail("{}: {} has no layers", around_.file, around_.path);
    if (layers[0].class_name != "InputLayer") layers.insert(layers.begin(), first_input());
    KerasRef last{0, 0, 0};
    graph_->inputs = {last};
    for (std::size_t i = 1; i < layers.size(); ++i) {
      KerasCall call;
      call.layer = static_cast<int>(i);
      call.args.push_back(tensor(last));
      graph_->calls.push_back(std::move(call));
      last = {static_cast<int>(i), 0, 0};
    }
    graph_->outputs = {last};
  }

  // The input that the first layer's batch_input_shape or the model's build shape tells of.
  KerasLayer first_input() {
    KerasLayer input;
    input.class_name = "InputLayer";
    const KerasLayer& first = graph_->layers[0];
    input.name = by_name_.contains(first.name + "_input") ? "input" : first.name + "_input";
    input.path = around_.path.empty() ? input.name : around_.path + "/" + input.name;
    input.file = around_.file;
    input.config = Json::object();
    const Json* from = &first.config;
    for (const KerasLayer* l = &first; from != nullptr; l = &l->graph->layers[0]) {
      from = &l->config;
      for (const char* key : {"batch_input_shape", "batch_shape"}) {
        if (from->is_object() && from->contains(key) && (*from)[key].is_array()) {
          input.config["batch_shape"] = (*from)[key];
          if (l == &first && from->contains("dtype") && first.class_name == "Embedding") {
            input.config["dtype"] = "int32";
          }
          return input;
        }
      }
      if (!l->graph || l->graph->layers.empty()) break;
    }
    if (config_.is_object() && config_.contains("build_input_shape") &&
        config_["build_input_shape"].is_array()) {
      input.config["batch_shape"] = config_["build_input_shape"];
    }
    return input;  // without a shape: an Error when it is lowered as the outermost model
  }

  // ---- Functional
  void connect(const Json& layers) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const Json* nodes =
          layers[i].contains("inbound_nodes") ? &layers[i]["inbound_nodes"] : nullptr;
      if (nodes == nullptr || !nodes->is_array()) continue;
      int node = 0;
      for (const Json& n : *nodes) {
        KerasCall call;
        call.layer = static_cast<int>(i);
        call.node = node++;
        read_node(n, call);
        graph_->calls.push_back(std::move(call));
      }
    }
    shift_models();
    graph_->inputs = refs(member(config_, "input_layers", where()));
    graph_->outputs = refs(member(config_, "output_layers", where()));
    if (graph_->outputs.empty()) fail("{}: no outputs", where());
  }

  // In tf_keras's files the first call of a model used as a layer may be node 1: node 0 is the
  // model itself, and is not written.  References beyond the calls, or none to node 0, tell.
  void shift_models() {
    std::map<int, int> calls, lowest, highest;
    for (const KerasCall& c : graph_->calls) ++calls[c.layer];
    for (const KerasRef& r : seen_) {
      const auto [at, fresh] = lowest.emplace(r.layer, r.node);
      if (!fresh) at->second = std::min(at->second, r.node);
      highest[r.layer] = std::max(highest[r.layer], r.node);
    }
    for (const KerasRef& r : refs(member(config_, "output_layers", where()))) {
      const auto [at, fresh] = lowest.emplace(r.layer, r.node);
      if (!fresh) at->second = std::min(at->second, r.node);
      highest[r.layer] = std::max(highest[r.layer], r.node);
    }
    for (KerasCall& c : graph_->calls) {
      if (!graph_->layers[static_cast<std::size_t>(c.layer)].graph) continue;
      if (lowest.contains(c.layer) && lowest[c.layer] > 0 && highest[c.layer] >= calls[c.layer]) {
        ++c.node;
      }
    }
  }

  void read_node(const Json& n, KerasCall& call) {
    if (n.is_object()) {  // Keras 3
      call.args = keras3_value(member(n, "args", where()), 0);
      call.kwargs = n.contains("kwargs") ? keras3_value(n["kwargs"], 0) : Json::object();
      if (!call.args.is_array() || !call.kwargs.is_object()) fail("{}: a call is damaged", where());
      return;
    }
    if (!n.is_array()) fail("{}: a call is {}", where(), json_text(n).substr(0, 80));
    // A structure of [layer, node, tensor, kwargs]: one alone is the argument, several are a list.
    // tf_keras takes the keyword arguments of the first one.
    Json list = Json::array();
    if (is_triple(n)) {
      list.push_back(tensor(ref(n)));
      take_kwargs(n, call);
    } else {
      for (const Json& item : n) {
        if (!is_triple(item)) fail("{}: a call is {}", where(), json_text(n).substr(0, 80));
        list.push_back(item[0] == "_CONSTANT_VALUE" ? tf_value(item[2], 0) : tensor(ref(item)));
        if (call.kwargs.empty()) take_kwargs(item, call);
      }
    }
    if (list.size() == 1) {
      call.args.push_back(list[0]);
    } else {
      call.args.push_back(std::move(list));
    }
  }

  void take_kwargs(const Json& triple, KerasCall& call) {
    if (triple.size() < 4 || !triple[3].is_object()) return;
    for (const auto& [key, value] : triple[3].items()) call.kwargs[plain(key)] = tf_value(value, 0);
  }

  bool is_triple(const Json& v) const {
    return v.is_array() && v.size() >= 3 && v[0].is_string() && v[1].is_number_integer() &&
           (v[2].is_number() || v[0] == "_CONSTANT_VALUE");
  }

  // In the keyword arguments of tf_keras a tensor is ["x", 0, 0], a constant itself or
  // ["_CONSTANT_VALUE", -1, value].
  Json tf_value(const Json& v, int depth) {
    if (depth > 16) fail("{}: arguments nest too deeply", where());
    if (is_triple(v)) {
      if (v[0] == "_CONSTANT_VALUE") return tf_value(v[2], depth + 1);
      if (by_name_.contains(v[0].get<std::string>())) return tensor(ref(v));
    }
    if (v.is_array()) {
      Json list = Json::array();
      for (const Json& item : v) list.push_back(tf_value(item, depth + 1));
      return list;
    }
    if (v.is_object()) {
      Json object = Json::object();
      for (const auto& [key, value] : v.items()) object[plain(key)] = tf_value(value, depth + 1);
      return object;
    }
    return v;
  }

  Json keras3_value(const Json& v, int depth) {
    if (depth > 16) fail("{}: arguments nest too deeply", where());
    if (v.is_array()) {
      Json list = Json::array();
      for (const Json& item : v) list.push_back(keras3_value(item, depth + 1));
      return list;
    }
    if (!v.is_object()) return v;
    const std::string name = text(v, "class_name");
    if (name == "__keras_tensor__") {
      return tensor(ref(member(member(v, "config", where()), "keras_history", where())));
    }
    if (name == "__tuple__" && v.contains("config")) return keras3_value(v["config"], depth + 1);
    Json object = Json::object();
    for (const auto& [key, value] : v.items()) object[plain(key)] = keras3_value(value, depth + 1);
    return object;
  }

  // "$" marks tensors from here on; a file must not bring its own.
  const std::string& plain(const std::string& key) const {
    if (key == "$") fail("{}: an argument named $", where());
    return key;
  }

  static Json tensor(const KerasRef& r) { return {{"$", {r.layer, r.node, r.tensor}}}; }

  KerasRef ref(const Json& v) {
    if (!v.is_array() || v.size() < 3 || !v[0].is_string() || !v[1].is_number_integer() ||
        !v[2].is_number_integer()) {
      fail("{}: {} is not [layer, node, tensor]", where(), json_text(v).substr(0, 80));
    }
    const auto found = by_name_.find(v[0].get<std::string>());
    if (found == by_name_.end()) {
      fail("{}: a tensor of layer {}, which does not exist", where(), v[0].get<std::string>());
    }
    const auto node = v[1].get<std::int64_t>(), index = v[2].get<std::int64_t>();
    if (node < 0 || node > 1000000 || index < 0 || index > 1000000) {
      fail("{}: {} is not [layer, node, tensor]", where(), json_text(v));
    }
    seen_.push_back({found->second, static_cast<int>(node), static_cast<int>(index)});
    return seen_.back();
  }

  std::vector<KerasRef> refs(const Json& v) {
    if (v.is_array() && !v.empty() && v[0].is_string()) return {ref(v)};
    std::vector<KerasRef> all;
    if (v.is_object()) {  // outputs by name
      for (const auto& [key, value] : v.items()) all.push_back(ref(value));
      return all;
    }
    if (!v.is_array()) fail("{}: {} is not a list of tensors", where(), json_text(v).substr(0, 80));
    for (const Json& item : v) {
      for (const KerasRef& r : refs(item)) all.push_back(r);
    }
    return all;
  }

  std::string where() const {
    return around_.path.empty() ? around_.file : around_.file + ": " + around_.path;
  }

  const Json& config_;
  const Around& around_;
  KerasGraph* graph_ = nullptr;
  std::map<std::string, int> by_name_;
  std::vector<KerasRef> seen_;
};

std::shared_ptr<const KerasLayer> child(const Json& json, const Around& around) {
  return std::make_shared<const KerasLayer>(parse_layer(json, around));
}

// The second direction: Keras stores it only when it differs from the first turned round.
Json backward_of(const Json& layer) {
  Json copy = layer;
  if (copy.is_object() && copy.contains("config") && copy["config"].is_object()) {
    Json& c = copy["config"];
    c["go_backwards"] = !(c.contains("go_backwards") && c["go_backwards"] == true);
    std::string name = text(c, "name", "layer");
    if (name.starts_with("forward_")) name.erase(0, 8);
    c["name"] = "backward_" + name;
  }
  return copy;
}

void parse_children(KerasLayer& layer, const Around& inside) {
  const Json& c = layer.config;
  const auto has = [&](const char* key) {
    return c.is_object() && c.contains(key) && c[key].is_object();
  };
  if (layer.class_name == "Bidirectional") {
    const Json& forward = member(c, "layer", inside.file + ": " + layer.path);
    layer.children.emplace_back("forward_layer", child(forward, inside));
    layer.children.emplace_back(
        "backward_layer",
        child(has("backward_layer") ? c["backward_layer"] : backward_of(forward), inside));
  } else if (layer.class_name == "TimeDistributed" || has("layer")) {
    layer.children.emplace_back("layer",
                                child(member(c, "layer", inside.file + ": " + layer.path), inside));
  } else if (has("cell")) {
    layer.children.emplace_back("cell", child(c["cell"], inside));
  } else if (layer.class_name == "StackedRNNCells") {
    int i = 0;
    for (const Json& cell : member(c, "cells", inside.file + ": " + layer.path)) {
      layer.children.emplace_back(fmt::format("cells/{}", i++), child(cell, inside));
    }
  }
}

KerasLayer parse_layer(const Json& json, const Around& around) {
  KerasLayer layer;
  layer.file = around.file;
  const std::string where = around.path.empty() ? around.file : around.file + ": " + around.path;
  if (around.depth > kDeepestModel) fail("{}: models nest too deeply", where);
  const Json& name = member(json, "class_name", where);
  if (!name.is_string()) fail("{}: \"class_name\" is not a text", where);
  layer.class_name = name.get<std::string>();
  layer.module = text(json, "module");
  // Keras 1 and 2 wrote "Custom>Name" or "package>Name" for registered classes.
  layer.config = json.contains("config") ? json["config"] : Json::object();
  layer.name = text(json, "name", text(layer.config, "name", layer.class_name));
  layer.path = around.path.empty() ? layer.name : around.path + "/" + layer.name;
  layer.trainable = around.trainable && config_bool(layer, "trainable", true);
  const Around inside{layer.path, around.file, layer.trainable, around.depth + 1};
  if (is_model(layer.class_name, layer.config)) {
    layer.graph = GraphReader(layer.config, inside).read(layer.class_name == "Sequential");
  } else {
    parse_children(layer, inside);
  }
  return layer;
}

}  // namespace

Json parse_json_text(const std::string& text, const std::string& file) {
  int depth = 0;
  bool in_text = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_text) {
      if (c == '\\') ++i;
      in_text = c != '"';
    } else if (c == '"') {
      in_text = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kDeepestText) fail("{}: JSON nests more than {} deep", file, kDeepestText);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  try {
    return parse_json(text);
  } catch (const Json::exception& e) {
    std::string what = e.what();
    std::replace(what.begin(), what.end(), '\n', ' ');
    fail("{}: not valid JSON: {}", file, what.substr(0, 160));
  }
}

KerasLayers parse_architecture(const Json& json, const std::string& file, bool keras3) {
  KerasLayers layers;
  layers.keras3 = keras3;
  KerasLayer& root = layers.root;
  const Json& name = member(json, "class_name", file);
  if (!name.is_string()) fail("{}: \"class_name\" is not a text", file);
  root.class_name = name.get<std::string>();
  root.file = file;
  root.config = member(json, "config", file);
  root.name = text(root.config, "name", "model");
  if (!is_model(root.class_name, root.config)) {
    fail(
        "{}: a {}, expected a Sequential or Functional model (the architecture of a subclassed "
        "model is code, not data)",
        file, root.class_name);
  }
  root.trainable = config_bool(root, "trainable", true);
  Around around{"", file, root.trainable, 0};
  root.graph = GraphReader(root.config, around).read(root.class_name == "Sequential");
  return layers;
}

}  // namespace litegap
