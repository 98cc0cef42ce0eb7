#include "data/dataset.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "data/csv.h"
#include "data/drawn_rows.h"
#include "data/npy.h"
#include "model/aligned.h"
#include "model/unset.h"

namespace litegap {
namespace {

template <class From, class To>
Array convert_as(const Array& from) {
  Array to = unset_array(dtype_of<To>, from.shape());
  const auto* source = reinterpret_cast<const From*>(from.data());
  auto* target = reinterpret_cast<To*>(to.mutable_data());
  for (std::size_t i = 0; i < from.elements(); ++i) target[i] = static_cast<To>(source[i]);
  return to;
}

}  // namespace

Dataset make_dataset(const std::vector<Array>& x, const std::optional<Array>& y,
                     const std::string& where) {
  Dataset d;
  d.path = where;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::string name = x.size() == 1 ? "x" : fmt::format("x{}", i);
    Array a = sample_array(x[i]);
    if (a.shape().empty())
      fail("{}: {} is a single number, expected one row a sample", where, name);
    const auto rows = static_cast<std::size_t>(a.shape()[0]);
    if (i > 0 && rows != d.count) {
      fail("{}: {} has {} samples, but x0 has {}", where, name, rows, d.count);
    }
    d.count = rows;
    d.names.push_back(name);
    d.inputs.push_back(std::move(a));
  }
  if (y) {
    d.labels = label_array(*y);
    const Shape& shape = d.labels->shape();
    const std::size_t rows = shape.empty() ? 0 : static_cast<std::size_t>(shape[0]);
    if (rows != d.count && 2 * rows != d.count) {
      fail("{}: y has shape {}, expected {} rows", where, shape_text(shape), d.count);
    }
  }
  return d;
}

Array sample_array(const Array& a) {
  if (a.dtype() == DType::kFloat64) return convert_as<double, float>(aligned(a));
  if (a.dtype() != DType::kFloat16) return a;
  if (!is_aligned(a)) return sample_array(aligned(a));
  Array to = Array::zeros(DType::kFloat32, a.shape());
  const auto* source = reinterpret_cast<const std::uint16_t*>(a.data());
  auto* target = reinterpret_cast<float*>(to.mutable_data());
  for (std::size_t i = 0; i < a.elements(); ++i) target[i] = float_from_half(source[i]);
  return to;
}

Array label_array(const Array& labels) {
  const Array a = aligned(labels);
  switch (a.dtype()) {
    case DType::kBool:
    case DType::kUint8:
      return convert_as<std::uint8_t, std::int64_t>(a);
    case DType::kInt8:
      return convert_as<std::int8_t, std::int64_t>(a);
    case DType::kInt16:
      return convert_as<std::int16_t, std::int64_t>(a);
    case DType::kUint16:
      return convert_as<std::uint16_t, std::int64_t>(a);
    case DType::kInt32:
      return convert_as<std::int32_t, std::int64_t>(a);
    case DType::kUint32:
      return convert_as<std::uint32_t, std::int64_t>(a);
    case DType::kUint64:
      return convert_as<std::uint64_t, std::int64_t>(a);
    default:
      return sample_array(a);
  }
}

namespace {

std::size_t rows_of(const Array& a) {
  return a.shape().empty() ? 0 : static_cast<std::size_t>(a.shape()[0]);
}

Array take_rows(const Array& a, const std::vector<std::size_t>& rows) {
  Shape shape = a.shape();
  const std::size_t row_bytes = rows_of(a) == 0 ? 0 : a.byte_size() / rows_of(a);
  shape[0] = static_cast<std::int32_t>(rows.size());
  Array out = unset_array(a.dtype(), shape);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(out.mutable_data() + i * row_bytes, a.data() + rows[i] * row_bytes, row_bytes);
  }
  return out;
}

// "x" or "x3" for the base "x"; -1 otherwise.
int numbered(const std::string& name, const std::string& base) {
  if (name == base) return 0;
  if (!name.starts_with(base) || name.size() == base.size() || name.size() > base.size() + 4) {
    return -1;
  }
  int n = 0;
  for (const char c : name.substr(base.size())) {
    if (c < '0' || c > '9') return -1;
    n = n * 10 + (c - '0');
  }
  return n;
}

// ---- reading
// -------------------------------------------------------------------------------------

