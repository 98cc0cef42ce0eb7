#include "keras/hdf5.h"

#include <hdf5.h>

#include <algorithm>
#include <cstring>

namespace litegap {
namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{4} << 30;   // of one dataset
constexpr std::uint64_t kMostText = std::uint64_t{256} << 20;  // of one attribute
constexpr std::size_t kMostNames = 1000000;

// One handle, closed by the function that its kind needs.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  explicit operator bool() const { return id_ >= 0; }
  operator hid_t() const { return id_; }  // NOLINT: the C interface takes it

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

void silence() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

// Number of elements of a data space, with an Error when they are more than `most`.
std::uint64_t elements_of(hid_t space, std::uint64_t most, const std::string& where, Shape* shape) {
  const int rank = H5Sget_simple_extent_ndims(space);
  if (rank < 0 || rank > 32) fail("{}: damaged shape", where);
  hsize_t dims[32] = {};
  if (rank > 0 && H5Sget_simple_extent_dims(space, dims, nullptr) < 0) {
    fail("{}: damaged shape", where);
  }
  if (H5Sget_simple_extent_type(space) == H5S_NULL) fail("{}: has no value", where);
  std::uint64_t n = 1;
  for (int d = 0; d < rank; ++d) {
    if (dims[d] > most || (dims[d] != 0 && n > most / dims[d])) {
      fail("{}: dimension {} is {}, too large", where, d, static_cast<std::uint64_t>(dims[d]));
    }
    n *= dims[d];
    if (shape != nullptr)
      shape->push_back(static_cast<std::int32_t>(std::min<hsize_t>(dims[d], 0x7fffffff)));
  }
  return n;
}

std::string trimmed(const char* text, std::size_t most) {
  std::size_t n = 0;
  while (n < most && text[n] != 0) ++n;
  return {text, n};
}

std::vector<std::string> read_texts(hid_t attribute, const std::string& where) {
  const Handle type(H5Aget_type(attribute), H5Tclose);
  const Handle space(H5Aget_space(attribute), H5Sclose);
  if (!type || !space) fail("{}: damaged", where);
  if (H5Tget_class(type) != H5T_STRING) {
    // An empty list is stored as an empty array of float64.
    if (elements_of(space, kMostNames, where, nullptr) == 0) return {};
    fail("{}: is not a text", where);
  }
  const std::uint64_t n = elements_of(space, kMostNames, where, nullptr);
  std::vector<std::string> all;
  if (H5Tis_variable_str(type) > 0) {
    std::vector<char*> pointers(std::max<std::uint64_t>(n, 1), nullptr);
    const Handle memory(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(memory, H5T_VARIABLE);
    H5Tset_cset(memory, H5Tget_cset(type));
    if (H5Aread(attribute, memory, pointers.data()) < 0) fail("{}: cannot be read", where);
    for (std::uint64_t i = 0; i < n; ++i) {
      all.push_back(pointers[i] == nullptr ? "" : trimmed(pointers[i], kMostText));
    }
    H5Dvlen_reclaim(memory, space, H5P_DEFAULT, pointers.data());
    return all;
  }
  const std::size_t size = H5Tget_size(type);
  if (size == 0 || size > kMostText || n * size > kMostText) fail("{}: is too long", where);
  std::vector<char> bytes(n * size);
  if (!bytes.empty() && H5Aread(attribute, type, bytes.data()) < 0) {
    fail("{}: cannot be read", where);
  }
  for (std::uint64_t i = 0; i < n; ++i) all.push_back(trimmed(bytes.data() + i * size, size));
  return all;
}

herr_t collect_name(hid_t, const char* name, const H5L_info_t*, void* data) {
  auto* names = static_cast<std::vector<std::string>*>(data);
  if (names->size() >= kMostNames) return -1;
  names->emplace_back(name);
  return 0;
}

}  // namespace

struct Hdf5::State {
  std::string name;
  std::vector<std::byte> bytes;  // of an image in memory: the library reads them in place
  hid_t file = -1;
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (file >= 0) H5Fclose(file);
  }
};

Hdf5 Hdf5::open(const std::string& path) {
  silence();
  auto state = std::make_shared<State>();
  state->name = path;
  state->file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (state->file < 0) fail("{}: not a sound HDF5 file", path);
  Hdf5 result;
  result.state_ = state;
  return result;
}

