// Values at an odd address, as NumPy leaves them in most .npz members: such an array may stand for
// a file's rows, of which bytes are copied, but span() refuses it.
//
//   Array rows = …;                  // float32 at address 0x…6a
//   aligned(rows).span<float>()[0]   // of a copy; of the array itself where its address will do
#pragma once
#include "model/array.h"

namespace litegap {

bool is_aligned(const Array& array);
Array aligned(const Array& array);

}  // namespace litegap
