// The inner loops for ARM64.  NEON multiplies int16 by int16 into int32 sums; where the processor
// has the dot product (SDOT), four signed bytes at a time are multiplied with four signed bytes:
// there int8 inputs are read as they lie and uint8 ones less 128, the other way round than on
// x86-64 (gemm.h, signed_quads).
#include "kernels/gemm.h"

#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#include <arm_neon.h>
#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <cstring>

#define LITEGAP_NEON_INLINE __attribute__((always_inline)) inline
#if defined(__clang__)
#define LITEGAP_DOT __attribute__((target("dotprod")))
#else
#define LITEGAP_DOT __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

namespace litegap {
namespace {

constexpr int kNr = 16, kMr = 4;

// The weights of a pair of elements for 16 columns, even elements apart from odd ones.
struct PairWeights {
  int16x8_t even[2], odd[2];  // columns 0 to 7, 8 to 15
};
LITEGAP_NEON_INLINE PairWeights load_pairs(const std::int16_t* w) {
  const int16x8x2_t a = vld2q_s16(w), b = vld2q_s16(w + kNr);
  return {{a.val[0], b.val[0]}, {a.val[1], b.val[1]}};
}
LITEGAP_NEON_INLINE PairWeights load_pairs(const std::int8_t* w) {
  const int8x16x2_t v = vld2q_s8(w);
  return {{vmovl_s8(vget_low_s8(v.val[0])), vmovl_high_s8(v.val[0])},
          {vmovl_s8(vget_low_s8(v.val[1])), vmovl_high_s8(v.val[1])}};
}

template <int R, class W>
void pairs(const GemmTask& task) {
  const auto* start = static_cast<const std::int32_t*>(task.start);
  auto* tile = static_cast<std::int32_t*>(task.tile);
  const std::byte* const* rows = task.rows;
  for (std::size_t t = 0; t < task.tiles; ++t, rows += R, tile += R * kNr) {
    int32x4_t sums[R][4];
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < 4; ++v) sums[r][v] = vld1q_s32(start + 4 * v);
    }
    const W* w = static_cast<const W*>(task.weights);
    for (std::size_t s = 0; s < task.segment_count; ++s) {
      const Segment segment = task.segments[s];
      for (std::ptrdiff_t g = 0; g < segment.groups; ++g, w += 2 * kNr) {
        const PairWeights weights = load_pairs(w);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          std::int16_t x[2];
          std::memcpy(x, rows[r] + segment.offset + 4 * g, sizeof x);
#pragma GCC unroll 2
          for (int h = 0; h < 2; ++h) {
            int32x4_t low = sums[r][2 * h], high = sums[r][2 * h + 1];
            low = vmlal_n_s16(low, vget_low_s16(weights.even[h]), x[0]);
            high = vmlal_high_n_s16(high, weights.even[h], x[0]);
            sums[r][2 * h] = vmlal_n_s16(low, vget_low_s16(weights.odd[h]), x[1]);
            sums[r][2 * h + 1] = vmlal_high_n_s16(high, weights.odd[h], x[1]);
          }
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < 4; ++v) vst1q_s32(tile + r * kNr + 4 * v, sums[r][v]);
    }
  }
}

