#include "oracle/node.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "oracle/op_case.h"

namespace litegap::oracle {

Codes Node::codes(std::size_t i) const {
  const Quant& q = in.at(i).quant;
  return {type(i), shape(i), codes_of(array(i)), q.scale.at(0),
          static_cast<std::int32_t>(q.zero_point.at(0))};
}
Codes Node::result(Shape shape, std::size_t i) const {
  const Quant& q = out_quants.at(i);
  return {out_types.at(i),
          std::move(shape),
          {},
          q.scale.at(0),
          static_cast<std::int32_t>(q.zero_point.at(0))};
}

std::size_t width_of(DType type) { return static_cast<std::size_t>(dtype_bits(type)) / 8; }

bool is_float(DType t) {
  return t == DType::kFloat32 || t == DType::kFloat64 || t == DType::kFloat16;
}

namespace {

template <class T>
T read(const Array& a, std::size_t i) {
  T v{};
  std::memcpy(&v, a.data() + i * width_of(a.dtype()), sizeof(T));
  return v;
}
template <class T>
void write(Array& a, std::size_t i, T v) {
  std::memcpy(a.mutable_data() + i * width_of(a.dtype()), &v, sizeof(T));
}

}  // namespace

double imaginary(const Array& a, std::size_t i) {
  if (a.dtype() == DType::kComplex128) {
    double v = 0;
    std::memcpy(&v, a.data() + i * 16 + 8, sizeof(v));
    return v;
  }
  float v = 0;
  std::memcpy(&v, a.data() + i * 8 + 4, sizeof(v));
  return static_cast<double>(v);
}

std::int64_t integer(const Array& a, std::size_t i) {
  switch (a.dtype()) {
    case DType::kInt8:
      return read<std::int8_t>(a, i);
    case DType::kUint8:
    case DType::kBool:
      return read<std::uint8_t>(a, i);
    case DType::kInt16:
      return read<std::int16_t>(a, i);
    case DType::kUint16:
      return read<std::uint16_t>(a, i);
    case DType::kInt32:
      return read<std::int32_t>(a, i);
    case DType::kUint32:
      return read<std::uint32_t>(a, i);
    default:
      return read<std::int64_t>(a, i);
  }
}

double number(const Array& a, std::size_t i) {
  switch (a.dtype()) {
    case DType::kFloat32:
    case DType::kComplex64:
      return static_cast<double>(read<float>(a, i));
    case DType::kFloat64:
    case DType::kComplex128:
      return read<double>(a, i);
    case DType::kFloat16:
      return static_cast<double>(float_from_half(read<std::uint16_t>(a, i)));
    case DType::kUint64:
      return static_cast<double>(read<std::uint64_t>(a, i));
    default:
      return static_cast<double>(integer(a, i));
  }
}

void put(Array& a, std::size_t i, double v) {
  switch (a.dtype()) {
    case DType::kFloat32:
      return write(a, i, static_cast<float>(v));
    case DType::kFloat64:
      return write(a, i, v);
    case DType::kFloat16:
      return write(a, i, half_from_float(static_cast<float>(v)));
    default:
      return put_integer(a, i, static_cast<std::int64_t>(v));
  }
}
void put_integer(Array& a, std::size_t i, std::int64_t v) {
  std::memcpy(a.mutable_data() + i * width_of(a.dtype()), &v,
              std::min<std::size_t>(width_of(a.dtype()), 8));
}

double magnitude(const Array& a) {
  double peak = 0;
  for (std::size_t i = 0; i < a.elements(); ++i) peak = std::max(peak, std::abs(number(a, i)));
  return peak;
}

bool is_codes(const Node& n, std::size_t i) {
  const DType t = n.type(i);
  return (t == DType::kInt8 || t == DType::kUint8 || t == DType::kInt16) && !n.in[i].quant.empty();
}

std::vector<std::int64_t> integers_of(const Array& a) {
  std::vector<std::int64_t> v;
  for (std::size_t i = 0; i < a.elements(); ++i) v.push_back(integer(a, i));
  return v;
}
std::vector<float> floats_of(const Array& a) {
  const auto all = a.span<float>();
  return {all.begin(), all.end()};
}
Array array_like(DType type, const Shape& shape, const std::vector<double>& values) {
  Array a = Array::zeros(type, shape);
  for (std::size_t i = 0; i < values.size(); ++i) put(a, i, values[i]);
  return a;
}

void each(const Shape& shape, const std::function<void(const Shape&, std::size_t)>& f) {
  for (std::size_t i = 0; i < shape_elements(shape); ++i) f(unflat(shape, i), i);
}

Array pick(const Array& from, const Shape& out,
           const std::function<std::int64_t(const Shape&)>& at) {
  Array to = Array::zeros(from.dtype(), out);
  const std::size_t w = width_of(from.dtype());
  each(out, [&](const Shape& index, std::size_t i) {
    const std::int64_t p = at(index);
    if (p >= 0)
      std::memcpy(to.mutable_data() + i * w, from.data() + static_cast<std::size_t>(p) * w, w);
  });
  return to;
}

Shape broadcast_shape(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()), 1);
  for (const Shape* s : {&a, &b}) {
    for (std::size_t k = 0; k < s->size(); ++k) {
      std::int32_t& d = out[out.size() - 1 - k];
      if ((*s)[s->size() - 1 - k] != 1) d = (*s)[s->size() - 1 - k];
    }
  }
  return out;
}
std::size_t axis_of(std::int64_t axis, std::size_t rank) {
  return static_cast<std::size_t>(axis < 0 ? axis + static_cast<std::int64_t>(rank) : axis);
}

