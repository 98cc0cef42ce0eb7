// Operators that read or write at indices: GATHER_ND, SCATTER_ND, SPARSE_TO_DENSE, ONE_HOT,
// EMBEDDING_LOOKUP, EMBEDDING_LOOKUP_SPARSE, HASHTABLE_LOOKUP, SEGMENT_SUM, UNSORTED_SEGMENT_*.
//
// Indices may come at run time.  One outside of its array, at which the runtime stops, reads zeros
// and writes nothing.
//
//   GATHER_ND   [[a b] [c d]] at [[1 0] [0 1]] -> [c b]
//   SCATTER_ND  [x y z] to [[1] [1] [0]] of a shape [3] -> [z, x + y, 0]
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/blockwise.h"
#include "kernels/move.h"
#include "kernels/value_quant.h"

namespace litegap {
namespace {

// How to read an index operand of any integer type.
struct Indices {
  std::size_t input = 0;
  DType type = DType::kInt32;
  std::int64_t at(const Io& io, std::int64_t i) const noexcept {
    switch (type) {
      case DType::kInt16:
        return static_cast<const std::int16_t*>(io.inputs[input])[i];
      case DType::kInt64:
        return static_cast<const std::int64_t*>(io.inputs[input])[i];
      default:
        return static_cast<const std::int32_t*>(io.inputs[input])[i];
    }
  }
};

Indices indices_of(const OpSpec& spec, std::size_t input, bool wide, bool narrow = false) {
  const DType t = spec.inputs[input].dtype;
  if (t == DType::kInt32 || (wide && t == DType::kInt64) || (narrow && t == DType::kInt16))
    return {input, t};
  refuse(spec, "its indices (input {}) are of type {}", input, dtype_name(t));
}

void expect_one_of(const OpSpec& spec, DType t, std::initializer_list<DType> known) {
  for (const DType k : known) {
    if (t == k) return;
  }
  refuse(spec, "type {} is not supported", dtype_name(t));
}

Shape shape_from(const OpSpec& spec, std::size_t input) {
  Shape shape;
  for (const std::int64_t d : plan_integers(spec, input, "shape"))
    shape.push_back(checked_dim(spec, d));
  shape_elements(shape);
  return shape;
}

// ---- slices addressed by several indices
struct Address {
  Indices indices;
  std::int64_t count = 0;                // of addresses
  std::vector<std::int64_t> dims, step;  // per component: its limit, its distance in bytes
  // The place in bytes of address `i`, or -1.
  std::int64_t place(const Io& io, std::int64_t i) const noexcept {
    const auto n = static_cast<std::int64_t>(dims.size());
    std::int64_t to = 0;
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t v = indices.at(io, i * n + k);
      if (v < 0 || v >= dims[static_cast<std::size_t>(k)]) return -1;
      to += v * step[static_cast<std::size_t>(k)];
    }
    return to;
  }
};

// Addresses into `shape`, the last axis of the indices holding the components.
Address address_of(const OpSpec& spec, Indices indices, const Shape& shape, std::size_t unit) {
  const Shape& index = spec.inputs[indices.input].shape;
  if (index.empty()) refuse(spec, "its indices are a scalar");
  const auto depth = static_cast<std::size_t>(index.back());
  if (depth > shape.size())
    refuse(spec, "indices of {} components into shape {}", depth, shape_text(shape));
  Address a;
  a.indices = indices;
  a.count = product(index, 0, index.size() - 1);
  const auto steps = dense_steps(shape, unit);
  for (std::size_t k = 0; k < depth; ++k) {
    a.dims.push_back(shape[k]);
    a.step.push_back(steps[k]);
  }
  return a;
}

std::unique_ptr<Kernel> prepare_gather_nd(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  expect_one_of(spec, spec.inputs[0].dtype,
                {DType::kFloat32, DType::kUint8, DType::kInt8, DType::kInt16, DType::kInt32,
                 DType::kInt64, DType::kBool});
  const Shape &from = spec.inputs[0].shape, &index = spec.inputs[1].shape;
  const Address a = address_of(spec, indices_of(spec, 1, true, true), from, unit);
  Shape out(index.begin(), index.end() - 1);
  out.insert(out.end(), from.begin() + index.back(), from.end());
  shape_elements(out);
  const auto bytes =
      static_cast<std::size_t>(product(from, static_cast<std::size_t>(index.back()), from.size()) *
                               static_cast<std::int64_t>(unit));
  spec.outputs[0].shape = out;
  return make_kernel([a, bytes](const Io& io) {
    const auto* in = static_cast<const std::byte*>(io.inputs[0]);
    auto* to = static_cast<std::byte*>(io.outputs[0]);
    for (std::int64_t i = 0; i < a.count && bytes > 0; ++i, to += bytes) {
      const std::int64_t place = a.place(io, i);
      if (place < 0)
        std::memset(to, 0, bytes);
      else
        std::memcpy(to, in + place, bytes);
    }
  });
}

template <class T>
T wrapping_sum(T a, T b) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
  else
    return a + b;
}

