// Windows over an image: output size and padding (docs/numerics.md, section 2.1), shared by
// convolutions and pools.
//
//   const Extent e = window_extent(224, 3, 2, 1, Padding::kSame);   // e.out = 112, e.pad_before =
//   0
#pragma once
#include <algorithm>
#include <cstdint>

#include "model/op.h"

namespace litegap {

struct Extent {
  std::int64_t out = 0;         // number of windows; not positive: the image is too small
  std::int64_t pad_before = 0;  // the extra element of an odd total goes to the end
};

// One axis: `in` elements, a window of `window` taps `dilation` apart, moved by `stride` (>= 1).
inline Extent window_extent(std::int64_t in, std::int64_t window, std::int64_t stride,
                            std::int64_t dilation, Padding padding) {
  const std::int64_t span = (window - 1) * dilation + 1;
  if (padding == Padding::kValid) {
    return {in < span ? 0 : (in - span) / stride + 1, 0};
  }
  const std::int64_t out = (in + stride - 1) / stride;
  return {out, std::max<std::int64_t>((out - 1) * stride + span - in, 0) / 2};
}

}  // namespace litegap
