// Which tensor of the quantized graph is which tensor of the float graph.
//
// Two foreign files are aligned by what they compute, never by name alone:
//   1. the same operators in the same order once QUANTIZE and DEQUANTIZE are left out: one to one;
//   2. otherwise outputs of equal size whose values correlate on a few samples (the quantized graph
//      computed in real arithmetic, so that only its weights are rounded), equal names first.
// What could not be aligned is reported, not guessed.
#pragma once
#include <string>
#include <vector>

#include "diagnose/world.h"

namespace litegap {

struct Match {
  std::vector<int> float_tensor;  // by tensor of the quantized graph; -1 = not aligned
  std::vector<int> float_op;      // by operator of the quantized graph; -1 = none
  std::vector<int> unaligned;     // activations of the quantized graph that have no twin
  std::size_t activations = 0;    // of the quantized graph, conversions left out
  std::string method;             // "structure" or "values"
};

Match match_models(Lab& lab, const World& world);

// Float values of the quantized graph's weights and biases, from the float twin: tensor -> real
// array in the quantized tensor's shape.  Only constants of aligned operators whose shapes agree
// and whose values correlate.
std::map<int, Array> float_constants(const World& world, const Match& match);

}  // namespace litegap
