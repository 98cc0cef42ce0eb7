#include "train/fake.h"

#include <algorithm>
#include <cmath>

#include "train/step.h"

namespace litegap {

FakeRange nudge(float lo, float hi, int bits, bool narrow) {
  FakeRange r;
  if (lo == 0 && hi == 0) return r;
  const float n0 = narrow ? 1.0f : 0.0f, n1 = static_cast<float>((1 << bits) - 1);
  r.empty = false;
  r.scale = (hi - lo) / (n1 - n0);
  r.inverse = (n1 - n0) / (hi - lo);
  const float zf = n0 - lo / r.scale;
  const float z = zf < n0 ? n0 : zf > n1 ? n1 : std::floor(zf + 0.5f);
  r.low = (n0 - z) * r.scale;
  r.high = (n1 - z) * r.scale;
  r.zero = std::floor(-r.low * (1.0f / r.scale) + 0.5f);
  return r;
}

float fake(const FakeRange& r, float x) {
  if (r.empty) return 0;
  const float c = std::min(std::max(x, r.low), r.high);
  return std::floor((c - r.low) / r.scale - r.zero + 0.5f) * r.scale;
}

float fake_per_channel(const FakeRange& r, float x) {
  if (r.empty) return 0;
  const float c = std::min(std::max(x, r.low), r.high);
  return std::floor((c - r.low) * r.inverse - r.zero + 0.5f) * r.scale;
}

namespace {

// The int8 grid of one scale: codes -128 to 127.
template <class T>
struct Grid {
  T scale, inverse, zero, low, high;  // low, high: real values at the ends
  explicit Grid(const Quant& q)
      : scale(q.scale[0]),
        inverse(T(1) / T(q.scale[0])),
        zero(static_cast<T>(q.zero_point[0])),
        low((T(-128) - zero) * scale),
        high((T(127) - zero) * scale) {}
  // Ties away from code 0, as the integer kernels break them.  Means of a few codes are full of
  // ties, which float arithmetic blurs: what is that near to one counts as one.
  T code(T x) const {
    const T v = x * inverse + zero;
    return std::copysign(std::floor(std::fabs(v) + T(0.5001)), v);
  }
  T round(T x) const { return (std::min(std::max(code(x), T(-128)), T(127)) - zero) * scale; }
  T round_uncut(T x) const { return (code(x) - zero) * scale; }
};

template <class T>
void watch(FakeSlot& s, const T* x, std::size_t n) {
  T low = x[0], high = x[0];
  for (std::size_t i = 1; i < n; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  s.batch_min = static_cast<float>(low);
  s.batch_max = static_cast<float>(high);
  s.batch_values = n;
  s.seen = true;
}

// d y / d scale of a learned step (Esser et al. 2020): round(v) - v inside, the end's code outside.
template <class T>
double step_gradient(const Grid<T>& g, const T* x, const T* up, std::size_t n) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const T v = x[i] * g.inverse;
    const T slope = x[i] < g.low    ? T(-128) - g.zero
                    : x[i] > g.high ? T(127) - g.zero
                                    : std::nearbyint(v) - v;
    sum += static_cast<double>(up[i] * slope);
  }
  return sum / std::sqrt(static_cast<double>(n) * 127);
}

// max|w| of each channel, and the grid of 127 steps on each side; rounds half away from zero, as
// the quantizer stores weights.
template <class T>
void round_weights(FakeSlot& s, const Port<T>& x, T* y) {
  std::size_t channels = 1, inner = x.count;
  if (s.axis >= 0) {
    channels = x.dim(static_cast<std::size_t>(s.axis));
    inner = 1;
    for (std::size_t d = static_cast<std::size_t>(s.axis) + 1; d < x.shape.size(); ++d)
      inner *= x.dim(d);
  }
  s.quant.scale.assign(channels, 0.0f);
  s.quant.zero_point.assign(channels, 0);
  for (std::size_t i = 0; i < x.count; ++i) {
    float& m = s.quant.scale[s.axis < 0 ? 0 : i / inner % channels];
    m = std::max(m, static_cast<float>(std::fabs(x.value[i])));
  }
  for (float& m : s.quant.scale) m = m == 0 ? 1.0f : m / 127;
  for (std::size_t i = 0; i < x.count; ++i) {
    const T scale = s.quant.scale[s.axis < 0 ? 0 : i / inner % channels];
    const T code = std::round(x.value[i] * (T(1) / scale));
    y[i] = std::min(std::max(code, T(-127)), T(127)) * scale;
  }
}

template <class T>
void round_bias(const std::vector<FakeSlot>& all, const FakeSlot& s, const Port<T>& x, T* y) {
  const Quant& data = all[static_cast<std::size_t>(s.data_slot)].quant;
  const Quant& weights = all[static_cast<std::size_t>(s.weight_slot)].quant;
  for (std::size_t i = 0; i < x.count; ++i) {
    if (data.empty() || weights.empty()) {
      y[i] = x.value[i];
      continue;
    }
    const T scale = T(data.scale[0]) * T(weights.scale[weights.scale.size() > 1 ? i : 0]);
    y[i] = std::round(x.value[i] / scale) * scale;
  }
}

template <class T>
Step<T> make_fake(const Node<T>& n) {
  const auto slot = static_cast<std::size_t>(n.template attrs<TrainFakeAttrs>().slot);
  const Port<T>&x = n.in[0], &y = n.out[0];
  const TapeMode* mode = n.mode;
  Step<T> s;
  s.forward = [=] {
    FakeSlot& f = (*mode->fakes)[slot];
    if (f.kind == FakeKind::kWeights) return round_weights(f, x, y.value);
    if (f.kind == FakeKind::kBias) return round_bias(*mode->fakes, f, x, y.value);
    if (mode->training) watch(f, x.value, x.count);
    if (f.quant.empty()) {
      std::copy(x.value, x.value + x.count, y.value);
      return;
    }
    const Grid<T> g(f.quant);
    if (mode->training && !f.cuts) {
      for (std::size_t i = 0; i < x.count; ++i) y.value[i] = g.round_uncut(x.value[i]);
    } else {
      for (std::size_t i = 0; i < x.count; ++i) y.value[i] = g.round(x.value[i]);
    }
  };
  s.backward = [=] {
    FakeSlot& f = (*mode->fakes)[slot];
    if (x.grad == nullptr) return;
    if (f.kind != FakeKind::kActivation || f.quant.empty() || !f.learn) {
      for (std::size_t i = 0; i < x.count; ++i) x.grad[i] += y.grad[i];
      return;
    }
    const Grid<T> g(f.quant);
    f.step_grad += step_gradient(g, x.value, y.grad, x.count);
    for (std::size_t i = 0; i < x.count; ++i)
      if (x.value[i] >= g.low && x.value[i] <= g.high) x.grad[i] += y.grad[i];
  };
  return s;
}

}  // namespace

std::vector<StepRow> fake_steps() { return {LITEGAP_STEP(kTrainFake, make_fake)}; }

}  // namespace litegap
