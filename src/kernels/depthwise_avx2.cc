// The inner loops of float depthwise convolutions for AVX2 with FMA.
#include "kernels/depthwise_float.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>

#define LITEGAP_AVX2 __attribute__((target("avx2,fma")))
#define LITEGAP_LOOP __attribute__((target("avx2,fma"), always_inline)) inline

#include "kernels/depthwise_loops.h"

namespace litegap {
namespace {

struct Lanes8 {
  using V = __m256;
  using Mask = __m256i;
  static constexpr int kLanes = 8;
  LITEGAP_LOOP static V all(float v) { return _mm256_set1_ps(v); }
  LITEGAP_LOOP static V load(const float* p) { return _mm256_loadu_ps(p); }
  LITEGAP_LOOP static V load_some(const float* p, Mask m) { return _mm256_maskload_ps(p, m); }
  LITEGAP_LOOP static void store(float* p, V v) { _mm256_storeu_ps(p, v); }
  LITEGAP_LOOP static void store_some(float* p, V v, Mask m) { _mm256_maskstore_ps(p, m, v); }
  LITEGAP_LOOP static V add(V a, V b) { return _mm256_add_ps(a, b); }
  LITEGAP_LOOP static V multiply(V a, V b) { return _mm256_mul_ps(a, b); }
  LITEGAP_LOOP static V fused(V a, V b, V sum) { return _mm256_fmadd_ps(a, b, sum); }
  // Of a NaN and a bound the second operand wins: the NaN.
  LITEGAP_LOOP static V clamp(V v, V low, V high) {
    return _mm256_min_ps(high, _mm256_max_ps(low, v));
  }
  LITEGAP_LOOP static Mask first(std::size_t n) {
    alignas(32) static constexpr std::int32_t kOn[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kOn + 8 - (n < 8 ? n : 8)));
  }
};

template <bool kFma>
LITEGAP_AVX2 void line(const DepthwiseFloatTask& task) {
  depthwise_line<Lanes8, kFma>(task);
}
LITEGAP_AVX2 void line_3x3(const Depthwise3x3Task& task) { depthwise_3x3_line<Lanes8>(task); }

}  // namespace

void set_depthwise_avx2(GemmKernels& kernels) {
  kernels.depthwise_fused = line<true>;
  kernels.depthwise_plain = line<false>;
  kernels.depthwise_3x3 = line_3x3;
}

}  // namespace litegap
#endif
