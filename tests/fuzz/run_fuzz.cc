// From bytes to a small model to a result: whatever the bytes, planning refuses with Error or
// running ends, with the same answer each time.
//
// The first byte chooses:
//   0, 1  a graph made of the bytes, valid but for a few deliberate slips, in every arithmetic and
//         dialect
//   2     the same graph written as a file, some of its bytes changed, read again
//   3     the rest of the bytes taken as a file
//   4     a graph of any operators of the table (oracle/sketch.h), every one of them valid
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/random.h"
#include "oracle/graph_check.h"
#include "run/plan.h"
#include "run/plan_state.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

constexpr std::uint64_t kMemory = 16u << 20;  // bytes of activations
constexpr double kWork = 3e6;                 // multiplications a run may cost

// Takes the input apart; zeros when it has run dry.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  bool more() const { return at_ < size_; }
  int next() { return at_ < size_ ? data_[at_++] : 0; }
  int below(int n) { return next() % n; }
  int word() { return next() | next() << 8; }
  std::span<const std::uint8_t> rest() const { return {data_ + at_, size_ - at_}; }

 private:
  const std::uint8_t* data_;
  std::size_t size_, at_ = 0;
};

class Builder {
 public:
  explicit Builder(Bytes& bytes)
      : bytes_(bytes), random_(static_cast<std::uint64_t>(bytes.word())) {
    static constexpr DType kTypes[] = {DType::kInt8, DType::kUint8, DType::kInt16, DType::kFloat32};
    type_ = kTypes[bytes_.below(4)];
    model_.path = "fuzz";
    model_.graphs.emplace_back();
  }

  std::shared_ptr<Model> build() {
    Shape shape(4);
    for (auto& d : shape) d = 1 + bytes_.below(6);
    shape[0] = 1 + bytes_.below(2);
    add_input(shape);
    if (bytes_.below(3) == 0) add_input(shape);
    const int ops = 1 + bytes_.below(5);
    for (int i = 0; i < ops; ++i) add_op();
    graph().outputs = {last_};
    if (bytes_.below(4) == 0) graph().outputs.push_back(pool_[pick(pool_.size())]);
    return std::make_shared<Model>(std::move(model_));
  }

 private:
  Graph& graph() { return model_.main(); }
  const Shape& shape_of(int t) { return graph().tensors[static_cast<std::size_t>(t)].shape; }
  std::size_t pick(std::size_t n) {
    return static_cast<std::size_t>(bytes_.below(static_cast<int>(n)));
  }

  float scale() {
    static constexpr float kOdd[] = {0.0f,
                                     1e-38f,
                                     1e30f,
                                     std::numeric_limits<float>::infinity(),
                                     std::numeric_limits<float>::quiet_NaN(),
                                     -0.5f,
                                     1.0f,
                                     1.0f / 256};
    const int b = bytes_.next();
    if (b >= 248) return kOdd[b - 248];
    return std::exp2(static_cast<float>(b % 128 - 100) / 12) * (1 + static_cast<float>(b) / 1000);
  }
  std::int64_t zero_point(DType type) {
    if (type == DType::kInt8) return bytes_.next() - 128;
    if (type == DType::kUint8) return bytes_.next();
    return bytes_.below(40) == 0 ? bytes_.next() : 0;
  }

  int add_tensor(DType type, Shape shape) {
    Tensor t;
    t.name = "t" + std::to_string(graph().tensors.size());
    t.dtype = type;
    t.shape = std::move(shape);
    t.has_rank = true;
    graph().tensors.push_back(std::move(t));
    return static_cast<int>(graph().tensors.size()) - 1;
  }
  int add_activation(DType type, const Shape& shape) {
    const int t = add_tensor(type, shape);
    if (type != DType::kFloat32) set_quant(t, {scale()}, {zero_point(type)}, 0);
    return t;
  }
  void set_quant(int t, std::vector<float> scales, std::vector<std::int64_t> zeros, int axis) {
    Quant& q = graph().tensors[static_cast<std::size_t>(t)].quant;
    q.scale = std::move(scales);
    q.zero_point = std::move(zeros);
    q.axis = axis;
  }
  void share_quant(int from, int to) {
    auto& tensors = graph().tensors;
    if (bytes_.below(8) != 0)
      tensors[static_cast<std::size_t>(to)].quant = tensors[static_cast<std::size_t>(from)].quant;
  }
  void add_input(const Shape& shape) {
    last_ = add_activation(type_, shape);
    pool_.push_back(last_);
    graph().inputs.push_back(last_);
  }

