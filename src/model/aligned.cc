#include "model/aligned.h"

#include <cstdint>
#include <cstring>

#include "model/unset.h"

namespace litegap {

bool is_aligned(const Array& array) {
  const auto bytes = static_cast<std::uintptr_t>(dtype_bits(array.dtype())) / 8;
  return bytes <= 1 || reinterpret_cast<std::uintptr_t>(array.data()) % bytes == 0;
}

Array aligned(const Array& array) {
  if (is_aligned(array)) return array;
  Array copy = unset_array(array.dtype(), array.shape());
  std::memcpy(copy.mutable_data(), array.data(), array.byte_size());
  return copy;
}

}  // namespace litegap
