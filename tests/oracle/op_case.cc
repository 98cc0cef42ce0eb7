#include "oracle/op_case.h"

#include <cstring>
#include <optional>

namespace litegap::oracle {

OpCase::OpCase(OpCode code, Attrs attrs, std::size_t outputs) : outputs_(outputs) {
  op_.code = code;
  op_.attrs = std::move(attrs);
}
OpCase& OpCase::add(Array value, Quant quant) {
  inputs_.push_back({std::move(value), std::move(quant), true, false, false});
  return *this;
}
OpCase& OpCase::constant(Array value, Quant quant) {
  inputs_.push_back({std::move(value), std::move(quant), true, true, false});
  return *this;
}
OpCase& OpCase::variable(Array value, Quant quant) {
  inputs_.push_back({std::move(value), std::move(quant), true, false, true});
  return *this;
}
OpCase& OpCase::absent() {
  inputs_.push_back({{}, {}, false, false, false});
  return *this;
}
OpCase& OpCase::intermediate(Quant quant) {
  intermediates_.push_back(std::move(quant));
  return *this;
}
OpCase& OpCase::output(DType type, Quant quant) {
  type_ = type;
  quant_ = std::move(quant);
  return *this;
}

OpCase& OpCase::types(std::vector<DType> types) {
  types_ = std::move(types);
  return *this;
}
OpCase& OpCase::custom(std::string name) {
  op_.custom_code = std::move(name);
  return *this;
}

OpCase& OpCase::body(std::vector<OpCode> codes) {
  body_ = std::move(codes);
  return *this;
}
OpCase& OpCase::shape(Shape shape) {
  shape_ = std::move(shape);
  return *this;
}
OpCase& OpCase::block_scales(Array scales) {
  inputs_.back().block_scales = std::move(scales);
  return *this;
}
OpCase& OpCase::sparse(int block) {
  inputs_.back().sparse_block = block;
  op_.version = 8;  // as converters write it
  return *this;
}

std::vector<Array> OpCase::run(Dialect dialect) {
  OpSpec spec;
  spec.op = &op_;
  spec.dialect = dialect;
  spec.label = "#0 " + op_name(op_.code);
  spec.body = body_;
  for (const Input& in : inputs_) {
    Operand o;
    o.present = in.present;
    o.dtype = in.value.dtype();
    o.shape = in.value.shape();
    o.quant = &in.quant;
    o.constant = in.constant ? &in.value : nullptr;
    o.is_variable = in.variable;
    o.block_scales = in.block_scales ? &*in.block_scales : nullptr;
    o.sparse = in.sparse_block > 0;
    o.sparse_block = in.sparse_block;
    o.name = "input";
    spec.inputs.push_back(o);
  }
  for (const Quant& q : intermediates_) {
    Operand o;
    o.present = true;
    o.quant = &q;
    o.name = "intermediate";
    spec.intermediates.push_back(o);
  }
  const DType type = type_.value_or(inputs_[0].value.dtype());
  for (std::size_t i = 0; i < outputs_; ++i) {
    Operand o;
    o.present = true;
    o.dtype = i < types_.size() ? types_[i] : type;
    o.quant = type_ ? &quant_ : &inputs_[0].quant;
    o.name = "output";
    o.shape = shape_;
    spec.outputs.push_back(o);
  }
  const KernelRow* row = kernel_row(op_);
  if (row == nullptr) fail("{}: no kernel", spec.label);
  const auto kernel = row->prepare(spec);
  std::vector<Array> results;
  std::vector<void*> in, out;
  for (Input& i : inputs_) {
    if (i.present && !i.constant) i.value = i.value.clone();
    in.push_back(!i.present ? nullptr : const_cast<std::byte*>(i.value.data()));
  }
  for (const Operand& o : spec.outputs) {
    results.push_back(Array::zeros(o.dtype, o.shape));
    // What run() does not write shows.
    if (results.back().byte_size() > 0)
      std::memset(results.back().mutable_data(), 0x5a, results.back().byte_size());
    out.push_back(results.back().mutable_data());
  }
  Array scratch = Array::zeros(DType::kUint8, {static_cast<std::int32_t>(kernel->scratch_bytes())});
  kernel->run(
      {in.data(), out.data(), scratch.byte_size() > 0 ? scratch.mutable_data() : nullptr, nullptr});
  return results;
}

Quant quant_of(float scale, std::int64_t zero_point) {
  Quant q;
  q.scale = {scale};
  q.zero_point = {zero_point};
  return q;
}

std::size_t flat(const Shape& shape, const Shape& index) {
  std::size_t at = 0;
  for (std::size_t d = 0; d < shape.size(); ++d)
    at = at * static_cast<std::size_t>(shape[d]) + static_cast<std::size_t>(index[d]);
  return at;
}

Shape unflat(const Shape& shape, std::size_t position) {
  Shape index(shape.size());
  for (std::size_t d = shape.size(); d-- > 0;) {
    index[d] = static_cast<std::int32_t>(position % static_cast<std::size_t>(shape[d]));
    position /= static_cast<std::size_t>(shape[d]);
  }
  return index;
}

}  // namespace litegap::oracle
