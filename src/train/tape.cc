#include "train/tape.h"

#include <algorithm>
#include <map>

#include "train/borrow.h"

namespace litegap {
namespace {

const std::map<OpCode, StepRow>& table() {
  static const std::map<OpCode, StepRow> all = [] {
    std::map<OpCode, StepRow> m;
    for (const auto& family :
         {conv_steps(), dense_steps(), pool_steps(), unary_steps(), binary_steps(), reduce_steps(),
          norm_steps(), move_steps(), fake_steps(), fold_steps(), still_steps()}) {
      for (const StepRow& row : family) m.emplace(row.code, row);
    }
    return m;
  }();
  return all;
}

bool reshapes(OpCode code) {
  return code == OpCode::kReshape || code == OpCode::kSqueeze || code == OpCode::kExpandDims;
}
bool keeps_shape(OpCode code) {
  return code == OpCode::kTrainBatchNorm || code == OpCode::kTrainDropout ||
         code == OpCode::kTrainFake || code == OpCode::kTrainFoldedNorm;
}

// Layers whose other axes do not depend on the batch: the input whose first axis it is; -1 = none.
int batch_input(OpCode code) {
  switch (code) {
    case OpCode::kConv2d:
    case OpCode::kDepthwiseConv2d:
    case OpCode::kFullyConnected:
    case OpCode::kAveragePool2d:
    case OpCode::kMaxPool2d:
      return 0;
    case OpCode::kTransposeConv:
      return 2;
    default:
      return -1;
  }
}

std::size_t z(int i) { return static_cast<std::size_t>(i); }

template <class T>
std::vector<T> values_of(const Array& a, const std::string& name) {
  const auto copy = [&](auto span) { return std::vector<T>(span.begin(), span.end()); };
  switch (a.dtype()) {
    case DType::kFloat32:
      return copy(a.span<float>());
    case DType::kInt32:
      return copy(a.span<std::int32_t>());
    case DType::kInt64:
      return copy(a.span<std::int64_t>());
    case DType::kBool:
      return copy(a.span<bool>());
    case DType::kInt8:
      return copy(a.span<std::int8_t>());
    case DType::kUint8:
      return copy(a.span<std::uint8_t>());
    default:
      fail("{}: a constant of type {} cannot be trained with", name, dtype_name(a.dtype()));
  }
}

// Which tensors want a gradient: those that depend on something trained and reach the seed.
std::vector<bool> wanted(const TrainGraph& graph, const TapeOptions& options) {
  const Graph& g = graph.model.main();
  std::vector<bool> depends(g.tensors.size(), false), reaches(g.tensors.size(), false);
  if (options.seed < 0) return depends;
  for (const TrainParameter& p : graph.parameters) depends[z(p.tensor)] = p.trainable;
  if (options.input_grads) {
    for (const int t : g.inputs) depends[z(t)] = g.tensors[z(t)].dtype == DType::kFloat32;
  }
  for (const Op& op : g.ops) {
    const StepRow* row = step_row(op.code);
    if (row == nullptr || !row->differentiable) continue;
    bool any = false;
    for (const int t : op.inputs) any = any || (t >= 0 && depends[z(t)]);
    for (const int t : op.outputs) depends[z(t)] = any;
  }
  reaches[z(options.seed)] = true;
  for (std::size_t i = g.ops.size(); i-- > 0;) {
    const Op& op = g.ops[i];
    const StepRow* row = step_row(op.code);
    bool any = false;
    for (const int t : op.outputs) any = any || reaches[z(t)];
    if (!any || row == nullptr || !row->differentiable) continue;
    for (const int t : op.inputs)
      if (t >= 0) reaches[z(t)] = true;
  }
  for (std::size_t t = 0; t < depends.size(); ++t) depends[t] = depends[t] && reaches[t];
  return depends;
}

// Places for gradients; a group is alive from its last reader's backward to its producer's.
struct Place {
  std::size_t offset = 0, count = 0;
  int first = 0, last = 0;  // operators: producer, last reader
};

std::size_t place(std::vector<Place*> all) {
  std::stable_sort(all.begin(), all.end(),
                   [](const Place* a, const Place* b) { return a->count > b->count; });
  std::size_t end = 0;
  std::vector<Place*> placed;
  for (Place* p : all) {
    std::vector<std::pair<std::size_t, std::size_t>> taken;
    for (const Place* q : placed)
      if (q->first <= p->last && p->first <= q->last) taken.push_back({q->offset, q->count});
    std::sort(taken.begin(), taken.end());
    std::size_t at = 0;
    for (const auto& [offset, count] : taken) {
      if (at + p->count <= offset) break;
      at = std::max(at, offset + count);
    }
    p->offset = at;
    end = std::max(end, at + p->count);
    placed.push_back(p);
  }
  return end;
}

}  // namespace

const StepRow* step_row(OpCode code) {
  const auto it = table().find(code);
  return it == table().end() ? nullptr : &it->second;
}

std::vector<OpCode> step_codes() {
  std::vector<OpCode> codes;
  for (const auto& [code, row] : table()) codes.push_back(code);
  return codes;
}

std::vector<std::int64_t> constant_integers(const Tensor& tensor, const std::string& label) {
  if (!tensor.constant) fail("{}: {} has to be a constant", label, tensor.name);
  return values_of<std::int64_t>(*tensor.constant, tensor.name);
}

std::vector<Shape> shapes_at_batch(const TrainGraph& graph, int batch) {
  const Graph& g = graph.model.main();
  std::vector<Shape> shapes;
  for (const Tensor& t : g.tensors) shapes.push_back(t.constant ? t.constant->shape() : t.shape);
  if (batch == graph.batch) return shapes;
  for (const int t : g.inputs)
    if (!shapes[z(t)].empty()) shapes[z(t)][0] = batch;
  for (std::size_t i = 0; i < g.ops.size(); ++i) {
    const Op& op = g.ops[i];
    if (op.code == OpCode::kTrainFold) continue;  // weights know no batch
    if (keeps_shape(op.code)) {
      shapes[z(op.outputs[0])] = shapes[z(op.inputs[0])];
      continue;
    }
    if (const int x = batch_input(op.code); x >= 0) {
      // A flattening FULLY_CONNECTED has as many rows as its input has, or as the batch has.
      const int from = op.inputs[z(x)], to = op.outputs[0];
      const std::int32_t was = g.tensors[z(from)].shape[0], now = shapes[z(from)][0];
      shapes[z(to)][0] = static_cast<std::int32_t>(std::int64_t{shapes[z(to)][0]} * now / was);
      continue;
    }
    const Borrowed b = borrow(g, static_cast<int>(i), shapes, graph.batch, batch);
    for (std::size_t o = 0; o < op.outputs.size(); ++o) shapes[z(op.outputs[o])] = b.outputs[o];
  }
  return shapes;
}

template <class T>
Weights<T> initial_weights(const TrainGraph& graph) {
  Weights<T> w;
  for (const TrainParameter& p : graph.parameters) {
    const Tensor& t = graph.model.main().tensors[z(p.tensor)];
    w.value.push_back(values_of<T>(*t.constant, t.name));
    w.grad.emplace_back(w.value.back().size(), T(0));
    std::size_t readers = 0, tables = 0;
    for (const Op& op : graph.model.main().ops) {
      for (const int input : op.inputs) readers += input == p.tensor ? 1 : 0;
      tables += op.code == OpCode::kGather && op.inputs[0] == p.tensor ? 1 : 0;
    }
    w.square.emplace_back(tables > 0 && tables == readers ? w.value.back().size() : 0, T(0));
  }
  return w;
}
template Weights<float> initial_weights(const TrainGraph&);
template Weights<double> initial_weights(const TrainGraph&);

std::vector<Array> weight_arrays(const TrainGraph& graph, const Weights<float>& weights) {
  std::vector<Array> all;
  for (std::size_t i = 0; i < graph.parameters.size(); ++i) {
    const Tensor& t = graph.model.main().tensors[z(graph.parameters[i].tensor)];
    all.push_back(Array::of<float>(t.constant->shape(), weights.value[i]));
  }
  return all;
}

template <class T>
Tape<T>::Tape(const TrainGraph& graph, Weights<T>& weights, int batch, const TapeOptions& options)
    : batch_(batch), shapes_(shapes_at_batch(graph, batch)) {
  const Graph& g = graph.model.main();
  const std::size_t n = g.tensors.size();
  const int ops = static_cast<int>(g.ops.size());
  const std::vector<bool> wants = wanted(graph, options);
  // Reshaped tensors lie on their source.
  std::vector<int> root(n);
  for (std::size_t t = 0; t < n; ++t) root[t] = static_cast<int>(t);
  for (const Op& op : g.ops)
    if (reshapes(op.code)) root[z(op.outputs[0])] = root[z(op.inputs[0])];

  std::vector<int> parameter(n, -1);
  for (std::size_t i = 0; i < graph.parameters.size(); ++i)
    parameter[z(graph.parameters[i].tensor)] = static_cast<int>(i);
  std::vector<std::size_t> offset(n, 0);
  std::size_t total = 0;
  const auto lies_in_arena = [&](std::size_t t) {
    return root[t] == static_cast<int>(t) && parameter[t] < 0 && !g.tensors[t].constant;
  };
  for (std::size_t t = 0; t < n; ++t) {
    if (!lies_in_arena(t)) continue;
    offset[t] = total;
    total += (shape_elements(shapes_[t]) + 15) / 16 * 16;
  }
  value_arena_.assign(total, T(0));
  values_.assign(n, nullptr);
  grads_.assign(n, nullptr);
  own_.resize(n);
  for (std::size_t t = 0; t < n; ++t) {
    if (root[t] != static_cast<int>(t)) continue;
    if (parameter[t] >= 0) {
      values_[t] = weights.value[z(parameter[t])].data();
      if (wants[t]) grads_[t] = weights.grad[z(parameter[t])].data();
    } else if (g.tensors[t].constant) {
      own_[t] = values_of<T>(*g.tensors[t].constant, g.tensors[t].name);
      values_[t] = own_[t].data();
    } else {
      values_[t] = value_arena_.data() + offset[t];
    }
  }
  // Gradients of everything that is no parameter.
  std::vector<Place> places(n);
  std::vector<bool> placed(n, false);
  for (std::size_t t = 0; t < n; ++t) places[t] = {0, shape_elements(shapes_[t]), -1, -1};
  for (int i = 0; i < ops; ++i) {
    for (const int t : g.ops[z(i)].inputs)
      if (t >= 0) places[z(root[z(t)])].last = i;
    for (const int t : g.ops[z(i)].outputs)
      if (root[z(t)] == t) places[z(t)].first = i;
  }
  for (std::size_t t = 0; t < n; ++t)
    if (wants[t] && parameter[z(root[t])] < 0) placed[z(root[t])] = true;
  if (options.seed >= 0) places[z(root[z(options.seed)])].last = ops;
  std::vector<Place*> all;
  for (std::size_t t = 0; t < n; ++t) {
    if (!placed[t]) continue;
    if (places[t].first < 0) places[t].last = ops;  // a gradient of an input is read at the end
    places[t].last = std::max(places[t].last, places[t].first);
    all.push_back(&places[t]);
  }
  grad_arena_.assign(place(all), T(0));
  for (std::size_t t = 0; t < n; ++t) {
    const std::size_t r = z(root[t]);
    values_[t] = values_[r];
    if (placed[r]) grads_[t] = wants[t] ? grad_arena_.data() + places[r].offset : nullptr;
    if (parameter[r] >= 0 && wants[t]) grads_[t] = weights.grad[z(parameter[r])].data();
  }

  const auto port = [&](int t) {
    Port<T> p;
    if (t < 0) return p;
    p.present = true;
    p.value = values_[z(t)];
    p.grad = grads_[z(t)];
    if (parameter[z(t)] >= 0 && !weights.square[z(parameter[z(t)])].empty())
      p.square = weights.square[z(parameter[z(t)])].data();
    p.shape = shapes_[z(t)];
    p.count = shape_elements(p.shape);
    return p;
  };
  std::vector<Step<T>> steps;
  for (int i = 0; i < ops; ++i) {
    const Op& op = g.ops[z(i)];
    const StepRow* row = step_row(op.code);
    Node<T> node;
    node.model = &graph.model;
    node.op = &op;
    node.index = i;
    node.mode = options.mode;
    if (row == nullptr) fail("{}: cannot be trained through", node.label());
    for (const int t : op.inputs) node.in.push_back(port(t));
    for (const int t : op.outputs) node.out.push_back(port(t));
    node.aliased = reshapes(op.code);
    if constexpr (std::is_same_v<T, float>) {
      steps.push_back(row->make_float(node));
    } else {
      steps.push_back(row->make_double(node));
    }
  }
  const int input_clear = ops;  // gradients of inputs are cleared first of all
  std::vector<std::vector<Clear>> clears(z(ops) + 1);
  for (std::size_t t = 0; t < n; ++t) {
    if (!placed[t] || (options.seed >= 0 && root[z(options.seed)] == static_cast<int>(t))) continue;
    const int when = places[t].first < 0 ? input_clear : places[t].last;
    clears[z(std::min(when, ops))].push_back(
        {grad_arena_.data() + places[t].offset, places[t].count});
  }
  Back start;
  start.clear = clears[z(ops)];
  if (!start.clear.empty()) backward_.push_back(start);
  for (int i = ops; i-- > 0;) {
    const Op& op = g.ops[z(i)];
    bool any_in = false, any_out = false;
    for (const int t : op.inputs) any_in = any_in || (t >= 0 && wants[z(t)]);
    for (const int t : op.outputs) any_out = any_out || wants[z(t)];
    Back b;
    b.clear = clears[z(i)];
    if (any_in && any_out && !reshapes(op.code) && step_row(op.code)->differentiable)
      b.run = steps[z(i)].backward;
    if (b.run || !b.clear.empty()) backward_.push_back(std::move(b));
  }
  for (int i = 0; i < ops; ++i)
    if (!reshapes(g.ops[z(i)].code)) forward_.push_back(std::move(steps[z(i)]));
}

template <class T>
void Tape<T>::forward() {
  for (const Step<T>& s : forward_) s.forward();
}

template <class T>
void Tape<T>::backward() {
  for (const Back& b : backward_) {
    for (const Clear& c : b.clear) std::fill(c.data, c.data + c.count, T(0));
    if (b.run) b.run();
  }
}

template class Tape<float>;
template class Tape<double>;

}  // namespace litegap
