// Operator options: the file's option tables -> Attrs (writing: options_write.cc).
//
// A table of another operator, or none at all, counts as absent, as the stock runtime sees it: the
// fields are then zero.
#include <flatbuffers/flexbuffers.h>

#include "base/error.h"
#include "tflite/format.h"

namespace litegap {
namespace {

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

LstmAttrs read_cell(const fb::Operator& op, const std::string& where) {
  LstmAttrs a;
  if (const auto* o = op.builtin_options_as_LSTMOptions()) {
    a = {activation_of(o->fused_activation_function(), where), o->cell_clip(), o->proj_clip(),
         o->kernel_type(), o->asymmetric_quantize_inputs()};
  }
  return a;
}

BidirectionalLstmAttrs read_bidirectional_lstm(const fb::Operator& op, const std::string& where) {
  BidirectionalLstmAttrs a;
  if (const auto* o = op.builtin_options_as_BidirectionalSequenceLSTMOptions()) {
    a = {activation_of(o->fused_activation_function(), where),
         o->cell_clip(),
         o->proj_clip(),
         o->merge_outputs(),
         o->time_major(),
         o->asymmetric_quantize_inputs()};
  }
  return a;
}

SequenceRnnAttrs read_sequence_rnn(OpCode code, const fb::Operator& op, const std::string& where) {
  SequenceRnnAttrs a;
  if (code == OpCode::kUnidirectionalSequenceRnn) {
    if (const auto* o = op.builtin_options_as_SequenceRNNOptions()) {
      a = {o->time_major(), activation_of(o->fused_activation_function(), where), false,
           o->asymmetric_quantize_inputs()};
    }
  } else if (const auto* o = op.builtin_options_as_BidirectionalSequenceRNNOptions()) {
    a = {o->time_major(), activation_of(o->fused_activation_function(), where), o->merge_outputs(),
         o->asymmetric_quantize_inputs()};
  }
  return a;
}

Conv3dAttrs read_conv_3d(const fb::Operator& op, const std::string& where) {
  Conv3dAttrs a;
  if (const auto* o = op.builtin_options_as_Conv3DOptions()) {
    a = {padding_of(o->padding(), where),
         o->stride_d(),
         o->stride_w(),
         o->stride_h(),
         activation_of(o->fused_activation_function(), where),
         o->dilation_d_factor(),
         o->dilation_w_factor(),
         o->dilation_h_factor()};
  }
  return a;
}

std::vector<std::int64_t> longs(const flatbuffers::Vector<std::int64_t>* v,
                                const std::string& where) {
  if (v == nullptr) return {};
  if (v->size() > 64)
    fail("{}: {} dimensions in its options, expected at most 64", where, v->size());
  return {v->begin(), v->end()};
}

StablehloPadAttrs read_stablehlo_pad(const fb::Operator& op, const std::string& where) {
  StablehloPadAttrs a;
  if (const auto* o = op.builtin_options_2_as_StablehloPadOptions()) {
    a = {longs(o->edge_padding_low(), where), longs(o->edge_padding_high(), where),
         longs(o->interior_padding(), where)};
  }
  return a;
}

StablehloScatterAttrs read_stablehlo_scatter(const fb::Operator& op, const std::string& where) {
  StablehloScatterAttrs a;
  if (const auto* o = op.builtin_options_2_as_StablehloScatterOptions()) {
    a = {o->indices_are_sorted(),
         o->unique_indices(),
         longs(o->update_window_dims(), where),
         longs(o->inserted_window_dims(), where),
         longs(o->scatter_dims_to_operand_dims(), where),
         o->index_vector_dim(),
         o->update_computation_subgraph_index()};
  }
  return a;
}

StablehloGatherAttrs read_stablehlo_gather(const fb::Operator& op, const std::string& where) {
  StablehloGatherAttrs a;
  if (const auto* o = op.builtin_options_2_as_StablehloGatherOptions()) {
    a = {longs(o->offset_dims(), where),     longs(o->collapsed_slice_dims(), where),
         longs(o->start_index_map(), where), o->index_vector_dim(),
         longs(o->slice_sizes(), where),     o->indices_are_sorted()};
  }
  return a;
}

StablehloReduceWindowAttrs read_stablehlo_window(const fb::Operator& op, const std::string& where) {
  StablehloReduceWindowAttrs a;
  if (const auto* o = op.builtin_options_2_as_StablehloReduceWindowOptions()) {
    a = {longs(o->window_dimensions(), where), longs(o->window_strides(), where),
         longs(o->base_dilations(), where),    longs(o->window_dilations(), where),
         longs(o->padding(), where),           o->body_subgraph_index()};
  }
  return a;
}

VarHandleAttrs read_var_handle(const fb::Operator& op) {
  VarHandleAttrs a;
  if (const auto* o = op.builtin_options_as_VarHandleOptions()) {
    if (o->container() != nullptr) a.container = o->container()->str();
    if (o->shared_name() != nullptr) a.shared_name = o->shared_name()->str();
  }
  return a;
}

// The options of a custom operator are a map in FlexBuffers, by convention.  Other bytes, and
// entries that are not numbers, are left to the writer.
CustomAttrs read_custom(const fb::Operator& op) {
  CustomAttrs a;
  const auto* bytes = op.custom_options();
  if (bytes == nullptr || bytes->size() < 3) return a;
  if (!flexbuffers::VerifyBuffer(bytes->data(), bytes->size())) return a;
  const flexbuffers::Reference root = flexbuffers::GetRoot(bytes->data(), bytes->size());
  if (!root.IsMap()) return a;
  const flexbuffers::Map map = root.AsMap();
  const flexbuffers::TypedVector keys = map.Keys();
  const flexbuffers::Vector values = map.Values();
  for (std::size_t i = 0; i < keys.size() && i < 256; ++i) {
    const flexbuffers::Reference value = values[i];
    if (value.IsNumeric() || value.IsBool()) {
      a.numbers[keys[i].AsKey()] = value.IsBool() ? (value.AsBool() ? 1 : 0) : value.AsDouble();
    }
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

namespace {

// Random numbers, tables and what came with StableHLO.
Attrs read_rarest(OpCode code, const fb::Operator& op, const std::string& where) {
  switch (code) {
    case OpCode::kStablehloScatter:
      return read_stablehlo_scatter(op, where);
    case OpCode::kStablehloGather:
      return read_stablehlo_gather(op, where);
    case OpCode::kStablehloReduceWindow:
      return read_stablehlo_window(op, where);
    case OpCode::kStablehloRngBitGenerator: {
      const auto* o = op.builtin_options_2_as_StablehloRngBitGeneratorOptions();
      return o ? RngBitGeneratorAttrs{o->algorithm()} : RngBitGeneratorAttrs{};
    }
    case OpCode::kStablehloCase: {
      const auto* o = op.builtin_options_2_as_StablehloCaseOptions();
      return o ? CaseAttrs{ints(o->branch_subgraph_indices(), where)} : CaseAttrs{};
    }
    case OpCode::kRandomUniform:
    case OpCode::kRandomStandardNormal:
    case OpCode::kMultinomial: {
      const auto* o = op.builtin_options_as_RandomOptions();
      return o ? RandomAttrs{o->seed(), o->seed2()} : RandomAttrs{};
    }
    case OpCode::kHashtable: {
      const auto* o = op.builtin_options_as_HashtableOptions();
      return o ? HashtableAttrs{o->table_id(), type_of(o->key_dtype(), where),
                                type_of(o->value_dtype(), where)}
               : HashtableAttrs{};
    }
    case OpCode::kLshProjection: {
      const auto* o = op.builtin_options_as_LSHProjectionOptions();
      return o ? LshProjectionAttrs{o->type()} : LshProjectionAttrs{};
    }
    default:
      return NoAttrs{};
  }
}

// The operators that few models have.
Attrs read_rare(OpCode code, const fb::Operator& op, const std::string& where) {
  const auto act = [&](std::int8_t v) { return activation_of(v, where); };
  switch (code) {
    case OpCode::kLocalResponseNormalization: {
      const auto* o = op.builtin_options_as_LocalResponseNormalizationOptions();
      return o ? LocalResponseNormAttrs{o->radius(), o->bias(), o->alpha(), o->beta()}
               : LocalResponseNormAttrs{};
    }
    case OpCode::kSvdf: {
      const auto* o = op.builtin_options_as_SVDFOptions();
      return o ? SvdfAttrs{o->rank(), act(o->fused_activation_function()),
                           o->asymmetric_quantize_inputs()}
               : SvdfAttrs{};
    }
    case OpCode::kRnn: {
      const auto* o = op.builtin_options_as_RNNOptions();
      return o ? RnnAttrs{act(o->fused_activation_function()), o->asymmetric_quantize_inputs()}
               : RnnAttrs{};
    }
    case OpCode::kUnidirectionalSequenceRnn:
    case OpCode::kBidirectionalSequenceRnn:
      return read_sequence_rnn(code, op, where);
    case OpCode::kLstm:
      return read_cell(op, where);
    case OpCode::kBidirectionalSequenceLstm:
      return read_bidirectional_lstm(op, where);
    case OpCode::kEmbeddingLookupSparse: {
      const auto* o = op.builtin_options_as_EmbeddingLookupSparseOptions();
      return o ? CombinerAttrs{o->combiner()} : CombinerAttrs{};
    }
    case OpCode::kFakeQuant: {
      const auto* o = op.builtin_options_as_FakeQuantOptions();
      return o ? FakeQuantAttrs{o->min(), o->max(), o->num_bits(), o->narrow_range()}
               : FakeQuantAttrs{};
    }
    case OpCode::kOneHot: {
      const auto* o = op.builtin_options_as_OneHotOptions();
      return o ? OneHotAttrs{o->axis()} : OneHotAttrs{};
    }
    case OpCode::kSparseToDense: {
      const auto* o = op.builtin_options_as_SparseToDenseOptions();
      return o ? SparseToDenseAttrs{o->validate_indices()} : SparseToDenseAttrs{};
    }
    case OpCode::kUnique: {
      const auto* o = op.builtin_options_as_UniqueOptions();
      return o ? OutputTypeAttrs{type_of(o->idx_out_type(), where)} : OutputTypeAttrs{};
    }
    case OpCode::kReverseSequence: {
      const auto* o = op.builtin_options_as_ReverseSequenceOptions();
      return o ? ReverseSequenceAttrs{o->seq_dim(), o->batch_dim()} : ReverseSequenceAttrs{};
    }
    case OpCode::kCumsum: {
      const auto* o = op.builtin_options_as_CumsumOptions();
      return o ? CumsumAttrs{o->exclusive(), o->reverse()} : CumsumAttrs{};
    }
    case OpCode::kConv3d:
    case OpCode::kConv3dTranspose:
      return read_conv_3d(op, where);
    case OpCode::kBucketize: {
      BucketizeAttrs a;
      const auto* o = op.builtin_options_as_BucketizeOptions();
      if (o != nullptr && o->boundaries() != nullptr)
        a.boundaries.assign(o->boundaries()->begin(), o->boundaries()->end());
      return a;
    }
    case OpCode::kIf: {
      const auto* o = op.builtin_options_as_IfOptions();
      return o ? IfAttrs{o->then_subgraph_index(), o->else_subgraph_index()} : IfAttrs{};
    }
    case OpCode::kWhile: {
      const auto* o = op.builtin_options_as_WhileOptions();
      return o ? WhileAttrs{o->cond_subgraph_index(), o->body_subgraph_index()} : WhileAttrs{};
    }
    case OpCode::kCallOnce: {
      const auto* o = op.builtin_options_as_CallOnceOptions();
      return o ? CallOnceAttrs{o->init_subgraph_index()} : CallOnceAttrs{};
    }
    case OpCode::kVarHandle:
      return read_var_handle(op);
    case OpCode::kStablehloComposite: {
      const auto* o = op.builtin_options_2_as_StableHLOCompositeOptions();
      return o ? CompositeAttrs{o->decomposition_subgraph_index()} : CompositeAttrs{};
    }
    case OpCode::kStablehloPad:
      return read_stablehlo_pad(op, where);
    case OpCode::kReduceWindow: {
      const auto* o = op.builtin_options_2_as_ReduceWindowOptions();
      return o ? ReduceWindowAttrs{o->reduce_function()} : ReduceWindowAttrs{};
    }
    case OpCode::kCustom:
      return read_custom(op);
    default:
      return read_rarest(code, op, where);
  }
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
    case OpCode::kReduceAny:
    case OpCode::kReduceAll: {
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
      return read_rare(code, op, where);
  }
}

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

bool has_second_attrs(OpCode code) {
  switch (code) {
    case OpCode::kStablehloPad:
    case OpCode::kReduceWindow:
    case OpCode::kStablehloScatter:
    case OpCode::kStablehloGather:
    case OpCode::kStablehloReduceWindow:
    case OpCode::kStablehloRngBitGenerator:
    case OpCode::kStablehloCase:
      return true;
    default:
      return false;
  }
}

}  // namespace litegap