template <int R>
LITEGAP_DOT void quads(const GemmTask& task) {
  const auto* start = static_cast<const std::int32_t*>(task.start);
  auto* tile = static_cast<std::int32_t*>(task.tile);
  const std::byte* const* rows = task.rows;
  const std::int32_t* zeros = task.zeros;
  for (std::size_t t = 0; t < task.tiles; ++t, rows += R, tile += R * kNr) {
    int32x4_t sums[R][4];
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < 4; ++v) sums[r][v] = vld1q_s32(start + 4 * v);
    }
    if (zeros != nullptr) {
      for (int v = 0; v < 4; ++v) {
        const int32x4_t weight_sums = vld1q_s32(task.weight_sums + 4 * v);
        for (int r = 0; r < R; ++r) sums[r][v] = vmlsq_n_s32(sums[r][v], weight_sums, zeros[r]);
      }
      zeros += R;
    }
    const auto* w = static_cast<const std::int8_t*>(task.weights);
    for (std::size_t s = 0; s < task.segment_count; ++s) {
      const Segment segment = task.segments[s];
      for (std::ptrdiff_t g = 0; g < segment.groups; ++g, w += 4 * kNr) {
        int8x16_t weights[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) weights[v] = vld1q_s8(w + 16 * v);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          std::int32_t x = 0;
          std::memcpy(&x, rows[r] + segment.offset + 4 * g, sizeof x);
          const int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(x));
#pragma GCC unroll 4
          for (int v = 0; v < 4; ++v) sums[r][v] = vdotq_s32(sums[r][v], weights[v], four);
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < 4; ++v) vst1q_s32(tile + r * kNr + 4 * v, sums[r][v]);
    }
  }
}

template <bool kFma>
LITEGAP_NEON_INLINE float32x4_t multiply_add(float32x4_t a, float32x4_t b, float32x4_t c) {
  if constexpr (kFma) return vfmaq_f32(c, a, b);
  return vaddq_f32(c, vmulq_f32(a, b));
}
// A NaN passes: both comparisons are false for it.
LITEGAP_NEON_INLINE float32x4_t clamped(float32x4_t v, float32x4_t low, float32x4_t high) {
  v = vbslq_f32(vcltq_f32(v, low), low, v);
  return vbslq_f32(vcltq_f32(high, v), high, v);
}

template <int R, bool kFma>
void floats(const GemmTask& task) {
  const auto* start = static_cast<const float*>(task.start);
  auto* tile = static_cast<float*>(task.tile);
  const std::byte* const* rows = task.rows;
  std::byte* const* out = task.out;
  for (std::size_t t = 0; t < task.tiles; ++t, rows += R, tile += R * kNr) {
    float32x4_t sums[R][4];
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < 4; ++v) sums[r][v] = vld1q_f32(start + 4 * v);
    }
    const auto* w = static_cast<const float*>(task.weights);
    for (std::size_t s = 0; s < task.segment_count; ++s) {
      const Segment segment = task.segments[s];
      for (std::ptrdiff_t g = 0; g < segment.groups; ++g, w += kNr) {
        float32x4_t weights[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) weights[v] = vld1q_f32(w + 4 * v);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          float x = 0;
          std::memcpy(&x, rows[r] + segment.offset + 4 * g, sizeof x);
          const float32x4_t value = vdupq_n_f32(x);
#pragma GCC unroll 4
          for (int v = 0; v < 4; ++v)
            sums[r][v] = multiply_add<kFma>(value, weights[v], sums[r][v]);
        }
      }
    }
    if (out == nullptr) {
      for (int r = 0; r < R; ++r) {
        for (int v = 0; v < 4; ++v) vst1q_f32(tile + r * kNr + 4 * v, sums[r][v]);
      }
      continue;
    }
    const float32x4_t low = vdupq_n_f32(task.low), high = vdupq_n_f32(task.high);
    for (int r = 0; r < R; ++r) {
      float* to = reinterpret_cast<float*>(out[r]) + task.channel;
      for (int v = 0; v < 4; ++v) vst1q_f32(to + 4 * v, clamped(sums[r][v], low, high));
    }
    out += R;
  }
}

template <bool kFma>
void float_row(const GemmTask& task) {
  GemmTask one = task;
  for (int p = 0; p < kRowPanels; ++p) {
    floats<1, kFma>(one);
    one.weights = static_cast<const std::byte*>(one.weights) + task.panel_bytes;
    one.start = static_cast<const float*>(one.start) + kNr;
    one.tile = static_cast<float*>(one.tile) + kNr;
  }
}

