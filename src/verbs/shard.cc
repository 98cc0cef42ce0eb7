#include "verbs/shard.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/parallel.h"
#include "data/npy.h"

namespace litegap {
namespace {

constexpr const char* kSchema = "litegap.shard/1";

Dataset read_samples(const ShardData& d) {
  DataOptions how;
  how.labels_path = d.labels;
  how.target_column = d.target;
  how.in_file = true;
  return read_dataset(d.path, how);
}

// Of the rows of one shard, so that the work of n shards is that of one run; and of all labels.
std::string hash_of(const Dataset& data, const Shard& shard) {
  std::uint64_t h = kHashSeed;
  for (const auto* list : {&data.inputs, &data.quant_inputs}) {
    for (const Array& a : *list) {
      for (std::size_t begin = (shard.index - 1) * kBlock; begin < data.count;
           begin += shard.count * kBlock)
        h = hash_bytes(a.slice0(begin, std::min(data.count, begin + kBlock)).bytes(), h);
    }
  }
  if (data.labels) h = hash_bytes(data.labels->bytes(), h);
  return fmt::format("{:016x}", h);
}

Json optional_number(const std::optional<double>& v) { return v ? Json(*v) : Json(nullptr); }

// Everything that the parts of one evaluation have in common.
Json common_header(const ShardData& d, const EvalRequest& r, std::size_t shards) {
  Json models = Json::array(), dialects = Json::array();
  for (const std::string& path : r.models) {
    models.push_back(
        {{"path", path},
         {"hash", fmt::format("{:016x}", hash_bytes(MappedFile::open(path)->bytes()))}});
  }
  for (const Dialect each : r.dialects) dialects.push_back(dialect_name(each));
  return {{"schema", kSchema},
          {"shards", shards},
          {"data", {{"path", d.path}, {"labels", d.labels}, {"target", d.target}}},
          {"models", models},
          {"metric", r.metric},
          {"task", r.task},
          {"input_map", r.input_map},
          {"limit", r.limit},
          {"dialect", dialect_name(r.dialect)},
          {"dialects", dialects},
          {"seed", r.seed},
          {"claimed", optional_number(r.claimed)},
          {"fail_above", optional_number(r.fail_above)},
          {"latency", r.latency},
          {"reset_state", r.reset_state}};
}

std::optional<double> number_of(const Json& j) {
  return j.is_number() ? std::optional<double>(j.get<double>()) : std::nullopt;
}

EvalRequest request_of(const Json& h) {
  EvalRequest r;
  for (const Json& m : h.at("models")) r.models.push_back(m.at("path").get<std::string>());
  for (const Json& d : h.at("dialects")) r.dialects.push_back(dialect_of(d.get<std::string>()));
  r.metric = h.at("metric").get<std::string>();
  r.task = h.at("task").get<std::string>();
  r.input_map = h.at("input_map").get<std::string>();
  r.limit = h.at("limit").get<std::size_t>();
  r.dialect = dialect_of(h.at("dialect").get<std::string>());
  r.seed = h.at("seed").get<std::uint64_t>();
  r.claimed = number_of(h.at("claimed"));
  r.fail_above = number_of(h.at("fail_above"));
  r.latency = h.at("latency").get<bool>();
  r.reset_state = h.at("reset_state").get<bool>();
  return r;
}

struct State {
  std::string path;
  Json header;
  std::size_t index = 0;
  std::string data_hash;
  NamedArrays arrays;
};

State read_state(const std::string& path) {
  State s{path, {}, 0, "", read_npz(path)};
  const Array* header = find_array(s.arrays, "header");
  if (header == nullptr) fail("{}: no header: not the state of a shard", path);
  try {
    s.header =
        parse_json(std::string(reinterpret_cast<const char*>(header->data()), header->byte_size()));
    if (s.header.at("schema") != kSchema) fail("{}: expected {}", path, kSchema);
    s.index = s.header.at("shard").get<std::size_t>();
    s.data_hash = s.header.at("data_hash").get<std::string>();
    s.header.erase("shard");
    s.header.erase("data_hash");
  } catch (const Json::exception& e) {
    fail("{}: its header is not that of a shard: {}", path, e.what());
  }
  return s;
}

// States by index, of one evaluation and complete.
std::map<std::size_t, State> read_states(const std::vector<std::string>& paths) {
  std::map<std::size_t, State> states;
  for (const std::string& path : paths) {
    State s = read_state(path);
    if (!states.empty() && s.header != states.begin()->second.header)
      fail("{}: of another evaluation than {}", path, states.begin()->second.path);
    states.try_emplace(s.index, std::move(s));
  }
  if (states.empty()) fail("no states given");
  const auto shards = states.begin()->second.header.at("shards").get<std::size_t>();
  for (std::size_t i = 1; i <= shards; ++i) {
    if (!states.contains(i))
      fail("shard {}/{} is missing among {} states", i, shards, paths.size());
  }
  return states;
}

// The parts of one output of one model, each row at its place.
Array joined(const std::map<std::size_t, State>& states, const std::string& name,
             std::size_t samples) {
  Array all;
  for (const auto& [index, state] : states) {
    const auto rows = shard_rows({index, states.size()}, samples);
    if (rows.empty()) continue;
    const Array* part = find_array(state.arrays, name);
    if (part == nullptr || part->dtype() != DType::kFloat32 || part->shape().empty() ||
        static_cast<std::size_t>(part->shape()[0]) != rows.size()) {
      fail("{}: {} is not there, or not {} rows of float32", state.path, name, rows.size());
    }
    Shape shape = part->shape();
    shape[0] = static_cast<std::int32_t>(samples);
    if (all.shape().empty()) all = Array::zeros(DType::kFloat32, shape);
    if (all.shape() != shape) fail("{}: {} has another shape than before", state.path, name);
    const std::size_t bytes = part->byte_size() / rows.size();
    for (std::size_t i = 0; i < rows.size(); ++i)
      std::memcpy(all.mutable_data() + rows[i] * bytes, part->data() + i * bytes, bytes);
  }
  return all;
}

}  // namespace

Shard parse_shard(const std::string& text) {
  Shard s;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, s.index);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == '/') {
    const auto second = std::from_chars(first.ptr + 1, end, s.count);
    if (second.ec == std::errc() && second.ptr == end && s.index >= 1 && s.index <= s.count)
      return s;
  }
  fail("shard '{}': expected i/n with i from 1 to n, for example 2/4", text);
}

