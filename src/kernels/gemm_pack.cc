#include "kernels/gemm_pack.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/gemm_spec.h"

namespace litegap {
namespace {

// A 32-bit sum holds this many products of int16 by int8: 508 * 2^15 * 2^7 < 2^31.
constexpr std::size_t kSafeProducts = 508;

std::vector<TapRun> find_runs(const Window& window, const Grid& grid, std::size_t inputs, bool wide,
                              bool apart) {
  std::vector<TapRun> runs;
  for (std::size_t t = 0; t < grid.taps.size(); ++t) {
    const bool next = t > 0 && window.groups == 1 && !apart &&
                      grid.taps[t].y == grid.taps[t - 1].y &&
                      grid.taps[t].x == grid.taps[t - 1].x + 1;
    if (next)
      runs.back().length += inputs;
    else
      runs.push_back({t, 0, inputs});
  }
  if (!wide) return runs;
  std::vector<TapRun> split;
  for (const TapRun& run : runs) {
    for (std::size_t first = 0; first < run.length; first += kSafeProducts) {
      split.push_back({run.tap, first, std::min(kSafeProducts, run.length - first)});
    }
  }
  return split;
}

std::vector<PackedGrid::Chunk> find_chunks(const PackedGrid& grid, std::size_t group_bytes,
                                           std::size_t per_group) {
  std::vector<PackedGrid::Chunk> chunks;
  std::size_t held = 0, byte = 0;
  for (std::size_t r = 0; r < grid.runs.size(); ++r) {
    const std::size_t groups = (grid.runs[r].length + per_group - 1) / per_group;
    if (chunks.empty() || held + grid.runs[r].length > kSafeProducts) {
      chunks.push_back({r, r, byte});
      held = 0;
    }
    chunks.back().end = r + 1;
    held += grid.runs[r].length;
    byte += groups * group_bytes;
  }
  return chunks;
}

// Weights of one output channel in the order of a run.
template <class T>
class RunReader {
 public:
  RunReader(const Window& window, const PackedLayout& layout, const Grid& grid, const TapRun& run,
            const T* weights)
      : window_(window), layout_(layout), grid_(grid), run_(run), weights_(weights) {
    // Neighbouring taps of [out, h, w, in] lie one behind the other.
    in_order_ = !window.channel_last_weights;
    const std::size_t taps = (run.first + run.length - 1) / layout.group_inputs;
    for (std::size_t t = 1; t <= taps; ++t)
      in_order_ = in_order_ && grid.taps[run.tap + t].source == grid.taps[run.tap].source + t;
  }
  // Calls put(i, value) for elements begin + i, i in [0, n).
  template <class Put>
  void read(std::size_t channel, std::size_t begin, std::size_t n, Put put) const {
    if (in_order_) {
      const T* from = weights_ + weight_index(window_, channel, grid_.taps[run_.tap].source, 0) +
                      run_.first + begin;
      for (std::size_t i = 0; i < n; ++i) put(i, from[i]);
      return;
    }
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t at = run_.first + begin + i;
      const std::size_t source = grid_.taps[run_.tap + at / layout_.group_inputs].source;
      put(i, weights_[weight_index(window_, channel, source, at % layout_.group_inputs)]);
    }
  }

