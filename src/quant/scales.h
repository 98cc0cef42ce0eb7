// Which scale each activation of a float graph gets when it becomes an integer graph.
//
// int8: the rules are those of the TensorFlow converter, found by measurement (docs/numerics.md,
// "How scales are chosen"):
//
//   1. Every activation starts with its calibrated range; outputs of fixed range (SOFTMAX ...) have
//      none of their own.
//   2. Forwards: an operator that moves codes and has one real input passes its input's scale on;
//      the range of its output does not count.
//   3. Backwards: an operator that joins several inputs (CONCATENATION, MAXIMUM ...) gives the
//      scale of its output to its inputs, through further code-moving operators, up to the
//      producers.
//   4. Where two demands meet, the later operator of the graph wins; the other reads through a
//      QUANTIZE.
//
// int16: an older quantizer's rules, operator by operator.  Rule 2 holds; an operator that joins
// inputs keeps the scale of its output and reads every input that has another one through a
// QUANTIZE; producers never change.
//
//   conv -> [-4, 2], concat of it and of another tensor -> [-1, 4]
//   int8: the conv is stored with the scale of [-1, 4] and saturates; int16: it keeps [-4, 2]
#pragma once
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "model/model.h"
#include "quant/ranges.h"

namespace litegap {

// The arithmetic of one operator in the written file.
enum class Form : std::uint8_t { kFloat, kInt8, kInt16 };

struct Scales {
  // By tensor of graph 0: scale of a float32 activation, or of a constant operand that has to
  // follow one; empty for everything else.
  std::vector<Quant> tensor;
  // (operator, input position): the operator reads the tensor through a QUANTIZE to this scale.
  std::map<std::pair<int, std::size_t>, Quant> input;
  // (operator, output position): the operator writes this scale, and a QUANTIZE makes the tensor's.
  std::map<std::pair<int, std::size_t>, Quant> output;
};

// `ranges` by tensor of graph 0; `forms` by operator, empty = int8 everywhere.  The rules apply to
// operators of the form asked for; to the others their tensors are just ranges.  Throws Error
// naming a tensor that calibration never saw.
Scales choose_scales(const Model& float_model, const Ranges& ranges,
                     const std::vector<Form>& forms = {});
Scales choose_scales_int16(const Model& float_model, const Ranges& ranges,
                           const std::vector<Form>& forms);

// Position i of the operator's inputs holds real values (no shape, axis, padding width, index), is
// no weight and no bias.
bool is_value_input(const Op& op, std::size_t i);

}  // namespace litegap