std::string difference_of(const Array& got, const Array& want, double tolerance, double scale) {
  if (got.dtype() != want.dtype())
    return fmt::format("type {}, the judge says {}", dtype_name(got.dtype()),
                       dtype_name(want.dtype()));
  if (got.shape() != want.shape())
    return fmt::format("shape {}, the judge says {}", shape_text(got.shape()),
                       shape_text(want.shape()));
  const DType t = want.dtype();
  const bool complex = t == DType::kComplex64 || t == DType::kComplex128;
  if (!is_float(t) && !complex) {
    const std::size_t w = width_of(t);
    for (std::size_t i = 0; i < want.elements(); ++i) {
      if (std::memcmp(got.data() + i * w, want.data() + i * w, w) != 0)
        return fmt::format("element {} of {} is {}, the judge says {}", i, shape_text(want.shape()),
                           integer(got, i), integer(want, i));
    }
    return "";
  }
  const auto parts = [&](const Array& a) {
    std::vector<double> v;
    for (std::size_t i = 0; i < a.elements(); ++i) {
      v.push_back(number(a, i));
      if (t == DType::kComplex64) v.push_back(imaginary(a, i));
    }
    return v;
  };
  const std::vector<double> g = parts(got), w = parts(want);
  double peak = scale;
  for (const double v : w) peak = std::max(peak, std::isfinite(v) ? std::abs(v) : 0.0);
  for (std::size_t i = 0; i < w.size(); ++i) {
    const bool same = std::isnan(w[i])   ? std::isnan(g[i])
                      : std::isinf(w[i]) ? g[i] == w[i]
                                         : std::abs(g[i] - w[i]) <= tolerance * peak;
    if (!same)
      return fmt::format("element {} of {} is {}, the judge says {} (peak {})", i,
                         shape_text(want.shape()), g[i], w[i], peak);
  }
  return "";
}

std::string disagreement(const Verdict& verdict, const std::vector<Array>& outputs) {
  if (verdict.outputs.size() != outputs.size())
    return fmt::format("{} outputs, the judge says {}", outputs.size(), verdict.outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::string wrong =
        difference_of(outputs[i], verdict.outputs[i], verdict.tolerance, verdict.scale);
    if (!wrong.empty()) return fmt::format("output {}: {}", i, wrong);
  }
  return "";
}

}  // namespace litegap::oracle
