// Inside the tflite room: what reading keeps of a file beyond the Model, so that writing can give
// it back, and the helpers both directions share.
//
// The `foreign` handles of the model's structs point to the structs below.  They hold the generated
// object-API values of what the project does not compute with.  One case has no such value: options
// of a kind the schema only knows by its tag.  Their fields cannot be walked, so their bytes cannot
// be cut out either; Carried keeps the whole source FlatBuffer they live in (see write.cc).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/model.h"
#include "tflite/schema_generated.h"

namespace litegap {

// The table at `position` of `blob`, a FlatBuffer or a piece of one that starts on a 16-byte
// boundary.
struct Carried {
  Array blob;  // uint8
  std::uint32_t position = 0;
  int tag = 0;
};

struct QuantForeign {
  int tag = 0;                       // of QuantizationDetails
  std::vector<std::uint8_t> custom;  // tag 1
  std::vector<std::int32_t> axes;    // tag 3; the shape of a block with tag 2
};

struct TensorForeign {
  std::shared_ptr<const fb::SparsityParametersT> sparsity;
  std::vector<std::shared_ptr<const fb::VariantSubTypeT>> variants;
  std::uint32_t external_buffer = 0;
  std::optional<Array> raw;  // data without a dense layout: sparse, strings; uint8
  Array dense;               // the values that sparse data were read as
};

struct OpForeign {
  fb::BuiltinOptionsUnion options;
  fb::BuiltinOptions2Union options_2;
  std::optional<Carried> carried, carried_2;
  bool has_custom = false;
  std::vector<std::uint8_t> custom;
  std::int8_t custom_format = 0;
  std::int32_t debug_index = -1;
};

struct ModelForeign {
  std::vector<Array> metadata_buffers;  // the old, nameless list
  std::vector<std::int32_t> graph_debug;
  std::vector<fb::ExternalBufferGroupT> groups;
  std::vector<fb::ExternalBufferT> external;
};

template <class T>
const T* foreign_of(const std::shared_ptr<const void>& handle) {
  return static_cast<const T*>(handle.get());
}

// The metadata entry whose buffer is a Carried blob, so that reading a written file finds it again.
inline constexpr const char* kCarriedName = "litegap.carried";

// Options <-> Attrs (options.cc, options_write.cc).  `where` is for messages.
Attrs read_attrs(OpCode code, const fb::Operator& op, const std::string& where);
bool has_attrs(OpCode code);         // Attrs models the options of this operator
bool has_second_attrs(OpCode code);  // the same, of the second union of options
struct WrittenOptions {
  fb::BuiltinOptions type = fb::BuiltinOptions::NONE;
  flatbuffers::Offset<void> offset = 0;
  fb::BuiltinOptions2 type_2 = fb::BuiltinOptions2::NONE;
  flatbuffers::Offset<void> offset_2 = 0;
};
WrittenOptions write_attrs(flatbuffers::FlatBufferBuilder& fbb, const Op& op);
// The tag of an operator whose option table has no fields, 0 for all others.
int empty_options_tag(OpCode code);
bool is_empty_options(int tag);

// What a sparse layout, or an operator's options, will cost in memory once unpacked (budget.cc).
std::uint64_t unpacked_bytes(const fb::SparsityParameters& sparsity);
std::uint64_t unpacked_bytes(const fb::Operator& op);

// The values of a constant in sparse storage, zeros where it stores none (sparse.cc).
Array dense_values(const fb::SparsityParameters& sparsity, DType dtype, const Shape& shape,
                   std::span<const std::byte> values, const std::string& where);

// The n of a matrix stored as rows of blocks of 1 x n; 0 = another layout (sparse.cc).
int row_block(const fb::SparsityParameters& sparsity, const Shape& shape);

// The subgraphs that an operator's options name.
std::vector<std::int64_t> graph_references(const fb::Operator& op);
// Whether a (verified) table and its vtable lie in the blob.
bool holds_table(std::span<const std::byte> blob, const std::byte* table);

// A ZIP archive at the end of a file (archive.cc): where it starts, or bytes.size() if there is
// none.
std::size_t find_archive(std::span<const std::byte> bytes);
// The archive with its offsets counted from a file in which it starts at `base`.
std::vector<std::byte> moved_archive(std::span<const std::byte> archive, std::uint64_t base);

// Text of a C or C++ source with one byte array -> its bytes (source.cc).
std::vector<std::byte> bytes_of_source(const std::string& text, const std::string& path);
bool is_source_path(const std::string& path);
// Throws Error that names what the bytes are, if they are not a TFLite FlatBuffer.
void require_tflite(std::span<const std::byte> bytes, const std::string& path);
void require_file(const std::string& path);  // not a folder

// The largest FlatBuffer serialize_model makes; beyond it constants go behind the FlatBuffer.
inline constexpr std::uint64_t kFlatBufferLimit = 2000u << 20;
std::vector<std::byte> serialize_model(const Model& model, std::uint64_t flatbuffer_limit);

}  // namespace litegap
