#include "diagnose/ladder.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "run/twins.h"

namespace litegap {
namespace {

bool is_conversion(const Op& op) {
  return op.code == OpCode::kQuantize || op.code == OpCode::kDequantize;
}

bool has_codes(const Model& model) {
  return std::any_of(model.main().ops.begin(), model.main().ops.end(), [&](const Op& op) {
    return std::any_of(op.outputs.begin(), op.outputs.end(), [&](int t) {
      const Tensor& info = model.main().tensors[static_cast<std::size_t>(t)];
      return is_quantizable(info.dtype) && !info.quant.empty();
    });
  });
}

double relative(const TwinErrors& e) {
  return e.signal > 0 ? std::sqrt(e.error / e.signal) : (e.error > 0 ? 1.0 : 0.0);
}

// A model of one operator, its activations as graph inputs.  Tensors keep their order and are
// numbered anew: only those of the operator are there.
struct SingleOp {
  std::shared_ptr<Model> model;
  std::vector<int> tensors;  // of the whole graph, by tensor of the small one
};

SingleOp single_op(const Model& model, int op) {
  const Graph& whole = model.main();
  SingleOp one{std::make_shared<Model>(), {}};
  one.model->path = model.path;
  Graph graph;
  graph.ops = {whole.ops[static_cast<std::size_t>(op)]};
  Op& only = graph.ops[0];
  for (const auto* list : {&only.inputs, &only.outputs, &only.intermediates})
    std::copy_if(list->begin(), list->end(), std::back_inserter(one.tensors),
                 [](int t) { return t >= 0; });
  std::sort(one.tensors.begin(), one.tensors.end());
  one.tensors.erase(std::unique(one.tensors.begin(), one.tensors.end()), one.tensors.end());
  for (const int t : one.tensors)
    graph.tensors.push_back(whole.tensors[static_cast<std::size_t>(t)]);
  for (auto* list : {&only.inputs, &only.outputs, &only.intermediates}) {
    for (int& t : *list) {
      if (t >= 0)
        t = static_cast<int>(std::lower_bound(one.tensors.begin(), one.tensors.end(), t) -
                             one.tensors.begin());
    }
  }
  graph.outputs = only.outputs;
  for (const int t : only.inputs) {
    if (t < 0 || graph.tensors[static_cast<std::size_t>(t)].constant ||
        graph.tensors[static_cast<std::size_t>(t)].is_variable)
      continue;
    if (std::find(graph.inputs.begin(), graph.inputs.end(), t) == graph.inputs.end())
      graph.inputs.push_back(t);
  }
  one.model->graphs.push_back(std::move(graph));
  return one;
}

// Computes one operator twice on exact inputs, in float and as quantized.
struct LocalProbe {
  Plan exact, rounded;
  Workspace exact_space, rounded_space;
  std::vector<int> inputs;
  LocalProbe(Plan a, Plan b, std::vector<int> in)
      : exact(std::move(a)),
        rounded(std::move(b)),
        exact_space(exact),
        rounded_space(rounded),
        inputs(std::move(in)) {}
};

std::unique_ptr<LocalProbe> local_probe(const Model& model, int op,
                                        const std::map<int, Array>& weights) {
  const SingleOp one = single_op(model, op);
  if (one.model->main().inputs.empty()) return nullptr;
  Numerics exact{.arith = Arith::kReal};
  for (const int t : one.model->main().ops[0].inputs) {
    if (t < 0) continue;
    const auto w = weights.find(one.tensors[static_cast<std::size_t>(t)]);
    if (w != weights.end()) exact.constants[t] = w->second;
  }
  std::vector<int> inputs;
  for (const int t : one.model->main().inputs)
    inputs.push_back(one.tensors[static_cast<std::size_t>(t)]);
  try {
    return std::make_unique<LocalProbe>(make_plan(one.model, exact),
                                        make_plan(one.model, {.arith = Arith::kFake}),
                                        std::move(inputs));
  } catch (const Error&) {
    return nullptr;
  }
}

void probe_once(LocalProbe& probe, std::span<const Array> float_values, TwinErrors& sums) {
  std::vector<Array> inputs;
  for (std::size_t i = 0; i < probe.inputs.size(); ++i) {
    const Array& value = float_values[static_cast<std::size_t>(probe.inputs[i])];
    if (value.empty() || value.shape() != probe.exact.input_shape(i)) return;
    inputs.push_back(value);
  }
  probe.exact_space.reset();
  probe.rounded_space.reset();
  run(probe.exact, probe.exact_space, inputs);
  run(probe.rounded, probe.rounded_space, inputs);
  if (probe.exact.output_type(0) != DType::kFloat32 ||
      probe.rounded.output_type(0) != DType::kFloat32)
    return;
  compare_twin(probe.exact_space.output(0), probe.rounded_space.output(0), {}, sums);
}

void measure_errors(Lab& lab, const World& world, const std::map<int, Array>& weights,
                    std::vector<Layer>& layers) {
  const Model& model = *world.qt.model;
  const Graph& graph = model.main();
  Setup real = world.qt;
  real.feed = Feed::kQuantize;
  real.numerics = {.arith = Arith::kReal,
                   .dialect = world.qt.numerics.dialect,
                   .overrides = {},
                   .kernels = {},
                   .unquantized = {},
                   .constants = weights};
  Setup integer = world.qt;
  integer.feed = Feed::kQuantize;
  PlanOptions keep;
  keep.keep_values = true;
  const Plan real_plan = make_plan(real.model, real.numerics, keep),
             integer_plan = make_plan(integer.model, integer.numerics);
  Twins twins(real_plan, integer_plan);
  const std::vector<TwinErrors>& sums = twins.errors;
  std::vector<std::unique_ptr<LocalProbe>> probes;
  std::vector<TwinErrors> local(graph.ops.size());
  for (std::size_t op = 0; op < graph.ops.size(); ++op)
    probes.push_back(
        is_conversion(graph.ops[op]) ? nullptr : local_probe(model, static_cast<int>(op), weights));
  const std::size_t samples = std::min<std::size_t>(8, world.data.count);
  for (std::size_t k = 0; k < samples; ++k) {
    const std::size_t row = k * world.data.count / samples;
    std::vector<Array> in_real, in_integer;
    for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
      in_real.push_back(feed_input(real, real_plan, world.data, i, row));
      in_integer.push_back(feed_input(integer, integer_plan, world.data, i, row));
    }
    twins.reset();
    twins.run(in_real, in_integer);
    for (std::size_t op = 0; op < graph.ops.size(); ++op) {
      if (probes[op]) probe_once(*probes[op], twins.exact_values(), local[op]);
    }
  }
  lab.stats().passes += 4.0 * static_cast<double>(samples) /
                        static_cast<double>(std::max<std::size_t>(1, world.data.count));
  for (Layer& layer : layers) {
    const Op& op = graph.ops[static_cast<std::size_t>(layer.op)];
    const auto t = static_cast<std::size_t>(op.outputs[0]);
    layer.local_error = relative(local[static_cast<std::size_t>(layer.op)]);
    layer.accumulated_error = relative(sums[t]);
    double entering = layer.local_error * layer.local_error;
    for (const int in : op.inputs) {
      if (in >= 0 && !graph.tensors[static_cast<std::size_t>(in)].constant) {
        const double e = relative(sums[static_cast<std::size_t>(in)]);
        entering += e * e;
      }
    }
    layer.amplification = entering > 0 ? layer.accumulated_error / std::sqrt(entering) : 0;
  }
}

// Those that are priced.  A price takes two passes through the whole model: prices of all would
// cost the square of their number, and what is dear has an error of its own.
std::vector<Layer*> dearest(std::vector<Layer>& layers) {
  constexpr std::size_t kMost = 256;
  std::vector<Layer*> chosen;
  for (Layer& layer : layers) chosen.push_back(&layer);
  if (chosen.size() > kMost) {
    const auto error = [](const Layer* l) {
      return std::isnan(l->local_error) ? HUGE_VAL : l->local_error;
    };
    std::stable_sort(chosen.begin(), chosen.end(),
                     [&](const Layer* a, const Layer* b) { return error(a) > error(b); });
    chosen.resize(kMost);
    std::sort(chosen.begin(), chosen.end());  // in the order of the graph again
  }
  return chosen;
}

}  // namespace