void from_npz(Dataset& data, bool in_file) {
  data.file = MappedFile::open(data.path);
  std::vector<std::pair<int, Array>> quant;
  std::vector<std::pair<int, std::pair<std::string, Array>>> inputs;
  for (auto& [name, array] :
       read_npz(data.file, in_file ? OddAddress::kStays : OddAddress::kCopied)) {
    if (name == "y") {
      data.labels = label_array(array);
    } else if (name == "original") {
      data.original = aligned(array);
    } else if (const int q = numbered(name, "x_quant"); q >= 0) {
      quant.emplace_back(q, array);
    } else {
      // Numbered inputs go by number whatever their place in the file; named ones keep their place.
      const int x = numbered(name, "x");
      inputs.push_back({std::max(0, x), {name, sample_array(array)}});
    }
  }
  const auto by_number = [](const auto& a, const auto& b) { return a.first < b.first; };
  std::stable_sort(inputs.begin(), inputs.end(), by_number);
  std::stable_sort(quant.begin(), quant.end(), by_number);
  for (auto& [number, named] : inputs) {
    data.names.push_back(named.first);
    data.inputs.push_back(named.second);
  }
  for (auto& [number, array] : quant) data.quant_inputs.push_back(array);
  if (data.inputs.empty()) {
    fail("{}: no input array, expected x, or x0, x1 ..., or one array per input name", data.path);
  }
}

std::string guess_target(const Table& table) {
  std::string found;
  for (const char* name : {"label", "y", "target"}) {
    if (table.find(name) < 0) continue;
    if (!found.empty()) return "";
    found = name;
  }
  return found;
}

void from_csv(Dataset& data, const DataOptions& options) {
  const Table table = read_table(data.path);
  std::string target = options.target_column;
  if (target.empty() && options.labels_path.empty()) {
    target = guess_target(table);
    if (!target.empty()) {
      data.decisions.push_back({"labels",
                                "column " + target,
                                "its header says so; --target "
                                "names another one",
                                {}});
    }
  }
  std::vector<std::size_t> columns(table.columns());
  std::iota(columns.begin(), columns.end(), std::size_t{0});
  if (!target.empty()) {
    const std::size_t c = table.column(target);
    columns.erase(columns.begin() + static_cast<std::ptrdiff_t>(c));
    data.labels = table_array(table, {c}, true, true);
  }
  if (columns.empty()) fail("{}: no column is left for the inputs", data.path);
  data.names = {"x"};
  data.inputs = {table_array(table, columns, false, false)};
}

Array labels_from_csv(const std::string& path, const std::string& asked) {
  const Table table = read_table(path);
  std::string target = asked.empty() ? guess_target(table) : asked;
  std::vector<std::size_t> columns;
  const int row = table.find("row");
  if (!target.empty()) {
    columns = {table.column(target)};
  } else {
    for (std::size_t c = 0; c < table.columns(); ++c) {
      if (static_cast<int>(c) != row) columns.push_back(c);
    }
  }
  if (columns.empty()) fail("{}: no column of labels", path);
  const Array labels = table_array(table, columns, true, true);
  if (row < 0) return labels;
  const std::size_t n = table.rows.size();
  std::vector<std::size_t> order(n, n);
  for (std::size_t r = 0; r < n; ++r) {
    const double at = table.number(r, static_cast<std::size_t>(row));
    if (!(at >= 0 && at < static_cast<double>(n)) || order[static_cast<std::size_t>(at)] != n) {
      fail("{}: line {}: row {}, expected each of 0 to {} once", path, table.lines[r], at, n - 1);
    }
    order[static_cast<std::size_t>(at)] = r;
  }
  return take_rows(labels, order);
}

void read_labels(Dataset& data, const DataOptions& options) {
  const std::string& path = options.labels_path;
  if (path.ends_with(".csv")) {
    data.labels = labels_from_csv(path, options.target_column);
  } else if (path.ends_with(".npy")) {
    data.labels = label_array(read_npy(path));
  } else {
    fail("{}: labels are read from .npy or .csv", path);
  }
}

void check_rows(const Array& a, const std::string& name, const Dataset& data) {
  if (rows_of(a) == data.count && !a.shape().empty()) return;
  fail("{}: {} has shape {}, expected {} samples on its first axis", data.path, name,
       shape_text(a.shape()), data.count);
}

void check_dataset(Dataset& data) {
  if (data.inputs.front().shape().empty()) {
    fail("{}: {} is a single number, expected samples on its first axis", data.path,
         data.names.front());
  }
  data.count = rows_of(data.inputs.front());
  if (data.count == 0) fail("{}: no samples", data.path);
  for (std::size_t i = 0; i < data.inputs.size(); ++i) {
    check_rows(data.inputs[i], data.names[i], data);
  }
  for (const Array& q : data.quant_inputs) check_rows(q, "x_quant", data);
  if (data.original) check_rows(*data.original, "original", data);
  if (!data.labels || data.paired_labels()) return;
  const std::size_t found = rows_of(*data.labels);
  if (found != data.count) {
    fail("{}: labels of shape {}, expected {} rows, one a sample (or {}, one a pair)", data.path,
         shape_text(data.labels->shape()), data.count, data.count / 2);
  }
}

