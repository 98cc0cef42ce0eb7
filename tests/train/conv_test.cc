// Convolutions that are trained against loops over their definition, in every layout of windows.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "net.h"
#include "train/matmul.h"

namespace litegap {
namespace {

struct Conv {
  int n, h, w, c, out_c, groups, kh, kw, stride_h, stride_w, dilation_h, dilation_w;
  Padding padding;
  int out(int size, int k, int stride, int dilation) const {
    const int extent = (k - 1) * dilation + 1;
    return padding == Padding::kSame ? (size + stride - 1) / stride
           : size < extent           ? 0
                                     : (size - extent) / stride + 1;
  }
  int out_h() const { return out(h, kh, stride_h, dilation_h); }
  int out_w() const { return out(w, kw, stride_w, dilation_w); }
  int before(int size, int k, int stride, int dilation) const {
    if (padding == Padding::kValid) return 0;
    const int need = (out(size, k, stride, dilation) - 1) * stride + (k - 1) * dilation + 1 - size;
    return std::max(0, need) / 2;
  }
  std::string text() const {
    return fmt::format("{}x{}x{}x{} to {}, {} groups, {}x{}, stride {} {}, dilation {} {}, {}", n,
                       h, w, c, out_c, groups, kh, kw, stride_h, stride_w, dilation_h, dilation_w,
                       padding == Padding::kSame ? "same" : "valid");
  }
};

Conv random_conv(Random& random) {
  const auto pick = [&](int low, int high) {
    return low + static_cast<int>(random.bits() % static_cast<std::uint64_t>(high - low + 1));
  };
  Conv v{};
  v.n = pick(1, 3);
  v.h = pick(1, 14);
  v.w = pick(1, 20);
  v.groups = pick(0, 3) == 0 ? pick(2, 3) : 1;
  v.c = v.groups * pick(1, v.groups > 1 ? 9 : 40);
  v.out_c = v.groups * pick(1, v.groups > 1 ? 17 : 70);
  v.kh = pick(1, 4);
  v.kw = pick(1, 5);
  v.stride_h = pick(1, 2);
  v.stride_w = pick(1, 3);
  v.dilation_h = pick(1, 2);
  v.dilation_w = pick(1, 2);
  v.padding = pick(0, 1) ? Padding::kSame : Padding::kValid;
  return v;
}

struct Values {
  std::vector<double> y, dx, dw, db;
};

// y = b + sum of x w over the window; gradients of sum(up y).
Values judged(const Conv& v, const std::vector<float>& x, const std::vector<float>& w,
              const std::vector<float>& b, const std::vector<float>& up) {
  Values r{std::vector<double>(up.size()), std::vector<double>(x.size()),
           std::vector<double>(w.size()), std::vector<double>(b.size())};
  const int per = v.out_c / v.groups, count = v.c / v.groups;
  std::size_t at = 0;
  for (int n = 0; n < v.n; ++n)
    for (int oy = 0; oy < v.out_h(); ++oy)
      for (int ox = 0; ox < v.out_w(); ++ox)
        for (int o = 0; o < v.out_c; ++o, ++at) {
          const double u = static_cast<double>(up[at]);
          double sum = static_cast<double>(b[static_cast<std::size_t>(o)]);
          r.db[static_cast<std::size_t>(o)] += u;
          for (int i = 0; i < v.kh; ++i)
            for (int j = 0; j < v.kw; ++j) {
              const int row = oy * v.stride_h + i * v.dilation_h -
                              v.before(v.h, v.kh, v.stride_h, v.dilation_h);
              const int column = ox * v.stride_w + j * v.dilation_w -
                                 v.before(v.w, v.kw, v.stride_w, v.dilation_w);
              if (row < 0 || row >= v.h || column < 0 || column >= v.w) continue;
              for (int k = 0; k < count; ++k) {
                const auto from = static_cast<std::size_t>(((n * v.h + row) * v.w + column) * v.c +
                                                           o / per * count + k);
                const auto tap = static_cast<std::size_t>(((o * v.kh + i) * v.kw + j) * count + k);
                sum += static_cast<double>(x[from]) * static_cast<double>(w[tap]);
                r.dx[from] += u * static_cast<double>(w[tap]);
                r.dw[tap] += u * static_cast<double>(x[from]);
              }
            }
          r.y[at] = sum;
        }
  return r;
}

std::vector<float> some(Random& random, std::size_t n) {
  std::vector<float> v(n);
  for (float& x : v) x = static_cast<float>(random.uniform(-1, 1));
  return v;
}

template <class T>
void expect_close(const T* got, const std::vector<double>& want, const std::string& what) {
  double peak = 1;
  for (const double w : want) peak = std::max(peak, std::fabs(w));
  std::size_t bad = 0;
  for (std::size_t i = 0; i < want.size(); ++i)
    bad += !(std::fabs(static_cast<double>(got[i]) - want[i]) <= 1e-5 * peak);
  EXPECT_EQ(bad, 0u) << what << " of " << want.size();
}

// [out_c, kh, kw, 1] from or to [1, kh, kw, out_c], the weights of a depthwise convolution.
std::vector<double> turned(const Conv& v, const std::vector<double>& w, bool to_depthwise) {
  std::vector<double> r(w.size());
  const auto taps = static_cast<std::size_t>(v.kh * v.kw),
             out_c = static_cast<std::size_t>(v.out_c);
  for (std::size_t t = 0; t < taps; ++t)
    for (std::size_t o = 0; o < out_c; ++o)
      (to_depthwise ? r[t * out_c + o] : r[o * taps + t]) =
          to_depthwise ? w[o * taps + t] : w[t * out_c + o];
  return r;
}

// A convolution of as many groups as channels is checked as DEPTHWISE_CONV_2D.
template <class T>
void expect_as_judged(const Conv& v, std::uint64_t seed) {
  Net net;
  const int count = v.c / v.groups;
  const bool depthwise = v.groups == v.c;
  const int x = net.input({v.n, v.h, v.w, v.c});
  const int w = net.constant(depthwise ? Shape{1, v.kh, v.kw, v.out_c}
                                       : Shape{v.out_c, v.kh, v.kw, count}),
            b = net.constant({v.out_c});
  ConvAttrs a{v.padding, v.stride_w, v.stride_h};
  a.dilation_h = v.dilation_h;
  a.dilation_w = v.dilation_w;
  DepthwiseAttrs d{v.padding, v.stride_w, v.stride_h, v.out_c / v.c};
  d.dilation_h = v.dilation_h;
  d.dilation_w = v.dilation_w;
  const int y =
      net.op(depthwise ? OpCode::kDepthwiseConv2d : OpCode::kConv2d,
             depthwise ? Attrs{d} : Attrs{a}, {x, w, b}, {v.n, v.out_h(), v.out_w(), v.out_c});
  TrainGraph graph;
  graph.model = net.model;
  graph.batch = v.n;
  graph.parameters = {{w, true}, {b, true}};
  Weights<T> weights = initial_weights<T>(graph);
  TapeMode mode;
  Tape<T> tape(graph, weights, v.n, {&mode, y, true});
  Random random(seed);
  const auto in = some(random, tape.count(x)), up = some(random, tape.count(y));
  const auto of = [&](int t) {
    const auto span = net.g().tensors[static_cast<std::size_t>(t)].constant->template span<float>();
    return std::vector<float>(span.begin(), span.end());
  };
  auto factors = of(w);
  if (depthwise) {
    const auto other = turned(v, {factors.begin(), factors.end()}, false);
    factors.assign(other.begin(), other.end());
  }
  Values want = judged(v, in, factors, of(b), up);
  if (depthwise) want.dw = turned(v, want.dw, true);
  for (int turn = 0; turn < 2; ++turn) {  // what the first leaves behind must not count
    std::copy(in.begin(), in.end(), tape.value(x));
    tape.forward();
    expect_close(tape.value(y), want.y, "y: " + v.text());
    for (auto& g : weights.grad) std::fill(g.begin(), g.end(), T(0));
    std::copy(up.begin(), up.end(), tape.grad(y));
    tape.backward();
    expect_close(tape.grad(x), want.dx, "dx: " + v.text());
    expect_close(weights.grad[0].data(), want.dw, "dw: " + v.text());
    expect_close(weights.grad[1].data(), want.db, "db: " + v.text());
  }
}

TEST(TrainedConv, IsItsDefinition) {
  Random random(11);
  int done = 0;
  while (done < 150) {
    const Conv v = random_conv(random);
    if (v.out_h() == 0 || v.out_w() == 0) continue;
    ++done;
    expect_as_judged<float>(v, random.bits());
    if (done % 5 == 0) expect_as_judged<double>(v, random.bits());
  }
  for (done = 0; done < 60;) {
    Conv v = random_conv(random);
    if (v.out_h() == 0 || v.out_w() == 0) continue;
    ++done;
    v.groups = v.c;
    v.out_c = v.c * (done % 4 == 0 ? 3 : 1);
    expect_as_judged<float>(v, random.bits());
    if (done % 5 == 0) expect_as_judged<double>(v, random.bits());
  }
  // The usual ones.
  for (const int stride : {1, 2})
    for (const int k : {1, 3, 7})
      expect_as_judged<float>({2, 16, 16, 16, 32, 1, k, k, stride, stride, 1, 1, Padding::kSame},
                              random.bits());
}

// Depths around those at which a product is cut, and widths around those of a tile.
TEST(TrainedMatmul, FloatsAreDoublesUpToRounding) {
  Random random(5);
  for (const std::size_t k : {1u, 7u, 191u, 192u, 193u, 400u}) {
    for (const std::size_t n : {1u, 8u, 15u, 16u, 17u, 48u, 49u, 64u, 65u, 100u}) {
      const std::size_t m = 1 + random.bits() % 19;
      for (const int way : {0, 1, 2, 3}) {
        const bool ta = way & 1, tb = way & 2;
        const auto a = some(random, m * k), b = some(random, k * n), c = some(random, m * n);
        const std::vector<double> a2(a.begin(), a.end()), b2(b.begin(), b.end());
        for (const Into into : {Into::kAdd, Into::kReplace}) {
          auto got = c;
          std::vector<double> want(c.begin(), c.end());
          matmul<float>({a.data(), ta ? m : k, ta}, {b.data(), tb ? k : n, tb}, got.data(), n, m, n,
                        k, into);
          matmul<double>({a2.data(), ta ? m : k, ta}, {b2.data(), tb ? k : n, tb}, want.data(), n,
                         m, n, k, into);
          expect_close(got.data(), want, fmt::format("{} {} {} way {}", m, n, k, way));
        }
      }
    }
  }
}

}  // namespace
}  // namespace litegap
