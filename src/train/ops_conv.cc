// CONV_2D (grouped, dilated), DEPTHWISE_CONV_2D and TRANSPOSE_CONV, forwards and backwards.
//
// A convolution is a product of matrices: a row is the window of an output pixel.  Windows are not
// copied.  Some images get a frame of zeros; then every window is the same few segments of
// neighbouring values, kh of them kw ic long, at distances from its corner.
//
//   out[pixels, oc] = windows[pixels, kh kw ic] W[oc, kh kw ic]^T + bias
//   dW += dout^T windows
//   dx: stride 1: the correlation of dout with the turned kernel; else W^T dout, tap by tap, added
//       where the window lies
//
// A transposed convolution is the same with forward and backward exchanged: its input takes the
// place of dout.  Depthwise convolutions walk over taps, vectors over channels.
#include <algorithm>
#include <cstring>

#include "kernels/geometry.h"
#include "kernels/vectors.h"
#include "train/lanes_of.h"
#include "train/matmul.h"
#include "train/step.h"

namespace litegap {
namespace {

using Index = std::ptrdiff_t;

constexpr Index kLeastRows = 48;  // of a product, where there are as many: tiles should be full

std::size_t z(Index i) { return static_cast<std::size_t>(i); }

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
  with_vectors([=] {
    for (Index r = 0; r < rows; ++r)
      for (Index c = 0; c < channels; ++c) dbias[c] += dout[r * channels + c];
  });
}

// Where windows lie in some images at a time, each with its frame.
struct Layout {
  Index images = 1;                   // at a time
  Index line = 0, image = 0;          // elements
  std::vector<Index> corners;         // of the windows
  std::vector<Index> segments;        // of a window, from its corner
  std::vector<Index> taps;            // the same tap by tap
  Index length = 0;                   // of a segment, of one group
  std::vector<Index> lines_of_rows;   // where lines of pixels start among the rows, in elements
  std::vector<Index> lines_of_image;  // and their first windows
  std::vector<Index> rows;            // the rows themselves
  bool framed = false;
};

Layout layout_of(const Windows& g, Index channels, Index groups) {
  Layout l;
  const auto framed = [](Index size, Index pad, Index out, Index stride, Index k, Index dilation) {
    return std::max(size + pad, (out - 1) * stride + (k - 1) * dilation + 1);
  };
  const Index height = framed(g.h, g.pad_h, g.out_h, g.stride_h, g.kh, g.dilation_h),
              width = framed(g.w, g.pad_w, g.out_w, g.stride_w, g.kw, g.dilation_w);
  l.framed = height != g.h || width != g.w;
  l.line = width * g.c;
  l.image = height * l.line;
  const Index pixels = std::max<Index>(1, g.out_h * g.out_w), count = g.c / groups;
  l.images = std::clamp<Index>((kLeastRows + pixels - 1) / pixels, 1, g.n);
  for (Index n = 0; n < l.images; ++n) {
    for (Index y = 0; y < g.out_h; ++y) {
      const Index start = n * l.image + y * g.stride_h * l.line;
      l.lines_of_rows.push_back((n * g.out_h + y) * g.out_w * channels);
      l.lines_of_image.push_back(start);
      for (Index x = 0; x < g.out_w; ++x) {
        l.rows.push_back(static_cast<Index>(l.rows.size()) * channels);
        l.corners.push_back(start + x * g.stride_w * g.c);
      }
    }
  }
  for (Index i = 0; i < g.kh; ++i)
    for (Index j = 0; j < g.kw; ++j)
      l.taps.push_back(i * g.dilation_h * l.line + j * g.dilation_w * g.c);
  if (count == g.c && g.dilation_w == 1) {
    l.length = g.kw * g.c;
    for (Index i = 0; i < g.kh; ++i) l.segments.push_back(i * g.dilation_h * l.line);
  } else {
    l.length = count;
    l.segments = l.taps;
  }
  return l;
}

// Products between windows of an image and rows of `channels` values per pixel.  Weights lie as
// [channels][kh kw count] per group.
template <class T>
class Correlation {
 public:
  Correlation(const Windows& windows, Index row_channels, Index group_count, bool to_image = true)
      : g_(windows),
        l_(layout_of(windows, row_channels, group_count)),
        channels_(row_channels),
        groups_(group_count),
        per_(channels_ / groups_),
        count_(g_.c / groups_),
        depth_(g_.kh * g_.kw * count_),
        direct_(g_.pointwise() && groups_ == 1) {
    for (std::size_t s = 0; s < l_.segments.size(); ++s)
      turned_at_.push_back(static_cast<Index>(s) * l_.length * per_);
    for (Index o = 0; o < per_; ++o) {
      channel_.push_back(o);
      weight_row_.push_back(o * depth_);
    }
    turned_.resize(z(channels_ * depth_));
    if (l_.framed) frame_.resize(z(l_.images * l_.image + kBehind));
    // The correlation that is the gradient of the image.
    const Index pad_h = (g_.kh - 1) * g_.dilation_h - g_.pad_h,
                pad_w = (g_.kw - 1) * g_.dilation_w - g_.pad_w;
    if (!to_image || direct_) return;
    if (g_.stride_h != 1 || g_.stride_w != 1 || pad_h < 0 || pad_w < 0) {
      sums_.reserve(frame_.size());
      return;
    }
    Windows back = g_;
    back.h = g_.out_h, back.w = g_.out_w, back.c = channels_;
    back.out_h = g_.h, back.out_w = g_.w;
    back.pad_h = pad_h, back.pad_w = pad_w;
    back_ = std::make_shared<Correlation>(back, g_.c, groups_, false);
    flipped_.resize(turned_.size());
  }

