// Operators that join, part and pick: PACK, UNPACK, SPLIT, SPLIT_V, CONCATENATION, GATHER
// (docs/numerics.md, sections 2.22 and 2.29).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "kernels/arith.h"
#include "kernels/byte_table.h"
#include "kernels/fixed_copy.h"
#include "kernels/move.h"

namespace litegap {
namespace {

// Blocks of `bytes`, `count` of them, `step` apart in the wide tensor and dense in the narrow one.
struct Blocks {
  std::int64_t count = 0, bytes = 0, step = 0, offset = 0;
};

// Copies part `i` of the output from input `first + i`.
class JoinKernel final : public Kernel {
 public:
  explicit JoinKernel(std::vector<Blocks> parts) : parts_(std::move(parts)) {}
  void run(const Io& io) const noexcept override {
    auto* out = static_cast<std::byte*>(io.outputs[0]);
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const Blocks& p = parts_[i];
      if (p.bytes == 0) continue;
      const auto* in = static_cast<const std::byte*>(io.inputs[i]);
      copy_blocks(p.count, p.bytes, out + p.offset, p.step, in, p.bytes);
    }
  }

 private:
  std::vector<Blocks> parts_;
};

class PartKernel final : public Kernel {
 public:
  PartKernel(std::size_t input, std::vector<Blocks> parts)
      : input_(input), parts_(std::move(parts)) {}
  void run(const Io& io) const noexcept override {
    const auto* in = static_cast<const std::byte*>(io.inputs[input_]);
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const Blocks& p = parts_[i];
      if (p.bytes == 0) continue;
      auto* out = static_cast<std::byte*>(io.outputs[i]);
      copy_blocks(p.count, p.bytes, out, p.bytes, in + p.offset, p.step);
    }
  }

 private:
  std::size_t input_;
  std::vector<Blocks> parts_;
};

// Parts of the given sizes along `axis` of `wide`.
std::vector<Blocks> parts_of(const Shape& wide, std::size_t axis,
                             const std::vector<std::int64_t>& sizes, std::size_t unit) {
  const std::int64_t inner = product(wide, axis + 1, wide.size()) * static_cast<std::int64_t>(unit);
  const std::int64_t count = product(wide, 0, axis), step = wide[axis] * inner;
  std::vector<Blocks> parts;
  std::int64_t at = 0;
  for (const std::int64_t size : sizes) {
    parts.push_back({count, size * inner, step, at * inner});
    at += size;
  }
  return parts;
}

// The runtime's own limits.
[[noreturn]] void refuse_type(const OpSpec& spec, const Operand& in) {
  refuse(spec, "cannot take a tensor of type {}", dtype_name(in.dtype));
}

std::unique_ptr<Kernel> prepare_pack(OpSpec& spec) {
  const auto& attrs = attrs_of<PackAttrs>(spec);
  expect_outputs(spec, 1);
  const std::size_t n = spec.inputs.size();
  if (n == 0 || static_cast<std::int64_t>(n) != attrs.values_count) {
    refuse(spec, "has {} inputs, its options say {}", n, attrs.values_count);
  }
  const std::size_t unit = expect_same_type(spec, 0);
  if (spec.inputs[0].dtype == DType::kBool) refuse_type(spec, spec.inputs[0]);
  const Shape& in = spec.inputs[0].shape;
  for (std::size_t i = 1; i < n; ++i) {
    expect_same_type(spec, i);
    if (spec.inputs[i].shape != in) {
      refuse(spec, "input {} has shape {}, input 0 {}", i, shape_text(spec.inputs[i].shape),
             shape_text(in));
    }
  }
  const std::size_t axis = checked_axis(spec, attrs.axis, in.size() + 1);
  Shape out = in;
  out.insert(out.begin() + static_cast<std::ptrdiff_t>(axis),
             checked_dim(spec, static_cast<std::int64_t>(n)));
  spec.outputs[0].shape = out;
  return std::make_unique<JoinKernel>(parts_of(out, axis, std::vector<std::int64_t>(n, 1), unit));
}

