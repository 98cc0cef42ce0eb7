// DEPTHWISE_CONV_2D: hybrid and integer, and the choice of the kernel (docs/numerics.md, sections
// 2.3, 4, 4.5).
//
// x [N, H, W, C], weights [1, kh, kw, C * multiplier], bias [C * multiplier], y [N, OH, OW, C *
// multiplier]. A multiplier of 1 runs channel blocks side by side; others are convolutions of C
// groups.
#include "kernels/depthwise_float.h"
#include "kernels/gemm_feed.h"
#include "kernels/gemm_ops.h"
#include "kernels/gemm_spec.h"
#include "kernels/geometry.h"
#include "kernels/hybrid.h"
#include "kernels/packed_bytes.h"
#include "kernels/row_kernel.h"

namespace litegap {
namespace {

constexpr std::size_t kBlock = kDepthwiseBlock;
constexpr std::size_t kPixels = 48;  // of one tile
constexpr std::size_t kStripBytes = 64 * 1024;
constexpr std::size_t kSafeTaps = 508;  // products of int16 by int8 in a 32-bit sum

class DepthwiseKernel final : public RowKernel {
 public:
  explicit DepthwiseKernel(WindowSpec spec);
  void run(const Io& io) const noexcept override { run_rows(io, 0, all_rows()); }
  std::size_t rows() const override { return dynamic_ ? 1 : all_rows(); }
  std::size_t products() const override {
    return all_rows() * static_cast<std::size_t>(s_.window.out_w) * channels_ * taps_.size();
  }
  void run_rows(const Io& io, std::size_t begin, std::size_t end) const noexcept override;
  std::size_t scratch_bytes() const override { return strip_bytes_ + weight_bytes_ + bias_bytes_; }
  DType accumulator_type() const override {
    return !s_.requant ? DType::kFloat32 : s_.wide ? DType::kInt64 : DType::kInt32;
  }

 private:
  struct Work {
    std::byte* output = nullptr;
    std::byte* accumulators = nullptr;
    std::byte* strip = nullptr;
    const std::byte* weights = nullptr;
    const std::int32_t* start = nullptr;
    const std::int64_t* wide_bias = nullptr;
    FloatFinish finish;
    float input_scale = 0;
  };

  template <class T>
  void pack(const T* weights, std::int32_t zero, std::byte* out) const;
  void plan();
  Work work_of(const Io& io) const;
  void read_bias(const void* in, std::byte* out, Work& w) const;
  struct Area {
    std::size_t rows, pixels;
  };
  std::size_t all_rows() const {
    return static_cast<std::size_t>(s_.window.batch) * static_cast<std::size_t>(s_.window.out_h);
  }
  void run_image(Work& w, const std::byte* image, std::byte* out, std::int32_t begin,
                 std::int32_t end) const;
  std::int32_t rows_together() const;
  void run_some(const Work& w, const std::byte* from, std::byte* out, std::size_t rows) const;
  void run_block(const Work& w, const std::byte* in, std::byte* const* outs, Area area,
                 std::size_t channel) const;
  void finish(const Work& w, const FinishTask& task) const;

