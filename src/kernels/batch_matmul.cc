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
#include "kernels/byte_product.h"
#include "kernels/gemm_spec.h"
#include "kernels/hybrid.h"
#include "kernels/lanes.h"
#include "kernels/move.h"
#include "kernels/packed_bytes.h"
#include "kernels/value_quant.h"
#include "kernels/vectors.h"

namespace litegap {
namespace {

MatrixLayout layout_of(const Shape& shape, bool transposed) {
  const auto rows = static_cast<std::size_t>(shape[shape.size() - 2]);
  const auto columns = static_cast<std::size_t>(shape.back());
  return transposed ? MatrixLayout{1, columns, rows * columns}
                    : MatrixLayout{columns, 1, rows * columns};
}

std::int32_t batch_dim(const Shape& shape, std::size_t from_end) {
  return from_end + 2 < shape.size() ? shape[shape.size() - 3 - from_end] : 1;
}

// The output's batch dimensions, and the pairs of matrices.
Shape join_batches(const OpSpec& spec, MatrixProduct& p) {
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
    const std::vector<MatrixProduct::Pair> block = p.batches;
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

MatrixProduct prepare_product(OpSpec& spec, const BatchMatmulAttrs& attrs) {
  const Shape &a = spec.inputs[0].shape, &b = spec.inputs[1].shape;
  if (std::min(a.size(), b.size()) < 2 || std::max(a.size(), b.size()) > 5) {
    refuse(spec, "operands of shape {} and {}, expected 2 to 5 dimensions", shape_text(a),
           shape_text(b));
  }
  MatrixProduct p;
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
  FloatProduct(MatrixProduct p, bool fused) : p_(std::move(p)), k_(gemm_best()) {
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
  MatrixProduct p_;
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

// Sums of 64 bits.
template <class Finish>
std::unique_ptr<Kernel> word_product(MatrixProduct product, Finish finish) {
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

std::unique_ptr<Kernel> int8_product(const OpSpec& spec, MatrixProduct p) {
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

std::unique_ptr<Kernel> int16_product(const OpSpec& spec, MatrixProduct p) {
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
std::unique_ptr<Kernel> hybrid_product(const OpSpec& spec, MatrixProduct product, bool asymmetric) {
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
  MatrixProduct p = prepare_product(spec, attrs);
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
