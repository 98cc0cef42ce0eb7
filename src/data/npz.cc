// The ZIP container of .npz files: stored and deflated members, with ZIP64 sizes.
#include <libdeflate.h>
#include <unistd.h>
#include <zlib.h>

#include <cstring>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "data/dataset.h"
#include "data/npy.h"
#include "data/npy_format.h"
#include "model/aligned.h"
#include "model/unset.h"

namespace litegap {
namespace {

// Of ZIP members.  zlib's takes as long as reading a file of samples does.
std::uint32_t crc_of(std::uint32_t before, std::span<const std::byte> bytes) {
  return bytes.empty() ? before : ::libdeflate_crc32(before, bytes.data(), bytes.size());
}

constexpr std::uint32_t kLocalMark = 0x04034b50, kCentralMark = 0x02014b50, kEndMark = 0x06054b50;
constexpr std::uint32_t kEnd64Mark = 0x06064b50, kLocator64Mark = 0x07064b50;
constexpr std::size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22;
constexpr std::uint64_t kDeflateRatio = 1040;  // deflate cannot expand more than 1032 times

// Little-endian fields of a byte range; every read is checked.
class Bytes {
 public:
  Bytes(std::span<const std::byte> bytes, const std::string& path) : bytes_(bytes), path_(path) {}
  std::uint64_t get(std::uint64_t at, std::size_t size) const {
    need(at, size);
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;) {
      value = value << 8 | static_cast<std::uint64_t>(bytes_[static_cast<std::size_t>(at) + i]);
    }
    return value;
  }
  std::span<const std::byte> part(std::uint64_t at, std::uint64_t size) const {
    need(at, size);
    return bytes_.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(size));
  }
  std::uint64_t size() const { return bytes_.size(); }
  const std::string& path() const { return path_; }

 private:
  void need(std::uint64_t at, std::uint64_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) {
      fail("{}: not a sound .npz file: it is cut off at byte {}", path_, bytes_.size());
    }
  }
  std::span<const std::byte> bytes_;
  const std::string& path_;
};

struct Member {
  std::string name;
  std::uint64_t method = 0, flags = 0, crc = 0, packed = 0, size = 0, local = 0;
};

// Fields of 0xFFFFFFFF stand in the ZIP64 extra field instead, in this order.
void read_zip64(const Bytes& zip, std::uint64_t at, std::uint64_t length, Member& m) {
  const std::uint64_t end = at + length;
  while (at + 4 <= end) {
    const std::uint64_t tag = zip.get(at, 2), size = zip.get(at + 2, 2);
    at += 4;
    if (tag == 1) {
      for (std::uint64_t* field : {&m.size, &m.packed, &m.local}) {
        if (*field != 0xFFFFFFFF) continue;
        *field = zip.get(at, 8);
        at += 8;
      }
      return;
    }
    at += size;
  }
}

struct Directory {
  std::uint64_t start = 0, count = 0;
};

Directory find_directory(const Bytes& zip) {
  if (zip.size() < kEndSize) fail("{}: not a .npz file", zip.path());
  const std::uint64_t last = zip.size() - kEndSize;
  const std::uint64_t first = last > 0xFFFF ? last - 0xFFFF : 0;
  for (std::uint64_t at = last + 1; at-- > first;) {
    if (zip.get(at, 4) != kEndMark) continue;
    Directory d{zip.get(at + 16, 4), zip.get(at + 10, 2)};
    if ((d.start == 0xFFFFFFFF || d.count == 0xFFFF) && at >= 20 &&
        zip.get(at - 20, 4) == kLocator64Mark) {
      const std::uint64_t end64 = zip.get(at - 12, 8);
      if (zip.get(end64, 4) != kEnd64Mark) fail("{}: not a sound .npz file", zip.path());
      d = {zip.get(end64 + 48, 8), zip.get(end64 + 32, 8)};
    }
    return d;
  }
  fail("{}: not a .npz file (no ZIP directory)", zip.path());
}

std::vector<Member> read_directory(const Bytes& zip) {
  const Directory directory = find_directory(zip);
  if (directory.count > zip.size() / kCentralSize) {
    fail("{}: not a sound .npz file: {} members", zip.path(), directory.count);
  }
  std::vector<Member> members;
  std::uint64_t at = directory.start;
  for (std::uint64_t i = 0; i < directory.count; ++i) {
    if (zip.get(at, 4) != kCentralMark) fail("{}: not a sound .npz file", zip.path());
    Member m;
    m.flags = zip.get(at + 8, 2);
    m.method = zip.get(at + 10, 2);
    m.crc = zip.get(at + 16, 4);
    m.packed = zip.get(at + 20, 4);
    m.size = zip.get(at + 24, 4);
    m.local = zip.get(at + 42, 4);
    const std::uint64_t name = zip.get(at + 28, 2), extra = zip.get(at + 30, 2);
    const auto text = zip.part(at + kCentralSize, name);
    m.name.assign(reinterpret_cast<const char*>(text.data()), text.size());
    read_zip64(zip, at + kCentralSize + name, extra, m);
    at += kCentralSize + name + extra + zip.get(at + 32, 2);
    members.push_back(std::move(m));
  }
  return members;
}

