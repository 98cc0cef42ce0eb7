// The judge of operators on values: one output element at a time, straight from the formulas of
// docs/numerics.md.  Fixed point is written here a second time, with divisions instead of shifts.
#pragma once
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "kernels/kernel.h"

namespace litegap::oracle {

// ---- fixed point (sections 1.1 to 1.3)
// -----------------------------------------------------------
struct Factor {
  std::int64_t m = 0;
  int e = 0;
};
Factor factor(double real);
std::int64_t divide_away(std::int64_t x, int bits);  // x / 2^bits, ties away from zero
std::int64_t divide_up(std::int64_t x, int bits);    // ties toward +infinity
std::int64_t times_away(std::int64_t x, Factor f);   // profile "double"
std::int64_t times_up(std::int64_t x, Factor f);     // profile "up"
std::int64_t wrap(std::int64_t x);                   // to 32 bits

// ---- codes
// ---------------------------------------------------------------------------------------
struct Codes {
  DType type = DType::kInt8;
  Shape shape;
  std::vector<std::int32_t> at;
  float scale = 1;
  std::int32_t zero = 0;

  Array array() const;
  Quant quant() const;
};
std::int32_t least(DType t);
std::int32_t most(DType t);
std::int32_t bound(DType t, std::int64_t code);
std::vector<std::int32_t> codes_of(const Array& a);

// Bounds of a fused activation (section 1.4, or 1.5 for XNNPACK).
struct Limits {
  std::int64_t low, high;
};
Limits limits(Activation activation, const Codes& y, bool xnn);

// The element of an operand that an element of a broadcast output takes.
std::size_t source(const Shape& out, std::size_t position, const Shape& in);

// ---- operators: `y` has the output's type, shape, scale and zero point; the codes come back
// --------
using Result = std::vector<std::int32_t>;
Result add(const Codes& a, const Codes& b, const Codes& y, Activation f, Dialect d, int sign);
Result mul(const Codes& a, const Codes& b, const Codes& y, Activation f, Dialect d);
Result squared_difference(const Codes& a, const Codes& b, const Codes& y);
Result relu(const Codes& x, const Codes& y, OpCode op);
Result leaky_relu(const Codes& x, const Codes& y, float alpha, Dialect d);
Result prelu(const Codes& x, const Codes& slope, const Codes& y);
Result hard_swish(const Codes& x, const Codes& y);
Result pool(const Codes& x, const Codes& y, const PoolAttrs& a, bool average, Dialect d);
// `axes[d]`: axis d is reduced.
Result mean(const Codes& x, const Codes& y, const std::vector<bool>& axes, bool keep, Dialect d);
Result sum(const Codes& x, const Codes& y, const std::vector<bool>& axes, Dialect d);
Result product(const Codes& x, const Codes& y, const std::vector<bool>& axes);
Result softmax_table(const Codes& x, const Codes& y, float beta);  // built-in, 8 bits
Result quantize(const std::vector<float>& x, const Codes& y, Dialect d);
Result requantize(const Codes& x, const Codes& y, Dialect d);
std::vector<float> dequantize(const Codes& x, Dialect d);

// ---- random cases
// --------------------------------------------------------------------------------
class Draw {
 public:
  explicit Draw(unsigned seed) : engine_(seed) {}
  // The first choices come from the bytes, one each; the rest is random, the same for equal bytes.
  explicit Draw(std::span<const std::uint8_t> bytes);
  std::int32_t in(std::int32_t low, std::int32_t high);
  bool one_in(std::int32_t n) { return in(1, n) == 1; }
  float real(float low, float high);
  // Powers of two make ties frequent.
  float scale();
  Shape shape(std::size_t rank, std::int32_t most);
  // Random codes, scale and zero point (0 for int16).
  Codes codes(DType type, Shape shape);
  Dialect dialect() { return static_cast<Dialect>(in(0, 2)); }
  Activation activation() { return static_cast<Activation>(in(0, 3)); }

 private:
  std::mt19937_64 engine_;
  std::vector<std::uint8_t> bytes_;
  std::size_t next_ = 0;
};

}  // namespace litegap::oracle
