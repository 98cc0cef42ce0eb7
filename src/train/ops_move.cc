// Operators that put elements elsewhere, unchanged: TRANSPOSE, PAD, CONCATENATION, slices, splits,
// packs, tiles, GATHER by constant indices, nearest-neighbour resizing …
//
// The kernel of the runtime is run once on numbers 1, 2, 3 … instead of values: what comes out says
// for every output which input element it is (0: none, a padded place).  Neighbouring elements are
// joined into runs, so that a concatenation is a few copies per pixel.
//
//   TRANSPOSE [2, 2]   1 2 3 4  ->  1 3 2 4;     PAD [2] by 1   1 2  ->  0 1 2 0
//
// Reshapes are not copied at all: their output lies where the input lies (tape.cc).  GATHER by
// indices that are computed or fed reads a table row by row.
#include <algorithm>
#include <cstring>

#include "train/borrow.h"
#include "train/step.h"

namespace litegap {
namespace {

struct Run {
  std::size_t to, from, count;
};

// Runs by (output, input).
struct Moves {
  std::size_t output, input;
  std::vector<Run> runs;
};

template <class T>
std::vector<Moves> trace(const Node<T>& n, const std::vector<bool>& moves, bool* padded) {
  // Numbers as int32; the kernel that only takes floats counts exactly up to 2^24.
  const bool floats = n.op->code == OpCode::kResizeNearestNeighbor;
  const DType dtype = floats ? DType::kFloat32 : DType::kInt32;
  if (floats && n.in[0].count >= (std::size_t{1} << 24))
    fail("{}: {} elements are too many to be traced", n.label(), n.in[0].count);
  const Borrowed b = borrow(n, !floats);
  std::vector<Array> in(n.in.size()), out(n.out.size());
  std::vector<void*> ins, outs;
  std::vector<std::size_t> first(n.in.size() + 1, 1);
  for (std::size_t i = 0; i < n.in.size(); ++i) {
    first[i + 1] = first[i];
    if (!n.in[i].present) {
      ins.push_back(nullptr);
      continue;
    }
    if (moves[i]) {
      in[i] = Array::zeros(dtype, n.in[i].shape);
      if (floats) {
        for (float& v : in[i].template mutable_span<float>())
          v = static_cast<float>(first[i + 1]++);
      } else {
        for (std::int32_t& v : in[i].template mutable_span<std::int32_t>())
          v = static_cast<std::int32_t>(first[i + 1]++);
      }
    } else if (n.tensor_in(i).constant && n.tensor_in(i).dtype != DType::kFloat32) {
      in[i] = n.tensor_in(i).constant->clone();
    } else {
      in[i] = Array::zeros(DType::kInt32, n.in[i].shape);
    }
    ins.push_back(in[i].mutable_data());
  }
  for (std::size_t o = 0; o < n.out.size(); ++o) {
    out[o] = Array::zeros(dtype, b.outputs[o]);
    outs.push_back(out[o].mutable_data());
  }
  Array scratch =
      Array::zeros(DType::kUint8, {static_cast<std::int32_t>(b.kernel->scratch_bytes()) + 1});
  b.kernel->run({ins.data(), outs.data(), scratch.mutable_data(), nullptr});
  std::vector<Moves> all;
  *padded = false;
  for (std::size_t o = 0; o < out.size(); ++o) {
    std::vector<std::int64_t> code;
    if (floats) {
      code.assign(out[o].template span<float>().begin(), out[o].template span<float>().end());
    } else {
      code.assign(out[o].template span<std::int32_t>().begin(),
                  out[o].template span<std::int32_t>().end());
    }
    std::vector<Moves> by_input;
    for (std::size_t i = 0; i < n.in.size(); ++i) by_input.push_back({o, i, {}});
    for (std::size_t e = 0; e < code.size(); ++e) {
      const auto c = static_cast<std::size_t>(code[e]);
      if (code[e] <= 0) {
        *padded = true;
        continue;
      }
      const auto i = static_cast<std::size_t>(std::upper_bound(first.begin(), first.end(), c) -
                                              first.begin() - 1);
      auto& runs = by_input[i].runs;
      const std::size_t from = c - first[i];
      if (!runs.empty() && runs.back().to + runs.back().count == e &&
          runs.back().from + runs.back().count == from) {
        ++runs.back().count;
      } else {
        runs.push_back({e, from, 1});
      }
    }
    for (Moves& m : by_input)
      if (!m.runs.empty()) all.push_back(std::move(m));
  }
  return all;
}

template <class T>
Step<T> moved(const Node<T>& n, const std::vector<bool>& moves, const T* pad_value) {
  bool padded = false;
  const auto all = std::make_shared<const std::vector<Moves>>(trace(n, moves, &padded));
  const auto in = n.in, out = n.out;
  const Activation activation = fused_activation(n.op->attrs);
  Step<T> s;
  s.forward = [=] {
    if (padded) {
      for (const Port<T>& p : out)
        std::fill(p.value, p.value + p.count, pad_value != nullptr ? *pad_value : T(0));
    }
    for (const Moves& m : *all) {
      const T* from = in[m.input].value;
      T* const to = out[m.output].value;
      for (const Run& r : m.runs) std::copy(from + r.from, from + r.from + r.count, to + r.to);
    }
    if (activation != Activation::kNone) activate(activation, out[0].value, out[0].count);
  };
  s.backward = [=] {
    if (activation != Activation::kNone)
      activate_back(activation, out[0].value, out[0].grad, out[0].count);
    for (const Moves& m : *all) {
      const T* up = out[m.output].grad;
      T* const down = in[m.input].grad;
      if (down == nullptr || up == nullptr) continue;
      for (const Run& r : m.runs)
        for (std::size_t i = 0; i < r.count; ++i) down[r.from + i] += up[r.to + i];
    }
  };
  return s;
}

std::vector<bool> only(std::size_t count, std::size_t input) {
  std::vector<bool> moves(count, false);
  moves[input] = true;
  return moves;
}

template <class T>
Step<T> make_first_moved(const Node<T>& n) {
  return moved<T>(n, only(n.in.size(), 0), nullptr);
}
template <class T>
Step<T> make_all_moved(const Node<T>& n) {
  return moved<T>(n, std::vector<bool>(n.in.size(), true), nullptr);
}
template <class T>
Step<T> make_split(const Node<T>& n) {  // SPLIT: inputs axis, x
  return moved<T>(n, only(n.in.size(), 1), nullptr);
}
template <class T>
Step<T> make_pad(const Node<T>& n) {
  return moved<T>(n, only(n.in.size(), 0), n.has(2) ? n.in[2].value : nullptr);
}

// Reshapes, and operators that do nothing.
template <class T>
Step<T> make_same(const Node<T>& n) {
  const Port<T>&x = n.in[0], &y = n.out[0];
  Step<T> s;
  if (n.aliased) {
    s.forward = s.backward = [] {};
    return s;
  }
  s.forward = [=] { std::copy(x.value, x.value + y.count, y.value); };
  s.backward = [=] {
    if (x.grad == nullptr) return;
    for (std::size_t i = 0; i < y.count; ++i) x.grad[i] += y.grad[i];
  };
  return s;
}

// y[i] = table[index[i]]; `axis` of the table, batch_dims leading axes in common.
template <class T>
Step<T> gather(const Node<T>& n, std::size_t axis, std::size_t batch_dims) {
  const Port<T>&table = n.in[0], &index = n.in[1], &y = n.out[0];
  std::size_t batches = 1, outer = 1, inner = 1;
  for (std::size_t d = 0; d < batch_dims; ++d) batches *= table.dim(d);
  for (std::size_t d = batch_dims; d < axis; ++d) outer *= table.dim(d);
  for (std::size_t d = axis + 1; d < table.shape.size(); ++d) inner *= table.dim(d);
  const std::size_t rows = table.dim(axis), picks = index.count / std::max<std::size_t>(1, batches);
  const std::string label = n.label();
  const auto each = [=](auto put) {
    for (std::size_t b = 0; b < batches; ++b)
      for (std::size_t o = 0; o < outer; ++o)
        for (std::size_t i = 0; i < picks; ++i) {
          const T at = index.value[b * picks + i];
          if (!(at >= 0 && at < static_cast<T>(rows)))
            fail("{}: index {} is outside of the table's {} rows", label, static_cast<double>(at),
                 rows);
          put((((b * outer + o) * rows) + static_cast<std::size_t>(at)) * inner,
              ((b * outer + o) * picks + i) * inner);
        }
  };
  Step<T> s;
  s.forward = [=] {
    each([&](std::size_t from, std::size_t to) {
      std::copy(table.value + from, table.value + from + inner, y.value + to);
    });
  };
  s.backward = [=] {
    if (table.grad == nullptr) return;
    each([&](std::size_t to, std::size_t from) {
      for (std::size_t k = 0; k < inner; ++k) table.grad[to + k] += y.grad[from + k];
      for (std::size_t k = 0; table.square != nullptr && k < inner; ++k)
        table.square[to + k] += y.grad[from + k] * y.grad[from + k];
    });
  };
  return s;
}

template <class T>
Step<T> make_gather(const Node<T>& n) {
  const auto& a = n.template attrs<GatherAttrs>();
  const auto rank = static_cast<std::int32_t>(n.in[0].shape.size());
  const auto batch = a.batch_dims < 0
                         ? a.batch_dims + static_cast<std::int32_t>(n.in[1].shape.size())
                         : a.batch_dims;
  return gather(n, static_cast<std::size_t>(a.axis < 0 ? a.axis + rank : a.axis),
                static_cast<std::size_t>(batch));
}
}  // namespace

std::vector<StepRow> move_steps() {
  return {LITEGAP_STEP(kTranspose, make_first_moved),
          LITEGAP_STEP(kSlice, make_first_moved),
          LITEGAP_STEP(kStridedSlice, make_first_moved),
          LITEGAP_STEP(kSplitV, make_first_moved),
          LITEGAP_STEP(kUnpack, make_first_moved),
          LITEGAP_STEP(kTile, make_first_moved),
          LITEGAP_STEP(kBroadcastTo, make_first_moved),
          LITEGAP_STEP(kMirrorPad, make_first_moved),
          LITEGAP_STEP(kSpaceToDepth, make_first_moved),
          LITEGAP_STEP(kDepthToSpace, make_first_moved),
          LITEGAP_STEP(kSpaceToBatchNd, make_first_moved),
          LITEGAP_STEP(kBatchToSpaceNd, make_first_moved),
          LITEGAP_STEP(kResizeNearestNeighbor, make_first_moved),
          LITEGAP_STEP(kSplit, make_split),
          LITEGAP_STEP(kConcatenation, make_all_moved),
          LITEGAP_STEP(kPack, make_all_moved),
          LITEGAP_STEP(kPad, make_pad),
          LITEGAP_STEP(kPadV2, make_pad),
          LITEGAP_STEP(kReshape, make_same),
          LITEGAP_STEP(kSqueeze, make_same),
          LITEGAP_STEP(kExpandDims, make_same),
          LITEGAP_STEP(kGather, make_gather)};
}

}  // namespace litegap
