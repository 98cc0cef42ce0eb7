// Model -> bytes.
//
// Everything the Model holds is written anew; what it does not model comes back from the `foreign`
// handles.  Four matters need care:
//
// Alignment.  The stock runtime casts pointers into the file, so data starts on a multiple of 16
// (a FlatBuffer is built from its end, and its end is a multiple of the largest alignment in it).
//
// Sharing.  Equal constants become one buffer, whether they shared one in the source or not.
//
// Unknown options.  Tables of a kind the schema knows only by its tag have children we cannot find,
// so they cannot be copied table by table.  But FlatBuffer offsets are relative: a FlatBuffer that
// is embedded whole, as the data of a buffer, stays readable in place, and an offset may point into
// the middle of it.  So the source FlatBuffer is embedded once, and such operators point to their
// old options inside.  A metadata entry names that buffer, so that the next reader does not embed
// the embedding.
//
// Size.  Beyond 2 GB, the reach of FlatBuffer offsets, constants go behind the FlatBuffer and
// buffers tell where.  Their positions depend on the FlatBuffer's size, which does not depend on
// the positions: so it is built twice.
#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "tflite/format.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

constexpr std::size_t kAlign = 16;
// What the stock converter says about a file whose data lies behind the FlatBuffer.
constexpr const char* kLocationName = "buffer_location";
constexpr std::string_view kLocation = "outside flatbuffers";

