// Post-training dynamic range quantization of y = 2x + 1, and the trap in it: weights of less than
// 1024 elements stay float32, so the usual "INT8 loss" of this model is the FP32 loss.
#include "base/error.h"
#include "example.h"
#include "keras/keras.h"
#include "verbs/quantize.h"
#include "verbs/train.h"

using namespace litegap;

int main() try {
  const Dataset data = line_samples(100, 1);
  train_file(data, {.architecture = sequential_json({1}, {dense_json(1)}),
                    .out = "line_float.tflite",
                    .loss = "mse",
                    .optimizer = "sgd",
                    .epochs = 100});
  const QuantizeResult usual = quantize_file(
      nullptr,
      {.model = "line_float.tflite", .technique = "dynamic-range", .out = "line_unchanged.tflite"});
  for (const Decision& d : usual.decisions)
    fmt::print("{}: {} ({})\n", d.item, d.chosen, d.because);
  quantize_file(nullptr, {.model = "line_float.tflite",
                          .technique = "dynamic-range",
                          .out = "line_dynamic.tflite",
                          .least_elements = 1});
  print_comparison(data, {"line_float.tflite", "line_unchanged.tflite", "line_dynamic.tflite"},
                   "mse");
} catch (const Error& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
