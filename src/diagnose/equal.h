// Causes that are proved by equality or by an interval, not by two experiments: A00 (the baseline
// comes from another harness, or there is no loss), B01 (nothing, or only the weights, was
// quantized), G01 (kernels round differently, and it does no harm).
#pragma once
#include <optional>

#include "diagnose/cause.h"

namespace litegap {

// The float model in the healed harness stays below (or above) the claim by more than chance.
std::optional<Finding> find_other_baseline(Bench& bench, double claimed);

// The quantized file computes what the float file computes, or stores int8 weights only although
// calibration data were given.
std::optional<Finding> find_not_quantized(Bench& bench);

// A device dump that equals our outputs under another dialect, or differs by single codes without
// any effect on the metric.
std::optional<Finding> find_rounding_only(Bench& bench, const Array& dump_codes);

}  // namespace litegap
