// Functions of one byte as tables.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace litegap {

// Indexed by the code as an unsigned byte.
using Table8 = std::array<std::uint8_t, 256>;

// y[i] = table[x[i]] for n bytes; x and y are the same or do not overlap.
void map_bytes(const Table8& table, const std::uint8_t* x, std::uint8_t* y, std::size_t n) noexcept;

}  // namespace litegap
