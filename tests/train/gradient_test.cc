// Every operator's gradient against finite differences, in double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "net.h"
#include "train/fake.h"

namespace litegap {
namespace {

struct Case {
  Net net;
  double low = -2, high = 2;  // of the inputs
  bool training = true;
  std::map<int, std::vector<double>> fixed;  // inputs that are no variables
  std::vector<int> statistics;               // constants without a gradient
};

// The weighted sum of the outputs and its gradients, at batch `batch`.
void check(Case& c, const std::string& name, int batch) {
  Net& net = c.net;
  // Several outputs (SPLIT …) are joined by the test's own weights, one output at a time.
  TrainGraph graph;
  graph.model = net.model;
  graph.batch = net.g().tensors[static_cast<std::size_t>(net.g().inputs[0])].shape[0];
  for (std::size_t t = 0; t < net.g().tensors.size(); ++t) {
    const Tensor& tensor = net.g().tensors[t];
    if (!tensor.constant || tensor.dtype != DType::kFloat32 || tensor.shape.empty()) continue;
    const bool statistic = std::count(c.statistics.begin(), c.statistics.end(), t) > 0;
    graph.parameters.push_back({static_cast<int>(t), !statistic});
  }
  for (const int output : net.g().ops.back().outputs) {
    Weights<double> w = initial_weights<double>(graph);
    TapeMode mode;
    mode.training = c.training;
    mode.update_statistics = false;
    std::vector<FakeSlot> slots(1);  // no scale yet: values pass
    mode.fakes = &slots;
    Tape<double> tape(graph, w, batch, {&mode, output, true});
    Random random(99);
    for (const int t : net.g().inputs) {
      for (std::size_t i = 0; i < tape.count(t); ++i)
        tape.value(t)[i] =
            c.fixed.count(t) ? c.fixed[t][i % c.fixed[t].size()] : random.uniform(c.low, c.high);
    }
    std::vector<double> up(tape.count(output));
    for (double& u : up) u = random.uniform(-1, 1);
    const auto loss = [&] {
      tape.forward();
      double sum = 0;
      for (std::size_t i = 0; i < up.size(); ++i) sum += up[i] * tape.value(output)[i];
      return sum;
    };
    loss();
    std::copy(up.begin(), up.end(), tape.grad(output));
    tape.backward();
    std::vector<std::pair<double*, double>> all;  // where, gradient
    for (std::size_t p = 0; p < w.value.size(); ++p) {
      if (!graph.parameters[p].trainable) continue;
      for (std::size_t i = 0; i < w.value[p].size(); ++i)
        all.push_back({&w.value[p][i], w.grad[p][i]});
    }
    for (const int t : net.g().inputs) {
      if (c.fixed.count(t)) continue;
      ASSERT_NE(tape.grad(t), nullptr) << name;
      for (std::size_t i = 0; i < tape.count(t); ++i)
        all.push_back({tape.value(t) + i, tape.grad(t)[i]});
    }
    ASSERT_FALSE(all.empty()) << name;
    int bad = 0;
    for (const auto& [place, gradient] : all) {
      const double h = 1e-5, at = *place;
      *place = at + h;
      const double above = loss();
      *place = at - h;
      const double below = loss();
      *place = at;
      const double slope = (above - below) / (2 * h);
      if (std::fabs(slope - gradient) > 1e-6 * std::max(1.0, std::fabs(slope)) && ++bad < 4) {
        ADD_FAILURE() << name << " at batch " << batch << ", element " << (&place - &all[0].first)
                      << ": gradient " << gradient << ", by differences " << slope;
      }
    }
  }
}

using Cases = std::multimap<OpCode, std::function<Case()>>;

Case unary(OpCode code, Attrs attrs = NoAttrs{}, double low = -2, double high = 2) {
  Case c;
  const int x = c.net.input({2, 3, 4});
  c.net.op(code, attrs, {x}, {2, 3, 4});
  c.low = low;
  c.high = high;
  return c;
}

Case binary(OpCode code, Shape other, Attrs attrs, double low = -2, double high = 2) {
  Case c;
  const int x = c.net.input({2, 3, 4});
  c.net.op(code, attrs, {x, c.net.constant(other, std::max(low, -1.5), high)}, {2, 3, 4});
  c.low = low;
  c.high = high;
  return c;
}

Case conv(int groups, int dilation, int stride, Padding padding, Activation activation) {
  Case c;
  const int x = c.net.input({2, 6, 5, 4});
  ConvAttrs a{padding, stride, stride, activation, dilation, dilation};
  const int k = dilation * 2 + 1;
  const int h = padding == Padding::kSame ? (6 + stride - 1) / stride : (6 - k) / stride + 1;
  const int w = padding == Padding::kSame ? (5 + stride - 1) / stride : (5 - k) / stride + 1;
  c.net.op(OpCode::kConv2d, a, {x, c.net.constant({6, 3, 3, 4 / groups}), c.net.constant({6})},
           {2, h, w, 6});
  return c;
}

Case depthwise(int times, int dilation, int stride) {
  Case c;
  const int x = c.net.input({2, 6, 5, 3});
  DepthwiseAttrs a{Padding::kSame, stride, stride, times, Activation::kRelu, dilation, dilation};
  c.net.op(OpCode::kDepthwiseConv2d, a,
           {x, c.net.constant({1, 3, 3, 3 * times}), c.net.constant({3 * times})},
           {2, (6 + stride - 1) / stride, (5 + stride - 1) / stride, 3 * times});
  return c;
}

Case transpose_conv(Padding padding, int stride) {
  Case c;
  const int x = c.net.input({2, 3, 4, 2});
  const int h = padding == Padding::kSame ? 3 * stride : 2 * stride + 3;
  const int w = padding == Padding::kSame ? 4 * stride : 3 * stride + 3;
  TransposeConvAttrs a{padding, stride, stride};
  c.net.op(OpCode::kTransposeConv, a,
           {c.net.ints({2, h, w, 5}), c.net.constant({5, 3, 3, 2}), x, c.net.constant({5})},
           {2, h, w, 5});
  return c;
}

Case pool(OpCode code, Padding padding) {
  Case c;
  const int x = c.net.input({2, 5, 6, 3});
  const int h = padding == Padding::kSame ? 3 : 2, w = padding == Padding::kSame ? 3 : 2;
  c.net.op(code, PoolAttrs{padding, 2, 2, 3, 3}, {x}, {2, h, w, 3});
  return c;
}

Case matmul_case(bool adj_x, bool adj_y, bool broadcast) {
  Case c;
  const int x = c.net.input(adj_x ? Shape{2, 3, 5, 4} : Shape{2, 3, 4, 5});
  const Shape other = adj_y ? Shape{6, 5} : Shape{5, 6};
  Shape full = broadcast ? Shape{3} : Shape{2, 3};
  full.insert(full.end(), other.begin(), other.end());
  const int y = broadcast ? c.net.constant(full) : c.net.input(full);
  c.net.op(OpCode::kBatchMatmul, BatchMatmulAttrs{adj_x, adj_y}, {x, y}, {2, 3, 4, 6});
  return c;
}

Case reduce(OpCode code, std::vector<std::int32_t> axes, bool keep, Shape out) {
  Case c;
  const int x = c.net.input({2, 3, 4, 5});
  c.net.op(code, ReducerAttrs{keep}, {x, c.net.ints(axes)}, out);
  return c;
}

Case norm(bool training, bool frozen, bool affine) {
  Case c;
  const int x = c.net.input({2, 3, 4});
  const int gamma = affine ? c.net.constant({4}, 0.5, 2) : -1;
  const int beta = affine ? c.net.constant({4}) : -1;
  const int mean = c.net.constant({4}), var = c.net.constant({4}, 0.5, 2);
  c.net.op(OpCode::kTrainBatchNorm, BatchNormAttrs{1e-3f, 0.9f, frozen},
           {x, gamma, beta, mean, var}, {2, 3, 4});
  c.training = training;
  c.statistics = {mean, var};
  return c;
}

// Folded weights [4, 3] or depthwise [1, 2, 3, 4], and without weights the factor itself.
Case fold(const Shape& weights, bool affine) {
  Case c;
  const int w = c.net.input(weights);
  const int bias = affine ? c.net.constant({4}) : -1, gamma = c.net.constant({4}, 0.5, 2);
  const int beta = affine ? c.net.constant({4}) : -1;
  const int mean = c.net.constant({4}), var = c.net.constant({4}, 0.5, 2);
  c.net.op(OpCode::kTrainFold, BatchNormAttrs{}, {w, bias, gamma, beta, mean, var}, weights);
  c.net.g().ops.back().outputs.push_back(c.net.tensor({4}));
  c.statistics = {mean, var};
  return c;
}

Case folded_norm(bool training, bool affine, Activation activation) {
  Case c;
  const int x = c.net.input({2, 3, 4}), shift = c.net.constant({4}), bias = c.net.constant({4});
  const int gamma = affine ? c.net.constant({4}, 0.5, 2) : -1;
  const int beta = affine ? c.net.constant({4}) : -1;
  const int mean = c.net.constant({4}), var = c.net.constant({4}, 0.5, 2);
  c.net.op(OpCode::kTrainFoldedNorm, BatchNormAttrs{1e-3f, 0.9f, false, false, activation},
           {x, shift, bias, gamma, beta, mean, var}, {2, 3, 4});
  c.training = training;
  c.statistics = {mean, var};
  return c;
}

// Moves of input 0: inputs behind it are integer constants.
Case move(OpCode code, Attrs attrs, std::vector<std::vector<std::int32_t>> settings, Shape in,
          Shape out) {
  Case c;
  std::vector<int> inputs{c.net.input(in)};
  for (const auto& s : settings) inputs.push_back(c.net.ints(s));
  c.net.op(code, attrs, inputs, out);
  return c;
}

Cases all_cases() {
  Cases m;
  const auto add = [&](OpCode code, std::function<Case()> make) { m.emplace(code, make); };
  for (const int groups : {1, 2})
    for (const int dilation : {1, 2})
      for (const Padding p : {Padding::kSame, Padding::kValid})
        add(OpCode::kConv2d, [=] { return conv(groups, dilation, 1, p, Activation::kNone); });
  for (const Activation a :
       {Activation::kRelu, Activation::kRelu6, Activation::kReluN1To1, Activation::kTanh})
    add(OpCode::kConv2d, [=] { return conv(1, 1, 2, Padding::kSame, a); });
  add(OpCode::kConv2d, [] {  // pointwise: no windows are copied
    Case c;
    const int x = c.net.input({2, 4, 3, 5});
    c.net.op(OpCode::kConv2d, ConvAttrs{}, {x, c.net.constant({7, 1, 1, 5}), -1}, {2, 4, 3, 7});
    return c;
  });
  add(OpCode::kDepthwiseConv2d, [] { return depthwise(1, 1, 1); });
  add(OpCode::kDepthwiseConv2d, [] { return depthwise(2, 1, 2); });
  add(OpCode::kDepthwiseConv2d, [] { return depthwise(1, 2, 1); });
  for (const Padding p : {Padding::kSame, Padding::kValid})
    for (const int stride : {1, 2})
      add(OpCode::kTransposeConv, [=] { return transpose_conv(p, stride); });
  add(OpCode::kFullyConnected, [] {
    Case c;
    const int x = c.net.input({2, 3, 4});
    c.net.op(OpCode::kFullyConnected, FullyConnectedAttrs{Activation::kRelu, 0, true},
             {x, c.net.constant({5, 4}), c.net.constant({5})}, {2, 3, 5});
    return c;
  });
  add(OpCode::kFullyConnected, [] {  // flattens
    Case c;
    const int x = c.net.input({2, 3, 4});
    c.net.op(OpCode::kFullyConnected, FullyConnectedAttrs{}, {x, c.net.constant({5, 12}), -1},
             {2, 5});
    return c;
  });
  for (const bool x : {false, true})
    for (const bool y : {false, true})
      for (const bool b : {false, true})
        add(OpCode::kBatchMatmul, [=] { return matmul_case(x, y, b); });
  for (const Padding p : {Padding::kSame, Padding::kValid}) {
    add(OpCode::kAveragePool2d, [=] { return pool(OpCode::kAveragePool2d, p); });
    add(OpCode::kMaxPool2d, [=] { return pool(OpCode::kMaxPool2d, p); });
  }
  for (const auto& [align, half] : {std::pair{false, false}, {true, false}, {false, true}}) {
    const ResizeAttrs a{align, half};
    add(OpCode::kResizeBilinear, [=] {
      return move(OpCode::kResizeBilinear, a, {{5, 7}}, {2, 3, 4, 2}, {2, 5, 7, 2});
    });
    add(OpCode::kResizeNearestNeighbor, [=] {
      return move(OpCode::kResizeNearestNeighbor, a, {{5, 7}}, {2, 3, 4, 2}, {2, 5, 7, 2});
    });
  }
  for (const OpCode code : {OpCode::kRelu, OpCode::kReluN1To1, OpCode::kRelu0To1, OpCode::kElu,
                            OpCode::kLogistic, OpCode::kTanh, OpCode::kExp, OpCode::kSquare,
                            OpCode::kAbs, OpCode::kNeg, OpCode::kSin, OpCode::kCos})
    add(code, [=] { return unary(code); });
  add(OpCode::kRelu6, [] { return unary(OpCode::kRelu6, NoAttrs{}, -2, 9); });
  add(OpCode::kHardSwish, [] { return unary(OpCode::kHardSwish, NoAttrs{}, -5, 5); });
  add(OpCode::kLeakyRelu, [] { return unary(OpCode::kLeakyRelu, LeakyReluAttrs{0.2f}); });
  for (const bool approximate : {false, true})
    add(OpCode::kGelu, [=] { return unary(OpCode::kGelu, GeluAttrs{approximate}); });
  for (const OpCode code : {OpCode::kLog, OpCode::kSqrt, OpCode::kRsqrt})
    add(code, [=] { return unary(code, NoAttrs{}, 0.5, 3); });
  add(OpCode::kSoftmax, [] { return unary(OpCode::kSoftmax, SoftmaxAttrs{1.5f}); });
  add(OpCode::kLogSoftmax, [] { return unary(OpCode::kLogSoftmax); });
  add(OpCode::kL2Normalization, [] { return unary(OpCode::kL2Normalization, ActivationAttrs{}); });
  for (const Shape& other :
       {Shape{2, 3, 4}, Shape{4}, Shape{3, 1}, Shape{1}, Shape{1, 3, 4}, Shape{2, 1, 4}}) {
    add(OpCode::kAdd, [=] { return binary(OpCode::kAdd, other, AddAttrs{Activation::kRelu}); });
    add(OpCode::kSub, [=] { return binary(OpCode::kSub, other, AddAttrs{}); });
    add(OpCode::kMul, [=] { return binary(OpCode::kMul, other, ActivationAttrs{}); });
    add(OpCode::kDiv, [=] { return binary(OpCode::kDiv, other, ActivationAttrs{}, 0.5, 2); });
    add(OpCode::kMaximum, [=] { return binary(OpCode::kMaximum, other, NoAttrs{}); });
    add(OpCode::kMinimum, [=] { return binary(OpCode::kMinimum, other, NoAttrs{}); });
    add(OpCode::kSquaredDifference,
        [=] { return binary(OpCode::kSquaredDifference, other, NoAttrs{}); });
    add(OpCode::kPow, [=] { return binary(OpCode::kPow, other, NoAttrs{}, 0.5, 2); });
    if (other[0] != 2)
      add(OpCode::kPrelu, [=] { return binary(OpCode::kPrelu, other, NoAttrs{}); });
  }
  for (const OpCode code : {OpCode::kSelect, OpCode::kSelectV2})
    add(code, [=] {
      Case c;
      const int x = c.net.input({2, 3}), y = c.net.input({2, 3});
      const int less = c.net.op(OpCode::kLess, NoAttrs{}, {x, y}, {2, 3}, DType::kBool);
      c.net.op(code, NoAttrs{}, {less, x, y}, {2, 3});
      return c;
    });
  for (const OpCode code : {OpCode::kMean, OpCode::kSum, OpCode::kReduceMax, OpCode::kReduceMin}) {
    add(code, [=] { return reduce(code, {1, 2}, false, {2, 5}); });
    add(code, [=] { return reduce(code, {-1}, true, {2, 3, 4, 1}); });
    add(code, [=] { return reduce(code, {1, 3}, false, {2, 4}); });
  }
  for (const bool affine : {false, true}) {
    add(OpCode::kTrainBatchNorm, [=] { return norm(true, false, affine); });
    add(OpCode::kTrainBatchNorm, [=] { return norm(false, false, affine); });
    add(OpCode::kTrainBatchNorm, [=] { return norm(true, true, affine); });
  }
  for (const bool affine : {false, true}) {
    for (const bool training : {false, true})
      for (const Activation a : {Activation::kNone, Activation::kRelu6})
        add(OpCode::kTrainFoldedNorm, [=] { return folded_norm(training, affine, a); });
    add(OpCode::kTrainFold, [=] { return fold({4, 3}, affine); });
    add(OpCode::kTrainFold, [=] { return fold({1, 2, 3, 4}, affine); });
  }
  add(OpCode::kTrainDropout, [] { return unary(OpCode::kTrainDropout, DropoutAttrs{0.4f}); });
  add(OpCode::kTrainDropout, [] { return unary(OpCode::kTrainDropout, DropoutAttrs{0.4f, {1}}); });
  // Rounding has no slope to be found by differences; qat_test.cc has what passes.
  add(OpCode::kTrainFake, [] { return unary(OpCode::kTrainFake, TrainFakeAttrs{0}); });
  add(OpCode::kTranspose, [] {
    return move(OpCode::kTranspose, NoAttrs{}, {{0, 2, 1}}, {2, 3, 4}, {2, 4, 3});
  });
  add(OpCode::kSlice, [] {
    return move(OpCode::kSlice, NoAttrs{}, {{0, 1, 0}, {2, 2, -1}}, {2, 3, 4}, {2, 2, 4});
  });
  add(OpCode::kStridedSlice, [] {
    return move(OpCode::kStridedSlice, StridedSliceAttrs{}, {{0, 2, 3}, {2, 0, 0}, {1, -1, -2}},
                {2, 3, 4}, {2, 2, 2});
  });
  add(OpCode::kTile, [] { return move(OpCode::kTile, NoAttrs{}, {{1, 2}}, {2, 3}, {2, 6}); });
  add(OpCode::kBroadcastTo, [] {
    return move(OpCode::kBroadcastTo, NoAttrs{}, {{2, 3, 4}}, {2, 1, 4}, {2, 3, 4});
  });
  add(OpCode::kMirrorPad, [] {
    return move(OpCode::kMirrorPad, MirrorPadAttrs{0}, {{0, 0, 1, 2}}, {2, 4}, {2, 7});
  });
  add(OpCode::kSpaceToDepth, [] {
    return move(OpCode::kSpaceToDepth, BlockSizeAttrs{2}, {}, {2, 4, 2, 3}, {2, 2, 1, 12});
  });
  add(OpCode::kDepthToSpace, [] {
    return move(OpCode::kDepthToSpace, BlockSizeAttrs{2}, {}, {2, 2, 1, 12}, {2, 4, 2, 3});
  });
  add(OpCode::kReshape, [] {
    return move(OpCode::kReshape, ReshapeAttrs{}, {{2, 12}}, {2, 3, 4}, {2, 12});
  });
  add(OpCode::kSqueeze, [] {
    return move(OpCode::kSqueeze, SqueezeAttrs{{1}}, {}, {2, 1, 4}, {2, 4});
  });
  add(OpCode::kConcatenation, [] {
    Case c;
    const int x = c.net.input({2, 3}), y = c.net.input({2, 2});
    c.net.op(OpCode::kConcatenation, ConcatAttrs{1}, {x, y, x}, {2, 8});
    return c;
  });
  add(OpCode::kPack, [] {
    Case c;
    const int x = c.net.input({2, 3}), y = c.net.input({2, 3});
    c.net.op(OpCode::kPack, PackAttrs{2, 1}, {x, y}, {2, 2, 3});
    return c;
  });
  const auto second_output = [](Case c, Shape shape) {
    c.net.g().ops.back().outputs.push_back(c.net.tensor(shape));
    return c;
  };
  add(OpCode::kUnpack, [=] {
    return second_output(move(OpCode::kUnpack, UnpackAttrs{2, 1}, {}, {2, 2, 3}, {2, 3}), {2, 3});
  });
  add(OpCode::kSplit, [=] {
    Case c;
    const int x = c.net.input({2, 4});
    c.net.op(OpCode::kSplit, SplitAttrs{2}, {c.net.scalar(1), x}, {2, 2});
    return second_output(c, {2, 2});
  });
  add(OpCode::kSplitV, [=] {
    Case c;
    const int x = c.net.input({2, 4});
    c.net.op(OpCode::kSplitV, SplitAttrs{2}, {x, c.net.ints({1, 3}), c.net.scalar(1)}, {2, 1});
    return second_output(c, {2, 3});
  });
  add(OpCode::kExpandDims, [] {
    Case c;
    const int x = c.net.input({2, 4});
    c.net.op(OpCode::kExpandDims, NoAttrs{}, {x, c.net.scalar(1)}, {2, 1, 4});
    return c;
  });
  for (const OpCode code : {OpCode::kPad, OpCode::kPadV2})
    add(code, [=] {
      Case c;
      const int x = c.net.input({2, 3});
      const int widths = c.net.tensor({2, 2}, DType::kInt32);
      c.net.g().tensors.back().constant = Array::of<std::int32_t>({2, 2}, {0, 0, 1, 2});
      std::vector<int> inputs{x, widths};
      if (code == OpCode::kPadV2) {
        const int value = c.net.tensor({});
        c.net.g().tensors.back().constant = Array::of<float>({}, {3.0f});
        inputs.push_back(value);
      }
      c.net.op(code, NoAttrs{}, inputs, {2, 6});
      return c;
    });
  for (const OpCode code : {OpCode::kSpaceToBatchNd, OpCode::kBatchToSpaceNd})
    add(code, [=] {
      Case c;
      const bool to_batch = code == OpCode::kSpaceToBatchNd;
      const int x = c.net.input(to_batch ? Shape{2, 4, 2, 3} : Shape{8, 2, 1, 3});
      const int block = c.net.ints({2, 2}), around = c.net.tensor({2, 2}, DType::kInt32);
      c.net.g().tensors.back().constant = Array::of<std::int32_t>({2, 2}, {0, 0, 0, 0});
      c.net.op(code, NoAttrs{}, {x, block, around},
               to_batch ? Shape{8, 2, 1, 3} : Shape{2, 4, 2, 3});
      return c;
    });
  add(OpCode::kGather, [] {
    Case c;
    const int i = c.net.input({2, 3}, DType::kInt32);
    c.fixed[i] = {4, 0, 4, 2, 1, 1};
    c.net.op(OpCode::kGather, GatherAttrs{0, 0}, {c.net.constant({5, 2}), i}, {2, 3, 2});
    return c;
  });
  add(OpCode::kGather, [] {
    Case c;
    const int x = c.net.input({2, 3, 4});
    c.net.op(OpCode::kGather, GatherAttrs{1, 0}, {x, c.net.ints({2, 0})}, {2, 2, 4});
    return c;
  });
  return m;
}

TEST(Gradient, EveryOperatorAgainstDifferences) {
  const Cases cases = all_cases();
  for (const OpCode code : step_codes()) {
    if (!step_row(code)->differentiable) continue;
    // Straight through by intent, which is not the derivative of a staircase: qat_test.cc has it.
    if (code == OpCode::kTrainFake) continue;
    EXPECT_GT(cases.count(code), 0u) << op_name(code) << " has no case here";
  }
  for (const auto& [code, make] : cases) {
    Case c = make();
    const int batch = c.net.g().tensors[static_cast<std::size_t>(c.net.g().inputs[0])].shape[0];
    try {
      check(c, op_name(code), batch);
      // Constants with the batch as their first axis fit one batch size only.
      bool bound = code == OpCode::kBatchToSpaceNd || code == OpCode::kTrainFold;
      for (const Tensor& t : c.net.g().tensors)
        bound = bound || (t.constant && t.dtype == DType::kFloat32 && t.shape.size() == 3 &&
                          t.shape[0] == 2 && code != OpCode::kBatchMatmul);
      if (!bound) check(c, op_name(code), 3);
    } catch (const Error& e) {
      ADD_FAILURE() << op_name(code) << ": " << e.what();
    }
  }
}

// Several readers of one value, reshapes that lie on their source, a value read twice by one
// operator: gradients add up, and shared buffers do not disturb each other.
TEST(Gradient, OfGraphsWithBranches) {
  Case c;
  const int x = c.net.input({2, 4});
  const int a = c.net.op(OpCode::kFullyConnected, FullyConnectedAttrs{Activation::kTanh},
                         {x, c.net.constant({6, 4}), c.net.constant({6})}, {2, 6});
  const int r = c.net.op(OpCode::kReshape, ReshapeAttrs{{2, 2, 3}}, {a}, {2, 2, 3});
  const int s = c.net.op(OpCode::kMul, ActivationAttrs{}, {r, r}, {2, 2, 3});
  const int t = c.net.op(OpCode::kReshape, ReshapeAttrs{{2, 6}}, {s}, {2, 6});
  const int u = c.net.op(OpCode::kAdd, AddAttrs{}, {a, t}, {2, 6});
  const int v = c.net.op(OpCode::kMul, ActivationAttrs{}, {u, a}, {2, 6});
  c.net.op(OpCode::kSoftmax, SoftmaxAttrs{1}, {v}, {2, 6});
  check(c, "branches", 2);
  check(c, "branches", 5);
}

// The gradient of each loss, from logits and from probabilities.
TEST(Gradient, OfLosses) {
  for (const LossKind kind :
       {LossKind::kMeanSquared, LossKind::kMeanAbsolute, LossKind::kHuber,
        LossKind::kBinaryCrossEntropy, LossKind::kSparseCrossEntropy, LossKind::kCrossEntropy,
        LossKind::kKlDivergence, LossKind::kDistill}) {
    for (const bool logits : {false, true}) {
      if (kind == LossKind::kDistill && !logits) continue;
      LossOptions o;
      o.kind = kind;
      o.delta = 0.3;
      o.temperature = 2;
      Random random(5);
      std::vector<double> x(12), grad(12);
      std::vector<float> t(12);
      for (double& v : x) v = random.uniform(0.1, 0.9);
      for (float& v : t) v = static_cast<float>(random.uniform(0.1, 0.9));
      if (kind == LossKind::kSparseCrossEntropy) t = {2, 0, 3};
      const auto loss = [&](double* g) {
        return loss_of<double>(o, logits, x.data(), {3, 4}, t.data(), g);
      };
      loss(grad.data());
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double at = x[i], h = 1e-6;
        x[i] = at + h;
        const double above = loss(nullptr);
        x[i] = at - h;
        const double below = loss(nullptr);
        x[i] = at;
        EXPECT_NEAR(grad[i], (above - below) / (2 * h), 1e-7) << loss_name(kind) << logits;
      }
    }
  }
}

}  // namespace
}  // namespace litegap
