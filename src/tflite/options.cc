// Operator options: the file's option tables <-> Attrs.
//
// A table of another operator, or none at all, counts as absent, as the stock runtime sees it: the
// fields are then zero.
#include "base/error.h"
#include "tflite/format.h"

namespace litegap {
namespace {

using flatbuffers::FlatBufferBuilder;

Activation activation_of(std::int8_t value, const std::string& where) {
  if (value < 0 || value > 5) fail("{}: fused activation {}, expected 0 to 5", where, value);
  return static_cast<Activation>(value);
}

Padding padding_of(std::int8_t value, const std::string& where) {
  if (value != 0 && value != 1) fail("{}: padding {}, expected 0 or 1", where, value);
  return static_cast<Padding>(value);
}

DType type_of(std::int8_t value, const std::string& where) {
  if (value < 0 || value > 22)
    fail("{}: tensor type {} in its options, expected 0 to 22", where, value);
  return static_cast<DType>(value);
}

std::vector<std::int32_t> ints(const flatbuffers::Vector<std::int32_t>* v,
                               const std::string& where) {
  if (v == nullptr) return {};
  if (v->size() > 64)
    fail("{}: {} dimensions in its options, expected at most 64", where, v->size());
  return {v->begin(), v->end()};
}

PoolAttrs read_pool(const fb::Operator& op, const std::string& where) {
  PoolAttrs a;
  if (const auto* o = op.builtin_options_as_Pool2DOptions()) {
    a.padding = padding_of(o->padding(), where);
    a.stride_w = o->stride_w();
    a.stride_h = o->stride_h();
    a.filter_w = o->filter_width();
    a.filter_h = o->filter_height();
    a.activation = activation_of(o->fused_activation_function(), where);
  }
  return a;
}

ConvAttrs read_conv(const fb::Operator& op, const std::string& where) {
  ConvAttrs a;
  if (const auto* o = op.builtin_options_as_Conv2DOptions()) {
    a.padding = padding_of(o->padding(), where);
    a.stride_w = o->stride_w();
    a.stride_h = o->stride_h();
    a.activation = activation_of(o->fused_activation_function(), where);
    a.dilation_w = o->dilation_w_factor();
    a.dilation_h = o->dilation_h_factor();
    a.quantized_bias_type = type_of(o->quantized_bias_type(), where);
  }
  return a;
}

DepthwiseAttrs read_depthwise(const fb::Operator& op, const std::string& where) {
  DepthwiseAttrs a;
  if (const auto* o = op.builtin_options_as_DepthwiseConv2DOptions()) {
    a.padding = padding_of(o->padding(), where);
    a.stride_w = o->stride_w();
    a.stride_h = o->stride_h();
    a.depth_multiplier = o->depth_multiplier();
    a.activation = activation_of(o->fused_activation_function(), where);
    a.dilation_w = o->dilation_w_factor();
    a.dilation_h = o->dilation_h_factor();
  }
  return a;
}

FullyConnectedAttrs read_fully_connected(const fb::Operator& op, const std::string& where) {
  FullyConnectedAttrs a;
  if (const auto* o = op.builtin_options_as_FullyConnectedOptions()) {
    a.activation = activation_of(o->fused_activation_function(), where);
    a.weights_format = o->weights_format();
    a.keep_num_dims = o->keep_num_dims();
    a.asymmetric_quantize_inputs = o->asymmetric_quantize_inputs();
    a.quantized_bias_type = type_of(o->quantized_bias_type(), where);
  }
  return a;
}

TransposeConvAttrs read_transpose_conv(const fb::Operator& op, const std::string& where) {
  TransposeConvAttrs a;
  if (const auto* o = op.builtin_options_as_TransposeConvOptions()) {
    a.padding = padding_of(o->padding(), where);
    a.stride_w = o->stride_w();
    a.stride_h = o->stride_h();
    a.activation = activation_of(o->fused_activation_function(), where);
    a.quantized_bias_type = type_of(o->quantized_bias_type(), where);
  }
  return a;
}

StridedSliceAttrs read_strided_slice(const fb::Operator& op) {
  StridedSliceAttrs a;
  if (const auto* o = op.builtin_options_as_StridedSliceOptions()) {
    a = {o->begin_mask(),    o->end_mask(),         o->ellipsis_mask(),
         o->new_axis_mask(), o->shrink_axis_mask(), o->offset()};
  }
  return a;
}

SequenceLstmAttrs read_lstm(const fb::Operator& op, const std::string& where) {
  SequenceLstmAttrs a;
  if (const auto* o = op.builtin_options_as_UnidirectionalSequenceLSTMOptions()) {
    a = {activation_of(o->fused_activation_function(), where),
         o->cell_clip(),
         o->proj_clip(),
         o->time_major(),
         o->asymmetric_quantize_inputs(),
         o->diagonal_recurrent_tensors()};
  }
  return a;
}

}  // namespace

Attrs read_attrs(OpCode code, const fb::Operator& op, const std::string& where) {
  const auto act = [&](std::int8_t v) { return activation_of(v, where); };
  const auto type = [&](std::int8_t v) { return type_of(v, where); };
  switch (code) {
    case OpCode::kConv2d:
      return read_conv(op, where);
    case OpCode::kDepthwiseConv2d:
      return read_depthwise(op, where);
    case OpCode::kFullyConnected:
      return read_fully_connected(op, where);
    case OpCode::kTransposeConv:
      return read_transpose_conv(op, where);
    case OpCode::kAveragePool2d:
    case OpCode::kMaxPool2d:
    case OpCode::kL2Pool2d:
      return read_pool(op, where);
    case OpCode::kStridedSlice:
      return read_strided_slice(op);
    case OpCode::kUnidirectionalSequenceLstm:
      return read_lstm(op, where);
    case OpCode::kAdd: {
      const auto* o = op.builtin_options_as_AddOptions();
      return o ? AddAttrs{act(o->fused_activation_function()), o->pot_scale_int16()}
               : AddAttrs{Activation::kNone, false};
    }
    case OpCode::kSub: {
      const auto* o = op.builtin_options_as_SubOptions();
      return o ? AddAttrs{act(o->fused_activation_function()), o->pot_scale_int16()}
               : AddAttrs{Activation::kNone, false};
    }
    case OpCode::kMul: {
      const auto* o = op.builtin_options_as_MulOptions();
      return o ? ActivationAttrs{act(o->fused_activation_function())} : ActivationAttrs{};
    }
    case OpCode::kDiv: {
      const auto* o = op.builtin_options_as_DivOptions();
      return o ? ActivationAttrs{act(o->fused_activation_function())} : ActivationAttrs{};
    }
    case OpCode::kL2Normalization: {
      const auto* o = op.builtin_options_as_L2NormOptions();
      return o ? ActivationAttrs{act(o->fused_activation_function())} : ActivationAttrs{};
    }
    case OpCode::kConcatenation: {
      const auto* o = op.builtin_options_as_ConcatenationOptions();
      return o ? ConcatAttrs{o->axis(), act(o->fused_activation_function())} : ConcatAttrs{};
    }
    case OpCode::kReshape: {
      const auto* o = op.builtin_options_as_ReshapeOptions();
      return o ? ReshapeAttrs{ints(o->new_shape(), where)} : ReshapeAttrs{};
    }
    case OpCode::kSoftmax: {
      const auto* o = op.builtin_options_as_SoftmaxOptions();
      return o ? SoftmaxAttrs{o->beta()} : SoftmaxAttrs{};
    }
    case OpCode::kGather: {
      const auto* o = op.builtin_options_as_GatherOptions();
      return o ? GatherAttrs{o->axis(), o->batch_dims()} : GatherAttrs{};
    }
    case OpCode::kMean:
    case OpCode::kSum:
    case OpCode::kReduceProd:
    case OpCode::kReduceMax:
    case OpCode::kReduceMin:
    case OpCode::kReduceAny: {
      const auto* o = op.builtin_options_as_ReducerOptions();
      return o ? ReducerAttrs{o->keep_dims()} : ReducerAttrs{};
    }
    case OpCode::kSqueeze: {
      const auto* o = op.builtin_options_as_SqueezeOptions();
      return o ? SqueezeAttrs{ints(o->squeeze_dims(), where)} : SqueezeAttrs{};
    }
    case OpCode::kSplit: {
      const auto* o = op.builtin_options_as_SplitOptions();
      return o ? SplitAttrs{o->num_splits()} : SplitAttrs{};
    }
    case OpCode::kSplitV: {
      const auto* o = op.builtin_options_as_SplitVOptions();
      return o ? SplitAttrs{o->num_splits()} : SplitAttrs{};
    }
    case OpCode::kPack: {
      const auto* o = op.builtin_options_as_PackOptions();
      return o ? PackAttrs{o->values_count(), o->axis()} : PackAttrs{};
    }
    case OpCode::kUnpack: {
      const auto* o = op.builtin_options_as_UnpackOptions();
      return o ? UnpackAttrs{o->num(), o->axis()} : UnpackAttrs{};
    }
    case OpCode::kCast: {
      const auto* o = op.builtin_options_as_CastOptions();
      return o ? CastAttrs{type(o->in_data_type()), type(o->out_data_type())} : CastAttrs{};
    }
    case OpCode::kArgMax: {
      const auto* o = op.builtin_options_as_ArgMaxOptions();
      return o ? OutputTypeAttrs{type(o->output_type())} : OutputTypeAttrs{};
    }
    case OpCode::kArgMin: {
      const auto* o = op.builtin_options_as_ArgMinOptions();
      return o ? OutputTypeAttrs{type(o->output_type())} : OutputTypeAttrs{};
    }
    case OpCode::kShape: {
      const auto* o = op.builtin_options_as_ShapeOptions();
      return o ? OutputTypeAttrs{type(o->out_type())} : OutputTypeAttrs{};
    }
    case OpCode::kResizeBilinear: {
      const auto* o = op.builtin_options_as_ResizeBilinearOptions();
      return o ? ResizeAttrs{o->align_corners(), o->half_pixel_centers()} : ResizeAttrs{};
    }
    case OpCode::kResizeNearestNeighbor: {
      const auto* o = op.builtin_options_as_ResizeNearestNeighborOptions();
      return o ? ResizeAttrs{o->align_corners(), o->half_pixel_centers()} : ResizeAttrs{};
    }
    case OpCode::kLeakyRelu: {
      const auto* o = op.builtin_options_as_LeakyReluOptions();
      return o ? LeakyReluAttrs{o->alpha()} : LeakyReluAttrs{};
    }
    case OpCode::kDepthToSpace: {
      const auto* o = op.builtin_options_as_DepthToSpaceOptions();
      return o ? BlockSizeAttrs{o->block_size()} : BlockSizeAttrs{};
    }
    case OpCode::kSpaceToDepth: {
      const auto* o = op.builtin_options_as_SpaceToDepthOptions();
      return o ? BlockSizeAttrs{o->block_size()} : BlockSizeAttrs{};
    }
    case OpCode::kBatchMatmul: {
      const auto* o = op.builtin_options_as_BatchMatMulOptions();
      return o ? BatchMatmulAttrs{o->adj_x(), o->adj_y(), o->asymmetric_quantize_inputs()}
               : BatchMatmulAttrs{};
    }
    case OpCode::kMirrorPad: {
      const auto* o = op.builtin_options_as_MirrorPadOptions();
      return o ? MirrorPadAttrs{o->mode()} : MirrorPadAttrs{};
    }
    case OpCode::kGelu: {
      const auto* o = op.builtin_options_as_GeluOptions();
      return o ? GeluAttrs{o->approximate()} : GeluAttrs{};
    }
    default:
      return NoAttrs{};
  }
}

namespace {

// One overload an Attrs; the operator's code chooses among tables that share one struct.
struct OptionsWriter {
  FlatBufferBuilder& fbb;
  OpCode code;