// ---- binding
// -------------------------------------------------------------------------------------

std::string plain_name(std::string name) {
  if (const std::string lead = "serving_default_"; name.starts_with(lead))
    name.erase(0, lead.size());
  if (name.ends_with(":0")) name.resize(name.size() - 2);
  return name;
}

int find_input(const Dataset& data, const Model& model, std::size_t i) {
  const std::string& tensor =
      model.main().tensors[static_cast<std::size_t>(model.main().inputs[i])].name;
  for (const std::string& name : {input_name(model, i), tensor}) {
    for (std::size_t k = 0; k < data.names.size(); ++k) {
      if (data.names[k] == name || plain_name(data.names[k]) == plain_name(name)) {
        return static_cast<int>(k);
      }
    }
  }
  return -1;
}

std::string list_inputs(const Model& model) {
  std::string text;
  for (std::size_t i = 0; i < model.main().inputs.size(); ++i) {
    if (i > 0) text += ", ";
    text += fmt::format(
        "{} {}", input_name(model, i),
        shape_text(model.main().tensors[static_cast<std::size_t>(model.main().inputs[i])].shape));
  }
  return text;
}

// The place of each model input among the arrays.
std::vector<std::size_t> input_places(const Dataset& data, const Model& model,
                                      std::vector<Decision>& decisions) {
  const std::size_t n = model.main().inputs.size();
  std::vector<std::size_t> places;
  bool numbered_all = true;
  for (std::size_t k = 0; k < data.names.size(); ++k) {
    numbered_all = numbered_all && (numbered(data.names[k], "x") == static_cast<int>(k) ||
                                    numbered(data.names[k], "in_") == static_cast<int>(k));
  }
  if (data.inputs.size() == n && (n == 1 || numbered_all)) {
    for (std::size_t i = 0; i < n; ++i) places.push_back(i);
    return places;
  }
  std::unordered_set<std::size_t> used;
  for (std::size_t i = 0; i < n; ++i) {
    const int k = find_input(data, model, i);
    if (k < 0 || !used.insert(static_cast<std::size_t>(k)).second) {
      fail("{}: holds {} input arrays ({}), {} expects {}: {}", data.path, data.inputs.size(),
           fmt::join(data.names, ", "), model.path, n, list_inputs(model));
    }
    places.push_back(static_cast<std::size_t>(k));
  }
  if (data.inputs.size() > n) {
    decisions.push_back({"inputs",
                         fmt::format("{} of {} arrays", n, data.inputs.size()),
                         model.path + " has no input for the others",
                         {}});
  }
  return places;
}

Shape without_ones(const Shape& shape, std::size_t from) {
  Shape out;
  for (std::size_t i = from; i < shape.size(); ++i) {
    if (shape[i] != 1) out.push_back(shape[i]);
  }
  return out;
}

bool fits_dynamic(const Shape& sample, const Tensor& tensor) {
  const Shape& signature = tensor.shape_signature;
  if (signature.size() != sample.size()) return false;
  for (std::size_t d = 1; d < sample.size(); ++d) {
    if (signature[d] != -1 && signature[d] != sample[d]) return false;
  }
  return true;
}

void check_sample(const Array& array, const std::string& name, const Tensor& tensor, bool planar,
                  const Dataset& data, const Model& model, std::vector<Decision>& decisions) {
  Shape wanted = tensor.shape;
  if (planar && wanted.size() >= 3) {
    std::rotate(wanted.end() - 3, wanted.end() - 1, wanted.end());
  }
  const Shape& found = array.shape();
  if (found.size() == wanted.size() &&
      std::equal(found.begin() + 1, found.end(), wanted.begin() + 1)) {
    return;
  }
  if (fits_dynamic(found, tensor)) return;
  const Shape squeezed = without_ones(found, 1);
  if (squeezed != without_ones(wanted, 1) && squeezed != without_ones(wanted, 0)) {
    Shape sample = found;
    sample[0] = 1;
    fail("{}: {} has samples of shape {}, {} expects {}{}", data.path, name, shape_text(sample),
         model.path, shape_text(wanted), planar ? " (planar, as the input map says)" : "");
  }
  decisions.push_back({"shape of " + name,
                       shape_text(wanted),
                       fmt::format("samples of {} differ only by axes of length 1",
                                   shape_text(Shape(found.begin() + 1, found.end()))),
                       {}});
}

}  // namespace

