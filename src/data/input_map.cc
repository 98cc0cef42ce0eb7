#include <charconv>
#include <cmath>
#include <functional>

#include "base/error.h"
#include "data/dataset.h"

namespace litegap {
namespace {

// scale * x + offset; one element, or one per channel.
struct Affine {
  std::vector<double> scale, offset;
  bool constant() const {
    for (const double s : scale) {
      if (s != 0) return false;
    }
    return true;
  }
};

class Parser {
 public:
  Parser(const std::string& whole, std::string_view text, std::size_t start, char variable)
      : whole_(whole), text_(text), start_(start), variable_(variable) {}

  Affine parse() {
    const Affine value = sum();
    skip();
    if (at_ < text_.size()) complain("expected an operator");
    for (const std::vector<double>* part : {&value.scale, &value.offset}) {
      for (const double v : *part) {
        if (!std::isfinite(v)) complain("the result is not finite");
      }
    }
    return value;
  }

 private:
  [[noreturn]] void complain(const std::string& what) const {
    fail("input map '{}': {} at character {}", whole_, what, start_ + at_ + 1);
  }
  void skip() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool take(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  Affine combine(const Affine& a, const Affine& b, const std::function<double(double, double)>& f) {
    Affine r;
    const auto merge = [&](const std::vector<double>& p, const std::vector<double>& q) {
      const std::size_t n = std::max(p.size(), q.size());
      if ((p.size() != 1 && p.size() != n) || (q.size() != 1 && q.size() != n)) {
        complain(fmt::format("vectors of {} and {} channels", p.size(), q.size()));
      }
      std::vector<double> out(n);
      for (std::size_t i = 0; i < n; ++i) {
        out[i] = f(p[p.size() == 1 ? 0 : i], q[q.size() == 1 ? 0 : i]);
      }
      return out;
    };
    r.scale = merge(a.scale, b.scale);
    r.offset = merge(a.offset, b.offset);
    return r;
  }
  // a with both parts combined with the constant b.
  Affine with_constant(const Affine& a, const Affine& b,
                       const std::function<double(double, double)>& f) {
    return combine(a, Affine{b.offset, b.offset}, f);
  }
  Affine sum() {
    Affine left = product();
    while (true) {
      if (take('+')) {
        left = combine(left, product(), std::plus<>());
      } else if (take('-')) {
        left = combine(left, product(), std::minus<>());
      } else {
        return left;
      }
    }
  }
  Affine product() {
    Affine left = atom();
    while (true) {
      if (take('*')) {
        const Affine right = atom();
        if (right.constant()) {
          left = with_constant(left, right, std::multiplies<>());
        } else if (left.constant()) {
          left = with_constant(right, left, std::multiplies<>());
        } else {
          complain("the square of the variable is not affine");
        }
      } else if (take('/')) {
        const Affine right = atom();
        if (!right.constant()) complain("the variable in a divisor is not affine");
        left = with_constant(left, right, std::divides<>());
      } else {
        return left;
      }
    }
  }
  Affine atom() {
    skip();
    if (++atoms_ > 200) complain("too long an expression");  // bounds the recursion too
    if (take('-')) {
      return with_constant(atom(), Affine{{0}, {-1}}, std::multiplies<>());
    }
    if (take('(')) {
      const Affine inside = sum();
      if (!take(')')) complain("expected ')'");
      return inside;
    }
    if (take(variable_)) return Affine{{1}, {0}};
    if (take('[')) {
      Affine vector{{0}, {}};
      do {
        vector.offset.push_back(signed_number());
      } while (take(','));
      if (!take(']')) complain("expected ']'");
      return vector;
    }
    return Affine{{0}, {number()}};
  }
  double signed_number() { return take('-') ? -number() : number(); }
  double number() {
    skip();
    double value = 0;
    const char* begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error != std::errc() || !std::isfinite(value)) {
      complain(fmt::format("expected a number, {} or '('", variable_));
    }
    at_ += static_cast<std::size_t>(end - begin);
    return value;
  }

