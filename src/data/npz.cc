// .npz files: arrays in a ZIP container.
#include <unistd.h>

#include <cstring>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/zip.h"
#include "data/dataset.h"
#include "data/npy.h"
#include "data/npy_format.h"
#include "model/aligned.h"
#include "model/unset.h"

namespace litegap {
namespace {

std::uint64_t physical_memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGE_SIZE);
  return pages > 0 && page > 0
             ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page)
             : std::uint64_t{1} << 40;
}

void check_length(const NpyHeader& header, const ZipMember& m, const std::string& what) {
  if (header.data_offset + header.data_bytes == m.size) return;
  fail("{}: {} of shape {} needs {} bytes, found {}", what, dtype_name(header.dtype),
       shape_text(header.shape), header.data_bytes,
       m.size - std::min<std::uint64_t>(m.size, header.data_offset));
}

Array inflate_member(std::span<const std::byte> packed, const ZipMember& m,
                     const std::string& what) {
  if (m.size < 12) fail("{}: not a .npy array", what);
  Inflater stream(packed, what);
  std::vector<std::byte> head(12);
  stream.read(head);
  const auto at = [&](std::size_t i) { return static_cast<std::size_t>(head[i]); };
  std::size_t length = 10 + (at(8) | at(9) << 8);
  if (at(6) > 1) length = 12 + (at(8) | at(9) << 8 | at(10) << 16 | at(11) << 24);
  if (length < 12 || length > m.size || length > kNpyHeaderLimit) {
    fail("{}: not a .npy array", what);
  }
  head.resize(length);
  stream.read(std::span(head).subspan(12));
  const NpyHeader header = parse_npy_header(head, what);
  check_length(header, m, what);
  Array raw = unset_array(header.dtype, header.shape);
  stream.read(std::span(raw.mutable_data(), raw.byte_size()));
  expect_checksum(m, stream.crc(), what);
  if (!header.fortran && !header.big_endian) return raw;
  return npy_array(header, raw.bytes(), nullptr);
}

// The checksum of `from`, and a copy of it unless `to` is null: a piece at a time while the piece
// is in the cache, and no more of the file in memory than a few pieces.
std::uint32_t copy_checked(std::uint32_t crc, std::span<const std::byte> from, std::byte* to,
                           const MappedFile& file) {
  constexpr std::size_t kPiece = std::size_t{1} << 15;
  for (std::size_t at = 0; at < from.size(); at += kPiece) {
    const auto piece = from.subspan(at, std::min(kPiece, from.size() - at));
    crc = zip_checksum(crc, piece);
    if (to != nullptr) std::memcpy(to + at, piece.data(), piece.size());
    if ((at + kPiece) % kHeldBytes == 0) file.forget();
  }
  return crc;
}

// NumPy leaves the values of most members at an odd address: unless they may stay there they are
// copied, others looked at where they are.
Array stored_member(std::span<const std::byte> bytes, const ZipMember& m, const std::string& what,
                    const std::shared_ptr<const MappedFile>& file, OddAddress odd) {
  const NpyHeader header = parse_npy_header(bytes, what);
  check_length(header, m, what);
  const auto data = bytes.subspan(header.data_offset);
  const Array there = Array::view(header.dtype, header.shape, data, file);
  const bool native = !header.fortran && !header.big_endian;
  const bool stays = is_aligned(there) || (native && odd == OddAddress::kStays);
  Array copy;
  if (!stays) copy = unset_array(header.dtype, header.shape);
  const std::uint32_t crc = copy_checked(zip_checksum(0, bytes.first(header.data_offset)), data,
                                         stays ? nullptr : copy.mutable_data(), *file);
  expect_checksum(m, crc, what);
  if (native) return stays ? there : copy;
  return npy_array(header, stays ? data : copy.bytes(), nullptr);
}

Array read_member(const ZipFile& zip, const ZipMember& m,
                  const std::shared_ptr<const MappedFile>& file, OddAddress odd) {
  const std::string what = zip.path + ": " + m.name;
  const auto packed = zip_packed(zip, m);
  return m.stored() ? stored_member(packed, m, what, file, odd) : inflate_member(packed, m, what);
}

}  // namespace

NamedArrays read_npz(const std::string& path, OddAddress odd) {
  return read_npz(MappedFile::open(path), odd);
}

NamedArrays read_npz(const std::shared_ptr<const MappedFile>& file, OddAddress odd) {
  const std::string& path = file->path();
  const ZipFile zip{file->bytes(), path, ".npz"};
  NamedArrays arrays;
  std::set<std::string> seen;
  std::uint64_t total = 0;
  for (const ZipMember& m : zip_directory(zip)) {
    if (!m.stored() && m.size > physical_memory() - total) {
      fail("{}: {} inflated bytes and more do not fit in memory", path, total + m.size);
    }
    if (!m.stored()) total += m.size;
    if (m.name.ends_with("/")) continue;
    if (!m.name.ends_with(".npy")) fail("{}: holds '{}', expected .npy arrays", path, m.name);
    if (!seen.insert(m.name).second) fail("{}: holds '{}' twice", path, m.name);
    arrays.emplace_back(m.name.substr(0, m.name.size() - 4), read_member(zip, m, file, odd));
  }
  return arrays;
}

void write_npz(const std::string& path, const NamedArrays& arrays) {
  std::string out, central;
  for (const auto& [name, array] : arrays) {
    const std::string header = npy_header_text(array, path + ": " + name);
    ZipWritten m{name + ".npy", 0, header.size() + array.byte_size(), out.size()};
    m.crc = zip_checksum(zip_checksum(0, std::as_bytes(std::span(header))), array.bytes());
    out += zip_local_record(m);
    out += header;
    out.append(reinterpret_cast<const char*>(array.data()), array.byte_size());
    central += zip_directory_record(m);
  }
  const std::uint64_t start = out.size();
  out += central;
  out += zip_end_records(start, central.size(), arrays.size());
  write_text(path, out);
}

}  // namespace litegap
