// The blocks for AMX on any machine: their source once more, with the tiles written out.
#include <array>
#include <cstring>

#include "avx512_emulated.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

namespace litegap::emulated {

struct Tile {
  std::array<std::array<std::uint8_t, 64>, 16> line{};
};
struct Tiles {
  bool ready = false;  // between loadconfig and release
  std::array<Tile, 8> tile{};
};
inline Tiles& tiles() {
  thread_local Tiles all;
  return all;
}
inline Tile& tile(std::size_t i) {
  if (!tiles().ready) std::abort();
  return tiles().tile[i];
}
// All eight tiles are 16 rows by 64 bytes: the only shapes that are asked for.
inline void configure(const void* shapes) {
  struct {
    std::uint8_t palette, start_row, reserved[14];
    std::uint16_t bytes[16];
    std::uint8_t rows[16];
  } given;
  static_assert(sizeof given == 64);
  std::memcpy(&given, shapes, sizeof given);
  if (given.palette != 1 || given.start_row != 0) std::abort();
  for (int i = 0; i < 8; ++i) {
    if (given.bytes[i] != 64 || given.rows[i] != 16) std::abort();
  }
  tiles() = {true, {}};
}
inline void load(std::size_t i, const void* from, std::size_t stride) {
  for (std::size_t r = 0; r < 16; ++r)
    std::memcpy(tile(i).line[r].data(), static_cast<const char*>(from) + r * stride, 64);
}
inline void store(std::size_t i, void* to, std::size_t stride) {
  for (std::size_t r = 0; r < 16; ++r)
    std::memcpy(static_cast<char*>(to) + r * stride, tile(i).line[r].data(), 64);
}
// sums[m][n] += a[m][4 k + j] * b[k][4 n + j], a without and b with a sign, modulo 2^32.
inline void add_products(std::size_t sums, std::size_t a, std::size_t b) {
  for (std::size_t m = 0; m < 16; ++m) {
    for (std::size_t n = 0; n < 16; ++n) {
      std::uint32_t sum = 0;
      std::memcpy(&sum, &tile(sums).line[m][4 * n], sizeof sum);
      for (std::size_t k = 0; k < 16; ++k) {
        for (std::size_t j = 0; j < 4; ++j)
          sum += static_cast<std::uint32_t>(std::int32_t{tile(a).line[m][4 * k + j]} *
                                            static_cast<std::int8_t>(tile(b).line[k][4 * n + j]));
      }
      std::memcpy(&tile(sums).line[m][4 * n], &sum, sizeof sum);
    }
  }
}

}  // namespace litegap::emulated

#define LITEGAP_AMX
#define LITEGAP_AMX_COPY
#define LITEGAP_AMX_EMULATED
#define _tile_loadconfig(SHAPES) emulated::configure(SHAPES)
#define _tile_release() (emulated::tiles().ready = false)
#define _tile_loadd(TILE, FROM, STRIDE) emulated::load(TILE, FROM, STRIDE)
#define _tile_stored(TILE, TO, STRIDE) emulated::store(TILE, TO, STRIDE)
#define _tile_dpbusd(SUMS, A, B) emulated::add_products(SUMS, A, B)

#include "kernels/gemm_amx.cc"

namespace litegap {
const GemmKernels* gemm_amx_emulated() {
  const GemmKernels* avx512 = gemm_avx512() != nullptr ? gemm_avx512() : gemm_avx512_emulated();
  if (gemm_avx2() == nullptr || avx512 == nullptr) return nullptr;
  static const GemmKernels kernels = [&] {
    GemmKernels k = *avx512;
    k.name = "amx, emulated";
    k.blocks = &amx_blocks_emulated();
    return k;
  }();
  return &kernels;
}
}  // namespace litegap

#else
namespace litegap {
const GemmKernels* gemm_amx_emulated() { return nullptr; }
}  // namespace litegap
#endif
