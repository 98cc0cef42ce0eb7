// Products of two matrices of int8 codes for BATCH_MATMUL, by the inner loops of gemm.h: in bytes
// where the processor multiplies those, else in pairs of words.
//
//   byte_product<std::int8_t>(spec, product, za, zb, [](std::int32_t sum) { return code; });
#pragma once
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "kernels/gemm.h"
#include "kernels/kernel.h"
#include "kernels/move.h"
#include "kernels/packed_bytes.h"
#include "kernels/vectors.h"

namespace litegap {

// Where a matrix lies: element (row, column) is at row * row_step + column * column_step.
struct MatrixLayout {
  std::size_t row_step = 0, column_step = 0, elements = 0;
};

struct MatrixProduct {
  std::size_t rows = 0, depth = 0, columns = 0;
  MatrixLayout a, b;  // a is rows by depth, b is depth by columns
  struct Pair {
    std::size_t a, b;
  };
  std::vector<Pair> batches;  // which matrix of each operand makes an output matrix
};

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
  PanelProduct(MatrixProduct p, std::int32_t za, std::int32_t zb, Finish finish)
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

  MatrixProduct p_;
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
  QuadProduct(MatrixProduct p, const GemmKernels& kernels, std::int32_t za, std::int32_t zb,
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

  MatrixProduct p_;
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

// b is input 1 of `spec`.  requant: see QuadProduct.
template <class Out, class Finish>
std::unique_ptr<Kernel> byte_product(const OpSpec& spec, MatrixProduct p, std::int32_t za,
                                     std::int32_t zb, Finish finish,
                                     std::optional<Requant> requant = {}) {
  const GemmKernels& k = gemm_best();
  if (k.has_quads())
    return std::make_unique<QuadProduct<Out, Finish>>(std::move(p), k, za, zb, finish,
                                                      spec.inputs[1].constant, std::move(requant));
  return std::make_unique<PanelProduct<Out, Finish>>(std::move(p), za, zb, finish);
}

}  // namespace litegap
