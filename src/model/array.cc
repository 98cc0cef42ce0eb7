#include "model/array.h"

#include <cstdlib>
#include <cstring>

#include "model/aligned.h"

namespace litegap {

const char* dtype_name(DType dtype) {
  static constexpr const char* kNames[] = {
      "float32",  "float16",  "int32",     "uint8",         "int64",      "string",
      "bool",     "int16",    "complex64", "int8",          "float64",    "complex128",
      "uint64",   "resource", "variant",   "uint32",        "uint16",     "int4",
      "bfloat16", "int2",     "uint4",     "float8_e4m3fn", "float8_e5m2"};
  const int i = static_cast<int>(dtype);
  return i >= 0 && i < static_cast<int>(std::size(kNames)) ? kNames[i] : "unknown type";
}

int dtype_bits(DType dtype) {
  switch (dtype) {
    case DType::kInt2:
      return 2;
    case DType::kInt4:
    case DType::kUint4:
      return 4;
    case DType::kInt8:
    case DType::kUint8:
    case DType::kBool:
    case DType::kFloat8E4M3:
    case DType::kFloat8E5M2:
      return 8;
    case DType::kFloat16:
    case DType::kBfloat16:
    case DType::kInt16:
    case DType::kUint16:
      return 16;
    case DType::kFloat32:
    case DType::kInt32:
    case DType::kUint32:
      return 32;
    case DType::kFloat64:
    case DType::kInt64:
    case DType::kUint64:
    case DType::kComplex64:
      return 64;
    case DType::kComplex128:
      return 128;
    case DType::kString:
    case DType::kResource:
    case DType::kVariant:
      return 0;
  }
  return 0;
}

bool is_quantizable(DType dtype) {
  return dtype == DType::kInt8 || dtype == DType::kUint8 || dtype == DType::kInt16 ||
         dtype == DType::kInt32 || dtype == DType::kInt64 || dtype == DType::kInt4 ||
         dtype == DType::kInt2;
}

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

std::size_t shape_elements(const Shape& shape) {
  std::size_t n = 1;
  bool zero = false;
  for (const std::int32_t d : shape) {
    if (d < 0) fail("shape {} has a negative dimension", shape_text(shape));
    if (d == 0) zero = true;
  }
  if (zero) return 0;
  for (const std::int32_t d : shape) {
    n *= static_cast<std::size_t>(d);
    if (n > (std::size_t{1} << 40)) fail("shape {} has more than 2^40 elements", shape_text(shape));
  }
  return n;
}

std::size_t dtype_bytes(DType dtype, std::size_t elements) {
  return (elements * static_cast<std::size_t>(dtype_bits(dtype)) + 7) / 8;
}

Array Array::zeros(DType dtype, Shape shape) {
  Array a;
  a.dtype_ = dtype;
  a.elements_ = shape_elements(shape);
  a.shape_ = std::move(shape);
  a.byte_size_ = dtype_bytes(dtype, a.elements_);
  const std::size_t padded = (a.byte_size_ + 64 + 63) / 64 * 64;  // slack for vector loads
  // calloc() and not a memset(): large blocks come cleared from the system, and what nobody touches
  // takes no memory.
  auto* block = static_cast<std::byte*>(std::calloc(padded + 63, 1));
  if (block == nullptr) fail("out of memory for {} bytes", padded);
  const std::size_t past = reinterpret_cast<std::uintptr_t>(block) % 64;
  a.data_ = std::shared_ptr<const std::byte>(block + (64 - past) % 64,
                                             [block](const std::byte*) { std::free(block); });
  return a;
}

Array Array::view(DType dtype, Shape shape, std::span<const std::byte> bytes,
                  std::shared_ptr<const void> owner) {
  Array a;
  a.dtype_ = dtype;
  a.elements_ = shape_elements(shape);
  a.shape_ = std::move(shape);
  a.byte_size_ = dtype_bytes(dtype, a.elements_);
  if (bytes.size() != a.byte_size_) {
    fail("{} of shape {} needs {} bytes, found {}", dtype_name(dtype), shape_text(a.shape_),
         a.byte_size_, bytes.size());
  }
  a.data_ = std::shared_ptr<const std::byte>(std::move(owner), bytes.data());
  return a;
}

std::byte* Array::mutable_data() { return const_cast<std::byte*>(data_.get()); }

Array Array::clone() const {
  Array a = zeros(dtype_, shape_);
  if (byte_size_ > 0) std::memcpy(a.mutable_data(), data_.get(), byte_size_);
  return a;
}

Array Array::reshaped(Shape shape) const {
  if (shape_elements(shape) != elements_)
    fail("cannot reshape {} to {}", shape_text(shape_), shape_text(shape));
  Array a = *this;
  a.shape_ = std::move(shape);
  return a;
}

Array Array::slice0(std::size_t begin, std::size_t end) const {
  if (shape_.empty() || end > static_cast<std::size_t>(shape_[0]) || begin > end)
    fail("rows {} to {} of shape {}", begin, end, shape_text(shape_));
  Array a = *this;
  a.shape_[0] = static_cast<std::int32_t>(end - begin);
  a.elements_ = shape_elements(a.shape_);
  a.byte_size_ = dtype_bytes(dtype_, a.elements_);
  const std::size_t row = shape_[0] == 0 ? 0 : byte_size_ / static_cast<std::size_t>(shape_[0]);
  a.data_ = std::shared_ptr<const std::byte>(data_, data_.get() + begin * row);
  return a;
}

void Array::check_type(DType asked) const {
  if (asked != dtype_) fail("array is {}, asked for {}", dtype_name(dtype_), dtype_name(asked));
  if (!is_aligned(*this)) fail("array of {} at an odd address", dtype_name(dtype_));
}

float float_from_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  std::uint32_t exponent = (half >> 10) & 0x1Fu;
  std::uint32_t mantissa = half & 0x3FFu;
  std::uint32_t bits;
  if (exponent == 0x1F) {
    bits = sign | 0x7F800000u | (mantissa << 13);
  } else if (exponent != 0) {
    bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
  } else if (mantissa == 0) {
    bits = sign;
  } else {
    exponent = 113;
    while ((mantissa & 0x400u) == 0) {
      mantissa <<= 1;
      --exponent;
    }
    bits = sign | (exponent << 23) | ((mantissa & 0x3FFu) << 13);
  }
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

std::uint16_t half_from_float(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<std::uint16_t>(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return static_cast<std::uint16_t>(sign | 0x7C00u);
  if (magnitude < 0x33000001u) return sign;
  const int exponent = static_cast<int>(magnitude >> 23);
  std::uint32_t mantissa = (magnitude & 0x7FFFFFu) | 0x800000u;
  const int shift = exponent < 113 ? 126 - exponent : 13;
  const std::uint32_t base = exponent < 113 ? 0 : static_cast<std::uint32_t>(exponent - 113) << 10;
  const std::uint32_t half_bit = 1u << (shift - 1);
  const std::uint32_t rest = mantissa & ((1u << shift) - 1);
  mantissa >>= shift;
  if (rest > half_bit || (rest == half_bit && (mantissa & 1u))) ++mantissa;
  // For normal numbers the implicit bit adds one to the exponent field, which base leaves out.
  return static_cast<std::uint16_t>(sign | (base + mantissa));
}

}  // namespace litegap
