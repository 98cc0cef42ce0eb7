// RNN, UNIDIRECTIONAL_SEQUENCE_RNN, BIDIRECTIONAL_SEQUENCE_RNN and SVDF (docs/numerics.md,
// section 4), over float activations with float or int8 weights; SVDF also over codes.
//
//   RNN    h = act(W x + A aux + R h + bias), which is also the output
//   SVDF   a memory of the last products of each filter with the input, weighted by age:
//          y(unit) = act(bias + sum over its filters and the memory of weight * product)
//
// A step of codes quantizes the input and the state by themselves, a row at a time.
#include <algorithm>
#include <cmath>

#include "kernels/move.h"
#include "kernels/recurrent.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

HybridCode code_of(bool asymmetric) {
  return asymmetric ? HybridCode::kAsymmetric : HybridCode::kSymmetricRow;
}

// ---- one direction
struct Rnn {
  std::size_t x = 0, bias = 3, aux = 0;
  WeightMatrix input, recurrent, aux_weights;
  State state;
  bool has_aux = false, codes = false, time_major = true, backward = false;
  std::int32_t batch = 0, time = 1, units = 0;
  // The hybrid bidirectional kernel runs a time-major sequence as often as it has steps, each time
  // from the state that the time before left.
  std::int32_t passes = 1;
  std::size_t output = 0;
  std::int64_t row = 0, offset = 0;  // of the output: elements of a row, where ours begin
  Activation activation = Activation::kNone;
  HybridCode how = HybridCode::kSymmetricRow;

  std::int32_t rows() const { return time_major ? batch : 1; }
  std::int32_t longest() const {
    return std::max({input.columns, units, has_aux ? aux_weights.columns : 0});
  }
  std::size_t scratch() const {
    const auto r = static_cast<std::size_t>(rows());
    const std::size_t work = r * (static_cast<std::size_t>(units) + 1) * sizeof(float) +
                             (r * static_cast<std::size_t>(longest()) + 1) * sizeof(std::int16_t);
    return state.scratch() + (work + 63) / 64 * 64;
  }

  void add(const Io& io, const WeightMatrix& m, const float* values, float* sums, float* scales,
           std::int16_t* words) const noexcept {
    const ActivationRows r = codes ? quantized_rows(how, values, rows(), m.columns, words, scales)
                                   : ActivationRows{values, nullptr, nullptr};
    add_product(io, m, r, rows(), sums);
  }

  // `at`: the step's first row in the input and output; `first`: in the state.
  void step(const Io& io, float* h, std::byte* work, std::int64_t at) const noexcept {
    const std::int32_t n = rows();
    auto* sums = reinterpret_cast<float*>(work);
    float* scales = sums + std::int64_t{n} * units;
    auto* words = reinterpret_cast<std::int16_t*>(scales + n);
    const auto* b = static_cast<const float*>(io.inputs[bias]);
    for (std::int32_t i = 0; i < n; ++i) std::copy_n(b, units, sums + std::int64_t{i} * units);
    add(io, input, static_cast<const float*>(io.inputs[x]) + at * input.columns, sums, scales,
        words);
    if (has_aux)
      add(io, aux_weights, static_cast<const float*>(io.inputs[aux]) + at * aux_weights.columns,
          sums, scales, words);
    add(io, recurrent, h, sums, scales, words);
    activate_row(activation, sums, std::int64_t{n} * units);
    std::copy_n(sums, std::int64_t{n} * units, h);
    auto* out = static_cast<float*>(io.outputs[output]) + offset;
    for (std::int32_t i = 0; i < n; ++i)
      std::copy_n(sums + std::int64_t{i} * units, units, out + (at + i) * row);
  }

  void run(const Io& io) const noexcept {
    std::byte* spare = io.scratch;
    auto* h = static_cast<float*>(state.at(io, &spare));
    const auto order = [this](std::int32_t t) { return backward ? time - 1 - t : t; };
    if (time_major) {
      for (std::int32_t pass = 0; pass < passes; ++pass) {
        for (std::int32_t t = 0; t < time; ++t) step(io, h, spare, std::int64_t{order(t)} * batch);
      }
      return;
    }
    for (std::int32_t b = 0; b < batch; ++b) {
      for (std::int32_t t = 0; t < time; ++t)
        step(io, h + std::int64_t{b} * units, spare, std::int64_t{b} * time + order(t));
    }
  }
};