  WindowSpec s_;
  PanelFeed feed_;
  PaddedImage image_;
  bool dynamic_ = false, direct_ = false;
  std::vector<std::ptrdiff_t> taps_;
  PackedBytes packed_;
  std::vector<std::int32_t> start_;
  std::vector<std::int64_t> wide_bias_;
  std::vector<float> float_bias_, weight_scale_;
  std::size_t channels_ = 0, blocks_ = 0, out_bytes_ = 4, block_bytes_ = 0;
  std::size_t strip_bytes_ = 0, weight_bytes_ = 0, bias_bytes_ = 0;
  std::int32_t strip_rows_ = 1;
};

PanelFeed::Kind feed_kind(const WindowSpec& s) {
  if (s.hybrid) return PanelFeed::Kind::kHybrid;
  if (s.input == DType::kInt8) return PanelFeed::Kind::kWidenI8;
  return s.input == DType::kUint8 ? PanelFeed::Kind::kWidenU8 : PanelFeed::Kind::kCopy16;
}

DepthwiseKernel::DepthwiseKernel(WindowSpec spec) : s_(std::move(spec)) {
  feed_ = {feed_kind(s_), s_.input_zero, s_.kernels};
  dynamic_ = !s_.weights;
  channels_ = static_cast<std::size_t>(s_.window.out_c);
  blocks_ = (channels_ + kBlock - 1) / kBlock;
  out_bytes_ = !s_.requant ? 4 : s_.requant->type == DType::kInt16 ? 2 : 1;
  plan();
  if (dynamic_) {
    weight_bytes_ = blocks_ * block_bytes_;
  } else {
    packed_ = PackedBytes(blocks_ * block_bytes_);
    const Array codes = unpacked_codes(*s_.weights);
    if (codes.dtype() == DType::kUint8)
      pack(codes.span<std::uint8_t>().data(), s_.weight_zero, packed_.data());
    else
      pack(codes.span<std::int8_t>().data(), s_.weight_zero, packed_.data());
    s_.weights.reset();
  }
  const std::size_t padded = channels_ + kPanelPad;
  if (s_.bias_input >= 0) bias_bytes_ = 16 * padded;
  float_bias_ = s_.float_bias;
  float_bias_.resize(padded);
  weight_scale_ = s_.weight_scale;
  weight_scale_.resize(padded);
  wide_bias_ = s_.bias;
  wide_bias_.resize(padded);
  start_.resize(padded);
  for (std::size_t c = 0; c < s_.bias.size() && !s_.wide; ++c)
    start_[c] = static_cast<std::int32_t>(s_.bias[c]);
}

void DepthwiseKernel::plan() {
  const Window& v = s_.window;
  const Grid& grid = v.grids[0];
  image_ = {v.in_h,    v.in_w,     v.in_c,
            v.pad_top, v.pad_left, static_cast<std::size_t>(v.pad_left + v.in_w),
            v.step_y,  1};
  bool padded = v.pad_top != 0 || v.pad_left != 0 || channels_ % kBlock != 0;
  for (const Tap& tap : grid.taps) {
    image_.width =
        std::max(image_.width, static_cast<std::size_t>((grid.width - 1) * v.step_x + tap.x + 1));
    image_.span = std::max(image_.span, tap.y + 1);
  }
  padded =
      padded || image_.width != static_cast<std::size_t>(v.in_w) || image_.rows(v.out_h) > v.in_h;
  direct_ = !padded && feed_.verbatim();
  const std::size_t bytes = feed_.out_bytes();
  for (const Tap& tap : grid.taps) {
    const std::size_t cell =
        static_cast<std::size_t>(tap.y) * image_.width + static_cast<std::size_t>(tap.x);
    taps_.push_back(static_cast<std::ptrdiff_t>(cell * channels_ * bytes));
  }
  if (taps_.size() % 2 != 0) taps_.push_back(taps_[0]);
  block_bytes_ = taps_.size() * kBlock * 2;
  const std::size_t row = image_.cells() * bytes;
  const std::size_t rows =
      std::max<std::size_t>(1, kStripBytes / (row * static_cast<std::size_t>(v.step_y)));
  strip_rows_ =
      static_cast<std::int32_t>(std::min<std::size_t>(rows, static_cast<std::size_t>(v.out_h)));
  strip_bytes_ =
      direct_ ? 0 : (static_cast<std::size_t>(image_.rows(strip_rows_)) * row + 64 + 63) / 64 * 64;
}

// [block][pair of taps][slot][2] int16
template <class T>
void DepthwiseKernel::pack(const T* weights, std::int32_t zero, std::byte* out) const {
  const std::size_t real = s_.window.source_taps;
  std::memset(out, 0, blocks_ * block_bytes_);
  for (std::size_t c = 0; c < channels_; ++c) {
    std::byte* block = out + c / kBlock * block_bytes_;
    for (std::size_t t = 0; t < real; ++t) {
      const T value = weights[s_.window.grids[0].taps[t].source * channels_ + c];
      const auto code = static_cast<std::int16_t>(value - zero);
      const auto slot = static_cast<std::size_t>(depthwise_slot(static_cast<int>(c % kBlock)));
      std::memcpy(block + ((t / 2 * kBlock + slot) * 2 + t % 2) * sizeof code, &code, sizeof code);
    }
  }
}

DepthwiseKernel::Work DepthwiseKernel::work_of(const Io& io) const {
  Work w;
  w.output = static_cast<std::byte*>(io.outputs[0]);
  w.accumulators = s_.requant ? static_cast<std::byte*>(io.accumulators) : nullptr;
  w.strip = io.scratch;
  w.weights = packed_.data();
  w.start = start_.data();
  w.wide_bias = wide_bias_.data();
  if (s_.finish) w.finish = *s_.finish;
  w.finish.bias = float_bias_.data();
  w.finish.weight_scale = weight_scale_.data();
  if (dynamic_) {
    std::byte* packed = io.scratch + strip_bytes_;
    const void* in = io.inputs[1];
    if (s_.weight_type == DType::kUint8)
      pack(static_cast<const std::uint8_t*>(in), s_.weight_zero, packed);
    else
      pack(static_cast<const std::int8_t*>(in), s_.weight_zero, packed);
    w.weights = packed;
  }
  if (s_.bias_input >= 0)
    read_bias(io.inputs[s_.bias_input], io.scratch + strip_bytes_ + weight_bytes_, w);
  return w;
}

void DepthwiseKernel::read_bias(const void* in, std::byte* out, Work& w) const {
  std::memset(out, 0, bias_bytes_);
  if (s_.finish) {
    std::memcpy(out, in, channels_ * sizeof(float));
    w.finish.bias = reinterpret_cast<const float*>(out);
  } else if (s_.wide) {
    std::memcpy(out, in, channels_ * sizeof(std::int64_t));
    w.wide_bias = reinterpret_cast<const std::int64_t*>(out);
  } else {
    std::memcpy(out, in, channels_ * sizeof(std::int32_t));
    w.start = reinterpret_cast<const std::int32_t*>(out);
  }
}

void DepthwiseKernel::run_rows(const Io& io, std::size_t begin, std::size_t end) const noexcept {
  const Window& v = s_.window;
  Work w = work_of(io);
  const std::size_t image_bytes =
      static_cast<std::size_t>(v.in_h) * image_.line() * feed_.in_bytes();
  const std::size_t out_row = static_cast<std::size_t>(v.out_w) * channels_ * out_bytes_;
  const auto height = static_cast<std::size_t>(v.out_h);
  each_image(begin, end, height, [&](std::size_t n, std::int32_t first, std::int32_t last) {
    run_image(w, static_cast<const std::byte*>(io.inputs[0]) + n * image_bytes,
              w.output + (n * height + static_cast<std::size_t>(first)) * out_row, first, last);
  });
}

// The rows [begin, end) of the output of an image, the first of which is stored at `out`.
void DepthwiseKernel::run_image(Work& w, const std::byte* image, std::byte* out, std::int32_t begin,
                                std::int32_t end) const {
  const Window& v = s_.window;
  const std::size_t out_row = static_cast<std::size_t>(v.out_w) * channels_ * out_bytes_;
  const std::size_t row = image_.cells() * feed_.out_bytes() * static_cast<std::size_t>(v.step_y);
  RowCode code;
  if (s_.hybrid) {
    code = hybrid_code(*s_.hybrid, *s_.kernels, reinterpret_cast<const float*>(image),
                       static_cast<std::size_t>(v.in_h) * image_.line());
    w.input_scale = code.scale;
  }
  for (std::int32_t y0 = begin; y0 < end; y0 += strip_rows_) {
    const std::int32_t rows = std::min(strip_rows_, end - y0);
    const std::byte* strip = direct_ ? image + static_cast<std::size_t>(y0) * row : w.strip;
    if (!direct_) feed_strip(feed_, image_, image, y0, rows, code, w.strip);
    const std::int32_t together = rows_together();
    for (std::int32_t y = 0; y < rows; y += together) {
      const auto some = static_cast<std::size_t>(std::min(together, rows - y));
      run_some(w, strip, out, some);
      strip += some * row;
      out += some * out_row;
    }
  }
}

// Rows of output whose pixels fill a tile.
std::int32_t DepthwiseKernel::rows_together() const {
  return std::max(1, static_cast<std::int32_t>(kPixels) / s_.window.out_w);
}

// `rows` rows, as many as rows_together() or fewer; a wide one in pieces.
void DepthwiseKernel::run_some(const Work& w, const std::byte* from, std::byte* out,
                               std::size_t rows) const {
  const auto width = static_cast<std::size_t>(s_.window.out_w);
  const std::size_t step =
      static_cast<std::size_t>(s_.window.step_x) * channels_ * feed_.out_bytes();
  std::byte* outs[kPixels];
  for (std::size_t x = 0; x < width; x += kPixels) {
    const std::size_t pixels = std::min(kPixels, width - x);
    for (std::size_t r = 0, k = 0; r < rows; ++r) {
      for (std::size_t p = 0; p < pixels; ++p)
        outs[k++] = out + (r * width + x + p) * channels_ * out_bytes_;
    }
    for (std::size_t b = 0; b < blocks_; ++b) {
      run_block(w, from + x * step + b * kBlock * feed_.out_bytes(), outs, {rows, pixels},
                b * kBlock);
    }
  }
}

void DepthwiseKernel::run_block(const Work& w, const std::byte* in, std::byte* const* outs,
                                Area area, std::size_t channel) const {
  alignas(64) std::int32_t tile[kPixels * kBlock + kTileSlack];
  const std::size_t row =
      image_.cells() * feed_.out_bytes() * static_cast<std::size_t>(s_.window.step_y);
  DepthwiseTask task;
  task.taps = taps_.data();
  task.tap_count = taps_.size();
  task.weights = reinterpret_cast<const std::int16_t*>(w.weights + channel / kBlock * block_bytes_);
  task.start = w.start + channel;
  task.pixel_step = static_cast<std::ptrdiff_t>(static_cast<std::size_t>(s_.window.step_x) *
                                                channels_ * feed_.out_bytes());
  task.pixels = area.pixels;
  for (std::size_t r = 0; r < area.rows; ++r) {
    task.input = in + r * row;
    task.tile = tile + r * area.pixels * kBlock;
    s_.kernels->depthwise(task);
  }
  FinishTask end;
  end.tile = tile;
  end.tile_stride = kBlock;
  end.rows = static_cast<int>(area.rows * area.pixels);
  end.channel = channel;
  end.count = static_cast<int>(std::min(kBlock, channels_ - channel));
  end.out = outs;
  finish(w, end);
}

void DepthwiseKernel::finish(const Work& w, const FinishTask& task) const {
  const auto rows = static_cast<std::size_t>(task.rows),
             count = static_cast<std::size_t>(task.count);
  if (s_.finish) {
    float scales[kPixels];
    std::fill(scales, scales + rows, w.input_scale);
    FinishTask scaled = task;
    scaled.row_scale = scales;
    return s_.kernels->finish_float(w.finish, scaled);
  }
  std::int64_t wide[kPixels * kBlock];
  const auto* sums = static_cast<const std::int32_t*>(task.tile);
  for (std::size_t i = 0; s_.wide && i < rows * kBlock; ++i)
    wide[i] = sums[i] + w.wide_bias[task.channel + i % kBlock];
  if (w.accumulators != nullptr) {
    const std::size_t bytes = s_.wide ? 8 : 4;
    const auto* from = s_.wide ? reinterpret_cast<const std::byte*>(wide)
                               : static_cast<const std::byte*>(task.tile);
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t element =
          static_cast<std::size_t>(task.out[r] - w.output) / out_bytes_ + task.channel;
      std::memcpy(w.accumulators + element * bytes, from + r * kBlock * bytes, count * bytes);
    }
  }
  if (!s_.wide) return s_.kernels->finish(*s_.requant, task);
  FinishTask sixteen = task;
  sixteen.tile = wide;
  finish_plain64(*s_.requant, sixteen);
}

// ---- prepare
// ---------------------------------------------------------------------------------------

void check(const OpSpec& spec, const DepthwiseAttrs& a) {
  expect_rank(spec, spec.inputs[0], 4, "input");
  expect_rank(spec, spec.inputs[1], 4, "weights");
  const Shape& x = spec.inputs[0].shape;
  const Shape& w = spec.inputs[1].shape;
  if (a.stride_h < 1 || a.stride_w < 1 || a.dilation_h < 1 || a.dilation_w < 1)
    refuse(spec, "strides and dilations must be positive");
  if (w[0] != 1 || w[1] < 1 || w[2] < 1 || w[3] < 1)
    refuse(spec, "weights of shape {}, expected [1, h, w, channels]", shape_text(w));
  if (x[1] < 1 || x[2] < 1 || x[3] < 1) refuse(spec, "input of shape {}", shape_text(x));
  if (w[3] % x[3] != 0)
    refuse(spec, "{} filters are not a multiple of the input's {} channels", w[3], x[3]);
}

Window image_window(const OpSpec& spec, const DepthwiseAttrs& a) {
  const Shape& x = spec.inputs[0].shape;
  const Shape& w = spec.inputs[1].shape;
  const Extent y_axis = window_extent(x[1], w[1], a.stride_h, a.dilation_h, a.padding);
  const Extent x_axis = window_extent(x[2], w[2], a.stride_w, a.dilation_w, a.padding);
  if (y_axis.out <= 0 || x_axis.out <= 0)
    refuse(spec, "input {} is smaller than the filter {}", shape_text(x), shape_text(w));
  Window v;
  v.batch = x[0];
  v.in_h = x[1];
  v.in_w = x[2];
  v.in_c = v.groups = x[3];
  v.out_h = static_cast<std::int32_t>(y_axis.out);
  v.out_w = static_cast<std::int32_t>(x_axis.out);
  v.out_c = w[3];
  v.pad_top = static_cast<std::int32_t>(y_axis.pad_before);
  v.pad_left = static_cast<std::int32_t>(x_axis.pad_before);
  v.step_y = a.stride_h;
  v.step_x = a.stride_w;
  v.source_taps = static_cast<std::size_t>(w[1]) * static_cast<std::size_t>(w[2]);
  v.channel_last_weights = true;
  Grid grid{v.out_h, v.out_w, 0, 0, 1, 1, {}};
  for (std::int32_t ky = 0; ky < w[1]; ++ky) {
    for (std::int32_t kx = 0; kx < w[2]; ++kx)
      grid.taps.push_back({ky * a.dilation_h, kx * a.dilation_w, grid.taps.size()});
  }
  v.grids.push_back(std::move(grid));
  return v;
}

bool xnn_takes(const OpSpec& spec, const DepthwiseAttrs& a, Arithmetic arithmetic) {
  const Operand& w = spec.inputs[1];
  const bool types =
      w.dtype == DType::kFloat32 || w.dtype == DType::kInt8 || w.dtype == DType::kUint8;
  return types && arithmetic != Arithmetic::kHybrid && spec.inputs[0].dtype != DType::kInt16 &&
         xnn_weights(w) && spec.has(2) && spec.inputs[2].constant != nullptr &&
         xnn_activation(a.activation);
}

// XNNPACK's depthwise kernel sums column by column of the window.
void sum_by_columns(std::vector<Tap>& taps) {
  std::stable_sort(taps.begin(), taps.end(), [](const Tap& a, const Tap& b) { return a.x < b.x; });
}

void set_arithmetic(const OpSpec& spec, const DepthwiseAttrs& a, Arithmetic arithmetic, bool xnn,
                    WindowSpec& s) {
  const bool reference = spec.dialect == Dialect::kReference;
  const auto channels = static_cast<std::size_t>(s.window.out_c);
  const FloatRange range = float_activation(a.activation, xnn);
  if (arithmetic == Arithmetic::kFloat) {
    s.finish = FloatFinish{FloatScale::kNone, 0,         FloatScale::kNone, nullptr,
                           nullptr,           range.low, range.high};
    s.fused_multiply_add = xnn;
    s.bias_first = !reference;  // the built-in kernel too
    return;
  }
  if (spec.inputs[1].dtype == DType::kInt2) refuse(spec, "int2 weights are not supported");
  const std::vector<float> scales = weight_scales(spec, spec.inputs[1], channels);
  if (arithmetic == Arithmetic::kHybrid) {
    if (s.weight_zero != 0)
      refuse(spec, "int8 weights with zero point {}, expected 0", s.weight_zero);
    if (!spec.inputs[1].quant->per_channel() && channels > 1) {
      refuse(
          spec,
          "one weight scale for {} channels: the runtime's float kernel reads a scale per channel",
          channels);
    }
    s.weight_scale = scales;
    s.hybrid = HybridCode::kAsymmetric;
    const FloatScale head = reference ? FloatScale::kProduct : FloatScale::kWeightFirst;
    const FloatScale tail = reference ? FloatScale::kProduct : FloatScale::kInputFirst;
    const std::size_t split = channels / 4 * 4;
    s.finish = FloatFinish{head,    split,     tail,       nullptr,
                           nullptr, range.low, range.high, reference ? 0 : split};
    return;
  }
  set_integer(spec, 0, 2, DType::kFloat32, s);
  RequantPlan plan;
  plan.rounding = xnn ? Rounding::kXnn : s.wide ? Rounding::k16x8 : Rounding::kFixed;
  plan.float_product = spec.inputs[0].dtype == DType::kUint8;
  plan.away_from = reference || spec.inputs[0].dtype == DType::kUint8 ? 0 : channels / 8 * 8;
  s.requant = make_requant(spec, tensor_scale(spec, spec.inputs[0]), scales, spec.outputs[0],
                           a.activation, plan);
}

}  // namespace

