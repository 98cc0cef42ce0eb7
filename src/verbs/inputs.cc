#include "verbs/inputs.h"

#include "base/error.h"
#include "data/dataset.h"

namespace litegap {

void adapt_inputs(const Model& model, const std::string& where, GivenAs given,
                  std::vector<Array>& inputs) {
  const Graph& g = model.main();
  if (inputs.size() != g.inputs.size()) {
    fail("{}: {} arrays, but {} takes {} inputs", where, inputs.size(), model.path,
         g.inputs.size());
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& t = g.tensors[static_cast<std::size_t>(g.inputs[i])];
    const bool codes = !t.quant.empty() && t.dtype != DType::kFloat32;
    if (inputs[i].dtype() == DType::kFloat64 && t.dtype != DType::kFloat64 &&
        (!codes || given != GivenAs::kCodes)) {
      inputs[i] = sample_array(inputs[i]);
    }
    const bool real = inputs[i].dtype() == DType::kFloat32;
    if (codes && given == GivenAs::kReal && !real) {
      fail("{}: input {} is {}, expected float32 with --float-io", where, i,
           dtype_name(inputs[i].dtype()));
    }
    if (codes && real && given != GivenAs::kCodes) {
      inputs[i] = quantize(inputs[i], t.quant, t.dtype);
    }
    if (inputs[i].dtype() != t.dtype) {
      fail("{}: input {} ({}) is {}, the model takes {}{}", where, i, input_name(model, i),
           dtype_name(inputs[i].dtype()), dtype_name(t.dtype),
           codes && real ? "; --float-io takes real values" : "");
    }
  }
}

}  // namespace litegap
