// A small trainer: stacks of Dense, Conv2D, max pooling and global average pooling, trained by
// plain stochastic gradient descent with momentum through reverse-mode gradients.
//
// Numbers are a template parameter: float for training, double for checking gradients by finite
// differences.  Layout is NHWC; one sample at a time flows through the stack, gradients are
// averaged over the mini-batch.
//
//   Network<float> net({16, 16, 1}, {conv(8, 3), max_pool(2), global_average(), dense(3)}, seed);
//   fit(net, x, y, {.epochs = 10, .loss = Loss::kCrossEntropy});
//   Model model = to_model(net, Loss::kCrossEntropy);   // float .tflite operators
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/progress.h"
#include "base/random.h"
#include "model/model.h"

namespace litegap {

enum class LayerKind : std::uint8_t { kDense, kConv, kMaxPool, kGlobalAverage };

struct LayerSpec {
  LayerKind kind = LayerKind::kDense;
  int units = 0;  // output channels
  int size = 0;   // kernel height and width; pool size and stride
  bool relu = false;
};
inline LayerSpec dense(int units, bool relu = false) { return {LayerKind::kDense, units, 0, relu}; }
inline LayerSpec conv(int units, int size, bool relu = true) {
  return {LayerKind::kConv, units, size, relu};
}  // stride 1, SAME
inline LayerSpec max_pool(int size) {
  return {LayerKind::kMaxPool, 0, size, false};
}  // stride = size, VALID
inline LayerSpec global_average() { return {LayerKind::kGlobalAverage, 0, 0, false}; }

enum class Loss : std::uint8_t { kMeanSquared, kCrossEntropy };  // cross-entropy takes logits

template <class T>
struct Layer3 {
  LayerSpec spec;
  int in_h = 1, in_w = 1, in_c = 1, out_h = 1, out_w = 1, out_c = 1;
  std::vector<T> weights, bias;  // conv: [kh, kw, in, out]; dense: [in, out]
  std::vector<T> grad_weights, grad_bias, speed_weights, speed_bias;
  std::size_t in_size() const { return static_cast<std::size_t>(in_h) * in_w * in_c; }
  std::size_t out_size() const { return static_cast<std::size_t>(out_h) * out_w * out_c; }
};

template <class T>
class Network {
 public:
  // input: {height, width, channels}.  Weights: Glorot uniform, biases zero.
  Network(std::vector<int> input, const std::vector<LayerSpec>& specs, std::uint64_t seed)
      : input_(input) {
    Random random(seed);
    int h = input[0], w = input[1], c = input[2];
    for (const LayerSpec& s : specs) {
      Layer3<T> l;
      l.spec = s;
      l.in_h = h;
      l.in_w = w;
      l.in_c = c;
      if (s.kind == LayerKind::kDense) {
        init(l, random, l.in_size(), 1, s.units);
        h = w = 1;
        c = s.units;
      } else if (s.kind == LayerKind::kConv) {
        init(l, random, static_cast<std::size_t>(c), static_cast<std::size_t>(s.size * s.size),
             s.units);
        c = s.units;
      } else if (s.kind == LayerKind::kMaxPool) {
        h /= s.size;
        w /= s.size;
      } else {
        h = w = 1;
      }
      l.out_h = h;
      l.out_w = w;
      l.out_c = c;
      layers_.push_back(std::move(l));
    }
  }

  const std::vector<int>& input() const { return input_; }
  const std::vector<Layer3<T>>& layers() const { return layers_; }
  std::vector<Layer3<T>>& layers() { return layers_; }
  std::size_t input_size() const { return layers_.front().in_size(); }
  std::size_t output_size() const { return layers_.back().out_size(); }

  // Values of every layer for one sample; values[0] is the input, the last one the output (logits).
  using Values = std::vector<std::vector<T>>;
  void forward(const T* x, Values& values) const {
    values.resize(layers_.size() + 1);
    values[0].assign(x, x + input_size());
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      values[i + 1].assign(layers_[i].out_size(), T(0));
      forward_layer(layers_[i], values[i], values[i + 1]);
    }
  }

  // Adds the gradients of one sample; `upstream` is d loss / d output.
  void backward(const Values& values, std::vector<T> upstream) {
    for (std::size_t i = layers_.size(); i-- > 0;) {
      std::vector<T> down(layers_[i].in_size(), T(0));
      backward_layer(layers_[i], values[i], values[i + 1], upstream, down);
      upstream = std::move(down);
    }
  }

