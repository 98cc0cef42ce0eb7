// Copies of one length again and again: of a common length without a call of memcpy(), which takes
// longer than to move a pixel of 64 bytes.
//
//   with_copy(64, [&](auto copy) { for (…) copy(to + 64 * i, from + 64 * at[i]); });
//   copy_blocks(3136, 16, to, 16, from, 64);   // the first 16 of every 64 bytes
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace litegap {

template <std::size_t kBytes>
struct FixedCopy {
  void operator()(void* to, const void* from) const noexcept { std::memcpy(to, from, kBytes); }
};
struct AnyCopy {
  std::size_t bytes;
  void operator()(void* to, const void* from) const noexcept { std::memcpy(to, from, bytes); }
};

// f with a copy of elements of so many bytes.
template <class F>
void with_copy(std::size_t bytes, F f) {
  switch (bytes) {
    case 1:
      return f(FixedCopy<1>{});
    case 2:
      return f(FixedCopy<2>{});
    case 3:
      return f(FixedCopy<3>{});
    case 4:
      return f(FixedCopy<4>{});
    case 8:
      return f(FixedCopy<8>{});
    case 12:
      return f(FixedCopy<12>{});
    case 16:
      return f(FixedCopy<16>{});
    case 32:
      return f(FixedCopy<32>{});
    case 64:
      return f(FixedCopy<64>{});
    case 128:
      return f(FixedCopy<128>{});
    default:
      return f(AnyCopy{bytes});
  }
}

// `count` blocks of `bytes`, so many bytes apart on both sides.
inline void copy_blocks(std::int64_t count, std::int64_t bytes, std::byte* to, std::int64_t to_step,
                        const std::byte* from, std::int64_t from_step) noexcept {
  with_copy(static_cast<std::size_t>(bytes), [=](auto copy) {
    for (std::int64_t i = 0; i < count; ++i) copy(to + i * to_step, from + i * from_step);
  });
}

}  // namespace litegap