std::uint64_t physical_memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGE_SIZE);
  return pages > 0 && page > 0
             ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page)
             : std::uint64_t{1} << 40;
}

// Inflates a member step by step: first its header, then its data straight into place.
class Inflater {
 public:
  Inflater(std::span<const std::byte> packed, std::string what)
      : packed_(packed), what_(std::move(what)) {
    if (inflateInit2(&stream_, -MAX_WBITS) != Z_OK) fail("{}: out of memory", what_);
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  void read(std::span<std::byte> out) {
    while (!out.empty()) {
      if (stream_.avail_in == 0) {
        const std::size_t n = std::min<std::size_t>(packed_.size() - used_, 1u << 30);
        stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed_.data() + used_));
        stream_.avail_in = static_cast<uInt>(n);
        used_ += n;
      }
      const std::size_t room = std::min<std::size_t>(out.size(), 1u << 30);
      stream_.next_out = reinterpret_cast<Bytef*>(out.data());
      stream_.avail_out = static_cast<uInt>(room);
      const int state = ::inflate(&stream_, Z_NO_FLUSH);
      const std::size_t made = room - stream_.avail_out;
      crc_ = crc_of(crc_, out.first(made));
      out = out.subspan(made);
      const bool more = state == Z_OK || (state == Z_BUF_ERROR && made > 0);
      if (!out.empty() && !more) fail("{}: its deflated data is damaged or cut off", what_);
    }
  }
  std::uint32_t crc() const { return crc_; }

 private:
  std::span<const std::byte> packed_;
  std::string what_;
  z_stream stream_{};
  std::size_t used_ = 0;
  std::uint32_t crc_ = 0;
};

void check_length(const NpyHeader& header, const Member& m, const std::string& what) {
  if (header.data_offset + header.data_bytes == m.size) return;
  fail("{}: {} of shape {} needs {} bytes, found {}", what, dtype_name(header.dtype),
       shape_text(header.shape), header.data_bytes,
       m.size - std::min<std::uint64_t>(m.size, header.data_offset));
}

Array inflate_member(std::span<const std::byte> packed, const Member& m, const std::string& what) {
  if (m.size / kDeflateRatio > m.packed) {
    fail("{}: states {} bytes, more than its {} deflated bytes can hold", what, m.size, m.packed);
  }
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
  if (stream.crc() != m.crc) fail("{}: checksum differs, the file is damaged", what);
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
    crc = crc_of(crc, piece);
    if (to != nullptr) std::memcpy(to + at, piece.data(), piece.size());
    if ((at + kPiece) % kHeldBytes == 0) file.forget();
  }
  return crc;
}

// NumPy leaves the values of most members at an odd address: unless they may stay there they are
// copied, others looked at where they are.
Array stored_member(std::span<const std::byte> bytes, const Member& m, const std::string& what,
                    const std::shared_ptr<const MappedFile>& file, OddAddress odd) {
  if (m.packed != m.size) fail("{}: stored, but its two sizes differ", what);
  const NpyHeader header = parse_npy_header(bytes, what);
  check_length(header, m, what);
  const auto data = bytes.subspan(header.data_offset);
  const Array there = Array::view(header.dtype, header.shape, data, file);
  const bool native = !header.fortran && !header.big_endian;
  const bool stays = is_aligned(there) || (native && odd == OddAddress::kStays);
  Array copy;
  if (!stays) copy = unset_array(header.dtype, header.shape);
  const std::uint32_t crc = copy_checked(crc_of(0, bytes.first(header.data_offset)), data,
                                         stays ? nullptr : copy.mutable_data(), *file);
  if (crc != m.crc) fail("{}: checksum differs, the file is damaged", what);
  if (native) return stays ? there : copy;
  return npy_array(header, stays ? data : copy.bytes(), nullptr);
}

Array read_member(const Bytes& zip, const Member& m, const std::shared_ptr<const MappedFile>& file,
                  OddAddress odd) {
  const std::string what = zip.path() + ": " + m.name;
  if (m.flags & 1) fail("{}: is encrypted", what);
  if (zip.get(m.local, 4) != kLocalMark) fail("{}: not a sound .npz file", zip.path());
  const std::uint64_t start =
      m.local + kLocalSize + zip.get(m.local + 26, 2) + zip.get(m.local + 28, 2);
  const auto packed = zip.part(start, m.packed);
  if (m.method == 0) return stored_member(packed, m, what, file, odd);
  if (m.method == 8) return inflate_member(packed, m, what);
  fail("{}: compression method {}, expected stored or deflated", what, m.method);
}

