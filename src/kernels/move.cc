#include "kernels/move.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/fixed_copy.h"
#include "kernels/needs_values.h"
#include "kernels/vectors.h"

namespace litegap {
namespace {

// The loop by value: what is written could else be its fields, for all the compiler knows.
template <class T>
void strided_row(MoveLoop loop, const std::byte* from, std::byte* to) noexcept {
  constexpr auto kBytes = static_cast<std::int64_t>(sizeof(T));
  if (loop.from == 0 && loop.to == kBytes) {  // one value repeated
    T value;
    std::memcpy(&value, from, sizeof value);
    for (std::int64_t i = 0; i < loop.count; ++i)
      std::memcpy(to + i * kBytes, &value, sizeof value);
    return;
  }
  for (std::int64_t i = 0; i < loop.count; ++i) {
    std::memcpy(to, from, sizeof(T));
    from += loop.from;
    to += loop.to;
  }
}

// ---- turning a matrix: one loop is dense where the data comes from, the other where it goes
// Blocks of 16 bytes a row are turned in registers, by pairing rows of both halves again and again:
//
//   a b    a c
//   c d -> b d
template <class T>
struct Turn {
  static constexpr int kSide = 16 / sizeof(T);
  typedef T Row __attribute__((vector_size(16)));

  // The first or the second halves of two rows, element by element.
  template <int kFrom, int... k>
  static Row paired(const Row& a, const Row& b, std::integer_sequence<int, k...>) noexcept {
    return __builtin_shufflevector(a, b, (kFrom + k / 2 + k % 2 * kSide)...);
  }
  // rows[i][j] to rows[j][i].
  static void block(Row (&rows)[kSide]) noexcept {
    constexpr std::make_integer_sequence<int, kSide> all;
#pragma GCC unroll 4
    for (int step = 1; step < kSide; step *= 2) {
      Row next[kSide];
#pragma GCC unroll 8
      for (int i = 0; i < kSide / 2; ++i) {
        next[2 * i] = paired<0>(rows[i], rows[i + kSide / 2], all);
        next[2 * i + 1] = paired<kSide / 2>(rows[i], rows[i + kSide / 2], all);
      }
#pragma GCC unroll 16
      for (int i = 0; i < kSide; ++i) rows[i] = next[i];
    }
  }

