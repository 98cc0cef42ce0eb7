// Weights in the order of the inner loops: per grid, group of channels and panel of nr channels; in
// a panel segment by segment, groups of elements by nr channels.
#pragma once
#include <span>

#include "kernels/gemm_window.h"

namespace litegap {

enum class Element : std::uint8_t { kPairs8, kPairs16, kQuads, kFloats };

// Neighbouring taps that one segment covers: `length` elements from element `first` of the channels
// of tap `tap` and its successors.
struct TapRun {
  std::size_t tap = 0, first = 0, length = 0;
};

struct PackedGrid {
  std::vector<TapRun> runs;
  std::vector<Segment> segments;                // [group][run]
  std::size_t first_byte = 0;                   // of the grid's panels
  std::size_t panel_bytes = 0, rest_bytes = 0;  // a panel, and the zeros at its end
  // 64-bit sums: runs that one 32-bit sum can hold, and where their weights begin in a panel.
  struct Chunk {
    std::size_t begin = 0, end = 0, byte = 0;
  };
  std::vector<Chunk> chunks;
};

struct PackedLayout {
  Element element = Element::kFloats;
  int nr = 0;
  std::size_t panels = 0;  // of one group of channels
  std::size_t group_channels = 0, group_inputs = 0;
  std::size_t bytes = 0;
  std::size_t padded_w = 0;  // cells of a row of the padded image
  std::vector<PackedGrid> grids;
};

inline std::size_t elements_per_group(Element e) {
  return e == Element::kQuads ? 4 : e == Element::kFloats ? 1 : 2;
}
inline std::size_t weight_bytes(Element e) {
  return e == Element::kFloats ? 4 : e == Element::kPairs16 ? 2 : 1;
}
inline std::size_t input_bytes(Element e) {
  return e == Element::kFloats ? 4 : e == Element::kQuads ? 1 : 2;
}

// `wide`: runs that a 32-bit sum of int16 products can hold; `apart`: one run per tap; panels are
// filled up with zeros to a multiple of `whole` groups.
PackedLayout pack_layout(const Window& window, Element element, int nr, bool wide, bool apart,
                         std::size_t whole = 1);

// Where a weight lies in the file's tensor.
std::size_t weight_index(const Window& window, std::size_t out, std::size_t source, std::size_t in);

// Packs a tensor of T (float; or int8, uint8, int16 codes, from which `zero` is subtracted).
template <class T>
void pack_weights(const Window& window, const PackedLayout& layout, const T* weights,
                  std::int32_t zero, std::byte* out);

// The same for a constant of any type of weights.
void pack_constant(const Window& window, const PackedLayout& layout, const Array& weights,
                   std::int32_t zero, std::byte* out);

// The start values of every panel, [grid][group][panel][nr]: bias (may be empty), less
// input_value * (sum of the channel's weights, less `zero` each) where the inputs are biased
// (quads; `weights` may be null where input_value is 0).
void pack_start(const Window& window, const PackedLayout& layout,
                std::span<const std::int64_t> bias, const Array* weights, std::int32_t zero,
                std::int32_t input_value, std::int32_t* out);

}  // namespace litegap
