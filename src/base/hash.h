// FNV-1a over bytes: a content key for caches and for "which samples are identical".
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace litegap {

inline constexpr std::uint64_t kHashSeed = 0xcbf29ce484222325ULL;

inline std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed = kHashSeed) {
  std::uint64_t h = seed;
  for (const std::byte b : bytes) h = (h ^ static_cast<std::uint64_t>(b)) * 0x100000001b3ULL;
  return h;
}

inline std::uint64_t hash_text(std::string_view text, std::uint64_t seed = kHashSeed) {
  return hash_bytes(std::as_bytes(std::span(text.data(), text.size())), seed);
}

}  // namespace litegap
