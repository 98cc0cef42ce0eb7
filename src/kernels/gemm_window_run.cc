// Runs a window kernel: strips of rows, lists of pixels, tiles of sums (docs/speed.md).
#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/gemm_spec.h"
#include "kernels/hybrid.h"
#include "kernels/vectors.h"
#include "kernels/window_kernel.h"

namespace litegap {

WindowKernel::Work WindowKernel::work_of(const Io& io) const {
  Work w;
  w.input = static_cast<const std::byte*>(io.inputs[s_.data_input]);
  w.output = static_cast<std::byte*>(io.outputs[0]);
  w.accumulators = s_.requant ? io.accumulators : nullptr;
  std::byte* next = io.scratch;
  const auto take = [&next](std::size_t n) {
    std::byte* p = next;
    next += round64(n);
    return p;
  };
  w.strip = take(strip_bytes_);
  w.rows = reinterpret_cast<const std::byte**>(take(pixels_ * 8));
  w.outs = reinterpret_cast<std::byte**>(take(pixels_ * 8));
  w.row_scales = reinterpret_cast<float*>(take(pixels_ * 4));
  w.row_sums = reinterpret_cast<std::int32_t*>(take(pixels_ * 4));
  w.tail = reinterpret_cast<std::int32_t*>(take(s_.flat_block * 4));
  if (row_zeros()) w.row_zeros = reinterpret_cast<std::int32_t*>(take(pixels_ * 4));
  if (image_zeros()) w.image_start = reinterpret_cast<std::int32_t*>(take(lanes() * 4));
  if (s_.finish) w.finish = *s_.finish;
  w.finish.bias = float_bias_.data();
  w.finish.weight_scale = weight_scale_.data();
  w.weights = packed_.data();
  w.start = image_zeros() ? w.image_start : start_.data();
  w.wide_bias = wide_bias_.data();
  if (block_rows_ > 0) w.block = take(block_rows_ * block_stride_ + 64);
  if (dynamic_weights_) {
    std::byte* packed = take(layout_.bytes + 64);
    w.weights = packed;
    const void* weights = io.inputs[1];
    if (is_float())
      pack_weights(s_.window, layout_, static_cast<const float*>(weights), 0, packed);
    else if (s_.weight_type == DType::kUint8)
      pack_weights(s_.window, layout_, static_cast<const std::uint8_t*>(weights), s_.weight_zero,
                   packed);
    else
      pack_weights(s_.window, layout_, static_cast<const std::int8_t*>(weights), s_.weight_zero,
                   packed);
  }
  if (s_.bias_input >= 0) {
    auto* start = reinterpret_cast<std::int32_t*>(take(lanes() * 4));
    std::byte* bias = take(8 * (static_cast<std::size_t>(s_.window.out_c) + kPanelPad));
    read_bias(io, w, start, bias);
  }
  return w;
}

void WindowKernel::read_bias(const Io& io, Work& w, std::int32_t* start, std::byte* bias) const {
  const auto channels = static_cast<std::size_t>(s_.window.out_c);
  const void* in = io.inputs[s_.bias_input];
  std::memset(bias, 0, 8 * (channels + kPanelPad));
  if (s_.finish) {
    std::memcpy(bias, in, channels * sizeof(float));
    if (s_.bias_first && is_float()) {
      pack_float_start(reinterpret_cast<const float*>(bias), start);
      w.start = start;
    } else {
      w.finish.bias = reinterpret_cast<const float*>(bias);
    }
    return;
  }
  auto* wide = reinterpret_cast<std::int64_t*>(bias);
  for (std::size_t c = 0; c < channels; ++c) {
    wide[c] = s_.bias_type == DType::kInt64 ? static_cast<const std::int64_t*>(in)[c]
                                            : static_cast<const std::int32_t*>(in)[c];
  }
  w.wide_bias = wide;
  if (s_.wide) return;
  pack_start(s_.window, layout_, {wide, channels}, nullptr, 0, 0, start);
  w.start = start;
}

// Takes what the zero point of an image adds to its sums from their start values; modulo 2^32.
void WindowKernel::start_image(const Work& w, const RowCode& code) const {
  const auto zero = static_cast<std::uint32_t>(feed_.zero_quad(code));
  with_vectors(
      [zero, n = lanes(), start = start_.data(), sums = weight_sums_.data(), out = w.image_start] {
        for (std::size_t i = 0; i < n; ++i) {
          out[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(start[i]) -
                                             zero * static_cast<std::uint32_t>(sums[i]));
        }
      });
}

const std::byte* WindowKernel::strip_at(const Work& w, const std::byte* image, Some rows,
                                        const RowCode& code) const {
  const std::size_t line = image_.line() * feed_.in_bytes();
  if (direct_)
    return image + static_cast<std::size_t>(rows.y) * static_cast<std::size_t>(image_.step) * line;
  if (!s_.hybrid_per_row) {
    feed_strip(feed_, image_, image, rows.y, rows.count, code, w.strip);
    return w.strip;
  }
  for (std::int32_t r = 0; r < rows.count; ++r) {  // a flat window: a row is a pixel
    const std::byte* in = image + static_cast<std::size_t>(rows.y + r) * line;
    std::byte* to = w.strip + static_cast<std::size_t>(r) * image_.line() * feed_.out_bytes();
    const RowCode own =
        hybrid_code(*s_.hybrid, *s_.kernels, reinterpret_cast<const float*>(in), image_.line());
    feed_.convert(in, image_.line(), own, to);
    w.row_scales[r] = own.scale;
    if (w.row_zeros != nullptr) w.row_zeros[r] = feed_.zero_quad(own);
    if (w.finish.scale == FloatScale::kPlusSeven) {
      const auto* codes = reinterpret_cast<const std::int16_t*>(to);
      w.row_sums[r] = std::accumulate(codes, codes + image_.line(), std::int32_t{0});
    }
  }
  return w.strip;
}

void WindowKernel::run(const Io& io) const noexcept {
  if (out_elements_ == 0) return;
  const Work w = work_of(io);
  if (images_ > 1) {
    run_whole_images(w);
  } else {
    for (std::int32_t n = 0; n < s_.window.batch; ++n) run_image(w, n, 0, grid_h_, all_panels());
  }
  if (tail_begin_ < out_elements_) finish_flat_tail(w);
}

// Rows of the grids, or of a single row the panels, as many together as a form takes.
std::size_t WindowKernel::rows() const {
  const Window& v = s_.window;
  if (out_elements_ == 0 || tail_begin_ < out_elements_ || dynamic_weights_) return 1;
  if (!one_row()) return static_cast<std::size_t>(v.batch) * static_cast<std::size_t>(grid_h_);
  return (layout_.panels + kRowPanels - 1) / kRowPanels;
}

void WindowKernel::run_rows(const Io& io, std::size_t begin, std::size_t end) const noexcept {
  const Work w = work_of(io);
  if (one_row()) {
    const Panels panels{begin * kRowPanels, std::min(end * kRowPanels, layout_.panels)};
    return run_image(w, 0, 0, 1, panels);
  }
  each_image(begin, end, static_cast<std::size_t>(grid_h_),
             [&](std::size_t n, std::int32_t first, std::int32_t last) {
               run_image(w, static_cast<std::int32_t>(n), first, last, all_panels());
             });
}

// The rows [begin, end) of the grids of image `n`.
void WindowKernel::run_image(const Work& w, std::int32_t n, std::int32_t begin, std::int32_t end,
                             Panels panels) const {
  const Window& v = s_.window;
  const std::size_t in_image = static_cast<std::size_t>(v.in_h) * static_cast<std::size_t>(v.in_w) *
                               static_cast<std::size_t>(v.in_c);
  const std::size_t out_image = static_cast<std::size_t>(v.out_h) *
                                static_cast<std::size_t>(v.out_w) *
                                static_cast<std::size_t>(v.out_c);
  const std::byte* image = w.input + static_cast<std::size_t>(n) * in_image * feed_.in_bytes();
  std::byte* out = w.output + static_cast<std::size_t>(n) * out_image * out_bytes_;
  RowCode code;
  if (s_.hybrid && !s_.hybrid_per_row) {
    code = hybrid_code(*s_.hybrid, *s_.kernels, reinterpret_cast<const float*>(image), in_image);
    std::fill(w.row_scales, w.row_scales + pixels_, code.scale);
    if (image_zeros()) start_image(w, code);
  }
  for (std::int32_t y = begin; y < end; y += strip_rows_) {
    const Some rows{y, std::min(strip_rows_, end - y)};
    const std::byte* strip = strip_at(w, image, rows, code);
    for (std::size_t g = 0; g < v.grids.size(); ++g)
      run_panels(w, g, list_pixels(w, strip, out, g, rows, 0), panels);
  }
}

// Small images that are read where they lie: the pixels of many in one list, so that the loops over
// tiles start once for all of them and the last tile of an image is no lower one.
void WindowKernel::run_whole_images(const Work& w) const {
  const Window& v = s_.window;
  const auto bytes = [](std::int32_t h, std::int32_t width, std::int32_t c, std::size_t element) {
    return static_cast<std::size_t>(h) * static_cast<std::size_t>(width) *
           static_cast<std::size_t>(c) * element;
  };
  const std::size_t in_image = bytes(v.in_h, v.in_w, v.in_c, feed_.in_bytes());
  const std::size_t out_image = bytes(v.out_h, v.out_w, v.out_c, out_bytes_);
  for (std::int32_t first = 0; first < v.batch; first += images_) {
    const std::int32_t end = std::min(first + images_, v.batch);
    for (std::size_t g = 0; g < v.grids.size(); ++g) {
      std::size_t pixels = 0;
      for (std::int32_t n = first; n < end; ++n) {
        const auto at = static_cast<std::size_t>(n);
        pixels = list_pixels(w, w.input + at * in_image, w.output + at * out_image, g, {0, grid_h_},
                             pixels);
      }
      run_panels(w, g, pixels, all_panels());
    }
  }
}

// Lists where the pixels of a strip begin and where their results go, behind the first `pixels`.
std::size_t WindowKernel::list_pixels(const Work& w, const std::byte* strip, std::byte* out,
                                      std::size_t g, Some some, std::size_t pixels) const {
  const Window& v = s_.window;
  const Grid& grid = v.grids[g];
  const std::size_t pixel = static_cast<std::size_t>(v.in_c) * feed_.out_bytes();
  const std::size_t out_pixel = static_cast<std::size_t>(v.out_c) * out_bytes_;
  const std::size_t out_line = static_cast<std::size_t>(v.out_w) * out_pixel;
  out += static_cast<std::size_t>(grid.out_y + some.y * grid.out_step_y) * out_line +
         static_cast<std::size_t>(grid.out_x) * out_pixel;
  struct Axis {
    std::size_t count, step, out_step;
  };
  Axis down{static_cast<std::size_t>(std::max(0, std::min(some.count, grid.height - some.y))),
            static_cast<std::size_t>(v.step_y) * layout_.padded_w * pixel,
            static_cast<std::size_t>(grid.out_step_y) * out_line};
  Axis across{static_cast<std::size_t>(grid.width), static_cast<std::size_t>(v.step_x) * pixel,
              static_cast<std::size_t>(grid.out_step_x) * out_pixel};
  if (across.count == 1) std::swap(down, across);  // the long one in the inner loop
  for (std::size_t i = 0; i < down.count; ++i, pixels += across.count) {
    const std::byte* row = strip + i * down.step;
    std::byte* to = out + i * down.out_step;
    const std::byte** rows = w.rows + pixels;
    std::byte** outs = w.outs + pixels;
    for (std::size_t j = 0; j < across.count; ++j) {
      rows[j] = row + j * across.step;
      outs[j] = to + j * across.out_step;
    }
  }
  return pixels;
}

WindowKernel::Block WindowKernel::block_of(const Work& w, std::size_t grid, std::size_t group,
                                           std::size_t panel, int panels) const {
  const PackedGrid& packed = layout_.grids[grid];
  const auto nr = static_cast<std::size_t>(layout_.nr);
  const std::size_t groups = static_cast<std::size_t>(s_.window.groups),
                    at = group * layout_.panels + panel;
  Block b;
  b.grid = grid;
  b.lane = (grid * groups * layout_.panels + at) * nr;
  b.channel = group * layout_.group_channels + panel * nr;
  b.panels = panels;
  b.count = static_cast<int>(std::min(columns(b), layout_.group_channels - panel * nr));
  b.weights = w.weights + packed.first_byte + at * packed.panel_bytes;
  b.segments = packed.segments.data() + group * packed.runs.size();
  b.half = s_.kernels->mr_half > 0 && static_cast<std::size_t>(b.count) * 2 <= nr && !s_.sum_by_tap;
  return b;
}

// The distance of rows that all have the same, else 0.
std::size_t even_step(const std::byte* const* rows, std::size_t count) {
  if (count < 2 || rows[1] <= rows[0]) return 0;
  const std::ptrdiff_t step = rows[1] - rows[0];
  bool even = true;
  for (std::size_t r = 1; r < count; ++r) even &= rows[r] - rows[r - 1] == step;
  return even ? static_cast<std::size_t>(step) : 0;
}

// A block is finished while the next one is multiplied: its sums take long to arrive in memory.
void WindowKernel::run_blocks(const Work& w, std::size_t grid, std::size_t pixels,
                              Panels panels) const {
  constexpr std::size_t kTile = kBlockRows * 2 * kMaxTileColumns + kTileSlack;
  alignas(64) std::int32_t tiles[2][(kTile + 15) / 16 * 16];
  const PackedGrid& packed = layout_.grids[grid];
  const QuadBlocks& blocks = *s_.kernels->blocks;
  struct Sums {
    Block block;
    std::size_t first = 0, rows = 0;
    const std::int32_t* tile = nullptr;
  } waiting;
  const auto finish = [&](const Sums& sums) {
    if (sums.rows == 0) return;
    const int rows = static_cast<int>(sums.rows);
    const FinishTask task{sums.tile,
                          columns(sums.block),
                          rows,
                          sums.block.channel,
                          sums.block.count,
                          w.outs + sums.first,
                          w.row_scales + sums.first,
                          w.row_sums + sums.first};
    if (s_.finish) return s_.kernels->finish_float(w.finish, task);
    if (keeps_sums(w)) keep_sums(w, sums.block, sums.first, rows, sums.tile);
    s_.kernels->finish(*s_.requant, task);
  };
  // A window of one segment may be read where it lies, whole lines of it.
  const bool one = packed.runs.size() == 1 && (!direct_ || packed.rest_bytes == 0);
  BlockTask task;
  task.panel_bytes = packed.panel_bytes;
  task.lines = packed.panel_bytes / (kBlockGroups * 4 * static_cast<std::size_t>(layout_.nr));
  int turn = 0;
  blocks.begin();
  for (std::size_t group = 0; group < static_cast<std::size_t>(s_.window.groups); ++group) {
    const Segment* segments = packed.segments.data() + group * packed.runs.size();
    for (std::size_t first = 0; first < pixels; first += block_rows_) {
      const std::size_t count = std::min(block_rows_, pixels - first);
      const std::byte* const* rows = w.rows + first;
      const std::size_t step = one ? even_step(rows, count) : 0, rest = count % kBlockRows;
      const std::size_t in_place = step == 0 ? 0 : rest == kBlockRows / 2 ? count : count - rest;
      blocks.copy_rows(rows + in_place, count - in_place, segments, packed.runs.size(),
                       w.block + in_place * block_stride_, block_stride_);
      for (std::size_t p = panels.begin; p < panels.end;
           p += static_cast<std::size_t>(task.panels)) {
        task.panels = p + 2 <= panels.end ? 2 : 1;
        const Block b = block_of(w, grid, group, p, task.panels);
        task.weights = b.weights;
        task.start = w.start + b.lane;
        for (std::size_t r = 0; r < count; r += kBlockRows) {
          task.rows = std::min(kBlockRows, count - r);
          task.a = r < in_place ? rows[r] + segments->offset : w.block + r * block_stride_;
          task.stride = r < in_place ? step : block_stride_;
          task.tile = tiles[turn];
          if (row_zeros()) {
            task.zeros = w.row_zeros + first + r;
            task.weight_sums = weight_sums_.data() + b.lane;
          }
          blocks.multiply(task);
          finish(waiting);
          waiting = {b, first + r, task.rows, task.tile};
          turn = 1 - turn;
        }
      }
    }
  }
  finish(waiting);
  blocks.end();
}

void WindowKernel::run_panels(const Work& w, std::size_t grid, std::size_t pixels,
                              Panels panels) const {
  if (in_blocks(pixels)) return run_blocks(w, grid, pixels, panels);
  const auto groups = static_cast<std::size_t>(s_.window.groups);
  const auto mr = static_cast<std::size_t>(is_float() ? s_.kernels->mr_float : s_.kernels->mr);
  const bool two = two_forms()[0] != nullptr && !s_.sum_by_tap;
  for (std::size_t group = 0; group < groups; ++group) {
    for (std::size_t p = panels.begin; p < panels.end; ++p) {
      if (pixels == 1 && is_float() && !s_.sum_by_tap && p + kRowPanels <= panels.end) {
        run_float_row(w, grid, group, p);
        p += kRowPanels - 1;
        continue;
      }
      if (pixels == 1 && !is_float() && !s_.wide && !keeps_sums(w)) {
        const std::size_t count = std::min(kFinishRows, panels.end - p);
        run_integer_row(w, grid, group, p, count);
        p += count - 1;
        continue;
      }
      const Block b = block_of(w, grid, group, p, two && p + 2 <= panels.end ? 2 : 1);
      const std::size_t most = b.half ? static_cast<std::size_t>(s_.kernels->mr_half) : mr;
      const std::size_t tiles = (pixels + most - 1) / most;
      const std::size_t least = pixels / std::max<std::size_t>(1, tiles),
                        higher = pixels - least * tiles;
      // Tiles of equal height, as far as it goes: the higher ones first.
      run_tiles(w, b, 0, static_cast<int>(least + 1), higher);
      run_tiles(w, b, higher * (least + 1), static_cast<int>(least), tiles - higher);
      p += static_cast<std::size_t>(b.panels) - 1;
    }
  }
}

void WindowKernel::run_tiles(const Work& w, const Block& b, std::size_t first, int rows,
                             std::size_t tiles) const {
  if (tiles == 0) return;
  const auto height = static_cast<std::size_t>(rows);
  if (s_.wide) {
    for (std::size_t t = 0; t < tiles; ++t) run_wide_tile(w, b, first + t * height, rows);
    return;
  }
  const std::size_t held = kFinishRows / static_cast<std::size_t>(b.panels);
  const std::size_t most = straight(b) ? tiles : std::max<std::size_t>(1, held / height);
  for (std::size_t t = 0; t < tiles; t += most)
    run_tile(w, b, first + t * height, rows, std::min(most, tiles - t));
}

const std::array<GemmFn, kMaxTileRows>& WindowKernel::two_forms() const {
  static constexpr std::array<GemmFn, kMaxTileRows> kNone{};
  if (element_ == Element::kQuads) return s_.kernels->two_quads;
  if (!is_float()) return kNone;
  return s_.fused_multiply_add ? s_.kernels->two_fused : s_.kernels->two_plain;
}

// Can the inner loops themselves clamp and store a block's results?
bool WindowKernel::straight(const Block& b) const {
  return s_.finish && s_.finish->scale == FloatScale::kClamp && !s_.sum_by_tap &&
         (s_.kernels->any_count || b.count == (b.half ? layout_.nr / 2 : layout_.nr * b.panels));
}

void WindowKernel::set_zeros(const Work& w, std::size_t lane, std::size_t first,
                             GemmTask& task) const {
  task.zeros = w.row_zeros + first;
  task.weight_sums = weight_sums_.data() + lane;
}

void WindowKernel::run_tile(const Work& w, const Block& b, std::size_t first, int rows,
                            std::size_t tiles) const {
  alignas(64) std::int32_t tile[kFinishRows * kMaxTileColumns + kTileSlack];
  const auto at = static_cast<std::size_t>(rows - 1);
  const GemmKernels& k = *s_.kernels;
  GemmTask task{w.rows + first,   b.segments, layout_.grids[b.grid].runs.size(), b.weights,
                w.start + b.lane, tile,       layout_.grids[b.grid].panel_bytes, tiles};
  if (row_zeros()) set_zeros(w, b.lane, first, task);
  const int all = rows * static_cast<int>(tiles);
  const FinishTask finish{tile,
                          columns(b),
                          all,
                          b.channel,
                          b.count,
                          w.outs + first,
                          w.row_scales + first,
                          w.row_sums + first};
  switch (element_) {
    case Element::kFloats:
      if (straight(b)) {
        task.out = w.outs + first;
        task.channel = b.channel;
        task.count = b.count;
        task.low = w.finish.low;
        task.high = w.finish.high;
      }
      if (s_.sum_by_tap)
        sum_by_tap(task, at);
      else if (b.panels == 2)
        two_forms()[at](task);
      else if (b.half)
        (s_.fused_multiply_add ? k.half_fused : k.half_plain)[at](task);
      else
        (s_.fused_multiply_add ? k.fused : k.plain)[at](task);
      if (task.out != nullptr) return;
      break;
    case Element::kPairs8:
      (b.half ? k.half_pairs8 : k.pairs8)[at](task);
      break;
    case Element::kPairs16:
      (b.half ? k.half_pairs16 : k.pairs16)[at](task);
      break;
    case Element::kQuads:
      (b.panels == 2 ? k.two_quads : k.quads)[at](task);
      break;
  }
  if (s_.finish) return k.finish_float(w.finish, finish);
  if (keeps_sums(w)) keep_sums(w, b, first, all, tile);
  k.finish(*s_.requant, finish);
}

void WindowKernel::run_float_row(const Work& w, std::size_t grid, std::size_t group,
                                 std::size_t panel) const {
  alignas(64) float tile[kRowPanels * kMaxTileColumns + kTileSlack];
  const PackedGrid& packed = layout_.grids[grid];
  const auto nr = static_cast<std::size_t>(layout_.nr);
  const std::size_t at = group * layout_.panels + panel;
  const std::size_t lane =
      (grid * static_cast<std::size_t>(s_.window.groups) * layout_.panels + at) * nr;
  const GemmTask task{w.rows,
                      packed.segments.data() + group * packed.runs.size(),
                      packed.runs.size(),
                      w.weights + packed.first_byte + at * packed.panel_bytes,
                      w.start + lane,
                      tile,
                      packed.panel_bytes};
  (s_.fused_multiply_add ? s_.kernels->fused_row : s_.kernels->plain_row)(task);
  const std::size_t count = std::min(kRowPanels * nr, layout_.group_channels - panel * nr);
  s_.kernels->finish_float(w.finish,
                           {tile, kRowPanels * nr, 1, group * layout_.group_channels + panel * nr,
                            static_cast<int>(count), w.outs, nullptr, nullptr});
}

// One row by many panels: they are finished together.
void WindowKernel::run_integer_row(const Work& w, std::size_t grid, std::size_t group,
                                   std::size_t first, std::size_t panels) const {
  alignas(64) std::int32_t tile[kFinishRows * kMaxTileColumns + kTileSlack];
  const PackedGrid& packed = layout_.grids[grid];
  const auto nr = static_cast<std::size_t>(layout_.nr);
  const std::size_t at = group * layout_.panels + first;
  const std::size_t lane =
      (grid * static_cast<std::size_t>(s_.window.groups) * layout_.panels + at) * nr;
  GemmTask task{w.rows,
                packed.segments.data() + group * packed.runs.size(),
                packed.runs.size(),
                w.weights + packed.first_byte + at * packed.panel_bytes,
                w.start + lane,
                tile};
  if (row_zeros()) set_zeros(w, lane, 0, task);
  const GemmKernels& k = *s_.kernels;
  const GemmFn form = element_ == Element::kQuads    ? k.quads[0]
                      : element_ == Element::kPairs8 ? k.pairs8[0]
                                                     : k.pairs16[0];
  for (std::size_t p = 0; p < panels; ++p) {
    form(task);
    task.weights = static_cast<const std::byte*>(task.weights) + packed.panel_bytes;
    task.start = static_cast<const std::int32_t*>(task.start) + nr;
    task.tile = static_cast<std::int32_t*>(task.tile) + nr;
    if (row_zeros()) task.weight_sums += nr;
  }
  const std::size_t count = std::min(panels * nr, layout_.group_channels - first * nr);
  const FinishTask finish{tile,
                          panels * nr,
                          1,
                          group * layout_.group_channels + first * nr,
                          static_cast<int>(count),
                          w.outs,
                          w.row_scales,
                          w.row_sums};
  if (s_.finish) return k.finish_float(w.finish, finish);
  k.finish(*s_.requant, finish);
}

void WindowKernel::sum_by_tap(const GemmTask& task, std::size_t at) const {
  alignas(64) float part[kFinishRows * kMaxTileColumns];
  auto* sums = static_cast<float*>(task.tile);
  const std::size_t n = task.tiles * (at + 1) * static_cast<std::size_t>(layout_.nr);
  std::fill(sums, sums + n, 0.0f);
  GemmTask one = task;
  one.segment_count = 1;
  one.tile = part;
  for (std::size_t s = 0; s < task.segment_count; ++s, ++one.segments) {
    s_.kernels->plain[at](one);
    for (std::size_t i = 0; i < n; ++i) sums[i] += part[i];
    one.weights = static_cast<const float*>(one.weights) + one.segments->groups * layout_.nr;
  }
}

void WindowKernel::run_wide_tile(const Work& w, const Block& b, std::size_t first, int rows) const {
  alignas(64) std::int32_t tile[kMaxTileRows * kMaxTileColumns];
  alignas(64) std::int64_t sums[kMaxTileRows * kMaxTileColumns];
  const auto nr = static_cast<std::size_t>(layout_.nr);
  const std::size_t n = static_cast<std::size_t>(rows) * nr;
  for (std::size_t i = 0; i < n; ++i)
    sums[i] = i % nr < static_cast<std::size_t>(b.count) ? w.wide_bias[b.channel + i % nr] : 0;
  const GemmKernels& k = *s_.kernels;
  const auto& forms = element_ == Element::kPairs8 ? (b.half ? k.half_pairs8 : k.pairs8)
                                                   : (b.half ? k.half_pairs16 : k.pairs16);
  for (const PackedGrid::Chunk& chunk : layout_.grids[b.grid].chunks) {
    forms[static_cast<std::size_t>(rows - 1)]({w.rows + first, b.segments + chunk.begin,
                                               chunk.end - chunk.begin, b.weights + chunk.byte,
                                               start_.data(), tile, 0});
    for (std::size_t i = 0; i < n; ++i) sums[i] += tile[i];
  }
  if (w.accumulators != nullptr) keep_sums(w, b, first, rows, sums);
  finish_plain64(*s_.requant,
                 {sums, nr, rows, b.channel, b.count, w.outs + first, nullptr, nullptr});
}

// Copies a tile of sums to the accumulators, and those of the flat tail to their place.
void WindowKernel::keep_sums(const Work& w, const Block& b, std::size_t first, int rows,
                             const void* tile) const {
  const std::size_t bytes = s_.wide ? 8 : 4;
  const auto count = static_cast<std::size_t>(b.count);
  for (int r = 0; r < rows; ++r) {
    const std::size_t element =
        static_cast<std::size_t>(w.outs[first + static_cast<std::size_t>(r)] - w.output) /
            out_bytes_ +
        b.channel;
    const std::byte* sums =
        static_cast<const std::byte*>(tile) + static_cast<std::size_t>(r) * columns(b) * bytes;
    if (w.accumulators != nullptr)
      std::memcpy(static_cast<std::byte*>(w.accumulators) + element * bytes, sums, count * bytes);
    for (std::size_t i = 0; i < count; ++i) {
      if (element + i >= tail_begin_)
        std::memcpy(w.tail + (element + i - tail_begin_), sums + i * bytes, 4);
    }
  }
}

void WindowKernel::finish_flat_tail(const Work& w) const {
  const Requant& q = *s_.requant;
  for (std::size_t i = tail_begin_; i < out_elements_; ++i) {
    const std::size_t c = i % static_cast<std::size_t>(s_.window.out_c);
    const std::int32_t scaled =
        scale_double(w.tail[i - tail_begin_], {q.mantissa[c], q.left[c] - q.right[c]});
    w.output[i] = static_cast<std::byte>(std::clamp(wrap_add(scaled, q.zero_point), q.low, q.high));
  }
}

}  // namespace litegap
