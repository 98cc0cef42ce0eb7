#include "base/zip.h"

#include <libdeflate.h>
#include <zlib.h>

#include <algorithm>

#include "base/error.h"

namespace litegap {
namespace {

constexpr std::uint32_t kLocalMark = 0x04034b50, kCentralMark = 0x02014b50, kEndMark = 0x06054b50;
constexpr std::uint32_t kEnd64Mark = 0x06064b50, kLocator64Mark = 0x07064b50;
constexpr std::size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22;
constexpr std::uint64_t kDeflateRatio = 1040;  // deflate cannot expand more than 1032 times

// Little-endian fields of the file; every read is checked.
class Fields {
 public:
  explicit Fields(const ZipFile& file) : file_(file) {}
  std::uint64_t get(std::uint64_t at, std::size_t size) const {
    std::uint64_t value = 0;
    const auto bytes = part(at, size);
    for (std::size_t i = size; i-- > 0;) value = value << 8 | static_cast<std::uint64_t>(bytes[i]);
    return value;
  }
  std::span<const std::byte> part(std::uint64_t at, std::uint64_t size) const {
    const std::uint64_t all = file_.bytes.size();
    if (at > all || size > all - at)
      fail("{}: not a sound {} file: it is cut off at byte {}", file_.path, file_.kind, all);
    return file_.bytes.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(size));
  }
  std::uint64_t size() const { return file_.bytes.size(); }
  [[noreturn]] void refuse() const { fail("{}: not a sound {} file", file_.path, file_.kind); }

