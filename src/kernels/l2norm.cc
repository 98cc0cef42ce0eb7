// L2_NORMALIZATION over the last axis (docs/numerics.md, sections 2.26, 3.8, 4).
#include <cmath>
#include <limits>

#include "kernels/arithmetic_ops.h"
#include "kernels/lanes.h"
#include "kernels/softmax.h"

namespace litegap {
namespace {

std::unique_ptr<Kernel> normalize_float(Rows rows) {
  return make_kernel([=](const Io& io) {
    const float* in = static_cast<const float*>(io.inputs[0]);
    float* out = static_cast<float*>(io.outputs[0]);
    for (std::size_t r = 0; r < rows.count; ++r, in += rows.depth, out += rows.depth) {
      float sum = 0;
      for (std::size_t i = 0; i < rows.depth; ++i) sum += in[i] * in[i];
      const float norm = std::max(std::sqrt(sum), 1e-6f);
      for (std::size_t i = 0; i < rows.depth; ++i) out[i] = in[i] / norm;
    }
  });
}

template <class T>
void normalize_row(const T* in, std::size_t n, std::int32_t zero, T* out) {
  constexpr std::int32_t low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
  std::uint32_t sum = 0;  // wraps
  for (std::size_t i = 0; i < n; ++i) {
    const auto d = static_cast<std::uint32_t>(in[i] - zero);
    sum += d * d;
  }
  const fixed::InverseRoot root = fixed::inverse_root(static_cast<std::int32_t>(sum));
  const Multiplier m{root.mantissa, 7 - root.shift};
  for (std::size_t i = 0; i < n; ++i) {
    const std::int32_t d = in[i] - zero;
    const std::int32_t v =
        std::is_signed_v<T> ? scale_lane(d, m)
                            : 128 + shift_away(high_multiply_lane(128 * d, m.mantissa), root.shift);
    out[i] = static_cast<T>(std::min(std::max(v, low), high));
  }
}

template <class T>
std::unique_ptr<Kernel> normalize_codes(Rows rows, std::int32_t zero) {
  return make_kernel([=](const Io& io) {
    with_vectors([&] {
      const T* in = static_cast<const T*>(io.inputs[0]);
      T* out = static_cast<T*>(io.outputs[0]);
      for (std::size_t r = 0; r < rows.count; ++r, in += rows.depth, out += rows.depth)
        normalize_row(in, rows.depth, zero, out);
    });
  });
}

std::unique_ptr<Kernel> prepare_l2_normalization(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const Rows rows = prepare_rows(spec);
  if (fused_activation(spec.op->attrs) != Activation::kNone) {
    refuse(spec, "a fused activation is not supported");
  }
  if (t == DType::kFloat32) return normalize_float(rows);
  if (!is_8bit(t)) refuse_type(spec);
  const ScaleZero x = scale_zero(spec, spec.inputs[0]), y = scale_zero(spec, spec.outputs[0]);
  const std::int32_t zero = t == DType::kInt8 ? 0 : 128;
  if (y.scale != 0x1p-7f || y.zero != zero) {
    refuse(spec, "output scale {} and zero point {}, expected 1/128 and {}", y.scale, y.zero, zero);
  }
  if (t == DType::kInt8) return normalize_codes<std::int8_t>(rows, x.zero);
  return normalize_codes<std::uint8_t>(rows, x.zero);
}

constexpr KernelRow kRows[] = {
    {OpCode::kL2Normalization, prepare_l2_normalization, "float32 int8 uint8"}};

}  // namespace

std::span<const KernelRow> l2norm_kernel_rows() { return kRows; }

}  // namespace litegap
