// BATCH_MATMUL: products of matrices, one per batch, with broadcast batch dimensions
// (docs/numerics.md, sections 2.6 and 4.5).
//
// Codes are widened and laid out so that every output is one dense dot product.  Float sums run in
// the order of the depth: sequentially (reference, built-in) or fused (XNNPACK).
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "kernels/arithmetic_ops.h"
#include "kernels/gemm_spec.h"
#include "kernels/hybrid.h"
#include "kernels/lanes.h"
#include "kernels/move.h"
#include "kernels/packed_bytes.h"
#include "kernels/value_quant.h"
#include "kernels/vectors.h"

namespace litegap {
namespace {

// Where a matrix lies: element (row, column) is at row * row_step + column * column_step.
struct Layout {
  std::size_t row_step = 0, column_step = 0, elements = 0;
};

struct Product {
  std::size_t rows = 0, depth = 0, columns = 0;
  Layout a, b;  // a is rows by depth, b is depth by columns
  struct Pair {
    std::size_t a, b;
  };
  std::vector<Pair> batches;  // which matrix of each operand makes an output matrix
};

Layout layout_of(const Shape& shape, bool transposed) {
  const auto rows = static_cast<std::size_t>(shape[shape.size() - 2]);
  const auto columns = static_cast<std::size_t>(shape.back());
  return transposed ? Layout{1, columns, rows * columns} : Layout{columns, 1, rows * columns};
}

std::int32_t batch_dim(const Shape& shape, std::size_t from_end) {
  return from_end + 2 < shape.size() ? shape[shape.size() - 3 - from_end] : 1;
}

// The output's batch dimensions, and the pairs of matrices.
Shape join_batches(const OpSpec& spec, Product& p) {
  const Shape &a = spec.inputs[0].shape, &b = spec.inputs[1].shape;
  const std::size_t rank = std::max(a.size(), b.size()) - 2;
  Shape out(rank);
  p.batches = {{0, 0}};
  std::size_t step_a = 1, step_b = 1;
  for (std::size_t k = 0; k < rank; ++k) {  // innermost first: later axes step over whole blocks
    const std::int32_t da = batch_dim(a, k), db = batch_dim(b, k);
    if (da != db && da != 1 && db != 1) {
      refuse(spec, "batches of {} and {} do not broadcast", shape_text(a), shape_text(b));
    }
    const std::int32_t n = da == 1 ? db : da;
    out[rank - 1 - k] = n;
    const std::vector<Product::Pair> block = p.batches;
    p.batches.clear();
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      for (const auto& pair : block) {
        p.batches.push_back(
            {pair.a + (da == 1 ? 0 : i * step_a), pair.b + (db == 1 ? 0 : i * step_b)});
      }
    }
    step_a *= static_cast<std::size_t>(da);
    step_b *= static_cast<std::size_t>(db);
  }
  return out;
}

Product prepare_product(OpSpec& spec, const BatchMatmulAttrs& attrs) {
  const Shape &a = spec.inputs[0].shape, &b = spec.inputs[1].shape;
  if (std::min(a.size(), b.size()) < 2 || std::max(a.size(), b.size()) > 5) {
    refuse(spec, "operands of shape {} and {}, expected 2 to 5 dimensions", shape_text(a),
           shape_text(b));
  }
  Product p;
  p.a = layout_of(a, attrs.adj_x);
  p.b = layout_of(b, attrs.adj_y);
  const std::int32_t rows = attrs.adj_x ? a.back() : a[a.size() - 2],
                     depth = attrs.adj_x ? a[a.size() - 2] : a.back();
  const std::int32_t columns = attrs.adj_y ? b[b.size() - 2] : b.back(),
                     other = attrs.adj_y ? b.back() : b[b.size() - 2];
  if (depth != other) {
    refuse(spec, "{} and {}{}{} do not multiply: depths {} and {}", shape_text(a), shape_text(b),
           attrs.adj_x ? ", first transposed" : "", attrs.adj_y ? ", second transposed" : "", depth,
           other);
  }
  // Checked before the list of batches is made.
  shape_elements(a);
  shape_elements(b);
  p.rows = static_cast<std::size_t>(rows);
  p.depth = static_cast<std::size_t>(depth);
  p.columns = static_cast<std::size_t>(columns);
  Shape out = join_batches(spec, p);
  out.push_back(rows);
  out.push_back(columns);
  shape_elements(out);
  spec.outputs[0].shape = out;
  return p;
}

// ---- float
// --------------------------------------------------------------------------------------------
// The inner loops of gemm.h: panels of columns of b, packed, by rows of a.
class FloatProduct final : public Kernel {
 public:
  FloatProduct(Product p, bool fused) : p_(std::move(p)), k_(gemm_best()) {
    forms_ = fused ? &k_.fused : &k_.plain;
    nr_ = static_cast<std::size_t>(k_.nr_float);
    panels_ = (p_.columns + nr_ - 1) / nr_;
    whole_ = panel_of(nr_);
    rest_ = panel_of(p_.columns % nr_);
    packed_bytes_ = round64(panels_ * p_.depth * nr_ * sizeof(float));
    if (p_.a.column_step != 1) turned_bytes_ = round64(p_.a.elements * sizeof(float));
  }
  std::size_t scratch_bytes() const override { return packed_bytes_ + turned_bytes_; }
  void run(const Io& io) const noexcept override {
    auto* packed = reinterpret_cast<float*>(io.scratch);
    auto* turned = reinterpret_cast<float*>(io.scratch + packed_bytes_);
    auto* out = static_cast<float*>(io.outputs[0]);
    for (const auto& batch : p_.batches) {
      const float* a = static_cast<const float*>(io.inputs[0]) + batch.a * p_.a.elements;
      if (turned_bytes_ > 0) {
        for (std::size_t k = 0; k < p_.depth; ++k) {
          for (std::size_t i = 0; i < p_.rows; ++i)
            turned[i * p_.depth + k] = a[i + k * p_.a.column_step];
        }
        a = turned;
      }
      pack(static_cast<const float*>(io.inputs[1]) + batch.b * p_.b.elements, packed);
      for (std::size_t panel = 0; panel < panels_; ++panel)
        run_panel(a, packed + panel * p_.depth * nr_, panel * nr_, out);
      out += p_.rows * p_.columns;
    }
  }

