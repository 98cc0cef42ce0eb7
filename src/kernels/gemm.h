// The inner loops of convolutions and matrix products, one table of them per instruction set.
//
// A product is computed in tiles of `rows` output pixels by `nr` output channels:
//
//   tile[r][n] = start[n] + sum over segments s, elements k of  row[r][offset(s) + k] * weight(s,
//   k, n)
//
// A row pointer plus a list of segments reaches every tap of a window in a padded image, so nothing
// is copied per output pixel.  Elements come in groups of four bytes, which one 32-bit broadcast
// serves:
//   pairs   two int16 (value - zero point);  weights int16, or int8 widened on load
//   quads   four uint8 (int8 biased by 128), or, as the table says, four int8 (uint8 less 128);
//           weights int8; only where the machine has the instruction
//   floats  one float
// A packed panel of weights holds, per segment and group, nr x (elements of a group).  Integer sums
// are exact modulo 2^32, so every order of summation gives the same result.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/requantize.h"

namespace litegap {

inline constexpr int kMaxTileRows = 12;
inline constexpr int kMaxTileColumns = 16;
inline constexpr int kTileSlack = 8;        // elements behind a tile that its end may read
inline constexpr int kRowPanels = 4;        // of the forms for a single row
inline constexpr int kDepthwiseBlock = 16;  // channels of one depthwise panel
inline constexpr int kPanelPad = 64;        // per-channel arrays are padded to multiples of this

struct Segment {
  std::ptrdiff_t offset = 0;  // bytes, added to every row pointer
  std::ptrdiff_t groups = 0;
};

struct GemmTask {
  const std::byte* const* rows = nullptr;
  const Segment* segments = nullptr;
  std::size_t segment_count = 0;
  const void* weights = nullptr;  // one packed panel
  const void* start = nullptr;    // nr int32 or float a panel
  void* tile = nullptr;           // [tiles][rows][nr] int32 or float, 64-byte aligned
  std::size_t panel_bytes = 0;    // forms of several panels: from a panel to the next
  std::size_t tiles = 1;          // one after the other in `rows`, `tile` and `out`
  // Float forms of panels (or halves) whose channels are all real, or of any where `any_count` is
  // set: results go straight to channel `channel` and its successors of the pixels at out[row],
  // clamped, and not to the tile.  Null: to the tile.
  std::byte* const* out = nullptr;
  std::size_t channel = 0;
  int count = 0;  // real channels of the panel or panels
  float low = 0, high = 0;
  // Quads of rows with zero points of their own: sums begin at start[n] - zeros[row] *
  // weight_sums[n].  Null: at `start`.
  const std::int32_t* zeros = nullptr;
  const std::int32_t* weight_sums = nullptr;  // as `start`
};
using GemmFn = void (*)(const GemmTask&);

// Up to kBlockRows rows by one or two panels of quads, the bytes of the rows side by side: `lines`
// of 64 bytes each, zeros behind the last segment.  Results go to tile[rows][nr * panels], 64-byte
// aligned, of which whole sixteens of rows are written.
inline constexpr std::size_t kBlockRows = 32, kBlockGroups = 16;
struct BlockTask {
  const std::byte* a = nullptr;
  std::size_t stride = 0;  // bytes from row to row
  std::size_t lines = 0;
  const std::byte* weights = nullptr;  // packed panels of whole lines: kBlockGroups groups each
  std::size_t panel_bytes = 0;
  int panels = 1;
  std::size_t rows = 0;
  const std::int32_t* start = nullptr;
  const std::int32_t *zeros = nullptr, *weight_sums = nullptr;  // as in GemmTask
  std::int32_t* tile = nullptr;
};
// Where a processor multiplies blocks: begin() before the first product of a thread, end() behind
// the last.  Of `out` all whole sixteens of rows are read, 64 bytes behind the last row are
// written.
struct QuadBlocks {
  void (*begin)() = nullptr;
  void (*end)() = nullptr;
  void (*copy_rows)(const std::byte* const* rows, std::size_t count, const Segment* segments,
                    std::size_t segment_count, std::byte* out, std::size_t stride) = nullptr;
  void (*multiply)(const BlockTask& task) = nullptr;
  // Cycles of a row, fitted to layers of many sizes, against 0.14 of the other loops for an element
  // and a panel: of a panel, of a panel and a line; of a segment and a line that are copied.
  float panel = 0, panel_line = 0, segment = 0, line = 0;
};

// `pixels` neighbouring outputs of one block of kDepthwiseBlock channels, of int16 values.
struct DepthwiseTask {
  const std::byte* input = nullptr;  // the window of the first pixel, at the block's first channel
  const std::ptrdiff_t* taps = nullptr;   // byte offsets
  std::size_t tap_count = 0;              // even (a tap of weight 0 is added)
  const std::int16_t* weights = nullptr;  // per pair of taps 16 x 2 in slot order
  const std::int32_t* start = nullptr;    // 16
  std::ptrdiff_t pixel_step = 0;          // bytes
  std::size_t pixels = 0;
  std::int32_t* tile = nullptr;  // [pixels][16]
};
using DepthwiseFn = void (*)(const DepthwiseTask&);

// `pixels` outputs in a line (of the image, or down a column of it), of floats:
//   out[p][c] = clamp((start[c] + sum over taps t of x(p, t)[c] * weights(t, c)) + bias[c])
// x(p, t) is at places[t] + p * steps[t].  Nothing is read past the last channel.
struct DepthwiseFloatTask {
  const std::byte* const* places = nullptr;  // of the first pixel's taps, at the first channel
  const std::ptrdiff_t* steps = nullptr;     // bytes from pixel to pixel
  std::size_t tap_count = 0;
  const float* weights = nullptr;  // [block of 16 channels][tap][16], padded
  const float* start = nullptr;    // padded to whole blocks
  const float* bias = nullptr;     // the same; null: nothing is added
  float low = 0, high = 0;
  std::size_t pixels = 0, channels = 0;
  float* out = nullptr;
  std::size_t out_step = 0;  // floats from pixel to pixel
};
using DepthwiseFloatFn = void (*)(const DepthwiseFloatTask&);

// A line of `pixels` outputs of 3 x 3 taps, each column of which is the next one of the
// neighbouring pixel, summed column by column: x(p, t) is at places[t % 3] + (p + t / 3) * steps[t
// % 3].
struct Depthwise3x3Task {
  const std::byte* places[3] = {};   // of the first cell inside of the image, at channel 0
  std::ptrdiff_t steps[3] = {};      // bytes from cell to cell; 0: a row of zeros
  bool left = false, right = false;  // the first, the last column of taps is outside: zeros
  const float* weights = nullptr;    // [block of 16 channels][tap][16], padded
  const float* start = nullptr;      // padded to whole blocks
  float low = 0, high = 0;
  std::size_t pixels = 0, channels = 0;
  float* out = nullptr;
  std::size_t out_step = 0;  // floats from pixel to pixel
};
using Depthwise3x3Fn = void (*)(const Depthwise3x3Task&);

// `pixels` neighbouring outputs of all channels of a narrow convolution (narrow_conv.cc):
//   out[p][c] = clamp(start[c] + sum over taps t of input[offsets[t] + p] * weights(t, c)), fused
// Inputs up to the next multiple of 8 pixels are read.
struct NarrowTask {
  const float* input = nullptr;
  const std::ptrdiff_t* offsets = nullptr;
  std::size_t taps = 0;
  const float* weights = nullptr;  // [four channels][tap][4], padded
  const float* start = nullptr;    // padded to whole fours
  float low = 0, high = 0;
  std::size_t pixels = 0, channels = 0;
  float* out = nullptr;  // [pixels][channels]
};
struct NarrowLoops {
  void (*row)(const NarrowTask&);
  // to[i] = from[2 * i] of at least 8 values, none of `from` is read behind the last
  void (*every_second)(const float* from, std::size_t n, float* to);
};

// The place of a channel in a packed pair of taps: the order in which 128-bit lanes interleave.
inline int depthwise_slot(int c) { return (c & 3) | ((c >> 3 & 1) << 2) | ((c >> 2 & 1) << 3); }

// rows x count results of a tile: channels `channel` to channel + count - 1 of the pixels whose
// channel 0 is at out[row].
struct FinishTask {
  const void* tile = nullptr;   // with kTileSlack more behind it
  std::size_t tile_stride = 0;  // elements from row to row
  int rows = 0;
  std::size_t channel = 0;
  int count = 0;
  std::byte* const* out = nullptr;
  const float* row_scale = nullptr;       // hybrid only: the input's scale, one per row
  const std::int32_t* row_sum = nullptr;  // kPlusSeven only: the sum of the input's codes
};
using FinishFn = void (*)(const Requant&, const FinishTask&);

// The end of float and hybrid products: y = clamp(f(sum) + bias, low, high).  Hybrid sums are
// scaled by the input's scale s and the weights' scale w in one of the runtime's orders
// (docs/numerics.md, section 4.5), each operation rounded to float.
enum class FloatScale : std::uint8_t {
  kNone,         // a float sum + bias
  kClamp,        // a float sum that started from the bias
  kProduct,      // sum * (s * w) + bias
  kWeightFirst,  // (sum * w) * s + bias
  kInputFirst,   // (sum * s) * w + bias
  kFused,        // fma(sum * s, w, bias)
  kPlusSeven,    // ((-7 q) * s * w + bias) + (sum + 7 q) * s * w, q the sum of the input's codes
};
struct FloatFinish {
  FloatScale scale = FloatScale::kNone;
  std::size_t split = 0;  // channels from here on use `tail` instead of `scale`
  FloatScale tail = FloatScale::kNone;
  const float* weight_scale = nullptr;  // one per channel, padded; hybrid only
  const float* bias = nullptr;          // the same; never null
  float low = 0, high = 0;
  std::size_t low_for_nan = 0;  // channels before this one have `low` for NaN, others leave it
};
using FloatFinishFn = void (*)(const FloatFinish&, const FinishTask&);

// How one run-time quantized row of floats is coded (docs/numerics.md, section 6).  A row with a
// NaN or an infinity in it is odd: how it is coded depends on the place of each value.
enum class OddRow : std::uint8_t { kNone, kZeros, kSymmetric, kFourBit, kAsymmetric, kQd8 };
struct RowCode {
  float inverse = 1, scale = 1;
  std::int32_t zero_point = 0, low = -128;
  bool ties_even = false;  // else away from zero
  OddRow odd = OddRow::kNone;
  const float* rest = nullptr;  // of an odd row: its values from here on fill no block of 8
};

struct GemmKernels {
  const char* name = "";
  int mr = 0, nr = 0;  // the largest tile of pairs and quads
  int mr_float = 0, nr_float = 0;
  std::array<GemmFn, kMaxTileRows> pairs8{}, pairs16{}, quads{}, fused{}, plain{};  // [rows - 1]
  // The same for panels of which only the first half has real channels (tiles keep their stride,
  // the other half is left undefined); null where there are none.
  int mr_half = 0;
  std::array<GemmFn, kMaxTileRows> half_pairs8{}, half_pairs16{}, half_fused{}, half_plain{};
  // Two neighbouring panels at once, tile [tiles][rows][2 * nr]: a value is loaded once for both.
  // Null where registers do not hold as many sums.
  std::array<GemmFn, kMaxTileRows> two_quads{}, two_fused{}, two_plain{};
  // One row by kRowPanels neighbouring panels, tile [kRowPanels * nr]: a single row leaves too few
  // independent float sums in one panel.
  GemmFn fused_row = nullptr, plain_row = nullptr;
  DepthwiseFn depthwise = nullptr;
  DepthwiseFloatFn depthwise_fused = nullptr, depthwise_plain = nullptr;
  Depthwise3x3Fn depthwise_3x3 = nullptr;  // fused; null where there is none
  const NarrowLoops* narrow = nullptr;     // null where there are none
  FinishFn finish = nullptr;               // kFixed and kXnn; the others are finish_plain
  FloatFinishFn finish_float = nullptr;
  // out[i] = in[i] - zero_point
  void (*widen_i8)(const std::int8_t* in, std::size_t n, std::int32_t zero_point,
                   std::int16_t* out) = nullptr;
  void (*widen_u8)(const std::uint8_t* in, std::size_t n, std::int32_t zero_point,
                   std::int16_t* out) = nullptr;
  // Hybrid inputs: the range of n floats with 0 in it, false where one of them is a NaN or an
  // infinity, and of rows without such
  // out[i] = clamp(round(in[i] * inverse) + zero_point, low, 127) - zero_point.
  // hybrid.h has both for any row.
  bool (*range)(const float* in, std::size_t n, float* low, float* high) = nullptr;
  void (*quantize)(const float* in, std::size_t n, const RowCode& code,
                   std::int16_t* out) = nullptr;
  // Of the same rows out[i] = clamp(...) + bias, modulo 256.
  void (*quantize_quads)(const float* in, std::size_t n, const RowCode& code, std::int32_t bias,
                         std::byte* out) = nullptr;
  const QuadBlocks* blocks = nullptr;  // of uint8 quads; null where there are none
  bool signed_quads = false;           // quads are int8, else uint8
  bool any_count = false;              // float forms store as many channels as there are
  bool has_quads() const { return quads[0] != nullptr; }
};

// `in` is a row that `code` was made of (hybrid.h), or a part of it.  As words that is the code
// less its zero point; as quads the code itself, plus 128 where they are uint8.
void hybrid_quantize(const GemmKernels& kernels, const float* in, std::size_t n,
                     const RowCode& code, std::int16_t* out);
void hybrid_quantize_quads(const GemmKernels& kernels, const float* in, std::size_t n,
                           const RowCode& code, std::byte* out);
// What a real zero is as a quad.
inline std::int32_t quad_zero(const GemmKernels& kernels, const RowCode& code) {
  return kernels.signed_quads ? code.zero_point : code.zero_point + 128;
}

const GemmKernels& gemm_generic();
const GemmKernels* gemm_avx2();      // null where the machine cannot run it
const GemmKernels* gemm_avx512();    // needs AVX-512 VNNI, BW and VL
const GemmKernels* gemm_amx();       // the same with blocks
const GemmKernels* gemm_neon();      // ARM64
const GemmKernels* gemm_neon_dot();  // with the dot product
const GemmKernels& gemm_best();

// Scalar forms, any rounding; tile of int32 (int64 in the second).
void finish_plain(const Requant& q, const FinishTask& task);
void finish_plain64(const Requant& q, const FinishTask& task);
void finish_float_plain(const FloatFinish& f, const FinishTask& task);

}  // namespace litegap
