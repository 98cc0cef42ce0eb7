#include "kernels/gemm_pack.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

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

constexpr std::size_t kPackGroups = 32;  // of a run, turned at once

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

// rows[n][group] to out[group][n], in units of one group.
template <class Unit>
void interleave(const std::byte* rows, std::size_t row_bytes, std::size_t groups, std::size_t nr,
                std::byte* out) {
  for (std::size_t g = 0; g < groups; ++g) {
    const std::byte* from = rows + g * sizeof(Unit);
    for (std::size_t n = 0; n < nr; ++n, from += row_bytes, out += sizeof(Unit))
      std::memcpy(out, from, sizeof(Unit));
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
        interleave<std::uint32_t>(rows, row_bytes, count, nr, out);
      else
        interleave<std::uint16_t>(rows, row_bytes, count, nr, out);
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

PackedLayout pack_layout(const Window& window, Element element, int nr, bool wide, bool apart) {
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
template void pack_weights(const Window&, const PackedLayout&, const std::int16_t*, std::int32_t,
                           std::byte*);

void pack_start(const Window& window, const PackedLayout& layout,
                std::span<const std::int64_t> bias, const std::int16_t* weights,
                std::int32_t input_value, std::int32_t* out) {
  const std::size_t lanes = layout.panels * static_cast<std::size_t>(layout.nr);
  const std::size_t step =
      window.channel_last_weights ? static_cast<std::size_t>(window.out_c) : 1;  // of inputs
  for (const Grid& grid : window.grids) {
    for (std::size_t group = 0; group < static_cast<std::size_t>(window.groups); ++group) {
      for (std::size_t n = 0; n < lanes; ++n) {
        const std::size_t channel = group * layout.group_channels + n;
        std::int64_t value = n < layout.group_channels && !bias.empty() ? bias[channel] : 0;
        for (const Tap& tap : grid.taps) {
          if (n >= layout.group_channels || input_value == 0) break;
          const std::int16_t* w = weights + weight_index(window, channel, tap.source, 0);
          std::int64_t sum = 0;
          for (std::size_t i = 0; i < layout.group_inputs; ++i) sum += w[i * step];
          value -= std::int64_t{input_value} * sum;
        }
        *out++ = static_cast<std::int32_t>(value);
      }
    }
  }
}

}  // namespace litegap
