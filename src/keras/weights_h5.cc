// The weights of a legacy .h5 file: per outermost layer one list, the trainable ones first.
//
//   model_weights            attribute layer_names = [conv, bn]
//   model_weights/bn         attribute weight_names = [bn/gamma:0, bn/beta:0, bn/moving_mean:0 ...]
//
// Keras itself takes the layers that have weights, in order, and so does this file.
#include <map>

#include "keras/weights.h"

namespace litegap {
namespace {

struct Stored {
  std::string layer;
  std::vector<std::string> datasets;
};

std::vector<Stored> stored_layers(const Hdf5& file, const std::string& root) {
  std::vector<Stored> all;
  for (const std::string& name : file.texts(root, "layer_names")) {
    const std::string group = (root == "/" ? "/" : root + "/") + name;
    if (!file.has(group)) fail("{}: no group {}", file.name(), group);
    Stored s{name, {}};
    for (const std::string& w : file.texts(group, "weight_names")) {
      s.datasets.push_back(group + "/" + w);
    }
    if (!s.datasets.empty()) all.push_back(std::move(s));
  }
  return all;
}

void collect(const KerasLayer& layer,
             const std::map<const KerasLayer*, std::vector<std::size_t>>& of,
             std::vector<std::size_t>& out) {
  const auto found = of.find(&layer);
  if (found != of.end()) out.insert(out.end(), found->second.begin(), found->second.end());
  if (layer.graph) {
    for (const KerasLayer& l : layer.graph->layers) collect(l, of, out);
  }
  for (const auto& [attribute, inner] : layer.children) collect(*inner, of, out);
}

}  // namespace

std::vector<Array> weights_of_h5(const Hdf5& file, const KerasLayers& layers,
                                 const std::vector<Declared>& declared) {
  std::map<const KerasLayer*, std::vector<std::size_t>> of;
  for (std::size_t i = 0; i < declared.size(); ++i) of[declared[i].layer].push_back(i);
  const std::vector<Stored> stored =
      stored_layers(file, file.has("/model_weights") ? "/model_weights" : "/");
  std::vector<Array> values(declared.size());
  std::size_t next = 0;
  for (const KerasLayer& layer : layers.root.graph->layers) {
    std::vector<std::size_t> mine, order;
    collect(layer, of, mine);
    if (mine.empty()) continue;
    for (const bool trainable : {true, false}) {
      for (const std::size_t i : mine) {
        if (declared[i].trainable == trainable) order.push_back(i);
      }
    }
    if (next >= stored.size()) refuse(layer, "the file has no weights for it");
    const Stored& s = stored[next++];
    if (s.datasets.size() != order.size()) {
      refuse(layer, "the file has {} weights under {}, expected {}", s.datasets.size(), s.layer,
             order.size());
    }
    for (std::size_t k = 0; k < order.size(); ++k) values[order[k]] = file.array(s.datasets[k]);
  }
  if (next != stored.size()) {
    fail("{}: weights of {} layers, the architecture has {} layers with weights", file.name(),
         stored.size(), next);
  }
  return values;
}

}  // namespace litegap