 private:
  // To [k][nr], `columns` of the nr.
  Move panel_of(std::size_t columns) const {
    const auto bytes = [](std::size_t floats) {
      return static_cast<std::int64_t>(floats * sizeof(float));
    };
    return Move(sizeof(float),
                {{static_cast<std::int64_t>(p_.depth), bytes(p_.b.row_step), bytes(nr_)},
                 {static_cast<std::int64_t>(columns), bytes(p_.b.column_step), bytes(1)}});
  }
  // [panel][k][nr]
  void pack(const float* b, float* to) const noexcept {
    for (std::size_t first = 0; first < p_.columns; first += nr_, to += p_.depth * nr_) {
      const bool whole = first + nr_ <= p_.columns;
      if (!whole) std::fill_n(to, p_.depth * nr_, 0.0f);
      (whole ? whole_ : rest_).run(b + first * p_.b.column_step, to);
    }
  }
  // Can the inner loop itself store the results of the panel from this column on?
  bool straight(std::size_t column) const noexcept {
    return k_.any_count || column + nr_ <= p_.columns;
  }
  // A panel by all rows of a, some tiles at a time.
  void run_panel(const float* a, const float* packed, std::size_t column,
                 float* out) const noexcept {
    const auto most = static_cast<std::size_t>(k_.mr_float);
    const std::size_t together = straight(column) ? kTiles * most : most;
    for (std::size_t i = 0; i < p_.rows;) {
      const std::size_t rows = std::min(together, p_.rows - i);
      const std::size_t tiles = std::max<std::size_t>(1, rows / most);
      const std::size_t taken = std::min(rows, tiles * most);
      run_tiles({a, packed, out, column, i, taken, tiles});
      i += taken;
    }
  }
  struct Tiles {
    const float *a, *packed;
    float* out;
    std::size_t column, first, rows, count;
  };
  // Tiles of equally many rows; where they do not go straight, one that is copied.
  void run_tiles(const Tiles& t) const noexcept {
    alignas(64) static constexpr float kStart[kMaxTileColumns] = {};
    alignas(64) float tile[kMaxTileRows * kMaxTileColumns];
    const std::byte* from[kTiles * kMaxTileRows];
    std::byte* to[kTiles * kMaxTileRows];
    for (std::size_t r = 0; r < t.rows; ++r) {
      from[r] = reinterpret_cast<const std::byte*>(t.a + (t.first + r) * p_.depth);
      to[r] = reinterpret_cast<std::byte*>(t.out + (t.first + r) * p_.columns);
    }
    const Segment all{0, static_cast<std::ptrdiff_t>(p_.depth)};
    const std::size_t count = std::min(nr_, p_.columns - t.column);
    GemmTask task{from, &all, 1, t.packed, kStart, tile, 0, t.count};
    if (straight(t.column)) {
      task.out = to;
      task.channel = t.column;
      task.count = static_cast<int>(count);
      task.low = -std::numeric_limits<float>::infinity();
      task.high = std::numeric_limits<float>::infinity();
    }
    (*forms_)[t.rows / t.count - 1](task);
    for (std::size_t r = 0; r < t.rows && task.out == nullptr; ++r)
      std::copy_n(tile + r * nr_, count, reinterpret_cast<float*>(to[r]) + t.column);
  }

