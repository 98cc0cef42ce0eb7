// A01, A02, A03: the values that are fed are not those the model was trained on.
//
// Few maps are in use: pixels as they are, divided by 255, brought to [-1, 1], ImageNet mean and
// deviation, each with the channels in either order.  A wrong input is therefore one of a small
// bank of maps away from the right one; the bank is tried on the float model, few samples first,
// and the winner is judged on all samples.
#include <algorithm>
#include <cmath>

#include "diagnose/cause.h"

namespace litegap {
namespace {

struct Candidate {
  InputMap map;
  double value = 0;
};

// Maps from what is stored to what a model may want.
std::vector<std::string> bank(bool colour) {
  std::vector<std::string> maps = {
      "x/255", "x*255",   "x/127.5-1", "(x+1)*127.5", "x*2-1", "(x+1)/2", "x/128-1",
      "x/128", "x*128",   "x*127.5",   "x/127.5",     "x-128", "x+128",   "x*255-128",
      "x/256", "x*65025", "-x",        "1-x",         "255-x", "x-127.5", "x/65025"};
  if (colour) {
    const std::size_t n = maps.size();
    maps.push_back("bgr");
    for (std::size_t i = 0; i < n; ++i) maps.push_back("bgr:" + maps[i]);
  }
  return maps;
}

// ImageNet statistics per channel, as PyTorch's models want them, for data in 0..1 and in 0..255;
// and the blue-green-red means that Caffe's models want.
std::vector<InputMap> imagenet_bank() {
  std::vector<InputMap> maps;
  const std::vector<double> mean = {0.485, 0.456, 0.406}, deviation = {0.229, 0.224, 0.225};
  for (const double unit : {1.0, 1.0 / 255}) {
    InputMap m;
    m.scale = unit;
    for (int c = 0; c < 3; ++c) {
      m.channel_scale.push_back(1 / deviation[static_cast<std::size_t>(c)]);
      m.channel_offset.push_back(-mean[static_cast<std::size_t>(c)] /
                                 deviation[static_cast<std::size_t>(c)]);
    }
    maps.push_back(m);
  }
  InputMap caffe;
  caffe.reverse_channels = true;
  caffe.channel_scale = {1, 1, 1};
  caffe.channel_offset = {-103.939, -116.779, -123.68};
  maps.push_back(caffe);
  return maps;
}

// Stored values go through the map the user named first.
std::optional<InputMap> compose(const InputMap& first, const InputMap& then) {
  if (!first.channel_scale.empty()) return std::nullopt;
  InputMap m = then;
  m.offset = then.scale * first.offset + then.offset;
  m.scale = then.scale * first.scale;
  m.reverse_channels = first.reverse_channels != then.reverse_channels;
  m.transpose_chw = first.transpose_chw || then.transpose_chw;
  return m;
}

// Leading MUL, ADD, SUB, DIV with constants before the first weighted operator: the model
// normalizes itself.
bool normalizes_itself(const Graph& graph) {
  for (const Op& op : graph.ops) {
    switch (op.code) {
      case OpCode::kMul:
      case OpCode::kAdd:
      case OpCode::kSub:
      case OpCode::kDiv: {
        for (const int t : op.inputs) {
          if (t >= 0 && graph.tensors[static_cast<std::size_t>(t)].constant) return true;
        }
        return false;
      }
      case OpCode::kQuantize:
      case OpCode::kDequantize:
      case OpCode::kReshape:
      case OpCode::kPad:
      case OpCode::kCast:
        continue;
      default:
        return false;
    }
  }
  return false;
}

std::vector<std::size_t> spread(std::size_t n, std::size_t want) {
  std::vector<std::size_t> rows;
  for (std::size_t k = 0; k < std::min(n, want); ++k) rows.push_back(k * n / std::min(n, want));
  return rows;
}

double float_value(Bench& bench, const InputMap& map, const std::vector<std::size_t>& rows) {
  World w = bench.now;
  w.fl.input_map = map;
  const Predictions p = predict(w.fl, w.data, bench.lab.options(rows));
  const Dataset part = w.data.subset(rows);
  return score(bench.lab.metric(), {&p, &part, &p});
}

std::vector<Candidate> try_bank(Bench& bench, std::vector<InputMap> maps) {
  const Metric& metric = bench.lab.metric();
  const auto better = [&](const Candidate& a, const Candidate& b) {
    return metric.higher_is_better ? a.value > b.value : a.value < b.value;
  };
  std::vector<Candidate> tried;
  for (const std::size_t count : {std::size_t{48}, std::size_t{256}}) {
    const auto rows = spread(bench.now.data.count, count);
    tried.clear();
    for (const InputMap& m : maps) {
      const double v = float_value(bench, m, rows);
      if (std::isfinite(v)) tried.push_back({m, v});
    }
    std::stable_sort(tried.begin(), tried.end(), better);
    if (tried.size() > 4) tried.resize(4);
    maps.clear();
    for (const Candidate& c : tried) maps.push_back(c.map);
    if (rows.size() == bench.now.data.count) break;
  }
  return tried;
}

Suspect suspect_for(Bench& bench, const InputMap& map, const InputMap& before_map) {
  const Graph& graph = bench.now.fl.model->main();
  const Tensor& input = graph.tensors[static_cast<std::size_t>(graph.inputs[0])];
  Suspect s;
  s.harness = true;
  const bool only_order = map.reverse_channels != before_map.reverse_channels &&
                          map.scale == before_map.scale && map.offset == before_map.offset &&
                          map.channel_scale.empty();
  const bool inside = normalizes_itself(graph);
  const double gain = map.scale / before_map.scale;
  const bool twice = !only_order && gain > 50 && (inside || std::fabs(map.offset) < 1e-9);
  s.cause = only_order ? "A03" : twice ? "A02" : "A01";
  s.slug = only_order ? "channel-order" : twice ? "scaled-twice" : "input-range";
  s.title = only_order ? "Channels are in the wrong order (RGB and BGR)"
            : twice    ? "Pre-processing is applied twice"
                       : "Input scaling is not what the model was trained with";
  s.where = {{0, -1, graph.inputs[0], input.name}};
  s.heal = EditInput{map};
  s.inject = [before_map](const World& healed) { return apply(healed, EditInput{before_map}); };
  const Metric metric = bench.lab.metric();
  s.says = [=](double before, double after) {
    const std::string why =
        only_order ? "the colour channels of the data are in the opposite order"
        : twice ? (inside ? "the model normalizes its input itself and the data were divided before"
                          : "the data were scaled down before they reach the model")
                : "the data are not in the range the model was trained on";
    return fmt::format(
        "Both models are fed wrong values: {}. Feed {} instead of {}: {} goes from {} to {}.", why,
        to_text(map), to_text(before_map), metric.name, metric_text(metric, before),
        metric_text(metric, after));
  };
  s.fix = {"input-map", fmt::format("model input = {} (litegap: --input-map \"{}\")", to_text(map),
                                    to_text(map))};
  return s;
}

}  // namespace

std::vector<Suspect> nominate_input_map(Bench& bench) {
  const Metric& metric = bench.lab.metric();
  if (!metric.needs_labels || !bench.now.data.labels || bench.now.data.inputs.size() != 1)
    return {};
  const Graph& graph = bench.now.fl.model->main();
  const Tensor& input = graph.tensors[static_cast<std::size_t>(graph.inputs[0])];
  if (input.dtype != DType::kFloat32) return {};
  const InputMap before = bench.now.fl.input_map;
  const bool colour = input.shape.size() == 4 && input.shape.back() == 3;
  std::vector<InputMap> maps = {before};
  for (const std::string& text : bank(colour)) {
    if (const auto m = compose(before, parse_input_map(text))) maps.push_back(*m);
  }
  if (colour) {
    for (const InputMap& then : imagenet_bank()) {
      if (const auto m = compose(before, then)) maps.push_back(*m);
    }
  }
  const auto best = try_bank(bench, std::move(maps));
  if (best.empty() || best.front().map == before) return {};
  // Among maps that do equally well the simplest explanation comes first in the bank; the winner
  // must beat the data as they are by more than chance, which convict() tests on all samples.
  return {suspect_for(bench, best.front().map, before)};
}

}  // namespace litegap
