// Whether samples can be calibrated with, and what a user should know about them.
//
//   a sample with NaN      Error "calib.npz: sample 17, input 0: nan at element 3; ..."
//   3 samples              a warning: ranges will be too narrow
#pragma once
#include <string>
#include <vector>

#include "data/dataset.h"

namespace litegap {

// Throws Error that names the first value that is not finite and says why it matters.
void check_finite(const Dataset& data, const std::string& why);
// Throws Error on an empty set and on values that are not finite.
void check_samples(const Dataset& data);
// One sentence each: few samples, equal samples, inputs or features that never change.
std::vector<std::string> sample_warnings(const Dataset& data);

}  // namespace litegap