  static constexpr std::size_t kTiles = 8;
  Product p_;
  const GemmKernels& k_;
  const std::array<GemmFn, kMaxTileRows>* forms_ = nullptr;
  std::size_t nr_ = 0, panels_ = 0, packed_bytes_ = 0, turned_bytes_ = 0;
  Move whole_, rest_;  // a panel of b to where it is packed
};

// ---- codes
// --------------------------------------------------------------------------------------- Rows of
// `depth` words: out[i][k] = in[i * row_step + k * column_step] - zero.
template <class T>
void widen(const T* in, std::size_t rows, std::size_t depth, std::size_t row_step,
           std::size_t column_step, std::int32_t zero, std::int16_t* out) noexcept {
  for (std::size_t i = 0; i < rows; ++i, out += depth) {
    const T* from = in + i * row_step;
    for (std::size_t k = 0; k < depth; ++k)
      out[k] = static_cast<std::int16_t>(from[k * column_step] - zero);
  }
}

template <class Acc>
Acc dot(const std::int16_t* a, const std::int16_t* b, std::size_t n) noexcept {
  Acc sum = 0;
  for (std::size_t k = 0; k < n; ++k) sum += std::int32_t{a[k]} * b[k];
  return sum;
}

template <class Out>
struct OutRows {
  Out* first = nullptr;
  std::size_t step = 0, rows = 0, count = 0;
};
// Up to kMaxTileColumns columns of a tile.
template <class Finish, class Out>
void finish_rows(Finish finish, const std::int32_t* tile, std::size_t tile_step,
                 const OutRows<Out>& to) noexcept {
  Out* out = to.first;
  for (std::size_t r = 0; r < to.rows; ++r, tile += tile_step, out += to.step) {
    Out codes[kMaxTileColumns];
    for (std::size_t j = 0; j < kMaxTileColumns; ++j) codes[j] = static_cast<Out>(finish(tile[j]));
    if (to.count == kMaxTileColumns)
      std::memcpy(out, codes, sizeof codes);
    else
      std::copy_n(codes, to.count, out);
  }
}

// Sums of 32 bits by the inner loops of gemm.h: panels of columns of b, packed in pairs of the
// depth, by rows of a.
template <class Out, class Finish>
class PanelProduct final : public Kernel {
 public:
  PanelProduct(Product p, std::int32_t za, std::int32_t zb, Finish finish)
      : p_(std::move(p)), k_(gemm_best()), za_(za), zb_(zb), finish_(finish) {
    nr_ = static_cast<std::size_t>(k_.nr);
    pairs_ = (p_.depth + 1) / 2;
    panels_ = (p_.columns + nr_ - 1) / nr_;
    bytes_a_ = round64(p_.rows * 2 * pairs_ * sizeof(std::int16_t));
    bytes_b_ = round64(panels_ * nr_ * 2 * pairs_ * sizeof(std::int16_t));
    if (p_.b.column_step == 1) return;
    bytes_turned_ = round64(nr_ * 2 * pairs_ * sizeof(std::int16_t));
    const auto pairs = static_cast<std::int64_t>(pairs_), nr = static_cast<std::int64_t>(nr_);
    turn_ = Move(4, {{pairs, 4, 4 * nr}, {nr, 4 * pairs, 4}});
  }
  std::size_t scratch_bytes() const override { return bytes_a_ + bytes_b_ + bytes_turned_; }
  void run(const Io& io) const noexcept override {
    auto* x = reinterpret_cast<std::int16_t*>(io.scratch);
    auto* y = reinterpret_cast<std::int16_t*>(io.scratch + bytes_a_);
    auto* out = static_cast<Out*>(io.outputs[0]);
    for (const auto& batch : p_.batches) {
      with_vectors([&] {
        widen_rows(static_cast<const std::int8_t*>(io.inputs[0]) + batch.a * p_.a.elements, x);
        const auto* b = static_cast<const std::int8_t*>(io.inputs[1]) + batch.b * p_.b.elements;
        if (bytes_turned_ > 0)
          pack_columns(b, y, reinterpret_cast<std::int16_t*>(io.scratch + bytes_a_ + bytes_b_));
        else
          pack(b, y);
      });
      for (std::size_t panel = 0; panel < panels_; ++panel)
        run_panel(x, y + panel * nr_ * 2 * pairs_, panel * nr_, out);
      out += p_.rows * p_.columns;
    }
  }

