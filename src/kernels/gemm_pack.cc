#include "kernels/gemm_pack.h"

#include <cstring>

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

// The T of element `e` of a run for output channel `out`, 0 past the run's end.
template <class T>
std::int32_t weight_at(const Window& window, const PackedLayout& layout, const Grid& grid,
                       const TapRun& run, const T* weights, std::size_t out, std::size_t e) {
  const std::size_t at = run.first + e;
  const std::size_t tap = run.tap + at / layout.group_inputs;
  return static_cast<std::int32_t>(
      weights[weight_index(window, out, grid.taps[tap].source, at % layout.group_inputs)]);
}

void put(Element element, std::int32_t value, std::byte*& out) {
  if (element == Element::kPairs16) {
    const auto v = static_cast<std::int16_t>(value);
    std::memcpy(out, &v, sizeof v);
    out += sizeof v;
  } else {
    *out++ = static_cast<std::byte>(value);
  }
}

template <class T>
void pack_panel(const Window& window, const PackedLayout& layout, std::size_t g, std::size_t group,
                std::size_t panel, const T* weights, std::int32_t zero, std::byte* out) {
  const Grid& grid = window.grids[g];
  const std::size_t per = elements_per_group(layout.element);
  const std::size_t first = panel * static_cast<std::size_t>(layout.nr);
  for (const TapRun& run : layout.grids[g].runs) {
    for (std::size_t e = 0; e < run.length; e += per) {
      for (std::size_t n = first; n < first + static_cast<std::size_t>(layout.nr); ++n) {
        const std::size_t channel = group * layout.group_channels + n;
        for (std::size_t j = e; j < e + per; ++j) {
          const bool real = n < layout.group_channels && j < run.length;
          if constexpr (std::is_same_v<T, float>) {
            const std::size_t at = run.first + j;
            const float v =
                real ? weights[weight_index(window, channel,
                                            grid.taps[run.tap + at / layout.group_inputs].source,
                                            at % layout.group_inputs)]
                     : 0.0f;
            std::memcpy(out, &v, sizeof v);
            out += sizeof v;
          } else {
            put(layout.element,
                real ? weight_at(window, layout, grid, run, weights, channel, j) - zero : 0, out);
          }
        }
      }
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
  for (const Grid& grid : window.grids) {
    for (std::size_t group = 0; group < static_cast<std::size_t>(window.groups); ++group) {
      for (std::size_t n = 0; n < lanes; ++n) {
        const std::size_t channel = group * layout.group_channels + n;
        std::int64_t value = n < layout.group_channels && !bias.empty() ? bias[channel] : 0;
        for (const Tap& tap : grid.taps) {
          if (n >= layout.group_channels || input_value == 0) break;
          for (std::size_t i = 0; i < layout.group_inputs; ++i) {
            value -=
                std::int64_t{input_value} * weights[weight_index(window, channel, tap.source, i)];
          }
        }
        *out++ = static_cast<std::int32_t>(value);
      }
    }
  }
}

}  // namespace litegap
