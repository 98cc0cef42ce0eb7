// DEPTHWISE_CONV_2D of floats: nothing is copied.
//
// Most output pixels see nothing but the image, so that tap t of pixel x lies at a fixed distance
// from the first tap of pixel 0 of the row:
//
//   row of the image   . a b c d e .      3 taps, stride 1: pixels 1, 2 and 3 are such ("inner")
//   pixel 2 reads        a b c            at 0, 1, 2 cells from its first tap
//
// The others, at the borders, get a list of addresses instead, one for each tap; taps outside the
// image have the address of a row of zeros:
//
//   pixel 0 reads      0 a b              addresses of zeros, a, b
//
// x [N, H, W, C], weights [1, kh, kw, C], y [N, OH, OW, C].  docs/numerics.md, section 5.
#include "kernels/depthwise_float.h"

#include <algorithm>
#include <cstring>

namespace litegap {
namespace {

constexpr std::size_t kBlock = kDepthwiseBlock;

std::size_t round64(std::size_t n) { return (n + 63) / 64 * 64; }

// Pixels i with 0 <= i * step - pad + least and i * step - pad + most < size.
struct Inner {
  std::int32_t begin = 0, end = 0;
};
Inner inner_pixels(std::int32_t out, std::int64_t step, std::int64_t pad, std::int64_t least,
                   std::int64_t most, std::int64_t size) {
  const std::int64_t first = std::max<std::int64_t>(0, (pad - least + step - 1) / step);
  const std::int64_t room = size - 1 + pad - most;
  const std::int64_t end = room < 0 ? 0 : std::min<std::int64_t>(out, room / step + 1);
  const std::int64_t begin = std::min<std::int64_t>(first, out);
  return {static_cast<std::int32_t>(begin), static_cast<std::int32_t>(std::max(begin, end))};
}

class DepthwiseFloatKernel final : public Kernel {
 public:
  explicit DepthwiseFloatKernel(WindowSpec spec);
  void run(const Io& io) const noexcept override;
  std::size_t scratch_bytes() const override { return place_bytes_ + weight_bytes_ + bias_bytes_; }

 private:
  void pack(const float* weights, float* out) const;
  DepthwiseFloatTask task_of(const Io& io) const;
  void run_row(DepthwiseFloatTask task, const std::byte* image, std::int32_t y, float* out,
               const std::byte** places) const;
  void run_border(DepthwiseFloatTask task, const std::byte* image, std::int32_t y,
                  std::int32_t begin, std::int32_t end, float* out, const std::byte** places) const;

