// Work over fixed blocks: the result of a computation must not depend on the number of threads, so
// work is cut into blocks of a fixed size by global index and results are merged in block order.
#pragma once
#include <cstddef>
#include <functional>

namespace litegap {

inline constexpr std::size_t kBlock = 64;

// Calls body(block, begin, end, worker) for every block of [0, n); worker is in [0, threads).
// The first exception is rethrown after all workers stopped.
void for_each_block(std::size_t n, std::size_t block, int threads,
                    const std::function<void(std::size_t block, std::size_t begin, std::size_t end,
                                             int worker)>& body);

}  // namespace litegap
