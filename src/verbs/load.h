// Opening what the user names, and saying what computes.
#pragma once
#include <string>

#include "base/json_fwd.h"
#include "kernels/kernel.h"
#include "model/model.h"

namespace litegap {

inline constexpr const char* kVersion = LITEGAP_VERSION;
inline constexpr const char* kRuntimeVersion =
    "ai-edge-litert 2.3.0";  // what the kernels reproduce

// A .tflite, a C array, or a Keras file (lowered to float operators); a SavedModel folder or a file
// of another kind is an Error that tells what to give instead.
ModelPtr load_model(const std::string& path);

// {"name": "xnnpack", "runtime": "ai-edge-litert 2.3.0", "isa": "avx512vnni"}
Json dialect_json(Dialect dialect);

}  // namespace litegap
