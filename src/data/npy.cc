#include "data/npy.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "data/npy_format.h"
#include "model/unset.h"

namespace litegap {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

struct TypeRow {
  std::string_view code;
  DType dtype;
};
constexpr TypeRow kTypes[] = {
    {"b1", DType::kBool},      {"i1", DType::kInt8},    {"u1", DType::kUint8},
    {"i2", DType::kInt16},     {"u2", DType::kUint16},  {"i4", DType::kInt32},
    {"u4", DType::kUint32},    {"i8", DType::kInt64},   {"u8", DType::kUint64},
    {"f2", DType::kFloat16},   {"f4", DType::kFloat32}, {"f8", DType::kFloat64},
    {"c8", DType::kComplex64},
};

// The dictionary literal of the header: three known keys in any order.
class Literal {
 public:
  Literal(std::string_view text, const std::string& what) : text_(text), what_(what) {}

  void parse(NpyHeader& header) {
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!take('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        type(header);
        descr = true;
      } else if (key == "fortran_order") {
        header.fortran = boolean();
        order = true;
      } else if (key == "shape") {
        header.shape = tuple();
        shape = true;
      } else {
        fail("{}: not a valid .npy header: unknown key '{}'", what_, key.substr(0, 40));
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    if (!descr || !order || !shape) {
      fail("{}: not a valid .npy header: expected descr, fortran_order and shape", what_);
    }
  }

 private:
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) {
      ++at_;
    }
  }
  bool take(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail("{}: not a valid .npy header: expected '{}' at byte {}", what_, c, at_);
  }
  std::string quoted() {
    skip();
    const char mark = at_ < text_.size() ? text_[at_] : '\0';
    if (mark != '\'' && mark != '"') {
      fail("{}: arrays of records, strings or objects are not supported, expected numbers", what_);
    }
    const std::size_t end = text_.find(mark, at_ + 1);
    if (end == std::string_view::npos) fail("{}: not a valid .npy header: open string", what_);
    const std::string value(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return value;
  }
  void type(NpyHeader& header) {
    const std::string descr = quoted();
    if (descr.empty()) fail("{}: not a valid .npy header: empty type", what_);
    std::string_view code = descr;
    if (code[0] == '<' || code[0] == '>' || code[0] == '|' || code[0] == '=') {
      header.big_endian = code[0] == '>';
      code.remove_prefix(1);
    }
    for (const TypeRow& row : kTypes) {
      if (row.code != code) continue;
      if (row.dtype == DType::kComplex64 && header.big_endian)
        break;  // two numbers, not one to swap
      header.dtype = row.dtype;
      return;
    }
    fail("{}: type '{}' is not supported, expected bool, integers, float16, float32 or float64",
         what_, descr.substr(0, 40));
  }
  bool boolean() {
    skip();
    const std::string_view rest = text_.substr(at_);
    if (rest.starts_with("True")) {
      at_ += 4;
      return true;
    }
    if (!rest.starts_with("False")) {
      fail("{}: not a valid .npy header: expected True or False at byte {}", what_, at_);
    }
    at_ += 5;
    return false;
  }
  Shape tuple() {
    Shape shape;
    expect('(');
    while (!take(')')) {
      shape.push_back(dimension());
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    if (shape.size() > 32) fail("{}: {} dimensions, expected at most 32", what_, shape.size());
    return shape;
  }
  std::int32_t dimension() {
    skip();
    std::int64_t value = 0;
    const std::size_t start = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      value = value * 10 + (text_[at_++] - '0');
      if (value > std::numeric_limits<std::int32_t>::max()) {
        fail("{}: a dimension is larger than 2^31 - 1", what_);
      }
    }
    if (at_ == start)
      fail("{}: not a valid .npy header: expected a dimension at byte {}", what_, at_);
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // written by Python 2
    return static_cast<std::int32_t>(value);
  }

  std::string_view text_;
  const std::string& what_;
  std::size_t at_ = 0;
};

void swap_bytes(std::byte* data, std::size_t item, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) std::reverse(data + i * item, data + (i + 1) * item);
}

