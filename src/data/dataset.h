// Samples, as the user feeds them, and their labels.
//
// A Dataset holds one Array per model input with the sample index as axis 0, and optionally labels
// (class numbers, targets, or a table of columns).  Rows are shared, not copied.  Labels may have
// half as many rows as there are samples: row i then belongs to the pair of samples 2i and 2i + 1.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "model/array.h"
#include "model/model.h"

namespace litegap {

class MappedFile;

// A choice made for the user, recorded and shown with its reason.
struct Decision {
  std::string item, chosen, because;
  std::vector<std::string> alternatives;
};
Json to_json(const std::vector<Decision>& decisions);

// How much of a mapped file of samples is in memory at once, about.  Pages that are given back cost
// twice when they are asked for again: of files as large as MNIST's test images none are.
inline constexpr std::size_t kHeldBytes = std::size_t{32} << 20;

struct Dataset {
  // Copied and destroyed in many places, compiled once.
  Dataset();
  Dataset(const Dataset&);
  Dataset(Dataset&&) noexcept;
  Dataset& operator=(const Dataset&);
  Dataset& operator=(Dataset&&) noexcept;
  ~Dataset();

  std::string path;
  std::size_t count = 0;
  std::vector<std::string> names;  // of the arrays in the file ("x", "x0", input names …)
  std::vector<Array> inputs;       // [count, ...] float32, float64 (converted), or any integer type
  std::optional<Array> labels;     // [count, ...]; float32, or int64 for any integer type
  std::vector<Array>
      quant_inputs;               // x_quant: what the user's own code hands to the quantized model
  std::optional<Array> original;  // pictures before the user's resizing
  std::vector<Decision> decisions;
  std::shared_ptr<const MappedFile> file;  // that arrays are views of, where they are

  bool paired_labels() const;  // one label for two samples
  // Copies those rows.  With paired labels they must be whole pairs, or Error.
  Dataset subset(const std::vector<std::size_t>& rows) const;
  std::size_t distinct_rows() const;  // by content hash of the inputs
  // Rows that were read take no memory until they are read again, where they are in a mapped file.
  void forget() const;
};

// From arrays with one row a sample: one of `x` for each input of the model, in its order, and
// labels or targets.  `name` stands in messages.  Throws Error when rows do not match.
Dataset make_dataset(const std::vector<Array>& x, const std::optional<Array>& y = {},
                     const std::string& name = "arrays");

// Arrays as a Dataset holds them: float64 and float16 become float32; labels of any whole type
// become int64.
Array sample_array(const Array& a);
Array label_array(const Array& labels);

struct DataOptions {
  std::string labels_path;    // --labels
  std::string target_column;  // --target, for csv
  std::size_t limit = 0;      // 0 = all; else that many rows, drawn by the seed, in order
  std::uint64_t seed = 1;
  // Samples stay in the file even at an odd address (model/aligned.h): for who copies rows.
  bool in_file = false;
};

// .npz, .npy, .csv.  Throws Error.
//
// .npz: `x`, or `x0`, `x1` …, or one array per input name; `y` labels; `x_quant` (or `x_quant0` …);
// `original`.  .csv: one row a sample; the target column is --target (a header name, or a number
// from 0, -1 the last), else the only one of the headers y, label, target: recorded as a decision.
// A labels .csv holds them in its only column, or in --target, label, y or target; a column `row`
// says which sample each line belongs to.
Dataset read_dataset(const std::string& path, const DataOptions& options = {});

// Puts the arrays in the order of the model's inputs (by name, or x0, x1 …, or the only one),
// checks counts and shapes against the model (axes of length 1 may differ: recorded), throws Error
// with both shapes otherwise. With chw in the map the stored axes are those of the model in the
// order C, H, W.
struct InputMap;
Dataset bind_dataset(const Dataset& data, const Model& model);
Dataset bind_dataset(const Dataset& data, const Model& model, const InputMap& map);

// The affine map and layout between stored values and the float model's input:
// "x", "x/255", "x/127.5-1", "(x-128)/128", "x*0.5+3", "bgr", "bgr:x/255", "chw:x".  Parts are
// joined by colons: layout words, then an expression in x made of + - * / and parentheses that is
// affine in it; per-channel vectors either in that expression,
// "(x/255-[0.5,0.4,0.4])/[0.2,0.2,0.2]", or in a second one that goes on from its result v,
// "x/255:v*[2,2,2]+[1,1,1]".  Channels of the vectors are those of the model's input, after bgr.
struct InputMap {
  double scale = 1, offset = 0;                       // real = scale * stored + offset
  std::vector<double> channel_scale, channel_offset;  // empty, or per last axis, after scale/offset
  bool reverse_channels = false;                      // last axis reversed
  bool transpose_chw = false;  // stored planar [C, H, W], the model wants [H, W, C]
  bool identity() const {
    return scale == 1 && offset == 0 && channel_scale.empty() && !reverse_channels &&
           !transpose_chw;
  }
  bool operator==(const InputMap&) const = default;
};
InputMap parse_input_map(
    const std::string& expression);        // throws Error with the place of the fault
std::string to_text(const InputMap& map);  // parse_input_map(to_text(m)) == m

// Every sample of a bound dataset as the float model takes it: mapped, float32, shape [count, ...].
Dataset map_dataset(const Dataset& bound, const Model& model, const InputMap& map);

// One sample (any numeric type, as many elements as `shape`) to a float32 array of `shape`, whose
// last axes are H, W, C for chw.  Computed in double and rounded once.
Array apply_input_map(const InputMap& map, const Array& sample, const Shape& shape);

}  // namespace litegap
