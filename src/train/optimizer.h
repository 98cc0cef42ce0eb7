// Optimizers, learning-rate schedules and gradient clipping, by the formulas of Keras 3
// (keras/src/optimizers: where epsilon stands, what counts as step 0), in float32.
//
//   Optimizer o({.kind = OptimizerKind::kAdam}, graph);      // Keras's defaults: rate 0.001 …
//   o.step(weights);                                         // weights.grad -> weights.value
//
// With g the clipped gradient, a the learning rate and t the number of this step from 1:
//   SGD      m <- momentum m - a g;  w += m   (Nesterov: w += momentum m - a g)
//   Adam     m += (g - m)(1 - b1), v += (g^2 - v)(1 - b2), w -= m a sqrt(1 - b2^t) / (1 - b1^t) /
//            (sqrt(v) + eps)
//   AdamW    w -= w decay a first
//   RMSprop  v <- rho v + (1 - rho) g^2;  w -= a g / sqrt(v + eps)   (centered: v - mean(g)^2)
#pragma once
#include <optional>
#include <vector>

#include "train/tape.h"

namespace litegap {

enum class OptimizerKind : std::uint8_t { kSgd, kAdam, kAdamW, kRmsprop };
enum class ScheduleKind : std::uint8_t { kConstant, kExponential, kPiecewise, kCosine };

struct Schedule {
  ScheduleKind kind = ScheduleKind::kConstant;
  double decay_steps = 1, decay_rate = 1;  // exponential: rate * decay_rate^(step / decay_steps)
  bool staircase = false;
  std::vector<double> boundaries, values;  // piecewise: values[i] up to and with boundaries[i]
  double alpha = 0;                        // cosine: ends at alpha * peak
  std::optional<double> warmup_target;     // cosine: linear from the learning rate to this first
  double warmup_steps = 0;
};

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kSgd;
  double learning_rate = 0;  // 0: Keras's default, 0.01 for SGD, else 0.001
  Schedule schedule;
  double momentum = 0;
  bool nesterov = false;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-7;
  double rho = 0.9;
  bool centered = false;
  std::optional<double> weight_decay;                          // AdamW's default is 0.004
  double clip_value = 0, clip_norm = 0, global_clip_norm = 0;  // 0 = none; one of them
};

double learning_rate_at(const OptimizerOptions& options, std::uint64_t step);

class Optimizer {
 public:
  Optimizer(const OptimizerOptions& options, const TrainGraph& graph);
  void step(Weights<float>& weights);

  double learning_rate() const { return rate_factor * learning_rate_at(options_, iterations); }
  const OptimizerOptions& options() const { return options_; }

  double rate_factor = 1;  // of the learning rate, for a phase of a training

  // What a checkpoint has to keep.
  std::uint64_t iterations = 0;
  std::vector<std::vector<std::vector<float>>> slots;  // [slot][parameter][element]

 private:
  OptimizerOptions options_;
  std::vector<bool> trainable_;
};

}  // namespace litegap
