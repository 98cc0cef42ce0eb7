// ADD, SUB, MUL, MAXIMUM, MINIMUM, SQUARED_DIFFERENCE
// (docs/numerics.md, sections 1.4, 1.5, 2.7, 2.8, 2.20, 2.21).
#include <array>
#include <cmath>
#include <complex>
#include <functional>
#include <limits>

#include "kernels/arithmetic_ops.h"
#include "kernels/broadcast.h"
#include "kernels/code_rows.h"
#include "kernels/fused_bounds.h"
#include "kernels/half.h"
#include "kernels/lanes.h"

namespace litegap {
namespace {

Broadcast prepare_two(OpSpec& spec) {
  prepare_pair(spec);
  return broadcast(spec);
}

struct Scales {
  ScaleZero a, b, y;
};
Scales scales_of(const OpSpec& spec) {
  return {scale_zero(spec, spec.inputs[0]), scale_zero(spec, spec.inputs[1]),
          scale_zero(spec, spec.outputs[0])};
}

void expect_zero_points(const OpSpec& spec, const Scales& s) {
  if (spec.inputs[0].dtype != DType::kInt16 || (s.a.zero == 0 && s.b.zero == 0 && s.y.zero == 0))
    return;
  refuse(spec, "zero points {}, {} and {}, expected 0 for int16", s.a.zero, s.b.zero, s.y.zero);
}

// XNNPACK takes 8-bit and float nodes with the activations it knows.
bool xnn_takes(const OpSpec& spec) {
  return spec.dialect == Dialect::kXnnpack && spec.inputs[0].dtype != DType::kInt16 &&
         fused_activation(spec.op->attrs) <= Activation::kRelu6;
}

// ---- plain numbers
// -------------------------------------------------------------------------------
struct WrappingAdd {
  template <class T>
  T operator()(T x, T y) const {
    if constexpr (std::is_floating_point_v<T>)
      return x + y;
    else
      return static_cast<T>(static_cast<std::make_unsigned_t<T>>(x) +
                            static_cast<std::make_unsigned_t<T>>(y));
  }
};
struct WrappingSub {
  template <class T>
  T operator()(T x, T y) const {
    if constexpr (std::is_floating_point_v<T>)
      return x - y;
    else
      return static_cast<T>(static_cast<std::make_unsigned_t<T>>(x) -
                            static_cast<std::make_unsigned_t<T>>(y));
  }
};
struct WrappingMul {
  template <class T>
  T operator()(T x, T y) const {
    // Products of narrow types are widened first: int would overflow.
    if constexpr (std::is_floating_point_v<T>)
      return x * y;
    else
      return static_cast<T>(static_cast<std::uint64_t>(x) * static_cast<std::uint64_t>(y));
  }
};
struct SquaredDifference {
  template <class T>
  T operator()(T x, T y) const {
    const T d = WrappingSub{}(x, y);
    return WrappingMul{}(d, d);
  }
};

// The values of a fused activation.  Without one the reference and built-in kernels still clamp,
// to the range of finite numbers.
template <class T>
struct Clamp {
  T low, high;
  T operator()(T v) const {
    // Comparisons in this order let NaN through, as the runtime's do.
    const T least = v < low ? low : v;
    return high < least ? high : least;
  }
};

// XNNPACK runs with subnormal operands taken for zero, which infinity times one of them shows.
template <class F>
std::unique_ptr<Kernel> flushing(const Broadcast& b, F f) {
#if defined(__x86_64__)
  return make_kernel([b, loop = row_loop<float, float, float, F>(), f](const Io& io) {
    const SubnormalsAreZero mode;
    run_broadcast(b, loop, &f, io);
  });
#else
  return broadcast_kernel<float, float, float>(
      b, [f](float x, float y) { return f(flush_subnormal(x), flush_subnormal(y)); });
#endif
}

template <class T, class F>
std::unique_ptr<Kernel> plain(OpSpec& spec, Broadcast b, F f) {
  const Activation activation = fused_activation(spec.op->attrs);
  const auto bounds = real_bounds<T>(activation);
  Clamp<T> clamp{bounds.low, bounds.high};
  if constexpr (std::is_same_v<T, float>) {
    if (xnn_takes(spec) && !bounds.set) return flushing(b, f);
    if (xnn_takes(spec) && activation == Activation::kRelu)
      clamp.high = std::numeric_limits<T>::infinity();
  }
  return broadcast_kernel<T, T, T>(std::move(b), [f, clamp](T x, T y) { return clamp(f(x, y)); });
}

// XNNPACK: subnormal operands are zero, and zero times infinity is no number.
struct FlushingMul {
  template <class T>
  T operator()(T x, T y) const {
    if constexpr (std::is_floating_point_v<T>)
      return flush_subnormal(x) * flush_subnormal(y);
    else
      return WrappingMul{}(x, y);
  }
};

template <class F>
std::unique_ptr<Kernel> plain_by_type(OpSpec& spec, Broadcast b, F f) {
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return plain<float>(spec, std::move(b), f);
    case DType::kInt32:
      return plain<std::int32_t>(spec, std::move(b), f);
    case DType::kInt64:
      return plain<std::int64_t>(spec, std::move(b), f);
    case DType::kInt16:
      // Without scales: numbers, not codes.
      if (spec.outputs[0].quant->empty())
        return broadcast_kernel<std::int16_t, std::int16_t, std::int16_t>(std::move(b), f);
      break;
    default:
      break;
  }
  refuse_type(spec);
}

// ---- codes
// ---------------------------------------------------------------------------------------
template <class F>
std::unique_ptr<Kernel> coded(const OpSpec& spec, Broadcast b, F f) {
  const auto wide = [f](auto x, auto y) {
    return f(static_cast<std::int32_t>(x), static_cast<std::int32_t>(y));
  };
  switch (spec.inputs[0].dtype) {
    case DType::kInt8:
      return broadcast_kernel<std::int8_t, std::int8_t, std::int8_t>(std::move(b), wide);
    case DType::kUint8:
      return broadcast_kernel<std::uint8_t, std::uint8_t, std::uint8_t>(std::move(b), wide);
    case DType::kInt16:
      return broadcast_kernel<std::int16_t, std::int16_t, std::int16_t>(std::move(b), wide);
    default:
      refuse_type(spec);
  }
}

// XNNPACK's, of 8 bits.
template <class T, class Row>
void code_row(const void* body, std::size_t n, const void* x, const void* y, void* to) {
  const Row& f = *static_cast<const Row*>(body);
  const T *p = static_cast<const T*>(x), *q = static_cast<const T*>(y);
  if constexpr (std::is_same_v<Row, AddRow>)
    add_codes(f, n, p, q, static_cast<T*>(to));
  else
    multiply_codes(f, n, p, q, static_cast<T*>(to));
}
template <class T, class Row>
void code_single(const Row& f, std::size_t rows, std::size_t n, const void* dense,
                 const void* single, std::size_t step, void* to) {
  const T *p = static_cast<const T*>(dense), *q = static_cast<const T*>(single);
  if constexpr (std::is_same_v<Row, AddRow>)
    add_to_rows(f, rows, n, p, q, step, static_cast<T*>(to));
  else
    multiply_rows(f, rows, n, p, q, step, static_cast<T*>(to));
}
AddRow exchanged(AddRow f) {
  std::swap(f.a, f.b);
  return f;
}
MultiplyRow exchanged(MultiplyRow f) {
  std::swap(f.zero_x, f.zero_y);
  return f;
}
template <class T, class Row>
std::unique_ptr<Kernel> code_rows_of(const Broadcast& b, const Row& f) {
  RowLoop loop{code_row<T, Row>, 1, 1, 1, nullptr, nullptr};
  loop.first = [](const void* body, std::size_t rows, std::size_t n, const void* x, const void* y,
                  std::size_t step, void* to) {
    code_single<T>(exchanged(*static_cast<const Row*>(body)), rows, n, y, x, step, to);
  };
  loop.second = [](const void* body, std::size_t rows, std::size_t n, const void* x, const void* y,
                   std::size_t step, void* to) {
    code_single<T>(*static_cast<const Row*>(body), rows, n, x, y, step, to);
  };
  return make_kernel([b, loop, f](const Io& io) { run_broadcast(b, loop, &f, io); });
}
template <class Row>
std::unique_ptr<Kernel> code_rows(const OpSpec& spec, const Broadcast& b, const Row& f) {
  if (spec.inputs[0].dtype == DType::kInt8) return code_rows_of<std::int8_t>(b, f);
  return code_rows_of<std::uint8_t>(b, f);
}

// The built-in vector code of ADD and MUL adds the zero point in 16-bit words that wrap.  Before
// that ADD cuts the value off to 16 bits, MUL saturates it.  This is MUL's, in whole blocks of
// operands of one shape; `most` is the largest magnitude of a value.
bool wraps_in_blocks(const OpSpec& spec, const Broadcast& b, double most) {
  return spec.dialect != Dialect::kReference && b.equal && most > 32000.0;
}
std::int32_t narrow_finish(std::int16_t value, std::int32_t zero, Range32 r) {
  const auto v = static_cast<std::int16_t>(value + zero);
  return std::min(std::max<std::int32_t>(v, r.low), r.high);
}
template <class T, class Block, class Rest>
std::unique_ptr<Kernel> block_kernel(std::size_t n, Block block, Rest rest) {
  constexpr std::size_t kBlock = std::is_signed_v<T> ? 16 : 8;
  const std::size_t whole = n / kBlock * kBlock;
  return make_kernel([=](const Io& io) noexcept {
    const T *x = static_cast<const T*>(io.inputs[0]), *y = static_cast<const T*>(io.inputs[1]);
    T* out = static_cast<T*>(io.outputs[0]);
    with_vectors([&] {
      for (std::size_t i = 0; i < whole; ++i) out[i] = static_cast<T>(block(x[i], y[i]));
      for (std::size_t i = whole; i < n; ++i) out[i] = static_cast<T>(rest(x[i], y[i]));
    });
  });
}

// ADD and SUB under XNNPACK: 20-bit multipliers, one shift with ties up.
std::unique_ptr<Kernel> add_xnn(const OpSpec& spec, Broadcast b, const Scales& s, bool subtract) {
  const float ra = s.a.scale / s.y.scale, rb = s.b.scale / s.y.scale;
  const int shift = 20 - std::ilogb(std::max(ra, rb));
  const auto code = [shift](float r) {
    return static_cast<std::int32_t>(std::nearbyint(std::ldexp(r, shift)));
  };
  const std::int32_t ma = code(ra), mb = subtract ? -code(rb) : code(rb);
  const std::int64_t bias =
      (std::int64_t{1} << (shift - 1)) - std::int64_t{ma} * s.a.zero - std::int64_t{mb} * s.b.zero;
  const Range32 r = xnn_code_bounds(spec, s.y);
  // Sums wrap modulo 2^32.
  const auto start = static_cast<std::int32_t>(static_cast<std::uint32_t>(bias));
  return code_rows(spec, std::move(b), AddRow{start, ma, mb, shift, s.y.zero, r.low, r.high});
}

// ADD and SUB of codes: each operand is scaled to a common scale of its own table (8-bit types),
// the sum is scaled to the output.
struct AddCodes {
  int left = 20;
  bool subtract = false;
  Multiplier a, b, out;
  ScaleZero sa, sb, sy;
  Range32 range;

