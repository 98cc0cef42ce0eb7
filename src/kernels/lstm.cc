// LSTM, UNIDIRECTIONAL_SEQUENCE_LSTM and BIDIRECTIONAL_SEQUENCE_LSTM: shapes, and which kernel
// computes what.  Float and hybrid: lstm_float.cc; codes: lstm_integer.cc; the old basic cell:
// lstm_basic.cc.
#include "kernels/lstm.h"

#include <algorithm>

namespace litegap {
namespace {

void check_gates(const OpSpec& spec, const LstmPlaces& p, const LstmShape& s) {
  for (const std::size_t g : {0, 1, 2, 3}) {
    const bool peephole = s.peephole && g != kCellGate;
    if (g == kInputGate && s.cifg) {
      for (const std::size_t i : {p.weights[g], p.recurrent[g], p.peephole[g], p.bias[g]}) {
        if (spec.has(i)) refuse(spec, "input {} without weights of the input gate", i);
      }
      if (s.layer_norm && spec.has(p.layer_norm[g]))
        refuse(spec, "input {} without weights of the input gate", p.layer_norm[g]);
      continue;
    }
    expect_operand(spec, p.weights[g], {s.cell, s.input});
    expect_operand(spec, p.recurrent[g], {s.cell, s.output});
    expect_operand(spec, p.bias[g], {s.cell});
    if (s.layer_norm) expect_operand(spec, p.layer_norm[g], {s.cell});
    if (peephole) expect_operand(spec, p.peephole[g], {s.cell});
    if (p.has_aux) expect_operand(spec, p.aux_weights[g], {s.cell, s.aux});
  }
  if (s.projection) expect_operand(spec, p.projection, {s.output, s.cell});
  if (spec.has(p.projection_bias)) {
    if (!s.projection) refuse(spec, "a projection bias without a projection");
    expect_operand(spec, p.projection_bias, {s.output});
  }
}

}  // namespace

LstmOptions lstm_options(const OpSpec& spec) {
  if (spec.op->code == OpCode::kLstm) {
    const auto& a = attrs_of<LstmAttrs>(spec);
    return {a.activation, a.cell_clip, a.proj_clip, true, a.asymmetric_quantize_inputs};
  }
  if (spec.op->code == OpCode::kBidirectionalSequenceLstm) {
    const auto& a = attrs_of<BidirectionalLstmAttrs>(spec);
    return {a.activation, a.cell_clip, a.proj_clip, a.time_major, a.asymmetric_quantize_inputs};
  }
  const auto& a = attrs_of<SequenceLstmAttrs>(spec);
  return {a.activation, a.cell_clip, a.proj_clip, a.time_major, a.asymmetric_quantize_inputs};
}

LstmShape lstm_shape(const OpSpec& spec, const LstmPlaces& p, const LstmOptions& options) {
  LstmShape s;
  const std::size_t rank = spec.op->code == OpCode::kLstm ? 2 : 3;
  if (!spec.has(p.x) || spec.inputs[p.x].shape.size() != rank)
    refuse(spec, "its input needs {} dimensions", rank);
  const Shape& x = spec.inputs[p.x].shape;
  s.time_major = options.time_major;
  s.time = rank == 2 ? 1 : x[s.time_major ? 0 : 1];
  s.batch = rank == 2 ? x[0] : x[s.time_major ? 1 : 0];
  s.input = x.back();
  const std::size_t w = p.weights[kOutputGate], r = p.recurrent[kOutputGate];
  if (!spec.has(w) || spec.inputs[w].shape.size() != 2 || !spec.has(r) ||
      spec.inputs[r].shape.size() != 2) {
    refuse(spec, "its weights need 2 dimensions");
  }
  s.cell = spec.inputs[w].shape[0];
  s.output = spec.inputs[r].shape[1];
  s.cifg = !spec.has(p.weights[kInputGate]);
  s.peephole = spec.has(p.peephole[kOutputGate]);
  s.projection = spec.has(p.projection);
  s.layer_norm = p.layer_norm[kForgetGate] != 0 && spec.has(p.layer_norm[kForgetGate]);
  if (p.has_aux) {
    s.aux = spec.inputs[p.aux].shape.back();
    Shape want = x;
    want.back() = s.aux;
    expect_operand(spec, p.aux, want);
  }
  if (!s.projection && s.cell != s.output)
    refuse(spec, "a cell of {} and an output of {} without a projection", s.cell, s.output);
  if (s.cell < 1 || s.output < 1 || s.input < 1) refuse(spec, "an empty dimension");
  check_gates(spec, p, s);
  s.output_state = state_of(spec, p.output_state, std::int64_t{s.batch} * s.output);
  s.cell_state = state_of(spec, p.cell_state, std::int64_t{s.batch} * s.cell);
  return s;
}

namespace {

std::unique_ptr<Kernel> prepare_lstm(OpSpec& spec) {
  if (spec.op->code == OpCode::kLstm) {
    const std::int8_t type = attrs_of<LstmAttrs>(spec).kernel_type;
    if (type == 1) return prepare_basic_lstm(spec);
    if (type != 0) refuse(spec, "an unknown kernel type {}", type);
  } else if (attrs_of<SequenceLstmAttrs>(spec).diagonal_recurrent_tensors) {
    refuse(spec, "diagonal recurrent weights: not supported yet");
  }
  if (spec.inputs.size() != 20 && spec.inputs.size() != 24)
    refuse(spec, "has {} inputs, expected 20 or 24", spec.inputs.size());
  expect_outputs(spec, 1);
  const LstmPlaces places;
  const LstmShape s = lstm_shape(spec, places, lstm_options(spec));
  Shape out = spec.inputs[places.x].shape;
  out.back() = s.output;
  spec.outputs[0].shape = out;
  switch (spec.inputs[places.x].dtype) {
    case DType::kFloat32:
      return prepare_float_lstm(spec, s, places, {0, s.output, 0, false});
    case DType::kInt8:
      return prepare_integer_lstm(spec, s);
    default:
      refuse(spec, "an input of type {}: not supported yet",
             dtype_name(spec.inputs[places.x].dtype));
  }
}

// ---- both directions
class BothDirections final : public Kernel {
 public:
  BothDirections(std::unique_ptr<Kernel> forward, std::unique_ptr<Kernel> backward)
      : forward_(std::move(forward)), backward_(std::move(backward)) {}
  std::size_t scratch_bytes() const override {
    return std::max(forward_->scratch_bytes(), backward_->scratch_bytes());
  }
  void run(const Io& io) const noexcept override {
    forward_->run(io);
    backward_->run(io);
  }

