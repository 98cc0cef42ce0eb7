// The portable inner loops, and the choice of the best table of this machine.
#include "kernels/gemm.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace litegap {
namespace {

constexpr int kMr = 4, kNr = 16;

template <int R, class W>
void pairs(const GemmTask& task) {
  auto* tile = static_cast<std::int32_t*>(task.tile);
  const std::byte* const* rows = task.rows;
  for (std::size_t t = 0; t < task.tiles; ++t, rows += R, tile += R * kNr) {
    std::int32_t sums[R][kNr];
    for (int r = 0; r < R; ++r) std::memcpy(sums[r], task.start, sizeof sums[r]);
    const W* w = static_cast<const W*>(task.weights);
    for (std::size_t s = 0; s < task.segment_count; ++s) {
      const Segment segment = task.segments[s];
      for (std::ptrdiff_t g = 0; g < segment.groups; ++g, w += 2 * kNr) {
        for (int r = 0; r < R; ++r) {
          std::int16_t x[2];
          std::memcpy(x, rows[r] + segment.offset + 4 * g, sizeof x);
          for (int n = 0; n < kNr; ++n) {
            sums[r][n] = wrap_add(sums[r][n], x[0] * w[2 * n] + x[1] * w[2 * n + 1]);
          }
        }
      }
    }
    std::memcpy(tile, sums, sizeof sums);
  }
}

template <bool kFma>
float multiply_add(float a, float b, float c) {
  if constexpr (kFma) return std::fma(a, b, c);
  return c + a * b;
}

// Comparisons that let a NaN through, as the runtime's do.
float clamped(float v, float low, float high) {
  v = v < low ? low : v;
  return high < v ? high : v;
}

template <int R, bool kFma>
void floats(const GemmTask& task) {
  auto* tile = static_cast<float*>(task.tile);
  const std::byte* const* rows = task.rows;
  std::byte* const* out = task.out;
  for (std::size_t t = 0; t < task.tiles; ++t, rows += R, tile += R * kNr) {
    float sums[R][kNr];
    for (int r = 0; r < R; ++r) std::memcpy(sums[r], task.start, sizeof sums[r]);
    const float* w = static_cast<const float*>(task.weights);
    for (std::size_t s = 0; s < task.segment_count; ++s) {
      const Segment segment = task.segments[s];
      for (std::ptrdiff_t g = 0; g < segment.groups; ++g, w += kNr) {
        for (int r = 0; r < R; ++r) {
          float x;
          std::memcpy(&x, rows[r] + segment.offset + 4 * g, sizeof x);
          for (int n = 0; n < kNr; ++n) sums[r][n] = multiply_add<kFma>(x, w[n], sums[r][n]);
        }
      }
    }
    if (out == nullptr) {
      std::memcpy(tile, sums, sizeof sums);
      continue;
    }
    for (int r = 0; r < R; ++r) {
      for (float& v : sums[r]) v = clamped(v, task.low, task.high);
      std::memcpy(out[r] + task.channel * sizeof(float), sums[r], sizeof sums[r]);
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

void depthwise(const DepthwiseTask& task) {
  std::int32_t* out = task.tile;
  const std::byte* in = task.input;
  for (std::size_t p = 0; p < task.pixels; ++p, in += task.pixel_step, out += kDepthwiseBlock) {
    std::memcpy(out, task.start, kDepthwiseBlock * sizeof *out);
    const std::int16_t* w = task.weights;
    for (std::size_t t = 0; t < task.tap_count; t += 2, w += 2 * kDepthwiseBlock) {
      std::int16_t a[kDepthwiseBlock], b[kDepthwiseBlock];
      std::memcpy(a, in + task.taps[t], sizeof a);
      std::memcpy(b, in + task.taps[t + 1], sizeof b);
      for (int c = 0; c < kDepthwiseBlock; ++c) {
        const int slot = 2 * depthwise_slot(c);
        out[c] = wrap_add(out[c], a[c] * w[slot] + b[c] * w[slot + 1]);
      }
    }
  }
}

template <bool kFma>
void depthwise_float(const DepthwiseFloatTask& task) {
  for (std::size_t p = 0; p < task.pixels; ++p) {
    float* out = task.out + p * task.out_step;
    for (std::size_t c = 0; c < task.channels; ++c) {
      const float* w = task.weights + c / kDepthwiseBlock * kDepthwiseBlock * task.tap_count +
                       c % kDepthwiseBlock;
      float sum = task.start[c];
      for (std::size_t t = 0; t < task.tap_count; ++t, w += kDepthwiseBlock) {
        const std::byte* at = task.places[t] + static_cast<std::ptrdiff_t>(p) * task.steps[t];
        float x;
        std::memcpy(&x, at + c * sizeof x, sizeof x);
        sum = multiply_add<kFma>(x, *w, sum);
      }
      if (task.bias != nullptr) sum += task.bias[c];
      out[c] = clamped(sum, task.low, task.high);
    }
  }
}

template <class T>
void widen(const T* in, std::size_t n, std::int32_t zero_point, std::int16_t* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::int16_t>(in[i] - zero_point);
}

void store(DType type, std::int32_t value, std::byte* out, std::size_t i) {
  if (type == DType::kInt16) {
    const auto v = static_cast<std::int16_t>(value);
    std::memcpy(out + 2 * i, &v, sizeof v);
  } else {
    out[i] = static_cast<std::byte>(value);
  }
}

template <class Sum>
void finish_sums(const Requant& q, const FinishTask& task) {
  for (int r = 0; r < task.rows; ++r) {
    const Sum* sums =
        static_cast<const Sum*>(task.tile) + static_cast<std::size_t>(r) * task.tile_stride;
    for (int i = 0; i < task.count; ++i) {
      const std::size_t c = task.channel + static_cast<std::size_t>(i);
      store(q.type, requantize(q, sums[i], c), task.out[r], c);
    }
  }
}

float scaled(FloatScale how, float sum, float s, float w, float bias) {
  switch (how) {
    case FloatScale::kNone:
      return sum + bias;
    case FloatScale::kClamp:
      return sum;
    case FloatScale::kProduct:
      return sum * (s * w) + bias;
    case FloatScale::kWeightFirst:
      return sum * w * s + bias;
    case FloatScale::kInputFirst:
      return sum * s * w + bias;
    case FloatScale::kFused:
      return std::fma(sum * s, w, bias);
    case FloatScale::kPlusSeven:
      break;
  }
  return 0;
}

bool range(const float* in, std::size_t n, float* low, float* high) {
  float lo = 0, hi = 0;
  std::uint32_t odd = 0;
  for (std::size_t i = 0; i < n; ++i) {
    lo = in[i] < lo ? in[i] : lo;
    hi = in[i] > hi ? in[i] : hi;
    odd |= std::bit_cast<std::uint32_t>(in[i] - in[i]);  // 0, and NaN for NaN and infinities
  }
  *low = lo;
  *high = hi;
  return odd == 0;
}

std::int32_t code_of(float value, const RowCode& code) {
  const float v = value * code.inverse;
  const std::int32_t q = wrap_add(code.ties_even ? round_even(v) : round_away(v), code.zero_point);
  return std::clamp(q, code.low, 127);
}

void quantize_row(const float* in, std::size_t n, const RowCode& code, std::int16_t* out) {
  for (std::size_t i = 0; i < n; ++i)
    out[i] = static_cast<std::int16_t>(code_of(in[i], code) - code.zero_point);
}

void quantize_quads(const float* in, std::size_t n, const RowCode& code, std::int32_t bias,
                    std::byte* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::byte>(code_of(in[i], code) + bias);
}

GemmKernels make_generic() {
  GemmKernels k;
  k.name = "generic";
  k.mr = k.mr_float = kMr;
  k.nr = k.nr_float = kNr;
  k.pairs8 = {pairs<1, std::int8_t>, pairs<2, std::int8_t>, pairs<3, std::int8_t>,
              pairs<4, std::int8_t>};
  k.pairs16 = {pairs<1, std::int16_t>, pairs<2, std::int16_t>, pairs<3, std::int16_t>,
               pairs<4, std::int16_t>};
  k.plain = {floats<1, false>, floats<2, false>, floats<3, false>, floats<4, false>};
  k.fused = {floats<1, true>, floats<2, true>, floats<3, true>, floats<4, true>};
  k.plain_row = float_row<false>;
  k.fused_row = float_row<true>;
  k.depthwise = depthwise;
  k.depthwise_fused = depthwise_float<true>;
  k.depthwise_plain = depthwise_float<false>;
  k.finish = finish_plain;
  k.finish_float = finish_float_plain;
  k.range = range;
  k.quantize = quantize_row;
  k.quantize_quads = quantize_quads;
  k.widen_i8 = widen<std::int8_t>;
  k.widen_u8 = widen<std::uint8_t>;
  return k;
}

}  // namespace

void finish_plain(const Requant& q, const FinishTask& task) { finish_sums<std::int32_t>(q, task); }
void finish_plain64(const Requant& q, const FinishTask& task) {
  finish_sums<std::int64_t>(q, task);
}

// The optimized 4-bit FULLY_CONNECTED (docs/numerics.md, section 4.5).
float plus_seven(std::int32_t sum, std::int32_t row_sum, float s, float w, float bias) {
  const float first = static_cast<float>(-7 * row_sum) * s * w + bias;
  return first + static_cast<float>(sum + 7 * row_sum) * s * w;
}

void finish_float_plain(const FloatFinish& f, const FinishTask& task) {
  for (int r = 0; r < task.rows; ++r) {
    const std::size_t base = static_cast<std::size_t>(r) * task.tile_stride;
    for (int i = 0; i < task.count; ++i) {
      const std::size_t c = task.channel + static_cast<std::size_t>(i);
      const FloatScale how = c < f.split ? f.scale : f.tail;
      const float sum =
          how == FloatScale::kNone || how == FloatScale::kClamp
              ? static_cast<const float*>(task.tile)[base + static_cast<std::size_t>(i)]
              : static_cast<float>(static_cast<const std::int32_t*>(
                    task.tile)[base + static_cast<std::size_t>(i)]);
      const float s = task.row_scale != nullptr ? task.row_scale[r] : 0.0f;
      const float w = f.weight_scale == nullptr ? 0.0f : f.weight_scale[c];
      float v =
          how == FloatScale::kPlusSeven
              ? plus_seven(
                    static_cast<const std::int32_t*>(task.tile)[base + static_cast<std::size_t>(i)],
                    task.row_sum[r], s, w, f.bias[c])
              : scaled(how, sum, s, w, f.bias[c]);
      v = c < f.low_for_nan && std::isnan(v) ? f.low : clamped(v, f.low, f.high);
      std::memcpy(task.out[r] + 4 * c, &v, sizeof v);
    }
  }
}

const GemmKernels& gemm_generic() {
  static const GemmKernels kernels = make_generic();
  return kernels;
}

const GemmKernels& gemm_best() {
  if (const GemmKernels* k = gemm_amx()) return *k;
  if (const GemmKernels* k = gemm_avx512()) return *k;
  if (const GemmKernels* k = gemm_avx2()) return *k;
  if (const GemmKernels* k = gemm_neon_dot()) return *k;
  if (const GemmKernels* k = gemm_neon()) return *k;
  return gemm_generic();
}

}  // namespace litegap