  // How the built-in vector code scales an operand: the shift to the right first, where it takes
  // bits from that to the left, or last and without rounding.
  enum class Vector { kShiftFirst, kShiftLast };
  std::int32_t scaled_in_vector(Vector how, std::int32_t code, std::int32_t zero,
                                Multiplier m) const {
    const std::int32_t x = code - zero, right = std::min(-m.exponent, 31);
    if (how == Vector::kShiftLast)
      return high_multiply_lane(wrap_shift_left(x, left), m.mantissa) >> right;
    const std::int32_t moved =
        right <= left ? wrap_shift_left(x, left - right) : x >> (right - left);
    return high_multiply_lane(moved, m.mantissa);
  }
  std::int32_t scaled_a(std::int32_t x) const {
    return scale_lane(wrap_shift_left(x - sa.zero, left), a);
  }
  std::int32_t scaled_b(std::int32_t y) const {
    const std::int32_t v = scale_lane(wrap_shift_left(y - sb.zero, left), b);
    return subtract ? -v : v;
  }
  std::int32_t finish(std::int32_t sum) const {
    return std::min(std::max(scale_lane(sum, out) + sy.zero, range.low), range.high);
  }
  std::int32_t finish_narrow(std::int32_t sum) const {
    return narrow_finish(static_cast<std::int16_t>(scale_lane(sum, out)), sy.zero, range);
  }
};

using WideTable = std::array<std::int32_t, 256>;

template <class T, class A, class B>
auto table_sum(A scaled_a, B scaled_b) {
  WideTable ta{}, tb{};
  for (int q = std::numeric_limits<T>::min(); q <= std::numeric_limits<T>::max(); ++q) {
    ta[static_cast<std::uint8_t>(q)] = scaled_a(q);
    tb[static_cast<std::uint8_t>(q)] = scaled_b(q);
  }
  return [ta, tb](T x, T y) {
    return ta[static_cast<std::uint8_t>(x)] + tb[static_cast<std::uint8_t>(y)];
  };
}

// Whether the built-in kernels broadcast in runs, which are rows of Broadcast: from the last
// dimensions on equal ones, those that one operand repeats, equal ones, those that the other
// repeats, equal ones.  Else they go element by element.
bool broadcasts_in_runs(const Shape& a, const Shape& b) {
  const std::size_t rank = std::max(a.size(), b.size());
  std::size_t d = 0;  // dimensions behind, from the last
  const auto size = [&](const Shape& s) { return d < s.size() ? s[s.size() - 1 - d] : 1; };
  const auto skip_equal = [&] {
    while (d < rank && size(a) == size(b)) ++d;
  };
  const auto skip_repeated = [&](const Shape& repeated) {
    while (d < rank && size(repeated) == 1) ++d;
  };
  skip_equal();
  if (d == rank) return true;
  const bool first = size(a) == 1;
  skip_repeated(first ? a : b);
  skip_equal();
  skip_repeated(first ? b : a);
  skip_equal();
  return d == rank;
}

// The built-in ADD of bytes: whole blocks of a run are vector code.
template <class T, class Sum>
std::unique_ptr<Kernel> add_in_blocks(const Broadcast& b, const AddCodes& add, const Sum& behind) {
  const bool single = b.inner.a != b.inner.b;
  const bool words = std::is_signed_v<T> && !single;
  const auto how = words ? AddCodes::Vector::kShiftFirst : AddCodes::Vector::kShiftLast;
  const std::size_t whole = words ? b.inner.size / 16 * 16 : b.inner.size / 8 * 8;
  const auto in_block =
      table_sum<T>([&](int q) { return add.scaled_in_vector(how, q, add.sa.zero, add.a); },
                   [&](int q) { return add.scaled_in_vector(how, q, add.sb.zero, add.b); });
  return make_kernel([=](const Io& io) noexcept {
    b.rows([&](std::size_t o, std::size_t i, std::size_t j) {
      const T* x = static_cast<const T*>(io.inputs[0]) + i;
      const T* y = static_cast<const T*>(io.inputs[1]) + j;
      T* out = static_cast<T*>(io.outputs[0]) + o;
      std::size_t k = 0;
      for (; k < whole; ++k)
        out[k] = static_cast<T>(add.finish_narrow(in_block(x[k * b.inner.a], y[k * b.inner.b])));
      for (; k < b.inner.size; ++k)
        out[k] = static_cast<T>(add.finish(behind(x[k * b.inner.a], y[k * b.inner.b])));
    });
  });
}

template <class T>
std::unique_ptr<Kernel> add_tables(const OpSpec& spec, Broadcast b, const AddCodes& add) {
  const auto sum =
      table_sum<T>([&](int q) { return add.scaled_a(q); }, [&](int q) { return add.scaled_b(q); });
  if (spec.dialect != Dialect::kReference && !add.subtract &&
      broadcasts_in_runs(spec.inputs[0].shape, spec.inputs[1].shape))
    return add_in_blocks<T>(b, add, sum);
  return broadcast_kernel<T, T, T>(std::move(b),
                                   [sum, add](T x, T y) { return add.finish(sum(x, y)); });
}

// AddCodes of int16 in a form that becomes vector code of 32-bit words.  The operands are not above
// 2^15 and their multipliers not above 1/2, so that with a mantissa of high * 2^15 + low the
// rounded high product of x * 2^15 is
//   (x mantissa + 2^15) >> 16 = (x high + 1 + (x low >> 15)) >> 1
// and that of x * 2^(15 - right), as scaled_in_vector() has it for `right` of up to 15,
//   (x mantissa + 2^(15 + right)) >> (16 + right)
//     = (x high + 2^right + (x low >> 15)) >> (1 + right)
template <bool kShiftFirst>
struct AddWords {
  struct Part {
    std::int32_t high = 0, low = 0;
    int right = 0;
    explicit Part(Multiplier m)
        : high(m.mantissa >> 15), low(m.mantissa & 0x7FFF), right(-m.exponent) {}
    std::int32_t operator()(std::int32_t x) const {
      const std::int32_t product = x * high + ((x * low) >> 15);
      if constexpr (kShiftFirst) return (product + (1 << right)) >> (1 + right);
      return shift_away((product + 1) >> 1, right);
    }
  };
  Part a, b;
  Multiplier out;  // exponent of 0 or less
  std::int32_t sign = 1;
  Range32 range;

