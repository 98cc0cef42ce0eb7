// Sparse storage -> dense values.
//
// A sparse tensor is a tree: one level a dimension, in traversal order, and behind the tensor's own
// dimensions the dimensions inside of a block.  A dense level has every index; a compressed one
// lists the indices that are there, between two entries of its segments.  The leaves, from left to
// right, are the stored values.
//
//   [[0, 0], [5, 0]], rows dense, columns compressed: segments 0 0 1, indices 0, values 5
//   a block of 1x4 has a third, dense, level of 4; column = 4 * index of the second + of the third
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "tflite/format.h"

namespace litegap {
namespace {

struct Level {
  bool compressed = false;
  std::size_t size = 0, step = 0;  // indices below `size`; the dense distance of two of them
  std::vector<std::size_t> segments, indices;
};

std::vector<std::size_t> numbers(fb::SparseIndexVector type, const void* v) {
  std::vector<std::size_t> out;
  const auto copy = [&](const auto* values) {
    if (values == nullptr) return;
    for (const auto x : *values) out.push_back(static_cast<std::size_t>(x));
  };
  if (v == nullptr) return out;
  switch (type) {
    case fb::SparseIndexVector::Int32Vector:
      copy(static_cast<const fb::Int32Vector*>(v)->values());
      break;
    case fb::SparseIndexVector::Uint16Vector:
      copy(static_cast<const fb::Uint16Vector*>(v)->values());
      break;
    case fb::SparseIndexVector::Uint8Vector:
      copy(static_cast<const fb::Uint8Vector*>(v)->values());
      break;
    default:
      break;
  }
  return out;
}

class Expander {
 public:
  Expander(const fb::SparsityParameters& from, const Shape& shape, const std::string& where)
      : where_(where) {
    const std::size_t rank = shape.size();
    const auto* order = from.traversal_order();
    const auto* dims = from.dim_metadata();
    const std::size_t blocks = from.block_map() == nullptr ? 0 : from.block_map()->size();
    if (order == nullptr || dims == nullptr || order->size() != rank + blocks ||
        dims->size() != order->size() || order->size() > 16) {
      wrong("traversal order and dimensions do not fit its shape");
    }
    const std::vector<std::size_t> own = dense_steps(shape);
    std::vector<std::size_t> block_of(rank, 1);  // size of the block along each dimension
    for (std::size_t b = 0; b < blocks; ++b) {
      const std::size_t d = block_dimension(from, b, rank);
      if (block_of[d] != 1) wrong("two blocks along one dimension");
      block_of[d] = size_of_level(*dims, *order, rank + b);
    }
    std::vector<bool> seen(rank + blocks, false);
    for (flatbuffers::uoffset_t k = 0; k < order->size(); ++k) {
      const std::int32_t o = order->Get(k);
      if (o < 0 || static_cast<std::size_t>(o) >= seen.size() || seen[static_cast<std::size_t>(o)])
        wrong("its traversal order is no permutation");
      seen[static_cast<std::size_t>(o)] = true;
      const auto i = static_cast<std::size_t>(o);
      const std::size_t d = i < rank ? i : block_dimension(from, i - rank, rank);
      const auto n = static_cast<std::size_t>(shape[d]), block = block_of[d];
      if (block == 0 || n % block != 0) wrong("blocks that do not fit its shape");
      levels_.push_back(
          level(*dims->Get(k), i < rank ? n / block : block, i < rank ? own[d] * block : own[d]));
    }
  }

  void run(std::span<const std::byte> values, std::size_t unit, std::byte* dense) {
    values_ = values;
    unit_ = unit;
    dense_ = dense;
    walk(0, 0, 0);
  }

 private:
  [[noreturn]] void wrong(const char* what) const { fail("{}: sparse storage: {}", where_, what); }

