// Files and the few calls to the operating system that the project needs.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace litegap {

// A whole file mapped read-only; unmapped when the last owner goes.
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::string& path);  // throws Error
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }
  // What was read takes no memory of this process any more; it comes again when it is read again.
  void forget() const;

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::string path_;
};

bool is_directory(const std::string& path);
bool file_exists(const std::string& path);
std::uint64_t file_size(const std::string& path);  // 0 when absent
std::string read_text(const std::string& path);    // throws Error
// Writes to a temporary name beside `path` and renames, so a reader never sees half a file.
void write_file(const std::string& path, std::span<const std::byte> bytes);  // throws Error
void write_text(const std::string& path, const std::string& text);           // throws Error
void make_directories(const std::string& path);                              // throws Error

std::uint64_t peak_memory_bytes();  // of this process
double seconds_now();               // monotonic clock
bool is_terminal(int file_descriptor);
int hardware_threads();
std::string instruction_set();  // "avx512vnni", "avx2", "neon", "scalar"

}  // namespace litegap
