// LOG_SOFTMAX over the last axis (docs/numerics.md, section 2.13).
#include <cmath>
#include <limits>

#include "kernels/arithmetic_ops.h"
#include "kernels/softmax.h"

namespace litegap {
namespace {

std::unique_ptr<Kernel> log_softmax_float(Rows rows) {
  return make_kernel([=](const Io& io) {
    const float* in = static_cast<const float*>(io.inputs[0]);
    float* out = static_cast<float*>(io.outputs[0]);
    for (std::size_t r = 0; r < rows.count; ++r, in += rows.depth, out += rows.depth) {
      const float peak = row_peak(in, rows.depth);
      float sum = 0;
      for (std::size_t i = 0; i < rows.depth; ++i) sum += std::exp(in[i] - peak);
      const float log_sum = std::log(sum);
      for (std::size_t i = 0; i < rows.depth; ++i) out[i] = in[i] - peak - log_sum;
    }
  });
}

template <class T>
std::unique_ptr<Kernel> log_softmax_fixed(Rows rows, const ExpCodes& exps) {
  // From Q5.26 back to differences of codes.
  const Multiplier back =
      make_multiplier(std::ldexp(1.0, 31 - exps.m.exponent) / static_cast<double>(exps.m.mantissa));
  return make_kernel([=](const Io& io) {
    constexpr std::int32_t low = std::numeric_limits<T>::min(),
                           high = std::numeric_limits<T>::max();
    const T* in = static_cast<const T*>(io.inputs[0]);
    T* out = static_cast<T*>(io.outputs[0]);
    for (std::size_t r = 0; r < rows.count; ++r, in += rows.depth, out += rows.depth) {
      const std::int32_t peak = row_peak(in, rows.depth);
      const std::int32_t log_sum = fixed::log_raw(exps.sum(in, rows.depth, peak), 12, 5);
      const auto past =
          static_cast<std::int32_t>(static_cast<std::uint32_t>(log_sum) - 0x80000000u);
      const std::int32_t least = std::max(exps.least - 1, scale_double(past, back));
      for (std::size_t i = 0; i < rows.depth; ++i) {
        const std::int32_t d = in[i] - peak;
        std::int32_t v = low;
        if (d > least) v = shift_right_away(wrap_add(exps.argument(d), -log_sum), 22) + high;
        out[i] = static_cast<T>(std::clamp(v, low, high));
      }
    }
  });
}

template <class T>
std::unique_ptr<Kernel> log_softmax_table(Rows rows, ScaleZero x, ScaleZero y) {
  return make_kernel([rows, x, y, table = exp_table(x.scale, 1.0f)](const Io& io) {
    constexpr std::int32_t low = std::numeric_limits<T>::min(),
                           high = std::numeric_limits<T>::max();
    const T* in = static_cast<const T*>(io.inputs[0]);
    T* out = static_cast<T*>(io.outputs[0]);
    const float ratio = x.scale / y.scale;
    for (std::size_t r = 0; r < rows.count; ++r, in += rows.depth, out += rows.depth) {
      const std::int32_t peak = row_peak(in, rows.depth);
      float sum = 0;
      for (std::size_t i = 0; i < rows.depth; ++i) {
        sum += table[static_cast<std::size_t>(255 - peak + in[i])];
      }
      const float log_sum = std::log(sum);
      const float offset = (x.scale * static_cast<float>(peak) + log_sum) / y.scale;
      for (std::size_t i = 0; i < rows.depth; ++i) {
        const std::int32_t v = round_even(ratio * static_cast<float>(in[i]) - offset);
        out[i] = static_cast<T>(std::clamp(wrap_add(v, y.zero), low, high));
      }
    }
  });
}

template <class T>
std::unique_ptr<Kernel> log_softmax_codes(const OpSpec& spec, Rows rows) {
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  constexpr std::int32_t zero = std::numeric_limits<T>::max();
  if (y.scale != 0x1p-4f || y.zero != zero) {
    refuse(spec, "output scale {} and zero point {}, expected 1/16 and {}", y.scale, y.zero, zero);
  }
  if (spec.dialect != Dialect::kReference) return log_softmax_table<T>(rows, x, y);
  return log_softmax_fixed<T>(rows, make_exp_codes(spec, x.scale, 1.0f));
}

std::unique_ptr<Kernel> prepare_log_softmax(OpSpec& spec) {
  const Rows rows = prepare_rows(spec);
  switch (prepare_same(spec)) {
    case DType::kFloat32:
      return log_softmax_float(rows);
    case DType::kInt8:
      return log_softmax_codes<std::int8_t>(spec, rows);
    case DType::kUint8:
      return log_softmax_codes<std::uint8_t>(spec, rows);
    default:
      refuse_type(spec);
  }
}

constexpr KernelRow kRows[] = {{OpCode::kLogSoftmax, prepare_log_softmax, "float32 int8 uint8"}};

}  // namespace

std::span<const KernelRow> log_softmax_kernel_rows() { return kRows; }

}  // namespace litegap