  template <class T>
  int add_constant(const Shape& shape, const std::vector<T>& values) {
    const int t = add_tensor(dtype_of<T>, shape);
    graph().tensors[static_cast<std::size_t>(t)].constant = Array::of<T>(shape, values);
    return t;
  }
  int add_random(DType type, const Shape& shape, bool extremes) {
    const int t = add_tensor(type, shape);
    Array a = Array::zeros(type, shape);
    fill(a, random_, extremes);
    graph().tensors[static_cast<std::size_t>(t)].constant = std::move(a);
    return t;
  }

 public:
  static void fill(Array& a, Random& random, bool extremes) {
    if (a.dtype() == DType::kFloat32) {
      for (float& v : a.mutable_span<float>()) {
        v = static_cast<float>(random.normal());
        if (extremes && random.below(8) == 0) v *= 1e30f;
        if (extremes && random.below(32) == 0) v = std::numeric_limits<float>::quiet_NaN();
      }
      return;
    }
    const std::size_t width = a.elements() == 0 ? 1 : a.byte_size() / a.elements();
    for (std::size_t i = 0; i < a.elements(); ++i) {
      std::uint64_t code = random.bits();
      if (extremes && random.below(2) == 0)
        code = random.below(2) == 0 ? 0x7F7F7F7F7F7F7F7FULL : 0x8080808080808080ULL;
      if (a.dtype() == DType::kBool) code &= 1;
      if (width == 4 && !extremes)
        code = static_cast<std::uint64_t>(static_cast<std::int64_t>(random.below(20001)) - 10000);
      std::memcpy(a.mutable_data() + i * width, &code, std::min<std::size_t>(width, 8));
    }
  }

 private:
  // Weights with a bias for an operator with `channels` outputs.
  void add_weights(Op& op, const Shape& shape, int axis, int channels) {
    const bool extremes = bytes_.below(4) == 0;
    const DType type = type_ == DType::kUint8                        ? DType::kUint8
                       : type_ == DType::kFloat32 && bytes_.below(2) ? DType::kFloat32
                                                                     : DType::kInt8;
    const int w = add_random(type, shape, extremes);
    std::vector<float> scales;
    if (type != DType::kFloat32) {
      const bool per_channel = type == DType::kInt8 && bytes_.below(2) == 0;
      scales.resize(per_channel ? static_cast<std::size_t>(channels) : 1);
      for (float& s : scales) s = scale();
      set_quant(w, scales,
                std::vector<std::int64_t>(scales.size(), type == DType::kUint8 ? bytes_.next() : 0),
                axis);
    }
    op.inputs.push_back(w);
    if (bytes_.below(4) == 0) return;
    const DType bias = type_ == DType::kFloat32 ? DType::kFloat32
                       : type_ == DType::kInt16 ? DType::kInt64
                                                : DType::kInt32;
    const int b = add_random(bias, {channels + (bytes_.below(50) == 0 ? 1 : 0)},
                             extremes && bias != DType::kFloat32);
    if (bias != DType::kFloat32)
      set_quant(b, scales, std::vector<std::int64_t>(scales.size(), 0), 0);
    op.inputs.push_back(b);
  }

  Activation activation() {
    return static_cast<Activation>(bytes_.below(12) < 6 ? 0 : bytes_.below(4));
  }
  Padding padding() { return static_cast<Padding>(bytes_.below(2)); }
  int stride() { return bytes_.below(40) == 0 ? 0 : 1 + bytes_.below(3); }
  static int windowed(int in, int k, int stride, int dilation, Padding padding) {
    const int span = (k - 1) * dilation + 1;
    const int out = stride <= 0                 ? 1
                    : padding == Padding::kSame ? (in + stride - 1) / stride
                                                : (in - span + stride) / stride;
    return std::max(out, 1);
  }

