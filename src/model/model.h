// Model: what a file says, nothing derived.  Built once by tflite/read (or by a rewrite that
// copies), then constant.  Constants are shared by reference, so copying a Model costs its tables,
// not its weights: edits make cheap variants.
//
// The single definition of quantization:   real = scale * (code - zero_point)
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/array.h"
#include "model/op.h"

namespace litegap {

// Scales and zero points of one tensor.  Empty scale = not quantized.  One scale = per tensor;
// several = one per index of `axis`.
struct Quant {
  std::vector<float> scale;
  std::vector<std::int64_t>
      zero_point;  // as long as scale (missing ones were filled with 0 by the reader)
  int axis = 0;
  std::vector<float> min, max;  // as recorded in the file, if at all
  // Blockwise details (conversion note 5.3): index of the scale tensor, or -1.
  int block_scales = -1, block_zero_points = -1, block_size = 0;
  std::shared_ptr<const void> foreign;  // other details, kept for writing (tflite/ only)

  bool empty() const { return scale.empty(); }
  bool blockwise() const { return block_size > 0 && block_scales >= 0; }
  bool per_channel() const { return scale.size() > 1; }
  double real(std::int64_t code, std::size_t channel = 0) const {
    const std::size_t c = scale.size() > 1 ? channel : 0;
    return static_cast<double>(scale[c]) * static_cast<double>(code - zero_point[c]);
  }
};

struct Tensor {
  // Copied and destroyed in many places, compiled once.
  Tensor();
  Tensor(const Tensor&);
  Tensor(Tensor&&) noexcept;
  Tensor& operator=(const Tensor&);
  Tensor& operator=(Tensor&&) noexcept;
  ~Tensor();

  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;            // unknown dimensions are 1
  Shape shape_signature;  // unknown dimensions are -1; empty = fully static
  bool has_rank = false;
  bool is_variable = false;
  Quant quant;
  std::optional<Array> constant;        // data from the file
  std::shared_ptr<const void> foreign;  // sparsity, variant tensors (tflite/ only)
  bool sparse = false;                  // the constant is stored sparse: not readable as dense data
  // Stored as rows of blocks of 1 x this, those of zeros left out; 0 = dense, or another layout.
  int sparse_block = 0;
};

struct Graph {
  // Copied and destroyed in many places, compiled once.
  Graph();
  Graph(const Graph&);
  Graph(Graph&&) noexcept;
  Graph& operator=(const Graph&);
  Graph& operator=(Graph&&) noexcept;
  ~Graph();

  std::string name;
  std::vector<Tensor> tensors;
  std::vector<int> inputs, outputs;
  std::vector<Op> ops;
};

struct Signature {
  std::string key;
  std::vector<std::pair<std::string, int>> inputs, outputs;  // public name, tensor index
  int graph = 0;
};

struct MetadataEntry {
  std::string name;
  Array bytes;  // uint8
};

struct Model {
  // Copied and destroyed in many places, compiled once.
  Model();
  Model(const Model&);
  Model(Model&&) noexcept;
  Model& operator=(const Model&);
  Model& operator=(Model&&) noexcept;
  ~Model();

  std::string path;              // where it came from, for messages
  std::uint64_t file_bytes = 0;  // size of that file
  std::uint32_t version = 3;
  std::string description;
  std::vector<Graph> graphs;  // graph 0 is the main one
  std::vector<Signature> signatures;
  std::vector<MetadataEntry> metadata;
  Array appended;  // bytes behind the FlatBuffer (a ZIP of associated files), uint8
  std::shared_ptr<const void> foreign;  // tables the project does not model (tflite/ only)

  const Graph& main() const { return graphs.front(); }
  Graph& main() { return graphs.front(); }
};

using ModelPtr = std::shared_ptr<const Model>;

// The name a user knows an input or output by: its signature name if there is one, else the
// tensor's.
std::string input_name(const Model& model, std::size_t i);
std::string output_name(const Model& model, std::size_t i);

// A short, human name for an operator: "#17 DEPTHWISE_CONV_2D (MobilenetV2/…/depthwise)".
std::string op_label(const Graph& graph, std::size_t op);

// Dequantizes any quantized array (int4/int8/uint8/int16/int32/int64, float16 expands, float32 is
// returned as it is) to float32 by real = scale * (code - zero_point), float32 product.
Array dequantize(const Array& codes, const Quant& quant);
// The real values of a constant tensor, [channels, ...]: as dequantize(), or code * scale of its
// block where the scales of its blocks are a tensor of the graph.
Array dequantize_constant(const Graph& graph, const Tensor& tensor);
// Rounds to nearest, ties to even, and clamps to the type's range (or the narrow range when asked).
Array quantize(const Array& real, const Quant& quant, DType dtype, bool narrow = false);

}  // namespace litegap
