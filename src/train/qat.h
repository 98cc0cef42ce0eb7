// Quantization-aware training: the model is trained while it already computes as its int8 file
// will, so that it learns to live with the rounding.
//
//   QatResult r = qat(read_keras("model.keras"), data, {.fit = {.epochs = 5}});
//   QatResult r = qat(*read_model("float.tflite"), data, {.fit = {.epochs = 5}});
//   write_model(r.model, "int8.tflite");          // r.fake_accuracy is what the file will get
//
// Scales are placed by the quantizer's own rules (quant/scales.h) from ranges that follow the
// training: they start at the first batch, then move towards each batch's range, quickly at first;
// a range cuts values off only when it has settled.  The exported file
// is made from the same weights and the same ranges by quantize_static, so that what was trained
// and what was written agree but for the rounding inside of integer kernels.
//
// Batch normalization of a Keras model is trained folded (train/fold.h), with the statistics of
// each batch at first.  When freeze_after of the steps are done its moving statistics stay as they
// are, and the rest of the training sees what the file computes.  (Those of an architecture without
// weights, which started at 0 and 1, are measured over up to 64 batches then.)  That rest takes
// smaller steps: nothing else holds means and widths of layers in place any more, and the memory of
// an optimizer knows no gradients in these directions.  (Measured on four nets for pictures with
// Adam at 0.01: loss of the file 0.04 to 0.07 at the full rate, 0.002 to 0.003 at a tenth.)  In a
// float .tflite batch normalization has been folded already.
#pragma once
#include <string>
#include <vector>

#include "quant/quantize.h"
#include "train/fake.h"
#include "train/fit.h"
#include "train/fold.h"

namespace litegap {

struct QatOptions {
  FitOptions fit;
  StaticOptions quantization;
  double range_momentum = 0.99;  // range <- momentum range + (1 - momentum) batch's range
  bool learned_steps = false;    // after the first epoch, step sizes follow their gradient (LSQ)
  double step_rate = 0.01;       // its learning rate
  double freeze_after = 0.8;     // share of the steps with batch statistics; 0 = none, 1 = all
  double frozen_rate = 0.1;      // times the learning rate, for the steps behind the freeze
  bool keep_outputs = false;     // QatResult::fake_outputs is wanted
};

struct QatResult {
  FitResult fit;
  Model float_model;                         // trained weights, not rounded
  Model model;                               // the int8 file
  Ranges ranges;                             // by tensor of the float model
  double fake_loss = 0, fake_accuracy = -1;  // of the fake-quantized graph on all samples
  Array fake_outputs;                        // its outputs there, when asked for
  std::vector<std::string> unsettled;        // tensors whose range moved over 2 % in the last epoch
};

QatResult qat(const Model& float_model, const Dataset& data, const QatOptions& options);
QatResult qat(const KerasModel& model, const Dataset& data, const QatOptions& options);
// What both are made of: `graph` is a float model, or lower() with keep_norms.
QatResult qat(const TrainGraph& graph, const Dataset& data, const QatOptions& options);

// The graph of a Keras model that qat() trains.
TrainGraph qat_graph(const KerasModel& model);

// The file's graph with kTrainFake behind every activation, weight and bias, and normalizations
// folded while it runs; its slots are added.  Parameters are those of folded.values.
TrainGraph fake_graph(const FoldedModel& folded, const StaticOptions& quantization,
                      std::vector<FakeSlot>& slots);

}  // namespace litegap