// Updates of one place add up, integers modulo their word.
template <class T>
std::unique_ptr<Kernel> scatter_kernel(Address a, std::int64_t slice, std::size_t bytes) {
  return make_kernel([a = std::move(a), slice, bytes](const Io& io) {
    if (bytes > 0) std::memset(io.outputs[0], 0, bytes);
    const T* update = static_cast<const T*>(io.inputs[1]);
    for (std::int64_t i = 0; i < a.count; ++i, update += slice) {
      const std::int64_t place = a.place(io, i);
      if (place < 0) continue;
      T* to = static_cast<T*>(io.outputs[0]) + place / static_cast<std::int64_t>(sizeof(T));
      for (std::int64_t k = 0; k < slice; ++k) to[k] = wrapping_sum(to[k], update[k]);
    }
  });
}

std::unique_ptr<Kernel> prepare_scatter_nd(OpSpec& spec) {
  expect_inputs(spec, 3, 3);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 1);
  const Shape shape = shape_from(spec, 2);
  Address a = address_of(spec, indices_of(spec, 0, false), shape, unit);
  const Shape &index = spec.inputs[0].shape, &updates = spec.inputs[1].shape;
  Shape want(index.begin(), index.end() - 1);
  want.insert(want.end(), shape.begin() + index.back(), shape.end());
  if (updates != want) {
    refuse(spec, "updates of shape {} for indices {} into {}", shape_text(updates),
           shape_text(index), shape_text(shape));
  }
  const std::int64_t slice = product(shape, static_cast<std::size_t>(index.back()), shape.size());
  const std::size_t bytes = shape_elements(shape) * unit;
  spec.outputs[0].shape = shape;
  switch (spec.inputs[1].dtype) {
    case DType::kFloat32:
      return scatter_kernel<float>(std::move(a), slice, bytes);
    case DType::kInt8:
      return scatter_kernel<std::int8_t>(std::move(a), slice, bytes);
    case DType::kUint8:
      return scatter_kernel<std::uint8_t>(std::move(a), slice, bytes);
    case DType::kInt32:
      return scatter_kernel<std::int32_t>(std::move(a), slice, bytes);
    case DType::kInt64:
      return scatter_kernel<std::int64_t>(std::move(a), slice, bytes);
    default:
      refuse(spec, "updates of type {} are not supported", dtype_name(spec.inputs[1].dtype));
  }
}

