// Two operands with NumPy broadcasting (docs/numerics.md, sections 2.7, 2.8, 2.20, 2.21).
#include <cmath>

#include "kernels/arith.h"
#include "kernels/arithmetic_ops.h"

namespace litegap {
namespace {

// Where the operands of each output element are: strides of 0 along broadcast axes.
struct Broadcast {
  Shape shape;
  std::vector<std::size_t> stride_a, stride_b;
  std::size_t elements = 0;
  bool equal = false;

  template <class F>
  void each(F f) const {
    if (equal) {
      for (std::size_t i = 0; i < elements; ++i) f(i, i, i);
      return;
    }
    if (elements == 0) return;
    const std::size_t rank = shape.size();
    const std::size_t inner = rank == 0 ? 1 : static_cast<std::size_t>(shape[rank - 1]);
    const std::size_t ia = rank == 0 ? 0 : stride_a[rank - 1], ib = rank == 0 ? 0 : stride_b[rank - 1];
    for (std::size_t o = 0; o < elements; o += inner) {
      std::size_t rest = o / inner, a = 0, b = 0;
      for (std::size_t d = rank; d-- > 1;) {
        const std::size_t at = rest % static_cast<std::size_t>(shape[d - 1]);
        rest /= static_cast<std::size_t>(shape[d - 1]);
        a += at * stride_a[d - 1];
        b += at * stride_b[d - 1];
      }
      for (std::size_t i = 0; i < inner; ++i) f(o + i, a + i * ia, b + i * ib);
    }
  }
};

Broadcast broadcast(const OpSpec& spec) {
  const Shape &a = spec.inputs[0].shape, &b = spec.inputs[1].shape;
  Broadcast r;
  const std::size_t rank = std::max(a.size(), b.size());
  r.shape.resize(rank);
  r.stride_a.resize(rank);
  r.stride_b.resize(rank);
  std::size_t sa = 1, sb = 1;
  for (std::size_t k = 0; k < rank; ++k) {
    const std::size_t d = rank - 1 - k;
    const std::int32_t da = k < a.size() ? a[a.size() - 1 - k] : 1, db = k < b.size() ? b[b.size() - 1 - k] : 1;
    if (da != db && da != 1 && db != 1) refuse(spec, "shapes {} and {} do not broadcast", shape_text(a), shape_text(b));
    r.shape[d] = da == 1 ? db : da;
    r.stride_a[d] = da == 1 ? 0 : sa;
    r.stride_b[d] = db == 1 ? 0 : sb;
    sa *= static_cast<std::size_t>(da);
    sb *= static_cast<std::size_t>(db);
  }
  r.elements = shape_elements(r.shape);
  r.equal = a == b;
  return r;
}

DType same_type(const OpSpec& spec) {
  const DType t = spec.inputs[0].dtype;
  if (spec.inputs[1].dtype != t || spec.outputs[0].dtype != t) {
    refuse(spec, "types {}, {} and {}: expected one type", dtype_name(t), dtype_name(spec.inputs[1].dtype), dtype_name(spec.outputs[0].dtype));
  }
  return t;
}

Broadcast prepare_two(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  same_type(spec);
  Broadcast b = broadcast(spec);
  spec.outputs[0].shape = b.shape;
  return b;
}

struct Scales {
  float a, b, y;
  std::int32_t za, zb, zy;
};

float one_scale(const OpSpec& spec, const Operand& o) {
  if (o.quant == nullptr || o.quant->scale.size() != 1) refuse(spec, "tensor {} of type {} has {} scales, expected 1", o.name, dtype_name(o.dtype), o.quant == nullptr ? 0 : o.quant->scale.size());
  const float s = o.quant->scale[0];
  if (!(s > 0) || !std::isfinite(s)) refuse(spec, "tensor {} has scale {}, expected a positive number", o.name, s);
  return s;
}

Scales scales_of(const OpSpec& spec) {
  const auto zero = [](const Operand& o) { return static_cast<std::int32_t>(o.quant->zero_point[0]); };
  Scales s{one_scale(spec, spec.inputs[0]), one_scale(spec, spec.inputs[1]), one_scale(spec, spec.outputs[0]), 0, 0, 0};
  s.za = zero(spec.inputs[0]);
  s.zb = zero(spec.inputs[1]);
  s.zy = zero(spec.outputs[0]);
  return s;
}

Range32 type_range(DType t) {
  return t == DType::kInt8 ? Range32{-128, 127} : t == DType::kUint8 ? Range32{0, 255} : Range32{-32768, 32767};
}

// Bounds of the fused activation in codes; XNNPACK rounds them in another way (section 1.5).
Range32 code_bounds(const OpSpec& spec, float scale, std::int32_t zero, bool xnn) {
  const Range32 all = type_range(spec.outputs[0].dtype);
  const auto code = [&](float v) {
    if (xnn) return static_cast<std::int32_t>(std::nearbyint(std::clamp(v / scale + static_cast<float>(zero), static_cast<float>(all.low), static_cast<float>(all.high))));
    return zero + round_away(v / scale);
  };
  switch (fused_activation(spec.op->attrs)) {
    case Activation::kRelu: return {std::max(all.low, code(0)), all.high};
    case Activation::kRelu6: return {std::max(all.low, code(0)), std::min(all.high, code(6))};
    case Activation::kReluN1To1: return {std::max(all.low, code(-1)), std::min(all.high, code(1))};
    default: return all;
  }
}

template <class T>
std::pair<T, T> float_bounds(const OpSpec& spec) {
  const T inf = std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
  const T low = std::numeric_limits<T>::has_infinity ? -inf : std::numeric_limits<T>::lowest();
  switch (fused_activation(spec.op->attrs)) {
    case Activation::kRelu: return {T(0), inf};
    case Activation::kRelu6: return {T(0), T(6)};
    case Activation::kReluN1To1: return {T(-1), T(1)};
    default: return {low, inf};
  }
}

template <class T>
T bounded(T v, std::pair<T, T> b) {
  // Comparisons in this order let NaN through, as the runtime does.
  const T low = v < b.first ? b.first : v;
  return low > b.second ? b.second : low;
}

template <class T, class F>
std::unique_ptr<Kernel> plain(OpSpec& spec, const Broadcast& b, F f) {
  const auto bounds = float_bounds<T>(spec);
  return make_kernel([b, f, bounds](const Io& io) {
    const T *x = static_cast<const T*>(io.inputs[0]), *y = static_cast<const T*>(io.inputs[1]);
    T* out = static_cast<T*>(io.outputs[0]);
    b.each([&](std::size_t o, std::size_t i, std::size_t j) { out[o] = bounded<T>(f(x[i], y[j]), bounds); });
  });
}

template <class F>
std::unique_ptr<Kernel> by_type(OpSpec& spec, const Broadcast& b, F f) {
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32: return plain<float>(spec, b, f);
    case DType::kInt32: return plain<std::int32_t>(spec, b, f);
    case DType::kInt64: return plain<std::int64_t>(spec, b, f);
    default: refuse(spec, "type {} is not supported", dtype_name(spec.inputs[0].dtype));
  }
}

template <class T, class F>
std::unique_ptr<Kernel> coded(const Broadcast& b, F f) {
  return make_kernel([b, f](const Io& io) {
    const T *x = static_cast<const T*>(io.inputs[0]), *y = static_cast<const T*>(io.inputs[1]);
    T* out = static_cast<T*>(io.outputs[0]);
    b.each([&](std::size_t o, std::size_t i, std::size_t j) { out[o] = static_cast<T>(f(static_cast<std::int32_t>(x[i]), static_cast<std::int32_t>(y[j]))); });
  });
}

template <class F>
std::unique_ptr<Kernel> by_code(OpSpec& spec, const Broadcast& b, F f) {
  switch (spec.inputs[0].dtype) {
    case DType::kInt8: return coded<std::int8_t>(b, f);
    case DType::kUint8: return coded<std::uint8_t>(b, f);
    case DType::kInt16: return coded<std::int16_t>(b, f);
    default: refuse(spec, "type {} is not supported", dtype_name(spec.inputs[0].dtype));
  }
}

bool is_coded(DType t) { return t == DType::kInt8 || t == DType::kUint8 || t == DType::kInt16; }

// Section 2.7, XNNPACK: 20-bit multipliers, one shift with ties up.
std::unique_ptr<Kernel> add_xnn(OpSpec& spec, const Broadcast& b, const Scales& s, bool subtract) {
  const float ra = s.a / s.y, rb = s.b / s.y;
  const int shift = 20 - std::ilogb(std::max(ra, rb));
  const auto ma = static_cast<std::int32_t>(std::nearbyint(std::ldexp(ra, shift)));
  const auto mb = static_cast<std::int32_t>(std::nearbyint(std::ldexp(rb, shift))) * (subtract ? -1 : 1);
  const std::int32_t bias = static_cast<std::int32_t>(static_cast<std::uint32_t>(1u << (shift - 1)) - static_cast<std::uint32_t>(ma) * static_cast<std::uint32_t>(s.za) - static_cast<std::uint32_t>(mb) * static_cast<std::uint32_t>(s.zb));
  const Range32 r = code_bounds(spec, s.y, s.zy, true), all = type_range(spec.outputs[0].dtype);
  const std::int32_t zy = s.zy;
  return by_code(spec, b, [=](std::int32_t x, std::int32_t y) {
    const auto sum = static_cast<std::int32_t>(static_cast<std::uint32_t>(bias) + static_cast<std::uint32_t>(x) * static_cast<std::uint32_t>(ma) + static_cast<std::uint32_t>(y) * static_cast<std::uint32_t>(mb));
    const std::int32_t v = std::clamp(std::clamp(sum >> shift, -32768, 32767) + zy, -32768, 32767);
    return std::clamp(std::clamp(v, all.low, all.high), r.low, r.high);
  });
}

std::unique_ptr<Kernel> add_codes(OpSpec& spec, const Broadcast& b, const Scales& s, bool subtract) {
  const int left = spec.inputs[0].dtype == DType::kInt16 ? 15 : 20;
  const double t = 2.0f * std::max(s.a, s.b);
  const Multiplier ma = make_multiplier(static_cast<double>(s.a) / t), mb = make_multiplier(static_cast<double>(s.b) / t);
  const Multiplier mo = make_multiplier(t / static_cast<double>(static_cast<float>(1 << left) * s.y));
  if (mo.exponent > 0) refuse(spec, "output scale {} is too small for the inputs' scales {} and {}", s.y, s.a, s.b);
  const Range32 r = code_bounds(spec, s.y, s.zy, false);
  return by_code(spec, b, [=](std::int32_t x, std::int32_t y) {
    const std::int32_t va = scale_double(wrap_shift_left(x - s.za, left), ma), vb = scale_double(wrap_shift_left(y - s.zb, left), mb);
    return std::clamp(scale_double(subtract ? va - vb : va + vb, mo) + s.zy, r.low, r.high);
  });
}

}  // namespace

