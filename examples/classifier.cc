// A picture classifier: float, static, dynamic range and quantization-aware, on pictures that
// neither training nor calibration saw.
#include "base/error.h"
#include "example.h"
#include "keras/keras.h"
#include "train/demo_data.h"
#include "verbs/quantize.h"
#include "verbs/train.h"

using namespace litegap;

int main() try {
  const Dataset train = picture_data(800, 11), test = picture_data(600, 12);
  TrainRequest request{
      .architecture = sequential_json(
          {16, 16, 1}, {conv2d_json(12, 3, "relu"), max_pool_json(2), conv2d_json(16, 3, "relu"),
                        max_pool_json(2), conv2d_json(24, 3, "relu"), global_average_json(),
                        dense_json(kPictureClasses, "softmax")}),
      .out = "pictures_float.tflite",
      .loss = "crossentropy",
      .optimizer = "momentum",
      .learning_rate = 0.02,
      .epochs = 24,
      .batch_size = 16,
      .seed = 3};
  train_file(train, request);
  quantize_file(&train,
                {.model = request.out, .technique = "static", .out = "pictures_static.tflite"});
  quantize_file(
      nullptr,
      {.model = request.out, .technique = "dynamic-range", .out = "pictures_dynamic.tflite"});
  TrainRequest further{.model = request.out,
                       .out = "pictures_qat.tflite",
                       .loss = "crossentropy",
                       .optimizer = "momentum",
                       .learning_rate = 0.002,
                       .epochs = 4,
                       .qat = true};
  train_file(train, further);
  print_comparison(test,
                   {"pictures_float.tflite", "pictures_static.tflite", "pictures_dynamic.tflite",
                    "pictures_qat.tflite"},
                   "top1");
} catch (const Error& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