// ---- SPARSE_TO_DENSE: a default everywhere, values at the given places
std::unique_ptr<Kernel> prepare_sparse_to_dense(OpSpec& spec) {
  expect_inputs(spec, 4, 4);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 2);
  expect_same_type(spec, 3);
  expect_one_of(spec, spec.inputs[2].dtype,
                {DType::kFloat32, DType::kInt8, DType::kUint8, DType::kInt32, DType::kInt64});
  const Shape shape = shape_from(spec, 1);
  const Shape &index = spec.inputs[0].shape, &values = spec.inputs[2].shape;
  if (index.size() > 2 || values.size() > 1 || shape.size() > 4)
    refuse(spec, "indices of shape {} and values of shape {}", shape_text(index),
           shape_text(values));
  if (shape_elements(spec.inputs[3].shape) != 1) refuse(spec, "its default is not a scalar");
  Address a;
  a.indices = indices_of(spec, 0, true);
  a.count = index.empty() ? 1 : index[0];
  const std::size_t depth = index.size() == 2 ? static_cast<std::size_t>(index[1]) : 1;
  if (depth != shape.size())
    refuse(spec, "indices of {} components into shape {}", depth, shape_text(shape));
  a.dims.assign(shape.begin(), shape.end());
  a.step = dense_steps(shape, unit);
  if (!values.empty() && values[0] != a.count)
    refuse(spec, "{} values for {} indices", values[0], a.count);
  const std::size_t next = values.empty() ? 0 : unit, n = shape_elements(shape);
  spec.outputs[0].shape = shape;
  return make_kernel([=, a = std::move(a)](const Io& io) {
    auto* out = static_cast<std::byte*>(io.outputs[0]);
    for (std::size_t i = 0; i < n; ++i) std::memcpy(out + i * unit, io.inputs[3], unit);
    const auto* value = static_cast<const std::byte*>(io.inputs[2]);
    for (std::int64_t i = 0; i < a.count; ++i, value += next) {
      const std::int64_t place = a.place(io, i);
      if (place >= 0) std::memcpy(out + place, value, unit);
    }
  });
}

// ---- ONE_HOT
std::unique_ptr<Kernel> prepare_one_hot(OpSpec& spec) {
  expect_inputs(spec, 4, 4);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 2);
  expect_same_type(spec, 3);
  expect_one_of(
      spec, spec.inputs[2].dtype,
      {DType::kFloat32, DType::kInt32, DType::kInt64, DType::kInt8, DType::kUint8, DType::kBool});
  const Indices indices = indices_of(spec, 0, true);
  const auto depth = plan_integers(spec, 1, "depth");
  if (depth.size() != 1 || spec.inputs[1].dtype != DType::kInt32)
    refuse(spec, "its depth is not one int32 number");
  for (const std::size_t i : {2, 3}) {
    if (shape_elements(spec.inputs[i].shape) != 1) refuse(spec, "input {} is not a scalar", i);
  }
  const Shape& in = spec.inputs[0].shape;
  const std::int32_t wanted = attrs_of<OneHotAttrs>(spec).axis;
  const std::size_t axis = wanted == -1 ? in.size() : checked_axis(spec, wanted, in.size() + 1);
  Shape out = in;
  out.insert(out.begin() + static_cast<std::ptrdiff_t>(axis), checked_dim(spec, depth[0]));
  shape_elements(out);
  spec.outputs[0].shape = out;
  const std::int64_t before = product(in, 0, axis), after = product(in, axis, in.size());
  return make_kernel([=, n = depth[0]](const Io& io) {
    auto* to = static_cast<std::byte*>(io.outputs[0]);
    for (std::int64_t b = 0; b < before; ++b) {
      for (std::int64_t d = 0; d < n; ++d) {
        for (std::int64_t k = 0; k < after; ++k, to += unit)
          std::memcpy(to, io.inputs[indices.at(io, b * after + k) == d ? 2 : 3], unit);
      }
    }
  });
}

