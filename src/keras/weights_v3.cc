// model.weights.h5 of a .keras archive.
//
//   Sequential([Dense(name="second"), Dense(name="first")])
//     layers/dense/vars/0     kernel of "second": snake_case of the class,
//     layers/dense_1/vars/0   kernel of "first"   then _1, _2 ... in the order of the layers
#include <cctype>
#include <map>

#include "keras/weights.h"

namespace litegap {
namespace {

// re.sub("(.)([A-Z][a-z]+)", r"\1_\2"), re.sub("([a-z])([A-Z])", r"\1_\2"), lower(): as Keras does.
std::string snake_case(const std::string& name) {
  const auto upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  std::string word, once, twice;
  for (char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '_') word += c;
  }
  for (std::size_t i = 0; i < word.size(); ++i) {
    const bool starts = i + 2 < word.size() + 1 && i > 0 && upper(word[i]) && i + 1 < word.size() &&
                        lower(word[i + 1]);
    if (starts) once += '_';
    once += word[i];
  }
  for (std::size_t i = 0; i < once.size(); ++i) {
    if (i > 0 && lower(once[i - 1]) && upper(once[i])) twice += '_';
    twice += once[i];
  }
  for (char& c : twice) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return twice;
}

class Walk {
 public:
  Walk(const Hdf5& file, const std::vector<Declared>& declared) : file_(file), declared_(declared) {
    for (std::size_t i = 0; i < declared.size(); ++i) of_[declared[i].layer].push_back(i);
    values_.resize(declared.size());
  }

  void graph(const KerasGraph& graph, const std::string& group) {
    // tf_keras before 2.13 wrote another name for the list.
    std::string list = group + "/layers";
    if (!file_.has(list)) list = group + "/_layer_checkpoint_dependencies";
    std::map<std::string, int> used;
    for (const KerasLayer& l : graph.layers) {
      const std::string base = snake_case(l.class_name);
      const int n = used[base]++;
      layer(l, list + "/" + (n == 0 ? base : fmt::format("{}_{}", base, n)));
    }
  }

  std::vector<Array> take() { return std::move(values_); }

 private:
  void layer(const KerasLayer& l, const std::string& group) {
    std::map<std::string, int> counts;  // position inside each sub-group
    for (const std::size_t i : of_[&l]) {
      const Declared& d = declared_[i];
      const int k = counts[d.sub]++;
      values_[i] = dataset(d, group, k);
    }
    if (l.graph) graph(*l.graph, group);
    std::map<std::string, int> used;
    for (const auto& [attribute, inner] : l.children) {
      if (attribute.starts_with("cells/")) {
        const std::string base = snake_case(inner->class_name);
        const int n = used[base]++;
        layer(*inner, group + "/cells/" + (n == 0 ? base : fmt::format("{}_{}", base, n)));
      } else {
        layer(*inner, group + "/" + attribute);
      }
    }
  }

  Array dataset(const Declared& d, const std::string& group, int k) {
    std::string path = d.sub.empty() ? group : group + "/" + d.sub;
    if (!d.sub.empty() && !file_.has(path)) path = group + "/_" + d.sub;
    path += fmt::format("/vars/{}", k);
    if (!file_.has(path)) {
      refuse(*d.layer, "its {} is not in the file: no dataset {}", d.name, path);
    }
    return file_.array(path);
  }

  const Hdf5& file_;
  const std::vector<Declared>& declared_;
  std::map<const KerasLayer*, std::vector<std::size_t>> of_;
  std::vector<Array> values_;
};

}  // namespace

std::vector<Array> weights_of_v3(const Hdf5& file, const KerasLayers& layers,
                                 const std::vector<Declared>& declared) {
  Walk walk(file, declared);
  walk.graph(*layers.root.graph, "");
  return walk.take();
}

}  // namespace litegap
