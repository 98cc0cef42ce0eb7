// Curves: y = f(x) element by element, and the activations that other operators carry.
//
//   {kTanh, f: tanh(x), slope: 1 - y^2}
//
// A slope is written in x and y, so that nothing but the values has to be kept.  At kinks the
// slopes are TensorFlow's: RELU 0 at 0, RELU6 0 at both ends, ABS 0 at 0.
#include <cmath>

#include "kernels/vectors.h"
#include "train/step.h"

namespace litegap {
namespace {

template <class T, class F, class D>
Step<T> curve(const Node<T>& n, F f, D slope) {
  const Port<T>&x = n.in[0], &y = n.out[0];
  Step<T> s;
  s.forward = [=] {
    with_vectors([=] {
      for (std::size_t i = 0; i < y.count; ++i) y.value[i] = f(x.value[i]);
    });
  };
  s.backward = [=] {
    if (x.grad == nullptr) return;
    with_vectors([=] {
      for (std::size_t i = 0; i < y.count; ++i)
        x.grad[i] += y.grad[i] * slope(x.value[i], y.value[i]);
    });
  };
  return s;
}

#define LITEGAP_CURVE(NAME, F, SLOPE)  \
  template <class T>                   \
  Step<T> NAME(const Node<T>& n) {     \
    return curve(                      \
        n, [](T x) -> T { return F; }, \
        [](T x, T y) -> T {            \
          (void)x, (void)y;            \
          return SLOPE;                \
        });                            \
  }

LITEGAP_CURVE(make_relu, x > 0 ? x : T(0), x > 0 ? T(1) : T(0))
LITEGAP_CURVE(make_relu6, x<0 ? T(0) : x> 6 ? T(6) : x, x > 0 && x < 6 ? T(1) : T(0))
LITEGAP_CURVE(make_relu_n1, x<-1 ? T(-1) : x> 1 ? T(1) : x, x > -1 && x < 1 ? T(1) : T(0))
LITEGAP_CURVE(make_relu_01, x<0 ? T(0) : x> 1 ? T(1) : x, x > 0 && x < 1 ? T(1) : T(0))
LITEGAP_CURVE(make_elu, x > 0 ? x : std::expm1(x), x > 0 ? T(1) : y + T(1))
LITEGAP_CURVE(make_hard_swish,
              x <= -3  ? T(0)
              : x >= 3 ? x
                       : x * (x + 3) / 6,
              x <= -3  ? T(0)
              : x >= 3 ? T(1)
                       : (2 * x + 3) / 6)
LITEGAP_CURVE(make_logistic,
              x >= 0 ? T(1) / (T(1) + std::exp(-x)) : std::exp(x) / (T(1) + std::exp(x)),
              y*(T(1) - y))
LITEGAP_CURVE(make_tanh, std::tanh(x), T(1) - y * y)
LITEGAP_CURVE(make_exp, std::exp(x), y)
LITEGAP_CURVE(make_log, std::log(x), T(1) / x)
LITEGAP_CURVE(make_sqrt, std::sqrt(x), T(0.5) / y)
LITEGAP_CURVE(make_rsqrt, T(1) / std::sqrt(x), T(-0.5) * y / x)
LITEGAP_CURVE(make_square, x* x, 2 * x)
LITEGAP_CURVE(make_abs, std::fabs(x), x > 0 ? T(1) : x < 0 ? T(-1) : T(0))
LITEGAP_CURVE(make_neg, -x, T(-1))
LITEGAP_CURVE(make_sin, std::sin(x), std::cos(x))
LITEGAP_CURVE(make_cos, std::cos(x), -std::sin(x))

template <class T>
Step<T> make_leaky(const Node<T>& n) {
  const T alpha = n.template attrs<LeakyReluAttrs>().alpha;
  return curve(
      n, [=](T x) { return x > 0 ? x : alpha * x; }, [=](T x, T) { return x > 0 ? T(1) : alpha; });
}

template <class T>
Step<T> make_gelu(const Node<T>& n) {
  const T root2 = std::sqrt(T(2)), pi = T(3.14159265358979323846);
  if (!n.template attrs<GeluAttrs>().approximate) {
    // x Phi(x), slope Phi(x) + x phi(x)
    const auto phi = [=](T x) { return T(0.5) * std::erfc(-x / root2); };
    return curve(
        n, [=](T x) { return x * phi(x); },
        [=](T x, T) { return phi(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * pi); });
  }
  const T k = std::sqrt(T(2) / pi), c = T(0.044715);
  return curve(
      n, [=](T x) { return T(0.5) * x * (1 + std::tanh(k * (x + c * x * x * x))); },
      [=](T x, T) {
        const T t = std::tanh(k * (x + c * x * x * x));
        return T(0.5) * (1 + t) + T(0.5) * x * (1 - t * t) * k * (1 + 3 * c * x * x);
      });
}

}  // namespace

template <class T>
void activate(Activation activation, T* y, std::size_t n) {
  const auto each = [&](auto f) {
    with_vectors([=] {
      for (std::size_t i = 0; i < n; ++i) y[i] = f(y[i]);
    });
  };
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kRelu:
      return each([](T v) { return v > 0 ? v : T(0); });
    case Activation::kReluN1To1:
      return each([](T v) { return v < -1 ? T(-1) : v > 1 ? T(1) : v; });
    case Activation::kRelu6:
      return each([](T v) { return v < 0 ? T(0) : v > 6 ? T(6) : v; });
    case Activation::kTanh:
      return each([](T v) { return std::tanh(v); });
    case Activation::kSignBit:
      fail("fused activation SIGN_BIT has no gradient");
  }
}