// ---- embeddings: rows of a table; codes of a float output are multiplied by their scale
struct RowCodes {
  DType type = DType::kInt8;
  std::vector<float> scales;
  std::int64_t share = 1;  // elements that share a scale: all, a row, or a block of it
  float value(const void* table, std::int64_t at) const noexcept {
    const float scale = scales[static_cast<std::size_t>(at / share)];
    std::int32_t code = 0;
    if (type == DType::kInt4) {
      const auto byte = static_cast<const std::uint8_t*>(table)[at / 2];
      code = static_cast<std::int8_t>(at % 2 == 0 ? byte << 4 : byte & 0xF0) >> 4;
    } else if (type == DType::kInt2) {
      const auto byte = static_cast<const std::uint8_t*>(table)[at / 4];
      code = static_cast<std::int8_t>(byte << (6 - 2 * (at % 4))) >> 6;
    } else {
      code = static_cast<const std::int8_t*>(table)[at];
    }
    return static_cast<float>(code) * scale;
  }
};

std::unique_ptr<Kernel> lookup_codes(const OpSpec& spec, std::int64_t picks, std::int64_t rows,
                                     std::int64_t width) {
  const Operand& table = spec.inputs[1];
  const bool blocks = table.quant->blockwise();
  RowCodes codes{table.dtype, table.quant->scale, std::max<std::int64_t>(1, width)};
  if (blocks) {
    expect_one_of(spec, table.dtype, {DType::kInt4, DType::kInt2});
    if (table.shape.size() != 2) refuse(spec, "a blockwise table of {}", shape_text(table.shape));
    codes.scales = block_scales(spec, table);
    codes.share = table.quant->block_size;
  } else {
    expect_one_of(spec, table.dtype, {DType::kInt8, DType::kUint8, DType::kInt4, DType::kInt2});
    const std::size_t scales = codes.scales.size();
    const bool per_row =
        scales > 1 && table.quant->axis == 0 && scales == static_cast<std::size_t>(rows);
    if (scales != 1 && !per_row)
      refuse(spec, "its table has {} scales, expected one or one a row", scales);
    if (scales == 1) codes.share = std::max<std::int64_t>(1, rows * width);
  }
  return make_kernel([=](const Io& io) {
    const auto* id = static_cast<const std::int32_t*>(io.inputs[0]);
    auto* out = static_cast<float*>(io.outputs[0]);
    for (std::int64_t i = 0; i < picks; ++i, out += width) {
      const bool inside = id[i] >= 0 && id[i] < rows;
      for (std::int64_t k = 0; k < width; ++k)
        out[k] = inside ? codes.value(io.inputs[1], id[i] * width + k) : 0.0f;
    }
  });
}

std::unique_ptr<Kernel> prepare_embedding_lookup(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const Shape &id = spec.inputs[0].shape, &table = spec.inputs[1].shape;
  if (spec.inputs[0].dtype != DType::kInt32 || id.size() != 1)
    refuse(spec, "its indices are not a vector of int32");
  if (table.size() < 2) refuse(spec, "its table has shape {}", shape_text(table));
  Shape out = table;
  out[0] = id[0];
  shape_elements(out);
  spec.outputs[0].shape = out;
  const std::int64_t picks = id[0], rows = table[0], width = product(table, 1, table.size());
  if (spec.inputs[1].dtype != spec.outputs[0].dtype) {
    if (spec.outputs[0].dtype != DType::kFloat32)
      refuse(spec, "a table of {} and an output of {}", dtype_name(spec.inputs[1].dtype),
             dtype_name(spec.outputs[0].dtype));
    return lookup_codes(spec, picks, rows, width);
  }
  const std::size_t bytes = static_cast<std::size_t>(width) * element_bytes(spec, spec.inputs[1]);
  return make_kernel([=](const Io& io) {
    const auto* at = static_cast<const std::int32_t*>(io.inputs[0]);
    const auto* from = static_cast<const std::byte*>(io.inputs[1]);
    auto* to = static_cast<std::byte*>(io.outputs[0]);
    for (std::int64_t i = 0; i < picks && bytes > 0; ++i, to += bytes) {
      if (at[i] >= 0 && at[i] < rows)
        std::memcpy(to, from + static_cast<std::size_t>(at[i]) * bytes, bytes);
      else
        std::memset(to, 0, bytes);
    }
  });
}