std::unique_ptr<Kernel> prepare_unpack(OpSpec& spec) {
  const auto& attrs = attrs_of<UnpackAttrs>(spec);
  expect_inputs(spec, 1, 1);
  const std::size_t n = spec.outputs.size();
  if (n == 0) refuse(spec, "has no outputs");
  const std::size_t unit = expect_same_type(spec, 0);
  if (spec.inputs[0].dtype == DType::kInt64) refuse_type(spec, spec.inputs[0]);
  const Shape& in = spec.inputs[0].shape;
  const std::size_t axis = checked_axis(spec, attrs.axis, in.size());
  if (in[axis] != attrs.num || static_cast<std::int64_t>(n) != attrs.num) {
    refuse(spec, "parts {} into {} with {} outputs", shape_text(in), attrs.num, n);
  }
  Shape out = in;
  out.erase(out.begin() + static_cast<std::ptrdiff_t>(axis));
  for (Operand& o : spec.outputs) {
    if (o.dtype != spec.inputs[0].dtype)
      refuse(spec, "an output is {}, the input {}", dtype_name(o.dtype),
             dtype_name(spec.inputs[0].dtype));
    o.shape = out;
  }
  return std::make_unique<PartKernel>(0, parts_of(in, axis, std::vector<std::int64_t>(n, 1), unit));
}

std::unique_ptr<Kernel> split_into(OpSpec& spec, std::size_t input, std::size_t axis,
                                   const std::vector<std::int64_t>& sizes) {
  const Operand& in = spec.inputs[input];
  const std::size_t unit = expect_same_type(spec, input);
  if (in.dtype == DType::kBool) refuse_type(spec, in);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    Operand& o = spec.outputs[i];
    if (o.dtype != in.dtype)
      refuse(spec, "output {} is {}, the input {}", i, dtype_name(o.dtype), dtype_name(in.dtype));
    o.shape = in.shape;
    o.shape[axis] = checked_dim(spec, sizes[i]);
  }
  return std::make_unique<PartKernel>(input, parts_of(in.shape, axis, sizes, unit));
}

std::size_t split_axis(const OpSpec& spec, std::size_t operand, std::size_t rank) {
  const auto axis = plan_integers(spec, operand, "axis");
  if (axis.size() != 1) refuse(spec, "its axis has {} values, expected 1", axis.size());
  return checked_axis(spec, axis[0], rank);
}

std::unique_ptr<Kernel> prepare_split(OpSpec& spec) {
  const auto& attrs = attrs_of<SplitAttrs>(spec);
  expect_inputs(spec, 2, 2);
  if (!spec.has(1)) refuse(spec, "input 1 is missing");
  const Shape& in = spec.inputs[1].shape;
  const std::size_t axis = split_axis(spec, 0, in.size()), n = spec.outputs.size();
  if (n == 0 || static_cast<std::int64_t>(n) != attrs.num_splits) {
    refuse(spec, "has {} outputs, its options say {}", n, attrs.num_splits);
  }
  if (in[axis] % attrs.num_splits != 0) {
    refuse(spec, "cannot split axis {} of {} into {} equal parts", axis, shape_text(in), n);
  }
  return split_into(spec, 1, axis, std::vector<std::int64_t>(n, in[axis] / attrs.num_splits));
}

std::unique_ptr<Kernel> prepare_split_v(OpSpec& spec) {
  expect_inputs(spec, 3, 3);
  if (!spec.has(0)) refuse(spec, "input 0 is missing");
  const Shape& in = spec.inputs[0].shape;
  const std::size_t axis = split_axis(spec, 2, in.size());
  auto sizes = plan_integers(spec, 1, "sizes");
  if (sizes.empty() || sizes.size() != spec.outputs.size()) {
    refuse(spec, "has {} sizes for {} outputs", sizes.size(), spec.outputs.size());
  }
  std::int64_t sum = 0;
  std::int64_t* open = nullptr;
  for (auto& size : sizes) {
    if (size == -1) {
      if (open != nullptr) refuse(spec, "leaves two sizes open");
      open = &size;
    } else {
      sum += checked_dim(spec, size);
    }
  }
  if (open != nullptr) *open = checked_dim(spec, in[axis] - sum);
  if (open == nullptr && sum != in[axis]) {
    refuse(spec, "its sizes add up to {}, axis {} of {} does not", sum, axis, shape_text(in));
  }
  return split_into(spec, 0, axis, sizes);
}