Json to_json(const std::vector<Decision>& decisions) {
  Json list = Json::array();
  for (const Decision& d : decisions) {
    list.push_back(Json{{"item", d.item},
                        {"chosen", d.chosen},
                        {"because", d.because},
                        {"alternatives", d.alternatives}});
  }
  return list;
}

bool Dataset::paired_labels() const {
  return labels && count % 2 == 0 && rows_of(*labels) * 2 == count;
}

Dataset Dataset::subset(const std::vector<std::size_t>& rows) const {
  for (const std::size_t r : rows) {
    if (r >= count) fail("{}: row {} of {} samples", path, r, count);
  }
  Dataset out = *this;
  out.count = rows.size();
  for (Array& a : out.inputs) a = take_rows(a, rows);
  for (Array& a : out.quant_inputs) a = take_rows(a, rows);
  if (original) out.original = take_rows(*original, rows);
  if (!labels) return out;
  if (!paired_labels()) {
    out.labels = take_rows(*labels, rows);
    return out;
  }
  std::vector<std::size_t> pairs;
  for (std::size_t i = 0; i < rows.size(); i += 2) {
    if (i + 1 >= rows.size() || rows[i] % 2 != 0 || rows[i + 1] != rows[i] + 1) {
      fail("{}: labels belong to pairs of samples, a pair cannot be cut", path);
    }
    pairs.push_back(rows[i] / 2);
  }
  out.labels = take_rows(*labels, pairs);
  return out;
}

std::size_t Dataset::distinct_rows() const {
  std::unordered_set<std::uint64_t> seen;
  for (std::size_t r = 0; r < count; ++r) {
    std::uint64_t h = kHashSeed;
    for (const Array& a : inputs) h = hash_bytes(a.slice0(r, r + 1).bytes(), h);
    seen.insert(h);
  }
  return seen.size();
}

void Dataset::forget() const {
  if (file) file->forget();
}

Dataset read_dataset(const std::string& path, const DataOptions& options) {
  Dataset data;
  data.path = path;
  const bool csv = path.ends_with(".csv");
  if (!options.target_column.empty() && !csv && !options.labels_path.ends_with(".csv")) {
    fail("--target {}: names a column of a .csv, {} is none", options.target_column, path);
  }
  if (path.ends_with(".npz")) {
    from_npz(data, options.in_file);
  } else if (path.ends_with(".npy")) {
    data.names = {"x"};
    data.file = MappedFile::open(path);
    data.inputs = {sample_array(read_npy(data.file))};
  } else if (csv) {
    from_csv(data, options);
  } else {
    fail("{}: data are read from .npz, .npy or .csv", path);
  }
  if (!options.labels_path.empty()) read_labels(data, options);
  check_dataset(data);
  if (options.limit == 0 || options.limit >= data.count) return data;
  Dataset limited = data.subset(drawn_rows(data, options.seed).next(options.limit));
  limited.decisions.push_back({"samples",
                               fmt::format("{} of {}", limited.count, data.count),
                               "--limit; drawn by the seed",
                               {}});
  return limited;
}

Dataset bind_dataset(const Dataset& data, const Model& model) {
  return bind_dataset(data, model, InputMap{});
}

Dataset bind_dataset(const Dataset& data, const Model& model, const InputMap& map) {
  Dataset bound = data;
  const std::vector<std::size_t> places = input_places(data, model, bound.decisions);
  bound.names.clear();
  bound.inputs.clear();
  const Graph& graph = model.main();
  for (std::size_t i = 0; i < places.size(); ++i) {
    const Tensor& tensor = graph.tensors[static_cast<std::size_t>(graph.inputs[i])];
    bound.names.push_back(data.names[places[i]]);
    bound.inputs.push_back(data.inputs[places[i]]);
    check_sample(bound.inputs[i], bound.names[i], tensor, map.transpose_chw, data, model,
                 bound.decisions);
  }
  return bound;
}

Dataset::Dataset() = default;
Dataset::Dataset(const Dataset&) = default;
Dataset::Dataset(Dataset&&) noexcept = default;
Dataset& Dataset::operator=(const Dataset&) = default;
Dataset& Dataset::operator=(Dataset&&) noexcept = default;
Dataset::~Dataset() = default;

}  // namespace litegap