// Weighted sums of rows: each row of `places` says to which bag (all but its last index) one id
// goes.  "mean" divides by the sum of the weights, "sqrtn" by the root of the sum of squares.
struct SparseLookup {
  std::int64_t ids = 0, rows = 0, width = 0, bags = 0;
  std::vector<std::int64_t> dims;  // of the bags
  std::size_t depth = 0;           // components of a place
  std::int8_t combiner = 0;

  std::int64_t bag(const std::int32_t* place) const noexcept {
    std::int64_t b = 0;
    for (std::size_t k = 0; k < dims.size(); ++k) {
      if (place[k] < 0 || place[k] >= dims[k]) return -1;
      b = b * dims[k] + place[k];
    }
    return b;
  }
  void operator()(const Io& io) const noexcept {
    const auto* id = static_cast<const std::int32_t*>(io.inputs[0]);
    const auto* place = static_cast<const std::int32_t*>(io.inputs[1]);
    const auto* weight = static_cast<const float*>(io.inputs[3]);
    const auto* table = static_cast<const float*>(io.inputs[4]);
    auto* out = static_cast<float*>(io.outputs[0]);
    auto *sums = reinterpret_cast<float*>(io.scratch), *squares = sums + bags;
    std::fill_n(sums, 2 * bags, 0.0f);
    std::fill_n(out, bags * width, 0.0f);
    for (std::int64_t i = 0; i < ids; ++i, place += depth) {
      const std::int64_t b = bag(place);
      if (b < 0 || id[i] < 0 || id[i] >= rows) continue;
      sums[b] += weight[i];
      squares[b] += weight[i] * weight[i];
      for (std::int64_t k = 0; k < width; ++k)
        out[b * width + k] += table[id[i] * width + k] * weight[i];
    }
    if (combiner == 0) return;
    for (std::int64_t b = 0; b < bags; ++b) {
      const float by = combiner == 1 ? sums[b] : std::sqrt(squares[b]);
      for (std::int64_t k = 0; k < width && by != 0; ++k) out[b * width + k] /= by;
    }
  }
};

std::unique_ptr<Kernel> prepare_embedding_lookup_sparse(OpSpec& spec) {
  expect_inputs(spec, 5, 5);
  expect_outputs(spec, 1);
  const Shape &id = spec.inputs[0].shape, &place = spec.inputs[1].shape,
              &table = spec.inputs[4].shape;
  for (const std::size_t i : {0, 1, 2}) indices_of(spec, i, false);
  for (const std::size_t i : {3, 4}) {
    if (spec.inputs[i].dtype != DType::kFloat32) refuse(spec, "input {} is not float32", i);
  }
  if (spec.outputs[0].dtype != DType::kFloat32)
    refuse(spec, "its output is {}, expected float32", dtype_name(spec.outputs[0].dtype));
  const Shape dense = shape_from(spec, 2);
  const bool fits = id.size() == 1 && place.size() == 2 && place[0] == id[0] && !dense.empty() &&
                    static_cast<std::size_t>(place[1]) == dense.size() && table.size() >= 2 &&
                    spec.inputs[3].shape == id;
  if (!fits) refuse(spec, "the shapes of its operands do not fit each other");
  SparseLookup s;
  s.ids = id[0];
  s.rows = table[0];
  s.width = product(table, 1, table.size());
  s.dims.assign(dense.begin(), dense.end() - 1);
  s.depth = dense.size();
  s.bags = product(dense, 0, dense.size() - 1);
  s.combiner = attrs_of<CombinerAttrs>(spec).combiner;
  if (s.combiner < 0 || s.combiner > 2) refuse(spec, "an unknown combiner {}", s.combiner);
  Shape out(dense.begin(), dense.end() - 1);
  out.insert(out.end(), table.begin() + 1, table.end());
  shape_elements(out);
  spec.outputs[0].shape = out;
  return make_kernel(s, 2 * sizeof(float) * static_cast<std::size_t>(s.bags));
}