// Joins uint8 inputs of different scales: float32 rescaling of every code (section 2.22).
class RescaleJoinKernel final : public Kernel {
 public:
  RescaleJoinKernel(std::vector<Blocks> parts, std::vector<Table8> tables)
      : parts_(std::move(parts)), tables_(std::move(tables)) {}
  void run(const Io& io) const noexcept override {
    auto* out = static_cast<std::uint8_t*>(io.outputs[0]);
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (parts_[i].bytes == 0) continue;
      const auto* in = static_cast<const std::uint8_t*>(io.inputs[i]);
      if (parts_[i].bytes >= kRoom / 4)
        map_long(parts_[i], tables_[i], in, out);
      else
        map_short(parts_[i], tables_[i], in, out);
    }
  }

 private:
  static constexpr std::int64_t kRoom = 4096;
  static void map_long(Blocks p, const Table8& table, const std::uint8_t* in, std::uint8_t* out) {
    for (std::int64_t b = 0; b < p.count; ++b, in += p.bytes)
      map_bytes(table, in, out + b * p.step + p.offset, static_cast<std::size_t>(p.bytes));
  }
  // The look-up is made for long rows: of short ones many at once, as they lie in the input.
  static void map_short(Blocks p, const Table8& table, const std::uint8_t* in, std::uint8_t* out) {
    std::uint8_t room[kRoom];
    const std::int64_t most = kRoom / p.bytes;
    for (std::int64_t b = 0; b < p.count; b += most) {
      const std::int64_t count = std::min(most, p.count - b);
      map_bytes(table, in + b * p.bytes, room, static_cast<std::size_t>(count * p.bytes));
      std::uint8_t* to = out + b * p.step + p.offset;
      for (std::int64_t k = 0; k < count; ++k, to += p.step)
        std::memcpy(to, room + k * p.bytes, static_cast<std::size_t>(p.bytes));
    }
  }

  std::vector<Blocks> parts_;
  std::vector<Table8> tables_;
};

Table8 rescale_table(const Quant& from, const Quant& to) {
  Table8 table{};
  const bool same = from.scale[0] == to.scale[0] && from.zero_point[0] == to.zero_point[0];
  const float inverse = 1.0f / to.scale[0];
  const float k = from.scale[0] * inverse;
  const float b = static_cast<float>(-from.zero_point[0]) * k;
  for (int x = 0; x < 256; ++x) {
    std::int64_t y = x;
    if (!same) y = round_away(static_cast<float>(x) * k + b) + to.zero_point[0];
    table[static_cast<std::size_t>(x)] =
        static_cast<std::uint8_t>(std::clamp<std::int64_t>(y, 0, 255));
  }
  return table;
}

void check_join_scales(const OpSpec& spec, bool* rescale) {
  const Operand& out = spec.outputs[0];
  const bool integer =
      out.dtype == DType::kInt8 || out.dtype == DType::kInt16 || out.dtype == DType::kUint8;
  if (!integer || out.quant == nullptr || out.quant->empty()) return;
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    const Quant& q = *spec.inputs[i].quant;
    if (q.empty()) continue;
    if (q.scale[0] == out.quant->scale[0] && q.zero_point[0] == out.quant->zero_point[0]) continue;
    if (out.dtype != DType::kUint8) {
      refuse(spec,
             "input {} has scale {} and zero point {}, the output {} and {}: expected the same", i,
             q.scale[0], q.zero_point[0], out.quant->scale[0], out.quant->zero_point[0]);
    }
    *rescale = true;
  }
}

std::unique_ptr<Kernel> prepare_concatenation(OpSpec& spec) {
  const auto& attrs = attrs_of<ConcatAttrs>(spec);
  expect_outputs(spec, 1);
  if (spec.inputs.empty()) refuse(spec, "has no inputs");
  const std::size_t unit = expect_same_type(spec, 0);
  Shape out = spec.inputs[0].shape;
  const std::size_t axis = checked_axis(spec, attrs.axis, out.size());
  std::vector<std::int64_t> sizes;
  std::int64_t total = 0;
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    expect_same_type(spec, i);
    Shape rest = spec.inputs[i].shape;
    if (rest.size() != out.size())
      refuse(spec, "input {} has {} dimensions, input 0 {}", i, rest.size(), out.size());
    sizes.push_back(rest[axis]);
    total += rest[axis];
    rest[axis] = out[axis];
    if (rest != out)
      refuse(spec, "input {} has shape {}, which does not go with {} along axis {}", i,
             shape_text(spec.inputs[i].shape), shape_text(out), axis);
  }
  out[axis] = checked_dim(spec, total);
  shape_elements(out);
  spec.outputs[0].shape = out;
  auto parts = parts_of(out, axis, sizes, unit);
  if (attrs.activation != Activation::kNone) {
    // The kernels refuse it; XNNPACK takes the node and leaves the activation out.
    const bool takes = spec.dialect == Dialect::kXnnpack &&
                       spec.outputs[0].dtype == DType::kFloat32 && spec.inputs.size() >= 2 &&
                       attrs.activation <= Activation::kRelu6;
    if (!takes) refuse(spec, "a fused activation is not supported");
    return std::make_unique<JoinKernel>(std::move(parts));
  }
  bool rescale = false;
  check_join_scales(spec, &rescale);
  if (!rescale) return std::make_unique<JoinKernel>(std::move(parts));
  std::vector<Table8> tables;
  for (const Operand& in : spec.inputs)
    tables.push_back(rescale_table(in.quant->empty() ? *spec.outputs[0].quant : *in.quant,
                                   *spec.outputs[0].quant));
  return std::make_unique<RescaleJoinKernel>(std::move(parts), std::move(tables));
}