std::unique_ptr<Kernel> prepare_add_sub(OpSpec& spec) {
  const Broadcast b = prepare_two(spec);
  const bool subtract = spec.op->code == OpCode::kSub;
  if (!is_coded(spec.inputs[0].dtype)) {
    if (subtract) return by_type(spec, b, [](auto x, auto y) { return x - y; });
    return by_type(spec, b, [](auto x, auto y) { return x + y; });
  }
  const Scales s = scales_of(spec);
  if (spec.inputs[0].dtype == DType::kInt16) {
    const auto* attrs = std::get_if<AddAttrs>(&spec.op->attrs);
    const bool pot = attrs == nullptr || attrs->pot_scale_int16;
    const auto power = [](float v) { return std::fabs(std::log2(v) - std::round(std::log2(v))) < 1e-6; };
    if (pot && power(s.a) && power(s.b) && power(s.y)) refuse(spec, "int16 with power-of-two scales is not supported yet");
  }
  const float ra = s.a / s.y, rb = s.b / s.y;
  const bool fits = ra >= 0x1p-10f && ra < 256 && rb >= 0x1p-10f && rb < 256;
  if (spec.dialect == Dialect::kXnnpack && spec.inputs[0].dtype != DType::kInt16 && fits) return add_xnn(spec, b, s, subtract);
  return add_codes(spec, b, s, subtract);
}

