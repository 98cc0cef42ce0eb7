#include "quant/moments.h"

#include <Eigen/Dense>
#include <algorithm>
#include <memory>

#include "kernels/geometry.h"
#include "quant/params.h"

namespace litegap {
namespace {

using MatrixF = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr std::size_t kLargestK = 8192;
constexpr std::size_t kBuffered = 256;  // patches between two updates of H

struct Window {  // along one axis
  int size = 1, stride = 1, dilation = 1, pad = 0, out = 1, in = 1;
};

Window window(Padding padding, int in, int size, int stride, int dilation) {
  const Extent e = window_extent(in, size, stride, dilation, padding);
  return {size, stride, dilation, static_cast<int>(e.pad_before), static_cast<int>(e.out), in};
}

// How patches of one layer are cut.
struct Cutter {
  int op = -1, x = -1;
  OpCode code = OpCode::kFullyConnected;
  Padding padding = Padding::kValid;
  int size_h = 1, size_w = 1, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  std::size_t groups = 1, k = 1, depth = 1;  // depth: input channels of one group
  std::size_t patches = 1;                   // wanted a sample

  std::uint64_t bytes() const { return 8 * groups * k * k; }

  template <class F>
  void each(const Array& value, F use) const {
    const auto v = value.span<float>();
    if (code == OpCode::kFullyConnected) {
      const std::size_t rows = v.size() / k, step = std::max<std::size_t>(1, rows / patches);
      for (std::size_t r = 0; r < rows; r += step) use(0, v.data() + r * k);
      return;
    }
    const Shape& s = value.shape();
    const Window h = window(padding, s[1], size_h, stride_h, dilation_h);
    const Window w = window(padding, s[2], size_w, stride_w, dilation_w);
    const auto channels = static_cast<std::size_t>(s[3]);
    const auto places = static_cast<std::size_t>(h.out) * static_cast<std::size_t>(w.out);
    // An odd step walks over rows and columns of the image alike.
    const std::size_t step = places <= patches ? 1 : (places / patches) | 1;
    std::vector<float> patch(k);
    for (std::size_t p = 0; p < places; p += step) {
      const int y0 = static_cast<int>(p / static_cast<std::size_t>(w.out)) * h.stride - h.pad;
      const int x0 = static_cast<int>(p % static_cast<std::size_t>(w.out)) * w.stride - w.pad;
      for (std::size_t g = 0; g < groups; ++g) {
        std::size_t at = 0;
        for (int i = 0; i < h.size; ++i) {
          for (int j = 0; j < w.size; ++j, at += depth) {
            const int y = y0 + i * h.dilation, x = x0 + j * w.dilation;
            if (y < 0 || y >= h.in || x < 0 || x >= w.in) {
              std::fill_n(patch.begin() + static_cast<std::ptrdiff_t>(at), depth, 0.0f);
              continue;
            }
            const float* from =
                v.data() + (static_cast<std::size_t>(y * w.in + x)) * channels + g * depth;
            std::copy_n(from, depth, patch.begin() + static_cast<std::ptrdiff_t>(at));
          }
        }
        use(g, patch.data());
      }
    }
  }
};

std::optional<Cutter> cutter(const Model& model, const WeightedLayer& layer, std::size_t samples) {
  const Graph& g = model.main();
  const Op& op = g.ops[static_cast<std::size_t>(layer.op)];
  const Tensor &w = g.tensors[static_cast<std::size_t>(layer.w)],
               &x = g.tensors[static_cast<std::size_t>(layer.x)];
  if (!w.constant || w.dtype != DType::kFloat32 || x.dtype != DType::kFloat32) return std::nullopt;
  Cutter c;
  c.op = layer.op;
  c.x = layer.x;
  c.code = op.code;
  const auto dim = [&](std::size_t d) { return static_cast<std::size_t>(w.shape[d]); };
  if (op.code == OpCode::kFullyConnected) {
    c.k = dim(1);
  } else if (const auto* a = std::get_if<ConvAttrs>(&op.attrs)) {
    if (x.shape.size() != 4 || x.shape[0] != 1) return std::nullopt;
    c = {layer.op,   layer.x,     op.code,     a->padding,    w.shape[1],
         w.shape[2], a->stride_h, a->stride_w, a->dilation_h, a->dilation_w};
    c.depth = dim(3);
    c.groups = std::max<std::size_t>(1, static_cast<std::size_t>(x.shape[3]) / c.depth);
    c.k = dim(1) * dim(2) * c.depth;
  } else if (const auto* d = std::get_if<DepthwiseAttrs>(&op.attrs)) {
    if (x.shape.size() != 4 || x.shape[0] != 1) return std::nullopt;
    c = {layer.op,   layer.x,     op.code,     d->padding,    w.shape[1],
         w.shape[2], d->stride_h, d->stride_w, d->dilation_h, d->dilation_w};
    c.groups = static_cast<std::size_t>(x.shape[3]);
    c.k = dim(1) * dim(2);
  } else {
    return std::nullopt;
  }
  if (c.k == 0 || c.k > kLargestK) return std::nullopt;
  // Four patches a weight make H well determined; beyond that they only cost time.
  c.patches =
      std::max<std::size_t>(4, (std::max<std::size_t>(1024, 4 * c.k) + samples - 1) / samples);
  return c;
}

struct Sum {
  std::vector<MatrixF> gram;  // by group
  MatrixF mean;               // [groups, k]
  MatrixF buffer;             // patches of one group layer, while there is only one group
  Eigen::Index filled = 0;
  std::size_t rows = 0;