template <class T>
void activate_back(Activation activation, const T* y, T* dy, std::size_t n) {
  const auto each = [&](auto slope) {
    with_vectors([=] {
      for (std::size_t i = 0; i < n; ++i) dy[i] *= slope(y[i]);
    });
  };
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kRelu:
      return each([](T v) { return v > 0 ? T(1) : T(0); });
    case Activation::kReluN1To1:
      return each([](T v) { return v > -1 && v < 1 ? T(1) : T(0); });
    case Activation::kRelu6:
      return each([](T v) { return v > 0 && v < 6 ? T(1) : T(0); });
    case Activation::kTanh:
      return each([](T v) { return T(1) - v * v; });
    case Activation::kSignBit:
      fail("fused activation SIGN_BIT has no gradient");
  }
}

template void activate(Activation, float*, std::size_t);
template void activate(Activation, double*, std::size_t);
template void activate_back(Activation, const float*, float*, std::size_t);
template void activate_back(Activation, const double*, double*, std::size_t);

std::vector<StepRow> unary_steps() {
  return {LITEGAP_STEP(kRelu, make_relu),
          LITEGAP_STEP(kRelu6, make_relu6),
          LITEGAP_STEP(kReluN1To1, make_relu_n1),
          LITEGAP_STEP(kRelu0To1, make_relu_01),
          LITEGAP_STEP(kElu, make_elu),
          LITEGAP_STEP(kLeakyRelu, make_leaky),
          LITEGAP_STEP(kHardSwish, make_hard_swish),
          LITEGAP_STEP(kGelu, make_gelu),
          LITEGAP_STEP(kLogistic, make_logistic),
          LITEGAP_STEP(kTanh, make_tanh),
          LITEGAP_STEP(kExp, make_exp),
          LITEGAP_STEP(kLog, make_log),
          LITEGAP_STEP(kSqrt, make_sqrt),
          LITEGAP_STEP(kRsqrt, make_rsqrt),
          LITEGAP_STEP(kSquare, make_square),
          LITEGAP_STEP(kAbs, make_abs),
          LITEGAP_STEP(kNeg, make_neg),
          LITEGAP_STEP(kSin, make_sin),
          LITEGAP_STEP(kCos, make_cos)};
}

}  // namespace litegap
