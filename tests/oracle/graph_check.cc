#include "oracle/graph_check.h"

#include <cstring>

#include "run/plan.h"

namespace litegap::oracle {
namespace {

std::string graph_text(const Model& model) {
  std::string s;
  const Graph& g = model.main();
  const auto list = [&](const std::vector<int>& tensors) {
    std::string t;
    for (const int i : tensors) {
      t += i < 0 ? " -"
                 : fmt::format(" {}:{}{}", i,
                               dtype_name(g.tensors[static_cast<std::size_t>(i)].dtype),
                               shape_text(g.tensors[static_cast<std::size_t>(i)].shape));
    }
    return t;
  };
  for (const Op& op : g.ops)
    s += fmt::format("\n  {} ({} ) ->{}", op.name(), list(op.inputs), list(op.outputs));
  return s;
}

// What a variable holds before the first run: zero, as its type has it.
Array initial(const Tensor& t) {
  Array a = Array::zeros(t.dtype, t.shape);
  const bool bytes = t.dtype == DType::kInt8 || t.dtype == DType::kUint8;
  for (std::size_t i = 0; i < a.elements() && bytes && !t.quant.empty(); ++i)
    put_integer(a, i, t.quant.zero_point[0]);
  return a;
}

// The values of all tensors before the operators run.
std::vector<Array> known_values(const Model& model, const std::vector<Array>& inputs) {
  const Graph& g = model.main();
  std::vector<Array> values(g.tensors.size());
  for (std::size_t t = 0; t < values.size(); ++t) {
    if (g.tensors[t].constant) values[t] = *g.tensors[t].constant;
    if (g.tensors[t].is_variable) values[t] = initial(g.tensors[t]);
  }
  for (std::size_t i = 0; i < inputs.size(); ++i)
    values[static_cast<std::size_t>(g.inputs[i])] = inputs[i];
  return values;
}

std::string judge_graph(const Model& model, const Workspace& space, Dialect dialect,
                        std::vector<Array> values, GraphCheck* check) {
  const Graph& g = model.main();
  for (std::size_t i = 0; i < g.ops.size(); ++i) {
    const Op& op = g.ops[i];
    const Verdict v = judge_node(*judge_of(op), node_of(model, i, dialect, values));
    std::vector<Array> found;
    for (std::size_t k = 0; k < op.outputs.size(); ++k) {
      const int t = op.outputs[k];
      Array value = space.tensor(t);
      // What nothing reads may have no place of its own.
      if (value.dtype() != g.tensors[static_cast<std::size_t>(t)].dtype ||
          value.shape() != g.tensors[static_cast<std::size_t>(t)].shape)
        return fmt::format("#{} {}: tensor {} has no value", i, op.name(), t);
      found.push_back(value);
      values[static_cast<std::size_t>(t)] = value;
    }
    if (!v.silent.empty()) {
      ++check->silent;
      continue;
    }
    ++check->judged;
    std::string wrong = disagreement(v, found);
    for (const auto& [input, state] : v.states) {
      if (wrong.empty())
        wrong = difference_of(space.tensor(op.inputs[input]), state, v.tolerance, v.scale);
    }
    if (!wrong.empty()) return fmt::format("#{} {}: {}", i, op.name(), wrong);
  }
  return "";
}

}  // namespace

Sketch sketch_graph(Draw& draw, int ops, Dialect dialect) {
  Sketch s(draw, true, dialect);
  const auto all = judges();
  for (int tries = 0; tries < 4 * ops && s.ops() < static_cast<std::size_t>(ops); ++tries) {
    const Judge& j = all[static_cast<std::size_t>(draw.in(0, static_cast<int>(all.size()) - 1))];
    Op op;
    op.code = j.code;
    op.custom_code = j.custom != nullptr ? j.custom : "";
    const auto asks = asks_of(*kernel_row(op));
    s.grow(j, asks[static_cast<std::size_t>(draw.in(0, static_cast<int>(asks.size()) - 1))]);
  }
  return s;
}

GraphCheck check_graph(Draw& draw, int ops) {
  GraphCheck check;
  const Dialect dialect = draw.dialect();
  Sketch s = sketch_graph(draw, ops, dialect);
  check.ops = static_cast<int>(s.ops());
  if (s.ops() == 0) return check;
  const ModelPtr model = s.model();
  Numerics numerics;
  numerics.dialect = dialect;
  const auto say = [&](const std::string& what) {
    check.wrong = fmt::format("{}: {}{}", dialect_name(dialect), what, graph_text(*model));
    return check;
  };
  try {
    PlanOptions keep;
    keep.keep_values = true;
    const Plan keeping = make_plan(model, numerics, keep), sharing = make_plan(model, numerics);
    Workspace a(keeping), b(sharing);
    run(keeping, a, s.inputs());
    const std::string wrong =
        judge_graph(*model, a, dialect, known_values(*model, s.inputs()), &check);
    if (!wrong.empty()) return say(wrong);
    run(sharing, b, s.inputs());
    for (std::size_t i = 0; i < keeping.output_count(); ++i) {
      const auto x = a.output(i).bytes(), y = b.output(i).bytes();
      if (x.size() != y.size() || (!x.empty() && std::memcmp(x.data(), y.data(), x.size()) != 0))
        return say(fmt::format("output {} changes when values share memory", i));
    }
  } catch (const Error& e) {
    return say(
        fmt::format("every operator is taken by itself, the graph is refused: {}", e.what()));
  }
  return check;
}

}  // namespace litegap::oracle
