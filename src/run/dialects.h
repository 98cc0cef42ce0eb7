// Where two dialects of one model differ, tensor by tensor, on the same samples.
//
//   DialectDifference d = compare_dialects(setup, data, rows, Dialect::kReference,
//   Dialect::kXnnpack); d.rows.empty()       // every bit of every tensor is the same d.rows[0].op
//   // the first operator that computes something else from the same inputs
//
// Behind the first row the inputs differ already: later rows show how the difference travels.
#pragma once
#include <string>
#include <vector>

#include "run/setup.h"

namespace litegap {

struct DifferingTensor {
  int op = -1, tensor = -1;
  std::string label;                     // of the operator
  std::size_t elements = 0, differ = 0;  // over all samples
  double largest = 0;                    // in codes; of floats as a share of the tensor's peak
};

struct DialectDifference {
  Dialect a = Dialect::kReference, b = Dialect::kXnnpack;
  std::size_t samples = 0, tensors = 0;  // compared
  std::vector<DifferingTensor> rows;     // in the order of the operators
  std::size_t output_elements = 0, outputs_differ = 0;
};

// `rows`: samples to compare on.  Throws Error where the model has no plan in a dialect.
DialectDifference compare_dialects(const Setup& setup, const Dataset& data,
                                   const std::vector<std::size_t>& rows, Dialect a, Dialect b,
                                   const Progress& progress = {});

}  // namespace litegap
