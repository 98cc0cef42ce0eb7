// An array whose bytes are still to be written: for buffers that are filled at once, where setting
// them to zero first would cost as much as filling them.
//
//   Array all = unset_array(DType::kFloat32, {10000, 784});   // 31 MB, no page touched yet
#pragma once
#include "model/array.h"

namespace litegap {

// As Array::zeros, but the values are undefined until they are written.
Array unset_array(DType dtype, Shape shape);

}  // namespace litegap