// ---- writing
// -------------------------------------------------------------------------------------

void put(std::string& out, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

struct Written {
  std::string name;
  std::uint64_t crc = 0, size = 0, local = 0;
  bool big() const { return size >= 0xFFFFFFFF || local >= 0xFFFFFFFF; }
};

// The fields that the local and the central record share.
void put_common(std::string& out, const Written& m) {
  put(out, m.big() ? 45 : 20, 2);
  put(out, 0x0800, 2);      // names are UTF-8
  put(out, 0, 2);           // stored
  put(out, 0x00210000, 4);  // 1 January 1980: the same arrays give the same bytes
  put(out, m.crc, 4);
  put(out, m.big() ? 0xFFFFFFFF : m.size, 4);
  put(out, m.big() ? 0xFFFFFFFF : m.size, 4);
  put(out, m.name.size(), 2);
}

std::string local_record(const Written& m) {
  std::string out, extra;
  if (m.big()) {
    put(extra, 1, 2);
    put(extra, 16, 2);
    put(extra, m.size, 8);
    put(extra, m.size, 8);
  }
  // An unused field moves the array to a 64-byte boundary, so that a reader can map it.
  const std::uint64_t end = m.local + kLocalSize + m.name.size() + extra.size() + 4;
  const std::uint64_t padding = (64 - end % 64) % 64;
  put(extra, 0xD935, 2);
  put(extra, padding, 2);
  extra.append(padding, '\0');
  put(out, kLocalMark, 4);
  put_common(out, m);
  put(out, extra.size(), 2);
  return out + m.name + extra;
}

std::string central_record(const Written& m) {
  std::string out, extra;
  if (m.big()) {
    put(extra, 1, 2);
    put(extra, 24, 2);
    put(extra, m.size, 8);
    put(extra, m.size, 8);
    put(extra, m.local, 8);
  }
  put(out, kCentralMark, 4);
  put(out, 45, 2);
  put_common(out, m);
  put(out, extra.size(), 2);
  put(out, 0, 8);
  put(out, 0, 2);
  put(out, m.big() ? 0xFFFFFFFF : m.local, 4);
  return out + m.name + extra;
}

std::string end_records(std::uint64_t start, std::uint64_t size, std::uint64_t count) {
  std::string out;
  const bool big = start + size >= 0xFFFFFFFF || count >= 0xFFFF;
  if (big) {
    put(out, kEnd64Mark, 4);
    put(out, 44, 8);
    put(out, 45, 2);
    put(out, 45, 2);
    put(out, 0, 8);
    put(out, count, 8);
    put(out, count, 8);
    put(out, size, 8);
    put(out, start, 8);
    put(out, kLocator64Mark, 4);
    put(out, 0, 4);
    put(out, start + size, 8);
    put(out, 1, 4);
  }
  put(out, kEndMark, 4);
  put(out, 0, 4);
  put(out, big ? 0xFFFF : count, 2);
  put(out, big ? 0xFFFF : count, 2);
  put(out, big ? 0xFFFFFFFF : size, 4);
  put(out, big ? 0xFFFFFFFF : start, 4);
  put(out, 0, 2);
  return out;
}

}  // namespace

NamedArrays read_npz(const std::string& path, OddAddress odd) {
  return read_npz(MappedFile::open(path), odd);
}

NamedArrays read_npz(const std::shared_ptr<const MappedFile>& file, OddAddress odd) {
  const std::string& path = file->path();
  const Bytes zip(file->bytes(), path);
  NamedArrays arrays;
  std::set<std::string> seen;
  std::uint64_t total = 0;
  for (const Member& m : read_directory(zip)) {
    if (m.method != 0 && m.size > physical_memory() - total) {
      fail("{}: {} inflated bytes and more do not fit in memory", path, total + m.size);
    }
    if (m.method != 0) total += m.size;
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
    Written m{name + ".npy", 0, header.size() + array.byte_size(), out.size()};
    m.crc = crc_of(crc_of(0, std::as_bytes(std::span(header))), array.bytes());
    out += local_record(m);
    out += header;
    out.append(reinterpret_cast<const char*>(array.data()), array.byte_size());
    central += central_record(m);
  }
  const std::uint64_t start = out.size();
  out += central;
  out += end_records(start, central.size(), arrays.size());
  write_text(path, out);
}

}  // namespace litegap
