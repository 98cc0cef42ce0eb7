// The judge of stacked plans: every value of every sample, and every sum, against a run of its own.
#pragma once
#include <string>
#include <vector>

#include "run/plan.h"

namespace litegap {

// Where the bits of a run of all samples differ from those of one run each; "" where nowhere.
// `samples[s]` holds the inputs of sample s.  `stacked`, when given, gets how many the plan took at
// once.  Throws Error from planning.
std::string stacking_difference(const ModelPtr& model, const Numerics& numerics,
                                const PlanOptions& options,
                                const std::vector<std::vector<Array>>& samples,
                                std::size_t* stacked = nullptr);

}  // namespace litegap
