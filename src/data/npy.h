// NumPy's .npy (format 1.0, 2.0, 3.0) and .npz (stored or deflated), read and written.
//
// Stored data of native layout is a view of the mapped file, not a copy; whatever has to be changed
// (byte order, Fortran order, deflate, and an odd address unless it may stay) is copied once. Sizes
// that the file states are checked against the bytes it has before any memory is taken.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "model/array.h"

namespace litegap {

using NamedArrays = std::vector<std::pair<std::string, Array>>;

// Fortran order is converted to C order, big endian to little; bool, int8…int64, uint8…uint64,
// float16, float32, float64 (kept as they are).  Throws Error.
Array read_npy(const std::string& path);
Array read_npy(const std::shared_ptr<const MappedFile>& file);
enum class OddAddress { kCopied, kStays };  // kStays: see model/aligned.h
// Names without ".npy", in file order.
NamedArrays read_npz(const std::string& path, OddAddress odd = OddAddress::kCopied);
NamedArrays read_npz(const std::shared_ptr<const MappedFile>& file, OddAddress odd);
const Array* find_array(const NamedArrays& arrays, const std::string& name);
// Types that NumPy does not have (int4, bfloat16 …) are an Error.
void write_npy(const std::string& path, const Array& array);
void write_npz(const std::string& path,
               const NamedArrays& arrays);  // stored, temporary name, renamed

}  // namespace litegap
