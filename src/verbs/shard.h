// An evaluation in parts, on as many machines as there are: each part leaves a file, and the files
// together give the result that one run would have given, bit for bit.
//
//   write_shard("part-1.state", {"test.npz"}, request, {1, 2});    // and {2, 2} elsewhere
//   Merged all = merge_shards({"part-1.state", "part-2.state"});
//
// A state is an .npz: `header`, the request and hashes of data and models as JSON, and `out_K_J`,
// output J of model K for the rows of the shard.  A shard that was computed twice counts once.
#pragma once
#include "verbs/evaluate.h"

namespace litegap {

// Where the samples come from; read again when the parts are joined.
struct ShardData {
  std::string path, labels, target;
};

Shard parse_shard(const std::string& text);  // "2/4"; throws Error

void write_shard(const std::string& path, const ShardData& data, const EvalRequest& request,
                 const Shard& shard);

struct Merged {
  EvalRequest request;
  EvalResult result;
};
// Throws Error for states of different evaluations, for missing ones, and where the data or a model
// are no longer those of the parts.
Merged merge_shards(const std::vector<std::string>& paths, const Progress& progress = {});

}  // namespace litegap
