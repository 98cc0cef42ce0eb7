// Two plans side by side, sample by sample, with the errors of every value that both have.
//
//   Twins twins(exact, plan);               // the same graph; or with the twin of every tensor
//   twins.run(real_inputs, inputs);
//   twins.errors[t].error / twins.errors[t].signal   // relative squared error of tensor t
//
// Both go on in turns: before a value of `plan` is compared, `exact` computes its twin, so both are
// still in the cache, and neither plan has to keep its values.  Only where `exact` has to go past a
// value before its turn comes that value is copied.
#pragma once
#include <span>
#include <vector>

#include "run/plan.h"
#include "run/scan.h"

namespace litegap {

class Twins {
 public:
  // Of plans of one sample a run; `twin[t]` is the tensor of `exact` that belongs to tensor t of
  // `plan` (-1: none), without it t itself.
  Twins(Plan exact, Plan plan, std::vector<int> twin = {});
  // As litegap::run(), of both.
  void run(std::span<const Array> exact_inputs, std::span<const Array> inputs);
  void reset();  // states of both, not the errors
  // The last values of `exact`, by tensor, for a plan made with keep_values; good until the next
  // run.
  std::span<const Array> exact_values() const { return values_; }

  std::vector<TwinErrors> errors;  // by tensor of `plan`, of all runs

 private:
  class Exact;
  class Against;
  void find_copied();
  Plan exact_, plan_;
  Workspace exact_space_, space_;
  std::vector<int> twin_;  // by tensor of `plan`
  std::vector<Array> values_;
  std::vector<bool> copied_;  // by tensor of `exact`
};

}  // namespace litegap