 private:
  const Window& window_;
  const PackedLayout& layout_;
  const Grid& grid_;
  const TapRun& run_;
  const T* weights_;
  bool in_order_ = true;
};

constexpr std::size_t kPackGroups = 128;  // of a run, turned at once

// One channel's elements as the inner loops hold them.
template <class T>
void read_row(const RunReader<T>& reader, Element element, std::size_t channel, std::size_t begin,
              std::size_t n, std::int32_t zero, std::byte* out) {
  if constexpr (std::is_same_v<T, float>) {
    auto* to = reinterpret_cast<float*>(out);
    reader.read(channel, begin, n, [to](std::size_t i, float v) { to[i] = v; });
  } else if (element == Element::kPairs16) {
    auto* to = reinterpret_cast<std::int16_t*>(out);
    reader.read(channel, begin, n,
                [to, zero](std::size_t i, T v) { to[i] = static_cast<std::int16_t>(v - zero); });
  } else {
    auto* to = reinterpret_cast<std::int8_t*>(out);
    reader.read(channel, begin, n,
                [to, zero](std::size_t i, T v) { to[i] = static_cast<std::int8_t>(v - zero); });
  }
}

// Vectors of 16 bytes, and the first or last halves of two of them in turns.
typedef std::uint16_t Lanes16 __attribute__((vector_size(16)));
typedef std::uint32_t Lanes32 __attribute__((vector_size(16)));
Lanes16 first_halves(Lanes16 a, Lanes16 b) {
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}
Lanes16 last_halves(Lanes16 a, Lanes16 b) {
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}
Lanes32 first_halves(Lanes32 a, Lanes32 b) { return __builtin_shufflevector(a, b, 0, 4, 1, 5); }
Lanes32 last_halves(Lanes32 a, Lanes32 b) { return __builtin_shufflevector(a, b, 2, 6, 3, 7); }

// Turns a square of units: to[j][i] = from[i][j].  Each round puts row i and the row half a square
// further one into the other; after log2(rows) rounds every unit is where it belongs.
template <class V, std::size_t kSide>
void turn(const std::byte* from, std::size_t from_bytes, std::byte* to, std::size_t to_bytes) {
  V rows[kSide], next[kSide];
  for (std::size_t i = 0; i < kSide; ++i) std::memcpy(&rows[i], from + i * from_bytes, sizeof(V));
  for (std::size_t round = 1; round < kSide; round *= 2) {
    for (std::size_t i = 0; i < kSide / 2; ++i) {
      next[2 * i] = first_halves(rows[i], rows[i + kSide / 2]);
      next[2 * i + 1] = last_halves(rows[i], rows[i + kSide / 2]);
    }
    std::copy(next, next + kSide, rows);
  }
  for (std::size_t i = 0; i < kSide; ++i) std::memcpy(to + i * to_bytes, &rows[i], sizeof(V));
}

// rows[n][group] to out[group][n], in units of one group.
template <class Unit, class V>
void interleave(const std::byte* rows, std::size_t row_bytes, std::size_t groups, std::size_t nr,
                std::byte* out) {
  constexpr std::size_t kSide = sizeof(V) / sizeof(Unit);
  const std::size_t out_bytes = nr * sizeof(Unit);
  const std::size_t squares = nr % kSide == 0 ? groups / kSide * kSide : 0;
  for (std::size_t g = 0; g < squares; g += kSide) {
    for (std::size_t n = 0; n < nr; n += kSide) {
      turn<V, kSide>(rows + n * row_bytes + g * sizeof(Unit), row_bytes,
                     out + g * out_bytes + n * sizeof(Unit), out_bytes);
    }
  }
  for (std::size_t g = squares; g < groups; ++g) {
    for (std::size_t n = 0; n < nr; ++n) {
      std::memcpy(out + g * out_bytes + n * sizeof(Unit), rows + n * row_bytes + g * sizeof(Unit),
                  sizeof(Unit));
    }
  }
}

template <class T>
void pack_panel(const Window& window, const PackedLayout& layout, std::size_t g, std::size_t group,
                std::size_t panel, const T* weights, std::int32_t zero, std::byte* out) {
  alignas(64) std::byte rows[kMaxTileColumns * kPackGroups * 4];
  const std::size_t per = elements_per_group(layout.element), size = weight_bytes(layout.element);
  const auto nr = static_cast<std::size_t>(layout.nr);
  const std::size_t first = panel * nr, row_bytes = kPackGroups * per * size;
  const std::size_t real = std::min(nr, layout.group_channels - first);
  for (const TapRun& run : layout.grids[g].runs) {
    if (run.length == 0) continue;
    const RunReader<T> reader(window, layout, window.grids[g], run, weights);
    const std::size_t groups = (run.length + per - 1) / per;
    for (std::size_t at = 0; at < groups; at += kPackGroups) {
      const std::size_t count = std::min(kPackGroups, groups - at);
      const std::size_t elements = std::min(count * per, run.length - at * per);
      if (real < nr || elements < count * per) std::memset(rows, 0, nr * row_bytes);
      for (std::size_t n = 0; n < real; ++n) {
        read_row(reader, layout.element, group * layout.group_channels + first + n, at * per,
                 elements, zero, rows + n * row_bytes);
      }
      if (per * size == 4)
        interleave<std::uint32_t, Lanes32>(rows, row_bytes, count, nr, out);
      else
        interleave<std::uint16_t, Lanes16>(rows, row_bytes, count, nr, out);
      out += count * nr * per * size;
    }
  }
}

}  // namespace

