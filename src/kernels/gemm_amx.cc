// Products of bytes in blocks of rows, for AMX: a processor holds eight tiles of 16 rows by 64
// bytes and adds to a tile of sums, 16 rows by 16 channels, the products of 64 elements at once:
// eight times as many multiplications a cycle as vpdpbusd does.  Exact modulo 2^32, as that is.
//
//   sums of 32 rows and two panels: tiles 0 1
//                                         2 3    bytes of the rows: 4, 5    weights: 6, 7
//
// A tile is loaded from lines at equal distances, so the windows of a block are copied side by side
// first, all panels share the copy; those of a 1x1 convolution lie like that already.  Packed
// weights (four elements of 16 channels a line) are what the multiplier wants; they end with zeros,
// which meet whatever lies behind a window.  Nobody looks at the sums of rows that a last block
// lacks.
#include "kernels/gemm.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#ifndef LITEGAP_AMX  // tests/kernels/amx_emulated.cc builds this file for any machine
#include <cpuid.h>
#include <immintrin.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#define LITEGAP_AMX __attribute__((target("avx512f,amx-tile,amx-int8")))
#define LITEGAP_AMX_COPY __attribute__((target("avx512f,avx512bw")))
#endif

#include <cstdint>
#include <cstring>

namespace litegap {
namespace {

constexpr std::size_t kLine = 64, kTileRows = 16, kTileBytes = kLine * kTileRows;
constexpr int kNr = 16;

// Palette 1: eight tiles of 16 rows by 64 bytes.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileShapes kShapes;  // no local value: GCC 12 thinks that only its first bytes are read
LITEGAP_AMX void begin() { _tile_loadconfig(&kShapes); }
LITEGAP_AMX void end() { _tile_release(); }

// n < 64 bytes, nothing is read behind them; 64 are written.
LITEGAP_AMX_COPY inline void copy_some(const std::byte* from, std::size_t n, std::byte* to) {
#ifdef LITEGAP_AMX_EMULATED
  std::memcpy(to, from, n);
#else
  const __mmask64 some = (std::uint64_t{1} << n) - 1;
  _mm512_storeu_si512(to, _mm512_maskz_loadu_epi8(some, from));
#endif
}

LITEGAP_AMX_COPY void copy_rows(const std::byte* const* rows, std::size_t count,
                                const Segment* segments, std::size_t segment_count, std::byte* out,
                                std::size_t stride) {
  for (std::size_t r = 0; r < count; ++r) {
    std::byte* to = out + r * stride;
    for (std::size_t s = 0; s < segment_count; ++s) {
      const std::byte* from = rows[r] + segments[s].offset;
      std::size_t left = 4 * static_cast<std::size_t>(segments[s].groups);
      for (; left >= kLine; left -= kLine, from += kLine, to += kLine) std::memcpy(to, from, kLine);
      if (left > 0) copy_some(from, left, to);
      to += left;
    }
  }
}

// Start values of rows with zero points of their own.
template <int kPanels>
LITEGAP_AMX_COPY inline void fill(const BlockTask& t) {
  constexpr std::size_t kColumns = kPanels * kNr;
  for (std::size_t r = 0; r < t.rows; ++r) {
    const auto zero = static_cast<std::uint32_t>(t.zeros[r]);
    for (std::size_t n = 0; n < kColumns; ++n)
      t.tile[r * kColumns + n] =
          static_cast<std::int32_t>(static_cast<std::uint32_t>(t.start[n]) -
                                    zero * static_cast<std::uint32_t>(t.weight_sums[n]));
  }
}

// kTwo: 32 rows, else 16; of one or two panels.
template <bool kTwo, int kPanels>
LITEGAP_AMX void block(const BlockTask& t) {
  if (t.zeros != nullptr) fill<kPanels>(t);
  const std::byte *a = t.a, *b = t.weights;
  constexpr std::size_t kSumLine = kPanels * kLine;  // bytes
  auto* sums = reinterpret_cast<std::byte*>(t.tile);
  // All rows start with the same line, or with their own.
  const auto* start = t.zeros == nullptr ? reinterpret_cast<const std::byte*>(t.start) : sums;
  const std::size_t start_line = t.zeros == nullptr ? 0 : kSumLine;
  _tile_loadd(0, start, start_line);
  if constexpr (kPanels == 2) _tile_loadd(1, start + kLine, start_line);
  if constexpr (kTwo) _tile_loadd(2, start + kTileRows * start_line, start_line);
  if constexpr (kTwo && kPanels == 2)
    _tile_loadd(3, start + kTileRows * start_line + kLine, start_line);
  for (std::size_t k = 0; k < t.lines; ++k, a += kLine, b += kTileBytes) {
    _tile_loadd(6, b, kLine);
    _tile_loadd(4, a, t.stride);
    _tile_dpbusd(0, 4, 6);
    if constexpr (kPanels == 2) {
      _tile_loadd(7, b + t.panel_bytes, kLine);
      _tile_dpbusd(1, 4, 7);
    }
    if constexpr (kTwo) {
      _tile_loadd(5, a + kTileRows * t.stride, t.stride);
      _tile_dpbusd(2, 5, 6);
    }
    if constexpr (kTwo && kPanels == 2) _tile_dpbusd(3, 5, 7);
  }
  _tile_stored(0, sums, kSumLine);
  if constexpr (kPanels == 2) _tile_stored(1, sums + kLine, kSumLine);
  if constexpr (kTwo) _tile_stored(2, sums + kTileRows * kSumLine, kSumLine);
  if constexpr (kTwo && kPanels == 2)
    _tile_stored(3, sums + kTileRows * kSumLine + kLine, kSumLine);
}

void multiply(const BlockTask& t) {
  if (t.rows > kTileRows) return t.panels == 2 ? block<true, 2>(t) : block<true, 1>(t);
  t.panels == 2 ? block<false, 2>(t) : block<false, 1>(t);
}

#ifdef LITEGAP_AMX_EMULATED
constexpr QuadBlocks kBlocks{begin, end, copy_rows, multiply};  // always chosen
#else
constexpr QuadBlocks kBlocks{begin, end, copy_rows, multiply, 3.5F, 1, 4, 2};
#endif

#ifndef LITEGAP_AMX_EMULATED
// Tiles are part of a thread's state only for processes that ask the system for it.
bool machine_has_amx() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kTile = 1U << 24, kInt8 = 1U << 25;
  constexpr long kAskForState = 0x1023, kTileData = 18;
  return (d & kTile) != 0 && (d & kInt8) != 0 &&
         syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
#else
  return false;
#endif
}
#endif

}  // namespace

#ifdef LITEGAP_AMX_EMULATED
const QuadBlocks& amx_blocks_emulated() { return kBlocks; }
#else
const GemmKernels* gemm_amx() {
  static const GemmKernels* const kernels = []() -> const GemmKernels* {
    if (gemm_avx512() == nullptr || !machine_has_amx()) return nullptr;
    static GemmKernels amx = *gemm_avx512();
    amx.name = "amx";
    amx.blocks = &kBlocks;
    return &amx;
  }();
  return kernels;
}
#endif

}  // namespace litegap

#else
namespace litegap {
const GemmKernels* gemm_amx() { return nullptr; }
}  // namespace litegap
#endif
