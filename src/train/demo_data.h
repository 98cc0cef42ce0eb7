// Data that the program makes itself, by rule and seed: nothing to download.
#pragma once
#include "data/dataset.h"

namespace litegap {

// y = 2x + 1 + N(0, 0.1), x uniform in [0, 1): inputs [n, 1], labels [n, 1].
Dataset line_data(std::size_t n, std::uint64_t seed);

// Grey pictures [n, 16, 16, 1] in [0, 1] of four kinds of disk, each with its own size, place,
// light and noise; labels 0 to 3.  The kinds differ in shades only and the light varies twelvefold,
// which is what makes one faint picture a poor calibration set: everything brighter is cut off to
// one shade.
Dataset picture_data(std::size_t n, std::uint64_t seed);
inline constexpr int kPictureClasses = 4;

}  // namespace litegap