std::size_t weight_index(const Window& window, std::size_t out, std::size_t source,
                         std::size_t in) {
  const auto out_c = static_cast<std::size_t>(window.out_c);
  const std::size_t inputs = static_cast<std::size_t>(window.in_c / window.groups);
  if (window.channel_last_weights) return (source * inputs + in) * out_c + out;
  return (out * window.source_taps + source) * inputs + in;
}

PackedLayout pack_layout(const Window& window, Element element, int nr, bool wide, bool apart,
                         std::size_t whole) {
  PackedLayout layout;
  layout.element = element;
  layout.nr = nr;
  layout.group_channels = static_cast<std::size_t>(window.out_c / window.groups);
  layout.group_inputs = static_cast<std::size_t>(window.in_c / window.groups);
  layout.panels =
      (layout.group_channels + static_cast<std::size_t>(nr) - 1) / static_cast<std::size_t>(nr);
  layout.padded_w = static_cast<std::size_t>(window.pad_left + window.in_w);
  for (const Grid& grid : window.grids) {
    for (const Tap& tap : grid.taps) {
      const std::int32_t end = (grid.width - 1) * window.step_x + tap.x + 1;
      layout.padded_w = std::max(layout.padded_w, static_cast<std::size_t>(std::max(end, 0)));
    }
  }
  const std::size_t per = elements_per_group(element), bytes = input_bytes(element);
  const std::size_t group_bytes = per * weight_bytes(element) * static_cast<std::size_t>(nr);
  for (const Grid& grid : window.grids) {
    PackedGrid packed;
    packed.runs = find_runs(window, grid, layout.group_inputs, wide, apart);
    packed.first_byte = layout.bytes;
    for (std::size_t g = 0; g < static_cast<std::size_t>(window.groups); ++g) {
      for (const TapRun& run : packed.runs) {
        const Tap& tap = grid.taps[run.tap];
        const std::size_t cell =
            static_cast<std::size_t>(tap.y) * layout.padded_w + static_cast<std::size_t>(tap.x);
        const std::size_t at =
            cell * static_cast<std::size_t>(window.in_c) + g * layout.group_inputs + run.first;
        packed.segments.push_back({static_cast<std::ptrdiff_t>(at * bytes),
                                   static_cast<std::ptrdiff_t>((run.length + per - 1) / per)});
      }
    }
    for (const TapRun& run : packed.runs)
      packed.panel_bytes += (run.length + per - 1) / per * group_bytes;
    const std::size_t line = whole * group_bytes;
    packed.rest_bytes = (line - packed.panel_bytes % line) % line;
    packed.panel_bytes += packed.rest_bytes;
    if (wide) packed.chunks = find_chunks(packed, group_bytes, per);
    layout.bytes += packed.panel_bytes * layout.panels * static_cast<std::size_t>(window.groups);
    layout.grids.push_back(std::move(packed));
  }
  return layout;
}