std::vector<Rung> climb(Lab& lab, const World& world, const std::map<int, Array>& weights) {
  std::vector<Rung> rungs;
  const Predictions reference = lab.predict_float(world);
  double above = 0;
  const auto add = [&](const std::string& name, const std::string& what, const Predictions& p,
                       bool moves) {
    const double v = lab.value(p, world.data, &reference);
    rungs.push_back({name, what, v, rungs.empty() ? 0.0 : lab.loss(above, v)});
    if (moves) above = v;
  };
  add("R1", "float file", reference, true);
  World w = world;
  w.answers = Answers::kModel;
  w.qt.feed = Feed::kQuantize;
  const Dialect dialect = world.qt.numerics.dialect;
  w.qt.numerics = {.arith = Arith::kReal, .dialect = dialect};
  const Predictions r2 = lab.predict_quant(w);
  if (has_codes(*world.qt.model)) {
    // R2 and R3 are two ways from R1; R4 joins them.  Steps: R2 and R3 are losses against R1, the
    // step of R4 is what is left of R1 -> R4 after both, so the steps still add up.
    const double r1 = above;
    add("R2", "weights as stored, activations float", r2, false);
    w.qt.numerics = {.arith = Arith::kFake,
                     .dialect = dialect,
                     .overrides = {},
                     .kernels = {},
                     .unquantized = {},
                     .constants = weights};
    add("R3", "float weights, activations rounded to the file's scales", lab.predict_quant(w),
        false);
    w.qt.numerics = {.arith = Arith::kFake, .dialect = dialect};
    const Predictions r4 = lab.predict_quant(w);
    add("R4", "weights and activations rounded, real arithmetic", r4, true);
    rungs.back().step = lab.loss(r1, above) - rungs[1].step - rungs[2].step;
  } else {
    add("R2", "weights as stored, activations float", r2, true);
  }
  w.qt.numerics = {.arith = Arith::kInteger, .dialect = Dialect::kReference};
  const bool runs_reference = [&] {
    try {
      add("R5", "exact integers, reference kernels", lab.predict_quant(w), true);
      return true;
    } catch (const Error&) {
      return false;  // an operator without a reference kernel: the rung is left out
    }
  }();
  (void)runs_reference;
  w.qt.numerics = world.qt.numerics;
  add("R6", fmt::format("the kernels the user runs ({})", dialect_name(dialect)),
      lab.predict_quant(w), true);
  return rungs;
}

