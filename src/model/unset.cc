#include "model/unset.h"

#include <cstdlib>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace litegap {
namespace {

constexpr std::size_t kLine = 64;                         // also the slack for vector loads
constexpr std::size_t kLargePage = std::size_t{1} << 21;  // a fault then brings 2 MB, not 4 KB

std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

}  // namespace

Array unset_array(DType dtype, Shape shape) {
  const std::size_t bytes = dtype_bytes(dtype, shape_elements(shape));
  const bool large = bytes >= 2 * kLargePage;
  const std::size_t unit = large ? kLargePage : kLine;
  const std::size_t padded = round_up(bytes + kLine, unit);
  auto* p = static_cast<std::byte*>(std::aligned_alloc(unit, padded));
  if (p == nullptr) fail("out of memory for {} bytes", padded);
#ifdef MADV_HUGEPAGE
  if (large) ::madvise(p, padded, MADV_HUGEPAGE);  // a hint: no matter whether it is taken
#endif
  std::shared_ptr<const void> owner(p, [](const void* q) { std::free(const_cast<void*>(q)); });
  return Array::view(dtype, std::move(shape), {p, bytes}, std::move(owner));
}

}  // namespace litegap
