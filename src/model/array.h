// Typed buffers with their shapes: shape and data never travel apart.
//
//   Array a = Array::zeros(DType::kFloat32, {1, 4});   // owns its bytes
//   a.mutable_span<float>()[0] = 1.0f;
//   Array b = a;                                        // shares the bytes; clone() copies
//
// Layout is row-major; images are NHWC.  Data starts on a 64-byte boundary when owned; a view of a
// mapped file is only made where its address is aligned for the type.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace litegap {

// Values are those of the file format (conversion note, section 7).
enum class DType : std::int8_t {
  kFloat32 = 0,
  kFloat16 = 1,
  kInt32 = 2,
  kUint8 = 3,
  kInt64 = 4,
  kString = 5,
  kBool = 6,
  kInt16 = 7,
  kComplex64 = 8,
  kInt8 = 9,
  kFloat64 = 10,
  kComplex128 = 11,
  kUint64 = 12,
  kResource = 13,
  kVariant = 14,
  kUint32 = 15,
  kUint16 = 16,
  kInt4 = 17,
  kBfloat16 = 18,
  kInt2 = 19,
  kUint4 = 20,
  kFloat8E4M3 = 21,
  kFloat8E5M2 = 22,
};

const char* dtype_name(DType dtype);  // "float32", "int8", …
int dtype_bits(DType dtype);       // 0 for types without a fixed width (string, resource, variant)
bool is_quantizable(DType dtype);  // int2, int4, int8, uint8, int16, int32, int64

template <class T>
inline constexpr DType dtype_of = DType::kString;
template <>
inline constexpr DType dtype_of<float> = DType::kFloat32;
template <>
inline constexpr DType dtype_of<double> = DType::kFloat64;
template <>
inline constexpr DType dtype_of<std::int8_t> = DType::kInt8;
template <>
inline constexpr DType dtype_of<std::uint8_t> = DType::kUint8;
template <>
inline constexpr DType dtype_of<std::int16_t> = DType::kInt16;
template <>
inline constexpr DType dtype_of<std::uint16_t> = DType::kUint16;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::kInt32;
template <>
inline constexpr DType dtype_of<std::uint32_t> = DType::kUint32;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::kInt64;
template <>
inline constexpr DType dtype_of<std::uint64_t> = DType::kUint64;
template <>
inline constexpr DType dtype_of<bool> = DType::kBool;

using Shape = std::vector<std::int32_t>;

std::string shape_text(const Shape& shape);  // "[1, 28, 28, 1]"
// Number of elements; throws Error on a negative dimension or more than 2^40 elements.
std::size_t shape_elements(const Shape& shape);
std::size_t dtype_bytes(DType dtype, std::size_t elements);  // packed types round up

class Array {
 public:
  Array() = default;
  static Array zeros(DType dtype, Shape shape);
  // A look at bytes kept alive by `owner`; bytes.size() must be dtype_bytes(dtype, elements).
  static Array view(DType dtype, Shape shape, std::span<const std::byte> bytes,
                    std::shared_ptr<const void> owner);
  template <class T>
  static Array of(Shape shape, const std::vector<T>& values) {
    Array a = zeros(dtype_of<T>, std::move(shape));
    if (a.elements() != values.size())
      fail("Array: {} values for shape {}", values.size(), shape_text(a.shape_));
    std::copy(values.begin(), values.end(), a.mutable_span<T>().begin());
    return a;
  }

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::size_t elements() const { return elements_; }
  std::size_t byte_size() const { return byte_size_; }
  bool empty() const { return elements_ == 0; }

  const std::byte* data() const { return data_.get(); }
  std::span<const std::byte> bytes() const { return {data_.get(), byte_size_}; }
  std::byte* mutable_data();  // the caller must own the array alone, or mean to change all sharers

  template <class T>
  std::span<const T> span() const {
    check_type(dtype_of<T>);
    return {reinterpret_cast<const T*>(data_.get()), elements_};
  }
  template <class T>
  std::span<T> mutable_span() {
    check_type(dtype_of<T>);
    return {reinterpret_cast<T*>(mutable_data()), elements_};
  }

  Array clone() const;
  Array reshaped(Shape shape) const;                       // same bytes; element counts must agree
  Array slice0(std::size_t begin, std::size_t end) const;  // rows [begin, end) of axis 0, shared

 private:
  void check_type(DType asked) const;
  DType dtype_ = DType::kFloat32;
  Shape shape_;
  std::size_t elements_ = 0;
  std::size_t byte_size_ = 0;
  std::shared_ptr<const std::byte> data_;
};

float float_from_half(std::uint16_t half);
std::uint16_t half_from_float(float value);  // round to nearest even

}  // namespace litegap