// Slots 0 to 7 of a pair of taps are channels 0 to 3 and 8 to 11, the others 4 to 7 and 12 to 15.
void depthwise(const DepthwiseTask& task) {
  std::int32_t* out = task.tile;
  const std::byte* in = task.input;
  for (std::size_t p = 0; p < task.pixels; ++p, in += task.pixel_step, out += kDepthwiseBlock) {
    int32x4_t sums[4];
    for (int v = 0; v < 4; ++v) sums[v] = vld1q_s32(task.start + 4 * v);
    const std::int16_t* w = task.weights;
    for (std::size_t t = 0; t < task.tap_count; t += 2, w += 2 * kDepthwiseBlock) {
      const int16x8x2_t first = vld2q_s16(w), second = vld2q_s16(w + kDepthwiseBlock);
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const auto* x =
            reinterpret_cast<const std::int16_t*>(in + task.taps[t + static_cast<std::size_t>(h)]);
        const int16x8_t a = vld1q_s16(x), b = vld1q_s16(x + 8);
        sums[0] = vmlal_s16(sums[0], vget_low_s16(a), vget_low_s16(first.val[h]));
        sums[1] = vmlal_s16(sums[1], vget_high_s16(a), vget_low_s16(second.val[h]));
        sums[2] = vmlal_s16(sums[2], vget_low_s16(b), vget_high_s16(first.val[h]));
        sums[3] = vmlal_s16(sums[3], vget_high_s16(b), vget_high_s16(second.val[h]));
      }
    }
    for (int v = 0; v < 4; ++v) vst1q_s32(out + 4 * v, sums[v]);
  }
}

template <bool kFma>
void depthwise_float(const DepthwiseFloatTask& task) {
  const float32x4_t low = vdupq_n_f32(task.low), high = vdupq_n_f32(task.high);
  for (std::size_t p = 0; p < task.pixels; ++p) {
    float* out = task.out + p * task.out_step;
    for (std::size_t c = 0; c < task.channels; c += 4) {
      const std::size_t count = std::min<std::size_t>(4, task.channels - c);
      const float* w = task.weights + c / kDepthwiseBlock * kDepthwiseBlock * task.tap_count +
                       c % kDepthwiseBlock;
      float32x4_t sum = vld1q_f32(task.start + c);
      for (std::size_t t = 0; t < task.tap_count; ++t, w += kDepthwiseBlock) {
        const std::byte* at = task.places[t] + static_cast<std::ptrdiff_t>(p) * task.steps[t];
        const auto* x = reinterpret_cast<const float*>(at) + c;
        float some[4] = {};
        if (count < 4) x = static_cast<const float*>(std::memcpy(some, x, count * sizeof *x));
        sum = multiply_add<kFma>(vld1q_f32(x), vld1q_f32(w), sum);
      }
      if (task.bias != nullptr) sum = vaddq_f32(sum, vld1q_f32(task.bias + c));
      sum = clamped(sum, low, high);
      if (count == 4)
        vst1q_f32(out + c, sum);
      else
        std::memcpy(out + c, &sum, count * sizeof(float));
    }
  }
}

// requantize_fixed of four channels: the doubling high multiply of NEON is the rounding one, its
// rounding shift takes ties up; one less below zero makes that away from zero.
LITEGAP_NEON_INLINE int32x4_t fixed4(const Requant& q, std::size_t c, int32x4_t x) {
  const int32x4_t right = vnegq_s32(vld1q_s32(&q.right[c]));
  const int32x4_t away = vnegq_s32(vld1q_s32(&q.away[c]));
  x = vqrdmulhq_s32(vshlq_s32(x, vld1q_s32(&q.left[c])), vld1q_s32(&q.mantissa[c]));
  const int32x4_t negative = vandq_s32(vshrq_n_s32(vandq_s32(x, right), 31), away);
  return vrshlq_s32(vqaddq_s32(x, negative), right);
}
LITEGAP_NEON_INLINE int32x4_t xnn4(const Requant& q, std::size_t c, int32x4_t x, float32x4_t top) {
  const float32x4_t v = vmulq_f32(vcvtq_f32_s32(x), vld1q_f32(&q.scale[c]));
  return vcvtnq_s32_f32(vminq_f32(v, top));
}

