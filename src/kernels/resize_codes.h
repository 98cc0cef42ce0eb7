// The mix of four pixels of 8-bit codes as XNNPACK's RESIZE_BILINEAR has it, in vector code of the
// processor.
//
//   t = 2048 tl + (tr - tl) x,  b = 2048 bl + (br - bl) x,  (2048 t + (b - t) y + 2^21) >> 22
//
//   codes 10, 20 over 30, 40 with x = 1024, y = 0: 15;  with x = y = 1024: 25
#pragma once
#include <cstddef>
#include <cstdint>

namespace litegap {

// Weights of the right and the lower neighbour, 0 to 2048.
struct MixWeights {
  std::int32_t x = 0, y = 0;
};
// n channels; T is std::int8_t or std::uint8_t.
template <class T>
void mix_codes(MixWeights w, std::size_t n, const T* tl, const T* tr, const T* bl, const T* br,
               T* out) noexcept;

}  // namespace litegap
