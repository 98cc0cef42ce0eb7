// LOG_SOFTMAX over the last axis (docs/numerics.md, sections 2.13 and 5).
#include <bit>
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

// ---- the built-in kernel: e^x in vectors of four, of a processor without fused operations
// e^x of x <= 0 as 2^n e^r, n = floor(x log2 e + 1/2), ln 2 in two parts.  Of x below -87 it is
// e^-87, which adds nothing to a sum of at least 1.
inline float exp_in_lanes(float v) {
  constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kExponent = 0x1p23f + 127.0f;  // added, it leaves 2^n in the lowest bits
  const float x = v < -87.0f ? -87.0f : v;       // a NaN stays one
  const float n = std::floor(x * kLog2E + 0.5f);
  const float r = (x - n * kLn2High) - n * kLn2Low, square = r * r;
  const float even = (square * 1.3744964e-3f + 4.1669652e-2f) * square + 0.49999988f;
  const float odd = square * 8.3689447e-3f + 0.16666518f;
  const float e = square * (r * odd + even) + (r + 1.0f);
  return e * std::bit_cast<float>(std::bit_cast<std::uint32_t>(n + kExponent) << 23);
}

// Whole blocks of four in two sums of four lanes, even and odd blocks; a last single one to both
// together; then what is left, by the C library.
inline float exp_sum_in_lanes(const float* in, std::size_t n, float peak) {
  constexpr std::size_t kBlock = 256;
  float e[kBlock], lanes[8] = {};
  std::size_t i = 0;
  while (i + 8 <= n) {
    const std::size_t count = std::min((n - i) / 8 * 8, kBlock);
    for (std::size_t k = 0; k < count; ++k) e[k] = exp_in_lanes(in[i + k] - peak);
    for (std::size_t at = 0; at < count; at += 8) {
      for (std::size_t k = 0; k < 8; ++k) lanes[k] += e[at + k];
    }
    i += count;
  }
  for (std::size_t k = 0; k < 4; ++k) lanes[k] += lanes[k + 4];
  if (i + 4 <= n) {
    for (std::size_t k = 0; k < 4; ++k) lanes[k] += exp_in_lanes(in[i + k] - peak);
    i += 4;
  }
  float sum = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
  for (; i < n; ++i) sum += std::exp(in[i] - peak);
  return sum;
}

std::unique_ptr<Kernel> log_softmax_lanes(Rows rows) {
  return make_kernel([=](const Io& io) {
    with_vectors([&] {
      const float* in = static_cast<const float*>(io.inputs[0]);
      float* out = static_cast<float*>(io.outputs[0]);
      const std::size_t n = rows.depth;
      for (std::size_t r = 0; r < rows.count; ++r, in += n, out += n) {
        const float peak = peak_of(in, n);
        const float log_sum = std::log(exp_sum_in_lanes(in, n, peak));
        for (std::size_t i = 0; i < n; ++i) out[i] = in[i] - peak - log_sum;
      }
    });
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

// The sums of e^(x - peak) of `count` rows, each in its own order: a chain of additions waits for
// itself, eight chains fill the time.
constexpr std::size_t kChains = 8;
template <std::size_t chains, class T>
void chained_sums(const T* in, std::size_t n, const std::int32_t* peaks, const float* table,
                  float* sums) {
  const float* at[chains];  // of code 0
  float sum[chains] = {};
  for (std::size_t r = 0; r < chains; ++r) at[r] = table + 255 - peaks[r];
  for (std::size_t i = 0; i < n; ++i) {
#pragma GCC unroll 8
    for (std::size_t r = 0; r < chains; ++r) sum[r] += at[r][in[r * n + i]];
  }
  for (std::size_t r = 0; r < chains; ++r) sums[r] = sum[r];
}

// One row, given its peak and its sum.
template <class T>
void write_logs(const T* in, std::size_t n, ScaleZero x, ScaleZero y, std::int32_t peak, float sum,
                T* out) {
  constexpr std::int32_t low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
  const float ratio = x.scale / y.scale;
  const float offset = (x.scale * static_cast<float>(peak) + std::log(sum)) / y.scale;
  const std::int32_t zero = y.zero;
  for (std::size_t i = 0; i < n; ++i) {
    const std::int32_t v = round_even(ratio * static_cast<float>(in[i]) - offset);
    out[i] = static_cast<T>(std::min(std::max(wrap_add(v, zero), low), high));
  }
}

template <class T>
std::unique_ptr<Kernel> log_softmax_table(Rows rows, ScaleZero x, ScaleZero y) {
  return make_kernel([rows, x, y, table = exp_table(x.scale, 1.0f)](const Io& io) {
    with_vectors([&] {
      const T* in = static_cast<const T*>(io.inputs[0]);
      T* out = static_cast<T*>(io.outputs[0]);
      const std::size_t n = rows.depth;
      std::int32_t peaks[kChains];
      float sums[kChains];
      for (std::size_t r = 0; r < rows.count; r += kChains) {
        const std::size_t count = std::min(kChains, rows.count - r);
        const T* from = in + r * n;
        for (std::size_t k = 0; k < count; ++k) peaks[k] = row_peak(from + k * n, n);
        if (count == kChains) {
          chained_sums<kChains>(from, n, peaks, table.data(), sums);
        } else {
          for (std::size_t k = 0; k < count; ++k)
            chained_sums<1>(from + k * n, n, peaks + k, table.data(), sums + k);
        }
        for (std::size_t k = 0; k < count; ++k)
          write_logs(from + k * n, n, x, y, peaks[k], sums[k], out + (r + k) * n);
      }
    });
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
      return spec.dialect == Dialect::kReference ? log_softmax_float(rows)
                                                 : log_softmax_lanes(rows);
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
