#include "quant/forms.h"

#include "quant/params.h"
#include "quant/scales.h"

namespace litegap {

// Operators with int8 arithmetic in the runtime; others run in float between conversions.
static bool has_int8_form(OpCode code);
bool has_int8_form(const Op& op) {
  if (op.code != OpCode::kUnidirectionalSequenceLstm) return has_int8_form(op.code);
  // The plain cell only: no peephole, projection or layer normalization, all gates present.
  for (std::size_t i = 0; i < op.inputs.size(); ++i) {
    const bool plain = i <= 8 || (i >= 12 && i <= 15) || i == 18 || i == 19;
    if ((op.input(i) >= 0) != plain) return false;
  }
  const auto* attrs = std::get_if<SequenceLstmAttrs>(&op.attrs);
  return attrs != nullptr && op.inputs.size() >= 20 && attrs->activation == Activation::kTanh;
}

static bool has_int8_form(OpCode code) {
  switch (code) {
    case OpCode::kAbs:
    case OpCode::kAdd:
    case OpCode::kArgMax:
    case OpCode::kArgMin:
    case OpCode::kBatchMatmul:
    case OpCode::kDiv:
    case OpCode::kEqual:
    case OpCode::kExp:
    case OpCode::kGelu:
    case OpCode::kGreater:
    case OpCode::kGreaterEqual:
    case OpCode::kHardSwish:
    case OpCode::kL2Normalization:
    case OpCode::kLeakyRelu:
    case OpCode::kLess:
    case OpCode::kLessEqual:
    case OpCode::kLog:
    case OpCode::kLogistic:
    case OpCode::kLogSoftmax:
    case OpCode::kMean:
    case OpCode::kMul:
    case OpCode::kNotEqual:
    case OpCode::kPrelu:
    case OpCode::kRelu:
    case OpCode::kRelu6:
    case OpCode::kReluN1To1:
    case OpCode::kRsqrt:
    case OpCode::kShape:
    case OpCode::kSoftmax:
    case OpCode::kSqrt:
    case OpCode::kSquaredDifference:
    case OpCode::kSub:
    case OpCode::kTanh:
      return true;
    default:
      return weight_axis(code) >= 0 || same_scale(code);
  }
}

bool has_int16_form(OpCode code) {
  switch (code) {
    case OpCode::kAbs:
    case OpCode::kAdd:
    case OpCode::kBatchMatmul:
    case OpCode::kExp:
    case OpCode::kGelu:
    case OpCode::kLeakyRelu:
    case OpCode::kLogistic:
    case OpCode::kMean:
    case OpCode::kMul:
    case OpCode::kRelu:
    case OpCode::kRelu6:
    case OpCode::kReverseV2:
    case OpCode::kRsqrt:
    case OpCode::kSoftmax:
    case OpCode::kSquaredDifference:
    case OpCode::kSub:
    case OpCode::kTanh:
      return true;
    case OpCode::kDepthToSpace:
    case OpCode::kSpaceToDepth:
    case OpCode::kSelect:
    case OpCode::kSelectV2:
      return false;
    default:
      return weight_axis(code) >= 0 || same_scale(code);
  }
}

bool holds_graph(OpCode code) {
  return code == OpCode::kCallOnce || code == OpCode::kIf || code == OpCode::kWhile;
}

// The operator version from which the runtime accepts int8 data.
int int8_version(const Op& op, const Graph& graph) {
  const auto scale = [&](int t) {
    return graph.tensors[static_cast<std::size_t>(t)].quant.scale[0];
  };
  switch (op.code) {
    case OpCode::kMul:  // products that grow
      return scale(op.inputs[0]) * scale(op.inputs[1]) / scale(op.outputs[0]) < 1.0f ? 2 : 3;
    case OpCode::kFullyConnected:
      return 4;
    case OpCode::kConv2d:
    case OpCode::kDepthwiseConv2d:
    case OpCode::kTransposeConv:
      return 3;
    case OpCode::kDiv:
    case OpCode::kHardSwish:
    case OpCode::kLeakyRelu:
    case OpCode::kPrelu:
    case OpCode::kReshape:
    case OpCode::kShape:
    case OpCode::kUnidirectionalSequenceLstm:
      return 1;
    case OpCode::kTile:
      return 3;
    default:
      return 2;
  }
}

int int16_version(const Op& op) {
  switch (op.code) {
    case OpCode::kFullyConnected:
    case OpCode::kTransposeConv:
      return 4;
    case OpCode::kConv2d:
    case OpCode::kDepthwiseConv2d:
    case OpCode::kResizeBilinear:
    case OpCode::kResizeNearestNeighbor:
    case OpCode::kTile:
      return 3;
    case OpCode::kReshape:
      return 1;
    default:
      return 2;
  }
}

}  // namespace litegap
