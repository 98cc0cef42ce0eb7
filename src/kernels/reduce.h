// Reductions over axes: which input element goes to which output element.
//
// Neighbouring axes of one kind are one axis, so that the last one is a run of elements that all go
// to one output, or a row that goes to a row of outputs.  Elements are visited in memory order: a
// float sum is that of the runtime.
#pragma once
#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "kernels/kernel.h"
#include "kernels/vectors.h"

namespace litegap {

struct Reduction {
  static constexpr std::size_t kMaxRank = 8;
  struct Axis {
    std::size_t size = 1, stride = 0;  // of the output; 0 where the axis is reduced
  };
  std::array<Axis, kMaxRank> outer{};  // slowest first
  std::size_t outer_rank = 0;
  Axis inner;
  std::size_t inputs = 1, outputs = 1, count = 1;  // count: inputs of one output
  bool image_mean = false;                         // 4-D, axes {1, 2}, keep_dims
  bool last = false;                               // the last axis is reduced, whatever its size
  std::size_t channels = 1;                        // size of the last axis
};

// Reads the axes and sets the output's shape.
Reduction prepare_reduction(OpSpec& spec);

// Rows of n inputs, one below the other, to a row of n outputs: some columns at a time, whose
// accumulators stay near.
template <class T, class Acc, class Step>
void accumulate_rows(const T* in, std::size_t rows, std::size_t n, Acc* acc, Step step) {
  constexpr std::size_t kColumns = 32;
  std::size_t k = 0;
  for (; k + kColumns <= n; k += kColumns) {
    Acc a[kColumns];
    for (std::size_t i = 0; i < kColumns; ++i) a[i] = acc[k + i];
    const T* from = in + k;
    for (std::size_t r = 0; r < rows; ++r, from += n) {
      for (std::size_t i = 0; i < kColumns; ++i) a[i] = step(a[i], from[i]);
    }
    for (std::size_t i = 0; i < kColumns; ++i) acc[k + i] = a[i];
  }
  for (; k < n; ++k) {
    Acc a = acc[k];
    for (std::size_t r = 0; r < rows; ++r) a = step(a, in[r * n + k]);
    acc[k] = a;
  }
}

// The step of a sum of codes, which wraps.
struct AddUp {
  template <class T>
  std::int32_t operator()(std::int32_t a, T v) const {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(v));
  }
};
// Bytes add up in words of 16 bits, as many rows as these can hold, two neighbours to a word: of
// words 256 b + a their sum and that of b are enough.  Some vectors of columns at a time, from
// column k on; the column behind them.
template <std::size_t vectors, class T>
std::size_t add_columns(const T* in, std::size_t rows, std::size_t n, std::size_t k,
                        std::int32_t* acc) {
  typedef std::uint16_t Words __attribute__((vector_size(32)));
  typedef std::uint16_t Pairs __attribute__((vector_size(32), aligned(1), may_alias));
  constexpr std::size_t kRows = 128, kWords = 16 * vectors;
  constexpr std::uint16_t kFlip = T(-1) < T(0) ? 0x8080 : 0;  // codes of 0 to 255
  for (; k + 2 * kWords <= n; k += 2 * kWords) {
    const T* from = in + k;
    for (std::size_t first = 0; first < rows; first += kRows) {
      Words both[vectors] = {}, upper[vectors] = {};
      const std::size_t count = std::min(kRows, rows - first);
      for (std::size_t r = 0; r < count; ++r, from += n) {
#pragma GCC unroll 2
        for (std::size_t v = 0; v < vectors; ++v) {
          const Words w = *reinterpret_cast<const Pairs*>(from + 32 * v) ^ kFlip;
          both[v] += w;
          upper[v] += w >> 8;
        }
      }
      const std::int32_t flipped = kFlip != 0 ? 128 * static_cast<std::int32_t>(count) : 0;
      for (std::size_t i = 0; i < kWords; ++i) {
        const std::uint16_t b = upper[i / 16][i % 16];
        const auto a = static_cast<std::uint16_t>(both[i / 16][i % 16] - (b << 8));
        acc[k + 2 * i] = AddUp{}(acc[k + 2 * i], a - flipped);
        acc[k + 2 * i + 1] = AddUp{}(acc[k + 2 * i + 1], b - flipped);
      }
    }
  }
  return k;
}
template <class T>
requires(sizeof(T) == 1) void accumulate_rows(const T* in, std::size_t rows, std::size_t n,
                                              std::int32_t* acc, AddUp step) {
  std::size_t k = add_columns<2>(in, rows, n, 0, acc);
  k = add_columns<1>(in, rows, n, k, acc);
  for (; k < n; ++k) {
    for (std::size_t r = 0; r < rows; ++r) acc[k] = step(acc[k], in[r * n + k]);
  }
}

