// AVERAGE_POOL_2D, MAX_POOL_2D and RESIZE_BILINEAR: every output is a weighted sum, or one, of some
// inputs of its channel.
//
// Padding does not count in an average.  The first largest value of a window takes the whole
// gradient, as TensorFlow's CPU kernel gives it.
#include <algorithm>
#include <cmath>

#include "kernels/geometry.h"
#include "train/step.h"

namespace litegap {
namespace {

using Index = std::ptrdiff_t;

template <class T>
struct Pool {
  Port<T> x, y;
  PoolAttrs a;
  Index pad_h = 0, pad_w = 0;

  explicit Pool(const Node<T>& n) : x(n.in[0]), y(n.out[0]), a(n.template attrs<PoolAttrs>()) {
    pad_h = window_extent(x.shape[1], a.filter_h, a.stride_h, 1, a.padding).pad_before;
    pad_w = window_extent(x.shape[2], a.filter_w, a.stride_w, 1, a.padding).pad_before;
  }
  // body(y offset of the pixel, top, bottom, left, right, x offset of the image)
  template <class Body>
  void each(Body body) const {
    const Index h = x.shape[1], w = x.shape[2], c = x.shape[3];
    Index at = 0;
    for (Index n = 0; n < y.shape[0]; ++n)
      for (Index i = 0; i < y.shape[1]; ++i)
        for (Index j = 0; j < y.shape[2]; ++j, at += c) {
          const Index top = i * a.stride_h - pad_h, left = j * a.stride_w - pad_w;
          body(at, std::max<Index>(top, 0), std::min<Index>(top + a.filter_h, h),
               std::max<Index>(left, 0), std::min<Index>(left + a.filter_w, w), n * h * w * c);
        }
  }
};

template <class T>
Step<T> make_average_pool(const Node<T>& n) {
  const Pool<T> p(n);
  const Index w = p.x.shape[2], c = p.x.shape[3];
  Step<T> s;
  s.forward = [=] {
    p.each([&](Index at, Index top, Index bottom, Index left, Index right, Index image) {
      T* const out = p.y.value + at;
      std::fill(out, out + c, T(0));
      for (Index i = top; i < bottom; ++i)
        for (Index j = left; j < right; ++j) {
          const T* in = p.x.value + image + (i * w + j) * c;
          for (Index k = 0; k < c; ++k) out[k] += in[k];
        }
      const T share = T(1) / static_cast<T>((bottom - top) * (right - left));
      for (Index k = 0; k < c; ++k) out[k] *= share;
    });
    activate(p.a.activation, p.y.value, p.y.count);
  };
  s.backward = [=] {
    activate_back(p.a.activation, p.y.value, p.y.grad, p.y.count);
    if (p.x.grad == nullptr) return;
    p.each([&](Index at, Index top, Index bottom, Index left, Index right, Index image) {
      const T share = T(1) / static_cast<T>((bottom - top) * (right - left));
      for (Index i = top; i < bottom; ++i)
        for (Index j = left; j < right; ++j) {
          T* const down = p.x.grad + image + (i * w + j) * c;
          for (Index k = 0; k < c; ++k) down[k] += p.y.grad[at + k] * share;
        }
    });
  };
  return s;
}

template <class T>
Step<T> make_max_pool(const Node<T>& n) {
  const Pool<T> p(n);
  const Index w = p.x.shape[2], c = p.x.shape[3];
  const auto chosen = std::make_shared<std::vector<Index>>(p.y.count);
  Step<T> s;
  s.forward = [=] {
    p.each([&](Index at, Index top, Index bottom, Index left, Index right, Index image) {
      Index* const pick = chosen->data() + at;
      T* const out = p.y.value + at;
      for (Index i = top; i < bottom; ++i)
        for (Index j = left; j < right; ++j) {
          const Index from = image + (i * w + j) * c;
          const bool first = i == top && j == left;
          for (Index k = 0; k < c; ++k) {
            const T v = p.x.value[from + k];
            if (first || v > out[k]) {
              out[k] = v;
              pick[k] = from + k;
            }
          }
        }
    });
    activate(p.a.activation, p.y.value, p.y.count);
  };
  s.backward = [=] {
    activate_back(p.a.activation, p.y.value, p.y.grad, p.y.count);
    if (p.x.grad == nullptr) return;
    for (std::size_t i = 0; i < p.y.count; ++i) p.x.grad[(*chosen)[i]] += p.y.grad[i];
  };
  return s;
}

// Two neighbours along one axis and the share of the second.
template <class T>
struct Between {
  Index low, high;
  T share;
};
template <class T>
std::vector<Between<T>> between(Index in, Index out, const ResizeAttrs& a) {
  std::vector<Between<T>> v;
  const T scale = a.align_corners && out > 1 ? T(in - 1) / T(out - 1) : T(in) / T(out);
  for (Index i = 0; i < out; ++i) {
    const T at = a.half_pixel_centers ? (T(i) + T(0.5)) * scale - T(0.5) : T(i) * scale;
    const T floor = std::floor(at);
    const Index low = std::max<Index>(static_cast<Index>(floor), 0);
    const Index high = std::min<Index>(static_cast<Index>(std::ceil(at)), in - 1);
    v.push_back({std::min(low, in - 1), std::max<Index>(high, 0), at - floor});
  }
  return v;
}

template <class T>
Step<T> make_resize_bilinear(const Node<T>& n) {
  const auto& a = n.template attrs<ResizeAttrs>();
  const Port<T>&x = n.in[0], &y = n.out[0];
  const Index w = x.shape[2], c = x.shape[3];
  const auto rows = between<T>(x.shape[1], y.shape[1], a);
  const auto columns = between<T>(w, y.shape[2], a);
  const auto each = [=](auto put) {
    Index at = 0;
    for (Index b = 0; b < x.shape[0]; ++b) {
      const Index image = b * x.shape[1] * w * c;
      for (const auto& r : rows)
        for (const auto& q : columns) {
          put(at, image + (r.low * w + q.low) * c, (1 - r.share) * (1 - q.share));
          put(at, image + (r.low * w + q.high) * c, (1 - r.share) * q.share);
          put(at, image + (r.high * w + q.low) * c, r.share * (1 - q.share));
          put(at, image + (r.high * w + q.high) * c, r.share * q.share);
          at += c;
        }
    }
  };
  Step<T> s;
  s.forward = [=] {
    std::fill(y.value, y.value + y.count, T(0));
    each([&](Index to, Index from, T share) {
      for (Index k = 0; k < c; ++k) y.value[to + k] += share * x.value[from + k];
    });
  };
  s.backward = [=] {
    if (x.grad == nullptr) return;
    each([&](Index from, Index to, T share) {
      for (Index k = 0; k < c; ++k) x.grad[to + k] += share * y.grad[from + k];
    });
  };
  return s;
}

}  // namespace

std::vector<StepRow> pool_steps() {
  return {LITEGAP_STEP(kAveragePool2d, make_average_pool), LITEGAP_STEP(kMaxPool2d, make_max_pool),
          LITEGAP_STEP(kResizeBilinear, make_resize_bilinear)};
}

}  // namespace litegap
