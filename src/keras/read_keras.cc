// A Keras file -> architecture, then its variables with their values.
//
// The layer functions of lowering are the only place that knows which variables a layer has and
// what shapes they take; reading runs them once to be told (declare_variables), then fetches the
// values in that order.  So a model that cannot be lowered is refused while it is read.
#include <algorithm>
#include <cstring>
#include <map>

#include "base/file.h"
#include "base/probe.h"
#include "base/random.h"
#include "base/zip.h"
#include "keras/keras.h"
#include "keras/weights.h"

namespace litegap {
namespace {

constexpr std::uint64_t kMostText = std::uint64_t{256} << 20;
constexpr std::uint64_t kMostWeights = std::uint64_t{4} << 30;

enum class Kind { kNone, kZip, kHdf5, kJson };

Kind kind_of(std::span<const std::byte> bytes) {
  const auto starts = [&](const char* magic, std::size_t n) {
    return bytes.size() >= n && std::memcmp(bytes.data(), magic, n) == 0;
  };
  if (starts("PK\x03\x04", 4)) return Kind::kZip;
  if (starts("\x89HDF\r\n\x1a\n", 8)) return Kind::kHdf5;
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto first = head.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && head[first] == '{' &&
      head.find("\"class_name\"") != std::string_view::npos) {
    return Kind::kJson;
  }
  return Kind::kNone;
}

// ---- ZIP ----------------------------------------------------------------------------------------
class Archive {
 public:
  explicit Archive(std::shared_ptr<const MappedFile> file)
      : file_(std::move(file)), zip_{file_->bytes(), file_->path(), ".keras"} {
    members_ = zip_directory(zip_);
  }

  const ZipMember* find(std::string_view name) const {
    const auto m = std::ranges::find(members_, name, &ZipMember::name);
    return m == members_.end() ? nullptr : &*m;
  }
  bool has(std::string_view name) const { return find(name) != nullptr; }

  std::vector<std::byte> entry(std::string_view name, std::uint64_t most) const {
    const ZipMember* m = find(name);
    if (m == nullptr) fail("{}: no {} in the archive; expected a .keras file", zip_.path, name);
    return zip_contents(zip_, *m, most);
  }