  // rows[pixels, channels] += windows(image) W^T; before(first row, count) is told of those that
  // are next.
  template <class Before>
  void multiply(const T* image, const T* weights, T* rows, Before before) {
    for (Index k = 0; k < groups_; ++k) {
      for (Index o = 0; o < per_; ++o) {
        for (Index d = 0; d < depth_; ++d)
          turned_[z((k * depth_ + d) * per_ + o)] = weights[(k * per_ + o) * depth_ + d];
      }
    }
    if (direct_) {
      before(Index{0}, g_.pixels());
      return matmul<T>({image, z(depth_)}, {turned_.data(), z(per_)}, rows, z(channels_),
                       z(g_.pixels()), z(per_), z(depth_));
    }
    each_part([&](Index first, Index images) {
      Segmented<T> p;
      const T* const from = framed(image, first, images);
      const Index pixels = g_.out_h * g_.out_w;
      before(first * pixels, images * pixels);
      p.a_rows = some(l_.corners, images);
      p.a_at = l_.segments;
      p.b_step = per_;
      p.b_at = turned_at_;
      p.c_rows = some(l_.rows, images);
      p.n = z(per_);
      p.depth = z(l_.length);
      for (Index k = 0; k < groups_; ++k) {
        p.a = from + k * count_;
        p.b = turned_.data() + k * depth_ * per_;
        p.c = rows + first * row_image() + k * per_;
        matmul(p);
      }
    });
  }
  // image += W^T of rows, window by window
  void scatter(const T* rows, const T* weights, T* image) {
    if (direct_)
      return matmul<T>({rows, z(channels_)}, {weights, z(depth_)}, image, z(depth_), z(g_.pixels()),
                       z(depth_), z(per_));
    if (back_ != nullptr) {
      flip(weights);
      return back_->multiply(rows, flipped_.data(), image, [](Index, Index) {});
    }
    each_part([&](Index first, Index images) {
      Segmented<T> p;
      T* to = image + first * g_.h * g_.w * g_.c;
      if (l_.framed) {
        sums_.assign(frame_.size(), T(0));
        to = sums_.data();
      }
      p.a_rows = some(l_.rows, images);
      p.a_at = p.b_at = std::span(&kNone, 1);
      p.b_step = depth_;
      p.c_rows = some(l_.corners, images);
      p.n = z(count_);
      p.depth = z(per_);
      for (Index k = 0; k < groups_; ++k) {
        p.a = rows + first * row_image() + k * per_;
        for (std::size_t tap = 0; tap < l_.taps.size(); ++tap) {
          p.b = weights + k * per_ * depth_ + static_cast<Index>(tap) * count_;
          p.c = to + l_.taps[tap] + k * count_;
          matmul(p);
        }
      }
      if (l_.framed) add_inside(first, images, image);
    });
  }
  // dW += rows^T windows(image)
  void weights_grad(const T* image, const T* rows, T* dweights) {
    if (direct_)
      return matmul<T>({rows, z(channels_), true}, {image, z(depth_)}, dweights, z(depth_), z(per_),
                       z(depth_), z(g_.pixels()));
    each_part([&](Index first, Index images) {
      Segmented<T> p;
      const T* const from = framed(image, first, images);
      p.a_step = channels_;
      p.a_rows = channel_;
      p.a_at = some(l_.lines_of_rows, images);
      p.b_step = g_.stride_w * g_.c;
      p.b_at = some(l_.lines_of_image, images);
      p.c_rows = weight_row_;
      p.n = z(l_.length);
      p.depth = z(g_.out_w);
      p.beyond = l_.framed;
      for (Index k = 0; k < groups_; ++k) {
        p.a = rows + first * row_image() + k * per_;
        for (std::size_t s = 0; s < l_.segments.size(); ++s) {
          p.b = from + l_.segments[s] + k * count_;
          p.c = dweights + k * per_ * depth_ + static_cast<Index>(s) * l_.length;
          matmul(p);
        }
      }
    });
  }

