// Models and arrays as text, for tests of the command line: no binary file has to be kept.
//
//   tensor x float32 [1,2]
//   tensor w int8 [2,2] scale 0.5 zero 0 = 1 -2 3 4
//   tensor y float32 [1,2]
//   input x
//   output y
//   op FULLY_CONNECTED x w - -> y activation=relu
//
// A tensor with values is a constant.  `scale` and `zero` take several values for one a channel,
// and then `axis N`.  `-` is an absent operand.  Options: activation=none|relu|relu6,
// padding=same|valid, stride=N, filter=N, beta=X, axis=N.
#pragma once
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/model.h"

namespace litegap {

inline DType dtype_from_name(const std::string& name) {
  for (int i = 0; i <= static_cast<int>(DType::kFloat8E5M2); ++i) {
    if (name == dtype_name(static_cast<DType>(i))) return static_cast<DType>(i);
  }
  fail("text model: unknown type {}", name);
}

inline Shape shape_from_text(const std::string& text) {
  Shape shape;
  std::string number;
  for (const char c : text) {
    if ((c >= '0' && c <= '9') || c == '-') {
      number += c;
    } else if (!number.empty()) {
      shape.push_back(std::stoi(number));
      number.clear();
    }
  }
  return shape;
}

template <class T>
Array array_from(const Shape& shape, const std::vector<double>& values) {
  Array a = Array::zeros(dtype_of<T>, shape);
  if (values.empty()) fail("text model: no values");
  auto* out = reinterpret_cast<T*>(a.mutable_data());
  // Fewer values than elements are repeated.
  for (std::size_t i = 0; i < a.elements(); ++i) out[i] = static_cast<T>(values[i % values.size()]);
  return a;
}

inline Array array_from_text(DType dtype, const Shape& shape, const std::vector<double>& values) {
  switch (dtype) {
    case DType::kFloat32:
      return array_from<float>(shape, values);
    case DType::kFloat64:
      return array_from<double>(shape, values);
    case DType::kInt8:
      return array_from<std::int8_t>(shape, values);
    case DType::kUint8:
      return array_from<std::uint8_t>(shape, values);
    case DType::kInt16:
      return array_from<std::int16_t>(shape, values);
    case DType::kInt32:
      return array_from<std::int32_t>(shape, values);
    case DType::kInt64:
      return array_from<std::int64_t>(shape, values);
    default:
      fail("text model: no constants of type {}", dtype_name(dtype));
  }
}

class TextModel {
 public:
  explicit TextModel(const std::string& path) {
    model_.path = path;
    model_.description = "text model";
    model_.graphs.emplace_back();
  }
  // False when the line is none of a model's.
  bool line(const std::string& text) {
    std::istringstream in(text);
    std::string word;
    in >> word;
    if (word == "tensor") {
      tensor(in);
    } else if (word == "input" || word == "output") {
      std::string name;
      while (in >> name)
        (word == "input" ? model_.main().inputs : model_.main().outputs).push_back(index(name));
    } else if (word == "op") {
      op(in);
    } else {
      return false;
    }
    return true;
  }
  const Model& model() const { return model_; }

 private:
  int index(const std::string& name) const {
    if (name == "-") return -1;
    const auto found = names_.find(name);
    if (found == names_.end()) fail("text model: no tensor {}", name);
    return found->second;
  }
  void tensor(std::istringstream& in) {
    Tensor t;
    std::string type, shape, word;
    in >> t.name >> type >> shape;
    t.dtype = dtype_from_name(type);
    t.shape = shape_from_text(shape);
    t.has_rank = true;
    std::vector<double> values;
    std::string part;
    while (in >> word) {
      if (word == "scale" || word == "zero" || word == "axis" || word == "=") {
        part = word;
      } else if (part == "scale") {
        t.quant.scale.push_back(std::stof(word));
      } else if (part == "zero") {
        t.quant.zero_point.push_back(std::stoll(word));
      } else if (part == "axis") {
        t.quant.axis = std::stoi(word);
      } else if (part == "=") {
        values.push_back(std::stod(word));
      } else {
        fail("text model: '{}' in tensor {}", word, t.name);
      }
    }
    t.quant.zero_point.resize(t.quant.scale.size(), 0);
    if (part == "=") t.constant = array_from_text(t.dtype, t.shape, values);
    names_[t.name] = static_cast<int>(model_.main().tensors.size());
    model_.main().tensors.push_back(std::move(t));
  }
  void op(std::istringstream& in) {
    Op op;
    std::string word;
    in >> word;
    for (int code = 0; code < 256; ++code) {
      if (op_name(static_cast<OpCode>(code)) == word) op.code = static_cast<OpCode>(code);
    }
    if (op.code == OpCode::kCustom) op.custom_code = word;
    bool outputs = false;
    std::map<std::string, std::string> options;
    while (in >> word) {
      const std::size_t equal = word.find('=');
      if (word == "->") {
        outputs = true;
      } else if (equal != std::string::npos) {
        options[word.substr(0, equal)] = word.substr(equal + 1);
      } else {
        (outputs ? op.outputs : op.inputs).push_back(index(word));
      }
    }
    set_attrs(op, options);
    model_.main().ops.push_back(std::move(op));
  }
  static void set_attrs(Op& op, const std::map<std::string, std::string>& options) {
    const auto text = [&](const char* key, const char* otherwise) {
      const auto found = options.find(key);
      return found == options.end() ? std::string(otherwise) : found->second;
    };
    const std::string name = text("activation", "none");
    const Activation activation = name == "relu"    ? Activation::kRelu
                                  : name == "relu6" ? Activation::kRelu6
                                                    : Activation::kNone;
    const Padding padding = text("padding", "same") == "same" ? Padding::kSame : Padding::kValid;
    const int stride = std::stoi(text("stride", "1")), filter = std::stoi(text("filter", "1"));
    switch (op.code) {
      case OpCode::kFullyConnected: {
        FullyConnectedAttrs a;
        a.activation = activation;
        op.attrs = a;
        break;
      }
      case OpCode::kConv2d:
        op.attrs = ConvAttrs{padding, stride, stride, activation};
        break;
      case OpCode::kDepthwiseConv2d:
        op.attrs = DepthwiseAttrs{padding, stride, stride, 1, activation};
        break;
      case OpCode::kAveragePool2d:
      case OpCode::kMaxPool2d:
        op.attrs = PoolAttrs{padding, stride, stride, filter, filter, activation};
        break;
      case OpCode::kAdd:
      case OpCode::kSub:
        op.attrs = AddAttrs{activation};
        break;
      case OpCode::kMul:
        op.attrs = ActivationAttrs{activation};
        break;
      case OpCode::kSoftmax:
        op.attrs = SoftmaxAttrs{std::stof(text("beta", "1"))};
        break;
      case OpCode::kConcatenation:
        op.attrs = ConcatAttrs{std::stoi(text("axis", "-1")), activation};
        break;
      default:
        break;
    }
  }

  Model model_;
  std::map<std::string, int> names_;
};

}  // namespace litegap