struct RnnPlaces {
  std::size_t x, weights, recurrent, bias, state;
};

// Reads one direction; the input has 2 (batch, input) or 3 dimensions.
Rnn read_rnn(const OpSpec& spec, const RnnPlaces& p, bool time_major) {
  Rnn r;
  r.x = p.x;
  r.bias = p.bias;
  r.input = weight_matrix(spec, p.weights, &r.codes);
  r.recurrent = weight_matrix(spec, p.recurrent, &r.codes);
  r.units = r.input.rows;
  const Shape& x = spec.inputs[p.x].shape;
  r.time_major = time_major || x.size() == 2;
  r.batch = x.size() == 2 ? x[0] : x[time_major ? 1 : 0];
  r.time = x.size() == 2 ? 1 : x[time_major ? 0 : 1];
  if (x.back() != r.input.columns || r.recurrent.rows != r.units || r.recurrent.columns != r.units)
    refuse(spec, "weights {} and {} for an input of shape {}",
           shape_text(spec.inputs[p.weights].shape), shape_text(spec.inputs[p.recurrent].shape),
           shape_text(x));
  if (r.input.codes != r.recurrent.codes) refuse(spec, "weights of two types");
  expect_operand(spec, p.bias, {r.units});
  expect_float(spec, p.x);
  expect_float(spec, p.bias);
  expect_float(spec, p.state);
  r.state = state_of(spec, p.state, std::int64_t{r.batch} * r.units);
  return r;
}

void expect_dimensions(const OpSpec& spec, std::size_t input, std::size_t rank) {
  if (!spec.has(input) || spec.inputs[input].shape.size() != rank)
    refuse(spec, "input {} needs {} dimensions", input, rank);
}

void expect_float_outputs(const OpSpec& spec) {
  for (const Operand& o : spec.outputs) {
    if (o.dtype != DType::kFloat32) refuse(spec, "output {} is {}", o.name, dtype_name(o.dtype));
  }
}

std::unique_ptr<Kernel> one_direction(OpSpec& spec, Rnn r) {
  expect_float_outputs(spec);
  Shape out = spec.inputs[0].shape;
  out.back() = r.units;
  spec.outputs[0].shape = out;
  r.row = r.units;
  const std::size_t scratch = r.scratch();
  return make_kernel([r](const Io& io) { r.run(io); }, scratch);
}

std::unique_ptr<Kernel> prepare_rnn(OpSpec& spec) {
  const auto& a = attrs_of<RnnAttrs>(spec);
  expect_inputs(spec, 5, 5);
  expect_outputs(spec, 1);
  expect_dimensions(spec, 0, 2);
  Rnn r = read_rnn(spec, {0, 1, 2, 3, 4}, true);
  r.activation = a.activation;
  r.how = code_of(a.asymmetric_quantize_inputs);
  return one_direction(spec, r);
}

std::unique_ptr<Kernel> prepare_sequence_rnn(OpSpec& spec) {
  const auto& a = attrs_of<SequenceRnnAttrs>(spec);
  expect_inputs(spec, 5, 5);
  expect_outputs(spec, 1);
  expect_dimensions(spec, 0, 3);
  Rnn r = read_rnn(spec, {0, 1, 2, 3, 4}, a.time_major);
  r.activation = a.activation;
  r.how = code_of(a.asymmetric_quantize_inputs);
  return one_direction(spec, r);
}