 private:
  void widen_rows(const std::int8_t* in, std::int16_t* out) const noexcept {
    const std::int32_t zero = za_;
    const std::size_t step = p_.a.column_step;
    for (std::size_t i = 0; i < p_.rows; ++i, out += 2 * pairs_) {
      const std::int8_t* from = in + i * p_.a.row_step;
      for (std::size_t k = 0; k < p_.depth; ++k)
        out[k] = static_cast<std::int16_t>(from[k * step] - zero);
      if (p_.depth % 2 != 0) out[p_.depth] = 0;
    }
  }
  // [panel][pair][nr][2]
  void pack(const std::int8_t* in, std::int16_t* out) const noexcept {
    const auto zero = static_cast<std::int16_t>(zb_);
    for (std::size_t first = 0; first < p_.columns; first += nr_) {
      const std::size_t count = std::min(nr_, p_.columns - first);
      for (std::size_t pair = 0; pair < pairs_; ++pair, out += 2 * nr_) {
        const std::size_t k = 2 * pair;
        const std::int8_t* from = in + k * p_.b.row_step + first * p_.b.column_step;
        if (count < nr_ || k + 1 == p_.depth) std::fill_n(out, 2 * nr_, std::int16_t{0});
        for (std::size_t j = 0; j < count; ++j)
          out[2 * j] = static_cast<std::int16_t>(from[j * p_.b.column_step] - zero);
        if (k + 1 == p_.depth) continue;
        from += p_.b.row_step;
        for (std::size_t j = 0; j < count; ++j)
          out[2 * j + 1] = static_cast<std::int16_t>(from[j * p_.b.column_step] - zero);
      }
    }
  }
  // The same of columns that are dense: widened one by one, then pairs are turned.
  void pack_columns(const std::int8_t* in, std::int16_t* out, std::int16_t* room) const noexcept {
    const std::int32_t zero = zb_;
    const std::size_t depth = p_.depth, step = 2 * pairs_;
    for (std::size_t first = 0; first < p_.columns; first += nr_, out += nr_ * step) {
      for (std::size_t j = 0; j < nr_; ++j) {
        std::int16_t* to = room + j * step;
        const bool there = first + j < p_.columns;
        const std::int8_t* from = in + (there ? first + j : 0) * p_.b.column_step;
        for (std::size_t k = 0; k < depth; ++k)
          to[k] = there ? static_cast<std::int16_t>(from[k] - zero) : std::int16_t{0};
        if (depth < step) to[depth] = 0;
      }
      turn_.run(room, out);
    }
  }
  void run_panel(const std::int16_t* x, const std::int16_t* packed, std::size_t column,
                 Out* out) const noexcept {
    alignas(64) static constexpr std::int32_t kStart[kMaxTileColumns] = {};
    alignas(64) std::int32_t tile[kMaxTileRows * kMaxTileColumns];
    const Segment all{0, static_cast<std::ptrdiff_t>(pairs_)};
    const std::size_t count = std::min(nr_, p_.columns - column);
    const auto most = static_cast<std::size_t>(k_.mr);
    for (std::size_t i = 0; i < p_.rows; i += most) {
      const std::size_t rows = std::min(most, p_.rows - i);
      std::array<const std::byte*, kMaxTileRows> from{};
      for (std::size_t r = 0; r < rows; ++r)
        from[r] = reinterpret_cast<const std::byte*>(x + (i + r) * 2 * pairs_);
      k_.pairs16[rows - 1]({from.data(), &all, 1, packed, kStart, tile});
      const OutRows<Out> to{out + i * p_.columns + column, p_.columns, rows, count};
      with_vectors([&] { finish_rows(finish_, tile, nr_, to); });
    }
  }

  Product p_;
  const GemmKernels& k_;
  std::int32_t za_, zb_;
  Finish finish_;
  std::size_t nr_ = 0, pairs_ = 0, panels_ = 0, bytes_a_ = 0, bytes_b_ = 0, bytes_turned_ = 0;
  Move turn_;
};

// The same with bytes, where the processor multiplies them.  With u, the code of a as it is
// multiplied, and zu, its zero point, a row's sum is
//   sum (u - zu)(b - zb) = sum u b - zu sum b - zb sum (u - zu)
// : the second term starts a column, the third a row.
template <class Out, class Finish>
class QuadProduct final : public Kernel {
 public:
  // b: the constant that the second operand is, or null.  requant: the same as `finish`, if it is
  // one of those that the loops of gemm.h have.
  QuadProduct(Product p, const GemmKernels& kernels, std::int32_t za, std::int32_t zb,
              Finish finish, const Array* b, std::optional<Requant> requant)
      : p_(std::move(p)),
        k_(kernels),
        zu_(za + (k_.signed_quads ? 0 : 128)),
        zb_(zb),
        finish_(finish),
        requant_(std::move(requant)) {
    nr_ = static_cast<std::size_t>(k_.nr);
    quads_ = (p_.depth + 3) / 4;
    panels_ = (p_.columns + nr_ - 1) / nr_;
    const std::size_t whole = in_blocks() ? kBlockGroups : 1;
    panel_bytes_ = (quads_ + whole - 1) / whole * whole * nr_ * 4;
    row_bytes_ = round64(4 * quads_) | 64;
    const std::size_t rows = (p_.rows + kBlockRows - 1) / kBlockRows * kBlockRows;
    bytes_rows_ = rows * row_bytes_;
    bytes_zeros_ = round64(rows * sizeof(std::int32_t));
    bytes_panels_ = panels_ * panel_bytes_;
    bytes_starts_ = (panels_ + 1) * nr_ * sizeof(std::int32_t);
    if (p_.b.column_step != 1) {
      const auto quads = static_cast<std::int64_t>(quads_), nr = static_cast<std::int64_t>(nr_);
      turn_ = Move(4, {{quads, 4, 4 * nr}, {nr, 4 * quads, 4}});
      bytes_turned_ = round64(nr_ * 4 * quads_);
    }
    if (b == nullptr || p_.b.elements == 0) return;
    const std::size_t matrices = b->elements() / p_.b.elements;
    constant_ = PackedBytes(matrices * matrix_bytes());
    std::vector<std::byte> room(bytes_turned_);
    for (std::size_t i = 0; i < matrices; ++i)
      pack(b->span<std::int8_t>().data() + i * p_.b.elements, constant_.data() + i * matrix_bytes(),
           room.data());
    is_constant_ = true;
  }
  std::size_t scratch_bytes() const override {
    return bytes_rows_ + bytes_zeros_ +
           (is_constant_ ? 0 : round64(matrix_bytes()) + bytes_turned_);
  }
  void run(const Io& io) const noexcept override {
    std::byte* const rows = io.scratch;
    auto* const zeros = reinterpret_cast<std::int32_t*>(rows + bytes_rows_);
    std::byte* const room = rows + bytes_rows_ + bytes_zeros_;
    auto* out = static_cast<Out*>(io.outputs[0]);
    for (const auto& batch : p_.batches) {
      const auto* a = static_cast<const std::int8_t*>(io.inputs[0]) + batch.a * p_.a.elements;
      const std::byte* matrix = room;
      with_vectors([&] { copy_rows(a, rows, zeros); });
      if (is_constant_) {
        matrix = constant_.data() + batch.b * matrix_bytes();
      } else {
        const auto* b = static_cast<const std::int8_t*>(io.inputs[1]) + batch.b * p_.b.elements;
        pack(b, room, room + round64(matrix_bytes()));
      }
      if (in_blocks())
        multiply_blocks(rows, zeros, matrix, out);
      else
        multiply_rows(rows, zeros, matrix, out);
      out += p_.rows * p_.columns;
    }
  }