  WindowSpec s_;
  std::size_t channels_ = 0, padded_ = 0, taps_ = 0;
  std::vector<std::ptrdiff_t> offsets_;  // of the taps from a pixel's place, bytes
  Inner rows_, columns_;
  std::vector<float> packed_, bias_, zeros_;
  std::size_t place_bytes_ = 0, weight_bytes_ = 0, bias_bytes_ = 0;
};

DepthwiseFloatKernel::DepthwiseFloatKernel(WindowSpec spec) : s_(std::move(spec)) {
  const Window& v = s_.window;
  const std::vector<Tap>& taps = v.grids[0].taps;
  channels_ = static_cast<std::size_t>(v.out_c);
  padded_ = (channels_ + kBlock - 1) / kBlock * kBlock;
  taps_ = taps.size();
  std::int32_t most_y = 0, most_x = 0, least_y = taps[0].y, least_x = taps[0].x;
  for (const Tap& tap : taps) {
    most_y = std::max(most_y, tap.y);
    most_x = std::max(most_x, tap.x);
    least_y = std::min(least_y, tap.y);
    least_x = std::min(least_x, tap.x);
    offsets_.push_back((std::ptrdiff_t{tap.y} * v.in_w + tap.x) *
                       static_cast<std::ptrdiff_t>(channels_ * sizeof(float)));
  }
  rows_ = inner_pixels(v.out_h, v.step_y, v.pad_top, least_y, most_y, v.in_h);
  columns_ = inner_pixels(v.out_w, v.step_x, v.pad_left, least_x, most_x, v.in_w);
  zeros_.resize(padded_);
  bias_ = s_.float_bias;
  bias_.resize(padded_);
  place_bytes_ = round64(static_cast<std::size_t>(v.out_w) * taps_ * sizeof(std::byte*));
  if (!s_.weights) {
    weight_bytes_ = round64(padded_ * taps_ * sizeof(float));
  } else {
    packed_.resize(padded_ * taps_);
    pack(s_.weights->span<float>().data(), packed_.data());
    s_.weights.reset();
  }
  if (s_.bias_input >= 0) bias_bytes_ = round64(padded_ * sizeof(float));
}

// [block][tap][16]
void DepthwiseFloatKernel::pack(const float* weights, float* out) const {
  std::fill(out, out + padded_ * taps_, 0.0f);
  for (std::size_t c = 0; c < channels_; ++c) {
    float* block = out + c / kBlock * kBlock * taps_ + c % kBlock;
    for (std::size_t t = 0; t < taps_; ++t)
      block[t * kBlock] = weights[s_.window.grids[0].taps[t].source * channels_ + c];
  }
}

DepthwiseFloatTask DepthwiseFloatKernel::task_of(const Io& io) const {
  DepthwiseFloatTask task;
  const float* bias = bias_.data();
  task.weights = packed_.data();
  if (weight_bytes_ > 0) {
    auto* packed = reinterpret_cast<float*>(io.scratch + place_bytes_);
    pack(static_cast<const float*>(io.inputs[1]), packed);
    task.weights = packed;
  }
  if (bias_bytes_ > 0) {
    auto* given = reinterpret_cast<float*>(io.scratch + place_bytes_ + weight_bytes_);
    std::fill(given, given + padded_, 0.0f);
    std::memcpy(given, io.inputs[s_.bias_input], channels_ * sizeof(float));
    bias = given;
  }
  task.start = s_.bias_first ? bias : zeros_.data();
  task.bias = s_.bias_first ? nullptr : bias;
  task.taps = offsets_.data();
  task.tap_count = taps_;
  task.pixel_step = static_cast<std::ptrdiff_t>(static_cast<std::size_t>(s_.window.step_x) *
                                                channels_ * sizeof(float));
  task.low = s_.finish->low;
  task.high = s_.finish->high;
  task.channels = channels_;
  return task;
}

void DepthwiseFloatKernel::run(const Io& io) const noexcept {
  const Window& v = s_.window;
  const DepthwiseFloatTask task = task_of(io);
  auto** places = reinterpret_cast<const std::byte**>(io.scratch);
  const auto* image = static_cast<const std::byte*>(io.inputs[0]);
  const std::size_t image_bytes = static_cast<std::size_t>(v.in_h) *
                                  static_cast<std::size_t>(v.in_w) * channels_ * sizeof(float);
  auto* out = static_cast<float*>(io.outputs[0]);
  for (std::int32_t n = 0; n < v.batch; ++n, image += image_bytes) {
    for (std::int32_t y = 0; y < v.out_h; ++y) {
      run_row(task, image, y, out, places);
      out += static_cast<std::size_t>(v.out_w) * channels_;
    }
  }
}

void DepthwiseFloatKernel::run_row(DepthwiseFloatTask task, const std::byte* image, std::int32_t y,
                                   float* out, const std::byte** places) const {
  const Window& v = s_.window;
  if (y < rows_.begin || y >= rows_.end) return run_border(task, image, y, 0, v.out_w, out, places);
  run_border(task, image, y, 0, columns_.begin, out, places);
  if (columns_.end > columns_.begin) {
    const std::ptrdiff_t cell = (std::ptrdiff_t{y} * v.step_y - v.pad_top) * v.in_w +
                                std::ptrdiff_t{columns_.begin} * v.step_x - v.pad_left;
    task.input = image + cell * static_cast<std::ptrdiff_t>(channels_ * sizeof(float));
    task.pixels = static_cast<std::size_t>(columns_.end - columns_.begin);
    task.out = out + static_cast<std::size_t>(columns_.begin) * channels_;
    (s_.fused_multiply_add ? s_.kernels->depthwise_fused : s_.kernels->depthwise_plain)(task);
  }
  run_border(task, image, y, columns_.end, v.out_w, out, places);
}

void DepthwiseFloatKernel::run_border(DepthwiseFloatTask task, const std::byte* image,
                                      std::int32_t y, std::int32_t begin, std::int32_t end,
                                      float* out, const std::byte** places) const {
  if (begin >= end) return;
  const Window& v = s_.window;
  const auto* zeros = reinterpret_cast<const std::byte*>(zeros_.data());
  std::size_t at = 0;
  for (std::int32_t x = begin; x < end; ++x) {
    for (const Tap& tap : v.grids[0].taps) {
      const std::ptrdiff_t row = std::ptrdiff_t{y} * v.step_y - v.pad_top + tap.y;
      const std::ptrdiff_t column = std::ptrdiff_t{x} * v.step_x - v.pad_left + tap.x;
      const bool inside = row >= 0 && row < v.in_h && column >= 0 && column < v.in_w;
      places[at++] = inside ? image + (row * v.in_w + column) *
                                          static_cast<std::ptrdiff_t>(channels_ * sizeof(float))
                            : zeros;
    }
  }
  task.places = places;
  task.pixels = static_cast<std::size_t>(end - begin);
  task.out = out + static_cast<std::size_t>(begin) * channels_;
  (s_.fused_multiply_add ? s_.kernels->depthwise_fused : s_.kernels->depthwise_plain)(task);
}

}  // namespace

std::unique_ptr<Kernel> make_depthwise_float(WindowSpec spec) {
  return std::make_unique<DepthwiseFloatKernel>(std::move(spec));
}

}  // namespace litegap