  // `down` steps along the dense loop of the target, `across` along that of the source.
  static void run(const MoveLoop& down, const MoveLoop& across, const std::byte* from,
                  std::byte* to) noexcept {
    const std::int64_t whole_down = down.count / kSide * kSide,
                       whole_across = across.count / kSide * kSide;
    constexpr std::int64_t kTile = 64 / sizeof(T);  // of cache lines on both sides
    for (std::int64_t i0 = 0; i0 < whole_down; i0 += kTile) {
      for (std::int64_t j0 = 0; j0 < whole_across; j0 += kTile) {
        for (std::int64_t j = j0; j < std::min(j0 + kTile, whole_across); j += kSide) {
          for (std::int64_t i = i0; i < std::min(i0 + kTile, whole_down); i += kSide) {
            const std::byte* a = from + i * down.from + j * across.from;
            std::byte* b = to + i * down.to + j * across.to;
            Row rows[kSide];
            for (int k = 0; k < kSide; ++k) std::memcpy(&rows[k], a + k * down.from, sizeof(Row));
            block(rows);
            for (int k = 0; k < kSide; ++k) std::memcpy(b + k * across.to, &rows[k], sizeof(Row));
          }
        }
      }
    }
    const auto one = [&](std::int64_t i, std::int64_t j) {
      std::memcpy(to + i * down.to + j * across.to, from + i * down.from + j * across.from,
                  sizeof(T));
    };
    for (std::int64_t j = 0; j < across.count; ++j) {
      for (std::int64_t i = j < whole_across ? whole_down : 0; i < down.count; ++i) one(i, j);
    }
  }
};

// Whether the last two loops turn a matrix worth it.
bool turns(const MoveLoop& outer, const MoveLoop& inner, std::size_t bytes) noexcept {
  const auto unit = static_cast<std::int64_t>(bytes);
  const bool dense =
      (inner.to == unit && outer.from == unit) || (inner.from == unit && outer.to == unit);
  return dense && (bytes == 1 || bytes == 2 || bytes == 4) &&
         std::min(outer.count, inner.count) >= 4;
}
void turn(const MoveLoop& outer, const MoveLoop& inner, std::size_t bytes, const std::byte* from,
          std::byte* to) noexcept {
  const bool ahead = inner.to == static_cast<std::int64_t>(bytes);
  const MoveLoop &down = ahead ? inner : outer, &across = ahead ? outer : inner;
  if (bytes == 1) return Turn<std::uint8_t>::run(down, across, from, to);
  with_vectors([&] {
    if (bytes == 2) return Turn<std::uint16_t>::run(down, across, from, to);
    Turn<std::uint32_t>::run(down, across, from, to);
  });
}

}  // namespace

Move::Move(std::size_t element_bytes, std::vector<MoveLoop> loops, std::int64_t at_from,
           std::int64_t at_to)
    : bytes_(element_bytes), at_from_(at_from), at_to_(at_to) {
  empty_ = false;
  for (const MoveLoop& loop : loops) empty_ = empty_ || loop.count <= 0;
  if (empty_) return;
  std::erase_if(loops, [](const MoveLoop& l) { return l.count == 1; });
  // Joins loops that continue each other, innermost first, and turns dense inner loops into bytes.
  std::vector<MoveLoop> joined;  // innermost first
  for (auto loop = loops.rbegin(); loop != loops.rend(); ++loop) {
    const auto unit = static_cast<std::int64_t>(bytes_);
    if (joined.empty() && loop->from == unit && loop->to == unit) {
      bytes_ *= static_cast<std::size_t>(loop->count);
      continue;
    }
    if (!joined.empty() && loop->from == joined.back().from * joined.back().count &&
        loop->to == joined.back().to * joined.back().count) {
      joined.back().count *= loop->count;
      continue;
    }
    joined.push_back(*loop);
  }
  if (!joined.empty()) {
    inner_ = joined.front();
    joined.erase(joined.begin());
  }
  outer_.assign(joined.rbegin(), joined.rend());
  if (outer_.size() > kMaxLoops) fail("more than {} nested loops in a move of data", kMaxLoops);
}

void Move::row(const std::byte* from, std::byte* to) const noexcept {
  switch (bytes_) {
    case 1:
      return strided_row<std::uint8_t>(inner_, from, to);
    case 2:
      return strided_row<std::uint16_t>(inner_, from, to);
    case 4:
      return strided_row<std::uint32_t>(inner_, from, to);
    case 8:
      return strided_row<std::uint64_t>(inner_, from, to);
    default:
      break;
  }
  copy_blocks(inner_.count, static_cast<std::int64_t>(bytes_), to, inner_.to, from, inner_.from);
}

void Move::run(const void* from, void* to) const noexcept {
  if (empty_) return;
  const auto* source = static_cast<const std::byte*>(from) + at_from_;
  auto* target = static_cast<std::byte*>(to) + at_to_;
  std::array<std::int64_t, kMaxLoops> index{};
  const bool turned = !outer_.empty() && turns(outer_.back(), inner_, bytes_);
  const std::size_t loops = outer_.size() - (turned ? 1 : 0);
  for (;;) {
    if (turned)
      turn(outer_.back(), inner_, bytes_, source, target);
    else
      row(source, target);
    std::size_t d = loops;
    while (d > 0) {
      --d;
      source += outer_[d].from;
      target += outer_[d].to;
      if (++index[d] < outer_[d].count) break;
      source -= outer_[d].from * outer_[d].count;
      target -= outer_[d].to * outer_[d].count;
      index[d] = 0;
      if (d == 0) return;
    }
    if (loops == 0) return;
  }
}

std::vector<std::int64_t> dense_steps(const Shape& shape, std::size_t element_bytes) {
  std::vector<std::int64_t> steps(shape.size());
  auto step = static_cast<std::int64_t>(element_bytes);
  for (std::size_t d = shape.size(); d-- > 0;) {
    steps[d] = step;
    step *= shape[d];
  }
  return steps;
}

std::size_t element_bytes(const OpSpec& spec, const Operand& operand) {
  const int bits = dtype_bits(operand.dtype);
  if (bits < 8 || bits % 8 != 0) {
    refuse(spec, "tensor {} of type {}: not supported", operand.name, dtype_name(operand.dtype));
  }
  return static_cast<std::size_t>(bits / 8);
}

std::size_t expect_same_type(const OpSpec& spec, std::size_t input) {
  const Operand& in = spec.inputs[input];
  if (!in.present) refuse(spec, "input {} is missing", input);
  if (in.dtype != spec.outputs[0].dtype) {
    refuse(spec, "input {} is {}, the output {}: expected one type", input, dtype_name(in.dtype),
           dtype_name(spec.outputs[0].dtype));
  }
  return element_bytes(spec, in);
}

std::vector<std::int64_t> plan_integers(const OpSpec& spec, std::size_t input, const char* what) {
  if (!spec.has(input)) refuse(spec, "its {} (input {}) is missing", what, input);
  const Operand& operand = spec.inputs[input];
  if (operand.dtype != DType::kInt32 && operand.dtype != DType::kInt64) {
    refuse(spec, "its {} (input {}) is of type {}, expected int32 or int64", what, input,
           dtype_name(operand.dtype));
  }
  if (operand.constant == nullptr && shape_elements(operand.shape) == 0) return {};
  if (operand.constant == nullptr) needs_values(spec, input);
  return constant_integers(spec, input);
}

std::size_t checked_axis(const OpSpec& spec, std::int64_t axis, std::size_t rank) {
  const auto r = static_cast<std::int64_t>(rank);
  if (axis < -r || axis >= r) refuse(spec, "axis {} of a tensor with {} dimensions", axis, rank);
  return static_cast<std::size_t>(axis < 0 ? axis + r : axis);
}

std::int32_t checked_dim(const OpSpec& spec, std::int64_t dim) {
  if (dim < 0 || dim > std::numeric_limits<std::int32_t>::max())
    refuse(spec, "a dimension of {}", dim);
  return static_cast<std::int32_t>(dim);
}

std::unique_ptr<Kernel> copy_kernel(std::size_t input, std::size_t bytes) {
  return make_kernel([input, bytes](const Io& io) noexcept {
    if (bytes > 0) std::memcpy(io.outputs[0], io.inputs[input], bytes);
  });
}

std::unique_ptr<Kernel> move_kernel(std::size_t input, Move move) {
  return make_kernel([input, move = std::move(move)](const Io& io) noexcept {
    move.run(io.inputs[input], io.outputs[0]);
  });
}

std::int64_t product(const Shape& shape, std::size_t begin, std::size_t end) {
  std::int64_t n = 1;
  for (std::size_t d = begin; d < end; ++d) n *= shape[d];
  return n;
}

}  // namespace litegap