  void finish(Op op, OpCode code, const Shape& shape, bool shared = false) {
    op.code = code;
    const int out = add_activation(type_, shape);
    if (shared) share_quant(op.inputs[0], out);
    if (code == OpCode::kSoftmax || code == OpCode::kLogistic || code == OpCode::kTanh)
      fix_scale(code, out);
    op.outputs = {out};
    graph().ops.push_back(std::move(op));
    last_ = out;
    pool_.push_back(out);
  }
  // The output scale that the format asks of these operators, mostly.
  void fix_scale(OpCode code, int t) {
    if (type_ == DType::kFloat32 || bytes_.below(8) == 0) return;
    const bool tanh = code == OpCode::kTanh;
    if (type_ == DType::kInt16)
      set_quant(t, {1.0f / 32768}, {0}, 0);
    else if (type_ == DType::kInt8)
      set_quant(t, {tanh ? 1.0f / 128 : 1.0f / 256}, {tanh ? 0 : -128}, 0);
    else
      set_quant(t, {tanh ? 1.0f / 128 : 1.0f / 256}, {tanh ? 128 : 0}, 0);
  }

  void add_conv(Op& op, const Shape& in) {
    ConvAttrs a;
    a.padding = padding();
    a.stride_h = stride();
    a.stride_w = stride();
    a.dilation_h = 1 + bytes_.below(2);
    a.dilation_w = a.dilation_h;
    a.activation = activation();
    const int out = 1 + bytes_.below(9), kh = 1 + bytes_.below(3), kw = 1 + bytes_.below(3);
    add_weights(op, {out, kh, kw, in[3]}, 0, out);
    op.attrs = a;
    finish(op, OpCode::kConv2d,
           {in[0], windowed(in[1], kh, a.stride_h, a.dilation_h, a.padding),
            windowed(in[2], kw, a.stride_w, a.dilation_w, a.padding), out});
  }
  void add_depthwise(Op& op, const Shape& in) {
    DepthwiseAttrs a;
    a.padding = padding();
    a.stride_h = a.stride_w = stride();
    a.depth_multiplier = 1 + bytes_.below(2);
    a.activation = activation();
    const int out = in[3] * a.depth_multiplier, k = 1 + bytes_.below(3);
    add_weights(op, {1, k, k, out}, 3, out);
    op.attrs = a;
    finish(op, OpCode::kDepthwiseConv2d,
           {in[0], windowed(in[1], k, a.stride_h, 1, a.padding),
            windowed(in[2], k, a.stride_w, 1, a.padding), out});
  }
  void add_fully_connected(Op& op, const Shape& in) {
    FullyConnectedAttrs a;
    a.activation = activation();
    a.keep_num_dims = bytes_.below(2) == 1;
    const int out = 1 + bytes_.below(9), depth = in.back();
    add_weights(op, {out, depth}, 0, out);
    op.attrs = a;
    Shape shape = in;
    shape.back() = out;
    const auto rows =
        static_cast<std::int32_t>(shape_elements(in) / static_cast<std::size_t>(depth));
    finish(op, OpCode::kFullyConnected, a.keep_num_dims ? shape : Shape{rows, out});
  }
  void add_pool(Op& op, const Shape& in, bool average) {
    PoolAttrs a;
    a.padding = padding();
    a.stride_h = stride();
    a.stride_w = stride();
    a.filter_h = 1 + bytes_.below(3);
    a.filter_w =
        bytes_.below(30) == 0 ? std::numeric_limits<std::int32_t>::max() : 1 + bytes_.below(3);
    a.activation = activation();
    op.attrs = a;
    finish(op, average ? OpCode::kAveragePool2d : OpCode::kMaxPool2d,
           {in[0], windowed(in[1], a.filter_h, a.stride_h, 1, a.padding),
            windowed(in[2], std::min(a.filter_w, 3), a.stride_w, 1, a.padding), in[3]},
           true);
  }
  void add_pair(Op& op, const Shape& in) {
    const int other = pool_[pick(pool_.size())];
    op.inputs.push_back(bytes_.below(3) == 0 ? add_activation_constant({in.back()}) : other);
    if (bytes_.below(2) == 0) std::swap(op.inputs[0], op.inputs[1]);
    switch (bytes_.below(6)) {
      case 0:
        op.attrs = AddAttrs{activation(), bytes_.below(2) == 1};
        return finish(op, OpCode::kAdd, in);
      case 1:
        op.attrs = AddAttrs{activation(), bytes_.below(2) == 1};
        return finish(op, OpCode::kSub, in);
      case 2:
        op.attrs = ActivationAttrs{activation()};
        return finish(op, OpCode::kMul, in);
      case 3:
        return finish(op, OpCode::kMaximum, in, true);
      case 4:
        return finish(op, OpCode::kSquaredDifference, in);
      default:
        op.attrs = ActivationAttrs{activation()};
        return finish(op, OpCode::kDiv, in);
    }
  }
  int add_activation_constant(const Shape& shape) {
    const int t = add_random(type_, shape, bytes_.below(4) == 0);
    if (type_ != DType::kFloat32) set_quant(t, {scale()}, {zero_point(type_)}, 0);
    return t;
  }
  void add_unary(Op& op, const Shape& in) {
    switch (bytes_.below(10)) {
      case 0:
        op.attrs = SoftmaxAttrs{bytes_.below(4) == 0 ? scale() : 1.0f};
        return finish(op, OpCode::kSoftmax, in);
      case 1:
        return finish(op, OpCode::kLogistic, in);
      case 2:
        return finish(op, OpCode::kTanh, in);
      case 3:
        return finish(op, OpCode::kRelu, in);
      case 4:
        return finish(op, OpCode::kRelu6, in);
      case 5:
        op.attrs = LeakyReluAttrs{bytes_.below(2) == 0 ? 0.1f : -scale()};
        return finish(op, OpCode::kLeakyRelu, in);
      case 6:
        return finish(op, OpCode::kHardSwish, in);
      case 7:
        return finish(op, OpCode::kQuantize, in);
      case 8:
        op.attrs = ActivationAttrs{};
        return finish(op, OpCode::kL2Normalization, in);
      default:
        return finish(op, OpCode::kRsqrt, in);
    }
  }
  void add_layout(Op& op, const Shape& in) {
    const auto rank = static_cast<int>(in.size());
    Shape out = in;
    switch (bytes_.below(7)) {
      case 0: {
        const auto all = static_cast<std::int32_t>(shape_elements(in));
        op.inputs.push_back(add_constant<std::int32_t>({2}, {1, bytes_.below(8) == 0 ? -1 : all}));
        op.attrs = ReshapeAttrs{};
        return finish(op, OpCode::kReshape, {1, all}, true);
      }
      case 1: {
        std::vector<std::int32_t> order;
        for (int i = 0; i < rank; ++i) order.push_back((i + 1) % rank);
        if (bytes_.below(20) == 0) order[0] = bytes_.next() - 128;
        for (int i = 0; i < rank; ++i)
          out[static_cast<std::size_t>(i)] = in[static_cast<std::size_t>((i + 1) % rank)];
        op.inputs.push_back(add_constant<std::int32_t>({rank}, order));
        return finish(op, OpCode::kTranspose, out, true);
      }
      case 2: {
        std::vector<std::int32_t> pads;
        for (int i = 0; i < rank; ++i) {
          const int before = bytes_.below(30) == 0 ? -1 : bytes_.below(3), after = bytes_.below(3);
          pads.insert(pads.end(), {before, after});
          out[static_cast<std::size_t>(i)] += before + after;
        }
        for (auto& d : out) d = std::max(d, 0);
        op.inputs.push_back(add_constant<std::int32_t>({rank, 2}, pads));
        return finish(op, OpCode::kPad, out, true);
      }
      case 3: {
        op.inputs.push_back(pool_[pick(pool_.size())]);
        const int axis = bytes_.below(20) == 0 ? bytes_.next() - 128 : bytes_.below(rank);
        op.attrs = ConcatAttrs{axis, activation()};
        if (axis >= 0 && axis < rank) out[static_cast<std::size_t>(axis)] *= 2;
        return finish(op, OpCode::kConcatenation, out, true);
      }
      case 4: {
        op.inputs.push_back(
            add_constant<std::int32_t>({2}, {bytes_.below(5) - 1, bytes_.below(rank)}));
        const bool keep = bytes_.below(2) == 1;
        op.attrs = ReducerAttrs{keep};
        return finish(op, bytes_.below(4) == 0 ? OpCode::kSum : OpCode::kMean,
                      keep ? Shape{in[0], 1, 1, in.back()} : Shape{in[0], in.back()});
      }
      case 5: {
        std::vector<std::int32_t> begin, size;
        for (int i = 0; i < rank; ++i) {
          const int d = in[static_cast<std::size_t>(i)], at = d > 0 ? bytes_.below(d) : 0;
          begin.push_back(bytes_.below(30) == 0 ? -7 : at);
          size.push_back(bytes_.below(4) == 0 ? -1 : d - at);
          out[static_cast<std::size_t>(i)] = d - at;
        }
        op.inputs.push_back(add_constant<std::int32_t>({rank}, begin));
        op.inputs.push_back(add_constant<std::int32_t>({rank}, size));
        return finish(op, OpCode::kSlice, out, true);
      }
      default: {
        if (rank != 4) return add_unary(op, in);
        const int h = bytes_.below(12), w = 1 + bytes_.below(12);
        op.inputs.push_back(add_constant<std::int32_t>({2}, {h, w}));
        op.attrs = ResizeAttrs{bytes_.below(2) == 1, bytes_.below(2) == 1};
        return finish(
            op, bytes_.below(2) == 0 ? OpCode::kResizeBilinear : OpCode::kResizeNearestNeighbor,
            {in[0], h, w, in[3]}, true);
      }
    }
  }