Hdf5 Hdf5::from_memory(std::vector<std::byte> bytes, const std::string& name) {
  silence();
  auto state = std::make_shared<State>();
  state->name = name;
  state->bytes = std::move(bytes);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  if (!access || H5Pset_fapl_core(access, 1 << 16, 0) < 0 ||
      H5Pset_file_image(access, state->bytes.data(), state->bytes.size()) < 0) {
    fail("{}: cannot be read as HDF5", name);
  }
  // The library refuses an image under the name of a file that exists.
  state->file = H5Fopen((name + "/model.weights.h5").c_str(), H5F_ACC_RDONLY, access);
  if (state->file < 0) fail("{}: not sound HDF5", name);
  Hdf5 result;
  result.state_ = state;
  return result;
}

const std::string& Hdf5::name() const { return state_->name; }

// H5Lexists wants every group on the way to exist.
bool Hdf5::has(const std::string& path) const {
  std::size_t at = 0;
  while (at != std::string::npos) {
    at = path.find('/', at + 1);
    const std::string part = path.substr(0, at);
    if (part.empty() || part == "/") continue;
    if (H5Lexists(state_->file, part.c_str(), H5P_DEFAULT) <= 0) return false;
  }
  return true;
}

std::vector<std::string> Hdf5::children(const std::string& group) const {
  std::vector<std::string> names;
  const Handle g(H5Gopen2(state_->file, group.c_str(), H5P_DEFAULT), H5Gclose);
  if (!g) return names;
  hsize_t at = 0;
  if (H5Literate(g, H5_INDEX_NAME, H5_ITER_INC, &at, collect_name, &names) < 0) {
    fail("{}: group {} is damaged", state_->name, group);
  }
  return names;
}

std::optional<std::string> Hdf5::text(const std::string& object,
                                      const std::string& attribute) const {
  if (H5Aexists_by_name(state_->file, object.c_str(), attribute.c_str(), H5P_DEFAULT) <= 0)
    return {};
  const Handle a(
      H5Aopen_by_name(state_->file, object.c_str(), attribute.c_str(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  if (!a) return {};
  auto all = read_texts(a, fmt::format("{}: attribute {} of {}", state_->name, attribute, object));
  if (all.size() != 1) return {};
  return all[0];
}

std::vector<std::string> Hdf5::texts(const std::string& object,
                                     const std::string& attribute) const {
  std::vector<std::string> all;
  const auto take = [&](const std::string& name) {
    if (H5Aexists_by_name(state_->file, object.c_str(), name.c_str(), H5P_DEFAULT) <= 0)
      return false;
    const Handle a(
        H5Aopen_by_name(state_->file, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT),
        H5Aclose);
    if (!a) fail("{}: attribute {} of {} is damaged", state_->name, name, object);
    for (auto& t :
         read_texts(a, fmt::format("{}: attribute {} of {}", state_->name, name, object))) {
      all.push_back(std::move(t));
    }
    return true;
  };
  if (take(attribute)) return all;
  for (int i = 0; i < 100000 && take(attribute + std::to_string(i)); ++i) {
  }
  return all;
}

Array Hdf5::array(const std::string& dataset) const {
  const std::string where = state_->name + ": " + dataset;
  const Handle d(H5Dopen2(state_->file, dataset.c_str(), H5P_DEFAULT), H5Dclose);
  if (!d) fail("{}: expected a dataset, found none", where);
  const Handle space(H5Dget_space(d), H5Sclose), type(H5Dget_type(d), H5Tclose);
  if (!space || !type) fail("{}: damaged", where);
  const H5T_class_t kind = H5Tget_class(type);
  if (kind != H5T_FLOAT && kind != H5T_INTEGER && kind != H5T_ENUM) {
    fail("{}: does not hold numbers", where);
  }
  Shape shape;
  const std::uint64_t n = elements_of(space, kMostBytes / sizeof(float), where, &shape);
  // What is stored nowhere in the file reads as zeros: a few bytes could ask for gigabytes.
  const hsize_t stored = H5Dget_storage_size(d);
  if (n > (1u << 20) && stored < n / 1024) {
    fail("{}: {} elements, but {} bytes are stored", where, n, static_cast<std::uint64_t>(stored));
  }
  Array a = Array::zeros(DType::kFloat32, shape);
  if (n > 0 && H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, a.mutable_data()) < 0) {
    fail("{}: its values cannot be read", where);
  }
  return a;
}

}  // namespace litegap
