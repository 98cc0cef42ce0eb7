// MEAN, SUM, REDUCE_MAX, REDUCE_MIN over constant axes.
//
// Every input element is given the output it goes to, as runs: `count` neighbours go to neighbours
// (step 1) or to one place (step 0).  Ties of a maximum share the gradient evenly, as TensorFlow
// does.
#include <algorithm>

#include "train/step.h"

namespace litegap {
namespace {

struct Run {
  std::size_t from, to, count, step;
};

template <class T>
std::vector<Run> reduction(const Node<T>& n) {
  const Shape& in = n.in[0].shape;
  std::vector<bool> gone(in.size(), false);
  for (std::int64_t axis : constant_integers(n.tensor_in(1), n.label())) {
    if (axis < 0) axis += static_cast<std::int64_t>(in.size());
    gone[static_cast<std::size_t>(axis)] = true;
  }
  std::vector<std::size_t> steps(in.size(), 0);
  std::size_t step = 1;
  for (std::size_t d = in.size(); d-- > 0;) {
    if (gone[d]) continue;
    steps[d] = step;
    step *= static_cast<std::size_t>(in[d]);
  }
  // Trailing axes of one kind make a run.
  std::size_t first = in.size(), count = 1;
  while (first > 0 && gone[first - 1] == gone[in.size() - 1])
    count *= static_cast<std::size_t>(in[--first]);
  const std::size_t each = in.empty() || gone[in.size() - 1] ? 0 : 1;
  std::vector<Run> runs;
  for (std::size_t i = 0; i * count < n.in[0].count; ++i) {
    std::size_t rest = i, to = 0;
    for (std::size_t d = first; d-- > 0;) {
      to += rest % static_cast<std::size_t>(in[d]) * steps[d];
      rest /= static_cast<std::size_t>(in[d]);
    }
    runs.push_back({i * count, to, count, each});
  }
  return runs;
}

template <class T>
Step<T> add_up(const Node<T>& n, bool mean) {
  const Port<T>&x = n.in[0], &y = n.out[0];
  const auto runs = std::make_shared<const std::vector<Run>>(reduction(n));
  const T share = mean ? static_cast<T>(y.count) / static_cast<T>(x.count) : T(1);
  Step<T> s;
  s.forward = [=] {
    std::fill(y.value, y.value + y.count, T(0));
    for (const Run& r : *runs)
      for (std::size_t i = 0; i < r.count; ++i) y.value[r.to + i * r.step] += x.value[r.from + i];
    for (std::size_t i = 0; i < y.count; ++i) y.value[i] *= share;
  };
  s.backward = [=] {
    if (x.grad == nullptr) return;
    for (const Run& r : *runs)
      for (std::size_t i = 0; i < r.count; ++i)
        x.grad[r.from + i] += y.grad[r.to + i * r.step] * share;
  };
  return s;
}

template <class T>
Step<T> extreme(const Node<T>& n, T sign) {
  const Port<T>&x = n.in[0], &y = n.out[0];
  const auto runs = std::make_shared<const std::vector<Run>>(reduction(n));
  const auto ties = std::make_shared<std::vector<T>>(y.count);
  const auto seen = std::make_shared<std::vector<char>>(y.count);
  Step<T> s;
  s.forward = [=] {
    std::fill(seen->begin(), seen->end(), 0);
    for (const Run& r : *runs)
      for (std::size_t i = 0; i < r.count; ++i) {
        const std::size_t o = r.to + i * r.step;
        const T v = x.value[r.from + i];
        if (!(*seen)[o] || sign * v > sign * y.value[o]) y.value[o] = v;
        (*seen)[o] = 1;
      }
  };
  s.backward = [=] {
    if (x.grad == nullptr) return;
    std::fill(ties->begin(), ties->end(), T(0));
    const auto each = [&](auto put) {
      for (const Run& r : *runs)
        for (std::size_t i = 0; i < r.count; ++i) {
          const std::size_t o = r.to + i * r.step;
          if (x.value[r.from + i] == y.value[o]) put(r.from + i, o);
        }
    };
    each([&](std::size_t, std::size_t o) { (*ties)[o] += T(1); });
    each([&](std::size_t i, std::size_t o) { x.grad[i] += y.grad[o] / (*ties)[o]; });
  };
  return s;
}

template <class T>
Step<T> make_mean(const Node<T>& n) {
  return add_up(n, true);
}
template <class T>
Step<T> make_sum(const Node<T>& n) {
  return add_up(n, false);
}
template <class T>
Step<T> make_reduce_max(const Node<T>& n) {
  return extreme(n, T(1));
}
template <class T>
Step<T> make_reduce_min(const Node<T>& n) {
  return extreme(n, T(-1));
}

}  // namespace

std::vector<StepRow> reduce_steps() {
  return {LITEGAP_STEP(kMean, make_mean), LITEGAP_STEP(kSum, make_sum),
          LITEGAP_STEP(kReduceMax, make_reduce_max), LITEGAP_STEP(kReduceMin, make_reduce_min)};
}

}  // namespace litegap
