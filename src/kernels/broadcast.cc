#include "kernels/broadcast.h"

#include <algorithm>
#include <cstring>

namespace litegap {

DType prepare_pair(const OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const DType t = spec.inputs[0].dtype;
  if (spec.inputs[1].dtype != t || spec.outputs[0].dtype != t) {
    refuse(spec, "types {}, {} and {}: expected one type", dtype_name(t),
           dtype_name(spec.inputs[1].dtype), dtype_name(spec.outputs[0].dtype));
  }
  return t;
}

Broadcast make_broadcast(const OpSpec& spec, const Shape& a, const Shape& b, Shape* out) {
  const std::size_t rank = std::max(a.size(), b.size());
  if (rank > Broadcast::kMaxRank) {
    refuse(spec, "shapes {} and {} have more than {} axes", shape_text(a), shape_text(b),
           Broadcast::kMaxRank);
  }
  out->assign(rank, 1);
  std::vector<Broadcast::Axis> axes;  // fastest first, merged
  std::size_t stride_a = 1, stride_b = 1;
  for (std::size_t k = 0; k < rank; ++k) {
    const std::int32_t da = k < a.size() ? a[a.size() - 1 - k] : 1;
    const std::int32_t db = k < b.size() ? b[b.size() - 1 - k] : 1;
    if (da != db && da != 1 && db != 1) {
      refuse(spec, "shapes {} and {} do not broadcast", shape_text(a), shape_text(b));
    }
    const std::int32_t size = da == 1 ? db : da;
    (*out)[rank - 1 - k] = size;
    const Broadcast::Axis axis{static_cast<std::size_t>(size), da == 1 ? 0 : stride_a,
                               db == 1 ? 0 : stride_b};
    stride_a *= static_cast<std::size_t>(da);
    stride_b *= static_cast<std::size_t>(db);
    if (size == 1) continue;
    if (!axes.empty() && axis.a == axes.back().a * axes.back().size &&
        axis.b == axes.back().b * axes.back().size) {
      axes.back().size *= axis.size;
    } else {
      axes.push_back(axis);
    }
  }
  Broadcast r;
  r.elements = shape_elements(*out);
  r.equal = a == b;
  if (axes.empty()) return r;
  r.inner = axes.front();
  r.outer_rank = axes.size() - 1;
  for (std::size_t d = 0; d < r.outer_rank; ++d) r.outer[d] = axes[axes.size() - 1 - d];
  return r;
}

Broadcast broadcast(OpSpec& spec) {
  return make_broadcast(spec, spec.inputs[0].shape, spec.inputs[1].shape, &spec.outputs[0].shape);
}

namespace {

constexpr std::size_t kWrittenOut = 4096;  // bytes of what repeats, written out several times

// A row of one operand that repeats against a longer row of the other.
class WrittenOut {
 public:
  // `n` elements of `bytes`, for rows of up to `all` elements.
  WrittenOut(const void* row, std::size_t n, std::size_t bytes, std::size_t all)
      : length_(std::min(kWrittenOut / (n * bytes) * n, all)) {
    const std::size_t end = length_ * bytes;
    std::size_t have = std::min(n * bytes, end);
    std::memcpy(room_, row, have);
    for (; have < end; have *= 2) std::memcpy(room_ + have, room_, std::min(have, end - have));
  }
  std::size_t length() const { return length_; }  // elements
  const std::byte* data() const { return room_; }

