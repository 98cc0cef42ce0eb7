#include "model/cleared.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace litegap {

#if defined(__linux__) && defined(MADV_HUGEPAGE)

namespace {
constexpr std::size_t kSlack = 64;  // for vector loads
constexpr std::size_t kLargePage = std::size_t{1} << 21;
constexpr std::size_t kLeast = kLargePage / 2;  // at most half of a page is lost
}  // namespace

Array cleared_array(DType dtype, Shape shape) {
  const std::size_t bytes = dtype_bytes(dtype, shape_elements(shape));
  if (bytes < kLeast) return Array::zeros(dtype, std::move(shape));
  const std::size_t pages = (bytes + kSlack + kLargePage - 1) / kLargePage * kLargePage;
  const std::size_t mapped = pages + kLargePage;  // has a large page's border in it
  // Mapped memory is zero, and what nobody touches takes none.
  void* const block =
      ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) fail("out of memory for {} bytes", mapped);
  std::shared_ptr<const void> owner(
      block, [mapped](const void* p) { ::munmap(const_cast<void*>(p), mapped); });
  const std::size_t past = reinterpret_cast<std::uintptr_t>(block) % kLargePage;
  auto* const begin = static_cast<std::byte*>(block) + (kLargePage - past) % kLargePage;
  ::madvise(begin, pages, MADV_HUGEPAGE);  // a hint: no matter whether it is taken
  return Array::view(dtype, std::move(shape), {begin, bytes}, std::move(owner));
}

#else

Array cleared_array(DType dtype, Shape shape) { return Array::zeros(dtype, std::move(shape)); }

#endif

}  // namespace litegap
