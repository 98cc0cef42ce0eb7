#include "diagnose/match.h"

#include <algorithm>
#include <cmath>

#include "run/stats.h"

namespace litegap {
namespace {

bool is_conversion(const Op& op) {
  return op.code == OpCode::kQuantize || op.code == OpCode::kDequantize;
}

std::vector<int> working_ops(const Graph& graph) {
  std::vector<int> ops;
  for (std::size_t i = 0; i < graph.ops.size(); ++i) {
    if (!is_conversion(graph.ops[i])) ops.push_back(static_cast<int>(i));
  }
  return ops;
}

// Follows QUANTIZE/DEQUANTIZE upward to the tensor they convert.
int behind_conversions(const Graph& graph, int tensor) {
  for (bool moved = true; moved;) {
    moved = false;
    for (const Op& op : graph.ops) {
      if (is_conversion(op) && op.outputs[0] == tensor) {
        tensor = op.input(0);
        moved = true;
        break;
      }
    }
  }
  return tensor;
}

bool match_structure(const Graph& fl, const Graph& qt, Match& match) {
  const auto a = working_ops(fl), b = working_ops(qt);
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (fl.ops[static_cast<std::size_t>(a[i])].code != qt.ops[static_cast<std::size_t>(b[i])].code)
      return false;
    if (fl.ops[static_cast<std::size_t>(a[i])].outputs.size() !=
        qt.ops[static_cast<std::size_t>(b[i])].outputs.size())
      return false;
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    const Op& x = fl.ops[static_cast<std::size_t>(a[i])];
    const Op& y = qt.ops[static_cast<std::size_t>(b[i])];
    for (std::size_t o = 0; o < y.outputs.size(); ++o) {
      const Tensor& tx = fl.tensors[static_cast<std::size_t>(x.outputs[o])];
      const Tensor& ty = qt.tensors[static_cast<std::size_t>(y.outputs[o])];
      if (shape_elements(tx.shape) != shape_elements(ty.shape)) return false;
    }
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    const Op& x = fl.ops[static_cast<std::size_t>(a[i])];
    const Op& y = qt.ops[static_cast<std::size_t>(b[i])];
    match.float_op[static_cast<std::size_t>(b[i])] = a[i];
    for (std::size_t o = 0; o < y.outputs.size(); ++o)
      match.float_tensor[static_cast<std::size_t>(y.outputs[o])] = x.outputs[o];
  }
  for (std::size_t i = 0; i < std::min(fl.inputs.size(), qt.inputs.size()); ++i)
    match.float_tensor[static_cast<std::size_t>(qt.inputs[i])] = fl.inputs[i];
  match.method = "structure";
  return true;
}

// Keeps every activation of a few samples as one long vector per tensor.
class Trace : public BlockObserver {
 public:
  explicit Trace(std::size_t tensors) : values(tensors) {}
  void on_value(int, int tensor, const Array& value) override {
    if (value.dtype() != DType::kFloat32 || value.elements() > (1u << 20)) return;
    const auto v = value.span<float>();
    auto& all = values[static_cast<std::size_t>(tensor)];
    all.insert(all.end(), v.begin(), v.end());
  }
  std::vector<std::vector<float>> values;
};

std::vector<std::vector<float>> trace(Lab& lab, Setup setup, const Dataset& data,
                                      std::size_t samples) {
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < std::min(samples, data.count); ++i)
    rows.push_back(i * data.count / std::min(samples, data.count));
  std::vector<std::vector<float>> result;
  observe(
      setup, data, lab.options(rows),
      [&](std::size_t) { return std::make_unique<Trace>(setup.model->main().tensors.size()); },
      [&](BlockObserver& b) { result = std::move(static_cast<Trace&>(b).values); });
  return result;
}

void match_values(Lab& lab, const World& world, Match& match) {
  const Graph &fl = world.fl.model->main(), &qt = world.qt.model->main();
  Setup quant_real = world.qt;
  quant_real.numerics = {.arith = Arith::kReal};
  quant_real.feed = Feed::kQuantize;
  const auto a = trace(lab, world.fl, world.data, 4);
  const auto b = trace(lab, quant_real, world.data, 4);
  std::vector<bool> taken(fl.tensors.size(), false);
  const auto ops = working_ops(qt);
  for (std::size_t i = 0; i < std::min(fl.inputs.size(), qt.inputs.size()); ++i)
    match.float_tensor[static_cast<std::size_t>(qt.inputs[i])] = fl.inputs[i];
  for (const int op : ops) {
    for (const int t : qt.ops[static_cast<std::size_t>(op)].outputs) {
      const auto& mine = b[static_cast<std::size_t>(t)];
      int best = -1, best_op = -1;
      double best_score = 0.9;
      for (std::size_t fo = 0; fo < fl.ops.size(); ++fo) {
        for (const int ft : fl.ops[fo].outputs) {
          const auto& theirs = a[static_cast<std::size_t>(ft)];
          if (taken[static_cast<std::size_t>(ft)] || theirs.size() != mine.size() || mine.empty())
            continue;
          double score = correlation(theirs, mine);
          if (fl.tensors[static_cast<std::size_t>(ft)].name ==
              qt.tensors[static_cast<std::size_t>(t)].name)
            score += 0.5;
          if (fl.ops[fo].code == qt.ops[static_cast<std::size_t>(op)].code) score += 0.02;
          if (score > best_score + 1e-6) {
            best_score = score;
            best = ft;
            best_op = static_cast<int>(fo);
          }
        }
      }
      if (best < 0) continue;
      taken[static_cast<std::size_t>(best)] = true;
      match.float_tensor[static_cast<std::size_t>(t)] = best;
      match.float_op[static_cast<std::size_t>(op)] = best_op;
    }
  }
  match.method = "values";
}

}  // namespace

Match match_models(Lab& lab, const World& world) {
  const Graph &fl = world.fl.model->main(), &qt = world.qt.model->main();
  Match match;
  match.float_tensor.assign(qt.tensors.size(), -1);
  match.float_op.assign(qt.ops.size(), -1);
  if (!match_structure(fl, qt, match)) match_values(lab, world, match);
  for (const int op : working_ops(qt)) {
    for (const int t : qt.ops[static_cast<std::size_t>(op)].outputs) {
      ++match.activations;
      if (match.float_tensor[static_cast<std::size_t>(t)] < 0) match.unaligned.push_back(t);
    }
  }
  return match;
}

std::map<int, Array> float_constants(const World& world, const Match& match) {
  const Graph &fl = world.fl.model->main(), &qt = world.qt.model->main();
  std::map<int, Array> result;
  for (std::size_t op = 0; op < qt.ops.size(); ++op) {
    if (match.float_op[op] < 0) continue;
    const Op& q = qt.ops[op];
    const Op& f = fl.ops[static_cast<std::size_t>(match.float_op[op])];
    if (q.code != f.code) continue;
    for (std::size_t i = 0; i < std::min(q.inputs.size(), f.inputs.size()); ++i) {
      const int tq = q.inputs[i];
      if (tq < 0 || f.inputs[i] < 0) continue;
      const int tf = behind_conversions(fl, f.inputs[i]);
      const Tensor& a = fl.tensors[static_cast<std::size_t>(tf)];
      const Tensor& b = qt.tensors[static_cast<std::size_t>(tq)];
      if (!a.constant || !b.constant || a.shape != b.shape || !is_quantizable(b.dtype)) continue;
      if (a.dtype != DType::kFloat32 && a.dtype != DType::kFloat16) continue;
      result[tq] = dequantize(*a.constant, {});
    }
  }
  return result;
}

}  // namespace litegap