  explicit AddWords(const AddCodes& add)
      : a(add.a), b(add.b), out(add.out), sign(add.subtract ? -1 : 1), range(add.range) {}
  std::int32_t operator()(std::int16_t x, std::int16_t y) const {
    const std::int32_t sum = a(x) + b(y) * sign;
    const std::int32_t v = shift_away(high_multiply_lane(sum, out.mantissa), -out.exponent);
    return std::min(std::max(v, range.low), range.high);
  }
};

std::unique_ptr<Kernel> add_words(const OpSpec& spec, Broadcast b, const AddCodes& add) {
  using I16 = std::int16_t;
  const AddWords<false> behind(add);
  const bool dense = b.outer_rank == 0 && b.inner.a == b.inner.b;
  if (spec.dialect == Dialect::kReference || add.subtract || !dense)
    return broadcast_kernel<I16, I16, I16>(std::move(b), behind);
  if (std::min(add.a.exponent, add.b.exponent) >= -15)
    return block_kernel<I16>(b.elements, AddWords<true>(add), behind);
  const auto in_block = [add](std::int32_t x, std::int32_t y) {
    const auto first = AddCodes::Vector::kShiftFirst;
    return add.finish(add.scaled_in_vector(first, x, add.sa.zero, add.a) +
                      add.scaled_in_vector(first, y, add.sb.zero, add.b));
  };
  return block_kernel<I16>(b.elements, in_block, behind);
}

std::unique_ptr<Kernel> add_codes(const OpSpec& spec, Broadcast b, const Scales& s, bool subtract) {
  const bool wide = spec.inputs[0].dtype == DType::kInt16;
  AddCodes add;
  add.left = wide ? 15 : 20;
  add.subtract = subtract;
  const double twice = 2.0f * std::max(s.a.scale, s.b.scale);
  add.a = make_multiplier(s.a.scale / twice);
  add.b = make_multiplier(s.b.scale / twice);
  add.out =
      make_multiplier(twice / static_cast<double>(static_cast<float>(1 << add.left) * s.y.scale));
  if (add.out.exponent > 0) {
    refuse(spec, "output scale {} is too small for the inputs' scales {} and {}", s.y.scale,
           s.a.scale, s.b.scale);
  }
  add.sa = s.a;
  add.sb = s.b;
  add.sy = s.y;
  add.range = code_bounds(spec, s.y);
  if (spec.inputs[0].dtype == DType::kInt8) return add_tables<std::int8_t>(spec, std::move(b), add);
  if (spec.inputs[0].dtype == DType::kUint8)
    return add_tables<std::uint8_t>(spec, std::move(b), add);
  return add_words(spec, std::move(b), add);
}

// int16 with scales that are powers of two: one operand is shifted, the sum saturates.
bool exact_log2(float scale, int* log2) {
  const float l = std::log2(scale);
  *log2 = static_cast<int>(std::round(l));
  return std::fabs(l - std::round(l)) < 1e-3f;
}

std::unique_ptr<Kernel> add_shifted(const OpSpec& spec, Broadcast b, const Scales& s, int shift_a,
                                    int shift_b, bool subtract) {
  const Range32 r = code_bounds(spec, s.y);
  return coded(spec, std::move(b), [=](std::int32_t x, std::int32_t y) {
    const std::int32_t va = shift_away(x, -shift_a), vb = shift_away(y, -shift_b);
    const std::int32_t sum = std::min(std::max(subtract ? va - vb : va + vb, -32768), 32767);
    return std::min(std::max(sum, r.low), r.high);
  });
}

std::unique_ptr<Kernel> add_words(const OpSpec& spec, Broadcast b, const Scales& s, bool subtract) {
  int la = 0, lb = 0, ly = 0;
  const auto* attrs = std::get_if<AddAttrs>(&spec.op->attrs);
  const bool powers =
      exact_log2(s.a.scale, &la) && exact_log2(s.b.scale, &lb) && exact_log2(s.y.scale, &ly);
  if (!powers || (attrs != nullptr && !attrs->pot_scale_int16))
    return add_codes(spec, std::move(b), s, subtract);
  if (std::max(la, lb) != ly) {
    refuse(spec, "scales 2^{}, 2^{} and 2^{}: the larger input scale must be the output's", la, lb,
           ly);
  }
  return add_shifted(spec, std::move(b), s, la - ly, lb - ly, subtract);
}

std::unique_ptr<Kernel> prepare_add_sub(OpSpec& spec) {
  Broadcast b = prepare_two(spec);
  const bool subtract = spec.op->code == OpCode::kSub;
  const bool codes = is_code_type(spec.inputs[0].dtype) &&
                     !(spec.inputs[0].dtype == DType::kInt16 && spec.outputs[0].quant->empty());
  if (!codes) {
    return subtract ? plain_by_type(spec, std::move(b), WrappingSub{})
                    : plain_by_type(spec, std::move(b), WrappingAdd{});
  }
  const Scales s = scales_of(spec);
  expect_zero_points(spec, s);
  if (spec.inputs[0].dtype == DType::kInt16) return add_words(spec, std::move(b), s, subtract);
  const float ra = s.a.scale / s.y.scale, rb = s.b.scale / s.y.scale;
  const bool fits = ra >= 0x1p-10f && ra < 256.0f && rb >= 0x1p-10f && rb < 256.0f;
  if (xnn_takes(spec) && fits) return add_xnn(spec, std::move(b), s, subtract);
  return add_codes(spec, std::move(b), s, subtract);
}

std::unique_ptr<Kernel> prepare_mul(OpSpec& spec) {
  Broadcast b = prepare_two(spec);
  const DType t = spec.inputs[0].dtype;
  if (!is_code_type(t) || (t == DType::kInt16 && spec.outputs[0].quant->empty())) {
    if (t == DType::kComplex64) {
      using Complex = std::complex<float>;
      return broadcast_kernel<Complex, Complex, Complex>(
          std::move(b), [](const Complex& x, const Complex& y) { return x * y; });
    }
    const bool bare = fused_activation(spec.op->attrs) == Activation::kNone;  // plain() flushes
    if (t == DType::kFloat32 && xnn_takes(spec) && !bare)
      return plain_by_type(spec, std::move(b), FlushingMul{});
    return plain_by_type(spec, std::move(b), WrappingMul{});
  }
  const Scales s = scales_of(spec);
  expect_zero_points(spec, s);
  const float scale = s.a.scale * s.b.scale / s.y.scale;
  const std::int32_t za = s.a.zero, zb = s.b.zero, zy = s.y.zero;
  if (xnn_takes(spec) && scale >= 0x1p-16f && scale < 256.0f) {
    const Range32 r = xnn_code_bounds(spec, s.y), all = code_range(t);
    const auto most = static_cast<float>(all.high - zy);
    return code_rows(spec, std::move(b), MultiplyRow{za, zb, zy, r.low, r.high, scale, most});
  }
  const Multiplier m = make_multiplier(scale);
  const Range32 r = code_bounds(spec, s.y);
  const auto wide = [=](std::int32_t x, std::int32_t y) {
    return std::min(std::max(wrap_add(scale_lane((x - za) * (y - zb), m), zy), r.low), r.high);
  };
  const auto narrow = [=](std::int32_t x, std::int32_t y) {
    const std::int32_t v = scale_lane((x - za) * (y - zb), m);
    return narrow_finish(static_cast<std::int16_t>(std::clamp(v, -32768, 32767)), zy, r);
  };
  if (is_8bit(t) && wraps_in_blocks(spec, b, 65536.0 * static_cast<double>(scale))) {
    if (t == DType::kInt8) return block_kernel<std::int8_t>(b.elements, narrow, wide);
    return block_kernel<std::uint8_t>(b.elements, narrow, wide);
  }
  return coded(spec, std::move(b), wide);
}

std::unique_ptr<Kernel> prepare_max_min(OpSpec& spec) {
  Broadcast b = prepare_two(spec);
  const bool largest = spec.op->code == OpCode::kMaximum;
  const auto with = [&](auto zero) -> std::unique_ptr<Kernel> {
    using T = decltype(zero);
    if (largest)
      return broadcast_kernel<T, T, T>(std::move(b), [](T x, T y) { return x > y ? x : y; });
    return broadcast_kernel<T, T, T>(std::move(b), [](T x, T y) { return x < y ? x : y; });
  };
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return with(float{});
    case DType::kInt8:
      return with(std::int8_t{});
    case DType::kUint8:
      return with(std::uint8_t{});
    case DType::kInt16:
      return with(std::int16_t{});
    case DType::kInt32:
      return with(std::int32_t{});
    case DType::kInt64:
      return with(std::int64_t{});
    default:
      refuse_type(spec);
  }
}

