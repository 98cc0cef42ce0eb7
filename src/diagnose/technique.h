// How a model was quantized, decided from its operators and tensor types, never from its name: a
// file called "float32" may hold int8 weights.
#pragma once
#include <string>
#include <vector>

#include "model/model.h"

namespace litegap {

struct FileTechnique {
  // float32, float16, dynamic-range, weight-only-int8, weight-only-int4, static-int8, static-uint8,
  // int16x8, mixed
  std::string name;
  std::string weights;  // float, per-tensor, per-channel, blockwise, mixed
  std::vector<int>
      float_fallback;  // operators of the main graph left in float, of static techniques
  std::vector<std::string> notes;  // one sentence each: what is unusual or worth knowing
};

FileTechnique identify(const Model& model);

}  // namespace litegap
