#include "quant/equalize.h"

#include <algorithm>
#include <cmath>

#include "quant/layers.h"
#include "quant/params.h"

namespace litegap {
namespace {

constexpr double kDead = 1e-4;  // of the largest channel

const Tensor& tensor(const Model& m, int t) {
  return m.main().tensors[static_cast<std::size_t>(t)];
}
const Op& op_at(const Model& m, int k) { return m.main().ops[static_cast<std::size_t>(k)]; }

bool float_constant(const Model& m, int t) {
  return t >= 0 && tensor(m, t).constant && tensor(m, t).dtype == DType::kFloat32;
}

// Operators that read each tensor.
std::vector<std::vector<int>> readers(const Model& m) {
  std::vector<std::vector<int>> all(m.main().tensors.size());
  for (std::size_t k = 0; k < m.main().ops.size(); ++k) {
    for (const int t : m.main().ops[k].inputs) {
      if (t >= 0) all[static_cast<std::size_t>(t)].push_back(static_cast<int>(k));
    }
  }
  return all;
}

struct Pair {
  WeightedLayer a, b;
};

bool is_output(const Model& m, int t) {
  return std::ranges::find(m.main().outputs, t) != m.main().outputs.end();
}

// Treats every channel alike and is positively homogeneous: f(s x) = s f(x) for s > 0.
bool passes_channels(const Model& m, const Op& op) {
  switch (op.code) {
    case OpCode::kMaxPool2d:
    case OpCode::kAveragePool2d:
      return fused_activation(op.attrs) == Activation::kNone ||
             fused_activation(op.attrs) == Activation::kRelu;
    case OpCode::kRelu:
    case OpCode::kPad:
      return true;
    default:
      return false;
  }
}

bool own_constant(const Model& m, const std::vector<std::vector<int>>& users, int t) {
  return float_constant(m, t) && users[static_cast<std::size_t>(t)].size() == 1;
}

std::optional<WeightedLayer> partner(const Model& m, const std::vector<std::vector<int>>& users,
                                     const WeightedLayer& a) {
  int t = op_at(m, a.op).outputs[0];
  for (int hops = 0; hops < 8; ++hops) {
    const auto& next = users[static_cast<std::size_t>(t)];
    if (next.size() != 1 || is_output(m, t)) return std::nullopt;
    if (const auto b = weighted_layer(m, next[0])) {
      return b->x == t ? b : std::nullopt;
    }
    const Op& op = op_at(m, next[0]);
    if (!passes_channels(m, op) || op.input(0) != t) return std::nullopt;
    t = op.outputs[0];
  }
  return std::nullopt;
}

std::size_t in_channels(const Model& m, const WeightedLayer& b) {
  const Shape& w = tensor(m, b.w).shape;
  const OpCode code = op_at(m, b.op).code;
  if (code != OpCode::kDepthwiseConv2d) return static_cast<std::size_t>(w.back());
  const auto* d = std::get_if<DepthwiseAttrs>(&op_at(m, b.op).attrs);
  return static_cast<std::size_t>(w.back() / std::max(1, d != nullptr ? d->depth_multiplier : 1));
}

std::vector<Pair> pairs(const Model& m) {
  const auto users = readers(m);
  std::vector<Pair> all;
  for (const WeightedLayer& a : weighted_layers(m)) {
    const Op& op = op_at(m, a.op);
    const Activation act = fused_activation(op.attrs);
    if (op.code == OpCode::kTransposeConv || !own_constant(m, users, a.w) ||
        (a.b >= 0 && !own_constant(m, users, a.b)) ||
        (act != Activation::kNone && act != Activation::kRelu)) {
      continue;
    }
    const auto b = partner(m, users, a);
    if (!b || op_at(m, b->op).code == OpCode::kTransposeConv || !own_constant(m, users, b->w)) {
      continue;
    }
    if (weight_row_count(tensor(m, a.w).shape, op.code) == in_channels(m, *b))
      all.push_back({a, *b});
  }
  return all;
}

// Index of the input channel that element i of B's weights reads.
std::size_t channel_read(std::size_t i, const Shape& w, OpCode code, std::size_t channels) {
  const auto last = static_cast<std::size_t>(w.back());
  return code == OpCode::kDepthwiseConv2d ? (i % last) / (last / channels) : i % last;
}
// Index of the output channel that element i of A's weights belongs to.
std::size_t channel_written(std::size_t i, const Shape& w, OpCode code, std::size_t elements) {
  if (code == OpCode::kDepthwiseConv2d) return i % static_cast<std::size_t>(w.back());
  return i / (elements / static_cast<std::size_t>(w[0]));
}

class Scaler {
 public:
  Scaler(Model& model, const Pair& pair) : model_(model), pair_(pair) {
    code_a_ = op_at(model, pair.a.op).code;
    code_b_ = op_at(model, pair.b.op).code;
    channels_ = weight_row_count(tensor(model, pair.a.w).shape, code_a_);
  }
  std::vector<double> factors() const {
    std::vector<double> ra(channels_, 0), rb(channels_, 0), s(channels_, 1);
    const auto wa = tensor(model_, pair_.a.w).constant->span<float>();
    const auto wb = tensor(model_, pair_.b.w).constant->span<float>();
    for (std::size_t i = 0; i < wa.size(); ++i) {
      double& r = ra[channel_written(i, tensor(model_, pair_.a.w).shape, code_a_, wa.size())];
      r = std::max(r, std::fabs(static_cast<double>(wa[i])));
    }
    for (std::size_t i = 0; i < wb.size(); ++i) {
      double& r = rb[channel_read(i, tensor(model_, pair_.b.w).shape, code_b_, channels_)];
      r = std::max(r, std::fabs(static_cast<double>(wb[i])));
    }
    // Channels that carry nothing stay as they are: bringing 1e-20 up to 1 makes ranges no code
    // needs.
    const double least_a = kDead * *std::ranges::max_element(ra);
    const double least_b = kDead * *std::ranges::max_element(rb);
    for (std::size_t c = 0; c < channels_; ++c) {
      if (ra[c] > least_a && rb[c] > least_b)
        s[c] = std::clamp(std::sqrt(ra[c] / rb[c]), 1e-4, 1e4);
    }
    return s;
  }
  void apply(const std::vector<double>& s) {
    edit(pair_.a.w, [&](std::size_t i, std::size_t n) {
      return 1 / s[channel_written(i, tensor(model_, pair_.a.w).shape, code_a_, n)];
    });
    if (pair_.a.b >= 0) edit(pair_.a.b, [&](std::size_t i, std::size_t) { return 1 / s[i]; });
    edit(pair_.b.w, [&](std::size_t i, std::size_t) {
      return s[channel_read(i, tensor(model_, pair_.b.w).shape, code_b_, channels_)];
    });
  }

