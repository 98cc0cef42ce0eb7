// Room for packed weights: begins on a cache line, so that no load of the inner loops straddles
// two, has kSlack bytes behind its end, which vector loads may read, and is not cleared before it
// is written.
//
//   PackedBytes packed(layout.bytes);
//   pack_constant(window, layout, weights, zero, packed.data());
#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace litegap {

// Up to whole cache lines.
inline std::size_t round64(std::size_t n) { return (n + 63) / 64 * 64; }

class PackedBytes {
 public:
  PackedBytes() = default;
  explicit PackedBytes(std::size_t bytes) {
    const std::size_t room = round64(bytes + kSlack);
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(kLine, room)));
    if (!data_) throw std::bad_alloc();
    std::memset(data_.get() + bytes, 0, room - bytes);
  }
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }

 private:
  static constexpr std::size_t kLine = 64, kSlack = 64;
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte[], Free> data_;
};

}  // namespace litegap
