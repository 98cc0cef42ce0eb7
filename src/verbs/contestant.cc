#include "verbs/contestant.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "data/npy.h"
#include "diagnose/technique.h"
#include "model/unset.h"
#include "verbs/load.h"

namespace litegap {
namespace {

// A model with nothing but outputs, so that recorded ones can be described like a model's.
ModelPtr outputs_only(const std::string& path, const Predictions& p) {
  auto model = std::make_shared<Model>();
  model->path = path;
  model->graphs.emplace_back();
  for (const Array& out : p.outputs) {
    Tensor t;
    t.shape = out.shape();
    t.shape[0] = 1;
    model->main().outputs.push_back(static_cast<int>(model->main().tensors.size()));
    model->main().tensors.push_back(std::move(t));
  }
  return model;
}

Array as_float(const Array& a) { return apply_input_map(InputMap{}, a, a.shape()); }

Predictions read_outputs(const std::string& path, std::size_t count) {
  const NamedArrays arrays = read_npz(path);
  Predictions p;
  p.count = count;
  while (const Array* out = find_array(arrays, fmt::format("out_{}", p.outputs.size()))) {
    if (out->shape().empty() || static_cast<std::size_t>(out->shape()[0]) != count) {
      fail("{}: out_{} has shape {}, expected {} rows", path, p.outputs.size(),
           shape_text(out->shape()), count);
    }
    p.outputs.push_back(as_float(*out));
  }
  if (p.outputs.empty()) fail("{}: recorded outputs are named out_0, out_1 ...; none found", path);
  return p;
}

bool takes_codes(const Model& model) {
  const Graph& g = model.main();
  return std::any_of(g.inputs.begin(), g.inputs.end(), [&](int i) {
    const Tensor& t = g.tensors[static_cast<std::size_t>(i)];
    return t.dtype != DType::kFloat32 && !t.quant.empty();
  });
}

bool has_state(const Model& model) {
  const auto& tensors = model.main().tensors;
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.is_variable; });
}

// A loop over the stock runtime keeps variable tensors from one invoke() to the next, unless it
// calls reset_all_variables(): what such a loop measures is what is reported, and said.
void choose_state(Contestant& c, const EvalRequest& a, std::vector<Decision>& decisions) {
  if (!has_state(*c.setup.model)) return;
  if (a.reset_state) {
    decisions.push_back({c.path + ": state", "reset before every sample", "--reset-state", {}});
    return;
  }
  c.plan = make_plan(c.setup.model, c.setup.numerics);
  c.workspace.emplace(*c.plan);
  decisions.push_back({c.path + ": state",
                       "carried over from sample to sample",
                       "the runtime does so unless the program calls reset_all_variables(); "
                       "--reset-state evaluates every sample from the start",
                       {"--reset-state"}});
}

Contestant make_contestant(const std::string& path, const EvalRequest& a, const Dataset& data,
                           std::vector<Decision>& decisions) {
  Contestant c;
  c.path = path;
  c.bytes = file_size(path);
  if (path.ends_with(".npz")) {
    c.technique = "recorded";
    c.recorded = true;
    c.known = read_outputs(path, data.count);
    c.setup.model = outputs_only(path, *c.known);
    c.data = data;
    return c;
  }
  c.setup.model = load_model(path);
  c.technique = identify(*c.setup.model).name;
  c.setup.numerics.dialect = a.dialect;
  if (!a.input_map.empty()) c.setup.input_map = parse_input_map(a.input_map);
  Dataset bare = data;
  bare.decisions.clear();
  c.data = bind_dataset(bare, *c.setup.model, c.setup.input_map);
  for (const Decision& d : c.data.decisions)
    decisions.push_back({path + ": " + d.item, d.chosen, d.because, d.alternatives});
  if (!data.quant_inputs.empty() && takes_codes(*c.setup.model)) {
    c.setup.feed = Feed::kAsGiven;
    decisions.push_back({path + ": input",
                         "x_quant",
                         "the data hold the codes that the user's own "
                         "code hands to a quantized model",
                         {}});
  }
  choose_state(c, a, decisions);
  return c;
}

