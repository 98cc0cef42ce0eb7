// The header of one .npy value, apart from where its bytes come from.  Inside of data/ only.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "model/array.h"

namespace litegap {

struct NpyHeader {
  DType dtype = DType::kFloat32;
  bool big_endian = false, fortran = false;
  Shape shape;
  std::size_t data_offset = 0;  // bytes from the start of the magic
  std::size_t data_bytes = 0;
};

inline constexpr std::size_t kNpyHeaderLimit = 1u << 20;

// `bytes` begins with the magic and holds at least the header.  `what` is for messages.
NpyHeader parse_npy_header(std::span<const std::byte> bytes, const std::string& what);
// data.size() == header.data_bytes; a view where nothing has to change and the address is aligned.
Array npy_array(const NpyHeader& header, std::span<const std::byte> data,
                std::shared_ptr<const void> owner);
// Magic, version 1.0 and the dictionary, padded so that the data starts on a 64-byte boundary.
std::string npy_header_text(const Array& array, const std::string& what);

}  // namespace litegap