// An auxiliary input with weights of its own adds to both directions; without, it is the input of
// the backward one.
std::unique_ptr<Kernel> prepare_bidirectional_rnn(OpSpec& spec) {
  const auto& a = attrs_of<SequenceRnnAttrs>(spec);
  expect_inputs(spec, 9, 12);
  expect_outputs(spec, a.merge_outputs ? 1 : 2);
  expect_dimensions(spec, 0, 3);
  const bool aux = spec.has(9), weighted = spec.has(10);
  if (weighted != spec.has(11) || (weighted && !aux))
    refuse(spec, "an auxiliary input and its weights go together");
  if (aux) expect_dimensions(spec, 9, 3);
  expect_float(spec, 9);
  Rnn forward = read_rnn(spec, {0, 1, 2, 3, 4}, a.time_major);
  Rnn backward = read_rnn(spec, {aux && !weighted ? std::size_t{9} : 0, 5, 6, 7, 8}, a.time_major);
  if (backward.batch != forward.batch || backward.time != forward.time)
    refuse(spec, "the auxiliary input has shape {}", shape_text(spec.inputs[9].shape));
  backward.backward = true;
  for (Rnn* r : {&forward, &backward}) {
    r->activation = a.activation;
    r->how = code_of(a.asymmetric_quantize_inputs);
    if (r->codes && a.time_major) r->passes = r->time;
    if (!weighted) continue;
    r->has_aux = true;
    r->aux = 9;
    r->aux_weights = weight_matrix(spec, r == &forward ? 10 : 11, &r->codes);
    Shape want = spec.inputs[0].shape;
    want.back() = r->aux_weights.columns;
    expect_operand(spec, 9, want);
    if (r->aux_weights.rows != r->units || r->aux_weights.codes != r->input.codes)
      refuse(spec, "its auxiliary weights do not fit the others");
  }
  expect_float_outputs(spec);
  Shape out = spec.inputs[0].shape;
  out.back() = forward.units + (a.merge_outputs ? backward.units : 0);
  spec.outputs[0].shape = out;
  forward.row = backward.row = out.back();
  backward.offset = forward.units;
  if (!a.merge_outputs) {
    out.back() = backward.units;
    spec.outputs[1].shape = out;
    backward.row = backward.units;
    backward.offset = 0;
    backward.output = 1;
  }
  return make_kernel(
      [forward, backward](const Io& io) {
        forward.run(io);
        backward.run(io);
      },
      std::max(forward.scratch(), backward.scratch()));
}

// ---- SVDF
struct Svdf {
  std::int32_t batch = 0, filters = 0, memory = 0, units = 0, rank = 1;
  bool has_bias = false;
  State state;

  // The newest value of each filter enters at the end; all others move one place, over the borders
  // of filters and rows, whose last place is written next.
  template <class T>
  void shift(T* s) const noexcept {
    const std::int64_t n = std::int64_t{batch} * filters * memory;
    if (n > 1) std::memmove(s, s + 1, static_cast<std::size_t>(n - 1) * sizeof(T));
  }
};

struct FloatSvdf {
  Svdf s;
  WeightMatrix feature;
  std::vector<float> time_weights;  // of int8 weights; empty: floats at run time
  bool codes = false;
  HybridCode how = HybridCode::kSymmetricRow;
  Activation activation = Activation::kNone;

