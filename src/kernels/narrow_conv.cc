// CONV_2D of floats from one channel to few: vectors hold neighbouring pixels, not channels.
//
// The first layer of a network that looks at grey images has nine products to an output.  With
// channels in the lanes, as elsewhere (gemm.h), every product needs a load of its own, and four
// channels leave half of a vector empty.  Here a tap is one vector of pixels that all channels
// share:
//
//   image row, stride 1    a b c d e f ..   tap 0 of eight pixels: a b c .., tap 1: b c d ..
//   the same, stride 2     a c e .. and b d f ..: planes; tap 0: a c e .., 1: b d f .., 2: c e ..
//
// Some rows of the padded image at a time are laid out as such planes, one per phase of the stride;
// each output is then summed tap after tap, so its bits are those of the other loop.
//
// x [N, H, W, 1], weights [O, kh, kw, 1], y [N, OH, OW, O].  docs/numerics.md, section 2.2.
#include "kernels/narrow_conv.h"

#include <algorithm>
#include <cstring>

#include "kernels/packed_bytes.h"
#include "kernels/row_kernel.h"

namespace litegap {
namespace {

constexpr std::size_t kLanes = 8, kStripFloats = 8192;
constexpr std::int32_t kMostChannels = 16;

void take_every(const NarrowLoops& loops, const float* from, std::size_t step, std::size_t n,
                float* to) {
  if (step == 1) return void(std::memcpy(to, from, n * sizeof(float)));
  if (step == 2 && n >= kLanes) return loops.every_second(from, n, to);
  for (std::size_t i = 0; i < n; ++i) to[i] = from[step * i];
}

class NarrowConvKernel final : public RowKernel {
 public:
  explicit NarrowConvKernel(WindowSpec spec);
  void run(const Io& io) const noexcept override { run_rows(io, 0, rows()); }
  std::size_t rows() const override {
    return static_cast<std::size_t>(v_.batch) * static_cast<std::size_t>(v_.out_h);
  }
  std::size_t products() const override {
    return rows() * static_cast<std::size_t>(v_.out_w) * channels_ * offsets_.size();
  }
  void run_rows(const Io& io, std::size_t begin, std::size_t end) const noexcept override;
  std::size_t scratch_bytes() const override { return strip_floats_ * sizeof(float); }

 private:
  // The cells of the image that a row of a plane has: from place `first` on, `count` of them, every
  // step-th of a line from `from` on.
  struct Plane {
    std::size_t first = 0, count = 0, from = 0;
  };
  // What a strip holds: outputs from row `first` on; at first nothing.
  struct Strip {
    float* values;
    std::int32_t first = -1, outputs = 0;
  };
  void fill_strip(const float* image, std::int32_t first, std::int32_t outputs, Strip& strip) const;
  void run_image(const float* image, std::int32_t begin, std::int32_t end, Strip& strip,
                 float* out) const;

