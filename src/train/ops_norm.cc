// SOFTMAX, LOG_SOFTMAX, L2_NORMALIZATION, batch normalization and dropout.
//
// Batch normalization over all axes but the last (Ioffe and Szegedy 2015; Keras's defaults):
//
//   training   xh = (x - mean) / sqrt(var + eps), y = gamma xh + beta, var the biased variance
//              moving <- momentum moving + (1 - momentum) batch
//              dx = gamma / sqrt(var + eps) (dy - mean(dy) - xh mean(dy xh))
//   inference  the moving statistics are constants:  dx = gamma / sqrt(var + eps) dy
#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "kernels/vectors.h"
#include "train/lanes_of.h"
#include "train/step.h"

namespace litegap {
namespace {

template <class T>
Step<T> make_softmax(const Node<T>& n) {
  const Port<T>&x = n.in[0], &y = n.out[0];
  const T beta = n.template attrs<SoftmaxAttrs>().beta;
  const std::size_t row = y.dim(y.shape.size() - 1);
  Step<T> s;
  s.forward = [=] {
    for (std::size_t r = 0; r < y.count; r += row) {
      const T *in = x.value + r, peak = *std::max_element(in, in + row);
      T sum = 0;
      for (std::size_t i = 0; i < row; ++i) sum += y.value[r + i] = std::exp(beta * (in[i] - peak));
      for (std::size_t i = 0; i < row; ++i) y.value[r + i] /= sum;
    }
  };
  s.backward = [=] {
    if (x.grad == nullptr) return;
    for (std::size_t r = 0; r < y.count; r += row) {
      T dot = 0;
      for (std::size_t i = 0; i < row; ++i) dot += y.value[r + i] * y.grad[r + i];
      for (std::size_t i = 0; i < row; ++i)
        x.grad[r + i] += beta * y.value[r + i] * (y.grad[r + i] - dot);
    }
  };
  return s;
}

template <class T>
Step<T> make_log_softmax(const Node<T>& n) {
  const Port<T>&x = n.in[0], &y = n.out[0];
  const std::size_t row = y.dim(y.shape.size() - 1);
  Step<T> s;
  s.forward = [=] {
    for (std::size_t r = 0; r < y.count; r += row) {
      const T *in = x.value + r, peak = *std::max_element(in, in + row);
      T sum = 0;
      for (std::size_t i = 0; i < row; ++i) sum += std::exp(in[i] - peak);
      for (std::size_t i = 0; i < row; ++i) y.value[r + i] = in[i] - peak - std::log(sum);
    }
  };
  s.backward = [=] {
    if (x.grad == nullptr) return;
    for (std::size_t r = 0; r < y.count; r += row) {
      T sum = 0;
      for (std::size_t i = 0; i < row; ++i) sum += y.grad[r + i];
      for (std::size_t i = 0; i < row; ++i)
        x.grad[r + i] += y.grad[r + i] - std::exp(y.value[r + i]) * sum;
    }
  };
  return s;
}

// y = x / sqrt(max(sum x^2, 1e-6)), as the runtime's kernel has it.
template <class T>
Step<T> make_l2(const Node<T>& n) {
  const Port<T>&x = n.in[0], &y = n.out[0];
  const std::size_t row = y.dim(y.shape.size() - 1);
  const auto norm = [=](std::size_t r) {
    T sum = 0;
    for (std::size_t i = 0; i < row; ++i) sum += x.value[r + i] * x.value[r + i];
    return std::sqrt(std::max(sum, T(1e-6)));
  };
  Step<T> s;
  s.forward = [=] {
    for (std::size_t r = 0; r < y.count; r += row) {
      const T k = T(1) / norm(r);
      for (std::size_t i = 0; i < row; ++i) y.value[r + i] = x.value[r + i] * k;
    }
  };
  s.backward = [=] {
    if (x.grad == nullptr) return;
    for (std::size_t r = 0; r < y.count; r += row) {
      const T k = T(1) / norm(r);
      T dot = 0;
      for (std::size_t i = 0; i < row; ++i) dot += y.value[r + i] * y.grad[r + i];
      if (k >= T(999.99)) dot = 0;  // the floor under the norm: a constant factor
      for (std::size_t i = 0; i < row; ++i)
        x.grad[r + i] += k * (y.grad[r + i] - y.value[r + i] * dot);
    }
  };
  return s;
}

template <class T>
struct Statistics {
  std::vector<T> mean, inverse, a, b, p;  // inverse: 1 / sqrt(var + eps)
  bool of_batch = false;
};

// Of rows [rows, c], for each of the c columns.
template <class T>
void moments(const T* x, std::size_t rows, std::size_t c, T* mean, T* var) {
  const T inv = T(1) / static_cast<T>(rows);
  each_lanes<T>(c, [&](auto lanes, std::size_t k) {
    using V = typename decltype(lanes)::Vector;
    V middle[lanes.kVectors] = {}, squares[lanes.kVectors] = {};
    for (std::size_t r = 0; r < rows; ++r)
      lanes.each([&](int i, std::size_t at) {
        V v;
        lanes.load(x + r * c + k + at, v);
        middle[i] += v;
      });
    for (V& m : middle) m *= inv;
    for (std::size_t r = 0; r < rows; ++r)
      lanes.each([&](int i, std::size_t at) {
        V d;
        lanes.load(x + r * c + k + at, d);
        d -= middle[i];
        squares[i] += d * d;
      });
    for (V& v : squares) v *= inv;
    lanes.store_all(mean + k, middle);
    lanes.store_all(var + k, squares);
  });
}
template <class T>
void scale_and_shift(const T* x, std::size_t rows, std::size_t c, const T* scale, const T* shift,
                     T* y) {
  each_lanes<T>(c, [&](auto lanes, std::size_t k) {
    using V = typename decltype(lanes)::Vector;
    V factor[lanes.kVectors], term[lanes.kVectors];
    lanes.load_all(scale + k, factor);
    lanes.load_all(shift + k, term);
    for (std::size_t r = 0; r < rows; ++r)
      lanes.each([&](int i, std::size_t at) {
        V v;
        lanes.load(x + r * c + k + at, v);
        v = v * factor[i] + term[i];
        lanes.store(y + r * c + k + at, v);
      });
  });
}
// Of the gradient: its sum, and that of its products with x - mean.
template <class T>
void sum_and_dot(const T* dy, const T* x, std::size_t rows, std::size_t c, const T* mean, T* sum,
                 T* dot) {
  each_lanes<T>(c, [&](auto lanes, std::size_t k) {
    using V = typename decltype(lanes)::Vector;
    V middle[lanes.kVectors], all[lanes.kVectors] = {}, products[lanes.kVectors] = {};
    lanes.load_all(mean + k, middle);
    for (std::size_t r = 0; r < rows; ++r)
      lanes.each([&](int i, std::size_t at) {
        V up, v;
        lanes.load(dy + r * c + k + at, up);
        lanes.load(x + r * c + k + at, v);
        all[i] += up;
        products[i] += up * (v - middle[i]);
      });
    lanes.store_all(sum + k, all);
    lanes.store_all(dot + k, products);
  });
}
template <class T>
struct Gradients {
  const T *dy, *x;
  T* dx;
};
// dx += p dy + q (x - mean) + u
template <class T>
void add_back(const Gradients<T>& g, std::size_t rows, std::size_t c, const T* mean, const T* p,
              const T* q, const T* u) {
  each_lanes<T>(c, [&](auto lanes, std::size_t k) {
    using V = typename decltype(lanes)::Vector;
    V middle[lanes.kVectors], of_up[lanes.kVectors], of_x[lanes.kVectors], term[lanes.kVectors];
    lanes.load_all(mean + k, middle);
    lanes.load_all(p + k, of_up);
    lanes.load_all(q + k, of_x);
    lanes.load_all(u + k, term);
    for (std::size_t r = 0; r < rows; ++r)
      lanes.each([&](int i, std::size_t at) {
        const std::size_t e = r * c + k + at;
        V up, v, down;
        lanes.load(g.dy + e, up);
        lanes.load(g.x + e, v);
        lanes.load(g.dx + e, down);
        down += of_up[i] * up + of_x[i] * (v - middle[i]) + term[i];
        lanes.store(g.dx + e, down);
      });
  });
}

template <class T>
Step<T> make_batch_norm(const Node<T>& n) {
  const auto a = n.template attrs<BatchNormAttrs>();
  const Port<T>&x = n.in[0], &y = n.out[0], &mm = n.in[3], &mv = n.in[4];
  const Port<T> gamma = n.has(1) ? n.in[1] : Port<T>{}, beta = n.has(2) ? n.in[2] : Port<T>{};
  const std::size_t c = y.dim(y.shape.size() - 1), rows = y.count / c;
  const auto st = std::make_shared<Statistics<T>>();
  for (auto* v : {&st->mean, &st->inverse, &st->a, &st->b, &st->p}) v->resize(c);
  const TapeMode* mode = n.mode;
  const T unbiased =
      a.unbiased && rows > 1 ? static_cast<T>(rows) / static_cast<T>(rows - 1) : T(1);
  const T inv = T(1) / static_cast<T>(rows), eps = a.epsilon, own = a.momentum;
  Step<T> s;
  s.forward = [=] {
    st->of_batch = mode->training && !mode->frozen_statistics && !a.frozen;
    const T momentum =
        mode->statistics_momentum >= 0 ? static_cast<T>(mode->statistics_momentum) : own;
    T *mean = st->mean.data(), *inverse = st->inverse.data();
    if (st->of_batch) {
      T* var = st->a.data();
      with_vectors([&] { moments(x.value, rows, c, mean, var); });
      for (std::size_t k = 0; k < c; ++k) {
        inverse[k] = T(1) / std::sqrt(var[k] + eps);
        if (mode->update_statistics) {
          mm.value[k] = mm.value[k] * momentum + mean[k] * (1 - momentum);
          mv.value[k] = mv.value[k] * momentum + var[k] * unbiased * (1 - momentum);
        }
      }
    } else {
      for (std::size_t k = 0; k < c; ++k) {
        mean[k] = mm.value[k];
        inverse[k] = T(1) / std::sqrt(mv.value[k] + eps);
      }
    }
    T *scale = st->a.data(), *shift = st->b.data();
    for (std::size_t k = 0; k < c; ++k) {
      scale[k] = inverse[k] * (gamma.present ? gamma.value[k] : T(1));
      shift[k] = (beta.present ? beta.value[k] : T(0)) - mean[k] * scale[k];
    }
    with_vectors([&] { scale_and_shift(x.value, rows, c, scale, shift, y.value); });
    activate(a.activation, y.value, y.count);
  };
  s.backward = [=] {
    activate_back(a.activation, y.value, y.grad, y.count);
    const T *mean = st->mean.data(), *inverse = st->inverse.data();
    T *sum = st->a.data(), *dot = st->b.data();  // of dy, and of dy xh
    with_vectors([&] { sum_and_dot(y.grad, x.value, rows, c, mean, sum, dot); });
    for (std::size_t k = 0; k < c; ++k) {
      dot[k] *= inverse[k];
      if (gamma.grad != nullptr) gamma.grad[k] += dot[k];
      if (beta.grad != nullptr) beta.grad[k] += sum[k];
    }
    if (x.grad == nullptr) return;
    // dx = p dy + q (x - mean) + u
    T* p = st->p.data();
    for (std::size_t k = 0; k < c; ++k) {
      p[k] = inverse[k] * (gamma.present ? gamma.value[k] : T(1));
      dot[k] = st->of_batch ? -p[k] * inverse[k] * dot[k] * inv : T(0);
      sum[k] = st->of_batch ? -p[k] * sum[k] * inv : T(0);
    }
    with_vectors([&] { add_back({y.grad, x.value, x.grad}, rows, c, mean, p, dot, sum); });
  };
  return s;
}

template <class T>
Step<T> make_dropout(const Node<T>& n) {
  const auto a = n.template attrs<DropoutAttrs>();
  const Port<T>&x = n.in[0], &y = n.out[0];
  const auto keep = std::make_shared<std::vector<T>>(y.count);
  // Where each element finds its decision: shared axes count as one.
  auto place = std::make_shared<std::vector<std::uint32_t>>(y.count);
  std::vector<bool> shared(y.shape.size(), false);
  for (const std::int32_t d : a.shared_axes) shared[static_cast<std::size_t>(d)] = true;
  for (std::size_t i = 0; i < y.count; ++i) {
    std::size_t rest = i, at = 0, step = 1;
    for (std::size_t d = y.shape.size(); d-- > 0;) {
      if (!shared[d]) {
        at += rest % y.dim(d) * step;
        step *= y.dim(d);
      }
      rest /= y.dim(d);
    }
    (*place)[i] = static_cast<std::uint32_t>(at);
  }
  std::size_t decisions = 0;
  for (const std::uint32_t p : *place) decisions = std::max<std::size_t>(decisions, p + 1u);
  auto choice = std::make_shared<std::vector<T>>(decisions);
  const TapeMode* mode = n.mode;
  const auto salt = static_cast<std::uint64_t>(n.index);
  Step<T> s;
  s.forward = [=] {
    if (!mode->training || a.rate <= 0) {
      std::fill(keep->begin(), keep->end(), T(1));
    } else {
      Random random(mode->seed * 0x9E3779B97F4A7C15ULL + mode->step * 0xD1B54A32D192ED03ULL + salt);
      const T scale = a.rate < 1 ? T(1) / (T(1) - T(a.rate)) : T(0);
      for (T& v : *choice) v = random.uniform() >= a.rate ? scale : T(0);
      for (std::size_t i = 0; i < y.count; ++i) (*keep)[i] = (*choice)[(*place)[i]];
    }
    for (std::size_t i = 0; i < y.count; ++i) y.value[i] = x.value[i] * (*keep)[i];
  };
  s.backward = [=] {
    if (x.grad == nullptr) return;
    for (std::size_t i = 0; i < y.count; ++i) x.grad[i] += y.grad[i] * (*keep)[i];
  };
  return s;
}

}  // namespace

std::vector<StepRow> norm_steps() {
  return {LITEGAP_STEP(kSoftmax, make_softmax), LITEGAP_STEP(kLogSoftmax, make_log_softmax),
          LITEGAP_STEP(kL2Normalization, make_l2), LITEGAP_STEP(kTrainBatchNorm, make_batch_norm),
          LITEGAP_STEP(kTrainDropout, make_dropout)};
}

}  // namespace litegap
