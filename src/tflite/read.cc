// Bytes -> Model.
//
// A model file is input from a stranger.  Three lines of defence, each of which the next relies on:
//   1. the FlatBuffer verifier: every offset points inside the file, every vector fits;
//   2. this file: every number that is used as an index or a size is checked against what it
//   indexes,
//      so a Model can be walked without a look back;
//   3. a budget: in a FlatBuffer a million tensors may share one table, so a small file can unfold
//      into a huge Model.  What is copied out of the file may not exceed a multiple of its size.
//
// Strange but readable values (a scale of zero, NaN, a huge zero point) are read as they are: they
// are findings, not errors.  Constants are views of the mapping where they are aligned for their
// type.
#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "tflite/format.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

constexpr std::size_t kMaxRank = 32;
constexpr int kTypes = 23;

template <class T>
std::size_t size_of(const flatbuffers::Vector<T>* v) {
  return v == nullptr ? 0 : v->size();
}
std::string text_of(const flatbuffers::String* s) {
  return s == nullptr ? std::string() : s->str();
}

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, std::string path)
      : bytes_(bytes),
        owner_(std::move(owner)),
        path_(std::move(path)),
        model_(std::make_shared<Model>()) {
    budget_ = 16 * static_cast<std::uint64_t>(bytes_.size()) + (64u << 20);
  }

  ModelPtr read() {
    root_ = verified_root();
    model_->path = path_;
    model_->file_bytes = bytes_.size();
    model_->version = root_->version();
    model_->description = text_of(root_->description());
    if (root_->version() != 3) fail("{}: schema version {}, expected 3", path_, root_->version());
    if (size_of(root_->subgraphs()) == 0) fail("{}: no subgraph, expected at least one", path_);
    read_codes();
    read_metadata();
    const std::size_t graphs = root_->subgraphs()->size();
    for (std::size_t g = 0; g < graphs; ++g) read_graph(g);
    read_signatures();
    read_appended();
    read_model_foreign();
    return model_;
  }

 private:
  struct Code {
    OpCode code;
    std::string custom;
    std::int32_t version;
  };

  const fb::Model* verified_root() {
    require_tflite(bytes_, path_);
    const auto* data = reinterpret_cast<const std::uint8_t*>(bytes_.data());
    const std::size_t size = std::min<std::size_t>(bytes_.size(), FLATBUFFERS_MAX_BUFFER_SIZE - 1);
    flatbuffers::Verifier::Options options;
    options.max_depth = 32;
    options.max_tables = 4'000'000;
    flatbuffers::Verifier verifier(data, size, options);
    if (!fb::VerifyModelBuffer(verifier)) {
      fail(
          "{}: broken .tflite file ({} bytes): its tables point outside the file; cut short or "
          "damaged?",
          path_, bytes_.size());
    }
    flatbuffer_ = bytes_.first(size);
    return fb::GetModel(data);
  }

  // Books `bytes` copied out of the file.
  void charge(std::uint64_t bytes) {
    if (bytes > budget_)
      fail("{}: unfolds to far more than its {} bytes; refused", path_, bytes_.size());
    budget_ -= bytes;
  }
  std::string name_of(const flatbuffers::String* s) {
    if (s != nullptr) charge(s->size());
    return text_of(s);
  }
  template <class T, class F>
  std::vector<T> copy_of(const flatbuffers::Vector<F>* v) {
    if (v == nullptr) return {};
    charge(static_cast<std::uint64_t>(v->size()) * sizeof(T));
    std::vector<T> out(v->size());
    // Byte by byte: the verifier lets vectors of 8-byte numbers start on a multiple of 4.
    static_assert(sizeof(T) == sizeof(F) && std::endian::native == std::endian::little);
    if (v->size() > 0) std::memcpy(out.data(), v->Data(), out.size() * sizeof(T));
    return out;
  }

  // ---- buffers ---------------------------------------------------------------------------------

  struct Bytes {
    bool present = false;  // the file gives data, even if none
    std::span<const std::byte> bytes;
  };

  Bytes buffer(std::uint32_t index, const std::string& where) const {
    const std::size_t count = size_of(root_->buffers());
    if (index == 0 && count == 0) return {};
    if (index >= count)
      fail("{}: {}: buffer {}, expected 0 to {}", path_, where, index,
           static_cast<std::int64_t>(count) - 1);
    const fb::Buffer* b = root_->buffers()->Get(index);
    if (b->offset() > 1) {
      if (b->offset() > bytes_.size() || b->size() > bytes_.size() - b->offset()) {
        fail("{}: {}: data at {} of {} bytes, but the file has {}", path_, where, b->offset(),
             b->size(), bytes_.size());
      }
      return {true, bytes_.subspan(b->offset(), b->size())};
    }
    if (b->data() == nullptr) return {};
    return {index != 0 || b->data()->size() > 0,
            {reinterpret_cast<const std::byte*>(b->data()->data()), b->data()->size()}};
  }

  Array raw_array(std::span<const std::byte> bytes) const {
    if (bytes.size() > 0x7FFFFFFF)
      fail("{}: data block of {} bytes, expected at most 2^31 - 1", path_, bytes.size());
    return Array::view(DType::kUint8, {static_cast<std::int32_t>(bytes.size())}, bytes, owner_);
  }

  // A view where the address suits the type, else an aligned copy.
  Array typed_array(DType dtype, const Shape& shape, std::span<const std::byte> bytes) {
    const auto width = static_cast<std::uintptr_t>(std::max(1, std::min(dtype_bits(dtype) / 8, 8)));
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % width == 0)
      return Array::view(dtype, shape, bytes, owner_);
    charge(bytes.size());
    Array copy = Array::zeros(dtype, shape);
    if (!bytes.empty()) std::memcpy(copy.mutable_data(), bytes.data(), bytes.size());
    return copy;
  }

  // ---- model level -----------------------------------------------------------------------------

  void read_codes() {
    const std::size_t n = size_of(root_->operator_codes());
    for (std::size_t i = 0; i < n; ++i) {
      const fb::OperatorCode* c =
          root_->operator_codes()->Get(static_cast<flatbuffers::uoffset_t>(i));
      const std::int32_t code =
          std::max<std::int32_t>(c->deprecated_builtin_code(), c->builtin_code());
      if (code < 0) fail("{}: operator code {}: {}, expected 0 or more", path_, i, code);
      codes_.push_back({static_cast<OpCode>(code), name_of(c->custom_code()), c->version()});
    }
  }

  void read_metadata() {
    for (std::size_t i = 0; i < size_of(root_->metadata()); ++i) {
      const fb::Metadata* m = root_->metadata()->Get(static_cast<flatbuffers::uoffset_t>(i));
      const std::string name = name_of(m->name());
      const Array data = raw_array(buffer(m->buffer(), "metadata " + name).bytes);
      if (name == kCarriedName) {
        const auto at = static_cast<std::size_t>(data.data() - bytes_.data());
        if (data.byte_size() > 0 && at % 16 == 0) carried_.push_back(data);
        continue;
      }
      model_->metadata.push_back({name, data});
    }
  }

  void read_signatures() {
    for (std::size_t i = 0; i < size_of(root_->signature_defs()); ++i) {
      const fb::SignatureDef* s =
          root_->signature_defs()->Get(static_cast<flatbuffers::uoffset_t>(i));
      Signature out;
      out.key = name_of(s->signature_key());
      if (s->subgraph_index() >= model_->graphs.size()) {
        fail("{}: signature {}: subgraph {}, expected 0 to {}", path_, out.key, s->subgraph_index(),
             model_->graphs.size() - 1);
      }
      out.graph = static_cast<int>(s->subgraph_index());
      const std::size_t tensors = model_->graphs[s->subgraph_index()].tensors.size();
      const auto read_names = [&](const auto* from, auto& to) {
        for (std::size_t k = 0; k < size_of(from); ++k) {
          const fb::TensorMap* m = from->Get(static_cast<flatbuffers::uoffset_t>(k));
          std::string name = name_of(m->name());
          if (m->tensor_index() >= tensors) {
            fail("{}: signature {}: {} is tensor {}, expected 0 to {}", path_, out.key, name,
                 m->tensor_index(), static_cast<std::int64_t>(tensors) - 1);
          }
          charge(sizeof(std::pair<std::string, int>));
          to.emplace_back(std::move(name), static_cast<int>(m->tensor_index()));
        }
      };
      read_names(s->inputs(), out.inputs);
      read_names(s->outputs(), out.outputs);
      model_->signatures.push_back(std::move(out));
    }
  }

  void read_appended() {
    const std::size_t begin = find_archive(bytes_);
    if (begin < bytes_.size()) model_->appended = raw_array(bytes_.subspan(begin));
  }

  void read_model_foreign() {
    auto foreign = std::make_shared<ModelForeign>();
    for (std::size_t i = 0; i < size_of(root_->metadata_buffer()); ++i) {
      const std::int32_t index =
          root_->metadata_buffer()->Get(static_cast<flatbuffers::uoffset_t>(i));
      foreign->metadata_buffers.push_back(
          raw_array(buffer(static_cast<std::uint32_t>(index), "metadata_buffer").bytes));
      charge(sizeof(Array));
    }
    bool debug = false;
    for (std::size_t g = 0; g < model_->graphs.size(); ++g) {
      foreign->graph_debug.push_back(
          root_->subgraphs()->Get(static_cast<flatbuffers::uoffset_t>(g))->debug_metadata_index());
      debug |= foreign->graph_debug.back() != -1;
    }
    for (std::size_t i = 0; i < size_of(root_->external_buffer_groups()); ++i) {
      fb::ExternalBufferGroupT group;
      root_->external_buffer_groups()
          ->Get(static_cast<flatbuffers::uoffset_t>(i))
          ->UnPackTo(&group);
      charge(sizeof group + group.name.size());
      foreign->groups.push_back(std::move(group));
    }
    for (std::size_t i = 0; i < size_of(root_->external_buffers()); ++i) {
      fb::ExternalBufferT external;
      root_->external_buffers()->Get(static_cast<flatbuffers::uoffset_t>(i))->UnPackTo(&external);
      charge(sizeof external + external.packing.size());
      foreign->external.push_back(std::move(external));
    }
    if (debug || !foreign->metadata_buffers.empty() || !foreign->groups.empty() ||
        !foreign->external.empty()) {
      model_->foreign = std::move(foreign);
    }
  }

  // ---- graphs ----------------------------------------------------------------------------------

  void read_graph(std::size_t g) {
    const fb::SubGraph* s = root_->subgraphs()->Get(static_cast<flatbuffers::uoffset_t>(g));
    charge(sizeof(Graph));
    Graph& graph = model_->graphs.emplace_back();
    graph.name = name_of(s->name());
    const std::size_t tensors = size_of(s->tensors());
    for (std::size_t t = 0; t < tensors; ++t) read_tensor(g, t, *s);
    const std::string where = fmt::format("{}: subgraph {}", path_, g);
    graph.inputs = indices(s->inputs(), tensors, 0, where, "input");
    graph.outputs = indices(s->outputs(), tensors, 0, where, "output");
    for (std::size_t o = 0; o < size_of(s->operators()); ++o) {
      read_op(g, o, *s->operators()->Get(static_cast<flatbuffers::uoffset_t>(o)), tensors);
    }
  }

  std::vector<int> indices(const flatbuffers::Vector<std::int32_t>* v, std::size_t tensors,
                           int lowest, const std::string& where, const char* what) {
    std::vector<int> out = copy_of<int>(v);
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (out[i] < lowest || out[i] >= static_cast<std::int64_t>(tensors)) {
        fail("{}: {} {} is tensor {}, expected {} to {}", where, what, i, out[i], lowest,
             static_cast<std::int64_t>(tensors) - 1);
      }
    }
    return out;
  }

  // ---- tensors ---------------------------------------------------------------------------------

  Shape shape_of(const flatbuffers::Vector<std::int32_t>* v, const std::string& where) {
    if (size_of(v) > kMaxRank)
      fail("{}: {}: {} dimensions, expected at most {}", path_, where, v->size(), kMaxRank);
    return copy_of<std::int32_t>(v);
  }

  void read_tensor(std::size_t g, std::size_t t, const fb::SubGraph& s) {
    const fb::Tensor* from = s.tensors()->Get(static_cast<flatbuffers::uoffset_t>(t));
    charge(sizeof(Tensor));
    Tensor& tensor = model_->graphs[g].tensors.emplace_back();
    tensor.name = name_of(from->name());
    const std::string where = fmt::format("subgraph {}, tensor {} ({})", g, t, tensor.name);
    if (from->type() < 0 || from->type() >= kTypes) {
      fail("{}: {}: type {}, expected 0 to {}", path_, where, static_cast<int>(from->type()),
           kTypes - 1);
    }
    tensor.dtype = static_cast<DType>(from->type());
    tensor.shape = shape_of(from->shape(), where);
    tensor.shape_signature = shape_of(from->shape_signature(), where);
    tensor.has_rank = from->has_rank();
    tensor.is_variable = from->is_variable();
    // Unknown dimensions are 1 here and -1 in the signature; the runtime refuses them here too.
    if (std::ranges::any_of(tensor.shape, [](std::int32_t d) { return d < 0; })) {
      fail("{}: {}: shape {}, expected no negative dimension", path_, where,
           shape_text(tensor.shape));
    }
    std::size_t elements = 0;
    try {
      elements = shape_elements(tensor.shape);
    } catch (const Error& e) {
      fail("{}: {}: {}", path_, where, e.what());
    }
    if (from->quantization() != nullptr) read_quant(*from->quantization(), s, tensor, where);
    read_tensor_foreign(*from, tensor);
    read_constant(*from, elements, tensor, where);
  }

  void read_constant(const fb::Tensor& from, std::size_t elements, Tensor& tensor,
                     const std::string& where) {
    const Bytes data = buffer(from.buffer(), where);
    if (!data.present || (data.bytes.empty() && elements > 0)) return;
    if (tensor.sparse || dtype_bits(tensor.dtype) == 0) {
      auto foreign =
          tensor.foreign
              ? std::make_shared<TensorForeign>(*foreign_of<TensorForeign>(tensor.foreign))
              : std::make_shared<TensorForeign>();
      foreign->raw = raw_array(data.bytes);
      if (tensor.sparse && dtype_bits(tensor.dtype) >= 8) {
        charge(dtype_bytes(tensor.dtype, elements));
        tensor.constant = foreign->dense =
            dense_values(*from.sparsity(), tensor.dtype, tensor.shape, data.bytes,
                         fmt::format("{}: {}", path_, where));
      }
      tensor.foreign = std::move(foreign);
      return;
    }
    const std::size_t expected = dtype_bytes(tensor.dtype, elements);
    if (data.bytes.size() != expected) {
      fail("{}: {}: {} of shape {} needs {} bytes, found {}", path_, where,
           dtype_name(tensor.dtype), shape_text(tensor.shape), expected, data.bytes.size());
    }
    tensor.constant = typed_array(tensor.dtype, tensor.shape, data.bytes);
  }

  void read_tensor_foreign(const fb::Tensor& from, Tensor& tensor) {
    tensor.sparse = from.sparsity() != nullptr;
    if (!tensor.sparse && size_of(from.variant_tensors()) == 0 && from.external_buffer() == 0)
      return;
    auto foreign = std::make_shared<TensorForeign>();
    if (tensor.sparse) {
      charge(unpacked_bytes(*from.sparsity()));
      tensor.sparse_block = row_block(*from.sparsity(), tensor.shape);
      foreign->sparsity = std::shared_ptr<const fb::SparsityParametersT>(from.sparsity()->UnPack());
    }
    for (std::size_t i = 0; i < size_of(from.variant_tensors()); ++i) {
      const fb::VariantSubType* v =
          from.variant_tensors()->Get(static_cast<flatbuffers::uoffset_t>(i));
      charge(sizeof(fb::VariantSubTypeT) + 4 * size_of(v->shape()));
      foreign->variants.emplace_back(v->UnPack());
    }
    foreign->external_buffer = from.external_buffer();
    tensor.foreign = std::move(foreign);
  }

  void read_quant(const fb::QuantizationParameters& from, const fb::SubGraph& s, Tensor& tensor,
                  const std::string& where) {
    Quant& q = tensor.quant;
    q.min = copy_of<float>(from.min());
    q.max = copy_of<float>(from.max());
    q.scale = copy_of<float>(from.scale());
    q.zero_point = copy_of<std::int64_t>(from.zero_point());
    q.axis = from.quantized_dimension();
    const std::size_t scales = q.scale.size();
    if (scales == 0) q.zero_point.clear();
    if (q.zero_point.empty()) q.zero_point.assign(scales, 0);
    if (q.zero_point.size() == 1) q.zero_point.assign(scales, q.zero_point[0]);
    if (q.zero_point.size() != scales) {
      fail("{}: {}: {} zero points, expected {} (one a scale)", path_, where, q.zero_point.size(),
           scales);
    }
    if (scales > 1) {
      // Old converters gave a bias the axis of its weights; a vector has only one.
      if (tensor.shape.size() == 1) q.axis = 0;
      if (q.axis < 0 || static_cast<std::size_t>(q.axis) >= tensor.shape.size()) {
        fail("{}: {}: quantized along axis {} of shape {}", path_, where, q.axis,
             shape_text(tensor.shape));
      }
      const std::int32_t channels = tensor.shape[static_cast<std::size_t>(q.axis)];
      if (static_cast<std::int64_t>(scales) != channels) {
        fail("{}: {}: {} scales, expected {} (axis {} of shape {})", path_, where, scales, channels,
             q.axis, shape_text(tensor.shape));
      }
    }
    read_details(from, size_of(s.tensors()), q, where);
  }

  void read_details(const fb::QuantizationParameters& from, std::size_t tensors, Quant& q,
                    const std::string& where) {
    if (const auto* block = from.details_as_BlockwiseQuantization()) {
      q.block_scales = block->scales();
      q.block_zero_points = block->zero_points();
      q.block_size = block->block_size();
      if (block->block_shape() != nullptr) {
        auto foreign = std::make_shared<QuantForeign>();
        foreign->tag = 2;
        foreign->axes = copy_of<std::int32_t>(block->block_shape());
        q.foreign = std::move(foreign);
      }
    } else if (const auto* multi = from.details_as_MultiAxisQuantization()) {
      q.block_scales = multi->scales();
      q.block_zero_points = multi->zero_points();
      q.block_size = multi->block_size();
      auto foreign = std::make_shared<QuantForeign>();
      foreign->tag = 3;
      foreign->axes = copy_of<std::int32_t>(multi->quantized_dimensions());
      q.foreign = std::move(foreign);
    } else if (const auto* custom = from.details_as_CustomQuantization()) {
      auto foreign = std::make_shared<QuantForeign>();
      foreign->tag = 1;
      foreign->custom = copy_of<std::uint8_t>(custom->custom());
      q.foreign = std::move(foreign);
      return;
    } else {
      return;
    }
    for (const int index : {q.block_scales, q.block_zero_points}) {
      if (index < -1 || index >= static_cast<std::int64_t>(tensors)) {
        fail("{}: {}: block scales in tensor {}, expected -1 to {}", path_, where, index,
             static_cast<std::int64_t>(tensors) - 1);
      }
    }
    if (q.block_size < 0)
      fail("{}: {}: block size {}, expected 0 or more", path_, where, q.block_size);
  }

  // ---- operators -------------------------------------------------------------------------------

  void read_op(std::size_t g, std::size_t o, const fb::Operator& from, std::size_t tensors) {
    charge(sizeof(Op));
    Op op;
    std::string where = fmt::format("{}: subgraph {}, operator {}", path_, g, o);
    if (from.opcode_index() >= codes_.size()) {
      fail("{}: operator code {}, expected 0 to {}", where, from.opcode_index(),
           static_cast<std::int64_t>(codes_.size()) - 1);
    }
    const Code& code = codes_[from.opcode_index()];
    op.code = code.code;
    op.version = code.version;
    op.custom_code = code.custom;
    charge(op.custom_code.size());
    where += " (" + op.name() + ")";
    op.inputs = indices(from.inputs(), tensors, -1, where, "input");
    op.outputs = indices(from.outputs(), tensors, 0, where, "output");
    op.intermediates = indices(from.intermediates(), tensors, -1, where, "intermediate");
    for (std::size_t i = 0; i < size_of(from.mutating_variable_inputs()); ++i) {
      if (i == 0) charge(from.mutating_variable_inputs()->size());
      op.mutating_variable_inputs.push_back(
          from.mutating_variable_inputs()->Get(static_cast<flatbuffers::uoffset_t>(i)) != 0);
    }
    check_overlap(op, where);
    check_graph_references(from, where);
    charge(unpacked_bytes(from));
    op.attrs = read_attrs(op.code, from, where);
    read_op_foreign(from, op, where);
    model_->graphs[g].ops.push_back(std::move(op));
  }

  // The stock runtime refuses to prepare such a graph.
  static void check_overlap(const Op& op, const std::string& where) {
    std::vector<int> inputs = op.inputs;
    std::sort(inputs.begin(), inputs.end());
    for (const int out : op.outputs) {
      if (std::binary_search(inputs.begin(), inputs.end(), out))
        fail("{}: tensor {} is input and output at once", where, out);
    }
  }

  // Options that name other subgraphs.
  void check_graph_references(const fb::Operator& from, const std::string& where) {
    const auto graphs = static_cast<std::int64_t>(root_->subgraphs()->size());
    for (const std::int64_t index : graph_references(from)) {
      if (index < 0 || index >= graphs)
        fail("{}: refers to subgraph {}, expected 0 to {}", where, index, graphs - 1);
    }
  }

  // The table with its surroundings: a blob that an earlier write carried along, or the FlatBuffer.
  Carried carry(const void* table, int tag) {
    const auto* p = static_cast<const std::byte*>(table);
    for (const Array& blob : carried_) {
      if (holds_table(blob.bytes(), p)) {
        return {blob, static_cast<std::uint32_t>(p - blob.data()), tag};
      }
    }
    const std::size_t archive = find_archive(bytes_);
    auto whole = flatbuffer_.first(std::min(archive, flatbuffer_.size()));
    if (!holds_table(whole, p)) whole = flatbuffer_;
    carried_.push_back(raw_array(whole));
    return {carried_.back(), static_cast<std::uint32_t>(p - whole.data()), tag};
  }

  void read_op_foreign(const fb::Operator& from, Op& op, const std::string& where) {
    auto foreign = std::make_shared<OpForeign>();
    bool needed = false;
    const int tag = static_cast<int>(from.builtin_options_type());
    const void* options = from.builtin_options();
    if (has_attrs(op.code) || options == nullptr) {
      // Modelled, or nothing there; a table of another operator's kind counts as absent.
    } else if (tag > static_cast<int>(fb::BuiltinOptions::MAX)) {
      foreign->carried = carry(options, tag);
      needed = true;
    } else if (tag != 0 && !(is_empty_options(tag) && empty_options_tag(op.code) == tag)) {
      charge(unpacked_bytes(from));
      foreign->options.type = from.builtin_options_type();
      foreign->options.value =
          fb::BuiltinOptionsUnion::UnPack(options, from.builtin_options_type(), nullptr);
      needed = true;
    }
    const int tag_2 = static_cast<int>(from.builtin_options_2_type());
    const void* options_2 = from.builtin_options_2();
    if (const auto* composite = from.builtin_options_2_as_StableHLOCompositeOptions()) {
      charge(sizeof(fb::StableHLOCompositeOptionsT) + size_of(composite->composite_attributes()));
      foreign->options_2.type = from.builtin_options_2_type();
      foreign->options_2.value =
          fb::BuiltinOptions2Union::UnPack(options_2, from.builtin_options_2_type(), nullptr);
      needed = true;
    } else if (has_second_attrs(op.code) || options_2 == nullptr) {
      // In Attrs, or nothing there.
    } else if (tag_2 != 0) {
      foreign->carried_2 = carry(options_2, tag_2);
      needed = true;
    }
    if (const auto* custom = from.custom_options()) {
      foreign->has_custom = true;
      foreign->custom = copy_of<std::uint8_t>(custom);
    } else if (from.large_custom_options_offset() > 1) {
      const std::uint64_t at = from.large_custom_options_offset(),
                          size = from.large_custom_options_size();
      if (at > bytes_.size() || size > bytes_.size() - at) {
        fail("{}: custom options at {} of {} bytes, but the file has {}", where, at, size,
             bytes_.size());
      }
      charge(size);
      foreign->has_custom = true;
      const auto* p = reinterpret_cast<const std::uint8_t*>(bytes_.data()) + at;
      foreign->custom.assign(p, p + size);
    }
    foreign->custom_format = from.custom_options_format();
    foreign->debug_index = from.debug_metadata_index();
    needed |= foreign->has_custom || foreign->custom_format != 0 || foreign->debug_index != -1;
    if (needed) op.foreign = std::move(foreign);
  }

  std::span<const std::byte> bytes_, flatbuffer_;
  std::shared_ptr<const void> owner_;
  std::string path_;
  std::shared_ptr<Model> model_;
  const fb::Model* root_ = nullptr;
  std::vector<Code> codes_;
  std::vector<Array> carried_;
  std::uint64_t budget_ = 0;
};