 private:
  alignas(64) std::byte room_[kWrittenOut];
  std::size_t length_;
};

// n times the element at `from`.
template <class T>
void repeat(const std::byte* from, std::size_t n, std::byte* to) {
  T value;
  std::memcpy(&value, from, sizeof value);
  for (std::size_t i = 0; i < n; ++i) std::memcpy(to + i * sizeof value, &value, sizeof value);
}
void repeat(const std::byte* from, std::size_t bytes, std::size_t n, std::byte* to) {
  if (bytes == 1) return repeat<std::uint8_t>(from, n, to);
  if (bytes == 2) return repeat<std::uint16_t>(from, n, to);
  if (bytes == 4) return repeat<std::uint32_t>(from, n, to);
  return repeat<std::uint64_t>(from, n, to);
}

// One value for each short row of the other operand (a value per pixel against its channels): the
// values of some rows are written out at once.  False where the operands are not like that.
bool run_short_rows(const Broadcast& s, const RowLoop& loop, const void* f, const Io& io) {
  const bool first = s.inner.a == 0;  // the operand that repeats
  const std::size_t bytes = first ? loop.a_bytes : loop.b_bytes, width = s.inner.size;
  if (s.outer_rank == 0 || bytes > 8 || width * bytes > kWrittenOut / 4) return false;
  Broadcast rows = s;
  const Broadcast::Axis next = rows.outer[--rows.outer_rank];
  const std::size_t dense = first ? next.b : next.a, step = (first ? next.a : next.b) * bytes;
  if (dense != width) return false;
  rows.inner.size = width * next.size;
  const auto* x = static_cast<const std::byte*>(io.inputs[0]);
  const auto* y = static_cast<const std::byte*>(io.inputs[1]);
  auto* out = static_cast<std::byte*>(io.outputs[0]);
  const std::size_t most = kWrittenOut / (width * bytes);
  rows.rows([&](std::size_t o, std::size_t i, std::size_t j) {
    const std::byte *a = x + i * loop.a_bytes, *b = y + j * loop.b_bytes;
    alignas(64) std::byte room[kWrittenOut];
    for (std::size_t r = 0; r < next.size; r += most) {
      const std::size_t count = std::min(most, next.size - r), at = r * width;
      const std::byte* from = (first ? a : b) + r * step;
      for (std::size_t k = 0; k < count; ++k)
        repeat(from + k * step, bytes, width, room + k * width * bytes);
      loop.run(f, count * width, first ? room : a + at * loop.a_bytes,
               first ? b + at * loop.b_bytes : room, out + (o + at) * loop.to_bytes);
    }
  });
  return true;
}

// The operand that repeats has a loop of its own, and rows long enough for it.
bool run_single(const Broadcast& s, const RowLoop& loop, const void* f, const Io& io) {
  constexpr std::size_t kLeast = 16;
  const bool first = s.inner.a == 0;
  const RowLoop::Single run = first ? loop.first : loop.second;
  const std::size_t width = s.inner.size;
  if (run == nullptr || width < kLeast) return false;
  Broadcast rows = s;
  std::size_t count = 1, step = 0;
  if (rows.outer_rank > 0) {
    const Broadcast::Axis next = rows.outer[rows.outer_rank - 1];
    if ((first ? next.b : next.a) == width) {
      count = next.size;
      step = first ? next.a : next.b;
      --rows.outer_rank;
    }
  }
  rows.inner.size = width * count;
  const auto* x = static_cast<const std::byte*>(io.inputs[0]);
  const auto* y = static_cast<const std::byte*>(io.inputs[1]);
  auto* out = static_cast<std::byte*>(io.outputs[0]);
  rows.rows([&](std::size_t o, std::size_t i, std::size_t j) {
    run(f, count, width, x + i * loop.a_bytes, y + j * loop.b_bytes, step, out + o * loop.to_bytes);
  });
  return true;
}

}  // namespace

void run_broadcast(const Broadcast& s, const RowLoop& loop, const void* f, const Io& io) {
  const auto* x = static_cast<const std::byte*>(io.inputs[0]);
  const auto* y = static_cast<const std::byte*>(io.inputs[1]);
  auto* out = static_cast<std::byte*>(io.outputs[0]);
  Broadcast rows = s;
  std::size_t period = rows.inner.size;  // elements after which an operand begins again
  bool first = rows.inner.a == 0, second = rows.inner.b == 0;
  if (first != second) {
    period = 1;
    if (run_single(s, loop, f, io) || run_short_rows(s, loop, f, io)) return;
  } else if (rows.outer_rank > 0 &&
             period * std::max(loop.a_bytes, loop.b_bytes) <= kWrittenOut / 4) {
    const Broadcast::Axis next = rows.outer[rows.outer_rank - 1];
    first = next.a == 0 && next.b == period;
    second = next.b == 0 && next.a == period;
    if (first || second) {
      --rows.outer_rank;
      rows.inner.size *= next.size;
    }
  }
  const std::size_t all = rows.inner.size;
  if (first == second) {  // both dense, or a single element
    rows.rows([&](std::size_t o, std::size_t i, std::size_t j) {
      loop.run(f, all, x + i * loop.a_bytes, y + j * loop.b_bytes, out + o * loop.to_bytes);
    });
    return;
  }
  rows.rows([&](std::size_t o, std::size_t i, std::size_t j) {
    const std::byte *a = x + i * loop.a_bytes, *b = y + j * loop.b_bytes;
    const WrittenOut row(first ? a : b, period, first ? loop.a_bytes : loop.b_bytes, all);
    for (std::size_t k = 0; k < all; k += row.length()) {
      loop.run(f, std::min(row.length(), all - k), first ? row.data() : a + k * loop.a_bytes,
               first ? b + k * loop.b_bytes : row.data(), out + (o + k) * loop.to_bytes);
    }
  });
}

}  // namespace litegap
