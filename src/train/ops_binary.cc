// Operators of two (or more) operands that are broadcast to one shape: ADD, SUB, MUL, DIV, MAXIMUM,
// MINIMUM, SQUARED_DIFFERENCE, POW, PRELU, SELECT.
//
// Broadcasting is a list of runs worked out once: `count` neighbouring outputs read each operand
// with step 0 or 1.  A bias along the last axis is one run per row, equal shapes are a single run.
// Ties of MAXIMUM and MINIMUM go to the first operand, as TensorFlow's do.
#include <cmath>
#include <cstring>

#include "train/step.h"

namespace litegap {
namespace {

struct Spread {
  struct Run {
    std::size_t out, count, at[3];
  };
  std::vector<Run> runs;
  std::size_t step[3] = {0, 0, 0};  // the same in all runs
};

// Operands' shapes are right-aligned to `out`.
Spread spread(const Shape& out, const std::vector<Shape>& operands) {
  const std::size_t rank = out.size(), k = operands.size();
  std::vector<std::vector<std::size_t>> steps(k, std::vector<std::size_t>(rank, 0));
  for (std::size_t o = 0; o < k; ++o) {
    std::size_t step = 1;
    for (std::size_t d = operands[o].size(); d-- > 0;) {
      const auto n = static_cast<std::size_t>(operands[o][d]);
      steps[o][d + rank - operands[o].size()] = n == 1 ? 0 : step;
      step *= n;
    }
  }
  // Trailing axes join a run while each operand walks on evenly.
  Spread s;
  std::size_t inner = 1, first = rank;
  bool free[3] = {true, true, true};
  for (; first > 0; --first) {
    const std::size_t d = first - 1;
    const auto n = static_cast<std::size_t>(out[d]);
    if (n == 1) continue;
    bool fits = true;
    for (std::size_t o = 0; o < k; ++o)
      fits = fits && (free[o] ? steps[o][d] <= 1 : steps[o][d] == s.step[o] * inner);
    if (!fits) break;
    for (std::size_t o = 0; o < k; ++o) {
      if (free[o]) s.step[o] = steps[o][d];
      free[o] = false;
    }
    inner *= n;
  }
  std::size_t outer = 1;
  for (std::size_t d = 0; d < first; ++d) outer *= static_cast<std::size_t>(out[d]);
  for (std::size_t i = 0; i < outer; ++i) {
    Spread::Run r{i * inner, inner, {0, 0, 0}};
    std::size_t rest = i;
    for (std::size_t d = first; d-- > 0;) {
      const std::size_t at = rest % static_cast<std::size_t>(out[d]);
      rest /= static_cast<std::size_t>(out[d]);
      for (std::size_t o = 0; o < k; ++o) r.at[o] += at * steps[o][d];
    }
    s.runs.push_back(r);
  }
  return s;
}

// y = f(a, b); slopes da and db as functions of a, b, y.
template <class T, class F, class A, class B>
Step<T> pair(const Node<T>& n, F f, A da, B db) {
  const Port<T>&a = n.in[0], &b = n.in[1], &y = n.out[0];
  const Activation activation = fused_activation(n.op->attrs);
  const auto s = std::make_shared<const Spread>(spread(y.shape, {a.shape, b.shape}));
  Step<T> step;
  step.forward = [=] {
    const std::size_t p = s->step[0], q = s->step[1];
    for (const auto& r : s->runs) {
      const T *u = a.value + r.at[0], *v = b.value + r.at[1];
      T* const to = y.value + r.out;
      if (p == 1 && q == 1) {
        for (std::size_t i = 0; i < r.count; ++i) to[i] = f(u[i], v[i]);
      } else {
        for (std::size_t i = 0; i < r.count; ++i) to[i] = f(u[i * p], v[i * q]);
      }
    }
    activate(activation, y.value, y.count);
  };
  step.backward = [=] {
    activate_back(activation, y.value, y.grad, y.count);
    const std::size_t p = s->step[0], q = s->step[1];
    for (const auto& r : s->runs) {
      const T *u = a.value + r.at[0], *v = b.value + r.at[1], *up = y.grad + r.out;
      if (a.grad != nullptr) {
        T* const to = a.grad + r.at[0];
        for (std::size_t i = 0; i < r.count; ++i) to[i * p] += up[i] * da(u[i * p], v[i * q]);
      }
      if (b.grad != nullptr) {
        T* const to = b.grad + r.at[1];
        for (std::size_t i = 0; i < r.count; ++i) to[i * q] += up[i] * db(u[i * p], v[i * q]);
      }
    }
  };
  return step;
}

#define LITEGAP_PAIR(NAME, F, DA, DB)       \
  template <class T>                        \
  Step<T> NAME(const Node<T>& n) {          \
    return pair(                            \
        n, [](T a, T b) -> T { return F; }, \
        [](T a, T b) -> T {                 \
          (void)a, (void)b;                 \
          return DA;                        \
        },                                  \
        [](T a, T b) -> T {                 \
          (void)a, (void)b;                 \
          return DB;                        \
        });                                 \
  }

LITEGAP_PAIR(make_add, a + b, T(1), T(1))
LITEGAP_PAIR(make_sub, a - b, T(1), T(-1))
LITEGAP_PAIR(make_mul, a* b, b, a)
LITEGAP_PAIR(make_div, a / b, T(1) / b, -a / (b * b))
LITEGAP_PAIR(make_maximum, a >= b ? a : b, a >= b ? T(1) : T(0), a >= b ? T(0) : T(1))
LITEGAP_PAIR(make_minimum, a <= b ? a : b, a <= b ? T(1) : T(0), a <= b ? T(0) : T(1))
LITEGAP_PAIR(make_squared_difference, (a - b) * (a - b), 2 * (a - b), 2 * (b - a))
LITEGAP_PAIR(make_pow, std::pow(a, b), b* std::pow(a, b - 1),
             a > 0 ? std::pow(a, b) * std::log(a) : T(0))
LITEGAP_PAIR(make_prelu, a > 0 ? a : a * b, a > 0 ? T(1) : b, a > 0 ? T(0) : a)

// SELECT also takes a vector of conditions, one per index of the first axis.
template <class T>
Step<T> make_select(const Node<T>& n) {
  const Port<T>&c = n.in[0], &a = n.in[1], &b = n.in[2], &y = n.out[0];
  Shape condition = c.shape;
  if (n.op->code == OpCode::kSelect && condition.size() == 1 && y.shape.size() > 1)
    condition.insert(condition.end(), y.shape.size() - 1, 1);
  const auto s = std::make_shared<const Spread>(spread(y.shape, {condition, a.shape, b.shape}));
  const auto each = [=](auto put) {
    for (const auto& r : s->runs)
      for (std::size_t i = 0; i < r.count; ++i)
        put(r.out + i, c.value[r.at[0] + i * s->step[0]] != T(0), r.at[1] + i * s->step[1],
            r.at[2] + i * s->step[2]);
  };
  Step<T> step;
  step.forward = [=] {
    each([&](std::size_t o, bool yes, std::size_t p, std::size_t q) {
      y.value[o] = yes ? a.value[p] : b.value[q];
    });
  };
  step.backward = [=] {
    each([&](std::size_t o, bool yes, std::size_t p, std::size_t q) {
      if (yes && a.grad != nullptr) a.grad[p] += y.grad[o];
      if (!yes && b.grad != nullptr) b.grad[q] += y.grad[o];
    });
  };
  return step;
}

}  // namespace

std::vector<StepRow> binary_steps() {
  return {LITEGAP_STEP(kAdd, make_add),
          LITEGAP_STEP(kSub, make_sub),
          LITEGAP_STEP(kMul, make_mul),
          LITEGAP_STEP(kDiv, make_div),
          LITEGAP_STEP(kMaximum, make_maximum),
          LITEGAP_STEP(kMinimum, make_minimum),
          LITEGAP_STEP(kSquaredDifference, make_squared_difference),
          LITEGAP_STEP(kPow, make_pow),
          LITEGAP_STEP(kPrelu, make_prelu),
          LITEGAP_STEP(kSelect, make_select),
          LITEGAP_STEP(kSelectV2, make_select)};
}

}  // namespace litegap
