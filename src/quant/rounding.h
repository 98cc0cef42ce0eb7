// Weights to codes, better than one by one.
//
// Rounding each weight to the nearest code is best for the weights and not for the layer: errors of
// weights that meet similar inputs add up, and could cancel.  With H = E[x x^T] (moments.h) the
// squared error of an output is e H e^T, e the row of weight errors.  Least of that:
//
//   exhaustive   all up/down choices of a row of at most 12 taps (depthwise): 4096 at most
//   gptq         weights in turn, each error passed on to those still to come along the Cholesky
//                factor of H^-1 (Frantar and others, "GPTQ", 2022; most active inputs first)
//   coordinate   single codes up or down while that lowers e H e^T, from the best start known
//
//   two equal inputs, weights 0.4 and 0.4, step 1: nearest gives 0 + 0, the others 1 + 0
//
// A row never gets worse than by rounding to nearest.
#pragma once
#include "quant/moments.h"
#include "quant/quantize.h"
#include "quant/recipe.h"

namespace litegap {

struct CodingOptions {
  int bits = 8;
  Granularity granularity = Granularity::kPerChannel;
  WeightScale scale = WeightScale::kMinmax;
  WeightRounding rounding = WeightRounding::kNearest;
};

// Scales and codes of one layer's weights; `moments` may be null (then nearest).
CodedWeights code_weights(const Array& weights, OpCode code, const Moments* moments,
                          const CodingOptions& options);

// Scales by the named rule: max|w| / 127, or the least squared error of the weights, found by
// search (mse) or by the fixed point of clipping (octav).
Quant weight_scales(const Array& weights, OpCode code, const CodingOptions& options);

// Mean over rows of e H e^T for codes against the weights they stand for.
double layer_error(const Array& weights, OpCode code, const CodedWeights& coded,
                   const Moments& moments);

}  // namespace litegap
