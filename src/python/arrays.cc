#include "python/arrays.h"

#include <cstring>

namespace litegap::python {
namespace nb = nanobind;
namespace {

DType dtype_from(const nb::dlpack::dtype& t, const std::string& what) {
  if (t.lanes == 1) {
    const auto code = static_cast<nb::dlpack::dtype_code>(t.code);
    if (code == nb::dlpack::dtype_code::Float) {
      if (t.bits == 16) return DType::kFloat16;
      if (t.bits == 32) return DType::kFloat32;
      if (t.bits == 64) return DType::kFloat64;
    }
    if (code == nb::dlpack::dtype_code::Int) {
      if (t.bits == 8) return DType::kInt8;
      if (t.bits == 16) return DType::kInt16;
      if (t.bits == 32) return DType::kInt32;
      if (t.bits == 64) return DType::kInt64;
    }
    if (code == nb::dlpack::dtype_code::UInt) {
      if (t.bits == 8) return DType::kUint8;
      if (t.bits == 16) return DType::kUint16;
      if (t.bits == 32) return DType::kUint32;
      if (t.bits == 64) return DType::kUint64;
    }
    if (code == nb::dlpack::dtype_code::Bool) return DType::kBool;
  }
  fail("{}: an array of this type cannot be read; expected floats, integers or bool", what);
}

nb::dlpack::dtype dtype_to(DType d) {
  const auto make = [](nb::dlpack::dtype_code code, int bits) {
    nb::dlpack::dtype t;
    t.code = static_cast<std::uint8_t>(code);
    t.bits = static_cast<std::uint8_t>(bits);
    t.lanes = 1;
    return t;
  };
  using Code = nb::dlpack::dtype_code;
  switch (d) {
    case DType::kFloat16:
      return make(Code::Float, 16);
    case DType::kFloat32:
      return make(Code::Float, 32);
    case DType::kFloat64:
      return make(Code::Float, 64);
    case DType::kInt8:
      return make(Code::Int, 8);
    case DType::kInt16:
      return make(Code::Int, 16);
    case DType::kInt32:
      return make(Code::Int, 32);
    case DType::kInt64:
      return make(Code::Int, 64);
    case DType::kUint8:
      return make(Code::UInt, 8);
    case DType::kUint16:
      return make(Code::UInt, 16);
    case DType::kUint32:
      return make(Code::UInt, 32);
    case DType::kUint64:
      return make(Code::UInt, 64);
    case DType::kBool:
      return make(Code::Bool, 8);
    default:
      fail("values of type {} have no NumPy array", dtype_name(d));
  }
}

}  // namespace

Array from_numpy(const Given& given, const std::string& what) {
  Shape shape;
  for (std::size_t i = 0; i < given.ndim(); ++i) {
    if (given.shape(i) > 0x7fffffff) fail("{}: axis {} has more than 2^31 entries", what, i);
    shape.push_back(static_cast<std::int32_t>(given.shape(i)));
  }
  Array out = Array::zeros(dtype_from(given.dtype(), what), shape);
  if (out.byte_size() > 0) std::memcpy(out.mutable_data(), given.data(), out.byte_size());
  return out;
}

nb::object to_numpy(const Array& array) {
  auto* kept = new Array(array.clone());
  nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<Array*>(p); });
  std::vector<std::size_t> shape;
  for (const std::int32_t d : kept->shape()) shape.push_back(static_cast<std::size_t>(d));
  return nb::cast(nb::ndarray<nb::numpy>(kept->mutable_data(), shape.size(), shape.data(), owner,
                                         nullptr, dtype_to(kept->dtype())));
}

}  // namespace litegap::python