std::uint64_t round_up(std::uint64_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

// The distinct data blocks of a file.  Block 0 is the empty buffer.
class Pool {
 public:
  Pool() { blocks_.emplace_back(); }

  std::uint32_t add(std::span<const std::byte> bytes) {
    const std::uint64_t key = sampled_hash(bytes);
    auto [begin, end] = by_hash_.equal_range(key);
    for (auto it = begin; it != end; ++it) {
      const auto& known = blocks_[it->second];
      if (known.size() == bytes.size() &&
          (known.data() == bytes.data() || std::equal(bytes.begin(), bytes.end(), known.begin()))) {
        return it->second;
      }
    }
    const auto index = static_cast<std::uint32_t>(blocks_.size());
    blocks_.push_back(bytes);
    by_hash_.emplace(key, index);
    total_ += bytes.size() + 64;
    return index;
  }

  const std::vector<std::span<const std::byte>>& blocks() const { return blocks_; }
  std::uint64_t total() const { return total_; }

 private:
  // Of both ends at most: equality is decided on the bytes anyway.
  static std::uint64_t sampled_hash(std::span<const std::byte> bytes) {
    const std::uint64_t size = bytes.size();
    std::uint64_t h = hash_bytes(std::as_bytes(std::span(&size, 1)));
    if (size <= 65536) return hash_bytes(bytes, h);
    h = hash_bytes(bytes.first(32768), h);
    return hash_bytes(bytes.last(32768), h);
  }

  std::vector<std::span<const std::byte>> blocks_;
  std::unordered_multimap<std::uint64_t, std::uint32_t> by_hash_;
  std::uint64_t total_ = 0;
};

struct OpKey {
  OpCode code;
  std::string custom;
  std::int32_t version;
  auto operator<=>(const OpKey&) const = default;
};

class Writer {
 public:
  Writer(const Model& model, std::uint64_t limit)
      : model_(model), foreign_(foreign_of<ModelForeign>(model.foreign)) {
    collect();
    outside_ = pool_.total() > limit;
    if (outside_ && std::none_of(model.metadata.begin(), model.metadata.end(),
                                 [](const MetadataEntry& m) { return m.name == kLocationName; })) {
      location_ = pool_.add(std::as_bytes(std::span(kLocation)));
    }
  }

  std::vector<std::byte> write() {
    FlatBufferBuilder fbb(outside_ ? 1u << 20
                                   : static_cast<std::size_t>(pool_.total()) + (1u << 16));
    std::uint64_t behind = 0;
    build(fbb, kAlign);
    if (outside_) {
      behind = round_up(fbb.GetSize());
      fbb.Clear();
      build(fbb, behind);
    }
    std::vector<std::byte> out = assemble(fbb, behind);
    if (model_.appended.byte_size() > 0) {
      const auto archive = moved_archive(model_.appended.bytes(), out.size());
      out.insert(out.end(), archive.begin(), archive.end());
    }
    return out;
  }

 private:
  // ---- what goes into buffers ------------------------------------------------------------------

  void collect() {
    for (const Graph& g : model_.graphs) {
      auto& indices = tensor_buffers_.emplace_back();
      for (const Tensor& t : g.tensors) indices.push_back(buffer_of(t));
      for (const Op& op : g.ops) collect_op(op);
    }
    for (const MetadataEntry& m : model_.metadata)
      metadata_buffers_.push_back(pool_.add(m.bytes.bytes()));
    if (foreign_ != nullptr) {
      for (const Array& a : foreign_->metadata_buffers)
        old_metadata_.push_back(static_cast<std::int32_t>(pool_.add(a.bytes())));
    }
  }

  // Sparse, and no edit has put other values in the place of what was read.
  static bool as_stored(const Tensor& t, const TensorForeign& f) {
    return t.sparse && (!t.constant || t.constant->data() == f.dense.data());
  }

  std::uint32_t buffer_of(const Tensor& t) {
    const auto* f = foreign_of<TensorForeign>(t.foreign);
    if (f != nullptr && f->raw && (as_stored(t, *f) || dtype_bits(t.dtype) == 0))
      return pool_.add(f->raw->bytes());
    return t.constant ? pool_.add(t.constant->bytes()) : 0;
  }

  void collect_op(const Op& op) {
    const OpKey key{op.code, op.custom_code, op.version};
    if (codes_.emplace(key, static_cast<std::uint32_t>(code_list_.size())).second)
      code_list_.push_back(key);
    const auto* f = foreign_of<OpForeign>(op.foreign);
    if (f == nullptr) return;
    const auto embed = [&](const Carried& c) {
      carried_.emplace(c.blob.data(), pool_.add(c.blob.bytes()));
    };
    if (f->carried && std::holds_alternative<NoAttrs>(op.attrs)) embed(*f->carried);
    if (f->carried_2) embed(*f->carried_2);
  }

  // ---- the FlatBuffer --------------------------------------------------------------------------

  void build(FlatBufferBuilder& fbb, std::uint64_t behind) {
    const auto buffers = write_buffers(fbb, behind);
    std::vector<Offset<fb::SubGraph>> graphs;
    for (std::size_t g = 0; g < model_.graphs.size(); ++g) graphs.push_back(write_graph(fbb, g));
    const auto graph_vector = fbb.CreateVector(graphs);
    const auto codes = write_codes(fbb);
    const auto metadata = write_metadata(fbb);
    const auto signatures = write_signatures(fbb);
    const auto description = model_.description.empty() ? 0 : fbb.CreateString(model_.description);
    const auto old_metadata = old_metadata_.empty() ? 0 : fbb.CreateVector(old_metadata_);
    Offset<flatbuffers::Vector<Offset<fb::ExternalBufferGroup>>> groups = 0;
    Offset<flatbuffers::Vector<Offset<fb::ExternalBuffer>>> external = 0;
    if (foreign_ != nullptr && !foreign_->groups.empty()) groups = pack_all(fbb, foreign_->groups);
    if (foreign_ != nullptr && !foreign_->external.empty())
      external = pack_all(fbb, foreign_->external);
    fb::FinishModelBuffer(
        fbb, fb::CreateModel(fbb, model_.version, codes, graph_vector, description, buffers,
                             old_metadata, metadata, signatures, groups, external));
  }

  template <class T>
  static Offset<flatbuffers::Vector<Offset<typename T::TableType>>> pack_all(
      FlatBufferBuilder& fbb, const std::vector<T>& items) {
    std::vector<Offset<typename T::TableType>> out;
    for (const T& item : items) out.push_back(T::TableType::Pack(fbb, &item));
    return fbb.CreateVector(out);
  }

  Offset<flatbuffers::Vector<Offset<fb::Buffer>>> write_buffers(FlatBufferBuilder& fbb,
                                                                std::uint64_t behind) {
    std::vector<Offset<fb::Buffer>> buffers{fb::CreateBuffer(fbb)};
    const auto& blocks = pool_.blocks();
    placed_.assign(blocks.size(), 0);
    for (std::size_t i = 1; i < blocks.size(); ++i) {
      const auto index = static_cast<std::uint32_t>(i);
      const bool inside = !outside_ || blocks[i].empty() || is_metadata(index) || is_carried(index);
      if (!inside) {
        buffers.push_back(fb::CreateBuffer(fbb, 0, behind, blocks[i].size()));
        behind = round_up(behind + blocks[i].size());
        continue;
      }
      fbb.ForceVectorAlignment(blocks[i].size(), 1, kAlign);
      const auto data = fbb.CreateVector(reinterpret_cast<const std::uint8_t*>(blocks[i].data()),
                                         blocks[i].size());
      placed_[i] = data.o;
      buffers.push_back(fb::CreateBuffer(fbb, data));
    }
    return fbb.CreateVector(buffers);
  }

  bool is_metadata(std::uint32_t block) const {
    return block == location_ ||
           std::find(metadata_buffers_.begin(), metadata_buffers_.end(), block) !=
               metadata_buffers_.end() ||
           std::find(old_metadata_.begin(), old_metadata_.end(),
                     static_cast<std::int32_t>(block)) != old_metadata_.end();
  }
  bool is_carried(std::uint32_t block) const {
    return std::any_of(carried_.begin(), carried_.end(),
                       [&](const auto& c) { return c.second == block; });
  }

  Offset<flatbuffers::Vector<Offset<fb::OperatorCode>>> write_codes(FlatBufferBuilder& fbb) const {
    std::vector<Offset<fb::OperatorCode>> out;
    for (const OpKey& k : code_list_) {
      const auto custom = k.custom.empty() ? 0 : fbb.CreateString(k.custom);
      const auto code = static_cast<std::int32_t>(k.code);
      out.push_back(fb::CreateOperatorCode(fbb, static_cast<std::int8_t>(std::min(code, 127)),
                                           custom, k.version, code));
    }
    return fbb.CreateVector(out);
  }

  Offset<flatbuffers::Vector<Offset<fb::Metadata>>> write_metadata(FlatBufferBuilder& fbb) {
    std::vector<Offset<fb::Metadata>> out;
    const auto add = [&](const std::string& name, std::uint32_t block) {
      const auto text = fbb.CreateString(name);
      out.push_back(fb::CreateMetadata(fbb, text, block));
    };
    for (std::size_t i = 0; i < metadata_buffers_.size(); ++i)
      add(model_.metadata[i].name, metadata_buffers_[i]);
    if (location_ != 0) add(kLocationName, location_);
    for (const auto& [blob, block] : carried_) add(kCarriedName, block);
    return out.empty() ? 0 : fbb.CreateVector(out);
  }

  Offset<flatbuffers::Vector<Offset<fb::SignatureDef>>> write_signatures(
      FlatBufferBuilder& fbb) const {
    if (model_.signatures.empty()) return 0;
    std::vector<Offset<fb::SignatureDef>> out;
    const auto names = [&](const std::vector<std::pair<std::string, int>>& list) {
      std::vector<Offset<fb::TensorMap>> maps;
      for (const auto& [name, tensor] : list) {
        const auto text = fbb.CreateString(name);
        maps.push_back(fb::CreateTensorMap(fbb, text, static_cast<std::uint32_t>(tensor)));
      }
      return fbb.CreateVector(maps);
    };
    for (const Signature& s : model_.signatures) {
      const auto inputs = names(s.inputs);
      const auto outputs = names(s.outputs);
      const auto key = fbb.CreateString(s.key);
      out.push_back(
          fb::CreateSignatureDef(fbb, inputs, outputs, key, static_cast<std::uint32_t>(s.graph)));
    }
    return fbb.CreateVector(out);
  }

  // ---- graphs ----------------------------------------------------------------------------------

  Offset<fb::SubGraph> write_graph(FlatBufferBuilder& fbb, std::size_t g) {
    const Graph& graph = model_.graphs[g];
    std::vector<Offset<fb::Tensor>> tensors;
    for (std::size_t t = 0; t < graph.tensors.size(); ++t) {
      tensors.push_back(write_tensor(fbb, graph.tensors[t], tensor_buffers_[g][t]));
    }
    std::vector<Offset<fb::Operator>> ops;
    for (const Op& op : graph.ops) ops.push_back(write_op(fbb, op));
    const auto tensor_vector = fbb.CreateVector(tensors);
    const auto inputs = fbb.CreateVector(graph.inputs);
    const auto outputs = fbb.CreateVector(graph.outputs);
    const auto op_vector = fbb.CreateVector(ops);
    const auto name = graph.name.empty() ? 0 : fbb.CreateString(graph.name);
    const bool known = foreign_ != nullptr && foreign_->graph_debug.size() == model_.graphs.size();
    return fb::CreateSubGraph(fbb, tensor_vector, inputs, outputs, op_vector, name,
                              known ? foreign_->graph_debug[g] : -1);
  }

  Offset<fb::Tensor> write_tensor(FlatBufferBuilder& fbb, const Tensor& t,
                                  std::uint32_t buffer) const {
    const auto* f = foreign_of<TensorForeign>(t.foreign);
    Offset<fb::SparsityParameters> sparsity = 0;
    Offset<flatbuffers::Vector<Offset<fb::VariantSubType>>> variants = 0;
    if (f != nullptr && f->sparsity && as_stored(t, *f))
      sparsity = fb::SparsityParameters::Pack(fbb, f->sparsity.get());
    if (f != nullptr && !f->variants.empty()) {
      std::vector<Offset<fb::VariantSubType>> list;
      for (const auto& v : f->variants) list.push_back(fb::VariantSubType::Pack(fbb, v.get()));
      variants = fbb.CreateVector(list);
    }
    const auto shape = t.shape.empty() ? 0 : fbb.CreateVector(t.shape);
    const auto name = fbb.CreateString(t.name);
    const auto quant = write_quant(fbb, t.quant);
    const auto signature = t.shape_signature.empty() ? 0 : fbb.CreateVector(t.shape_signature);
    return fb::CreateTensor(fbb, shape, static_cast<std::int8_t>(t.dtype), buffer, name, quant,
                            t.is_variable, sparsity, signature, t.has_rank, variants,
                            f != nullptr ? f->external_buffer : 0);
  }

  static Offset<fb::QuantizationParameters> write_quant(FlatBufferBuilder& fbb, const Quant& q) {
    const auto* f = foreign_of<QuantForeign>(q.foreign);
    const bool blocks = q.block_scales >= 0 || q.block_size > 0;
    if (q.scale.empty() && q.min.empty() && q.max.empty() && !blocks && f == nullptr) return 0;
    fb::QuantizationDetails type = fb::QuantizationDetails::NONE;
    Offset<void> details = 0;
    if (f != nullptr && f->tag == 3) {
      type = fb::QuantizationDetails::MultiAxisQuantization;
      const auto axes = fbb.CreateVector(f->axes);
      details = fb::CreateMultiAxisQuantization(fbb, q.block_scales, q.block_zero_points,
                                                q.block_size, axes)
                    .Union();
    } else if (blocks) {
      type = fb::QuantizationDetails::BlockwiseQuantization;
      const bool shaped = f != nullptr && f->tag == 2;
      const auto shape = shaped ? fbb.CreateVector(f->axes) : 0;
      details = fb::CreateBlockwiseQuantization(fbb, q.block_scales, q.block_zero_points,
                                                q.block_size, shape)
                    .Union();
    } else if (f != nullptr && f->tag == 1) {
      type = fb::QuantizationDetails::CustomQuantization;
      fbb.ForceVectorAlignment(f->custom.size(), 1, kAlign);
      details = fb::CreateCustomQuantization(fbb, fbb.CreateVector(f->custom)).Union();
    }
    const auto min = q.min.empty() ? 0 : fbb.CreateVector(q.min);
    const auto max = q.max.empty() ? 0 : fbb.CreateVector(q.max);
    const auto scale = q.scale.empty() ? 0 : fbb.CreateVector(q.scale);
    const auto zero = q.zero_point.empty() ? 0 : fbb.CreateVector(q.zero_point);
    return fb::CreateQuantizationParameters(fbb, min, max, scale, zero, type, details, q.axis);
  }

  // ---- operators -------------------------------------------------------------------------------

  // A table inside an embedded FlatBuffer.  Offsets of a builder count from the end of the buffer.
  Offset<void> into(const Carried& carried) const {
    const std::uint32_t vector = placed_[carried_.at(carried.blob.data())];
    return Offset<void>(vector - static_cast<std::uint32_t>(sizeof(flatbuffers::uoffset_t)) -
                        carried.position);
  }

  Offset<fb::Operator> write_op(FlatBufferBuilder& fbb, const Op& op) {
    const auto* f = foreign_of<OpForeign>(op.foreign);
    WrittenOptions options = write_attrs(fbb, op);
    fb::BuiltinOptions2 type_2 = options.type_2;
    Offset<void> options_2 = options.offset_2;
    if (f != nullptr && options.type == fb::BuiltinOptions::NONE) {
      if (f->carried)
        options = {static_cast<fb::BuiltinOptions>(f->carried->tag), into(*f->carried)};
      else if (f->options.type != fb::BuiltinOptions::NONE)
        options = {f->options.type, f->options.Pack(fbb)};
    }
    if (f != nullptr && f->carried_2) {
      type_2 = static_cast<fb::BuiltinOptions2>(f->carried_2->tag);
      options_2 = into(*f->carried_2);
    } else if (f != nullptr && f->options_2.type != fb::BuiltinOptions2::NONE) {
      type_2 = f->options_2.type;
      options_2 = f->options_2.Pack(fbb);
    }
    if (options.type == fb::BuiltinOptions::NONE && type_2 == fb::BuiltinOptions2::NONE) {
      if (const int tag = empty_options_tag(op.code)) {
        const auto start = fbb.StartTable();
        options = {static_cast<fb::BuiltinOptions>(tag), Offset<void>(fbb.EndTable(start))};
      }
    }
    const auto inputs = fbb.CreateVector(op.inputs);
    const auto outputs = fbb.CreateVector(op.outputs);
    Offset<flatbuffers::Vector<std::uint8_t>> custom = 0, mutating = 0;
    if (f != nullptr && f->has_custom) {
      fbb.ForceVectorAlignment(f->custom.size(), 1, kAlign);
      custom = fbb.CreateVector(f->custom);
    }
    if (!op.mutating_variable_inputs.empty())
      mutating = fbb.CreateVector(op.mutating_variable_inputs);
    const auto intermediates = op.intermediates.empty() ? 0 : fbb.CreateVector(op.intermediates);
    return fb::CreateOperator(
        fbb, codes_.at({op.code, op.custom_code, op.version}), inputs, outputs, options.type,
        options.offset, custom, f != nullptr ? f->custom_format : std::int8_t{0}, mutating,
        intermediates, 0, 0, type_2, options_2, f != nullptr ? f->debug_index : -1);
  }

  // ---- the file --------------------------------------------------------------------------------

  std::vector<std::byte> assemble(const FlatBufferBuilder& fbb, std::uint64_t behind) const {
    const auto* p = reinterpret_cast<const std::byte*>(fbb.GetBufferPointer());
    std::vector<std::byte> out(p, p + fbb.GetSize());
    if (!outside_) return out;
    const auto& blocks = pool_.blocks();
    for (std::size_t i = 1; i < blocks.size(); ++i) {
      if (placed_[i] != 0) continue;
      out.resize(behind);
      out.insert(out.end(), blocks[i].begin(), blocks[i].end());
      behind = round_up(out.size());
    }
    return out;
  }

  const Model& model_;
  const ModelForeign* foreign_;
  bool outside_ = false;
  std::uint32_t location_ = 0;  // block of kLocation, 0 = not needed
  Pool pool_;
  std::vector<std::vector<std::uint32_t>> tensor_buffers_;
  std::vector<std::uint32_t> metadata_buffers_;
  std::vector<std::int32_t> old_metadata_;
  std::map<OpKey, std::uint32_t> codes_;
  std::vector<OpKey> code_list_;
  std::map<const std::byte*, std::uint32_t> carried_;  // blob -> block
  std::vector<std::uint32_t> placed_;                  // block -> offset of its vector, 0 = outside
};

}  // namespace

std::vector<std::byte> serialize_model(const Model& model, std::uint64_t flatbuffer_limit) {
  return Writer(model, flatbuffer_limit).write();
}

std::vector<std::byte> serialize_model(const Model& model) {
  return serialize_model(model, kFlatBufferLimit);
}

void write_model(const Model& model, const std::string& path) {
  write_file(path, serialize_model(model));
}

}  // namespace litegap
