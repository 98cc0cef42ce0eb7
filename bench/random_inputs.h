// Inputs for a benchmark, the same in every run of it.
#pragma once
#include <random>
#include <vector>

#include "run/plan.h"

namespace litegap {

// One array for every input of the plan: floats in [-1, 1], any code of 8 or 16 bits, else zeros.
inline std::vector<Array> random_inputs(const Plan& plan) {
  std::mt19937 random(1);
  std::vector<Array> inputs;
  for (std::size_t i = 0; i < plan.input_count(); ++i) {
    Array a = Array::zeros(plan.input_type(i), plan.input_shape(i));
    if (a.dtype() == DType::kFloat32) {
      for (float& v : a.mutable_span<float>())
        v = static_cast<float>(random() % 2001) / 1000.0f - 1.0f;
    } else if (dtype_bits(a.dtype()) == 8 || a.dtype() == DType::kInt16) {
      for (std::size_t k = 0; k < a.byte_size(); ++k)
        a.mutable_data()[k] = static_cast<std::byte>(random());
    }
    inputs.push_back(std::move(a));
  }
  return inputs;
}

}  // namespace litegap
