// DEPTHWISE_CONV_2D of floats: nothing is copied.
//
// The output is cut into zones, in which the same taps lie inside of the image, and a zone into
// lines.  From pixel to pixel of a line a tap moves by a fixed distance if it is inside, and stays
// on a row of zeros if it is not, so that one loop serves them all:
//
//   row of the image   . a b c d e .      3 taps, stride 1: zones of 1, 3 and 1 pixels
//   pixel 0 reads      0 a b              taps at zeros, a, b
//   pixels 1 to 3        a b c            taps at a, b, c, one cell on from pixel to pixel
//
// A border of one column is one line down the image:
//
//   image of 25 x 5, 3 x 3 taps           left border: 1, 23 and 1 pixels
//
// Where 3 x 3 taps move one cell to the right, a row of the output is one line, its borders
// included: the columns of the image pass, each loaded once for the three pixels that see it
// (depthwise_loops.h).  Of taps that are d cells apart every d-th pixel is such a line.
//
// x [N, H, W, C], weights [1, kh, kw, C], y [N, OH, OW, C].  docs/numerics.md, section 5.
#include "kernels/depthwise_float.h"

#include <algorithm>
#include <cstring>

#include "kernels/packed_bytes.h"
#include "kernels/row_kernel.h"

namespace litegap {
namespace {

constexpr std::size_t kBlock = kDepthwiseBlock;
constexpr std::int32_t kShortLine = 8;
constexpr std::size_t kNearBytes = 256 * 1024;

// Where the zones of an axis begin, and its end: a tap is inside of pixels i with
// 0 <= i * step - pad + tap < size.
std::vector<std::int32_t> zones(const std::vector<Tap>& taps, std::int32_t Tap::*place,
                                std::int32_t out, std::int64_t step, std::int64_t pad,
                                std::int64_t size) {
  std::vector<std::int32_t> begins = {0, out};
  for (const Tap& tap : taps) {
    for (const std::int64_t cells : {pad - tap.*place, pad - tap.*place + size}) {
      const std::int64_t first = (std::max<std::int64_t>(cells, 0) + step - 1) / step;
      begins.push_back(static_cast<std::int32_t>(std::min<std::int64_t>(first, out)));
    }
  }
  std::sort(begins.begin(), begins.end());
  begins.erase(std::unique(begins.begin(), begins.end()), begins.end());
  return begins;
}

class DepthwiseFloatKernel final : public RowKernel {
 public:
  explicit DepthwiseFloatKernel(WindowSpec spec);
  void run(const Io& io) const noexcept override { run_rows(io, 0, all_rows()); }
  std::size_t rows() const override { return weight_bytes_ > 0 ? 1 : all_rows(); }
  std::size_t products() const override {
    return all_rows() * static_cast<std::size_t>(s_.window.out_w) * channels_ * taps_;
  }
  void run_rows(const Io& io, std::size_t begin, std::size_t end) const noexcept override;
  std::size_t scratch_bytes() const override { return tap_bytes_ + weight_bytes_ + bias_bytes_; }

 private:
  // Neighbouring pixels of one zone, across or down.
  struct Line {
    std::int32_t y = 0, x = 0, pixels = 0;
    bool down = false;
  };

  // Rows [begin, end) of an image's output.
  struct Rows {
    std::int32_t begin, end;
  };

  std::size_t all_rows() const {
    return static_cast<std::size_t>(s_.window.batch) * static_cast<std::size_t>(s_.window.out_h);
  }
  void pack(const float* weights, float* out) const;
  DepthwiseFloatTask task_of(const Io& io) const;
  bool goes_down(std::size_t row_zone, std::size_t column_zone) const;
  void run_image(const DepthwiseFloatTask& task, const std::byte* image, float* out, Rows rows,
                 std::byte* taps) const;
  void run_line(DepthwiseFloatTask task, const std::byte* image, const Line& line, float* out,
                std::byte* taps) const;
  bool is_3x3() const;
  void run_3x3(const DepthwiseFloatTask& task, const std::byte* image, float* out, Rows rows) const;

