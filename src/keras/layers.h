// What the architecture of a Keras file says, in one form for all its dialects.
//
// Keras 3, tf_keras and Keras 2 write the same graph in three ways; a Sequential writes none.  Here
// all of them are a KerasGraph: layers, and calls in the order of the file.  A call's arguments are
// JSON as in the file, except that a tensor is {"$": [layer, node, tensor]}.
//
//   Sequential([Dense(1)])    layers {input, dense}, calls {dense(args [{"$": [0, 0, 0]}])}
//   add([a, b])               call {layer "add", args [[{"$": [0, 0, 0]}, {"$": [1, 0, 0]}]]}
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "keras/keras.h"

namespace litegap {

struct KerasGraph;

struct KerasLayer {
  std::string class_name, module, name;
  std::string path;  // names of the models around it first: "block/conv"
  std::string file;  // for messages
  Json config;
  bool trainable = true;                    // its own word and that of everything around it
  std::shared_ptr<const KerasGraph> graph;  // of a model used as a layer
  // Wrapped layers under the attribute names that weight files use: "layer", "forward_layer" ...
  std::vector<std::pair<std::string, std::shared_ptr<const KerasLayer>>> children;
};

struct KerasCall {
  int layer = 0, node = 0;
  Json args = Json::array(), kwargs = Json::object();
};

struct KerasRef {
  int layer = 0, node = 0, tensor = 0;
  auto operator<=>(const KerasRef&) const = default;
};

struct KerasGraph {
  bool sequential = false;
  std::vector<KerasLayer> layers;
  std::vector<KerasCall> calls;
  std::vector<KerasRef> inputs, outputs;
};

struct KerasLayers {
  KerasLayer root;      // its graph is the model
  bool keras3 = false;  // hard_sigmoid differs between the libraries
};

// One variable as lowering asks for it: the layer functions are the only place that knows shapes.
struct Declared {
  const KerasLayer* layer = nullptr;
  std::string sub;   // group inside the layer's own in weight files: "cell", "query_dense" or ""
  std::string name;  // "kernel"
  Shape shape;
  Json initializer;
  bool trainable = true;
};
// All variables of a model in Keras's order (the layers' order, not that of the calls).
std::vector<Declared> declare_variables(const KerasLayers& layers, const std::string& path);

// {"class_name": ..., "config": ...} to layers; `file` stands in messages.
KerasLayers parse_architecture(const Json& json, const std::string& file, bool keras3);
// Text to JSON, with a limit on nesting; Error with the place.
Json parse_json_text(const std::string& text, const std::string& file);

// Initial values of one variable.
class Random;
Array initial_value(const Declared& variable, Random& random);

// One line: file, layer, class, what.
template <class... Args>
[[noreturn]] void refuse(const KerasLayer& layer, fmt::format_string<Args...> format,
                         Args&&... args) {
  fail("{}: layer {} ({}): {}", layer.file, layer.path, layer.class_name,
       fmt::format(format, std::forward<Args>(args)...));
}

// Values of a configuration with their defaults; null counts as absent; Error on another type.
const Json* config_value(const KerasLayer& layer, const char* key);  // null when absent
int config_int(const KerasLayer& layer, const char* key, std::optional<int> absent = {});
bool config_bool(const KerasLayer& layer, const char* key, bool absent);
double config_number(const KerasLayer& layer, const char* key, std::optional<double> absent = {});
std::string config_text(const KerasLayer& layer, const char* key, const std::string& absent);
// n integers; one integer stands for n equal ones.
std::vector<int> config_ints(const KerasLayer& layer, const char* key, std::size_t n, int absent);
// However many integers there are; one integer is a list of one.
std::vector<int> config_list(const KerasLayer& layer, const char* key);

}  // namespace litegap
