// NumPy broadcasting of two operands: where the operands of each output element are.
//
//   return broadcast_kernel<float, float, float>(broadcast(spec), [](float p, float q) { … });
//
// Neighbouring axes that move both operands in one stride are one axis: equal shapes are a single
// row, and so are an array and a scalar.  A short row that repeats against a long array, such as
// one value per channel against an image, is written out several times first, so that the loop has
// rows of some length:
//
//   a b c d e f g h i j k l      image of 4 pixels, 3 channels
//   p q r p q r p q r p q r      the row, four times
#pragma once
#include <algorithm>
#include <array>
#include <type_traits>

#include "kernels/kernel.h"
#include "kernels/vectors.h"

namespace litegap {

struct Broadcast {
  static constexpr std::size_t kMaxRank = 8;
  struct Axis {
    std::size_t size = 1, a = 0, b = 0;  // strides in elements, 0 where the operand is repeated
  };
  std::array<Axis, kMaxRank> outer{};  // all but the last, slowest first
  std::size_t outer_rank = 0;
  Axis inner;
  std::size_t elements = 0;
  bool equal = false;  // the two shapes are the same

  // f(first output element, first element of a, of b) for each row of inner.size elements.
  template <class F>
  void rows(F f) const {
    if (elements == 0) return;
    std::array<std::size_t, kMaxRank> at{};
    std::size_t a = 0, b = 0;
    for (std::size_t o = 0;; o += inner.size) {
      f(o, a, b);
      std::size_t d = outer_rank;
      for (; d > 0; --d) {
        const Axis& axis = outer[d - 1];
        a += axis.a;
        b += axis.b;
        if (++at[d - 1] < axis.size) break;
        at[d - 1] = 0;
        a -= axis.a * axis.size;
        b -= axis.b * axis.size;
      }
      if (d == 0) return;
    }
  }
};

// Two operands and an output of one type, which it returns; refuses other ones.
DType prepare_pair(const OpSpec& spec);
// Of two shapes; refuses those that do not broadcast.
Broadcast make_broadcast(const OpSpec& spec, const Shape& a, const Shape& b, Shape* out);
// Of the first two inputs; sets the output's shape.
Broadcast broadcast(OpSpec& spec);

// n elements; a stride of 0 repeats the operand's first, else it is 1.
template <class A, class B, class Y, class F>
void broadcast_row(std::size_t n, const A* p, std::size_t a, const B* q, std::size_t b, Y* to,
                   const F& f) {
  if (a != 0 && b != 0) {
    for (std::size_t k = 0; k < n; ++k) to[k] = static_cast<Y>(f(p[k], q[k]));
  } else if (a != 0) {
    const B one = q[0];
    for (std::size_t k = 0; k < n; ++k) to[k] = static_cast<Y>(f(p[k], one));
  } else if (b != 0) {
    const A one = p[0];
    for (std::size_t k = 0; k < n; ++k) to[k] = static_cast<Y>(f(one, q[k]));
  } else {
    for (std::size_t k = 0; k < n; ++k) to[k] = static_cast<Y>(f(p[0], q[0]));
  }
}

inline constexpr std::size_t kWrittenOut = 512;  // elements of a short row, written out

// `all` elements; one operand's row of `n` repeats, the other goes on.
template <bool kFirstRepeats, class A, class B, class Y, class F>
void repeated_row(std::size_t n, std::size_t all, const A* p, const B* q, Y* to, const F& f) {
  using Repeated = std::conditional_t<kFirstRepeats, A, B>;
  std::array<Repeated, kWrittenOut> room;
  const std::size_t length = std::min(kWrittenOut / n * n, all);
  for (std::size_t k = 0; k < length; ++k) {
    if constexpr (kFirstRepeats)
      room[k] = p[k % n];
    else
      room[k] = q[k % n];
  }
  for (std::size_t k = 0; k < all; k += length) {
    const std::size_t count = std::min(length, all - k);
    if constexpr (kFirstRepeats)
      broadcast_row(count, room.data(), 1, q + k, 1, to + k, f);
    else
      broadcast_row(count, p + k, 1, room.data(), 1, to + k, f);
  }
}

// Row by row as they lie.
template <class A, class B, class Y, class F>
void broadcast_rows(const Broadcast& s, const A* x, const B* y, Y* out, const F& f) {
  s.rows([&](std::size_t o, std::size_t i, std::size_t j) {
    broadcast_row(s.inner.size, x + i, s.inner.a, y + j, s.inner.b, out + o, f);
  });
}

template <class A, class B, class Y, class F>
void broadcast_map(const Broadcast& s, const A* x, const B* y, Y* out, const F& f) {
  const std::size_t n = s.inner.size;
  const bool dense = s.inner.a == 1 && s.inner.b == 1 && s.outer_rank > 0 && n <= kWrittenOut / 4;
  const Broadcast::Axis next = dense ? s.outer[s.outer_rank - 1] : Broadcast::Axis{};
  const bool first = dense && next.a == 0 && next.b == n;
  const bool second = dense && next.b == 0 && next.a == n;
  if (!first && !second) return broadcast_rows(s, x, y, out, f);
  Broadcast longer = s;
  --longer.outer_rank;
  longer.inner.size = n * next.size;
  longer.rows([&](std::size_t o, std::size_t i, std::size_t j) {
    if (first)
      repeated_row<true>(n, longer.inner.size, x + i, y + j, out + o, f);
    else
      repeated_row<false>(n, longer.inner.size, x + i, y + j, out + o, f);
  });
}

// Floats and 8-bit codes, which networks are made of, get vector code; other types would only make
// the program larger.
template <class A, class B, class Y, class F>
std::unique_ptr<Kernel> broadcast_kernel(const Broadcast& s, F f) {
  constexpr bool kHot = std::is_same_v<A, B> && std::is_same_v<A, Y> &&
                        (std::is_same_v<A, float> || sizeof(A) == 1) && !std::is_same_v<A, bool>;
  return make_kernel([s, f](const Io& io) {
    const auto* x = static_cast<const A*>(io.inputs[0]);
    const auto* y = static_cast<const B*>(io.inputs[1]);
    auto* out = static_cast<Y*>(io.outputs[0]);
    if constexpr (kHot)
      with_vectors([&] { broadcast_map(s, x, y, out, f); });
    else
      broadcast_rows(s, x, y, out, f);
  });
}

// Of two operands of one type, to that type.
template <class T, class F>
std::unique_ptr<Kernel> pair_kernel(OpSpec& spec, F f) {
  return broadcast_kernel<T, T, T>(broadcast(spec), f);
}

}  // namespace litegap