 private:
  std::size_t matrix_bytes() const { return bytes_panels_ + bytes_starts_; }
  bool in_blocks() const { return k_.blocks != nullptr && p_.rows >= 9; }
  const std::int32_t* starts(const std::byte* matrix) const {
    return reinterpret_cast<const std::int32_t*>(matrix + bytes_panels_);
  }
  void copy_rows(const std::int8_t* in, std::byte* rows, std::int32_t* zeros) const noexcept {
    const std::uint8_t flip = k_.signed_quads ? 0 : 0x80;
    for (std::size_t i = 0; i < p_.rows; ++i) {
      auto* to = reinterpret_cast<std::uint8_t*>(rows + i * row_bytes_);
      const std::int8_t* from = in + i * p_.a.row_step;
      const std::size_t step = p_.a.column_step, depth = p_.depth;
      std::int32_t sum = 0;
      if (step == 1) {
        for (std::size_t k = 0; k < depth; ++k) {
          to[k] = static_cast<std::uint8_t>(from[k]) ^ flip;
          sum += from[k];
        }
      } else {
        for (std::size_t k = 0; k < depth; ++k) {
          to[k] = static_cast<std::uint8_t>(from[k * step]) ^ flip;
          sum += from[k * step];
        }
      }
      std::memset(to + depth, 0, 4 * quads_ - depth);
      // Codes less their zero point, u or not.
      const std::int32_t zero = zu_ - (k_.signed_quads ? 0 : 128);
      zeros[i] = wrapping_product(zb_, sum - zero * static_cast<std::int32_t>(depth));
    }
  }
  static std::int32_t wrapping_product(std::int32_t a, std::int32_t b) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) * static_cast<std::uint32_t>(b));
  }
  // Panels, then their start values, a panel of ones behind them.
  void pack(const std::int8_t* in, std::byte* matrix, std::byte* room) const noexcept {
    auto* start = reinterpret_cast<std::int32_t*>(matrix + bytes_panels_);
    std::fill_n(start + panels_ * nr_, nr_, 1);
    for (std::size_t panel = 0; panel < panels_; ++panel, start += nr_) {
      std::byte* to = matrix + panel * panel_bytes_;
      const std::size_t first = panel * nr_, count = std::min(nr_, p_.columns - first);
      std::memset(to + quads_ * nr_ * 4, 0, panel_bytes_ - quads_ * nr_ * 4);
      std::fill_n(start, nr_, 0);
      with_vectors([&] {
        if (bytes_turned_ > 0)
          turn_columns(in + first * p_.b.column_step, count, to, start, room);
        else
          join_rows(in + first, count, to, start);
        for (std::size_t j = 0; j < nr_; ++j) start[j] = wrapping_product(-zu_, start[j]);
      });
    }
  }
  // Columns that are dense.
  void turn_columns(const std::int8_t* in, std::size_t count, std::byte* out, std::int32_t* sums,
                    std::byte* room) const noexcept {
    const std::size_t bytes = 4 * quads_, depth = p_.depth;
    std::memset(room, 0, nr_ * bytes);
    for (std::size_t j = 0; j < count; ++j) {
      const std::int8_t* from = in + j * p_.b.column_step;
      std::memcpy(room + j * bytes, from, depth);
      std::int32_t sum = 0;
      for (std::size_t k = 0; k < depth; ++k) sum += from[k];
      sums[j] = sum;
    }
    turn_.run(room, out);
  }
  // Rows that are dense: the bytes of four of them together.
  void join_rows(const std::int8_t* in, std::size_t count, std::byte* out,
                 std::int32_t* sums) const noexcept {
    for (std::size_t k = 0; k < p_.depth; k += 4, out += 4 * nr_) {
      std::int8_t rows[4][kMaxTileColumns] = {};
      const std::size_t real = std::min<std::size_t>(4, p_.depth - k);
      for (std::size_t i = 0; i < real; ++i) {
        const std::int8_t* from = in + (k + i) * p_.b.row_step;
        if (count == kMaxTileColumns)
          std::memcpy(rows[i], from, kMaxTileColumns);
        else
          std::copy_n(from, count, rows[i]);
      }
      std::uint32_t quads[kMaxTileColumns];
      for (std::size_t j = 0; j < kMaxTileColumns; ++j) {
        const auto byte = [&](int i) {
          return std::uint32_t{static_cast<std::uint8_t>(rows[i][j])};
        };
        quads[j] = byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
      }
      std::memcpy(out, quads, 4 * nr_);
      for (std::size_t j = 0; j < nr_; ++j)
        sums[j] += rows[0][j] + rows[1][j] + rows[2][j] + rows[3][j];
    }
  }
  // A tile of one panel or two.
  void finish_tile(const std::int32_t* tile, std::size_t columns,
                   const OutRows<Out>& to) const noexcept {
    if (requant_) {
      std::array<std::byte*, kBlockRows> outs{};
      for (std::size_t r = 0; r < to.rows; ++r)
        outs[r] = reinterpret_cast<std::byte*>(to.first + r * to.step);
      return k_.finish(*requant_, {tile, columns, static_cast<int>(to.rows), 0,
                                   static_cast<int>(to.count), outs.data()});
    }
    for (std::size_t j = 0; j < to.count; j += nr_) {
      const OutRows<Out> part{to.first + j, to.step, to.rows, std::min(nr_, to.count - j)};
      with_vectors([&] { finish_rows(finish_, tile + j, columns, part); });
    }
  }
  void multiply_blocks(const std::byte* rows, const std::int32_t* zeros, const std::byte* matrix,
                       Out* out) const noexcept {
    constexpr std::size_t kTile = kBlockRows * 2 * kMaxTileColumns + kBlockGroups;
    static_assert(kBlockGroups >= kTileSlack);
    alignas(64) std::int32_t tiles[2][kTile];
    alignas(64) static constexpr std::int32_t kOnes[2 * kMaxTileColumns] = {
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    // A block is finished while the next one is multiplied: its sums take long to arrive in memory.
    struct Sums {
      const std::int32_t* tile = nullptr;
      std::size_t row = 0, rows = 0, column = 0, columns = 0;
    } waiting;
    const auto finish = [&](const Sums& sums) {
      finish_tile(sums.tile, sums.columns,
                  {out + sums.row * p_.columns + sums.column, p_.columns, sums.rows,
                   std::min(sums.columns, p_.columns - sums.column)});
    };
    BlockTask task;
    task.stride = row_bytes_;
    task.lines = panel_bytes_ / (kBlockGroups * 4 * nr_);
    task.panel_bytes = panel_bytes_;
    task.weight_sums = kOnes;
    int turn = 0;
    k_.blocks->begin();
    for (std::size_t panel = 0; panel < panels_; panel += static_cast<std::size_t>(task.panels)) {
      task.panels = panel + 2 <= panels_ ? 2 : 1;
      task.weights = matrix + panel * panel_bytes_;
      task.start = starts(matrix) + panel * nr_;
      for (std::size_t i = 0; i < p_.rows; i += kBlockRows) {
        task.tile = tiles[turn];
        task.a = rows + i * row_bytes_;
        task.rows = std::min(kBlockRows, p_.rows - i);
        task.zeros = zb_ != 0 ? zeros + i : nullptr;
        k_.blocks->multiply(task);
        finish(waiting);
        waiting = {task.tile, i, task.rows, panel * nr_,
                   nr_ * static_cast<std::size_t>(task.panels)};
        turn = 1 - turn;
      }
    }
    finish(waiting);
    k_.blocks->end();
  }
  void multiply_rows(const std::byte* rows, const std::int32_t* zeros, const std::byte* matrix,
                     Out* out) const noexcept {
    alignas(64) std::int32_t tile[kMaxTileRows * kMaxTileColumns + kTileSlack];
    const Segment all{0, static_cast<std::ptrdiff_t>(quads_)};
    const auto most = static_cast<std::size_t>(k_.mr);
    for (std::size_t panel = 0; panel < panels_; ++panel) {
      const std::size_t column = panel * nr_, count = std::min(nr_, p_.columns - column);
      for (std::size_t i = 0; i < p_.rows; i += most) {
        const std::size_t few = std::min(most, p_.rows - i);
        std::array<const std::byte*, kMaxTileRows> from{};
        for (std::size_t r = 0; r < few; ++r) from[r] = rows + (i + r) * row_bytes_;
        GemmTask task{from.data(), &all, 1, matrix + panel * panel_bytes_, starts(matrix) + column,
                      tile};
        if (zb_ != 0) {
          task.zeros = zeros + i;
          task.weight_sums = starts(matrix) + panels_ * nr_;
        }
        k_.quads[few - 1](task);
        finish_tile(tile, nr_, {out + i * p_.columns + column, p_.columns, few, count});
      }
    }
  }

  Product p_;
  const GemmKernels& k_;
  std::int32_t zu_, zb_;
  Finish finish_;
  std::optional<Requant> requant_;
  std::size_t nr_ = 0, quads_ = 0, panels_ = 0, panel_bytes_ = 0, row_bytes_ = 0;
  std::size_t bytes_rows_ = 0, bytes_zeros_ = 0, bytes_panels_ = 0, bytes_starts_ = 0,
              bytes_turned_ = 0;
  Move turn_;
  bool is_constant_ = false;
  PackedBytes constant_;
};