// Owns a copy that starts on a 64-byte boundary.
std::pair<std::span<const std::byte>, std::shared_ptr<const void>> aligned_copy(
    std::span<const std::byte> bytes) {
  auto copy = std::make_shared<std::vector<std::byte>>(bytes.size() + 64);
  const auto address = reinterpret_cast<std::uintptr_t>(copy->data());
  std::byte* start = copy->data() + (64 - address % 64) % 64;
  if (!bytes.empty()) std::memcpy(start, bytes.data(), bytes.size());
  return {std::span<const std::byte>(start, bytes.size()), copy};
}

}  // namespace

ModelPtr parse_model(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                     const std::string& path) {
  // Reading scalars through the accessors needs the base aligned as the file assumes it.
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % 16 != 0) {
    const auto [copy, keeper] = aligned_copy(bytes);
    return Reader(copy, keeper, path).read();
  }
  return Reader(bytes, std::move(owner), path).read();
}

ModelPtr read_model(const std::string& path) {
  require_file(path);
  if (is_source_path(path)) {
    const auto bytes = bytes_of_source(read_text(path), path);
    const auto [copy, keeper] = aligned_copy(bytes);
    return parse_model(copy, keeper, path);
  }
  const auto file = MappedFile::open(path);
  return parse_model(file->bytes(), file, path);
}

}  // namespace litegap
