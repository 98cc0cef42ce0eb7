#include "kernels/half.h"

namespace litegap {
namespace {

struct Converted {
  std::size_t index = 0, elements = 0, offset = 0;  // the place of the float32 values in scratch
};

class HalfKernel final : public Kernel {
 public:
  HalfKernel(std::unique_ptr<Kernel> inner, std::vector<Converted> in, std::vector<Converted> out,
             std::size_t inputs, std::size_t outputs)
      : inner_(std::move(inner)),
        in_(std::move(in)),
        out_(std::move(out)),
        inputs_(inputs),
        outputs_(outputs) {
    for (auto* list : {&in_, &out_}) {
      for (Converted& c : *list) {
        c.offset = bytes_;
        bytes_ += (c.elements * sizeof(float) + 63) / 64 * 64;
      }
    }
  }
  std::size_t scratch_bytes() const override { return bytes_ + inner_->scratch_bytes(); }
  void run(const Io& io) const noexcept override {
    std::vector<void*> in(io.inputs, io.inputs + inputs_), out(io.outputs, io.outputs + outputs_);
    for (const Converted& c : in_) {
      const auto* from = static_cast<const std::uint16_t*>(io.inputs[c.index]);
      auto* to = reinterpret_cast<float*>(io.scratch + c.offset);
      for (std::size_t i = 0; i < c.elements; ++i) to[i] = float_from_half(from[i]);
      in[c.index] = to;
    }
    for (const Converted& c : out_) out[c.index] = io.scratch + c.offset;
    inner_->run({in.data(), out.data(), io.scratch + bytes_, nullptr});
    for (const Converted& c : out_) {
      const auto* from = reinterpret_cast<const float*>(io.scratch + c.offset);
      auto* to = static_cast<std::uint16_t*>(io.outputs[c.index]);
      for (std::size_t i = 0; i < c.elements; ++i) to[i] = half_from_float(from[i]);
    }
  }

 private:
  std::unique_ptr<Kernel> inner_;
  std::vector<Converted> in_, out_;
  std::size_t inputs_, outputs_, bytes_ = 0;
};

Array widened(const Array& half) {
  Array out = Array::zeros(DType::kFloat32, half.shape());
  const auto* from = reinterpret_cast<const std::uint16_t*>(half.data());
  for (std::size_t i = 0; i < half.elements(); ++i)
    out.mutable_span<float>()[i] = float_from_half(from[i]);
  return out;
}

}  // namespace

bool any_half(const OpSpec& spec) {
  for (const Operand& o : spec.inputs) {
    if (o.present && o.dtype == DType::kFloat16) return true;
  }
  return false;
}

std::unique_ptr<Kernel> prepare_half(OpSpec& spec, Prepare prepare) {
  OpSpec wide = spec;
  std::vector<Array> constants(spec.inputs.size());
  std::vector<Converted> in, out;
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    Operand& o = wide.inputs[i];
    if (!o.present || o.dtype != DType::kFloat16) continue;
    o.dtype = DType::kFloat32;
    in.push_back({i, shape_elements(o.shape), 0});
    if (o.constant == nullptr) continue;
    constants[i] = widened(*o.constant);
    o.constant = &constants[i];
  }
  for (Operand& o : wide.outputs) {
    if (o.dtype == DType::kFloat16) o.dtype = DType::kFloat32;
  }
  auto inner = prepare(wide);
  for (std::size_t i = 0; i < spec.outputs.size(); ++i) {
    spec.outputs[i].shape = wide.outputs[i].shape;
    if (spec.outputs[i].dtype == DType::kFloat16)
      out.push_back({i, shape_elements(spec.outputs[i].shape), 0});
  }
  return std::make_unique<HalfKernel>(std::move(inner), std::move(in), std::move(out),
                                      spec.inputs.size(), spec.outputs.size());
}

}  // namespace litegap