// Sums of 64 bits.
template <class Finish>
std::unique_ptr<Kernel> word_product(Product product, Finish finish) {
  const std::size_t bytes_a = round64(product.a.elements * sizeof(std::int16_t));
  const std::size_t scratch = bytes_a + product.b.elements * sizeof(std::int16_t);
  return make_kernel(
      [p = std::move(product), finish, bytes_a](const Io& io) noexcept {
        auto* x = reinterpret_cast<std::int16_t*>(io.scratch);
        auto* y = reinterpret_cast<std::int16_t*>(io.scratch + bytes_a);
        auto* out = static_cast<std::int16_t*>(io.outputs[0]);
        for (const auto& batch : p.batches) {
          widen(static_cast<const std::int16_t*>(io.inputs[0]) + batch.a * p.a.elements, p.rows,
                p.depth, p.a.row_step, p.a.column_step, 0, x);
          widen(static_cast<const std::int16_t*>(io.inputs[1]) + batch.b * p.b.elements, p.columns,
                p.depth, p.b.column_step, p.b.row_step, 0, y);
          for (std::size_t i = 0; i < p.rows; ++i) {
            for (std::size_t j = 0; j < p.columns; ++j) {
              *out++ = static_cast<std::int16_t>(
                  finish(dot<std::int64_t>(x + i * p.depth, y + j * p.depth, p.depth)));
            }
          }
        }
      },
      scratch);
}

