// WHERE and UNIQUE: how much they give depends on the values, so they are prepared with them
// (docs/numerics.md, section on shapes that depend on data).
//
//   WHERE [[0, 2], [3, 0]]      -> [[0, 1], [1, 0]]     int64 indices of what is not zero
//   UNIQUE [7, 3, 7, 9]         -> [7, 3, 9], [0, 1, 0, 2]
#include <cstring>
#include <unordered_map>

#include "kernels/arithmetic_ops.h"
#include "kernels/needs_values.h"

namespace litegap {
namespace {

const Array& known_values(const OpSpec& spec) {
  if (spec.inputs[0].constant == nullptr) needs_values(spec, 0);
  return *spec.inputs[0].constant;
}

// ---- WHERE
template <class T>
std::vector<std::int64_t> places(const Array& condition) {
  std::vector<std::int64_t> found;
  const Shape& shape = condition.shape();
  const std::size_t rank = shape.size();
  const auto values = condition.span<T>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] == T(0)) continue;
    std::vector<std::int64_t> index(rank);
    std::size_t left = i;
    for (std::size_t d = rank; d-- > 0;) {
      index[d] = static_cast<std::int64_t>(left % static_cast<std::size_t>(shape[d]));
      left /= static_cast<std::size_t>(shape[d]);
    }
    found.insert(found.end(), index.begin(), index.end());
  }
  return found;
}

std::vector<std::int64_t> places_by_type(const OpSpec& spec, const Array& condition) {
  switch (condition.dtype()) {
    case DType::kBool:
      return places<bool>(condition);
    case DType::kFloat32:
      return places<float>(condition);
    case DType::kInt8:
      return places<std::int8_t>(condition);
    case DType::kUint8:
      return places<std::uint8_t>(condition);
    case DType::kInt32:
      return places<std::int32_t>(condition);
    case DType::kUint32:
      return places<std::uint32_t>(condition);
    case DType::kInt64:
      return places<std::int64_t>(condition);
    default:
      refuse(spec, "a condition of type {}", dtype_name(condition.dtype()));
  }
}

std::unique_ptr<Kernel> prepare_where(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 1);
  if (spec.outputs[0].dtype != DType::kInt64) {
    refuse(spec, "its output is {}, expected int64", dtype_name(spec.outputs[0].dtype));
  }
  const auto rank = static_cast<std::int32_t>(spec.inputs[0].shape.size());
  if (rank == 0) refuse(spec, "its condition is a single value");
  const std::vector<std::int64_t> found = places_by_type(spec, known_values(spec));
  spec.outputs[0].shape = {static_cast<std::int32_t>(found.size()) / rank, rank};
  return make_kernel([found](const Io& io) {
    if (!found.empty()) std::memcpy(io.outputs[0], found.data(), 8 * found.size());
  });
}

// ---- UNIQUE
struct Distinct {
  std::vector<std::byte> values;
  std::vector<std::int64_t> index;  // of each element among the distinct ones
};

template <class T>
Distinct distinct(const Array& given) {
  Distinct d;
  std::unordered_map<T, std::int64_t> known;
  for (const T v : given.span<T>()) {
    const auto [at, fresh] = known.try_emplace(v, static_cast<std::int64_t>(known.size()));
    if (fresh) {
      const auto* bytes = reinterpret_cast<const std::byte*>(&v);
      d.values.insert(d.values.end(), bytes, bytes + sizeof v);
    }
    d.index.push_back(at->second);
  }
  return d;
}

Distinct distinct_by_type(const OpSpec& spec, const Array& given) {
  switch (given.dtype()) {
    case DType::kFloat32:
      return distinct<float>(given);
    case DType::kInt8:
      return distinct<std::int8_t>(given);
    case DType::kUint8:
      return distinct<std::uint8_t>(given);
    case DType::kInt16:
      return distinct<std::int16_t>(given);
    case DType::kInt32:
      return distinct<std::int32_t>(given);
    case DType::kInt64:
      return distinct<std::int64_t>(given);
    default:
      refuse(spec, "values of type {}", dtype_name(given.dtype()));
  }
}

std::unique_ptr<Kernel> prepare_unique(OpSpec& spec) {
  expect_inputs(spec, 1, 1);
  expect_outputs(spec, 2);
  const DType index = spec.outputs[1].dtype;
  if (spec.inputs[0].shape.size() > 1) {
    refuse(spec, "values of shape {}, expected one axis", shape_text(spec.inputs[0].shape));
  }
  if (index != DType::kInt32 && index != DType::kInt64) {
    refuse(spec, "output 1 is {}, expected int32 or int64", dtype_name(index));
  }
  if (spec.outputs[0].dtype != spec.inputs[0].dtype) {
    refuse(spec, "output 0 is {}, the input {}", dtype_name(spec.outputs[0].dtype),
           dtype_name(spec.inputs[0].dtype));
  }
  const Distinct d = distinct_by_type(spec, known_values(spec));
  const std::size_t size = dtype_bytes(spec.inputs[0].dtype, 1);
  spec.outputs[0].shape = {static_cast<std::int32_t>(d.values.size() / size)};
  spec.outputs[1].shape = spec.inputs[0].shape;
  return make_kernel([d, index](const Io& io) {
    if (!d.values.empty()) std::memcpy(io.outputs[0], d.values.data(), d.values.size());
    for (std::size_t i = 0; i < d.index.size(); ++i) {
      if (index == DType::kInt32) {
        static_cast<std::int32_t*>(io.outputs[1])[i] = static_cast<std::int32_t>(d.index[i]);
      } else {
        static_cast<std::int64_t*>(io.outputs[1])[i] = d.index[i];
      }
    }
  });
}

constexpr KernelRow kRows[] = {
    {OpCode::kWhere, prepare_where, "bool float32 int8 uint8 int32 uint32 int64"},
    {OpCode::kUnique, prepare_unique, "float32 int8 uint8 int16 int32 int64"},
};

}  // namespace

std::span<const KernelRow> data_kernel_rows() { return kRows; }

}  // namespace litegap
