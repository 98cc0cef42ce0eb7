// NumPy broadcasting of two operands: where the operands of each output element are.
//
//   return broadcast_kernel<float, float, float>(broadcast(spec), [](float p, float q) { … });
//
// Neighbouring axes that move both operands in one stride are one axis: equal shapes are a single
// row, and so are an array and a scalar.
#pragma once
#include <array>

#include "kernels/kernel.h"

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

template <class A, class B, class Y, class F>
void broadcast_map(const Broadcast& s, const A* x, const B* y, Y* out, F f) {
  const std::size_t n = s.inner.size;
  s.rows([&](std::size_t o, std::size_t i, std::size_t j) {
    Y* to = out + o;
    const A* p = x + i;
    const B* q = y + j;
    if (s.inner.a != 0 && s.inner.b != 0) {
      for (std::size_t k = 0; k < n; ++k) to[k] = static_cast<Y>(f(p[k], q[k]));
    } else if (s.inner.b == 0) {
      const B one = q[0];
      const std::size_t step = s.inner.a;
      if (step == 0) {
        for (std::size_t k = 0; k < n; ++k) to[k] = static_cast<Y>(f(p[0], one));
      } else {
        for (std::size_t k = 0; k < n; ++k) to[k] = static_cast<Y>(f(p[k], one));
      }
    } else {
      const A one = p[0];
      for (std::size_t k = 0; k < n; ++k) to[k] = static_cast<Y>(f(one, q[k]));
    }
  });
}

template <class A, class B, class Y, class F>
std::unique_ptr<Kernel> broadcast_kernel(const Broadcast& s, F f) {
  return make_kernel([s, f](const Io& io) {
    broadcast_map(s, static_cast<const A*>(io.inputs[0]), static_cast<const B*>(io.inputs[1]),
                  static_cast<Y*>(io.outputs[0]), f);
  });
}

// Of two operands of one type, to that type.
template <class T, class F>
std::unique_ptr<Kernel> pair_kernel(OpSpec& spec, F f) {
  return broadcast_kernel<T, T, T>(broadcast(spec), f);
}

}  // namespace litegap