std::unique_ptr<Kernel> prepare_squared_difference(OpSpec& spec) {
  Broadcast b = prepare_two(spec);
  switch (spec.inputs[0].dtype) {
    case DType::kFloat32:
      return broadcast_kernel<float, float, float>(std::move(b), SquaredDifference{});
    case DType::kInt32:
      return broadcast_kernel<std::int32_t, std::int32_t, std::int32_t>(std::move(b),
                                                                        SquaredDifference{});
    case DType::kInt8:
      break;
    default:
      refuse_type(spec);
  }
  const Scales s = scales_of(spec);
  const double twice = 2.0f * std::max(s.a.scale, s.b.scale);
  const Multiplier ma = make_multiplier(s.a.scale / twice), mb = make_multiplier(s.b.scale / twice);
  const Multiplier mo =
      make_multiplier(twice * twice / static_cast<double>(static_cast<float>(1 << 14) * s.y.scale));
  return coded(spec, std::move(b), [=](std::int32_t x, std::int32_t y) {
    const std::int32_t d =
        scale_lane((x - s.a.zero) * 128, ma) - scale_lane((y - s.b.zero) * 128, mb);
    return std::min(std::max(scale_lane(d * d, mo) + s.y.zero, -128), 127);
  });
}

constexpr KernelRow kRows[] = {
    {OpCode::kAdd, with_half<prepare_add_sub>, "float16 float32 int8 uint8 int16 int32 int64"},
    {OpCode::kSub, with_half_xnn<prepare_add_sub>, "float16 float32 int8 uint8 int16 int32 int64"},
    {OpCode::kMul, with_half<prepare_mul>,
     "float16 float32 complex64 int8 uint8 int16 int32 int64"},
    {OpCode::kMaximum, with_half<prepare_max_min>, "float16 float32 int8 uint8 int16 int32 int64"},
    {OpCode::kMinimum, with_half<prepare_max_min>, "float16 float32 int8 uint8 int16 int32 int64"},
    {OpCode::kSquaredDifference, prepare_squared_difference, "float32 int8 int32"},
};

}  // namespace

std::span<const KernelRow> elementwise_kernel_rows() { return kRows; }

}  // namespace litegap
