#include "kernels/gemm_window.h"

#include <algorithm>
#include <cstring>

#include "kernels/gemm_spec.h"
#include "kernels/window_kernel.h"

namespace litegap {
namespace {

constexpr std::size_t kMostBytes = 1 << 20;     // of a strip of long rows
constexpr std::size_t kBlockBytes = 32 * 1024;  // of windows side by side: in the nearest cache

PanelFeed::Kind feed_kind(const WindowSpec& s, bool quads) {
  if (s.hybrid) return quads ? PanelFeed::Kind::kHybrid8 : PanelFeed::Kind::kHybrid;
  const bool as_signed = s.kernels->signed_quads;
  switch (s.input) {
    case DType::kInt8:
      if (!quads) return PanelFeed::Kind::kWidenI8;
      return as_signed ? PanelFeed::Kind::kCopy8 : PanelFeed::Kind::kBias8;
    case DType::kUint8:
      if (!quads) return PanelFeed::Kind::kWidenU8;
      return as_signed ? PanelFeed::Kind::kBias8 : PanelFeed::Kind::kCopy8;
    case DType::kInt16:
      return PanelFeed::Kind::kCopy16;
    default:
      return PanelFeed::Kind::kFloat;
  }
}

bool fit_int8(const Array& weights, std::int32_t zero) {
  if (weights.dtype() != DType::kUint8 && zero == 0) return true;
  const Range32 codes = code_range(weights);
  return codes.low - zero >= -128 && codes.high - zero <= 127;
}

}  // namespace

WindowKernel::WindowKernel(WindowSpec spec) : s_(std::move(spec)), dynamic_weights_(!s_.weights) {
  const Window& v = s_.window;
  choose_element();
  feed_ = {feed_kind(s_, element_ == Element::kQuads), s_.input_zero, s_.kernels};
  layout_ = pack_layout(v, element_, is_float() ? s_.kernels->nr_float : s_.kernels->nr, s_.wide,
                        s_.sum_by_tap, has_blocks() ? kBlockGroups : 1);
  pack_constants();
  out_bytes_ = !s_.requant ? 4 : s_.requant->type == DType::kInt16 ? 2 : 1;
  out_elements_ = static_cast<std::size_t>(v.batch) * static_cast<std::size_t>(v.out_h) *
                  static_cast<std::size_t>(v.out_w) * static_cast<std::size_t>(v.out_c);
  tail_begin_ = s_.flat_block == 0 ? out_elements_ : out_elements_ - out_elements_ % s_.flat_block;
  plan_strips();
}

void WindowKernel::choose_element() {
  if (s_.input == DType::kFloat32 && !s_.hybrid) return;
  const bool small = dynamic_weights_ ? s_.weight_type == DType::kInt8 && s_.weight_zero == 0
                                      : fit_int8(*s_.weights, s_.weight_zero);
  // Of a hybrid the bias is added to the floats; only kPlusSeven wants the sums of its input.
  const bool bytes = s_.hybrid ? s_.finish->scale != FloatScale::kPlusSeven
                               : s_.input != DType::kInt16 && s_.bias_input < 0;
  const bool quads = s_.kernels->has_quads() && bytes && small && !dynamic_weights_;
  element_ = quads ? Element::kQuads : small ? Element::kPairs8 : Element::kPairs16;
}

void WindowKernel::pack_constants() {
  const std::size_t padded = static_cast<std::size_t>(s_.window.out_c) + kPanelPad;
  if (!dynamic_weights_) {
    packed_ = PackedBytes(layout_.bytes);
    pack_constant(s_.window, layout_, *s_.weights, s_.weight_zero, packed_.data());
  }
  if (s_.finish) {
    float_bias_ = s_.float_bias;
    float_bias_.resize(padded);
    weight_scale_ = s_.weight_scale;
    weight_scale_.resize(padded);
  }
  const bool quads = element_ == Element::kQuads;
  const bool known = !s_.hybrid || symmetric(*s_.hybrid);  // the zero point, before a run
  const std::int32_t value = quads && known ? feed_.zero_quad({}) : 0;
  start_.resize(lanes());
  if (s_.wide) {
    wide_bias_ = s_.bias;
    wide_bias_.resize(padded);
  } else if (is_float()) {
    if (s_.bias_first) pack_float_start(float_bias_.data(), start_.data());
    if (s_.bias_first) s_.finish->scale = s_.finish->tail = FloatScale::kClamp;
  } else {
    pack_start(s_.window, layout_, s_.bias, s_.weights ? &*s_.weights : nullptr, s_.weight_zero,
               value, start_.data());
  }
  if (quads && !known) {
    weight_sums_.resize(lanes());
    pack_start(s_.window, layout_, {}, &*s_.weights, s_.weight_zero, -1, weight_sums_.data());
  }
  s_.weights.reset();
}

// The biases as start values, [grid][group][panel][nr]; bit patterns, as start values are int32
// elsewhere.
void WindowKernel::pack_float_start(const float* bias, std::int32_t* out) const {
  const std::size_t group_lanes = layout_.panels * static_cast<std::size_t>(layout_.nr);
  const auto groups = static_cast<std::size_t>(s_.window.groups);
  for (std::size_t i = 0; i < s_.window.grids.size() * groups; ++i, out += group_lanes) {
    std::memset(out, 0, group_lanes * sizeof *out);
    std::memcpy(out, bias + i % groups * layout_.group_channels,
                layout_.group_channels * sizeof *out);
  }
}

void WindowKernel::plan_strips() {
  const Window& v = s_.window;
  bool padded =
      v.pad_top != 0 || v.pad_left != 0 || layout_.padded_w != static_cast<std::size_t>(v.in_w);
  for (std::size_t g = 0; g < v.grids.size(); ++g) {
    const Grid& grid = v.grids[g];
    grid_h_ = std::max(grid_h_, grid.height);
    grid_w_ = std::max(grid_w_, grid.width);
    for (const Tap& tap : grid.taps) {
      image_.span = std::max(image_.span, tap.y + 1);
      padded = padded || (grid.height - 1) * v.step_y + tap.y >= v.in_h;
    }
    // Reading a whole group past an odd run would leave the input's bytes at its very end.
    for (const TapRun& run : layout_.grids[g].runs)
      padded = padded || run.length % elements_per_group(element_) != 0;
  }
  image_ = {v.in_h, v.in_w, v.in_c, v.pad_top, v.pad_left, layout_.padded_w, v.step_y, image_.span};
  direct_ = !padded && feed_.verbatim();
  const std::size_t row =
      layout_.padded_w * static_cast<std::size_t>(v.in_c) * input_bytes(element_);
  const std::size_t per_row = std::max<std::size_t>(1, row * static_cast<std::size_t>(v.step_y));
  const std::size_t by_bytes = kStripBytes / per_row,
                    by_pixels = kStripPixels / static_cast<std::size_t>(std::max(1, grid_w_));
  std::size_t rows = std::max<std::size_t>(1, std::min(by_bytes, by_pixels));
  const auto mr = static_cast<std::size_t>(is_float() ? s_.kernels->mr_float : s_.kernels->mr);
  // Rows of a dense layer: whole tiles of them, as all weights are read for every tile.
  if (grid_w_ == 1)
    rows = rows > mr ? rows - rows % mr : std::max(rows, std::min(mr, kMostBytes / per_row));
  strip_rows_ = std::max(1, std::min(static_cast<std::int32_t>(rows), grid_h_));
  strip_bytes_ = direct_ ? 0 : static_cast<std::size_t>(image_.rows(strip_rows_)) * row + 64;
  pixels_ = static_cast<std::size_t>(strip_rows_) * static_cast<std::size_t>(std::max(1, grid_w_));
  if (direct_ && !s_.hybrid && strip_rows_ == grid_h_) {
    images_ =
        std::clamp(static_cast<std::int32_t>(kStripPixels / pixels_), 1, std::max(1, v.batch));
    pixels_ *= static_cast<std::size_t>(images_);
  }
  scratch_ = round64(strip_bytes_) + 2 * round64(pixels_ * 8) + 2 * round64(pixels_ * 4) +
             round64(s_.flat_block * 4);
  if (row_zeros()) scratch_ += round64(pixels_ * 4);
  if (image_zeros()) scratch_ += round64(lanes() * 4);
  plan_blocks();
  if (block_rows_ > 0) scratch_ += block_rows_ * block_stride_ + 64;
  if (dynamic_weights_) scratch_ += round64(layout_.bytes + 64);
  if (s_.bias_input >= 0)
    scratch_ += round64(lanes() * 4) + round64(8 * (static_cast<std::size_t>(v.out_c) + kPanelPad));
}

// Blocks, if they take less time: cycles of a pixel, fitted to layers of many sizes
// (docs/speed.md).
void WindowKernel::plan_blocks() {
  if (!has_blocks() || pixels_ < kLeastBlock) return;
  std::size_t longest = 0;  // window of a grid, in bytes
  float by_rows = 0, by_blocks = 0;
  for (const PackedGrid& grid : layout_.grids) {
    const auto nr = static_cast<std::size_t>(layout_.nr), panels = layout_.panels;
    const std::size_t bytes = (grid.panel_bytes - grid.rest_bytes) / nr,
                      lines = round64(bytes) / 64, runs = grid.runs.size();
    longest = std::max(longest, lines * 64);
    const QuadBlocks& cost = *s_.kernels->blocks;
    by_rows += 0.14F * static_cast<float>(panels * bytes);
    by_blocks +=
        static_cast<float>(panels) * (cost.panel + cost.panel_line * static_cast<float>(lines));
    if (runs > 1)
      by_blocks += cost.segment * static_cast<float>(runs) + cost.line * static_cast<float>(lines);
  }
  if (by_blocks >= by_rows) return;
  block_stride_ = longest | 64;  // an odd number of cache lines: rows in different sets
  const std::size_t fit = std::clamp(kBlockBytes / block_stride_, kBlockRows, 8 * kBlockRows);
  block_rows_ = std::min(fit, pixels_ + kBlockRows - 1) / kBlockRows * kBlockRows;
}

std::unique_ptr<Kernel> make_window_kernel(WindowSpec spec) {
  return std::make_unique<WindowKernel>(std::move(spec));
}

Window flat_window(std::int32_t batch, std::int32_t rows, std::int32_t depth, std::int32_t out_c) {
  Window v;
  v.batch = batch;
  v.in_h = v.out_h = rows;
  v.in_c = depth;
  v.out_c = out_c;
  v.grids = {{rows, 1, 0, 0, 1, 1, {{0, 0, 0}}}};
  return v;
}

}  // namespace litegap