  void clear_gradients() {
    for (auto& l : layers_) {
      std::fill(l.grad_weights.begin(), l.grad_weights.end(), T(0));
      std::fill(l.grad_bias.begin(), l.grad_bias.end(), T(0));
    }
  }

  // v = momentum * v - rate * gradient / batch;  w += v
  void step(T rate, T momentum, std::size_t batch) {
    const T scale = rate / static_cast<T>(batch);
    for (auto& l : layers_) {
      update(l.weights, l.speed_weights, l.grad_weights, scale, momentum);
      update(l.bias, l.speed_bias, l.grad_bias, scale, momentum);
    }
  }

 private:
  static void init(Layer3<T>& l, Random& random, std::size_t in, std::size_t taps, int out) {
    const double limit =
        std::sqrt(6.0 / static_cast<double>(taps * (in + static_cast<std::size_t>(out))));
    l.weights.resize(taps * in * static_cast<std::size_t>(out));
    for (T& w : l.weights) w = static_cast<T>(random.uniform(-limit, limit));
    l.bias.assign(static_cast<std::size_t>(out), T(0));
    l.grad_weights.assign(l.weights.size(), T(0));
    l.speed_weights = l.grad_weights;
    l.grad_bias.assign(l.bias.size(), T(0));
    l.speed_bias = l.grad_bias;
  }
  static void update(std::vector<T>& w, std::vector<T>& v, const std::vector<T>& g, T scale,
                     T momentum) {
    for (std::size_t i = 0; i < w.size(); ++i) {
      v[i] = momentum * v[i] - scale * g[i];
      w[i] += v[i];
    }
  }

  // Calls f(output offset, input offset, weight offset) for every pixel and tap inside the image.
  template <class F>
  static void each_tap(const Layer3<T>& l, F f) {
    const int k = l.spec.size, before = (k - 1) / 2;
    for (int y = 0; y < l.out_h; ++y) {
      for (int x = 0; x < l.out_w; ++x) {
        for (int dy = 0; dy < k; ++dy) {
          const int iy = y + dy - before;
          if (iy < 0 || iy >= l.in_h) continue;
          for (int dx = 0; dx < k; ++dx) {
            const int ix = x + dx - before;
            if (ix < 0 || ix >= l.in_w) continue;
            f(static_cast<std::size_t>(y * l.out_w + x) * l.out_c,
              static_cast<std::size_t>(iy * l.in_w + ix) * l.in_c,
              static_cast<std::size_t>(dy * k + dx) * l.in_c * l.out_c);
          }
        }
      }
    }
  }
  static void forward_product(const Layer3<T>& l, const T* in, const T* weights, std::size_t n_in,
                              T* out) {
    const std::size_t n_out = static_cast<std::size_t>(l.out_c);
    for (std::size_t i = 0; i < n_in; ++i) {
      const T v = in[i];
      for (std::size_t o = 0; o < n_out; ++o) out[o] += v * weights[i * n_out + o];
    }
  }
  static void backward_product(Layer3<T>& l, const T* in, std::size_t w, std::size_t n_in,
                               const T* up, T* down) {
    const std::size_t n_out = static_cast<std::size_t>(l.out_c);
    for (std::size_t i = 0; i < n_in; ++i) {
      T sum = 0;
      for (std::size_t o = 0; o < n_out; ++o) {
        sum += up[o] * l.weights[w + i * n_out + o];
        l.grad_weights[w + i * n_out + o] += in[i] * up[o];
      }
      down[i] += sum;
    }
  }
  // Index of the largest element of each pooling window (the first one on ties).
  template <class F>
  static void each_window(const Layer3<T>& l, const std::vector<T>& in, F f) {
    const int k = l.spec.size;
    for (int y = 0; y < l.out_h; ++y) {
      for (int x = 0; x < l.out_w; ++x) {
        for (int c = 0; c < l.out_c; ++c) {
          std::size_t best = static_cast<std::size_t>((y * k * l.in_w + x * k) * l.in_c + c);
          for (int dy = 0; dy < k; ++dy) {
            for (int dx = 0; dx < k; ++dx) {
              const auto at =
                  static_cast<std::size_t>(((y * k + dy) * l.in_w + x * k + dx) * l.in_c + c);
              if (in[at] > in[best]) best = at;
            }
          }
          f(static_cast<std::size_t>((y * l.out_w + x) * l.out_c + c), best);
        }
      }
    }
  }

