// LSTM, UNIDIRECTIONAL_SEQUENCE_LSTM and BIDIRECTIONAL_SEQUENCE_LSTM: what their float, hybrid and
// integer kernels share.
#pragma once
#include <array>
#include <cstring>

#include "kernels/move.h"
#include "kernels/recurrent.h"

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

// The same places for one direction of any of the operators.
struct LstmPlaces {
  std::size_t x = LstmInputs::kInput;
  std::array<std::size_t, 4> weights{1, 2, 3, 4}, recurrent{5, 6, 7, 8}, bias{12, 13, 14, 15},
      layer_norm{20, 21, 22, 23}, peephole{9, 10, 0, 11};  // the cell gate has none
  std::size_t projection = LstmInputs::kProjection, projection_bias = LstmInputs::kProjectionBias;
  std::size_t output_state = LstmInputs::kOutputState, cell_state = LstmInputs::kCellState;
  bool has_aux = false;  // an auxiliary input with weights of its own
  std::size_t aux = 0;
  std::array<std::size_t, 4> aux_weights{};
};

struct LstmOptions {
  Activation activation = Activation::kTanh;
  float cell_clip = 0, proj_clip = 0;
  bool time_major = false, asymmetric = false;
};
LstmOptions lstm_options(const OpSpec& spec);

struct LstmShape {
  std::int32_t batch = 0, time = 0, input = 0, cell = 0, output = 0, aux = 0;
  bool time_major = false, cifg = false, peephole = false, projection = false, layer_norm = false;
  // Steps run on all rows at once (time-major) or row after row.
  std::int32_t rows() const { return time_major ? batch : 1; }
  State output_state, cell_state;
  std::size_t state_bytes() const { return output_state.scratch() + cell_state.scratch(); }
};

// Checks the presence and shape of every operand of one direction.  An input of two dimensions is
// one step of all its rows.
LstmShape lstm_shape(const OpSpec& spec, const LstmPlaces& places, const LstmOptions& options);

std::unique_ptr<Kernel> prepare_integer_lstm(OpSpec& spec, const LstmShape& shape);

// Where a direction writes: an output, the elements of its rows, and where its own begin.
struct LstmTarget {
  std::size_t output = 0;
  std::int64_t row = 0, offset = 0;
  bool backward = false;
};
std::unique_ptr<Kernel> prepare_float_lstm(OpSpec& spec, const LstmShape& shape,
                                           const LstmPlaces& places, const LstmTarget& target);
// LSTM with the kernel type BASIC (lstm_basic.cc).
std::unique_ptr<Kernel> prepare_basic_lstm(OpSpec& spec);

// Calls step(first row, time offset in rows of the input and output) in the order of the runtime:
// time-major steps take all rows, batch-major ones one row at a time.
template <class Step>
void lstm_steps(const LstmShape& s, bool backward, Step step) {
  const auto order = [&](std::int32_t t) { return backward ? s.time - 1 - t : t; };
  if (s.time_major) {
    for (std::int32_t t = 0; t < s.time; ++t) step(0, std::int64_t{order(t)} * s.batch);
    return;
  }
  for (std::int32_t b = 0; b < s.batch; ++b) {
    for (std::int32_t t = 0; t < s.time; ++t) step(b, std::int64_t{b} * s.time + order(t));
  }
}

}  // namespace litegap