  void add_op() {
    const Shape in = shape_of(last_);
    Op op;
    op.inputs = {last_};
    const int kind = bytes_.below(9);
    const bool image = in.size() == 4 && shape_elements(in) > 0 && shape_elements(in) < 20000;
    if (in.empty() || shape_elements(in) == 0) return add_unary(op, in);
    if (kind == 0 && image) return add_conv(op, in);
    if (kind == 1 && image) return add_depthwise(op, in);
    if (kind == 2 || (kind < 2 && !image)) return add_fully_connected(op, in);
    if ((kind == 3 || kind == 4) && image) return add_pool(op, in, kind == 3);
    if (kind == 5 || kind == 6) return add_pair(op, in);
    if (kind == 7) return add_unary(op, in);
    add_layout(op, in);
  }

  Bytes& bytes_;
  Random random_;
  DType type_;
  Model model_;
  std::vector<int> pool_;
  int last_ = -1;
};

// An upper bound of the multiplications of one run.
double work_of(const Plan& plan) {
  double work = 0;
  const auto elements = [&](int slot) {
    return slot < 0 ? 0.0 : static_cast<double>(shape_elements(plan.state->slot(slot).shape));
  };
  for (const auto& step : plan.state->steps) {
    double in = 0, out = 0, constants = 1;
    for (const int s : step.inputs) in += elements(s);
    for (const int s : step.outputs) out += elements(s);
    for (const int s : step.inputs) {
      if (s >= 0 && plan.state->slot(s).constant) constants = std::max(constants, elements(s));
    }
    const OpCode code = step.op < 0
                            ? OpCode::kCustom
                            : plan.model().main().ops[static_cast<std::size_t>(step.op)].code;
    const bool heavy = code == OpCode::kConv2d || code == OpCode::kDepthwiseConv2d ||
                       code == OpCode::kFullyConnected || code == OpCode::kTransposeConv ||
                       code == OpCode::kUnidirectionalSequenceLstm || code == OpCode::kBatchMatmul;
    const bool pool = code == OpCode::kAveragePool2d || code == OpCode::kMaxPool2d;
    work += in + out + (heavy ? (in + out) * constants : pool ? in * out : 0);
  }
  return work;
}

