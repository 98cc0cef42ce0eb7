// Post-training static quantization of y = 2x + 1: train, quantize with calibration, compare.
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
  // The scale of every activation is fixed in advance, from samples: without `&data` this is
  // refused, because what came out would not be a static file.
  quantize_file(&data, {.model = "line_float.tflite",
                        .technique = "static",
                        .out = "line_static.tflite",
                        .method = "minmax"});
  print_comparison(data, {"line_float.tflite", "line_static.tflite"}, "mse");
} catch (const Error& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