 private:
  template <class F>
  void edit(int t, F factor) {
    Tensor& to = model_.main().tensors[static_cast<std::size_t>(t)];
    Array values = to.constant->clone();
    const auto v = values.mutable_span<float>();
    for (std::size_t i = 0; i < v.size(); ++i)
      v[i] = static_cast<float>(v[i] * factor(i, v.size()));
    to.constant = std::move(values);
  }
  Model& model_;
  Pair pair_;
  OpCode code_a_, code_b_;
  std::size_t channels_ = 0;
};

// Smallest value of each channel (last axis).
class ChannelMinima : public BlockObserver {
 public:
  explicit ChannelMinima(std::map<int, std::vector<float>> start) : least(std::move(start)) {}
  void on_value(int, int tensor, const Array& value) override {
    const auto found = least.find(tensor);
    if (found == least.end() || value.dtype() != DType::kFloat32) return;
    const auto v = value.span<float>();
    const std::size_t n = found->second.size();
    for (std::size_t i = 0; i < v.size(); ++i) {
      found->second[i % n] = std::min(found->second[i % n], v[i]);
    }
  }
  std::map<int, std::vector<float>> least;
};

// Padding would see 0 where there was c: only layers without.
bool reads_no_padding(const Model& m, const WeightedLayer& b) {
  const Op& op = op_at(m, b.op);
  if (op.code == OpCode::kFullyConnected) return true;
  const Shape& w = tensor(m, b.w).shape;
  const auto* c = std::get_if<ConvAttrs>(&op.attrs);
  const auto* d = std::get_if<DepthwiseAttrs>(&op.attrs);
  const Padding padding = c != nullptr ? c->padding : d != nullptr ? d->padding : Padding::kSame;
  return padding == Padding::kValid || (w[1] == 1 && w[2] == 1);
}

}  // namespace

Equalized equalize(const Model& float_model) {
  Equalized result;
  result.model = float_model;
  const auto all = pairs(float_model);
  for (const Pair& p : all) {
    result.pairs.push_back(op_label(float_model.main(), static_cast<std::size_t>(p.a.op)) + " -> " +
                           op_label(float_model.main(), static_cast<std::size_t>(p.b.op)));
  }
  for (int round = 0; round < 20; ++round) {
    double change = 0;
    for (const Pair& p : all) {
      Scaler scaler(result.model, p);
      const auto s = scaler.factors();
      scaler.apply(s);
      for (const double f : s) {
        change = std::max(change, std::fabs(std::log(f)));
        result.largest = std::max({result.largest, f, 1 / f});
      }
    }
    if (change < 0.01) break;
  }
  return result;
}

Absorbed absorb_biases(const ModelPtr& float_model, const Setup& setup, const Dataset& data,
                       const PredictOptions& options) {
  Absorbed result;
  result.model = *float_model;
  const auto users = readers(*float_model);
  std::map<int, std::vector<float>> start;
  std::vector<Pair> usable;
  for (const Pair& p : pairs(*float_model)) {
    const Op& op = op_at(*float_model, p.a.op);
    const int t = op.outputs[0];
    if (fused_activation(op.attrs) != Activation::kRelu || p.b.x != t || p.a.b < 0 || p.b.b < 0 ||
        !own_constant(*float_model, users, p.b.b) || !reads_no_padding(*float_model, p.b)) {
      continue;
    }
    usable.push_back(p);
    start[t].assign(weight_row_count(tensor(*float_model, p.a.w).shape, op.code), 1e30f);
  }
  if (usable.empty()) return result;
  auto least = start;
  observe(
      setup, data, options, [&](std::size_t) { return std::make_unique<ChannelMinima>(start); },
      [&](BlockObserver& block) {
        for (auto& [t, v] : static_cast<ChannelMinima&>(block).least) {
          for (std::size_t c = 0; c < v.size(); ++c) least[t][c] = std::min(least[t][c], v[c]);
        }
      });
  for (const Pair& p : usable) {
    const auto& c = least[op_at(*float_model, p.a.op).outputs[0]];
    Tensor& ba = result.model.main().tensors[static_cast<std::size_t>(p.a.b)];
    Tensor& bb = result.model.main().tensors[static_cast<std::size_t>(p.b.b)];
    Array a = ba.constant->clone(), b = bb.constant->clone();
    const OpCode code = op_at(*float_model, p.b.op).code;
    const Tensor& w = tensor(result.model, p.b.w);
    const auto wb = w.constant->span<float>();
    for (std::size_t i = 0; i < c.size(); ++i) {
      if (!(c[i] > 0) || c[i] > 1e29f) continue;
      a.mutable_span<float>()[i] -= c[i];
      ++result.channels;
    }
    for (std::size_t i = 0; i < wb.size(); ++i) {
      const float v = c[channel_read(i, w.shape, code, c.size())];
      if (!(v > 0) || v > 1e29f) continue;
      b.mutable_span<float>()[channel_written(i, w.shape, code, wb.size())] += wb[i] * v;
    }
    ba.constant = std::move(a);
    bb.constant = std::move(b);
  }
  return result;
}

Corrected correct_biases(const Model& float_model, const std::map<int, CodedWeights>& coded,
                         const std::map<int, Moments>& moments) {
  Corrected result;
  result.model = float_model;
  const auto users = readers(float_model);
  for (const WeightedLayer& layer : weighted_layers(float_model)) {
    const auto c = coded.find(layer.op);
    const auto m = moments.find(layer.op);
    if (c == coded.end() || m == moments.end() || !own_constant(float_model, users, layer.b))
      continue;
    const OpCode code = op_at(float_model, layer.op).code;
    const std::vector<float> real = weight_rows(*tensor(float_model, layer.w).constant, code);
    const std::vector<float> stored =
        weight_rows(dequantize(c->second.codes, c->second.quant), code);
    Tensor& bias = result.model.main().tensors[static_cast<std::size_t>(layer.b)];
    Array values = bias.constant->clone();
    const auto b = values.mutable_span<float>();
    const std::size_t k = m->second.k, each = b.size() / m->second.groups;
    for (std::size_t o = 0; o < b.size(); ++o) {
      const double *mean = m->second.m(o / each), *h = m->second.h(o / each);
      double lost = 0, power = 0;
      for (std::size_t i = 0; i < k; ++i) {
        lost += (static_cast<double>(real[o * k + i]) - static_cast<double>(stored[o * k + i])) *
                mean[i];
        power += static_cast<double>(real[o * k + i]) * static_cast<double>(real[o * k + i]) *
                 h[i * k + i];
      }
      b[o] += static_cast<float>(lost);
      if (power > 0) result.largest = std::max(result.largest, std::fabs(lost) / std::sqrt(power));
    }
    bias.constant = std::move(values);
    ++result.layers;
  }
  return result;
}

}  // namespace litegap