void require(bool true_thing, const char* what) {
  if (true_thing) return;
  std::fprintf(stderr, "run_fuzz: %s\n", what);
  std::abort();
}

std::vector<Array> results_of(const Plan& plan, Workspace& space, std::span<const Array> inputs) {
  space.reset();
  run(plan, space, inputs);
  std::vector<Array> results;
  for (std::size_t i = 0; i < plan.output_count(); ++i) results.push_back(space.output(i).clone());
  return results;
}

void require_equal(const std::vector<Array>& a, const std::vector<Array>& b, const char* what) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto x = a[i].bytes(), y = b[i].bytes();
    require(x.size() == y.size() && (x.empty() || std::memcmp(x.data(), y.data(), x.size()) == 0),
            what);
  }
}

// Plans, and where that succeeds runs twice and once with every value kept; all must agree.
void exercise(const ModelPtr& model, const Numerics& numerics, bool zeros) {
  PlanOptions options;
  options.memory_limit = kMemory;
  Plan plan;
  try {
    plan = make_plan(model, numerics, options);
  } catch (const Error&) {
    return;
  }
  if (work_of(plan) > kWork) return;
  Random random(1);
  std::vector<Array> inputs;
  for (std::size_t i = 0; i < plan.input_count(); ++i) {
    inputs.push_back(Array::zeros(plan.input_type(i), plan.input_shape(i)));
    if (!zeros) Builder::fill(inputs.back(), random, true);
  }
  Workspace space(plan);
  const auto first = results_of(plan, space, inputs);
  require_equal(first, results_of(plan, space, inputs), "a second run differs from the first");
  options.keep_values = true;
  options.memory_limit = 4 * kMemory;
  Plan keeping;
  try {
    keeping = make_plan(model, numerics, options);
  } catch (const Error&) {
    return;  // every tensor apart needs more memory than the limit
  }
  Workspace room(keeping);
  require_equal(first, results_of(keeping, room, inputs), "keeping every value changes the result");
}