// ---- HASHTABLE_LOOKUP: rows by key, the keys in order; a second output says which were found
std::unique_ptr<Kernel> prepare_hashtable_lookup(OpSpec& spec) {
  expect_inputs(spec, 3, 3);
  expect_outputs(spec, 2);
  const Shape &wanted = spec.inputs[0].shape, &keys = spec.inputs[1].shape,
              &table = spec.inputs[2].shape;
  for (const std::size_t i : {0, 1}) {
    if (spec.inputs[i].dtype != DType::kInt32 || spec.inputs[i].shape.size() != 1)
      refuse(spec, "input {} is not a vector of int32", i);
  }
  if (table.empty() || table[0] != keys[0])
    refuse(spec, "{} keys for a table of shape {}", keys[0], shape_text(table));
  if (spec.inputs[2].dtype != spec.outputs[0].dtype || spec.outputs[1].dtype != DType::kUint8)
    refuse(spec, "its outputs are not of the table's type and uint8");
  Shape out = table;
  out[0] = wanted[0];
  shape_elements(out);
  spec.outputs[0].shape = out;
  spec.outputs[1].shape = {wanted[0]};
  const std::int64_t count = wanted[0], rows = keys[0];
  const std::size_t bytes = static_cast<std::size_t>(product(table, 1, table.size())) *
                            element_bytes(spec, spec.inputs[2]);
  return make_kernel([=](const Io& io) {
    const auto* key = static_cast<const std::int32_t*>(io.inputs[1]);
    auto* to = static_cast<std::byte*>(io.outputs[0]);
    for (std::int64_t i = 0; i < count; ++i, to += bytes) {
      const std::int32_t w = static_cast<const std::int32_t*>(io.inputs[0])[i];
      const auto* found = std::lower_bound(key, key + rows, w);
      const bool hit = found != key + rows && *found == w;
      static_cast<std::uint8_t*>(io.outputs[1])[i] = hit ? 1 : 0;
      if (bytes == 0) continue;
      if (hit)
        std::memcpy(to,
                    static_cast<const std::byte*>(io.inputs[2]) +
                        static_cast<std::size_t>(found - key) * bytes,
                    bytes);
      else
        std::memset(to, 0, bytes);
    }
  });
}

// ---- segments
template <class T, class F>
std::unique_ptr<Kernel> segment_kernel(std::int64_t rows, std::int64_t segments, std::int64_t width,
                                       Indices ids, T start, F f) {
  return make_kernel([=](const Io& io) {
    const T* in = static_cast<const T*>(io.inputs[0]);
    T* out = static_cast<T*>(io.outputs[0]);
    std::fill_n(out, segments * width, start);
    for (std::int64_t r = 0; r < rows; ++r, in += width) {
      const std::int64_t s = ids.at(io, r);
      if (s < 0 || s >= segments) continue;
      for (std::int64_t k = 0; k < width; ++k) out[s * width + k] = f(out[s * width + k], in[k]);
    }
  });
}

template <class T>
T wrapping_product(T a, T b) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<std::uint32_t>(a) * static_cast<std::uint32_t>(b));
  else
    return a * b;
}

template <class T>
std::unique_ptr<Kernel> segments_of(OpCode code, std::int64_t rows, std::int64_t segments,
                                    std::int64_t width, Indices ids) {
  using Limits = std::numeric_limits<T>;
  const auto with = [&](T start, auto f) {
    return segment_kernel<T>(rows, segments, width, ids, start, f);
  };
  switch (code) {
    case OpCode::kUnsortedSegmentProd:
      return with(T(1), [](T a, T b) { return wrapping_product(a, b); });
    case OpCode::kUnsortedSegmentMax:
      return with(Limits::lowest(), [](T a, T b) { return std::max(a, b); });
    case OpCode::kUnsortedSegmentMin:
      return with(Limits::max(), [](T a, T b) { return std::min(a, b); });
    default:
      return with(T(0), [](T a, T b) { return wrapping_sum(a, b); });
  }
}

