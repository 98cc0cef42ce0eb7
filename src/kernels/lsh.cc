// LSH_PROJECTION: every item of the input votes on every bit, with a number that is a hash of the
// bit's seed and of the item's bytes, read as signed; the bit is the sign of the (weighted) sum.
//
//   seeds [hashes, bits] float32, input [items, ...] of any type, weights [items] optional
//   dense (2)    out [hashes * bits], the bits themselves
//   sparse (1)   out [hashes], the bits of a hash as a number, plus its index times 2^bits
//
// The hash is the 64-bit fingerprint of the FarmHash family: the bytes go through multiplications
// by odd constants, rotations and xor-shifts, in a form of its own for each range of lengths.
#include "kernels/lsh.h"

#include <bit>
#include <cstring>
#include <utility>

#include "kernels/move.h"

namespace litegap {
namespace {

using Word = std::uint64_t;
constexpr Word kA = 0xC3A5C85C97CB3127, kB = 0xB492B66FBE98F273, kC = 0x9AE16A3B2F90404F;

Word word_at(const std::byte* p) noexcept {
  Word v;
  std::memcpy(&v, p, 8);
  return v;
}
Word half_at(const std::byte* p) noexcept {
  std::uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}
Word turned(Word v, int bits) noexcept { return std::rotr(v, bits); }
Word folded(Word v) noexcept { return v ^ v >> 47; }
Word mixed(Word u, Word v, Word factor) noexcept {
  return folded((v ^ folded((u ^ v) * factor)) * factor) * factor;
}

struct Two {
  Word first = 0, second = 0;
};

// 32 bytes into a pair.
Two absorbed(const std::byte* p, Word a, Word b) noexcept {
  a += word_at(p);
  b = turned(b + a + word_at(p + 24), 21);
  const Word before = a;
  a += word_at(p + 8) + word_at(p + 16);
  return {a + word_at(p + 24), b + turned(a, 44) + before};
}

Word short_hash(const std::byte* p, std::size_t n) noexcept {  // up to 16 bytes
  const Word factor = kC + 2 * n;
  if (n >= 8) {
    const Word a = word_at(p) + kC, b = word_at(p + n - 8);
    return mixed(turned(b, 37) * factor + a, (turned(a, 25) + b) * factor, factor);
  }
  if (n >= 4) return mixed(n + (half_at(p) << 3), half_at(p + n - 4), factor);
  if (n == 0) return kC;
  const auto at = [p](std::size_t i) { return std::to_integer<Word>(p[i]); };
  return folded((at(0) + (at(n / 2) << 8)) * kC ^ (n + (at(n - 1) << 2)) * kA) * kC;
}

Word middle_hash(const std::byte* p, std::size_t n) noexcept {  // 17 to 64 bytes
  const Word factor = kC + 2 * n;
  const Word a = word_at(p) * (n <= 32 ? kB : kC), b = word_at(p + 8),
             c = word_at(p + n - 8) * factor, d = word_at(p + n - 16) * kC;
  const Word y = turned(a + b, 43) + turned(c, 30) + d;
  const Word z = mixed(y, a + turned(b + kC, 18) + c, factor);
  if (n <= 32) return z;
  const Word e = word_at(p + 16) * factor, f = word_at(p + 24),
             g = (y + word_at(p + n - 32)) * factor, h = (z + word_at(p + n - 24)) * factor;
  return mixed(turned(e + f, 43) + turned(g, 30) + h, e + turned(f + a, 18) + g, factor);
}

// The state of long inputs, which takes 64 bytes at a time.
struct Sponge {
  Word x, y, z;
  Two v, w;

  void take(const std::byte* p, Word factor, Word weight) noexcept {
    x = turned(x + y + v.first + word_at(p + 8), 37) * factor;
    y = turned(y + v.second + word_at(p + 48), 42) * factor;
    x ^= w.second * weight;
    y += v.first * weight + word_at(p + 40);
    z = turned(z + w.first, 33) * factor;
    v = absorbed(p, v.second * factor, x + w.first);
    w = absorbed(p + 32, z + w.second, y + word_at(p + 16));
    std::swap(z, x);
  }
};

Word long_hash(const std::byte* p, std::size_t n) noexcept {
  constexpr Word kSeed = 81;
  Sponge s{};
  s.y = kSeed * kB + 113;
  s.z = folded(s.y * kC + 113) * kC;
  s.x = kSeed * kC + word_at(p);
  const std::byte* last = p + n - 64;
  const std::size_t rest = (n - 1) % 64;
  for (const std::byte* end = p + (n - 1) / 64 * 64; p != end; p += 64) s.take(p, kB, 1);
  const Word factor = kB + ((s.z & 0xFF) << 1);
  s.w.first += rest;
  s.v.first += s.w.first;
  s.w.first += s.v.first;
  s.take(last, factor, 9);
  return mixed(mixed(s.v.first, s.w.first, factor) + folded(s.y) * kA + s.z,
               mixed(s.v.second, s.w.second, factor) + s.x, factor);
}

Word fingerprint(const std::byte* p, std::size_t n) noexcept {
  return n <= 16 ? short_hash(p, n) : n <= 64 ? middle_hash(p, n) : long_hash(p, n);
}

struct Projection {
  std::size_t hashes = 0, bits = 0, items = 0, item_bytes = 0;
  bool sparse = false, weighted = false;

