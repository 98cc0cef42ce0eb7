// A run that goes on when it is asked to, for those who look at two at once (run/twins.h).
//
//   RunSteps steps(plan, workspace, inputs, &observer);   // tells the inputs
//   while (steps.next()) {}                               // what run() does
#pragma once
#include <memory>
#include <span>

#include "run/plan.h"

namespace litegap {

class RunSteps {
 public:
  // As run(): throws Error for inputs of the wrong type or shape.  Not for walked plans.
  RunSteps(const Plan& plan, Workspace& workspace, std::span<const Array> inputs,
           Observer* observer);
  ~RunSteps();
  RunSteps(const RunSteps&) = delete;
  RunSteps& operator=(const RunSteps&) = delete;
  // Computes one step of Plan::State and tells its values; false where there is none left.
  bool next();

  struct Inside;  // engine.cc

 private:
  std::unique_ptr<Inside> inside_;
};

}  // namespace litegap