  static std::vector<std::size_t> dense_steps(const Shape& shape) {
    std::vector<std::size_t> steps(shape.size(), 1);
    for (std::size_t d = shape.size(); d-- > 1;)
      steps[d - 1] = steps[d] * static_cast<std::size_t>(shape[d]);
    return steps;
  }
  std::size_t block_dimension(const fb::SparsityParameters& from, std::size_t b,
                              std::size_t rank) const {
    const std::int32_t d = from.block_map()->Get(static_cast<flatbuffers::uoffset_t>(b));
    if (d < 0 || static_cast<std::size_t>(d) >= rank) wrong("a block along no dimension");
    return static_cast<std::size_t>(d);
  }
  // The dense size of the level that holds dimension `which` of the traversal.
  template <class Dims, class Order>
  std::size_t size_of_level(const Dims& dims, const Order& order, std::size_t which) const {
    for (flatbuffers::uoffset_t k = 0; k < order.size(); ++k) {
      if (order.Get(k) == static_cast<std::int32_t>(which)) {
        const std::int32_t n = dims.Get(k)->dense_size();
        if (dims.Get(k)->format() != 0 || n < 1) wrong("a block that is not dense");
        return static_cast<std::size_t>(n);
      }
    }
    wrong("a block without a level");
  }
  Level level(const fb::DimensionMetadata& from, std::size_t size, std::size_t step) const {
    Level l;
    l.size = size;
    l.step = step;
    l.compressed = from.format() == 1;
    if (!l.compressed) {
      if (from.format() != 0 || from.dense_size() < 0 ||
          static_cast<std::size_t>(from.dense_size()) != size) {
        wrong("a dense level of another size than its dimension");
      }
      return l;
    }
    l.segments = numbers(from.array_segments_type(), from.array_segments());
    l.indices = numbers(from.array_indices_type(), from.array_indices());
    for (std::size_t i = 0; i + 1 < l.segments.size(); ++i) {
      if (l.segments[i] > l.segments[i + 1]) wrong("segments that run backwards");
    }
    if (!l.segments.empty() && l.segments.back() > l.indices.size())
      wrong("segments beyond the indices");
    for (const std::size_t i : l.indices) {
      if (i >= size) wrong("an index outside of its dimension");
    }
    return l;
  }

  // `parent`: number of this node among all of its level; `at`: dense place of its first element.
  void walk(std::size_t depth, std::size_t parent, std::size_t at) {
    if (depth == levels_.size()) {
      if ((parent + 1) * unit_ > values_.size()) wrong("fewer values than its indices ask for");
      std::memcpy(dense_ + at * unit_, values_.data() + parent * unit_, unit_);
      return;
    }
    const Level& l = levels_[depth];
    if (!l.compressed) {
      for (std::size_t i = 0; i < l.size; ++i)
        walk(depth + 1, parent * l.size + i, at + i * l.step);
      return;
    }
    if (parent + 1 >= l.segments.size()) wrong("fewer segments than its levels ask for");
    for (std::size_t j = l.segments[parent]; j < l.segments[parent + 1]; ++j)
      walk(depth + 1, j, at + l.indices[j] * l.step);
  }

  const std::string& where_;
  std::vector<Level> levels_;
  std::span<const std::byte> values_;
  std::size_t unit_ = 1;
  std::byte* dense_ = nullptr;
};

}  // namespace

int row_block(const fb::SparsityParameters& sparsity, const Shape& shape) {
  const auto* order = sparsity.traversal_order();
  const auto* dims = sparsity.dim_metadata();
  const auto* map = sparsity.block_map();
  if (order == nullptr || dims == nullptr || shape.size() != 2) return 0;
  const flatbuffers::uoffset_t blocks = map == nullptr ? 0 : map->size();
  if (blocks > 1 || order->size() != 2 + blocks || dims->size() != order->size()) return 0;
  for (flatbuffers::uoffset_t k = 0; k < order->size(); ++k) {
    if (order->Get(k) != static_cast<std::int32_t>(k)) return 0;
  }
  if (dims->Get(0)->format() != 0 || dims->Get(1)->format() != 1) return 0;
  if (blocks == 0) return 1;
  const bool columns = map->Get(0) == 1 && dims->Get(2)->format() == 0;
  return columns ? std::max(0, dims->Get(2)->dense_size()) : 0;
}

Array dense_values(const fb::SparsityParameters& sparsity, DType dtype, const Shape& shape,
                   std::span<const std::byte> values, const std::string& where) {
  const int bits = dtype_bits(dtype);
  if (bits < 8) fail("{}: sparse storage of {}: not supported", where, dtype_name(dtype));
  Array dense = Array::zeros(dtype, shape);
  if (dense.empty()) return dense;
  Expander(sparsity, shape, where)
      .run(values, static_cast<std::size_t>(bits / 8), dense.mutable_data());
  return dense;
}

}  // namespace litegap