Predictions room_for(const Plan& plan, std::size_t count) {
  Predictions p;
  p.count = count;
  for (std::size_t j = 0; j < plan.output_count(); ++j) {
    Shape shape = plan.output_shape(j);
    const auto n = static_cast<std::int32_t>(count);
    if (!shape.empty() && shape[0] == 1) {
      shape[0] = n;
    } else {
      shape.insert(shape.begin(), n);
    }
    p.outputs.push_back(unset_array(DType::kFloat32, shape));
  }
  return p;
}

// The rows one after another, with the state that the rows before them left.
void answer_carrying(Contestant& c, std::span<const std::size_t> rows, Predictions& to) {
  const Plan& plan = *c.plan;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::vector<Array> inputs;
    for (std::size_t i = 0; i < plan.input_count(); ++i)
      inputs.push_back(feed_input(c.setup, plan, c.data, i, rows[r]));
    run(plan, *c.workspace, inputs);
    for (std::size_t j = 0; j < plan.output_count(); ++j) {
      const Array& out = c.workspace->output(j);
      if (out.elements() * to.count != to.outputs[j].elements()) {
        fail("{}: output {} of sample {} has shape {}, expected {}", plan.model().path, j, rows[r],
             shape_text(out.shape()), shape_text(plan.output_shape(j)));
      }
      const bool codes = out.dtype() != DType::kFloat32 && !plan.output_quant(j).empty();
      const Array real = codes ? dequantize(out, plan.output_quant(j)) : as_float(out);
      std::memcpy(to.outputs[j].mutable_data() + r * real.byte_size(), real.data(),
                  real.byte_size());
    }
  }
}

void copy_rows(const Predictions& from, std::span<const std::size_t> rows, Predictions& to) {
  for (std::size_t j = 0; j < from.outputs.size(); ++j) {
    const Array& a = from.outputs[j];
    const std::size_t bytes = from.count == 0 ? 0 : a.byte_size() / from.count;
    for (std::size_t i = 0; i < rows.size(); ++i)
      std::memcpy(to.outputs[j].mutable_data() + i * bytes, a.data() + rows[i] * bytes, bytes);
  }
}

// Room for `count` rows like those of `p`.
Predictions room_like(const Predictions& p, std::size_t count) {
  Predictions room;
  room.count = count;
  for (const Array& a : p.outputs) {
    Shape shape = a.shape();
    shape[0] = static_cast<std::int32_t>(count);
    room.outputs.push_back(unset_array(DType::kFloat32, shape));
  }
  return room;
}

}  // namespace

std::vector<Contestant> make_contestants(const EvalRequest& a, const Dataset& data,
                                         std::vector<Decision>& decisions) {
  std::vector<Contestant> all;
  if (a.dialects.size() < 2) {
    for (const std::string& path : a.models) {
      all.push_back(make_contestant(path, a, data, decisions));
    }
    return all;
  }
  if (a.models.size() != 1) {
    fail("comparing dialects takes one model, found {}", a.models.size());
  }
  EvalRequest one = a;
  for (const Dialect d : a.dialects) {
    one.dialect = d;
    std::vector<Decision> again;
    all.push_back(make_contestant(a.models[0], one, data, all.empty() ? decisions : again));
    if (all.back().recorded) fail("{}: recorded outputs have no dialects", a.models[0]);
    all.back().dialect = dialect_name(d);
  }
  return all;
}

bool carries_state(const Contestant& c) { return !c.known && c.plan; }

void open_contestant(Contestant& c, std::size_t most, std::size_t first) {
  if (!c.known && !c.plan) c.predictor.emplace(c.setup, c.data, most, first);
}

Predictions room_of(const Contestant& c, std::size_t count) {
  return c.known  ? room_like(*c.known, count)
         : c.plan ? room_for(*c.plan, count)
                  : c.predictor->room(count);
}

void answer(Contestant& c, int worker, std::span<const std::size_t> rows, Predictions& to) {
  if (c.known) return copy_rows(*c.known, rows, to);
  if (c.plan) return answer_carrying(c, rows, to);
  c.predictor->run_part(worker, rows, to);
}

Predictions rows_of(const Predictions& p, std::span<const std::size_t> rows) {
  Predictions some = room_like(p, rows.size());
  copy_rows(p, rows, some);
  return some;
}

}  // namespace litegap
