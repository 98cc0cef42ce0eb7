// Small models for tests of training, made operator by operator.
#pragma once
#include "base/random.h"
#include "train/fit.h"

namespace litegap {

struct Net {
  Model model;
  Random random{7};
  Net() {
    model.path = "net";
    model.graphs.resize(1);
  }
  Graph& g() { return model.main(); }
  int tensor(Shape shape, DType dtype = DType::kFloat32) {
    Tensor t;
    t.name = "t" + std::to_string(g().tensors.size());
    t.shape = std::move(shape);
    t.dtype = dtype;
    t.has_rank = true;
    g().tensors.push_back(t);
    return static_cast<int>(g().tensors.size()) - 1;
  }
  int input(Shape shape, DType dtype = DType::kFloat32) {
    g().inputs.push_back(tensor(std::move(shape), dtype));
    return g().inputs.back();
  }
  int constant(Shape shape, double low = -1, double high = 1) {
    std::vector<float> v(shape_elements(shape));
    for (float& x : v) x = static_cast<float>(random.uniform(low, high));
    return given(shape, v);
  }
  int given(Shape shape, const std::vector<float>& v) {
    const int t = tensor(shape);
    g().tensors.back().constant = Array::of<float>(shape, v);
    return t;
  }
  int ints(const std::vector<std::int32_t>& v) {
    const int t = tensor({static_cast<std::int32_t>(v.size())}, DType::kInt32);
    g().tensors.back().constant = Array::of<std::int32_t>(g().tensors.back().shape, v);
    return t;
  }
  int scalar(std::int32_t v) {
    const int t = tensor({}, DType::kInt32);
    g().tensors.back().constant = Array::of<std::int32_t>({}, {v});
    return t;
  }
  int op(OpCode code, Attrs attrs, std::vector<int> inputs, Shape out,
         DType dtype = DType::kFloat32) {
    const int y = tensor(std::move(out), dtype);
    Op o;
    o.code = code;
    o.attrs = std::move(attrs);
    o.inputs = std::move(inputs);
    o.outputs = {y};
    g().ops.push_back(o);
    g().outputs = {y};
    return y;
  }
};

}  // namespace litegap