 private:
  static constexpr Index kNone = 0, kBehind = 48;

  Index row_image() const { return g_.out_h * g_.out_w * channels_; }
  template <class Part>
  void each_part(Part part) const {
    for (Index n = 0; n < g_.n; n += l_.images) part(n, std::min(l_.images, g_.n - n));
  }
  std::span<const Index> some(const std::vector<Index>& all, Index images) const {
    return std::span(all).first(all.size() / z(l_.images) * z(images));
  }
  // Calls line(in the frame, in the images) for every line.
  template <class Line>
  void each_line(Index first, Index images, Line line) const {
    for (Index n = 0; n < images; ++n) {
      for (Index y = 0; y < g_.h; ++y)
        line(n * l_.image + (y + g_.pad_h) * l_.line + g_.pad_w * g_.c,
             ((first + n) * g_.h + y) * g_.w * g_.c);
    }
  }
  const T* framed(const T* image, Index first, Index images) {
    if (!l_.framed) return image + first * g_.h * g_.w * g_.c;
    each_line(first, images, [&](Index to, Index from) {
      std::copy_n(image + from, g_.w * g_.c, frame_.data() + to);
    });
    return frame_.data();
  }
  void add_inside(Index first, Index images, T* image) const {
    each_line(first, images, [&](Index from, Index to) {
      for (Index i = 0; i < g_.w * g_.c; ++i) image[to + i] += sums_[z(from + i)];
    });
  }
  // [channels][taps][count] as [channels of the image][taps from the last][rows' channels]
  void flip(const T* weights) {
    const Index taps = g_.kh * g_.kw;
    for (Index k = 0; k < groups_; ++k) {
      for (Index o = 0; o < per_; ++o) {
        for (Index t = 0; t < taps; ++t) {
          for (Index i = 0; i < count_; ++i)
            flipped_[z(((k * count_ + i) * taps + taps - 1 - t) * per_ + o)] =
                weights[((k * per_ + o) * taps + t) * count_ + i];
        }
      }
    }
  }

