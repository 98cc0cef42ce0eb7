// Attrs -> the file's option tables (reading: options.cc).
#include "base/error.h"
#include "tflite/format.h"

namespace litegap {
namespace {

using flatbuffers::FlatBufferBuilder;

// One overload an Attrs; the operator's code chooses among tables that share one struct.
struct OptionsWriter {
  FlatBufferBuilder& fbb;
  OpCode code;

  template <class T>
  WrittenOptions as(fb::BuiltinOptions type, flatbuffers::Offset<T> offset) const {
    return {type, offset.Union()};
  }
  template <class T>
  WrittenOptions second(fb::BuiltinOptions2 type, flatbuffers::Offset<T> offset) const {
    return {fb::BuiltinOptions::NONE, 0, type, offset.Union()};
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
    if (code == OpCode::kUnique)
      return as(fb::BuiltinOptions::UniqueOptions, fb::CreateUniqueOptions(fbb, type));
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
  WrittenOptions operator()(const LocalResponseNormAttrs& a) const {
    return as(fb::BuiltinOptions::LocalResponseNormalizationOptions,
              fb::CreateLocalResponseNormalizationOptions(fbb, a.radius, a.bias, a.alpha, a.beta));
  }
  WrittenOptions operator()(const SvdfAttrs& a) const {
    return as(fb::BuiltinOptions::SVDFOptions,
              fb::CreateSVDFOptions(fbb, a.rank, raw(a.activation), a.asymmetric_quantize_inputs));
  }
  WrittenOptions operator()(const RnnAttrs& a) const {
    return as(fb::BuiltinOptions::RNNOptions,
              fb::CreateRNNOptions(fbb, raw(a.activation), a.asymmetric_quantize_inputs));
  }
  WrittenOptions operator()(const SequenceRnnAttrs& a) const {
    if (code == OpCode::kUnidirectionalSequenceRnn) {
      return as(fb::BuiltinOptions::SequenceRNNOptions,
                fb::CreateSequenceRNNOptions(fbb, a.time_major, raw(a.activation),
                                             a.asymmetric_quantize_inputs));
    }
    return as(
        fb::BuiltinOptions::BidirectionalSequenceRNNOptions,
        fb::CreateBidirectionalSequenceRNNOptions(fbb, a.time_major, raw(a.activation),
                                                  a.merge_outputs, a.asymmetric_quantize_inputs));
  }
  WrittenOptions operator()(const LstmAttrs& a) const {
    return as(fb::BuiltinOptions::LSTMOptions,
              fb::CreateLSTMOptions(fbb, raw(a.activation), a.cell_clip, a.proj_clip, a.kernel_type,
                                    a.asymmetric_quantize_inputs));
  }
  WrittenOptions operator()(const BidirectionalLstmAttrs& a) const {
    return as(fb::BuiltinOptions::BidirectionalSequenceLSTMOptions,
              fb::CreateBidirectionalSequenceLSTMOptions(fbb, raw(a.activation), a.cell_clip,
                                                         a.proj_clip, a.merge_outputs, a.time_major,
                                                         a.asymmetric_quantize_inputs));
  }
  WrittenOptions operator()(const CombinerAttrs& a) const {
    return as(fb::BuiltinOptions::EmbeddingLookupSparseOptions,
              fb::CreateEmbeddingLookupSparseOptions(fbb, a.combiner));
  }
  WrittenOptions operator()(const FakeQuantAttrs& a) const {
    return as(fb::BuiltinOptions::FakeQuantOptions,
              fb::CreateFakeQuantOptions(fbb, a.min, a.max, a.num_bits, a.narrow_range));
  }
  WrittenOptions operator()(const OneHotAttrs& a) const {
    return as(fb::BuiltinOptions::OneHotOptions, fb::CreateOneHotOptions(fbb, a.axis));
  }
  WrittenOptions operator()(const SparseToDenseAttrs& a) const {
    return as(fb::BuiltinOptions::SparseToDenseOptions,
              fb::CreateSparseToDenseOptions(fbb, a.validate_indices));
  }
  WrittenOptions operator()(const ReverseSequenceAttrs& a) const {
    return as(fb::BuiltinOptions::ReverseSequenceOptions,
              fb::CreateReverseSequenceOptions(fbb, a.seq_dim, a.batch_dim));
  }
  WrittenOptions operator()(const CumsumAttrs& a) const {
    return as(fb::BuiltinOptions::CumsumOptions,
              fb::CreateCumsumOptions(fbb, a.exclusive, a.reverse));
  }
  WrittenOptions operator()(const Conv3dAttrs& a) const {
    return as(fb::BuiltinOptions::Conv3DOptions,
              fb::CreateConv3DOptions(fbb, raw(a.padding), a.stride_d, a.stride_w, a.stride_h,
                                      raw(a.activation), a.dilation_d, a.dilation_w, a.dilation_h));
  }
  WrittenOptions operator()(const BucketizeAttrs& a) const {
    const auto boundaries = fbb.CreateVector(a.boundaries);
    return as(fb::BuiltinOptions::BucketizeOptions, fb::CreateBucketizeOptions(fbb, boundaries));
  }
  WrittenOptions operator()(const IfAttrs& a) const {
    return as(fb::BuiltinOptions::IfOptions, fb::CreateIfOptions(fbb, a.then_graph, a.else_graph));
  }
  WrittenOptions operator()(const WhileAttrs& a) const {
    return as(fb::BuiltinOptions::WhileOptions,
              fb::CreateWhileOptions(fbb, a.cond_graph, a.body_graph));
  }
  WrittenOptions operator()(const CallOnceAttrs& a) const {
    return as(fb::BuiltinOptions::CallOnceOptions, fb::CreateCallOnceOptions(fbb, a.init_graph));
  }
  WrittenOptions operator()(const VarHandleAttrs& a) const {
    const auto container = fbb.CreateString(a.container), name = fbb.CreateString(a.shared_name);
    return as(fb::BuiltinOptions::VarHandleOptions,
              fb::CreateVarHandleOptions(fbb, container, name));
  }
  WrittenOptions operator()(const CompositeAttrs&) const { return {}; }  // foreign
  WrittenOptions operator()(const StablehloPadAttrs& a) const {
    const auto low = fbb.CreateVector(a.low), high = fbb.CreateVector(a.high),
               interior = fbb.CreateVector(a.interior);
    return second(fb::BuiltinOptions2::StablehloPadOptions,
                  fb::CreateStablehloPadOptions(fbb, low, high, interior));
  }
  WrittenOptions operator()(const ReduceWindowAttrs& a) const {
    return second(fb::BuiltinOptions2::ReduceWindowOptions,
                  fb::CreateReduceWindowOptions(fbb, a.function));
  }
  WrittenOptions operator()(const StablehloScatterAttrs& a) const {
    const auto window = fbb.CreateVector(a.update_window_dims),
               inserted = fbb.CreateVector(a.inserted_window_dims),
               map = fbb.CreateVector(a.scatter_dims_to_operand_dims);
    return second(
        fb::BuiltinOptions2::StablehloScatterOptions,
        fb::CreateStablehloScatterOptions(fbb, a.indices_are_sorted, window, inserted, map,
                                          a.index_vector_dim, a.unique_indices, a.graph));
  }
  WrittenOptions operator()(const StablehloGatherAttrs& a) const {
    const auto offset = fbb.CreateVector(a.offset_dims),
               collapsed = fbb.CreateVector(a.collapsed_slice_dims),
               map = fbb.CreateVector(a.start_index_map), sizes = fbb.CreateVector(a.slice_sizes);
    return second(fb::BuiltinOptions2::StablehloGatherOptions,
                  fb::CreateStablehloGatherOptions(fbb, offset, collapsed, map, a.index_vector_dim,
                                                   sizes, a.indices_are_sorted));
  }
  WrittenOptions operator()(const StablehloReduceWindowAttrs& a) const {
    const auto dimensions = fbb.CreateVector(a.window_dimensions),
               strides = fbb.CreateVector(a.window_strides),
               base = fbb.CreateVector(a.base_dilations),
               dilations = fbb.CreateVector(a.window_dilations),
               padding = fbb.CreateVector(a.padding);
    return second(fb::BuiltinOptions2::StablehloReduceWindowOptions,
                  fb::CreateStablehloReduceWindowOptions(fbb, dimensions, strides, base, dilations,
                                                         padding, a.graph));
  }
  WrittenOptions operator()(const RngBitGeneratorAttrs& a) const {
    return second(fb::BuiltinOptions2::StablehloRngBitGeneratorOptions,
                  fb::CreateStablehloRngBitGeneratorOptions(fbb, a.algorithm));
  }
  WrittenOptions operator()(const CaseAttrs& a) const {
    const auto graphs = fbb.CreateVector(a.graphs);
    return second(fb::BuiltinOptions2::StablehloCaseOptions,
                  fb::CreateStablehloCaseOptions(fbb, graphs));
  }
  WrittenOptions operator()(const RandomAttrs& a) const {
    return as(fb::BuiltinOptions::RandomOptions, fb::CreateRandomOptions(fbb, a.seed, a.seed2));
  }
  WrittenOptions operator()(const HashtableAttrs& a) const {
    return as(fb::BuiltinOptions::HashtableOptions,
              fb::CreateHashtableOptions(fbb, a.table, raw(a.key_type), raw(a.value_type)));
  }
  WrittenOptions operator()(const LshProjectionAttrs& a) const {
    return as(fb::BuiltinOptions::LSHProjectionOptions,
              fb::CreateLSHProjectionOptions(fbb, a.type));
  }
  WrittenOptions operator()(const CustomAttrs&) const { return {}; }  // foreign
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
