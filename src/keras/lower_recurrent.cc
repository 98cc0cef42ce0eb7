// Recurrent layers, unrolled: the number of time steps is known, so a step is a few operators and
// the file keeps no state between runs (the operators with state do: a second run would start where
// the first one ended).
//
//   LSTM      z = x W + b for all steps at once; then each step  i, f, c, o = split(z_t + h U)
//   GRU       z, r, h the same way; reset_after decides whether r multiplies h or h U
//   Masking   a step whose mask is false keeps the old state:  new m + old (1 - m)
//
// The state before the first step is zero unless the call gives one: its products are left out.
#include <algorithm>

#include "keras/lower.h"

namespace litegap {
namespace {

constexpr int kMostSteps = 2048;

enum class Kind { kSimple, kGru, kLstm };

struct Cell {
  LayerCall call;  // the cell's own configuration and variables
  Kind kind = Kind::kSimple;
  int units = 0, kernel = -1, recurrent = -1, bias = -1, recurrent_bias = -1;
  bool reset_after = true;
  std::size_t states() const { return kind == Kind::kLstm ? 2 : 1; }
  int gates() const { return kind == Kind::kLstm ? 4 : kind == Kind::kGru ? 3 : 1; }
};

using States = std::vector<int>;  // -1 = zero

int linear(GraphBuilder& b, int x, int weights, int bias) {
  if (bias < 0 || b.is_constant(bias)) return b.fully_connected(x, weights, bias);
  return b.add(b.fully_connected(x, weights, -1), bias);
}

Kind kind_of(const KerasLayer& layer) {
  const std::string& n = layer.class_name;
  if (n == "LSTM" || n == "LSTMCell") return Kind::kLstm;
  if (n == "GRU" || n == "GRUCell") return Kind::kGru;
  if (n == "SimpleRNN" || n == "SimpleRNNCell") return Kind::kSimple;
  refuse(layer, "this class of recurrent cell is not supported");
}

Cell make_cell(LayerCall& c, const KerasLayer& layer, const std::string& sub, int in) {
  Cell cell{LayerCall{c.lower, c.b, layer, {}, {}, {}}, kind_of(layer)};
  LayerCall& own = cell.call;
  if (c.training() && !c.lower.declaring &&
      (config_number(layer, "dropout", 0) != 0 ||
       config_number(layer, "recurrent_dropout", 0) != 0)) {
    refuse(layer, "dropout inside of a recurrent layer is not supported in training");
  }
  const int units = cell.units = config_int(layer, "units"), wide = units * cell.gates();
  if (units < 1 || units > (1 << 20)) refuse(layer, "units is {}", units);
  cell.kernel = own.weight({.name = "kernel",
                            .shape = {in, wide},
                            .perm = {1, 0},
                            .role = "kernel",
                            .sub = sub,
                            .initializer = "glorot_uniform"});
  cell.recurrent = own.weight({.name = "recurrent_kernel",
                               .shape = {units, wide},
                               .perm = {1, 0},
                               .role = "recurrent",
                               .sub = sub,
                               .initializer = "orthogonal"});
  cell.reset_after = config_bool(layer, "reset_after", true);
  if (!config_bool(layer, "use_bias", true)) return cell;
  const bool forget = cell.kind == Kind::kLstm && config_bool(layer, "unit_forget_bias", true);
  const bool two = cell.kind == Kind::kGru && cell.reset_after;
  const int bias = own.weight({.name = "bias",
                               .shape = two ? Shape{2, wide} : Shape{wide},
                               .role = "bias",
                               .sub = sub,
                               .initializer = forget ? "unit_forget_bias" : "zeros"});
  cell.bias = bias;
  if (two) {
    cell.bias = c.b.reshape(constant_part(own, bias, 0, 0, 1), {wide});
    cell.recurrent_bias = c.b.reshape(constant_part(own, bias, 0, 1, 2), {wide});
  }
  return cell;
}

int activate(Cell& cell, int x, const char* key, const char* absent) {
  const Json* named = config_value(cell.call.layer, key);
  if (named != nullptr) return lower_activation(cell.call, x, named);
  const bool silent = cell.call.layer.config.is_object() && cell.call.layer.config.contains(key);
  return silent ? x : lower_activation_named(cell.call, x, absent);
}
int outer(Cell& cell, int x) { return activate(cell, x, "activation", "tanh"); }
int gate(Cell& cell, int x) { return activate(cell, x, "recurrent_activation", "sigmoid"); }

// ---- one step: z = x W + b -> new states; the first is the output
// -----------------------------------
States lstm_step(Cell& cell, GraphBuilder& b, int z, const States& old) {
  if (old[0] >= 0) z = b.add(z, b.fully_connected(old[0], cell.recurrent, -1));
  const auto g = b.split(z, 1, 4);
  const int i = gate(cell, g[0]), f = old[1] >= 0 ? gate(cell, g[1]) : -1;
  int state = b.mul(i, outer(cell, g[2]));
  if (f >= 0) state = b.add(b.mul(f, old[1]), state);
  const int o = gate(cell, g[3]);
  return {b.mul(o, outer(cell, state)), state};
}

States gru_step(Cell& cell, GraphBuilder& b, int z, const States& old) {
  const int h = old[0];
  const auto x = b.split(z, 1, 3);
  int update = -1, candidate = -1;
  if (cell.reset_after) {
    int inner = h >= 0 ? linear(b, h, cell.recurrent, cell.recurrent_bias) : cell.recurrent_bias;
    if (inner >= 0 && h < 0)
      inner = b.add(b.mul(z, b.scalar(0)), inner);  // the bias alone, per row
    std::vector<int> r = inner >= 0 ? b.split(inner, 1, 3) : std::vector<int>(3, -1);
    const auto plus = [&](int u, int v) { return v < 0 ? u : b.add(u, v); };
    update = gate(cell, plus(x[0], r[0]));
    const int reset = gate(cell, plus(x[1], r[1]));
    candidate = outer(cell, r[2] < 0 ? x[2] : b.add(x[2], b.mul(reset, r[2])));
  } else {
    const int u = cell.units;
    const auto part = [&](int k) {
      return constant_part(cell.call, cell.recurrent, 0, k * u, (k + 1) * u);
    };
    const auto plus = [&](int v, int state, int k) {
      return state < 0 ? v : b.add(v, b.fully_connected(state, part(k), -1));
    };
    update = gate(cell, plus(x[0], h, 0));
    const int reset = h < 0 ? -1 : gate(cell, plus(x[1], h, 1));
    candidate = outer(cell, h < 0 ? x[2] : plus(x[2], b.mul(reset, h), 2));
  }
  const int fresh = b.mul(b.sub(b.scalar(1), update), candidate);
  return {h < 0 ? fresh : b.add(b.mul(update, h), fresh)};
}

States step(Cell& cell, GraphBuilder& b, int z, const States& old) {
  if (cell.kind == Kind::kLstm) return lstm_step(cell, b, z, old);
  if (cell.kind == Kind::kGru) return gru_step(cell, b, z, old);
  if (old[0] >= 0) z = b.add(z, b.fully_connected(old[0], cell.recurrent, -1));
  return {outer(cell, z)};
}

// ---- the sequence -------------------------------------------------------------------------------
std::vector<int> time_steps(LayerCall& c, int x) {
  GraphBuilder& b = c.b;
  const Shape s = b.shape(x);
  if (!c.training()) {
    return b.emit_many(OpCode::kUnpack, {x},
                       std::vector<Shape>(static_cast<std::size_t>(s[1]), Shape{s[0], s[2]}),
                       UnpackAttrs{s[1], 1}, DType::kFloat32);
  }
  std::vector<int> steps;
  for (int t = 0; t < s[1]; ++t) steps.push_back(b.reshape(b.slice(x, 1, t, t + 1), {s[0], s[2]}));
  return steps;
}

int joined(LayerCall& c, const std::vector<int>& steps) {
  GraphBuilder& b = c.b;
  const Shape s = b.shape(steps[0]);
  const auto n = static_cast<std::int32_t>(steps.size());
  if (!c.training()) return b.emit(OpCode::kPack, steps, {s[0], n, s[1]}, PackAttrs{n, 1});
  std::vector<int> parts;
  for (const int t : steps) parts.push_back(b.reshape(t, {s[0], 1, s[1]}));
  return b.concat(parts, 1);
}

struct Sequence {
  std::vector<int> outputs;  // in the order they were computed
  States last;
};

struct Keep {  // of one step: m and 1 - m, [batch, 1]
  int on = -1, off = -1;
};

int held(GraphBuilder& b, const Keep& keep, int fresh, int old) {
  const int now = b.mul(fresh, keep.on);
  return old < 0 ? now : b.add(now, b.mul(old, keep.off));
}

Sequence unroll(LayerCall& c, std::vector<Cell>& cells, int x, int mask, bool backwards,
                States states, bool zero_output) {
  GraphBuilder& b = c.b;
  const int steps = b.shape(x)[1];
  if (steps > kMostSteps) refuse(c.layer, "{} time steps, expected at most {}", steps, kMostSteps);
  const std::vector<int> z = time_steps(c, linear(b, x, cells[0].kernel, cells[0].bias));
  std::vector<Keep> keep;
  if (mask >= 0) {
    const int on = b.cast(mask, DType::kFloat32), off = b.sub(b.scalar(1), on);
    for (int t = 0; t < steps; ++t)
      keep.push_back({b.slice(on, 1, t, t + 1), b.slice(off, 1, t, t + 1)});
  }
  Sequence out;
  int previous = -1;
  for (int k = 0; k < steps; ++k) {
    const auto t = static_cast<std::size_t>(backwards ? steps - 1 - k : k);
    int in = z[t];
    States fresh;
    std::size_t at = 0;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) in = linear(b, in, cells[i].kernel, cells[i].bias);
      const auto first = states.begin() + static_cast<std::ptrdiff_t>(at);
      const States made =
          step(cells[i], b, in, {first, first + static_cast<std::ptrdiff_t>(cells[i].states())});
      at += cells[i].states();
      in = made[0];
      fresh.insert(fresh.end(), made.begin(), made.end());
    }
    int output = in;
    if (mask >= 0) {
      for (std::size_t i = 0; i < fresh.size(); ++i)
        fresh[i] = held(b, keep[t], fresh[i], states[i]);
      output = held(b, keep[t], in, zero_output ? -1 : previous);
    }
    states = fresh;
    previous = output;
    out.outputs.push_back(output);
  }
  out.last = states;
  return out;
}

