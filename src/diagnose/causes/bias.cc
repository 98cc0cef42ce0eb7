// D05 (and D04): a bias that does not fit into 32 bits.
//
// A bias is stored with scale s_input * s_weights.  In a channel whose weights are nearly zero that
// scale is tiny and the code saturates: the layer adds a wrong constant.  Healing raises the weight
// scale of such channels until the float twin's bias fits (the tiny weights lose codes they never
// needed); injecting puts the stored weights and biases back.
#include <cmath>
#include <limits>

#include "diagnose/cause.h"
#include "quant/params.h"
#include "quant/transplant.h"

namespace litegap {
namespace {

struct Saturated {
  int op = -1, bias = -1;
  std::size_t channels = 0;
  double wanted = 0, stored = 0;  // of the worst channel, in real units
};

// Channels whose stored bias is far from the float twin's by more than rounding.
std::optional<Saturated> saturated(const Graph& graph, std::size_t op_index,
                                   const std::map<int, Array>& weights) {
  const Op& op = graph.ops[op_index];
  const int b = op.input(op.code == OpCode::kTransposeConv ? 3 : 2),
            x = op.input(op.code == OpCode::kTransposeConv ? 2 : 0), w = op.input(1);
  if (weight_axis(op.code) < 0 || b < 0 || x < 0 || w < 0) return std::nullopt;
  const Tensor& bias = graph.tensors[static_cast<std::size_t>(b)];
  const Quant &qx = graph.tensors[static_cast<std::size_t>(x)].quant,
              &qw = graph.tensors[static_cast<std::size_t>(w)].quant;
  const auto found = weights.find(b);
  if (!bias.constant || bias.dtype != DType::kInt32 || qx.empty() || qw.empty() ||
      found == weights.end())
    return std::nullopt;
  const auto codes = bias.constant->span<std::int32_t>();
  const auto wanted = found->second.span<float>();
  Saturated s{static_cast<int>(op_index), b, 0, 0, 0};
  for (std::size_t c = 0; c < codes.size(); ++c) {
    const double scale = static_cast<double>(qx.scale[0]) * qw.scale[qw.scale.size() > 1 ? c : 0];
    if (std::fabs(static_cast<double>(codes[c])) < 2147483500.0) continue;
    const double stored = scale * codes[c];
    if (std::fabs(stored - wanted[c]) <= 0.01 * std::fabs(wanted[c])) continue;
    ++s.channels;
    if (std::fabs(stored - wanted[c]) > std::fabs(s.stored - s.wanted)) {
      s.stored = stored;
      s.wanted = wanted[c];
    }
  }
  if (s.channels == 0) return std::nullopt;
  return s;
}

}  // namespace

std::vector<Suspect> nominate_bias(Bench& bench) {
  const Model& model = *bench.now.qt.model;
  const Graph& graph = model.main();
  std::vector<Saturated> all;
  for (std::size_t i = 0; i < graph.ops.size(); ++i) {
    if (const auto s = saturated(graph, i, *bench.weights)) all.push_back(*s);
  }
  if (all.empty()) return {};
  std::vector<int> ops, tensors;
  Suspect s;
  std::size_t channels = 0;
  for (const Saturated& bad : all) {
    const Op& op = graph.ops[static_cast<std::size_t>(bad.op)];
    if (!bench.weights->contains(op.input(1))) continue;
    ops.push_back(bad.op);
    tensors.push_back(op.input(1));
    tensors.push_back(bad.bias);
    channels += bad.channels;
    s.where.push_back(
        {0, bad.op, bad.bias, graph.tensors[static_cast<std::size_t>(bad.bias)].name});
  }
  if (ops.empty()) return {};
  s.cause = "D05";
  s.slug = "bias-saturated";
  s.title = "Bias does not fit into 32 bits";
  s.heal = EditModel{fmt::format("weight scales raised until {} biases fit", channels),
                     std::make_shared<Model>(with_fitting_biases(model, ops, *bench.weights))};
  const ModelPtr sick = bench.now.qt.model;
  s.inject = [sick, tensors](const World& w) {
    return apply(w, EditModel{"saturated biases injected", std::make_shared<Model>(with_tensors_of(
                                                               *w.qt.model, *sick, tensors))});
  };
  const Saturated worst = all.front();
  const std::string name = op_label(graph, static_cast<std::size_t>(worst.op));
  const Metric metric = bench.lab.metric();
  s.says = [=](double before, double after) {
    return fmt::format(
        "{} bias codes stand at the 32-bit limit: in {} a bias of {:.4g} is stored as {:.4g} "
        "because the channel's weights are nearly zero. With larger weight scales {} goes from {} "
        "to {}.",
        channels, name, worst.wanted, worst.stored, metric.name, metric_text(metric, before),
        metric_text(metric, after));
  };
  s.fix = {"file",
           "raise the weight scale of these channels to |bias| / (s_input * 2^30), or remove the "
           "dead channels before converting"};
  return {s};
}

}  // namespace litegap
