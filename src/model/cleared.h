// An array of zeros for work that goes over it again and again.
//
// On pages of 4 KB a loop that moves one vector a step takes half as long again in some processes,
// by the pages that the system happens to give; on pages of 2 MB it seldom does, and there are
// fewer page faults.
//
//   cleared_array(DType::kInt8, {3 << 20});   // on two large pages
//   cleared_array(DType::kInt8, {5000});      // as Array::zeros
#pragma once
#include "model/array.h"

namespace litegap {

// As Array::zeros; from 1 MB on it begins on a large page and asks the system for such.
Array cleared_array(DType dtype, Shape shape);

}  // namespace litegap