// The step of REDUCE_MAX or REDUCE_MIN; a NaN loses.
template <bool largest>
struct Extreme {
  template <class T>
  T operator()(T a, T v) const {
    if constexpr (largest)
      return v > a ? v : a;
    else
      return v < a ? v : a;
  }
};
// 32 bytes of elements at any address.  Written out, as the compiler leaves such accumulators in
// memory.
template <class T>
struct Lanes32 {
  typedef T Type __attribute__((vector_size(32), aligned(alignof(T)), may_alias));
  static constexpr std::size_t kCount = 32 / sizeof(T);
  // *a = step(*a, *v), written out: a function of such vectors would take them for aligned ones.
  template <bool largest>
  static void take(Type* a, const Type* v) {
    if constexpr (largest)
      *a = *v > *a ? *v : *a;
    else
      *a = *v < *a ? *v : *a;
  }
};
// As many columns as whole groups of `vectors` are, from column k on; the column behind them.
template <std::size_t vectors, bool largest, class T>
std::size_t extreme_columns(const T* in, std::size_t rows, std::size_t n, std::size_t k, T* acc) {
  using Lanes = typename Lanes32<T>::Type;
  constexpr std::size_t kLanes = Lanes32<T>::kCount;
  const auto at = [](const T* p, std::size_t v) {
    return reinterpret_cast<const Lanes*>(p + v * kLanes);
  };
  for (; k + vectors * kLanes <= n; k += vectors * kLanes) {
    Lanes a[vectors];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < vectors; ++v) a[v] = *at(acc + k, v);
    const T* from = in + k;
    for (std::size_t r = 0; r < rows; ++r, from += n) {
#pragma GCC unroll 4
      for (std::size_t v = 0; v < vectors; ++v)
        Lanes32<T>::template take<largest>(a + v, at(from, v));
    }
#pragma GCC unroll 4
    for (std::size_t v = 0; v < vectors; ++v)
      *reinterpret_cast<Lanes*>(acc + k + v * kLanes) = a[v];
  }
  return k;
}
template <class T, bool largest>
void accumulate_rows(const T* in, std::size_t rows, std::size_t n, T* acc, Extreme<largest> step) {
  std::size_t k = extreme_columns<4, largest>(in, rows, n, 0, acc);
  k = extreme_columns<2, largest>(in, rows, n, k, acc);
  k = extreme_columns<1, largest>(in, rows, n, k, acc);
  for (; k < n; ++k) {
    for (std::size_t r = 0; r < rows; ++r) acc[k] = step(acc[k], in[r * n + k]);
  }
}

// Rows of n inputs, each to one output: of floats several at a time, as each is a chain of steps
// that wait for each other.
template <class T, class Acc, class Step>
void accumulate_lines(const T* in, std::size_t rows, std::size_t n, Acc* acc, Step step) {
  constexpr std::size_t kLines = 8;
  std::size_t r = 0;
  if constexpr (std::is_floating_point_v<T>) {
    for (; r + kLines <= rows; r += kLines) {
      Acc a[kLines];
      const T* from = in + r * n;
      for (std::size_t i = 0; i < kLines; ++i) a[i] = acc[r + i];
      for (std::size_t k = 0; k < n; ++k) {
        for (std::size_t i = 0; i < kLines; ++i) a[i] = step(a[i], from[i * n + k]);
      }
      for (std::size_t i = 0; i < kLines; ++i) acc[r + i] = a[i];
    }
  }
  for (; r < rows; ++r) {
    Acc a = acc[r];
    const T* from = in + r * n;
    for (std::size_t k = 0; k < n; ++k) a = step(a, from[k]);
    acc[r] = a;
  }
}

