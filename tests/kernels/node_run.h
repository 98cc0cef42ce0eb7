// One operator of a sketch, run by its kernel outside of a plan: with chosen scratch, at chosen
// addresses.
#pragma once
#include <cstring>
#include <optional>

#include "oracle/sketch.h"

namespace litegap::oracle {

struct Surroundings {
  std::uint8_t scratch = 0x00, output = 0x00;  // bytes that lie there before the run
  std::size_t offset = 0;                      // operands lie so many elements off a 64-byte border
  int runs = 1;
};

struct NodeRun {
  std::vector<Array> outputs, states;  // states: of variable inputs, in their order
};

class Place {  // bytes at a chosen distance from a 64-byte border
 public:
  Place(std::span<const std::byte> bytes, std::size_t offset)
      : room_(Array::zeros(DType::kUint8, {static_cast<std::int32_t>(bytes.size() + offset + 64)})),
        offset_(offset),
        size_(bytes.size()) {
    if (size_ > 0) std::memcpy(at(), bytes.data(), size_);
  }
  std::byte* at() { return room_.mutable_data() + offset_; }
  Array array(DType type, const Shape& shape) {
    Array a = Array::zeros(type, shape);
    if (size_ > 0) std::memcpy(a.mutable_data(), at(), size_);
    return a;
  }

 private:
  Array room_;
  std::size_t offset_, size_;
};

// Values of the tensors of the sketch's model: constants, inputs, states as given.
std::vector<Array> inline values_of(const Model& model, const std::vector<Array>& inputs,
                                    Draw& draw) {
  const Graph& g = model.main();
  std::vector<Array> values(g.tensors.size());
  for (std::size_t i = 0; i < g.inputs.size(); ++i)
    values[static_cast<std::size_t>(g.inputs[i])] = inputs[i];
  for (std::size_t t = 0; t < values.size(); ++t) {
    const Tensor& tensor = g.tensors[t];
    if (tensor.constant) values[t] = *tensor.constant;
    if (!tensor.is_variable) continue;
    values[t] = Array::zeros(tensor.dtype, tensor.shape);
    for (std::size_t i = 0; i < values[t].elements(); ++i) {
      if (tensor.dtype == DType::kFloat32)
        put(values[t], i, static_cast<double>(draw.real(-1, 1)));
      else
        put_integer(values[t], i,
                    tensor.dtype == DType::kInt8 ? draw.in(-128, 127) : draw.in(-8000, 8000));
    }
  }
  return values;
}

// Throws Error when the operator is refused.
inline NodeRun run_node(const Model& model, std::size_t op, Dialect dialect,
                        const std::vector<Array>& values, const Surroundings& s = {}) {
  OpSpec spec = spec_of(model, op, dialect);
  const auto kernel = kernel_row(*spec.op)->prepare(spec);
  std::vector<Place> in, out;
  std::vector<void*> in_at, out_at;
  const auto offset = [&](DType t) { return s.offset * std::max<std::size_t>(width_of(t), 1); };
  in.reserve(spec.inputs.size());
  out.reserve(spec.outputs.size());
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    const int t = spec.op->inputs[i];
    if (t < 0) {
      in_at.push_back(nullptr);
      continue;
    }
    const Array& v = values[static_cast<std::size_t>(t)];
    in.emplace_back(v.bytes(), offset(v.dtype()));
    in_at.push_back(in.back().at());
  }
  for (const Operand& o : spec.outputs) {
    Array blank = Array::zeros(o.dtype, o.shape);
    if (blank.byte_size() > 0) std::memset(blank.mutable_data(), s.output, blank.byte_size());
    out.emplace_back(blank.bytes(), offset(o.dtype));
    out_at.push_back(out.back().at());
  }
  Array scratch =
      Array::zeros(DType::kUint8, {static_cast<std::int32_t>(kernel->scratch_bytes() + 64)});
  std::memset(scratch.mutable_data(), s.scratch, scratch.byte_size());
  for (int k = 0; k < s.runs; ++k)
    kernel->run({in_at.data(), out_at.data(), scratch.mutable_data(), nullptr});
  NodeRun r;
  for (std::size_t i = 0; i < spec.outputs.size(); ++i)
    r.outputs.push_back(out[i].array(spec.outputs[i].dtype, spec.outputs[i].shape));
  std::size_t present = 0;
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    if (spec.op->inputs[i] < 0) continue;
    if (spec.inputs[i].is_variable)
      r.states.push_back(in[present].array(spec.inputs[i].dtype, spec.inputs[i].shape));
    ++present;
  }
  return r;
}

inline bool same_bytes(const std::vector<Array>& a, const std::vector<Array>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].byte_size() != b[i].byte_size()) return false;
    if (a[i].byte_size() > 0 && std::memcmp(a[i].data(), b[i].data(), a[i].byte_size()) != 0)
      return false;
  }
  return a.size() == b.size();
}

}  // namespace litegap::oracle