std::unique_ptr<Kernel> prepare_mul(OpSpec& spec) {
  const Broadcast b = prepare_two(spec);
  if (!is_coded(spec.inputs[0].dtype)) return by_type(spec, b, [](auto x, auto y) { return x * y; });
  const Scales s = scales_of(spec);
  const float scale = s.a * s.b / s.y;
  if (spec.dialect == Dialect::kXnnpack && spec.inputs[0].dtype != DType::kInt16 && scale >= 0x1p-16f && scale < 256) {
    const Range32 r = code_bounds(spec, s.y, s.zy, true), all = type_range(spec.outputs[0].dtype);
    return by_code(spec, b, [=](std::int32_t x, std::int32_t y) {
      return std::clamp(requantize_xnn((x - s.za) * (y - s.zb), scale, s.zy, all.low, all.high), r.low, r.high);
    });
  }
  const Multiplier m = make_multiplier(scale);
  const Range32 r = code_bounds(spec, s.y, s.zy, false);
  return by_code(spec, b, [=](std::int32_t x, std::int32_t y) { return std::clamp(scale_double((x - s.za) * (y - s.zb), m) + s.zy, r.low, r.high); });
}

std::unique_ptr<Kernel> prepare_div(OpSpec& spec) {
  const Broadcast b = prepare_two(spec);
  if (spec.inputs[0].dtype != DType::kFloat32) refuse(spec, "type {} is not supported yet", dtype_name(spec.inputs[0].dtype));
  return plain<float>(spec, b, [](float x, float y) { return x / y; });
}

