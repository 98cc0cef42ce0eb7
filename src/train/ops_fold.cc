// The two operators of batch normalization folded while training; train/fold.h has the formulas.
//
// Both remember what they computed with: the moving statistics change between forward and backward.
#include <cmath>

#include "keras/fold.h"
#include "train/step.h"

namespace litegap {
namespace {

// ---- kTrainFold: w, bias, gamma, beta, mean, variance -> folded weights, folded bias ------------
// The channel axis is the first one, or the last where the first is not as long (depthwise).
template <class T>
Step<T> make_fold(const Node<T>& n) {
  const Port<T> none;
  const auto at = [&](std::size_t i) { return n.has(i) ? n.in[i] : none; };
  const Port<T> w = at(0), bias = at(1), gamma = at(2), beta = at(3), mean = at(4), var = at(5);
  const Port<T>&folded = n.out[0], &shift = n.out[1];
  const std::size_t c = shift.count;
  const bool first = folded.dim(0) == c;
  const std::size_t block = folded.count / c;
  const auto channel = [=](std::size_t i) { return first ? i / block : i % c; };
  const T epsilon = n.template attrs<BatchNormAttrs>().epsilon;
  const auto k = std::make_shared<std::vector<T>>(c), inverse = std::make_shared<std::vector<T>>(c);
  const auto value = [](const Port<T>& p, std::size_t i, T absent) {
    return p.present ? p.value[i] : absent;
  };
  Step<T> s;
  s.forward = [=] {
    for (std::size_t i = 0; i < c; ++i) {
      (*inverse)[i] = fold_factor(T(1), var.value[i], epsilon);
      (*k)[i] = fold_factor(value(gamma, i, T(1)), var.value[i], epsilon);
      shift.value[i] =
          fold_bias(value(bias, i, T(0)), (*k)[i], value(beta, i, T(0)), mean.value[i]);
    }
    for (std::size_t i = 0; i < folded.count; ++i)
      folded.value[i] = value(w, i, T(1)) * (*k)[channel(i)];
  };
  s.backward = [=] {
    if (folded.grad != nullptr) {
      for (std::size_t i = 0; i < folded.count; ++i) {
        const std::size_t at = channel(i);
        if (w.grad != nullptr) w.grad[i] += folded.grad[i] * (*k)[at];
        if (gamma.grad != nullptr)
          gamma.grad[at] += folded.grad[i] * value(w, i, T(1)) * (*inverse)[at];
      }
    }
    if (shift.grad == nullptr) return;
    for (std::size_t i = 0; i < c; ++i) {
      if (bias.grad != nullptr) bias.grad[i] += shift.grad[i] * (*k)[i];
      if (beta.grad != nullptr) beta.grad[i] += shift.grad[i];
      if (gamma.grad != nullptr)
        gamma.grad[i] += shift.grad[i] * (value(bias, i, T(0)) - mean.value[i]) * (*inverse)[i];
    }
  };
  return s;
}

// ---- kTrainFoldedNorm: z, folded bias, bias, gamma, beta, mean, variance -> y -------------------
template <class T>
struct FoldedStatistics {
  std::vector<T> mean, variance;     // of z
  std::vector<T> factor, deviation;  // k, and the moving sigma, as the fold had them
  std::vector<T> correction;         // moving sigma / batch's sigma
  std::vector<T> sum, dot;
  bool of_batch = false;
};

// z as good as constant says nothing about the layer: gamma is 0, or all its weights round to 0.
template <class T>
bool is_silent(T factor, T variance) {
  return !(std::fabs(factor) > T(1e-12)) || !(variance > T(1e-30));
}

template <class T>
void measure(const Port<T>& z, std::size_t c, FoldedStatistics<T>& st) {
  const std::size_t rows = z.count / c;
  const T share = T(1) / static_cast<T>(rows);
  std::fill(st.mean.begin(), st.mean.end(), T(0));
  std::fill(st.variance.begin(), st.variance.end(), T(0));
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t k = 0; k < c; ++k) st.mean[k] += z.value[r * c + k];
  for (T& m : st.mean) m *= share;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t k = 0; k < c; ++k) {
      const T d = z.value[r * c + k] - st.mean[k];
      st.variance[k] += d * d;
    }
  for (T& v : st.variance) v *= share;
}

template <class T>
struct FoldedNormStep {
  Port<T> z, shift, bias, gamma, beta, mm, mv, y;
  BatchNormAttrs attrs;
  const TapeMode* mode = nullptr;
  std::size_t c = 1;
  std::shared_ptr<FoldedStatistics<T>> st = std::make_shared<FoldedStatistics<T>>();

  T eps() const { return attrs.epsilon; }
  std::size_t rows() const { return z.count / c; }

