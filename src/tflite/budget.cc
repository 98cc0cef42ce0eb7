// Questions about tables that the reader asks before it keeps them: what they cost in memory once
// they are unpacked, what they refer to, and whether a piece of a file holds all of one.
#include <cstring>

#include "tflite/format.h"

namespace litegap {
namespace {

template <class T>
std::uint64_t size_of(const flatbuffers::Vector<T>* v) {
  return v == nullptr ? 0 : v->size();
}

}  // namespace

std::uint64_t unpacked_bytes(const fb::SparsityParameters& s) {
  std::uint64_t n =
      sizeof(fb::SparsityParametersT) + 4 * (size_of(s.traversal_order()) + size_of(s.block_map()));
  const auto vector_bytes = [](fb::SparseIndexVector type, const void* v) -> std::uint64_t {
    if (v == nullptr) return 0;
    switch (type) {
      case fb::SparseIndexVector::Int32Vector:
        return 4 * size_of(static_cast<const fb::Int32Vector*>(v)->values());
      case fb::SparseIndexVector::Uint16Vector:
        return 2 * size_of(static_cast<const fb::Uint16Vector*>(v)->values());
      case fb::SparseIndexVector::Uint8Vector:
        return size_of(static_cast<const fb::Uint8Vector*>(v)->values());
      default:
        return 0;
    }
  };
  for (std::size_t i = 0; i < size_of(s.dim_metadata()); ++i) {
    const fb::DimensionMetadata* d = s.dim_metadata()->Get(static_cast<flatbuffers::uoffset_t>(i));
    n += sizeof(fb::DimensionMetadataT) +
         vector_bytes(d->array_segments_type(), d->array_segments()) +
         vector_bytes(d->array_indices_type(), d->array_indices());
  }
  return n;
}

// Of the option tables, these hold vectors or strings.
std::uint64_t unpacked_bytes(const fb::Operator& op) {
  std::uint64_t n = 64;
  if (const auto* b = op.builtin_options_as_BucketizeOptions()) n += 4 * size_of(b->boundaries());
  if (const auto* c = op.builtin_options_as_ConcatEmbeddingsOptions()) {
    n += 4 * (size_of(c->num_columns_per_channel()) + size_of(c->embedding_dim_per_channel()));
  }
  if (const auto* v = op.builtin_options_as_VarHandleOptions()) {
    n += (v->container() ? v->container()->size() : 0) +
         (v->shared_name() ? v->shared_name()->size() : 0);
  }
  if (const auto* r = op.builtin_options_as_ReshapeOptions()) n += 4 * size_of(r->new_shape());
  if (const auto* s = op.builtin_options_as_SqueezeOptions()) n += 4 * size_of(s->squeeze_dims());
  if (const auto* p = op.builtin_options_2_as_StablehloPadOptions()) {
    n += 8 * (size_of(p->edge_padding_low()) + size_of(p->edge_padding_high()) +
              size_of(p->interior_padding()));
  }
  if (const auto* s = op.builtin_options_2_as_StablehloScatterOptions()) {
    n += 8 * (size_of(s->update_window_dims()) + size_of(s->inserted_window_dims()) +
              size_of(s->scatter_dims_to_operand_dims()));
  }
  if (const auto* g = op.builtin_options_2_as_StablehloGatherOptions()) {
    n += 8 * (size_of(g->offset_dims()) + size_of(g->collapsed_slice_dims()) +
              size_of(g->start_index_map()) + size_of(g->slice_sizes()));
  }
  if (const auto* w = op.builtin_options_2_as_StablehloReduceWindowOptions()) {
    n +=
        8 * (size_of(w->window_dimensions()) + size_of(w->window_strides()) +
             size_of(w->base_dilations()) + size_of(w->window_dilations()) + size_of(w->padding()));
  }
  if (const auto* c = op.builtin_options_2_as_StablehloCaseOptions())
    n += 4 * size_of(c->branch_subgraph_indices());
  return n;
}

std::vector<std::int64_t> graph_references(const fb::Operator& op) {
  if (const auto* w = op.builtin_options_as_WhileOptions())
    return {w->cond_subgraph_index(), w->body_subgraph_index()};
  if (const auto* i = op.builtin_options_as_IfOptions())
    return {i->then_subgraph_index(), i->else_subgraph_index()};
  if (const auto* c = op.builtin_options_as_CallOnceOptions()) return {c->init_subgraph_index()};
  if (const auto* c = op.builtin_options_as_CallOptions()) return {c->subgraph()};
  if (const auto* c = op.builtin_options_2_as_StableHLOCompositeOptions())
    return {c->decomposition_subgraph_index()};
  if (const auto* s = op.builtin_options_2_as_StablehloScatterOptions())
    return {s->update_computation_subgraph_index()};
  if (const auto* w = op.builtin_options_2_as_StablehloReduceWindowOptions())
    return {w->body_subgraph_index()};
  if (const auto* c = op.builtin_options_2_as_StablehloCaseOptions()) {
    if (c->branch_subgraph_indices() == nullptr) return {};
    return {c->branch_subgraph_indices()->begin(), c->branch_subgraph_indices()->end()};
  }
  return {};
}

bool holds_table(std::span<const std::byte> blob, const std::byte* table) {
  const auto begin = reinterpret_cast<std::uintptr_t>(blob.data());
  const auto at = reinterpret_cast<std::uintptr_t>(table);
  if (at < begin || at - begin > blob.size() || blob.size() - (at - begin) < 4) return false;
  const auto position = static_cast<std::int64_t>(at - begin);
  const auto size = static_cast<std::int64_t>(blob.size());
  std::int32_t back;  // from the table to its vtable
  std::memcpy(&back, table, 4);
  const std::int64_t vtable = position - back;
  if (vtable < 0 || vtable > size - 4) return false;
  std::uint16_t length;
  std::memcpy(&length, blob.data() + vtable, 2);
  return vtable + length <= size;
}

}  // namespace litegap