  template <class T>
  WrittenOptions as(fb::BuiltinOptions type, flatbuffers::Offset<T> offset) const {
    return {type, offset.Union()};
  }
  static std::int8_t raw(Activation a) { return static_cast<std::int8_t>(a); }
  static std::int8_t raw(Padding p) { return static_cast<std::int8_t>(p); }
  static std::int8_t raw(DType t) { return static_cast<std::int8_t>(t); }

  WrittenOptions operator()(const NoAttrs&) const { return {}; }
  WrittenOptions operator()(const ConvAttrs& a) const {
    return as(
        fb::BuiltinOptions::Conv2DOptions,
        fb::CreateConv2DOptions(fbb, raw(a.padding), a.stride_w, a.stride_h, raw(a.activation),
                                a.dilation_w, a.dilation_h, raw(a.quantized_bias_type)));
  }
  WrittenOptions operator()(const DepthwiseAttrs& a) const {
    return as(fb::BuiltinOptions::DepthwiseConv2DOptions,
              fb::CreateDepthwiseConv2DOptions(fbb, raw(a.padding), a.stride_w, a.stride_h,
                                               a.depth_multiplier, raw(a.activation), a.dilation_w,
                                               a.dilation_h));
  }
  WrittenOptions operator()(const FullyConnectedAttrs& a) const {
    return as(
        fb::BuiltinOptions::FullyConnectedOptions,
        fb::CreateFullyConnectedOptions(fbb, raw(a.activation), a.weights_format, a.keep_num_dims,
                                        a.asymmetric_quantize_inputs, raw(a.quantized_bias_type)));
  }
  WrittenOptions operator()(const TransposeConvAttrs& a) const {
    return as(fb::BuiltinOptions::TransposeConvOptions,
              fb::CreateTransposeConvOptions(fbb, raw(a.padding), a.stride_w, a.stride_h,
                                             raw(a.activation), raw(a.quantized_bias_type)));
  }
  WrittenOptions operator()(const PoolAttrs& a) const {
    return as(fb::BuiltinOptions::Pool2DOptions,
              fb::CreatePool2DOptions(fbb, raw(a.padding), a.stride_w, a.stride_h, a.filter_w,
                                      a.filter_h, raw(a.activation)));
  }
  WrittenOptions operator()(const AddAttrs& a) const {
    if (code == OpCode::kSub) {
      return as(fb::BuiltinOptions::SubOptions,
                fb::CreateSubOptions(fbb, raw(a.activation), a.pot_scale_int16));
    }
    return as(fb::BuiltinOptions::AddOptions,
              fb::CreateAddOptions(fbb, raw(a.activation), a.pot_scale_int16));
  }
  WrittenOptions operator()(const ActivationAttrs& a) const {
    if (code == OpCode::kDiv)
      return as(fb::BuiltinOptions::DivOptions, fb::CreateDivOptions(fbb, raw(a.activation)));
    if (code == OpCode::kL2Normalization) {
      return as(fb::BuiltinOptions::L2NormOptions, fb::CreateL2NormOptions(fbb, raw(a.activation)));
    }
    return as(fb::BuiltinOptions::MulOptions, fb::CreateMulOptions(fbb, raw(a.activation)));
  }
  WrittenOptions operator()(const ConcatAttrs& a) const {
    return as(fb::BuiltinOptions::ConcatenationOptions,
              fb::CreateConcatenationOptions(fbb, a.axis, raw(a.activation)));
  }
  WrittenOptions operator()(const ReshapeAttrs& a) const {
    const auto shape = a.new_shape.empty() ? 0 : fbb.CreateVector(a.new_shape);
    return as(fb::BuiltinOptions::ReshapeOptions, fb::CreateReshapeOptions(fbb, shape));
  }
  WrittenOptions operator()(const SoftmaxAttrs& a) const {
    return as(fb::BuiltinOptions::SoftmaxOptions, fb::CreateSoftmaxOptions(fbb, a.beta));
  }
  WrittenOptions operator()(const GatherAttrs& a) const {
    return as(fb::BuiltinOptions::GatherOptions,
              fb::CreateGatherOptions(fbb, a.axis, a.batch_dims));
  }
  WrittenOptions operator()(const ReducerAttrs& a) const {
    return as(fb::BuiltinOptions::ReducerOptions, fb::CreateReducerOptions(fbb, a.keep_dims));
  }
  WrittenOptions operator()(const SqueezeAttrs& a) const {
    const auto dims = a.squeeze_dims.empty() ? 0 : fbb.CreateVector(a.squeeze_dims);
    return as(fb::BuiltinOptions::SqueezeOptions, fb::CreateSqueezeOptions(fbb, dims));
  }
  WrittenOptions operator()(const StridedSliceAttrs& a) const {
    return as(fb::BuiltinOptions::StridedSliceOptions,
              fb::CreateStridedSliceOptions(fbb, a.begin_mask, a.end_mask, a.ellipsis_mask,
                                            a.new_axis_mask, a.shrink_axis_mask, a.offset));
  }
  WrittenOptions operator()(const SplitAttrs& a) const {
    if (code == OpCode::kSplitV)
      return as(fb::BuiltinOptions::SplitVOptions, fb::CreateSplitVOptions(fbb, a.num_splits));
    return as(fb::BuiltinOptions::SplitOptions, fb::CreateSplitOptions(fbb, a.num_splits));
  }
  WrittenOptions operator()(const PackAttrs& a) const {
    return as(fb::BuiltinOptions::PackOptions, fb::CreatePackOptions(fbb, a.values_count, a.axis));
  }
  WrittenOptions operator()(const UnpackAttrs& a) const {
    return as(fb::BuiltinOptions::UnpackOptions, fb::CreateUnpackOptions(fbb, a.num, a.axis));
  }
  WrittenOptions operator()(const CastAttrs& a) const {
    return as(fb::BuiltinOptions::CastOptions,
              fb::CreateCastOptions(fbb, raw(a.in_type), raw(a.out_type)));
  }
  WrittenOptions operator()(const OutputTypeAttrs& a) const {
    const std::int8_t type = raw(a.output_type);
    if (code == OpCode::kShape)
      return as(fb::BuiltinOptions::ShapeOptions, fb::CreateShapeOptions(fbb, type));
    if (code == OpCode::kArgMin)
      return as(fb::BuiltinOptions::ArgMinOptions, fb::CreateArgMinOptions(fbb, type));
    return as(fb::BuiltinOptions::ArgMaxOptions, fb::CreateArgMaxOptions(fbb, type));
  }
  WrittenOptions operator()(const ResizeAttrs& a) const {
    if (code == OpCode::kResizeNearestNeighbor) {
      return as(fb::BuiltinOptions::ResizeNearestNeighborOptions,
                fb::CreateResizeNearestNeighborOptions(fbb, a.align_corners, a.half_pixel_centers));
    }
    return as(fb::BuiltinOptions::ResizeBilinearOptions,
              fb::CreateResizeBilinearOptions(fbb, a.align_corners, a.half_pixel_centers));
  }
  WrittenOptions operator()(const LeakyReluAttrs& a) const {
    return as(fb::BuiltinOptions::LeakyReluOptions, fb::CreateLeakyReluOptions(fbb, a.alpha));
  }
  WrittenOptions operator()(const BlockSizeAttrs& a) const {
    if (code == OpCode::kSpaceToDepth) {
      return as(fb::BuiltinOptions::SpaceToDepthOptions,
                fb::CreateSpaceToDepthOptions(fbb, a.block_size));
    }
    return as(fb::BuiltinOptions::DepthToSpaceOptions,
              fb::CreateDepthToSpaceOptions(fbb, a.block_size));
  }
  WrittenOptions operator()(const SequenceLstmAttrs& a) const {
    return as(fb::BuiltinOptions::UnidirectionalSequenceLSTMOptions,
              fb::CreateUnidirectionalSequenceLSTMOptions(
                  fbb, raw(a.activation), a.cell_clip, a.proj_clip, a.time_major,
                  a.asymmetric_quantize_inputs, a.diagonal_recurrent_tensors));
  }
  WrittenOptions operator()(const BatchMatmulAttrs& a) const {
    return as(fb::BuiltinOptions::BatchMatMulOptions,
              fb::CreateBatchMatMulOptions(fbb, a.adj_x, a.adj_y, a.asymmetric_quantize_inputs));
  }
  WrittenOptions operator()(const MirrorPadAttrs& a) const {
    return as(fb::BuiltinOptions::MirrorPadOptions, fb::CreateMirrorPadOptions(fbb, a.mode));
  }
  WrittenOptions operator()(const GeluAttrs& a) const {
    return as(fb::BuiltinOptions::GeluOptions, fb::CreateGeluOptions(fbb, a.approximate));
  }
  WrittenOptions operator()(const BatchNormAttrs&) const { training_only(); }
  WrittenOptions operator()(const DropoutAttrs&) const { training_only(); }
  WrittenOptions operator()(const TrainFakeAttrs&) const { training_only(); }
  [[noreturn]] void training_only() const {
    throw Error(op_name(code) + ": exists only while training; no file can hold it");
  }
};

struct EmptyOptions {
  int code, tag;
};
constexpr EmptyOptions kEmpty[] = {
    {6, 38},    {34, 22},   {37, 24},   {38, 25},   {39, 26},   {47, 33},   {48, 34},   {50, 36},
    {55, 39},   {57, 39},   {58, 41},   {59, 42},   {60, 43},   {61, 44},   {62, 45},   {63, 46},
    {64, 47},   {65, 48},   {69, 51},   {70, 52},   {71, 53},   {72, 54},   {78, 56},   {84, 60},
    {86, 62},   {87, 63},   {90, 65},   {92, 66},   {93, 67},   {94, 68},   {95, 72},   {96, 73},
    {99, 76},   {101, 78},  {105, 81},  {106, 82},  {107, 83},  {108, 84},  {109, 85},  {110, 86},
    {113, 88},  {114, 89},  {115, 90},  {117, 91},  {120, 95},  {121, 96},  {122, 97},  {123, 98},
    {124, 99},  {125, 100}, {130, 104}, {131, 105}, {137, 108}, {138, 109}, {139, 110}, {143, 112},
    {144, 113}, {151, 117}, {153, 118}, {154, 119}, {155, 121}, {156, 122}, {157, 120}, {158, 123},
    {159, 124}, {160, 125}, {161, 126}};

}  // namespace

bool has_attrs(OpCode code) {
  // An operator has Attrs when reading it without a table still gives a struct.
  static const std::vector<bool> known = [] {
    flatbuffers::FlatBufferBuilder fbb;
    fbb.Finish(fb::CreateOperator(fbb));
    const auto* none = flatbuffers::GetRoot<fb::Operator>(fbb.GetBufferPointer());
    std::vector<bool> result(256);
    for (int c = 0; c < 256; ++c) {
      result[static_cast<std::size_t>(c)] =
          !std::holds_alternative<NoAttrs>(read_attrs(static_cast<OpCode>(c), *none, ""));
    }
    return result;
  }();
  const auto c = static_cast<std::size_t>(code);
  return c < known.size() && known[c];
}

WrittenOptions write_attrs(FlatBufferBuilder& fbb, const Op& op) {
  return std::visit(OptionsWriter{fbb, op.code}, op.attrs);
}

int empty_options_tag(OpCode code) {
  for (const EmptyOptions& e : kEmpty) {
    if (e.code == static_cast<int>(code)) return e.tag;
  }
  return 0;
}

bool is_empty_options(int tag) {
  for (const EmptyOptions& e : kEmpty) {
    if (e.tag == tag) return true;
  }
  return false;
}

}  // namespace litegap
