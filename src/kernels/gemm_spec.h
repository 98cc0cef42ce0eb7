// Help for the prepare functions of gemm_ops.h: checks that name what is wrong, constants as codes,
// multipliers, clamps.
#pragma once
#include <cmath>
#include <limits>

#include "kernels/gemm_window.h"

namespace litegap {

// Which arithmetic the node's operands ask for.
enum class Arithmetic : std::uint8_t { kFloat, kHybrid, kInteger };

// Checks the operand types of a product of x and weights and names its arithmetic; refuses others.
Arithmetic arithmetic_of(const OpSpec& spec, std::size_t x, std::size_t weights);

// The value a clamp of float results uses (section 4): no activation still clamps to finite numbers
// in the runtime's own kernels; XNNPACK lets infinities pass.
struct FloatRange {
  float low = 0, high = 0;
  bool nan_is_low = false;  // else a NaN stays one
};
FloatRange float_activation(Activation activation, bool xnn);
// The same for hybrid kernels.  The runtime's own ones that work by rows (FULLY_CONNECTED) have no
// clamp without an activation, and one that takes NaN for low values with it, as all of XNNPACK's.
FloatRange hybrid_activation(Activation activation, bool xnn, bool by_rows);
// Of all channels, for a FloatFinish.
inline std::size_t low_for_nan(const FloatRange& range) {
  return range.nan_is_low ? std::numeric_limits<std::size_t>::max() : 0;
}
inline float clamped(float v, const FloatRange& range) {
  if (std::isnan(v)) return range.nan_is_low ? range.low : v;
  return std::min(std::max(v, range.low), range.high);
}

// Sections 1.4 and 1.5.
Range32 activation_codes(Activation activation, float scale, std::int32_t zero_point, DType type,
                         bool xnn);
bool xnn_activation(Activation activation);  // does XNNPACK take it?
// It takes uint8 weights only where their (single) scale is recorded for dimension 0.
bool xnn_weights(const Operand& weights);

// The single scale and zero point of an operand; refuses when there is none or several.
float tensor_scale(const OpSpec& spec, const Operand& operand);
std::int32_t tensor_zero(const OpSpec& spec, const Operand& operand);
// One weight scale per output channel: one for all, or one each along the expected axis.
std::vector<float> weight_scales(const OpSpec& spec, const Operand& weights, std::size_t channels);

// A constant of int4 or int2 as one of int8; others as they are.
Array unpacked_codes(const Array& constant);

// The least and the greatest code of a constant (int8, uint8, int4, int2); {0, 0} of none.
Range32 code_range(const Array& constant);

// Fills spec fields that all operators share.  `weights` and `bias` are input indices; a bias
// operand that is not present stays zero.
void set_weights(const OpSpec& spec, std::size_t weights, WindowSpec& out);
void set_bias(const OpSpec& spec, std::size_t bias, WindowSpec& out);

// The requantization of 8- and 16-bit outputs.  `product` chooses the precision of the real
// multiplier: sx * sw in double (per-channel operators) or rounded to float first (uint8).
struct RequantPlan {
  Rounding rounding = Rounding::kFixed;
  bool float_product = false;
  std::size_t away_from = 0;  // kFixed: channels from here on round ties away from zero
};
Requant make_requant(const OpSpec& spec, float input_scale, const std::vector<float>& scales,
                     const Operand& output, Activation activation, const RequantPlan& plan);

// Integer operands of convolutions: symmetric weights (but for uint8), int16 activations without
// zero points, and 64-bit sums for int16 unless `bias_type` asks for a 32-bit bias.
void set_integer(const OpSpec& spec, std::size_t x, std::size_t bias, DType bias_type,
                 WindowSpec& out);

void expect_rank(const OpSpec& spec, const Operand& operand, std::size_t rank, const char* what);

}  // namespace litegap