  const std::string& whole_;
  std::string_view text_;
  std::size_t start_;
  char variable_;
  std::size_t at_ = 0;
  int atoms_ = 0;
};

std::string_view trim(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

std::vector<double> spread(const std::vector<double>& values, std::size_t n) {
  return values.size() == 1 ? std::vector<double>(n, values[0]) : values;
}

void set_affine(InputMap& map, const Affine& affine, bool second) {
  const std::size_t n = std::max(affine.scale.size(), affine.offset.size());
  if (n == 1 && !second) {
    map.scale = affine.scale[0];
    map.offset = affine.offset[0];
    return;
  }
  map.channel_scale = spread(affine.scale, n);
  map.channel_offset = spread(affine.offset, n);
}

std::string affine_text(double scale, double offset) {
  std::string text = "x";
  const double inverse = 1 / scale;
  if (scale != 1) {
    const std::string divisor = fmt::format("{}", inverse);
    if (divisor.size() <= 6 && inverse > 0 && 1 / inverse == scale) {
      text += "/" + divisor;
    } else {
      text += fmt::format("*{}", scale);
    }
  }
  if (offset > 0) text += "+";
  if (offset != 0) text += fmt::format("{}", offset);
  return text;
}

template <class T>
double element(const Array& a, std::size_t i) {
  return static_cast<double>(reinterpret_cast<const T*>(a.data())[i]);
}

// Without channels and layouts a sample is mapped in one loop.
struct Plain {
  double scale, offset, then_scale, then_offset;
  bool twice;
};

template <class T>
void map_plain(const Array& a, const Plain& p, std::span<float> out) {
  const T* in = reinterpret_cast<const T*>(a.data());
  if (p.twice) {
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<float>(p.then_scale * (p.scale * static_cast<double>(in[i]) + p.offset) +
                                  p.then_offset);
    return;
  }
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<float>(p.scale * static_cast<double>(in[i]) + p.offset);
}

// False where the type has no such loop.
bool map_plain(const InputMap& map, const Array& a, std::span<float> out) {
  if (map.reverse_channels || map.transpose_chw || map.channel_scale.size() > 1) return false;
  const bool twice = !map.channel_scale.empty();
  const Plain p{map.scale, map.offset, twice ? map.channel_scale[0] : 1,
                twice ? map.channel_offset[0] : 0, twice};
  switch (a.dtype()) {
    case DType::kFloat32:
      map_plain<float>(a, p, out);
      return true;
    case DType::kInt8:
      map_plain<std::int8_t>(a, p, out);
      return true;
    case DType::kUint8:
      map_plain<std::uint8_t>(a, p, out);
      return true;
    case DType::kInt16:
      map_plain<std::int16_t>(a, p, out);
      return true;
    case DType::kInt32:
      map_plain<std::int32_t>(a, p, out);
      return true;
    case DType::kInt64:
      map_plain<std::int64_t>(a, p, out);
      return true;
    default:
      return false;
  }
}

using Get = double (*)(const Array&, std::size_t);
Get getter(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return element<float>;
    case DType::kFloat64:
      return element<double>;
    case DType::kInt8:
      return element<std::int8_t>;
    case DType::kUint8:
      return element<std::uint8_t>;
    case DType::kBool:
      return element<std::uint8_t>;
    case DType::kInt16:
      return element<std::int16_t>;
    case DType::kUint16:
      return element<std::uint16_t>;
    case DType::kInt32:
      return element<std::int32_t>;
    case DType::kUint32:
      return element<std::uint32_t>;
    case DType::kInt64:
      return element<std::int64_t>;
    case DType::kUint64:
      return element<std::uint64_t>;
    case DType::kFloat16:
      return [](const Array& a, std::size_t i) {
        return static_cast<double>(
            float_from_half(reinterpret_cast<const std::uint16_t*>(a.data())[i]));
      };
    default:
      fail("input data of type {}, expected numbers", dtype_name(dtype));
  }
}

}  // namespace

InputMap parse_input_map(const std::string& expression) {
  InputMap map;
  const std::string_view whole = expression;
  std::size_t start = 0;
  int expressions = 0;
  while (start <= whole.size()) {
    const std::size_t end = std::min(whole.find(':', start), whole.size());
    const std::string_view part = whole.substr(start, end - start);
    const std::string_view word = trim(part);
    if (word == "bgr" && expressions == 0) {
      map.reverse_channels = true;
    } else if (word == "chw" && expressions == 0) {
      map.transpose_chw = true;
    } else if ((word == "rgb" || word == "hwc") && expressions == 0) {
      // The layout as it is: allowed, so that a script can always name one.
    } else if (word.empty()) {
      fail("input map '{}': expected bgr, chw or an expression in x at character {}", expression,
           start + 1);
    } else if (expressions == 2) {
      fail("input map '{}': a third expression at character {}", expression, start + 1);
    } else {
      const char variable = expressions == 0 ? 'x' : 'v';
      set_affine(map, Parser(expression, part, start, variable).parse(), expressions == 1);
      ++expressions;
    }
    start = end + 1;
  }
  return map;
}

std::string to_text(const InputMap& map) {
  std::string text;
  if (map.reverse_channels) text += "bgr:";
  if (map.transpose_chw) text += "chw:";
  text += affine_text(map.scale, map.offset);
  if (map.channel_scale.empty()) return text;
  return text + fmt::format(":v*[{}]+[{}]", fmt::join(map.channel_scale, ","),
                            fmt::join(map.channel_offset, ","));
}

Array apply_input_map(const InputMap& map, const Array& sample, const Shape& shape) {
  const std::size_t n = shape_elements(shape);
  if (sample.elements() != n) {
    fail("a sample of shape {} does not fit the input {}", shape_text(sample.shape()),
         shape_text(shape));
  }
  if (map.identity() && sample.dtype() == DType::kFloat32) return sample.reshaped(shape);
  const Get get = getter(sample.dtype());
  const std::size_t channels =
      shape.empty() ? 1 : static_cast<std::size_t>(std::max(1, shape.back()));
  const std::size_t vectors = map.channel_scale.size();  // one value serves all channels
  if (vectors > 1 && vectors != channels) {
    fail("input map {}: {} channels, the input {} has {}", to_text(map), vectors, shape_text(shape),
         channels);
  }
  std::size_t plane = 1;  // of the stored layout, for chw
  if (map.transpose_chw) {
    if (shape.size() < 3) {
      fail("input map {}: chw needs an input of height, width and channels, found {}", to_text(map),
           shape_text(shape));
    }
    plane = static_cast<std::size_t>(shape[shape.size() - 2]) *
            static_cast<std::size_t>(shape[shape.size() - 3]);
  }
  Array out = Array::zeros(DType::kFloat32, shape);
  const auto real = out.mutable_span<float>();
  if (map_plain(map, sample, real)) return out;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t c = i % channels;
    const std::size_t from = map.reverse_channels ? channels - 1 - c : c;
    std::size_t source = i - c + from;
    if (map.transpose_chw) {
      const std::size_t block = plane * channels, pixel = i % block / channels;
      source = i / block * block + from * plane + pixel;
    }
    double v = map.scale * get(sample, source) + map.offset;
    if (vectors > 0) {
      const std::size_t k = vectors == 1 ? 0 : c;
      v = map.channel_scale[k] * v + map.channel_offset[k];
    }
    real[i] = static_cast<float>(v);
  }
  return out;
}

Dataset map_dataset(const Dataset& bound, const Model& model, const InputMap& map) {
  Dataset d = bound;
  if (map.identity()) return d;
  for (std::size_t i = 0; i < d.inputs.size(); ++i) {
    const int t = model.main().inputs[i];
    const Shape& shape = model.main().tensors[static_cast<std::size_t>(t)].shape;
    Shape all = shape;
    all[0] = static_cast<std::int32_t>(d.count);
    Array to = Array::zeros(DType::kFloat32, all);
    const std::size_t size = shape_elements(shape);
    for (std::size_t r = 0; r < d.count; ++r) {
      const Array one = apply_input_map(map, d.inputs[i].slice0(r, r + 1), shape);
      std::copy(one.span<float>().begin(), one.span<float>().end(),
                to.mutable_span<float>().begin() + static_cast<std::ptrdiff_t>(r * size));
    }
    d.inputs[i] = to;
  }
  return d;
}

}  // namespace litegap