std::unique_ptr<Kernel> prepare_max_min(OpSpec& spec) {
  const Broadcast b = prepare_two(spec);
  const bool largest = spec.op->code == OpCode::kMaximum;
  if (is_coded(spec.inputs[0].dtype)) {
    return by_code(spec, b, [largest](std::int32_t x, std::int32_t y) { return largest ? std::max(x, y) : std::min(x, y); });
  }
  return by_type(spec, b, [largest](auto x, auto y) { return largest ? (x > y ? x : y) : (x < y ? x : y); });
}

std::unique_ptr<Kernel> prepare_squared_difference(OpSpec& spec) {
  const Broadcast b = prepare_two(spec);
  if (!is_coded(spec.inputs[0].dtype)) return by_type(spec, b, [](auto x, auto y) { return (x - y) * (x - y); });
  if (spec.inputs[0].dtype != DType::kInt8) refuse(spec, "type {} is not supported", dtype_name(spec.inputs[0].dtype));
  const Scales s = scales_of(spec);
  const double t = 2.0f * std::max(s.a, s.b);
  const Multiplier ma = make_multiplier(static_cast<double>(s.a) / t), mb = make_multiplier(static_cast<double>(s.b) / t);
  const Multiplier mo = make_multiplier(t * t / static_cast<double>(static_cast<float>(1 << 14) * s.y));
  return by_code(spec, b, [=](std::int32_t x, std::int32_t y) {
    const std::int32_t d = scale_double(wrap_shift_left(x - s.za, 7), ma) - scale_double(wrap_shift_left(y - s.zb, 7), mb);
    return std::clamp(scale_double(d * d, mo) + s.zy, -128, 127);
  });
}

}  // namespace litegap