template <class Out, class Finish>
std::unique_ptr<Kernel> byte_product(const OpSpec& spec, Product p, std::int32_t za,
                                     std::int32_t zb, Finish finish,
                                     std::optional<Requant> requant = {}) {
  const GemmKernels& k = gemm_best();
  if (k.has_quads())
    return std::make_unique<QuadProduct<Out, Finish>>(std::move(p), k, za, zb, finish,
                                                      spec.inputs[1].constant, std::move(requant));
  return std::make_unique<PanelProduct<Out, Finish>>(std::move(p), za, zb, finish);
}

std::unique_ptr<Kernel> int8_product(const OpSpec& spec, Product p) {
  if (spec.outputs[0].dtype == DType::kInt32) {
    const ScaleZero a = scale_zero(spec, spec.inputs[0]), b = scale_zero(spec, spec.inputs[1]);
    return byte_product<std::int32_t>(spec, std::move(p), a.zero, b.zero,
                                      [](std::int32_t sum) { return sum; });
  }
  // The kernel reads one scale of its second operand, which is 0 where there are several.
  const bool per_channel = spec.inputs[1].quant->per_channel();
  const ScaleZero a = scale_zero(spec, spec.inputs[0]),
                  b = per_channel ? ScaleZero{} : scale_zero(spec, spec.inputs[1]);
  const ScaleZero y = scale_zero(spec, spec.outputs[0]);
  const float product = per_channel ? 0.0f : a.scale * b.scale;
  if (spec.dialect == Dialect::kXnnpack && !per_channel && b.zero == 0 &&
      product / y.scale < 256.0f) {
    const float scale = product / y.scale;
    // requantize_xnn(), whose limits allow the rounding that becomes vector code.
    const auto high = static_cast<float>(127 - y.zero);
    Requant same;  // of as many columns as a tile has
    same.rounding = Rounding::kXnn;
    same.scale.assign(kPanelPad + 2 * kMaxTileColumns, scale);
    same.zero_point = y.zero;
    return byte_product<std::int8_t>(
        spec, std::move(p), a.zero, b.zero,
        [=](std::int32_t sum) {
          const float v = std::min(static_cast<float>(sum) * scale, high);
          const std::int32_t code = small_round_even(std::max(v, -65536.0f)) + y.zero;
          return std::max(std::min(code, 127), -128);
        },
        std::move(same));
  }
  const Multiplier m = make_multiplier(static_cast<double>(product) / static_cast<double>(y.scale));
  return byte_product<std::int8_t>(spec, std::move(p), a.zero, b.zero, [=](std::int32_t sum) {
    return std::min(std::max(scale_lane(sum, m) + y.zero, -128), 127);
  });
}