// The cells of a recurrent layer: itself, or the cell or stack of cells that an RNN holds.
std::vector<Cell> cells_of(LayerCall& c, const KerasLayer& layer, int in) {
  std::vector<Cell> cells;
  if (layer.class_name != "RNN") {
    cells.push_back(make_cell(c, layer, "cell", in));
    return cells;
  }
  if (layer.children.empty()) refuse(layer, "has no cell");
  const KerasLayer& cell = *layer.children[0].second;
  if (cell.class_name != "StackedRNNCells") {
    cells.push_back(make_cell(c, cell, "", in));
    return cells;
  }
  for (const auto& [attribute, one] : cell.children) {
    cells.push_back(make_cell(c, *one, "", in));
    in = cells.back().units;
  }
  if (cells.empty()) refuse(layer, "has an empty stack of cells");
  return cells;
}

// Initial states: further tensors of the first argument, or the keyword initial_state.
States given_states(LayerCall& c) {
  States all;
  const auto take = [&](const auto& self, const Json& v) -> void {
    if (v.is_object() && v.contains("$")) {
      all.push_back(c.b.cast(c.values[v["$"].get<std::size_t>()].tensor, DType::kFloat32));
    } else if (v.is_array()) {
      for (const Json& item : v) self(self, item);
    }
  };
  take(take, c.args);
  if (!all.empty()) all.erase(all.begin());
  if (c.kwargs.is_object() && c.kwargs.contains("initial_state"))
    take(take, c.kwargs["initial_state"]);
  return all;
}