void write_shard(const std::string& path, const ShardData& from, const EvalRequest& request,
                 const Shard& shard) {
  const Dataset data = read_samples(from);
  Json header = common_header(from, request, shard.count);
  header["data_hash"] = hash_of(data, shard);
  header["shard"] = shard.index;
  const std::string text = json_text(header);
  NamedArrays arrays;
  arrays.emplace_back("header", Array::of<std::uint8_t>({static_cast<std::int32_t>(text.size())},
                                                        {text.begin(), text.end()}));
  const auto parts = predict_shard(data, request, shard);
  for (std::size_t k = 0; k < parts.size(); ++k) {
    for (std::size_t j = 0; j < parts[k].outputs.size(); ++j)
      arrays.emplace_back(fmt::format("out_{}_{}", k, j), parts[k].outputs[j]);
  }
  write_npz(path, arrays);
}

Merged merge_shards(const std::vector<std::string>& paths, const Progress& progress) {
  const auto states = read_states(paths);
  const Json& header = states.begin()->second.header;
  Merged merged;
  ShardData from;
  try {
    merged.request = request_of(header);
    from = {header.at("data").at("path").get<std::string>(),
            header.at("data").at("labels").get<std::string>(),
            header.at("data").at("target").get<std::string>()};
  } catch (const Json::exception& e) {
    fail("{}: its header is not that of a shard: {}", states.begin()->second.path, e.what());
  }
  const Dataset data = read_samples(from);
  const bool same_models = common_header(from, merged.request, states.size()) == header;
  for (const auto& [index, state] : states) {
    if (!same_models || hash_of(data, {index, states.size()}) != state.data_hash)
      fail("{}: the data or a model have changed since", state.path);
  }
  const std::size_t limit = merged.request.limit;
  const std::size_t samples = limit == 0 || limit >= data.count ? data.count
                              : data.paired_labels() ? std::max<std::size_t>(2, limit / 2 * 2)
                                                     : limit;
  const std::size_t models = merged.request.dialects.size() > 1 ? merged.request.dialects.size()
                                                                : merged.request.models.size();
  std::vector<Predictions> predictions(models);
  for (std::size_t k = 0; k < models; ++k) {
    predictions[k].count = samples;
    const State& any = states.begin()->second;
    for (std::size_t j = 0; find_array(any.arrays, fmt::format("out_{}_{}", k, j)) != nullptr; ++j)
      predictions[k].outputs.push_back(joined(states, fmt::format("out_{}_{}", k, j), samples));
  }
  merged.request.progress = progress;
  merged.result = evaluate_predicted(data, merged.request, std::move(predictions));
  return merged;
}

}  // namespace litegap