std::vector<Layer> blame(Lab& lab, const World& world, const Match& match,
                         const std::map<int, Array>& weights,
                         const std::vector<std::size_t>& rows) {
  const Graph& graph = world.qt.model->main();
  std::vector<Layer> layers;
  for (std::size_t op = 0; op < graph.ops.size(); ++op) {
    if (is_conversion(graph.ops[op])) continue;
    Layer layer;
    layer.op = static_cast<int>(op);
    layer.kind = graph.ops[op].name();
    layer.name = graph.tensors[static_cast<std::size_t>(graph.ops[op].outputs[0])].name;
    layer.aligned = match.float_op[op] >= 0;
    layers.push_back(layer);
  }
  measure_errors(lab, world, weights, layers);

  World w = world;
  w.answers = Answers::kModel;
  w.qt.feed = Feed::kQuantize;
  const Dataset part = w.data.subset(rows);
  World on_part = w;
  on_part.data = part;
  const Predictions reference = predict(w.fl, w.data, lab.options(rows));
  const auto price = [&](const Numerics& n) {
    Setup s = w.qt;
    s.numerics = n;
    const Predictions p = predict(s, w.data, lab.options(rows));
    return score(lab.metric(), {&p, &part, &reference});
  };
  const Dialect dialect = world.qt.numerics.dialect;
  const Numerics none{.arith = Arith::kReal,
                      .dialect = dialect,
                      .overrides = {},
                      .kernels = {},
                      .unquantized = {},
                      .constants = weights};
  const double clean = price(none);
  const double all = price({.arith = Arith::kFake, .dialect = dialect});
  double total = 0;
  const std::vector<Layer*> chosen = dearest(layers);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    Layer& layer = *chosen[i];
    layer.priced = true;
    const Op& op = graph.ops[static_cast<std::size_t>(layer.op)];
    Numerics alone = none;  // only this operator as the file has it
    alone.overrides[layer.op] = Arith::kFake;
    Numerics without{.arith = Arith::kFake, .dialect = dialect};  // all but this one
    without.overrides[layer.op] = Arith::kReal;
    for (const int t : op.inputs) {
      alone.constants.erase(t);
      const auto found = weights.find(t);
      if (found != weights.end()) without.constants[t] = found->second;
    }
    layer.alone = lab.loss(clean, price(alone));
    layer.without = lab.loss(price(without), all);
    total += std::max(0.0, (layer.alone + layer.without) / 2);
    report_progress(lab.progress(), "pricing operators",
                    static_cast<double>(i + 1) / static_cast<double>(chosen.size()));
  }
  for (Layer& layer : layers)
    layer.share = total > 0 ? std::max(0.0, (layer.alone + layer.without) / 2) / total : 0;
  return layers;
}

}  // namespace litegap