struct Direction {
  Sequence sequence;
  bool whole = false, states = false;  // return_sequences, return_state
};

Direction run_direction(LayerCall& c, const KerasLayer& layer, int x, int mask, States states,
                        std::optional<bool> zero_output) {
  if (config_bool(layer, "stateful", false)) {
    refuse(layer, "stateful: a .tflite of it would have to keep its state between calls");
  }
  if (config_bool(layer, "time_major", false)) refuse(layer, "time_major is not supported");
  if (c.b.rank(x) != 3) {
    refuse(layer, "its input has shape {}, expected [batch, time, features]",
           shape_text(c.b.shape(x)));
  }
  std::vector<Cell> cells = cells_of(c, layer, c.b.shape(x)[2]);
  std::size_t n = 0;
  for (const Cell& cell : cells) n += cell.states();
  if (states.empty()) states.assign(n, -1);
  if (states.size() != n) refuse(layer, "{} initial states, expected {}", states.size(), n);
  Direction d;
  d.whole = config_bool(layer, "return_sequences", false);
  d.states = config_bool(layer, "return_state", false);
  d.sequence = unroll(c, cells, x, mask, config_bool(layer, "go_backwards", false), states,
                      zero_output.value_or(config_bool(layer, "zero_output_for_mask", false)));
  return d;
}

int result_of(LayerCall& c, const Direction& d, bool reversed) {
  if (!d.whole) return d.sequence.outputs.back();
  std::vector<int> steps = d.sequence.outputs;
  if (reversed) std::reverse(steps.begin(), steps.end());
  return joined(c, steps);
}

