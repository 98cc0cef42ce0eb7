// UNIDIRECTIONAL_SEQUENCE_LSTM: what its float, hybrid and integer kernels share.
#pragma once
#include <array>
#include <cstring>

#include "kernels/move.h"

namespace litegap {

// Places of the operands (the file format's order).  Gates are numbered input, forget, cell,
// output.
struct LstmInputs {
  static constexpr std::size_t kInput = 0, kWeights = 1, kRecurrent = 5, kBias = 12;
  static constexpr std::size_t kProjection = 16, kProjectionBias = 17, kOutputState = 18,
                               kCellState = 19;
  static constexpr std::size_t kLayerNorm = 20;
  static constexpr std::size_t peephole(int gate) { return gate == 0 ? 9 : gate == 1 ? 10 : 11; }
};
enum LstmGate { kInputGate = 0, kForgetGate = 1, kCellGate = 2, kOutputGate = 3 };

struct LstmShape {
  std::int32_t batch = 0, time = 0, input = 0, cell = 0, output = 0;
  bool time_major = false, cifg = false, peephole = false, projection = false, layer_norm = false;
  // Steps run on all rows at once (time-major) or row after row.
  std::int32_t rows() const { return time_major ? batch : 1; }
  // States that are not variables of the plan (converters of float16 files compute them): every run
  // starts from the given value, in a copy.
  bool copies_output = false, copies_cell = false;
  std::size_t state_bytes(std::size_t output_unit, std::size_t cell_unit) const {
    const auto n = static_cast<std::size_t>(batch);
    return (copies_output ? n * static_cast<std::size_t>(output) * output_unit : 0) +
           (copies_cell ? n * static_cast<std::size_t>(cell) * cell_unit : 0);
  }
  void* state(const Io& io, std::size_t input_index, std::size_t unit,
              std::byte** spare) const noexcept {
    const bool is_output = input_index == LstmInputs::kOutputState;
    if (!(is_output ? copies_output : copies_cell)) return io.inputs[input_index];
    const std::size_t bytes = static_cast<std::size_t>(batch) *
                              static_cast<std::size_t>(is_output ? output : cell) * unit;
    std::byte* copy = *spare;
    std::memcpy(copy, io.inputs[input_index], bytes);
    *spare += bytes;
    return copy;
  }
};

// Checks every operand's presence and shape, sets the output shape.
LstmShape lstm_shape(OpSpec& spec);

std::unique_ptr<Kernel> prepare_integer_lstm(OpSpec& spec, const LstmShape& shape);

// Calls step(first row, time offset in rows of the input and output) in the order of the runtime:
// time-major steps take all rows, batch-major ones one row at a time.
template <class Step>
void lstm_steps(const LstmShape& s, Step step) {
  if (s.time_major) {
    for (std::int32_t t = 0; t < s.time; ++t) step(0, static_cast<std::int64_t>(t) * s.batch);
    return;
  }
  for (std::int32_t b = 0; b < s.batch; ++b) {
    for (std::int32_t t = 0; t < s.time; ++t) step(b, static_cast<std::int64_t>(b) * s.time + t);
  }
}

}  // namespace litegap
