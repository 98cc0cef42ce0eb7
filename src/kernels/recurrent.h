// What the recurrent operators share: products of float or int8 matrices with rows of activations
// that are quantized at run time, activations, and state that lives between runs.
#pragma once
#include <cstring>
#include <vector>

#include "kernels/hybrid.h"
#include "kernels/kernel.h"
#include "kernels/packed_rows.h"

namespace litegap {

// A matrix of float or int8 weights, an operand of the kernel.
struct WeightMatrix {
  std::size_t input = 0;
  std::int32_t rows = 0, columns = 0;
  bool codes = false;
  float scale = 1;
  // Constant floats once more, eight rows side by side: [panel][column][row of the panel].  Lanes
  // of a vector are rows then, each of which is summed in its own order.
  std::vector<float> panels;
  PackedRows packed;  // constant codes once more
};
// Sets *codes when the weights are int8.
WeightMatrix weight_matrix(const OpSpec& spec, std::size_t input, bool* codes);

// Rows of activations, and their codes for matrices of codes.
struct ActivationRows {
  const float* values = nullptr;
  const std::int16_t* codes = nullptr;  // minus zero point
  const float* scales = nullptr;        // one per row
};
// Codes of `rows` rows, written to `to` and `scales`.
ActivationRows quantized_rows(HybridCode how, const float* values, std::int32_t rows,
                              std::int32_t width, std::int16_t* to, float* scales) noexcept;
// out += matrix * row, for every row.  Of codes a word behind the last may be read.
void add_product(const Io& io, const WeightMatrix& m, const ActivationRows& rows,
                 std::int32_t count, float* out) noexcept;

// Float activations of the recurrent operators: these apply TANH and SIGN_BIT.
void activate_row(Activation a, float* v, std::int64_t n) noexcept;

// A state that is a variable of the plan, or starts from the given value in every run.
struct State {
  std::size_t input = 0, bytes = 0;
  bool copies = false;
  std::size_t scratch() const { return copies ? (bytes + 63) / 64 * 64 : 0; }
  void* at(const Io& io, std::byte** spare) const noexcept {
    if (!copies) return io.inputs[input];
    std::byte* copy = *spare;
    std::memcpy(copy, io.inputs[input], bytes);
    *spare += scratch();
    return copy;
  }
};
State state_of(const OpSpec& spec, std::size_t input, std::int64_t elements);

void expect_operand(const OpSpec& spec, std::size_t input, const Shape& shape);
void expect_float(const OpSpec& spec, std::size_t input);  // where it is present

}  // namespace litegap