template <class T>
void pack_weights(const Window& window, const PackedLayout& layout, const T* weights,
                  std::int32_t zero, std::byte* out) {
  for (std::size_t g = 0; g < layout.grids.size(); ++g) {
    for (std::size_t group = 0; group < static_cast<std::size_t>(window.groups); ++group) {
      for (std::size_t panel = 0; panel < layout.panels; ++panel) {
        pack_panel(window, layout, g, group, panel, weights, zero, out);
        out += layout.grids[g].panel_bytes;
        std::memset(out - layout.grids[g].rest_bytes, 0, layout.grids[g].rest_bytes);
      }
    }
  }
}
template void pack_weights(const Window&, const PackedLayout&, const float*, std::int32_t,
                           std::byte*);
template void pack_weights(const Window&, const PackedLayout&, const std::int8_t*, std::int32_t,
                           std::byte*);
template void pack_weights(const Window&, const PackedLayout&, const std::uint8_t*, std::int32_t,
                           std::byte*);

void pack_constant(const Window& window, const PackedLayout& layout, const Array& weights,
                   std::int32_t zero, std::byte* out) {
  if (weights.dtype() == DType::kFloat32)
    return pack_weights(window, layout, weights.span<float>().data(), 0, out);
  if (weights.dtype() == DType::kUint8)
    return pack_weights(window, layout, weights.span<std::uint8_t>().data(), zero, out);
  const Array codes = unpacked_codes(weights);
  pack_weights(window, layout, codes.span<std::int8_t>().data(), zero, out);
}

namespace {

// The sum of n weights, `step` apart.
template <class T>
std::int64_t sum_of(const T* w, std::size_t n, std::size_t step) {
  constexpr std::size_t kPiece = 1 << 16;  // its sum has 32 bits
  std::int64_t sum = 0;
  for (std::size_t begin = 0; begin < n; begin += kPiece) {
    std::int32_t piece = 0;
    const std::size_t end = std::min(n, begin + kPiece);
    if (step == 1) {
      for (std::size_t i = begin; i < end; ++i) piece += w[i];
    } else {
      for (std::size_t i = begin; i < end; ++i) piece += w[i * step];
    }
    sum += piece;
  }
  return sum;
}

// Of one channel and one grid: the sum of weights less `zero`.
template <class T>
std::int64_t channel_sum(const Window& window, const PackedLayout& layout, const Grid& grid,
                         std::size_t channel, const T* weights, std::int32_t zero) {
  const std::size_t step =
      window.channel_last_weights ? static_cast<std::size_t>(window.out_c) : 1;  // of inputs
  std::int64_t sum = 0;
  for (const Tap& tap : grid.taps)
    sum +=
        sum_of(weights + weight_index(window, channel, tap.source, 0), layout.group_inputs, step);
  return sum - std::int64_t{zero} * static_cast<std::int64_t>(grid.taps.size()) *
                   static_cast<std::int64_t>(layout.group_inputs);
}

}  // namespace

void pack_start(const Window& window, const PackedLayout& layout,
                std::span<const std::int64_t> bias, const Array* weights, std::int32_t zero,
                std::int32_t input_value, std::int32_t* out) {
  const std::size_t lanes = layout.panels * static_cast<std::size_t>(layout.nr);
  const Array codes = input_value == 0 ? Array() : unpacked_codes(*weights);
  for (const Grid& grid : window.grids) {
    for (std::size_t group = 0; group < static_cast<std::size_t>(window.groups); ++group) {
      for (std::size_t n = 0; n < lanes; ++n) {
        const std::size_t channel = group * layout.group_channels + n;
        const bool real = n < layout.group_channels;
        std::int64_t value = real && !bias.empty() ? bias[channel] : 0;
        if (real && input_value != 0) {
          value -= input_value * (codes.dtype() == DType::kUint8
                                      ? channel_sum(window, layout, grid, channel,
                                                    codes.span<std::uint8_t>().data(), zero)
                                      : channel_sum(window, layout, grid, channel,
                                                    codes.span<std::int8_t>().data(), zero));
        }
        *out++ = static_cast<std::int32_t>(value);
      }
    }
  }
}

}  // namespace litegap
