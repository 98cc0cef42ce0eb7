// Which scale each activation of a float graph gets when it becomes an int8 graph.
//
// The rules are those of the TensorFlow converter, found by measurement (docs/numerics.md, "How
// scales are chosen"):
//
//   1. Every activation starts with its calibrated range; outputs of fixed range (SOFTMAX ...) have
//      none of their own.
//   2. Forwards: an operator that moves codes and has one real input passes its input's scale on;
//   the
//      range of its output does not count.
//   3. Backwards: an operator that joins several inputs (CONCATENATION, MAXIMUM ...) gives the
//   scale of
//      its output to its inputs, through further code-moving operators, up to the producers.
//   4. Where two demands meet, the later operator of the graph wins; the other reads through a
//   QUANTIZE.
#pragma once
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "model/model.h"
#include "quant/ranges.h"

namespace litegap {

struct Scales {
  // By tensor of graph 0: scale of a float32 activation, or of a constant operand that has to
  // follow one; empty for everything else.
  std::vector<Quant> tensor;
  // (operator, input position): the operator reads the tensor through a QUANTIZE to this scale.
  std::map<std::pair<int, std::size_t>, Quant> input;
  // (operator, output position): the operator writes this scale, and a QUANTIZE makes the tensor's.
  std::map<std::pair<int, std::size_t>, Quant> output;
};

// `ranges` by tensor of graph 0.  Throws Error naming a tensor that calibration never saw.
Scales choose_scales(const Model& float_model, const Ranges& ranges, DType dtype = DType::kInt8);

// Position i of the operator's inputs holds real values (no shape, axis, padding width, index), is
// no weight and no bias.
bool is_value_input(const Op& op, std::size_t i);

}  // namespace litegap
