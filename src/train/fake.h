// Rounding to the grid of an integer file, with gradients that pass straight through.
//
//   FakeRange r = nudge(-1.0f, 3.0f, 8, false);   // TensorFlow's fake_quant_with_min_max_vars
//   fake(r, 0.7f);                                // the value on the grid
//   passes(r, 0.7f);                              // whether its gradient passes: inside, inclusive
//
// Formulas, float32 throughout: conversion note 6.1.  Per channel the division is a multiplication
// by (n1 - n0) / (hi - lo), as the two operators of TensorFlow have it.
//
// While a model is trained for an integer file the grids are the file's own (quant/params.h): of
// activations by the scales that the quantizer would choose, of weights max|w| / 127 per channel,
// of biases the product of both.  A weight never leaves its own range, so its gradient always
// passes: a layer of a single weight, which always lies on the edge of its range, cannot freeze.
#pragma once
#include <string>
#include <vector>

#include "model/model.h"

namespace litegap {

struct FakeRange {
  float low = 0, high = 0;  // nudged ends: zero is a code
  float scale = 0, inverse = 0;
  float zero = 0;     // the code of zero
  bool empty = true;  // lo = hi = 0: everything becomes 0, and every gradient passes
};
FakeRange nudge(float lo, float hi, int bits, bool narrow);
float fake(const FakeRange& r, float x);              // per tensor
float fake_per_channel(const FakeRange& r, float x);  // the other rounding
// The operators run with denormal numbers taken as zero.
inline float flushed(float x) { return x > -1.17549435e-38f && x < 1.17549435e-38f ? 0.0f : x; }
inline bool passes(const FakeRange& r, float x) {
  return r.empty || (flushed(x) >= r.low && flushed(x) <= r.high);
}

enum class FakeKind : std::uint8_t { kActivation, kWeights, kBias };

// One place of the graph whose values are rounded.
struct FakeSlot {
  FakeKind kind = FakeKind::kActivation;
  int tensor = -1;                       // of the float model
  int axis = -1;                         // weights: the axis of channels; -1 = one scale
  int data_slot = -1, weight_slot = -1;  // bias: whose scales make its own
  Quant quant;                           // empty: values pass as they are
  // Of the last batch, written while training.
  float batch_min = 0, batch_max = 0;
  std::size_t batch_values = 0;
  bool seen = false;
  // The range has settled, and cuts values as in the file.  Gradients pass even so while the range
  // follows the values: it runs behind them, and an output that has to grow would get none.
  bool cuts = false;
  bool learn = false;    // step_grad is wanted
  double step_grad = 0;  // learned step size: d loss / d scale
};

}  // namespace litegap