void exercise_all(const ModelPtr& model, bool zeros) {
  for (const Arith arith : {Arith::kReal, Arith::kFake, Arith::kInteger}) {
    for (const Dialect dialect : {Dialect::kReference, Dialect::kBuiltin, Dialect::kXnnpack}) {
      Numerics numerics{.arith = arith, .dialect = dialect};
      exercise(model, numerics, zeros);
      if (model->graphs.empty() || model->main().ops.empty()) continue;
      numerics.overrides[0] = arith == Arith::kInteger ? Arith::kFake : Arith::kInteger;
      exercise(model, numerics, zeros);
    }
  }
}

void read_and_exercise(std::vector<std::byte> bytes) {
  const auto owner = std::make_shared<std::vector<std::byte>>(std::move(bytes));
  ModelPtr model;
  try {
    model = parse_model(*owner, owner, "fuzz");
  } catch (const Error&) {
    return;
  }
  exercise_all(model, true);
}

}  // namespace
}  // namespace litegap

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace litegap;
  Bytes bytes(data, size);
  const int kind = bytes.below(5);
  if (kind == 4) {
    oracle::Draw draw(bytes.rest());
    oracle::Sketch sketch =
        oracle::sketch_graph(draw, draw.in(1, 6), static_cast<Dialect>(draw.in(0, 2)));
    if (sketch.ops() > 0) exercise_all(sketch.model(), false);
    return 0;
  }
  if (kind == 3) {
    const auto rest = std::as_bytes(bytes.rest());
    read_and_exercise({rest.begin(), rest.end()});
    return 0;
  }
  const auto model = Builder(bytes).build();
  if (kind < 2) {
    exercise_all(model, false);
    return 0;
  }
  std::vector<std::byte> file = serialize_model(*model);
  while (bytes.more() && !file.empty()) {
    const auto at = static_cast<std::size_t>(bytes.word()) % file.size();
    file[at] = static_cast<std::byte>(bytes.next());
  }
  read_and_exercise(std::move(file));
  return 0;
}