std::vector<LayerValue> lower_recurrent(LayerCall& c) {
  const int mask = c.mask();
  const Direction d = run_direction(c, c.layer, c.x(), mask, given_states(c), {});
  std::vector<LayerValue> out = c.one(result_of(c, d, false), d.whole ? mask : -1);
  if (d.states) {
    for (const int s : d.sequence.last) out.push_back({s, -1});
  }
  return out;
}

std::vector<LayerValue> lower_bidirectional(LayerCall& c) {
  GraphBuilder& b = c.b;
  const KerasLayer &ahead = *c.layer.children[0].second, &back = *c.layer.children[1].second;
  const int mask = c.mask(), x = c.x();
  States states = given_states(c);
  const auto half = static_cast<std::ptrdiff_t>(states.size() / 2);
  const bool whole = config_bool(ahead, "return_sequences", false);
  // Keras makes both directions give zeros at masked steps when they return sequences.
  const Direction f =
      run_direction(c, ahead, x, mask, {states.begin(), states.begin() + half}, whole);
  const Direction r = run_direction(c, back, x, mask, {states.begin() + half, states.end()}, whole);
  const int u = result_of(c, f, false), v = result_of(c, r, true);
  const Json* merge = config_value(c.layer, "merge_mode");
  const bool apart = merge == nullptr && c.layer.config.contains("merge_mode");
  const std::string how = config_text(c.layer, "merge_mode", "concat");
  std::vector<LayerValue> out;
  const int passed = whole ? mask : -1;
  if (apart) {
    out = {{u, passed}, {v, passed}};
  } else if (how == "concat") {
    out = c.one(b.concat({u, v}, b.rank(u) - 1), passed);
  } else if (how == "sum") {
    out = c.one(b.add(u, v), passed);
  } else if (how == "ave") {
    out = c.one(b.mul(b.add(u, v), b.scalar(0.5f)), passed);
  } else if (how == "mul") {
    out = c.one(b.mul(u, v), passed);
  } else {
    refuse(c.layer, "merge_mode {}", how);
  }
  if (f.states) {
    for (const int s : f.sequence.last) out.push_back({s, -1});
    for (const int s : r.sequence.last) out.push_back({s, -1});
  }
  return out;
}

// Every time step is a sample: [batch, time, ..] -> [batch * time, ..] and back.
std::vector<LayerValue> lower_time_distributed(LayerCall& c) {
  GraphBuilder& b = c.b;
  const int x = c.raw();
  const Shape s = b.shape(x);
  if (s.size() < 3)
    refuse(c.layer, "its input has shape {}, expected 3 or more dimensions", shape_text(s));
  Shape flat = {s[0] * s[1]};
  flat.insert(flat.end(), s.begin() + 2, s.end());
  std::vector<LayerValue> out =
      c.lower.call_inner(*c.layer.children[0].second, {{b.reshape(x, flat), -1}});
  for (LayerValue& v : out) {
    const Shape o = b.shape(v.tensor);
    Shape back = {s[0], s[1]};
    back.insert(back.end(), o.begin() + 1, o.end());
    v = {b.reshape(v.tensor, back), -1};
  }
  return out;
}

std::vector<LayerValue> lower_masking(LayerCall& c) {
  GraphBuilder& b = c.b;
  const int x = c.x();
  if (b.rank(x) < 3) refuse(c.layer, "its input has shape {}", shape_text(b.shape(x)));
  const int value = b.scalar(static_cast<float>(config_number(c.layer, "mask_value", 0)));
  const int other = b.cast(b.binary(OpCode::kNotEqual, x, value), DType::kFloat32);
  const int any = b.reduce(OpCode::kReduceMax, other, {-1}, true);
  Shape steps = b.shape(any);
  steps.pop_back();
  const int mask = b.binary(OpCode::kNotEqual, b.reshape(any, steps), b.scalar(0));
  return c.one(b.mul(x, any), mask);
}

}  // namespace

std::span<const LayerRow> recurrent_layers() {
  static constexpr LayerRow rows[] = {{"LSTM", lower_recurrent},
                                      {"GRU", lower_recurrent},
                                      {"SimpleRNN", lower_recurrent},
                                      {"RNN", lower_recurrent},
                                      {"Bidirectional", lower_bidirectional},
                                      {"TimeDistributed", lower_time_distributed, true},
                                      {"Masking", lower_masking}};
  return rows;
}

}  // namespace litegap
