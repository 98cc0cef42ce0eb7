// The ladder: the same samples through one rung of arithmetic after the other, from the float file
// to the kernels the user runs.  The rung where the metric falls names the family of the cause.
//
//   R1 float file · R2 its weights as stored · R3 float weights, activations rounded to the file's
//   scales · R4 both · R5 exact integers, reference kernels · R6 the kernels the user runs
#pragma once
#include <string>
#include <vector>

#include "diagnose/match.h"
#include "diagnose/world.h"

namespace litegap {

struct Rung {
  std::string rung, what;
  double value = 0, step = 0;  // step: loss against the rung above (R2 and R3 against R1, R4
                               // against R1's best known)
};

// `weights` = float values of the quantized graph's constants (match.h).
std::vector<Rung> climb(Lab& lab, const World& world, const std::map<int, Array>& weights);

// Error and price of each operator of the quantized graph.
struct Layer {
  int op = -1;
  std::string name, kind;
  double local_error = 0;        // relative RMS error that this operator adds on exact inputs
  double accumulated_error = 0;  // relative RMS error of its output against the float twin
  double amplification = 0;  // accumulated error at the output over that at its inputs and its own
  double alone = 0;          // loss of the metric when only this operator is quantized
  double without = 0;        // gain of the metric when only this operator is left in float
  double share = 0;          // share of the loss: mean of the two, normalized
  bool priced = false;       // false: the last three were not measured
  bool aligned = true;
};

// Errors on a few samples, prices on `rows` of the data: of all operators, or of the 256 whose own
// error is largest.
std::vector<Layer> blame(Lab& lab, const World& world, const Match& match,
                         const std::map<int, Array>& weights, const std::vector<std::size_t>& rows);

}  // namespace litegap
