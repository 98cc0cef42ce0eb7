// Operators as the file says: a code, a version, tensor indices and one Attrs value.
//
// Attrs is a variant of small structs.  A struct holds exactly the options of conversion note
// section 7.3 in the schema's names; operators without options hold NoAttrs.  Operators whose
// options the project does not model yet also hold NoAttrs, and `foreign` keeps what the file said
// so that writing gives it back untouched.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "model/array.h"

namespace litegap {

// The numbers of the file format.
enum class OpCode : std::int32_t {
  kAdd = 0,
  kAveragePool2d = 1,
  kConcatenation = 2,
  kConv2d = 3,
  kDepthwiseConv2d = 4,
  kDepthToSpace = 5,
  kDequantize = 6,
  kEmbeddingLookup = 7,
  kFloor = 8,
  kFullyConnected = 9,
  kHashtableLookup = 10,
  kL2Normalization = 11,
  kL2Pool2d = 12,
  kLocalResponseNormalization = 13,
  kLogistic = 14,
  kLshProjection = 15,
  kLstm = 16,
  kMaxPool2d = 17,
  kMul = 18,
  kRelu = 19,
  kReluN1To1 = 20,
  kRelu6 = 21,
  kReshape = 22,
  kResizeBilinear = 23,
  kRnn = 24,
  kSoftmax = 25,
  kSpaceToDepth = 26,
  kSvdf = 27,
  kTanh = 28,
  kSkipGram = 30,
  kCustom = 32,
  kEmbeddingLookupSparse = 33,
  kPad = 34,
  kUnidirectionalSequenceRnn = 35,
  kGather = 36,
  kBatchToSpaceNd = 37,
  kSpaceToBatchNd = 38,
  kTranspose = 39,
  kMean = 40,
  kSub = 41,
  kDiv = 42,
  kSqueeze = 43,
  kUnidirectionalSequenceLstm = 44,
  kStridedSlice = 45,
  kBidirectionalSequenceRnn = 46,
  kExp = 47,
  kTopkV2 = 48,
  kSplit = 49,
  kLogSoftmax = 50,
  kBidirectionalSequenceLstm = 52,
  kCast = 53,
  kPrelu = 54,
  kMaximum = 55,
  kArgMax = 56,
  kMinimum = 57,
  kLess = 58,
  kNeg = 59,
  kPadV2 = 60,
  kGreater = 61,
  kGreaterEqual = 62,
  kLessEqual = 63,
  kSelect = 64,
  kSlice = 65,
  kSin = 66,
  kTransposeConv = 67,
  kSparseToDense = 68,
  kTile = 69,
  kExpandDims = 70,
  kEqual = 71,
  kNotEqual = 72,
  kLog = 73,
  kSum = 74,
  kSqrt = 75,
  kRsqrt = 76,
  kShape = 77,
  kPow = 78,
  kArgMin = 79,
  kFakeQuant = 80,
  kReduceProd = 81,
  kReduceMax = 82,
  kPack = 83,
  kLogicalOr = 84,
  kOneHot = 85,
  kLogicalAnd = 86,
  kLogicalNot = 87,
  kUnpack = 88,
  kReduceMin = 89,
  kFloorDiv = 90,
  kReduceAny = 91,
  kSquare = 92,
  kZerosLike = 93,
  kFill = 94,
  kFloorMod = 95,
  kRange = 96,
  kResizeNearestNeighbor = 97,
  kLeakyRelu = 98,
  kSquaredDifference = 99,
  kMirrorPad = 100,
  kAbs = 101,
  kSplitV = 102,
  kUnique = 103,
  kCeil = 104,
  kReverseV2 = 105,
  kAddN = 106,
  kGatherNd = 107,
  kCos = 108,
  kWhere = 109,
  kRank = 110,
  kElu = 111,
  kReverseSequence = 112,
  kMatrixDiag = 113,
  kQuantize = 114,
  kMatrixSetDiag = 115,
  kRound = 116,
  kHardSwish = 117,
  kIf = 118,
  kWhile = 119,
  kNonMaxSuppressionV4 = 120,
  kNonMaxSuppressionV5 = 121,
  kScatterNd = 122,
  kSelectV2 = 123,
  kDensify = 124,
  kSegmentSum = 125,
  kBatchMatmul = 126,
  kCumsum = 128,
  kCallOnce = 129,
  kBroadcastTo = 130,
  kRfft2d = 131,
  kConv3d = 132,
  kImag = 133,
  kReal = 134,
  kComplexAbs = 135,
  kHashtable = 136,
  kHashtableFind = 137,
  kHashtableImport = 138,
  kHashtableSize = 139,
  kReduceAll = 140,
  kConv3dTranspose = 141,
  kVarHandle = 142,
  kReadVariable = 143,
  kAssignVariable = 144,
  kBroadcastArgs = 145,
  kRandomStandardNormal = 146,
  kBucketize = 147,
  kRandomUniform = 148,
  kMultinomial = 149,
  kGelu = 150,
  kDynamicUpdateSlice = 151,
  kRelu0To1 = 152,
  kUnsortedSegmentProd = 153,
  kUnsortedSegmentMax = 154,
  kUnsortedSegmentSum = 155,
  kAtan2 = 156,
  kUnsortedSegmentMin = 157,
  kSign = 158,
  kBitcast = 159,
  kBitwiseXor = 160,
  kRightShift = 161,
  kStablehloAdd = 163,
  kStablehloMultiply = 165,
  kStablehloMaximum = 166,
  kStablehloAnd = 176,
  kStablehloMinimum = 181,
  kStablehloOr = 183,
  kStablehloScatter = 190,
  kStablehloPad = 195,
  kStablehloReduceWindow = 198,
  kStablehloGather = 201,
  kDilate = 203,
  kStablehloRngBitGenerator = 204,
  kReduceWindow = 205,
  kStablehloComposite = 206,
  kStablehloShiftLeft = 207,
  kStablehloCase = 209,
  // Only in graphs that are being trained (keras/lower.h); no file has them, and no plan runs them.
  kTrainBatchNorm = 100001,
  kTrainDropout = 100002,
  kTrainFake = 100003,
  kTrainFold = 100004,
  kTrainFoldedNorm = 100005,
};

std::string op_name(OpCode code);  // "CONV_2D"; "operator 999" when the code is not known

enum class Activation : std::int8_t {
  kNone = 0,
  kRelu = 1,
  kReluN1To1 = 2,
  kRelu6 = 3,
  kTanh = 4,
  kSignBit = 5
};
enum class Padding : std::int8_t { kSame = 0, kValid = 1 };

struct NoAttrs {
  bool operator==(const NoAttrs&) const = default;
};
struct ConvAttrs {  // CONV_2D
  Padding padding = Padding::kSame;
  std::int32_t stride_w = 1, stride_h = 1;
  Activation activation = Activation::kNone;
  std::int32_t dilation_w = 1, dilation_h = 1;
  DType quantized_bias_type = DType::kFloat32;  // kFloat32 (0) = not set
  bool operator==(const ConvAttrs&) const = default;
};
struct DepthwiseAttrs {  // DEPTHWISE_CONV_2D
  Padding padding = Padding::kSame;
  std::int32_t stride_w = 1, stride_h = 1, depth_multiplier = 1;
  Activation activation = Activation::kNone;
  std::int32_t dilation_w = 1, dilation_h = 1;
  bool operator==(const DepthwiseAttrs&) const = default;
};
struct FullyConnectedAttrs {
  Activation activation = Activation::kNone;
  std::int8_t weights_format = 0;
  bool keep_num_dims = false, asymmetric_quantize_inputs = false;
  DType quantized_bias_type = DType::kFloat32;
  bool operator==(const FullyConnectedAttrs&) const = default;
};
struct TransposeConvAttrs {
  Padding padding = Padding::kSame;
  std::int32_t stride_w = 1, stride_h = 1;
  Activation activation = Activation::kNone;
  DType quantized_bias_type = DType::kFloat32;
  bool operator==(const TransposeConvAttrs&) const = default;
};
struct PoolAttrs {  // AVERAGE_POOL_2D, MAX_POOL_2D, L2_POOL_2D
  Padding padding = Padding::kSame;
  std::int32_t stride_w = 1, stride_h = 1, filter_w = 1, filter_h = 1;
  Activation activation = Activation::kNone;
  bool operator==(const PoolAttrs&) const = default;
};
struct AddAttrs {  // ADD, SUB
  Activation activation = Activation::kNone;
  bool pot_scale_int16 = true;
  bool operator==(const AddAttrs&) const = default;
};
struct ActivationAttrs {  // MUL, DIV, L2_NORMALIZATION
  Activation activation = Activation::kNone;
  bool operator==(const ActivationAttrs&) const = default;
};
struct ConcatAttrs {
  std::int32_t axis = 0;
  Activation activation = Activation::kNone;
  bool operator==(const ConcatAttrs&) const = default;
};
struct ReshapeAttrs {
  std::vector<std::int32_t> new_shape;
  bool operator==(const ReshapeAttrs&) const = default;
};
struct SoftmaxAttrs {
  float beta = 0;
  bool operator==(const SoftmaxAttrs&) const = default;
};
struct GatherAttrs {
  std::int32_t axis = 0, batch_dims = 0;
  bool operator==(const GatherAttrs&) const = default;
};
struct ReducerAttrs {
  bool keep_dims = false;
  bool operator==(const ReducerAttrs&) const = default;
};
struct SqueezeAttrs {
  std::vector<std::int32_t> squeeze_dims;
  bool operator==(const SqueezeAttrs&) const = default;
};
struct StridedSliceAttrs {
  std::int32_t begin_mask = 0, end_mask = 0, ellipsis_mask = 0, new_axis_mask = 0,
               shrink_axis_mask = 0;
  bool offset = false;
  bool operator==(const StridedSliceAttrs&) const = default;
};
struct SplitAttrs {
  std::int32_t num_splits = 0;
  bool operator==(const SplitAttrs&) const = default;
};  // SPLIT, SPLIT_V
struct PackAttrs {
  std::int32_t values_count = 0, axis = 0;
  bool operator==(const PackAttrs&) const = default;
};
struct UnpackAttrs {
  std::int32_t num = 0, axis = 0;
  bool operator==(const UnpackAttrs&) const = default;
};
struct CastAttrs {
  DType in_type = DType::kFloat32, out_type = DType::kFloat32;
  bool operator==(const CastAttrs&) const = default;
};
struct OutputTypeAttrs {
  DType output_type = DType::kFloat32;
  bool operator==(const OutputTypeAttrs&) const = default;
};  // ARG_MAX, ARG_MIN, SHAPE, UNIQUE
struct ResizeAttrs {
  bool align_corners = false, half_pixel_centers = false;
  bool operator==(const ResizeAttrs&) const = default;
};
struct LeakyReluAttrs {
  float alpha = 0;
  bool operator==(const LeakyReluAttrs&) const = default;
};
struct BlockSizeAttrs {
  std::int32_t block_size = 0;
  bool operator==(const BlockSizeAttrs&) const = default;
};                          // DEPTH_TO_SPACE, SPACE_TO_DEPTH
struct SequenceLstmAttrs {  // UNIDIRECTIONAL_SEQUENCE_LSTM
  Activation activation = Activation::kNone;
  float cell_clip = 0, proj_clip = 0;
  bool time_major = false, asymmetric_quantize_inputs = false, diagonal_recurrent_tensors = false;
  bool operator==(const SequenceLstmAttrs&) const = default;
};
struct BatchMatmulAttrs {
  bool adj_x = false, adj_y = false, asymmetric_quantize_inputs = false;
  bool operator==(const BatchMatmulAttrs&) const = default;
};
struct MirrorPadAttrs {
  std::int8_t mode = 0;
  bool operator==(const MirrorPadAttrs&) const = default;
};
struct GeluAttrs {
  bool approximate = false;
  bool operator==(const GeluAttrs&) const = default;
};
struct LocalResponseNormAttrs {  // LOCAL_RESPONSE_NORMALIZATION
  std::int32_t radius = 0;
  float bias = 0, alpha = 0, beta = 0;
  bool operator==(const LocalResponseNormAttrs&) const = default;
};
struct SvdfAttrs {
  std::int32_t rank = 0;
  Activation activation = Activation::kNone;
  bool asymmetric_quantize_inputs = false;
  bool operator==(const SvdfAttrs&) const = default;
};
struct RnnAttrs {
  Activation activation = Activation::kNone;
  bool asymmetric_quantize_inputs = false;
  bool operator==(const RnnAttrs&) const = default;
};
struct SequenceRnnAttrs {  // UNIDIRECTIONAL_SEQUENCE_RNN, BIDIRECTIONAL_SEQUENCE_RNN
  bool time_major = false;
  Activation activation = Activation::kNone;
  bool merge_outputs = false;  // of the bidirectional one
  bool asymmetric_quantize_inputs = false;
  bool operator==(const SequenceRnnAttrs&) const = default;
};
struct LstmAttrs {  // LSTM
  Activation activation = Activation::kNone;
  float cell_clip = 0, proj_clip = 0;
  std::int8_t kernel_type = 0;  // 0 full, 1 basic
  bool asymmetric_quantize_inputs = false;
  bool operator==(const LstmAttrs&) const = default;
};
struct BidirectionalLstmAttrs {  // BIDIRECTIONAL_SEQUENCE_LSTM
  Activation activation = Activation::kNone;
  float cell_clip = 0, proj_clip = 0;
  bool merge_outputs = false, time_major = false, asymmetric_quantize_inputs = false;
  bool operator==(const BidirectionalLstmAttrs&) const = default;
};
struct CombinerAttrs {       // EMBEDDING_LOOKUP_SPARSE
  std::int8_t combiner = 0;  // 0 sum, 1 mean, 2 sqrtn
  bool operator==(const CombinerAttrs&) const = default;
};
struct FakeQuantAttrs {
  float min = 0, max = 0;
  std::int32_t num_bits = 0;
  bool narrow_range = false;
  bool operator==(const FakeQuantAttrs&) const = default;
};
struct OneHotAttrs {
  std::int32_t axis = 0;
  bool operator==(const OneHotAttrs&) const = default;
};
struct SparseToDenseAttrs {
  bool validate_indices = false;
  bool operator==(const SparseToDenseAttrs&) const = default;
};
struct ReverseSequenceAttrs {
  std::int32_t seq_dim = 0, batch_dim = 0;
  bool operator==(const ReverseSequenceAttrs&) const = default;
};
struct CumsumAttrs {
  bool exclusive = false, reverse = false;
  bool operator==(const CumsumAttrs&) const = default;
};
struct Conv3dAttrs {  // CONV_3D, CONV_3D_TRANSPOSE
  Padding padding = Padding::kSame;
  std::int32_t stride_d = 1, stride_w = 1, stride_h = 1;
  Activation activation = Activation::kNone;
  std::int32_t dilation_d = 1, dilation_w = 1, dilation_h = 1;
  bool operator==(const Conv3dAttrs&) const = default;
};
struct BucketizeAttrs {
  std::vector<float> boundaries;
  bool operator==(const BucketizeAttrs&) const = default;
};
struct IfAttrs {
  std::int32_t then_graph = 0, else_graph = 0;
  bool operator==(const IfAttrs&) const = default;
};
struct WhileAttrs {
  std::int32_t cond_graph = 0, body_graph = 0;
  bool operator==(const WhileAttrs&) const = default;
};
struct CallOnceAttrs {
  std::int32_t init_graph = 0;
  bool operator==(const CallOnceAttrs&) const = default;
};
struct VarHandleAttrs {
  std::string container, shared_name;
  bool operator==(const VarHandleAttrs&) const = default;
};
struct CompositeAttrs {  // STABLEHLO_COMPOSITE: its other options are kept in `foreign`
  std::int32_t graph = 0;
  bool operator==(const CompositeAttrs&) const = default;
};
struct StablehloPadAttrs {
  std::vector<std::int64_t> low, high, interior;
  bool operator==(const StablehloPadAttrs&) const = default;
};
struct ReduceWindowAttrs {
  // 1 add, 2 multiply, 3 minimum, 4 maximum, 5 all, 6 any
  std::int32_t function = 0;
  bool operator==(const ReduceWindowAttrs&) const = default;
};
struct StablehloScatterAttrs {
  bool indices_are_sorted = false, unique_indices = false;
  std::vector<std::int64_t> update_window_dims, inserted_window_dims, scatter_dims_to_operand_dims;
  std::int64_t index_vector_dim = 0;
  std::int32_t graph = 0;  // how an update meets what is there
  bool operator==(const StablehloScatterAttrs&) const = default;
};
struct StablehloGatherAttrs {
  std::vector<std::int64_t> offset_dims, collapsed_slice_dims, start_index_map;
  std::int64_t index_vector_dim = 0;
  std::vector<std::int64_t> slice_sizes;
  bool indices_are_sorted = false;
  bool operator==(const StablehloGatherAttrs&) const = default;
};
struct StablehloReduceWindowAttrs {
  std::vector<std::int64_t> window_dimensions, window_strides, base_dilations, window_dilations,
      padding;
  std::int32_t graph = 0;  // how two elements of a window become one
  bool operator==(const StablehloReduceWindowAttrs&) const = default;
};
struct RngBitGeneratorAttrs {  // STABLEHLO_RNG_BIT_GENERATOR
  std::int8_t algorithm = 0;   // 0 default (Philox), 1 Philox, 2 Threefry
  bool operator==(const RngBitGeneratorAttrs&) const = default;
};
struct CaseAttrs {  // STABLEHLO_CASE
  std::vector<std::int32_t> graphs;
  bool operator==(const CaseAttrs&) const = default;
};
struct RandomAttrs {  // RANDOM_UNIFORM, RANDOM_STANDARD_NORMAL, MULTINOMIAL
  std::int64_t seed = 0, seed2 = 0;
  bool operator==(const RandomAttrs&) const = default;
};
struct HashtableAttrs {
  std::int32_t table = 0;
  DType key_type = DType::kFloat32, value_type = DType::kFloat32;
  bool operator==(const HashtableAttrs&) const = default;
};
struct LshProjectionAttrs {
  std::int8_t type = 0;  // 1 sparse, 2 dense
  bool operator==(const LshProjectionAttrs&) const = default;
};
// CUSTOM: the numbers of its options by name, where they are a map; `foreign` keeps the bytes.
struct CustomAttrs {
  std::map<std::string, double> numbers;
  bool operator==(const CustomAttrs&) const = default;
};
// kTrainBatchNorm: inputs x, gamma, beta, moving mean, moving variance (gamma and beta may be
// absent), each of the last axis of x.  kTrainFold and kTrainFoldedNorm: train/fold.h.
struct BatchNormAttrs {
  float epsilon = 1e-3f, momentum = 0.99f;
  bool frozen = false;  // uses the moving statistics even while training
  // The moving variance takes n / (n - 1) times the batch's, as the fused kernel behind tf_keras
  // has it for images; Keras 3 takes the batch's.
  bool unbiased = false;
  Activation activation = Activation::kNone;
  bool operator==(const BatchNormAttrs&) const = default;
};
// kTrainDropout: y = x / (1 - rate) where kept, else 0.
struct DropoutAttrs {
  float rate = 0;
  std::vector<std::int32_t> shared_axes;  // one decision for all indices of these axes
  bool operator==(const DropoutAttrs&) const = default;
};

// kTrainFake: the input as an integer file would hold it; `slot` says which scale (train/fake.h).
struct TrainFakeAttrs {
  std::int32_t slot = -1;
  bool operator==(const TrainFakeAttrs&) const = default;
};

using AnyAttrs = std::variant<
    NoAttrs, ConvAttrs, DepthwiseAttrs, FullyConnectedAttrs, TransposeConvAttrs, PoolAttrs,
    AddAttrs, ActivationAttrs, ConcatAttrs, ReshapeAttrs, SoftmaxAttrs, GatherAttrs, ReducerAttrs,
    SqueezeAttrs, StridedSliceAttrs, SplitAttrs, PackAttrs, UnpackAttrs, CastAttrs, OutputTypeAttrs,
    ResizeAttrs, LeakyReluAttrs, BlockSizeAttrs, SequenceLstmAttrs, BatchMatmulAttrs,
    MirrorPadAttrs, GeluAttrs, LocalResponseNormAttrs, SvdfAttrs, RnnAttrs, SequenceRnnAttrs,
    LstmAttrs, BidirectionalLstmAttrs, CombinerAttrs, FakeQuantAttrs, OneHotAttrs,
    SparseToDenseAttrs, ReverseSequenceAttrs, CumsumAttrs, Conv3dAttrs, BucketizeAttrs, IfAttrs,
    WhileAttrs, CallOnceAttrs, VarHandleAttrs, CompositeAttrs, StablehloPadAttrs, ReduceWindowAttrs,
    StablehloScatterAttrs, StablehloGatherAttrs, StablehloReduceWindowAttrs, RngBitGeneratorAttrs,
    CaseAttrs, RandomAttrs, HashtableAttrs, LshProjectionAttrs, CustomAttrs, BatchNormAttrs,
    DropoutAttrs, TrainFakeAttrs>;

template <class A, class Any>
inline constexpr std::size_t kAttrsIndex = 0;
template <class A, class... As>
inline constexpr std::size_t kAttrsIndex<A, std::variant<As...>> = [] {
  std::size_t i = 0;
  (void)((std::is_same_v<A, As> || (++i, false)) || ...);
  return i;
}();
template <class A>
concept SomeAttrs = kAttrsIndex<A, AnyAttrs> < std::variant_size_v<AnyAttrs>;

// The variant with its copying, moving and destroying compiled once, in op.cc: done by every file
// that copies a model, these of sixty alternatives are most of what the file takes to compile.
// Read it with std::get_if, std::get and std::visit.
class Attrs : public AnyAttrs {
 public:
  Attrs();
  Attrs(const Attrs& other);
  Attrs(Attrs&& other) noexcept;
  Attrs& operator=(const Attrs& other);
  Attrs& operator=(Attrs&& other) noexcept;
  ~Attrs();
  template <SomeAttrs A>
  Attrs(A attrs) : Attrs() {  // NOLINT(google-explicit-constructor): as of the variant
    put(kAttrsIndex<A, AnyAttrs>, &attrs);
  }
  friend bool operator==(const Attrs& a, const Attrs& b);

 private:
  void put(std::size_t index, void* attrs);  // moves from what the alternative of the index is
};

struct Op {
  // Copied and destroyed in many places, compiled once.
  Op();
  Op(const Op&);
  Op(Op&&) noexcept;
  Op& operator=(const Op&);
  Op& operator=(Op&&) noexcept;
  ~Op();

  OpCode code = OpCode::kCustom;
  std::int32_t version = 1;
  std::string custom_code;  // of kCustom
  std::vector<int> inputs;  // tensor indices of the same graph; -1 = absent
  std::vector<int> outputs;
  std::vector<int> intermediates;
  std::vector<bool> mutating_variable_inputs;
  Attrs attrs;
  std::shared_ptr<const void>
      foreign;  // the file's own options when Attrs does not model them (tflite/ only)

  int input(std::size_t i) const { return i < inputs.size() ? inputs[i] : -1; }
  std::string name() const {
    return code == OpCode::kCustom ? "CUSTOM " + custom_code : op_name(code);
  }
};

// The fused activation of any operator, kNone where it has none.
Activation fused_activation(const Attrs& attrs);

}  // namespace litegap