  WindowSpec s_;
  std::size_t channels_ = 0, padded_ = 0, taps_ = 0, image_bytes_ = 0;
  bool by_columns_ = false;                   // run_3x3
  std::vector<std::int32_t> rows_, columns_;  // where zones begin, and the end
  PackedBytes packed_;
  std::vector<float> bias_, zeros_;
  std::size_t tap_bytes_ = 0, weight_bytes_ = 0, bias_bytes_ = 0;
};

DepthwiseFloatKernel::DepthwiseFloatKernel(WindowSpec spec) : s_(std::move(spec)) {
  const Window& v = s_.window;
  const std::vector<Tap>& taps = v.grids[0].taps;
  channels_ = static_cast<std::size_t>(v.out_c);
  padded_ = (channels_ + kBlock - 1) / kBlock * kBlock;
  taps_ = taps.size();
  image_bytes_ = static_cast<std::size_t>(v.in_h) * static_cast<std::size_t>(v.in_w) * channels_ *
                 sizeof(float);
  rows_ = zones(taps, &Tap::y, v.out_h, v.step_y, v.pad_top, v.in_h);
  columns_ = zones(taps, &Tap::x, v.out_w, v.step_x, v.pad_left, v.in_w);
  by_columns_ = is_3x3();
  zeros_.resize(padded_);
  bias_ = s_.float_bias;
  bias_.resize(padded_);
  tap_bytes_ = round64(taps_ * sizeof(std::byte*)) + round64(taps_ * sizeof(std::ptrdiff_t));
  const std::size_t weight_bytes = round64(padded_ * taps_ * sizeof(float));
  if (!s_.weights) {
    weight_bytes_ = weight_bytes;
  } else {
    packed_ = PackedBytes(weight_bytes);
    pack(s_.weights->span<float>().data(), reinterpret_cast<float*>(packed_.data()));
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
  task.weights = reinterpret_cast<const float*>(packed_.data());
  if (weight_bytes_ > 0) {
    auto* packed = reinterpret_cast<float*>(io.scratch + tap_bytes_);
    pack(static_cast<const float*>(io.inputs[1]), packed);
    task.weights = packed;
  }
  if (bias_bytes_ > 0) {
    auto* given = reinterpret_cast<float*>(io.scratch + tap_bytes_ + weight_bytes_);
    std::fill(given, given + padded_, 0.0f);
    std::memcpy(given, io.inputs[s_.bias_input], channels_ * sizeof(float));
    bias = given;
  }
  task.start = s_.bias_first ? bias : zeros_.data();
  task.bias = s_.bias_first ? nullptr : bias;
  task.tap_count = taps_;
  task.low = s_.finish->low;
  task.high = s_.finish->high;
  task.channels = channels_;
  return task;
}

void DepthwiseFloatKernel::run_rows(const Io& io, std::size_t begin,
                                    std::size_t end) const noexcept {
  const Window& v = s_.window;
  const DepthwiseFloatTask task = task_of(io);
  const auto height = static_cast<std::size_t>(v.out_h);
  each_image(begin, end, height, [&](std::size_t n, std::int32_t first, std::int32_t last) {
    const auto* image = static_cast<const std::byte*>(io.inputs[0]) + n * image_bytes_;
    auto* out = static_cast<float*>(io.outputs[0]) +
                n * height * static_cast<std::size_t>(v.out_w) * channels_;
    if (by_columns_)
      run_3x3(task, image, out, {first, last});
    else
      run_image(task, image, out, {first, last}, io.scratch);
  });
}

// 3 x 3 taps, column after column, of which at most one is outside to the left and right.
bool DepthwiseFloatKernel::is_3x3() const {
  const Window& v = s_.window;
  const std::vector<Tap>& taps = v.grids[0].taps;
  if (s_.kernels->depthwise_3x3 == nullptr || !s_.fused_multiply_add || !s_.bias_first)
    return false;
  if (taps_ != 9 || v.step_x != 1) return false;
  const std::int32_t down = taps[1].y, right = taps[3].x;
  for (std::int32_t t = 0; t < 9; ++t) {
    const Tap& tap = taps[static_cast<std::size_t>(t)];
    if (tap.x != t / 3 * right || tap.y != t % 3 * down) return false;
  }
  return v.pad_left == 0 ? v.out_w + 2 * right <= v.in_w : v.pad_left == right && v.out_w == v.in_w;
}

// A row of the output is as many lines as the taps are apart.
void DepthwiseFloatKernel::run_3x3(const DepthwiseFloatTask& task, const std::byte* image,
                                   float* out, Rows rows) const {
  const Window& v = s_.window;
  const std::vector<Tap>& taps = v.grids[0].taps;
  const auto* zeros = reinterpret_cast<const std::byte*>(zeros_.data());
  const auto cell = static_cast<std::ptrdiff_t>(channels_ * sizeof(float));
  const std::int32_t apart = taps[3].x;
  Depthwise3x3Task line;
  line.left = line.right = v.pad_left > 0;
  line.weights = task.weights;
  line.start = task.start;
  line.low = task.low;
  line.high = task.high;
  line.channels = task.channels;
  line.out_step = static_cast<std::size_t>(apart) * channels_;
  const std::size_t out_row = static_cast<std::size_t>(v.out_w) * channels_;
  out += static_cast<std::size_t>(rows.begin) * out_row;
  for (std::int32_t y = rows.begin; y < rows.end; ++y, out += out_row) {
    for (std::int32_t x = 0; x < std::min(apart, v.out_w); ++x) {
      for (std::size_t r = 0; r < 3; ++r) {
        const std::ptrdiff_t row = std::ptrdiff_t{y} * v.step_y - v.pad_top + taps[r].y;
        const bool inside = row >= 0 && row < v.in_h;
        line.places[r] = inside ? image + (row * v.in_w + x) * cell : zeros;
        line.steps[r] = inside ? apart * cell : 0;
      }
      line.pixels = static_cast<std::size_t>((v.out_w - x + apart - 1) / apart);
      line.out = out + static_cast<std::size_t>(x) * channels_;
      s_.kernels->depthwise_3x3(line);
    }
  }
}

// A line that is too short to fill the registers is left for its neighbours above and below, where
// the image is so small that it is still near when it is read again.
bool DepthwiseFloatKernel::goes_down(std::size_t row_zone, std::size_t column_zone) const {
  const std::int32_t height = rows_[row_zone + 1] - rows_[row_zone],
                     width = columns_[column_zone + 1] - columns_[column_zone];
  return width < kShortLine && width < height && image_bytes_ <= kNearBytes;
}

void DepthwiseFloatKernel::run_image(const DepthwiseFloatTask& task, const std::byte* image,
                                     float* out, Rows rows, std::byte* taps) const {
  for (std::size_t i = 0; i + 1 < rows_.size(); ++i) {
    const std::int32_t top = std::max(rows_[i], rows.begin),
                       bottom = std::min(rows_[i + 1], rows.end);
    if (top >= bottom) continue;
    for (std::int32_t y = top; y < bottom; ++y) {
      for (std::size_t j = 0; j + 1 < columns_.size(); ++j) {
        const Line line{y, columns_[j], columns_[j + 1] - columns_[j], false};
        if (!goes_down(i, j)) run_line(task, image, line, out, taps);
      }
    }
    for (std::size_t j = 0; j + 1 < columns_.size(); ++j) {
      if (!goes_down(i, j)) continue;
      for (std::int32_t x = columns_[j]; x < columns_[j + 1]; ++x)
        run_line(task, image, {top, x, bottom - top, true}, out, taps);
    }
  }
}

void DepthwiseFloatKernel::run_line(DepthwiseFloatTask task, const std::byte* image,
                                    const Line& line, float* out, std::byte* taps) const {
  const Window& v = s_.window;
  auto** places = reinterpret_cast<const std::byte**>(taps);
  auto* steps = reinterpret_cast<std::ptrdiff_t*>(taps + round64(taps_ * sizeof(const std::byte*)));
  const auto* zeros = reinterpret_cast<const std::byte*>(zeros_.data());
  const auto cell = static_cast<std::ptrdiff_t>(channels_ * sizeof(float));
  const std::ptrdiff_t step =
      cell * (line.down ? std::ptrdiff_t{v.step_y} * v.in_w : std::ptrdiff_t{v.step_x});
  const std::ptrdiff_t y = std::ptrdiff_t{line.y} * v.step_y - v.pad_top,
                       x = std::ptrdiff_t{line.x} * v.step_x - v.pad_left;
  for (std::size_t t = 0; t < taps_; ++t) {
    const std::ptrdiff_t row = y + v.grids[0].taps[t].y, column = x + v.grids[0].taps[t].x;
    const bool inside = row >= 0 && row < v.in_h && column >= 0 && column < v.in_w;
    places[t] = inside ? image + (row * v.in_w + column) * cell : zeros;
    steps[t] = inside ? step : 0;
  }
  task.places = places;
  task.steps = steps;
  task.pixels = static_cast<std::size_t>(line.pixels);
  task.out = out + (static_cast<std::size_t>(line.y) * static_cast<std::size_t>(v.out_w) +
                    static_cast<std::size_t>(line.x)) *
                       channels_;
  task.out_step = line.down ? static_cast<std::size_t>(v.out_w) * channels_ : channels_;
  (s_.fused_multiply_add ? s_.kernels->depthwise_fused : s_.kernels->depthwise_plain)(task);
}

}  // namespace

std::unique_ptr<Kernel> make_depthwise_float(WindowSpec spec) {
  return std::make_unique<DepthwiseFloatKernel>(std::move(spec));
}

}  // namespace litegap
