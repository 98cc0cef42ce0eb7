// From a Keras model to a graph of operators.  keras/lower.h tells how the layer functions work.
#include "keras/lower.h"

#include <algorithm>
#include <set>

namespace litegap {
namespace {

constexpr std::size_t kMostCalls = 1000000;
constexpr std::size_t kMostVariables = std::size_t{1} << 30;  // elements of all variables

const LayerRow* find_row(const std::string& name) {
  static const std::map<std::string, LayerRow> table = [] {
    std::map<std::string, LayerRow> t;
    for (const auto rows : {product_layers(), normalize_layers(), pool_layers(),
                            activation_layers(), shape_layers(), image_layers(), merge_layers(),
                            recurrent_layers(), attention_layers(), function_layers()}) {
      for (const LayerRow& r : rows) t.emplace(r.class_name, r);
    }
    return t;
  }();
  const auto found = table.find(name);
  return found == table.end() ? nullptr : &found->second;
}

DType input_type(const KerasLayer& layer) {
  const Json* policy = config_value(layer, "dtype");
  std::string name = "float32";
  if (policy != nullptr && policy->is_object() && policy->contains("config") &&
      (*policy)["config"].is_object() && (*policy)["config"].contains("name") &&
      (*policy)["config"]["name"].is_string()) {
    name = (*policy)["config"]["name"].get<std::string>();
  } else {
    name = config_text(layer, "dtype", "float32");
  }
  if (name.starts_with("mixed_")) return DType::kFloat32;
  if (name == "int32") return DType::kInt32;
  if (name == "int64") return DType::kInt64;
  if (name == "uint8") return DType::kUint8;
  if (name == "int8") return DType::kInt8;
  if (name == "bool") return DType::kBool;
  if (name.starts_with("float") || name == "bfloat16") return DType::kFloat32;
  refuse(layer, "an input of type {}", name);
}

// Replaces {"$": [layer, node, tensor]} by {"$": index} and collects the values.
template <class Find>
Json resolve(const Json& v, Find find, std::vector<LayerValue>& values) {
  if (v.is_array()) {
    Json list = Json::array();
    for (const Json& item : v) list.push_back(resolve(item, find, values));
    return list;
  }
  if (!v.is_object()) return v;
  if (v.contains("$") && v["$"].is_array() && v["$"].size() == 3) {
    values.push_back(find({v["$"][0].get<int>(), v["$"][1].get<int>(), v["$"][2].get<int>()}));
    return {{"$", values.size() - 1}};
  }
  Json object = Json::object();
  for (const auto& [key, value] : v.items()) object[key] = resolve(value, find, values);
  return object;
}

void collect_refs(const Json& v, std::vector<KerasRef>& out) {
  if (v.is_object() && v.contains("$") && v["$"].is_array() && v["$"].size() == 3) {
    out.push_back({v["$"][0].get<int>(), v["$"][1].get<int>(), v["$"][2].get<int>()});
    return;
  }
  if (v.is_structured()) {
    for (const auto& item : v) collect_refs(item, out);
  }
}

}  // namespace

Array transposed(const Array& a, const std::vector<int>& perm) {
  if (perm.empty()) return a;
  const std::size_t r = perm.size();
  std::vector<std::size_t> stride(r, 1), step(r);
  for (std::size_t d = r; d-- > 1;) {
    stride[d - 1] = stride[d] * static_cast<std::size_t>(a.shape()[d]);
  }
  Shape shape(r);
  for (std::size_t d = 0; d < r; ++d) {
    shape[d] = a.shape()[static_cast<std::size_t>(perm[d])];
    step[d] = stride[static_cast<std::size_t>(perm[d])];
  }
  Array out = Array::zeros(DType::kFloat32, shape);
  const auto from = a.span<float>();
  const auto to = out.mutable_span<float>();
  std::vector<std::int32_t> at(r, 0);
  std::size_t source = 0;
  for (std::size_t i = 0; i < to.size(); ++i) {
    to[i] = from[source];
    for (std::size_t d = r; d-- > 0;) {
      source += step[d];
      if (++at[d] < shape[d]) break;
      source -= step[d] * static_cast<std::size_t>(shape[d]);
      at[d] = 0;
    }
  }
  return out;
}

// ---- arguments of a call ------------------------------------------------------------------------
int LayerCall::raw(std::size_t i) const {
  if (i >= values.size()) refuse(layer, "has {} inputs, expected {}", values.size(), i + 1);
  return values[i].tensor;
}

std::optional<LayerValue> LayerCall::tensor(const char* key) const {
  if (!kwargs.is_object() || !kwargs.contains(key)) return {};
  const Json& v = kwargs[key];
  if (!v.is_object() || !v.contains("$")) return {};
  return values[v["$"].get<std::size_t>()];
}

int LayerCall::mask() const {
  if (const auto given = tensor("mask")) return given->tensor;
  return values.empty() ? -1 : values[0].mask;
}

bool LayerCall::flag(const char* key, bool absent) const {
  if (!kwargs.is_object() || !kwargs.contains(key) || !kwargs[key].is_boolean()) return absent;
  return kwargs[key].get<bool>();
}

const Json* LayerCall::argument(std::size_t i, const char* key) const {
  if (i < args.size()) return &args[i];
  if (kwargs.is_object() && kwargs.contains(key)) return &kwargs[key];
  return nullptr;
}

int LayerCall::operand(std::size_t i, const char* key) {
  const Json* v = argument(i, key);
  if (v == nullptr) refuse(layer, "argument {} ({}) is missing", i, key);
  if (v->is_object() && v->contains("$")) return values[(*v)["$"].get<std::size_t>()].tensor;
  const DType type = values.empty() ? DType::kFloat32 : b.dtype(values[0].tensor);
  const bool whole = type == DType::kInt32 || type == DType::kInt64;
  std::vector<double> numbers;
  if (v->is_number()) numbers = {v->get<double>()};
  if (v->is_boolean()) numbers = {v->get<bool>() ? 1.0 : 0.0};
  const bool list = v->is_array();
  if (list) {
    for (const Json& n : *v) {
      if (!n.is_number()) refuse(layer, "argument {} is {}", key, v->dump().substr(0, 80));
      numbers.push_back(n.get<double>());
    }
  }
  if (numbers.empty()) refuse(layer, "argument {} is {}", key, v->dump().substr(0, 80));
  const Shape shape = list ? Shape{static_cast<std::int32_t>(numbers.size())} : Shape{};
  if (type == DType::kInt32 && whole) {
    return b.constant(Array::of<std::int32_t>(shape, {numbers.begin(), numbers.end()}));
  }
  if (type == DType::kInt64) {
    return b.constant(Array::of<std::int64_t>(shape, {numbers.begin(), numbers.end()}));
  }
  return b.constant(Array::of<float>(shape, {numbers.begin(), numbers.end()}));
}

// ---- variables ----------------------------------------------------------------------------------
Lowerer::Lowerer(const KerasLayers& layers, const KerasModel* model, const LowerOptions& options,
                 const std::string& path)
    : training(options.training),
      keras3(layers.keras3),
      keep_norms(options.keep_norms),
      layers_(layers),
      model_(model),
      options_(options),
      path_(path) {
  if (options.batch < 1 || options.batch > (1 << 20))
    fail("{}: a batch of {}", path, options.batch);
  b.fold_constants = !options.training;
  if (model != nullptr) {
    for (std::size_t i = 0; i < model->variables.size(); ++i) {
      variables_[model->variables[i].name] = static_cast<int>(i);
    }
  }
}

int Lowerer::find_variable(const KerasLayer& layer, const std::string& name) const {
  const auto found = variables_.find(layer.path + "/" + name);
  if (found == variables_.end()) refuse(layer, "its variable {} is missing", name);
  return found->second;
}

const Array& Lowerer::value(const KerasLayer& layer, const std::string& name) const {
  return model_->variables[static_cast<std::size_t>(find_variable(layer, name))].value;
}

float Lowerer::regularizer(const KerasLayer& layer, const std::string& role,
                           const char* which) const {
  const Json* r = config_value(layer, (role + "_regularizer").c_str());
  if (r == nullptr) return 0;
  const std::string name =
      r->is_string() ? r->get<std::string>()
      : r->is_object() && r->contains("class_name") && (*r)["class_name"].is_string()
          ? (*r)["class_name"].get<std::string>()
          : "";
  const bool one = name == "L1" || name == "l1", two = name == "L2" || name == "l2",
             both = name == "L1L2" || name == "l1_l2";
  if (!one && !two && !both) {
    refuse(layer, "the regularizer {} of {} is not supported", r->dump().substr(0, 60), role);
  }
  const bool has =
      both || (one && which == std::string("l1")) || (two && which == std::string("l2"));
  if (!has) return 0;
  if (!r->is_object() || !r->contains("config") || !(*r)["config"].is_object()) return 0.01f;
  const Json& c = (*r)["config"];
  return c.contains(which) && c[which].is_number() ? c[which].get<float>() : 0;
}

int Lowerer::weight(const KerasLayer& layer, const LayerWeight& w) {
  const std::string full = layer.path + "/" + w.name;
  const auto known = constants_.find(full);
  if (known != constants_.end()) {
    const Shape& s = b.shape(known->second);
    if (shape_elements(s) != shape_elements(w.shape)) {
      refuse(layer, "is called with inputs that need {} of {} and {} elements", w.name,
             shape_elements(s), shape_elements(w.shape));
    }
    return known->second;
  }
  Array value;
  Parameter p;
  if (declaring) {
    for (const std::int32_t d : w.shape) {
      if (d <= 0) refuse(layer, "its {} would have shape {}", w.name, shape_text(w.shape));
    }
    declared_elements_ += shape_elements(w.shape);
    if (declared_elements_ > kMostVariables)
      refuse(layer, "its {} {} is too large", w.name, shape_text(w.shape));
    Declared d;
    d.layer = &layer;
    d.sub = w.sub;
    d.name = w.name;
    d.shape = w.shape;
    const Json* init =
        w.role.empty() ? nullptr : config_value(layer, (w.role + "_initializer").c_str());
    d.initializer =
        init != nullptr && w.initializer != "unit_forget_bias" ? *init : Json(w.initializer);
    d.trainable = layer.trainable && w.trainable;
    declared.push_back(std::move(d));
    Shape laid = w.shape;
    for (std::size_t i = 0; i < w.perm.size(); ++i) {
      laid[i] = w.shape[static_cast<std::size_t>(w.perm[i])];
    }
    value = Array::zeros(DType::kFloat32, laid);
  } else {
    p.variable = find_variable(layer, w.name);
    const KerasVariable& v = model_->variables[static_cast<std::size_t>(p.variable)];
    if (v.value.shape() != w.shape) {
      refuse(layer, "its {} has shape {}, expected {}", w.name, shape_text(v.value.shape()),
             shape_text(w.shape));
    }
    value = v.value;
    p.trainable = v.trainable;
  }
  Array laid = declaring ? value : transposed(value, w.perm);
  if (!w.as.empty()) laid = laid.reshaped(w.as);
  if (fits() && !declaring) {
    if (w.perm.empty()) laid = laid.clone();  // trained in place: never the caller's own bytes
    if (!w.role.empty()) {
      p.l1 = regularizer(layer, w.role, "l1");
      p.l2 = regularizer(layer, w.role, "l2");
      if (config_value(layer, (w.role + "_constraint").c_str()) != nullptr && p.trainable) {
        refuse(layer, "a constraint on its {} is not supported in training", w.name);
      }
    }
  }
  const int t = b.constant(std::move(laid), full);
  constants_[full] = t;
  if (fits() && !declaring) {
    p.tensor = t;
    p.transpose = w.perm;
    parameters.push_back(std::move(p));
  }
  return t;
}

// ---- the walk -----------------------------------------------------------------------------------
std::vector<LayerValue> Lowerer::call_layer(const KerasLayer& layer, const KerasCall& call,
                                            std::vector<LayerValue> values) {
  if (layer.graph) {
    if (values.size() < layer.graph->inputs.size()) {
      refuse(layer, "is called with {} tensors, expected {}", values.size(),
             layer.graph->inputs.size());
    }
    values.resize(layer.graph->inputs.size());
    return run_graph(layer, values);
  }
  if (++calls_ > kMostCalls) refuse(layer, "more than {} calls of layers", kMostCalls);
  const LayerRow* row = find_row(layer.class_name);
  if (row == nullptr) refuse(layer, "this class of layer is not supported");
  if (fits() && !declaring && config_value(layer, "activity_regularizer") != nullptr) {
    refuse(layer, "an activity regularizer is not supported in training");
  }
  const std::string outer = b.scope;
  b.scope = layer.path;
  LayerCall c{*this, b, layer, std::move(values), call.args, call.kwargs};
  std::vector<LayerValue> out;
  try {
    out = row->lower(c);
  } catch (const Error& e) {
    const std::string what = e.what();
    if (what.find(layer.path) != std::string::npos) throw;
    refuse(layer, "{}", what);
  }
  if (row->keeps_mask && !c.values.empty()) {
    for (LayerValue& v : out) {
      if (v.mask < 0) v.mask = c.mask();
    }
  }
  b.scope = outer;
  return out;
}

std::vector<LayerValue> Lowerer::call_inner(const KerasLayer& layer,
                                            const std::vector<LayerValue>& inputs) {
  KerasCall call;
  call.args.push_back({{"$", 0}});
  return call_layer(layer, call, inputs);
}

// Calls in the order of the file as far as their tensors exist; the rest in further rounds.
std::vector<LayerValue> Lowerer::run_graph(const KerasLayer& owner,
                                           const std::vector<LayerValue>& inputs) {
  const KerasGraph& g = *owner.graph;
  std::map<KerasRef, LayerValue> known;
  std::map<std::pair<int, int>, std::size_t> made;  // outputs of a call
  for (std::size_t i = 0; i < g.inputs.size(); ++i) {
    known[g.inputs[i]] = inputs[i];
    made[{g.inputs[i].layer, g.inputs[i].node}] = 1;
  }
  std::vector<const KerasCall*> waiting;
  for (const KerasCall& c : g.calls) waiting.push_back(&c);
  while (!waiting.empty()) {
    std::vector<const KerasCall*> later;
    for (const KerasCall* c : waiting) {
      const KerasLayer& layer = g.layers[static_cast<std::size_t>(c->layer)];
      std::vector<KerasRef> refs;
      collect_refs(c->args, refs);
      collect_refs(c->kwargs, refs);
      const bool ready = std::all_of(refs.begin(), refs.end(), [&](const KerasRef& r) {
        return made.contains({r.layer, r.node});
      });
      if (!ready) {
        later.push_back(c);
        continue;
      }
      std::vector<LayerValue> values;
      const auto find = [&](const KerasRef& r) {
        const auto found = known.find(r);
        if (found == known.end()) {
          refuse(layer, "takes output {} of {}, which does not have it", r.tensor,
                 g.layers[static_cast<std::size_t>(r.layer)].path);
        }
        return found->second;
      };
      KerasCall resolved;
      resolved.args = resolve(c->args, find, values);
      resolved.kwargs = resolve(c->kwargs, find, values);
      const auto out = call_layer(layer, resolved, values);
      for (std::size_t i = 0; i < out.size(); ++i) {
        known[{c->layer, c->node, static_cast<int>(i)}] = out[i];
      }
      made[{c->layer, c->node}] = out.size();
    }
    if (later.size() == waiting.size()) {
      refuse(g.layers[static_cast<std::size_t>(later[0]->layer)],
             "its inputs are never computed (a cycle, or a call that is missing)");
    }
    waiting = std::move(later);
  }
  std::vector<LayerValue> out;
  for (const KerasRef& r : g.outputs) {
    const auto found = known.find(r);
    if (found == known.end()) {
      fail("{}: output {} of {} does not exist", path_, r.tensor,
           g.layers[static_cast<std::size_t>(r.layer)].path);
    }
    out.push_back(found->second);
  }
  return out;
}

std::vector<LayerValue> Lowerer::inputs_of(const KerasGraph& graph) {
  std::vector<LayerValue> inputs;
  for (const KerasRef& r : graph.inputs) {
    const KerasLayer& layer = graph.layers[static_cast<std::size_t>(r.layer)];
    const Json* s = config_value(layer, "batch_shape");
    if (s == nullptr) s = config_value(layer, "batch_input_shape");
    if (s == nullptr || !s->is_array()) {
      refuse(layer, "the shape of the model's input is not in the file");
    }
    Shape shape;
    for (const Json& d : *s) {
      if (shape.empty()) {
        shape.push_back(options_.batch);
        continue;
      }
      if (!d.is_number_integer() || d.get<std::int64_t>() < 1 ||
          d.get<std::int64_t>() > (1 << 24)) {
        refuse(layer, "input shape {}: every dimension but the batch must be known", s->dump());
      }
      shape.push_back(d.get<std::int32_t>());
    }
    if (shape.empty()) refuse(layer, "an input without dimensions");
    if (shape_elements(shape) > 0x7fffffff)
      refuse(layer, "an input of shape {}", shape_text(shape));
    if (config_bool(layer, "sparse", false) || config_bool(layer, "ragged", false)) {
      refuse(layer, "a sparse or ragged input is not supported");
    }
    inputs.push_back({b.input(layer.name, shape, input_type(layer)), -1});
  }
  return inputs;
}

void Lowerer::run() {
  const std::vector<LayerValue> inputs = inputs_of(*layers_.root.graph);
  const std::vector<LayerValue> outputs = run_graph(layers_.root, inputs);
  b.scope = "output";
  for (const LayerValue& v : outputs) {
    // A file whose output is its input runs nowhere: copy by a RESHAPE to the same shape.
    int t = v.tensor;
    const bool is_input =
        std::find(b.graph.inputs.begin(), b.graph.inputs.end(), t) != b.graph.inputs.end();
    const bool twice =
        std::find(b.graph.outputs.begin(), b.graph.outputs.end(), t) != b.graph.outputs.end();
    if (is_input || twice) {
      Shape open = b.shape(t);
      open[0] = -1;
      t = b.emit(OpCode::kReshape, {t, b.ints(open)}, b.shape(t), ReshapeAttrs{open}, b.dtype(t));
    }
    b.graph.outputs.push_back(t);
  }
}

std::vector<Declared> declare_variables(const KerasLayers& layers, const std::string& path) {
  Lowerer l(layers, nullptr, {.training = true}, path);
  l.declaring = true;
  l.run();
  // In the order of the layers: a call may come before that of an earlier layer.
  std::map<const KerasLayer*, std::vector<const Declared*>> of;
  for (const Declared& d : l.declared) of[d.layer].push_back(&d);
  std::vector<Declared> ordered;
  const auto walk = [&](const auto& self, const KerasLayer& layer) -> void {
    for (const Declared* d : of[&layer]) ordered.push_back(*d);
    if (layer.graph) {
      for (const KerasLayer& inner : layer.graph->layers) self(self, inner);
    }
    for (const auto& [attribute, inner] : layer.children) self(self, *inner);
  };
  walk(walk, layers.root);
  return ordered;
}

namespace {

void name_ends(Lowerer& l, const KerasGraph& g, Model& model) {
  Graph& graph = model.graphs[0];
  Signature s;
  s.key = "serving_default";
  std::set<std::string> used;
  const auto add = [&](std::vector<std::pair<std::string, int>>& to, std::string name, int t) {
    const std::string stem = name;
    for (int i = 1; !used.insert(name).second; ++i) name = fmt::format("{}_{}", stem, i);
    to.emplace_back(name, t);
  };
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    add(s.inputs, g.layers[static_cast<std::size_t>(g.inputs[i].layer)].name, graph.inputs[i]);
  }
  used.clear();
  for (std::size_t i = 0; i < graph.outputs.size(); ++i) {
    add(s.outputs, g.layers[static_cast<std::size_t>(g.outputs[i].layer)].name, graph.outputs[i]);
  }
  model.signatures.push_back(std::move(s));
}

}  // namespace

