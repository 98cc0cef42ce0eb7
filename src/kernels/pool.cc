// AVERAGE_POOL_2D, MAX_POOL_2D, L2_POOL_2D, LOCAL_RESPONSE_NORMALIZATION over NHWC
// (docs/numerics.md, sections 2.1 and 2.9).
//
// Cells outside of the image do not take part: an average divides by the number of cells inside.
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/arithmetic_ops.h"
#include "kernels/fused_bounds.h"
#include "kernels/geometry.h"
#include "kernels/vectors.h"

namespace litegap {
namespace {

struct Window {
  std::int64_t batch = 0, in_h = 0, in_w = 0, channels = 0, out_h = 0, out_w = 0;
  std::int64_t stride_h = 1, stride_w = 1, height = 1, width = 1, pad_h = 0, pad_w = 0;
};

void expect_window(const OpSpec& spec, const PoolAttrs& a) {
  constexpr std::int32_t kMost = 65536;
  for (const std::int32_t v : {a.stride_h, a.stride_w, a.filter_h, a.filter_w}) {
    if (v >= 1 && v <= kMost) continue;
    refuse(spec, "window {}x{} with stride {}x{}", a.filter_h, a.filter_w, a.stride_h, a.stride_w);
  }
}

Window prepare_window(OpSpec& spec) {
  const DType t = prepare_same(spec);
  const PoolAttrs& a = attrs_of<PoolAttrs>(spec);
  const Shape& x = spec.inputs[0].shape;
  if (x.size() != 4) refuse(spec, "input of shape {}, expected 4 axes", shape_text(x));
  expect_window(spec, a);
  const Extent h = window_extent(x[1], a.filter_h, a.stride_h, 1, a.padding);
  const Extent w = window_extent(x[2], a.filter_w, a.stride_w, 1, a.padding);
  if (h.out < 1 || w.out < 1) {
    refuse(spec, "window {}x{} does not fit an input of shape {}", a.filter_h, a.filter_w,
           shape_text(x));
  }
  if (is_code_type(t)) {
    const ScaleZero in = scale_zero(spec, spec.inputs[0]), out = scale_zero(spec, spec.outputs[0]);
    if (std::fabs(in.scale - out.scale) > 1e-6f || in.zero != out.zero) {
      refuse(spec, "input scale {} and zero point {} differ from the output's {} and {}", in.scale,
             in.zero, out.scale, out.zero);
    }
  }
  spec.outputs[0].shape = {x[0], static_cast<std::int32_t>(h.out), static_cast<std::int32_t>(w.out),
                           x[3]};
  return {x[0],       x[1],       x[2],       x[3],       h.out,        w.out,
          a.stride_h, a.stride_w, a.filter_h, a.filter_w, h.pad_before, w.pad_before};
}

// The part of the windows along one axis that is inside of the image.
struct Span {
  std::int64_t begin, end;
};
Span inside(std::int64_t at, std::int64_t stride, std::int64_t pad, std::int64_t window,
            std::int64_t in) {
  const std::int64_t first = at * stride - pad;
  return {std::max<std::int64_t>(first, 0), std::min(first + window, in)};
}

// The cells of one window that are inside of the image.
template <class T>
struct Cells {
  const T* first;  // of the first channel
  std::int64_t rows, columns, row_step, channels;
};

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors of 32 bytes are arguments of inlined code only
#endif
// Neighbouring channels, as many as there are in so many bytes.
template <class T, int kBytes>
struct Neighbours {
  typedef T Type __attribute__((vector_size(kBytes)));
};

// step(accumulator, value) over the cells of a window, then finish(accumulator, cells), for kBlock
// neighbouring channels (in values of type V, which lie where T's do), whose accumulators stay in
// registers.  kSide: of a window of so many rows and columns; 0: of any.
template <int kBlock, class V, int kSide = 0, class T, class Acc, class Step, class Finish>
inline void pool_channels(const Cells<T>& cells, std::int64_t n, const Acc& start, Step step,
                          Finish finish, T* out) {
  Acc acc[kBlock];
#pragma GCC unroll 8
  for (int i = 0; i < kBlock; ++i) acc[i] = start;
  const T* row = cells.first;
  const std::int64_t rows = kSide > 0 ? kSide : cells.rows,
                     columns = kSide > 0 ? kSide : cells.columns;
  for (std::int64_t r = 0; r < rows; ++r, row += cells.row_step) {
    const T* p = row;
    for (std::int64_t k = 0; k < columns; ++k, p += cells.channels) {
#pragma GCC unroll 8
      for (int i = 0; i < kBlock; ++i) {
        V v;
        std::memcpy(&v, p + i * (sizeof(V) / sizeof(T)), sizeof v);
        acc[i] = step(acc[i], v);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kBlock; ++i) {
    if constexpr (std::is_same_v<V, T>) {
      out[i] = static_cast<T>(finish(acc[i], n));
    } else {
      const V v = finish(acc[i], n);
      std::memcpy(out + i * static_cast<int>(sizeof(V) / sizeof(T)), &v, sizeof v);
    }
  }
}

// one(cells, output) for every window.
template <class T, class One>
inline void for_windows(const Window& w, const T* in, T* out, One one) {
  const std::int64_t c = w.channels;
  for (std::int64_t b = 0; b < w.batch; ++b, in += w.in_h * w.in_w * c) {
    for (std::int64_t y = 0; y < w.out_h; ++y) {
      const Span rows = inside(y, w.stride_h, w.pad_h, w.height, w.in_h);
      for (std::int64_t x = 0; x < w.out_w; ++x, out += c) {
        const Span columns = inside(x, w.stride_w, w.pad_w, w.width, w.in_w);
        one(Cells<T>{in + (rows.begin * w.in_w + columns.begin) * c,
                     std::max<std::int64_t>(0, rows.end - rows.begin),
                     std::max<std::int64_t>(0, columns.end - columns.begin), w.in_w * c, c},
            out);
      }
    }
  }
}

template <class T, class Acc, class Step, class Finish>
void pool(const Window& w, const T* in, T* out, Acc start, Step step, Finish finish) {
  const std::int64_t c = w.channels;
  for_windows(w, in, out, [&](Cells<T> cells, T* to) {
    const std::int64_t n = std::max<std::int64_t>(1, cells.rows * cells.columns);
    std::int64_t i = 0;
    const std::int64_t square = cells.rows == cells.columns ? cells.rows : 0;
    using Wide = typename Neighbours<T, 32>::Type;
    using Narrow = typename Neighbours<T, 16>::Type;
    if constexpr (std::is_invocable_v<Finish, Wide, std::int64_t>) {
      const auto pass = [&](auto vectors, auto type) {
        using V = typename decltype(type)::type;
        constexpr std::int64_t kMany = vectors() * sizeof(V) / sizeof(T);
        for (; i + kMany <= c; i += kMany, cells.first += kMany) {
          if (square == 2)
            pool_channels<vectors(), V, 2>(cells, n, V{} + start, step, finish, to + i);
          else if (square == 3)
            pool_channels<vectors(), V, 3>(cells, n, V{} + start, step, finish, to + i);
          else
            pool_channels<vectors(), V>(cells, n, V{} + start, step, finish, to + i);
        }
      };
      pass(std::integral_constant<int, 8>{}, std::type_identity<Wide>{});
      pass(std::integral_constant<int, 2>{}, std::type_identity<Wide>{});
      pass(std::integral_constant<int, 1>{}, std::type_identity<Wide>{});
      pass(std::integral_constant<int, 1>{}, std::type_identity<Narrow>{});
    } else {
      for (; i + 16 <= c; i += 16, cells.first += 16)
        pool_channels<16, T>(cells, n, start, step, finish, to + i);
    }
    for (; i < c; ++i, ++cells.first) pool_channels<1, T>(cells, n, start, step, finish, to + i);
  });
}

template <class T, class Acc, class Step, class Finish>
std::unique_ptr<Kernel> pool_kernel(const Window& w, Acc start, Step step, Finish finish) {
  return make_kernel([=](const Io& io) {
    with_vectors([&] {
      pool(w, static_cast<const T*>(io.inputs[0]), static_cast<T*>(io.outputs[0]), start, step,
           finish);
    });
  });
}

// XNNPACK takes float nodes and 8-bit maxima, with the activations it knows.
bool xnn_takes(const OpSpec& spec) {
  const PoolAttrs& a = attrs_of<PoolAttrs>(spec);
  return spec.dialect == Dialect::kXnnpack && a.activation <= Activation::kRelu6 &&
         spec.inputs[0].dtype != DType::kInt16 && a.stride_h <= a.filter_h &&
         a.stride_w <= a.filter_w;
}

// Without an activation the reference and built-in kernels clamp to the finite numbers.
RealBounds<float> bounds_of(const OpSpec& spec) {
  const Activation activation = fused_activation(spec.op->attrs);
  RealBounds<float> r = real_bounds<float>(activation);
  if (!xnn_takes(spec)) return r;
  if (!r.set) r.low = -std::numeric_limits<float>::infinity();
  if (!r.set || activation == Activation::kRelu) r.high = std::numeric_limits<float>::infinity();
  return r;
}

template <class V>
V bounded(const V& value, RealBounds<float> r) {
  const V low = V{} + r.low, high = V{} + r.high;
  const V v = value < low ? low : value;
  return v > high ? high : v;
}

// Means of codes, ties away from zero.  A quotient of numbers below 2^23 by one below 2^17 is never
// rounded up to a whole number in float32.
struct Mean {
  bool by_float;
  Range32 range;
  std::int32_t n = 1, half = 0;
  float divisor = 1;

  void of(std::int64_t cells) {
    n = static_cast<std::int32_t>(std::max<std::int64_t>(1, cells));
    half = n / 2;
    divisor = static_cast<float>(n);
  }
  template <bool kByFloat>
  std::int32_t code(std::int32_t sum) const {
    const std::int32_t s = sum > 0 ? sum + half : sum - half;
    const std::int32_t q =
        kByFloat ? static_cast<std::int32_t>(static_cast<float>(s) / divisor) : s / n;
    return std::min(std::max(q, range.low), range.high);
  }
};

// So many neighbouring channels: loops of a length that the compiler knows become vector code,
// where it does not write them out before.
template <int kChannels, int kSide = 0, class T>
inline void average_channels(const Cells<T>& cells, const Mean mean, T* out) {
  std::int32_t sums[kChannels];
  const T* row = cells.first;
  if constexpr (kSide == 2) {
    const T *a = row, *b = a + cells.channels, *c = a + cells.row_step, *d = c + cells.channels;
#pragma GCC unroll 1
    for (int i = 0; i < kChannels; ++i) sums[i] = a[i] + b[i] + c[i] + d[i];
  } else {
#pragma GCC unroll 1
    for (int i = 0; i < kChannels; ++i) sums[i] = 0;
    for (std::int64_t y = 0; y < cells.rows; ++y, row += cells.row_step) {
      const T* p = row;
      for (std::int64_t x = 0; x < cells.columns; ++x, p += cells.channels) {
#pragma GCC unroll 1
        for (int i = 0; i < kChannels; ++i) sums[i] += p[i];
      }
    }
  }
  if (mean.by_float) {
#pragma GCC unroll 1
    for (int i = 0; i < kChannels; ++i) out[i] = static_cast<T>(mean.code<true>(sums[i]));
  } else {
#pragma GCC unroll 1
    for (int i = 0; i < kChannels; ++i) out[i] = static_cast<T>(mean.code<false>(sums[i]));
  }
}

// All channels of a window: the last step goes back over channels that are done.
template <int kSide, class T>
inline void average_window(const Cells<T>& cells, const Mean& mean, T* out) {
  const std::int64_t c = cells.channels;
  std::int64_t i = 0;
  const auto pass = [&](auto channels) {
    constexpr int kMany = channels();
    const auto one = [&](std::int64_t at) {
      Cells<T> some = cells;
      some.first += at;
      average_channels<kMany, kSide>(some, mean, out + at);
    };
    for (; i + kMany <= c; i += kMany) one(i);
    if (kMany == 32 || i == c || c < kMany) return;
    one(c - kMany);
    i = c;
  };
  pass(std::integral_constant<int, 32>{});
  pass(std::integral_constant<int, 16>{});
  pass(std::integral_constant<int, 8>{});
  pass(std::integral_constant<int, 4>{});
  pass(std::integral_constant<int, 1>{});
}

template <class T>
std::unique_ptr<Kernel> average_codes(const Window& w, Range32 r) {
  constexpr std::int64_t kLargest = std::max<std::int64_t>(
      std::numeric_limits<T>::max(), -std::int64_t{std::numeric_limits<T>::min()});
  const bool by_float = (kLargest + 1) * w.height * w.width < 1 << 23;
  return make_kernel([=](const Io& io) {
    with_vectors([&] {
      Mean mean{by_float, r};
      for_windows(w, static_cast<const T*>(io.inputs[0]), static_cast<T*>(io.outputs[0]),
                  [&](const Cells<T>& cells, T* out) {
                    mean.of(cells.rows * cells.columns);
                    if (cells.rows == 2 && cells.columns == 2)
                      average_window<2>(cells, mean, out);
                    else
                      average_window<0>(cells, mean, out);
                  });
    });
  });
}

std::unique_ptr<Kernel> prepare_average_pool(OpSpec& spec) {
  const Window w = prepare_window(spec);
  const DType t = spec.inputs[0].dtype;
  if (t == DType::kFloat32) {
    return pool_kernel<float>(
        w, 0.0f, [](const auto& a, const auto& v) { return a + v; },
        [r = bounds_of(spec)](const auto& s, std::int64_t n) {
          return bounded(s / static_cast<float>(n), r);
        });
  }
  if (!is_code_type(t)) refuse_type(spec);
  if (w.height * w.width > 1 << 16) {
    refuse(spec, "window {}x{} is too large for 32-bit sums", w.height, w.width);
  }
  const Range32 r = code_bounds(spec, scale_zero(spec, spec.outputs[0]));
  if (t == DType::kInt8) return average_codes<std::int8_t>(w, r);
  if (t == DType::kUint8) return average_codes<std::uint8_t>(w, r);
  return average_codes<std::int16_t>(w, r);
}

template <class T>
std::unique_ptr<Kernel> max_codes(const Window& w, Range32 r) {
  const T low = static_cast<T>(r.low), high = static_cast<T>(r.high);
  return pool_kernel<T>(
      w, std::numeric_limits<T>::lowest(),
      [](const auto& a, const auto& v) { return a < v ? v : a; },
      [low, high](const auto& most, std::int64_t) {
        using V = std::remove_cvref_t<decltype(most)>;
        const V ends_low = static_cast<V>(V{} + low), ends_high = static_cast<V>(V{} + high);
        const V m = static_cast<V>(most < ends_low ? ends_low : most);
        return static_cast<V>(m > ends_high ? ends_high : m);
      });
}

std::unique_ptr<Kernel> prepare_max_pool(OpSpec& spec) {
  const Window w = prepare_window(spec);
  const DType t = spec.inputs[0].dtype;
  if (t == DType::kFloat32) {
    const float least = xnn_takes(spec) ? -std::numeric_limits<float>::infinity()
                                        : std::numeric_limits<float>::lowest();
    return pool_kernel<float>(
        w, least, [](const auto& a, const auto& v) { return a < v ? v : a; },
        [r = bounds_of(spec)](const auto& m, std::int64_t) { return bounded(m, r); });
  }
  if (!is_code_type(t)) refuse_type(spec);
  const ScaleZero y = scale_zero(spec, spec.outputs[0]);
  const Range32 r = xnn_takes(spec) ? xnn_code_bounds(spec, y) : code_bounds(spec, y);
  if (t == DType::kInt8) return max_codes<std::int8_t>(w, r);
  if (t == DType::kUint8) return max_codes<std::uint8_t>(w, r);
  return max_codes<std::int16_t>(w, r);
}

// The root of the mean of squares.
std::unique_ptr<Kernel> prepare_l2_pool(OpSpec& spec) {
  const Window w = prepare_window(spec);
  if (spec.inputs[0].dtype != DType::kFloat32) refuse_type(spec);
  const RealBounds<float> r = real_bounds<float>(fused_activation(spec.op->attrs));
  return pool_kernel<float>(
      w, 0.0f, [](float a, float v) { return a + v * v; },
      [r](float s, std::int64_t n) { return bounded(std::sqrt(s / static_cast<float>(n)), r); });
}

// ---- LOCAL_RESPONSE_NORMALIZATION: x (bias + alpha * sum of the neighbours' squares)^-beta along
// the channels.  The reference kernel leaves the last neighbour out.
std::unique_ptr<Kernel> prepare_local_response(OpSpec& spec) {
  const auto& a = attrs_of<LocalResponseNormAttrs>(spec);
  if (prepare_same(spec) != DType::kFloat32) refuse_type(spec);
  const Shape& x = spec.inputs[0].shape;
  if (x.size() != 4) refuse(spec, "input of shape {}, expected 4 axes", shape_text(x));
  if (a.radius < 0) refuse(spec, "a radius of {}", a.radius);
  const std::int64_t channels = x[3], rows = std::int64_t{x[0]} * x[1] * x[2];
  const std::int64_t after = spec.dialect == Dialect::kReference ? 0 : 1;
  return make_kernel([=](const Io& io) {
    const auto* in = static_cast<const float*>(io.inputs[0]);
    auto* out = static_cast<float*>(io.outputs[0]);
    for (std::int64_t row = 0; row < rows; ++row, in += channels, out += channels) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const std::int64_t begin = std::max<std::int64_t>(0, c - a.radius),
                           end = std::min(channels, c + a.radius + after);
        float squares = 0;
        for (std::int64_t k = begin; k < end; ++k) squares += in[k] * in[k];
        out[c] = in[c] * std::pow(a.bias + a.alpha * squares, -a.beta);
      }
    }
  });
}

constexpr KernelRow kRows[] = {
    {OpCode::kAveragePool2d, prepare_average_pool, "float32 int8 uint8 int16"},
    {OpCode::kMaxPool2d, prepare_max_pool, "float32 int8 uint8 int16"},
    {OpCode::kL2Pool2d, prepare_l2_pool, "float32"},
    {OpCode::kLocalResponseNormalization, prepare_local_response, "float32"}};

}  // namespace

std::span<const KernelRow> pool_kernel_rows() { return kRows; }

}  // namespace litegap