  void update(std::size_t k) const {
    const T momentum = mode->statistics_momentum >= 0 ? static_cast<T>(mode->statistics_momentum)
                                                      : static_cast<T>(attrs.momentum);
    const T n = static_cast<T>(rows()), unbiased = attrs.unbiased && n > 1 ? n / (n - 1) : T(1);
    const T factor = st->factor[k];
    const T mean = st->mean[k] / factor + (bias.present ? bias.value[k] : T(0));
    const T variance = st->variance[k] / (factor * factor) * unbiased;
    mm.value[k] = mm.value[k] * momentum + mean * (1 - momentum);
    mv.value[k] = mv.value[k] * momentum + variance * (1 - momentum);
  }

  void forward() const {
    st->of_batch = mode->training && !mode->frozen_statistics && !attrs.frozen;
    if (st->of_batch) {
      measure(z, c, *st);
      for (std::size_t k = 0; k < c; ++k) {
        st->factor[k] = fold_factor(gamma.present ? gamma.value[k] : T(1), mv.value[k], eps());
        st->deviation[k] = std::sqrt(mv.value[k] + eps());
        const bool silent = is_silent(st->factor[k], st->variance[k]);
        const T variance = st->variance[k] / (st->factor[k] * st->factor[k]);
        st->correction[k] = silent ? T(1) : st->deviation[k] / std::sqrt(variance + eps());
        if (!silent && mode->update_statistics) update(k);
      }
    }
    for (std::size_t r = 0; r < rows(); ++r) {
      const T* in = z.value + r * c;
      T* out = y.value + r * c;
      if (!st->of_batch) {
        for (std::size_t k = 0; k < c; ++k) out[k] = in[k] + shift.value[k];
      } else {
        for (std::size_t k = 0; k < c; ++k)
          out[k] =
              (in[k] - st->mean[k]) * st->correction[k] + (beta.present ? beta.value[k] : T(0));
      }
    }
    activate(attrs.activation, y.value, y.count);
  }

  void backward() const {
    activate_back(attrs.activation, y.value, y.grad, y.count);
    auto &sum = st->sum, &dot = st->dot;  // of dy, and of dy (z - mean)
    std::fill(sum.begin(), sum.end(), T(0));
    std::fill(dot.begin(), dot.end(), T(0));
    for (std::size_t r = 0; r < rows(); ++r)
      for (std::size_t k = 0; k < c; ++k) {
        sum[k] += y.grad[r * c + k];
        if (st->of_batch) dot[k] += y.grad[r * c + k] * (z.value[r * c + k] - st->mean[k]);
      }
    if (!st->of_batch) {
      for (std::size_t k = 0; k < c && shift.grad != nullptr; ++k) shift.grad[k] += sum[k];
      for (std::size_t i = 0; i < z.count && z.grad != nullptr; ++i) z.grad[i] += y.grad[i];
      return;
    }
    const T share = T(1) / static_cast<T>(rows());
    for (std::size_t k = 0; k < c; ++k) {
      if (beta.grad != nullptr) beta.grad[k] += sum[k];
      const T factor = st->factor[k], square = factor * factor;
      sum[k] *= share;
      if (is_silent(factor, st->variance[k])) {
        dot[k] = 0;
        continue;
      }
      // correction = sigma / sqrt(variance / factor^2 + eps), and factor = gamma / sigma
      const T inner = (st->variance[k] / square + eps()) * square;
      if (gamma.grad != nullptr)
        gamma.grad[k] +=
            dot[k] * st->correction[k] * st->variance[k] / (inner * factor * st->deviation[k]);
      dot[k] *= st->correction[k] / inner * share;
    }
    if (z.grad == nullptr) return;
    for (std::size_t r = 0; r < rows(); ++r)
      for (std::size_t k = 0; k < c; ++k) {
        const std::size_t i = r * c + k;
        z.grad[i] += st->correction[k] * (y.grad[i] - sum[k]) - dot[k] * (z.value[i] - st->mean[k]);
      }
  }
};

template <class T>
Step<T> make_folded_norm(const Node<T>& n) {
  const Port<T> none;
  const auto at = [&](std::size_t i) { return n.has(i) ? n.in[i] : none; };
  FoldedNormStep<T> f{
      at(0), at(1), at(2), at(3), at(4), at(5), at(6), n.out[0], n.template attrs<BatchNormAttrs>(),
      n.mode};
  f.c = f.shift.count;
  for (auto* v : {&f.st->mean, &f.st->variance, &f.st->factor, &f.st->deviation, &f.st->correction,
                  &f.st->sum, &f.st->dot})
    v->resize(f.c);
  Step<T> s;
  s.forward = [f] { f.forward(); };
  s.backward = [f] { f.backward(); };
  return s;
}

}  // namespace

std::vector<StepRow> fold_steps() {
  return {LITEGAP_STEP(kTrainFold, make_fold), LITEGAP_STEP(kTrainFoldedNorm, make_folded_norm)};
}

}  // namespace litegap
