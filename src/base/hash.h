// Content keys: for caches, and for "which samples are identical".  Not for enemies.
//
//   hash_text("foobar")    0x85944171f73967e8: FNV-1a, a byte at a time
//   hash_bytes(a.bytes())  four words of eight bytes at a time: as fast as memory, for megabytes
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace litegap {

inline constexpr std::uint64_t kHashSeed = 0xcbf29ce484222325ULL;

inline std::uint64_t hash_text(std::string_view text, std::uint64_t seed = kHashSeed) {
  std::uint64_t h = seed;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return h;
}

// Each step is one-to-one in the hash before and in the bytes, so two contents of one length that
// differ in one word never meet.
inline std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed = kHashSeed) {
  constexpr std::size_t kLanes = 4, kWord = sizeof(std::uint64_t);
  const auto mixed = [](std::uint64_t h, std::uint64_t word) {
    return std::rotl((h ^ word) * 0x9e3779b97f4a7c15ULL, 29);
  };
  std::uint64_t lane[kLanes] = {seed, seed + 1, seed + 2, seed + 3};
  std::size_t at = 0;
  for (; at + kLanes * kWord <= bytes.size(); at += kLanes * kWord) {
    std::uint64_t word[kLanes];
    std::memcpy(word, bytes.data() + at, sizeof word);
    for (std::size_t k = 0; k < kLanes; ++k) lane[k] = mixed(lane[k], word[k]);
  }
  std::uint64_t h = mixed(seed, bytes.size());
  for (; at < bytes.size(); ++at) h = mixed(h, static_cast<std::uint64_t>(bytes[at]));
  for (const std::uint64_t l : lane) h = mixed(h, l);
  return mixed(h, 0);
}

}  // namespace litegap
