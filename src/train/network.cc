#include "train/network.h"

#include <numeric>

namespace litegap {
namespace {

std::vector<float> row_of(const Array& y, std::size_t i, std::size_t width) {
  std::vector<float> row(width);
  for (std::size_t k = 0; k < width; ++k) {
    if (y.dtype() == DType::kInt64)
      row[k] = static_cast<float>(y.span<std::int64_t>()[i * width + k]);
    else
      row[k] = y.span<float>()[i * width + k];
  }
  return row;
}

class Builder {
 public:
  explicit Builder(const std::string& name) {
    model.path = name;
    model.description = "trained by litegap";
    model.graphs.emplace_back();
    model.graphs[0].name = "main";
  }
  int activation(const std::string& name, Shape shape) {
    Tensor t;
    t.name = name;
    t.shape = std::move(shape);
    return add(std::move(t));
  }
  int constant(const std::string& name, Array value) {
    Tensor t;
    t.name = name;
    t.dtype = value.dtype();
    t.shape = value.shape();
    t.constant = std::move(value);
    return add(std::move(t));
  }
  int op(OpCode code, std::vector<int> in, int out, Attrs attrs, int version = 1) {
    Op o;
    o.code = code;
    o.version = version;
    o.inputs = std::move(in);
    o.outputs = {out};
    o.attrs = std::move(attrs);
    model.main().ops.push_back(std::move(o));
    return out;
  }
  Model model;

 private:
  int add(Tensor t) {
    model.main().tensors.push_back(std::move(t));
    return static_cast<int>(model.main().tensors.size()) - 1;
  }
};

// [taps, in, out] -> [out, taps, in]: the file format wants the output channel first.
Array output_first(const std::vector<float>& w, std::size_t rows, std::size_t out, Shape shape) {
  Array a = Array::zeros(DType::kFloat32, std::move(shape));
  const auto v = a.mutable_span<float>();
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t o = 0; o < out; ++o) v[o * rows + r] = w[r * out + o];
  }
  return a;
}

int add_layer(Builder& b, const Layer3<float>& l, std::size_t index, int x, bool& flat) {
  const Activation act = l.spec.relu ? Activation::kRelu : Activation::kNone;
  const auto out = static_cast<std::size_t>(l.out_c);
  const std::string name =
      fmt::format("{}_{}",
                  l.spec.kind == LayerKind::kDense     ? "dense"
                  : l.spec.kind == LayerKind::kConv    ? "conv2d"
                  : l.spec.kind == LayerKind::kMaxPool ? "max_pooling2d"
                                                       : "global_average_pooling2d",
                  index);
  switch (l.spec.kind) {
    case LayerKind::kConv: {
      const int w =
          b.constant(name + "/kernel", output_first(l.weights, l.weights.size() / out, out,
                                                    {l.out_c, l.spec.size, l.spec.size, l.in_c}));
      const int bias = b.constant(name + "/bias", Array::of<float>({l.out_c}, l.bias));
      return b.op(OpCode::kConv2d, {x, w, bias}, b.activation(name, {1, l.out_h, l.out_w, l.out_c}),
                  ConvAttrs{Padding::kSame, 1, 1, act});
    }
    case LayerKind::kMaxPool:
      return b.op(OpCode::kMaxPool2d, {x}, b.activation(name, {1, l.out_h, l.out_w, l.out_c}),
                  PoolAttrs{Padding::kValid, l.spec.size, l.spec.size, l.spec.size, l.spec.size});
    case LayerKind::kGlobalAverage:
      flat = true;
      return b.op(OpCode::kMean,
                  {x, b.constant(name + "/axes", Array::of<std::int32_t>({2}, {1, 2}))},
                  b.activation(name, {1, l.out_c}), ReducerAttrs{false});
    case LayerKind::kDense: {
      const auto in = static_cast<std::int32_t>(l.in_size());
      if (!flat) {
        x = b.op(OpCode::kReshape,
                 {x, b.constant(name + "/shape", Array::of<std::int32_t>({2}, {-1, in}))},
                 b.activation(name + "/flatten", {1, in}), ReshapeAttrs{{-1, in}});
        flat = true;
      }
      const int w =
          b.constant(name + "/kernel", output_first(l.weights, l.in_size(), out, {l.out_c, in}));
      const int bias = b.constant(name + "/bias", Array::of<float>({l.out_c}, l.bias));
      return b.op(OpCode::kFullyConnected, {x, w, bias}, b.activation(name, {1, l.out_c}),
                  FullyConnectedAttrs{act});
    }
  }
  return x;
}

}  // namespace

std::vector<double> fit(Network<float>& net, const Array& x, const Array& y,
                        const FitOptions& options) {
  const std::size_t n = static_cast<std::size_t>(x.shape().at(0));
  const std::size_t width = options.loss == Loss::kCrossEntropy ? 1 : net.output_size();
  if (x.elements() != n * net.input_size())
    fail("training data of shape {} do not fit an input of {} values", shape_text(x.shape()),
         net.input_size());
  if (y.elements() != n * width)
    fail("{} targets for {} samples of {} values", y.elements(), n, width);
  Random random(options.seed);
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<double> losses;
  Network<float>::Values values;
  std::vector<float> gradient;
  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    random.shuffle(order);
    double sum = 0;
    for (std::size_t begin = 0; begin < n; begin += options.batch) {
      const std::size_t end = std::min(n, begin + options.batch);
      net.clear_gradients();
      for (std::size_t k = begin; k < end; ++k) {
        net.forward(x.span<float>().data() + order[k] * net.input_size(), values);
        const auto target = row_of(y, order[k], width);
        sum += loss_and_gradient(options.loss, values.back(), target.data(), gradient);
        net.backward(values, gradient);
      }
      net.step(static_cast<float>(options.rate), static_cast<float>(options.momentum), end - begin);
    }
    losses.push_back(sum / static_cast<double>(n));
    report_progress(options.progress, "training", static_cast<double>(epoch + 1) / options.epochs);
  }
  return losses;
}

Model to_model(const Network<float>& net, Loss loss, const std::string& name) {
  Builder b(name);
  const auto& in = net.input();
  const bool vector_input = in[0] == 1 && in[1] == 1;
  bool flat = vector_input;
  int x = b.activation("input", vector_input ? Shape{1, in[2]} : Shape{1, in[0], in[1], in[2]});
  b.model.main().inputs = {x};
  for (std::size_t i = 0; i < net.layers().size(); ++i)
    x = add_layer(b, net.layers()[i], i, x, flat);
  if (loss == Loss::kCrossEntropy)
    x = b.op(OpCode::kSoftmax, {x},
             b.activation("softmax", {1, static_cast<std::int32_t>(net.output_size())}),
             SoftmaxAttrs{1.0f});
  b.model.main().outputs = {x};
  b.model.signatures.push_back(
      {"serving_default", {{"input", b.model.main().inputs[0]}}, {{"output", x}}, 0});
  return std::move(b.model);
}

}  // namespace litegap