Lowered lower(const KerasModel& model, const LowerOptions& options) {
  if (!model.layers) fail("{}: a Keras model without layers", model.path);
  try {
    Lowerer l(*model.layers, &model, options, model.path);
    l.run();
    Lowered out;
    const std::vector<int> map = finish_graph(l.b.graph, options.training     ? Finish::kTraining
                                                         : options.keep_norms ? Finish::kKeepNorms
                                                                              : Finish::kFile);
    for (Parameter& p : l.parameters) {
      p.tensor = map[static_cast<std::size_t>(p.tensor)];
      if (p.tensor >= 0) out.parameters.push_back(std::move(p));
    }
    out.model.path = model.path;
    out.model.description = "litegap";
    l.b.graph.name = "main";
    out.model.graphs.push_back(std::move(l.b.graph));
    name_ends(l, *model.layers->root.graph, out.model);
    return out;
  } catch (const Json::exception& e) {
    fail("{}: unexpected JSON: {}", model.path, e.what());
  }
}

KerasModel with_trained(const KerasModel& model, const Lowered& lowered, const Model& trained) {
  KerasModel out = model;
  for (const Parameter& p : lowered.parameters) {
    const auto& tensors = trained.graphs.at(0).tensors;
    KerasVariable& v = out.variables.at(static_cast<std::size_t>(p.variable));
    if (p.tensor < 0 || p.tensor >= static_cast<int>(tensors.size()) ||
        !tensors[static_cast<std::size_t>(p.tensor)].constant) {
      fail("{}: variable {}: the trained model has no constant {}", model.path, v.name, p.tensor);
    }
    const Array& t = *tensors[static_cast<std::size_t>(p.tensor)].constant;
    if (t.dtype() != DType::kFloat32 || t.elements() != v.value.elements()) {
      fail("{}: variable {}: the trained constant has shape {}, expected {} elements", model.path,
           v.name, shape_text(t.shape()), v.value.elements());
    }
    if (p.transpose.empty()) {
      v.value = t.reshaped(v.value.shape()).clone();
      continue;
    }
    Shape turned;
    std::vector<int> back(p.transpose.size());
    for (std::size_t d = 0; d < p.transpose.size(); ++d) {
      turned.push_back(v.value.shape()[static_cast<std::size_t>(p.transpose[d])]);
      back[static_cast<std::size_t>(p.transpose[d])] = static_cast<int>(d);
    }
    v.value = transposed(t.reshaped(turned), back);
  }
  out.has_weights = true;
  return out;
}

}  // namespace litegap
