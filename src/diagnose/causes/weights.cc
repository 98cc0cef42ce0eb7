// D01, B11: one scale for all channels of a weight tensor.
//
// After batch normalization is folded, channels of a layer differ widely in size; with one scale
// per tensor the small ones keep a few codes only.  Healing writes the float twin's weights with
// one scale per channel; injecting writes the file's own per-tensor weights back.
#include <algorithm>
#include <cmath>

#include "diagnose/cause.h"
#include "quant/params.h"
#include "quant/rewrite.h"
#include "quant/transplant.h"

namespace litegap {
namespace {

struct Starved {
  int op = -1, tensor = -1;
  double ratio = 1;  // largest channel over the median one
  double bits = 8;   // effective bits of the weakest quarter's strongest channel
};

std::optional<Starved> starved(const Graph& graph, std::size_t op_index, const Array& weights) {
  const Op& op = graph.ops[op_index];
  const int axis = weight_axis(op.code);
  const Tensor& t = graph.tensors[static_cast<std::size_t>(op.input(1))];
  if (axis < 0 || t.quant.scale.size() != 1 || static_cast<std::size_t>(axis) >= t.shape.size())
    return std::nullopt;
  const auto channels = static_cast<std::size_t>(t.shape[static_cast<std::size_t>(axis)]);
  if (channels < 2) return std::nullopt;
  std::size_t inner = 1;
  for (std::size_t d = static_cast<std::size_t>(axis) + 1; d < t.shape.size(); ++d)
    inner *= static_cast<std::size_t>(t.shape[d]);
  std::vector<double> peak(channels, 0);
  const auto w = weights.span<float>();
  for (std::size_t i = 0; i < w.size(); ++i) {
    double& p = peak[(i / inner) % channels];
    p = std::max(p, std::fabs(static_cast<double>(w[i])));
  }
  std::sort(peak.begin(), peak.end());
  Starved s{static_cast<int>(op_index), op.input(1), 1, 8};
  s.ratio = peak.back() / std::max(1e-30, peak[channels / 2]);
  s.bits =
      std::log2(std::max(1e-9, 2 * peak[channels / 4] / static_cast<double>(t.quant.scale[0])));
  return s;
}

}  // namespace

std::vector<Suspect> nominate_weights(Bench& bench) {
  const Model& model = *bench.now.qt.model;
  const Graph& graph = model.main();
  std::map<int, Array> per_channel;
  std::vector<Starved> all;
  for (std::size_t i = 0; i < graph.ops.size(); ++i) {
    const int t = graph.ops[i].input(1);
    if (t < 0 || graph.tensors[static_cast<std::size_t>(t)].dtype != DType::kInt8) continue;
    const auto found = bench.weights->find(t);
    if (found == bench.weights->end()) continue;
    if (const auto s = starved(graph, i, found->second)) {
      per_channel[t] = found->second;
      all.push_back(*s);
    }
  }
  if (all.empty()) return {};
  std::stable_sort(all.begin(), all.end(),
                   [](const Starved& a, const Starved& b) { return a.bits < b.bits; });
  const auto healed = std::make_shared<Model>(with_per_channel_weights(model, per_channel));
  Suspect s;
  s.cause = "D01";
  s.slug = "per-tensor-weights";
  s.title = "One weight scale for all channels (per-tensor weights, B11)";
  for (std::size_t k = 0; k < std::min<std::size_t>(8, all.size()); ++k) {
    s.where.push_back(
        {0, all[k].op, all[k].tensor, graph.tensors[static_cast<std::size_t>(all[k].tensor)].name});
  }
  s.heal = EditModel{fmt::format("{} weight tensors per channel", per_channel.size()), healed};
  const ModelPtr sick = bench.now.qt.model;
  std::vector<int> tensors;
  for (const auto& [t, w] : per_channel) tensors.push_back(t);
  s.inject = [sick, tensors](const World& w) {
    return apply(
        w, EditModel{"per-tensor weights injected",
                     std::make_shared<Model>(with_stored_weights(*w.qt.model, *sick, tensors))});
  };
  const Starved worst = all.front();
  const std::string name = op_label(graph, static_cast<std::size_t>(worst.op));
  const Metric metric = bench.lab.metric();
  s.says = [=](double before, double after) {
    return fmt::format(
        "Weights share one scale per tensor although channels differ: in {} the largest channel is "
        "{:.3g} times the median, and a quarter of the channels use at most {:.1f} bits. Per "
        "channel, {} goes from {} to {}.",
        name, worst.ratio, std::max(0.0, worst.bits), metric.name, metric_text(metric, before),
        metric_text(metric, after));
  };
  s.fix = {"file",
           "per-channel weights; in the converter: leave _experimental_disable_per_channel unset; "
           "where the target needs per-tensor weights, equalize the channels before converting"};
  return {s};
}

}  // namespace litegap
