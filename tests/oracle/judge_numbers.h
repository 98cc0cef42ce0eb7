// The judge of functions of numbers: float32, and integers without scales.
#pragma once
#include "oracle/sketch.h"

namespace litegap::oracle {

Verdict unary_numbers(const Node& n);
Verdict binary_numbers(const Node& n);  // broadcasts
double clamped(double v, Activation a);

}  // namespace litegap::oracle
