// Quantization-aware training: the model is trained while it already computes as its int8 file
// will, so that it learns to live with the rounding.
//
//   QatResult r = qat(*read_model("float.tflite"), data, {.fit = {.epochs = 5}});
//   write_model(r.model, "int8.tflite");          // r.fake_accuracy is what the file will get
//
// Scales are placed by the quantizer's own rules (quant/scales.h) from ranges that follow the
// training: they start at the first batch, then move towards each batch's range, quickly at first;
// a range cuts values off only when it has settled.  The exported file
// is made from the same weights and the same ranges by quantize_static, so that what was trained
// and what was written agree but for the rounding inside of integer kernels.
//
// The model is one with batch normalization folded: a float .tflite, or lower() of a Keras model.
#pragma once
#include <string>
#include <vector>

#include "quant/quantize.h"
#include "train/fake.h"
#include "train/fit.h"

namespace litegap {

struct QatOptions {
  FitOptions fit;
  StaticOptions quantization;
  double range_momentum = 0.99;  // range <- momentum range + (1 - momentum) batch's range
  bool learned_steps = false;    // after the first epoch, step sizes follow their gradient (LSQ)
  double step_rate = 0.01;       // its learning rate
};

struct QatResult {
  FitResult fit;
  Model float_model;                         // trained weights, not rounded
  Model model;                               // the int8 file
  Ranges ranges;                             // by tensor of the float model
  double fake_loss = 0, fake_accuracy = -1;  // of the fake-quantized graph on all samples
  std::vector<std::string> unsettled;        // tensors whose range moved over 2 % in the last epoch
};

QatResult qat(const Model& float_model, const Dataset& data, const QatOptions& options);

// The graph with kTrainFake behind every activation, weight and bias; its slots are added.
TrainGraph fake_graph(const Model& float_model, const StaticOptions& quantization,
                      std::vector<FakeSlot>& slots);

}  // namespace litegap
