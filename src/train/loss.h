// Losses: how far outputs are from targets, and the gradient that training starts from.
//
//   LossOptions{.kind = LossKind::kSparseCrossEntropy}     // targets: class numbers
//   const LossSite site = loss_site(graph, options);       // site.logits: taken behind SOFTMAX
//
// Formulas and clipping are Keras's (keras/src/losses, 3.x): probabilities are kept in [1e-7, 1 -
// 1e-7]; the mean is over the batch and all remaining axes.  Where the graph ends in SOFTMAX or
// LOGISTIC, cross-entropies are computed from the logits before it: the same value without its
// rounding, and a gradient that never vanishes.
#pragma once
#include <string>
#include <vector>

#include "train/graph.h"

namespace litegap {

enum class LossKind : std::uint8_t {
  kMeanSquared,
  kMeanAbsolute,
  kHuber,
  kBinaryCrossEntropy,
  kSparseCrossEntropy,  // targets are class numbers
  kCrossEntropy,        // targets are distributions
  kKlDivergence,
  kDistill,  // targets are another model's probabilities: T^2 KL(p^(1/T) || softmax(logits / T))
};
const char* loss_name(LossKind kind);

struct LossOptions {
  LossKind kind = LossKind::kMeanSquared;
  bool from_logits = false;  // of cross-entropies, when the graph does not end in SOFTMAX/LOGISTIC
  double delta = 1;          // Huber
  double temperature = 1;    // distillation
};

struct LossSite {
  int tensor = -1;      // whose gradient the loss gives
  bool logits = false;  // it holds logits
};
// Throws Error when the graph has not exactly one output.
LossSite loss_site(const TrainGraph& graph, const LossOptions& options);

// One number per sample, or as many as the output has per sample.
std::size_t targets_per_sample(const LossOptions& options, const Shape& output);

// The loss of a batch: `output` is the site's value, `rows` samples.  `grad` (null: not wanted)
// becomes the gradient.  Class numbers have been checked.
template <class T>
double loss_of(const LossOptions& options, bool logits, const T* output, const Shape& shape,
               const float* target, T* grad);

}  // namespace litegap