  static void forward_layer(const Layer3<T>& l, const std::vector<T>& in, std::vector<T>& out) {
    const std::size_t channels = static_cast<std::size_t>(l.out_c);
    switch (l.spec.kind) {
      case LayerKind::kDense:
        forward_product(l, in.data(), l.weights.data(), l.in_size(), out.data());
        break;
      case LayerKind::kConv:
        each_tap(l, [&](std::size_t o, std::size_t i, std::size_t w) {
          forward_product(l, &in[i], &l.weights[w], static_cast<std::size_t>(l.in_c), &out[o]);
        });
        break;
      case LayerKind::kMaxPool:
        each_window(l, in, [&](std::size_t o, std::size_t best) { out[o] = in[best]; });
        return;
      case LayerKind::kGlobalAverage: {
        const std::size_t pixels = l.in_size() / channels;
        for (std::size_t i = 0; i < in.size(); ++i) out[i % channels] += in[i];
        for (T& v : out) v /= static_cast<T>(pixels);
        return;
      }
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] += l.bias[i % channels];
      if (l.spec.relu && out[i] < T(0)) out[i] = T(0);
    }
  }

  static void backward_layer(Layer3<T>& l, const std::vector<T>& in, const std::vector<T>& out,
                             std::vector<T>& up, std::vector<T>& down) {
    const std::size_t channels = static_cast<std::size_t>(l.out_c);
    if (l.spec.kind == LayerKind::kMaxPool) {
      each_window(l, in, [&](std::size_t o, std::size_t best) { down[best] += up[o]; });
      return;
    }
    if (l.spec.kind == LayerKind::kGlobalAverage) {
      const T share = T(1) / static_cast<T>(l.in_size() / channels);
      for (std::size_t i = 0; i < down.size(); ++i) down[i] = up[i % channels] * share;
      return;
    }
    for (std::size_t i = 0; i < up.size(); ++i) {
      if (l.spec.relu && out[i] <= T(0)) up[i] = T(0);
      l.grad_bias[i % channels] += up[i];
    }
    if (l.spec.kind == LayerKind::kDense) {
      backward_product(l, in.data(), 0, l.in_size(), up.data(), down.data());
    } else {
      each_tap(l, [&](std::size_t o, std::size_t i, std::size_t w) {
        backward_product(l, &in[i], w, static_cast<std::size_t>(l.in_c), &up[o], &down[i]);
      });
    }
  }

  std::vector<int> input_;
  std::vector<Layer3<T>> layers_;
};

// Loss of one sample and its gradient.  `target`: class number for cross-entropy, else values.
template <class T>
T loss_and_gradient(Loss loss, const std::vector<T>& output, const T* target,
                    std::vector<T>& gradient) {
  gradient.assign(output.size(), T(0));
  if (loss == Loss::kMeanSquared) {
    T sum = 0;
    for (std::size_t i = 0; i < output.size(); ++i) {
      const T d = output[i] - target[i];
      sum += d * d / static_cast<T>(output.size());
      gradient[i] = 2 * d / static_cast<T>(output.size());
    }
    return sum;
  }
  const T peak = *std::max_element(output.begin(), output.end());
  T sum = 0;
  for (const T v : output) sum += std::exp(v - peak);
  const auto right = static_cast<std::size_t>(target[0]);
  for (std::size_t i = 0; i < output.size(); ++i)
    gradient[i] = std::exp(output[i] - peak) / sum - (i == right ? T(1) : T(0));
  return std::log(sum) + peak - output[right];
}

struct FitOptions {
  int epochs = 10;
  std::size_t batch = 32;
  double rate = 0.01, momentum = 0;
  Loss loss = Loss::kCrossEntropy;
  std::uint64_t seed = 1;
  Progress progress;
};

// Trains in place; x is [n, height, width, channels] float32, y [n] class numbers or [n, outputs]
// values.  Returns the mean loss of each epoch.
std::vector<double> fit(Network<float>& net, const Array& x, const Array& y,
                        const FitOptions& options);

// The float .tflite operators of the network; SOFTMAX at the end for cross-entropy.
Model to_model(const Network<float>& net, Loss loss, const std::string& name);

}  // namespace litegap