  Windows g_;
  Layout l_;
  Index channels_ = 0, groups_ = 1, per_ = 0, count_ = 0, depth_ = 0;
  bool direct_ = false;
  std::vector<Index> turned_at_, channel_, weight_row_;
  std::vector<T> turned_, flipped_;  // turned: [kh kw count][channels / groups]
  std::vector<T> frame_, sums_;      // whose border stays zero; that does not
  std::shared_ptr<Correlation> back_;
};

template <class T>
Step<T> make_conv(const Node<T>& n) {
  const auto& a = n.template attrs<ConvAttrs>();
  const Port<T>&x = n.in[0], &w = n.in[1], &y = n.out[0];
  const Windows g =
      windows_of(x.shape, y.shape, w.shape[1], w.shape[2], a, a.dilation_h, a.dilation_w);
  const Index channels = y.shape[3], rows = g.pixels();
  const auto c = std::make_shared<Correlation<T>>(g, channels, x.shape[3] / w.shape[3]);
  const T* bias = n.has(2) ? n.in[2].value : nullptr;
  T* dbias = n.has(2) ? n.in[2].grad : nullptr;
  Step<T> s;
  s.forward = [=] {
    c->multiply(x.value, w.value, y.value, [&](Index first, Index count) {
      fill_bias(y.value + first * channels, count, channels, bias);
    });
    activate(a.activation, y.value, y.count);
  };
  s.backward = [=] {
    activate_back(a.activation, y.value, y.grad, y.count);
    if (dbias != nullptr) add_bias_grad(y.grad, rows, channels, dbias);
    if (w.grad != nullptr) c->weights_grad(x.value, y.grad, w.grad);
    if (x.grad != nullptr) c->scatter(y.grad, w.value, x.grad);
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
  const Windows g = windows_of(y.shape, x.shape, w.shape[1], w.shape[2], a, 1, 1);
  const auto c = std::make_shared<Correlation<T>>(g, x.shape[3], 1);
  const Index oc = w.shape[0], taps = Index{w.shape[1]} * w.shape[2], ic = w.shape[3];
  auto turned = std::make_shared<std::vector<T>>(w.count);
  auto dturned = std::make_shared<std::vector<T>>(w.count);
  const T* bias = n.has(3) ? n.in[3].value : nullptr;
  T* dbias = n.has(3) ? n.in[3].grad : nullptr;
  const Index rows = g.n * g.h * g.w;
  const auto each = [=](auto put) {
    for (Index o = 0; o < oc; ++o)
      for (Index t = 0; t < taps; ++t)
        for (Index i = 0; i < ic; ++i) put((o * taps + t) * ic + i, (i * taps + t) * oc + o);
  };
  Step<T> s;
  s.forward = [=] {
    each([&](Index from, Index to) { (*turned)[z(to)] = w.value[from]; });
    fill_bias(y.value, rows, oc, bias);
    c->scatter(x.value, turned->data(), y.value);
    activate(a.activation, y.value, y.count);
  };
  s.backward = [=] {
    activate_back(a.activation, y.value, y.grad, y.count);
    if (dbias != nullptr) add_bias_grad(y.grad, rows, oc, dbias);
    if (w.grad != nullptr) {
      std::fill(dturned->begin(), dturned->end(), T(0));
      c->weights_grad(y.grad, x.value, dturned->data());
      each([&](Index to, Index from) { w.grad[to] += (*dturned)[z(from)]; });
    }
    if (x.grad != nullptr) {
      each([&](Index from, Index to) { (*turned)[z(to)] = w.value[from]; });
      c->multiply(y.grad, turned->data(), x.grad, [](Index, Index) {});
    }
  };
  return s;
}

// The taps of an output pixel that lie inside of the image.
struct Meeting {
  Index pixel = 0;                       // of the output
  Index corner = 0;                      // of the window, in pixels of the image
  Index i0 = 0, i1 = 0, j0 = 0, j1 = 0;  // [i0, i1) x [j0, j1)
};
template <class F>
void each_meeting(const Windows& g, const F& f) {
  const auto inside = [](Index at, Index size, Index k, Index dilation, Index& first, Index& last) {
    first = at < 0 ? std::min(k, (-at + dilation - 1) / dilation) : 0;
    last = std::max(first, std::min(k, (size - at + dilation - 1) / dilation));
  };
  Meeting m;
  for (Index n = 0; n < g.n; ++n) {
    for (Index y = 0; y < g.out_h; ++y) {
      const Index row = y * g.stride_h - g.pad_h;
      inside(row, g.h, g.kh, g.dilation_h, m.i0, m.i1);
      for (Index x = 0; x < g.out_w; ++x, ++m.pixel) {
        const Index column = x * g.stride_w - g.pad_w;
        inside(column, g.w, g.kw, g.dilation_w, m.j0, m.j1);
        m.corner = (n * g.h + row) * g.w + column;
        f(m);
      }
    }
  }
}
// f(pixel of the image, tap)
template <class F>
void each_tap(const Windows& g, const Meeting& m, const F& f) {
  for (Index i = m.i0; i < m.i1; ++i) {
    const Index line = m.corner + i * g.dilation_h * g.w;
    for (Index j = m.j0; j < m.j1; ++j) f(line + j * g.dilation_w, i * g.kw + j);
  }
}

// Some neighbouring channels of a depthwise convolution that gives each channel one.
template <class T>
struct DepthwiseLoops {
  Windows g;
  std::size_t c = 0;
  void forward(const T* x, const T* w, const T* bias, T* y) const {
    each_lanes<T>(c, [&](auto lanes, std::size_t k) {
      using V = typename decltype(lanes)::Vector;
      V start[lanes.kVectors] = {};
      if (bias != nullptr) lanes.load_all(bias + k, start);
      each_meeting(g, [&](const Meeting& m) {
        V sum[lanes.kVectors];
        lanes.each([&](int v, std::size_t) { sum[v] = start[v]; });
        each_tap(g, m, [&](Index from, Index tap) {
          lanes.each([&](int v, std::size_t at) {
            V in, factor;
            lanes.load(x + z(from) * c + k + at, in);
            lanes.load(w + z(tap) * c + k + at, factor);
            sum[v] += in * factor;
          });
        });
        lanes.store_all(y + z(m.pixel) * c + k, sum);
      });
    });
  }
  // dw += dy x, dx += dy w, each where it is wanted.
  void backward(const T* dy, const T* x, const T* w, T* dw, T* dx) const {
    each_lanes<T>(c, [&](auto lanes, std::size_t k) {
      using V = typename decltype(lanes)::Vector;
      each_meeting(g, [&](const Meeting& m) {
        V up[lanes.kVectors];
        lanes.load_all(dy + z(m.pixel) * c + k, up);
        const auto add = [&](T* to, const T* factors) {
          lanes.each([&](int v, std::size_t at) {
            V sum, factor;
            lanes.load(to + at, sum);
            lanes.load(factors + at, factor);
            sum += up[v] * factor;
            lanes.store(to + at, sum);
          });
        };
        each_tap(g, m, [&](Index from, Index tap) {
          if (dw != nullptr) add(dw + z(tap) * c + k, x + z(from) * c + k);
          if (dx != nullptr) add(dx + z(from) * c + k, w + z(tap) * c + k);
        });
      });
    });
  }
};

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
  const DepthwiseLoops<T> loops{g, z(channels)};
  Step<T> s;
  s.forward = [=] {
    if (times == 1) {
      with_vectors([&] { loops.forward(x.value, w.value, bias, y.value); });
    } else {
      fill_bias(y.value, rows, channels, bias);
      each_meeting(g, [&](const Meeting& m) {
        each_tap(g, m, [&](Index from, Index tap) {
          for (Index c = 0; c < channels; ++c)
            y.value[m.pixel * channels + c] +=
                x.value[from * g.c + c / times] * w.value[tap * channels + c];
        });
      });
    }
    activate(a.activation, y.value, y.count);
  };
  s.backward = [=] {
    activate_back(a.activation, y.value, y.grad, y.count);
    if (dbias != nullptr) add_bias_grad(y.grad, rows, channels, dbias);
    if (times == 1) {
      with_vectors([&] { loops.backward(y.grad, x.value, w.value, w.grad, x.grad); });
      return;
    }
    each_meeting(g, [&](const Meeting& m) {
      const T* const up = y.grad + m.pixel * channels;
      each_tap(g, m, [&](Index from, Index tap) {
        for (Index c = 0; c < channels; ++c) {
          const Index in = from * g.c + c / times, at = tap * channels + c;
          if (w.grad != nullptr) w.grad[at] += x.value[in] * up[c];
          if (x.grad != nullptr) x.grad[in] += up[c] * w.value[at];
        }
      });
    });
  };
  return s;
}

}  // namespace

std::vector<StepRow> conv_steps() {
  return {LITEGAP_STEP(kConv2d, make_conv), LITEGAP_STEP(kTransposeConv, make_transpose_conv),
          LITEGAP_STEP(kDepthwiseConv2d, make_depthwise)};
}

}  // namespace litegap