// out[b, o, i, :] = in[b, o, indices[b, i], :].  An index outside gives zeros.
template <class I>
struct Gather {
  std::int64_t batch, outer, axis, picks, bytes;
  void operator()(const Io& io) const noexcept {
    const auto* in = static_cast<const std::byte*>(io.inputs[0]);
    const auto* index = static_cast<const I*>(io.inputs[1]);
    auto* out = static_cast<std::byte*>(io.outputs[0]);
    const auto n = static_cast<std::size_t>(bytes);
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t o = 0; o < outer; ++o, in += axis * bytes) {
        for (std::int64_t i = 0; i < picks; ++i, out += bytes) {
          const std::int64_t at = index[b * picks + i];
          if (at >= 0 && at < axis)
            std::memcpy(out, in + at * bytes, n);
          else
            std::memset(out, 0, n);
        }
      }
    }
  }
};

template <class I>
std::unique_ptr<Kernel> gather_kernel(const OpSpec& spec, Gather<I> gather) {
  if (const Array* constant = spec.inputs[1].constant) {
    for (const I at : constant->span<I>()) {
      if (at < 0 || at >= gather.axis)
        refuse(spec, "index {} outside of {} elements", at, gather.axis);
    }
  }
  return make_kernel(gather);
}

std::unique_ptr<Kernel> prepare_gather(OpSpec& spec) {
  const auto& attrs = attrs_of<GatherAttrs>(spec);
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  if (!spec.has(1)) refuse(spec, "its indices are missing");
  const Shape &in = spec.inputs[0].shape, &index = spec.inputs[1].shape;
  const std::size_t axis = checked_axis(spec, attrs.axis, in.size());
  const std::int64_t batch_dims = attrs.batch_dims < 0
                                      ? attrs.batch_dims + static_cast<std::int64_t>(index.size())
                                      : attrs.batch_dims;
  if (batch_dims < 0 || batch_dims > static_cast<std::int64_t>(std::min(axis, index.size()))) {
    refuse(spec, "has {} batch dimensions with axis {} and indices {}", attrs.batch_dims, axis,
           shape_text(index));
  }
  const auto batches = static_cast<std::size_t>(batch_dims);
  for (std::size_t d = 0; d < batches; ++d) {
    if (in[d] != index[d])
      refuse(spec, "batch dimension {} of {} and {} differs", d, shape_text(in), shape_text(index));
  }
  Shape out(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(axis));
  out.insert(out.end(), index.begin() + batch_dims, index.end());
  out.insert(out.end(), in.begin() + static_cast<std::ptrdiff_t>(axis) + 1, in.end());
  shape_elements(out);
  spec.outputs[0].shape = out;
  const std::int64_t batch = product(in, 0, batches), outer = product(in, batches, axis),
                     picks = product(index, batches, index.size());
  const std::int64_t bytes = product(in, axis + 1, in.size()) * static_cast<std::int64_t>(unit);
  switch (spec.inputs[1].dtype) {
    case DType::kInt16:
      return gather_kernel(spec, Gather<std::int16_t>{batch, outer, in[axis], picks, bytes});
    case DType::kInt32:
      return gather_kernel(spec, Gather<std::int32_t>{batch, outer, in[axis], picks, bytes});
    case DType::kInt64:
      return gather_kernel(spec, Gather<std::int64_t>{batch, outer, in[axis], picks, bytes});
    default:
      refuse(spec, "its indices are of type {}", dtype_name(spec.inputs[1].dtype));
  }
}

constexpr KernelRow kRows[] = {
    {OpCode::kPack, prepare_pack, "any"},
    {OpCode::kUnpack, prepare_unpack, "any"},
    {OpCode::kSplit, prepare_split, "any"},
    {OpCode::kSplitV, prepare_split_v, "any"},
    {OpCode::kGather, prepare_gather, "any"},
    {OpCode::kConcatenation, prepare_concatenation, "any"},
};

}  // namespace

std::span<const KernelRow> join_kernel_rows() { return kRows; }

}  // namespace litegap
