// SLICE, STRIDED_SLICE, PAD, PADV2, MIRROR_PAD (docs/numerics.md, sections 2.23 and 2.29).
#include <algorithm>
#include <cstring>

#include "kernels/move.h"

namespace litegap {
namespace {

std::unique_ptr<Kernel> prepare_slice(OpSpec& spec) {
  expect_inputs(spec, 3, 3);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  const Shape& in = spec.inputs[0].shape;
  const auto begin = plan_integers(spec, 1, "begin"), size = plan_integers(spec, 2, "size");
  if (begin.size() != in.size() || size.size() != in.size()) {
    refuse(spec, "has {} begins and {} sizes for {} dimensions", begin.size(), size.size(),
           in.size());
  }
  if (in.size() > 8) refuse(spec, "its input has {} dimensions, expected at most 8", in.size());
  Shape out;
  std::int64_t at = 0;
  const auto from = dense_steps(in, unit);
  for (std::size_t d = 0; d < in.size(); ++d) {
    const std::int64_t n = size[d] == -1 ? in[d] - begin[d] : size[d];
    if (begin[d] < 0 || n < 0 || n > in[d] || begin[d] > in[d] - n) {
      refuse(spec, "begin {} and size {} do not fit dimension {} of {}", begin[d], size[d], d,
             shape_text(in));
    }
    out.push_back(checked_dim(spec, n));
    at += begin[d] * from[d];
  }
  const auto to = dense_steps(out, unit);
  std::vector<MoveLoop> loops;
  for (std::size_t d = 0; d < in.size(); ++d) loops.push_back({out[d], from[d], to[d]});
  spec.outputs[0].shape = out;
  return move_kernel(0, Move(unit, loops, at));
}

// One axis of a strided slice, resolved.
struct Stride {
  std::int64_t begin = 0, step = 1, count = 0;
  std::size_t axis = 0;
  bool insert = false, drop = false;  // a new axis of 1; an axis that leaves the shape
};

struct SliceSpec {
  std::vector<std::int64_t> begin, end, step;
  const StridedSliceAttrs& attrs;
};

Stride resolve_axis(const OpSpec& spec, const SliceSpec& s, std::size_t i, std::size_t axis,
                    std::int32_t dim) {
  const std::int64_t n = dim, step = s.step[i], bit = std::int64_t{1} << i;
  if (step == 0) refuse(spec, "a step of 0");
  if (step < -(std::int64_t{1} << 31) || step > (std::int64_t{1} << 31))
    refuse(spec, "a step of {}", step);
  Stride r;
  r.axis = axis;
  r.step = step;
  r.drop = (s.attrs.shrink_axis_mask & bit) != 0;
  const std::int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
  std::int64_t begin = s.begin[i];
  if (begin < 0) begin += n;
  if (r.drop) {
    if ((s.attrs.begin_mask & bit) != 0) begin = step > 0 ? 0 : n - 1;
    if (begin < 0 || begin >= n)
      refuse(spec, "index {} outside of dimension {} with {} elements", s.begin[i], axis, n);
    if (step < 0) refuse(spec, "a negative step on an axis that is dropped");
    r.begin = begin;
    r.count = 1;
    r.step = 1;
    return r;
  }
  begin = (s.attrs.begin_mask & bit) != 0 ? (step > 0 ? 0 : n - 1) : std::clamp(begin, low, high);
  std::int64_t end = s.end[i];
  if (s.attrs.offset) end += s.begin[i];
  if (end < 0 && !(s.attrs.offset && s.begin[i] >= 0)) end += n;
  end = (s.attrs.end_mask & bit) != 0 ? (step > 0 ? n : -1) : std::clamp(end, low, high);
  const std::int64_t length = end - begin;
  r.begin = begin;
  r.count = n == 0 || length == 0 || (length < 0) != (step < 0)
                ? 0
                : length / step + (length % step != 0 ? 1 : 0);
  return r;
}

std::vector<Stride> resolve_slice(const OpSpec& spec, const SliceSpec& s, const Shape& in) {
  std::vector<Stride> all;
  const std::size_t n = s.begin.size();
  std::size_t added = 0, axis = 0;
  bool ellipsis = false;
  for (std::size_t i = 0; i < n; ++i) {
    const int bit = 1 << i;
    if ((s.attrs.ellipsis_mask & bit) != 0) {
      if (ellipsis) refuse(spec, "has two ellipses");
      ellipsis = true;
    } else if ((s.attrs.new_axis_mask & bit) != 0) {
      ++added;
    }
  }
  const std::size_t named = n - added - (ellipsis ? 1 : 0);
  if (named > in.size())
    refuse(spec, "names {} axes of a tensor with {} dimensions", named, in.size());
  const auto whole = [&](std::size_t count) {
    for (std::size_t k = 0; k < count; ++k, ++axis)
      all.push_back({0, 1, in[axis], axis, false, false});
  };
  for (std::size_t i = 0; i < n; ++i) {
    const int bit = 1 << i;
    if ((s.attrs.ellipsis_mask & bit) != 0) {
      whole(in.size() - named);
    } else if ((s.attrs.new_axis_mask & bit) != 0) {
      all.push_back({0, 1, 1, 0, true, false});
    } else {
      all.push_back(resolve_axis(spec, s, i, axis, in[axis]));
      ++axis;
    }
  }
  whole(in.size() - axis);
  return all;
}

std::unique_ptr<Kernel> prepare_strided_slice(OpSpec& spec) {
  expect_inputs(spec, 4, 4);
  expect_outputs(spec, 1);
  const std::size_t unit = expect_same_type(spec, 0);
  const Shape& in = spec.inputs[0].shape;
  const SliceSpec s{plan_integers(spec, 1, "begin"), plan_integers(spec, 2, "end"),
                    plan_integers(spec, 3, "strides"), attrs_of<StridedSliceAttrs>(spec)};
  if (s.begin.size() != s.end.size() || s.begin.size() != s.step.size() || s.begin.size() > 16) {
    refuse(spec, "has {} begins, {} ends and {} strides", s.begin.size(), s.end.size(),
           s.step.size());
  }
  if (in.size() > 8) refuse(spec, "its input has {} dimensions, expected at most 8", in.size());
  const auto strides = resolve_slice(spec, s, in);
  const auto from = dense_steps(in, unit);
  Shape out, kept;  // kept: with dropped axes as 1
  std::int64_t at = 0;
  for (const Stride& r : strides) {
    kept.push_back(checked_dim(spec, r.count));
    if (!r.drop) out.push_back(kept.back());
    if (!r.insert && r.count > 0) at += r.begin * from[r.axis];
  }
  const auto to = dense_steps(kept, unit);
  std::vector<MoveLoop> loops;
  for (std::size_t d = 0; d < strides.size(); ++d) {
    const Stride& r = strides[d];
    loops.push_back({r.count, r.insert ? 0 : r.step * from[r.axis], to[d]});
  }
  spec.outputs[0].shape = out;
  return move_kernel(0, Move(unit, loops, at));
}

// ---- padding
// -------------------------------------------------------------------------------------
struct Pads {
  std::vector<std::int64_t> before, after;
  Shape out;
};

Pads read_pads(const OpSpec& spec) {
  if (!spec.has(0)) refuse(spec, "input 0 is missing");
  const Shape& in = spec.inputs[0].shape;
  const auto values = plan_integers(spec, 1, "paddings");
  if (values.size() != 2 * in.size()) {
    refuse(spec, "has {} paddings for {} dimensions", values.size(), in.size());
  }
  if (in.size() > 8) refuse(spec, "its input has {} dimensions, expected at most 8", in.size());
  Pads pads;
  for (std::size_t d = 0; d < in.size(); ++d) {
    pads.before.push_back(checked_dim(spec, values[2 * d]));
    pads.after.push_back(checked_dim(spec, values[2 * d + 1]));
    pads.out.push_back(checked_dim(spec, in[d] + pads.before[d] + pads.after[d]));
  }
  shape_elements(pads.out);
  return pads;
}

class PadKernel final : public Kernel {
 public:
  PadKernel(std::size_t unit, std::int64_t elements, std::vector<std::byte> value, Move inside)
      : fill_(unit, {{elements, 0, static_cast<std::int64_t>(unit)}}),
        value_(std::move(value)),
        inside_(std::move(inside)),
        bytes_(static_cast<std::size_t>(elements) * unit),
        zero_(std::all_of(value_.begin(), value_.end(),
                          [](std::byte b) { return b == std::byte{0}; })) {}
  void run(const Io& io) const noexcept override {
    if (value_.empty())
      fill_.run(io.inputs[2], io.outputs[0]);
    else if (!zero_)
      fill_.run(value_.data(), io.outputs[0]);
    else if (bytes_ > 0)
      std::memset(io.outputs[0], 0, bytes_);
    inside_.run(io.inputs[0], io.outputs[0]);
  }