  std::size_t scratch() const {
    const auto b = static_cast<std::size_t>(s.batch);
    return s.state.scratch() + b * (static_cast<std::size_t>(s.filters) + 1) * sizeof(float) +
           (b * static_cast<std::size_t>(feature.columns) + 1) * sizeof(std::int16_t);
  }
  void operator()(const Io& io) const noexcept {
    std::byte* spare = io.scratch;
    auto* state = static_cast<float*>(s.state.at(io, &spare));
    const std::int64_t n = std::int64_t{s.batch} * s.filters;
    auto* newest = reinterpret_cast<float*>(spare);
    float* scales = newest + n;
    auto* words = reinterpret_cast<std::int16_t*>(scales + s.batch);
    const auto* x = static_cast<const float*>(io.inputs[0]);
    std::fill_n(newest, n, 0.0f);
    const ActivationRows rows =
        codes ? quantized_rows(how, x, s.batch, feature.columns, words, scales)
              : ActivationRows{x, nullptr, nullptr};
    add_product(io, feature, rows, s.batch, newest);
    s.shift(state);
    for (std::int64_t i = 0; i < n; ++i) state[i * s.memory + s.memory - 1] = newest[i];
    const float* weights =
        time_weights.empty() ? static_cast<const float*>(io.inputs[2]) : time_weights.data();
    const auto* bias = s.has_bias ? static_cast<const float*>(io.inputs[3]) : nullptr;
    auto* out = static_cast<float*>(io.outputs[0]);
    for (std::int32_t b = 0; b < s.batch; ++b) {
      for (std::int32_t u = 0; u < s.units; ++u, ++out) {
        float sum = bias == nullptr ? 0.0f : bias[u];
        for (std::int32_t f = u * s.rank; f < (u + 1) * s.rank; ++f) {
          const float* m = state + (std::int64_t{b} * s.filters + f) * s.memory;
          float part = 0;
          for (std::int32_t t = 0; t < s.memory; ++t)
            part += weights[std::int64_t{f} * s.memory + t] * m[t];
          sum += part;
        }
        *out = sum;
      }
    }
    activate_row(activation, static_cast<float*>(io.outputs[0]), std::int64_t{s.batch} * s.units);
  }
};

// int8 input and output, int16 state and time weights.
struct CodeSvdf {
  Svdf s;
  std::int32_t width = 0, x_zero = 0, y_zero = 0;
  Multiplier first, second;

  void operator()(const Io& io) const noexcept {
    std::byte* spare = io.scratch;
    auto* state = static_cast<std::int16_t*>(s.state.at(io, &spare));
    const auto* x = static_cast<const std::int8_t*>(io.inputs[0]);
    const auto* feature = static_cast<const std::int8_t*>(io.inputs[1]);
    const auto* time = static_cast<const std::int16_t*>(io.inputs[2]);
    const auto* bias = s.has_bias ? static_cast<const std::int32_t*>(io.inputs[3]) : nullptr;
    auto* out = static_cast<std::int8_t*>(io.outputs[0]);
    s.shift(state);
    for (std::int32_t b = 0; b < s.batch; ++b) {
      for (std::int32_t f = 0; f < s.filters; ++f) {
        std::int32_t sum = 0;
        for (std::int32_t k = 0; k < width; ++k)
          sum += (x[std::int64_t{b} * width + k] - x_zero) * feature[std::int64_t{f} * width + k];
        state[(std::int64_t{b} * s.filters + f + 1) * s.memory - 1] =
            static_cast<std::int16_t>(std::clamp(scale_double(sum, first), -32768, 32767));
      }
    }
    for (std::int32_t b = 0; b < s.batch; ++b) {
      for (std::int32_t u = 0; u < s.units; ++u) {
        std::int32_t sum = bias == nullptr ? 0 : bias[u];
        for (std::int32_t f = u * s.rank; f < (u + 1) * s.rank; ++f) {
          const std::int16_t* m = state + (std::int64_t{b} * s.filters + f) * s.memory;
          for (std::int32_t t = 0; t < s.memory; ++t)
            sum = wrap_add(sum, std::int32_t{time[std::int64_t{f} * s.memory + t]} * m[t]);
        }
        *out++ =
            static_cast<std::int8_t>(std::clamp(scale_and_shift(sum, second, y_zero), -128, 127));
      }
    }
  }
};

Svdf read_svdf(OpSpec& spec) {
  const auto& a = attrs_of<SvdfAttrs>(spec);
  expect_inputs(spec, 3, 5);
  if (spec.inputs.size() != 5) refuse(spec, "has {} inputs, expected 5", spec.inputs.size());
  expect_outputs(spec, 1);
  for (const std::size_t i : {0, 1, 2}) expect_dimensions(spec, i, 2);
  Svdf s;
  s.batch = spec.inputs[0].shape[0];
  s.filters = spec.inputs[1].shape[0];
  s.memory = spec.inputs[2].shape[1];
  s.rank = a.rank;
  if (s.rank < 1 || s.filters % s.rank != 0 || s.memory < 1)
    refuse(spec, "{} filters of rank {} and a memory of {}", s.filters, s.rank, s.memory);
  s.units = s.filters / s.rank;
  expect_operand(spec, 1, {s.filters, spec.inputs[0].shape[1]});
  expect_operand(spec, 2, {s.filters, s.memory});
  s.has_bias = spec.has(3);
  if (s.has_bias) expect_operand(spec, 3, {s.units});
  s.state = state_of(spec, 4, std::int64_t{s.batch} * s.filters * s.memory);
  spec.outputs[0].shape = {s.batch, s.units};
  return s;
}

