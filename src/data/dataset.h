// Samples, as the user feeds them, and their labels.
//
// A Dataset holds one Array per model input with the sample index as axis 0, and optionally labels
// (class numbers, targets, or a table of columns).  Rows are shared, not copied.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/array.h"
#include "model/model.h"

namespace litegap {

// A choice made for the user, recorded and shown with its reason.
struct Decision {
  std::string item, chosen, because;
  std::vector<std::string> alternatives;
};
Json to_json(const std::vector<Decision>& decisions);

struct Dataset {
  std::string path;
  std::size_t count = 0;
  std::vector<std::string> names;       // of the arrays in the file ("x", "x0", input names …)
  std::vector<Array> inputs;            // [count, ...] float32, float64 (converted), or any integer type
  std::optional<Array> labels;          // [count] or [count, columns]; float32 or int64
  std::vector<Array> quant_inputs;      // x_quant: what the user's own code hands to the quantized model
  std::optional<Array> original;        // pictures before the user's resizing
  std::vector<Decision> decisions;

  Dataset subset(const std::vector<std::size_t>& rows) const;   // copies those rows
  std::size_t distinct_rows() const;                            // by content hash of the inputs
};

struct DataOptions {
  std::string labels_path;              // --labels
  std::string target_column;            // --target, for csv
  std::size_t limit = 0;                // 0 = all
};

// .npz, .npy, .csv.  Throws Error.
Dataset read_dataset(const std::string& path, const DataOptions& options = {});

// Puts the arrays in the order of the model's inputs (by name, or x0, x1 …, or the only one), checks
// counts and shapes against the model (axes of length 1 may differ: recorded), throws Error with both
// shapes otherwise.
Dataset bind_dataset(const Dataset& data, const Model& model);

// The affine map and layout between stored values and the float model's input:
// "x", "x/255", "x/127.5-1", "(x-128)/128", "x*0.5+3", "bgr", "bgr:x/255", "chw:x".
struct InputMap {
  double scale = 1, offset = 0;         // real = scale * stored + offset
  std::vector<double> channel_scale, channel_offset;  // empty, or per last axis, after scale/offset
  bool reverse_channels = false;        // last axis reversed
  bool transpose_chw = false;           // stored planar [C, H, W], the model wants [H, W, C]
  bool identity() const { return scale == 1 && offset == 0 && channel_scale.empty() && !reverse_channels && !transpose_chw; }
  bool operator==(const InputMap&) const = default;
};
InputMap parse_input_map(const std::string& expression);  // throws Error with the place of the fault
std::string to_text(const InputMap& map);                 // parse_input_map(to_text(m)) == m

// One sample (without the sample axis, any numeric type) to a float32 array of `shape`.
Array apply_input_map(const InputMap& map, const Array& sample, const Shape& shape);

}  // namespace litegap