 private:
  std::unique_ptr<Kernel> forward_, backward_;
};

LstmPlaces direction(std::size_t first, std::size_t output_state, std::size_t aux_weights) {
  LstmPlaces p;
  for (std::size_t g = 0; g < 4; ++g) {
    p.weights[g] = first + g;
    p.recurrent[g] = first + 4 + g;
    p.bias[g] = first + 11 + g;
    p.layer_norm[g] = 0;
    p.aux_weights[g] = aux_weights + g;
  }
  p.peephole = {first + 8, first + 9, 0, first + 10};
  p.projection = first + 15;
  p.projection_bias = first + 16;
  p.output_state = output_state;
  p.cell_state = output_state + 1;
  p.aux = 39;
  return p;
}

// An auxiliary input with weights of its own adds to both directions; without, it is the input of
// the backward one.
std::unique_ptr<Kernel> prepare_bidirectional(OpSpec& spec) {
  const bool merge = attrs_of<BidirectionalLstmAttrs>(spec).merge_outputs;
  if (spec.inputs.size() != 48) refuse(spec, "has {} inputs, expected 48", spec.inputs.size());
  expect_outputs(spec, merge ? 1 : 2);
  LstmPlaces forward = direction(1, 35, 40), backward = direction(18, 37, 44);
  const bool aux = spec.has(39), weighted = spec.has(forward.aux_weights[kForgetGate]);
  if (weighted && !aux) refuse(spec, "weights without an auxiliary input");
  forward.has_aux = backward.has_aux = weighted;
  if (aux && !weighted) backward.x = 39;
  const LstmOptions options = lstm_options(spec);
  const LstmShape f = lstm_shape(spec, forward, options), b = lstm_shape(spec, backward, options);
  if (f.batch != b.batch || f.time != b.time)
    refuse(spec, "the auxiliary input has shape {}", shape_text(spec.inputs[39].shape));
  Shape out = spec.inputs[0].shape;
  out.back() = merge ? f.output + b.output : f.output;
  spec.outputs[0].shape = out;
  LstmTarget to_front{0, out.back(), 0, false}, to_back{0, out.back(), f.output, true};
  if (!merge) {
    out.back() = b.output;
    spec.outputs[1].shape = out;
    to_back = {1, b.output, 0, true};
  }
  auto first = prepare_float_lstm(spec, f, forward, to_front);
  return std::make_unique<BothDirections>(std::move(first),
                                          prepare_float_lstm(spec, b, backward, to_back));
}

constexpr KernelRow kRows[] = {
    {OpCode::kUnidirectionalSequenceLstm, prepare_lstm, "float32 int8 hybrid"},
    {OpCode::kLstm, prepare_lstm, "float32 int8 uint8 hybrid"},
    {OpCode::kBidirectionalSequenceLstm, prepare_bidirectional, "float32 hybrid"},
};

}  // namespace

std::span<const KernelRow> lstm_kernel_rows() { return kRows; }

}  // namespace litegap