std::unique_ptr<Kernel> prepare_segments(OpSpec& spec, std::int64_t segments) {
  expect_same_type(spec, 0);
  const Indices ids = indices_of(spec, 1, false);
  const Shape &data = spec.inputs[0].shape, &id = spec.inputs[1].shape;
  if (id.size() > data.size() || !std::equal(id.begin(), id.end(), data.begin()))
    refuse(spec, "segments of shape {} for data of shape {}", shape_text(id), shape_text(data));
  Shape out(data.begin() + static_cast<std::ptrdiff_t>(id.size()), data.end());
  out.insert(out.begin(), checked_dim(spec, segments));
  shape_elements(out);
  spec.outputs[0].shape = out;
  const std::int64_t rows = product(id, 0, id.size()),
                     width = product(data, id.size(), data.size());
  const OpCode code = spec.op->code;
  if (spec.inputs[0].dtype == DType::kFloat32)
    return segments_of<float>(code, rows, segments, width, ids);
  if (spec.inputs[0].dtype == DType::kInt32)
    return segments_of<std::int32_t>(code, rows, segments, width, ids);
  refuse_type(spec);
}

std::unique_ptr<Kernel> prepare_unsorted_segment(OpSpec& spec) {
  expect_inputs(spec, 3, 3);
  expect_outputs(spec, 1);
  const auto segments = plan_integers(spec, 2, "number of segments");
  if (segments.size() != 1) refuse(spec, "{} numbers of segments", segments.size());
  return prepare_segments(spec, segments[0]);
}

// As many segments as the last id says: the ids must be known, in order and without gaps.
std::unique_ptr<Kernel> prepare_segment_sum(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  if (spec.dialect == Dialect::kReference)
    refuse(spec, "the reference kernels have no {}", op_name(spec.op->code));
  indices_of(spec, 1, false);
  if (spec.inputs[1].shape.size() != 1) refuse(spec, "its segments are not a vector");
  const auto ids = plan_integers(spec, 1, "segments");
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::int64_t step = i == 0 ? ids[0] : ids[i] - ids[i - 1];
    if (step != 0 && (step != 1 || i == 0)) refuse(spec, "segment {} follows a gap", ids[i]);
  }
  return prepare_segments(spec, ids.empty() ? 0 : ids.back() + 1);
}

constexpr const char* kMoved = "float32 int8 uint8 int16 int32 int64 bool";
constexpr const char* kSegments = "float32 int32";
constexpr KernelRow kRows[] = {
    {OpCode::kGatherNd, prepare_gather_nd, kMoved},
    {OpCode::kScatterNd, prepare_scatter_nd, "float32 int8 uint8 int32 int64"},
    {OpCode::kSparseToDense, prepare_sparse_to_dense, "float32 int8 uint8 int32 int64"},
    {OpCode::kOneHot, prepare_one_hot, "float32 int8 uint8 int32 int64 bool"},
    {OpCode::kEmbeddingLookup, prepare_embedding_lookup, "any hybrid"},
    {OpCode::kEmbeddingLookupSparse, prepare_embedding_lookup_sparse, "float32"},
    {OpCode::kHashtableLookup, prepare_hashtable_lookup, "any"},
    {OpCode::kSegmentSum, prepare_segment_sum, kSegments},
    {OpCode::kUnsortedSegmentSum, prepare_unsorted_segment, kSegments},
    {OpCode::kUnsortedSegmentProd, prepare_unsorted_segment, kSegments},
    {OpCode::kUnsortedSegmentMax, prepare_unsorted_segment, kSegments},
    {OpCode::kUnsortedSegmentMin, prepare_unsorted_segment, kSegments},
};

}  // namespace

std::span<const KernelRow> index_kernel_rows() { return kRows; }

}  // namespace litegap