std::unique_ptr<Kernel> int16_product(const OpSpec& spec, Product p) {
  const ScaleZero a = scale_zero(spec, spec.inputs[0]), b = scale_zero(spec, spec.inputs[1]);
  const ScaleZero y = scale_zero(spec, spec.outputs[0]);
  if (a.zero != 0 || b.zero != 0 || y.zero != 0) {
    refuse(spec, "zero points {}, {} and {}, expected 0 for int16", a.zero, b.zero, y.zero);
  }
  const Multiplier m =
      make_multiplier(static_cast<double>(a.scale * b.scale) / static_cast<double>(y.scale));
  return word_product(std::move(p), [=](std::int64_t sum) {
    return std::min(std::max(scale_16x8(sum, m), -32768), 32767);
  });
}

// ---- hybrid: float by int8
// ----------------------------------------------------------------------- Every row of the float
// operand is quantized for itself.
std::unique_ptr<Kernel> hybrid_product(const OpSpec& spec, Product product, bool asymmetric) {
  const Quant& quant = *spec.inputs[1].quant;
  for (const std::int64_t zero : quant.zero_point) {
    if (zero != 0) refuse(spec, "int8 weights with zero point {}, expected 0", zero);
  }
  std::vector<float> scales = quant.scale;
  if (scales.size() == 1) scales.assign(product.columns, scales[0]);
  if (scales.size() != product.columns)
    refuse(spec, "tensor {} has {} scales for {} columns", spec.inputs[1].name, quant.scale.size(),
           product.columns);
  const bool xnn = spec.dialect == Dialect::kXnnpack && spec.inputs[1].constant != nullptr;
  const HybridCode how = xnn          ? HybridCode::kQd8
                         : asymmetric ? HybridCode::kAsymmetric
                                      : HybridCode::kSymmetric;
  const FloatRange range = hybrid_activation(Activation::kNone, xnn, true);
  const std::size_t bytes_row = round64(product.depth * sizeof(float));
  const std::size_t bytes_code = round64(product.depth * sizeof(std::int16_t));
  const std::size_t scratch = bytes_row + bytes_code + product.b.elements * sizeof(std::int16_t);
  return make_kernel(
      [=, p = std::move(product)](const Io& io) noexcept {
        const GemmKernels& kernels = gemm_best();
        auto* row = reinterpret_cast<float*>(io.scratch);
        auto* code = reinterpret_cast<std::int16_t*>(io.scratch + bytes_row);
        auto* y = reinterpret_cast<std::int16_t*>(io.scratch + bytes_row + bytes_code);
        auto* out = static_cast<float*>(io.outputs[0]);
        for (const auto& batch : p.batches) {
          const float* x = static_cast<const float*>(io.inputs[0]) + batch.a * p.a.elements;
          widen(static_cast<const std::int8_t*>(io.inputs[1]) + batch.b * p.b.elements, p.columns,
                p.depth, p.b.column_step, p.b.row_step, 0, y);
          for (std::size_t i = 0; i < p.rows; ++i) {
            for (std::size_t k = 0; k < p.depth; ++k)
              row[k] = x[i * p.a.row_step + k * p.a.column_step];
            const RowCode rc = hybrid_code(how, kernels, row, p.depth);
            hybrid_quantize(kernels, row, p.depth, rc, code);
            for (std::size_t j = 0; j < p.columns; ++j) {
              const auto sum =
                  static_cast<float>(dot<std::int32_t>(code, y + j * p.depth, p.depth));
              const float value = xnn ? sum * rc.scale * scales[j] : sum * (rc.scale * scales[j]);
              *out++ = clamped(value, range);
            }
          }
        }
      },
      scratch);
}

std::unique_ptr<Kernel> prepare_batch_matmul(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const auto& attrs = attrs_of<BatchMatmulAttrs>(spec);
  const DType a = spec.inputs[0].dtype, b = spec.inputs[1].dtype, y = spec.outputs[0].dtype;
  Product p = prepare_product(spec, attrs);
  if (a == DType::kFloat32 && b == a && y == a) {
    return std::make_unique<FloatProduct>(std::move(p), spec.dialect == Dialect::kXnnpack);
  }
  if (a == DType::kFloat32 && b == DType::kInt8 && y == a) {
    return hybrid_product(spec, std::move(p), attrs.asymmetric_quantize_inputs);
  }
  if (a == DType::kInt8 && b == a && (y == a || y == DType::kInt32))
    return int8_product(spec, std::move(p));
  if (a == DType::kInt16 && b == a && y == a) return int16_product(spec, std::move(p));
  refuse(spec, "types {}, {} and {} are not supported", dtype_name(a), dtype_name(b),
         dtype_name(y));
}

constexpr KernelRow kRows[] = {
    {OpCode::kBatchMatmul, prepare_batch_matmul, "float32 int8 int16 hybrid"}};

}  // namespace

std::span<const KernelRow> batch_matmul_kernel_rows() { return kRows; }

}  // namespace litegap
