// ZIP containers, as .npz data and .keras models are: stored or deflated members, sizes of ZIP64.
//
//   local record, data | local record, data | directory record, record | end record
//
// A ZIP is read from its end: the end record says where the directory starts, whose records name
// the members and say where their local records lie.  Two examples, `member` from zip_directory():
//
//   zip_packed(file, member)    as it lies in the file, for a caller that knows what to do with it
//   zip_contents(file, member)  stored or inflated, its checksum compared
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace litegap {

struct ZipFile {
  std::span<const std::byte> bytes;  // all of it
  std::string path, kind;            // of messages; the kind is ".npz" or ".keras"
};

struct ZipMember {
  std::string name;
  std::uint64_t method = 0, flags = 0, crc = 0, packed = 0, size = 0, local = 0;
  bool stored() const { return method == 0; }
};

// Its members in the directory's order.  Throws Error.
std::vector<ZipMember> zip_directory(const ZipFile& file);

// The bytes of a member in the file: as they are where it is stored(), else deflated.  Throws Error
// where it lies outside of the file, is encrypted or compressed in another way, or states more
// bytes than it can hold.
std::span<const std::byte> zip_packed(const ZipFile& file, const ZipMember& member);

// All of a member, `most` bytes or fewer.  Throws Error.
std::vector<std::byte> zip_contents(const ZipFile& file, const ZipMember& member,
                                    std::uint64_t most);

// The checksum (CRC-32) of what `before` is of, followed by `bytes`.
std::uint32_t zip_checksum(std::uint32_t before, std::span<const std::byte> bytes);

// Throws Error, with `what` as the name of the member, where its contents have another than `crc`.
void expect_checksum(const ZipMember& member, std::uint32_t crc, const std::string& what);

// Inflates a member step by step.
class Inflater {
 public:
  // `what` is the name in messages.
  Inflater(std::span<const std::byte> packed, std::string what);
  ~Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  void read(std::span<std::byte> out);        // the next bytes; throws Error
  std::uint32_t crc() const { return crc_; }  // of all that was read

 private:
  struct Stream;
  std::span<const std::byte> packed_;
  std::string what_;
  std::unique_ptr<Stream> stream_;
  std::size_t used_ = 0;
  std::uint32_t crc_ = 0;
};

// Writing: each stored member's local record and data, the directory's records, the end records.
struct ZipWritten {
  std::string name;
  std::uint64_t crc = 0, size = 0, local = 0;  // `local`: where its local record starts
};

// Ends at a multiple of 64 bytes, so that a reader can map the data behind it.
std::string zip_local_record(const ZipWritten& member);
std::string zip_directory_record(const ZipWritten& member);
// Behind a directory of `count` records that starts at `start` and has `size` bytes.
std::string zip_end_records(std::uint64_t start, std::uint64_t size, std::uint64_t count);

}  // namespace litegap
