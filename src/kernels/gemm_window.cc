#include "kernels/gemm_window.h"

#include <numeric>

#include "kernels/gemm_feed.h"
#include "kernels/gemm_pack.h"
#include "kernels/gemm_spec.h"
#include "kernels/hybrid.h"
#include "kernels/packed_bytes.h"

namespace litegap {
namespace {

constexpr std::size_t kStripBytes = 64 * 1024;  // stays in L2 beside the weights
constexpr std::size_t kStripPixels = 2048;
constexpr std::size_t kFinishRows = 48;  // of a tile in the nearest cache

std::size_t round64(std::size_t n) { return (n + 63) / 64 * 64; }

PanelFeed::Kind feed_kind(const WindowSpec& s, bool quads) {
  if (s.hybrid) return PanelFeed::Kind::kHybrid;
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

class WindowKernel final : public Kernel {
 public:
  explicit WindowKernel(WindowSpec spec);
  void run(const Io& io) const noexcept override;
  std::size_t scratch_bytes() const override { return scratch_; }
  DType accumulator_type() const override {
    return !s_.requant ? DType::kFloat32 : s_.wide ? DType::kInt64 : DType::kInt32;
  }

 private:
  // The scratch of one run, and what it works on.
  struct Work {
    const std::byte* input = nullptr;
    std::byte* output = nullptr;
    void* accumulators = nullptr;
    std::byte* strip = nullptr;
    const std::byte** rows = nullptr;
    std::byte** outs = nullptr;
    float* row_scales = nullptr;
    std::int32_t* row_sums = nullptr;
    const std::byte* weights = nullptr;
    const std::int32_t* start = nullptr;
    const std::int64_t* wide_bias = nullptr;
    FloatFinish finish;
    std::int32_t* tail = nullptr;
  };
  struct Block {
    std::size_t grid, lane, channel;
    int count;
    bool half;
    const std::byte* weights;
    const Segment* segments;
  };

  bool keeps_sums(const Work& w) const {
    return w.accumulators != nullptr || tail_begin_ < out_elements_;
  }
  bool is_float() const { return element_ == Element::kFloats; }
  std::size_t lanes() const {
    return s_.window.grids.size() * static_cast<std::size_t>(s_.window.groups) * layout_.panels *
           static_cast<std::size_t>(layout_.nr);
  }
  void choose_element();
  void pack_constants();
  void plan_strips();
  void pack_float_start(const float* bias, std::int32_t* out) const;
  Work work_of(const Io& io) const;
  void read_bias(const Io& io, Work& w, std::int32_t* start, std::byte* bias) const;
  const std::byte* strip_at(const Work& w, const std::byte* image, std::int32_t y0,
                            const RowCode& code) const;
  std::size_t list_pixels(const Work& w, const std::byte* strip, std::byte* out, std::size_t grid,
                          std::int32_t y0, std::size_t pixels) const;
  void run_whole_images(const Work& w) const;
  void run_panels(const Work& w, std::size_t grid, std::size_t pixels) const;
  bool straight(const Block& b) const;
  void run_tiles(const Work& w, const Block& b, std::size_t first, int rows,
                 std::size_t tiles) const;
  void run_tile(const Work& w, const Block& b, std::size_t first, int rows,
                std::size_t tiles) const;
  void run_float_row(const Work& w, std::size_t grid, std::size_t group, std::size_t panel) const;
  void run_integer_row(const Work& w, std::size_t grid, std::size_t group, std::size_t first,
                       std::size_t panels) const;
  void sum_by_tap(const GemmTask& task, std::size_t at) const;
  void run_wide_tile(const Work& w, const Block& b, std::size_t first, int rows) const;
  void keep_sums(const Work& w, const Block& b, std::size_t first, int rows,
                 const void* tile) const;
  void finish_flat_tail(const Work& w) const;

  WindowSpec s_;
  bool dynamic_weights_ = false;  // input 1 at run time
  Element element_ = Element::kFloats;
  PanelFeed feed_;
  PackedLayout layout_;
  PackedBytes packed_;
  std::vector<std::int32_t> start_;
  std::vector<std::int64_t> wide_bias_;
  std::vector<float> float_bias_, weight_scale_;
  bool direct_ = false;  // the inner loops read the input where it lies
  PaddedImage image_;
  std::int32_t strip_rows_ = 1, grid_h_ = 0, grid_w_ = 0;
  std::int32_t images_ = 1;  // whose pixels go through the loops together
  std::size_t out_bytes_ = 4, strip_bytes_ = 0, pixels_ = 0, scratch_ = 0;
  std::size_t tail_begin_ = 0, out_elements_ = 0;
};

WindowKernel::WindowKernel(WindowSpec spec) : s_(std::move(spec)), dynamic_weights_(!s_.weights) {
  const Window& v = s_.window;
  choose_element();
  feed_ = {feed_kind(s_, element_ == Element::kQuads), s_.input_zero, s_.kernels};
  layout_ = pack_layout(v, element_, is_float() ? s_.kernels->nr_float : s_.kernels->nr, s_.wide,
                        s_.sum_by_tap);
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
  const bool bytes = !s_.hybrid && (s_.input == DType::kInt8 || s_.input == DType::kUint8);
  const bool quads =
      s_.kernels->has_quads() && bytes && small && !dynamic_weights_ && s_.bias_input < 0;
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
  const std::int32_t value = element_ == Element::kQuads ? feed_.zero_quad() : 0;
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
  if (grid_w_ == 1 && rows > mr) rows -= rows % mr;
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
  if (dynamic_weights_) scratch_ += round64(layout_.bytes + 64);
  if (s_.bias_input >= 0)
    scratch_ += round64(lanes() * 4) + round64(8 * (static_cast<std::size_t>(v.out_c) + kPanelPad));
}

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
  if (s_.finish) w.finish = *s_.finish;
  w.finish.bias = float_bias_.data();
  w.finish.weight_scale = weight_scale_.data();
  w.weights = packed_.data();
  w.start = start_.data();
  w.wide_bias = wide_bias_.data();
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

const std::byte* WindowKernel::strip_at(const Work& w, const std::byte* image, std::int32_t y0,
                                        const RowCode& code) const {
  const std::size_t line = image_.line() * feed_.in_bytes();
  if (direct_)
    return image + static_cast<std::size_t>(y0) * static_cast<std::size_t>(image_.step) * line;
  const std::int32_t outputs = std::min(strip_rows_, grid_h_ - y0);
  if (!s_.hybrid_per_row) {
    feed_strip(feed_, image_, image, y0, outputs, code, w.strip);
    return w.strip;
  }
  for (std::int32_t r = 0; r < outputs; ++r) {  // a flat window: a row is a pixel
    const std::byte* in = image + static_cast<std::size_t>(y0 + r) * line;
    auto* codes =
        reinterpret_cast<std::int16_t*>(w.strip) + static_cast<std::size_t>(r) * image_.line();
    const RowCode own =
        hybrid_code(*s_.hybrid, *s_.kernels, reinterpret_cast<const float*>(in), image_.line());
    feed_.convert(in, image_.line(), own, reinterpret_cast<std::byte*>(codes));
    w.row_scales[r] = own.scale;
    if (w.finish.scale == FloatScale::kPlusSeven)
      w.row_sums[r] = std::accumulate(codes, codes + image_.line(), std::int32_t{0});
  }
  return w.strip;
}

void WindowKernel::run(const Io& io) const noexcept {
  if (out_elements_ == 0) return;
  const Window& v = s_.window;
  Work w = work_of(io);
  if (images_ > 1) {
    run_whole_images(w);
    if (tail_begin_ < out_elements_) finish_flat_tail(w);
    return;
  }
  const std::size_t in_image = static_cast<std::size_t>(v.in_h) * static_cast<std::size_t>(v.in_w) *
                               static_cast<std::size_t>(v.in_c);
  const std::size_t out_image = static_cast<std::size_t>(v.out_h) *
                                static_cast<std::size_t>(v.out_w) *
                                static_cast<std::size_t>(v.out_c);
  for (std::int32_t n = 0; n < v.batch; ++n) {
    const std::byte* image = w.input + static_cast<std::size_t>(n) * in_image * feed_.in_bytes();
    RowCode code;
    if (s_.hybrid && !s_.hybrid_per_row) {
      code = hybrid_code(*s_.hybrid, *s_.kernels, reinterpret_cast<const float*>(image), in_image);
      std::fill(w.row_scales, w.row_scales + pixels_, code.scale);
    }
    for (std::int32_t y0 = 0; y0 < grid_h_; y0 += strip_rows_) {
      const std::byte* strip = strip_at(w, image, y0, code);
      for (std::size_t g = 0; g < v.grids.size(); ++g) {
        std::byte* out = w.output + static_cast<std::size_t>(n) * out_image * out_bytes_;
        run_panels(w, g, list_pixels(w, strip, out, g, y0, 0));
      }
    }
  }
  if (tail_begin_ < out_elements_) finish_flat_tail(w);
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
        pixels = list_pixels(w, w.input + at * in_image, w.output + at * out_image, g, 0, pixels);
      }
      run_panels(w, g, pixels);
    }
  }
}