std::unique_ptr<Kernel> float_svdf(OpSpec& spec, const Svdf& s) {
  const auto& a = attrs_of<SvdfAttrs>(spec);
  FloatSvdf f;
  f.s = s;
  f.feature = weight_matrix(spec, 1, &f.codes);
  f.how = code_of(a.asymmetric_quantize_inputs);
  f.activation = a.activation;
  expect_float(spec, 3);
  expect_float(spec, 4);
  expect_float_outputs(spec);
  const Operand& time = spec.inputs[2];
  if (f.codes) {
    if (time.dtype != DType::kInt8 || time.constant == nullptr || time.quant->scale.size() != 1)
      refuse(spec, "weights {} of type {} next to int8 ones", time.name, dtype_name(time.dtype));
    for (const std::int8_t q : time.constant->span<std::int8_t>())
      f.time_weights.push_back(static_cast<float>(q) * time.quant->scale[0]);
  } else {
    expect_float(spec, 2);
  }
  const std::size_t scratch = f.scratch();
  return make_kernel(std::move(f), scratch);
}

std::unique_ptr<Kernel> code_svdf(OpSpec& spec, const Svdf& s) {
  constexpr DType kWant[] = {DType::kInt8, DType::kInt8, DType::kInt16, DType::kInt32,
                             DType::kInt16};
  for (std::size_t i = 0; i < 5; ++i) {
    if (spec.has(i) && spec.inputs[i].dtype != kWant[i])
      refuse(spec, "input {} is {}, expected {}", i, dtype_name(spec.inputs[i].dtype),
             dtype_name(kWant[i]));
  }
  if (spec.outputs[0].dtype != DType::kInt8)
    refuse(spec, "its output is {}, expected int8", dtype_name(spec.outputs[0].dtype));
  if (attrs_of<SvdfAttrs>(spec).activation != Activation::kRelu)
    refuse(spec, "an integer SVDF without the activation RELU");
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), feature = scale_zero(spec, spec.inputs[1]),
                  time = scale_zero(spec, spec.inputs[2]), state = scale_zero(spec, spec.inputs[4]),
                  y = scale_zero(spec, spec.outputs[0]);
  CodeSvdf c;
  c.s = s;
  c.width = spec.inputs[0].shape[1];
  c.x_zero = x.zero;
  c.y_zero = y.zero;
  c.first = make_multiplier(x.scale * feature.scale / state.scale);
  c.second = make_multiplier(state.scale * time.scale / y.scale);
  return make_kernel(c, s.state.scratch());
}

std::unique_ptr<Kernel> prepare_svdf(OpSpec& spec) {
  const Svdf s = read_svdf(spec);
  if (spec.inputs[0].dtype == DType::kFloat32) return float_svdf(spec, s);
  if (spec.inputs[0].dtype == DType::kInt8) return code_svdf(spec, s);
  refuse_type(spec);
}

constexpr KernelRow kRows[] = {
    {OpCode::kRnn, prepare_rnn, "float32 hybrid"},
    {OpCode::kUnidirectionalSequenceRnn, prepare_sequence_rnn, "float32 hybrid"},
    {OpCode::kBidirectionalSequenceRnn, prepare_bidirectional_rnn, "float32 hybrid"},
    {OpCode::kSvdf, prepare_svdf, "float32 int8 hybrid"},
};

}  // namespace

std::span<const KernelRow> rnn_kernel_rows() { return kRows; }

}  // namespace litegap