 private:
  const ZipFile& file_;
};

// Fields of 0xFFFFFFFF stand in the ZIP64 extra field instead, in this order.
void read_zip64(const Fields& zip, std::uint64_t at, std::uint64_t length, ZipMember& m) {
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

Directory find_directory(const ZipFile& file) {
  const Fields zip(file);
  if (zip.size() < kEndSize) fail("{}: not a {} file", file.path, file.kind);
  const std::uint64_t last = zip.size() - kEndSize;
  const std::uint64_t first = last > 0xFFFF ? last - 0xFFFF : 0;
  for (std::uint64_t at = last + 1; at-- > first;) {
    if (zip.get(at, 4) != kEndMark) continue;
    Directory d{zip.get(at + 16, 4), zip.get(at + 10, 2)};
    if ((d.start == 0xFFFFFFFF || d.count == 0xFFFF) && at >= 20 &&
        zip.get(at - 20, 4) == kLocator64Mark) {
      const std::uint64_t end64 = zip.get(at - 12, 8);
      if (zip.get(end64, 4) != kEnd64Mark) zip.refuse();
      d = {zip.get(end64 + 48, 8), zip.get(end64 + 32, 8)};
    }
    return d;
  }
  fail("{}: not a {} file (no ZIP directory)", file.path, file.kind);
}

// ---- writing ------------------------------------------------------------------------------------

void put(std::string& out, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

bool is_big(const ZipWritten& m) { return m.size >= 0xFFFFFFFF || m.local >= 0xFFFFFFFF; }

// The sizes, of what is stored both the same, and `more` in the field for those beyond 32 bits.
std::string zip64_field(const ZipWritten& m, std::span<const std::uint64_t> more) {
  std::string out;
  if (!is_big(m)) return out;
  put(out, 1, 2);
  put(out, 8 * (2 + more.size()), 2);
  put(out, m.size, 8);
  put(out, m.size, 8);
  for (const std::uint64_t value : more) put(out, value, 8);
  return out;
}

// The fields that the local and the central record share.
void put_common(std::string& out, const ZipWritten& m) {
  put(out, is_big(m) ? 45 : 20, 2);
  put(out, 0x0800, 2);      // names are UTF-8
  put(out, 0, 2);           // stored
  put(out, 0x00210000, 4);  // 1 January 1980: the same arrays give the same bytes
  put(out, m.crc, 4);
  put(out, is_big(m) ? 0xFFFFFFFF : m.size, 4);
  put(out, is_big(m) ? 0xFFFFFFFF : m.size, 4);
  put(out, m.name.size(), 2);
}

}  // namespace

std::vector<ZipMember> zip_directory(const ZipFile& file) {
  const Fields zip(file);
  const Directory directory = find_directory(file);
  if (directory.count > zip.size() / kCentralSize) {
    fail("{}: not a sound {} file: {} members", file.path, file.kind, directory.count);
  }
  std::vector<ZipMember> members;
  std::uint64_t at = directory.start;
  for (std::uint64_t i = 0; i < directory.count; ++i) {
    if (zip.get(at, 4) != kCentralMark) zip.refuse();
    ZipMember m;
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

std::span<const std::byte> zip_packed(const ZipFile& file, const ZipMember& m) {
  const Fields zip(file);
  const std::string what = file.path + ": " + m.name;
  if (m.flags & 1) fail("{}: is encrypted", what);
  if (zip.get(m.local, 4) != kLocalMark) zip.refuse();
  if (m.method != 0 && m.method != 8)
    fail("{}: compression method {}, expected stored or deflated", what, m.method);
  const std::uint64_t start =
      m.local + kLocalSize + zip.get(m.local + 26, 2) + zip.get(m.local + 28, 2);
  const auto packed = zip.part(start, m.packed);
  if (m.stored() && m.packed != m.size) fail("{}: stored, but its two sizes differ", what);
  if (!m.stored() && m.size / kDeflateRatio > m.packed)
    fail("{}: states {} bytes, more than its {} deflated bytes can hold", what, m.size, m.packed);
  return packed;
}

std::vector<std::byte> zip_contents(const ZipFile& file, const ZipMember& m, std::uint64_t most) {
  const std::string what = file.path + ": " + m.name;
  if (m.size > most) fail("{}: states {} bytes, expected {} at most", what, m.size, most);
  const auto packed = zip_packed(file, m);
  std::vector<std::byte> bytes;
  std::uint32_t crc = 0;
  if (m.stored()) {
    bytes.assign(packed.begin(), packed.end());
    crc = zip_checksum(0, bytes);
  } else {
    bytes.resize(static_cast<std::size_t>(m.size));
    Inflater stream(packed, what);
    stream.read(bytes);
    crc = stream.crc();
  }
  expect_checksum(m, crc, what);
  return bytes;
}

// zlib's takes as long as reading a file of samples does.
std::uint32_t zip_checksum(std::uint32_t before, std::span<const std::byte> bytes) {
  return bytes.empty() ? before : ::libdeflate_crc32(before, bytes.data(), bytes.size());
}

void expect_checksum(const ZipMember& m, std::uint32_t crc, const std::string& what) {
  if (crc != m.crc) fail("{}: checksum differs, the file is damaged", what);
}

struct Inflater::Stream {
  z_stream z{};
};

Inflater::Inflater(std::span<const std::byte> packed, std::string what)
    : packed_(packed), what_(std::move(what)), stream_(std::make_unique<Stream>()) {
  if (inflateInit2(&stream_->z, -MAX_WBITS) != Z_OK) fail("{}: out of memory", what_);
}

Inflater::~Inflater() { inflateEnd(&stream_->z); }

void Inflater::read(std::span<std::byte> out) {
  z_stream& z = stream_->z;
  while (!out.empty()) {
    if (z.avail_in == 0) {
      const std::size_t n = std::min<std::size_t>(packed_.size() - used_, 1u << 30);
      z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed_.data() + used_));
      z.avail_in = static_cast<uInt>(n);
      used_ += n;
    }
    const std::size_t room = std::min<std::size_t>(out.size(), 1u << 30);
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(room);
    const int state = ::inflate(&z, Z_NO_FLUSH);
    const std::size_t made = room - z.avail_out;
    crc_ = zip_checksum(crc_, out.first(made));
    out = out.subspan(made);
    const bool more = state == Z_OK || (state == Z_BUF_ERROR && made > 0);
    if (!out.empty() && !more) fail("{}: its deflated data is damaged or cut off", what_);
  }
}

std::string zip_local_record(const ZipWritten& m) {
  std::string out, extra = zip64_field(m, {});
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

std::string zip_directory_record(const ZipWritten& m) {
  const std::string extra = zip64_field(m, {&m.local, 1});
  std::string out;
  put(out, kCentralMark, 4);
  put(out, 45, 2);
  put_common(out, m);
  put(out, extra.size(), 2);
  put(out, 0, 8);
  put(out, 0, 2);
  put(out, is_big(m) ? 0xFFFFFFFF : m.local, 4);
  return out + m.name + extra;
}

std::string zip_end_records(std::uint64_t start, std::uint64_t size, std::uint64_t count) {
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

}  // namespace litegap