  Window v_;
  const NarrowLoops& loops_;
  NarrowTask task_;  // but for its places
  std::size_t channels_;
  std::int32_t span_ = 1, strip_rows_ = 1;              // rows of a window; of outputs in a strip
  std::size_t plane_ = 0, row_ = 0, strip_floats_ = 0;  // floats of a plane's row, of all of them
  std::vector<std::ptrdiff_t> offsets_;
  std::vector<Plane> planes_;
  PackedBytes constants_;
};

NarrowConvKernel::NarrowConvKernel(WindowSpec spec)
    : v_(std::move(spec.window)),
      loops_(*spec.kernels->narrow),
      channels_(static_cast<std::size_t>(v_.out_c)) {
  const std::vector<Tap>& taps = v_.grids[0].taps;
  const auto step = static_cast<std::size_t>(v_.step_x);
  std::size_t reach = 0;
  for (const Tap& tap : taps) {
    span_ = std::max(span_, tap.y + 1);
    reach = std::max(reach, static_cast<std::size_t>(tap.x) / step);
  }
  const std::size_t whole = (static_cast<std::size_t>(v_.out_w) + kLanes - 1) / kLanes * kLanes;
  plane_ = (whole + reach + kLanes - 1) / kLanes * kLanes;
  row_ = step * plane_;
  for (const Tap& tap : taps) {
    const auto x = static_cast<std::size_t>(tap.x);
    offsets_.push_back(static_cast<std::ptrdiff_t>(static_cast<std::size_t>(tap.y) * row_ +
                                                   x % step * plane_ + x / step));
  }
  const auto behind = [&](std::size_t cell, std::size_t phase) {  // cells of a plane before it
    return std::min(plane_, cell <= phase ? 0 : (cell - phase + step - 1) / step);
  };
  const auto pad = static_cast<std::size_t>(v_.pad_left);
  for (std::size_t phase = 0; phase < step; ++phase) {
    const std::size_t first = behind(pad, phase),
                      last = behind(pad + static_cast<std::size_t>(v_.in_w), phase);
    planes_.push_back({first, last - first, last > first ? first * step + phase - pad : 0});
  }
  const std::size_t fit = kStripFloats / row_, span = static_cast<std::size_t>(span_);
  if (fit > span)
    strip_rows_ = 1 + static_cast<std::int32_t>((fit - span) / static_cast<std::size_t>(v_.step_y));
  strip_rows_ = std::min(strip_rows_, v_.out_h);
  strip_floats_ = static_cast<std::size_t>((strip_rows_ - 1) * v_.step_y + span_) * row_;

  const std::size_t quads = (channels_ + 3) / 4, starts = 4 * quads, weights = starts * taps.size();
  constants_ = PackedBytes((starts + weights) * sizeof(float));
  auto* start = reinterpret_cast<float*>(constants_.data());
  std::fill(start, start + starts + weights, 0.0f);
  std::copy(spec.float_bias.begin(), spec.float_bias.end(), start);
  const float* given = spec.weights->span<float>().data();
  for (std::size_t c = 0; c < channels_; ++c) {
    for (std::size_t t = 0; t < taps.size(); ++t)
      start[starts + (c / 4 * taps.size() + t) * 4 + c % 4] =
          given[c * v_.source_taps + taps[t].source];
  }
  task_.offsets = offsets_.data();
  task_.taps = taps.size();
  task_.start = start;
  task_.weights = start + starts;
  task_.low = spec.finish->low;
  task_.high = spec.finish->high;
  task_.pixels = static_cast<std::size_t>(v_.out_w);
  task_.channels = channels_;
}

// The rows of the padded image that `outputs` rows from `first` on look at, as planes.  A strip
// that held the same rows of another image keeps its padding.
void NarrowConvKernel::fill_strip(const float* image, std::int32_t first, std::int32_t outputs,
                                  Strip& strip) const {
  const std::int32_t top = first * v_.step_y - v_.pad_top, rows = (outputs - 1) * v_.step_y + span_;
  const auto step = static_cast<std::size_t>(v_.step_x);
  if (strip.first != first || strip.outputs != outputs)
    std::memset(strip.values, 0, static_cast<std::size_t>(rows) * row_ * sizeof(float));
  strip.first = first;
  strip.outputs = outputs;
  for (std::int32_t r = std::max(0, -top); r < std::min(rows, v_.in_h - top); ++r) {
    const float* line =
        image + static_cast<std::size_t>(top + r) * static_cast<std::size_t>(v_.in_w);
    float* to = strip.values + static_cast<std::size_t>(r) * row_;
    for (const Plane& plane : planes_) {
      take_every(loops_, line + plane.from, step, plane.count, to + plane.first);
      to += plane_;
    }
  }
}

void NarrowConvKernel::run_image(const float* image, std::int32_t begin, std::int32_t end,
                                 Strip& strip, float* out) const {
  const std::size_t out_row = static_cast<std::size_t>(v_.out_w) * channels_;
  for (std::int32_t y = begin; y < end; y += strip_rows_) {
    const std::int32_t count = std::min(strip_rows_, end - y);
    fill_strip(image, y, count, strip);
    NarrowTask task = task_;
    for (std::int32_t i = 0; i < count; ++i) {
      task.input = strip.values + static_cast<std::size_t>(i * v_.step_y) * row_;
      task.out = out + static_cast<std::size_t>(y + i) * out_row;
      loops_.row(task);
    }
  }
}

void NarrowConvKernel::run_rows(const Io& io, std::size_t begin, std::size_t end) const noexcept {
  const auto height = static_cast<std::size_t>(v_.out_h);
  const std::size_t in_image =
                        static_cast<std::size_t>(v_.in_h) * static_cast<std::size_t>(v_.in_w),
                    out_image = height * static_cast<std::size_t>(v_.out_w) * channels_;
  Strip strip{reinterpret_cast<float*>(io.scratch)};
  each_image(begin, end, height, [&](std::size_t n, std::int32_t first, std::int32_t last) {
    run_image(static_cast<const float*>(io.inputs[0]) + n * in_image, first, last, strip,
              static_cast<float*>(io.outputs[0]) + n * out_image);
  });
}

}  // namespace

// Rows of which a fifth or more of the lanes would be empty are left to the other loop, as are
// windows so wide that a strip would not stay near.
bool is_narrow_conv(const WindowSpec& spec) {
  const Window& v = spec.window;
  if (spec.kernels->narrow == nullptr || spec.input != DType::kFloat32 || spec.hybrid) return false;
  if (!spec.fused_multiply_add || !spec.bias_first || spec.sum_by_tap || spec.bias_input >= 0)
    return false;
  if (!spec.weights || v.in_c != 1 || v.groups != 1 || v.out_c > kMostChannels) return false;
  const std::vector<Tap>& taps = v.grids[0].taps;
  const std::int64_t whole = (std::int64_t{v.out_w} + 7) / 8 * 8;
  if (5 * std::int64_t{v.out_w} < 4 * whole || taps.size() > 128) return false;
  const std::int64_t row = (whole + taps.back().x) * v.step_x,
                     span = std::int64_t{taps.back().y} + 1;
  return v.step_x <= 4 && row * (span + v.step_y) <= std::int64_t{2 * kStripFloats};
}

std::unique_ptr<Kernel> make_narrow_conv(WindowSpec spec) {
  return std::make_unique<NarrowConvKernel>(std::move(spec));
}

}  // namespace litegap