 private:
  Move fill_;
  std::vector<std::byte> value_;  // empty: input 2
  Move inside_;
  std::size_t bytes_;
  bool zero_;
};

template <class T>
std::vector<std::byte> bytes_of(T value) {
  std::vector<std::byte> bytes(sizeof(T));
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

// The code that stands for zero.
std::vector<std::byte> zero_code(const OpSpec& spec, std::size_t unit) {
  const Operand& out = spec.outputs[0];
  const bool quantized = out.quant != nullptr && !out.quant->empty();
  if (!quantized) return std::vector<std::byte>(unit);
  const std::int64_t zero = out.quant->zero_point[0];
  switch (out.dtype) {
    case DType::kInt8:
      return bytes_of(static_cast<std::int8_t>(zero));
    case DType::kUint8:
      return bytes_of(static_cast<std::uint8_t>(zero));
    case DType::kInt16:
      return bytes_of(static_cast<std::int16_t>(zero));
    default:
      return std::vector<std::byte>(unit);
  }
}

std::unique_ptr<Kernel> pad_kernel(OpSpec& spec, std::vector<std::byte> value) {
  const std::size_t unit = expect_same_type(spec, 0);
  const Pads pads = read_pads(spec);
  const Shape& in = spec.inputs[0].shape;
  const auto from = dense_steps(in, unit), to = dense_steps(pads.out, unit);
  std::vector<MoveLoop> loops;
  std::int64_t at = 0;
  for (std::size_t d = 0; d < in.size(); ++d) {
    loops.push_back({in[d], from[d], to[d]});
    at += pads.before[d] * to[d];
  }
  spec.outputs[0].shape = pads.out;
  const auto n = static_cast<std::int64_t>(shape_elements(pads.out));
  return std::make_unique<PadKernel>(unit, n, std::move(value), Move(unit, loops, 0, at));
}

std::unique_ptr<Kernel> prepare_pad(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  return pad_kernel(spec, zero_code(spec, expect_same_type(spec, 0)));
}

std::unique_ptr<Kernel> prepare_padv2(OpSpec& spec) {
  expect_inputs(spec, 2, 3);
  expect_outputs(spec, 1);
  if (!spec.has(2)) return prepare_pad(spec);
  expect_same_type(spec, 2);
  if (shape_elements(spec.inputs[2].shape) != 1) {
    refuse(spec, "its value has shape {}, expected one element", shape_text(spec.inputs[2].shape));
  }
  const Quant *value = spec.inputs[2].quant, *out = spec.outputs[0].quant;
  const bool codes = spec.outputs[0].dtype == DType::kInt8 ||
                     spec.outputs[0].dtype == DType::kUint8 ||
                     spec.outputs[0].dtype == DType::kInt16;
  if (codes && !value->empty() && !out->empty() &&
      (value->scale[0] != out->scale[0] || value->zero_point[0] != out->zero_point[0])) {
    refuse(spec, "its value has another scale or zero point than the output");
  }
  return pad_kernel(spec, {});
}

// Copies elements along per-axis tables of offsets: the innermost run of bytes lies dense.
class TableKernel final : public Kernel {
 public:
  TableKernel(std::vector<std::vector<std::int64_t>> offsets, std::size_t run_bytes)
      : offsets_(std::move(offsets)), bytes_(run_bytes) {}
  void run(const Io& io) const noexcept override {
    auto* out = static_cast<std::byte*>(io.outputs[0]);
    walk(0, static_cast<const std::byte*>(io.inputs[0]), out);
  }

 private:
  void walk(std::size_t axis, const std::byte* in, std::byte*& out) const noexcept {
    if (axis == offsets_.size()) {
      std::memcpy(out, in, bytes_);
      out += bytes_;
      return;
    }
    for (const std::int64_t offset : offsets_[axis]) walk(axis + 1, in + offset, out);
  }
  std::vector<std::vector<std::int64_t>> offsets_;
  std::size_t bytes_;
};

std::unique_ptr<Kernel> prepare_mirror_pad(OpSpec& spec) {
  expect_inputs(spec, 2, 2);
  expect_outputs(spec, 1);
  const auto& attrs = attrs_of<MirrorPadAttrs>(spec);
  if (attrs.mode != 0 && attrs.mode != 1) refuse(spec, "an unknown mode {}", attrs.mode);
  const std::size_t unit = expect_same_type(spec, 0);
  const Pads pads = read_pads(spec);
  const Shape& in = spec.inputs[0].shape;
  const auto from = dense_steps(in, unit);
  const std::int64_t skip = attrs.mode == 0 ? 1 : 0;  // REFLECT leaves the edge out
  std::size_t run = unit;
  std::vector<std::vector<std::int64_t>> offsets(in.size());
  for (std::size_t d = 0; d < in.size(); ++d) {
    const std::int64_t n = in[d];
    if (pads.before[d] > n - skip || pads.after[d] > n - skip) {
      refuse(spec, "mirrors {} and {} elements of dimension {} of {}", pads.before[d],
             pads.after[d], d, shape_text(in));
    }
    for (std::int64_t i = -pads.before[d]; i < n + pads.after[d]; ++i) {
      const std::int64_t at = i < 0 ? -i - 1 + skip : i >= n ? 2 * n - 1 - skip - i : i;
      offsets[d].push_back(at * from[d]);
    }
  }
  while (!offsets.empty() && pads.before[offsets.size() - 1] == 0 &&
         pads.after[offsets.size() - 1] == 0) {
    run *= static_cast<std::size_t>(in[offsets.size() - 1]);
    offsets.pop_back();
  }
  spec.outputs[0].shape = pads.out;
  if (shape_elements(pads.out) == 0) return copy_kernel(0, 0);
  return std::make_unique<TableKernel>(std::move(offsets), run);
}

constexpr KernelRow kRows[] = {
    {OpCode::kSlice, prepare_slice, "any"},
    {OpCode::kStridedSlice, prepare_strided_slice, "any"},
    {OpCode::kPad, prepare_pad, "any"},
    {OpCode::kPadV2, prepare_padv2, "any"},
    {OpCode::kMirrorPad, prepare_mirror_pad, "any"},
};

}  // namespace

std::span<const KernelRow> slice_kernel_rows() { return kRows; }

}  // namespace litegap
