// Training as every door offers it: names in, a written file out.
//
//   train_file(data, {.model = "net.json", .out = "float.tflite", .loss = "crossentropy"});
//   train_file(data, {.model = "float.tflite", .out = "int8.tflite", .epochs = 5, .qat = true});
//
// A Keras architecture or model (.json, .keras, .h5) becomes a float .tflite; a float .tflite is
// trained further; with `qat` either is trained with the rounding of the int8 file that is written.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "data/dataset.h"
#include "report/train.h"

namespace litegap {

struct TrainRequest {
  std::string model;         // path
  std::string architecture;  // in place of it: the JSON of Keras's to_json()
  std::string out;
  std::string loss = "mse", optimizer = "sgd";  // one of loss_names(), optimizer_names()
  std::string teacher;                          // a model whose outputs are learned, for "distill"
  std::string input_map;                        // "" = as stored
  double learning_rate = 0;                     // 0 = Keras's default for the optimizer
  double weight_decay = -1;                     // < 0 = Keras's default
  double validation_split = 0, temperature = 1, clip_norm = 0;
  int epochs = 1, patience = 0;
  std::size_t batch_size = 32;
  bool shuffle = true, keep_best = false, resume = false;
  bool qat = false, learned_steps = false;
  std::uint64_t seed = 1;
  Progress progress;
  std::function<bool()> stop;  // true ends training with what there is
};

std::vector<std::string> loss_names();
std::vector<std::string> optimizer_names();

// Throws Error for a request, model or data that do not fit; then nothing is written.
TrainResult train_file(const Dataset& data, const TrainRequest& request);

}  // namespace litegap