// The sum of `vectors` times 32 bytes, at most 128 times; of int8 with 128 added to each.
template <class T>
std::uint32_t sum_of_bytes(const T* in, std::size_t vectors) {
  typedef std::uint16_t Words __attribute__((vector_size(32)));
  typedef std::uint16_t Pairs __attribute__((vector_size(32), aligned(1), may_alias));
  typedef std::uint32_t Sums __attribute__((vector_size(32)));
  constexpr std::uint16_t kFlip = T(-1) < T(0) ? 0x8080 : 0;
  Words total = {};
  for (std::size_t v = 0; v < vectors; ++v) {
    const Words w = *reinterpret_cast<const Pairs*>(in + 32 * v) ^ kFlip;
    total += (w & 0xff) + (w >> 8);
  }
  Sums words;
  std::memcpy(&words, &total, sizeof words);
  const Sums sums = (words & 0xffff) + (words >> 16);
  std::uint32_t half[4];
  for (int i = 0; i < 4; ++i) half[i] = sums[i] + sums[i + 4];
  return (half[0] + half[2]) + (half[1] + half[3]);
}
template <class T>
requires(sizeof(T) == 1) void accumulate_lines(const T* in, std::size_t rows, std::size_t n,
                                               std::int32_t* acc, AddUp step) {
  constexpr std::size_t kMost = 128;
  for (std::size_t r = 0; r < rows; ++r, in += n) {
    std::int32_t a = acc[r];
    std::size_t k = 0;
    for (std::size_t left = n / 32; left > 0;) {
      const std::size_t vectors = std::min(left, kMost);
      const auto flipped = static_cast<std::uint32_t>(T(-1) < T(0) ? 128 * 32 * vectors : 0);
      a = step(a, static_cast<std::int32_t>(sum_of_bytes(in + k, vectors) - flipped));
      k += 32 * vectors;
      left -= vectors;
    }
    for (; k < n; ++k) a = step(a, in[k]);
    acc[r] = a;
  }
}

// Floats in lanes.  Among zeros of both signs the first is the extreme one, which lanes lose.
template <bool largest>
void accumulate_lines(const float* in, std::size_t rows, std::size_t n, float* acc,
                      Extreme<largest> step) {
  using Lanes = Lanes32<float>::Type;
  for (std::size_t r = 0; r < rows; ++r, in += n) {
    const float before = acc[r];
    float a = before;
    std::size_t k = 0;
    if (n >= 8) {
      Lanes lanes = Lanes{} + before;
      for (; k + 8 <= n; k += 8)
        Lanes32<float>::take<largest>(&lanes, reinterpret_cast<const Lanes*>(in + k));
      float half[4];
      for (int i = 0; i < 4; ++i) half[i] = step(float{lanes[i]}, float{lanes[i + 4]});
      a = step(step(half[0], half[1]), step(half[2], half[3]));
    }
    for (; k < n; ++k) a = step(a, in[k]);
    if (a == 0.0f && before != 0.0f) a = *std::find(in, in + n, 0.0f);
    acc[r] = a;
  }
}