  // `key`: room for a seed and an item.
  bool bit(const Io& io, float seed, std::byte* key) const noexcept {
    const auto* item = static_cast<const std::byte*>(io.inputs[1]);
    double score = 0;
    std::memcpy(key, &seed, sizeof seed);
    for (std::size_t i = 0; i < items; ++i, item += item_bytes) {
      if (item_bytes > 0) std::memcpy(key + sizeof seed, item, item_bytes);
      const auto vote = static_cast<double>(
          static_cast<std::int64_t>(fingerprint(key, sizeof seed + item_bytes)));
      score +=
          weighted ? static_cast<double>(static_cast<const float*>(io.inputs[2])[i]) * vote : vote;
    }
    return score > 0;
  }

  void operator()(const Io& io) const noexcept {
    const auto* seeds = static_cast<const float*>(io.inputs[0]);
    auto* out = static_cast<std::int32_t*>(io.outputs[0]);
    for (std::size_t h = 0; h < hashes; ++h) {
      std::uint32_t word = 0;
      for (std::size_t b = 0; b < bits; ++b) {
        const bool one = bit(io, seeds[h * bits + b], io.scratch);
        word = word << 1 | (one ? 1u : 0u);
        if (!sparse) *out++ = one ? 1 : 0;
      }
      if (sparse)
        *out++ = static_cast<std::int32_t>(word + (static_cast<std::uint32_t>(h) << bits));
    }
  }
};

std::unique_ptr<Kernel> prepare_lsh_projection(OpSpec& spec) {
  expect_inputs(spec, 2, 3);
  expect_outputs(spec, 1);
  const auto& a = attrs_of<LshProjectionAttrs>(spec);
  const Operand &seeds = spec.inputs[0], &input = spec.inputs[1];
  if (seeds.dtype != DType::kFloat32 || seeds.shape.size() != 2 ||
      seeds.shape[1] > (a.type == 1 ? 31 : 32))
    refuse(spec, "seeds of {} {}, expected float32 [hashes, up to 31 bits; 32 when dense]",
           dtype_name(seeds.dtype), shape_text(seeds.shape));
  if (input.shape.empty() || input.shape[0] < 1)
    refuse(spec, "an input of shape {}", shape_text(input.shape));
  if (a.type != 1 && a.type != 2) refuse(spec, "type {}, expected 1 or 2", a.type);
  if (spec.outputs[0].dtype != DType::kInt32)
    refuse(spec, "an output of {}, expected int32", dtype_name(spec.outputs[0].dtype));
  Projection p;
  p.hashes = static_cast<std::size_t>(seeds.shape[0]);
  p.bits = static_cast<std::size_t>(seeds.shape[1]);
  p.items = static_cast<std::size_t>(input.shape[0]);
  p.item_bytes = shape_elements(input.shape) / p.items * element_bytes(spec, input);
  p.sparse = a.type == 1;
  p.weighted = spec.has(2);
  if (p.weighted &&
      (spec.inputs[2].dtype != DType::kFloat32 || spec.inputs[2].shape != Shape{input.shape[0]}))
    refuse(spec, "weights of {} {}, expected float32 [{}]", dtype_name(spec.inputs[2].dtype),
           shape_text(spec.inputs[2].shape), input.shape[0]);
  const std::int64_t size = std::int64_t{seeds.shape[0]} * (p.sparse ? 1 : seeds.shape[1]);
  spec.outputs[0].shape = {checked_dim(spec, size)};
  return make_kernel(p, sizeof(float) + p.item_bytes);
}

constexpr KernelRow kRows[] = {
    {OpCode::kLshProjection, prepare_lsh_projection, "float32"},
};

}  // namespace

std::span<const KernelRow> lsh_kernel_rows() { return kRows; }

}  // namespace litegap