template <Rounding kRounding>
void finish_as(const Requant& q, const FinishTask& task) {
  const int32x4_t zero = vdupq_n_s32(q.zero_point), low = vdupq_n_s32(q.low),
                  high = vdupq_n_s32(q.high);
  const float32x4_t top = vdupq_n_f32(static_cast<float>(q.high - q.zero_point));
  const std::size_t width = q.type == DType::kInt16 ? 2 : 1;
  for (int r = 0; r < task.rows; ++r) {
    const auto* sums = static_cast<const std::int32_t*>(task.tile) +
                       static_cast<std::size_t>(r) * task.tile_stride;
    for (int i = 0; i < task.count; i += 4) {
      const std::size_t c = task.channel + static_cast<std::size_t>(i);
      int32x4_t y = vld1q_s32(sums + i);
      if constexpr (kRounding == Rounding::kXnn)
        y = vqaddq_s32(xnn4(q, c, y, top), zero);
      else
        y = vaddq_s32(fixed4(q, c, y), zero);
      const int16x4_t words = vmovn_s32(vmaxq_s32(vminq_s32(y, high), low));
      const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
      const auto count = static_cast<std::size_t>(std::min(4, task.count - i));
      if (width == 2)
        std::memcpy(task.out[r] + 2 * c, &words, 2 * count);
      else
        std::memcpy(task.out[r] + c, &bytes, count);
    }
  }
}

void finish(const Requant& q, const FinishTask& task) {
  if (q.rounding == Rounding::kXnn) return finish_as<Rounding::kXnn>(q, task);
  if (q.rounding == Rounding::kFixed) return finish_as<Rounding::kFixed>(q, task);
  finish_plain(q, task);
}

GemmKernels make_neon() {
  GemmKernels k = gemm_generic();  // what is not below the compiler makes vector code of
  k.name = "neon";
  k.mr = k.mr_float = kMr;
  k.nr = k.nr_float = kNr;
  k.pairs8 = {pairs<1, std::int8_t>, pairs<2, std::int8_t>, pairs<3, std::int8_t>,
              pairs<4, std::int8_t>};
  k.pairs16 = {pairs<1, std::int16_t>, pairs<2, std::int16_t>, pairs<3, std::int16_t>,
               pairs<4, std::int16_t>};
  k.fused = {floats<1, true>, floats<2, true>, floats<3, true>, floats<4, true>};
  k.plain = {floats<1, false>, floats<2, false>, floats<3, false>, floats<4, false>};
  k.fused_row = float_row<true>;
  k.plain_row = float_row<false>;
  k.depthwise = depthwise;
  k.depthwise_fused = depthwise_float<true>;
  k.depthwise_plain = depthwise_float<false>;
  k.finish = finish;
  return k;
}

GemmKernels make_neon_dot() {
  GemmKernels k = make_neon();
  k.name = "neon dot product";
  k.quads = {quads<1>, quads<2>, quads<3>, quads<4>};
  k.signed_quads = true;
  return k;
}

bool machine_has_dot() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#elif defined(__APPLE__)
  return true;  // every ARM64 Mac
#else
  return false;
#endif
}

}  // namespace

const GemmKernels* gemm_neon() {
  static const GemmKernels kernels = make_neon();
  return &kernels;
}

const GemmKernels* gemm_neon_dot() {
  static const GemmKernels kernels = make_neon_dot();
  return machine_has_dot() ? &kernels : nullptr;
}

}  // namespace litegap

#else
namespace litegap {
const GemmKernels* gemm_neon() { return nullptr; }
const GemmKernels* gemm_neon_dot() { return nullptr; }
}  // namespace litegap
#endif
