#include "base/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace litegap {

void for_each_block(std::size_t n, std::size_t block, int threads,
                    const std::function<void(std::size_t, std::size_t, std::size_t, int)>& body) {
  const std::size_t blocks = (n + block - 1) / block;
  const int workers = static_cast<int>(
      std::min<std::size_t>(blocks, static_cast<std::size_t>(std::max(1, threads))));
  std::atomic<std::size_t> next{0};
  std::exception_ptr error;
  std::mutex guard;
  const auto work = [&](int worker) {
    try {
      for (std::size_t b = next++; b < blocks; b = next++) {
        body(b, b * block, std::min(n, (b + 1) * block), worker);
      }
    } catch (...) {
      const std::lock_guard<std::mutex> lock(guard);
      if (!error) error = std::current_exception();
      next = blocks;
    }
  };
  std::vector<std::thread> pool;
  for (int w = 1; w < workers; ++w) pool.emplace_back(work, w);
  if (workers > 0) work(0);
  for (auto& t : pool) t.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace litegap
