// CONV_2D (grouped, dilated), DEPTHWISE_CONV_2D and TRANSPOSE_CONV, forwards and backwards.
//
// A convolution is a product of matrices: the rows are the windows of all output pixels of the
// batch, laid out a block at a time so that a block stays in the cache.
//
//   out[pixels, oc] = windows[pixels, kh kw ic] W[oc, kh kw ic]^T + bias
//   dW += dout^T windows;   dwindows = dout W, added back to where each window came from
//
// A transposed convolution is the same with forward and backward exchanged: its input takes the
// place of dout.  Depthwise convolutions walk over taps, vectors over channels.
#include <algorithm>
#include <cstring>

#include "kernels/geometry.h"
#include "train/matmul.h"
#include "train/step.h"

namespace litegap {
namespace {

using Index = std::ptrdiff_t;

constexpr Index kBlockElements = 48 * 1024;  // of windows at a time

// Windows of [n, h, w, c] that move over an image to give [n, out_h, out_w].
struct Windows {
  Index n = 0, h = 0, w = 0, c = 0, out_h = 0, out_w = 0;
  Index kh = 1, kw = 1, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  Index pad_h = 0, pad_w = 0;
  Index pixels() const { return n * out_h * out_w; }
  bool pointwise() const {
    return kh == 1 && kw == 1 && stride_h == 1 && stride_w == 1 && pad_h == 0 && pad_w == 0 &&
           out_h == h && out_w == w;
  }
};

template <class A>
Windows windows_of(const Shape& image, const Shape& out, Index kh, Index kw, const A& attrs,
                   Index dilation_h, Index dilation_w) {
  Windows g;
  g.n = image[0];
  g.h = image[1];
  g.w = image[2];
  g.c = image[3];
  g.out_h = out[1];
  g.out_w = out[2];
  g.kh = kh;
  g.kw = kw;
  g.stride_h = attrs.stride_h;
  g.stride_w = attrs.stride_w;
  g.dilation_h = dilation_h;
  g.dilation_w = dilation_w;
  g.pad_h = window_extent(g.h, kh, g.stride_h, dilation_h, attrs.padding).pad_before;
  g.pad_w = window_extent(g.w, kw, g.stride_w, dilation_w, attrs.padding).pad_before;
  return g;
}

// Calls put(image offset or -1, window offset, length) for runs of values of the windows of pixels
// [begin, end) that are neighbours in both, or all outside of the image; the window holds channels
// [first, first + count) only.  A row of taps is one run where all channels are taken.
template <class Put>
void each_run(const Windows& g, Index begin, Index end, Index first, Index count, Put put) {
  const bool whole = count == g.c && g.dilation_w == 1;
  const Index row_length = g.kw * count;
  Index at = 0;
  for (Index p = begin; p < end; ++p) {
    const Index x = p % g.out_w, y = p / g.out_w % g.out_h, n = p / g.out_w / g.out_h;
    const Index left = x * g.stride_w - g.pad_w;
    for (Index i = 0; i < g.kh; ++i, at += row_length) {
      const Index row = y * g.stride_h - g.pad_h + i * g.dilation_h;
      if (row < 0 || row >= g.h) {
        put(Index{-1}, at, row_length);
        continue;
      }
      const Index line = (n * g.h + row) * g.w;
      if (!whole) {
        for (Index j = 0; j < g.kw; ++j) {
          const Index column = left + j * g.dilation_w;
          const bool inside = column >= 0 && column < g.w;
          put(inside ? (line + column) * g.c + first : -1, at + j * count, count);
        }
        continue;
      }
      const Index before = std::clamp<Index>(-left, 0, g.kw);
      const Index stop = std::clamp<Index>(g.w - left, before, g.kw);
      if (before > 0) put(Index{-1}, at, before * count);
      if (stop > before) {
        put((line + left + before) * g.c, at + before * count, (stop - before) * count);
      }
      if (stop < g.kw) put(Index{-1}, at + stop * count, (g.kw - stop) * count);
    }
  }
}

template <class T>
void read_windows(const Windows& g, Index begin, Index end, Index first, Index count,
                  const T* image, T* windows) {
  each_run(g, begin, end, first, count, [&](Index from, Index to, Index length) {
    if (from < 0) {
      std::fill(windows + to, windows + to + length, T(0));
    } else {
      for (Index c = 0; c < length; ++c) windows[to + c] = image[from + c];
    }
  });
}

template <class T>
void add_windows(const Windows& g, Index begin, Index end, Index first, Index count,
                 const T* windows, T* image) {
  each_run(g, begin, end, first, count, [&](Index to, Index from, Index length) {
    if (to < 0) return;
    for (Index c = 0; c < length; ++c) image[to + c] += windows[from + c];
  });
}

template <class T>
void fill_bias(T* out, Index rows, Index channels, const T* bias) {
  for (Index r = 0; r < rows; ++r) {
    if (bias != nullptr) {
      std::copy(bias, bias + channels, out + r * channels);
    } else {
      std::fill(out + r * channels, out + (r + 1) * channels, T(0));
    }
  }
}

template <class T>
void add_bias_grad(const T* dout, Index rows, Index channels, T* dbias) {
  for (Index r = 0; r < rows; ++r)
    for (Index c = 0; c < channels; ++c) dbias[c] += dout[r * channels + c];
}

std::size_t z(Index i) { return static_cast<std::size_t>(i); }

// Products between windows of an image and rows of `channels` values per pixel.  Weights lie as
// [channels][kh kw count] per group.
template <class T>
struct Correlation {
  Windows g;
  Index channels = 0, groups = 1;
  std::shared_ptr<std::vector<T>> buffer, turned;  // turned: [kh kw count][channels / groups]
  Index count() const { return g.c / groups; }
  Index depth() const { return g.kh * g.kw * count(); }
  bool direct() const { return g.pointwise() && groups == 1; }
  Index block() const { return std::max<Index>(48, kBlockElements / depth()); }
  void make_buffer() {
    if (!direct())
      buffer = std::make_shared<std::vector<T>>(z(std::min(block(), g.pixels()) * depth()));
    turned = std::make_shared<std::vector<T>>(z(channels * depth()));
  }