// XNNPACK's sum of a line of floats on AVX2: four sums of eight lanes over blocks of 32, a vector
// that is left to each of the first three, joined as (0 + 2) + (1 + 3); then the last n mod 8
// elements, a lane each, and the lanes in halves.
inline float line_sum(const float* in, std::size_t n) {
  using Lanes = Lanes32<float>::Type;
  const auto at = [in](std::size_t i) { return reinterpret_cast<const Lanes*>(in + i); };
  Lanes a{}, b{}, c{}, d{};
  std::size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    a += *at(i);
    b += *at(i + 8);
    c += *at(i + 16);
    d += *at(i + 24);
  }
  if (i + 8 <= n) a += *at(i);
  if (i + 16 <= n) b += *at(i + 8);
  if (i + 24 <= n) c += *at(i + 16);
  i = n / 8 * 8;
  a = (a + c) + (b + d);
  for (int k = 0; i < n; ++i, ++k) a[k] += in[i];
  float half[4];
  for (int k = 0; k < 4; ++k) half[k] = a[k] + a[k + 4];
  return (half[0] + half[2]) + (half[1] + half[3]);
}
// The step of XNNPACK's sums and means: of a line so, of rows that follow each other one after
// another from 0 on; that times the scale is added to the output.
struct LaneSum {
  float scale = 1;
};
inline void accumulate_lines(const float* in, std::size_t rows, std::size_t n, float* acc,
                             LaneSum step) {
  for (std::size_t r = 0; r < rows; ++r) acc[r] += line_sum(in + r * n, n) * step.scale;
}
inline void accumulate_rows(const float* in, std::size_t rows, std::size_t n, float* acc,
                            LaneSum step) {
  const float scale = step.scale;
  constexpr std::size_t kColumns = 32;
  std::size_t k = 0;
  for (; k + kColumns <= n; k += kColumns) {
    float a[kColumns] = {};
    const float* from = in + k;
    for (std::size_t r = 0; r < rows; ++r, from += n) {
      for (std::size_t i = 0; i < kColumns; ++i) a[i] += from[i];
    }
    for (std::size_t i = 0; i < kColumns; ++i) acc[k + i] += a[i] * scale;
  }
  for (; k < n; ++k) {
    float a = 0;
    for (std::size_t r = 0; r < rows; ++r) a += in[r * n + k];
    acc[k] += a * scale;
  }
}

// acc[output] = step(acc[output], input) for each input.
template <class T, class Acc, class Step>
void accumulate(const Reduction& r, const T* in, Acc* acc, Step step) {
  if (r.inputs == 0) return;
  std::array<std::size_t, Reduction::kMaxRank> at{};
  const std::size_t n = r.inner.size;
  // Neighbouring axes differ in kind: the last two are a matrix, or there is only one.
  const std::size_t rank = r.outer_rank == 0 ? 0 : r.outer_rank - 1;
  const std::size_t rows = r.outer_rank == 0 ? 1 : r.outer[rank].size;
  std::size_t to = 0;
  for (;; in += rows * n) {
    if (r.inner.stride == 0)
      accumulate_lines(in, rows, n, acc + to, step);
    else
      accumulate_rows(in, rows, n, acc + to, step);
    std::size_t d = rank;
    for (; d > 0; --d) {
      const Reduction::Axis& axis = r.outer[d - 1];
      to += axis.stride;
      if (++at[d - 1] < axis.size) break;
      at[d - 1] = 0;
      to -= axis.stride * axis.size;
    }
    if (d == 0) return;
  }
}

// finish(accumulator, output index) makes the output.
template <class T, class Acc, class Step, class Finish>
std::unique_ptr<Kernel> reduce_kernel(const Reduction& r, Acc start, Step step, Finish finish) {
  return make_kernel(
      [=](const Io& io) {
        Acc* acc = reinterpret_cast<Acc*>(io.scratch);
        T* out = static_cast<T*>(io.outputs[0]);
        with_vectors([&] {
          std::fill_n(acc, r.outputs, start);
          accumulate(r, static_cast<const T*>(io.inputs[0]), acc, step);
          const Finish f = finish;  // a copy: stores could change what is behind a reference
          const Acc* sums = acc;
          T* to = out;
          for (std::size_t i = 0, n = r.outputs; i < n; ++i) to[i] = static_cast<T>(f(sums[i], i));
        });
      },
      r.outputs * sizeof(Acc));
}

}  // namespace litegap
