// Architectures in C++, as the JSON that Keras's own to_json would give.
#include "base/json.h"
#include "keras/keras.h"

namespace litegap {
namespace {

std::string layer_json(const char* class_name, Json config) {
  return json_text(Json{{"module", "keras.layers"},
                        {"class_name", class_name},
                        {"config", std::move(config)},
                        {"registered_name", nullptr}});
}

}  // namespace

std::string sequential_json(const std::vector<int>& input, const std::vector<std::string>& layers) {
  Json shape = Json::array({nullptr});
  for (const int d : input) shape.push_back(d);
  Json list = Json::array({parse_json(
      layer_json("InputLayer", {{"batch_shape", shape}, {"dtype", "float32"}, {"name", "x"}}))});
  std::map<std::string, int> used;
  for (const std::string& text : layers) {
    Json layer = parse_json(text);
    // Keras numbers the layers of one class: dense, dense_1 ...
    const std::string stem = layer["config"]["name"].get<std::string>();
    const int n = used[stem]++;
    if (n > 0) layer["config"]["name"] = fmt::format("{}_{}", stem, n);
    list.push_back(std::move(layer));
  }
  return json_text(Json{{"module", "keras"},
                        {"class_name", "Sequential"},
                        {"config", {{"name", "sequential"}, {"layers", list}}},
                        {"registered_name", nullptr}});
}

std::string dense_json(int units, const std::string& activation) {
  return layer_json("Dense", {{"name", "dense"},
                              {"units", units},
                              {"activation", activation},
                              {"use_bias", true},
                              {"kernel_initializer", "glorot_uniform"}});
}

std::string conv2d_json(int filters, int kernel, const std::string& activation, int stride,
                        const std::string& padding) {
  return layer_json("Conv2D", {{"name", "conv2d"},
                               {"filters", filters},
                               {"kernel_size", {kernel, kernel}},
                               {"strides", {stride, stride}},
                               {"padding", padding},
                               {"activation", activation},
                               {"use_bias", true},
                               {"kernel_initializer", "glorot_uniform"}});
}

std::string max_pool_json(int size) {
  return layer_json("MaxPooling2D", {{"name", "max_pooling2d"},
                                     {"pool_size", {size, size}},
                                     {"strides", {size, size}},
                                     {"padding", "valid"}});
}

std::string batch_norm_json() {
  return layer_json("BatchNormalization",
                    {{"name", "batch_normalization"}, {"axis", -1}, {"epsilon", 0.001}});
}

std::string activation_json(const std::string& activation) {
  return layer_json("Activation", {{"name", "activation"}, {"activation", activation}});
}

std::string global_average_json() {
  return layer_json("GlobalAveragePooling2D", {{"name", "global_average_pooling2d"}});
}

std::string flatten_json() { return layer_json("Flatten", {{"name", "flatten"}}); }

}  // namespace litegap