  // rows[pixels, channels] += windows(image) W^T
  void multiply(const T* image, const T* weights, T* rows) const {
    const Index per = channels / groups;
    for (Index k = 0; k < groups; ++k) {
      for (Index o = 0; o < per; ++o) {
        for (Index d = 0; d < depth(); ++d)
          (*turned)[z((k * depth() + d) * per + o)] = weights[(k * per + o) * depth() + d];
      }
    }
    for (Index begin = 0; begin < g.pixels(); begin += block()) {
      const Index end = std::min(begin + block(), g.pixels());
      for (Index k = 0; k < groups; ++k) {
        const T* a = image + begin * g.c;
        if (!direct()) {
          read_windows(g, begin, end, k * count(), count(), image, buffer->data());
          a = buffer->data();
        }
        matmul<T>({a, z(depth())}, {turned->data() + k * depth() * per, z(per)},
                  rows + begin * channels + k * per, z(channels), z(end - begin), z(per),
                  z(depth()));
      }
    }
  }
  // image += W^T of rows, window by window
  void scatter(const T* rows, const T* weights, T* image) const {
    const Index per = channels / groups;
    for (Index begin = 0; begin < g.pixels(); begin += block()) {
      const Index end = std::min(begin + block(), g.pixels());
      for (Index k = 0; k < groups; ++k) {
        T* to = direct() ? image + begin * g.c : buffer->data();
        matmul<T>({rows + begin * channels + k * per, z(channels)},
                  {weights + k * per * depth(), z(depth())}, to, z(depth()), z(end - begin),
                  z(depth()), z(per), direct() ? Into::kAdd : Into::kReplace);
        if (!direct()) add_windows(g, begin, end, k * count(), count(), to, image);
      }
    }
  }
  // dW += rows^T windows(image)
  void weights_grad(const T* image, const T* rows, T* dweights) const {
    const Index per = channels / groups;
    for (Index begin = 0; begin < g.pixels(); begin += block()) {
      const Index end = std::min(begin + block(), g.pixels());
      for (Index k = 0; k < groups; ++k) {
        const T* b = image + begin * g.c;
        if (!direct()) {
          read_windows(g, begin, end, k * count(), count(), image, buffer->data());
          b = buffer->data();
        }
        matmul<T>({rows + begin * channels + k * per, z(channels), true}, {b, z(depth())},
                  dweights + k * per * depth(), z(depth()), z(per), z(depth()), z(end - begin));
      }
    }
  }
};

template <class T>
Step<T> make_conv(const Node<T>& n) {
  const auto& a = n.template attrs<ConvAttrs>();
  const Port<T>&x = n.in[0], &w = n.in[1], &y = n.out[0];
  Correlation<T> c;
  c.g = windows_of(x.shape, y.shape, w.shape[1], w.shape[2], a, a.dilation_h, a.dilation_w);
  c.channels = y.shape[3];
  c.groups = x.shape[3] / w.shape[3];
  c.make_buffer();
  const T* bias = n.has(2) ? n.in[2].value : nullptr;
  T* dbias = n.has(2) ? n.in[2].grad : nullptr;
  const Index rows = c.g.pixels();
  Step<T> s;
  s.forward = [=] {
    fill_bias(y.value, rows, c.channels, bias);
    c.multiply(x.value, w.value, y.value);
    activate(a.activation, y.value, y.count);
  };
  s.backward = [=] {
    activate_back(a.activation, y.value, y.grad, y.count);
    if (dbias != nullptr) add_bias_grad(y.grad, rows, c.channels, dbias);
    if (w.grad != nullptr) c.weights_grad(x.value, y.grad, w.grad);
    if (x.grad != nullptr) c.scatter(y.grad, w.value, x.grad);
  };
  return s;
}

// TRANSPOSE_CONV: inputs output shape, weights [oc, kh, kw, ic], x, bias.
template <class T>
Step<T> make_transpose_conv(const Node<T>& n) {
  const auto& a = n.template attrs<TransposeConvAttrs>();
  const Port<T>&w = n.in[1], &x = n.in[2], &y = n.out[0];
  // The windows are those of the output; the rows are the input's pixels.  Weights are reordered to
  // [ic][kh kw oc].
  Correlation<T> c;
  c.g = windows_of(y.shape, x.shape, w.shape[1], w.shape[2], a, 1, 1);
  c.channels = x.shape[3];
  c.make_buffer();
  const Index oc = w.shape[0], taps = Index{w.shape[1]} * w.shape[2], ic = w.shape[3];
  auto turned = std::make_shared<std::vector<T>>(w.count);
  auto dturned = std::make_shared<std::vector<T>>(w.count);
  const T* bias = n.has(3) ? n.in[3].value : nullptr;
  T* dbias = n.has(3) ? n.in[3].grad : nullptr;
  const Index rows = c.g.n * c.g.h * c.g.w;
  const auto each = [=](auto put) {
    for (Index o = 0; o < oc; ++o)
      for (Index t = 0; t < taps; ++t)
        for (Index i = 0; i < ic; ++i) put((o * taps + t) * ic + i, (i * taps + t) * oc + o);
  };
  Step<T> s;
  s.forward = [=] {
    each([&](Index from, Index to) { (*turned)[z(to)] = w.value[from]; });
    fill_bias(y.value, rows, oc, bias);
    c.scatter(x.value, turned->data(), y.value);
    activate(a.activation, y.value, y.count);
  };
  s.backward = [=] {
    activate_back(a.activation, y.value, y.grad, y.count);
    if (dbias != nullptr) add_bias_grad(y.grad, rows, oc, dbias);
    if (w.grad != nullptr) {
      std::fill(dturned->begin(), dturned->end(), T(0));
      c.weights_grad(y.grad, x.value, dturned->data());
      each([&](Index to, Index from) { w.grad[to] += (*dturned)[z(from)]; });
    }
    if (x.grad != nullptr) {
      each([&](Index from, Index to) { (*turned)[z(to)] = w.value[from]; });
      c.multiply(y.grad, turned->data(), x.grad);
    }
  };
  return s;
}

// Calls tap(x offset, y offset, weight offset) where window and image meet; offsets of channel 0.
template <class Tap>
void each_depthwise(const Windows& g, Index out_c, Tap tap) {
  Index at = 0;
  for (Index n = 0; n < g.n; ++n) {
    for (Index y = 0; y < g.out_h; ++y) {
      for (Index x = 0; x < g.out_w; ++x, at += out_c) {
        for (Index i = 0; i < g.kh; ++i) {
          const Index row = y * g.stride_h - g.pad_h + i * g.dilation_h;
          if (row < 0 || row >= g.h) continue;
          for (Index j = 0; j < g.kw; ++j) {
            const Index column = x * g.stride_w - g.pad_w + j * g.dilation_w;
            if (column < 0 || column >= g.w) continue;
            tap(((n * g.h + row) * g.w + column) * g.c, at, (i * g.kw + j) * out_c);
          }
        }
      }
    }
  }
}

template <class T>
Step<T> make_depthwise(const Node<T>& n) {
  const auto& a = n.template attrs<DepthwiseAttrs>();
  const Port<T>&x = n.in[0], &w = n.in[1], &y = n.out[0];
  const Windows g =
      windows_of(x.shape, y.shape, w.shape[1], w.shape[2], a, a.dilation_h, a.dilation_w);
  const Index channels = y.shape[3], times = channels / g.c;
  const T* bias = n.has(2) ? n.in[2].value : nullptr;
  T* dbias = n.has(2) ? n.in[2].grad : nullptr;
  const Index rows = g.pixels();
  Step<T> s;
  s.forward = [=] {
    fill_bias(y.value, rows, channels, bias);
    each_depthwise(g, channels, [&](Index from, Index to, Index tap) {
      const T* const in = x.value + from;
      const T* const k = w.value + tap;
      T* const out = y.value + to;
      if (times == 1) {
        for (Index c = 0; c < channels; ++c) out[c] += in[c] * k[c];
      } else {
        for (Index c = 0; c < channels; ++c) out[c] += in[c / times] * k[c];
      }
    });
    activate(a.activation, y.value, y.count);
  };
  s.backward = [=] {
    activate_back(a.activation, y.value, y.grad, y.count);
    if (dbias != nullptr) add_bias_grad(y.grad, rows, channels, dbias);
    if (w.grad != nullptr) {
      each_depthwise(g, channels, [&](Index from, Index to, Index tap) {
        const T* const in = x.value + from;
        const T* const up = y.grad + to;
        T* const dk = w.grad + tap;
        if (times == 1) {
          for (Index c = 0; c < channels; ++c) dk[c] += in[c] * up[c];
        } else {
          for (Index c = 0; c < channels; ++c) dk[c] += in[c / times] * up[c];
        }
      });
    }
    if (x.grad != nullptr) {
      each_depthwise(g, channels, [&](Index to, Index from, Index tap) {
        const T* const up = y.grad + from;
        const T* const k = w.value + tap;
        T* const down = x.grad + to;
        if (times == 1) {
          for (Index c = 0; c < channels; ++c) down[c] += up[c] * k[c];
        } else {
          for (Index c = 0; c < channels; ++c) down[c / times] += up[c] * k[c];
        }
      });
    }
  };
  return s;
}

}  // namespace

std::vector<StepRow> conv_steps() {
  return {LITEGAP_STEP(kConv2d, make_conv), LITEGAP_STEP(kTransposeConv, make_transpose_conv),
          LITEGAP_STEP(kDepthwiseConv2d, make_depthwise)};
}

}  // namespace litegap
