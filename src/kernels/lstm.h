// UNIDIRECTIONAL_SEQUENCE_LSTM: what its float, hybrid and integer kernels share.
#pragma once
#include <array>

#include "kernels/move.h"

namespace litegap {

// Places of the operands (the file format's order).  Gates are numbered input, forget, cell, output.
struct LstmInputs {
  static constexpr std::size_t kInput = 0, kWeights = 1, kRecurrent = 5, kBias = 12;
  static constexpr std::size_t kProjection = 16, kProjectionBias = 17, kOutputState = 18, kCellState = 19;
  static constexpr std::size_t kLayerNorm = 20;
  static constexpr std::size_t peephole(int gate) { return gate == 0 ? 9 : gate == 1 ? 10 : 11; }
};
enum LstmGate { kInputGate = 0, kForgetGate = 1, kCellGate = 2, kOutputGate = 3 };

struct LstmShape {
  std::int32_t batch = 0, time = 0, input = 0, cell = 0, output = 0;
  bool time_major = false, cifg = false, peephole = false, projection = false, layer_norm = false;
  // Steps run on all rows at once (time-major) or row after row.
  std::int32_t rows() const { return time_major ? batch : 1; }
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