  std::string text(std::string_view name) const {
    const auto bytes = entry(name, kMostText);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  std::shared_ptr<const MappedFile> file_;
  ZipFile zip_;
  std::vector<ZipMember> members_;
};

// ---- variables ----------------------------------------------------------------------------------
void check_shapes(const std::vector<Declared>& declared, const std::vector<Array>& values) {
  for (std::size_t i = 0; i < declared.size(); ++i) {
    if (values[i].shape() == declared[i].shape) continue;
    refuse(*declared[i].layer, "its {} has shape {} in the file, expected {}", declared[i].name,
           shape_text(values[i].shape()), shape_text(declared[i].shape));
  }
}

KerasModel assemble(KerasLayers layers, const std::string& path,
                    const std::vector<Declared>& declared, std::vector<Array> values) {
  KerasModel model;
  model.path = path;
  std::map<const KerasLayer*, int> counts;
  for (std::size_t i = 0; i < declared.size(); ++i) {
    const Declared& d = declared[i];
    KerasVariable v;
    v.layer = d.layer->path;
    v.name = v.layer + "/" + d.name;
    v.index = counts[d.layer]++;
    v.value = std::move(values[i]);
    v.trainable = d.trainable;
    model.variables.push_back(std::move(v));
  }
  model.layers = std::make_shared<const KerasLayers>(std::move(layers));
  return model;
}

KerasModel with_initial_values(const Json& json, const std::string& name, bool keras3,
                               const KerasReadOptions& options) {
  KerasLayers layers = parse_architecture(json, name, keras3);
  const auto declared = declare_variables(layers, name);
  Random random(options.seed);
  std::vector<Array> values;
  for (const Declared& d : declared) values.push_back(initial_value(d, random));
  return assemble(std::move(layers), name, declared, std::move(values));
}

KerasModel with_weights(const Json& json, const std::string& name, bool keras3, bool v3,
                        const Hdf5& file) {
  KerasLayers layers = parse_architecture(json, name, keras3);
  const auto declared = declare_variables(layers, name);
  auto values = v3 ? weights_of_v3(file, layers, declared) : weights_of_h5(file, layers, declared);
  check_shapes(declared, values);
  KerasModel model = assemble(std::move(layers), name, declared, std::move(values));
  model.has_weights = true;
  return model;
}

// "3.15.1" -> true, "2.21.0" -> false.  Without a version the InputLayer's key tells.
bool says_keras3(const Json& json, const std::string& version) {
  if (!version.empty()) return version[0] >= '3' && version[0] <= '9';
  if (json.is_object() && json.contains("keras_version") && json["keras_version"].is_string()) {
    return says_keras3({}, json["keras_version"].get<std::string>());
  }
  return json_text(json).find("\"batch_input_shape\"") == std::string::npos;
}

KerasModel read_archive(const std::shared_ptr<const MappedFile>& archive,
                        const KerasReadOptions& options) {
  const Archive zip(archive);
  const std::string& path = archive->path();
  const Json json = parse_json_text(zip.text("config.json"), path + ": config.json");
  std::string version;
  if (zip.has("metadata.json")) {
    const Json meta = parse_json_text(zip.text("metadata.json"), path + ": metadata.json");
    if (meta.is_object() && meta.contains("keras_version") && meta["keras_version"].is_string()) {
      version = meta["keras_version"].get<std::string>();
    }
  }
  const bool keras3 = says_keras3(json, version);
  if (!zip.has("model.weights.h5")) return with_initial_values(json, path, keras3, options);
  const Hdf5 file = Hdf5::from_memory(zip.entry("model.weights.h5", kMostWeights), path);
  return with_weights(json, path, keras3, true, file);
}

KerasModel read_h5(const std::string& path) {
  const Hdf5 file = Hdf5::open(path);
  const auto config = file.text("/", "model_config");
  if (!config) {
    fail("{}: no attribute model_config: it holds weights only; give the whole model", path);
  }
  const Json json = parse_json_text(*config, path + ": model_config");
  const auto version = file.text("/", "keras_version");
  return with_weights(json, path, says_keras3(json, version.value_or("")), false, file);
}

}  // namespace

namespace {
// libhdf5 follows a damaged heap index without a look (seen: a segmentation fault in its global
// heap, release 1.10.8), so it gets to read the file once where that harms nobody.
void probe(const std::string& path, const std::function<void()>& read) {
  if (!survives(read)) fail("{}: damaged: the HDF5 library cannot read it", path);
}
}  // namespace

bool is_keras_file(const std::string& path) {
  if (is_directory(path) || !file_exists(path)) return false;
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  switch (kind_of(bytes.subspan(0, std::min<std::size_t>(bytes.size(), 1 << 20)))) {
    case Kind::kHdf5:
    case Kind::kJson:
      return true;
    case Kind::kZip:
      try {
        return Archive(file).has("config.json");
      } catch (const Error&) {
        return false;
      }
    case Kind::kNone:
      break;
  }
  return false;
}

KerasModel read_keras_json(const std::string& json, const std::string& name,
                           const KerasReadOptions& options) {
  try {
    const Json parsed = parse_json_text(json, name);
    return with_initial_values(parsed, name, says_keras3(parsed, ""), options);
  } catch (const Json::exception& e) {
    fail("{}: unexpected JSON: {}", name, e.what());
  }
}

KerasModel read_keras(const std::string& path, const KerasReadOptions& options) {
  try {
    const auto file = MappedFile::open(path);
    const auto bytes = file->bytes();
    switch (kind_of(bytes.subspan(0, std::min<std::size_t>(bytes.size(), 1 << 20)))) {
      case Kind::kZip:
        probe(path, [&] { read_archive(file, options); });
        return read_archive(file, options);
      case Kind::kHdf5:
        probe(path, [&] { read_h5(path); });
        return read_h5(path);
      case Kind::kJson:
        if (bytes.size() > kMostText) fail("{}: {} bytes of JSON", path, bytes.size());
        return read_keras_json(read_text(path), path, options);
      case Kind::kNone:
        break;
    }
    fail("{}: expected a .keras archive, an .h5 file or a model's architecture in JSON", path);
  } catch (const Json::exception& e) {
    fail("{}: unexpected JSON: {}", path, e.what());
  }
}

}  // namespace litegap
