// What happens to a file's weights tells its technique:
//
//   float operator, float weights                            float32
//   float operator, float16 weights behind DEQUANTIZE        float16
//   float operator, int8/int4 weights behind DEQUANTIZE      weight-only
//   float operator, int8/int4 weights as they are            dynamic range (the operator quantizes
//   its
//                                                            input at run time)
//   integer operator                                         static, by the type of its input
//
// Converters leave some operators of a quantized file alone (small or unsupported ones), so a share
// of float operators does not make a file "mixed": two different kinds of quantization do.
#include "diagnose/technique.h"

#include <algorithm>
#include <array>
#include <map>

#include "diagnose/weights.h"

namespace litegap {
namespace {

enum Kind {
  kFloat32,
  kFloat16,
  kHybrid,
  kOnly8,
  kOnly4,
  kStaticInt8,
  kStaticUint8,
  kInt16x8,
  kKinds
};
constexpr std::array<const char*, kKinds> kKindNames = {
    "float32",          "float16",     "dynamic-range", "weight-only-int8",
    "weight-only-int4", "static-int8", "static-uint8",  "int16x8"};

bool is_float(DType t) {
  return t == DType::kFloat32 || t == DType::kFloat16 || t == DType::kBfloat16 ||
         t == DType::kFloat64;
}
bool is_code(DType t) {
  return t == DType::kInt8 || t == DType::kUint8 || t == DType::kInt4 || t == DType::kInt2 ||
         t == DType::kUint4;
}
bool is_packed(DType t) { return t == DType::kInt4 || t == DType::kInt2 || t == DType::kUint4; }

const Tensor* tensor_at(const Graph& g, int t) {
  return t < 0 ? nullptr : &g.tensors[static_cast<std::size_t>(t)];
}

// The input that carries activations: the first that is not a constant.
const Tensor* activation_input(const Graph& g, const Op& op) {
  for (const int t : op.inputs) {
    if (t >= 0 && !g.tensors[static_cast<std::size_t>(t)].constant) return tensor_at(g, t);
  }
  return nullptr;
}

Kind static_kind(DType t) {
  if (t == DType::kUint8) return kStaticUint8;
  if (t == DType::kInt16) return kInt16x8;
  return kStaticInt8;
}

bool is_quantized_activation(const Tensor* t) {
  return t != nullptr && !t->quant.empty() &&
         (t->dtype == DType::kInt8 || t->dtype == DType::kUint8 || t->dtype == DType::kInt16);
}

std::string counted(int n, const char* what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

// Exact in any type: these move values and do not compute.
bool only_moves(OpCode code) {
  switch (code) {
    case OpCode::kReshape:
    case OpCode::kTranspose:
    case OpCode::kSqueeze:
    case OpCode::kExpandDims:
    case OpCode::kSlice:
    case OpCode::kStridedSlice:
    case OpCode::kPack:
    case OpCode::kUnpack:
    case OpCode::kSplit:
    case OpCode::kSplitV:
    case OpCode::kGather:
    case OpCode::kGatherNd:
    case OpCode::kPad:
    case OpCode::kPadV2:
    case OpCode::kMirrorPad:
    case OpCode::kShape:
    case OpCode::kConcatenation:
    case OpCode::kTile:
    case OpCode::kBroadcastTo:
    case OpCode::kReverseV2:
    case OpCode::kSpaceToBatchNd:
    case OpCode::kBatchToSpaceNd:
    case OpCode::kSpaceToDepth:
    case OpCode::kDepthToSpace:
    case OpCode::kVarHandle:
    case OpCode::kReadVariable:
    case OpCode::kAssignVariable:
    case OpCode::kCallOnce:
      return true;
    default:
      return false;
  }
}

// Whether an operator writes float numbers made of float numbers.
bool computes_in_float(const Graph& g, const Op& op) {
  if (op.code == OpCode::kQuantize || op.code == OpCode::kDequantize || only_moves(op.code))
    return false;
  const Tensor* in = activation_input(g, op);
  const Tensor* out = op.outputs.empty() ? nullptr : tensor_at(g, op.outputs[0]);
  return in != nullptr && out != nullptr && is_float(in->dtype) && is_float(out->dtype);
}

class Census {
 public:
  void add(const Graph& g) {
    const auto producer = producers(g);
    for (const Weight& w : weights_of(g, producer)) add_weight(g, w);
    for (const Tensor& t : g.tensors) floats_ += is_float(t.dtype) ? 1 : 0;
    for (const Op& op : g.ops) {
      const Tensor* in = activation_input(g, op);
      if (op.code != OpCode::kQuantize && op.code != OpCode::kDequantize &&
          is_quantized_activation(in)) {
        ++integer_ops_[static_kind(in->dtype)];
      }
    }
    pairs_ += simulated_pairs(g, producer);
  }

  void decide(FileTechnique& t) const {
    std::vector<int> kinds;
    for (int k = kFloat16; k < kKinds; ++k) {
      if (elements_[k] > 0) kinds.push_back(k);
    }
    std::vector<int> integers;
    for (int k = kStaticInt8; k < kKinds; ++k) {
      if (integer_ops_[k] > 0) integers.push_back(k);
    }
    const bool has_static =
        elements_[kStaticInt8] + elements_[kStaticUint8] + elements_[kInt16x8] > 0;
    if (kinds.empty()) {
      t.name = integers.empty()
                   ? "float32"
                   : kKindNames[static_cast<std::size_t>(most(integers, integer_ops_))];
    } else if (has_static) {
      const int main = most(kinds, elements_);
      // Static files keep a table or a small layer in another form now and then.
      t.name = elements_[main] >= total_quantized() - total_quantized() / 4
                   ? kKindNames[static_cast<std::size_t>(main)]
                   : "mixed";
    } else {
      const bool only =
          std::all_of(kinds.begin(), kinds.end(), [](int k) { return k == kOnly8 || k == kOnly4; });
      t.name = kinds.size() == 1 || only
                   ? kKindNames[static_cast<std::size_t>(most(kinds, elements_))]
                   : "mixed";
    }
    t.weights = granularity();
    add_notes(t);
  }

 private:
  static int most(const std::vector<int>& kinds, const std::array<std::uint64_t, kKinds>& count) {
    return *std::max_element(kinds.begin(), kinds.end(), [&](int a, int b) {
      return count[static_cast<std::size_t>(a)] < count[static_cast<std::size_t>(b)];
    });
  }
  std::uint64_t total_quantized() const {
    std::uint64_t n = 0;
    for (int k = kFloat16; k < kKinds; ++k) n += elements_[static_cast<std::size_t>(k)];
    return n;
  }

  void add_weight(const Graph& g, const Weight& w) {
    const Op& op = g.ops[static_cast<std::size_t>(w.op)];
    const Tensor& weight = g.tensors[static_cast<std::size_t>(w.tensor)];
    if (op.code == OpCode::kGather && !(is_code(weight.dtype) && !weight.quant.empty()))
      return;  // data, not weights
    const Kind kind = kind_of(g, op, w, weight);
    elements_[kind] += shape_elements(weight.shape);
    ++tensors_[kind];
    if (kind == kHybrid && op.code == OpCode::kDepthwiseConv2d && weight.quant.scale.size() == 1 &&
        weight.shape.back() > 1) {
      ++hybrid_depthwise_;
    }
    if (is_code(weight.dtype)) count_granularity(op, w, weight);
    if (is_packed(weight.dtype)) ++packed_;
    if (const auto* fc = std::get_if<FullyConnectedAttrs>(&op.attrs);
        fc != nullptr && kind == kHybrid) {
      ++(fc->asymmetric_quantize_inputs ? asymmetric_ : symmetric_);
    }
  }

  static Kind kind_of(const Graph& g, const Op& op, const Weight& w, const Tensor& weight) {
    if (w.through >= 0) {
      if (weight.dtype == DType::kFloat16) return kFloat16;
      return is_packed(weight.dtype) ? kOnly4 : kOnly8;
    }
    if (weight.dtype == DType::kFloat16 || weight.dtype == DType::kBfloat16) return kFloat16;
    if (!is_code(weight.dtype)) return kFloat32;
    const Tensor* out = op.outputs.empty() ? nullptr : tensor_at(g, op.outputs[0]);
    const Tensor* in =
        op.code == OpCode::kTransposeConv ? tensor_at(g, op.input(2)) : activation_input(g, op);
    if (op.code == OpCode::kGather || op.code == OpCode::kEmbeddingLookup)
      in = out;  // the other input is an index
    if (is_quantized_activation(in)) return static_kind(in->dtype);
    return kHybrid;
  }

  void count_granularity(const Op& op, const Weight& w, const Tensor& weight) {
    if (weight.quant.block_scales >= 0) {
      ++blockwise_;
      return;
    }
    const bool convolution = op.code == OpCode::kConv2d || op.code == OpCode::kDepthwiseConv2d ||
                             op.code == OpCode::kTransposeConv;
    const bool per_channel = weight.quant.per_channel();
    const bool one_channel = w.axis >= 0 &&
                             static_cast<std::size_t>(w.axis) < weight.shape.size() &&
                             weight.shape[static_cast<std::size_t>(w.axis)] == 1;
    if (one_channel)
      ++either_;
    else if (convolution)
      ++(per_channel ? conv_channel_ : conv_tensor_);
    else
      ++(per_channel ? other_channel_ : other_tensor_);
  }

  std::string granularity() const {
    const int channel = conv_channel_ + other_channel_, tensor = conv_tensor_ + other_tensor_;
    if (blockwise_ > 0) return channel + tensor > 0 ? "mixed" : "blockwise";
    if (channel + tensor == 0) return either_ > 0 ? "per-tensor" : "float";
    if (channel == 0) return "per-tensor";
    // Older converters keep dense and recurrent weights per tensor beside per-channel convolutions.
    if (conv_channel_ > 0 && conv_tensor_ == 0 && other_channel_ == 0) return "per-channel";
    return tensor == 0 ? "per-channel" : "mixed";
  }

  // DEQUANTIZE of QUANTIZE: a float value that was rounded to codes on the way.
  static int simulated_pairs(const Graph& g, const std::vector<int>& producer) {
    int n = 0;
    for (const Op& op : g.ops) {
      if (op.code != OpCode::kDequantize || op.input(0) < 0) continue;
      const int maker = producer[static_cast<std::size_t>(op.input(0))];
      if (maker < 0) continue;
      const Op& quantize = g.ops[static_cast<std::size_t>(maker)];
      const Tensor* source = tensor_at(g, quantize.input(0));
      if (quantize.code == OpCode::kQuantize && source != nullptr && is_float(source->dtype)) ++n;
    }
    return n;
  }

  void add_notes(FileTechnique& t) const {
    const auto note = [&](std::string text) { t.notes.push_back(std::move(text)); };
    if (t.name == "float32" && floats_ == 0)
      note("no float and no quantized tensors: plain integer arithmetic");
    if (pairs_ > 0) {
      note(
          fmt::format("{} QUANTIZE/DEQUANTIZE pairs around float operators: int8 is simulated, not "
                      "used for arithmetic "
                      "(no optimization was set when a quantization-aware model was converted)",
                      pairs_));
    }
    if (t.weights == "per-channel" && other_tensor_ > 0) {
      note(
          fmt::format("dense or recurrent weights ({}) have one scale a tensor beside per-channel "
                      "convolutions, "
                      "as converters before 2.21 wrote them",
                      counted(other_tensor_, "tensor")));
    }
    if ((t.name == "dynamic-range" || t.name.starts_with("weight-only")) &&
        tensors_[kFloat32] > 0) {
      note(fmt::format("{} stayed float (small ones, or operators the quantizer does not cover)",
                       counted(tensors_[kFloat32], "weight tensor")));
    }
    if (packed_ > 0 && t.name != "weight-only-int4")
      note(fmt::format("{} packed below 8 bits", counted(packed_, "weight tensor")));
    if (hybrid_depthwise_ > 0) {
      note(
          fmt::format("{} DEPTHWISE_CONV_2D with float input and int8 weights of one scale: the "
                      "runtime's result is undefined",
                      hybrid_depthwise_));
    }
    if (symmetric_ > 0) {
      note(
          fmt::format("{} FULLY_CONNECTED quantize their input symmetrically at run time; "
                      "reference and XNNPACK kernels differ there",
                      symmetric_));
    }
  }

  std::array<std::uint64_t, kKinds> elements_{}, integer_ops_{};
  std::array<int, kKinds> tensors_{};
  int conv_channel_ = 0, conv_tensor_ = 0, other_channel_ = 0, other_tensor_ = 0, either_ = 0,
      blockwise_ = 0;
  int floats_ = 0, pairs_ = 0, packed_ = 0, hybrid_depthwise_ = 0, symmetric_ = 0, asymmetric_ = 0;
};

}  // namespace

FileTechnique identify(const Model& model) {
  FileTechnique t;
  Census census;
  for (const Graph& g : model.graphs) census.add(g);
  census.decide(t);
  const bool is_static = t.name.starts_with("static") || t.name == "int16x8" || t.name == "mixed";
  const Graph& main = model.main();
  for (std::size_t o = 0; is_static && o < main.ops.size(); ++o) {
    if (computes_in_float(main, main.ops[o])) t.float_fallback.push_back(static_cast<int>(o));
  }
  return t;
}

}  // namespace litegap
