// Quantization-aware training of y = 2x + 1, beside float training of the same length.  The only
// weight is the largest of its own range; plain fake quantization would cut its gradient there and
// freeze it in half of all runs.
#include "base/error.h"
#include "example.h"
#include "keras/keras.h"
#include "verbs/train.h"

using namespace litegap;

int main() try {
  const Dataset data = line_samples(100, 1);
  TrainRequest request{.architecture = sequential_json({1}, {dense_json(1)}),
                       .out = "line_float.tflite",
                       .loss = "mse",
                       .optimizer = "sgd",
                       .epochs = 100};
  train_file(data, request);
  request.out = "line_qat.tflite";
  request.qat = true;
  const TrainResult qat = train_file(data, request);
  fmt::print("fake-quantized mse while training {:.6f}, in the last epoch\n",
             qat.fit.epochs.back().loss);
  print_comparison(data, {"line_float.tflite", "line_qat.tflite"}, "mse");
} catch (const Error& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
