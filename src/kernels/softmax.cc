// SOFTMAX over the last axis (docs/numerics.md, sections 2.12 and 3.5).
//
// 8-bit codes: the reference kernels compute in fixed point, the built-in ones with a float table
// of e^x and a float sum.  int16 has one form, two interpolated tables.
#include "kernels/softmax.h"

#include <bit>
#include <cmath>
#include <limits>

#include "kernels/arithmetic_ops.h"
#include "kernels/fixed_point.h"
#include "kernels/float_curves.h"
#include "kernels/half.h"
#include "kernels/lookup.h"

namespace litegap {
namespace {

std::unique_ptr<Kernel> softmax_float(Rows rows, float beta) {
  return make_kernel([=](const Io& io) {
    const float* in = static_cast<const float*>(io.inputs[0]);
    float* out = static_cast<float*>(io.outputs[0]);
    for (std::size_t r = 0; r < rows.count; ++r, in += rows.depth, out += rows.depth) {
      const float peak = row_peak(in, rows.depth);
      float sum = 0;
      for (std::size_t i = 0; i < rows.depth; ++i) {
        out[i] = std::exp((in[i] - peak) * beta);
        sum += out[i];
      }
      for (std::size_t i = 0; i < rows.depth; ++i) out[i] = out[i] / sum;
    }
  });
}

// The built-in kernel adds in parallel lanes and multiplies by the inverse; a sum in double is
// closest to all its orders.
std::unique_ptr<Kernel> softmax_float_inverse(Rows rows, float beta) {
  return make_kernel([=](const Io& io) {
    const float* in = static_cast<const float*>(io.inputs[0]);
    float* out = static_cast<float*>(io.outputs[0]);
    for (std::size_t r = 0; r < rows.count; ++r, in += rows.depth, out += rows.depth) {
      const float peak = row_peak(in, rows.depth);
      double sum = 0;
      for (std::size_t i = 0; i < rows.depth; ++i) {
        out[i] = std::exp((in[i] - peak) * beta);
        sum += static_cast<double>(out[i]);
      }
      const float inverse = 1.0f / static_cast<float>(sum);
      for (std::size_t i = 0; i < rows.depth; ++i) out[i] *= inverse;
    }
  });
}

// XNNPACK's order on AVX2: sixteen lanes, the halves of which are joined before the rest.
inline float sum_in_lanes(const float* v, std::size_t n) {
  Lanes first{}, second{};
  std::size_t i = 0;
  const auto at = [v](std::size_t k) { return reinterpret_cast<const Lanes*>(v + k); };
  for (; i + 32 <= n; i += 32) {
    first = first + *at(i) + *at(i + 16);
    second = second + *at(i + 8) + *at(i + 24);
  }
  first += second;
  for (; i + 8 <= n; i += 8) first += *at(i);
  for (int k = 0; i < n; ++i, ++k) first[k] += v[i];
  float half[4];
  for (int k = 0; k < 4; ++k) half[k] = first[k] + first[k + 4];
  return (half[0] + half[2]) + (half[1] + half[3]);
}

// The same of fewer than eight values.
inline float sum_of_few(const float* v, std::size_t n) {
  float lane[8] = {};
  for (std::size_t k = 0; k < n; ++k) lane[k] = v[k];
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

// Rows that leave lanes empty: the exponentials of many rows are taken together.
std::unique_ptr<Kernel> softmax_float_xnn_short(Rows rows) {
  return make_kernel([=](const Io& io) {
    with_fused([&] {
      constexpr std::size_t kAtOnce = 2048;  // values, so that they stay in the cache
      const float* in = static_cast<const float*>(io.inputs[0]);
      float* out = static_cast<float*>(io.outputs[0]);
      const std::size_t n = rows.depth;
      for (std::size_t first = 0; first < rows.count;) {
        const std::size_t some = std::min(rows.count - first, kAtOnce / n);
        for (std::size_t r = 0; r < some; ++r) {
          const float* row = in + r * n;
          float peak = row[0];
          for (std::size_t i = 1; i < n; ++i) peak = row[i] > peak ? row[i] : peak;
          for (std::size_t i = 0; i < n; ++i) out[r * n + i] = row[i] - peak;
        }
        for (std::size_t i = 0; i < some * n; ++i) out[i] = curves::exp_below_curve(out[i]);
        for (std::size_t r = 0; r < some; ++r) {
          float* row = out + r * n;
          const float inverse = 1.0f / (n < 8 ? sum_of_few(row, n) : sum_in_lanes(row, n));
          for (std::size_t i = 0; i < n; ++i) row[i] *= inverse;
        }
        in += some * n;
        out += some * n;
        first += some;
      }
    });
  });
}

std::unique_ptr<Kernel> softmax_float_xnn(Rows rows) {
  if (rows.depth < 32) return softmax_float_xnn_short(rows);
  return make_kernel([=](const Io& io) {
    with_fused([&] {
      const float* in = static_cast<const float*>(io.inputs[0]);
      float* out = static_cast<float*>(io.outputs[0]);
      const std::size_t n = rows.depth;
      for (std::size_t r = 0; r < rows.count; ++r, in += n, out += n) {
        const float peak = peak_of(in, n);
        for (std::size_t i = 0; i < n; ++i) out[i] = curves::exp_below_curve(in[i] - peak);
        const float inverse = 1.0f / sum_in_lanes(out, n);
        for (std::size_t i = 0; i < n; ++i) out[i] *= inverse;
      }
    });
  });
}

template <class X, class Y>
std::unique_ptr<Kernel> softmax_fixed(Rows rows, const ExpCodes& exps) {
  return make_kernel([=](const Io& io) {
    constexpr std::int32_t low = std::numeric_limits<Y>::min(),
                           high = std::numeric_limits<Y>::max();
    constexpr int kBits = 8 * sizeof(Y);
    const X* in = static_cast<const X*>(io.inputs[0]);
    Y* out = static_cast<Y*>(io.outputs[0]);
    for (std::size_t r = 0; r < rows.count; ++r, in += rows.depth, out += rows.depth) {
      const std::int32_t peak = row_peak(in, rows.depth);
      const std::int32_t sum = exps.sum(in, rows.depth, peak);
      const int zeros = fixed::leading_zeros(sum);
      const auto fraction =
          static_cast<std::int32_t>((static_cast<std::uint32_t>(sum) << zeros) - 0x80000000u);
      const std::int32_t scale = fixed::reciprocal_q31(fraction);
      const int right = 12 - zeros + 31 - kBits;
      for (std::size_t i = 0; i < rows.depth; ++i) {
        const std::int32_t d = in[i] - peak;
        std::int32_t v = low;
        if (d >= exps.least) {
          v = shift_right_away(high_multiply(scale, exps.value(d)), right) + low;
        }
        out[i] = static_cast<Y>(std::clamp(v, low, high));
      }
    }
  });
}

// The nearest code of a probability.
template <class Y>
Y nearest_code(float p, std::int32_t zero) {
  constexpr std::int32_t low = std::numeric_limits<Y>::min(), high = std::numeric_limits<Y>::max();
  std::int32_t v = 0;
  if constexpr (std::is_signed_v<Y>) {  // the half is added exactly
    const float real = p >= 0.0f && p <= 65536.0f ? p : -65536.0f;
    const auto whole = static_cast<std::int32_t>(real);
    v = whole + (real - static_cast<float>(whole) >= 0.5f ? 1 : 0) + zero;
  } else {
    v = static_cast<std::int32_t>(p + 0.5f);
  }
  return static_cast<Y>(std::min(std::max(v, low), high));
}

// kRows rows at once: a sum is a chain of additions, in order, that others do not wait for.  Depth
// is a number, or a type that the compiler knows one of.
template <int kRows, class Depth, class X, class Y>
void softmax_rows(const std::array<float, 256>& exps, Depth n, ScaleZero y, const X* in,
                  float* values, Y* out) {
  const float* table[kRows];  // of the code 0
  float sum[kRows] = {};
  for (int r = 0; r < kRows; ++r) table[r] = exps.data() + 255 - row_peak(in + r * n, n);
  for (std::size_t i = 0; i < n; ++i) {
    for (int r = 0; r < kRows; ++r) {
      const float v = table[r][in[r * n + i]];
      values[r * n + i] = v;
      sum[r] += v;
    }
  }
  for (int r = 0; r < kRows; ++r) {
    const float inverse = 1.0f / (sum[r] * y.scale);
    for (std::size_t i = 0; i < n; ++i) values[r * n + i] *= inverse;
  }
  const std::int32_t zero = y.zero;
  for (std::size_t i = 0; i < kRows * n; ++i) out[i] = nearest_code<Y>(values[i], zero);
}

template <class X, class Y>
std::unique_ptr<Kernel> softmax_table(Rows rows, ScaleZero x, ScaleZero y, float beta) {
  constexpr std::size_t kAtOnce = 4;
  const auto body = [rows, y, table = exp_table(x.scale, beta)](const Io& io) {
    const auto all = [&](auto n) {
      const X* in = static_cast<const X*>(io.inputs[0]);
      Y* out = static_cast<Y*>(io.outputs[0]);
      auto* values = reinterpret_cast<float*>(io.scratch);
      const std::size_t step = kAtOnce * n;
      std::size_t r = 0;
      for (; r + kAtOnce <= rows.count; r += kAtOnce, in += step, out += step)
        softmax_rows<kAtOnce>(table, n, y, in, values, out);
      for (; r < rows.count; ++r, in += n, out += n) softmax_rows<1>(table, n, y, in, values, out);
    };
    // Two classes: half of the instructions were loops.
    if (rows.depth == 2)
      with_vectors([&] { all(std::integral_constant<std::size_t, 2>()); });
    else
      with_vectors([&] { all(rows.depth); });
  };
  return make_kernel(body, kAtOnce * rows.depth * sizeof(float));
}

// ---- int16
// ---------------------------------------------------------------------------------------
struct Softmax16 {
  Table16 exps, reciprocals;
  Multiplier to_table;

  std::int32_t exp(std::int32_t d) const {
    const std::int32_t at = std::clamp(scale_and_shift(d, to_table, 32767), -32768, 32767);
    return lookup16(exps, at);
  }
  void row(const std::int16_t* in, std::int16_t* out, std::size_t n) const {
    const std::int32_t peak = row_peak(in, n);
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum = wrap_add(sum, exp(in[i] - peak));
    const int zeros = fixed::leading_zeros(sum);
    const std::int32_t word = wrap_shift_left(sum, std::max(zeros - 1, 0));
    const std::int32_t u = shift_right_up(word, 14) - ((1 << 15) + (1 << 16));
    const std::int64_t inverse = lookup16(reciprocals, std::clamp(u, -32768, 32767));
    const int right = 31 - zeros;
    const std::int64_t half = right > 0 ? std::int64_t{1} << (right - 1) : 0;
    for (std::size_t i = 0; i < n; ++i) {
      const std::int64_t v = (exp(in[i] - peak) * inverse + half) >> right;
      out[i] = static_cast<std::int16_t>(std::clamp<std::int64_t>(v, 0, 32767));
    }
  }
};

std::unique_ptr<Kernel> softmax_words(Rows rows, ScaleZero x, float beta) {
  constexpr double kRange = 65535.0;
  auto s = std::make_shared<Softmax16>();
  s->exps = make_table16<double>(10.0 / kRange, 32767, 2.0 / kRange, 0,
                                 [](double v) { return std::exp(v); });
  s->reciprocals = make_table16<double>(1.0 / kRange, -32768, 2.0 / kRange, 0,
                                        [](double v) { return 1.0 / (1.0 + v); });
  s->to_table = make_multiplier(static_cast<double>(x.scale * beta) / (10.0 / kRange));
  return make_kernel([rows, s](const Io& io) {
    const auto* in = static_cast<const std::int16_t*>(io.inputs[0]);
    auto* out = static_cast<std::int16_t*>(io.outputs[0]);
    for (std::size_t r = 0; r < rows.count; ++r, in += rows.depth, out += rows.depth) {
      s->row(in, out, rows.depth);
    }
  });
}

void expect_output(const OpSpec& spec, ScaleZero y) {
  const DType x = spec.inputs[0].dtype, t = spec.outputs[0].dtype;
  const bool words = x == DType::kInt16;
  const float scale = words ? 0x1p-15f : t == DType::kInt16 ? 0x1p-16f : 0x1p-8f;
  const std::int32_t zero = words ? 0 : code_range(t).low;
  if (std::fabs(y.scale - scale) <= 0.001f * scale && y.zero == zero) return;
  refuse(spec, "output scale {} and zero point {}, expected {} and {}", y.scale, y.zero, scale,
         zero);
}

template <class X, class Y>
std::unique_ptr<Kernel> softmax_codes(const OpSpec& spec, Rows rows, float beta) {
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  if (spec.dialect != Dialect::kReference) return softmax_table<X, Y>(rows, x, y, beta);
  return softmax_fixed<X, Y>(rows, make_exp_codes(spec, x.scale, beta));
}

std::unique_ptr<Kernel> prepare_softmax(OpSpec& spec) {
  const Rows rows = prepare_rows(spec);
  const float beta = attrs_of<SoftmaxAttrs>(spec).beta;
  const DType t = spec.inputs[0].dtype, to = spec.outputs[0].dtype;
  if (t == DType::kFloat32 && to == t) {
    if (spec.dialect == Dialect::kReference) return softmax_float(rows, beta);
    if (spec.dialect == Dialect::kXnnpack && beta == 1.0f) return softmax_float_xnn(rows);
    return softmax_float_inverse(rows, beta);
  }
  if (!is_code_type(t) || !is_code_type(to)) refuse_type(spec);
  const ScaleZero y = scale_zero(spec, spec.outputs[0]);
  expect_output(spec, y);
  if (t == DType::kInt8 && to == t)
    return softmax_codes<std::int8_t, std::int8_t>(spec, rows, beta);
  if (t == DType::kUint8 && to == t)
    return softmax_codes<std::uint8_t, std::uint8_t>(spec, rows, beta);
  if (t == DType::kInt8 && to == DType::kInt16) {
    return softmax_codes<std::int8_t, std::int16_t>(spec, rows, beta);
  }
  if (t == DType::kInt16 && to == t)
    return softmax_words(rows, scale_zero(spec, spec.inputs[0]), beta);
  refuse(spec, "types {} and {} are not supported", dtype_name(t), dtype_name(to));
}

constexpr KernelRow kRows[] = {
    {OpCode::kSoftmax, with_half<prepare_softmax>, "float16 float32 int8 uint8 int16"}};

}  // namespace

std::span<const KernelRow> softmax_kernel_rows() { return kRows; }

}  // namespace litegap