// Lists where the pixels of a strip begin and where their results go, behind the first `pixels`.
std::size_t WindowKernel::list_pixels(const Work& w, const std::byte* strip, std::byte* out,
                                      std::size_t g, std::int32_t y0, std::size_t pixels) const {
  const Window& v = s_.window;
  const Grid& grid = v.grids[g];
  const std::size_t pixel = static_cast<std::size_t>(v.in_c) * feed_.out_bytes();
  const std::size_t out_pixel = static_cast<std::size_t>(v.out_c) * out_bytes_;
  const std::size_t out_line = static_cast<std::size_t>(v.out_w) * out_pixel;
  out += static_cast<std::size_t>(grid.out_y + y0 * grid.out_step_y) * out_line +
         static_cast<std::size_t>(grid.out_x) * out_pixel;
  struct Axis {
    std::size_t count, step, out_step;
  };
  Axis down{static_cast<std::size_t>(std::max(0, std::min(strip_rows_, grid.height - y0))),
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

void WindowKernel::run_panels(const Work& w, std::size_t grid, std::size_t pixels) const {
  const PackedGrid& packed = layout_.grids[grid];
  const auto nr = static_cast<std::size_t>(layout_.nr);
  const auto groups = static_cast<std::size_t>(s_.window.groups);
  const auto mr = static_cast<std::size_t>(is_float() ? s_.kernels->mr_float : s_.kernels->mr);
  for (std::size_t group = 0; group < groups; ++group) {
    for (std::size_t p = 0; p < layout_.panels; ++p) {
      if (pixels == 1 && is_float() && !s_.sum_by_tap && p + kRowPanels <= layout_.panels) {
        run_float_row(w, grid, group, p);
        p += kRowPanels - 1;
        continue;
      }
      if (pixels == 1 && !is_float() && !s_.wide && !keeps_sums(w)) {
        const std::size_t count = std::min(kFinishRows, layout_.panels - p);
        run_integer_row(w, grid, group, p, count);
        p += count - 1;
        continue;
      }
      Block b;
      b.grid = grid;
      b.lane = ((grid * groups + group) * layout_.panels + p) * nr;
      b.channel = group * layout_.group_channels + p * nr;
      b.count = static_cast<int>(std::min(nr, layout_.group_channels - p * nr));
      b.weights = w.weights + packed.first_byte + (group * layout_.panels + p) * packed.panel_bytes;
      b.segments = packed.segments.data() + group * packed.runs.size();
      b.half =
          s_.kernels->mr_half > 0 && static_cast<std::size_t>(b.count) * 2 <= nr && !s_.sum_by_tap;
      const std::size_t most = b.half ? static_cast<std::size_t>(s_.kernels->mr_half) : mr;
      const std::size_t tiles = (pixels + most - 1) / most;
      const std::size_t least = pixels / std::max<std::size_t>(1, tiles),
                        higher = pixels - least * tiles;
      // Tiles of equal height, as far as it goes: the higher ones first.
      run_tiles(w, b, 0, static_cast<int>(least + 1), higher);
      run_tiles(w, b, higher * (least + 1), static_cast<int>(least), tiles - higher);
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
  const std::size_t most = straight(b) ? tiles : std::max<std::size_t>(1, kFinishRows / height);
  for (std::size_t t = 0; t < tiles; t += most)
    run_tile(w, b, first + t * height, rows, std::min(most, tiles - t));
}

// Can the inner loops themselves clamp and store a block's results?
bool WindowKernel::straight(const Block& b) const {
  return s_.finish && s_.finish->scale == FloatScale::kClamp && !s_.sum_by_tap &&
         (s_.kernels->any_count || b.count == (b.half ? layout_.nr / 2 : layout_.nr));
}

void WindowKernel::run_tile(const Work& w, const Block& b, std::size_t first, int rows,
                            std::size_t tiles) const {
  alignas(64) std::int32_t tile[kFinishRows * kMaxTileColumns];
  const auto at = static_cast<std::size_t>(rows - 1);
  const GemmKernels& k = *s_.kernels;
  GemmTask task{w.rows + first,
                b.segments,
                layout_.grids[b.grid].runs.size(),
                b.weights,
                w.start + b.lane,
                tile,
                0,
                tiles};
  const int all = rows * static_cast<int>(tiles);
  const FinishTask finish{tile,
                          static_cast<std::size_t>(layout_.nr),
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
      k.quads[at](task);
      break;
  }
  if (s_.finish) return k.finish_float(w.finish, finish);
  if (keeps_sums(w)) keep_sums(w, b, first, all, tile);
  k.finish(*s_.requant, finish);
}

void WindowKernel::run_float_row(const Work& w, std::size_t grid, std::size_t group,
                                 std::size_t panel) const {
  alignas(64) float tile[kRowPanels * kMaxTileColumns];
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
  alignas(64) std::int32_t tile[kFinishRows * kMaxTileColumns];
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
  const GemmKernels& k = *s_.kernels;
  const GemmFn form = element_ == Element::kQuads    ? k.quads[0]
                      : element_ == Element::kPairs8 ? k.pairs8[0]
                                                     : k.pairs16[0];
  for (std::size_t p = 0; p < panels; ++p) {
    form(task);
    task.weights = static_cast<const std::byte*>(task.weights) + packed.panel_bytes;
    task.start = static_cast<const std::int32_t*>(task.start) + nr;
    task.tile = static_cast<std::int32_t*>(task.tile) + nr;
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
        static_cast<const std::byte*>(tile) +
        static_cast<std::size_t>(r) * static_cast<std::size_t>(layout_.nr) * bytes;
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

}  // namespace

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