// Copies column-major data to row-major.
void reorder(const std::byte* from, std::byte* to, const Shape& shape, std::size_t item) {
  const std::size_t rank = shape.size();
  const std::size_t n = shape_elements(shape);
  std::vector<std::size_t> stride(rank), index(rank, 0);
  std::size_t step = 1;
  for (std::size_t d = 0; d < rank; ++d) {
    stride[d] = step;
    step *= static_cast<std::size_t>(shape[d]);
  }
  std::size_t source = 0;
  for (std::size_t i = 0; i < n; ++i) {
    std::memcpy(to + i * item, from + source * item, item);
    for (std::size_t d = rank; d-- > 0;) {
      source += stride[d];
      if (++index[d] < static_cast<std::size_t>(shape[d])) break;
      source -= stride[d] * index[d];
      index[d] = 0;
    }
  }
}

}  // namespace

NpyHeader parse_npy_header(std::span<const std::byte> bytes, const std::string& what) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic) || text.size() < 10) fail("{}: not a .npy array", what);
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(bytes[i]); };
  const std::size_t major = byte(6);
  if (major < 1 || major > 3) fail("{}: .npy version {}, expected 1, 2 or 3", what, major);
  const std::size_t lead = major == 1 ? 10 : 12;
  if (text.size() < lead) fail("{}: the .npy header is cut off", what);
  std::size_t length = byte(8) | byte(9) << 8;
  if (major > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > kNpyHeaderLimit) fail("{}: a .npy header of {} bytes, expected less", what, length);
  if (text.size() < lead + length) fail("{}: the .npy header is cut off", what);
  NpyHeader header;
  Literal(text.substr(lead, length), what).parse(header);
  header.data_offset = lead + length;
  header.data_bytes = dtype_bytes(header.dtype, shape_elements(header.shape));
  return header;
}

Array npy_array(const NpyHeader& header, std::span<const std::byte> data,
                std::shared_ptr<const void> owner) {
  const auto item = static_cast<std::size_t>(dtype_bits(header.dtype)) / 8;
  const bool swap = header.big_endian && item > 1;
  const bool turn = header.fortran && header.shape.size() > 1;
  const bool aligned = reinterpret_cast<std::uintptr_t>(data.data()) % item == 0;
  if (!swap && !turn && aligned && owner) {
    return Array::view(header.dtype, header.shape, data, std::move(owner));
  }
  Array array = unset_array(header.dtype, header.shape);
  if (data.empty()) return array;
  if (turn) {
    reorder(data.data(), array.mutable_data(), header.shape, item);
  } else {
    std::memcpy(array.mutable_data(), data.data(), data.size());
  }
  if (swap) swap_bytes(array.mutable_data(), item, array.elements());
  return array;
}

std::string npy_header_text(const Array& array, const std::string& what) {
  std::string_view code;
  for (const TypeRow& row : kTypes) {
    if (row.dtype == array.dtype()) code = row.code;
  }
  if (code.empty()) fail("{}: NumPy has no type {}", what, dtype_name(array.dtype()));
  std::string shape;
  for (const std::int32_t d : array.shape()) shape += std::to_string(d) + ", ";
  if (array.shape().size() > 1) shape.resize(shape.size() - 2);
  if (array.shape().size() == 1) shape.pop_back();
  std::string text = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}), }}",
                                 code[1] == '1' ? '|' : '<', code, shape);
  const std::size_t total = (10 + text.size() + 1 + 63) / 64 * 64;
  text.append(total - 10 - text.size() - 1, ' ');
  text += '\n';
  std::string header(kMagic);
  header += '\x01';
  header += '\0';
  header += static_cast<char>(text.size() & 0xFF);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

Array read_npy(const std::string& path) { return read_npy(MappedFile::open(path)); }

Array read_npy(const std::shared_ptr<const MappedFile>& file) {
  const std::string& path = file->path();
  const auto bytes = file->bytes();
  const NpyHeader header = parse_npy_header(bytes, path);
  const std::size_t found = bytes.size() - header.data_offset;
  if (found < header.data_bytes) {
    fail("{}: {} of shape {} needs {} bytes, found {}", path, dtype_name(header.dtype),
         shape_text(header.shape), header.data_bytes, found);
  }
  return npy_array(header, bytes.subspan(header.data_offset, header.data_bytes), file);
}

void write_npy(const std::string& path, const Array& array) {
  const std::string header = npy_header_text(array, path);
  std::vector<std::byte> bytes(header.size() + array.byte_size());
  std::memcpy(bytes.data(), header.data(), header.size());
  if (array.byte_size() > 0) {
    std::memcpy(bytes.data() + header.size(), array.data(), array.byte_size());
  }
  write_file(path, bytes);
}

const Array* find_array(const NamedArrays& arrays, const std::string& name) {
  for (const auto& [key, array] : arrays) {
    if (key == name) return &array;
  }
  return nullptr;
}

}  // namespace litegap
