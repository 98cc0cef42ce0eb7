// NumPy broadcasting of two operands: where the operands of each output element are.
//
//   return broadcast_kernel<float, float, float>(broadcast(spec), [](float p, float q) { … });
//
// Neighbouring axes that move both operands in one stride are one axis: equal shapes are a single
// row, and so are an array and a scalar.  What repeats against a long array (a scalar, or a short
// row such as one value per channel against an image) is written out several times first, so that
// one loop over two dense operands serves all:
//
//   a b c d e f g h i j k l      image of 4 pixels, 3 channels
//   p q r p q r p q r p q r      the row, four times
//
// A single element against a long row, or one element for each row (a value per pixel against its
// channels), is not written out where the kernel has a loop for it: floats, and the codes of
// code_rows.h.
#pragma once
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

// The only loop that is compiled for each operator and type: n elements of dense operands.
struct RowLoop {
  using Run = void (*)(const void* f, std::size_t n, const void* a, const void* b, void* to);
  // Dense rows of n elements of one operand, for each of them one element of the other, `step`
  // elements after that of the row before.
  using Single = void (*)(const void* f, std::size_t rows, std::size_t n, const void* a,
                          const void* b, std::size_t step, void* to);
  Run run;
  std::size_t a_bytes, b_bytes, to_bytes;    // of an element
  Single first = nullptr, second = nullptr;  // where that is the single one; null: written out
};
// All rows; f is handed to the loop.
void run_broadcast(const Broadcast& s, const RowLoop& loop, const void* f, const Io& io);

template <class A, class B, class Y, class F>
void broadcast_row(const void* body, std::size_t n, const void* a, const void* b, void* out) {
  // A copy where it is small: the compiler sees that the stores do not change it.
  std::conditional_t<(sizeof(F) <= 128), const F, const F&> f = *static_cast<const F*>(body);
  const A* p = static_cast<const A*>(a);
  const B* q = static_cast<const B*>(b);
  Y* to = static_cast<Y*>(out);
  for (std::size_t k = 0; k < n; ++k) to[k] = static_cast<Y>(f(p[k], q[k]));
}

// As RowLoop::Single; `first` says that a has the single elements.
template <bool first, class A, class B, class Y, class F>
void broadcast_single(const void* body, std::size_t rows, std::size_t n, const void* a,
                      const void* b, std::size_t step, void* out) {
  const F f = *static_cast<const F*>(body);
  const A* p = static_cast<const A*>(a);
  const B* q = static_cast<const B*>(b);
  Y* to = static_cast<Y*>(out);
  for (std::size_t r = 0; r < rows; ++r, to += n) {
    if constexpr (first) {
      const A v = *p;
      for (std::size_t k = 0; k < n; ++k) to[k] = static_cast<Y>(f(v, q[k]));
    } else {
      const B v = *q;
      for (std::size_t k = 0; k < n; ++k) to[k] = static_cast<Y>(f(p[k], v));
    }
    p += first ? step : n;
    q += first ? n : step;
  }
}

// Floats and codes, which networks are made of, get vector code; other types would only make the
// program larger.
template <class A, class B, class Y, class F>
RowLoop row_loop() {
  constexpr bool kHot = std::is_same_v<A, B> && std::is_same_v<A, Y> &&
                        (std::is_same_v<A, float> || sizeof(A) <= 2) && !std::is_same_v<A, bool>;
  RowLoop loop{broadcast_row<A, B, Y, F>, sizeof(A), sizeof(B), sizeof(Y), nullptr, nullptr};
  if constexpr (kHot) {
    loop.run = [](const void* body, std::size_t n, const void* a, const void* b, void* to) {
      with_vectors([=] { broadcast_row<A, B, Y, F>(body, n, a, b, to); });
    };
  }
  if constexpr (kHot && std::is_same_v<A, float>) {
    loop.first = [](const void* body, std::size_t rows, std::size_t n, const void* a, const void* b,
                    std::size_t step, void* to) {
      with_vectors([=] { broadcast_single<true, A, B, Y, F>(body, rows, n, a, b, step, to); });
    };
    loop.second = [](const void* body, std::size_t rows, std::size_t n, const void* a,
                     const void* b, std::size_t step, void* to) {
      with_vectors([=] { broadcast_single<false, A, B, Y, F>(body, rows, n, a, b, step, to); });
    };
  }
  return loop;
}
template <class A, class B, class Y, class F>
std::unique_ptr<Kernel> broadcast_kernel(const Broadcast& s, F f) {
  return make_kernel(
      [s, loop = row_loop<A, B, Y, F>(), f](const Io& io) { run_broadcast(s, loop, &f, io); });
}

// Of two operands of one type, to that type.
template <class T, class F>
std::unique_ptr<Kernel> pair_kernel(OpSpec& spec, F f) {
  return broadcast_kernel<T, T, T>(broadcast(spec), f);
}

}  // namespace litegap
