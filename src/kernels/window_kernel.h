// The kernel behind make_window_kernel(), as its two halves see it: gemm_window.cc plans it once,
// gemm_window_run.cc runs it.
#pragma once
#include <vector>

#include "kernels/gemm_feed.h"
#include "kernels/gemm_pack.h"
#include "kernels/gemm_window.h"
#include "kernels/packed_bytes.h"
#include "kernels/row_kernel.h"

namespace litegap {

// Of a strip, in bytes and pixels: it stays in the second cache beside the weights.
inline constexpr std::size_t kStripBytes = 64 * 1024, kStripPixels = 2048;
inline constexpr std::size_t kFinishRows = 48;  // of a tile in the nearest cache
inline constexpr std::size_t kLeastBlock = 9;   // pixels; fewer are left to the other loops

class WindowKernel final : public RowKernel {
 public:
  explicit WindowKernel(WindowSpec spec);
  void run(const Io& io) const noexcept override;
  std::size_t rows() const override;
  std::size_t products() const override {
    return out_elements_ * s_.window.source_taps *
           static_cast<std::size_t>(s_.window.in_c / std::max(1, s_.window.groups));
  }
  void run_rows(const Io& io, std::size_t begin, std::size_t end) const noexcept override;
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
    std::int32_t *row_sums = nullptr, *row_zeros = nullptr;
    std::int32_t* image_start = nullptr;
    std::byte* block = nullptr;
    const std::byte* weights = nullptr;
    const std::int32_t* start = nullptr;
    const std::int64_t* wide_bias = nullptr;
    FloatFinish finish;
    std::int32_t* tail = nullptr;
  };
  struct Block {
    std::size_t grid, lane, channel;
    int count, panels;
    bool half;
    const std::byte* weights;
    const Segment* segments;
  };

  bool keeps_sums(const Work& w) const {
    return w.accumulators != nullptr || tail_begin_ < out_elements_;
  }
  bool is_float() const { return element_ == Element::kFloats; }
  bool row_zeros() const { return s_.hybrid_per_row && !weight_sums_.empty(); }
  bool image_zeros() const { return !s_.hybrid_per_row && !weight_sums_.empty(); }
  std::size_t lanes() const {
    return s_.window.grids.size() * static_cast<std::size_t>(s_.window.groups) * layout_.panels *
           static_cast<std::size_t>(layout_.nr);
  }
  void choose_element();
  void pack_constants();
  void plan_strips();
  void pack_float_start(const float* bias, std::int32_t* out) const;
  Work work_of(const Io& io) const;
  void start_image(const Work& w, const RowCode& code) const;
  void read_bias(const Io& io, Work& w, std::int32_t* start, std::byte* bias) const;
  // Rows of a grid, the first of them `y` and `count` of them, at most strip_rows_.
  struct Some {
    std::int32_t y, count;
  };
  struct Panels {
    std::size_t begin, end;
  };
  Panels all_panels() const { return {0, layout_.panels}; }
  const std::byte* strip_at(const Work& w, const std::byte* image, Some rows,
                            const RowCode& code) const;
  std::size_t list_pixels(const Work& w, const std::byte* strip, std::byte* out, std::size_t grid,
                          Some rows, std::size_t pixels) const;
  bool one_row() const { return s_.window.batch == 1 && grid_h_ == 1; }
  void run_image(const Work& w, std::int32_t n, std::int32_t begin, std::int32_t end,
                 Panels panels) const;
  void run_whole_images(const Work& w) const;
  void run_panels(const Work& w, std::size_t grid, std::size_t pixels, Panels panels) const;
  // In blocks, where the processor has them and there are enough pixels.
  bool has_blocks() const {
    return s_.kernels->blocks != nullptr && element_ == Element::kQuads && !s_.wide;
  }
  bool in_blocks(std::size_t pixels) const { return block_rows_ > 0 && pixels >= kLeastBlock; }
  void plan_blocks();
  void run_blocks(const Work& w, std::size_t grid, std::size_t pixels, Panels panels) const;
  Block block_of(const Work& w, std::size_t grid, std::size_t group, std::size_t panel,
                 int panels) const;
  bool straight(const Block& b) const;
  // Forms that take two panels at once; [0] is null where there are none.
  const std::array<GemmFn, kMaxTileRows>& two_forms() const;
  std::size_t columns(const Block& b) const {
    return static_cast<std::size_t>(layout_.nr) * static_cast<std::size_t>(b.panels);
  }
  void set_zeros(const Work& w, std::size_t lane, std::size_t first, GemmTask& task) const;
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
  // Hybrid quads whose zero points are not known beforehand: the sum of the weights behind every
  // start value.
  std::vector<std::int32_t> weight_sums_;
  std::vector<std::int64_t> wide_bias_;
  std::vector<float> float_bias_, weight_scale_;
  bool direct_ = false;  // the inner loops read the input where it lies
  PaddedImage image_;
  std::int32_t strip_rows_ = 1, grid_h_ = 0, grid_w_ = 0;
  std::int32_t images_ = 1;  // whose pixels go through the loops together
  std::size_t out_bytes_ = 4, strip_bytes_ = 0, pixels_ = 0, scratch_ = 0;
  std::size_t tail_begin_ = 0, out_elements_ = 0;
  std::size_t block_rows_ = 0, block_stride_ = 0;  // rows copied together, 0: no blocks
};

}  // namespace litegap
