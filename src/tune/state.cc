#include "tune/state.h"

#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "tflite/tflite.h"

namespace litegap {
namespace {

Json to_state(const Candidate& c) {
  return {{"name", c.name},
          {"edits", c.edits},
          {"path", c.path},
          {"refused", c.refused},
          {"same_as", c.same_as},
          {"value", json_number(c.measured.value)},
          {"low", json_number(c.measured.interval.low)},
          {"high", json_number(c.measured.interval.high)},
          {"count", c.measured.count},
          {"trusted", c.measured.trusted},
          {"drop", json_number(c.drop.delta)},
          {"drop_low", json_number(c.drop.interval.low)},
          {"drop_high", json_number(c.drop.interval.high)},
          {"p_value", json_number(c.drop.p_value)},
          {"agreement", json_number(c.drop.agreement)},
          {"bytes", c.bytes},
          {"file_hash", c.file_hash},
          {"latency_ms", json_number(c.latency_ms)}};
}

// Empty when its file is no longer the one that was measured.
std::optional<Candidate> from_state(const Json& j) {
  Candidate c;
  c.name = j.at("name");
  c.edits = j.at("edits").get<std::vector<std::string>>();
  c.path = j.at("path");
  c.refused = j.at("refused");
  c.same_as = j.at("same_as");
  c.file_hash = j.at("file_hash");
  if (!c.path.empty() && (!file_exists(c.path) || file_hash(c.path) != c.file_hash)) {
    return std::nullopt;
  }
  c.measured.value = json_value(j.at("value"));
  c.measured.interval = {json_value(j.at("low")), json_value(j.at("high"))};
  c.measured.count = j.at("count");
  c.measured.trusted = j.at("trusted");
  c.drop.delta = json_value(j.at("drop"));
  c.drop.interval = {json_value(j.at("drop_low")), json_value(j.at("drop_high"))};
  c.drop.p_value = json_value(j.at("p_value"));
  c.drop.agreement = json_value(j.at("agreement"));
  c.bytes = j.at("bytes");
  c.latency_ms = json_value(j.at("latency_ms"));
  return c;
}

std::uint64_t hash_array(const Array& a, std::uint64_t h) {
  return hash_bytes(a.bytes(), hash_text(dtype_name(a.dtype()) + shape_text(a.shape()), h));
}

}  // namespace

std::uint64_t search_key(const Model& model, const Dataset& measure, const Dataset& calibration,
                         const TuneRequest& r) {
  std::uint64_t h = hash_text(r.metric + "|" + r.task + "|" + to_text(r.input_map) + "|" +
                              dialect_name(r.dialect) + fmt::format("|{}", r.seed));
  h = hash_bytes(serialize_model(model), h);
  for (const Dataset* d : {&measure, &calibration}) {
    for (const Array& a : d->inputs) h = hash_array(a, h);
    if (d->labels) h = hash_array(*d->labels, h);
  }
  return h;
}

std::uint64_t file_hash(const std::string& path) {
  return hash_bytes(MappedFile::open(path)->bytes());
}

void write_search(const std::string& path, std::uint64_t key,
                  const std::vector<Candidate>& candidates) {
  Json list = Json::array();
  for (const Candidate& c : candidates) list.push_back(to_state(c));
  const std::uint64_t sum = hash_text(json_text(list));
  write_text(path, json_text(Json{{"key", key}, {"sum", sum}, {"candidates", list}}, 1) + "\n");
}

std::vector<Candidate> read_search(const std::string& path, std::uint64_t key) {
  std::vector<Candidate> known;
  if (!file_exists(path)) return known;
  try {
    const Json j = parse_json(read_text(path));
    const Json& list = j.at("candidates");
    if (j.at("key") != key || j.at("sum") != hash_text(json_text(list))) return known;
    for (const Json& c : list) {
      if (auto candidate = from_state(c)) known.push_back(std::move(*candidate));
    }
  } catch (const Json::exception&) {
    known.clear();
  } catch (const Error&) {  // a candidate's path that is no file any more
    known.clear();
  }
  return known;
}

}  // namespace litegap