  explicit Sum(const Cutter& c) {
    const auto k = static_cast<Eigen::Index>(c.k);
    gram.assign(c.groups, MatrixF::Zero(k, k));
    mean = MatrixF::Zero(static_cast<Eigen::Index>(c.groups), k);
    if (c.groups == 1) buffer.resize(kBuffered, k);
  }
  void add(std::size_t group, const float* patch) {
    const Eigen::Map<const Eigen::RowVectorXf> x(patch, mean.cols());
    mean.row(static_cast<Eigen::Index>(group)) += x;
    if (group == 0) ++rows;
    if (buffer.size() == 0) {
      gram[group].noalias() += x.transpose() * x;
      return;
    }
    buffer.row(filled++) = x;
    if (filled == buffer.rows()) flush();
  }
  void flush() {
    if (filled == 0) return;
    const auto top = buffer.topRows(filled);
    gram[0].template selfadjointView<Eigen::Lower>().rankUpdate(top.transpose());
    filled = 0;
  }
};

class Collector : public BlockObserver {
 public:
  explicit Collector(const std::vector<Cutter>& cutters) : cutters_(cutters) {
    for (const Cutter& c : cutters) sums.emplace_back(c);
  }
  void on_value(int, int tensor, const Array& value) override {
    if (value.dtype() != DType::kFloat32) return;
    for (std::size_t i = 0; i < cutters_.size(); ++i) {
      if (cutters_[i].x != tensor) continue;
      cutters_[i].each(value, [&](std::size_t g, const float* patch) { sums[i].add(g, patch); });
    }
  }
  std::vector<Sum> sums;

 private:
  const std::vector<Cutter>& cutters_;
};

void merge(Sum& sum, bool one_group, Moments& m) {
  sum.flush();
  m.rows += sum.rows;
  for (std::size_t g = 0; g < m.groups; ++g) {
    for (std::size_t i = 0; i < m.k; ++i) {
      const auto r = static_cast<Eigen::Index>(i);
      m.mean[g * m.k + i] += sum.mean(static_cast<Eigen::Index>(g), r);
      for (std::size_t j = 0; j < m.k; ++j) {
        const auto c = static_cast<Eigen::Index>(j);
        const float v = one_group && j > i ? sum.gram[g](c, r) : sum.gram[g](r, c);
        m.gram[(g * m.k + i) * m.k + j] += v;
      }
    }
  }
}

void pass(const Setup& setup, const Dataset& data, const PredictOptions& options,
          const std::vector<Cutter>& cutters, std::map<int, Moments>& all) {
  for (const Cutter& c : cutters) {
    Moments& m = all[c.op];
    m.groups = c.groups;
    m.k = c.k;
    m.mean.assign(c.groups * c.k, 0);
    m.gram.assign(c.groups * c.k * c.k, 0);
  }
  observe(
      setup, data, options, [&](std::size_t) { return std::make_unique<Collector>(cutters); },
      [&](BlockObserver& block) {
        auto& sums = static_cast<Collector&>(block).sums;
        for (std::size_t i = 0; i < cutters.size(); ++i) {
          merge(sums[i], cutters[i].groups == 1, all[cutters[i].op]);
        }
      });
  for (const Cutter& c : cutters) {
    Moments& m = all[c.op];
    const double n = std::max<double>(1, static_cast<double>(m.rows));
    for (double& v : m.mean) v /= n;
    for (double& v : m.gram) v /= n;
  }
}

}  // namespace

std::map<int, Moments> observe_moments(const Setup& setup, const Dataset& data,
                                       const PredictOptions& options, std::uint64_t memory) {
  const std::size_t samples =
      std::max<std::size_t>(1, options.rows.empty() ? data.count : options.rows.size());
  std::map<int, Moments> all;
  std::vector<Cutter> now;
  std::uint64_t used = 0;
  for (const WeightedLayer& layer : weighted_layers(*setup.model)) {
    const auto c = cutter(*setup.model, layer, samples);
    if (!c || c->bytes() > 2 * memory) continue;
    if (used + c->bytes() > memory && !now.empty()) {
      pass(setup, data, options, now, all);
      now.clear();
      used = 0;
    }
    used += c->bytes();
    now.push_back(*c);
  }
  if (!now.empty()) pass(setup, data, options, now, all);
  return all;
}

std::size_t weight_row_count(const Shape& shape, OpCode code) {
  return static_cast<std::size_t>(
      shape.at(static_cast<std::size_t>(std::max(0, weight_axis(code)))));
}

std::vector<float> weight_rows(const Array& weights, OpCode code) {
  const auto v = weights.span<float>();
  if (code != OpCode::kDepthwiseConv2d) return {v.begin(), v.end()};
  const std::size_t o = weight_row_count(weights.shape(), code), k = v.size() / o;
  std::vector<float> rows(v.size());
  for (std::size_t i = 0; i < k; ++i) {
    for (std::size_t c = 0; c < o; ++c) rows[c * k + i] = v[i * o + c];
  }
  return rows;
}

Array weights_from_rows(const std::vector<float>& rows, const Shape& shape, OpCode code) {
  if (code != OpCode::kDepthwiseConv2d) return Array::of(shape, rows);
  const std::size_t o = weight_row_count(shape, code), k = rows.size() / o;
  Array w = Array::zeros(DType::kFloat32, shape);
  const auto v = w.mutable_span<float>();
  for (std::size_t i = 0; i < k; ++i) {
    for (std::size_t c = 0; c < o; ++c) v[i * o + c] = rows[c * k + i];
  }
  return w;
}

}  // namespace litegap