std::unique_ptr<Kernel> prepare_depthwise_conv_2d(OpSpec& spec, const GemmKernels& kernels) {
  expect_inputs(spec, 2, 3);
  expect_outputs(spec, 1);
  const auto& a = attrs_of<DepthwiseAttrs>(spec);
  check(spec, a);
  const Arithmetic arithmetic = arithmetic_of(spec, 0, 1);
  const bool xnn = spec.dialect == Dialect::kXnnpack && xnn_takes(spec, a, arithmetic);
  WindowSpec s;
  s.window = image_window(spec, a);
  s.kernels = &kernels;
  s.input = spec.inputs[0].dtype;
  set_weights(spec, 1, s);
  set_arithmetic(spec, a, arithmetic, xnn, s);
  set_bias(spec, 2, s);
  spec.outputs[0].shape = {s.window.batch, s.window.out_h, s.window.out_w, s.window.out_c};
  if (s.window.out_c != s.window.in_c || s.window.in_c == 1 ||
      (s.wide && s.window.source_taps > kSafeTaps)) {
    return make_window_kernel(std::move(s));
  }
  if (arithmetic == Arithmetic::kFloat) {
    if (xnn) sum_by_columns(s.window.grids[0].taps);
    return make_depthwise_float(std::move(s));
  }
  return std::make_unique<DepthwiseKernel>(std::move(s));
}

std::unique_ptr<Kernel> prepare_depthwise_conv_2d(OpSpec& spec) {
  return prepare_depthwise_conv_2d(spec, gemm_best());
}

}  // namespace litegap
