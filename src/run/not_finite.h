// Numbers that are none: how many elements of a tensor are NaN or infinite.
//
//   not_finite(Array of [1, NaN, -inf, NaN])   {.elements = 4, .nan = 2, .infinite = 1}
//
// They pass through kernels as the runtime lets them pass: a sum with NaN is NaN, most comparisons
// with it are false, code 0 or the end of a range is what a quantizing operator makes of it.
#pragma once
#include <cstddef>
#include <vector>

#include "run/plan.h"

namespace litegap {

struct NotFinite {
  int op = -1, tensor = -1;  // op is -1 for graph inputs and constants
  std::size_t elements = 0, nan = 0, infinite = 0;

  bool any() const { return nan + infinite > 0; }
};

// Of float16, bfloat16, float32, float64 and complex numbers (a part counts for the whole); no
// other type holds any.
NotFinite not_finite(const Array& values);

// The constants of the main graph with such numbers.
std::vector<NotFinite> not_finite_constants(const Graph& graph);

// Keeps every value of a run with such numbers, in the order of the operators.
class NotFiniteObserver final : public Observer {
 public:
  void on_value(int op, int tensor, const Array& value) override;
  void on_state(int op, int tensor, const Array& value) override;
  std::vector<NotFinite> found;
};

}  // namespace litegap
