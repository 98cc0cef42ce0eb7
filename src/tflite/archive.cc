// Files that belong to a model (labels, vocabularies) are a ZIP archive behind the FlatBuffer.
//
// A ZIP is read from its end: the end record points to the central directory, whose entries point
// to the local headers, all counted from the start of the *file*.  So when the FlatBuffer in front
// of the archive changes its size, every one of these numbers has to move with it:
//
//   FlatBuffer | header data | header data | directory entry, entry | end record
//              ^ begin                     ^ counted from the start of the file
#include <algorithm>
#include <cstring>

#include "tflite/format.h"

namespace litegap {
namespace {

constexpr std::size_t kEndSize = 22, kEntrySize = 46;
constexpr std::uint32_t kEndMagic = 0x06054b50, kEntryMagic = 0x02014b50;

std::uint32_t get(std::span<const std::byte> b, std::size_t at, std::size_t n) {
  std::uint32_t v = 0;
  for (std::size_t i = 0; i < n; ++i) v |= std::to_integer<std::uint32_t>(b[at + i]) << (8 * i);
  return v;
}

void put32(std::vector<std::byte>& b, std::size_t at, std::uint64_t value) {
  for (std::size_t i = 0; i < 4; ++i) b[at + i] = static_cast<std::byte>(value >> (8 * i));
}

struct Archive {
  std::size_t end = 0;        // of the end record
  std::size_t directory = 0;  // both counted from the start of the span
  std::vector<std::size_t> entries;
  std::uint32_t first = 0;  // smallest offset recorded
};

// False when the bytes do not end in a sound archive.
bool read_archive(std::span<const std::byte> b, Archive& a) {
  if (b.size() < kEndSize) return false;
  const std::size_t lowest = b.size() - std::min<std::size_t>(b.size(), kEndSize + 0xFFFF);
  for (std::size_t at = b.size() - kEndSize + 1; at-- > lowest;) {
    if (get(b, at, 4) != kEndMagic || at + kEndSize + get(b, at + 20, 2) != b.size()) continue;
    const std::size_t size = get(b, at + 12, 4), count = get(b, at + 10, 2);
    if (size > at) continue;
    a = {at, at - size, {}, get(b, at + 16, 4)};
    std::size_t entry = a.directory;
    while (entry + kEntrySize <= at && get(b, entry, 4) == kEntryMagic) {
      a.entries.push_back(entry);
      a.first = std::min(a.first, get(b, entry + 42, 4));
      entry += kEntrySize + get(b, entry + 28, 2) + get(b, entry + 30, 2) + get(b, entry + 32, 2);
    }
    if (entry == at && a.entries.size() == count) return true;
  }
  return false;
}

}  // namespace

std::size_t find_archive(std::span<const std::byte> bytes) {
  Archive a;
  if (!read_archive(bytes, a)) return bytes.size();
  // Offsets may count from the file's start or, in carelessly joined files, from the archive's.
  const std::size_t recorded = get(bytes, a.end + 16, 4);
  if (recorded > a.directory) return bytes.size();
  const std::size_t begin = a.directory - recorded + a.first;
  return begin < 8 ? bytes.size() : begin;
}

std::vector<std::byte> moved_archive(std::span<const std::byte> archive, std::uint64_t base) {
  std::vector<std::byte> out(archive.begin(), archive.end());
  Archive a;
  if (!read_archive(archive, a)) return out;
  const std::uint32_t recorded = get(archive, a.end + 16, 4);
  // Offsets from the archive's own start stay true wherever it stands; an empty one has only the
  // base.
  if (a.first == 0 && !a.entries.empty()) return out;
  for (const std::size_t entry : a.entries)
    put32(out, entry + 42, get(archive, entry + 42, 4) - a.first + base);
  put32(out, a.end + 16, recorded - a.first + base);
  return out;
}

}  // namespace litegap
